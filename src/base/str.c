#include "base/str.h"
#include <errno.h>
#include <sys/random.h>

struct str str_of(const char *z)
{
    return z ? (struct str){z, strlen(z)} : S("");
}

bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool str_eqz(struct str a, const char *z)
{
    return str_eq(a, str_of(z));
}

static int char_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? c + 32 : (unsigned char)c;
}

bool str_ieq(struct str a, struct str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (char_lower(a.p[i]) != char_lower(b.p[i]))
            return false;
    return true;
}

int str_cmp(struct str a, struct str b)
{
    size_t n = MIN(a.n, b.n);
    int c = n ? memcmp(a.p, b.p, n) : 0;
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

bool str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && str_eq((struct str){s.p, prefix.n}, prefix);
}

bool str_ends(struct str s, struct str suffix)
{
    return s.n >= suffix.n && str_eq((struct str){s.p + s.n - suffix.n, suffix.n}, suffix);
}

ptrdiff_t str_find(struct str s, struct str part)
{
    if (part.n == 0)
        return 0;
    if (s.n < part.n)
        return -1;
    const char *at = memmem(s.p, s.n, part.p, part.n);
    return at ? at - s.p : -1;
}

bool str_has(struct str s, struct str part)
{
    return str_find(s, part) >= 0;
}

ptrdiff_t str_find_char(struct str s, char c)
{
    const char *at = s.n ? memchr(s.p, c, s.n) : NULL;
    return at ? at - s.p : -1;
}

ptrdiff_t str_rfind_char(struct str s, char c)
{
    const char *at = s.n ? memrchr(s.p, c, s.n) : NULL;
    return at ? at - s.p : -1;
}

