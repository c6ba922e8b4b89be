#include "cel/rules.h"
#include "api/formats.h"
#include "cel/program.h"
#include "cel/run.h"
#include "cel/schema_types.h"
#include "cel/tell.h"
#include "wire/json.h"
#include <math.h>
#include <string.h>

/* Upstream's limits (the API server's apis/cel/config.go, and apiextensions' validation). */
enum {
    RULE_COST_MAX = 10000000,    /* estimated, of one rule times how often it may run */
    SCHEMA_COST_MAX = 100000000, /* of all of them */
    RUN_BUDGET = 10000000,       /* counted, of all rules over one object */
    MESSAGE_MAX = 5 * 1024,      /* bytes that a messageExpression may give */
    REQUEST_SIZE = 3 * 1024 * 1024,
    COSTLY_SHOWN = 4,
};
enum { SELF, OLD_SELF };

/* One rule. */
struct cel_rule {
    struct cel_program rule, message;
    bool compiled, has_message, uses_old;
};
struct cel_rules {
    const struct schema *schema;
    struct arena arena;
    struct cel_rule *list; /* by the schema's count of rules */
};

/* An error as field.Error tells it; a value without text is not shown. */
void cel_error_tell(struct field_errors *e, enum field_error_type type, struct str field, struct str value,
                    struct str detail)
{
    static const char *const words[] = {[FE_INVALID] = "Invalid value",
                                        [FE_FORBIDDEN] = "Forbidden",
                                        [FE_REQUIRED] = "Required value",
                                        [FE_DUPLICATE] = "Duplicate value",
                                        [FE_INTERNAL] = "Internal error"};
    if (errors_full(e))
        return;
    struct str text = arena_fmt(e->arena, "%s%s" STR_FMT "%s" STR_FMT, words[type], value.p ? ": " : "",
                                STR_ARG(value), detail.n ? ": " : "", STR_ARG(detail));
    e->bytes += field.n + text.n;
    array_push(&e->list, ((struct field_error){type, str_dup(e->arena, field), text}));
}

/* ---- compiling ---- */

/* What is wrong with a rule; texts are empty where nothing is. */
struct rule_faults {
    struct strbuf rule, message;
};

static void fault_of_rule(struct arena *a, const struct schema_rule *r, const struct cel_env *env,
                          struct cel_rule *out, struct rule_faults *faults)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(1 << 20);
    if (!str_trim(r->rule).n)
        return; /* that is told with the other texts of the definition */
    if (!cel_compile(a, env, r->rule, &out->rule, &text)) {
        strbuf_addf(&faults->rule, "compilation failed: " STR_FMT, STR_ARG(strbuf_str(&text)));
    } else if (out->rule.type->kind != CT_BOOL) {
        cel_program_release(&out->rule);
        strbuf_addz(&faults->rule, "cel expression must evaluate to a bool");
    } else {
        out->compiled = true;
        out->uses_old = out->rule.uses >> OLD_SELF & 1;
    }
    if (!str_trim(r->message_expression).n || faults->rule.n)
        return;
    strbuf_reset(&text);
    if (!cel_compile(a, env, r->message_expression, &out->message, &text)) {
        strbuf_addf(&faults->message, "messageExpression compilation failed: " STR_FMT, STR_ARG(strbuf_str(&text)));
    } else if (out->message.type->kind != CT_STRING) {
        cel_program_release(&out->message);
        strbuf_addz(&faults->message, "messageExpression must evaluate to a string");
    } else {
        out->has_message = true;
    }
}

/* A rule of what has the type: self, and oldSelf, which may be optional. */
static void rule_compile(struct arena *a, struct arena *types, const struct schema_rule *r,
                         const struct cel_type *self, struct cel_rule *out, struct rule_faults *faults)
{
    bool optional = r->has_optional_old_self && r->optional_old_self;
    struct cel_variable variables[] = {
        [SELF] = {S("self"), self},
        [OLD_SELF] = {S("oldSelf"), optional ? cel_type_optional(types, self) : self},
    };
    struct cel_env env = {.variables = variables, .n = countof(variables), .types = types};
    fault_of_rule(a, r, &env, out, faults);
}

