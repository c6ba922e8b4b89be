/* The schemas of OpenAPI documents (openapi.c), from the tables of types: a type with a name in OpenAPI is a
 * reference wherever it is used, and one without is written in place; so recursive types (those of JSON schema) end.
 * In 3.0 a reference may have no neighbours, so it stands inside allOf where it would have some. */
#include "api/openapi_int.h"
#include "base/array.h"

static void need_fields(struct openapi_document *d, const struct type *t)
{
    type_fields_each (f, t)
        openapi_need(d, f->type);
}

void openapi_need(struct openapi_document *d, const struct type *t)
{
    if (t->openapi) {
        if (map_get(&d->seen, str_of(t->openapi)))
            return;
        (void)map_put(&d->seen, str_of(t->openapi), (void *)(uintptr_t)t);
    }
    if (t->loose) { /* whatever else it speaks of stands in it */
        openapi_need(d, T(meta_v1_ObjectMeta));
        return;
    }
    if (t->of)
        openapi_need(d, t->of);
    need_fields(d, t);
}

void openapi_add_text(struct strbuf *b, const char *key, const char *text)
{
    json_add_string(b, str_of(key));
    strbuf_addc(b, ':');
    json_add_string(b, str_of(text));
}

void openapi_add_ref(struct openapi_document *d, const struct type *t)
{
    strbuf_addf(d->b, "\"$ref\":\"#/%s/%s\"", d->two ? "definitions" : "components/schemas", t->openapi);
}

/* The members of the schema of a type that is no reference, without the braces. `element`: scalars of lists and maps
 * publish their zero as the default. */
static void add_schema(struct openapi_document *d, const struct type *t, bool element);

static void add_element(struct openapi_document *d, const struct type *t)
{
    struct strbuf *b = d->b;
    strbuf_addc(b, '{');
    if (t->openapi && t->kind == TYPE_STRUCT && !d->two && !d->custom) {
        strbuf_addz(b, "\"allOf\":[{");
        openapi_add_ref(d, t);
        strbuf_addz(b, "}],\"default\":{}");
    } else {
        add_schema(d, t, true);
    }
    strbuf_addc(b, '}');
}

static int by_text(const void *x, const void *y)
{
    return strcmp(*(const char *const *)x, *(const char *const *)y);
}

static void add_enum(struct strbuf *b, const char *const *values)
{
    ARRAY(const char *) sorted = {0};
    for (size_t i = 0; values[i]; i++)
        array_push(&sorted, values[i]);
    qsort(sorted.p, sorted.n, sizeof *sorted.p, by_text);
    strbuf_addz(b, ",\"enum\":[");
    for (size_t i = 0; i < sorted.n; i++) {
        if (i)
            strbuf_addc(b, ',');
        json_add_string(b, str_of(sorted.p[i]));
    }
    strbuf_addc(b, ']');
    array_fini(&sorted);
}

/* "type", "properties" and "required" of a struct. */
static void add_struct(struct openapi_document *d, const struct type *t);

