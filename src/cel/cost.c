/* What an expression may cost, estimated from the sizes that its schema allows, and what a call did cost, counted
 * from its values. Both are upstream's formulas (cel-go's checker/cost.go and interpreter/runtimecost.go, and the API
 * server's cel/library/cost.go), side by side: definitions are refused by the first and objects by the second. */
#include "cel/check.h"
#include "cel/eval.h"
#include <math.h>
#include <string.h>

#define TENTH   0.1  /* a character looked at */
#define QUARTER 0.25 /* a character of a pattern */
enum {
    COST_LIST = 10,
    COST_MAP = 30,
    COST_STRUCT = 40,
    ADDRESS_MIN = 4,
    ADDRESS_MAX = 16,
    FORMAT_REGEX_MAX = 128,
    COST_AUTHORIZE = 350000
};

/* Sizes or costs: at least, at most. */
struct cost_range {
    uint64_t min, max;
};
#define UNKNOWN ((struct cost_range){0, UINT64_MAX})

static uint64_t cost_plus(uint64_t a, uint64_t b)
{
    uint64_t r;
    return __builtin_add_overflow(a, b, &r) ? UINT64_MAX : r;
}

static uint64_t cost_times(uint64_t a, uint64_t b)
{
    uint64_t r;
    return __builtin_mul_overflow(a, b, &r) ? UINT64_MAX : r;
}

static uint64_t cost_scaled(uint64_t n, double by)
{
    double d = ceil((double)n * by);
    return d >= 18446744073709551616.0 ? UINT64_MAX : (uint64_t)d;
}

static struct cost_range range_of(uint64_t n)
{
    return (struct cost_range){n, n};
}

static struct cost_range range_add(struct cost_range a, struct cost_range b)
{
    return (struct cost_range){cost_plus(a.min, b.min), cost_plus(a.max, b.max)};
}

static struct cost_range range_times(struct cost_range a, struct cost_range b)
{
    return (struct cost_range){cost_times(a.min, b.min), cost_times(a.max, b.max)};
}

static struct cost_range range_scaled(struct cost_range a, double by)
{
    return (struct cost_range){cost_scaled(a.min, by), cost_scaled(a.max, by)};
}

static struct cost_range range_union(struct cost_range a, struct cost_range b)
{
    return (struct cost_range){MIN(a.min, b.min), MAX(a.max, b.max)};
}

/* ---- counting ---- */

/* All that a value holds: one a scalar, a tenth of texts. */
static uint64_t cost_traversal(struct cel_run *run, struct cel_value v)
{
    uint64_t cost = 0;
    if (v.kind == CEL_STRING || v.kind == CEL_BYTES)
        return (uint64_t)((double)v.n * TENTH);
    if (v.kind == CEL_LIST) {
        for (size_t i = 0, n = cel_list_len(v); i < n; i++)
            cost += cost_traversal(run, cel_list_at(run, v, i));
        return cost;
    }
    struct cel_value key, value;
    if (v.kind != CEL_MAP)
        return 1;
    for (size_t at = 0; cel_map_next(run, v, &at, &key, &value);)
        cost += cost_traversal(run, key) + cost_traversal(run, value);
    return cost;
}

/* A size that had to be measured. */
static uint64_t size_measured(struct cel_run *run, struct cel_value v)
{
    if (v.kind == CEL_STRING)
        run_work(run, v.n / 64);
    return cel_size(v);
}

