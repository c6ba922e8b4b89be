#include "base/clock.h"
#include "base/test.h"
#include "oci/runtime_int.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* Real crun, real overlayfs, in namespaces of the test's own; one image made of busybox alone. */
struct world {
    struct loop *loop;
    struct runtime *rt;
    struct sandbox *s;
    struct arena arena;
    struct digest image;
    char state[200], data[200], content[200], logs[200], cgroup[60], shim[300];
    int waiting; /* callbacks still to come */
    bool failed; /* the last one carried an error */
    struct err err;
    int exits, lost, full;
    int code;
    struct strbuf output;
    int master;
};

static void make_image(struct world *w)
{
    struct err err = ERR;
    char path[PATH_MAX], tmp[80];
    struct content *c = content_open(w->content, &err);
    CHECK_OK(c, err);
    int fd = content_layer_tmp(c, tmp, &err);
    CHECK_OK(fd >= 0, err);
    static const char *const dirs[] = {"bin", "etc", "proc", "dev", "sys", "tmp", "root"};
    for (size_t i = 0; i < countof(dirs); i++)
        CHECK(mkdirat(fd, dirs[i], 0755) == 0);
    int from = open("/bin/busybox", O_RDONLY | O_CLOEXEC);
    int to = openat(fd, "bin/busybox", O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    struct stat st;
    CHECK(from >= 0 && to >= 0 && fstat(from, &st) == 0);
    for (off_t left = st.st_size; left > 0;) {
        ssize_t n = copy_file_range(from, NULL, to, NULL, (size_t)left, 0);
        CHECK(n > 0);
        left -= n;
    }
    fd_close(from);
    fd_close(to);
    static const char *const applets[] = {"sh",   "echo", "cat",  "sleep", "true",  "id", "hostname",
                                          "yes",  "head", "ls",   "stty",  "mknod", "dd", "touch",
                                          "kill", "ps",   "tail", "seq",   "env"};
    for (size_t i = 0; i < countof(applets); i++) {
        (void)snprintf(path, sizeof path, "bin/%s", applets[i]);
        CHECK(symlinkat("busybox", fd, path) == 0);
    }
    fd_close(fd);
    struct image im = {.os = S("linux"), .arch = S("amd64"), .nlayers = 1};
    struct digest chain = digest_of("busybox", 7);
    im.manifest = digest_of("manifest", 8);
    im.config = digest_of("config", 6);
    im.layers = &chain;
    CHECK_OK(content_layer_commit(c, tmp, &chain, &err), err);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(65536);
    image_encode(&im, &b);
    (void)snprintf(path, sizeof path, "images/%s", im.manifest.hex);
    CHECK_OK(content_file_put(c, path, strbuf_str(&b), &err), err);
    CHECK_OK(content_ref_set(c, S("docker.io/library/busybox:1"), &im.manifest, &err), err);
    w->image = im.manifest;
    content_free(c);
}

static void on_exit_(void *arg, struct container *c)
{
    struct world *w = arg;
    (void)c;
    w->exits++;
}

static void on_lost(void *arg, struct sandbox *s)
{
    struct world *w = arg;
    (void)s;
    w->lost++;
}

static void on_full(void *arg, struct container *c)
{
    struct world *w = arg;
    (void)c;
    w->full++;
}

static void world_open(struct world *w)
{
    struct err err = ERR;
    const struct runtime_config config = {.loop = w->loop,
                                          .state = w->state,
                                          .data = w->data,
                                          .content = w->content,
                                          .shim = w->shim,
                                          .crun = "/usr/bin/crun",
                                          .cgroup = w->cgroup,
                                          .on = {on_exit_, on_full, on_lost},
                                          .arg = w};
    w->rt = runtime_new(&config, &err);
    CHECK_OK(w->rt, err);
}

/* Ends what a failed test leaves: shims and containers have sessions of their own. It waits, in a session of its own
 * too, for the test to end; what it then still finds, the test did not clean up. */
static void world_guard(const struct world *w)
{
    int held[2];
    CHECK(pipe2(held, O_CLOEXEC) == 0);
    if (fork() != 0) {
        fd_close(held[0]);
        return; /* held[1] closes with this process */
    }
    char c, path[300], cwd[400];
    struct cgroups g;
    struct err err = ERR;
    (void)setsid();
    fd_close(held[1]);
    for (int i = 0; i < 3; i++) /* the harness reads our output to its end */
        fd_close(i);
    (void)!read(held[0], &c, 1);
    DIR *proc = opendir("/proc");
    for (struct dirent *e; proc && (e = readdir(proc));) {
        (void)snprintf(path, sizeof path, "/proc/%s/cwd", e->d_name);
        ssize_t n = readlink(path, cwd, sizeof cwd - 1);
        cwd[MAX(n, 0)] = 0;
        if (n > 0 && str_starts(str_of(cwd), str_of(w->state)))
            (void)kill((pid_t)strtol(e->d_name, NULL, 10), SIGKILL);
    }
    if (proc)
        (void)closedir(proc);
    if (cgroups_detect(&g, &err) && !cgroup_kill(&g, w->cgroup))
        (void)!cgroup_wait_empty(&g, w->cgroup, 5000);
    (void)!cgroup_remove(&g, w->cgroup, &err);
    _exit(0);
}

static void world_begin_on(struct world *w, enum cgroup_mode mode)
{
    struct err err = ERR;
    *w = (struct world){.output = STRBUF(65536), .master = -1};
    /* what a failed test leaves must come back to the test's own tree */
    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    CHECK(unshare(CLONE_NEWNS | CLONE_NEWNET) == 0);
    CHECK(mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    if (mode == CGROUP_V2) { /* as a host of today has it; which controllers are there depends on this one */
        CHECK(umount2("/sys/fs/cgroup", MNT_DETACH) == 0);
        CHECK(mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, NULL) == 0);
    }
    (void)snprintf(w->state, sizeof w->state, "%s/s", test_dir());
    (void)snprintf(w->data, sizeof w->data, "%s/data", test_dir());
    (void)snprintf(w->content, sizeof w->content, "%s/content", test_dir());
    (void)snprintf(w->logs, sizeof w->logs, "%s/logs", test_dir());
    (void)snprintf(w->cgroup, sizeof w->cgroup, "/wherry-test-%d", (int)getpid());
    ssize_t n = readlink("/proc/self/exe", w->shim, sizeof w->shim - 20);
    CHECK(n > 0);
    w->shim[n] = 0;
    memcpy(strrchr(w->shim, '/'), "/wherry-shim", 13);
    CHECK(mkdir(w->data, 0755) == 0);
    world_guard(w);
    make_image(w);
    w->loop = loop_new(&err);
    CHECK_OK(w->loop, err);
    world_open(w);
}

static void world_begin(struct world *w)
{
    world_begin_on(w, CGROUP_V1); /* what there is */
}

static void wait_for(struct world *w, const int *what, int until)
{
    int64_t end = clock_mono() + 20 * NS_PER_S;
    while (*what != until) {
        CHECK(clock_mono() < end);
        (void)loop_run_once(w->loop, 100 * NS_PER_MS);
    }
}

static void world_done(struct world *w, const struct err *err)
{
    w->waiting--;
    w->failed = err != NULL;
    if (err)
        w->err = *err;
}

static void sandbox_told(struct sandbox *s, const struct err *err, void *arg)
{
    (void)s;
    world_done(arg, err);
}

static void container_told(struct container *c, const struct err *err, void *arg)
{
    (void)c;
    world_done(arg, err);
}

static void wait_done(struct world *w)
{
    wait_for(w, &w->waiting, 0);
}

static void world_must(struct world *w)
{
    wait_done(w);
    if (w->failed)
        test_failed(__FILE__, __LINE__, "%s", w->err.text);
}

static void pod_start(struct world *w, bool share_pid)
{
    const struct sandbox_spec spec = {.id = S("pod1"),
                                      .name = S("default/web"),
                                      .note = S("the pod's\nnote"),
                                      .hostname = S("web-0"),
                                      .cgroup = S("/pod1"),
                                      .share_pid = share_pid,
                                      .sysctls = {(struct str[]){S("net.ipv4.ip_unprivileged_port_start=0")}, 1}};
    w->waiting = 1;
    w->s = sandbox_start(w->rt, &spec, sandbox_told, w);
    world_must(w);
}

static struct oci_container shell_run(struct world *w, const char *script)
{
    struct oci_container o = {0};
    struct str *args = arena_alloc(&w->arena, 3 * sizeof *args);
    struct str *env = arena_alloc(&w->arena, 2 * sizeof *env);
    args[0] = S("sh");
    args[1] = S("-c");
    args[2] = str_of(script);
    env[0] = S("PATH=/bin");
    env[1] = S("GREETING=hello");
    oci_container_defaults(&o, &w->arena, sandbox_shm(w->s));
    o.args = (struct strs){args, 3};
    o.env = (struct strs){env, 2};
    return o;
}

static struct container *box_create(struct world *w, const char *id, struct oci_container *o, bool stdin_open)
{
    struct container_spec spec = {.id = str_of(id),
                                  .note = S("a note"),
                                  .image = w->image,
                                  .oci = o,
                                  .stdin_open = stdin_open,
                                  .log_max = 200000};
    spec.log = arena_fmt(&w->arena, "%s/ns_pod_uid/%s/0.log", w->logs, id);
    w->waiting = 1;
    struct container *c = container_create(w->s, &spec, container_told, w);
    wait_done(w);
    return c;
}

static struct container *box_run(struct world *w, const char *id, struct oci_container *o)
{
    struct container *c = box_create(w, id, o, false);
    if (w->failed)
        test_failed(__FILE__, __LINE__, "%s", w->err.text);
    w->waiting = 1;
    container_start(c, container_told, w);
    world_must(w);
    return c;
}

static struct str log_of(struct world *w, const char *id)
{
    char path[PATH_MAX];
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    (void)snprintf(path, sizeof path, "%s/ns_pod_uid/%s/0.log", w->logs, id);
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    char buf[4096];
    for (ssize_t n; (n = read(fd, buf, sizeof buf)) > 0;)
        strbuf_add(&b, (struct str){buf, (size_t)n});
    return str_dup(&w->arena, strbuf_str(&b));
}

/* Log text without times: "stdout F line\n". */
static struct str log_said(struct world *w, const char *id)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    struct str rest = log_of(w, id), line;
    while (str_cut(&rest, '\n', &line)) {
        int64_t at;
        struct str time, tail;
        if (!line.n)
            continue;
        CHECK(str_split(line, ' ', &time, &tail) && time.n == 30);
        CHECK(time_parse(time, &at) && at > clock_real() - 60 * NS_PER_S && at <= clock_real());
        strbuf_addf(&b, STR_FMT "\n", STR_ARG(tail));
    }
    return str_dup(&w->arena, strbuf_str(&b));
}

