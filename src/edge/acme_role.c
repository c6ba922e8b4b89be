/* ACME in the front door's role: a source of the door (edge.h) that works through Issuers, Orders, Challenges and
 * Certificates. What is to be done is decided by control/acme.h; here it is done: one thing at a time for an object,
 * a write that is waited for until it is seen, a step (acme_step.h), and an answer in the proxy. */
#include "base/log.h"
#include "client/events.h"
#include "control/cert_other.h"
#include "edge/acme_role_int.h"

#define WORKERS     8  /* objects that are worked on at once, and so programs that run */
#define SECRETS_MAX 64 /* that one issuer names */

static const char *const acme_definitions[] = {acme_issuers,    acme_cluster_issuers, acme_orders,
                                               acme_challenges, acme_certificates,    acme_certificate_requests};

/* --- items --- */

static struct str item_key(struct strbuf *b, const char *definition, struct str ns, struct str name)
{
    strbuf_addf(b, STR_FMT "/" STR_FMT "/%s", STR_ARG(ns), STR_ARG(name), definition);
    return strbuf_str(b);
}

struct acme_item *acme_item_get(struct acme_role *r, const char *definition, struct str ns, struct str name,
                                bool make)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct str key = item_key(&b, definition, ns, name);
    struct acme_item *i = map_get(&r->items, key);
    if (i || !make)
        return i;
    i = NEW(struct acme_item);
    *i = (struct acme_item){.role = r,
                            .definition = definition,
                            .key = str_dupz(key),
                            .ns = str_dupz(ns),
                            .name = str_dupz(name),
                            .alpn_chain = STRBUF(STRBUF_TEXT),
                            .alpn_key = STRBUF(STRBUF_TEXT)};
    (void)map_put(&r->items, key, i); /* none was there */
    return i;
}

static void item_touch(struct acme_role *r, const char *definition, struct str ns, struct str name)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    workqueue_add(r->queue, item_key(&b, definition, ns, name));
}

static void secret_wiped(char *own_text)
{
    if (own_text)
        mem_wipe(own_text, strlen(own_text));
    mem_free(own_text);
}

static void secrets_drop(struct acme_item *i)
{
    array_each (name, &i->secrets) {
        feed_drop_object(i->role->edge->feed, K(Secret), str_of(i->secret_ns), str_of(*name));
        mem_free(*name);
    }
    array_fini(&i->secrets);
    mem_free(i->secret_ns);
    i->secret_ns = NULL;
}

static void item_free(struct acme_item *i)
{
    if (i->stepping)
        acme_step_fini(&i->step);
    call_cancel(&i->call);
    plan_fini(&i->plan);
    secrets_drop(i);
    secret_wiped(i->new_key);
    secret_wiped(i->old_key);
    mem_free(i->asked_at);
    if (i->alpn_key.p)
        mem_wipe(i->alpn_key.p, i->alpn_key.n);
    strbuf_fini(&i->alpn_chain);
    strbuf_fini(&i->alpn_key);
    mem_free(i->uid);
    mem_free(i->key);
    mem_free(i->ns);
    mem_free(i->name);
    mem_free(i);
}

struct obj *acme_item_object(const struct acme_item *i)
{
    const struct view *v = feed_view(i->role->edge->feed);
    const struct kind *k = view_defined(v, i->definition);
    return k ? view_get(v, k, str_of(i->ns), str_of(i->name)) : NULL;
}

bool acme_item_is_issuer(const struct acme_item *i)
{
    return i->definition == acme_issuers || i->definition == acme_cluster_issuers;
}

/* The Secrets that an issuer names are watched as long as it names them. */
struct secret_names {
    ARRAY(char *) list;
};
static void secret_name_add(void *arg, struct str name)
{
    struct secret_names *n = arg;
    if (n->list.n < SECRETS_MAX)
        array_push(&n->list, str_dupz(name));
}

