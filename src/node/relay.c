#include "base/fault.h"
#include "base/log.h"
#include "node/relay_int.h"
#include "sys/stream.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#define AGAIN (100 * NS_PER_MS)

/* --- the node --- */

static void lose_node(struct relay *r)
{
    if (r->node_fd < 0)
        return;
    poll_stop(&r->node_poll);
    fd_close(r->node_fd);
    r->node_fd = -1;
    relay_queue_fini(&r->out);
    struct list lost = LIST_HEAD(lost);
    while (!list_empty(&r->asks)) {
        struct list *n = r->asks.next;
        list_del(n);
        list_add_tail(&lost, n);
    }
    while (!list_empty(&lost)) { /* news may forget others of them */
        struct relay_ask *a = container_of(lost.next, struct relay_ask, node);
        list_del(&a->node);
        a->news(a, S("lost"), NULL, 0, -1);
    }
    timer_set(&r->again, AGAIN);
}

static void on_message(struct relay *r, struct str bytes, int own_fd)
{
    static struct relay_message m; /* one loop, one message at a time */
    int64_t id;
    if (!relay_parse(bytes, &m)) {
        log_warn("node.message", "not understood");
    } else if (str_eq(m.texts[0], S("probe"))) {
        relay_probe_start(r, m.texts[1], m.texts + 2, m.n - 2);
    } else if (str_to_i64(m.texts[1], 1, INT64_MAX, &id)) {
        list_each (a, &r->asks, struct relay_ask, node) {
            if (a->id != id)
                continue;
            a->news(a, m.texts[0], m.texts + 2, m.n - 2, own_fd);
            return;
        }
    }
    fd_close(own_fd);
}

static void on_readable(struct poll *p, int ready)
{
    struct relay *r = container_of(p, struct relay, node_poll);
    static char bytes[RELAY_MESSAGE_MOST];
    int fd = -1;
    size_t nfds = 1;
    struct err err = ERR;
    if (ready & POLL_WRITE) {
        if (!relay_queue_flush(&r->out, r->node_fd, &err)) {
            lose_node(r);
            return;
        }
        poll_want(&r->node_poll, POLL_READ | (relay_queue_waits(&r->out) ? POLL_WRITE : 0));
    }
    if (!(ready & ~POLL_WRITE))
        return;
    ssize_t n = socket_recv_fds(r->node_fd, bytes, sizeof bytes, &fd, &nfds, &err);
    if (n > 0)
        on_message(r, (struct str){bytes, (size_t)n}, nfds ? fd : -1);
    else
        lose_node(r);
}

static void connect_node(struct timer *t)
{
    struct relay *r = container_of(t, struct relay, again);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    size_t n = strlen(r->cfg.node_socket);
    ASSERT(n < sizeof a.sun_path);
    memcpy(a.sun_path, r->cfg.node_socket, n);
    AUTO(fd_close) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) < 0) {
        timer_set(&r->again, AGAIN); /* the node is being started: nothing tells of it */
        return;
    }
    r->node_fd = TAKE_FD(fd);
    poll_init(&r->node_poll, r->loop, r->node_fd, on_readable);
    poll_want(&r->node_poll, POLL_READ);
    log_info("node.connected", "socket=%s", r->cfg.node_socket);
    relay_tell_taken(r);
}

void relay_ask_begin(struct relay *r, struct relay_ask *a, struct strbuf *b, const char *name)
{
    a->relay = r;
    a->id = ++r->next_id;
    list_init(&a->node);
    relay_add(b, str_of(name));
    relay_addf(b, "%lld", (long long)a->id);
}

bool relay_tell_node(struct relay *r, const struct strbuf *b, const int *fds, size_t nfds, struct err *err)
{
    if (!relay_queue_send(&r->out, r->node_fd, strbuf_str(b), fds, nfds, err))
        return false;
    if (relay_queue_waits(&r->out))
        poll_want(&r->node_poll, POLL_READ | POLL_WRITE);
    return true;
}

bool relay_send(struct relay_ask *a, struct strbuf *b, const int *fds, size_t nfds)
{
    struct relay *r = a->relay;
    struct err err = ERR;
    if (b->over || r->node_fd < 0 || !relay_tell_node(r, b, fds, nfds, &err))
        return false;
    list_add_tail(&r->asks, &a->node);
    return true;
}

void relay_forget(struct relay_ask *a, bool tell_node)
{
    struct err ignored = ERR; /* the node is lost then, which says it */
    if (!a->relay || list_empty(&a->node))
        return;
    list_del(&a->node);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(100);
    relay_add(&b, S("forget"));
    relay_addf(&b, "%lld", (long long)a->id);
    if (tell_node && a->relay->node_fd >= 0 && !relay_tell_node(a->relay, &b, NULL, 0, &ignored))
        lose_node(a->relay);
}

void relay_tell_taken(struct relay *r)
{
    struct err err = ERR;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(RELAY_MESSAGE_MOST);
    if (!r->taken || r->node_fd < 0)
        return;
    relay_add(&b, S("taken"));
    relay_add(&b, S("0"));
    relay_add(&b, str_of(r->taken));
    if (!relay_tell_node(r, &b, NULL, 0, &err))
        lose_node(r);
}