/* ---- definitions ---- */

struct costly_rule {
    struct str path;
    uint64_t cost;
};
struct rules_checking {
    struct arena *types; /* of types and paths */
    struct field_errors *e;
    uint64_t total;
    struct costly_rule costly[COSTLY_SHOWN + 1];
    size_t ncostly;
};
/* A place in the schema. */
struct rules_place {
    struct str path;
    const struct cel_type *type;
    uint64_t times;          /* how often it may be in an object; UINT64_MAX: not bounded */
    struct str uncorrelated; /* the list whose items cannot be matched with old ones; n == 0: none */
};

static struct str cost_text(struct arena *a, const char *what, uint64_t cost, uint64_t limit)
{
    double factor = (double)cost / (double)limit;
    struct str times = factor > 100.0 ? S("more than 100x")
                       : factor < 1.5 ? arena_fmt(a, "%fx", factor)
                                      : arena_fmt(a, "%.1fx", factor);
    return arena_fmt(
        a,
        "%s exceeds budget by factor of " STR_FMT
        " (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, "
        "and strings are declared)",
        what, STR_ARG(times));
}

static uint64_t cost_times(uint64_t a, uint64_t b)
{
    uint64_t r;
    return __builtin_mul_overflow(a, b, &r) ? UINT64_MAX : r;
}

/* Costs of one expression at a place: too high by itself, or to be remembered. */
static void cost_note(struct rules_checking *c, struct str path, const char *what, uint64_t cost)
{
    if (cost > RULE_COST_MAX)
        cel_error_tell(c->e, FE_FORBIDDEN, path, STR_NONE, cost_text(c->types, what, cost, RULE_COST_MAX));
    if (__builtin_add_overflow(c->total, cost, &c->total))
        c->total = UINT64_MAX;
    if (cost < SCHEMA_COST_MAX / 100)
        return;
    size_t i = c->ncostly;
    for (; i && c->costly[i - 1].cost < cost; i--)
        c->costly[i] = c->costly[i - 1];
    c->costly[i] = (struct costly_rule){path, cost};
    c->ncostly = MIN(c->ncostly + 1, COSTLY_SHOWN);
}

/* The rule as upstream's struct shows in JSON. */
static struct str rule_text(struct arena *a, const struct schema_rule *r)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    const struct {
        const char *name;
        struct str text;
    } texts[] = {
        {"{\"Rule\":", r->rule}, {",\"Message\":", r->message}, {",\"MessageExpression\":", r->message_expression}};
    for (size_t i = 0; i < countof(texts); i++) {
        strbuf_addz(&b, texts[i].name);
        json_add_string(&b, texts[i].text);
    }
    strbuf_addz(&b, ",\"Reason\":");
    if (r->reason.n)
        json_add_string(&b, r->reason);
    else
        strbuf_addz(&b, "null");
    strbuf_addz(&b, ",\"FieldPath\":");
    json_add_string(&b, r->field_path);
    strbuf_addf(&b, ",\"OptionalOldSelf\":%s}",
                !r->has_optional_old_self ? "null"
                : r->optional_old_self    ? "true"
                                          : "false");
    return str_dup(a, strbuf_str(&b));
}

