/* Orders: made at the server, a Challenge for each name that is not known yet to be ours, finalized, fetched. */
#include "control/acme_int.h"

#define NAME_MOST 52 /* bytes of an Order's name that are in those of its Challenges */

static struct str order_state(const struct obj *o)
{
    return acme_text(obj_status(o), "state");
}

/* The state and why; over for good where it is one of the last ones. */
static void order_becomes(struct acme_turn *t, const char *state, struct str reason)
{
    struct val tree = plan_edit_status(t->out, t->o);
    struct val *status = status_need(t->a, &tree);
    acme_put(t->a, status, "state", str_of(state));
    acme_put(t->a, status, "reason", reason);
    bool failed = acme_state_is_over(str_of(state)) && strcmp(state, "valid") != 0;
    if (failed && !acme_text(status, "failureTime").n)
        acme_put(t->a, status, "failureTime", time_text(t->a, t->v->now));
    (void)plan_update(t->out, t->o, S("status"), tree); /* NULL: it says so already */
    if (failed)
        plan_event(t->out, (struct obj *)(uintptr_t)t->o, "Warning", "Errored", STR_FMT, STR_ARG(reason));
}

/* It is not over: what stands in the way is told, and it is tried again. */
static void order_waits(struct acme_turn *t, struct str reason)
{
    struct val tree = plan_edit_status(t->out, t->o);
    acme_put(t->a, status_need(t->a, &tree), "reason", reason);
    (void)plan_update(t->out, t->o, S("status"), tree); /* NULL: it says so already */
    plan_why(t->out, STR_FMT, STR_ARG(reason));
}

static bool issuer_is_ready(const struct obj *issuer)
{
    const struct val *ready = condition_get(obj_status(issuer), "Ready");
    return str_eqz(val_text_at(ready, N(status)), "True") && acme_text(obj_status(issuer), "acme.uri").n &&
           val_num_at(ready, 0, N(observedGeneration)) == obj_generation(issuer);
}

/* --- what is asked for --- */

static bool identifier_is_new(const struct acme_request *r, struct str value)
{
    for (size_t i = 0; i < r->nidentifiers; i++)
        if (str_ieq(r->identifiers[i].value, value))
            return false;
    return value.n;
}

static void identifiers_of(struct acme_turn *t, struct acme_request *r)
{
    const struct val *spec = obj_spec(t->o), *names_of = acme_at(spec, "dnsNames"),
                     *ips = acme_at(spec, "ipAddresses");
    r->identifiers = arena_alloc(t->a, (val_len(names_of) + val_len(ips) + 1) * sizeof *r->identifiers);
    val_each_item (name, names_of)
        if (identifier_is_new(r, val_text(name)))
            r->identifiers[r->nidentifiers++] = (struct acme_identifier){false, val_text(name)};
    val_each_item (ip, ips)
        if (identifier_is_new(r, val_text(ip)))
            r->identifiers[r->nidentifiers++] = (struct acme_identifier){true, val_text(ip)};
    struct str cn = acme_text(spec, "commonName");
    if (identifier_is_new(r, cn))
        r->identifiers[r->nidentifiers++] = (struct acme_identifier){false, cn};
}

static void order_ask_new(struct acme_turn *t, const struct obj *issuer)
{
    const struct val *spec = obj_spec(t->o), *acme = acme_at(obj_spec(issuer), "acme");
    turn_request(t, issuer, ACME_ORDER);
    struct acme_request *r = &t->todo->request;
    identifiers_of(t, r);
    struct str profile = acme_text(spec, "profile");
    r->profile = profile.n ? profile : acme_text(acme, "profile");
    int64_t duration = val_true(acme_at(acme, "enableDurationFeature")) ? acme_duration(spec, "duration") : 0;
    r->not_after = duration ? time_text(t->a, t->v->now + duration) : S("");
    struct str named = acme_text(spec, "replaces");
    r->replaces = named.n       ? named
                  : t->f->tries ? S("")
                                : t->f->replaces; /* a server that does not like it: without */
}

