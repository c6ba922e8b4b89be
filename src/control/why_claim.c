/* Claims and volumes: who is waited for, what the nearest volume lacks, what is kept and for whom. */
#include "api/codec.h"
#include "api/csi_source.h"
#include "api/quantity.h"
#include "api/selector.h"
#include "control/sched_csi.h"
#include "control/volumes.h"
#include "control/why_int.h"

#define PATIENCE                                                                                                     \
    (60 * NS_PER_S) /* a provisioner that has said nothing for so long is taken for one that is not there */

static struct str size_text(const struct val *sizes)
{
    return val_text(val_get_str(sizes, S("storage")));
}

static struct str size_wanted(const struct obj *claim)
{
    return size_text(val_at(obj_spec(claim), N(resources), N(requests)));
}

static bool sets_are_read(const struct question *q)
{
    return q->v->sets[K(PersistentVolume)->id] && q->v->sets[K(StorageClass)->id];
}

/* ---- what a volume lacks for a claim ---- */

static void lack_add(struct question *q, struct strbuf *b, size_t *n, const char *fmt, ...) PRINTF(4, 5);
static void lack_add(struct question *q, struct strbuf *b, size_t *n, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    struct str text = arena_vfmt(q->a, fmt, args);
    va_end(args);
    strbuf_addf(b, "%s" STR_FMT, (*n)++ ? " and " : "", STR_ARG(text));
}

static struct str mode_missing(const struct obj *volume, const struct obj *claim)
{
    val_each_item (want, val_get(obj_spec(claim), N(accessModes))) {
        bool has = false;
        val_each_item (it, val_get(obj_spec(volume), N(accessModes)))
            has |= str_eq(val_text(it), val_text(want));
        if (!has)
            return val_text(want);
    }
    return S("");
}

static size_t lacks_of(struct question *q, const struct obj *volume, const struct obj *claim, struct str *text)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    const struct val *ref = volume_claim(volume), *selector = val_get(obj_spec(claim), N(selector));
    struct str class = class_of_storage(volume), mode = val_text_at(obj_spec(volume), N(volumeMode)),
               wanted = val_text_at(obj_spec(claim), N(volumeMode)), access = mode_missing(volume, claim);
    size_t n = 0;
    if (obj_deleting(volume))
        lack_add(q, &b, &n, "is being deleted");
    if (str_eqz(val_text_at(obj_status(volume), N(phase)), "Released") ||
        str_eqz(val_text_at(obj_status(volume), N(phase)), "Failed"))
        lack_add(q, &b, &n, "is kept for claim " STR_FMT "/" STR_FMT ", which was deleted",
                 STR_ARG(val_text_at(ref, N(namespace))), STR_ARG(val_text_at(ref, N(name))));
    else if (ref)
        lack_add(q, &b, &n, "belongs to claim " STR_FMT "/" STR_FMT, STR_ARG(val_text_at(ref, N(namespace))),
                 STR_ARG(val_text_at(ref, N(name))));
    if (volume_size(volume) < claim_size(claim))
        lack_add(q, &b, &n, "has " STR_FMT, STR_ARG(size_text(val_get(obj_spec(volume), N(capacity)))));
    if (!str_eq(class, class_of_storage(claim)))
        lack_add(q, &b, &n, class.n ? "is of class " STR_FMT : "is of no class" STR_FMT, STR_ARG(class));
    if (!str_eq(mode, wanted))
        lack_add(q, &b, &n, "has volumeMode " STR_FMT, STR_ARG(mode));
    if (access.n > 0)
        lack_add(q, &b, &n, "does not offer " STR_FMT, STR_ARG(access));
    if (selector && !label_selector_matches(selector, obj_labels(volume)))
        lack_add(q, &b, &n, "has not the labels of its selector");
    if (!str_eq(val_text_at(obj_spec(volume), N(volumeAttributesClassName)),
                val_text_at(obj_spec(claim), N(volumeAttributesClassName))))
        lack_add(q, &b, &n, "has another volumeAttributesClassName");
    *text = str_dup(q->a, strbuf_str(&b));
    return n;
}

