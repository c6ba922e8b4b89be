/* quantity.c - a quantity is a count of billionths in 128 bits, and the form in which it is shown (resource.Quantity
 * of k8s.io/apimachinery: decimal suffixes, binary suffixes, or an exponent).
 *
 * Upstream has two representations, an int64 with a decimal scale for what fits and an arbitrary decimal for the
 * rest, and which one a text takes can be seen in what comes out. Here one number serves both; `fast` works out
 * which way upstream would have gone. That decides one thing: what the slow way cannot hold is capped at the largest
 * int64, while the fast way keeps ten to any power. Those few ("5e40") do not fit into 128 bits either: for them
 * `digits` and `exponent` keep what is shown, and `nano` stands at its maximum, so comparisons see them all as
 * equally large.
 *
 * What is finer than a billionth is rounded away from zero, as are values asked for in whole units or thousandths:
 * who asks for a fraction gets at least that much. A binary form smaller than one unit becomes a decimal one.
 *
 * Canonical form: no fraction, and the largest suffix that leaves none. Costs: a text of at most 256 characters, no
 * allocation but the result. Sums saturate.
 */
#include "api/quantity.h"

typedef __int128 i128;

enum form { DECIMAL_SI, BINARY_SI, DECIMAL_EXPONENT };
struct quantity {
    i128 nano;
    enum form form;
    i128 digits; /* > 0: too large for nano; digits times ten to the exponent is what is shown */
    int exponent;
};

#define NANO     1000000000LL
#define NANO_MAX ((i128)INT64_MAX * NANO) /* upstream caps what its fast path cannot hold */
#define I128_MAX ((i128)(((unsigned __int128)1 << 127) - 1))
#define TEXT_MAX 256

static i128 i128_times(i128 x, i128 by)
{
    i128 out;
    return __builtin_mul_overflow(x, by, &out) ? I128_MAX : out;
}

