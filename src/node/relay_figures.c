/* relay_figures.c - what the node and its pods use, for who may ask (figures.h: the texts). The node writes into a
 * pipe as it measures, and what comes out goes to the client as fast as it takes it: nobody holds the whole. */
#include "base/log.h"
#include "node/figures.h"
#include "node/relay_int.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define READERS_MOST 32
#define PIECE        (64 << 10)

struct relay_reader {
    struct relay_ask ask;
    struct http_request *http; /* NULL: gone */
    const char *type;
    int fd; /* of the pipe; -1: read to its end */
    struct poll poll;
    bool told; /* the node has said how it went */
};
static size_t nreaders;

#define PROMETHEUS "text/plain; version=0.0.4; charset=utf-8"
static const struct {
    struct str path;
    enum figures_kind kind;
    const char *type;
} pages[] = {
    {S_INIT("/stats/summary"), FIGURES_SUMMARY, "application/json"},
    {S_INIT("/stats/usage"), FIGURES_USAGE, "application/json"},
    {S_INIT("/metrics"), FIGURES_KUBELET, PROMETHEUS},
    {S_INIT("/metrics/resource"), FIGURES_RESOURCE, PROMETHEUS},
    {S_INIT("/metrics/cadvisor"), FIGURES_CADVISOR, PROMETHEUS},
    {S_INIT("/metrics/probes"), FIGURES_PROBES, PROMETHEUS},
    {S_INIT("/pods"), FIGURES_PODS, "application/json"},
    {S_INIT("/runningpods"), FIGURES_RUNNING_PODS, "application/json"},
};

static void reader_free(struct relay_reader *d)
{
    relay_forget(&d->ask, true);
    if (d->fd >= 0)
        poll_stop(&d->poll);
    fd_close(d->fd);
    mem_free(d);
    nreaders--;
}

static void reader_refuse(struct relay_reader *d, int status, struct str text)
{
    struct http_request *h = d->http;
    h->on_gone = NULL;
    h->on_drained = NULL;
    if (h->status)
        http_abort(h); /* a part is with the client: it sees that this is not all */
    else
        relay_fail(h, status, text);
    reader_free(d);
}

static void reader_end(struct relay_reader *d)
{
    struct http_request *h = d->http;
    if (d->fd >= 0 || !d->told)
        return;
    h->on_gone = NULL;
    h->on_drained = NULL;
    if (h->status)
        http_end(h);
    else
        http_respond(h, 200, str_of(d->type), S(""));
    reader_free(d);
}

/* As much as the client takes. False: d is gone. */
static bool reader_go_on(struct relay_reader *d)
{
    static char piece[PIECE];
    while (d->fd >= 0) {
        if (http_over_high(d->http)) {
            poll_want(&d->poll, 0);
            return true;
        }
        ssize_t n = read(d->fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            poll_want(&d->poll, POLL_READ);
            return true;
        }
        if (n < 0) {
            reader_refuse(d, 500, S("what the node wrote cannot be read"));
            return false;
        }
        if (n == 0) {
            poll_stop(&d->poll);
            fd_close(d->fd);
            d->fd = -1;
        } else {
            if (!d->http->status)
                http_start(d->http, 200, str_of(d->type), -1);
            http_write(d->http, (struct str){piece, (size_t)n});
        }
    }
    return true;
}

static void pipe_ready(struct poll *p, int ready)
{
    struct relay_reader *d = container_of(p, struct relay_reader, poll);
    (void)ready;
    if (reader_go_on(d))
        reader_end(d);
}

static void reader_drained(struct http_request *h)
{
    struct relay_reader *d = h->user;
    if (reader_go_on(d))
        reader_end(d);
}

static void reader_gone(struct http_request *h)
{
    reader_refuse(h->user, 503, S("gone"));
}

/* How it went: "figures", all is in the pipe, or a refusal. */
static void reader_news(struct relay_ask *a, struct str name, const struct str *texts, size_t n, int own_fd)
{
    struct relay_reader *d = container_of(a, struct relay_reader, ask);
    int64_t status;
    fd_close(own_fd);
    relay_forget(a, false);
    if (!str_eq(name, S("figures"))) {
        reader_refuse(d, n == 2 && str_to_i64(texts[0], 400, 599, &status) ? (int)status : 503,
                      n == 2 ? texts[1] : S("the node went away"));
        return;
    }
    d->told = true;
    if (reader_go_on(d))
        reader_end(d);
}

static void figures_start(struct relay *r, struct http_request *h, enum figures_kind kind, const char *type)
{
    int ends[2];
    if (nreaders >= READERS_MOST || pipe2(ends, O_CLOEXEC) < 0) {
        http_set(h, S("Retry-After"), S("1"));
        relay_fail(h, 429, S("too many are reading the node's figures; try again later"));
        return;
    }
    AUTO(strbuf_fini) struct strbuf b = STRBUF(RELAY_MESSAGE_MOST);
    AUTO(fd_close) int theirs = ends[1];
    struct relay_reader *d = NEW(struct relay_reader);
    *d = (struct relay_reader){.http = h, .type = type, .fd = ends[0]};
    nreaders++;
    if (fcntl(d->fd, F_SETFL, O_NONBLOCK) < 0)
        log_warn("relay.figures", "error=\"%s\"", strerror(errno));
    poll_init(&d->poll, r->loop, d->fd, pipe_ready);
    d->ask.news = reader_news;
    h->user = d;
    h->on_gone = reader_gone;
    h->on_drained = reader_drained;
    relay_ask_begin(r, &d->ask, &b, "figures");
    relay_add(&b, str_of(relay_figures_word(kind)));
    if (relay_send(&d->ask, &b, &theirs, 1))
        poll_want(&d->poll, POLL_READ);
    else
        reader_refuse(d, 503, S("the node cannot be reached"));
}

bool relay_figures(struct relay *r, struct http_request *h)
{
    struct str path = h->path;
    bool summary = str_eq(path, S("/stats/summary"));
    while (path.n > 1 && path.p[path.n - 1] == '/')
        path.n--;
    for (size_t i = 0; i < countof(pages); i++) {
        if (!str_eq(path, pages[i].path))
            continue;
        if (!str_eq(h->method, S("GET")) && !(summary && str_eq(h->method, S("POST"))))
            relay_fail(h, 405, S("405: Method Not Allowed"));
        else if (summary && relay_query_true(h, S("only_cpu_and_memory")))
            figures_start(r, h, FIGURES_SUMMARY_SHORT, pages[i].type);
        else
            figures_start(r, h, pages[i].kind, pages[i].type);
        return true;
    }
    return false;
}
