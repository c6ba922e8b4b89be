/* validate_schema.c - whether the schema in a definition may be so: that it is structural, that its defaults hold,
 * and what its keywords may be together. Three walks, as upstream's: the structural one (whose complaints are sorted
 * as text), that over the defaults, and that over the keywords. */
#include "api/rules_int.h"
#include "api/schema.h"
#include "base/regex.h"
#include <stdlib.h>

enum level { LEVEL_ROOT, LEVEL_FIELD, LEVEL_ITEM };

static bool is_true(const struct val *props, const struct name *name)
{
    return val_true(val_get(props, name));
}

static bool schema_has(const struct val *props, const struct name *name)
{
    return val_get(props, name) != NULL;
}

static struct str text_at(const struct val *props, const struct name *name)
{
    return val_text(val_get(props, name));
}

/* A schema, not a bool or a list. */
static const struct val *schema_at(const struct val *props, const struct name *name)
{
    const struct val *v = val_get(props, name);
    return val_is(v, VAL_MAP) ? v : NULL;
}

static int by_member_name(const void *x, const void *y)
{
    return str_cmp((*(const struct member *const *)x)->name->s, (*(const struct member *const *)y)->name->s);
}

/* By name: upstream goes over them in any order. */
static const struct member **by_names(struct arena *a, const struct val *map, size_t *n)
{
    const struct member **list = arena_alloc(a, (val_len(map) + 1) * sizeof *list);
    *n = 0;
    val_each_member (m, map)
        list[(*n)++] = m;
    qsort(list, *n, sizeof *list, by_member_name);
    return list;
}

