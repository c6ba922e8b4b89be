/* Macros: calls that stand for loops and tests. What each becomes is upstream's, since costs are counted on it. */
#include "cel/expr.h"
#include <string.h>

struct macro_call {
    struct arena *a;
    struct cel_issues *issues;
    struct expr *target, **args;
    size_t n;
    uint32_t at;
};
typedef struct expr *macro_expand(const struct macro_call *m);

#define ACC S("@result")

static struct expr *macro_wrong(const struct macro_call *m, const struct expr *where, const char *text)
{
    cel_issue_add(m->issues, where->at, "%s", text);
    return expr_new(m->a, EXPR_NONE, m->at);
}

static struct expr *macro_call2(const struct macro_call *m, struct str name, struct expr *x, struct expr *y)
{
    struct expr *args[] = {x, y};
    return expr_call(m->a, m->at, name, 2, args);
}

static struct expr *macro_if(const struct macro_call *m, struct expr *test, struct expr *yes, struct expr *no)
{
    struct expr *args[] = {test, yes, no};
    return expr_call(m->a, m->at, S("_?_:_"), 3, args);
}

static struct expr *macro_method(const struct macro_call *m, const char *name, struct expr *target, struct expr *arg)
{
    struct expr *args[] = {target, arg};
    struct expr *e = expr_call(m->a, m->at, str_of(name), arg ? 2 : 1, args);
    e->method = true;
    return e;
}

static struct expr *macro_literal(const struct macro_call *m, struct cel_value v)
{
    struct expr *e = expr_new(m->a, EXPR_LITERAL, m->at);
    e->value = v;
    return e;
}

static struct expr *macro_list(const struct macro_call *m, struct expr *item)
{
    struct expr *e = expr_new(m->a, EXPR_LIST, m->at);
    e->n = item != NULL;
    e->args = arena_dup(m->a, &item, sizeof item);
    return e;
}

static struct expr *macro_acc(const struct macro_call *m)
{
    return expr_ident(m->a, m->at, ACC);
}

/* A tree shared by two places would be checked twice: each has its own. */
static struct expr *macro_copy(const struct macro_call *m, const struct expr *e)
{
    if (++m->issues->copied == CEL_MAX_COPIED)
        cel_issue_add(m->issues, m->at, "expression is too large once its macros are expanded");
    if (m->issues->copied >= CEL_MAX_COPIED)
        return expr_new(m->a, EXPR_NONE, e->at);
    struct expr *copy = arena_dup(m->a, e, sizeof *e);
    if (e->n) {
        copy->args = arena_alloc(m->a, e->n * sizeof *e->args);
        for (uint32_t i = 0; i < e->n; i++)
            copy->args[i] = macro_copy(m, e->args[i]);
    }
    if (e->fold) {
        copy->fold = arena_dup(m->a, e->fold, sizeof *e->fold);
        copy->fold->range = macro_copy(m, e->fold->range);
        copy->fold->init = macro_copy(m, e->fold->init);
        copy->fold->condition = macro_copy(m, e->fold->condition);
        copy->fold->step = macro_copy(m, e->fold->step);
        copy->fold->result = macro_copy(m, e->fold->result);
    }
    return copy;
}

static struct expr *macro_fold(const struct macro_call *m, struct expr_fold fold)
{
    struct expr *e = expr_new(m->a, EXPR_FOLD, m->at);
    e->fold = arena_dup(m->a, &fold, sizeof fold);
    return e;
}

/* A name for a value in an expression. */
static struct expr *macro_bind(const struct macro_call *m, struct str name, struct expr *value, struct expr *in)
{
    return macro_fold(m, (struct expr_fold){.var = S("#unused"),
                                            .acc = name,
                                            .range = macro_list(m, NULL),
                                            .init = value,
                                            .condition = macro_literal(m, cel_bool(false)),
                                            .step = expr_ident(m->a, m->at, name),
                                            .result = in,
                                            .bind = true});
}

/* The variables of a loop; NULL in *wrong: they are good. */
static void macro_vars(const struct macro_call *m, size_t n, const char *otherwise, struct expr_fold *fold,
                       struct expr **wrong)
{
    *wrong = NULL;
    for (size_t i = 0; i < n && !*wrong; i++) {
        struct expr *arg = m->args[i];
        if (arg->kind != EXPR_IDENT)
            *wrong = macro_wrong(m, arg, otherwise);
        else if (str_eq(arg->name, ACC) || str_eqz(arg->name, "__result__"))
            *wrong = macro_wrong(m, arg, "iteration variable overwrites accumulator variable");
        else if (i && str_eq(arg->name, fold->var))
            *wrong = macro_wrong(m, arg, arena_fmt(m->a, "duplicate variable name: " STR_FMT, STR_ARG(arg->name)).p);
        else
            *(i ? &fold->var2 : &fold->var) = arg->name;
    }
    fold->acc = ACC;
    fold->range = m->target;
}

