/* oci_bench - what a pod and a container cost, each figure beside its floor or its peer in the same run (as root; in
 * namespaces of its own):
 *   make bench-oci; build/release/bench-oci [ROUNDS]
 *
 * create+start   from the call to the callback, beside `crun create` + `crun start` of the bundle that we wrote
 * exec           `true` in a container, beside `crun exec` of the same
 * sandbox        from nothing to a shim with its namespaces; and the way back
 * memory         PSS of a shim with one running container, beside conmon with one
 * Rounds are 100 ms apart: back to back hides what the kernel does lazily (linux RCU grace periods). */
#include "base/clock.h"
#include "oci/jobs.h"
#include "oci/pack.h"
#include "oci/runtime.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define ROUNDS_MAX 1000

static struct {
    struct loop *loop;
    struct runtime *rt;
    struct arena arena;
    struct digest image;
    char dir[64], state[80], job[300], shim[300];
    bool told;
} w;

static NORETURN void die(const char *what, const struct err *err)
{
    fprintf(stderr, "%s: %s\n", what, err ? err->text : strerror(errno));
    exit(1);
}

struct series {
    const char *name;
    double ms[ROUNDS_MAX];
    int n;
};

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(struct series *s)
{
    qsort(s->ms, (size_t)s->n, sizeof *s->ms, by_size);
    return s->ms[s->n / 2];
}

static void print(struct series *s, struct series *floor)
{
    double m = median(s);
    printf("%-34s %6.2f %6.2f %6.2f ms", s->name, s->ms[0], m, s->ms[s->n - 1]);
    if (floor)
        printf("   %.2f times %s", m / median(floor), floor->name);
    printf("\n");
}

static void sandbox_told(struct sandbox *s, const struct err *err, void *arg)
{
    (void)s, (void)arg;
    if (err)
        die("sandbox", err);
    w.told = true;
}

static void container_told(struct container *c, const struct err *err, void *arg)
{
    (void)c, (void)arg;
    if (err)
        die("container", err);
    w.told = true;
}

static void output_told(void *arg, int code, struct str output, const struct err *err)
{
    (void)arg, (void)code, (void)output;
    if (err)
        die("exec", err);
    w.told = true;
}

static void wait_told(void)
{
    while (!w.told)
        (void)loop_run_once(w.loop, NS_PER_S);
    w.told = false;
}

static struct sandbox *pod(const char *id)
{
    const struct sandbox_spec spec = {
        .id = str_of(id), .name = S("bench/pod"), .hostname = S("pod"), .cgroup = arena_fmt(&w.arena, "/%s", id)};
    struct sandbox *s = sandbox_start(w.rt, &spec, sandbox_told, NULL);
    wait_told();
    return s;
}

static struct container *create(struct sandbox *s, const char *id)
{
    struct oci_container o = {0};
    oci_container_defaults(&o, &w.arena, sandbox_shm(s));
    o.args = (struct strs){(struct str[]){S("/bin/busybox"), S("sleep"), S("1000")}, 3};
    o.limits = (struct oci_limits){.memory = 64 << 20, .cpu_shares = 100, .cpu_quota_us = 20000};
    const struct container_spec spec = {
        .id = str_of(id), .image = w.image, .oci = &o, .log = arena_fmt(&w.arena, "%s/logs/%s/0.log", w.dir, id)};
    struct container *c = container_create(s, &spec, container_told, NULL);
    wait_told();
    return c;
}

static void remove_it(struct container *c)
{
    struct container_status st;
    container_kill(c, SIGKILL);
    for (container_status(c, &st); st.state == CONTAINER_RUNNING; container_status(c, &st))
        (void)loop_run_once(w.loop, NS_PER_S);
    container_remove(c, container_told, NULL);
    wait_told();
}

/* A program to its end inside the mount namespace of a shim; ms it took. */
static double run_in(struct sandbox *s, const char *const *argv)
{
    int64_t start = clock_mono();
    pid_t pid = fork();
    if (pid == 0) {
        char path[64];
        (void)snprintf(path, sizeof path, "/proc/%d/ns/mnt", (int)sandbox_pid(s));
        int ns = open(path, O_RDONLY), null = open("/dev/null", O_RDWR);
        if (ns < 0 || setns(ns, CLONE_NEWNS) < 0)
            _exit(126);
        (void)dup2(null, 0);
        (void)dup2(null, 1);
        (void)execv(argv[0], (char **)(uintptr_t)argv);
        _exit(127);
    }
    int status;
    (void)waitpid(pid, &status, 0);
    if (status)
        fprintf(stderr, "%s %s: status %d\n", argv[0], argv[3], status);
    return (double)(clock_mono() - start) / NS_PER_MS;
}

