#include "node/provision_plan.h"
#include "api/quantity.h"
#include "base/clock.h"

static struct str request_of(const struct obj *claim)
{
    return val_text(val_get_str(val_at(obj_spec(claim), N(resources), N(requests)), S("storage")));
}

static struct str storage_of(const struct val *list)
{
    return val_text(val_get_str(list, S("storage")));
}

bool claim_wants_volume(const struct obj *claim)
{
    struct str who = obj_note(claim, "volume.kubernetes.io/storage-provisioner");
    if (!who.n)
        who = obj_note(claim, "volume.beta.kubernetes.io/storage-provisioner");
    return str_eqz(who, PROVISIONER) && !obj_deleting(claim) && !val_text_at(obj_spec(claim), N(volumeName)).n &&
           obj_note(claim, "volume.kubernetes.io/selected-node").n > 0;
}

bool class_parameters(const struct obj *class, struct store_wish *out, struct err *err)
{
    val_each_member (m, val_get(&class->tree, N(parameters))) {
        struct str value = val_text(&m->v);
        if (str_eqz(m->name->s, "path")) {
            while (value.n > 1 && value.p[value.n - 1] == '/')
                value.n--;
            if (!str_starts(value, S("/")) || str_find(value, S("..")) >= 0 || memchr(value.p, 0, value.n) ||
                value.n < 2)
                return err_set(err, E_INVALID,
                               "parameter path: \"" STR_FMT "\" is not an absolute path without \"..\"",
                               STR_ARG(value));
            out->dir = value;
        } else if (str_eqz(m->name->s, "size-by")) {
            if (!value.n || !size_by_read(value, &out->by))
                return err_set(err, E_INVALID, "parameter size-by: \"" STR_FMT "\" is none of quota, image and none",
                               STR_ARG(value));
        } else {
            return err_set(err, E_INVALID,
                           "parameter " STR_FMT ": there is none of that name; there are path and size-by",
                           STR_ARG(m->name->s));
        }
    }
    return true;
}

bool provision_wish(struct arena *a, const struct obj *claim, const struct obj *class, struct str dir,
                    int64_t percent, struct store_wish *out, struct err *err)
{
    const struct val *spec = obj_spec(claim);
    *out = (struct store_wish){.dir = dir, .percent = percent};
    out->name = arena_fmt(a, "pvc-" STR_FMT, STR_ARG(claim->uid));
    out->claim = arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(claim->ns), STR_ARG(claim->name));
    out->size = quantity_value(request_of(claim));
    out->block = str_eq(val_text_at(spec, N(volumeMode)), S("Block"));
    if (val_get(spec, N(selector)))
        return err_set(err, E_INVALID, "claim Selector is not supported");
    if (val_get(spec, N(dataSource)) || val_get(spec, N(dataSourceRef)))
        return err_set(err, E_NOT_IMPLEMENTED, "dataSource is not supported: the volume would begin empty");
    if (val_text_at(spec, N(volumeAttributesClassName)).n)
        return err_set(err, E_NOT_IMPLEMENTED, "volumeAttributesClassName is not supported");
    if (out->size <= 0)
        return err_set(err, E_INVALID, "resources.requests.storage: a volume has a size");
    return class_parameters(class, out, err);
}

static struct str size_text(struct arena *a, struct str asked, int64_t size)
{
    return quantity_value(asked) == size ? asked : quantity_of_bytes(a, size);
}

static struct val affinity_of(struct arena *a, struct str node)
{
    struct val affinity = val_map(), terms = val_list(), term = val_map(), list = val_list(), e = val_map(),
               values = val_list();
    val_add(a, &values, val_str(a, node));
    val_set_text(a, &e, N(key), S("kubernetes.io/hostname"));
    val_set_text(a, &e, N(operator), S("In"));
    val_set(a, &e, N(values), values);
    val_add(a, &list, e);
    val_set(a, &term, N(matchExpressions), list);
    val_add(a, &terms, term);
    val_set(a, val_need_map(a, &affinity, N(required)), N(nodeSelectorTerms), terms);
    return affinity;
}

