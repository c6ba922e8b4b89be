/* Volumes of drivers of storage, and disks that nodes attach themselves: who attaches, who mounts, and what a driver
 * or a target says. Told by the events of the pod, as
 * the node and the attach controller tell them, and by the VolumeAttachment where nobody has said anything yet. */
#include "api/csi_source.h"
#include "client/csi.h"
#include "control/volumes.h"
#include "control/why_int.h"

/* {volume} is the pod's, or the PersistentVolume that its claim is bound to. */
static const struct saying drivers[] = {
    {"failed to translate in-tree pv to CSI: kind(", "DriverRefuses",
     "cannot have its volume {volume}: disk.csi.azure.com has managed disks only: {message}",
     "Say kind: Managed, and name the disk by its URI (/subscriptions/...)"},
    {"failed to translate in-tree pv to CSI", "DriverRefuses",
     "cannot have its volume {volume}: the CSI driver that has such volumes now cannot be told of it: {message}",
     "Mend the source of the volume, or make a PersistentVolume of the driver (spec.csi) in its place"},
    {"not found in the list of registered CSI drivers", "DriverMissing",
     "cannot have its volume {volume}: its driver is not registered on node {node}: {message}",
     "Let the driver's own pod run there, or wait until it does: kubectl get csinode {node} -o yaml shows who is; "
     "where there is none, install the CSI driver {driver}"},
    {"failed to check volume lifecycle mode", "DriverMode", "cannot have its volume {volume}: {message}",
     "Use it by a claim, or a driver whose CSIDriver lists that mode in volumeLifecycleModes"},
    {"failed to find the secret", "DriverSecret", "cannot have its volume {volume}: {message}",
     "Make that Secret, or mend the volume that names it"},
    {"code = DeadlineExceeded", "DriverHangs",
     "cannot have its volume {volume}: its driver on node {node} has not answered within two minutes: {message}",
     "See what the driver's pod on that node does; it is asked again with growing gaps"},
    {" command failed, status: ", "DriverSays",
     "cannot have its volume {volume}: its FlexVolume driver on node {node} says: {message}",
     "That is for who runs the driver to mend; it is asked again with growing gaps"},
    {"rpc error: code = ", "DriverSays", "cannot have its volume {volume}: its driver on node {node} says: {message}",
     "That is for who runs the driver to mend; it is asked again with growing gaps"},
    {"\"iscsiadm\": executable file not found", "ToolMissing",
     "cannot have its volume {volume}: on node {node} the program iscsiadm is missing",
     "Install it there (Debian: apt-get install open-iscsi); it is tried again with growing gaps"},
    {"couldn't get secret", "ChapSecret", "cannot have its volume {volume}: {message}",
     "Make that Secret, of type kubernetes.io/iscsi-chap, or mend the volume that names it"},
    {"failed to sendtargets to portal", "TargetUnreachable",
     "cannot have its volume {volume}: its iSCSI portal tells node {node} of no targets: {message}",
     "See on that node: iscsiadm -m discovery -t sendtargets -p PORTAL; mind firewalls, and chapAuthDiscovery"},
    {"iscsi: failed to attach disk", "TargetRefuses",
     "cannot have its volume {volume}: node {node} cannot log in at its iSCSI target: {message}",
     "See that the target lets the node's initiator in (/etc/iscsi/initiatorname.iscsi there, or initiatorName), and "
     "the names and passwords of CHAP"},
    {"Timed out waiting for device at path", "LunMissing",
     "cannot have its volume {volume}: its target has let node {node} in and shows it no such disk: {message}",
     "See that the target has this LUN for the node's initiator, and that udev runs there"},
    {"no fc disk found", "DiskMissing", "cannot have its volume {volume} on node {node}: {message}",
     "Zone the fabric so that the node's adapter sees the target, and give it the LUN; or mend the volume"},
    {"'fsck' found errors", "FileSystemBroken", "cannot have its volume {volume}: {message}",
     "Repair it by hand on node {node}; it is mounted at the next try"},
    {"volume attachment", "AttachPending", "cannot have its volume {volume}: {message}",
     "See what the driver's attacher says: kubectl get volumeattachment -o yaml"},
    {"", "", "", ""},
};

