#include "node/env.h"
#include "base/array.h"
#include "base/map.h"

/* Later settings of a name win but keep the first one's place, as a Go map fed in order does for our purposes. */
struct vars {
    struct arena *a;
    struct map names; /* name -> index + 1 */
    ARRAY(struct str) list;
};

static void set_var(struct vars *v, struct str name, struct str value)
{
    struct str line = arena_fmt(v->a, STR_FMT "=" STR_FMT, STR_ARG(name), STR_ARG(value));
    size_t at = (size_t)(uintptr_t)map_get(&v->names, name);
    if (at) {
        v->list.p[at - 1] = line;
        return;
    }
    array_push(&v->list, line);
    (void)map_put(&v->names, name, (void *)(uintptr_t)v->list.n);
}

static bool get_var(const struct strs env, struct str name, struct str *value)
{
    for (size_t i = env.n; i-- > 0;) {
        struct str have, rest;
        if (str_split(env.p[i], '=', &have, &rest) && str_eq(have, name)) {
            *value = rest;
            return true;
        }
    }
    return false;
}

struct str env_expand(struct arena *a, struct str text, struct strs env)
{
    if (str_find_char(text, '$') < 0)
        return text;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] != '$' || i + 1 == text.n) {
            strbuf_addc(&b, text.p[i]);
            continue;
        }
        struct str rest = str_sub(text, i + 2, text.n), value;
        ptrdiff_t end = str_find_char(rest, ')');
        if (text.p[i + 1] == '$') {
            strbuf_addc(&b, '$');
            i++;
        } else if (text.p[i + 1] == '(' && end >= 0) {
            struct str name = str_sub(rest, 0, (size_t)end);
            if (get_var(env, name, &value))
                strbuf_add(&b, value);
            else
                strbuf_add(&b, str_sub(text, i, i + 3 + (size_t)end));
            i += 2 + (size_t)end;
        } else {
            strbuf_addc(&b, '$');
        }
    }
    return str_dup(a, strbuf_str(&b));
}

static struct str env_name(struct arena *a, struct str service)
{
    char *z = arena_strz(a, service);
    for (size_t i = 0; i < service.n; i++)
        z[i] = z[i] == '-' ? '_' : z[i] >= 'a' && z[i] <= 'z' ? (char)(z[i] - 32) : z[i];
    return (struct str){z, service.n};
}

/* Docker links as kubelet makes them: NAME_SERVICE_HOST, _PORT, NAME_PORT=tcp://..., NAME_PORT_80_TCP ... */
static void add_service(struct vars *v, const struct obj *service)
{
    struct str ip = val_text_at(obj_spec(service), N(clusterIP));
    const struct val *ports = val_get(obj_spec(service), N(ports));
    if (!ip.n || str_eq(ip, S("None")) || !val_len(ports))
        return;
    struct arena *a = v->a;
    struct str name = env_name(a, service->name);
    set_var(v, arena_fmt(a, STR_FMT "_SERVICE_HOST", STR_ARG(name)), ip);
    long long first = val_num_at(val_item(ports, 0), 0, N(port));
    set_var(v, arena_fmt(a, STR_FMT "_SERVICE_PORT", STR_ARG(name)), arena_fmt(a, "%lld", first));
    val_each_item (p, ports) {
        struct str port_name = val_text_at(p, N(name));
        if (port_name.n)
            set_var(v, arena_fmt(a, STR_FMT "_SERVICE_PORT_" STR_FMT, STR_ARG(name), STR_ARG(env_name(a, port_name))),
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
            set_var(v, arena_fmt(a, STR_FMT "_PORT", STR_ARG(name)), url);
        struct str prefix = arena_fmt(a, STR_FMT "_PORT_%lld_" STR_FMT, STR_ARG(name), port,
                                      STR_ARG(protocol.n ? protocol : S("TCP")));
        set_var(v, prefix, url);
        set_var(v, arena_fmt(a, STR_FMT "_PROTO", STR_ARG(prefix)), str_of(lower));
        set_var(v, arena_fmt(a, STR_FMT "_PORT", STR_ARG(prefix)), arena_fmt(a, "%lld", port));
        set_var(v, arena_fmt(a, STR_FMT "_ADDR", STR_ARG(prefix)), ip);
    }
}

static bool is_env_name(struct str s) /* printable ASCII without '=', as the API accepts it */
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~' || s.p[i] == '=')
            return false;
    return s.n > 0;
}

