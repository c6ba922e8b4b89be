#include "api/type.h"

bool field_has_name(const struct field *f, const struct name *name)
{
    return f->name == name || (!name_is_static(f->name) && str_eq(f->name->s, name->s));
}

const struct field *type_field(const struct type *t, const struct name *name)
{
    for (uint16_t i = 0; t && i < t->nfields; i++) {
        const struct field *f = &t->fields[i];
        if (f->flags & FIELD_INLINE) {
            const struct field *inner = type_field(f->type, name);
            if (inner)
                return inner;
        } else if (field_has_name(f, name) && !(f->flags & FIELD_NOJSON)) {
            return f;
        }
    }
    return NULL;
}

void type_go_name(const struct type *t, struct strbuf *b)
{
    switch ((enum type_kind)t->kind) {
    case TYPE_LIST:
        if (!t->wrapper) {
            strbuf_addz(b, "[]");
            type_go_name(t->of, b);
            return;
        }
        break;
    case TYPE_MAP:
        if (t->of->kind == TYPE_QUANTITY) { /* all maps of quantities have the one name */
            strbuf_addz(b, "v1.ResourceList");
            return;
        }
        strbuf_addz(b, "map[string]");
        type_go_name(t->of, b);
        return;
    case TYPE_DOUBLE: strbuf_addz(b, "float64"); return;
    case TYPE_BYTES: strbuf_addz(b, "[]uint8"); return;
    case TYPE_STRUCT:
    case TYPE_STRING:
    case TYPE_BOOL:
    case TYPE_INT32:
    case TYPE_INT64:
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
    strbuf_addz(b, go_packages[t->go]);
    strbuf_addz(b, t->name);
}

const char *field_doc(const struct field *f)
{
    return f->x->doc ? f->x->doc : f->doc ? type_docs + f->doc : NULL;
}

const char *type_doc(const struct type *t)
{
    return t->described ? t->described : t->doc ? type_docs + t->doc : NULL;
}
