/* proto.c - trees to and from the protobuf of k8s.io/api, by type, and the envelope around it (pb_wrap: the magic
 * "k8s", 0, and a runtime.Unknown).
 *
 * Writing goes over the fields in the order of their numbers and writes what Go's generated code writes, byte for
 * byte: scalars and structs that are no pointers always, even when zero; pointers, lists, maps and bytes only when
 * they are there. Map entries are sorted by key. The length of a message is filled in when it is closed (pb_open,
 * pb_close), so nothing is measured beforehand. What is one text in JSON may be a message here (a time is seconds
 * and nanoseconds, a quantity a string in a message, an IntOrString three fields): these have a case of their own in
 * either direction.
 *
 * Reading takes fields in any number and order, as protobuf allows: repeated ones grow a list, of a scalar that came
 * twice the last one holds, unknown numbers are skipped. Members gather on the same builder as those of the JSON
 * decoder, so the tree comes out in the same canonical form, equal to that of the object's JSON. Entries of a map
 * are appended as they come and made unique when the message is complete, in n log n: looking each up on arrival
 * would be quadratic for whoever sends a large map. Inline members come as a message but stand in the outer map;
 * `prefix` and `shift` give them their place there, eight bits for each level inside.
 *
 * Refused, because JSON could not say it again: texts that are no UTF-8, numbers that are not finite, times outside
 * of the years 1 to 9999. The depth is bounded here, the number of values by whoever decodes a request's body
 * (work_do).
 */
#include "api/codec_int.h"
#include "api/encode_int.h"
#include "api/quantity.h"
#include "api/tree_int.h"
#include "api/type_int.h"
#include "wire/json.h"
#include "wire/pb.h"
#include <math.h>

#define PB_MAX_DEPTH 1000 /* messages in messages; the deepest types are schemas */

static const struct str magic = S_INIT("k8s\0");

/* --- writing --- */

static void add_time(struct strbuf *b, const struct val *v, bool micro)
{
    int64_t seconds;
    int32_t nanos;
    struct err err = ERR;
    if (!val_is(v, VAL_STRING) || !v->n || !gotime_parse(val_text(v), micro, &seconds, &nanos, &err))
        return; /* the zero time is an empty message */
    pb_add_uint(b, 1, (uint64_t)seconds);
    pb_add_uint(b, 2, micro ? (uint64_t)nanos : 0);
}

static void add_raw_json(struct strbuf *b, uint32_t number, const struct val *v)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(UINT32_MAX / 2);
    json_encode(&text, v);
    pb_add_bytes(b, number, strbuf_str(&text));
}

static void add_field(struct strbuf *b, uint32_t number, const struct type *t, const struct val *v);

static void add_int_or_string(struct strbuf *b, const struct val *v)
{
    bool text = val_is(v, VAL_STRING);
    pb_add_uint(b, 1, text);
    pb_add_uint(b, 2, text ? 0 : (uint64_t)val_num(v, 0));
    pb_add_bytes(b, 3, val_text(v));
}

static void add_schema_or(struct strbuf *b, const struct type *t, const struct val *v)
{
    if (t->kind == TYPE_SCHEMA_OR_BOOL) {
        pb_add_uint(b, 1, val_is(v, VAL_MAP) || val_true(v));
        if (val_is(v, VAL_MAP))
            add_field(b, 2, t->of, v);
        return;
    }
    if (val_is(v, VAL_MAP))
        add_field(b, 1, t->of, v);
    val_each_item (it, v)
        add_field(b, 2, t->kind == TYPE_SCHEMA_OR_ARRAY ? t->of : &type_string, it);
}

static void add_map(struct strbuf *b, uint32_t number, const struct type *t, const struct val *v)
{
    AUTO_FREE uint32_t *order = sorted_members(v);
    for (uint32_t i = 0; i < v->n; i++) {
        const struct member *m = &v->map[order ? order[i] : i];
        size_t at = pb_open(b, number);
        pb_add_bytes(b, 1, m->name->s);
        add_field(b, 2, t->of, &m->v);
        pb_close(b, at);
    }
}

