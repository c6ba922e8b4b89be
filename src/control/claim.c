/* PersistentVolumeClaims: what becomes of one. Upstream: pkg/controller/volume/persistentvolume (syncClaim).
 *
 * A pair is bound by writes in this order, each of which is seen before the next is made, so that whoever stops in
 * between finds again where it was:
 *
 *   volume: spec.claimRef with the claim's uid   by volume_match.c for a free one, here for one that was asked for
 *   volume: phase Bound                          by volume.c
 *   claim: spec.volumeName, bind-completed       here
 *   claim: phase Bound, capacity, access modes   here
 *
 * The volume's claimRef decides who has it: it is written at the revision that was looked at, so of two who want it
 * one is told that he looked too early. A claim takes the one volume that claim_reserved() finds for it; others that
 * name it as well are let go by volume.c. */
#include "api/csi_source.h"
#include "api/strategy.h"
#include "control/pods.h"
#include "control/volumes.h"

static bool node_takes_volumes(const struct obj *node)
{
    return condition_is(obj_status(node), "Ready", "True") && !val_true(val_get(obj_spec(node), N(unschedulable)));
}

static void note_set(struct plan *out, struct val *tree, const char *key, const char *text)
{
    struct arena *a = &out->arena;
    val_set_str(a, val_need_map(a, tree, N(metadata), N(annotations)), str_of(key), val_str(a, str_of(text)));
}

/* Tells it once, as long as that is how things are. */
static PRINTF(6, 7) void claim_tell(const struct view *v, struct plan *out, const struct obj *claim, const char *type,
                                    const char *reason, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    struct str text = arena_vfmt(&out->arena, fmt, args);
    va_end(args);
    plan_why(out, STR_FMT, STR_ARG(text));
    if (!str_eq(v->why, text))
        plan_event(out, (struct obj *)claim, type, reason, STR_FMT, STR_ARG(text));
}

/* ---- status ---- */

static const struct val *size_for_claim(struct plan *out, const struct obj *volume)
{
    struct str before = obj_note(volume, "volume.alpha.kubernetes.io/pre-resize-capacity");
    struct val *sizes = NULL;
    if (!before.n)
        return val_get(obj_spec(volume), N(capacity));
    sizes = arena_alloc(&out->arena, sizeof *sizes);
    *sizes = val_map();
    val_set_str(&out->arena, sizes, S("storage"), val_str(&out->arena, before));
    return sizes;
}

/* volume NULL: there is none. */
static struct action *claim_phase(struct plan *out, const struct obj *claim, const char *phase,
                                  const struct obj *volume)
{
    struct arena *a = &out->arena;
    struct val tree = plan_edit_status(out, claim), *status = val_need_map(a, &tree, N(status));
    bool moved = !str_eqz(val_text_at(status, N(phase)), phase);
    val_set_text(a, status, N(phase), str_of(phase));
    if (!volume) {
        val_del(status, N(accessModes));
        val_del(status, N(capacity));
        val_del(status, N(currentVolumeAttributesClassName));
        return plan_update(out, claim, S("status"), tree);
    }
    val_set(a, status, N(accessModes), val_copy(a, val_get(obj_spec(volume), N(accessModes))));
    if (moved) { /* afterwards it is whoever grows it that says how large it is */
        val_set(a, status, N(capacity), val_copy(a, size_for_claim(out, volume)));
        struct str class = val_text_at(obj_spec(volume), N(volumeAttributesClassName));
        if (class.n > 0)
            val_set_text(a, status, N(currentVolumeAttributesClassName), class);
    }
    return plan_update(out, claim, S("status"), tree);
}

static void claim_lost(struct plan *out, const struct obj *claim, const char *reason, const char *message)
{
    plan_why(out, "%s", message);
    if (str_eqz(val_text_at(obj_status(claim), N(phase)), "Lost"))
        return;
    struct action *a = claim_phase(out, claim, "Lost", NULL);
    if (a)
        a->done = plan_event_of(out, claim, "Warning", reason, "%s", message);
}

/* ---- binding ---- */

/* A volume of a node's disk that was kept may be given to another claim, for which no node was ever selected: by that
 * note the node knows whose volume it is to grow. */
static void claim_names_node(struct plan *out, const struct obj *claim, const struct obj *volume, struct val *tree)
{
    struct str node = kind_field_value(&out->arena, K(PersistentVolume), &volume->tree, S("wherry.dev/node"));
    if (node.n > 0 && !str_eq(obj_note(claim, ANN_SELECTED_NODE), node))
        note_set(out, tree, ANN_SELECTED_NODE, arena_strz(&out->arena, node));
}

