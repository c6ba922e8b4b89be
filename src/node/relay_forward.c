#include "base/array.h"
#include "node/relay_int.h"
#include "wire/spdy.h"
#include "wire/websocket.h"
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define CHUNK        (32 << 10)
#define PAIRS_MOST   256       /* connections at once through one port-forward */
#define WAITING_MOST (1 << 20) /* bytes that wait for the pod to read them */

struct forward;
/* One connection: the client's data and error streams with the same requestid, and a socket in the pod. */
struct pair {
    struct list node;
    struct forward *f;
    struct relay_ask ask;
    uint32_t data, error; /* stream ids; 0: not opened yet */
    char id[32];
    int port, fd;
    struct poll poll;
    bool connecting, asked, client_ended, pod_ended;
    struct strbuf to_pod;
};
struct forward {
    struct relay *relay;
    struct websocket *socket;
    struct spdy *spdy;
    char *ns, *pod;
    struct list pairs;
    size_t npairs;
};

static void flush(struct forward *f)
{
    struct strbuf *out = spdy_output(f->spdy);
    if (out->n)
        websocket_send(f->socket, WEBSOCKET_BINARY, strbuf_str(out));
    strbuf_reset(out);
}

static void pair_free(struct pair *p)
{
    relay_forget(&p->ask, false);
    poll_stop(&p->poll);
    fd_close(p->fd);
    strbuf_fini(&p->to_pod);
    list_del(&p->node);
    p->f->npairs--;
    mem_free(p);
}

static void pair_fail(struct pair *p, const char *why)
{
    struct forward *f = p->f;
    AUTO(strbuf_fini) struct strbuf text = STRBUF(2000);
    strbuf_addf(&text, "error forwarding port %d to pod %s: %s", p->port, f->pod, why);
    if (p->error)
        spdy_send(f->spdy, p->error, str_sub(strbuf_str(&text), 0, spdy_room(f->spdy, p->error)));
    if (p->error)
        spdy_end(f->spdy, p->error);
    spdy_reset(f->spdy, p->data, 5);
    flush(f);
    pair_free(p);
}

static void pair_over(struct pair *p) /* both sides are done */
{
    struct forward *f = p->f;
    if (p->error)
        spdy_end(f->spdy, p->error);
    flush(f);
    pair_free(p);
}

/* --- the pod's side
 * ---------------------------------------------------------------------------------------------------- */

static void want(struct pair *p)
{
    int events = p->connecting || p->to_pod.n ? POLL_WRITE : 0;
    if (!p->connecting && !p->pod_ended && spdy_room(p->f->spdy, p->data) && !websocket_over_high(p->f->socket))
        events |= POLL_READ;
    poll_want(&p->poll, events);
}

static bool pod_write(struct pair *p)
{
    while (p->to_pod.n) {
        ssize_t n = send(p->fd, p->to_pod.p, p->to_pod.n, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return true;
        if (n < 0)
            return false;
        strbuf_drop(&p->to_pod, (size_t)n);
        spdy_consumed(p->f->spdy, p->data, (size_t)n);
    }
    if (p->client_ended)
        (void)shutdown(p->fd, SHUT_WR);
    return true;
}

static bool pod_read(struct pair *p)
{
    char buf[CHUNK];
    size_t room = MIN(spdy_room(p->f->spdy, p->data), sizeof buf);
    ssize_t n = room ? read(p->fd, buf, room) : -1;
    if (n > 0) {
        spdy_send(p->f->spdy, p->data, (struct str){buf, (size_t)n});
    } else if (n == 0) {
        p->pod_ended = true;
        spdy_end(p->f->spdy, p->data);
    } else if (room && errno != EAGAIN && errno != EINTR) {
        return false;
    }
    return true;
}

static void on_pod(struct poll *poll, int ready)
{
    struct pair *p = container_of(poll, struct pair, poll);
    int why = 0;
    socklen_t n = sizeof why;
    if (p->connecting) {
        p->connecting = false;
        if (getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &why, &n) == 0 && why) {
            struct arena a = ARENA;
            struct str text = arena_fmt(&a, "failed to connect to localhost:%d inside the pod: connect: %s", p->port,
                                        why == ECONNREFUSED ? "connection refused" : strerror(why));
            pair_fail(p, text.p);
            arena_fini(&a);
            return;
        }
    }
    if (!pod_write(p) || ((ready & POLL_READ) && !pod_read(p))) {
        pair_fail(p, strerror(errno));
        return;
    }
    flush(p->f);
    if (p->pod_ended)
        pair_over(p);
    else
        want(p);
}

static void on_news(struct relay_ask *ask, struct str name, const struct str *texts, size_t n, int own_fd)
{
    struct pair *p = container_of(ask, struct pair, ask);
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)p->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    relay_forget(ask, false);
    if (!str_eq(name, S("socket")) || own_fd < 0) {
        struct arena a = ARENA;
        fd_close(own_fd);
        pair_fail(p, n == 2 ? arena_strz(&a, texts[1]) : "the node went away");
        arena_fini(&a);
        return;
    }
    p->fd = own_fd;
    poll_init(&p->poll, p->f->relay->loop, p->fd, on_pod);
    if (connect(p->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) {
        pair_fail(p, strerror(errno));
        return;
    }
    p->connecting = true;
    want(p);
}

/* --- the client's side
 * ---------------------------------------------------------------------------------------------------- */

