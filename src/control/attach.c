/* Volumes of CSI drivers are attached to a node before it mounts them, and detached when no pod there needs them any
 * more: PersistentVolumes, and what stands in pods themselves (types that drivers took over, api/csi_source.h). So
 * are disks that nodes attach themselves (client/disk_id.h), of which there is nothing but what the node lists.
 * Upstream: pkg/controller/volume/attachdetach.
 *
 * Two plans share the work, so that neither needs a memory. `attach`, of a volume, makes its VolumeAttachments, on
 * which the driver's attacher acts: with all nodes of one volume in view, it never gives one that only one node may
 * have to two. `attached`, of a node, says in node.status.volumesAttached what is attached, on which the node waits,
 * and detaches: first a volume that no pod wants and that the node does not use is taken out of that list, at the
 * very revision of the Node that was looked at; a node mounts only what it finds there once it has said in
 * volumesInUse that it will. Then the VolumeAttachment goes. Both are one plan's, because what it has not listed
 * nobody else has, however old its view of anything else may be.
 *
 * A node that is not ready and does not unmount is not waited for longer than six minutes; one that is out of service
 * (its taint says so) not at all. */
#include "api/csi_source.h"
#include "client/csi.h"
#include "client/disk_id.h"
#include "control/pods.h"
#include "control/volumes.h"

#define UNMOUNT_MOST   (360 * NS_PER_S)
#define ATTACH_MOST    (120 * NS_PER_S) /* upstream gives an attacher so long before it tells */
#define OUT_OF_SERVICE "node.kubernetes.io/out-of-service"

/* ---- what is wanted */

/* A key of `attach`: a PersistentVolume by its name; what stands in pods by the name that nodes have for it, which
 * has a '^' as no object's has. */
struct attachable {
    struct str key, unique;
    const struct obj *volume; /* NULL: it stands in pods */
    struct csi_source source;
};

static struct str attachment_key(struct arena *a, const struct obj *attachment)
{
    const struct val *source = val_get(obj_spec(attachment), N(source)),
                     *csi = val_at(source, N(inlineVolumeSpec), N(csi));
    struct str volume = val_text_at(source, N(persistentVolumeName));
    if (volume.n || !csi)
        return volume;
    return csi_unique_name(a, val_text_at(csi, N(driver)), val_text_at(csi, N(volumeHandle)));
}

static struct str attachment_node(const struct obj *attachment)
{
    return val_text_at(obj_spec(attachment), N(nodeName));
}

static void attachment_volume_keys(const struct obj *o, void (*add)(void *arg, struct str key), void *arg)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str key = attachment_key(&a, o);
    if (key.n)
        add(arg, key);
}
const struct objindex index_attachment_volume = {"attachment-volume", attachment_volume_keys};

static void volume_driver_keys(const struct obj *o, void (*add)(void *arg, struct str key), void *arg)
{
    struct str driver = csi_driver_of(obj_spec(o));
    if (driver.n)
        add(arg, driver);
}
const struct objindex index_volume_driver = {"volume-driver", volume_driver_keys};

/* The name that nodes list a disk by; "": it is none. spec: a pod's volume, or the spec of a PersistentVolume. */
static struct str disk_unique(struct arena *a, const struct val *spec)
{
    struct disk_id id;
    return disk_id(a, spec, &id) ? csi_unique_name(a, id.driver, id.handle) : S("");
}

static void volume_disk_keys(const struct obj *o, void (*add)(void *arg, struct str key), void *arg)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str unique = disk_unique(&a, obj_spec(o));
    if (unique.n)
        add(arg, unique);
}
const struct objindex index_volume_disk = {"volume-disk", volume_disk_keys};

static bool unique_is_disk(struct str unique)
{
    return str_starts(unique, S("kubernetes.io/iscsi/")) || str_starts(unique, S("kubernetes.io/fc/"));
}

static void node_disk_keys(const struct obj *o, void (*add)(void *arg, struct str key), void *arg)
{
    val_each_item (row, val_get(obj_status(o), N(volumesAttached)))
        if (unique_is_disk(val_text_at(row, N(name))))
            add(arg, val_text_at(row, N(name)));
}
const struct objindex index_node_disk = {"node-disk", node_disk_keys};

