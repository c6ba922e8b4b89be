#include "api/quantity.h"
#include "base/clock.h"
#include "node/agent_int.h"
#include "node/disk_use.h"

#define LOOK_EVERY (10 * NS_PER_S) /* as a kubelet does: nobody tells of a file that grows */
#define LOOK_PART  20              /* and no more than this part of the time */

/* The emptyDir volumes of a pod that lie on the disk, beside their sizeLimit: a pod that is over it is evicted
 * (kubelet: eviction manager, localStorageEviction). */

/* Its sizeLimit, where it has one that is to be watched; else empty. */
static struct str limit_of(const struct val *volume)
{
    struct str limit = val_text_at(volume, N(emptyDir), N(sizeLimit));
    return limit.n && quantity_value(limit) > 0 && !val_text_at(volume, N(emptyDir), N(medium)).n ? limit : STR_NONE;
}

static void pod_over_limit(struct agent_pod *ap, struct str name, struct str limit)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str message = arena_fmt(&a, "Usage of EmptyDir volume \"" STR_FMT "\" exceeds the limit \"" STR_FMT "\". ",
                                   STR_ARG(name), STR_ARG(limit));
    agent_event(ap, -1, true, "Evicted", message);
    pod_evict(ap->facts, message, clock_mono());
}

static void usage_counted(void *arg, struct agent_pod *ap, const struct disk_use *use)
{
    (void)arg;
    if (!use || ap->pod->state != POD_ACTIVE || pod_is_to_end(ap->pod))
        return;
    array_each (p, &use->parts) {
        const struct val *v = val_find(val_get(obj_spec(ap->pod->obj), N(volumes)), N(name), p->name);
        struct str limit = p->what == DISK_VOLUME ? limit_of(v) : STR_NONE;
        if (limit.n && (p->hidden || p->bytes > quantity_value(limit))) {
            pod_over_limit(ap, p->name, limit);
            return;
        }
    }
    timer_set(&ap->usage, MAX(LOOK_EVERY, LOOK_PART * (clock_mono() - ap->usage_began)));
}

void usage_look(struct agent_pod *ap)
{
    bool limited = false;
    val_each_item (v, val_get(obj_spec(ap->pod->obj), N(volumes)))
        limited = limited || limit_of(v).n;
    if (!limited)
        return;
    ap->usage_began = clock_mono();
    disk_use_ask(ap, LOOK_EVERY / 2, usage_counted, NULL);
}
