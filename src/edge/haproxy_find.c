/* haproxy_find.c - the HAProxy that an earlier process of ours has left: each start has a socket of its own, and the
 * youngest that answers and is not about to end is the one that serves. Whatever else of this folder still runs only
 * ends what it had begun, or was being started when we were killed: it is told to end. */
#include "base/log.h"
#include "edge/haproxy_int.h"
#include <dirent.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <unistd.h>

#define FOUND_MOST 64

struct haproxy_finding {
    struct haproxy *h;
    ARRAY(uint64_t) generations; /* of the sockets that are there; the youngest last */
    struct haproxy_talk *talk;
    struct haproxy_proc *found;
    uint64_t at;
    bool silent;
    struct soon next;
};

static void socket_remove(struct haproxy *h, uint64_t generation)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str path = arena_fmt(&a, STR_FMT "/admin/%llu.sock", STR_ARG(h->config.run),
                                (unsigned long long)generation);
    (void)unlink(path.p); /* one that stays is found dead the next time */
}

static void others_signal(struct haproxy *h, pid_t but, int signo)
{
    pid_t pids[FOUND_MOST];
    size_t n = proc_scan(h->config.run, pids, countof(pids));
    for (size_t i = 0; i < n; i++) {
        int fd = pids[i] == but ? -1 : pidfd_open(pids[i], 0);
        if (fd < 0)
            continue;
        log_info("haproxy.other", "pid=%d signal=%d", (int)pids[i], signo);
        (void)pidfd_send_signal(fd, signo, NULL, 0); /* it may have ended */
        fd_close(fd);
    }
}

static void finding_free(struct haproxy_finding *f)
{
    soon_stop(&f->next);
    talk_free(f->talk);
    array_fini(&f->generations);
    f->h->finding = NULL;
    mem_free(f);
}

void find_stop(struct haproxy *h)
{
    if (!h->finding)
        return;
    proc_forget(h->finding->found);
    finding_free(h->finding);
}

static void find_ended(struct haproxy_finding *f, struct haproxy_proc *p)
{
    struct haproxy *h = f->h;
    bool silent = f->silent;
    for (; f->generations.n; f->generations.n--)
        socket_remove(h, f->generations.p[f->generations.n - 1]);
    finding_free(f);
    h->cur = p;
    h->find = p ? FIND_UNREAD : FIND_DONE;
    others_signal(h, p ? p->pid : 0, silent ? SIGKILL : SIGUSR1);
    if (p)
        hand_keep(h, p);
    soon_set(&h->step);
}

static void find_answered(void *arg, struct str answer, const struct err *err)
{
    struct haproxy_finding *f = arg;
    int64_t pid;
    if (err && err->kind == E_CANCELLED)
        return;
    f->silent |= err && err->kind == E_TIMEOUT;
    bool serves = !err && str_eq(info_field(answer, S("Stopping")), S("0")) &&
                  str_to_i64(info_field(answer, S("Pid")), 2, INT32_MAX, &pid);
    int pidfd = serves ? pidfd_open((pid_t)pid, 0) : -1;
    if (pidfd < 0) {
        socket_remove(f->h, f->at);
        soon_set(&f->next);
        return;
    }
    struct haproxy_proc *p = proc_found(f->h, f->at, (pid_t)pid, pidfd);
    p->mark = buf_new(info_field(answer, S("description")));
    log_info("haproxy.found", "pid=%d", (int)pid);
    f->found = p;
    soon_set(&f->next);
}

static void find_next(struct soon *s)
{
    struct haproxy_finding *f = container_of(s, struct haproxy_finding, next);
    struct haproxy *h = f->h;
    AUTO(arena_fini) struct arena a = ARENA;
    talk_free(TAKE(f->talk));
    if (f->found || !f->generations.n) {
        find_ended(f, f->found);
        return;
    }
    f->at = array_pop(&f->generations);
    f->talk = talk_new(h->loop,
                       arena_fmt(&a, STR_FMT "/admin/%llu.sock", STR_ARG(h->config.run), (unsigned long long)f->at));
    talk_patience(f->talk, h->config.silence_ns);
    talk_ask(f->talk, S("show info\n"), find_answered, f);
}

static int generation_cmp(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

void find_start(struct haproxy *h)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct haproxy_finding *f = mem_alloc(sizeof *f);
    *f = (struct haproxy_finding){.h = h};
    h->finding = f;
    DIR *dir = opendir(arena_fmt(&a, STR_FMT "/admin", STR_ARG(h->config.run)).p);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        struct str name = str_of(e->d_name);
        uint64_t g;
        if (str_ends(name, S(".sock")) && str_to_u64(str_sub(name, 0, name.n - 5), UINT64_MAX / 2, &g)) {
            array_push(&f->generations, g);
            h->generation = MAX(h->generation, g);
        }
    }
    if (dir)
        (void)closedir(dir);
    if (f->generations.n)
        qsort(f->generations.p, f->generations.n, sizeof *f->generations.p, generation_cmp);
    soon_init(&f->next, h->loop, find_next);
    soon_set(&f->next);
}
