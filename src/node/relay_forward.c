#include "base/array.h"
#include "node/relay_int.h"
#include "wire/spdy_link.h"
#include "wire/websocket.h"
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define CHUNK            (32 << 10)
#define PAIRS_MOST       256             /* connections at once through one port-forward */
#define PORTS_MOST       100             /* of a WebSocket with channels: two a port, a byte names one */
#define WAITING_MOST     (1 << 20)       /* bytes that wait for the pod to read them, of one connection */
#define ALL_WAITING_MOST (8 << 20)       /* and of all of a port-forward */
#define OPENING          (30 * NS_PER_S) /* between the two streams of a connection */

struct forward;
/* One connection: the client's data and error streams with the same requestid (SPDY), or two channels (WebSocket),
 * and a socket in the pod. */
struct forward_pair {
    struct list node;
    struct forward *f;
    struct relay_ask ask;
    uint32_t data, error; /* stream ids, 0: not opened yet; or channels */
    char id[32];
    int port, fd, first_why; /* first_why: errno of the first try */
    struct poll poll;
    struct timer opening;
    bool connecting, asked, second_try, client_ended, pod_ended;
    struct strbuf to_pod;
};
struct forward {
    struct relay *relay;
    struct spdy_link *link;   /* one of these two */
    struct websocket *socket; /* v4.channel.k8s.io: the ports are those of the query */
    bool base64;
    char *ns, *pod, *uid;
    struct list pairs;
    size_t npairs;
};

/* --- what the two ways of a client have in common --- */

static void channel_send(struct forward *f, uint32_t channel, struct str bytes)
{
    char head = (char)(f->base64 ? '0' + channel : channel);
    AUTO(strbuf_fini) struct strbuf text = STRBUF(2 * bytes.n + 8);
    if (f->base64)
        strbuf_add_base64(&text, bytes.p, bytes.n);
    websocket_send2(f->socket, f->base64 ? WEBSOCKET_TEXT : WEBSOCKET_BINARY, (struct str){&head, 1},
                    f->base64 ? strbuf_str(&text) : bytes);
}

/* Bytes that may be sent now. */
static size_t client_room(const struct forward_pair *p)
{
    const struct forward *f = p->f;
    if (!f->link)
        return websocket_over_high(f->socket) ? 0 : CHUNK;
    return spdy_link_over_high(f->link) ? 0 : spdy_room(spdy_link_session(f->link), p->data);
}

static void client_send(struct forward_pair *p, struct str bytes)
{
    if (p->f->link)
        spdy_send(spdy_link_session(p->f->link), p->data, bytes);
    else
        channel_send(p->f, p->data, bytes);
}

static void client_pause(struct forward *f)
{
    bool full = false;
    size_t all = 0;
    list_each (p, &f->pairs, struct forward_pair, node) {
        full |= p->to_pod.n > WAITING_MOST;
        all += p->to_pod.n;
    }
    full |= all > ALL_WAITING_MOST;
    if (f->link)
        spdy_link_pause(f->link, full);
    else
        websocket_pause(f->socket, full);
}

static void forward_flush(struct forward *f)
{
    if (f->link)
        spdy_link_flush(f->link);
}

static void forward_free(struct forward *f);

static void pair_free(struct forward_pair *p)
{
    relay_forget(&p->ask, false);
    timer_stop(&p->opening);
    poll_stop(&p->poll);
    fd_close(p->fd);
    strbuf_fini(&p->to_pod);
    list_del(&p->node);
    p->f->npairs--;
    mem_free(p);
}

/* A connection is over. A WebSocket whose last one that was is over, too: its ports were said at the beginning. */
static void pair_done(struct forward_pair *p)
{
    struct forward *f = p->f;
    forward_flush(f);
    pair_free(p);
    client_pause(f);
    if (f->socket && !f->npairs) {
        websocket_finish(TAKE(f->socket), 1000, S(""));
        forward_free(f);
    }
}

