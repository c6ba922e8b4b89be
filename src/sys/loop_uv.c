/* The loop on libuv: polls are uv_poll, waking is uv_async, one uv_timer stands for the nearest of our timers. */
#include "sys/loop_int.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <uv.h>

struct uv_loop_of_ours {
    struct loop base;
    uv_loop_t uv;
    uv_async_t wake;
    uv_timer_t timer;
    struct list always; /* polls of what cannot be polled */
};
/* Outlives its poll by a turn: libuv closes late. */
struct uv_poll_of_ours {
    uv_poll_t uv; /* first */
    struct poll *poll;
    struct list always;
    bool is_always;
};

static void nothing_async(UNUSED uv_async_t *a)
{
}

/* uv_run looks at timers before it waits, too: one that is due by then - the process had to wait for a processor in
 * between - is gone when it asks how long to wait, and without uv_stop it would wait for ever. */
static void turn_over(uv_timer_t *t)
{
    uv_stop(t->loop);
}

static struct uv_loop_of_ours *loop_ours(struct loop *l)
{
    return container_of(l, struct uv_loop_of_ours, base);
}

static void loop_wake(struct loop *l)
{
    (void)uv_async_send(&loop_ours(l)->wake);
}

static void fd_ready(struct poll *p, int events)
{
    p->loop->now = clock_mono();
    struct loop *l = p->loop;
    loop_callback(p->fn);
    p->fn(p, events);
    loop_callback_done(l, "poll");
}

static void run_always(struct uv_loop_of_ours *u)
{
    struct list turn = LIST_HEAD(turn);
    while (!list_empty(&u->always)) {
        struct list *n = u->always.next;
        list_del(n);
        list_add_tail(&turn, n);
    }
    while (!list_empty(&turn)) {
        struct uv_poll_of_ours *w = container_of(turn.next, struct uv_poll_of_ours, always);
        list_del(&w->always);
        list_add_tail(&u->always, &w->always);
        fd_ready(w->poll, w->poll->want & (POLL_READ | POLL_WRITE));
    }
}

bool loop_is_late;
static void clock_pass(int64_t until)
{
    while (clock_mono() < until + 2 * NS_PER_MS)
        (void)poll(NULL, 0, 1);
}

static void wait_uv(struct loop *l, int64_t until)
{
    struct uv_loop_of_ours *u = loop_ours(l);
    int64_t now = clock_mono();
    if (until <= now || !list_empty(&u->always)) {
        (void)uv_run(&u->uv, UV_RUN_NOWAIT);
        run_always(u);
        return;
    }
    if (until != INT64_MAX) {
        uv_update_time(&u->uv);
        (void)uv_timer_start(&u->timer, turn_over, (uint64_t)((until - now + NS_PER_MS - 1) / NS_PER_MS), 0);
        if (loop_is_late)
            clock_pass(until);
    }
    (void)uv_run(&u->uv, UV_RUN_ONCE);
    (void)uv_timer_stop(&u->timer);
}

static void poll_ready(uv_poll_t *uv, int status, int events);

static int uv_events(int want)
{
    return (want & POLL_READ ? UV_READABLE : 0) | (want & POLL_WRITE ? UV_WRITABLE : 0) |
           (want & POLL_HANGUP ? UV_DISCONNECT : 0) | (want & POLL_URGENT ? UV_PRIORITIZED : 0);
}

static void poll_ready(uv_poll_t *uv, int status, int events)
{
    struct uv_poll_of_ours *w = container_of(uv, struct uv_poll_of_ours, uv);
    struct poll *p = w->poll;
    if (!p)
        return;
    int is = (events & UV_READABLE ? POLL_READ : 0) | (events & UV_WRITABLE ? POLL_WRITE : 0) |
             (events & UV_DISCONNECT ? POLL_HANGUP : 0) | (events & UV_PRIORITIZED ? POLL_URGENT : 0);
    if (status < 0) {
        is = POLL_READ | POLL_WRITE;
        (void)uv_poll_start(uv, uv_events(p->want), poll_ready); /* libuv stops watching on an error */
    }
    fd_ready(p, is);
}

static void poll_closed(uv_handle_t *h)
{
    mem_free(container_of((uv_poll_t *)h, struct uv_poll_of_ours, uv));
}

static void poll_want_uv(struct poll *p, int events)
{
    struct uv_loop_of_ours *u = loop_ours(p->loop);
    struct uv_poll_of_ours *w = p->impl;
    if (events == 0 && w) {
        p->impl = NULL;
        w->poll = NULL;
        list_del(&w->always);
        if (w->is_always)
            mem_free(w);
        else
            uv_close((uv_handle_t *)&w->uv, poll_closed);
        return;
    }
    if (!w) {
        p->impl = w = NEW(struct uv_poll_of_ours);
        w->poll = p;
        list_init(&w->always);
        w->is_always = uv_poll_init(&u->uv, &w->uv, p->fd) != 0;
        if (w->is_always)
            list_add_tail(&u->always, &w->always);
    }
    if (!w->is_always)
        (void)uv_poll_start(&w->uv, uv_events(events), poll_ready);
}

static void signal_came(uv_signal_t *uv, int signo)
{
    struct signal_source *s = uv->data;
    if (!s)
        return;
    struct loop *l = s->loop;
    loop_callback(s->fn);
    s->fn(s, signo);
    loop_callback_done(l, "signal");
}

static void signal_closed(uv_handle_t *h)
{
    mem_free(h);
}

static bool signal_start_uv(struct signal_source *s, int signo, struct err *err)
{
    uv_signal_t *uv = NEW(uv_signal_t);
    (void)uv_signal_init(&loop_ours(s->loop)->uv, uv);
    uv->data = s;
    int bad = uv_signal_start(uv, signal_came, signo);
    if (bad) {
        uv_close((uv_handle_t *)uv, signal_closed);
        errno = -bad;
        return err_errno(err, "watch signal %d", signo);
    }
    s->impl = uv;
    return true;
}

static void signal_stop_uv(struct signal_source *s)
{
    uv_signal_t *uv = s->impl;
    uv->data = NULL;
    uv_close((uv_handle_t *)uv, signal_closed);
}

static void free_uv(struct loop *l)
{
    struct uv_loop_of_ours *u = loop_ours(l);
    uv_close((uv_handle_t *)&u->wake, NULL);
    uv_close((uv_handle_t *)&u->timer, NULL);
    (void)uv_run(&u->uv, UV_RUN_DEFAULT);
    ASSERT(uv_loop_close(&u->uv) == 0);
    loop_fini(l);
    mem_free(u);
}

static const struct loop_ops uv_ops = {
    .free = free_uv,
    .wait = wait_uv,
    .wake = loop_wake,
    .poll_want = poll_want_uv,
    .signal_start = signal_start_uv,
    .signal_stop = signal_stop_uv,
    .job_start = pool_start,
    .threads = true,
};

struct loop *loop_new(struct err *err)
{
    struct uv_loop_of_ours *u = NEW(struct uv_loop_of_ours);
    int bad = uv_loop_init(&u->uv);
    if (bad) {
        mem_free(u);
        errno = -bad;
        (void)err_errno(err, "make an event loop");
        return NULL;
    }
    (void)signal(SIGPIPE, SIG_IGN); /* OpenSSL writes with write(2); a broken line is an error there */
    ASSERT(uv_async_init(&u->uv, &u->wake, nothing_async) == 0);
    (void)uv_timer_init(&u->uv, &u->timer);
    list_init(&u->always);
    loop_init(&u->base, &uv_ops);
    return &u->base;
}
