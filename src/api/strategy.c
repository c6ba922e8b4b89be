/* strategy.c - what a write to a kind does besides validation: the work of single kinds first, one function each,
 * then the table of all kinds, then what every write does by its row. Source: the strategies in pkg/registry of
 * upstream.
 *
 * A row says whether a PUT creates, whether an update needs a resourceVersion, what a DELETE answers and does to
 * dependents, when the generation moves, whether status is the server's alone (STATUS_RESET), and names the
 * functions of the kind. Most kinds have none.
 *
 * What a client may not set is not refused but put back: on create it is removed, on update copied from the stored
 * object. Of a write to a subresource only the part that it may change is taken over: `status` here, for all kinds
 * alike, the others in the functions of their kinds.
 *
 * The generation counts what a client wants. It moves when the part that the row names differs from what is stored,
 * empty and absent being the same; a write to status never moves it.
 *
 * The hard one is a Service (update_service): clusterIP and clusterIPs must follow each other, a client that does
 * not mention its addresses and ports keeps them, and what a new type has no use for is dropped, but only where the
 * client left it as it was. Taking addresses and ports is the server's (alloc.c).
 *
 * Further down: field selectors with the fields of each kind, the grace of a delete, and the Scale of what can be
 * scaled. Hazard: val_set moves the members of a map, so a pointer to a member must be taken after its siblings are
 * set.
 */
#include "api/strategy.h"
#include "api/defaults_int.h"
#include "api/quantity.h"
#include "api/rules_int.h"
#include "api/selector.h"
#include "base/clock.h"

enum generation {
    GEN_NONE,             /* what the client says stays */
    GEN_SPEC,             /* 1, and one more when spec changes */
    GEN_SPEC_ANNOTATIONS, /* ... or annotations */
    GEN_SPEC_LATER,       /* only counted from the first change on */
    GEN_TEMPLATE,
    GEN_BODY, /* everything but metadata, and labels */
    GEN_WEBHOOKS,
    GEN_ONCE, /* 1 on create */
};
enum { STATUS_RESET = 1, STATUS_META_FROM_OLD = 2 };

struct strategy_row {
    struct strategy s;
    enum generation generation;
    unsigned flags;
    void (*create)(struct arena *a, struct val *v, int64_t now);
    void (*update)(struct arena *a, struct str sub, struct val *v, const struct val *old, int64_t now);
};

/* Takes the member from old, or removes it where old has none. */
static void member_keep(struct arena *a, struct val *v, const struct val *old, const struct name *name)
{
    const struct val *was = val_get(old, name);
    if (was)
        val_set(a, v, name, *was);
    else
        val_del(v, name);
}
#define KEEP(a, v, old, field) member_keep((a), (v), (old), N(field))

static bool member_same(const struct val *x, const struct val *y, const struct name *name)
{
    const struct val *p = val_get(x, name), *q = val_get(y, name);
    size_t np = p && p->type != VAL_NULL ? 1 : 0, nq = q && q->type != VAL_NULL ? 1 : 0;
    if (np != nq) { /* an empty list, map or text is as good as none */
        const struct val *one = np ? p : q;
        return (one->type == VAL_LIST || one->type == VAL_MAP || one->type == VAL_STRING) && one->n == 0;
    }
    return np == 0 || val_equal(p, q);
}
#define SAME(x, y, field) member_same((x), (y), N(field))

/* Pods. */

static bool counts_for_qos(struct str resource)
{
    return str_eq(resource, S("cpu")) || str_eq(resource, S("memory"));
}

struct qos {
    struct arena a;
    struct str sums[2][2]; /* requests, limits; cpu, memory */
    bool guaranteed;
};

static size_t qos_add(struct qos *q, int way, const struct val *list)
{
    size_t found = 0;
    val_each_member (m, list) {
        if (!counts_for_qos(m->name->s) || quantity_cmp(val_text(&m->v), S("0")) <= 0)
            continue;
        struct str *sum = &q->sums[way][str_eq(m->name->s, S("memory"))];
        *sum = quantity_add(&q->a, sum->n ? *sum : S("0"), val_text(&m->v));
        found++;
    }
    return found;
}

struct str pod_qos_class(const struct val *pod)
{
    struct qos q = {.a = ARENA, .guaranteed = true};
    const struct val *spec = V(pod, spec), *own = V(spec, resources);
    if (val_len(V(own, requests)) + val_len(V(own, limits)) > 0) {
        qos_add(&q, 0, V(own, requests));
        q.guaranteed = qos_add(&q, 1, V(own, limits)) == 2;
    } else {
        const struct name *const lists[] = {N(containers), N(initContainers)};
        for (size_t i = 0; i < countof(lists); i++)
            val_each_item (c, val_get(spec, lists[i])) {
                qos_add(&q, 0, val_at(c, N(resources), N(requests)));
                q.guaranteed &= qos_add(&q, 1, val_at(c, N(resources), N(limits))) == 2;
            }
    }
    bool any = false;
    for (int r = 0; r < 2; r++) {
        any |= q.sums[0][r].n > 0 || q.sums[1][r].n > 0;
        q.guaranteed &= q.sums[0][r].n > 0 && q.sums[1][r].n > 0 && quantity_cmp(q.sums[0][r], q.sums[1][r]) == 0;
    }
    arena_fini(&q.a);
    return !any ? S("BestEffort") : q.guaranteed ? S("Guaranteed") : S("Burstable");
}

