#include "node/env.h"
#include "node/env_file.h"

static void vars_fini(struct env_vars *v)
{
    map_fini(&v->names);
    array_fini(&v->list);
}

void env_fini(struct env *e)
{
    vars_fini(&e->pod);
    vars_fini(&e->services);
}

static struct env_var *vars_find(const struct env_vars *v, struct str name)
{
    size_t at = (size_t)(uintptr_t)map_get(&v->names, name); /* index + 1 */
    return at ? &v->list.p[at - 1] : NULL;
}

/* Later settings of a name win but keep the first one's place. */
static void vars_set(struct env_vars *v, struct str name, struct str value)
{
    struct env_var *have = vars_find(v, name);
    if (have) {
        have->value = value;
        return;
    }
    array_push(&v->list, ((struct env_var){name, value}));
    (void)map_put(&v->names, name, (void *)(uintptr_t)v->list.n);
}

bool env_charge(struct env *e, struct str text, struct err *err)
{
    if (memchr(text.p, 0, text.n))
        return err_set(err, E_INVALID, "the text has a NUL byte in it, which no program's environment can hold");
    if (!str_utf8_ok(text)) /* a runtime takes its configuration as JSON */
        return err_set(err, E_INVALID, "the text is not UTF-8: mount it as a file");
    if (text.n > ENV_ONE_MOST)
        return err_set(err, E_TOO_LARGE,
                       "the text comes to %zu bytes: no program is started with more than %d in one", text.n,
                       ENV_ONE_MOST);
    e->used += text.n + 1;
    return e->used <= ENV_MOST ||
           err_set(err, E_TOO_LARGE,
                   "environment and arguments come to more than %d bytes: no program is started with more", ENV_MOST);
}

static const struct str *env_lookup(const struct env *e, struct str name)
{
    const struct env_var *v = vars_find(&e->pod, name);
    if (!v)
        v = vars_find(&e->services, name);
    return v ? &v->value : NULL;
}

bool env_expand(struct env *e, struct str text, struct str *out, struct str *missing, struct err *err)
{
    if (missing)
        *missing = S("");
    *out = text;
    if (str_find_char(text, '$') < 0)
        return env_charge(e, text, err);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(ENV_ONE_MOST + 1);
    ptrdiff_t last = str_rfind_char(text, ')'); /* after it nothing is closed any more, so nobody looks again */
    for (size_t i = 0; i < text.n && !b.over; i++) {
        char next = i + 1 < text.n ? text.p[i + 1] : 0;
        if (text.p[i] != '$' || (next != '$' && (next != '(' || (ptrdiff_t)i >= last))) {
            strbuf_addc(&b, text.p[i]);
        } else if (next == '$') {
            strbuf_addc(&b, '$');
            i++;
        } else {
            struct str rest = str_sub(text, i + 2, text.n);
            struct str name = str_sub(rest, 0, (size_t)str_find_char(rest, ')'));
            const struct str *value = env_lookup(e, name);
            if (missing && !missing->n && (!value || !value->n))
                *missing = name;
            strbuf_add(&b, value ? *value : str_sub(text, i, i + 3 + name.n));
            i += 2 + name.n;
        }
    }
    *out = str_dup(e->arena, strbuf_str(&b));
    return env_charge(e, *out, err);
}

static struct str env_name(struct arena *a, struct str service)
{
    char *z = arena_strz(a, service);
    for (size_t i = 0; i < service.n; i++)
        z[i] = z[i] == '-' ? '_' : z[i] >= 'a' && z[i] <= 'z' ? (char)(z[i] - 32) : z[i];
    return (struct str){z, service.n};
}

