#include "cel/conditions.h"
#include "api/formats.h"
#include "cel/program.h"
#include "cel/run.h"
#include "cel/tell.h"

enum { BUDGET = 250000 }; /* upstream's RuntimeCELCostBudgetMatchConditions: of all of them together */

/* --- the variables (upstream's BuildRequestType) --- */

#define FIELD(field, of)                                                                                             \
    {                                                                                                                \
        S_INIT(#field), N(field), (of)                                                                               \
    }
static const struct cel_type texts = {.kind = CT_LIST, .n = 1, .of = {&cel_type_string}},
                             lists_of_texts = {.kind = CT_MAP, .n = 2, .of = {&cel_type_string, &texts}};
static const struct cel_field kind_fields[] = {FIELD(group, &cel_type_string), FIELD(kind, &cel_type_string),
                                               FIELD(version, &cel_type_string)},
                              resource_fields[] = {FIELD(group, &cel_type_string), FIELD(resource, &cel_type_string),
                                                   FIELD(version, &cel_type_string)},
                              user_fields[] = {FIELD(extra, &lists_of_texts), FIELD(groups, &texts),
                                               FIELD(uid, &cel_type_string), FIELD(username, &cel_type_string)};
#define STRUCT(of, members)                                                                                          \
    {                                                                                                                \
        .kind = CT_STRUCT, .name = (of), .fields = (members), .nfields = countof(members)                            \
    }
static const struct cel_type kind_type = STRUCT("kubernetes.GroupVersionKind", kind_fields),
                             resource_type = STRUCT("kubernetes.GroupVersionResource", resource_fields),
                             user_type = STRUCT("kubernetes.UserInfo", user_fields);
static const struct cel_field request_fields[] = {
    FIELD(dryRun, &cel_type_bool),
    FIELD(kind, &kind_type),
    FIELD(name, &cel_type_string),
    FIELD(namespace, &cel_type_string),
    FIELD(operation, &cel_type_string),
    FIELD(options, &cel_type_dyn),
    FIELD(requestKind, &kind_type),
    FIELD(requestResource, &resource_type),
    FIELD(requestSubResource, &cel_type_string),
    FIELD(resource, &resource_type),
    FIELD(subResource, &cel_type_string),
    FIELD(userInfo, &user_type),
};
static const struct cel_type request_type = STRUCT("kubernetes.AdmissionRequest", request_fields);

enum { OBJECT, OLD_OBJECT, REQUEST };
static const struct cel_variable variables[] = {[OBJECT] = {S_INIT("object"), &cel_type_dyn},
                                                [OLD_OBJECT] = {S_INIT("oldObject"), &cel_type_dyn},
                                                [REQUEST] = {S_INIT("request"), &request_type}};
static const struct cel_env env = {.variables = variables, .n = countof(variables)};

/* --- compiling --- */

struct cel_condition {
    struct str expression;
    struct cel_program program;
    bool compiled;
};
struct cel_conditions {
    struct arena arena;
    struct cel_condition *all;
    size_t n;
};

/* What is wrong with it is in `why`. */
static bool condition_compile(struct arena *a, struct str expression, struct cel_program *out, struct strbuf *why)
{
    AUTO(strbuf_fini) struct strbuf issues = STRBUF(1 << 20);
    if (!cel_compile(a, &env, expression, out, &issues)) {
        strbuf_addf(why, "compilation failed: " STR_FMT, STR_ARG(strbuf_str(&issues)));
        return false;
    }
    if (out->type->kind == CT_BOOL)
        return true;
    strbuf_addz(why, "must evaluate to bool but got ");
    cel_type_add(why, out->type);
    cel_program_release(out);
    return false;
}

void cel_conditions_check(const struct val *list, struct str path, struct field_errors *e)
{
    for (size_t i = 0; i < val_len(list); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        AUTO(strbuf_fini) struct strbuf why = STRBUF(1 << 20), shown = STRBUF(1 << 20);
        struct str expression = val_text_at(val_item(list, i), N(expression));
        struct cel_program program;
        if (!str_trim(expression).n) /* told already */
            continue;
        if (condition_compile(&a, expression, &program, &why)) {
            cel_program_release(&program);
            continue;
        }
        add_quoted(&shown, expression);
        cel_error_tell(e, FE_INVALID, arena_fmt(&a, STR_FMT "[%zu].expression", STR_ARG(path), i), strbuf_str(&shown),
                       strbuf_str(&why));
    }
}

struct cel_conditions *cel_conditions_new(const struct val *list)
{
    if (!val_len(list))
        return NULL;
    struct cel_conditions *c = NEW(struct cel_conditions);
    *c = (struct cel_conditions){.arena = ARENA, .n = val_len(list)};
    c->all = arena_alloc(&c->arena, c->n * sizeof *c->all);
    for (size_t i = 0; i < c->n; i++) {
        AUTO(strbuf_fini) struct strbuf why = STRBUF(1 << 20); /* who wrote it was told */
        struct cel_condition *one = &c->all[i];
        one->expression = str_dup(&c->arena, val_text_at(val_item(list, i), N(expression)));
        one->compiled = condition_compile(&c->arena, one->expression, &one->program, &why);
    }
    return c;
}

void cel_conditions_free(struct cel_conditions *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n; i++)
        if (c->all[i].compiled)
            cel_program_release(&c->all[i].program);
    arena_fini(&c->arena);
    mem_free(c);
}

/* --- running --- */

static void failure_add(struct strbuf *why, const struct cel_condition *one, struct str what)
{
    strbuf_addf(why, "%sexpression '" STR_FMT "' resulted in error: " STR_FMT, why->n ? ", " : "",
                STR_ARG(one->expression), STR_ARG(what));
}

enum cel_met cel_conditions_met(const struct cel_conditions *c, const struct val *request, const struct val *obj,
                                const struct val *old, struct strbuf *why)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf failures = STRBUF(1 << 16);
    struct cel_run *reader = cel_run_in(&a);
    struct cel_value values[] = {[OBJECT] = obj ? cel_of_val(reader, obj, NULL) : cel_null(),
                                 [OLD_OBJECT] = old ? cel_of_val(reader, old, NULL) : cel_null(),
                                 [REQUEST] = cel_of_val(reader, request, NULL)};
    uint64_t left = BUDGET;
    size_t failed = 0;
    for (size_t i = 0; c && i < c->n; i++) {
        const struct cel_condition *one = &c->all[i];
        uint64_t cost = 0;
        bool over = false;
        if (!one->compiled) {
            failure_add(&failures, one, S("it does not compile: the configuration has to be written again"));
            failed++;
            continue;
        }
        struct cel_value v = cel_program_run(&one->program, &a, values, left, &cost, &over);
        if (over || cost > left) {
            strbuf_addz(
                why, "validation failed due to running out of cost budget, no further validation rules will be run");
            return CEL_UNKNOWN;
        }
        left -= cost;
        if (v.kind == CEL_BOOL && !v.b)
            return CEL_NOT_MET;
        if (v.kind == CEL_ERROR) {
            failure_add(&failures, one, cel_text(v));
            failed++;
        }
    }
    if (!failed)
        return CEL_MET;
    strbuf_addf(why, failed > 1 ? "[" STR_FMT "]" : STR_FMT, STR_ARG(strbuf_str(&failures)));
    return CEL_UNKNOWN;
}
