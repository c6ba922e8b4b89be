#include "api/formats.h"
#include "control/acme_int.h"
#include "control/cert_other.h"

const char acme_issuers[] = "issuers.cert-manager.io";
const char acme_cluster_issuers[] = "clusterissuers.cert-manager.io";
const char acme_orders[] = "orders.acme.cert-manager.io";
const char acme_challenges[] = "challenges.acme.cert-manager.io";
const char acme_certificates[] = "certificates.cert-manager.io";
const char acme_certificate_requests[] = "certificaterequests.cert-manager.io";

#define LATER_LEAST (2 * NS_PER_S)
#define LATER_MOST  (600 * NS_PER_S)
#define SOON_LEAST  (NS_PER_S / 4)
#define SOON_MOST   (15 * NS_PER_S)

/* --- fields --- */

const struct val *acme_at(const struct val *v, const char *path)
{
    struct str rest = str_of(path), part;
    while (v && str_cut(&rest, '.', &part))
        v = val_get_str(v, part);
    return v;
}

struct str acme_text(const struct val *v, const char *path)
{
    return val_text(acme_at(v, path));
}

struct str acme_bytes(struct arena *a, const struct val *v, const char *path)
{
    const struct val *found = acme_at(v, path);
    if (val_is(found, VAL_BYTES))
        return val_raw(found);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    if (!strbuf_add_unbase64(&b, val_text(found)) || b.over)
        return S("");
    return str_dup(a, strbuf_str(&b));
}

int64_t acme_duration(const struct val *v, const char *path)
{
    int64_t ns = 0;
    struct err ignored = ERR; /* the definition's rules say what is none */
    return goduration_parse(acme_text(v, path), &ns, &ignored) ? ns : 0;
}

void acme_set(struct arena *a, struct val *map, const char *name, struct val v)
{
    (void)val_set_str(a, map, str_of(name), v);
}

void acme_put(struct arena *a, struct val *map, const char *name, struct str s)
{
    if (s.n)
        (void)val_set_str(a, map, str_of(name), val_str(a, s));
    else
        (void)val_del_str(map, str_of(name));
}

struct val *status_need(struct arena *a, struct val *tree)
{
    struct val *status = val_get_str_mut(tree, S("status"));
    return status && val_is(status, VAL_MAP) ? status : val_set_str(a, tree, S("status"), val_map());
}

bool acme_state_is_over(struct str s)
{
    return str_eqz(s, "valid") || str_eqz(s, "invalid") || str_eqz(s, "expired") || str_eqz(s, "errored");
}

/* --- issuers --- */

static struct obj *issuer_named(const struct view *v, struct str ns, const struct val *ref)
{
    struct str kind = acme_text(ref, "kind"), group = acme_text(ref, "group");
    bool cluster = str_eqz(kind, "ClusterIssuer");
    const struct kind *k = view_defined(v, cluster ? acme_cluster_issuers : acme_issuers);
    bool ours = (!group.n || str_eqz(group, "cert-manager.io")) && (cluster || !kind.n || str_eqz(kind, "Issuer"));
    return k && ours ? view_get(v, k, cluster ? S("") : ns, acme_text(ref, "name")) : NULL;
}

struct obj *acme_issuer_of(const struct view *v, struct str ns, const struct val *spec)
{
    struct obj *issuer = issuer_named(v, ns, acme_at(spec, "issuerRef"));
    return issuer && acme_at(obj_spec(issuer), "acme") ? issuer : NULL;
}

struct str acme_secret_ns(const struct obj *issuer)
{
    return issuer->ns.n ? issuer->ns : S(ACME_CLUSTER_NS);
}

struct str acme_key_secret(const struct obj *issuer, struct str *key)
{
    const struct val *ref = acme_at(obj_spec(issuer), "acme.privateKeySecretRef");
    struct str named = acme_text(ref, "key");
    *key = named.n ? named : S("tls.key");
    return acme_text(ref, "name");
}

void acme_secrets_each(const struct obj *issuer, void (*fn)(void *arg, struct str name), void *arg)
{
    static const char *const paths[] = {"privateKeySecretRef.name", "externalAccountBinding.keySecretRef.name"};
    const struct val *acme = acme_at(obj_spec(issuer), "acme");
    for (size_t i = 0; i < countof(paths); i++)
        if (acme_text(acme, paths[i]).n)
            fn(arg, acme_text(acme, paths[i]));
    val_each_item (solver, acme_at(acme, "solvers")) {
        struct str name = acme_text(solver, "dns01.rfc2136.tsigSecretSecretRef.name");
        if (name.n)
            fn(arg, name);
    }
}

