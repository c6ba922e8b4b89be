/* schema_formats.c - the formats of texts that a schema may ask for and that are checked, as upstream checks them
 * (kube-openapi's strfmt, govalidator, net/mail, net/url). Dashes in a format's name do not count; formats that are
 * not here (int32, zipcode) are never checked. Patterns are compiled when the first text asks for them. */
#include "api/codec_int.h"
#include "api/formats.h"
#include "api/schema.h"
#include "base/regex.h"
#include <pthread.h>

#define UUID_OF(version, variant)                                                                                    \
    "(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?" version "[0-9a-f]{3}-?" variant "[0-9a-f]{3}-?[0-9a-f]{12}$"
#define BYTE_OF_COLOR  "(0|[1-9]\\d?|1\\d\\d?|2[0-4]\\d|25[0-5])"
#define LETTER         "a-zA-Z0-9\\p{S}\\p{L}"
#define OFFSET_OF_ZONE "([+-][0-9]{2}:[0-9]{2})"

enum pattern {
    PATTERN_HOSTNAME,
    PATTERN_UUID,
    PATTERN_UUID3,
    PATTERN_UUID4,
    PATTERN_UUID5,
    PATTERN_CARD,
    PATTERN_SSN,
    PATTERN_HEX_COLOR,
    PATTERN_RGB_COLOR,
    PATTERN_BYTE,
    PATTERN_DATE,
    PATTERN_DATETIME,
    PATTERNS,
};
static const char *const patterns[PATTERNS] = {
    [PATTERN_HOSTNAME] = "^([" LETTER "]((-?[" LETTER "]{0,62})?)|([" LETTER
                         "](([a-zA-Z0-9-\\p{S}\\p{L}]{0,61}[" LETTER "])?)(\\.)){1,}([" LETTER "])(-?[" LETTER
                         "]){1,62})$",
    [PATTERN_UUID] = UUID_OF("[0-9a-f]", "[0-9a-f]"),
    [PATTERN_UUID3] = UUID_OF("3", "[0-9a-f]"),
    [PATTERN_UUID4] = UUID_OF("4", "[89ab]"),
    [PATTERN_UUID5] = UUID_OF("5", "[89ab]"),
    [PATTERN_CARD] = "^(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|(222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|"
                     "2720)[0-9]{12}|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:"
                     "2131|1800|35\\d{3})\\d{11}|6[27][0-9]{14})$",
    [PATTERN_SSN] = "^\\d{3}[- ]?\\d{2}[- ]?\\d{4}$",
    [PATTERN_HEX_COLOR] = "^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$",
    [PATTERN_RGB_COLOR] = "^rgb\\(\\s*" BYTE_OF_COLOR "\\s*,\\s*" BYTE_OF_COLOR "\\s*,\\s*" BYTE_OF_COLOR "\\s*\\)$",
    [PATTERN_BYTE] = "^(?:[A-Za-z0-9+\\/]{4})*(?:[A-Za-z0-9+\\/]{2}==|[A-Za-z0-9+\\/]{3}=|[A-Za-z0-9+\\/]{4})$",
    [PATTERN_DATE] = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
    [PATTERN_DATETIME] =
        "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(\\.[0-9]+)?(z|" OFFSET_OF_ZONE ")$",
};

static bool text_matches(enum pattern p, struct str s)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct regex *made[PATTERNS];
    pthread_mutex_lock(&lock);
    if (!made[p]) {
        struct err err = ERR;
        made[p] = regex_new(str_of(patterns[p]), &err);
        ASSERT(made[p]);
    }
    const struct regex *re = made[p];
    pthread_mutex_unlock(&lock);
    return regex_match(re, s);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_hostname(struct str s)
{
    struct str rest = s, part;
    if (s.n > 255 || !text_matches(PATTERN_HOSTNAME, s))
        return false;
    while (str_cut(&rest, '.', &part))
        if (part.n > 63)
            return false;
    return true;
}

static bool is_object_id(struct str s)
{
    size_t n = 0;
    while (n < s.n && is_hex(s.p[n]))
        n++;
    return s.n == 24 && n == 24;
}

/* The digits (and X), without what is between them. */
static size_t digits_of(struct str s, const char *between, bool others, char out[32])
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (strchr(between, s.p[i]) || (others && !is_digit(s.p[i])))
            continue;
        if (n == 31)
            return 0;
        out[n++] = s.p[i];
    }
    out[n] = 0;
    return n;
}

