#include "cel/type.h"
#include "cel/func.h"
#include <string.h>

const struct cel_type cel_type_error = {CT_ERROR, .name = "!error!"}, cel_type_dyn = {CT_DYN, .name = "dyn"},
                      cel_type_null = {CT_NULL, .name = "null_type"}, cel_type_bool = {CT_BOOL, .name = "bool"},
                      cel_type_int = {CT_INT, .name = "int"}, cel_type_uint = {CT_UINT, .name = "uint"},
                      cel_type_double = {CT_DOUBLE, .name = "double"},
                      cel_type_string = {CT_STRING, .name = "string"}, cel_type_bytes = {CT_BYTES, .name = "bytes"},
                      cel_type_duration = {CT_DURATION, .name = "google.protobuf.Duration"},
                      cel_type_timestamp = {CT_TIMESTAMP, .name = "google.protobuf.Timestamp"};

static const struct cel_type *type_made(struct arena *a, struct cel_type t)
{
    return arena_dup(a, &t, sizeof t);
}

const struct cel_type *cel_type_list(struct arena *a, const struct cel_type *element)
{
    return type_made(a, (struct cel_type){CT_LIST, 1, .name = "list", .of = {element}});
}

const struct cel_type *cel_type_map(struct arena *a, const struct cel_type *key, const struct cel_type *value)
{
    return type_made(a, (struct cel_type){CT_MAP, 2, .name = "map", .of = {key, value}});
}

const struct cel_type *cel_type_optional(struct arena *a, const struct cel_type *of)
{
    return type_made(a, (struct cel_type){CT_OPAQUE, 1, .name = "optional_type", .of = {of}});
}

const struct cel_type *cel_type_param(struct arena *a, uint32_t var)
{
    return type_made(a, (struct cel_type){CT_PARAM, .var = var});
}

bool cel_type_is_optional(const struct cel_type *t)
{
    return t->kind == CT_OPAQUE && t->n == 1 && strcmp(t->name, "optional_type") == 0;
}

static bool same_head(const struct cel_type *a, const struct cel_type *b)
{
    if (a->kind != b->kind || a->n != b->n)
        return false;
    if (a->kind == CT_OPAQUE)
        return strcmp(a->name, b->name) == 0;
    if (a->kind == CT_STRUCT)
        return a->fields == b->fields && (a->fields || strcmp(a->name, b->name) == 0);
    return a->kind != CT_PARAM || a->var == b->var;
}

bool cel_type_same(const struct cel_type *a, const struct cel_type *b)
{
    if (a == b)
        return true;
    if (!same_head(a, b))
        return false;
    for (unsigned i = 0; i < a->n; i++)
        if (!cel_type_same(a->of[i], b->of[i]))
            return false;
    return true;
}

const struct cel_field *cel_type_field(const struct cel_type *t, struct str name)
{
    for (uint32_t i = 0; i < t->nfields; i++)
        if (str_eq(t->fields[i].name, name))
            return &t->fields[i];
    return NULL;
}

void cel_type_add(struct strbuf *b, const struct cel_type *t)
{
    static const char *const short_names[CT_PARAM + 1] = {
        [CT_NULL] = "null", [CT_DURATION] = "duration", [CT_TIMESTAMP] = "timestamp", [CT_TYPE] = "type"};
    if (t->kind == CT_PARAM) {
        strbuf_addf(b, "_var%u", t->var);
        return;
    }
    strbuf_addz(b, short_names[t->kind] ? short_names[t->kind] : t->name);
    for (unsigned i = 0; i < t->n; i++) {
        strbuf_addz(b, i ? ", " : "(");
        cel_type_add(b, t->of[i]);
    }
    strbuf_addz(b, t->n ? ")" : "");
}

void cel_type_add_full(struct strbuf *b, const struct cel_type *t)
{
    strbuf_addz(b, t->name ? t->name : "dyn");
    for (unsigned i = 0; i < t->n; i++) {
        strbuf_addz(b, i ? ", " : "(");
        cel_type_add_full(b, t->of[i]);
    }
    strbuf_addz(b, t->n ? ")" : "");
}

static const struct cel_field json_patch_fields[] = {{S_INIT("from"), NULL, &cel_type_string},
                                                     {S_INIT("op"), NULL, &cel_type_string},
                                                     {S_INIT("path"), NULL, &cel_type_string},
                                                     {S_INIT("value"), NULL, &cel_type_dyn}};
const struct cel_type cel_type_json_patch = {
    .kind = CT_STRUCT, .name = "JSONPatch", .fields = json_patch_fields, .nfields = countof(json_patch_fields)};

const struct cel_type *cel_type_object(struct arena *a, struct str name)
{
    if (!str_eqz(name, "Object") && !str_starts(name, S("Object.")))
        return NULL;
    return type_made(a, (struct cel_type){CT_STRUCT, .name = arena_strz(a, name)});
}

/* ---- rows ---- */

