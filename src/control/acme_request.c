/* CertificateRequests of ACME's issuers: an Order each, and what becomes of it. Where an authority fails, or does not
 * take the order for some time, those that the issuer names besides are asked, in their order. */
#include "control/acme_int.h"

#define FALLBACK_NS (300 * NS_PER_S) /* so long an Order that the server has not taken is waited for */
#define ISSUERS     8                /* that are asked, one after the other */
#define NAME_MOST   52

static bool request_is_approved(const struct obj *o)
{
    return condition_is(obj_status(o), "Approved", "True") && !condition_is(obj_status(o), "Denied", "True");
}

static bool request_is_over(const struct obj *o)
{
    const struct val *ready = condition_get(obj_status(o), "Ready");
    struct str reason = val_text_at(ready, N(reason));
    return str_eqz(reason, "Issued") || str_eqz(reason, "Failed") || str_eqz(reason, "Denied");
}

/* The Ready condition, as upstream words it. */
static void request_tell(struct acme_turn *t, const char *reason, struct str message, struct str chain)
{
    struct val tree = plan_edit_status(t->out, t->o);
    struct val *status = status_need(t->a, &tree);
    bool failed = strcmp(reason, "Failed") == 0;
    struct condition c = {
        .type = "Ready", .status = chain.n ? "True" : "False", .reason = reason, .message = message};
    if (failed && !acme_text(status, "failureTime").n)
        acme_put(t->a, status, "failureTime", time_text(t->a, t->v->now));
    if (chain.n)
        acme_put(t->a, status, "certificate", chain);
    conditions_set(t->a, status, conditions_with(t->a, status, &c, t->v->now));
    if (!plan_update(t->out, t->o, S("status"), tree) || !(failed || chain.n))
        return;
    plan_event(t->out, (struct obj *)(uintptr_t)t->o, failed ? "Warning" : "Normal",
               failed ? "OrderFailed" : "CertificateIssued", STR_FMT, STR_ARG(message));
}

/* --- which issuers --- */

struct acme_issuers_asked {
    struct str list[ISSUERS];
    size_t n;
};

static void issuers_list(const struct obj *issuer, struct acme_issuers_asked *out)
{
    struct str rest = obj_note(issuer, ACME_FALLBACK_NOTE), name;
    out->list[out->n++] = issuer->name;
    while (rest.n && out->n < ISSUERS && str_cut(&rest, ',', &name))
        if (str_trim(name).n)
            out->list[out->n++] = str_trim(name);
}

/* --- the Order --- */

static struct str order_name(struct acme_turn *t, struct str issuer, size_t n)
{
    uint64_t hash = stable_hash(issuer, stable_hash(t->o->uid, n));
    struct str base = str_sub(t->o->name, 0, NAME_MOST);
    while (base.n && (base.p[base.n - 1] == '-' || base.p[base.n - 1] == '.'))
        base.n--;
    return arena_fmt(t->a, STR_FMT "-%u", STR_ARG(base), (unsigned)(hash & UINT32_MAX));
}

/* The names of the request, its common name among them; what ACME has no words for is refused. */
static bool order_spec(struct acme_turn *t, struct str issuer, struct val *spec)
{
    static const char *const none[] = {"uris", "emailAddresses", "otherNames"};
    const struct val *csr = t->f->csr, *list = acme_at(csr, "dnsNames"), *ips = acme_at(csr, "ipAddresses");
    struct str cn = acme_text(csr, "commonName");
    for (size_t i = 0; i < countof(none); i++)
        if (val_len(acme_at(csr, none[i]))) {
            request_tell(t, "Failed",
                         arena_fmt(t->a,
                                   "Failed to build order: an authority that speaks ACME proves DNS names and "
                                   "addresses alone, and the request has %s",
                                   none[i]),
                         S(""));
            return false;
        }
    if (cn.n && !val_has_text(list, cn) && !val_has_text(ips, cn)) {
        request_tell(t, "Failed",
                     arena_fmt(t->a,
                               "Failed to build order: the CSR PEM requests a commonName that is not present in the "
                               "list of dnsNames or ipAddresses: \"" STR_FMT "\"",
                               STR_ARG(cn)),
                     S(""));
        return false;
    }
    struct val ref = val_copy(t->a, acme_at(obj_spec(t->o), "issuerRef"));
    acme_put(t->a, &ref, "name", issuer);
    acme_set(t->a, spec, "request", val_copy(t->a, acme_at(obj_spec(t->o), "request")));
    acme_set(t->a, spec, "issuerRef", ref);
    if (cn.n && !val_has_text(ips, cn))
        acme_put(t->a, spec, "commonName", cn);
    if (val_len(list))
        acme_set(t->a, spec, "dnsNames", val_copy(t->a, list));
    if (val_len(ips))
        acme_set(t->a, spec, "ipAddresses", val_copy(t->a, ips));
    acme_put(t->a, spec, "duration", acme_text(obj_spec(t->o), "duration"));
    return true;
}

