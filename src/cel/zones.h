/* zones.h - how far a time zone is from UTC at a time. Names are those of the tz database, each with its rule of
 * today (zones_gen.c, made by tools/gen-zones): times before the rule came into force are told by it, too. */
#pragma once
#include "base/str.h"

/* Seconds east of UTC. False: no such zone. "" and "UTC" are UTC, "+02:00", "-08:00" and "02:00" are offsets. */
bool cel_zone_offset(struct str zone, int64_t seconds, int64_t *offset);

struct zone_row {
    const char *name, *rule; /* a rule as POSIX's TZ has it */
};
extern const struct zone_row zone_rows[];
extern const unsigned zone_rows_n;
