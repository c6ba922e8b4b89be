#include "control/sched_volume.h"
#include "base/array.h"
#include "control/pods.h"
#include "control/sched_csi.h"
#include "control/volumes.h"

struct sized_volume {
    struct obj *obj;
    int64_t size;
};
/* A claim without a volume, whose class waits for the pod's node. */
struct late_claim {
    struct obj *claim;
    struct obj *reserved;      /* a volume that names it; NULL: none */
    struct sized_volume *free; /* that suit it anywhere, the smallest first */
    size_t nfree;
    const struct obj *class;
    struct str selected; /* the node that it is being provisioned for */
};
struct pod_volumes {
    struct sched *sched;
    const struct view *view;
    const struct obj *pod;
    struct arena *arena;
    const struct obj **bound; /* volumes of claims that are bound */
    size_t nbound, nmissing;
    struct late_claim *late;
    size_t nlate;
    struct sched_pod **alone; /* others, with a node, that have a claim of its for themselves (ReadWriteOncePod) */
    size_t nalone;
    bool disks; /* it has volumes that only one pod of a node may have */
};

/* ---- once a pod ---- */

static const char *claim_trouble(const struct obj *pod, const struct val *volume, struct str name,
                                 const struct obj *claim, struct arena *a)
{
    bool made = val_get(volume, N(ephemeral)) != NULL; /* with the pod, for it alone */
    if (!claim)
        return arena_fmt(a,
                         made ? "waiting for ephemeral volume controller to create the persistentvolumeclaim "
                                "\"" STR_FMT "\""
                              : "persistentvolumeclaim \"" STR_FMT "\" not found",
                         STR_ARG(name))
            .p;
    if (str_eqz(val_text_at(obj_status(claim), N(phase)), "Lost"))
        return arena_fmt(
                   a, "persistentvolumeclaim \"" STR_FMT "\" bound to non-existent persistentvolume \"" STR_FMT "\"",
                   STR_ARG(name), STR_ARG(claim_volume(claim)))
            .p;
    if (obj_deleting(claim))
        return arena_fmt(a, "persistentvolumeclaim \"" STR_FMT "\" is being deleted", STR_ARG(name)).p;
    if (made && !claim_is_for_pod(claim, pod))
        return arena_fmt(a,
                         "PVC " STR_FMT "/" STR_FMT " was not created for pod " STR_FMT "/" STR_FMT
                         " (pod is not owner)",
                         STR_ARG(claim->ns), STR_ARG(claim->name), STR_ARG(pod->ns), STR_ARG(pod->name))
            .p;
    return NULL;
}

static int smaller_cmp(const void *x, const void *y)
{
    const struct sized_volume *a = x, *b = y;
    return a->size != b->size ? (a->size < b->size ? -1 : 1) : str_cmp(a->obj->name, b->obj->name);
}

/* The claim that the volume is about to be given to, "" for none. */
static struct str volume_promised(const struct sched *s, const struct obj *volume)
{
    return str_of(map_get(&s->promised, volume->name));
}

static void late_candidates(struct pod_volumes *p, const struct view *v, struct late_claim *l)
{
    ARRAY(struct sized_volume) free = {0};
    struct str key = claim_key(p->arena, l->claim->ns, l->claim->name);
    struct obj *o;
    l->reserved = claim_reserved(v, l->claim, p->arena);
    for (struct objset_iter it = view_with(v, K(PersistentVolume), &index_volume_free, class_of_storage(l->claim));
         (o = objset_next(&it));) {
        struct str promised = volume_promised(p->sched, o);
        if (str_eq(promised, key))
            l->reserved = o; /* another pod with this claim is on its way to it */
        else if (promised.n == 0 && volume_suits(o, l->claim, p->arena))
            array_push(&free, ((struct sized_volume){.obj = o, .size = volume_size(o)}));
    }
    if (free.n > 0)
        qsort(free.p, free.n, sizeof *free.p, smaller_cmp);
    l->nfree = free.n;
    l->free = arena_alloc(p->arena, (free.n + 1) * sizeof *l->free);
    for (size_t i = 0; i < free.n; i++)
        l->free[i] = free.p[i];
    array_fini(&free);
}

