#include "node/disk_use.h"
#include "base/clock.h"
#include "node/agent_int.h"
#include "node/csi.h"
#include "node/csi_proto.h"
#include "node/disk_use_int.h"
#include "sys/quota.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define DEPTH_MOST   200
#define ENTRIES_MOST 4000000
#define LOOKS_MOST   3 /* counts under way at once, of all pods */

/* --- counting: blocking -------------------------------------------------------------------------------------- */

struct disk_tally {
    int64_t bytes;
    size_t entries;
    dev_t dev;
    bool hidden;
};

/* What tenants have put there is walked by descriptors; no link is followed and no mount entered. A file with several
 * names is a part of itself at each. */
static void tally_below(int own_fd, int depth, struct disk_tally *c)
{
    DIR *dir = fdopendir(own_fd);
    if (!dir) {
        (void)close(own_fd); /* nothing was written */
        return;              /* it went away meanwhile, and what it held with it */
    }
    for (struct dirent *e; !c->hidden && (e = readdir(dir));) {
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_dev != c->dev)
            continue;
        c->hidden = ++c->entries > ENTRIES_MOST || (S_ISDIR(st.st_mode) && depth == DEPTH_MOST);
        c->bytes += (int64_t)st.st_blocks * 512 / (S_ISDIR(st.st_mode) ? 1 : MAX((int64_t)st.st_nlink, 1));
        int fd = S_ISDIR(st.st_mode) && !c->hidden
                     ? openat(dirfd(dir), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                     : -1;
        if (fd >= 0)
            tally_below(fd, depth + 1, c);
    }
    (void)closedir(dir);
}

static bool project_read(int fd, struct disk_use_part *p)
{
    struct err none = ERR; /* then it is walked */
    int64_t limit;
    uint32_t project = quota_project(fd);
    return project && quota_is_enforced(fd) && quota_read(fd, project, &p->bytes, &limit, &none);
}

void disk_part_count(const char *path, struct disk_use_part *p)
{
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    p->bytes = p->inodes = 0;
    p->hidden = false;
    if (fd < 0 || fstat(fd, &st) < 0 || project_read(fd, p))
        return;
    struct disk_tally c = {.bytes = (int64_t)st.st_blocks * 512, .entries = 1, .dev = st.st_dev};
    tally_below(TAKE_FD(fd), 0, &c);
    p->bytes = c.bytes;
    p->inodes = (int64_t)c.entries;
    p->hidden = c.hidden;
}

bool disk_room_read(const char *path, struct disk_room *out)
{
    struct statvfs v;
    *out = (struct disk_room){0};
    if (statvfs(path, &v) < 0)
        return false;
    int64_t unit = (int64_t)v.f_frsize;
    out->capacity = (int64_t)v.f_blocks * unit;
    out->available = (int64_t)v.f_bavail * unit;
    out->used = (int64_t)(v.f_blocks - v.f_bfree) * unit;
    out->inodes = (int64_t)v.f_files;
    out->inodes_free = (int64_t)v.f_ffree;
    out->inodes_used = (int64_t)(v.f_files - v.f_ffree);
    return true;
}

/* --- one pod's ----------------------------------------------------------------------------------------------- */

struct disk_waiter {
    struct agent_pod *ap;
    disk_use_done *done;
    void *arg;
};
struct disk_look_part {
    struct disk_use_part part;
    struct str path;
};
/* One count of one pod: its own folders, or what is mounted for it. */
struct disk_look {
    struct job job;
    struct agent_pod *ap;
    struct arena arena;
    bool mounts;
    ARRAY(struct disk_look_part) parts;
};
struct disk_kept {
    struct disk_use use;
    struct arena arena; /* of its names */
    bool known, busy;
};
struct disk_pod {
    struct disk_kept own, mounts;
    ARRAY(struct disk_waiter) waiters;
    struct list queued; /* in the agent's list of pods to be counted */
    struct agent_pod *ap;
};

static struct disk_pod *disk_of(struct agent_pod *ap)
{
    if (!ap->disk) {
        ap->disk = NEW(struct disk_pod);
        ap->disk->ap = ap;
        list_init(&ap->disk->queued);
    }
    return ap->disk;
}

