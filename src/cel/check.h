/* check.h - gives each part of an expression its type, and each call its rows. */
#pragma once
#include "cel/expr.h"
#include "cel/program.h"

struct cel_kept {
    void *p;
    void (*release)(void *p);
};
/* Changes the tree; false: issues were added. */
MUST_USE bool cel_check(struct arena *a, const struct cel_env *env, struct expr *root, struct cel_issues *issues,
                        struct cel_program *out);
/* Estimates what the expression may cost at least and at most (cost.c). */
void cel_estimate(const struct cel_env *env, const struct expr *root, uint64_t *min, uint64_t *max);
/* "a.b.c" of selects from an identifier; STR_NONE: the expression is none. */
struct str expr_qualified(struct arena *a, const struct expr *e);
