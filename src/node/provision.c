/* The built-in provisioner, wherry.dev/local: makes volumes on this node's disk for claims that were sent here, grows
 * them and takes them away. It acts as external-provisioner and external-resizer do, and with their words; who binds
 * claims and says that a volume is released is the controllers' business.
 *
 * It is told of the claims whose selected node this is and of its own volumes, by selectors that the server holds it
 * to. Whatever of them changes puts a key into the queue ("NS/NAME" a claim, "/NAME" a volume); what there is to do
 * is worked out from the objects anew (provision_plan.c), so that a kill anywhere is made good by the next look. The
 * disk is worked on by one job at a time, in a lane: so what is promised is counted once. Removing files may take
 * long, and is a job apart.
 */
#include "api/quantity.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "node/provision_int.h"
#include "node/provision_plan.h"
#include "sys/file.h"
#include <errno.h>
#include <fcntl.h>

#define RETRY_FIRST    NS_PER_S
#define RETRY_MOST     (300 * NS_PER_S)
#define QUIET_FAILURES 2 /* some three seconds; then people are told of a volume that is in use, and nobody's */
#define HEARD_AFTER    (50 * NS_PER_MS)

enum provision_what { MAKE_VOLUME, GROW_VOLUME, DROP_VOLUME };
struct provision_task {
    struct job job;
    struct call call;
    struct provisioner *p;
    struct arena arena;
    struct str key;
    enum provision_what what;
    struct obj *claim, *volume, *class;
    struct store_wish wish;
    /* what came of it */
    struct str path, gone;
    int64_t size;
    bool ok, pending; /* pending: all but its file system */
    struct err err;
};

/* --- tasks ------------------------------------------------------------------------------------------------------ */

static struct provision_task *task_new(struct provisioner *p, struct str key, enum provision_what what)
{
    struct provision_task *t = NEW(struct provision_task);
    t->p = p;
    t->what = what;
    t->key = str_dup(&t->arena, key);
    return t;
}

static void task_free(struct provision_task *t)
{
    obj_unref(t->claim);
    obj_unref(t->volume);
    obj_unref(t->class);
    arena_fini(&t->arena);
    mem_free(t);
}

static void task_over(struct provision_task *t, bool ok)
{
    workqueue_done(t->p->queue, t->key, ok);
    task_free(t);
}

static void provision_tell(struct provision_task *t, const struct obj *about, bool warning, const char *reason,
                           struct str text)
{
    events_record(t->p->events, about, S(""), warning ? "Warning" : "Normal", reason, NULL, text);
}

void provision_room_came(struct provisioner *p)
{
    map_each (e, &p->roomless)
        workqueue_add(p->queue, e->key);
    map_fini(&p->roomless);
}

bool provision_lane(struct provisioner *p)
{
    struct err err = ERR;
    if (!p->lane)
        p->lane = lane_new(p->agent->cfg.loop, &err);
    if (!p->lane)
        log_warn("provision.lane", "error=\"%s\"", err.text);
    return p->lane;
}

static bool lane_begin(struct provision_task *t, void (*work)(struct job *j), void (*done)(struct job *j))
{
    if (!provision_lane(t->p))
        return false;
    lane_start(t->p->lane, &t->job, work, done);
    return true;
}

static bool answer_is_done(const struct call *c, enum err_kind fine)
{
    if (!c->ok && c->err.kind != fine)
        log_warn("provision.write", "error=\"%s\"", c->err.text);
    return c->ok || c->err.kind == fine;
}

/* --- making ----------------------------------------------------------------------------------------------------- */

static void dir_add(struct arena *a, struct str *dirs, size_t *n, struct str dir)
{
    for (size_t i = 0; i < *n; i++)
        if (str_eq(dirs[i], dir))
            return;
    dirs[(*n)++] = str_dup(a, dir);
}

