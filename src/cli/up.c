/* up.c - `wherry up` until it is the supervisor: its words, folders, the lock, what stands in the way, --detach.
 *
 * --detach: the parent waits on a pipe for one word: all are ready (R), or one cannot be started (F). */
#include "cli/args.h"
#include "cli/obstacles.h"
#include "cli/role.h"
#include "cli/supervisor_int.h"
#include "cli/uplock.h"
#include "sys/file.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#define READY_MOST 120 /* seconds that --detach waits */

static bool make_dir(struct str dir, mode_t mode, unsigned uid, struct err *err)
{
    AUTO_FREE char *z = str_dupz(dir);
    if (!dir_make_synced(z, 0755, err))
        return false;
    if (chmod(z, mode) < 0 || (getuid() == 0 && chown(z, uid, uid) < 0))
        return err_errno(err, "%s", z);
    return true;
}

/* Roles without privileges must be able to pass through every folder above their own. */
static bool check_passage(struct supervisor *s, struct err *err)
{
    struct str path = s->settings.data;
    struct arena a = ARENA;
    bool ok = true;
    for (size_t i = 1; i <= path.n && ok && s->privileged; i++) {
        struct stat st;
        if (i < path.n && path.p[i] != '/')
            continue;
        char *dir = arena_strz(&a, str_sub(path, 0, i));
        if (stat(dir, &st) == 0 && !(st.st_mode & S_IXOTH))
            ok = err_set(err, E_FORBIDDEN,
                         "%s has mode %04o, which keeps the roles without privileges out: chmod o+x %s", dir,
                         (unsigned)st.st_mode & 07777, dir);
    }
    arena_fini(&a);
    return ok;
}

static bool make_dirs(struct supervisor *s, struct err *err)
{
    if (!check_passage(s, err))
        return false;
    struct arena *a = &s->settings.arena;
    struct settings *c = &s->settings;
    unsigned server = s->privileged ? ROLE_UID_SERVER : 0;
    return make_dir(c->run, 0755, 0, err) &&
           make_dir(arena_fmt(a, STR_FMT "/roles", STR_ARG(c->run)), 0755, 0, err) &&
           make_dir(c->etc, 0755, server, err) &&
           make_dir(arena_fmt(a, STR_FMT "/keys", STR_ARG(c->etc)), 0700, server, err) &&
           make_dir(c->data, 0755, 0, err) &&
           make_dir(arena_fmt(a, STR_FMT "/server", STR_ARG(c->data)), 0700, server, err) &&
           make_dir(arena_fmt(a, STR_FMT "/edge", STR_ARG(c->run)), 0700, s->privileged ? ROLE_UID_EDGE : 0, err);
}

/* To start what runs is fine for one who wants it to run, and an error for one who wants to stand behind it. */
static int up_already(struct settings *c, const struct up_holder *h, bool detached)
{
    fprintf(detached ? stdout : stderr,
            "wherry is up already, as process %d; its kubeconfig is " STR_FMT
            "/admin.kubeconfig, and `wherry down%s" STR_FMT
            "` ends it; settings that it is to have from now on go into " STR_FMT "/config.yaml, which `kill -HUP "
            "%d` has it read\n",
            (int)h->pid, STR_ARG(c->etc), c->root.n ? " --root " : "", STR_ARG(c->root), STR_ARG(c->etc),
            (int)h->pid);
    return detached ? 0 : 1;
}

/* Another that ends, or was killed a moment ago, is waited for; with --detach also one that starts, as it will be
 * what was asked for. -1: *status says how this command ends. */
static int take_lock(struct settings *c, bool detached, int *status)
{
    struct up_holder h;
    struct err err = ERR;
    for (;;) {
        int lock = uplock_try(c, &h, &err);
        if (lock >= 0)
            return lock;
        *status = 1;
        if (!h.pid) {
            fprintf(stderr, "wherry up: %s\n", err.text);
            return -1;
        }
        if (h.state == UP_READY || (h.state == UP_STARTING && h.pid > 1 && !detached)) {
            *status = up_already(c, &h, detached);
            return -1;
        }
        if (!uplock_wait(c, &h, READY_MOST * 1000)) {
            fprintf(stderr, "wherry up: process %d is %s, and is not done with it after two minutes\n", (int)h.pid,
                    h.state == UP_ENDING ? "ending" : "starting");
            return -1;
        }
    }
}

/* Roles stand in "/": folders and files that were given from here are named from there. */
static void make_absolute(struct settings *c, char **argv, int argc)
{
    for (int i = 0; i + 1 < argc; i++)
        if (strcmp(argv[i], "--root") == 0)
            argv[++i] = arena_strz(&c->arena, c->root.n ? c->root : S("/"));
        else if (strcmp(argv[i], "--config") == 0 && argv[i + 1][0] != '/') {
            AUTO_FREE char *cwd = get_current_dir_name();
            argv[i + 1] = arena_strz(&c->arena, arena_fmt(&c->arena, "%s/%s", cwd ? cwd : ".", argv[i + 1]));
            i++;
        }
}

static bool check_rights(struct supervisor *s, struct err *err)
{
    return s->privileged || str_eq(s->settings.roles, S("server")) ||
           err_set(err, E_FORBIDDEN, "only root can run containers: use sudo, or --roles server for the API alone");
}

