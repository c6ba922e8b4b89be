/* Walks the tree. Values go by value, so that an operation on scalars allocates nothing. What is counted is
 * upstream's: one for a variable, a field, an index; calls by their row; ten for a list, thirty for a map; nothing
 * for constants. */
#include "cel/eval.h"
#include "api/schema.h"
#include "cel/type.h"
#include <math.h>
#include <string.h>

enum { COST_LIST = 10, COST_MAP = 30, COST_STRUCT = 40 };

struct cel_value cel_no_overload(struct cel_run *run, const char *name)
{
    (void)name;
    return cel_error(run, "no such overload");
}

static struct cel_value add_cost(struct cel_run *run, uint64_t cost, struct cel_value v)
{
    run->cost += cost;
    if (run->cost <= run->limit)
        return v;
    run->over = true;
    static const char text[] = "operation cancelled: actual cost limit exceeded";
    return (struct cel_value){.kind = CEL_ERROR, .n = sizeof text - 1, .text = text};
}

static const char *add_text(struct cel_run *run, struct cel_value v)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    switch ((enum cel_kind)v.kind) {
    case CEL_STRING: strbuf_add(&b, cel_text(v)); break;
    case CEL_INT: strbuf_addf(&b, "%lld", (long long)v.i); break;
    case CEL_UINT: strbuf_addf(&b, "%llu", (unsigned long long)v.u); break;
    case CEL_DOUBLE: cel_add_double(&b, v.d); break;
    case CEL_BOOL: strbuf_addz(&b, v.b ? "true" : "false"); break;
    case CEL_ERROR:
    case CEL_NULL:
    case CEL_BYTES:
    case CEL_DURATION:
    case CEL_TIMESTAMP:
    case CEL_LIST:
    case CEL_MAP:
    case CEL_TYPE:
    case CEL_OPTIONAL:
    case CEL_OPAQUE:
    case CEL_KINDS: strbuf_addz(&b, cel_type_name(v)); break;
    }
    return arena_strz(run->arena, strbuf_str(&b));
}

/* ---- fields and elements ---- */

static struct cel_value no_such_key(struct cel_run *run, struct str name)
{
    return cel_error(run, "no such key: " STR_FMT, STR_ARG(name));
}

/* The member; false: it is not there, or v has none (then *out is an error). */
static bool find_member(struct cel_run *run, const struct expr *e, struct cel_value v, struct cel_value *out)
{
    if (v.kind == CEL_MAP && v.tree && e->field) {
        const struct val *found = val_get(v.val, e->field);
        bool fields = v.schema && v.schema->type.kind == TYPE_STRUCT;
        if (!found || (fields && found->type == VAL_NULL)) /* a field that is null is as one that is not there */
            return false;
        const struct field *f = fields ? schema_property(v.schema, e->field) : NULL;
        *out = cel_of_val(run, found, f ? schema_node(f->type) : NULL);
        return true;
    }
    if (v.kind == CEL_MAP)
        return cel_map_find(run, v, cel_string(e->name), out);
    *out = cel_no_overload(run, "select");
    return v.kind == CEL_ERROR ? (*out = v, false) : false;
}

static struct cel_value eval_select(struct cel_run *run, const struct expr *e)
{
    struct cel_value v = cel_eval(run, e->args[0]), out = {.kind = CEL_NULL};
    if (v.kind == CEL_ERROR)
        return v;
    bool optional = v.kind == CEL_OPTIONAL;
    if (optional && !v.inner)
        return e->test ? cel_bool(false) : v;
    if (optional)
        v = *v.inner;
    bool found = find_member(run, e, v, &out);
    if (!found && out.kind == CEL_ERROR)
        return out;
    if (e->test)
        return cel_bool(found);
    if (optional)
        return add_cost(run, 1, found ? cel_some(run, out) : cel_none());
    return found ? add_cost(run, 1, out) : no_such_key(run, e->name);
}

/* v[key]; false: not there, and *out says why. */
static bool find_index(struct cel_run *run, struct cel_value v, struct cel_value key, struct cel_value *out)
{
    if (v.kind == CEL_MAP) {
        if (cel_map_find(run, v, key, out))
            return true;
        *out = cel_error(run, "no such key: %s", add_text(run, key));
        return false;
    }
    if (v.kind != CEL_LIST) {
        *out = cel_no_overload(run, "_[_]");
        return false;
    }
    int64_t i = key.i;
    bool whole = key.kind == CEL_INT || (key.kind == CEL_UINT && key.u <= INT64_MAX);
    if (key.kind == CEL_DOUBLE && key.d == floor(key.d) && fabs(key.d) < 9e15) {
        i = (int64_t)key.d;
        whole = true;
    }
    if (!whole && key.kind != CEL_UINT) {
        *out = cel_error(run, "unsupported index type '%s' in list", cel_type_name(key));
        return false;
    }
    if (!whole || i < 0 || (size_t)i >= cel_list_len(v)) {
        *out = cel_error(run, "index out of bounds: %s", add_text(run, key));
        return false;
    }
    *out = cel_list_at(run, v, (size_t)i);
    return true;
}

