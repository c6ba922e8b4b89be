/* watch.h - a watch of one kind, all namespaces or one, filtered by selectors: what matches from its first revision
 * on, each change once, in order. A change that moves an object in or out of the selection is told as ADDED or
 * DELETED (DELETED carries the last state that matched nothing any more, with the revision of the change).
 *
 * Initial events are those of a snapshot, told a portion a turn and only while the owner takes more; what happens
 * meanwhile follows from history. So a large collection neither holds the loop nor piles up before a slow client.
 *
 * Threads: started from any loop; `event`, `ended` and `timed_out` run in w->loop, never from inside a call. Towards
 * another loop than the store's events go through a bounded queue; a watcher that does not keep up is ended with
 * EXPIRED and starts over with a list. */
#pragma once
#include "server/read.h"

enum watch_type { WATCH_TYPE_ADDED, WATCH_TYPE_MODIFIED, WATCH_TYPE_DELETED, WATCH_TYPE_BOOKMARK };
extern const char *const watch_type_names[];

struct watching {
    /* the owner's, set before: */
    struct loop *loop;
    /* obj: borrowed; NULL for a BOOKMARK, which has only rev. initial_end: the bookmark after the initial events. */
    void (*event)(struct watching *w, enum watch_type type, struct obj *obj, int64_t rev, bool initial_end);
    /* More initial events must wait until watching_go_on; NULL: never. */
    bool (*full)(struct watching *w);
    /* Over, once, unless stopped before. fail->code 0: time is up, in good order. */
    void (*ended)(struct watching *w, const struct failure *fail);
    /* the watch's: */
    struct watch_core *core; /* NULL: not running */
};
/* r: authorized, verb watch, options checked; only its names and options are used, and only in this call. False: r is
 * answered with why not. Must be called in w->loop's thread. */
MUST_USE bool watching_start(struct watching *w, struct request *r);
void watching_go_on(struct watching *w); /* at any time */
void watches_stop(struct server *s);     /* all of them, in the store's loop: nothing is told any more */
/* Those of kinds that are not in the set end in good order. The store's loop. */
void watches_of_gone(struct server *s, const struct kind_set *now);
void watching_stop(struct watching *w); /* no callback after it; not running: nothing happens */