static void order_ask_look(struct acme_turn *t, const struct obj *issuer)
{
    turn_request(t, issuer, ACME_ORDER);
    t->todo->request.url = acme_text(obj_status(t->o), "url");
    t->todo->request.preferred = acme_text(obj_spec(issuer), "acme.preferredChain");
}

static void order_ask_finalize(struct acme_turn *t, const struct obj *issuer)
{
    const struct val *status = obj_status(t->o);
    turn_request(t, issuer, ACME_FINALIZE);
    t->todo->request.url = acme_text(status, "finalizeURL");
    t->todo->request.order = acme_text(status, "url");
    t->todo->request.preferred = acme_text(obj_spec(issuer), "acme.preferredChain");
    t->todo->request.csr = acme_bytes(t->a, obj_spec(t->o), "request");
}

/* --- Challenges --- */

static struct str challenge_name(struct acme_turn *t, const struct val *authorization)
{
    uint64_t hash = stable_hash(acme_text(authorization, "url"), stable_hash(t->o->uid, 0));
    struct str base = str_sub(t->o->name, 0, NAME_MOST);
    while (base.n && (base.p[base.n - 1] == '-' || base.p[base.n - 1] == '.'))
        base.n--;
    return arena_fmt(t->a, STR_FMT "-%u", STR_ARG(base), (unsigned)(hash & UINT32_MAX));
}

/* What is to be shown: the token and the account's key, for DNS hashed. */
static struct str key_of(struct acme_turn *t, const struct val *challenge, bool dns)
{
    struct str text = STR_JOIN(t->a, acme_text(challenge, "token"), S("."), t->f->thumbprint);
    if (!dns)
        return text;
    uint8_t digest[32];
    AUTO(strbuf_fini) struct strbuf b = STRBUF(64);
    t->f->digest(text, digest);
    strbuf_add_base64url(&b, digest, sizeof digest);
    return str_dup(t->a, strbuf_str(&b));
}

static void challenge_make(struct acme_turn *t, const struct val *authorization, const struct val *solver,
                           const struct val *challenge, bool alpn)
{
    struct arena *a = t->a;
    bool dns = solver_is_dns(solver);
    struct str domain = acme_text(authorization, "identifier"), name = challenge_name(t, authorization);
    struct val tree = val_map(), spec = val_map(), owners = val_list();
    struct val *meta = val_need_map(a, &tree, N(metadata));
    (void)val_add(a, &owners, owner_ref(a, t->o));
    (void)val_set(a, meta, N(ownerReferences), owners);
    if (dns) { /* the record is to be taken away before it goes */
        struct val list = val_list();
        (void)val_add(a, &list, val_str_borrowed(S(ACME_FINALIZER)));
        (void)val_set(a, meta, N(finalizers), list);
    }
    if (alpn) {
        struct val notes = val_map();
        acme_put(a, &notes, ACME_CHALLENGE_NOTE, S(ACME_TLS_ALPN));
        (void)val_set(a, meta, N(annotations), notes);
    }
    acme_put(a, &spec, "authorizationURL", acme_text(authorization, "url"));
    acme_put(a, &spec, "dnsName", domain);
    acme_set(a, &spec, "issuerRef", val_copy(a, acme_at(obj_spec(t->o), "issuerRef")));
    acme_put(a, &spec, "key", key_of(t, challenge, dns));
    acme_set(a, &spec, "solver", val_copy(a, solver));
    acme_put(a, &spec, "token", acme_text(challenge, "token"));
    acme_put(a, &spec, "type", dns ? S("DNS-01") : S("HTTP-01"));
    acme_put(a, &spec, "url", acme_text(challenge, "url"));
    acme_set(a, &spec, "wildcard", val_bool(val_true(acme_at(authorization, "wildcard"))));
    acme_set(a, &tree, "spec", spec);
    struct action *made = plan_create(t->out, view_defined(t->v, acme_challenges), t->o->ns, name, tree);
    made->exists_ok = true;
    made->done = plan_event_of(t->out, t->o, "Normal", "Created",
                               "Created Challenge resource \"" STR_FMT "\" for domain \"" STR_FMT "\"", STR_ARG(name),
                               STR_ARG(domain));
}

