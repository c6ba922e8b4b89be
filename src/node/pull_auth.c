#include "node/pull_auth.h"
#include "api/codec.h"
#include <fnmatch.h>

#define DOCKER_HUB "index.docker.io" /* under which docker keeps what is for docker.io */

void pull_auths_fini(struct pull_auths *x)
{
    array_fini(&x->list);
}

/* "user:password" in base64 as clients write it: with padding or without, with line ends. */
static bool decode_auth(struct arena *a, struct str auth, struct pull_credential *out)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(1 << 20), plain = STRBUF(1 << 20);
    auth = str_trim(auth);
    for (size_t i = 0; i < auth.n; i++)
        if (auth.p[i] != '\r' && auth.p[i] != '\n')
            strbuf_addc(&text, auth.p[i]);
    while (text.n % 4 && text.n % 4 != 1)
        strbuf_addc(&text, '=');
    return strbuf_add_unbase64(&plain, strbuf_str(&text)) &&
           str_split(str_dup(a, strbuf_str(&plain)), ':', &out->username, &out->password);
}

static bool credential_of(struct arena *a, const struct val *entry, struct pull_credential *out, struct err *err)
{
    struct str auth = val_text(val_get_str(entry, S("auth"))),
               token = val_text(val_get_str(entry, S("identitytoken")));
    out->username = str_dup(a, val_text(val_get_str(entry, S("username"))));
    out->password = str_dup(a, val_text(val_get_str(entry, S("password"))));
    if (auth.n && !decode_auth(a, auth, out))
        return err_set(err, E_INVALID, "unable to parse auth field, must be formatted as base64(username:password)");
    if (token.n)
        *out = (struct pull_credential){S(""), str_dup(a, token)};
    return true;
}

/* A key without its scheme; "/v1/" and "/v2/" say nothing. */
static struct str where_of(struct arena *a, struct str key)
{
    struct str host, path;
    key = str_starts(key, S("https://"))  ? str_sub(key, 8, key.n)
          : str_starts(key, S("http://")) ? str_sub(key, 7, key.n)
                                          : key;
    (void)str_split(key, '/', &host, &path);
    if (str_starts(path, S("v1/")) || str_starts(path, S("v2/")))
        path = str_sub(path, 3, path.n);
    return path.n ? arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(host), STR_ARG(path)) : str_dup(a, host);
}

bool pull_auths_add(struct pull_auths *x, const struct obj *secret, struct err *err)
{
    struct arena *a = x->arena;
    const struct val *data = val_get(&secret->tree, N(data));
    const struct val *v = val_get_str(data, S(".dockerconfigjson")), *old = val_get_str(data, S(".dockercfg"));
    struct val config;
    if (!v && !old)
        return true; /* a Secret of another sort has none */
    if (!json_decode(a, (struct str){(v ? v : old)->s, (v ? v : old)->n}, &config, err))
        return err_wrap(err, "%s", v ? ".dockerconfigjson" : ".dockercfg");
    bool ok = true;
    val_each_member (m, v ? val_get_str(&config, S("auths")) : &config) {
        struct pull_auth one = {.where = where_of(a, m->name->s)};
        if (x->list.n == PULL_AUTHS_MOST)
            return err_set(err, E_TOO_LARGE, "more than %d registries", PULL_AUTHS_MOST);
        if (credential_of(a, &m->v, &one.credential, err))
            array_push(&x->list, one);
        else
            ok = false;
    }
    return ok;
}

static bool hosts_match(struct arena *a, struct str glob, struct str host)
{
    struct str parts[2], ports[2];
    (void)str_split(glob, ':', &glob, &ports[0]);
    (void)str_split(host, ':', &host, &ports[1]);
    if (!str_eq(ports[0], ports[1]))
        return false;
    while (glob.p && host.p) {
        (void)str_cut(&glob, '.', &parts[0]);
        (void)str_cut(&host, '.', &parts[1]);
        if (fnmatch(arena_strz(a, parts[0]), arena_strz(a, parts[1]), 0) != 0)
            return false;
    }
    return !glob.p && !host.p; /* as many parts in both */
}

static bool is_for(struct arena *a, struct str where, struct str registry, struct str repository)
{
    struct str host, path;
    (void)str_split(where, '/', &host, &path);
    return str_starts(repository, path) && hosts_match(a, host, registry);
}

/* Reverse order of their texts puts longer paths before shorter ones; the order of Secrets stays among equals. */
static int more_special(const void *x, const void *y)
{
    const struct pull_auth *const *l = x, *const *r = y;
    size_t n = MIN((*l)->where.n, (*r)->where.n);
    int order = memcmp((*r)->where.p, (*l)->where.p, n);
    if (!order)
        order = (*l)->where.n != (*r)->where.n ? ((*l)->where.n > (*r)->where.n ? -1 : 1) : 0;
    return order ? order : *l < *r ? -1 : 1;
}

struct pull_credential *pull_auths_for(const struct pull_auths *x, struct str registry, struct str repository,
                                       size_t *n)
{
    const struct pull_auth **found = arena_alloc(x->arena, (x->list.n + 1) * sizeof *found);
    *n = 0;
    array_each (one, &x->list)
        if (is_for(x->arena, one->where, registry, repository))
            found[(*n)++] = one;
    bool hub = str_eqz(registry, "docker.io");
    if (!*n && hub)
        array_each (one, &x->list)
            if (str_eqz(one->where, DOCKER_HUB))
                found[(*n)++] = one;
    qsort(found, *n, sizeof *found, more_special);
    struct pull_credential *out = arena_alloc(x->arena, (*n + 1) * sizeof *out);
    for (size_t i = 0; i < *n; i++)
        out[i] = found[i]->credential;
    return out;
}
