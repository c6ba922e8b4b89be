/* supervisor.c - starts the roles of this machine, starts them again when they end, and holds their
 * sockets.
 *
 * It serves nothing and reads nothing of strangers, so that it has no reason to fail; and if it is killed nothing is
 * lost. Roles go on without it. For each there is a record, RUN/roles/NAME: the pid, when that process was started
 * (a pid alone may be somebody else's by now), and which descriptor is which socket. The next supervisor opens a
 * pidfd, compares again, takes copies of the sockets out of the process (pidfd_getfd) and has adopted it: it needs
 * no cooperation of anybody.
 *
 *   start:   sockets (opened once, kept) -> child_start -> record -> "go"
 *   adopt:   record -> pidfd -> sockets; of another build: killed, and started anew with the same sockets
 *   ended:   again at once, then after 0.1, 0.2 ... 5 s; after 10 s of running the next failure is a first one
 *
 * A role waits for "go" before it does anything: one whose supervisor was killed before the record was written would
 * be found by nobody, and ends instead.
 *
 * Sockets are opened here, because ports below 1024 need root and roles do not have it, and stay open while a role
 * is started again: whoever connects meanwhile waits instead of being refused.
 *
 * SIGHUP: the file of the program, which may be a newer build, takes this process's place by exec. It then finds the
 * roles as after a kill, and RENEW in its environment tells it to start each anew. The same is done to the roles
 * when the machine's address changes (on_settled); the kernel is listened to for that, and asked a second later, as
 * every pod changes routes.
 *
 * A role that hangs is seen by role_watch.h and killed; here it just ends. The exit of a role that was adopted is
 * seen by its pidfd, as it is not our child.
 *
 * Not here: `wherry up` until it is this (up.c), containers, which belong to nobody but their shims, and
 * `wherry down` (down.c).
 */
#include "base/fault.h"
#include "base/log.h"
#include "cli/role.h"
#include "cli/role_watch.h"
#include "cli/supervisor_int.h"
#include "cli/systemd.h"
#include "cli/uplock.h"
#include "edge/haproxy.h"
#include "sys/child.h"
#include "sys/file.h"
#include "sys/stream.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define AGAIN_FIRST (100 * NS_PER_MS)
#define AGAIN_MOST  (5 * NS_PER_S)
#define RAN_LONG    (10 * NS_PER_S) /* after this the next failure is a first one */
#define END_MOST    (10 * NS_PER_S) /* a role that does not end by then is killed */
#define SETTLE      NS_PER_S        /* between a change of an address and a look at what came of it */
#define RENEW       "WHERRY_RENEW"  /* in the environment of a program that took its predecessor's place */

struct socket_row {
    const char *name, *role;
    int type;      /* SOCK_STREAM, SOCK_DGRAM */
    mode_t mode;   /* of a unix socket's file */
    bool may_miss; /* the role starts without it, and says so: somebody else may have the port */
};
/* What each role listens on. Where: address_of. */
static const struct socket_row socket_rows[SUPERVISOR_SOCKETS] = {
    {"api", "server", SOCK_STREAM, 0, false},          /* for everybody */
    {"api-pods", "server", SOCK_STREAM, 0, false},     /* for pods, also where `listen` is loopback */
    {"api-unix", "server", SOCK_STREAM, 0666, false},  /* for the roles of this machine: who, says SO_PEERCRED */
    {"relay-unix", "relay", SOCK_STREAM, 0666, false}, /* for the server of this machine */
    {"edge-agent", "edge", SOCK_STREAM, 0666, false},  /* for HAProxy; in a folder that is the role's alone */
    {"dns-udp", "dns", SOCK_DGRAM, 0, false},          {"dns-tcp", "dns", SOCK_STREAM, 0, false},
    {"edge-unix", "edge", SOCK_STREAM, 0666, false}, /* for the relay of this machine: counters */
    {"relay-tls", "relay", SOCK_STREAM, 0, true},    /* for whom the server lets in */
};
static const struct {
    const char *name;
    unsigned uid;          /* 0: root */
    uint64_t capabilities; /* of one that is not root */
} role_rows[SUPERVISOR_ROLES] = {
    {"server", ROLE_UID_SERVER, 0},
    {"node", 0, 0},
    {"relay", ROLE_UID_RELAY, 0},
    {"dns", ROLE_UID_DNS, 0},
    {"edge", ROLE_UID_EDGE, 1 << CAP_NET_BIND_SERVICE}, /* for HAProxy, which it starts: ports 80 and 443 */
};

