#include "wire/http.h"

struct str http_header(const struct http_headers *h, struct str name)
{
    for (size_t i = 0; i < h->n; i++)
        if (str_ieq(h->p[i].name, name))
            return h->p[i].value;
    return S("");
}

bool http_header_has(const struct http_headers *h, struct str name)
{
    for (size_t i = 0; i < h->n; i++)
        if (str_ieq(h->p[i].name, name))
            return true;
    return false;
}

bool http_header_token(const struct http_headers *h, struct str name, struct str token)
{
    for (size_t i = 0; i < h->n; i++) {
        struct str rest = h->p[i].value, part;
        if (!str_ieq(h->p[i].name, name))
            continue;
        while (str_cut(&rest, ',', &part))
            if (str_ieq(str_trim(part), token))
                return true;
    }
    return false;
}

const char *http_header_choose(const struct http_headers *h, struct str name, const char *const *ours)
{
    for (size_t i = 0; i < h->n; i++) {
        struct str rest = h->p[i].value, one;
        if (!str_ieq(h->p[i].name, name))
            continue;
        while (str_cut(&rest, ',', &one))
            for (const char *const *p = ours; *p; p++)
                if (str_eqz(str_trim(one), *p))
                    return *p;
    }
    return NULL;
}

void http_header_add(struct arena *a, struct http_headers *h, struct str name, struct str value)
{
    if (h->n == h->cap) {
        size_t cap = h->cap ? h->cap * 2 : 8;
        struct http_header *p = arena_alloc(a, cap * sizeof *p);
        if (h->n)
            memcpy(p, h->p, h->n * sizeof *p);
        h->p = p;
        h->cap = cap;
    }
    h->p[h->n++] = (struct http_header){str_dup(a, name), str_dup(a, value)};
}

static const struct {
    int status;
    const char *reason;
} reasons[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Content"},
    {426, "Upgrade Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

const char *http_reason(int status)
{
    for (size_t i = 0; i < countof(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Status";
}

static bool percent_decode(struct arena *a, struct str s, bool plus_is_space, struct str *out)
{
    char *p = arena_alloc(a, s.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '%') {
            int high = i + 2 < s.n ? hex_digit(s.p[i + 1]) : -1, low = i + 2 < s.n ? hex_digit(s.p[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        if (c == 0)
            return false;
        p[n++] = c;
    }
    *out = (struct str){p, n};
    return true;
}

bool http_unescape(struct arena *a, struct str s, struct str *out)
{
    return percent_decode(a, s, false, out);
}

bool http_query_next(struct arena *a, struct str *rest, struct str *name, struct str *value, struct err *err)
{
    struct str part, key, text;
    do {
        if (!rest->p || !str_cut(rest, '&', &part))
            return false;
    } while (part.n == 0);
    (void)str_split(part, '=', &key, &text);
    if (!percent_decode(a, key, true, name) || !percent_decode(a, text, true, value))
        return err_set(err, E_BAD_REQUEST, "query: bad escape in \"" STR_FMT "\"", STR_ARG(part));
    return true;
}

void http_escape(struct strbuf *b, struct str s)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool keep = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                    c == '.' || c == '_' || c == '~';
        if (keep) {
            strbuf_addc(b, (char)c);
            continue;
        }
        strbuf_addc(b, '%');
        strbuf_addc(b, digits[c >> 4]);
        strbuf_addc(b, digits[c & 15]);
    }
}
