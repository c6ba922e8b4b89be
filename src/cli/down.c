/* down.c - `wherry down`: ends what runs on this machine and takes back what the kernel was told.
 *
 * In this order: systemd's units, which would start again what ends; the supervisor, by whoever holds the lock;
 * roles that outlived a killed one, by their records; the front door; the pods; links, rules, routes and settings;
 * folders. The lock is held from the second step to the end, so nothing can be started in between, and what is in RUN
 * goes last, because its absence says that all is done. Every step is tried, whatever became of those before; the
 * exit status says whether all of it is gone.
 *
 * Processes are ended by pidfd. A number in a file may be a stranger's by now, so it is compared again once the
 * pidfd is open (end_supervisor; supervisor_role_pidfd does it for roles). SIGTERM, then SIGKILL.
 *
 * Pods are ended by adopting them as the agent does and stopping each sandbox: that is the only knowledge of what a
 * pod consists of. With --pods nothing else is done, and containers get SIGTERM and time first: that is what
 * wherry-pods.service runs when the machine shuts down.
 *
 * A folder that is a mount of its own is emptied and stays, as the mount is its owner's. Not here: telling the API.
 * What was declared stays in the store, and comes back with `wherry up`.
 */
#include "base/log.h"
#include "cli/args.h"
#include "cli/role.h"
#include "cli/supervisor.h"
#include "cli/systemd.h"
#include "cli/uplock.h"
#include "edge/haproxy.h"
#include "net/network.h"
#include "node/disk_do.h"
#include "node/flex_do.h"
#include "node/volume_mount.h"
#include "oci/runtime.h"
#include "sys/child.h"
#include "sys/file.h"
#include "sys/mount.h"
#include "sys/mount_tree.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>

#define END_MOST_MS  20000
#define UNIT_MOST_MS 120000
#define GRACE        (30 * NS_PER_S) /* upstream's default of terminationGracePeriodSeconds */

struct down {
    struct settings settings;
    struct loop *loop;
    struct runtime *runtime;
    int waiting; /* sandboxes on their way out */
    int running; /* containers that were asked to end */
    struct timer grace;
    bool gently; /* the machine is shut down: containers get SIGTERM first */
    bool failed;
};

static void down_complain(struct down *d, const char *what, const char *why)
{
    d->failed = true;
    fprintf(stderr, "wherry down: %s: %s\n", what, why);
}

/* --- processes ------------------------------------------------------------------------------------------- */

/* Which of the two kinds of holder it is, by its command line. */
static bool is_down(pid_t pid)
{
    char path[64];
    struct err ignored = ERR; /* it has ended: then it holds nothing */
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 16);
    (void)snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
    struct str rest, program, verb;
    if (!file_read(AT_FDCWD, path, &b, &ignored))
        return false;
    rest = strbuf_str(&b);
    return str_cut(&rest, 0, &program) && str_cut(&rest, 0, &verb) && str_eq(verb, S("down"));
}

static void end_process(struct down *d, int pidfd)
{
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    (void)pidfd_send_signal(pidfd, SIGTERM, NULL, 0); /* fails where it has ended, which is what is wanted */
    if (poll(&p, 1, END_MOST_MS) > 0)
        return;
    (void)pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
    if (poll(&p, 1, END_MOST_MS) <= 0)
        down_complain(d, "a process does not end", "it is stuck in the kernel");
}

/* Whoever holds the lock now: the number in a file that nobody holds may be a stranger's. */
static void end_supervisor(struct down *d)
{
    struct up_holder h = uplock_holder(&d->settings), still;
    AUTO(fd_close) int fd = h.pid > 1 ? pidfd_open(h.pid, 0) : -1;
    still = uplock_holder(&d->settings);
    if (fd >= 0 && still.pid == h.pid && !is_down(h.pid))
        end_process(d, fd);
    else if (h.pid) /* its parent is gone and it has not said its own number yet */
        (void)uplock_wait(&d->settings, &h, 1000);
}

