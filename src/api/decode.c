/* decode.c - from JSON text to trees, by type or as it comes. YAML becomes JSON first (wire/yaml.h), so there is one
 * decoder. wire/json.h has checked the whole text beforehand (syntax, depth), so the walk meets no syntax errors and
 * goes over each value once.
 *
 * What it finds wrong it says as Go's encoding/json does, because clients and people read it:
 *
 * - A wrong type is noted once, the first of them, and the value is skipped. The decoding goes on, so that unknown
 *   and duplicate fields further down are still listed; the error is returned at the end (`failed`). Types with an
 *   UnmarshalJSON of their own (quantities, times, durations) end it at once, as they do in Go.
 * - A place in the object is a chain of frames on the C stack, made into text only when there is something to say.
 *   The notes' path has every frame ("spec.containers[0].imagE"), that of Go's type errors only the fields.
 * - null takes away an earlier value of a list, a map or a pointer, and leaves anything else as it was. Of a member
 *   that is there twice the last one holds, and it is noted.
 *
 * Members may come in any order, and stand in the tree in the order of the type's fields. They gather on one stack
 * for all levels (struct builder), and each level takes its part off at its end. Decoding a member may move the
 * stack: that is why decode_struct asks for the member's place a second time.
 *
 * What comes out is canonical, as codec.h promises: a field that Go could not tell from an absent one is left out.
 * Fields of type TYPE_ANY are kept as they came, and nobody looks for unknown or duplicate members in them.
 *
 * Costs: linear in the text, but for a struct's members, which are searched among its fields and those read so far
 * (tens). How many values a body may hold is bounded by the caller (body.c). Only the depth of the text bounds the
 * recursion.
 */
#include "api/codec_int.h"
#include "api/quantity.h"
#include "api/schema.h"
#include "wire/json.h"
#include "wire/yaml.h"
#include <math.h>

/* Where the decoder stands. Field frames make the path of Go's type errors, all of them that of the notes. */
struct decode_at {
    const struct decode_at *up;
    const struct type *in;    /* the struct whose field this is; NULL: an element or a map entry */
    const struct name *name;  /* of the field */
    const struct name *inner; /* of the inline member that holds it, or NULL */
    struct str key;           /* of a map entry; key.p NULL: an element */
    size_t index;
};

struct decoder {
    struct arena *a;
    struct json j;
    struct builder b;
    struct decode_notes *notes;
    struct err *err;
    bool failed; /* a type error is noted in err; decoding goes on for the notes, as Go does */
};

static bool val_decode(struct decoder *d, const struct decode_at *at, const struct type *t, struct val *out);

static void add_note_path(struct strbuf *b, const struct decode_at *at)
{
    if (!at)
        return;
    add_note_path(b, at->up);
    if (at->in)
        strbuf_addf(b, "%s" STR_FMT, b->n ? "." : "", STR_ARG(at->name->s));
    else if (at->key.p)
        strbuf_addf(b, "%s" STR_FMT, b->n ? "." : "", STR_ARG(at->key));
    else
        strbuf_addf(b, "[%zu]", at->index);
}

static void note_add(struct decoder *d, const char *what, const struct decode_at *at, struct str key)
{
    struct decode_notes *notes = d->notes;
    if (!notes || notes->texts.n >= DECODE_MAX_NOTES)
        return;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    AUTO(strbuf_fini) struct strbuf text = STRBUF(2 * STRBUF_TEXT);
    add_note_path(&b, at);
    strbuf_addf(&b, "%s" STR_FMT, b.n ? "." : "", STR_ARG(key));
    strbuf_addf(&text, "%s field \"" STR_FMT "\"", what, STR_ARG(strbuf_str(&b)));
    array_each (it, &notes->texts) {
        if (str_eq(*it, strbuf_str(&text)))
            return;
    }
    array_push(&notes->texts, str_dup(notes->arena, strbuf_str(&text)));
}

static void add_go_path(struct strbuf *b, const struct decode_at *at)
{
    if (!at)
        return;
    add_go_path(b, at->up);
    if (!at->in)
        return;
    if (at->inner)
        strbuf_addf(b, "." STR_FMT, STR_ARG(at->inner->s));
    strbuf_addf(b, "." STR_FMT, STR_ARG(at->name->s));
}