/* Of a volume of the pod that stands in it; "": none that a driver took over, or none that it could have. */
static struct str inline_key(struct arena *a, const struct obj *pod, const struct val *volume, struct csi_source *out)
{
    struct err ignored = ERR; /* the pod's node tells what cannot be translated */
    if (!csi_plugin_before(volume).n || !csi_source_inline(a, pod->ns, volume, out, &ignored))
        return S("");
    return csi_unique_name(a, out->driver, out->handle);
}

/* By the volumes that stand in them, and by the drivers of these. */
static void pod_inline_keys(const struct obj *o, void (*add)(void *arg, struct str key), void *arg)
{
    AUTO(arena_fini) struct arena a = ARENA;
    val_each_item (volume, val_get(obj_spec(o), N(volumes))) {
        struct csi_source source;
        struct str key = inline_key(&a, o, volume, &source);
        if (!key.n)
            continue;
        add(arg, key);
        add(arg, source.driver);
    }
}
const struct objindex index_pod_inline = {"pod-inline", pod_inline_keys};

/* Found in a pod that has it, or in an attachment that is left of one. */
static bool inline_of(const struct view *v, struct arena *a, struct attachable *t)
{
    struct obj *o;
    for (struct objset_iter it = view_with(v, K(Pod), &index_pod_inline, t->key); (o = objset_next(&it));)
        val_each_item (volume, val_get(obj_spec(o), N(volumes)))
            if (str_eq(inline_key(a, o, volume, &t->source), t->key))
                return true;
    for (struct objset_iter it = view_with(v, K(VolumeAttachment), &index_attachment_volume, t->key);
         (o = objset_next(&it));) {
        const struct val *spec = val_at(obj_spec(o), N(source), N(inlineVolumeSpec));
        t->source = (struct csi_source){.name = t->key, .spec = spec};
        t->source.driver = val_text_at(spec, N(csi), N(driver));
        t->source.handle = val_text_at(spec, N(csi), N(volumeHandle));
        return true;
    }
    return false;
}

/* False: there is none, or it is of no driver. */
static bool attachable_of(const struct view *v, struct arena *a, struct str key, struct attachable *out)
{
    struct err ignored = ERR; /* the nodes of its pods tell what cannot be translated */
    *out = (struct attachable){.key = key, .volume = key.n ? view_get(v, K(PersistentVolume), S(""), key) : NULL};
    if (out->volume ? !csi_source_of(a, out->volume, &out->source, &ignored)
                    : !str_has(key, S("^")) || !inline_of(v, a, out))
        return false;
    out->unique = csi_unique_name(a, out->source.driver, out->source.handle);
    return true;
}

/* Its driver wants volumes to be attached: one that says nothing does. */
static bool volume_attaches(const struct view *v, const struct attachable *t)
{
    struct str name = t->source.driver;
    const struct obj *driver = name.n ? view_get(v, K(CSIDriver), S(""), name) : NULL;
    const struct val *required = driver ? val_get(obj_spec(driver), N(attachRequired)) : NULL;
    return name.n && (!required || val_true(required));
}

/* It is bound to a node, and something of it runs there or is yet to. */
static bool pod_uses_node(const struct obj *pod)
{
    if (!pod_node(pod).n || pod_is_over(pod))
        return false;
    if (!obj_deleting(pod))
        return true;
    static const struct name *const lists[] = {N(initContainerStatuses), N(containerStatuses),
                                               N(ephemeralContainerStatuses)};
    for (size_t i = 0; i < countof(lists); i++)
        val_each_item (s, val_get(obj_status(pod), lists[i]))
            if (!val_at(s, N(state), N(terminated)) && !val_at(s, N(state), N(waiting)))
                return true;
    return false;
}

/* for (struct objset_iter it = pods_of(...); (pod = pod_wants_next(&it, volume));) */
static struct objset_iter pods_of(const struct view *v, struct arena *a, const struct attachable *t)
{
    if (!t->volume)
        return view_with(v, K(Pod), &index_pod_inline, t->key);
    const struct val *ref = volume_claim(t->volume);
    const struct obj *claim = ref ? view_get(v, K(PersistentVolumeClaim), val_text_at(ref, N(namespace)),
                                             val_text_at(ref, N(name)))
                                  : NULL;
    bool bound = claim && str_eq(claim_volume(claim), t->volume->name);
    return view_with(v, K(Pod), &index_pod_claims, bound ? claim_key(a, claim->ns, claim->name) : S(""));
}

