/* custom.c - from the text of a CustomResourceDefinition to kinds (k8s.io/apiextensions-apiserver, pkg/apiserver).
 *
 * A kind holds copies of what it needs in its own arena, so that it outlives the definition that it was made of:
 * objects hold their kind, and requests that have begun go on with theirs. Of its schema it has the packed text,
 * which it shares with the definition; compiling it takes longer than all else and makes ten times as much of it, so
 * that is left until an object is read or written.
 *
 * Costs: some 2 KB for a kind that nobody uses; compiling is linear in the schema of the version. */
#include "api/custom.h"
#include "api/patch.h"
#include "api/rules_int.h"
#include "api/strategy.h"
#include "base/clock.h"
#include "base/log.h"
#include <math.h>

bool definition_is(const struct obj *definition, const char *condition)
{
    const struct val *c = val_find(V(obj_status(definition), conditions), N(type), str_of(condition));
    return str_eqz(TEXT(c, status), "True");
}

bool definition_same(const struct obj *a, const struct obj *b)
{
    return str_eq(a->uid, b->uid) && definition_is(a, "Established") == definition_is(b, "Established") &&
           val_equal(obj_spec(a), obj_spec(b)) && packed_same_schemas(a->packed, b->packed) &&
           val_equal(V(obj_status(a), acceptedNames), V(obj_status(b), acceptedNames)) &&
           val_equal(V(obj_status(a), storedVersions), V(obj_status(b), storedVersions));
}

const struct kind *kind_watched(const struct kind_set *s, const struct kind *k)
{
    if (k->custom)
        return kind_set_find_plural(s, k->group, k->custom->main, k->plural);
    return k->storage ? k->storage : k;
}

/* --- pieces of a kind --- */

static const char *const *texts_of(struct arena *a, const struct val *list)
{
    if (!val_len(list))
        return NULL;
    const char **out = arena_alloc(a, (val_len(list) + 1) * sizeof *out);
    size_t n = 0;
    val_each_item (it, list)
        out[n++] = arena_strz(a, val_text(it));
    out[n] = NULL;
    return out;
}

static struct val name_cell(const struct column_source *s, const char *path UNUSED)
{
    return val_str(s->a, val_text_at(s->v, N(metadata), N(name)));
}

/* What upstream shows where a definition names no columns. */
static const struct val *columns_wanted(struct arena *a, const struct val *version)
{
    const struct val *named = V(version, additionalPrinterColumns);
    if (val_len(named))
        return named;
    struct val *list = ARENA_NEW(a, struct val), age = val_map();
    *list = val_list();
    val_set_text(a, &age, N(name), S("Age"));
    val_set_text(a, &age, N(type), S("date"));
    val_set_text(a, &age, N(description), S("Time since the object was created."));
    val_set_text(a, &age, N(jsonPath), S(".metadata.creationTimestamp"));
    val_add(a, list, age);
    return list;
}

static bool columns_make(struct arena *a, struct custom *c, const struct val *version, struct err *err)
{
    const struct val *wanted = columns_wanted(a, version);
    struct column *columns = arena_alloc(a, (val_len(wanted) + 1) * sizeof *columns);
    const struct jsonpath **paths = arena_alloc(a, (val_len(wanted) + 1) * sizeof *paths);
    columns[0] = (struct column){.name = "Name",
                                 .type = "string",
                                 .format = "name",
                                 .text = "Name of the object, unique in its namespace.",
                                 .cell = name_cell};
    paths[0] = NULL;
    size_t n = 1;
    val_each_item (it, wanted) {
        struct str text = str_dup(a, TEXT(it, jsonPath)), says = TEXT(it, description);
        if (!jsonpath_compile(a, text, &paths[n], err))
            return err_wrap(err, "column " STR_FMT ": path " STR_FMT, STR_ARG(TEXT(it, name)), STR_ARG(text));
        columns[n] = (struct column){.name = arena_strz(a, TEXT(it, name)),
                                     .type = arena_strz(a, TEXT(it, type)),
                                     .format = arena_strz(a, TEXT(it, format)),
                                     .text = says.n ? arena_strz(a, says)
                                                    : arena_fmt(a, "What stands at " STR_FMT ".", STR_ARG(text)).p,
                                     .priority = (int)val_num(V(it, priority), 0)};
        n++;
    }
    c->columns = columns;
    c->paths = paths;
    c->ncolumns = n;
    return true;
}

