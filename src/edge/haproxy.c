/* haproxy.c - what is wanted of HAProxy, and the way there.
 *
 *   looking    is there one that an earlier process of ours has started? (admin/N.sock, the highest that answers)
 *   unread     there is; after the first commit it is compared with what is wanted
 *   reading    it is asked for all that it has
 *   done       from now on: a round (haproxy_round.c) for what the running one can be told; a start from files,
 * beside it, for a new shape, for what its socket refuses, and when there is none
 *
 * haproxy_step decides, in a turn of its own after everything that happens; the rest only notes what happened. */
#include "base/fault.h"
#include "base/log.h"
#include "edge/haproxy_int.h"
#include "sys/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define START_EVERY NS_PER_S
#define AGAIN_FIRST (100 * NS_PER_MS)
#define AGAIN_MOST  (5 * NS_PER_S)
#define LIVED_LONG  (10 * NS_PER_S) /* after this its end is a first one */

/* --- what happened
 * -------------------------------------------------------------------------------------------------------- */

static void failure_wait(struct haproxy *h)
{
    h->wait = h->wait ? MIN(2 * h->wait, AGAIN_MOST) : AGAIN_FIRST;
    timer_set(&h->again, h->wait);
}

static void failure_tell(struct haproxy *h, const struct err *err)
{
    failure_wait(h);
    if (h->find == FIND_DONE)
        items_judge(h); /* entries do not wait for what does not start */
    if (strcmp(h->told.text, err->text) == 0)
        return;
    h->told = *err;
    h->events.failed(h->arg, err);
}

static void hand_close(struct haproxy *h)
{
    if (h->hand_fd >= 0) {
        fd_close(h->hand_fd);
        h->hand_fd = -1;
    }
    if (h->handing)
        listener_stop(&h->hand_listener);
    h->handing = false;
}

/* A job of a proxy that was freed meanwhile brings home the last of it. */
static void haproxy_unref(struct haproxy *h)
{
    if (!h->freed || h->jobs)
        return;
    groups_free(h);
    hand_fini(&h->hand);
    names_unref(h->next_names);
    buf_unref(h->next_mark);
    buf_unref(h->next_config);
    map_fini(&h->unbound);
    buf_unref(h->shape);
    buf_unref(h->shape_mark);
    arena_fini(&h->arena);
    mem_free(h);
}

struct hand_job {
    struct job job;
    struct haproxy *h;
    struct haproxy_hand got;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    struct err err;
    bool ok;
};

static void hand_work(struct job *j)
{
    struct hand_job *f = container_of(j, struct hand_job, job);
    f->ok = hand_fetch(f->path, &f->got, &f->err);
}

static void hand_done(struct job *j)
{
    struct hand_job *f = container_of(j, struct hand_job, job);
    struct haproxy *h = f->h;
    h->jobs--;
    bool current = f->ok && h->cur && strcmp(h->cur->path, f->path) == 0 && !h->freed;
    if (current) {
        hand_fini(&h->hand);
        h->hand = f->got;
        f->got = (struct haproxy_hand){0};
    } else if (!f->ok && !h->freed) {
        log_warn("haproxy.sockets", "if it is killed, who connects is refused for a moment: error=\"%s\"",
                 f->err.text);
    }
    hand_fini(&f->got);
    mem_free(f);
    haproxy_unref(h);
}

void hand_keep(struct haproxy *h, const struct haproxy_proc *p)
{
    struct hand_job *f = mem_alloc(sizeof *f);
    *f = (struct hand_job){.h = h};
    memcpy(f->path, p->path, sizeof f->path);
    h->jobs++;
    job_start(&f->job, h->loop, hand_work, hand_done);
}

static void admin_remove(const struct haproxy_proc *p)
{
    (void)unlink(p->path); /* one that is left is found dead, and removed, by the next of us */
}

