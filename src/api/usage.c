#include "api/usage.h"
#include "api/formats.h"
#include "api/quantity.h"
#include "api/strategy.h"

#define OF_CLASS     "deviceclass.resource.kubernetes.io/"
#define DEVICES_MOST 32 /* that one claim can be given */

static bool is_one_of(struct str s, const char *const *set)
{
    for (; *set; set++)
        if (str_eqz(s, *set))
            return true;
    return false;
}

/* --- lists of resources --- */

static void list_add(struct arena *a, struct val *sum, const struct val *list)
{
    val_each_member (m, list) {
        const struct val *have = val_get_str(sum, m->name->s);
        struct str text = have ? quantity_add(a, val_text(have), val_text(&m->v)) : val_text(&m->v);
        val_set_str(a, sum, m->name->s, val_str(a, text));
    }
}

static void list_most(struct arena *a, struct val *most, const struct val *list)
{
    val_each_member (m, list) {
        const struct val *have = val_get_str(most, m->name->s);
        if (!have || quantity_cmp(val_text(have), val_text(&m->v)) < 0)
            val_set_str(a, most, m->name->s, val_str(a, val_text(&m->v)));
    }
}

static struct val list_without(struct arena *a, const struct val *list, const struct val *less)
{
    struct val out = val_map();
    val_each_member (m, list) {
        const struct val *take = val_get_str(less, m->name->s);
        struct str rest = take ? quantity_sub(a, val_text(&m->v), val_text(take)) : val_text(&m->v);
        val_set_str(a, &out, m->name->s, val_str(a, quantity_cmp(rest, S("0")) < 0 ? S("0") : rest));
    }
    return out;
}

/* --- pods: what they request and are limited to --- */

/* Where an amount is read: what is wanted, what the node has set aside, what is in force. */
enum amount_of { WANTED, ALLOCATED, IN_FORCE };

struct pod_reading {
    const struct val *pod;
    const struct name *way;
    bool infeasible; /* the node will never give what is wanted */
};

static const struct val *status_find(const struct val *pod, struct str container)
{
    const struct name *const lists[] = {N(containerStatuses), N(initContainerStatuses)};
    for (size_t i = 0; i < countof(lists); i++) {
        const struct val *s = val_find(val_at(pod, N(status), lists[i]), N(name), container);
        if (s)
            return s;
    }
    return NULL;
}

static const struct val *container_list(const struct pod_reading *p, const struct val *c, enum amount_of which)
{
    const struct val *wanted = val_at(c, N(resources), p->way);
    if (which == WANTED)
        return wanted;
    const struct val *status = status_find(p->pod, val_text_at(c, N(name)));
    const struct val *force = val_at(status, N(resources), p->way);
    if (which == IN_FORCE && force)
        return force;
    const struct val *set_aside = p->way == N(requests) ? val_get(status, N(allocatedResources)) : NULL;
    return set_aside ? set_aside : p->infeasible ? NULL : wanted;
}

/* Something was set aside or is in force that is not what is wanted: while it is resized. */
static bool status_differs(const struct pod_reading *p)
{
    const struct name *const lists[] = {N(containers), N(initContainers)};
    for (size_t i = 0; i < countof(lists); i++)
        val_each_item (c, val_at(p->pod, N(spec), lists[i]))
            if (!val_equal(container_list(p, c, IN_FORCE), container_list(p, c, WANTED)) ||
                !val_equal(container_list(p, c, ALLOCATED), container_list(p, c, WANTED)))
                return true;
    return false;
}

static bool is_sidecar(const struct val *container)
{
    return str_eqz(val_text_at(container, N(restartPolicy)), "Always");
}

