/* defaults.c - what a decoded object gets where it says nothing, and the normal forms of the wire, in which one
 * member mirrors another (podIP and podIPs, serviceAccount and serviceAccountName, clusterIP and clusterIPs).
 *
 * Two passes. First `declared_walk` goes over the whole tree by its type: it sets the defaults that the tables
 * declare, and rounds the quantities of resource lists to thousandths. Then the kind's own function follows, in the
 * order of upstream's SetDefaults functions (pkg/apis/GROUP/VERSION/defaults.go), because one default rests on
 * another: a container's requests come from its limits before the pod's come from those of its containers. They are
 * written by hand because nearly all depend on other fields of the object.
 *
 * A pod in a template gets less than a pod: default_pod_spec serves both, default_pod adds what only a pod gets.
 * Members behind feature gates that are off upstream are taken out here.
 *
 * It runs on every write, also on what an update or a patch made, so each function must leave alone what is there.
 * Not here: what depends on other objects (storage class, priority, tolerations: the server's admission) and what
 * the server computes whatever the client says (strategy.c).
 */
#include "api/defaults_int.h"
#include "api/formats.h"
#include "api/quantity.h"

/* Declared defaults, and quantities of resource lists in whole thousandths: everywhere in the tree. */
static void declared_walk(struct arena *a, const struct type *t, struct val *v)
{
    if (t->kind == TYPE_LIST) {
        each_mut (item, v)
            declared_walk(a, t->of, item);
    } else if (t->kind == TYPE_MAP) {
        each_member_mut (m, v) {
            if (t->of->kind != TYPE_QUANTITY)
                declared_walk(a, t->of, &m->v);
            else if (quantity_cmp(val_text(&m->v), S("0")) != 0)
                m->v = val_str(a, quantity_round_milli(a, val_text(&m->v)));
        }
    } else if (t->kind == TYPE_STRUCT && val_is(v, VAL_MAP)) {
        for (uint16_t i = 0; i < t->nfields; i++) {
            const struct field *f = &t->fields[i];
            if (f->flags & FIELD_INLINE) {
                declared_walk(a, f->type, v);
                continue;
            }
            struct val *m = val_get_mut(v, f->name);
            const char *d = f->x->dflt;
            bool empty = !m || m->type == VAL_NULL ||
                         (!(f->flags & FIELD_POINTER) && m->type == VAL_STRING && m->n == 0);
            if (d && empty) {
                struct str text = str_of(d);
                int64_t n;
                if (*d == '"')
                    val_set(a, v, f->name, val_str_borrowed(str_sub(text, 1, text.n - 1)));
                else if (*d == 't' || *d == 'f')
                    val_set_bool(a, v, f->name, *d == 't');
                else if (str_to_i64(text, INT64_MIN, INT64_MAX, &n))
                    val_set_num(a, v, f->name, n);
                if (*d == '"') { /* NUL-terminated, which a part of a literal is not */
                    m = val_get_mut(v, f->name);
                    *m = val_str(a, val_text(m));
                }
            } else if (m) {
                declared_walk(a, f->type, m);
            }
        }
    }
}

static bool tag_is_latest(struct str image)
{
    if (str_find_char(image, '@') >= 0)
        return str_ends(str_sub(image, 0, (size_t)str_find_char(image, '@')), S(":latest"));
    ptrdiff_t slash = str_rfind_char(image, '/');
    struct str last = str_sub(image, (size_t)(slash + 1), image.n), name, tag;
    return !str_split(last, ':', &name, &tag) || str_eq(tag, S("latest"));
}

static void default_http_get(struct arena *a, struct val *get)
{
    if (!val_is(get, VAL_MAP))
        return;
    DEF_TEXT(a, get, path, "/");
    DEF_TEXT(a, get, scheme, "HTTP");
}

static void default_probe(struct arena *a, struct val *probe)
{
    if (!val_is(probe, VAL_MAP))
        return;
    DEF_NUM_OF_ZERO(a, probe, timeoutSeconds, 1);
    DEF_NUM_OF_ZERO(a, probe, periodSeconds, 10);
    DEF_NUM_OF_ZERO(a, probe, successThreshold, 1);
    DEF_NUM_OF_ZERO(a, probe, failureThreshold, 3);
    default_http_get(a, MUT(probe, httpGet));
}

static void default_field_ref(struct arena *a, struct val *ref)
{
    if (val_is(ref, VAL_MAP))
        DEF_TEXT(a, ref, apiVersion, "v1");
}

static void default_pull_policy(struct arena *a, struct val *v, const struct name *policy, struct str image)
{
    if (val_text(val_get(v, policy)).n == 0)
        val_set_text(a, v, policy, tag_is_latest(image) ? S("Always") : S("IfNotPresent"));
}

