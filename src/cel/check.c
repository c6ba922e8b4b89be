#include "cel/check.h"
#include "base/array.h"
#include "cel/libraries.h"
#include "cel/run.h"
#include "cel/schema_types.h"
#include <string.h>

struct check_scope {
    struct str name;
    const struct cel_type *type;
    uint32_t slot;
    struct check_scope *outer;
};

struct checker {
    struct arena *a;     /* of the program */
    struct arena *types; /* of types */
    const struct cel_env *env;
    struct cel_issues *issues;
    struct cel_program *out;
    struct cel_bindings bindings;
    struct check_scope *scope;
    const struct expr *operand; /* what a field is taken of */
    uint32_t vars, slots;       /* type variables and slots in use */
    ARRAY(struct cel_kept) kept;
    ARRAY(struct expr *) typed; /* whose types are to be made final, each with its overloads' */
};

static const struct cel_type *check_expr(struct checker *c, struct expr *e);

static const struct cel_type *check_resolve(struct checker *c, const struct cel_type *t)
{
    return cel_type_resolve(c->types, &c->bindings, t, false);
}

static const struct cel_type *check_var(struct checker *c)
{
    return cel_type_param(c->types, c->vars++);
}

static struct str type_text(struct checker *c, const struct cel_type *t)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    cel_type_add(&b, t);
    return str_dup(c->a, strbuf_str(&b));
}

static void check_mismatch(struct checker *c, const struct expr *e, const struct cel_type *want,
                           const struct cel_type *have)
{
    struct str w = type_text(c, want), h = type_text(c, have);
    cel_issue_add(c->issues, e->at, "expected type '" STR_FMT "' but found '" STR_FMT "'", STR_ARG(w), STR_ARG(h));
}

static void check_assert(struct checker *c, const struct expr *e, const struct cel_type *want)
{
    if (!cel_type_assignable(&c->bindings, want, e->type))
        check_mismatch(c, e, want, e->type);
}

static void check_undeclared(struct checker *c, const struct expr *e, struct str name)
{
    cel_issue_add(c->issues, e->at, "undeclared reference to '" STR_FMT "' (in container '')", STR_ARG(name));
}

struct str expr_qualified(struct arena *a, const struct expr *e)
{
    if (e->kind == EXPR_IDENT)
        return e->name;
    if (e->kind != EXPR_SELECT || e->test)
        return STR_NONE;
    struct str head = expr_qualified(a, e->args[0]);
    return head.p ? arena_fmt(a, STR_FMT "." STR_FMT, STR_ARG(head), STR_ARG(e->name)) : STR_NONE;
}

/* ---- names ---- */

/* Makes e a name for what is declared; false: nothing of that name is. */
static bool check_name(struct checker *c, struct expr *e, struct str name)
{
    bool global = name.n && *name.p == '.';
    if (global)
        name = str_sub(name, 1, name.n);
    for (struct check_scope *s = global ? NULL : c->scope; s; s = s->outer)
        if (str_eq(s->name, name)) {
            e->slot = s->slot;
            e->type = s->type;
            e->kind = EXPR_IDENT;
            e->name = name;
            return true;
        }
    for (size_t i = 0; i < c->env->n; i++)
        if (str_eq(c->env->variables[i].name, name)) {
            e->slot = (uint32_t)i;
            e->type = c->env->variables[i].type;
            e->kind = EXPR_IDENT;
            e->name = name;
            c->out->uses |= (uint64_t)1 << i;
            return true;
        }
    const struct cel_type *named = cel_type_named(c->a, name);
    if (!named)
        return false;
    struct cel_type type = {CT_TYPE, 1, .name = "type", .of = {named}};
    e->kind = EXPR_IDENT;
    e->name = name;
    e->slot = UINT32_MAX;
    e->type = arena_dup(c->types, &type, sizeof type);
    e->value = (struct cel_value){.kind = CEL_TYPE, .type = named};
    return true;
}

static const struct cel_type *check_ident(struct checker *c, struct expr *e)
{
    if (check_name(c, e, e->name)) {
        if (e->slot < c->env->n && c->env->variables[e->slot].parts && c->operand != e) {
            cel_issue_add(c->issues, e->at, "'" STR_FMT "' stands for nothing without a field", STR_ARG(e->name));
            return &cel_type_error;
        }
        return e->type;
    }
    check_undeclared(c, e, e->name);
    return &cel_type_error;
}

