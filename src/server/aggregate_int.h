/* aggregate_int.h - what the files of aggregation share: an APIService with a Service as it is kept, and the check
 * whether its server answers. */
#pragma once
#include "server/aggregate.h"

struct aggregates {
    struct server *server;
    struct map by_name, by_version; /* -> struct aggregate_target; by_version: "group/version" */
    struct list listeners;
};

enum { AGGREGATE_TRIES = 5 }; /* of which one that succeeds is enough, as upstream */

struct aggregate_target {
    struct aggregated is;
    struct aggregates *all;
    struct obj *obj; /* the newest; counted */
    struct arena arena;
    /* the check: one at a time, from `timer` on */
    struct timer timer;
    struct arena asked; /* of the calls */
    struct outbound_call calls[AGGREGATE_TRIES];
    int flying;                        /* of the calls */
    bool passed, again;                /* one of them was answered well; something changed meanwhile */
    int failures;                      /* in a row: each waits longer */
    struct str said;                   /* the last failure; in `asked` */
    struct aggregate_writing *writing; /* of the condition; NULL: none is under way */
};
void aggregate_check_begin(struct aggregate_target *t); /* the first time */
void aggregate_check_soon(struct aggregate_target *t);  /* something it depends on has changed */
void aggregate_check_end(struct aggregate_target *t);   /* never again */

/* As aggregated.outbound, but whoever answers is trusted: so much is at stake in a check. */
struct outbound *aggregate_checked(struct aggregates *all, const struct obj *o);
void aggregate_headers(struct arena *a, struct http_headers *to, struct str accept, struct str etag);
/* Whose a path is, as sent; NULL: nobody else's. */
const struct aggregated *aggregate_of_path(struct server *s, struct str path);