/* Beside its sockets each role gets what it shows its pulse by (role_watch.h). */
static const char *const watch_names[2] = {"pulse", "bell"};

/* --- sockets --------------------------------------------------------------------------------------------- */

static struct str address_of(struct supervisor *s, struct arena *a, const char *name)
{
    struct settings *c = &s->settings;
    struct str port, host;
    uint32_t node = c->node_pods.ip + 1;
    ptrdiff_t colon = str_rfind_char(c->listen, ':');
    host = str_sub(c->listen, 0, (size_t)MAX(colon, 0));
    port = str_sub(c->listen, (size_t)(colon + 1), c->listen.n);
    if (strcmp(name, "api") == 0)
        return c->listen;
    if (strcmp(name, "api-pods") == 0) /* 0.0.0.0 covers it */
        return str_eq(host, S("0.0.0.0")) || str_eq(port, S("0")) || !s->privileged
                   ? STR_NONE
                   : arena_fmt(a, IP4_FMT ":" STR_FMT, IP4_ARG(node), STR_ARG(port));
    if (strcmp(name, "api-unix") == 0)
        return arena_fmt(a, "unix:" STR_FMT "/server.sock", STR_ARG(c->run));
    if (strcmp(name, "edge-agent") == 0)
        return arena_fmt(a, "unix:" STR_FMT "/edge/agent.sock", STR_ARG(c->run));
    if (strcmp(name, "relay-unix") == 0)
        return arena_fmt(a, "unix:" STR_FMT "/relay.sock", STR_ARG(c->run));
    if (strcmp(name, "relay-tls") == 0)
        return s->privileged ? arena_fmt(a, "0.0.0.0:%lld", (long long)c->relay_port) : STR_NONE;
    if (strcmp(name, "edge-unix") == 0)
        return arena_fmt(a, "unix:" STR_FMT "/edge.sock", STR_ARG(c->run));
    return arena_fmt(a, IP4_FMT ":53", IP4_ARG(node));
}

/* Bound before the address exists (IP_FREEBIND): the node role brings it up later. */
static int open_socket(const struct socket_row *row, struct str address, struct err *err)
{
    struct addr a;
    if (!addr_parse(address, &a, err))
        return -1;
    if (a.sa.sa_family == AF_UNIX)
        return socket_listen(&a, row->mode, err);
    int one = 1;
    AUTO(fd_close) int fd = socket(a.sa.sa_family, row->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool ok = fd >= 0 &&
              (row->type != SOCK_STREAM || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0) &&
              setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof one) == 0 && bind(fd, &a.sa, a.n) == 0 &&
              (row->type != SOCK_STREAM || listen(fd, 1024) == 0);
    if (!ok)
        return err_errno(err, "listen on " STR_FMT, STR_ARG(address)), -1;
    return TAKE_FD(fd);
}

static bool open_sockets(struct supervisor *s, struct role *r, struct err *err)
{
    struct arena a = ARENA;
    bool ok = true;
    for (size_t i = 0; i < countof(socket_rows) && ok; i++) {
        const struct socket_row *row = &socket_rows[i];
        struct str address = strcmp(row->role, r->name) == 0 ? address_of(s, &a, row->name) : STR_NONE;
        if (!address.n || r->sockets[i] >= 0)
            continue;
        r->sockets[i] = open_socket(row, address, err);
        if (r->sockets[i] < 0 && row->may_miss) {
            log_error("role.socket", "role=%s starts without it: error=\"%s\"", r->name, err->text);
            *err = ERR;
            continue;
        }
        ok = r->sockets[i] >= 0;
    }
    arena_fini(&a);
    return ok;
}

