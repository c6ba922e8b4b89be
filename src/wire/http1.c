#include "wire/http1.h"

#define METHOD_MOST 32
#define CHUNK_LINE  256  /* a chunk's size with its extensions */
#define TRAILER     8192 /* all trailer fields */

enum { HEAD, LENGTH, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILERS, UNTIL_EOF, ENDED, BROKEN };

void http1_init(struct http1 *p, bool answers)
{
    *p = (struct http1){.answers = answers, .kept = STRBUF(HTTP1_HEAD_MOST)};
}

void http1_fini(struct http1 *p)
{
    strbuf_fini(&p->kept);
}

bool http1_between(const struct http1 *p)
{
    return p->state == HEAD && p->kept.n == 0;
}

bool http1_may_end_in(const struct http1 *p, struct str rest)
{
    return p->state == ENDED || (p->state == LENGTH ? p->left <= rest.n : str_ends(rest, S("\r\n\r\n")));
}

bool http1_at_end(const struct http1 *p)
{
    return p->state == ENDED;
}

static enum http1_event parser_refuse(struct http1 *p, int status, struct err *err, const char *why)
{
    p->state = BROKEN;
    p->refuse_status = status;
    (void)err_set(err, E_BAD_REQUEST, "%s", why);
    return HTTP1_BAD;
}

static bool is_token(struct str s)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alnum && (c == 0 || !strchr(marks, c)))
            return false;
    }
    return s.n > 0;
}

static bool is_value(struct str s) /* no control character but tab */
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if ((c < ' ' && c != '\t') || c == 127)
            return false;
    }
    return true;
}

static struct str trim_blank(struct str s) /* spaces and tabs only */
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = str_sub(s, 1, s.n);
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

/* The line up to CRLF, cut off *text. False: no whole line. */
static bool line_cut(struct str *text, struct str *line)
{
    ptrdiff_t at = str_find(*text, S("\r\n"));
    if (at < 0)
        return false;
    *line = str_sub(*text, 0, (size_t)at);
    *text = str_sub(*text, (size_t)at + 2, text->n);
    return true;
}

static bool parse_version(struct str s, int *minor)
{
    if (!str_eq(s, S("HTTP/1.1")) && !str_eq(s, S("HTTP/1.0")))
        return false;
    *minor = s.p[7] - '0';
    return true;
}

static bool is_target(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] == 127) /* also what is not ASCII */
            return false;
    return s.n > 0;
}

/* 0, or the status that refuses it. */
static int request_line(struct str line, struct http1_head *h, const char **why)
{
    struct str rest, version;
    *why = "malformed request line";
    if (line.n > HTTP1_URI_MOST)
        return *why = "the request line is too long", 414;
    if (!str_split(line, ' ', &h->method, &rest) || !str_split(rest, ' ', &h->target, &version))
        return 400;
    if (!is_token(h->method) || h->method.n > METHOD_MOST || !is_target(h->target))
        return 400;
    if (!parse_version(version, &h->minor)) {
        bool other = str_starts(version, S("HTTP/")) && version.n == 8;
        return *why = other ? "only HTTP/1.1 and HTTP/1.0 are spoken here" : *why, other ? 505 : 400;
    }
    if (h->target.p[0] == '/' || (str_eq(h->target, S("*")) && str_eq(h->method, S("OPTIONS"))))
        return 0;
    ptrdiff_t scheme = str_find(h->target, S("://"));
    if (scheme != 4 && scheme != 5)
        return *why = "malformed request target", str_eq(h->method, S("CONNECT")) ? 501 : 400;
    rest = str_sub(h->target, (size_t)scheme + 3, h->target.n);
    ptrdiff_t slash = str_find_char(rest, '/');
    h->host = str_sub(rest, 0, slash < 0 ? rest.n : (size_t)slash);
    h->target = slash < 0 ? S("/") : str_sub(rest, (size_t)slash, rest.n);
    return 0;
}

static int status_line(struct str line, struct http1_head *h, const char **why)
{
    struct str version, rest, code;
    int64_t status;
    *why = "malformed status line";
    if (!str_split(line, ' ', &version, &rest) || !parse_version(version, &h->minor))
        return 400;
    (void)str_split(rest, ' ', &code, &rest);
    if (code.n != 3 || !str_to_i64(code, 100, 999, &status) || !is_value(rest))
        return 400;
    h->status = (int)status;
    return 0;
}

