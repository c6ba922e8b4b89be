/* The runtime as a whole: opening, jobs, and finding again what runs. One pod is sandbox.c, one container
 * container.c.
 *
 * Who does what. The runtime lives in the node's loop and owns the book-keeping: which sandboxes and containers there
 * are, what each is doing, who waits to hear of it. The doing is elsewhere: blocking calls of our own (folders,
 * cgroups, config.json, removing) are jobs, `struct runtime_work`, of which a sandbox or container has one at a time;
 * and whatever must happen inside the pod, or must outlive this process, is asked of the pod's shim by a message
 * (sandbox_send) and answered later. So a function here either starts something or takes an answer; the chain of
 * those is the algorithm, and is written down at the top of sandbox.c and container.c.
 *
 * Adoption (runtime_adopt). The folders STATE/pods/SANDBOX are the list of what an earlier process began; each file
 * `about` in them is written last when a thing begins, and its folder goes last when it ends, so a folder without one
 * had not begun to be anything. For each: its containers are read, its shim is connected to, told WATCH (events come
 * from then on), asked HELLO (is it a whole sandbox?) and LIST (what became of each container). A container that is
 * being started at that moment is waited for, as its program may have run already (is_starting); a shim that is not
 * there any more is lost, and what it wrote down last is believed (container_lost). While that goes on, ends are
 * noted and not told: the owner has not seen any of it run yet. This is done before anything else, on the loop: until
 * it is known what runs nothing may be started, and the files are on a tmpfs.
 */
#include "base/clock.h"
#include "base/log.h"
#include "oci/runtime_int.h"
#include "sys/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define SETTLE_EVERY (10 * NS_PER_MS)
#define SETTLE_MOST  (10 * NS_PER_S) /* a crun that hangs holds nobody else up for longer */

bool small_write(const char *path, struct str text, struct err *err)
{
    AUTO(fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text.p, text.n) != (ssize_t)text.n)
        return err_errno(err, "write %s", path);
    return true;
}

bool small_read(const char *path, size_t max, struct strbuf *out, struct err *err)
{
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : 1;
    char buf[16384];
    while (n > 0 && (n = read(fd, buf, sizeof buf)) > 0)
        strbuf_add(out, (struct str){buf, (size_t)n});
    if (n < 0)
        return err_errno(err, "read %s", path);
    if (out->over || out->n > max)
        return err_set(err, E_TOO_LARGE, "%s is over %zu bytes", path, max);
    return true;
}

bool dirs_make(const char *path, mode_t mode, struct err *err)
{
    char part[PATH_MAX];
    if (mkdir(path, mode) == 0 || errno == EEXIST)
        return true;
    for (const char *end = path + 1; end[-1]; end++) {
        if (*end != '/' && *end)
            continue;
        (void)snprintf(part, sizeof part, "%.*s", (int)(end - path), path);
        if (mkdir(part, mode) < 0 && errno != EEXIST)
            return err_errno(err, "mkdir %s", part);
    }
    return true;
}

void tree_drop(const char *path)
{
    struct err ignored = ERR; /* what stays is found again at the next adoption */
    (void)!tree_remove(AT_FDCWD, path, &ignored);
}

bool id_valid(struct str id)
{
    char z[SHIM_ID] = {0};
    if (!id.n || id.n >= sizeof z)
        return false;
    memcpy(z, id.p, id.n);
    return shim_id_ok(z);
}

/* ---- jobs ---- */

static void runtime_end(struct runtime *rt)
{
    map_each (e, &rt->containers)
        container_free(e->value);
    map_each (e, &rt->sandboxes)
        sandbox_free(e->value);
    map_fini(&rt->containers);
    map_fini(&rt->sandboxes);
    map_each (e, &rt->profiles)
        seccomp_free(e->value);
    map_fini(&rt->profiles);
    content_free(rt->content);
    char *const texts[] = {rt->state, rt->data, rt->shim, rt->crun, rt->cgroup};
    for (size_t i = 0; i < countof(texts); i++)
        mem_free(texts[i]);
    mem_free(rt);
}

static void work_run(struct job *j)
{
    struct runtime_work *w = container_of(j, struct runtime_work, job);
    w->blocking(w);
}

static void work_over(struct job *j)
{
    struct runtime_work *w = container_of(j, struct runtime_work, job);
    struct runtime *rt = w->rt;
    rt->busy--;
    w->started = false;
    if (!rt->dying)
        w->finish(w);
    else if (rt->busy == 0)
        runtime_end(rt);
}