static void pair_fail(struct forward_pair *p, const char *why)
{
    struct forward *f = p->f;
    AUTO(strbuf_fini) struct strbuf text = STRBUF(2000);
    strbuf_addf(&text, "error forwarding port %d to pod %s, uid %s: %s", p->port, f->pod, f->uid, why);
    if (f->link) {
        struct spdy *s = spdy_link_session(f->link);
        if (p->error)
            spdy_send(s, p->error, str_sub(strbuf_str(&text), 0, spdy_room(s, p->error)));
        if (p->error)
            spdy_end(s, p->error);
        spdy_reset(s, p->data, 5);
    } else {
        channel_send(f, p->error, strbuf_str(&text));
    }
    pair_done(p);
}

static void pair_over(struct forward_pair *p) /* both sides are done */
{
    if (p->f->link && p->error)
        spdy_end(spdy_link_session(p->f->link), p->error);
    pair_done(p);
}

/* --- the pod's side --- */

static void pair_want(struct forward_pair *p)
{
    int events = p->connecting || p->to_pod.n ? POLL_WRITE : 0;
    if (!p->connecting && !p->pod_ended && client_room(p))
        events |= POLL_READ;
    poll_want(&p->poll, events);
}

static bool pod_write(struct forward_pair *p)
{
    while (p->to_pod.n) {
        ssize_t n = send(p->fd, p->to_pod.p, p->to_pod.n, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return true;
        if (n < 0)
            return false;
        strbuf_drop(&p->to_pod, (size_t)n);
        if (p->f->link)
            spdy_consumed(spdy_link_session(p->f->link), p->data, (size_t)n);
    }
    client_pause(p->f);
    if (p->client_ended)
        (void)shutdown(p->fd, SHUT_WR); /* where it is closed already there is nothing to end */
    return true;
}

static bool pod_read(struct forward_pair *p)
{
    char buf[CHUNK];
    size_t room = MIN(client_room(p), sizeof buf);
    ssize_t n = room ? read(p->fd, buf, room) : -1;
    if (n > 0) {
        client_send(p, (struct str){buf, (size_t)n});
    } else if (n == 0) {
        p->pod_ended = true;
        if (p->f->link)
            spdy_end(spdy_link_session(p->f->link), p->data);
    } else if (room && errno != EAGAIN && errno != EINTR) {
        return false;
    }
    return true;
}

/* localhost of the pod: 127.0.0.1, then ::1, where the node gave a socket that can do both. */
static bool connect_pod(struct forward_pair *p, bool six)
{
    struct sockaddr_in v4 = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)p->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)p->port)};
    int domain = AF_INET;
    socklen_t n = sizeof domain;
    (void)getsockopt(p->fd, SOL_SOCKET, SO_DOMAIN, &domain, &n); /* AF_INET where it cannot say */
    if (six && domain != AF_INET6)
        return false;
    if (six) {
        v6.sin6_addr = in6addr_loopback;
    } else { /* RFC 4291 2.5.5.2: an IPv4 address for a socket of IPv6 */
        v6.sin6_addr.s6_addr[10] = v6.sin6_addr.s6_addr[11] = 0xff;
        memcpy(v6.sin6_addr.s6_addr + 12, &v4.sin_addr, 4);
    }
    int bad = domain == AF_INET6 ? connect(p->fd, (struct sockaddr *)&v6, sizeof v6)
                                 : connect(p->fd, (struct sockaddr *)&v4, sizeof v4);
    p->connecting = bad == 0 || errno == EINPROGRESS;
    return p->connecting;
}

static void connect_failed(struct forward_pair *p, int why)
{
    if (!p->second_try) {
        p->second_try = true;
        p->first_why = why;
        if (connect_pod(p, true)) {
            pair_want(p);
            return;
        }
    }
    why = p->first_why;
    AUTO(arena_fini) struct arena a = ARENA;
    struct str text = arena_fmt(
        &a, "failed to connect to localhost:%d inside the pod: dial tcp 127.0.0.1:%d: connect: %s", p->port, p->port,
        why == ECONNREFUSED ? "connection refused" : strerror(why));
    pair_fail(p, text.p);
}

