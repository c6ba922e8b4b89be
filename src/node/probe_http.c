#include "node/probe_http.h"
#include "api/formats.h"
#include "base/array.h"

static const char *const words[] = {"ok", "warning", "status", "failed", "errored", "unknown"};

const char *probe_outcome_word(enum probe_outcome o)
{
    return words[o];
}

enum probe_outcome probe_outcome_of(struct str word)
{
    for (size_t i = 0; i < countof(words); i++)
        if (str_eqz(word, words[i]))
            return (enum probe_outcome)i;
    return PROBED_FAILED;
}

/* --- URLs (Go: net/url) ---------------------------------------------------------------------------------------- */

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool has_control(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
            return true;
    return false;
}

/* False: a % that begins no escape. */
static bool text_unescape(struct arena *a, struct str s, struct str *out)
{
    char *to = arena_alloc(a, s.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '%') {
            to[n++] = s.p[i];
            continue;
        }
        if (i + 2 >= s.n || hex_digit(s.p[i + 1]) < 0 || hex_digit(s.p[i + 2]) < 0)
            return false;
        to[n++] = (char)(hex_digit(s.p[i + 1]) * 16 + hex_digit(s.p[i + 2]));
        i += 2;
    }
    *out = (struct str){to, n};
    return true;
}

static struct str text_escape(struct arena *a, struct str s)
{
    static const char digits[] = "0123456789ABCDEF";
    char *to = arena_alloc(a, 3 * s.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (is_alnum((char)c) || (c && strchr("-_.~$&+,/:;=@", c))) {
            to[n++] = (char)c;
        } else {
            to[n++] = '%';
            to[n++] = digits[c >> 4];
            to[n++] = digits[c & 15];
        }
    }
    return (struct str){to, n};
}

/* As it was written where that can be sent, else written anew. */
static bool escaped_path(struct arena *a, struct str raw, struct str *out)
{
    struct str plain;
    bool fine = true;
    if (!text_unescape(a, raw, &plain))
        return false;
    for (size_t i = 0; i < raw.n && fine; i++)
        fine = is_alnum(raw.p[i]) || (raw.p[i] && strchr("-_.~$&+,/:;=@!'()*[]%", raw.p[i]));
    *out = fine ? raw : text_escape(a, plain);
    return true;
}

static bool authority_ok(struct str s)
{
    ptrdiff_t at = str_rfind_char(s, '@');
    s = str_sub(s, (size_t)(at + 1), s.n);
    ptrdiff_t colon = str_rfind_char(s, ':'), bracket = str_rfind_char(s, ']');
    if (s.n && s.p[0] == '[' && bracket < 0)
        return false;
    for (size_t i = colon > bracket ? (size_t)colon + 1 : s.n; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == ' ' || s.p[i] == '"' || s.p[i] == '<' || s.p[i] == '>' || s.p[i] == '\\' || s.p[i] == '%')
            return false;
    return true;
}