/* json.UnmarshalTypeError: the first one is what the caller gets. */
static void wrong_type_named(struct decoder *d, const struct decode_at *at, struct str value, const char *go)
{
    if (d->failed)
        return;
    d->failed = true;
    AUTO(strbuf_fini) struct strbuf path = STRBUF(STRBUF_TEXT);
    const struct decode_at *field = at;
    while (field && !field->in)
        field = field->up;
    add_go_path(&path, at);
    if (field)
        (void)err_set(d->err, E_BAD_REQUEST,
                      "json: cannot unmarshal " STR_FMT " into Go struct field %s" STR_FMT " of type %s",
                      STR_ARG(value), field->in->name, STR_ARG(strbuf_str(&path)), go);
    else
        (void)err_set(d->err, E_BAD_REQUEST, "json: cannot unmarshal " STR_FMT " into Go value of type %s",
                      STR_ARG(value), go);
}

static struct str type_word(struct json *j)
{
    switch (json_type(j)) {
    case JSON_NULL: return S("null");
    case JSON_BOOL: return S("bool");
    case JSON_NUMBER: return S("number");
    case JSON_STRING: return S("string");
    case JSON_ARRAY: return S("array");
    case JSON_OBJECT: return S("object");
    }
    return S("");
}

/* Skips the value; true: a wrong type does not end the decoding. */
static bool wrong_type(struct decoder *d, const struct decode_at *at, const struct type *t)
{
    AUTO(strbuf_fini) struct strbuf go = STRBUF(STRBUF_TEXT);
    type_go_name(t, &go);
    struct str word = type_word(&d->j);
    (void)json_skip(&d->j);
    wrong_type_named(d, at, word, strbuf_str(&go).p);
    return true;
}

/* A place for the key in a map that is being read. */
static struct val *put_key(struct arena *a, struct val *map, const struct name *name, bool *was)
{
    struct val *have = val_get_mut(map, name);
    *was = have != NULL;
    return have ? have : val_append(a, map, name, VAL_NONE);
}

/* Untyped; a member that is there twice is noted. */
static struct val decode_any(struct decoder *d, const struct decode_at *at);
static struct val decode_any_map(struct decoder *d, const struct decode_at *at)
{
    struct val map = val_map();
    json_enter(&d->j);
    while (json_more(&d->j)) {
        const struct name *name = name_of(d->a, json_key(&d->j, d->a));
        struct decode_at here = {.up = at, .key = name->s};
        struct val v = decode_any(d, &here);
        bool was;
        *put_key(d->a, &map, name, &was) = v;
        if (was)
            note_add(d, "duplicate", at, name->s);
    }
    return map;
}

static struct val decode_any(struct decoder *d, const struct decode_at *at)
{
    struct json *j = &d->j;
    switch (json_type(j)) {
    case JSON_NULL: (void)json_skip(j); return VAL_NONE;
    case JSON_BOOL: return val_bool(json_bool(j));
    case JSON_STRING: return val_str_borrowed(json_string(j, d->a));
    case JSON_NUMBER: {
        struct str literal = json_number(j);
        int64_t i;
        return json_int(literal, &i) ? val_int(i) : val_double(json_double(literal));
    }
    case JSON_ARRAY: {
        struct val list = val_list();
        struct decode_at here = {.up = at};
        json_enter(j);
        for (; json_more(j); here.index++)
            *val_add(d->a, &list, VAL_NONE) = decode_any(d, &here);
        return list;
    }
    case JSON_OBJECT: return decode_any_map(d, at);
    }
    return VAL_NONE;
}

/* What a field holds that nobody looks into: upstream keeps its bytes. */
static struct val decode_raw(struct decoder *d)
{
    struct decode_notes *notes = d->notes;
    d->notes = NULL;
    struct val v = decode_any(d, NULL);
    d->notes = notes;
    return v;
}

/* 1e999 has no value that could be written again. */
static bool numbers_hold(const struct val *v, struct err *err)
{
    if (v->type == VAL_DOUBLE && !isfinite(v->d))
        return err_set(err, E_BAD_REQUEST, "a number is out of range");
    val_each_item (it, v)
        if (!numbers_hold(it, err))
            return false;
    val_each_member (m, v)
        if (!numbers_hold(&m->v, err))
            return err_wrap(err, STR_FMT, STR_ARG(m->name->s));
    return true;
}

