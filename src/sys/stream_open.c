/* stream_open.c - how a stream comes to be open: names looked up, addresses tried, TLS shaken hands on.
 *
 *   LOOKING_UP -> CONNECTING -> SHAKING -> OPEN, or FAILED from any of them; what a stream does not need is passed
 *   over. A name is looked up in the pool (getaddrinfo waits), and the look-up outlives a stream that goes away
 * first. Its addresses are tried one after the other; the words of the last one stand, where none answers.
 */
#include "base/fault.h"
#include "sys/stream_int.h"
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>

#define CONNECT_NS (10 * NS_PER_S)

static void stream_opened(struct stream *s)
{
    s->state = OPEN;
    s->moved = loop_now(s->loop);
    s->more_to_read = true;
    stream_watch_time(s);
    soon_set(&s->soon);
}

/* A browser or a kubeconfig with "http:" should see a sentence, not a broken line; the same one that Go's servers
 * give. */
static void answer_plain_http(struct stream *s)
{
    static const char text[] = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
    char rest[16384];
    (void)send(s->fd, text, sizeof text - 1, MSG_NOSIGNAL | MSG_DONTWAIT); /* a courtesy */
    (void)recv(s->fd, rest, sizeof rest, MSG_DONTWAIT); /* closing on unread bytes would take the answer back */
}

void stream_shake(struct stream *s)
{
    s->state = SHAKING;
    s->tls_reads = TLS_READS;
    ERR_clear_error();
    errno = 0;
    int rc = SSL_do_handshake(s->ssl);
    if (rc == 1) {
        stream_opened(s);
        return;
    }
    int why = SSL_get_error(s->ssl, rc);
    s->shake_writes = why == SSL_ERROR_WANT_WRITE;
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        return;
    if (SSL_is_server(s->ssl) && ERR_GET_REASON(ERR_peek_error()) == SSL_R_HTTP_REQUEST)
        answer_plain_http(s);
    (void)tls_failed(s->ssl, rc, s->name, stream_err(s));
    stream_fail(s);
}

static void stream_connected(struct stream *s)
{
    mem_free(s->err); /* of addresses that did not answer */
    s->err = NULL;
    if (!s->tls_client) {
        stream_opened(s);
        return;
    }
    s->ssl = tls_client_ssl(s->tls_client, s->fd, &s->tls_reads, s->name, s->alpn, stream_err(s));
    if (s->ssl)
        stream_shake(s);
    else
        stream_fail(s);
}

static void use_fd(struct stream *s, int fd)
{
    s->fd = fd;
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* a unix socket refuses, which is fine */
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    poll_init(&s->poll, s->loop, fd, stream_ready);
}

static void connect_failed(struct stream *s, const struct addr *a)
{
    int keep = errno;
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    addr_text(a, &text);
    errno = keep;
    (void)err_errno(stream_err(s), "connect to %s", text.p);
    s->err->kind = E_UNAVAILABLE;
}

/* Tries one address after the other; with none left, the last error stands. */
static void connect_next(struct stream *s)
{
    struct lookup *k = s->lookup;
    while (k->next < k->nfound) {
        const struct addr *a = &k->found[k->next++];
        poll_stop(&s->poll);
        if (s->fd >= 0)
            fd_close(s->fd);
        s->fd = -1;
        int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) {
            connect_failed(s, a);
            continue;
        }
        use_fd(s, fd);
        s->state = CONNECTING;
        int rc = fault("stream.connect", ECONNREFUSED) ? -1 : connect(fd, &a->sa, a->n);
        if (rc == 0) {
            stream_connected(s);
            return;
        }
        if (errno == EINPROGRESS)
            return;
        connect_failed(s, a);
    }
    stream_fail(s);
}

void stream_connect_ready(struct stream *s)
{
    int bad = 0;
    socklen_t n = sizeof bad;
    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &bad, &n) < 0)
        bad = errno;
    if (bad == 0) {
        stream_connected(s);
        return;
    }
    errno = bad;
    connect_failed(s, &s->lookup->found[s->lookup->next - 1]);
    connect_next(s);
}

