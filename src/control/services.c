#include "control/services.h"
#include "api/selector.h"
#include "control/pods.h"

bool service_is_headless(const struct obj *svc)
{
    return str_eqz(val_text_at(obj_spec(svc), N(clusterIP)), "None");
}

static struct str ip_of(const struct obj *pod, struct str family)
{
    bool six = str_eqz(family, "IPv6");
    val_each_item (it, val_get(obj_status(pod), N(podIPs))) {
        struct str ip = val_text_at(it, N(ip));
        if ((str_find_char(ip, ':') >= 0) == six)
            return ip;
    }
    struct str ip = val_text_at(obj_status(pod), N(podIP));
    return (str_find_char(ip, ':') >= 0) == six ? ip : STR_NONE;
}

/* podutil.FindPort: a number as it is, a name among the ports of containers (sidecars too). 0: not found. */
static int64_t find_port(const struct obj *pod, const struct val *target, struct str protocol, int64_t otherwise)
{
    if (val_is(target, VAL_INT))
        return val_num(target, 0) ? val_num(target, 0) : otherwise;
    if (val_text(target).n == 0)
        return otherwise;
    const struct name *const lists[] = {N(containers), N(initContainers)};
    for (size_t i = 0; i < countof(lists); i++)
        val_each_item (c, val_get(obj_spec(pod), lists[i])) {
            if (i == 1 && !str_eqz(val_text_at(c, N(restartPolicy)), "Always"))
                continue;
            val_each_item (p, val_get(c, N(ports)))
                if (str_eq(val_text_at(p, N(name)), val_text(target)) &&
                    str_eq(val_text_at(p, N(protocol)), protocol))
                    return val_num_at(p, 0, N(containerPort));
        }
    return 0;
}

static struct val ports_of(struct arena *a, const struct obj *svc, const struct obj *pod)
{
    struct val list = val_list();
    val_each_item (it, val_get(obj_spec(svc), N(ports))) {
        struct str protocol = val_text_at(it, N(protocol));
        int64_t port = find_port(pod, val_get(it, N(targetPort)), protocol, val_num_at(it, 0, N(port)));
        if (port == 0)
            continue;
        struct val p = val_map();
        val_set(a, &p, N(name), val_str(a, val_text_at(it, N(name))));
        val_set_num(a, &p, N(port), port);
        val_set(a, &p, N(protocol), val_str(a, protocol));
        if (val_get(it, N(appProtocol)))
            val_set(a, &p, N(appProtocol), val_copy(a, val_get(it, N(appProtocol))));
        val_add(a, &list, p);
    }
    return list;
}

static int by_name(const void *pa, const void *pb)
{
    return str_cmp(((const struct backend *)pa)->pod->name, ((const struct backend *)pb)->pod->name);
}

bool service_backends(const struct view *v, const struct obj *svc, struct str family, struct plan *out,
                      struct backends *backends)
{
    const struct val *map = val_get(obj_spec(svc), N(selector));
    if (val_len(map) == 0 || str_eqz(val_text_at(obj_spec(svc), N(type)), "ExternalName"))
        return false;
    struct selector *selector = selector_of_map(&out->arena, map);
    bool unready_too = val_true(val_get(obj_spec(svc), N(publishNotReadyAddresses)));
    struct obj *pod;
    for (struct objset_iter it = view_with(v, K(Pod), &index_namespace, svc->ns); (pod = objset_next(&it));) {
        struct str ip = ip_of(pod, family);
        if (ip.n == 0 || pod_is_over(pod) || !selector_matches(selector, obj_labels(pod)))
            continue;
        bool serving = pod_is_ready(pod), terminating = obj_deleting(pod);
        array_push(backends, ((struct backend){.pod = pod,
                                               .ip = ip,
                                               .ports = ports_of(&out->arena, svc, pod),
                                               .ready = unready_too || (serving && !terminating),
                                               .serving = serving,
                                               .terminating = terminating}));
    }
    if (backends->n > 0)
        qsort(backends->p, backends->n, sizeof *backends->p, by_name);
    return true;
}

/* What of a pod shows in endpoints; other changes concern no service. */
static bool pod_shows(const struct obj *was, const struct obj *now)
{
    if (!was || !now)
        return true;
    return pod_is_ready(was) != pod_is_ready(now) || obj_deleting(was) != obj_deleting(now) ||
           pod_is_over(was) != pod_is_over(now) || !str_eq(pod_node(was), pod_node(now)) ||
           !str_eq(was->uid, now->uid) || !val_equal(obj_labels(was), obj_labels(now)) ||
           !val_equal(val_get(obj_status(was), N(podIPs)), val_get(obj_status(now), N(podIPs))) ||
           !val_equal(val_get(obj_status(was), N(podIP)), val_get(obj_status(now), N(podIP)));
}

void keys_of_services(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add, void *arg)
{
    if (!pod_shows(was, now))
        return;
    const struct obj *o = now ? now : was;
    struct obj *svc;
    for (struct objset_iter it = view_with(v, K(Service), &index_namespace, o->ns); (svc = objset_next(&it));) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct selector *s = selector_of_map(&a, val_get(obj_spec(svc), N(selector)));
        if ((now && selector_matches(s, obj_labels(now))) || (was && selector_matches(s, obj_labels(was))))
            add(arg, svc->ns, svc->name);
    }
}