static void add_schema(struct openapi_document *d, const struct type *t, bool element)
{
    struct strbuf *b = d->b;
    if (t->openapi && !(t->kind == TYPE_LIST && t->wrapper)) {
        openapi_add_ref(d, t);
        return;
    }
    const char *zero = NULL;
    switch ((enum type_kind)t->kind) {
    case TYPE_LIST:
        strbuf_addz(b, "\"type\":\"array\",\"items\":");
        add_element(d, t->of);
        break;
    case TYPE_MAP:
        strbuf_addz(b, "\"type\":\"object\",\"additionalProperties\":");
        add_element(d, t->of);
        break;
    case TYPE_STRING:
        strbuf_addz(b, "\"type\":\"string\"");
        zero = "\"\"";
        if (t->values)
            add_enum(b, t->values);
        break;
    case TYPE_BOOL:
        strbuf_addz(b, "\"type\":\"boolean\"");
        zero = "false";
        break;
    case TYPE_INT32:
        strbuf_addz(b, "\"type\":\"integer\",\"format\":\"int32\"");
        zero = "0";
        break;
    case TYPE_INT64:
        strbuf_addz(b, "\"type\":\"integer\",\"format\":\"int64\"");
        zero = "0";
        break;
    case TYPE_DOUBLE:
        strbuf_addz(b, "\"type\":\"number\",\"format\":\"double\"");
        zero = "0";
        break;
    case TYPE_BYTES: strbuf_addz(b, "\"type\":\"string\",\"format\":\"byte\""); break;
    case TYPE_STRUCT: add_struct(d, t); break;
    case TYPE_TIME:
    case TYPE_MICROTIME:
    case TYPE_DURATION:
    case TYPE_QUANTITY:
    case TYPE_INT_OR_STRING:
    case TYPE_ANY:
    case TYPE_SCHEMA_OR_BOOL:
    case TYPE_SCHEMA_OR_ARRAY:
    case TYPE_SCHEMA_OR_STRINGS: strbuf_addz(b, "\"type\":\"object\""); break;
    }
    if (element && zero && !d->two && !d->custom)
        strbuf_addf(b, ",\"default\":%s", zero);
}

static const char *default_of(const struct field *f)
{
    if (f->x->dflt)
        return f->x->dflt;
    if (f->flags & (FIELD_POINTER | FIELD_OMITEMPTY) && f->type->kind != TYPE_STRUCT)
        return NULL;
    if (f->flags & FIELD_POINTER)
        return NULL;
    switch ((enum type_kind)f->type->kind) {
    case TYPE_STRUCT: return "{}";
    case TYPE_STRING: return "\"\"";
    case TYPE_BOOL: return "false";
    case TYPE_INT32:
    case TYPE_INT64:
    case TYPE_DOUBLE: return "0";
    case TYPE_LIST:
    case TYPE_MAP:
    case TYPE_BYTES:
    case TYPE_TIME:
    case TYPE_MICROTIME:
    case TYPE_DURATION:
    case TYPE_QUANTITY:
    case TYPE_INT_OR_STRING:
    case TYPE_ANY:
    case TYPE_SCHEMA_OR_BOOL:
    case TYPE_SCHEMA_OR_ARRAY:
    case TYPE_SCHEMA_OR_STRINGS: return NULL;
    }
    return NULL;
}

static void add_extensions(struct strbuf *b, const struct field *f)
{
    if (f->type->kind == TYPE_LIST) {
        const char *kind = f->flags & FIELD_LIST_MAP   ? "map"
                           : f->flags & FIELD_LIST_SET ? "set"
                           : f->flags & FIELD_ATOMIC   ? "atomic"
                                                       : NULL;
        if (f->x->list_keys) {
            strbuf_addz(b, ",\"x-kubernetes-list-map-keys\":[");
            for (size_t i = 0; f->x->list_keys[i]; i++)
                strbuf_addf(b, "%s\"" STR_FMT "\"", i ? "," : "", STR_ARG(f->x->list_keys[i]->s));
            strbuf_addc(b, ']');
        }
        if (kind)
            strbuf_addf(b, ",\"x-kubernetes-list-type\":\"%s\"", kind);
    } else if (f->type->kind == TYPE_BYTES && f->flags & FIELD_ATOMIC) { /* a list of bytes to upstream */
        strbuf_addz(b, ",\"x-kubernetes-list-type\":\"atomic\"");
    } else if (f->flags & (FIELD_ATOMIC | FIELD_GRANULAR)) {
        strbuf_addf(b, ",\"x-kubernetes-map-type\":\"%s\"", f->flags & FIELD_ATOMIC ? "atomic" : "granular");
    }
    if (f->x->patch_key)
        strbuf_addf(b, ",\"x-kubernetes-patch-merge-key\":\"" STR_FMT "\"", STR_ARG(f->x->patch_key->s));
    if (f->flags & (FIELD_PATCH_MERGE | FIELD_PATCH_RETAIN_KEYS | FIELD_PATCH_REPLACE)) {
        bool merge = f->flags & FIELD_PATCH_MERGE, retain = f->flags & FIELD_PATCH_RETAIN_KEYS;
        strbuf_addf(b, ",\"x-kubernetes-patch-strategy\":\"%s%s%s%s\"", merge ? "merge" : "",
                    merge && retain ? "," : "", retain ? "retainKeys" : "",
                    f->flags & FIELD_PATCH_REPLACE ? "replace" : "");
    }
}

