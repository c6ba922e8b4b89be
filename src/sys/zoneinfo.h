/* zoneinfo.h - the time zones of this machine, below /usr/share/zoneinfo (Debian's package tzdata): read when they
 * are first asked for and kept until their file changes. Small files of a local disk, read where one stands. One
 * thread. */
#pragma once
#include "base/zone.h"

struct zoneinfo;
struct zoneinfo *zoneinfo_new(const char *folder); /* NULL: the machine's */
void zoneinfo_free(struct zoneinfo *z);            /* NULL is fine */
AUTO_POINTER(zoneinfo_free, struct zoneinfo);
/* "Europe/Berlin"; "": the machine's own zone (/etc/localtime; without one UTC). Borrowed until the next question.
 * Errors: E_NOT_FOUND "unknown time zone X"; E_INVALID for what is no file of a zone. */
const struct zone *zoneinfo_get(struct zoneinfo *z, struct str name, struct err *err);
