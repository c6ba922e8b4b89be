/* What a crash left, and other hands did: a job for each folder of volumes lists it, the loop compares it with
 * the objects. What
 * is half made or half gone is taken away, what has a volume is marked as published, and a volume whose files are
 * gone is told of. */
#include "base/clock.h"
#include "base/log.h"
#include "node/provision_int.h"
#include "node/provision_plan.h"
#include "sys/file.h"
#include "sys/mount_tree.h"
#include <fcntl.h>

#define SWEEP_AFTER NS_PER_S       /* of what changed in the folder by other hands */
#define MEND_AGAIN  (5 * NS_PER_S) /* on a disk that is full, say */

void provision_sweep_soon(struct provisioner *p)
{
    timer_set(&p->sweep, SWEEP_AFTER);
}

struct provision_sweep {
    struct job job;
    struct provisioner *p;
    struct arena arena;
    struct str dir;
    struct volume_list all;
    /* other: it is a class's; skipped: and lies on another machine, which may not answer, and may have other users */
    bool first, ok, other, skipped;
    struct err err;
};

static void sweep_work(struct job *j)
{
    struct provision_sweep *s = container_of(j, struct provision_sweep, job);
    struct err err = ERR;
    s->skipped = s->other && mount_is_remote(s->dir);
    if (s->skipped)
        return;
    s->ok = volume_store_list(&s->arena, s->dir, &s->all, &s->err);
    /* what was half made is removed at once, and is small: the next in the lane may be about to make it anew */
    for (size_t i = 0; s->first && i < s->all.left.n; i++)
        if (str_find(s->all.left.p[i], S("/.new-pvc-")) >= 0 && !tree_remove(AT_FDCWD, s->all.left.p[i].p, &err))
            log_warn("provision.remove", "path=" STR_FMT " error=\"%s\"", STR_ARG(s->all.left.p[i]), err.text);
}

static bool is_claimed(struct provisioner *p, struct str volume)
{
    struct objset_iter it = objset_all(cache_set(p->claims));
    for (struct obj *o; (o = objset_next(&it));)
        if (str_ends(volume, o->uid) && volume.n == o->uid.n + 4)
            return true;
    return false;
}

struct provision_mend {
    struct job job;
    struct arena arena;
    struct str dir, gone;
    ARRAY(struct str) publish, drop;
    bool failed; /* one is not marked as published: without its object it would be taken for what nobody wants */
    struct provisioner *p;
};

static void mend_work(struct job *j)
{
    struct provision_mend *m = container_of(j, struct provision_mend, job);
    struct err err = ERR;
    array_each (name, &m->publish) {
        bool ok = volume_store_publish(m->dir, *name, &err);
        m->failed = m->failed || !ok;
        if (!ok)
            log_warn("provision.mend", "error=\"%s\"", err.text);
    }
    array_each (name, &m->drop) {
        struct str gone;
        if (!volume_store_drop(&m->arena, m->dir, *name, &gone, &err) ||
            (gone.n && !tree_remove(AT_FDCWD, gone.p, &err)))
            log_warn("provision.mend", "error=\"%s\"", err.text);
    }
}

static void mend_done(struct job *j)
{
    struct provision_mend *m = container_of(j, struct provision_mend, job);
    if (m->drop.n)
        provision_room_came(m->p);
    if (m->failed)
        timer_set(&m->p->sweep, MEND_AGAIN);
    array_fini(&m->publish);
    array_fini(&m->drop);
    arena_fini(&m->arena);
    mem_free(m);
}

static bool is_listed(const struct provision_sweep *s, struct str name)
{
    array_each (v, &s->all.list)
        if (str_eq(v->name, name))
            return true;
    return false;
}

