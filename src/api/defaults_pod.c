/* defaults_pod.c - the defaults of pods, in pods and templates.
 *
 * A pod in a template gets less than a pod: default_pod_spec serves both, default_pod adds what only a pod gets. A
 * container's requests come from its limits before the pod's come from those of its containers. Members behind
 * feature gates that are off upstream are taken out here.
 */
#include "api/defaults_int.h"
#include "api/formats.h"
#include "api/quantity.h"

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
        val_del(source, N(clusterTrustBundle)); /* both behind gates that are off */
        val_del(source, N(podCertificate));
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

void default_pod(struct arena *a, struct val *v)
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

void default_podtemplate(struct arena *a, struct val *v)
{
    default_pod_spec(a, val_need_map(a, v, N(template), N(spec)));
}
