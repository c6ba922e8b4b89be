#include "cel/kind_types.h"
#include "base/map.h"
#include "cel/schema_types.h"

/* Types may hold themselves: each struct is made once. */
struct kind_typing {
    struct arena *a;
    struct map made; /* struct type, by its address, to its cel_type */
};

static const struct cel_type *type_of(struct kind_typing *k, const struct type *t);

static uint32_t fields_add(struct kind_typing *k, const struct type *t, struct cel_field *out)
{
    uint32_t n = 0;
    type_fields_each (f, t) {
        struct str name;
        if (f->flags & FIELD_NOJSON)
            continue;
        if (f->flags & FIELD_INLINE)
            n += fields_add(k, f->type, out ? out + n : NULL);
        else if (!cel_escape(k->a, f->name->s, &name))
            continue;
        else if (out)
            out[n++] = (struct cel_field){name, f->name, type_of(k, f->type)};
        else
            n++;
    }
    return n;
}

static const struct cel_type *struct_of(struct kind_typing *k, const struct type *t)
{
    struct str address = {(const char *)&t, sizeof t};
    struct cel_type *made = map_get(&k->made, address);
    if (made)
        return made;
    made = ARENA_NEW(k->a, struct cel_type);
    *made = (struct cel_type){.kind = CT_STRUCT, .name = t->name && *t->name ? t->name : "object"};
    (void)map_put(&k->made, address, made);
    uint32_t n = fields_add(k, t, NULL);
    struct cel_field *fields = arena_alloc(k->a, (n + 1) * sizeof *fields);
    (void)fields_add(k, t, fields);
    made->fields = fields;
    made->nfields = n;
    return made;
}

static const struct cel_type *type_of(struct kind_typing *k, const struct type *t)
{
    switch ((enum type_kind)t->kind) {
    case TYPE_STRUCT: return struct_of(k, t);
    case TYPE_LIST: return cel_type_list(k->a, type_of(k, t->of));
    case TYPE_MAP: return cel_type_map(k->a, &cel_type_string, type_of(k, t->of));
    case TYPE_STRING:
    case TYPE_DURATION: return &cel_type_string;
    case TYPE_BOOL: return &cel_type_bool;
    case TYPE_INT32:
    case TYPE_INT64: return &cel_type_int;
    case TYPE_DOUBLE: return &cel_type_double;
    case TYPE_BYTES: return &cel_type_bytes;
    case TYPE_TIME:
    case TYPE_MICROTIME: return &cel_type_timestamp;
    case TYPE_QUANTITY:
    case TYPE_INT_OR_STRING:
    case TYPE_ANY:
    case TYPE_SCHEMA_OR_BOOL:
    case TYPE_SCHEMA_OR_ARRAY:
    case TYPE_SCHEMA_OR_STRINGS: break;
    }
    return &cel_type_dyn;
}

const struct cel_type *cel_type_of_kind(struct arena *a, const struct type *t)
{
    if (t->loose) {
        const struct cel_type *of = cel_type_of_schema(a, schema_node(t), true);
        return of ? of : &cel_type_dyn;
    }
    struct kind_typing k = {.a = a};
    const struct cel_type *of = type_of(&k, t);
    map_fini(&k.made);
    return of;
}
