#include "wire/spdy.h"
#include "base/array.h"
#include <zlib.h>

#define CONTROL_MOST 65536 /* payload of a control frame */
#define BLOCK_MOST   65536 /* a header block, inflated */
#define FIELDS_MOST  100   /* of a header block */
#define DATA_FRAME   32768 /* what we send at most in one */
#define WINDOW       65536 /* initial, both ways (draft 2.6.8) */
#define STREAMS_MOST 1000

enum { SYN_STREAM = 1, SYN_REPLY, RST_STREAM, SETTINGS, PING = 6, GOAWAY, HEADERS, WINDOW_UPDATE };
enum { FIN = 1, UNIDIRECTIONAL = 2 };
enum { PROTOCOL_ERROR = 1, INVALID_STREAM = 2, REFUSED_STREAM = 3, STREAM_IN_USE = 8 };
enum { SETTINGS_INITIAL_WINDOW_SIZE = 7 };

struct spdy_stream {
    uint32_t id;
    bool we_ended, they_ended, starved; /* starved: the window was seen shut */
    int64_t window;                     /* bytes we may send */
    size_t eaten;                       /* bytes consumed and not yet given back */
};
struct spdy {
    struct spdy_config c;
    struct strbuf out;
    struct strbuf kept; /* a frame's head and a control frame's payload, until whole */
    ARRAY(struct spdy_stream) streams;
    uint32_t last_theirs, next_ours;
    uint32_t data_stream; /* of the data frame being read */
    size_t data_left;
    bool in_data, data_fin, broken, windows, going;
    int64_t initial_window, session_window;
    size_t session_eaten;
    z_stream inflate, deflate;
};

/* Draft 2.6.10.1: length-prefixed words, then plain text. */
static const char *const words[] = {
    "options",
    "head",
    "post",
    "put",
    "delete",
    "trace",
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "connection",
    "content-base",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "retry-after",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "method",
    "get",
    "status",
    "200 OK",
    "version",
    "HTTP/1.1",
    "url",
    "public",
    "set-cookie",
    "keep-alive",
    "origin",
};
static const char text[] =
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 "
    "Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 "
    "Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr "
    "May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,"
    "image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,public"
    "privatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

static void u32_add(struct strbuf *b, uint32_t v)
{
    char p[4] = {(char)(v >> 24), (char)(v >> 16), (char)(v >> 8), (char)v};
    strbuf_add(b, (struct str){p, 4});
}