static void check_rule(struct rules_checking *c, const struct rules_place *at, const struct schema_rule *r,
                       unsigned i)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct cel_rule made = {0};
    struct rule_faults faults = {STRBUF(1 << 20), STRBUF(1 << 20)};
    struct str path = arena_fmt(c->types, STR_FMT ".x-kubernetes-validations[%u]", STR_ARG(at->path), i);
    struct str rule_path = arena_fmt(c->types, STR_FMT ".rule", STR_ARG(path));
    struct str message_path = arena_fmt(c->types, STR_FMT ".messageExpression", STR_ARG(path));
    rule_compile(&a, c->types, r, at->type, &made, &faults);
    uint64_t times = at->times != UINT64_MAX ? at->times : REQUEST_SIZE / (uint64_t)(at->type->min + 1);
    if (made.compiled)
        cost_note(c, rule_path, "estimated rule cost", cost_times(made.rule.max_cost, times));
    if (faults.rule.n)
        cel_error_tell(c->e, FE_INVALID, rule_path, rule_text(&a, r), strbuf_str(&faults.rule));
    if (faults.message.n)
        cel_error_tell(c->e, FE_INVALID, message_path, rule_text(&a, r), strbuf_str(&faults.message));
    else if (made.has_message)
        cost_note(c, message_path, "estimated messageExpression cost", made.message.max_cost);
    if (made.uses_old && at->uncorrelated.n) {
        AUTO(strbuf_fini) struct strbuf shown = STRBUF(1 << 20);
        add_quoted(&shown, r->rule);
        cel_error_tell(c->e, FE_INVALID, rule_path, strbuf_str(&shown),
                       arena_fmt(&a,
                                 "oldSelf cannot be used on the uncorrelatable portion of the schema within " STR_FMT,
                                 STR_ARG(at->uncorrelated)));
    } else if (!made.uses_old && r->has_optional_old_self) {
        cel_error_tell(c->e, FE_INVALID, arena_fmt(&a, STR_FMT ".optionalOldSelf", STR_ARG(path)),
                       r->optional_old_self ? S("true") : S("false"),
                       S("may not be set if oldSelf is not used in rule"));
    }
    cel_program_release(&made.rule);
    cel_program_release(&made.message);
    strbuf_fini(&faults.rule);
    strbuf_fini(&faults.message);
}

static uint64_t times_within(uint64_t times, bool bounded, int64_t bound)
{
    return times == UINT64_MAX || !bounded ? UINT64_MAX : cost_times(times, bound < 0 ? 0 : (uint64_t)bound);
}

static void check_node(struct rules_checking *c, const struct schema_node *n, struct rules_place at);

/* Items of a list, or values of a map. */
static void check_elements(struct rules_checking *c, const struct schema_node *n, const struct rules_place *at)
{
    const struct schema_node *of = schema_node(n->type.of);
    bool list = n->type.kind == TYPE_LIST;
    uint32_t has = n->bounds ? n->bounds->has : 0;
    if (!of || !(of->flags & SCHEMA_HAS_RULES))
        return;
    struct rules_place below = *at;
    below.path = arena_fmt(c->types, STR_FMT "%s", STR_ARG(at->path), list ? ".items" : ".additionalProperties");
    below.type = cel_type_below(c->types, at->type, of, STR_NONE);
    below.times = list ? times_within(at->times, has & BOUND_MAX_ITEMS, n->bounds ? n->bounds->max_items : 0)
                       : times_within(at->times, has & BOUND_MAX_PROPERTIES,
                                      n->bounds ? n->bounds->max_properties : 0);
    if (list && !(n->flags & SCHEMA_LIST_MAP) && !below.uncorrelated.n)
        below.uncorrelated = at->path;
    check_node(c, of, below);
}

static void check_node(struct rules_checking *c, const struct schema_node *n, struct rules_place at)
{
    if (n->type.kind == TYPE_LIST || n->type.kind == TYPE_MAP)
        check_elements(c, n, &at);
    for (size_t i = 0; n->type.kind == TYPE_STRUCT && i < n->type.nfields; i++) {
        const struct schema_node *of = schema_node(n->type.fields[i].type);
        if (!of || !(of->flags & SCHEMA_HAS_RULES))
            continue;
        struct str name = n->type.fields[i].name->s;
        struct rules_place below = at;
        below.path = arena_fmt(c->types, STR_FMT ".properties[" STR_FMT "]", STR_ARG(at.path), STR_ARG(name));
        below.type = cel_type_below(c->types, at.type, of, name);
        check_node(c, of, below);
    }
    if (n->nrules && !at.type) {
        cel_error_tell(
            c->e, FE_INTERNAL, arena_fmt(c->types, STR_FMT ".x-kubernetes-validations", STR_ARG(at.path)), STR_NONE,
            S("internal error: failed to construct type information for x-kubernetes-validations rules: unable to "
              "convert structural schema to CEL declarations"));
        return;
    }
    for (unsigned i = 0; i < n->nrules; i++)
        check_rule(c, &at, &n->rules[i], i);
}

