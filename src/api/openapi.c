/* openapi.c - OpenAPI documents (3.0, one for each group and version; 2.0, one for all) written straight from the
 * tables of types and kinds. There is no document in memory and no template: each function appends its piece of JSON
 * to the buffer, in the shape that kube-openapi gives it, for kubectl explain, kubectl's validation and the
 * generators of clients.
 *
 * A document has its paths first, then its schemas. Writing the paths notes every type that they speak of
 * (type_need), and with it every type that is reached from there; what was noted is then written, each type once. A
 * type with a name in OpenAPI is a reference wherever it is used, and one without is written in place; so recursive
 * types (those of JSON schema) end. In 3.0 a reference may have no neighbours, so it stands inside allOf.
 *
 * The two versions differ in few places (`two`): where definitions stand, parameters with or without a schema, no
 * oneOf, no defaults.
 *
 * Costs: a document is made anew for each request that asks for it, up to 1.2 MB (2.5 MB for 2.0); clients keep them
 * by the hash in the URL, which is made of the tables' hash, the path and OPENAPI_FORMAT, without making the
 * document. Not here: descriptions of more than a line, and examples.
 */
#include "api/openapi.h"
#include "base/map.h"
#include "wire/json.h"

/* Changes when what these files make of the tables changes: clients keep documents by hash. */
#define OPENAPI_FORMAT "2"

struct openapi_document {
    struct strbuf *b;
    const struct kind_set *set;
    struct map seen;                /* openapi name -> type, in the order of their discovery */
    const struct group_version *gv; /* NULL: of all of them */
    bool two;                       /* OpenAPI 2.0 (Swagger), not 3.0 */
};

static void type_need(struct openapi_document *d, const struct type *t);

static void need_fields(struct openapi_document *d, const struct type *t)
{
    for (uint16_t i = 0; i < t->nfields; i++)
        type_need(d, t->fields[i].type);
}

/* Notes every named type that is reached from here. */
static void type_need(struct openapi_document *d, const struct type *t)
{
    if (t->openapi) {
        if (map_get(&d->seen, str_of(t->openapi)))
            return;
        (void)map_put(&d->seen, str_of(t->openapi), (void *)(uintptr_t)t);
    }
    if (t->of)
        type_need(d, t->of);
    need_fields(d, t);
}

static void add_text(struct strbuf *b, const char *key, const char *text)
{
    json_add_string(b, str_of(key));
    strbuf_addc(b, ':');
    json_add_string(b, str_of(text));
}

static void add_ref(struct openapi_document *d, const struct type *t)
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
    if (t->openapi && t->kind == TYPE_STRUCT && !d->two) {
        strbuf_addz(b, "\"allOf\":[{");
        add_ref(d, t);
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
    const char *sorted[64];
    size_t n = 0;
    while (n < countof(sorted) && values[n]) {
        sorted[n] = values[n];
        n++;
    }
    qsort(sorted, n, sizeof *sorted, by_text);
    strbuf_addz(b, ",\"enum\":[");
    for (size_t i = 0; i < n; i++) {
        if (i)
            strbuf_addc(b, ',');
        json_add_string(b, str_of(sorted[i]));
    }
    strbuf_addc(b, ']');
}

/* "type", "properties" and "required" of a struct. */
static void add_struct(struct openapi_document *d, const struct type *t);

static void add_schema(struct openapi_document *d, const struct type *t, bool element)
{
    struct strbuf *b = d->b;
    if (t->openapi && !(t->kind == TYPE_LIST && t->wrapper)) {
        add_ref(d, t);
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
    if (element && zero && !d->two)
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
    } else if (f->flags & (FIELD_ATOMIC | FIELD_GRANULAR)) {
        strbuf_addf(b, ",\"x-kubernetes-map-type\":\"%s\"", f->flags & FIELD_ATOMIC ? "atomic" : "granular");
    }
    if (f->x->patch_key)
        strbuf_addf(b, ",\"x-kubernetes-patch-merge-key\":\"" STR_FMT "\"", STR_ARG(f->x->patch_key->s));
    if (f->flags & (FIELD_PATCH_MERGE | FIELD_PATCH_RETAIN_KEYS | FIELD_PATCH_REPLACE)) {
        bool merge = f->flags & FIELD_PATCH_MERGE, retain = f->flags & FIELD_PATCH_RETAIN_KEYS;
        strbuf_addf(b, ",\"x-kubernetes-patch-strategy\":\"%s%s%s\"", merge ? "merge" : "",
                    merge && retain ? "," : "", retain ? "retainKeys" : "");
    }
}

