/* Quantities: the API server's cel/library/quantity.go. */
#include "api/quantity.h"
#include "cel/libraries.h"

/* Upstream keeps what fits as a whole number times ten to a power, and only that is ever an integer: whether it is
 * one can be seen ("1.0" is none), so it is kept here as well. */
struct cel_quantity {
    struct str text;
    bool small;
    int64_t value;
    int scale;
};

static bool quantity_equal(const void *a, const void *b)
{
    const struct cel_quantity *x = a, *y = b;
    return quantity_cmp(x->text, y->text) == 0;
}

static const struct cel_opaque quantity_type = {"kubernetes.Quantity", quantity_equal, NULL};

static bool power_times(int64_t value, int power, int64_t *out)
{
    bool over = false;
    for (; power > 0 && value && !over; power--)
        over = __builtin_mul_overflow(value, (int64_t)10, &value);
    *out = value;
    return !over;
}

/* The exponent of ten (or of two, *binary) that a suffix stands for; it is a valid one. */
static int suffix_exponent(struct str s, bool *binary)
{
    static const char decimal[] = "num kMGTPE", binaries[] = "KMGTPE";
    int64_t n = 0;
    *binary = s.n == 2 && s.p[1] == 'i';
    if (!s.n)
        return 0;
    if (*binary)
        return 10 * (int)(strchr(binaries, s.p[0]) - binaries + 1);
    if (s.n == 1)
        return 3 * (int)(strchr(decimal, s.p[0]) - decimal - 3);
    if (!str_to_i64(str_sub(s, s.p[1] == '+' ? 2 : 1, s.n), -100000, 100000, &n))
        return 100000;
    return (int)n;
}

static void small_read(struct cel_quantity *q, struct str text)
{
    bool negative = str_starts(text, S("-")), binary;
    size_t at = negative || str_starts(text, S("+")), from, digits = 0, part = 0;
    char number[24];
    while (at < text.n && text.p[at] == '0')
        at++;
    for (from = at; at < text.n && text.p[at] >= '0' && text.p[at] <= '9'; at++)
        digits++;
    struct str whole = digits ? str_sub(text, from, at) : S("0"), fraction = STR_NONE;
    if (at < text.n && text.p[at] == '.') {
        for (from = ++at; at < text.n && text.p[at] >= '0' && text.p[at] <= '9'; at++)
            part++;
        fraction = str_sub(text, from, at);
    }
    int exponent = suffix_exponent(str_sub(text, at, text.n), &binary);
    int room = binary ? fraction.n ? -1 : 14 - (int)whole.n - exponent * 3 / 10 : 18 - (int)(whole.n + fraction.n);
    q->scale = (binary ? 0 : exponent) - (int)fraction.n;
    if (room < 0 || q->scale < -9 || whole.n + fraction.n >= sizeof number)
        return;
    snprintf(number, sizeof number, STR_FMT STR_FMT, STR_ARG(whole), STR_ARG(fraction));
    q->small = str_to_i64(str_of(number), 0, INT64_MAX, &q->value) &&
               !__builtin_mul_overflow(q->value, (int64_t)1 << (binary ? exponent : 0), &q->value);
    if (negative)
        q->value = -q->value;
}

static bool text_is_quantity(struct arena *a, struct str text, struct str *out, struct err *err)
{
    if (text.n && str_trim(text).n != text.n)
        text = S(" "); /* no blanks here */
    return quantity_canonical(a, text, out, err);
}

static struct cel_value quantity_value_of(struct cel_run *run, const struct cel_quantity *q)
{
    return cel_opaque_of(&quantity_type, arena_dup(cel_arena(run), q, sizeof *q));
}

static struct cel_value quantity_of_text(CEL_RUN)
{
    struct err err = ERR;
    struct cel_quantity q = {0};
    if (!text_is_quantity(cel_arena(run), cel_text(a[0]), &q.text, &err))
        return cel_error(run, "%s", err.text);
    small_read(&q, cel_text(a[0]));
    return quantity_value_of(run, &q);
}

static struct cel_value quantity_is_valid(CEL_RUN)
{
    struct err err = ERR;
    struct str unused;
    return cel_bool(text_is_quantity(cel_arena(run), cel_text(a[0]), &unused, &err));
}

static int order_of(struct cel_value a, struct cel_value b)
{
    const struct cel_quantity *x = a.data, *y = b.data;
    int order = quantity_cmp(x->text, y->text);
    return (order > 0) - (order < 0);
}

static struct cel_value quantity_sign(CEL_RUN)
{
    const struct cel_quantity *q = a[0].data;
    int order = quantity_cmp(q->text, S("0"));
    return cel_int((order > 0) - (order < 0));
}

static struct cel_value quantity_is_greater(CEL_RUN)
{
    return cel_bool(order_of(a[0], a[1]) > 0);
}

static struct cel_value quantity_is_less(CEL_RUN)
{
    return cel_bool(order_of(a[0], a[1]) < 0);
}

static struct cel_value quantity_order(CEL_RUN)
{
    return cel_int(order_of(a[0], a[1]));
}

static bool quantity_integer(const struct cel_quantity *q, int64_t *out)
{
    return q->small && q->scale >= 0 && power_times(q->value, q->scale, out);
}

