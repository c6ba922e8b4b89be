/* schema.c - from openAPIV3Schema to nodes, and from nodes to the types of a kind.
 *
 * One pass over the tree of the definition. Most of a real schema are scalars with nothing but a description, so
 * these share one node a type (`plain_nodes`), and the description stands with the field. Names are looked up in the
 * static table first and otherwise made once for the whole schema. What is alike is kept once - texts, values,
 * patterns, lists of fields, nodes - for definitions that embed a pod's spec in three places have it three times; as
 * what is inside is made first, two nodes are alike when their bytes are. (Nodes with rules are numbered, so each is
 * its own.)
 *
 * Not here: whether a schema may be so (validate_crd.c), and what is done with it (schema_values.c and others).
 */
#include "api/schema.h"
#include "api/codec.h"
#include "base/map.h"
#include "base/regex.h"

#define TEXT_OF(v, field) val_text(val_get((v), N(field)))

static const struct field_extra no_extra;
/* Of the members that every object has, where the schema does not name them. */
static const struct field_extra given_extra;

#define PLAIN(k, go_name, w)                                                                                         \
    {                                                                                                                \
        .type = {.kind = (k), .loose = true, .name = (go_name)}, .what = (w)                                         \
    }
static const struct schema_node plain_nodes[] = {
    [SCHEMA_UNTYPED] = PLAIN(TYPE_ANY, "", SCHEMA_UNTYPED),
    [SCHEMA_OBJECT] = PLAIN(TYPE_STRUCT, "", SCHEMA_OBJECT),
    [SCHEMA_ARRAY] = PLAIN(TYPE_ANY, "", SCHEMA_ARRAY),
    [SCHEMA_STRING] = PLAIN(TYPE_STRING, "string", SCHEMA_STRING),
    [SCHEMA_INTEGER] = PLAIN(TYPE_INT64, "int64", SCHEMA_INTEGER),
    [SCHEMA_NUMBER] = PLAIN(TYPE_DOUBLE, "float64", SCHEMA_NUMBER),
    [SCHEMA_BOOLEAN] = PLAIN(TYPE_BOOL, "bool", SCHEMA_BOOLEAN),
};

static const char *const what_texts[] = {
    [SCHEMA_UNTYPED] = "",        [SCHEMA_OBJECT] = "object",   [SCHEMA_ARRAY] = "array",
    [SCHEMA_STRING] = "string",   [SCHEMA_INTEGER] = "integer", [SCHEMA_NUMBER] = "number",
    [SCHEMA_BOOLEAN] = "boolean",
};

const char *schema_what_text(enum schema_what what)
{
    return what_texts[what];
}

struct schema_making {
    struct arena *a, scratch;
    struct map names, texts;          /* not static: text -> struct name; text -> its copy */
    struct map once, values, regexes; /* bytes, JSON, patterns -> what there is one of */
    size_t nodes, rules;
    bool bare;
    struct err *err;
};

static const struct name *schema_name(struct schema_making *m, struct str s)
{
    const struct name *name = name_find(s);
    if (!name && !(name = map_get(&m->names, s))) {
        name = name_of(m->a, s);
        (void)map_put(&m->names, s, (void *)(uintptr_t)name);
    }
    return name;
}

/* A copy of which there is one; "" costs nothing. */
static const char *schema_text(struct schema_making *m, struct str s)
{
    if (!s.n)
        return "";
    const char *have = map_get(&m->texts, s);
    if (!have) {
        have = arena_strz(m->a, s);
        (void)map_put(&m->texts, s, (void *)(uintptr_t)have);
    }
    return have;
}

static struct str schema_str(struct schema_making *m, struct str s)
{
    return s.n ? (struct str){schema_text(m, s), s.n} : S("");
}