static bool claim_names_volume(struct plan *out, const struct obj *claim, const struct obj *volume)
{
    struct arena *a = &out->arena;
    struct val tree = plan_edit(out, claim);
    claim_names_node(out, claim, volume, &tree);
    if (!str_eq(claim_volume(claim), volume->name)) {
        val_set_text(a, val_need_map(a, &tree, N(spec)), N(volumeName), volume->name);
        if (!obj_has_note(claim, ANN_BOUND_BY_CONTROLLER))
            note_set(out, &tree, ANN_BOUND_BY_CONTROLLER, "yes");
    }
    if (!obj_has_note(claim, ANN_BIND_COMPLETED))
        note_set(out, &tree, ANN_BIND_COMPLETED, "yes");
    return plan_update(out, claim, S(""), tree) != NULL;
}

/* The next write that the pair needs. */
static void claim_bind(struct plan *out, const struct obj *claim, const struct obj *volume)
{
    if (plan_volume_claimed(out, volume, claim))
        return;
    if (!str_eqz(val_text_at(obj_status(volume), N(phase)), "Bound"))
        return; /* volume.c is about to say so, which brings us back */
    if (!claim_names_volume(out, claim, volume))
        claim_phase(out, claim, "Bound", volume);
}

static void claim_bound(const struct view *v, const struct obj *claim, struct plan *out)
{
    struct str name = claim_volume(claim);
    if (name.n == 0) {
        claim_lost(out, claim, "ClaimLost",
                   "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!");
        return;
    }
    const struct obj *volume = view_get(v, K(PersistentVolume), S(""), name);
    if (!volume) {
        if (!str_eqz(val_text_at(obj_status(claim), N(phase)), "Lost")) {
            plan_check_gone(out, K(PersistentVolume), S(""), name, S(""));
            plan_step(out);
        }
        claim_lost(out, claim, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!");
    } else if (!volume_claim(volume) || str_eq(val_text_at(volume_claim(volume), N(uid)), claim->uid)) {
        claim_bind(out, claim, volume);
    } else {
        claim_lost(out, claim, "ClaimMisbound",
                   "Two claims are bound to the same volume, this one is bound incorrectly");
    }
}

/* It asks for one volume. */
static void claim_asks(const struct view *v, const struct obj *claim, struct plan *out)
{
    const struct obj *volume = view_get(v, K(PersistentVolume), S(""), claim_volume(claim));
    const char *wrong = NULL;
    if (!volume) {
        plan_why(out, "its volume \"" STR_FMT "\" does not exist", STR_ARG(claim_volume(claim)));
    } else if (volume_names(volume, claim)) {
        claim_bind(out, claim, volume);
        return;
    } else if (volume_claim(volume)) {
        claim_tell(v, out, claim, "Warning", "FailedBinding",
                   "volume \"" STR_FMT "\" already bound to a different claim.", STR_ARG(volume->name));
    } else if ((wrong = volume_mismatch(volume, claim, true, &out->arena))) {
        claim_tell(v, out, claim, "Warning", "VolumeMismatch", "Cannot bind to requested volume \"" STR_FMT "\": %s",
                   STR_ARG(volume->name), wrong);
    } else {
        claim_bind(out, claim, volume);
        return;
    }
    claim_phase(out, claim, "Pending", NULL);
}

/* ---- nothing suits ---- */

/* Most pods have a node before anybody has read that they wait for one: of them it is told later, as upstream does.
 */
#define POD_PATIENCE (15 * NS_PER_S)

static void tell_waiting(const struct view *v, const struct obj *claim, struct plan *out)
{
    AUTO(strbuf_fini) struct strbuf pods = STRBUF(STRBUF_TEXT);
    struct obj *pod;
    size_t n = 0;
    int64_t since = INT64_MAX;
    for (struct objset_iter it =
             view_with(v, K(Pod), &index_pod_claims, claim_key(&out->arena, claim->ns, claim->name));
         (pod = objset_next(&it));) {
        if (pod_node(pod).n > 0)
            continue;
        strbuf_addf(&pods, "%s" STR_FMT, n++ ? "," : "", STR_ARG(pod->name));
        since = MIN(since, obj_created(pod));
    }
    if (n == 0) {
        claim_tell(v, out, claim, "Normal", "WaitForFirstConsumer",
                   "waiting for first consumer to be created before binding");
    } else if (v->why.n > 0 && v->now < since + POD_PATIENCE) {
        plan_why(out, STR_FMT, STR_ARG(v->why));
        plan_again(out, since + POD_PATIENCE);
    } else {
        claim_tell(v, out, claim, "Normal", "WaitForPodScheduled", "waiting for pod%s " STR_FMT " to be scheduled",
                   n > 1 ? "s" : "", STR_ARG(strbuf_str(&pods)));
    }
}

/* Volumes of the nodes' own disks lie on one of them. Where a claim is to be bound before any pod uses it, no
 * scheduler has chosen that node: it is a ready one, by the uid of the claim, so that many claims do not all go to
 * the same. NULL: there is none. */
static const struct obj *node_for_disk(const struct view *v, const struct obj *claim, const struct obj *class)
{
    const struct obj *node, *best = NULL;
    uint64_t most = 0;
    for (struct objset_iter it = view_all(v, K(Node)); (node = objset_next(&it));) {
        uint64_t hash = stable_hash(claim->uid, stable_hash(node->name, 0));
        if (node_takes_volumes(node) && class_takes_node(class, node) && (!best || hash > most)) {
            best = node;
            most = hash;
        }
    }
    return best;
}

/* Whoever provisions for the class is told by annotations that it is his turn. */
static void claim_provision(const struct view *v, const struct obj *claim, const struct obj *class, struct plan *out)
{
    if (!class) {
        claim_tell(v, out, claim, "Warning", "ProvisioningFailed",
                   "storageclass.storage.k8s.io \"" STR_FMT "\" not found", STR_ARG(class_of_storage(claim)));
        return;
    }
    struct str named = val_text_at(&class->tree, N(provisioner)), who = csi_driver_after(named);
    if (who.n == 0 && str_starts(named, S("kubernetes.io/"))) {
        claim_tell(v, out, claim, "Warning", "ProvisioningFailed", "no volume plugin matched name: " STR_FMT,
                   STR_ARG(named));
        return;
    }
    who = who.n ? who : named;
    bool ours = str_eqz(who, LOCAL_PROVISIONER) && obj_note(claim, ANN_SELECTED_NODE).n == 0;
    const struct obj *node = ours ? node_for_disk(v, claim, class) : NULL;
    if (!str_eq(obj_note(claim, ANN_PROVISIONER), who) || node) {
        struct val tree = plan_edit(out, claim);
        note_set(out, &tree, ANN_PROVISIONER_BETA, arena_strz(&out->arena, who));
        note_set(out, &tree, ANN_PROVISIONER, arena_strz(&out->arena, who));
        if (node)
            note_set(out, &tree, ANN_SELECTED_NODE, arena_strz(&out->arena, node->name));
        plan_update(out, claim, S(""), tree);
    }
    if (ours && !node) {
        claim_tell(v, out, claim, "Warning", "ProvisioningFailed",
                   "no node is ready on whose disk class \"" STR_FMT "\" may have a volume", STR_ARG(class->name));
        return;
    }
    claim_tell(v, out, claim, "Normal", "ExternalProvisioning",
               "Waiting for a volume to be created either by the external provisioner '" STR_FMT
               "' or manually by the system administrator. If volume creation is delayed, please verify that the "
               "provisioner is running and correctly registered.",
               STR_ARG(who));
}

static bool class_given(const struct view *v, const struct obj *claim, struct plan *out)
{
    const struct obj *class = claim_has_class(claim) ? NULL : class_default(v);
    if (!class)
        return false;
    struct val tree = plan_edit(out, claim);
    val_set_text(&out->arena, val_need_map(&out->arena, &tree, N(spec)), N(storageClassName), class->name);
    plan_update(out, claim, S(""), tree);
    return true;
}

/* The node for which a volume is to be made has gone: another is chosen. */
static bool node_forgotten(const struct view *v, const struct obj *claim, struct plan *out)
{
    struct str node = obj_note(claim, ANN_SELECTED_NODE);
    if (node.n == 0 || view_get(v, K(Node), S(""), node))
        return false;
    struct val tree = plan_edit(out, claim);
    val_del_str(val_need_map(&out->arena, &tree, N(metadata), N(annotations)), S(ANN_SELECTED_NODE));
    plan_check_gone(out, K(Node), S(""), node, S(""));
    plan_step(out);
    plan_update(out, claim, S(""), tree);
    return true;
}

static void claim_unbound(const struct view *v, const struct obj *claim, struct plan *out)
{
    const struct obj *class = class_get(v, class_of_storage(claim));
    const struct obj *volume = claim_reserved(v, claim, &out->arena);
    if (volume) {
        claim_bind(out, claim, volume);
        return;
    }
    bool delayed = class_is_delayed(class);
    if (!delayed && claim_free(v, claim, &out->arena))
        return; /* volume_match.c gives it that one, or another that suits it */
    if (class_given(v, claim, out) || node_forgotten(v, claim, out))
        return;
    if (delayed && obj_note(claim, ANN_SELECTED_NODE).n == 0) {
        tell_waiting(v, claim, out);
    } else if (class_of_storage(claim).n > 0) {
        claim_provision(v, claim, class, out);
        return;
    } else {
        claim_tell(v, out, claim, "Normal", "FailedBinding",
                   "no persistent volumes available for this claim and no storage class is set");
    }
    claim_phase(out, claim, "Pending", NULL);
}

static void claim_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct obj *claim = view_get(v, K(PersistentVolumeClaim), key.ns, key.name);
    if (!claim)
        return;
    if (v->trouble.n > 0) /* its own writes are refused: it goes on trying, and says so */
        claim_tell(v, out, claim, "Warning", "FailedBinding", "cannot bind: " STR_FMT, STR_ARG(v->trouble));
    struct str provisioner = obj_note(claim, ANN_PROVISIONER);
    if (plan_migrated(out, claim, provisioner.n ? provisioner : obj_note(claim, ANN_PROVISIONER_BETA)))
        return;
    if (obj_has_note(claim, ANN_BIND_COMPLETED))
        claim_bound(v, claim, out);
    else if (claim_volume(claim).n > 0)
        claim_asks(v, claim, out);
    else
        claim_unbound(v, claim, out);
}

