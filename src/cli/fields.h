/* fields.h - reading untyped objects by path, as a person would name a field: "spec.template.spec.containers".
 * Members whose names hold dots (labels, annotations) are read with val_get_str. */
#pragma once
#include "api/tree.h"

const struct val *field_at(const struct val *v, const char *path); /* NULL: absent */
struct str field_text(const struct val *v, const char *path);      /* "": absent or no text */
int64_t field_num(const struct val *v, const char *path, int64_t otherwise);
/* A scalar as it reads; "" for maps, lists and null. */
struct str scalar_text(struct arena *a, const struct val *v);
/* How long ago a time is, as kubectl has it: "12s", "4m10s", "3h", "5d", "2y40d"; "<unknown>" where it is none. */
struct str age_text(struct arena *a, struct str time, int64_t now_ns);
struct str age_of_ns(struct arena *a, int64_t ns);