static bool decode_struct(struct decoder *d, const struct decode_at *at, const struct type *t, struct val *out)
{
    if (json_type(&d->j) != JSON_OBJECT)
        return wrong_type(d, at, t);
    size_t base = d->b.stack.n;
    json_enter(&d->j);
    while (json_more(&d->j)) {
        struct str key = json_key(&d->j, d->a);
        const struct name *name = name_find(key), own = {key};
        uint32_t order = 0;
        const struct field *in = NULL, *f = field_find(t, name ? name : &own, &order, &in);
        if (!f) {
            note_add(d, "unknown", at, key);
            (void)json_skip(&d->j);
            continue;
        }
        name = f->name;
        size_t before = d->b.stack.n;
        struct val *have = builder_member(&d->b, base, order, name);
        if (d->b.stack.n == before)
            note_add(d, "duplicate", at, key);
        if (json_type(&d->j) == JSON_NULL) {
            (void)json_skip(&d->j);
            if (f->flags & FIELD_POINTER || f->type->kind == TYPE_LIST || f->type->kind == TYPE_MAP)
                *have = VAL_NONE;
            continue;
        }
        struct decode_at here = {.up = at, .in = t, .name = name, .inner = in ? in->name : NULL};
        struct val v = VAL_NONE;
        if (!val_decode(d, &here, f->type, &v))
            return false;
        if (field_is_zero(f, &v) && !(f->flags & FIELD_EMPTY && v.type == VAL_LIST))
            v = VAL_NONE;
        *builder_member(&d->b, base, order, name) = v; /* again: decoding moved the stack */
    }
    *out = builder_finish(&d->b, base);
    return true;
}

static bool decode_list(struct decoder *d, const struct decode_at *at, const struct type *t, struct val *out)
{
    if (json_type(&d->j) != JSON_ARRAY)
        return wrong_type(d, at, t);
    *out = val_list();
    struct decode_at here = {.up = at};
    json_enter(&d->j);
    for (; json_more(&d->j); here.index++) {
        struct val v = type_zero(t->of);
        if (json_type(&d->j) == JSON_NULL)
            (void)json_skip(&d->j);
        else if (!val_decode(d, &here, t->of, &v))
            return false;
        (void)val_add(d->a, out, v);
    }
    return true;
}

static bool decode_map(struct decoder *d, const struct decode_at *at, const struct type *t, struct val *out)
{
    if (json_type(&d->j) != JSON_OBJECT)
        return wrong_type(d, at, t);
    *out = val_map();
    json_enter(&d->j);
    while (json_more(&d->j)) {
        const struct name *name = name_of(d->a, json_key(&d->j, d->a));
        struct decode_at here = {.up = at, .key = name->s};
        struct val v = type_zero(t->of);
        if (json_type(&d->j) == JSON_NULL)
            (void)json_skip(&d->j);
        else if (!val_decode(d, &here, t->of, &v))
            return false;
        bool was;
        *put_key(d->a, out, name, &was) = v;
        if (was)
            note_add(d, "duplicate", at, name->s);
    }
    return true;
}

static bool decode_int(struct decoder *d, const struct decode_at *at, bool wide, const char *go, struct val *out)
{
    if (json_type(&d->j) != JSON_NUMBER) {
        struct str word = type_word(&d->j);
        (void)json_skip(&d->j);
        wrong_type_named(d, at, word, go);
        return true;
    }
    struct str literal = json_number(&d->j);
    int64_t i;
    if (json_int(literal, &i) && (wide || (i >= INT32_MIN && i <= INT32_MAX))) {
        *out = val_int(i);
        return true;
    }
    wrong_type_named(d, at, arena_fmt(d->a, "number " STR_FMT, STR_ARG(literal)), go);
    return true;
}

static bool decode_double(struct decoder *d, const struct decode_at *at, struct val *out)
{
    struct str literal = json_number(&d->j);
    *out = val_double(json_double(literal));
    if (!isfinite(out->d))
        wrong_type_named(d, at, arena_fmt(d->a, "number " STR_FMT, STR_ARG(literal)), "float64");
    return true;
}

