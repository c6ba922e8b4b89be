/* dns_server.c - the DNS server's sockets: clients by UDP and TCP, and the questions that wait for an upstream.
 *
 * A question is read (dns_packet.h) and given to the zone (dns_zone.h). Either that writes the answer at once; or
 * the name is not the cluster's, and then the cache answers, or an upstream is asked; or it is an ExternalName, and
 * the name that it stands for is looked up in the zone in turn, a bounded number of times, and then outside.
 *
 * Asking outside (struct waiting): each try has a socket of its own, connected to the upstream, so the kernel
 * chooses a random port and drops what others send; the id is random too, and the answer must repeat the question
 * (RFC 5452). No answer in time, an error, or SERVFAIL where there is another upstream: the next one is asked, TRIES
 * times in all; an answer that was cut is asked for again by TCP. Questions are not merged: the cache makes that
 * rare.
 *
 * Fairness. What is bounded is bounded for everybody (WAITING_MAX, CONNS_MAX) and for one address (struct source).
 * At the bound of an address its further questions get SERVFAIL. Where all is taken and somebody with less comes,
 * whoever has most loses the oldest. So one pod that floods takes its own share and no more.
 *
 * TCP: whoever does not read its answers is not read from, and its timer runs from one whole question to the next,
 * so bytes that never make a question buy no time. A connection is freed when it is closed and no question of it
 * waits (conn_release); while a batch of questions is answered it is held by counting itself as one.
 *
 * Buffers: one message in and one out at a time, in the server; nothing is kept between callbacks but what waits.
 */
#include "net/dns_server.h"
#include "base/fault.h"
#include "base/log.h"
#include "net/addr.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#define WAITING_MAX   512
#define WAITING_SHARE 64 /* of them for one source */
#define CONNS_MAX     128
#define CONNS_SHARE   16
#define CHASE_MOST    8  /* ExternalNames in a row */
#define PER_TURN      64 /* packets taken from a socket before others have their turn */
#define TRY_NS        (1500 * NS_PER_MS)
#define TRIES         4
#define TCP_IDLE_NS   (10 * NS_PER_S)
#define OUT_MAX       (256 << 10) /* unsent answers of one connection */
#define TCP_IN_MAX    (DNS_TCP_MAX + 2)
#define LISTEN_QUEUED 128

/* What one address takes of what there is for all. Here while it takes anything. */
struct dns_source {
    struct list all;
    uint32_t ip;
    unsigned conns, waiting;
    bool told; /* that it has its share */
};

/* A TCP connection of a client. Freed when it is closed and no question of it waits. */
struct dns_conn {
    struct dns_server *server;
    struct list all;
    struct dns_source *source;
    struct poll poll;
    struct timer idle; /* since the last whole question: bytes that make none buy no time */
    int fd;            /* -1: closed */
    unsigned waiting;
    struct strbuf in, out;
};

/* Where an answer goes. */
struct dns_asker {
    struct dns_conn *conn; /* NULL: UDP, to addr */
    uint32_t ip;           /* whose question it is */
    struct sockaddr_storage addr;
    socklen_t addr_n;
};

/* A question that waits for an upstream. */
struct dns_waiting {
    struct dns_server *server;
    struct list all;
    struct dns_source *source;
    struct dns_asker asker;
    struct dns_query asked; /* by the client */
    struct dns_query ours;  /* to the upstream: another name for an ExternalName */
    struct dns_name *chain; /* to `ours`, for an ExternalName; NULL: was asked for itself */
    size_t nchain;
    bool tcp;
    int tries;
    uint16_t id;
    int fd;
    struct poll poll;
    struct timer timer;
    struct strbuf in; /* TCP */
    size_t sent;      /* TCP */
};

struct dns_server {
    struct loop *loop;
    struct dns_server_config config;
    struct dns_cache cache;
    struct dns_stats stats;
    struct poll udp, tcp;
    struct list conns, waiting, sources;
    unsigned nconns, nwaiting;
    uint8_t in[DNS_TCP_MAX], out[DNS_TCP_MAX];
};

/* ---- shares: nobody takes what is there for all ---- */

static uint32_t ip_of(const struct sockaddr_storage *a)
{
    struct sockaddr_in in;
    memcpy(&in, a, sizeof in);
    return a->ss_family == AF_INET ? ntohl(in.sin_addr.s_addr) : 0;
}