/* ", the nearest one, pv2, has 1Gi"; "" where there are no volumes at all. */
static struct str nearest_volume(struct question *q, const struct obj *claim)
{
    struct obj *o, *best = NULL;
    struct str best_text = S("");
    size_t least = 0;
    for (struct objset_iter it = view_all(q->v, K(PersistentVolume)); (o = objset_next(&it));) {
        struct str text;
        size_t n = lacks_of(q, o, claim, &text);
        if (n > 0 && (!best || n < least || (n == least && volume_before(o, best)))) {
            best = o;
            least = n;
            best_text = text;
        }
    }
    return best ? arena_fmt(q->a, ": the nearest one, " STR_FMT ", " STR_FMT, STR_ARG(best->name), STR_ARG(best_text))
                : S("");
}

static struct str what_is_asked(struct question *q, const struct obj *claim)
{
    struct str class = class_of_storage(claim), mode = val_text_at(obj_spec(claim), N(volumeMode));
    return arena_fmt(q->a, STR_FMT ", " STR_FMT "%s%s" STR_FMT, STR_ARG(size_wanted(claim)),
                     STR_ARG(val_text(val_item(val_get(obj_spec(claim), N(accessModes)), 0))),
                     str_eqz(mode, "Block") ? ", Block" : "", class.n ? ", class " : ", no class", STR_ARG(class));
}

/* ---- a claim that waits ---- */

static struct str classes_text(struct question *q)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct obj *o;
    size_t n = 0;
    for (struct objset_iter it = view_all(q->v, K(StorageClass)); (o = objset_next(&it)) && n < 5;)
        strbuf_addf(&b, "%s" STR_FMT, n++ ? ", " : "", STR_ARG(o->name));
    return str_dup(q->a, strbuf_str(&b));
}

static void say_asked_volume(struct question *q, const struct obj *claim, struct finding *f)
{
    struct str name = claim_volume(claim);
    const struct obj *volume = view_get(q->v, K(PersistentVolume), S(""), name);
    const struct val *ref = volume ? volume_claim(volume) : NULL;
    if (!volume) {
        why_found(q, f, "VolumeMissing", "the volume that it asks for (spec.volumeName), " STR_FMT ", does not exist",
                  STR_ARG(name));
        why_way(q, f, "Make it, or delete the claim and make it anew without spec.volumeName");
    } else if (ref && !volume_names(volume, claim)) {
        bool old = str_eq(val_text_at(ref, N(name)), claim->name) &&
                   str_eq(val_text_at(ref, N(namespace)), claim->ns);
        why_found(q, f, "VolumeTaken",
                  "the volume that it asks for, " STR_FMT ", belongs to %sclaim " STR_FMT "/" STR_FMT, STR_ARG(name),
                  old ? "an earlier " : "", STR_ARG(val_text_at(ref, N(namespace))),
                  STR_ARG(val_text_at(ref, N(name))));
        if (old)
            why_way(q, f,
                    "Give it to this one: kubectl patch pv/" STR_FMT
                    " --type=merge -p '{\"spec\":{\"claimRef\":null}}'",
                    STR_ARG(name));
        else
            why_way(q, f, "Ask for another: the claim has to be made anew");
    } else {
        struct str lacks;
        if (!ref && volume_mismatch(volume, claim, true, q->a) && lacks_of(q, volume, claim, &lacks) > 0) {
            why_found(q, f, "VolumeMismatch",
                      "the volume that it asks for, " STR_FMT ", does not suit it (" STR_FMT "), as it " STR_FMT,
                      STR_ARG(name), STR_ARG(what_is_asked(q, claim)), STR_ARG(lacks));
            why_way(q, f, "Ask for what the volume has: the claim has to be made anew");
        }
    }
    why_coming(q, f, "ClaimBinding", "it is being bound to " STR_FMT, STR_ARG(name));
}

/* A pod that uses it: one on a node, or one that waits for a node. */
static const struct obj *consumer_of(struct question *q, const struct obj *claim, bool on_node)
{
    struct obj *pod;
    for (struct objset_iter it = view_with(q->v, K(Pod), &index_pod_claims, claim_key(q->a, claim->ns, claim->name));
         (pod = objset_next(&it));)
        if (pod_is_active(pod) && (pod_node(pod).n > 0) == on_node)
            return pod;
    return NULL;
}

