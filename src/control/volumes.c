#include "control/volumes.h"
#include "api/csi_source.h"
#include "api/placement.h"
#include "api/quantity.h"
#include "api/selector.h"

struct str class_of_storage(const struct obj *o)
{
    return obj_has_note(o, ANN_CLASS_BETA) ? obj_note(o, ANN_CLASS_BETA)
                                           : val_text_at(obj_spec(o), N(storageClassName));
}

bool claim_has_class(const struct obj *claim)
{
    return obj_has_note(claim, ANN_CLASS_BETA) || val_get(obj_spec(claim), N(storageClassName));
}

const struct obj *class_default(const struct view *v)
{
    const struct obj *best = NULL;
    struct obj *o;
    for (struct objset_iter it = view_all(v, K(StorageClass)); (o = objset_next(&it));) {
        if (!str_eqz(obj_note(o, ANN_DEFAULT_CLASS), "true") &&
            !str_eqz(obj_note(o, "storageclass.beta.kubernetes.io/is-default-class"), "true"))
            continue;
        int newer = best ? str_cmp(val_text_at(obj_meta(o), N(creationTimestamp)),
                                   val_text_at(obj_meta(best), N(creationTimestamp)))
                         : 1;
        if (newer > 0 || (newer == 0 && str_cmp(o->name, best->name) < 0))
            best = o;
    }
    return best;
}

bool class_is_delayed(const struct obj *class)
{
    return class && str_eqz(val_text_at(&class->tree, N(volumeBindingMode)), "WaitForFirstConsumer");
}

const struct obj *class_get(const struct view *v, struct str name)
{
    return name.n ? view_get(v, K(StorageClass), S(""), name) : NULL;
}

int64_t claim_size(const struct obj *claim)
{
    return quantity_value(val_text(val_get_str(val_at(obj_spec(claim), N(resources), N(requests)), S("storage"))));
}

int64_t volume_size(const struct obj *volume)
{
    return quantity_value(val_text(val_get_str(val_get(obj_spec(volume), N(capacity)), S("storage"))));
}

struct str claim_volume(const struct obj *claim)
{
    return val_text_at(obj_spec(claim), N(volumeName));
}

const struct val *volume_claim(const struct obj *volume)
{
    const struct val *ref = val_get(obj_spec(volume), N(claimRef));
    return val_is(ref, VAL_MAP) ? ref : NULL;
}

bool claim_is_bound(const struct obj *claim)
{
    return claim_volume(claim).n > 0 && obj_has_note(claim, ANN_BIND_COMPLETED);
}

bool volume_names(const struct obj *volume, const struct obj *claim)
{
    const struct val *ref = volume_claim(volume);
    struct str uid = val_text_at(ref, N(uid));
    return ref && str_eq(val_text_at(ref, N(name)), claim->name) &&
           str_eq(val_text_at(ref, N(namespace)), claim->ns) && (uid.n == 0 || str_eq(uid, claim->uid));
}

bool volume_is_free(const struct obj *volume)
{
    return !volume_claim(volume) && !obj_deleting(volume) &&
           str_eqz(val_text_at(obj_status(volume), N(phase)), "Available");
}

static bool modes_suit(const struct obj *volume, const struct obj *claim)
{
    val_each_item (want, val_get(obj_spec(claim), N(accessModes))) {
        bool has = false;
        val_each_item (it, val_get(obj_spec(volume), N(accessModes)))
            has |= str_eq(val_text(it), val_text(want));
        if (!has)
            return false;
    }
    return true;
}

static struct str mode_of(const struct obj *o)
{
    struct str mode = val_text_at(obj_spec(o), N(volumeMode));
    return mode.n ? mode : S("Filesystem");
}

const char *volume_mismatch(const struct obj *volume, const struct obj *claim, bool with_class, struct arena *a)
{
    if (obj_deleting(volume))
        return arena_fmt(a, "the volume is marked for deletion \"" STR_FMT "\"", STR_ARG(volume->name)).p;
    if (volume_size(volume) < claim_size(claim))
        return "requested PV is too small";
    if (with_class && !str_eq(class_of_storage(volume), class_of_storage(claim)))
        return "storageClassName does not match";
    if (!str_eq(mode_of(volume), mode_of(claim)))
        return "incompatible volumeMode";
    if (!modes_suit(volume, claim))
        return "incompatible accessMode";
    if (!str_eq(val_text_at(obj_spec(volume), N(volumeAttributesClassName)),
                val_text_at(obj_spec(claim), N(volumeAttributesClassName))))
        return "volumeAttributesClassName does not match";
    return NULL;
}

