/* container_create.c - how a container begins.
 *
 * container_create, every step told to go on by the one before:
 *   1. create_prepare    on the loop: the whole of what it is to be becomes text, config.json and what exec needs of
 *                        it. No disk but for a seccomp profile that is used for the first time (its filter is
 *                        compiled once and kept).
 *   2. create_blocking   a job: the claim on the image in the content store, before anything rests on its layers; its
 *                        folders (upper, work, rootfs); binds, where a mount's source lies where others write
 *                        (binds.h); the overlay's options; config.json, note and, last, `about`; the cgroup.
 *   3. SHIM_CREATE       the shim takes the lock of the upper folder, mounts the overlay at rootfs, and has a place
 *                        for it from now on.
 *   4. volumes_blocking  a job, where the image declares volumes: they are found in that root.
 *   Then it is CREATED. A step that fails undoes all before it, and the owner is told when that is done.
 */
#include "base/fault.h"
#include "base/log.h"
#include "oci/binds.h"
#include "oci/runtime_int.h"
#include "oci/selinux.h"
#include "sys/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <sys/syscall.h>

#define CONFIG_MAX (4 << 20)

/* What creation needs until the shim has it. */
struct prepared {
    struct strbuf config, base; /* config.json; exec's part of it */
    struct oci_device *devices;
    size_t ndevices;
    bool all_devices, traces; /* its processes may trace others */
    struct oci_bind *binds;   /* of the container's arena */
    size_t nbinds;
    bool far; /* they lead to paths that the pod's owner has chosen, or all files of a volume are looked at */
    struct strs relabel; /* paths that get the label of the container's files; of its arena */
    struct shim_create message;
};

void prepared_free(struct prepared *p)
{
    if (!p)
        return;
    strbuf_fini(&p->config);
    strbuf_fini(&p->base);
    mem_free(p->devices);
    mem_free(p);
}

/* The overlay's options. mount(2) takes one page of them: layers are named relative to their folder, and when even
 * that is too long, by short links made in the container's own folder. */
static bool overlay_options(struct container *c, const struct image *im, struct shim_create *m, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf o = STRBUF(sizeof m->overlay - 1);
    char path[PATH_MAX];
    bool mapped = c->sandbox->first_id && im->nlayers;
    bool links = !mapped && im->nlayers * (DIGEST_HEX + 1) + 2 * strlen(c->data_dir) + 100 > sizeof m->overlay;
    (void)snprintf(m->layers, sizeof m->layers, "%s/layers", mapped ? c->dir : c->rt->content->dir);
    if (links || im->nlayers == 0) {
        (void)snprintf(m->layers, sizeof m->layers, "%s/l", c->data_dir);
        if (mkdir(m->layers, 0711) < 0)
            return err_errno(err, "mkdir %s", m->layers);
    }
    strbuf_addz(&o, "lowerdir=");
    for (size_t i = 0; i < im->nlayers; i++) {
        const char *hex = im->layers[im->nlayers - 1 - i].hex; /* overlayfs names the upmost first */
        if (mapped) {                                          /* layers_map */
            strbuf_addf(&o, "%s%zu", i ? ":" : "", i);
        } else if (links) {
            char to[PATH_MAX];
            (void)snprintf(path, sizeof path, "%s/%zu", m->layers, i);
            (void)snprintf(to, sizeof to, "%s/layers/%s", c->rt->content->dir, hex);
            if (symlink(to, path) < 0)
                return err_errno(err, "link %s", path);
            strbuf_addf(&o, "%s%zu", i ? ":" : "", i);
        } else {
            strbuf_addf(&o, "%s%s", i ? ":" : "", hex);
        }
    }
    if (im->nlayers == 0)
        strbuf_addz(&o, "."); /* an image of nothing: an empty folder */
    /* volatile: nothing of a container's own files needs to survive a power cut */
    strbuf_addf(&o, ",upperdir=%s/upper,workdir=%s/work,volatile,userxattr", c->data_dir, c->data_dir);
    if (c->mount_label.n) /* SELinux's answer for every file of it; a label has commas */
        strbuf_addf(&o, ",context=\"" STR_FMT "\"", STR_ARG(c->mount_label));
    if (o.over)
        return err_set(err, E_TOO_LARGE, "the image has %zu layers: too many for one mount", im->nlayers);
    memcpy(m->overlay, o.p, o.n + 1);
    return true;
}

