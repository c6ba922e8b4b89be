/* Lists: the API server's functions (cel/library/lists.go) and cel-go's (ext/lists.go, version 3; first and last are
 * with the optional values). */
#include "cel/libraries.h"
#include "cel/run.h"

#define RANGE_MAX 10000000

static struct cel_value list_is_sorted(CEL_RUN)
{
    size_t len = cel_list_len(a[0]);
    struct cel_value last = cel_null();
    for (size_t i = 0; i < len; i++) {
        struct cel_value item = cel_list_at(run, a[0], i);
        int order;
        if (cel_is_error(item))
            return item;
        if (i && cel_compare(last, item, &order) && order > 0)
            return cel_bool(false);
        last = item;
    }
    return cel_bool(true);
}

static struct cel_value ints_sum(CEL_RUN)
{
    int64_t sum = 0;
    for (size_t i = 0, len = cel_list_len(a[0]); i < len; i++)
        if (__builtin_add_overflow(sum, cel_list_at(run, a[0], i).i, &sum))
            return cel_error(run, "integer overflow");
    return cel_int(sum);
}

static struct cel_value uints_sum(CEL_RUN)
{
    uint64_t sum = 0;
    for (size_t i = 0, len = cel_list_len(a[0]); i < len; i++)
        if (__builtin_add_overflow(sum, cel_list_at(run, a[0], i).u, &sum))
            return cel_error(run, "unsigned integer overflow");
    return cel_uint(sum);
}

static struct cel_value doubles_sum(CEL_RUN)
{
    double sum = 0;
    for (size_t i = 0, len = cel_list_len(a[0]); i < len; i++)
        sum += cel_list_at(run, a[0], i).d;
    return cel_double(sum);
}

static struct cel_value durations_sum(CEL_RUN)
{
    int64_t sum = 0;
    for (size_t i = 0, len = cel_list_len(a[0]); i < len; i++) {
        struct cel_value item = cel_list_at(run, a[0], i);
        if (cel_is_error(item))
            return item;
        if (__builtin_add_overflow(sum, item.i, &sum))
            return cel_error(run, "duration overflow");
    }
    return cel_duration(sum);
}

/* The least (wanted -1) or the largest (1); the first of several. */
static struct cel_value list_extreme(struct cel_run *run, struct cel_value list, int wanted, const char *name)
{
    size_t len = cel_list_len(list);
    struct cel_value best = cel_null();
    for (size_t i = 0; i < len; i++) {
        struct cel_value item = cel_list_at(run, list, i);
        int order;
        if (cel_is_error(item))
            return item;
        if (!i || (cel_compare(item, best, &order) && order * wanted > 0))
            best = item;
    }
    return len ? best : cel_error(run, "%s called on empty list", name);
}

static struct cel_value list_min(CEL_RUN)
{
    return list_extreme(run, a[0], -1, "min");
}

static struct cel_value list_max(CEL_RUN)
{
    return list_extreme(run, a[0], 1, "max");
}

static struct cel_value list_index(CEL_RUN)
{
    for (size_t i = 0, len = cel_list_len(a[0]); i < len; i++)
        if (cel_equal(run, cel_list_at(run, a[0], i), a[1]))
            return cel_int((int64_t)i);
    return cel_int(-1);
}

static struct cel_value list_last_index(CEL_RUN)
{
    for (size_t i = cel_list_len(a[0]); i-- > 0;)
        if (cel_equal(run, cel_list_at(run, a[0], i), a[1]))
            return cel_int((int64_t)i);
    return cel_int(-1);
}

static struct cel_value list_slice(CEL_RUN)
{
    int64_t from = a[1].i, to = a[2].i, len = (int64_t)cel_list_len(a[0]);
    if (from < 0 || to < 0)
        return cel_error(run, "cannot slice(%lld, %lld), negative indexes not supported", (long long)from,
                         (long long)to);
    if (from > to)
        return cel_error(run, "cannot slice(%lld, %lld), start index must be less than or equal to end index",
                         (long long)from, (long long)to);
    if (to > len)
        return cel_error(run, "cannot slice(%lld, %lld), list is length %lld", (long long)from, (long long)to,
                         (long long)len);
    struct cel_list *out = cel_list_new(run, (size_t)(to - from));
    for (int64_t i = from; i < to; i++)
        cel_list_add(run, out, cel_list_at(run, a[0], (size_t)i));
    return cel_list_of(out);
}