/* ---- fields ---- */

static const struct cel_type *check_field(struct checker *c, struct expr *e, struct expr *operand, struct str field,
                                          bool optional)
{
    c->operand = operand;
    check_expr(c, operand);
    const struct cel_type *t = check_resolve(c, operand->type), *result = &cel_type_error;
    bool was_optional = cel_type_is_optional(t);
    if (was_optional)
        t = t->of[0];
    const struct cel_field *f;
    switch ((enum cel_type_kind)t->kind) {
    case CT_MAP: result = t->of[1]; break;
    case CT_STRUCT:
        if (cel_type_is_open(t)) {
            result = &cel_type_dyn;
            break;
        }
        f = cel_type_field(t, field);
        if (!f && cel_reserved(field))
            f = cel_type_field(t, arena_fmt(c->a, "__" STR_FMT "__", STR_ARG(field)));
        if (f) {
            result = f->type;
            e->field = f->key;
        } else {
            cel_issue_add(c->issues, e->at, "undefined field '" STR_FMT "'", STR_ARG(field));
        }
        break;
    case CT_PARAM:
        (void)cel_type_assignable(&c->bindings, &cel_type_dyn, t);
        result = &cel_type_dyn;
        break;
    case CT_ERROR:
    case CT_DYN: result = &cel_type_dyn; break;
    case CT_NULL:
    case CT_BOOL:
    case CT_INT:
    case CT_UINT:
    case CT_DOUBLE:
    case CT_STRING:
    case CT_BYTES:
    case CT_DURATION:
    case CT_TIMESTAMP:
    case CT_LIST:
    case CT_TYPE:
    case CT_OPAQUE: {
        struct str text = type_text(c, t);
        cel_issue_add(c->issues, e->at, "type '" STR_FMT "' does not support field selection", STR_ARG(text));
        result = &cel_type_dyn;
    }
    }
    return was_optional || optional ? cel_type_optional(c->types, result) : result;
}

static const struct cel_type *check_select(struct checker *c, struct expr *e)
{
    struct str name = expr_qualified(c->a, e);
    if (name.p && check_name(c, e, name))
        return e->type;
    const struct cel_type *t = check_field(c, e, e->args[0], e->name, false);
    return e->test ? &cel_type_bool : check_resolve(c, t);
}

/* ---- calls ---- */

static bool library_there(const struct cel_env *env, const struct cel_library *lib)
{
    if (lib == &cel_lib_patch)
        return env->patches;
    for (const char *const *w = env->without; w && *w; w++)
        if (strcmp(*w, lib->name) == 0)
            return false;
    return true;
}

#define check_each_row(f, c, called)                                                                                 \
    for (const struct cel_library *const *lib_ = cel_libraries; *lib_; lib_++)                                       \
        if (library_there((c)->env, *lib_))                                                                          \
            for (const struct cel_function *f = (*lib_)->functions; f < (*lib_)->functions + (*lib_)->n; f++)        \
                if (str_eqz((called), f->name))

static bool function_known(struct checker *c, struct str name)
{
    check_each_row(f, c, name)
    {
        return true;
    }
    return false;
}

static enum expr_op operation_of(struct str name)
{
    static const struct {
        const char *name;
        uint8_t op;
    } operations[] = {
        {"_&&_", OP_AND},        {"_||_", OP_OR},
        {"_?_:_", OP_IF},        {"_[_]", OP_INDEX},
        {"_[?_]", OP_OPT_INDEX}, {"_?._", OP_OPT_SELECT},
        {"_==_", OP_EQ},         {"_!=_", OP_NE},
        {"!_", OP_NOT},          {"@not_strictly_false", OP_NOT_FALSE},
    };
    for (size_t i = 0; i < countof(operations); i++)
        if (str_eqz(name, operations[i].name))
            return operations[i].op;
    return OP_CALL;
}