static void world_end(struct world *w)
{
    if (w->s) {
        pid_t shim = sandbox_pid(w->s);
        w->waiting = 1;
        sandbox_stop(w->s, sandbox_told, w);
        world_must(w);
        (void)shim;
    }
    char path[PATH_MAX];
    struct err err = ERR;
    (void)snprintf(path, sizeof path, "%s/pods/pod1", w->state);
    CHECK(access(path, F_OK) < 0);
    CHECK_OK(cgroup_remove(runtime_cgroups(w->rt), w->cgroup, &err), err);
    CHECK(!content_used(runtime_content(w->rt), &w->image));
    runtime_free(w->rt);
    loop_free(w->loop);
    arena_fini(&w->arena);
    strbuf_fini(&w->output);
}

/* A link called /dev, and what it leads to on the host there in the image, too. */
static void image_with_linked_dev(struct world *w, const char *to)
{
    struct err err = ERR;
    char tmp[80], path[PATH_MAX];
    AUTO(arena_fini) struct arena a = ARENA;
    struct image im;
    struct content *c = content_open(w->content, &err);
    CHECK_OK(c && image_read(c, &a, S("docker.io/library/busybox:1"), &im, &err), err);
    AUTO(fd_close) int fd = content_layer_tmp(c, tmp, &err);
    CHECK_OK(fd >= 0, err);
    CHECK(symlinkat(to, fd, "dev") == 0);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d%s", fd, to);
    CHECK_OK(dirs_make(path, 0755, &err), err);
    struct digest layers[] = {im.layers[0], digest_of("linked", 6)};
    CHECK_OK(content_layer_commit(c, tmp, &layers[1], &err), err);
    im.manifest = digest_of("linked manifest", 15);
    im.layers = layers;
    im.nlayers = 2;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(65536);
    image_encode(&im, &b);
    (void)snprintf(path, sizeof path, "images/%s", im.manifest.hex);
    CHECK_OK(content_file_put(c, path, strbuf_str(&b), &err), err);
    w->image = im.manifest;
    content_free(c);
}

