/* Users' paths as requests' paths are when they are compared, and ranges of addresses as prefixes of digits. */
#include "edge/door_int.h"
#include <arpa/inet.h>

#define PATH_MOST 4096

static bool char_is_unreserved(int c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' || c == '.' ||
           c == '_' || c == '~';
}

static bool path_has_dots(struct str path)
{
    struct str part;
    while (str_cut(&path, '/', &part))
        if (str_eqz(part, ".") || str_eqz(part, ".."))
            return true;
    return false;
}

static void path_add(struct strbuf *b, int c)
{
    if (c == '/' && b->n && b->p[b->n - 1] == '/')
        return;
    /* the rest is what clients escape in a path (WHATWG's path percent-encode set) */
    if (c <= ' ' || c >= 0x7f || strchr("?#\"<>`{}", c))
        strbuf_addf(b, "%%%02X", (unsigned)c);
    else
        strbuf_addc(b, (char)c);
}

bool door_path_clean(struct arena *a, struct str path, struct str *out, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(PATH_MOST);
    if (!path.n || path.p[0] != '/')
        strbuf_addc(&b, '/');
    for (size_t i = 0; i < path.n; i++) {
        int c = (uint8_t)path.p[i];
        int hi = c == '%' && i + 2 < path.n ? hex_digit(path.p[i + 1]) : -1;
        int lo = hi >= 0 ? hex_digit(path.p[i + 2]) : -1;
        if (lo >= 0) {
            i += 2;
            if (char_is_unreserved(hi << 4 | lo))
                path_add(&b, hi << 4 | lo);
            else
                strbuf_addf(&b, "%%%02X", (unsigned)(hi << 4 | lo));
        } else if (c == '%') {
            strbuf_addz(&b, "%25");
        } else {
            path_add(&b, c);
        }
    }
    if (b.over)
        return err_set(err, E_TOO_LARGE, "a path of over %d bytes", PATH_MOST);
    if (path_has_dots(strbuf_str(&b)))
        return err_set(err, E_INVALID,
                       "the path " STR_FMT " has \".\" or \"..\" elements, which no request has when it is compared",
                       STR_ARG(strbuf_str(&b)));
    *out = str_dup(a, strbuf_str(&b));
    return true;
}

struct str door_prefix_clean(struct str path)
{
    while (path.n && path.p[path.n - 1] == '/')
        path.n--;
    return path;
}

size_t door_path_depth(struct str prefix)
{
    size_t n = 0;
    for (size_t i = 0; i < prefix.n; i++)
        n += prefix.p[i] == '/';
    return n;
}

struct door_range {
    uint8_t bytes[16];
    unsigned len, bits; /* of digits; that count */
    char family;
};

static bool range_read(struct str text, struct door_range *r, struct err *err)
{
    struct str addr, bits;
    bool has_bits = str_split(text, '/', &addr, &bits);
    char z[64];
    int64_t n;
    if (addr.n < sizeof z) {
        memcpy(z, addr.p, addr.n);
        z[addr.n] = 0;
        r->family = inet_pton(AF_INET, z, r->bytes) == 1 ? '4' : inet_pton(AF_INET6, z, r->bytes) == 1 ? '6' : 0;
    }
    r->len = r->family == '4' ? 8 : 32;
    r->bits = 4 * r->len;
    if (!r->family || (has_bits && !str_to_i64(bits, 0, r->bits, &n)))
        return err_set(err, E_INVALID, "\"" STR_FMT "\" is no range of addresses (f.e. 10.0.0.0/8, ::1)",
                       STR_ARG(text));
    if (has_bits)
        r->bits = (unsigned)n;
    return true;
}

static unsigned range_nibble(const struct door_range *r, unsigned i)
{
    return i & 1 ? r->bytes[i / 2] & 15 : r->bytes[i / 2] >> 4;
}

bool door_ranges_each(struct str ranges, door_range_fn *fn, void *arg, struct err *err)
{
    struct str part;
    while (str_cut(&ranges, ',', &part)) {
        part = str_trim(part);
        struct door_range r = {0};
        if (!part.n)
            continue;
        if (!range_read(part, &r, err))
            return false;
        char digits[40] = {r.family};
        unsigned whole = r.bits / 4, rest = r.bits % 4;
        for (unsigned i = 0; i < whole; i++)
            digits[1 + i] = "0123456789ABCDEF"[range_nibble(&r, i)];
        if (!rest)
            fn(arg, (struct str){digits, 1 + whole});
        unsigned first = rest ? range_nibble(&r, whole) & (0xf0 >> rest) & 15 : 0;
        for (unsigned i = 0; rest && i < 16u >> rest; i++) {
            digits[1 + whole] = "0123456789ABCDEF"[first + i];
            fn(arg, (struct str){digits, 2 + whole});
        }
    }
    return true;
}

struct range_pattern {
    struct strbuf *b;
    size_t n;
};
static void range_pattern_add(void *arg, struct str prefix)
{
    struct range_pattern *p = arg;
    strbuf_addz(p->b, p->n++ ? "|" : "");
    strbuf_add(p->b, prefix);
}

bool door_ranges_pattern(struct strbuf *b, struct str ranges, struct err *err)
{
    struct range_pattern p = {.b = b};
    strbuf_addz(b, "(?:");
    if (!door_ranges_each(ranges, range_pattern_add, &p, err))
        return false;
    strbuf_addz(b, p.n ? ")[0-9A-F]*" : "(?!))");
    return true;
}