static struct obj *pod_wants_next(struct objset_iter *it)
{
    struct obj *pod;
    while ((pod = objset_next(it)) && !pod_uses_node(pod))
        ;
    return pod;
}

static bool node_wants(const struct view *v, struct arena *a, const struct attachable *t, struct str node)
{
    struct obj *pod;
    for (struct objset_iter it = pods_of(v, a, t); (pod = pod_wants_next(&it));)
        if (str_eq(pod_node(pod), node))
            return true;
    return false;
}

static struct str name_on(struct arena *a, const struct attachable *t, struct str node)
{
    return csi_attachment_name(a, t->source.handle, t->source.driver, node);
}

static bool node_lists(const struct obj *node, struct str unique)
{
    return node && val_find(val_get(obj_status(node), N(volumesAttached)), N(name), unique);
}

static bool node_uses(const struct obj *node, struct str unique)
{
    val_each_item (it, val_get(obj_status(node), N(volumesInUse)))
        if (str_eq(val_text(it), unique))
            return true;
    return false;
}

/* ---- of a volume */

/* Several nodes may have it at a time. */
static bool volume_is_for_many(const struct attachable *t)
{
    val_each_item (m, val_get(t->source.spec, N(accessModes)))
        if (str_eqz(val_text(m), "ReadWriteMany") || str_eqz(val_text(m), "ReadOnlyMany"))
            return true;
    return !val_len(val_get(t->source.spec, N(accessModes)));
}

static void failed_event(const struct view *v, struct plan *out, const struct attachable *t, struct str node,
                         struct str message)
{
    struct obj *pod;
    plan_why(out, STR_FMT, STR_ARG(message));
    if (str_eq(v->why, message))
        return; /* told already */
    for (struct objset_iter it = pods_of(v, &out->arena, t); (pod = pod_wants_next(&it));)
        if (str_eq(pod_node(pod), node))
            plan_event(out, pod, "Warning", "FailedAttachVolume", STR_FMT, STR_ARG(message));
}

/* Who keeps it elsewhere, as one who wants it in that namespace may know it: pods there by name, others by number. */
static struct str multi_attach_text(const struct view *v, struct arena *a, const struct attachable *t,
                                    struct str node, struct str ns)
{
    AUTO(strbuf_fini) struct strbuf users = STRBUF(4096);
    struct obj *pod;
    size_t near = 0, far = 0;
    for (struct objset_iter it = pods_of(v, a, t); (pod = pod_wants_next(&it));) {
        if (str_eq(pod_node(pod), node))
            continue;
        if (!str_eq(pod->ns, ns))
            far++;
        else
            strbuf_addf(&users, "%s" STR_FMT, near++ ? ", " : "pod(s) ", STR_ARG(pod->name));
    }
    if (far)
        strbuf_addf(&users, "%s%zu pod(s) in different namespaces", near ? " and " : "", far);
    return users.n
               ? arena_fmt(a, "Multi-Attach error for volume \"" STR_FMT "\" Volume is already used by " STR_FMT,
                           STR_ARG(t->source.name), STR_ARG(strbuf_str(&users)))
               : arena_fmt(a,
                           "Multi-Attach error for volume \"" STR_FMT
                           "\" Volume is already exclusively attached to one node and can't be attached to another",
                           STR_ARG(t->source.name));
}

static void multi_attach(const struct view *v, struct plan *out, const struct attachable *t, struct str node)
{
    struct arena *a = &out->arena;
    struct str first = S("");
    struct obj *pod;
    for (struct objset_iter it = pods_of(v, a, t); (pod = pod_wants_next(&it));) {
        if (!str_eq(pod_node(pod), node))
            continue;
        struct str message = multi_attach_text(v, a, t, node, pod->ns);
        first = first.n ? first : message;
        if (!str_eq(v->why, first))
            plan_event(out, pod, "Warning", "FailedAttachVolume", STR_FMT, STR_ARG(message));
    }
    plan_why(out, STR_FMT, STR_ARG(first));
}

