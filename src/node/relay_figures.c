/* relay_figures.c - what the node and its pods use, for who may ask (figures.h: the texts). The node measures and
 * writes into a file in memory; those who ask for the same while it does get the same. */
#include "node/figures.h"
#include "node/relay_int.h"
#include <errno.h>
#include <sys/stat.h>

#define READERS_MOST 64
#define PIECE        (64 << 10)

/* One text: asked for, then read by all who wanted it. */
struct relay_sheet {
    struct list node; /* among those that are asked for; else in none */
    struct relay_ask ask;
    enum figures_kind kind;
    struct list readers;
    unsigned refs; /* of readers, and of who works on it */
    int fd;        /* -1: not there yet */
    int64_t size;
};
struct relay_reader {
    struct list node;
    struct relay_sheet *sheet;
    struct http_request *http;
    int64_t at;
};
static struct list asked = LIST_HEAD(asked); /* one relay a process */
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
    {S_INIT("/runningpods"), FIGURES_PODS, "application/json"},
};

static struct str type_of(enum figures_kind kind)
{
    for (size_t i = 0; i < countof(pages); i++)
        if (pages[i].kind == kind)
            return str_of(pages[i].type);
    return S("application/json"); /* of the summary's short form */
}

static void sheet_unref(struct relay_sheet *s)
{
    if (--s->refs)
        return;
    list_del(&s->node);
    relay_forget(&s->ask, true);
    fd_close(s->fd);
    mem_free(s);
}

static void reader_free(struct relay_reader *d)
{
    list_del(&d->node);
    sheet_unref(d->sheet);
    mem_free(d);
    nreaders--;
}

static void reader_refuse(struct relay_reader *d, int status, struct str text)
{
    d->http->on_gone = NULL;
    relay_fail(d->http, status, text);
    reader_free(d);
}

/* As much as the client takes; the file is in memory, so reading waits for nothing. */
static void reader_go_on(struct relay_reader *d)
{
    static char piece[PIECE];
    const struct relay_sheet *s = d->sheet;
    while (d->at < s->size) {
        if (http_over_high(d->http))
            return;
        ssize_t n = pread(s->fd, piece, MIN(sizeof piece, (size_t)(s->size - d->at)), d->at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        http_write(d->http, (struct str){piece, (size_t)n});
        d->at += n;
    }
    if (d->at < s->size)
        http_abort(d->http);
    else
        http_end(d->http);
    reader_free(d);
}

static void reader_drained(struct http_request *h)
{
    struct relay_reader *d = h->user;
    if (d->sheet->fd >= 0)
        reader_go_on(d);
}

static void reader_gone(struct http_request *h)
{
    struct relay_reader *d = h->user;
    if (d->sheet->fd < 0) {
        reader_refuse(d, 503, S("gone"));
        return;
    }
    h->on_gone = NULL;
    http_abort(h);
    reader_free(d);
}

static void sheet_news(struct relay_ask *a, struct str name, const struct str *texts, size_t n, int own_fd)
{
    struct relay_sheet *s = container_of(a, struct relay_sheet, ask);
    AUTO(fd_close) int fd = own_fd;
    struct stat st;
    int64_t status;
    bool good = str_eq(name, S("figures")) && fd >= 0 && fstat(fd, &st) == 0;
    relay_forget(a, false);
    list_del(&s->node); /* who asks from now on gets newer ones */
    s->refs++;
    if (good) {
        s->fd = TAKE_FD(fd);
        s->size = st.st_size;
    }
    list_each (d, &s->readers, struct relay_reader, node) {
        if (good) {
            http_start(d->http, 200, type_of(s->kind), s->size);
            reader_go_on(d);
        } else {
            reader_refuse(d, n == 2 && str_to_i64(texts[0], 400, 599, &status) ? (int)status : 503,
                          n == 2 ? texts[1] : S("the node went away"));
        }
    }
    sheet_unref(s);
}

static struct relay_sheet *sheet_ask(struct relay *r, enum figures_kind kind)
{
    struct relay_sheet *s = NEW(struct relay_sheet);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(RELAY_MESSAGE_MOST);
    *s = (struct relay_sheet){.kind = kind, .fd = -1};
    s->ask.news = sheet_news;
    list_init(&s->readers);
    list_init(&s->node);
    relay_ask_begin(r, &s->ask, &b, "figures");
    relay_add(&b, str_of(relay_figures_word(kind)));
    if (relay_send(&s->ask, &b, NULL, 0)) {
        list_add_tail(&asked, &s->node);
        return s;
    }
    mem_free(s);
    return NULL;
}

static struct relay_sheet *sheet_of(struct relay *r, enum figures_kind kind)
{
    list_each (s, &asked, struct relay_sheet, node)
        if (s->kind == kind)
            return s;
    return sheet_ask(r, kind);
}

static void figures_start(struct relay *r, struct http_request *h, enum figures_kind kind)
{
    struct relay_sheet *s = nreaders < READERS_MOST ? sheet_of(r, kind) : NULL;
    if (nreaders >= READERS_MOST) {
        http_set(h, S("Retry-After"), S("1"));
        relay_fail(h, 429, S("too many are reading the node's figures; try again later"));
        return;
    }
    if (!s) {
        relay_fail(h, 503, S("the node cannot be reached"));
        return;
    }
    struct relay_reader *d = NEW(struct relay_reader);
    *d = (struct relay_reader){.sheet = s, .http = h};
    s->refs++;
    nreaders++;
    list_add_tail(&s->readers, &d->node);
    h->user = d;
    h->on_gone = reader_gone;
    h->on_drained = reader_drained;
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
            figures_start(r, h, FIGURES_SUMMARY_SHORT);
        else
            figures_start(r, h, pages[i].kind);
        return true;
    }
    return false;
}
