#include "node/channels.h"
#include "wire/spdy_link.h"
#include "wire/websocket.h"

#define MESSAGE_MOST (4u << 20)
#define OPENING      (30 * NS_PER_S) /* a client of SPDY has opened its streams by then */
#define CLOSE        255             /* v5: the channel that follows ends (KEP-4006) */
#define V5           "v5.channel.k8s.io"

struct channels {
    struct websocket *socket; /* one of these two */
    struct spdy_link *link;
    struct channels_fns fns;
    void *arg;
    bool base64, closes, status_json; /* how this protocol says things */
    bool ready, gone, ended[CHANNELS];
    bool wanted[CHANNELS];
    uint32_t streams[CHANNELS]; /* SPDY: 0 is not open */
    struct timer opening;
};

bool channels_wanted(const struct http_request *r)
{
    return websocket_wanted(r) || spdy_link_wanted(r);
}

bool channels_refusals_inside(const struct http_request *r)
{
    return websocket_wanted(r) && http_header_token(&r->headers, S("Sec-WebSocket-Protocol"), S(V5));
}

static void tell_gone(struct channels *c)
{
    if (c->gone)
        return;
    c->gone = true;
    c->fns.gone(c->arg);
}

static void tell_ended(struct channels *c, int channel)
{
    if (c->ended[channel])
        return;
    c->ended[channel] = true;
    c->fns.ended(c->arg, channel);
}

/* ---- WebSocket */

static void socket_message(struct websocket *w, UNUSED int kind, struct str bytes)
{
    struct channels *c = websocket_arg(w);
    if (!bytes.n)
        return;
    int channel = (unsigned char)bytes.p[0];
    struct str rest = str_sub(bytes, 1, bytes.n);
    if (c->closes && channel == CLOSE) {
        if (rest.n == 1 && (unsigned char)rest.p[0] < CHANNELS)
            tell_ended(c, (unsigned char)rest.p[0]);
        else
            tell_gone(c); /* no such channel: it speaks something else */
        return;
    }
    if (c->base64)
        channel -= '0';
    if ((channel != CHANNEL_IN && channel != CHANNEL_RESIZE) || c->ended[channel])
        return;
    if (!c->base64) {
        c->fns.data(c->arg, channel, rest);
        return;
    }
    AUTO(strbuf_fini) struct strbuf plain = STRBUF(MESSAGE_MOST);
    if (strbuf_add_unbase64(&plain, rest))
        c->fns.data(c->arg, channel, strbuf_str(&plain));
}

static void socket_drained(struct websocket *w)
{
    struct channels *c = websocket_arg(w);
    c->fns.drained(c->arg);
}

static void socket_closed(struct websocket *w, UNUSED int code, UNUSED struct str reason)
{
    tell_gone(websocket_arg(w));
}

static bool accept_socket(struct channels *c, struct http_request *r)
{
    static const char *const newest[] = {V5, NULL};
    static const char *const others[] = {"v4.channel.k8s.io", "v4.base64.channel.k8s.io", "channel.k8s.io",
                                         "base64.channel.k8s.io", NULL};
    static const struct websocket_fns fns = {socket_message, socket_drained, socket_closed};
    struct websocket_config config = {.protocols = channels_refusals_inside(r) ? newest : others,
                                      .message_most = MESSAGE_MOST,
                                      .ping_ns = 30 * NS_PER_S};
    c->socket = websocket_accept(r, &config, &fns, c);
    if (!c->socket)
        return false;
    struct str protocol = websocket_protocol(c->socket);
    c->closes = str_eq(protocol, S(V5));
    c->base64 = str_find(protocol, S("base64")) >= 0;
    c->status_json = c->closes || str_starts(protocol, S("v4."));
    c->ready = true;
    /* an empty message on the first channel says that it is open */
    channels_send(c,
                  c->wanted[CHANNEL_OUT]   ? CHANNEL_OUT
                  : c->wanted[CHANNEL_ERR] ? CHANNEL_ERR
                                           : CHANNEL_STATUS,
                  S(""));
    return true;
}

/* ---- SPDY */

static int channel_of(const struct channels *c, uint32_t stream)
{
    for (int i = 0; i < CHANNELS; i++)
        if (c->streams[i] == stream)
            return i;
    return -1;
}

static void stream_opened(struct spdy *s, uint32_t stream, const struct http_headers *headers)
{
    static const struct str types[CHANNELS] = {S_INIT("stdin"), S_INIT("stdout"), S_INIT("stderr"), S_INIT("error"),
                                               S_INIT("resize")};
    struct channels *c = spdy_arg(s);
    struct str type = http_header(headers, S("streamtype"));
    int channel = -1;
    for (int i = 0; i < CHANNELS; i++)
        if (str_eq(type, types[i]) && !c->streams[i])
            channel = i;
    if (channel < 0) {
        spdy_reset(s, stream, 3);
        return;
    }
    c->streams[channel] = stream;
    spdy_reply(s, stream, &(struct http_headers){0}, false);
    for (int i = 0; i < CHANNELS; i++)
        if (c->wanted[i] && !c->streams[i])
            return;
    if (c->ready)
        return;
    c->ready = true;
    timer_stop(&c->opening);
    c->fns.ready(c->arg);
}

