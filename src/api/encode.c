#include "api/codec_int.h"
#include "api/encode_int.h"
#include "api/tree_int.h"
#include "wire/json.h"
#include "wire/yaml.h"

void json_encode(struct strbuf *b, const struct val *v)
{
    switch (v ? (enum val_type)v->type : VAL_NULL) {
    case VAL_NULL: strbuf_add(b, S("null")); break;
    case VAL_BOOL: strbuf_addz(b, v->b ? "true" : "false"); break;
    case VAL_INT: json_add_int(b, v->i); break;
    case VAL_DOUBLE: json_add_double(b, v->d); break;
    case VAL_STRING: json_add_string(b, (struct str){v->s, v->n}); break;
    case VAL_BYTES:
        strbuf_addc(b, '"');
        strbuf_add_base64(b, v->s, v->n);
        strbuf_addc(b, '"');
        break;
    case VAL_LIST:
        strbuf_addc(b, '[');
        for (uint32_t i = 0; i < v->n; i++) {
            if (i)
                strbuf_addc(b, ',');
            json_encode(b, &v->list[i]);
        }
        strbuf_addc(b, ']');
        break;
    case VAL_MAP:
        strbuf_addc(b, '{');
        for (uint32_t i = 0; i < v->n; i++) {
            if (i)
                strbuf_addc(b, ',');
            json_add_string(b, v->map[i].name->s);
            strbuf_addc(b, ':');
            json_encode(b, &v->map[i].v);
        }
        strbuf_addc(b, '}');
        break;
    }
}

bool field_zero_written(const struct field *f)
{
    if (!(f->flags & (FIELD_OMITEMPTY | FIELD_OMITZERO)))
        return true;
    if (f->flags & (FIELD_OMITZERO | FIELD_POINTER))
        return false;
    switch ((enum type_kind)f->type->kind) { /* omitempty never drops what is a struct in Go */
    case TYPE_STRUCT:
    case TYPE_TIME:
    case TYPE_MICROTIME:
    case TYPE_DURATION:
    case TYPE_QUANTITY:
    case TYPE_INT_OR_STRING:
    case TYPE_ANY:
    case TYPE_SCHEMA_OR_BOOL:
    case TYPE_SCHEMA_OR_ARRAY:
    case TYPE_SCHEMA_OR_STRINGS: return true;
    case TYPE_LIST:
    case TYPE_MAP:
    case TYPE_STRING:
    case TYPE_BOOL:
    case TYPE_INT32:
    case TYPE_INT64:
    case TYPE_DOUBLE:
    case TYPE_BYTES: return false;
    }
    return true;
}

static void add_key(struct strbuf *b, struct str name)
{
    char *p = strbuf_room(b, name.n + 4);
    if (!p)
        return;
    size_t n = 0;
    if (b->p[b->n - 1] != '{')
        p[n++] = ',';
    p[n++] = '"';
    memcpy(p + n, name.p, name.n);
    n += name.n;
    p[n++] = '"';
    p[n++] = ':';
    strbuf_used(b, n);
}

static void encode_fields(struct encoder *e, const struct type *t, const struct val *v)
{
    struct strbuf *b = e->b;
    uint32_t next = 0; /* members mostly stand in the order of the fields */
    type_fields_each (f, t) {
        if (f->flags & FIELD_INLINE) {
            encode_fields(e, f->type, v);
            continue;
        }
        if (f->flags & FIELD_NOJSON)
            continue;
        const struct val *m = NULL;
        if (e->rev && t == &type_meta_v1_ObjectMeta && f->name == N(resourceVersion)) {
            add_key(b, f->name->s);
            strbuf_addc(b, '"');
            json_add_int(b, e->rev);
            strbuf_addc(b, '"');
            e->rev = 0; /* only the outermost metadata has it */
            continue;
        }
        if (e->managed && t == &type_meta_v1_ObjectMeta && f->name == N(managedFields)) {
            add_key(b, f->name->s);
            managed_json(b, e->managed);
            e->managed = NULL;
            continue;
        }
        if (v && next < v->n && v->map[next].name == f->name)
            m = &v->map[next++].v;
        else if (v)
            m = val_get(v, f->name);
        if (m && m->type == VAL_NULL)
            m = NULL;
        if (!m || field_is_zero(f, m)) {
            if (!field_zero_written(f))
                continue;
            add_key(b, f->name->s);
            if (f->flags & FIELD_POINTER)
                strbuf_addz(b, "null");
            else if (f->type->kind == TYPE_LIST && f->name == N(items) &&
                     t != &type_meta_v1_PartialObjectMetadataList)
                strbuf_addz(b, "[]"); /* an empty list of objects is no null */
            else
                encode_value(e, f->type, m && m->n ? m : NULL);
            continue;
        }
        add_key(b, f->name->s);
        encode_value(e, f->type, m);
    }
}

/* Of what the whole's metadata has besides, what comes before this name; NULL: all of it. */
static void splice_before(struct encoder *e, const struct name *next)
{
    struct strbuf *b = e->b;
    if (e->managed && (!next || str_cmp(next->s, N(managedFields)->s) >= 0)) {
        add_key(b, N(managedFields)->s);
        managed_json(b, e->managed);
        e->managed = NULL;
    }
    if (e->rev && (!next || str_cmp(next->s, N(resourceVersion)->s) >= 0)) {
        add_key(b, N(resourceVersion)->s);
        strbuf_addc(b, '"');
        json_add_int(b, e->rev);
        strbuf_addc(b, '"');
        e->rev = 0;
    }
}

