#include "node/volume_store.h"
#include "base/fault.h"
#include "node/volume_mount.h"
#include "sys/file.h"
#include "sys/loopdev.h"
#include "sys/mount.h"
#include "sys/mount_tree.h"
#include "sys/quota.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

#define FOLDER_MODE   0777        /* as everybody's; DIR above it is root's alone */
#define IMAGE_LEAST   (8LL << 20) /* an ext4 with a journal */
#define PROJECT_FIRST 0x57000000U /* of our quotas; others begin at small numbers */
#define PROJECT_LAST  0x57ffffffU
#define RESERVED      20 /* a part of the disk, one of so many, is never promised */
#define ABOUT_MOST    4096
#define FILE_SYSTEM   "ext4" /* in images */

static const char *const words[] = {
    [SIZE_ANY] = "", [SIZE_QUOTA] = "quota", [SIZE_IMAGE] = "image", [SIZE_NONE] = "none"};

bool size_by_read(struct str word, enum size_by *out)
{
    for (size_t i = 0; i < countof(words); i++) {
        if (str_eqz(word, words[i])) {
            *out = (enum size_by)i;
            return true;
        }
    }
    return false;
}

const char *size_by_word(enum size_by by)
{
    return words[by];
}

bool volume_store_split(struct str path, struct str *dir, struct str *name)
{
    ptrdiff_t last = str_rfind_char(path, '/');
    struct str above = str_sub(path, 0, (size_t)MAX(last, 0)), leaf = str_sub(path, (size_t)(last + 1), path.n);
    ptrdiff_t before = str_rfind_char(above, '/');
    if (last <= 0 || before <= 0 || !(str_eqz(leaf, "data") || str_eqz(leaf, "image")))
        return false;
    *dir = str_sub(above, 0, (size_t)before);
    *name = str_sub(above, (size_t)before + 1, above.n);
    return str_starts(*name, S("pvc-")) && str_find(path, S("/../")) < 0;
}

/* --- what is known of one --------------------------------------------------------------------------------------- */

static bool about_read(struct arena *a, int folder, struct stored_volume *out, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(ABOUT_MOST);
    if (!file_read(folder, "about", &b, err))
        return false;
    struct str rest = strbuf_str(&b), line, key, value;
    while (str_cut(&rest, '\n', &line)) {
        if (!str_split(line, ' ', &key, &value))
            continue;
        if (str_eqz(key, "size") && !str_to_i64(value, 0, INT64_MAX, &out->size))
            return err_set(err, E_INVALID, "about: size is no number");
        if (str_eqz(key, "by"))
            (void)size_by_read(value, &out->by);
        if (str_eqz(key, "block"))
            out->block = str_eqz(value, "true");
        if (str_eqz(key, "claim"))
            out->claim = str_dup(a, value);
    }
    return out->by != SIZE_ANY || err_set(err, E_INVALID, "about: it does not say what holds it to its size");
}

static bool about_write(int folder, const struct stored_volume *v, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(ABOUT_MOST);
    strbuf_addf(&b, "size %lld\nby %s\nblock %s\nclaim " STR_FMT "\n", (long long)v->size, size_by_word(v->by),
                v->block ? "true" : "false", STR_ARG(v->claim));
    return file_write(folder, "about", strbuf_str(&b), 0600, err);
}