static void secrets_want(struct acme_item *i, const struct obj *issuer)
{
    struct secret_names n = {0};
    struct str ns = acme_secret_ns(issuer);
    acme_secrets_each(issuer, secret_name_add, &n);
    bool same = n.list.n == i->secrets.n && i->secret_ns && str_eqz(ns, i->secret_ns);
    for (size_t k = 0; same && k < n.list.n; k++)
        same = strcmp(n.list.p[k], i->secrets.p[k]) == 0;
    if (!same) {
        array_each (name, &n.list)
            feed_want_object(i->role->edge->feed, K(Secret), ns, str_of(*name));
        secrets_drop(i);
        i->secret_ns = str_dupz(ns);
        array_each (name, &n.list)
            array_push(&i->secrets, mem_dupz(*name));
    }
    array_each (name, &n.list)
        mem_free(*name);
    array_fini(&n.list);
}

/* --- doing --- */

static void item_next(struct acme_item *i);

static void item_done(struct acme_item *i, bool ok)
{
    struct acme_role *r = i->role;
    int64_t again = i->plan.again, now = clock_real();
    i->busy = false;
    plan_fini(&i->plan);
    i->plan = (struct plan){0};
    i->todo = (struct acme_todo){0};
    if (i->heard) {
        i->not_before = again > now ? again : 0;
        i->tries = again ? i->tries + 1 : 0;
        i->heard = false;
    }
    AUTO_FREE char *key = mem_dupz(i->key);
    if (ok && again)
        workqueue_add_after(r->queue, str_of(key), MAX(again - now, 0));
    workqueue_done(r->queue, str_of(key), ok);
}

static void write_done(struct call *c)
{
    struct acme_item *i = container_of(c, struct acme_item, call);
    struct action *a = &i->plan.actions.p[i->at];
    bool fine = c->ok || (a->absent_ok && c->err.kind == E_NOT_FOUND) ||
                (a->exists_ok && c->err.kind == E_ALREADY_EXISTS);
    if (!fine) {
        if (c->err.kind != E_CONFLICT && c->err.kind != E_NOT_FOUND)
            log_warn("acme.write", "object=%s error=\"%s\"", i->key, c->err.text);
        item_done(i, false);
        return;
    }
    bool own = c->ok && c->obj && str_eqz(c->obj->name, i->name) &&
               view_defined(feed_view(i->role->edge->feed), i->definition) == c->obj->kind;
    if (own)
        i->written = MAX(i->written, c->obj->rev);
    if (c->ok && a->done.about)
        events_record(i->role->events, a->done.about, S(""), a->done.type, a->done.reason, NULL, a->done.message);
    i->at++;
    item_next(i);
}

static void step_done(struct acme_step *s);

/* The next write of the plan; then the step; then it is done. */
static void item_next(struct acme_item *i)
{
    static const enum call_verb verbs[] = {CALL_CREATE, CALL_UPDATE, CALL_PATCH, CALL_DELETE};
    struct acme_role *r = i->role;
    if (i->at < i->plan.actions.n) {
        struct action *a = &i->plan.actions.p[i->at];
        ASSERT(a->verb <= ACTION_DELETE);
        struct call_options o = CALL_OPTIONS(.verb = verbs[a->verb], .kind = a->kind, .ns = a->ns, .name = a->name,
                                             .sub = a->sub, .expect_rev = a->expect_rev, .expect_uid = a->expect_uid,
                                             .patch = PATCH_MERGE, .propagation = a->propagation);
        o.grace_s = a->grace_s;
        if (a->verb != ACTION_DELETE)
            o.body = &a->body;
        if (a->verb == ACTION_CREATE)
            o.expect_uid = STR_NONE;
        i->call = (struct call){.done = write_done};
        call_start(&i->call, r->tools.transport, &o);
        return;
    }
    if (i->todo.how == ACME_NOTHING || i->at) { /* what was written may change what is to be done */
        item_done(i, true);
        return;
    }
    i->stepping = true;
    log_debug("acme.step", "object=%s op=%d", i->key, (int)i->todo.request.op);
    acme_step_start(&i->step, &r->tools, &i->todo, step_done);
}

static void events_tell(struct acme_item *i)
{
    array_each (e, &i->plan.events)
        events_record(i->role->events, e->about, S(""), e->type, e->reason, NULL, e->message);
}