static void add_properties(struct openapi_document *d, const struct type *t, bool *first)
{
    struct strbuf *b = d->b;
    for (uint16_t i = 0; i < t->nfields; i++) {
        const struct field *f = &t->fields[i];
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
            add_text(b, "description", field_doc(f));
            strbuf_addc(b, ',');
        }
        if (f->type->openapi && !f->type->wrapper && !d->two) { /* a reference may have no neighbours */
            strbuf_addz(b, "\"allOf\":[{");
            add_ref(d, f->type);
            strbuf_addz(b, "}]");
        } else {
            add_schema(d, f->type, false);
        }
        const char *dflt = d->two ? NULL : default_of(f);
        if (dflt)
            strbuf_addf(b, ",\"default\":%s", dflt);
        add_extensions(b, f);
        strbuf_addc(b, '}');
    }
}

static void add_required(struct strbuf *b, const struct type *t, bool *first)
{
    for (uint16_t i = 0; i < t->nfields; i++) {
        const struct field *f = &t->fields[i];
        if (f->flags & FIELD_INLINE) {
            add_required(b, f->type, first);
        } else if (f->flags & FIELD_REQUIRED) {
            strbuf_addz(b, *first ? ",\"required\":[" : ",");
            *first = false;
            json_add_string(b, f->name->s);
        }
    }
}

static void add_gvk(struct strbuf *b, struct str group, struct str version, const char *kind)
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
    add_gvk(d->b, group, version, kind);
}