/* Held to the end, so that nothing is started meanwhile; another `wherry down` is waited for. */
static int take_lock(struct down *d)
{
    struct up_holder h;
    struct err err = ERR;
    struct arena *a = &d->settings.arena;
    if (access(arena_strz(a, d->settings.run), F_OK) < 0 && access(arena_strz(a, d->settings.data), F_OK) < 0)
        return -1; /* nothing of a cluster is here */
    for (;;) {
        int lock = uplock_try(&d->settings, &h, &err);
        if (lock >= 0) {
            uplock_tell(&d->settings, lock, UP_ENDING);
            return lock;
        }
        if (!h.pid) {
            down_complain(d, "the lock", err.text);
            return -1;
        }
        if (!is_down(h.pid))
            end_supervisor(d);
        else if (!uplock_wait(&d->settings, &h, UNIT_MOST_MS)) {
            down_complain(d, "another wherry down", "it is not done after two minutes");
            return -1;
        }
    }
}

static void end_roles(struct down *d)
{
    struct arena *a = &d->settings.arena;
    struct str roles = arena_fmt(a, STR_FMT "/roles", STR_ARG(d->settings.run));
    DIR *dir = opendir(roles.p); /* those that outlived a killed supervisor */
    for (struct dirent *e; dir && (e = readdir(dir));) {
        AUTO(fd_close) int fd = e->d_name[0] != '.' ? supervisor_role_pidfd(&d->settings, e->d_name) : -1;
        if (fd >= 0)
            end_process(d, fd);
    }
    if (dir)
        (void)closedir(dir);
}

/* The front door outlives its role, as containers do. */
static void end_proxies(struct down *d)
{
    struct arena *a = &d->settings.arena;
    struct err err = ERR;
    if (!haproxy_end_all(edge_proxy_folder(a, &d->settings), &err))
        down_complain(d, "the front door", err.text);
}

/* --- pods ------------------------------------------------------------------------------------------------ */

static void on_stopped(struct sandbox *s, const struct err *err, void *arg)
{
    struct down *d = arg;
    (void)s;
    if (err)
        down_complain(d, "a pod does not end", err->text);
    if (--d->waiting == 0)
        loop_stop(d->loop);
}

static void stop_all(struct down *d)
{
    timer_stop(&d->grace);
    d->waiting = 1;
    for (struct sandbox *s = sandbox_next(d->runtime, NULL), *next; s; s = next) {
        next = sandbox_next(d->runtime, s);
        d->waiting++;
        sandbox_stop(s, on_stopped, d);
    }
    if (--d->waiting == 0)
        loop_stop(d->loop);
}

static void on_grace_over(struct timer *t)
{
    stop_all(container_of(t, struct down, grace));
}

static void on_exited(void *arg, struct container *c)
{
    struct down *d = arg;
    (void)c;
    if (d->running > 0 && --d->running == 0)
        stop_all(d);
}

static void on_adopted(void *arg)
{
    struct down *d = arg;
    struct container_status st;
    for (struct sandbox *s = d->gently ? sandbox_next(d->runtime, NULL) : NULL; s; s = sandbox_next(d->runtime, s))
        for (struct container *c = container_next(s, NULL); c; c = container_next(s, c)) {
            container_status(c, &st);
            if (st.state != CONTAINER_RUNNING)
                continue;
            d->running++;
            container_kill(c, SIGTERM);
        }
    if (d->running)
        timer_set(&d->grace, GRACE);
    else
        stop_all(d);
}

static void end_pods(struct down *d)
{
    struct arena *a = &d->settings.arena;
    struct settings *s = &d->settings;
    struct err err = ERR;
    AUTO(loop_free) struct loop *loop = loop_new(&err);
    struct str group = pods_group(a, s);
    struct runtime_config rc = {
        .loop = loop,
        .state = arena_strz(a, s->run),
        .data = arena_fmt(a, STR_FMT "/node", STR_ARG(s->data)).p,
        .content = arena_fmt(a, STR_FMT "/node/content", STR_ARG(s->data)).p,
        .shim = program_beside(a, "wherry-shim").p,
        .crun = "/usr/bin/crun",
        .cgroup = group.p,
        .on = {.container_exited = on_exited},
        .arg = d,
    };
    d->loop = loop;
    timer_init(&d->grace, loop, on_grace_over);
    d->runtime = loop ? runtime_new(&rc, &err) : NULL;
    if (!d->runtime) {
        down_complain(d, "pods", err.text);
        return;
    }
    if (runtime_adopt(d->runtime, on_adopted, d, &err))
        loop_run(loop);
    else
        down_complain(d, "pods", err.text);
    if (!cgroup_remove(runtime_cgroups(d->runtime), group.p, &err))
        down_complain(d, "control groups", err.text);
    runtime_free(d->runtime);
}

