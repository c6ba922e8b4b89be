/* Each expression sees some of the variables (upstream's OptionalVariableDeclarations). `variables` is a map whose
 * values are worked out when they are asked for (cel_map.later), each by a program of its own, so that what one costs
 * is known; a name that comes twice is what comes last. */
#include "cel/policy.h"
#include "api/formats.h"
#include "base/map.h"
#include "cel/kind_types.h"
#include "cel/program.h"
#include "cel/run.h"
#include "wire/json.h"

enum {
    BUDGET_CONDITIONS = 2500000, /* upstream's RuntimeCELCostBudgetMatchConditions: of all of them together */
    BUDGET = 10000000,           /* and RuntimeCELCostBudget: of one policy for one binding and parameter */
    MESSAGE_MAX = 5 * 1024,
    NESTED_MAX = 1 << 20, /* of stack, for variables that ask for variables */
};
static const char out_of_budget[] =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/* --- the variables (upstream's BuildRequestType, BuildNamespaceType) --- */

#define FIELD(field, of)                                                                                             \
    {                                                                                                                \
        S_INIT(#field), N(field), (of)                                                                               \
    }
#define STRUCT(of, members)                                                                                          \
    {                                                                                                                \
        .kind = CT_STRUCT, .name = (of), .fields = (members), .nfields = countof(members)                            \
    }
static const struct cel_type texts = {.kind = CT_LIST, .n = 1, .name = "list", .of = {&cel_type_string}},
                             lists_of_texts = {.kind = CT_MAP,
                                               .n = 2,
                                               .name = "map",
                                               .of = {&cel_type_string, &texts}},
                             texts_by_name = {
                                 .kind = CT_MAP, .n = 2, .name = "map", .of = {&cel_type_string, &cel_type_string}};
static const struct cel_field kind_fields[] = {FIELD(group, &cel_type_string), FIELD(kind, &cel_type_string),
                                               FIELD(version, &cel_type_string)},
                              resource_fields[] = {FIELD(group, &cel_type_string), FIELD(resource, &cel_type_string),
                                                   FIELD(version, &cel_type_string)},
                              user_fields[] = {FIELD(extra, &lists_of_texts), FIELD(groups, &texts),
                                               FIELD(uid, &cel_type_string), FIELD(username, &cel_type_string)};
static const struct cel_type kind_named_type = STRUCT("kubernetes.GroupVersionKind", kind_fields),
                             resource_type = STRUCT("kubernetes.GroupVersionResource", resource_fields),
                             user_type = STRUCT("kubernetes.UserInfo", user_fields);
static const struct cel_field request_fields[] = {
    FIELD(dryRun, &cel_type_bool),
    FIELD(kind, &kind_named_type),
    FIELD(name, &cel_type_string),
    FIELD(namespace, &cel_type_string),
    FIELD(operation, &cel_type_string),
    FIELD(options, &cel_type_dyn),
    FIELD(requestKind, &kind_named_type),
    FIELD(requestResource, &resource_type),
    FIELD(requestSubResource, &cel_type_string),
    FIELD(resource, &resource_type),
    FIELD(subResource, &cel_type_string),
    FIELD(userInfo, &user_type),
};
static const struct cel_type request_type = STRUCT("kubernetes.AdmissionRequest", request_fields);

static const struct cel_field ns_condition_fields[] = {
    FIELD(lastTransitionTime, &cel_type_timestamp), FIELD(message, &cel_type_string), FIELD(reason, &cel_type_string),
    FIELD(status, &cel_type_string), FIELD(type, &cel_type_string)};
static const struct cel_type ns_condition = STRUCT("kubernetes.NamespaceCondition", ns_condition_fields),
                             ns_conditions = {.kind = CT_LIST, .n = 1, .name = "list", .of = {&ns_condition}};
static const struct cel_field ns_metadata_fields[] = {
    {S_INIT("UID"), N(uid), &cel_type_string},
    FIELD(annotations, &texts_by_name),
    FIELD(creationTimestamp, &cel_type_timestamp),
    FIELD(deletionGracePeriodSeconds, &cel_type_int),
    FIELD(deletionTimestamp, &cel_type_timestamp),
    FIELD(finalizers, &texts),
    FIELD(generateName, &cel_type_string),
    FIELD(generation, &cel_type_int),
    FIELD(labels, &texts_by_name),
    FIELD(name, &cel_type_string),
    FIELD(namespace, &cel_type_string),
    FIELD(resourceVersion, &cel_type_string),
};
static const struct cel_field ns_spec_fields[] = {FIELD(finalizers, &texts)},
                              ns_status_fields[] = {FIELD(conditions, &ns_conditions),
                                                    FIELD(phase, &cel_type_string)};
static const struct cel_type ns_metadata = STRUCT("kubernetes.NamespaceMetadata", ns_metadata_fields),
                             ns_spec = STRUCT("kubernetes.NamespaceSpec", ns_spec_fields),
                             ns_status = STRUCT("kubernetes.NamespaceStatus", ns_status_fields);
static const struct cel_field ns_fields[] = {FIELD(metadata, &ns_metadata), FIELD(spec, &ns_spec),
                                             FIELD(status, &ns_status)};
static const struct cel_type ns_type = STRUCT("kubernetes.Namespace", ns_fields);

/* As its type says: times are times, and what is not declared is not there. */
static struct cel_value value_as(struct cel_run *run, const struct cel_type *t, const struct val *v)
{
    if (t->kind == CT_STRUCT && val_is(v, VAL_MAP)) {
        struct cel_map *map = cel_map_new(run, t->nfields);
        for (uint32_t i = 0; i < t->nfields; i++) {
            const struct val *member = val_get(v, t->fields[i].key);
            if (member)
                (void)cel_map_add(run, map, cel_string(t->fields[i].name), value_as(run, t->fields[i].type, member));
        }
        return cel_map_of(map);
    }
    if (t->kind == CT_LIST && val_is(v, VAL_LIST)) {
        struct cel_list *list = cel_list_new(run, val_len(v));
        val_each_item (it, v)
            cel_list_add(run, list, value_as(run, t->of[0], it));
        return cel_list_of(list);
    }
    int64_t seconds;
    uint32_t nanoseconds;
    if (t->kind == CT_TIMESTAMP && cel_parse_timestamp(val_text(v), &seconds, &nanoseconds))
        return cel_timestamp(seconds, nanoseconds);
    return t->kind == CT_TIMESTAMP ? cel_null() : cel_of_val(run, v, NULL);
}

/* A device that a claim may get (resource.k8s.io). */
static const struct cel_type
    quantity_type = {.kind = CT_OPAQUE, .name = "kubernetes.Quantity"},
    attributes = {.kind = CT_MAP, .n = 2, .name = "map", .of = {&cel_type_string, &cel_type_dyn}},
    domains = {.kind = CT_MAP, .n = 2, .name = "map", .of = {&cel_type_string, &attributes}},
    amounts = {.kind = CT_MAP, .n = 2, .name = "map", .of = {&cel_type_string, &quantity_type}},
    capacity = {.kind = CT_MAP, .n = 2, .name = "map", .of = {&cel_type_string, &amounts}};
static const struct cel_field device_fields[] = {{S_INIT("allowMultipleAllocations"), NULL, &cel_type_bool},
                                                 {S_INIT("attributes"), NULL, &domains},
                                                 {S_INIT("capacity"), NULL, &capacity},
                                                 {S_INIT("driver"), NULL, &cel_type_string}};
static const struct cel_type device_type = STRUCT("kubernetes.DRADevice", device_fields);
static const struct cel_variable device_variables[] = {{S_INIT("device"), &device_type, false}};

static const struct cel_type authorizer_type = {.kind = CT_OPAQUE, .name = "kubernetes.authorization.Authorizer"},
                             check_type = {.kind = CT_OPAQUE, .name = "kubernetes.authorization.ResourceCheck"};

enum { OBJECT, OLD_OBJECT, NAMESPACE, REQUEST, PARAMS, AUTHORIZER, REQUEST_RESOURCE, VARIABLES, NVARIABLES };
static const struct cel_variable all_variables[NVARIABLES] = {
    [OBJECT] = {S_INIT("object"), &cel_type_dyn, false},
    [OLD_OBJECT] = {S_INIT("oldObject"), &cel_type_dyn, false},
    [NAMESPACE] = {S_INIT("namespaceObject"), &ns_type, false},
    [REQUEST] = {S_INIT("request"), &request_type, false},
    [PARAMS] = {S_INIT("params"), &cel_type_dyn, false},
    [AUTHORIZER] = {S_INIT("authorizer"), &authorizer_type, false},
    [REQUEST_RESOURCE] = {S_INIT("authorizer.requestResource"), &check_type, false},
    [VARIABLES] = {S_INIT("variables"), NULL, true},
};

/* --- compiling --- */

/* What the expressions of one policy may see of each other. */
struct expression_scope {
    struct arena arena; /* of types, where somebody only checks */
    bool params, composed;
    const struct cel_type *object, *param; /* where they are known; else dyn, and no parameter */
    struct cel_field *fields; /* of variables; what grows leaves those before in the arena, as types point to them */
    uint32_t n, cap;
};

static void scope_fini(struct expression_scope *s)
{
    arena_fini(&s->arena);
}
AUTO_VALUE(scope_fini, struct expression_scope);

static bool returns_what_it_must(enum expression_use use, const struct cel_type *t, struct strbuf *why)
{
    static const char *const wanted[] = {
        [EXPRESSION_CONDITION] = "to bool",
        [EXPRESSION_VALIDATION] = "to bool",
        [EXPRESSION_MESSAGE] = "to string",
        [EXPRESSION_AUDIT] = "to one of [string null_type]",
        [EXPRESSION_VARIABLE] = NULL,
        [EXPRESSION_APPLY] = "to Object",
        [EXPRESSION_PATCH] = "to list(JSONPatch)",
        [EXPRESSION_DEVICE] = "to bool or the unknown type, not ",
    };
    bool fits = true;
    switch (use) {
    case EXPRESSION_CONDITION:
    case EXPRESSION_VALIDATION: fits = t->kind == CT_BOOL; break;
    case EXPRESSION_MESSAGE: fits = t->kind == CT_STRING; break;
    case EXPRESSION_AUDIT: fits = t->kind == CT_STRING || t->kind == CT_NULL; break;
    case EXPRESSION_VARIABLE: break;
    case EXPRESSION_APPLY: fits = cel_type_is_open(t) && strcmp(t->name, "Object") == 0; break;
    case EXPRESSION_PATCH: fits = t->kind == CT_LIST && cel_type_same(t->of[0], &cel_type_json_patch); break;
    case EXPRESSION_DEVICE: fits = t->kind == CT_BOOL || t->kind == CT_DYN; break;
    }
    if (fits)
        return true;
    strbuf_addf(why, "must evaluate %s%s", wanted[use], use == EXPRESSION_DEVICE ? "" : " but got ");
    cel_type_add_full(why, t);
    return false;
}

/* What is wrong with it is in `why`. */
static bool scope_compile(struct expression_scope *s, struct arena *a, enum expression_use use, struct str text,
                          struct cel_program *out, struct strbuf *why)
{
    AUTO(strbuf_fini) struct strbuf issues = STRBUF(1 << 20);
    struct cel_type variables_type = {.kind = CT_STRUCT,
                                      .name = "kubernetes.variables",
                                      .fields = s->fields, /* nobody reads them once it is compiled */
                                      .nfields = s->n};
    struct cel_variable variables[NVARIABLES];
    memcpy(variables, all_variables, sizeof variables);
    variables[VARIABLES].type = arena_dup(a, &variables_type, sizeof variables_type);
    if (s->object)
        variables[OBJECT].type = variables[OLD_OBJECT].type = s->object;
    if (s->param)
        variables[PARAMS].type = s->param;
    if (!s->params)
        variables[PARAMS].name = S("");
    if (use == EXPRESSION_MESSAGE && !s->object)
        variables[AUTHORIZER].name = variables[REQUEST_RESOURCE].name = S("");
    if (!s->composed || use == EXPRESSION_CONDITION)
        variables[VARIABLES].name = S("");
    struct cel_env env = {
        .variables = variables, .n = NVARIABLES, .patches = use == EXPRESSION_APPLY || use == EXPRESSION_PATCH};
    if (use == EXPRESSION_DEVICE) {
        env.variables = device_variables;
        env.n = countof(device_variables);
    }
    if (!cel_compile(a, &env, text, out, &issues)) {
        strbuf_addf(why, "%s" STR_FMT, s->object ? "" : "compilation failed: ", STR_ARG(strbuf_str(&issues)));
        return false;
    }
    if (s->object || returns_what_it_must(use, out->type, why))
        return true;
    cel_program_release(out);
    return false;
}

static void scope_declare(struct expression_scope *s, struct str name, const struct cel_type *type)
{
    for (uint32_t i = 0; i < s->n; i++)
        if (str_eq(s->fields[i].name, name)) {
            s->fields[i].type = type;
            return;
        }
    if (s->n == s->cap) {
        struct cel_field *more = arena_alloc(&s->arena, (s->cap = 2 * s->cap + 8) * sizeof *more);
        if (s->n)
            memcpy(more, s->fields, s->n * sizeof *more);
        s->fields = more;
    }
    s->fields[s->n++] = (struct cel_field){name, NULL, type};
}

static void *checker_begin(bool params, bool variables)
{
    struct expression_scope *s = NEW(struct expression_scope);
    *s = (struct expression_scope){.arena = ARENA, .params = params, .composed = variables};
    return s;
}

static void checker_end(void *scope)
{
    struct expression_scope *s = scope;
    scope_fini(s);
    mem_free(s);
}

static bool checker_check(void *scope, enum expression_use use, struct str name, struct str text, struct strbuf *why)
{
    struct expression_scope *s = scope;
    struct cel_program program;
    bool variable = use == EXPRESSION_VARIABLE;
    AUTO(arena_fini) struct arena scratch = ARENA;
    if (!scope_compile(s, variable ? &s->arena : &scratch, use, text, &program, why)) {
        if (variable)
            scope_declare(s, str_dup(&s->arena, name), &cel_type_dyn);
        return false;
    }
    if (variable)
        scope_declare(s, str_dup(&s->arena, name), program.type);
    cel_program_release(&program);
    return true;
}

const struct expression_checker cel_expression_checker = {
    .begin = checker_begin, .end = checker_end, .check = checker_check};

/* --- a policy --- */

struct policy_expression {
    struct str name, text; /* name: of a variable, a condition or an annotation */
    struct str message, reason;
    struct cel_program program;
    bool there, compiled;
    bool hidden;      /* of a variable: a later one has its name */
    struct str fault; /* where it does not compile */
};
struct expression_list {
    struct policy_expression *all;
    size_t n;
};
struct cel_policy {
    struct arena arena;
    struct expression_list conditions, variables, validations, messages, annotations, mutations;
};

static void expression_compile(struct cel_policy *p, struct expression_scope *s, enum expression_use use,
                               struct policy_expression *e)
{
    AUTO(strbuf_fini) struct strbuf why = STRBUF(1 << 20); /* who wrote it was told */
    e->there = e->text.n > 0;
    if (!e->there)
        return;
    e->compiled = scope_compile(s, &p->arena, use, e->text, &e->program, &why);
    if (!e->compiled)
        e->fault = str_dup(&p->arena, strbuf_str(&why));
}

static struct expression_list expressions_of(struct cel_policy *p, struct expression_scope *s,
                                             enum expression_use use, const struct val *list, const struct name *name,
                                             const struct name *text)
{
    struct expression_list l = {.n = val_len(list)};
    struct arena *a = &p->arena;
    l.all = arena_alloc(a, l.n * sizeof *l.all);
    for (size_t i = 0; i < l.n; i++) {
        const struct val *v = val_item(list, i);
        bool as_it_is = use == EXPRESSION_VALIDATION || use == EXPRESSION_MESSAGE || use == EXPRESSION_VARIABLE;
        struct str expression = val_text_at(v, text);
        l.all[i] = (struct policy_expression){
            .name = name ? str_dup(a, val_text_at(v, name)) : STR_NONE,
            .text = str_dup(a, as_it_is ? expression : str_trim(expression)),
            .message = str_dup(a, str_trim(val_text_at(v, N(message)))),
            .reason = str_dup(a, val_text_at(v, N(reason))),
        };
        expression_compile(p, s, use, &l.all[i]);
        if (use == EXPRESSION_VARIABLE)
            scope_declare(s, l.all[i].name, l.all[i].compiled ? l.all[i].program.type : &cel_type_dyn);
    }
    return l;
}

static void variables_hide(struct expression_list *l)
{
    AUTO(map_fini) struct map names_seen = {0};
    for (size_t i = l->n; i--;)
        if (map_get(&names_seen, l->all[i].name))
            l->all[i].hidden = true;
        else
            (void)map_put(&names_seen, l->all[i].name, &l->all[i]);
}

static struct expression_list mutations_of(struct cel_policy *p, struct expression_scope *s, const struct val *list)
{
    struct expression_list l = {.n = val_len(list)};
    l.all = arena_alloc(&p->arena, l.n * sizeof *l.all);
    for (size_t i = 0; i < l.n; i++) {
        const struct val *v = val_item(list, i), *patch = val_get(v, N(jsonPatch));
        const struct val *it = patch ? patch : val_get(v, N(applyConfiguration));
        l.all[i] = (struct policy_expression){.text = str_dup(&p->arena, str_trim(val_text_at(it, N(expression))))};
        expression_compile(p, s, patch ? EXPRESSION_PATCH : EXPRESSION_APPLY, &l.all[i]);
    }
    return l;
}

struct cel_policy *cel_policy_new(const struct val *spec)
{
    const struct val *conditions = val_get(spec, N(matchConditions)), *validations = val_get(spec, N(validations)),
                     *variables = val_get(spec, N(variables)), *annotations = val_get(spec, N(auditAnnotations)),
                     *mutations = val_get(spec, N(mutations));
    if (!val_len(conditions) && !val_len(validations) && !val_len(annotations) && !val_len(mutations))
        return NULL;
    AUTO(scope_fini)
    struct expression_scope s = {
        .arena = ARENA, .params = val_get(spec, N(paramKind)), .composed = val_len(variables) || mutations};
    struct cel_policy *p = NEW(struct cel_policy);
    *p = (struct cel_policy){.arena = ARENA};
    p->conditions = expressions_of(p, &s, EXPRESSION_CONDITION, conditions, N(name), N(expression));
    p->variables = expressions_of(p, &s, EXPRESSION_VARIABLE, variables, N(name), N(expression));
    variables_hide(&p->variables);
    p->validations = expressions_of(p, &s, EXPRESSION_VALIDATION, validations, NULL, N(expression));
    p->messages = expressions_of(p, &s, EXPRESSION_MESSAGE, validations, NULL, N(messageExpression));
    p->annotations = expressions_of(p, &s, EXPRESSION_AUDIT, annotations, N(key), N(valueExpression));
    p->mutations = mutations_of(p, &s, mutations);
    return p;
}

static void list_release(struct expression_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->all[i].compiled)
            cel_program_release(&l->all[i].program);
}