uint64_t cel_call_cost(enum cel_cost cost, struct cel_run *run, const struct cel_value *args, size_t n,
                       struct cel_value result)
{
    uint64_t self = n ? size_measured(run, args[0]) : 0, last = n > 1 ? size_measured(run, args[n - 1]) : self;
    switch (cost) {
    case CEL_COST_ONE: return 1;
    case CEL_COST_SELF:
    case CEL_COST_PARSE:
    case CEL_COST_PARSE_FREE:
    case CEL_COST_ARGUMENT:
    case CEL_COST_CONVERT: return cost_scaled(self, TENTH);
    case CEL_COST_PARSE_TWICE:
    case CEL_COST_REPLACE:
    case CEL_COST_SPLIT: return cost_scaled(self, 2 * TENTH);
    case CEL_COST_CONTAINS: return cost_times(cost_scaled(self, TENTH), cost_scaled(last, TENTH));
    case CEL_COST_MATCHES:
    case CEL_COST_FIND:
        return cost_times(cost_scaled(self + 1, TENTH), cost_scaled(cel_size(args[n > 1 ? 1 : 0]), QUARTER));
    case CEL_COST_JOIN: return cost_scaled(cel_size(result), 2 * TENTH);
    case CEL_COST_EACH: return cost_traversal(run, args[0]);
    case CEL_COST_FORMAT:
    case CEL_COST_QUOTE: return 1;
    case CEL_COST_CONTAINS_IP: return cost_scaled(2 * self, TENTH);
    case CEL_COST_CONTAINS_IP_STRING: return cost_scaled(2 * self, TENTH) + cost_scaled(last, TENTH);
    case CEL_COST_CONTAINS_CIDR: return cost_scaled(2 * self, TENTH) + cost_scaled(self, TENTH) + 1;
    case CEL_COST_CONTAINS_CIDR_STRING:
        return cost_scaled(2 * self, TENTH) + cost_scaled(self, TENTH) + 1 + cost_scaled(last, TENTH);
    case CEL_COST_VALIDATE: return cost_times(cost_scaled(last + 1, TENTH), cost_scaled(self, QUARTER));
    case CEL_COST_SETS: return cost_times(self, last);
    case CEL_COST_SETS_TWICE: return cost_times(2, cost_times(self, last));
    case CEL_COST_LIST_COPY:
    case CEL_COST_RANGE: return cost_plus(COST_LIST, result.kind == CEL_LIST ? cel_size(result) : 0);
    case CEL_COST_LIST_PAIRS: return cost_plus(COST_LIST, cost_times(self, self));
    case CEL_COST_IN_LIST: return last;
    case CEL_COST_EQUAL:
        if (args[0].kind == CEL_OPAQUE)
            return 1;
        return cost_scaled(MIN(self, last), TENTH);
    case CEL_COST_ORDER_TEXT: return cost_scaled(MIN(self, last), TENTH);
    case CEL_COST_CONCAT: return cost_scaled(self + last, TENTH);
    case CEL_COST_CONCAT_LIST: return 1;
    case CEL_COST_AUTHORIZE: return COST_AUTHORIZE;
    }
    return 1;
}

/* ---- estimating ---- */

/* What is known of an expression's value. */
struct cost_node {
    struct cost_range cost;
    bool sized; /* size: found on the way */
    struct cost_range size;
    bool entries; /* key, value: of its elements */
    struct cost_range key, value;
    bool path; /* reached from a variable; decl: what is declared there, or NULL */
    bool root; /* path leads nowhere but is told of: estimates take the whole for it */
    const struct cel_type *decl;
};

struct cost_scope {
    struct str name;
    struct cost_node node;
    struct cost_scope *outer;
};

struct coster {
    const struct cel_env *env;
    struct cost_scope *scope;
};

static struct cost_node cost_expr(struct coster *c, const struct expr *e);

static bool is_scalar(const struct cel_type *t)
{
    if (cel_type_is_optional(t))
        return is_scalar(t->of[0]);
    return t->kind == CT_BOOL || t->kind == CT_DOUBLE || t->kind == CT_DURATION || t->kind == CT_INT ||
           t->kind == CT_TIMESTAMP || t->kind == CT_UINT;
}

/* Whether sizes are declared with the type: it comes of a schema. */
static bool is_declared(const struct cel_type *t)
{
    return t && t->min > 0;
}

static const struct cel_type *root_decl(const struct coster *c)
{
    const struct cel_type *t = c->env->n ? c->env->variables[0].type : NULL;
    return is_declared(t) ? t : NULL;
}

/* The size of the value of e, as far as it is known. */
static bool known_size(const struct coster *c, const struct expr *e, const struct cost_node *n,
                       struct cost_range *out)
{
    if (n->sized) {
        *out = n->size;
        return true;
    }
    if (e->kind == EXPR_LITERAL) {
        *out = range_of(e->value.kind == CEL_STRING || e->value.kind == CEL_BYTES ? cel_size(e->value) : 1);
        return true;
    }
    if (e->kind == EXPR_LIST || e->kind == EXPR_MAP) {
        *out = range_of(e->kind == EXPR_LIST ? e->n : e->n / 2);
        return true;
    }
    const struct cel_type *decl = n->path ? n->root ? root_decl(c) : n->decl : NULL;
    if (is_declared(decl)) {
        *out = (struct cost_range){0, (uint64_t)decl->max};
        return true;
    }
    if (is_scalar(e->type)) {
        *out = range_of(1);
        return true;
    }
    return false;
}