static struct expr *expand_has(const struct macro_call *m)
{
    struct expr *arg = m->args[0];
    if (arg->kind != EXPR_SELECT || arg->test)
        return macro_wrong(m, arg, "invalid argument to has() macro");
    struct expr *e = expr_new(m->a, EXPR_SELECT, m->at);
    e->name = arg->name;
    e->n = 1;
    e->args = arg->args;
    e->test = true;
    return e;
}

static struct expr *expand_quantifier(const struct macro_call *m, bool all)
{
    struct expr_fold fold = {0};
    struct expr *wrong;
    macro_vars(m, m->n - 1, "argument must be a simple name", &fold, &wrong);
    if (wrong)
        return wrong;
    struct expr *go_on = macro_acc(m);
    if (!all)
        go_on = expr_call(m->a, m->at, S("!_"), 1, &go_on);
    fold.init = macro_literal(m, cel_bool(all));
    fold.condition = expr_call(m->a, m->at, S("@not_strictly_false"), 1, &go_on);
    fold.step = macro_call2(m, all ? S("_&&_") : S("_||_"), macro_acc(m), m->args[m->n - 1]);
    fold.result = macro_acc(m);
    return macro_fold(m, fold);
}

static struct expr *expand_all(const struct macro_call *m)
{
    return expand_quantifier(m, true);
}

static struct expr *expand_exists(const struct macro_call *m)
{
    return expand_quantifier(m, false);
}

static struct expr *expand_exists_one(const struct macro_call *m)
{
    struct expr_fold fold = {0};
    struct expr *wrong;
    macro_vars(m, m->n - 1, "argument must be a simple name", &fold, &wrong);
    if (wrong)
        return wrong;
    fold.init = macro_literal(m, cel_int(0));
    fold.condition = macro_literal(m, cel_bool(true));
    struct expr *more = macro_call2(m, S("_+_"), macro_acc(m), macro_literal(m, cel_int(1)));
    fold.step = macro_if(m, m->args[m->n - 1], more, macro_acc(m));
    fold.result = macro_call2(m, S("_==_"), macro_acc(m), macro_literal(m, cel_int(1)));
    return macro_fold(m, fold);
}

/* A list: `value` of each element, of those alone for which `test` holds where there is one. */
static struct expr *macro_gather(const struct macro_call *m, struct expr_fold fold, struct expr *value,
                                 struct expr *test)
{
    fold.init = macro_list(m, NULL);
    fold.condition = macro_literal(m, cel_bool(true));
    fold.step = macro_call2(m, S("_+_"), macro_acc(m), macro_list(m, value));
    if (test)
        fold.step = macro_if(m, test, fold.step, macro_acc(m));
    fold.result = macro_acc(m);
    fold.append = true;
    return macro_fold(m, fold);
}

static struct expr *expand_map(const struct macro_call *m)
{
    struct expr_fold fold = {0};
    struct expr *wrong;
    macro_vars(m, 1, "argument is not an identifier", &fold, &wrong);
    return wrong ? wrong : macro_gather(m, fold, m->args[m->n - 1], m->n == 3 ? m->args[1] : NULL);
}

static struct expr *expand_filter(const struct macro_call *m)
{
    struct expr_fold fold = {0};
    struct expr *wrong;
    macro_vars(m, 1, "argument is not an identifier", &fold, &wrong);
    return wrong ? wrong : macro_gather(m, fold, m->args[0], m->args[1]);
}

static struct expr *expand_transform_list(const struct macro_call *m)
{
    struct expr_fold fold = {0};
    struct expr *wrong;
    macro_vars(m, 2, "argument must be a simple name", &fold, &wrong);
    return wrong ? wrong : macro_gather(m, fold, m->args[m->n - 1], m->n == 4 ? m->args[2] : NULL);
}

