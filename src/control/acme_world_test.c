/* ACME over an authority and an API that fail as they can: writes that collide, answers that are lost, steps whose
 * role is killed behind them, an authority that refuses, wants rest, or forgets everything. Whatever the order in
 * which things happen, every request gets its certificate, the authority is never told of an answer that is not
 * shown, nothing is ordered twice without a cause, and nothing is left over. */
#include "base/clock.h"
#include "base/test.h"
#include "control/acme.h"
#include "control/plan_test.h"

#define SEEDS    60
#define TURNS    4000
#define REQUESTS 3
#define NAMES    4 /* of a request at most */
#define ORDERS   400

struct ca_order {
    bool known;
    size_t names;
    struct str name[NAMES];
    const char *authz[NAMES]; /* "pending", "told", "valid" */
    const char *status;
};
struct acme_memory { /* what the role remembers of an object */
    struct str key;
    int tries;
    int64_t not_before;
    bool solved;
};
static struct {
    struct fixture f;
    struct arena a;
    uint64_t seed;
    ARRAY(struct acme_memory) memory;
    /* the authority */
    bool account;
    int life; /* how often it was set up */
    struct ca_order orders[ORDERS];
    size_t norders, causes; /* causes: for which an order may be made anew */
    ARRAY(struct str) records;
} sim;

static uint64_t chance_of(uint64_t n)
{
    sim.seed = sim.seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (sim.seed >> 33) % n;
}

static struct obj *object_put(const struct kind *k, const struct val *tree)
{
    struct obj *o = obj_new(k, tree, ++sim.f.rev);
    AUTO(obj_unref) struct obj *was = objset_put(sim.f.sets[k->id], o);
    obj_unref(o);
    return objset_get(sim.f.sets[k->id], o->ns, o->name);
}

static struct acme_memory *memory_of(const struct obj *o)
{
    struct str key = arena_fmt(&sim.a, STR_FMT "/" STR_FMT "/" STR_FMT, STR_ARG(o->kind->kind), STR_ARG(o->name),
                               STR_ARG(o->uid));
    array_each (m, &sim.memory)
        if (str_eq(m->key, key))
            return m;
    array_push(&sim.memory, ((struct acme_memory){.key = key}));
    return &sim.memory.p[sim.memory.n - 1];
}

/* --- the API --- */

static void object_remove(const struct obj *o)
{
    AUTO(obj_unref) struct obj *gone = objset_del(sim.f.sets[o->kind->id], o->ns, o->name);
}

static bool has_finalizers(const struct val *tree)
{
    return val_len(val_at(tree, N(metadata), N(finalizers))) > 0;
}

/* As a server would; false: it collides. */
static bool action_apply(struct action *a)
{
    struct objset *set = sim.f.sets[a->kind->id];
    const struct obj *have = objset_get(set, a->ns, a->name);
    struct val tree = val_copy(&sim.a, &a->body), *meta;
    if (a->verb == ACTION_CREATE) {
        if (have)
            return a->exists_ok;
        meta = val_need_map(&sim.a, &tree, N(metadata));
        val_set_text(&sim.a, meta, N(uid), arena_fmt(&sim.a, "u%lld", (long long)sim.f.rev));
        val_set_text(&sim.a, meta, N(creationTimestamp), time_text(&sim.a, sim.f.view.now));
        (void)object_put(a->kind, &tree);
        return true;
    }
    if (!have || (a->expect_rev && have->rev != a->expect_rev))
        return a->absent_ok && !have;
    if (a->verb == ACTION_DELETE && !has_finalizers(&have->tree)) {
        object_remove(have);
        return true;
    }
    if (a->verb == ACTION_DELETE) {
        tree = val_copy(&sim.a, &have->tree);
        val_set_text(&sim.a, val_get_mut(&tree, N(metadata)), N(deletionTimestamp),
                     time_text(&sim.a, sim.f.view.now));
        (void)object_put(a->kind, &tree);
        return true;
    }
    CHECK(a->verb == ACTION_UPDATE);
    if (obj_deleting(have) && !has_finalizers(&tree) && !a->sub.n) {
        object_remove(have);
        return true;
    }
    (void)object_put(a->kind, &tree);
    return true;
}

static bool plan_apply(struct plan *p)
{
    array_each (a, &p->actions)
        if (chance_of(20) == 0 || !action_apply(a))
            return false;
    return true;
}

/* --- the authority --- */