static struct cost_range size_of(const struct coster *c, const struct expr *e, const struct cost_node *n)
{
    struct cost_range size;
    return known_size(c, e, n, &size) ? size : UNKNOWN;
}

/* What an element of it is, by path. */
static void step_path(struct cost_node *out, const struct cost_node *from, unsigned of)
{
    out->path = true;
    out->root = !from->path;
    out->decl = from->root || !is_declared(from->decl) || from->decl->n <= of ? NULL : from->decl->of[of];
}

static struct cost_node cost_ident(struct coster *c, const struct expr *e)
{
    struct cost_node n = {.cost = {1, 1}};
    for (struct cost_scope *s = c->scope; s; s = s->outer)
        if (str_eq(s->name, e->name)) {
            n = s->node;
            n.cost = range_of(1);
            return n;
        }
    n.path = n.root = true; /* the name of a type: upstream takes the whole for it */
    for (size_t i = 0; i < c->env->n; i++)
        if (str_eq(c->env->variables[i].name, e->name)) {
            n.root = false;
            n.decl = c->env->variables[i].type;
            if (cel_type_is_optional(n.decl)) /* what oldSelf may hold is what self is */
                n.decl = root_decl(c);
        }
    return n;
}

static struct cost_node cost_select(struct coster *c, const struct expr *e)
{
    struct cost_node of = cost_expr(c, e->args[0]), n = {.cost = of.cost};
    if (e->test)
        return n;
    enum cel_type_kind kind = e->args[0]->type->kind;
    if (kind == CT_MAP || kind == CT_STRUCT || kind == CT_PARAM)
        n.cost = range_add(n.cost, range_of(1));
    n.path = true;
    n.root = !of.path;
    const struct cel_field *f = is_declared(of.decl) && !of.root ? cel_type_field(of.decl, e->name) : NULL;
    n.decl = f ? f->type : NULL;
    return n;
}

/* What a call is estimated by. */
struct cost_call {
    const struct expr *e;
    struct cost_node *args;
    struct cost_range self, last; /* sizes of the first and the last argument */
    const struct coster *c;
};

/* How often a text is replaced at most or at least, and what of self stays. */
static struct cost_range replaced_size(const struct cost_call *call)
{
    struct cost_range self = call->self, what = size_of(call->c, call->e->args[1], &call->args[1]),
                      with = size_of(call->c, call->e->args[2], &call->args[2]), count = {0, 0}, kept = {0, 0};
    if (what.min == 0) {
        count.max = cost_plus(self.max, 1);
        kept.max = self.max;
    } else if (with.max <= what.min) {
        kept.max = self.max;
    } else {
        count.max = cost_scaled(self.max, 1.0 / (double)what.min);
    }
    if (what.max == 0) {
        count.min = cost_plus(self.min, 1);
        kept.min = self.min;
    } else if (what.max <= with.min) {
        kept.min = self.min;
    } else {
        count.min = cost_scaled(self.min, 1.0 / (double)what.max);
    }
    return range_add(range_times(count, with), kept);
}

/* The size of an element of the list that the call is of, by what is declared there. */
static struct cost_range element_size(const struct cost_call *call)
{
    struct cost_node item = {0};
    if (!call->args[0].path)
        return UNKNOWN;
    step_path(&item, &call->args[0], 0);
    const struct cel_type *decl = item.root ? root_decl(call->c) : item.decl;
    return is_declared(decl) ? (struct cost_range){0, (uint64_t)decl->max} : UNKNOWN;
}

static struct cost_range each_cost(const struct cost_call *call)
{
    const struct cel_type *t = call->e->args[0]->type;
    if (t->n == 0)
        return range_scaled(call->self, TENTH);
    struct cost_range one = range_of(1);
    if (t->of[0]->kind == CT_STRING || t->of[0]->kind == CT_BYTES)
        one = range_add(one, range_scaled(element_size(call), TENTH));
    return range_times(call->self, one);
}