static void no_overload(struct checker *c, const struct expr *e, struct str name)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    for (uint32_t i = 0; i < e->n; i++) {
        if (i == 0 && !e->method)
            strbuf_addc(&b, '(');
        if (i > (e->method ? 1 : 0))
            strbuf_addz(&b, ", ");
        cel_type_add(&b, cel_type_resolve(c->types, &c->bindings, e->args[i]->type, true));
        if (i == 0 && e->method)
            strbuf_addz(&b, ".(");
    }
    strbuf_addz(&b, e->n || e->method ? ")" : "()");
    struct str types = strbuf_str(&b);
    cel_issue_add(c->issues, e->at, "found no matching overload for '" STR_FMT "' applied to '" STR_FMT "'",
                  STR_ARG(name), STR_ARG(types));
}

/* && and ||: each side is a bool. */
static const struct cel_type *check_logic(struct checker *c, struct expr *e)
{
    bool wrong = false;
    for (uint32_t i = 0; i < e->n; i++)
        if (!cel_type_assignable(&c->bindings, e->args[i]->type, &cel_type_bool)) {
            check_mismatch(c, e->args[i], &cel_type_bool, check_resolve(c, e->args[i]->type));
            wrong = true;
        }
    return wrong ? &cel_type_error : &cel_type_bool;
}

/* Finds the rows that take these arguments. */
static const struct cel_type *check_rows(struct checker *c, struct expr *e, struct str name)
{
    if (e->op == OP_AND || e->op == OP_OR)
        return check_logic(c, e);
    const struct cel_function *rows[64];
    struct expr_masks masks[64];
    const struct cel_type *args[CEL_ARGS], *result = NULL;
    uint32_t n = 0;
    for (uint32_t i = 0; i < e->n && i < CEL_ARGS; i++)
        args[i] = e->args[i]->type;
    check_each_row(f, c, name)
    {
        struct cel_signature s;
        if ((*f->type != '(') != e->method || n == countof(rows) || e->n > CEL_ARGS)
            continue;
        cel_signature_read(c->types, f->type, &c->vars, &s);
        if (s.n != e->n || !cel_types_assignable(&c->bindings, e->n, args, s.args))
            continue;
        const struct cel_type *t = check_resolve(c, s.result);
        for (uint32_t i = 0; i < e->n; i++) {
            masks[n].kinds[i] = cel_type_kinds(s.args[i]);
            masks[n].opaque[i] = s.args[i]->kind == CT_OPAQUE && s.args[i]->n == 0 ? s.args[i]->name : NULL;
        }
        rows[n++] = f;
        if (!result)
            result = t;
        else if (result->kind != CT_DYN && !cel_type_same(t, result))
            result = &cel_type_dyn;
    }
    if (!result) {
        no_overload(c, e, name);
        return &cel_type_error;
    }
    e->rows = arena_dup(c->a, rows, n * sizeof *rows);
    e->masks = arena_dup(c->a, masks, n * sizeof *masks);
    e->nrows = n;
    return result;
}

static const struct cel_type *check_call(struct checker *c, struct expr *e)
{
    e->op = (uint8_t)operation_of(e->name);
    if (e->op == OP_OPT_SELECT) {
        e->args[1]->type = &cel_type_string;
        return check_resolve(c, check_field(c, e, e->args[0], cel_text(e->args[1]->value), true));
    }
    for (uint32_t i = e->method; i < e->n; i++)
        check_expr(c, e->args[i]);
    struct str name = e->name;
    if (name.n && *name.p == '.')
        name = str_sub(name, 1, name.n);
    if (e->method) {
        struct str space = expr_qualified(c->a, e->args[0]);
        struct str whole = space.p ? arena_fmt(c->a, STR_FMT "." STR_FMT, STR_ARG(space), STR_ARG(name)) : STR_NONE;
        if (whole.p && *whole.p == '.')
            whole = str_sub(whole, 1, whole.n);
        if (whole.p && function_known(c, whole)) { /* a function with a dot in its name, after all */
            e->method = false;
            e->args++;
            e->n--;
            e->name = whole;
            return check_rows(c, e, whole);
        }
        check_expr(c, e->args[0]);
    }
    if (!function_known(c, name)) {
        check_undeclared(c, e, name);
        return &cel_type_error;
    }
    return check_rows(c, e, name);
}

/* ---- literals ---- */

/* The type of all elements so far and one more: dyn of different ones, which check_literals refuses where they may
 * not be mixed. */