static int field_line(struct arena *a, struct str line, struct http1_head *h, const char **why)
{
    struct str name, value;
    if (line.n && (line.p[0] == ' ' || line.p[0] == '\t'))
        return *why = "folded header lines are not taken", 400;
    if (!str_split(line, ':', &name, &value) || !is_token(name) || !is_value(value))
        return *why = "malformed header line", 400;
    if (h->headers.n == HTTP1_FIELDS_MOST)
        return *why = "too many header fields", 431;
    /* the line is in the arena already */
    if (h->headers.n == h->headers.cap) {
        struct http_header *more = arena_alloc(a, (h->headers.cap * 2 + 16) * sizeof *more);
        if (h->headers.n)
            memcpy(more, h->headers.p, h->headers.n * sizeof *more);
        h->headers.p = more;
        h->headers.cap = h->headers.cap * 2 + 16;
    }
    h->headers.p[h->headers.n++] = (struct http_header){name, trim_blank(value)};
    return 0;
}

static bool is_host(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c <= ' ' || c == 127 || strchr("/?#@\\\"<>,", c))
            return false;
    }
    return true;
}

/* The fields that say where the message ends and what becomes of the connection. */
static int head_frame(struct http1_head *h, bool answers, const char **why)
{
    struct str length = STR_NONE, coding = STR_NONE, host = STR_NONE;
    for (size_t i = 0; i < h->headers.n; i++) {
        const struct http_header *f = &h->headers.p[i];
        if (str_ieq(f->name, S("Content-Length"))) {
            if (length.p && !str_eq(length, f->value))
                return *why = "two different Content-Length fields", 400;
            length = f->value;
        } else if (str_ieq(f->name, S("Transfer-Encoding"))) {
            if (coding.p)
                return *why = "two Transfer-Encoding fields", 400;
            coding = f->value;
        } else if (str_ieq(f->name, S("Host"))) {
            if (host.p)
                return *why = "two Host fields", 400;
            host = f->value;
        } else if (str_ieq(f->name, S("Expect")) && !answers) {
            if (!str_ieq(f->value, S("100-continue")))
                return *why = "the only expectation known is 100-continue", 417;
            h->expect_continue = h->minor == 1;
        }
    }
    if (length.p && coding.p)
        return *why = "both Content-Length and Transfer-Encoding", 400;
    if (coding.p && h->minor == 0)
        return *why = "Transfer-Encoding in HTTP/1.0", 400;
    if (coding.p && !str_ieq(coding, S("chunked")))
        return *why = "the only Transfer-Encoding known is chunked", 501;
    h->length = answers || coding.p ? -1 : 0;
    h->chunked = coding.p != NULL;
    if (length.p && !str_to_i64(length, 0, INT64_MAX, &h->length))
        return *why = "malformed Content-Length", 400;
    if (!answers && h->minor == 1 && !host.p)
        return *why = "the Host field is missing", 400;
    if (host.p && !is_host(host))
        return *why = "malformed Host field", 400;
    if (!h->host.p)
        h->host = host.p ? host : S("");
    bool close = http_header_token(&h->headers, S("Connection"), S("close"));
    h->keep_alive = !close && (h->minor == 1 || http_header_token(&h->headers, S("Connection"), S("keep-alive")));
    h->upgrade = http_header_token(&h->headers, S("Connection"), S("upgrade")) && h->minor == 1;
    return 0;
}

static void after_head(struct http1 *p, const struct http1_head *h)
{
    int s = h->status;
    if (p->answers && (p->no_body || s == 204 || s == 304 || s / 100 == 1))
        p->state = ENDED;
    else if (h->chunked)
        p->state = CHUNK_SIZE;
    else if (h->length < 0)
        p->state = UNTIL_EOF;
    else if (h->length == 0)
        p->state = ENDED;
    else
        p->state = LENGTH, p->left = (uint64_t)h->length;
}

static enum http1_event parse_head(struct http1 *p, struct arena *a, struct str text, struct http1_head *h,
                                   struct err *err)
{
    const char *why = "";
    *h = (struct http1_head){0};
    struct str rest = str_dup(a, text), line = STR_NONE;
    (void)line_cut(&rest, &line);
    int refuse = p->answers ? status_line(line, h, &why) : request_line(line, h, &why);
    while (!refuse && line_cut(&rest, &line) && line.n)
        refuse = field_line(a, line, h, &why);
    if (!refuse)
        refuse = head_frame(h, p->answers, &why);
    if (refuse)
        return parser_refuse(p, refuse, err, why);
    after_head(p, h);
    return HTTP1_HEAD;
}

