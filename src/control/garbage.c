/* Removes what has lost its owners, and keeps the order that a delete asked for: foreground (dependents first),
 * background (owner first), orphan (dependents stay). A key names any object: "NS" and "KIND-ID/NAME". An owner that
 * is absent from our sets is asked for at the API before anything is deleted for it.
 * Upstream: pkg/controller/garbagecollector. */
#include "api/custom.h"
#include "control/manager.h"

static struct obj *key_obj(const struct view *v, struct key key)
{
    const struct kind_set *set = view_kinds(v);
    struct str id, name;
    int64_t n;
    if (!str_split(key.name, '/', &id, &name) || !str_to_i64(id, 0, KIND_IDS - 1, &n))
        return NULL;
    for (size_t i = (size_t)n < nkinds ? (size_t)n : nkinds; i < set->n; i++)
        if (set->kinds[i]->id == n)
            return view_get(v, set->kinds[i], key.ns, name);
    return NULL;
}

static void key_of(const struct obj *o, keys_add_fn *add, void *arg)
{
    AUTO(strbuf_fini) struct strbuf name = STRBUF(STRBUF_TEXT);
    strbuf_addf(&name, "%d/" STR_FMT, o->kind->id, STR_ARG(o->name));
    add(arg, o->ns, strbuf_str(&name));
}

/* All objects with the owner: one lookup a kind. What is in another namespace names the owner in vain: nobody holds
 * up or is told of what he has no part in. */
struct dependents {
    const struct view *v;
    const struct obj *owner;
    size_t kind;
    struct objset_iter it;
};

static struct obj *dependent_next(struct dependents *d)
{
    for (;;) {
        struct obj *o = objset_next(&d->it);
        if (o && d->owner->ns.n && !str_eq(o->ns, d->owner->ns))
            continue;
        if (o)
            return o;
        const struct kind_set *set = view_kinds(d->v);
        while (d->kind < set->n && !d->v->sets[set->kinds[d->kind]->id])
            d->kind++;
        if (d->kind >= set->n)
            return NULL;
        if (kind_is_watched(set->kinds[d->kind]))
            d->it = view_with(d->v, set->kinds[d->kind], &index_owner, d->owner->uid);
        d->kind++;
    }
}

static bool has_finalizer(const struct obj *o, const char *name)
{
    val_each_item (it, val_get(obj_meta(o), N(finalizers)))
        if (str_eqz(val_text(it), name))
            return true;
    return false;
}

/* In the version that it is stored and watched in. */
static const struct kind *kind_of_ref(const struct view *v, const struct val *ref)
{
    const struct kind *k = kind_set_of_api_version(view_kinds(v), val_text_at(ref, N(apiVersion)),
                                                   val_text_at(ref, N(kind)));
    return k ? kind_watched(view_kinds(v), k) : NULL;
}

static struct val meta_patch(struct plan *out, const struct name *name, struct val v)
{
    struct val patch = val_map();
    struct val *meta = val_set(&out->arena, &patch, N(metadata), val_map());
    val_set(&out->arena, meta, name, v);
    return patch;
}

static void finalizer_drop(struct plan *out, const struct obj *o, const char *name)
{
    struct val rest = val_list();
    val_each_item (it, val_get(obj_meta(o), N(finalizers)))
        if (!str_eqz(val_text(it), name))
            val_add(&out->arena, &rest, val_copy(&out->arena, it));
    plan_patch(out, o, S(""), meta_patch(out, N(finalizers), rest))->expect_rev = o->rev;
}

/* Keeps only references of owners that `keep` says so of. */
static void owners_patch(struct plan *out, const struct obj *o, struct val keep)
{
    plan_patch(out, o, S(""), meta_patch(out, N(ownerReferences), keep))->expect_rev = o->rev;
}

static bool has_dependents(const struct view *v, const struct obj *o)
{
    struct dependents d = {.v = v, .owner = o};
    return dependent_next(&d) != NULL;
}

static void object_collect(const struct view *v, struct plan *out, const struct obj *o,
                           enum propagation_policy policy)
{
    (void)v;
    if (obj_deleting(o))
        return;
    struct action *a = plan_delete(out, o);
    a->expect_rev = o->rev; /* an owner may just have been added */
    a->propagation = policy;
}

/* ---- an object that is being deleted ---- */

static void orphan_plan(const struct view *v, const struct obj *owner, struct plan *out)
{
    struct dependents d = {.v = v, .owner = owner};
    struct obj *o;
    while ((o = dependent_next(&d))) {
        struct val keep = val_list();
        val_each_item (it, val_get(obj_meta(o), N(ownerReferences)))
            if (!str_eq(val_text_at(it, N(uid)), owner->uid))
                val_add(&out->arena, &keep, val_copy(&out->arena, it));
        owners_patch(out, o, keep);
    }
    plan_step(out);
    finalizer_drop(out, owner, "orphan");
}

