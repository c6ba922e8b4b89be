/* rollout.h - how far the rollout of a Deployment, StatefulSet or DaemonSet is. Pure: the object is all it needs. */
#pragma once
#include "api/tree.h"

/* FAILED fills err: it will not go on by itself, or cannot be followed. */
enum rollout_state { ROLLOUT_ON, ROLLOUT_DONE, ROLLOUT_FAILED };
/* kind: "Deployment" ...; text: what kubectl would say, one line without its end. Of another kind: FAILED. */
enum rollout_state rollout_state_of(struct arena *a, struct str kind, const struct val *object, struct str *text,
                                    struct err *err);
