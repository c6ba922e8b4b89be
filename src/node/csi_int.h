/* csi_int.h - what the files of csi share.
 *
 *   csi_plugins.c   sockets in plugins_registry: who registers there, and who has gone
 *   csi_object.c    what the API is told of them: the CSINode, and labels and an annotation of the Node
 */
#pragma once
#include "base/array.h"
#include "node/agent_int.h"
#include "node/csi.h"
#include "node/csi_proto.h"
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
};

int64_t csi_gap_next(int64_t gap); /* 0: the first */

/* csi_plugins.c */
bool csi_plugins_start(struct csi *c, struct err *err);
void csi_plugins_stop(struct csi *c);
/* The object says so: whoever registers is told. */
void csi_plugin_told(struct csi *c, struct csi_driver *d, const struct err *err);

/* csi_object.c */
void csi_object_init(struct csi *c);
void csi_object_fini(struct csi *c);
void csi_object_news(struct csi *c);                      /* drivers have come */
void csi_object_leaves(struct csi *c, struct str driver); /* or gone */

/* csi_volumes.c */
void csi_driver_came(struct csi *c, struct csi_driver *d); /* who waits for it is tried again */