/* ---- whom a change concerns ---- */

static void key_of_ref(const struct obj *volume, keys_add_fn *add, void *arg)
{
    const struct val *ref = volume ? volume_claim(volume) : NULL;
    if (ref)
        add(arg, val_text_at(ref, N(namespace)), val_text_at(ref, N(name)));
}

/* Nobody who counted on it need look again: there is another. So a thousand volumes that are taken at once are not a
 * million looks. */
static bool volume_is_replaced(const struct view *v, const struct obj *was)
{
    struct obj *o;
    for (struct objset_iter it = view_with(v, K(PersistentVolume), &index_volume_free, class_of_storage(was));
         (o = objset_next(&it));)
        if (volume_replaces(o, was))
            return true;
    return false;
}

static void keys_of_volume(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                           void *arg)
{
    struct obj *claim;
    key_of_ref(was, add, arg);
    key_of_ref(now, add, arg);
    for (struct objset_iter it = view_with(v, K(PersistentVolumeClaim), &index_claim_volume, (now ? now : was)->name);
         (claim = objset_next(&it));)
        add(arg, claim->ns, claim->name);
    /* who counted on it as a free one; whom a new one suits hears of it once it is given to him */
    if (was && volume_is_free(was) && (!now || !volume_is_free(now)) &&
        !class_is_delayed(class_get(v, class_of_storage(was))) && !volume_is_replaced(v, was))
        keys_of_class(v, class_of_storage(was), add, arg);
}