static bool owner_is_blocked_by(const struct obj *o, struct str uid)
{
    val_each_item (it, val_get(obj_meta(o), N(ownerReferences)))
        if (str_eq(val_text_at(it, N(uid)), uid) && val_true(val_get(it, N(blockOwnerDeletion))))
            return true;
    return false;
}

static bool waits_for_dependents(const struct obj *o)
{
    return obj_deleting(o) && has_finalizer(o, "foregroundDeletion");
}

#define CIRCLE_MOST 10000 /* owners that are looked up for one plan */

/* Adds to `waiters` (uid -> object) whoever waits, over others that wait, for the object: its owners that do, theirs,
 * and so on. An owner is found by its name, so this costs what the references are, however many dependents there are.
 */
static void waiters_find(const struct view *v, const struct obj *o, struct map *waiters)
{
    ARRAY(const struct obj *) next = {0};
    size_t looked = 0;
    for (array_push(&next, o); next.n > 0 && looked < CIRCLE_MOST;) {
        const struct obj *from = array_pop(&next);
        val_each_item (ref, val_get(obj_meta(from), N(ownerReferences))) {
            const struct kind *k = val_true(val_get(ref, N(blockOwnerDeletion))) ? kind_of_ref(v, ref) : NULL;
            if (!k || !v->sets[k->id] || looked++ >= CIRCLE_MOST)
                continue;
            struct obj *owner = view_get(v, k, k->namespaced ? from->ns : S(""), val_text_at(ref, N(name)));
            if (owner && str_eq(owner->uid, val_text_at(ref, N(uid))) && waits_for_dependents(owner) &&
                !map_put(waiters, owner->uid, owner))
                array_push(&next, owner);
        }
    }
    array_fini(&next);
}

/* A dependent that waits for its owner as well holds it up no longer: neither would ever end. */
static void foreground_plan(const struct view *v, const struct obj *owner, struct plan *out)
{
    AUTO(map_fini) struct map waiters = MAP;
    struct dependents d = {.v = v, .owner = owner};
    struct obj *o;
    size_t blocking = 0;
    bool found = false;
    while ((o = dependent_next(&d))) { /* they are deleted by plans of their own, which see this owner waiting */
        if (!owner_is_blocked_by(o, owner->uid))
            continue;
        if (waits_for_dependents(o) && !found) {
            waiters_find(v, owner, &waiters);
            found = true;
        }
        blocking += !map_get(&waiters, o->uid);
    }
    if (blocking == 0)
        finalizer_drop(out, owner, "foregroundDeletion");
    else
        plan_why(out, "%zu dependents are not gone yet", blocking);
}

/* ---- an object with owners ---- */

enum standing { SOLID, WAITING, ABSENT };

#define ELSEWHERE_MOST 20000 /* places that one plan looks at for the sake of what it tells */

static bool is_elsewhere(const struct view *v, const struct kind *k, struct str name, struct str uid, size_t *looked)
{
    struct obj *ns;
    for (struct objset_iter it = view_all(v, K(Namespace)); *looked < ELSEWHERE_MOST && (ns = objset_next(&it));
         ++*looked) {
        const struct obj *o = view_get(v, k, ns->name, name);
        if (o && str_eq(o->uid, uid))
            return true;
    }
    return false;
}

static enum standing owner_standing(const struct view *v, const struct obj *o, const struct val *ref, size_t *looked,
                                    struct plan *out)
{
    const struct kind *k = kind_of_ref(v, ref);
    if (!k || !kind_is_watched(k) || !v->sets[k->id])
        return SOLID; /* not ours to judge */
    bool nowhere = k->namespaced && o->ns.n == 0;
    struct str uid = val_text_at(ref, N(uid)), name = val_text_at(ref, N(name));
    const struct obj *owner = nowhere ? NULL : view_get(v, k, k->namespaced ? o->ns : S(""), name);
    if (owner && str_eq(owner->uid, uid))
        return waits_for_dependents(owner) ? WAITING : SOLID;
    if (k->namespaced && is_elsewhere(v, k, name, uid, looked))
        plan_event(out, (struct obj *)o, "Warning", "OwnerRefInvalidNamespace",
                   "ownerRef [" STR_FMT "/" STR_FMT ", namespace: " STR_FMT ", name: " STR_FMT ", uid: " STR_FMT
                   "] does not exist in namespace \"" STR_FMT "\"",
                   STR_ARG(val_text_at(ref, N(apiVersion))), STR_ARG(k->kind), STR_ARG(o->ns), STR_ARG(name),
                   STR_ARG(uid), STR_ARG(o->ns));
    else if (nowhere)
        plan_event(out, (struct obj *)o, "Warning", "OwnerRefInvalidNamespace",
                   "cluster-scoped object cannot have a namespaced owner: " STR_FMT " " STR_FMT, STR_ARG(k->kind),
                   STR_ARG(name));
    return nowhere ? SOLID : ABSENT;
}