/* --- the kernel's settings ------------------------------------------------------------------------------- */

static void remove_network(struct down *d)
{
    struct settings *s = &d->settings;
    struct err err = ERR;
    struct str state = arena_fmt(&s->arena, STR_FMT "/node/sysctls", STR_ARG(s->data));
    struct network_config config = {{s->instance, s->pods, s->node_pods, s->services, 0}, state.p};
    if (!network_down(&config, &err))
        down_complain(d, "links, rules, routes and settings", err.text);
}

static bool folder_empty(const char *path, struct err *err)
{
    static const char *const stay[] = {".", "..", "lost+found", "supervisor.lock", "supervisor.state"};
    DIR *dir = opendir(path);
    if (!dir)
        return errno == ENOENT || err_errno(err, "open %s", path);
    bool ok = true;
    for (struct dirent *e; ok && (e = readdir(dir));) {
        bool stays = false;
        for (size_t i = 0; i < countof(stay); i++)
            stays |= strcmp(e->d_name, stay[i]) == 0;
        ok = stays || tree_remove(dirfd(dir), e->d_name, err);
    }
    (void)closedir(dir);
    return ok;
}

/* A folder that its owner gave a disk of its own is emptied: the mount is not ours. */
static bool folder_remove(const char *path, struct err *err)
{
    return mount_is_point(path) ? folder_empty(path, err) : tree_remove(AT_FDCWD, path, err);
}

/* What pods had mounted, each as the node would: devices are let go of. */
static void mounts_remove(struct down *d)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str mounts = arena_fmt(&a, STR_FMT "/mounts", STR_ARG(d->settings.run));
    struct err err = ERR;
    DIR *dir = opendir(mounts.p);
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (e->d_name[0] != '.' &&
            !volume_mounts_remove(arena_fmt(&a, STR_FMT "/%s", STR_ARG(mounts), e->d_name).p, &err))
            down_complain(d, "what a pod had mounted", err.text);
    if (dir)
        (void)closedir(dir);
    if (mount_is_point(mounts.p) && !mount_remove(mounts.p, &err))
        down_complain(d, "the mounts of pods", err.text);
}

/* Volumes that lie in a folder of their owner's choice; what else lies there stays. */
static void volumes_remove(struct down *d, const char *path)
{
    static const char *const ours[] = {"pvc-", ".new-pvc-", ".gone-pvc-"};
    struct err err = ERR;
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        bool is_ours = false;
        for (size_t i = 0; i < countof(ours); i++)
            is_ours = is_ours || str_starts(str_of(e->d_name), str_of(ours[i]));
        if (is_ours && !tree_remove(dirfd(dir), e->d_name, &err))
            down_complain(d, e->d_name, err.text);
    }
    if (dir)
        (void)closedir(dir);
}

/* Disks of a network that pods had, which are mounted no more: sessions end, devices go. */
static void disks_end(struct down *d)
{
    struct arena *a = &d->settings.arena;
    struct csi_records found = {0};
    csi_records_find(a, d->settings.kubelet.p, &found);
    array_each (r, &found.list) {
        struct disk_task t;
        struct err err = ERR;
        if (r->place.n && !r->uid.n &&
            (!disk_task_of(a, d->settings.kubelet.p, r, &t, &err) || !disk_do_end(&t, &err)))
            down_complain(d, arena_fmt(a, "the disk of volume " STR_FMT, STR_ARG(r->spec)).p, err.text);
    }
    array_fini(&found.list);
}

/* FlexVolumes go as their drivers have it: those of pods first, then what was attached for all of them. */
static void flex_end(struct down *d)
{
    struct arena *a = &d->settings.arena;
    struct csi_records found = {0};
    const char *kubelet = d->settings.kubelet.p, *plugins = arena_strz(a, d->settings.volume_plugin_dir);
    csi_records_find(a, kubelet, &found);
    for (int stage = 0; stage < 2; stage++)
        array_each (r, &found.list) {
            struct flex_task t;
            struct err err = ERR;
            if (!r->flex || (r->uid.n == 0) != stage)
                continue;
            flex_task_init(&t, a, plugins, kubelet, r);
            if (!(stage ? flex_do_detach(&t, &err) : flex_do_unmount(&t, &err)) ||
                !csi_record_remove(stage ? &t.stage : &t.pod, &err))
                down_complain(d, arena_fmt(a, "FlexVolume " STR_FMT, STR_ARG(r->spec)).p, err.text);
        }
    array_fini(&found.list);
}

