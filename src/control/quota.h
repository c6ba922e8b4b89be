/* quota.h - what a ResourceQuota or a LimitRange said when a write was refused for it, and whether it would say that
 * again. Pure. */
#pragma once
#include "api/obj.h"

/* "exceeded quota: NAME, requested: a=1,b=2, used: a=9,b=0, limited: a=9,b=1", or "failed quota: NAME: must specify
 * ...". Borrowed from the message. */
struct quota_refusal {
    struct str quota, requested, used, limited;
    struct str missing; /* "cpu for: c; ..." */
};
bool quota_refusal_read(struct str message, struct quota_refusal *out); /* false: it is none */
bool limit_refused(struct str message);                                 /* a LimitRange has refused it */
/* The amount of a resource in a list "a=1,b=2"; "": it is not there. */
struct str quota_amount(struct str list, struct str resource);
/* Whether what was refused so may be taken, after a change of its namespace, or a ResourceQuota or LimitRange there.
 * given: a map of amounts which others have been promised of the same quota, and this one with them. */
bool refusal_ended(struct arena *a, struct str message, const struct obj *was, const struct obj *now,
                   struct val *given);
