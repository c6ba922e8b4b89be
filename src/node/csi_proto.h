/* csi_proto.h - what the node says to drivers of storage and reads of them: the messages of csi.v1.Node and of
 * pluginregistration. Pure. https://github.com/container-storage-interface/spec/blob/master/csi.proto,
 * https://github.com/kubernetes/kubelet/tree/master/pkg/apis/pluginregistration/v1 */
#pragma once
#include "api/tree.h"
#include "base/array.h"

/* ---- pluginregistration: who is behind a socket, and what was made of it */
#define PLUGIN_GET_INFO "/pluginregistration.Registration/GetInfo"
#define PLUGIN_NOTIFY   "/pluginregistration.Registration/NotifyRegistrationStatus"
struct plugin_info { /* texts in the arena */
    struct str type, name, endpoint;
    ARRAY(struct str) versions;
};
MUST_USE bool plugin_info_read(struct arena *a, struct str message, struct plugin_info *out, struct err *err);
void plugin_info_fini(struct plugin_info *p);
AUTO_VALUE(plugin_info_fini, struct plugin_info);
void plugin_status_write(struct strbuf *b, bool registered, struct str error);
/* Among what a driver says that it speaks there is a version 1 of CSI. */
MUST_USE bool csi_version_good(const struct plugin_info *p, struct err *err);

/* ---- csi.v1.Node */
#define CSI_NODE(method)  "/csi.v1.Node/" method
#define CSI_DRIVER_MOST   63     /* bytes of a name */
#define CSI_TOPOLOGY_MOST 64     /* segments that a driver may name */
#define CSI_HANDLE_MOST   (4096) /* bytes of what a driver calls a volume */
struct csi_node {                /* NodeGetInfoResponse */
    struct str id;
    int64_t volumes_most; /* 0: it does not say */
    struct val topology;  /* VAL_MAP of texts, its keys in order */
};
MUST_USE bool csi_node_read(struct arena *a, struct str message, struct csi_node *out, struct err *err);

enum csi_can { /* NodeServiceCapability.RPC.Type, as bits */
               CSI_CAN_STAGE = 1 << 1,
               CSI_CAN_STATS = 1 << 2,
               CSI_CAN_EXPAND = 1 << 3,
               CSI_CAN_CONDITION = 1 << 4,
               CSI_CAN_MULTI_WRITER = 1 << 5,
               CSI_CAN_MOUNT_GROUP = 1 << 6,
};
MUST_USE bool csi_can_read(struct str message, unsigned *out, struct err *err);

/* A volume as a driver is told of it. Maps are VAL_MAP of texts or bytes, or NULL. */
struct csi_call {
    struct str handle;
    struct str staging, target; /* paths; "": none */
    bool block, read_only;
    struct str fs_type, mount_group; /* "": none */
    const struct val *mount_options; /* list of texts, or NULL */
    const struct val *access_modes;  /* of the PersistentVolume, or NULL */
    unsigned can;                    /* of the driver: enum csi_can */
    const struct val *publish_context, *volume_context, *secrets;
    int64_t bytes;
};
void csi_stage_write(struct strbuf *b, const struct csi_call *c);
void csi_unstage_write(struct strbuf *b, const struct csi_call *c);
void csi_publish_write(struct strbuf *b, const struct csi_call *c);
void csi_unpublish_write(struct strbuf *b, const struct csi_call *c);
void csi_expand_write(struct strbuf *b, const struct csi_call *c); /* volume_path is `target` */
MUST_USE bool csi_expanded_read(struct str message, int64_t *bytes, struct err *err);
/* NodeGetVolumeStats. What it does not say is 0. */
struct csi_usage {
    int64_t bytes, bytes_free, bytes_used;
    int64_t inodes, inodes_free, inodes_used;
    bool condition_known, abnormal;
};
void csi_usage_write(struct strbuf *b, const struct csi_call *c); /* volume_path is `target` */
MUST_USE bool csi_usage_read(struct str message, struct csi_usage *out, struct err *err);
/* The number of csi.v1 AccessMode.Mode for the first of a volume's modes. */
unsigned csi_access_mode(const struct val *modes, unsigned can);
