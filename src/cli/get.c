/* get.c - `wherry get`: tables as the server makes them, or the objects; and `wherry api-resources`.
 *
 * First all that was named is asked for, in order, and then it is printed: tables as Table objects (the server
 * decides columns and cells; here only columns are hidden and aligned), other forms from the objects, one as it is
 * and several as a List. What is not there is told and counted, and does not stop the rest. Neighbouring targets of
 * one resource share a table.
 *
 * A watch (-w) goes on from the revision of the list that was printed, so nothing is missed in between. Its answer
 * is read line by line as it comes. The columns come with the first table only, so those of the list are kept. Each
 * event has an arena of its own, because a watch may go on for days.
 *
 * Costs: an answer is held as a whole, text and tree; lists are not fetched in pieces. Not here: sorting, and a
 * watch that begins again by itself when the server ends it.
 */
#include "api/codec.h"
#include "base/clock.h"
#include "cli/documents.h"
#include "cli/fields.h"
#include "cli/output.h"
#include "cli/verbs.h"

struct get {
    struct connect_options to;
    struct str output, selector, fields;
    struct words files;
    bool all, watch, no_headers, show_labels, ignore, deep;
    int64_t timeout_ns;
    struct output form;
    struct client *client;
    bool shown;                     /* something was printed */
    bool kinds;                     /* names carry their kind, since several are shown */
    struct str rev;                 /* of the list, from which a watch goes on */
    const struct resource *watched; /* NULL: none */
    const struct val *columns;      /* of the list; a watch tells them only once */
    struct strbuf line;             /* of a watch: what came of the next event */
};

#define AT(field) offsetof(struct get, field)
static const struct arg_row rows[] = {
    {'o', "output", ARG_TEXT, AT(output), "FORM", "wide, yaml, json, name or jsonpath=TEMPLATE; otherwise a table"},
    {'f', "filename", ARG_TEXTS, AT(files), "FILE", "the objects that a file, a folder or - (stdin) names"},
    {'R', "recursive", ARG_FLAG, AT(deep), NULL, "with -f: folders inside a folder as well"},
    {'l', "selector", ARG_TEXT, AT(selector), "LABELS", "only objects with these labels: app=web,tier!=db"},
    {0, "field-selector", ARG_TEXT, AT(fields), "FIELDS", "only objects with these fields: status.phase=Running"},
    {'A', "all-namespaces", ARG_FLAG, AT(all), NULL, "in all namespaces"},
    {'w', "watch", ARG_FLAG, AT(watch), NULL, "keep showing what changes, until interrupted"},
    {0, "timeout", ARG_TIME, AT(timeout_ns), "TIME", "with --watch: end after this long"},
    {0, "show-labels", ARG_FLAG, AT(show_labels), NULL, "show labels as the last column"},
    {0, "no-headers", ARG_FLAG, AT(no_headers), NULL, "show the table without its header"},
    {0, "ignore-not-found", ARG_FLAG, AT(ignore), NULL, "a name that does not exist is no error"},
};
static const struct arg_spec spec = {
    .verb = "get",
    .usage = "RESOURCE[,RESOURCE] [NAME ...] | RESOURCE/NAME ... | -f FILE",
    .summary = "Shows objects, one line each or whole.",
    .examples = "  wherry get pods,svc -A -o wide        every pod and Service, in all namespaces\n"
                "  wherry get deploy/web -o yaml         one Deployment as it is stored\n",
    .rows = rows,
    .nrows = countof(rows),
    .connects = true,
};

static struct str labels_text(struct arena *a, const struct val *labels)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    val_each_member (it, labels)
        strbuf_addf(&b, "%s" STR_FMT "=" STR_FMT, b.n ? "," : "", STR_ARG(it->name->s), STR_ARG(val_text(&it->v)));
    return b.n ? str_dup(a, strbuf_str(&b)) : S("<none>");
}

static bool column_shown(const struct get *g, const struct val *column)
{
    return field_num(column, "priority", 0) == 0 || g->form.form == OUT_WIDE;
}

static struct str text_upper(struct arena *a, struct str s)
{
    char *p = arena_strz(a, s);
    for (size_t i = 0; i < s.n; i++)
        p[i] = p[i] >= 'a' && p[i] <= 'z' ? (char)(p[i] - 32) : p[i];
    return (struct str){p, s.n};
}

