#include "cli/describe.h"
#include "base/clock.h"
#include "cli/fields.h"
#include "cli/output.h"
#include "cli/verbs.h"

/* wherry describe: what an object is, how it is, and what happened to it. */
struct describe {
    struct connect_options to;
    struct str selector;
    struct client *client;
};
static const struct arg_row rows[] = {
    {'l', "selector", ARG_TEXT, offsetof(struct describe, selector), "LABELS",
     "only objects with these labels: app=web,tier!=db"},
};
static const struct arg_spec spec = {
    .verb = "describe",
    .usage = "RESOURCE [NAME ...] | RESOURCE/NAME ...",
    .summary = "Tells what an object is, how it is doing and what happened to it.",
    .examples = "  wherry describe deploy/web\n  wherry describe pods -l app=web\n",
    .rows = rows,
    .nrows = countof(rows),
    .connects = true,
};

static bool events_add(struct client *c, const struct val *object, struct strbuf *b, struct err *err)
{
    struct val list;
    AUTO(strbuf_fini) struct strbuf query = STRBUF(STRBUF_TEXT);
    struct str ns = field_text(object, "metadata.namespace");
    query_put(&query, "fieldSelector",
              arena_fmt(&c->arena, "involvedObject.uid=" STR_FMT, STR_ARG(field_text(object, "metadata.uid"))));
    struct str path = arena_fmt(&c->arena, "/api/v1/namespaces/" STR_FMT "/events",
                                STR_ARG(ns.n ? ns : S("default")));
    if (!client_ask(c, &(struct ask){.path = path, .query = strbuf_str(&query)}, &list, err))
        return false;
    describe_events(&c->arena, &list, clock_real(), b);
    return true;
}

static bool describe_one(struct client *c, const struct resource *r, const struct val *object, bool first,
                         struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(64u << 20);
    describe_object(&c->arena, r->kind, r->type, object, clock_real(), &b);
    if (!events_add(c, object, &b, err))
        return false;
    output_show(stdout, "%s%s", first ? "" : "\n\n", b.p);
    return true;
}

static bool describe_target(struct describe *x, const struct target *t, bool *first, struct err *err)
{
    struct client *c = x->client;
    AUTO(strbuf_fini) struct strbuf query = STRBUF(STRBUF_TEXT);
    struct val v;
    if (!t->name.n)
        query_put(&query, "labelSelector", x->selector);
    if (!client_ask(
            c,
            &(struct ask){.path = resource_path(&c->arena, t->resource, target_ns(c, t->resource), t->name, S("")),
                          .query = strbuf_str(&query)},
            &v, err))
        return false;
    if (t->name.n) {
        bool ok = describe_one(c, t->resource, &v, *first, err);
        *first = false;
        return ok;
    }
    val_each_item (it, field_at(&v, "items")) {
        if (!describe_one(c, t->resource, it, *first, err))
            return false;
        *first = false;
    }
    return true;
}

int describe_main(int argc, char **argv)
{
    AUTO(client_fini) struct client c = {.verb = "describe"};
    struct describe x = {.client = &c};
    struct words words;
    struct targets t;
    struct err err = ERR;
    bool first = true;
    int status = 0;
    enum args_result r = args_read(&c.arena, &spec, argc, argv, &x, &words, NULL);
    if (r != ARGS_RUN)
        return r == ARGS_HELPED ? 0 : 2;
    if (!client_open(&c, &x.to, &err) || !targets_read(&c, words, &t, &err))
        return client_failed(&c, &err);
    for (size_t i = 0; i < t.n; i++) {
        struct err why = ERR;
        if (!describe_target(&x, &t.p[i], &first, &why))
            status = client_failed(&c, &why);
    }
    if (first && !status)
        output_show(stderr, "No resources found.\n");
    return status;
}
