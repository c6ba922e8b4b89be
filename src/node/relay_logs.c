#include "base/clock.h"
#include "base/log.h"
#include "node/crilog.h"
#include "node/relay_int.h"
#include "wire/websocket.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#define CHUNK      (256 << 10)
#define LOOK_EVERY NS_PER_S
#define LINE_MOST  (1 << 20) /* of a log file; the shim splits at 16 KiB */
#define OLDER_MOST 9         /* rotated files that are looked for: N.log.9 ... N.log.1 */
#define FRAME_MOST 30720     /* bytes of a message of a WebSocket; a multiple of three, so that base64 has no gaps */

/* One reader of one container's log. Files are read in jobs, a chunk at a time; after each the client's pace decides.
 */
struct tailing {
    struct relay_ask ask;
    struct relay *relay;
    struct http_request *http; /* until a WebSocket was made of it */
    struct websocket *socket;  /* NULL both: gone */
    bool base64;
    struct crilog_filter filter;
    int dir, run;
    bool running, reading, news, done; /* running: more may come; news: something was written meanwhile */
    struct list following;             /* of the relay's followers; empty: it is none */
    int watch;                         /* of its folder */
    /* the job's: touched by it alone while `reading` */
    struct job job;
    int file;  /* -1: none open */
    int older; /* the rotated file being read; 0: N.log itself */
    ino_t inode;
    int64_t skip; /* lines that come before the tail */
    bool counted, at_start, eof, failed;
    struct strbuf raw, out; /* the rest of the last chunk; what goes out */
};

/* --- being told of news: one inotify for all, a watch for each folder that somebody follows. The kernel gives few of
 * the former (128 a user), thousands of the latter; and a pod may be that user, and have taken them all. So the one
 * is had from the start, and where there is no watch left the log is looked at every second. --- */

static void go_on(struct tailing *t);

static void on_written(struct inotify *i, int watch, uint32_t mask, struct str name)
{
    (void)name;
    struct relay *r = container_of(i, struct relay, notify);
    list_each (t, &r->followers, struct tailing, following)
        if (t->watch == watch || (mask & IN_Q_OVERFLOW)) {
            t->news = true;
            go_on(t);
        }
}

static void on_look(struct timer *timer)
{
    struct relay *r = container_of(timer, struct relay, look);
    bool any = false;
    list_each (t, &r->followers, struct tailing, following)
        if (t->watch < 0) {
            any = true;
            t->news = true;
            go_on(t);
        }
    if (any)
        timer_set(&r->look, LOOK_EVERY);
}

void relay_logs_init(struct relay *r)
{
    struct err err = ERR;
    list_init(&r->followers);
    timer_init(&r->look, r->loop, on_look);
    r->notifying = inotify_start(&r->notify, r->loop, on_written, &err);
    if (!r->notifying)
        log_warn("logs.watch", "logs that are followed are looked at every second: error=\"%s\"", err.text);
}

static void tailing_follow(struct tailing *t)
{
    struct relay *r = t->relay;
    struct err err = ERR;
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", t->dir);
    t->watch = r->notifying ? inotify_add(&r->notify, path, IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_ONLYDIR, &err)
                            : -1;
    list_add_tail(&r->followers, &t->following);
    if (t->watch < 0 && !timer_is_set(&r->look))
        timer_set(&r->look, LOOK_EVERY);
}

static void tailing_unfollow(struct tailing *t)
{
    struct relay *r = t->relay;
    if (list_empty(&t->following))
        return;
    list_del(&t->following);
    list_each (other, &r->followers, struct tailing, following)
        if (other->watch == t->watch)
            return;
    if (t->watch >= 0)
        inotify_del(&r->notify, t->watch);
}

static void tailing_free(struct tailing *t)
{
    relay_forget(&t->ask, true);
    tailing_unfollow(t);
    websocket_free(t->socket);
    fd_close(t->dir);
    fd_close(t->file);
    strbuf_fini(&t->raw);
    strbuf_fini(&t->out);
    mem_free(t);
}

/* --- in the job --- */