/* How the Challenges of an Order stand. */
struct progress {
    size_t open, failed;
};

static bool challenge_step(struct acme_turn *t, const struct obj *issuer, const struct val *authorization,
                           struct progress *p)
{
    const struct kind *k = view_defined(t->v, acme_challenges);
    const struct obj *have = k ? view_get(t->v, k, t->o->ns, challenge_name(t, authorization)) : NULL;
    const struct val *challenge = NULL;
    bool alpn = false;
    if (have) {
        struct str state = acme_text(obj_status(have), "state");
        p->open += !acme_state_is_over(state);
        p->failed += acme_state_is_over(state) && !str_eqz(state, "valid");
        return true;
    }
    const struct val *solver = solver_choose(issuer, t->o, authorization, &challenge, &alpn);
    struct str trouble = solver ? solver_trouble(t->a, solver, t->f) : S("");
    if (solver && !trouble.n) {
        p->open++;
        challenge_make(t, authorization, solver, challenge, alpn);
        return true;
    }
    struct str id = acme_text(authorization, "identifier");
    if (!trouble.n)
        trouble = arena_fmt(t->a,
                            "no configured challenge solvers can be used for this challenge: none of the solvers of "
                            "the issuer fits%s",
                            val_true(acme_at(authorization, "wildcard")) ? "; names with a star take one for dns01"
                                                                         : "");
    order_becomes(t, "errored",
                  arena_fmt(t->a, "Failed to determine a valid solver for \"" STR_FMT "\": " STR_FMT, STR_ARG(id),
                            STR_ARG(trouble)));
    return false;
}

static void order_of_challenges(struct acme_turn *t, const struct obj *issuer)
{
    struct progress p = {0};
    if (!view_defined(t->v, acme_challenges) || !t->f->thumbprint.n)
        return;
    val_each_item (z, acme_at(obj_status(t->o), "authorizations"))
        if (!str_eqz(acme_text(z, "initialState"), "valid") && !challenge_step(t, issuer, z, &p))
            return;
    if (p.failed || !p.open)
        order_ask_look(t, issuer);
}

static void challenges_delete(struct acme_turn *t)
{
    const struct kind *k = view_defined(t->v, acme_challenges);
    if (!k)
        return;
    struct objset_iter it = view_with(t->v, k, &index_owner, t->o->uid);
    for (struct obj *have; (have = objset_next(&it));)
        if (!obj_deleting(have))
            plan_delete(t->out, have)->absent_ok = true;
}

void order_plan(struct acme_turn *t)
{
    struct str state = order_state(t->o);
    const struct val *status = obj_status(t->o);
    if (obj_deleting(t->o))
        return;
    bool fetched = !str_eqz(state, "valid") || acme_text(status, "certificate").n;
    if (acme_state_is_over(state) && fetched) {
        challenges_delete(t);
        return;
    }
    const struct obj *issuer = acme_issuer_of(t->v, t->o->ns, obj_spec(t->o));
    if (!issuer || !issuer_is_ready(issuer)) {
        order_waits(t, arena_fmt(t->a, "Waiting for the issuer " STR_FMT,
                                 STR_ARG(acme_text(obj_spec(t->o), "issuerRef.name"))));
        return;
    }
    if (turn_rests(t))
        return;
    if (!acme_text(status, "url").n)
        order_ask_new(t, issuer);
    else if (str_eqz(state, "ready"))
        order_ask_finalize(t, issuer);
    else if (str_eqz(state, "pending"))
        order_of_challenges(t, issuer);
    else
        order_ask_look(t, issuer);
}

/* --- what was heard --- */