/* The one copy of these bytes: what they point to is made once, too, so what is alike is the same. */
static const void *schema_once(struct schema_making *m, const void *p, size_t n)
{
    struct str bytes = {p, n};
    void *have = map_get(&m->once, bytes);
    if (!have) {
        have = arena_dup(m->a, p, n);
        (void)map_put(&m->once, bytes, have);
    }
    return have;
}

/* The one copy of a value; *json: as which it is written. */
static const struct val *schema_value(struct schema_making *m, const struct val *v, struct str *json)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(UINT32_MAX / 2);
    json_encode(&b, v);
    struct val *have = map_get(&m->values, strbuf_str(&b));
    if (!have) {
        have = ARENA_NEW(m->a, struct val);
        *have = val_copy(m->a, v);
        (void)map_put(&m->values, strbuf_str(&b), have);
    }
    if (json)
        *json = str_dup(&m->scratch, strbuf_str(&b));
    return have;
}

static const struct name *const *schema_names(struct schema_making *m, const struct val *list)
{
    size_t n = 0;
    const struct name **out = arena_alloc(&m->scratch, (val_len(list) + 1) * sizeof *out);
    val_each_item (it, list)
        out[n++] = schema_name(m, val_text(it));
    return schema_once(m, out, (n + 1) * sizeof *out);
}

static enum schema_what what_of(struct str type)
{
    for (size_t i = 1; i < countof(what_texts); i++)
        if (str_eqz(type, what_texts[i]))
            return (enum schema_what)i;
    return SCHEMA_UNTYPED;
}

/* --- bounds, rules --- */

static double number_of(const struct val *v)
{
    return val_is(v, VAL_INT) ? (double)v->i : val_is(v, VAL_DOUBLE) ? v->d : 0;
}

static void bound_number(struct schema_bounds *b, const struct val *v, double *to, enum schema_bound bit)
{
    if (!val_is(v, VAL_INT) && !val_is(v, VAL_DOUBLE))
        return;
    *to = number_of(v);
    b->has |= bit;
}

static void bound_count(struct schema_bounds *b, const struct val *v, int64_t *to, enum schema_bound bit)
{
    if (!val_is(v, VAL_INT))
        return;
    *to = v->i;
    b->has |= bit;
}

static bool bounds_make(struct schema_making *m, const struct val *props, const struct schema_bounds **out)
{
    struct schema_bounds b = {0};
    struct str pattern = TEXT_OF(props, pattern);
    const struct val *values = val_get(props, N(enum));
    bound_number(&b, val_get(props, N(minimum)), &b.minimum, BOUND_MINIMUM);
    bound_number(&b, val_get(props, N(maximum)), &b.maximum, BOUND_MAXIMUM);
    bound_number(&b, val_get(props, N(multipleOf)), &b.multiple_of, BOUND_MULTIPLE_OF);
    bound_count(&b, val_get(props, N(minLength)), &b.min_length, BOUND_MIN_LENGTH);
    bound_count(&b, val_get(props, N(maxLength)), &b.max_length, BOUND_MAX_LENGTH);
    bound_count(&b, val_get(props, N(minItems)), &b.min_items, BOUND_MIN_ITEMS);
    bound_count(&b, val_get(props, N(maxItems)), &b.max_items, BOUND_MAX_ITEMS);
    bound_count(&b, val_get(props, N(minProperties)), &b.min_properties, BOUND_MIN_PROPERTIES);
    bound_count(&b, val_get(props, N(maxProperties)), &b.max_properties, BOUND_MAX_PROPERTIES);
    if (val_true(val_get(props, N(exclusiveMinimum))))
        b.has |= BOUND_EXCLUSIVE_MINIMUM;
    if (val_true(val_get(props, N(exclusiveMaximum))))
        b.has |= BOUND_EXCLUSIVE_MAXIMUM;
    if (pattern.n) {
        b.has |= BOUND_PATTERN;
        b.pattern = schema_str(m, pattern);
        b.regex = map_get(&m->regexes, pattern);
        if (!b.regex && !(b.regex = regex_compile(m->a, pattern, m->err)))
            return false;
        (void)map_put(&m->regexes, pattern, (void *)(uintptr_t)b.regex);
    }
    *out = NULL;
    if (!b.has && !val_len(values))
        return true;
    if (val_len(values))
        b.values = schema_value(m, values, NULL);
    *out = schema_once(m, &b, sizeof b);
    return true;
}