static void attachment_make(struct plan *out, const struct attachable *t, struct str node)
{
    struct arena *a = &out->arena;
    struct val body = val_map();
    val_set_text(a, &body, N(apiVersion), S("storage.k8s.io/v1"));
    val_set_text(a, &body, N(kind), S("VolumeAttachment"));
    val_set_text(a, val_need_map(a, &body, N(metadata)), N(name), name_on(a, t, node));
    struct val *spec = val_need_map(a, &body, N(spec));
    val_set_text(a, spec, N(attacher), t->source.driver);
    val_set_text(a, spec, N(nodeName), node);
    struct val *source = val_need_map(a, spec, N(source));
    if (t->volume)
        val_set_text(a, source, N(persistentVolumeName), t->volume->name);
    else
        val_set(a, source, N(inlineVolumeSpec), val_copy(a, t->source.spec));
    plan_create(out, K(VolumeAttachment), S(""), name_on(a, t, node), body)->exists_ok = true;
}

/* Where the attachment that is there stands. */
static void attachment_look(const struct view *v, struct plan *out, const struct attachable *t,
                            const struct obj *have)
{
    struct str node = attachment_node(have), failed = val_text_at(obj_status(have), N(attachError), N(message));
    struct str stays = val_text_at(obj_status(have), N(detachError), N(message)), driver = t->source.driver;
    int64_t late = obj_created(have) + ATTACH_MOST;
    if (obj_deleting(have)) {
        plan_why(out, "the volume is being detached from node " STR_FMT "%s" STR_FMT, STR_ARG(node),
                 stays.n ? ": " : "", STR_ARG(stays));
        return;
    }
    if (val_true(val_get(obj_status(have), N(attached))))
        return;
    if (!failed.n && v->now < late) {
        plan_why(out, "driver " STR_FMT " has not attached the volume to node " STR_FMT " yet", STR_ARG(driver),
                 STR_ARG(node));
        plan_again(out, late);
        return;
    }
    if (!failed.n) /* in the words of who has waited for it */
        failed = arena_fmt(&out->arena,
                           "timed out waiting for external-attacher of " STR_FMT
                           " CSI driver to attach volume " STR_FMT,
                           STR_ARG(driver), STR_ARG(t->source.handle));
    failed_event(v, out, t, node,
                 arena_fmt(&out->arena, "AttachVolume.Attach failed for volume \"" STR_FMT "\" : " STR_FMT,
                           STR_ARG(t->source.name), STR_ARG(failed)));
}

/* Nodes of the pods that want it, each once: those that have it first. */
static size_t nodes_wanted(const struct view *v, struct arena *a, const struct attachable *t, struct str **out)
{
    size_t n = 0, most = 0;
    struct obj *pod;
    for (struct objset_iter it = pods_of(v, a, t); pod_wants_next(&it);)
        most++;
    *out = arena_alloc(a, (most + 1) * sizeof **out);
    for (int have = 1; have >= 0; have--)
        for (struct objset_iter it = pods_of(v, a, t); (pod = pod_wants_next(&it));) {
            bool known = false, has = view_get(v, K(VolumeAttachment), S(""), name_on(a, t, pod_node(pod)));
            for (size_t i = 0; i < n; i++)
                known |= str_eq((*out)[i], pod_node(pod));
            if (!known && has == (have == 1) && view_get(v, K(Node), S(""), pod_node(pod)))
                (*out)[n++] = pod_node(pod);
        }
    return n;
}

static void row_add(struct arena *a, struct val *list, struct str unique)
{
    struct val row = val_map();
    val_set(a, &row, N(name), val_str(a, unique));
    val_set_text(a, &row, N(devicePath), S(""));
    val_add(a, list, row);
}

static void list_write(struct plan *out, const struct obj *node, struct val list)
{
    struct val patch = val_map();
    val_set(&out->arena, val_need_map(&out->arena, &patch, N(status)), N(volumesAttached),
            val_len(&list) ? list : VAL_NONE);
    plan_patch(out, node, S("status"), patch)->expect_rev = node->rev;
}