static struct str path_plain(struct arena *a, struct str path)
{
    return str_dup(a, str_starts(path, S(".")) ? str_sub(path, 1, path.n) : path);
}

static void fields_make(struct arena *a, struct custom *c, const struct val *version)
{
    const struct val *list = V(version, selectableFields);
    struct str *fields = arena_alloc(a, (val_len(list) + 1) * sizeof *fields);
    val_each_item (it, list)
        fields[c->nfields++] = path_plain(a, TEXT(it, jsonPath));
    c->fields = fields;
}

/* --- versions --- */

static struct str warning_of(struct arena *a, const struct val *spec, const struct val *version, struct str kind)
{
    struct str group = TEXT(spec, group), name = TEXT(version, name), newest = STR_NONE;
    if (!val_true(V(version, deprecated)))
        return S("");
    if (V(version, deprecationWarning))
        return str_dup(a, TEXT(version, deprecationWarning));
    val_each_item (it, V(spec, versions)) {
        struct str other = TEXT(it, name);
        if (val_true(V(it, served)) && !val_true(V(it, deprecated)) && version_order(other, name) < 0 &&
            (!newest.n || version_order(other, newest) < 0))
            newest = other;
    }
    return newest.n
               ? arena_fmt(a, STR_FMT "/" STR_FMT " " STR_FMT " is deprecated; use " STR_FMT "/" STR_FMT " " STR_FMT,
                           STR_ARG(group), STR_ARG(name), STR_ARG(kind), STR_ARG(group), STR_ARG(newest),
                           STR_ARG(kind))
               : arena_fmt(a, STR_FMT "/" STR_FMT " " STR_FMT " is deprecated", STR_ARG(group), STR_ARG(name),
                           STR_ARG(kind));
}

static void subs_make(struct arena *a, struct kind *k, struct custom *c, const struct val *version)
{
    static const unsigned verbs = VERB_GET | VERB_UPDATE | VERB_PATCH;
    const struct val *subs = V(version, subresources), *scale = V(subs, scale);
    struct subresource *rows = arena_alloc(a, 2 * sizeof *rows);
    if (V(subs, status)) {
        c->has_status = true;
        rows[k->nsubs++] = (struct subresource){.name = "status", .verbs = verbs};
    }
    if (scale) {
        c->scale_spec = path_plain(a, TEXT(scale, specReplicasPath));
        c->scale_status = path_plain(a, TEXT(scale, statusReplicasPath));
        c->scale_selector = path_plain(a, TEXT(scale, labelSelectorPath));
        rows[k->nsubs++] = (struct subresource){
            .name = "scale", .kind = "Scale", .group = "autoscaling", .version = "v1", .verbs = verbs};
    }
    k->subs = rows;
}

/* --- schemas --- */

struct custom_schema {
    struct arena arena;
    const struct schema *schema;
    const struct type *type, *list_type;
};
static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;

static const struct schema_node no_node = {.type = {.kind = TYPE_STRUCT, .loose = true, .name = ""},
                                           .what = SCHEMA_OBJECT};
static const struct schema no_schema = {.root = &no_node, .nnodes = 1};

/* What validation let pass can be compiled. Where it once let pass more than that, objects are kept as they are. */
static const struct schema *schema_read(struct arena *a, const struct custom *c, bool described)
{
    AUTO(arena_fini) struct arena scratch = ARENA;
    struct val text = VAL_NONE, any = val_map();
    const struct schema *s;
    struct err err = ERR;
    const struct val *props = part_read(&scratch, &c->text, &text) ? V(&text, openAPIV3Schema) : NULL;
    val_set_text(&scratch, &any, N(type), S("object"));
    if (described ? schema_compile(a, props ? props : &any, &s, &err)
                  : schema_compile_bare(a, props ? props : &any, &s, &err))
        return s;
    log_warn("crd.schema", "name=" STR_FMT " error=\"%s\"", STR_ARG(c->definition), err.text);
    val_set_bool(&scratch, &any, N(x_kubernetes_preserve_unknown_fields), true);
    ASSERT(schema_compile(a, &any, &s, &err));
    return s;
}

