/* formats.c - the formats of names, labels, keys, ports and addresses, with the complaints of
 * k8s.io/apimachinery/pkg/util/validation.
 *
 * Upstream matches regular expressions and shows them in its messages. Here each format is a short scan over the
 * text; the expressions appear as texts alone. So every check is linear in the text, whatever the text is.
 *
 * Addresses are read as Go's older parser does, which lets leading zeros through ("010.0.0.1" is ten); that they
 * were there is remembered, and the strict formats complain of it. An IPv4 address is kept in its IPv6-mapped form,
 * so that both families are 16 bytes.
 *
 * Most complaints are literals. Others quote the text and are made in the arena of struct complaints.
 */
#include "api/formats.h"
#include "api/netip.h"
#include "base/rune.h"
#include <arpa/inet.h>

#define LABEL_RE     "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
#define SUBDOMAIN_RE LABEL_RE "(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
#define NAME_RE      "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
#define NAME_TEXT                                                                                                    \
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "         \
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '" NAME_RE "')"
#define SUBDOMAIN_TEXT                                                                                               \
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start " \
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '" SUBDOMAIN_RE "')"

static void complaints_add(struct complaints *c, struct str text)
{
    if (c->n < countof(c->texts))
        c->texts[c->n++] = text;
}

bool format_ok(format_fn *f, struct str s)
{
    struct complaints c = {0};
    f(&c, s);
    return c.n == 0;
}

static bool char_is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}
static bool char_is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}
static bool char_is_digit(char c)
{
    return c >= '0' && c <= '9';
}
static bool char_is_alnum(char c)
{
    return char_is_lower(c) || char_is_upper(c) || char_is_digit(c);
}

/* Letters and digits at both ends, `extra` besides in between. */
static bool text_has_shape(struct str s, bool capitals, const char *extra)
{
    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool inner = i > 0 && i + 1 < s.n;
        if (!char_is_lower(c) && !char_is_digit(c) && !(capitals && char_is_upper(c)) &&
            !(inner && c && strchr(extra, c)))
            return false;
    }
    return true;
}

static bool subdomain_shape(struct str s)
{
    struct str rest = s, label;
    while (str_cut(&rest, '.', &label))
        if (!text_has_shape(label, false, "-"))
            return false;
    return true;
}

void format_dns1123_label(struct complaints *c, struct str s)
{
    if (s.n > 63)
        complaints_add(c, S("must be no more than 63 characters"));
    if (text_has_shape(s, false, "-"))
        return;
    if (subdomain_shape(s))
        complaints_add(c, S("must not contain dots"));
    else
        complaints_add(
            c, S("a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must "
                 "start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for "
                 "validation is '" LABEL_RE "')"));
}

void format_dns1123_subdomain(struct complaints *c, struct str s)
{
    if (s.n > 253)
        complaints_add(c, S("must be no more than 253 characters"));
    if (!subdomain_shape(s))
        complaints_add(c, S(SUBDOMAIN_TEXT));
}

void format_dns1123_subdomain_underscore(struct complaints *c, struct str s)
{
    if (s.n > 253)
        complaints_add(c, S("must be no more than 253 characters"));
    struct str rest = s, label;
    bool ok = true;
    while (str_cut(&rest, '.', &label)) {
        if (label.n > 1 && label.p[0] == '_')
            label = str_sub(label, 1, label.n);
        ok &= text_has_shape(label, false, "-_");
    }
    if (!ok)
        complaints_add(
            c, S("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or "
                 "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for "
                 "validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')"));
}

void format_dns1035_label(struct complaints *c, struct str s)
{
    if (s.n > 63)
        complaints_add(c, S("must be no more than 63 characters"));
    if (!text_has_shape(s, false, "-") || !char_is_lower(s.p[0]))
        complaints_add(
            c, S("a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
                 "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', "
                 "regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"));
}

void format_wildcard_subdomain(struct complaints *c, struct str s)
{
    if (s.n > 253)
        complaints_add(c, S("must be no more than 253 characters"));
    if (!str_starts(s, S("*.")) || !subdomain_shape(str_sub(s, 2, s.n)))
        complaints_add(
            c, S("a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which "
                 "must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric "
                 "character (e.g. '*.example.com', regex used for validation is '\\*\\." SUBDOMAIN_RE "')"));
}

