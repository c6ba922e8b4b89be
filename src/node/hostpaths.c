/* What pods want of the host's disks. Which file system a hostPath lies on is the user's choice, and one that is dead
 * (an NFS server that is gone, a FUSE program that hangs) holds whoever looks at it, for ever and in the kernel. So
 * every look at such a path is a job apart (sys/loop.h): it holds up the pod that asked and nobody else. A pod that
 * is to go does not wait for its look: it lets go of it, and whatever the look brings home one day is thrown away.
 *
 * There are two looks: `check`, as a part of setting up the pod's volumes, tests and makes the paths. Where volumes
 * have failed, the pod is tried again with growing gaps, as every pod whose volumes fail; `wait` finds the first path
 * that is missing and has the nearest folder above it watched besides, so that the pod starts as soon as it appears.
 */
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "node/agent_int.h"
#include "node/csi.h"
#include "node/volume_mount.h"
#include <stdatomic.h>
#include <sys/inotify.h>
#include <unistd.h>

#define SILENT (10 * NS_PER_S) /* then people are told what the pod waits for */

struct host_look {
    struct job job;
    struct agent *agent;
    struct agent_pod *ap; /* NULL: it has let go */
    struct arena arena;
    struct host_path *paths;
    size_t n;
    struct str mounts_dir; /* empty: nothing is mounted */
    _Atomic size_t at;     /* the path that is being looked at */
    /* check: */
    struct timer silent;
    hostpaths_done *done;
    /* wait: */
    const char *missing; /* in the arena; NULL: none */
    bool came;           /* it is there after all */
    bool news;           /* something was told of the host's folders meanwhile */
};

static void look_free(struct host_look *k)
{
    timer_stop(&k->silent);
    arena_fini(&k->arena);
    mem_free(k);
}

static void mount_copy(struct arena *a, const struct volume_mount *m, struct host_path *out)
{
    struct str *options = arena_alloc(a, (m->options.n + 1) * sizeof *options);
    for (size_t i = 0; i < m->options.n; i++)
        options[i] = str_dup(a, m->options.p[i]);
    *out = (struct host_path){.volume = str_dup(a, m->name), .mount = *m};
    struct str *texts[] = {&out->mount.called,  &out->mount.path,   &out->mount.host_type, &out->mount.server,
                           &out->mount.fs_type, &out->mount.target, &out->mount.name};
    for (size_t i = 0; i < countof(texts); i++)
        *texts[i] = str_dup(a, *texts[i]);
    out->mount.options.p = options;
}

static struct host_look *look_new(struct agent_pod *ap, const struct volume_mounts *mounts)
{
    size_t nmounts = mounts ? mounts->n : 0;
    struct host_look *k = NEW(struct host_look);
    const struct val *volumes = val_get(obj_spec(ap->pod->obj), N(volumes));
    k->agent = ap->agent;
    k->ap = ap;
    k->paths = arena_alloc(&k->arena, (val_len(volumes) + nmounts + 1) * sizeof *k->paths);
    k->mounts_dir = nmounts ? str_dup(&k->arena, ap->mounts_dir) : STR_NONE;
    val_each_item (v, volumes) {
        const struct val *source = val_get(v, N(hostPath));
        if (source)
            k->paths[k->n++] = (struct host_path){.volume = str_dup(&k->arena, val_text_at(v, N(name))),
                                                  .path = str_dup(&k->arena, val_text_at(source, N(path))),
                                                  .type = str_dup(&k->arena, val_text_at(source, N(type)))};
    }
    for (size_t i = 0; i < nmounts; i++)
        mount_copy(&k->arena, &mounts->list[i], &k->paths[k->n++]);
    return k;
}

/* --- check ------------------------------------------------------------------------------------------------------ */

static void check_work(struct job *j)
{
    struct host_look *k = container_of(j, struct host_look, job);
    for (size_t i = 0; i < k->n; i++) {
        struct host_path *p = &k->paths[i];
        const struct volume_work w = {.place = VOLUME_HOST, .path = p->path, .host_type = p->type};
        atomic_store(&k->at, i);
        fault_pass("node.hostpath");
        p->ok = p->mount.target.n ? volume_mount(&p->mount, &p->err) : volume_setup(&w, &p->err);
    }
}

/* The pod let go, and nobody else knows what has been mounted for it meanwhile. */
static void unmount_work(struct job *j)
{
    struct host_look *k = container_of(j, struct host_look, job);
    struct err err = ERR;
    if (!volume_mounts_remove(k->mounts_dir.p, &err))
        log_warn("pod.volumes", "left behind: error=\"%s\"", err.text);
}

static void unmount_done(struct job *j)
{
    look_free(container_of(j, struct host_look, job));
}

static void check_over(struct host_look *k)
{
    struct agent_pod *ap = k->ap;
    if (!ap && k->mounts_dir.n) {
        agent_job_long(k->agent, &k->job, unmount_work, unmount_done);
        return;
    }
    if (ap) {
        ap->host_check = NULL;
        k->done(ap, k->paths, k->n);
    }
    look_free(k);
}

static void check_done(struct job *j)
{
    check_over(container_of(j, struct host_look, job));
}

static void on_silent(struct timer *t)
{
    struct host_look *k = container_of(t, struct host_look, silent);
    const struct host_path *p = &k->paths[atomic_load(&k->at)];
    const struct volume_mount *m = &p->mount;
    agent_eventf(k->ap, -1, true, "FailedMount",
                 "MountVolume.SetUp failed for volume \"" STR_FMT "\" : %s" STR_FMT "%s" STR_FMT
                 " does not answer; the pod waits until it does",
                 STR_ARG(m->target.n ? m->called : p->volume),
                 m->server.n   ? "NFS server "
                 : m->target.n ? "what lies at "
                               : "the file system of hostPath ",
                 STR_ARG(m->server), m->server.n ? ":" : "", STR_ARG(m->target.n ? m->path : p->path));
}