bool volume_spec_takes_node(const struct val *spec, const struct obj *node)
{
    const struct val *required = val_at(spec, N(nodeAffinity), N(required));
    if (!required)
        return true;
    val_each_item (it, val_get(required, N(nodeSelectorTerms)))
        if (node_term_matches(it, node))
            return true;
    return false;
}

bool volume_takes_node(const struct obj *volume, const struct obj *node)
{
    return volume_spec_takes_node(obj_spec(volume), node);
}

static bool topology_takes(const struct val *term, const struct obj *node)
{
    const struct val *all = val_get(term, N(matchLabelExpressions));
    val_each_item (it, all) {
        const struct val *have = val_get_str(obj_labels(node), val_text_at(it, N(key)));
        bool in = false;
        val_each_item (value, val_get(it, N(values)))
            in |= have && str_eq(val_text(value), val_text(have));
        if (!in)
            return false;
    }
    return val_len(all) > 0; /* an empty term matches nothing */
}

bool class_takes_node(const struct obj *class, const struct obj *node)
{
    const struct val *terms = val_get(&class->tree, N(allowedTopologies));
    val_each_item (it, terms)
        if (topology_takes(it, node))
            return true;
    return val_len(terms) == 0;
}

bool volume_before(const struct obj *a, const struct obj *b)
{
    size_t na = val_len(val_get(obj_spec(a), N(accessModes))), nb = val_len(val_get(obj_spec(b), N(accessModes)));
    int64_t sa = volume_size(a), sb = volume_size(b);
    return na != nb ? na < nb : sa != sb ? sa < sb : str_cmp(a->name, b->name) < 0;
}

bool volume_suits(const struct obj *volume, const struct obj *claim, struct arena *a)
{
    const struct val *selector = val_get(obj_spec(claim), N(selector));
    return volume_is_free(volume) && !volume_mismatch(volume, claim, true, a) &&
           (!selector || label_selector_matches(selector, obj_labels(volume)));
}

struct obj *claim_reserved(const struct view *v, const struct obj *claim, struct arena *a)
{
    struct obj *o, *best = NULL;
    for (struct objset_iter it =
             view_with(v, K(PersistentVolume), &index_volume_claim, claim_key(a, claim->ns, claim->name));
         (o = objset_next(&it));) {
        if (!volume_names(o, claim) || volume_mismatch(o, claim, false, a))
            continue;
        /* what was begun is finished */
        bool begun = val_text_at(volume_claim(o), N(uid)).n > 0,
             best_begun = best && val_text_at(volume_claim(best), N(uid)).n > 0;
        if (!best || (begun != best_begun ? begun : volume_before(o, best)))
            best = o;
    }
    return best;
}

struct obj *claim_free(const struct view *v, const struct obj *claim, struct arena *a)
{
    struct obj *o;
    for (struct objset_iter it = view_with(v, K(PersistentVolume), &index_volume_free, class_of_storage(claim));
         (o = objset_next(&it));)
        if (volume_suits(o, claim, a))
            return o;
    return NULL;
}

bool volume_replaces(const struct obj *volume, const struct obj *other)
{
    return modes_suit(volume, other) && str_eq(mode_of(volume), mode_of(other)) &&
           val_equal(obj_labels(volume), obj_labels(other)) &&
           str_eq(val_text_at(obj_spec(volume), N(volumeAttributesClassName)),
                  val_text_at(obj_spec(other), N(volumeAttributesClassName))) &&
           volume_size(volume) >= volume_size(other);
}

bool claim_is_for_pod(const struct obj *claim, const struct obj *pod)
{
    return str_eq(val_text_at(obj_controller(claim), N(uid)), pod->uid);
}

struct str claim_key(struct arena *a, struct str ns, struct str name)
{
    return arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(ns), STR_ARG(name));
}

/* ---- writing ---- */

static void tree_note(struct arena *a, struct val *tree, const char *key, struct str value)
{
    val_set_str(a, val_need_map(a, tree, N(metadata), N(annotations)), str_of(key), val_str(a, value));
}