void cel_policy_free(struct cel_policy *p)
{
    if (!p)
        return;
    list_release(&p->conditions);
    list_release(&p->variables);
    list_release(&p->validations);
    list_release(&p->messages);
    list_release(&p->annotations);
    list_release(&p->mutations);
    arena_fini(&p->arena);
    mem_free(p);
}

/* --- running --- */

/* One round over a policy's expressions. */
struct policy_run {
    const struct cel_policy *p;
    struct arena *a;
    struct cel_value values[NVARIABLES];
    struct cel_value *known; /* of variables; CEL_KINDS: not yet */
    bool *asked;             /* who is being worked out */
    uint64_t left, spent;    /* spent: by variables, since somebody last counted */
    const char *stack;       /* where it began */
};

static struct cel_value variable_value(struct cel_run *run, struct cel_map *map, uint32_t i)
{
    struct policy_run *r = map->arg;
    const struct policy_expression *e = &r->p->variables.all[i];
    if (r->known[i].kind != CEL_KINDS)
        return r->known[i];
    ptrdiff_t deep = r->stack - (const char *)__builtin_frame_address(0);
    struct cel_value v;
    uint64_t cost = 0;
    bool over;
    if (!e->compiled)
        v = cel_error(run, "composited variable \"" STR_FMT "\" fails to compile: " STR_FMT, STR_ARG(e->name),
                      STR_ARG(e->fault));
    else if (r->asked[i] || deep > NESTED_MAX || deep < -NESTED_MAX)
        return cel_error(run, "composited variable \"" STR_FMT "\" fails to evaluate: it asks for too many others",
                         STR_ARG(e->name));
    else {
        r->asked[i] = true;
        v = cel_program_run(&e->program, r->a, r->values, CEL_PER_CALL_LIMIT, &cost, &over);
        r->asked[i] = false;
        r->spent += cost;
        if (v.kind == CEL_ERROR)
            v = cel_error(run, "composited variable \"" STR_FMT "\" fails to evaluate: " STR_FMT, STR_ARG(e->name),
                          STR_ARG(cel_text(v)));
    }
    return r->known[i] = v;
}