struct strs provision_dirs(struct provisioner *p, struct arena *a)
{
    const struct objset *classes = cache_set(p->classes), *volumes = cache_set(p->volumes);
    struct str *dirs = arena_alloc(a, (objset_len(classes) + objset_len(volumes) + 1) * sizeof *dirs), dir, name;
    size_t n = 0;
    dir_add(a, dirs, &n, str_of(p->agent->cfg.volumes));
    struct objset_iter it = objset_all(classes);
    for (struct obj *o; (o = objset_next(&it));) {
        struct store_wish wish = {0};
        struct err ignored = ERR; /* it is told of where a claim asks for it, and has no volumes */
        if (str_eqz(val_text_at(&o->tree, N(provisioner)), PROVISIONER) && class_parameters(o, &wish, &ignored) &&
            wish.dir.n)
            dir_add(a, dirs, &n, wish.dir);
    }
    it = objset_all(volumes);
    for (struct obj *o; (o = objset_next(&it));)
        if (volume_store_split(val_text_at(obj_spec(o), N(local), N(path)), &dir, &name))
            dir_add(a, dirs, &n, dir);
    return (struct strs){dirs, n};
}

static void publish_work(struct job *j)
{
    struct provision_task *t = container_of(j, struct provision_task, job);
    t->ok = volume_store_publish(t->wish.dir, t->wish.name, &t->err);
}

static void publish_done(struct job *j)
{
    struct provision_task *t = container_of(j, struct provision_task, job);
    fault_pass("node.provision.published");
    if (!t->ok) {
        log_warn("provision.publish", "volume=" STR_FMT " error=\"%s\"", STR_ARG(t->wish.name), t->err.text);
        provision_sweep_soon(t->p); /* the claim wants nothing any more, so nobody else comes back to it */
    }
    task_over(t, true);
}

static void volume_created(struct call *c)
{
    struct provision_task *t = container_of(c, struct provision_task, call);
    fault_pass("node.provision.created");
    if (!answer_is_done(c, E_ALREADY_EXISTS)) {
        task_over(t, false);
        return;
    }
    t->p->made_rev = MAX(t->p->made_rev, c->rev);
    provision_tell(t, t->claim, false, "ProvisioningSucceeded",
                   arena_fmt(&t->arena, "Successfully provisioned volume " STR_FMT, STR_ARG(t->wish.name)));
    if (!lane_begin(t, publish_work, publish_done))
        task_over(t, false);
}

static void make_work(struct job *j)
{
    struct provision_task *t = container_of(j, struct provision_task, job);
    t->ok = volume_store_make(&t->arena, &t->wish, &t->path, &t->size, &t->err);
}

static void make_failed(struct provision_task *t)
{
    if (t->err.kind == E_UNAVAILABLE)
        (void)map_put(&t->p->roomless, t->key, t);
    provision_tell(t, t->claim, true, "ProvisioningFailed",
                   arena_fmt(&t->arena, "failed to provision volume with StorageClass \"" STR_FMT "\": %s",
                             STR_ARG(t->class->name), t->err.text));
    task_over(t, false);
}

static void make_done(struct job *j)
{
    struct provision_task *t = container_of(j, struct provision_task, job);
    struct agent *g = t->p->agent;
    if (!t->ok) {
        make_failed(t);
        return;
    }
    struct val body = provision_volume(&t->arena, t->claim, t->class, str_of(g->cfg.name), t->path, t->size);
    fault_pass("node.provision.create");
    t->call.done = volume_created;
    call_start(&t->call, g->cfg.transport,
               &CALL_OPTIONS(.verb = CALL_CREATE, .kind = K(PersistentVolume), .body = &body));
}