/* While an init container runs, so do the sidecars that started before it. */
static struct val containers_sum(struct arena *a, const struct pod_reading *p, enum amount_of which)
{
    struct val sum = val_map(), sidecars = val_map(), init = val_map();
    const struct val *spec = val_get(p->pod, N(spec));
    val_each_item (c, val_get(spec, N(containers)))
        list_add(a, &sum, container_list(p, c, which));
    val_each_item (c, val_get(spec, N(initContainers))) {
        const struct val *list = container_list(p, c, which);
        struct val then = val_map();
        if (is_sidecar(c)) {
            list_add(a, &sum, list);
            list_add(a, &sidecars, list);
        } else {
            list_add(a, &then, list);
        }
        list_add(a, &then, &sidecars);
        list_most(a, &init, &then);
    }
    list_most(a, &sum, &init);
    return sum;
}

static bool is_pod_level(struct str name)
{
    return str_eqz(name, "cpu") || str_eqz(name, "memory") || is_hugepages(name);
}

static bool list_said(const struct val *list)
{
    val_each_member (m, list)
        if (is_pod_level(m->name->s))
            return true;
    return false;
}

bool pod_resources_said(const struct val *pod)
{
    const struct val *own = val_at(pod, N(spec), N(resources));
    return list_said(val_get(own, N(requests))) || list_said(val_get(own, N(limits)));
}

static void pod_level_set(struct arena *a, const struct pod_reading *p, int flags, struct val *sum)
{
    const struct val *spec = val_get(p->pod, N(spec)), *status = val_get(p->pod, N(status));
    const struct val *said = val_at(spec, N(resources), p->way), *overhead = val_get(spec, N(overhead));
    struct val most = val_map();
    if (p->way == N(requests) ? !list_said(said) : !pod_resources_said(p->pod))
        return;
    if (!(flags & POD_STATUS) || !p->infeasible)
        list_most(a, &most, said);
    if (flags & POD_STATUS) {
        struct val force = list_without(a, val_at(status, N(resources), p->way), overhead);
        list_most(a, &most, &force);
        if (p->way == N(requests)) {
            struct val set_aside = list_without(a, val_get(status, N(allocatedResources)), overhead);
            list_most(a, &most, &set_aside);
        }
    }
    val_each_member (m, &most)
        if (is_pod_level(m->name->s))
            val_set_str(a, sum, m->name->s, m->v);
}

struct val pod_resources(struct arena *a, const struct val *pod, const struct name *way, int flags)
{
    const struct val *pending = val_find(val_at(pod, N(status), N(conditions)), N(type), S("PodResizePending"));
    struct pod_reading p = {pod, way, (flags & POD_STATUS) && str_eqz(val_text_at(pending, N(reason)), "Infeasible")};
    struct val sum = p.infeasible ? val_map() : containers_sum(a, &p, WANTED);
    if ((flags & POD_STATUS) && (p.infeasible || status_differs(&p))) {
        struct val force = containers_sum(a, &p, IN_FORCE);
        list_most(a, &sum, &force);
        if (way == N(requests)) {
            struct val set_aside = containers_sum(a, &p, ALLOCATED);
            list_most(a, &sum, &set_aside);
        }
    }
    pod_level_set(a, &p, flags, &sum);
    if (!(flags & POD_OVERHEAD))
        return sum;
    val_each_member (m, val_at(pod, N(spec), N(overhead))) {
        const struct val *have = val_get_str(&sum, m->name->s);
        if (way == N(limits) && (!have || quantity_cmp(val_text(have), S("0")) == 0))
            continue; /* no limit stays none */
        struct str text = have ? quantity_add(a, val_text(have), val_text(&m->v)) : val_text(&m->v);
        val_set_str(a, &sum, m->name->s, val_str(a, text));
    }
    return sum;
}

/* --- what objects use --- */

static void usage_set(struct arena *a, struct val *out, const char *prefix, struct str name, struct str amount)
{
    val_set_str(a, out, STR_JOIN(a, str_of(prefix), name), val_str(a, amount));
}