/* "http" of "http://x"; false: it begins with a colon. */
static bool cut_scheme(struct str *rest, struct str *scheme)
{
    *scheme = S("");
    for (size_t i = 0; i < rest->n; i++) {
        char c = rest->p[i];
        bool later = (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
        if (c == ':' && i == 0)
            return false;
        if (c == ':') {
            *scheme = str_sub(*rest, 0, i);
            *rest = str_sub(*rest, i + 1, rest->n);
        }
        if (!is_alnum(c) && !later)
            return true;
        if (later && i == 0)
            return true;
    }
    return true;
}

/* False: not a reference. */
static bool url_parse(struct arena *a, struct str text, struct probe_url *out)
{
    struct str rest = text;
    *out = (struct probe_url){0};
    if (has_control(text))
        return false;
    ptrdiff_t at = str_find_char(rest, '#');
    if (at >= 0) {
        out->fragment = str_sub(rest, (size_t)at + 1, rest.n);
        rest = str_sub(rest, 0, (size_t)at);
    }
    if (!cut_scheme(&rest, &out->scheme))
        return false;
    at = str_find_char(rest, '?');
    if (at >= 0) {
        out->query = str_sub(rest, (size_t)at + 1, rest.n);
        rest = str_sub(rest, 0, (size_t)at);
    }
    bool rooted = str_starts(rest, S("/"));
    if (!rooted && out->scheme.n) {
        out->opaque = rest;
        return true;
    }
    struct str segment, tail;
    (void)str_split(rest, '/', &segment, &tail);
    if (!rooted && str_find_char(segment, ':') >= 0)
        return false;
    if (str_starts(rest, S("//")) && (out->scheme.n || !str_starts(rest, S("///")))) {
        rest = str_sub(rest, 2, rest.n);
        at = str_find_char(rest, '/');
        out->authority = at < 0 ? rest : str_sub(rest, 0, (size_t)at);
        rest = at < 0 ? S("") : str_sub(rest, (size_t)at, rest.n);
        if (!authority_ok(out->authority))
            return false;
    }
    return escaped_path(a, rest, &out->path);
}

static struct str host_port(struct arena *a, struct str host, int port)
{
    bool six = str_find_char(host, ':') >= 0;
    return arena_fmt(a, "%s" STR_FMT "%s:%d", six ? "[" : "", STR_ARG(host), six ? "]" : "", port);
}

static struct str path_rooted(struct arena *a, struct str path)
{
    return !path.n || path.p[0] == '/' ? path : arena_fmt(a, "/" STR_FMT, STR_ARG(path));
}

void probe_url(struct arena *a, struct str scheme, struct str host, int port, struct str path, struct probe_url *out)
{
    if (!url_parse(a, path, out)) /* too late to refuse it: a path then, whatever is in it */
        *out = (struct probe_url){.path = text_escape(a, path)};
    out->scheme = scheme;
    out->authority = host_port(a, host, port);
    out->path = path_rooted(a, out->path);
}

struct str probe_url_text(struct arena *a, const struct probe_url *u)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(PROBE_HEAD_MOST);
    if (u->opaque.n)
        strbuf_addf(&b, STR_FMT ":" STR_FMT, STR_ARG(u->scheme), STR_ARG(u->opaque));
    else
        strbuf_addf(&b, STR_FMT "://" STR_FMT STR_FMT, STR_ARG(u->scheme), STR_ARG(u->authority), STR_ARG(u->path));
    if (u->query.p)
        strbuf_addf(&b, "?" STR_FMT, STR_ARG(u->query));
    if (u->fragment.n)
        strbuf_addf(&b, "#" STR_FMT, STR_ARG(u->fragment));
    return str_dup(a, strbuf_str(&b));
}

static struct str without_user(struct str authority)
{
    return str_sub(authority, (size_t)(str_rfind_char(authority, '@') + 1), authority.n);
}

static struct str authority_hostname(struct str authority)
{
    struct str s = without_user(authority);
    ptrdiff_t colon = str_rfind_char(s, ':'), bracket = str_rfind_char(s, ']');
    if (colon > bracket)
        s = str_sub(s, 0, (size_t)colon);
    return s.n > 1 && s.p[0] == '[' ? str_sub(s, 1, s.n - 1) : s;
}

struct str probe_url_address(struct arena *a, const struct probe_url *u)
{
    struct str s = without_user(u->authority);
    ptrdiff_t colon = str_rfind_char(s, ':'), bracket = str_rfind_char(s, ']');
    if (colon > bracket && (size_t)colon + 1 < s.n)
        return s;
    if (colon > bracket)
        s = str_sub(s, 0, (size_t)colon);
    return arena_fmt(a, STR_FMT ":%d", STR_ARG(s), str_eqz(u->scheme, "https") ? 443 : 80);
}

/* RFC 3986, 5.2.4 */
static struct str resolve_path(struct arena *a, struct str base, struct str ref)
{
    struct str full = ref, part;
    if (!ref.n)
        full = base;
    else if (ref.p[0] != '/')
        full = arena_fmt(a, STR_FMT STR_FMT, STR_ARG(str_sub(base, 0, (size_t)(str_rfind_char(base, '/') + 1))),
                         STR_ARG(ref));
    char *out = arena_alloc(a, full.n + 2);
    size_t n = 0;
    bool first = true;
    while (str_cut(&full, '/', &part)) {
        bool last = !full.p, dots = str_eqz(part, ".") || str_eqz(part, "..");
        if (str_eqz(part, ".."))
            while (n && out[--n] != '/')
                ;
        if (!dots && !(first && !part.n)) {
            out[n++] = '/';
            memcpy(out + n, part.p, part.n);
            n += part.n;
        }
        if (last && dots)
            out[n++] = '/';
        first = false;
    }
    if (!n)
        out[n++] = '/';
    return (struct str){out, n};
}