/* One field; v NULL: the zero of its type. */
static void add_field(struct strbuf *b, uint32_t number, const struct type *t, const struct val *v)
{
    size_t at;
    switch ((enum type_kind)t->kind) {
    case TYPE_STRING: pb_add_bytes(b, number, val_text(v)); return;
    case TYPE_BYTES:
        pb_add_bytes(b, number,
                     v && (v->type == VAL_BYTES || v->type == VAL_STRING) ? (struct str){v->s, v->n} : S(""));
        return;
    case TYPE_BOOL: pb_add_uint(b, number, val_true(v)); return;
    case TYPE_INT32:
    case TYPE_INT64: pb_add_uint(b, number, (uint64_t)val_num(v, 0)); return;
    case TYPE_DOUBLE: {
        double d = val_is(v, VAL_DOUBLE) ? v->d : (double)val_num(v, 0);
        uint64_t bits;
        memcpy(&bits, &d, sizeof bits);
        pb_add_fixed64(b, number, bits);
        return;
    }
    case TYPE_LIST:
        if (!t->wrapper) {
            val_each_item (it, v)
                add_field(b, number, t->of, it);
            return;
        }
        break;
    case TYPE_MAP:
        if (val_is(v, VAL_MAP))
            add_map(b, number, t, v);
        return;
    case TYPE_STRUCT:
    case TYPE_TIME:
    case TYPE_MICROTIME:
    case TYPE_DURATION:
    case TYPE_QUANTITY:
    case TYPE_INT_OR_STRING:
    case TYPE_ANY:
    case TYPE_SCHEMA_OR_BOOL:
    case TYPE_SCHEMA_OR_ARRAY:
    case TYPE_SCHEMA_OR_STRINGS: break;
    }
    at = pb_open(b, number);
    switch ((enum type_kind)t->kind) {
    case TYPE_STRUCT: {
        struct encoder e = {.b = b};
        encode_message(&e, t, v);
        break;
    }
    case TYPE_LIST:
        val_each_item (it, v)
            add_field(b, 1, t->of, it);
        break;
    case TYPE_TIME: add_time(b, v, false); break;
    case TYPE_MICROTIME: add_time(b, v, true); break;
    case TYPE_DURATION: {
        int64_t ns = 0;
        struct err err = ERR;
        if (!goduration_parse(val_text(v), &ns, &err))
            ns = 0; /* decoding saw to it that it is one, or absent */
        pb_add_uint(b, 1, (uint64_t)ns);
        break;
    }
    case TYPE_QUANTITY: pb_add_bytes(b, 1, v ? val_text(v) : S("0")); break;
    case TYPE_INT_OR_STRING: add_int_or_string(b, v); break;
    case TYPE_ANY:
        if (v && v->type != VAL_NULL)
            add_raw_json(b, 1, v);
        break;
    case TYPE_SCHEMA_OR_BOOL:
    case TYPE_SCHEMA_OR_ARRAY:
    case TYPE_SCHEMA_OR_STRINGS: add_schema_or(b, t, v); break;
    case TYPE_MAP:
    case TYPE_STRING:
    case TYPE_BYTES:
    case TYPE_BOOL:
    case TYPE_INT32:
    case TYPE_INT64:
    case TYPE_DOUBLE: break;
    }
    pb_close(b, at);
}

/* Non-pointer scalars and structs are always written, pointers, lists, maps and bytes when they are there. */
static bool absent_is_written(const struct field *f)
{
    return !(f->flags & FIELD_POINTER) && f->type->kind != TYPE_BYTES && f->type->kind != TYPE_MAP &&
           (f->type->kind != TYPE_LIST);
}

