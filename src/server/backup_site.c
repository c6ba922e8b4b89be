#include "base/log.h"
#include "server/sites.h"
#include "store/backup.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

/* GET /wherry.dev/backup: all keys at one revision, as store/backup.h writes them, while the server goes on. Written
 * to a file beside the store first, so that a slow reader holds no snapshot; then sent in pieces. Only who may get
 * every object may get this path. */
enum { PIECE = 256 << 10 };

struct backup_sending {
    struct job job;
    struct server *server;
    struct http_request *http;
    struct store_snapshot snap;
    struct store_options options;
    char *path;
    int fd; /* -1: not written yet */
    int64_t size;
    struct strbuf piece;
    bool ok, waiting; /* waiting: for the reader to take what it was sent */
    struct err err;
};

static void backup_free(struct backup_sending *b)
{
    fd_close(b->fd);
    store_snapshot_fini(&b->snap);
    strbuf_fini(&b->piece);
    mem_free(b->path);
    mem_free(b);
}

static void read_work(struct job *j)
{
    struct backup_sending *b = container_of(j, struct backup_sending, job);
    ssize_t n;
    char *p = strbuf_room(&b->piece, PIECE);
    do
        n = read(b->fd, p, PIECE);
    while (n < 0 && errno == EINTR);
    b->ok = n >= 0 || err_errno(&b->err, "read %s", b->path);
    strbuf_used(&b->piece, n > 0 ? (size_t)n : 0);
}

static void read_done(struct job *j);

static void piece_next(struct backup_sending *b)
{
    strbuf_reset(&b->piece);
    b->waiting = false;
    job_start(&b->job, b->server->loop, read_work, read_done);
}

static void backup_drained(struct http_request *h)
{
    struct backup_sending *b = h->user;
    if (b->waiting)
        piece_next(b);
}

static void backup_gone(struct http_request *h)
{
    struct backup_sending *b = h->user;
    if (!b->waiting)
        return; /* the job's end sees it */
    http_abort(h);
    backup_free(b);
}

static void read_done(struct job *j)
{
    struct backup_sending *b = container_of(j, struct backup_sending, job);
    struct http_request *h = b->http;
    if (!b->ok)
        log_error("backup.read", "error=\"%s\"", b->err.text);
    if (!b->ok || h->gone) {
        http_abort(h);
        backup_free(b);
    } else if (!b->piece.n) {
        http_end(h);
        backup_free(b);
    } else {
        http_write(h, strbuf_str(&b->piece));
        b->waiting = http_over_high(h);
        if (!b->waiting)
            piece_next(b);
    }
}

static void write_work(struct job *j)
{
    struct backup_sending *b = container_of(j, struct backup_sending, job);
    struct stat st;
    b->ok = store_backup(&b->snap, &b->options, b->path, &b->err);
    if (!b->ok)
        return;
    b->fd = open(b->path, O_RDONLY | O_CLOEXEC);
    b->ok = (b->fd >= 0 && fstat(b->fd, &st) == 0) || err_errno(&b->err, "open %s", b->path);
    b->size = b->ok ? st.st_size : 0;
    (void)unlink(b->path); /* gone with the descriptor */
}

static void write_done(struct job *j)
{
    struct backup_sending *b = container_of(j, struct backup_sending, job);
    struct http_request *h = b->http;
    int64_t rev = b->snap.rev;
    store_snapshot_fini(&b->snap);
    b->snap = (struct store_snapshot){0};
    if (!b->ok || h->gone) {
        log_error("backup.write", "error=\"%s\"", b->ok ? "nobody waits for it any more" : b->err.text);
        http_respond(h, 500, S("text/plain"), str_of(b->err.text));
        backup_free(b);
        return;
    }
    log_info("backup.taken", "revision=%lld bytes=%lld", (long long)rev, (long long)b->size);
    http_set(h, S("Wherry-Revision"), arena_fmt(&h->arena, "%lld", (long long)rev));
    http_start(h, 200, S("application/octet-stream"), b->size);
    piece_next(b);
}

void backup_tidy(const char *store)
{
    AUTO_FREE char *path = mem_dupz(store);
    char *slash = strrchr(path, '/');
    *slash = 0;
    AUTO(strbuf_fini) struct strbuf prefix = STRBUF(STRBUF_TEXT);
    strbuf_addf(&prefix, "%s.backup-", slash + 1);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        if (str_starts(str_of(e->d_name), strbuf_str(&prefix)) && unlinkat(dirfd(d), e->d_name, 0) < 0)
            log_warn("backup.tidy", "file=%s/%s error=\"%s\"", path, e->d_name, strerror(errno));
    if (d)
        (void)closedir(d);
}

void site_backup(struct site_call *c)
{
    struct server *s = c->server;
    static unsigned count;
    struct backup_sending *b = NEW(struct backup_sending);
    *b = (struct backup_sending){
        .server = s, .http = c->http, .options = s->store_options, .fd = -1, .piece = STRBUF(PIECE + 1)};
    if (!s->store_options.path) {
        http_respond(c->http, 501, S("text/plain"),
                     S("this server keeps its objects in memory only: there is nothing to back up"));
        backup_free(b);
        return;
    }
    b->path = str_dupz(arena_fmt(c->arena, "%s.backup-%u", s->store_options.path, ++count));
    b->snap = objects_snapshot(s);
    c->http->user = b;
    c->http->on_drained = backup_drained;
    c->http->on_gone = backup_gone;
    job_start(&b->job, s->loop, write_work, write_done);
}
