#include "wire/websocket.h"
#include "sys/crypto.h"
#include <wslay/wslay.h>

#define MESSAGE_MOST (1u << 20)
#define FINISH       (60 * NS_PER_S)
#define REPLIES_MOST (1u << 20) /* bytes not taken yet above which nothing is read that would be answered: pings */
#define GUID         "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455 1.3 */

struct websocket {
    struct stream *stream;
    wslay_event_context_ptr ctx;
    const struct websocket_fns *fns;
    void *arg;
    struct str rest; /* of the bytes at hand */
    char protocol[64];
    struct timer timer;
    int64_t ping_ns;
    bool client, paused, freed, closed_told, heard, finishing;
    bool choked;          /* too much waits for the other side */
    size_t finish_queued; /* when the timer was set */
    int quiet;            /* pings without a byte since */
    int busy;
    int close_code;
    char close_reason[128];
};
struct websocket_dial {
    struct http_call *call;
    struct websocket_config config;
    const struct websocket_fns *fns;
    void *arg;
    void (*opened)(struct websocket *w, const struct http_answer *refused, struct err *err, void *arg);
    char accept[32];
};

/* ---- wslay's side */

static ssize_t give_bytes(wslay_event_context_ptr ctx, uint8_t *to, size_t size, UNUSED int flags, void *arg)
{
    struct websocket *w = arg;
    if (w->freed || w->paused || w->rest.n == 0) {
        wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    size_t n = MIN(size, w->rest.n);
    memcpy(to, w->rest.p, n);
    w->rest = str_sub(w->rest, n, w->rest.n);
    return (ssize_t)n;
}

static ssize_t take_bytes(UNUSED wslay_event_context_ptr ctx, const uint8_t *p, size_t n, UNUSED int flags, void *arg)
{
    struct websocket *w = arg;
    if (w->stream)
        stream_write(w->stream, (struct str){(const char *)p, n});
    return (ssize_t)n;
}

static int make_mask(UNUSED wslay_event_context_ptr ctx, uint8_t *p, size_t n, UNUSED void *arg)
{
    random_bytes(p, n);
    return 0;
}

static void message_came(UNUSED wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *m, void *arg)
{
    struct websocket *w = arg;
    struct str text = {(const char *)m->msg, m->msg_length};
    if (w->freed)
        return;
    if (m->opcode == WSLAY_CONNECTION_CLOSE) {
        w->close_code = m->status_code ? m->status_code : 1005;
        text = text.n >= 2 ? str_sub(text, 2, text.n) : S("");
        (void)snprintf(w->close_reason, sizeof w->close_reason, STR_FMT, STR_ARG(text));
    } else if (!wslay_is_ctrl_frame(m->opcode)) {
        w->fns->message(w, m->opcode == WSLAY_TEXT_FRAME ? WEBSOCKET_TEXT : WEBSOCKET_BINARY, text);
    }
}

static const struct wslay_event_callbacks wslay_callbacks = {
    .recv_callback = give_bytes,
    .send_callback = take_bytes,
    .genmask_callback = make_mask,
    .on_msg_recv_callback = message_came,
};

/* ---- the stream's side */

static void socket_release(struct websocket *w)
{
    wslay_event_context_free(w->ctx);
    mem_free(w);
}

static bool socket_back(struct websocket *w)
{
    w->busy--;
    if (w->freed && w->busy == 0) {
        socket_release(w);
        return false;
    }
    return !w->freed;
}

static void tell_closed(struct websocket *w, int code, struct str reason)
{
    if (w->closed_told || w->freed)
        return;
    w->closed_told = true;
    timer_stop(&w->timer);
    if (w->stream)
        stream_close(TAKE(w->stream)); /* our half of the goodbye still goes out */
    w->busy++;
    w->fns->closed(w, code, reason);
    (void)socket_back(w);
}

static void data_came(struct stream *s, struct str bytes)
{
    struct websocket *w = stream_arg(s);
    w->rest = bytes;
    w->heard = true;
    w->busy++;
    int bad = wslay_event_recv(w->ctx);
    if (!w->freed)
        (void)wslay_event_send(w->ctx); /* pongs, the answer to a goodbye */
    struct str rest = w->rest;
    w->rest = S("");
    if (!socket_back(w))
        return;
    if (w->close_code) {
        tell_closed(w, w->close_code, str_of(w->close_reason));
        return;
    }
    if (bad || !wslay_event_want_read(w->ctx) || (wslay_event_get_close_sent(w->ctx) && !w->finishing)) {
        tell_closed(w, wslay_event_get_status_code_sent(w->ctx),
                    S("the other side broke the protocol or its limits"));
        return;
    }
    if (rest.n)
        stream_unread(s, rest);
    if (w->stream && stream_queued(w->stream) > REPLIES_MOST) {
        w->choked = true;
        stream_read_pause(w->stream, true);
    }
}

static void stream_drained(struct stream *s)
{
    struct websocket *w = stream_arg(s);
    if (w->choked) {
        w->choked = false;
        stream_read_pause(s, w->paused);
    }
    if (w->fns->drained)
        w->fns->drained(w);
}

static void stream_ended(struct stream *s)
{
    tell_closed(stream_arg(s), 1006, S("the other side closed the connection without a goodbye"));
}

static void stream_broken(struct stream *s, struct err *err)
{
    struct websocket *w = stream_arg(s);
    struct err copy = *err;
    stream_free(TAKE(w->stream));
    tell_closed(w, 1006, str_of(copy.text));
}

static const struct stream_fns stream_fns = {NULL, data_came, stream_drained, stream_ended, stream_broken};

static void socket_ping(struct timer *t)
{
    struct websocket *w = container_of(t, struct websocket, timer);
    w->quiet = w->heard ? 0 : w->quiet + 1;
    w->heard = false;
    if (w->quiet >= 2 && !w->paused) {
        tell_closed(w, 1006, S("no answer to pings"));
        return;
    }
    (void)wslay_event_queue_msg(w->ctx, &(struct wslay_event_msg){.opcode = WSLAY_PING});
    (void)wslay_event_send(w->ctx);
    timer_set(t, w->ping_ns);
}

static struct websocket *websocket_new(struct stream *own_s, bool client, const struct websocket_config *c,
                                       struct str protocol, const struct websocket_fns *fns, void *arg)
{
    struct websocket *w = NEW(struct websocket);
    *w = (struct websocket){.stream = own_s, .fns = fns, .arg = arg, .client = client, .heard = true};
    int bad = client ? wslay_event_context_client_init(&w->ctx, &wslay_callbacks, w)
                     : wslay_event_context_server_init(&w->ctx, &wslay_callbacks, w);
    ASSERT(bad == 0);
    wslay_event_config_set_max_recv_msg_length(w->ctx, c && c->message_most ? c->message_most : MESSAGE_MOST);
    (void)snprintf(w->protocol, sizeof w->protocol, STR_FMT, STR_ARG(protocol));
    timer_init(&w->timer, stream_loop(own_s), socket_ping);
    w->ping_ns = c ? c->ping_ns : 0;
    if (w->ping_ns)
        timer_set(&w->timer, w->ping_ns);
    stream_fns_set(own_s, &stream_fns, w);
    return w;
}

/* ---- the handshake */

static void accept_value(struct str key, struct strbuf *out)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(256);
    uint8_t md[20];
    strbuf_add(&text, key);
    strbuf_addz(&text, GUID);
    sha1_of(strbuf_str(&text), md);
    strbuf_add_base64(out, md, sizeof md);
}