static void work_begin(struct runtime_work *w, struct runtime *rt, void (*blocking)(struct runtime_work *w),
                       void (*finish)(struct runtime_work *w))
{
    ASSERT(!w->started);
    w->rt = rt;
    w->blocking = blocking;
    w->finish = finish;
    w->ok = true;
    w->started = true;
    w->err = ERR;
    rt->busy++;
}

void work_start(struct runtime_work *w, struct runtime *rt, void (*blocking)(struct runtime_work *w),
                void (*finish)(struct runtime_work *w))
{
    work_begin(w, rt, blocking, finish);
    job_start(&w->job, rt->loop, work_run, work_over);
}

static void work_refused(void *arg)
{
    work_over(arg);
}

void work_start_apart(struct runtime_work *w, struct runtime *rt, void (*blocking)(struct runtime_work *w),
                      void (*finish)(struct runtime_work *w))
{
    struct err err = ERR;
    work_begin(w, rt, blocking, finish);
    if (job_start_apart(&w->job, rt->loop, work_run, work_over, &err))
        return; /* `w` is the thread's by now */
    w->ok = false;
    w->err = err;
    loop_post(rt->loop, work_refused, &w->job); /* never from inside the call */
}

void work_start_long(struct runtime_work *w, struct runtime *rt, void (*blocking)(struct runtime_work *w),
                     void (*finish)(struct runtime_work *w))
{
    struct err err = ERR; /* so many are under way already: then as all others */
    work_begin(w, rt, blocking, finish);
    if (!job_start_apart(&w->job, rt->loop, work_run, work_over, &err))
        job_start(&w->job, rt->loop, work_run, work_over);
}

/* ---- opening ---- */

static struct seccomp *profile_open(struct runtime *rt, const char *path, struct err *err)
{
    struct seccomp *s = map_get(&rt->profiles, str_of(path ? path : ""));
    if (s)
        return s;
    char cache[PATH_MAX];
    (void)snprintf(cache, sizeof cache, "%s/seccomp", rt->data);
    s = seccomp_open(path, cache, err);
    if (s)
        map_put(&rt->profiles, str_of(path ? path : ""), s);
    return s;
}

bool runtime_filter(struct runtime *rt, struct oci_container *c, struct arena *a, struct str *bpf, struct err *err)
{
    *bpf = S("");
    if (c->privileged || c->seccomp == OCI_SECCOMP_UNCONFINED)
        return true;
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, STR_FMT, STR_ARG(c->seccomp_profile));
    struct seccomp *s = profile_open(rt, c->seccomp_profile.n ? path : NULL, err);
    if (!s || !c->other_runtime)
        return s && seccomp_filter(s, c->capabilities, bpf, err);
    AUTO(strbuf_fini) struct strbuf json = STRBUF(1 << 20);
    seccomp_json(s, c->capabilities, &json);
    c->seccomp_json = str_dup(a, strbuf_str(&json));
    return true;
}

struct runtime *runtime_new(const struct runtime_config *config, struct err *err)
{
    char path[PATH_MAX];
    AUTO(runtime_free) struct runtime *rt = NEW(struct runtime);
    rt->loop = config->loop;
    rt->state = mem_dupz(config->state);
    rt->data = mem_dupz(config->data);
    rt->shim = mem_dupz(config->shim);
    rt->crun = mem_dupz(config->crun);
    rt->cgroup = mem_dupz(config->cgroup);
    rt->on = config->on;
    rt->arg = config->arg;
    if (rt->state[0] != '/' || rt->data[0] != '/' || rt->cgroup[0] != '/')
        return err_set(err, E_INVALID, "state folder, data folder and cgroup must be absolute paths"), NULL;
    if (strlen(rt->state) + 2 * SHIM_ID + 40 > SHIM_PATH)
        return err_set(err, E_INVALID, "state folder %s: a path of at most %d bytes is needed", rt->state,
                       SHIM_PATH - 2 * SHIM_ID - 40),
               NULL;
    if (strlen(rt->data) > 150 || strpbrk(rt->data, ",:\\") || strpbrk(config->content, ",:\\"))
        return err_set(err, E_INVALID, "data folder %s: at most 150 bytes, without \",\", \":\" and \"\\\"",
                       rt->data),
               NULL;
    static const char *const below[] = {"/pods", "/crun"};
    if (!dirs_make(rt->state, 0711, err))
        return NULL;
    for (size_t i = 0; i < countof(below); i++) {
        (void)snprintf(path, sizeof path, "%s%s", rt->state, below[i]);
        if (!dir_make_private(path, err))
            return NULL;
    }
    (void)snprintf(path, sizeof path, "%s/containers", rt->data);
    if (!dirs_make(rt->data, 0711, err) || !dir_make_private(path, err) || !cgroups_detect(&rt->cgroups, err))
        return NULL;
    rt->content = content_open(config->content, err);
    if (!rt->content)
        return NULL;
    /* the usual filter is compiled (or found on disk) now, so that no pod waits for it */
    struct oci_container usual = {.capabilities = OCI_CAPS_DEFAULT};
    struct str bpf;
    if (!runtime_filter(rt, &usual, NULL, &bpf, err))
        return NULL;
    return TAKE(rt);
}

