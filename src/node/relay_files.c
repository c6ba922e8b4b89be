#include "node/relay_int.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define CHUNK        (256 << 10)
#define LISTING_MOST (1 << 20)

/* GET /logs/PATH: a file below the node's /var/log, or the names in a folder there, as a kubelet serves them. The
 * node opens it; it is read in jobs, a chunk at a time, as the client takes it. What is mounted there is the
 * machine's owner's choice, and may never answer: so each is read in a lane of its own. */
struct serving {
    struct relay_ask ask;
    struct relay *relay;
    struct http_request *http; /* NULL: gone */
    struct job job;
    struct lane *lane;
    int fd;
    bool looked, bad, folder; /* the first job finds out what it is */
    bool reading, over;
    struct strbuf out; /* the job's while `reading` */
};

static void serving_free(struct serving *s)
{
    relay_forget(&s->ask, false);
    lane_free(s->lane);
    fd_close(s->fd);
    strbuf_fini(&s->out);
    mem_free(s);
}

static void serving_finish(struct serving *s)
{
    if (s->http && !s->http->status)
        http_abort(TAKE(s->http));
    else if (s->http)
        http_end(TAKE(s->http));
    if (!s->reading)
        serving_free(s);
}

static void add_escaped(struct strbuf *b, const char *text)
{
    for (; *text; text++)
        if (strchr("<>&\"'", *text))
            strbuf_addf(b, "&#%d;", *text);
        else
            strbuf_addc(b, *text);
}

static void list_folder(struct serving *s)
{
    DIR *d = fdopendir(s->fd);
    if (!d)
        return;
    s->fd = -1; /* the list's now */
    strbuf_addz(&s->out, "<pre>\n");
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        const char *tail = e->d_type == DT_DIR ? "/" : "";
        strbuf_addz(&s->out, "<a href=\"");
        http_escape(&s->out, str_of(e->d_name));
        strbuf_addf(&s->out, "%s\">", tail);
        add_escaped(&s->out, e->d_name);
        strbuf_addf(&s->out, "%s</a>\n", tail);
    }
    strbuf_addz(&s->out, "</pre>\n");
    (void)closedir(d);
}

static void read_work(struct job *j)
{
    struct serving *s = container_of(j, struct serving, job);
    struct stat st;
    if (!s->looked) {
        s->bad = fstat(s->fd, &st) < 0;
        s->folder = !s->bad && S_ISDIR(st.st_mode);
    }
    if (s->bad)
        return;
    if (s->folder) {
        list_folder(s);
        s->over = true;
        return;
    }
    char *room = strbuf_room(&s->out, CHUNK);
    ssize_t n = room ? read(s->fd, room, CHUNK) : 0;
    if (n > 0)
        strbuf_used(&s->out, (size_t)n);
    s->over = n <= 0 && !(n < 0 && errno == EINTR);
}

static void read_done(struct job *j);

static void go_on(struct serving *s)
{
    if (s->reading || !s->http || http_over_high(s->http))
        return;
    s->reading = true;
    lane_start(s->lane, &s->job, read_work, read_done);
}

static void serving_refuse(struct serving *s, int status, struct str text)
{
    struct http_request *h = TAKE(s->http);
    h->on_gone = NULL;
    relay_fail(h, status, text);
    serving_finish(s);
}

static void read_done(struct job *j)
{
    struct serving *s = container_of(j, struct serving, job);
    s->reading = false;
    if (!s->http) {
        serving_free(s);
        return;
    }
    if (s->bad) {
        serving_refuse(s, 503, S("it cannot be read"));
        return;
    }
    if (!s->looked)
        http_start(s->http, 200, s->folder ? S("text/html; charset=utf-8") : S("text/plain; charset=utf-8"), -1);
    s->looked = true;
    if (s->out.n)
        http_write(s->http, strbuf_str(&s->out));
    strbuf_reset(&s->out);
    if (s->over)
        serving_finish(s);
    else
        go_on(s);
}

static void on_drained(struct http_request *h)
{
    go_on(h->user);
}

static void on_gone(struct http_request *h)
{
    serving_finish(h->user);
}

static void on_news(struct relay_ask *a, struct str name, const struct str *texts, size_t n, int own_fd)
{
    struct serving *s = container_of(a, struct serving, ask);
    int64_t status;
    struct err err = ERR;
    relay_forget(a, false);
    if (!str_eq(name, S("file")) || own_fd < 0) {
        fd_close(own_fd);
        serving_refuse(s, n == 2 && str_to_i64(texts[0], 400, 599, &status) ? (int)status : 503,
                       n == 2 ? texts[1] : S("the node went away"));
        return;
    }
    s->fd = own_fd;
    s->lane = lane_new(s->relay->loop, &err);
    if (s->lane)
        go_on(s);
    else
        serving_refuse(s, 503, str_of(err.text));
}

void relay_files(struct relay *r, struct http_request *h, struct str path)
{
    struct serving *s = NEW(struct serving);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(RELAY_MESSAGE_MOST);
    struct str plain;
    *s = (struct serving){.relay = r, .http = h, .fd = -1, .out = STRBUF(LISTING_MOST)};
    s->ask.news = on_news;
    list_init(&s->ask.node);
    h->user = s;
    h->on_gone = on_gone;
    h->on_drained = on_drained;
    if (!http_unescape(&h->arena, path, &plain)) {
        serving_refuse(s, 400, S("the path holds a bad escape"));
        return;
    }
    relay_ask_begin(r, &s->ask, &b, "file");
    relay_add(&b, plain);
    if (!relay_send(&s->ask, &b, NULL, 0))
        serving_refuse(s, 503, S("the node cannot be reached"));
}