static bool decode_bytes(struct decoder *d, const struct decode_at *at, const struct type *t, struct val *out)
{
    if (json_type(&d->j) == JSON_STRING) {
        struct str bytes;
        struct err err = ERR;
        if (gobase64_parse(d->a, json_string(&d->j, d->a), &bytes, &err)) {
            *out = (struct val){.type = VAL_BYTES, .n = (uint32_t)bytes.n, .s = bytes.p};
        } else if (!d->failed) {
            d->failed = true;
            *d->err = err;
        }
        return true;
    }
    if (json_type(&d->j) != JSON_ARRAY)
        return wrong_type(d, at, t);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(SIZE_MAX / 2);
    json_enter(&d->j);
    while (json_more(&d->j)) {
        int64_t i = 0;
        if (json_type(&d->j) == JSON_NUMBER) {
            struct str literal = json_number(&d->j);
            if (!json_int(literal, &i) || i < 0 || i > 255)
                wrong_type_named(d, at, arena_fmt(d->a, "number " STR_FMT, STR_ARG(literal)), "uint8");
        } else if (json_type(&d->j) == JSON_NULL) {
            (void)json_skip(&d->j);
        } else {
            wrong_type_named(d, at, type_word(&d->j), "uint8");
            (void)json_skip(&d->j);
        }
        strbuf_addc(&b, (char)i);
    }
    *out = val_bytes(d->a, strbuf_str(&b));
    return true;
}

/* Types with an UnmarshalJSON of their own: what fails in there ends the decoding. */
static bool decode_text(struct decoder *d, const struct decode_at *at, const struct type *t, struct val *out)
{
    if (t->kind == TYPE_QUANTITY) {
        struct str text = json_type(&d->j) == JSON_STRING ? json_string(&d->j, d->a) : json_skip(&d->j), canonical;
        if (!quantity_canonical(d->a, text, &canonical, d->err))
            return false;
        *out = val_str(d->a, canonical);
        return true;
    }
    if (json_type(&d->j) != JSON_STRING) {
        wrong_type_named(d, at, type_word(&d->j), "string");
        return false;
    }
    struct str text = json_string(&d->j, d->a);
    if (t->kind == TYPE_DURATION) {
        int64_t ns;
        *out = val_str_borrowed(text);
        return goduration_parse(text, &ns, d->err);
    }
    int64_t seconds;
    int32_t nanos;
    bool micro = t->kind == TYPE_MICROTIME;
    if (!gotime_parse(text, micro, &seconds, &nanos, d->err))
        return false;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(100);
    gotime_add(&b, seconds, nanos, micro);
    *out = val_str(d->a, strbuf_str(&b));
    return true;
}

static bool decode_schema_or(struct decoder *d, const struct decode_at *at, const struct type *t, struct val *out)
{
    enum json_type have = json_type(&d->j);
    if (have == JSON_OBJECT) {
        return decode_struct(d, at, t->of, out);
    } else if (have == JSON_BOOL && t->kind == TYPE_SCHEMA_OR_BOOL) {
        *out = val_bool(json_bool(&d->j));
        return true;
    } else if (have == JSON_ARRAY && t->kind != TYPE_SCHEMA_OR_BOOL) {
        struct type list = {
            .kind = TYPE_LIST, .name = "", .of = t->kind == TYPE_SCHEMA_OR_ARRAY ? t->of : &type_string};
        return decode_list(d, at, &list, out);
    }
    if (t->kind == TYPE_SCHEMA_OR_BOOL)
        return err_set(d->err, E_BAD_REQUEST, "boolean or JSON schema expected");
    return wrong_type(d, at, t);
}

/* A value of a schema: whatever it is, the schema judges it later. */
static bool decode_loose(struct decoder *d, const struct decode_at *at, const struct type *t, struct val *out)
{
    *out = decode_any(d, at);
    return numbers_hold(out, d->err) && schema_prune(d->a, schema_node(t), out, d->notes, d->err);
}