static struct cel_value eval_index(struct cel_run *run, const struct expr *e)
{
    struct cel_value v = cel_eval(run, e->args[0]), out;
    if (v.kind == CEL_ERROR)
        return v;
    struct cel_value key = cel_eval(run, e->args[1]);
    if (key.kind == CEL_ERROR)
        return key;
    bool inside = v.kind == CEL_OPTIONAL, optional = inside || e->op == OP_OPT_INDEX;
    if (inside && !v.inner)
        return v;
    bool found = find_index(run, inside ? *v.inner : v, key, &out);
    if (optional)
        out = found ? cel_some(run, out) : cel_none();
    return found || optional ? add_cost(run, 1, out) : out;
}

static struct cel_value eval_opt_select(struct cel_run *run, const struct expr *e)
{
    struct cel_value v = cel_eval(run, e->args[0]), out = {.kind = CEL_NULL};
    if (v.kind == CEL_ERROR)
        return v;
    if (v.kind == CEL_OPTIONAL) {
        if (!v.inner)
            return v;
        v = *v.inner;
    }
    struct expr select = {.name = cel_text(e->args[1]->value), .field = e->field};
    bool found = find_member(run, &select, v, &out);
    if (!found && out.kind == CEL_ERROR)
        return out;
    return add_cost(run, 1, found ? cel_some(run, out) : cel_none());
}

/* ---- literals ---- */

static struct cel_value eval_list(struct cel_run *run, const struct expr *e)
{
    struct cel_list *list = cel_list_new(run, e->n);
    for (uint32_t i = 0; i < e->n; i++) {
        struct cel_value v = cel_eval(run, e->args[i]);
        if (v.kind == CEL_ERROR)
            return v;
        if (e->args[i]->optional) {
            if (v.kind != CEL_OPTIONAL)
                return cel_error(run, "cannot initialize optional list element from non-optional value %s",
                                 add_text(run, v));
            if (!v.inner)
                continue;
            v = *v.inner;
        }
        cel_list_add(run, list, v);
    }
    return add_cost(run, COST_LIST, cel_list_of(list));
}

static bool may_be_key(struct cel_value v)
{
    return v.kind == CEL_STRING || v.kind == CEL_INT || v.kind == CEL_UINT || v.kind == CEL_BOOL;
}

static struct cel_value eval_map(struct cel_run *run, const struct expr *e)
{
    struct cel_map *map = cel_map_new(run, e->n / 2);
    for (uint32_t i = 0; i < e->n; i += 2) {
        struct cel_value key = cel_eval(run, e->args[i]);
        if (key.kind == CEL_ERROR)
            return key;
        struct cel_value v = cel_eval(run, e->args[i + 1]);
        if (v.kind == CEL_ERROR)
            return v;
        if (e->args[i]->optional) {
            if (v.kind != CEL_OPTIONAL)
                return cel_error(run, "cannot initialize optional entry '%s' from non-optional value %s",
                                 add_text(run, key), add_text(run, v));
            if (!v.inner)
                continue;
            v = *v.inner;
        }
        if (!may_be_key(key))
            return cel_error(run, "unsupported key type: %s", cel_type_name(key));
        if (!cel_map_add(run, map, key, v))
            return cel_error(run, "failed to create map: duplicate key %s", add_text(run, key));
    }
    return add_cost(run, COST_MAP, cel_map_of(map));
}

/* Object{...}, JSONPatch{...} */
static struct cel_value eval_struct(struct cel_run *run, const struct expr *e)
{
    struct cel_map *map = cel_map_new(run, e->n / 2);
    map->type = e->type->name;
    for (uint32_t i = 0; i < e->n; i += 2) {
        struct cel_value v = cel_eval(run, e->args[i + 1]);
        if (v.kind == CEL_ERROR)
            return v;
        if (e->args[i]->optional) {
            if (v.kind != CEL_OPTIONAL)
                return cel_error(run, "cannot initialize optional entry '" STR_FMT "' from non-optional value %s",
                                 STR_ARG(e->args[i]->name), add_text(run, v));
            if (!v.inner)
                continue;
            v = *v.inner;
        }
        (void)cel_map_add(run, map, cel_string(e->args[i]->name), v);
    }
    return add_cost(run, COST_STRUCT, cel_map_of(map));
}

/* ---- logic ---- */