static void add_properties(struct openapi_document *d, const struct type *t, bool *first)
{
    struct strbuf *b = d->b;
    type_fields_each (f, t) {
        if (f->flags & FIELD_INLINE) {
            add_properties(d, f->type, first);
            continue;
        }
        if (f->flags & FIELD_NOJSON)
            continue;
        if (!*first)
            strbuf_addc(b, ',');
        *first = false;
        json_add_string(b, f->name->s);
        strbuf_addz(b, ":{");
        if (field_doc(f)) {
            openapi_add_text(b, "description", field_doc(f));
            strbuf_addc(b, ',');
        }
        if (f->type->openapi && !f->type->wrapper && !d->two) { /* a reference may have no neighbours */
            strbuf_addz(b, "\"allOf\":[{");
            openapi_add_ref(d, f->type);
            strbuf_addz(b, "}]");
        } else {
            add_schema(d, f->type, false);
        }
        const char *dflt = d->two ? NULL : d->custom ? f->x->dflt : default_of(f);
        if (dflt)
            strbuf_addf(b, ",\"default\":%s", dflt);
        add_extensions(b, f);
        strbuf_addc(b, '}');
    }
}

static void add_required(struct strbuf *b, const struct type *t, bool *first)
{
    type_fields_each (f, t) {
        if (f->flags & FIELD_INLINE) {
            add_required(b, f->type, first);
        } else if (f->flags & FIELD_REQUIRED) {
            strbuf_addz(b, *first ? ",\"required\":[" : ",");
            *first = false;
            json_add_string(b, f->name->s);
        }
    }
}

void openapi_add_gvk(struct strbuf *b, struct str group, struct str version, const char *kind)
{
    strbuf_addf(b, "{\"group\":\"" STR_FMT "\",\"kind\":\"%s\",\"version\":\"" STR_FMT "\"}", STR_ARG(group), kind,
                STR_ARG(version));
}

static void add_root_kind(struct openapi_document *d, struct str api_version, const char *kind, bool *any)
{
    struct str group, version;
    if (!str_split(api_version, '/', &group, &version))
        version = group, group = S("");
    strbuf_addz(d->b, *any ? "," : ",\"x-kubernetes-group-version-kind\":[");
    *any = true;
    openapi_add_gvk(d->b, group, version, kind);
}

/* The kinds that this type is the root of. */
static void add_root_kinds(struct openapi_document *d, const struct type *t)
{
    bool any = false;
    for (size_t i = 0; i < nroot_types; i++) {
        const struct root_type *r = &root_types[i];
        if (r->type != t)
            continue;
        if (!str_eqz(str_of(r->api_version), "meta.k8s.io/v1"))
            add_root_kind(d, str_of(r->api_version), r->kind, &any);
        else /* options and the like: in every version */
            for (size_t k = 0; k < d->set->nversions; k++)
                add_root_kind(d, d->set->versions[k].api_version, r->kind, &any);
    }
    for (size_t i = nkinds; i < d->set->n; i++) { /* of run time */
        const struct kind *k = d->set->kinds[i];
        if (openapi_type(k) == t)
            add_root_kind(d, k->api_version, k->kind.p, &any);
        else if (openapi_list_type(k) == t)
            add_root_kind(d, k->api_version, k->list_kind.p, &any);
    }
    if (any)
        strbuf_addc(d->b, ']');
}