static bool is_card(struct str s)
{
    char digits[32];
    size_t n = digits_of(s, "", true, digits);
    if (!n || !text_matches(PATTERN_CARD, (struct str){digits, n}))
        return false;
    int sum = 0; /* Luhn */
    for (size_t i = 0; i < n; i++) {
        int d = digits[n - 1 - i] - '0';
        if (i % 2)
            d = d * 2 > 9 ? d * 2 - 9 : d * 2;
        sum += d;
    }
    return sum % 10 == 0;
}

#define BETWEEN_ISBN "- \t\n\v\f\r"
static bool is_isbn10(struct str s)
{
    char d[32];
    int sum = 0;
    if (digits_of(s, BETWEEN_ISBN, false, d) != 10)
        return false;
    for (int i = 0; i < 10; i++) {
        if (!is_digit(d[i]) && !(i == 9 && d[i] == 'X'))
            return false;
        sum += (i + 1) * (d[i] == 'X' ? 10 : d[i] - '0');
    }
    return sum % 11 == 0;
}

static bool is_isbn13(struct str s)
{
    char d[32];
    int sum = 0;
    if (digits_of(s, BETWEEN_ISBN, false, d) != 13)
        return false;
    for (int i = 0; i < 13; i++) {
        if (!is_digit(d[i]))
            return false;
        sum += (i % 2 ? 3 : 1) * (d[i] - '0');
    }
    return sum % 10 == 0;
}

static bool is_isbn(struct str s)
{
    return is_isbn10(s) || is_isbn13(s);
}

/* Pairs with ':' or '-' between, or fours with '.': of 6, 8 or 20 bytes. */
static bool is_mac(struct str s)
{
    size_t group = s.n > 2 && (s.p[2] == ':' || s.p[2] == '-') ? 2 : s.n > 4 && s.p[4] == '.' ? 4 : 0;
    if (!group || (s.n + 1) % (group + 1))
        return false;
    size_t bytes = (s.n + 1) / (group + 1) * group / 2;
    for (size_t i = 0; i < s.n; i++)
        if (i % (group + 1) == group ? s.p[i] != s.p[group] : !is_hex(s.p[i]))
            return false;
    return bytes == 6 || bytes == 8 || bytes == 20;
}

static bool is_ssn(struct str s)
{
    return s.n == 11 && text_matches(PATTERN_SSN, s);
}

static bool is_cidr_text(struct str s)
{
    uint8_t address[16];
    int bits;
    bool v4;
    return cidr_parse(s, address, &bits, &v4);
}

static bool is_day(struct str s)
{
    char text[32];
    int64_t seconds;
    int32_t nanos;
    struct err err = ERR;
    if (!text_matches(PATTERN_DATE, s))
        return false;
    int n = snprintf(text, sizeof text, STR_FMT "T00:00:00Z", STR_ARG(s));
    return gotime_parse((struct str){text, (size_t)n}, false, &seconds, &nanos, &err);
}

/* RFC 3339, in small letters too. */
static bool is_moment(struct str s)
{
    char text[64];
    struct str day = str_sub(s, 0, 10);
    if (s.n < 11 || s.n >= sizeof text || !is_day(day))
        return false;
    for (size_t i = 0; i < s.n; i++)
        text[i] = s.p[i] == 'Z' ? 'z' : s.p[i];
    if (text[10] != 'T' && text[10] != 't')
        return false;
    if (!text_matches(PATTERN_DATETIME, (struct str){text, s.n}))
        return false;
    int hour = (text[11] - '0') * 10 + text[12] - '0', minute = (text[14] - '0') * 10 + text[15] - '0',
        second = (text[17] - '0') * 10 + text[18] - '0';
    return hour <= 23 && minute <= 59 && second <= 59;
}

static bool unit_is_known(const char *unit, size_t n)
{
    static const char *const exact[] = {"ns", "us", "\xc2\xb5s", "ms", "s", "m", "h", "hr", "d", "w", "wk"};
    static const char *const begins[] = {"nano", "micro", "milli", "sec", "min", "hour", "day", "week"};
    struct str s = {unit, n};
    for (size_t i = 0; i < countof(exact); i++)
        if (str_ieq(s, str_of(exact[i])))
            return true;
    for (size_t i = 0; i < countof(begins); i++)
        if (str_ieq(str_sub(s, 0, strlen(begins[i])), str_of(begins[i])))
            return true;
    return false;
}