/* What is written belongs to the ids of the pod's users, as what is read does. */
static bool own_by_users(const struct container *c, const char *path, struct err *err)
{
    uint32_t id = c->sandbox->first_id;
    return !id || lchown(path, id, id) == 0 || err_errno(err, "chown %s", path);
}

static bool create_folders(struct container *c, struct err *err)
{
    static const char *const below[] = {"", "/upper", "/work"};
    char path[PATH_MAX];
    for (size_t i = 0; i < countof(below); i++) {
        (void)snprintf(path, sizeof path, "%s%s", c->data_dir, below[i]);
        if (mkdir(path, i == 1 ? 0755 : 0711) < 0)
            return err_errno(err, "mkdir %s", path);
        if (i == 1 && !own_by_users(c, path, err))
            return false;
    }
    (void)snprintf(path, sizeof path, "%s/rootfs", c->dir);
    if (mkdir(c->dir, 0711) < 0 || mkdir(path, 0711) < 0)
        return err_errno(err, "mkdir %s", path);
    if (!c->log[0])
        return true;
    (void)snprintf(path, sizeof path, "%s", c->log);
    *strrchr(path, '/') = 0;
    return dirs_make(path, 0755, err);
}

static bool binds_put(struct container *c, const char *folder, const struct oci_bind *list, size_t n, struct err *err)
{
    char path[PATH_MAX];
    if (!n)
        return true;
    (void)snprintf(path, sizeof path, "/proc/%d/ns/mnt", (int)c->sandbox->pid);
    AUTO(fd_close) int mntns = open(path, O_RDONLY | O_CLOEXEC);
    AUTO(fd_close) int users = -1;
    if (mntns < 0)
        return err_errno(err, "the mount namespace of %s", c->sandbox->name);
    (void)snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)c->sandbox->pid, SHIM_USER_FD);
    if (c->sandbox->first_id && (users = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        return err_errno(err, "the user namespace of %s", c->sandbox->name);
    (void)snprintf(path, sizeof path, "%s/%s", c->dir, folder);
    return binds_attach(mntns, users, path, list, n, err);
}

/* The image's layers as the pod's users see them: as the overlay names them, the upmost first. */
static bool layers_map(struct container *c, const struct image *im, struct arena *a, struct err *err)
{
    struct oci_bind *list = arena_alloc(a, (im->nlayers + 1) * sizeof *list);
    for (size_t i = 0; i < im->nlayers; i++)
        list[i] = (struct oci_bind){
            .root = arena_fmt(a, "%s/layers/%s", c->rt->content->dir, im->layers[im->nlayers - 1 - i].hex),
            .ids = true};
    return !c->sandbox->first_id || binds_put(c, "layers", list, im->nlayers, err);
}

static bool create_binds(struct container *c, const struct image *im, struct arena *a, struct err *err)
{
    return binds_put(c, "binds", c->prepared->binds, c->prepared->nbinds, err) && layers_map(c, im, a, err);
}

static int open_in_root(int root, const char *path)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    return (int)syscall(SYS_openat2, root, path, &how, sizeof how);
}

