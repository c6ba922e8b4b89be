/* A Service: the pods behind it as its endpoints are made (services.h), and why none of them is ready. */
#include "control/loadbalancer_int.h"
#include "control/services.h"
#include "control/why_int.h"

extern const struct objindex index_slices;

/* What stands behind it, in the plan's arena. */
struct behind {
    struct plan plan;
    struct backends all;
    size_t ready;
    bool selects; /* it has a selector */
};

static void behind_make(struct question *q, const struct obj *svc, struct behind *b)
{
    *b = (struct behind){0};
    b->selects = service_backends(q->v, svc, S("IPv4"), &b->plan, &b->all);
    array_each (it, &b->all)
        b->ready += it->ready;
}

static void behind_fini(struct behind *b)
{
    array_fini(&b->all);
    plan_fini(&b->plan);
}

static bool is_external(const struct obj *svc)
{
    return str_eqz(val_text_at(obj_spec(svc), N(type)), "ExternalName");
}

struct str service_head(struct question *q, const struct obj *svc)
{
    if (service_is_edge(svc))
        return arena_fmt(q->a, "Service " STR_FMT, STR_ARG(svc->name));
    struct behind b;
    behind_make(q, svc, &b);
    struct str head = arena_fmt(q->a, "Service " STR_FMT " has ", STR_ARG(svc->name));
    if (!b.selects)
        head = arena_fmt(q->a, "Service " STR_FMT " has no endpoints", STR_ARG(svc->name));
    else if (b.ready == 0)
        head = arena_fmt(q->a, STR_FMT "no ready endpoint", STR_ARG(head));
    else
        head = arena_fmt(q->a, STR_FMT "%zu ready endpoint%s", STR_ARG(head), b.ready, b.ready == 1 ? "" : "s");
    behind_fini(&b);
    return head;
}

static struct str labels_text(struct question *q, const struct val *map)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    val_each_member (it, map)
        strbuf_addf(&b, "%s" STR_FMT "=" STR_FMT, b.n ? "," : "", STR_ARG(it->name->s), STR_ARG(val_text(&it->v)));
    return str_dup(q->a, strbuf_str(&b));
}

/* ---- nothing is selected ---- */

static const struct obj *any_selected(struct question *q, const struct obj *svc)
{
    struct selector *s = selector_of_map(q->a, val_get(obj_spec(svc), N(selector)));
    const struct obj *best = NULL;
    struct obj *pod;
    for (struct objset_iter it = view_with(q->v, K(Pod), &index_namespace, svc->ns); (pod = objset_next(&it));)
        if (selector_matches(s, obj_labels(pod)) && (!best || (pod_is_over(best) && !pod_is_over(pod))))
            best = pod;
    return best;
}

/* The Deployment whose pods it would select, if it had any. */
static const struct obj *empty_deployment(struct question *q, const struct obj *svc)
{
    struct selector *s = selector_of_map(q->a, val_get(obj_spec(svc), N(selector)));
    struct obj *d;
    for (struct objset_iter it = view_with(q->v, K(Deployment), &index_namespace, svc->ns); (d = objset_next(&it));)
        if (selector_matches(s, val_at(obj_spec(d), N(template), N(metadata), N(labels))))
            return d;
    return NULL;
}

/* The label of a pod that is most like one that the selector asks for. */
static struct str likely_label(struct question *q, const struct obj *svc)
{
    val_each_member (want, val_get(obj_spec(svc), N(selector))) {
        struct nearest near = {.wanted = val_text(&want->v)};
        struct obj *pod;
        for (struct objset_iter it = view_with(q->v, K(Pod), &index_namespace, svc->ns); (pod = objset_next(&it));)
            nearest_try(&near, val_text(val_get_str(obj_labels(pod), want->name->s)));
        if (near.best.n > 0)
            return arena_fmt(q->a, STR_FMT "=" STR_FMT, STR_ARG(want->name->s), STR_ARG(near.best));
    }
    return S("");
}

static void say_selects_none(struct question *q, const struct obj *svc, struct finding *f)
{
    struct str labels = labels_text(q, val_get(obj_spec(svc), N(selector)));
    const struct obj *d = empty_deployment(q, svc);
    if (d && val_num_at(obj_spec(d), 1, N(replicas)) == 0) {
        why_found(q, f, "ScaledToZero", "Deployment " STR_FMT ", whose pods it selects, has 0 replicas",
                  STR_ARG(d->name));
        why_way(q, f, "Scale it up: kubectl scale " STR_FMT " --replicas=1", STR_ARG(why_target(q, d)));
        return;
    }
    if (d) {
        struct finding one = {0};
        struct question other = why_about(q, d);
        why_deployment(&other, d, &one);
        why_behind(q, f,
                   arena_fmt(q->a, "Deployment " STR_FMT ", whose pods it selects, has none:", STR_ARG(d->name)),
                   &one);
        return;
    }
    struct str likely = likely_label(q, svc);
    why_chain(q, f, "selector " STR_FMT ": matches no pod in namespace " STR_FMT, STR_ARG(labels), STR_ARG(svc->ns));
    why_found(q, f, "SelectorMatchesNothing",
              "its selector " STR_FMT " matches no pod in namespace " STR_FMT "%s" STR_FMT "%s", STR_ARG(labels),
              STR_ARG(svc->ns), likely.n ? " (there are pods with " : "", STR_ARG(likely), likely.n ? ")" : "");
    if (likely.n > 0) {
        struct str key, value;
        (void)str_split(likely, '=', &key, &value);
        why_way(q, f,
                "Mend spec.selector: kubectl patch " STR_FMT " --type=merge -p '{\"spec\":{\"selector\":{\"" STR_FMT
                "\":\"" STR_FMT "\"}}}'",
                STR_ARG(why_target(q, svc)), STR_ARG(key), STR_ARG(value));
    } else {
        why_way(q, f, "Start pods with those labels, or mend spec.selector: kubectl edit " STR_FMT,
                STR_ARG(why_target(q, svc)));
    }
}

