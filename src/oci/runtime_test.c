#include "base/clock.h"
#include "base/test.h"
#include "oci/runtime.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

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

static void world_begin(struct world *w)
{
    struct err err = ERR;
    *w = (struct world){.output = STRBUF(65536), .master = -1};
    /* what a failed test leaves must come back to the test's own tree */
    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    CHECK(unshare(CLONE_NEWNS | CLONE_NEWNET) == 0);
    CHECK(mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
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
    make_image(w);
    w->loop = loop_new(&err);
    CHECK_OK(w->loop, err);
    world_open(w);
}

static void wait_for(struct world *w, const int *what, int until)
{
    int64_t end = clock_mono() + 20 * NS_PER_S;
    while (*what != until) {
        CHECK(clock_mono() < end);
        (void)loop_run_once(w->loop, 100 * NS_PER_MS);
    }
}

static void done(struct world *w, const struct err *err)
{
    w->waiting--;
    w->failed = err != NULL;
    if (err)
        w->err = *err;
}

static void sandbox_told(struct sandbox *s, const struct err *err, void *arg)
{
    (void)s;
    done(arg, err);
}

static void container_told(struct container *c, const struct err *err, void *arg)
{
    (void)c;
    done(arg, err);
}

static void wait_done(struct world *w)
{
    wait_for(w, &w->waiting, 0);
}

static void must(struct world *w)
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
    must(w);
}

static struct oci_container shell(struct world *w, const char *script)
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

static struct container *create(struct world *w, const char *id, struct oci_container *o, bool stdin_open)
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

static struct container *run(struct world *w, const char *id, struct oci_container *o)
{
    struct container *c = create(w, id, o, false);
    if (w->failed)
        test_failed(__FILE__, __LINE__, "%s", w->err.text);
    w->waiting = 1;
    container_start(c, container_told, w);
    must(w);
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
static struct str said(struct world *w, const char *id)
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
        must(w);
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

TEST(a_container_runs_logs_and_ends)
{
    struct world w;
    struct container_status st;
    world_begin(&w);
    pod_start(&w, false);
    struct oci_container o = shell(&w, "echo $GREETING from $(hostname); echo oops >&2; id -u; exit 3");
    struct container *c = run(&w, "c1", &o);
    wait_for(&w, &w.exits, 1);
    container_status(c, &st);
    CHECK_INT(st.state, CONTAINER_EXITED);
    CHECK_INT(st.code, 3);
    CHECK(!st.oom && st.finished_ns >= st.started_ns);
    struct str text = said(&w, "c1");
    CHECK(str_has(text, S("stdout F hello from web-0\nstdout F 0\n")) ||
          str_has(text, S("stdout F hello from web-0\nstderr F oops\n")));
    CHECK(str_has(text, S("stderr F oops\n")));
    w.waiting = 1;
    container_remove(c, container_told, &w);
    must(&w);
    CHECK(container_find(w.rt, S("c1")) == NULL);
    world_end(&w);
}
