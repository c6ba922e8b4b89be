#include "client/kubeconfig.h"
#include "api/codec.h"
#include "sys/file.h"
#include <fcntl.h>

#define MAX_FILE (4u << 20)
#define ADMIN    "/etc/wherry/admin.kubeconfig"

/* The files of $KUBECONFIG as one. */
struct kubeconfig_parts {
    struct arena *arena;
    struct val clusters, users, contexts;
    struct str current;
    bool (*read)(struct arena *a, struct str path, struct str *out, struct err *err);
};

static struct str map_text(const struct val *map, const char *name)
{
    return val_text(val_get_str(map, str_of(name)));
}

static const struct val *list_named(const struct val *list, struct str name)
{
    val_each_item (it, list)
        if (str_eq(map_text(it, "name"), name))
            return it;
    return NULL;
}

/* Relative paths belong to the folder of their file; later nobody knows which that was. */
static bool list_join(struct kubeconfig_parts *p, struct val *to, const struct val *v, const char *name,
                      struct str base, struct err *err)
{
    val_each_item (it, val_get_str(v, str_of(name))) {
        if (!val_is(it, VAL_MAP))
            return err_set(err, E_INVALID, "%s: an entry is no map with \"name\"", name);
        if (list_named(to, map_text(it, "name")))
            continue;
        struct val entry = val_copy(p->arena, it);
        val_set_str(p->arena, &entry, S("base"), val_str(p->arena, base));
        val_add(p->arena, to, entry);
    }
    return true;
}

static bool file_join(struct kubeconfig_parts *p, struct str yaml, struct str base, struct err *err)
{
    struct val v;
    if (!yaml_decode(p->arena, yaml, &v, err))
        return false;
    struct str kind = map_text(&v, "kind");
    if (kind.n > 0 && !str_eqz(kind, "Config"))
        return err_set(err, E_INVALID, "kind: is \"" STR_FMT "\", not a kubeconfig (Config)", STR_ARG(kind));
    if (!list_join(p, &p->clusters, &v, "clusters", base, err) || !list_join(p, &p->users, &v, "users", base, err) ||
        !list_join(p, &p->contexts, &v, "contexts", base, err))
        return false;
    if (p->current.n == 0)
        p->current = map_text(&v, "current-context");
    return true;
}

/* NAME-data (base64) wins over NAME (a file). */
static bool material_read(struct kubeconfig_parts *p, const struct val *entry, const char *name, struct str *out,
                          struct err *err)
{
    const struct val *v = val_get_str(entry, str_of(strcmp(name, "tokenFile") == 0 ? "user" : "cluster"));
    if (!v)
        v = val_get_str(entry, S("user"));
    struct str data = map_text(v, arena_fmt(p->arena, "%s-data", name).p), path = map_text(v, name);
    if (data.n > 0) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(MAX_FILE);
        if (!strbuf_add_unbase64(&b, data) || b.over)
            return err_set(err, E_INVALID, "%s-data: is not base64", name);
        *out = str_dup(p->arena, strbuf_str(&b));
        return true;
    }
    if (path.n == 0)
        return true;
    if (!p->read)
        return err_set(err, E_INVALID, "%s: names a file, and none may be read here; use %s-data", name, name);
    if (path.p[0] != '/')
        path = arena_fmt(p->arena, STR_FMT "/" STR_FMT, STR_ARG(map_text(entry, "base")), STR_ARG(path));
    return p->read(p->arena, path, out, err) || err_wrap(err, "%s", name);
}

static bool cluster_take(struct kubeconfig_parts *p, struct kubeconfig *out, struct err *err)
{
    const struct val *entry = list_named(&p->clusters, out->cluster), *c = val_get_str(entry, S("cluster"));
    if (!entry && out->server.n == 0)
        return err_set(err, E_NOT_FOUND, "clusters: there is no cluster \"" STR_FMT "\"", STR_ARG(out->cluster));
    if (out->server.n == 0)
        out->server = map_text(c, "server");
    if (out->server.n == 0)
        return err_set(err, E_INVALID, "clusters: cluster \"" STR_FMT "\" has no server", STR_ARG(out->cluster));
    out->tls_server_name = map_text(c, "tls-server-name");
    out->insecure_skip_tls_verify = val_true(val_get_str(c, S("insecure-skip-tls-verify")));
    return !entry || material_read(p, entry, "certificate-authority", &out->ca_pem, err);
}