static struct cel_value variables_map(struct policy_run *r, struct cel_run *run)
{
    const struct expression_list *l = &r->p->variables;
    struct cel_map *map = cel_map_new(run, l->n);
    r->known = arena_alloc(r->a, (l->n + 1) * sizeof *r->known);
    r->asked = arena_alloc(r->a, (l->n + 1) * sizeof *r->asked);
    for (size_t i = 0; i < l->n; i++) {
        r->known[i] = (struct cel_value){.kind = CEL_KINDS};
        r->asked[i] = false;
    }
    /* pair i stands for variable i: the last of a name is found, as those before it are named nothing */
    for (size_t i = 0; i < l->n; i++) {
        struct str name = l->all[i].hidden ? arena_fmt(r->a, " %zu", i) : l->all[i].name;
        (void)cel_map_add(run, map, cel_string(name), cel_null());
    }
    map->later = variable_value;
    map->arg = r;
    return cel_map_of(map);
}

static void run_begin(struct policy_run *r, const struct cel_policy *p, struct arena *a,
                      const struct cel_admission *x, bool conditions)
{
    struct cel_run *run = cel_run_in(a);
    *r = (struct policy_run){.p = p, .a = a, .stack = __builtin_frame_address(0)};
    r->left = conditions ? BUDGET_CONDITIONS : BUDGET;
    r->values[OBJECT] = cel_of_val(run, x->obj, NULL);
    r->values[OLD_OBJECT] = cel_of_val(run, x->old, NULL);
    r->values[NAMESPACE] = x->ns && !conditions ? value_as(run, &ns_type, x->ns) : cel_null();
    r->values[REQUEST] = cel_of_val(run, x->request, NULL);
    r->values[PARAMS] = cel_of_val(run, x->params, NULL);
    r->values[AUTHORIZER] = cel_authorizer_value(run, x->authorizer);
    r->values[REQUEST_RESOURCE] = cel_access_value(run, x->authorizer, &x->resource);
    r->values[VARIABLES] = variables_map(r, run);
}