/* Lists within lists are as deep as an expression or a document may be. */
static void flat_add(struct cel_run *run, struct cel_list *out, struct cel_value list, int64_t depth)
{
    for (size_t i = 0, len = cel_list_len(list); i < len; i++) {
        struct cel_value item = cel_list_at(run, list, i);
        if (item.kind == CEL_LIST && depth > 0)
            flat_add(run, out, item, depth - 1);
        else
            cel_list_add(run, out, item);
    }
}

static struct cel_value list_flatten(CEL_RUN)
{
    int64_t depth = n > 1 ? a[1].i : 1;
    if (depth < 0)
        return cel_error(run, "level must be non-negative");
    struct cel_list *out = cel_list_new(run, cel_list_len(a[0]));
    flat_add(run, out, a[0], depth);
    return cel_list_of(out);
}

static struct cel_value list_range(CEL_RUN)
{
    if (a[0].i < 0)
        return cel_error(run, "lists.range: size must be non-negative, got %lld", (long long)a[0].i);
    if (a[0].i > RANGE_MAX)
        return cel_error(run, "lists.range: size %lld exceeds maximum allowed (%d)", (long long)a[0].i, RANGE_MAX);
    if ((uint64_t)a[0].i > run->limit) { /* more than it may cost: not made before that is known */
        run->over = true;
        run->cost = run->limit;
        return cel_list_of(cel_list_new(run, 0));
    }
    struct cel_list *out = cel_list_new(run, (size_t)a[0].i);
    for (int64_t i = 0; i < a[0].i; i++)
        cel_list_add(run, out, cel_int(i));
    return cel_list_of(out);
}

static struct cel_value list_reverse(CEL_RUN)
{
    size_t len = cel_list_len(a[0]);
    struct cel_list *out = cel_list_new(run, len);
    while (len-- > 0)
        cel_list_add(run, out, cel_list_at(run, a[0], len));
    return cel_list_of(out);
}

static struct cel_value list_distinct(CEL_RUN)
{
    size_t len = cel_list_len(a[0]);
    struct cel_list *out = cel_list_new(run, len);
    for (size_t i = 0; i < len; i++) {
        struct cel_value item = cel_list_at(run, a[0], i);
        bool seen = false;
        for (uint32_t k = 0; k < out->n && !seen; k++)
            seen = cel_equal(run, item, out->items[k]);
        if (!seen)
            cel_list_add(run, out, item);
    }
    return cel_list_of(out);
}

/* Puts `order` into the order of the keys: merging, so that what is equal stays as it was. */
static void keys_sort(const struct cel_value *keys, uint32_t *order, uint32_t *spare, size_t len)
{
    if (len < 2)
        return;
    size_t half = len / 2;
    keys_sort(keys, order, spare, half);
    keys_sort(keys, order + half, spare, len - half);
    memcpy(spare, order, half * sizeof *order);
    for (size_t i = 0, k = half, w = 0; i < half; w++) {
        int cmp = 0;
        if (k < len && cel_compare(keys[order[k]], keys[spare[i]], &cmp) && cmp < 0)
            order[w] = order[k++];
        else
            order[w] = spare[i++];
    }
}

static struct cel_value list_sorted(struct cel_run *run, struct cel_value list, struct cel_value by)
{
    size_t len = cel_list_len(list), have = cel_list_len(by);
    if (len != have)
        return cel_error(run,
                         "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but "
                         "got %zu and %zu elements respectively",
                         len, have);
    struct cel_value *keys = arena_alloc(cel_arena(run), len * sizeof *keys);
    uint32_t *order = arena_alloc(cel_arena(run), 2 * len * sizeof *order);
    for (size_t i = 0; i < len; i++) {
        int ignored;
        keys[i] = cel_list_at(run, by, i);
        order[i] = (uint32_t)i;
        if (cel_is_error(keys[i]))
            return keys[i];
        if (!cel_compare(keys[i], keys[i], &ignored) && keys[i].kind != CEL_DOUBLE)
            return cel_error(run, "list elements must be comparable");
        if (keys[i].kind != keys[0].kind)
            return cel_error(run, "list elements must have the same type");
    }
    keys_sort(keys, order, order + len, len);
    struct cel_list *out = cel_list_new(run, len);
    for (size_t i = 0; i < len; i++)
        cel_list_add(run, out, cel_list_at(run, list, order[i]));
    return cel_list_of(out);
}

