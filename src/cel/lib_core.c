/* What the language itself has: operators, conversions, size, and the simplest functions of strings. */
#include "cel/eval.h"
#include "cel/libraries.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What eval.c does by itself: the row is for the checker. */
static struct cel_value run_native(CEL_RUN)
{
    return cel_error(run, "internal: evaluated elsewhere");
}

/* ---- arithmetic ---- */

static struct cel_value int_or_overflow(struct cel_run *run, bool over, int64_t i)
{
    return over ? cel_error(run, "integer overflow") : cel_int(i);
}

static struct cel_value uint_or_overflow(struct cel_run *run, bool over, uint64_t u)
{
    return over ? cel_error(run, "unsigned integer overflow") : cel_uint(u);
}

static struct cel_value duration_or_overflow(struct cel_run *run, bool over, int64_t ns)
{
    return over ? cel_error(run, "duration overflow") : cel_duration(ns);
}

static struct cel_value int_add(CEL_RUN)
{
    int64_t r;
    bool over = __builtin_add_overflow(a[0].i, a[1].i, &r);
    return int_or_overflow(run, over, r);
}

static struct cel_value int_sub(CEL_RUN)
{
    int64_t r;
    bool over = __builtin_sub_overflow(a[0].i, a[1].i, &r);
    return int_or_overflow(run, over, r);
}

static struct cel_value int_mul(CEL_RUN)
{
    int64_t r;
    bool over = __builtin_mul_overflow(a[0].i, a[1].i, &r);
    return int_or_overflow(run, over, r);
}

static struct cel_value int_div(CEL_RUN)
{
    if (!a[1].i)
        return cel_error(run, "division by zero");
    bool over = a[0].i == INT64_MIN && a[1].i == -1;
    return int_or_overflow(run, over, over ? 0 : a[0].i / a[1].i);
}

static struct cel_value int_mod(CEL_RUN)
{
    if (!a[1].i)
        return cel_error(run, "modulus by zero");
    bool over = a[0].i == INT64_MIN && a[1].i == -1;
    return int_or_overflow(run, over, over ? 0 : a[0].i % a[1].i);
}

static struct cel_value int_neg(CEL_RUN)
{
    return int_or_overflow(run, a[0].i == INT64_MIN, a[0].i == INT64_MIN ? 0 : -a[0].i);
}

static struct cel_value uint_add(CEL_RUN)
{
    uint64_t r;
    bool over = __builtin_add_overflow(a[0].u, a[1].u, &r);
    return uint_or_overflow(run, over, r);
}

static struct cel_value uint_sub(CEL_RUN)
{
    uint64_t r;
    bool over = __builtin_sub_overflow(a[0].u, a[1].u, &r);
    return uint_or_overflow(run, over, r);
}

static struct cel_value uint_mul(CEL_RUN)
{
    uint64_t r;
    bool over = __builtin_mul_overflow(a[0].u, a[1].u, &r);
    return uint_or_overflow(run, over, r);
}

static struct cel_value uint_div(CEL_RUN)
{
    return a[1].u ? cel_uint(a[0].u / a[1].u) : cel_error(run, "division by zero");
}

static struct cel_value uint_mod(CEL_RUN)
{
    return a[1].u ? cel_uint(a[0].u % a[1].u) : cel_error(run, "modulus by zero");
}

static struct cel_value double_add(CEL_RUN)
{
    return cel_double(a[0].d + a[1].d);
}

static struct cel_value double_sub(CEL_RUN)
{
    return cel_double(a[0].d - a[1].d);
}

static struct cel_value double_mul(CEL_RUN)
{
    return cel_double(a[0].d * a[1].d);
}

static struct cel_value double_div(CEL_RUN)
{
    return cel_double(a[0].d / a[1].d);
}

static struct cel_value double_neg(CEL_RUN)
{
    return cel_double(-a[0].d);
}

static struct cel_value text_joined(struct cel_run *run, const struct cel_value *a)
{
    size_t n = (size_t)a[0].n + a[1].n;
    char *p = arena_alloc(run->arena, n + 1);
    if (a[0].n)
        memcpy(p, a[0].text, a[0].n);
    if (a[1].n)
        memcpy(p + a[0].n, a[1].text, a[1].n);
    return cel_string((struct str){p, n});
}

