#include "wire/unicode.h"

#define MARK 0xfeff

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
        size_t n = wide ? utf16_first(rest, big, &c) : str_rune(rest, &c);
        if (!n)
            return err_set(err, E_INVALID, "line %zu: is not %s (byte 0x%02x); save the file as UTF-8", line,
                           wide ? "UTF-16" : "UTF-8", (unsigned)(uint8_t)rest.p[0]);
        if (!(start && c == MARK))
            strbuf_add_rune(out, c);
        start = c == '\n' || (start && c == MARK);
        line += c == '\n';
        rest = str_sub(rest, n, rest.n);
    }
    return !out->over || err_set(err, E_TOO_LARGE, "is over %zu bytes", out->max);
}