/* The size of the head that begins at s, the empty line included; 0: not whole; -1: a line end that is none. `from`:
 * what is looked at already. */
static ptrdiff_t head_size(struct str s, size_t from)
{
    for (const char *at; (at = memchr(s.p + from, '\n', s.n - from));) {
        size_t i = (size_t)(at - s.p);
        if (i == 0 || s.p[i - 1] != '\r')
            return -1;
        if (i >= 3 && s.p[i - 2] == '\n')
            return (ptrdiff_t)i + 1;
        if (i == 1)
            return -1;
        from = i + 1;
    }
    return 0;
}

static bool lone_cr(struct str s)
{
    for (const char *at = s.p, *end = s.p + s.n; (at = memchr(at, '\r', (size_t)(end - at))); at++)
        if (at + 1 < end && at[1] != '\n')
            return true;
    return false;
}

static enum http1_event head_next(struct http1 *p, struct arena *a, struct str *bytes, struct http1_head *h,
                                  struct err *err)
{
    /* RFC 9112 2.2: an empty line before a request is passed over */
    if (p->kept.n == 1 && p->kept.p[0] == '\r' && str_starts(*bytes, S("\n")) && !p->answers) { /* in two pieces */
        strbuf_reset(&p->kept);
        *bytes = str_sub(*bytes, 1, bytes->n);
    }
    while (p->kept.n == 0 && str_starts(*bytes, S("\r\n")) && !p->answers)
        *bytes = str_sub(*bytes, 2, bytes->n);
    if (bytes->n == 0)
        return HTTP1_MORE;
    size_t had = p->kept.n, take = MIN(bytes->n, HTTP1_HEAD_MOST - had);
    struct str text = str_sub(*bytes, 0, take);
    if (had) {
        strbuf_add(&p->kept, text);
        text = strbuf_str(&p->kept);
    }
    ptrdiff_t size = head_size(text, had);
    if (size < 0 || lone_cr(str_sub(text, had ? had - 1 : 0, size ? (size_t)size : text.n)))
        return parser_refuse(p, 400, err, "lines must end in CRLF");
    if (size == 0 && text.n >= HTTP1_HEAD_MOST)
        return str_find_char(text, '\n') < 0 ? parser_refuse(p, 414, err, "the request line is too long")
                                             : parser_refuse(p, 431, err, "the header is too large");
    if (size == 0 && text.n > HTTP1_URI_MOST && str_find_char(text, '\n') < 0)
        return parser_refuse(p, 414, err, "the request line is too long");
    if (size == 0) {
        if (!had)
            strbuf_add(&p->kept, text);
        *bytes = str_sub(*bytes, take, bytes->n);
        return HTTP1_MORE;
    }
    *bytes = str_sub(*bytes, (size_t)size - had, bytes->n);
    enum http1_event e = parse_head(p, a, str_sub(text, 0, (size_t)size), h, err);
    strbuf_fini(&p->kept);
    p->kept = STRBUF(HTTP1_HEAD_MOST);
    return e;
}

/* A line that may come in pieces. 1: *line is whole (in kept: reset it); 0: more; -1: too long or not ended by CRLF.
 */
static int piece_line(struct http1 *p, struct str *bytes, size_t most, struct str *line)
{
    const char *lf = memchr(bytes->p, '\n', bytes->n);
    size_t n = lf ? (size_t)(lf - bytes->p) + 1 : bytes->n;
    if (p->kept.n + n > most)
        return -1;
    strbuf_add(&p->kept, str_sub(*bytes, 0, n));
    *bytes = str_sub(*bytes, n, bytes->n);
    if (!lf)
        return 0;
    struct str whole = strbuf_str(&p->kept);
    if (whole.n < 2 || whole.p[whole.n - 2] != '\r')
        return -1;
    *line = str_sub(whole, 0, whole.n - 2);
    return is_value(*line) ? 1 : -1;
}

