/* warnings_int.h - what the files of warnings share. */
#pragma once
#include "api/rules_int.h"
#include "api/strategy.h"
#include "base/map.h"

void warnings_add(struct warnings *w, const char *fmt, ...) PRINTF(2, 3);
bool text_was_met(struct map *seen, struct str text); /* before; remembers it */

/* warnings_volume.c. `at` is the path up to them: "", "spec.template.", "spec". */
void warn_volumes(struct warnings *w, const struct val *volumes, const char *at);
void warn_old_volume(struct warnings *w, const struct val *source, const char *at, bool persistent);
void warn_claim_spec(struct warnings *w, const struct val *spec, const char *at);
/* An amount of bytes that is no whole number. */
void warn_fraction(struct warnings *w, const struct val *resources, struct str resource, const char *at);