static void missing_tell(struct provision_sweep *s)
{
    struct provisioner *p = s->p;
    struct objset_iter it = objset_all(cache_set(p->volumes));
    for (struct obj *o; (o = objset_next(&it));) {
        struct str dir, name, path = val_text_at(obj_spec(o), N(local), N(path));
        const struct val *ref = val_get(obj_spec(o), N(claimRef));
        if (!volume_store_split(path, &dir, &name) || !str_eq(dir, s->dir) || is_listed(s, name) || obj_deleting(o) ||
            volume_fate(o) != VOLUME_STAYS)
            continue;
        struct str text = arena_fmt(&s->arena,
                                    "The volume's folder " STR_FMT "/" STR_FMT " is not there: somebody removed it. "
                                    "Put it back, or delete the claim: its files are lost",
                                    STR_ARG(dir), STR_ARG(name));
        const struct obj *claim = cache_peek(p->claims, val_text_at(ref, N(namespace)), val_text_at(ref, N(name)));
        log_warn("provision.missing", "volume=" STR_FMT " path=" STR_FMT, STR_ARG(o->name), STR_ARG(path));
        events_record(p->events, o, S(""), "Warning", "VolumeMissing", NULL, text);
        if (claim)
            events_record(p->events, claim, S(""), "Warning", "VolumeMissing", NULL, text);
    }
}

static void sweep_done(struct job *j)
{
    struct provision_sweep *s = container_of(j, struct provision_sweep, job);
    struct provisioner *p = s->p;
    struct provision_mend *m = NEW(struct provision_mend);
    m->p = p;
    m->dir = str_dup(&m->arena, s->dir);
    p->sweeping--;
    if (!s->ok && !s->skipped)
        log_warn("provision.sweep", "error=\"%s\"", s->err.text);
    for (size_t i = 0; s->first && i < s->all.left.n; i++) /* later ones are of tasks under way */
        if (str_find(s->all.left.p[i], S("/.gone-pvc-")) >= 0)
            provision_remove(p, s->all.left.p[i]);
    array_each (v, &s->all.list) {
        if (v->published)
            continue;
        if (cache_peek(p->volumes, S(""), v->name))
            array_push(&m->publish, str_dup(&m->arena, v->name));
        else if (!is_claimed(p, v->name))
            array_push(&m->drop, str_dup(&m->arena, v->name));
    }
    if (s->ok)
        missing_tell(s);
    volume_list_fini(&s->all);
    arena_fini(&s->arena);
    mem_free(s);
    if (m->publish.n || m->drop.n)
        lane_start(p->lane, &m->job, mend_work, mend_done);
    else
        mend_done(&m->job);
}

static void sweep_start(struct provisioner *p, bool first)
{
    if (p->sweeping || !provision_lane(p))
        return;
    AUTO(arena_fini) struct arena a = ARENA;
    struct strs dirs = provision_dirs(p, &a);
    for (size_t i = 0; i < dirs.n; i++) {
        struct provision_sweep *s = NEW(struct provision_sweep);
        s->p = p;
        s->first = first;
        s->other = i > 0;
        s->dir = str_dup(&s->arena, dirs.p[i]);
        p->sweeping++;
        lane_start(p->lane, &s->job, sweep_work, sweep_done);
    }
}

static void on_sweep(struct timer *t)
{
    struct provisioner *p = container_of(t, struct provisioner, sweep);
    if (p->sweeping)
        provision_sweep_soon(p);
    else
        sweep_start(p, false);
}

/* Somebody else's hands; our own renames come here as well, and find everything as it should be. */
static void on_folder(struct inotify *i, int watch, uint32_t mask, struct str name)
{
    struct provisioner *p = container_of(i, struct provisioner, watches);
    (void)watch;
    if (mask & IN_IGNORED || !str_starts(name, S("pvc-")) || !p->ready)
        return;
    provision_sweep_soon(p);
    if (mask & IN_MOVED_TO) /* pods that waited for it */
        claims_came_back(p->agent);
}

static void folder_watch(struct provisioner *p)
{
    struct err err = ERR;
    bool ok = dir_make(p->agent->cfg.volumes, 0700, &err);
    p->watching = ok && inotify_start(&p->watches, p->agent->cfg.loop, on_folder, &err);
    ok = p->watching && inotify_add(&p->watches, p->agent->cfg.volumes,
                                    IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR, &err) >= 0;
    if (!ok)
        log_warn("provision.watch", "volumes that somebody removes are missed only by their pods: error=\"%s\"",
                 err.text);
}

void provision_sweep_init(struct provisioner *p)
{
    timer_init(&p->sweep, p->agent->cfg.loop, on_sweep);
}

void provision_sweep_start(struct provisioner *p)
{
    folder_watch(p);
    sweep_start(p, true);
}

void provision_sweep_stop(struct provisioner *p)
{
    timer_stop(&p->sweep);
    if (p->watching)
        inotify_stop(&p->watches);
}
