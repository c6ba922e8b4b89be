#include "cel/schema_types.h"
#include <string.h>

/* Sizes of JSON in bytes (the API server's cel/limits.go). */
enum {
    REQUEST_MAX = 3 * 1024 * 1024,
    STRING_MIN = 2,
    BOOL_MIN = 4,
    NUMBER_MIN = 1,
    DURATION_MIN = 3,
    DURATION_MAX = 32,
    DATE_SIZE = 12,
    TIME_MIN = 21,
    TIME_MAX = 32,
    TEXT_MAX = REQUEST_MAX - 2,
};

bool cel_reserved(struct str word)
{
    static const char *const words[] = {"true",     "false",   "null",      "in",       "as",  "break",  "const",
                                        "continue", "else",    "for",       "function", "if",  "import", "let",
                                        "loop",     "package", "namespace", "return",   "var", "void",   "while"};
    for (size_t i = 0; i < countof(words); i++)
        if (str_eqz(word, words[i]))
            return true;
    return false;
}

bool cel_escape(struct arena *a, struct str name, struct str *out)
{
    if (!name.n || (*name.p >= '0' && *name.p <= '9'))
        return false;
    if (cel_reserved(name)) {
        *out = arena_fmt(a, "__" STR_FMT "__", STR_ARG(name));
        return true;
    }
    AUTO(strbuf_fini) struct strbuf b = STRBUF(name.n * 16 + 1);
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
        if (c == '_' && i + 1 < name.n && name.p[i + 1] == '_') {
            strbuf_addz(&b, "__underscores__");
            i++;
        } else if (word) {
            strbuf_addc(&b, c);
        } else if (c == '.' || c == '-' || c == '/') {
            strbuf_addz(&b, c == '.' ? "__dot__" : c == '-' ? "__dash__" : "__slash__");
        } else {
            return false;
        }
    }
    *out = str_dup(a, strbuf_str(&b));
    return true;
}

static const struct cel_type *type_sized(struct arena *a, const struct cel_type *base, const struct schema_node *n,
                                         int64_t min, int64_t max)
{
    struct cel_type t = *base;
    t.node = n;
    t.min = min;
    t.max = max;
    return arena_dup(a, &t, sizeof t);
}

static bool has_max_length(const struct schema_node *n)
{
    return n->bounds && (n->bounds->has & BOUND_MAX_LENGTH);
}

static int64_t not_negative(int64_t n)
{
    return n < 0 ? 0 : n;
}

/* In bytes, as a code point may take four. */
static int64_t text_max(const struct schema_node *n)
{
    int64_t longest = 0;
    if (has_max_length(n))
        return not_negative(n->bounds->max_length) * 4;
    if (!n->bounds || !val_len(n->bounds->values) || (n->flags & SCHEMA_INT_OR_STRING))
        return TEXT_MAX;
    val_each_item (v, n->bounds->values)
        longest = MAX(longest, (int64_t)val_text(v).n);
    return longest;
}

static const struct cel_type *text_type(struct arena *a, const struct schema_node *n)
{
    if (str_eqz(n->format, "byte"))
        return type_sized(a, &cel_type_bytes, n, STRING_MIN,
                          has_max_length(n) ? not_negative(n->bounds->max_length) : TEXT_MAX);
    if (str_eqz(n->format, "duration"))
        return type_sized(a, &cel_type_duration, n, DURATION_MIN, DURATION_MAX);
    if (str_eqz(n->format, "date"))
        return type_sized(a, &cel_type_timestamp, n, DATE_SIZE, DATE_SIZE);
    if (str_eqz(n->format, "date-time"))
        return type_sized(a, &cel_type_timestamp, n, TIME_MIN, TIME_MAX);
    return type_sized(a, &cel_type_string, n, STRING_MIN, text_max(n));
}

static bool node_embedded(const struct schema_node *n)
{
    return n->flags & SCHEMA_EMBEDDED;
}

static const struct cel_type *container_type(struct arena *a, const struct schema_node *n, bool map)
{
    const struct schema_node *of = schema_node(n->type.of);
    const struct cel_type *item = of ? cel_type_of_schema(a, of, node_embedded(of)) : NULL;
    if (!item)
        return NULL;
    uint32_t bound = map ? BOUND_MAX_PROPERTIES : BOUND_MAX_ITEMS;
    int64_t max = (REQUEST_MAX - 2) / (item->min + (map ? 6 : 1));
    if (n->bounds && (n->bounds->has & bound))
        max = not_negative(map ? n->bounds->max_properties : n->bounds->max_items);
    const struct cel_type *key = type_sized(a, &cel_type_string, NULL, STRING_MIN, 0);
    return type_sized(a, map ? cel_type_map(a, key, item) : cel_type_list(a, item), n, 2, max);
}