/* --- records of what runs: "PID START name:fd,name:fd" --------------------------------------------------- */

static int64_t start_time(pid_t pid) /* 0: no such process */
{
    struct process_stat st;
    return process_stat(pid, &st) ? (int64_t)st.started : 0;
}

static struct str record_path(const struct settings *c, struct arena *a, const char *role)
{
    return arena_fmt(a, STR_FMT "/roles/%s", STR_ARG(c->run), role);
}

/* Who runs as this role, by its record; 0: nobody, or a record of one that has ended. */
static pid_t record_read(const struct settings *c, struct arena *a, const char *role, struct str *sockets)
{
    struct err ignored = ERR; /* no record: it was never started here */
    AUTO(strbuf_fini) struct strbuf b = STRBUF(4096);
    struct str pid_text, start_text;
    int64_t pid, start;
    if (!file_read(AT_FDCWD, record_path(c, a, role).p, &b, &ignored) ||
        !str_split(str_dup(a, str_trim(strbuf_str(&b))), ' ', &pid_text, sockets))
        return 0;
    (void)str_split(*sockets, ' ', &start_text, sockets); /* a role without sockets has nothing behind it */
    bool ok = str_to_i64(pid_text, 2, INT32_MAX, &pid) && str_to_i64(start_text, 1, INT64_MAX, &start) &&
              start_time((pid_t)pid) == start;
    return ok ? (pid_t)pid : 0;
}

int supervisor_role_pidfd(const struct settings *c, const char *role)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str unused;
    pid_t pid = record_read(c, &a, role, &unused);
    int fd = pid ? pidfd_open(pid, 0) : -1;
    if (fd >= 0 && record_read(c, &a, role, &unused) == pid)
        return fd; /* it was that process still when it was opened */
    fd_close(fd);
    return -1;
}

bool supervisor_role_lives(const struct settings *c, const char *role)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str unused;
    return record_read(c, &a, role, &unused) != 0;
}

static void write_record(struct role *r, struct str sockets)
{
    struct arena a = ARENA;
    struct err err = ERR;
    struct str text = arena_fmt(&a, "%d %lld " STR_FMT "\n", (int)r->pid, (long long)start_time(r->pid),
                                STR_ARG(sockets));
    if (!file_replace(AT_FDCWD, record_path(&r->sup->settings, &a, r->name).p, text, 0644, &err))
        log_warn("role.record", "role=%s a restart of the supervisor will not find it: error=\"%s\"", r->name,
                 err.text);
    arena_fini(&a);
}

/* Into the socket's place in the role, or into one of *watch: its page and its bell. */
static void take_socket(struct role *r, int pidfd, struct str entry, int watch[2])
{
    struct str name, number;
    int64_t fd;
    if (!str_split(entry, ':', &name, &number) || !str_to_i64(number, 0, 1 << 20, &fd))
        return;
    for (size_t i = 0; i < countof(socket_rows); i++)
        if (str_eqz(name, socket_rows[i].name))
            r->sockets[i] = (int)syscall(SYS_pidfd_getfd, pidfd, (int)fd, 0);
    for (size_t i = 0; i < countof(watch_names); i++)
        if (str_eqz(name, watch_names[i]) && watch[i] < 0)
            watch[i] = (int)syscall(SYS_pidfd_getfd, pidfd, (int)fd, 0);
}

static void role_ended(struct role *r, const char *how, int code);

static void role_signal(struct role *r, int signo) /* by pidfd: never a stranger who got its number */
{
    if (pidfd_send_signal(r->child.pid ? r->child.pidfd : r->adopted.fd, signo, NULL, 0) < 0 && errno != ESRCH)
        log_warn("role.signal", "role=%s signal=%d error=\"%s\"", r->name, signo, strerror(errno));
}