void cel_rules_check(const struct schema *s, const struct val *old, struct str path, struct field_errors *e)
{
    (void)old;
    AUTO(arena_fini) struct arena types = ARENA;
    struct rules_checking c = {.types = &types, .e = e};
    if (!(s->root->flags & SCHEMA_HAS_RULES))
        return;
    check_node(&c, s->root, (struct rules_place){path, cel_type_of_schema(&types, s->root, true), 1, STR_NONE});
    if (c.total <= SCHEMA_COST_MAX)
        return;
    for (size_t i = 0; i < c.ncostly; i++)
        cel_error_tell(
            e, FE_FORBIDDEN, c.costly[i].path, STR_NONE,
            S("contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"));
    cel_error_tell(e, FE_FORBIDDEN, path, STR_NONE,
                   cost_text(&types, "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema",
                             c.total, SCHEMA_COST_MAX));
}

/* ---- the compiled set ---- */

static void compile_node(struct cel_rules *rules, struct arena *types, const struct schema_node *n,
                         const struct cel_type *type)
{
    for (unsigned i = 0; i < n->nrules && type; i++) {
        struct rule_faults faults = {STRBUF(1 << 20), STRBUF(1 << 20)};
        rule_compile(&rules->arena, types, &n->rules[i], type, &rules->list[n->first_rule + i], &faults);
        strbuf_fini(&faults.rule);
        strbuf_fini(&faults.message);
    }
    const struct schema_node *of = n->type.kind == TYPE_LIST || n->type.kind == TYPE_MAP ? schema_node(n->type.of)
                                                                                         : NULL;
    if (of && (of->flags & SCHEMA_HAS_RULES))
        compile_node(rules, types, of, cel_type_below(types, type, of, STR_NONE));
    for (size_t i = 0; n->type.kind == TYPE_STRUCT && i < n->type.nfields; i++) {
        of = schema_node(n->type.fields[i].type);
        if (of && (of->flags & SCHEMA_HAS_RULES))
            compile_node(rules, types, of, cel_type_below(types, type, of, n->type.fields[i].name->s));
    }
}

struct cel_rules *cel_rules_new(const struct schema *s)
{
    if (!s->nrules)
        return NULL;
    AUTO(arena_fini) struct arena types = ARENA;
    struct cel_rules *rules = NEW(struct cel_rules);
    rules->schema = s;
    rules->list = arena_alloc(&rules->arena, s->nrules * sizeof *rules->list);
    compile_node(rules, &types, s->root, cel_type_of_schema(&types, s->root, true));
    return rules;
}

void cel_rules_free(struct cel_rules *rules)
{
    if (!rules)
        return;
    for (size_t i = 0; i < rules->schema->nrules; i++) {
        cel_program_release(&rules->list[i].rule);
        cel_program_release(&rules->list[i].message);
    }
    arena_fini(&rules->arena);
    mem_free(rules);
}

/* ---- objects ---- */

/* A value and what stood there before, on the way down. */
struct rules_frame {
    const struct rules_frame *up;
    struct str name; /* of a field; of a map's key with `key` */
    bool key;
    int64_t index;             /* of an item: 0 or more */
    const struct val *v, *old; /* old: NULL where nothing, or nothing that can be matched */
};
struct rules_running {
    const struct cel_rules *rules;
    struct field_errors *e, *warnings;
    int64_t budget;
    bool spent; /* nothing more is run */
};

/* "spec.l[1].m[x.y/z]"; "<nil>" of the whole. */
static void frame_text(struct strbuf *b, const struct rules_frame *f)
{
    if (!f->up)
        return;
    frame_text(b, f->up);
    if (f->key)
        strbuf_addf(b, "[" STR_FMT "]", STR_ARG(f->name));
    else if (f->name.p)
        strbuf_addf(b, "%s" STR_FMT, b->n ? "." : "", STR_ARG(f->name));
    else
        strbuf_addf(b, "[%lld]", (long long)f->index);
}