enum ran { RAN, RAN_WRONG, RAN_OUT }; /* RAN_OUT: nothing more is evaluated; text says what of the others */

static enum ran expression_run(struct policy_run *r, const struct policy_expression *e, struct cel_value *v,
                               struct str *text)
{
    uint64_t cost = 0;
    bool over = false;
    if (!e->compiled) {
        *text = arena_fmt(r->a, "compilation error: " STR_FMT, STR_ARG(e->fault));
        return RAN_WRONG;
    }
    *v = cel_program_run(&e->program, r->a, r->values, MIN(r->left, CEL_PER_CALL_LIMIT), &cost, &over);
    cost += r->spent;
    r->spent = 0;
    if (cost > r->left) {
        r->left = 0;
        *text = str_of(out_of_budget);
        return RAN_OUT;
    }
    r->left -= cost;
    if (v->kind != CEL_ERROR)
        return RAN;
    *text = arena_fmt(r->a, "expression '" STR_FMT "' resulted in error: " STR_FMT, STR_ARG(e->text),
                      STR_ARG(cel_text(*v)));
    return RAN_WRONG;
}

enum cel_met cel_policy_met(const struct cel_policy *p, const struct cel_admission *x, struct strbuf *why)
{
    if (!p || !p->conditions.n)
        return CEL_MET;
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf failures = STRBUF(1 << 16);
    struct policy_run r;
    size_t failed = 0;
    run_begin(&r, p, &a, x, true);
    for (size_t i = 0; i < p->conditions.n; i++) {
        struct cel_value v = cel_null();
        struct str text = S("");
        switch (expression_run(&r, &p->conditions.all[i], &v, &text)) {
        case RAN:
            if (v.kind == CEL_BOOL && !v.b)
                return CEL_NOT_MET;
            break;
        case RAN_WRONG: strbuf_addf(&failures, "%s" STR_FMT, failed++ ? ", " : "", STR_ARG(text)); break;
        case RAN_OUT: strbuf_add(why, text); return CEL_UNKNOWN;
        }
    }
    if (!failed)
        return CEL_MET;
    strbuf_addf(why, failed > 1 ? "[" STR_FMT "]" : STR_FMT, STR_ARG(strbuf_str(&failures)));
    return CEL_UNKNOWN;
}

