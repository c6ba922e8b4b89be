/* cron.h - the schedules of CronJobs: what robfig/cron's standard parser takes (five fields with lists, ranges, steps
 * and names; @daily and the like; @every), and when they are due, as that library computes it, over changes of the
 * clocks too: an hour that is skipped starts nothing (unless the schedule names another hour as well), one that comes
 * twice starts what it holds twice. Pure; times are seconds since 1970. */
#pragma once
#include "base/zone.h"

#define CRON_NEVER INT64_MAX

struct cron {
    uint64_t minutes, hours, days, months, weekdays; /* a bit each; the highest: the field was a star */
    int64_t every;                                   /* seconds between two, instead; 0: by the fields */
};
/* False: *why is the sentence of upstream's parser, in the arena or literal. */
MUST_USE bool cron_read(struct arena *a, struct str s, struct cron *out, struct str *why);
/* The first time after `after`; CRON_NEVER where there is none within five years. z NULL: UTC. */
int64_t cron_next(const struct cron *c, const struct zone *z, int64_t after);

/* Of the times after `from` up to and with `now`. */
struct cron_due {
    int64_t latest; /* CRON_NEVER: none */
    int64_t count;  /* at most CRON_MANY + 1, which is too many to be counted on */
    int64_t next;   /* the first after both; CRON_NEVER */
};
#define CRON_MANY 100
struct cron_due cron_due(const struct cron *c, const struct zone *z, int64_t from, int64_t now);
