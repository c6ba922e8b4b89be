/* pressure_sample.h - how much of everything this node has left, by the signals of eviction. Blocking, short. */
#pragma once
#include "node/pressure_plan.h"

struct cgroups;
struct pressure_source {
    const char *data, *content; /* folders on the disks of pods and of images */
    const struct cgroups *cgroups;
    const char *cgroup; /* the one that all pods are in */
};
/* Fills PRESSURE_SIGNALS samples; what cannot be read is not known. image_disk: images lie on a disk of their own. */
void pressure_sample_read(const struct pressure_source *from, struct pressure_sample *samples, bool *image_disk);