bool probe_url_follow(struct arena *a, const struct probe_url *u, struct str location, struct probe_url *out,
                      bool *other_host, struct err *err)
{
    *other_host = false;
    if (!url_parse(a, location, out))
        return err_set(err, E_INVALID, "failed to parse Location header \"" STR_FMT "\"", STR_ARG(location));
    bool absolute = out->scheme.n || out->authority.n;
    if (!out->scheme.n)
        out->scheme = u->scheme;
    if (out->opaque.n || (absolute && !out->authority.n)) {
        *other_host = true;
        return true;
    }
    if (!absolute && !out->path.n && !out->query.p)
        out->query = u->query;
    if (!absolute)
        out->authority = u->authority;
    out->path = resolve_path(a, absolute ? S("") : u->path, out->path);
    if (!str_eq(authority_hostname(out->authority), authority_hostname(u->authority)))
        *other_host = true;
    else if (!str_eqz(out->scheme, "http") && !str_eqz(out->scheme, "https"))
        return err_set(err, E_INVALID, "unsupported protocol scheme \"" STR_FMT "\"", STR_ARG(out->scheme));
    return true;
}

/* --- the request ------------------------------------------------------------------------------------------------ */

/* Go's canonical form: Like-This. */
static struct str header_canonical(struct arena *a, struct str name)
{
    char *z = arena_strz(a, name);
    bool begin = true;
    for (size_t i = 0; i < name.n; i++) {
        if (begin && z[i] >= 'a' && z[i] <= 'z')
            z[i] = (char)(z[i] - 32);
        else if (!begin && z[i] >= 'A' && z[i] <= 'Z')
            z[i] = (char)(z[i] + 32);
        begin = z[i] == '-';
    }
    return (struct str){z, name.n};
}

static const struct str *header_find(const struct str *headers, size_t n, const char *name)
{
    for (size_t i = 0; i + 1 < n; i += 2)
        if (str_ieq(headers[i], str_of(name)))
            return &headers[i + 1];
    return NULL;
}

static void add_header(struct strbuf *b, const char *name, struct str value)
{
    strbuf_addf(b, "%s: ", name);
    for (size_t i = 0; i < value.n; i++) /* nobody ends a line but us */
        strbuf_addc(b, value.p[i] == '\r' || value.p[i] == '\n' ? ' ' : value.p[i]);
    strbuf_addz(b, "\r\n");
}

struct str probe_request(struct arena *a, const struct probe_url *u, const struct str *headers, size_t n,
                         const char *agent, const struct probe_url *from)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(2 * PROBE_HEAD_MOST);
    const struct str *host = header_find(headers, n, "Host"), *accept = header_find(headers, n, "Accept"),
                     *named = header_find(headers, n, "User-Agent");
    strbuf_addf(&b, "GET " STR_FMT, STR_ARG(u->path.n ? u->path : S("/")));
    if (u->query.p)
        strbuf_addf(&b, "?" STR_FMT, STR_ARG(u->query));
    strbuf_addz(&b, " HTTP/1.1\r\n");
    add_header(&b, "Host", host && host->n ? *host : without_user(u->authority));
    if (!named || named->n)
        add_header(&b, "User-Agent", named ? *named : str_of(agent));
    if (!accept)
        add_header(&b, "Accept", S("*/*"));
    for (size_t i = 0; i + 1 < n; i += 2) {
        struct str name = header_canonical(a, headers[i]);
        if (str_eqz(name, "Host") || str_eqz(name, "User-Agent") || (str_eqz(name, "Accept") && !accept->n) ||
            str_eqz(name, "Content-Length") || str_eqz(name, "Transfer-Encoding") || str_eqz(name, "Trailer") ||
            (str_eqz(name, "Connection") && str_ieq(headers[i + 1], S("close"))))
            continue;
        AUTO_FREE char *z = str_dupz(name);
        add_header(&b, z, headers[i + 1]);
    }
    if (from && !header_find(headers, n, "Referer") &&
        !(str_eqz(from->scheme, "https") && str_eqz(u->scheme, "http")))
        add_header(&b, "Referer", probe_url_text(a, from));
    strbuf_addz(&b, "Connection: close\r\n\r\n");
    return str_dup(a, strbuf_str(&b));
}

