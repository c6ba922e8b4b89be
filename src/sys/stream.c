/* stream.c - a stream at work: writing, reading, time, its end. How it comes to be open: stream_open.c.
 *
 * Writing. What is written waits in `queue`, in buffers that are shared with whoever else sends them, and goes out at
 * the end of the loop's turn (`soon`), by one sendmsg where it can. What the socket does not take waits for
 * POLL_WRITE.
 *
 * Reading. Nothing is kept for a stream at rest: bytes go through one buffer of the thread straight to `data`. A
 * reader that pauses, or gives back what it could not use (`unread`), is told again when it goes on.
 *
 * Callbacks. One may free the stream it is told of; `busy` counts those under way, and the memory goes when the last
 * of them has come back (CALL). None is made from inside a call of the owner's: what has to be told waits for `soon`.
 *
 * Its end. `ended` says that the other side writes no more; a stream whose both sides are done, or that failed, is
 * told so once by `closed`. stream_close lingers: what is queued goes out, for at most LINGER_NS.
 */
#include "base/fault.h"
#include "sys/stream_int.h"
#include <openssl/err.h>
#include <poll.h>

#define READ_SIZE    65536
#define RECORD       16384 /* of TLS */
#define READS_A_TURN 4     /* so that one busy stream does not starve the rest */

#define IOV_MOST  64
#define LINGER_NS (5 * NS_PER_S)

#define WATER_LOW  65536
#define WATER_HIGH 262144

#define UNREAD_MOST ((size_t)1 << 30) /* what was read before it was given back is bounded by its reader */

static const struct stream_fns no_fns;

struct err *stream_err(struct stream *s)
{
    if (!s->err)
        s->err = NEW(struct err);
    return s->err;
}

static void queue_clear(struct stream *s)
{
    for (size_t i = s->first; i < s->queue.n; i++)
        buf_unref(s->queue.p[i].buf);
    array_fini(&s->queue);
    s->first = s->sent = s->queued = 0;
    s->write_blocked = false;
}

static void stream_release(struct stream *s)
{
    array_fini(&s->queue);
    strbuf_fini(&s->unread);
    mem_free(s->err);
    mem_free(s->name);
    mem_free(s);
}

static void line_down(struct stream *s)
{
    poll_stop(&s->poll);
    timer_stop(&s->timer);
    queue_clear(s);
    SSL_free(s->ssl);
    s->ssl = NULL;
    if (s->fd >= 0)
        fd_close(s->fd);
    s->fd = -1;
}

void stream_free(struct stream *s)
{
    if (!s)
        return;
    s->freed = true;
    line_down(s);
    soon_stop(&s->soon);
    if (s->lookup && s->lookup->done) {
        mem_free(s->lookup->host);
        mem_free(s->lookup);
    } else if (s->lookup) {
        s->lookup->stream = NULL;
    }
    s->lookup = NULL;
    if (s->busy == 0)
        stream_release(s);
}

/* Around every callback: false when the stream was freed in it. */
static bool stream_back(struct stream *s)
{
    s->busy--;
    if (s->freed && s->busy == 0) {
        stream_release(s);
        return false;
    }
    return !s->freed;
}
#define CALL(s, fn, ...) ((s)->fns->fn ? ((s)->busy++, (s)->fns->fn(__VA_ARGS__), stream_back(s)) : true)

/* stream_err(s) says why. Told in the loop's next quiet moment. */
void stream_fail(struct stream *s)
{
    if (s->state == FAILED)
        return;
    s->state = FAILED;
    line_down(s);
    soon_set(&s->soon);
}

/* ---- writing */

static void queue_advance(struct stream *s, size_t n)
{
    s->moved = loop_now(s->loop);
    s->queued -= n;
    s->sent += n;
    while (s->first < s->queue.n && s->sent >= s->queue.p[s->first].buf->n) {
        s->sent -= s->queue.p[s->first].buf->n;
        buf_unref(s->queue.p[s->first++].buf);
    }
    if (s->first == s->queue.n)
        array_fini(&s->queue), s->first = 0;
    else if (s->first > 64 && s->first > s->queue.n / 2) {
        memmove(s->queue.p, s->queue.p + s->first, (s->queue.n - s->first) * sizeof *s->queue.p);
        s->queue.n -= s->first;
        s->first = 0;
    }
}