void format_qualified_name(struct complaints *c, struct str s)
{
    struct str prefix, name;
    if (!str_split(s, '/', &prefix, &name)) {
        name = s;
    } else if (str_find_char(name, '/') >= 0) {
        complaints_add(c, S("a valid label key " NAME_TEXT " with an optional DNS subdomain prefix and '/' "
                            "(e.g. 'example.com/MyName')"));
        return;
    } else if (prefix.n == 0) {
        complaints_add(c, S("prefix part must be non-empty"));
    } else {
        if (prefix.n > 253)
            complaints_add(c, S("prefix part must be no more than 253 bytes"));
        if (!subdomain_shape(prefix))
            complaints_add(c, S("prefix part " SUBDOMAIN_TEXT));
    }
    if (name.n == 0)
        complaints_add(c, S("name part must be non-empty"));
    else if (name.n > 63)
        complaints_add(c, S("name part must be no more than 63 bytes"));
    if (!text_has_shape(name, true, "-_."))
        complaints_add(c, S("name part " NAME_TEXT));
}

void format_label_value(struct complaints *c, struct str s)
{
    if (s.n > 63)
        complaints_add(c, S("must be no more than 63 bytes"));
    if (s.n > 0 && !text_has_shape(s, true, "-_."))
        complaints_add(
            c, S("a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
                 "and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or "
                 "'12345', regex used for validation is '(" NAME_RE ")?')"));
}

void format_path_segment(struct complaints *c, struct str s)
{
    if (str_eq(s, S(".")))
        complaints_add(c, S("may not be '.'"));
    else if (str_eq(s, S("..")))
        complaints_add(c, S("may not be '..'"));
    if (str_find_char(s, '/') >= 0)
        complaints_add(c, S("may not contain '/'"));
    if (str_find_char(s, '%') >= 0)
        complaints_add(c, S("may not contain '%'"));
    if (s.n && memchr(s.p, 0, s.n))
        complaints_add(c, S("may not contain a NUL"));
}

static void no_upward(struct complaints *c, struct str s)
{
    if (str_eq(s, S(".")))
        complaints_add(c, S("must not be '.'"));
    else if (str_eq(s, S("..")))
        complaints_add(c, S("must not be '..'"));
    else if (str_starts(s, S("..")))
        complaints_add(c, S("must not start with '..'"));
}

static bool made_of(struct str s, const char *extra)
{
    for (size_t i = 0; i < s.n; i++)
        if (!char_is_alnum(s.p[i]) && (!s.p[i] || !strchr(extra, s.p[i])))
            return false;
    return s.n > 0;
}

void format_config_key(struct complaints *c, struct str s)
{
    if (s.n > 253)
        complaints_add(c, S("must be no more than 253 characters"));
    if (!made_of(s, "-._"))
        complaints_add(
            c, S("a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  "
                 "or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"));
    no_upward(c, s);
}

void format_env_name(struct complaints *c, struct str s)
{
    if (s.n == 0)
        complaints_add(c, S("environment variable name must be non-empty"));
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 0x20 || s.p[i] > 0x7e || s.p[i] == '=') {
            complaints_add(
                c, S("a valid environment variable name must consist only of printable ASCII characters other "
                     "than '='"));
            return;
        }
}

void format_env_name_strict(struct complaints *c, struct str s)
{
    if (!made_of(s, "-._") || char_is_digit(s.p[0]))
        complaints_add(
            c, S("a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or "
                 "'.', and must not start with a digit (e.g. 'my.env-name',  or 'MY_ENV.NAME',  or 'MyEnvName1', "
                 "regex used for validation is '[-._a-zA-Z][-._a-zA-Z0-9]*')"));
    no_upward(c, s);
}

void format_c_identifier(struct complaints *c, struct str s)
{
    if (!made_of(s, "_") || char_is_digit(s.p[0]))
        complaints_add(
            c, S("a valid C identifier must start with alphabetic character or '_', followed by a string of "
                 "alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for "
                 "validation is '[A-Za-z_][A-Za-z0-9_]*')"));
}