/* The pod cut this connection: the client sees a reset, too. No error of the port-forward, at which kubectl would end
 * all of it. */
static void pair_reset(struct forward_pair *p)
{
    if (p->f->link)
        spdy_reset(spdy_link_session(p->f->link), p->data, 5);
    pair_over(p);
}

static void on_pod(struct poll *poll, int ready)
{
    struct forward_pair *p = container_of(poll, struct forward_pair, poll);
    int why = 0;
    socklen_t n = sizeof why;
    if (p->connecting) {
        p->connecting = false;
        if (getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &why, &n) == 0 && why) {
            connect_failed(p, why);
            return;
        }
    }
    if (!pod_write(p) || ((ready & POLL_READ) && !pod_read(p))) {
        pair_reset(p);
        return;
    }
    forward_flush(p->f);
    if (p->pod_ended)
        pair_over(p);
    else
        pair_want(p);
}

static void on_news(struct relay_ask *ask, struct str name, const struct str *texts, size_t n, int own_fd)
{
    struct forward_pair *p = container_of(ask, struct forward_pair, ask);
    relay_forget(ask, false);
    if (!str_eq(name, S("socket")) || own_fd < 0) {
        AUTO(arena_fini) struct arena a = ARENA;
        fd_close(own_fd);
        pair_fail(p, n == 2 ? arena_strz(&a, texts[1]) : "the node went away");
        return;
    }
    p->fd = own_fd;
    poll_init(&p->poll, p->f->relay->loop, p->fd, on_pod);
    if (connect_pod(p, false))
        pair_want(p);
    else
        connect_failed(p, errno);
}

/* --- the client's side --- */

static struct forward_pair *by_stream(struct forward *f, uint32_t stream)
{
    list_each (p, &f->pairs, struct forward_pair, node) {
        if (p->data == stream || p->error == stream)
            return p;
    }
    return NULL;
}

static struct forward_pair *by_id(struct forward *f, struct str id)
{
    list_each (p, &f->pairs, struct forward_pair, node) {
        if (str_eqz(id, p->id))
            return p;
    }
    return NULL;
}

static void ask_for_socket(struct forward_pair *p)
{
    struct forward *f = p->f;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(RELAY_MESSAGE_MOST);
    p->asked = true;
    timer_stop(&p->opening);
    relay_ask_begin(f->relay, &p->ask, &b, "forward");
    relay_add(&b, str_of(f->ns));
    relay_add(&b, str_of(f->pod));
    relay_addf(&b, "%d", p->port);
    if (!relay_send(&p->ask, &b, NULL, 0))
        pair_fail(p, "the node cannot be reached");
}

static void on_opening(struct timer *t)
{
    pair_fail(container_of(t, struct forward_pair, opening), "timed out waiting for its other stream");
}

static struct forward_pair *pair_new(struct forward *f, int port)
{
    struct forward_pair *p = NEW(struct forward_pair);
    *p = (struct forward_pair){.f = f, .fd = -1, .port = port, .to_pod = STRBUF(8 * WAITING_MOST)};
    list_init(&p->ask.node);
    p->ask.news = on_news;
    timer_init(&p->opening, f->relay->loop, on_opening);
    list_add_tail(&f->pairs, &p->node);
    f->npairs++;
    return p;
}

/* For the pod. What is over the bound has come from a client that was told to wait: it goes. */
static void pair_data(struct forward_pair *p, struct str bytes)
{
    strbuf_add(&p->to_pod, bytes);
    if (p->to_pod.over) {
        pair_fail(p, "the pod does not read, and the client does not wait");
        return;
    }
    client_pause(p->f);
    if (p->fd >= 0 && !p->connecting)
        pair_want(p);
}

/* ---- SPDY */