static int late_cmp(const void *x, const void *y)
{
    const struct late_claim *a = x, *b = y;
    int64_t sa = claim_size(a->claim), sb = claim_size(b->claim);
    return sa != sb ? (sa < sb ? -1 : 1) : str_cmp(a->claim->name, b->claim->name);
}

static bool once_for_pod(const struct obj *claim)
{
    val_each_item (it, val_get(obj_spec(claim), N(accessModes)))
        if (str_eqz(val_text(it), "ReadWriteOncePod"))
            return true;
    return false;
}

/* Who uses the claim and has a node. */
static void alone_add(struct pod_volumes *p, const struct view *v, const struct obj *claim)
{
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    ARRAY(struct sched_pod *) all = {0};
    struct obj *other;
    for (struct objset_iter it = view_with(v, K(Pod), &index_pod_claims, claim_key(p->arena, claim->ns, claim->name));
         (other = objset_next(&it));) {
        struct sched_pod *has = map_get(&p->sched->pods, objset_key_of(&key, other));
        if (has && !str_eq(other->uid, p->pod->uid))
            array_push(&all, has);
    }
    struct sched_pod **more = arena_alloc(p->arena, (p->nalone + all.n + 1) * sizeof *more);
    for (size_t i = 0; i < p->nalone; i++)
        more[i] = p->alone[i];
    array_each (it, &all)
        more[p->nalone++] = *it;
    p->alone = more;
    array_fini(&all);
}

/* One of them is anywhere else, or on the node, from which those may be taken as a trial that would make room. */
static bool alone_elsewhere(const struct pod_volumes *p, const struct sched_node *n)
{
    for (size_t i = 0; i < p->nalone; i++) {
        bool there = strcmp(p->alone[i]->node->name, n->name) != 0;
        for (size_t k = 0; !there && k < n->pods.n; k++)
            there = n->pods.p[k] == p->alone[i];
        if (there)
            return true;
    }
    return false;
}

static bool disk_is_exclusive(const struct val *volume)
{
    return val_get(volume, N(gcePersistentDisk)) || val_get(volume, N(awsElasticBlockStore)) ||
           val_get(volume, N(rbd)) || val_get(volume, N(iscsi));
}

static bool late_has(const struct pod_volumes *p, const struct obj *claim)
{
    for (size_t i = 0; i < p->nlate; i++)
        if (p->late[i].claim == claim)
            return true;
    return false;
}

static void claim_add(struct pod_volumes *p, const struct view *v, struct obj *claim, const char **before)
{
    if (late_has(p, claim))
        return; /* it is mounted twice */
    const struct obj *class = class_get(v, class_of_storage(claim));
    if (claim_is_bound(claim)) {
        const struct obj *volume = view_get(v, K(PersistentVolume), S(""), claim_volume(claim));
        if (volume)
            p->bound[p->nbound++] = volume;
        else if (v->sets[K(PersistentVolume)->id])
            p->nmissing++;
    } else if (!v->sets[K(StorageClass)->id]) {
        return; /* who explains may not read them */
    } else if (class_is_delayed(class) && claim_volume(claim).n == 0) {
        AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
        struct str selected = str_of(map_get(&p->sched->destined, objset_key_of(&key, claim)));
        p->late[p->nlate++] = (struct late_claim){
            .claim = claim, .class = class, .selected = selected.n ? selected : obj_note(claim, ANN_SELECTED_NODE)};
    } else if (!*before) {
        *before = "pod has unbound immediate PersistentVolumeClaims";
    }
    if (once_for_pod(claim))
        alone_add(p, v, claim);
}