static void volume_make(struct provisioner *p, struct str key, struct obj *claim)
{
    struct agent *g = p->agent;
    struct obj *class = cache_peek(p->classes, S(""), val_text_at(obj_spec(claim), N(storageClassName)));
    struct provision_task *t;
    struct arena a = ARENA;
    struct str name = arena_fmt(&a, "pvc-" STR_FMT, STR_ARG(claim->uid));
    bool there = cache_peek(p->volumes, S(""), name) != NULL;
    arena_fini(&a);
    if (!there && cache_rev(p->volumes) < p->made_rev) { /* it may have been made, and not be heard of yet */
        workqueue_add_after(p->queue, key, HEARD_AFTER);
        there = true;
    }
    if (there || !class || !str_eqz(val_text_at(&class->tree, N(provisioner)), PROVISIONER)) {
        workqueue_done(p->queue, key, true); /* who binds it comes next; or the class does */
        return;
    }
    t = task_new(p, key, MAKE_VOLUME);
    t->claim = obj_ref(claim);
    t->class = obj_ref(class);
    if (!provision_wish(&t->arena, claim, class, str_of(g->cfg.volumes), g->cfg.volumes_percent, &t->wish, &t->err)) {
        make_failed(t);
        return;
    }
    t->wish.beside = provision_dirs(p, &t->arena);
    provision_tell(t, claim, false, "Provisioning",
                   arena_fmt(&t->arena, "External provisioner is provisioning volume for claim \"" STR_FMT "\"",
                             STR_ARG(t->wish.claim)));
    if (!lane_begin(t, make_work, make_done))
        task_over(t, false);
}

/* --- growing ---------------------------------------------------------------------------------------------------- */

static void grown_told(struct call *c)
{
    struct provision_task *t = container_of(c, struct provision_task, call);
    bool ok = answer_is_done(c, E_CONFLICT);
    if (c->ok)
        provision_tell(t, t->claim, false, "VolumeResizeSuccessful", S("Resize volume succeeded"));
    task_over(t, ok && c->ok);
}

static void claim_status_write(struct provision_task *t, const struct val *body, void (*done)(struct call *c))
{
    t->call.done = done;
    call_start(&t->call, t->p->agent->cfg.transport,
               &CALL_OPTIONS(.verb = CALL_PATCH, .kind = K(PersistentVolumeClaim), .ns = t->claim->ns,
                             .name = t->claim->name, .sub = S("status"), .patch = PATCH_MERGE, .body = body,
                             .expect_rev = t->claim->rev));
}

static void pending_told(struct call *c)
{
    struct provision_task *t = container_of(c, struct provision_task, call);
    bool ok = answer_is_done(c, E_CONFLICT);
    if (c->ok)
        provision_tell(t, t->claim, false, "FileSystemResizeRequired",
                       S("Require file system resize of volume on node"));
    task_over(t, ok && c->ok);
}

static void capacity_written(struct call *c)
{
    struct provision_task *t = container_of(c, struct provision_task, call);
    fault_pass("node.provision.capacity");
    if (!answer_is_done(c, E_NONE) || !c->obj) {
        task_over(t, false);
        return;
    }
    struct val body = t->pending ? growth_pending(&t->arena, t->claim, clock_real())
                                 : growth_over(&t->arena, t->claim, c->obj);
    claim_status_write(t, &body, t->pending ? pending_told : grown_told);
}

static void grow_work(struct job *j)
{
    struct provision_task *t = container_of(j, struct provision_task, job);
    t->ok = volume_store_grow(&t->wish, &t->size, &t->err);
    t->pending = !t->ok && t->err.sys == EPERM;
}

static void grow_done(struct job *j)
{
    struct provision_task *t = container_of(j, struct provision_task, job);
    struct str asked = val_text(val_get_str(val_at(obj_spec(t->claim), N(resources), N(requests)), S("storage")));
    if (t->pending && growth_is_pending(t->claim)) {
        task_over(t,
                  true); /* a pod still has it mounted; the next one that mounts it comes here (provisioner_look) */
        return;
    }
    if (!t->ok && !t->pending) {
        if (t->err.kind == E_UNAVAILABLE)
            (void)map_put(&t->p->roomless, t->key, t);
        provision_tell(t, t->claim, true, "VolumeResizeFailed",
                       arena_fmt(&t->arena, "resize volume \"" STR_FMT "\" by resizer \"" PROVISIONER "\" failed: %s",
                                 STR_ARG(t->volume->name), t->err.text));
        task_over(t, false);
        return;
    }
    struct val body = val_map(), capacity = val_map();
    bool exact = quantity_value(asked) == t->size;
    val_set_str(&t->arena, &capacity, S("storage"),
                val_str(&t->arena, exact ? asked : quantity_of_bytes(&t->arena, t->size)));
    val_set(&t->arena, val_need_map(&t->arena, &body, N(spec)), N(capacity), capacity);
    t->call.done = capacity_written;
    call_start(&t->call, t->p->agent->cfg.transport,
               &CALL_OPTIONS(.verb = CALL_PATCH, .kind = K(PersistentVolume), .name = t->volume->name,
                             .patch = PATCH_MERGE, .body = &body));
}