/* --- the answer ------------------------------------------------------------------------------------------------- */

#define ABOUT_MOST 1000 /* of a line that is not understood */

enum { STATUS_LINE, HEADERS, BODY, CHUNK_SIZE, CHUNK, CHUNK_END, TRAILERS, OVER, BROKE };

void probe_answer_begin(struct probe_answer_reader *r)
{
    *r = (struct probe_answer_reader){.line = STRBUF(PROBE_HEAD_MOST),
                                      .body = STRBUF(PROBE_BODY_MOST),
                                      .location = STRBUF(PROBE_HEAD_MOST),
                                      .about = STRBUF(ABOUT_MOST),
                                      .left = -1};
}

void probe_answer_fini(struct probe_answer_reader *r)
{
    strbuf_fini(&r->line);
    strbuf_fini(&r->body);
    strbuf_fini(&r->location);
    strbuf_fini(&r->about);
}

/* about: shown behind words that end with a space. */
static void reader_broke(struct probe_answer_reader *r, const char *why, struct str about)
{
    r->broken = why;
    strbuf_add(&r->about, str_sub(about, 0, ABOUT_MOST));
    r->in_head = r->phase <= HEADERS;
    r->phase = BROKE;
}

static void status_line(struct probe_answer_reader *r, struct str line)
{
    struct str proto, rest, code, reason;
    int64_t n;
    if (!str_split(line, ' ', &proto, &rest)) {
        reader_broke(r, "malformed HTTP response ", line);
        return;
    }
    while (rest.n && rest.p[0] == ' ')
        rest = str_sub(rest, 1, rest.n);
    (void)str_split(rest, ' ', &code, &reason);
    bool version = proto.n == 8 && str_starts(proto, S("HTTP/")) && proto.p[5] >= '0' && proto.p[5] <= '9' &&
                   proto.p[6] == '.' && proto.p[7] >= '0' && proto.p[7] <= '9';
    if (code.n != 3 || !str_to_i64(code, 0, 999, &n)) {
        reader_broke(r, "malformed HTTP status code ", code);
        return;
    }
    if (!version) {
        reader_broke(r, "malformed HTTP version ", proto);
        return;
    }
    r->http_1_0 = proto.p[5] < '1' || (proto.p[5] == '1' && proto.p[7] == '0');
    r->status = (int)n;
    r->phase = HEADERS;
    r->left = -1;
    r->chunked = false;
    strbuf_reset(&r->location);
}

static void head_over(struct probe_answer_reader *r)
{
    bool informal = r->status >= 100 && r->status < 200 && r->status != 101;
    if (informal)
        r->phase = STATUS_LINE;
    else if (r->status < 200 || r->status == 204 || r->status == 304 || (!r->chunked && r->left == 0))
        r->phase = OVER;
    else
        r->phase = r->chunked ? CHUNK_SIZE : BODY;
}

static void header_line(struct probe_answer_reader *r, struct str line)
{
    struct str name, value;
    if (!line.n) {
        head_over(r);
        return;
    }
    if (line.p[0] == ' ' || line.p[0] == '\t') /* goes on with the one before */
        return;
    if (!str_split(line, ':', &name, &value) || !name.n) {
        reader_broke(r, "malformed MIME header line: ", line);
        return;
    }
    value = str_trim(value);
    if (str_ieq(name, S("Location")) && !r->location.n) {
        strbuf_add(&r->location, value);
    } else if (str_ieq(name, S("Transfer-Encoding")) && !r->http_1_0) {
        if (!str_ieq(value, S("chunked"))) {
            reader_broke(r, "unsupported transfer encoding: ", value);
            return;
        }
        r->chunked = true;
    } else if (str_ieq(name, S("Content-Length")) && !str_to_i64(value, 0, INT64_MAX, &r->left)) {
        reader_broke(r, "bad Content-Length ", value);
    }
}

