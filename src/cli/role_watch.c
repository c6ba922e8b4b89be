#include "cli/role_watch.h"
#include "base/clock.h"
#include "base/log.h"
#include "sys/child.h"
#include "sys/file.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/pidfd.h>

#define STARVED                                                                                                      \
    (NS_PER_S) /* of CPU in PULSE_HANG looks: one that runs and had less did not loop, it waited its turn */

static bool proc_read(pid_t pid, const char *name, struct strbuf *out)
{
    char path[64];
    struct err ignored = ERR; /* it may end at any time: then there is nothing to say of it */
    (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    return file_read(AT_FDCWD, path, out, &ignored);
}

static bool is_traced(pid_t pid)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(16384);
    return proc_read(pid, "status", &b) && str_find(strbuf_str(&b), S("\nTracerPid:\t")) >= 0 &&
           str_find(strbuf_str(&b), S("\nTracerPid:\t0\n")) < 0;
}

static void role_judge(struct role_watch *w, const char *what, const struct process_stat *st)
{
    AUTO(strbuf_fini) struct strbuf words = STRBUF(STRBUF_TEXT), where = STRBUF(STRBUF_TEXT);
    pulse_words_of(&w->pulse, &words);
    (void)proc_read(w->pid, "wchan", &where);
    log_error("role.hangs",
              "role=%s pid=%d it is killed and started again: what=\"%s\" state=%c wchan=" STR_FMT " " STR_FMT,
              w->role, (int)w->pid, what, st->state, STR_ARG(strbuf_str(&where)), STR_ARG(strbuf_str(&words)));
    w->killed = true;
    if (pidfd_send_signal(w->pidfd, SIGKILL, NULL, 0) < 0)
        log_error("role.kill", "role=%s error=\"%s\"", w->role, strerror(errno));
    timer_set(&w->look, PULSE_LOOK);
}

static void on_look(struct timer *t)
{
    struct role_watch *w = container_of(t, struct role_watch, look);
    struct process_stat st;
    int64_t again;
    if (!process_stat(w->pid, &st))
        return; /* it has ended, and that is told elsewhere */
    if (w->killed) {
        log_error("role.stuck",
                  "role=%s pid=%d state=%c the kernel does not let it end, and until then nothing takes "
                  "its place",
                  w->role, (int)w->pid, st.state);
        return;
    }
    bool stopped = st.state == 'T';
    enum pulse_state is = pulse_look(&w->pulse, clock_mono(), stopped, &again);
    if (w->pulse.still == 0 && w->pulse.queued == 0)
        w->cpu = st.cpu;
    if (is == PULSE_HANGS || is == PULSE_JOBS_HANG) {
        bool starved = st.state == 'R' && st.cpu - w->cpu < STARVED, traced = is_traced(w->pid);
        if (!starved && !traced) {
            role_judge(w,
                       is == PULSE_JOBS_HANG ? "work waits for threads that do not come back"
                       : stopped             ? "it is stopped by a signal"
                                             : "a turn of its loop does not end",
                       &st);
            return;
        }
        log_warn("role.slow", "role=%s pid=%d %s", w->role, (int)w->pid,
                 traced ? "does not come on, in the hands of a debugger" : "gets no processor");
        pulse_restart(&w->pulse);
        again = PULSE_LOOK;
    }
    if (again != INT64_MAX)
        timer_set(&w->look, again);
}

static void look_soon(struct role_watch *w)
{
    pulse_restart(&w->pulse);
    timer_set(&w->look, PULSE_LOOK);
}

static void on_rung(struct poll *p, int ready)
{
    struct role_watch *w = container_of(p, struct role_watch, rung);
    uint64_t n;
    (void)ready;
    if (read(w->bell, &n, sizeof n) == sizeof n)
        look_soon(w);
}

void role_watch_init(struct role_watch *w, struct loop *l)
{
    *w = (struct role_watch){.page = -1, .bell = -1};
    timer_init(&w->look, l, on_look);
}

void role_watch_start(struct role_watch *w, const char *role, pid_t pid, int pidfd, int own_page, int own_bell)
{
    struct err err = ERR;
    w->role = role;
    w->pid = pid;
    w->pidfd = pidfd;
    w->page = own_page;
    w->bell = own_bell;
    if (own_bell < 0 || !pulse_watch(&w->pulse, own_page, &err)) {
        log_info("role.watch", "role=%s if it hangs, nobody will see: " STR_FMT, role,
                 STR_ARG(err.text[0] ? str_of(err.text) : S("it shows no pulse")));
        role_watch_stop(w);
        return;
    }
    poll_init(&w->rung, w->look.loop, own_bell, on_rung);
    poll_want(&w->rung, POLL_READ);
    look_soon(w);
}

void role_watch_stop(struct role_watch *w)
{
    timer_stop(&w->look);
    poll_stop(&w->rung);
    pulse_unwatch(&w->pulse);
    fd_close(w->page);
    fd_close(w->bell);
    role_watch_init(w, w->look.loop);
}

void role_watch_sigchld(struct role_watch *w)
{
    struct process_stat st;
    bool looks = timer_is_set(&w->look) && w->look.at <= clock_mono() + PULSE_LOOK;
    if (w->role && !w->killed && !looks && process_stat(w->pid, &st) && st.state == 'T')
        look_soon(w);
}