/* && stops at false, || at true; an error counts only where the other side does not decide. */
static struct cel_value eval_logic(struct cel_run *run, const struct expr *e, bool decides)
{
    struct cel_value a = cel_eval(run, e->args[0]);
    if ((a.kind == CEL_BOOL && a.b == decides) || run->over)
        return a;
    struct cel_value b = cel_eval(run, e->args[1]);
    if (run->over || (b.kind == CEL_BOOL && b.b == decides))
        return b;
    if (a.kind == CEL_BOOL && b.kind == CEL_BOOL)
        return b;
    if (a.kind == CEL_ERROR)
        return a;
    return b.kind == CEL_ERROR ? b : cel_no_overload(run, decides ? "_||_" : "_&&_");
}

static struct cel_value eval_if(struct cel_run *run, const struct expr *e)
{
    struct cel_value test = cel_eval(run, e->args[0]);
    if (test.kind == CEL_BOOL)
        return cel_eval(run, e->args[test.b ? 1 : 2]);
    return test.kind == CEL_ERROR ? test : cel_no_overload(run, "_?_:_");
}

static struct cel_value eval_equal(struct cel_run *run, const struct expr *e)
{
    struct cel_value args[] = {cel_eval(run, e->args[0]), {0}};
    if (args[0].kind == CEL_ERROR)
        return args[0];
    args[1] = cel_eval(run, e->args[1]);
    if (args[1].kind == CEL_ERROR)
        return args[1];
    bool equal = cel_equal(run, args[0], args[1]);
    struct cel_value result = cel_bool(e->op == OP_EQ ? equal : !equal);
    bool scalar = args[0].kind < CEL_STRING || args[0].kind == CEL_DURATION || args[0].kind == CEL_TIMESTAMP;
    return add_cost(run, scalar ? 1 : cel_call_cost(CEL_COST_EQUAL, run, args, 2, result), result);
}

static struct cel_value eval_not(struct cel_run *run, const struct expr *e)
{
    struct cel_value v = cel_eval(run, e->args[0]);
    if (v.kind == CEL_BOOL)
        return add_cost(run, 1, cel_bool(!v.b));
    return v.kind == CEL_ERROR ? v : cel_no_overload(run, "!_");
}

static struct cel_value eval_not_false(struct cel_run *run, const struct expr *e)
{
    struct cel_value v = cel_eval(run, e->args[0]);
    return run->over ? v : add_cost(run, 1, cel_bool(v.kind != CEL_BOOL || v.b));
}

/* ---- calls ---- */

/* The row that takes values of these kinds; nrows: none. */
static uint32_t fitting_row(const struct expr *e, const struct cel_value *args, size_t n)
{
    for (uint32_t i = 0; i < e->nrows; i++) {
        size_t k = 0;
        while (k < n && (e->masks[i].kinds[k] >> args[k].kind & 1) &&
               (args[k].kind != CEL_OPAQUE || !e->masks[i].opaque[k] ||
                strcmp(e->masks[i].opaque[k], args[k].opaque->name) == 0))
            k++;
        if (k == n)
            return i;
    }
    return e->nrows;
}

static struct cel_value eval_call(struct cel_run *run, const struct expr *e)
{
    struct cel_value args[CEL_ARGS];
    for (uint32_t i = 0; i < e->n; i++) {
        args[i] = cel_eval(run, e->args[i]);
        if (args[i].kind == CEL_ERROR)
            return args[i];
    }
    uint32_t row = 0;
    if (e->masks)
        row = fitting_row(e, args, e->n);
    if (row == e->nrows)
        return cel_no_overload(run, "");
    const struct cel_function *f = e->rows[row];
    struct cel_value result = f->run(run, args, e->n, e->prepared);
    return add_cost(run, f->cost == CEL_COST_ONE ? 1 : cel_call_cost(f->cost, run, args, e->n, result), result);
}

/* ---- loops ---- */

struct eval_loop {
    const struct expr_fold *fold;
    struct cel_value *acc, *var; /* var[1]: the second */
};

/* acc + [x] and its like where nothing else sees acc: x goes into it. */
static bool append_step(struct cel_run *run, const struct expr *step, struct cel_value *acc)
{
    if (step->op == OP_IF) {
        struct cel_value test = cel_eval(run, step->args[0]);
        if (test.kind != CEL_BOOL) {
            *acc = test.kind == CEL_ERROR ? test : cel_no_overload(run, "_?_:_");
            return false;
        }
        if (!test.b) {
            *acc = add_cost(run, 1, *acc);
            return acc->kind != CEL_ERROR;
        }
        step = step->args[1];
    }
    if (acc->kind == CEL_LIST) {
        struct cel_value v = cel_eval(run, step->args[1]->args[0]);
        if (v.kind == CEL_ERROR)
            *acc = v;
        else
            cel_list_add(run, acc->list, v);
        *acc = acc->kind == CEL_ERROR ? *acc : add_cost(run, 2 + COST_LIST, *acc);
        return acc->kind != CEL_ERROR;
    }
    struct cel_value args[3] = {*acc};
    for (uint32_t i = 1; i < step->n; i++) {
        args[i] = cel_eval(run, step->args[i]);
        if (args[i].kind == CEL_ERROR) {
            *acc = args[i];
            return false;
        }
    }
    size_t at = 0;
    struct cel_value key = args[1], value = args[2];
    while (step->n == 3 ? at++ == 0 : (args[1].kind == CEL_MAP && cel_map_next(run, args[1], &at, &key, &value))) {
        if (!may_be_key(key))
            *acc = cel_error(run, "unsupported key type: %s", cel_type_name(key));
        else if (!cel_map_add(run, acc->map, key, value))
            *acc = cel_error(run, "insert failed: key %s already exists", add_text(run, key));
        if (acc->kind == CEL_ERROR)
            return false;
    }
    *acc = add_cost(run, 2, *acc);
    return acc->kind != CEL_ERROR;
}