struct refusals {
    struct cel_refusal *all;
    size_t n;
};

static void refusal_add(struct refusals *out, struct cel_refusal refusal)
{
    out->all[out->n++] = refusal;
}

/* What the message's expression gives, if that can be told in a line; else "". False: the budget is gone. */
static bool message_of(struct policy_run *r, const struct policy_expression *e, struct str *out)
{
    struct cel_value v;
    struct str text;
    *out = S("");
    if (!e->there)
        return true;
    switch (expression_run(r, e, &v, &text)) {
    case RAN_OUT: return false;
    case RAN_WRONG: return true;
    case RAN: break;
    }
    struct str message = v.kind == CEL_STRING ? str_trim(cel_text(v)) : S("");
    if (message.n <= MESSAGE_MAX && str_find_char(message, '\n') < 0)
        *out = message;
    return true;
}

/* False: nothing more is evaluated. */
static bool validation_run(struct policy_run *r, size_t i, struct refusals *out)
{
    const struct policy_expression *e = &r->p->validations.all[i];
    struct cel_value v;
    struct str text, message;
    switch (expression_run(r, e, &v, &text)) {
    case RAN_OUT:
        out->n = 0; /* as upstream has it: what was found before is not told */
        refusal_add(out, (struct cel_refusal){.message = text, .reason = S(""), .failed = true});
        return false;
    case RAN_WRONG:
        refusal_add(out, (struct cel_refusal){.message = text, .reason = S(""), .failed = true});
        return true;
    case RAN: break;
    }
    if (cel_is_true(v))
        return true;
    if (!message_of(r, &r->p->messages.all[i], &message)) {
        text = arena_fmt(r->a, "failed messageExpression: %s", out_of_budget);
        refusal_add(out, (struct cel_refusal){.message = text, .reason = S(""), .failed = true});
        return true;
    }
    message = message.n      ? message
              : e->message.n ? e->message
                             : arena_fmt(r->a, "failed expression: " STR_FMT, STR_ARG(str_trim(e->text)));
    refusal_add(out, (struct cel_refusal){.message = message, .reason = e->reason});
    return true;
}

