/* interest.h - which watches a change concerns. A watch stands in one place (scan.h: places), which follows from what
 * it asks for; a change is told in the few places where the object was before and where it is now, and the watches
 * there look whether it matches. So what a change costs follows from those whom it may concern, not from how many
 * watch. One loop's. */
#pragma once
#include "base/map.h"
#include "server/read.h"

struct interests {
    struct map places; /* text -> struct place */
    bool telling;
    uint64_t visits; /* watches that were asked whether a change matches, so far */
};
/* Embedded in its owner. */
struct interest {
    struct list node;
    struct place *place; /* NULL: stands nowhere */
};
void interests_fini(struct interests *all); /* nobody stands there any more */
/* ns n 0: of all namespaces. */
void interest_add(struct interests *all, struct interest *i, const struct kind *k, struct str ns,
                  const struct filter *f);
void interest_del(struct interests *all, struct interest *i); /* stands nowhere: nothing happens */
/* Calls fn for each that the change may concern, once; fn may take away the one that it is called for, no other. */
void interests_tell(struct interests *all, const struct store_event *e, void (*fn)(struct interest *i, void *arg),
                    void *arg);
