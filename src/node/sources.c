#include "node/sources.h"
#include "api/formats.h"
#include "api/quantity.h"

#define FIELD_MOST (1 << 20) /* of labels or annotations as one text */

struct namer {
    void (*fn)(void *arg, const struct kind *kind, struct str name);
    void *arg;
};

static void name_one(const struct namer *n, const struct kind *kind, struct str name)
{
    if (name.n)
        n->fn(n->arg, kind, name);
}

static void names_of_container(const struct namer *n, const struct val *c)
{
    val_each_item (from, val_get(c, N(envFrom))) {
        name_one(n, K(ConfigMap), val_text_at(from, N(configMapRef), N(name)));
        name_one(n, K(Secret), val_text_at(from, N(secretRef), N(name)));
    }
    val_each_item (env, val_get(c, N(env))) {
        name_one(n, K(ConfigMap), val_text_at(env, N(valueFrom), N(configMapKeyRef), N(name)));
        name_one(n, K(Secret), val_text_at(env, N(valueFrom), N(secretKeyRef), N(name)));
    }
}

void source_names(const struct obj *pod, void (*fn)(void *arg, const struct kind *kind, struct str name), void *arg)
{
    const struct namer n = {fn, arg};
    const struct val *spec = obj_spec(pod);
    static const struct name *const lists[] = {N(initContainers), N(containers), N(ephemeralContainers)};
    for (size_t i = 0; i < countof(lists); i++)
        val_each_item (c, val_get(spec, lists[i]))
            names_of_container(&n, c);
    val_each_item (v, val_get(spec, N(volumes))) {
        name_one(&n, K(ConfigMap), val_text_at(v, N(configMap), N(name)));
        name_one(&n, K(Secret), val_text_at(v, N(secret), N(secretName)));
        val_each_item (s, val_at(v, N(projected), N(sources))) {
            name_one(&n, K(ConfigMap), val_text_at(s, N(configMap), N(name)));
            name_one(&n, K(Secret), val_text_at(s, N(secret), N(name)));
        }
    }
    val_each_item (s, val_get(spec, N(imagePullSecrets)))
        name_one(&n, K(Secret), val_text_at(s, N(name)));
}

static bool path_subscript(struct str path, struct str prefix, struct str *key)
{
    if (!str_starts(path, prefix) || !str_ends(path, S("']")))
        return false;
    *key = str_sub(path, prefix.n, path.n - 2);
    return true;
}

static void add_map(struct strbuf *b, const struct val *map)
{
    val_each_member (m, map) {
        if (b->n)
            strbuf_addc(b, '\n');
        strbuf_addf(b, STR_FMT "=", STR_ARG(m->name->s));
        add_quoted(b, val_text(&m->v));
    }
}

bool source_field(struct arena *a, const struct sources *s, const struct obj *pod, struct str path, struct str *out,
                  struct err *err)
{
    const struct val *meta = obj_meta(pod);
    struct str key;
    const struct {
        const char *path;
        struct str text;
    } rows[] = {
        {"metadata.name", pod->name},
        {"metadata.namespace", pod->ns},
        {"metadata.uid", pod->uid},
        {"spec.nodeName", s->node_name},
        {"spec.serviceAccountName", val_text_at(obj_spec(pod), N(serviceAccountName))},
        {"status.hostIP", s->host_ip},
        {"status.hostIPs", s->host_ip},
        {"status.podIP", s->pod_ip},
        {"status.podIPs", s->pod_ip},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        if (str_eqz(path, rows[i].path)) {
            *out = rows[i].text;
            return true;
        }
    }
    if (path_subscript(path, S("metadata.labels['"), &key)) {
        *out = val_text(val_get_str(val_get(meta, N(labels)), key));
        return true;
    }
    if (path_subscript(path, S("metadata.annotations['"), &key)) {
        *out = val_text(val_get_str(val_get(meta, N(annotations)), key));
        return true;
    }
    if (str_eq(path, S("metadata.labels")) || str_eq(path, S("metadata.annotations"))) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(FIELD_MOST);
        add_map(&b, val_get(meta, str_eq(path, S("metadata.labels")) ? N(labels) : N(annotations)));
        *out = str_dup(a, strbuf_str(&b));
        return !b.over ||
               err_set(err, E_TOO_LARGE, STR_FMT ": more than %d bytes as a text", STR_ARG(path), FIELD_MOST);
    }
    return err_set(err, E_INVALID, "unsupported fieldPath: " STR_FMT, STR_ARG(path));
}