static void add_struct(struct openapi_document *d, const struct type *t)
{
    struct strbuf *b = d->b;
    bool first = true;
    strbuf_addz(b, "\"type\":\"object\"");
    if (!t->nfields)
        return;
    strbuf_addz(b, ",\"properties\":{");
    add_properties(d, t, &first);
    strbuf_addc(b, '}');
    first = true;
    add_required(b, t, &first);
    if (!first)
        strbuf_addc(b, ']');
}

/* Of a type of whose members one is set: which member says which, and the others by its values. */
static void add_union(struct strbuf *b, const struct type *t)
{
    const struct type_union *u = type_unions;
    while (u->type && u->type != t)
        u++;
    if (!u->type)
        return;
    strbuf_addz(b, ",\"x-kubernetes-unions\":[{");
    if (u->discriminator)
        strbuf_addf(b, "\"discriminator\":\"%s\",", u->discriminator);
    strbuf_addz(b, "\"fields-to-discriminateBy\":{");
    bool first = true;
    type_fields_each (f, t) {
        struct str name = f->name->s;
        if (u->discriminator && str_eqz(name, u->discriminator))
            continue;
        strbuf_addf(b, "%s\"" STR_FMT "\":\"%c" STR_FMT "\"", first ? "" : ",", STR_ARG(name), name.p[0] - 'a' + 'A',
                    STR_ARG(str_sub(name, 1, name.n)));
        first = false;
    }
    strbuf_addz(b, "}}]");
}

/* Of a definition: its schema is made for this alone. */
static void add_defined(struct openapi_document *d, const struct type *named)
{
    size_t i = nkinds;
    while (openapi_type(d->set->kinds[i]) != named)
        i++;
    AUTO(arena_fini) struct arena a = ARENA;
    openapi_add_nodes(d->b, custom_described(&a, d->set->kinds[i])->root, d->two);
}

void openapi_add_component(struct openapi_document *d, const struct type *t)
{
    struct strbuf *b = d->b;
    strbuf_addf(b, "\"%s\":{", t->openapi);
    if (t->loose) {
        add_defined(d, t);
        add_root_kinds(d, t);
        strbuf_addc(b, '}');
        return;
    }
    openapi_add_text(b, "description", type_doc(t) ? type_doc(t) : t->name);
    switch ((enum type_kind)t->kind) {
    case TYPE_TIME:
    case TYPE_MICROTIME: strbuf_addz(b, ",\"type\":\"string\",\"format\":\"date-time\""); break;
    case TYPE_DURATION: strbuf_addz(b, ",\"type\":\"string\""); break;
    case TYPE_QUANTITY:
        strbuf_addz(b, d->two ? ",\"type\":\"string\"" : ",\"oneOf\":[{\"type\":\"string\"},{\"type\":\"number\"}]");
        break;
    case TYPE_INT_OR_STRING:
        strbuf_addz(b, ",\"format\":\"int-or-string\"");
        strbuf_addz(b, d->two ? ",\"type\":\"string\"" : ",\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}]");
        break;
    case TYPE_LIST:
        strbuf_addz(b, ",\"type\":\"array\",\"items\":");
        add_element(d, t->of);
        break;
    case TYPE_SCHEMA_OR_BOOL:
    case TYPE_SCHEMA_OR_ARRAY:
    case TYPE_SCHEMA_OR_STRINGS: break; /* anything */
    case TYPE_ANY:
        if (!str_eqz(str_of(t->name), "JSON"))
            strbuf_addz(b, ",\"type\":\"object\"");
        break;
    case TYPE_STRUCT:
        strbuf_addc(b, ',');
        add_struct(d, t);
        add_root_kinds(d, t);
        add_union(b, t);
        if (t->atomic)
            strbuf_addz(b, ",\"x-kubernetes-map-type\":\"atomic\"");
        break;
    case TYPE_MAP:
    case TYPE_STRING:
    case TYPE_BOOL:
    case TYPE_INT32:
    case TYPE_INT64:
    case TYPE_DOUBLE:
    case TYPE_BYTES: break;
    }
    strbuf_addc(b, '}');
}