static bool add_from(struct vars *v, const struct env_input *in, const struct val *from, struct err *err)
{
    const struct val *ref = val_get(from, N(configMapRef));
    const struct kind *kind = ref ? K(ConfigMap) : K(Secret);
    if (!ref)
        ref = val_get(from, N(secretRef));
    if (!ref)
        return true;
    struct val all;
    bool found;
    if (!source_all(v->a, in->sources, kind, in->pod->ns, val_text_at(ref, N(name)),
                    val_true(val_get(ref, N(optional))), &all, &found, err))
        return false;
    val_each_member (m, &all) {
        struct str name = arena_fmt(v->a, STR_FMT STR_FMT, STR_ARG(val_text_at(from, N(prefix))),
                                    STR_ARG(m->name->s));
        if (is_env_name(name))
            set_var(v, name, (struct str){m->v.s, m->v.n});
    }
    return true;
}

static bool value_from(struct vars *v, const struct env_input *in, const struct val *from, struct str *out,
                       bool *found, struct err *err)
{
    const struct val *ref;
    *found = true;
    if ((ref = val_get(from, N(fieldRef))))
        return source_field(v->a, in->sources, in->pod, val_text_at(ref, N(fieldPath)), out, err);
    if ((ref = val_get(from, N(resourceFieldRef))))
        return source_resource(v->a, in->sources, obj_spec(in->pod), ref, val_text_at(in->container, N(name)), out,
                               err);
    if ((ref = val_get(from, N(configMapKeyRef))))
        return source_key(v->a, in->sources, K(ConfigMap), in->pod->ns, ref, out, found, err);
    if ((ref = val_get(from, N(secretKeyRef))))
        return source_key(v->a, in->sources, K(Secret), in->pod->ns, ref, out, found, err);
    return err_set(err, E_NOT_IMPLEMENTED,
                   "this source of a value is not supported yet: use fieldRef, resourceFieldRef, configMapKeyRef or "
                   "secretKeyRef");
}

static bool add_one(struct vars *v, const struct env_input *in, const struct val *env, struct err *err)
{
    struct str name = val_text_at(env, N(name)), value = val_text_at(env, N(value));
    const struct val *from = val_get(env, N(valueFrom));
    bool found = true;
    if (!from) {
        value = env_expand(v->a, value, (struct strs){v->list.p, v->list.n});
    } else if (!value_from(v, in, from, &value, &found, err)) {
        if (err->kind == E_NOT_IMPLEMENTED || err->kind == E_INVALID)
            return err_wrap(err, "env " STR_FMT, STR_ARG(name));
        return false;
    }
    if (found)
        set_var(v, name, value);
    return true;
}

bool env_build(struct arena *a, const struct env_input *in, struct strs *out, struct err *err)
{
    struct vars v = {.a = a};
    bool ok = true;
    set_var(&v, S("PATH"), S("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
    for (size_t i = 0; i < in->image_env.n; i++) {
        struct str name, value;
        if (str_split(in->image_env.p[i], '=', &name, &value))
            set_var(&v, name, value);
    }
    set_var(&v, S("HOSTNAME"), in->hostname);
    for (size_t i = 0; i < in->nservices; i++)
        add_service(&v, in->services[i]);
    val_each_item (from, val_get(in->container, N(envFrom)))
        ok = ok && add_from(&v, in, from, err);
    val_each_item (env, val_get(in->container, N(env)))
        ok = ok && add_one(&v, in, env, err);
    if (ok) {
        out->n = v.list.n;
        out->p = arena_dup(a, v.list.p, v.list.n * sizeof *v.list.p);
    }
    array_fini(&v.list);
    map_fini(&v.names);
    return ok;
}
