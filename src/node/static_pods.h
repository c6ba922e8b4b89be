/* static_pods.h - pods of files below a folder of this node, run like any other, and the mirrors by which the API
 * shows them. Belongs to the agent's loop. */
#pragma once
#include "api/obj.h"

struct agent;
struct agent_pod;
struct statics;

/* Reads the folder at once, so that what runs of them is not taken for nobody's. NULL: the agent has no such folder.
 */
struct statics *statics_new(struct agent *g, const char *folder);
void statics_free(struct statics *s); /* NULL is fine */
/* All pods of the API that are bound here are known, or the Node is: those of files begin, and are shown. */
void statics_begin(struct statics *s);
/* A mirror came, changed, or (now NULL) went. */
void statics_mirror(struct statics *s, const struct obj *was, struct obj *now);
/* The object that shows the pod, whose status is written; borrowed; NULL: there is none at the moment. */
const struct obj *statics_shown(const struct agent_pod *ap);
void statics_written(struct agent_pod *ap, struct obj *shown); /* a status was, and this came back */
/* The pod has ended, and its final status was written. */
void statics_over(struct agent_pod *ap);
void statics_look(struct statics *s); /* the node does not shut down after all; NULL is fine */
