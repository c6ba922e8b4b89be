#include "cli/documents.h"
#include "cli/fields.h"
#include "cli/observe.h"
#include "cli/output.h"
#include "cli/verbs.h"

/* wherry delete: says so, and waits until it is gone. */
struct delete
{
    struct connect_options to;
    struct words files;
    struct str selector, cascade;
    bool all, ignore, now, no_wait, dry_run, deep;
    int64_t grace_s, timeout_ns;
    struct client *client;
    struct deleted *deleted; /* to wait for */
    size_t ndeleted;
};
struct deleted {
    const struct resource *resource;
    struct str ns, name, uid;
};

#define AT(field) offsetof(struct delete, field)
static const struct arg_row rows[] = {
    {'f', "filename", ARG_TEXTS, AT(files), "FILE", "the objects that a file, a folder or - (stdin) names"},
    {'R', "recursive", ARG_FLAG, AT(deep), NULL, "with -f: folders inside a folder as well"},
    {'l', "selector", ARG_TEXT, AT(selector), "LABELS", "only objects with these labels: app=web,tier!=db"},
    {0, "all", ARG_FLAG, AT(all), NULL, "all objects of the namespace"},
    {0, "cascade", ARG_TEXT, AT(cascade), "HOW",
     "what it owns goes: background (default), foreground; stays: orphan"},
    {0, "grace-period", ARG_NUM, AT(grace_s), "SECONDS", "the grace period, instead of the object's own"},
    {0, "now", ARG_FLAG, AT(now), NULL, "a grace period of one second"},
    {0, "ignore-not-found", ARG_FLAG, AT(ignore), NULL, "a name that does not exist is no error"},
    {0, "no-wait", ARG_FLAG, AT(no_wait), NULL, "do not wait until objects are gone"},
    {0, "timeout", ARG_TIME, AT(timeout_ns), "TIME", "wait at most this long"},
    {0, "dry-run", ARG_FLAG, AT(dry_run), NULL, "the server checks, and nothing is changed"},
};
static const struct arg_spec spec = {
    .verb = "delete",
    .usage = "RESOURCE NAME ... | RESOURCE/NAME ... | -f FILE | RESOURCE -l LABELS | RESOURCE --all",
    .summary = "Deletes objects and what they own, and waits until they are gone.",
    .examples = "  wherry delete -f web.yaml\n"
                "  wherry delete pods -l app=web --grace-period 5\n",
    .rows = rows,
    .nrows = countof(rows),
    .connects = true,
};

static bool options_of(const struct delete *x, struct val *v, struct err *err)
{
    static const struct {
        const char *word, *policy;
    } policies[] = {
        {"", "Background"}, {"background", "Background"}, {"foreground", "Foreground"}, {"orphan", "Orphan"}};
    struct arena *a = &x->client->arena;
    *v = val_map();
    val_set_text(a, v, N(apiVersion), S("v1"));
    val_set_text(a, v, N(kind), S("DeleteOptions"));
    if (x->grace_s >= 0)
        val_set_num(a, v, N(gracePeriodSeconds), x->grace_s);
    if (x->dry_run) {
        struct val all = val_list();
        val_add(a, &all, val_str_borrowed(S("All")));
        val_set(a, v, N(dryRun), all);
    }
    for (size_t i = 0; i < countof(policies); i++)
        if (str_eqz(x->cascade, policies[i].word)) {
            val_set_text(a, v, N(propagationPolicy), str_of(policies[i].policy));
            return true;
        }
    return err_set(err, E_INVALID, "--cascade " STR_FMT ": must be background, foreground or orphan",
                   STR_ARG(x->cascade));
}

static void deleted_add(struct delete *x, struct deleted d)
{
    struct arena *a = &x->client->arena;
    if ((x->ndeleted & (x->ndeleted - 1)) == 0) {
        struct deleted *p = arena_alloc(a, MAX(x->ndeleted * 2, 1) * sizeof *p);
        if (x->ndeleted)
            memcpy(p, x->deleted, x->ndeleted * sizeof *p);
        x->deleted = p;
    }
    x->deleted[x->ndeleted++] = d;
}

static bool delete_one(struct delete *x, const struct resource *r, struct str ns, struct str name, struct err *err)
{
    struct client *c = x->client;
    struct val body, answer;
    if (!options_of(x, &body, err))
        return false;
    struct ask q = {.method = "DELETE", .path = resource_path(&c->arena, r, ns, name, S("")), .body = &body};
    if (!client_ask(c, &q, &answer, err))
        return err->kind == E_NOT_FOUND && x->ignore;
    struct str uid = field_text(&answer, "metadata.uid");
    if (!uid.n)
        uid = field_text(&answer, "details.uid");
    output_show(stdout, STR_FMT "%s" STR_FMT " \"" STR_FMT "\" deleted%s\n", STR_ARG(r->singular),
                r->group.n ? "." : "", STR_ARG(r->group), STR_ARG(name), x->dry_run ? " (dry run)" : "");
    fflush(stdout);
    deleted_add(x, (struct deleted){r, ns, name, uid});
    return true;
}