static void default_container(struct arena *a, struct val *c)
{
    default_pull_policy(a, c, N(imagePullPolicy), TEXT(c, image));
    DEF_TEXT(a, c, terminationMessagePath, "/dev/termination-log");
    DEF_TEXT(a, c, terminationMessagePolicy, "File");
    each_mut (port, MUT(c, ports))
        DEF_TEXT(a, port, protocol, "TCP");
    each_mut (env, MUT(c, env))
        default_field_ref(a, MUT(MUT(env, valueFrom), fieldRef));
    default_probe(a, MUT(c, livenessProbe));
    default_probe(a, MUT(c, readinessProbe));
    default_probe(a, MUT(c, startupProbe));
    struct val *life = MUT(c, lifecycle);
    default_http_get(a, MUT(MUT(life, postStart), httpGet));
    default_http_get(a, MUT(MUT(life, preStop), httpGet));
}

void default_claim_spec(struct arena *a, struct val *spec)
{
    if (val_is(spec, VAL_MAP))
        DEF_TEXT(a, spec, volumeMode, "Filesystem");
}

static void default_volume(struct arena *a, struct val *volume)
{
    size_t sources = 0;
    each_member_mut (m, volume) {
        sources += m->name != N(name) && m->v.type != VAL_NULL;
    }
    if (sources == 0)
        DEF_MAP(a, volume, emptyDir);
    static const struct name *const with_mode[] = {N(secret), N(configMap), N(downwardAPI), N(projected)};
    for (size_t i = 0; i < countof(with_mode); i++) {
        struct val *source = val_get_mut(volume, with_mode[i]);
        if (val_is(source, VAL_MAP))
            DEF_NUM(a, source, defaultMode, 420);
    }
    each_mut (item, MUT(MUT(volume, downwardAPI), items))
        default_field_ref(a, MUT(item, fieldRef));
    each_mut (source, MUT(MUT(volume, projected), sources)) {
        val_del(source, N(clusterTrustBundle)); /* behind a gate that is off */
        struct val *token = MUT(source, serviceAccountToken);
        if (val_is(token, VAL_MAP))
            DEF_NUM(a, token, expirationSeconds, 3600);
        each_mut (item, MUT(MUT(source, downwardAPI), items))
            default_field_ref(a, MUT(item, fieldRef));
    }
    struct val *host = MUT(volume, hostPath);
    if (val_is(host, VAL_MAP) && !val_is(V(host, type), VAL_STRING))
        val_set_text(a, host, N(type), S(""));
    struct val *image = MUT(volume, image);
    if (val_is(image, VAL_MAP))
        default_pull_policy(a, image, N(pullPolicy), TEXT(image, reference));
    struct val *template = MUT(MUT(volume, ephemeral), volumeClaimTemplate);
    if (val_is(template, VAL_MAP))
        default_claim_spec(a, val_need_map(a, template, N(spec)));
}

void default_pod_spec(struct arena *a, struct val *spec)
{
    val_del(spec, N(schedulingGroup)); /* behind a gate that is off */
    DEF_TEXT(a, spec, dnsPolicy, "ClusterFirst");
    DEF_TEXT(a, spec, restartPolicy, "Always");
    DEF_MAP(a, spec, securityContext);
    DEF_NUM(a, spec, terminationGracePeriodSeconds, 30);
    DEF_TEXT(a, spec, schedulerName, "default-scheduler");
    each_mut (volume, MUT(spec, volumes))
        default_volume(a, volume);
    each_mut (c, MUT(spec, initContainers))
        default_container(a, c);
    each_mut (c, MUT(spec, containers))
        default_container(a, c);
    each_mut (c, MUT(spec, ephemeralContainers))
        default_container(a, c);
    /* the old name of serviceAccountName mirrors it */
    struct str account = TEXT(spec, serviceAccountName);
    if (account.n == 0 && TEXT(spec, serviceAccount).n > 0)
        val_set_text(a, spec, N(serviceAccountName), TEXT(spec, serviceAccount));
    else if (account.n > 0)
        val_set_text(a, spec, N(serviceAccount), account);
}

static void default_requests(struct arena *a, struct val *containers)
{
    each_mut (c, containers) {
        struct val *resources = MUT(c, resources);
        if (val_len(V(resources, limits)) == 0)
            continue;
        struct val *requests = val_need_map(a, resources, N(requests));
        each_member_mut (limit, MUT(resources, limits)) {
            if (!val_get(requests, limit->name))
                val_set(a, requests, limit->name, limit->v);
        }
    }
}

/* What the containers ask for together, as the scheduler counts: the sum, or the largest init container beside the
 * sidecars that run by then. */
