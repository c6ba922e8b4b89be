/* What keeps volumes from being made and mounted on a node's disk, by what its provisioner and the node say of it. */
#include "control/volumes.h"
#include "control/why_int.h"

static const struct saying makes[] = {
    {"no room below", "PromisedTooMuch", "its volume cannot be made: {message}",
     "Delete claims that nobody needs (wherry volume ls), ask for less, or promise more than there is: `wherry up "
     "--set "
     "volumes-percent=N`"},
    {"no loop device is", "LoopDevices", "its volume cannot be made: node {node} has no loop device left",
     "See who has them: losetup -a"},
    {"No space left on device", "DiskFull", "its volume cannot be made: the disk of node {node} is full",
     "Make room there: df -h, wherry volume ls, wherry image ls"},
    {" is missing (Debian", "ProgramMissing", "its volume cannot be made: on node {node} {message}",
     "Install that program there; it is tried again by itself"},
    {"has no project quotas", "NoQuota", "its volume cannot be made: {message}",
     "Mount that disk with prjquota, or make the claim anew with a class that says size-by: image"},
    {"parameter ", "ClassParameter", "its volume cannot be made: its class {class} says what is not known: {message}",
     "Make the class anew without it: kubectl get sc/{class} -o yaml"},
    {"is not supported", "ClaimAsksTooMuch", "its volume cannot be made: {message}",
     "Make the claim anew without it"},
    {"", "ProvisioningFailed", "its volume cannot be made on node {node}: {message}",
     "Mend what it complains of; it tries again by itself"},
};

void why_disk_made(struct question *q, const struct obj *claim, const struct obj *class, struct str message,
                   struct finding *f)
{
    ptrdiff_t at = str_find(message, S("\": "));
    const struct word words[] = {{"message", at >= 0 ? str_sub(message, (size_t)at + 3, message.n) : message},
                                 {"class", class->name},
                                 {"node", obj_note(claim, ANN_SELECTED_NODE)}};
    why_saying(q, f, makes, words[0].text, words, countof(words));
}

static const struct saying mounts[] = {
    {"\" does not exist", "VolumeGone", "cannot mount its volume {volume}: on node {node} {message}",
     "Put it back; or, as its files are lost, make the claim anew"},
    {"no loop device is", "LoopDevices", "cannot mount its volume {volume}: node {node} has no loop device left",
     "See who has them: losetup -a"},
    {" is missing (Debian", "ProgramMissing", "cannot mount its volume {volume}: on node {node} {message}",
     "Install that program there; it is tried again by itself"},
    {"kernel has no NFS", "NoNfs", "cannot mount its volume {volume}: the kernel of node {node} has no NFS",
     "Load its module there: modprobe nfs"},
    {"does not answer", "VolumeSilent", "waits for its volume {volume}: {message}",
     "See whether that server or disk is there, and whether it lets node {node} in; it is tried again by itself"},
    {"nfs: ", "NfsFailed", "cannot mount its volume {volume}: {message}",
     "Mend the server, its exports, or the volume's path and mountOptions; it is tried again by itself"},
    {"no matching NodeSelectorTerms", "VolumeElsewhere",
     "cannot run on node {node}: its volume {volume} is another node's",
     "Delete the pod, so that the scheduler finds that node: {delete}"},
    {"ReadWriteOncePod", "ClaimTaken",
     "waits: its claim is for one pod alone (ReadWriteOncePod), and another pod of node {node} has it",
     "Delete that pod, or make the claim anew with ReadWriteOnce"},
    {"PVC is not bound", "ClaimUnbound", "waits: its claim is not bound: {message}",
     "See what keeps it: wherry why{ns}"},
    {"PVC is being deleted", "ClaimGoing", "waits: its claim is being deleted",
     "Delete the pod: {delete}; then make the claim anew"},
    {"volumes of claims are", "VolumeType", "cannot mount its volume {volume}: {message}",
     "Make the volume anew, of a type that the node has"},
    {"has volumeMode", "VolumeMode", "cannot have its volume {volume} so: {message}", "Mend its containers: {edit}"},
    {"", "", "", ""},
};

/* "Unable to attach or mount volumes: unmounted volumes=[v] ...: why" */
static struct str first_of(struct str message, struct str head)
{
    ptrdiff_t at = str_find(message, head);
    struct str rest = at < 0 ? S("") : str_sub(message, (size_t)at + head.n, message.n), one = S("");
    ptrdiff_t end = str_find_char(rest, ']');
    (void)str_split(str_sub(rest, 0, (size_t)MAX(end, 0)), ' ', &one, &rest);
    return one;
}

bool why_disk_mount(struct question *q, const struct obj *pod, struct str message, struct finding *f)
{
    struct str volume = first_of(message, S("unmounted volumes=[")), why = message;
    ptrdiff_t at = volume.n ? str_find(message, S("]: ")) : str_find(message, S("\" : "));
    bool known = false;
    for (const struct saying *row = mounts; row->says[0] && !known; row++)
        known = str_find(message, str_of(row->says)) >= 0;
    if (!known)
        return false;
    if (at >= 0)
        why = str_sub(message, (size_t)at + (volume.n ? 3 : 4), message.n);
    if (!volume.n) {
        struct str rest;
        (void)str_split(message, '"', &rest, &volume);
        (void)str_split(volume, '"', &volume, &rest);
    }
    why_chain(q, f, "volume " STR_FMT ": " STR_FMT, STR_ARG(volume), STR_ARG(why));
    const struct word words[] = {{"volume", volume},
                                 {"node", pod_node(pod)},
                                 {"message", why},
                                 {"delete", arena_fmt(q->a, "kubectl delete pod/" STR_FMT STR_FMT, STR_ARG(pod->name),
                                                      STR_ARG(why_ns_flag(q, pod->ns)))}};
    why_saying(q, f, mounts, message, words, countof(words));
    return true;
}

void why_disk_lost(struct question *q, const struct obj *claim, struct finding *f)
{
    const struct obj *told = why_event(q, claim, "VolumeMissing", S(""), S(""));
    if (told &&
        why_found(q, f, "VolumeGone", "its files are gone: " STR_FMT, STR_ARG(why_quoted(q, why_event_text(told)))))
        why_way(q, f, "Put the folder back, or make the claim anew: kubectl delete " STR_FMT,
                STR_ARG(why_target(q, claim)));
}
