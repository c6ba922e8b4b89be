#include "wire/spdy_link.h"
#include "wire/websocket.h"

#define LINGER       (60 * NS_PER_S)
#define REPLIES_MOST (1u << 20) /* bytes not taken yet above which nothing is read that would be answered: pings */

struct spdy_link {
    struct spdy *session;
    struct stream *stream;    /* one of these two carries it */
    struct websocket *socket; /* NULL both: the other side has gone */
    struct spdy_link_fns fns;
    void *arg;
    struct timer timer;
    size_t queued; /* when the timer was set */
    bool finishing, freed, told;
    bool paused, choked; /* by its owner; because too much waits for the other side */
    int busy;            /* a callback of the streams is under way */
};

static void link_release(struct spdy_link *l)
{
    spdy_free(l->session);
    mem_free(l);
}

void spdy_link_free(struct spdy_link *l)
{
    if (!l || l->freed)
        return;
    l->freed = true;
    spdy_mute(l->session);
    timer_stop(&l->timer);
    stream_free(TAKE(l->stream));
    websocket_free(TAKE(l->socket));
    if (!l->busy)
        link_release(l);
}

static void link_gone(struct spdy_link *l)
{
    if (l->finishing) {
        spdy_link_free(l);
        return;
    }
    if (l->told || l->freed)
        return;
    l->told = true;
    l->busy++;
    l->fns.closed(l->arg);
    if (--l->busy == 0 && l->freed)
        link_release(l);
}

struct spdy *spdy_link_session(const struct spdy_link *l)
{
    return l->session;
}

void spdy_link_flush(struct spdy_link *l)
{
    struct strbuf *out = spdy_output(l->session);
    if (out->n && l->stream)
        stream_write(l->stream, strbuf_str(out));
    else if (out->n && l->socket)
        websocket_send(l->socket, WEBSOCKET_BINARY, strbuf_str(out));
    strbuf_reset(out);
}

bool spdy_link_over_high(const struct spdy_link *l)
{
    return l->stream ? stream_over_high(l->stream) : l->socket && websocket_over_high(l->socket);
}

void spdy_link_pause(struct spdy_link *l, bool pause)
{
    l->paused = pause;
    if (l->stream)
        stream_read_pause(l->stream, pause || l->choked);
    else if (l->socket)
        websocket_pause(l->socket, pause);
}

static size_t link_queued(const struct spdy_link *l)
{
    return l->stream ? stream_queued(l->stream) : l->socket ? websocket_queued(l->socket) : 0;
}

static void on_linger(struct timer *t)
{
    struct spdy_link *l = container_of(t, struct spdy_link, timer);
    size_t now = link_queued(l);
    if (!now || now >= l->queued) { /* it neither reads nor goes */
        spdy_link_free(l);
        return;
    }
    l->queued = now;
    timer_set(t, LINGER);
}

void spdy_link_finish(struct spdy_link *l)
{
    spdy_link_flush(l);
    if (l->told || (!l->stream && !l->socket)) {
        spdy_link_free(l);
        return;
    }
    l->finishing = true;
    spdy_mute(l->session);
    l->queued = link_queued(l);
    spdy_link_pause(l, false);
    timer_set(&l->timer, LINGER);
}

/* ---- what came */

static void bytes_came(struct spdy_link *l, struct str bytes)
{
    struct err err = ERR;
    if (l->finishing)
        return; /* nobody is left who wants it */
    l->busy++;
    bool ok = spdy_read(l->session, bytes, &err);
    if (!l->freed)
        spdy_link_flush(l); /* a GOAWAY, where it broke */
    if (--l->busy == 0 && l->freed) {
        link_release(l);
        return;
    }
    if (!ok && !l->freed) {
        link_gone(l);
        return;
    }
    if (l->stream && stream_queued(l->stream) > REPLIES_MOST) { /* a WebSocket sees to it itself */
        l->choked = true;
        stream_read_pause(l->stream, true);
    }
}