static struct str pod_requests(struct arena *a, const struct val *spec, struct str resource)
{
    struct str sum = S("0"), sidecars = S("0"), init = S("0");
    val_each_item (c, V(spec, containers))
        sum = quantity_add(a, sum, val_text(val_get_str(val_at(c, N(resources), N(requests)), resource)));
    val_each_item (c, V(spec, initContainers)) {
        struct str request = val_text(val_get_str(val_at(c, N(resources), N(requests)), resource));
        struct str now = quantity_add(a, sidecars, request);
        if (str_eq(TEXT(c, restartPolicy), S("Always"))) {
            sidecars = now;
            sum = quantity_add(a, sum, request);
        }
        if (quantity_cmp(now, init) > 0)
            init = now;
    }
    return quantity_cmp(init, sum) > 0 ? init : sum;
}

static void default_pod_resources(struct arena *a, struct val *spec)
{
    struct val *resources = MUT(spec, resources);
    if (!val_is(resources, VAL_MAP) || val_len(V(resources, limits)) == 0)
        return;
    struct val *requests = val_need_map(a, resources, N(requests));
    static const struct str overcommittable[] = {S_INIT("cpu"), S_INIT("memory")};
    for (size_t i = 0; i < countof(overcommittable); i++) {
        struct str sum = pod_requests(a, spec, overcommittable[i]);
        if (!val_get_str(requests, overcommittable[i]) && quantity_cmp(sum, S("0")) > 0)
            val_set_str(a, requests, overcommittable[i], val_str(a, sum));
    }
    each_member_mut (limit, MUT(resources, limits)) {
        struct str name = limit->name->s;
        bool of_pods = str_eq(name, S("cpu")) || str_eq(name, S("memory")) || is_hugepages(name);
        if (of_pods && !val_get(requests, limit->name))
            val_set(a, requests, limit->name, limit->v);
    }
}

static void default_pod(struct arena *a, struct val *v)
{
    struct val *spec = val_need_map(a, v, N(spec));
    DEF_BOOL(a, spec, enableServiceLinks, true);
    default_requests(a, MUT(spec, containers));
    default_requests(a, MUT(spec, initContainers));
    default_pod_resources(a, spec);
    if (val_true(V(spec, hostNetwork))) {
        const struct name *const lists[] = {N(containers), N(initContainers)};
        for (size_t i = 0; i < countof(lists); i++)
            each_mut (c, val_get_mut(spec, lists[i])) {
                each_mut (port, MUT(c, ports)) {
                    if (val_num(V(port, hostPort), 0) == 0)
                        val_set_num(a, port, N(hostPort), val_num(V(port, containerPort), 0));
                }
            }
    }
    default_pod_spec(a, spec);
    if (val_num(V(spec, terminationGracePeriodSeconds), 0) < 0)
        val_set_num(a, spec, N(terminationGracePeriodSeconds), 1);
    struct val *status = MUT(v, status);
    if (!val_is(status, VAL_MAP))
        return;
    /* podIP is the first of podIPs */
    struct str ip = TEXT(status, podIP), first = TEXT(val_item(V(status, podIPs), 0), ip);
    if (ip.n > 0 && !str_eq(ip, first)) {
        struct val list = val_list(), item = val_map();
        val_set_text(a, &item, N(ip), ip);
        val_add(a, &list, item);
        val_set(a, status, N(podIPs), list);
    } else if (ip.n == 0 && first.n > 0) {
        val_set_text(a, status, N(podIP), first);
    }
}

static bool externally_accessible(const struct val *spec)
{
    struct str type = TEXT(spec, type);
    return str_eq(type, S("LoadBalancer")) || str_eq(type, S("NodePort")) ||
           (str_eq(type, S("ClusterIP")) && val_len(V(spec, externalIPs)) > 0);
}

static void default_service(struct arena *a, struct val *v)
{
    struct val *spec = val_need_map(a, v, N(spec));
    DEF_TEXT(a, spec, sessionAffinity, "None");
    if (str_eq(TEXT(spec, sessionAffinity), S("None"))) {
        val_del(spec, N(sessionAffinityConfig));
    } else if (str_eq(TEXT(spec, sessionAffinity), S("ClientIP")) &&
               !val_is(val_at(spec, N(sessionAffinityConfig), N(clientIP), N(timeoutSeconds)), VAL_INT)) {
        struct val client = val_map(), config = val_map();
        val_set_num(a, &client, N(timeoutSeconds), 10800);
        val_set(a, &config, N(clientIP), client);
        val_set(a, spec, N(sessionAffinityConfig), config);
    }
    DEF_TEXT(a, spec, type, "ClusterIP");
    each_mut (port, MUT(spec, ports)) {
        DEF_TEXT(a, port, protocol, "TCP");
        const struct val *target = V(port, targetPort);
        if (!target || target->type == VAL_NULL || (target->type == VAL_INT && target->i == 0) ||
            (target->type == VAL_STRING && target->n == 0))
            val_set_num(a, port, N(targetPort), val_num(V(port, port), 0));
    }
    struct str type = TEXT(spec, type);
    if (externally_accessible(spec))
        DEF_TEXT(a, spec, externalTrafficPolicy, "Cluster");
    bool balancer = str_eq(type, S("LoadBalancer"));
    if (balancer || str_eq(type, S("NodePort")) || str_eq(type, S("ClusterIP")))
        DEF_TEXT(a, spec, internalTrafficPolicy, "Cluster");
    if (balancer) {
        DEF_BOOL(a, spec, allocateLoadBalancerNodePorts, true);
        each_mut (ingress, MUT(MUT(MUT(v, status), loadBalancer), ingress)) {
            if (TEXT(ingress, ip).n > 0)
                DEF_TEXT(a, ingress, ipMode, "VIP");
        }
    }
    /* clusterIP names the first of clusterIPs */
    if (TEXT(spec, clusterIP).n > 0 && val_len(V(spec, clusterIPs)) == 0) {
        struct val list = val_list();
        val_add(a, &list, *V(spec, clusterIP));
        val_set(a, spec, N(clusterIPs), list);
    }
}

