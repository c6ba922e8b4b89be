/* provision_int.h - what the files of the built-in provisioner share. All of it belongs to the loop. */
#pragma once
#include "client/workqueue.h"
#include "node/agent_int.h"
#include <sys/inotify.h>

struct provisioner {
    struct agent *agent;
    struct events *events;
    struct lane *lane; /* from the first job on; NULL: there was none */
    struct cache *claims, *volumes, *classes;
    struct cache_handler on_claims, on_volumes, on_classes;
    struct workqueue *queue;
    struct map roomless; /* keys of claims for which there was no room */
    struct inotify watches;
    bool watching;
    struct timer sweep;
    int64_t made_rev; /* of the volume that was made last */
    bool ready;
    size_t sweeping; /* folders that are being swept */
};

/* Its lane, made when it is needed first; false: that failed, and has been logged. */
MUST_USE bool provision_lane(struct provisioner *p);
/* Where volumes of this node may lie: in its own folder (the first), in those of the classes that name another, and
 * where there are volumes of classes that are gone. */
struct strs provision_dirs(struct provisioner *p, struct arena *a);
/* Room came free: whoever waits for it is tried again. */
void provision_room_came(struct provisioner *p);
/* Files that are nobody's any more, as long as it takes. */
void provision_remove(struct provisioner *p, struct str path);

void provision_sweep_init(struct provisioner *p);
/* Once, when all objects are known. */
void provision_sweep_start(struct provisioner *p);
void provision_sweep_soon(struct provisioner *p);
void provision_sweep_stop(struct provisioner *p);