/* A signal is heard a moment later, and until then a connection may come to who knows nothing new: his own socket is
 * the last that he closes. */
#define LEAVING_LOOK (2 * NS_PER_MS)
#define LEAVING_MOST (2 * NS_PER_S)

static void leaving_look(struct timer *t)
{
    struct haproxy *h = container_of(t, struct haproxy, leaving_timer);
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    memcpy(to.sun_path, h->leaving, sizeof to.sun_path);
    AUTO(fd_close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool takes = fd >= 0 && (connect(fd, (struct sockaddr *)&to, sizeof to) == 0 || errno == EAGAIN);
    if (takes && loop_now(h->loop) < h->leaving_until) {
        timer_set(t, LEAVING_LOOK);
        return;
    }
    (void)unlink(h->leaving); /* one that is left is found dead, and removed, by the next of us */
    soon_set(&h->step);
}

static void proc_retire(struct haproxy *h, struct haproxy_proc *p)
{
    if (timer_is_set(&h->leaving_timer))
        (void)unlink(h->leaving); /* the same */
    memcpy(h->leaving, p->path, sizeof h->leaving);
    h->leaving_until = loop_now(h->loop) + LEAVING_MOST;
    timer_set(&h->leaving_timer, 0);
    proc_signal(p, SIGUSR1);
    talk_free(p->talk); /* or it would wait for this connection */
    p->talk = NULL;
    list_add_tail(&h->old, &p->node);
}

void haproxy_ready(struct haproxy *h, struct haproxy_proc *p)
{
    struct haproxy_proc *was = h->cur;
    hand_close(h);
    haproxy_tells_drop(h);
    h->find = FIND_DONE;
    h->silent = 0;
    h->cur = p;
    h->next = NULL;
    if (was)
        proc_retire(h, was);
    talk_patience(p->talk, h->config.silence_ns);
    map_each (e, &h->groups)
        map_each (k, &((struct haproxy_group *)e->value)->items) {
            struct haproxy_item *i = k->value;
            buf_put(&i->have, i->next);
            i->next = NULL;
            i->have_weight = i->next_weight;
            i->refused = 0;
            parting_set(h, i, false);
        }
    items_judge(h);
    hand_keep(h, p);
    if (h->told.kind != E_NONE)
        log_info("haproxy.ready", "pid=%d it starts again", (int)p->pid);
    if (!map_len(&h->unbound))
        h->told = ERR;
    log_info("haproxy.started", "pid=%d ms=%lld", (int)p->pid,
             (long long)((loop_now(h->loop) - h->started) / NS_PER_MS));
    fault_pass("haproxy.after.ready");
    soon_set(&h->step);
}

void haproxy_ended(struct haproxy *h, struct haproxy_proc *p, struct str said, const struct err *why)
{
    if (p != h->cur && p != h->next)
        return; /* one before a start, when its last connection had ended */
    admin_remove(p);
    if (p == h->next) {
        h->next = NULL;
        hand_close(h);
        failure_tell(h, why);
        if (said.n && bind_failures(h, buf_str(h->next_config), said)) { /* without these, at once */
            h->wait = 0;
            timer_stop(&h->again);
            soon_set(&h->step);
        }
        return;
    }
    log_error("haproxy.ended", "it is started again: error=\"%s\"", why->text);
    haproxy_tells_drop(h);
    h->cur = NULL;
    if (h->find != FIND_DONE)
        h->find = FIND_DONE;
    items_unknown(h);
    items_judge(h);
    if (loop_now(h->loop) - h->started > LIVED_LONG)
        h->wait = 0;
    if (h->wait)
        timer_set(&h->again, h->wait);
    h->wait = h->wait ? MIN(2 * h->wait, AGAIN_MOST) : AGAIN_FIRST;
    soon_set(&h->step);
}

/* It may be stuck, or only its connection is; what it has was told is not known either way. */
void haproxy_lost(struct haproxy *h, const struct err *err)
{
    haproxy_tells_drop(h);
    h->find = FIND_UNREAD;
    h->silent++;
    if (h->cur && h->silent >= 2 && err->kind == E_TIMEOUT) {
        log_error("haproxy.silent", "pid=%d it is killed: error=\"%s\"", (int)h->cur->pid, err->text);
        proc_signal(h->cur, SIGKILL);
    } else if (h->silent >= 3) { /* it may serve, but cannot be reached */
        h->find = FIND_DONE;
        h->reload = true;
        items_unknown(h);
    }
    log_warn("haproxy.lost", "times=%d it is asked what it has: error=\"%s\"", h->silent, err->text);
    if (h->silent >= 2)
        failure_tell(h, err);
    else
        failure_wait(h); /* one mishap is nobody's trouble */
}

void haproxy_rounded(struct haproxy *h, bool whole)
{
    h->silent = 0;
    h->rounded = whole;
    if (!whole && !h->round_cut && !timer_is_set(&h->again))
        timer_set(&h->again, AGAIN_FIRST);
    else
        soon_set(&h->step);
}

static void compare_done(struct haproxy *h, const struct err *err)
{
    if (err) {
        haproxy_lost(h, err);
        return;
    }
    h->find = FIND_DONE;
    items_judge(h);
    log_info("haproxy.adopted", "pid=%d differences=%zu", (int)h->cur->pid, h->ndirty);
    soon_set(&h->step);
}

/* --- starting
 * ------------------------------------------------------------------------------------------------------------- */

static void hand_asked(struct listener *l, int own_fd, const struct addr *peer)
{
    struct haproxy *h = container_of(l, struct haproxy, hand_listener);
    struct err err = ERR;
    (void)peer;
    fd_close(h->hand_fd);
    h->hand_fd = own_fd; /* open until it has started: closing it now would take the answer back */
    if (!hand_give(own_fd, &h->hand, &err))
        log_warn("haproxy.sockets", "error=\"%s\"", err.text);
}

static void hand_open(struct haproxy *h)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    struct err err = ERR;
    struct addr a;
    hand_close(h);
    if (!h->hand.n)
        return;
    strbuf_addf(&text, "unix:" STR_FMT "/hand.sock", STR_ARG(h->config.run));
    int fd = addr_parse(strbuf_str(&text), &a, &err) ? socket_listen(&a, 0600, &err) : -1;
    if (fd < 0) {
        log_warn("haproxy.sockets", "who connects may be refused for a moment: error=\"%s\"", err.text);
        return;
    }
    h->handing = true;
    listener_start(&h->hand_listener, h->loop, fd, hand_asked);
}

