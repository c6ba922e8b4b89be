#include "base/clock.h"
#include "node/agent_int.h"
#include "node/disk_use.h"
#include "node/pressure_plan.h"

#define LOOK_EVERY (10 * NS_PER_S) /* as a kubelet does: nobody tells of a file that grows */
#define LOOK_PART  20              /* and no more than this part of the time */

/* What a pod has on the disk, beside what it may have there: limits of ephemeral-storage, sizeLimit of emptyDir
 * volumes. One that is over it is evicted (kubelet: eviction manager, localStorageEviction). */

static void usage_counted(void *arg, struct agent_pod *ap, const struct disk_use *use)
{
    (void)arg;
    AUTO(arena_fini) struct arena a = ARENA;
    const char *signal = NULL;
    if (!use || ap->pod->state != POD_ACTIVE || pod_is_to_end(ap->pod))
        return;
    struct str message = pressure_over_limit(&a, ap->pod->obj, use, &signal);
    if (!message.n || !pressure_evict(ap, signal, message, 1, false)) /* a critical pod stays */
        timer_set(&ap->usage, MAX(LOOK_EVERY, LOOK_PART * (clock_mono() - ap->usage_began)));
}

void usage_look(struct agent_pod *ap)
{
    if (!pressure_has_limit(ap->pod->obj))
        return;
    ap->usage_began = clock_mono();
    disk_use_ask(ap, LOOK_EVERY / 2, usage_counted, NULL);
}