static void on_opened(struct spdy *s, uint32_t stream, const struct http_headers *headers)
{
    struct forward *f = spdy_arg(s);
    struct str type = http_header(headers, S("streamtype")), id = http_header(headers, S("requestid"));
    bool data = str_eq(type, S("data"));
    char number[16];
    int64_t port;
    if (!id.n) { /* the oldest clients give none: a connection's error stream comes right before its data stream */
        (void)snprintf(number, sizeof number, "%u", (unsigned)(data ? stream - 2 : stream));
        id = str_of(number);
    }
    struct forward_pair *p = by_id(f, id);
    if ((!data && !str_eq(type, S("error"))) || id.n >= sizeof p->id ||
        !str_to_i64(http_header(headers, S("port")), 1, 65535, &port) || (!p && f->npairs >= PAIRS_MOST) ||
        (p && (data ? p->data : p->error))) {
        spdy_reset(s, stream, 3);
        return;
    }
    if (!p) {
        p = pair_new(f, (int)port);
        (void)snprintf(p->id, sizeof p->id, STR_FMT, STR_ARG(id));
        timer_set(&p->opening, OPENING);
    }
    *(data ? &p->data : &p->error) = stream;
    spdy_reply(s, stream, &(struct http_headers){0}, false);
    if (p->data && p->error && !p->asked)
        ask_for_socket(p);
}

static void on_data(struct spdy *s, uint32_t stream, struct str bytes)
{
    struct forward_pair *p = by_stream(spdy_arg(s), stream);
    if (p && stream == p->data)
        pair_data(p, bytes); /* the window opens as the pod reads */
    else
        spdy_consumed(s, stream, bytes.n);
}

static void on_ended(struct spdy *s, uint32_t stream)
{
    struct forward_pair *p = by_stream(spdy_arg(s), stream);
    if (!p || stream != p->data)
        return;
    p->client_ended = true;
    if (p->fd >= 0 && !p->connecting && !p->to_pod.n)
        (void)shutdown(p->fd, SHUT_WR); /* a pod that has gone is seen when it is read */
}

static void on_reset(struct spdy *s, uint32_t stream, int status)
{
    (void)status;
    struct forward_pair *p = by_stream(spdy_arg(s), stream);
    if (p && stream == p->data)
        pair_over(p);
    else if (p)
        p->error = 0;
}

static void on_room(struct spdy *s, uint32_t stream)
{
    struct forward_pair *p = by_stream(spdy_arg(s), stream);
    if (p && p->fd >= 0 && !p->connecting)
        pair_want(p);
}

static void forward_free(struct forward *f)
{
    list_each (p, &f->pairs, struct forward_pair, node)
        pair_free(p);
    spdy_link_free(f->link);
    websocket_free(f->socket);
    mem_free(f->ns);
    mem_free(f->pod);
    mem_free(f->uid);
    mem_free(f);
}

static void on_drained(void *arg)
{
    struct forward *f = arg;
    list_each (p, &f->pairs, struct forward_pair, node)
        if (p->fd >= 0 && !p->connecting)
            pair_want(p);
}

static void on_gone(void *arg)
{
    forward_free(arg);
}

/* ---- WebSocket with two channels for each port: data 2 i, errors 2 i + 1 */

static void socket_message(struct websocket *w, int kind, struct str bytes)
{
    (void)kind;
    struct forward *f = websocket_arg(w);
    if (bytes.n < 2)
        return;
    uint32_t channel = (unsigned char)bytes.p[0];
    struct str rest = str_sub(bytes, 1, bytes.n);
    AUTO(strbuf_fini) struct strbuf plain = STRBUF(4u << 20);
    if (f->base64) {
        channel -= '0';
        if (!strbuf_add_unbase64(&plain, rest))
            return; /* as upstream: passed over */
        rest = strbuf_str(&plain);
    }
    list_each (p, &f->pairs, struct forward_pair, node)
        if (p->data == channel) {
            pair_data(p, rest);
            return;
        }
}

