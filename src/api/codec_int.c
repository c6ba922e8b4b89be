#include "api/codec_int.h"

struct val *builder_member(struct builder *b, size_t base, uint32_t order, const struct name *name)
{
    for (size_t i = base; i < b->stack.n; i++)
        if (b->stack.p[i].order == order)
            return &b->stack.p[i].m.v;
    struct building fresh = {.order = order, .m = {.name = name}};
    array_push(&b->stack, fresh);
    return &b->stack.p[b->stack.n - 1].m.v;
}

struct val builder_finish(struct builder *b, size_t base)
{
    if (b->stack.n == base)
        return val_map();
    struct building *p = b->stack.p + base;
    size_t n = b->stack.n - base, live = 0;
    for (size_t i = 0; i < n; i++) { /* insertion: mostly in order already, and few */
        if (p[i].m.v.type == VAL_NULL)
            continue;
        struct building x = p[i];
        size_t at = live++;
        for (; at > 0 && p[at - 1].order > x.order; at--)
            p[at] = p[at - 1];
        p[at] = x;
    }
    struct val out = val_map();
    if (live) {
        out.n = (uint32_t)live;
        out.map = arena_alloc(b->a, live * sizeof *out.map);
        for (size_t i = 0; i < live; i++)
            out.map[i] = p[i].m;
    }
    b->stack.n = base;
    return out;
}

const struct field *field_find(const struct type *t, const struct name *name, uint32_t *order,
                               const struct field **in)
{
    const struct field *all = type_fields(t);
    for (uint16_t i = 0; i < t->nfields; i++) {
        const struct field *f = &all[i];

        if (f->flags & FIELD_INLINE) {
            uint32_t inner;
            const struct field *deeper, *found = field_find(f->type, name, &inner, &deeper);
            if (found) {
                *order = ((uint32_t)i + 1) << 16 | inner >> 8; /* at most three levels of inline members */
                *in = f;
                return found;
            }
        } else if (field_has_name(f, name) && !(f->flags & FIELD_NOJSON)) {
            *order = ((uint32_t)i + 1) << 16;
            *in = NULL;
            return f;
        }
    }
    return NULL;
}

bool field_is_zero(const struct field *f, const struct val *v)
{
    if (v->type == VAL_NULL)
        return true;
    if (v->type == VAL_LIST)
        return v->n == 0 && f->type->kind != TYPE_ANY;
    if (v->type == VAL_MAP)
        return v->n == 0 && f->type->kind != TYPE_ANY && !(f->flags & FIELD_POINTER);
    if (f->flags & FIELD_POINTER)
        return false;
    switch ((enum type_kind)f->type->kind) {
    case TYPE_STRING:
    case TYPE_BYTES:
    case TYPE_TIME:
    case TYPE_MICROTIME: return v->n == 0;
    case TYPE_BOOL: return !v->b;
    case TYPE_INT_OR_STRING:
        if (v->type != VAL_INT)
            return false;
        return v->i == 0;
    case TYPE_INT32:
    case TYPE_INT64: return v->i == 0;
    case TYPE_DOUBLE: return v->type == VAL_INT ? v->i == 0 : v->d == 0;
    case TYPE_QUANTITY: return str_eqz(val_text(v), "0");
    case TYPE_DURATION: return str_eqz(val_text(v), "0s");
    case TYPE_STRUCT:
    case TYPE_LIST:
    case TYPE_MAP:
    case TYPE_ANY:
    case TYPE_SCHEMA_OR_BOOL:
    case TYPE_SCHEMA_OR_ARRAY:
    case TYPE_SCHEMA_OR_STRINGS: return false;
    }
    return false;
}

struct val type_zero(const struct type *t)
{
    switch ((enum type_kind)t->kind) {
    case TYPE_STRING: return val_str_borrowed(S(""));
    case TYPE_BOOL: return val_bool(false);
    case TYPE_INT_OR_STRING:
    case TYPE_INT32:
    case TYPE_INT64: return val_int(0);
    case TYPE_DOUBLE: return val_double(0);
    case TYPE_BYTES: return (struct val){.type = VAL_BYTES, .s = ""};
    case TYPE_QUANTITY: return val_str_borrowed(S("0"));
    case TYPE_DURATION: return val_str_borrowed(S("0s"));
    case TYPE_STRUCT:
    case TYPE_SCHEMA_OR_BOOL:
    case TYPE_SCHEMA_OR_ARRAY:
    case TYPE_SCHEMA_OR_STRINGS: return val_map();
    case TYPE_LIST: return val_list();
    case TYPE_MAP: return val_map();
    case TYPE_TIME:
    case TYPE_MICROTIME:
    case TYPE_ANY: return VAL_NONE;
    }
    return VAL_NONE;
}