/* The last error that was logged behind `from`, as its writer put it; empty: none. */
static struct str last_error(struct arena *a, const char *log, int64_t from)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(16 << 20);
    struct err ignored = ERR; /* without a log there is only less to say */
    struct str rest, line, head, text, found = STR_NONE;
    if (!file_read(AT_FDCWD, log, &b, &ignored) || (size_t)from > b.n)
        return STR_NONE;
    rest = str_sub(strbuf_str(&b), (size_t)from, b.n);
    while (str_cut(&rest, '\n', &line)) {
        ptrdiff_t at = str_find(line, S(" error=\""));
        if (at < 0 || !str_split(line, ' ', &head, &text) || !str_starts(text, S("error ")))
            continue;
        found = str_sub(line, (size_t)at + 8, line.n);
        found = str_sub(found, 0, found.n - str_ends(found, S("\"")));
    }
    return str_dup(a, found);
}

/* The parent of a detached supervisor waits for its word that all roles are ready. */
static int wait_ready(struct arena *a, int fd, const char *log, int64_t from)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char c = 0;
    int n = poll(&p, 1, READY_MOST * 1000);
    bool said = n > 0 && read(fd, &c, 1) == 1;
    if (said && c == 'R')
        return 0;
    struct str why = last_error(a, log, from);
    fprintf(stderr, "wherry up: %s%s" STR_FMT "; its log is %s\n",
            said    ? "a role cannot be started, and is tried again and again"
            : n > 0 ? "it ended before it was ready"
                    : "it is not ready after two minutes",
            why.n ? ": " : "", STR_ARG(why), log);
    return 1;
}

static int supervisor_detach(struct supervisor *s)
{
    struct arena *a = &s->settings.arena;
    struct err err = ERR;
    int ready[2];
    struct str log = arena_fmt(a, STR_FMT "/wherry.log", STR_ARG(s->settings.log));
    if (!make_dir(s->settings.log, 0755, 0, &err) || pipe2(ready, O_CLOEXEC) < 0) {
        fprintf(stderr, "wherry up: %s\n", err.text[0] ? err.text : strerror(errno));
        return 1;
    }
    int out = open(log.p, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640),
        null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (out < 0 || null < 0) {
        fprintf(stderr, "wherry up: open " STR_FMT ": %s\n", STR_ARG(log), strerror(errno));
        return 1;
    }
    fflush(NULL);
    struct stat st;
    int64_t from = fstat(out, &st) == 0 ? st.st_size : 0;
    pid_t pid = fork();
    if (pid > 0) {
        fd_close(ready[1]);
        return wait_ready(a, ready[0], log.p, from);
    }
    fd_close(ready[0]);
    if (pid < 0 || setsid() < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
        return 1;
    s->detach_pipe = ready[1];
    return supervisor_run(s);
}

static void usage_print(void)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    settings_help(&b);
    printf("wherry up [--detach] [--root DIR] [--listen ADDRESS:PORT] [--roles LIST]\n"
           "          [--config FILE] [--set KEY=VALUE] ...\n\n"
           "Starts what this machine runs and keeps it running. Ctrl-C or SIGTERM ends it and leaves containers\n"
           "running. SIGHUP makes it read the settings again. With --detach it goes into the background and\n"
           "returns when the node is ready. `wherry install` lets systemd do all this.\n\n"
           "Settings (in /etc/wherry/config.yaml, below --root, or with --set):\n" STR_FMT,
           STR_ARG(strbuf_str(&b)));
}

int supervisor_main(int argc, char **argv)
{
    AUTO(settings_fini) struct settings unused = {0};
    struct supervisor s = {.detach_pipe = -1, .privileged = geteuid() == 0};
    struct err err = ERR;
    bool detached = false;
    int rest, kept = 0;
    char **all = arena_alloc(&unused.arena, (size_t)(argc + 1) * sizeof *all); /* for the roles, without --detach */
    for (int i = 0; i < argc; i++)
        if (strcmp(argv[i], "--detach") != 0 && strcmp(argv[i], "-d") != 0)
            all[kept++] = argv[i];
        else
            detached = true;
    char **again = arena_dup(&unused.arena, all, (size_t)(kept + 1) * sizeof *all);
    if (args_ask_help(kept, all)) {
        usage_print();
        return 0;
    }
    bool ok = settings_read(&s.settings, kept, again, &rest, &err);
    if (ok && rest)
        ok = err_set(&err, E_INVALID, "\"%s\" is not understood; wherry up --help lists what is", again[0]);
    ok = ok && check_rights(&s, &err);
    if (!ok) {
        fprintf(stderr, "wherry up: %s\n", err.text);
        settings_fini(&s.settings);
        return 2;
    }
    int status;
    AUTO(fd_close) int lock = s.lock = take_lock(&s.settings, detached, &status);
    /* Who takes its predecessor's place goes on whatever is in the way: the roles run, and somebody must look after
     * them. */
    bool begins = lock >= 0 && (obstacles_check(&s.settings, s.privileged && supervisor_wants(&s.settings, "node")) ||
                                supervisor_renews());
    if (begins && !make_dirs(&s, &err)) {
        fprintf(stderr, "wherry up: %s\n", err.text);
        begins = false;
    }
    if (!begins) {
        settings_fini(&s.settings);
        return lock >= 0 ? 1 : status;
    }
    make_absolute(&s.settings, all, kept);
    s.argc = kept;
    s.argv = all;
    status = detached ? supervisor_detach(&s) : supervisor_run(&s);
    settings_fini(&s.settings);
    return status;
}
