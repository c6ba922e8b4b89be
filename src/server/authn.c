#include "server/authn.h"
#include "api/codec.h"
#include "server/int.h"
#include "server/limits.h"
#include "server/pki.h"
#include "wire/jwt.h"
#include "wire/websocket.h"

static const char account_prefix[] = "system:serviceaccount:";

static void groups_add(struct arena *a, struct user *u, const struct str *some, size_t n)
{
    struct str *all = arena_alloc(a, (n + 1) * sizeof *all);
    if (n)
        memcpy(all, some, n * sizeof *all);
    all[n] = S("system:authenticated");
    u->groups = all;
    u->ngroups = n + 1;
}

struct user user_service_account(struct arena *a, struct str ns, struct str name)
{
    struct user u = {.name = arena_fmt(a, "%s" STR_FMT ":" STR_FMT, account_prefix, STR_ARG(ns), STR_ARG(name))};
    struct str some[] = {S("system:serviceaccounts"), arena_fmt(a, "system:serviceaccounts:" STR_FMT, STR_ARG(ns))};
    groups_add(a, &u, some, countof(some));
    return u;
}

struct str token_issuer(const struct server *s)
{
    (void)s;
    return S("https://kubernetes.default.svc");
}

/* --- checking --- */

static struct str claim_get(const struct val *v, const char *a, const char *b, const char *c)
{
    v = val_get_str(v, str_of(a));
    if (b)
        v = val_get_str(v, str_of(b));
    if (c)
        v = val_get_str(v, str_of(c));
    return val_text(v);
}

static bool object_is_alive(struct server *s, const struct kind *k, struct str ns, struct str name, struct str uid)
{
    AUTO(obj_unref) struct obj *o = object_get(s, k, ns, name);
    if (!o || !str_eq(o->uid, uid))
        return false;
    int64_t at;
    /* a minute after it was to be gone, so that what is being deleted can still say goodbye */
    return !obj_deleting(o) || !time_parse(val_text_at(obj_meta(o), N(deletionTimestamp)), &at) ||
           clock_real() < at + 60 * NS_PER_S;
}

static void set_extra(struct arena *a, struct val *extra, const char *key, struct str value)
{
    if (!value.n)
        return;
    struct val list = val_list();
    val_add(a, &list, val_str(a, value));
    val_set_str(a, extra, str_of(key), list);
}

static void add_texts(struct strbuf *b, const struct val *list)
{
    strbuf_addc(b, '[');
    val_each_item (it, list)
        strbuf_addf(b, "%s\"" STR_FMT "\"", it == list->list ? "" : " ", STR_ARG(val_text(it)));
    strbuf_addc(b, ']');
}

static bool bad_audiences(const struct server *s, const struct val *have, const struct val *want, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf h = STRBUF(STRBUF_TEXT), w = STRBUF(STRBUF_TEXT);
    add_texts(&h, have);
    if (val_len(want))
        add_texts(&w, want);
    else
        strbuf_addf(&w, "[\"" STR_FMT "\"]", STR_ARG(token_issuer(s)));
    return err_set(err, E_UNAUTHORIZED, "token audiences %s is invalid for the target audiences %s", h.p, w.p);
}