static void annotations_run(struct policy_run *r, struct refusals *out)
{
    r->left = BUDGET;
    for (size_t i = 0; i < r->p->annotations.n; i++) {
        struct cel_value v;
        struct str text;
        if (expression_run(r, &r->p->annotations.all[i], &v, &text) != RAN)
            refusal_add(out,
                        (struct cel_refusal){.message = text, .reason = S(""), .failed = true, .annotation = true});
    }
}

size_t cel_policy_validate(const struct cel_policy *p, struct arena *a, const struct cel_admission *x,
                           struct cel_refusal **out)
{
    struct policy_run r;
    struct refusals found = {.all = arena_alloc(a, (p->validations.n + p->annotations.n + 1) * sizeof *found.all)};
    run_begin(&r, p, a, x, false);
    bool on = true;
    for (size_t i = 0; on && i < p->validations.n; i++)
        on = validation_run(&r, i, &found);
    if (on)
        annotations_run(&r, &found);
    *out = found.all;
    return found.n;
}

/* --- mutations --- */

/* Each part of an Object has the type of its place: Object.spec at spec. */
static bool types_match(struct arena *a, struct cel_value v, struct str path, struct strbuf *why)
{
    struct cel_run *run = cel_run_in(a);
    bool ok = true;
    struct cel_value key, value;
    if (v.kind == CEL_LIST)
        for (size_t i = 0, n = cel_list_len(v); i < n; i++)
            ok = types_match(a, cel_list_at(run, v, i), path, why) && ok;
    if (v.kind != CEL_MAP)
        return ok;
    bool object = !v.tree && v.map->type;
    if (object && !str_eqz(path, v.map->type)) {
        strbuf_addf(why,
                    "%sunexpected type name \"%s\", expected \"" STR_FMT
                    "\", which matches field name path from root Object type",
                    why->n ? "\n" : "", v.map->type, STR_ARG(path));
        ok = false;
    }
    for (size_t at = 0; !v.tree && cel_map_next(run, v, &at, &key, &value);) {
        struct str below = object ? arena_fmt(a, STR_FMT "." STR_FMT, STR_ARG(path), STR_ARG(cel_text(key))) : path;
        ok = types_match(a, value, below, why) && ok;
    }
    return ok;
}