static struct val reference_to(struct arena *a, const struct obj *claim)
{
    struct val ref = val_map();
    val_set_text(a, &ref, N(apiVersion), S("v1"));
    val_set_text(a, &ref, N(kind), S("PersistentVolumeClaim"));
    val_set_text(a, &ref, N(namespace), claim->ns);
    val_set_text(a, &ref, N(name), claim->name);
    val_set_text(a, &ref, N(uid), claim->uid);
    return ref;
}

struct val provision_volume(struct arena *a, const struct obj *claim, const struct obj *class, struct str node,
                            struct str path, int64_t size)
{
    const struct val *wants = obj_spec(claim), *options = val_get(&class->tree, N(mountOptions));
    struct val body = val_map(), finalizers = val_list(), capacity = val_map();
    struct str policy = val_text_at(&class->tree, N(reclaimPolicy)), mode = val_text_at(wants, N(volumeMode));
    val_set_text(a, &body, N(apiVersion), S("v1"));
    val_set_text(a, &body, N(kind), S("PersistentVolume"));
    struct val *meta = val_need_map(a, &body, N(metadata));
    val_set(a, meta, N(name), val_str(a, arena_fmt(a, "pvc-" STR_FMT, STR_ARG(claim->uid))));
    val_set_str(a, val_need_map(a, meta, N(annotations)), S("pv.kubernetes.io/provisioned-by"),
                val_str(a, S(PROVISIONER)));
    val_add(a, &finalizers, val_str(a, S(PROVISIONER_FINALIZER)));
    val_set(a, meta, N(finalizers), finalizers);
    struct val *spec = val_need_map(a, &body, N(spec));
    val_set_str(a, &capacity, S("storage"), val_str(a, size_text(a, request_of(claim), size)));
    val_set(a, spec, N(capacity), capacity);
    val_set(a, spec, N(accessModes), val_copy(a, val_get(wants, N(accessModes))));
    val_set(a, spec, N(claimRef), reference_to(a, claim));
    val_set_text(a, spec, N(persistentVolumeReclaimPolicy), policy.n ? policy : S("Delete"));
    val_set_text(a, spec, N(storageClassName), class->name);
    if (val_len(options))
        val_set(a, spec, N(mountOptions), val_copy(a, options));
    val_set_text(a, spec, N(volumeMode), mode.n ? mode : S("Filesystem"));
    val_set(a, val_need_map(a, spec, N(local)), N(path), val_str(a, path));
    val_set(a, spec, N(nodeAffinity), affinity_of(a, node));
    return body;
}

/* --- growing ---------------------------------------------------------------------------------------------------- */

bool claim_wants_growth(const struct obj *claim, const struct obj *volume)
{
    struct str wants = request_of(claim);
    return !obj_deleting(claim) && str_eq(val_text_at(obj_status(claim), N(phase)), S("Bound")) &&
           str_eq(val_text_at(obj_spec(volume), N(claimRef), N(uid)), claim->uid) &&
           quantity_cmp(wants, storage_of(val_get(obj_status(claim), N(capacity)))) > 0;
}

static struct val conditions_without(struct arena *a, const struct obj *claim)
{
    static const char *const ours[] = {"Resizing", "FileSystemResizePending", "ControllerResizeError"};
    struct val list = val_list();
    val_each_item (c, val_get(obj_status(claim), N(conditions))) {
        bool mine = false;
        for (size_t i = 0; i < countof(ours); i++)
            mine = mine || str_eqz(val_text_at(c, N(type)), ours[i]);
        if (!mine)
            val_add(a, &list, val_copy(a, c));
    }
    return list;
}

static void allocated_set(struct arena *a, struct val *status, struct str size, const char *state)
{
    struct val amounts = val_map(), states = val_map();
    val_set_str(a, &amounts, S("storage"), val_str(a, size));
    val_set(a, status, N(allocatedResources), amounts);
    if (state)
        val_set_str(a, &states, S("storage"), val_str(a, str_of(state)));
    val_set(a, status, N(allocatedResourceStatuses), state ? states : VAL_NONE);
}