static struct val authorizations_val(struct acme_turn *t)
{
    struct arena *a = t->a;
    struct val list = val_list();
    for (size_t i = 0; i < t->answer->nauthorizations; i++) {
        const struct acme_authorization *z = &t->answer->authorizations[i];
        struct val one = val_map(), challenges = val_list();
        for (size_t n = 0; n < z->nchallenges; n++) {
            struct val c = val_map();
            acme_put(a, &c, "token", z->challenges[n].token);
            acme_put(a, &c, "type", z->challenges[n].type);
            acme_put(a, &c, "url", z->challenges[n].url);
            (void)val_add(a, &challenges, c);
        }
        acme_set(a, &one, "challenges", challenges);
        acme_put(a, &one, "identifier", z->identifier.value);
        acme_put(a, &one, "initialState", z->status);
        acme_put(a, &one, "url", z->url);
        acme_set(a, &one, "wildcard", val_bool(z->wildcard));
        (void)val_add(a, &list, one);
    }
    return list;
}

/* The server knows no such order, or none of our account: it was set up anew. It is ordered again. */
static void order_begins_again(struct acme_turn *t, struct str reason)
{
    static const char *const gone[] = {"url", "finalizeURL", "authorizations", "state"};
    struct val tree = plan_edit_status(t->out, t->o);
    struct val *status = status_need(t->a, &tree);
    for (size_t i = 0; i < countof(gone); i++)
        (void)val_del_str(status, str_of(gone[i]));
    acme_put(t->a, status, "reason", reason);
    (void)plan_update(t->out, t->o, S("status"), tree); /* NULL: it says so already */
    challenges_delete(t);                               /* they ask for what is not there any more */
    turn_later(t);
}

static void order_failed(struct acme_turn *t, const struct acme_todo *did)
{
    const struct acme_answer *r = t->answer;
    struct str words = str_dup(t->a, str_of(r->err.text));
    bool made = did->request.op == ACME_ORDER && !did->request.url.n;
    if (str_eqz(r->type, "accountDoesNotExist")) {
        issuer_lost(t);
        order_begins_again(t, words);
    } else if (!made && (r->http == 404 || (str_eqz(r->type, "malformed") && did->request.op == ACME_ORDER))) {
        order_begins_again(t, words);
    } else if (str_eqz(r->type, "orderNotReady")) {
        order_becomes(t, "processing", words); /* looked at, it says how it stands */
        turn_soon(t);
    } else if (answer_is_final(r) && !(made && did->request.replaces.n)) {
        order_becomes(t, "errored",
                      arena_fmt(t->a, "Failed to %s Order: " STR_FMT, made ? "create" : "finalize", STR_ARG(words)));
    } else {
        order_waits(t, words);
        turn_later(t);
    }
}

static struct str base64_of(struct acme_turn *t, struct str s)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    strbuf_add_base64(&b, s.p, s.n);
    return str_dup(t->a, strbuf_str(&b));
}

void order_heard(struct acme_turn *t, const struct acme_todo *did)
{
    const struct acme_answer *r = t->answer;
    if (r->err.kind) {
        order_failed(t, did);
        return;
    }
    struct val tree = plan_edit_status(t->out, t->o);
    struct val *status = status_need(t->a, &tree);
    if (r->url.n)
        acme_put(t->a, status, "url", r->url);
    acme_put(t->a, status, "finalizeURL", r->finalize);
    if (r->nauthorizations && !acme_at(status, "authorizations"))
        acme_set(t->a, status, "authorizations", authorizations_val(t));
    acme_put(t->a, status, "state", r->status);
    acme_put(t->a, status, "reason", r->why);
    if (r->chain.n)
        acme_put(t->a, status, "certificate", base64_of(t, r->chain));
    bool failed = str_eqz(r->status, "invalid") || str_eqz(r->status, "expired");
    if (failed)
        acme_put(t->a, status, "failureTime", time_text(t->a, t->v->now));
    (void)plan_update(t->out, t->o, S("status"), tree); /* NULL: nothing is new */
    if (r->chain.n)
        plan_event(t->out, (struct obj *)(uintptr_t)t->o, "Normal", "Complete", "Order completed successfully");
    else if (failed)
        plan_event(t->out, (struct obj *)(uintptr_t)t->o, "Warning", "Errored", STR_FMT, STR_ARG(r->why));
    else if (str_eq(r->status, order_state(t->o))) /* nothing is new */
        turn_soon(t);
}
