/* map.h - the hash map from text to a pointer (not NULL). Iteration is in order of insertion; deleting while
 * iterating is allowed, adding is not. Keys are copied; values are the caller's. */
#pragma once
#include "base/str.h"

struct map_entry {
    struct str key; /* owned by the map, NUL-terminated; valid until deleted */
    void *value;
    uint64_t hash;
};
struct map {
    struct map_entry *entries; /* in order; key.p == NULL: deleted */
    uint32_t *slots;           /* open addressing: index + 1, 0 is free */
    size_t used, cap, live;    /* entries used, room for, not deleted */
    size_t nslots;
};
#define MAP ((struct map){0})
void map_fini(struct map *m);
AUTO_VALUE(map_fini, struct map);
void *map_get(const struct map *m, struct str key);        /* NULL: not there */
void *map_put(struct map *m, struct str key, void *value); /* the value that was there before, or NULL */
void *map_del(struct map *m, struct str key);              /* the value that was there, or NULL */
size_t map_len(const struct map *m);
const struct map_entry *map_next(const struct map *m, const struct map_entry *prev); /* NULL starts; NULL ends */
#define map_each(it, m) for (const struct map_entry *it = map_next((m), NULL); it; it = map_next((m), it))
