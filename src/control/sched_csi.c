#include "control/sched_csi.h"
#include "api/csi_source.h"
#include "api/quantity.h"
#include "api/selector.h"
#include "control/volumes.h"

#define VOLUMES_COUNTED 4096 /* of a node and the pod; more are not looked at */

static void capacity_class_keys(const struct obj *o, void (*add)(void *arg, struct str key), void *arg)
{
    add(arg, val_text_at(&o->tree, N(storageClassName)));
}
const struct objindex index_capacity_class = {"capacity-class", capacity_class_keys};

/* ---- how many */

struct csi_count {
    struct arena *arena;
    const struct obj *csi_node; /* whose volumes are counted */
    struct csi_counted {
        struct str driver, name; /* name: of the volume, for itself */
    } * list;
    size_t n;
};

static void volume_count(struct csi_count *c, struct str driver, struct str name)
{
    for (size_t i = 0; i < c->n; i++)
        if (str_eq(c->list[i].driver, driver) && str_eq(c->list[i].name, name))
            return;
    if (c->n < VOLUMES_COUNTED)
        c->list[c->n++] = (struct csi_counted){driver, name};
}

static bool has_set(const struct view *v, const struct kind *k)
{
    return v && v->sets[k->id]; /* who explains may not read it */
}

const struct val *csi_spec_on(const struct view *v, struct arena *a, const struct obj *volume, struct str node,
                              struct err *err)
{
    struct str plugin = csi_plugin_before(obj_spec(volume));
    struct csi_source source;
    if (!plugin.n || !has_set(v, K(CSINode)) ||
        !csi_plugin_is_scheduled(plugin, view_get(v, K(CSINode), S(""), node)))
        return obj_spec(volume);
    return csi_source_of(a, volume, &source, err) ? source.spec : NULL;
}

bool csi_volume_takes_node(const struct view *v, struct arena *a, const struct obj *volume, const struct obj *node)
{
    struct err ignored = ERR; /* whoever asked csi_spec_on before has told it */
    const struct val *spec = csi_spec_on(v, a, volume, node->name, &ignored);
    return spec && volume_spec_takes_node(spec, node);
}

static void volume_add(const struct view *v, struct csi_count *c, const struct obj *volume)
{
    struct err ignored = ERR; /* what no driver can have counts with none */
    const struct val *spec = csi_spec_on(v, c->arena, volume, c->csi_node->name, &ignored);
    struct str driver = val_text_at(spec, N(csi), N(driver));
    if (driver.n)
        volume_count(c, driver, val_text_at(spec, N(csi), N(volumeHandle)));
}

/* A claim counts as the volume that it has; without one, as the one that its class will make. */
static void claim_count(const struct view *v, struct csi_count *c, const struct obj *claim)
{
    struct str bound = claim_volume(claim);
    const struct obj *volume = bound.n ? view_get(v, K(PersistentVolume), S(""), bound) : NULL;
    const struct obj *class = !bound.n && has_set(v, K(StorageClass)) ? class_get(v, class_of_storage(claim)) : NULL;
    struct str driver = class ? val_text_at(&class->tree, N(provisioner)) : S(""), next = csi_driver_after(driver);
    if (volume) {
        volume_add(v, c, volume);
        return;
    }
    if (next.n)
        driver = csi_plugin_is_scheduled(driver, c->csi_node) ? next : S("");
    if (driver.n)
        volume_count(c, driver, STR_JOIN(c->arena, S("/"), claim_key(c->arena, claim->ns, claim->name)));
}

/* What stands in the pod itself. */
static void inline_count(struct csi_count *c, const struct obj *pod, const struct val *volume)
{
    struct csi_source source;
    struct err ignored = ERR; /* csi_inline_refused() tells it */
    if (csi_plugin_is_scheduled(csi_plugin_before(volume), c->csi_node) &&
        csi_source_inline(c->arena, pod->ns, volume, &source, &ignored))
        volume_count(c, source.driver, source.handle);
}

const char *csi_inline_refused(const struct view *v, const struct obj *pod, struct str node, struct arena *a)
{
    val_each_item (volume, val_get(obj_spec(pod), N(volumes))) {
        struct str plugin = csi_plugin_before(volume);
        struct csi_source source;
        struct err err = ERR;
        if (plugin.n && has_set(v, K(CSINode)) &&
            csi_plugin_is_scheduled(plugin, view_get(v, K(CSINode), S(""), node)) &&
            !csi_source_inline(a, pod->ns, volume, &source, &err))
            return arena_strz(a, str_of(err.text));
    }
    return NULL;
}