bool source_resource(struct arena *a, const struct sources *s, const struct val *pod_spec, const struct val *ref,
                     struct str own_container, struct str *out, struct err *err)
{
    struct str container = val_text_at(ref, N(containerName)), kind, resource, divisor = val_text_at(ref, N(divisor));
    const struct val *c = val_find(val_get(pod_spec, N(containers)), N(name),
                                   container.n ? container : own_container);
    if (!c)
        c = val_find(val_get(pod_spec, N(initContainers)), N(name), container.n ? container : own_container);
    if (!c)
        return err_set(err, E_INVALID, "resourceFieldRef: container \"" STR_FMT "\" not found", STR_ARG(container));
    if (!str_split(val_text_at(ref, N(resource)), '.', &kind, &resource))
        return err_set(err, E_INVALID, "unsupported container resource: " STR_FMT,
                       STR_ARG(val_text_at(ref, N(resource))));
    const struct val *resources = val_get(c, N(resources));
    const struct val *q = NULL;
    if (str_eq(kind, S("requests"))) {
        q = val_get_str(val_get(resources, N(requests)), resource);
    } else {
        q = val_get_str(val_get(resources, N(limits)), resource);
        if (!q || quantity_milli(val_text(q)) == 0)
            q = val_get_str(val_at(pod_spec, N(resources), N(limits)), resource);
        if (!q || quantity_milli(val_text(q)) == 0)
            q = val_get_str(s->allocatable, resource);
    }
    bool cpu = str_eq(resource, S("cpu"));
    int64_t have = cpu ? quantity_milli(val_text(q)) : quantity_value(val_text(q));
    int64_t unit = cpu ? quantity_milli(divisor) : quantity_value(divisor);
    if (unit <= 0)
        unit = cpu ? 1000 : 1;
    *out = arena_fmt(a, "%lld", (long long)(have / unit + (have % unit != 0)));
    return true;
}

static const char *kind_word(const struct kind *kind)
{
    return kind == K(Secret) ? "secret" : "configmap";
}

static const struct obj *source_get(const struct sources *s, const struct kind *kind, struct str ns, struct str name,
                                    bool optional, bool *ok, struct err *err)
{
    enum source_state state = SOURCE_UNKNOWN;
    const struct obj *o = s->get(s->arg, kind, ns, name, &state);
    *ok = true;
    if (o)
        return o;
    if (state == SOURCE_UNKNOWN)
        *ok = err_set(err, E_UNAVAILABLE, "%s \"" STR_FMT "\" has not been heard of yet", kind_word(kind),
                      STR_ARG(name));
    else if (!optional)
        *ok = err_set(err, E_NOT_FOUND, "%s \"" STR_FMT "\" not found", kind_word(kind), STR_ARG(name));
    return NULL;
}

struct str source_bytes(const struct val *member)
{
    return val_is(member, VAL_BYTES) ? val_raw(member) : val_text(member);
}

bool source_key(struct arena *a, const struct sources *s, const struct kind *kind, struct str ns,
                const struct val *ref, struct str *out, bool *found, struct err *err)
{
    bool ok, optional = val_true(val_get(ref, N(optional)));
    struct str key = val_text_at(ref, N(key));
    const struct obj *o = source_get(s, kind, ns, val_text_at(ref, N(name)), optional, &ok, err);
    *found = false;
    if (!o)
        return ok;
    const struct val *v = val_get_str(val_get(&o->tree, N(data)), key);
    if (!v)
        return optional ||
               err_set(err, E_NOT_FOUND, "couldn't find key " STR_FMT " in %s " STR_FMT "/" STR_FMT, STR_ARG(key),
                       kind == K(Secret) ? "Secret" : "ConfigMap", STR_ARG(ns), STR_ARG(o->name));
    *out = str_dup(a, source_bytes(v));
    *found = true;
    return true;
}

bool source_object(const struct sources *s, const struct kind *kind, struct str ns, struct str name, bool optional,
                   const struct obj **out, struct err *err)
{
    bool ok;
    *out = source_get(s, kind, ns, name, optional, &ok, err);
    return ok;
}

const struct val *source_member(const struct obj *o, struct str key)
{
    const struct val *v = val_get_str(val_get(&o->tree, N(data)), key);
    return v ? v : val_get_str(val_get(&o->tree, N(binaryData)), key);
}