void hostpaths_check(struct agent_pod *ap, const struct volume_mounts *mounts, hostpaths_done *done)
{
    struct host_look *k = look_new(ap, mounts);
    struct err err = ERR;
    ASSERT(!ap->host_check);
    k->done = done;
    timer_init(&k->silent, ap->agent->cfg.loop, on_silent);
    if (k->n && job_start_apart(&k->job, ap->agent->cfg.loop, check_work, check_done, &err)) {
        ap->host_check = k;
        timer_set(&k->silent, SILENT);
        return;
    }
    for (size_t i = 0; i < k->n; i++)
        k->paths[i].err = err;
    check_over(k);
}

bool hostpaths_let_go(struct agent_pod *ap)
{
    if (!ap->host_check)
        return false;
    timer_stop(&ap->host_check->silent);
    ap->host_check->ap = NULL;
    ap->host_check = NULL;
    return true;
}

/* --- wait ------------------------------------------------------------------------------------------------------- */

static bool is_there(const char *path)
{
    fault_pass("node.hostpath");
    return access(path, F_OK) == 0;
}

/* The nearest folder above `path` that exists; any change in it may be the next part of the path. */
static bool watch_above(struct inotify *watches, const char *path)
{
    AUTO_FREE char *z = str_dupz(str_of(path));
    struct err err = ERR;
    do {
        char *slash = strrchr(z, '/');
        if (!slash)
            return false;
        slash[slash == z] = 0;
    } while (!is_there(z));
    if (inotify_add(watches, z, IN_CREATE | IN_MOVED_TO | IN_ATTRIB | IN_ONESHOT, &err) >= 0)
        return true;
    log_debug("pod.hostpath", "path=%s error=\"%s\"", z, err.text); /* the growing gaps remain */
    return false;
}

bool hostpaths_watch(struct agent *g, const char *path)
{
    return g->watches_paths && watch_above(&g->hostpaths, path) && is_there(path);
}

static void wait_work(struct job *j)
{
    struct host_look *k = container_of(j, struct host_look, job);
    for (size_t i = 0; i < k->n && !k->missing; i++) {
        const char *path = arena_strz(&k->arena, k->paths[i].path);
        if (path[0] && !is_there(path))
            k->missing = path;
    }
    /* it may come while the watch is being made */
    k->came = k->missing && watch_above(&k->agent->hostpaths, k->missing) && is_there(k->missing);
}

static void wait_done(struct job *j);

static void wait_start(struct agent_pod *ap)
{
    struct host_look *k = look_new(ap, NULL);
    struct err err = ERR;
    timer_init(&k->silent, ap->agent->cfg.loop, on_silent); /* check has told already */
    if (k->n && job_start_apart(&k->job, ap->agent->cfg.loop, wait_work, wait_done, &err)) {
        ap->host_wait = k;
        return;
    }
    if (k->n) /* the growing gaps remain */
        log_warn("pod.hostpath", "pod=" NAMED_FMT " error=\"%s\"", NAMED_ARG(ap->pod), err.text);
    look_free(k);
}

static void wait_done(struct job *j)
{
    struct host_look *k = container_of(j, struct host_look, job);
    struct agent_pod *ap = k->ap;
    if (ap) {
        bool was_waiting = ap->host_waits;
        ap->host_wait = NULL;
        ap->host_waits = k->missing && !k->came;
        if (k->came || (was_waiting && !k->missing)) {
            pod_retry(ap->facts);
            agent_pod_kick(ap);
        } else if (k->news && k->missing) {
            wait_start(ap);
        }
    }
    look_free(k);
}

void hostpaths_wait(struct agent_pod *ap, bool failed)
{
    ap->host_waits = false;
    if (failed && ap->agent->watches_paths && !ap->host_wait)
        wait_start(ap);
}

void hostpaths_forget(struct agent_pod *ap)
{
    (void)hostpaths_let_go(ap);
    if (ap->host_wait)
        ap->host_wait->ap = NULL;
    ap->host_wait = NULL;
    ap->host_waits = false;
}

static void on_change(struct inotify *i, int watch, uint32_t mask, struct str name)
{
    struct agent *g = container_of(i, struct agent, hostpaths);
    (void)name;
    if (mask & IN_IGNORED)
        return;
    if (watch == g->names_watch) {
        images_came(g);
        return;
    }
    csi_flex_look(g->csi);
    map_each (e, &g->by_uid) { /* each watch ends with its first news: whoever waits looks again */
        struct agent_pod *ap = e->value;
        if (ap->host_wait)
            ap->host_wait->news = true;
        else if (ap->host_waits)
            wait_start(ap);
    }
}

void hostpaths_start(struct agent *g)
{
    struct err err = ERR;
    g->watches_paths = inotify_start(&g->hostpaths, g->cfg.loop, on_change, &err);
    if (!g->watches_paths)
        log_warn("node.hostpaths", "paths of the host are looked for with growing gaps alone: error=\"%s\"",
                 err.text);
    AUTO(arena_fini) struct arena a = ARENA;
    struct str refs = arena_fmt(&a, "%s/refs", g->cfg.content);
    g->names_watch = g->watches_paths ? inotify_add(&g->hostpaths, refs.p, IN_MOVED_TO, &err) : -1;
    if (g->watches_paths && g->names_watch < 0)
        log_warn("node.images", "images that are loaded are looked for with growing gaps alone: error=\"%s\"",
                 err.text);
}

void hostpaths_stop(struct agent *g)
{
    if (g->watches_paths)
        inotify_stop(&g->hostpaths);
    g->watches_paths = false;
}
