/* defaults_int.h - shorthands of the files that fill trees in: set where absent. */
#pragma once
#include "api/rules.h"

#define V(v, field)    val_get((v), N(field))
#define TEXT(v, field) val_text(V(v, field))
#define MUT(v, field)  val_get_mut((v), N(field))

/* absent: not there, null, or the empty text */
#define DEF_TEXT(a, v, field, text)                                                                                  \
    do {                                                                                                             \
        if (TEXT(v, field).n == 0)                                                                                   \
            val_set_text((a), (v), N(field), S(text));                                                               \
    } while (0)
#define DEF_NUM(a, v, field, n)                                                                                      \
    do {                                                                                                             \
        if (!val_is(V(v, field), VAL_INT))                                                                           \
            val_set_num((a), (v), N(field), (n));                                                                    \
    } while (0)
#define DEF_NUM_OF_ZERO(a, v, field, n)                                                                              \
    do {                                                                                                             \
        if (val_num(V(v, field), 0) == 0)                                                                            \
            val_set_num((a), (v), N(field), (n));                                                                    \
    } while (0)
#define DEF_BOOL(a, v, field, b)                                                                                     \
    do {                                                                                                             \
        if (!val_is(V(v, field), VAL_BOOL))                                                                          \
            val_set_bool((a), (v), N(field), (b));                                                                   \
    } while (0)
#define DEF_MAP(a, v, field)                                                                                         \
    do {                                                                                                             \
        if (!val_is(V(v, field), VAL_MAP))                                                                           \
            val_set((a), (v), N(field), val_map());                                                                  \
    } while (0)

#define each_mut(it, in)                                                                                             \
    for (struct val *it = val_is((in), VAL_LIST) ? (in)->list : NULL; it && it < (in)->list + (in)->n; it++)
#define each_member_mut(it, in)                                                                                      \
    for (struct member *it = val_is((in), VAL_MAP) ? (in)->map : NULL; it && it < (in)->map + (in)->n; it++)

void default_pod_spec(struct arena *a, struct val *spec);
void default_claim_spec(struct arena *a, struct val *spec);