static void say_first_consumer(struct question *q, const struct obj *claim, struct finding *f)
{
    const struct obj *pod = consumer_of(q, claim, false);
    if (!pod) {
        why_coming(q, f, "NoConsumer", "it gets its volume when the first pod uses it, as its class " STR_FMT " says",
                   STR_ARG(class_of_storage(claim)));
        return;
    }
    struct finding one = {0};
    struct question other = why_about(q, pod);
    why_unscheduled(&other, pod, &one);
    why_behind(q, f, arena_fmt(q->a, "it waits for its pod " STR_FMT ", which", STR_ARG(pod->name)), &one);
    why_coming(q, f, "NoConsumer", "it waits for its pod " STR_FMT " to be scheduled", STR_ARG(pod->name));
}

/* The newest thing that somebody else than the binder complained of. */
static const struct obj *complaint_of(struct question *q, const struct obj *about, const char *reason)
{
    struct obj *e;
    const struct obj *best = NULL;
    struct str ns = about->ns.n ? about->ns : S("default");
    for (struct objset_iter it = view_with(q->v, K(Event), &index_namespace, ns); (e = objset_next(&it));)
        if (str_eq(val_text_at(&e->tree, N(involvedObject), N(uid)), about->uid) &&
            str_eqz(val_text_at(&e->tree, N(reason)), reason) &&
            !str_eqz(val_text_at(&e->tree, N(source), N(component)), "persistentvolume-controller") &&
            (!best || why_event_time(e) >= why_event_time(best)))
            best = e;
    return best;
}

static void say_provisioner(struct question *q, const struct obj *claim, const struct obj *class, struct finding *f)
{
    struct str named = val_text_at(&class->tree, N(provisioner)), next = csi_driver_after(named),
               node = obj_note(claim, ANN_SELECTED_NODE);
    struct str who = next.n ? next : named;
    if (next.n == 0 && str_starts(named, S("kubernetes.io/"))) {
        why_found(q, f, "NobodyProvisions",
                  "no volume is free that suits it (" STR_FMT "), and its class makes none (provisioner " STR_FMT
                  ")" STR_FMT,
                  STR_ARG(what_is_asked(q, claim)), STR_ARG(named), STR_ARG(nearest_volume(q, claim)));
        why_way(q, f, "Make a PersistentVolume of class " STR_FMT, STR_ARG(class->name));
        return;
    }
    const struct obj *wrong = complaint_of(q, claim, "ProvisioningFailed"),
                     *told = why_event(q, claim, "ExternalProvisioning", S(""), S(""));
    int64_t since = told ? val_time(val_get(&told->tree, N(firstTimestamp))) : obj_created(claim);
    if (str_eqz(who, LOCAL_PROVISIONER) && node.n == 0) {
        why_found(q, f, "NoNodeForVolume", "no node is ready on whose disk class " STR_FMT " may have a volume",
                  STR_ARG(class->name));
        why_way(q, f, "Look at kubectl get nodes, and at the class's allowedTopologies");
    } else if (wrong && str_eqz(who, LOCAL_PROVISIONER)) {
        why_disk_made(q, claim, class, why_event_text(wrong), f);
    } else if (wrong) {
        why_found(q, f, "ProvisioningFailed", "its provisioner " STR_FMT " fails: " STR_FMT, STR_ARG(who),
                  STR_ARG(why_quoted(q, why_event_text(wrong))));
        why_way(q, f, "Mend what it complains of; it tries again by itself");
    } else if (q->v->now - since < PATIENCE) {
        why_coming(q, f, "ClaimProvisioning", "its volume is being made by " STR_FMT "%s" STR_FMT, STR_ARG(who),
                   node.n ? " for node " : "", STR_ARG(node));
    } else {
        why_found(q, f, "ProvisionerSilent", "nobody makes its volume: " STR_FMT " has not answered since " STR_FMT,
                  STR_ARG(who), STR_ARG(time_text(q->a, since)));
        if (str_eqz(who, "wherry.dev/local"))
            why_way(q, f, "It is the node that makes it: wherry why node%s" STR_FMT, node.n ? "/" : "",
                    STR_ARG(node));
        else
            why_way(q, f, "See whether that provisioner runs (kubectl get pods -A), or make a volume by hand");
    }
}