static uint32_t u32_get(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;
    return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

static void dictionary_write(struct strbuf *b)
{
    for (size_t i = 0; i < countof(words); i++) {
        u32_add(b, (uint32_t)strlen(words[i]));
        strbuf_addz(b, words[i]);
    }
    strbuf_addz(b, text);
}

struct spdy *spdy_new(const struct spdy_config *c)
{
    struct spdy *s = NEW(struct spdy);
    s->c = *c;
    s->c.streams_most = c->streams_most ? c->streams_most : STREAMS_MOST;
    s->out = STRBUF(256u << 20); /* what is sent and not taken is bounded by the caller's transport */
    s->kept = STRBUF(CONTROL_MOST + 8);
    s->next_ours = c->server ? 2 : 1;
    s->initial_window = s->session_window = WINDOW;
    AUTO(strbuf_fini) struct strbuf d = STRBUF(4096);
    dictionary_write(&d);
    /* a window of 2 KiB holds the dictionary; kubectl's inflater takes any */
    ASSERT(inflateInit(&s->inflate) == Z_OK &&
           deflateInit2(&s->deflate, Z_BEST_SPEED, Z_DEFLATED, 11, 1, Z_DEFAULT_STRATEGY) == Z_OK &&
           deflateSetDictionary(&s->deflate, (const Bytef *)d.p, (uInt)d.n) == Z_OK);
    return s;
}

void spdy_free(struct spdy *s)
{
    if (!s)
        return;
    (void)inflateEnd(&s->inflate);
    (void)deflateEnd(&s->deflate);
    strbuf_fini(&s->out);
    strbuf_fini(&s->kept);
    array_fini(&s->streams);
    mem_free(s);
}

static void no_opened(struct spdy *s, uint32_t id, UNUSED const struct http_headers *h)
{
    spdy_reset(s, id, REFUSED_STREAM);
}
static void no_data(UNUSED struct spdy *s, UNUSED uint32_t id, UNUSED struct str bytes)
{
    /* dropped */
}
static void no_stream(UNUSED struct spdy *s, UNUSED uint32_t id)
{
    /* nobody is told */
}
static void no_reset(UNUSED struct spdy *s, UNUSED uint32_t id, UNUSED int status)
{
    /* nobody is told */
}

void spdy_mute(struct spdy *s)
{
    s->c.fns = (struct spdy_fns){
        .opened = no_opened, .data = no_data, .ended = no_stream, .reset = no_reset, .room = no_stream};
}

void *spdy_arg(const struct spdy *s)
{
    return s->c.arg;
}

struct strbuf *spdy_output(struct spdy *s)
{
    return &s->out;
}

static struct spdy_stream *stream_find(const struct spdy *s, uint32_t id)
{
    array_each (t, &s->streams)
        if (t->id == id)
            return t;
    return NULL;
}

static void stream_forget(struct spdy *s, uint32_t id)
{
    struct spdy_stream *t = stream_find(s, id);
    if (t)
        array_del(&s->streams, t - s->streams.p);
}

static void forget_if_over(struct spdy *s, uint32_t id)
{
    struct spdy_stream *t = stream_find(s, id);
    if (t && t->we_ended && t->they_ended)
        stream_forget(s, id);
}

/* ---- writing */

static void control_send(struct spdy *s, int type, int flags, struct str payload)
{
    u32_add(&s->out, 0x80030000u | (uint32_t)type);
    u32_add(&s->out, (uint32_t)flags << 24 | (uint32_t)payload.n);
    strbuf_add(&s->out, payload);
}

static void control32_send(struct spdy *s, int type, uint32_t a, uint32_t b, bool two)
{
    AUTO(strbuf_fini) struct strbuf p = STRBUF(8);
    u32_add(&p, a);
    if (two)
        u32_add(&p, b);
    control_send(s, type, 0, strbuf_str(&p));
}

static void add_block(struct spdy *s, const struct http_headers *h, struct strbuf *out)
{
    AUTO(strbuf_fini) struct strbuf plain = STRBUF(BLOCK_MOST);
    u32_add(&plain, h ? (uint32_t)h->n : 0);
    for (size_t i = 0; h && i < h->n; i++) {
        u32_add(&plain, (uint32_t)h->p[i].name.n);
        for (size_t k = 0; k < h->p[i].name.n; k++) {
            char c = h->p[i].name.p[k];
            strbuf_addc(&plain, c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c);
        }
        u32_add(&plain, (uint32_t)h->p[i].value.n);
        strbuf_add(&plain, h->p[i].value);
    }
    ASSERT(!plain.over);
    s->deflate.next_in = (Bytef *)plain.p;
    s->deflate.avail_in = (uInt)plain.n;
    do {
        char room[4096];
        s->deflate.next_out = (Bytef *)room;
        s->deflate.avail_out = sizeof room;
        (void)deflate(&s->deflate, Z_SYNC_FLUSH);
        strbuf_add(out, (struct str){room, sizeof room - s->deflate.avail_out});
    } while (s->deflate.avail_out == 0);
}

uint32_t spdy_open(struct spdy *s, const struct http_headers *headers, bool end)
{
    if (s->next_ours > 0x7fffffff || s->broken || s->going)
        return 0;
    uint32_t id = s->next_ours;
    s->next_ours += 2;
    AUTO(strbuf_fini) struct strbuf p = STRBUF(CONTROL_MOST);
    u32_add(&p, id);
    u32_add(&p, 0);
    strbuf_add(&p, (struct str){"\0\0", 2});
    add_block(s, headers, &p);
    control_send(s, SYN_STREAM, end ? FIN : 0, strbuf_str(&p));
    array_push(&s->streams, ((struct spdy_stream){.id = id, .we_ended = end, .window = s->initial_window}));
    return id;
}

void spdy_reply(struct spdy *s, uint32_t id, const struct http_headers *headers, bool end)
{
    struct spdy_stream *t = stream_find(s, id);
    if (!t)
        return;
    AUTO(strbuf_fini) struct strbuf p = STRBUF(CONTROL_MOST);
    u32_add(&p, id);
    add_block(s, headers, &p);
    control_send(s, SYN_REPLY, end ? FIN : 0, strbuf_str(&p));
    t->we_ended |= end;
    forget_if_over(s, id);
}

size_t spdy_room(const struct spdy *s, uint32_t id)
{
    struct spdy_stream *t = stream_find(s, id);
    if (!t || t->we_ended || s->broken)
        return 0;
    if (!s->windows)
        return SPDY_CHUNK;
    int64_t room = MIN(t->window, s->session_window);
    t->starved |= room <= 0;
    return room > 0 ? (size_t)room : 0;
}

void spdy_send(struct spdy *s, uint32_t id, struct str bytes)
{
    struct spdy_stream *t = stream_find(s, id);
    if (!t || t->we_ended)
        return;
    if (s->windows) {
        ASSERT((int64_t)bytes.n <= MIN(t->window, s->session_window));
        t->window -= (int64_t)bytes.n;
        s->session_window -= (int64_t)bytes.n;
    }
    while (bytes.n) {
        struct str part = str_sub(bytes, 0, MIN(bytes.n, (size_t)DATA_FRAME));
        u32_add(&s->out, id);
        u32_add(&s->out, (uint32_t)part.n);
        strbuf_add(&s->out, part);
        bytes = str_sub(bytes, part.n, bytes.n);
    }
}

void spdy_end(struct spdy *s, uint32_t id)
{
    struct spdy_stream *t = stream_find(s, id);
    if (!t || t->we_ended)
        return;
    u32_add(&s->out, id);
    u32_add(&s->out, (uint32_t)FIN << 24);
    t->we_ended = true;
    forget_if_over(s, id);
}

void spdy_reset(struct spdy *s, uint32_t id, int status)
{
    if (!stream_find(s, id))
        return;
    stream_forget(s, id);
    control32_send(s, RST_STREAM, id, (uint32_t)status, true);
}

void spdy_consumed(struct spdy *s, uint32_t id, size_t n)
{
    if (!s->windows)
        return;
    struct spdy_stream *t = stream_find(s, id);
    s->session_eaten += n;
    if (s->session_eaten >= WINDOW / 2) {
        control32_send(s, WINDOW_UPDATE, 0, (uint32_t)s->session_eaten, true);
        s->session_eaten = 0;
    }
    if (t && !t->they_ended && (t->eaten += n) >= WINDOW / 2) {
        control32_send(s, WINDOW_UPDATE, id, (uint32_t)t->eaten, true);
        t->eaten = 0;
    }
}

void spdy_goaway(struct spdy *s)
{
    if (!s->going)
        control32_send(s, GOAWAY, s->last_theirs, 0, true);
    s->going = true;
}

/* ---- reading */

static bool session_broken(struct spdy *s, struct err *err, const char *why)
{
    s->broken = true;
    control32_send(s, GOAWAY, s->last_theirs, PROTOCOL_ERROR, true);
    return err_set(err, E_BAD_REQUEST, "SPDY: %s", why);
}

/* Inflates even what is not wanted: the blocks of a session are one stream to zlib. */
static bool inflate_block(struct spdy *s, struct str in, struct strbuf *out, struct err *err)
{
    s->inflate.next_in = (Bytef *)(uintptr_t)in.p;
    s->inflate.avail_in = (uInt)in.n;
    for (;;) {
        char room[4096];
        s->inflate.next_out = (Bytef *)room;
        s->inflate.avail_out = sizeof room;
        int rc = inflate(&s->inflate, Z_SYNC_FLUSH);
        if (rc == Z_NEED_DICT) {
            AUTO(strbuf_fini) struct strbuf d = STRBUF(4096);
            dictionary_write(&d);
            if (inflateSetDictionary(&s->inflate, (const Bytef *)d.p, (uInt)d.n) != Z_OK)
                return session_broken(s, err, "a header block of another dictionary");
            continue;
        }
        if (rc != Z_OK && rc != Z_BUF_ERROR)
            return session_broken(s, err, "a malformed header block");
        strbuf_add(out, (struct str){room, sizeof room - s->inflate.avail_out});
        if (out->over)
            return session_broken(s, err, "a header block is too large");
        if (s->inflate.avail_out)
            return true; /* all of it is here */
    }
}

static bool cut_text(struct str *in, struct str *out)
{
    if (in->n < 4 || u32_get(in->p) > in->n - 4)
        return false;
    uint32_t n = u32_get(in->p);
    *out = str_sub(*in, 4, 4 + (size_t)n);
    *in = str_sub(*in, 4 + (size_t)n, in->n);
    return true;
}

static bool read_block(struct spdy *s, struct str in, struct arena *a, struct http_headers *h, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf plain = STRBUF(BLOCK_MOST);
    if (!inflate_block(s, in, &plain, err))
        return false;
    struct str rest = strbuf_str(&plain), name, value, part;
    if (rest.n < 4 || u32_get(rest.p) > FIELDS_MOST)
        return session_broken(s, err, "a malformed header block");
    uint32_t n = u32_get(rest.p);
    rest = str_sub(rest, 4, rest.n);
    while (n--) {
        if (!cut_text(&rest, &name) || !cut_text(&rest, &value) || name.n == 0)
            return session_broken(s, err, "a malformed header block");
        while (str_cut(&value, 0, &part)) /* several values of one name are parted by NUL */
            http_header_add(a, h, name, part);
    }
    return true;
}

static bool syn_stream(struct spdy *s, struct str p, int flags, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct http_headers h = {0};
    if (p.n < 10)
        return session_broken(s, err, "a SYN_STREAM that is too short");
    uint32_t id = u32_get(p.p) & 0x7fffffff;
    if (!read_block(s, str_sub(p, 10, p.n), &a, &h, err))
        return false;
    bool theirs = id % 2 == (s->c.server ? 1 : 0);
    if (!theirs || id <= s->last_theirs || id == 0)
        return session_broken(s, err, "a SYN_STREAM with a number that cannot be");
    s->last_theirs = id;
    size_t open = 0;
    array_each (t, &s->streams)
        open += t->id % 2 == id % 2;
    if (open >= s->c.streams_most || s->going) {
        control32_send(s, RST_STREAM, id, REFUSED_STREAM, true);
        return true;
    }
    array_push(
        &s->streams,
        ((struct spdy_stream){
            .id = id, .we_ended = flags & UNIDIRECTIONAL, .they_ended = flags & FIN, .window = s->initial_window}));
    s->c.fns.opened(s, id, &h);
    if (flags & FIN && stream_find(s, id))
        s->c.fns.ended(s, id);
    forget_if_over(s, id);
    return true;
}

static void they_end(struct spdy *s, uint32_t id)
{
    struct spdy_stream *t = stream_find(s, id);
    if (!t || t->they_ended)
        return;
    t->they_ended = true;
    s->c.fns.ended(s, id);
    forget_if_over(s, id);
}

static bool reply_or_headers(struct spdy *s, struct str p, int type, int flags, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct http_headers h = {0};
    if (p.n < 4)
        return session_broken(s, err, "a SYN_REPLY that is too short");
    uint32_t id = u32_get(p.p) & 0x7fffffff;
    if (!read_block(s, str_sub(p, 4, p.n), &a, &h, err))
        return false;
    if (stream_find(s, id) && type == SYN_REPLY && s->c.fns.replied)
        s->c.fns.replied(s, id, &h);
    if (flags & FIN)
        they_end(s, id);
    return true;
}

static bool settings_take(struct spdy *s, struct str p, struct err *err)
{
    if (p.n < 4 || (p.n - 4) / 8 < u32_get(p.p))
        return session_broken(s, err, "malformed SETTINGS");
    for (uint32_t i = 0, n = u32_get(p.p); i < n; i++) {
        const char *at = p.p + 4 + (size_t)i * 8;
        uint32_t value = u32_get(at + 4);
        if ((u32_get(at) & 0xffffff) != SETTINGS_INITIAL_WINDOW_SIZE || value > INT32_MAX)
            continue;
        if (s->c.no_windows)
            continue;
        s->windows = true;
        array_each (t, &s->streams)
            t->window += (int64_t)value - s->initial_window;
        s->initial_window = value;
    }
    return true;
}

static bool window_update(struct spdy *s, struct str p, struct err *err)
{
    if (p.n < 8)
        return session_broken(s, err, "malformed WINDOW_UPDATE");
    uint32_t id = u32_get(p.p) & 0x7fffffff, delta = u32_get(p.p + 4) & 0x7fffffff;
    if (!s->windows)
        return true;
    struct spdy_stream *one = id ? stream_find(s, id) : NULL;
    int64_t *window = id == 0 ? &s->session_window : one ? &one->window : NULL;
    if (window && (*window += delta) > INT32_MAX)
        return session_broken(s, err, "a window over 2 GiB");
    for (size_t i = 0; i < s->streams.n; i++) {
        struct spdy_stream *t = &s->streams.p[i];
        uint32_t of = t->id;
        if (!t->starved || (id && of != id) || MIN(t->window, s->session_window) <= 0)
            continue;
        t->starved = false;
        s->c.fns.room(s, of); /* may end streams: those moved up are seen by the next update */
    }
    return true;
}

static bool control_came(struct spdy *s, struct err *err)
{
    const char *p = s->kept.p;
    uint32_t head = u32_get(p), size = u32_get(p + 4);
    int type = (int)(head & 0xffff), flags = (int)(size >> 24);
    struct str body = {p + 8, size & 0xffffff};
    uint32_t id = body.n >= 4 ? u32_get(body.p) & 0x7fffffff : 0;
    switch (type) {
    case SYN_STREAM: return syn_stream(s, body, flags, err);
    case SYN_REPLY:
    case HEADERS: return reply_or_headers(s, body, type, flags, err);
    case SETTINGS: return settings_take(s, body, err);
    case WINDOW_UPDATE: return window_update(s, body, err);
    case RST_STREAM:
        if (body.n < 8)
            return session_broken(s, err, "malformed RST_STREAM");
        if (stream_find(s, id)) {
            stream_forget(s, id);
            s->c.fns.reset(s, id, (int)u32_get(body.p + 4));
        }
        return true;
    case PING:
        if (body.n < 4)
            return session_broken(s, err, "malformed PING");
        if (u32_get(body.p) % 2 == (s->c.server ? 1 : 0)) /* theirs: back to them */
            control32_send(s, PING, u32_get(body.p), 0, false);
        return true;
    case GOAWAY:
        s->going = true;
        if (s->c.fns.goaway)
            s->c.fns.goaway(s);
        return true;
    default: return true; /* draft 2.2.1: unknown types are passed over */
    }
}

/* A piece of a data frame. */
static void data_came(struct spdy *s, struct str *bytes)
{
    struct str part = str_sub(*bytes, 0, MIN(bytes->n, s->data_left));
    uint32_t id = s->data_stream;
    *bytes = str_sub(*bytes, part.n, bytes->n);
    s->data_left -= part.n;
    s->in_data = s->data_left > 0;
    struct spdy_stream *t = stream_find(s, id);
    if (part.n && t && !t->they_ended)
        s->c.fns.data(s, id, part);
    else if (part.n)
        spdy_consumed(s, id, part.n); /* of the session's window it counts all the same */
    if (!s->in_data && s->data_fin)
        they_end(s, id);
}

static bool head_came(struct spdy *s, struct err *err)
{
    uint32_t head = u32_get(s->kept.p), size = u32_get(s->kept.p + 4);
    if (head & 0x80000000) {
        if ((head >> 16 & 0x7fff) != 3)
            return session_broken(s, err, "a frame of another version than 3");
        if ((size & 0xffffff) > CONTROL_MOST)
            return session_broken(s, err, "a control frame that is too large");
        return true;
    }
    s->data_stream = head;
    s->data_left = size & 0xffffff;
    s->data_fin = size >> 24 & FIN;
    s->in_data = true;
    strbuf_reset(&s->kept);
    struct spdy_stream *t = stream_find(s, head);
    bool never = head % 2 == (s->c.server ? 1 : 0) ? head > s->last_theirs : head >= s->next_ours;
    if (!t && (never || head == 0))
        return session_broken(s, err, "data of a stream that was never opened");
    return true;
}

bool spdy_read(struct spdy *s, struct str bytes, struct err *err)
{
    if (s->broken)
        return err_set(err, E_BAD_REQUEST, "SPDY: the session is broken");
    while (bytes.n || (s->in_data && s->data_left == 0)) {
        if (s->in_data) {
            data_came(s, &bytes);
            continue;
        }
        size_t want = s->kept.n < 8 ? 8 : 8 + (u32_get(s->kept.p + 4) & 0xffffff);
        struct str part = str_sub(bytes, 0, MIN(bytes.n, want - s->kept.n));
        strbuf_add(&s->kept, part);
        bytes = str_sub(bytes, part.n, bytes.n);
        if (want == 8 && s->kept.n == 8) {
            if (!head_came(s, err))
                return false;
            if (s->in_data)
                continue;
            want = 8 + (u32_get(s->kept.p + 4) & 0xffffff);
        }
        if (s->kept.n < 8 || s->kept.n < want)
            continue;
        bool ok = control_came(s, err);
        strbuf_fini(&s->kept); /* a session at rest keeps none */
        s->kept = STRBUF(CONTROL_MOST + 8);
        if (!ok)
            return false;
    }
    return true;
}
