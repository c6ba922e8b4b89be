/* shutdown_plan.h - in which order pods are ended when the machine shuts down, and how long each may take (kubelet:
 * nodeshutdown, KEP-2712). Pure. */
#pragma once
#include "base/err.h"
#include "base/str.h"

#define SHUTDOWN_GROUPS_MOST 32
#define SHUTDOWN_PERIOD_MOST (24 * 3600) /* seconds, of one group */

/* Pods of one range of priorities, ended together, after those of the ranges below it. */
struct shutdown_group {
    int64_t priority; /* the least of the range; the lowest range takes all below it, too */
    int64_t period_s; /* until the next range is begun, whatever still runs */
};
struct shutdown_rules {
    struct shutdown_group groups[SHUTDOWN_GROUPS_MOST]; /* by priority, the lowest first */
    size_t n;                                           /* 0: nothing is done before the machine ends everything */
};
/* "0=20,2000000000=10": PRIORITY=SECONDS, in any order. Empty: none. */
MUST_USE bool shutdown_rules_read(struct str text, struct shutdown_rules *out, struct err *err);
size_t shutdown_group_of(const struct shutdown_rules *r, int64_t priority); /* r->n > 0 */
int64_t shutdown_longest_s(const struct shutdown_rules *r);                 /* all of it */
/* How long a pod may take: its own grace period, and no longer than its group has. */
int64_t shutdown_grace_s(const struct shutdown_rules *r, int64_t priority, int64_t own_s);