static void say_no_class(struct question *q, const struct obj *claim, struct finding *f)
{
    struct str classes = classes_text(q);
    why_found(q, f, "NoVolume", "no volume is free that suits it (" STR_FMT ")%s" STR_FMT,
              STR_ARG(what_is_asked(q, claim)), claim_has_class(claim) ? "" : ", and no StorageClass is the default",
              STR_ARG(nearest_volume(q, claim)));
    if (claim_has_class(claim) || classes.n == 0)
        why_way(q, f, "Make such a PersistentVolume, or make the claim anew with a class that provisions");
    else
        why_way(q, f,
                "Make one the default: kubectl annotate sc/NAME " ANN_DEFAULT_CLASS "=true (there is " STR_FMT
                "); or make such a PersistentVolume",
                STR_ARG(classes));
}

static void say_class_missing(struct question *q, const struct obj *claim, struct finding *f)
{
    struct nearest near = {.wanted = class_of_storage(claim)};
    struct obj *o;
    for (struct objset_iter it = view_all(q->v, K(StorageClass)); (o = objset_next(&it));)
        nearest_try(&near, o->name);
    why_found(q, f, "ClassMissing", "its class " STR_FMT " does not exist, and no volume of it suits" STR_FMT,
              STR_ARG(near.wanted), STR_ARG(nearest_volume(q, claim)));
    if (near.best.n > 0)
        why_way(q, f, "Make the class, or the claim anew with class " STR_FMT, STR_ARG(near.best));
    else
        why_way(q, f, "Make the class, or the claim anew with one that there is: kubectl get sc");
}

static void say_pending(struct question *q, const struct obj *claim, struct finding *f)
{
    const struct obj *class = class_get(q->v, class_of_storage(claim)), *volume = claim_reserved(q->v, claim, q->a);
    bool late = class_is_delayed(class);
    const struct obj *told = why_event(q, claim, "FailedBinding", S("cannot bind"), S(""));
    if (!volume && !late)
        volume = claim_free(q->v, claim, q->a);
    if (volume && told) {
        why_found(q, f, "BindingRefused", "it cannot be bound to " STR_FMT ": " STR_FMT, STR_ARG(volume->name),
                  STR_ARG(why_quoted(q, why_event_text(told))));
        why_way(q, f, "Let whoever refuses that allow it; it is tried again by itself");
    } else if (volume)
        why_coming(q, f, "ClaimBinding", "it is being bound to " STR_FMT, STR_ARG(volume->name));
    else if (late && obj_note(claim, ANN_SELECTED_NODE).n == 0)
        say_first_consumer(q, claim, f);
    else if (class)
        say_provisioner(q, claim, class, f);
    else if (class_of_storage(claim).n > 0)
        say_class_missing(q, claim, f);
    else if (!claim_has_class(claim) && class_default(q->v))
        why_coming(q, f, "ClaimBinding", "it is about to get the default class " STR_FMT,
                   STR_ARG(class_default(q->v)->name));
    else
        say_no_class(q, claim, f);
}

/* ---- a claim that is to grow ---- */