bool websocket_wanted(const struct http_request *r)
{
    return str_eq(r->method, S("GET")) && http_header_token(&r->headers, S("Connection"), S("upgrade")) &&
           http_header_token(&r->headers, S("Upgrade"), S("websocket"));
}

static struct str protocol_choose(const struct http_headers *h, const char *const *ours)
{
    const char *chosen = ours ? http_header_choose(h, S("Sec-WebSocket-Protocol"), ours) : NULL;
    return chosen ? str_of(chosen) : S("");
}

static void request_refuse(struct http_request *r, int status, struct str why)
{
    http_respond(r, status, S("text/plain; charset=utf-8"), why);
}

static void refuse_protocols(struct http_request *r, const char *const *ours)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    strbuf_addz(&b, "none of the offered WebSocket protocols is spoken here; these are:");
    for (; ours && *ours; ours++)
        strbuf_addf(&b, " %s", *ours);
    strbuf_addc(&b, '\n');
    request_refuse(r, 403, strbuf_str(&b));
}

static bool key_ok(struct str key)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(64);
    return strbuf_add_unbase64(&b, key) && b.n == 16;
}

struct websocket *websocket_accept(struct http_request *r, const struct websocket_config *c,
                                   const struct websocket_fns *fns, void *arg)
{
    struct str key = http_header(&r->headers, S("Sec-WebSocket-Key"));
    const char *const *ours = c ? c->protocols : NULL;
    struct str protocol = protocol_choose(&r->headers, ours);
    if (!websocket_wanted(r) || !key_ok(key)) {
        request_refuse(r, 400, S("a WebSocket handshake is wanted here (RFC 6455 4.1)\n"));
        return NULL;
    }
    if (!str_eq(http_header(&r->headers, S("Sec-WebSocket-Version")), S("13"))) {
        http_set(r, S("Sec-WebSocket-Version"), S("13"));
        request_refuse(r, 426, S("only version 13 of WebSocket is spoken here\n"));
        return NULL;
    }
    if (!protocol.n && http_header_has(&r->headers, S("Sec-WebSocket-Protocol"))) {
        refuse_protocols(r, ours);
        return NULL;
    }
    AUTO(strbuf_fini) struct strbuf accept = STRBUF(64);
    accept_value(key, &accept);
    http_set(r, S("Sec-WebSocket-Accept"), strbuf_str(&accept));
    if (protocol.n)
        http_set(r, S("Sec-WebSocket-Protocol"), protocol);
    struct stream *s = http_upgrade(r, S("websocket"));
    return s ? websocket_new(s, false, c, protocol, fns, arg) : NULL;
}

