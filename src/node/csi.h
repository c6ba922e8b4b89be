/* csi.h - drivers of storage on this node (CSI), as a kubelet has them: which there are (sockets in
 * KUBELET/plugins_registry), and the volumes of pods that they mount. Belongs to the agent's loop. */
#pragma once
#include "api/obj.h"

struct agent;
struct agent_pod;
struct csi;

struct volume_source;

struct csi *csi_new(struct agent *g);
void csi_free(struct csi *c);      /* leaves everything mounted; NULL is fine */
void csi_flex_look(struct csi *c); /* a driver of FlexVolumes may have come */
void csi_node_changed(struct csi *c, const struct obj *node);

/* A volume of the pod is one of a driver: it is wanted, and where it will be. E_UNAVAILABLE: not all is heard of yet
 * (agent_claim_news comes). */
MUST_USE bool csi_want(struct agent_pod *ap, struct arena *a, const struct val *volume,
                       const struct volume_source *source, struct str *path, struct err *err);
/* Until all that the pod wants is published: `ready` comes in a later turn, once. False: it is already. */
bool csi_setup(struct agent_pod *ap, void (*ready)(struct agent_pod *ap, bool ok, struct str message));
bool csi_let_go(struct agent_pod *ap); /* of that: `ready` does not come. False: it was not waiting */
/* Until nothing is published for the pod any more. False: nothing is. */
bool csi_teardown(struct agent_pod *ap, void (*gone)(struct agent_pod *ap));
void csi_forget(struct agent_pod *ap);     /* it is freed */
void csi_claim_news(struct agent_pod *ap); /* a claim of its, or the volume of one, has changed */
void csi_pods_heard(struct csi *c);        /* all pods are known: what is nobody's goes */
/* Whether files of the volume are given to the pod's group (fsGroupPolicy). */
bool csi_gives_group(struct agent_pod *ap, const struct volume_source *source);
/* Adds the volumes that are attached and in use, as the Node tells them. False: that is not known yet. */
bool csi_in_use(struct csi *c, struct arena *a, struct val *list);
void csi_in_use_told(struct csi *c, int64_t rev); /* that status is written, at the revision */
/* How full the volumes of the pod are, as their drivers say where they can: told of each, later, once; or never. */
struct csi_usage;
typedef void csi_stats_told(struct agent_pod *ap, struct str volume, const struct csi_usage *usage);
void csi_stats(struct agent_pod *ap, csi_stats_told *told);