/* matchLabelKeys become requirements on the values that this pod has. */
static void merge_label_keys(struct arena *a, struct val *term, const struct val *labels, const struct name *keys,
                             const char *op)
{
    struct val *selector = MUT(term, labelSelector);
    if (!val_is(selector, VAL_MAP))
        return;
    val_each_item (key, val_get(term, keys)) {
        const struct val *value = val_get_str(labels, val_text(key));
        if (!value)
            continue;
        if (!val_is(V(selector, matchExpressions), VAL_LIST))
            val_set(a, selector, N(matchExpressions), val_list());
        struct val expression = val_map(), values = val_list();
        val_add(a, &values, *value);
        val_set(a, &expression, N(key), *key);
        val_set_text(a, &expression, N(operator), str_of(op));
        val_set(a, &expression, N(values), values);
        val_add(a, MUT(selector, matchExpressions), expression);
    }
}

static void create_pod(struct arena *a, struct val *v, int64_t now)
{
    struct val status = val_map(), *spec;
    val_set_text(a, &status, N(phase), S("Pending"));
    val_set_text(a, &status, N(qosClass), pod_qos_class(v));
    if (val_len(val_at(v, N(spec), N(schedulingGates))) > 0) {
        struct val condition = val_map(), list = val_list();
        val_set_text(a, &condition, N(type), S("PodScheduled"));
        val_set_text(a, &condition, N(status), S("False"));
        val_set_text(a, &condition, N(lastTransitionTime), time_text(a, now));
        val_set_text(a, &condition, N(reason), S("SchedulingGated"));
        val_set_text(a, &condition, N(message), S("Scheduling is blocked due to non-empty scheduling gates"));
        val_add(a, &list, condition);
        val_set(a, &status, N(conditions), list);
    }
    val_set(a, v, N(status), status);
    spec = val_need_map(a, v, N(spec)); /* not before: setting a member moves its siblings */
    const struct val *labels = val_at(v, N(metadata), N(labels));
    const struct name *const affinities[] = {N(podAffinity), N(podAntiAffinity)};
    for (size_t i = 0; i < countof(affinities); i++) {
        struct val *affinity = val_get_mut(MUT(spec, affinity), affinities[i]);
        each_mut (term, MUT(affinity, requiredDuringSchedulingIgnoredDuringExecution)) {
            merge_label_keys(a, term, labels, N(matchLabelKeys), "In");
            merge_label_keys(a, term, labels, N(mismatchLabelKeys), "NotIn");
        }
        each_mut (weighted, MUT(affinity, preferredDuringSchedulingIgnoredDuringExecution)) {
            merge_label_keys(a, MUT(weighted, podAffinityTerm), labels, N(matchLabelKeys), "In");
            merge_label_keys(a, MUT(weighted, podAffinityTerm), labels, N(mismatchLabelKeys), "NotIn");
        }
    }
    each_mut (constraint, MUT(spec, topologySpreadConstraints))
        merge_label_keys(a, constraint, labels, N(matchLabelKeys), "In");
}

static void update_pod(struct arena *a, struct str sub, struct val *v, const struct val *old, int64_t now)
{
    (void)now;
    struct val wanted = *v;
    if (str_eq(sub, S("status"))) {
        struct val *meta = val_need_map(a, v, N(metadata)), *status = MUT(v, status);
        KEEP(a, meta, V(old, metadata), ownerReferences);
        if (val_is(status, VAL_MAP) && TEXT(status, qosClass).n == 0)
            member_keep(a, status, V(old, status), N(qosClass));
    } else if (str_eq(sub, S("ephemeralcontainers"))) {
        struct val *spec;
        *v = val_copy(a, old);
        spec = val_need_map(a, v, N(spec));
        member_keep(a, spec, V(&wanted, spec), N(ephemeralContainers));
        KEEP(a, val_need_map(a, v, N(metadata)), V(&wanted, metadata), resourceVersion);
    } else if (str_eq(sub, S("resize"))) {
        *v = val_copy(a, old);
        KEEP(a, val_need_map(a, v, N(metadata)), V(&wanted, metadata), resourceVersion);
        const struct name *const lists[] = {N(containers), N(initContainers)};
        for (size_t i = 0; i < countof(lists); i++)
            each_mut (c, val_get_mut(MUT(v, spec), lists[i])) {
                const struct val *from = val_find(val_get(V(&wanted, spec), lists[i]), N(name), TEXT(c, name));
                if (!from)
                    continue;
                member_keep(a, c, from, N(resources));
                member_keep(a, c, from, N(resizePolicy));
            }
    }
}

/* Services. */

static bool of_type(const struct val *spec, const char *x, const char *y, const char *z)
{
    struct str type = TEXT(spec, type);
    return str_eqz(type, x) || (y && str_eqz(type, y)) || (z && str_eqz(type, z));
}
#define NEEDS_IP(spec)     of_type((spec), "ClusterIP", "NodePort", "LoadBalancer")
#define NEEDS_PORT(spec)   of_type((spec), "NodePort", "LoadBalancer", NULL)
#define IS_BALANCER(spec)  of_type((spec), "LoadBalancer", NULL, NULL)
#define NEEDS_HEALTH(spec) (IS_BALANCER(spec) && str_eq(TEXT((spec), externalTrafficPolicy), S("Local")))

