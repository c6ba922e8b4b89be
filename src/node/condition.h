/* condition.h - one entry of a status's conditions, as a kubelet writes it (NodeCondition, PodCondition). Pure. */
#pragma once
#include "api/obj.h"

struct status_condition {
    const char *type;
    bool yes;           /* True or False */
    const char *reason; /* NULL: none */
    struct str message; /* empty: none */
};
/* `old`: the conditions that were told last, or NULL: where one of this type says the same, so does the time since it
 * does. What only one kind of object has is the caller's to add. */
struct val condition_of(struct arena *a, const struct val *old, const struct status_condition *c, int64_t real);