static void growth_told(struct call *c)
{
    struct provision_task *t = container_of(c, struct provision_task, call);
    if (!answer_is_done(c, E_CONFLICT) || !c->obj) {
        task_over(t, false); /* a conflict: as it is by now */
        return;
    }
    obj_unref(t->claim);
    t->claim = call_take_obj(c);
    provision_tell(t, t->claim, false, "Resizing",
                   arena_fmt(&t->arena, "External resizer is resizing volume " STR_FMT, STR_ARG(t->volume->name)));
    if (!lane_begin(t, grow_work, grow_done))
        task_over(t, false);
}

static void volume_grow(struct provisioner *p, struct str key, struct obj *claim, struct obj *volume)
{
    struct provision_task *t = task_new(p, key, GROW_VOLUME);
    t->claim = obj_ref(claim);
    t->volume = obj_ref(volume);
    t->wish = (struct store_wish){.percent = p->agent->cfg.volumes_percent, .beside = provision_dirs(p, &t->arena)};
    t->wish.size = quantity_value(
        val_text(val_get_str(val_at(obj_spec(claim), N(resources), N(requests)), S("storage"))));
    if (!volume_store_split(val_text_at(obj_spec(volume), N(local), N(path)), &t->wish.dir, &t->wish.name)) {
        task_over(t, true); /* somebody wrote it by hand, and grows it so */
        return;
    }
    if (growth_is_pending(claim)) {
        if (!lane_begin(t, grow_work, grow_done))
            task_over(t, false);
        return;
    }
    struct val body = growth_begun(&t->arena, claim, clock_real());
    claim_status_write(t, &body, growth_told);
}

/* --- going ------------------------------------------------------------------------------------------------------ */

struct provision_removal {
    struct job job;
    struct provisioner *p;
    char *path;
};

static void removal_work(struct job *j)
{
    struct provision_removal *r = container_of(j, struct provision_removal, job);
    struct err err = ERR;
    fault_pass("node.provision.remove");
    if (!tree_remove(AT_FDCWD, r->path, &err)) /* tried again at the next start */
        log_warn("provision.remove", "path=%s error=\"%s\"", r->path, err.text);
}

static void removal_done(struct job *j)
{
    struct provision_removal *r = container_of(j, struct provision_removal, job);
    provision_room_came(r->p);
    mem_free(r->path);
    mem_free(r);
}

void provision_remove(struct provisioner *p, struct str path)
{
    struct provision_removal *r = NEW(struct provision_removal);
    r->p = p;
    r->path = str_dupz(path);
    agent_job_long(p->agent, &r->job, removal_work, removal_done);
}

static void volume_let_go(struct call *c)
{
    struct provision_task *t = container_of(c, struct provision_task, call);
    bool changed = !c->ok && c->err.kind == E_CONFLICT; /* the change comes, and brings us here again */
    task_over(t, changed || answer_is_done(c, E_NOT_FOUND));
}

/* Our finalizer goes, and with it what was deleted. */
static void finalizer_remove(struct provision_task *t, struct obj *volume)
{
    struct val body = val_map();
    val_set(&t->arena, val_need_map(&t->arena, &body, N(metadata)), N(finalizers),
            finalizers_without(&t->arena, volume, S(PROVISIONER_FINALIZER)));
    fault_pass("node.provision.finalizer");
    t->call.done = volume_let_go;
    call_start(&t->call, t->p->agent->cfg.transport,
               &CALL_OPTIONS(.verb = CALL_PATCH, .kind = K(PersistentVolume), .name = volume->name,
                             .patch = PATCH_MERGE, .body = &body, .expect_rev = volume->rev));
}