static struct cel_value text_add(CEL_RUN)
{
    struct cel_value v = text_joined(run, a);
    v.kind = a[0].kind;
    return v;
}

static struct cel_value list_add(CEL_RUN)
{
    return cel_list_join(run, a[0], a[1]);
}

/* ---- times ---- */

static struct cel_value time_plus(struct cel_run *run, struct cel_value t, int64_t ns)
{
    __int128 all = (__int128)t.i * 1000000000 + t.n + ns;
    int64_t seconds = (int64_t)(all / 1000000000), rest = (int64_t)(all % 1000000000);
    if (rest < 0) {
        rest += 1000000000;
        seconds--;
    }
    if (seconds < -62135596800 || seconds > 253402300799)
        return cel_error(run, "timestamp overflow");
    return cel_timestamp(seconds, (uint32_t)rest);
}

static struct cel_value time_add_duration(CEL_RUN)
{
    return a[0].kind == CEL_TIMESTAMP ? time_plus(run, a[0], a[1].i) : time_plus(run, a[1], a[0].i);
}

static struct cel_value time_sub_duration(CEL_RUN)
{
    return a[1].i == INT64_MIN ? cel_error(run, "timestamp overflow") : time_plus(run, a[0], -a[1].i);
}

static struct cel_value time_sub_time(CEL_RUN)
{
    __int128 ns = (__int128)(a[0].i - a[1].i) * 1000000000 + ((int64_t)a[0].n - (int64_t)a[1].n);
    return duration_or_overflow(run, ns > INT64_MAX || ns < INT64_MIN, (int64_t)ns);
}

static struct cel_value duration_add(CEL_RUN)
{
    int64_t r;
    bool over = __builtin_add_overflow(a[0].i, a[1].i, &r);
    return duration_or_overflow(run, over, r);
}

static struct cel_value duration_sub(CEL_RUN)
{
    int64_t r;
    bool over = __builtin_sub_overflow(a[0].i, a[1].i, &r);
    return duration_or_overflow(run, over, r);
}

/* ---- order ---- */

#define ORDER(name, condition)                                                                                       \
    static struct cel_value name(CEL_RUN)                                                                            \
    {                                                                                                                \
        int order;                                                                                                   \
        if (!cel_compare(a[0], a[1], &order))                                                                        \
            return (a[0].kind == CEL_DOUBLE || a[1].kind == CEL_DOUBLE)                                              \
                       ? cel_error(run, "NaN values cannot be ordered")                                              \
                       : cel_no_overload(run, "");                                                                   \
        return cel_bool(order condition);                                                                            \
    }
ORDER(is_less, < 0)
ORDER(is_less_equal, <= 0)
ORDER(is_greater, > 0)
ORDER(is_greater_equal, >= 0)

/* ---- membership ---- */

static struct cel_value in_list(CEL_RUN)
{
    size_t len = cel_list_len(a[1]);
    for (size_t i = 0; i < len; i++)
        if (cel_equal(run, a[0], cel_list_at(run, a[1], i)))
            return cel_bool(true);
    return cel_bool(false);
}

static struct cel_value in_map(CEL_RUN)
{
    struct cel_value found;
    return cel_bool(cel_map_find(run, a[1], a[0], &found));
}

static struct cel_value map_insert(CEL_RUN)
{
    struct cel_map *map = cel_map_new(run, cel_map_len(a[0]) + 1);
    struct cel_value key, value;
    for (size_t at = 0; cel_map_next(run, a[0], &at, &key, &value);)
        cel_map_add(run, map, key, value);
    if (n == 3) {
        if (!cel_map_add(run, map, a[1], a[2]))
            return cel_error(run, "insert failed: key already exists");
        return cel_map_of(map);
    }
    for (size_t at = 0; cel_map_next(run, a[1], &at, &key, &value);)
        if (!cel_map_add(run, map, key, value))
            return cel_error(run, "insert failed: key already exists");
    return cel_map_of(map);
}