static struct custom_schema *schema_made(const struct kind *k)
{
    struct custom_schema *made = __atomic_load_n(&k->custom->made, __ATOMIC_ACQUIRE);
    if (made)
        return made;
    pthread_mutex_lock(&making);
    made = k->custom->made;
    if (!made) {
        made = NEW(struct custom_schema);
        made->schema = schema_read(&made->arena, k->custom, false);
        made->type = schema_type(&made->arena, made->schema, k->group, k->version, k->kind, k->list_kind,
                                 &made->list_type);
        __atomic_store_n(&k->custom->made, made, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&making);
    return made;
}

const struct schema *custom_schema(const struct kind *k)
{
    return schema_made(k)->schema;
}

const struct type *custom_type(const struct kind *k)
{
    return schema_made(k)->type;
}

const struct type *custom_list_type(const struct kind *k)
{
    return schema_made(k)->list_type;
}

const struct schema *custom_described(struct arena *a, const struct kind *k)
{
    return schema_read(a, k->custom, true);
}

void custom_fini(struct custom *c)
{
    if (c->rules)
        c->rules_free(c->rules);
    if (c->made) {
        arena_fini(&c->made->arena);
        mem_free(c->made);
    }
    buf_unref(c->text.bytes);
}

/* --- kinds --- */

struct custom_source {
    const struct obj *definition;
    const struct val *spec, *called; /* called: the names that are accepted */
    struct err *err;
};

static struct packed_part text_of(const struct custom_source *s, const struct val *version)
{
    const struct packed *p = s->definition->packed;
    size_t part = PACKED_VERSIONS + (size_t)(version - V(s->spec, versions)->list);
    const struct val empty = val_map();
    return p && part < p->n && p->parts[part].bytes ? part_ref(&p->parts[part])
                                                    : part_make(V(version, schema) ? V(version, schema) : &empty);
}

static bool kind_fill(struct kind *k, const struct custom_source *s, const struct val *version)
{
    struct arena *a = kind_arena(k);
    struct custom *c = ARENA_NEW(a, struct custom);
    const struct val *called = s->called, *spec = s->spec;
    k->custom = c;
    k->group = str_dup(a, TEXT(spec, group));
    k->version = str_dup(a, TEXT(version, name));
    k->kind = str_dup(a, TEXT(called, kind));
    k->list_kind = TEXT(called, listKind).n ? str_dup(a, TEXT(called, listKind))
                                            : arena_fmt(a, STR_FMT "List", STR_ARG(k->kind));
    k->plural = str_dup(a, TEXT(called, plural));
    k->singular = str_dup(a, TEXT(called, singular));
    k->api_version = arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(k->group), STR_ARG(k->version));
    k->short_names = texts_of(a, V(called, shortNames));
    k->categories = texts_of(a, V(called, categories));
    k->namespaced = str_eqz(TEXT(spec, scope), "Namespaced");
    k->verbs = VERB_GET | VERB_LIST | VERB_WATCH | VERB_CREATE | VERB_UPDATE | VERB_PATCH | VERB_DELETE |
               VERB_DELETECOLLECTION;
    /* of texts that every version shares: names of the definition, and what its spec has become */
    k->made_of = arena_fmt(a, STR_FMT "/%lld/%lld", STR_ARG(s->definition->uid),
                           (long long)obj_generation(s->definition), (long long)s->definition->rev)
                     .p;
    *c = (struct custom){.definition = str_dup(a, s->definition->name),
                         .uid = str_dup(a, s->definition->uid),
                         .webhook = str_eqz(val_text_at(spec, N(conversion), N(strategy)), "Webhook"),
                         .hidden = !val_true(V(version, served)) || !definition_is(s->definition, "Established"),
                         .warning = warning_of(a, spec, version, k->kind)};
    subs_make(a, k, c, version);
    fields_make(a, c, version);
    if (!columns_make(a, c, version, s->err))
        return false;
    c->text = text_of(s, version);
    c->named = schema_type(a, &no_schema, k->group, k->version, k->kind, k->list_kind, &c->named_list);
    return true;
}

/* Two that the storage is in its own right are none: a kind that is stored in the place of a built-in one. */
static bool is_builtin(const struct val *spec, const struct val *called)
{
    for (size_t i = 0; i < nkinds; i++)
        if (str_eq(kinds[i]->group, TEXT(spec, group)) && str_eq(kinds[i]->plural, TEXT(called, plural)))
            return true;
    return false;
}