static void on_adopted_end(struct poll *p, int ready)
{
    (void)ready;
    struct role *r = container_of(p, struct role, adopted);
    int fd = p->fd;
    poll_stop(p);
    fd_close(fd);
    (void)waitpid(r->pid, NULL, WNOHANG); /* a child of this process's earlier program; otherwise init's */
    role_ended(r, "exit of a role that was adopted", -1);
}

/* A supervisor of another build was killed, and what it started still runs. Roles of two builds would have to know
 * each other's messages: the old one goes, and its sockets are handed on, so that nobody is refused. */
static bool same_program(pid_t pid)
{
    char path[64];
    struct stat its, ours;
    (void)snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    return stat(path, &its) == 0 && stat("/proc/self/exe", &ours) == 0 && its.st_dev == ours.st_dev &&
           its.st_ino == ours.st_ino;
}

static bool role_adopt(struct role *r)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str rest, entry;
    int watch[2] = {-1, -1};
    pid_t pid = record_read(&r->sup->settings, &a, r->name, &rest);
    int pidfd = pid ? pidfd_open(pid, 0) : -1;
    if (pidfd < 0)
        return false;
    while (rest.n && str_cut(&rest, ',', &entry))
        take_socket(r, pidfd, entry, watch);
    r->pid = pid;
    r->ready = true;
    r->started = clock_mono();
    poll_init(&r->adopted, r->sup->loop, pidfd, on_adopted_end);
    poll_want(&r->adopted, POLL_READ);
    log_info("role.adopted", "role=%s pid=%d", r->name, (int)r->pid);
    if (!same_program(r->pid)) {
        log_info("role.replaced", "role=%s pid=%d it is of another build", r->name, (int)r->pid);
        r->ready = false;
        (void)pidfd_send_signal(pidfd, SIGKILL, NULL, 0); /* what a role had begun is found by the next one */
    }
    role_watch_start(&r->watch, r->name, r->pid, pidfd, watch[0], watch[1]);
    return true;
}

/* --- starting and restarting ----------------------------------------------------------------------------- */

/* To the parent of a detached supervisor: R, all are ready; F, one does not start. It hears the first. */
static void tell_waiting(struct supervisor *s, const char *word)
{
    if (s->detach_pipe >= 0 && write(s->detach_pipe, word, 1) == 1)
        log_info("ready", "all=%s", word[0] == 'R' ? "true" : "false");
    fd_close(s->detach_pipe);
    s->detach_pipe = -1;
}

static void maybe_all_ready(struct supervisor *s)
{
    for (size_t i = 0; i < countof(s->roles); i++)
        if (s->roles[i].wanted && !s->roles[i].ready)
            return;
    if (!s->ending)
        uplock_tell(&s->settings, s->lock, UP_READY);
    tell_waiting(s, "R");
    systemd_notify("READY=1");
}

static void on_notify(struct poll *p, int ready)
{
    (void)ready;
    struct role *r = container_of(p, struct role, notify_poll);
    char c;
    bool said = read(r->notify, &c, 1) == 1;
    poll_stop(p);
    fd_close(r->notify);
    r->notify = -1;
    if (!said)
        return;
    r->ready = true;
    fault_pass("up.after.ready");
    maybe_all_ready(r->sup);
}

static void on_role_exit(struct child *c, int status)
{
    struct role *r = container_of(c, struct role, child);
    if (WIFSIGNALED(status))
        role_ended(r, "signal", WTERMSIG(status));
    else
        role_ended(r, "exit", WEXITSTATUS(status));
}