static void remove_dirs(struct down *d, bool purge, bool locked)
{
    struct arena *a = &d->settings.arena;
    struct settings *s = &d->settings;
    struct err err = ERR;
    struct str volumes = arena_fmt(a, STR_FMT "/volumes", STR_ARG(s->run));
    if (mount_is_point(volumes.p) && !mount_remove(volumes.p, &err))
        down_complain(d, "the volumes' tmpfs", err.text);
    mounts_remove(d);
    flex_end(d);
    if (!mount_remove_below(s->kubelet.p, &err))
        down_complain(d, "what drivers of storage have mounted", err.text);
    disks_end(d);
    struct str gone[] = {arena_fmt(a, STR_FMT "/node/pods", STR_ARG(s->data)),
                         arena_fmt(a, STR_FMT "/pods", STR_ARG(s->kubelet)),
                         arena_fmt(a, STR_FMT "/plugins/kubernetes.io", STR_ARG(s->kubelet)),
                         arena_fmt(a, STR_FMT "/plugins_registry", STR_ARG(s->kubelet)),
                         s->data,
                         s->etc,
                         arena_fmt(a, STR_FMT "/pods", STR_ARG(s->log)),
                         arena_fmt(a, STR_FMT "/wherry.log", STR_ARG(s->log))};
    for (size_t i = 0; i < countof(gone); i++) {
        if (i >= 3 && !purge)
            break;
        if (!folder_remove(arena_strz(a, gone[i]), &err))
            down_complain(d, arena_strz(a, gone[i]), err.text);
    }
    if (purge && s->volumes_dir.n)
        volumes_remove(d, arena_strz(a, s->volumes_dir));
    if (!locked)
        return;                                    /* what is there now is of one who has begun since */
    if (folder_empty(arena_strz(a, s->run), &err)) /* last: then others may begin */
        uplock_remove(s);
    else
        down_complain(d, arena_strz(a, s->run), err.text);
}

/* systemd would start again what it is to run. */
static void stop_units(struct down *d)
{
    struct err err = ERR;
    if (geteuid() == 0 && !d->settings.root.n && (systemd_unit_active(UNIT) || systemd_unit_active(UNIT_PODS)) &&
        !systemctl_run("stop", UNIT, UNIT_PODS, UNIT_MOST_MS, &err))
        down_complain(d, "the units of systemd", err.text);
}

int down_main(int argc, char **argv)
{
    struct down d = {0};
    struct err err = ERR;
    bool purge = false;
    int rest, kept = 0;
    if (args_ask_help(argc, argv)) {
        printf(
            "wherry down [--purge] [--root DIR]\n\n"
            "Ends every process, pod, mount, link, rule and control group of the cluster on this machine, and\n"
            "puts the kernel's settings back. What was declared stays and comes back with `wherry up`; --purge\n"
            "removes it. Where `wherry install` was used, it also comes back at the next boot; `wherry uninstall`\n"
            "ends that.\n");
        return 0;
    }
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--purge") == 0)
            purge = true;
        else if (strcmp(argv[i], "--pods") == 0) /* these alone, gently: for wherry-pods.service */
            d.gently = true;
        else
            argv[kept++] = argv[i];
    }
    if (!settings_read(&d.settings, kept, argv, &rest, &err) || rest) {
        fprintf(stderr, "wherry down: %s\n",
                rest ? "an argument is not understood; wherry down --help lists what is" : err.text);
        settings_fini(&d.settings);
        return 2;
    }
    log_level_set(LOG_ERROR);
    AUTO(fd_close) int lock = -1;
    if (!d.gently) {
        stop_units(&d);
        lock = take_lock(&d);
        end_roles(&d);
        end_proxies(&d);
    }
    if (geteuid() == 0 &&
        access(arena_fmt(&d.settings.arena, STR_FMT "/node", STR_ARG(d.settings.data)).p, F_OK) == 0) {
        end_pods(&d);
        if (!d.gently)
            remove_network(&d);
    }
    if (!d.gently)
        remove_dirs(&d, purge, lock >= 0);
    settings_fini(&d.settings);
    return d.failed ? 1 : 0;
}