static void volume_deleted(struct call *c)
{
    struct provision_task *t = container_of(c, struct provision_task, call);
    if (!answer_is_done(c, E_NOT_FOUND) || !c->ok) {
        task_over(t, c->ok || c->err.kind == E_NOT_FOUND);
        return;
    }
    task_over(t, true); /* the change comes, as one that is going */
}

static void drop_work(struct job *j)
{
    struct provision_task *t = container_of(j, struct provision_task, job);
    t->ok = volume_store_drop(&t->arena, t->wish.dir, t->wish.name, &t->gone, &t->err);
}

static void drop_done(struct job *j)
{
    struct provision_task *t = container_of(j, struct provision_task, job);
    if (!t->ok) {
        /* a pod that nobody waited for is still being ended */
        if (t->err.kind != E_CONFLICT || workqueue_failures(t->p->queue, t->key) >= QUIET_FAILURES)
            provision_tell(t, t->volume, true, "VolumeFailedDelete", str_of(t->err.text));
        task_over(t, false);
        return;
    }
    if (t->gone.n)
        provision_remove(t->p, t->gone);
    if (obj_deleting(t->volume)) {
        finalizer_remove(t, t->volume);
        return;
    }
    t->call.done = volume_deleted;
    call_start(&t->call, t->p->agent->cfg.transport,
               &CALL_OPTIONS(.verb = CALL_DELETE, .kind = K(PersistentVolume), .name = t->volume->name,
                             .expect_uid = t->volume->uid));
}

static void volume_go(struct provisioner *p, struct str key, struct obj *volume, enum volume_fate fate)
{
    struct provision_task *t = task_new(p, key, DROP_VOLUME);
    t->volume = obj_ref(volume);
    bool ours = volume_store_split(val_text_at(obj_spec(volume), N(local), N(path)), &t->wish.dir, &t->wish.name) &&
                str_eq(t->wish.name, volume->name);
    if (fate == VOLUME_LEAVES || !ours) {
        finalizer_remove(t, volume);
        return;
    }
    if (!lane_begin(t, drop_work, drop_done))
        task_over(t, false);
}

/* --- what there is to do ---------------------------------------------------------------------------------------- */

static void claim_work(struct provisioner *p, struct str key, struct str ns, struct str name)
{
    struct obj *claim = cache_peek(p->claims, ns, name), *volume = NULL;
    if (claim && claim_wants_volume(claim)) {
        volume_make(p, key, claim);
        return;
    }
    if (claim)
        volume = cache_peek(p->volumes, S(""), val_text_at(obj_spec(claim), N(volumeName)));
    if (volume && claim_wants_growth(claim, volume)) {
        volume_grow(p, key, claim, volume);
        return;
    }
    workqueue_done(p->queue, key, true);
}

static void key_work(void *arg, struct str key)
{
    struct provisioner *p = arg;
    struct str ns, name;
    (void)str_split(key, '/', &ns, &name);
    (void)map_del(&p->roomless, key);
    fault_pass("node.provision.look");
    if (ns.n) {
        claim_work(p, key, ns, name);
        return;
    }
    struct obj *volume = cache_peek(p->volumes, S(""), name);
    enum volume_fate fate = volume ? volume_fate(volume) : VOLUME_STAYS;
    if (fate == VOLUME_STAYS)
        workqueue_done(p->queue, key, true);
    else
        volume_go(p, key, volume, fate);
}

static void key_add(struct provisioner *p, const struct obj *o)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1000);
    workqueue_add(p->queue, objset_key_of(&b, o));
}

static void claim_changed(struct cache_handler *h, struct obj *was, struct obj *now)
{
    struct provisioner *p = container_of(h, struct provisioner, on_claims);
    if (now)
        key_add(p, now);
    else if (p->ready && !val_text_at(obj_spec(was), N(volumeName)).n)
        provision_sweep_soon(p); /* its volume may have been made, and be nobody's */
}

