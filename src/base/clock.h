/* clock.h - the one seam for time and chance. A simulation installs its own source. Nobody else asks the kernel for
 * either, but for what no simulation may see: the seed of hashes (str.c), how long threads wait for one another
 * (sys), and the shim, which stands on libc alone. */
#pragma once
#include "base/str.h"

struct clock_source {
    int64_t (*mono)(void *arg); /* nanoseconds since some start; never goes back */
    int64_t (*real)(void *arg); /* nanoseconds since 1970-01-01 UTC */
    void (*random)(void *arg, void *p, size_t n);
    void *arg;
};
void clock_install(const struct clock_source *source); /* NULL: the real one; before threads start */
int64_t clock_mono(void);
int64_t clock_real(void);
int64_t clock_thread_cpu(void);        /* nanoseconds of CPU that this thread has used */
void random_bytes(void *p, size_t n);  /* fit for keys */
uint64_t random_below(uint64_t limit); /* uniform in [0, limit) */

#define NS_PER_S  1000000000LL
#define NS_PER_MS 1000000LL
/* Seconds that somebody else chose, as ns: at most 68 years either way, so that a time and a duration can be added.
 */
int64_t ns_of_seconds(int64_t s);

/* RFC 3339 in UTC. time_add: "2026-01-02T03:04:05Z"; time_add_micro: with six fractional digits. */
void time_add(struct strbuf *b, int64_t real_ns);
void time_add_micro(struct strbuf *b, int64_t real_ns);
struct str time_text(struct arena *a, int64_t real_ns);
struct str time_text_micro(struct arena *a, int64_t real_ns);
/* RFC 3339 with any offset and up to nine fractional digits, as Go's time.RFC3339Nano reads it. Times before 1897 and
 * after 2191 become those: what is left of an int64 is room for durations. */
MUST_USE bool time_parse(struct str s, int64_t *real_ns);