static const char *type_word(const struct schema_node *n)
{
    return schema_what_text((enum schema_what)n->what);
}

/* Whether what is wrong stood there before and may stay: it, or the nearest thing around it that can be matched, is
 * as it was. */
static bool is_unchanged(const struct rules_frame *f)
{
    for (; f; f = f->up)
        if (f->old)
            return val_equal(f->v, f->old);
    return false;
}

/* What a rule is called where it failed. */
static struct str rule_name(const struct schema_rule *r)
{
    return str_trim(r->message.n ? r->message : r->rule);
}

static void fault_add(struct rules_running *x, const struct rules_frame *f, struct str value, struct str detail)
{
    AUTO(strbuf_fini) struct strbuf path = STRBUF(STRBUF_TEXT);
    frame_text(&path, f);
    if (!path.n)
        strbuf_addz(&path, "<nil>");
    cel_error_tell(x->e, FE_INVALID, strbuf_str(&path), value, detail);
}

/* A fault that shows the type alone. */
static void fault_typed(struct rules_running *x, const struct rules_frame *f, const struct schema_node *n,
                        struct str detail)
{
    AUTO(strbuf_fini) struct strbuf value = STRBUF(STRBUF_TEXT);
    add_quoted(&value, str_of(type_word(n)));
    fault_add(x, f, strbuf_str(&value), detail);
}

/* The value as messages show it: scalars alone. */
static struct str shown_value(struct arena *a, const struct val *v)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    if (val_is(v, VAL_MAP) || val_is(v, VAL_LIST))
        return STR_NONE;
    if (val_is(v, VAL_STRING))
        add_quoted(&b, val_text(v));
    else if (val_is(v, VAL_DOUBLE))
        json_add_double(&b, v->d);
    else if (val_is(v, VAL_INT))
        json_add_int(&b, v->i);
    else
        strbuf_addz(&b, val_true(v) ? "true" : "false");
    return str_dup(a, strbuf_str(&b));
}

/* ".spec.a.b" or ".spec['a'].b" in words: "spec.a.b", and "spec[a].b" where a is the key of a map. */
static struct str field_path_text(struct arena *a, const struct schema_node *n, struct str path)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(path.n * 2 + 8);
    for (size_t i = 0; i < path.n;) {
        AUTO(strbuf_fini) struct strbuf part = STRBUF(path.n + 1);
        bool quoted = path.p[i] == '[';
        for (i += quoted ? 2 : 1; i < path.n && (quoted ? path.p[i] != '\'' : path.p[i] != '.' && path.p[i] != '[');
             i++) {
            i += quoted && path.p[i] == '\\' && i + 1 < path.n;
            strbuf_addc(&part, path.p[i]);
        }
        i += quoted ? 2 : 0;
        bool map = n && n->type.kind == TYPE_MAP;
        strbuf_addf(&b, map ? "[" STR_FMT "]" : b.n ? "." STR_FMT : STR_FMT, STR_ARG(strbuf_str(&part)));
        const struct field *f = n && !map ? schema_property(n, name_of(a, strbuf_str(&part))) : NULL;
        n = map ? schema_node(n->type.of) : f ? schema_node(f->type) : NULL;
    }
    return str_dup(a, strbuf_str(&b));
}

/* Tells that a rule does not hold, in the words and at the place that it has for it. */
static void rule_failed(struct rules_running *x, const struct rules_frame *f, const struct schema_node *n,
                        const struct cel_rule *made, const struct schema_rule *r, struct str detail)
{
    static const struct {
        const char *reason;
        uint8_t type;
    } reasons[] = {{"FieldValueForbidden", FE_FORBIDDEN},
                   {"FieldValueRequired", FE_REQUIRED},
                   {"FieldValueDuplicate", FE_DUPLICATE}};
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf path = STRBUF(STRBUF_TEXT);
    enum field_error_type type = FE_INVALID;
    for (size_t i = 0; i < countof(reasons); i++)
        if (str_eqz(r->reason, reasons[i].reason))
            type = reasons[i].type;
    frame_text(&path, f);
    if (r->field_path.n) {
        struct str more = field_path_text(&a, n, r->field_path);
        strbuf_addf(&path, "%s" STR_FMT, path.n ? "." : "", STR_ARG(more));
    }
    if (!path.n)
        strbuf_addz(&path, "<nil>");
    struct field_errors *into = !made->uses_old && is_unchanged(f) ? x->warnings : x->e;
    bool shows = type == FE_INVALID || type == FE_DUPLICATE;
    if (into)
        cel_error_tell(into, type, strbuf_str(&path), shows ? shown_value(&a, f->v) : STR_NONE,
                       type == FE_DUPLICATE ? STR_NONE : detail);
}