static void attached_events(const struct view *v, struct plan *out, const struct obj *node,
                            const struct attachable *t);

/* What a driver's VolumeAttachment is to its volume, the node's list is to a disk: this plan alone enters a claim's
 * disk there, with all nodes in view. */
static void disk_plan(const struct view *v, struct plan *out, const struct obj *owner, struct str unique)
{
    struct arena *a = &out->arena;
    const struct attachable disk = {
        .key = owner->name,
        .unique = unique,
        .volume = owner,
        .source = {.name = owner->name, .spec = obj_spec(owner)},
    };
    const struct attachable *volume = &disk;
    struct str *nodes = NULL;
    size_t n = nodes_wanted(v, a, volume, &nodes), holders = 0;
    for (struct objset_iter it = view_with(v, K(Node), &index_node_disk, unique); objset_next(&it);)
        holders++;
    for (size_t i = 0; i < n; i++) {
        const struct obj *node = view_get(v, K(Node), S(""), nodes[i]);
        if (node_lists(node, unique))
            continue;
        if (holders && !volume_is_for_many(volume)) {
            multi_attach(v, out, volume, nodes[i]);
            continue;
        }
        const struct val *was = val_get(obj_status(node), N(volumesAttached));
        struct val list = was ? val_copy(a, was) : val_list();
        row_add(a, &list, unique);
        list_write(out, node, list);
        attached_events(v, out, node, volume);
        holders++;
    }
}

static void attach_plan(const struct view *v, struct key key, struct plan *out)
{
    struct arena *a = &out->arena;
    const struct obj *volume = view_get(v, K(PersistentVolume), S(""), key.name);
    struct str unique = volume ? disk_unique(a, obj_spec(volume)) : S("");
    if (unique.n) {
        disk_plan(v, out, volume, unique);
        return;
    }
    struct attachable it, *t = &it;
    struct str *nodes = NULL;
    size_t n = attachable_of(v, a, key.name, t) && volume_attaches(v, t) ? nodes_wanted(v, a, t, &nodes) : 0,
           kept = 0;
    for (struct objset_iter all = view_with(v, K(VolumeAttachment), &index_attachment_volume, key.name);
         objset_next(&all);)
        kept++;
    for (size_t i = 0; i < n; i++) {
        const struct obj *mine = view_get(v, K(VolumeAttachment), S(""), name_on(a, t, nodes[i]));
        if (mine) {
            attachment_look(v, out, t, mine);
        } else if (kept && !volume_is_for_many(t)) {
            multi_attach(v, out, t, nodes[i]);
        } else {
            attachment_make(out, t, nodes[i]);
            kept++;
        }
    }
}

static void keys_of_attachment(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                               void *arg)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str key = attachment_key(&a, now ? now : was);
    (void)v;
    if (key.n)
        add(arg, S(""), key);
}

static void keys_of_claim(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                          void *arg)
{
    (void)v;
    struct str volume = claim_volume(now ? now : was);
    if (volume.n)
        add(arg, S(""), volume);
}

/* The volumes of a pod that has a node, when it gets that, ends or goes. */
static void keys_of_pod(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                        void *arg)
{
    const struct obj *pod = now ? now : was;
    AUTO(arena_fini) struct arena a = ARENA;
    if (!pod_node(pod).n || (was && now && pod_uses_node(was) == pod_uses_node(now)))
        return;
    val_each_item (volume, val_get(obj_spec(pod), N(volumes))) {
        struct str name = pod_claim(&a, pod, volume);
        const struct obj *claim = name.n ? view_get(v, K(PersistentVolumeClaim), pod->ns, name) : NULL;
        struct csi_source source;
        struct str key = name.n ? S("") : inline_key(&a, pod, volume, &source);
        if (claim && claim_volume(claim).n)
            key = claim_volume(claim);
        if (key.n)
            add(arg, S(""), key);
    }
}

static void keys_of_driver(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                           void *arg)
{
    struct str driver = (now ? now : was)->name;
    struct obj *o;
    for (struct objset_iter it = view_with(v, K(PersistentVolume), &index_volume_driver, driver);
         (o = objset_next(&it));)
        add(arg, S(""), o->name);
    for (struct objset_iter it = view_with(v, K(Pod), &index_pod_inline, driver); (o = objset_next(&it));)
        keys_of_pod(v, NULL, o, add, arg);
}