static struct dns_source *source_of(struct dns_server *s, uint32_t ip)
{
    list_each (x, &s->sources, struct dns_source, all)
        if (x->ip == ip)
            return x;
    struct dns_source *x = NEW(struct dns_source);
    x->ip = ip;
    list_add_tail(&s->sources, &x->all);
    return x;
}

static void source_release(struct dns_source *x)
{
    if (x->conns || x->waiting)
        return;
    list_del(&x->all);
    mem_free(x);
}

static void source_refuse(struct dns_server *s, struct dns_source *x, const char *what, unsigned share)
{
    s->stats.refused++;
    if (!x->told)
        log_warn("dns.share", "from=" IP4_FMT " has %u %s, its share; further ones are refused until it has none",
                 IP4_ARG(x->ip), share, what);
    x->told = true;
}

static struct dns_source *source_greediest(struct dns_server *s, bool conns)
{
    struct dns_source *most = NULL;
    list_each (x, &s->sources, struct dns_source, all)
        if (!most || (conns ? x->conns > most->conns : x->waiting > most->waiting))
            most = x;
    return most;
}

static void conn_release(struct dns_conn *c)
{
    if (c->fd >= 0 || c->waiting)
        return;
    list_del(&c->all);
    strbuf_fini(&c->in);
    strbuf_fini(&c->out);
    mem_free(c);
}

static void conn_close(struct dns_conn *c)
{
    if (c->fd >= 0) {
        poll_stop(&c->poll);
        timer_stop(&c->idle);
        fd_close(TAKE_FD(c->fd));
        c->server->nconns--;
        c->source->conns--;
        source_release(c->source);
        c->source = NULL;
    }
    conn_release(c);
}

static void conn_flush(struct dns_conn *c)
{
    while (c->out.n) {
        ssize_t n = send(c->fd, c->out.p, c->out.n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            conn_close(c);
            return;
        }
        if (n < 0)
            break;
        strbuf_drop(&c->out, (size_t)n);
    }
    /* one who does not read is not read from */
    poll_want(&c->poll, (c->out.n ? POLL_WRITE : 0) | (c->out.n < OUT_MAX / 2 ? POLL_READ : 0));
}

static void send_answer(struct dns_server *s, const struct dns_asker *to, const uint8_t *msg, size_t n)
{
    if (!to->conn) {
        if (sendto(s->config.udp_fd, msg, n, MSG_DONTWAIT, (const struct sockaddr *)&to->addr, to->addr_n) < 0)
            s->stats.dropped++; /* as the network would: the client asks again */
        return;
    }
    if (to->conn->fd < 0)
        return;
    uint8_t len[2] = {(uint8_t)(n >> 8), (uint8_t)n};
    strbuf_add(&to->conn->out, (struct str){(const char *)len, 2});
    strbuf_add(&to->conn->out, (struct str){(const char *)msg, n});
    if (to->conn->out.over)
        conn_close(to->conn);
    else
        conn_flush(to->conn);
}

static void send_error(struct dns_server *s, const struct dns_asker *to, const struct dns_query *q, int rcode)
{
    s->stats.failed += rcode == DNS_SERVFAIL;
    send_answer(s, to, s->out, dns_write_error(s->out, sizeof s->out, q, rcode));
}

/* ---- upstream ---- */

static void waiting_stop(struct dns_waiting *w)
{
    timer_stop(&w->timer);
    if (w->fd >= 0) {
        poll_stop(&w->poll);
        fd_close(TAKE_FD(w->fd));
    }
}

static void waiting_free(struct dns_waiting *w)
{
    waiting_stop(w);
    list_del(&w->all);
    w->server->nwaiting--;
    w->source->waiting--;
    source_release(w->source);
    struct dns_conn *c = w->asker.conn;
    strbuf_fini(&w->in);
    mem_free(w->chain);
    mem_free(w);
    if (c) {
        c->waiting--;
        conn_release(c);
    }
}

static void waiting_try(struct dns_waiting *w);