static enum http1_event chunk_size(struct http1 *p, struct str *bytes, struct err *err)
{
    struct str line, digits, extension;
    int got = piece_line(p, bytes, CHUNK_LINE, &line);
    if (got == 0)
        return HTTP1_MORE;
    if (got < 0)
        return parser_refuse(p, 400, err, "malformed chunk size");
    (void)str_split(line, ';', &digits, &extension);
    digits = extension.p ? trim_blank(digits) : digits;
    uint64_t size = 0;
    if (digits.n == 0 || digits.n > 15)
        return parser_refuse(p, 400, err, "malformed chunk size");
    for (size_t i = 0; i < digits.n; i++) {
        char c = digits.p[i];
        int v = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
        if (v < 0)
            return parser_refuse(p, 400, err, "malformed chunk size");
        size = size << 4 | (unsigned)v;
    }
    strbuf_reset(&p->kept);
    p->left = size;
    p->state = size ? CHUNK_DATA : TRAILERS;
    return HTTP1_BODY; /* an empty piece: go on */
}

static enum http1_event chunk_end(struct http1 *p, struct str *bytes, struct err *err)
{
    struct str line;
    int got = piece_line(p, bytes, 2, &line);
    if (got == 0)
        return HTTP1_MORE;
    if (got < 0 || line.n)
        return parser_refuse(p, 400, err, "a chunk does not end where it says");
    strbuf_reset(&p->kept);
    p->state = CHUNK_SIZE;
    return HTTP1_BODY;
}

/* Trailer fields are checked and dropped: nobody here may act on them. */
static enum http1_event trailer_read(struct http1 *p, struct str *bytes, struct err *err)
{
    struct str line, name, value;
    int got = piece_line(p, bytes, TRAILER, &line);
    if (got == 0)
        return HTTP1_MORE;
    if (got < 0 || p->left + line.n > TRAILER ||
        (line.n && (!str_split(line, ':', &name, &value) || !is_token(name))))
        return parser_refuse(p, 400, err, "malformed trailer");
    p->left += line.n;
    p->state = line.n ? TRAILERS : ENDED;
    strbuf_reset(&p->kept);
    return HTTP1_BODY;
}

static struct str piece_read(struct http1 *p, struct str *bytes)
{
    struct str got = str_sub(*bytes, 0, MIN(bytes->n, p->left));
    *bytes = str_sub(*bytes, got.n, bytes->n);
    p->left -= got.n;
    return got;
}

enum http1_event http1_next(struct http1 *p, struct arena *a, struct str *bytes, struct http1_head *head,
                            struct str *body, struct err *err)
{
    for (;;) {
        enum http1_event e = HTTP1_BODY;
        *body = S("");
        if (p->state == ENDED) {
            strbuf_fini(&p->kept);
            p->kept = STRBUF(HTTP1_HEAD_MOST);
            p->state = HEAD;
            p->left = 0;
            return HTTP1_END;
        }
        if (p->state == BROKEN)
            return parser_refuse(p, p->refuse_status, err, "the connection is no longer readable");
        if (bytes->n == 0)
            return HTTP1_MORE;
        switch (p->state) {
        case HEAD: return head_next(p, a, bytes, head, err);
        case LENGTH:
            *body = piece_read(p, bytes);
            if (p->left == 0)
                p->state = ENDED;
            return HTTP1_BODY;
        case CHUNK_DATA:
            *body = piece_read(p, bytes);
            if (p->left == 0)
                p->state = CHUNK_END;
            return HTTP1_BODY;
        case UNTIL_EOF:
            *body = *bytes;
            *bytes = S("");
            return HTTP1_BODY;
        case CHUNK_SIZE: e = chunk_size(p, bytes, err); break;
        case CHUNK_END: e = chunk_end(p, bytes, err); break;
        case TRAILERS: e = trailer_read(p, bytes, err); break;
        }
        if (e != HTTP1_BODY)
            return e;
    }
}

enum http1_event http1_eof(struct http1 *p, struct err *err)
{
    if (http1_between(p))
        return HTTP1_MORE;
    if (p->state == UNTIL_EOF || p->state == ENDED) {
        p->state = HEAD;
        return HTTP1_END;
    }
    return parser_refuse(p, 400, err, "the connection ended within a message");
}

void http1_add_field(struct strbuf *b, struct str name, struct str value)
{
    strbuf_add(b, name);
    strbuf_addz(b, ": ");
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];
        strbuf_addc(b, c == '\r' || c == '\n' || c == 0 ? ' ' : c);
    }
    strbuf_addz(b, "\r\n");
}