static void kept_fini(struct disk_kept *k)
{
    array_fini(&k->use.parts);
    arena_fini(&k->arena);
}

void disk_use_forget(struct agent_pod *ap)
{
    if (!ap->disk)
        return;
    list_del(&ap->disk->queued);
    array_fini(&ap->disk->waiters);
    kept_fini(&ap->disk->own);
    kept_fini(&ap->disk->mounts);
    mem_free(ap->disk);
    ap->disk = NULL;
}

static void look_add(struct disk_look *l, int what, struct str name, struct str path, bool local)
{
    struct disk_look_part p = {.part = {.what = what, .name = str_dup(&l->arena, name), .local = local},
                               .path = str_dup(&l->arena, path)};
    array_push(&l->parts, p);
}

static void containers_gather(struct disk_look *l)
{
    struct agent_pod *ap = l->ap;
    array_each (ac, &ap->containers) {
        struct str name = ap->pod->containers.p[(*ac)->index].name;
        if ((*ac)->run)
            look_add(l, DISK_ROOTFS, name, container_folder((*ac)->run, &l->arena), true);
        look_add(l, DISK_LOGS, name, STR_JOIN(&l->arena, ap->log_dir, S("/"), name), true);
    }
}

static void volumes_gather(struct disk_look *l)
{
    struct agent_pod *ap = l->ap;
    val_each_item (v, val_get(obj_spec(ap->pod->obj), N(volumes))) {
        struct err ignored = ERR; /* one of no known type has no files */
        const struct volume_type *type = volume_type_of(v, &ignored);
        struct str name = val_text_at(v, N(name)), path;
        bool read_only, mounted = type && (type->place == VOLUME_MOUNT || type->place == VOLUME_MEMORY);
        if (!type || type->place == VOLUME_HOST || mounted != l->mounts ||
            !volumes_path(ap, &l->arena, name, &path, &read_only))
            continue;
        if (type->place == VOLUME_MEMORY && !ap->sandbox)
            continue;
        if (type->place == VOLUME_MEMORY) /* it is mounted where the pod is, not here */
            path = arena_fmt(&l->arena, "/proc/%d/root" STR_FMT, (int)sandbox_pid(ap->sandbox), STR_ARG(path));
        look_add(l, DISK_VOLUME, name, path, type->place == VOLUME_DATA);
        l->parts.p[l->parts.n - 1].part.mounted = mounted;
    }
}

static void look_work(struct job *j)
{
    struct disk_look *l = container_of(j, struct disk_look, job);
    array_each (p, &l->parts) {
        if (!l->mounts)
            disk_part_count(p->path.p, &p->part);
        if (p->part.what == DISK_VOLUME && !disk_room_read(p->path.p, &p->part.room))
            p->part.hidden = l->mounts; /* what is mounted does not answer */
        if (l->mounts) {
            p->part.bytes = p->part.room.used;
            p->part.inodes = p->part.room.inodes_used;
        }
    }
}

static struct disk_use_part *kept_find(struct disk_kept *k, struct str volume)
{
    array_each (p, &k->use.parts)
        if (p->what == DISK_VOLUME && str_eq(p->name, volume))
            return p;
    return NULL;
}

/* What a driver says holds until it says something else. */
static void driver_keep(struct disk_kept *k, struct disk_use_part *p)
{
    const struct disk_use_part *was = kept_find(k, p->name);
    struct str name = p->name;
    if (!was || !was->by_driver)
        return;
    *p = *was;
    p->name = name;
}

static void kept_set(struct disk_kept *k, struct disk_look *l)
{
    array_each (p, &l->parts)
        driver_keep(k, &p->part);
    kept_fini(k);
    *k = (struct disk_kept){.known = true, .use = {.at = clock_mono(), .at_real = clock_real()}};
    array_each (p, &l->parts) {
        struct disk_use_part part = p->part;
        part.name = str_dup(&k->arena, part.name);
        array_push(&k->use.parts, part);
    }
}

static void look_free(struct disk_look *l)
{
    array_fini(&l->parts);
    arena_fini(&l->arena);
    mem_free(l);
}

