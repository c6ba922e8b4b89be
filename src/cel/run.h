/* run.h - what an evaluation carries with it, inside of the room. */
#pragma once
#include "cel/value.h"

struct cel_run {
    struct arena *arena;
    struct cel_value *slots; /* the variables, then those of macros */
    uint64_t cost, limit;
    bool over;     /* the limit was passed: nothing absorbs that */
    uint64_t work; /* of what upstream counts nothing for */
};

/* Work that upstream's costs do not know of, for there it is lazy or thought to be small: comparing what stands deep
 * inside, measuring long texts, decoding bytes. Counted so that no rule keeps the server busy; too little to show in
 * rules over what people write. */
static inline void run_work(struct cel_run *run, uint64_t steps)
{
    run->work += steps;
    run->cost += run->work / 64;
    run->work %= 64;
}

/* A native map: pairs in the order of insertion, found by hash once they are many. */
struct cel_map {
    struct cel_value *pairs; /* key, value, key, value ... */
    uint32_t n, cap;         /* of pairs */
    uint32_t *slots;         /* index + 1; NULL: few */
    uint32_t nslots;
    const char *type; /* of Object{} and its like: what it was made as; else NULL */
    /* Values that are worked out when somebody asks for one; NULL: they are there. */
    struct cel_value (*later)(struct cel_run *run, struct cel_map *map, uint32_t i);
    void *arg; /* of later */
};

/* A set or a map list of a schema, which compares without order: its node; else NULL. */
const struct schema_node *cel_list_node(struct cel_value list);
/* a + b of lists, as a set or map list of a schema where a is one. */
struct cel_value cel_list_join(struct cel_run *run, struct cel_value a, struct cel_value b);
struct cel_value cel_no_overload(struct cel_run *run, const char *name);