static void order_make(struct acme_turn *t, struct str issuer, struct str name)
{
    struct val tree = val_map(), spec = val_map(), owners = val_list();
    if (!order_spec(t, issuer, &spec))
        return;
    struct val *meta = val_need_map(t->a, &tree, N(metadata));
    (void)val_add(t->a, &owners, owner_ref(t->a, t->o));
    (void)val_set(t->a, meta, N(ownerReferences), owners);
    if (obj_labels(t->o))
        (void)val_set(t->a, meta, N(labels), val_copy(t->a, obj_labels(t->o)));
    struct val notes = val_map();
    val_each_member (m, val_get(obj_meta(t->o), N(annotations)))
        if (!str_starts(m->name->s, S("kubectl.kubernetes.io/")))
            (void)val_set_str(t->a, &notes, m->name->s, val_copy(t->a, &m->v));
    if (val_len(&notes))
        (void)val_set(t->a, meta, N(annotations), notes);
    acme_set(t->a, &tree, "spec", spec);
    struct action *made = plan_create(t->out, view_defined(t->v, acme_orders), t->o->ns, name, tree);
    made->exists_ok = true;
    made->done = plan_event_of(t->out, t->o, "Normal", "OrderCreated", "Created Order resource " STR_FMT "/" STR_FMT,
                               STR_ARG(t->o->ns), STR_ARG(name));
    request_tell(t, "Pending",
                 arena_fmt(t->a, "Created Order resource " STR_FMT "/" STR_FMT, STR_ARG(t->o->ns), STR_ARG(name)),
                 S(""));
}

static void order_waited_for(struct acme_turn *t, const struct obj *order)
{
    struct str state = acme_text(obj_status(order), "state"), why = acme_text(obj_status(order), "reason");
    request_tell(t, "Pending",
                 arena_fmt(t->a,
                           "Waiting on certificate issuance from order " STR_FMT "/" STR_FMT ": \"" STR_FMT
                           "\"%s" STR_FMT,
                           STR_ARG(order->ns), STR_ARG(order->name), STR_ARG(state), why.n ? ": " : "", STR_ARG(why)),
                 S(""));
}

/* The server has not taken it for so long that the next one is asked as well. */
static bool order_is_late(struct acme_turn *t, const struct obj *order)
{
    int64_t made = 0;
    if (acme_text(obj_status(order), "url").n ||
        !time_parse(val_text_at(obj_meta(order), N(creationTimestamp)), &made))
        return false;
    if (t->v->now - made > FALLBACK_NS)
        return true;
    plan_again(t->out, made + FALLBACK_NS + NS_PER_S);
    return false;
}

/* True: the next issuer is to be asked. */
static bool order_look(struct acme_turn *t, struct str issuer, size_t n, bool last)
{
    const struct kind *k = view_defined(t->v, acme_orders);
    struct str name = order_name(t, issuer, n);
    const struct obj *order = view_get(t->v, k, t->o->ns, name);
    if (!order) {
        order_make(t, issuer, name);
        return false;
    }
    struct str state = acme_text(obj_status(order), "state"), chain = acme_text(obj_status(order), "certificate");
    if (str_eqz(state, "valid") && chain.n) {
        request_tell(t, "Issued", S("Certificate fetched from issuer successfully"), chain);
        return false;
    }
    bool over = acme_state_is_over(state) && !str_eqz(state, "valid");
    if (!last && (over || order_is_late(t, order)))
        return true;
    if (over)
        request_tell(t, "Failed",
                     arena_fmt(t->a,
                               "Failed to wait for order resource \"" STR_FMT
                               "\" to become ready: order is in \"" STR_FMT "\" state: " STR_FMT,
                               STR_ARG(name), STR_ARG(state), STR_ARG(acme_text(obj_status(order), "reason"))),
                     S(""));
    else
        order_waited_for(t, order);
    return false;
}

/* One that another issuer was asked for as well, and that comes after all, counts. */
static bool order_came_late(struct acme_turn *t, const struct acme_issuers_asked *asked)
{
    for (size_t i = 0; i < asked->n; i++) {
        const struct obj *order = view_get(t->v, view_defined(t->v, acme_orders), t->o->ns,
                                           order_name(t, asked->list[i], i));
        struct str chain = order ? acme_text(obj_status(order), "certificate") : S("");
        if (!chain.n)
            continue;
        request_tell(t, "Issued", S("Certificate fetched from issuer successfully"), chain);
        return true;
    }
    return false;
}

void request_plan(struct acme_turn *t)
{
    struct acme_issuers_asked asked = {0};
    const struct obj *issuer = acme_issuer_of(t->v, t->o->ns, obj_spec(t->o));
    if (!issuer || obj_deleting(t->o) || !request_is_approved(t->o) || request_is_over(t->o) ||
        !view_defined(t->v, acme_orders))
        return;
    if (!t->f->csr) {
        request_tell(t, "Failed", S("Failed to decode CSR in spec.request"), S(""));
        return;
    }
    issuers_list(issuer, &asked);
    if (order_came_late(t, &asked))
        return;
    for (size_t i = 0; i < asked.n; i++) {
        /* the message of the last one that is asked is what stands there */
        if (!order_look(t, asked.list[i], i, i + 1 == asked.n))
            return;
    }
}
