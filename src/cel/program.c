#include "cel/program.h"
#include "cel/check.h"
#include "cel/eval.h"
#include <string.h>

bool cel_compile(struct arena *a, const struct cel_env *env, struct str source, struct cel_program *out,
                 struct strbuf *errors)
{
    ASSERT(env->n <= 64);
    AUTO(arena_fini) struct arena told = ARENA;
    struct cel_issues issues = {.a = &told, .source = str_dup(a, source)};
    *out = (struct cel_program){0};
    struct expr *root = cel_parse(a, issues.source, &issues);
    if (root && cel_check(a, env, root, &issues, out)) {
        cel_estimate(env, root, &out->min_cost, &out->max_cost);
        return true;
    }
    cel_issues_text(&issues, errors);
    cel_program_release(out);
    return false;
}

void cel_program_release(struct cel_program *p)
{
    for (size_t i = 0; i < p->nkept; i++)
        p->kept[i].release(p->kept[i].p);
    p->nkept = 0;
}

struct cel_value cel_program_run(const struct cel_program *p, struct arena *a, const struct cel_value *values,
                                 uint64_t limit, uint64_t *cost, bool *over)
{
    enum { FEW = 16 };
    struct cel_value few[FEW];
    struct cel_run run = {.arena = a, .limit = limit, .slots = few};
    if (p->nslots > FEW)
        run.slots = arena_alloc(a, p->nslots * sizeof *run.slots);
    for (uint64_t left = p->uses; left; left &= left - 1) {
        unsigned i = (unsigned)__builtin_ctzll(left);
        run.slots[i] = values[i];
    }
    struct cel_value v = cel_eval(&run, p->root);
    *cost = run.cost;
    *over = run.over;
    return v;
}

struct cel_run *cel_run_in(struct arena *a)
{
    struct cel_run *run = ARENA_NEW(a, struct cel_run);
    *run = (struct cel_run){.arena = a, .limit = UINT64_MAX};
    return run;
}