static void say_growth(struct question *q, const struct obj *claim, struct finding *f)
{
    static const char *const wrong[] = {"ControllerResizeError", "NodeResizeError"};
    const struct val *status = obj_status(claim);
    struct str has = size_text(val_get(status, N(capacity))), wants = size_wanted(claim);
    const struct obj *volume = view_get(q->v, K(PersistentVolume), S(""), claim_volume(claim));
    if (quantity_cmp(wants, has) <= 0)
        return;
    struct str grows = arena_fmt(q->a, "it is to grow from " STR_FMT " to " STR_FMT, STR_ARG(has), STR_ARG(wants));
    for (size_t i = 0; i < countof(wrong); i++)
        if (condition_is(status, wrong[i], "True")) {
            why_found(q, f, "GrowthFailed", STR_FMT ", which fails: " STR_FMT, STR_ARG(grows),
                      STR_ARG(why_quoted(q, val_text_at(condition_get(status, wrong[i]), N(message)))));
            why_way(q, f, "Ask for less, down to what it has: kubectl edit " STR_FMT, STR_ARG(why_target(q, claim)));
        }
    const struct obj *pod = consumer_of(q, claim, true);
    if (condition_is(status, "FileSystemResizePending", "True") && pod)
        why_coming(q, f, "GrowthPending",
                   STR_FMT ": the volume has grown; its file system follows while pod " STR_FMT
                           " uses it, or else when that starts anew: kubectl delete " STR_FMT,
                   STR_ARG(grows), STR_ARG(pod->name), STR_ARG(why_target(q, pod)));
    else if (condition_is(status, "FileSystemResizePending", "True"))
        why_coming(q, f, "GrowthPending", STR_FMT ": the volume has grown, its file system does when a pod uses it",
                   STR_ARG(grows));
    if (volume && !obj_has_note(volume, ANN_PROVISIONED_BY) && !val_get(obj_spec(volume), N(csi)) &&
        why_found(q, f, "NobodyGrows", STR_FMT ", and nobody grows its volume " STR_FMT ", which was made by hand",
                  STR_ARG(grows), STR_ARG(volume->name)))
        why_way(q, f, "Ask for less again: kubectl edit " STR_FMT, STR_ARG(why_target(q, claim)));
    why_coming(q, f, "Growing", STR_FMT, STR_ARG(grows));
}

void why_claim(struct question *q, const struct obj *claim, struct finding *f)
{
    struct str volume = claim_volume(claim), phase = val_text_at(obj_status(claim), N(phase));
    why_chain(q, f, "PersistentVolumeClaim " STR_FMT ": " STR_FMT ", asks for " STR_FMT, STR_ARG(claim->name),
              STR_ARG(phase), STR_ARG(what_is_asked(q, claim)));
    if (str_eqz(phase, "Bound")) {
        why_disk_lost(q, claim, f);
        say_growth(q, claim, f);
        if (f->state == WHY_FINE)
            f->reason = arena_fmt(q->a, "it is bound to " STR_FMT, STR_ARG(volume));
    } else if (str_eqz(phase, "Lost")) {
        why_found(q, f, "ClaimLost", "its volume " STR_FMT " is gone or another's, and what was on it with it",
                  STR_ARG(volume));
        why_way(q, f,
                "Make the claim anew: kubectl delete " STR_FMT "; where the data are elsewhere, make volume " STR_FMT
                " again",
                STR_ARG(why_target(q, claim)), STR_ARG(volume));
    } else if (!sets_are_read(q)) { /* what the binder says is all that can be known */
        const struct obj *told = NULL;
        static const char *const reasons[] = {"FailedBinding", "ProvisioningFailed", "VolumeMismatch"};
        for (size_t i = 0; !told && i < countof(reasons); i++)
            told = why_event(q, claim, reasons[i], S(""), S(""));
        if (told)
            why_found(q, f, "NoVolume", "it has no volume: " STR_FMT, STR_ARG(why_quoted(q, why_event_text(told))));
        why_coming(q, f, "ClaimBinding", "it waits for a volume");
    } else if (volume.n > 0) {
        say_asked_volume(q, claim, f);
    } else {
        say_pending(q, claim, f);
    }
}

/* ---- volumes ---- */

static bool node_for(struct question *q, const struct obj *volume)
{
    struct obj *node;
    for (struct objset_iter it = view_all(q->v, K(Node)); (node = objset_next(&it));)
        if (csi_volume_takes_node(q->v, q->a, volume, node))
            return true;
    return !val_at(obj_spec(volume), N(nodeAffinity), N(required));
}