TEST(an_image_whose_dev_is_a_link_makes_nothing_on_the_host)
{
    struct world w;
    char outside[300];
    world_begin(&w);
    (void)snprintf(outside, sizeof outside, "%s/outside", test_dir());
    CHECK(mkdir(outside, 0755) == 0);
    image_with_linked_dev(&w, outside);
    pod_start(&w, false);
    struct oci_container o = shell_run(&w, "echo x >/dev/null && ls -d /dev/. /dev/shm && echo fine");
    (void)box_run(&w, "c1", &o);
    wait_for(&w, &w.exits, 1);
    CHECK_STR(log_said(&w, "c1"), S("stdout F /dev/.\nstdout F /dev/shm\nstdout F fine\n"));
    CHECK(rmdir(outside) == 0); /* it is empty */
    world_end(&w);
}

TEST(a_container_runs_logs_and_ends)
{
    struct world w;
    struct container_status st;
    world_begin(&w);
    pod_start(&w, false);
    struct oci_container o = shell_run(&w, "echo $GREETING from $(hostname); echo oops >&2; id -u; exit 3");
    struct container *c = box_run(&w, "c1", &o);
    wait_for(&w, &w.exits, 1);
    container_status(c, &st);
    CHECK_INT(st.state, CONTAINER_EXITED);
    CHECK_INT(st.code, 3);
    CHECK(!st.oom && st.finished_ns >= st.started_ns);
    struct str text = log_said(&w, "c1");
    CHECK(str_has(text, S("stdout F hello from web-0\nstdout F 0\n")) ||
          str_has(text, S("stdout F hello from web-0\nstderr F oops\n")));
    CHECK(str_has(text, S("stderr F oops\n")));
    w.waiting = 1;
    container_remove(c, container_told, &w);
    world_must(&w);
    CHECK(container_find(w.rt, S("c1")) == NULL);
    world_end(&w);
}

static int wait_exit(struct world *w, struct container *c)
{
    struct container_status st;
    int64_t end = clock_mono() + 20 * NS_PER_S;
    for (container_status(c, &st); st.state != CONTAINER_EXITED; container_status(c, &st)) {
        CHECK(clock_mono() < end);
        (void)loop_run_once(w->loop, 100 * NS_PER_MS);
    }
    return st.code;
}

static void output_done(void *arg, int code, struct str output, const struct err *err)
{
    struct world *w = arg;
    w->code = code;
    strbuf_reset(&w->output);
    strbuf_add(&w->output, output);
    world_done(w, err);
}

static struct str exec_run(struct world *w, struct container *c, const char *script)
{
    struct str args[] = {S("sh"), S("-c"), str_of(script)};
    w->waiting = 1;
    container_exec_output(c, (struct strs){args, 3}, 10 * NS_PER_S, output_done, w);
    wait_done(w);
    return str_trim(strbuf_str(&w->output));
}

TEST(exec_answers_with_output_and_code_and_is_as_confined)
{
    struct world w;
    world_begin(&w);
    pod_start(&w, false);
    struct oci_container o = shell_run(&w, "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done");
    o.uid = 12;
    o.gid = 34;
    o.has_oom_score_adj = true;
    o.oom_score_adj = 321;
    struct container *c = box_run(&w, "c1", &o);
    CHECK_STR(exec_run(&w, c, "echo out; echo err >&2; exit 4"), S("out\nerr"));
    CHECK_INT(w.code, 4);
    CHECK_STR(exec_run(&w, c, "cat /proc/1/oom_score_adj /proc/self/oom_score_adj"), S("321\n321"));
    CHECK_STR(exec_run(&w, c, "id -u; id -g; echo $GREETING; hostname"), S("12\n34\nhello\nweb-0"));
    CHECK_STR(exec_run(&w, c,
                       "while read a b; do case $a in Seccomp:|CapBnd:|CapEff:|NoNewPrivs:) echo $a $b;; esac; done "
                       "</proc/self/status"),
              S("CapEff: 0000000000000000\nCapBnd: 00000000a80425fb\nNoNewPrivs: 0\nSeccomp: 2"));
    CHECK(str_has(exec_run(&w, c, "echo x >/proc/sys/kernel/hostname"), S("Read-only file system")));
    CHECK(!w.failed);
    /* the same cgroup as its container */
    struct str groups = exec_run(&w, c, "cat /proc/self/cgroup /proc/1/cgroup");
    CHECK(str_has(groups, S("memory:/\n")) || str_has(groups, S("0::/\n")));
    /* what cannot run says why; what runs too long is ended */
    struct str nope[] = {S("/nope")}, slow[] = {S("sleep"), S("1000")};
    w.waiting = 1;
    container_exec_output(c, (struct strs){nope, 1}, 10 * NS_PER_S, output_done, &w);
    wait_done(&w);
    CHECK(w.failed && strstr(w.err.text, "/nope"));
    w.waiting = 1;
    container_exec_output(c, (struct strs){slow, 2}, 300 * NS_PER_MS, output_done, &w);
    wait_done(&w);
    CHECK(w.failed);
    CHECK_INT(w.err.kind, E_TIMEOUT);
    CHECK_STR(exec_run(&w, c, "ps | grep -c '[s]leep 1000'"), S("2")); /* the container's own are left */
    container_kill(c, SIGTERM);
    CHECK_INT(wait_exit(&w, c), 0);
    world_end(&w);
}

TEST(removal_waits_for_what_is_under_way_in_the_container)
{
    struct world w;
    world_begin(&w);
    pod_start(&w, true); /* one pid namespace: an exec outlives its container's first process */
    struct oci_container o = shell_run(&w, "sleep 1000");
    struct container *c = box_run(&w, "c1", &o);
    struct str args[] = {S("sleep"), S("1000")};
    w.waiting = 2;
    container_exec_output(c, (struct strs){args, 2}, 20 * NS_PER_S, output_done, &w);
    container_kill(c, SIGKILL);
    (void)wait_exit(&w, c);
    container_remove(c, container_told, &w);
    wait_done(&w);
    CHECK(!w.failed);
    CHECK(container_find(w.rt, S("c1")) == NULL);
    /* and for its start */
    c = box_create(&w, "c2", &o, false);
    w.waiting = 2;
    container_start(c, container_told, &w);
    container_remove(c, container_told, &w);
    wait_done(&w);
    CHECK(!w.failed);
    CHECK(container_find(w.rt, S("c2")) == NULL);
    world_end(&w);
}