static void chunk_size(struct probe_answer_reader *r, struct str line)
{
    struct str size, extension;
    (void)str_split(line, ';', &size, &extension);
    size = str_trim(size);
    int64_t n = 0;
    for (size_t i = 0; i < size.n; i++) {
        if (hex_digit(size.p[i]) < 0 || i == 15) {
            reader_broke(r, i == 15 ? "http chunk length too large" : "invalid byte in chunk length", S(""));
            return;
        }
        n = n * 16 + hex_digit(size.p[i]);
    }
    if (!size.n) {
        reader_broke(r, "invalid byte in chunk length", S(""));
        return;
    }
    r->left = n;
    r->phase = n ? CHUNK : TRAILERS;
}

static void whole_line(struct probe_answer_reader *r)
{
    if (str_ends(strbuf_str(&r->line), S("\r")))
        r->line.p[--r->line.n] = 0;
    struct str line = strbuf_str(&r->line);
    switch (r->phase) {
    case STATUS_LINE: status_line(r, line); break;
    case HEADERS: header_line(r, line); break;
    case CHUNK_SIZE: chunk_size(r, line); break;
    case CHUNK_END:
        if (line.n)
            reader_broke(r, "malformed chunked encoding", S(""));
        else
            r->phase = CHUNK_SIZE;
        break;
    default:
        if (!line.n) /* TRAILERS */
            r->phase = OVER;
        break;
    }
    strbuf_reset(&r->line);
}

/* Some of the body at the front of the bytes; how many were taken. */
static size_t body_bytes(struct probe_answer_reader *r, struct str bytes)
{
    size_t n = r->left < 0 ? bytes.n : MIN((uint64_t)r->left, bytes.n);
    size_t room = PROBE_BODY_MOST - r->body.n;
    strbuf_add(&r->body, str_sub(bytes, 0, MIN(n, room)));
    if (r->left >= 0)
        r->left -= (int64_t)n;
    if (n >= room)
        r->phase = OVER; /* cut: nobody reads on */
    else if (r->left == 0)
        r->phase = r->phase == CHUNK ? CHUNK_END : OVER;
    return n;
}

static enum probe_read reader_reached(const struct probe_answer_reader *r)
{
    return r->phase == OVER ? PROBE_DONE : r->phase == BROKE ? PROBE_BROKEN : PROBE_MORE;
}

enum probe_read probe_answer_feed(struct probe_answer_reader *r, struct str bytes)
{
    r->any = r->any || bytes.n;
    for (size_t i = 0; i < bytes.n && r->phase != OVER && r->phase != BROKE;) {
        if (r->phase == BODY || r->phase == CHUNK) {
            i += body_bytes(r, str_sub(bytes, i, bytes.n));
            continue;
        }
        if (++r->seen > PROBE_HEAD_MOST) {
            reader_broke(r, "net/http: server response headers exceeded 65536 bytes; aborted", S(""));
        } else if (bytes.p[i] == '\n') {
            whole_line(r);
        } else {
            strbuf_addc(&r->line, bytes.p[i]);
        }
        i++;
    }
    return reader_reached(r);
}

enum probe_read probe_answer_end(struct probe_answer_reader *r)
{
    if (r->phase == BODY && r->left < 0)
        r->phase = OVER;
    else if (r->phase != OVER && r->phase != BROKE)
        reader_broke(r, r->any ? "unexpected EOF" : "EOF", S(""));
    return reader_reached(r);
}

struct str probe_answer_error(struct arena *a, const struct probe_answer_reader *r)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    if (r->in_head && r->any)
        strbuf_addz(&b, "net/http: HTTP/1.x transport connection broken: ");
    strbuf_addz(&b, r->broken);
    if (str_ends(str_of(r->broken), S(": ")))
        strbuf_add(&b, strbuf_str(&r->about));
    else if (str_ends(str_of(r->broken), S(" ")))
        add_quoted(&b, strbuf_str(&r->about));
    return str_dup(a, strbuf_str(&b));
}

bool probe_answer_head_over(const struct probe_answer_reader *r)
{
    return r->phase > HEADERS && r->phase < OVER;
}

bool probe_answer_redirects(const struct probe_answer_reader *r)
{
    int s = r->status;
    return s == 301 || s == 302 || s == 303 || s == 307 || s == 308;
}