static const struct {
    const char *text;
    const struct cel_type *type;
} words[] = {
    {"dyn", &cel_type_dyn},           {"null_type", &cel_type_null},
    {"bool", &cel_type_bool},         {"int", &cel_type_int},
    {"uint", &cel_type_uint},         {"double", &cel_type_double},
    {"string", &cel_type_string},     {"bytes", &cel_type_bytes},
    {"duration", &cel_type_duration}, {"timestamp", &cel_type_timestamp},
};

struct signature_reader {
    struct arena *a;
    const char *p;
    uint32_t *vars;
    const struct cel_type *params[26];
};

static bool read_mark(struct signature_reader *r, char c)
{
    while (*r->p == ' ')
        r->p++;
    if (*r->p != c)
        return false;
    r->p++;
    return true;
}

static const struct cel_type *read_type(struct signature_reader *r)
{
    while (*r->p == ' ')
        r->p++;
    const char *from = r->p;
    while (*r->p && !strchr("(), ", *r->p) && !(r->p[0] == '.' && r->p[1] == '('))
        r->p++;
    struct str word = {from, (size_t)(r->p - from)};
    if (word.n == 1 && *from >= 'A' && *from <= 'Z') {
        const struct cel_type **param = &r->params[*from - 'A'];
        if (!*param)
            *param = cel_type_param(r->a, (*r->vars)++);
        return *param;
    }
    for (size_t i = 0; i < countof(words); i++)
        if (str_eqz(word, words[i].text))
            return words[i].type;
    struct cel_type t = {.kind = CT_OPAQUE};
    if (str_eqz(word, "list"))
        t = (struct cel_type){CT_LIST, .name = "list"};
    else if (str_eqz(word, "map"))
        t = (struct cel_type){CT_MAP, .name = "map"};
    else if (str_eqz(word, "type"))
        t = (struct cel_type){CT_TYPE, .name = "type"};
    else
        t.name = arena_strz(r->a, word);
    if (*r->p == '(') {
        for (r->p++; t.n < 2; read_mark(r, ','), t.n++) {
            if (read_mark(r, ')'))
                return type_made(r->a, t);
            t.of[t.n] = read_type(r);
        }
        read_mark(r, ')');
    }
    return type_made(r->a, t);
}

void cel_signature_read(struct arena *a, const char *text, uint32_t *vars, struct cel_signature *out)
{
    struct signature_reader r = {.a = a, .p = text, .vars = vars};
    *out = (struct cel_signature){.method = *text != '('};
    if (out->method) {
        out->args[out->n++] = read_type(&r);
        read_mark(&r, '.');
    }
    read_mark(&r, '(');
    while (!read_mark(&r, ')')) {
        ASSERT(*r.p && out->n < CEL_ARGS);
        out->args[out->n++] = read_type(&r);
        read_mark(&r, ',');
    }
    out->result = read_type(&r);
}

uint32_t cel_type_kinds(const struct cel_type *t)
{
    static const uint8_t kinds[] = {
        [CT_NULL] = CEL_NULL,   [CT_BOOL] = CEL_BOOL,         [CT_INT] = CEL_INT,
        [CT_UINT] = CEL_UINT,   [CT_DOUBLE] = CEL_DOUBLE,     [CT_STRING] = CEL_STRING,
        [CT_BYTES] = CEL_BYTES, [CT_DURATION] = CEL_DURATION, [CT_TIMESTAMP] = CEL_TIMESTAMP,
        [CT_LIST] = CEL_LIST,   [CT_MAP] = CEL_MAP,           [CT_TYPE] = CEL_TYPE,
        [CT_STRUCT] = CEL_MAP,
    };
    if (cel_type_is_free(t) || t->kind == CT_PARAM)
        return ~(uint32_t)(1u << CEL_ERROR);
    if (t->kind == CT_OPAQUE)
        return 1u << (cel_type_is_optional(t) ? CEL_OPTIONAL : CEL_OPAQUE);
    return 1u << kinds[t->kind];
}

static bool opaque_type_known(struct str name)
{
    for (const struct cel_library *const *lib = cel_libraries; *lib; lib++)
        for (size_t i = 0; i < (*lib)->n; i++) {
            struct str type = str_of((*lib)->functions[i].type);
            ptrdiff_t at = str_find(type, name);
            if (at >= 0 && (size_t)at + name.n == type.n)
                return true;
        }
    return false;
}

const struct cel_type *cel_type_named(struct arena *a, struct str name)
{
    for (size_t i = 1; i < countof(words); i++)
        if (str_eqz(name, words[i].type->name))
            return words[i].type;
    if (str_eqz(name, "list"))
        return cel_type_list(a, &cel_type_dyn);
    if (str_eqz(name, "map"))
        return cel_type_map(a, &cel_type_dyn, &cel_type_dyn);
    if (str_eqz(name, "type"))
        return type_made(a, (struct cel_type){CT_TYPE, .name = "type"});
    if (str_eqz(name, "optional_type"))
        return cel_type_optional(a, &cel_type_dyn);
    if (str_find_char(name, '.') > 0 && opaque_type_known(name))
        return type_made(a, (struct cel_type){CT_OPAQUE, .name = arena_strz(a, name)});
    return NULL;
}

/* ---- which may stand for which ---- */

