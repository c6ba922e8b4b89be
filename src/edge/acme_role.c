/* ACME in the front door's role: a source of the door (edge.h) that works through Issuers, Orders, Challenges and
 * Certificates. What is to be done is decided by control/acme.h; here it is done: one thing at a time for an object,
 * a write that is waited for until it is seen, a step (acme_step.h), and an answer in the proxy. */
#include "base/log.h"
#include "client/events.h"
#include "client/workqueue.h"
#include "control/cert_other.h"
#include "edge/acme_step.h"
#include "edge/acme_wire.h"
#include "edge/cert_work.h"
#include "edge/edge.h"
#include "sys/cert.h"
#include "sys/crypto.h"
#include "sys/jws.h"

#define WORKERS     8 /* objects that are worked on at once, and so programs that run */
#define SOURCE      "Acme"
#define ALPN        "acme-tls/1"
#define NAME_NOTE   "cert-manager.io/certificate-name"
#define SECRETS_MAX 64 /* that one issuer names */

static const char *const acme_definitions[] = {acme_issuers,    acme_cluster_issuers, acme_orders,
                                               acme_challenges, acme_certificates,    acme_certificate_requests};

/* An object that is worked on. */
struct acme_item {
    struct acme_role *role;
    const char *definition;
    char *key, *ns, *name;
    bool busy;
    int tries;
    int64_t not_before, rest_until;
    int64_t generation; /* of the spec that not_before and tries are about */
    int64_t written;    /* the revision of our last write of it; nothing is decided before it is seen */
    /* issuers */
    char *new_key, *old_key;
    char *asked_at; /* the note of who asked last */
    bool asked;
    ARRAY(char *) secrets; /* that are wanted of the feed, in secret_ns */
    char *secret_ns;
    /* challenges */
    bool in_door, solved;
    uint64_t door_revision;
    struct strbuf alpn_chain, alpn_key;
    /* what is under way */
    struct plan plan;
    size_t at;  /* the next action of the plan */
    bool heard; /* the plan is what follows from an answer */
    struct acme_todo todo;
    struct acme_step step;
    bool stepping;
    struct call call;
    char *uid; /* of the object that it is about */
};
struct acme_role {
    struct edge *edge;
    struct acme_tools tools;
    struct workqueue *queue;
    struct events *events;
    struct map items;   /* "DEFINITION/NS/NAME" -> struct acme_item */
    ARRAY(char *) held; /* keys whose work waits until the feed has what is wanted */
    bool dirty;         /* the door's part is to be made anew */
    bool wants_certificates;
};

/* --- items --- */

static struct str item_key(struct strbuf *b, const char *definition, struct str ns, struct str name)
{
    strbuf_addf(b, STR_FMT "/" STR_FMT "/%s", STR_ARG(ns), STR_ARG(name), definition);
    return strbuf_str(b);
}

static struct acme_item *item_get(struct acme_role *r, const char *definition, struct str ns, struct str name,
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

static struct obj *item_object(const struct acme_item *i)
{
    const struct view *v = feed_view(i->role->edge->feed);
    const struct kind *k = view_defined(v, i->definition);
    return k ? view_get(v, k, str_of(i->ns), str_of(i->name)) : NULL;
}

static bool item_is_issuer(const struct acme_item *i)
{
    return i->definition == acme_issuers || i->definition == acme_cluster_issuers;
}

/* --- what is known besides the objects --- */

static struct str secret_value(const struct view *v, struct str ns, struct str name, struct str key)
{
    const struct obj *secret = name.n ? view_get(v, K(Secret), ns, name) : NULL;
    return secret ? val_raw(val_get_str(val_get(&secret->tree, N(data)), key)) : S("");
}

static struct str account_key(const struct view *v, const struct obj *issuer)
{
    struct str key, name = acme_key_secret(issuer, &key);
    return secret_value(v, acme_secret_ns(issuer), name, key);
}

static struct str hash_text(struct arena *a, struct str text)
{
    uint8_t digest[SHA256_SIZE];
    AUTO(strbuf_fini) struct strbuf b = STRBUF(64);
    sha256_of(text, digest);
    strbuf_add_base64(&b, digest, sizeof digest);
    return str_dup(a, strbuf_str(&b));
}

/* What the status remembers of the account: whose key, at which server. */
static struct str account_hash(struct arena *a, const struct obj *issuer, struct str key)
{
    struct str server = val_text(val_get_str(val_get_str(obj_spec(issuer), S("acme")), S("server")));
    return hash_text(a, STR_JOIN(a, key, S("\n"), server));
}

static struct str account_told(const struct obj *issuer)
{
    return val_text(val_get_str(val_get_str(obj_status(issuer), S("acme")), S("lastPrivateKeyHash")));
}

static void issuer_facts(struct acme_item *i, const struct view *v, const struct obj *o, struct arena *a,
                         struct acme_facts *f)
{
    struct str have = account_key(v, o);
    if (have.n) {
        f->key_hash = account_hash(a, o, have);
    } else {
        if (!i->new_key) {
            AUTO(key_free) struct cert_key *k = key_new();
            struct strbuf b = STRBUF(STRBUF_TEXT);
            key_pem(k, &b);
            i->new_key = strbuf_take(&b);
        }
        f->new_key = str_of(i->new_key);
    }
    if (i->old_key && str_eq(account_told(o), account_hash(a, o, str_of(i->old_key))))
        f->old_key = str_of(i->old_key);
    f->asked = i->asked;
}

/* The certificate in the Secret of a Certificate, as ARI names it. */
static struct str ari_of(const struct view *v, const struct obj *certificate, struct arena *a)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct err ignored = ERR; /* one of another authority has no such name */
    struct str secret = val_text(val_get_str(obj_spec(certificate), S("secretName")));
    struct str pem = secret_value(v, certificate->ns, secret, S("tls.crt"));
    return pem.n && cert_ari_id(pem, &b, &ignored) ? str_dup(a, strbuf_str(&b)) : S("");
}