static struct cost_range joined_size(const struct cost_call *call)
{
    struct cost_range size = range_times(call->self, element_size(call));
    if (call->e->n < 2)
        return size;
    struct cost_range between = {call->self.min ? call->self.min - 1 : 0, call->self.max ? call->self.max - 1 : 0};
    return range_add(size, range_times(call->last, between));
}

static uint64_t split_max(const struct cost_call *call)
{
    const struct expr *e = call->e;
    if (e->n > 2 && e->args[2]->kind == EXPR_LITERAL && e->args[2]->value.kind == CEL_INT)
        return (uint64_t)e->args[2]->value.i;
    return call->self.max;
}

static struct cost_range result_sized(struct cost_node *out, struct cost_range size, struct cost_range cost)
{
    out->sized = true;
    out->size = size;
    return cost;
}

/* Equality and order look at the shorter one. */
static struct cost_range compared_cost(const struct cost_call *call)
{
    const struct cel_type *t = call->e->args[0]->type;
    if (t->kind == CT_OPAQUE && !cel_type_is_optional(t))
        return range_of(1);
    uint64_t max = MIN(call->self.max, call->last.max);
    return range_scaled((struct cost_range){max > 0, max}, TENTH);
}

static struct cost_range call_estimate(const struct cost_call *call, enum cel_cost cost, struct cost_node *out)
{
    struct cost_range self = call->self, last = call->last, address = {ADDRESS_MIN, ADDRESS_MAX};
    struct cost_range two = range_scaled(range_add(address, address), TENTH);
    struct cost_range cidr = range_add(range_add(two, range_scaled(address, TENTH)), range_of(1));
    switch (cost) {
    case CEL_COST_ONE:
    case CEL_COST_PARSE_FREE:
    case CEL_COST_PARSE_TWICE: return range_of(1);
    case CEL_COST_SELF:
    case CEL_COST_PARSE: return result_sized(out, self, range_scaled(self, TENTH));
    case CEL_COST_ARGUMENT: return range_scaled(last, TENTH);
    case CEL_COST_CONTAINS: return range_times(range_scaled(self, TENTH), range_scaled(last, TENTH));
    case CEL_COST_MATCHES:
    case CEL_COST_FIND: {
        struct cost_range pattern = size_of(call->c, call->e->args[1], &call->args[1]);
        struct cost_range c = range_times(range_scaled(range_add(self, range_of(1)), TENTH),
                                          range_scaled(pattern, QUARTER));
        return cost == CEL_COST_MATCHES ? c : result_sized(out, (struct cost_range){0, self.max}, c);
    }
    case CEL_COST_REPLACE: return result_sized(out, replaced_size(call), range_scaled(self, 2 * TENTH));
    case CEL_COST_SPLIT:
        return result_sized(out, (struct cost_range){0, split_max(call)}, range_scaled(self, 2 * TENTH));
    case CEL_COST_JOIN: return result_sized(out, joined_size(call), range_scaled(joined_size(call), TENTH));
    case CEL_COST_EACH: return each_cost(call);
    case CEL_COST_FORMAT: return range_scaled(self, TENTH);
    case CEL_COST_QUOTE:
        return result_sized(out, (struct cost_range){cost_plus(self.min, 2), cost_plus(cost_times(self.max, 2), 2)},
                            range_scaled(self, TENTH));
    case CEL_COST_CONTAINS_IP: return two;
    case CEL_COST_CONTAINS_IP_STRING: return range_add(two, range_scaled(last, TENTH));
    case CEL_COST_CONTAINS_CIDR: return cidr;
    case CEL_COST_CONTAINS_CIDR_STRING: return range_add(cidr, range_scaled(last, TENTH));
    case CEL_COST_VALIDATE: return range_scaled(range_scaled(last, TENTH), FORMAT_REGEX_MAX * QUARTER);
    case CEL_COST_SETS: return range_times(self, last);
    case CEL_COST_SETS_TWICE: return range_times(range_of(2), range_times(self, last));
    case CEL_COST_LIST_COPY: return result_sized(out, self, range_add(range_of(COST_LIST), self));
    case CEL_COST_LIST_PAIRS: return result_sized(out, self, range_add(range_of(COST_LIST), range_times(self, self)));
    case CEL_COST_RANGE: {
        const struct expr *arg = call->e->args[0];
        bool literal = arg->kind == EXPR_LITERAL && arg->value.kind == CEL_INT && arg->value.i >= 0;
        struct cost_range n = literal ? range_of((uint64_t)arg->value.i) : UNKNOWN;
        return result_sized(out, n, range_add(range_of(COST_LIST), n));
    }
    case CEL_COST_CONVERT: {
        bool bytes = call->e->type->kind == CT_BYTES;
        struct cost_range size = {bytes ? self.min : self.min / 4, bytes ? cost_times(self.max, 4) : self.max};
        return result_sized(out, size, range_scaled(self, TENTH));
    }
    case CEL_COST_IN_LIST: return last;
    case CEL_COST_EQUAL:
    case CEL_COST_ORDER_TEXT: return compared_cost(call);
    case CEL_COST_CONCAT:
    case CEL_COST_CONCAT_LIST: {
        struct cost_range size = range_add(self, last);
        if (call->args[0].entries && call->args[1].entries) {
            out->entries = true;
            out->key = range_union(call->args[0].key, call->args[1].key);
            out->value = range_union(call->args[0].value, call->args[1].value);
        }
        return result_sized(out, size, cost == CEL_COST_CONCAT ? range_scaled(size, TENTH) : range_of(1));
    }
    case CEL_COST_AUTHORIZE: return range_of(COST_AUTHORIZE);
    }
    return range_of(1);
}

