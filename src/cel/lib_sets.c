/* Lists taken as sets: cel-go's ext/sets.go. */
#include "cel/libraries.h"

static bool list_has(struct cel_run *run, struct cel_value list, struct cel_value item)
{
    for (size_t i = 0, len = cel_list_len(list); i < len; i++)
        if (cel_equal(run, cel_list_at(run, list, i), item))
            return true;
    return false;
}

static bool list_has_all(struct cel_run *run, struct cel_value list, struct cel_value items)
{
    for (size_t i = 0, len = cel_list_len(items); i < len; i++)
        if (!list_has(run, list, cel_list_at(run, items, i)))
            return false;
    return true;
}

static struct cel_value sets_contain(CEL_RUN)
{
    return cel_bool(list_has_all(run, a[0], a[1]));
}

static struct cel_value sets_are_equivalent(CEL_RUN)
{
    return cel_bool(list_has_all(run, a[0], a[1]) && list_has_all(run, a[1], a[0]));
}

static struct cel_value sets_intersect(CEL_RUN)
{
    for (size_t i = 0, len = cel_list_len(a[0]); i < len; i++)
        if (list_has(run, a[1], cel_list_at(run, a[0], i)))
            return cel_bool(true);
    return cel_bool(false);
}

static const struct cel_function rows[] = {
    {"sets.contains", "list_sets_contains_list", "(list(T), list(T)) bool", sets_contain, CEL_COST_SETS, 0, 0},
    {"sets.equivalent", "list_sets_equivalent_list", "(list(T), list(T)) bool", sets_are_equivalent,
     CEL_COST_SETS_TWICE, 0, 0},
    {"sets.intersects", "list_sets_intersects_list", "(list(T), list(T)) bool", sets_intersect, CEL_COST_SETS, 0, 0},
};
const struct cel_library cel_lib_sets = CEL_LIBRARY("cel.lib.ext.sets", rows);