void cel_bindings_fini(struct cel_bindings *b)
{
    array_fini(&b->bound);
    array_fini(&b->trail);
    array_fini(&b->before);
}

static const struct cel_type *binding_of(const struct cel_bindings *b, uint32_t var)
{
    return var < b->bound.n ? b->bound.p[var] : NULL;
}

static void bind_var(struct cel_bindings *b, uint32_t var, const struct cel_type *to)
{
    while (b->bound.n <= var)
        array_push(&b->bound, NULL);
    array_push(&b->trail, var);
    array_push(&b->before, b->bound.p[var]);
    b->bound.p[var] = to;
}

static void unbind_to(struct cel_bindings *b, size_t mark)
{
    while (b->trail.n > mark) {
        uint32_t var = array_pop(&b->trail);
        b->bound.p[var] = array_pop(&b->before);
    }
}

static bool type_mentions(const struct cel_bindings *b, const struct cel_type *t, uint32_t var, unsigned depth)
{
    if (depth > 100)
        return true;
    if (t->kind == CT_PARAM) {
        const struct cel_type *to = binding_of(b, t->var);
        return t->var == var || (to && type_mentions(b, to, var, depth + 1));
    }
    for (unsigned i = 0; i < t->n; i++)
        if (type_mentions(b, t->of[i], var, depth + 1))
            return true;
    return false;
}

static bool more_general(const struct cel_type *a, const struct cel_type *b)
{
    if (a->kind == CT_DYN || a->kind == CT_PARAM)
        return true;
    if (b->kind == CT_DYN || b->kind == CT_PARAM || !same_head(a, b))
        return false;
    for (unsigned i = 0; i < a->n; i++)
        if (!more_general(a->of[i], b->of[i]))
            return false;
    return true;
}

const struct cel_type *cel_type_general(const struct cel_type *a, const struct cel_type *b)
{
    return more_general(a, b) ? a : b;
}

static bool type_fits(struct cel_bindings *b, const struct cel_type *to, const struct cel_type *from);

/* Whether the variable may stand for `t`; *bound: it already stood for something. */
static bool var_fits(struct cel_bindings *b, const struct cel_type *t, const struct cel_type *var, bool *bound)
{
    *bound = true;
    if (cel_type_same(t, var))
        return true;
    const struct cel_type *to = binding_of(b, var->var);
    if (to) {
        if (cel_type_same(t, to))
            return true;
        if (!type_fits(b, t, to))
            return false;
        const struct cel_type *general = cel_type_general(t, to);
        if (!type_mentions(b, general, var->var, 0))
            bind_var(b, var->var, general);
        return true;
    }
    *bound = false;
    if (type_mentions(b, t, var->var, 0))
        return false;
    bind_var(b, var->var, t);
    return true;
}

static bool null_assignable(const struct cel_type *t)
{
    return t->kind == CT_NULL || t->kind == CT_STRUCT || t->kind == CT_OPAQUE || t->kind == CT_DURATION ||
           t->kind == CT_TIMESTAMP;
}

static bool type_fits(struct cel_bindings *b, const struct cel_type *to, const struct cel_type *from)
{
    bool bound;
    if (from->kind == CT_PARAM) {
        if (var_fits(b, to, from, &bound))
            return true;
        if (bound)
            return false;
    }
    if (to->kind == CT_PARAM)
        return var_fits(b, from, to, &bound);
    if (cel_type_is_free(to) || cel_type_is_free(from))
        return true;
    if (to->kind == CT_NULL)
        return null_assignable(from);
    if (from->kind == CT_NULL)
        return null_assignable(to);
    if (to->kind == CT_TYPE)
        return from->kind == CT_TYPE;
    if (!same_head(to, from))
        return false;
    for (unsigned i = 0; i < to->n; i++)
        if (!type_fits(b, to->of[i], from->of[i]))
            return false;
    return true;
}

bool cel_type_assignable(struct cel_bindings *b, const struct cel_type *to, const struct cel_type *from)
{
    return cel_types_assignable(b, 1, &to, &from);
}

bool cel_types_assignable(struct cel_bindings *b, size_t n, const struct cel_type *const *to,
                          const struct cel_type *const *from)
{
    size_t mark = b->trail.n;
    for (size_t i = 0; i < n; i++)
        if (!type_fits(b, to[i], from[i])) {
            unbind_to(b, mark);
            return false;
        }
    return true;
}

const struct cel_type *cel_type_resolve(struct arena *a, struct cel_bindings *b, const struct cel_type *t, bool final)
{
    if (t->kind == CT_PARAM) {
        const struct cel_type *to = binding_of(b, t->var);
        if (to)
            return cel_type_resolve(a, b, to, final);
        return final ? &cel_type_dyn : t;
    }
    const struct cel_type *of[2] = {t->of[0], t->of[1]};
    for (unsigned i = 0; i < t->n; i++)
        of[i] = cel_type_resolve(a, b, t->of[i], final);
    if (of[0] == t->of[0] && of[1] == t->of[1])
        return t;
    struct cel_type changed = *t;
    memcpy(changed.of, of, sizeof of);
    return type_made(a, changed);
}