static void table_head(struct get *g, const struct resource *r, const struct val *columns, struct table *t)
{
    struct arena *a = &g->client->arena;
    if (g->all && r->namespaced)
        table_add(t, S("NAMESPACE"));
    val_each_item (it, columns)
        if (column_shown(g, it))
            table_add(t, text_upper(a, field_text(it, "name")));
    if (g->show_labels)
        table_add(t, S("LABELS"));
    t->columns = t->cells.n;
}

static struct str cell_text(struct get *g, const struct resource *r, const struct val *cell, size_t column)
{
    struct arena *a = &g->client->arena;
    struct str s = scalar_text(a, cell);
    if (column == 0 && g->kinds)
        return resource_label(a, r, s);
    if (!s.n && val_is(cell, VAL_NULL))
        return S("<none>");
    return s;
}

static void table_row(struct get *g, const struct resource *r, const struct val *columns, const struct val *row,
                      struct table *t)
{
    const struct val *meta = field_at(row, "object.metadata"), *cells = field_at(row, "cells");
    if (g->all && r->namespaced)
        table_add(t, field_text(meta, "namespace"));
    for (size_t i = 0; i < val_len(columns); i++)
        if (column_shown(g, val_item(columns, i)))
            table_add(t, cell_text(g, r, val_item(cells, i), i));
    if (g->show_labels)
        table_add(t, labels_text(&g->client->arena, field_at(meta, "labels")));
}

/* The rows of one or more Tables of one resource. */
static void tables_print(struct get *g, const struct resource *r, const struct val *const *tables, size_t n,
                         bool head)
{
    AUTO(table_fini) struct table t = {0};
    const struct val *columns = n ? field_at(tables[0], "columnDefinitions") : NULL;
    size_t rows_found = 0;
    for (size_t i = 0; i < n; i++)
        rows_found += val_len(field_at(tables[i], "rows"));
    if (!rows_found)
        return;
    if (!val_len(columns))
        columns = g->columns;
    table_head(g, r, columns, &t);
    for (size_t i = 0; i < n; i++)
        val_each_item (row, field_at(tables[i], "rows"))
            table_row(g, r, columns, row, &t);
    if (g->shown && head && g->kinds)
        output_show(stdout, "\n");
    table_print(&t, head && !g->no_headers ? 0 : 1, stdout);
    g->shown = true;
}

static struct str query_of(struct get *g, bool watch)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    query_put(&b, "labelSelector", g->selector);
    query_put(&b, "fieldSelector", g->fields);
    if (watch) {
        query_put(&b, "watch", S("true"));
        query_put(&b, "resourceVersion", g->rev);
    }
    return str_dup(&g->client->arena, strbuf_str(&b));
}

static bool is_table(const struct get *g)
{
    return g->form.form == OUT_TABLE || g->form.form == OUT_WIDE;
}

static bool objects_get(struct get *g, const struct target *t, struct val *out, struct err *err)
{
    struct client *c = g->client;
    struct ask q = {.path = resource_path(&c->arena, t->resource,
                                          g->all    ? S("")
                                          : t->ns.p ? t->ns
                                                    : target_ns(c, t->resource),
                                          t->name, S("")),
                    .query = t->name.n ? S("") : query_of(g, false)};
    if (is_table(g))
        q.accept = S("application/json;as=Table;v=v1;g=meta.k8s.io,application/json");
    return client_ask(c, &q, out, err);
}

/* Every target's answer, in order; those that are not there are told and counted. */
static size_t answers_get(struct get *g, const struct targets *t, struct val *answers, bool *there)
{
    size_t failed = 0;
    for (size_t i = 0; i < t->n; i++) {
        struct err err = ERR;
        there[i] = objects_get(g, &t->p[i], &answers[i], &err);
        if (there[i] || (err.kind == E_NOT_FOUND && g->ignore && t->p[i].name.n))
            continue;
        client_failed(g->client, &err);
        failed++;
    }
    return failed;
}

static void answers_table(struct get *g, const struct targets *t, const struct val *answers, const bool *there)
{
    const struct val **run = arena_alloc(&g->client->arena, (t->n + 1) * sizeof *run);
    for (size_t i = 0; i < t->n;) {
        const struct resource *r = t->p[i].resource;
        size_t n = 0;
        for (; i < t->n && t->p[i].resource == r; i++)
            if (there[i])
                run[n++] = &answers[i];
        tables_print(g, r, run, n, true);
        if (n) {
            g->columns = field_at(run[0], "columnDefinitions");
            g->rev = field_text(run[0], "metadata.resourceVersion");
        }
    }
}