static void owned_plan(const struct view *v, const struct obj *o, struct plan *out)
{
    const struct val *refs = val_get(obj_meta(o), N(ownerReferences));
    struct val keep = val_list();
    size_t absent = 0, waiting = 0, looked = 0;
    val_each_item (it, refs) {
        enum standing s = owner_standing(v, o, it, &looked, out);
        const struct kind *k = kind_of_ref(v, it);
        if (s == SOLID)
            val_add(&out->arena, &keep, val_copy(&out->arena, it));
        else if (s == ABSENT)
            plan_check_gone(out, k, k->namespaced ? o->ns : S(""), val_text_at(it, N(name)), val_text_at(it, N(uid)));
        absent += s == ABSENT;
        waiting += s == WAITING;
    }
    if (absent + waiting == 0)
        return;
    plan_step(out);
    if (keep.n > 0)
        owners_patch(out, o, keep);
    else if (waiting > 0 && has_dependents(v, o))
        object_collect(v, out, o, PROPAGATION_FOREGROUND);
    else
        object_collect(v, out, o,
                       has_finalizer(o, "orphan")               ? PROPAGATION_ORPHAN
                       : has_finalizer(o, "foregroundDeletion") ? PROPAGATION_FOREGROUND
                                                                : PROPAGATION_BACKGROUND);
}

static void garbage_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct obj *o = key_obj(v, key);
    if (!o)
        return;
    if (v->settling) { /* what depends on it may be of a kind that is not in yet */
        plan_again(out, v->now + NS_PER_S);
        return;
    }
    if (obj_deleting(o) && has_finalizer(o, "orphan"))
        orphan_plan(v, o, out);
    else if (obj_deleting(o) && has_finalizer(o, "foregroundDeletion"))
        foreground_plan(v, o, out);
    else if (!obj_deleting(o) && val_len(val_get(obj_meta(o), N(ownerReferences))) > 0)
        owned_plan(v, o, out);
}

/* ---- what concerns whom ---- */

static void owners_told(const struct view *v, const struct obj *o, keys_add_fn *add, void *arg)
{
    val_each_item (it, val_get(obj_meta(o), N(ownerReferences))) {
        const struct kind *k = kind_of_ref(v, it);
        const struct obj *owner = k ? view_get(v, k, k->namespaced ? o->ns : S(""), val_text_at(it, N(name))) : NULL;
        if (owner && obj_deleting(owner))
            key_of(owner, add, arg);
    }
}

static void dependents_told(const struct view *v, const struct obj *o, keys_add_fn *add, void *arg)
{
    struct dependents d = {.v = v, .owner = o};
    struct obj *dep;
    while ((dep = dependent_next(&d)))
        key_of(dep, add, arg);
}

static void keys_of_any(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                        void *arg)
{
    if (!now || (was && !str_eq(was->uid, now->uid))) {
        dependents_told(v, was, add, arg);
        owners_told(v, was, add, arg);
    }
    if (!now)
        return;
    const struct val *refs = val_get(obj_meta(now), N(ownerReferences));
    bool fresh = !was || !val_equal(refs, val_get(obj_meta(was), N(ownerReferences)));
    bool leaves = obj_deleting(now) && (!was || !obj_deleting(was));
    if (obj_deleting(now) && val_len(val_get(obj_meta(now), N(finalizers))) > 0) {
        key_of(now, add, arg);
        if (leaves)
            dependents_told(v, now, add, arg);
    } else if (val_len(refs) > 0 && fresh) {
        key_of(now, add, arg);
    }
    if (was && fresh)
        owners_told(v, was, add, arg);
    if (fresh || leaves) /* an owner that waits counts who holds it up */
        owners_told(v, now, add, arg);
}

static const struct controller_watch watches[] = {{0}};
const struct controller garbage_controller = {
    .name = "garbage",
    .component = "garbage-collector-controller",
    .account = "generic-garbage-collector",
    .watches = watches,
    .any = keys_of_any,
    .plan = garbage_plan,
};