struct str str_sub(struct str s, size_t from, size_t to)
{
    to = MIN(to, s.n);
    from = MIN(from, to);
    return (struct str){s.p ? s.p + from : NULL, to - from};
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

struct str str_trim(struct str s)
{
    while (s.n && is_space(s.p[0]))
        s.p++, s.n--;
    while (s.n && is_space(s.p[s.n - 1]))
        s.n--;
    return s;
}

/* wyhash-like mixing is not needed: keys are short, and the seed keeps strangers from choosing collisions. */
uint64_t str_hash(struct str s)
{
    static uint64_t seed;
    if (!seed) {
        uint64_t fresh = 0;
        if (getrandom(&fresh, sizeof fresh, 0) != sizeof fresh)
            fresh = (uintptr_t)&seed;
        seed = fresh | 1;
    }
    uint64_t h = seed ^ s.n;
    size_t i = 0;
    for (; i + 8 <= s.n; i += 8) {
        uint64_t w;
        memcpy(&w, s.p + i, 8);
        h = (h ^ w) * 0x9e3779b97f4a7c15u;
        h ^= h >> 29;
    }
    uint64_t tail = 0;
    if (i < s.n)
        memcpy(&tail, s.p + i, s.n - i);
    h = (h ^ tail) * 0x9e3779b97f4a7c15u;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    return h ^ h >> 32;
}

/* How many bytes follow; 9: c begins nothing. */
static size_t utf8_tail(unsigned char c)
{
    return c < 0x80 ? 0 : c >= 0xc2 && c < 0xe0 ? 1 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xf0 && c < 0xf5 ? 3 : 9;
}

bool str_utf8_ok(struct str s)
{
    for (size_t i = 0; i < s.n;) {
        unsigned char c = (unsigned char)s.p[i++];
        size_t tail = utf8_tail(c);
        if (tail == 9 || tail > s.n - i)
            return false;
        for (size_t k = 0; k < tail; k++) {
            unsigned char t = (unsigned char)s.p[i + k];
            unsigned char low = 0x80, high = 0xbf;
            if (k == 0)
                low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80, high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
            if (t < low || t > high)
                return false;
        }
        i += tail;
    }
    return true;
}

size_t str_rune(struct str s, uint32_t *c)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = s.n ? utf8_tail((unsigned char)s.p[0]) + 1 : 0;
    if (!n || n >= countof(least) || n > s.n) /* a byte that begins nothing may have many behind it */
        return 0;
    uint32_t code = n == 1 ? (unsigned char)s.p[0] : (unsigned char)s.p[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if (((unsigned char)s.p[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | ((unsigned char)s.p[i] & 0x3f);
    }
    if (code < least[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        return 0;
    *c = code;
    return n;
}

void strbuf_add_rune(struct strbuf *b, uint32_t c)
{
    static const uint8_t heads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    char bytes[4];
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n; i-- > 1; c >>= 6)
        bytes[i] = (char)(0x80 | (c & 0x3f));
    bytes[0] = (char)(heads[n] | c);
    strbuf_add(b, (struct str){bytes, n});
}

static bool turns_writing(uint32_t c) /* U+202A to 202E, 2066 to 2069: marks of direction */
{
    return (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

void strbuf_add_shown(struct strbuf *b, struct str s)
{
    size_t from = 0; /* of what is fine as it is */
    for (size_t i = 0, n; i < s.n; i += n) {
        unsigned char c = (unsigned char)s.p[i];
        uint32_t code = c;
        n = 1;
        if ((c >= ' ' && c < 0x7f) || c == '\n' || c == '\t')
            continue;
        size_t is = c < 0x80 ? 0 : str_rune(str_sub(s, i, s.n), &code);
        n = is ? is : 1;
        if (is && code >= 0xa0 && !turns_writing(code))
            continue;
        strbuf_add(b, str_sub(s, from, i));
        from = i + n;
        if (c == '\r')
            strbuf_addz(b, "\\r");
        else if (c < 0x80)
            strbuf_addf(b, "^%c", c ^ 0x40); /* ^[ is ESC, ^? is DEL */
        else
            strbuf_addf(b, is ? "\\u%04x" : "\\x%02x", (unsigned)code);
    }
    strbuf_add(b, str_sub(s, from, s.n));
}

bool str_cut(struct str *rest, char sep, struct str *part)
{
    if (!rest->p)
        return false;
    ptrdiff_t at = str_find_char(*rest, sep);
    if (at < 0) {
        *part = *rest;
        *rest = STR_NONE;
    } else {
        *part = (struct str){rest->p, (size_t)at};
        *rest = (struct str){rest->p + at + 1, rest->n - (size_t)at - 1};
    }
    return true;
}

bool str_split(struct str s, char sep, struct str *head, struct str *tail)
{
    ptrdiff_t at = str_find_char(s, sep);
    if (at < 0) {
        *head = s;
        *tail = STR_NONE;
        return false;
    }
    *head = (struct str){s.p, (size_t)at};
    *tail = (struct str){s.p + at + 1, s.n - (size_t)at - 1};
    return true;
}

bool str_to_u64(struct str s, uint64_t max, uint64_t *out)
{
    if (s.n == 0 || s.n > 20)
        return false;
    uint64_t v = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9' || __builtin_mul_overflow(v, 10u, &v) ||
            __builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v))
            return false;
    }
    if (v > max)
        return false;
    *out = v;
    return true;
}

bool str_to_i64(struct str s, int64_t min, int64_t max, int64_t *out)
{
    bool minus = s.n && s.p[0] == '-';
    if (minus && min >= 0)
        return false;
    uint64_t v;
    if (!str_to_u64(minus ? str_sub(s, 1, s.n) : s, minus ? (uint64_t)INT64_MAX + 1 : INT64_MAX, &v))
        return false;
    int64_t signed_v = minus ? (int64_t)(0 - v) : (int64_t)v;
    if (signed_v < min || signed_v > max)
        return false;
    *out = signed_v;
    return true;
}

char *str_dupz(struct str s)
{
    char *z = mem_alloc(s.n + 1);
    if (s.n)
        memcpy(z, s.p, s.n);
    return z;
}

char *arena_strz(struct arena *a, struct str s)
{
    char *z = arena_alloc(a, s.n + 1);
    if (s.n)
        memcpy(z, s.p, s.n);
    return z;
}

struct str str_dup(struct arena *a, struct str s)
{
    return (struct str){arena_strz(a, s), s.n};
}

struct str arena_vfmt(struct arena *a, const char *fmt, va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    ASSERT(n >= 0);
    char *p = arena_alloc(a, (size_t)n + 1);
    (void)vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return (struct str){p, (size_t)n};
}

struct str arena_fmt(struct arena *a, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    struct str s = arena_vfmt(a, fmt, args);
    va_end(args);
    return s;
}

struct str arena_join(struct arena *a, const struct str *parts, size_t n)
{
    size_t size = 0;
    for (size_t i = 0; i < n; i++)
        size += parts[i].n;
    char *text = arena_alloc(a, size + 1), *p = text;
    for (size_t i = 0; i < n; p += parts[i++].n)
        if (parts[i].n)
            memcpy(p, parts[i].p, parts[i].n);
    *p = 0;
    return (struct str){text, size};
}

void strbuf_fini(struct strbuf *b)
{
    mem_free(b->p);
    *b = (struct strbuf){.max = b->max};
}

void strbuf_reset(struct strbuf *b)
{
    b->n = 0;
    b->over = false;
    if (b->p)
        b->p[0] = 0;
}

char *strbuf_room(struct strbuf *b, size_t n)
{
    if (b->over || n > b->max - MIN(b->n, b->max)) {
        b->over = true;
        return NULL;
    }
    if (b->n + n + 1 > b->cap) {
        size_t cap = MAX(b->cap * 2, 64);
        b->cap = MIN(MAX(cap, b->n + n + 1), b->max + 1);
        b->p = mem_grow(b->p, b->cap);
        b->p[b->n] = 0;
    }
    return b->p + b->n;
}

void strbuf_used(struct strbuf *b, size_t n)
{
    ASSERT(b->n + n < b->cap || (n == 0 && b->cap == 0));
    b->n += n;
    if (b->p)
        b->p[b->n] = 0;
}

void strbuf_add(struct strbuf *b, struct str s)
{
    char *to = strbuf_room(b, s.n);
    if (!to)
        return;
    if (s.n)
        memcpy(to, s.p, s.n);
    strbuf_used(b, s.n);
}

void strbuf_addz(struct strbuf *b, const char *z)
{
    strbuf_add(b, str_of(z));
}

void strbuf_addc(struct strbuf *b, char c)
{
    strbuf_add(b, (struct str){&c, 1});
}

void strbuf_addvf(struct strbuf *b, const char *fmt, va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    ASSERT(n >= 0);
    char *to = strbuf_room(b, (size_t)n);
    if (to) {
        (void)vsnprintf(to, (size_t)n + 1, fmt, again);
        strbuf_used(b, (size_t)n);
    }
    va_end(again);
}

void strbuf_addf(struct strbuf *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    strbuf_addvf(b, fmt, args);
    va_end(args);
}

void strbuf_drop(struct strbuf *b, size_t n)
{
    n = MIN(n, b->n);
    if (n == 0)
        return;
    memmove(b->p, b->p + n, b->n - n + 1);
    b->n -= n;
}

struct str strbuf_str(const struct strbuf *b)
{
    return b->p ? (struct str){b->p, b->n} : S("");
}

char *strbuf_take(struct strbuf *b)
{
    char *p = b->p ? b->p : str_dupz(S(""));
    *b = (struct strbuf){.max = b->max};
    return p;
}

void strbuf_add_hex(struct strbuf *b, const void *p, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *from = p;
    char *to = strbuf_room(b, n * 2);
    if (!to)
        return;
    for (size_t i = 0; i < n; i++) {
        to[2 * i] = digits[from[i] >> 4];
        to[2 * i + 1] = digits[from[i] & 15];
    }
    strbuf_used(b, n * 2);
}

int hex_digit(char c)
{
    return c >= '0' && c <= '9'                           ? c - '0'
           : char_lower(c) >= 'a' && char_lower(c) <= 'f' ? char_lower(c) - 'a' + 10
                                                          : -1;
}

bool strbuf_add_unhex(struct strbuf *b, struct str hex)
{
    if (hex.n % 2)
        return false;
    for (size_t i = 0; i < hex.n; i += 2) {
        int high = hex_digit(hex.p[i]), low = hex_digit(hex.p[i + 1]);
        if (high < 0 || low < 0)
            return false;
        strbuf_addc(b, (char)(high << 4 | low));
    }
    return true;
}

static const char base64_std[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char base64_url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void add_base64(struct strbuf *b, const unsigned char *p, size_t n, const char *digits, bool pad)
{
    char *to = strbuf_room(b, (n + 2) / 3 * 4);
    if (!to)
        return;
    size_t used = 0;
    for (size_t i = 0; i < n; i += 3) {
        size_t have = MIN(n - i, 3);
        uint32_t v = (uint32_t)p[i] << 16 | (have > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (have > 2 ? p[i + 2] : 0);
        for (size_t k = 0; k < 4; k++) {
            if (k <= have)
                to[used++] = digits[v >> (18 - 6 * k) & 63];
            else if (pad)
                to[used++] = '=';
        }
    }
    strbuf_used(b, used);
}

void strbuf_add_base64(struct strbuf *b, const void *p, size_t n)
{
    add_base64(b, p, n, base64_std, true);
}

void strbuf_add_base64url(struct strbuf *b, const void *p, size_t n)
{
    add_base64(b, p, n, base64_url, false);
}

/* What a digit stands for; the last two are those of the alphabet. -1: it is none. */
static int base64_value(char c, const char *last)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == last[0]         ? 62
           : c == last[1]         ? 63
                                  : -1;
}

static bool add_unbase64(struct strbuf *b, struct str s, const char *digits)
{
    if (s.n % 4 == 1)
        return false;
    uint32_t v = 0;
    size_t bits = 0;
    char *to = strbuf_room(b, s.n * 3 / 4);
    size_t used = 0;
    for (size_t i = 0; i < s.n; i++) {
        int value = base64_value(s.p[i], digits + 62);
        if (value < 0)
            return false;
        v = v << 6 | (uint32_t)value;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            if (to)
                to[used++] = (char)(v >> bits);
            v &= (1u << bits) - 1;
        }
    }
    if (v) /* bits that stand for nothing must be zero */
        return false;
    if (to)
        strbuf_used(b, used);
    return true;
}

bool strbuf_add_unbase64(struct strbuf *b, struct str s)
{
    if (s.n % 4)
        return false;
    for (int pad = 0; pad < 2 && s.n && s.p[s.n - 1] == '='; pad++)
        s.n--;
    return add_unbase64(b, s, base64_std);
}

bool strbuf_add_unbase64url(struct strbuf *b, struct str s)
{
    return add_unbase64(b, s, base64_url);
}
