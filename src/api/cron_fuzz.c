/* A schedule, and behind a line break the rule of a time zone: the times of what is taken go on, each with the clocks
 * that the schedule names, and what was missed is the last of them. */
#include "api/cron.h"

#define START 1700000000LL

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str schedule, rule, why = STR_NONE;
    struct err err = ERR;
    struct cron c;
    str_split((struct str){(const char *)data, size}, '\n', &schedule, &rule);
    if (!cron_read(&a, schedule, &c, &why)) {
        ASSERT(why.n > 0);
        return 0;
    }
    AUTO(zone_free) struct zone *z = rule.p ? zone_of_rule(rule, &err) : NULL;
    int64_t t = START, now = START;
    for (int i = 0; i < 5 && t != CRON_NEVER; i++) {
        int64_t next = cron_next(&c, z, t);
        ASSERT(next > t);
        if (next != CRON_NEVER && !c.every) {
            struct tm tm = zone_civil(z, next);
            ASSERT(c.minutes >> tm.tm_min & 1 && c.hours >> tm.tm_hour & 1 && c.months >> (tm.tm_mon + 1) & 1);
        }
        t = next;
        now = t == CRON_NEVER ? now : t;
    }
    struct cron_due d = cron_due(&c, z, START, now);
    ASSERT(now == START || (d.latest <= now && d.latest > START && d.next > now));
    return 0;
}