TEST(what_cannot_start_says_why_and_a_killed_one_says_how)
{
    struct world w;
    world_begin(&w);
    pod_start(&w, false);
    struct oci_container o = shell_run(&w, "");
    o.args = (struct strs){(struct str[]){S("no-such-program")}, 1};
    struct container *c = box_create(&w, "c1", &o, false);
    CHECK(!w.failed);
    w.waiting = 1;
    container_start(c, container_told, &w);
    wait_done(&w);
    CHECK(w.failed && strstr(w.err.text, "no-such-program"));
    struct container_status st;
    container_status(c, &st);
    CHECK(st.state == CONTAINER_EXITED && st.code == 128);
    o = shell_run(&w, "sleep 1000");
    c = box_run(&w, "c2", &o);
    container_kill(c, SIGKILL);
    CHECK_INT(wait_exit(&w, c), 137);
    o = shell_run(&w, "echo $$ >/dev/null; kill -TERM $$; sleep 1000");
    c = box_run(&w, "c3", &o);
    container_kill(c, SIGKILL);
    CHECK_INT(wait_exit(&w, c), 137);
    /* an unknown image, and a twin */
    struct digest keep = w.image;
    w.image = digest_of("other", 5);
    (void)box_create(&w, "c4", &o, false);
    CHECK(w.failed);
    CHECK_INT(w.err.kind, E_NOT_FOUND);
    w.image = keep;
    (void)box_create(&w, "c3", &o, false);
    CHECK(w.failed);
    CHECK_INT(w.err.kind, E_ALREADY_EXISTS);
    CHECK(container_find(w.rt, S("c4")) == NULL);
    world_end(&w);
}

TEST(limits_hold_and_an_oom_kill_is_told)
{
    struct world w;
    struct container_status st;
    struct cgroup_stats stats;
    struct err err = ERR;
    world_begin(&w);
    pod_start(&w, false);
    struct oci_container o = shell_run(&w, "dd if=/dev/zero of=/dev/null bs=200M count=1; echo survived");
    o.args = (struct strs){(struct str[]){S("dd"), S("if=/dev/zero"), S("of=/dev/null"), S("bs=200M"), S("count=1")},
                           5};
    o.limits = (struct oci_limits){.memory = 32 << 20, .pids = 20, .cpu_shares = 512, .cpu_quota_us = 50000};
    struct container *c = box_run(&w, "c1", &o);
    CHECK_INT(wait_exit(&w, c), 137);
    container_status(c, &st);
    CHECK(st.oom);
    /* crun itself runs in the group: the smallest limits that people set must be enough for it */
    o = shell_run(&w, "exit 0");
    o.limits = (struct oci_limits){.memory = 6 << 20, .cpu_quota_us = 1000};
    c = box_run(&w, "small", &o);
    CHECK_INT(wait_exit(&w, c), 0);
    o = shell_run(&w, "i=0; while [ $i -lt 30 ]; do sleep 1000 & i=$((i+1)); done; echo too many");
    o.limits = (struct oci_limits){.pids = 20, .cpu_quota_us = 50000};
    c = box_run(&w, "c2", &o);
    (void)wait_exit(&w, c);
    CHECK(!str_has(log_said(&w, "c2"), S("too many")));
    CHECK(str_has(log_said(&w, "c2"), S("stderr F sh: can't fork: Resource temporarily unavailable")));
    o = shell_run(&w, "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done");
    o.limits = (struct oci_limits){.memory = 64 << 20, .cpu_quota_us = 50000};
    c = box_run(&w, "c3", &o);
    CHECK_OK(container_stats(c, &stats, &err), err);
    CHECK_INT(stats.memory_limit, 64 << 20);
    CHECK(stats.pids >= 1 && stats.memory > 0 && stats.cpu_ns > 0);
    CHECK_OK(container_limits(c, &(struct oci_limits){.memory = 128 << 20, .cpu_quota_us = 70000}, &err), err);
    CHECK_OK(container_stats(c, &stats, &err), err);
    CHECK_INT(stats.memory_limit, 128 << 20);
    CHECK_OK(sandbox_stats(w.s, &stats, &err), err);
    uint64_t bytes, inodes;
    (void)exec_run(&w, c, "dd if=/dev/zero of=/file bs=1M count=1");
    CHECK_OK(container_disk(w.data, S("c3"), &bytes, &inodes, &err), err);
    CHECK(bytes >= 1 << 20 && inodes >= 2);
    world_end(&w);
}

TEST(devices_and_roots_are_what_the_spec_says)
{
    struct world w;
    world_begin(&w);
    pod_start(&w, false);
    struct oci_container o = shell_run(&w,
                                       "mknod /tmp/sda b 8 0 && cat /tmp/sda; touch /new && echo writable; ls /dev");
    struct container *c = box_run(&w, "c1", &o);
    (void)wait_exit(&w, c);
    struct str text = log_said(&w, "c1");
    CHECK(str_has(text, S("'/tmp/sda': Operation not permitted")));
    CHECK(str_has(text, S("stdout F writable\n")));
    CHECK(!str_has(text, S("vda")));
    o = shell_run(&w, "touch /new && echo writable; echo x >/dev/shm/f && echo shared");
    o.read_only_root = true;
    c = box_run(&w, "c2", &o);
    (void)wait_exit(&w, c);
    text = log_said(&w, "c2");
    CHECK(str_has(text, S("Read-only file system")) && !str_has(text, S("writable")) && str_has(text, S("shared")));
    /* the same /dev/shm in all containers of the pod */
    o = shell_run(
        &w,
        "cat /dev/shm/f; while read a b; do case $a in CapEff:|Seccomp:) echo $a $b;; esac; done </proc/self/status");
    oci_container_privileged(&o, &w.arena);
    c = box_run(&w, "c3", &o);
    (void)wait_exit(&w, c);
    text = log_said(&w, "c3");
    CHECK(str_has(text, S("stdout F x\n")) && str_has(text, S("Seccomp: 0")));
    CHECK(str_has(text, arena_fmt(&w.arena, "CapEff: %016llx", (unsigned long long)oci_caps_all())));
    world_end(&w);
}

