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

/* The names of a pod's ports, for a Service that aims at names: "PROTOCOL/NAME" -> number. Of equals, the first. */
static void pod_ports(struct arena *a, const struct obj *pod, struct map *out)
{
    const struct name *const lists[] = {N(containers), N(initContainers)};
    for (size_t i = 0; i < countof(lists); i++)
        val_each_item (c, val_get(obj_spec(pod), lists[i])) {
            if (i == 1 && !str_eqz(val_text_at(c, N(restartPolicy)), "Always")) /* not a sidecar */
                continue;
            val_each_item (p, val_get(c, N(ports))) {
                struct str key = arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(val_text_at(p, N(protocol))),
                                           STR_ARG(val_text_at(p, N(name))));
                if (!map_get(out, key))
                    (void)map_put(out, key, (void *)(uintptr_t)val_num_at(p, 0, N(containerPort)));
            }
        }
}

/* podutil.FindPort: a number as it is, a name as the pod has it. 0: it has none. */
static int64_t find_port(struct arena *a, const struct map *named, const struct val *port)
{
    const struct val *target = val_get(port, N(targetPort));
    if (val_is(target, VAL_INT) && val_num(target, 0))
        return val_num(target, 0);
    if (!val_text(target).n)
        return val_num_at(port, 0, N(port));
    struct str key = arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(val_text_at(port, N(protocol))),
                               STR_ARG(val_text(target)));
    return (int64_t)(uintptr_t)map_get(named, key);
}

static struct val ports_of(struct arena *a, const struct obj *svc, const int32_t *numbers)
{
    struct val list = val_list();
    size_t i = 0;
    val_each_item (it, val_get(obj_spec(svc), N(ports))) {
        int32_t port = numbers[i++];
        if (port == 0)
            continue;
        struct val p = val_map();
        val_set(a, &p, N(name), val_str(a, val_text_at(it, N(name))));
        val_set_num(a, &p, N(port), port);
        val_set(a, &p, N(protocol), val_str(a, val_text_at(it, N(protocol))));
        if (val_get(it, N(appProtocol)))
            val_set(a, &p, N(appProtocol), val_copy(a, val_get(it, N(appProtocol))));
        val_add(a, &list, p);
    }
    return list;
}

/* A Service's ports as its pods have them: made once for all that have the same. */
struct port_targets {
    const struct obj *svc;
    struct arena *arena;
    bool named;      /* the pods say which */
    struct map made; /* the numbers -> struct val */
};

static struct port_targets targets_of(struct arena *a, const struct obj *svc)
{
    struct port_targets t = {.svc = svc, .arena = a, .made = MAP};
    val_each_item (it, val_get(obj_spec(svc), N(ports)))
        t.named = t.named || val_text_at(it, N(targetPort)).n > 0;
    return t;
}

static const struct val *targets_in(struct port_targets *t, const struct obj *pod)
{
    const struct val *ports = val_get(obj_spec(t->svc), N(ports));
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(map_fini) struct map named = MAP;
    size_t n = val_len(ports);
    int32_t *numbers = arena_alloc(&a, (n + 1) * sizeof *numbers);
    if (t->named)
        pod_ports(&a, pod, &named);
    for (size_t i = 0; i < n; i++)
        numbers[i] = (int32_t)find_port(&a, &named, val_item(ports, i));
    struct str key = {(const char *)numbers, n * sizeof *numbers};
    struct val *same = map_get(&t->made, key);
    if (!same) {
        same = ARENA_NEW(t->arena, struct val);
        *same = ports_of(t->arena, t->svc, numbers);
        (void)map_put(&t->made, key, same);
    }
    return same;
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
    struct port_targets targets = targets_of(&out->arena, svc);
    bool unready_too = val_true(val_get(obj_spec(svc), N(publishNotReadyAddresses)));
    struct obj *pod;
    for (struct objset_iter it = view_with(v, K(Pod), &index_namespace, svc->ns); (pod = objset_next(&it));) {
        struct str ip = ip_of(pod, family);
        if (ip.n == 0 || pod_is_over(pod) || !selector_map_matches(map, obj_labels(pod)))
            continue;
        bool serving = pod_is_ready(pod), terminating = obj_deleting(pod);
        array_push(backends, ((struct backend){.pod = pod,
                                               .ip = ip,
                                               .ports = targets_in(&targets, pod),
                                               .ready = unready_too || (serving && !terminating),
                                               .serving = serving,
                                               .terminating = terminating}));
    }
    map_fini(&targets.made);
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
        const struct val *selector = val_get(obj_spec(svc), N(selector));
        if ((now && selector_map_matches(selector, obj_labels(now))) ||
            (was && selector_map_matches(selector, obj_labels(was))))
            add(arg, svc->ns, svc->name);
    }
}