void format_port_name(struct complaints *c, struct str s)
{
    bool letters = false, charset = s.n > 0;
    for (size_t i = 0; i < s.n; i++) {
        letters |= char_is_lower(s.p[i]);
        charset &= char_is_lower(s.p[i]) || char_is_digit(s.p[i]) || s.p[i] == '-';
    }
    if (s.n > 15)
        complaints_add(c, S("must be no more than 15 characters"));
    if (!charset)
        complaints_add(c, S("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"));
    if (!letters)
        complaints_add(c, S("must contain at least one letter (a-z)"));
    if (str_has(s, S("--")))
        complaints_add(c, S("must not contain consecutive hyphens"));
    if (s.n > 0 && (s.p[0] == '-' || s.p[s.n - 1] == '-'))
        complaints_add(c, S("must not begin or end with a hyphen"));
}

void format_percent(struct complaints *c, struct str s)
{
    int64_t ignored;
    if (!percent_of(s, &ignored))
        complaints_add(c,
                       S("a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or "
                         "'93%', regex used for validation is '[0-9]+%')"));
}

void format_http_header(struct complaints *c, struct str s)
{
    if (!made_of(s, "-"))
        complaints_add(
            c, S("a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex "
                 "used for validation is '[-A-Za-z0-9]+')"));
}

/* Addresses. */

static bool ip4_read(struct str s, uint8_t out[4], bool *zeros)
{
    struct str rest = s, part;
    int n = 0;
    while (str_cut(&rest, '.', &part)) {
        if (n == 4 || part.n == 0 || part.n > 16)
            return false;
        unsigned v = 0;
        for (size_t i = 0; i < part.n; i++) {
            if (!char_is_digit(part.p[i]))
                return false;
            v = MIN(v * 10 + (unsigned)(part.p[i] - '0'), 1000u);
        }
        if (v > 255)
            return false;
        *zeros |= part.n > 1 && part.p[0] == '0';
        out[n++] = (uint8_t)v;
    }
    return n == 4;
}

static bool parse_ip(struct str s, uint8_t out[16], bool *v4, bool *zeros)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    char text[64];
    *zeros = false;
    if (ip4_read(s, out + 12, zeros)) {
        memcpy(out, mapped, 12);
        *v4 = true;
        return true;
    }
    if (s.n == 0 || s.n >= sizeof text || str_find_char(s, ':') < 0 || memchr(s.p, 0, s.n))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    *v4 = false;
    return inet_pton(AF_INET6, text, out) == 1;
}

bool ip_parse(struct str s, uint8_t out[16], bool *v4)
{
    bool zeros;
    return parse_ip(s, out, v4, &zeros);
}

bool is_ip(struct str s)
{
    uint8_t ip[16];
    bool v4;
    return ip_parse(s, ip, &v4);
}

bool is_ip4(struct str s)
{
    uint8_t ip[16];
    bool v4;
    return ip_parse(s, ip, &v4) && v4;
}

bool is_ip6(struct str s)
{
    uint8_t ip[16];
    bool v4;
    return ip_parse(s, ip, &v4) && !v4;
}

static bool is_mapped(const uint8_t ip[16])
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return !memcmp(ip, mapped, 12);
}

static void format_ip_any(struct complaints *c, struct str s, bool strict)
{
    uint8_t ip[16];
    bool v4, zeros;
    if (!parse_ip(s, ip, &v4, &zeros))
        complaints_add(c, S("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"));
    else if (strict && zeros)
        complaints_add(c, S("must not have leading 0s"));
    else if (strict && !v4 && is_mapped(ip))
        complaints_add(c, S("must not be an IPv4-mapped IPv6 address"));
}

void format_ip(struct complaints *c, struct str s)
{
    format_ip_any(c, s, true);
}

void format_ip_old(struct complaints *c, struct str s)
{
    format_ip_any(c, s, false);
}

bool cidr_parse(struct str s, uint8_t out[16], int *bits, bool *v4)
{
    struct str ip, length;
    int64_t n;
    if (!str_split(s, '/', &ip, &length) || !ip_parse(ip, out, v4) || !str_to_i64(length, 0, *v4 ? 32 : 128, &n))
        return false;
    *bits = (int)n;
    return true;
}