static void volume_changed(struct cache_handler *h, struct obj *was, struct obj *now)
{
    struct provisioner *p = container_of(h, struct provisioner, on_volumes);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1000);
    const struct val *ref = val_get(obj_spec(now ? now : was), N(claimRef));
    if (now)
        key_add(p, now);
    if (val_text_at(ref, N(name)).n)
        workqueue_add(p->queue, objset_key(&b, val_text_at(ref, N(namespace)), val_text_at(ref, N(name))));
}

static void class_changed(struct cache_handler *h, struct obj *was, struct obj *now)
{
    struct provisioner *p = container_of(h, struct provisioner, on_classes);
    (void)was;
    if (!now || !str_eqz(val_text_at(&now->tree, N(provisioner)), PROVISIONER))
        return;
    struct objset_iter it = objset_all(cache_set(p->claims));
    for (struct obj *o; (o = objset_next(&it));)
        if (claim_wants_volume(o))
            key_add(p, o);
}

/* Nothing is done before all is known: a volume that is not heard of yet would look like one that was never made. */
static void provisioner_heard(struct provisioner *p)
{
    if (p->ready || !cache_synced(p->claims) || !cache_synced(p->volumes) || !cache_synced(p->classes))
        return;
    p->ready = true;
    provision_sweep_start(p);
    workqueue_start(p->queue);
}

static void claims_heard(struct cache_handler *h)
{
    provisioner_heard(container_of(h, struct provisioner, on_claims));
}

static void volumes_heard(struct cache_handler *h)
{
    provisioner_heard(container_of(h, struct provisioner, on_volumes));
}

static void classes_heard(struct cache_handler *h)
{
    provisioner_heard(container_of(h, struct provisioner, on_classes));
}

void provisioner_look(struct provisioner *p, struct str ns, struct str claim)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1000);
    if (cache_peek(p->claims, ns, claim))
        workqueue_add(p->queue, objset_key(&b, ns, claim));
}

struct provisioner *provisioner_new(struct agent *g)
{
    struct provisioner *p = NEW(struct provisioner);
    struct transport *t = g->cfg.transport;
    struct str mine = arena_fmt(&g->arena, "wherry.dev/node=%s", g->cfg.name);
    p->agent = g;
    p->events = events_new(t, PROVISIONER, g->cfg.name);
    p->queue = workqueue_new(&(struct workqueue_options){
        .loop = g->cfg.loop, .work = key_work, .arg = p, .backoff_ns = RETRY_FIRST, .backoff_max_ns = RETRY_MOST});
    provision_sweep_init(p);
    p->claims = cache_new(t, &(struct cache_options){.kind = K(PersistentVolumeClaim), .field_selector = mine});
    p->volumes = cache_new(t, &(struct cache_options){.kind = K(PersistentVolume), .field_selector = mine});
    p->classes = cache_new(t, &(struct cache_options){.kind = K(StorageClass)});
    p->on_claims = (struct cache_handler){.changed = claim_changed, .synced = claims_heard};
    p->on_volumes = (struct cache_handler){.changed = volume_changed, .synced = volumes_heard};
    p->on_classes = (struct cache_handler){.changed = class_changed, .synced = classes_heard};
    cache_handler_add(p->claims, &p->on_claims);
    cache_handler_add(p->volumes, &p->on_volumes);
    cache_handler_add(p->classes, &p->on_classes);
    cache_start(p->claims);
    cache_start(p->volumes);
    cache_start(p->classes);
    return p;
}

void provisioner_free(struct provisioner *p)
{
    if (!p)
        return;
    provision_sweep_stop(p);
    cache_handler_del(&p->on_claims);
    cache_handler_del(&p->on_volumes);
    cache_handler_del(&p->on_classes);
    cache_free(p->claims);
    cache_free(p->volumes);
    cache_free(p->classes);
    workqueue_free(p->queue);
    events_free(p->events);
    lane_free(p->lane);
    map_fini(&p->roomless);
    mem_free(p);
}