/* How a list of requests and one of limits count, of a pod or of one container. */
static void compute_usage(struct arena *a, const struct val *requests, const struct val *limits, struct val *out)
{
    static const char *const bare[] = {"cpu", "memory", "ephemeral-storage", NULL};
    val_each_member (m, requests) {
        struct str name = m->name->s;
        bool both = is_one_of(name, bare) || is_hugepages(name);
        if (both)
            usage_set(a, out, "", name, val_text(&m->v));
        if (both || is_extended_resource(name) || str_starts(name, S(OF_CLASS)))
            usage_set(a, out, "requests.", name, val_text(&m->v));
    }
    val_each_member (m, limits)
        if (is_one_of(m->name->s, bare))
            usage_set(a, out, "limits.", m->name->s, val_text(&m->v));
}

static void pod_usage(struct arena *a, const struct val *pod, const struct usage_facts *facts, struct val *out)
{
    struct str phase = val_text_at(pod, N(status), N(phase));
    if (str_eqz(phase, "Failed") || str_eqz(phase, "Succeeded") || facts->over)
        return;
    struct val requests = pod_resources(a, pod, N(requests), POD_OVERHEAD | POD_STATUS);
    struct val limits = pod_resources(a, pod, N(limits), POD_OVERHEAD | POD_STATUS);
    usage_set(a, out, "", S("pods"), S("1"));
    compute_usage(a, &requests, &limits, out);
}

static void service_usage(struct arena *a, const struct val *service, const struct usage_facts *facts,
                          struct val *out)
{
    const struct val *spec = val_get(service, N(spec)), *ports = val_get(spec, N(ports));
    const struct val *wants = val_get(spec, N(allocateLoadBalancerNodePorts));
    struct str type = val_text_at(spec, N(type));
    bool balanced = str_eqz(type, "LoadBalancer");
    size_t n = balanced || str_eqz(type, "NodePort") ? val_len(ports) : 0;
    (void)facts;
    if (balanced && wants && !val_true(wants)) {
        n = 0;
        val_each_item (port, ports)
            n += val_num_at(port, 0, N(nodePort)) != 0;
    }
    usage_set(a, out, "", S("services"), S("1"));
    usage_set(a, out, "", S("services.nodeports"), arena_fmt(a, "%zu", n));
    usage_set(a, out, "", S("services.loadbalancers"), balanced ? S("1") : S("0"));
}

/* In whole bytes, which is what a quota may bound. */
static struct str bytes_of(struct arena *a, struct str text)
{
    if (quantity_whole(text))
        return text;
    return quantity_add(a, S("0"), arena_fmt(a, "%lld", (long long)quantity_value(text)));
}

static void claim_usage(struct arena *a, const struct val *claim, const struct usage_facts *facts, struct val *out)
{
    const struct val *spec = val_get(claim, N(spec));
    const struct val *beta = val_get_str(val_at(claim, N(metadata), N(annotations)),
                                         S("volume.beta.kubernetes.io/storage-class"));
    struct str class = beta ? val_text(beta) : val_text_at(spec, N(storageClassName));
    const struct val *asked = val_get_str(val_at(spec, N(resources), N(requests)), S("storage"));
    const struct val *has = val_get_str(val_at(claim, N(status), N(allocatedResources)), S("storage"));
    struct str prefix = STR_JOIN(a, class, S(".storageclass.storage.k8s.io/"));
    (void)facts;
    usage_set(a, out, "", S("persistentvolumeclaims"), S("1"));
    if (class.n)
        usage_set(a, out, prefix.p, S("persistentvolumeclaims"), S("1"));
    if (!asked)
        return;
    struct str bytes = val_text(has && quantity_cmp(val_text(has), val_text(asked)) > 0 ? has : asked);
    usage_set(a, out, "", S("requests.storage"), bytes_of(a, bytes));
    if (class.n)
        usage_set(a, out, prefix.p, S("requests.storage"), bytes_of(a, bytes));
}

