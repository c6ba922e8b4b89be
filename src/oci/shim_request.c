/* shim_request.c - what clients ask: shim_proto.h, an operation a row. */
#include "oci/shim_int.h"
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h> /* makedev */

static void container_free(struct kept_container *c)
{
    for (int i = 0; i < STREAMS; i++)
        fd_drop(&c->streams[i].fd);
    fd_drop(&c->in);
    fd_drop(&c->console);
    fd_drop(&c->log);
    fd_drop(&c->lock);
    every (a, attaches)
        if (a->container == c)
            attach_end(a);
    streams_forget(c);
    memset(c, 0, offsetof(struct kept_container, log_path));
}

/* crun mounts a tmpfs where a link called /dev leads within the root, and then makes devices where it leads on the
 * host. So in the container's own layer a folder takes the link's place. */
static bool own_dev(const char *root)
{
    char dev[SHIM_ID + 32];
    struct stat st;
    in_folder(dev, sizeof dev, root, "dev");
    if (fstatat(here, dev, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT;
    return !S_ISLNK(st.st_mode) || (unlinkat(here, dev, 0) == 0 && mkdirat(here, dev, 0755) == 0);
}

static int do_create(void)
{
    const struct shim_create *m = &in_msg.u.create;
    struct kept_container *c = NULL;
    if (container_by(m->id))
        return EEXIST;
    every (free_place, containers)
        if (!free_place->state && !c)
            c = free_place;
    if (!c) {
        errno = ENOSPC;
        return shim_fail("a pod has at most 40 containers at a time");
    }
    _Static_assert(SHIM_CONTAINERS == 40, "the sentence above");
    char root[SHIM_ID + 16];
    in_folder(root, sizeof root, m->id, "rootfs");
    int lock = m->lock[0] ? open(m->lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (m->lock[0] && (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) < 0)) {
        int failed = errno;
        fd_drop(&lock);
        return failed;
    }
    if (m->overlay[0]) {
        char whole[SHIM_PATH + SHIM_ID + 16];
        struct shim_text t = TEXT(whole);
        text_add(&t, pod.state);
        text_add(&t, "/");
        text_add(&t, root);
        int failed = chdir(m->layers) < 0 || mount("overlay", whole, "overlay", 0, m->overlay) < 0 ? errno : 0;
        if (fchdir(here) < 0 || failed) {
            failed = failed ? failed : errno;
            fd_drop(&lock);
            return failed;
        }
        if (!own_dev(root)) {
            failed = shim_fail("the image's /dev is a link that cannot be replaced");
            (void)umount2(root, MNT_DETACH); /* it goes with the namespace of the shim */
            fd_drop(&lock);
            return failed;
        }
    }
    memset(c, 0, offsetof(struct kept_container, log_path));
    memcpy(c->id, m->id, sizeof c->id);
    memcpy(c->log_path, m->log, strlen(m->log) + 1);
    memcpy(c->join, m->join, strlen(m->join) + 1);
    memcpy(c->after, m->after, strlen(m->after) + 1);
    memcpy(c->oom_file, m->oom, strlen(m->oom) + 1);
    c->guard[0] = 0;
    c->flags = m->flags;
    c->log_max = m->log_max;
    c->state = SHIM_CREATED;
    c->streams[OUT].fd = c->streams[ERR_].fd = c->in = c->console = c->log = -1;
    c->lock = lock;
    status_save(c);
    return 0;
}

static int do_start(struct kept_container *c, uint32_t client)
{
    const char *why = NULL;
    if (c->state != SHIM_CREATED)
        return EALREADY;
    c->start_client = client;
    c->start_seq = in_msg.head.seq;
    if (!kept_container_start(c, &why))
        return shim_fail(why);
    return -1; /* answered when crun has ended */
}

static int do_kill(struct kept_container *c)
{
    int sig = in_msg.u.kill.signal;
    if (sig < 0 || sig >= NSIG)
        return EINVAL;
    if (c->state == SHIM_RUNNING && runtime_is_other() && sig != SIGKILL)
        return runtime_kill(c, sig) ? 0 : errno;
    if (c->state == SHIM_RUNNING)
        return kill(c->pid, sig) < 0 ? errno : 0;
    if (c->state == SHIM_STARTING && sig == SIGKILL)
        c->kill_early = true;
    return c->state == SHIM_STARTING ? 0 : ESRCH;
}

static int do_exec(struct kept_container *c, uint32_t client, const int fds[3])
{
    struct shim_exec *m = &in_msg.u.exec;
    struct kept_exec *x = NULL;
    if (c->state != SHIM_RUNNING)
        return ESRCH;
    every (free_place, execs)
        if (!free_place->id[0] && !x)
            x = free_place;
    if (!x) {
        errno = EBUSY;
        return shim_fail("a pod has at most 32 execs at a time");
    }
    _Static_assert(SHIM_EXECS == 32, "the sentence above");
    char tty[32], tty_path[64], pid_name[32], log[32], pid_file[SHIM_PATH + SHIM_ID + 32];
    memset(x, 0, sizeof *x);
    x->console = x->master = -1;
    path_numbered(pid_name, sizeof pid_name, "exec.", x - execs);
    path_numbered(log, sizeof log, "exec-error.", x - execs);
    path_numbered(tty, sizeof tty, "exec-tty.", x - execs);
    struct shim_text p = TEXT(pid_file);
    text_add(&p, pod.state);
    text_add(&p, "/");
    text_add(&p, c->id);
    text_add(&p, "/");
    text_add(&p, pid_name);
    const char *args[12] = {"exec", "--detach", "--process", m->process, "--pid-file", pid_file};
    size_t n = 6;
    if (m->flags & SHIM_TTY) {
        x->console = console_listen(tty, tty_path, sizeof tty_path);
        if (x->console < 0)
            return shim_fail("no socket for the terminal");
        args[n++] = "--console-socket";
        args[n++] = tty_path;
    }
    args[n] = c->id;
    x->crun = crun_start(c, true, log, args, fds[0], fds[1], fds[2]);
    if (x->crun < 0) {
        fd_drop(&x->console);
        return shim_fail("starting crun");
    }
    memcpy(x->id, m->id, sizeof x->id);
    x->container = c;
    x->client = client;
    x->seq = in_msg.head.seq;
    x->rows = m->rows;
    x->columns = m->columns;
    return -1;
}

static int do_exec_kill(void)
{
    every (x, execs)
        if (x->id[0] && strcmp(x->id, in_msg.u.kill.id) == 0) {
            /* with what it has started, as when a terminal is closed: the session of an exec is its own */
            pid_t group = x->pid ? getpgid(x->pid) : -1;
            bool own = group > 1 && group != getpgrp() && getsid(x->pid) != getsid(0);
            return kill(own ? -group : x->pid ? x->pid : x->crun, in_msg.u.kill.signal) < 0 ? errno : 0;
        }
    return ESRCH;
}

static int do_attach(struct kept_container *c, uint32_t client, int fds[3])
{
    if (c->state != SHIM_RUNNING && c->state != SHIM_STARTING)
        return ESRCH;
    every (a, attaches) {
        if (a->container)
            continue;
        /* who attaches without stdin gives /dev/null: there is nothing to read, and no end of it */
        *a = (struct kept_attach){.container = c,
                                  .in = c->flags & (SHIM_STDIN | SHIM_TTY) && !is_null(fds[0]) ? fds[0] : -1,
                                  .out = fds[1],
                                  .err = fds[2],
                                  .stalled = -1,
                                  .client = client,
                                  .seq = in_msg.head.seq};
        for (int i = a->in < 0; i < 3; i++) {
            if (fds[i] >= 0)
                fcntl(fds[i], F_SETFL, fcntl(fds[i], F_GETFL) | O_NONBLOCK);
            fds[i] = -1; /* the attachment's now */
        }
        attach_catch_up(a);
        return 0;
    }
    return EBUSY;
}

/* Gone at once, or when what is under way in it has ended. */
static bool remove_now(struct kept_container *c)
{
    if (c->state != SHIM_EXITED && c->state != SHIM_CREATED)
        return false;
    every (x, execs)
        if (x->id[0] && x->container == c)
            return false;
    streams_drain(c);
    char root[SHIM_ID + 16];
    /* what stays goes with the namespace of the shim */
    (void)umount2(in_folder(root, sizeof root, c->id, "rootfs"), MNT_DETACH);
    container_free(c);
    return true;
}

static int do_remove(struct kept_container *c, uint32_t client)
{
    if (c->state == SHIM_RUNNING || c->removing)
        return EBUSY;
    if (remove_now(c))
        return 0;
    c->removing = c->kill_early = true;
    c->remove_client = client;
    c->remove_seq = in_msg.head.seq;
    every (x, execs)
        if (x->id[0] && x->container == c && x->pid)
            kill(x->pid, SIGKILL);
    return -1;
}

void containers_remove(void)
{
    every (c, containers) {
        if (!c->state || !c->removing)
            continue;
        uint32_t client = c->remove_client, seq = c->remove_seq;
        char id[SHIM_ID];
        memcpy(id, c->id, sizeof id);
        if (remove_now(c))
            answer_text(client, SHIM_REMOVE, seq, id, 0, "");
    }
}

static void do_list(struct kept_client *k)
{
    every (c, containers)
        if (c->state) {
            fill_status(c);
            send_to(k, SHIM_LIST, in_msg.head.seq, 0, -1);
        }
    memset(&out_msg.u.status, 0, sizeof out_msg.u.status);
    send_to(k, SHIM_LIST, in_msg.head.seq, ENOENT, -1);
}

static void do_quit(struct kept_client *k)
{
    quitting = true;
    launches_end();
    quit_client = k->serial;
    quit_seq = in_msg.head.seq;
    every (c, containers) {
        c->kill_early = true;
        if (c->state == SHIM_RUNNING)
            kill(c->pid, SIGKILL);
    }
    if (pod_init > 0)
        kill(pod_init, SIGKILL);
    quit_when_empty();
}

/* ---- the operations, a row each ---- */

struct shim_turn {
    struct kept_client *client;
    struct kept_container *container; /* as its row says */
    int *fds;                         /* what came with it; what is left here is closed afterwards */
};

static int op_hello(struct shim_turn *t)
{
    (void)t;
    out_msg.u.hello = (struct shim_hello){(uint32_t)getpid(), (uint32_t)pod_init, ready, {0}};
    memcpy(out_msg.u.hello.name, pod.name, sizeof pod.name);
    return 0;
}

static int op_sandbox(struct shim_turn *t)
{
    (void)t;
    return do_sandbox();
}

static int op_pod(struct shim_turn *t)
{
    (void)t;
    return do_pod();
}

static int op_mount(struct shim_turn *t)
{
    (void)t;
    return do_mount();
}

static int op_create(struct shim_turn *t)
{
    (void)t;
    return do_create();
}

static int op_start(struct shim_turn *t)
{
    return do_start(t->container, t->client->serial);
}

static int op_kill(struct shim_turn *t)
{
    return do_kill(t->container);
}

static int op_status(struct shim_turn *t)
{
    fill_status(t->container);
    return 0;
}

static int op_list(struct shim_turn *t)
{
    do_list(t->client);
    return -1;
}

static int op_exec(struct shim_turn *t)
{
    return do_exec(t->container, t->client->serial, t->fds);
}

static int op_exec_kill(struct shim_turn *t)
{
    (void)t;
    return do_exec_kill();
}

static int op_attach(struct shim_turn *t)
{
    return do_attach(t->container, t->client->serial, t->fds);
}

static int op_resize(struct shim_turn *t)
{
    if (t->container->flags & SHIM_TTY)
        set_size(t->container->streams[OUT].fd, in_msg.u.resize.rows, in_msg.u.resize.columns);
    return 0;
}

static int op_reopen(struct shim_turn *t)
{
    log_open(t->container);
    return t->container->log_path[0] && t->container->log < 0 ? errno : 0;
}

static int op_remove(struct shim_turn *t)
{
    return do_remove(t->container, t->client->serial);
}

static int op_guard(struct shim_turn *t)
{
    memcpy(t->container->guard, in_msg.u.guard.file, sizeof t->container->guard);
    return 0;
}

static int op_watch(struct shim_turn *t)
{
    t->client->watching = true;
    return 0;
}

static int op_quit(struct shim_turn *t)
{
    do_quit(t->client);
    return -1;
}

enum { BEFORE_READY = 1, ON_CONTAINER = 2, ON_EXECS_CONTAINER = 4 };
static const struct {
    int flags;
    int (*run)(struct shim_turn *t); /* 0 or an errno to answer with; -1: is answered elsewhere */
} operations[] = {
    [SHIM_HELLO] = {BEFORE_READY, op_hello},
    [SHIM_SANDBOX] = {BEFORE_READY, op_sandbox},
    [SHIM_MOUNT] = {0, op_mount},
    [SHIM_CREATE] = {0, op_create},
    [SHIM_START] = {ON_CONTAINER, op_start},
    [SHIM_KILL] = {ON_CONTAINER, op_kill},
    [SHIM_STATUS] = {ON_CONTAINER, op_status},
    [SHIM_LIST] = {0, op_list},
    [SHIM_EXEC] = {ON_EXECS_CONTAINER, op_exec},
    [SHIM_EXEC_KILL] = {0, op_exec_kill},
    [SHIM_ATTACH] = {ON_CONTAINER, op_attach},
    [SHIM_RESIZE] = {ON_CONTAINER, op_resize},
    [SHIM_REOPEN] = {ON_CONTAINER, op_reopen},
    [SHIM_REMOVE] = {ON_CONTAINER, op_remove},
    [SHIM_WATCH] = {BEFORE_READY, op_watch},
    [SHIM_QUIT] = {BEFORE_READY, op_quit},
    [SHIM_GUARD] = {ON_CONTAINER, op_guard},
    [SHIM_POD] = {BEFORE_READY, op_pod},
};

static int turn_perform(struct shim_turn *t)
{
    int flags = operations[in_msg.head.op].flags;
    if (!(flags & BEFORE_READY) && !ready)
        return ENOTCONN;
    if (flags & (ON_CONTAINER | ON_EXECS_CONTAINER)) {
        t->container = container_by(flags & ON_CONTAINER ? in_msg.u.target.id : in_msg.u.exec.container);
        if (!t->container)
            return ENOENT;
    }
    return operations[in_msg.head.op].run(t);
}

static void client_request(struct kept_client *k, size_t size, int fds[3])
{
    struct shim_turn t = {.client = k, .fds = fds};
    const char *wrong = shim_check(&in_msg, size);
    memset(&out_msg.u.target, 0, sizeof out_msg.u.target);
    if (wrong) { /* perhaps of another protocol: nothing of it is used but the number to answer to */
        struct shim_text w = TEXT(out_msg.u.target.text);
        text_add(&w, wrong);
        send_to(k, SHIM_WATCH, size >= sizeof in_msg.head ? in_msg.head.seq : 0, EPROTO, -1);
        return;
    }
    uint16_t op = in_msg.head.op;
    int status = turn_perform(&t);
    if (status >= 0)
        send_to(k, op, in_msg.head.seq, status, -1);
    if ((op == SHIM_SANDBOX || op == SHIM_POD) && status != 0 && !ready)
        _exit(1); /* nothing worth keeping: the asker has read why */
}

void client_read(struct kept_client *k)
{
    char room[CMSG_SPACE(8 * sizeof(int))];
    struct iovec io = {&in_msg, sizeof in_msg};
    struct msghdr h = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    ssize_t n = recvmsg(k->fd, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    int fds[3] = {-1, -1, -1};
    if (n > 0)
        take_fds(&h, fds, 3);
    if (n <= 0) {
        fd_drop(&k->fd);
        k->watching = false;
        return;
    }
    client_request(k, (size_t)n, fds);
    every (fd, fds)
        fd_drop(fd);
}

static uint32_t serials;

void client_add(int fd)
{
    struct ucred who;
    socklen_t n = sizeof who;
    bool mine = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0 && who.uid == geteuid();
    every (k, clients)
        if (mine && fd >= 0 && k->fd < 0) {
            *k = (struct kept_client){fd, ++serials, false};
            return;
        }
    close(fd);
}