/* The first value of the first requirement of its affinity, for who wants to know where it was. */
static struct str place_of(struct question *q, const struct obj *volume)
{
    const struct val *r = val_item(
        val_get(val_item(val_at(obj_spec(volume), N(nodeAffinity), N(required), N(nodeSelectorTerms)), 0),
                N(matchExpressions)),
        0);
    return arena_fmt(q->a, STR_FMT "=" STR_FMT, STR_ARG(val_text_at(r, N(key))),
                     STR_ARG(val_text(val_item(val_get(r, N(values)), 0))));
}

bool why_kept(struct question *q, const struct obj *o, struct finding *f)
{
    struct str first = val_text(val_item(val_get(obj_meta(o), N(finalizers)), 0));
    struct obj *pod;
    if (o->kind == K(PersistentVolume) && str_eqz(first, "kubernetes.io/pv-protection") && volume_claim(o)) {
        const struct val *ref = volume_claim(o);
        why_found(q, f, "VolumeUsed", "its claim " STR_FMT "/" STR_FMT " has it still",
                  STR_ARG(val_text_at(ref, N(namespace))), STR_ARG(val_text_at(ref, N(name))));
        why_way(q, f, "Delete the claim first: kubectl delete pvc/" STR_FMT STR_FMT,
                STR_ARG(val_text_at(ref, N(name))), STR_ARG(why_ns_flag(q, val_text_at(ref, N(namespace)))));
        return true;
    }
    if (o->kind != K(PersistentVolumeClaim) || !str_eqz(first, "kubernetes.io/pvc-protection"))
        return false;
    for (struct objset_iter it = view_with(q->v, K(Pod), &index_pod_claims, claim_key(q->a, o->ns, o->name));
         (pod = objset_next(&it));)
        if (pod_node(pod).n > 0) {
            why_found(q, f, "ClaimUsed", "pod " STR_FMT " uses it%s", STR_ARG(pod->name),
                      pod_is_over(pod) ? ", even though it is over" : "");
            why_way(q, f, "Delete the pod first: kubectl delete " STR_FMT, STR_ARG(why_target(q, pod)));
            return true;
        }
    return false;
}

void why_volume(struct question *q, const struct obj *volume, struct finding *f)
{
    struct str phase = val_text_at(obj_status(volume), N(phase)), by = obj_note(volume, ANN_PROVISIONED_BY),
               policy = val_text_at(obj_spec(volume), N(persistentVolumeReclaimPolicy));
    const struct val *ref = volume_claim(volume);
    struct str claim = claim_key(q->a, val_text_at(ref, N(namespace)), val_text_at(ref, N(name)));
    const char *free_it = " --type=merge -p '{\"spec\":{\"claimRef\":null}}'";
    why_chain(q, f, "PersistentVolume " STR_FMT ": " STR_FMT ", " STR_FMT ", " STR_FMT, STR_ARG(volume->name),
              STR_ARG(phase), STR_ARG(size_text(val_get(obj_spec(volume), N(capacity)))), STR_ARG(policy));
    if (str_eqz(phase, "Failed")) {
        why_found(q, f, "VolumeFailed", "its claim " STR_FMT " is gone, and it was to be %s: " STR_FMT,
                  STR_ARG(claim), str_eqz(policy, "Recycle") ? "recycled" : "deleted",
                  STR_ARG(val_text_at(obj_status(volume), N(message))));
        why_way(q, f,
                "Clear it by hand, then kubectl delete pv/" STR_FMT "; or use it again: kubectl patch pv/" STR_FMT
                "%s",
                STR_ARG(volume->name), STR_ARG(volume->name), free_it);
    } else if (str_eqz(phase, "Released") && str_eqz(policy, "Retain")) {
        why_found(q, f, "VolumeReleased",
                  "its claim " STR_FMT
                  " is gone, and it is kept with its data (persistentVolumeReclaimPolicy Retain): "
                  "no other claim gets it",
                  STR_ARG(claim));
        why_way(q, f, "Let claims have it again: kubectl patch pv/" STR_FMT "%s; or kubectl delete pv/" STR_FMT,
                STR_ARG(volume->name), free_it, STR_ARG(volume->name));
    } else if (str_eqz(phase, "Released")) {
        const struct obj *wrong = complaint_of(q, volume, "VolumeFailedDelete");
        if (wrong && why_found(q, f, "VolumeFailed",
                               "its claim " STR_FMT " is gone, and " STR_FMT " fails to delete it: " STR_FMT,
                               STR_ARG(claim), STR_ARG(by), STR_ARG(why_quoted(q, why_event_text(wrong)))))
            why_way(q, f, "Mend what it complains of; it tries again by itself");
        why_coming(q, f, "VolumeGoing", "its claim " STR_FMT " is gone, and " STR_FMT " is to delete it",
                   STR_ARG(claim), STR_ARG(by));
    } else if (q->v->sets[K(Node)->id] && !node_for(q, volume)) {
        why_found(q, f, "VolumeNodeGone",
                  "it can be used on no node that there is (its nodeAffinity wants " STR_FMT ")",
                  STR_ARG(place_of(q, volume)));
        why_way(q, f, "Bring that node back, or make another volume: nodeAffinity cannot be changed");
    } else if (str_eqz(phase, "Bound")) {
        f->reason = arena_fmt(q->a, "it is bound to claim " STR_FMT, STR_ARG(claim));
    } else {
        f->reason = ref ? arena_fmt(q->a, "it is kept for claim " STR_FMT, STR_ARG(claim)) : S("it is free");
    }
}