static void rules_make(struct schema_making *m, const struct val *list, struct schema_node *n)
{
    if (!val_len(list))
        return;
    struct schema_rule *rules = arena_alloc(m->a, val_len(list) * sizeof *rules), *to = rules;
    val_each_item (it, list) {
        const struct val *optional = val_get(it, N(optionalOldSelf));
        *to++ = (struct schema_rule){
            .rule = schema_str(m, TEXT_OF(it, rule)),
            .message = schema_str(m, TEXT_OF(it, message)),
            .message_expression = schema_str(m, TEXT_OF(it, messageExpression)),
            .reason = schema_str(m, TEXT_OF(it, reason)),
            .field_path = schema_str(m, TEXT_OF(it, fieldPath)),
            .has_optional_old_self = val_is(optional, VAL_BOOL),
            .optional_old_self = val_true(optional),
        };
    }
    n->rules = rules;
    n->nrules = (uint16_t)MIN(val_len(list), UINT16_MAX);
    n->first_rule = (uint32_t)m->rules;
    n->flags |= SCHEMA_HAS_RULES;
    m->rules += n->nrules;
}

/* --- nodes --- */

static const struct schema_node *node_make(struct schema_making *m, const struct val *props, unsigned depth,
                                           bool of_field);

static bool nodes_make(struct schema_making *m, const struct val *list, unsigned depth,
                       const struct schema_node *const **out, size_t *n)
{
    *n = 0;
    if (!val_len(list))
        return true;
    const struct schema_node **nodes = arena_alloc(&m->scratch, val_len(list) * sizeof *nodes);
    val_each_item (it, list)
        if (!(nodes[(*n)++] = node_make(m, it, depth, false)))
            return false;
    *out = schema_once(m, nodes, *n * sizeof *nodes);
    return true;
}

static bool logic_make(struct schema_making *m, const struct val *props, unsigned depth, struct schema_node *n)
{
    struct schema_logic l = {0};
    const struct val *not = val_get(props, N(not ));
    if (!nodes_make(m, val_get(props, N(allOf)), depth, &l.all, &l.nall) ||
        !nodes_make(m, val_get(props, N(anyOf)), depth, &l.any, &l.nany) ||
        !nodes_make(m, val_get(props, N(oneOf)), depth, &l.one, &l.none) ||
        (val_is(not, VAL_MAP) && !(l.not = node_make(m, not, depth, false))))
        return false;
    if (l.nall || l.nany || l.none || l.not )
        n->logic = schema_once(m, &l, sizeof l);
    for (size_t i = 0; i < l.nall; i++)
        n->flags |= l.all[i]->flags & SCHEMA_HAS_RULES;
    return true;
}

static uint16_t flags_of(const struct val *props)
{
    struct str list = TEXT_OF(props, x_kubernetes_list_type), map = TEXT_OF(props, x_kubernetes_map_type);
    const struct val *keeps = val_get(props, N(x_kubernetes_preserve_unknown_fields));
    unsigned flags = 0;
    if (val_true(val_get(props, N(nullable))))
        flags |= SCHEMA_NULLABLE;
    if (val_true(val_get(props, N(x_kubernetes_int_or_string))))
        flags |= SCHEMA_INT_OR_STRING;
    if (val_true(val_get(props, N(x_kubernetes_embedded_resource))))
        flags |= SCHEMA_EMBEDDED | SCHEMA_HAS_CHECKS;
    if (val_true(keeps))
        flags |= SCHEMA_PRESERVES;
    else if (val_is(keeps, VAL_BOOL))
        flags |= SCHEMA_PRESERVES_FALSE;
    if (val_true(val_get(props, N(uniqueItems))))
        flags |= SCHEMA_UNIQUE;
    if (str_eqz(list, "set"))
        flags |= SCHEMA_LIST_SET | SCHEMA_HAS_CHECKS;
    else if (str_eqz(list, "map"))
        flags |= SCHEMA_LIST_MAP | SCHEMA_HAS_CHECKS;
    else if (str_eqz(list, "atomic"))
        flags |= SCHEMA_LIST_ATOMIC;
    if (str_eqz(map, "atomic"))
        flags |= SCHEMA_MAP_ATOMIC;
    else if (str_eqz(map, "granular"))
        flags |= SCHEMA_MAP_GRANULAR;
    return (uint16_t)flags;
}