/* One object as it is, everything else as a List. */
static void answers_whole(struct get *g, const struct targets *t, const struct val *answers, const bool *there)
{
    struct arena *a = &g->client->arena;
    if (t->n == 1 && t->p[0].name.n) {
        if (there[0])
            output_print(g->client, &g->form, t->p[0].resource, &answers[0]);
        return;
    }
    struct val list = val_map(), items = val_list();
    for (size_t i = 0; i < t->n; i++) {
        if (!there[i])
            continue;
        if (t->p[i].name.n) {
            val_add(a, &items, val_copy(a, &answers[i]));
            continue;
        }
        val_each_item (it, field_at(&answers[i], "items")) {
            struct val v = val_copy(a, it);
            val_set(a, &v, N(apiVersion), val_str(a, t->p[i].resource->api_version));
            val_set(a, &v, N(kind), val_str(a, t->p[i].resource->kind));
            val_add(a, &items, v);
        }
    }
    val_set(a, &list, N(apiVersion), val_str(a, S("v1")));
    val_set(a, &list, N(kind), val_str(a, S("List")));
    val_set(a, &list, N(items), items);
    output_print(g->client, &g->form, NULL, &list);
}

/* ---- watching ---- */

static void event_print(struct get *g, struct str line)
{
    struct client *c = g->client;
    struct arena keep = c->arena;
    struct val event;
    struct err err = ERR;
    c->arena = ARENA; /* a watch may go on for days: each event's memory goes with it */
    if (!json_decode(&c->arena, line, &event, &err)) {
        client_failed(c, &err);
    } else if (str_eqz(field_text(&event, "type"), "ERROR")) {
        output_show(stderr, "wherry get: " STR_FMT "\n", STR_ARG(field_text(&event, "object.message")));
    } else if (is_table(g)) {
        const struct val *one = field_at(&event, "object");
        tables_print(g, g->watched, &one, 1, false);
    } else {
        output_print(c, &g->form, g->watched, field_at(&event, "object"));
    }
    fflush(stdout);
    arena_fini(&c->arena);
    c->arena = keep;
}

struct get_watching {
    struct call call;
    struct get *get;
};

static void watch_data(struct call *call, struct str bytes)
{
    struct get *g = container_of(call, struct get_watching, call)->get;
    strbuf_add(&g->line, bytes);
    for (ptrdiff_t at; (at = str_find_char(strbuf_str(&g->line), '\n')) >= 0;) {
        event_print(g, str_sub(strbuf_str(&g->line), 0, (size_t)at));
        strbuf_drop(&g->line, (size_t)at + 1);
    }
}

static int objects_watch(struct get *g, const struct target *t)
{
    struct client *c = g->client;
    struct err err = ERR;
    g->watched = t->resource;
    g->line = STRBUF(64u << 20);
    if (t->name.n)
        g->fields = arena_fmt(&c->arena, "metadata.name=" STR_FMT, STR_ARG(t->name));
    struct str query = query_of(g, true);
    if (g->timeout_ns)
        query = arena_fmt(&c->arena, STR_FMT "&timeoutSeconds=%lld", STR_ARG(query),
                          (long long)(g->timeout_ns / NS_PER_S));
    struct get_watching w = {.get = g, .call.data = watch_data};
    struct call_options o = CALL_OPTIONS(.verb = CALL_RAW,
                                         .path = resource_path(&c->arena, t->resource,
                                                               g->all    ? S("")
                                                               : t->ns.p ? t->ns
                                                                         : target_ns(c, t->resource),
                                                               S(""), S("")),
                                         .query = query,
                                         .accept = is_table(g) ? S("application/json;as=Table;v=v1;g=meta.k8s.io")
                                                               : S(""));
    bool ok = call_run(&w.call, c->transport, &o, &err);
    call_fini(&w.call);
    strbuf_fini(&g->line);
    return ok ? 0 : client_failed(c, &err);
}

static bool targets_of_files(struct get *g, struct targets *t, struct err *err)
{
    struct client *c = g->client;
    struct documents d;
    if (!documents_read(c, g->files, g->deep, &d, err))
        return false;
    *t = (struct targets){.slashed = true, .kinds = d.n, .n = d.n, .p = arena_alloc(&c->arena, d.n * sizeof *t->p)};
    for (size_t i = 0; i < d.n; i++) {
        if (!document_place(c, &d.p[i], false, err))
            return false;
        t->p[i] = (struct target){.resource = d.p[i].resource, .name = d.p[i].name, .ns = d.p[i].ns};
    }
    return true;
}