/* As it came, members sorted. `meta`: the whole's metadata, which gets resourceVersion and managedFields. */
static void encode_sorted(struct encoder *e, const struct val *v, const struct val *meta)
{
    struct strbuf *b = e->b;
    if (val_is(v, VAL_LIST)) {
        strbuf_addc(b, '[');
        for (uint32_t i = 0; i < v->n; i++) {
            if (i)
                strbuf_addc(b, ',');
            encode_sorted(e, &v->list[i], meta);
        }
        strbuf_addc(b, ']');
        return;
    }
    if (!val_is(v, VAL_MAP))
        return json_encode(b, v);
    AUTO_FREE uint32_t *order = sorted_members(v);
    bool rev = e->rev, managed = e->managed;
    strbuf_addc(b, '{');
    for (uint32_t i = 0; i < v->n; i++) {
        const struct member *m = &v->map[order ? order[i] : i];
        if (v == meta)
            splice_before(e, m->name);
        if (v == meta && ((rev && m->name == N(resourceVersion)) || (managed && m->name == N(managedFields))))
            continue;
        if (b->p && b->p[b->n - 1] != '{')
            strbuf_addc(b, ',');
        json_add_string(b, m->name->s);
        strbuf_addc(b, ':');
        encode_sorted(e, &m->v, meta);
    }
    if (v == meta)
        splice_before(e, NULL);
    strbuf_addc(b, '}');
}

/* A value of a schema; a type with a name in OpenAPI is an object's. */
static void encode_loose(struct encoder *e, const struct type *t, const struct val *v)
{
    struct val none = t->openapi ? val_map() : VAL_NONE;
    encode_sorted(e, v ? v : &none, t->openapi ? val_get(v, N(metadata)) : NULL);
    if (t->openapi) {
        e->rev = 0;
        e->managed = NULL;
    }
}

/* v NULL: the type's zero. */
void encode_value(struct encoder *e, const struct type *t, const struct val *v)
{
    struct strbuf *b = e->b;
    if (e->packed && v && v->flags & VAL_F_PACKED) {
        packed_json(b, e->packed, &e->part);
        return;
    }
    if (t->loose) {
        encode_loose(e, t, v);
        return;
    }
    switch ((enum type_kind)t->kind) {
    case TYPE_STRUCT:
        strbuf_addc(b, '{');
        encode_fields(e, t, v && v->type == VAL_MAP ? v : NULL);
        strbuf_addc(b, '}');
        return;
    case TYPE_LIST:
        if (!v || v->type != VAL_LIST)
            break;
        strbuf_addc(b, '[');
        for (uint32_t i = 0; i < v->n; i++) {
            if (i)
                strbuf_addc(b, ',');
            encode_value(e, t->of, &v->list[i]);
        }
        strbuf_addc(b, ']');
        return;
    case TYPE_MAP: {
        if (!v || v->type != VAL_MAP)
            break;
        AUTO_FREE uint32_t *order = sorted_members(v);
        strbuf_addc(b, '{');
        for (uint32_t i = 0; i < v->n; i++) {
            const struct member *m = &v->map[order ? order[i] : i];
            if (i)
                strbuf_addc(b, ',');
            json_add_string(b, m->name->s);
            strbuf_addc(b, ':');
            encode_value(e, t->of, &m->v);
        }
        strbuf_addc(b, '}');
        return;
    }
    case TYPE_STRING:
    case TYPE_BOOL:
    case TYPE_INT32:
    case TYPE_INT64:
    case TYPE_DOUBLE:
    case TYPE_QUANTITY:
    case TYPE_DURATION:
    case TYPE_INT_OR_STRING: {
        struct val zero = type_zero(t);
        json_encode(b, v && v->type != VAL_NULL ? v : &zero);
        return;
    }
    case TYPE_SCHEMA_OR_BOOL:
    case TYPE_SCHEMA_OR_ARRAY:
    case TYPE_SCHEMA_OR_STRINGS:
        if (v && v->type == VAL_MAP) {
            encode_value(e, t->of, v);
        } else if (v && v->type == VAL_LIST && t->kind == TYPE_SCHEMA_OR_ARRAY) {
            strbuf_addc(b, '[');
            for (uint32_t i = 0; i < v->n; i++) {
                if (i)
                    strbuf_addc(b, ',');
                encode_value(e, t->of, &v->list[i]);
            }
            strbuf_addc(b, ']');
        } else if (!v && t->kind == TYPE_SCHEMA_OR_BOOL) {
            strbuf_addz(b, "false");
        } else {
            json_encode(b, v);
        }
        return;
    case TYPE_BYTES:
    case TYPE_TIME:
    case TYPE_MICROTIME:
    case TYPE_ANY: json_encode(b, v); return;
    }
    strbuf_addz(b, "null");
}

void type_encode_json(struct strbuf *b, const struct type *t, const struct val *v)
{
    struct encoder e = {.b = b};
    encode_value(&e, t, v);
}

struct val type_complete(struct arena *a, const struct type *t, const struct val *v)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(UINT32_MAX / 2);
    type_encode_json(&b, t, v);
    struct val out = val_map();
    struct err err = ERR;
    ASSERT(json_decode(a, strbuf_str(&b), &out, &err));
    return out;
}

void yaml_encode(struct strbuf *b, const struct val *v)
{
    AUTO(strbuf_fini) struct strbuf json = STRBUF(UINT32_MAX / 2);
    json_encode(&json, v);
    yaml_add(b, strbuf_str(&json));
}