static bool user_take(struct kubeconfig_parts *p, struct kubeconfig *out, struct err *err)
{
    if (out->user.n == 0 || out->token.n > 0) /* a token given is instead of the user: its certificate would win */
        return true;
    const struct val *entry = list_named(&p->users, out->user), *u = val_get_str(entry, S("user"));
    if (!entry)
        return err_set(err, E_NOT_FOUND, "users: there is no user \"" STR_FMT "\"", STR_ARG(out->user));
    static const char *const unknown[] = {"exec", "auth-provider", "username", "as"};
    for (size_t i = 0; i < countof(unknown); i++)
        if (val_get_str(u, str_of(unknown[i])))
            return err_set(err, E_INVALID,
                           "users: user \"" STR_FMT "\": %s is not supported; use a client certificate or a token",
                           STR_ARG(out->user), unknown[i]);
    if (!material_read(p, entry, "client-certificate", &out->cert_pem, err) ||
        !material_read(p, entry, "client-key", &out->key_pem, err))
        return false;
    out->token = map_text(u, "token");
    if (out->token.n == 0) {
        if (!material_read(p, entry, "tokenFile", &out->token, err))
            return false;
        out->token = str_trim(out->token);
    }
    return true;
}

static struct str text_first(struct str a, struct str b)
{
    return a.n > 0 ? a : b;
}

static bool parts_resolve(struct kubeconfig_parts *p, const struct kubeconfig_overrides *o, struct kubeconfig *out,
                          struct err *err)
{
    static const struct kubeconfig_overrides none;
    o = o ? o : &none;
    *out = (struct kubeconfig){.server = o->server, .token = o->token, .context = text_first(o->context, p->current)};
    const struct val *entry = list_named(&p->contexts, out->context), *c = val_get_str(entry, S("context"));
    if (!entry && out->context.n > 0)
        return err_set(err, E_NOT_FOUND, "contexts: there is no context \"" STR_FMT "\"", STR_ARG(out->context));
    if (!entry && o->server.n == 0 && o->cluster.n == 0)
        return err_set(err, E_NOT_FOUND, "current-context: is not set; name one with --context");
    out->cluster = text_first(o->cluster, map_text(c, "cluster"));
    out->user = text_first(o->user, map_text(c, "user"));
    out->ns = text_first(text_first(o->ns, map_text(c, "namespace")), S("default"));
    return cluster_take(p, out, err) && user_take(p, out, err);
}

bool kubeconfig_parse(struct arena *a, struct str yaml, struct str base,
                      bool (*read)(struct arena *a, struct str path, struct str *out, struct err *err),
                      const struct kubeconfig_overrides *o, struct kubeconfig *out, struct err *err)
{
    struct kubeconfig_parts p = {
        .arena = a, .clusters = val_list(), .users = val_list(), .contexts = val_list(), .read = read};
    return file_join(&p, yaml, base, err) && parts_resolve(&p, o, out, err);
}

static bool read_path(struct arena *a, struct str path, struct str *out, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(MAX_FILE);
    if (!file_read(AT_FDCWD, arena_strz(a, path), &b, err))
        return false;
    *out = str_dup(a, strbuf_str(&b));
    return true;
}

static struct str default_paths(struct arena *a)
{
    const char *env = getenv("KUBECONFIG"), *home = getenv("HOME");
    if (env && *env)
        return str_of(env);
    if (access(ADMIN, R_OK) == 0)
        return S(ADMIN);
    return arena_fmt(a, "%s/.kube/config", home ? home : "");
}

bool kubeconfig_load(struct arena *a, const char *path, const struct kubeconfig_overrides *o, struct kubeconfig *out,
                     struct err *err)
{
    struct kubeconfig_parts p = {
        .arena = a, .clusters = val_list(), .users = val_list(), .contexts = val_list(), .read = read_path};
    struct str paths = path ? str_of(path) : default_paths(a), all = paths, one;
    size_t found = 0;
    while (str_cut(&paths, ':', &one)) {
        struct str yaml, base;
        if (one.n == 0)
            continue;
        struct err why = ERR;
        if (!read_path(a, one, &yaml, &why)) {
            if (why.kind == E_NOT_FOUND && !path)
                continue; /* as kubectl: a path in $KUBECONFIG need not exist */
            *err = why;
            return false;
        }
        ptrdiff_t slash = str_rfind_char(one, '/');
        base = slash < 0 ? S(".") : str_sub(one, 0, (size_t)slash);
        if (!file_join(&p, yaml, base, err))
            return err_wrap(err, STR_FMT, STR_ARG(one));
        found++;
    }
    if (found == 0 && (!o || o->server.n == 0))
        return err_set(err, E_NOT_FOUND,
                       "no kubeconfig: " STR_FMT " is not there; set KUBECONFIG or give --kubeconfig", STR_ARG(all));
    return parts_resolve(&p, o, out, err) || err_wrap(err, STR_FMT, STR_ARG(all));
}