static void default_endpoints(struct arena *a, struct val *v)
{
    each_mut (subset, MUT(v, subsets))
        each_mut (port, MUT(subset, ports))
            DEF_TEXT(a, port, protocol, "TCP");
}

static void default_namespace(struct arena *a, struct val *v)
{
    struct str name = val_text_at(v, N(metadata), N(name));
    if (name.n > 0)
        val_set_str(a, val_need_map(a, v, N(metadata), N(labels)), S("kubernetes.io/metadata.name"),
                    val_str(a, name));
    DEF_TEXT(a, val_need_map(a, v, N(status)), phase, "Active");
}

static void default_secret(struct arena *a, struct val *v)
{
    DEF_TEXT(a, v, type, "Opaque");
    if (val_len(V(v, stringData)) > 0) {
        struct val *data = val_need_map(a, v, N(data));
        val_each_member (m, V(v, stringData))
            val_set(a, data, m->name, val_bytes(a, val_text(&m->v)));
    }
    val_del(v, N(stringData));
}

static void default_rc(struct arena *a, struct val *v)
{
    struct val *spec = val_need_map(a, v, N(spec));
    const struct val *labels = val_at(spec, N(template), N(metadata), N(labels));
    if (val_len(labels) > 0) {
        if (val_len(V(spec, selector)) == 0)
            val_set(a, spec, N(selector), val_copy(a, labels));
        if (val_len(val_at(v, N(metadata), N(labels))) == 0)
            val_set(a, val_need_map(a, v, N(metadata)), N(labels), val_copy(a, labels));
    }
    DEF_NUM(a, spec, replicas, 1);
    struct val *template = MUT(spec, template);
    if (val_is(template, VAL_MAP))
        default_pod_spec(a, val_need_map(a, template, N(spec)));
}

static void default_pv(struct arena *a, struct val *v)
{
    DEF_TEXT(a, val_need_map(a, v, N(status)), phase, "Pending");
    struct val *spec = val_need_map(a, v, N(spec));
    DEF_TEXT(a, spec, persistentVolumeReclaimPolicy, "Retain");
    DEF_TEXT(a, spec, volumeMode, "Filesystem");
    struct val *host = MUT(spec, hostPath);
    if (val_is(host, VAL_MAP) && !val_is(V(host, type), VAL_STRING))
        val_set_text(a, host, N(type), S(""));
}

static void default_pvc(struct arena *a, struct val *v)
{
    DEF_TEXT(a, val_need_map(a, v, N(status)), phase, "Pending");
    default_claim_spec(a, val_need_map(a, v, N(spec)));
}

static void default_node(struct arena *a, struct val *v)
{
    struct val *status = MUT(v, status);
    if (val_is(V(status, capacity), VAL_MAP) && !val_is(V(status, allocatable), VAL_MAP))
        val_set(a, status, N(allocatable), val_copy(a, V(status, capacity)));
    struct val *spec = MUT(v, spec);
    struct str cidr = TEXT(spec, podCIDR), first = val_text(val_item(V(spec, podCIDRs), 0));
    if (cidr.n > 0 && !str_eq(cidr, first)) {
        struct val list = val_list();
        val_add(a, &list, val_str(a, cidr));
        val_set(a, spec, N(podCIDRs), list);
    } else if (cidr.n == 0 && first.n > 0) {
        val_set_text(a, spec, N(podCIDR), first);
    }
}

static void val_fill(struct arena *a, struct val *into, const struct val *from)
{
    val_each_member (m, from)
        if (!val_get(into, m->name))
            val_set(a, into, m->name, m->v);
}