void runtime_free(struct runtime *rt)
{
    if (!rt)
        return;
    rt->dying = true;
    map_each (e, &rt->sandboxes) {
        struct sandbox *s = e->value;
        if (s->fd >= 0)
            poll_stop(&s->poll);
        fd_close(s->fd);
        s->fd = -1;
    }
    if (rt->busy == 0)
        runtime_end(rt);
}

struct content *runtime_content(struct runtime *rt)
{
    return rt->content;
}

const struct cgroups *runtime_cgroups(const struct runtime *rt)
{
    return &rt->cgroups;
}

/* ---- adoption ---- */

static void adopt_one_done(struct runtime *rt)
{
    if (--rt->adopting == 0 && rt->adopted)
        rt->adopted(rt->adopted_arg);
}

static void adopt_end(struct sandbox *s)
{
    s->ready = !s->lost;
    map_each (e, &s->containers) { /* what the shim knows nothing of */
        struct container *c = e->value;
        if (s->lost || !c->heard)
            container_lost(c);
    }
    adopt_one_done(s->rt);
}

/* The runtime ended in the midst of starting something: whether that has run is known once crun has ended. */
static bool is_starting(const struct sandbox *s)
{
    map_each (e, &s->containers) {
        const struct container *c = e->value;
        if (c->heard && c->status.state == CONTAINER_STARTING)
            return true;
    }
    return false;
}

static void adopt_again(struct timer *t)
{
    struct sandbox *s = container_of(t, struct sandbox, settle);
    struct shim_request *q = s->settling;
    s->settling = NULL;
    sandbox_send(s, SHIM_LIST, NULL, NULL, q);
}

static void adopt_listed(struct shim_request *q, const struct shim_answer *a, int fd)
{
    struct sandbox *s = q->sandbox;
    fd_close(fd);
    if (a && a->head.status == 0) {
        struct container *c = map_get(&s->containers, str_of(a->u.status.id));
        if (c)
            container_seen(c, &a->u.status);
        return; /* more come under the same number */
    }
    list_del(&q->node);
    if (a && is_starting(s) && clock_mono() < s->settle_until) {
        s->settling = q;
        timer_set(&s->settle, SETTLE_EVERY);
        return;
    }
    s->lost = !a;
    mem_free(q);
    adopt_end(s);
}

static void adopt_hello(struct shim_request *q, const struct shim_answer *a, int fd)
{
    struct sandbox *s = q->sandbox;
    fd_close(fd);
    if (!a || a->head.status != 0 || !a->u.hello.ready) {
        s->lost = true;
        mem_free(q);
        adopt_end(s);
        return;
    }
    s->pid = (pid_t)a->u.hello.pid;
    s->init_pid = (pid_t)a->u.hello.init_pid;
    q->fn = adopt_listed;
    timer_init(&s->settle, s->rt->loop, adopt_again);
    s->settle_until = clock_mono() + SETTLE_MOST;
    sandbox_send(s, SHIM_LIST, NULL, NULL, q);
}

static void adopt_watching(struct shim_request *q, const struct shim_answer *a, int fd)
{
    (void)a;
    fd_close(fd);
    mem_free(q);
}

/* Names of sockets end after 107 bytes: by way of the folder's descriptor the path is always short. */
static int connect_in(const char *dir)
{
    AUTO(fd_close) int at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    AUTO(fd_close) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    (void)snprintf(addr.sun_path, sizeof addr.sun_path, "/proc/self/fd/%d/sock", at);
    if (at < 0 || fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof addr) < 0)
        return -1;
    return TAKE_FD(fd);
}

