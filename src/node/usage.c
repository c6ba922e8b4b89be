#include "api/quantity.h"
#include "base/clock.h"
#include "node/agent_int.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOOK_EVERY   (10 * NS_PER_S) /* as a kubelet does: nobody tells of a file that grows */
#define LOOK_PART    20              /* and no more than this part of the time */
#define DEPTH_MOST   200
#define ENTRIES_MOST 4000000

/* What the emptyDir volumes of a pod take of the disk, beside their sizeLimit: a pod that is over it is evicted
 * (kubelet: eviction manager, localStorageEviction). */
struct limited {
    struct str name, path, text;
    int64_t limit;
    bool over;
};
struct usage_look {
    struct job job;
    struct agent_pod *ap;
    struct arena arena;
    ARRAY(struct limited) volumes;
    int64_t began;
};

struct count {
    int64_t bytes;
    size_t entries;
    bool hidden; /* some lie deeper, or there are more, than anybody counts: they may be any size */
};

/* What tenants have put there is walked by descriptors, and no link is followed. */
static void count_below(int own_fd, int depth, struct count *c)
{
    DIR *dir = fdopendir(own_fd);
    if (!dir) {
        (void)close(own_fd); /* nothing was written */
        return;              /* it went away meanwhile, and what it held with it */
    }
    for (struct dirent *e; !c->hidden && (e = readdir(dir));) {
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        c->hidden = ++c->entries > ENTRIES_MOST || (S_ISDIR(st.st_mode) && depth == DEPTH_MOST);
        c->bytes += (int64_t)st.st_blocks * 512 / (S_ISDIR(st.st_mode) ? 1 : MAX((int64_t)st.st_nlink, 1));
        int fd = S_ISDIR(st.st_mode) && !c->hidden
                     ? openat(dirfd(dir), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                     : -1;
        if (fd >= 0)
            count_below(fd, depth + 1, c);
    }
    (void)closedir(dir);
}

static void look_work(struct job *j)
{
    struct usage_look *l = container_of(j, struct usage_look, job);
    array_each (v, &l->volumes) {
        struct count c = {0};
        int fd = open(v->path.p, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0)
            count_below(fd, 0, &c);
        v->over = c.hidden || c.bytes > v->limit;
    }
}

static void pod_over_limit(struct agent_pod *ap, const struct limited *v)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str message = arena_fmt(&a, "Usage of EmptyDir volume \"" STR_FMT "\" exceeds the limit \"" STR_FMT "\". ",
                                   STR_ARG(v->name), STR_ARG(v->text));
    agent_event(ap, -1, true, "Evicted", message);
    pod_evict(ap->facts, message, clock_mono());
}

static void look_done(struct job *j)
{
    struct usage_look *l = container_of(j, struct usage_look, job);
    struct agent_pod *ap = l->ap;
    bool active = ap->pod->state == POD_ACTIVE && !pod_is_to_end(ap->pod);
    array_each (v, &l->volumes) {
        if (v->over && active) {
            pod_over_limit(ap, v);
            active = false;
        }
    }
    if (active)
        timer_set(&ap->usage, MAX(LOOK_EVERY, LOOK_PART * (clock_mono() - l->began)));
    array_fini(&l->volumes);
    arena_fini(&l->arena);
    mem_free(l);
    agent_pod_release(ap);
}

void usage_look(struct agent_pod *ap)
{
    struct usage_look *l = NEW(struct usage_look);
    l->ap = ap;
    l->began = clock_mono();
    val_each_item (v, val_get(obj_spec(ap->pod->obj), N(volumes))) {
        struct str limit = val_text_at(v, N(emptyDir), N(sizeLimit)), name = val_text_at(v, N(name)), path;
        bool read_only;
        if (limit.n && quantity_value(limit) > 0 && !val_text_at(v, N(emptyDir), N(medium)).n &&
            volumes_path(ap, &l->arena, name, &path, &read_only))
            array_push(&l->volumes, ((struct limited){str_dup(&l->arena, name), path, str_dup(&l->arena, limit),
                                                      quantity_value(limit), false}));
    }
    if (!l->volumes.n) {
        array_fini(&l->volumes);
        arena_fini(&l->arena);
        mem_free(l);
        return;
    }
    ap->pending++;
    agent_job_long(ap->agent, &l->job, look_work, look_done);
}