static struct expr *expand_transform_to_map(const struct macro_call *m, bool entries)
{
    struct expr_fold fold = {0};
    struct expr *wrong;
    macro_vars(m, 2, "argument must be a simple name", &fold, &wrong);
    if (wrong)
        return wrong;
    struct expr *value = m->args[m->n - 1];
    struct expr *insert[] = {macro_acc(m), entries ? value : expr_ident(m->a, m->at, fold.var), value};
    fold.init = expr_new(m->a, EXPR_MAP, m->at);
    fold.condition = macro_literal(m, cel_bool(true));
    fold.step = expr_call(m->a, m->at, S("cel.@mapInsert"), entries ? 2 : 3, insert);
    if (m->n == 4)
        fold.step = macro_if(m, m->args[2], fold.step, macro_acc(m));
    fold.result = macro_acc(m);
    fold.append = true;
    return macro_fold(m, fold);
}

static struct expr *expand_transform_map(const struct macro_call *m)
{
    return expand_transform_to_map(m, false);
}

static struct expr *expand_transform_entry(const struct macro_call *m)
{
    return expand_transform_to_map(m, true);
}

static struct expr *expand_opt(const struct macro_call *m, bool flat)
{
    struct expr *var = m->args[0];
    if (var->kind != EXPR_IDENT)
        return macro_wrong(m, var,
                           flat ? "optFlatMap() variable name must be a simple identifier"
                                : "optMap() variable name must be a simple identifier");
    struct expr *value = macro_method(m, "value", macro_copy(m, m->target), NULL);
    struct expr *in = macro_bind(m, var->name, value, m->args[1]);
    if (!flat)
        in = expr_call(m->a, m->at, S("optional.of"), 1, &in);
    return macro_if(m, macro_method(m, "hasValue", m->target, NULL), in,
                    expr_call(m->a, m->at, S("optional.none"), 0, NULL));
}

static struct expr *expand_opt_map(const struct macro_call *m)
{
    return expand_opt(m, false);
}

static struct expr *expand_opt_flat_map(const struct macro_call *m)
{
    return expand_opt(m, true);
}

static struct expr *expand_sort_by(const struct macro_call *m)
{
    static const struct str input = S_INIT("@__sortBy_input__");
    switch ((enum expr_kind)m->target->kind) {
    case EXPR_LIST:
    case EXPR_SELECT:
    case EXPR_IDENT:
    case EXPR_FOLD:
    case EXPR_CALL: break;
    case EXPR_NONE:
    case EXPR_LITERAL:
    case EXPR_MAP:
    case EXPR_STRUCT:
        return macro_wrong(
            m, m->target,
            "sortBy can only be applied to a list, identifier, comprehension, call or select expression");
    }
    struct macro_call keys = *m;
    keys.target = expr_ident(m->a, m->at, input);
    struct expr *map = expand_map(&keys);
    if (map->kind == EXPR_NONE)
        return map;
    struct expr *sorted = macro_method(m, "@sortByAssociatedKeys", expr_ident(m->a, m->at, input), map);
    return macro_bind(m, input, m->target, sorted);
}

static const struct {
    const char *name;
    uint8_t args;
    bool method;
    macro_expand *expand;
} macros[] = {
    {"has", 1, false, expand_has},
    {"all", 2, true, expand_all},
    {"exists", 2, true, expand_exists},
    {"exists_one", 2, true, expand_exists_one},
    {"existsOne", 2, true, expand_exists_one},
    {"map", 2, true, expand_map},
    {"map", 3, true, expand_map},
    {"filter", 2, true, expand_filter},
    {"all", 3, true, expand_all},
    {"exists", 3, true, expand_exists},
    {"existsOne", 3, true, expand_exists_one},
    {"exists_one", 3, true, expand_exists_one},
    {"transformList", 3, true, expand_transform_list},
    {"transformList", 4, true, expand_transform_list},
    {"transformMap", 3, true, expand_transform_map},
    {"transformMap", 4, true, expand_transform_map},
    {"transformMapEntry", 3, true, expand_transform_entry},
    {"transformMapEntry", 4, true, expand_transform_entry},
    {"optMap", 2, true, expand_opt_map},
    {"optFlatMap", 2, true, expand_opt_flat_map},
    {"sortBy", 2, true, expand_sort_by},
};

struct expr *cel_macro(struct arena *a, struct cel_issues *issues, struct str function, struct expr *target,
                       struct expr **args, size_t n, uint32_t at)
{
    for (size_t i = 0; i < countof(macros); i++)
        if (macros[i].args == n && macros[i].method == (target != NULL) && str_eqz(function, macros[i].name))
            return macros[i].expand(&(struct macro_call){a, issues, target, args, n, at});
    return NULL;
}
