#include "base/clock.h"
#include "cli/fields.h"
#include "cli/jsonpath.h"
#include "cli/observe.h"
#include "cli/output.h"
#include "cli/verbs.h"

/* wherry wait: until an object is as it should be, by a watch. */
struct wait {
    struct connect_options to;
    struct str what, selector;
    bool all;
    int64_t timeout_ns;
    struct client *client;
    enum { FOR_CONDITION, FOR_DELETE, FOR_CREATE, FOR_PATH } kind;
    struct str name, value; /* the condition, or the path; the value wanted, p NULL: any */
};

#define AT(field) offsetof(struct wait, field)
static const struct arg_row rows[] = {
    {0, "for", ARG_TEXT, AT(what), "WHAT", "condition=TYPE[=VALUE], delete, create or jsonpath='{.PATH}'[=VALUE]"},
    {0, "timeout", ARG_TIME, AT(timeout_ns), "TIME", "wait at most this long for each object (30s)"},
    {'l', "selector", ARG_TEXT, AT(selector), "LABELS", "only objects with these labels: app=web,tier!=db"},
    {0, "all", ARG_FLAG, AT(all), NULL, "all objects of the namespace"},
};
static const struct arg_spec spec = {
    .verb = "wait",
    .usage = "RESOURCE/NAME ... --for WHAT",
    .summary = "Waits until objects are as they should be.",
    .examples = "  wherry wait deploy/web --for condition=Available --timeout 2m\n"
                "  wherry wait pods -l app=web --for jsonpath='{.status.phase}'=Running\n",
    .rows = rows,
    .nrows = countof(rows),
    .connects = true,
};

static bool what_read(struct wait *x, struct err *err)
{
    struct str head, rest;
    if (str_eqz(x->what, "delete") || str_eqz(x->what, "create")) {
        x->kind = str_eqz(x->what, "delete") ? FOR_DELETE : FOR_CREATE;
        return true;
    }
    bool valued = str_split(x->what, '=', &head, &rest);
    if (valued && str_eqz(head, "condition") && rest.n) {
        x->kind = FOR_CONDITION;
        if (!str_split(rest, '=', &x->name, &x->value))
            x->value = S("True");
        return true;
    }
    if (valued && str_eqz(head, "jsonpath")) {
        ptrdiff_t end = str_rfind_char(rest, '}');
        x->kind = FOR_PATH;
        x->name = end < 0 ? rest : str_sub(rest, 0, (size_t)end + 1);
        struct str after = str_sub(rest, x->name.n, rest.n);
        x->value = after.n && after.p[0] == '=' ? str_sub(after, 1, after.n) : STR_NONE;
        return true;
    }
    return err_set(err, E_INVALID,
                   "--for \"" STR_FMT
                   "\": must be condition=TYPE[=VALUE], delete, create or jsonpath='{.PATH}'[=VALUE]",
                   STR_ARG(x->what));
}

static bool condition_met(const struct wait *x, const struct val *object)
{
    int64_t generation = field_num(object, "metadata.generation", 0);
    if (field_num(object, "status.observedGeneration", generation) < generation)
        return false;
    val_each_item (it, field_at(object, "status.conditions"))
        if (str_ieq(field_text(it, "type"), x->name))
            return field_num(it, "observedGeneration", generation) >= generation &&
                   str_ieq(field_text(it, "status"), x->value);
    return false;
}

static enum observed path_met(const struct wait *x, const struct val *object, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1u << 20);
    if (!jsonpath_print(&a, x->name, object, &b, err))
        return OBSERVE_FAILED;
    bool met = x->value.p ? str_eq(strbuf_str(&b), x->value) : b.n > 0;
    return met ? OBSERVE_DONE : OBSERVE_ON;
}

static enum observed object_seen(const struct val *object, void *arg, struct err *err)
{
    const struct wait *x = arg;
    if (x->kind == FOR_DELETE || x->kind == FOR_CREATE)
        return !object == (x->kind == FOR_DELETE) ? OBSERVE_DONE : OBSERVE_ON;
    if (!object)
        return err_set(err, E_NOT_FOUND, "it is not there"), OBSERVE_FAILED;
    if (x->kind == FOR_PATH)
        return path_met(x, object, err);
    return condition_met(x, object) ? OBSERVE_DONE : OBSERVE_ON;
}

static bool wait_one(struct wait *x, const struct resource *r, struct str name, struct err *err)
{
    struct client *c = x->client;
    struct str label = resource_label(&c->arena, r, name);
    if (!object_observe(c, r, target_ns(c, r), name, object_seen, x, x->timeout_ns, err))
        return err_wrap(err, STR_FMT ": waiting for " STR_FMT, STR_ARG(label), STR_ARG(x->what));
    output_show(stdout, STR_FMT " %s\n", STR_ARG(label), x->kind == FOR_DELETE ? "deleted" : "condition met");
    fflush(stdout);
    return true;
}

static int wait_chosen(struct wait *x, const struct resource *r)
{
    struct client *c = x->client;
    AUTO(strbuf_fini) struct strbuf query = STRBUF(STRBUF_TEXT);
    struct val list;
    struct err err = ERR;
    int status = 0;
    query_put(&query, "labelSelector", x->selector);
    if (!client_ask(c,
                    &(struct ask){.path = resource_path(&c->arena, r, target_ns(c, r), S(""), S("")),
                                  .query = strbuf_str(&query)},
                    &list, &err))
        return client_failed(c, &err);
    if (!val_len(field_at(&list, "items")) && x->kind != FOR_DELETE)
        return err_set(&err, E_NOT_FOUND, "no " STR_FMT " is there to wait for", STR_ARG(r->plural)),
               client_failed(c, &err);
    val_each_item (it, field_at(&list, "items")) {
        struct err why = ERR;
        if (!wait_one(x, r, field_text(it, "metadata.name"), &why))
            status = client_failed(c, &why);
    }
    return status;
}

int wait_main(int argc, char **argv)
{
    AUTO(client_fini) struct client c = {.verb = "wait"};
    struct wait x = {.client = &c, .timeout_ns = 30 * NS_PER_S};
    struct words words;
    struct targets t;
    struct err err = ERR;
    enum args_result r = args_read(&c.arena, &spec, argc, argv, &x, &words, NULL);
    if (r != ARGS_RUN)
        return r == ARGS_HELPED ? 0 : 2;
    if (!what_read(&x, &err)) {
        client_failed(&c, &err);
        return 2;
    }
    if (!client_open(&c, &x.to, &err) || !targets_read(&c, words, &t, &err))
        return client_failed(&c, &err);
    int status = 0;
    for (size_t i = 0; i < t.n; i++) {
        struct err why = ERR;
        if (!t.p[i].name.n && !x.all && !x.selector.n)
            err_set(&why, E_INVALID, "name what to wait for: NAME, -l LABELS or --all");
        if (t.p[i].name.n ? !wait_one(&x, t.p[i].resource, t.p[i].name, &why) : why.kind != E_NONE)
            status = client_failed(&c, &why);
        else if (!t.p[i].name.n)
            status |= wait_chosen(&x, t.p[i].resource);
    }
    return status;
}
