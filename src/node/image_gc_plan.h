/* image_gc_plan.h - which images may go, and in which order (kubelet: images/image_gc_manager.go). Pure. Beyond a
 * kubelet's rules: what was loaded by hand stays, as no registry could give it back, and what a pod of this node
 * names stays, whether it runs yet or not. */
#pragma once
#include "oci/image.h"

struct image_gc_rules {
    int64_t high_percent, low_percent; /* of the disk: from where on, and down to what */
    int64_t age_least_ns;              /* a younger one was perhaps pulled for a pod that is about to start */
    int64_t age_most_ns;               /* one that was unused for longer goes whatever the disk has; 0: none does */
};
enum image_gc_fate {
    IMAGE_GOES,
    IMAGE_IN_USE,  /* by a container */
    IMAGE_NAMED,   /* by a pod of this node */
    IMAGE_BY_HAND, /* no registry gave it */
    IMAGE_YOUNG,
    IMAGE_FATES
};
struct image_gc_image {
    struct digest manifest;
    bool in_use, named, by_hand;
    int64_t came_at, used_at, size; /* real ns; used_at: last */
    enum image_gc_fate fate;        /* out */
};
/* Says of each what becomes of it, and puts those that go first, the longest unused before all. The number of those.
 * only_old: those alone that are beyond age_most. */
size_t image_gc_plan(struct image_gc_image *images, size_t n, const struct image_gc_rules *r, int64_t now,
                     bool only_old);
/* How much is to be freed of a disk; 0: nothing is. */
int64_t image_gc_wanted(const struct image_gc_rules *r, int64_t capacity, int64_t available);