/* An index: the cost of one, and the way to the element. */
static void index_result(const struct cost_call *call, struct cost_node *out)
{
    const struct cel_type *t = call->e->args[0]->type;
    if (t->kind != CT_LIST && t->kind != CT_MAP)
        return;
    step_path(out, &call->args[0], t->kind == CT_MAP);
    if (call->args[0].entries) {
        out->sized = true;
        out->size = call->args[0].value;
    }
}

static struct cost_node cost_if(struct coster *c, const struct expr *e, const struct cost_node *args)
{
    struct cost_node n = {.cost = range_add(args[0].cost, range_union(args[1].cost, args[2].cost)), .sized = true};
    n.size = range_union(size_of(c, e->args[1], &args[1]), size_of(c, e->args[2], &args[2]));
    if (args[1].entries && args[2].entries) {
        n.entries = true;
        n.key = range_union(args[1].key, args[2].key);
        n.value = range_union(args[1].value, args[2].value);
    }
    return n;
}

static struct cost_node cost_call(struct coster *c, const struct expr *e)
{
    struct cost_node args[CEL_ARGS] = {0}, n = {0};
    struct cost_range of_args = {0, 0}, own = {UINT64_MAX, 0};
    for (uint32_t i = 0; i < e->n && i < CEL_ARGS; i++) {
        args[i] = cost_expr(c, e->args[i]);
        of_args = range_add(of_args, args[i].cost);
    }
    if (e->op == OP_AND || e->op == OP_OR) {
        n.cost = (struct cost_range){args[0].cost.min, cost_plus(args[0].cost.max, args[1].cost.max)};
        return n;
    }
    if (e->op == OP_IF)
        return cost_if(c, e, args);
    if (str_eqz(e->name, "dyn")) {
        n = args[0];
        n.path = false;
        n.sized = known_size(c, e->args[0], &args[0], &n.size);
        n.cost = range_add(args[0].cost, range_of(1));
        return n;
    }
    struct cost_call call = {e, args, {0}, {0}, c};
    call.self = e->n ? size_of(c, e->args[0], &args[0]) : range_of(0);
    call.last = e->n ? size_of(c, e->args[e->n - 1], &args[e->n - 1]) : range_of(0);
    struct cost_range size = {UINT64_MAX, 0};
    bool sized = false;
    for (uint32_t i = 0; i < e->nrows; i++) {
        n.sized = false;
        own = range_union(own, call_estimate(&call, e->rows[i]->cost, &n));
        if (n.sized) {
            size = range_union(size, n.size);
            sized = true;
        }
    }
    n.sized = sized;
    n.size = size;
    if (e->op == OP_OPT_SELECT)
        own = range_of(1);
    if (e->op == OP_INDEX)
        index_result(&call, &n);
    n.cost = range_add(of_args, own);
    return n;
}