static ssize_t send_plain(struct stream *s)
{
    struct iovec iov[IOV_MOST];
    size_t n = 0, skip = s->sent;
    for (size_t i = s->first; i < s->queue.n && n < IOV_MOST; i++, skip = 0)
        iov[n++] = (struct iovec){s->queue.p[i].buf->p + skip, s->queue.p[i].buf->n - skip};
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = n};
    ssize_t got;
    do
        got = fault("stream.write", ECONNRESET) ? -1 : sendmsg(s->fd, &m, MSG_NOSIGNAL);
    while (got < 0 && errno == EINTR);
    if (got >= 0)
        return got;
    if (errno == EAGAIN)
        return 0;
    return err_errno(stream_err(s), "write to %s", s->name), -1;
}

/* At most a record at a time; asked again after WANT_WRITE with the same bytes and no fewer, as OpenSSL demands. */
static ssize_t send_tls(struct stream *s)
{
    char gathered[RECORD];
    const char *from = s->queue.p[s->first].buf->p + s->sent;
    size_t n = MIN(s->queue.p[s->first].buf->n - s->sent, sizeof gathered);
    if (n < sizeof gathered && n < s->queued) {
        size_t skip = s->sent;
        n = 0;
        for (size_t i = s->first; i < s->queue.n && n < sizeof gathered; i++, skip = 0) {
            size_t part = MIN(s->queue.p[i].buf->n - skip, sizeof gathered - n);
            memcpy(gathered + n, s->queue.p[i].buf->p + skip, part);
            n += part;
        }
        from = gathered;
    }
    ERR_clear_error();
    errno = 0;
    int got = SSL_write(s->ssl, from, (int)n);
    if (got > 0)
        return got;
    int why = SSL_get_error(s->ssl, got);
    if (why == SSL_ERROR_WANT_WRITE || why == SSL_ERROR_WANT_READ)
        return 0;
    return tls_failed(s->ssl, got, s->name, stream_err(s)), -1;
}

static void queue_flush(struct stream *s)
{
    while (s->queued && !s->write_broken) {
        ssize_t n = s->ssl ? send_tls(s) : send_plain(s);
        if (n < 0) {
            /* what the other side said before it broke off is still worth reading */
            s->write_broken = true;
            (void)shutdown(s->fd, SHUT_RDWR); /* what has arrived stays readable, then comes the end */
            queue_clear(s);
            if (s->read_ended || s->read_paused)
                stream_fail(s);
            return;
        }
        s->write_blocked = n == 0;
        if (n == 0)
            return;
        queue_advance(s, (size_t)n);
    }
    if (s->end_wanted && !s->end_done && !s->write_broken) {
        s->end_done = true;
        if (s->ssl)
            (void)SSL_shutdown(s->ssl);
        if (!s->ssl || s->lingering)
            (void)shutdown(s->fd, SHUT_WR); /* where the peer is gone there is nobody to tell */
    }
}

static struct chunk *tail_with_room(struct stream *s, size_t n)
{
    struct chunk *c = s->queue.n > s->first ? &s->queue.p[s->queue.n - 1] : NULL;
    return c && c->cap - MIN(c->cap, c->buf->n) >= n ? c : NULL;
}

static bool stream_writable(struct stream *s, size_t n)
{
    if (n == 0 || s->state == FAILED || s->end_wanted || s->write_broken)
        return false;
    bool first = s->queued == 0;
    s->queued += n;
    if (first) { /* a stall begins with something to send */
        s->moved = loop_now(s->loop);
        if (s->stall_ns && !timer_is_set(&s->timer))
            stream_watch_time(s);
    }
    s->over |= s->queued > WATER_HIGH;
    soon_set(&s->soon);
    return true;
}