static const struct cel_type *check_join(struct checker *c, const struct cel_type *before, const struct cel_type *t)
{
    if (!before)
        return t;
    return cel_type_assignable(&c->bindings, before, t) ? cel_type_general(before, t) : &cel_type_dyn;
}

/* What an element with '?' gives: what its optional holds. */
static const struct cel_type *check_unwrap(struct checker *c, const struct expr *e, bool optional)
{
    const struct cel_type *t = e->type;
    if (!optional)
        return t;
    if (cel_type_is_optional(t))
        return t->of[0];
    if (t->kind != CT_DYN)
        check_mismatch(c, e, cel_type_optional(c->types, t), t);
    return t;
}

static const struct cel_type *check_list(struct checker *c, struct expr *e)
{
    const struct cel_type *of = NULL;
    for (uint32_t i = 0; i < e->n; i++) {
        check_expr(c, e->args[i]);
        of = check_join(c, of, check_unwrap(c, e->args[i], e->args[i]->optional));
    }
    return cel_type_list(c->types, of ? of : check_var(c));
}

static const struct cel_type *check_map(struct checker *c, struct expr *e)
{
    const struct cel_type *key = NULL, *value = NULL;
    for (uint32_t i = 0; i < e->n; i += 2) {
        check_expr(c, e->args[i]);
        key = check_join(c, key, e->args[i]->type);
        check_expr(c, e->args[i + 1]);
        value = check_join(c, value, check_unwrap(c, e->args[i + 1], e->args[i]->optional));
    }
    const struct cel_type *k = key ? key : check_var(c);
    return cel_type_map(c->types, k, value ? value : check_var(c));
}

/* The fields of Object{...} and JSONPatch{...}. */
static const struct cel_type *check_entries(struct checker *c, struct expr *e, const struct cel_type *t)
{
    for (uint32_t i = 0; i < e->n; i += 2) {
        const struct expr *key = e->args[i];
        const struct cel_field *f = cel_type_is_open(t) ? NULL : cel_type_field(t, key->name);
        check_expr(c, e->args[i + 1]);
        if (!f && !cel_type_is_open(t)) {
            cel_issue_add(c->issues, key->at, "undefined field '" STR_FMT "'", STR_ARG(key->name));
            continue;
        }
        const struct cel_type *want = f ? f->type : &cel_type_dyn;
        const struct cel_type *have = check_unwrap(c, e->args[i + 1], key->optional);
        if (cel_type_assignable(&c->bindings, want, have))
            continue;
        struct str w = type_text(c, want), h = type_text(c, have);
        cel_issue_add(c->issues, key->at,
                      "expected type of field '" STR_FMT "' is '" STR_FMT "' but provided type is '" STR_FMT "'",
                      STR_ARG(key->name), STR_ARG(w), STR_ARG(h));
    }
    return t;
}

static const struct cel_type *check_struct(struct checker *c, struct expr *e)
{
    const struct cel_type *made = !c->env->patches                ? NULL
                                  : str_eqz(e->name, "JSONPatch") ? &cel_type_json_patch
                                                                  : cel_type_object(c->types, e->name);
    if (made)
        return check_entries(c, e, made);
    struct expr type = {.at = e->at};
    if (check_name(c, &type, e->name)) {
        struct str text = type_text(c, type.type);
        cel_issue_add(c->issues, e->at, "'" STR_FMT "' is not a %s", STR_ARG(text),
                      type.type->kind == CT_TYPE ? "message type" : "type");
    } else {
        check_undeclared(c, e, e->name);
    }
    return &cel_type_error;
}

static const struct cel_type *check_literal(const struct expr *e)
{
    switch ((enum cel_kind)e->value.kind) {
    case CEL_NULL: return &cel_type_null;
    case CEL_BOOL: return &cel_type_bool;
    case CEL_INT: return &cel_type_int;
    case CEL_UINT: return &cel_type_uint;
    case CEL_DOUBLE: return &cel_type_double;
    case CEL_STRING: return &cel_type_string;
    case CEL_BYTES: return &cel_type_bytes;
    case CEL_ERROR:
    case CEL_DURATION:
    case CEL_TIMESTAMP:
    case CEL_LIST:
    case CEL_MAP:
    case CEL_TYPE:
    case CEL_OPTIONAL:
    case CEL_OPAQUE:
    case CEL_KINDS: break;
    }
    return &cel_type_dyn;
}

