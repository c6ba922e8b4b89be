/* watch.h - a watch of one kind, all namespaces or one, filtered by selectors: what matches from its first revision
 * on, each change once, in order. A change that moves an object in or out of the selection is told as ADDED or
 * DELETED (DELETED carries the last state that matched nothing any more, with the revision of the change).
 *
 * Initial events are those of a snapshot, told a portion a turn and only while the owner takes more; what happens
 * meanwhile follows from history. So a large collection neither holds the loop nor piles up before a slow client.
 *
 * Threads: started from any loop; `event` and `ended` run in w->loop, never from inside a call. Events come to it
 * through a bounded queue, as many in a turn as its time allows; a watcher that does not keep up is ended with
 * EXPIRED and starts over with a list.
 *
 * What a commit costs: interest.h finds the watches that it may concern; what they are told, and its encodings, are
 * made once (notice.h). */
#pragma once
#include "server/notice.h"
#include "server/read.h"

struct watching {
    /* the owner's, set before: */
    struct loop *loop;
    void (*event)(struct watching *w, struct notice *n); /* borrowed */
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
/* A list that asks for bookmarks: the watches of its kind that its user has, in any connection, are told how far they
 * are. So who has an object of one kind can know that his watch of another has told all that came before. */
void watches_mark(const struct request *r);
/* What was just committed and published; the store's loop. */
void watches_committed(struct server *s, const struct store_event *events, size_t n);
void watches_stop(struct server *s); /* all of them, in the store's loop: nothing is told any more */
/* Those of kinds that are not in the set end in good order. The store's loop. */
void watches_of_gone(struct server *s, const struct kind_set *now);
void watching_stop(struct watching *w); /* no callback after it; not running: nothing happens */