static void devices_add(struct arena *a, struct val *sum, struct str name, int64_t n)
{
    int64_t have = val_num(val_get_str(sum, name), 0);
    val_set_str(a, sum, name, val_int(have + n));
}

/* Devices by class, as many as a request may get at most. */
static int64_t devices_of(const struct val *request)
{
    struct str mode = val_text_at(request, N(allocationMode));
    return str_eqz(mode, "ExactCount") ? val_num_at(request, 0, N(count)) : str_eqz(mode, "All") ? DEVICES_MOST : 0;
}

static void device_usage(struct arena *a, const struct val *claim, const struct usage_facts *facts, struct val *out)
{
    struct val classes = val_map();
    /* what a scheduler made for a pod's extended resources is counted with that pod */
    bool of_pod = str_eqz(val_text(val_get_str(val_at(claim, N(metadata), N(annotations)),
                                               S("resource.kubernetes.io/extended-resource-claim"))),
                          "true");
    val_each_item (request, val_at(claim, N(spec), N(devices), N(requests))) {
        const struct val *exactly = val_get(request, N(exactly));
        struct val most = val_map();
        if (exactly)
            devices_add(a, &most, val_text_at(exactly, N(deviceClassName)), devices_of(exactly));
        val_each_item (either, val_get(request, N(firstAvailable))) {
            struct str class = val_text_at(either, N(deviceClassName));
            if (devices_of(either) > val_num(val_get_str(&most, class), -1))
                val_set_str(a, &most, class, val_int(devices_of(either)));
        }
        val_each_member (m, &most)
            devices_add(a, &classes, m->name->s, val_num(&m->v, 0));
    }
    val_each_member (m, &classes) {
        struct str n = arena_fmt(a, "%lld", (long long)val_num(&m->v, 0)), class = m->name->s;
        usage_set(a, out, "", STR_JOIN(a, class, S(".deviceclass.resource.k8s.io/devices")), n);
        if (of_pod)
            continue;
        usage_set(a, out, "requests." OF_CLASS, class, n);
        struct str extended = facts->class_resource ? facts->class_resource(facts->arg, a, class) : S("");
        if (!extended.n)
            continue;
        const struct val *have = val_get_str(out, STR_JOIN(a, S("requests."), extended));
        usage_set(a, out, "requests.", extended, have ? quantity_add(a, val_text(have), n) : n);
    }
}

/* --- the resources --- */

/* The extended resources of pods are devices of claims, too. */
static bool is_extended_quota(struct str name)
{
    return str_starts(name, S("requests." OF_CLASS)) ||
           (!is_native_resource(name) && str_starts(name, S("requests.")));
}

static bool pod_counts(struct str name)
{
    static const char *const set[] = {"count/pods",
                                      "cpu",
                                      "memory",
                                      "ephemeral-storage",
                                      "requests.cpu",
                                      "requests.memory",
                                      "limits.cpu",
                                      "limits.memory",
                                      "pods",
                                      "requests.ephemeral-storage",
                                      "limits.ephemeral-storage",
                                      NULL};
    return is_one_of(name, set) || str_starts(name, S("hugepages-")) || str_starts(name, S("requests.hugepages-")) ||
           is_extended_quota(name);
}

static bool service_counts(struct str name)
{
    static const char *const set[] = {"count/services", "services", "services.nodeports", "services.loadbalancers",
                                      NULL};
    return is_one_of(name, set);
}

static bool claim_counts(struct str name)
{
    static const char *const set[] = {"count/persistentvolumeclaims", "persistentvolumeclaims", "requests.storage",
                                      NULL};
    return is_one_of(name, set) || str_ends(name, S(".storageclass.storage.k8s.io/persistentvolumeclaims")) ||
           str_ends(name, S(".storageclass.storage.k8s.io/requests.storage"));
}

static bool device_counts(struct str name)
{
    return str_eqz(name, "count/resourceclaims.resource.k8s.io") ||
           str_ends(name, S(".deviceclass.resource.k8s.io/devices")) || is_extended_quota(name);
}

