#include "api/netip.h"
#include "api/formats.h"

static bool netip_fail(struct err *err, struct str in, const char *what, struct str at)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    strbuf_addz(&b, "ParseAddr(");
    add_quoted(&b, in);
    strbuf_addf(&b, "): %s", what);
    if (at.n) {
        strbuf_addz(&b, " (at ");
        add_quoted(&b, at);
        strbuf_addc(&b, ')');
    }
    return err_set(err, E_INVALID, STR_FMT, STR_ARG(strbuf_str(&b)));
}

static bool v4_read(struct str in, struct str s, uint8_t out[4], struct err *err)
{
    unsigned value = 0, digits = 0, field = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c >= '0' && c <= '9') {
            if (digits == 1 && value == 0)
                return netip_fail(err, in, "IPv4 field has octet with leading zero", STR_NONE);
            value = value * 10 + (unsigned)(c - '0');
            digits++;
            if (value > 255)
                return netip_fail(err, in, "IPv4 field has value >255", STR_NONE);
        } else if (c == '.') {
            if (i == 0 || i + 1 == s.n || s.p[i - 1] == '.')
                return netip_fail(err, in, "IPv4 field must have at least one digit", str_sub(s, i, s.n));
            if (field == 3)
                return netip_fail(err, in, "IPv4 address too long", STR_NONE);
            out[field++] = (uint8_t)value;
            value = digits = 0;
        } else {
            return netip_fail(err, in, "unexpected character", str_sub(s, i, s.n));
        }
    }
    if (field < 3)
        return netip_fail(err, in, "IPv4 address too short", STR_NONE);
    out[3] = (uint8_t)value;
    return true;
}

/* A group of hexadecimal digits at the head of s: how many; -1: refused. */
static int group_read(struct str in, struct str s, uint32_t *out, struct err *err)
{
    size_t n = 0;
    *out = 0;
    for (; n < s.n && hex_digit(s.p[n]) >= 0; n++) {
        *out = *out << 4 | (uint32_t)hex_digit(s.p[n]);
        if (n > 3) {
            netip_fail(err, in, "each group must have 4 or less digits", s);
            return -1;
        }
    }
    if (!n) {
        netip_fail(err, in, "each colon-separated field must have at least one digit", s);
        return -1;
    }
    return (int)n;
}

/* What follows a group: the colon, and a second one. False: refused. */
static bool colon_read(struct str in, struct str *s, size_t filled, ptrdiff_t *gap, struct err *err)
{
    if (s->p[0] != ':')
        return netip_fail(err, in, "unexpected character, want colon", *s);
    if (s->n == 1)
        return netip_fail(err, in, "colon must be followed by more characters", *s);
    *s = str_sub(*s, 1, s->n);
    if (s->p[0] != ':')
        return true;
    if (*gap >= 0)
        return netip_fail(err, in, "multiple :: in address", *s);
    *gap = (ptrdiff_t)filled;
    *s = str_sub(*s, 1, s->n);
    return true;
}

static bool v6_read(struct str in, struct str s, uint8_t out[16], struct err *err)
{
    ptrdiff_t gap = -1; /* where :: stands */
    size_t filled = 0;
    if (str_starts(s, S("::"))) {
        gap = 0;
        s = str_sub(s, 2, s.n);
    }
    while (filled < 16 && (s.n || gap != (ptrdiff_t)filled)) {
        uint32_t group;
        int n = group_read(in, s, &group, err);
        if (n < 0)
            return false;
        if ((size_t)n < s.n && s.p[n] == '.') {
            if (gap < 0 && filled != 12)
                return netip_fail(err, in, "embedded IPv4 address must replace the final 2 fields of the address", s);
            if (filled + 4 > 16)
                return netip_fail(err, in, "too many hex fields to fit an embedded IPv4 at the end of the address",
                                  s);
            if (!v4_read(in, s, out + filled, err))
                return false;
            s = STR_NONE;
            filled += 4;
            break;
        }
        out[filled++] = (uint8_t)(group >> 8);
        out[filled++] = (uint8_t)group;
        s = str_sub(s, (size_t)n, s.n);
        if (!s.n)
            break;
        if (!colon_read(in, &s, filled, &gap, err))
            return false;
    }
    if (s.n)
        return netip_fail(err, in, "trailing garbage after address", s);
    if (filled == 16)
        return gap < 0 || netip_fail(err, in, "the :: must expand to at least one field of zeros", STR_NONE);
    if (gap < 0)
        return netip_fail(err, in, "address string too short", STR_NONE);
    size_t tail = filled - (size_t)gap;
    memmove(out + 16 - tail, out + gap, tail);
    memset(out + gap, 0, 16 - filled);
    return true;
}