/* ---- pods ---- */

static const struct obj *claim_waiting(struct question *q, const struct obj *pod)
{
    val_each_item (volume, val_get(obj_spec(pod), N(volumes))) {
        struct str name = pod_claim(q->a, pod, volume);
        const struct obj *claim = name.n ? view_get(q->v, K(PersistentVolumeClaim), pod->ns, name) : NULL;
        if (claim && !claim_is_bound(claim) &&
            (!class_is_delayed(class_get(q->v, class_of_storage(claim))) || claim_volume(claim).n > 0 ||
             obj_has_note(claim, ANN_SELECTED_NODE)))
            return claim;
    }
    return NULL;
}

static bool say_claim_missing(struct question *q, const struct obj *pod, struct str name, bool made,
                              struct finding *f)
{
    struct nearest near = {.wanted = name};
    struct obj *o;
    if (made)
        return why_coming(q, f, "ClaimComing", "waits until its claim " STR_FMT " is made", STR_ARG(name));
    for (struct objset_iter it = view_with(q->v, K(PersistentVolumeClaim), &index_namespace, pod->ns);
         (o = objset_next(&it));)
        nearest_try(&near, o->name);
    why_found(q, f, "ClaimMissing", "waits: its PersistentVolumeClaim " STR_FMT " does not exist", STR_ARG(name));
    if (near.best.n > 0)
        why_way(q, f, "Make it, or use " STR_FMT ", which there is: " STR_FMT, STR_ARG(near.best),
                STR_ARG(why_edit(q)));
    else
        why_way(q, f, "Make it: kubectl apply -f FILE");
    return true;
}

static bool say_claim_unusable(struct question *q, const struct obj *pod, const struct obj *claim, bool made,
                               struct finding *f)
{
    if (obj_deleting(claim)) {
        why_found(q, f, "ClaimGoing", "waits: its PersistentVolumeClaim " STR_FMT " is being deleted",
                  STR_ARG(claim->name));
        why_way(q, f, "See what keeps it: wherry why " STR_FMT "; then make it anew", STR_ARG(why_target(q, claim)));
        return true;
    }
    if (made && !claim_is_for_pod(claim, pod)) {
        why_found(q, f, "ClaimConflict",
                  "waits: the PersistentVolumeClaim " STR_FMT " of its ephemeral volume is not its own",
                  STR_ARG(claim->name));
        why_way(q, f, "Delete that claim, if nobody needs it (kubectl delete " STR_FMT "), or rename the pod",
                STR_ARG(why_target(q, claim)));
        return true;
    }
    if (!str_eqz(val_text_at(obj_status(claim), N(phase)), "Lost"))
        return false;
    struct finding one = {0};
    struct question other = why_about(q, claim);
    why_claim(&other, claim, &one);
    why_behind(q, f, arena_fmt(q->a, "waits for its claim " STR_FMT ":", STR_ARG(claim->name)), &one);
    return true;
}