/* Volumes of disks that it has listed since, or lists no more. */
static void keys_of_list(const struct view *v, const struct obj *node, const struct obj *other, keys_add_fn *add,
                         void *arg)
{
    val_each_item (row, node ? val_get(obj_status(node), N(volumesAttached)) : NULL) {
        struct str unique = val_text_at(row, N(name));
        struct obj *volume;
        if (!unique_is_disk(unique) || (other && node_lists(other, unique)))
            continue;
        for (struct objset_iter it = view_with(v, K(PersistentVolume), &index_volume_disk, unique);
             (volume = objset_next(&it));)
            add(arg, S(""), volume->name);
    }
}

/* Its attachments' volumes, when what it lists has changed. One that comes has pods that waited for it. */
static void keys_of_node(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                         void *arg)
{
    struct str name = (now ? now : was)->name;
    struct obj *o;
    if (was && now &&
        val_equal(val_get(obj_status(was), N(volumesAttached)), val_get(obj_status(now), N(volumesAttached))))
        return;
    keys_of_list(v, was, now, add, arg);
    keys_of_list(v, now, was, add, arg);
    for (struct objset_iter it = view_with(v, K(VolumeAttachment), &index_node, name); (o = objset_next(&it));)
        keys_of_attachment(v, NULL, o, add, arg);
    if (!was)
        for (struct objset_iter it = view_with(v, K(Pod), &index_node, name); (o = objset_next(&it));)
            keys_of_pod(v, NULL, o, add, arg);
}

static const struct controller_watch attach_watches[] = {{K(PersistentVolume), keys_self},
                                                         {K(VolumeAttachment), keys_of_attachment},
                                                         {K(PersistentVolumeClaim), keys_of_claim},
                                                         {K(Pod), keys_of_pod},
                                                         {K(CSIDriver), keys_of_driver},
                                                         {K(Node), keys_of_node},
                                                         {0}};
const struct controller attach_controller = {
    .name = "attach",
    .component = "attachdetach-controller",
    .account = "attachdetach-controller",
    .watches = attach_watches,
    .plan = attach_plan,
};

/* ---- of a node */

/* Nothing that it has not unmounted is waited for; *at: from when on. */
static bool node_is_lost(const struct view *v, const struct obj *node, int64_t *at)
{
    val_each_item (t, val_get(obj_spec(node), N(taints)))
        if (str_eqz(val_text_at(t, N(key)), OUT_OF_SERVICE))
            return true;
    const struct val *ready = condition_get(obj_status(node), "Ready");
    if (!ready || str_eqz(val_text_at(ready, N(status)), "True"))
        return false;
    *at = MAX(v->why_since ? v->why_since : v->now, val_time(val_get(ready, N(lastTransitionTime)))) + UNMOUNT_MOST;
    return v->now >= *at;
}

/* What is attached to it, and is to stay so. */
static bool stays_listed(const struct view *v, struct plan *out, const struct obj *node, const struct attachable *t)
{
    int64_t at = 0;
    if (node_wants(v, &out->arena, t, node->name))
        return true;
    if (!node_lists(node, t->unique) || !node_uses(node, t->unique) || node_is_lost(v, node, &at))
        return false;
    if (at)
        plan_again(out, at);
    plan_why(out, "volume " STR_FMT " is not detached before node " STR_FMT " has unmounted it",
             STR_ARG(t->source.name), STR_ARG(node->name));
    return true;
}

static void attached_events(const struct view *v, struct plan *out, const struct obj *node,
                            const struct attachable *t)
{
    struct obj *pod;
    for (struct objset_iter it = pods_of(v, &out->arena, t); (pod = pod_wants_next(&it));)
        if (str_eq(pod_node(pod), node->name) && !obj_deleting(pod))
            plan_event(out, pod, "Normal", "SuccessfulAttachVolume",
                       "AttachVolume.Attach succeeded for volume \"" STR_FMT "\" ", STR_ARG(t->source.name));
}