static void rest_note(struct acme_item *i, const struct view *v, const struct obj *o,
                      const struct acme_answer *answer)
{
    const struct obj *issuer = acme_item_is_issuer(i) ? o : acme_issuer_of(v, o->ns, obj_spec(o));
    bool whole = answer->http == 503 || (answer->http == 429 && acme_item_is_issuer(i));
    if (!issuer || !whole || !answer->retry_after_s)
        return;
    struct acme_item *rests = acme_item_get(i->role, issuer->ns.n ? acme_issuers : acme_cluster_issuers, issuer->ns,
                                            issuer->name, true);
    rests->rest_until = v->now + ns_of_seconds(answer->retry_after_s);
}

static void step_done(struct acme_step *s)
{
    struct acme_item *i = container_of(s, struct acme_item, step);
    const struct view *v = feed_view(i->role->edge->feed);
    const struct obj *o = acme_item_object(i);
    struct plan plan = {0};
    struct acme_facts f;
    if (s->answer.err.kind && s->answer.err.kind != E_NOT_IMPLEMENTED)
        log_info("acme.step", "object=%s error=\"%s\"", i->key, s->answer.err.text);
    if (o && i->uid && str_eqz(o->uid, i->uid)) {
        acme_facts_gather(i, v, o, &plan.arena, &f);
        acme_heard(v, o, &f, &i->todo, &s->answer, &plan);
        rest_note(i, v, o, &s->answer);
        if (i->todo.request.op == ACME_REKEY && (!s->answer.err.kind || s->answer.http / 100 == 4)) {
            secret_wiped(i->old_key);
            i->old_key = NULL;
        }
        i->heard = true;
        i->asked = false;
    }
    i->stepping = false;
    acme_step_fini(s);
    plan_fini(&i->plan);
    i->plan = plan;
    i->todo = (struct acme_todo){0};
    i->at = 0;
    events_tell(i);
    item_next(i);
}

static void item_forget(struct acme_item *i)
{
    struct acme_role *r = i->role;
    r->dirty |= i->in_door;
    if (i->in_door)
        edge_decide(r->edge);
    (void)map_del(&r->items, str_of(i->key));
    item_free(i);
}

/* What was put off is not for another spec than the one that failed. */
static void item_renew(struct acme_item *i, const struct obj *o)
{
    bool other = !i->uid || !str_eqz(o->uid, i->uid);
    struct str asked = obj_note(o, ACME_ASKED_NOTE);
    bool anew = !str_eq(asked, str_of(i->asked_at));
    if (!other && !anew && i->generation == obj_generation(o))
        return;
    if (anew) {
        mem_free(i->asked_at);
        i->asked_at = str_dupz(asked);
        i->asked = true;
    }
    if (other) {
        mem_free(i->uid);
        i->uid = str_dupz(o->uid);
        i->written = 0;
    }
    i->generation = obj_generation(o);
    i->not_before = 0;
    i->tries = 0;
}

static const char *definition_of(struct str key, struct str *ns, struct str *name)
{
    struct str rest, definition;
    if (!str_split(key, '/', ns, &rest) || !str_split(rest, '/', name, &definition))
        return NULL;
    for (size_t i = 0; i < countof(acme_definitions); i++)
        if (str_eqz(definition, acme_definitions[i]))
            return acme_definitions[i];
    return NULL;
}

static void on_work(void *arg, struct str key)
{
    struct acme_role *r = arg;
    struct str ns, name;
    const char *definition = definition_of(key, &ns, &name);
    ASSERT(definition);
    struct acme_item *i = acme_item_get(r, definition, ns, name, true);
    struct obj *o = acme_item_object(i);
    if (!feed_synced(r->edge->feed)) { /* decide begins it again */
        array_push(&r->held, str_dupz(key));
        workqueue_done(r->queue, key, true);
        return;
    }
    if (!o) {
        item_forget(i);
        workqueue_done(r->queue, key, true);
        return;
    }
    item_renew(i, o);
    if (acme_item_is_issuer(i))
        secrets_want(i, o);
    const struct view *v = feed_view(r->edge->feed);
    if (!feed_synced(r->edge->feed) || o->rev < i->written || i->not_before > v->now) {
        if (!feed_synced(r->edge->feed))
            array_push(&r->held, str_dupz(key));
        else if (o->rev >= i->written)
            workqueue_add_after(r->queue, key, i->not_before - v->now);
        workqueue_done(r->queue, key, true); /* else: what is written comes, and with it the key */
        return;
    }
    struct acme_facts f;
    i->busy = true;
    i->at = 0;
    acme_facts_gather(i, v, o, &i->plan.arena, &f);
    acme_plan(v, o, &f, &i->plan, &i->todo);
    i->asked = i->asked && i->todo.how != ACME_NOTHING;
    events_tell(i);
    item_next(i);
}

