/* statefulset_claims.c - the claims that a StatefulSet makes for its pods: one for each template and ordinal. They
 * outlive the pods; who owns them, and so when they go, is what persistentVolumeClaimRetentionPolicy says. */
#include "control/statefulset_int.h"

struct str stateful_claim_name(struct arena *a, const struct obj *set, const struct val *template, int64_t ordinal)
{
    return arena_fmt(a, STR_FMT "-" STR_FMT "-%lld", STR_ARG(val_text_at(template, N(metadata), N(name))),
                     STR_ARG(set->name), (long long)ordinal);
}

/* The same without an arena: a set of many pods asks for each in every plan. */
static struct str claim_name_in(char buf[512], const struct obj *set, const struct val *template, int64_t ordinal)
{
    int n = snprintf(buf, 512, STR_FMT "-" STR_FMT "-%lld", STR_ARG(val_text_at(template, N(metadata), N(name))),
                     STR_ARG(set->name), (long long)ordinal);
    return (struct str){buf, (size_t)MIN(n, 511)};
}

static const struct val *claim_templates(const struct obj *set)
{
    return val_get(obj_spec(set), N(volumeClaimTemplates));
}

static struct obj *claim_find(const struct stateful *s, const struct val *template, int64_t ordinal)
{
    char name[512];
    return view_get(s->view, K(PersistentVolumeClaim), s->set->ns, claim_name_in(name, s->set, template, ordinal));
}

bool stateful_storage_matches(const struct obj *set, const struct obj *pod, int64_t ordinal)
{
    char name[512];
    val_each_item (it, claim_templates(set)) {
        const struct val *volume = val_find(val_get(obj_spec(pod), N(volumes)), N(name),
                                            val_text_at(it, N(metadata), N(name)));
        if (!str_eq(val_text_at(volume, N(persistentVolumeClaim), N(claimName)),
                    claim_name_in(name, set, it, ordinal)))
            return false;
    }
    return true;
}

/* ---- owners ---- */

static bool is_deleted_with(const struct obj *set, const struct name *when)
{
    return str_eqz(val_text_at(obj_spec(set), N(persistentVolumeClaimRetentionPolicy), when), "Delete");
}

/* What the owner references of a claim say of the set and of the pod (which may be NULL). */
struct claim_owners {
    bool set, pod;   /* owned by them */
    bool plain;      /* by one of them, not as its controller */
    bool stale;      /* by one of the same name that is no more */
    bool controlled; /* by a third one, as its controller */
};

static bool ref_names(const struct val *ref, const char *api_version, const char *kind, struct str name)
{
    return str_eqz(val_text_at(ref, N(apiVersion)), api_version) && str_eqz(val_text_at(ref, N(kind)), kind) &&
           str_eq(val_text_at(ref, N(name)), name);
}

static bool ref_is_ours(const struct stateful *s, const struct val *ref, struct str pod_name)
{
    return ref_names(ref, "apps/v1", "StatefulSet", s->set->name) || ref_names(ref, "v1", "Pod", pod_name);
}

static struct claim_owners owners_read(const struct stateful *s, const struct obj *claim, struct str pod_name,
                                       const struct obj *pod)
{
    struct claim_owners o = {0};
    val_each_item (ref, val_get(obj_meta(claim), N(ownerReferences))) {
        struct str uid = val_text_at(ref, N(uid));
        bool of_set = str_eq(uid, s->set->uid), of_pod = pod && str_eq(uid, pod->uid);
        bool controls = val_true(val_get(ref, N(controller)));
        o.set |= of_set;
        o.pod |= of_pod;
        o.plain |= (of_set || of_pod) && !controls;
        if (ref_is_ours(s, ref, pod_name))
            o.stale |= !of_set && !of_pod;
        else
            o.controlled |= controls;
    }
    return o;
}

/* A claim goes with the set, or with the pod that scaling down removes, or with neither. */
static void owners_wanted(const struct stateful *s, int64_t ordinal, bool *set, bool *pod)
{
    *pod = is_deleted_with(s->set, N(whenScaled)) && !place_is_of(s, ordinal);
    *set = is_deleted_with(s->set, N(whenDeleted)) && !*pod;
}

/* A claim that belonged to a namesake is left to the garbage collector; one that somebody else controls gets no
 * owner of ours beside it. */
static bool owners_are_right(const struct stateful *s, const struct claim_owners *o, bool set, bool pod)
{
    bool keeps = !is_deleted_with(s->set, N(whenDeleted)) && !is_deleted_with(s->set, N(whenScaled));
    if (o->stale)
        return true;
    if (o->controlled && !keeps)
        return !o->set && !o->pod;
    return !o->plain && o->set == set && o->pod == pod;
}

static void owners_add(struct arena *a, struct val *tree, const struct obj *owner)
{
    struct val *meta = val_need_map(a, tree, N(metadata)), *list = val_get_mut(meta, N(ownerReferences));
    if (!list)
        list = val_set(a, meta, N(ownerReferences), val_list());
    val_add(a, list, owner_ref(a, owner));
}