#define each_property(m, a, map)                                                                                     \
    for (size_t n_##m = 0, i_##m = 0, once_##m = 1; once_##m; once_##m = 0)                                          \
        for (const struct member **list_##m = by_names((a), (map), &n_##m), *m = n_##m ? list_##m[0] : NULL;         \
             i_##m < n_##m; m = ++i_##m < n_##m ? list_##m[i_##m] : NULL)

/* --- what cannot be made structural at all --- */

static bool is_unsupported(const struct val *props)
{
    const struct val *items = val_get(props, N(items));
    return schema_has(props, N(id)) || schema_has(props, N(additionalItems)) ||
           val_len(val_get(props, N(patternProperties))) || val_len(val_get(props, N(definitions))) ||
           schema_has(props, N(dependencies)) || schema_has(props, N(_ref)) ||
           str_eqz(text_at(props, N(type)), "null") || (val_is(items, VAL_LIST) && val_len(items));
}

typedef bool schema_test(const struct val *props);

/* Whether it holds of a schema or of one below. */
static bool schema_any(const struct val *props, schema_test *test);
static bool schemas_any(const struct val *list, schema_test *test)
{
    val_each_item (it, list)
        if (schema_any(it, test))
            return true;
    val_each_member (m, list)
        if (schema_any(&m->v, test))
            return true;
    return false;
}

static bool schema_any(const struct val *props, schema_test *test)
{
    static const struct name *const lists[] = {N(allOf),      N(anyOf), N(oneOf), N(properties), N(patternProperties),
                                               N(definitions)};
    static const struct name *const single[] = {N(not ), N(additionalProperties), N(additionalItems), N(items)};
    const struct val *items = val_get(props, N(items));
    if (!val_is(props, VAL_MAP))
        return false;
    if (test(props))
        return true;
    for (size_t i = 0; i < countof(lists); i++)
        if (schemas_any(val_get(props, lists[i]), test))
            return true;
    for (size_t i = 0; i < countof(single); i++)
        if (schema_any(val_get(props, single[i]), test))
            return true;
    return val_is(items, VAL_LIST) && schemas_any(items, test);
}

static bool too_deep(const struct val *v, unsigned left)
{
    if (!left)
        return true;
    val_each_item (it, v)
        if (too_deep(it, left - 1))
            return true;
    val_each_member (m, v)
        if (too_deep(&m->v, left - 1))
            return true;
    return false;
}

/* --- structural --- */

static void check_nested(ERRS, const struct val *props, bool skip_any, enum level level);

static void check_value_rules(ERRS, const struct val *props, bool skip_any, bool skip_first_all, enum level level)
{
    const struct val *any = val_get(props, N(anyOf)), *all = val_get(props, N(allOf)),
                     *one = val_get(props, N(oneOf));
    struct str pattern = text_at(props, N(pattern));
    if (!skip_any)
        each (it, any)
            check_nested(e, ITEM(AT(at, "anyOf"), INDEX(any, it)), it, false, level);
    each (it, all)
        check_nested(e, ITEM(AT(at, "allOf"), INDEX(all, it)), it, skip_first_all && it == all->list, level);
    each (it, one)
        check_nested(e, ITEM(AT(at, "oneOf"), INDEX(one, it)), it, false, level);
    if (schema_at(props, N(not )))
        check_nested(e, AT(at, "not"), schema_at(props, N(not )), false, level);
    struct err err = ERR;
    struct arena scratch = ARENA;
    if (pattern.n && !regex_compile(&scratch, pattern, &err))
        bad_text(e, AT(at, "pattern"), pattern, "must be a valid regular expression, but isn't: %s", err.text);
    arena_fini(&scratch);
}

static void check_nested(ERRS, const struct val *props, bool skip_any, enum level level)
{
    static const char empty[] = "must be empty to be structural", none[] = "must be undefined to be structural",
                      no[] = "must be false to be structural";
    check_value_rules(e, at, props, skip_any, false, level);
    if (schema_at(props, N(items)))
        check_nested(e, AT(at, "items"), schema_at(props, N(items)), false, level);
    each_property(m, e->arena, val_get(props, N(properties)))
        check_nested(e, KEY(AT(at, "properties"), m->name->s), &m->v, false, LEVEL_FIELD);
    static const struct {
        const struct name *name;
        const char *shown;
        enum { FORBID_TEXT, FORBID_THERE, FORBID_TRUE, FORBID_LIST } when;
        const char *detail;
    } forbidden[] = {
        {N(type), "type", FORBID_TEXT, empty},
        {N(additionalProperties), "additionalProperties", FORBID_THERE, none},
        {N(default), "default", FORBID_THERE, none},
        {N(title), "title", FORBID_TEXT, empty},
        {N(description), "description", FORBID_TEXT, empty},
        {N(nullable), "nullable", FORBID_TRUE, no},
        {N(x_kubernetes_preserve_unknown_fields), "x-kubernetes-preserve-unknown-fields", FORBID_TRUE, no},
        {N(x_kubernetes_embedded_resource), "x-kubernetes-embedded-resource", FORBID_TRUE, no},
        {N(x_kubernetes_int_or_string), "x-kubernetes-int-or-string", FORBID_TRUE, no},
        {N(x_kubernetes_list_map_keys), "x-kubernetes-list-map-keys", FORBID_LIST, empty},
        {N(x_kubernetes_list_type), "x-kubernetes-list-type", FORBID_THERE, none},
        {N(x_kubernetes_map_type), "x-kubernetes-map-type", FORBID_THERE, none},
        {N(x_kubernetes_validations), "x-kubernetes-validations", FORBID_LIST, empty},
    };
    for (size_t i = 0; i < countof(forbidden); i++) {
        const struct val *v = val_get(props, forbidden[i].name);
        bool bad = false;
        switch (forbidden[i].when) {
        case FORBID_TEXT: bad = val_text(v).n; break;
        case FORBID_THERE: bad = v != NULL; break;
        case FORBID_TRUE: bad = val_true(v); break;
        case FORBID_LIST: bad = val_len(v); break;
        }
        if (bad)
            bad_forbidden(e, AT(at, forbidden[i].shown), "%s", forbidden[i].detail);
    }
    if (val_get(val_get(props, N(properties)), N(metadata)))
        bad_forbidden(e, KEY(AT(at, "properties"), S("metadata")), "must not be specified in a nested context");
}

/* [{type: integer}, {type: string}] */
static bool is_int_or_string(const struct val *any)
{
    static const char *const want[] = {"integer", "string"};
    if (val_len(any) != 2)
        return false;
    for (size_t i = 0; i < 2; i++)
        if (val_len(val_item(any, i)) != 1 || !str_eqz(text_at(val_item(any, i), N(type)), want[i]))
            return false;
    return true;
}

static void check_metadata_schema(ERRS, const struct val *props, bool is_resource, enum level level)
{
    if (is_resource && !str_eqz(text_at(props, N(type)), "object"))
        bad_text(e, AT(at, "type"), text_at(props, N(type)), "must be object");
    if (level != LEVEL_ROOT)
        return;
    const struct val *inner = val_get(props, N(properties));
    bool odd = false;
    val_each_member (m, inner)
        odd |= m->name != N(name) && m->name != N(generateName);
    val_each_member (m, props)
        odd |= m->name != N(type) && m->name != N(default) && m->name != N(properties) && m->name != N(example) &&
               m->name != N(externalDocs) && m->name != N(_schema);
    if (odd)
        bad_forbidden(e, at,
                      "must not specify anything other than name and generateName, but metadata is implicitly "
                      "specified");
}

static void check_type_is_there(ERRS, const struct val *props, enum level level)
{
    struct str type = text_at(props, N(type));
    bool embedded = is_true(props, N(x_kubernetes_embedded_resource));
    static const char *const missing[] = {
        [LEVEL_ROOT] = "must not be empty at the root",
        [LEVEL_FIELD] = "must not be empty for specified object fields",
        [LEVEL_ITEM] = "must not be empty for specified array items",
    };
    if (embedded && !str_eqz(type, "object")) {
        if (type.n)
            bad_text(e, AT(at, "type"), type, "must be object if x-kubernetes-embedded-resource is true");
        else
            bad_required(e, AT(at, "type"), "must be object if x-kubernetes-embedded-resource is true");
    } else if (!type.n && !is_true(props, N(x_kubernetes_int_or_string)) &&
               !is_true(props, N(x_kubernetes_preserve_unknown_fields))) {
        bad_required(e, AT(at, "type"), missing[level]);
    }
    if (level == LEVEL_ROOT && type.n && !str_eqz(type, "object"))
        bad_text(e, AT(at, "type"), type, "must be object at the root");
}

static void check_structure(ERRS, const struct val *props, enum level level)
{
    const struct val *properties = val_get(props, N(properties)), *more = val_get(props, N(additionalProperties));
    bool embedded = is_true(props, N(x_kubernetes_embedded_resource)),
         either = is_true(props, N(x_kubernetes_int_or_string)),
         keeps = is_true(props, N(x_kubernetes_preserve_unknown_fields)), resource = level == LEVEL_ROOT || embedded;
    if (str_eqz(text_at(props, N(type)), "array") && !schema_has(props, N(items)))
        bad_required(e, AT(at, "items"), "must be specified");
    if (schema_at(props, N(items)))
        check_structure(e, AT(at, "items"), schema_at(props, N(items)), LEVEL_ITEM);
    each_property(m, e->arena, properties)
        check_structure(e, KEY(AT(at, "properties"), m->name->s), &m->v, LEVEL_FIELD);
    if (more && level == LEVEL_ROOT)
        bad_forbidden(e, AT(at, "additionalProperties"), "must not be used at the root");
    if (val_is(more, VAL_MAP))
        check_structure(e, AT(at, "additionalProperties"), more, LEVEL_FIELD);
    if (either && keeps)
        bad_value(e, AT(at, "x-kubernetes-preserve-unknown-fields"), &(struct val){.type = VAL_BOOL, .b = true},
                  "must be false if x-kubernetes-int-or-string is true");
    if (either && embedded)
        bad_value(e, AT(at, "x-kubernetes-embedded-resource"), &(struct val){.type = VAL_BOOL, .b = true},
                  "must be false if x-kubernetes-int-or-string is true");
    check_value_rules(e, at, props, is_int_or_string(val_get(props, N(anyOf))),
                      is_int_or_string(val_get(val_item(val_get(props, N(allOf)), 0), N(anyOf))), level);
    check_type_is_there(e, at, props, level);
    if (embedded && more)
        bad_forbidden(e, AT(at, "additionalProperties"), "must not be used if x-kubernetes-embedded-resource is set");
    static const struct name *const texts[] = {N(kind), N(apiVersion)};
    for (size_t i = 0; resource && i < countof(texts); i++) {
        const struct val *p = val_get(properties, texts[i]);
        if (p && !str_eqz(text_at(p, N(type)), "string"))
            bad_text(e, AT(KEY(AT(at, "properties"), texts[i]->s), "type"), text_at(p, N(type)), "must be string");
    }
    if (val_get(properties, N(metadata)))
        check_metadata_schema(e, KEY(AT(at, "properties"), S("metadata")), val_get(properties, N(metadata)), resource,
                              level);
    if (embedded && !keeps && !val_len(properties))
        bad_required(e, AT(at, "properties"),
                     "must not be empty if x-kubernetes-embedded-resource is true without "
                     "x-kubernetes-preserve-unknown-fields");
}

/* Every field and list that a combination of the root speaks of must be described outside of it. */
static void check_complete(ERRS, const struct val *nested, const struct val *outside, const struct at *nested_at);

static void check_complete_rules(ERRS, const struct val *nested, const struct val *outside,
                                 const struct at *nested_at)
{
    static const struct {
        const struct name *name;
        const char *shown;
    } lists[] = {{N(allOf), "allOf"}, {N(anyOf), "anyOf"}, {N(oneOf), "oneOf"}};
    if (schema_at(nested, N(not )))
        check_complete(e, at, schema_at(nested, N(not )), outside, AT(nested_at, "not"));
    for (size_t i = 0; i < countof(lists); i++) {
        const struct val *list = val_get(nested, lists[i].name);
        each (it, list)
            check_complete(e, at, it, outside, ITEM(AT(nested_at, lists[i].shown), INDEX(list, it)));
    }
}

static void check_complete(ERRS, const struct val *nested, const struct val *outside, const struct at *nested_at)
{
    AUTO(strbuf_fini) struct strbuf why = STRBUF(STRBUF_TEXT);
    strbuf_addz(&why, "because it is defined in ");
    if (!outside) {
        at_text(&why, nested_at);
        return bad_required(e, at, why.p);
    }
    check_complete_rules(e, at, nested, outside, nested_at);
    if (schema_at(nested, N(items)))
        check_complete(e, AT(at, "items"), schema_at(nested, N(items)), schema_at(outside, N(items)),
                       AT(nested_at, "items"));
    each_property(m, e->arena, val_get(nested, N(properties))) check_complete(
        e, KEY(AT(at, "properties"), m->name->s), &m->v, val_get_str(val_get(outside, N(properties)), m->name->s),
        KEY(AT(nested_at, "properties"), m->name->s));
}

static int by_error_text(const void *x, const void *y)
{
    const struct field_error *a = x, *b = y;
    AUTO(strbuf_fini) struct strbuf s = STRBUF(STRBUF_TEXT), t = STRBUF(STRBUF_TEXT);
    strbuf_addf(&s, STR_FMT ": " STR_FMT, STR_ARG(a->field), STR_ARG(a->text));
    strbuf_addf(&t, STR_FMT ": " STR_FMT, STR_ARG(b->field), STR_ARG(b->text));
    return str_cmp(strbuf_str(&s), strbuf_str(&t));
}

static bool check_structural(ERRS, const struct val *props)
{
    size_t before = e->list.n;
    check_structure(e, at, props, LEVEL_ROOT);
    check_complete_rules(e, at, props, props, at);
    if (e->list.n > before + 1)
        qsort(e->list.p + before, e->list.n - before, sizeof *e->list.p, by_error_text);
    return e->list.n == before;
}

/* --- defaults --- */

static void check_defaults(ERRS, const struct schema_node *n, bool resource, bool in_meta)
{
    if (!n || !(n->flags & SCHEMA_DEFAULTS))
        return;
    resource |= (n->flags & SCHEMA_EMBEDDED) != 0;
    if (n->flags & SCHEMA_EMBEDDED)
        in_meta = false;
    if (n->dflt) {
        AUTO(strbuf_fini) struct strbuf path = STRBUF(STRBUF_TEXT);
        const struct at *here = AT(at, "default");
        at_text(&path, here);
        if (!in_meta && !schema_knows_all(e->arena, n, n->dflt))
            bad_value(e, here, n->dflt, "must not have unknown fields");
        size_t before = e->list.n;
        if (!in_meta)
            schema_validate_resource_at(n, strbuf_str(&path), n->dflt, resource, e);
        if (e->list.n == before)
            schema_validate_at(n, strbuf_str(&path), n->dflt, NULL, e);
    }
    if (!(n->flags & SCHEMA_OPEN))
        check_defaults(e, AT(at, "items"), schema_node(n->type.of), false, in_meta);
    for (uint16_t i = 0; i < n->type.nfields; i++) {
        const struct field *f = &n->type.fields[i];
        bool meta = resource && (f->name == N(metadata) || f->name == N(apiVersion) || f->name == N(kind));
        check_defaults(e, KEY(AT(at, "properties"), f->name->s),
                       meta && f->name == N(metadata) ? n->meta : schema_node(f->type), false, in_meta || meta);
    }
}

/* --- paths of fields --- */

/* '.', '[' and ']' are tokens, what is between them is one each, and so is 'what is quoted'. False: at the end. */
static bool path_token(struct str *rest, struct str *token)
{
    size_t n = 0;
    if (!rest->n)
        return false;
    if (rest->p[0] == '.' || rest->p[0] == '[' || rest->p[0] == ']') {
        n = 1;
    } else if (rest->p[0] == '\'') {
        for (n = 1; n < rest->n && rest->p[n] != '\''; n++)
            n += rest->p[n] == '\\';
        n = MIN(n + 1, rest->n);
    } else {
        while (n < rest->n && !strchr(".[]", rest->p[n]))
            n++;
    }
    *token = str_sub(*rest, 0, n);
    *rest = str_sub(*rest, n, rest->n);
    return true;
}

static bool path_quoted(struct arena *a, struct str token, struct str *out)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    if (token.n < 2 || token.p[0] != '\'' || token.p[token.n - 1] != '\'')
        return false;
    for (size_t i = 1; i + 1 < token.n; i++) {
        i += token.p[i] == '\\' && i + 2 < token.n;
        strbuf_addc(&b, token.p[i]);
    }
    *out = str_dup(a, strbuf_str(&b));
    return true;
}

bool schema_field_path(struct arena *a, const struct val *props, struct str path, bool quoted,
                       const struct val **found, struct str *plain, struct err *err)
{
    static const char end[] = "unexpected end of JSON path", none[] = "does not refer to a valid field";
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct str token, name;
    while (path_token(&path, &token)) {
        bool bracket = str_eqz(token, "[");
        if (!bracket && !str_eqz(token, "."))
            return err_set(err, E_INVALID, "expected [ or . but got: " STR_FMT, STR_ARG(token));
        if (bracket && !quoted)
            return err_set(err, E_INVALID, "array notation is not allowed");
        if (!path_token(&path, &name))
            return err_set(err, E_INVALID, "%s", end);
        if (bracket && !path_quoted(a, name, &token))
            return err_set(err, E_INVALID, "expected single quoted string but got " STR_FMT, STR_ARG(name));
        if (bracket)
            name = token;
        const struct val *properties = val_get(props, N(properties)),
                         *more = schema_at(props, N(additionalProperties));
        if (!val_len(properties) && !more)
            return err_set(err, E_INVALID, "%s", none);
        if (bracket && (!path_token(&path, &token) || !str_eqz(token, "]")))
            return err_set(err, E_INVALID, "%s", end);
        bool named = val_len(properties) > 0;
        props = named ? val_get_str(properties, name) : more;
        if (!props)
            return err_set(err, E_INVALID, "%s", none);
        if (named)
            strbuf_addf(&b, "%s" STR_FMT, b.n ? "." : "", STR_ARG(name));
        else
            strbuf_addf(&b, "[" STR_FMT "]", STR_ARG(name));
    }
    *found = props;
    *plain = str_dup(a, strbuf_str(&b));
    return true;
}

/* --- keywords --- */

/* What holds of a schema by where it stands. */
struct place_of {
    bool root, in_meta;
    const char *no_defaults; /* why; NULL: they are allowed */
};

static const char *const property_types[] = {"array", "boolean", "integer", "number", "object", "string", NULL};

static bool one_of(struct str s, const char *const *values)
{
    for (size_t i = 0; values[i]; i++)
        if (str_eqz(s, values[i]))
            return true;
    return false;
}

static void check_unsupported(ERRS, const struct val *props, const struct place_of *p)
{
    struct str type = text_at(props, N(type));
    const struct val *items = val_get(props, N(items));
    static const struct {
        const struct name *name;
        const char *shown;
    } unsupported[] = {{N(id), "id"},
                       {N(additionalItems), "additionalItems"},
                       {N(patternProperties), "patternProperties"},
                       {N(definitions), "definitions"},
                       {N(dependencies), "dependencies"},
                       {N(_ref), "$ref"}};
    if (type.n && !one_of(type, property_types))
        bad_enum(e, AT(at, "type"), type, property_types);
    if (p->no_defaults && schema_has(props, N(default)))
        bad_forbidden(e, AT(at, "default"), "must not be set %s", p->no_defaults);
    for (size_t i = 0; i < countof(unsupported); i++)
        if (schema_has(props, unsupported[i].name))
            bad_forbidden(e, AT(at, unsupported[i].shown), "%s is not supported", unsupported[i].shown);
    if (str_eqz(type, "null"))
        bad_forbidden(e, AT(at, "type"), "type cannot be set to null, use nullable as an alternative");
    if (val_is(items, VAL_LIST) && val_len(items))
        bad_forbidden(e, AT(at, "items"), "items must be a schema object and not an array");
    if (p->in_meta && is_true(props, N(x_kubernetes_embedded_resource)))
        bad_forbidden(e, AT(at, "x-kubernetes-embedded-resource"), "must not be used inside of resource meta");
}

static void check_set_items(ERRS, const struct val *items)
{
    struct str type = text_at(items, N(type)), list = text_at(items, N(x_kubernetes_list_type)),
               map = text_at(items, N(x_kubernetes_map_type));
    static const char detail[] = "must be atomic as item of a list with x-kubernetes-list-type=set";
    const struct val *shown = val_get(items, N(x_kubernetes_list_type)), null = VAL_NONE;
    if (str_eqz(type, "array") && list.n && !str_eqz(list, "atomic"))
        bad_value(e, AT(at, "x-kubernetes-list-type"), shown, "%s", detail);
    else if (str_eqz(type, "object") && !str_eqz(map, "atomic"))
        bad_value(e, AT(at, "x-kubernetes-map-type"), shown ? shown : &null, "%s", detail);
}

static void check_map_keys(ERRS, const struct val *props, const struct val *items)
{
    const struct val *keys = val_get(props, N(x_kubernetes_list_map_keys));
    AUTO(seen_fini) struct seen seen = SEEN;
    each (key, keys) {
        const struct val *p = val_get_str(val_get(items, N(properties)), val_text(key));
        struct str type = text_at(p, N(type));
        if (p && (str_eqz(type, "array") || str_eqz(type, "object")))
            bad_text(e, AT(KEY(AT(AT(at, "items"), "properties"), val_text(key)), "type"), text_at(items, N(type)),
                     "must be a scalar type if parent array's x-kubernetes-list-type is map");
        else if (!p)
            bad_value(e, AT(at, "x-kubernetes-list-map-keys"), keys, "entries must all be names of item properties");
        if (seen_before(&seen, val_text(key)))
            bad_value(e, AT(at, "x-kubernetes-list-map-keys"), keys, "must not contain duplicate entries");
    }
}

static void check_map_of_list(ERRS, const struct val *props)
{
    const struct val *items = val_get(props, N(items));
    struct str type = text_at(items, N(type));
    if (!val_len(val_get(props, N(x_kubernetes_list_map_keys))))
        bad_required(e, AT(at, "x-kubernetes-list-map-keys"), "must not be empty if x-kubernetes-list-type is map");
    if (!items)
        bad_required(e, AT(at, "items"), "must have a schema if x-kubernetes-list-type is map");
    else if (!val_is(items, VAL_MAP))
        bad_value(e, AT(at, "items"), items, "must only have a single schema if x-kubernetes-list-type is map");
    else if (!str_eqz(type, "object"))
        bad_text(e, AT(AT(at, "items"), "type"), type,
                 "must be object if parent array's x-kubernetes-list-type is map");
    else
        check_map_keys(e, at, props, items);
}

/* What makes the elements of a set or of a map one another's equals must always be there. */
static void check_correlation(ERRS, const struct val *props)
{
    const struct val *items = schema_at(props, N(items)), *required = val_get(items, N(required));
    struct str list = text_at(props, N(x_kubernetes_list_type));
    const struct at *items_at = AT(at, "items");
    if (!items || (!str_eqz(list, "set") && !str_eqz(list, "map")))
        return;
    if (is_true(items, N(nullable)))
        bad_forbidden(e, AT(items_at, "nullable"), "cannot be nullable when x-kubernetes-list-type is " STR_FMT,
                      STR_ARG(list));
    if (!str_eqz(list, "map"))
        return;
    each (key, val_get(props, N(x_kubernetes_list_map_keys))) {
        const struct val *p = val_get_str(val_get(items, N(properties)), val_text(key));
        const struct at *key_at = KEY(AT(items_at, "properties"), val_text(key));
        bool there = !p || schema_has(p, N(default));
        each (r, required)
            there |= str_eq(val_text(r), val_text(key));
        if (!there)
            bad_required(e, AT(key_at, "default"),
                         "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required "
                         "property");
        if (is_true(p, N(nullable)))
            bad_forbidden(e, AT(key_at, "nullable"),
                          "this property is in x-kubernetes-list-map-keys, so it cannot be nullable");
    }
}

static void check_list_and_map(ERRS, const struct val *props)
{
    struct str type = text_at(props, N(type)), list = text_at(props, N(x_kubernetes_list_type)),
               map = text_at(props, N(x_kubernetes_map_type));
    const struct at *type_at = AT(at, "type");
    bool is_list = schema_has(props, N(x_kubernetes_list_type)), is_map = schema_has(props, N(x_kubernetes_map_type));
    if (is_map && !type.n)
        bad_required(e, type_at, "must be object if x-kubernetes-map-type is specified");
    else if (is_map && !str_eqz(type, "object"))
        bad_text(e, type_at, type, "must be object if x-kubernetes-map-type is specified");
    if (is_map && !one_of(map, SET("atomic", "granular")))
        bad_enum(e, AT(at, "x-kubernetes-map-type"), map, SET("atomic", "granular"));
    if (is_list && !type.n)
        bad_required(e, type_at, "must be array if x-kubernetes-list-type is specified");
    else if (is_list && !str_eqz(type, "array"))
        bad_text(e, type_at, type, "must be array if x-kubernetes-list-type is specified");
    else if (str_eqz(list, "set") && schema_at(props, N(items)))
        check_set_items(e, AT(at, "items"), schema_at(props, N(items)));
    if (is_list && !one_of(list, SET("atomic", "set", "map")))
        bad_enum(e, AT(at, "x-kubernetes-list-type"), list, SET("atomic", "set", "map"));
    if (val_len(val_get(props, N(x_kubernetes_list_map_keys)))) {
        if (!is_list)
            bad_required(e, AT(at, "x-kubernetes-list-type"),
                         "must be map if x-kubernetes-list-map-keys is non-empty");
        else if (!str_eqz(list, "map"))
            bad_text(e, AT(at, "x-kubernetes-list-type"), list,
                     "must be map if x-kubernetes-list-map-keys is non-empty");
    }
    if (str_eqz(list, "map"))
        check_map_of_list(e, at, props);
    check_correlation(e, at, props);
}

static bool has_line_break(struct str s)
{
    return str_find_char(s, '\n') >= 0 || str_find_char(s, '\r') >= 0;
}

static void check_rule_texts(ERRS, const struct val *props, const struct val *it)
{
    struct str rule = TEXT(it, rule), message = TEXT(it, message), expression = TEXT(it, messageExpression),
               path = TEXT(it, fieldPath), reason = TEXT(it, reason), trimmed = str_trim(message);
    if (!str_trim(rule).n)
        bad_required(e, AT(at, "rule"), "rule is not specified");
    else if (message.n && !trimmed.n)
        bad_text(e, AT(at, "message"), message, "must be non-empty if specified");
    else if (has_line_break(trimmed))
        bad_text(e, AT(at, "message"), message, "must not contain line breaks");
    else if (has_line_break(str_trim(rule)) && !trimmed.n)
        bad_required(e, AT(at, "message"), "message must be specified if rule contains line breaks");
    if (expression.n && !str_trim(expression).n)
        bad_required(e, AT(at, "messageExpression"), "messageExpression must be non-empty if specified");
    if (HAS(it, reason))
        check_enum(e, AT(at, "reason"), reason, "FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid",
                   "FieldValueRequired");
    if (path.n && !str_trim(path).n)
        bad_text(e, AT(at, "fieldPath"), path, "must be non-empty if specified");
    if (has_line_break(path))
        bad_text(e, AT(at, "fieldPath"), path, "must not contain line breaks");
    struct err ignored = ERR;
    const struct val *found;
    struct str plain;
    if (path.n && !schema_any(props, is_unsupported) &&
        !schema_field_path(e->arena, props, path, true, &found, &plain, &ignored))
        bad_text(e, AT(at, "fieldPath"), path, "must be a valid path");
}

static void check_keywords(ERRS, const struct val *props, struct place_of p);

static void check_keywords_of_list(ERRS, const struct val *list, struct place_of p)
{
    each (it, list)
        check_keywords(e, ITEM(at, INDEX(list, it)), it, p);
}

static void check_keywords_of_map(ERRS, const struct val *map, struct place_of p)
{
    each_property(m, e->arena, map) if (val_is(&m->v, VAL_MAP)) check_keywords(e, KEY(at, m->name->s), &m->v, p);
}

static void check_keywords_below(ERRS, const struct val *props, struct place_of p)
{
    const struct val *more = val_get(props, N(additionalProperties)), *properties = val_get(props, N(properties)),
                     *items = val_get(props, N(items)), *rules = val_get(props, N(x_kubernetes_validations));
    bool resource = p.root || is_true(props, N(x_kubernetes_embedded_resource));
    struct place_of below = p;
    below.root = false;
    if (is_true(props, N(uniqueItems)))
        bad_forbidden(e, AT(at, "uniqueItems"),
                      "uniqueItems cannot be set to true since the runtime complexity becomes quadratic");
    if (more && val_len(properties) && !val_true(more))
        bad_forbidden(e, AT(at, "additionalProperties"), "additionalProperties and properties are mutual exclusive");
    if (val_is(more, VAL_MAP)) {
        struct place_of inside = below;
        if (p.in_meta)
            inside.no_defaults = "inside additionalProperties applying to object metadata";
        check_keywords(e, AT(at, "additionalProperties"), more, inside);
    }
    each_property(m, e->arena, properties)
    {
        struct place_of inside = below;
        if (resource && (m->name == N(metadata) || m->name == N(kind) || m->name == N(apiVersion))) {
            inside.in_meta = true;
            if (p.root)
                inside.no_defaults = arena_fmt(e->arena, "in top-level " STR_FMT, STR_ARG(m->name->s)).p;
        }
        check_keywords(e, KEY(AT(at, "properties"), m->name->s), &m->v, inside);
    }
    if (schema_at(props, N(not )))
        check_keywords(e, AT(at, "not"), schema_at(props, N(not )), below);
    check_keywords_of_list(e, AT(at, "allOf"), val_get(props, N(allOf)), below);
    check_keywords_of_list(e, AT(at, "oneOf"), val_get(props, N(oneOf)), below);
    check_keywords_of_list(e, AT(at, "anyOf"), val_get(props, N(anyOf)), below);
    check_keywords_of_map(e, AT(at, "definitions"), val_get(props, N(definitions)), below);
    if (val_is(items, VAL_MAP))
        check_keywords(e, AT(at, "items"), items, below);
    else
        check_keywords_of_list(e, AT(at, "items"), items, below);
    check_keywords_of_map(e, AT(at, "dependencies"), val_get(props, N(dependencies)), below);
    const struct val *keeps = val_get(props, N(x_kubernetes_preserve_unknown_fields));
    if (val_is(keeps, VAL_BOOL) && !val_true(keeps))
        bad_value(e, AT(at, "x-kubernetes-preserve-unknown-fields"), keeps, "must be true or undefined");
    check_list_and_map(e, at, props);
    each (it, rules)
        check_rule_texts(e, ITEM(AT(at, "x-kubernetes-validations"), INDEX(rules, it)), props, it);
}

static void check_keywords(ERRS, const struct val *props, struct place_of p)
{
    check_unsupported(e, at, props, &p);
    check_keywords_below(e, at, props, p);
}

/* --- the whole --- */

static schema_rules_fn *rules_checker;

void schema_rules_are_checked_by(schema_rules_fn *fn)
{
    rules_checker = fn;
}

void check_schema(ERRS, const struct val *props, const struct val *old)
{
    AUTO(arena_fini) struct arena scratch = ARENA;
    const struct schema *compiled = NULL;
    struct err err = ERR;
    size_t before = e->list.n;
    if (too_deep(props, 2 * SCHEMA_DEPTH))
        return bad_forbidden(e, at, "must not be nested in more than %d levels", SCHEMA_DEPTH);
    if (!schema_any(props, is_unsupported) && check_structural(e, at, props)) {
        if (schema_compile(&scratch, props, &compiled, &err))
            check_defaults(e, at, compiled->root, true, false);
        else
            bad_text(e, at, S(""), "%s", err.text);
    }
    if (e->list.n > before)
        compiled = NULL;
    check_keywords(e, at, props, (struct place_of){.root = true});
    if (e->list.n > before || !compiled || !compiled->nrules || !rules_checker)
        return;
    AUTO(strbuf_fini) struct strbuf path = STRBUF(STRBUF_TEXT);
    at_text(&path, at);
    rules_checker(compiled, old, strbuf_str(&path), e);
}
