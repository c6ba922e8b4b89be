/* conversion.h - objects of definitions in another version than they are in, where a webhook makes the one of the
 * other (spec.conversion.strategy: Webhook). Whoever needs some asks for all at once; they go to the webhook in
 * reviews of a bounded size, one after the other, and come back pruned to their new version. On the store's loop.
 *
 * What is not asked about: objects that are in the wanted version already, and what the server does for itself, which
 * looks at names and metadata alone (request.as_stored). */
#pragma once
#include "server/int.h"

/* With an arena of its own, in which answers are. */
struct conversion;
/* done: once, never from inside a call, unless it was freed before; err: NULL, or why not all are there, in
 * upstream's words. */
struct conversion *conversion_new(struct server *s, void (*done)(struct conversion *c, const struct err *err),
                                  void *arg) __attribute__((returns_nonnull));
/* Borrowed until its end. How manieth it is. */
size_t conversion_add(struct conversion *c, const struct kind *to, const struct val *tree);
/* As which it is stored is the newest of its version: a default may have come since. */
size_t conversion_add_obj(struct conversion *c, const struct kind_set *set, const struct kind *to,
                          const struct obj *o);
size_t conversion_len(const struct conversion *c);
void conversion_start(struct conversion *c);
void *conversion_arg(const struct conversion *c);
const struct val *conversion_out(const struct conversion *c, size_t i);
/* The same as an object, with revision and managers of the one that was added. */
struct obj *conversion_obj(const struct conversion *c, size_t i, const struct obj *was);
void conversion_free(struct conversion *c); /* NULL is fine; it may be under way */
AUTO_POINTER(conversion_free, struct conversion);
void conversions_stop(struct server *s); /* all of them end: the server stops */

/* For an object that is to be seen as this kind a webhook has to be asked. Any thread. */
bool conversion_needed(const struct kind *k, const struct obj *o);

/* Counted objects, each as the kind of r: those that need it are replaced in place. `done`, with r answered where
 * that failed, comes in r->loop, and never from inside the call; items live until then. Any thread. False: none needs
 * it, and none was replaced. */
MUST_USE bool conversion_of_items(struct request *r, struct obj **items, size_t n, void (*done)(struct request *r));