static long pss_kb(pid_t pid, long *own)
{
    char path[64], line[200];
    long kb = -1;
    (void)snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "Pss: %ld", &kb) == 1 || sscanf(line, "Private_Dirty: %ld", own) == 1)
            continue;
    if (f)
        (void)fclose(f);
    return kb;
}

static void gap(void)
{
    (void)poll(NULL, 0, 100);
}

static void conmon_beside(struct sandbox *s, const char *bundle, char *crun_root)
{
    long own = 0, kb;
    char log[200], pidfile[200], text[32] = {0}, exits[120];
    (void)snprintf(log, sizeof log, "k8s-file:%s/conmon.log", w.dir);
    (void)snprintf(pidfile, sizeof pidfile, "%s/conmon.pid", w.dir);
    (void)snprintf(exits, sizeof exits, "%s/exits", w.dir);
    (void)mkdir(exits, 0755);
    const char *const conmon[] = {"/usr/bin/conmon",
                                  "--api-version",
                                  "1",
                                  "-c",
                                  "peer",
                                  "-u",
                                  "peer",
                                  "-n",
                                  "peer",
                                  "-r",
                                  "/usr/bin/crun",
                                  "--runtime-arg",
                                  arena_fmt(&w.arena, "--root=%s", crun_root).p,
                                  "-b",
                                  bundle,
                                  "-P",
                                  pidfile,
                                  "-p",
                                  arena_fmt(&w.arena, "%s/peer.pid", w.dir).p,
                                  "-l",
                                  log,
                                  "--exit-dir",
                                  exits,
                                  "--persist-dir",
                                  exits,
                                  "--socket-dir-path",
                                  exits,
                                  "--log-level",
                                  "error",
                                  NULL};
    const char *const start[] = {"/usr/bin/crun", "--root", crun_root, "start", "peer", NULL};
    const char *const del[] = {"/usr/bin/crun", "--root", crun_root, "delete", "--force", "peer", NULL};
    (void)run_in(s, conmon);
    (void)poll(NULL, 0, 300);
    (void)run_in(s, start);
    AUTO(fd_close) int fd = open(pidfile, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && read(fd, text, sizeof text - 1) > 0) {
        kb = pss_kb((pid_t)strtol(text, NULL, 10), &own);
        printf("conmon with one container: PSS %ld kB, %ld kB its own\n", kb, own);
    }
    (void)run_in(s, del);
}