/* The root of the sandbox's mounts, where a pod's own tmpfs are, too. */
static int open_shim_root(const struct container *c)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/root", (int)c->sandbox->pid);
    return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static bool relabel_mounts(struct container *c, struct err *err)
{
    struct strs list = c->prepared->relabel;
    AUTO(fd_close) int root = list.n ? open_shim_root(c) : -1;
    if (list.n && root < 0)
        return err_errno(err, "the mounts of %s", c->sandbox->name);
    for (size_t i = 0; i < list.n; i++) {
        AUTO(fd_close) int fd = open_in_root(root, list.p[i].p);
        if (fd < 0)
            return err_errno(err, "open " STR_FMT, STR_ARG(list.p[i]));
        if (!selinux_relabel(fd, c->mount_label, err))
            return err_wrap(err, "relabel \"" STR_FMT "\" with \"" STR_FMT "\" failed", STR_ARG(list.p[i]),
                            STR_ARG(c->mount_label));
    }
    return true;
}

static bool create_files(struct container *c, struct err *err)
{
    const struct {
        const char *name;
        struct str text;
    } files[] = {{"config.json", strbuf_str(&c->prepared->config)},
                 {"exec.base", strbuf_str(&c->prepared->base)},
                 {"note", str_of(c->note)}};
    char path[PATH_MAX];
    AUTO(fd_close) int dir = open(c->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    uint64_t need = 2 * c->prepared->config.n + c->prepared->base.n; /* crun keeps a copy */
    if (dir < 0 || !folder_has_room(dir, need))
        return err_set(
            err, E_UNAVAILABLE,
            "the node has no room for %llu bytes of environment and arguments: three quarters of the memory "
            "in which it keeps them are in use",
            (unsigned long long)need);
    for (size_t i = 0; i < countof(files); i++) {
        (void)snprintf(path, sizeof path, "%s/%s", c->dir, files[i].name);
        if (!small_write(path, files[i].text, err))
            return false;
    }
    AUTO(strbuf_fini) struct strbuf about = STRBUF(8000);
    strbuf_addf(&about, "%s\n%s\n", c->image.hex, c->log);
    (void)snprintf(path, sizeof path, "%s/about", c->dir); /* last: from now on it is one to adopt */
    return small_write(path, strbuf_str(&about), err);
}

static bool create_message(struct container *c, const struct image *im, struct err *err)
{
    struct shim_create *m = &c->prepared->message;
    const struct cgroups *g = &c->rt->cgroups;
    AUTO(strbuf_fini) struct strbuf join = STRBUF(sizeof m->join - 1), after = STRBUF(sizeof m->after - 1);
    memcpy(m->id, c->id, strlen(c->id));
    if (strlen(c->log) >= sizeof m->log)
        return err_set(err, E_INVALID, "log: a path of at most %zu bytes is needed", sizeof m->log - 1);
    memcpy(m->log, c->log, strlen(c->log));
    (void)snprintf(m->lock, sizeof m->lock, "%s/lock", c->data_dir);
    if (!c->sandbox->program[0]) /* others put there themselves what they start */
        cgroup_join_lines(g, c->cgroup, &join);
    cgroup_quota_lines(g, c->cgroup, &c->limits, &after);
    cgroup_oom_file(g, c->cgroup, m->oom, sizeof m->oom);
    if (join.over || after.over)
        return err_set(err, E_INVALID, "cgroup %s: the path is too long", c->cgroup);
    memcpy(m->join, join.n ? join.p : "", join.n + 1);
    memcpy(m->after, after.n ? after.p : "", after.n + 1);
    return overlay_options(c, im, m, err);
}

static void create_blocking(struct runtime_work *w)
{
    struct container *c = container_of(w, struct container, work);
    struct prepared *p = c->prepared;
    AUTO(arena_fini) struct arena a = ARENA;
    struct image im;
    char name[DIGEST_TEXT + 1];
    const struct cgroup_devices devices = {p->devices, p->ndevices, p->all_devices};
    (void)snprintf(name, sizeof name, "sha256:%s", c->image.hex);
    w->ok = content_use(c->rt->content, str_of(c->id), &c->image, &w->err) &&
            image_read(c->rt->content, &a, str_of(name), &im, &w->err);
    fault_pass("oci.create.used");
    w->ok = w->ok && create_folders(c, &w->err) && relabel_mounts(c, &w->err) && create_binds(c, &im, &a, &w->err) &&
            create_message(c, &im, &w->err);
    fault_pass("oci.create.folders");
    w->ok = w->ok && create_files(c, &w->err);
    fault_pass("oci.create.about");
    w->ok = w->ok && cgroup_create(&c->rt->cgroups, c->cgroup, &c->limits, true, &devices, &w->err);
    fault_pass("oci.create.cgroup");
}

static void create_undone(struct runtime_work *w)
{
    struct container *c = container_of(w, struct container, work);
    container_tell(c, c->failure);
    container_gone(c);
}

static void create_failed(struct container *c, const struct err *err)
{
    c->failure = mem_dup(err, sizeof *err);
    work_start_long(&c->work, c->rt, container_remove_blocking, create_undone);
}

/* A folder of the container's root, links in it followed within it, missing parts made. */
static int open_volume(int root, struct str path)
{
    AUTO_FREE char *z = str_dupz(path);
    AUTO(fd_close) int at = fcntl(root, F_DUPFD_CLOEXEC, 0);
    for (char *end = z; *end && at >= 0;) {
        char *part = end + 1; /* clean: begins with a slash, no empty parts */
        end = strchrnul(part, '/');
        char sep = *end;
        *end = 0;
        int next = open_in_root(root, z);
        if (next < 0 && errno == ENOENT && mkdirat(at, part, 0755) == 0 && fchmodat(at, part, 0755, 0) == 0)
            next = open_in_root(root, z);
        *end = sep;
        fd_close(at);
        at = next;
    }
    return TAKE_FD(at);
}

/* The path of a descriptor below that of another one. False: it is elsewhere. */
static bool path_below(int root, int fd, char *out, size_t size)
{
    char of[2][PATH_MAX], link[64];
    const int fds[] = {root, fd};
    for (int i = 0; i < 2; i++) {
        (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fds[i]);
        ssize_t n = readlink(link, of[i], sizeof of[i] - 1);
        if (n < 0)
            return false;
        of[i][n] = 0;
    }
    size_t n = strcmp(of[0], "/") == 0 ? 0 : strlen(of[0]);
    return strncmp(of[0], of[1], n) == 0 && of[1][n] == '/' && snprintf(out, size, "%s", of[1] + n) < (int)size;
}

/* An empty folder, in whose place another one can stand. */
static bool is_empty_folder(int fd)
{
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    if (!dir) {
        fd_close(copy);
        return false;
    }
    int n = 0;
    while (n < 3 && readdir(dir))
        n++;
    (void)closedir(dir);
    return n < 3; /* . and .. */
}

/* A folder of the node's own file system, with the mode and owner of the image's: what runs in the container may want
 * to mount an overlay of its own there, which on an overlay it could not. */
static bool own_folder(const struct container *c, const char *path, int like, struct err *err)
{
    struct stat st;
    if (fstat(like, &st) < 0 || mkdir(path, 0700) < 0)
        return err_errno(err, "mkdir %s", path);
    AUTO(fd_close) int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0 || lchown(path, st.st_uid, st.st_gid) < 0 || chmod(path, st.st_mode & 07777) < 0)
        return err_errno(err, "%s", path);
    return !c->mount_label.n || selinux_relabel(fd, c->mount_label, err);
}