static void says_no(struct acme_answer *out, int64_t http, const char *type)
{
    out->http = http;
    out->type = str_of(type);
    (void)err_set(&out->err, http == 429 ? E_TOO_MANY_REQUESTS : E_BAD_REQUEST, "%lld %s", (long long)http, type);
}

static struct str account_url(void)
{
    return arena_fmt(&sim.a, "https://ca/a/%d", sim.life);
}

static struct ca_order *order_at(struct str url)
{
    uint64_t n;
    struct str tail = str_sub(url, (size_t)(str_rfind_char(url, '/') + 1), url.n);
    if (!str_to_u64(tail, ORDERS - 1, &n) || !sim.orders[n].known)
        return NULL;
    return &sim.orders[n];
}

static void order_tell(struct ca_order *o, struct acme_answer *out)
{
    long long n = (long long)(o - sim.orders);
    bool all = true;
    for (size_t i = 0; i < o->names; i++)
        all &= strcmp(o->authz[i], "valid") == 0;
    if (all && strcmp(o->status, "pending") == 0)
        o->status = "ready";
    if (strcmp(o->status, "processing") == 0 && chance_of(2))
        o->status = "valid";
    out->url = arena_fmt(&sim.a, "https://ca/o/%lld", n);
    out->finalize = arena_fmt(&sim.a, "https://ca/f/%lld", n);
    out->status = str_of(o->status);
    out->chain = strcmp(o->status, "valid") == 0 ? S("PEM") : S("");
    out->authorizations = arena_alloc(&sim.a, NAMES * sizeof *out->authorizations);
    for (size_t i = 0; i < o->names; i++) {
        struct acme_challenge *c = arena_alloc(&sim.a, 2 * sizeof *c);
        struct str z = arena_fmt(&sim.a, "https://ca/z/%zu/%lld", i, n);
        bool wild = str_starts(o->name[i], S("*."));
        c[0] = (struct acme_challenge){.type = S("dns-01"), .url = z, .token = arena_fmt(&sim.a, "d%lld-%zu", n, i)};
        c[1] = (struct acme_challenge){.type = S("http-01"), .url = z, .token = arena_fmt(&sim.a, "h%lld-%zu", n, i)};
        out->authorizations[out->nauthorizations++] = (struct acme_authorization){
            .url = z,
            .status = str_of(strcmp(o->authz[i], "valid") == 0 ? "valid" : "pending"),
            .identifier.value = wild ? str_sub(o->name[i], 2, o->name[i].n) : o->name[i],
            .wildcard = wild,
            .challenges = c,
            .nchallenges = wild ? 1 : 2};
    }
}

static void ca_order(const struct acme_request *r, struct acme_answer *out)
{
    struct ca_order *o = r->url.n ? order_at(r->url) : NULL;
    if (!r->url.n) {
        CHECK(sim.norders < ORDERS);
        o = &sim.orders[sim.norders++];
        *o = (struct ca_order){.known = true, .names = r->nidentifiers, .status = "pending"};
        for (size_t i = 0; i < o->names; i++) {
            o->name[i] = str_dup(&sim.a, r->identifiers[i].value);
            o->authz[i] = chance_of(4) ? "pending" : "valid"; /* proved for another order */
        }
    }
    if (o)
        order_tell(o, out);
    else
        says_no(out, 404, "malformed");
}

static void ca_challenge(const struct acme_request *r, const struct obj *o, struct acme_answer *out)
{
    struct ca_order *order = order_at(r->authorization);
    size_t i = (size_t)(r->authorization.p[sizeof "https://ca/z/" - 1] - '0');
    if (!order) {
        says_no(out, 404, "malformed");
        return;
    }
    bool dns = str_eqz(val_text(val_get_str(obj_spec(o), S("type"))), "DNS-01"), shown = memory_of(o)->solved;
    array_each (record, &sim.records)
        shown |= dns && str_eq(*record, val_text(val_get_str(obj_spec(o), S("key"))));
    CHECK(r->look || shown); /* the authority is never told of what is not shown */
    if (!r->look && strcmp(order->authz[i], "pending") == 0)
        order->authz[i] = "told";
    if (strcmp(order->authz[i], "told") == 0 && shown && chance_of(2))
        order->authz[i] = "valid";
    out->status = strcmp(order->authz[i], "valid") == 0 ? S("valid") : S("pending");
}

static void ca_finalize(const struct acme_request *r, struct acme_answer *out)
{
    struct ca_order *o = order_at(r->order);
    if (!o) {
        says_no(out, 404, "malformed");
        return;
    }
    if (strcmp(o->status, "ready") != 0) {
        says_no(out, 403, "orderNotReady");
        return;
    }
    o->status = chance_of(2) ? "processing" : "valid";
    order_tell(o, out);
}