static void keys_of_storage_class(const struct view *v, const struct obj *was, const struct obj *now,
                                  keys_add_fn *add, void *arg)
{
    keys_of_class(v, (now ? now : was)->name, add, arg);
    keys_of_class(v, S(""), add, arg); /* it may be the default */
}

static void keys_of_pod(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                        void *arg)
{
    AUTO(arena_fini) struct arena a = ARENA;
    const struct obj *pod = now ? now : was;
    if (was && now && str_eq(val_text_at(obj_spec(was), N(nodeName)), val_text_at(obj_spec(now), N(nodeName))))
        return;
    val_each_item (volume, val_get(obj_spec(pod), N(volumes))) {
        struct str name = pod_claim(&a, pod, volume);
        const struct obj *claim = name.n ? view_get(v, K(PersistentVolumeClaim), pod->ns, name) : NULL;
        if (claim && claim_volume(claim).n == 0)
            add(arg, claim->ns, claim->name);
    }
}

static void keys_of_node(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                         void *arg)
{
    struct obj *o;
    bool comes = now && node_takes_volumes(now) && !(was && node_takes_volumes(was));
    if (now && !comes)
        return;
    for (struct objset_iter it = view_all(v, K(PersistentVolumeClaim)); (o = objset_next(&it));)
        if (claim_volume(o).n == 0 && str_eq(obj_note(o, ANN_SELECTED_NODE), comes ? S("") : was->name))
            add(arg, o->ns, o->name);
}

static const struct controller_watch watches[] = {{K(PersistentVolumeClaim), keys_self},
                                                  {K(PersistentVolume), keys_of_volume},
                                                  {K(StorageClass), keys_of_storage_class},
                                                  {K(Pod), keys_of_pod},
                                                  {K(Node), keys_of_node},
                                                  {0}};
const struct controller claims_controller = {
    .name = "claims",
    .component = "persistentvolume-controller",
    .account = "persistent-volume-binder",
    .watches = watches,
    .plan = claim_plan,
};
