#include "api/placement.h"
#include "api/quantity.h"
#include "api/usage.h"

static bool number_of(struct str s, int64_t *n)
{
    return str_to_i64(s, INT64_MIN, INT64_MAX, n);
}

static bool has_value(const struct val *values, struct str value)
{
    val_each_item (it, values)
        if (str_eq(val_text(it), value))
            return true;
    return false;
}

static bool requirement_matches(const struct val *r, const struct val *have)
{
    struct str op = val_text_at(r, N(operator)), value = val_text(have);
    const struct val *values = val_get(r, N(values));
    if (str_eqz(op, "In"))
        return have && has_value(values, value);
    if (str_eqz(op, "NotIn"))
        return !have || !has_value(values, value);
    if (str_eqz(op, "Exists"))
        return have != NULL;
    if (str_eqz(op, "DoesNotExist"))
        return !have;
    int64_t x, y;
    if (!have || !number_of(value, &x) || !number_of(val_text(val_item(values, 0)), &y))
        return false;
    return str_eqz(op, "Gt") ? x > y : x < y;
}

bool node_term_matches(const struct val *term, const struct obj *node)
{
    const struct val *labels = val_get(term, N(matchExpressions)), *fields = val_get(term, N(matchFields));
    if (val_len(labels) + val_len(fields) == 0)
        return false; /* an empty term matches nothing */
    val_each_item (it, labels)
        if (!requirement_matches(it, val_get_str(obj_labels(node), val_text_at(it, N(key)))))
            return false;
    val_each_item (it, fields)
        if (!requirement_matches(it, val_get(obj_meta(node), N(name)))) /* metadata.name is the only one */
            return false;
    return true;
}

bool node_selected(const struct obj *pod, const struct obj *node)
{
    val_each_member (it, val_get(obj_spec(pod), N(nodeSelector)))
        if (!val_equal(val_get_str(obj_labels(node), it->name->s), &it->v))
            return false;
    const struct val *required = val_at(obj_spec(pod), N(affinity), N(nodeAffinity),
                                        N(requiredDuringSchedulingIgnoredDuringExecution));
    if (!required)
        return true;
    val_each_item (it, val_get(required, N(nodeSelectorTerms)))
        if (node_term_matches(it, node))
            return true;
    return false;
}

bool taint_tolerated(const struct val *tolerations, const struct val *taint)
{
    struct str key = val_text_at(taint, N(key)), effect = val_text_at(taint, N(effect));
    val_each_item (t, tolerations) {
        struct str e = val_text_at(t, N(effect)), k = val_text_at(t, N(key)), op = val_text_at(t, N(operator));
        if (e.n > 0 && !str_eq(e, effect))
            continue;
        if (k.n > 0 && !str_eq(k, key))
            continue;
        if (str_eqz(op, "Exists") || (k.n > 0 && str_eq(val_text_at(t, N(value)), val_text_at(taint, N(value)))))
            return true;
    }
    return false;
}

bool taints_tolerated(const struct obj *pod, const struct obj *node, const char *effect, const char *or_effect)
{
    val_each_item (t, val_get(obj_spec(node), N(taints))) {
        struct str e = val_text_at(t, N(effect));
        if ((str_eqz(e, effect) || str_eqz(e, or_effect)) &&
            !taint_tolerated(val_get(obj_spec(pod), N(tolerations)), t))
            return false;
    }
    return true;
}

static bool any_ip(struct str ip)
{
    return ip.n == 0 || str_eqz(ip, "0.0.0.0") || str_eqz(ip, "::");
}

static bool port_clashes(const struct val *x, const struct val *y)
{
    struct str ix = val_text_at(x, N(hostIP)), iy = val_text_at(y, N(hostIP));
    return val_num_at(x, 0, N(hostPort)) == val_num_at(y, 0, N(hostPort)) &&
           str_eq(val_text_at(x, N(protocol)), val_text_at(y, N(protocol))) &&
           (any_ip(ix) || any_ip(iy) || str_eq(ix, iy));
}

/* Of containers and sidecars, until fn says true. */
static bool host_port_any(const struct obj *pod, bool (*fn)(const struct val *port, const void *arg), const void *arg)
{
    const struct name *const lists[] = {N(containers), N(initContainers)};
    for (size_t i = 0; i < countof(lists); i++)
        val_each_item (c, val_get(obj_spec(pod), lists[i])) {
            if (i == 1 && !str_eqz(val_text_at(c, N(restartPolicy)), "Always"))
                continue; /* has ended when the others listen */
            val_each_item (p, val_get(c, N(ports)))
                if (val_num_at(p, 0, N(hostPort)) > 0 && fn(p, arg))
                    return true;
        }
    return false;
}

static bool is_port(const struct val *port, const void *arg)
{
    (void)port, (void)arg;
    return true;
}

bool pod_has_host_port(const struct obj *pod)
{
    return host_port_any(pod, is_port, NULL);
}

static bool clashes_with(const struct val *port, const void *arg)
{
    return port_clashes(port, arg);
}

static bool clashes_in(const struct val *port, const void *arg)
{
    return host_port_any(arg, clashes_with, port);
}

bool pod_ports_clash(const struct obj *pod, const struct obj *other)
{
    return host_port_any(pod, clashes_in, other);
}

int64_t resource_amount(const struct val *amounts, struct str resource)
{
    struct str q = val_text(val_get_str(amounts, resource));
    return !q.n ? 0 : str_eqz(resource, "cpu") ? quantity_milli(q) : quantity_value(q);
}

/* What is wanted, allocated and in force is the same, or no node has told anything yet. */
static bool is_settled(const struct obj *pod)
{
    const struct val *status = obj_status(pod), *list = val_get(status, N(conditions));
    int64_t seen = val_num_at(status, 0, N(observedGeneration));
    return (!seen || seen == obj_generation(pod)) && !val_find(list, N(type), S("PodResizePending")) &&
           !val_find(list, N(type), S("PodResizeInProgress"));
}

/* The general way makes lists; this one, which nearly all pods go, is for whoever asks about thousands. */
int64_t pod_request(const struct obj *pod, struct str resource, int flags)
{
    const struct val *spec = obj_spec(pod), *whole = val_at(spec, N(resources), N(requests));
    int64_t mains = 0, sidecars = 0, most = 0;
    int64_t overhead = flags & POD_OVERHEAD ? resource_amount(val_get(spec, N(overhead)), resource) : 0;
    if (val_len(whole) || (flags & POD_STATUS && val_text_at(spec, N(nodeName)).n && !is_settled(pod))) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct val all = pod_resources(&a, &pod->tree, N(requests), flags);
        return resource_amount(&all, resource);
    }
    val_each_item (c, val_get(spec, N(containers)))
        mains += resource_amount(val_at(c, N(resources), N(requests)), resource);
    val_each_item (c, val_get(spec, N(initContainers))) {
        int64_t asks = resource_amount(val_at(c, N(resources), N(requests)), resource);
        if (str_eqz(val_text_at(c, N(restartPolicy)), "Always"))
            sidecars += asks, asks = 0;
        most = MAX(most, sidecars + asks);
    }
    return MAX(mains + sidecars, most) + overhead;
}

struct str pod_claim(struct arena *a, const struct obj *pod, const struct val *volume)
{
    if (val_get(volume, N(ephemeral)))
        return arena_fmt(a, STR_FMT "-" STR_FMT, STR_ARG(pod->name), STR_ARG(val_text_at(volume, N(name))));
    return val_text_at(volume, N(persistentVolumeClaim), N(claimName));
}