static const struct {
    const char *resource;
    bool (*counts)(struct str name);
    void (*usage)(struct arena *a, const struct val *tree, const struct usage_facts *facts, struct val *out);
} rows[] = {
    {"pods", pod_counts, pod_usage},
    {"services", service_counts, service_usage},
    {"persistentvolumeclaims", claim_counts, claim_usage},
    {"resourceclaims.resource.k8s.io", device_counts, device_usage},
};
const char *const usage_special[] = {"pods", "services", "persistentvolumeclaims", "resourceclaims.resource.k8s.io",
                                     NULL};
/* Their plain name is a name of a quota, too. */
static const char *const aliases[] = {"configmaps", "resourcequotas", "replicationcontrollers", "secrets", NULL};

static bool is_ignored(struct str resource)
{
    return str_eqz(resource, "events") || str_eqz(resource, "events.events.k8s.io");
}

struct val usage_of(struct arena *a, struct str resource, const struct val *tree, const struct usage_facts *facts)
{
    struct val out = val_map();
    if (is_ignored(resource))
        return out;
    usage_set(a, &out, "count/", resource, S("1"));
    if (is_one_of(resource, aliases))
        usage_set(a, &out, "", resource, S("1"));
    for (size_t i = 0; i < countof(rows); i++)
        if (str_eqz(resource, rows[i].resource))
            rows[i].usage(a, tree, facts, &out);
    return out;
}

struct str usage_counted(struct str name)
{
    struct str rest = str_starts(name, S("count/")) ? str_sub(name, 6, name.n) : STR_NONE;
    if (rest.n)
        return is_ignored(rest) ? S("") : rest;
    return is_one_of(name, aliases) ? name : S("");
}

bool usage_counts(struct str resource, struct str name)
{
    for (size_t i = 0; i < countof(rows); i++)
        if (str_eqz(resource, rows[i].resource))
            return rows[i].counts(name);
    return str_eq(usage_counted(name), resource);
}

/* --- scopes --- */

static bool names_another_space(const struct val *term)
{
    return val_len(val_get(term, N(namespaces))) > 0 || val_get(term, N(namespaceSelector));
}

static bool has_cross_affinity(const struct val *pod)
{
    const struct name *const ways[] = {N(podAffinity), N(podAntiAffinity)};
    for (size_t i = 0; i < countof(ways); i++) {
        const struct val *affinity = val_at(pod, N(spec), N(affinity), ways[i]);
        val_each_item (term, val_get(affinity, N(requiredDuringSchedulingIgnoredDuringExecution)))
            if (names_another_space(term))
                return true;
        val_each_item (it, val_get(affinity, N(preferredDuringSchedulingIgnoredDuringExecution)))
            if (names_another_space(val_get(it, N(podAffinityTerm))))
                return true;
    }
    return false;
}

/* A requirement on the name of a class; name "": the object names none. */
static bool class_matches(const struct val *expression, struct str name)
{
    struct str op = val_text_at(expression, N(operator));
    bool in = false;
    val_each_item (it, val_get(expression, N(values)))
        in |= name.n && str_eq(val_text(it), name);
    if (str_eqz(op, "In"))
        return in;
    if (str_eqz(op, "NotIn"))
        return !in;
    return str_eqz(op, "DoesNotExist") ? !name.n : name.n > 0;
}

static bool pod_in_scope(const struct val *expression, struct str scope, const struct val *pod)
{
    const struct val *spec = val_get(pod, N(spec));
    bool ends = val_num_at(spec, -1, N(activeDeadlineSeconds)) >= 0;
    struct str said = val_text_at(pod, N(status), N(qosClass));
    if (str_eqz(scope, "Terminating") || str_eqz(scope, "NotTerminating"))
        return ends == str_eqz(scope, "Terminating");
    if (str_eqz(scope, "BestEffort") || str_eqz(scope, "NotBestEffort"))
        return str_eqz(said.n ? said : pod_qos_class(pod), "BestEffort") == str_eqz(scope, "BestEffort");
    if (str_eqz(scope, "PriorityClass"))
        return class_matches(expression, val_text_at(spec, N(priorityClassName)));
    return str_eqz(scope, "CrossNamespacePodAffinity") && has_cross_affinity(pod);
}