bool token_check(struct server *s, struct arena *a, struct str token, const struct val *audiences, struct user *out,
                 struct val *good, struct err *err)
{
    struct str text;
    struct val c;
    if (!jwt_verify(a, s->keys->tokens, &s->keys->seen, token, &text, err) || !json_decode(a, text, &c, err))
        return false;
    int64_t now = clock_real() / NS_PER_S;
    if (!str_eq(claim_get(&c, "iss", NULL, NULL), token_issuer(s)))
        return err_set(err, E_UNAUTHORIZED, "the token was issued by somebody else");
    if (val_num(val_get_str(&c, S("exp")), 0) <= now)
        return err_set(err, E_UNAUTHORIZED, "service account token has expired");
    if (val_num(val_get_str(&c, S("nbf")), 0) > now + 10)
        return err_set(err, E_UNAUTHORIZED, "service account token is not valid yet");
    *good = val_list();
    const struct val *have = val_get_str(&c, S("aud"));
    AUTO(map_fini) struct map asked = MAP; /* both lists may be long */
    val_each_item (w, audiences)
        (void)map_put(&asked, val_text(w), s);
    if (!val_len(audiences))
        (void)map_put(&asked, token_issuer(s), s);
    val_each_item (it, have) {
        if (map_get(&asked, val_text(it)))
            val_add(a, good, *it);
    }
    if (!val_len(good))
        return bad_audiences(s, have, audiences, err);
    const struct val *k8s = val_get_str(&c, S("kubernetes.io"));
    struct str ns = claim_get(k8s, "namespace", NULL, NULL), name = claim_get(k8s, "serviceaccount", "name", NULL);
    struct str uid = claim_get(k8s, "serviceaccount", "uid", NULL);
    if (!object_is_alive(s, K(ServiceAccount), ns, name, uid))
        return err_set(err, E_UNAUTHORIZED, "service account " STR_FMT "/" STR_FMT " has been deleted", STR_ARG(ns),
                       STR_ARG(name));
    static const struct {
        const char *claim;
        const struct kind *kind;
        bool namespaced;
    } bound[] = {{"pod", K(Pod), true}, {"secret", K(Secret), true}, {"node", K(Node), false}};
    for (size_t i = 0; i < countof(bound); i++) {
        struct str n = claim_get(k8s, bound[i].claim, "name", NULL), u = claim_get(k8s, bound[i].claim, "uid", NULL);
        /* the node of a pod's token is told, not bound to */
        if (!n.n || (i == 2 && claim_get(k8s, "pod", "name", NULL).n))
            continue;
        if (!object_is_alive(s, bound[i].kind, bound[i].namespaced ? ns : S(""), n, u))
            return err_set(err, E_UNAUTHORIZED, "the %s that this token is bound to is gone", bound[i].claim);
    }
    *out = user_service_account(a, ns, name);
    out->uid = uid;
    struct val *extra = ARENA_NEW(a, struct val);
    *extra = val_map();
    set_extra(a, extra, "authentication.kubernetes.io/credential-id",
              arena_fmt(a, "JTI=" STR_FMT, STR_ARG(claim_get(&c, "jti", NULL, NULL))));
    set_extra(a, extra, "authentication.kubernetes.io/node-name", claim_get(k8s, "node", "name", NULL));
    set_extra(a, extra, "authentication.kubernetes.io/node-uid", claim_get(k8s, "node", "uid", NULL));
    set_extra(a, extra, "authentication.kubernetes.io/pod-name", claim_get(k8s, "pod", "name", NULL));
    set_extra(a, extra, "authentication.kubernetes.io/pod-uid", claim_get(k8s, "pod", "uid", NULL));
    out->extra = extra;
    return true;
}

/* The kernel vouches for the uid. */
static bool authenticate_peer(struct server *s, struct arena *a, const struct peer_cred *cred, struct user *out)
{
    for (size_t i = 0; i < s->options.npeers; i++) {
        const struct server_peer *p = &s->options.peers[i];
        struct str group = str_of(p->group);
        if (p->uid != cred->uid)
            continue;
        *out = (struct user){.name = str_of(p->user)};
        groups_add(a, out, &group, group.n ? 1 : 0);
        return true;
    }
    return false;
}

/* Browsers cannot set Authorization on a WebSocket: the token is one of the protocols that they offer. */
static const struct str token_protocol = S_INIT("base64url.bearer.authorization.k8s.io.");

struct str protocols_offered(struct arena *a, const struct http_headers *h, struct str *token)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(LIMIT_HEADER_BYTES);
    *token = STR_NONE;
    for (size_t i = 0; i < h->n; i++) {
        struct str rest = h->p[i].value, one;
        if (!str_ieq(h->p[i].name, S("Sec-WebSocket-Protocol")))
            continue;
        while (str_cut(&rest, ',', &one)) {
            one = str_trim(one);
            if (str_starts(one, token_protocol))
                *token = str_sub(one, token_protocol.n, one.n);
            else if (one.n)
                strbuf_addf(&b, "%s" STR_FMT, b.n ? ", " : "", STR_ARG(one));
        }
    }
    return str_dup(a, strbuf_str(&b));
}

/* false: there is one, and it is none. */
static bool token_of_protocols(struct arena *a, const struct http_request *h, struct str *token)
{
    struct str coded;
    AUTO(strbuf_fini) struct strbuf plain = STRBUF(LIMIT_HEADER_BYTES);
    *token = S("");
    if (!websocket_wanted(h))
        return true;
    struct str others = protocols_offered(a, &h->headers, &coded);
    if (!coded.p)
        return true;
    if (!others.n ||
        !strbuf_add_unbase64url(&plain, coded)) /* the protocol of the token is never the one agreed on */
        return false;
    *token = str_dup(a, strbuf_str(&plain));
    return true;
}

static void certificate_user(struct arena *a, const struct tls_peer *t, struct user *out)
{
    *out = (struct user){.name = t->cn};
    groups_add(a, out, t->orgs, t->norgs);
    struct val *extra = ARENA_NEW(a, struct val);
    *extra = val_map();
    set_extra(a, extra, "authentication.kubernetes.io/credential-id",
              arena_fmt(a, "X509SHA256=" STR_FMT, STR_ARG(t->sha256hex)));
    out->extra = extra;
}