static size_t skip_spaces(struct str s, size_t i)
{
    while (i < s.n && strchr(" \t\n\f\r", s.p[i]))
        i++;
    return i;
}

/* Go's durations, or numbers with units in words: "2 days 3 hours". One unit that is known is enough. */
static bool is_duration(struct str s)
{
    int64_t ns;
    struct err err = ERR;
    bool known = false;
    if (goduration_parse(s, &ns, &err))
        return true;
    size_t i = skip_spaces(s, 0), parts = 0;
    while (i < s.n) {
        size_t from = i;
        while (i < s.n && is_digit(s.p[i]))
            i++;
        if (i == from || i - from > 19)
            return false;
        size_t unit = i = skip_spaces(s, i);
        while (i < s.n && ((s.p[i] | 32) >= 'a' && (s.p[i] | 32) <= 'z'))
            i++;
        if (str_starts(str_sub(s, unit, s.n), S("\xc2\xb5")))
            for (i = unit + 2; i < s.n && ((s.p[i] | 32) >= 'a' && (s.p[i] | 32) <= 'z');)
                i++;
        if (i == unit)
            return false;
        known |= unit_is_known(s.p + unit, i - unit);
        i = skip_spaces(s, i);
        parts++;
    }
    return parts && known;
}

/* --- net/url --- */

static bool escapes_hold(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '%') {
            if (i + 2 >= s.n || !is_hex(s.p[i + 1]) || !is_hex(s.p[i + 2]))
                return false;
            i += 2;
        }
    return true;
}

static bool is_port_text(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_digit(s.p[i]))
            return false;
    return true;
}

static bool is_host(struct str host)
{
    struct str port = S("");
    if (host.n && host.p[0] == '[') {
        ptrdiff_t end = str_rfind_char(host, ']');
        if (end < 0)
            return false;
        struct str rest = str_sub(host, (size_t)end + 1, host.n);
        return !rest.n || (rest.p[0] == ':' && is_port_text(str_sub(rest, 1, rest.n)));
    }
    ptrdiff_t colon = str_rfind_char(host, ':');
    if (colon >= 0) {
        port = str_sub(host, (size_t)colon + 1, host.n);
        host = str_sub(host, 0, (size_t)colon);
    }
    for (size_t i = 0; i < host.n; i++)
        if (strchr(" \"<>\\^`{}|#?/@", host.p[i]))
            return false;
    return is_port_text(port) && escapes_hold(host);
}

/* url.ParseRequestURI: absolute, or a path from the root. */
static bool is_uri(struct str s)
{
    struct str path, query;
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return false;
    if (!s.n)
        return false;
    if (str_eqz(s, "*"))
        return true;
    size_t scheme = 0;
    while (scheme < s.n && (((s.p[scheme] | 32) >= 'a' && (s.p[scheme] | 32) <= 'z') ||
                            (scheme && (is_digit(s.p[scheme]) || strchr("+-.", s.p[scheme])))))
        scheme++;
    bool absolute = scheme && scheme < s.n && s.p[scheme] == ':';
    if (s.p[0] == ':')
        return false;
    (void)str_split(absolute ? str_sub(s, scheme + 1, s.n) : s, '?', &path, &query);
    if (!path.n || path.p[0] != '/')
        return absolute;
    if (str_starts(path, S("//")) && absolute) {
        ptrdiff_t end = str_find_char(str_sub(path, 2, path.n), '/');
        struct str authority = str_sub(path, 2, end < 0 ? path.n : (size_t)end + 2);
        ptrdiff_t at = str_rfind_char(authority, '@');
        path = str_sub(path, 2 + authority.n, path.n);
        if (!is_host(str_sub(authority, at < 0 ? 0 : (size_t)at + 1, authority.n)))
            return false;
        for (ptrdiff_t i = 0; i < at; i++)
            if (!escapes_hold(str_sub(authority, 0, (size_t)at)) || strchr(" \"<>\\^`{}|#?/[]", authority.p[i]))
                return false;
    }
    return escapes_hold(path);
}

/* --- net/mail --- */