static void default_limitrange(struct arena *a, struct val *v)
{
    each_mut (item, MUT(MUT(v, spec), limits)) {
        if (!str_eq(TEXT(item, type), S("Container")))
            continue;
        struct val *dflt = val_need_map(a, item, N(default));
        val_fill(a, dflt, V(item, max));
        struct val *request = val_need_map(a, item, N(defaultRequest));
        val_fill(a, request, V(item, default));
        val_fill(a, request, V(item, min));
    }
}

static void default_deployment(struct arena *a, struct val *v)
{
    struct val *spec = val_need_map(a, v, N(spec));
    DEF_NUM(a, spec, replicas, 1);
    struct val *strategy = val_need_map(a, spec, N(strategy));
    DEF_TEXT(a, strategy, type, "RollingUpdate");
    if (str_eq(TEXT(strategy, type), S("RollingUpdate"))) {
        struct val *rolling = val_need_map(a, strategy, N(rollingUpdate));
        if (!V(rolling, maxUnavailable))
            val_set_text(a, rolling, N(maxUnavailable), S("25%"));
        if (!V(rolling, maxSurge))
            val_set_text(a, rolling, N(maxSurge), S("25%"));
    }
    DEF_NUM(a, spec, revisionHistoryLimit, 10);
    DEF_NUM(a, spec, progressDeadlineSeconds, 600);
    default_pod_spec(a, val_need_map(a, spec, N(template), N(spec)));
}

static void default_replicaset(struct arena *a, struct val *v)
{
    struct val *spec = val_need_map(a, v, N(spec));
    DEF_NUM(a, spec, replicas, 1);
    default_pod_spec(a, val_need_map(a, spec, N(template), N(spec)));
}

static void default_daemonset(struct arena *a, struct val *v)
{
    struct val *spec = val_need_map(a, v, N(spec));
    struct val *strategy = val_need_map(a, spec, N(updateStrategy));
    DEF_TEXT(a, strategy, type, "RollingUpdate");
    if (str_eq(TEXT(strategy, type), S("RollingUpdate"))) {
        struct val *rolling = val_need_map(a, strategy, N(rollingUpdate));
        if (!V(rolling, maxUnavailable))
            val_set_num(a, rolling, N(maxUnavailable), 1);
        if (!V(rolling, maxSurge))
            val_set_num(a, rolling, N(maxSurge), 0);
    }
    DEF_NUM(a, spec, revisionHistoryLimit, 10);
    default_pod_spec(a, val_need_map(a, spec, N(template), N(spec)));
}

static void default_statefulset(struct arena *a, struct val *v)
{
    struct val *spec = val_need_map(a, v, N(spec));
    DEF_TEXT(a, spec, podManagementPolicy, "OrderedReady");
    struct val *strategy = val_need_map(a, spec, N(updateStrategy));
    if (TEXT(strategy, type).n == 0) {
        val_set_text(a, strategy, N(type), S("RollingUpdate"));
        DEF_MAP(a, strategy, rollingUpdate);
    }
    struct val *rolling = MUT(strategy, rollingUpdate);
    if (str_eq(TEXT(strategy, type), S("RollingUpdate")) && val_is(rolling, VAL_MAP))
        DEF_NUM(a, rolling, partition, 0);
    struct val *retention = val_need_map(a, spec, N(persistentVolumeClaimRetentionPolicy));
    DEF_TEXT(a, retention, whenDeleted, "Retain");
    DEF_TEXT(a, retention, whenScaled, "Retain");
    DEF_NUM(a, spec, replicas, 1);
    DEF_NUM(a, spec, revisionHistoryLimit, 10);
    each_mut (claim, MUT(spec, volumeClaimTemplates)) {
        DEF_TEXT(a, claim, apiVersion, "v1");
        DEF_TEXT(a, claim, kind, "PersistentVolumeClaim");
        default_pvc(a, claim);
    }
    default_pod_spec(a, val_need_map(a, spec, N(template), N(spec)));
}

static void default_job(struct arena *a, struct val *v)
{
    struct val *spec = val_need_map(a, v, N(spec));
    if (!val_is(V(spec, completions), VAL_INT) && !val_is(V(spec, parallelism), VAL_INT))
        val_set_num(a, spec, N(completions), 1);
    DEF_NUM(a, spec, parallelism, 1);
    DEF_NUM(a, spec, backoffLimit, val_is(V(spec, backoffLimitPerIndex), VAL_INT) ? INT32_MAX : 6);
    const struct val *labels = val_at(spec, N(template), N(metadata), N(labels));
    if (val_len(labels) > 0 && val_len(val_at(v, N(metadata), N(labels))) == 0)
        val_set(a, val_need_map(a, v, N(metadata)), N(labels), val_copy(a, labels));
    DEF_TEXT(a, spec, completionMode, "NonIndexed");
    DEF_BOOL(a, spec, suspend, false);
    const struct val *failure = V(spec, podFailurePolicy);
    if (TEXT(spec, podReplacementPolicy).n == 0)
        val_set_text(a, spec, N(podReplacementPolicy),
                     val_is(failure, VAL_MAP) ? S("Failed") : S("TerminatingOrFailed"));
    each_mut (rule, MUT(MUT(spec, podFailurePolicy), rules)) {
        each_mut (pattern, MUT(rule, onPodConditions))
            DEF_TEXT(a, pattern, status, "True");
    }
    DEF_BOOL(a, spec, manualSelector, false);
    default_pod_spec(a, val_need_map(a, spec, N(template), N(spec)));
}

