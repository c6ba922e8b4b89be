/* program.h - an expression, compiled and run. A program is immutable and may be run from any thread; it lives in the
 * arena it was compiled into, besides what cel_program_release gives back. */
#pragma once
#include "cel/type.h"

struct cel_variable {
    struct str name;
    const struct cel_type *type;
    bool parts; /* it has no value as a whole: only its fields may stand in an expression */
};
struct cel_env {
    const struct cel_variable *variables;
    size_t n;                   /* at most 64 */
    struct arena *types;        /* where types made on the way live; NULL: in the program's arena */
    const char *const *without; /* libraries that are not there, NULL-terminated; NULL: all are */
    bool patches;               /* Object{...}, JSONPatch{...} and functions for these are there */
};

struct cel_program {
    const struct expr *root;
    const struct cel_type *type; /* of the result */
    uint64_t uses;               /* a bit for each variable that stands in it */
    uint32_t nslots;
    struct cel_kept *kept; /* what libraries prepared */
    size_t nkept;
    uint64_t min_cost, max_cost; /* estimated */
};

/* False: `errors` says why, as cel-go's issues do ("ERROR: <input>:1:5: ..."). */
MUST_USE bool cel_compile(struct arena *a, const struct cel_env *env, struct str source, struct cel_program *out,
                          struct strbuf *errors);
void cel_program_release(struct cel_program *p);

#define CEL_PER_CALL_LIMIT 1000000 /* upstream's: what one evaluation may cost */

/* values: of the variables, in the order of the environment. An error is the result's kind; *over: it is that the
 * limit was passed. *cost: what it cost. */
struct cel_value cel_program_run(const struct cel_program *p, struct arena *a, const struct cel_value *values,
                                 uint64_t limit, uint64_t *cost, bool *over);
/* For who works with the value of a run: a run without a limit in the arena. */
struct cel_run *cel_run_in(struct arena *a);

/* The kind and n of a result that was wanted: bool of a rule. */
static inline bool cel_is_true(struct cel_value v)
{
    return v.kind == CEL_BOOL && v.b;
}