TEST(long_lines_are_pieces_and_a_log_is_rotated_under_its_writer)
{
    struct world w;
    char path[PATH_MAX], moved[PATH_MAX];
    world_begin(&w);
    pod_start(&w, false);
    struct oci_container o = shell_run(&w, "head -c 40000 /dev/zero | tr '\\0' x; echo; echo short; printf open");
    struct container *c = box_run(&w, "c1", &o);
    (void)wait_exit(&w, c);
    struct str rest = log_said(&w, "c1"), line;
    const struct {
        const char *head;
        size_t n;
    } want[] = {{"stdout P ", 16384},
                {"stdout P ", 16384},
                {"stdout F ", 40000 - 2 * 16384},
                {"stdout F ", 5},
                {"stdout P ", 4}}; /* no newline was written */
    for (size_t i = 0; i < countof(want); i++) {
        CHECK(str_cut(&rest, '\n', &line));
        CHECK(str_starts(line, str_of(want[i].head)));
        CHECK_INT(line.n - 9, want[i].n);
    }
    /* every line arrives in one of the files, once, whole */
    o = shell_run(&w, "seq 1 20000; sleep 1000");
    c = box_run(&w, "c2", &o);
    wait_for(&w, &w.full, 1);
    (void)snprintf(path, sizeof path, "%s/ns_pod_uid/c2/0.log", w.logs);
    (void)snprintf(moved, sizeof moved, "%s/ns_pod_uid/c2/0.log.1", w.logs);
    CHECK(rename(path, moved) == 0);
    container_log_reopen(c);
    CHECK_STR(exec_run(&w, c, "echo settled"), S("settled")); /* the shim has done what it was told before */
    container_kill(c, SIGKILL);
    (void)wait_exit(&w, c);
    struct str new = log_said(&w, "c2");
    CHECK(rename(moved, path) == 0);
    struct str old = log_said(&w, "c2");
    AUTO(strbuf_fini) struct strbuf both = STRBUF(1 << 20), expect = STRBUF(1 << 20);
    strbuf_add(&both, old);
    strbuf_add(&both, new);
    for (int i = 1; i <= 20000; i++)
        strbuf_addf(&expect, "stdout F %d\n", i);
    CHECK(str_eq(strbuf_str(&both), strbuf_str(&expect)));
    world_end(&w);
}

static void exec_started(void *arg, int own_master)
{
    struct world *w = arg;
    w->master = own_master;
    w->waiting--;
}

static void exec_ended(void *arg, int code, const struct err *err)
{
    struct world *w = arg;
    w->code = code;
    world_done(w, err);
}

static struct str read_until(struct world *w, int fd, const char *what)
{
    int64_t end = clock_mono() + 20 * NS_PER_S;
    strbuf_reset(&w->output);
    while (!strbuf_str(&w->output).n || !str_has(strbuf_str(&w->output), str_of(what))) {
        char buf[4096];
        CHECK(clock_mono() < end);
        ssize_t n = read(fd, buf, sizeof buf);
        if (n > 0)
            strbuf_add(&w->output, (struct str){buf, (size_t)n});
        else
            (void)loop_run_once(w->loop, 20 * NS_PER_MS);
    }
    return strbuf_str(&w->output);
}

TEST(terminals_of_exec_and_of_the_container)
{
    struct world w;
    world_begin(&w);
    pod_start(&w, false);
    struct oci_container o = shell_run(&w, "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done");
    struct container *c = box_run(&w, "c1", &o);
    static const struct exec_events on = {exec_started, exec_ended};
    const struct exec_spec spec = {.args = {(struct str[]){S("sh")}, 1},
                                   .terminal = true,
                                   .rows = 33,
                                   .columns = 77,
                                   .in = -1,
                                   .out = -1,
                                   .err = -1};
    w.waiting = 1;
    (void)container_exec(c, &spec, &on, &w);
    wait_done(&w);
    CHECK(w.master >= 0);
    (void)fcntl(w.master, F_SETFL, O_NONBLOCK);
    CHECK(write(w.master, "stty size; echo $TERM\n", 22) == 22);
    CHECK(str_has(read_until(&w, w.master, "xterm\r\n"), S("33 77")));
    const struct winsize size = {.ws_row = 20, .ws_col = 50};
    CHECK(ioctl(w.master, TIOCSWINSZ, &size) == 0);
    w.waiting = 1;
    CHECK(write(w.master, "stty size; exit 5\n", 18) == 18);
    CHECK(str_has(read_until(&w, w.master, "20 50"), S("20 50")));
    wait_done(&w);
    CHECK_INT(w.code, 5);
    fd_close(w.master);
    /* the container's own, attached */
    o = shell_run(&w, "");
    o.args = (struct strs){(struct str[]){S("sh")}, 1};
    o.terminal = true;
    c = box_create(&w, "c2", &o, true);
    CHECK(!w.failed);
    w.waiting = 1;
    container_start(c, container_told, &w);
    world_must(&w);
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    (void)container_attach(c, pair[1], pair[1], -1, NULL, NULL);
    fd_close(pair[1]);
    container_resize(c, 11, 22);
    CHECK_STR(exec_run(&w, c, "echo settled"), S("settled"));
    CHECK(write(pair[0], "stty size\n", 10) == 10);
    CHECK(str_has(read_until(&w, pair[0], "11 22"), S("11 22")));
    CHECK(write(pair[0], "exit 6\n", 7) == 7);
    CHECK_INT(wait_exit(&w, c), 6);
    CHECK(str_has(log_said(&w, "c2"), S("11 22")));
    fd_close(pair[0]);
    world_end(&w);
}