static void stream_data(struct spdy *s, uint32_t stream, struct str bytes)
{
    struct channels *c = spdy_arg(s);
    int channel = channel_of(c, stream);
    spdy_consumed(s, stream, bytes.n); /* what waits is bounded by pausing all of it */
    if (channel == CHANNEL_IN || channel == CHANNEL_RESIZE)
        c->fns.data(c->arg, channel, bytes);
}

static void stream_ended(struct spdy *s, uint32_t stream)
{
    struct channels *c = spdy_arg(s);
    int channel = channel_of(c, stream);
    if (channel >= 0)
        tell_ended(c, channel);
}

static void stream_reset(struct spdy *s, uint32_t stream, UNUSED int status)
{
    stream_ended(s, stream);
}

static void stream_room(UNUSED struct spdy *s, UNUSED uint32_t stream)
{
    /* without windows there is always room */
}

static void link_drained(void *arg)
{
    struct channels *c = arg;
    c->fns.drained(c->arg);
}

static void link_closed(void *arg)
{
    tell_gone(arg);
}

static void on_opening(struct timer *t)
{
    tell_gone(container_of(t, struct channels, opening));
}

static bool accept_link(struct channels *c, struct http_request *r, struct loop *loop, bool tty)
{
    static const char *const ours[] = {"v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io",
                                       "channel.k8s.io", NULL};
    static const struct spdy_link_fns fns = {.streams = {.opened = stream_opened,
                                                         .data = stream_data,
                                                         .ended = stream_ended,
                                                         .reset = stream_reset,
                                                         .room = stream_room},
                                             .no_windows = true,
                                             .drained = link_drained,
                                             .closed = link_closed};
    const char *chosen;
    c->link = spdy_link_accept(r, ours, &chosen, &fns, c);
    if (!c->link)
        return false;
    c->status_json = strcmp(chosen, ours[0]) == 0;
    c->wanted[CHANNEL_STATUS] = true;
    c->wanted[CHANNEL_RESIZE] = tty && (chosen == ours[0] || chosen == ours[1]);
    timer_init(&c->opening, loop, on_opening);
    timer_set(&c->opening, OPENING);
    return true;
}

/* ---- both */

struct channels *channels_accept(struct http_request *r, struct loop *loop, const bool want[3], bool tty,
                                 const struct channels_fns *fns, void *arg)
{
    struct channels *c = NEW(struct channels);
    c->fns = *fns;
    c->arg = arg;
    for (int i = 0; i < 3; i++)
        c->wanted[i] = want[i] && !(tty && i == CHANNEL_ERR);
    if (websocket_wanted(r) ? accept_socket(c, r) : accept_link(c, r, loop, tty))
        return c;
    mem_free(c);
    return NULL;
}

void channels_send(struct channels *c, int channel, struct str bytes)
{
    if (c->link) {
        struct spdy *s = spdy_link_session(c->link);
        if (!c->streams[channel])
            return;
        spdy_send(s, c->streams[channel], bytes);
        spdy_link_flush(c->link);
        return;
    }
    char head = (char)(c->base64 ? '0' + channel : channel);
    if (!c->base64) {
        websocket_send2(c->socket, WEBSOCKET_BINARY, (struct str){&head, 1}, bytes);
        return;
    }
    AUTO(strbuf_fini) struct strbuf text = STRBUF(2 * bytes.n + 8);
    strbuf_add_base64(&text, bytes.p, bytes.n);
    websocket_send2(c->socket, WEBSOCKET_TEXT, (struct str){&head, 1}, strbuf_str(&text));
}

bool channels_ready(const struct channels *c)
{
    return c->ready;
}

bool channels_over_high(const struct channels *c)
{
    return c->link ? spdy_link_over_high(c->link) : websocket_over_high(c->socket);
}

void channels_pause(struct channels *c, bool pause)
{
    if (c->link)
        spdy_link_pause(c->link, pause);
    else
        websocket_pause(c->socket, pause);
}

void channels_finish(struct channels *c, struct str status, struct str message)
{
    if (c->status_json || message.n)
        channels_send(c, CHANNEL_STATUS, c->status_json ? status : message);
    timer_stop(&c->opening);
    if (c->link) {
        struct spdy *s = spdy_link_session(c->link);
        const int theirs[] = {CHANNEL_IN, CHANNEL_RESIZE}, ours[] = {CHANNEL_OUT, CHANNEL_ERR, CHANNEL_STATUS};
        for (size_t i = 0; i < countof(theirs); i++)
            if (c->streams[theirs[i]])
                spdy_reset(s, c->streams[theirs[i]], 5);
        for (size_t i = 0; i < countof(ours); i++)
            if (c->streams[ours[i]])
                spdy_end(s, c->streams[ours[i]]);
        spdy_link_finish(TAKE(c->link));
    } else {
        websocket_finish(TAKE(c->socket), 1000, S(""));
    }
    channels_free(c);
}

void channels_free(struct channels *c)
{
    if (!c)
        return;
    timer_stop(&c->opening);
    spdy_link_free(c->link);
    websocket_free(c->socket);
    mem_free(c);
}