static bool delete_chosen(struct delete *x, const struct resource *r, struct err *err)
{
    struct client *c = x->client;
    AUTO(strbuf_fini) struct strbuf query = STRBUF(STRBUF_TEXT);
    struct val list;
    query_put(&query, "labelSelector", x->selector);
    if (!client_ask(c,
                    &(struct ask){.path = resource_path(&c->arena, r, target_ns(c, r), S(""), S("")),
                                  .query = strbuf_str(&query)},
                    &list, err))
        return false;
    bool ok = true;
    val_each_item (it, field_at(&list, "items"))
        ok &= delete_one(x, r, target_ns(c, r), field_text(it, "metadata.name"), err) ||
              (client_failed(c, err), false);
    if (!val_len(field_at(&list, "items")))
        output_show(stderr, "No resources found.\n");
    err->kind = ok ? E_NONE : E_CANCELLED; /* what failed is told already */
    return ok;
}

static int delete_words(struct delete *x, struct words words)
{
    struct client *c = x->client;
    struct targets t;
    struct err err = ERR;
    if (!targets_read(c, words, &t, &err))
        return client_failed(c, &err);
    int status = 0;
    for (size_t i = 0; i < t.n; i++) {
        struct err why = ERR;
        bool ok;
        if (t.p[i].name.n)
            ok = delete_one(x, t.p[i].resource, target_ns(c, t.p[i].resource), t.p[i].name, &why);
        else if (x->selector.n || x->all)
            ok = delete_chosen(x, t.p[i].resource, &why);
        else
            ok = err_set(&why, E_INVALID, "name what is to go: NAME, -l LABELS or --all");
        if (!ok)
            status = why.kind == E_CANCELLED ? 1 : client_failed(c, &why);
    }
    return status;
}

/* The last of a file goes first: what stands above is what the rest was built on. */
static int delete_files(struct delete *x)
{
    struct client *c = x->client;
    struct documents d;
    struct err err = ERR;
    int status = 0;
    if (!documents_read(c, x->files, x->deep, &d, &err))
        return client_failed(c, &err);
    for (size_t i = d.n; i-- > 0;) {
        struct err why = ERR;
        if (!document_place(c, &d.p[i], false, &why) ||
            (!delete_one(x, d.p[i].resource, d.p[i].ns, d.p[i].name, &why) && !document_wrap(&d.p[i], &why)))
            status = client_failed(c, &why);
    }
    return status;
}

static enum observed object_gone(const struct val *object, void *arg, struct err *err)
{
    const struct deleted *d = arg;
    (void)err;
    bool other = object && d->uid.n && !str_eq(field_text(object, "metadata.uid"), d->uid);
    return !object || other ? OBSERVE_DONE : OBSERVE_ON;
}

static int wait_gone(struct delete *x)
{
    int status = 0;
    for (size_t i = 0; i < x->ndeleted; i++) {
        struct deleted *d = &x->deleted[i];
        struct err err = ERR;
        if (object_observe(x->client, d->resource, d->ns, d->name, object_gone, d, x->timeout_ns ? x->timeout_ns : -1,
                           &err))
            continue;
        err_wrap(&err, STR_FMT "/" STR_FMT ": is deleted, but not gone yet", STR_ARG(d->resource->singular),
                 STR_ARG(d->name));
        status = client_failed(x->client, &err);
    }
    return status;
}

int delete_main(int argc, char **argv)
{
    AUTO(client_fini) struct client c = {.verb = "delete"};
    struct delete x = {.client = &c, .grace_s = -1};
    struct words words;
    struct err err = ERR;
    enum args_result r = args_read(&c.arena, &spec, argc, argv, &x, &words, NULL);
    if (r != ARGS_RUN)
        return r == ARGS_HELPED ? 0 : 2;
    if (!words.n == !x.files.n) {
        output_show(stderr, "wherry delete: name what is to go, or a file with -f; wherry delete --help shows how\n");
        return 2;
    }
    if (x.now)
        x.grace_s = 1;
    if (!client_open(&c, &x.to, &err))
        return client_failed(&c, &err);
    int status = x.files.n ? delete_files(&x) : delete_words(&x, words);
    if (!x.no_wait && !x.dry_run)
        status |= wait_gone(&x);
    return status;
}
