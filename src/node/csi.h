/* csi.h - drivers of storage on this node (CSI), as a kubelet has them: which there are (sockets in
 * KUBELET/plugins_registry), and the volumes of pods that they mount. Belongs to the agent's loop. */
#pragma once
#include "api/obj.h"

struct agent;
struct agent_pod;
struct csi;

struct csi *csi_new(struct agent *g);
void csi_free(struct csi *c); /* leaves everything mounted; NULL is fine */
void csi_node_changed(struct csi *c, const struct obj *node);