static void records_change(const struct acme_request *r)
{
    for (size_t i = sim.records.n; i > 0; i--)
        if (str_eq(sim.records.p[i - 1], r->value))
            array_del(&sim.records, i - 1);
    if (r->op == ACME_DNS_PRESENT)
        array_push(&sim.records, str_dup(&sim.a, r->value));
}

static void step_do(const struct acme_request *r, const struct obj *o, struct acme_answer *out)
{
    *out = (struct acme_answer){0};
    if (r->op >= ACME_DNS_PRESENT) {
        records_change(r);
        return;
    }
    if (chance_of(12) == 0) {
        says_no(out, 429, "rateLimited");
        out->retry_after_s = (int64_t)chance_of(120);
        return;
    }
    if (r->op == ACME_ACCOUNT) {
        sim.account = true;
        out->url = account_url();
        out->status = S("valid");
        return;
    }
    if (!sim.account || !str_eq(r->account, account_url())) {
        says_no(out, 400, "accountDoesNotExist");
        return;
    }
    if (r->op == ACME_ORDER)
        ca_order(r, out);
    else if (r->op == ACME_CHALLENGE)
        ca_challenge(r, o, out);
    else if (r->op == ACME_FINALIZE)
        ca_finalize(r, out);
}

static void ca_forgets(void)
{
    for (size_t i = 0; i < sim.norders; i++)
        sim.orders[i].known = false;
    sim.account = false;
    sim.life++;
    sim.causes += REQUESTS;
}

/* --- the role --- */

static void role_dies(void)
{
    array_fini(&sim.memory);
}

static void digest_of_test(struct str text, uint8_t out[32])
{
    for (size_t i = 0; i < 32; i++)
        out[i] = (uint8_t)(stable_hash(text, i) & 0xff);
}

/* The proxy shows what it is to show, some time later. */
static void door_turn(const struct obj *o)
{
    struct acme_solving s;
    struct acme_memory *m = memory_of(o);
    bool wanted = acme_solving_of(&sim.a, o, &s);
    m->solved = wanted && (m->solved || chance_of(3) == 0);
}

static void facts_of(const struct obj *o, const struct acme_memory *m, struct acme_facts *f)
{
    struct val *csr = ARENA_NEW(&sim.a, struct val);
    *csr = val_map();
    struct str list = obj_note(o, "names"), name;
    struct val names_of = val_list();
    while (list.n && str_cut(&list, ' ', &name))
        (void)val_add(&sim.a, &names_of, val_str(&sim.a, name));
    (void)val_set_str(&sim.a, csr, S("dnsNames"), names_of);
    *f = (struct acme_facts){.solved = m->solved,
                             .new_key = S("NEW"),
                             .key_hash = S("HASH"),
                             .thumbprint = S("PRINT"),
                             .csr = csr,
                             .digest = digest_of_test,
                             .tries = m->tries};
}

static void step_turn(struct obj *o, struct plan *p, const struct acme_todo *todo)
{
    struct acme_answer answer;
    AUTO(plan_fini) struct plan after = {0};
    struct acme_facts f;
    bool makes = todo->request.op == ACME_ORDER && !todo->request.url.n;
    (void)p;
    step_do(&todo->request, o, &answer);
    switch (chance_of(12)) {
    case 0: /* carried out, and the role was killed */
        sim.causes += makes;
        role_dies();
        return;
    case 1: /* carried out, and the answer was lost */
        answer = (struct acme_answer){0};
        (void)err_set(&answer.err, E_UNAVAILABLE, "ca: cannot be reached");
        sim.causes += makes;
        break;
    default: break;
    }
    facts_of(o, memory_of(o), &f);
    acme_heard(&sim.f.view, o, &f, todo, &answer, &after);
    if (!plan_apply(&after))
        sim.causes += makes; /* what was made is not written down */
    struct acme_memory *m = memory_of(o);
    m->not_before = after.again;
    m->tries = after.again ? m->tries + 1 : 0;
}

static void object_turn(struct obj *own_o)
{
    AUTO(obj_unref) struct obj *o = own_o;
    AUTO(plan_fini) struct plan p = {0};
    struct acme_todo todo;
    struct acme_facts f;
    if (str_eqz(o->kind->kind, "Challenge"))
        door_turn(o);
    struct acme_memory *m = memory_of(o);
    if (m->not_before > sim.f.view.now)
        return;
    facts_of(o, m, &f);
    acme_plan(&sim.f.view, o, &f, &p, &todo);
    if (p.actions.n)
        (void)plan_apply(&p); /* what collided comes again */
    else if (todo.how != ACME_NOTHING)
        step_turn(o, &p, &todo);
}