/* An upstream's message becomes the client's: its id, and no longer than it can take. */
static void answer_relay(struct dns_server *s, const struct dns_asker *to, const struct dns_query *q, uint8_t *msg,
                         size_t n)
{
    if (!to->conn && n > q->udp_size) {
        struct dns_writer w;
        dns_write_begin(&w, s->out, sizeof s->out, q, false);
        w.truncated = true;
        n = dns_write_end(&w, DNS_NOERROR, false);
        send_answer(s, to, s->out, n);
        return;
    }
    msg[0] = (uint8_t)(q->id >> 8);
    msg[1] = (uint8_t)q->id;
    send_answer(s, to, msg, n);
}

static void waiting_fail(struct dns_waiting *w)
{
    struct dns_server *s = w->server;
    s->stats.failed++;
    size_t n = w->chain ? dns_zone_chased(&w->asked, w->chain, w->nchain, NULL, 0, NULL, w->asker.conn != NULL,
                                          s->out, sizeof s->out)
                        : dns_write_error(s->out, sizeof s->out, &w->asked, DNS_SERVFAIL);
    send_answer(s, &w->asker, s->out, n);
    waiting_free(w);
}

static void waiting_next(struct dns_waiting *w)
{
    waiting_stop(w);
    w->tcp = false;
    w->tries++;
    waiting_try(w);
}

static void waiting_answer(struct dns_waiting *w, uint8_t *msg, size_t n)
{
    struct dns_server *s = w->server;
    struct dns_reply reply;
    if (!dns_reply_read(msg, n, &w->ours, w->id, &reply)) {
        if (w->tcp)
            waiting_next(w);
        return; /* UDP: somebody else's; the real one may still come */
    }
    if (reply.truncated && !w->tcp) {
        waiting_stop(w);
        w->tcp = true;
        waiting_try(w);
        return;
    }
    if ((reply.rcode == DNS_SERVFAIL || reply.rcode == DNS_REFUSED) && w->tries + 1 < TRIES &&
        s->config.upstreams.n > 1) {
        waiting_next(w);
        return;
    }
    dns_cache_put(&s->cache, &w->ours, loop_now(s->loop), msg, n, &reply);
    if (w->chain) {
        n = dns_zone_chased(&w->asked, w->chain, w->nchain, msg, n, &reply, w->asker.conn != NULL, s->out,
                            sizeof s->out);
        send_answer(s, &w->asker, s->out, n);
    } else {
        answer_relay(s, &w->asker, &w->asked, msg, n);
    }
    waiting_free(w);
}

static void on_upstream_udp(struct poll *p, int ready)
{
    struct dns_waiting *w = container_of(p, struct dns_waiting, poll);
    struct dns_server *s = w->server;
    (void)ready;
    ssize_t n = recv(w->fd, s->in, sizeof s->in, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0)
        waiting_next(w); /* refused */
    else
        waiting_answer(w, s->in, (size_t)n);
}

static bool upstream_send_tcp(struct dns_waiting *w)
{
    uint8_t msg[2 + DNS_UDP_MIN];
    size_t n = dns_ask(msg + 2, sizeof msg - 2, &w->ours, w->id);
    msg[0] = (uint8_t)(n >> 8);
    msg[1] = (uint8_t)n;
    ssize_t sent = send(w->fd, msg + w->sent, n + 2 - w->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0)
        return errno == EAGAIN || errno == EINTR;
    w->sent += (size_t)sent;
    if (w->sent == n + 2)
        poll_want(&w->poll, POLL_READ);
    return true;
}

static void on_upstream_tcp(struct poll *p, int ready)
{
    struct dns_waiting *w = container_of(p, struct dns_waiting, poll);
    if (ready & POLL_WRITE && !upstream_send_tcp(w)) {
        waiting_next(w);
        return;
    }
    if (!(ready & POLL_READ))
        return;
    char *room = strbuf_room(&w->in, 4096);
    ssize_t n = room ? recv(w->fd, room, 4096, MSG_DONTWAIT) : 0;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        waiting_next(w);
        return;
    }
    strbuf_used(&w->in, (size_t)n);
    const uint8_t *b = (const uint8_t *)w->in.p;
    size_t need = w->in.n < 2 ? 2 : 2u + (size_t)(b[0] << 8 | b[1]);
    if (w->in.n >= need && need > 2) {
        struct dns_server *s = w->server;
        (void)memcpy(s->in, b + 2, need - 2);
        waiting_answer(w, s->in, need - 2);
    }
}

static void on_upstream_late(struct timer *t)
{
    waiting_next(container_of(t, struct dns_waiting, timer));
}