static bool has_node_port(const struct val *spec, int64_t n)
{
    const struct val *ports = V(spec, ports);
    if (!work_do(val_len(ports)))
        return false;
    val_each_item (port, ports)
        if (val_num(V(port, nodePort), 0) == n)
            return true;
    return false;
}

static void create_service(struct arena *a, struct val *v, int64_t now)
{
    (void)a, (void)now;
    if (of_type(V(v, spec), "ExternalName", NULL, NULL))
        val_del(MUT(v, spec), N(internalTrafficPolicy)); /* there is no traffic of ours */
}

static void update_service(struct arena *a, struct str sub, struct val *v, const struct val *old, int64_t now)
{
    (void)now;
    if (sub.n > 0)
        return;
    struct val *spec = val_need_map(a, v, N(spec));
    const struct val *was = V(old, spec);
    if (!SAME(spec, was, clusterIP) && SAME(spec, was, clusterIPs)) {
        /* one of the pair changed: the other follows */
        val_del(spec, N(clusterIPs));
        if (TEXT(spec, clusterIP).n > 0) {
            struct val list = val_list();
            val_add(a, &list, *V(spec, clusterIP));
            val_set(a, spec, N(clusterIPs), list);
        }
    }
    if (NEEDS_IP(was) && NEEDS_IP(spec)) {
        if (TEXT(spec, clusterIP).n == 0)
            KEEP(a, spec, was, clusterIP);
        if (val_len(V(spec, clusterIPs)) == 0 && SAME(spec, was, clusterIP))
            KEEP(a, spec, was, clusterIPs);
    }
    if (NEEDS_PORT(was) && NEEDS_PORT(spec))
        each_mut (port, MUT(spec, ports)) {
            const struct val *before = val_find(V(was, ports), N(name), TEXT(port, name));
            if (!before && TEXT(port, name).n == 0)
                val_each_item (p, V(was, ports))
                    if (TEXT(p, name).n == 0)
                        before = p;
            int64_t n = val_num(V(before, nodePort), 0);
            if (val_num(V(port, nodePort), 0) == 0 && n != 0 && !has_node_port(spec, n))
                val_set_num(a, port, N(nodePort), n);
        }
    if (NEEDS_HEALTH(was) && NEEDS_HEALTH(spec) && val_num(V(spec, healthCheckNodePort), 0) == 0)
        KEEP(a, spec, was, healthCheckNodePort);

    /* what the new type has no use for, where the client left it alone */
    if (NEEDS_IP(was) && !NEEDS_IP(spec)) {
        if (SAME(spec, was, clusterIP) && SAME(spec, was, clusterIPs)) {
            val_del(spec, N(clusterIP));
            val_del(spec, N(clusterIPs));
        }
        if (SAME(spec, was, ipFamilies))
            val_del(spec, N(ipFamilies));
        if (SAME(spec, was, ipFamilyPolicy))
            val_del(spec, N(ipFamilyPolicy));
    }
    if (NEEDS_PORT(was) && !NEEDS_PORT(spec)) {
        bool touched = false;
        each_mut (port, MUT(spec, ports)) {
            int64_t n = val_num(V(port, nodePort), 0);
            touched |= n != 0 && !has_node_port(was, n);
        }
        if (!touched)
            each_mut (port, MUT(spec, ports))
                val_del(port, N(nodePort));
    }
    if (NEEDS_HEALTH(was) && !NEEDS_HEALTH(spec) && SAME(spec, was, healthCheckNodePort))
        val_del(spec, N(healthCheckNodePort));
    if (IS_BALANCER(was) && !IS_BALANCER(spec)) {
        if (SAME(spec, was, allocateLoadBalancerNodePorts))
            val_del(spec, N(allocateLoadBalancerNodePorts));
        if (SAME(spec, was, loadBalancerClass))
            val_del(spec, N(loadBalancerClass));
    }
    bool outside = NEEDS_PORT(spec) || val_len(V(spec, externalIPs)) > 0;
    bool was_outside = NEEDS_PORT(was) || val_len(V(was, externalIPs)) > 0;
    if (was_outside && !outside && SAME(spec, was, externalTrafficPolicy))
        val_del(spec, N(externalTrafficPolicy));
    if (!IS_BALANCER(spec) && val_is(V(v, status), VAL_MAP)) {
        struct val status = val_copy(a, V(v, status));
        val_set(a, &status, N(loadBalancer), val_map());
        val_set(a, v, N(status), status);
    }
}

/* The rest, in the order of the rows. */

static void create_namespace(struct arena *a, struct val *v, int64_t now)
{
    (void)now;
    struct val status = val_map(), *spec;
    val_set_text(a, &status, N(phase), S("Active"));
    val_set(a, v, N(status), status);
    spec = val_need_map(a, v, N(spec));
    bool has = false;
    val_each_item (f, V(spec, finalizers))
        has |= str_eq(val_text(f), S("kubernetes"));
    if (!has) {
        if (!val_is(V(spec, finalizers), VAL_LIST))
            val_set(a, spec, N(finalizers), val_list());
        val_add(a, MUT(spec, finalizers), val_str_borrowed(S("kubernetes")));
    }
    kind_default(a, K(Namespace), v);
}