/* What an Order takes the place of, where its authority speaks ARI: what its Certificate has now. */
static struct str replaced_by(const struct view *v, const struct obj *order, struct arena *a)
{
    const struct val *owner = obj_controller(order);
    const struct kind *requests = view_defined(v, acme_certificate_requests), *k = view_defined(v, acme_certificates);
    const struct obj *request = owner && requests && k ? view_get(v, requests, order->ns, val_text_at(owner, N(name)))
                                                       : NULL;
    const struct obj *certificate = request ? view_get(v, k, order->ns, obj_note(request, NAME_NOTE)) : NULL;
    const struct val *ari = val_get_str(val_get_str(certificate ? obj_status(certificate) : NULL, S("acme")),
                                        S("ari"));
    return val_get_str(ari, S("suggestedWindow")) ? ari_of(v, certificate, a) : S("");
}

static void order_facts(const struct view *v, const struct obj *o, struct arena *a, struct acme_facts *f)
{
    const struct obj *issuer = acme_issuer_of(v, o->ns, obj_spec(o));
    struct err ignored = ERR; /* the issuer says that its key is none */
    AUTO(jws_key_free) struct jws_key *k = issuer ? jws_key_parse(account_key(v, issuer), &ignored) : NULL;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(128);
    if (k)
        jws_thumbprint(k, &b);
    f->thumbprint = str_dup(a, strbuf_str(&b));
    f->replaces = replaced_by(v, o, a);
}

static size_t challenges_under_way(const struct view *v)
{
    const struct kind *k = view_defined(v, acme_challenges);
    size_t n = 0;
    if (!k)
        return 0;
    struct objset_iter it = view_all(v, k);
    for (struct obj *o; (o = objset_next(&it));)
        n += val_true(val_get_str(obj_status(o), S("processing")));
    return n;
}

static int64_t issuer_rests(struct acme_role *r, const struct obj *issuer)
{
    const char *definition = issuer && issuer->ns.n ? acme_issuers : acme_cluster_issuers;
    struct acme_item *i = issuer ? item_get(r, definition, issuer->ns, issuer->name, false) : NULL;
    return i ? i->rest_until : 0;
}

/* What a CertificateRequest asks for. */
static const struct val *request_read(const struct obj *o, struct arena *a)
{
    struct err ignored = ERR; /* the plan says so */
    struct val *facts = ARENA_NEW(a, struct val);
    AUTO(strbuf_fini) struct strbuf pem = STRBUF(1 << 20);
    const struct val *request = val_get_str(obj_spec(o), S("request"));
    if (val_is(request, VAL_BYTES))
        strbuf_add(&pem, val_raw(request));
    else if (!strbuf_add_unbase64(&pem, val_text(request)))
        return NULL;
    return cert_facts_read(a, X509_REQUEST, strbuf_str(&pem), facts, &ignored) ? facts : NULL;
}

static void facts_gather(struct acme_item *i, const struct view *v, const struct obj *o, struct arena *a,
                         struct acme_facts *f)
{
    struct acme_role *r = i->role;
    *f = (struct acme_facts){.solved = i->solved,
                             .checked = r->edge->config->acme_check,
                             .hook = r->tools.hook,
                             .digest = sha256_of,
                             .tries = i->tries};
    if (item_is_issuer(i)) {
        issuer_facts(i, v, o, a, f);
        f->rest_until = i->rest_until;
        return;
    }
    f->rest_until = issuer_rests(r, acme_issuer_of(v, o->ns, obj_spec(o)));
    if (i->definition == acme_orders)
        order_facts(v, o, a, f);
    else if (i->definition == acme_challenges)
        f->under_way = challenges_under_way(v);
    else if (i->definition == acme_certificate_requests)
        f->csr = request_read(o, a);
    else
        f->ari = ari_of(v, o, a);
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
    const struct obj *issuer = item_is_issuer(i) ? o : acme_issuer_of(v, o->ns, obj_spec(o));
    bool whole = answer->http == 503 || (answer->http == 429 && item_is_issuer(i));
    if (!issuer || !whole || !answer->retry_after_s)
        return;
    struct acme_item *rests = item_get(i->role, issuer->ns.n ? acme_issuers : acme_cluster_issuers, issuer->ns,
                                       issuer->name, true);
    rests->rest_until = v->now + ns_of_seconds(answer->retry_after_s);
}

