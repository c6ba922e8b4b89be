/* csi_int.h - what the files of csi share.
 *
 *   csi_plugins.c   sockets in plugins_registry: who registers there, and who has gone
 *   csi_object.c    what the API is told of them: the CSINode, and labels and an annotation of the Node
 *   csi_volumes.c   which volumes are here and for which pods, and whose turn it is
 *   csi_op.c        one turn: a volume is published for a pod, taken from it, unstaged or grown, step by step
 *   csi_flex.c      the steps of FlexVolumes
 */
#pragma once
#include "base/array.h"
#include "node/agent_int.h"
#include "node/csi.h"
#include "node/csi_proto.h"
#include "node/csi_records.h"
#include "node/devices.h"
#include "node/flex.h"
#include "wire/grpc.h"

#define CSI_TIMEOUT       (120 * NS_PER_S)  /* of one call of a driver, as a kubelet's */
#define CSI_GAP           (500 * NS_PER_MS) /* before what failed is tried again; twice as long each time, ... */
#define CSI_GAP_MOST      (122 * NS_PER_S)  /* ... and so long at most */
#define CSI_ENDPOINT_MOST 107               /* of the path of a unix socket */

struct csi_plugin; /* a socket in plugins_registry */

/* A driver that has registered. Counted: by its plugin, and by calls under way. */
struct csi_driver {
    int refs;
    struct csi_plugin *plugin; /* whose it is; NULL: it has gone */
    struct str name, endpoint;
    struct csi_node node;
    struct grpc_client *client;
    struct arena arena;
};
struct csi_driver *csi_driver_ref(struct csi_driver *d);
void csi_driver_unref(struct csi_driver *d);
AUTO_POINTER(csi_driver_unref, struct csi_driver);

/* Whether a driver has done something: CSI_MAYBE: it was asked, or an earlier node role may have asked it. */
enum csi_have { CSI_NONE, CSI_MAYBE, CSI_THERE };

/* A volume on this node: staged once for all pods that have it (an ephemeral one: for its pod alone). One operation
 * at a time, with growing gaps after a failure. */
struct csi_volume {
    struct csi *csi;
    struct str key;           /* in csi.volumes */
    struct csi_record record; /* of its staging */
    struct csi_places places;
    enum csi_have staged;
    struct device_name device; /* of a disk as a device: what it is; empty: not known yet */
    /* Of a FlexVolume: what its driver can, once it has said so; nothing is there to be asked. */
    struct flex_can flex_can;
    bool flex_known, flex_missing;
    struct list mounts; /* struct csi_mount */
    struct csi_op *op;  /* under way */
    struct timer again;
    int64_t gap;
    struct soon soon; /* its turn, in a later one of the loop */
    /* The Node says since this revision that it is in use; 0: not since it is here. An older one may have said so of
     * an earlier time, and be about to hear that it is attached no more. */
    int64_t told_rev;
    bool telling; /* in the status that is being written */
    struct arena arena;
};
/* A volume for one pod. */
struct csi_mount {
    struct list node; /* of its volume */
    struct csi_volume *volume;
    struct csi_record record;
    struct csi_places places;
    enum csi_have have;
    bool wanted; /* by a pod that is being set up, or has it */
    bool grow;   /* its file system is to be grown */
    bool again;  /* it is to be published once more: its driver says so (requiresRepublish) */
    struct timer republish;
    struct obj *pod, *owner,
        *claim;             /* counted; owner: the PersistentVolume; NULL: of an ephemeral one, or as found */
    struct str volume_name; /* of the pod's */
    bool read_only;
    bool gives_group; /* the driver gives the files to the pod's group itself */
    struct arena arena;
};
/* A pod that waits for its volumes. */
struct csi_pod {
    struct list node; /* of csi.pods */
    struct agent_pod *ap;
    void (*ready)(struct agent_pod *ap, bool ok, struct str message); /* NULL: nobody waits */
    void (*gone)(struct agent_pod *ap);
    struct soon soon; /* looks whether they are */
    struct timer silent;
    char *failed; /* what failed since it began to wait; NULL: nothing */
};

