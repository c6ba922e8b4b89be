/* type.c - the fields of types, and how messages name them.
 *
 * Fields of built-in types are rows of numbers in the program (kinds_gen.c); what reads them wants pointers. Tables
 * of pointers in the program would be relocated when it starts: 90 KB of private memory in each of five processes, of
 * which most ask for few types or none. So a type's table is made (fields_make) when it is asked for first, below, in
 * memory that costs nothing before.
 */
#include "api/type_int.h"
#include <pthread.h>
#include <stdatomic.h>

static struct field fields[FIELD_ROWS];
static atomic_bool fields_made[FIELD_ROWS]; /* at its first row: the table of a type is whole */

static void fields_make(const struct type *t)
{
    static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
    (void)pthread_mutex_lock(&one);
    bool made = atomic_load_explicit(&fields_made[t->first_row], memory_order_relaxed);
    for (size_t i = t->first_row, end = i + t->nfields; !made && i < end; i++) {
        const struct field_row *r = &field_rows[i];
        fields[i] = (struct field){
            &names[r->name], &types_builtin[r->type], &field_extras[r->extra], r->number, r->flags, r->doc};
    }
    atomic_store_explicit(&fields_made[t->first_row], true, memory_order_release);
    (void)pthread_mutex_unlock(&one);
}

const struct field *type_fields(const struct type *t)
{
    if (!t->first_row)
        return t->fields;
    if (!atomic_load_explicit(&fields_made[t->first_row], memory_order_acquire))
        fields_make(t);
    return &fields[t->first_row];
}

bool field_has_name(const struct field *f, const struct name *name)
{
    return f->name == name || (!name_is_static(f->name) && str_eq(f->name->s, name->s));
}

const struct field *type_field(const struct type *t, const struct name *name)
{
    const struct field *all = t ? type_fields(t) : NULL;
    for (uint16_t i = 0; t && i < t->nfields; i++) {
        const struct field *f = &all[i];
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