/* Docker links as kubelet makes them: NAME_SERVICE_HOST, _PORT, NAME_PORT=tcp://..., NAME_PORT_80_TCP ... */
static void add_service(struct env *e, const struct obj *service)
{
    struct str ip = val_text_at(obj_spec(service), N(clusterIP));
    const struct val *ports = val_get(obj_spec(service), N(ports));
    if (!ip.n || str_eq(ip, S("None")) || !val_len(ports))
        return;
    struct arena *a = e->arena;
    struct env_vars *v = &e->services;
    struct str name = env_name(a, service->name);
    vars_set(v, arena_fmt(a, STR_FMT "_SERVICE_HOST", STR_ARG(name)), ip);
    long long first = val_num_at(val_item(ports, 0), 0, N(port));
    vars_set(v, arena_fmt(a, STR_FMT "_SERVICE_PORT", STR_ARG(name)), arena_fmt(a, "%lld", first));
    val_each_item (p, ports) {
        struct str port_name = val_text_at(p, N(name));
        if (port_name.n)
            vars_set(v,
                     arena_fmt(a, STR_FMT "_SERVICE_PORT_" STR_FMT, STR_ARG(name), STR_ARG(env_name(a, port_name))),
                     arena_fmt(a, "%lld", (long long)val_num_at(p, 0, N(port))));
    }
    val_each_item (p, ports) {
        struct str protocol = val_text_at(p, N(protocol));
        char *lower = arena_strz(a, protocol.n ? protocol : S("TCP"));
        for (char *c = lower; *c; c++)
            *c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
        long long port = val_num_at(p, 0, N(port));
        struct str url = arena_fmt(a, "%s://" STR_FMT ":%lld", lower, STR_ARG(ip), port);
        if (p == ports->list)
            vars_set(v, arena_fmt(a, STR_FMT "_PORT", STR_ARG(name)), url);
        struct str prefix = arena_fmt(a, STR_FMT "_PORT_%lld_" STR_FMT, STR_ARG(name), port,
                                      STR_ARG(protocol.n ? protocol : S("TCP")));
        vars_set(v, prefix, url);
        vars_set(v, arena_fmt(a, STR_FMT "_PROTO", STR_ARG(prefix)), str_of(lower));
        vars_set(v, arena_fmt(a, STR_FMT "_PORT", STR_ARG(prefix)), arena_fmt(a, "%lld", port));
        vars_set(v, arena_fmt(a, STR_FMT "_ADDR", STR_ARG(prefix)), ip);
    }
}

/* Printable ASCII without '=', as the API accepts it. */
static bool is_env_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~' || s.p[i] == '=')
            return false;
    return s.n > 0;
}

static bool env_set(struct env *e, struct str name, struct str value, struct err *err)
{
    vars_set(&e->pod, name, value);
    return (env_charge(e, name, err) && env_charge(e, value, err)) || err_wrap(err, "env " STR_FMT, STR_ARG(name));
}

static bool add_from(struct env *e, const struct env_input *in, const struct val *from, struct err *err)
{
    const struct val *ref = val_get(from, N(configMapRef));
    const struct kind *kind = ref ? K(ConfigMap) : K(Secret);
    if (!ref)
        ref = val_get(from, N(secretRef));
    if (!ref)
        return true;
    const struct obj *o;
    if (!source_object(in->sources, kind, in->pod->ns, val_text_at(ref, N(name)), val_true(val_get(ref, N(optional))),
                       &o, err))
        return false;
    val_each_member (m, o ? val_get(&o->tree, N(data)) : NULL) {
        struct str name = arena_fmt(e->arena, STR_FMT STR_FMT, STR_ARG(val_text_at(from, N(prefix))),
                                    STR_ARG(m->name->s));
        if (is_env_name(name) && !env_set(e, name, source_bytes(&m->v), err))
            return false;
    }
    return true;
}

static bool value_of_file(struct env *e, const struct env_input *in, const struct val *ref, struct str *out,
                          bool *found, struct err *err)
{
    struct str volume = val_text_at(ref, N(volumeName)), path = val_text_at(ref, N(path)),
               key = val_text_at(ref, N(key));
    bool optional = val_true(val_get(ref, N(optional)));
    const struct env_file *file = NULL;
    for (size_t i = 0; i < in->nfiles && !file; i++)
        if (str_eq(in->files[i].volume, volume) && str_eq(in->files[i].path, path))
            file = &in->files[i];
    *found = false;
    if (!file)
        return err_set(err, E_INVALID, "cannot find the volume \"" STR_FMT "\" referenced by FileKeyRef",
                       STR_ARG(volume));
    if (file->err.kind == E_NOT_FOUND && optional)
        return true;
    if (file->err.kind)
        return *err = file->err, err_wrap(err, "couldn't parse env file of volume \"" STR_FMT "\"", STR_ARG(volume));
    if (!env_file_find(e->arena, file->text, key, out, found, err))
        return err_wrap(err, "couldn't parse env file \"" STR_FMT "\" of volume \"" STR_FMT "\"", STR_ARG(path),
                        STR_ARG(volume));
    return *found || optional ||
           err_set(err, E_INVALID, "environment variable key \"" STR_FMT "\" not found in file \"" STR_FMT "\"",
                   STR_ARG(key), STR_ARG(path));
}