static bool claim_own(struct stateful *s, const struct obj *claim, const struct stateful_pod *p)
{
    struct arena *a = &s->out->arena;
    struct claim_owners o = owners_read(s, claim, p->pod->name, p->pod);
    bool set, pod;
    owners_wanted(s, p->ordinal, &set, &pod);
    if (obj_deleting(claim) || owners_are_right(s, &o, set, pod))
        return false;
    struct val tree = plan_edit(s->out, claim), *meta = val_need_map(a, &tree, N(metadata)), kept = val_list();
    val_each_item (ref, val_get(meta, N(ownerReferences)))
        if (!ref_is_ours(s, ref, p->pod->name))
            val_add(a, &kept, val_copy(a, ref));
    val_del(meta, N(ownerReferences));
    if (kept.n > 0)
        val_set(a, meta, N(ownerReferences), kept);
    bool keeps = o.controlled && (is_deleted_with(s->set, N(whenDeleted)) || is_deleted_with(s->set, N(whenScaled)));
    if (set && !keeps)
        owners_add(a, &tree, s->set);
    if (pod && !keeps)
        owners_add(a, &tree, p->pod);
    struct action *act = plan_update(s->out, claim, S(""), tree);
    if (!act) /* what has the set's uid and another name or kind is not ours to take away */
        return false;
    act->failed = plan_event_of(s->out, s->set, "Warning", "FailedUpdate",
                                "update Pod " STR_FMT " in StatefulSet " STR_FMT " failed error: ",
                                STR_ARG(p->pod->name), STR_ARG(s->set->name));
    return true;
}

bool stateful_claims_own(struct stateful *s, const struct stateful_pod *p)
{
    bool any = false;
    val_each_item (it, claim_templates(s->set)) {
        struct obj *claim = claim_find(s, it, p->ordinal);
        any |= claim && claim_own(s, claim, p);
    }
    return any;
}

/* ---- making ---- */

static struct val claim_tree(struct stateful *s, const struct val *template, int64_t ordinal)
{
    struct arena *a = &s->out->arena;
    struct val claim = val_copy(a, template);
    val_del(&claim, N(status));
    val_each_member (it, val_at(obj_spec(s->set), N(selector), N(matchLabels)))
        val_set_str(a, val_need_map(a, &claim, N(metadata), N(labels)), it->name->s, val_copy(a, &it->v));
    bool set, pod;
    owners_wanted(s, ordinal, &set, &pod);
    if (set)
        owners_add(a, &claim, s->set);
    return claim;
}

bool stateful_claims_missing(const struct stateful *s, int64_t ordinal)
{
    val_each_item (it, claim_templates(s->set))
        if (!claim_find(s, it, ordinal))
            return true;
    return false;
}

void stateful_claims_make(struct stateful *s, int64_t ordinal)
{
    struct arena *a = &s->out->arena;
    val_each_item (it, claim_templates(s->set)) {
        if (claim_find(s, it, ordinal))
            continue;
        struct str name = stateful_claim_name(a, s->set, it, ordinal), pod = stateful_pod_name(a, s->set, ordinal);
        struct action *act = plan_create(s->out, K(PersistentVolumeClaim), s->set->ns, name,
                                         claim_tree(s, it, ordinal));
        act->done = plan_event_of(s->out, s->set, "Normal", "SuccessfulCreate",
                                  "create Claim " STR_FMT " Pod " STR_FMT " in StatefulSet " STR_FMT " success",
                                  STR_ARG(name), STR_ARG(pod), STR_ARG(s->set->name));
        act->failed = plan_event_of(
            s->out, s->set, "Warning", "FailedCreate",
            "create Claim " STR_FMT " for Pod " STR_FMT " in StatefulSet " STR_FMT " failed error: ", STR_ARG(name),
            STR_ARG(pod), STR_ARG(s->set->name));
    }
}

/* It is being deleted, or will be: the pod that it was to go with is no more. */
static bool claim_goes(const struct obj *claim, struct str pod_name)
{
    val_each_item (ref, val_get(obj_meta(claim), N(ownerReferences)))
        if (ref_names(ref, "v1", "Pod", pod_name))
            return true;
    return obj_deleting(claim);
}

bool stateful_claims_are_firm(struct stateful *s, int64_t ordinal)
{
    struct str pod = stateful_pod_name(&s->out->arena, s->set, ordinal);
    val_each_item (it, claim_templates(s->set)) {
        const struct obj *claim = claim_find(s, it, ordinal);
        if (!claim || !claim_goes(claim, pod))
            continue;
        plan_why(s->out, "waits until claim " STR_FMT " of pod " STR_FMT ", which is being deleted, is gone",
                 STR_ARG(claim->name), STR_ARG(pod));
        if (obj_deleting(claim))
            plan_event(s->out, (struct obj *)s->set, "Warning", "FailedCreate",
                       "create Pod " STR_FMT " in StatefulSet " STR_FMT " failed error: pvc " STR_FMT
                       " is being deleted",
                       STR_ARG(pod), STR_ARG(s->set->name), STR_ARG(claim->name));
        return false;
    }
    return true;
}