/* What is attached to a node and stays so; what does not is detached once it is not listed any more. t NULL: nobody
 * knows of what it is. */
static bool attachment_stays(const struct view *v, struct plan *out, const struct obj *node, const struct obj *have,
                             const struct attachable *t)
{
    if (node && t && volume_attaches(v, t) && stays_listed(v, out, node, t))
        return true;
    /* of a volume that is gone it can be told by its form alone: csi- and a SHA-256 */
    bool ours = t ? str_eq(have->name, name_on(&out->arena, t, attachment_node(have)))
                  : str_starts(have->name, S("csi-")) && have->name.n == 68;
    if (ours && !obj_deleting(have) && (!node || !t || !node_lists(node, t->unique)))
        plan_delete(out, have)->expect_rev = have->rev;
    return false;
}

/* The disk of a volume of the pod, by its claim or not; "": it is none. owner: of a claim. */
static struct str pod_disk(const struct view *v, struct arena *a, const struct obj *pod, const struct val *volume,
                           const struct obj **owner)
{
    struct str name = pod_claim(a, pod, volume);
    const struct obj *claim = name.n ? view_get(v, K(PersistentVolumeClaim), pod->ns, name) : NULL;
    *owner = claim && claim_volume(claim).n ? view_get(v, K(PersistentVolume), S(""), claim_volume(claim)) : NULL;
    return name.n ? (*owner ? disk_unique(a, obj_spec(*owner)) : S("")) : disk_unique(a, volume);
}

static void disk_event(struct plan *out, struct obj *pod, struct str volume)
{
    plan_event(out, pod, "Normal", "SuccessfulAttachVolume",
               "AttachVolume.Attach succeeded for volume \"" STR_FMT "\" ", STR_ARG(volume));
}

/* Disks that pods of the node have without a claim: nobody else is asked. What is listed and wanted by a claim stays.
 */
static void disks_wanted(const struct view *v, struct plan *out, const struct obj *node, struct val *list)
{
    struct arena *a = &out->arena;
    struct obj *pod;
    bool lists = false; /* any; else claims need not be looked at */
    val_each_item (row, val_get(obj_status(node), N(volumesAttached)))
        lists = lists || unique_is_disk(val_text_at(row, N(name)));
    for (struct objset_iter it = view_with(v, K(Pod), &index_node, node->name); (pod = objset_next(&it));) {
        if (!pod_uses_node(pod))
            continue;
        val_each_item (volume, val_get(obj_spec(pod), N(volumes))) {
            const struct obj *owner;
            if (!lists && !val_get(volume, N(iscsi)) && !val_get(volume, N(fc)))
                continue;
            struct str unique = pod_disk(v, a, pod, volume, &owner);
            bool listed = unique.n && node_lists(node, unique);
            if (!unique.n || (owner && !listed) || val_find(list, N(name), unique))
                continue;
            row_add(a, list, unique);
            if (!listed && !obj_deleting(pod))
                disk_event(out, pod, val_text_at(volume, N(name)));
        }
    }
}

/* No pod wants it any more, and the node has not unmounted it yet. */
static void disks_in_use(const struct view *v, struct plan *out, const struct obj *node, struct val *list)
{
    val_each_item (row, val_get(obj_status(node), N(volumesAttached))) {
        struct str unique = val_text_at(row, N(name));
        int64_t at = 0;
        if (!unique_is_disk(unique) || val_find(list, N(name), unique) || !node_uses(node, unique) ||
            node_is_lost(v, node, &at))
            continue;
        if (at)
            plan_again(out, at);
        plan_why(out, "disk " STR_FMT " is not detached before node " STR_FMT " has unmounted it", STR_ARG(unique),
                 STR_ARG(node->name));
        row_add(&out->arena, list, unique);
    }
}