struct val growth_begun(struct arena *a, const struct obj *claim, int64_t now)
{
    struct val body = val_map(), list = conditions_without(a, claim), c = val_map();
    const struct val *before = val_find(val_get(obj_status(claim), N(conditions)), N(type), S("Resizing"));
    struct val *status = val_need_map(a, &body, N(status));
    int64_t since;
    if (before && time_parse(val_text_at(before, N(lastTransitionTime)), &since))
        now = since;
    val_set_text(a, &c, N(type), S("Resizing"));
    val_set_text(a, &c, N(status), S("True"));
    val_set(a, &c, N(lastTransitionTime), val_str(a, time_text(a, now)));
    val_add(a, &list, c);
    val_set(a, status, N(conditions), list);
    allocated_set(a, status, request_of(claim), "ControllerResizeInProgress");
    return body;
}

bool growth_is_pending(const struct obj *claim)
{
    const struct val *c = val_find(val_get(obj_status(claim), N(conditions)), N(type), S("FileSystemResizePending"));
    return str_eq(val_text_at(c, N(status)), S("True"));
}

struct val growth_pending(struct arena *a, const struct obj *claim, int64_t now)
{
    struct val body = val_map(), list = conditions_without(a, claim), c = val_map();
    struct val *status = val_need_map(a, &body, N(status));
    val_set_text(a, &c, N(type), S("FileSystemResizePending"));
    val_set_text(a, &c, N(status), S("True"));
    val_set(a, &c, N(lastTransitionTime), val_str(a, time_text(a, now)));
    val_set_text(a, &c, N(message),
                 S("Waiting for user to (re-)start a pod to finish file system resize of volume on node."));
    val_add(a, &list, c);
    val_set(a, status, N(conditions), list);
    allocated_set(a, status, request_of(claim), "NodeResizePending");
    return body;
}

struct val growth_over(struct arena *a, const struct obj *claim, const struct obj *grown)
{
    struct val body = val_map(), capacity = val_map(), list = conditions_without(a, claim);
    struct val *status = val_need_map(a, &body, N(status));
    struct str size = storage_of(val_get(obj_spec(grown), N(capacity)));
    val_set_str(a, &capacity, S("storage"), val_str(a, size));
    val_set(a, status, N(capacity), capacity);
    val_set(a, status, N(conditions), val_len(&list) ? list : VAL_NONE);
    allocated_set(a, status, size, NULL);
    return body;
}

/* --- going ------------------------------------------------------------------------------------------------------ */

enum volume_fate volume_fate(const struct obj *volume)
{
    struct str phase = val_text_at(obj_status(volume), N(phase));
    /* one whose claim was struck out is to be given to another; its phase says so only later */
    bool had = val_text_at(obj_spec(volume), N(claimRef), N(uid)).n > 0,
         released = had && (str_eq(phase, S("Released")) || str_eq(phase, S("Failed")));
    bool deletes = str_eq(val_text_at(obj_spec(volume), N(persistentVolumeReclaimPolicy)), S("Delete"));
    if (!str_eqz(obj_note(volume, "pv.kubernetes.io/provisioned-by"), PROVISIONER))
        return VOLUME_STAYS;
    if (deletes && (released || (obj_deleting(volume) && !str_eq(phase, S("Bound")))))
        return VOLUME_DROPS;
    /* its owner takes it away by hand, and keeps the files */
    return obj_deleting(volume) && !str_eq(phase, S("Bound")) ? VOLUME_LEAVES : VOLUME_STAYS;
}

struct val finalizers_without(struct arena *a, const struct obj *o, struct str finalizer)
{
    struct val list = val_list();
    val_each_item (f, val_get(obj_meta(o), N(finalizers)))
        if (!str_eq(val_text(f), finalizer))
            val_add(a, &list, val_copy(a, f));
    return list;
}
