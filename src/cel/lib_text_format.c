/* "%d of %s".format([...]): cel-go's ext/formatting.go. Doubles under %f and %e are written as golang.org/x/text does
 * it for English: rounded to even by their decimal digits, thousands parted, powers raised. */
#include "api/formats.h"
#include "cel/libraries.h"
#include "cel/type.h"
#include <math.h>

#define TEXT_MAX      (16 << 20)
#define PRECISION_MAX 1000

struct text_formatter {
    struct cel_run *run;
    struct strbuf out;
    char error[400]; /* of a clause; empty: none */
};

static bool clause_fail(struct text_formatter *f, const char *what, struct cel_value v)
{
    snprintf(f->error, sizeof f->error, "%s, was given %s", what, cel_type_name(v));
    return false;
}

/* Whether what is written so is quoted inside of a list or map. */
static void add_inner(struct text_formatter *f, struct cel_value v, bool key);

static void add_list(struct text_formatter *f, struct cel_value list)
{
    strbuf_addc(&f->out, '[');
    for (size_t i = 0, len = cel_list_len(list); i < len && !f->error[0]; i++) {
        if (i)
            strbuf_addz(&f->out, ", ");
        add_inner(f, cel_list_at(f->run, list, i), false);
    }
    strbuf_addc(&f->out, ']');
}