static bool upstream_open(struct dns_waiting *w, const struct sockaddr_storage *to)
{
    socklen_t n = to->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    int type = (w->tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC;
    /* a socket of its own: connected, so only that upstream can answer, from a port the kernel chose at random */
    w->fd = socket(to->ss_family, type, 0);
    w->sent = 0;
    strbuf_reset(&w->in);
    random_bytes(&w->id, sizeof w->id);
    if (w->fd < 0 || (connect(w->fd, (const struct sockaddr *)to, n) < 0 && errno != EINPROGRESS))
        return false;
    poll_init(&w->poll, w->server->loop, w->fd, w->tcp ? on_upstream_tcp : on_upstream_udp);
    poll_want(&w->poll, w->tcp ? POLL_WRITE | POLL_READ : POLL_READ);
    if (w->tcp)
        return true;
    uint8_t msg[DNS_UDP_MIN];
    size_t len = dns_ask(msg, sizeof msg, &w->ours, w->id);
    return send(w->fd, msg, len, MSG_DONTWAIT) == (ssize_t)len;
}

static void waiting_try(struct dns_waiting *w)
{
    struct dns_server *s = w->server;
    if (w->tries >= TRIES || s->config.upstreams.n == 0) {
        waiting_fail(w);
        return;
    }
    timer_set(&w->timer,
              upstream_open(w, &s->config.upstreams.addr[(size_t)w->tries % s->config.upstreams.n]) ? TRY_NS : 0);
}

/* Where there is no room for anybody, the one who takes most loses the question that waits longest. NULL: it is he
 * who asks, or he has his share. */
static struct dns_source *waiting_room(struct dns_server *s, uint32_t ip)
{
    struct dns_source *x = source_of(s, ip);
    if (x->waiting >= WAITING_SHARE) {
        source_refuse(s, x, "questions that wait for an answer from outside", WAITING_SHARE);
        return NULL;
    }
    if (s->nwaiting < WAITING_MAX)
        return x;
    struct dns_source *most = source_greediest(s, false);
    if (most->waiting <= x->waiting + 1) {
        s->stats.refused++;
        source_release(x);
        return NULL;
    }
    list_each (w, &s->waiting, struct dns_waiting, all)
        if (w->source == most) {
            s->stats.refused++;
            waiting_fail(w);
            break;
        }
    return x;
}

static void query_forward(struct dns_server *s, const struct dns_asker *from, const struct dns_query *q,
                          const struct dns_name *chain, size_t nchain)
{
    struct dns_query ours = *q;
    if (nchain)
        ours.name = chain[nchain - 1];
    size_t n = dns_cache_get(&s->cache, &ours, loop_now(s->loop), s->in, sizeof s->in);
    struct dns_reply reply;
    if (n && nchain && dns_reply_read(s->in, n, &ours, 0, &reply)) {
        s->stats.cached++;
        n = dns_zone_chased(q, chain, nchain, s->in, n, &reply, from->conn != NULL, s->out, sizeof s->out);
        send_answer(s, from, s->out, n);
        return;
    }
    if (n && !nchain) {
        s->stats.cached++;
        answer_relay(s, from, q, s->in, n);
        return;
    }
    struct dns_source *source = waiting_room(s, from->ip);
    if (!source) {
        send_error(s, from, q, DNS_SERVFAIL);
        return;
    }
    struct dns_waiting *w = NEW(struct dns_waiting);
    w->server = s;
    w->source = source;
    source->waiting++;
    w->asker = *from;
    w->asked = *q;
    w->ours = ours;
    w->chain = nchain ? mem_dup(chain, nchain * sizeof *chain) : NULL;
    w->nchain = nchain;
    w->fd = -1;
    w->in = STRBUF(TCP_IN_MAX + 4096);
    timer_init(&w->timer, s->loop, on_upstream_late);
    list_add_tail(&s->waiting, &w->all);
    s->nwaiting++;
    if (from->conn)
        from->conn->waiting++;
    s->stats.forwarded++;
    waiting_try(w);
}

/* ---- clients ---- */

/* Names of the cluster are looked up here, as many as lead on; a circle of ExternalNames ends. */
static void name_chase(struct dns_server *s, const struct dns_asker *from, const struct dns_query *q,
                       const struct dns_name *target, uint32_t rotate)
{
    struct dns_name chain[CHASE_MOST] = {*target};
    struct dns_query inner = *q;
    struct dns_reply reply;
    enum dns_outcome o;
    size_t n = 1, len = 0;
    for (;; n++) {
        struct dns_name next;
        inner.name = chain[n - 1];
        o = dns_zone_answer(s->config.zone, &inner, true, rotate, s->in, sizeof s->in, &len, &next);
        if (o != DNS_CHASE || n == CHASE_MOST)
            break;
        chain[n] = next;
    }
    if (o == DNS_FORWARD) {
        query_forward(s, from, q, chain, n);
        return;
    }
    bool ok = o == DNS_DONE && dns_reply_read(s->in, len, &inner, inner.id, &reply);
    len = dns_zone_chased(q, chain, n, s->in, len, ok ? &reply : NULL, from->conn != NULL, s->out, sizeof s->out);
    send_answer(s, from, s->out, len);
}

static void query_answer(struct dns_server *s, const struct dns_asker *from, const uint8_t *msg, size_t n)
{
    struct dns_query q;
    struct dns_name target;
    size_t len = 0;
    uint32_t rotate;
    fault_pass("dns.question");
    int rcode = dns_query_read(msg, n, &q);
    s->stats.queries++;
    if (rcode < 0) {
        s->stats.dropped++;
        return;
    }
    if (rcode != DNS_NOERROR) {
        send_error(s, from, &q, rcode);
        return;
    }
    if (q.type == DNS_AXFR || q.type == DNS_IXFR) { /* nobody takes whole zones, ours or others' */
        send_error(s, from, &q, DNS_REFUSED);
        return;
    }
    random_bytes(&rotate, sizeof rotate);
    switch (dns_zone_answer(s->config.zone, &q, from->conn != NULL, rotate, s->out, sizeof s->out, &len, &target)) {
    case DNS_DONE:
        s->stats.own++;
        send_answer(s, from, s->out, len);
        return;
    case DNS_CHASE: name_chase(s, from, &q, &target, rotate); return;
    case DNS_FORWARD:
        if (!q.rd)
            send_error(s, from, &q, DNS_REFUSED);
        else
            query_forward(s, from, &q, NULL, 0);
        return;
    }
}

static void on_udp(struct poll *p, int ready)
{
    struct dns_server *s = container_of(p, struct dns_server, udp);
    (void)ready;
    for (int i = 0; i < PER_TURN; i++) {
        struct dns_asker from = {.addr_n = sizeof from.addr};
        ssize_t n = recvfrom(p->fd, s->in, sizeof s->in, MSG_DONTWAIT, (struct sockaddr *)&from.addr, &from.addr_n);
        if (n < 0 && errno == EAGAIN)
            return;
        from.ip = ip_of(&from.addr);
        if (n >= 0)
            query_answer(s, &from, s->in, (size_t)n);
    }
}

static void on_conn_idle(struct timer *t)
{
    struct dns_conn *c = container_of(t, struct dns_conn, idle);
    if (c->waiting && !c->out.n)
        timer_set(&c->idle, TCP_IDLE_NS);
    else
        conn_close(c);
}

static void on_conn(struct poll *p, int ready)
{
    struct dns_conn *c = container_of(p, struct dns_conn, poll);
    if (ready & POLL_WRITE && c->out.n) {
        conn_flush(c);
        return; /* c may be gone; what can be read will be told again */
    }
    char *room = strbuf_room(&c->in, 4096);
    ssize_t n = room ? recv(c->fd, room, 4096, MSG_DONTWAIT) : 0;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        conn_close(c);
        return;
    }
    strbuf_used(&c->in, (size_t)n);
    c->waiting++; /* holds it while answers to it may close it */
    while (c->fd >= 0 && c->in.n >= 2) {
        const uint8_t *b = (const uint8_t *)c->in.p;
        size_t len = (size_t)(b[0] << 8 | b[1]);
        if (c->in.n < len + 2)
            break;
        AUTO_FREE uint8_t *msg = mem_dup(b + 2, len);
        strbuf_drop(&c->in, len + 2);
        timer_set(&c->idle, TCP_IDLE_NS);
        query_answer(c->server, &(struct dns_asker){.conn = c, .ip = c->source->ip}, msg, len);
    }
    c->waiting--;
    conn_release(c);
}