static void role_start(struct role *r)
{
    struct supervisor *s = r->sup;
    struct arena a = ARENA;
    struct err err = ERR;
    AUTO(strbuf_fini) struct strbuf sockets = STRBUF(1000);
    int fds[countof(socket_rows) + 3][2], notify[2] = {-1, -1}, watch[2] = {-1, -1};
    size_t nfds = 0;
    bool ok = open_sockets(s, r, &err) && pulse_make(&watch[0], &watch[1], &err);
    for (size_t i = 0; i < countof(socket_rows) + countof(watch); i++) {
        bool is_socket = i < countof(socket_rows);
        int from = is_socket ? r->sockets[i] : watch[i - countof(socket_rows)];
        if (from < 0)
            continue;
        int to = 3 + (int)nfds;
        strbuf_addf(&sockets, "%s%s:%d", sockets.n ? "," : "",
                    is_socket ? socket_rows[i].name : watch_names[i - countof(socket_rows)], to);
        fds[nfds][0] = from;
        fds[nfds++][1] = to;
    }
    ok = ok && (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, notify) == 0 || err_errno(&err, "socketpair"));
    fds[nfds][0] = notify[1];
    fds[nfds][1] = 3 + (int)nfds;
    const char **argv = arena_alloc(&a, (size_t)(s->argc + 3) * sizeof *argv);
    size_t n = 0;
    argv[n++] = "wherry";
    argv[n++] = r->name;
    for (int i = 0; i < s->argc; i++)
        argv[n++] = s->argv[i];
    const char **env = arena_alloc(&a, 64 * sizeof *env);
    size_t e = 0;
    env[e++] = arena_fmt(&a, "WHERRY_SOCKETS=" STR_FMT, STR_ARG(strbuf_str(&sockets))).p;
    env[e++] = arena_fmt(&a, "WHERRY_NOTIFY=%d", 3 + (int)nfds).p;
    for (char **v = environ; *v && e < 62; v++)
        if (strncmp(*v, "PATH=", 5) == 0 || strncmp(*v, "WHERRY_FAULT=", 13) == 0 ||
            strncmp(*v, "WHERRY_DIE_AT=", 14) == 0 || strncmp(*v, "ASAN_", 5) == 0 || strncmp(*v, "TZ=", 3) == 0)
            env[e++] = *v;
    struct child_spec spec = CHILD_SPEC;
    spec.argv = argv;
    spec.path = "/proc/self/exe";
    spec.env = env;
    spec.dir = "/";
    spec.out = spec.err = STDERR_FILENO;
    spec.fds = (const int(*)[2])fds;
    spec.nfds = nfds + 1;
    spec.new_session = true;
    if (s->privileged && r->uid) {
        spec.uid = r->uid;
        spec.gid = r->uid;
        spec.capabilities = r->capabilities;
    }
    fault_pass("up.before.start");
    ok = ok && child_start(&r->child, s->loop, &spec, on_role_exit, &err);
    fault_pass("up.after.start");
    fd_close(notify[1]);
    arena_fini(&a);
    r->started = clock_mono();
    if (!ok) {
        fd_close(notify[0]);
        fd_close(watch[0]);
        fd_close(watch[1]);
        log_error("role.start", "role=%s error=\"%s\"", r->name, err.text);
        tell_waiting(s, "F");
        role_ended(r, "start", -1);
        return;
    }
    r->pid = r->child.pid;
    role_watch_start(&r->watch, r->name, r->pid, r->child.pidfd, watch[0], watch[1]);
    r->notify = notify[0];
    poll_init(&r->notify_poll, s->loop, r->notify, on_notify);
    poll_want(&r->notify_poll, POLL_READ);
    write_record(r, strbuf_str(&sockets));
    fault_pass("up.after.record");
    if (write(r->notify, "G", 1) != 1) /* go: from now on whoever comes after us finds it */
        log_debug("role.go", "it has ended already");
}

static void finish_if_over(struct supervisor *s)
{
    for (size_t i = 0; i < countof(s->roles); i++)
        if (s->roles[i].pid)
            return;
    timer_stop(&s->end_timer);
    loop_stop(s->loop);
}