static struct cel_value size_of(CEL_RUN)
{
    if (a[0].kind == CEL_STRING)
        run_work(run, a[0].n / 64);
    return cel_int((int64_t)cel_size(a[0]));
}

/* ---- strings ---- */

static struct cel_value text_contains(CEL_RUN)
{
    return cel_bool(str_has(cel_text(a[0]), cel_text(a[1])));
}

static struct cel_value text_starts(CEL_RUN)
{
    return cel_bool(str_starts(cel_text(a[0]), cel_text(a[1])));
}

static struct cel_value text_ends(CEL_RUN)
{
    return cel_bool(str_ends(cel_text(a[0]), cel_text(a[1])));
}

/* ---- conversions ---- */

static struct cel_value conversion_error(struct cel_run *run, struct cel_value v, const char *to)
{
    return cel_error(run, "type conversion error from '%s' to '%s'", cel_type_name(v), to);
}

static struct cel_value same_value(CEL_RUN)
{
    return a[0];
}

static struct cel_value type_of(CEL_RUN)
{
    struct cel_type t = {.kind = CT_OPAQUE, .name = cel_type_name(a[0])};
    return (struct cel_value){.kind = CEL_TYPE, .type = arena_dup(run->arena, &t, sizeof t)};
}

static struct cel_value bool_of_text(CEL_RUN)
{
    static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"}, *const no[] = {"0",     "f",
                                                                                             "F",     "FALSE",
                                                                                             "false", "False"};
    for (size_t i = 0; i < countof(yes); i++)
        if (str_eqz(cel_text(a[0]), yes[i]) || str_eqz(cel_text(a[0]), no[i]))
            return cel_bool(str_eqz(cel_text(a[0]), yes[i]));
    return conversion_error(run, a[0], "bool");
}

static struct cel_value bytes_of_text(CEL_RUN)
{
    return cel_bytes(cel_text(a[0]));
}

static struct cel_value double_of_number(CEL_RUN)
{
    return cel_double(a[0].kind == CEL_INT ? (double)a[0].i : (double)a[0].u);
}

static struct cel_value double_of_text(CEL_RUN)
{
    char *text = arena_strz(run->arena, cel_text(a[0])), *end;
    errno = 0;
    double d = strtod(text, &end);
    bool space = *text == ' ' || (*text >= '\t' && *text <= '\r');
    if (*end || end == text || space || a[0].n != strlen(text) || errno == ERANGE)
        return conversion_error(run, a[0], "double");
    return cel_double(d);
}

static struct cel_value int_of_double(CEL_RUN)
{
    bool fits = a[0].d > -9223372036854775808.0 && a[0].d < 9223372036854775808.0;
    return int_or_overflow(run, !fits, fits ? (int64_t)a[0].d : 0);
}

static struct cel_value int_of_uint(CEL_RUN)
{
    return int_or_overflow(run, a[0].u > INT64_MAX, (int64_t)a[0].u);
}

static struct cel_value int_of_time(CEL_RUN)
{
    return cel_int(a[0].i);
}

static struct cel_value int_of_text(CEL_RUN)
{
    struct str s = cel_text(a[0]);
    int64_t i;
    if (s.n > 1 && *s.p == '+' && s.p[1] != '-')
        s = str_sub(s, 1, s.n);
    return str_to_i64(s, INT64_MIN, INT64_MAX, &i) ? cel_int(i) : conversion_error(run, a[0], "int");
}

static struct cel_value uint_of_int(CEL_RUN)
{
    return uint_or_overflow(run, a[0].i < 0, (uint64_t)a[0].i);
}

static struct cel_value uint_of_double(CEL_RUN)
{
    bool fits = a[0].d >= 0 && a[0].d < 18446744073709551616.0;
    return uint_or_overflow(run, !fits, fits ? (uint64_t)a[0].d : 0);
}

static struct cel_value uint_of_text(CEL_RUN)
{
    uint64_t u;
    return str_to_u64(cel_text(a[0]), UINT64_MAX, &u) ? cel_uint(u) : conversion_error(run, a[0], "uint");
}