bool user_authenticate(struct server *s, struct arena *a, const struct http_request *h, struct user *out)
{
    struct err err = ERR;
    *out = user_anonymous;
    if (h->server == s->inside) {
        static const struct str masters = S_INIT("system:masters");
        *out = (struct user){.name = S("system:wherry-inside")};
        groups_add(a, out, &masters, 1);
        return true;
    }
    if (h->peer->is_unix)
        return authenticate_peer(s, a, &h->peer->cred, out);
    const struct tls_peer *t = &h->peer->tls;
    if (h->peer->is_tls && t->shown) {
        if (!t->verified || t->not_after < clock_real()) /* also in the midst of a connection */
            return false;
        if (t->cn.n) { /* as upstream, one without a name says nothing, whatever groups are in it */
            certificate_user(a, t, out);
            return true;
        }
    }
    struct str header = http_header(&h->headers, S("Authorization")), scheme, token;
    if (!str_split(str_trim(header), ' ', &scheme, &token) || !str_ieq(scheme, S("Bearer")))
        token = S("");
    token = str_trim(token);
    if (!token.n && !token_of_protocols(a, h, &token))
        return false;
    if (!token.n)
        return true;
    struct val good;
    return token_check(s, a, token, NULL, out, &good, &err);
}

/* --- making --- */

static struct val name_uid(struct arena *a, struct str name, struct str uid)
{
    struct val v = val_map();
    val_set_str(a, &v, S("name"), val_str(a, name));
    val_set_str(a, &v, S("uid"), val_str(a, uid));
    return v;
}

bool token_make(struct server *s, struct arena *a, const struct token_spec *t, struct str *token, int64_t *until,
                struct err *err)
{
    int64_t now = clock_real() / NS_PER_S;
    struct val c = val_map(), aud = val_list(), k8s = val_map();
    val_each_item (it, t->audiences)
        val_add(a, &aud, *it);
    if (!val_len(&aud))
        val_add(a, &aud, val_str_borrowed(token_issuer(s)));
    unsigned char jti[16];
    random_bytes(jti, sizeof jti);
    AUTO(strbuf_fini) struct strbuf id = STRBUF(64), text = STRBUF(JWT_MOST), out = STRBUF(JWT_MOST);
    strbuf_add_hex(&id, jti, sizeof jti);
    val_set_str(a, &c, S("aud"), aud);
    val_set_str(a, &c, S("exp"), val_int(now + t->seconds));
    val_set_str(a, &c, S("iat"), val_int(now));
    val_set_str(a, &c, S("iss"), val_str_borrowed(token_issuer(s)));
    val_set_str(
        a, &c, S("jti"),
        val_str(a, arena_fmt(a, "%.8s-%.4s-%.4s-%.4s-%.12s", id.p, id.p + 8, id.p + 12, id.p + 16, id.p + 20)));
    val_set_str(a, &k8s, S("namespace"), val_str(a, t->account->ns));
    if (str_eq(t->bound_kind, S("Pod")))
        val_set_str(a, &k8s, S("pod"), name_uid(a, t->bound_name, t->bound_uid));
    if (str_eq(t->bound_kind, S("Secret")))
        val_set_str(a, &k8s, S("secret"), name_uid(a, t->bound_name, t->bound_uid));
    if (str_eq(t->bound_kind, S("Node")))
        val_set_str(a, &k8s, S("node"), name_uid(a, t->bound_name, t->bound_uid));
    else if (t->node_name.n)
        val_set_str(a, &k8s, S("node"), name_uid(a, t->node_name, t->node_uid));
    val_set_str(a, &k8s, S("serviceaccount"), name_uid(a, t->account->name, t->account->uid));
    val_set_str(a, &c, S("kubernetes.io"), k8s);
    val_set_str(a, &c, S("nbf"), val_int(now));
    val_set_str(a, &c, S("sub"),
                val_str(a, arena_fmt(a, "%s" STR_FMT ":" STR_FMT, account_prefix, STR_ARG(t->account->ns),
                                     STR_ARG(t->account->name))));
    json_encode(&text, &c);
    if (!jwt_sign(s->keys->tokens, S("wherry"), strbuf_str(&text), &out, err))
        return false;
    *token = str_dup(a, strbuf_str(&out));
    *until = (now + t->seconds) * NS_PER_S;
    return true;
}

void token_jwks(struct server *s, struct strbuf *out)
{
    uint8_t x[32], y[32];
    if (!key_point(s->keys->tokens, x, y))
        return;
    strbuf_addz(out,
                "{\"keys\":[{\"use\":\"sig\",\"kty\":\"EC\",\"kid\":\"wherry\",\"crv\":\"P-256\",\"alg\":\"ES256\","
                "\"x\":\"");
    strbuf_add_base64url(out, x, sizeof x);
    strbuf_addz(out, "\",\"y\":\"");
    strbuf_add_base64url(out, y, sizeof y);
    strbuf_addz(out, "\"}]}");
}

struct val user_tree(struct arena *a, const struct user *u)
{
    struct val v = val_map();
    val_set_text(a, &v, N(username), u->name);
    if (u->uid.n)
        val_set_text(a, &v, N(uid), u->uid);
    if (u->ngroups) {
        struct val *list = val_set(a, &v, N(groups), val_list());
        for (size_t i = 0; i < u->ngroups; i++)
            val_add(a, list, val_str(a, u->groups[i]));
    }
    if (val_len(u->extra))
        val_set(a, &v, N(extra), val_copy(a, u->extra));
    return v;
}