static void socket_drained(struct websocket *w)
{
    on_drained(websocket_arg(w));
}

static void socket_closed(struct websocket *w, int code, struct str reason)
{
    (void)code, (void)reason;
    forward_free(websocket_arg(w));
}

/* "ports=80,81&ports=82" */
static bool read_ports(struct http_request *h, uint16_t ports[PORTS_MOST], size_t *n)
{
    struct str rest = h->query, key, value, one;
    struct err ignored = ERR; /* the query was read whole before */
    int64_t port;
    *n = 0;
    while (http_query_next(&h->arena, &rest, &key, &value, &ignored)) {
        if (!str_eq(key, S("ports")) && !str_eq(key, S("port")))
            continue;
        while (str_cut(&value, ',', &one)) {
            if (*n == PORTS_MOST || !str_to_i64(one, 1, 65535, &port))
                return false;
            ports[(*n)++] = (uint16_t)port;
        }
    }
    return *n > 0;
}

static void accept_channels(struct forward *f, struct http_request *h)
{
    static const char *const protocols[] = {"v4.channel.k8s.io", "v4.base64.channel.k8s.io", NULL};
    static const struct websocket_fns fns = {socket_message, socket_drained, socket_closed};
    struct websocket_config config = {.protocols = protocols, .message_most = 4u << 20, .ping_ns = 30 * NS_PER_S};
    uint16_t ports[PORTS_MOST];
    size_t n;
    if (!read_ports(h, ports, &n)) {
        relay_fail(h, 400,
                   S("query parameter \"ports\" is required: up to 100 numbers from 1 to 65535, parted by commas"));
        forward_free(f);
        return;
    }
    f->socket = websocket_accept(h, &config, &fns, f);
    if (!f->socket) {
        forward_free(f);
        return;
    }
    f->base64 = str_find(websocket_protocol(f->socket), S("base64")) >= 0;
    struct forward_pair *pairs[PORTS_MOST];
    for (size_t i = 0; i < n; i++) {
        char port[2] = {(char)(ports[i] & 0xff), (char)(ports[i] >> 8)};
        pairs[i] = pair_new(f, ports[i]);
        pairs[i]->data = (uint32_t)(2 * i);
        pairs[i]->error = (uint32_t)(2 * i + 1);
        channel_send(f, pairs[i]->data, (struct str){port, 2});
        channel_send(f, pairs[i]->error, (struct str){port, 2});
    }
    for (size_t i = 0; i < n; i++)
        ask_for_socket(pairs[i]); /* the last that fails frees f */
}

/* ---- beginning */

void relay_forward(struct relay *r, struct http_request *h, struct str ns, struct str pod)
{
    static const char *const streams[] = {"portforward.k8s.io", NULL};
    static const char tunnel[] = "SPDY/3.1+portforward.k8s.io";
    static const struct spdy_link_fns fns = {
        .streams = {.opened = on_opened, .data = on_data, .ended = on_ended, .reset = on_reset, .room = on_room},
        .drained = on_drained,
        .closed = on_gone};
    const char *chosen;
    bool socket = websocket_wanted(h);
    if (!socket && !spdy_link_wanted(h)) {
        relay_fail(h, 400, S("unable to upgrade: port-forward is spoken over WebSocket or SPDY/3.1"));
        return;
    }
    struct forward *f = NEW(struct forward);
    f->relay = r;
    f->ns = str_dupz(ns);
    f->pod = str_dupz(pod);
    f->uid = str_dupz(http_header(&h->headers, S("X-Wherry-Pod-Uid")));
    list_init(&f->pairs);
    if (socket && !http_header_token(&h->headers, S("Sec-WebSocket-Protocol"), str_of(tunnel))) {
        accept_channels(f, h);
        return;
    }
    f->link = socket ? spdy_link_accept_websocket(h, tunnel, &fns, f)
                     : spdy_link_accept(h, streams, &chosen, &fns, f);
    if (!f->link)
        forward_free(f);
}