static void lookup_work(struct job *j)
{
    struct lookup *k = container_of(j, struct lookup, job);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *list;
    int bad = getaddrinfo(k->host, k->port, &hints, &list);
    if (bad) {
        (void)err_set(&k->err, E_UNAVAILABLE, STREAM_LOOKUP "%s: %s", k->host, gai_strerror(bad));
        return;
    }
    for (struct addrinfo *i = list; i && k->nfound < FOUND_MOST; i = i->ai_next) {
        struct addr *a = &k->found[k->nfound++];
        memcpy(&a->storage, i->ai_addr, a->n = i->ai_addrlen);
    }
    freeaddrinfo(list);
}

static void lookup_done(struct job *j)
{
    struct lookup *k = container_of(j, struct lookup, job);
    k->done = true;
    if (!k->stream) {
        mem_free(k->host);
        mem_free(k);
        return;
    }
    struct stream *s = k->stream;
    if (s->state != LOOKING_UP)
        return;
    *stream_err(s) = k->err;
    connect_next(s);
    stream_update(s);
}

static bool host_and_port(struct lookup *k, struct str address, struct err *err)
{
    ptrdiff_t colon = str_rfind_char(address, ':');
    uint64_t port;
    if (colon <= 0 || !str_to_u64(str_sub(address, (size_t)colon + 1, address.n), 65535, &port))
        return err_set(err, E_INVALID, "\"" STR_FMT "\" is not an address: want HOST:PORT or unix:PATH",
                       STR_ARG(address));
    k->host = str_dupz(address);
    k->host[colon] = 0;
    k->port = k->host + colon + 1;
    return true;
}

/* The host of an address, without port and brackets. */
static struct str host_of(struct str address)
{
    if (str_starts(address, S("unix:")))
        return S("localhost");
    ptrdiff_t colon = str_rfind_char(address, ':');
    struct str host = str_sub(address, 0, colon < 0 ? address.n : (size_t)colon);
    return host.n > 2 && host.p[0] == '[' ? str_sub(host, 1, host.n - 1) : host;
}

struct stream *stream_new(struct loop *l, int own_fd, struct tls_server *tls, const struct stream_fns *fns, void *arg)
{
    struct stream *s = stream_fresh(l, fns, arg);
    s->name = mem_dupz("the client");
    (void)fcntl(own_fd, F_SETFL, fcntl(own_fd, F_GETFL) | O_NONBLOCK); /* a descriptor of ours: cannot fail */
    use_fd(s, own_fd);
    if (tls) {
        s->ssl = tls_server_ssl(tls, own_fd, &s->tls_reads);
        timer_set(&s->timer, CONNECT_NS);
        s->state = SHAKING;
        poll_want(&s->poll, POLL_READ);
    } else {
        stream_opened(s);
    }
    return s;
}

struct stream *stream_connect(struct loop *l, const struct stream_connect *c, const struct stream_fns *fns, void *arg)
{
    struct stream *s = stream_fresh(l, fns, arg);
    struct lookup *k = s->lookup = NEW(struct lookup);
    k->stream = s;
    k->done = true;
    s->tls_client = c->tls;
    s->alpn = c->alpn;
    s->name = str_dupz(c->server_name.n ? c->server_name : c->tls ? host_of(c->address) : c->address);
    timer_set(&s->timer, c->timeout_ns ? c->timeout_ns : CONNECT_NS);
    if (addr_parse(c->address, &k->found[0], stream_err(s))) {
        k->nfound = 1;
        connect_next(s);
        stream_update(s);
    } else if (str_starts(c->address, S("unix:")) || !host_and_port(k, c->address, stream_err(s))) {
        stream_fail(s);
    } else {
        s->state = LOOKING_UP;
        k->done = false;
        job_start(&k->job, l, lookup_work, lookup_done);
    }
    return s;
}