/* Folders that the image declares as volumes stay writable where the root is not. An empty one is a folder of the
 * container's data; one that holds something is mounted over itself, and what is written goes where the container's
 * other files go. Where each stands is found before the container runs, in its root as the shim has mounted it;
 * nobody can change that yet. */
static void volumes_blocking(struct runtime_work *w)
{
    struct container *c = container_of(w, struct container, work);
    char path[PATH_MAX], inside[PATH_MAX], target[2 * PATH_MAX];
    AUTO(fd_close) int shim = open_shim_root(c);
    (void)snprintf(path, sizeof path, "%s/rootfs", c->dir);
    /* within that root, whosever it is by now: the shim may have ended, and its number be another's */
    AUTO(fd_close) int root = shim < 0 ? -1 : open_in_root(shim, path);
    w->ok = root >= 0 || err_errno(&w->err, "open %s", path);
    (void)snprintf(path, sizeof path, "%s/volumes", c->data_dir);
    w->ok = w->ok && (mkdir(path, 0711) == 0 || err_errno(&w->err, "mkdir %s", path));
    for (size_t i = 0; w->ok && i < c->volumes.n; i++) {
        AUTO(fd_close) int fd = open_volume(root, c->volumes.p[i]);
        if (fd < 0) {
            w->ok = err_errno(&w->err, "the image's volume " STR_FMT, STR_ARG(c->volumes.p[i]));
        } else if (!path_below(root, fd, inside, sizeof inside)) {
            w->ok = err_set(&w->err, E_INVALID, "the image's volume " STR_FMT " leads out of it",
                            STR_ARG(c->volumes.p[i]));
        } else {
            (void)snprintf(target, sizeof target, "%s/rootfs%s", c->dir, inside);
            (void)snprintf(path, sizeof path, "%s/volumes/%zu", c->data_dir, i);
            w->ok = is_empty_folder(fd)         ? own_folder(c, path, fd, &w->err)
                    : symlink(target, path) < 0 ? err_errno(&w->err, "link %s", path)
                                                : true;
        }
    }
}

