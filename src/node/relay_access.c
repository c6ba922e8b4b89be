#include "node/relay_access.h"
#include "sys/crypto.h"

void relay_access_of(struct str method, struct str path, struct relay_access *out)
{
    static const struct str verbs[][2] = {{S_INIT("GET"), S_INIT("get")},
                                          {S_INIT("POST"), S_INIT("create")},
                                          {S_INIT("PUT"), S_INIT("update")},
                                          {S_INIT("PATCH"), S_INIT("patch")},
                                          {S_INIT("DELETE"), S_INIT("delete")}};
    static const struct {
        struct str path, sub;
        bool proxy_too; /* who may do everything on a node may do it, too */
    } rows[] = {
        {S_INIT("/pods"), S_INIT("pods"), true},
        {S_INIT("/runningpods"), S_INIT("pods"), true},
        {S_INIT("/healthz"), S_INIT("healthz"), true},
        {S_INIT("/configz"), S_INIT("configz"), true},
        {S_INIT("/statusz"), S_INIT("statusz"), true},
        {S_INIT("/stats"), S_INIT("stats"), false},
        {S_INIT("/metrics"), S_INIT("metrics"), false},
        {S_INIT("/logs"), S_INIT("log"), false},
        {S_INIT("/checkpoint"), S_INIT("checkpoint"), false},
    };
    *out = (struct relay_access){.verb = S("")};
    for (size_t i = 0; i < countof(verbs); i++)
        if (str_eq(method, verbs[i][0]))
            out->verb = verbs[i][1];
    for (size_t i = 0; i < countof(rows); i++) {
        if (!str_starts(path, rows[i].path) || (path.n > rows[i].path.n && path.p[rows[i].path.n] != '/'))
            continue;
        out->subs[out->n++] = rows[i].sub;
        if (rows[i].proxy_too)
            out->subs[out->n++] = S("proxy");
        return;
    }
    out->subs[out->n++] = S("proxy");
}

void relay_verdicts_init(struct relay_verdicts *v)
{
    v->map = MAP;
    list_init(&v->order);
}

static void verdict_drop(struct relay_verdicts *v, struct relay_verdict *one)
{
    (void)map_del(&v->map, str_of(one->key));
    list_del(&one->node);
    mem_free(one->text);
    mem_free(one);
}

void relay_verdicts_fini(struct relay_verdicts *v)
{
    list_each (one, &v->order, struct relay_verdict, node)
        verdict_drop(v, one);
    map_fini(&v->map);
}

static void verdict_key(struct str question, char out[65])
{
    uint8_t hash[SHA256_SIZE];
    AUTO(strbuf_fini) struct strbuf hex = STRBUF(2 * SHA256_SIZE + 1);
    sha256_of(question, hash);
    strbuf_add_hex(&hex, hash, sizeof hash);
    (void)snprintf(out, 65, STR_FMT, STR_ARG(strbuf_str(&hex)));
}

const struct relay_verdict *relay_verdict_find(struct relay_verdicts *v, struct str question, int64_t now)
{
    char key[65];
    verdict_key(question, key);
    struct relay_verdict *one = map_get(&v->map, str_of(key));
    if (one && one->until <= now) {
        verdict_drop(v, one);
        return NULL;
    }
    return one;
}

void relay_verdict_put(struct relay_verdicts *v, struct str question, bool good, struct str text, int64_t until)
{
    struct relay_verdict *one = NEW(struct relay_verdict);
    verdict_key(question, one->key);
    struct relay_verdict *old = map_get(&v->map, str_of(one->key));
    if (old)
        verdict_drop(v, old);
    else if (map_len(&v->map) >= RELAY_VERDICTS_MOST)
        verdict_drop(v, list_first(&v->order, struct relay_verdict, node));
    one->until = until;
    one->good = good;
    one->text = text.p ? str_dupz(text) : NULL;
    (void)map_put(&v->map, str_of(one->key), one);
    list_add_tail(&v->order, &one->node);
}