static void files_done(struct job *j)
{
    struct haproxy_files *f = container_of(j, struct haproxy_files, job);
    struct haproxy *h = f->h;
    struct err err = f->err;
    bool ok = f->ok;
    files_free(f);
    h->files = NULL;
    h->jobs--;
    if (!h->freed) {
        fault_pass("haproxy.after.files");
        if (ok) {
            hand_open(h);
            h->next = proc_start(h, ++h->generation, h->next_mark, TAKE(h->next_names), &err);
            fault_pass("haproxy.after.start");
        }
        if (!h->next) {
            hand_close(h);
            failure_tell(h, &err);
        }
    }
    names_unref(TAKE(h->next_names));
    haproxy_unref(h);
}

static void start_begin(struct haproxy *h)
{
    log_info("haproxy.start", "why=%s",
             !h->cur     ? "none runs"
             : h->reload ? "its socket does not take it"
                         : "another shape");
    h->reload = false;
    h->started = loop_now(h->loop);
    h->files = files_compose(h, &h->next_names);
    buf_put(&h->next_mark, buf_ref(h->shape_mark));
    h->jobs++;
    files_write(h->files, files_done);
}

/* No proxy is to run: what it has begun it may end. */
static void proxy_end(struct haproxy *h)
{
    if (h->next)
        proc_signal(h->next, SIGTERM); /* its end is seen as that of any start */
    if (!h->cur)
        return;
    log_info("haproxy.ending", "pid=%d nothing is asked of it any more", (int)h->cur->pid);
    haproxy_tells_drop(h);
    proc_retire(h, h->cur);
    h->cur = NULL;
    hand_fini(&h->hand);
    items_unknown(h);
    items_judge(h);
}