/* The front door goes on without its role while it is only away, and ends where it is not wanted any more. */
static void role_is_over(struct role *r)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    if (strcmp(r->name, "edge") == 0 && !haproxy_end_all(edge_proxy_folder(&a, &r->sup->settings), &err))
        log_warn("role.over", "role=%s error=\"%s\"", r->name, err.text);
}

static void role_ended(struct role *r, const char *how, int code)
{
    struct supervisor *s = r->sup;
    fault_pass("up.saw.end");
    role_watch_stop(&r->watch);
    r->pid = 0;
    r->ready = false;
    if (r->notify >= 0) {
        poll_stop(&r->notify_poll);
        fd_close(r->notify);
        r->notify = -1;
    }
    if (s->ending) {
        finish_if_over(s);
        return;
    }
    if (!r->wanted) {
        role_is_over(r);
        return;
    }
    if (r->renewing) {
        r->renewing = false;
        r->wait = 0;
        timer_set(&r->again, 0);
        return;
    }
    if (clock_mono() - r->started > RAN_LONG)
        r->wait = 0;
    log_warn("role.ended", "role=%s how=%s code=%d restart_ms=%lld", r->name, how, code,
             (long long)r->wait / NS_PER_MS);
    timer_set(&r->again, r->wait);                                     /* the first time at once */
    if (code > 0 && strcmp(how, "exit") == 0 && r->wait == AGAIN_MOST) /* by itself, for the eighth time in 6 s */
        tell_waiting(s, "F");
    r->wait = r->wait ? MIN(r->wait * 2, AGAIN_MOST) : AGAIN_FIRST;
}

static void on_again(struct timer *t)
{
    role_start(container_of(t, struct role, again));
}

/* --- starting anew --------------------------------------------------------------------------------------- */

static bool socket_is_at(int fd, struct str address)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    struct err ignored = ERR; /* a socket without an address is at no place: it is opened anew */
    struct addr a;
    if (!socket_addr(fd, &a, &ignored))
        return false;
    addr_text(&a, &text);
    return str_eq(strbuf_str(&text), address) || str_ends(address, S(":0"));
}

/* The sockets stay open, so that whoever connects meanwhile waits for a moment instead of being refused. */
static void renew_roles(struct supervisor *s)
{
    struct arena a = ARENA;
    for (size_t i = 0; i < countof(s->roles); i++) {
        struct role *r = &s->roles[i];
        for (size_t k = 0; k < countof(socket_rows); k++) {
            if (r->sockets[k] < 0 || socket_is_at(r->sockets[k], address_of(s, &a, socket_rows[k].name)))
                continue;
            fd_close(r->sockets[k]);
            r->sockets[k] = -1; /* opened where it is wanted now */
        }
        if (!r->pid)
            continue;
        r->renewing = true;
        r->ready = false;
        role_signal(r, SIGTERM);
    }
    timer_set(&s->end_timer, END_MOST);
    arena_fini(&a);
}

static bool same_settings(struct supervisor *s, struct settings *now, struct err *err)
{
    struct arena a = ARENA;
    char **argv = arena_alloc(&a, (size_t)(s->argc + 1) * sizeof *argv);
    int rest;
    memcpy(argv, s->argv, (size_t)s->argc * sizeof *argv);
    bool ok = settings_read(now, s->argc, argv, &rest, err);
    arena_fini(&a);
    return ok;
}

bool supervisor_renews(void)
{
    return getenv(RENEW) != NULL;
}

