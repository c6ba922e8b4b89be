/* ages.h - which Events go next: by the time when each was last true, and, where there are too many, by when each was
 * written. A change costs the logarithm of their number, whatever that is. Pure. */
#pragma once
#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"

struct age {
    char *key;
    int64_t rev; /* of its last write */
    int64_t due; /* real ns; when it goes */
    size_t bytes;
    struct heap_node by_due;
    struct list by_rev;
    struct ages *of;
};
struct ages {
    struct map all;       /* key -> struct age */
    struct heap by_due;   /* the next to go first */
    struct list by_rev;   /* the one written longest ago first */
    size_t bytes;         /* of all */
    uint64_t comparisons; /* made so far: for tests */
};
void ages_init(struct ages *g);
void ages_fini(struct ages *g);
/* Written at a revision above all before it (ages_sort: or not), or due at another time. */
void ages_put(struct ages *g, struct str key, int64_t rev, int64_t due, size_t bytes);
void ages_del(struct ages *g, struct str key); /* not there: nothing happens */
/* After a first fill in another order than that of revisions. */
void ages_sort(struct ages *g);
/* Up to `most` that go now: those that are due, then, of more than `count` or `bytes`, those written longest ago.
 * They stay until they are deleted. */
size_t ages_next(struct ages *g, int64_t now, size_t count, size_t bytes, struct age **out, size_t most);