static int64_t used_of(int folder, const struct stored_volume *v)
{
    struct stat st;
    int64_t used, limit;
    struct err ignored = ERR; /* then it is not known */
    if (v->by == SIZE_IMAGE)
        return fstatat(folder, "image", &st, AT_SYMLINK_NOFOLLOW) == 0 ? (int64_t)st.st_blocks * 512 : -1;
    AUTO(fd_close) int data = openat(folder, "data", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return v->by == SIZE_QUOTA && data >= 0 && quota_read(data, quota_project(data), &used, &limit, &ignored) ? used
                                                                                                              : -1;
}

void volume_list_fini(struct volume_list *l)
{
    array_fini(&l->list);
    array_fini(&l->left);
}

bool volume_store_list(struct arena *a, struct str dir, struct volume_list *out, struct err *err)
{
    const char *path = arena_strz(a, dir);
    DIR *d = opendir(path);
    if (!d)
        return errno == ENOENT || err_errno(err, "open %s", path);
    for (struct dirent *e; (e = readdir(d));) {
        struct str name = str_of(e->d_name);
        struct stored_volume v = {.name = str_dup(a, name)};
        struct err ignored = ERR; /* one that says nothing of itself is nobody's business here */
        if (str_starts(name, S(".new-pvc-")) || str_starts(name, S(".gone-pvc-")))
            array_push(&out->left, arena_fmt(a, "%s/%s", path, e->d_name));
        if (!str_starts(name, S("pvc-")))
            continue;
        AUTO(fd_close) int folder = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (folder < 0 || !about_read(a, folder, &v, &ignored))
            continue;
        v.published = faccessat(folder, "published", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
        v.used = used_of(folder, &v);
        array_push(&out->list, v);
    }
    (void)closedir(d);
    return true;
}

/* --- room ------------------------------------------------------------------------------------------------------- */

/* For people: "12Gi", "1.5Gi", "48Mi". */
static struct str size_words(struct arena *a, int64_t bytes)
{
    int64_t tenths = bytes / ((1LL << 30) / 10);
    if (bytes >= 1LL << 30)
        return tenths % 10 ? arena_fmt(a, "%lld.%lldGi", (long long)tenths / 10, (long long)tenths % 10)
                           : arena_fmt(a, "%lldGi", (long long)tenths / 10);
    return bytes >= 1 << 20 ? arena_fmt(a, "%lldMi", (long long)bytes >> 20)
                            : arena_fmt(a, "%lldKi", (long long)MAX(bytes, 0) >> 10);
}

bool volume_room_fits(const struct volume_room *r, int64_t percent, struct str dir, int64_t more, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    int64_t room = (int64_t)((__int128)(r->whole - r->whole / RESERVED - r->others) * percent / 100);
    if (room >= r->promised && more <= room - r->promised)
        return true;
    return err_set(err, E_UNAVAILABLE,
                   "no room below " STR_FMT " for " STR_FMT ": its disk of " STR_FMT " has " STR_FMT
                   " for volumes (others use " STR_FMT ", one part in %d is kept free), and " STR_FMT
                   " of it are promised to %zu volumes",
                   STR_ARG(dir), STR_ARG(size_words(&a, more)), STR_ARG(size_words(&a, r->whole)),
                   STR_ARG(size_words(&a, room)), STR_ARG(size_words(&a, r->others)), RESERVED,
                   STR_ARG(size_words(&a, r->promised)), r->volumes);
}

/* Bytes that volumes of `dir` really take. `except`: it is about to have another size. */
static bool promises_add(struct arena *a, struct str dir, struct str except, struct volume_room *r, int64_t *taken,
                         struct err *err)
{
    AUTO(volume_list_fini) struct volume_list all = {0};
    if (!volume_store_list(a, dir, &all, err))
        return false;
    array_each (v, &all.list) {
        *taken += MAX(v->used, 0);
        if (str_eq(v->name, except))
            continue;
        r->promised += v->size;
        r->volumes++;
    }
    return true;
}

/* Of what lies on the disk of `dir`, in whichever folder. */
static bool room_check(struct arena *a, const struct store_wish *w, int dir, struct str except, struct err *err)
{
    struct statvfs fs;
    struct stat own, st;
    struct volume_room r = {0};
    int64_t ours = 0;
    if (fstatvfs(dir, &fs) < 0 || fstat(dir, &own) < 0)
        return err_errno(err, "look at the room of " STR_FMT, STR_ARG(w->dir));
    if (!promises_add(a, w->dir, except, &r, &ours, err))
        return false;
    for (size_t i = 0; i < w->beside.n; i++) {
        bool same = !mount_is_remote(w->beside.p[i]) && stat(arena_strz(a, w->beside.p[i]), &st) == 0 &&
                    st.st_dev == own.st_dev && st.st_ino != own.st_ino; /* one that is not there has no volumes */
        if (same && !promises_add(a, w->beside.p[i], S(""), &r, &ours, err))
            return false;
    }
    r.whole = (int64_t)(fs.f_blocks * fs.f_frsize);
    /* what root alone may take is nobody's here */
    r.others = MAX(r.whole - (int64_t)(fs.f_bavail * fs.f_frsize) - ours, 0);
    return volume_room_fits(&r, w->percent, w->dir, w->size, err);
}

/* --- making ----------------------------------------------------------------------------------------------------- */

/* Numbers are a file system's: other folders of it, and what is being removed, may have some. */
static bool project_is_free(int dir, uint32_t project, struct err *err)
{
    int64_t used = 0, limit = 0;
    return quota_read(dir, project, &used, &limit, err) && !used && !limit;
}

static bool project_find(struct arena *a, struct str dir, int folder, uint32_t *out, struct err *err)
{
    AUTO(volume_list_fini) struct volume_list all = {0};
    uint32_t most = PROJECT_FIRST;
    if (!volume_store_list(a, dir, &all, err))
        return false;
    array_each (v, &all.list) {
        const char *path = arena_fmt(a, STR_FMT "/" STR_FMT "/data", STR_ARG(dir), STR_ARG(v->name)).p;
        AUTO(fd_close) int data = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        uint32_t project = data < 0 ? 0 : quota_project(data);
        if (project >= PROJECT_FIRST && project <= PROJECT_LAST)
            most = MAX(most, project);
    }
    while (++most <= PROJECT_LAST && !project_is_free(folder, most, err))
        if (err->kind)
            return false;
    *out = most;
    return most <= PROJECT_LAST || err_set(err, E_UNAVAILABLE, "no number is left for a project quota");
}

static bool folder_make(struct arena *a, const struct store_wish *w, const struct stored_volume *v, int folder,
                        struct err *err)
{
    uint32_t project;
    if ((mkdirat(folder, "data", 0700) < 0 && errno != EEXIST))
        return err_errno(err, "mkdir data");
    AUTO(fd_close) int data = openat(folder, "data", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (data < 0)
        return err_errno(err, "open data");
    if (v->by == SIZE_QUOTA &&
        (!project_find(a, w->dir, data, &project, err) || !quota_project_set(data, project, err) ||
         !quota_limit_set(data, project, v->size, err)))
        return false;
    return fchmod(data, FOLDER_MODE) == 0 || err_errno(err, "chmod data");
}

/* A new file system: nothing in it, and everybody's, as a folder is. mkfs has made root's, and a folder for what its
 * check may find, over which programs stumble that want theirs empty. */
static bool system_open(int image, struct err *err)
{
    AUTO(loopdev_close) struct loopdev d = {.fd = -1};
    if (!loopdev_attach(image, true, &d, err))
        return false;
    AUTO(fd_close) int root = mount_detached(FILE_SYSTEM, d.path, err);
    if (root < 0)
        return false;
    (void)unlinkat(root, "lost+found", AT_REMOVEDIR); /* one that stays is no harm */
    return fchmod(root, FOLDER_MODE) == 0 || err_errno(err, "chmod");
}

static bool image_make(const struct stored_volume *v, int folder, struct err *err)
{
    char own[40];
    AUTO(fd_close) int fd = openat(folder, "image", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || fault("node.volume.image", ENOSPC) || ftruncate(fd, v->size) < 0)
        return err_errno(err, "make an image of %lld bytes", (long long)v->size);
    (void)snprintf(own, sizeof own, "/proc/%d/fd/%d", (int)getpid(), fd);
    if (!v->block && (!device_format(own, FILE_SYSTEM, err) || !system_open(fd, err)))
        return false;
    return fsync(fd) == 0 || err_errno(err, "sync the image");
}

static bool way_choose(const struct store_wish *w, int dir, enum size_by *by, struct err *err)
{
    bool quota = quota_is_enforced(dir);
    *by = w->block ? SIZE_IMAGE : w->by != SIZE_ANY ? w->by : quota ? SIZE_QUOTA : SIZE_IMAGE;
    if (w->block && w->by != SIZE_ANY && w->by != SIZE_IMAGE)
        return err_set(err, E_INVALID, "size-by %s: a volume of volumeMode Block is an image", size_by_word(w->by));
    return *by != SIZE_QUOTA || quota ||
           err_set(err, E_INVALID,
                   "size-by quota: the file system of " STR_FMT
                   " has no project quotas: it must be an ext4 or xfs that is mounted with prjquota",
                   STR_ARG(w->dir));
}

static int dir_open(struct str dir, struct err *err)
{
    AUTO_FREE char *path = str_dupz(dir);
    if (!dir_make_synced(path, 0700, err))
        return -1;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        (void)err_errno(err, "open %s", path);
    return fd;
}

/* Of what is there. False with err untouched: it is not. */
static bool store_find(struct arena *a, int dir, struct str name, struct stored_volume *out, int *folder,
                       struct err *err)
{
    const char *z = arena_strz(a, name);
    *folder = openat(dir, z, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (*folder < 0)
        return errno == ENOENT ? false : err_errno(err, "open %s", z);
    *out = (struct stored_volume){.name = name};
    if (about_read(a, *folder, out, err))
        return true;
    fd_close(*folder);
    *folder = -1;
    return false;
}

static struct str path_of(struct arena *a, const struct store_wish *w, enum size_by by)
{
    return arena_fmt(a, STR_FMT "/" STR_FMT "/%s", STR_ARG(w->dir), STR_ARG(w->name),
                     by == SIZE_IMAGE ? "image" : "data");
}

static bool make_fresh(struct arena *a, const struct store_wish *w, int dir, struct stored_volume *v, struct err *err)
{
    const char *fresh = arena_fmt(a, ".new-" STR_FMT, STR_ARG(w->name)).p, *name = arena_strz(a, w->name);
    if (!tree_remove(dir, fresh, err)) /* of one that was cut off */
        return false;
    if (mkdirat(dir, fresh, 0700) < 0)
        return err_errno(err, "mkdir %s", fresh);
    AUTO(fd_close) int folder = openat(dir, fresh, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (folder < 0)
        return err_errno(err, "open %s", fresh);
    fault_pass("node.provision.made");
    if (!(v->by == SIZE_IMAGE ? image_make(v, folder, err) : folder_make(a, w, v, folder, err)) ||
        !about_write(folder, v, err))
        return false;
    fault_pass("node.provision.rename");
    if (fsync(folder) < 0 || renameat(dir, fresh, dir, name) < 0 || fsync(dir) < 0)
        return err_errno(err, "rename %s", fresh);
    fault_pass("node.provision.renamed");
    return true;
}

bool volume_store_make(struct arena *a, const struct store_wish *w, struct str *path, int64_t *size, struct err *err)
{
    struct stored_volume v;
    struct err wrong = ERR;
    AUTO(fd_close) int folder = -1;
    AUTO(fd_close) int dir = dir_open(w->dir, err);
    if (dir < 0)
        return false;
    if (store_find(a, dir, w->name, &v, &folder, &wrong)) {
        *path = path_of(a, w, v.by);
        *size = v.size;
        return true;
    }
    if (wrong.kind)
        return *err = wrong, false;
    v = (struct stored_volume){.name = w->name, .claim = w->claim, .block = w->block, .size = w->size};
    if (!way_choose(w, dir, &v.by, err) || !room_check(a, w, dir, S(""), err))
        return false;
    v.size = v.by == SIZE_IMAGE ? MAX((v.size + 4095) / 4096 * 4096, IMAGE_LEAST) : v.size;
    if (!make_fresh(a, w, dir, &v, err)) {
        struct err ignored = ERR; /* what was begun goes with the next try, or the next start */
        (void)!tree_remove(dir, arena_fmt(a, ".new-" STR_FMT, STR_ARG(w->name)).p, &ignored);
        return false;
    }
    *path = path_of(a, w, v.by);
    *size = v.size;
    return true;
}

/* --- growing ---------------------------------------------------------------------------------------------------- */

static bool system_grow(int image, struct err *err)
{
    AUTO(loopdev_close) struct loopdev d = {.fd = -1};
    return loopdev_attach(image, true, &d, err) && loopdev_resize(d.fd, err) && device_fill(d.path, err);
}

static bool image_grow(int folder, const struct stored_volume *v, struct err *err)
{
    AUTO(fd_close) int lock = openat(folder, "image", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    AUTO(fd_close) int fd = openat(folder, "image", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    AUTO(loopdev_close) struct loopdev d = {.fd = -1};
    struct stat st;
    if (lock < 0 || fd < 0 || flock(lock, LOCK_EX) < 0 || fstat(fd, &st) < 0)
        return err_errno(err, "open the image");
    if (st.st_size < v->size && (fault("node.volume.grow", ENOSPC) || ftruncate(fd, v->size) < 0))
        return err_errno(err, "make the image larger");
    if (!v->block)
        return system_grow(fd, err);
    return !loopdev_find(fd, &d) || loopdev_resize(d.fd, err);
}

bool volume_store_grow(const struct store_wish *w, int64_t *size, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct stored_volume v;
    AUTO(fd_close) int folder = -1;
    AUTO(fd_close) int dir = dir_open(w->dir, err);
    if (dir < 0)
        return false;
    if (!store_find(&a, dir, w->name, &v, &folder, err))
        return err->kind
                   ? false
                   : err_set(err, E_NOT_FOUND, STR_FMT "/" STR_FMT " is gone", STR_ARG(w->dir), STR_ARG(w->name));
    if (v.size < w->size) {
        if (!room_check(&a, w, dir, w->name, err))
            return false;
        v.size = v.by == SIZE_IMAGE ? (w->size + 4095) / 4096 * 4096 : w->size;
        if (!about_write(folder, &v, err)) /* promised first, so that nobody else gets it meanwhile */
            return false;
    }
    fault_pass("node.provision.grow");
    *size = v.size;
    if (v.by == SIZE_IMAGE)
        return image_grow(folder, &v, err);
    if (v.by != SIZE_QUOTA)
        return true;
    AUTO(fd_close) int data = openat(folder, "data", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return data < 0 ? err_errno(err, "open data") : quota_limit_set(data, quota_project(data), v.size, err);
}

/* --- publishing, going ------------------------------------------------------------------------------------------ */

bool volume_store_publish(struct str dir, struct str name, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    const char *path = arena_fmt(&a, STR_FMT "/" STR_FMT "/published", STR_ARG(dir), STR_ARG(name)).p;
    AUTO(fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd >= 0 || err_errno(err, "create %s", path);
}

static bool is_attached(int folder)
{
    AUTO(loopdev_close) struct loopdev d = {.fd = -1};
    AUTO(fd_close) int image = openat(folder, "image", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return image >= 0 && loopdev_find(image, &d);
}

bool volume_store_drop(struct arena *a, struct str dir, struct str name, struct str *gone, struct err *err)
{
    struct stored_volume v;
    AUTO(fd_close) int folder = -1;
    const char *z = arena_strz(a, dir), *now = arena_strz(a, name);
    AUTO(fd_close) int at = open(z, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct err wrong = ERR;
    *gone = S("");
    if (at < 0)
        return errno == ENOENT || err_errno(err, "open %s", z);
    const char *then = arena_fmt(a, ".gone-" STR_FMT, STR_ARG(name)).p;
    if (!store_find(a, at, name, &v, &folder, &wrong)) {
        if (wrong.kind) /* what does not say that it is a volume is not removed */
            return *err = wrong, false;
    } else {
        if (is_attached(folder))
            return err_set(err, E_CONFLICT, "%s/%s is in use: its image has a loop device", z, now);
        AUTO(fd_close) int data = openat(folder, "data", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        struct err ignored = ERR; /* a number that nobody has any more limits nobody */
        if (v.by == SIZE_QUOTA && data >= 0 && quota_project(data))
            (void)!quota_limit_set(data, quota_project(data), 0, &ignored);
        fault_pass("node.provision.drop");
        if (fault("node.volume.drop", EIO) || renameat(at, now, at, then) < 0 || fsync(at) < 0)
            return err_errno(err, "rename %s/%s", z, now);
        fault_pass("node.provision.dropped");
    }
    *gone = arena_fmt(a, "%s/%s", z, then);
    return true;
}