static bool value_from(struct env *e, const struct env_input *in, const struct val *from, struct str *out,
                       bool *found, struct err *err)
{
    struct arena *a = e->arena;
    const struct val *ref;
    *found = true;
    if ((ref = val_get(from, N(fieldRef))))
        return source_field(a, in->sources, in->pod, val_text_at(ref, N(fieldPath)), out, err);
    if ((ref = val_get(from, N(resourceFieldRef))))
        return source_resource(a, in->sources, obj_spec(in->pod), ref, val_text_at(in->container, N(name)), out, err);
    if ((ref = val_get(from, N(configMapKeyRef))))
        return source_key(a, in->sources, K(ConfigMap), in->pod->ns, ref, out, found, err);
    if ((ref = val_get(from, N(secretKeyRef))))
        return source_key(a, in->sources, K(Secret), in->pod->ns, ref, out, found, err);
    if ((ref = val_get(from, N(fileKeyRef))))
        return value_of_file(e, in, ref, out, found, err);
    return err_set(err, E_INVALID, "valueFrom names no source");
}

static bool add_one(struct env *e, const struct env_input *in, const struct val *env, struct err *err)
{
    struct str name = val_text_at(env, N(name)), value = val_text_at(env, N(value));
    const struct val *from = val_get(env, N(valueFrom));
    bool found = true;
    if (!value.n && from) {
        if (!value_from(e, in, from, &value, &found, err)) {
            if (err->kind == E_INVALID || val_get(from, N(fileKeyRef)))
                return err_wrap(err, "env " STR_FMT, STR_ARG(name));
            return false;
        }
        return !found || env_set(e, name, value, err);
    }
    if (!env_expand(e, value, &value, NULL, err))
        return err_wrap(err, "env " STR_FMT, STR_ARG(name));
    vars_set(&e->pod, name, value);
    return true;
}

static void add_lines(struct env *e, const struct env_vars *v)
{
    for (size_t i = 0; i < v->list.n; i++)
        e->all.p[e->all.n++] = arena_fmt(e->arena, STR_FMT "=" STR_FMT, STR_ARG(v->list.p[i].name),
                                         STR_ARG(v->list.p[i].value));
}

/* The runtime's, the image's and the pod's as one. */
static bool env_merge(struct env *e, const struct env_input *in, struct err *err)
{
    struct env_vars v = {0};
    bool ok = true;
    vars_set(&v, S("PATH"), S("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
    if (val_true(val_get(in->container, N(tty))))
        vars_set(&v, S("TERM"), S("xterm"));
    vars_set(&v, S("HOSTNAME"), in->hostname);
    for (size_t i = 0; i < in->image_env.n; i++) {
        struct str name, value;
        if (str_split(in->image_env.p[i], '=', &name, &value) && name.n) {
            vars_set(&v, name, value);
            ok = ok && (env_charge(e, in->image_env.p[i], err) ||
                        err_wrap(err, "env " STR_FMT " of the image", STR_ARG(name)));
        }
    }
    array_each (one, &e->services.list) {
        vars_set(&v, one->name, one->value);
        ok = ok && (env_charge(e, one->name, err) && env_charge(e, one->value, err));
    }
    array_each (one, &e->pod.list)
        vars_set(&v, one->name, one->value);
    e->all = (struct strs){.p = arena_alloc(e->arena, v.list.n * sizeof *e->all.p)};
    if (ok)
        add_lines(e, &v);
    vars_fini(&v);
    return ok;
}

bool env_build(struct arena *a, const struct env_input *in, struct env *out, struct err *err)
{
    *out = (struct env){.arena = a};
    bool ok = true;
    for (int own = 0; own < 2; own++) /* a Service of the pod's own namespace wins over default/kubernetes */
        for (size_t i = 0; i < in->nservices; i++)
            if (str_eq(in->services[i]->ns, in->pod->ns) == own)
                add_service(out, in->services[i]);
    val_each_item (from, val_get(in->container, N(envFrom)))
        ok = ok && add_from(out, in, from, err);
    val_each_item (env, val_get(in->container, N(env)))
        ok = ok && add_one(out, in, env, err);
    return ok && env_merge(out, in, err);
}

void env_default(struct env *e, struct str name, struct str value)
{
    struct str line = arena_fmt(e->arena, STR_FMT "=" STR_FMT, STR_ARG(name), STR_ARG(value));
    size_t at = 0;
    for (; at < e->all.n; at++) {
        struct str have, old;
        (void)str_split(e->all.p[at], '=', &have, &old);
        if (str_eq(have, name) && old.n)
            return;
        if (str_eq(have, name))
            break;
    }
    struct strs all = {arena_alloc(e->arena, (e->all.n + 1) * sizeof line), MAX(e->all.n, at + 1)};
    if (e->all.n)
        memcpy(all.p, e->all.p, e->all.n * sizeof line);
    all.p[at] = line;
    e->all = all;
}