static void applied_tell(struct haproxy *h, uint64_t revision)
{
    if (h->applied_any && h->applied == revision)
        return;
    h->applied_any = true;
    h->applied = revision;
    h->events.applied(h->arg, revision);
}

static void compare_begin(struct haproxy *h)
{
    h->find = FIND_READING;
    items_unknown(h);
    if (!h->cur->names && buf_same(h->cur->mark, h->shape_mark))
        h->cur->names = names_of_shape(buf_str(h->shape));
    compare_start(h, compare_done);
}

/* A start that is wanted: now, or by the timer. */
static void start_maybe(struct haproxy *h)
{
    int64_t left = h->started + START_EVERY - loop_now(h->loop);
    if (h->next || h->files || timer_is_set(&h->again))
        return;
    if (h->cur && h->started && left > 0)
        timer_set(&h->again, left);
    else
        start_begin(h);
}

static void haproxy_step(struct soon *s)
{
    struct haproxy *h = container_of(s, struct haproxy, step);
    if (h->find == FIND_LOOKING || h->find == FIND_READING || !h->committing)
        return;
    if (!h->shape->n) {
        proxy_end(h);
        h->find = FIND_DONE;
        if (!h->next && !h->files)
            applied_tell(h, h->committed);
        return;
    }
    if (h->find == FIND_UNREAD && h->cur) {
        if (!timer_is_set(&h->again))
            compare_begin(h);
        return;
    }
    bool other = !h->cur || h->reload || !buf_same(h->cur->mark, h->shape_mark);
    if (timer_is_set(&h->leaving_timer))
        return;
    if (h->rounded && !other && !h->next && !h->files)
        applied_tell(h, h->round_revision);
    h->rounded = false;
    if (other)
        start_maybe(h);
    if (!h->cur || h->round)
        return;
    if (h->ndirty)
        round_start(h);
    else if (!other && !h->next && !h->files && !timer_is_set(&h->again))
        applied_tell(h, h->committed);
}

static void again_over(struct timer *t)
{
    soon_set(&container_of(t, struct haproxy, again)->step);
}

static void bind_over(struct timer *t)
{
    bind_again(container_of(t, struct haproxy, bind_timer));
}

static void parting_over(struct timer *t)
{
    parting_again(container_of(t, struct haproxy, parting_timer));
}

/* --- its log
 * ---------------------------------------------------------------------------------------------------------------- */

#define LOG_TURN 256 /* lines in a turn of the loop */

static void log_ready(struct poll *p, int ready)
{
    struct haproxy *h = container_of(p, struct haproxy, log_poll);
    char line[16384];
    (void)ready;
    for (int i = 0; i < LOG_TURN; i++) {
        ssize_t n = recv(p->fd, line, sizeof line, MSG_DONTWAIT);
        if (n < 0 && errno != EINTR)
            return; /* all is read */
        if (n > 0 && h->events.log)
            h->events.log(h->arg, str_trim((struct str){line, (size_t)n}));
    }
}

/* A datagram a line: HAProxy never waits for us, and finds the next of us at the same path. */
static bool log_open(struct haproxy *h, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    struct addr a;
    int room = 4 << 20;
    strbuf_addf(&text, "unix:" STR_FMT "/log.sock", STR_ARG(h->config.run));
    if (!addr_parse(strbuf_str(&text), &a, err))
        return false;
    AUTO(fd_close) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    (void)unlink(a.un.sun_path); /* of the one before us */
    if (fd < 0 || bind(fd, &a.sa, a.n) < 0)
        return err_errno(err, "listen on " STR_FMT, STR_ARG(strbuf_str(&text)));
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room); /* as much as the kernel lets us */
    poll_init(&h->log_poll, h->loop, TAKE_FD(fd), log_ready);
    poll_want(&h->log_poll, POLL_READ);
    return true;
}