TEST(attach_without_a_terminal_feeds_stdin_once)
{
    struct world w;
    world_begin(&w);
    pod_start(&w, false);
    struct oci_container o = shell_run(&w, "echo ready; cat; echo over");
    struct container_spec spec = {.id = S("c1"), .image = w.image, .oci = &o, .stdin_open = true, .stdin_once = true};
    spec.log = arena_fmt(&w.arena, "%s/ns_pod_uid/c1/0.log", w.logs);
    w.waiting = 1;
    struct container *c = container_create(w.s, &spec, container_told, &w);
    world_must(&w);
    w.waiting = 1;
    container_start(c, container_told, &w);
    world_must(&w);
    int in[2], out[2];
    CHECK(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
    (void)fcntl(out[0], F_SETFL, O_NONBLOCK);
    (void)container_attach(c, in[0], out[1], -1, NULL, NULL);
    fd_close(in[0]);
    fd_close(out[1]);
    /* more than a pipe holds, so that somebody has to wait for somebody */
    AUTO(strbuf_fini) struct strbuf big = STRBUF(1 << 20);
    for (int i = 0; i < 20000; i++)
        strbuf_addf(&big, "%d\n", i);
    pid_t feeder = fork();
    if (feeder == 0) {
        for (size_t at = 0; at < big.n;) {
            ssize_t n = write(in[1], big.p + at, big.n - at);
            if (n <= 0)
                _exit(1);
            at += (size_t)n;
        }
        _exit(0);
    }
    fd_close(in[1]);
    w.output.max = 1 << 20;
    struct str got = read_until(&w, out[0], "over\n");
    CHECK(str_has(got, strbuf_str(&big)));
    CHECK_INT(wait_exit(&w, c), 0);
    fd_close(out[0]);
    world_end(&w);
}

static void adopt_done(void *arg)
{
    struct world *w = arg;
    w->waiting--;
}

static void runtime_again(struct world *w)
{
    runtime_free(w->rt);
    world_open(w);
    w->waiting = 1;
    struct err err = ERR;
    CHECK_OK(runtime_adopt(w->rt, adopt_done, w, &err), err);
    wait_done(w);
    w->s = sandbox_find(w->rt, S("pod1"));
    CHECK(w->s);
}

TEST(what_runs_is_found_again)
{
    struct world w;
    struct container_status before, after;
    world_begin(&w);
    pod_start(&w, false);
    struct oci_container o = shell_run(&w,
                                       "echo one; trap 'echo two; exit 7' TERM; while :; do sleep 1000 & wait; done");
    struct container *c = box_run(&w, "c1", &o);
    container_status(c, &before);
    o = shell_run(&w, "exit 9");
    (void)box_run(&w, "c2", &o);
    wait_for(&w, &w.exits, 1);
    pid_t shim = sandbox_pid(w.s);
    runtime_again(&w);
    CHECK_STR(sandbox_note(w.s), S("the pod's\nnote"));
    CHECK_STR(sandbox_name(w.s), S("default/web"));
    CHECK(!sandbox_lost(w.s) && sandbox_pid(w.s) == shim);
    c = container_find(w.rt, S("c1"));
    CHECK(c && str_eqz(container_note(c), "a note"));
    container_status(c, &after);
    CHECK(after.state == CONTAINER_RUNNING && after.pid == before.pid);
    container_status(container_find(w.rt, S("c2")), &after);
    CHECK(after.state == CONTAINER_EXITED && after.code == 9);
    CHECK(content_used(runtime_content(w.rt), &w.image));
    container_kill(c, SIGTERM);
    CHECK_INT(wait_exit(&w, c), 7);
    CHECK_STR(log_said(&w, "c1"), S("stdout F one\nstdout F two\n"));
    world_end(&w);
}

TEST(a_dead_shim_is_told_and_cleaned_up_after)
{
    struct world w;
    struct container_status st;
    world_begin(&w);
    pod_start(&w, false);
    struct oci_container o = shell_run(&w, "exit 9");
    struct container *c = box_run(&w, "c2", &o);
    CHECK_INT(wait_exit(&w, c), 9);
    o = shell_run(&w, "sleep 1000");
    c = box_run(&w, "c1", &o);
    container_status(c, &st);
    CHECK(kill(sandbox_pid(w.s), SIGKILL) == 0);
    wait_for(&w, &w.lost, 1);
    CHECK(sandbox_lost(w.s));
    container_status(c, &st);
    CHECK(st.state == CONTAINER_EXITED && st.lost && st.code == 137);
    /* also for one who comes later; what had ended keeps its code */
    runtime_again(&w);
    CHECK(sandbox_lost(w.s));
    container_status(container_find(w.rt, S("c2")), &st);
    CHECK(st.state == CONTAINER_EXITED && !st.lost && st.code == 9);
    world_end(&w);
}

TEST(containers_of_a_pod_share_what_the_pod_shares)
{
    struct world w;
    world_begin(&w);
    pod_start(&w, true);
    struct oci_container o = shell_run(&w, "sleep 1234 & wait");
    struct container *a = box_run(&w, "c1", &o);
    o = shell_run(&w, "sleep 1000 & wait");
    struct container *b = box_run(&w, "c2", &o);
    CHECK_STR(exec_run(&w, b, "ps | grep -c '[s]leep 1234'"), S("2")); /* sh -c and sleep */
    CHECK_STR(exec_run(&w, b, "cat /proc/sys/net/ipv4/ip_unprivileged_port_start"), S("0"));
    struct err err = ERR;
    AUTO(fd_close) int net = sandbox_netns(w.s, &err);
    CHECK_OK(net >= 0, err);
    struct stat mine, theirs;
    char path[64];
    struct container_status st;
    container_status(a, &st);
    (void)snprintf(path, sizeof path, "/proc/%d/ns/net", (int)st.pid);
    CHECK(fstat(net, &mine) == 0 && stat(path, &theirs) == 0 && mine.st_ino == theirs.st_ino);
    container_kill(a, SIGKILL);
    CHECK_INT(wait_exit(&w, a), 137);
    CHECK(str_eqz(exec_run(&w, b, "ps | grep -c '[s]leep 1234'"), "0"));
    world_end(&w);
}

/* What it started has its stdout, lives on among the pod's processes, and writes faster than lines are logged. */
TEST(an_end_is_told_whoever_goes_on_writing)
{
    struct world w;
    world_begin(&w);
    pod_start(&w, true);
    struct oci_container o = shell_run(&w, "yes '' | head -c 1000000 > /f; for i in 1 2 3 4 5 6; do "
                                           "(while :; do dd if=/f bs=1M 2>/dev/null; done) & done; exit 3");
    struct container *c = box_run(&w, "c1", &o);
    CHECK_INT(wait_exit(&w, c), 3);
    world_end(&w);
}

static struct str status_field(struct arena *a, pid_t pid, const char *name)
{
    char path[64];
    AUTO(strbuf_fini) struct strbuf b = STRBUF(65536);
    struct err err = ERR;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    CHECK_OK(small_read(path, 65536, &b, &err), err);
    struct str rest = strbuf_str(&b), line, key, value;
    while (str_cut(&rest, '\n', &line))
        if (str_split(line, ':', &key, &value) && str_eqz(key, name))
            return str_dup(a, str_trim(value));
    return S("");
}

static size_t entries_in(const char *path)
{
    size_t n = 0;
    DIR *dir = opendir(path);
    if (!dir)
        return 0;
    for (struct dirent *e; (e = readdir(dir));)
        n += e->d_name[0] != '.';
    (void)closedir(dir);
    return n;
}

/* What a container with SYS_PTRACE could make PID 1 of its pod do. */
TEST(the_init_of_a_shared_pid_namespace_owns_nothing)
{
    struct world w;
    world_begin(&w);
    AUTO(arena_fini) struct arena a = ARENA;
    pod_start(&w, true);
    struct oci_container o = shell_run(&w, "sleep 1000 & wait");
    struct container *c = box_run(&w, "c1", &o);
    pid_t init = w.s->init_pid;
    CHECK(init > 0);
    const struct {
        const char *field, *want;
    } rows[] = {{"CapInh", "0000000000000000"},
                {"CapPrm", "0000000000000000"},
                {"CapEff", "0000000000000000"},
                {"CapAmb", "0000000000000000"},
                {"NoNewPrivs", "1"},
                {"Seccomp", "2"},
                {"Uid", "65534\t65534\t65534\t65534"},
                {"Gid", "65534\t65534\t65534\t65534"},
                {"Groups", ""}};
    for (size_t i = 0; i < countof(rows); i++)
        CHECK_STR(status_field(&a, init, rows[i].field), str_of(rows[i].want));
    char path[64], to[200] = "";
    (void)snprintf(path, sizeof path, "/proc/%d/root/.", (int)init);
    CHECK_INT(entries_in(path), 0);
    struct statvfs fs;
    CHECK(statvfs(path, &fs) == 0 && fs.f_flag & ST_RDONLY);
    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)init);
    CHECK_INT(entries_in(path), 0);
    (void)snprintf(path, sizeof path, "/proc/%d/exe", (int)init);
    CHECK(readlink(path, to, sizeof to - 1) > 0 && str_starts(str_of(to), S("/memfd:")));
    CHECK(open(path, O_WRONLY | O_CLOEXEC) < 0);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(65536);
    struct err err = ERR;
    (void)snprintf(path, sizeof path, "/proc/%d/mountinfo", (int)init);
    CHECK_OK(small_read(path, 65536, &b, &err), err);
    CHECK(str_find_char(strbuf_str(&b), '\n') == (ptrdiff_t)b.n - 1); /* one line: its root */
    /* and from inside: it is there, and reaps what is left to it */
    CHECK_STR(exec_run(&w, c, "(sleep 0 & ) ; cat /proc/1/comm"), S("wherry-init"));
    CHECK_STR(exec_run(&w, c, "ls -A /proc/1/root/. 2>/dev/null; ls -A /proc/1/fd/. 2>/dev/null"), S(""));
    world_end(&w);
}

