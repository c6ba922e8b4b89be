#include "wire/json.h"
#include <math.h>

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static const char *skip_space(const char *p, const char *end)
{
    while (p < end && is_space(*p))
        p++;
    return p;
}

/* Bytes that end the plain run of a string: quote, backslash, control characters. */
static bool is_special(unsigned char c)
{
    return c < 0x20 || c == '"' || c == '\\';
}

/* A byte as Go's quoteChar shows it; bytes from 0x80 count as the characters U+0080 to U+00FF. */
static void quote_char(char out[12], unsigned char c)
{
    static const char letters[] = "\aa\bb\ff\nn\rr\tt\vv\\\\";
    if (c == '\'') {
        (void)snprintf(out, 12, "'\\''");
        return;
    }
    for (const char *l = letters; *l; l += 2)
        if ((unsigned char)*l == c) {
            (void)snprintf(out, 12, "'\\%c'", l[1]);
            return;
        }
    if (c < 0x20 || c == 0x7f)
        (void)snprintf(out, 12, "'\\x%02x'", c);
    else if (c < 0x7f)
        (void)snprintf(out, 12, "'%c'", c);
    else if (c <= 0xa0 || c == 0xad)
        (void)snprintf(out, 12, "'\\u%04x'", c);
    else
        (void)snprintf(out, 12, "'%c%c'", 0xc0 | c >> 6, 0x80 | (c & 0x3f));
}

struct check {
    const char *p, *end;
    struct err *err;
};

static bool check_fail(struct check *c, const char *context)
{
    if (c->p >= c->end)
        return err_set(c->err, E_BAD_REQUEST, "unexpected end of JSON input");
    char q[12];
    quote_char(q, (unsigned char)*c->p);
    return err_set(c->err, E_BAD_REQUEST, "invalid character %s %s", q, context);
}

static bool check_string(struct check *c)
{
    c->p++;
    for (;;) {
        while (c->p < c->end && !is_special((unsigned char)*c->p))
            c->p++;
        if (c->p >= c->end)
            return check_fail(c, "");
        if (*c->p == '"') {
            c->p++;
            return true;
        }
        if (*c->p != '\\')
            return check_fail(c, "in string literal");
        c->p++;
        if (c->p >= c->end || !strchr("bfnrt\\/\"u", *c->p) || !*c->p)
            return check_fail(c, "in string escape code");
        if (*c->p++ != 'u')
            continue;
        for (int i = 0; i < 4; i++, c->p++)
            if (c->p >= c->end || !strchr("0123456789abcdefABCDEF", *c->p) || !*c->p)
                return check_fail(c, "in \\u hexadecimal character escape");
    }
}

static bool is_digit(const struct check *c)
{
    return c->p < c->end && *c->p >= '0' && *c->p <= '9';
}

static bool check_number(struct check *c)
{
    if (*c->p == '-')
        c->p++;
    if (!is_digit(c))
        return check_fail(c, "in numeric literal");
    if (*c->p == '0')
        c->p++;
    else
        while (is_digit(c))
            c->p++;
    if (c->p < c->end && *c->p == '.') {
        c->p++;
        if (!is_digit(c))
            return check_fail(c, "after decimal point in numeric literal");
        while (is_digit(c))
            c->p++;
    }
    if (c->p < c->end && (*c->p == 'e' || *c->p == 'E')) {
        c->p++;
        if (c->p < c->end && (*c->p == '+' || *c->p == '-'))
            c->p++;
        if (!is_digit(c))
            return check_fail(c, "in exponent of numeric literal");
        while (is_digit(c))
            c->p++;
    }
    return true;
}

static bool check_literal(struct check *c, const char *word)
{
    for (const char *w = word; *w; w++, c->p++)
        if (c->p >= c->end || *c->p != *w) {
            char context[64];
            (void)snprintf(context, sizeof context, "in literal %s (expecting '%c')", word, *w);
            return check_fail(c, context);
        }
    return true;
}

static bool check_scalar(struct check *c)
{
    switch (c->p < c->end ? *c->p : 0) {
    case '"': return check_string(c);
    case 't': return check_literal(c, "true");
    case 'f': return check_literal(c, "false");
    case 'n': return check_literal(c, "null");
    case '-': return check_number(c);
    default:
        if (is_digit(c))
            return check_number(c);
        return check_fail(c, "looking for beginning of value");
    }
}

