/* Stand-ins for rules and columns until those land; weak, so that the real ones take their place. */
#include "api/columns.h"
#include "api/strategy.h"
#define WEAK __attribute__((weak))
WEAK void field_errors_fini(struct field_errors *e)
{
    array_fini(&e->list);
}
WEAK const char *field_error_reason(enum field_error_type t)
{
    static const char *const r[] = {"FieldValueRequired",  "FieldValueInvalid",      "FieldValueTypeInvalid",
                                    "FieldValueDuplicate", "FieldValueNotSupported", "FieldValueForbidden",
                                    "FieldValueTooLong",   "FieldValueTooMany",      "FieldValueNotFound",
                                    "InternalError"};
    return r[t];
}
WEAK void field_errors_text(const struct field_errors *e, struct strbuf *out)
{
    if (e->list.n > 1)
        strbuf_addc(out, '[');
    for (size_t i = 0; i < e->list.n; i++)
        strbuf_addf(out, "%s" STR_FMT ": " STR_FMT, i ? ", " : "", STR_ARG(e->list.p[i].field),
                    STR_ARG(e->list.p[i].text));
    if (e->list.n > 1)
        strbuf_addc(out, ']');
}
WEAK void kind_validate(const struct kind *k, struct str sub, const struct val *v, const struct val *old,
                        struct field_errors *e)
{
    (void)k;
    (void)sub;
    (void)v;
    (void)old;
    (void)e;
}
WEAK void kind_warnings(const struct kind *k, const struct val *v, const struct val *old, struct warnings *w)
{
    (void)k;
    (void)v;
    (void)old;
    (void)w;
}
WEAK const struct column *columns_of(const struct kind *k, size_t *n)
{
    static const struct column c[] = {{"Name", "string", "name", "name", 0}};
    (void)k;
    *n = 1;
    return c;
}
WEAK void columns_row(struct arena *a, const struct kind *k, const struct val *tree, int64_t now, struct val *cells)
{
    (void)k;
    (void)now;
    *cells = val_list();
    val_add(a, cells, val_str(a, val_text_at(tree, N(metadata), N(name))));
}