static bool was_stored(const struct obj *definition, struct str version)
{
    val_each_item (it, V(obj_status(definition), storedVersions))
        if (str_eq(val_text(it), version))
            return true;
    return false;
}

static void kinds_drop(struct kind *const *made, size_t n)
{
    for (size_t i = 0; i < n; i++)
        kind_unref(made[i]);
}

bool custom_kinds(const struct obj *definition, const struct kind *out[CUSTOM_VERSIONS], size_t *n, struct err *err)
{
    struct custom_source s = {.definition = definition, .spec = obj_spec(definition), .err = err};
    bool established = definition_is(definition, "Established");
    s.called = established ? V(obj_status(definition), acceptedNames) : V(s.spec, names);
    struct kind *made[CUSTOM_VERSIONS], *stored = NULL;
    size_t count = 0;
    *n = 0;
    if (is_builtin(s.spec, s.called))
        return err_set(err, E_INVALID, "the resource is built in");
    val_each_item (version, V(s.spec, versions)) {
        bool storage = val_true(V(version, storage));
        if (!storage && !(established && val_true(V(version, served))) &&
            !was_stored(definition, TEXT(version, name)))
            continue;
        struct kind *k = count < CUSTOM_VERSIONS ? kind_new() : NULL;
        if (k)
            made[count++] = k;
        if (!k || !kind_fill(k, &s, version)) {
            kinds_drop(made, count);
            return k ? err_wrap(err, "version " STR_FMT, STR_ARG(TEXT(version, name)))
                     : err_set(err, E_TOO_MANY_REQUESTS, "there are too many kinds");
        }
        if (storage)
            stored = k;
    }
    if (!stored) {
        kinds_drop(made, count);
        return err_set(err, E_INVALID, "no version is the one that is stored");
    }
    const struct kind *main = NULL;
    for (size_t i = 0; i < count; i++)
        if (!made[i]->custom->hidden && (!main || made[i] == stored))
            main = made[i];
    for (size_t i = 0; i < count; i++) {
        struct custom *c = made[i]->custom;
        made[i]->storage = made[i] == stored ? stored : kind_ref(stored);
        c->main = main ? str_dup(kind_arena(made[i]), main->version) : S("");
        out[i] = made[i];
    }
    *n = count;
    return true;
}

/* --- instances --- */

struct val custom_as(struct arena *a, const struct kind *k, const struct val *tree, bool defaults)
{
    struct val v = val_copy(a, tree);
    struct err ignored = ERR; /* of metadata that cannot be read: it was read before */
    val_set_text(a, &v, N(apiVersion), k->api_version);
    val_set_text(a, &v, N(kind), k->kind);
    if (schema_prune(a, schema_node(kind_type(k)), &v, NULL, &ignored) && defaults)
        schema_default(a, schema_node(kind_type(k)), &v);
    return v;
}

void custom_default_status(struct arena *a, const struct kind *k, struct val *v)
{
    const struct field *f = schema_property(schema_node(kind_type(k)), N(status));
    if (f && schema_node(f->type) && schema_node(f->type)->dflt && !V(v, status))
        schema_default(a, schema_node(kind_type(k)), v);
}

bool custom_needs_webhook(const struct kind *k, const struct val *tree)
{
    return k->custom && k->custom->webhook && !str_eq(TEXT(tree, apiVersion), k->api_version);
}

void custom_texts_check(const struct val *texts, bool annotations, struct field_errors *e)
{
    if (annotations)
        check_annotations(e, AT(NULL, "metadata.annotation"), texts);
    else
        check_labels(e, AT(NULL, "metadata.labels"), texts);
}

bool custom_is_named(const struct kind *k, const struct val *v, struct field_errors *e)
{
    if (str_eq(TEXT(v, kind), k->kind))
        return true;
    bad_text(e, AT(NULL, "kind"), TEXT(v, kind), "must be " STR_FMT, STR_ARG(k->kind));
    return false;
}

static const char *go_type(const struct val *v)
{
    static const char *const texts[] = {[VAL_NULL] = "<nil>",          [VAL_BOOL] = "bool",
                                        [VAL_INT] = "int64",           [VAL_DOUBLE] = "float64",
                                        [VAL_STRING] = "string",       [VAL_BYTES] = "string",
                                        [VAL_LIST] = "[]interface {}", [VAL_MAP] = "map[string]interface {}"};
    return texts[v->type];
}