struct csi {
    struct agent *agent;
    struct str registry; /* path of plugins_registry */
    struct arena arena;
    /* csi_plugins.c */
    struct inotify changes;
    bool watches;        /* `changes` works */
    bool listing, stale; /* a look at the folder is under way; something has changed since */
    bool dead;           /* freed when that is home */
    size_t folders;      /* that the last look found */
    struct map plugins;  /* path -> struct csi_plugin */
    struct map drivers;  /* name -> struct csi_driver */
    /* csi_object.c */
    struct call call; /* at the Node, then at the CSINode */
    struct timer again;
    int64_t gap;
    struct map leaving; /* name -> the text: drivers that have gone and are to be taken out */
    bool news;          /* since the writing that is under way began */
    bool written;       /* the API has it all */
    struct str node_uid;
    /* csi_volumes.c */
    struct cache *infos; /* CSIDrivers */
    struct cache_handler on_infos;
    bool known, finding; /* what an earlier node role left has been found; is being looked for */
    struct list pods;    /* struct csi_pod */
    struct map volumes;  /* key -> struct csi_volume */
    struct list askings; /* csi_stats.c: struct csi_asking */
};

int64_t csi_gap_next(int64_t gap); /* 0: the first */

/* csi_plugins.c */
bool csi_plugins_start(struct csi *c, struct err *err);
void csi_plugins_stop(struct csi *c);
void csi_plugins_info(struct csi *c, const struct obj *info); /* the driver's CSIDriver has changed */
/* The object says so: whoever registers is told. */
void csi_plugin_told(struct csi *c, struct csi_driver *d, const struct err *err);

/* csi_object.c */
void csi_object_init(struct csi *c);
void csi_object_fini(struct csi *c);
void csi_object_news(struct csi *c);                      /* drivers have come */
void csi_object_leaves(struct csi *c, struct str driver); /* or gone */

/* csi_volumes.c */
void csi_volumes_start(struct csi *c);
void csi_volumes_stop(struct csi *c);
void csi_volumes_node(struct csi *c, const struct obj *node); /* what it lists as attached may have changed */
void csi_driver_came(struct csi *c, struct csi_driver *d);    /* who waits for it is tried again */
void csi_volume_turn(struct csi_volume *v); /* begins what is next, where nothing is under way. May free it */
void csi_op_ended(struct csi_volume *v, struct csi_mount *m, bool ok);
/* The tokens of the pod's account that the driver wants, as JSON; "": none. E_UNAVAILABLE: they are asked for. */
MUST_USE bool csi_tokens(struct agent_pod *ap, struct arena *a, struct str driver, struct str *out, struct err *err);
/* m: NULL of what is about none. The words are those of the events. */
void csi_mount_failed(struct csi_mount *m, const char *reason, const char *what, const struct err *err);
const struct obj *csi_info(const struct csi *c, struct str driver); /* its CSIDriver; NULL: none */

int64_t csi_storage(const struct val *capacity); /* bytes */
/* The claim's volume is larger than the claim says, or as large and whoever grew it waits to be told. */
enum csi_growth { CSI_FITS, CSI_OUTGROWN, CSI_TO_TELL } csi_mount_growth(const struct csi_mount *m);

/* csi_disk.c */
/* Where the source is one of a disk that the node attaches itself; false with no error: it is none. */
bool csi_disk_record(struct csi *c, struct arena *a, const struct obj *pod, const struct val *volume,
                     const struct volume_source *source, struct csi_record *out, struct err *err);

/* csi_stats.c */
void csi_stats_stop(struct csi *c);

/* csi_op.c */
enum csi_op_kind { CSI_PUBLISH, CSI_REPUBLISH, CSI_UNPUBLISH, CSI_UNSTAGE, CSI_GROW };
/* Ends with csi_op_ended. */
void csi_op_start(struct csi_volume *v, struct csi_mount *m, enum csi_op_kind kind);
void csi_op_stop(struct csi_op *op);                              /* the node role ends */
void csi_op_unwant(struct csi_op *op, const struct csi_mount *m); /* the pod goes: who attaches a disk for it stops */