struct pod_volumes *pod_volumes_make(struct sched *s, const struct view *v, const struct obj *pod, struct arena *a,
                                     const char **before)
{
    const struct val *volumes = v ? val_get(obj_spec(pod), N(volumes)) : NULL;
    size_t n = MIN(val_len(volumes), (size_t)POD_CLAIMS_MAX);
    struct pod_volumes *p = arena_alloc(a, sizeof *p);
    *p = (struct pod_volumes){.sched = s, .view = v, .pod = pod, .arena = a};
    *before = NULL;
    p->bound = arena_alloc(a, (n + 1) * sizeof *p->bound);
    p->late = arena_alloc(a, (n + 1) * sizeof *p->late);
    val_each_item (volume, volumes) { /* what is wrong with one of them comes before what they wait for */
        struct str name = pod_claim(a, pod, volume);
        p->disks |= disk_is_exclusive(volume);
        if (name.n > 0 &&
            (*before = claim_trouble(pod, volume, name, view_get(v, K(PersistentVolumeClaim), pod->ns, name), a)))
            return p;
    }
    for (size_t i = 0; i < n; i++) {
        struct str name = pod_claim(a, pod, val_item(volumes, i));
        if (name.n > 0)
            claim_add(p, v, view_get(v, K(PersistentVolumeClaim), pod->ns, name), before);
    }
    if (p->nlate > 1)
        qsort(p->late, p->nlate, sizeof *p->late, late_cmp);
    for (size_t i = 0; i < p->nlate; i++)
        late_candidates(p, v, &p->late[i]);
    return p;
}

const char *claim_missing(struct sched *s, const struct view *v, const struct obj *pod, struct arena *a)
{
    const char *before;
    (void)pod_volumes_make(s, v, pod, a, &before);
    return before;
}

/* ---- once a node ---- */

static bool both_read_only(const struct val *a, const struct val *b)
{
    return val_true(val_get(a, N(readOnly))) && val_true(val_get(b, N(readOnly)));
}

static bool monitors_meet(const struct val *a, const struct val *b)
{
    val_each_item (x, val_get(a, N(monitors)))
        val_each_item (y, val_get(b, N(monitors)))
            if (str_eq(val_text(x), val_text(y)))
                return true;
    return false;
}

static bool disks_clash(const struct val *a, const struct val *b)
{
    const struct val *x, *y;
    if ((x = val_get(a, N(gcePersistentDisk))) && (y = val_get(b, N(gcePersistentDisk))))
        return str_eq(val_text_at(x, N(pdName)), val_text_at(y, N(pdName))) && !both_read_only(x, y);
    if ((x = val_get(a, N(awsElasticBlockStore))) && (y = val_get(b, N(awsElasticBlockStore))))
        return str_eq(val_text_at(x, N(volumeID)), val_text_at(y, N(volumeID)));
    if ((x = val_get(a, N(iscsi))) && (y = val_get(b, N(iscsi))))
        return str_eq(val_text_at(x, N(iqn)), val_text_at(y, N(iqn))) && !both_read_only(x, y);
    if ((x = val_get(a, N(rbd))) && (y = val_get(b, N(rbd))))
        return monitors_meet(x, y) && str_eq(val_text_at(x, N(pool)), val_text_at(y, N(pool))) &&
               str_eq(val_text_at(x, N(image)), val_text_at(y, N(image))) && !both_read_only(x, y);
    return false;
}

static bool disk_is_taken(const struct pod_volumes *p, const struct sched_node *n)
{
    for (size_t i = 0; p->disks && i < n->pods.n; i++)
        val_each_item (a, val_get(obj_spec(p->pod), N(volumes)))
            val_each_item (b, val_get(obj_spec(n->pods.p[i]->obj), N(volumes)))
                if (disks_clash(a, b))
                    return true;
    return false;
}

/* Of volumes that say by labels where they are: "a__b" is in both zones. A node that says nothing is anywhere. */
static bool zones_suit(const struct obj *volume, const struct obj *node)
{
    static const char *const keys[][2] = {
        {"failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"},
        {"failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"},
        {"topology.kubernetes.io/zone", "topology.kubernetes.io/zone"},
        {"topology.kubernetes.io/region", "topology.kubernetes.io/region"},
    };
    bool somewhere = false;
    for (size_t i = 0; i < countof(keys); i++)
        somewhere |= val_get_str(obj_labels(node), str_of(keys[i][0])) != NULL;
    for (size_t i = 0; somewhere && i < countof(keys); i++) {
        const struct val *in = val_get_str(obj_labels(volume), str_of(keys[i][0]));
        const struct val *at = val_get_str(obj_labels(node), str_of(keys[i][0]));
        at = at ? at : val_get_str(obj_labels(node), str_of(keys[i][1]));
        struct str rest = val_text(in);
        bool found = !in;
        while (!found && at && rest.n > 0) {
            ptrdiff_t end = str_find(rest, S("__"));
            found = str_eq(end < 0 ? rest : str_sub(rest, 0, (size_t)end), val_text(at));
            rest = end < 0 ? S("") : str_sub(rest, (size_t)end + 2, rest.n);
        }
        if (!found)
            return false;
    }
    return true;
}