static void default_cronjob(struct arena *a, struct val *v)
{
    struct val *spec = val_need_map(a, v, N(spec));
    DEF_TEXT(a, spec, concurrencyPolicy, "Allow");
    DEF_BOOL(a, spec, suspend, false);
    DEF_NUM(a, spec, successfulJobsHistoryLimit, 3);
    DEF_NUM(a, spec, failedJobsHistoryLimit, 1);
    default_pod_spec(a, val_need_map(a, spec, N(jobTemplate), N(spec), N(template), N(spec)));
}

static void default_networkpolicy(struct arena *a, struct val *v)
{
    struct val *spec = val_need_map(a, v, N(spec));
    const struct name *const lists[] = {N(ingress), N(egress)};
    for (size_t i = 0; i < countof(lists); i++)
        each_mut (rule, val_get_mut(spec, lists[i])) {
            each_mut (port, MUT(rule, ports))
                DEF_TEXT(a, port, protocol, "TCP");
        }
    if (val_len(V(spec, policyTypes)) == 0) {
        struct val types = val_list();
        val_add(a, &types, val_str_borrowed(S("Ingress")));
        if (val_len(V(spec, egress)) > 0)
            val_add(a, &types, val_str_borrowed(S("Egress")));
        val_set(a, spec, N(policyTypes), types);
    }
}

static void default_ingressclass(struct arena *a, struct val *v)
{
    struct val *parameters = MUT(MUT(v, spec), parameters);
    if (val_is(parameters, VAL_MAP))
        DEF_TEXT(a, parameters, scope, "Cluster");
}

static void default_binding(struct arena *a, struct val *v)
{
    DEF_TEXT(a, val_need_map(a, v, N(roleRef)), apiGroup, "rbac.authorization.k8s.io");
    each_mut (subject, MUT(v, subjects)) {
        struct str kind = TEXT(subject, kind);
        if (str_eq(kind, S("User")) || str_eq(kind, S("Group")))
            DEF_TEXT(a, subject, apiGroup, "rbac.authorization.k8s.io");
    }
}

static struct val scaling_policy(struct arena *a, const char *type, int value)
{
    struct val v = val_map();
    val_set_text(a, &v, N(type), str_of(type));
    val_set_num(a, &v, N(value), value);
    val_set_num(a, &v, N(periodSeconds), 15);
    return v;
}

static void default_scaling(struct arena *a, struct val *behavior, const struct name *way, bool up)
{
    struct val *rules = val_get_mut(behavior, way);
    if (!val_is(rules, VAL_MAP))
        rules = val_need_map_(a, behavior, (const struct name *const[]){way, NULL});
    if (up)
        DEF_NUM(a, rules, stabilizationWindowSeconds, 0);
    DEF_TEXT(a, rules, selectPolicy, "Max");
    if (!val_is(V(rules, policies), VAL_LIST)) {
        struct val list = val_list();
        if (up)
            val_add(a, &list, scaling_policy(a, "Pods", 4));
        val_add(a, &list, scaling_policy(a, "Percent", 100));
        val_set(a, rules, N(policies), list);
    }
}

static void default_hpa(struct arena *a, struct val *v)
{
    struct val *spec = val_need_map(a, v, N(spec));
    DEF_NUM(a, spec, minReplicas, 1);
    if (val_len(V(spec, metrics)) == 0) {
        struct val target = val_map(), resource = val_map(), metric = val_map(), list = val_list();
        val_set_text(a, &target, N(type), S("Utilization"));
        val_set_num(a, &target, N(averageUtilization), 80);
        val_set_text(a, &resource, N(name), S("cpu"));
        val_set(a, &resource, N(target), target);
        val_set_text(a, &metric, N(type), S("Resource"));
        val_set(a, &metric, N(resource), resource);
        val_add(a, &list, metric);
        val_set(a, spec, N(metrics), list);
    }
    struct val *behavior = MUT(spec, behavior);
    if (val_is(behavior, VAL_MAP)) {
        default_scaling(a, behavior, N(scaleUp), true);
        default_scaling(a, behavior, N(scaleDown), false);
    }
}

static void default_hpa_v1(struct arena *a, struct val *v)
{
    struct val *spec = val_need_map(a, v, N(spec));
    DEF_NUM(a, spec, minReplicas, 1);
    if (!val_get_str(val_at(v, N(metadata), N(annotations)), S("autoscaling.alpha.kubernetes.io/metrics")))
        DEF_NUM(a, spec, targetCPUUtilizationPercentage, 80);
}