static void pod_count(const struct view *v, struct csi_count *c, const struct obj *pod)
{
    val_each_item (volume, val_get(obj_spec(pod), N(volumes))) {
        struct str name = pod_claim(c->arena, pod, volume);
        const struct obj *claim = name.n ? view_get(v, K(PersistentVolumeClaim), pod->ns, name) : NULL;
        if (claim)
            claim_count(v, c, claim);
        else if (!name.n)
            inline_count(c, pod, volume);
    }
}

static bool has_volumes(const struct obj *pod)
{
    val_each_item (volume, val_get(obj_spec(pod), N(volumes)))
        if (val_get(volume, N(persistentVolumeClaim)) || val_get(volume, N(ephemeral)) || csi_plugin_before(volume).n)
            return true;
    return false;
}

/* What is attached to the node though no pod of it is known to want it: it is not detached yet. */
static void attachments_count(const struct view *v, struct csi_count *c, struct str node)
{
    struct obj *o;
    if (!has_set(v, K(VolumeAttachment)))
        return;
    for (struct objset_iter it = view_with(v, K(VolumeAttachment), &index_node, node); (o = objset_next(&it));) {
        struct str name = val_text_at(obj_spec(o), N(source), N(persistentVolumeName));
        const struct obj *volume = name.n ? view_get(v, K(PersistentVolume), S(""), name) : NULL;
        if (volume)
            volume_add(v, c, volume);
    }
}

static int64_t driver_count(const struct csi_count *c, struct str driver, size_t from)
{
    int64_t n = 0;
    for (size_t i = from; i < c->n; i++)
        n += str_eq(c->list[i].driver, driver);
    return n;
}

bool csi_volumes_fit(const struct view *v, const struct obj *pod, const struct sched_node *n, struct arena *a)
{
    if (!has_volumes(pod) || !has_set(v, K(CSINode)) || !has_set(v, K(PersistentVolumeClaim)) ||
        !has_set(v, K(PersistentVolume)))
        return true;
    const struct obj *csi = view_get(v, K(CSINode), S(""), str_of(n->name));
    bool bounded = false;
    val_each_item (d, csi ? val_get(obj_spec(csi), N(drivers)) : NULL)
        bounded |= val_at(d, N(allocatable), N(count)) != NULL;
    if (!bounded)
        return true;
    struct csi_count c = {.arena = a, .csi_node = csi, .list = arena_alloc(a, VOLUMES_COUNTED * sizeof *c.list)};
    array_each (other, &n->pods)
        pod_count(v, &c, (*other)->obj);
    attachments_count(v, &c, str_of(n->name));
    size_t had = c.n;
    pod_count(v, &c, pod);
    val_each_item (d, val_get(obj_spec(csi), N(drivers))) {
        int64_t most = val_num_at(d, -1, N(allocatable), N(count));
        struct str driver = val_text_at(d, N(name));
        if (most >= 0 && driver_count(&c, driver, had) > 0 && driver_count(&c, driver, 0) > most)
            return false;
    }
    return true;
}

/* ---- how much */

static bool capacity_suffices(const struct obj *o, int64_t size)
{
    const struct val *most = val_get(&o->tree, N(maximumVolumeSize));
    if (!most)
        most = val_get(&o->tree, N(capacity));
    return most && quantity_value(val_text(most)) >= size;
}

bool csi_has_room(const struct view *v, const struct obj *claim, const struct obj *class, const struct obj *node)
{
    struct str provisioner = val_text_at(&class->tree, N(provisioner));
    if (!has_set(v, K(CSIDriver)) || !has_set(v, K(CSIStorageCapacity)))
        return true;
    const struct obj *driver = view_get(v, K(CSIDriver), S(""), provisioner);
    if (!driver || !val_true(val_get(obj_spec(driver), N(storageCapacity))) || claim_size(claim) <= 0)
        return true;
    struct obj *o;
    for (struct objset_iter it = view_with(v, K(CSIStorageCapacity), &index_capacity_class, class->name);
         (o = objset_next(&it));)
        if (capacity_suffices(o, claim_size(claim)) &&
            label_selector_matches(val_get(&o->tree, N(nodeTopology)), obj_labels(node)))
            return true;
    return false;
}