static const struct saying attaches[] = {
    {"timed out waiting for external-attacher", "AttachPending", "waits for its volume {volume}: {message}",
     "See whether the driver's controller with its external-attacher runs, or install the CSI driver {driver}; one "
     "that attaches nothing says so by attachRequired: false in its CSIDriver"},
    {"Multi-Attach error", "MultiAttach", "waits for its volume {volume}, which only one node may have: {message}",
     "Let who has it go, or keep such pods on one node; a volume that several nodes may have is ReadWriteMany"},
    {"", "AttachFailed", "waits for its volume {volume}, which its driver cannot attach to node {node}: {message}",
     "That is for who runs the driver to mend; it is tried again"},
};

static struct str text_between(struct str s, const char *begins, char end)
{
    ptrdiff_t at = str_find(s, str_of(begins));
    if (at < 0)
        return S("");
    s = str_sub(s, (size_t)at + strlen(begins), s.n);
    at = str_find_char(s, end);
    return at < 0 ? s : str_sub(s, 0, (size_t)at);
}

static struct str volume_told(struct str message)
{
    struct str one = text_between(message, "failed to process volumes=[", ']');
    return one.n ? one : text_between(message, "for volume \"", '"');
}

/* What follows whose fault it is. */
static struct str reason_told(struct str message)
{
    ptrdiff_t at = str_find(message, S("\" : "));
    if (at >= 0)
        return str_sub(message, (size_t)at + 4, message.n);
    at = str_find(message, S("]: "));
    return at >= 0 ? str_sub(message, (size_t)at + 3, message.n) : message;
}

static void csi_saying(struct question *q, const struct obj *pod, const struct saying *rows, struct str message,
                       struct finding *f)
{
    struct str volume = volume_told(message), reason = reason_told(message);
    struct str driver = text_between(message, "driver name ", ' ');
    if (!driver.n)
        driver = text_between(message, "external-attacher of ", ' ');
    const struct word words[] = {
        {"volume", volume}, {"node", pod_node(pod)}, {"message", reason}, {"driver", driver}};
    why_chain(q, f, "volume " STR_FMT ": " STR_FMT, STR_ARG(volume), STR_ARG(message));
    why_saying(q, f, rows, message, words, countof(words));
}

bool why_driver(struct question *q, const struct obj *pod, struct str message, struct finding *f)
{
    for (const struct saying *row = drivers; row->says[0]; row++)
        if (str_has(message, str_of(row->says))) {
            csi_saying(q, pod, drivers, message, f);
            return true;
        }
    return false;
}

/* The attachment to the pod's node of a volume of the pod that is to be attached; *volume: what it is called, *type:
 * as what it was built in ("": it was not). */
static const struct obj *attachment_waits(struct question *q, const struct obj *pod, struct str *volume,
                                          struct str *type)
{
    if (!q->v->sets[K(VolumeAttachment)->id] || !q->v->sets[K(PersistentVolumeClaim)->id] ||
        !q->v->sets[K(PersistentVolume)->id])
        return NULL;
    val_each_item (v, val_get(obj_spec(pod), N(volumes))) {
        struct str name = pod_claim(q->a, pod, v);
        const struct obj *claim = name.n ? view_get(q->v, K(PersistentVolumeClaim), pod->ns, name) : NULL,
                         *owner = claim && claim_volume(claim).n
                                      ? view_get(q->v, K(PersistentVolume), S(""), claim_volume(claim))
                                      : NULL;
        struct csi_source source;
        struct err ignored = ERR; /* the node tells what cannot be */
        if (owner ? !csi_source_of(q->a, owner, &source, &ignored)
                  : name.n || !csi_source_inline(q->a, pod->ns, v, &source, &ignored))
            continue;
        const struct obj *a = view_get(q->v, K(VolumeAttachment), S(""),
                                       csi_attachment_name(q->a, source.handle, source.driver, pod_node(pod)));
        *volume = source.name;
        *type = csi_plugin_before(owner ? obj_spec(owner) : v);
        if (a && !val_true(val_get(obj_status(a), N(attached))))
            return a;
    }
    return NULL;
}

