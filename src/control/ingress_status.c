/* Ingresses of ours: at which addresses they are served (status), and what of them is not as it was asked for
 * (events). Who serves them is the front door (edge/ingress_route.c), by the same reading.
 *
 * An Ingress has no conditions, so what is wrong is told by events, each once as long as it lasts, and where it is
 * about a certificate by status.loadBalancer.ingress.ports.error as well. What another object lacks is told after a
 * moment, as those that belong together are often applied one after the other. */
#include "control/ingress.h"
#include "control/pods.h"

#define PATIENCE (5 * NS_PER_S)

/* ---- addresses ---- */

static void address_add(struct plan *out, struct val *list, struct str ip, struct str hostname)
{
    struct arena *a = &out->arena;
    struct val entry = val_map();
    if (ip.n > 0)
        val_set_text(a, &entry, N(ip), ip);
    else
        val_set_text(a, &entry, N(hostname), hostname);
    val_each_item (it, list)
        if (val_equal(it, &entry))
            return;
    val_add(a, list, entry);
}

/* Those of the front door's own Service; until it has some, those of the nodes: external ones where there are any.
 * None where
 * another has its ports there. */
static struct val addresses_of(const struct view *v, struct plan *out)
{
    struct val list = val_list();
    const struct obj *front = view_get(v, K(Service), FRONT_NS, FRONT_NAME);
    val_each_item (it, val_at(front ? obj_status(front) : NULL, N(loadBalancer), N(ingress)))
        address_add(out, &list, val_text_at(it, N(ip)), val_text_at(it, N(hostname)));
    static const char *const types[] = {"ExternalIP", "InternalIP"};
    bool refused = ingress_front_refused(v).n > 0;
    for (size_t t = 0; t < countof(types) && val_len(&list) == 0 && !refused; t++) {
        struct obj *node;
        for (struct objset_iter it = view_all(v, K(Node)); (node = objset_next(&it));)
            val_each_item (x, val_get(obj_status(node), N(addresses)))
                if (str_eqz(val_text_at(x, N(type)), types[t]))
                    address_add(out, &list, val_text_at(x, N(address)), S(""));
    }
    return list;
}

/* Ports are named where one of them is not as it should be. */
static void ports_add(struct plan *out, struct val *addresses, const char *error)
{
    struct arena *a = &out->arena;
    for (uint32_t i = 0; error && i < addresses->n; i++) {
        struct val ports = val_list();
        static const int64_t numbers[] = {80, 443};
        for (size_t p = 0; p < countof(numbers); p++) {
            struct val port = val_map();
            val_set_num(a, &port, N(port), numbers[p]);
            val_set_text(a, &port, N(protocol), S("TCP"));
            if (numbers[p] == 443)
                val_set_text(a, &port, N(error), str_of(error));
            val_add(a, &ports, port);
        }
        val_set(a, &addresses->list[i], N(ports), ports);
    }
}

static void status_write(struct plan *out, struct obj *o, struct val addresses)
{
    struct val tree = plan_edit_status(out, o);
    struct val *balancer = val_need_map(&out->arena, &tree, N(status), N(loadBalancer));
    bool first = val_len(val_get(balancer, N(ingress))) == 0;
    struct str at = val_text_at(val_item(&addresses, 0), N(ip));
    if (at.n == 0)
        at = val_text_at(val_item(&addresses, 0), N(hostname));
    if (val_len(&addresses) > 0)
        val_set(&out->arena, balancer, N(ingress), addresses);
    else
        val_del(balancer, N(ingress));
    struct action *act = plan_update(out, o, S("status"), tree);
    if (act && first && at.n > 0)
        act->done = plan_event_of(out, o, "Normal", "Sync", "Served at " STR_FMT, STR_ARG(at));
}

/* ---- events ---- */

static bool is_patient(const struct ingress_remark *r)
{
    return !str_starts(str_of(r->reason), S("Annotation")) && !str_eqz(str_of(r->reason), "PathInvalid") &&
           !str_eqz(str_of(r->reason), "BackendRefused");
}

/* A sentence of a clause: what begins with a field, a host or a file stays as it is. */
static struct str sentence_of(struct arena *a, struct str text)
{
    char *t = arena_strz(a, text);
    size_t n = 0;
    while (n < text.n && t[n] >= 'a' && t[n] <= 'z')
        n++;
    if (n > 0 && (n == text.n || t[n] == ' '))
        t[0] -= 0x20;
    return (struct str){t, text.n};
}

/* What the last plan said has each text between these; one that is not told yet has '~' before it. */
#define APART "; "

static void remarks_tell(const struct view *v, struct plan *out, struct obj *o, const struct ingress *i)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    int64_t due = (v->why_since ? v->why_since : v->now) + PATIENCE;
    array_each (r, &i->remarks) {
        struct str mark = arena_fmt(&out->arena, APART STR_FMT APART, STR_ARG(r->text));
        if (is_patient(r) && v->now < due) {
            plan_again(out, due);
            strbuf_addf(&b, "%s~" STR_FMT APART, b.n ? "" : APART, STR_ARG(r->text));
            continue;
        }
        if (!str_has(v->why, mark))
            plan_event(out, o, "Warning", r->reason, STR_FMT "%s" STR_FMT, STR_ARG(sentence_of(&out->arena, r->text)),
                       r->way.n ? ". " : "", STR_ARG(r->way));
        strbuf_addf(&b, "%s" STR_FMT APART, b.n ? "" : APART, STR_ARG(r->text));
    }
    if (b.n > 0)
        plan_why(out, STR_FMT, STR_ARG(strbuf_str(&b)));
}

