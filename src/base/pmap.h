/* pmap.h - the persistent ordered map: a copy-on-write B-tree of counted items, ordered by the bytes of their keys.
 *
 * A snapshot is O(1) and never changes; updates of the map it was taken from copy the nodes on one path, O(log n).
 * Items are the owner's structs that know their key; the map holds one reference to each, shared nodes share it.
 * Threads: a struct pmap belongs to one thread at a time, but a snapshot may be handed to another thread and read
 * and freed there while the original changes (nodes are counted atomically; ref and unref of the items must be
 * safe to call from any thread then). */
#pragma once
#include "base/str.h"

struct pmap_type {
    struct str (*key)(const void *item); /* must not change while the item is in a map */
    void (*ref)(void *item);
    void (*unref)(void *item);
};
struct pmap_node;
struct pmap {
    const struct pmap_type *type;
    struct pmap_node *root; /* NULL: empty */
};
void pmap_init(struct pmap *m, const struct pmap_type *type);
void pmap_fini(struct pmap *m);                       /* {0} is fine */
struct pmap pmap_snapshot(const struct pmap *m);      /* O(1); pmap_fini it; may itself be changed (it is a map) */
size_t pmap_len(const struct pmap *m);                /* O(1) */
void *pmap_get(const struct pmap *m, struct str key); /* borrowed until the map changes; NULL: not there */
void *pmap_put(struct pmap *m, void *own_item);       /* the item it replaces, now the caller's, or NULL */
void *pmap_del(struct pmap *m, struct str key);       /* the item, now the caller's, or NULL: not there */
/* How many items have a smaller key. O(log n): rank(end) - rank(start) counts a range without walking it. */
size_t pmap_rank(const struct pmap *m, struct str key);
AUTO_VALUE(pmap_fini, struct pmap);

/* Iteration in order of keys. The map must not change meanwhile (iterate over a snapshot, if it may).
 *
 *   for (void *item = pmap_seek(&it, m, S("pods/")); item && str_starts(key_of(item), S("pods/"));
 *        item = pmap_next(&it)) */
#define PMAP_DEPTH 12
struct pmap_iter {
    const struct pmap_node *node[PMAP_DEPTH];
    uint8_t at[PMAP_DEPTH];
    int depth; /* of the node that holds the current item; -1: at the end */
};
void *pmap_seek(struct pmap_iter *it, const struct pmap *m,
                struct str key);       /* the first item not below key, or NULL */
void *pmap_next(struct pmap_iter *it); /* borrowed from the map; NULL: the end */