static bool volume_chosen(const struct claim_choice *all, size_t n, const struct obj *volume)
{
    for (size_t i = 0; i < n; i++)
        if (all[i].volume == volume)
            return true;
    return false;
}

/* The volume that the claim gets on the node; NULL: none. */
static struct obj *late_volume(const struct late_claim *l, const struct obj *node, const struct claim_choice *taken,
                               size_t n)
{
    if (l->reserved)
        return volume_takes_node(l->reserved, node) ? l->reserved : NULL;
    for (size_t i = 0; i < l->nfree; i++)
        if (!volume_chosen(taken, n, l->free[i].obj) && volume_takes_node(l->free[i].obj, node))
            return l->free[i].obj;
    return NULL;
}

static bool late_provisioned(const struct late_claim *l, const struct obj *node)
{
    struct str provisioner = val_text_at(&l->class->tree, N(provisioner));
    return provisioner.n > 0 && !str_eqz(provisioner, NO_PROVISIONER) && class_takes_node(l->class, node);
}

/* False: a claim gets no volume there. *room becomes false where one would be made, but for want of room. */
static bool late_choose(const struct pod_volumes *p, const struct obj *node, struct claim_choice *out, bool *room)
{
    *room = true;
    for (size_t i = 0; i < p->nlate; i++) {
        const struct late_claim *l = &p->late[i];
        out[i] = (struct claim_choice){.claim = l->claim};
        if (l->selected.n > 0 && !str_eq(l->selected, node->name))
            return false;
        if (l->selected.n == 0)
            out[i].volume = late_volume(l, node, out, i);
        if (out[i].volume)
            continue;
        if (!late_provisioned(l, node))
            return false;
        *room = *room && csi_has_room(p->view, l->claim, l->class, node);
    }
    return true;
}

bool pod_volumes_fit(struct pod_volumes *p, const struct sched_node *n, bool *resolvable,
                     void (*say)(void *arg, const char *reason), void *arg)
{
    if (disk_is_taken(p, n))
        return say(arg, "node(s) had no available disk"), false;
    if (alone_elsewhere(p, n))
        return say(arg,
                   "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"),
               false;
    if (!csi_volumes_fit(p->view, p->pod, n, p->arena))
        return say(arg, "node(s) exceed max volume count"), false;
    const char *refused = csi_inline_refused(p->view, p->pod, str_of(n->name), p->arena);
    if (refused) {
        *resolvable = false;
        return say(arg, refused), false;
    }
    bool takes = true, zones = true;
    for (size_t i = 0; i < p->nbound; i++) {
        struct err err = ERR;
        const struct val *spec = csi_spec_on(p->view, p->arena, p->bound[i], str_of(n->name), &err);
        if (!spec) {
            *resolvable = false;
            return say(arg, arena_strz(p->arena, str_of(err.text))), false;
        }
        takes &= volume_spec_takes_node(spec, n->obj);
        zones &= zones_suit(p->bound[i], n->obj);
    }
    struct claim_choice *choices = p->nlate ? arena_alloc(p->arena, p->nlate * sizeof *choices) : NULL;
    bool room, finds = late_choose(p, n->obj, choices, &room);
    if (!takes)
        say(arg, "node(s) didn't match PersistentVolume's node affinity");
    if (!finds)
        say(arg, "node(s) didn't find available persistent volumes to bind");
    if (finds && !room)
        say(arg, "node(s) did not have enough free storage");
    if (p->nmissing > 0)
        say(arg, "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)");
    if (takes && finds && room && p->nmissing == 0 && !zones)
        say(arg, "node(s) had no available volume zone");
    if (takes && finds && room && zones && p->nmissing == 0)
        return true;
    *resolvable = false;
    return false;
}

size_t pod_volumes_choose(struct pod_volumes *p, const struct sched_node *n, struct claim_choice *out, size_t max)
{
    bool room;
    return p->nlate <= max && late_choose(p, n->obj, out, &room) && room ? p->nlate : 0;
}