/* As waiting_room, for connections. */
static struct dns_source *conn_room(struct dns_server *s, uint32_t ip)
{
    struct dns_source *x = source_of(s, ip);
    if (x->conns >= CONNS_SHARE) {
        source_refuse(s, x, "connections", CONNS_SHARE);
        return NULL;
    }
    if (s->nconns < CONNS_MAX)
        return x;
    struct dns_source *most = source_greediest(s, true);
    s->stats.refused++;
    if (most->conns <= x->conns + 1) {
        source_release(x);
        return NULL;
    }
    list_each (c, &s->conns, struct dns_conn, all)
        if (c->source == most) {
            conn_close(c);
            break;
        }
    return x;
}

static void on_accept(struct poll *p, int ready)
{
    struct dns_server *s = container_of(p, struct dns_server, tcp);
    (void)ready;
    for (int i = 0; i < PER_TURN; i++) {
        struct sockaddr_storage from = {0};
        socklen_t from_n = sizeof from;
        int fd = accept4(p->fd, (struct sockaddr *)&from, &from_n, SOCK_NONBLOCK | SOCK_CLOEXEC), one = 1;
        if (fd < 0)
            return;
        struct dns_source *source = conn_room(s, ip_of(&from));
        if (!source) {
            fd_close(fd);
            continue;
        }
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* slower, no more */
        struct dns_conn *c = NEW(struct dns_conn);
        c->server = s;
        c->source = source;
        source->conns++;
        c->fd = fd;
        c->in = STRBUF(TCP_IN_MAX + 4096);
        c->out = STRBUF(OUT_MAX);
        list_add_tail(&s->conns, &c->all);
        s->nconns++;
        timer_init(&c->idle, s->loop, on_conn_idle);
        timer_set(&c->idle, TCP_IDLE_NS);
        poll_init(&c->poll, s->loop, fd, on_conn);
        poll_want(&c->poll, POLL_READ);
    }
}

