/* schema_parts.c - what a schema asks of parts of an object beside their values: that an embedded resource is one,
 * and that sets and maps name nothing twice (upstream's packages objectmeta and listtype). */
#include "api/schema_int.h"

/* --- embedded resources --- */

/* "a/b" or "b". */
static bool is_api_version(struct str s)
{
    struct str head, tail;
    if (!str_split(s, '/', &head, &tail))
        return true;
    return str_find_char(tail, '/') < 0;
}

static void check_embedded_kind(ERRS, const struct val *kind)
{
    struct complaints c = COMPLAINTS(e->arena);
    struct str text = val_text(kind);
    char *low = arena_strz(e->arena, text);
    for (char *p = low; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p + 32);
    if (!val_is(kind, VAL_STRING))
        bad_value(e, at, kind, "must be a string");
    else if (!text.n)
        bad_text(e, at, text, "must not be empty");
    else
        format_dns1035_label(&c, (struct str){low, text.n});
    if (c.n)
        bad_text(e, at, text, "may have mixed case, but should otherwise match: " STR_FMT, STR_ARG(c.texts[0]));
}

static void check_embedded(ERRS, const struct val *v)
{
    const struct val *version = V(v, apiVersion), *kind = V(v, kind), *meta = V(v, metadata);
    const struct at *version_at = AT(at, "apiVersion"), *kind_at = AT(at, "kind"), *meta_at = AT(at, "metadata");
    if (!version)
        bad_required(e, version_at, "");
    if (!kind)
        bad_required(e, kind_at, "");
    if (version && !val_is(version, VAL_STRING))
        bad_value(e, version_at, version, "must be a string");
    else if (version && !val_text(version).n)
        bad_text(e, version_at, S(""), "must not be empty");
    else if (version && !is_api_version(val_text(version)))
        bad_text(e, version_at, val_text(version), "unexpected GroupVersion string: " STR_FMT,
                 STR_ARG(val_text(version)));
    if (kind)
        check_embedded_kind(e, kind_at, kind);
    if (!meta)
        return;
    struct val read;
    struct err err = ERR;
    if (!type_decode_val(e->arena, &type_meta_v1_ObjectMeta, meta, &read, NULL, &err)) {
        bad_value(e, meta_at, meta, "%s", err.text);
        return;
    }
    if (!TEXT(&read, name).n)
        val_set_text(e->arena, &read, N(name), S("fakename"));
    if (!TEXT(&read, namespace).n)
        val_set_text(e->arena, &read, N(namespace), S("fakenamespace"));
    check_meta(e, meta_at, &read, true, format_path_segment, true);
}

void schema_check_resources(ERRS, const struct schema_node *n, const struct val *v, bool resource)
{
    if (!n || (!resource && !(n->flags & SCHEMA_HAS_CHECKS)))
        return;
    if (val_is(v, VAL_LIST)) {
        const struct schema_node *items = schema_items(n);
        val_each_item (it, v)
            schema_check_resources(e, ITEM(at, INDEX(v, it)), items, it, false);
        return;
    }
    if (resource || (n->flags & SCHEMA_EMBEDDED && val_is(v, VAL_MAP)))
        check_embedded(e, at, v);
    val_each_member (m, v) {
        const struct field *f = schema_property(n, m->name);
        if (f)
            schema_check_resources(e, AT(at, arena_strz(e->arena, m->name->s)), schema_node(f->type), &m->v, false);
        else if (schema_values(n))
            schema_check_resources(e, KEY(at, m->name->s), schema_values(n), &m->v, false);
    }
}

/* --- sets and maps --- */

static void bad_duplicate_value(ERRS, const struct val *v)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT), path = STRBUF(STRBUF_TEXT);
    if (errors_full(e))
        return;
    add_value(&b, v);
    at_text(&path, at);
    error_add(e, FE_DUPLICATE, str_dup(e->arena, strbuf_str(&path)), str_dup(e->arena, strbuf_str(&b)), S(""));
}

/* 1.0 is another value than 1. */
static bool seen_exactly(struct seen *s, const struct val *v)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(SIZE_MAX / 2);
    json_encode(&b, v);
    return seen_pair(s, v->type == VAL_DOUBLE ? S(".") : S(""), strbuf_str(&b));
}

/* Each value is complained of once, where it comes the second time. */
static void check_set(ERRS, const struct val *list)
{
    AUTO(seen_fini) struct seen seen = SEEN, told = SEEN;
    val_each_item (it, list)
        if (seen_exactly(&seen, it) && !seen_exactly(&told, it))
            bad_duplicate_value(e, ITEM(at, INDEX(list, it)), it);
}

static void check_map_list(ERRS, const struct schema_node *n, const struct val *list)
{
    AUTO(seen_fini) struct seen seen = SEEN, told = SEEN;
    val_each_item (it, list) {
        if (!val_is(it, VAL_MAP))
            continue;
        struct val keys = val_map();
        for (size_t i = 0; n->list_keys && n->list_keys[i]; i++) {
            const struct val *key = val_get_str(it, n->list_keys[i]->s);
            if (key)
                (void)val_append(e->arena, &keys, n->list_keys[i], *key);
        }
        if (seen_value(&seen, &keys) && !seen_value(&told, &keys))
            bad_duplicate_value(e, ITEM(at, INDEX(list, it)), &keys);
    }
}

void schema_check_lists(ERRS, const struct schema_node *n, const struct val *v)
{
    if (!n || !(n->flags & SCHEMA_HAS_CHECKS))
        return;
    if (val_is(v, VAL_LIST)) {
        const struct schema_node *items = schema_items(n);
        if (n->flags & SCHEMA_LIST_SET)
            check_set(e, at, v);
        else if (n->flags & SCHEMA_LIST_MAP)
            check_map_list(e, at, n, v);
        val_each_item (it, v)
            schema_check_lists(e, ITEM(at, INDEX(v, it)), items, it);
        return;
    }
    val_each_member (m, v) {
        const struct field *f = schema_property(n, m->name);
        if (f)
            schema_check_lists(e, AT(at, arena_strz(e->arena, m->name->s)), schema_node(f->type), &m->v);
        else if (schema_values(n))
            schema_check_lists(e, KEY(at, m->name->s), schema_values(n), &m->v);
    }
}