void encode_message(struct encoder *e, const struct type *t, const struct val *v)
{
    uint32_t next = 0;
    const struct field *all = type_fields(t);
    if (v && v->type != VAL_MAP)
        v = NULL;
    for (uint16_t i = 0; i < t->nfields; i++) {
        const struct field *f = &all[t->order ? field_orders[t->order + i] : i];
        if (!f->number)
            continue;
        if (f->flags & FIELD_INLINE) {
            size_t at = pb_open(e->b, f->number);
            encode_message(e, f->type, v);
            pb_close(e->b, at);
            continue;
        }
        if (e->rev && t == &type_meta_v1_ObjectMeta && f->name == N(resourceVersion)) {
            char text[24];
            int n = snprintf(text, sizeof text, "%lld", (long long)e->rev);
            pb_add_bytes(e->b, f->number, (struct str){text, (size_t)n});
            e->rev = 0;
            continue;
        }
        if (e->managed && t == &type_meta_v1_ObjectMeta && f->name == N(managedFields)) {
            managed_pb(e->b, f->number, e->managed);
            e->managed = NULL;
            continue;
        }
        const struct val *m = NULL;
        while (v && next < v->n && v->map[next].v.type == VAL_NULL)
            next++;
        if (v && next < v->n && v->map[next].name == f->name)
            m = &v->map[next++].v;
        else if (v)
            m = val_get(v, f->name);
        if (m && m->type == VAL_NULL)
            m = NULL;
        if (!m && !absent_is_written(f))
            continue;
        if ((e->rev || e->managed) && f->type == &type_meta_v1_ObjectMeta) {
            size_t at = pb_open(e->b, f->number);
            encode_message(e, f->type, m);
            pb_close(e->b, at);
            continue;
        }
        add_field(e->b, f->number, f->type, m);
    }
}

void type_encode_pb(struct strbuf *b, const struct type *t, const struct val *v)
{
    struct encoder e = {.b = b};
    encode_message(&e, t, v);
}

void pb_wrap_begin(struct strbuf *b, struct str api_version, struct str kind, size_t raw)
{
    strbuf_add(b, magic);
    size_t meta = pb_open(b, 1);
    pb_add_bytes(b, 1, api_version);
    pb_add_bytes(b, 2, kind);
    pb_close(b, meta);
    pb_add_tag(b, 2, PB_BYTES);
    pb_add_varint(b, raw);
}

void pb_wrap_end(struct strbuf *b)
{
    pb_add_bytes(b, 3, S(""));
    pb_add_bytes(b, 4, S(""));
}

void pb_wrap(struct strbuf *b, struct str api_version, struct str kind, struct str raw)
{
    pb_wrap_begin(b, api_version, kind, raw.n);
    strbuf_add(b, raw);
    pb_wrap_end(b);
}

/* --- reading --- */

struct proto_reader {
    struct arena *a;
    struct builder b;
    struct err *err;
    unsigned depth;
};

static bool wrong_wire(struct proto_reader *r, const struct field *f, const struct pb_field *p)
{
    return err_set(r->err, E_BAD_REQUEST, "proto: wrong wireType = %d for field " STR_FMT, (int)p->wire,
                   STR_ARG(f->name->s));
}

static bool read_message(struct proto_reader *r, const struct type *t, struct str bytes, size_t base, uint32_t prefix,
                         unsigned shift);
static bool read_one(struct proto_reader *r, const struct field *f, const struct type *t, const struct pb_field *p,
                     struct val *out);

static bool read_struct(struct proto_reader *r, const struct type *t, struct str bytes, struct val *out)
{
    size_t base = r->b.stack.n;
    if (!read_message(r, t, bytes, base, 0, 16))
        return false;
    *out = builder_finish(&r->b, base);
    return true;
}

/* JSON could not say it again as it is, so what is stored would be something else. */
static bool text_ok(struct proto_reader *r, const struct field *f, struct str text)
{
    return str_utf8_ok(text) ||
           err_set(r->err, E_BAD_REQUEST, "proto: " STR_FMT ": a text that is no UTF-8", STR_ARG(f->name->s));
}

