#include "wire/unicode.h"

#define MARK 0xfeff

static void add_utf8(struct strbuf *out, uint32_t c)
{
    char b[4];
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint32_t heads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n; i-- > 1; c >>= 6)
        b[i] = (char)(0x80 | (c & 0x3f));
    b[0] = (char)(heads[n] | c);
    strbuf_add(out, (struct str){b, n});
}

/* The character at the head of s: its bytes; 0: it is none. */
static size_t utf8_first(struct str s, uint32_t *c)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t head = (uint8_t)s.p[0];
    size_t n = head < 0x80             ? 1
               : (head & 0xe0) == 0xc0 ? 2
               : (head & 0xf0) == 0xe0 ? 3
               : (head & 0xf8) == 0xf0 ? 4
                                       : 0;
    if (!n || n > s.n)
        return 0;
    *c = n == 1 ? head : head & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if (((uint8_t)s.p[i] & 0xc0) != 0x80)
            return 0;
        *c = *c << 6 | ((uint8_t)s.p[i] & 0x3f);
    }
    return *c < least[n] || *c > 0x10ffff || (*c >= 0xd800 && *c < 0xe000) ? 0 : n;
}

static uint32_t utf16_unit(struct str s, bool big)
{
    uint8_t a = (uint8_t)s.p[0], b = (uint8_t)s.p[1];
    return big ? (uint32_t)a << 8 | b : (uint32_t)b << 8 | a;
}

static size_t utf16_first(struct str s, bool big, uint32_t *c)
{
    if (s.n < 2)
        return 0;
    *c = utf16_unit(s, big);
    if (*c < 0xd800 || *c >= 0xe000)
        return 2;
    uint32_t low = s.n < 4 ? 0 : utf16_unit(str_sub(s, 2, 4), big);
    if (*c >= 0xdc00 || low < 0xdc00 || low >= 0xe000)
        return 0;
    *c = 0x10000 + ((*c - 0xd800) << 10 | (low - 0xdc00));
    return 4;
}

bool unicode_text(struct str raw, struct strbuf *out, struct err *err)
{
    /* by its mark, or by what no other text begins with: a character of ASCII in two bytes */
    uint8_t first = raw.n > 1 ? (uint8_t)raw.p[0] : 1, second = raw.n > 1 ? (uint8_t)raw.p[1] : 1;
    bool big = (first == 0xfe && second == 0xff) || (!first && second);
    bool wide = big || (first == 0xff && second == 0xfe) || (first && !second);
    size_t line = 1;
    bool start = true;
    for (struct str rest = raw; rest.n;) {
        uint32_t c = 0;
        size_t n = wide ? utf16_first(rest, big, &c) : utf8_first(rest, &c);
        if (!n)
            return err_set(err, E_INVALID, "line %zu: is not %s (byte 0x%02x); save the file as UTF-8", line,
                           wide ? "UTF-16" : "UTF-8", (unsigned)(uint8_t)rest.p[0]);
        if (!(start && c == MARK))
            add_utf8(out, c);
        start = c == '\n' || (start && c == MARK);
        line += c == '\n';
        rest = str_sub(rest, n, rest.n);
    }
    return !out->over || err_set(err, E_TOO_LARGE, "is over %zu bytes", out->max);
}