static bool val_decode(struct decoder *d, const struct decode_at *at, const struct type *t, struct val *out)
{
    if (t->loose)
        return decode_loose(d, at, t, out);
    switch ((enum type_kind)t->kind) {
    case TYPE_STRUCT: return decode_struct(d, at, t, out);
    case TYPE_LIST: return decode_list(d, at, t, out);
    case TYPE_MAP: return decode_map(d, at, t, out);
    case TYPE_STRING:
        if (json_type(&d->j) != JSON_STRING)
            return wrong_type(d, at, t);
        *out = val_str_borrowed(json_string(&d->j, d->a));
        return true;
    case TYPE_BOOL:
        if (json_type(&d->j) != JSON_BOOL)
            return wrong_type(d, at, t);
        *out = val_bool(json_bool(&d->j));
        return true;
    case TYPE_INT32: return decode_int(d, at, false, "int32", out);
    case TYPE_INT64: return decode_int(d, at, true, "int64", out);
    case TYPE_DOUBLE:
        if (json_type(&d->j) != JSON_NUMBER)
            return wrong_type(d, at, t);
        return decode_double(d, at, out);
    case TYPE_INT_OR_STRING:
        if (json_type(&d->j) != JSON_STRING)
            return decode_int(d, at, false, "int32", out);
        *out = val_str_borrowed(json_string(&d->j, d->a));
        return true;
    case TYPE_BYTES: return decode_bytes(d, at, t, out);
    case TYPE_TIME:
    case TYPE_MICROTIME:
    case TYPE_DURATION:
    case TYPE_QUANTITY: return decode_text(d, at, t, out);
    case TYPE_ANY: *out = decode_raw(d); return numbers_hold(out, d->err);
    case TYPE_SCHEMA_OR_BOOL:
    case TYPE_SCHEMA_OR_ARRAY:
    case TYPE_SCHEMA_OR_STRINGS: return decode_schema_or(d, at, t, out);
    }
    return false;
}

static bool too_large(struct str text, struct err *err)
{
    return text.n > UINT32_MAX / 2 && !err_set(err, E_TOO_LARGE, "a document of %zu bytes is too large", text.n);
}

bool type_decode_json(struct arena *a, const struct type *t, struct str text, struct val *out,
                      struct decode_notes *notes, struct err *err)
{
    if (too_large(text, err) || !json_check(text, err))
        return false;
    struct decoder d = {.a = a, .j = json_of(text), .b = {.a = a}, .notes = notes, .err = err};
    *out = VAL_NONE;
    bool ok = true;
    if (json_type(&d.j) == JSON_NULL)
        *out = type_zero(t);
    else
        ok = val_decode(&d, NULL, t, out) && !d.failed;
    array_fini(&d.b.stack);
    return ok;
}

bool type_decode_val(struct arena *a, const struct type *t, const struct val *in, struct val *out,
                     struct decode_notes *notes, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(UINT32_MAX / 2);
    json_encode(&b, in);
    return type_decode_json(a, t, strbuf_str(&b), out, notes, err);
}

bool json_decode_noted(struct arena *a, struct str text, struct val *out, struct decode_notes *notes, struct err *err)
{
    if (too_large(text, err) || !json_check(text, err))
        return false;
    struct decoder d = {.a = a, .j = json_of(text), .notes = notes, .err = err};
    *out = decode_any(&d, NULL);
    return numbers_hold(out, err);
}

bool json_decode(struct arena *a, struct str text, struct val *out, struct err *err)
{
    return json_decode_noted(a, text, out, NULL, err);
}

static void keep_note(void *arg, struct str text)
{
    struct decode_notes *notes = arg;
    if (notes->texts.n < DECODE_MAX_NOTES) {
        array_push(&notes->texts, str_dup(notes->arena, text));
        notes->yaml++;
    }
}

bool type_decode_yaml(struct arena *a, const struct type *t, struct str text, struct val *out,
                      struct decode_notes *notes, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf json = STRBUF(CODEC_MAX_YAML);
    struct yaml_notes keep = {keep_note, notes};
    return yaml_to_json(text, notes ? &keep : NULL, &json, err) &&
           type_decode_json(a, t, strbuf_str(&json), out, notes, err);
}

bool yaml_decode(struct arena *a, struct str text, struct val *out, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf json = STRBUF(CODEC_MAX_YAML);
    return yaml_to_json(text, NULL, &json, err) && json_decode(a, strbuf_str(&json), out, err);
}

