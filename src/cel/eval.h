/* eval.h - walks a checked expression. */
#pragma once
#include "cel/expr.h"
#include "cel/run.h"

struct cel_value cel_eval(struct cel_run *run, const struct expr *e);
/* What a call cost (cost.c). */
uint64_t cel_call_cost(enum cel_cost cost, struct cel_run *run, const struct cel_value *args, size_t n,
                       struct cel_value result);