static bool is_required(const struct schema_node *n, const struct name *name)
{
    for (uint16_t i = 0; i < n->nrequired; i++)
        if (n->required[i] == name || str_eq(n->required[i]->s, name->s))
            return true;
    return false;
}

static const struct cel_type *struct_made(struct arena *a, const struct schema_node *n, struct cel_field *fields,
                                          size_t count, int64_t min)
{
    struct cel_type t = {.kind = CT_STRUCT, .name = "object", .node = n, .nfields = (uint32_t)count, .min = min};
    t.fields = arena_dup(a, fields, (count + 1) * sizeof *fields);
    return arena_dup(a, &t, sizeof t);
}

/* metadata of a whole object: its name is all that rules may know. */
static const struct cel_type *meta_type(struct arena *a)
{
    const struct cel_type *text = type_sized(a, &cel_type_string, NULL, STRING_MIN, TEXT_MAX);
    struct cel_field fields[3] = {{S("name"), N(name), text}, {S("generateName"), N(generateName), text}};
    return struct_made(a, NULL, fields, 2, 2);
}

static const struct cel_type *object_type(struct arena *a, const struct schema_node *n, bool root)
{
    size_t nfields = n->type.kind == TYPE_STRUCT ? n->type.nfields : 0, count = 0;
    AUTO_FREE struct cel_field *fields = mem_alloc((nfields + 4) * sizeof *fields);
    int64_t min = 2;
    for (size_t i = 0; i < nfields; i++) {
        const struct field *f = &n->type.fields[i];
        const struct schema_node *below = schema_node(f->type);
        bool given = f->name == N(apiVersion) || f->name == N(kind) || f->name == N(metadata);
        if (!below || (root && given))
            continue;
        const struct cel_type *t = cel_type_of_schema(a, below, node_embedded(below));
        if (!t)
            continue;
        if (is_required(n, f->name) && !below->dflt)
            min += (int64_t)f->name->s.n + t->min + 4;
        fields[count] = (struct cel_field){STR_NONE, f->name, t};
        count += cel_escape(a, f->name->s, &fields[count].name);
    }
    if (root) {
        const struct cel_type *text = type_sized(a, &cel_type_string, NULL, STRING_MIN, TEXT_MAX);
        fields[count++] = (struct cel_field){S("apiVersion"), N(apiVersion), text};
        fields[count++] = (struct cel_field){S("kind"), N(kind), text};
        fields[count++] = (struct cel_field){S("metadata"), N(metadata), meta_type(a)};
    }
    return struct_made(a, n, fields, count, min);
}

const struct cel_type *cel_type_of_schema(struct arena *a, const struct schema_node *n, bool root)
{
    if (n->flags & SCHEMA_INT_OR_STRING)
        return type_sized(a, &cel_type_dyn, n, 1, text_max(n));
    switch ((enum schema_what)n->what) {
    case SCHEMA_UNTYPED: return root ? object_type(a, n, root) : NULL;
    case SCHEMA_OBJECT:
        return n->type.kind == TYPE_MAP && schema_node(n->type.of) ? container_type(a, n, true)
                                                                   : object_type(a, n, root);
    case SCHEMA_ARRAY: return container_type(a, n, false);
    case SCHEMA_STRING: return text_type(a, n);
    case SCHEMA_INTEGER: return type_sized(a, &cel_type_int, n, NUMBER_MIN, 0);
    case SCHEMA_NUMBER: return type_sized(a, &cel_type_double, n, NUMBER_MIN, 0);
    case SCHEMA_BOOLEAN: return type_sized(a, &cel_type_bool, n, BOOL_MIN, 0);
    }
    return NULL;
}

const struct cel_type *cel_type_below(struct arena *a, const struct cel_type *t, const struct schema_node *below,
                                      struct str property)
{
    if (!property.p)
        return t && (t->kind == CT_LIST || t->kind == CT_MAP) ? t->of[t->n - 1] : NULL;
    struct str name;
    if (t && t->kind == CT_STRUCT && cel_escape(a, property, &name)) {
        const struct cel_field *f = cel_type_field(t, name);
        if (f)
            return f->type;
    }
    return cel_type_of_schema(a, below, node_embedded(below));
}