static void mounts_gone(struct shim_request *q, const struct shim_answer *a, int fd)
{
    struct container *c = q->container;
    (void)a; /* a shim that is gone has taken it along */
    fd_close(fd);
    mem_free(q);
    work_start_long(&c->work, c->rt, container_remove_blocking, create_undone);
}

/* The shim has it by now: its mount and its place there are given back first. */
static void create_take_back(struct container *c, const struct err *err)
{
    struct shim_target m = {0};
    memcpy(m.id, c->id, strlen(c->id));
    c->failure = mem_dup(err, sizeof *err);
    sandbox_send(c->sandbox, SHIM_REMOVE, &m, NULL, container_request(c, NULL, NULL, mounts_gone));
}

static void volumes_made(struct runtime_work *w)
{
    struct container *c = container_of(w, struct container, work);
    if (w->ok && c->sandbox->stop_waits)
        w->ok = err_set(&w->err, E_CANCELLED, "the pod is being stopped");
    if (!w->ok) {
        create_take_back(c, &w->err);
        return;
    }
    c->status.state = CONTAINER_CREATED;
    container_tell(c, NULL);
}

static void guard_answered(struct shim_request *q, const struct shim_answer *a, int fd)
{
    if (a && a->head.status != 0) /* an older shim, which cannot: as it was when the pod was made */
        log_warn("container.guard", "container=%s status=%d", q->container->id, a->head.status);
    fd_close(fd);
    mem_free(q);
}

/* While crun runs in its sight it is frozen, as crun is root on the host until it has become the program. */
static void container_guard(struct container *c)
{
    struct shim_guard m = {0};
    memcpy(m.id, c->id, strlen(c->id));
    cgroup_freeze_file(&c->rt->cgroups, c->cgroup, m.file, sizeof m.file);
    if (m.file[0])
        sandbox_send(c->sandbox, SHIM_GUARD, &m, NULL, container_request(c, NULL, NULL, guard_answered));
}

static void create_answered(struct shim_request *q, const struct shim_answer *a, int fd)
{
    struct container *c = q->container;
    struct err err = ERR;
    bool traces = c->prepared->traces;
    fd_close(fd);
    mem_free(q);
    prepared_free(c->prepared);
    c->prepared = NULL;
    if (!answer_ok(a, "mounting the container's root file system", &err)) {
        create_failed(c, &err);
        return;
    }
    if (traces)
        container_guard(c);
    if (c->volumes.n) {
        work_start(&c->work, c->rt, volumes_blocking, volumes_made);
        return;
    }
    c->status.state = CONTAINER_CREATED;
    container_tell(c, NULL);
}