static struct cel_value quantity_is_integer(CEL_RUN)
{
    int64_t unused;
    return cel_bool(quantity_integer(a[0].data, &unused));
}

static struct cel_value quantity_as_integer(CEL_RUN)
{
    int64_t value;
    return quantity_integer(a[0].data, &value) ? cel_int(value) : cel_error(run, "cannot convert value to integer");
}

static double power_of_ten(int n)
{
    char text[16];
    snprintf(text, sizeof text, "1e%d", n);
    return strtod(text, NULL);
}

static struct cel_value quantity_as_double(CEL_RUN)
{
    const struct cel_quantity *q = a[0].data;
    if (q->small)
        return cel_double(q->scale ? (double)q->value * power_of_ten(q->scale) : (double)q->value);
    size_t digits = 0;
    while (digits < q->text.n && strchr("+-.0123456789", q->text.p[digits]))
        digits++;
    bool binary;
    int exponent = suffix_exponent(str_sub(q->text, digits, q->text.n), &binary);
    double base = strtod(arena_strz(cel_arena(run), str_sub(q->text, 0, digits)), NULL);
    return cel_double(base * (binary ? (double)((int64_t)1 << exponent) : power_of_ten(exponent)));
}

static void small_add(struct cel_quantity *q, const struct cel_quantity *x, const struct cel_quantity *y, int sign)
{
    int64_t p = x->value, r = y->value;
    q->scale = MIN(x->scale, y->scale);
    q->small = x->small && y->small;
    if (!q->small)
        return;
    if (!r || !p)
        q->scale = r ? y->scale : x->scale;
    if (!power_times(p, x->scale - q->scale, &p) || !power_times(r, y->scale - q->scale, &r)) {
        q->small = false;
        return;
    }
    q->small = sign > 0 ? !__builtin_add_overflow(p, r, &q->value) : !__builtin_sub_overflow(p, r, &q->value);
}

static struct cel_value sum_of(struct cel_run *run, const struct cel_quantity *x, const struct cel_quantity *y,
                               int sign)
{
    struct cel_quantity q = {0};
    q.text = sign > 0 ? quantity_add(cel_arena(run), x->text, y->text)
                      : quantity_sub(cel_arena(run), x->text, y->text);
    small_add(&q, x, y, sign);
    return quantity_value_of(run, &q);
}

static struct cel_quantity quantity_of_int(struct cel_run *run, int64_t i)
{
    return (struct cel_quantity){arena_fmt(cel_arena(run), "%lld", (long long)i), true, i, 0};
}

static struct cel_value quantity_plus(CEL_RUN)
{
    return sum_of(run, a[0].data, a[1].data, 1);
}

static struct cel_value quantity_plus_int(CEL_RUN)
{
    struct cel_quantity y = quantity_of_int(run, a[1].i);
    return sum_of(run, a[0].data, &y, 1);
}

static struct cel_value quantity_minus(CEL_RUN)
{
    return sum_of(run, a[0].data, a[1].data, -1);
}

static struct cel_value quantity_minus_int(CEL_RUN)
{
    struct cel_quantity y = quantity_of_int(run, a[1].i);
    return sum_of(run, a[0].data, &y, -1);
}

#define Q "kubernetes.Quantity"

static const struct cel_function rows[] = {
    {"quantity", "string_to_quantity", "(string) " Q, quantity_of_text, CEL_COST_PARSE_FREE, 0, 0},
    {"isQuantity", "is_quantity_string", "(string) bool", quantity_is_valid, CEL_COST_PARSE_FREE, 0, 0},
    {"sign", "quantity_sign", "(" Q ") int", quantity_sign, CEL_COST_ONE, 0, 0},
    {"isGreaterThan", "quantity_is_greater_than", Q ".(" Q ") bool", quantity_is_greater, CEL_COST_ONE, 0, 0},
    {"isLessThan", "quantity_is_less_than", Q ".(" Q ") bool", quantity_is_less, CEL_COST_ONE, 0, 0},
    {"compareTo", "quantity_compare_to", Q ".(" Q ") int", quantity_order, CEL_COST_ONE, 0, 0},
    {"asApproximateFloat", "quantity_get_float", Q ".() double", quantity_as_double, CEL_COST_ONE, 0, 0},
    {"asInteger", "quantity_get_int", Q ".() int", quantity_as_integer, CEL_COST_ONE, 0, 0},
    {"isInteger", "quantity_is_integer", Q ".() bool", quantity_is_integer, CEL_COST_ONE, 0, 0},
    {"add", "quantity_add", Q ".(" Q ") " Q, quantity_plus, CEL_COST_ONE, 0, 0},
    {"add", "quantity_add_int", Q ".(int) " Q, quantity_plus_int, CEL_COST_ONE, 0, 0},
    {"sub", "quantity_sub", Q ".(" Q ") " Q, quantity_minus, CEL_COST_ONE, 0, 0},
    {"sub", "quantity_sub_int", Q ".(int) " Q, quantity_minus_int, CEL_COST_ONE, 0, 0},
};
const struct cel_library cel_lib_quantity = CEL_LIBRARY("kubernetes.quantity", rows);
