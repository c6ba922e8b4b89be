/* Volumes of drivers of storage, and disks that nodes attach themselves: who attaches, who mounts, and what a driver
 * or a target says. Told by the events of the pod, as
 * the node and the attach controller tell them, and by the VolumeAttachment where nobody has said anything yet. */
#include "control/volumes.h"
#include "control/why_int.h"

/* {volume} is the pod's, or the PersistentVolume that its claim is bound to. */
static const struct saying drivers[] = {
    {"not found in the list of registered CSI drivers", "DriverMissing",
     "cannot have its volume {volume}: its driver is not registered on node {node}: {message}",
     "Let the driver's own pod run there, or wait until it does: kubectl get csinode {node} -o yaml shows who is"},
    {"failed to check volume lifecycle mode", "DriverMode", "cannot have its volume {volume}: {message}",
     "Use it by a claim, or a driver whose CSIDriver lists that mode in volumeLifecycleModes"},
    {"failed to find the secret", "DriverSecret", "cannot have its volume {volume}: {message}",
     "Make that Secret, or mend the volume that names it"},
    {"code = DeadlineExceeded", "DriverHangs",
     "cannot have its volume {volume}: its driver on node {node} has not answered within two minutes: {message}",
     "See what the driver's pod on that node does; it is asked again with growing gaps"},
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
    const struct word words[] = {{"volume", volume}, {"node", pod_node(pod)}, {"message", reason}};
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

/* A volume of the pod that is to be attached, and its attachment to the pod's node. */
static const struct obj *attachment_waits(struct question *q, const struct obj *pod, const struct obj **volume)
{
    if (!q->v->sets[K(VolumeAttachment)->id] || !q->v->sets[K(PersistentVolumeClaim)->id] ||
        !q->v->sets[K(PersistentVolume)->id])
        return NULL;
    val_each_item (v, val_get(obj_spec(pod), N(volumes))) {
        struct str name = pod_claim(q->a, pod, v);
        const struct obj *claim = name.n ? view_get(q->v, K(PersistentVolumeClaim), pod->ns, name) : NULL;
        *volume = claim && claim_volume(claim).n ? view_get(q->v, K(PersistentVolume), S(""), claim_volume(claim))
                                                 : NULL;
        struct obj *a;
        for (struct objset_iter it = view_all(q->v, K(VolumeAttachment)); *volume && (a = objset_next(&it));)
            if (str_eq(val_text_at(obj_spec(a), N(source), N(persistentVolumeName)), (*volume)->name) &&
                str_eq(val_text_at(obj_spec(a), N(nodeName)), pod_node(pod)) &&
                !val_true(val_get(obj_status(a), N(attached))))
                return a;
    }
    return NULL;
}

bool why_attach(struct question *q, const struct obj *pod, struct finding *f)
{
    const struct obj *volume = NULL, *waits = attachment_waits(q, pod, &volume),
                     *event = why_event(q, pod, "FailedAttachVolume", S(""), S("")),
                     *attached = why_event(q, pod, "SuccessfulAttachVolume", S(""), S(""));
    if (event && (!attached || why_event_time(attached) < why_event_time(event))) {
        csi_saying(q, pod, attaches, why_event_text(event), f);
        return true;
    }
    if (!waits)
        return false;
    why_chain(q, f, "VolumeAttachment " STR_FMT ": not attached", STR_ARG(waits->name));
    why_found(q, f, "AttachPending",
              "waits for its volume " STR_FMT ", which driver " STR_FMT " has not attached to node " STR_FMT
              " since " STR_FMT,
              STR_ARG(volume->name), STR_ARG(val_text_at(obj_spec(waits), N(attacher))), STR_ARG(pod_node(pod)),
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