static uint8_t type_kind_of(const struct schema_node *n)
{
    switch ((enum schema_what)n->what) {
    case SCHEMA_OBJECT: return n->flags & SCHEMA_OPEN ? TYPE_MAP : TYPE_STRUCT;
    case SCHEMA_ARRAY: return n->type.of ? TYPE_LIST : TYPE_ANY;
    case SCHEMA_STRING: return TYPE_STRING;
    case SCHEMA_INTEGER: return str_eqz(n->format, "int32") ? TYPE_INT32 : TYPE_INT64;
    case SCHEMA_NUMBER: return TYPE_DOUBLE;
    case SCHEMA_BOOLEAN: return TYPE_BOOL;
    case SCHEMA_UNTYPED: break;
    }
    return n->flags & SCHEMA_INT_OR_STRING ? TYPE_INT_OR_STRING : n->type.nfields ? TYPE_STRUCT : TYPE_ANY;
}

static const char *type_name_of(uint8_t kind)
{
    switch ((enum type_kind)kind) {
    case TYPE_STRING: return "string";
    case TYPE_BOOL: return "bool";
    case TYPE_INT32: return "int32";
    case TYPE_INT64: return "int64";
    case TYPE_DOUBLE: return "float64";
    case TYPE_INT_OR_STRING: return "intstr.IntOrString";
    case TYPE_STRUCT:
    case TYPE_LIST:
    case TYPE_MAP:
    case TYPE_BYTES:
    case TYPE_TIME:
    case TYPE_MICROTIME:
    case TYPE_DURATION:
    case TYPE_QUANTITY:
    case TYPE_ANY:
    case TYPE_SCHEMA_OR_BOOL:
    case TYPE_SCHEMA_OR_ARRAY:
    case TYPE_SCHEMA_OR_STRINGS: break;
    }
    return "";
}

static const struct field_extra *extra_make(struct schema_making *m, const struct val *props,
                                            const struct schema_node *n)
{
    struct str doc = TEXT_OF(props, description);
    struct field_extra x = {.list_keys = n->list_keys};
    if (doc.n && !m->bare)
        x.doc = schema_text(m, doc);
    if (n->dflt) {
        struct str json;
        (void)schema_value(m, n->dflt, &json);
        x.dflt = schema_text(m, json);
    }
    return x.list_keys || x.doc || x.dflt ? schema_once(m, &x, sizeof x) : &no_extra;
}

static int by_name(const void *x, const void *y)
{
    return str_cmp(((const struct field *)x)->name->s, ((const struct field *)y)->name->s);
}

