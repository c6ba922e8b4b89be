/* tree_int.h - what the generated name table and tree.c share: a minimal perfect hash by displacement. */
#pragma once
#include "api/tree.h"

extern const uint16_t name_displacements[];
extern const unsigned name_buckets;
