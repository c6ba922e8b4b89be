/* A node that runs short, the pods that had to go for it, and those that took more of the disk than they may. */
#include "control/why_int.h"

/* By the message of a pod that has failed with reason Evicted. */
static const struct saying evictions[] = {
    {"had condition: [", "RefusedByPressure", "was refused by node {node}, which is under pressure: {conditions}",
     "See what the node lacks: wherry why node/{node}; a pod of its own is then made anew by hand"},
    {"low on resource: memory", "EvictedForMemory", "was evicted, as node {node} was short of memory{used}",
     "Let it ask for what it takes ({spec}containers[].resources.requests.memory), so that it is placed where that "
     "is "
     "free and others go first: {edit}"},
    {"low on resource: ephemeral-storage", "EvictedForDisk",
     "was evicted, as the disk of node {node} was nearly full{used}",
     "Let it ask for what it takes ({spec}containers[].resources.requests.ephemeral-storage) or write less: {edit}"},
    {"low on resource: inodes", "EvictedForInodes",
     "was evicted, as the disk of node {node} had hardly room for another file",
     "Let it make fewer files, or give that disk more inodes (df -i)"},
    {"low on resource: pids", "EvictedForPids", "was evicted, as node {node} was short of process numbers",
     "Let it start fewer processes, or raise kernel.pid_max there"},
    {"Usage of EmptyDir volume", "VolumeOverLimit", "was evicted for its own volume: {message}",
     "Raise sizeLimit of that volume or write less into it: {edit}"},
    {"Pod ephemeral local storage", "PodOverDiskLimit",
     "was evicted for what it had on the disk, volumes and logs included: {message}",
     "Raise {spec}containers[].resources.limits.ephemeral-storage or write less: {edit}"},
    {"local ephemeral storage limit", "ContainerOverDiskLimit",
     "was evicted for what one container had written, its log included: {message}",
     "Raise that container's resources.limits.ephemeral-storage or write less: {edit}"},
    {"", "Evicted", "was evicted by node {node}: {message}", "See what the node lacks: wherry why node/{node}"},
};

static struct str text_between(struct str text, struct str from, struct str to)
{
    ptrdiff_t at = str_find(text, from);
    struct str rest = at < 0 ? S("") : str_sub(text, (size_t)at + from.n, text.n);
    ptrdiff_t end = str_find(rest, to);
    return end < 0 ? S("") : str_sub(rest, 0, (size_t)end);
}

bool why_evicted(struct question *q, const struct obj *pod, struct finding *f)
{
    if (!str_eqz(val_text_at(obj_status(pod), N(reason)), "Evicted"))
        return false;
    struct str message = str_trim(val_text_at(obj_status(pod), N(message)));
    struct str container = text_between(message, S(" Container "), S(" was using ")),
               used = text_between(message, S(" was using "), S(", has larger consumption"));
    if (message.n && message.p[message.n - 1] == '.')
        message.n--;
    const struct word words[] = {
        {"node", pod_node(pod)},
        {"message", message},
        {"conditions", text_between(message, S("condition: ["), S("]"))},
        {"used", container.n
                     ? arena_fmt(q->a, ": container " STR_FMT " used " STR_FMT, STR_ARG(container), STR_ARG(used))
                     : S("")},
    };
    why_saying(q, f, evictions, message, words, countof(words));
    return true;
}

/* ---- the node ---- */

static const struct {
    const char *type, *cause, *says, *way;
} shortages[] = {
    {"MemoryPressure", "NodeMemoryPressure", "it is short of memory, and takes no more pods that asked for none",
     "See who takes it: kubectl top pods -A; it is over by itself once there is enough"},
    {"DiskPressure", "NodeDiskPressure", "its disk is nearly full, and it takes no more pods",
     "Make room there: df -h, wherry image ls, wherry volume ls; it is over by itself once there is enough"},
    {"PIDPressure", "NodePidPressure", "it is short of process numbers, and takes no more pods",
     "See who has them: ps -eLf, or raise kernel.pid_max; it is over by itself once there are enough"},
};

/* The pod that had to go last. */
static void say_victim(struct question *q, const struct obj *node, struct finding *f)
{
    const struct obj *last = NULL;
    struct obj *pod;
    if (!q->v->sets[K(Pod)->id])
        return;
    for (struct objset_iter it = view_with(q->v, K(Pod), &index_node, node->name); (pod = objset_next(&it));)
        if (str_eqz(val_text_at(obj_status(pod), N(reason)), "Evicted") && (!last || pod->rev > last->rev))
            last = pod;
    if (last)
        why_chain(q, f, "Pod " STR_FMT "/" STR_FMT ": Evicted: " STR_FMT, STR_ARG(last->ns), STR_ARG(last->name),
                  STR_ARG(str_trim(val_text_at(obj_status(last), N(message)))));
}

bool why_short_node(struct question *q, const struct obj *node, struct finding *f)
{
    for (size_t i = 0; i < countof(shortages); i++) {
        if (!condition_is(obj_status(node), shortages[i].type, "True"))
            continue;
        why_chain(q, f, "Node " STR_FMT ": %s is True", STR_ARG(node->name), shortages[i].type);
        struct str images = why_event_text(why_event(q, node, "FreeDiskSpaceFailed", S(""), S("")));
        ptrdiff_t kept = str_find(images, S("Not collected: "));
        if (str_eqz(str_of(shortages[i].type), "DiskPressure") && kept >= 0) {
            images = str_sub(images, (size_t)kept + strlen("Not collected: "), images.n);
            why_found(q, f, "ImagesStay",
                      "its disk is nearly full, it takes no more pods, and its images may not go: " STR_FMT,
                      STR_ARG(images));
            why_way(
                q, f,
                "Remove what you do not need by hand (wherry image ls, wherry image rm NAME), or make room: df -h");
        } else {
            why_found(q, f, shortages[i].cause, "%s", shortages[i].says);
            why_way(q, f, "%s, as eviction-hard and eviction-soft (settings of the node) have it", shortages[i].way);
        }
        say_victim(q, node, f);
        return true;
    }
    return false;
}
