/* The schemas of definitions in OpenAPI documents, written from the nodes they were compiled to
 * (upstream: k8s.io/apiextensions-apiserver, pkg/controller/openapi/builder). */
#include "api/codec.h"
#include "api/openapi_int.h"
#include "wire/json.h"

struct schema_writer {
    struct strbuf *b;
    bool two;
    bool more; /* a member stands before the next one */
};

static void add_node(struct strbuf *b, const struct schema_node *n, const char *doc, bool two);

static void add_member(struct schema_writer *w, const char *name)
{
    strbuf_addf(w->b, "%s\"%s\":", w->more ? "," : "", name);
    w->more = true;
}

static void add_text(struct schema_writer *w, const char *name, struct str text)
{
    add_member(w, name);
    json_add_string(w->b, text);
}

static void add_true(struct schema_writer *w, const char *name)
{
    add_member(w, name);
    strbuf_addz(w->b, "true");
}

static void add_names(struct schema_writer *w, const char *name, const struct name *const *list, size_t n)
{
    add_member(w, name);
    strbuf_addc(w->b, '[');
    for (size_t i = 0; i < n; i++) {
        strbuf_addz(w->b, i ? "," : "");
        json_add_string(w->b, list[i]->s);
    }
    strbuf_addc(w->b, ']');
}

/* What every object has, and embedded resources too. */
static void add_given(struct schema_writer *w, const struct field *f)
{
    static const char meta[] = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    const char *doc =
        f->name == N(metadata)
            ? "Standard object's metadata: what the system and others keep about it, as names, labels, owners"
        : f->name == N(apiVersion) ? "APIVersion defines which form of the object this is: its group and version"
                                   : "Kind names what the object is";
    strbuf_addf(w->b, "{\"description\":\"%s\",", doc);
    if (f->name != N(metadata))
        strbuf_addz(w->b, "\"type\":\"string\"}");
    else if (w->two)
        strbuf_addf(w->b, "\"$ref\":\"#/definitions/%s\"}", meta);
    else
        strbuf_addf(w->b, "\"allOf\":[{\"$ref\":\"#/components/schemas/%s\"}]}", meta);
}

static void add_properties(struct schema_writer *w, const struct schema_node *n)
{
    if (n->type.kind != TYPE_STRUCT || !n->type.nfields)
        return;
    add_member(w, "properties");
    strbuf_addc(w->b, '{');
    for (uint16_t i = 0; i < n->type.nfields; i++) {
        const struct field *f = &n->type.fields[i];
        strbuf_addz(w->b, i ? "," : "");
        json_add_string(w->b, f->name->s);
        strbuf_addc(w->b, ':');
        if (schema_node(f->type) && !schema_given(f))
            add_node(w->b, schema_node(f->type), f->x->doc, w->two);
        else
            add_given(w, f);
    }
    strbuf_addc(w->b, '}');
}

static void add_bounds(struct schema_writer *w, const struct schema_bounds *s)
{
    const struct {
        unsigned bit;
        const char *name;
        int64_t n;
    } whole[] = {{BOUND_MIN_LENGTH, "minLength", s->min_length},
                 {BOUND_MAX_LENGTH, "maxLength", s->max_length},
                 {BOUND_MIN_ITEMS, "minItems", s->min_items},
                 {BOUND_MAX_ITEMS, "maxItems", s->max_items},
                 {BOUND_MIN_PROPERTIES, "minProperties", s->min_properties},
                 {BOUND_MAX_PROPERTIES, "maxProperties", s->max_properties}};
    const struct {
        unsigned bit;
        const char *name;
        double n;
    } real[] = {{BOUND_MINIMUM, "minimum", s->minimum},
                {BOUND_MAXIMUM, "maximum", s->maximum},
                {BOUND_MULTIPLE_OF, "multipleOf", s->multiple_of}};
    for (size_t i = 0; i < countof(real); i++)
        if (s->has & real[i].bit) {
            add_member(w, real[i].name);
            json_add_double(w->b, real[i].n);
        }
    if (s->has & BOUND_EXCLUSIVE_MINIMUM)
        add_true(w, "exclusiveMinimum");
    if (s->has & BOUND_EXCLUSIVE_MAXIMUM)
        add_true(w, "exclusiveMaximum");
    for (size_t i = 0; i < countof(whole); i++)
        if (s->has & whole[i].bit) {
            add_member(w, whole[i].name);
            json_add_int(w->b, whole[i].n);
        }
    if (s->has & BOUND_PATTERN)
        add_text(w, "pattern", s->pattern);
    if (s->values) {
        add_member(w, "enum");
        json_encode(w->b, s->values);
    }
}

static void add_parts(struct schema_writer *w, const char *name, const struct schema_node *const *parts, size_t n)
{
    if (!n)
        return;
    add_member(w, name);
    for (size_t i = 0; i < n; i++) {
        strbuf_addz(w->b, i ? "," : "[");
        add_node(w->b, parts[i], parts[i]->type.described, w->two);
    }
    strbuf_addc(w->b, ']');
}

static void add_rules(struct schema_writer *w, const struct schema_node *n)
{
    const struct {
        const char *name;
        size_t at;
    } texts[] = {{"rule", offsetof(struct schema_rule, rule)},
                 {"message", offsetof(struct schema_rule, message)},
                 {"messageExpression", offsetof(struct schema_rule, message_expression)},
                 {"reason", offsetof(struct schema_rule, reason)},
                 {"fieldPath", offsetof(struct schema_rule, field_path)}};
    add_member(w, "x-kubernetes-validations");
    for (size_t i = 0; i < n->nrules; i++) {
        struct schema_writer rule = {.b = w->b};
        strbuf_addz(w->b, i ? ",{" : "[{");
        for (size_t k = 0; k < countof(texts); k++) {
            const struct str *text = (const void *)((const char *)&n->rules[i] + texts[k].at);
            if (text->n)
                add_text(&rule, texts[k].name, *text);
        }
        if (n->rules[i].optional_old_self)
            add_true(&rule, "optionalOldSelf");
        strbuf_addc(w->b, '}');
    }
    strbuf_addc(w->b, ']');
}