/* The class that it has, wants, or is on its way to: one that matches is enough. */
static bool claim_in_scope(const struct val *expression, struct str scope, const struct val *claim)
{
    const struct val *status = val_get(claim, N(status));
    const struct str classes[] = {val_text_at(claim, N(spec), N(volumeAttributesClassName)),
                                  val_text_at(status, N(currentVolumeAttributesClassName)),
                                  val_text_at(status, N(modifyVolumeStatus), N(targetVolumeAttributesClassName))};
    bool any = false;
    if (!str_eqz(scope, "VolumeAttributesClass"))
        return false;
    for (size_t i = 0; i < countof(classes); i++) {
        any |= classes[i].n > 0;
        if (classes[i].n && class_matches(expression, classes[i]))
            return true;
    }
    return !any && class_matches(expression, S(""));
}

static bool scope_takes(const struct val *expression, struct str scope, struct str resource, const struct val *tree)
{
    if (str_eqz(resource, "pods"))
        return pod_in_scope(expression, scope, tree);
    return str_eqz(resource, "persistentvolumeclaims") && claim_in_scope(expression, scope, tree);
}

bool usage_in_scope(const struct val *quota_spec, struct str resource, const struct val *tree)
{
    val_each_item (scope, val_get(quota_spec, N(scopes)))
        if (!scope_takes(NULL, val_text(scope), resource, tree))
            return false;
    val_each_item (x, val_at(quota_spec, N(scopeSelector), N(matchExpressions)))
        if (!scope_takes(x, val_text_at(x, N(scopeName)), resource, tree))
            return false;
    return true;
}

/* --- what must be said --- */

static int text_cmp(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* Names of the containers that do not say it, sorted. */
static struct str silent_containers(struct arena *a, struct str resource, const struct val *spec)
{
    const struct name *const lists[] = {N(containers), N(initContainers)};
    size_t n = 0, all = val_len(val_get(spec, lists[0])) + val_len(val_get(spec, lists[1]));
    struct str *found = arena_alloc(a, (all + 1) * sizeof *found);
    for (size_t i = 0; i < countof(lists); i++)
        val_each_item (c, val_get(spec, lists[i])) {
            struct val says = val_map();
            const struct val *r = val_get(c, N(resources));
            compute_usage(a, val_get(r, N(requests)), val_get(r, N(limits)), &says);
            if (!val_get_str(&says, resource))
                found[n++] = val_text_at(c, N(name));
        }
    qsort(found, n, sizeof *found, text_cmp);
    struct str out = S("");
    for (size_t i = 0; i < n; i++)
        if (i == 0 || !str_eq(found[i], found[i - 1]))
            out = STR_JOIN(a, out, out.n ? S(",") : S(""), found[i]);
    return out;
}

struct str usage_missing(struct arena *a, const struct val *hard, const struct val *pod)
{
    /* sorted, as they are told; upstream calls it a mistake not to be made of other resources */
    static const char *const wanted[] = {"cpu",    "limits.cpu",   "limits.memory",
                                         "memory", "requests.cpu", "requests.memory"};
    struct str out = S("");
    if (pod_resources_said(pod))
        return out;
    for (size_t i = 0; i < countof(wanted); i++) {
        if (!val_get_str(hard, str_of(wanted[i])))
            continue;
        struct str silent = silent_containers(a, str_of(wanted[i]), val_get(pod, N(spec)));
        if (silent.n)
            out = STR_JOIN(a, out, out.n ? S("; ") : S(""), str_of(wanted[i]), S(" for: "), silent);
    }
    return out;
}