static void attached_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct obj *node = view_get(v, K(Node), S(""), key.name);
    struct arena *a = &out->arena;
    struct val list = val_list();
    struct obj *have;
    for (struct objset_iter it = view_with(v, K(VolumeAttachment), &index_node, key.name);
         (have = objset_next(&it));) {
        struct attachable t;
        struct str of = attachment_key(a, have);
        bool known = attachable_of(v, a, of, &t);
        if (!of.n || !attachment_stays(v, out, node, have, known ? &t : NULL) || obj_deleting(have) ||
            !val_true(val_get(obj_status(have), N(attached))))
            continue;
        row_add(a, &list, t.unique);
        if (!node_lists(node, t.unique))
            attached_events(v, out, node, &t);
    }
    if (node) {
        disks_wanted(v, out, node, &list);
        disks_in_use(v, out, node, &list);
    }
    const struct val *was = node ? val_get(obj_status(node), N(volumesAttached)) : NULL;
    bool same = !node || val_len(&list) == val_len(was);
    val_each_item (row, &list)
        same = same && val_find(was, N(name), val_text_at(row, N(name)));
    if (!same)
        list_write(out, node, list);
}

static void keys_of_own_node(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                             void *arg)
{
    static const struct name *const members[] = {N(volumesAttached), N(volumesInUse)};
    bool same = was && now && val_equal(val_get(obj_spec(was), N(taints)), val_get(obj_spec(now), N(taints))) &&
                condition_is(obj_status(was), "Ready", "True") == condition_is(obj_status(now), "Ready", "True");
    (void)v;
    for (size_t i = 0; i < countof(members); i++)
        same = same && val_equal(val_get(obj_status(was), members[i]), val_get(obj_status(now), members[i]));
    if (!same)
        add(arg, S(""), (now ? now : was)->name);
}

static void nodes_of_attachment(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                                void *arg)
{
    (void)v;
    add(arg, S(""), attachment_node(now ? now : was));
}

static void nodes_of_pod(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                         void *arg)
{
    const struct obj *pod = now ? now : was;
    AUTO(arena_fini) struct arena a = ARENA;
    (void)v;
    if (!pod_node(pod).n || (was && now && pod_uses_node(was) == pod_uses_node(now)))
        return;
    val_each_item (volume, val_get(obj_spec(pod), N(volumes)))
        if (pod_claim(&a, pod, volume).n || csi_plugin_before(volume).n || disk_unique(&a, volume).n) {
            add(arg, S(""), pod_node(pod));
            return;
        }
}

static void nodes_of_volume(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                            void *arg)
{
    struct obj *have;
    for (struct objset_iter it = view_with(v, K(VolumeAttachment), &index_attachment_volume, (now ? now : was)->name);
         (have = objset_next(&it));)
        add(arg, S(""), attachment_node(have));
    AUTO(arena_fini) struct arena a = ARENA;
    struct str unique = disk_unique(&a, obj_spec(now ? now : was));
    if (unique.n)
        for (struct objset_iter it = view_with(v, K(Node), &index_node_disk, unique); (have = objset_next(&it));)
            add(arg, S(""), have->name);
}

static void nodes_of_claim(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                           void *arg)
{
    const struct obj *claim = now ? now : was;
    const struct obj *volume = claim_volume(claim).n ? view_get(v, K(PersistentVolume), S(""), claim_volume(claim))
                                                     : NULL;
    if (volume)
        nodes_of_volume(v, NULL, volume, add, arg);
}

static void nodes_of_driver(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                            void *arg)
{
    struct str driver = (now ? now : was)->name;
    struct obj *o;
    for (struct objset_iter it = view_with(v, K(PersistentVolume), &index_volume_driver, driver);
         (o = objset_next(&it));)
        nodes_of_volume(v, NULL, o, add, arg);
    for (struct objset_iter it = view_with(v, K(Pod), &index_pod_inline, driver); (o = objset_next(&it));)
        nodes_of_pod(v, NULL, o, add, arg);
}

static const struct controller_watch attached_watches[] = {{K(Node), keys_of_own_node},
                                                           {K(VolumeAttachment), nodes_of_attachment},
                                                           {K(Pod), nodes_of_pod},
                                                           {K(PersistentVolumeClaim), nodes_of_claim},
                                                           {K(PersistentVolume), nodes_of_volume},
                                                           {K(CSIDriver), nodes_of_driver},
                                                           {0}};
const struct controller attached_controller = {
    .name = "attached",
    .component = "attachdetach-controller",
    .account = "attachdetach-controller",
    .watches = attached_watches,
    .plan = attached_plan,
};