/* The text of a messageExpression; n == 0: it has none, and the rule's own is told. False: all ends here. */
static bool message_of(struct rules_running *x, const struct rules_frame *f, const struct schema_node *n,
                       const struct cel_rule *made, const struct schema_rule *r, const struct cel_value *values,
                       struct arena *a, struct str *out)
{
    uint64_t cost;
    bool over;
    *out = STR_NONE;
    if (!made->has_message)
        return true;
    struct cel_value v = cel_program_run(&made->message, a, values, CEL_PER_CALL_LIMIT, &cost, &over);
    AUTO(strbuf_fini) struct strbuf quoted = STRBUF(1 << 20);
    if ((int64_t)cost > x->budget || over) {
        add_quoted(&quoted, r->message_expression);
        struct str why = (int64_t)cost > x->budget
                             ? S("messageExpression evaluation failed due to running out of cost budget, no further "
                                 "validation rules will be run")
                             : arena_fmt(a,
                                         "no further validation rules will be run due to call cost exceeds limit for "
                                         "messageExpression: " STR_FMT,
                                         STR_ARG(strbuf_str(&quoted)));
        fault_typed(x, f, n, why);
        x->spent = true;
        return false;
    }
    x->budget -= (int64_t)cost;
    struct str text = v.kind == CEL_STRING ? str_trim(cel_text(v)) : STR_NONE;
    if (text.n <= MESSAGE_MAX && str_find_char(text, '\n') < 0)
        *out = text;
    return true;
}

/* What an evaluation without a result says. */
static void rule_broke(struct rules_running *x, const struct rules_frame *f, const struct schema_node *n,
                       const struct schema_rule *r, struct cel_value error, bool over)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str text = cel_text(error), name = rule_name(r), detail;
    if (over)
        detail = arena_fmt(&a,
                           "'" STR_FMT
                           "': no further validation rules will be run due to call cost exceeds limit for "
                           "rule: " STR_FMT,
                           STR_ARG(text), STR_ARG(name));
    else if (str_starts(text, S("no such overload")))
        detail = arena_fmt(&a,
                           "'" STR_FMT "': call arguments did not match a supported operator, function or macro "
                           "signature for rule: " STR_FMT,
                           STR_ARG(text), STR_ARG(name));
    else
        detail = arena_fmt(&a, STR_FMT " evaluating rule: " STR_FMT, STR_ARG(text), STR_ARG(name));
    fault_typed(x, f, n, detail);
    x->spent = over;
}

static const struct str out_of_budget = S_INIT(
    "validation failed due to running out of cost budget, no further validation rules will be run");