/* One turn; false: it ends here. */
static bool loop_turn(struct cel_run *run, const struct eval_loop *l)
{
    const struct expr_fold *fold = l->fold;
    if (fold->append) {
        return append_step(run, fold->step, l->acc);
    }
    struct cel_value go_on = cel_eval(run, fold->condition);
    if (run->over)
        *l->acc = go_on;
    if (run->over || (go_on.kind == CEL_BOOL && !go_on.b))
        return false;
    *l->acc = cel_eval(run, fold->step);
    return !run->over;
}

static struct cel_value eval_fold(struct cel_run *run, const struct expr *e)
{
    const struct expr_fold *fold = e->fold;
    struct eval_loop l = {fold, &run->slots[fold->acc_slot], &run->slots[fold->slot]};
    if (fold->bind) {
        struct cel_value v = add_cost(run, COST_LIST, cel_eval(run, fold->init));
        if (v.kind == CEL_ERROR && run->over)
            return v;
        *l.acc = v;
        return cel_eval(run, fold->result);
    }
    struct cel_value range = cel_eval(run, fold->range);
    if (range.kind == CEL_ERROR)
        return range;
    if (range.kind != CEL_LIST && range.kind != CEL_MAP)
        return cel_error(run, "got '%s', expected iterable type", cel_type_name(range));
    if (fold->append)
        *l.acc = fold->init->kind == EXPR_MAP ? cel_map_of(cel_map_new(run, 0)) : cel_list_of(cel_list_new(run, 0));
    else
        *l.acc = cel_eval(run, fold->init);
    run->cost += fold->append ? fold->init->kind == EXPR_MAP ? COST_MAP : COST_LIST : 0;
    bool two = fold->var2.n != 0, go_on = true;
    if (range.kind == CEL_LIST) {
        size_t n = cel_list_len(range);
        for (size_t i = 0; i < n && go_on; i++) {
            if (two)
                l.var[0] = cel_int((int64_t)i);
            l.var[two] = cel_list_at(run, range, i);
            go_on = loop_turn(run, &l);
        }
    } else {
        struct cel_value key, value;
        for (size_t at = 0; go_on && cel_map_next(run, range, &at, &key, &value);) {
            l.var[0] = key;
            if (two)
                l.var[1] = value;
            go_on = loop_turn(run, &l);
        }
    }
    return run->over || (l.acc->kind == CEL_ERROR && fold->append) ? *l.acc : cel_eval(run, fold->result);
}

struct cel_value cel_eval(struct cel_run *run, const struct expr *e)
{
    switch ((enum expr_kind)e->kind) {
    case EXPR_LITERAL: return e->value;
    case EXPR_IDENT: return e->slot == UINT32_MAX ? e->value : add_cost(run, 1, run->slots[e->slot]);
    case EXPR_SELECT: return eval_select(run, e);
    case EXPR_LIST: return e->constant ? e->value : eval_list(run, e);
    case EXPR_MAP: return e->constant ? e->value : eval_map(run, e);
    case EXPR_FOLD: return eval_fold(run, e);
    case EXPR_STRUCT: return eval_struct(run, e);
    case EXPR_NONE: return cel_error(run, "internal: an expression that was not checked");
    case EXPR_CALL: break;
    }
    switch ((enum expr_op)e->op) {
    case OP_CALL: return eval_call(run, e);
    case OP_AND: return eval_logic(run, e, false);
    case OP_OR: return eval_logic(run, e, true);
    case OP_IF: return eval_if(run, e);
    case OP_INDEX:
    case OP_OPT_INDEX: return eval_index(run, e);
    case OP_OPT_SELECT: return eval_opt_select(run, e);
    case OP_NOT_FALSE: return eval_not_false(run, e);
    case OP_EQ:
    case OP_NE: return eval_equal(run, e);
    case OP_NOT: return eval_not(run, e);
    }
    return cel_error(run, "internal: an unknown operation");
}
