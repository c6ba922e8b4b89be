#include "cli/documents.h"
#include "cli/fields.h"
#include "cli/lastapplied.h"
#include "cli/output.h"
#include "cli/verbs.h"

/* wherry apply: the server becomes what the files say. Three-way: what was applied before and is gone from the file
 * goes; what others set stays. */
struct apply {
    struct connect_options to;
    struct words files;
    struct str output;
    bool dry_run, deep;
    struct client *client;
    struct output form;
};

#define AT(field) offsetof(struct apply, field)
static const struct arg_row rows[] = {
    {'f', "filename", ARG_TEXTS, AT(files), "FILE", "a file, a folder or - (stdin); can be given several times"},
    {'R', "recursive", ARG_FLAG, AT(deep), NULL, "with -f: folders inside a folder as well"},
    {'o', "output", ARG_TEXT, AT(output), "FORM", "show what the server has now: yaml, json or name"},
    {0, "dry-run", ARG_FLAG, AT(dry_run), NULL, "the server checks, and nothing is changed"},
};
static const struct arg_spec spec = {
    .verb = "apply",
    .usage = "-f FILE|DIR|- ...",
    .summary = "Makes the server hold what files say: creates what is missing and patches what differs. What the\n"
               "file held when it was last applied, and does not hold any more, is removed. Works together with\n"
               "kubectl apply.",
    .examples = "  wherry apply -f web.yaml              a file with any number of documents\n"
                "  cat *.yaml | wherry apply -f - -n shop\n",
    .rows = rows,
    .nrows = countof(rows),
    .connects = true,
};

static struct str write_query(const struct apply *x)
{
    return x->dry_run ? S("fieldManager=wherry-apply&fieldValidation=Strict&dryRun=All")
                      : S("fieldManager=wherry-apply&fieldValidation=Strict");
}

static bool document_create(struct apply *x, struct document *d, const struct val *wanted, struct val *out,
                            struct err *err)
{
    struct client *c = x->client;
    struct ask q = {.method = "POST",
                    .path = resource_path(&c->arena, d->resource, d->ns, S(""), S("")),
                    .query = write_query(x),
                    .body = wanted};
    return client_ask(c, &q, out, err);
}

/* The server names the field that may not change; the way out is to make the object anew. */
static bool document_refused(struct document *d, struct err *err)
{
    struct err why = *err;
    if (!strstr(why.text, "field is immutable"))
        return false;
    return err_set(err, why.kind, "%s; to make it anew: wherry delete " STR_FMT "/" STR_FMT ", then apply again",
                   why.text, STR_ARG(d->resource->singular), STR_ARG(d->name));
}

static bool document_change(struct apply *x, struct document *d, const struct val *wanted, const struct val *live,
                            struct val *out, const char **done, struct err *err)
{
    struct client *c = x->client;
    struct val last, patch;
    bool strategic;
    if (!last_applied_get(&c->arena, live, &last, err) ||
        !apply_patch(&c->arena, d->resource->type, &last, wanted, live, &patch, &strategic, err))
        return false;
    *out = *live;
    *done = "unchanged";
    if (!val_len(&patch))
        return true;
    *done = "configured";
    struct ask q = {.method = "PATCH",
                    .path = resource_path(&c->arena, d->resource, d->ns, d->name, S("")),
                    .query = write_query(x),
                    .content_type = strategic ? S("application/strategic-merge-patch+json")
                                              : S("application/merge-patch+json"),
                    .body = &patch};
    if (!client_ask(c, &q, out, err))
        return document_refused(d, err);
    /* a patch that says the same in other words (1000m, 1) changes nothing */
    if (str_eq(field_text(out, "metadata.resourceVersion"), field_text(live, "metadata.resourceVersion")) &&
        !x->dry_run)
        *done = "unchanged";
    return true;
}

static bool apply_one(struct apply *x, struct document *d, struct err *err)
{
    struct client *c = x->client;
    struct val live, out;
    const char *done = "created";
    if (!document_place(c, d, false, err))
        return false;
    struct val wanted = last_applied_put(&c->arena, &d->v);
    struct ask q = {.path = resource_path(&c->arena, d->resource, d->ns, d->name, S(""))};
    bool there = client_ask(c, &q, &live, err);
    if (!there && err->kind != E_NOT_FOUND)
        return document_wrap(d, err);
    if (there && field_text(&live, "metadata.deletionTimestamp").n)
        output_show(stderr, "Warning: " STR_FMT " is being deleted\n",
                    STR_ARG(resource_label(&c->arena, d->resource, d->name)));
    if (!(there ? document_change(x, d, &wanted, &live, &out, &done, err)
                : document_create(x, d, &wanted, &out, err)))
        return document_wrap(d, err);
    if (x->form.form != OUT_TABLE)
        output_print(c, &x->form, d->resource, &out);
    else
        output_show(stdout, STR_FMT " %s%s\n", STR_ARG(resource_label(&c->arena, d->resource, d->name)), done,
                    x->dry_run ? " (dry run)" : "");
    fflush(stdout);
    return true;
}

int apply_main(int argc, char **argv)
{
    AUTO(client_fini) struct client c = {.verb = "apply"};
    struct apply x = {.client = &c};
    struct words words;
    struct documents documents;
    struct err err = ERR;
    enum args_result r = args_read(&c.arena, &spec, argc, argv, &x, &words, NULL);
    if (r != ARGS_RUN)
        return r == ARGS_HELPED ? 0 : 2;
    if (!x.files.n || words.n) {
        output_show(stderr, "wherry apply: name the files with -f FILE; wherry apply --help shows how\n");
        return 2;
    }
    if (!client_open(&c, &x.to, &err) || !output_read(x.output, &x.form, &err) ||
        !documents_read(&c, x.files, x.deep, &documents, &err))
        return client_failed(&c, &err);
    int status = 0;
    for (size_t i = 0; i < documents.n; i++) {
        struct err why = ERR;
        if (!apply_one(&x, &documents.p[i], &why))
            status = client_failed(&c, &why);
    }
    return status;
}
