/* cache.h - the objects of one kind as the server has them, kept true by list and watch (a reflector).
 *
 * A consistent list, then a watch from its revision; it resumes where it stood after a disconnect, lists again after
 * 410, and backs off with jitter (0.1 s doubling to 10 s) while the server cannot be reached. No polling. While
 * disconnected the set keeps what was last known. Belongs to the loop of its transport; in one process with the
 * server the objects are the server's own. */
#pragma once
#include "client/objset.h"
#include "client/transport.h"

struct cache;

struct cache_options {
    const struct kind *kind;
    struct str ns, label_selector, field_selector; /* "": all */
    const struct objindex *const *indexes;         /* NULL-terminated and static, or NULL */
    int64_t page;                                  /* objects a list call; 0: all in one answer */
    /* What is kept of each object: a new one of the same names and revision, with less in it. NULL: all. */
    struct obj *(*trim)(const struct obj *o);
};
struct cache *cache_new(struct transport *t, const struct cache_options *o);
void cache_start(struct cache *c); /* handlers run from a later turn on */
void cache_stop(struct cache *c);
void cache_free(struct cache *c); /* stops it; NULL is fine */
AUTO_POINTER(cache_free, struct cache);

const struct objset *cache_set(const struct cache *c);                         /* borrowed, always current */
struct obj *cache_get(const struct cache *c, struct str ns, struct str name);  /* a reference, or NULL */
struct obj *cache_peek(const struct cache *c, struct str ns, struct str name); /* borrowed until the turn ends */
bool cache_synced(const struct cache *c);                                      /* the first list is in; stays true */
/* Every change up to this revision is in. A write answered with revision R is seen once cache_rev >= R. */
int64_t cache_rev(const struct cache *c);
/* Sees to it that cache_rev comes to rev, soon, although nothing may change: `moved` tells. One small question to the
 * server for all that is waited for at a time. What the cache then holds is no older than an object of any other kind
 * that has this revision. */
void cache_reach(struct cache *c, int64_t rev);

/* Told of each change after it is in the set: added (was NULL), updated, deleted (now NULL). After a list again the
 * differences come as changes; was and now are always one object: one that took another's name in between is told as
 * a deletion and an addition. `moved` also tells of bookmarks and the end of a list: cache_rev has grown. A handler
 * that is added late is told of what is there in a later turn. */
struct cache_handler {
    void (*changed)(struct cache_handler *h, struct obj *was, struct obj *now); /* borrowed */
    void (*synced)(struct cache_handler *h); /* once, after the ADDED of the first list; NULL: not interested */
    void (*moved)(struct cache_handler *h);  /* NULL: not interested */
    struct cache *cache;
    struct list node;
    bool told; /* of what was there when it was added */
};
void cache_handler_add(struct cache *c, struct cache_handler *h);
void cache_handler_del(struct cache_handler *h);