void format_cidr(struct complaints *c, struct str s)
{
    uint8_t ip[16];
    int bits;
    bool v4, zeros;
    if (!cidr_parse(s, ip, &bits, &v4)) {
        complaints_add(c, S("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"));
        return;
    }
    struct str address, length;
    str_split(s, '/', &address, &length);
    parse_ip(address, ip, &v4, &zeros);
    if (!v4 && is_mapped(ip))
        complaints_add(c, S("must not have an IPv4-mapped IPv6 address"));
    if (zeros || (length.n > 1 && length.p[0] == '0')) {
        complaints_add(c, S("must not have leading 0s in IP or prefix length"));
        return;
    }
    for (int bit = (v4 ? 96 : 0) + bits; bit < 128; bit++)
        if (ip[bit / 8] & (0x80 >> (bit % 8))) {
            complaints_add(c, S("must not have bits set beyond the prefix length"));
            return;
        }
}

struct str ip_canonical(struct arena *a, struct str s)
{
    struct netip ip = {0};
    uint8_t bytes[16];
    if (!ip_parse(s, bytes, &ip.v4))
        return s;
    memcpy(ip.bytes, ip.v4 ? bytes + 12 : bytes, ip.v4 ? 4 : 16);
    return netip_text(a, &ip);
}

bool is_port(int64_t n)
{
    return n >= 1 && n <= 65535;
}

void format_port_number_text(struct complaints *c, struct str s)
{
    int64_t n;
    if (!str_to_i64(s, 1, 65535, &n))
        complaints_add(c, S("must be between 1 and 65535, inclusive"));
}

void format_fqdn(struct complaints *c, struct str s)
{
    if (str_ends(s, S(".")))
        s.n--;
    struct str rest = s, label;
    size_t labels = 0;
    while (str_cut(&rest, '.', &label))
        labels++;
    if (labels < 2) {
        complaints_add(c, S("should be a domain with at least two segments separated by dots"));
        return;
    }
    rest = s;
    while (str_cut(&rest, '.', &label))
        format_dns1123_label(c, label);
}

void format_domain_prefixed_path(struct complaints *c, struct str s)
{
    struct str host, path;
    if (!str_split(s, '/', &host, &path) || host.n == 0 || path.n == 0) {
        complaints_add(c, S("must be a domain-prefixed path (such as \"acme.io/foo\")"));
        return;
    }
    format_dns1123_subdomain(c, host);
    if (!made_of(path, "/-._~%!$&'()*+,;=:"))
        complaints_add(c, S("Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')"));
}

bool percent_of(struct str s, int64_t *out)
{
    if (!str_ends(s, S("%")) || s.n < 2)
        return false;
    for (size_t i = 0; i + 1 < s.n; i++)
        if (!char_is_digit(s.p[i]))
            return false;
    if (!str_to_i64(str_sub(s, 0, s.n - 1), 0, INT32_MAX, out))
        *out = INT32_MAX;
    return true;
}

bool is_hugepages(struct str name)
{
    return str_starts(name, S("hugepages-"));
}

bool is_native_resource(struct str name)
{
    return str_find_char(name, '/') < 0 || str_has(name, S("kubernetes.io/"));
}

bool is_extended_resource(struct str name)
{
    if (is_native_resource(name) || str_starts(name, S("requests.")))
        return false;
    AUTO(strbuf_fini) struct strbuf quota = STRBUF(1024);
    strbuf_addf(&quota, "requests." STR_FMT, STR_ARG(name));
    return format_ok(format_qualified_name, strbuf_str(&quota));
}

void add_quoted(struct strbuf *b, struct str s)
{
    static const char from[] = "\a\b\f\n\r\t\v\\\"", to[] = "abfnrtv\\\"";
    strbuf_addc(b, '"');
    for (size_t i = 0, n; i < s.n; i += n) {
        uint32_t c;
        n = str_rune(str_sub(s, i, s.n), &c);
        const char *hit = n == 1 && c ? strchr(from, (int)c) : NULL;
        if (hit) {
            strbuf_addc(b, '\\');
            strbuf_addc(b, to[hit - from]);
        } else if (n && rune_prints(c)) {
            strbuf_add(b, str_sub(s, i, i + n));
        } else if (n <= 1) {
            strbuf_addf(b, "\\x%02x", (uint8_t)s.p[i]);
            n = 1;
        } else {
            strbuf_addf(b, c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
        }
    }
    strbuf_addc(b, '"');
}