void stream_write(struct stream *s, struct str b)
{
    if (!stream_writable(s, b.n))
        return;
    struct chunk *c = tail_with_room(s, b.n);
    if (!c) {
        size_t cap = MAX(b.n, (size_t)1024);
        struct buf *fresh = mem_alloc(sizeof *fresh + cap + 1);
        fresh->p = (char *)(fresh + 1);
        fresh->refs = 1;
        array_push(&s->queue, ((struct chunk){fresh, cap}));
        c = &s->queue.p[s->queue.n - 1];
    }
    memcpy(c->buf->p + c->buf->n, b.p, b.n);
    c->buf->n += b.n;
}

void stream_write_buf(struct stream *s, struct buf *b)
{
    if (stream_writable(s, b->n))
        array_push(&s->queue, ((struct chunk){buf_ref(b), 0}));
}

size_t stream_queued(const struct stream *s)
{
    return s->queued;
}

bool stream_over_high(const struct stream *s)
{
    return s->queued > WATER_HIGH;
}

void stream_end(struct stream *s)
{
    s->end_wanted = true;
    soon_set(&s->soon);
}

/* ---- reading */

static ssize_t recv_plain(struct stream *s, char *p, size_t size)
{
    ssize_t n;
    do
        n = fault("stream.read", ECONNRESET) ? -1 : recv(s->fd, p, size, 0);
    while (n < 0 && errno == EINTR);
    if (n == 0)
        s->read_ended = true;
    if (n >= 0)
        return n;
    if (errno == EAGAIN)
        return 0;
    return s->write_broken ? -1 : (err_errno(stream_err(s), "read from %s", s->name), -1);
}

static ssize_t recv_tls(struct stream *s, char *p, size_t size)
{
    ERR_clear_error();
    errno = 0;
    s->read_writes = false;
    int n = SSL_read(s->ssl, p, (int)size);
    if (n > 0)
        return n;
    switch (SSL_get_error(s->ssl, n)) {
    case SSL_ERROR_WANT_READ: return 0;
    case SSL_ERROR_WANT_WRITE: s->read_writes = true; return 0;
    case SSL_ERROR_ZERO_RETURN: s->read_ended = true; return 0;
    default: return s->write_broken ? -1 : (tls_failed(s->ssl, n, s->name, stream_err(s)), -1);
    }
}

/* False: the stream is freed. */
static bool read_some(struct stream *s)
{
    char room[READ_SIZE];
    size_t size = s->ssl ? RECORD : sizeof room;
    s->more_to_read = false;
    s->tls_reads = TLS_READS;
    for (int i = 0; i < READS_A_TURN; i++) {
        if (s->state != OPEN || s->read_paused || s->read_ended || s->unread.n)
            return true;
        ssize_t n = s->ssl ? recv_tls(s, room, size) : recv_plain(s, room, size);
        if (n < 0)
            stream_fail(s);
        if (n <= 0)
            return true;
        s->moved = loop_now(s->loop);
        if (!CALL(s, data, s, ((struct str){room, (size_t)n})))
            return false;
        if (!s->ssl && (size_t)n < size)
            return true;
    }
    s->more_to_read = s->ssl != NULL; /* bytes inside the SSL wake no poll */
    return true;
}

void stream_read_pause(struct stream *s, bool pause)
{
    if (s->read_paused == pause)
        return;
    s->read_paused = pause;
    if (!pause)
        s->more_to_read = true;
    soon_set(&s->soon);
}

void stream_unread(struct stream *s, struct str bytes)
{
    if (bytes.n == 0)
        return;
    if (s->unread.n) { /* these are older than what is kept */
        AUTO(strbuf_fini) struct strbuf rest = s->unread;
        s->unread = STRBUF(UNREAD_MOST);
        strbuf_add(&s->unread, bytes);
        strbuf_add(&s->unread, strbuf_str(&rest));
    } else {
        s->unread.max = UNREAD_MOST;
        strbuf_add(&s->unread, bytes);
    }
    soon_set(&s->soon);
}

/* ---- the turn */

