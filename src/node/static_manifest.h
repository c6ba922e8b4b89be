/* static_manifest.h - static pods: from a file of the node to the pod that it runs, and to the mirror that the API
 * shows of it (kubelet: config/common.go, pod/mirror_client.go). Pure. */
#pragma once
#include "api/obj.h"

#define STATIC_MANIFEST_MOST (1 << 20) /* bytes of one file */

#define STATIC_MIRROR_NOTE "kubernetes.io/config.mirror" /* the uid of the pod that it shows */

/* One v1 Pod, YAML or JSON, completed as a kubelet does: NAME-NODE, its uid by what the file says, nodeName, a
 * toleration of every NoExecute taint, the annotations of its source. seen: real ns. False: it cannot be run, and err
 * names the field. The object is the caller's. */
MUST_USE bool static_manifest_read(struct str text, struct str path, struct str node, int64_t seen, struct obj **out,
                                   struct err *err);
/* What is to be made in the API, owned by the Node. */
void static_mirror(struct arena *a, const struct obj *pod, const struct obj *node, struct val *out);
bool static_is_mirror(const struct obj *pod);
/* The pod as one that is to end: deleted now, with the grace period of its spec. The caller's. */
struct obj *static_ending(const struct obj *pod, int64_t now);
/* The pod with the status that was told of it before. The caller's. */
struct obj *static_resumed(const struct obj *pod, const struct val *status);