/* Key and colon. */
static bool check_key(struct check *c)
{
    c->p = skip_space(c->p, c->end);
    if (c->p >= c->end || *c->p != '"')
        return check_fail(c, "looking for beginning of object key string");
    if (!check_string(c))
        return false;
    c->p = skip_space(c->p, c->end);
    if (c->p >= c->end || *c->p != ':')
        return check_fail(c, "after object key");
    c->p++;
    return true;
}

/* One value with everything inside it; no recursion: a bit a level says whether it is an object. */
static bool check_value(struct check *c)
{
    uint8_t object[JSON_MAX_DEPTH / 8 + 1];
    size_t depth = 0;
    for (;;) {
        c->p = skip_space(c->p, c->end);
        char open = c->p < c->end ? *c->p : 0;
        if (open == '[' || open == '{') {
            if (depth == JSON_MAX_DEPTH)
                return check_fail(c, "exceeded max depth");
            c->p++;
            object[depth / 8] = (uint8_t)((object[depth / 8] & ~(1u << depth % 8)) | (unsigned)(open == '{')
                                                                                         << depth % 8);
            depth++;
            const char *next = skip_space(c->p, c->end);
            if (next < c->end && *next == (open == '{' ? '}' : ']')) {
                c->p = next;
            } else if (open == '{') {
                if (!check_key(c))
                    return false;
                continue;
            } else {
                continue;
            }
        } else if (!check_scalar(c)) {
            return false;
        }
        /* after a value: close what closes, then a comma or the end */
        for (;;) {
            if (!depth)
                return true;
            bool in_object = object[(depth - 1) / 8] >> (depth - 1) % 8 & 1;
            c->p = skip_space(c->p, c->end);
            if (c->p < c->end && *c->p == (in_object ? '}' : ']')) {
                c->p++;
                depth--;
                continue;
            }
            if (c->p >= c->end || *c->p != ',')
                return check_fail(c, in_object ? "after object key:value pair" : "after array element");
            c->p++;
            if (in_object && !check_key(c))
                return false;
            break;
        }
    }
}

bool json_check_first(struct str text, size_t *used, struct err *err)
{
    struct check c = {text.p, text.p + text.n, err};
    *used = 0;
    if (skip_space(c.p, c.end) == c.end)
        return true;
    if (!check_value(&c))
        return false;
    *used = (size_t)(c.p - text.p);
    return true;
}

bool json_check(struct str text, struct err *err)
{
    struct check c = {text.p, text.p + text.n, err};
    if (!check_value(&c))
        return false;
    c.p = skip_space(c.p, c.end);
    return c.p == c.end || check_fail(&c, "after top-level value");
}

size_t json_values(struct str text)
{
    size_t n = 1;
    for (const char *p = text.p, *end = p + text.n; p < end; p++) {
        if (*p == '"') {
            while (++p < end && *p != '"')
                p += *p == '\\';
        } else {
            n += *p == ',' || *p == '[' || *p == '{';
        }
    }
    return n;
}

struct json json_of(struct str checked)
{
    return (struct json){checked.p, checked.p + checked.n};
}

enum json_type json_type(struct json *j)
{
    j->p = skip_space(j->p, j->end);
    ASSERT(j->p < j->end);
    switch (*j->p) {
    case '{': return JSON_OBJECT;
    case '[': return JSON_ARRAY;
    case '"': return JSON_STRING;
    case 't':
    case 'f': return JSON_BOOL;
    case 'n': return JSON_NULL;
    default: return JSON_NUMBER;
    }
}

bool json_bool(struct json *j)
{
    bool b = *(j->p = skip_space(j->p, j->end)) == 't';
    j->p += b ? 4 : 5;
    return b;
}

struct str json_number(struct json *j)
{
    const char *from = j->p = skip_space(j->p, j->end);
    while (j->p < j->end && ((*j->p >= '0' && *j->p <= '9') || (*j->p && strchr("+-.eE", *j->p))))
        j->p++;
    return (struct str){from, (size_t)(j->p - from)};
}

/* Steps over a string; the text between the quotes, and whether it is plain ASCII without escapes. */
static struct str raw_string(struct json *j, bool *plain)
{
    const char *from = j->p = skip_space(j->p, j->end) + 1;
    unsigned char high = 0;
    bool escaped = false;
    for (; *j->p != '"'; j->p++) {
        if (*j->p == '\\') {
            escaped = true;
            j->p++;
        }
        high |= (unsigned char)*j->p;
    }
    *plain = !escaped && high < 0x80;
    return (struct str){from, (size_t)(j->p++ - from)};
}

