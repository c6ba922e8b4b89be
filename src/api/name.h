/* name.h - the name of a member. Those of all fields of built-in kinds are static (names_gen.h); equal static names
 * are equal pointers. */
#pragma once
#include "base/str.h"

struct name {
    struct str s;
};