static int get_run(struct get *g, struct words words)
{
    struct client *c = g->client;
    struct targets t;
    struct err err = ERR;
    if (!output_read(g->output, &g->form, &err) ||
        !(g->files.n ? targets_of_files(g, &t, &err) : targets_read(c, words, &t, &err)))
        return client_failed(c, &err);
    if (g->watch && (t.n != 1 || t.kinds != 1))
        return err_set(&err, E_INVALID, "--watch: one resource, or one object, at a time"), client_failed(c, &err);
    for (size_t i = 0; i < t.n; i++)
        if (t.p[i].name.n && (g->all || g->selector.n || g->fields.n))
            return err_set(&err, E_INVALID, "a name cannot be joined with --all-namespaces or a selector"),
                   client_failed(c, &err);
    g->kinds = t.kinds > 1;
    struct val *answers = arena_alloc(&c->arena, (t.n + 1) * sizeof *answers);
    bool *there = arena_alloc(&c->arena, t.n + 1);
    size_t failed = answers_get(g, &t, answers, there);
    if (is_table(g))
        answers_table(g, &t, answers, there);
    else if (!failed || t.n > 1) {
        answers_whole(g, &t, answers, there);
        g->rev = field_text(&answers[0], "metadata.resourceVersion");
        g->shown = true;
    }
    fflush(stdout);
    if (!g->shown && !failed && !g->ignore)
        output_show(stderr, "No resources found%s" STR_FMT "%s.\n", g->all ? "" : " in ",
                    STR_ARG(g->all ? S("") : c->ns), g->all ? "" : " namespace");
    if (g->watch && !failed)
        return objects_watch(g, &t.p[0]);
    return failed ? 1 : 0;
}

int get_main(int argc, char **argv)
{
    AUTO(client_fini) struct client c = {.verb = "get"};
    struct get g = {.client = &c};
    struct words words;
    struct err err = ERR;
    enum args_result r = args_read(&c.arena, &spec, argc, argv, &g, &words, NULL);
    if (r != ARGS_RUN)
        return r == ARGS_HELPED ? 0 : 2;
    if (words.n && g.files.n) {
        fprintf(stderr, "wherry get: name a resource, or a file with -f; wherry get --help shows how\n");
        return 2;
    }
    if (!client_open(&c, &g.to, &err))
        return client_failed(&c, &err);
    return get_run(&g, words);
}

static const struct arg_spec kinds_spec = {
    .verb = "api-resources",
    .usage = "",
    .summary = "Lists the resources that the server has, with the names they go by.",
    .examples = "  wherry api-resources\n  wherry api-resources --root /tmp/second\n",
    .connects = true,
};

static int resources_print(struct client *c)
{
    AUTO(table_fini) struct table t = {.columns = 5};
    static const char *const head[] = {"NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"};
    for (size_t i = 0; i < countof(head); i++)
        table_add(&t, str_of(head[i]));
    for (size_t i = 0; i < c->nresources; i++) {
        const struct resource *r = &c->resources[i];
        AUTO(strbuf_fini) struct strbuf shorts = STRBUF(STRBUF_TEXT);
        val_each_item (it, r->shorts)
            strbuf_addf(&shorts, "%s" STR_FMT, shorts.n ? "," : "", STR_ARG(val_text(it)));
        table_add(&t, r->plural);
        table_add(&t, str_dup(&c->arena, strbuf_str(&shorts)));
        table_add(&t, r->api_version);
        table_add(&t, r->namespaced ? S("true") : S("false"));
        table_add(&t, r->kind);
    }
    table_print(&t, 0, stdout);
    return 0;
}

int api_resources_main(int argc, char **argv)
{
    AUTO(client_fini) struct client c = {.verb = "api-resources"};
    struct connect_options o = {0};
    struct words words;
    struct err err = ERR;
    enum args_result r = args_read(&c.arena, &kinds_spec, argc, argv, &o, &words, NULL);
    if (r != ARGS_RUN)
        return r == ARGS_HELPED ? 0 : 2;
    if (!client_open(&c, &o, &err) || !resources_load(&c, &err))
        return client_failed(&c, &err);
    return resources_print(&c);
}