static void on_hup(struct signal_source *source, int signo)
{
    struct supervisor *s = container_of(source, struct supervisor, on_hup);
    AUTO(settings_fini) struct settings now = {0};
    struct arena a = ARENA;
    struct err err = ERR;
    if (s->ending)
        return;
    if (!same_settings(s, &now, &err)) {
        log_error("reload", "goes on with the settings it has: error=\"%s\"", err.text);
        return;
    }
    log_info("reload", "signal=%d", signo);
    char **argv = arena_alloc(&a, (size_t)(s->argc + 3) * sizeof *argv);
    static char wherry[] = "wherry", up[] = "up";
    argv[0] = wherry;
    argv[1] = up;
    memcpy(argv + 2, s->argv, (size_t)s->argc * sizeof *argv);
    char text[64];
    (void)snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)(clock_mono() / 1000));
    systemd_notify(text);
    (void)setenv(RENEW, "1", 1);
    (void)execv(program_beside(&a, "wherry").p, argv);
    log_error("reload", "goes on as it is: %s: %s", program_beside(&a, "wherry").p, strerror(errno));
    (void)unsetenv(RENEW);
    systemd_notify("READY=1");
    arena_fini(&a);
}

static void on_settled(struct timer *t)
{
    struct supervisor *s = container_of(t, struct supervisor, settle);
    AUTO(settings_fini) struct settings now = {0};
    struct err err = ERR;
    if (s->ending)
        return;
    if (!same_settings(s, &now, &err)) {
        log_warn("address", "not looked at: error=\"%s\"", err.text);
        return;
    }
    if (str_eq(now.node_ip, s->settings.node_ip))
        return;
    log_info("address", "was=" STR_FMT " is=" STR_FMT " roles=anew", STR_ARG(s->settings.node_ip),
             STR_ARG(now.node_ip));
    s->settings.node_ip = str_dup(&s->settings.arena, now.node_ip);
    renew_roles(s);
}

/* What the messages say does not matter: some address or route changed, as those of pods do all the time. */
static void on_addresses(struct poll *p, int ready)
{
    struct supervisor *s = container_of(p, struct supervisor, addresses);
    char buf[8192];
    (void)ready;
    while (recv(p->fd, buf, sizeof buf, MSG_DONTWAIT) > 0 || errno == ENOBUFS) {
    }
    if (!timer_is_set(&s->settle))
        timer_set(&s->settle, SETTLE);
}

static void watch_addresses(struct supervisor *s)
{
    struct sockaddr_nl me = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE};
    AUTO(fd_close) int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    timer_init(&s->settle, s->loop, on_settled);
    if (fd < 0 || bind(fd, (struct sockaddr *)&me, sizeof me) < 0) {
        log_warn("address", "a new address of this machine is seen at the next start: error=\"%s\"", strerror(errno));
        return;
    }
    poll_init(&s->addresses, s->loop, TAKE_FD(fd), on_addresses);
    poll_want(&s->addresses, POLL_READ);
}

/* --- ending ---------------------------------------------------------------------------------------------- */

static void signal_all(struct supervisor *s, int signo)
{
    for (size_t i = 0; i < countof(s->roles); i++) {
        timer_stop(&s->roles[i].again);
        if (s->roles[i].pid)
            role_signal(&s->roles[i], signo);
    }
}

static void on_end_timer(struct timer *t)
{
    struct supervisor *s = container_of(t, struct supervisor, end_timer);
    for (size_t i = 0; i < countof(s->roles); i++) {
        struct role *r = &s->roles[i];
        if (!r->pid || !(s->ending || r->renewing))
            continue;
        log_warn("role.kill", "role=%s not ended within 10 s of SIGTERM", r->name);
        role_signal(r, SIGKILL);
    }
}

static void on_chld(struct signal_source *source, int signo)
{
    struct supervisor *s = container_of(source, struct supervisor, on_chld);
    (void)signo;
    for (size_t i = 0; i < countof(s->roles); i++)
        role_watch_sigchld(&s->roles[i].watch);
}

static void on_signal(struct signal_source *source, int signo)
{
    struct supervisor *s = signo == SIGTERM ? container_of(source, struct supervisor, on_term)
                                            : container_of(source, struct supervisor, on_int);
    if (s->ending)
        return;
    log_info("ending", "signal=%d", signo);
    s->ending = true;
    uplock_tell(&s->settings, s->lock, UP_ENDING);
    signal_all(s, SIGTERM);
    timer_set(&s->end_timer, END_MOST);
    finish_if_over(s);
}