struct dns_server *dns_server_new(struct loop *l, const struct dns_server_config *c)
{
    struct dns_server *s = NEW(struct dns_server);
    s->loop = l;
    s->config = *c;
    dns_cache_init(&s->cache);
    list_init(&s->conns);
    list_init(&s->waiting);
    list_init(&s->sources);
    if (c->udp_fd >= 0) {
        poll_init(&s->udp, l, c->udp_fd, on_udp);
        poll_want(&s->udp, POLL_READ);
    }
    if (c->tcp_fd >= 0) {
        poll_init(&s->tcp, l, c->tcp_fd, on_accept);
        poll_want(&s->tcp, POLL_READ);
    }
    return s;
}

void dns_server_free(struct dns_server *s)
{
    if (!s)
        return;
    while (!list_empty(&s->waiting))
        waiting_free(list_first(&s->waiting, struct dns_waiting, all));
    while (!list_empty(&s->conns))
        conn_close(list_first(&s->conns, struct dns_conn, all));
    if (s->config.udp_fd >= 0) {
        poll_stop(&s->udp);
        fd_close(s->config.udp_fd);
    }
    if (s->config.tcp_fd >= 0) {
        poll_stop(&s->tcp);
        fd_close(s->config.tcp_fd);
    }
    dns_cache_fini(&s->cache);
    mem_free(s);
}

void dns_server_upstreams(struct dns_server *s, const struct dns_upstreams *u)
{
    s->config.upstreams = *u;
    dns_cache_fini(&s->cache); /* others may know other names */
    dns_cache_init(&s->cache);
}

const struct dns_stats *dns_server_stats(const struct dns_server *s)
{
    return &s->stats;
}

bool dns_server_bind(uint32_t ip, uint16_t port, int *udp_fd, int *tcp_fd, struct err *err)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(ip)};
    AUTO(fd_close) int udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    AUTO(fd_close) int tcp = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1;
    if (udp < 0 || tcp < 0)
        return err_errno(err, "sockets for DNS");
    (void)setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one); /* bind tells */
    if (bind(udp, (struct sockaddr *)&a, sizeof a) < 0 || bind(tcp, (struct sockaddr *)&a, sizeof a) < 0 ||
        listen(tcp, LISTEN_QUEUED) < 0)
        return err_errno(err, "listen for DNS on " IP4_FMT ":%u", IP4_ARG(ip), port);
    *udp_fd = TAKE_FD(udp);
    *tcp_fd = TAKE_FD(tcp);
    return true;
}