static bool val_of_value(struct arena *a, struct cel_value v, struct val *out, struct strbuf *why);

static bool map_of_value(struct arena *a, struct cel_value v, struct val *out, struct strbuf *why)
{
    struct cel_run *run = cel_run_in(a);
    struct cel_value key, value;
    *out = val_map();
    for (size_t at = 0; cel_map_next(run, v, &at, &key, &value);) {
        struct val member;
        if (key.kind != CEL_STRING) {
            strbuf_addf(why, "a map has a key of type %s, not string", cel_type_name(key));
            return false;
        }
        if (!val_of_value(a, value, &member, why))
            return false;
        val_set_str(a, out, cel_text(key), member);
    }
    return true;
}

static bool list_of_value(struct arena *a, struct cel_value v, struct val *out, struct strbuf *why)
{
    struct cel_run *run = cel_run_in(a);
    *out = val_list();
    for (size_t i = 0, n = cel_list_len(v); i < n; i++) {
        struct val item;
        if (!val_of_value(a, cel_list_at(run, v, i), &item, why))
            return false;
        val_add(a, out, item);
    }
    return true;
}

static bool val_of_value(struct arena *a, struct cel_value v, struct val *out, struct strbuf *why)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    *out = (struct val){.type = VAL_NULL};
    switch ((enum cel_kind)v.kind) {
    case CEL_NULL: return true;
    case CEL_BOOL: *out = val_bool(v.b); return true;
    case CEL_INT: *out = val_int(v.i); return true;
    case CEL_UINT: *out = val_int((int64_t)v.u); return v.u <= INT64_MAX;
    case CEL_DOUBLE: *out = (struct val){.type = VAL_DOUBLE, .d = v.d}; return true;
    case CEL_STRING: *out = val_str(a, cel_text(v)); return true;
    case CEL_BYTES:
        strbuf_add_base64(&text, v.text, v.n);
        *out = val_str(a, strbuf_str(&text));
        return true;
    case CEL_DURATION:
        cel_add_duration(&text, v.i);
        *out = val_str(a, strbuf_str(&text));
        return true;
    case CEL_TIMESTAMP:
        cel_add_timestamp(&text, v.i, v.n);
        *out = val_str(a, strbuf_str(&text));
        return true;
    case CEL_LIST: return list_of_value(a, v, out, why);
    case CEL_MAP: return map_of_value(a, v, out, why);
    case CEL_ERROR:
    case CEL_TYPE:
    case CEL_OPTIONAL:
    case CEL_OPAQUE:
    case CEL_KINDS: break;
    }
    strbuf_addf(why, "a value of type %s cannot stand in an object", cel_type_name(v));
    return false;
}

