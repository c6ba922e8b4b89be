#include "server/trust.h"
#include "api/codec.h"
#include "base/log.h"
#include "server/pki.h"
#include "server/write.h"
#include "sys/cert.h"
#include "wire/json.h"

#define NAME          "extension-apiserver-authentication"
#define SPACE         "kube-system"
#define AGAIN_FIRST   NS_PER_S /* after a write that failed; each waits twice as long */
#define AGAIN_MOST    (60 * NS_PER_S)
#define EXPIRED_SINCE (300 * NS_PER_S) /* as upstream: clocks differ */
#define CERTS_MOST    256              /* of a bundle that somebody wrote */

struct trust {
    struct server *server;
    struct timer timer;
    struct trust_writing *writing; /* NULL: none is under way */
    bool again;                    /* it changed meanwhile */
    int64_t wait;                  /* after a write that failed */
    void (*done)(void *arg);       /* of the first time; NULL: told */
    void *arg;
};
struct trust_writing {
    struct request r;
    struct trust *trust; /* NULL: it is no more */
};

/* --- what stands in it --- */

/* A list of texts in JSON: those that are there, and ours behind them. */
static struct str list_combine(struct arena *a, struct str have, const char *ours)
{
    struct val list, out = val_list();
    struct err err = ERR;
    bool found = !*ours;
    if (have.n && json_decode(a, have, &list, &err))
        val_each_item (it, &list) {
            if (!val_is(it, VAL_STRING))
                continue;
            found |= str_eqz(val_text(it), ours);
            val_add(a, &out, val_copy(a, it));
        }
    if (!found)
        val_add(a, &out, val_str_borrowed(str_of(ours)));
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    json_encode(&b, &out);
    return str_dup(a, strbuf_str(&b));
}

/* The certificates of a bundle that can be read and have not expired, each once. */
struct bundle {
    struct arena *a;
    struct strbuf text;
    struct str never; /* sha256 of one that has no place there; "": none */
    struct str seen[CERTS_MOST];
    size_t n;
};

static void bundle_add(struct bundle *b, struct str pem)
{
    static const char end[] = "-----END CERTIFICATE-----";
    struct str rest = pem;
    for (ssize_t at; b->n < CERTS_MOST && (at = str_find(rest, S("-----BEGIN CERTIFICATE-----"))) >= 0;) {
        rest = str_sub(rest, (size_t)at, rest.n);
        ssize_t stop = str_find(rest, str_of(end));
        if (stop < 0)
            return;
        struct str one = str_sub(rest, 0, (size_t)stop + sizeof end - 1);
        rest = str_sub(rest, one.n, rest.n);
        struct cert_info info;
        struct err err = ERR;
        if (!cert_read(b->a, one, &info, &err) || info.not_after < clock_real() - EXPIRED_SINCE)
            continue;
        bool known = str_eq(info.sha256hex, b->never);
        for (size_t i = 0; i < b->n; i++)
            known |= str_eq(b->seen[i], info.sha256hex);
        if (known)
            continue;
        b->seen[b->n++] = info.sha256hex;
        strbuf_addf(&b->text, STR_FMT "\n", STR_ARG(one));
    }
}

static struct str bundle_combine(struct arena *a, struct str have, struct str ours, struct str never)
{
    struct bundle *b = ARENA_NEW(a, struct bundle);
    struct cert_info info;
    struct err err = ERR;
    b->a = a;
    b->text = STRBUF(STRBUF_TEXT);
    b->never = never.n && cert_read(a, never, &info, &err) ? info.sha256hex : S("");
    bundle_add(b, have);
    bundle_add(b, ours);
    struct str out = b->text.over ? ours : str_dup(a, strbuf_str(&b->text));
    strbuf_fini(&b->text);
    return out;
}