/* What is inside the message of a type that is a scalar or a list in JSON. */
static bool read_special(struct proto_reader *r, const struct field *f, const struct type *t, struct str bytes,
                         struct val *out)
{
    struct pb m = pb_of(bytes);
    struct pb_field p;
    int64_t n1 = 0, n2 = 0;
    struct str text = S("");
    bool has_text = false, any = false;
    struct val inner;
    if (t->kind == TYPE_LIST || t->kind == TYPE_SCHEMA_OR_ARRAY || t->kind == TYPE_SCHEMA_OR_STRINGS)
        *out = val_list();
    int more;
    while ((more = pb_next(&m, &p, r->err)) == 1) {
        any = true;
        switch ((enum type_kind)t->kind) {
        case TYPE_LIST:
            if (p.number != 1)
                continue;
            if (!read_one(r, f, t->of, &p, &inner))
                return false;
            (void)val_add(r->a, out, inner);
            continue;
        case TYPE_SCHEMA_OR_BOOL:
            if (p.number == 1 && !val_is(out, VAL_MAP))
                *out = val_bool(p.n != 0);
            else if (p.number == 2 && p.wire == PB_BYTES && !read_struct(r, t->of, p.bytes, out))
                return false;
            continue;
        case TYPE_SCHEMA_OR_ARRAY:
        case TYPE_SCHEMA_OR_STRINGS:
            if (p.number == 1 && p.wire == PB_BYTES) {
                if (!read_struct(r, t->of, p.bytes, out))
                    return false;
            } else if (p.number == 2 && out->type == VAL_LIST) {
                if (!read_one(r, f, t->kind == TYPE_SCHEMA_OR_ARRAY ? t->of : &type_string, &p, &inner))
                    return false;
                (void)val_add(r->a, out, inner);
            }
            continue;
        case TYPE_STRUCT:
        case TYPE_MAP:
        case TYPE_STRING:
        case TYPE_BOOL:
        case TYPE_INT32:
        case TYPE_INT64:
        case TYPE_DOUBLE:
        case TYPE_BYTES:
        case TYPE_TIME:
        case TYPE_MICROTIME:
        case TYPE_DURATION:
        case TYPE_QUANTITY:
        case TYPE_INT_OR_STRING:
        case TYPE_ANY: break;
        }
        if (p.wire == PB_BYTES)
            text = p.bytes, has_text = true;
        else if (p.number == 1)
            n1 = (int64_t)p.n;
        else if (p.number == 2)
            n2 = (int64_t)p.n;
    }
    if (more < 0)
        return false;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(100);
    switch ((enum type_kind)t->kind) {
    case TYPE_TIME:
    case TYPE_MICROTIME:
        if (!any)
            return true;
        if (n1 < -62135596800 || n1 > 253402300799)
            return err_set(r->err, E_BAD_REQUEST, "proto: " STR_FMT ": a time of %lld seconds is out of range",
                           STR_ARG(f->name->s), (long long)n1);
        n2 = n2 < 0 || n2 > 999999999 ? 0 : n2;
        gotime_add(&b, n1, (int32_t)n2, t->kind == TYPE_MICROTIME);
        *out = val_str(r->a, strbuf_str(&b));
        return true;
    case TYPE_DURATION:
        goduration_add(&b, n1);
        *out = val_str(r->a, strbuf_str(&b));
        return true;
    case TYPE_QUANTITY: {
        struct str canonical;
        if (!quantity_canonical(r->a, text.n ? text : S("0"), &canonical, r->err))
            return false;
        *out = val_str(r->a, canonical);
        return true;
    }
    case TYPE_INT_OR_STRING:
        *out = n1 == 1 ? val_str(r->a, text) : val_int((int32_t)n2);
        return n1 != 1 || text_ok(r, f, text);
    case TYPE_ANY:
        if (!has_text || !text.n)
            return true;
        return json_decode(r->a, text, out, r->err) || err_wrap(r->err, STR_FMT, STR_ARG(f->name->s));
    case TYPE_STRUCT:
    case TYPE_LIST:
    case TYPE_MAP:
    case TYPE_STRING:
    case TYPE_BOOL:
    case TYPE_INT32:
    case TYPE_INT64:
    case TYPE_DOUBLE:
    case TYPE_BYTES:
    case TYPE_SCHEMA_OR_BOOL:
    case TYPE_SCHEMA_OR_ARRAY:
    case TYPE_SCHEMA_OR_STRINGS: return true;
    }
    return true;
}