static void waiters_tell(struct agent_pod *ap)
{
    struct disk_pod *d = ap->disk;
    __typeof__(d->waiters) waiters = d->waiters;
    d->waiters = (__typeof__(d->waiters)){0}; /* one that is told may ask again */
    array_each (w, &waiters)
        w->done(w->arg, ap, ap->dead ? NULL : &d->own.use);
    for (size_t i = 0; i < waiters.n; i++)
        agent_pod_release(ap);
    array_fini(&waiters);
}

static void driver_told(struct agent_pod *ap, struct str volume, const struct csi_usage *u)
{
    struct disk_use_part *p = ap->disk ? kept_find(&ap->disk->mounts, volume) : NULL;
    if (!p)
        return;
    p->by_driver = true;
    p->hidden = false;
    p->sick_known = u->condition_known;
    p->sick = u->abnormal;
    p->bytes = u->bytes_used;
    p->inodes = u->inodes_used;
    p->room = (struct disk_room){u->bytes, u->bytes_free, u->bytes_used, u->inodes, u->inodes_free, u->inodes_used};
}

static void looks_go_on(struct agent *g);

static void look_done(struct job *j)
{
    struct disk_look *l = container_of(j, struct disk_look, job);
    struct agent_pod *ap = l->ap;
    struct agent *g = ap->agent;
    kept_set(l->mounts ? &ap->disk->mounts : &ap->disk->own, l);
    if (!l->mounts) {
        g->disk_looks--;
        waiters_tell(ap);
    } else if (!ap->dead) {
        csi_stats(ap, driver_told);
    }
    look_free(l);
    agent_pod_release(ap);
    looks_go_on(g);
}

static void look_start(struct agent_pod *ap, bool mounts)
{
    struct disk_look *l = NEW(struct disk_look);
    *l = (struct disk_look){.ap = ap, .mounts = mounts};
    if (!mounts)
        containers_gather(l);
    volumes_gather(l);
    ap->pending++;
    (mounts ? &ap->disk->mounts : &ap->disk->own)->busy = true;
    agent_job_long(ap->agent, &l->job, look_work, look_done);
}

static void looks_go_on(struct agent *g)
{
    struct disk_pod *d;
    while (g->disk_looks < LOOKS_MOST && (d = list_first(&g->disk_queue, struct disk_pod, queued))) {
        list_del(&d->queued);
        g->disk_looks++;
        look_start(d->ap, false);
    }
}

static void waiter_told(void *arg)
{
    struct disk_waiter *w = arg;
    struct agent_pod *ap = w->ap;
    w->done(w->arg, ap, ap->dead ? NULL : disk_use_last(ap));
    agent_pod_release(ap);
    mem_free(w);
}

void disk_use_ask(struct agent_pod *ap, int64_t fresh_ns, disk_use_done *done, void *arg)
{
    struct disk_pod *d = disk_of(ap);
    struct disk_waiter w = {ap, done, arg};
    ap->pending++;
    if (d->own.known && clock_mono() - d->own.use.at <= fresh_ns) {
        loop_post(ap->agent->cfg.loop, waiter_told, mem_dup(&w, sizeof w));
        return;
    }
    array_push(&d->waiters, w);
    if (d->own.busy || !list_empty(&d->queued))
        return;
    list_add_tail(&ap->agent->disk_queue, &d->queued);
    looks_go_on(ap->agent);
}

const struct disk_use *disk_use_last(const struct agent_pod *ap)
{
    return ap->disk && ap->disk->own.known ? &ap->disk->own.use : NULL;
}

const struct disk_use *disk_use_mounts(struct agent_pod *ap, int64_t fresh_ns)
{
    struct disk_kept *k = &disk_of(ap)->mounts;
    if (!k->busy && !ap->dead && (!k->known || clock_mono() - k->use.at > fresh_ns))
        look_start(ap, true);
    return k->known ? &k->use : NULL;
}

int64_t disk_use_local(const struct disk_use *use, bool *hidden)
{
    int64_t bytes = 0;
    array_each (p, &use->parts) {
        bytes += p->local ? p->bytes : 0;
        *hidden = *hidden || (p->local && p->hidden);
    }
    return bytes;
}