static bool patch_types_match(struct arena *a, struct cel_value list, struct strbuf *why)
{
    struct cel_run *run = cel_run_in(a);
    for (size_t i = 0, n = cel_list_len(list); i < n; i++) {
        struct cel_value value, operation = cel_list_at(run, list, i);
        if (operation.kind == CEL_MAP && cel_map_find(run, operation, cel_string(S("value")), &value) &&
            value.kind == CEL_MAP && !value.tree && value.map->type &&
            !types_match(a, value, str_of(value.map->type), why))
            return false;
    }
    return true;
}

bool cel_policy_mutation(const struct cel_policy *p, size_t i, struct arena *a, const struct cel_admission *x,
                         struct val *out, struct strbuf *why)
{
    struct policy_run r;
    struct cel_value v;
    struct str text;
    run_begin(&r, p, a, x, false);
    if (expression_run(&r, &p->mutations.all[i], &v, &text) != RAN) {
        strbuf_add(why, text);
        return false;
    }
    AUTO(strbuf_fini) struct strbuf mismatch = STRBUF(1 << 16);
    bool ok = v.kind == CEL_LIST ? patch_types_match(a, v, &mismatch) : types_match(a, v, S("Object"), &mismatch);
    if (!ok) {
        strbuf_addf(why, "type mismatch: " STR_FMT, STR_ARG(strbuf_str(&mismatch)));
        return false;
    }
    return val_of_value(a, v, out, why);
}

/* --- whether a policy fits its objects --- */

/* One expression against one kind; what is wrong is added to `out`. */
static void expression_fits(const struct val *spec, struct str text, const struct kind *k, const struct kind *params,
                            struct strbuf *out)
{
    AUTO(arena_fini) struct arena scratch = ARENA;
    AUTO(scope_fini) struct expression_scope s = {.arena = ARENA, .composed = true, .params = params != NULL};
    AUTO(strbuf_fini) struct strbuf why = STRBUF(1 << 16);
    struct cel_program program;
    const struct val *variables = val_get(spec, N(variables));
    s.object = cel_type_of_kind(&s.arena, kind_type(k));
    s.param = params ? cel_type_of_kind(&s.arena, kind_type(params)) : NULL;
    val_each_item (v, variables) {
        bool ok = scope_compile(&s, &s.arena, EXPRESSION_VARIABLE, val_text_at(v, N(expression)), &program, &why);
        scope_declare(&s, str_dup(&s.arena, val_text_at(v, N(name))), ok ? program.type : &cel_type_dyn);
        if (ok)
            cel_program_release(&program);
    }
    why.n = 0;
    if (scope_compile(&s, &scratch, EXPRESSION_VALIDATION, text, &program, &why))
        cel_program_release(&program);
    else
        strbuf_addf(out, "%s" STR_FMT "/" STR_FMT ", Kind=" STR_FMT ": " STR_FMT "\n", out->n ? "\n" : "",
                    STR_ARG(k->group), STR_ARG(k->version), STR_ARG(k->kind), STR_ARG(strbuf_str(&why)));
}

struct val cel_policy_warnings(struct arena *a, const struct val *spec, const struct kind *const *kinds_asked,
                               size_t n, const struct kind *params)
{
    const struct val *validations = val_get(spec, N(validations));
    struct val list = val_list();
    for (size_t i = 0; i < val_len(validations); i++)
        for (int message = 0; message < 2; message++) {
            AUTO(strbuf_fini) struct strbuf warning = STRBUF(1 << 16);
            struct str text = val_text_at(val_item(validations, i), message ? N(messageExpression) : N(expression));
            for (size_t k = 0; text.n && k < n; k++)
                expression_fits(spec, text, kinds_asked[k], params, &warning);
            if (!warning.n)
                continue;
            struct val *one = val_add(a, &list, val_map());
            val_set_text(a, one, N(fieldRef),
                         arena_fmt(a, "spec.validations[%zu].%s", i, message ? "messageExpression" : "expression"));
            val_set_text(a, one, N(warning), str_dup(a, strbuf_str(&warning)));
        }
    return list;
}