/* Objects one after the other. *rest: what is no JSON any more, a document of YAML; "" at the end. */
static bool json_decode_all(struct arena *a, struct str text, struct val *list, struct str *rest, struct err *err)
{
    for (size_t used;;) {
        *rest = str_trim(text);
        if (!rest->n || str_starts(*rest, S("---")))
            return true;
        if (!json_check_first(text, &used, err))
            return false;
        if (!used)
            return true;
        struct decoder d = {.a = a, .j = json_of(str_sub(text, 0, used)), .err = err};
        struct val v = decode_any(&d, NULL);
        if (v.type != VAL_NULL)
            (void)val_add(a, list, v);
        text = str_sub(text, used, text.n);
    }
}

bool yaml_decode_all(struct arena *a, struct str text, struct val *list, struct err *err)
{
    *list = val_list();
    struct str head = str_trim(text);
    if (head.n && head.p[0] == '{') { /* JSON; where it is not, YAML's flow style may be */
        struct err not_json = ERR;    /* YAML's reader says what is wrong then */
        struct str rest;
        if (json_decode_all(a, text, list, &rest, &not_json))
            text = rest;
        else
            *list = val_list();
    }
    AUTO(yaml_close) struct yaml_reader *r = yaml_open(text, NULL);
    for (;;) {
        AUTO(strbuf_fini) struct strbuf json = STRBUF(CODEC_MAX_YAML);
        struct val v;
        int got = yaml_next(r, &json, err);
        if (got <= 0)
            return got == 0;
        if (!json_decode(a, strbuf_str(&json), &v, err))
            return false;
        if (v.type != VAL_NULL)
            (void)val_add(a, list, v);
    }
}

static bool meta_text(struct json *j, struct arena *a, const char *field, struct str *out, struct err *err)
{
    if (json_type(j) == JSON_STRING) {
        *out = json_string(j, a);
    } else if (json_type(j) == JSON_NULL) {
        (void)json_skip(j);
    } else {
        (void)err_set(err, E_BAD_REQUEST,
                      "json: cannot unmarshal " STR_FMT " into Go struct field .%s of type string",
                      STR_ARG(type_word(j)), field);
        return false;
    }
    return true;
}

bool json_type_meta(struct arena *a, struct str text, struct str *api_version, struct str *kind, struct err *err)
{
    *api_version = *kind = S("");
    bool ok = !too_large(text, err) && json_check(text, err);
    if (ok) {
        struct json j = json_of(text);
        if (json_type(&j) == JSON_OBJECT) {
            json_enter(&j);
            while (ok && json_more(&j)) {
                struct str key = json_key(&j, a);
                if (str_eqz(key, "apiVersion"))
                    ok = meta_text(&j, a, "apiVersion", api_version, err);
                else if (str_eqz(key, "kind"))
                    ok = meta_text(&j, a, "kind", kind, err);
                else
                    (void)json_skip(&j);
            }
        } else if (json_type(&j) != JSON_NULL) {
            ok = err_set(err, E_BAD_REQUEST,
                         "json: cannot unmarshal " STR_FMT " into Go value of type struct { APIVersion string "
                         "\"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }",
                         STR_ARG(type_word(&j)));
        }
    }
    return ok || err_wrap(err, "couldn't get version/kind; json parse error");
}

void body_summary(struct strbuf *b, struct str body)
{
    struct str head = str_sub(body, 0, 30);
    if (!body.n)
        strbuf_addz(b, "<empty>");
    else if (body.p[0] == '{')
        strbuf_add(b, head);
    else
        strbuf_add_hex(b, head.p, head.n);
    if (body.n > head.n)
        strbuf_addz(b, " ...");
}

void decode_notes_text(const struct decode_notes *notes, struct strbuf *out)
{
    strbuf_addz(out, "strict decoding error: ");
    for (size_t i = 0; i < notes->texts.n; i++) {
        if (i)
            strbuf_addz(out, i < notes->yaml ? "\n" : ", ");
        else if (notes->yaml)
            strbuf_addz(out, "yaml: unmarshal errors:\n");
        strbuf_addf(out, "%s" STR_FMT, i < notes->yaml ? "  " : "", STR_ARG(notes->texts.p[i]));
    }
}

void decode_notes_fini(struct decode_notes *notes)
{
    array_fini(&notes->texts);
    notes->yaml = 0;
}