static void dial_ended(struct websocket_dial *d, struct websocket *w, const struct http_answer *refused,
                       struct err *err)
{
    d->opened(w, refused, err, d->arg);
    mem_free(d);
}

static void dial_upgraded(struct http_call *k, const struct http_answer *a, struct stream *own_s)
{
    struct websocket_dial *d = http_call_arg(k);
    struct err err = ERR;
    struct str protocol = http_header(&a->headers, S("Sec-WebSocket-Protocol")), chosen = S("");
    for (const char *const *p = d->config.protocols; p && *p; p++)
        if (str_eq(protocol, str_of(*p)))
            chosen = protocol;
    bool agreed = str_eq(http_header(&a->headers, S("Sec-WebSocket-Accept")), str_of(d->accept));
    if (!agreed || chosen.n != protocol.n) {
        stream_free(own_s);
        (void)err_set(&err, E_UNAVAILABLE, "WebSocket: the server's handshake %s",
                      agreed ? "names a protocol that was not offered" : "does not answer ours");
        dial_ended(d, NULL, NULL, &err);
        return;
    }
    dial_ended(d, websocket_new(own_s, true, &d->config, chosen, d->fns, d->arg), NULL, &err);
}

static void dial_done(struct http_call *k, const struct http_answer *a, struct err *err)
{
    struct err copy = *err;
    if (a)
        (void)err_set(&copy, err_kind_of(S(""), a->status), "WebSocket refused with %d %s: " STR_FMT, a->status,
                      http_reason(a->status), STR_ARG(str_trim(str_sub(a->body, 0, 500))));
    dial_ended(http_call_arg(k), NULL, a, &copy);
}

static const struct http_call_fns dial_fns = {.upgraded = dial_upgraded, .done = dial_done};

struct websocket_dial *
websocket_connect(struct http_client *c, struct str target, const struct http_headers *headers,
                  const struct websocket_config *config, const struct websocket_fns *fns, void *arg,
                  void (*opened)(struct websocket *w, const struct http_answer *refused, struct err *err, void *arg))
{
    struct websocket_dial *d = NEW(struct websocket_dial);
    *d = (struct websocket_dial){.fns = fns, .arg = arg, .opened = opened};
    if (config)
        d->config = *config;
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini)
    struct strbuf key = STRBUF(64), accept = STRBUF(sizeof d->accept - 1), list = STRBUF(STRBUF_TEXT);
    uint8_t chance[16];
    random_bytes(chance, sizeof chance);
    strbuf_add_base64(&key, chance, sizeof chance);
    accept_value(strbuf_str(&key), &accept);
    memcpy(d->accept, accept.p, accept.n);
    struct http_headers h = {0};
    for (size_t i = 0; headers && i < headers->n; i++)
        http_header_add(&a, &h, headers->p[i].name, headers->p[i].value);
    http_header_add(&a, &h, S("Sec-WebSocket-Key"), strbuf_str(&key));
    http_header_add(&a, &h, S("Sec-WebSocket-Version"), S("13"));
    for (const char *const *p = d->config.protocols; p && *p; p++)
        strbuf_addf(&list, "%s%s", list.n ? ", " : "", *p);
    if (list.n)
        http_header_add(&a, &h, S("Sec-WebSocket-Protocol"), strbuf_str(&list));
    struct http_outgoing o = {.method = S("GET"), .target = target, .headers = &h, .upgrade = S("websocket")};
    d->call = http_send(c, &o, &dial_fns, d);
    return d;
}

void websocket_dial_cancel(struct websocket_dial *d)
{
    if (!d)
        return;
    http_cancel(d->call);
    mem_free(d);
}