struct val obj_tree_noted(struct arena *a, const struct obj *o, const char *key, struct str value)
{
    struct val whole = obj_tree(a, o), tree = val_copy(a, &whole);
    tree_note(a, &tree, key, value);
    return tree;
}

/* The claim's full reference. */
static struct val claim_reference(struct arena *a, const struct obj *claim)
{
    struct val ref = val_map();
    val_set_text(a, &ref, N(kind), claim->kind->kind);
    val_set_text(a, &ref, N(namespace), claim->ns);
    val_set_text(a, &ref, N(name), claim->name);
    val_set_text(a, &ref, N(uid), claim->uid);
    val_set_text(a, &ref, N(apiVersion), claim->kind->api_version);
    val_set_text(a, &ref, N(resourceVersion), arena_fmt(a, "%lld", (long long)claim->rev));
    return ref;
}

struct val volume_claimed_by(struct arena *a, const struct obj *volume, const struct obj *claim)
{
    struct val whole = obj_tree(a, volume), tree = val_copy(a, &whole);
    if (!volume_names(volume, claim))
        tree_note(a, &tree, ANN_BOUND_BY_CONTROLLER, S("yes"));
    val_set(a, val_need_map(a, &tree, N(spec)), N(claimRef), claim_reference(a, claim));
    return tree;
}

struct action *plan_volume_claimed(struct plan *out, const struct obj *volume, const struct obj *claim)
{
    if (volume_names(volume, claim) && val_text_at(volume_claim(volume), N(uid)).n > 0)
        return NULL;
    return plan_update(out, volume, S(""), volume_claimed_by(&out->arena, volume, claim));
}

/* Who provisioned for it inside Kubernetes once has a successor, who looks for his name. */
bool plan_migrated(struct plan *out, const struct obj *o, struct str provisioner)
{
    struct str driver = csi_driver_after(provisioner), said = obj_note(o, ANN_MIGRATED_TO);
    if (provisioner.n == 0 || str_eq(driver, said))
        return false;
    struct val tree = plan_edit(out, o);
    if (driver.n > 0)
        tree_note(&out->arena, &tree, ANN_MIGRATED_TO, driver);
    else
        val_del_str(val_need_map(&out->arena, &tree, N(metadata), N(annotations)), S(ANN_MIGRATED_TO));
    return plan_update(out, o, S(""), tree) != NULL;
}

/* ---- indexes ---- */

static void volume_claim_keys(const struct obj *o, void (*add)(void *arg, struct str key), void *arg)
{
    const struct val *ref = volume_claim(o);
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    if (ref)
        add(arg, objset_key(&key, val_text_at(ref, N(namespace)), val_text_at(ref, N(name))));
}

static void volume_free_keys(const struct obj *o, void (*add)(void *arg, struct str key), void *arg)
{
    if (volume_is_free(o))
        add(arg, class_of_storage(o));
}

static void claim_class_keys(const struct obj *o, void (*add)(void *arg, struct str key), void *arg)
{
    if (claim_volume(o).n == 0)
        add(arg, class_of_storage(o));
}

static void claim_volume_keys(const struct obj *o, void (*add)(void *arg, struct str key), void *arg)
{
    if (claim_volume(o).n > 0)
        add(arg, claim_volume(o));
}

static void pod_claims_keys(const struct obj *o, void (*add)(void *arg, struct str key), void *arg)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    val_each_item (volume, val_get(obj_spec(o), N(volumes))) {
        struct str claim = pod_claim(&a, o, volume);
        if (claim.n > 0)
            add(arg, objset_key(&key, o->ns, claim));
    }
}

const struct objindex index_volume_claim = {"volume-claim", volume_claim_keys};
const struct objindex index_volume_free = {"volume-free", volume_free_keys};
const struct objindex index_claim_class = {"claim-class", claim_class_keys};
const struct objindex index_claim_volume = {"claim-volume", claim_volume_keys};
const struct objindex index_pod_claims = {"pod-claims", pod_claims_keys};

void keys_of_class(const struct view *v, struct str class, keys_add_fn *add, void *arg)
{
    struct obj *o;
    for (struct objset_iter it = view_with(v, K(PersistentVolumeClaim), &index_claim_class, class);
         (o = objset_next(&it));)
        add(arg, o->ns, o->name);
}