static void create_prepared(struct runtime_work *w)
{
    struct container *c = container_of(w, struct container, work);
    if (!w->ok) {
        create_failed(c, &w->err);
        return;
    }
    if (c->sandbox->stop_waits) {
        (void)err_set(&w->err, E_CANCELLED, "the pod is being stopped");
        create_failed(c, &w->err);
        return;
    }
    sandbox_send(c->sandbox, SHIM_CREATE, &c->prepared->message, NULL,
                 container_request(c, NULL, NULL, create_answered));
}

static void create_refused(void *arg)
{
    struct container *c = arg;
    container_tell(c, c->failure);
    container_gone(c);
}

void limits_copy(struct arena *a, struct oci_limits *to, const struct oci_limits *from)
{
    struct oci_hugepage *pages = arena_alloc(a, (from->nhugepages + 1) * sizeof *pages);
    for (size_t i = 0; i < from->nhugepages; i++)
        pages[i] = (struct oci_hugepage){str_dup(a, from->hugepages[i].size), from->hugepages[i].bytes};
    *to = *from;
    to->cpuset = str_dup(a, from->cpuset);
    to->mems = str_dup(a, from->mems);
    to->hugepages = pages;
}

/* Namespaces of the pod are the shim's own. */
static void join_pod(struct container *c, struct oci_container *o)
{
    static const char *const names[] = {
        [OCI_NS_PID] = "pid", [OCI_NS_NET] = "net", [OCI_NS_IPC] = "ipc", [OCI_NS_UTS] = "uts"};
    for (int i = OCI_NS_PID; i <= OCI_NS_UTS; i++) {
        pid_t holder = i == OCI_NS_PID ? c->sandbox->init_pid : c->sandbox->pid;
        if (o->ns[i] == OCI_NS_PATH || (i == OCI_NS_PID && (holder == 0 || o->ns[i] == OCI_NS_HOST)))
            continue;
        /* also where the pod has the host's: then the shim's is the host's */
        o->ns[i] = OCI_NS_PATH;
        o->ns_path[i] = arena_fmt(&c->arena, "/proc/%d/ns/%s", (int)holder, names[i]);
    }
    o->first_id = c->sandbox->first_id;
    if (o->first_id)
        o->user_ns = arena_fmt(&c->arena, "/proc/%d/fd/%d", (int)c->sandbox->pid, SHIM_USER_FD);
}

/* Our own files and those below them always answer. */
static bool is_elsewhere(const struct runtime *rt, struct str root)
{
    const char *const own[] = {rt->state, rt->data};
    for (size_t i = 0; i < countof(own); i++)
        if (str_starts(root, str_of(own[i])) && root.n > strlen(own[i]) && root.p[strlen(own[i])] == '/')
            return false;
    return root.n > 0;
}

static bool looks_elsewhere(const struct runtime *rt, const struct oci_bind *binds, size_t n)
{
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        any |= is_elsewhere(rt, binds[i].root);
        for (size_t k = 0; k < binds[i].ninner; k++)
            any |= is_elsewhere(rt, binds[i].inner[k].root);
    }
    return any;
}

static struct strs mounts_relabelled(struct arena *a, const struct oci_container *o)
{
    struct strs list = {arena_alloc(a, (o->nmounts + 1) * sizeof(struct str)), 0};
    for (size_t i = 0; i < o->nmounts && o->mount_label.n; i++)
        if (o->mounts[i].relabel)
            list.p[list.n++] = str_dup(a, o->mounts[i].source);
    return list;
}