static void default_storageclass(struct arena *a, struct val *v)
{
    DEF_TEXT(a, v, reclaimPolicy, "Delete");
    DEF_TEXT(a, v, volumeBindingMode, "Immediate");
}

static void default_csidriver(struct arena *a, struct val *v)
{
    struct val *spec = val_need_map(a, v, N(spec));
    DEF_BOOL(a, spec, attachRequired, true);
    DEF_BOOL(a, spec, podInfoOnMount, false);
    DEF_BOOL(a, spec, storageCapacity, false);
    DEF_TEXT(a, spec, fsGroupPolicy, "ReadWriteOnceWithFSType");
    if (val_len(V(spec, volumeLifecycleModes)) == 0) {
        struct val list = val_list();
        val_add(a, &list, val_str_borrowed(S("Persistent")));
        val_set(a, spec, N(volumeLifecycleModes), list);
    }
    DEF_BOOL(a, spec, requiresRepublish, false);
    DEF_BOOL(a, spec, seLinuxMount, false);
}

static void default_priorityclass(struct arena *a, struct val *v)
{
    DEF_TEXT(a, v, preemptionPolicy, "PreemptLowerPriority");
}

static void default_endpointslice(struct arena *a, struct val *v)
{
    each_mut (port, MUT(v, ports)) {
        if (!val_is(V(port, name), VAL_STRING))
            val_set_text(a, port, N(name), S(""));
        DEF_TEXT(a, port, protocol, "TCP");
    }
}

static void default_webhooks(struct arena *a, struct val *v)
{
    bool mutating = str_eq(TEXT(v, kind), S("MutatingWebhookConfiguration"));
    each_mut (hook, MUT(v, webhooks)) {
        DEF_TEXT(a, hook, failurePolicy, "Fail");
        DEF_TEXT(a, hook, matchPolicy, "Equivalent");
        DEF_MAP(a, hook, namespaceSelector);
        DEF_MAP(a, hook, objectSelector);
        DEF_NUM(a, hook, timeoutSeconds, 10);
        if (mutating)
            DEF_TEXT(a, hook, reinvocationPolicy, "Never");
        each_mut (rule, MUT(hook, rules))
            DEF_TEXT(a, rule, scope, "*");
        struct val *service = MUT(MUT(hook, clientConfig), service);
        if (val_is(service, VAL_MAP))
            DEF_NUM(a, service, port, 443);
    }
}

static void default_match(struct arena *a, struct val *match)
{
    if (!val_is(match, VAL_MAP))
        return;
    DEF_TEXT(a, match, matchPolicy, "Equivalent");
    DEF_MAP(a, match, namespaceSelector);
    DEF_MAP(a, match, objectSelector);
    const struct name *const lists[] = {N(resourceRules), N(excludeResourceRules)};
    for (size_t i = 0; i < countof(lists); i++)
        each_mut (rule, val_get_mut(match, lists[i]))
            DEF_TEXT(a, rule, scope, "*");
}

static void default_policy(struct arena *a, struct val *v)
{
    struct val *spec = val_need_map(a, v, N(spec));
    DEF_TEXT(a, spec, failurePolicy, "Fail");
    default_match(a, MUT(spec, matchConstraints));
}

static void default_policy_binding(struct arena *a, struct val *v)
{
    default_match(a, MUT(MUT(v, spec), matchResources));
}

static void default_flowschema(struct arena *a, struct val *v)
{
    DEF_NUM_OF_ZERO(a, val_need_map(a, v, N(spec)), matchingPrecedence, 1000);
}

static void default_prioritylevel(struct arena *a, struct val *v)
{
    struct val *spec = val_need_map(a, v, N(spec));
    struct val *exempt = MUT(spec, exempt), *limited = MUT(spec, limited);
    if (val_is(exempt, VAL_MAP)) {
        DEF_NUM(a, exempt, nominalConcurrencyShares, 0);
        DEF_NUM(a, exempt, lendablePercent, 0);
    }
    if (val_is(limited, VAL_MAP)) {
        DEF_NUM(a, limited, nominalConcurrencyShares, 30);
        DEF_NUM(a, limited, lendablePercent, 0);
        struct val *queuing = MUT(MUT(limited, limitResponse), queuing);
        if (val_is(queuing, VAL_MAP)) {
            DEF_NUM_OF_ZERO(a, queuing, handSize, 8);
            DEF_NUM_OF_ZERO(a, queuing, queues, 64);
            DEF_NUM_OF_ZERO(a, queuing, queueLengthLimit, 50);
        }
    }
}