static struct cel_value text_of_scalar(CEL_RUN)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    switch (a[0].kind) {
    case CEL_BOOL: strbuf_addz(&b, a[0].b ? "true" : "false"); break;
    case CEL_INT: strbuf_addf(&b, "%lld", (long long)a[0].i); break;
    case CEL_UINT: strbuf_addf(&b, "%llu", (unsigned long long)a[0].u); break;
    case CEL_DOUBLE: cel_add_double(&b, a[0].d); break;
    case CEL_DURATION: cel_add_duration(&b, a[0].i); break;
    default: cel_add_timestamp(&b, a[0].i, a[0].n); break;
    }
    return cel_string(str_dup(run->arena, strbuf_str(&b)));
}

static struct cel_value text_of_bytes(CEL_RUN)
{
    return str_utf8_ok(cel_text(a[0])) ? cel_string(cel_text(a[0]))
                                       : cel_error(run, "invalid UTF-8 in bytes, cannot convert to string");
}

static struct cel_value duration_of_text(CEL_RUN)
{
    int64_t ns;
    return cel_parse_duration(cel_text(a[0]), &ns) ? cel_duration(ns)
                                                   : conversion_error(run, a[0], "google.protobuf.Duration");
}

static struct cel_value time_of_text(CEL_RUN)
{
    int64_t s;
    uint32_t ns;
    return cel_parse_timestamp(cel_text(a[0]), &s, &ns) ? cel_timestamp(s, ns)
                                                        : conversion_error(run, a[0], "google.protobuf.Timestamp");
}

static struct cel_value time_of_int(CEL_RUN)
{
    if (a[0].i < -62135596800 || a[0].i > 253402300799)
        return cel_error(run, "timestamp overflow");
    return cel_timestamp(a[0].i, 0);
}

static void *check_duration(struct cel_value constant, struct err *err)
{
    int64_t ns;
    if (!cel_parse_duration(cel_text(constant), &ns))
        err_set(err, E_INVALID, "no duration");
    return NULL;
}

static void *check_timestamp(struct cel_value constant, struct err *err)
{
    int64_t s;
    uint32_t ns;
    if (!cel_parse_timestamp(cel_text(constant), &s, &ns))
        err_set(err, E_INVALID, "no timestamp");
    return NULL;
}

/* Overloads of an order: of one type, then across numbers. */
#define ORDERS(op, word, f)                                                                                          \
    {op, word "_bool", "(bool, bool) bool", f, 0, 0, 0}, {op, word "_int64", "(int, int) bool", f, 0, 0, 0},         \
        {op, word "_int64_double", "(int, double) bool", f, 0, 0, 0},                                                \
        {op, word "_int64_uint64", "(int, uint) bool", f, 0, 0, 0},                                                  \
        {op, word "_uint64", "(uint, uint) bool", f, 0, 0, 0},                                                       \
        {op, word "_uint64_double", "(uint, double) bool", f, 0, 0, 0},                                              \
        {op, word "_uint64_int64", "(uint, int) bool", f, 0, 0, 0},                                                  \
        {op, word "_double", "(double, double) bool", f, 0, 0, 0},                                                   \
        {op, word "_double_int64", "(double, int) bool", f, 0, 0, 0},                                                \
        {op, word "_double_uint64", "(double, uint) bool", f, 0, 0, 0},                                              \
        {op, word "_string", "(string, string) bool", f, CEL_COST_ORDER_TEXT, 0, 0},                                 \
        {op, word "_bytes", "(bytes, bytes) bool", f, CEL_COST_ORDER_TEXT, 0, 0},                                    \
        {op, word "_timestamp", "(timestamp, timestamp) bool", f, 0, 0, 0},                                          \
    {                                                                                                                \
        op, word "_duration", "(duration, duration) bool", f, 0, 0, 0                                                \
    }