/* rounds away from zero; x >= 0 */
static i128 i128_over(i128 x, i128 by)
{
    return x / by + (x % by != 0);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The exponent that a suffix stands for: of ten, or of two with BINARY_SI. */
static bool suffix_of(struct str s, enum form *form, int *exponent)
{
    static const struct {
        const char *text;
        enum form form;
        int exponent;
    } rows[] = {
        {"", DECIMAL_SI, 0},   {"n", DECIMAL_SI, -9}, {"u", DECIMAL_SI, -6}, {"m", DECIMAL_SI, -3},
        {"k", DECIMAL_SI, 3},  {"M", DECIMAL_SI, 6},  {"G", DECIMAL_SI, 9},  {"T", DECIMAL_SI, 12},
        {"P", DECIMAL_SI, 15}, {"E", DECIMAL_SI, 18}, {"Ki", BINARY_SI, 10}, {"Mi", BINARY_SI, 20},
        {"Gi", BINARY_SI, 30}, {"Ti", BINARY_SI, 40}, {"Pi", BINARY_SI, 50}, {"Ei", BINARY_SI, 60},
    };
    for (size_t i = 0; i < countof(rows); i++)
        if (str_eqz(s, rows[i].text)) {
            *form = rows[i].form;
            *exponent = rows[i].exponent;
            return true;
        }
    int64_t n;
    if (s.n < 2 || (s.p[0] != 'e' && s.p[0] != 'E'))
        return false;
    struct str digits = str_sub(s, s.p[1] == '+' ? 2 : 1, s.n);
    if (!str_to_i64(digits, -10000, 10000, &n))
        return false;
    *form = DECIMAL_EXPONENT;
    *exponent = (int)n;
    return true;
}

/* Digits that the canonical form shows of it. */
static int digits_shown(i128 nano, enum form form)
{
    int n = 0;
    for (int exponent = -9; nano && nano % 1000 == 0 && (form == DECIMAL_EXPONENT || exponent < 18); exponent += 3)
        nano /= 1000;
    for (; nano; nano /= 10)
        n++;
    return n;
}

/* A large one's digits in canonical form; how many they are. */
static int settle_large(struct quantity *q)
{
    int n = 0;
    for (; q->digits % 10 == 0; q->digits /= 10)
        q->exponent++;
    for (; q->exponent % 3 != 0 || (q->form == DECIMAL_SI && q->exponent > 18); q->digits *= 10)
        q->exponent--;
    for (i128 rest = q->digits; rest; rest /= 10)
        n++;
    return n;
}

static bool quantity_read(struct str text, struct quantity *out, struct err *err)
{
    text = str_trim(text);
    size_t at = 0;
    const char *wrong = "quantities must match the regular expression "
                        "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
    if (text.n == 0 || text.n > TEXT_MAX)
        return err_set(err, E_BAD_REQUEST, "%s", wrong);
    bool negative = text.p[0] == '-';
    at += negative || text.p[0] == '+';
    while (at < text.n && text.p[at] == '0')
        at++;
    struct str whole = {text.p + at, 0}, part = STR_NONE;
    while (at < text.n && is_digit(text.p[at]))
        at++, whole.n++;
    if (at < text.n && text.p[at] == '.') {
        part.p = text.p + ++at;
        while (at < text.n && is_digit(text.p[at]))
            at++, part.n++;
    }
    size_t from = at;
    while (at < text.n && strchr("eEinumkKMGTP", text.p[at]))
        at++;
    if (at < text.n && (text.p[at] == '-' || text.p[at] == '+'))
        at++;
    while (at < text.n && is_digit(text.p[at]))
        at++;
    if (at != text.n)
        return err_set(err, E_BAD_REQUEST, "%s", wrong);
    int exponent;
    if (!suffix_of(str_sub(text, from, text.n), &out->form, &exponent))
        return err_set(err, E_BAD_REQUEST, "unable to parse quantity's suffix");

    size_t significant = MAX(whole.n, (size_t)1) + part.n;
    bool fast;
    i128 nano;
    if (out->form == BINARY_SI) {
        i128 units = 0, fraction = 0;
        for (size_t i = 0; i < whole.n; i++)
            units = whole.n > 30 ? I128_MAX : units * 10 + (whole.p[i] - '0');
        for (size_t i = 0; i < 18; i++)
            fraction = fraction * 10 + (i < part.n ? part.p[i] - '0' : 0);
        bool lost = false;
        for (size_t i = 18; i < part.n; i++)
            lost |= part.p[i] != '0';
        nano = i128_times(i128_times(units, (i128)1 << exponent), NANO);
        i128 below = i128_over((fraction << exponent) + lost, NANO);
        nano = nano > I128_MAX - below ? I128_MAX : nano + below;
        fast = part.n == 0 && 15 - (int)significant - exponent * 3 / 10 - 1 >= 0;
    } else {
        i128 mantissa = 0;
        bool lost = false;
        int scale = exponent + 9;
        size_t kept = 0;
        for (size_t i = 0; i < whole.n + part.n; i++) {
            int digit = (i < whole.n ? whole.p[i] : part.p[i - whole.n]) - '0';
            if (kept < 37)
                mantissa = mantissa * 10 + digit, scale -= i >= whole.n;
            else
                lost |= digit != 0, scale += i < whole.n;
            kept += mantissa != 0;
        }
        nano = mantissa;
        for (; scale > 0 && nano != 0 && nano != I128_MAX; scale--)
            nano = i128_times(nano, 10);
        for (; scale < 0 && nano != 0; scale++) {
            lost |= nano % 10 != 0;
            nano /= 10;
        }
        nano += lost && nano != I128_MAX;
        fast = significant <= 18 && exponent - (int)part.n >= -9;
        /* upstream shows "1234567890123456.7T" with 19 digits, which it then reads as its maximum: the same at once
         */
        fast &= nano <= NANO_MAX || nano == I128_MAX || digits_shown(nano, out->form) <= 18;
    }
    out->digits = 0;
    if (fast && nano == I128_MAX && out->form != BINARY_SI) { /* upstream has ten to any power */
        for (size_t i = 0; i < whole.n + part.n; i++)
            out->digits = out->digits * 10 + (i < whole.n ? whole.p[i] : part.p[i - whole.n]) - '0';
        out->exponent = exponent - (int)part.n;
        if (settle_large(out) > 18)
            out->digits = 0, nano = NANO_MAX;
    } else if ((!fast && nano > NANO_MAX) || nano == I128_MAX) {
        nano = NANO_MAX;
    }
    if (out->form == BINARY_SI && nano > 0 && nano < NANO)
        out->form = DECIMAL_SI;
    out->nano = negative ? -nano : nano;
    return true;
}

static struct quantity value_of(struct str text)
{
    struct quantity q = {0};
    struct err ignored = ERR; /* what is no quantity counts as none: validation has spoken before */
    if (!quantity_read(text, &q, &ignored))
        q = (struct quantity){0};
    return q;
}

static void add_i128(struct strbuf *b, i128 v)
{
    char digits[48];
    size_t at = sizeof digits;
    unsigned __int128 rest = v < 0 ? -(unsigned __int128)v : (unsigned __int128)v;
    do
        digits[--at] = (char)('0' + (int)(rest % 10));
    while (rest /= 10);
    if (v < 0)
        digits[--at] = '-';
    strbuf_add(b, (struct str){digits + at, sizeof digits - at});
}

static struct str show_large(struct arena *a, struct quantity q)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(TEXT_MAX);
    if (q.nano < 0)
        strbuf_addc(&b, '-');
    add_i128(&b, q.digits);
    if (q.form == DECIMAL_SI)
        strbuf_addc(&b, 'E');
    else
        strbuf_addf(&b, "e%d", q.exponent);
    return str_dup(a, strbuf_str(&b));
}

