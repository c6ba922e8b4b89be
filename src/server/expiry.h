/* expiry.h - Events do not stay: each is deleted some time after its last change (kube-apiserver's --event-ttl), and
 * the oldest ones sooner where there are more than LIMIT_EVENTS, or LIMIT_EVENTS_BYTES of them. The store's loop. */
#pragma once
#include "server/int.h"

struct expiry;
/* keep_ns: how long an Event stays; 0: an hour. Begins with expiry_start. */
struct expiry *expiry_new(struct server *s, int64_t keep_ns) __attribute__((returns_nonnull));
void expiry_start(struct expiry *x);
void expiry_stop(struct expiry *x); /* before the store closes; NULL is fine */
void expiry_free(struct expiry *x); /* after it has; NULL is fine */
/* An Event was committed: was or now may be NULL. */
void expiry_changed(struct expiry *x, const struct store_entry *was, const struct store_entry *now);
/* When an Event was last true, in real ns. Times its author gave count only where they lie between its creation,
 * which the server says, and `now`. */
int64_t event_last_time(const struct obj *event, int64_t now);