static void update_namespace(struct arena *a, struct str sub, struct val *v, const struct val *old, int64_t now)
{
    (void)now;
    if (sub.n == 0)
        member_keep(a, val_need_map(a, v, N(spec)), V(old, spec), N(finalizers));
    if (str_eq(sub, S("finalize")))
        KEEP(a, v, old, status);
}

static void create_pv(struct arena *a, struct val *v, int64_t now)
{
    struct val status = val_map();
    val_set_text(a, &status, N(phase), S("Pending"));
    val_set_text(a, &status, N(lastPhaseTransitionTime), time_text(a, now));
    val_set(a, v, N(status), status);
}

static void update_pv(struct arena *a, struct str sub, struct val *v, const struct val *old, int64_t now)
{
    if (str_eq(sub, S("status")) &&
        !str_eq(val_text_at(v, N(status), N(phase)), val_text_at(old, N(status), N(phase))))
        val_set_text(a, val_need_map(a, v, N(status)), N(lastPhaseTransitionTime), time_text(a, now));
}

static bool plain_source(const struct val *source)
{
    struct str group = TEXT(source, apiGroup), kind = TEXT(source, kind);
    return (group.n == 0 && str_eq(kind, S("PersistentVolumeClaim"))) ||
           (str_eq(group, S("snapshot.storage.k8s.io")) && str_eq(kind, S("VolumeSnapshot")));
}

static void normalise_claim(struct arena *a, struct val *v, const struct val *old)
{
    struct val *spec = val_need_map(a, v, N(spec));
    const struct val *source = V(spec, dataSource), *ref = V(spec, dataSourceRef);
    if (val_is(source, VAL_MAP) && !val_is(ref, VAL_MAP) && !plain_source(source) &&
        !val_at(old, N(spec), N(dataSource)))
        val_del(spec, N(dataSource));
    source = V(spec, dataSource);
    if (val_is(source, VAL_MAP) && !val_is(ref, VAL_MAP))
        val_set(a, spec, N(dataSourceRef), val_copy(a, source));
    else if (val_is(ref, VAL_MAP) && !val_is(source, VAL_MAP) && TEXT(ref, namespace).n == 0)
        val_set(a, spec, N(dataSource), val_copy(a, ref));
}

static void create_pvc(struct arena *a, struct val *v, int64_t now)
{
    (void)now;
    struct val status = val_map();
    val_set_text(a, &status, N(phase), S("Pending"));
    val_set(a, v, N(status), status);
    normalise_claim(a, v, NULL);
}

static void update_pvc(struct arena *a, struct str sub, struct val *v, const struct val *old, int64_t now)
{
    (void)now;
    if (sub.n == 0)
        normalise_claim(a, v, old);
}

static void update_deployment(struct arena *a, struct str sub, struct val *v, const struct val *old, int64_t now)
{
    (void)now;
    if (str_eq(sub, S("status")))
        KEEP(a, val_need_map(a, v, N(metadata)), V(old, metadata), labels);
}

static const struct str template_generation = S_INIT("deprecated.daemonset.template.generation");

static void set_template_generation(struct arena *a, struct val *v, int64_t n)
{
    val_set_str(a, val_need_map(a, v, N(metadata), N(annotations)), template_generation,
                val_str(a, arena_fmt(a, "%lld", (long long)n)));
}

static void create_daemonset(struct arena *a, struct val *v, int64_t now)
{
    (void)now;
    set_template_generation(a, v, 1);
}

static void update_daemonset(struct arena *a, struct str sub, struct val *v, const struct val *old, int64_t now)
{
    (void)now;
    int64_t n = 1;
    struct str was = val_text(val_get_str(val_at(old, N(metadata), N(annotations)), template_generation));
    if (!str_to_i64(was, 0, INT32_MAX, &n))
        n = 1;
    if (sub.n == 0 && !SAME(V(v, spec), V(old, spec), template))
        n++;
    set_template_generation(a, v, n);
}

static void create_job(struct arena *a, struct val *v, int64_t now)
{
    (void)now;
    struct val *spec = val_need_map(a, v, N(spec));
    if (val_true(V(spec, manualSelector)))
        return;
    const struct val *meta = V(v, metadata);
    struct val *labels = val_need_map(a, spec, N(template), N(metadata), N(labels));
    bool shared = val_len(V(meta, labels)) == 0 || val_equal(V(meta, labels), labels); /* as defaults left them */
    struct val name = val_str(a, TEXT(meta, name)), uid = val_str(a, TEXT(meta, uid));
    const struct {
        struct str key;
        struct val value;
    } added[] = {{S("job-name"), name},
                 {S("batch.kubernetes.io/job-name"), name},
                 {S("controller-uid"), uid},
                 {S("batch.kubernetes.io/controller-uid"), uid}};
    for (size_t i = 0; i < countof(added); i++)
        if (!val_get_str(labels, added[i].key))
            val_set_str(a, labels, added[i].key, added[i].value);
    if (shared)
        val_set(a, MUT(v, metadata), N(labels), val_copy(a, labels));
    struct val *match = val_need_map(a, spec, N(selector), N(matchLabels));
    if (!val_get_str(match, S("batch.kubernetes.io/controller-uid")))
        val_set_str(a, match, S("batch.kubernetes.io/controller-uid"), uid);
}