static void stream_came(struct stream *s, struct str bytes)
{
    bytes_came(stream_arg(s), bytes);
}
static void stream_drained(struct stream *s)
{
    struct spdy_link *l = stream_arg(s);
    if (l->choked) {
        l->choked = false;
        stream_read_pause(s, l->paused);
    }
    if (!l->finishing)
        l->fns.drained(l->arg);
}
static void stream_ended(struct stream *s)
{
    link_gone(stream_arg(s));
}
static void stream_broken(struct stream *s, UNUSED struct err *err)
{
    link_gone(stream_arg(s)); /* the same to both: the client has gone */
}
static const struct stream_fns stream_fns = {NULL, stream_came, stream_drained, stream_ended, stream_broken};

static void message_came(struct websocket *w, UNUSED int kind, struct str bytes)
{
    bytes_came(websocket_arg(w), bytes);
}
static void websocket_drained(struct websocket *w)
{
    struct spdy_link *l = websocket_arg(w);
    if (!l->finishing)
        l->fns.drained(l->arg);
}
static void websocket_gone(struct websocket *w, UNUSED int code, UNUSED struct str reason)
{
    link_gone(websocket_arg(w));
}
static const struct websocket_fns websocket_fns = {message_came, websocket_drained, websocket_gone};

/* ---- the handshake */

bool spdy_link_wanted(const struct http_request *r)
{
    return http_header_token(&r->headers, S("Connection"), S("upgrade")) &&
           http_header_token(&r->headers, S("Upgrade"), S("SPDY/3.1"));
}

static void request_refuse(struct http_request *r, const char *const *ours)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    bool asked = http_header_has(&r->headers, S("X-Stream-Protocol-Version"));
    strbuf_addz(&b, asked ? "unable to upgrade: none of the offered stream protocols is spoken here; these are:"
                          : "unable to upgrade: the header X-Stream-Protocol-Version is missing; it takes:");
    for (; *ours; ours++) {
        http_set(r, S("X-Accepted-Stream-Protocol-Versions"), str_of(*ours));
        strbuf_addf(&b, " %s", *ours);
    }
    http_respond(r, asked ? 403 : 400, S("text/plain; charset=utf-8"), strbuf_str(&b));
}

static void link_init(struct spdy_link *l, struct loop *loop, const struct spdy_link_fns *fns, void *arg)
{
    l->fns = *fns;
    l->arg = arg;
    l->session = spdy_new(
        &(struct spdy_config){.server = true, .no_windows = fns->no_windows, .fns = fns->streams, .arg = arg});
    timer_init(&l->timer, loop, on_linger);
}

struct spdy_link *spdy_link_accept(struct http_request *r, const char *const *ours, const char **chosen,
                                   const struct spdy_link_fns *fns, void *arg)
{
    *chosen = http_header_choose(&r->headers, S("X-Stream-Protocol-Version"), ours);
    if (!*chosen) {
        request_refuse(r, ours);
        return NULL;
    }
    http_set(r, S("X-Stream-Protocol-Version"), str_of(*chosen));
    struct stream *s = http_upgrade(r, S("SPDY/3.1"));
    if (!s)
        return NULL;
    struct spdy_link *l = NEW(struct spdy_link);
    l->stream = s;
    link_init(l, stream_loop(s), fns, arg);
    stream_fns_set(s, &stream_fns, l);
    return l;
}

struct spdy_link *spdy_link_accept_websocket(struct http_request *r, const char *protocol,
                                             const struct spdy_link_fns *fns, void *arg)
{
    const char *const ours[] = {protocol, NULL};
    struct websocket_config c = {.protocols = ours, .message_most = 4u << 20, .ping_ns = 30 * NS_PER_S};
    struct spdy_link *l = NEW(struct spdy_link);
    struct websocket *w = websocket_accept(r, &c, &websocket_fns, l);
    if (!w) {
        mem_free(l);
        return NULL;
    }
    l->socket = w;
    link_init(l, websocket_loop(w), fns, arg);
    return l;
}