static unsigned hex4_read(const char *p)
{
    unsigned v = 0;
    for (int i = 0; i < 4; i++)
        v = v << 4 | (unsigned)(p[i] <= '9' ? p[i] - '0' : (p[i] | 0x20) - 'a' + 10);
    return v;
}

static char *put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        *out++ = (char)c;
    } else if (c < 0x800) {
        *out++ = (char)(0xc0 | c >> 6);
        *out++ = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *out++ = (char)(0xe0 | c >> 12);
        *out++ = (char)(0x80 | (c >> 6 & 0x3f));
        *out++ = (char)(0x80 | (c & 0x3f));
    } else {
        *out++ = (char)(0xf0 | c >> 18);
        *out++ = (char)(0x80 | (c >> 12 & 0x3f));
        *out++ = (char)(0x80 | (c >> 6 & 0x3f));
        *out++ = (char)(0x80 | (c & 0x3f));
    }
    return out;
}

/* Length of the well-formed UTF-8 character at p; 0: none. */
static size_t utf8_len(const char *p, const char *end)
{
    unsigned char c = (unsigned char)*p;
    size_t n = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
    if (n == 1)
        return 1;
    return n && (size_t)(end - p) >= n && str_utf8_ok((struct str){p, n}) ? n : 0;
}

static struct str text_unescape(struct str raw, struct arena *a)
{
    /* a byte that is no UTF-8 grows to three */
    char *to = arena_alloc(a, raw.n * 3 + 1), *out = to;
    for (const char *p = raw.p, *end = raw.p + raw.n; p < end;) {
        if (*p != '\\') {
            size_t n = utf8_len(p, end);
            if (n) {
                memcpy(out, p, n);
                out += n;
                p += n;
            } else {
                out = put_utf8(out, 0xfffd);
                p++;
            }
            continue;
        }
        p += 2;
        switch (p[-1]) {
        case 'b': *out++ = '\b'; break;
        case 'f': *out++ = '\f'; break;
        case 'n': *out++ = '\n'; break;
        case 'r': *out++ = '\r'; break;
        case 't': *out++ = '\t'; break;
        case 'u': {
            uint32_t c = hex4_read(p);
            p += 4;
            if (c >= 0xd800 && c < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u') {
                uint32_t low = hex4_read(p + 2);
                if (low >= 0xdc00 && low < 0xe000) {
                    c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
                    p += 6;
                }
            }
            out = put_utf8(out, c >= 0xd800 && c < 0xe000 ? 0xfffd : c);
            break;
        }
        default: *out++ = p[-1];
        }
    }
    return (struct str){to, (size_t)(out - to)};
}

struct str json_string(struct json *j, struct arena *a)
{
    bool plain;
    struct str raw = raw_string(j, &plain);
    if (plain || (memchr(raw.p, '\\', raw.n) == NULL && str_utf8_ok(raw)))
        return str_dup(a, raw);
    return text_unescape(raw, a);
}

struct str json_key(struct json *j, struct arena *a)
{
    bool plain;
    struct str key = raw_string(j, &plain);
    if (!plain && !(memchr(key.p, '\\', key.n) == NULL && str_utf8_ok(key)))
        key = text_unescape(key, a);
    j->p = skip_space(j->p, j->end) + 1; /* the colon */
    return key;
}

void json_enter(struct json *j)
{
    j->p = skip_space(j->p, j->end) + 1;
}

bool json_more(struct json *j)
{
    j->p = skip_space(j->p, j->end);
    if (*j->p == ']' || *j->p == '}') {
        j->p++;
        return false;
    }
    if (*j->p == ',')
        j->p++;
    return true;
}

struct str json_skip(struct json *j)
{
    const char *from = j->p = skip_space(j->p, j->end);
    size_t depth = 0;
    bool plain;
    do {
        switch (json_type(j)) {
        case JSON_STRING: (void)raw_string(j, &plain); break;
        case JSON_NULL: j->p += 4; break;
        case JSON_BOOL: (void)json_bool(j); break;
        case JSON_ARRAY:
        case JSON_OBJECT:
            depth++;
            j->p++;
            break;
        case JSON_NUMBER: /* or what stands between values */
            if (*j->p == ']' || *j->p == '}') {
                depth--;
                j->p++;
            } else if (*j->p == ',' || *j->p == ':') {
                j->p++;
            } else {
                (void)json_number(j);
            }
            break;
        }
    } while (depth);
    return (struct str){from, (size_t)(j->p - from)};
}