static void create_slice(struct arena *a, struct val *v, int64_t now)
{
    (void)a, (void)now;
    each_mut (endpoint, MUT(v, endpoints))
        val_del(endpoint, N(deprecatedTopology));
}

static void create_csr(struct arena *a, struct val *v, int64_t now)
{
    (void)now;
    val_set(a, v, N(status), val_map());
}

static void update_csr(struct arena *a, struct str sub, struct val *v, const struct val *old, int64_t now)
{
    struct val wanted = *v;
    KEEP(a, v, old, spec);
    if (sub.n == 0)
        KEEP(a, v, old, status);
    if (str_eq(sub, S("approval"))) {
        struct val status = V(old, status) ? val_copy(a, V(old, status)) : val_map();
        member_keep(a, &status, V(&wanted, status), N(conditions));
        val_set(a, v, N(status), status);
    }
    each_mut (condition, MUT(MUT(v, status), conditions)) {
        const struct val *was = val_find(val_at(old, N(status), N(conditions)), N(type), TEXT(condition, type));
        if (was && val_equal(was, condition))
            continue;
        if (TEXT(condition, lastUpdateTime).n == 0)
            val_set_text(a, condition, N(lastUpdateTime), time_text(a, now));
        if (TEXT(condition, lastTransitionTime).n == 0)
            val_set_text(a, condition, N(lastTransitionTime), time_text(a, now));
    }
}

static void drop_lease_extras(struct arena *a, struct val *v, int64_t now)
{
    (void)a, (void)now;
    val_del(MUT(v, spec), N(strategy));
    val_del(MUT(v, spec), N(preferredHolder));
}

static void update_lease(struct arena *a, struct str sub, struct val *v, const struct val *old, int64_t now)
{
    (void)sub, (void)old;
    drop_lease_extras(a, v, now);
}

static void update_crd(struct arena *a, struct str sub, struct val *v, const struct val *old, int64_t now)
{
    (void)now;
    if (sub.n > 0)
        return;
    struct val *stored = NULL, status = V(old, status) ? val_copy(a, V(old, status)) : val_map();
    if (!val_is(V(&status, storedVersions), VAL_LIST))
        val_set(a, &status, N(storedVersions), val_list());
    stored = MUT(&status, storedVersions);
    AUTO(seen_fini) struct seen names_stored = SEEN;
    val_each_item (s, stored)
        (void)seen_before(&names_stored, val_text(s));
    val_each_item (version, val_at(v, N(spec), N(versions))) {
        /* a name may be missing: that is refused later */
        if (val_true(V(version, storage)) && V(version, name) && !seen_before(&names_stored, TEXT(version, name)))
            val_add(a, stored, *V(version, name));
    }
    val_set(a, v, N(status), status);
}

static void create_crd(struct arena *a, struct val *v, int64_t now)
{
    update_crd(a, S(""), v, NULL, now);
}

static void create_apiservice(struct arena *a, struct val *v, int64_t now)
{
    struct val status = val_map();
    if (!val_is(val_at(v, N(spec), N(service)), VAL_MAP)) {
        struct val condition = val_map(), list = val_list();
        val_set_text(a, &condition, N(type), S("Available"));
        val_set_text(a, &condition, N(status), S("True"));
        val_set_text(a, &condition, N(lastTransitionTime), time_text(a, now));
        val_set_text(a, &condition, N(reason), S("Local"));
        val_set_text(a, &condition, N(message), S("Local APIServices are always available"));
        val_add(a, &list, condition);
        val_set(a, &status, N(conditions), list);
    }
    val_set(a, v, N(status), status);
}

