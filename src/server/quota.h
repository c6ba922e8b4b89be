/* quota.h - ResourceQuotas: how much of each is used, and by what.
 *
 * The truth is kept in memory: of each quota the sums over what is committed, and over what writes under way have
 * been given (their charges). A change of one object changes the sums by what it makes of it, so a namespace with
 * many objects costs no more than one with few; one without a quota costs a look at a map. When a quota comes, or
 * bounds something else, and at the start of the server, its objects are counted once, before anybody is admitted by
 * it.
 *
 * Admission (admit_quota.c) charges in the store's loop, in one go with looking: so two never pass where there is
 * room for one, and what fails gives its charge back at once. What was committed is in the sums before its charge is
 * given back (server.c tells of it before the write ends).
 *
 * The status tells it, and decides nothing. It is written behind the change, in the same batch as what was charged
 * (so it costs no fsync of its own), and who was charged is answered when it can be read. Of deletions it follows
 * within some ten milliseconds. Whatever else somebody writes into it is put right. The store's loop. */
#pragma once
#include "server/int.h"

struct quotas;
struct charges;
struct quotas *quotas_new(struct server *s) __attribute__((returns_nonnull));
void quotas_free(struct quotas *q); /* NULL is fine */
void quotas_open(struct quotas *q); /* the store is open: counts what is there */
void quotas_stop(struct quotas *q); /* nothing is written any more, and nobody waits */
/* A change was committed (key: of the store; either may be NULL); and: all of a batch were, and are published. */
void quotas_changed(struct quotas *q, struct str key, const struct obj *was, const struct obj *now);
void quotas_settle(struct quotas *q);
size_t quotas_walked(const struct quotas *q); /* objects looked at to count them anew, so far: for tests */

/* --- of a write --- */

/* What one asks of the quotas of a namespace. */
struct quota_asked {
    struct str ns, resource;     /* as in usage.h */
    const struct val *now, *was; /* the object, and what it replaces; NULL: nothing */
};
/* Whether all of them have room. charge: it is taken, and given back when the write is over. Not: why, in the arena
 * of the request. */
MUST_USE bool quotas_take(struct request *r, const struct quota_asked *asked, bool charge, struct str *why);
void quotas_released(struct write *w); /* the write is over */
bool quotas_await(struct write *w);    /* what it was charged cannot be read yet: it is run again then */