static void run_rule(struct rules_running *x, const struct rules_frame *f, const struct schema_node *n,
                     const struct cel_rule *made, const struct schema_rule *r)
{
    bool optional = r->has_optional_old_self && r->optional_old_self;
    if (!made->compiled) {
        if (str_trim(r->rule).n)
            fault_typed(x, f, n, S("rule compile error: the definition has to be written again to see it"));
        return;
    }
    if (made->uses_old && !f->old && !optional)
        return; /* of changes, and this is none */
    AUTO(arena_fini) struct arena a = ARENA;
    struct cel_run reader = {.arena = &a, .limit = UINT64_MAX};
    struct cel_value values[] = {[SELF] = cel_of_val(&reader, f->v, n), [OLD_SELF] = cel_none()};
    if (made->uses_old && f->old) {
        values[OLD_SELF] = cel_of_val(&reader, f->old, n);
        if (optional)
            values[OLD_SELF] = cel_some(&reader, values[OLD_SELF]);
    }
    uint64_t cost;
    bool over;
    struct cel_value v = cel_program_run(&made->rule, &a, values, CEL_PER_CALL_LIMIT, &cost, &over);
    if ((int64_t)cost > x->budget) {
        fault_typed(x, f, n, out_of_budget);
        x->spent = true;
        return;
    }
    x->budget -= (int64_t)cost;
    if (cel_is_true(v))
        return;
    if (v.kind == CEL_ERROR) {
        rule_broke(x, f, n, r, v, over);
        return;
    }
    struct str detail;
    if (!message_of(x, f, n, made, r, values, &a, &detail))
        return;
    if (!detail.n)
        detail = r->message.n ? str_trim(r->message) : arena_fmt(&a, "failed rule: " STR_FMT, STR_ARG(rule_name(r)));
    rule_failed(x, f, n, made, r, detail);
}

static void run_node(struct rules_running *x, const struct rules_frame *f, const struct schema_node *n);

/* The item of an old map list that has the keys of `item`. */
static const struct val *same_item(const struct schema_node *n, const struct val *old, const struct val *item,
                                   size_t at)
{
    if (!(n->flags & SCHEMA_LIST_MAP) || !n->list_keys)
        return NULL;
    for (size_t i = 0, len = val_len(old); i < len; i++) { /* mostly it stands where it stood */
        const struct val *it = val_item(old, (i + at) % len);
        const struct name *const *key = n->list_keys;
        while (*key && val_equal(val_get(it, *key), val_get(item, *key)))
            key++;
        if (!*key)
            return it;
    }
    return NULL;
}

static void run_below(struct rules_running *x, struct rules_frame below, const struct schema_node *of)
{
    if (!x->spent)
        run_node(x, &below, of);
}

static void run_node(struct rules_running *x, const struct rules_frame *f, const struct schema_node *n)
{
    if (!(n->flags & SCHEMA_HAS_RULES) || !f->v || f->v->type == VAL_NULL)
        return;
    if (n->nrules && x->budget <= 0) {
        fault_typed(x, f, n, out_of_budget);
        x->spent = true;
    }
    for (unsigned i = 0; i < n->nrules && !x->spent; i++)
        run_rule(x, f, n, &x->rules->list[n->first_rule + i], &n->rules[i]);
    const struct schema_node *of = schema_node(n->type.of);
    bool below = of && (of->flags & SCHEMA_HAS_RULES);
    if (n->type.kind == TYPE_LIST && below)
        val_each_item (it, f->v) {
            size_t i = (size_t)(it - f->v->list);
            const struct val *old = same_item(n, f->old, it, i);
            run_below(x, (struct rules_frame){.up = f, .index = (int64_t)i, .v = it, .old = old}, of);
        }
    if (n->type.kind == TYPE_MAP && below)
        val_each_member (m, f->v) {
            const struct val *old = val_get_str(f->old, m->name->s);
            run_below(x, (struct rules_frame){f, m->name->s, true, 0, &m->v, old}, of);
        }
    for (size_t i = 0; n->type.kind == TYPE_STRUCT && i < n->type.nfields; i++) {
        const struct name *name = n->type.fields[i].name;
        of = schema_node(n->type.fields[i].type);
        if (of && (of->flags & SCHEMA_HAS_RULES))
            run_below(x, (struct rules_frame){f, name->s, false, 0, val_get(f->v, name), val_get(f->old, name)}, of);
    }
}

void cel_rules_run(const struct cel_rules *rules, const struct val *v, const struct val *old, struct field_errors *e,
                   struct field_errors *warnings)
{
    if (!rules)
        return;
    struct rules_running x = {.rules = rules, .e = e, .warnings = warnings, .budget = RUN_BUDGET};
    run_node(&x, &(struct rules_frame){.v = v, .old = old}, rules->schema->root);
}
