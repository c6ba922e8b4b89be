#include "server/pki.h"
#include "base/clock.h"
#include "sys/file.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define DAY (24 * 3600 * NS_PER_S)
enum { CA_YEARS = 20 };
#define CA_FROM  (946684800 * NS_PER_S)  /* 2000-01-01 */
#define CA_LEAST (1767225600 * NS_PER_S) /* 2026-01-01: no clock that is right says less */

static void proxy_forget(struct keys *k)
{
    if (k->proxy_key.n)
        mem_wipe(k->proxy_key.p, k->proxy_key.n);
    strbuf_fini(&k->proxy_key);
    strbuf_fini(&k->proxy_cert);
    k->proxy_cert = k->proxy_key = STRBUF(STRBUF_TEXT);
}

void keys_free(struct keys *k)
{
    if (!k)
        return;
    key_free(k->ca);
    key_free(k->tokens);
    key_free(k->proxy_ca);
    proxy_forget(k);
    mem_wipe(k->seal, sizeof k->seal);
    arena_fini(&k->arena);
    mem_free(k);
}

static const char *path_of(struct keys *k, const char *name)
{
    return arena_fmt(&k->arena, "%s/%s", k->etc, name).p;
}

/* The file's text; false with err->kind E_NONE where it is not there and may be made. */
static bool read_key(struct keys *k, const char *name, bool fresh, struct strbuf *out, struct err *err)
{
    const char *path = path_of(k, name);
    struct stat st;
    if (stat(path, &st) < 0 && errno == ENOENT) {
        if (fresh)
            return false;
        return err_set(
            err, E_UNAVAILABLE,
            "key file %s is missing, but there is data that was made with it: put it back from a backup, or "
            "start with an empty data folder",
            path);
    }
    if (st.st_mode & 077)
        return err_set(err, E_FORBIDDEN, "key file %s may be read by others (mode %04o): chmod 600 it", path,
                       (unsigned)(st.st_mode & 07777));
    return file_read(AT_FDCWD, path, out, err);
}

static bool open_key(struct keys *k, const char *name, bool fresh, struct cert_key **out, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf pem = STRBUF(STRBUF_TEXT);
    if (read_key(k, name, fresh, &pem, err)) {
        *out = key_parse(strbuf_str(&pem), err);
        mem_wipe(pem.p, pem.n);
        return *out || err_wrap(err, "%s", path_of(k, name));
    }
    if (err->kind)
        return false;
    *out = key_new();
    key_pem(*out, &pem);
    bool ok = file_write(AT_FDCWD, path_of(k, name), strbuf_str(&pem), 0600, err);
    mem_wipe(pem.p, pem.n);
    return ok;
}

/* NAME.key and NAME.crt. */
static bool open_ca(struct keys *k, const char *name, struct str cn, bool fresh, struct cert_key **key,
                    struct str *ca_pem, struct err *err)
{
    const char *key_name = arena_fmt(&k->arena, "keys/%s.key", name).p;
    const char *crt_name = arena_fmt(&k->arena, "keys/%s.crt", name).p;
    if (!open_key(k, key_name, fresh, key, err))
        return false;
    AUTO(strbuf_fini) struct strbuf pem = STRBUF(STRBUF_TEXT);
    if (!read_key(k, crt_name, fresh, &pem, err)) {
        if (err->kind)
            return false;
        /* A clock that is wrong at the first boot (a machine without a battery) is set later: the CA is valid before
         * and after. */
        struct cert_spec spec = {.cn = cn,
                                 .ca = true,
                                 .not_before = CA_FROM,
                                 .not_after = MAX(clock_real(), CA_LEAST) + CA_YEARS * 365 * DAY};
        if (!cert_make(&spec, *key, STR_NONE, NULL, &pem, err) ||
            !file_write(AT_FDCWD, path_of(k, crt_name), strbuf_str(&pem), 0600, err))
            return false;
    }
    if (!cert_fits_key(strbuf_str(&pem), *key, err))
        return err_wrap(err, "%s", path_of(k, crt_name));
    *ca_pem = str_dup(&k->arena, strbuf_str(&pem));
    return true;
}

/* Lines of "ID HEX", the first one seals. */
static bool open_seal(struct keys *k, bool fresh, struct err *err)
{
    const char *name = "keys/seal.keys";
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    if (!read_key(k, name, fresh, &text, err)) {
        if (err->kind)
            return false;
        uint8_t key[32];
        random_bytes(key, sizeof key);
        strbuf_addz(&text, "1 ");
        strbuf_add_hex(&text, key, sizeof key);
        strbuf_addc(&text, '\n');
        mem_wipe(key, sizeof key);
        if (!file_write(AT_FDCWD, path_of(k, name), strbuf_str(&text), 0600, err))
            return false;
    }
    struct str rest = strbuf_str(&text), line;
    while (str_cut(&rest, '\n', &line)) {
        if (!str_trim(line).n)
            continue;
        struct str id, hex;
        uint64_t n;
        AUTO(strbuf_fini) struct strbuf key = STRBUF(64);
        if (k->nseal == countof(k->seal) || !str_split(str_trim(line), ' ', &id, &hex) ||
            !str_to_u64(id, UINT32_MAX, &n) || !n || !strbuf_add_unhex(&key, hex) || key.n != 32) {
            mem_wipe(text.p, text.n);
            return err_set(err, E_INVALID, "%s: each of at most %zu lines must be a number and 64 hex digits",
                           path_of(k, name), countof(k->seal));
        }
        k->seal[k->nseal].id = (uint32_t)n;
        memcpy(k->seal[k->nseal++].key, key.p, 32);
        mem_wipe(key.p, key.n);
    }
    mem_wipe(text.p, text.n);
    return k->nseal || err_set(err, E_INVALID, "%s holds no key", path_of(k, name));
}

