#include "node/admit.h"
#include "api/placement.h"
#include "api/usage.h"
#include "base/map.h"

struct admit_asking {
    struct arena *a;
    const struct obj *pod, *node, *const *others;
    size_t nothers;
    struct refusal *why;
};

static bool pod_refuse(struct admit_asking *q, const char *reason, struct str message)
{
    *q->why = (struct refusal){.reason = reason, .message = message};
    return false;
}

/* --- the operating system ------------------------------------------------------------------------------------- */

static bool check_os(struct admit_asking *q)
{
    const struct val *label = val_get_str(obj_labels(q->pod), S("kubernetes.io/os"));
    struct str os = val_text_at(obj_spec(q->pod), N(os), N(name));
    if (label && !str_eqz(val_text(label), "linux"))
        return pod_refuse(q, "PodOSSelectorNodeLabelDoesNotMatch",
                          S("Failed to admit pod as the `kubernetes.io/os` label doesn't match node label"));
    if (os.n && !str_eqz(os, "linux"))
        return pod_refuse(q, "PodOSNotSupported", S("Failed to admit pod as the OS field doesn't match node OS"));
    return true;
}

/* --- resources ------------------------------------------------------------------------------------------------ */

static bool short_of(struct admit_asking *q, struct str resource, int64_t asked, int64_t used, int64_t has)
{
    struct str reason = arena_fmt(q->a, "OutOf" STR_FMT, STR_ARG(resource));
    return pod_refuse(
        q, reason.p,
        arena_fmt(q->a, "Node didn't have enough resource: " STR_FMT ", requested: %lld, used: %lld, capacity: %lld",
                  STR_ARG(resource), (long long)asked, (long long)used, (long long)has));
}

static const struct val *node_allocatable(const struct admit_asking *q)
{
    return val_get(obj_status(q->node), N(allocatable));
}

static bool check_resource(struct admit_asking *q, struct str resource)
{
    int64_t asked = pod_request(q->pod, resource, POD_OVERHEAD), used = 0,
            has = resource_amount(node_allocatable(q), resource);
    /* of somebody else's device plugin, which may not have told the Node yet: as a kubelet, not this check's matter
     */
    bool foreign = str_find_char(resource, '/') >= 0 && str_find(resource, S("kubernetes.io/")) < 0;
    if (asked <= 0 || (foreign && !val_get_str(node_allocatable(q), resource)))
        return true;
    for (size_t i = 0; i < q->nothers; i++)
        used += pod_request(q->others[i], resource, POD_OVERHEAD);
    return asked <= has - used || short_of(q, resource, asked, used, has);
}

static bool check_named(struct admit_asking *q, const struct val *requests, struct map *seen)
{
    val_each_member (it, requests) {
        if (map_get(seen, it->name->s))
            continue;
        (void)map_put(seen, it->name->s, q);
        if (!check_resource(q, it->name->s))
            return false;
    }
    return true;
}

static bool check_resources(struct admit_asking *q)
{
    static const struct name *const lists[] = {N(containers), N(initContainers)};
    static const char *const first[] = {"cpu", "memory", "ephemeral-storage"};
    const struct val *spec = obj_spec(q->pod);
    AUTO(map_fini) struct map seen = MAP;
    int64_t pods = resource_amount(node_allocatable(q), S("pods"));
    if ((int64_t)q->nothers + 1 > pods)
        return short_of(q, S("pods"), 1, (int64_t)q->nothers, pods);
    for (size_t i = 0; i < countof(first); i++)
        if (!check_resource(q, str_of(first[i])))
            return false;
    for (size_t i = 0; i < countof(lists); i++)
        val_each_item (c, val_get(spec, lists[i]))
            if (!check_named(q, val_at(c, N(resources), N(requests)), &seen))
                return false;
    return check_named(q, val_at(spec, N(resources), N(requests)), &seen) &&
           check_named(q, val_get(spec, N(overhead)), &seen);
}

/* --- what the scheduler looks at, too ------------------------------------------------------------------------- */

static bool pod_unfit(struct admit_asking *q, const char *name, const char *why)
{
    return pod_refuse(q, name, arena_fmt(q->a, "Predicate %s failed: %s", name, why));
}

static bool check_ports(struct admit_asking *q)
{
    for (size_t i = 0; i < q->nothers; i++)
        if (pod_ports_clash(q->pod, q->others[i]))
            return pod_unfit(q, "NodePorts", "node(s) didn't have free ports for the requested pod ports");
    return true;
}

static bool check_place(struct admit_asking *q)
{
    bool ok = true;
    if (!node_selected(q->pod, q->node))
        ok = pod_unfit(q, "NodeAffinity", "node(s) didn't match Pod's node affinity/selector");
    else if (!check_ports(q))
        return false;
    else if (!taints_tolerated(q->pod, q->node, "NoExecute", "NoExecute")) /* NoSchedule is the scheduler's alone */
        ok = pod_unfit(q, "TaintToleration", "node(s) had taints that the pod didn't tolerate");
    q->why->by_node_fields = !ok;
    return ok;
}

bool admit_pod(struct arena *a, const struct obj *pod, const struct obj *node, const struct obj *const *others,
               size_t nothers, struct refusal *why)
{
    struct admit_asking q = {a, pod, node, others, nothers, why};
    return check_os(&q) && check_resources(&q) && check_place(&q);
}