static struct cel_value list_sort(CEL_RUN)
{
    return list_sorted(run, a[0], a[0]);
}

static struct cel_value list_sort_by(CEL_RUN)
{
    return list_sorted(run, a[0], a[1]);
}

#define EACH_COMPARABLE(X)                                                                                           \
    X("int", "int")                                                                                                  \
    X("uint", "uint")                                                                                                \
    X("double", "double")                                                                                            \
    X("bool", "bool")                                                                                                \
    X("duration", "google.protobuf.Duration")                                                                        \
    X("timestamp", "google.protobuf.Timestamp")                                                                      \
    X("string", "string")                                                                                            \
    X("bytes", "bytes")

static const struct cel_function rows[] = {
#define X(t, name)                                                                                                   \
    {"isSorted", "list_" t "_is_sorted_bool", "list(" t ").() bool", list_is_sorted, CEL_COST_EACH, 0, 0},
    EACH_COMPARABLE(X)
#undef X
        {"sum", "list_int_sum_int", "list(int).() int", ints_sum, CEL_COST_EACH, 0, 0},
    {"sum", "list_uint_sum_uint", "list(uint).() uint", uints_sum, CEL_COST_EACH, 0, 0},
    {"sum", "list_double_sum_double", "list(double).() double", doubles_sum, CEL_COST_EACH, 0, 0},
    {"sum", "list_duration_sum_duration", "list(duration).() duration", durations_sum, CEL_COST_EACH, 0, 0},
#define X(t, name) {"max", "list_" t "_max_" t, "list(" t ").() " t, list_max, CEL_COST_EACH, 0, 0},
    EACH_COMPARABLE(X)
#undef X
#define X(t, name) {"min", "list_" t "_min_" t, "list(" t ").() " t, list_min, CEL_COST_EACH, 0, 0},
        EACH_COMPARABLE(X)
#undef X
            {"indexOf", "list_a_index_of_int", "list(A).(A) int", list_index, CEL_COST_EACH, 0, 0},
    {"lastIndexOf", "list_a_last_index_of_int", "list(A).(A) int", list_last_index, CEL_COST_EACH, 0, 0},
};
const struct cel_library cel_lib_lists = CEL_LIBRARY("kubernetes.lists", rows);

static const struct cel_function more_rows[] = {
    {"slice", "list_slice", "list(T).(int, int) list(T)", list_slice, CEL_COST_LIST_COPY, 0, 0},
    {"flatten", "list_flatten", "list(list(T)).() list(T)", list_flatten, CEL_COST_LIST_COPY, 0, 0},
    {"flatten", "list_flatten_int", "list(dyn).(int) list(dyn)", list_flatten, CEL_COST_LIST_COPY, 0, 0},
#define X(t, name) {"sort", "list_" name "_sort", "list(" t ").() list(" t ")", list_sort, CEL_COST_LIST_PAIRS, 0, 0},
    EACH_COMPARABLE(X)
#undef X
#define X(t, name)                                                                                                   \
    {"@sortByAssociatedKeys",                                                                                        \
     "list_" name "_sortByAssociatedKeys",                                                                           \
     "list(T).(list(" t ")) list(T)",                                                                                \
     list_sort_by,                                                                                                   \
     CEL_COST_LIST_PAIRS,                                                                                            \
     0,                                                                                                              \
     0},
        EACH_COMPARABLE(X)
#undef X
            {"lists.range", "lists_range", "(int) list(int)", list_range, CEL_COST_RANGE, 0, 0},
    {"reverse", "list_reverse", "list(T).() list(T)", list_reverse, CEL_COST_LIST_COPY, 0, 0},
    {"distinct", "list_distinct", "list(T).() list(T)", list_distinct, CEL_COST_LIST_PAIRS, 0, 0},
};
const struct cel_library cel_lib_list_extension = CEL_LIBRARY("cel.lib.ext.lists", more_rows);