static bool is_atom_byte(char c)
{
    return (unsigned char)c >= 0x80 || is_digit(c) || ((c | 32) >= 'a' && (c | 32) <= 'z') ||
           (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

/* Atoms with dots between; where it ends. */
static size_t dot_atom(struct str s, size_t i)
{
    for (;;) {
        size_t from = i;
        while (i < s.n && is_atom_byte(s.p[i]))
            i++;
        if (i == from)
            return 0;
        if (i >= s.n || s.p[i] != '.')
            return i;
        i++;
    }
}

static size_t quoted_text(struct str s, size_t i)
{
    for (i++; i < s.n && s.p[i] != '"'; i++)
        if (s.p[i] == '\\')
            i++;
    return i < s.n ? i + 1 : 0;
}

/* local@domain, from i on; where it ends, 0: nowhere. */
static size_t addr_spec(struct str s, size_t i)
{
    size_t at = i < s.n && s.p[i] == '"' ? quoted_text(s, i) : dot_atom(s, i);
    if (!at || at >= s.n || s.p[at] != '@')
        return 0;
    if (at + 1 < s.n && s.p[at + 1] == '[') {
        ptrdiff_t end = str_find_char(str_sub(s, at, s.n), ']');
        return end < 0 ? 0 : at + (size_t)end + 1;
    }
    return dot_atom(s, at + 1);
}

/* mail.ParseAddress: an address, or "Name <address>". */
static bool is_email(struct str s)
{
    s = str_trim(s);
    if (addr_spec(s, 0) == s.n && s.n)
        return true;
    if (!s.n || s.p[s.n - 1] != '>')
        return false;
    size_t i = 0;
    while (i < s.n && s.p[i] != '<') {
        if (s.p[i] == '"') {
            if (!(i = quoted_text(s, i)))
                return false;
        } else if (is_atom_byte(s.p[i]) || s.p[i] == ' ' || s.p[i] == '\t' || s.p[i] == '.') {
            i++;
        } else {
            return false;
        }
    }
    return i < s.n && addr_spec(s, i + 1) == s.n - 1;
}

/* --- names --- */

static bool is_short_name(struct str s)
{
    return format_ok(format_dns1123_label, s);
}

static bool is_long_name(struct str s)
{
    return format_ok(format_dns1123_subdomain, s);
}

static bool is_ip4_text(struct str s)
{
    return is_ip4(s);
}

static bool is_ip6_text(struct str s)
{
    return is_ip6(s);
}

static const struct {
    const char *name;            /* without dashes */
    bool (*holds)(struct str s); /* or */
    enum pattern pattern;
} schema_formats[] = {
    {"bsonobjectid", is_object_id, 0},
    {"uri", is_uri, 0},
    {"email", is_email, 0},
    {"hostname", is_hostname, 0},
    {"ipv4", is_ip4_text, 0},
    {"ipv6", is_ip6_text, 0},
    {"cidr", is_cidr_text, 0},
    {"mac", is_mac, 0},
    {"uuid", NULL, PATTERN_UUID},
    {"uuid3", NULL, PATTERN_UUID3},
    {"uuid4", NULL, PATTERN_UUID4},
    {"uuid5", NULL, PATTERN_UUID5},
    {"isbn", is_isbn, 0},
    {"isbn10", is_isbn10, 0},
    {"isbn13", is_isbn13, 0},
    {"creditcard", is_card, 0},
    {"ssn", is_ssn, 0},
    {"hexcolor", NULL, PATTERN_HEX_COLOR},
    {"rgbcolor", NULL, PATTERN_RGB_COLOR},
    {"byte", NULL, PATTERN_BYTE},
    {"password", NULL, PATTERNS},
    {"date", is_day, 0},
    {"duration", is_duration, 0},
    {"datetime", is_moment, 0},
    {"k8sshortname", is_short_name, 0},
    {"k8slongname", is_long_name, 0},
};

static size_t format_index(struct str format)
{
    char plain[32];
    size_t n = 0;
    for (size_t i = 0; i < format.n; i++)
        if (format.p[i] != '-') {
            if (n == sizeof plain - 1)
                return countof(schema_formats);
            plain[n++] = format.p[i];
        }
    size_t at = 0;
    while (at < countof(schema_formats) && !str_eqz((struct str){plain, n}, schema_formats[at].name))
        at++;
    return at;
}

bool schema_format_known(struct str format)
{
    return format_index(format) < countof(schema_formats);
}

bool schema_format_holds(struct str format, struct str text)
{
    size_t at = format_index(format);
    if (at == countof(schema_formats))
        return true;
    if (schema_formats[at].holds)
        return schema_formats[at].holds(text);
    return schema_formats[at].pattern == PATTERNS || text_matches(schema_formats[at].pattern, text);
}
