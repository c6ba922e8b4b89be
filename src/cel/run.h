/* run.h - what an evaluation carries with it, inside of the room. */
#pragma once
#include "cel/value.h"

struct cel_run {
    struct arena *arena;
    struct cel_value *slots; /* the variables, then those of macros */
    uint64_t cost, limit;
    bool over; /* the limit was passed: nothing absorbs that */
};

/* A native map: pairs in the order of insertion, found by hash once they are many. */
struct cel_map {
    struct cel_value *pairs; /* key, value, key, value ... */
    uint32_t n, cap;         /* of pairs */
    uint32_t *slots;         /* index + 1; NULL: few */
    uint32_t nslots;
};

/* A set or a map list of a schema, which compares without order: its node; else NULL. */
const struct schema_node *cel_list_node(struct cel_value list);
/* a + b of lists, as a set or map list of a schema where a is one. */
struct cel_value cel_list_join(struct cel_run *run, struct cel_value a, struct cel_value b);
struct cel_value cel_no_overload(struct cel_run *run, const char *name);