static const struct cel_function core[] = {
    {"_?_:_", "conditional", "(bool, A, A) A", run_native, 0, 0, 0},
    {"_&&_", "logical_and", "(bool, bool) bool", run_native, 0, 0, 0},
    {"_||_", "logical_or", "(bool, bool) bool", run_native, 0, 0, 0},
    {"!_", "logical_not", "(bool) bool", run_native, 0, 0, 0},
    {"@not_strictly_false", "not_strictly_false", "(bool) bool", run_native, 0, 0, 0},
    {"_==_", "equals", "(A, A) bool", run_native, CEL_COST_EQUAL, 0, 0},
    {"_!=_", "not_equals", "(A, A) bool", run_native, CEL_COST_EQUAL, 0, 0},
    {"_[_]", "index_list", "(list(A), int) A", run_native, 0, 0, 0},
    {"_[_]", "index_map", "(map(A, B), A) B", run_native, 0, 0, 0},

    {"_+_", "add_bytes", "(bytes, bytes) bytes", text_add, CEL_COST_CONCAT, 0, 0},
    {"_+_", "add_double", "(double, double) double", double_add, 0, 0, 0},
    {"_+_", "add_duration_duration", "(duration, duration) duration", duration_add, 0, 0, 0},
    {"_+_", "add_duration_timestamp", "(duration, timestamp) timestamp", time_add_duration, 0, 0, 0},
    {"_+_", "add_timestamp_duration", "(timestamp, duration) timestamp", time_add_duration, 0, 0, 0},
    {"_+_", "add_int64", "(int, int) int", int_add, 0, 0, 0},
    {"_+_", "add_list", "(list(A), list(A)) list(A)", list_add, CEL_COST_CONCAT_LIST, 0, 0},
    {"_+_", "add_string", "(string, string) string", text_add, CEL_COST_CONCAT, 0, 0},
    {"_+_", "add_uint64", "(uint, uint) uint", uint_add, 0, 0, 0},
    {"_/_", "divide_double", "(double, double) double", double_div, 0, 0, 0},
    {"_/_", "divide_int64", "(int, int) int", int_div, 0, 0, 0},
    {"_/_", "divide_uint64", "(uint, uint) uint", uint_div, 0, 0, 0},
    {"_%_", "modulo_int64", "(int, int) int", int_mod, 0, 0, 0},
    {"_%_", "modulo_uint64", "(uint, uint) uint", uint_mod, 0, 0, 0},
    {"_*_", "multiply_double", "(double, double) double", double_mul, 0, 0, 0},
    {"_*_", "multiply_int64", "(int, int) int", int_mul, 0, 0, 0},
    {"_*_", "multiply_uint64", "(uint, uint) uint", uint_mul, 0, 0, 0},
    {"-_", "negate_double", "(double) double", double_neg, 0, 0, 0},
    {"-_", "negate_int64", "(int) int", int_neg, 0, 0, 0},
    {"_-_", "subtract_double", "(double, double) double", double_sub, 0, 0, 0},
    {"_-_", "subtract_duration_duration", "(duration, duration) duration", duration_sub, 0, 0, 0},
    {"_-_", "subtract_int64", "(int, int) int", int_sub, 0, 0, 0},
    {"_-_", "subtract_timestamp_duration", "(timestamp, duration) timestamp", time_sub_duration, 0, 0, 0},
    {"_-_", "subtract_timestamp_timestamp", "(timestamp, timestamp) duration", time_sub_time, 0, 0, 0},
    {"_-_", "subtract_uint64", "(uint, uint) uint", uint_sub, 0, 0, 0},

    ORDERS("_<_", "less", is_less),
    ORDERS("_<=_", "less_equals", is_less_equal),
    ORDERS("_>_", "greater", is_greater),
    ORDERS("_>=_", "greater_equals", is_greater_equal),

    {"@in", "in_list", "(A, list(A)) bool", in_list, CEL_COST_IN_LIST, 0, 0},
    {"@in", "in_map", "(A, map(A, B)) bool", in_map, 0, 0, 0},
    {"cel.@mapInsert", "cel_@mapInsert_map_map", "(map(K, V), map(K, V)) map(K, V)", map_insert, 0, 0, 0},
    {"cel.@mapInsert", "cel_@mapInsert_map_key_value", "(map(K, V), K, V) map(K, V)", map_insert, 0, 0, 0},
    {"size", "size_bytes", "(bytes) int", size_of, 0, 0, 0},
    {"size", "bytes_size", "bytes.() int", size_of, 0, 0, 0},
    {"size", "size_list", "(list(A)) int", size_of, 0, 0, 0},
    {"size", "list_size", "list(A).() int", size_of, 0, 0, 0},
    {"size", "size_map", "(map(A, B)) int", size_of, 0, 0, 0},
    {"size", "map_size", "map(A, B).() int", size_of, 0, 0, 0},
    {"size", "size_string", "(string) int", size_of, 0, 0, 0},
    {"size", "string_size", "string.() int", size_of, 0, 0, 0},
    {"contains", "contains_string", "string.(string) bool", text_contains, CEL_COST_CONTAINS, 0, 0},
    {"endsWith", "ends_with_string", "string.(string) bool", text_ends, CEL_COST_ARGUMENT, 0, 0},
    {"startsWith", "starts_with_string", "string.(string) bool", text_starts, CEL_COST_ARGUMENT, 0, 0},

    {"type", "type", "(A) type(A)", type_of, 0, 0, 0},
    {"dyn", "to_dyn", "(A) dyn", same_value, 0, 0, 0},
    {"bool", "bool_to_bool", "(bool) bool", same_value, 0, 0, 0},
    {"bool", "string_to_bool", "(string) bool", bool_of_text, 0, 0, 0},
    {"bytes", "bytes_to_bytes", "(bytes) bytes", same_value, 0, 0, 0},
    {"bytes", "string_to_bytes", "(string) bytes", bytes_of_text, CEL_COST_CONVERT, 0, 0},
    {"double", "double_to_double", "(double) double", same_value, 0, 0, 0},
    {"double", "int64_to_double", "(int) double", double_of_number, 0, 0, 0},
    {"double", "string_to_double", "(string) double", double_of_text, 0, 0, 0},
    {"double", "uint64_to_double", "(uint) double", double_of_number, 0, 0, 0},
    {"duration", "duration_to_duration", "(duration) duration", same_value, 0, 0, 0},
    {"duration", "string_to_duration", "(string) duration", duration_of_text, 0, check_duration, 0},
    {"int", "int64_to_int64", "(int) int", same_value, 0, 0, 0},
    {"int", "double_to_int64", "(double) int", int_of_double, 0, 0, 0},
    {"int", "duration_to_int64", "(duration) int", int_of_time, 0, 0, 0},
    {"int", "string_to_int64", "(string) int", int_of_text, 0, 0, 0},
    {"int", "timestamp_to_int64", "(timestamp) int", int_of_time, 0, 0, 0},
    {"int", "uint64_to_int64", "(uint) int", int_of_uint, 0, 0, 0},
    {"string", "string_to_string", "(string) string", same_value, 0, 0, 0},
    {"string", "bool_to_string", "(bool) string", text_of_scalar, 0, 0, 0},
    {"string", "bytes_to_string", "(bytes) string", text_of_bytes, CEL_COST_CONVERT, 0, 0},
    {"string", "double_to_string", "(double) string", text_of_scalar, 0, 0, 0},
    {"string", "duration_to_string", "(duration) string", text_of_scalar, 0, 0, 0},
    {"string", "int64_to_string", "(int) string", text_of_scalar, 0, 0, 0},
    {"string", "timestamp_to_string", "(timestamp) string", text_of_scalar, 0, 0, 0},
    {"string", "uint64_to_string", "(uint) string", text_of_scalar, 0, 0, 0},
    {"timestamp", "timestamp_to_timestamp", "(timestamp) timestamp", same_value, 0, 0, 0},
    {"timestamp", "int64_to_timestamp", "(int) timestamp", time_of_int, 0, 0, 0},
    {"timestamp", "string_to_timestamp", "(string) timestamp", time_of_text, 0, check_timestamp, 0},
    {"uint", "uint64_to_uint64", "(uint) uint", same_value, 0, 0, 0},
    {"uint", "double_to_uint64", "(double) uint", uint_of_double, 0, 0, 0},
    {"uint", "int64_to_uint64", "(int) uint", uint_of_int, 0, 0, 0},
    {"uint", "string_to_uint64", "(string) uint", uint_of_text, 0, 0, 0},
};

const struct cel_library cel_lib_core = CEL_LIBRARY("core", core);