static void say_pod(struct question *q, const struct obj *pod, struct finding *f)
{
    struct finding one = {0};
    struct question other = why_about(q, pod);
    why_pod(&other, pod, &one);
    why_behind(q, f, arena_fmt(q->a, "pod " STR_FMT, STR_ARG(pod->name)), &one);
}

/* ---- ports ---- */

static struct str ports_declared(struct question *q, const struct obj *pod, bool by_name, int64_t port,
                                 bool *is_there)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    val_each_item (c, val_get(obj_spec(pod), N(containers)))
        val_each_item (p, val_get(c, N(ports))) {
            struct str name = val_text_at(p, N(name));
            int64_t number = val_num_at(p, 0, N(containerPort));
            *is_there |= !by_name && number == port;
            if (by_name && name.n == 0)
                continue;
            strbuf_addf(&b, "%s", b.n ? ", " : "");
            if (by_name)
                strbuf_addf(&b, STR_FMT, STR_ARG(name));
            else
                strbuf_addf(&b, "%lld", (long long)number);
        }
    return str_dup(q->a, strbuf_str(&b));
}

/* A number that no container declares is no error by itself; beside others that are declared it is a likely one. */
static void say_port(struct question *q, const struct obj *svc, const struct backend *b, const struct val *port,
                     size_t resolved, struct finding *f)
{
    const struct val *to = val_get(port, N(targetPort));
    bool is_there = false, name = val_text(to).n > 0;
    int64_t number = val_num(to, val_num_at(port, 0, N(port)));
    struct str have = ports_declared(q, b->pod, name, number, &is_there);
    if (name && resolved == 0) {
        why_found(q, f, "TargetPortName",
                  "its targetPort " STR_FMT " is no port's name in pod " STR_FMT " (it has %s" STR_FMT ")",
                  STR_ARG(val_text(to)), STR_ARG(b->pod->name), have.n ? "" : "none", STR_ARG(have));
        why_way(q, f, "Mend spec.ports.targetPort: kubectl edit " STR_FMT, STR_ARG(why_target(q, svc)));
    } else if (!name && have.n > 0 && !is_there) {
        why_found(q, f, "TargetPortUndeclared",
                  "it sends to port %lld, which no container of pod " STR_FMT " declares (they declare " STR_FMT ")",
                  (long long)number, STR_ARG(b->pod->name), STR_ARG(have));
        why_way(q, f, "If nothing listens there, mend spec.ports.targetPort: kubectl edit " STR_FMT,
                STR_ARG(why_target(q, svc)));
    }
}

static void say_ports(struct question *q, const struct obj *svc, const struct backend *b, struct finding *f)
{
    val_each_item (p, val_get(obj_spec(svc), N(ports))) {
        size_t resolved = 0;
        val_each_item (r, b->ports)
            resolved += str_eq(val_text_at(r, N(name)), val_text_at(p, N(name)));
        say_port(q, svc, b, p, resolved, f);
    }
}

static size_t hand_made(struct question *q, const struct obj *svc)
{
    size_t n = 0;
    struct obj *slice;
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    struct str key = objset_key_of(&text, svc);
    for (struct objset_iter it = view_with(q->v, K(EndpointSlice), &index_slices, key); (slice = objset_next(&it));)
        n += val_len(val_get(&slice->tree, N(endpoints)));
    return n;
}

void why_service(struct question *q, const struct obj *svc, struct finding *f)
{
    if (is_external(svc)) {
        f->reason = arena_fmt(q->a, "it is another name of " STR_FMT,
                              STR_ARG(val_text_at(obj_spec(svc), N(externalName))));
        return;
    }
    if (service_is_edge(svc)) {
        f->reason = S("the front door serves it");
        why_balancer(q, svc, f);
        return;
    }
    struct behind b;
    behind_make(q, svc, &b);
    if (!b.selects) {
        size_t n = hand_made(q, svc);
        f->reason = arena_fmt(q->a, "%zu endpoints, made by hand", n);
        if (n == 0) {
            f->reason = S("");
            why_found(q, f, "NoEndpoints", "it has no selector, and nobody has made an EndpointSlice for it");
            why_way(q, f, "Give it a selector: kubectl edit " STR_FMT, STR_ARG(why_target(q, svc)));
        }
        behind_fini(&b);
        return;
    }
    why_chain(q, f, "Service " STR_FMT ": selector " STR_FMT ", %zu endpoints, %zu ready", STR_ARG(svc->name),
              STR_ARG(labels_text(q, val_get(obj_spec(svc), N(selector)))), b.all.n, b.ready);
    const struct obj *pod = b.all.n > 0 ? b.all.p[0].pod : any_selected(q, svc);
    if (!pod)
        say_selects_none(q, svc, f);
    else if (b.ready == 0)
        say_pod(q, pod, f);
    array_each (it, &b.all)
        if (it->ready)
            say_ports(q, svc, it, f);
    why_balancer(q, svc, f);
    if (f->state == WHY_FINE && !f->reason.n)
        f->reason = arena_fmt(q->a, "%zu ready endpoint%s", b.ready, b.ready == 1 ? "" : "s");
    behind_fini(&b);
}
