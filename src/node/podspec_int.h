/* podspec_int.h - what the files of podspec share. */
#pragma once
#include "node/podspec.h"

struct str *strs_grow(struct arena *a, struct strs *s, size_t more); /* room behind s->n; the texts are moved */
void strs_add(struct arena *a, struct strs *s, struct str text);

/* podspec_mounts.c */
MUST_USE bool podspec_set_mounts(struct arena *a, const struct podspec_input *in, struct oci_container *out,
                                 struct err *err);
MUST_USE bool podspec_set_devices(struct arena *a, const struct podspec_input *in, struct oci_container *out,
                                  struct err *err);
/* podspec_selinux.c: after it is known whether the container is privileged */
MUST_USE bool podspec_set_labels(struct arena *a, const struct podspec_input *in, struct oci_container *out,
                                 struct err *err);