static int events_wanted(const struct stream *s)
{
    switch (s->state) {
    case CONNECTING: return POLL_WRITE;
    case SHAKING: return s->shake_writes ? POLL_WRITE : POLL_READ;
    case OPEN:
        return (s->write_blocked || s->read_writes ? POLL_WRITE : 0) | (s->read_ended     ? 0
                                                                        : s->read_writes  ? 0
                                                                        : !s->read_paused ? POLL_READ
                                                                        : s->hangup_seen  ? 0
                                                                                          : POLL_HANGUP);
    case LOOKING_UP:
    case FAILED: return 0;
    }
    return 0;
}

static bool tell_failure(struct stream *s)
{
    if (s->closed_told)
        return true;
    s->closed_told = true;
    struct err none = ERR;
    return CALL(s, closed, s, s->err ? s->err : &none);
}

static void linger_over(struct stream *s)
{
    if (s->lingering && (s->state == FAILED || s->write_broken || (s->end_done && s->read_ended)))
        stream_free(s);
    else
        stream_update(s);
}

static bool tell_reads(struct stream *s)
{
    if (!s->read_paused && s->unread.n) {
        AUTO(strbuf_fini) struct strbuf b = s->unread;
        s->unread = STRBUF(UNREAD_MOST);
        if (!CALL(s, data, s, strbuf_str(&b)))
            return false;
    }
    if (s->more_to_read && !read_some(s))
        return false;
    if (s->state == OPEN && s->read_ended && !s->ended_told && !s->read_paused && s->unread.n == 0) {
        s->ended_told = true;
        if (!s->fns->ended)
            stream_end(s);
        return CALL(s, ended, s);
    }
    return true;
}

static void soon_run(struct soon *soon)
{
    struct stream *s = container_of(soon, struct stream, soon);
    if (s->lingering) {
        if (s->state == OPEN && s->more_to_read)
            (void)read_some(s); /* calls nobody */
        if (s->state == OPEN)
            queue_flush(s);
        linger_over(s);
        return;
    }
    if (s->state == OPEN && !s->opened_told) {
        s->opened_told = true;
        if (!CALL(s, opened, s))
            return;
    }
    if (s->state == OPEN && !tell_reads(s))
        return;
    if (s->state == OPEN)
        queue_flush(s);
    if (s->over && s->queued <= WATER_LOW) {
        s->over = false;
        if (s->state == OPEN && !CALL(s, drained, s))
            return;
    }
    if (s->state == OPEN && s->ended_told && (s->end_done || s->write_broken)) {
        stream_fail(s); /* with no error set: both sides are done */
        soon_stop(&s->soon);
    }
    if (s->state == FAILED && !tell_failure(s))
        return;
    stream_update(s);
}

/* A break in both directions, or only the other side's end? */
static void stream_hangup(struct stream *s)
{
    struct pollfd p = {.fd = s->fd};
    int bad = 0;
    socklen_t n = sizeof bad;
    if (poll(&p, 1, 0) <= 0 || !(p.revents & (POLLHUP | POLLERR))) {
        s->hangup_seen = true;
        if (s->on_hangup)
            s->on_hangup(s);
        return;
    }
    (void)getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &bad, &n);
    errno = bad ? bad : ECONNRESET;
    (void)err_errno(stream_err(s), "%s", s->name);
    stream_fail(s);
}

void stream_ready(struct poll *p, int ready)
{
    struct stream *s = container_of(p, struct stream, poll);
    switch (s->state) {
    case CONNECTING: stream_connect_ready(s); break;
    case SHAKING: stream_shake(s); break;
    case OPEN:
        if (ready & POLL_WRITE) {
            s->more_to_read |= s->read_writes;
            s->read_writes = false;
            soon_set(&s->soon);
        }
        if (ready & POLL_HANGUP || (s->read_paused && !s->read_ended && ready & POLL_READ))
            stream_hangup(s);
        if (s->state == OPEN && ready & POLL_READ && !read_some(s))
            return;
        if (s->lingering)
            soon_set(&s->soon);
        break;
    case LOOKING_UP:
    case FAILED: break;
    }
    stream_update(s);
}