void relay_probed(struct relay *r, struct str id, enum probe_outcome outcome, struct str text)
{
    struct err err = ERR;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(RELAY_MESSAGE_MOST);
    relay_add(&b, S("probed"));
    relay_add(&b, id);
    relay_add(&b, str_of(probe_outcome_word(outcome)));
    relay_add(&b, str_sub(text, 0, PROBE_BODY_MOST + 4096));
    if (r->node_fd >= 0 && !relay_tell_node(r, &b, NULL, 0, &err))
        lose_node(r);
}

/* --- requests --- */

void relay_fail(struct http_request *h, int status, struct str text)
{
    http_respond(h, status, S("text/plain; charset=utf-8"), text);
}

struct str relay_query(struct http_request *h, struct str name)
{
    struct str rest = h->query, key, value;
    struct err ignored = ERR; /* the server has read the same query before */
    while (http_query_next(&h->arena, &rest, &key, &value, &ignored))
        if (str_eq(key, name))
            return value;
    return S("");
}

bool relay_query_true(struct http_request *h, struct str name)
{
    struct str rest = h->query, key, value;
    struct err ignored = ERR; /* the query was read whole before */
    while (http_query_next(&h->arena, &rest, &key, &value, &ignored))
        if (str_eq(key, name)) /* as upstream: "stdin", "stdin=True" ... are all true */
            return !str_eq(value, S("0")) && !str_ieq(value, S("false"));
    return false;
}

static bool may_ask(struct relay *r, const struct http_request *h)
{
    return h->peer->is_unix && (h->peer->cred.uid == r->cfg.server_uid || h->peer->cred.uid == 0);
}

/* Paths that a kubelet has and that stay closed: 405, as one whose settings say so. */
static const char *closed_door(struct str path)
{
    return str_starts(path, S("/debug/pprof"))   ? "profiling endpoint is disabled.\n"
           : str_starts(path, S("/debug/flags")) ? "flags endpoint is disabled.\n"
                                                 : NULL;
}

static void serve_health(struct relay *r, struct http_request *h)
{
    relay_fail(h, r->node_fd >= 0 ? 200 : 503, r->node_fd >= 0 ? S("ok") : S("the node cannot be reached"));
}

static bool serve_page(struct relay *r, struct http_request *h)
{
    struct str health[] = {S("/healthz"), S("/healthz/ping"), S("/healthz/log"), S("/healthz/syncloop")};
    for (size_t i = 0; i < countof(health); i++) {
        if (str_eq(h->path, health[i])) {
            serve_health(r, h);
            return true;
        }
    }
    const char *closed = closed_door(h->path);
    if (closed)
        relay_fail(h, 405, str_of(closed));
    else if (str_eq(h->path, S("/configz")))
        http_respond(h, 200, S("application/json"), str_of(r->cfg.configz));
    else if (str_eq(h->path, S("/metrics/edge")))
        relay_metrics(r, h);
    else
        return relay_figures(r, h);
    return true;
}

void relay_serve(struct relay *r, struct http_request *h)
{
    struct str rest = str_sub(h->path, 1, h->path.n), part[5] = {{0}};
    size_t n = 0;
    if (serve_page(r, h))
        return;
    if (str_eq(h->path, S("/logs")) || str_starts(h->path, S("/logs/"))) {
        if (str_eq(h->method, S("GET")))
            relay_files(r, h, str_sub(h->path, MIN(h->path.n, sizeof "/logs/" - 1), h->path.n));
        else
            relay_fail(h, 405, S("files are only read"));
        return;
    }
    while (n < countof(part) && str_cut(&rest, '/', &part[n]))
        n++;
    if (n == 4 && str_eq(part[0], S("containerLogs")))
        relay_logs(r, h, part[1], part[2], part[3]);
    else if (n == 4 && str_eq(part[0], S("exec")))
        relay_exec(r, h, part[1], part[2], part[3], false);
    else if (n == 4 && str_eq(part[0], S("attach")))
        relay_exec(r, h, part[1], part[2], part[3], true);
    else if (n == 3 && str_eq(part[0], S("portForward")))
        relay_forward(r, h, part[1], part[2]);
    else
        relay_fail(h, 404, S("404 page not found"));
}

static void on_request(struct http_request *h, void *arg)
{
    struct relay *r = arg;
    fault_pass("relay.request");
    if (may_ask(r, h))
        relay_serve(r, h);
    else
        relay_fail(h, 401, S("Unauthorized"));
}

struct relay *relay_new(const struct relay_config *c)
{
    struct relay *r = NEW(struct relay);
    r->loop = c->loop;
    r->cfg = *c;
    r->node_fd = -1;
    list_init(&r->asks);
    relay_queue_init(&r->out);
    relay_logs_init(r);
    timer_init(&r->again, r->loop, connect_node);
    timer_set(&r->again, 0);
    struct http_server_config hc = {.service = {.request = on_request, .arg = r}};
    r->http = http_server_new(r->loop, &hc);
    http_server_listen(r->http, c->own_listen_fd);
    if (c->own_door_fd >= 0)
        relay_door_start(r, c->own_door_fd);
    else if (c->door_port)
        relay_door_try(r);
    return r;
}