/* ---- the plan ---- */

static bool status_is(const struct obj *o, const struct val *addresses)
{
    const struct val *have = val_at(obj_status(o), N(loadBalancer), N(ingress));
    return val_equal(have, addresses);
}

static void ingress_plan(const struct view *v, struct key key, struct plan *out)
{
    struct obj *o = view_get(v, K(Ingress), key.ns, key.name);
    if (!o || obj_deleting(o))
        return;
    AUTO(ingress_fini) struct ingress i;
    ingress_read(v, o, &out->arena, &i);
    if (i.class.server == INGRESS_OTHERS)
        return;
    struct val addresses = addresses_of(v, out);
    if (i.class.server == INGRESS_NOBODYS) {
        if (val_len(&addresses) > 0 && status_is(o, &addresses)) /* ours, of when it was served */
            status_write(out, o, val_list());
        return;
    }
    ingress_check(v, &out->arena, &i);
    const char *error = NULL;
    array_each (r, &i.remarks)
        if (!error)
            error = r->port;
    ports_add(out, &addresses, error);
    bool refused = ingress_front_refused(v).n > 0 && val_len(val_at(obj_status(o), N(loadBalancer), N(ingress))) > 0;
    /* while no node is known who looks the address up is not to lose it */
    if (refused || (val_len(&addresses) > 0 && !status_is(o, &addresses)))
        status_write(out, o, addresses);
    remarks_tell(v, out, o, &i);
    if (i.again > 0)
        plan_again(out, i.again);
}

/* ---- what concerns whom ---- */

static void all_add(const struct view *v, keys_add_fn *add, void *arg)
{
    struct obj *o;
    for (struct objset_iter it = view_all(v, K(Ingress)); (o = objset_next(&it));)
        add(arg, o->ns, o->name);
}

struct sharing {
    const struct view *v;
    keys_add_fn *add;
    void *arg;
};

static void host_add(void *arg, struct str host)
{
    const struct sharing *s = arg;
    struct obj *o;
    for (struct objset_iter it = view_with(s->v, K(Ingress), &index_ingress_host, host); (o = objset_next(&it));)
        s->add(s->arg, o->ns, o->name);
}

/* Itself, and all that share a host with what it was or is; a change of the status alone concerns nobody else. */
static void keys_of_ingress(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                            void *arg)
{
    struct sharing s = {.v = v, .add = add, .arg = arg};
    keys_self(v, was, now, add, arg);
    if (was && now && val_equal(obj_spec(was), obj_spec(now)) && obj_deleting(was) == obj_deleting(now) &&
        val_equal(val_get(obj_meta(was), N(annotations)), val_get(obj_meta(now), N(annotations))))
        return;
    if (was)
        index_ingress_host.keys(was, host_add, &s);
    if (now)
        index_ingress_host.keys(now, host_add, &s);
}

static void keys_of_class(const struct view *v, const struct obj *was UNUSED, const struct obj *now UNUSED,
                          keys_add_fn *add, void *arg)
{
    all_add(v, add, arg);
}

static void keys_of_node(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                         void *arg)
{
    if (!was || !now || !val_equal(val_get(obj_status(was), N(addresses)), val_get(obj_status(now), N(addresses))))
        all_add(v, add, arg);
}

static void keys_of_named(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                          void *arg)
{
    const struct obj *named = now ? now : was;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    char kind[32];
    (void)snprintf(kind, sizeof kind, STR_FMT, STR_ARG(named->kind->kind)); /* three kinds, all short */
    struct str key = ingress_names_key(&b, kind, named->ns, named->name);
    struct obj *o;
    for (struct objset_iter it = view_with(v, K(Ingress), &index_ingress_names, key); (o = objset_next(&it));)
        add(arg, o->ns, o->name);
}

static void keys_of_service(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                            void *arg)
{
    const struct obj *svc = now ? now : was;
    if (str_eq(svc->ns, FRONT_NS) && str_eq(svc->name, FRONT_NAME))
        all_add(v, add, arg);
    else if (!was || !now || !val_equal(obj_spec(was), obj_spec(now)))
        keys_of_named(v, was, now, add, arg);
}

static const struct controller_watch watches[] = {{K(Ingress), keys_of_ingress},
                                                  {K(IngressClass), keys_of_class},
                                                  {K(Service), keys_of_service},
                                                  {K(Secret), keys_of_named},
                                                  {K(ConfigMap), keys_of_named},
                                                  {K(Node), keys_of_node},
                                                  {0}};
const struct controller ingress_controller = {
    .name = "ingress",
    .component = "ingress-controller",
    .account = "ingress-controller",
    .watches = watches,
    .plan = ingress_plan,
};