static void step_done(struct acme_step *s)
{
    struct acme_item *i = container_of(s, struct acme_item, step);
    const struct view *v = feed_view(i->role->edge->feed);
    const struct obj *o = item_object(i);
    struct plan plan = {0};
    struct acme_facts f;
    if (s->answer.err.kind && s->answer.err.kind != E_NOT_IMPLEMENTED)
        log_info("acme.step", "object=%s error=\"%s\"", i->key, s->answer.err.text);
    if (o && i->uid && str_eqz(o->uid, i->uid)) {
        facts_gather(i, v, o, &plan.arena, &f);
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
    struct acme_item *i = item_get(r, definition, ns, name, true);
    struct obj *o = item_object(i);
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
    if (item_is_issuer(i))
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
    facts_gather(i, v, o, &i->plan.arena, &f);
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
        !str_eq(account_told(issuer), account_hash(&a, issuer, before)))
        return;
    secret_wiped(i->old_key);
    i->old_key = str_dupz(before);
}

static void secret_changed(struct acme_role *r, const struct obj *was, const struct obj *now)
{
    const struct obj *o = now ? now : was;
    map_each (it, &r->items) {
        struct acme_item *i = it->value;
        struct obj *issuer = item_is_issuer(i) ? item_object(i) : NULL;
        if (!issuer || !i->secret_ns || !str_eqz(o->ns, i->secret_ns))
            continue;
        array_each (name, &i->secrets)
            if (str_eqz(o->name, *name)) {
                old_key_keep(i, issuer, was, now);
                i->not_before = 0;
                workqueue_add(r->queue, str_of(i->key));
            }
    }
    const struct view *v = feed_view(r->edge->feed);
    const struct kind *k = view_defined(v, acme_certificates);
    struct str certificate = obj_note(o, NAME_NOTE);
    struct acme_item *i = k && certificate.n ? item_get(r, acme_certificates, o->ns, certificate, false) : NULL;
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
        struct obj *o = same || item_is_issuer(i) ? NULL : item_object(i);
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

/* --- the door --- */

/* What the door shows for a Challenge; one over TLS has a certificate of its own, made once. */
static bool part_add(struct acme_item *i, const struct acme_solving *s, struct arena *a, struct door_part *part)
{
    struct err err = ERR;
    uint8_t digest[SHA256_SIZE];
    if (!s->alpn) {
        array_push(&part->answers, ((struct door_answer){.host = S(""), .path = s->path, .body = s->body}));
        return true;
    }
    sha256_of(s->body, digest);
    if (!i->alpn_chain.n && !cert_make_alpn(s->host, digest, &i->alpn_chain, &i->alpn_key, &err)) {
        log_warn("acme.alpn", "object=%s error=\"%s\"", i->key, err.text);
        return false;
    }
    struct str key = STR_JOIN(a, S(SOURCE "/"), str_of(i->ns), S("/"), str_of(i->name));
    array_push(&part->certificates,
               ((struct door_certificate){
                   .key = key, .chain = strbuf_str(&i->alpn_chain), .private = strbuf_str(&i->alpn_key)}));
    array_push(&part->alpns,
               ((struct door_alpn){.host = acme_sni(a, s->host), .protocol = S(ALPN), .certificate = key}));
    return true;
}

static void listener_add(struct door_part *part, const char *key, uint16_t port, enum door_protocol protocol)
{
    array_push(&part->listeners, ((struct door_listener){.key = str_of(key), .port = port, .protocol = protocol}));
}

static void acme_part_make(struct acme_role *r)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(door_part_fini) struct door_part part = {0};
    const struct view *v = feed_view(r->edge->feed);
    const struct kind *k = view_defined(v, acme_challenges);
    map_each (it, &r->items) {
        struct acme_item *i = it->value;
        struct obj *o = i->definition == acme_challenges && k ? item_object(i) : NULL;
        struct acme_solving s;
        bool shown = o && acme_solving_of(&a, o, &s) && part_add(i, &s, &a, &part);
        if (shown && !i->in_door)
            i->door_revision = r->edge->revision;
        i->solved = i->solved && shown;
        i->in_door = shown;
    }
    if (part.answers.n)
        listener_add(&part, "http", 80, DOOR_HTTP);
    if (part.alpns.n)
        listener_add(&part, "https", 443, DOOR_HTTPS);
    if (part.listeners.n)
        door_part_put(r->edge->door, S(SOURCE), &part);
    else
        door_part_del(r->edge->door, S(SOURCE));
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
    struct acme_role *r = state;
    map_each (it, &r->items) {
        struct acme_item *i = it->value;
        if (!i->in_door || i->solved || i->door_revision > revision)
            continue;
        i->solved = true;
        workqueue_add(r->queue, str_of(i->key));
    }
}

const struct edge_source edge_acme = {
    .name = SOURCE,
    .start = acme_start,
    .stop = acme_stop,
    .changed = acme_changed,
    .decide = acme_decide,
    .applied = acme_applied,
};