/* One that can trace sees nothing of crun: it is frozen until the program begins. What is run in it runs in its
 * groups. */
static void traced_pod(enum cgroup_mode mode, bool share_pid)
{
    struct world w;
    world_begin_on(&w, mode);
    pod_start(&w, share_pid);
    struct oci_container o = shell_run(&w, "sleep 1000 & wait"), plain = o;
    o.capabilities |= OCI_CAP(CAP_SYS_PTRACE);
    struct container *c = box_run(&w, "c1", &o);
    CHECK_STR(exec_run(&w, c, "grep -v ':/$' /proc/self/cgroup; echo done"), S("done"));
    struct container *other = box_run(&w, "c2", &plain);
    for (int i = 0; i < 20; i++) {
        CHECK_STR(exec_run(&w, other, "echo fine"), S("fine"));
        CHECK_STR(exec_run(&w, c, "echo fine"), S("fine"));
    }
    /* nothing stays frozen, also where the program is not there */
    (void)exec_run(&w, c, "exec /nowhere");
    CHECK_STR(exec_run(&w, c, "kill -0 1 && sleep 0.01 && echo runs"), S("runs"));
    container_kill(c, SIGKILL);
    CHECK_INT(wait_exit(&w, c), 137);
    world_end(&w);
}

TEST(nobody_traces_crun)
{
    traced_pod(CGROUP_HYBRID, false);
}

TEST(nobody_traces_crun_among_shared_processes)
{
    traced_pod(CGROUP_HYBRID, true);
}

TEST(nobody_traces_crun_on_v2)
{
    traced_pod(CGROUP_V2, true);
}

/* The shim ended while somebody was frozen: its pod is taken away all the same. */
TEST(what_a_dead_shim_has_left_frozen_goes)
{
    struct world w;
    char file[2 * SHIM_PATH];
    world_begin(&w);
    pod_start(&w, false);
    struct oci_container o = shell_run(&w, "sleep 1000");
    struct container *c = box_run(&w, "c1", &o);
    cgroup_freeze_file(runtime_cgroups(w.rt), c->cgroup, file, sizeof file);
    AUTO(fd_close) int fd = open(file, O_WRONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    const char *word = strstr(file, "freezer.state") ? "FROZEN" : "1";
    CHECK(write(fd, word, strlen(word)) > 0);
    CHECK(kill(w.s->pid, SIGKILL) == 0);
    wait_for(&w, &w.lost, 1);
    world_end(&w);
}

/* More than a socket holds: what does not fit waits, and nobody hears that the shim is gone. */
TEST(a_shim_that_is_slow_to_read_hears_of_all_containers)
{
    struct world w;
    world_begin(&w);
    pod_start(&w, false);
    CHECK(kill(w.s->pid, SIGSTOP) == 0);
    struct oci_container o = shell_run(&w, "true");
    for (int i = 0; i < SHIM_CONTAINERS - 1; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "c%d", i);
        struct container_spec cs = {.id = str_of(id), .image = w.image, .oci = &o};
        w.waiting++;
        (void)container_create(w.s, &cs, container_told, &w);
    }
    for (int i = 0; i < 20000 && list_empty(&w.s->unsent); i++)
        (void)loop_run_once(w.loop, NS_PER_MS);
    CHECK(!list_empty(&w.s->unsent));
    CHECK(kill(w.s->pid, SIGCONT) == 0);
    world_must(&w);
    CHECK(!sandbox_lost(w.s));
    for (struct container *c = container_next(w.s, NULL); c; c = container_next(w.s, c)) {
        struct container_status st;
        container_status(c, &st);
        CHECK(st.state == CONTAINER_CREATED);
    }
    world_end(&w);
}

/* The node lost it from sight (its link broke, say), and takes its pod away: then it goes, too. */
TEST(a_shim_that_nobody_can_talk_to_ends_with_its_pod)
{
    struct world w;
    world_begin(&w);
    pod_start(&w, true);
    struct oci_container o = shell_run(&w, "sleep 1000");
    (void)box_run(&w, "c1", &o);
    char path[300];
    AUTO(fd_close) int shim = (int)syscall(SYS_pidfd_open, w.s->pid, 0);
    AUTO(fd_close) int init = (int)syscall(SYS_pidfd_open, w.s->init_pid, 0);
    CHECK(shim >= 0 && init >= 0);
    (void)snprintf(path, sizeof path, "%s/sock", w.s->dir);
    CHECK(unlink(path) == 0);
    runtime_again(&w);
    CHECK(sandbox_lost(w.s));
    w.waiting++;
    sandbox_stop(w.s, sandbox_told, &w);
    wait_done(&w);
    world_must(&w);
    struct pollfd p[] = {{shim, POLLIN, 0}, {init, POLLIN, 0}};
    CHECK(poll(&p[0], 1, 10000) == 1);
    for (int i = 0; i < 1000 && poll(&p[1], 1, 10) == 0; i++) /* it waits for its orphans to be reaped, here by us */
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
    CHECK(poll(&p[1], 1, 0) == 1);
    w.s = NULL;
    world_end(&w);
}