int main(int argc, char **argv)
{
    struct err err = ERR;
    int rounds = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 30;
    char path[300], crun_root[100], archive[100], store[100], cgroup[40];
    static struct series sandbox = {.name = "sandbox start"}, stop = {.name = "sandbox stop"},
                         start = {.name = "container create+start"}, peer = {.name = "crun create+start"},
                         exec = {.name = "exec true"}, exec_peer = {.name = "crun exec"},
                         del = {.name = "container kill+remove"};
    rounds = MIN(MAX(rounds, 1), ROUNDS_MAX);
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0 || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        die("namespaces (needs root)", NULL);
    (void)snprintf(w.dir, sizeof w.dir, "/tmp/wherry-bench.%d", (int)getpid());
    (void)snprintf(w.state, sizeof w.state, "%s/run", w.dir);
    (void)snprintf(store, sizeof store, "%s/store", w.dir);
    (void)snprintf(crun_root, sizeof crun_root, "%s/run/peer", w.dir);
    (void)snprintf(archive, sizeof archive, "%s/a.tar", w.dir);
    (void)snprintf(cgroup, sizeof cgroup, "/wherry-bench-%d", (int)getpid());
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    path[MAX(n, 0)] = 0;
    *strrchr(path, '/') = 0;
    (void)snprintf(w.job, sizeof w.job, "%.250s/wherry-job", path);
    (void)snprintf(w.shim, sizeof w.shim, "%.250s/wherry-shim", path);
    /* the state folder is on a tmpfs, as /run is */
    if (mkdir(w.dir, 0755) < 0 || mkdir(w.state, 0755) < 0 || mount("tmpfs", w.state, "tmpfs", 0, NULL) < 0)
        die(w.dir, NULL);
    const struct oci_pack_file files[] = {{"bin/busybox", "/bin/busybox", NULL, 0755},
                                          {"proc", NULL, NULL, 0},
                                          {"dev", NULL, NULL, 0},
                                          {"sys", NULL, NULL, 0}};
    const struct oci_pack p = {.name = S("bench:1"), .files = files, .nfiles = countof(files)};
    struct strs names;
    if (!oci_pack(&p, archive, &err) || !image_load(w.job, store, archive, S(""), &w.arena, &names, &w.image, &err))
        die("image", &err);
    w.loop = loop_new(&err);
    const struct runtime_config config = {.loop = w.loop,
                                          .state = w.state,
                                          .data = w.dir,
                                          .content = store,
                                          .shim = w.shim,
                                          .crun = "/usr/bin/crun",
                                          .cgroup = cgroup};
    w.rt = w.loop ? runtime_new(&config, &err) : NULL;
    if (!w.rt)
        die("runtime", &err);

    struct sandbox *s = pod("held");
    struct container *held = create(s, "bundle");
    (void)snprintf(path, sizeof path, "%s/pods/held/bundle", w.state);
    const char *bundle = arena_fmt(&w.arena, "%s", path).p;
    const char *const c_create[] = {"/usr/bin/crun", "--root", crun_root, "create", "--bundle", bundle, "peer", NULL};
    const char *const c_start[] = {"/usr/bin/crun", "--root", crun_root, "start", "peer", NULL};
    const char *const c_exec[] = {"/usr/bin/crun", "--root", crun_root, "exec", "peer", "/bin/busybox", "true", NULL};
    const char *const c_delete[] = {"/usr/bin/crun", "--root", crun_root, "delete", "--force", "peer", NULL};
    struct strs yes = {(struct str[]){S("/bin/busybox"), S("true")}, 2};
    for (int i = 0; i < rounds; i++) {
        gap();
        peer.ms[peer.n++] = run_in(s, c_create) + run_in(s, c_start);
        gap();
        exec_peer.ms[exec_peer.n++] = run_in(s, c_exec);
        (void)run_in(s, c_delete);
        gap();
        int64_t t = clock_mono();
        struct sandbox *fresh = pod("fresh");
        sandbox.ms[sandbox.n++] = (double)(clock_mono() - t) / NS_PER_MS;
        gap();
        t = clock_mono();
        struct container *c = create(fresh, "one");
        container_start(c, container_told, NULL);
        wait_told();
        start.ms[start.n++] = (double)(clock_mono() - t) / NS_PER_MS;
        gap();
        t = clock_mono();
        container_exec_output(c, yes, 10 * NS_PER_S, output_told, NULL);
        wait_told();
        exec.ms[exec.n++] = (double)(clock_mono() - t) / NS_PER_MS;
        if (i == rounds - 1) {
            long own = 0, kb = pss_kb(sandbox_pid(fresh), &own);
            printf("shim with one container: PSS %ld kB of two alive, %ld kB its own\n", kb, own);
        }
        t = clock_mono();
        remove_it(c);
        del.ms[del.n++] = (double)(clock_mono() - t) / NS_PER_MS;
        t = clock_mono();
        sandbox_stop(fresh, sandbox_told, NULL);
        wait_told();
        stop.ms[stop.n++] = (double)(clock_mono() - t) / NS_PER_MS;
    }
    conmon_beside(s, bundle, crun_root);
    printf("%-34s %6s %6s %6s\n", "", "min", "median", "max");
    print(&peer, NULL);
    print(&start, &peer);
    print(&exec_peer, NULL);
    print(&exec, &exec_peer);
    print(&sandbox, NULL);
    print(&del, NULL);
    print(&stop, NULL);
    (void)held;
    sandbox_stop(s, sandbox_told, NULL);
    wait_told();
    if (!cgroup_remove(runtime_cgroups(w.rt), cgroup, &err))
        fprintf(stderr, "%s\n", err.text);
    runtime_free(w.rt);
    loop_free(w.loop);
    (void)umount2(w.state, MNT_DETACH);
    arena_fini(&w.arena);
    const char *const rm[] = {"/bin/rm", "-rf", w.dir, NULL};
    pid_t pid = fork();
    if (pid == 0) {
        (void)execv(rm[0], (char **)(uintptr_t)rm);
        _exit(127);
    }
    (void)waitpid(pid, NULL, 0);
    return 0;
}