static struct cost_node cost_literal_of(struct coster *c, const struct expr *e, uint64_t base)
{
    struct cost_node n = {.entries = true, .key = {UINT64_MAX, 0}, .value = {UINT64_MAX, 0}};
    bool map = e->kind == EXPR_MAP;
    if (!e->n)
        n.key.min = n.value.min = 0;
    for (uint32_t i = 0; i < e->n; i++) {
        struct cost_node item = cost_expr(c, e->args[i]);
        struct cost_range size = size_of(c, e->args[i], &item);
        n.cost = range_add(n.cost, item.cost);
        struct cost_range *into = map && i % 2 == 0 ? &n.key : &n.value;
        *into = range_union(*into, size);
    }
    if (!map)
        n.key = range_of(1);
    n.cost = range_add(n.cost, range_of(base));
    return n;
}

/* What a variable of a loop is. */
static struct cost_node loop_var(const struct cost_node *range, const struct cel_type *type, bool key)
{
    struct cost_node n = {.sized = range->entries, .size = key ? range->key : range->value};
    step_path(&n, range, 0);
    if (type->kind == CT_LIST && key) {
        n.decl = NULL; /* indices */
        n.root = !range->path;
    } else if (type->kind == CT_MAP && !key) {
        step_path(&n, range, 1);
    }
    return n;
}

static struct cost_node cost_fold(struct coster *c, const struct expr *e)
{
    const struct expr_fold *fold = e->fold;
    struct cost_node range = cost_expr(c, fold->range), init = cost_expr(c, fold->init), n = {0};
    struct cost_range sum = range_add(range.cost, init.cost);
    struct cost_scope *outer = c->scope, acc = {fold->acc, init, outer}, var, var2;
    acc.node.sized = known_size(c, fold->init, &init, &acc.node.size);
    if (fold->bind) {
        c->scope = &acc;
        n = cost_expr(c, fold->result);
        n.sized = known_size(c, fold->result, &n, &n.size);
        n.path = false;
        c->scope = outer;
        n.cost = range_add(sum, n.cost);
        return n;
    }
    bool map = fold->range->type->kind == CT_MAP;
    var = (struct cost_scope){fold->var, loop_var(&range, fold->range->type, fold->var2.n || map), &acc};
    var2 = (struct cost_scope){fold->var2, loop_var(&range, fold->range->type, false), &var};
    acc.node.sized = acc.node.sized && fold->init->kind == EXPR_LITERAL;
    c->scope = fold->var2.n ? &var2 : &var;
    struct cost_node condition = cost_expr(c, fold->condition), step = cost_expr(c, fold->step);
    c->scope = &acc;
    sum = range_add(sum, cost_expr(c, fold->result).cost);
    c->scope = outer;
    struct cost_range count = size_of(c, fold->range, &range);
    n.cost = range_add(sum, range_times(count, range_add(step.cost, condition.cost)));
    n.sized = true;
    n.size = fold->init->kind == EXPR_LITERAL ? range_of(1) : count;
    if (fold->init->kind != EXPR_LITERAL && step.entries) {
        n.entries = true;
        n.key = step.key;
        n.value = step.value;
    }
    return n;
}

static struct cost_node cost_expr(struct coster *c, const struct expr *e)
{
    struct cost_node none = {0};
    switch ((enum expr_kind)e->kind) {
    case EXPR_IDENT: return cost_ident(c, e);
    case EXPR_SELECT: return cost_select(c, e);
    case EXPR_CALL: return cost_call(c, e);
    case EXPR_LIST: return cost_literal_of(c, e, COST_LIST);
    case EXPR_MAP: return cost_literal_of(c, e, COST_MAP);
    case EXPR_FOLD: return cost_fold(c, e);
    case EXPR_STRUCT: none.cost = range_of(COST_STRUCT); break;
    case EXPR_NONE:
    case EXPR_LITERAL: break;
    }
    return none;
}

void cel_estimate(const struct cel_env *env, const struct expr *root, uint64_t *min, uint64_t *max)
{

    struct coster c = {.env = env};
    struct cost_range cost = cost_expr(&c, root).cost;
    *min = cost.min;
    *max = cost.max;
}