static int64_t stream_patience(const struct stream *s) /* how long nothing may move; 0: for ever */
{
    if (s->stall_ns && s->queued && (!s->idle_ns || s->stall_ns < s->idle_ns))
        return s->stall_ns;
    return s->idle_ns;
}

void stream_watch_time(struct stream *s)
{
    if (s->state != OPEN || s->lingering)
        return;
    int64_t most = stream_patience(s);
    if (most)
        timer_set(&s->timer, most);
    else
        timer_stop(&s->timer);
}

static void timer_came(struct timer *t)
{
    struct stream *s = container_of(t, struct stream, timer);
    if (s->lingering) {
        stream_free(s);
        return;
    }
    if (s->state == OPEN) {
        int64_t most = stream_patience(s), quiet = loop_now(s->loop) - s->moved;
        if (quiet < most)
            timer_set(t, most - quiet);
        if (most == 0 || quiet < most)
            return;
        (void)err_set(stream_err(s), E_TIMEOUT, "%s: nothing came or went for %lld ms", s->name,
                      (long long)(most / NS_PER_MS));
    } else {
        (void)err_set(stream_err(s), E_TIMEOUT, "connect to %s: no answer in time", s->name);
    }
    stream_fail(s);
}

/* What the stream waits for, after anything changed. */
void stream_update(struct stream *s)
{
    if (s->fd >= 0 && s->state != FAILED)
        poll_want(&s->poll, events_wanted(s));
    bool pending = s->state == OPEN && !s->read_paused &&
                   (s->more_to_read || s->unread.n || (s->read_ended && !s->ended_told));
    if (pending && !s->lingering)
        soon_set(&s->soon);
}

struct stream *stream_fresh(struct loop *l, const struct stream_fns *fns, void *arg)
{
    struct stream *s = NEW(struct stream);
    *s = (struct stream){.loop = l, .fns = fns ? fns : &no_fns, .arg = arg, .fd = -1};
    soon_init(&s->soon, l, soon_run);
    timer_init(&s->timer, l, timer_came);
    return s;
}

void stream_fns_set(struct stream *s, const struct stream_fns *fns, void *arg)
{
    s->fns = fns ? fns : &no_fns;
    s->on_hangup = NULL;
    s->arg = arg;
    s->ended_told = false; /* the new owner has not heard it */
    if (s->state == OPEN && s->read_ended)
        soon_set(&s->soon);
}

void stream_on_hangup(struct stream *s, void (*fn)(struct stream *s))
{
    s->on_hangup = fn;
}

void *stream_arg(const struct stream *s)
{
    return s->arg;
}

struct loop *stream_loop(const struct stream *s)
{
    return s->loop;
}

void stream_idle(struct stream *s, int64_t ns)
{
    s->idle_ns = ns;
    s->moved = loop_now(s->loop);
    stream_watch_time(s);
}

void stream_stall(struct stream *s, int64_t ns)
{
    s->stall_ns = ns;
    stream_watch_time(s);
}

void stream_close(struct stream *s)
{
    if (s->state != OPEN || s->freed) {
        stream_free(s);
        return;
    }
    /* reads on until the other side has closed: closing on unread bytes would reset the line and take back what is
     * on its way */
    stream_fns_set(s, NULL, NULL);
    strbuf_fini(&s->unread);
    s->unread = STRBUF(UNREAD_MOST);
    s->lingering = s->end_wanted = s->more_to_read = true;
    s->read_paused = false;
    timer_set(&s->timer, LINGER_NS);
    soon_set(&s->soon);
    stream_update(s);
}

void stream_peer(struct stream *s, struct arena *a, struct tls_peer *out)
{
    *out = (struct tls_peer){0};
    if (s->ssl)
        tls_peer_of(s->ssl, a, out);
}

bool stream_is_tls(const struct stream *s)
{
    return s->ssl != NULL;
}

struct str stream_alpn(const struct stream *s)
{
    return s->ssl ? tls_alpn_of(s->ssl) : S("");
}