/* ---- loops ---- */

static void range_types(struct checker *c, const struct expr_fold *fold, const struct cel_type **first,
                        const struct cel_type **second)
{
    const struct cel_type *range = check_resolve(c, fold->range->type);
    switch ((enum cel_type_kind)range->kind) {
    case CT_LIST:
        *first = fold->var2.n ? &cel_type_int : range->of[0];
        *second = range->of[0];
        return;
    case CT_MAP:
        *first = range->of[0];
        *second = range->of[1];
        return;
    case CT_DYN:
    case CT_ERROR:
    case CT_PARAM:
        (void)cel_type_assignable(&c->bindings, &cel_type_dyn, range);
        *first = *second = &cel_type_dyn;
        return;
    case CT_NULL:
    case CT_BOOL:
    case CT_INT:
    case CT_UINT:
    case CT_DOUBLE:
    case CT_STRING:
    case CT_BYTES:
    case CT_DURATION:
    case CT_TIMESTAMP:
    case CT_TYPE:
    case CT_OPAQUE:
    case CT_STRUCT: break;
    }
    struct str text = type_text(c, range);
    cel_issue_add(c->issues, fold->range->at,
                  "expression of type '" STR_FMT
                  "' cannot be range of a comprehension (must be list, map, or dynamic)",
                  STR_ARG(text));
    *first = *second = &cel_type_error;
}

static const struct cel_type *check_fold(struct checker *c, struct expr *e)
{
    struct expr_fold *fold = e->fold;
    check_expr(c, fold->range);
    check_expr(c, fold->init);
    const struct cel_type *first, *second, *acc = fold->init->type;
    range_types(c, fold, &first, &second);
    struct check_scope *outer = c->scope;
    uint32_t slots = c->slots;
    fold->acc_slot = slots;
    fold->slot = slots + 1;
    c->slots += fold->var2.n ? 3 : 2;
    c->out->nslots = MAX(c->out->nslots, c->slots);
    struct check_scope of_acc = {fold->acc, acc, fold->acc_slot, outer};
    struct check_scope of_var = {fold->var, first, fold->slot, &of_acc};
    struct check_scope of_var2 = {fold->var2, second, fold->slot + 1, &of_var};
    c->scope = fold->var2.n ? &of_var2 : &of_var;
    check_expr(c, fold->condition);
    check_assert(c, fold->condition, &cel_type_bool);
    check_expr(c, fold->step);
    check_assert(c, fold->step, acc);
    c->scope = &of_acc;
    check_expr(c, fold->result);
    c->scope = outer;
    c->slots = slots;
    return check_resolve(c, fold->result->type);
}

static const struct cel_type *check_expr(struct checker *c, struct expr *e)
{
    array_push(&c->typed, e);
    switch ((enum expr_kind)e->kind) {
    case EXPR_LITERAL: return e->type = check_literal(e);
    case EXPR_IDENT: return e->type = check_ident(c, e);
    case EXPR_SELECT: return e->type = check_select(c, e);
    case EXPR_CALL: return e->type = check_call(c, e);
    case EXPR_LIST: return e->type = check_list(c, e);
    case EXPR_MAP: return e->type = check_map(c, e);
    case EXPR_STRUCT: return e->type = check_struct(c, e);
    case EXPR_FOLD: return e->type = check_fold(c, e);
    case EXPR_NONE: break;
    }
    return e->type = &cel_type_error;
}

/* ---- once the types are known ---- */

/* One type throughout a literal: that of its first element, to the letter. */
static void same_throughout(struct checker *c, const struct expr *e, uint32_t from, uint32_t step)
{
    const struct cel_type *first = NULL;
    for (uint32_t i = from; i < e->n; i += step) {
        const struct cel_type *t = e->args[i]->type;
        if (e->args[i - (step == 2 ? from : 0)]->optional && from == step - 1 && cel_type_is_optional(t))
            t = t->of[0];
        if (first && !cel_type_same(first, t)) {
            check_mismatch(c, e->args[i], first, t);
            return;
        }
        first = first ? first : t;
    }
}

