/* image_volumes.h - the agent's side of volumes that are images. */
#pragma once
#include "base/err.h"

struct agent_container;
struct agent_pod;
struct val;

/* The nth volume that is an image and that the container mounts (core/v1 Volume); NULL: there are no more. */
const struct val *image_volume_of(struct agent_pod *ap, int container, size_t nth);
/* Mounts those of a container whose images are here. err: what could not be. */
void image_volumes_mount(struct agent_container *ac, void (*done)(struct agent_container *ac, const struct err *err));
/* The id of a pod's claim on its images. */
struct str image_volumes_claim(struct arena *a, struct str uid);