struct keys *keys_open(const char *root, bool fresh, struct err *err)
{
    AUTO(keys_free) struct keys *k = NEW(struct keys);
    k->etc = arena_fmt(&k->arena, "%s/etc/wherry", root).p;
    if (!dir_make_synced(path_of(k, "keys"), 0700, err) ||
        !open_ca(k, "ca", S("wherry-ca"), fresh, &k->ca, &k->ca_pem, err) ||
        !open_key(k, "keys/service-account.key", fresh, &k->tokens, err) || !open_seal(k, fresh, err) ||
        !open_ca(k, "front-proxy-ca", S("wherry-front-proxy-ca"), true, &k->proxy_ca, &k->proxy_ca_pem, err) ||
        !keys_front_proxy(k, err))
        return NULL;
    return TAKE(k);
}

static bool serving_make(struct keys *k, struct str cn, struct str org, const struct leaf_names *n, int64_t now,
                         struct strbuf *cert, struct strbuf *key, struct err *err)
{
    AUTO(key_free) struct cert_key *leaf = key_new();
    struct cert_spec spec = {.cn = cn,
                             .orgs = &org,
                             .norgs = org.n ? 1 : 0,
                             .dns = n->dns,
                             .ndns = n->ndns,
                             .ips = n->ips,
                             .nips = n->nips,
                             .server = true,
                             .not_after = now + LEAF_DAYS * DAY};
    if (!cert_make(&spec, leaf, k->ca_pem, k->ca, cert, err))
        return false;
    key_pem(leaf, key);
    return true;
}

bool keys_node(struct keys *k, struct str cn, const struct leaf_names *n, struct strbuf *cert, struct strbuf *key,
               struct err *err)
{
    return serving_make(k, cn, S("system:nodes"), n, clock_real(), cert, key, err);
}

bool keys_serving(struct keys *k, const struct leaf_names *n, struct strbuf *cert, struct strbuf *key,
                  struct err *err)
{
    int64_t now = clock_real();
    if (!serving_make(k, S("kube-apiserver"), STR_NONE, n, now, cert, key, err))
        return false;
    k->made_at = now;
    k->renew_at = now + LEAF_DAYS / 3 * 2 * DAY;
    return true;
}

bool keys_front_proxy(struct keys *k, struct err *err)
{
    AUTO(key_free) struct cert_key *leaf = key_new();
    struct cert_spec spec = {.cn = S(FRONT_PROXY_NAME), .client = true, .not_after = clock_real() + LEAF_DAYS * DAY};
    proxy_forget(k);
    if (!cert_make(&spec, leaf, k->proxy_ca_pem, k->proxy_ca, &k->proxy_cert, err))
        return false;
    key_pem(leaf, &k->proxy_key);
    return true;
}

bool keys_stale(const struct keys *k)
{
    int64_t now = clock_real();
    return now >= k->renew_at || now < k->made_at - 60 * NS_PER_S;
}

static bool kubeconfig_write(struct keys *k, const char *file, const char *server, const char *name, struct str cn,
                             struct str org, struct err *err)
{
    AUTO(key_free) struct cert_key *leaf = key_new();
    AUTO(strbuf_fini) struct strbuf cert = STRBUF(STRBUF_TEXT), key = STRBUF(STRBUF_TEXT), out = STRBUF(STRBUF_TEXT);
    struct cert_spec spec = {
        .cn = cn, .orgs = &org, .norgs = 1, .client = true, .not_after = clock_real() + LEAF_DAYS * DAY};
    if (!cert_make(&spec, leaf, k->ca_pem, k->ca, &cert, err))
        return false;
    key_pem(leaf, &key);
    strbuf_addf(&out,
                "apiVersion: v1\nkind: Config\nclusters:\n- name: wherry\n  cluster:\n    server: %s\n"
                "    certificate-authority-data: ",
                server);
    strbuf_add_base64(&out, k->ca_pem.p, k->ca_pem.n);
    strbuf_addf(&out, "\nusers:\n- name: %s\n  user:\n    client-certificate-data: ", name);
    strbuf_add_base64(&out, cert.p, cert.n);
    strbuf_addz(&out, "\n    client-key-data: ");
    strbuf_add_base64(&out, key.p, key.n);
    strbuf_addf(&out,
                "\ncontexts:\n- name: wherry\n  context:\n    cluster: wherry\n    user: %s\n"
                "current-context: wherry\n",
                name);
    /* no sync: made anew at every start */
    bool ok = file_replace(AT_FDCWD, path_of(k, file), strbuf_str(&out), 0600, err);
    mem_wipe(key.p, key.n);
    mem_wipe(out.p, out.n);
    return ok;
}

bool keys_kubeconfigs(struct keys *k, const char *server, const char *node_name, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    return kubeconfig_write(k, "admin.kubeconfig", server, "admin", S("kubernetes-admin"), S("system:masters"),
                            err) &&
           kubeconfig_write(k, "node.kubeconfig", server, "node", arena_fmt(&a, "system:node:%s", node_name),
                            S("system:nodes"), err);
}
