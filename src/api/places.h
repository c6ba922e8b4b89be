/* places.h - where in a list elements with the same key stand, found by hash: for merges of long lists. Pure. */
#pragma once
#include "api/tree.h"

/* The elements of a list by the member `key` of each, or by themselves where key is NULL. Of several with one key the
 * first is found. Elements without the key are in the list, and never found. */
struct places {
    struct arena *a;
    const struct name *key;
    struct val *keys; /* by place in the list; a copy: what holds the element may move */
    uint32_t *slots;  /* open addressing: place + 1 */
    uint32_t n, room; /* room: of keys; slots are twice as many, a power of two */
};
struct places places_of(struct arena *a, const struct val *list, const struct name *key);
/* The list has one element more. */
void places_add(struct places *p, const struct val *item);
/* The place of the first element that has the key of this one; -1: there is none. */
ptrdiff_t places_find(const struct places *p, const struct val *item);
/* Of equal values (val_equal) equal. */
uint64_t val_hash(const struct val *v);