static struct val int_val(uint64_t n, bool wide)
{
    return val_int(wide ? (int64_t)n : (int32_t)n);
}

/* One value of a field, an element or a map's value. */
static bool read_one(struct proto_reader *r, const struct field *f, const struct type *t, const struct pb_field *p,
                     struct val *out)
{
    *out = VAL_NONE;
    if (!work_do(1)) /* bounded by who reads a request's body */
        return err_set(r->err, E_TOO_LARGE, "the body holds too many values");
    bool varint = t->kind == TYPE_BOOL || t->kind == TYPE_INT32 || t->kind == TYPE_INT64;
    if (p->wire != (t->kind == TYPE_DOUBLE ? PB_FIXED64 : varint ? PB_VARINT : PB_BYTES))
        return wrong_wire(r, f, p);
    switch ((enum type_kind)t->kind) {
    case TYPE_STRING: *out = val_str(r->a, p->bytes); return text_ok(r, f, p->bytes);
    case TYPE_BYTES: *out = val_bytes(r->a, p->bytes); return true;
    case TYPE_BOOL: *out = val_bool(p->n != 0); return true;
    case TYPE_INT32: *out = int_val(p->n, false); return true;
    case TYPE_INT64: *out = int_val(p->n, true); return true;
    case TYPE_DOUBLE: {
        double d;
        memcpy(&d, &p->n, sizeof d);
        *out = val_double(d);
        return isfinite(d) ||
               err_set(r->err, E_BAD_REQUEST, "proto: " STR_FMT ": a number that is not finite", STR_ARG(f->name->s));
    }
    case TYPE_STRUCT: return read_struct(r, t, p->bytes, out);
    case TYPE_LIST:
    case TYPE_TIME:
    case TYPE_MICROTIME:
    case TYPE_DURATION:
    case TYPE_QUANTITY:
    case TYPE_INT_OR_STRING:
    case TYPE_ANY:
    case TYPE_SCHEMA_OR_BOOL:
    case TYPE_SCHEMA_OR_ARRAY:
    case TYPE_SCHEMA_OR_STRINGS: return read_special(r, f, t, p->bytes, out);
    case TYPE_MAP: break;
    }
    return wrong_wire(r, f, p);
}

static bool read_map_entry(struct proto_reader *r, const struct field *f, const struct pb_field *p, struct val *map)
{
    if (p->wire != PB_BYTES)
        return wrong_wire(r, f, p);
    struct pb m = pb_of(p->bytes);
    struct pb_field e;
    struct str key = S("");
    struct val v = type_zero(f->type->of);
    int more;
    while ((more = pb_next(&m, &e, r->err)) == 1) {
        if (e.number == 1 && e.wire == PB_BYTES)
            key = e.bytes;
        else if (e.number == 2 && !read_one(r, f, f->type->of, &e, &v))
            return false;
    }
    if (more < 0 || !text_ok(r, f, key))
        return false;
    (void)val_append(r->a, map, name_of(r->a, key), v); /* duplicates go when the map is complete */
    return true;
}

/* Of keys that came twice the last one holds. */
static void unique_keys(struct val *map)
{
    AUTO_FREE uint32_t *order = sorted_members(map);
    if (!order)
        return;
    for (uint32_t i = 1; i < map->n; i++)
        if (str_eq(map->map[order[i - 1]].name->s, map->map[order[i]].name->s))
            map->map[order[i - 1]].v.flags = VAL_F_DEAD;
    uint32_t live = 0;
    for (uint32_t i = 0; i < map->n; i++)
        if (map->map[i].v.flags != VAL_F_DEAD)
            map->map[live++] = map->map[i];
    map->n = live;
    val_members_moved(map);
}

