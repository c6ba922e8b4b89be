/* Stand-ins for rules and columns until those land; weak, so that the real ones take their place. */
#include "api/columns.h"
#include "api/strategy.h"
#define WEAK __attribute__((weak))
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