/* --- the whole of it ---------------------------------------------------------------------------------------- */

bool supervisor_wants(const struct settings *c, const char *name)
{
    struct str roles = c->roles, part;
    while (str_cut(&roles, ',', &part))
        if (str_eqz(str_trim(part), name))
            return true;
    return false;
}

static void roles_run(struct supervisor *s)
{
    struct err err = ERR;
    for (size_t i = 0; i < countof(role_rows); i++) {
        struct role *r = &s->roles[i];
        *r = (struct role){.sup = s, .name = role_rows[i].name, .uid = role_rows[i].uid, .notify = -1};
        r->capabilities = role_rows[i].capabilities;
        for (size_t k = 0; k < countof(socket_rows); k++)
            r->sockets[k] = -1;
        timer_init(&r->again, s->loop, on_again);
        role_watch_init(&r->watch, s->loop);
        r->wanted = supervisor_wants(&s->settings, r->name);
        bool runs = role_adopt(r);
        if (!runs && r->wanted)
            role_start(r);
        else if (!runs)
            role_is_over(r);
        else if (r->pid && !r->wanted) /* not any more */
            role_signal(r, SIGTERM);
    }
    timer_init(&s->end_timer, s->loop, on_end_timer);
    if (supervisor_renews())
        renew_roles(s);
    (void)unsetenv(RENEW);
    maybe_all_ready(s);
    watch_addresses(s);
    if (!signal_start(&s->on_term, s->loop, SIGTERM, on_signal, &err) ||
        !signal_start(&s->on_int, s->loop, SIGINT, on_signal, &err) ||
        !signal_start(&s->on_hup, s->loop, SIGHUP, on_hup, &err) ||
        !signal_start(&s->on_chld, s->loop, SIGCHLD, on_chld, &err))
        log_error("signals", "error=\"%s\"", err.text);
    loop_run(s->loop);
    signal_stop(&s->on_term);
    signal_stop(&s->on_int);
    signal_stop(&s->on_hup);
    signal_stop(&s->on_chld);
    for (size_t i = 0; i < countof(s->roles); i++)
        role_watch_stop(&s->roles[i].watch);
    timer_stop(&s->settle);
    if (s->addresses.loop) {
        poll_stop(&s->addresses);
        fd_close(s->addresses.fd);
    }
}

/* The node keeps its name when the machine gets another one: its pods are bound to it. (settings.c reads it.) */
static bool remember_name(struct settings *c, struct err *err)
{
    struct str path = arena_fmt(&c->arena, STR_FMT "/node-name", STR_ARG(c->data));
    AUTO(strbuf_fini) struct strbuf was = STRBUF(STRBUF_TEXT);
    struct err ignored = ERR; /* settings.c has read it, or refused */
    if (file_read(AT_FDCWD, path.p, &was, &ignored) && str_eq(str_trim(strbuf_str(&was)), c->node_name))
        return true;
    return file_write(AT_FDCWD, path.p, arena_fmt(&c->arena, STR_FMT "\n", STR_ARG(c->node_name)), 0644, err);
}

int supervisor_run(struct supervisor *s)
{
    struct err err = ERR;
    log_role_set("supervisor");
    uplock_tell(&s->settings, s->lock, UP_STARTING);
    if (!remember_name(&s->settings, &err))
        log_warn("node.name", "not kept for the day this machine is called otherwise: error=\"%s\"", err.text);
    AUTO(loop_free) struct loop *loop = loop_new(&err);
    s->loop = loop;
    if (!loop) {
        fprintf(stderr, "wherry up: %s\n", err.text);
        return 1;
    }
    roles_run(s);
    for (size_t i = 0; i < countof(s->roles); i++)
        for (size_t k = 0; k < countof(socket_rows); k++)
            fd_close(s->roles[i].sockets[k]);
    return 0;
}