/* --- the whole of it
 * -------------------------------------------------------------------------------------------------------- */

static bool folders_make(struct haproxy *h, struct err *err)
{
    static const char *const folders[] = {"", "/maps", "/lists", "/certs", "/admin"};
    for (size_t i = 0; i < countof(folders); i++)
        if (!dir_make(arena_fmt(&h->arena, STR_FMT "%s", STR_ARG(h->config.run), folders[i]).p, 0700, err))
            return false;
    return true;
}

struct haproxy *haproxy_new(struct loop *l, const struct haproxy_config *c, const struct haproxy_events *e, void *arg,
                            struct err *err)
{
    struct haproxy *h = mem_alloc(sizeof *h);
    *h = (struct haproxy){.loop = l, .config = *c, .events = *e, .arg = arg, .hand_fd = -1};
    h->log_poll.fd = -1;
    h->config.run = str_dup(&h->arena, c->run);
    h->config.silence_ns = c->silence_ns ? c->silence_ns : TALK_SILENCE;
    h->config.program = str_dup(&h->arena, c->program);
    for (size_t i = 0; i < PHASES; i++)
        list_init(&h->dirty[i]);
    list_init(&h->old);
    list_init(&h->tells);
    list_init(&h->partings);
    soon_init(&h->step, l, haproxy_step);
    timer_init(&h->again, l, again_over);
    timer_init(&h->leaving_timer, l, leaving_look);
    timer_init(&h->parting_timer, l, parting_over);
    timer_init(&h->bind_timer, l, bind_over);
    h->shape = buf_new(STR_NONE);
    h->shape_mark = buf_new(STR_NONE);
    if (!folders_make(h, err) || (c->log && !log_open(h, err))) {
        haproxy_free(h);
        return NULL;
    }
    find_start(h);
    return h;
}

void haproxy_free(struct haproxy *h)
{
    if (!h)
        return;
    h->freed = true;
    soon_stop(&h->step);
    timer_stop(&h->again);
    timer_stop(&h->leaving_timer);
    timer_stop(&h->parting_timer);
    timer_stop(&h->bind_timer);
    find_stop(h);
    haproxy_tells_drop(h);
    hand_close(h);
    proc_forget(TAKE(h->cur));
    proc_forget(TAKE(h->next));
    list_each (p, &h->old, struct haproxy_proc, node)
        proc_forget(p);
    if (h->log_poll.fd >= 0) {
        poll_stop(&h->log_poll);
        fd_close(h->log_poll.fd);
    }
    haproxy_unref(h);
}

struct ask_failure {
    void (*fn)(void *arg, struct str answer, const struct err *err);
    void *arg;
};

static void ask_failed(void *arg)
{
    struct ask_failure *f = arg;
    struct err err = ERR;
    (void)err_set(&err, E_UNAVAILABLE, "no HAProxy runs");
    f->fn(f->arg, STR_NONE, &err);
    mem_free(f);
}

void haproxy_ask(struct haproxy *h, struct str command,
                 void (*fn)(void *arg, struct str answer, const struct err *err), void *arg)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(TALK_COMMAND_MOST);
    if (h->cur) {
        strbuf_add(&text, command);
        strbuf_addc(&text, '\n');
        talk_ask(h->cur->talk, strbuf_str(&text), fn, arg);
        return;
    }
    struct ask_failure *f = mem_alloc(sizeof *f);
    *f = (struct ask_failure){fn, arg};
    loop_post(h->loop, ask_failed, f);
}