/* Arguments of string.format may be of many types. */
static void check_literals(struct checker *c, const struct expr *e, bool free)
{
    if (e->kind == EXPR_LIST && !free)
        same_throughout(c, e, 0, 1);
    if (e->kind == EXPR_MAP && !free) {
        same_throughout(c, e, 0, 2);
        same_throughout(c, e, 1, 2);
    }
    bool format = free || (e->kind == EXPR_CALL && e->method && str_eqz(e->name, "format"));
    for (uint32_t i = 0; i < e->n; i++)
        check_literals(c, e->args[i], format);
    if (!e->fold)
        return;
    check_literals(c, e->fold->range, free);
    check_literals(c, e->fold->init, free);
    check_literals(c, e->fold->condition, free);
    check_literals(c, e->fold->step, free);
    check_literals(c, e->fold->result, free);
}

/* What a call can do once: a pattern compiled, a duration read. */
static void check_prepare(struct checker *c, struct expr *e)
{
    const struct cel_function *f = e->nrows == 1 ? e->rows[0] : NULL;
    struct expr *last = e->n ? e->args[e->n - 1] : NULL;
    if (!f || !f->prepare || last->kind != EXPR_LITERAL)
        return;
    struct err err = ERR;
    void *kept = f->prepare(last->value, &err);
    if (err.kind) {
        cel_issue_add(c->issues, last->at, "invalid %s argument", f->name);
        return;
    }
    e->prepared = kept;
    if (kept && f->release)
        array_push(&c->kept, ((struct cel_kept){kept, f->release}));
}

/* A list or map of constants is made once. */
static void check_constant(struct checker *c, struct expr *e)
{
    for (uint32_t i = 0; i < e->n; i++)
        if ((e->args[i]->kind != EXPR_LITERAL && !e->args[i]->constant) || e->args[i]->optional)
            return;
    struct cel_run run = {.arena = c->a, .limit = UINT64_MAX};
    struct cel_list *list = e->kind == EXPR_LIST ? cel_list_new(&run, e->n) : NULL;
    struct cel_map *map = list ? NULL : cel_map_new(&run, e->n / 2);
    for (uint32_t i = 0; i < e->n; i += list ? 1 : 2) {
        if (list)
            cel_list_add(&run, list, e->args[i]->value);
        else if (!cel_map_add(&run, map, e->args[i]->value, e->args[i + 1]->value) ||
                 !(1u << e->args[i]->value.kind &
                   (1u << CEL_STRING | 1u << CEL_INT | 1u << CEL_UINT | 1u << CEL_BOOL)))
            return; /* that is an error when it runs */
    }
    e->value = list ? cel_list_of(list) : cel_map_of(map);
    e->constant = true;
}

/* Whether no argument can turn out to be of another type. */
static bool arguments_certain(const struct expr *e)
{
    for (uint32_t i = 0; i < e->n; i++)
        if (cel_type_is_free(e->args[i]->type))
            return false;
    return true;
}

bool cel_check(struct arena *a, const struct cel_env *env, struct expr *root, struct cel_issues *issues,
               struct cel_program *out)
{
    struct checker c = {.a = a, .types = env->types ? env->types : a, .env = env, .issues = issues, .out = out};
    c.slots = out->nslots = (uint32_t)env->n;
    check_expr(&c, root);
    for (size_t i = 0; i < c.typed.n; i++)
        c.typed.p[i]->type = cel_type_resolve(c.types, &c.bindings, c.typed.p[i]->type, true);
    if (!issues->n)
        check_literals(&c, root, false);
    for (size_t i = c.typed.n; i-- && !issues->n;) { /* inner ones first */
        struct expr *e = c.typed.p[i];
        if (e->kind == EXPR_CALL)
            check_prepare(&c, e);
        if (e->kind == EXPR_CALL && e->nrows == 1 && arguments_certain(e))
            e->masks = NULL;
        if (e->kind == EXPR_LIST || e->kind == EXPR_MAP)
            check_constant(&c, e);
    }
    out->root = root;
    out->type = root->type;
    out->nkept = c.kept.n;
    out->kept = arena_dup(a, c.kept.p, c.kept.n * sizeof *c.kept.p);
    array_fini(&c.kept);
    array_fini(&c.typed);
    cel_bindings_fini(&c.bindings);
    return !issues->n;
}
