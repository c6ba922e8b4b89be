#include "server/remotes_read.h"
#include "api/codec.h"
#include "server/negotiate.h"
#include "wire/json.h"

bool remote_is_aggregated(struct str content_type)
{
    struct str type, rest, version = media_param(content_type, "v");
    if (!str_split(content_type, ';', &type, &rest))
        return false;
    return str_ieq(str_trim(type), S("application/json")) &&
           str_eqz(media_param(content_type, "g"), "apidiscovery.k8s.io") &&
           str_eqz(media_param(content_type, "as"), "APIGroupDiscoveryList") &&
           (str_eqz(version, "v2") || str_eqz(version, "v2beta1"));
}

static bool answer_decode(struct arena *a, const struct type *t, const char *kind, struct str body, struct val *out,
                          struct err *err)
{
    struct str api_version, name;
    if (json_values(body) > REMOTE_VALUES)
        return err_set(err, E_TOO_LARGE, "the answer holds more than %d values", REMOTE_VALUES);
    if (!json_type_meta(a, body, &api_version, &name, err))
        return false;
    if (!str_eqz(name, kind))
        return err_set(err, E_BAD_REQUEST, "the answer is no %s but has the kind \"" STR_FMT "\"", kind,
                       STR_ARG(str_sub(name, 0, 100)));
    return type_decode_json(a, t, body, out, NULL, err);
}

static struct val version_of(struct arena *a, struct str version, const struct val *resources)
{
    struct val v = val_map();
    val_set_text(a, &v, N(version), version);
    if (val_len(resources))
        val_set(a, &v, N(resources), *resources);
    return v;
}

bool remote_aggregated_read(struct arena *a, struct str body, struct str group, struct str version, struct val *out,
                            struct err *err)
{
    struct val list;
    if (!answer_decode(a, T(apidiscovery_v2_APIGroupDiscoveryList), "APIGroupDiscoveryList", body, &list, err))
        return false;
    const struct val *found = NULL;
    val_each_item (g, val_get(&list, N(items)))
        if (str_eq(val_text_at(g, N(metadata), N(name)), group))
            val_each_item (v, val_get(g, N(versions)))
                if (str_eq(val_text_at(v, N(version)), version))
                    found = v;
    *out = version_of(a, version, val_get(found, N(resources)));
    return true;
}

/* --- from an APIResourceList --- */

static struct val kind_of(struct arena *a, const struct val *resource)
{
    struct val kind = val_map();
    val_set_text(a, &kind, N(group), val_text_at(resource, N(group)));
    val_set_text(a, &kind, N(version), val_text_at(resource, N(version)));
    val_set_text(a, &kind, N(kind), val_text_at(resource, N(kind)));
    return kind;
}

static void copy_texts(struct arena *a, struct val *to, const struct val *from, const struct name *name)
{
    if (val_len(val_get(from, name)))
        val_set(a, to, name, *val_get(from, name));
}

static struct val *resource_add(struct arena *a, struct val *list, struct str name, bool namespaced, struct val kind)
{
    struct val *r = val_add(a, list, val_map());
    val_set_text(a, r, N(resource), name);
    val_set(a, r, N(responseKind), kind);
    val_set_text(a, r, N(scope), namespaced ? S("Namespaced") : S("Cluster"));
    return r;
}

static struct val *resource_find(struct val *list, struct str name)
{
    for (uint32_t i = 0; i < list->n; i++)
        if (str_eq(val_text_at(&list->list[i], N(resource)), name))
            return &list->list[i];
    return NULL;
}

/* A subresource without a resource gets one of its own, as upstream makes it. */
static bool subresource_add(struct arena *a, struct val *list, const struct val *r, struct err *err)
{
    struct str parent, sub;
    if (!str_split(val_text_at(r, N(name)), '/', &parent, &sub))
        return true;
    bool namespaced = val_true(val_get(r, N(namespaced)));
    struct val *to = resource_find(list, parent);
    if (!to)
        to = resource_add(a, list, parent, namespaced, val_map());
    if (str_eqz(val_text_at(to, N(scope)), "Namespaced") != namespaced)
        return err_set(err, E_BAD_REQUEST,
                       "parent " STR_FMT " and subresource " STR_FMT " of it are not of the same scope",
                       STR_ARG(str_sub(parent, 0, 100)), STR_ARG(str_sub(sub, 0, 100)));
    struct val *subs = val_get_mut(to, N(subresources));
    if (!subs)
        subs = val_set(a, to, N(subresources), val_list());
    struct val *s = val_add(a, subs, val_map());
    val_set_text(a, s, N(subresource), sub);
    val_set(a, s, N(responseKind), val_text_at(r, N(kind)).n ? kind_of(a, r) : val_map());
    copy_texts(a, s, r, N(verbs));
    return true;
}

bool remote_resources_read(struct arena *a, struct str body, struct str version, struct val *out, struct err *err)
{
    struct val answer, list = val_list();
    if (!answer_decode(a, T(meta_v1_APIResourceList), "APIResourceList", body, &answer, err))
        return false;
    const struct val *resources = val_get(&answer, N(resources));
    if (val_len(resources) > 2000) /* each subresource looks for its resource */
        return err_set(err, E_TOO_LARGE, "the answer holds more than 2000 resources");
    val_each_item (r, resources) {
        struct str name = val_text_at(r, N(name));
        if (str_find_char(name, '/') >= 0)
            continue;
        struct val *to = resource_add(a, &list, name, val_true(val_get(r, N(namespaced))), kind_of(a, r));
        val_set_text(a, to, N(singularResource), val_text_at(r, N(singularName)));
        copy_texts(a, to, r, N(verbs));
        copy_texts(a, to, r, N(shortNames));
        copy_texts(a, to, r, N(categories));
    }
    val_each_item (r, resources)
        if (!subresource_add(a, &list, r, err))
            return false;
    *out = version_of(a, version, &list);
    return true;
}

/* --- OpenAPI v3 --- */

bool remote_index_read(struct arena *a, struct str body, struct str group, struct str version, struct str *url,
                       struct err *err)
{
    struct val index;
    *url = S("");
    if (json_values(body) > REMOTE_VALUES)
        return err_set(err, E_TOO_LARGE, "the index holds more than %d values", REMOTE_VALUES);
    if (!json_decode(a, body, &index, err))
        return false;
    struct str path = arena_fmt(a, "apis/" STR_FMT "/" STR_FMT, STR_ARG(group), STR_ARG(version));
    struct str said = val_text(
        val_get_str(val_get_str(val_get_str(&index, S("paths")), path), S("serverRelativeURL")));
    struct str own = arena_fmt(a, "/openapi/v3/" STR_FMT, STR_ARG(path));
    if (str_starts(said, own) && said.n < 1024 && (said.n == own.n || said.p[own.n] == '?'))
        *url = said;
    return true;
}
