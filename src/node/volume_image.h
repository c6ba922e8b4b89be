/* volume_image.h - an image's files as a volume: its layers, one over the other, read-only. Blocking. */
#pragma once
#include "oci/image.h"

/* Nothing in it runs, is a device or gives rights (as core/v1 ImageVolumeSource says: ro, noexec). Mounted already:
 * nothing happens. E_TOO_LARGE: more layers than one mount takes. */
MUST_USE bool volume_image_mount(const struct content *c, const struct image *im, const char *target,
                                 struct err *err);