/* --- what changes --- */

static const char *definition_of_kind(const struct view *v, const struct kind *k)
{
    for (size_t i = 0; k->custom && i < countof(acme_definitions); i++)
        if (view_defined(v, acme_definitions[i]) == k)
            return acme_definitions[i];
    return NULL;
}

static void all_touch(struct acme_role *r, const char *definition)
{
    const struct view *v = feed_view(r->edge->feed);
    const struct kind *k = view_defined(v, definition);
    if (!k)
        return;
    struct objset_iter it = view_all(v, k);
    for (struct obj *o; (o = objset_next(&it));)
        item_touch(r, definition, o->ns, o->name);
}

/* A key that an account has at its server is given up only by a change there: the old one is needed for that. */
static void old_key_keep(struct acme_item *i, const struct obj *issuer, const struct obj *was, const struct obj *now)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str key, name = acme_key_secret(issuer, &key);
    if (!was || !now || !str_eq(now->name, name))
        return;
    struct str before = val_raw(val_get_str(val_get(&was->tree, N(data)), key)),
               after = val_raw(val_get_str(val_get(&now->tree, N(data)), key));
    if (!before.n || !after.n || str_eq(before, after) ||
        !str_eq(acme_account_told(issuer), acme_account_hash(&a, issuer, before)))
        return;
    secret_wiped(i->old_key);
    i->old_key = str_dupz(before);
}

/* Issuers of that definition that name the Secret are looked at again. */
static void issuers_of_secret(struct acme_role *r, const char *definition, const struct obj *was,
                              const struct obj *now)
{
    const struct view *v = feed_view(r->edge->feed);
    const struct kind *k = view_defined(v, definition);
    const struct obj *o = now ? now : was;
    if (!k)
        return;
    struct objset_iter it = view_all(v, k);
    for (struct obj *issuer; (issuer = objset_next(&it));) {
        struct acme_item *i = acme_item_get(r, definition, issuer->ns, issuer->name, false);
        if (!i || !i->secret_ns || !str_eqz(o->ns, i->secret_ns))
            continue;
        array_each (name, &i->secrets) {
            if (!str_eqz(o->name, *name))
                continue;
            old_key_keep(i, issuer, was, now);
            i->not_before = 0;
            workqueue_add(r->queue, str_of(i->key));
        }
    }
}

static void secret_changed(struct acme_role *r, const struct obj *was, const struct obj *now)
{
    const struct obj *o = now ? now : was;
    issuers_of_secret(r, acme_issuers, was, now);
    issuers_of_secret(r, acme_cluster_issuers, was, now);
    const struct view *v = feed_view(r->edge->feed);
    const struct kind *k = view_defined(v, acme_certificates);
    struct str certificate = obj_note(o, ACME_NAME_NOTE);
    struct acme_item *i = k && certificate.n ? acme_item_get(r, acme_certificates, o->ns, certificate, false) : NULL;
    if (!i)
        return;
    i->not_before = 0; /* another one may be asked about at once */
    workqueue_add(r->queue, str_of(i->key));
}