bool why_pod_claims(struct question *q, const struct obj *pod, struct finding *f)
{
    if (!q->v->sets[K(PersistentVolumeClaim)->id])
        return false;
    val_each_item (volume, val_get(obj_spec(pod), N(volumes))) {
        struct str name = pod_claim(q->a, pod, volume);
        bool made = val_get(volume, N(ephemeral)) != NULL;
        const struct obj *claim = name.n ? view_get(q->v, K(PersistentVolumeClaim), pod->ns, name) : NULL;
        if (name.n > 0 && !claim)
            return say_claim_missing(q, pod, name, made, f);
        if (claim && say_claim_unusable(q, pod, claim, made, f))
            return true;
    }
    const struct obj *claim = claim_waiting(q, pod);
    if (!claim || !q->v->sets[K(StorageClass)->id])
        return false;
    struct finding one = {0};
    struct question other = why_about(q, claim);
    why_claim(&other, claim, &one);
    why_behind(q, f, arena_fmt(q->a, "waits for its claim " STR_FMT ":", STR_ARG(claim->name)), &one);
    return f->state != WHY_FINE;
}

/* ---- what the scheduler's words mean for the pod ---- */

static const struct obj *volume_elsewhere(struct question *q, const struct obj *pod)
{
    val_each_item (v, val_get(obj_spec(pod), N(volumes))) {
        struct str name = pod_claim(q->a, pod, v);
        const struct obj *claim = name.n ? view_get(q->v, K(PersistentVolumeClaim), pod->ns, name) : NULL;
        const struct obj *volume = claim && claim_is_bound(claim)
                                       ? view_get(q->v, K(PersistentVolume), S(""), claim_volume(claim))
                                       : NULL;
        struct obj *node;
        for (struct objset_iter it = view_all(q->v, K(Node)); volume && (node = objset_next(&it));)
            if (!csi_volume_takes_node(q->v, q->a, volume, node))
                return volume;
    }
    return NULL;
}

struct str why_volume_place(struct question *q, const struct obj *pod)
{
    const struct obj *volume = volume_elsewhere(q, pod);
    return volume ? arena_fmt(q->a, "its volume " STR_FMT " is %s (" STR_FMT ")", STR_ARG(volume->name),
                              node_for(q, volume) ? "on another node" : "on no node that there is",
                              STR_ARG(place_of(q, volume)))
                  : S("its volumes are on other nodes");
}

struct str why_volume_lacking(struct question *q, const struct obj *pod)
{
    val_each_item (v, val_get(obj_spec(pod), N(volumes))) {
        struct str name = pod_claim(q->a, pod, v);
        const struct obj *claim = name.n ? view_get(q->v, K(PersistentVolumeClaim), pod->ns, name) : NULL;
        const struct obj *class = claim ? class_get(q->v, class_of_storage(claim)) : NULL;
        if (!claim || claim_is_bound(claim) || !class_is_delayed(class))
            continue;
        struct str node = obj_note(claim, ANN_SELECTED_NODE);
        if (node.n > 0)
            return arena_fmt(q->a, "the volume of its claim " STR_FMT " is being made for node " STR_FMT,
                             STR_ARG(name), STR_ARG(node));
        struct obj *o;
        for (struct objset_iter it = view_with(q->v, K(PersistentVolume), &index_volume_free, class->name);
             (o = objset_next(&it));)
            if (volume_suits(o, claim, q->a))
                return arena_fmt(
                    q->a, "a volume for its claim " STR_FMT " is free only elsewhere (" STR_FMT " on " STR_FMT ")",
                    STR_ARG(name), STR_ARG(o->name), STR_ARG(place_of(q, o)));
        return arena_fmt(q->a, "no volume is free for its claim " STR_FMT " (" STR_FMT ")" STR_FMT, STR_ARG(name),
                         STR_ARG(what_is_asked(q, claim)), STR_ARG(nearest_volume(q, claim)));
    }
    return S("no volume is free for its claims");
}