static void adopt_containers(struct sandbox *s)
{
    DIR *dir = opendir(s->dir);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        char path[PATH_MAX];
        struct stat st;
        struct err err = ERR;
        AUTO(strbuf_fini) struct strbuf about = STRBUF(8192), note = STRBUF(70000);
        (void)snprintf(path, sizeof path, "%s/%s/about", s->dir, e->d_name);
        if (!id_valid(str_of(e->d_name)) || stat(path, &st) < 0) /* it had not begun to be one */
            continue;
        bool read = small_read(path, 8000, &about, &err);
        (void)snprintf(path, sizeof path, "%s/%s/note", s->dir, e->d_name);
        if (!read || !small_read(path, 66000, &note, &err)) {
            log_error("oci.adopt", "container=%s error=\"%s\"", e->d_name, err.text);
            continue;
        }
        struct str rest = strbuf_str(&about), image, log;
        if (!str_cut(&rest, '\n', &image) || !str_cut(&rest, '\n', &log))
            continue;
        struct container *c = container_make(s, str_of(e->d_name), strbuf_str(&note), log);
        if (image.n == DIGEST_HEX)
            memcpy(c->image.hex, image.p, DIGEST_HEX);
        c->status.state = CONTAINER_STARTING; /* until the shim says otherwise */
    }
    if (dir)
        (void)closedir(dir);
}

/* Lines "KEY VALUE" of `about`, where it has any: one that nobody knows here is a newer program's. */
static void adopt_more(struct sandbox *s, struct str rest)
{
    struct str line, key, value;
    while (str_cut(&rest, '\n', &line)) {
        uint64_t n;
        if (!str_split(line, ' ', &key, &value))
            continue;
        if (str_eqz(key, "ids") && str_to_u64(value, UINT32_MAX, &n))
            s->first_id = (uint32_t)n;
        if (str_eqz(key, "program")) {
            mem_free(s->program);
            s->program = str_dupz(value);
        }
        if (str_eqz(key, "label")) {
            mem_free(s->label);
            s->label = str_dupz(value);
        }
    }
}

static void adopt_one(struct runtime *rt, const char *id)
{
    char path[PATH_MAX];
    struct err err = ERR;
    AUTO(strbuf_fini) struct strbuf about = STRBUF(8192), note = STRBUF(70000);
    (void)snprintf(path, sizeof path, "%s/pods/%s/about", rt->state, id);
    bool known = small_read(path, 8000, &about, &err);
    (void)snprintf(path, sizeof path, "%s/pods/%s/note", rt->state, id);
    known = known && small_read(path, 66000, &note, &err);
    if (!known && err.kind != E_NOT_FOUND) { /* it may well run: what cannot be read is not thrown away */
        log_error("oci.adopt", "pod=%s error=\"%s\"", id, err.text);
        return;
    }
    struct str rest = strbuf_str(&about), name, cgroup;
    if (!known || !str_cut(&rest, '\n', &name) || !str_cut(&rest, '\n', &cgroup)) {
        (void)snprintf(path, sizeof path, "%s/pods/%s", rt->state, id);
        tree_drop(path); /* it had not begun to be anything */
        return;
    }
    struct sandbox *s = sandbox_make(rt, str_of(id), name, strbuf_str(&note), cgroup);
    adopt_more(s, rest);
    adopt_containers(s);
    rt->adopting++;
    struct shim_request *q = NEW(struct shim_request), *watch = NEW(struct shim_request);
    q->sandbox = watch->sandbox = s;
    q->fn = adopt_hello;
    watch->fn = adopt_watching;
    sandbox_connect(s, connect_in(s->dir));
    sandbox_send(s, SHIM_WATCH, NULL, NULL, watch);
    sandbox_send(s, SHIM_HELLO, NULL, NULL, q);
}

static bool still_there(void *arg, struct str id)
{
    struct runtime *rt = arg;
    return container_find(rt, id) != NULL;
}

/* Writable layers of containers that a reboot took. */
static void drop_leftovers(struct runtime *rt)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/containers", rt->data);
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        if (!id_valid(str_of(e->d_name)) || container_find(rt, str_of(e->d_name)))
            continue;
        (void)snprintf(path, sizeof path, "%s/containers/%s", rt->data, e->d_name);
        tree_drop(path);
    }
    if (dir)
        (void)closedir(dir);
}

static void adopt_finish(void *arg)
{
    adopt_one_done(arg);
}

bool runtime_adopt(struct runtime *rt, void (*done)(void *arg), void *arg, struct err *err)
{
    char path[PATH_MAX];
    rt->adopted = done;
    rt->adopted_arg = arg;
    rt->adopting = 1;
    (void)snprintf(path, sizeof path, "%s/pods", rt->state);
    DIR *dir = opendir(path);
    if (!dir) /* what runs would be started a second time */
        return err_errno(err, "read %s", path);
    for (struct dirent *e; (e = readdir(dir));)
        if (id_valid(str_of(e->d_name)))
            adopt_one(rt, e->d_name);
    (void)closedir(dir);
    content_uses_sweep(rt->content, still_there, rt);
    drop_leftovers(rt);
    loop_post(rt->loop, adopt_finish, rt);
    return true;
}