static bool read_field(struct proto_reader *r, const struct field *f, const struct pb_field *p, size_t base,
                       uint32_t order)
{
    if (f->type->kind == TYPE_MAP || (f->type->kind == TYPE_LIST && !f->type->wrapper)) {
        struct val grown = *builder_member(&r->b, base, order, f->name), one;
        if (grown.type == VAL_NULL)
            grown = f->type->kind == TYPE_MAP ? val_map() : val_list();
        if (f->type->kind == TYPE_MAP) {
            if (!read_map_entry(r, f, p, &grown))
                return false;
        } else {
            if (!read_one(r, f, f->type->of, p, &one))
                return false;
            (void)val_add(r->a, &grown, one);
        }
        *builder_member(&r->b, base, order, f->name) = grown;
        return true;
    }
    struct val v;
    if (!read_one(r, f, f->type, p, &v))
        return false;
    *builder_member(&r->b, base, order, f->name) = field_is_zero(f, &v) ? VAL_NONE : v;
    return true;
}

static bool read_message(struct proto_reader *r, const struct type *t, struct str bytes, size_t base, uint32_t prefix,
                         unsigned shift)
{
    if (++r->depth > PB_MAX_DEPTH)
        return err_set(r->err, E_BAD_REQUEST, "proto: nested more than %d levels deep", PB_MAX_DEPTH);
    struct pb m = pb_of(bytes);
    const struct field *all = type_fields(t);
    struct pb_field p;
    int more;
    while ((more = pb_next(&m, &p, r->err)) == 1) {
        uint16_t i = 0;
        while (i < t->nfields && all[i].number != p.number)
            i++;
        if (i == t->nfields)
            continue; /* unknown numbers are skipped, as in every protobuf */
        const struct field *f = &all[i];
        uint32_t order = prefix | ((uint32_t)i + 1) << shift;
        if (f->flags & FIELD_INLINE) {
            if (p.wire != PB_BYTES)
                return wrong_wire(r, f, &p);
            if (!read_message(r, f->type, p.bytes, base, order, shift - 8))
                return false;
        } else if (!read_field(r, f, &p, base, order)) {
            return false;
        }
    }
    if (more == 0)
        for (size_t i = base; i < r->b.stack.n; i++)
            if (r->b.stack.p[i].m.v.type == VAL_MAP && r->b.stack.p[i].m.v.n > 1)
                unique_keys(&r->b.stack.p[i].m.v);
    r->depth--;
    return more == 0;
}

bool type_decode_pb(struct arena *a, const struct type *t, struct str bytes, struct val *out, struct err *err)
{
    if (bytes.n > UINT32_MAX / 2)
        return err_set(err, E_TOO_LARGE, "a document of %zu bytes is too large", bytes.n);
    struct proto_reader r = {.a = a, .b = {.a = a}, .err = err};
    bool ok = read_struct(&r, t, bytes, out);
    array_fini(&r.b.stack);
    return ok;
}

bool pb_unwrap(struct str bytes, struct str *api_version, struct str *kind, struct str *raw, struct err *err)
{
    if (!str_starts(bytes, magic))
        return err_set(err, E_BAD_REQUEST,
                       "provided data does not appear to be a protobuf message, expected prefix "
                       "[107 56 115 0]");
    *api_version = *kind = *raw = S("");
    struct pb m = pb_of(str_sub(bytes, magic.n, bytes.n)), inner;
    struct pb_field p, q;
    int more, deeper;
    while ((more = pb_next(&m, &p, err)) == 1) {
        if (p.wire != PB_BYTES)
            continue;
        if (p.number == 2)
            *raw = p.bytes;
        if (p.number != 1)
            continue;
        inner = pb_of(p.bytes);
        while ((deeper = pb_next(&inner, &q, err)) == 1)
            if (q.wire == PB_BYTES && q.number <= 2)
                *(q.number == 1 ? api_version : kind) = q.bytes;
        if (deeper < 0)
            return false;
    }
    return more == 0;
}