static bool create_prepare(struct container *c, const struct container_spec *spec, struct err *err)
{
    struct prepared *p = c->prepared = NEW(struct prepared);
    struct oci_container o = *spec->oci;
    struct str bpf, rootfs = arena_fmt(&c->arena, "%s/rootfs", c->dir);
    p->config = STRBUF(CONFIG_MAX);
    p->base = STRBUF(CONFIG_MAX);
    c->image = spec->image;
    limits_copy(&c->arena, &c->limits, &o.limits);
    if (!c->sandbox->ready)
        return err_set(err, E_UNAVAILABLE, "the sandbox is not running");
    if (spec->note.n > 65536)
        return err_set(err, E_INVALID, "note: over 65536 bytes");
    if (spec->log.n && (spec->log.p[0] != '/' || str_find_char(spec->log, '\n') >= 0))
        return err_set(err, E_INVALID, "log: must be an absolute path");
    join_pod(c, &o);
    o.cgroup = str_of(c->cgroup);
    o.other_runtime = c->sandbox->program[0] != 0;
    c->mount_label = str_dup(&c->arena, o.mount_label);
    p->relabel = mounts_relabelled(&c->arena, &o);
    AUTO_FREE char *binds = str_dupz(arena_fmt(&c->arena, "%s/binds", c->dir));
    p->nbinds = oci_binds_place(&o, &c->arena, binds, &p->binds);
    p->far = looks_elsewhere(c->rt, p->binds, p->nbinds) || p->relabel.n;
    if (o.volumes.n) {
        AUTO_FREE char *folder = str_dupz(arena_fmt(&c->arena, "%s/volumes", c->data_dir));
        oci_volumes_place(&o, &c->arena, folder);
        c->volumes.p = arena_alloc(&c->arena, o.volumes.n * sizeof *c->volumes.p);
        for (size_t i = 0; i < o.volumes.n; i++)
            c->volumes.p[c->volumes.n++] = str_dup(&c->arena, o.volumes.p[i]);
    }
    if (!runtime_filter(c->rt, &o, &c->arena, &bpf, err) ||
        !oci_container_json(&o, &c->arena, rootfs, bpf, &p->config, &c->notices, err))
        return false;
    oci_exec_base(&o, &p->base);
    p->all_devices = o.privileged;
    p->traces = !o.other_runtime && o.capabilities & oci_caps_all() & OCI_CAP(CAP_SYS_PTRACE) && !o.privileged &&
                o.ns[OCI_NS_PID] != OCI_NS_HOST;
    p->ndevices = o.ndevices;
    p->devices = mem_alloc((o.ndevices + 1) * sizeof *p->devices);
    for (size_t i = 0; i < o.ndevices; i++) {
        p->devices[i] = o.devices[i];
        p->devices[i].access = str_dup(&c->arena, o.devices[i].access);
    }
    p->message.flags = (o.terminal ? SHIM_TTY : 0) | (spec->stdin_open ? SHIM_STDIN : 0) |
                       (spec->stdin_once ? SHIM_STDIN_ONCE : 0);
    p->message.log_max = spec->log_max;
    return true;
}

struct container *container_create(struct sandbox *s, const struct container_spec *spec, container_done *done,
                                   void *arg)
{
    struct err err = ERR;
    bool bad = !id_valid(spec->id), twin = !bad && container_find(s->rt, spec->id);
    AUTO(arena_fini) struct arena a = ARENA;
    struct container *c = container_make(s, bad || twin ? arena_fmt(&a, "refused-%p", (void *)spec) : spec->id,
                                         spec->note, spec->log);
    c->status.state = CONTAINER_STARTING;
    c->done = done;
    c->done_arg = arg;
    if (bad)
        (void)err_set(&err, E_INVALID, "id: \"" STR_FMT "\" must be 1 to 64 of a-z, 0-9 and -",
                      STR_ARG(str_sub(spec->id, 0, 100)));
    if (twin)
        (void)err_set(&err, E_ALREADY_EXISTS, "there is a container " STR_FMT " already", STR_ARG(spec->id));
    if (bad || twin || !create_prepare(c, spec, &err)) {
        c->failure = mem_dup(&err, sizeof err);
        loop_post(s->rt->loop, create_refused, c);
        return c;
    }
    if (c->prepared->far)
        work_start_apart(&c->work, c->rt, create_blocking, create_prepared);
    else
        work_start(&c->work, c->rt, create_blocking, create_prepared);
    return c;
}