static int str_order(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* Members in the order of their keys' texts. */
static void add_map(struct text_formatter *f, struct cel_value map)
{
    struct cel_value key, value;
    struct strbuf kept = f->out;
    size_t count = 0, len = cel_map_len(map);
    struct str *members = arena_alloc(cel_arena(f->run), (len + 1) * sizeof *members);
    for (size_t at = 0; cel_map_next(f->run, map, &at, &key, &value) && count < len && !f->error[0];) {
        f->out = STRBUF(TEXT_MAX);
        add_inner(f, key, true);
        strbuf_addc(&f->out, '\0'); /* so that a key stands before those that it begins */
        add_inner(f, value, false);
        members[count++] = str_dup(cel_arena(f->run), strbuf_str(&f->out));
        kept.over = kept.over || f->out.over;
        strbuf_fini(&f->out);
    }
    f->out = kept;
    qsort(members, count, sizeof *members, str_order);
    strbuf_addc(&f->out, '{');
    for (size_t i = 0; i < count; i++) {
        size_t key_n = strlen(members[i].p);
        strbuf_addf(&f->out, "%s%s:", i ? ", " : "", members[i].p);
        strbuf_add(&f->out, str_sub(members[i], key_n + 1, members[i].n));
    }
    strbuf_addc(&f->out, '}');
}

/* What string() makes of a scalar, and lists and maps. */
static bool add_plain(struct text_formatter *f, struct cel_value v)
{
    switch ((enum cel_kind)v.kind) {
    case CEL_NULL: strbuf_addz(&f->out, "null"); return true;
    case CEL_BOOL: strbuf_addz(&f->out, v.b ? "true" : "false"); return true;
    case CEL_INT: strbuf_addf(&f->out, "%lld", (long long)v.i); return true;
    case CEL_UINT: strbuf_addf(&f->out, "%llu", (unsigned long long)v.u); return true;
    case CEL_DOUBLE: cel_add_double(&f->out, v.d); return true;
    case CEL_STRING:
    case CEL_BYTES: strbuf_add(&f->out, cel_text(v)); return true;
    case CEL_DURATION: cel_add_duration(&f->out, v.i); return true;
    case CEL_TIMESTAMP: cel_add_timestamp(&f->out, v.i, v.n); return true;
    case CEL_LIST: add_list(f, v); return true;
    case CEL_MAP: add_map(f, v); return true;
    case CEL_TYPE: strbuf_addz(&f->out, v.type->name); return true;
    case CEL_OPTIONAL:
    case CEL_OPAQUE:
    case CEL_ERROR:
    case CEL_KINDS: break;
    }
    return false;
}

static void add_inner(struct text_formatter *f, struct cel_value v, bool key)
{
    enum cel_kind kind = v.kind;
    if (key && kind != CEL_STRING && kind != CEL_BOOL && kind != CEL_INT && kind != CEL_UINT) {
        snprintf(f->error, sizeof f->error, "no formatting function for map key of type %s", cel_type_name(v));
    } else if (kind == CEL_STRING || kind == CEL_BYTES) {
        strbuf_addz(&f->out, kind == CEL_BYTES ? "b" : "");
        add_quoted(&f->out, cel_text(v));
    } else if (kind == CEL_DURATION || kind == CEL_TIMESTAMP) {
        strbuf_addz(&f->out, kind == CEL_DURATION ? "duration(\"" : "timestamp(\"");
        add_plain(f, v);
        strbuf_addz(&f->out, "\")");
    } else if (kind == CEL_DOUBLE && (isnan(v.d) || isinf(v.d))) {
        strbuf_addz(&f->out, isnan(v.d) ? "\"NaN\"" : v.d > 0 ? "\"+Inf\"" : "\"-Inf\"");
    } else if (kind == CEL_DOUBLE) {
        strbuf_addf(&f->out, "%.6f", v.d);
    } else if (!add_plain(f, v)) {
        snprintf(f->error, sizeof f->error, "no formatting function for %s", cel_type_name(v));
    }
}

/* The shortest digits that are this double, and where the point stands: 0.DIGITS times ten to *point. */
static int double_digits(double d, char digits[20], int *point)
{
    char text[40];
    int n = 0;
    for (int precision = 0; precision < 17; precision++) {
        snprintf(text, sizeof text, "%.*e", precision, d);
        if (strtod(text, NULL) == d)
            break;
    }
    char *e = strchr(text, 'e');
    for (char *p = text; p < e; p++)
        if (*p != '.')
            digits[n++] = *p;
    *point = d == 0 ? 0 : (int)strtol(e + 1, NULL, 10) + 1;
    return d == 0 ? 0 : n;
}

/* Keeps `keep` digits, rounded to even; there may be one more of them before the point afterwards. */
static int digits_round(char digits[20], int n, int keep, int *point)
{
    if (keep >= n)
        return n;
    if (keep < 0)
        return 0;
    bool more = digits[keep] > '5';
    for (int i = keep + 1; i < n && digits[keep] == '5' && !more; i++)
        more = digits[i] > '0';
    bool up = more || (digits[keep] == '5' && keep && (digits[keep - 1] & 1));
    int at = keep;
    while (up && at > 0 && digits[at - 1] == '9')
        at--;
    if (!up)
        return keep;
    if (at == 0) {
        digits[0] = '1';
        ++*point;
        return 1;
    }
    digits[at - 1]++;
    return at;
}

static bool double_is_odd(struct text_formatter *f, double d)
{
    if (!isnan(d) && !isinf(d))
        return false;
    strbuf_addz(&f->out, isnan(d) ? "NaN" : d > 0 ? "∞" : "-∞");
    return true;
}

static void add_fixed(struct text_formatter *f, double d, int precision)
{
    char digits[20];
    int point;
    if (double_is_odd(f, d))
        return;
    int n = double_digits(fabs(d), digits, &point);
    n = digits_round(digits, n, point + precision, &point);
    if (signbit(d))
        strbuf_addc(&f->out, '-');
    if (point <= 0)
        strbuf_addc(&f->out, '0');
    for (int i = 0; i < point; i++) {
        if (i && (point - i) % 3 == 0)
            strbuf_addc(&f->out, ',');
        strbuf_addc(&f->out, i < n ? digits[i] : '0');
    }
    if (precision > 0)
        strbuf_addc(&f->out, '.');
    for (int i = point; i < point + precision; i++)
        strbuf_addc(&f->out, i >= 0 && i < n ? digits[i] : '0');
}

/* Six digits behind the point, whatever is asked for: what is asked for is taken to be a width. */
static void add_scientific(struct text_formatter *f, double d, int width)
{
    static const char *const raised[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
    enum { PRECISION = 6 };
    char digits[20], exponent[16];
    int point;
    if (double_is_odd(f, d))
        return;
    int n = double_digits(fabs(d), digits, &point);
    n = digits_round(digits, n, PRECISION + 1, &point);
    int power = n ? point - 1 : 0;
    snprintf(exponent, sizeof exponent, "%02d", power < 0 ? -power : power);
    int chars = (signbit(d) ? 1 : 0) + 2 + PRECISION + 5 + (power < 0) + (int)strlen(exponent);
    for (int i = chars; i < width; i++)
        strbuf_addc(&f->out, ' ');
    strbuf_addf(&f->out, "%s%c.", signbit(d) ? "-" : "", n ? digits[0] : '0');
    for (int i = 1; i <= PRECISION; i++)
        strbuf_addc(&f->out, i < n ? digits[i] : '0');
    strbuf_addz(&f->out, "\u202f×\u202f10");
    strbuf_addz(&f->out, power < 0 ? "⁻" : "");
    for (const char *p = exponent; *p; p++)
        strbuf_addz(&f->out, raised[*p - '0']);
}

/* A double, or a text that stands for one that no literal can be. */
static bool clause_double(struct cel_value v, double *out)
{
    struct str s = v.kind == CEL_STRING ? cel_text(v) : STR_NONE;
    *out = v.kind == CEL_DOUBLE ? v.d : str_eqz(s, "NaN") ? NAN : str_eqz(s, "-Infinity") ? -INFINITY : INFINITY;
    return v.kind == CEL_DOUBLE || str_eqz(s, "NaN") || str_eqz(s, "Infinity") || str_eqz(s, "-Infinity");
}

/* An integer to a base that is a power of two, with its sign. */
static void add_based(struct text_formatter *f, struct cel_value v, unsigned shift, bool upper)
{
    bool negative = v.kind == CEL_INT && v.i < 0;
    uint64_t u = negative ? -v.u : v.u;
    char text[65];
    size_t at = sizeof text;
    do
        text[--at] = (upper ? "0123456789ABCDEF" : "0123456789abcdef")[u & ((1u << shift) - 1)];
    while (u >>= shift);
    strbuf_addz(&f->out, negative ? "-" : "");
    strbuf_add(&f->out, (struct str){text + at, sizeof text - at});
}

static void add_hex(struct text_formatter *f, struct str bytes, bool upper)
{
    for (size_t i = 0; i < bytes.n; i++)
        strbuf_addf(&f->out, upper ? "%02X" : "%02x", (uint8_t)bytes.p[i]);
}

static bool clause_add(struct text_formatter *f, char letter, int precision, struct cel_value v)
{
    bool integer = v.kind == CEL_INT || v.kind == CEL_UINT, text = v.kind == CEL_STRING || v.kind == CEL_BYTES;
    double d;
    switch (letter) {
    case 's':
        return add_plain(f, v)
                   ? !f->error[0]
                   : clause_fail(f,
                                 "string clause can only be used on strings, bools, bytes, ints, doubles, "
                                 "maps, lists, types, durations, and timestamps",
                                 v);
    case 'd': return integer ? add_plain(f, v) : clause_fail(f, "decimal clause can only be used on integers", v);
    case 'f':
        if (!clause_double(v, &d))
            return clause_fail(f, "fixed-point clause can only be used on doubles", v);
        add_fixed(f, d, precision < 0 ? 6 : precision);
        return true;
    case 'e':
        if (!clause_double(v, &d))
            return clause_fail(f, "scientific clause can only be used on doubles", v);
        add_scientific(f, d, precision);
        return true;
    case 'b':
        if (v.kind == CEL_BOOL)
            strbuf_addc(&f->out, v.b ? '1' : '0');
        else if (integer)
            add_based(f, v, 1, false);
        return integer || v.kind == CEL_BOOL ||
               clause_fail(f, "only integers and bools can be formatted as binary", v);
    case 'x':
    case 'X':
        if (integer)
            add_based(f, v, 4, letter == 'X');
        else if (text)
            add_hex(f, cel_text(v), letter == 'X');
        return integer || text ||
               clause_fail(f, "only integers, byte buffers, and strings can be formatted as hex", v);
    default:
        if (integer)
            add_based(f, v, 3, false);
        return integer || clause_fail(f, "octal clause can only be used on integers", v);
    }
}

/* What stands behind a percent sign: how much of it was read; 0: error says why not. */
static size_t clause_read(struct text_formatter *f, struct str s, char *letter, int *precision)
{
    size_t at = 0;
    *precision = -1;
    if (s.p[0] == '.') {
        int64_t n;
        for (at = 1; at < s.n && s.p[at] >= '0' && s.p[at] <= '9';)
            at++;
        struct str digits = str_sub(s, 1, at);
        const char *what = at == s.n  ? "could not find end of precision specifier"
                           : digits.n ? "value out of range"
                                      : "invalid syntax";
        if (at == s.n)
            snprintf(f->error, sizeof f->error, "error while parsing precision: %s", what);
        else if (!str_to_i64(digits, 0, PRECISION_MAX, &n))
            snprintf(f->error, sizeof f->error,
                     "error while parsing precision: error while converting precision to integer: strconv.Atoi: "
                     "parsing \"%.*s\": %s",
                     (int)MIN(digits.n, 40), digits.p, what);
        else
            *precision = (int)n;
        if (f->error[0])
            return 0;
    }
    *letter = s.p[at];
    if (*letter && strchr("sdfebxXo", *letter))
        return at + 1;
    AUTO(strbuf_fini) struct strbuf c = STRBUF(8);
    strbuf_add_rune(&c, (uint8_t)*letter);
    snprintf(f->error, sizeof f->error, "unrecognized formatting clause \"%s\"", c.p);
    return 0;
}

struct cel_value cel_text_format(struct cel_run *run, const struct cel_value *a, size_t n, const void *prepared)
{
    struct text_formatter f = {.run = run, .out = STRBUF(TEXT_MAX)};
    struct str s = cel_text(a[0]);
    struct cel_value wrong = cel_null();
    (void)n, (void)prepared;
    size_t used = 0;
    for (size_t i = 0; i < s.n && wrong.kind == CEL_NULL;) {
        char letter;
        int precision;
        if (s.p[i] != '%' || (i + 1 < s.n && s.p[i + 1] == '%')) {
            strbuf_addc(&f.out, s.p[i]);
            i += s.p[i] == '%' ? 2 : 1;
            continue;
        }
        if (used >= cel_list_len(a[1])) {
            wrong = cel_error(run, "index %zu out of range", used);
            break;
        }
        struct cel_value arg = cel_list_at(run, a[1], used++);
        if (i + 1 == s.n) {
            wrong = cel_error(run, "unexpected end of string");
            break;
        }
        size_t read = clause_read(&f, str_sub(s, i + 1, s.n), &letter, &precision);
        i += read + 1;
        if (!read)
            wrong = cel_error(run, "could not parse formatting clause: %s", f.error);
        else if (cel_is_error(arg))
            wrong = arg;
        else if (!clause_add(&f, letter, precision, arg))
            wrong = cel_error(run, "error during formatting: %s", f.error);
    }
    if (wrong.kind == CEL_NULL && f.out.over)
        wrong = cel_error(run, "text is too long");
    if (wrong.kind == CEL_NULL)
        wrong = cel_string(str_dup(cel_arena(run), strbuf_str(&f.out)));
    strbuf_fini(&f.out);
    return wrong;
}