/* Another account, or another answer than before: what was put off on account of it is not put off any more. */
static void issuer_renewed(struct acme_role *r, const struct obj *was, const struct obj *now)
{
    const struct val *before = val_get_str(was ? obj_status(was) : NULL, S("acme")),
                     *after = val_get_str(now ? obj_status(now) : NULL, S("acme"));
    bool same = was && now && obj_generation(was) == obj_generation(now) && val_equal(before, after) &&
                condition_is(obj_status(was), "Ready", "True") == condition_is(obj_status(now), "Ready", "True");
    const struct obj *issuer = now ? now : was;
    map_each (it, &r->items) {
        struct acme_item *i = it->value;
        struct obj *o = same || acme_item_is_issuer(i) ? NULL : acme_item_object(i);
        const struct val *ref = val_get_str(o ? obj_spec(o) : NULL, S("issuerRef"));
        if (!ref || !str_eq(val_text_at(ref, N(name)), issuer->name))
            continue;
        i->not_before = 0;
        i->tries = 0;
    }
}

static void *acme_start(struct edge *e)
{
    struct acme_role *r = NEW(struct acme_role);
    struct workqueue_options o = {.loop = e->loop,
                                  .work = on_work,
                                  .arg = r,
                                  .workers = WORKERS,
                                  .backoff_ns = 100 * NS_PER_MS,
                                  .backoff_max_ns = 60 * NS_PER_S};
    *r = (struct acme_role){.edge = e, .queue = workqueue_new(&o)};
    r->tools = (struct acme_tools){
        .loop = e->loop, .transport = e->config->transport, .job = e->config->job, .hook = e->config->acme_hook};
    r->events = events_new(e->config->transport, "wherry-acme", "");
    if (e->config->acme)
        feed_want_object(e->feed, K(Lease), S(CERT_MANAGER_LEASE_NS), S(CERT_MANAGER_LEASE));
    for (size_t i = 0; e->config->acme && i < countof(acme_definitions); i++)
        feed_want_defined(e->feed, acme_definitions[i]);
    workqueue_start(r->queue);
    return r;
}

static void acme_stop(void *state)
{
    struct acme_role *r = state;
    workqueue_free(r->queue);
    map_each (it, &r->items)
        item_free(it->value);
    map_fini(&r->items);
    array_each (key, &r->held)
        mem_free(*key);
    array_fini(&r->held);
    events_free(r->events);
    mem_free(r);
}

static void acme_changed(void *state, const struct kind *k, const struct obj *was, const struct obj *now)
{
    struct acme_role *r = state;
    const struct obj *o = now ? now : was;
    if (k == K(Secret)) {
        secret_changed(r, was, now);
        return;
    }
    const char *definition = definition_of_kind(feed_view(r->edge->feed), k);
    if (!definition || !r->edge->config->acme)
        return;
    item_touch(r, definition, o->ns, o->name);
    if (definition == acme_challenges) {
        const struct val *order = obj_controller(o);
        r->dirty = true;
        if (order)
            item_touch(r, acme_orders, o->ns, val_text_at(order, N(name)));
    } else if (definition == acme_issuers || definition == acme_cluster_issuers) {
        issuer_renewed(r, was, now);
        all_touch(r, acme_orders);
        all_touch(r, acme_challenges);
        all_touch(r, acme_certificates);
        all_touch(r, acme_certificate_requests);
    } else if (definition == acme_orders) {
        const struct val *request = obj_controller(o);
        if (request)
            item_touch(r, acme_certificate_requests, o->ns, val_text_at(request, N(name)));
    } else if (definition == acme_certificates && !r->wants_certificates) {
        r->wants_certificates = true; /* what it has, for when it is to be renewed */
        feed_want(r->edge->feed, K(Secret));
    }
}

static bool acme_decide(void *state)
{
    struct acme_role *r = state;
    array_each (key, &r->held) {
        workqueue_add(r->queue, str_of(*key));
        mem_free(*key);
    }
    array_clear(&r->held);
    if (!r->dirty)
        return false;
    r->dirty = false;
    acme_part_make(r);
    return true;
}

static void acme_applied(void *state, uint64_t revision)
{
    acme_part_applied(state, revision);
}

const struct edge_source edge_acme = {
    .name = ACME_SOURCE,
    .start = acme_start,
    .stop = acme_stop,
    .changed = acme_changed,
    .decide = acme_decide,
    .applied = acme_applied,
};