/*                                 PUT    without  object            */
/* kind                            makes  version  back  propagation  generation  flags  create  update */
#define ROW(kind, put, uncond, back, propagation, generation, ...)                                                   \
    {                                                                                                                \
        {K(kind), put, uncond, back, PROPAGATE_##propagation}, GEN_##generation, __VA_ARGS__                         \
    }
#define PLAIN(kind, put, uncond) ROW(kind, put, uncond, false, BACKGROUND, NONE, 0, NULL, NULL)
static const struct strategy_row rows[] = {
    ROW(Pod, false, true, true, BACKGROUND, SPEC, STATUS_RESET, create_pod, update_pod),
    ROW(PodTemplate, false, true, true, BACKGROUND, TEMPLATE, 0, NULL, NULL),
    ROW(ReplicationController, false, true, false, ORPHAN, SPEC, STATUS_RESET, NULL, NULL),
    ROW(Service, true, true, true, BACKGROUND, NONE, STATUS_RESET, create_service, update_service),
    PLAIN(Endpoints, true, true),
    ROW(Event, true, true, false, NONE, NONE, 0, NULL, NULL),
    ROW(events_k8s_io_Event, true, true, false, NONE, NONE, 0, NULL, NULL),
    ROW(Namespace, false, true, true, BACKGROUND, NONE, STATUS_RESET, create_namespace, update_namespace),
    ROW(Node, false, true, false, BACKGROUND, NONE, STATUS_RESET, NULL, NULL),
    ROW(PersistentVolume, false, true, true, BACKGROUND, NONE, STATUS_RESET, create_pv, update_pv),
    ROW(PersistentVolumeClaim, false, true, true, BACKGROUND, NONE, STATUS_RESET, create_pvc, update_pvc),
    PLAIN(ConfigMap, false, true),
    PLAIN(Secret, false, true),
    ROW(ServiceAccount, false, true, true, BACKGROUND, NONE, 0, NULL, NULL),
    ROW(ResourceQuota, false, true, true, BACKGROUND, NONE, STATUS_RESET, NULL, NULL),
    PLAIN(LimitRange, true, true),
    ROW(Deployment, false, true, false, BACKGROUND, SPEC_ANNOTATIONS, STATUS_RESET, NULL, update_deployment),
    ROW(ReplicaSet, false, true, false, BACKGROUND, SPEC, STATUS_RESET, NULL, NULL),
    ROW(StatefulSet, false, true, false, BACKGROUND, SPEC, STATUS_RESET, NULL, NULL),
    ROW(DaemonSet, false, true, false, BACKGROUND, SPEC, STATUS_RESET, create_daemonset, update_daemonset),
    PLAIN(ControllerRevision, false, true),
    ROW(Job, false, true, false, ORPHAN, SPEC, STATUS_RESET, create_job, NULL),
    ROW(CronJob, false, true, false, BACKGROUND, SPEC, STATUS_RESET, NULL, NULL),
    ROW(HorizontalPodAutoscaler, false, true, false, BACKGROUND, NONE, STATUS_RESET, NULL, NULL),
    ROW(autoscaling_v1_HorizontalPodAutoscaler, false, true, false, BACKGROUND, NONE, STATUS_RESET, NULL, NULL),
    ROW(PodDisruptionBudget, false, false, false, BACKGROUND, SPEC, STATUS_RESET, NULL, NULL),
    ROW(Ingress, false, true, false, BACKGROUND, SPEC, STATUS_RESET, NULL, NULL),
    ROW(IngressClass, false, true, false, BACKGROUND, SPEC, 0, NULL, NULL),
    ROW(NetworkPolicy, false, true, false, BACKGROUND, SPEC, 0, NULL, NULL),
    PLAIN(IPAddress, false, true),
    ROW(ServiceCIDR, false, true, false, BACKGROUND, NONE, STATUS_RESET | STATUS_META_FROM_OLD, NULL, NULL),
    PLAIN(Role, true, true),
    PLAIN(RoleBinding, true, true),
    PLAIN(ClusterRole, true, true),
    PLAIN(ClusterRoleBinding, true, true),
    ROW(CertificateSigningRequest, false, true, false, BACKGROUND, NONE, STATUS_RESET, create_csr, update_csr),
    ROW(StorageClass, false, true, true, BACKGROUND, NONE, 0, NULL, NULL),
    ROW(VolumeAttributesClass, false, true, true, BACKGROUND, NONE, 0, NULL, NULL),
    ROW(CSIDriver, false, false, true, BACKGROUND, SPEC_LATER, 0, NULL, NULL),
    ROW(CSINode, false, false, true, BACKGROUND, NONE, 0, NULL, NULL),
    PLAIN(CSIStorageCapacity, false, false),
    ROW(VolumeAttachment, false, false, true, BACKGROUND, NONE, STATUS_RESET | STATUS_META_FROM_OLD, NULL, NULL),
    ROW(PriorityClass, false, true, false, BACKGROUND, ONCE, 0, NULL, NULL),
    PLAIN(RuntimeClass, true, false),
    ROW(Lease, true, false, false, BACKGROUND, NONE, 0, drop_lease_extras, update_lease),
    ROW(EndpointSlice, false, true, false, BACKGROUND, BODY, 0, create_slice, NULL),
    ROW(FlowSchema, false, true, false, BACKGROUND, SPEC, STATUS_RESET | STATUS_META_FROM_OLD, NULL, NULL),
    ROW(PriorityLevelConfiguration, false, true, false, BACKGROUND, SPEC, STATUS_RESET | STATUS_META_FROM_OLD, NULL,
        NULL),
    ROW(MutatingWebhookConfiguration, false, false, false, BACKGROUND, WEBHOOKS, 0, NULL, NULL),
    ROW(ValidatingWebhookConfiguration, false, false, false, BACKGROUND, WEBHOOKS, 0, NULL, NULL),
    ROW(MutatingAdmissionPolicy, false, false, false, BACKGROUND, SPEC, 0, NULL, NULL),
    ROW(MutatingAdmissionPolicyBinding, false, false, false, BACKGROUND, SPEC, 0, NULL, NULL),
    ROW(ValidatingAdmissionPolicy, false, false, false, BACKGROUND, SPEC, STATUS_RESET, NULL, NULL),
    ROW(ValidatingAdmissionPolicyBinding, false, false, false, BACKGROUND, SPEC, 0, NULL, NULL),
    ROW(DeviceClass, false, true, true, BACKGROUND, SPEC, 0, NULL, NULL),
    ROW(ResourceSlice, false, true, true, BACKGROUND, SPEC, 0, NULL, NULL),
    ROW(ResourceClaim, false, true, true, BACKGROUND, NONE, STATUS_RESET, NULL, NULL),
    ROW(ResourceClaimTemplate, false, true, true, BACKGROUND, NONE, 0, NULL, NULL),
    ROW(CustomResourceDefinition, false, false, false, BACKGROUND, SPEC, STATUS_RESET, create_crd, update_crd),
    ROW(APIService, false, false, false, BACKGROUND, NONE, STATUS_RESET, create_apiservice, NULL),
};
static const struct strategy_row other = {{NULL, false, false, false, PROPAGATE_BACKGROUND}, GEN_BODY, 0, NULL, NULL};

static const struct strategy_row *row_of(const struct kind *k)
{
    for (size_t i = 0; i < countof(rows); i++)
        if (rows[i].s.kind == k)
            return &rows[i];
    return &other;
}

const struct strategy *kind_strategy(const struct kind *k)
{
    return &row_of(k)->s;
}

static bool body_changed(const struct val *v, const struct val *old)
{
    val_each_member (m, v) {
        if (m->name != N(metadata) && m->name != N(status) && m->name != N(apiVersion) && m->name != N(kind) &&
            !member_same(v, old, m->name))
            return true;
    }
    val_each_member (m, old) {
        if (m->name != N(metadata) && m->name != N(status) && !val_get(v, m->name) && !member_same(v, old, m->name))
            return true;
    }
    return false;
}

static bool generation_counts(enum generation rule, const struct val *v, const struct val *old)
{
    switch (rule) {
    case GEN_NONE:
    case GEN_ONCE: return false;
    case GEN_SPEC:
    case GEN_SPEC_LATER: return !SAME(v, old, spec);
    case GEN_SPEC_ANNOTATIONS: return !SAME(v, old, spec) || !SAME(V(v, metadata), V(old, metadata), annotations);
    case GEN_TEMPLATE: return !SAME(v, old, template);
    case GEN_BODY: return body_changed(v, old) || !SAME(V(v, metadata), V(old, metadata), labels);
    case GEN_WEBHOOKS: return !SAME(v, old, webhooks);
    }
    return false;
}

void kind_prepare_create(struct arena *a, const struct kind *k, struct val *v, int64_t now)
{
    const struct strategy_row *row = row_of(k);
    struct val *meta = val_need_map(a, v, N(metadata));
    val_del(meta, N(deletionTimestamp));
    val_del(meta, N(deletionGracePeriodSeconds));
    val_del(meta, N(selfLink));
    val_del(meta, N(managedFields));
    bool keeps_status = k == K(Node); /* nodes register themselves with it */
    if (!keeps_status && ((row->flags & STATUS_RESET) || row == &other))
        val_del(v, N(status));
    if (row->create)
        row->create(a, v, now);
    meta = MUT(v, metadata);
    if (row->generation != GEN_NONE && row->generation != GEN_SPEC_LATER)
        val_set_num(a, meta, N(generation), 1);
}

void kind_prepare_update(struct arena *a, const struct kind *k, struct str sub, struct val *v, const struct val *old,
                         int64_t now)
{
    const struct strategy_row *row = row_of(k);
    const struct val *was = V(old, metadata);
    struct val *meta = val_need_map(a, v, N(metadata));
    bool status = str_eq(sub, S("status"));
    if (status) { /* everything but status stands as it was */
        struct val wanted = *v;
        *v = val_map();
        val_each_member (m, old)
            if (m->name != N(status) && m->name != N(metadata))
                val_set(a, v, m->name, m->v);
        if (V(&wanted, status))
            val_set(a, v, N(status), *V(&wanted, status));
        val_set(a, v, N(metadata), (row->flags & STATUS_META_FROM_OLD) ? val_copy(a, was) : *meta);
        if (row->flags & STATUS_META_FROM_OLD)
            KEEP(a, MUT(v, metadata), meta, resourceVersion);
        meta = MUT(v, metadata);
    } else if (sub.n == 0 && ((row->flags & STATUS_RESET) || row == &other)) {
        KEEP(a, v, old, status);
        meta = MUT(v, metadata);
    }
    if (TEXT(meta, uid).n == 0)
        KEEP(a, meta, was, uid);
    KEEP(a, meta, was, creationTimestamp);
    if (row->generation != GEN_NONE || !V(meta, generation))
        KEEP(a, meta, was, generation);
    if (!V(meta, deletionTimestamp) || status)
        KEEP(a, meta, was, deletionTimestamp);
    if (!V(meta, deletionGracePeriodSeconds) || status)
        KEEP(a, meta, was, deletionGracePeriodSeconds);
    val_del(meta, N(selfLink));
    val_del(meta, N(managedFields));
    if (row->update)
        row->update(a, sub, v, old, now);
    if (!status && generation_counts(row->generation, v, old))
        val_set_num(a, val_need_map(a, v, N(metadata)), N(generation), val_num(V(was, generation), 0) + 1);
}

/* Field selectors. */

struct selectable {
    const struct kind *kind;
    const char *paths[12];
};
#define EVENT_FIELDS(prefix)                                                                                         \
    prefix ".kind", prefix ".namespace", prefix ".name", prefix ".uid", prefix ".apiVersion",                        \
        prefix ".resourceVersion", prefix ".fieldPath"
static const struct selectable selectables[] = {
    {K(Pod),
     {"spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
      "status.phase", "status.podIP", "status.nominatedNodeName", "status.podIPs", "spec.host"}},
    {K(ReplicationController), {"status.replicas"}},
    {K(Service), {"spec.clusterIP", "spec.type"}},
    {K(Event), {EVENT_FIELDS("involvedObject"), "reason", "reportingComponent", "source", "type"}},
    {K(events_k8s_io_Event), {EVENT_FIELDS("regarding"), "reason", "reportingController", "type"}},
    {K(Namespace), {"status.phase", "name"}},
    {K(Node), {"spec.unschedulable"}},
    {K(PersistentVolume), {"name"}},
    {K(PersistentVolumeClaim), {"name"}},
    {K(Secret), {"type"}},
    {K(Job), {"status.successful"}},
    {K(CertificateSigningRequest), {"spec.signerName"}},
    {K(ResourceSlice), {"spec.nodeName", "spec.driver"}},
};

bool kind_field_supported(const struct kind *k, struct str path)
{
    if (str_eq(path, S("metadata.name")) || str_eq(path, S("metadata.namespace")))
        return true;
    for (size_t i = 0; i < countof(selectables); i++)
        for (size_t j = 0; selectables[i].kind == k && j < countof(selectables[i].paths); j++)
            if (selectables[i].paths[j] && str_eqz(path, selectables[i].paths[j]))
                return true;
    return false;
}

static const struct val *path_follow(const struct val *v, struct str path)
{
    struct str part;
    while (v && str_cut(&path, '.', &part))
        v = val_get_str(v, part);
    return v;
}

struct str kind_field_value(struct arena *a, const struct kind *k, const struct val *tree, struct str path)
{
    const struct val *v;
    if (str_eq(path, S("spec.host")))
        path = S("spec.nodeName");
    if (str_eq(path, S("name")))
        path = S("metadata.name");
    if (str_eq(path, S("status.successful")))
        path = S("status.succeeded");
    if (str_eq(path, S("source"))) {
        struct str source = val_text_at(tree, N(source), N(component));
        return source.n ? source : TEXT(tree, reportingComponent);
    }
    v = path_follow(tree, path);
    if (!v && k->storage) { /* the tree may have the form of the other group */
        if (str_starts(path, S("regarding.")))
            v = path_follow(V(tree, involvedObject), str_sub(path, 10, path.n));
        else if (str_starts(path, S("involvedObject.")))
            v = path_follow(V(tree, regarding), str_sub(path, 15, path.n));
        else if (str_eq(path, S("reportingController")))
            v = V(tree, reportingComponent);
        else if (str_eq(path, S("reportingComponent")))
            v = V(tree, reportingController);
    }
    if (val_is(v, VAL_STRING))
        return val_text(v);
    if (val_is(v, VAL_INT))
        return arena_fmt(a, "%lld", (long long)v->i);
    if (val_is(v, VAL_BOOL))
        return v->b ? S("true") : S("false");
    if (str_eq(path, S("spec.hostNetwork")) || str_eq(path, S("spec.unschedulable")))
        return S("false");
    if (str_eq(path, S("status.replicas")) || str_eq(path, S("status.succeeded")))
        return S("0");
    return S("");
}

bool pod_has_ended(const struct val *pod)
{
    struct str phase = val_text_at(pod, N(status), N(phase));
    return str_eq(phase, S("Succeeded")) || str_eq(phase, S("Failed"));
}

int64_t kind_delete_grace(const struct kind *k, const struct val *tree, bool said, int64_t asked)
{
    if (k != K(Pod))
        return 0;
    int64_t grace = said ? asked : val_num_at(tree, 0, N(spec), N(terminationGracePeriodSeconds));
    if (val_text_at(tree, N(spec), N(nodeName)).n == 0 || pod_has_ended(tree))
        grace = 0;
    return grace < 0 ? 1 : grace;
}

/* Scale. */

bool kind_scale_of(struct arena *a, const struct kind *k, const struct val *tree, struct val *scale)
{
    if (k != K(Deployment) && k != K(ReplicaSet) && k != K(StatefulSet) && k != K(ReplicationController))
        return false;
    struct val meta = val_map(), spec = val_map(), status = val_map();
    const struct name *const copied[] = {N(name), N(namespace), N(uid), N(resourceVersion), N(creationTimestamp)};
    for (size_t i = 0; i < countof(copied); i++) {
        const struct val *v = val_get(V(tree, metadata), copied[i]);
        if (v)
            val_set(a, &meta, copied[i], *v);
    }
    val_set_num(a, &spec, N(replicas), val_num_at(tree, 0, N(spec), N(replicas)));
    val_set_num(a, &status, N(replicas), val_num_at(tree, 0, N(status), N(replicas)));
    const struct val *by = val_at(tree, N(spec), N(selector));
    struct selector *selector = NULL;
    struct err ignored = ERR; /* without a selector that can be read there is none to tell */
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    if (k == K(ReplicationController))
        selector = selector_of_map(a, by);
    else if (!selector_of(a, by, &selector, &ignored))
        selector = NULL;
    if (selector)
        selector_text(selector, &text);
    if (text.n > 0)
        val_set_text(a, &status, N(selector), strbuf_str(&text));
    *scale = val_map();
    val_set_text(a, scale, N(kind), S("Scale"));
    val_set_text(a, scale, N(apiVersion), S("autoscaling/v1"));
    val_set(a, scale, N(metadata), meta);
    val_set(a, scale, N(spec), spec);
    val_set(a, scale, N(status), status);
    return true;
}

void kind_scale_apply(struct arena *a, const struct kind *k, struct val *tree, const struct val *scale)
{
    (void)k;
    val_set_num(a, val_need_map(a, tree, N(spec)), N(replicas), val_num_at(scale, 0, N(spec), N(replicas)));
}
