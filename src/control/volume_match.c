/* Free volumes for claims that wait for none in particular: all of one class at once, so that none is promised twice
 * and a thousand claims are not a thousand conflicts. Only the volume's claimRef is written here; claim.c and
 * volume.c finish what it begins. Upstream: pkg/controller/volume/persistentvolume (findBestMatchForClaim). */
#include "control/volumes.h"

#define MOST_AT_ONCE 500 /* writes of one plan; the rest follows when they are seen */

struct free_volume {
    const struct obj *obj;
    int64_t size;
    size_t modes;
    bool taken;
};
struct waiting_claim {
    const struct obj *obj;
    struct str age;
};

/* Fewer access modes are nearer than smaller. */
static int free_cmp(const void *x, const void *y)
{
    const struct free_volume *a = x, *b = y;
    if (a->modes != b->modes)
        return a->modes < b->modes ? -1 : 1;
    return a->size != b->size ? (a->size < b->size ? -1 : 1) : str_cmp(a->obj->name, b->obj->name);
}

/* The oldest first. */
static int claim_cmp(const void *x, const void *y)
{
    const struct waiting_claim *a = x, *b = y;
    int age = str_cmp(a->age, b->age), ns = age ? age : str_cmp(a->obj->ns, b->obj->ns);
    return ns ? ns : str_cmp(a->obj->name, b->obj->name);
}

static const struct obj *free_take(struct free_volume *all, size_t n, const struct obj *claim, struct arena *a)
{
    int64_t size = claim_size(claim);
    for (size_t i = 0; i < n; i++)
        if (!all[i].taken && all[i].size >= size && volume_suits(all[i].obj, claim, a)) {
            all[i].taken = true;
            return all[i].obj;
        }
    return NULL;
}

static void match_plan(const struct view *v, struct key key, struct plan *out)
{
    ARRAY(struct free_volume) volumes = {0};
    ARRAY(struct waiting_claim) waiting = {0};
    struct arena *a = &out->arena;
    struct obj *o;
    if (class_is_delayed(class_get(v, key.name)))
        return; /* the scheduler chooses the node and the volume together */
    for (struct objset_iter it = view_with(v, K(PersistentVolume), &index_volume_free, key.name);
         (o = objset_next(&it));)
        array_push(&volumes,
                   ((struct free_volume){
                       .obj = o, .size = volume_size(o), .modes = val_len(val_get(obj_spec(o), N(accessModes)))}));
    if (volumes.n > 0)
        for (struct objset_iter it = view_with(v, K(PersistentVolumeClaim), &index_claim_class, key.name);
             (o = objset_next(&it));)
            if (!obj_deleting(o) && !obj_has_note(o, ANN_BIND_COMPLETED) && !claim_reserved(v, o, a))
                array_push(&waiting,
                           ((struct waiting_claim){.obj = o, .age = val_text_at(obj_meta(o), N(creationTimestamp))}));
    if (waiting.n > 0) {
        qsort(volumes.p, volumes.n, sizeof *volumes.p, free_cmp);
        qsort(waiting.p, waiting.n, sizeof *waiting.p, claim_cmp);
    }
    if (v->trouble.n > 0)
        plan_why(out, STR_FMT, STR_ARG(v->trouble));
    for (size_t i = 0, n = 0; i < waiting.n && n < MOST_AT_ONCE; i++) {
        const struct obj *volume = free_take(volumes.p, volumes.n, waiting.p[i].obj, a);
        n += volume && plan_volume_claimed(out, volume, waiting.p[i].obj);
        if (volume && v->trouble.n > 0 && !str_eq(v->why, v->trouble)) /* somebody refuses our writes */
            plan_event(out, (struct obj *)waiting.p[i].obj, "Warning", "FailedBinding",
                       "cannot bind to volume \"" STR_FMT "\": " STR_FMT, STR_ARG(volume->name), STR_ARG(v->trouble));
    }
    array_fini(&volumes);
    array_fini(&waiting);
}

static void keys_of_claim(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                          void *arg)
{
    (void)v, (void)was;
    if (now && claim_volume(now).n == 0)
        add(arg, S(""), class_of_storage(now));
}

static void keys_of_volume(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                           void *arg)
{
    const struct obj *const both[] = {was, now};
    for (size_t i = 0; i < countof(both); i++) {
        if (both[i] && volume_is_free(both[i]))
            add(arg, S(""), class_of_storage(both[i]));
        const struct val *ref = both[i] ? volume_claim(both[i]) : NULL;
        /* a claim that had this one in view may want another now */
        const struct obj *claim = ref ? view_get(v, K(PersistentVolumeClaim), val_text_at(ref, N(namespace)),
                                                 val_text_at(ref, N(name)))
                                      : NULL;
        if (claim && claim_volume(claim).n == 0)
            add(arg, S(""), class_of_storage(claim));
    }
}

static const struct controller_watch watches[] = {{K(PersistentVolumeClaim), keys_of_claim},
                                                  {K(PersistentVolume), keys_of_volume},
                                                  {K(StorageClass), keys_self},
                                                  {0}};
const struct controller volumematch_controller = {
    .name = "volumematch",
    .component = "persistentvolume-controller",
    .account = "persistent-volume-binder",
    .watches = watches,
    .plan = match_plan,
};