static struct pair *by_stream(struct forward *f, uint32_t stream)
{
    list_each (p, &f->pairs, struct pair, node) {
        if (p->data == stream || p->error == stream)
            return p;
    }
    return NULL;
}

static struct pair *by_id(struct forward *f, struct str id)
{
    list_each (p, &f->pairs, struct pair, node) {
        if (str_eqz(id, p->id))
            return p;
    }
    return NULL;
}

static void ask_for_socket(struct pair *p)
{
    struct forward *f = p->f;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(RELAY_MESSAGE_MOST);
    p->asked = true;
    p->ask.news = on_news;
    relay_ask_begin(f->relay, &p->ask, &b, "forward");
    relay_add(&b, str_of(f->ns));
    relay_add(&b, str_of(f->pod));
    relay_addf(&b, "%d", p->port);
    if (!relay_send(&p->ask, &b, NULL, 0))
        pair_fail(p, "the node cannot be reached");
}

static void on_opened(struct spdy *s, uint32_t stream, const struct http_headers *headers)
{
    struct forward *f = spdy_arg(s);
    struct str type = http_header(headers, S("streamtype")), id = http_header(headers, S("requestid"));
    int64_t port;
    bool data = str_eq(type, S("data"));
    struct pair *p = by_id(f, id);
    if ((!data && !str_eq(type, S("error"))) || !id.n || id.n >= sizeof p->id ||
        !str_to_i64(http_header(headers, S("port")), 1, 65535, &port) || (!p && f->npairs >= PAIRS_MOST)) {
        spdy_reset(s, stream, 3);
        return;
    }
    if (!p) {
        p = NEW(struct pair);
        *p = (struct pair){.f = f, .fd = -1, .port = (int)port, .to_pod = STRBUF(2 * WAITING_MOST)};
        list_init(&p->ask.node);
        (void)snprintf(p->id, sizeof p->id, STR_FMT, STR_ARG(id));
        list_add_tail(&f->pairs, &p->node);
        f->npairs++;
    }
    *(data ? &p->data : &p->error) = stream;
    spdy_reply(s, stream, &(struct http_headers){0}, false);
    if (p->data && p->error && !p->asked)
        ask_for_socket(p);
}

static void on_data(struct spdy *s, uint32_t stream, struct str bytes)
{
    struct pair *p = by_stream(spdy_arg(s), stream);
    if (!p || stream != p->data) {
        spdy_consumed(s, stream, bytes.n);
        return;
    }
    strbuf_add(&p->to_pod, bytes); /* bounded by the window that is opened as the pod reads */
    if (p->fd >= 0 && !p->connecting)
        want(p);
}

static void on_ended(struct spdy *s, uint32_t stream)
{
    struct pair *p = by_stream(spdy_arg(s), stream);
    if (!p || stream != p->data)
        return;
    p->client_ended = true;
    if (p->fd >= 0 && !p->connecting && !p->to_pod.n)
        (void)shutdown(p->fd, SHUT_WR);
}

static void on_reset(struct spdy *s, uint32_t stream, int status)
{
    (void)status;
    struct pair *p = by_stream(spdy_arg(s), stream);
    if (p && stream == p->data)
        pair_free(p);
}

static void on_room(struct spdy *s, uint32_t stream)
{
    struct pair *p = by_stream(spdy_arg(s), stream);
    if (p && p->fd >= 0 && !p->connecting)
        want(p);
}

static void forward_free(struct forward *f)
{
    list_each (p, &f->pairs, struct pair, node) {
        pair_free(p);
    }
    spdy_free(f->spdy);
    mem_free(f->ns);
    mem_free(f->pod);
    mem_free(f);
}

static void on_message(struct websocket *w, int kind, struct str bytes)
{
    (void)kind;
    struct forward *f = websocket_arg(w);
    struct err err = ERR;
    bool ok = spdy_read(f->spdy, bytes, &err);
    flush(f);
    if (ok)
        return;
    websocket_close(w, 1002, str_of(err.text));
    forward_free(f);
}

static void on_drained(struct websocket *w)
{
    struct forward *f = websocket_arg(w);
    list_each (p, &f->pairs, struct pair, node) {
        if (p->fd >= 0 && !p->connecting)
            want(p);
    }
}

static void on_closed(struct websocket *w, int code, struct str reason)
{
    (void)code, (void)reason;
    struct forward *f = websocket_arg(w);
    websocket_free(w);
    forward_free(f);
}

void relay_forward(struct relay *r, struct http_request *h, struct str ns, struct str pod)
{
    static const char *const protocols[] = {"SPDY/3.1+portforward.k8s.io", NULL};
    static const struct websocket_fns fns = {on_message, on_drained, on_closed};
    if (!websocket_wanted(h)) {
        relay_fail(h, 400, S("port-forward is spoken over WebSocket only: use a client of 2024 or later"));
        return;
    }
    struct forward *f = NEW(struct forward);
    f->relay = r;
    f->ns = str_dupz(ns);
    f->pod = str_dupz(pod);
    list_init(&f->pairs);
    f->spdy = spdy_new(&(struct spdy_config){
        .server = true,
        .fns = {.opened = on_opened, .data = on_data, .ended = on_ended, .reset = on_reset, .room = on_room},
        .arg = f});
    f->socket = websocket_accept(
        h, &(struct websocket_config){.protocols = protocols, .message_most = 4 << 20, .ping_ns = 30 * NS_PER_S},
        &fns, f);
    if (!f->socket)
        forward_free(f);
}
