#include "oci/runtime_world_test.h"
#include <dirent.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

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
    CHECK_OK(content_ref_set(c, S("docker.io/library/busybox:1"), &im.manifest, false, &err), err);
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

void world_open(struct world *w)
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

void world_begin_on(struct world *w, enum cgroup_mode mode)
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

void world_begin(struct world *w)
{
    world_begin_on(w, CGROUP_V1); /* what there is */
}

void wait_for(struct world *w, const int *what, int until)
{
    int64_t end = clock_mono() + 20 * NS_PER_S;
    while (*what != until) {
        CHECK(clock_mono() < end);
        (void)loop_run_once(w->loop, 100 * NS_PER_MS);
    }
}

void world_done(struct world *w, const struct err *err)
{
    w->waiting--;
    w->failed = err != NULL;
    if (err)
        w->err = *err;
}

void sandbox_told(struct sandbox *s, const struct err *err, void *arg)
{
    (void)s;
    world_done(arg, err);
}

void container_told(struct container *c, const struct err *err, void *arg)
{
    (void)c;
    world_done(arg, err);
}

void wait_done(struct world *w)
{
    wait_for(w, &w->waiting, 0);
}

void world_must(struct world *w)
{
    wait_done(w);
    if (w->failed)
        test_failed(__FILE__, __LINE__, "%s", w->err.text);
}

void pod_start(struct world *w, bool share_pid)
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

struct oci_container shell_run(struct world *w, const char *script)
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

struct container *box_create(struct world *w, const char *id, struct oci_container *o, bool stdin_open)
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

struct container *box_run(struct world *w, const char *id, struct oci_container *o)
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
struct str log_said(struct world *w, const char *id)
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

void world_end(struct world *w)
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
int wait_exit(struct world *w, struct container *c)
{
    struct container_status st;
    int64_t end = clock_mono() + 20 * NS_PER_S;
    for (container_status(c, &st); st.state != CONTAINER_EXITED; container_status(c, &st)) {
        CHECK(clock_mono() < end);
        (void)loop_run_once(w->loop, 100 * NS_PER_MS);
    }
    return st.code;
}

void output_done(void *arg, int code, struct str output, const struct err *err)
{
    struct world *w = arg;
    w->code = code;
    strbuf_reset(&w->output);
    strbuf_add(&w->output, output);
    world_done(w, err);
}

struct str exec_run(struct world *w, struct container *c, const char *script)
{
    struct str args[] = {S("sh"), S("-c"), str_of(script)};
    w->waiting = 1;
    container_exec_output(c, (struct strs){args, 3}, 10 * NS_PER_S, output_done, w);
    wait_done(w);
    return str_trim(strbuf_str(&w->output));
}