bool json_int(struct str literal, int64_t *out)
{
    if (str_eqz(literal, "-0")) {
        *out = 0;
        return true;
    }
    return str_to_i64(literal, INT64_MIN, INT64_MAX, out);
}

double json_double(struct str literal)
{
    char small[64], *text = small, *big = NULL;
    if (literal.n >= sizeof small)
        text = big = mem_alloc(literal.n + 1);
    memcpy(text, literal.p, literal.n);
    text[literal.n] = 0;
    double d = strtod(text, NULL);
    mem_free(big);
    return d;
}

void json_add_string(struct strbuf *b, struct str s)
{
    static const char hex[] = "0123456789abcdef";
    strbuf_addc(b, '"');
    const char *p = s.p, *end = s.p + s.n, *run = p;
    while (p < end) {
        unsigned char c = (unsigned char)*p;
        size_t n = 1;
        char esc[7] = {'\\', 0};
        size_t len = 2;
        if (c < 0x80) {
            if (c >= 0x20 && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&') {
                p++;
                continue;
            }
            switch (c) {
            case '"':
            case '\\': esc[1] = (char)c; break;
            case '\b': esc[1] = 'b'; break;
            case '\f': esc[1] = 'f'; break;
            case '\n': esc[1] = 'n'; break;
            case '\r': esc[1] = 'r'; break;
            case '\t': esc[1] = 't'; break;
            default:
                memcpy(esc, "\\u00", 4);
                esc[4] = hex[c >> 4];
                esc[5] = hex[c & 15];
                len = 6;
            }
        } else {
            n = utf8_len(p, end);
            bool separator = n == 3 && c == 0xe2 && (unsigned char)p[1] == 0x80 && ((unsigned char)p[2] & ~1) == 0xa8;
            if (n && !separator) {
                p += n;
                continue;
            }
            memcpy(esc, n ? ((unsigned char)p[2] & 1 ? "\\u2029" : "\\u2028") : "\\ufffd", 6);
            len = 6;
            n = n ? n : 1;
        }
        strbuf_add(b, (struct str){run, (size_t)(p - run)});
        strbuf_add(b, (struct str){esc, len});
        p += n;
        run = p;
    }
    strbuf_add(b, (struct str){run, (size_t)(p - run)});
    strbuf_addc(b, '"');
}

void json_add_int(struct strbuf *b, int64_t i)
{
    char text[24], *p = text + sizeof text;
    uint64_t u = i < 0 ? -(uint64_t)i : (uint64_t)i;
    do
        *--p = (char)('0' + u % 10);
    while (u /= 10);
    if (i < 0)
        *--p = '-';
    strbuf_add(b, (struct str){p, (size_t)(text + sizeof text - p)});
}

/* The shortest digits that read back, then zeros; 'e' form below 1e-6 and from 1e21, the exponent without a leading
 * zero. */
void json_add_double(struct strbuf *b, double d)
{
    char text[40] = "";
    if (isnan(d) || isinf(d)) {
        strbuf_addz(b, "null");
        return;
    }
    int digits = 1;
    for (; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*e", digits - 1, d);
        if (strtod(text, NULL) == d)
            break;
    }
    double size = fabs(d);
    if (size != 0 && (size < 1e-6 || size >= 1e21)) {
        char *e = strchr(text, 'e');
        strbuf_add(b, (struct str){text, (size_t)(e - text) + 2});
        const char *exponent = e + 2;
        while (*exponent == '0' && exponent[1])
            exponent++;
        strbuf_addz(b, exponent);
        return;
    }
    int exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
    int decimals = digits - 1 - exponent;
    if (decimals >= 0) {
        strbuf_addf(b, "%.*f", decimals, d);
        return;
    }
    for (const char *p = text; *p != 'e'; p++)
        if (*p != '.')
            strbuf_addc(b, *p);
    strbuf_addf(b, "%.*s", -decimals, "00000000000000000000");
}