bool netip_parse(struct str text, struct netip *out, struct err *err)
{
    *out = (struct netip){0};
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '.') {
            out->v4 = true;
            return v4_read(text, text, out->bytes, err);
        }
        if (text.p[i] == ':') {
            struct str address = text;
            if (str_split(text, '%', &address, &out->zone) && !out->zone.n)
                return netip_fail(err, text, "zone must be a non-empty string", STR_NONE);
            return v6_read(text, address, out->bytes, err);
        }
        if (text.p[i] == '%')
            return netip_fail(err, text, "missing IPv6 address", STR_NONE);
    }
    return netip_fail(err, text, "unable to parse IP", STR_NONE);
}

static bool prefix_fail(struct err *err, struct str in, const char *fmt, struct str what)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    strbuf_addz(&b, "netip.ParsePrefix(");
    add_quoted(&b, in);
    strbuf_addf(&b, "): %s", fmt);
    if (what.p)
        add_quoted(&b, what);
    return err_set(err, E_INVALID, STR_FMT, STR_ARG(strbuf_str(&b)));
}

bool netip_prefix_parse(struct str text, struct netip_prefix *out, struct err *err)
{
    struct err why = ERR;
    int64_t bits;
    ptrdiff_t slash = str_rfind_char(text, '/');
    if (slash < 0)
        return prefix_fail(err, text, "no '/'", STR_NONE);
    if (!netip_parse(str_sub(text, 0, (size_t)slash), &out->ip, &why))
        return prefix_fail(err, text, why.text, STR_NONE);
    if (out->ip.zone.n)
        return prefix_fail(err, text, "IPv6 zones cannot be present in a prefix", STR_NONE);
    struct str length = str_sub(text, (size_t)slash + 1, text.n);
    if ((length.n > 1 && length.p[0] == '0') || !str_to_i64(length, 0, INT64_MAX, &bits))
        return prefix_fail(err, text, "bad bits after slash: ", length);
    if (bits > (out->ip.v4 ? 32 : 128))
        return prefix_fail(err, text, "prefix length out of range", STR_NONE);
    out->bits = (uint8_t)bits;
    return true;
}

bool netip_is_mapped(const struct netip *ip)
{
    static const uint8_t head[12] = {[10] = 0xff, [11] = 0xff};
    return !ip->v4 && !memcmp(ip->bytes, head, sizeof head);
}

bool netip_equal(const struct netip *a, const struct netip *b)
{
    return a->v4 == b->v4 && !memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

struct netip netip_masked(const struct netip *ip, unsigned bits)
{
    struct netip out = {.v4 = ip->v4};
    memcpy(out.bytes, ip->bytes, bits / 8);
    if (bits % 8)
        out.bytes[bits / 8] = ip->bytes[bits / 8] & (uint8_t)(0xff00 >> bits % 8);
    return out;
}

bool netip_in(const struct netip_prefix *net, const struct netip *ip)
{
    struct netip a = netip_masked(&net->ip, net->bits), b = netip_masked(ip, net->bits);
    return net->ip.v4 == ip->v4 && netip_equal(&a, &b);
}

/* The first of the longest runs of two or more groups of zeros: where it begins; 8: there is none. */
static int zeros_find(const uint8_t *p, int *length)
{
    int best = 8;
    *length = 1;
    for (int i = 0, n; i < 8; i += n + 1) {
        for (n = 0; i + n < 8 && !p[2 * (i + n)] && !p[2 * (i + n) + 1];)
            n++;
        if (n > *length) {
            best = i;
            *length = n;
        }
    }
    return best;
}

struct str netip_text(struct arena *a, const struct netip *ip)
{
    const uint8_t *p = ip->bytes;
    if (ip->v4)
        return arena_fmt(a, "%d.%d.%d.%d", p[0], p[1], p[2], p[3]);
    if (netip_is_mapped(ip))
        return arena_fmt(a, "::ffff:%d.%d.%d.%d", p[12], p[13], p[14], p[15]);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(64);
    int length, zeros = zeros_find(p, &length);
    for (int i = 0; i < 8; i++) {
        if (i == zeros) {
            strbuf_addz(&b, "::");
            i += length - 1;
            continue;
        }
        strbuf_addf(&b, "%s%x", i && i != zeros + length ? ":" : "", p[2 * i] << 8 | p[2 * i + 1]);
    }
    return str_dup(a, strbuf_str(&b));
}