/* --- turns --- */

static int64_t wait_of(const struct acme_turn *t, int64_t least, int64_t most)
{
    if (t->answer && t->answer->retry_after_s > 0)
        return ns_of_seconds(t->answer->retry_after_s);
    int64_t wait = least;
    for (int i = 0; i < t->f->tries && wait < most; i++)
        wait *= 2;
    return MIN(wait, most);
}

void turn_later(struct acme_turn *t)
{
    plan_again(t->out, t->v->now + wait_of(t, LATER_LEAST, LATER_MOST));
}

void turn_soon(struct acme_turn *t)
{
    plan_again(t->out, t->v->now + MIN(wait_of(t, SOON_LEAST, SOON_MOST), 600 * NS_PER_S));
}

bool turn_rests(struct acme_turn *t)
{
    if (t->f->rest_until <= t->v->now)
        return false;
    plan_again(t->out, t->f->rest_until);
    return true;
}

void turn_request(struct acme_turn *t, const struct obj *issuer, enum acme_op op)
{
    const struct val *acme = acme_at(obj_spec(issuer), "acme");
    struct str key, name = acme_key_secret(issuer, &key);
    const struct obj *secret = view_get(t->v, K(Secret), acme_secret_ns(issuer), name);
    const struct val *data = secret ? val_get(&secret->tree, N(data)) : NULL;
    t->todo->how = ACME_BY_JOB;
    t->todo->request = (struct acme_request){.op = op,
                                             .directory = acme_text(acme, "server"),
                                             .ca = acme_bytes(t->a, acme, "caBundle"),
                                             .insecure = val_true(acme_at(acme, "skipTLSVerify")),
                                             .key = val_raw(val_get_str(data, key)),
                                             .account = acme_text(obj_status(issuer), "acme.uri")};
}

bool answer_is_final(const struct acme_answer *r)
{
    static const char *const pass[] = {"rateLimited", "badNonce", "serverInternal", "accountDoesNotExist"};
    if (r->http / 100 != 4 || r->http == 408 || r->http == 429)
        return false;
    for (size_t i = 0; i < countof(pass); i++)
        if (str_eqz(r->type, pass[i]))
            return false;
    return true;
}

/* --- all kinds --- */

static const struct acme_state {
    const char *definition;
    void (*plan)(struct acme_turn *t);
    void (*heard)(struct acme_turn *t, const struct acme_todo *did);
} acme_states[];

static void issuer_heard_any(struct acme_turn *t, const struct acme_todo *did)
{
    (void)did;
    issuer_heard(t);
}

static void certificate_heard_any(struct acme_turn *t, const struct acme_todo *did)
{
    (void)did;
    certificate_heard(t);
}

/* Nothing is asked for them. */
static void request_heard_none(struct acme_turn *t, const struct acme_todo *did)
{
    (void)t, (void)did;
}

static const struct acme_state acme_states[] = {
    {acme_issuers, issuer_plan, issuer_heard_any},
    {acme_cluster_issuers, issuer_plan, issuer_heard_any},
    {acme_orders, order_plan, order_heard},
    {acme_challenges, challenge_plan, challenge_heard},
    {acme_certificates, certificate_plan, certificate_heard_any},
    {acme_certificate_requests, request_plan, request_heard_none},
};

static const struct acme_state *state_of(const struct view *v, const struct obj *o)
{
    for (size_t i = 0; i < countof(acme_states); i++)
        if (o->kind == view_defined(v, acme_states[i].definition))
            return &acme_states[i];
    return NULL;
}

void acme_plan(const struct view *v, const struct obj *o, const struct acme_facts *f, struct plan *out,
               struct acme_todo *todo)
{
    const struct acme_state *s = state_of(v, o);
    struct acme_turn t = {.v = v, .o = o, .f = f, .out = out, .a = &out->arena, .todo = todo};
    *todo = (struct acme_todo){0};
    if (cert_manager_running(v).n) {
        plan_again(out, v->now + 300 * NS_PER_S);
        return;
    }
    if (s)
        s->plan(&t);
}

void acme_heard(const struct view *v, const struct obj *o, const struct acme_facts *f, const struct acme_todo *did,
                const struct acme_answer *answer, struct plan *out)
{
    const struct acme_state *s = state_of(v, o);
    struct acme_turn t = {.v = v, .o = o, .f = f, .out = out, .a = &out->arena, .answer = answer};
    if (s)
        s->heard(&t, did);
}