struct val trust_combine(struct arena *a, const struct val *have, struct str ca, struct str proxy_ca)
{
    static const struct {
        const char *key, *ours;
    } lists[] = {{"requestheader-allowed-names", FRONT_PROXY_NAME},
                 {"requestheader-extra-headers-prefix", "X-Remote-Extra-"},
                 {"requestheader-group-headers", "X-Remote-Group"},
                 {"requestheader-uid-headers", "X-Remote-Uid"},
                 {"requestheader-username-headers", "X-Remote-User"}};
    /* The cluster's CA signs for whoever may ask for a certificate: by its word nobody is the front proxy. */
    const struct {
        const char *key;
        struct str ours, never;
    } bundles[] = {{"client-ca-file", ca, S("")}, {"requestheader-client-ca-file", proxy_ca, ca}};
    struct val out = val_map();
    for (size_t i = 0; i < countof(bundles); i++) {
        struct str key = str_of(bundles[i].key);
        struct str was = val_text(val_get_str(have, key));
        val_set_str(a, &out, key, val_str(a, bundle_combine(a, was, bundles[i].ours, bundles[i].never)));
    }
    for (size_t i = 0; i < countof(lists); i++) {
        struct str key = str_of(lists[i].key);
        val_set_str(a, &out, key, val_str(a, list_combine(a, val_text(val_get_str(have, key)), lists[i].ours)));
    }
    return out;
}

/* --- keeping it --- */

static void trust_done(struct trust *t)
{
    void (*done)(void *arg) = TAKE(t->done);
    if (done)
        loop_post(t->server->loop, done, t->arg);
}

static void trust_written(struct request *r)
{
    struct trust_writing *w = container_of(r, struct trust_writing, r);
    struct trust *t = w->trust;
    bool failed = r->answer.type == ANSWER_FAILED;
    if (failed && r->answer.fail.code != 409)
        log_warn("trust.write", "err=\"" STR_FMT "\"", STR_ARG(r->answer.fail.message));
    request_fini(r);
    mem_free(w);
    if (!t)
        return;
    t->writing = NULL;
    t->wait = failed ? MIN(t->wait ? 2 * t->wait : AGAIN_FIRST, AGAIN_MOST) : 0;
    if (failed || t->again)
        timer_set(&t->timer, t->wait);
    trust_done(t);
}

static void trust_look(struct timer *timer)
{
    struct trust *t = container_of(timer, struct trust, timer);
    struct server *s = t->server;
    if (s->stopping || t->writing)
        return;
    t->again = false;
    AUTO(obj_unref) struct obj *o = object_get(s, K(ConfigMap), S(SPACE), S(NAME));
    struct trust_writing *w = NEW(struct trust_writing);
    struct request *r = &w->r;
    struct arena *a = &r->arena;
    request_init(r, s, s->loop, trust_written);
    struct val data = trust_combine(a, o ? val_get(&o->tree, N(data)) : NULL, s->keys->ca_pem, s->keys->proxy_ca_pem);
    if (o && val_equal(val_get(&o->tree, N(data)), &data)) {
        request_fini(r);
        mem_free(w);
        trust_done(t);
        return;
    }
    struct val *tree = ARENA_NEW(a, struct val);
    *tree = o ? val_copy(a, &o->tree) : val_map();
    struct val *meta = val_need_map(a, tree, N(metadata));
    val_set_text(a, tree, N(kind), K(ConfigMap)->kind);
    val_set_text(a, tree, N(apiVersion), K(ConfigMap)->api_version);
    val_set_text(a, meta, N(name), S(NAME));
    val_set_text(a, meta, N(namespace), S(SPACE));
    if (o)
        val_set_text(a, meta, N(resourceVersion), arena_fmt(a, "%lld", (long long)o->rev));
    val_set(a, tree, N(data), data);
    request_for(r, o ? VERB_UPDATE : VERB_CREATE, K(ConfigMap), S(SPACE), o ? S(NAME) : S(""), S(""));
    r->authorized = r->admitted = true;
    r->body = tree;
    w->trust = t;
    t->writing = w;
    request_start(r);
}

struct trust *trust_new(struct server *s)
{
    struct trust *t = NEW(struct trust);
    t->server = s;
    timer_init(&t->timer, s->loop, trust_look);
    return t;
}

void trust_free(struct trust *t)
{
    if (!t)
        return;
    timer_stop(&t->timer);
    if (t->writing)
        t->writing->trust = NULL;
    mem_free(t);
}

void trust_start(struct trust *t, void (*done)(void *arg), void *arg)
{
    t->done = done;
    t->arg = arg;
    timer_set(&t->timer, 0);
}

void trust_changed(struct trust *t, const struct obj *o)
{
    if (o->kind != K(ConfigMap) || !t->server->ready || !str_eqz(o->name, NAME) || !str_eqz(o->ns, SPACE))
        return;
    t->again = true;
    timer_set(&t->timer, 0);
}
