#include "api/codec_int.h"
#include "api/schema.h"

/* Inline members stand in the same map. */
static void default_fields(struct arena *a, const struct type *t, struct val *map);

static void default_value(struct arena *a, const struct type *t, struct val *v)
{
    if (t->loose) { /* a null may stay */
        schema_default(a, schema_node(t), v);
        return;
    }
    if (t->kind == TYPE_STRUCT && v->type == VAL_MAP)
        default_fields(a, t, v);
    else if (t->kind == TYPE_LIST && v->type == VAL_LIST && t->of->kind == TYPE_STRUCT)
        for (uint32_t i = 0; i < v->n; i++)
            default_value(a, t->of, &v->list[i]);
    else if (t->kind == TYPE_MAP && v->type == VAL_MAP && t->of->kind == TYPE_STRUCT)
        for (uint32_t i = 0; i < v->n; i++)
            default_value(a, t->of, &v->map[i].v);
}

static void default_fields(struct arena *a, const struct type *t, struct val *map)
{
    type_fields_each (f, t) {
        if (f->flags & FIELD_INLINE) {
            default_fields(a, f->type, map);
            continue;
        }
        struct val *v = val_get_mut(map, f->name);
        if (v && v->type != VAL_NULL) {
            default_value(a, f->type, v);
        } else if (f->x->dflt) {
            struct val made;
            struct err err = ERR;
            ASSERT(json_decode(a, str_of(f->x->dflt), &made, &err));
            if (!field_is_zero(f, &made))
                (void)val_set(a, map, f->name, made);
        }
    }
}

void type_default(struct arena *a, const struct type *t, struct val *v)
{
    default_value(a, t, v);
}