/* ---- what users call */

void *websocket_arg(const struct websocket *w)
{
    return w->arg;
}

struct loop *websocket_loop(const struct websocket *w)
{
    return stream_loop(w->stream);
}

struct str websocket_protocol(const struct websocket *w)
{
    return str_of(w->protocol);
}

/* Data frames are written straight to the stream (RFC 6455 5.2): one copy, no queue of wslay's in between. */
void websocket_send2(struct websocket *w, int kind, struct str first, struct str second)
{
    if (!w->stream || wslay_event_get_close_sent(w->ctx))
        return;
    uint8_t head[14] = {(uint8_t)(0x80 | kind)}, mask[4];
    uint64_t n = first.n + second.n;
    size_t at = 2;
    int width = n < 126 ? 0 : n < 65536 ? 2 : 8;
    head[1] = (uint8_t)((w->client ? 0x80 : 0) | (width == 0 ? (int)n : width == 2 ? 126 : 127));
    for (int i = width - 1; i >= 0; i--)
        head[at++] = (uint8_t)(n >> 8 * i);
    if (w->client) {
        random_bytes(mask, sizeof mask);
        memcpy(head + at, mask, sizeof mask);
        at += sizeof mask;
    }
    stream_write(w->stream, (struct str){(char *)head, at});
    if (!w->client) {
        stream_write(w->stream, first);
        stream_write(w->stream, second);
        return;
    }
    size_t i = 0;
    for (struct str part = first; i < n; part = second) {
        char room[4096];
        while (part.n) {
            size_t piece = MIN(part.n, sizeof room);
            for (size_t k = 0; k < piece; k++, i++)
                room[k] = (char)(part.p[k] ^ (char)mask[i % 4]);
            stream_write(w->stream, (struct str){room, piece});
            part = str_sub(part, piece, part.n);
        }
    }
}

void websocket_send(struct websocket *w, int kind, struct str bytes)
{
    websocket_send2(w, kind, bytes, S(""));
}

size_t websocket_queued(const struct websocket *w)
{
    return w->stream ? stream_queued(w->stream) : 0;
}

bool websocket_over_high(const struct websocket *w)
{
    return w->stream && stream_over_high(w->stream);
}

void websocket_pause(struct websocket *w, bool pause)
{
    w->paused = pause;
    if (w->stream)
        stream_read_pause(w->stream, pause || w->choked);
}

void websocket_close(struct websocket *w, int code, struct str reason)
{
    if (w->stream &&
        wslay_event_queue_close(w->ctx, (uint16_t)code, (const uint8_t *)reason.p, MIN(reason.n, 123)) == 0)
        (void)wslay_event_send(w->ctx);
    if (w->stream)
        stream_close(TAKE(w->stream));
    websocket_free(w);
}

static void finish_message(UNUSED struct websocket *w, UNUSED int kind, UNUSED struct str bytes)
{
    /* nobody is left who wants it; it is read so that the line is not reset */
}

static void finish_closed(struct websocket *w, UNUSED int code, UNUSED struct str reason)
{
    websocket_free(w);
}

static void finish_timer(struct timer *t)
{
    struct websocket *w = container_of(t, struct websocket, timer);
    size_t now = websocket_queued(w);
    if (!now || now >= w->finish_queued) { /* it neither reads nor goes */
        websocket_free(w);
        return;
    }
    w->finish_queued = now;
    timer_set(t, FINISH);
}

void websocket_finish(struct websocket *w, int code, struct str reason)
{
    static const struct websocket_fns fns = {finish_message, NULL, finish_closed};
    if (!w->stream || w->closed_told ||
        wslay_event_queue_close(w->ctx, (uint16_t)code, (const uint8_t *)reason.p, MIN(reason.n, 123)) != 0) {
        websocket_close(w, code, reason);
        return;
    }
    (void)wslay_event_send(w->ctx); /* into the stream's queue; that takes it all */
    /* the end of the line as well: clients that wait for a readable socket overlook what TLS has read ahead */
    stream_end(w->stream);
    w->fns = &fns;
    w->arg = NULL;
    w->finishing = true;
    w->finish_queued = websocket_queued(w);
    struct loop *loop = stream_loop(w->stream);
    timer_stop(&w->timer);
    timer_init(&w->timer, loop, finish_timer);
    timer_set(&w->timer, FINISH);
    websocket_pause(w, false);
}

void websocket_free(struct websocket *w)
{
    if (!w)
        return;
    w->freed = true;
    timer_stop(&w->timer);
    stream_free(TAKE(w->stream));
    if (w->busy == 0)
        socket_release(w);
}
