/* tree_int.h - what the generated name table and tree.c share: a minimal perfect hash by displacement. */
#pragma once
#include "api/tree.h"

extern const uint16_t name_displacements[];
extern const unsigned name_buckets;

/* A map with room for more members than HASH_FROM finds them by hash: a table for that stands behind them. */
enum { HASH_FROM = 32 };
/* What is noted in val.flags, and by whom. */
enum {
    VAL_F_DEAD = 1,    /* proto.c, while a map is made unique */
    VAL_F_TOUCHED = 2, /* patch.c, while a patch is applied */
    VAL_F_HASHED = 4,  /* tree.c */
    VAL_F_PACKED = 8,  /* packed.c: an empty map or text in the place of a part that is packed; of objects alone */
};
size_t map_bytes(uint32_t cap); /* of the members of a map with room for so many (exactly n: spare is 0) */
void map_hash(struct val *map); /* with members in place and the room behind them zeroed */