TEST(a_host_with_cgroup_v2_alone)
{
    struct world w;
    struct container_status st;
    world_begin_on(&w, CGROUP_V2);
    CHECK_INT(runtime_cgroups(w.rt)->mode, CGROUP_V2);
    pod_start(&w, false);
    struct oci_container o = shell_run(
        &w, "mknod /tmp/sda b 8 0 && cat /tmp/sda; cat /dev/null && echo null; cat /proc/self/cgroup; ls "
            "/sys/fs/cgroup/cgroup.procs; trap 'exit 0' TERM; while :; do sleep 1000 & wait; done");
    struct container *c = box_run(&w, "c1", &o);
    container_status(c, &st);
    CHECK(str_ends(exec_run(&w, c, "cat /proc/self/cgroup"), S("0::/")));
    struct str text;
    int64_t end = clock_mono() + 20 * NS_PER_S; /* its last word comes when it gets to it */
    while (!str_has(text = log_said(&w, "c1"), S("stdout F /sys/fs/cgroup/cgroup.procs"))) {
        CHECK(clock_mono() < end);
        (void)loop_run_once(w.loop, 20 * NS_PER_MS);
    }
    CHECK(str_has(text, S("'/tmp/sda': Operation not permitted")) && str_has(text, S("stdout F null\n")));
    container_kill(c, SIGTERM);
    CHECK_INT(wait_exit(&w, c), 0);
    world_end(&w);
}

TEST(a_sandbox_that_cannot_be_says_why_and_leaves_nothing)
{
    struct world w;
    struct cgroup_stats st;
    struct err err = ERR;
    char path[PATH_MAX];
    world_begin(&w);
    const struct {
        struct sandbox_spec spec;
        const char *want;
    } cases[] = {
        {{.id = S("bad"), .cgroup = S("/bad"), .sysctls = {(struct str[]){S("net.no.such=1")}, 1}},
         "sysctl net.no.such=1"},
        {{.id = S("bad"), .cgroup = S("/bad"), .sysctls = {(struct str[]){S("../../../tmp/x=1")}, 1}}, ".. in it"},
        {{.id = S("bad"), .cgroup = S("/bad"), .sysctls = {(struct str[]){S("net.ipv4.tcp_syncookies=1\nb=1")}, 1}},
         "a line in each"},
        {{.id = S("../bad"), .cgroup = S("/bad")}, "id: \"../bad\""},
        {{.id = S("bad"), .cgroup = S("/../bad")}, "cgroup:"},
        {{.id = S("bad"),
          .cgroup = S("/bad"),
          .hostname = S("0123456789012345678901234567890123456789012345678901234567890123456789")},
         "hostname"},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        w.waiting = 1;
        (void)sandbox_start(w.rt, &cases[i].spec, sandbox_told, &w);
        wait_done(&w);
        CHECK(w.failed);
        if (!strstr(w.err.text, cases[i].want))
            test_failed(__FILE__, __LINE__, "case %zu: %s", i, w.err.text);
        CHECK(sandbox_next(w.rt, NULL) == NULL);
        (void)snprintf(path, sizeof path, "%s/pods/bad", w.state);
        CHECK(access(path, F_OK) < 0);
        (void)snprintf(path, sizeof path, "%s/bad", w.cgroup);
        CHECK(!cgroup_stats(runtime_cgroups(w.rt), path, &st, &err));
    }
    world_end(&w);
}

static int folder_entries(const char *path)
{
    int n = 0;
    DIR *d = opendir(path);
    CHECK(d);
    while (readdir(d))
        n++;
    (void)closedir(d);
    return n;
}

TEST(pods_come_and_go_without_a_trace)
{
    struct world w;
    int fds = 0;
    world_begin(&w);
    for (int i = 0; i < 8; i++) {
        pod_start(&w, i % 2);
        struct oci_container o = shell_run(&w, i % 3 ? "sleep 1000" : "exit 0");
        struct container *c = box_run(&w, "c1", &o);
        if (i % 4 == 1) { /* removed by itself, and made again under the same name */
            container_kill(c, SIGKILL);
            (void)wait_exit(&w, c);
            w.waiting = 1;
            container_remove(c, container_told, &w);
            world_must(&w);
            (void)box_run(&w, "c1", &o);
        }
        if (i == 6) { /* stopped while one is being made */
            const struct container_spec spec = {.id = S("c2"), .image = w.image, .oci = &o};
            w.waiting = 2;
            (void)container_create(w.s, &spec, container_told, &w);
            sandbox_stop(w.s, sandbox_told, &w);
            wait_done(&w);
        } else {
            w.waiting = 1;
            sandbox_stop(w.s, sandbox_told, &w);
            world_must(&w);
        }
        w.s = NULL;
        CHECK_INT(folder_entries(arena_fmt(&w.arena, "%s/pods", w.state).p), 2);
        CHECK_INT(folder_entries(arena_fmt(&w.arena, "%s/crun", w.state).p), 2);
        CHECK_INT(folder_entries(arena_fmt(&w.arena, "%s/containers", w.data).p), 2);
        CHECK_INT(folder_entries(arena_fmt(&w.arena, "%s/uses", w.content).p), 2);
        if (i == 1)
            fds = folder_entries("/proc/self/fd");
    }
    CHECK_INT(folder_entries("/proc/self/fd"), fds);
    world_end(&w);
}

struct held {
    struct job job;
    int until; /* descriptor whose other end closes */
    int *over;
};

static void pool_hold(struct job *j)
{
    char byte;
    (void)!read(container_of(j, struct held, job)->until, &byte, 1);
}

static void hold_over(struct job *j)
{
    ++*container_of(j, struct held, job)->over;
}

/* Somebody's millions of files take minutes to remove. While removals (or anything else) hold every thread, others
 * are removed all the same. */
TEST(removals_wait_for_no_thread)
{
    struct world w;
    int until[2], over = 0;
    struct held held[16];
    world_begin(&w);
    pod_start(&w, false);
    struct oci_container o = shell_run(&w, "true");
    struct container *c = box_run(&w, "c1", &o);
    wait_for(&w, &w.exits, 1);
    CHECK(pipe2(until, O_CLOEXEC) == 0);
    for (size_t i = 0; i < countof(held); i++) {
        held[i] = (struct held){.until = until[0], .over = &over};
        job_start(&held[i].job, w.loop, pool_hold, hold_over);
    }
    w.waiting = 1;
    container_remove(c, container_told, &w);
    world_must(&w);
    w.waiting = 1;
    sandbox_stop(w.s, sandbox_told, &w);
    world_must(&w);
    w.s = NULL;
    CHECK_INT(over, 0);
    fd_close(until[1]);
    wait_for(&w, &over, (int)countof(held));
    fd_close(until[0]);
    world_end(&w);
}