const struct field *schema_property(const struct schema_node *n, const struct name *name)
{
    size_t low = 0, high = n->type.nfields;
    while (low < high) {
        size_t mid = (low + high) / 2;
        const struct field *f = &n->type.fields[mid];
        int order = f->name == name ? 0 : str_cmp(name->s, f->name->s);
        if (!order)
            return f;
        if (order < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

static struct field field_make(struct schema_making *m, const struct name *name, const struct val *props,
                               const struct schema_node *n)
{
    unsigned flags = FIELD_OMITEMPTY | FIELD_POINTER;
    if (n->flags & SCHEMA_LIST_SET)
        flags |= FIELD_LIST_SET;
    if (n->flags & SCHEMA_LIST_MAP)
        flags |= FIELD_LIST_MAP;
    if (n->flags & (SCHEMA_LIST_ATOMIC | SCHEMA_MAP_ATOMIC))
        flags |= FIELD_ATOMIC;
    if (n->flags & SCHEMA_MAP_GRANULAR)
        flags |= FIELD_GRANULAR;
    return (struct field){name, &n->type, extra_make(m, props, n), 0, (uint16_t)flags, 0};
}

/* apiVersion, kind and metadata, of the whole and of embedded resources. */
static void give_members(struct schema_making *m, struct schema_node *n)
{
    static const struct {
        enum { GIVEN_TEXT, GIVEN_META } of;
        uint16_t name;
    } given[] = {{GIVEN_TEXT, NAME_apiVersion}, {GIVEN_TEXT, NAME_kind}, {GIVEN_META, NAME_metadata}};
    struct field *fields = arena_alloc(&m->scratch, (n->type.nfields + countof(given)) * sizeof *fields);
    size_t count = n->type.nfields;
    if (count)
        memcpy(fields, n->type.fields, count * sizeof *fields);
    n->type.fields = fields;
    for (size_t i = 0; i < countof(given); i++) {
        const struct name *name = &names[given[i].name];
        struct field *have = (struct field *)(uintptr_t)type_field(
            &(struct type){.fields = fields, .nfields = (uint16_t)count}, name);
        if (have && given[i].of == GIVEN_META) {
            n->meta = schema_node(have->type);
            have->type = &type_meta_v1_ObjectMeta;
        } else if (!have) {
            fields[count++] = (struct field){name,
                                             given[i].of == GIVEN_META ? &type_meta_v1_ObjectMeta
                                                                       : &plain_nodes[SCHEMA_STRING].type,
                                             &given_extra,
                                             0,
                                             FIELD_OMITEMPTY | FIELD_POINTER,
                                             0};
        }
    }
    n->type.nfields = (uint16_t)count;
    qsort(fields, count, sizeof *fields, by_name);
}

bool schema_given(const struct field *f)
{
    return f->x == &given_extra;
}

static bool fields_make(struct schema_making *m, const struct val *properties, unsigned depth, struct schema_node *n)
{
    size_t count = val_len(properties), i = 0;
    if (!count)
        return true;
    if (count > UINT16_MAX - 3)
        return err_set(m->err, E_INVALID, "a schema has more than %d properties in one object", UINT16_MAX - 3);
    struct field *fields = arena_alloc(&m->scratch, count * sizeof *fields);
    val_each_member (p, properties) {
        const struct schema_node *inner = node_make(m, &p->v, depth, true);
        if (!inner)
            return false;
        n->flags |= inner->flags & (SCHEMA_DEFAULTS | SCHEMA_HAS_RULES | SCHEMA_HAS_CHECKS);
        fields[i++] = field_make(m, schema_name(m, p->name->s), &p->v, inner);
    }
    qsort(fields, count, sizeof *fields, by_name);
    n->type.fields = fields;
    n->type.nfields = (uint16_t)count;
    return true;
}

static bool required_make(struct schema_making *m, const struct val *list, struct schema_node *n)
{
    if (val_len(list) > UINT16_MAX)
        return err_set(m->err, E_INVALID, "a schema requires more than %d properties", UINT16_MAX);
    if (!val_len(list))
        return true;
    n->required = schema_names(m, list);
    n->nrequired = (uint16_t)val_len(list);
    for (uint16_t i = 0; i < n->nrequired; i++) {
        struct field *f = (struct field *)(uintptr_t)schema_property(n, n->required[i]);
        if (f)
            f->flags |= FIELD_REQUIRED;
    }
    return true;
}

/* What holds the other values of an object, or the elements of a list. */
static bool inner_make(struct schema_making *m, const struct val *props, unsigned depth, struct schema_node *n)
{
    const struct val *more = val_get(props, N(additionalProperties)), *items = val_get(props, N(items));
    const struct schema_node *inner = NULL;
    if (val_is(more, VAL_MAP)) {
        n->flags |= SCHEMA_OPEN;
        if (!(inner = node_make(m, more, depth, false)))
            return false;
    } else if (val_true(more)) {
        n->flags |= SCHEMA_OPEN;
        inner = &plain_nodes[SCHEMA_UNTYPED];
    } else if (val_is(more, VAL_BOOL)) {
        n->flags |= SCHEMA_CLOSED;
    } else if (val_is(items, VAL_MAP)) {
        if (!(inner = node_make(m, items, depth, false)))
            return false;
    }
    if (inner) {
        n->type.of = &inner->type;
        n->flags |= inner->flags & (SCHEMA_DEFAULTS | SCHEMA_HAS_RULES | SCHEMA_HAS_CHECKS);
    }
    return true;
}

static void written_make(struct schema_making *m, const struct val *props, struct schema_node *n)
{
    const struct val *example = val_get(props, N(example)), *docs = val_get(props, N(externalDocs));
    struct schema_written w = {.title = schema_str(m, TEXT_OF(props, title))};
    if (!w.title.n && !example && !docs)
        return;
    struct schema_written *to = arena_dup(m->a, &w, sizeof w);
    to->example = val_copy(m->a, example);
    to->has_example = example != NULL;
    to->external_docs = val_copy(m->a, docs);
    n->written = to;
}

static bool node_is_plain(const struct schema_node *n)
{
    return !n->flags && !n->format.n && !n->type.described && !n->type.nfields && !n->type.of && !n->nrequired &&
           !n->bounds && !n->logic && !n->nrules && !n->dflt && !n->written;
}

/* The fields were made in passing. */
static void keep_fields(struct schema_making *m, struct schema_node *n)
{
    if (n->type.nfields)
        n->type.fields = schema_once(m, n->type.fields, n->type.nfields * sizeof *n->type.fields);
}

/* of_field: its description stands with the field. */
static bool node_fill(struct schema_making *m, const struct val *props, unsigned depth, bool of_field,
                      struct schema_node *n)
{
    const struct val *dflt = val_get(props, N(default));
    n->what = what_of(TEXT_OF(props, type));
    n->flags = flags_of(props);
    n->format = schema_str(m, TEXT_OF(props, format));
    n->type.loose = true;
    if (!of_field && !m->bare && TEXT_OF(props, description).n)
        n->type.described = schema_text(m, TEXT_OF(props, description));
    rules_make(m, val_get(props, N(x_kubernetes_validations)), n); /* first: they are counted in preorder */
    if (!bounds_make(m, props, &n->bounds) || !fields_make(m, val_get(props, N(properties)), depth + 1, n) ||
        !inner_make(m, props, depth + 1, n) || !logic_make(m, props, depth + 1, n))
        return false;
    if (n->flags & SCHEMA_EMBEDDED)
        give_members(m, n);
    if (!required_make(m, val_get(props, N(required)), n))
        return false;
    if (n->flags & SCHEMA_LIST_MAP)
        n->list_keys = schema_names(m, val_get(props, N(x_kubernetes_list_map_keys)));
    if (dflt) {
        n->dflt = schema_value(m, dflt, NULL);
        n->flags |= SCHEMA_DEFAULTS;
    }
    if (!m->bare)
        written_make(m, props, n);
    n->type.atomic = n->flags & (SCHEMA_MAP_ATOMIC | SCHEMA_LIST_ATOMIC);
    n->type.kind = type_kind_of(n);
    n->type.keeps = n->flags & SCHEMA_PRESERVES;
    n->type.name = type_name_of(n->type.kind);
    n->type.no_pb = true;
    return true;
}

static const struct schema_node *node_make(struct schema_making *m, const struct val *props, unsigned depth,
                                           bool of_field)
{
    struct schema_node n = {0};
    if (depth > SCHEMA_DEPTH) {
        (void)err_set(m->err, E_INVALID, "a schema is nested in more than %d others", SCHEMA_DEPTH);
        return NULL;
    }
    if (++m->nodes > SCHEMA_NODES) {
        (void)err_set(m->err, E_INVALID, "a schema is made of more than %d others", SCHEMA_NODES);
        return NULL;
    }
    if (!node_fill(m, props, depth, of_field, &n))
        return NULL;
    if (node_is_plain(&n) && n.type.kind == plain_nodes[n.what].type.kind)
        return &plain_nodes[n.what];
    keep_fields(m, &n);
    return schema_once(m, &n, sizeof n);
}

static bool schema_make(struct arena *a, const struct val *props, bool bare, const struct schema **out,
                        struct err *err)
{
    struct schema_making m = {.a = a, .bare = bare, .err = err};
    struct schema_node n = {0};
    bool ok = node_fill(&m, props, 0, false, &n);
    if (ok && n.what != SCHEMA_OBJECT)
        ok = err_set(err, E_INVALID, "the type of the whole must be object");
    if (ok) {
        if (!(n.flags & SCHEMA_EMBEDDED))
            give_members(&m, &n);
        keep_fields(&m, &n);
        struct schema s = {arena_dup(a, &n, sizeof n), m.nodes + 1, m.rules};
        *out = arena_dup(a, &s, sizeof s);
    }
    map_fini(&m.names);
    map_fini(&m.texts);
    map_fini(&m.once);
    map_fini(&m.values);
    map_fini(&m.regexes);
    arena_fini(&m.scratch);
    return ok;
}

bool schema_compile(struct arena *a, const struct val *props, const struct schema **out, struct err *err)
{
    return schema_make(a, props, false, out, err);
}

bool schema_compile_bare(struct arena *a, const struct val *props, const struct schema **out, struct err *err)
{
    return schema_make(a, props, true, out, err);
}

/* --- types --- */

/* "dev.example" of "example.dev". */
static void add_reversed(struct strbuf *b, struct str group)
{
    ptrdiff_t dot;
    while ((dot = str_rfind_char(group, '.')) >= 0) {
        strbuf_add(b, str_sub(group, (size_t)dot + 1, group.n));
        strbuf_addc(b, '.');
        group = str_sub(group, 0, (size_t)dot);
    }
    strbuf_add(b, group);
}

const struct type *schema_type(struct arena *a, const struct schema *s, struct str group, struct str version,
                               struct str kind, struct str list_kind, const struct type **list)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    add_reversed(&b, group);
    strbuf_addf(&b, "." STR_FMT ".", STR_ARG(version));
    struct schema_node *root = arena_dup(a, s->root, sizeof *root);
    root->type.name = arena_strz(a, kind);
    root->type.openapi = arena_fmt(a, STR_FMT STR_FMT, STR_ARG(strbuf_str(&b)), STR_ARG(kind)).p;

    const struct type *like = &type_core_v1_ConfigMapList; /* kind, apiVersion, metadata, items */
    struct type *items = ARENA_NEW(a, struct type), *of = ARENA_NEW(a, struct type);
    struct field *fields = arena_dup(a, type_fields(like), like->nfields * sizeof *fields);
    *items = (struct type){.kind = TYPE_LIST, .name = "", .of = &root->type, .no_pb = true};
    fields[like->nfields - 1].type = items;
    *of = (struct type){.kind = TYPE_STRUCT,
                        .name = arena_strz(a, list_kind),
                        .openapi = arena_fmt(a, STR_FMT STR_FMT, STR_ARG(strbuf_str(&b)), STR_ARG(list_kind)).p,
                        .fields = fields,
                        .nfields = like->nfields,
                        .no_pb = true};
    *list = of;
    return &root->type;
}