/* Somebody has said that it is there: its CSIDriver, or a node. */
static bool driver_is_heard_of(struct question *q, struct str driver)
{
    struct obj *o;
    if (!q->v->sets[K(CSIDriver)->id] || !q->v->sets[K(CSINode)->id] || view_get(q->v, K(CSIDriver), S(""), driver))
        return true; /* also where who explains may not read them */
    for (struct objset_iter it = view_all(q->v, K(CSINode)); (o = objset_next(&it));)
        if (val_find(val_get(obj_spec(o), N(drivers)), N(name), driver))
            return true;
    return false;
}

static void say_no_driver(struct question *q, const struct obj *attachment, struct str volume, struct str type,
                          struct finding *f)
{
    struct str driver = val_text_at(obj_spec(attachment), N(attacher));
    why_found(q, f, "DriverMissing", "waits for its volume " STR_FMT " of driver " STR_FMT ", which is not installed",
              STR_ARG(volume), STR_ARG(driver));
    if (type.n)
        why_way(q, f, "Install the CSI driver " STR_FMT ": it has the volumes that were once those of " STR_FMT,
                STR_ARG(driver), STR_ARG(type));
    else
        why_way(q, f, "Install the CSI driver " STR_FMT, STR_ARG(driver));
}

bool why_attach(struct question *q, const struct obj *pod, struct finding *f)
{
    struct str volume = S(""), type = S("");
    const struct obj *waits = attachment_waits(q, pod, &volume, &type),
                     *event = why_event(q, pod, "FailedAttachVolume", S(""), S("")),
                     *attached = why_event(q, pod, "SuccessfulAttachVolume", S(""), S(""));
    bool told = event && (!attached || why_event_time(attached) < why_event_time(event)),
         late = told && str_has(why_event_text(event), S("timed out waiting for external-attacher"));
    if (waits && (late || !told) && !val_len(val_get(obj_meta(waits), N(finalizers))) &&
        !driver_is_heard_of(q, val_text_at(obj_spec(waits), N(attacher)))) {
        why_chain(q, f, "VolumeAttachment " STR_FMT ": not attached", STR_ARG(waits->name));
        say_no_driver(q, waits, volume, type, f);
        return true;
    }
    if (told) {
        csi_saying(q, pod, attaches, why_event_text(event), f);
        return true;
    }
    if (!waits)
        return false;
    why_chain(q, f, "VolumeAttachment " STR_FMT ": not attached", STR_ARG(waits->name));
    why_found(q, f, "AttachPending",
              "waits for its volume " STR_FMT ", which driver " STR_FMT " has not attached to node " STR_FMT
              " since " STR_FMT,
              STR_ARG(volume), STR_ARG(val_text_at(obj_spec(waits), N(attacher))), STR_ARG(pod_node(pod)),
              STR_ARG(val_text_at(obj_meta(waits), N(creationTimestamp))));
    why_way(q, f,
            "See whether the driver's controller with its external-attacher runs; a driver that attaches nothing "
            "says so by attachRequired: false in its CSIDriver");
    return true;
}

bool why_unmount(struct question *q, const struct obj *pod, struct finding *f)
{
    struct str message = why_event_text(why_event(q, pod, "FailedUnmount", S(""), S("")));
    if (!message.n)
        return false;
    why_chain(q, f, "volume " STR_FMT ": " STR_FMT, STR_ARG(volume_told(message)), STR_ARG(message));
    why_found(q, f, "VolumeStays", "was deleted, and its volume " STR_FMT " cannot be taken away from it: " STR_FMT,
              STR_ARG(volume_told(message)), STR_ARG(reason_told(message)));
    why_way(q, f, "Let the volume's driver run on node " STR_FMT " again: it alone can unmount it",
            STR_ARG(pod_node(pod)));
    return true;
}