static struct str quantity_show(struct arena *a, struct quantity q)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(TEXT_MAX);
    if (q.nano == 0)
        return str_dup(a, S("0"));
    if (q.digits > 0)
        return show_large(a, q);
    i128 v = q.nano;
    if (q.form == BINARY_SI && (v >= 1024 * (i128)NANO || v <= -1024 * (i128)NANO) && v % NANO == 0) {
        static const char *const suffixes[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
        size_t power = 0;
        for (v /= NANO; v % 1024 == 0 && power + 1 < countof(suffixes); power++)
            v /= 1024;
        add_i128(&b, v);
        strbuf_addz(&b, suffixes[power]);
        return str_dup(a, strbuf_str(&b));
    }
    int exponent = -9;
    for (; v % 1000 == 0 && (q.form == DECIMAL_EXPONENT || exponent < 18); exponent += 3)
        v /= 1000;
    add_i128(&b, v);
    static const char *const suffixes[] = {"n", "u", "m", "", "k", "M", "G", "T", "P", "E"};
    if (q.form != DECIMAL_EXPONENT)
        strbuf_addz(&b, suffixes[exponent / 3 + 3]);
    else if (exponent != 0)
        strbuf_addf(&b, "e%d", exponent);
    return str_dup(a, strbuf_str(&b));
}

bool quantity_canonical(struct arena *a, struct str text, struct str *out, struct err *err)
{
    struct quantity q;
    if (!quantity_read(text, &q, err))
        return false;
    *out = quantity_show(a, q);
    return true;
}

static int64_t i128_saturate(i128 v)
{
    return v > INT64_MAX ? INT64_MAX : v < INT64_MIN ? INT64_MIN : (int64_t)v;
}

/* towards plus or minus infinity, as upstream rounds */
static i128 nano_scaled(i128 nano, i128 by)
{
    return nano < 0 ? -i128_over(-nano, by) : i128_over(nano, by);
}

int64_t quantity_value(struct str text)
{
    return i128_saturate(nano_scaled(value_of(text).nano, NANO));
}

int64_t quantity_milli(struct str text)
{
    return i128_saturate(nano_scaled(value_of(text).nano, NANO / 1000));
}

bool quantity_whole(struct str text)
{
    i128 nano = value_of(text).nano;
    i128 most = (i128)INT64_MAX * NANO;
    return nano > most || nano < -most || nano % NANO == 0;
}

int quantity_cmp(struct str a, struct str b)
{
    i128 x = value_of(a).nano, y = value_of(b).nano;
    return (x > y) - (x < y);
}

struct str quantity_round_milli(struct arena *a, struct str text)
{
    struct quantity q = value_of(text);
    if (q.digits == 0)
        q.nano = nano_scaled(q.nano, NANO / 1000) * (NANO / 1000);
    return quantity_show(a, q);
}

static struct str quantity_sum(struct arena *a, struct str x, struct str y, int sign)
{
    struct quantity p = value_of(x), q = value_of(y);
    p.digits = 0;
    if (p.nano == 0)
        p.form = q.form;
    if (__builtin_add_overflow(p.nano, sign * q.nano, &p.nano))
        p.nano = NANO_MAX;
    return quantity_show(a, p);
}

struct str quantity_add(struct arena *a, struct str x, struct str y)
{
    return quantity_sum(a, x, y, 1);
}

struct str quantity_sub(struct arena *a, struct str x, struct str y)
{
    return quantity_sum(a, x, y, -1);
}

struct str quantity_of_milli(struct arena *a, int64_t milli)
{
    return quantity_show(a, (struct quantity){.nano = (i128)milli * (NANO / 1000), .form = DECIMAL_SI});
}

struct str quantity_of_bytes(struct arena *a, int64_t bytes)
{
    return quantity_show(a, (struct quantity){.nano = (i128)bytes * NANO, .form = BINARY_SI});
}