static void default_device_request(struct arena *a, struct val *request)
{
    if (!val_is(request, VAL_MAP))
        return;
    DEF_TEXT(a, request, allocationMode, "ExactCount");
    if (str_eq(TEXT(request, allocationMode), S("ExactCount")))
        DEF_NUM_OF_ZERO(a, request, count, 1);
}

static void default_devices(struct arena *a, struct val *devices)
{
    each_mut (request, MUT(devices, requests)) {
        default_device_request(a, MUT(request, exactly));
        each_mut (sub, MUT(request, firstAvailable))
            default_device_request(a, sub);
    }
}

static void default_resourceclaim(struct arena *a, struct val *v)
{
    default_devices(a, MUT(MUT(v, spec), devices));
}

static void default_resourceclaimtemplate(struct arena *a, struct val *v)
{
    default_devices(a, MUT(MUT(MUT(v, spec), spec), devices));
}

static void default_crd(struct arena *a, struct val *v)
{
    struct val *spec = val_need_map(a, v, N(spec));
    struct val *spelled = val_need_map(a, spec, N(names));
    struct str kind = TEXT(spelled, kind);
    if (kind.n > 0 && TEXT(spelled, singular).n == 0) {
        struct val lower = val_str(a, kind);
        char *p = arena_dup(a, lower.s, lower.n + 1);
        for (uint32_t i = 0; i < lower.n; i++)
            p[i] = p[i] >= 'A' && p[i] <= 'Z' ? (char)(p[i] + 32) : p[i];
        val_set(a, spelled, N(singular), val_str_borrowed((struct str){p, lower.n}));
    }
    if (kind.n > 0 && TEXT(spelled, listKind).n == 0)
        val_set_text(a, spelled, N(listKind), arena_fmt(a, STR_FMT "List", STR_ARG(kind)));
    struct val *conversion = val_need_map(a, spec, N(conversion));
    DEF_TEXT(a, conversion, strategy, "None");
    struct val *service = MUT(MUT(MUT(conversion, webhook), clientConfig), service);
    if (val_is(service, VAL_MAP))
        DEF_NUM(a, service, port, 443);
}

static void default_apiservice(struct arena *a, struct val *v)
{
    struct val *service = MUT(MUT(v, spec), service);
    if (val_is(service, VAL_MAP))
        DEF_NUM(a, service, port, 443);
}

static void default_podtemplate(struct arena *a, struct val *v)
{
    default_pod_spec(a, val_need_map(a, v, N(template), N(spec)));
}

static const struct {
    const struct kind *kind;
    void (*fill)(struct arena *a, struct val *v);
} rows[] = {
    {K(Pod), default_pod},
    {K(PodTemplate), default_podtemplate},
    {K(ReplicationController), default_rc},
    {K(Service), default_service},
    {K(Endpoints), default_endpoints},
    {K(Namespace), default_namespace},
    {K(Secret), default_secret},
    {K(PersistentVolume), default_pv},
    {K(PersistentVolumeClaim), default_pvc},
    {K(Node), default_node},
    {K(LimitRange), default_limitrange},
    {K(Deployment), default_deployment},
    {K(ReplicaSet), default_replicaset},
    {K(DaemonSet), default_daemonset},
    {K(StatefulSet), default_statefulset},
    {K(Job), default_job},
    {K(CronJob), default_cronjob},
    {K(NetworkPolicy), default_networkpolicy},
    {K(IngressClass), default_ingressclass},
    {K(RoleBinding), default_binding},
    {K(ClusterRoleBinding), default_binding},
    {K(HorizontalPodAutoscaler), default_hpa},
    {K(autoscaling_v1_HorizontalPodAutoscaler), default_hpa_v1},
    {K(StorageClass), default_storageclass},
    {K(CSIDriver), default_csidriver},
    {K(PriorityClass), default_priorityclass},
    {K(EndpointSlice), default_endpointslice},
    {K(MutatingWebhookConfiguration), default_webhooks},
    {K(ValidatingWebhookConfiguration), default_webhooks},
    {K(ValidatingAdmissionPolicy), default_policy},
    {K(MutatingAdmissionPolicy), default_policy},
    {K(ValidatingAdmissionPolicyBinding), default_policy_binding},
    {K(MutatingAdmissionPolicyBinding), default_policy_binding},
    {K(FlowSchema), default_flowschema},
    {K(PriorityLevelConfiguration), default_prioritylevel},
    {K(ResourceClaim), default_resourceclaim},
    {K(ResourceClaimTemplate), default_resourceclaimtemplate},
    {K(CustomResourceDefinition), default_crd},
    {K(APIService), default_apiservice},
};

void kind_default(struct arena *a, const struct kind *k, struct val *v)
{
    if (!val_is(v, VAL_MAP))
        return;
    declared_walk(a, k->type, v);
    for (size_t i = 0; i < countof(rows); i++)
        if (rows[i].kind == k)
            rows[i].fill(a, v);
}
