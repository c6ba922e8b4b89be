/* pulse.h - how a process shows that it lives: a page that it shares with the one who watches over it. The process
 * notes there when a turn of its loop begins and ends, what runs in it, and when it will wake by itself; no system
 * call, nothing that ticks. Who watches looks only while something runs or is due, and is rung (an eventfd) by the
 * first turn after he stopped looking. So a process at rest costs nothing on either side.
 *
 * A process may have a second loop on a thread of its own: each has a lane of the page, and notes there for itself. A
 * thread that did not join notes nothing, and without pulse_join nobody does. */
#pragma once
#include "base/err.h"
#include <stdatomic.h>

enum { PULSE_LANES = 2 };
struct pulse_lane {
    _Atomic uint32_t busy; /* in a turn */
    _Atomic uint64_t turn; /* how many have begun; 0: has not come to its loop yet, or (the second) there is none */
    _Atomic int64_t due;   /* clock_mono at which it wakes by itself, where it is not busy; INT64_MAX: never */
    _Atomic uint64_t callback; /* that runs: bytes from the start of the program, for addr2line */
    char doing[256];           /* what the callback is at, in words; torn where it is just written */
};
struct pulse_page {
    _Atomic uint32_t watched; /* who watches looks again by himself; 0: the next turn rings */
    _Atomic uint64_t jobs_begun;
    _Atomic uint32_t jobs_waiting; /* for a thread of the pool */
    struct pulse_lane lanes[PULSE_LANES];
};

/* ---- the process that is watched ---- */

void pulse_join(int page_fd,
                int bell_fd); /* both stay open; what is no such page is let be. The first loop's thread */
void pulse_join_second(void); /* the thread of the second loop, before it runs; after pulse_join */
void pulse_rest(int64_t due);
void pulse_runs(const void *callback); /* also begins the turn, if it has not begun */
/* Notes what is done on the loop now: "GET /api/v1/pods". Kept until the next callback begins. */
void pulse_doing(const char *fmt, ...) PRINTF(1, 2);
void pulse_jobs(uint64_t begun, uint32_t waiting);
void pulse_words(struct strbuf *out); /* of this thread: callback and doing */

/* ---- the one who watches ---- */

struct pulse {
    struct pulse_page *page; /* NULL: nothing is known of it */
    uint64_t turns[PULSE_LANES], jobs_begun;
    int64_t look; /* when the next look was to be; 0: at rest */
    unsigned stills[PULSE_LANES];
    unsigned still, queued; /* looks in a row that found the same turn (of any lane, the most), the same jobs */
};
MUST_USE bool pulse_make(int *page_fd, int *bell_fd, struct err *err);
/* Maps a page, which may be a stranger's by now: it is sealed, or it is refused. */
MUST_USE bool pulse_watch(struct pulse *p, int page_fd, struct err *err);
void pulse_unwatch(struct pulse *p);
void pulse_restart(struct pulse *p); /* begins to count anew; the next look is in PULSE_LOOK */
void pulse_words_of(const struct pulse *p, struct strbuf *out); /* of the lane that is longest in one turn */

enum pulse_state { PULSE_REST, PULSE_LIVES, PULSE_HANGS, PULSE_JOBS_HANG };
/* One look. `stopped`: the kernel says so. LIVES: to be looked at again after *again ns; REST: when the bell rings,
 * or after *again ns where that is not INT64_MAX. A look that comes late says that the watcher slept, with the whole
 * machine perhaps: who slept does not judge, and begins to count anew. */
enum pulse_state pulse_look(struct pulse *p, int64_t now, bool stopped, int64_t *again);
#define PULSE_LOOK  (5000 * 1000000LL) /* ns between looks at what runs */
#define PULSE_HANG  4                  /* looks that find the same turn: 20 s */
#define PULSE_START 60                 /* the same before the first turn: reading the store takes its time */
#define PULSE_JOBS  36                 /* looks that find jobs waiting and none begun: three minutes */