static int open_file(const struct tailing *t, int older)
{
    char name[40];
    if (older)
        (void)snprintf(name, sizeof name, "%d.log.%d", t->run, older);
    else
        (void)snprintf(name, sizeof name, "%d.log", t->run);
    return openat(t->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

static void use_file(struct tailing *t, int older)
{
    struct stat st;
    fd_close(t->file);
    t->file = open_file(t, older);
    t->older = older;
    t->inode = t->file >= 0 && fstat(t->file, &st) == 0 ? st.st_ino : 0;
}

static int64_t count_lines(int fd)
{
    char buf[65536];
    int64_t n = 0;
    off_t at = 0;
    for (ssize_t got; (got = pread(fd, buf, sizeof buf, at)) > 0; at += got)
        for (const char *p = buf; (p = memchr(p, '\n', (size_t)(buf + got - p))); p++)
            n++;
    return n;
}

static void begin_files(struct tailing *t)
{
    int64_t total = 0;
    int oldest = 0;
    for (int older = OLDER_MOST; older >= 0; older--) {
        int fd = open_file(t, older);
        if (fd < 0)
            continue;
        if (!oldest)
            oldest = older;
        if (t->filter.tail >= 0)
            total += count_lines(fd);
        fd_close(fd);
    }
    t->skip = t->filter.tail >= 0 ? MAX(total - t->filter.tail, 0) : 0;
    t->counted = t->at_start = true;
    use_file(t, oldest);
}

static void take_lines(struct tailing *t)
{
    size_t taken = 0;
    for (;;) {
        struct str rest = str_sub(strbuf_str(&t->raw), taken, t->raw.n);
        ptrdiff_t end = str_find_char(rest, '\n');
        struct crilog_line l;
        if (end < 0)
            break;
        taken += (size_t)end + 1;
        if (t->skip > 0) {
            t->skip--;
            continue;
        }
        if (!crilog_parse(str_sub(rest, 0, (size_t)end), &l))
            continue;
        crilog_show(&l, &t->filter, t->at_start, &t->out);
        t->at_start = l.full;
    }
    strbuf_drop(&t->raw, taken);
    if (t->raw.n > LINE_MOST) /* no log of ours: not passed on */
        strbuf_reset(&t->raw);
}

static void read_work(struct job *j)
{
    struct tailing *t = container_of(j, struct tailing, job);
    if (!t->counted)
        begin_files(t);
    t->eof = false;
    while (!t->eof && t->out.n < CHUNK) {
        char *room = t->file >= 0 ? strbuf_room(&t->raw, CHUNK) : NULL;
        ssize_t n = room ? read(t->file, room, CHUNK) : 0;
        if (n > 0) {
            strbuf_used(&t->raw, (size_t)n);
            take_lines(t);
            continue;
        }
        if (t->older) { /* on to the next younger one */
            use_file(t, t->older - 1);
            continue;
        }
        struct stat st;
        char name[40];
        (void)snprintf(name, sizeof name, "%d.log", t->run);
        ino_t was = t->inode;
        bool other = fstatat(t->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino != was;
        if (other)
            use_file(t, 0); /* rotated away from under us: all of the old one is read */
        t->eof = !other || t->file < 0;
    }
}

/* --- in the loop --- */

static bool over_high(const struct tailing *t)
{
    return t->socket ? websocket_over_high(t->socket) : http_over_high(t->http);
}

static void reader_write(struct tailing *t, struct str bytes)
{
    if (!t->socket) {
        http_write(t->http, bytes);
        return;
    }
    for (struct str part; bytes.n; bytes = str_sub(bytes, part.n, bytes.n)) {
        part = str_sub(bytes, 0, FRAME_MOST);
        AUTO(strbuf_fini) struct strbuf text = STRBUF(2 * FRAME_MOST);
        if (t->base64)
            strbuf_add_base64(&text, part.p, part.n);
        websocket_send(t->socket, t->base64 ? WEBSOCKET_TEXT : WEBSOCKET_BINARY,
                       t->base64 ? strbuf_str(&text) : part);
    }
}

static void tailing_finish(struct tailing *t)
{
    if (t->http && !t->http->status) /* it has gone before it was answered */
        http_abort(TAKE(t->http));
    if (t->http)
        http_end(TAKE(t->http));
    if (t->socket)
        websocket_finish(TAKE(t->socket), 1000, S(""));
    t->done = true;
    if (!t->reading)
        tailing_free(t);
}

static void read_done(struct job *j)
{
    struct tailing *t = container_of(j, struct tailing, job);
    t->reading = false;
    if (t->done || (!t->http && !t->socket) || (t->http && t->http->gone)) {
        tailing_finish(t);
        return;
    }
    struct str out = strbuf_str(&t->out);
    if (t->filter.bytes >= 0) {
        out = str_sub(out, 0, (size_t)t->filter.bytes);
        t->filter.bytes -= (int64_t)out.n;
    }
    if (out.n)
        reader_write(t, out);
    strbuf_reset(&t->out);
    if (t->filter.bytes == 0 || (t->eof && !t->news && !(t->filter.follow && t->running)))
        tailing_finish(t);
    else if (!t->eof || t->news)
        go_on(t);
}

static void go_on(struct tailing *t)
{
    if (t->reading || (!t->http && !t->socket) || over_high(t))
        return;
    t->reading = true;
    t->news = false;
    job_start(&t->job, t->relay->loop, read_work, read_done);
}

static void on_drained(struct http_request *h)
{
    go_on(h->user);
}

static void on_gone(struct http_request *h)
{
    struct tailing *t = h->user;
    tailing_finish(t);
}

/* What a client of a WebSocket says is of no interest. */
static void socket_message(struct websocket *w, int kind, struct str bytes)
{
    (void)w, (void)kind, (void)bytes;
}

static void socket_drained(struct websocket *w)
{
    go_on(websocket_arg(w));
}

static void socket_closed(struct websocket *w, int code, struct str reason)
{
    (void)code, (void)reason;
    struct tailing *t = websocket_arg(w);
    websocket_free(TAKE(t->socket));
    tailing_finish(t);
}

static bool open_answer(struct tailing *t)
{
    static const char *const protocols[] = {"binary.k8s.io", "base64.binary.k8s.io", NULL};
    static const struct websocket_fns fns = {socket_message, socket_drained, socket_closed};
    struct websocket_config config = {.protocols = protocols, .ping_ns = 30 * NS_PER_S};
    if (!websocket_wanted(t->http)) {
        http_start(t->http, 200, S("text/plain"), -1);
        return true;
    }
    struct http_request *h = TAKE(t->http);
    h->on_gone = NULL;
    h->on_drained = NULL;
    t->socket = websocket_accept(h, &config, &fns, t);
    if (!t->socket)
        return false;
    t->base64 = str_eqz(websocket_protocol(t->socket), protocols[1]);
    websocket_send(t->socket, t->base64 ? WEBSOCKET_TEXT : WEBSOCKET_BINARY, S("")); /* says that it is open */
    return true;
}

static void tailing_refuse(struct tailing *t, int status, struct str text)
{
    struct http_request *h = TAKE(t->http);
    h->on_gone = NULL;
    relay_fail(h, status, text);
    tailing_finish(t);
}

static void tailing_begin(struct tailing *t, const struct str *texts, size_t n, int own_dir)
{
    int64_t run = 0;
    if (n < 2 || own_dir < 0 || !str_to_i64(texts[0], 0, INT32_MAX, &run)) {
        fd_close(own_dir);
        tailing_refuse(t, 500, S("the node's answer is not understood"));
        return;
    }
    t->dir = own_dir;
    t->run = (int)run;
    t->running = str_eq(texts[1], S("running"));
    if (t->filter.follow && t->running)
        tailing_follow(t);
    if (open_answer(t))
        go_on(t);
    else
        tailing_finish(t);
}

static void on_news(struct relay_ask *a, struct str name, const struct str *texts, size_t n, int own_fd)
{
    struct tailing *t = container_of(a, struct tailing, ask);
    int64_t status;
    if (str_eq(name, S("logs"))) {
        tailing_begin(t, texts, n, own_fd);
        return;
    }
    fd_close(own_fd);
    if (str_eq(name, S("refused")) && t->http && n == 2) {
        tailing_refuse(t, str_to_i64(texts[0], 400, 599, &status) ? (int)status : 500, texts[1]);
    } else if (t->dir < 0) {
        tailing_refuse(t, 503, S("the node went away"));
    } else { /* ended, or the node is gone: what is written goes out yet */
        t->running = false;
        t->news = true;
        go_on(t);
    }
}

static bool number_parse(struct http_request *h, struct str name, int64_t *out)
{
    struct str text = relay_query(h, name);
    return !text.n || str_to_i64(text, 0, INT64_MAX / NS_PER_S, out);
}

static bool read_filter(struct http_request *h, struct crilog_filter *f)
{
    int64_t since = 0;
    struct str time = relay_query(h, S("sinceTime")), stream = relay_query(h, S("stream"));
    *f = (struct crilog_filter){.tail = -1, .bytes = -1};
    f->timestamps = relay_query_true(h, S("timestamps"));
    f->follow = relay_query_true(h, S("follow"));
    f->previous = relay_query_true(h, S("previous"));
    f->only_out = str_eq(stream, S("Stdout"));
    f->only_err = str_eq(stream, S("Stderr"));
    bool ok = number_parse(h, S("tailLines"), &f->tail) && number_parse(h, S("limitBytes"), &f->bytes) &&
              number_parse(h, S("sinceSeconds"), &since) && (!time.n || time_parse(time, &f->since));
    if (since)
        f->since = clock_real() - ns_of_seconds(since);
    return ok;
}

void relay_logs(struct relay *r, struct http_request *h, struct str ns, struct str pod, struct str container)
{
    struct crilog_filter filter;
    if (!read_filter(h, &filter)) {
        relay_fail(h, 400, S("the log options are not understood"));
        return;
    }
    struct tailing *t = NEW(struct tailing);
    *t = (struct tailing){.relay = r,
                          .http = h,
                          .filter = filter,
                          .dir = -1,
                          .file = -1,
                          .raw = STRBUF(LINE_MOST + 2 * CHUNK),
                          .out = STRBUF(64 << 20)};
    t->ask.news = on_news;
    list_init(&t->following);
    h->user = t;
    h->on_gone = on_gone;
    h->on_drained = on_drained;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(RELAY_MESSAGE_MOST);
    relay_ask_begin(r, &t->ask, &b, "logs");
    relay_add(&b, ns);
    relay_add(&b, pod);
    relay_add(&b, container);
    relay_add(&b, filter.previous ? S("previous") : S("current"));
    if (!relay_send(&t->ask, &b, NULL, 0))
        tailing_refuse(t, 503, S("the node cannot be reached"));
}
