/* replies.h - what plans of one controller ask of the API beyond the sets (plan_ask): each path is asked once for all
 * who wait, and what came is kept for those who come a little later. And what the plans of a key remember from one to
 * the next (plan.memory). Belongs to the loop of its transport. */
#pragma once
#include "base/list.h"
#include "client/transport.h"
#include "control/plan.h"

struct replies {
    struct transport *transport;
    struct map kept; /* path -> struct plan_reply: view.replies */
    struct list askings;
    struct map memory; /* key -> what it remembers */
};
void replies_init(struct replies *r, struct transport *t);
void replies_fini(struct replies *r); /* what is under way is cancelled: nobody is told */
/* done(waiter) is called once, later, when there is an answer, whatever it is. */
void replies_ask(struct replies *r, struct str path, void (*done)(void *waiter), void *waiter);
void replies_age(struct replies *r); /* drops what is older than a minute */
/* v VAL_NULL: forgets. Copied. */
void replies_remember(struct replies *r, struct str key, const struct val *v);
const struct val *replies_memory(const struct replies *r, struct str key); /* borrowed; NULL: nothing */