static void add_extensions(struct schema_writer *w, const struct schema_node *n)
{
    static const struct {
        unsigned flag;
        const char *name, *value;
    } rows[] = {{SCHEMA_PRESERVES, "x-kubernetes-preserve-unknown-fields", "true"},
                {SCHEMA_EMBEDDED, "x-kubernetes-embedded-resource", "true"},
                {SCHEMA_INT_OR_STRING, "x-kubernetes-int-or-string", "true"},
                {SCHEMA_LIST_SET, "x-kubernetes-list-type", "\"set\""},
                {SCHEMA_LIST_MAP, "x-kubernetes-list-type", "\"map\""},
                {SCHEMA_LIST_ATOMIC, "x-kubernetes-list-type", "\"atomic\""},
                {SCHEMA_MAP_ATOMIC, "x-kubernetes-map-type", "\"atomic\""},
                {SCHEMA_MAP_GRANULAR, "x-kubernetes-map-type", "\"granular\""}};
    size_t keys = 0;
    for (size_t i = 0; i < countof(rows); i++)
        if (n->flags & rows[i].flag) {
            add_member(w, rows[i].name);
            strbuf_addz(w->b, rows[i].value);
        }
    while (n->list_keys && n->list_keys[keys])
        keys++;
    if (keys)
        add_names(w, "x-kubernetes-list-map-keys", n->list_keys, keys);
    if (n->nrules)
        add_rules(w, n);
}

/* What kubectl's old checks would take for a promise that holds for what is no map or list, or that nothing else may
 * be there: not said of it in 2.0. */
static void add_shape(struct schema_writer *w, const struct schema_node *n)
{
    const char *what = schema_what_text((enum schema_what)n->what);
    bool preserves = w->two && n->flags & SCHEMA_PRESERVES, array = n->what == SCHEMA_ARRAY;
    if (w->two && n->flags & SCHEMA_NULLABLE)
        return;
    if (*what && !(preserves && (array || n->what == SCHEMA_OBJECT)))
        add_text(w, "type", str_of(what));
    if (n->format.n)
        add_text(w, "format", n->format);
    if (n->flags & SCHEMA_NULLABLE)
        add_true(w, "nullable");
    if (!preserves)
        add_properties(w, n);
    if (array && !preserves && schema_node(n->type.of)) {
        add_member(w, "items");
        add_node(w->b, schema_node(n->type.of), schema_node(n->type.of)->type.described, w->two);
    }
    if (n->what == SCHEMA_OBJECT && schema_node(n->type.of)) {
        add_member(w, "additionalProperties");
        add_node(w->b, schema_node(n->type.of), schema_node(n->type.of)->type.described, w->two);
    }
}

static bool property_is_nullable(const struct schema_node *n, const struct name *name)
{
    for (uint16_t i = 0; n->type.kind == TYPE_STRUCT && i < n->type.nfields; i++) {
        const struct schema_node *of = schema_node(n->type.fields[i].type);
        if (n->type.fields[i].name == name)
            return of && of->flags & SCHEMA_NULLABLE;
    }
    return false;
}

/* In 2.0 null counts as missing, so what may be null is not required there. */
static void add_required(struct schema_writer *w, const struct schema_node *n)
{
    bool any = false;
    for (size_t i = 0; i < n->nrequired; i++) {
        if (w->two && property_is_nullable(n, n->required[i]))
            continue;
        if (!any)
            add_member(w, "required");
        strbuf_addc(w->b, any ? ',' : '[');
        json_add_string(w->b, n->required[i]->s);
        any = true;
    }
    if (any)
        strbuf_addc(w->b, ']');
}

static void add_members(struct schema_writer *w, const struct schema_node *n, const char *doc)
{
    if (doc)
        add_text(w, "description", str_of(doc));
    add_shape(w, n);
    add_required(w, n);
    if (n->bounds)
        add_bounds(w, n->bounds);
    if (n->dflt && !w->two) {
        add_member(w, "default");
        json_encode(w->b, n->dflt);
    }
    if (n->logic && !w->two) {
        add_parts(w, "allOf", n->logic->all, n->logic->nall);
        add_parts(w, "anyOf", n->logic->any, n->logic->nany);
        add_parts(w, "oneOf", n->logic->one, n->logic->none);
        if (n->logic->not ) {
            add_member(w, "not");
            add_node(w->b, n->logic->not, n->logic->not ->type.described, w->two);
        }
    }
    add_extensions(w, n);
}

static void add_node(struct strbuf *b, const struct schema_node *n, const char *doc, bool two)
{
    struct schema_writer w = {.b = b, .two = two};
    strbuf_addc(b, '{');
    add_members(&w, n, doc);
    strbuf_addc(b, '}');
}

void openapi_add_nodes(struct strbuf *b, const struct schema_node *root, bool two)
{
    struct schema_writer w = {.b = b, .two = two};
    if (two && root->flags & SCHEMA_PRESERVES) /* with any property kubectl would refuse all others */
        add_text(&w, "type", S("object"));
    else
        add_members(&w, root, root->type.described);
}