static void bad_access(struct field_errors *e, struct str path, const struct val *v, enum val_type want,
                       const char *expected)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    const struct val zero = want == VAL_INT ? val_int(0) : val_str_borrowed(S(""));
    val_go_text(&b, v);
    bad_value(e, AT(NULL, arena_fmt(e->arena, "." STR_FMT, STR_ARG(path)).p), &zero,
              "." STR_FMT " accessor error: " STR_FMT " is of the type %s, expected %s", STR_ARG(path),
              STR_ARG(strbuf_str(&b)), go_type(v), expected);
}

/* As Go's unstructured.NestedInt64 and NestedString: what stands at the path, told of where it is something else. */
static const struct val *scale_field(struct field_errors *e, const struct val *v, struct str path, enum val_type want)
{
    struct str rest = path, part;
    while (v && str_cut(&rest, '.', &part)) {
        if (!val_is(v, VAL_MAP)) {
            bad_access(e, path, v, want, go_type(&(const struct val){.type = VAL_MAP}));
            return NULL;
        }
        v = val_get_str(v, part);
    }
    if (v && !val_is(v, want)) {
        bad_access(e, path, v, want, want == VAL_INT ? "int64" : "string");
        return NULL;
    }
    return v;
}

static void check_replicas(struct field_errors *e, const struct val *v, struct str path)
{
    const struct val *n = scale_field(e, v, path, VAL_INT);
    const struct at *at = AT(NULL, arena_fmt(e->arena, "." STR_FMT, STR_ARG(path)).p);
    if (n && n->i < 0)
        bad_value(e, at, n, "should be a non-negative integer");
    else if (n && n->i > INT32_MAX)
        bad_value(e, at, n, "should be less than or equal to %d", INT32_MAX);
}

void custom_validate(const struct kind *k, struct str sub, const struct val *v, const struct val *old,
                     struct field_errors *e)
{
    const struct custom *c = k->custom;
    const struct schema_node *root = schema_node(kind_type(k));
    if (!str_eqz(sub, "status")) {
        schema_validate(root, v, old, e);
    } else if (V(v, status)) { /* judged by itself, as upstream does: what is told of it begins there */
        const struct field *f = schema_property(root, N(status));
        if (f && schema_node(f->type))
            schema_validate_at(schema_node(f->type), S("status"), V(v, status), V(old, status), e);
    }
    if (c->scale_spec.n && !sub.n)
        check_replicas(e, v, c->scale_spec);
    if (c->scale_spec.n) {
        check_replicas(e, v, c->scale_status);
        if (c->scale_selector.n)
            (void)scale_field(e, v, c->scale_selector, VAL_STRING);
    }
}

static struct val date_cell(struct arena *a, const struct val *v, int64_t now)
{
    int64_t at;
    struct str text = val_text(v);
    if (!text.n || str_eqz(text, "null"))
        return val_str_borrowed(S("<unknown>"));
    return val_str(a, time_parse(text, &at) ? human_duration(a, now - at) : S("<invalid>"));
}

struct val custom_cell(struct arena *a, const struct custom *c, size_t column, const struct val *tree, int64_t now)
{
    const struct val *const *found, *v;
    struct str type = str_of(c->columns[column].type);
    if (!jsonpath_find(a, c->paths[column], tree, &found))
        return VAL_NONE;
    v = found[0];
    if (str_eqz(type, "string")) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        jsonpath_text(&b, v);
        return val_str(a, strbuf_str(&b));
    }
    if (str_eqz(type, "integer") && val_is(v, VAL_DOUBLE))
        return fabs(v->d) < 9e18 ? val_int((int64_t)v->d) : VAL_NONE;
    if ((str_eqz(type, "integer") && val_is(v, VAL_INT)) || (str_eqz(type, "boolean") && val_is(v, VAL_BOOL)) ||
        (str_eqz(type, "number") && (val_is(v, VAL_INT) || val_is(v, VAL_DOUBLE))))
        return *v;
    if (str_eqz(type, "date") && val_is(v, VAL_STRING))
        return date_cell(a, v, now);
    return VAL_NONE;
}