/* --- the whole --- */

static const char *const definitions[] = {acme_issuers, acme_orders, acme_challenges, acme_certificate_requests};

static size_t objects_of(const char *definition)
{
    return objset_len(sim.f.sets[view_defined(&sim.f.view, definition)->id]);
}

static struct obj *object_by_chance(void)
{
    const struct objset *set =
        sim.f.sets[view_defined(&sim.f.view, definitions[chance_of(countof(definitions))])->id];
    size_t n = objset_len(set);
    if (!n)
        return NULL;
    size_t skip = chance_of(n);
    struct objset_iter it = objset_all(set);
    struct obj *o = objset_next(&it);
    while (skip--)
        o = objset_next(&it);
    return obj_ref(o);
}

static bool all_is_done(void)
{
    struct objset_iter it = objset_all(sim.f.sets[view_defined(&sim.f.view, acme_certificate_requests)->id]);
    for (struct obj *o; (o = objset_next(&it));)
        if (!condition_is(obj_status(o), "Ready", "True"))
            return false;
    return !objects_of(acme_challenges);
}

static void world_begin(uint64_t seed)
{
    static const char *const defined[] = {"cert-manager.io/v1 Issuer issuers", "acme.cert-manager.io/v1 Order orders",
                                          "acme.cert-manager.io/v1 Challenge challenges",
                                          "cert-manager.io/v1 CertificateRequest certificaterequests"};
    memset(&sim, 0, sizeof sim);
    sim.seed = seed;
    fixture_init(&sim.f);
    for (size_t i = 0; i < countof(defined); i++)
        fixture_define(&sim.f, str_of(defined[i]));
    fixture_add(
        &sim.f,
        S("apiVersion: cert-manager.io/v1\nkind: Issuer\nmetadata: {name: ca, namespace: default, generation: 1}\n"
          "spec: {acme: {server: 'https://ca/dir', email: a@b.c, privateKeySecretRef: {name: key}, solvers: "
          "[{http01: "
          "{ingress: {}}}, {dns01: {rfc2136: {nameserver: ns}}, selector: {dnsZones: [dns.org]}}]}}\n"));
    static const char *const lists[REQUESTS] = {"a.org b.org c.org", "*.dns.org dns.org", "d.org *.dns.org"};
    for (size_t i = 0; i < REQUESTS; i++)
        fixture_add(&sim.f,
                    arena_fmt(&sim.a,
                              "apiVersion: cert-manager.io/v1\nkind: CertificateRequest\nmetadata: {name: r%zu, "
                              "namespace: default, annotations: {names: '%s'}}\nspec: {request: UEVN, issuerRef: "
                              "{name: ca}}\nstatus: {conditions: [{type: Approved, status: 'True'}]}\n",
                              i, lists[i]));
}

static void world_end(void)
{
    array_fini(&sim.memory);
    array_fini(&sim.records);
    fixture_fini(&sim.f);
    arena_fini(&sim.a);
}

static void story_run(uint64_t seed)
{
    world_begin(seed);
    int64_t begun = sim.f.view.now;
    for (size_t i = 0; i < TURNS && !all_is_done(); i++) {
        struct obj *o = object_by_chance();
        sim.f.view.now += (int64_t)chance_of(4) * NS_PER_S;
        if (i < TURNS / 4 && chance_of(300) == 0)
            ca_forgets();
        if (i < TURNS / 4 && chance_of(200) == 0)
            role_dies();
        if (o)
            object_turn(o);
    }
    if (!all_is_done())
        test_failed(__FILE__, __LINE__, "seed %llu: no certificates after %lld s", (unsigned long long)seed,
                    (long long)((sim.f.view.now - begun) / NS_PER_S));
    if (sim.records.n)
        test_failed(__FILE__, __LINE__, "seed %llu: a record is left in DNS", (unsigned long long)seed);
    if (sim.norders > REQUESTS + sim.causes)
        test_failed(__FILE__, __LINE__, "seed %llu: %zu orders for %d requests, of which %zu had a cause",
                    (unsigned long long)seed, sim.norders, REQUESTS, sim.causes);
    world_end();
}

TEST(acme_comes_through_whatever_fails)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        story_run(seed);
}
