/* zone.h - time zones: how far local time is from UTC at a given time, as a TZif file says (RFC 8536, versions 1 to
 * 4) and, for times after what it lists, its footer's rule, which is a POSIX TZ. Pure: whoever may open files brings
 * the bytes. A zone never changes once it is made, and any thread may ask it. */
#pragma once
#include "base/err.h"
#include <time.h>

#define ZONE_FILE_MAX (256u << 10)

struct zone;
/* Errors: E_INVALID for what is no TZif file or contradicts itself. */
struct zone *zone_read(struct str file, struct err *err);
struct zone *zone_of_rule(struct str rule, struct err *err); /* "CET-1CEST,M3.5.0,M10.5.0/3" */
void zone_free(struct zone *z);                              /* NULL is fine */
AUTO_POINTER(zone_free, struct zone);

/* NULL is UTC. Times are seconds since 1970, offsets seconds east of UTC. */
int64_t zone_offset(const struct zone *z, int64_t t);
struct tm zone_civil(const struct zone *z, int64_t t);
/* The time when clocks there show this; its members may be out of their ranges (the 32nd of a month). What they never
 * show, or show twice, is one of the two times in question: the one that Go's time.Date takes. */
int64_t zone_time(const struct zone *z, struct tm civil);

/* Whether it could be the name of a zone's file, below the folder of them all. */
bool zone_name_ok(struct str name);