/* The kinds that this type is the root of, in the versions of the document. */
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
                if (!d->gv || d->gv == &d->set->versions[k])
                    add_root_kind(d, d->set->versions[k].api_version, r->kind, &any);
    }
    for (size_t i = nkinds; i < d->set->n; i++) { /* of run time */
        const struct kind *k = d->set->kinds[i];
        if (k->type == t)
            add_root_kind(d, k->api_version, k->kind.p, &any);
        else if (k->list_type == t)
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

static void add_component(struct openapi_document *d, const struct type *t)
{
    struct strbuf *b = d->b;
    strbuf_addf(b, "\"%s\":{", t->openapi);
    add_text(b, "description", type_doc(t) ? type_doc(t) : t->name);
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

/* --- paths --- */

struct parameter {
    const char *name, *type, *doc;
};
static const struct parameter for_lists[] = {
    {"allowWatchBookmarks", "boolean", "ask for bookmark events in a watch"},
    {"continue", "string", "where the last page of a list ended"},
    {"fieldSelector", "string", "only objects whose fields match"},
    {"labelSelector", "string", "only objects whose labels match"},
    {"limit", "integer", "at most so many objects in an answer"},
    {"resourceVersion", "string", "at or after which revision to read"},
    {"resourceVersionMatch", "string", "how resourceVersion is meant: Exact or NotOlderThan"},
    {"sendInitialEvents", "boolean", "begin a watch with what is there"},
    {"timeoutSeconds", "integer", "end a list or watch after so many seconds"},
    {"watch", "boolean", "stream changes instead of listing"},
};
static const struct parameter for_deletes[] = {
    {"dryRun", "string", "All: check everything, keep nothing"},
    {"gracePeriodSeconds", "integer", "how long the object may take to end; 0 at once"},
    {"orphanDependents", "boolean", "superseded by propagationPolicy"},
    {"propagationPolicy", "string", "what becomes of dependents: Orphan, Background or Foreground"},
};
static const struct parameter for_writes[] = {
    {"dryRun", "string", "All: check everything, keep nothing"},
    {"fieldManager", "string", "who makes the change"},
    {"fieldValidation", "string", "what becomes of unknown or duplicate fields: Ignore, Warn or Strict"},
};
static const struct parameter for_patches[] = {
    {"dryRun", "string", "All: check everything, keep nothing"},
    {"fieldManager", "string", "who makes the change"},
    {"fieldValidation", "string", "what becomes of unknown or duplicate fields: Ignore, Warn or Strict"},
    {"force", "boolean", "take over fields that others own, in an apply"},
};

static const struct operation {
    const char *method, *action;
    enum verb verb;
    bool named; /* on one object, not on the collection */
    const struct parameter *parameters;
    size_t n;
    bool body, list;
} operations[] = {
    {"get", "list", VERB_LIST, false, for_lists, countof(for_lists), false, true},
    {"post", "post", VERB_CREATE, false, for_writes, countof(for_writes), true, false},
    {"delete", "deletecollection", VERB_DELETECOLLECTION, false, for_deletes, countof(for_deletes), false, false},
    {"get", "get", VERB_GET, true, NULL, 0, false, false},
    {"put", "put", VERB_UPDATE, true, for_writes, countof(for_writes), true, false},
    {"patch", "patch", VERB_PATCH, true, for_patches, countof(for_patches), true, false},
    {"delete", "delete", VERB_DELETE, true, for_deletes, countof(for_deletes), false, false},
};

static void add_parameter(struct openapi_document *d, const char *name, const char *in, const char *type,
                          const char *more)
{
    strbuf_addf(d->b, "{\"name\":\"%s\",\"in\":\"%s\",%s%s\"type\":\"%s\",\"uniqueItems\":true}%s", name, in, more,
                d->two ? "" : "\"schema\":{", type, d->two ? "" : "}");
}

static void add_parameters(struct openapi_document *d, const struct operation *o)
{
    for (size_t i = 0; i < o->n; i++) {
        const struct parameter *p = &o->parameters[i];
        char doc[200];
        (void)snprintf(doc, sizeof doc, "\"description\":\"%s\",", p->doc);
        strbuf_addz(d->b, i ? "," : "");
        add_parameter(d, p->name, "query", p->type, doc);
    }
}

static void add_content(struct openapi_document *d, const struct type *t)
{
    strbuf_addz(d->b, d->two ? "\"schema\":{" : "\"content\":{\"application/json\":{\"schema\":{");
    add_ref(d, t);
    strbuf_addz(d->b, d->two ? "}" : "}}}");
}

static const char *const patch_types[] = {"application/json-patch+json", "application/merge-patch+json",
                                          "application/strategic-merge-patch+json", "application/apply-patch+yaml"};

/* What the body of a request is, behind its parameters. */
static void add_body(struct openapi_document *d, const struct operation *o, const struct type *body)
{
    struct strbuf *b = d->b;
    bool patch = strcmp(o->method, "patch") == 0;
    if (d->two) {
        strbuf_addf(b, "%s{\"name\":\"body\",\"in\":\"body\",\"required\":true,", o->n ? "," : "");
        if (patch)
            strbuf_addz(b, "\"schema\":{\"type\":\"object\"}");
        else
            add_content(d, body);
        strbuf_addz(b, "}],\"consumes\":[");
        for (size_t i = 0; i < countof(patch_types); i++)
            if (patch)
                strbuf_addf(b, "%s\"%s\"", i ? "," : "", patch_types[i]);
        strbuf_addz(b, patch ? "]" : "\"*/*\"]");
        return;
    }
    strbuf_addz(b, "],\"requestBody\":{");
    if (patch)
        strbuf_addz(b, "\"content\":{");
    else
        add_content(d, body);
    for (size_t i = 0; patch && i < countof(patch_types); i++)
        strbuf_addf(b, "%s\"%s\":{\"schema\":{\"type\":\"object\"}}", i ? "," : "", patch_types[i]);
    strbuf_addz(b, patch ? "}}" : "}");
}

static void add_operation(struct openapi_document *d, const struct operation *o, const struct kind *k,
                          const struct type *body, struct str group, struct str version, const char *kind,
                          const char *sub)
{
    struct strbuf *b = d->b;
    strbuf_addf(b,
                "\"%s\":{\"tags\":[\"" STR_FMT "_" STR_FMT "\"],\"operationId\":\"%s" STR_FMT "%s" STR_FMT
                "%s%s\",\"parameters\":[",
                o->method, STR_ARG(k->group.n ? k->group : S("core")), STR_ARG(k->version), o->action,
                STR_ARG(k->group), k->namespaced ? "Namespaced" : "", STR_ARG(k->kind), *sub ? "_" : "", sub);
    add_parameters(d, o);
    if (o->body && body)
        add_body(d, o, body);
    else
        strbuf_addc(b, ']');
    strbuf_addz(b, ",\"responses\":{\"200\":{\"description\":\"OK\"");
    if (body) {
        strbuf_addc(b, ',');
        add_content(d, o->list ? k->list_type : body);
    }
    strbuf_addf(b, "}},\"x-kubernetes-action\":\"%s\",\"x-kubernetes-group-version-kind\":", o->action);
    add_gvk(b, group, version, kind);
    strbuf_addc(b, '}');
}

static void add_path_parameter(struct openapi_document *d, const char *name, bool *first)
{
    strbuf_addz(d->b, *first ? "" : ",");
    add_parameter(d, name, "path", "string", "\"required\":true,");
    *first = false;
}

enum path_form { PATH_ALL_NAMESPACES, PATH_COLLECTION, PATH_OBJECT };

static void add_path(struct openapi_document *d, const struct kind *k, enum path_form form,
                     const struct subresource *sub, bool *first)
{
    struct strbuf *b = d->b;
    unsigned verbs = sub ? sub->verbs : form == PATH_ALL_NAMESPACES ? k->verbs & VERB_LIST : k->verbs;
    struct str group = k->group, version = k->version;
    const char *kind = k->kind.p;
    const struct type *body = k->type;
    if (sub && sub->kind) {
        kind = sub->kind;
        if (sub->version)
            group = str_of(sub->group), version = str_of(sub->version);
        struct strbuf gv = STRBUF(1000);
        strbuf_addf(&gv, STR_FMT "%s" STR_FMT, STR_ARG(group), group.n ? "/" : "", STR_ARG(version));
        body = root_type_find(strbuf_str(&gv), str_of(kind));
        strbuf_fini(&gv);
    }
    bool any = false, named = form == PATH_OBJECT;
    for (size_t i = 0; i < countof(operations); i++) {
        const struct operation *o = &operations[i];
        /* what is created below an object is a POST on its subresource */
        bool fits = sub ? o->named != (o->verb == VERB_CREATE) : o->named == named;
        if (!(verbs & o->verb) || !fits)
            continue;
        if (!any) {
            strbuf_addf(b, "%s\"/%s" STR_FMT "/%s" STR_FMT "%s%s%s\":{", *first ? "" : ",",
                        k->group.n ? "apis/" : "api/", STR_ARG(k->api_version),
                        k->namespaced && form != PATH_ALL_NAMESPACES ? "namespaces/{namespace}/" : "",
                        STR_ARG(k->plural), named ? "/{name}" : "", sub ? "/" : "", sub ? sub->name : "");
            *first = false;
        } else {
            strbuf_addc(b, ',');
        }
        any = true;
        add_operation(d, o, k, body, group, version, kind, sub ? sub->name : "");
    }
    if (!any)
        return;
    bool none = true;
    strbuf_addz(b, ",\"parameters\":[");
    if (named)
        add_path_parameter(d, "name", &none);
    if (k->namespaced && form != PATH_ALL_NAMESPACES)
        add_path_parameter(d, "namespace", &none);
    strbuf_addz(b, "]}");
}

static void add_head(struct strbuf *b)
{
    strbuf_addz(b, "{\"openapi\":\"3.0.0\",\"info\":{\"title\":\"Kubernetes\",\"version\":\"v1.36.0\"},\"paths\":{");
}

static void add_security(struct strbuf *b)
{
    strbuf_addz(
        b, "\"securitySchemes\":{\"BearerToken\":{\"type\":\"apiKey\",\"name\":\"authorization\",\"in\":\"header\","
           "\"description\":\"a bearer token\"}}}}");
}

/* The paths of a kind; notes the types that they speak of. */
static void add_kind(struct openapi_document *d, const struct kind *k, bool *first)
{
    type_need(d, k->type);
    if (k->list_type)
        type_need(d, k->list_type);
    if (k->namespaced)
        add_path(d, k, PATH_ALL_NAMESPACES, NULL, first);
    add_path(d, k, PATH_COLLECTION, NULL, first);
    add_path(d, k, PATH_OBJECT, NULL, first);
    for (size_t s = 0; s < k->nsubs; s++) {
        const struct subresource *sub = &k->subs[s];
        struct strbuf gv = STRBUF(1000);
        if (sub->version)
            strbuf_addf(&gv, "%s%s%s", sub->group, *sub->group ? "/" : "", sub->version);
        else
            strbuf_add(&gv, k->api_version);
        const struct type *t = sub->kind ? root_type_find(strbuf_str(&gv), str_of(sub->kind)) : k->type;
        strbuf_fini(&gv);
        if (t)
            type_need(d, t);
        add_path(d, k, PATH_OBJECT, sub, first);
    }
}

/* Everything that was noted; ends the document's map of them. */
static void add_components(struct openapi_document *d)
{
    bool first = true;
    type_need(d, T(meta_v1_DeleteOptions));
    type_need(d, T(meta_v1_Status));
    type_need(d, T(meta_v1_WatchEvent));
    map_each (it, &d->seen) {
        if (!first)
            strbuf_addc(d->b, ',');
        first = false;
        add_component(d, it->value);
    }
    strbuf_addz(d->b, "},");
    map_fini(&d->seen);
}

static void version_document(struct strbuf *b, const struct kind_set *set, const struct group_version *gv)
{
    struct openapi_document d = {.b = b, .set = set, .gv = gv};
    bool first = true;
    add_head(b);
    for (size_t i = 0; i < set->n; i++)
        if (str_eq(set->kinds[i]->group, gv->group) && str_eq(set->kinds[i]->version, gv->version))
            add_kind(&d, set->kinds[i], &first);
    strbuf_addz(b, "},\"components\":{\"schemas\":{");
    add_components(&d);
    add_security(b);
}

void openapi_two(struct strbuf *b, const struct kind_set *set)
{
    struct openapi_document d = {.b = b, .set = set, .two = true};
    bool first = true;
    strbuf_addz(b, "{\"swagger\":\"2.0\",\"info\":{\"title\":\"Kubernetes\",\"version\":\"v1.36.0\"},\"paths\":{");
    for (size_t i = 0; i < set->n; i++)
        add_kind(&d, set->kinds[i], &first);
    for (size_t i = 0; i < nroot_types; i++) /* what is sent to a subresource, and lists */
        if (root_types[i].type->openapi)
            type_need(&d, root_types[i].type);
    strbuf_addz(b, "},\"definitions\":{");
    add_components(&d);
    strbuf_addz(
        b,
        "\"securityDefinitions\":{\"BearerToken\":{\"type\":\"apiKey\",\"name\":\"authorization\",\"in\":\"header\","
        "\"description\":\"a bearer token\"}}}");
}

/* Documents beside those of the versions: lists of groups and versions, /version. */
static const struct plain_path {
    const char *path;
    const struct type *type;
} plain_paths[] = {
    {"api", T(meta_v1_APIVersions)},
    {"apis", T(meta_v1_APIGroupList)},
    {"version", T(version_Info)},
};

static void plain_document(struct strbuf *b, const struct kind_set *set, struct str path, const struct type *t)
{
    struct openapi_document d = {.b = b, .set = set, .gv = &set->versions[0]};
    bool first = true;
    add_head(b);
    strbuf_addf(b, "\"/" STR_FMT "/\":{\"get\":{\"responses\":{\"200\":{\"description\":\"OK\",", STR_ARG(path));
    add_content(&d, t);
    strbuf_addz(b, "}}}}},\"components\":{\"schemas\":{");
    type_need(&d, t);
    map_each (it, &d.seen) {
        if (!first)
            strbuf_addc(b, ',');
        first = false;
        add_component(&d, it->value);
    }
    strbuf_addz(b, "},");
    add_security(b);
    map_fini(&d.seen);
}

/* What stands at a path: a version's document, or one of a single type. */
static bool path_find(const struct kind_set *set, struct str path, const struct group_version **gv,
                      const struct type **plain)
{
    struct str root, rest, group, version;
    *gv = NULL;
    *plain = NULL;
    for (size_t i = 0; i < countof(plain_paths); i++)
        if (str_eqz(path, plain_paths[i].path))
            *plain = plain_paths[i].type;
    if (*plain || !str_split(path, '/', &root, &rest))
        return *plain;
    bool core = str_eqz(root, "api");
    if (!core && !str_eqz(root, "apis"))
        return false;
    if (core || !str_split(rest, '/', &group, &version))
        group = core ? S("") : rest, version = core ? rest : S("");
    for (size_t i = 0; i < set->nversions; i++) {
        const struct group_version *x = &set->versions[i];
        if (!str_eq(x->group, group) || (group.n == 0) != core)
            continue;
        if (str_eq(x->version, version))
            *gv = x;
        else if (!version.n && !core)
            *plain = T(meta_v1_APIGroup);
    }
    return *gv || *plain;
}

bool openapi_known(const struct kind_set *set, struct str path)
{
    const struct group_version *gv;
    const struct type *plain;
    return path_find(set, path, &gv, &plain);
}

bool openapi_document(struct strbuf *b, const struct kind_set *set, struct str path)
{
    const struct group_version *gv;
    const struct type *plain;
    if (!path_find(set, path, &gv, &plain))
        return false;
    if (gv)
        version_document(b, set, gv);
    else
        plain_document(b, set, path, plain);
    return true;
}

void openapi_hash(struct strbuf *b, const struct kind_set *set, struct str path)
{
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a: only has to differ between paths; the rest is the tables' hash */
    for (size_t i = 0; i < path.n; i++)
        h = (h ^ (unsigned char)path.p[i]) * 0x100000001b3u;
    strbuf_addf(b, "%s%016llX" OPENAPI_FORMAT, set->hash, (unsigned long long)h);
}

static void add_index(struct strbuf *b, const struct kind_set *set, struct str path, bool first)
{
    strbuf_addf(b, "%s\"" STR_FMT "\":{\"serverRelativeURL\":\"/openapi/v3/" STR_FMT "?hash=", first ? "" : ",",
                STR_ARG(path), STR_ARG(path));
    openapi_hash(b, set, path);
    strbuf_addz(b, "\"}");
}

void openapi_index(struct strbuf *b, const struct kind_set *set)
{
    strbuf_addz(b, "{\"paths\":{");
    for (size_t i = 0; i < countof(plain_paths); i++)
        add_index(b, set, str_of(plain_paths[i].path), i == 0);
    for (size_t i = 0; i < set->nversions; i++) {
        const struct group_version *gv = &set->versions[i];
        AUTO(strbuf_fini) struct strbuf path = STRBUF(STRBUF_TEXT);
        if (gv->group.n && gv->preferred) {
            strbuf_addf(&path, "apis/" STR_FMT, STR_ARG(gv->group));
            add_index(b, set, strbuf_str(&path), false);
            strbuf_reset(&path);
        }
        strbuf_addf(&path, "%s/" STR_FMT, gv->group.n ? "apis" : "api", STR_ARG(gv->api_version));
        add_index(b, set, strbuf_str(&path), false);
    }
    strbuf_addz(b, "}}");
}
