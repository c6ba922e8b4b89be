#include "cli/documents.h"
#include "cli/fields.h"
#include "cli/output.h"
#include "cli/verbs.h"

/* Verbs that change one field of objects that are there: scale, label, annotate, set image. Each is one patch a
 * target. */
struct change_command {
    struct connect_options to;
    struct str selector;
    int64_t replicas;
    bool overwrite, all, dry_run;
    struct client *client;
};

#define AT(field) offsetof(struct change_command, field)

static struct str change_query(const struct change_command *x)
{
    return x->dry_run ? S("fieldManager=wherry&dryRun=All") : S("fieldManager=wherry");
}

static bool object_patch(struct change_command *x, const struct resource *r, struct str name, struct str sub,
                         const struct val *body, const char *type, struct val *out, struct err *err)
{
    struct client *c = x->client;
    struct ask q = {.method = "PATCH",
                    .path = resource_path(&c->arena, r, target_ns(c, r), name, sub),
                    .query = change_query(x),
                    .content_type = str_of(type),
                    .body = body};
    return client_ask(c, &q, out, err);
}

static void change_say(struct change_command *x, const struct resource *r, struct str name, const char *done)
{
    output_show(stdout, STR_FMT " %s%s\n", STR_ARG(resource_label(&x->client->arena, r, name)), done,
                x->dry_run ? " (dry run)" : "");
    fflush(stdout);
}

/* Words up to the first with a '=' (or, behind a name, with a '-' at its end) are targets; the rest are changes. */
static size_t changes_begin(struct words w)
{
    size_t i = 0;
    while (i < w.n && str_find_char(w.p[i], '=') < 0 && !(i > 0 && str_ends(w.p[i], S("-"))))
        i++;
    return i;
}

typedef bool change_fn(struct change_command *x, const struct target *t, struct words changes, struct err *err);

static bool each_target(struct change_command *x, const struct target *t, struct words changes, change_fn *fn,
                        struct err *err)
{
    struct client *c = x->client;
    AUTO(strbuf_fini) struct strbuf query = STRBUF(STRBUF_TEXT);
    struct val list;
    if (t->name.n)
        return fn(x, t, changes, err);
    if (!x->selector.n && !x->all)
        return err_set(err, E_INVALID, "name what is to change: NAME, -l LABELS or --all");
    query_put(&query, "labelSelector", x->selector);
    if (!client_ask(
            c,
            &(struct ask){.path = resource_path(&c->arena, t->resource, target_ns(c, t->resource), S(""), S("")),
                          .query = strbuf_str(&query)},
            &list, err))
        return false;
    val_each_item (it, field_at(&list, "items"))
        if (!fn(x, &(struct target){.resource = t->resource, .name = field_text(it, "metadata.name")}, changes, err))
            return false;
    return true;
}

static int change_run(struct change_command *x, const struct arg_spec *spec, int argc, char **argv, change_fn *fn,
                      bool with_changes)
{
    struct client *c = x->client;
    struct words words;
    struct targets t;
    struct err err = ERR;
    enum args_result r = args_read(&c->arena, spec, argc, argv, x, &words, NULL);
    if (r != ARGS_RUN)
        return r == ARGS_HELPED ? 0 : 2;
    size_t at = with_changes ? changes_begin(words) : words.n;
    struct words named = {words.p, at}, changes = {words.p + at, words.n - at};
    if (!at || (with_changes && !changes.n)) {
        output_show(stderr, "wherry %s: say wherry %s %s; wherry %s --help shows how\n", c->verb, c->verb,
                    spec->usage, c->verb);
        return 2;
    }
    if (!client_open(c, &x->to, &err) || !targets_read(c, named, &t, &err))
        return client_failed(c, &err);
    int status = 0;
    for (size_t i = 0; i < t.n; i++) {
        struct err why = ERR;
        if (!each_target(x, &t.p[i], changes, fn, &why))
            status = client_failed(c, &why);
    }
    return status;
}

/* ---- scale ---- */

static const struct arg_row scale_rows[] = {
    {0, "replicas", ARG_NUM, AT(replicas), "N", "how many pods"},
    {'l', "selector", ARG_TEXT, AT(selector), "LABELS", "only objects with these labels: app=web,tier!=db"},
    {0, "all", ARG_FLAG, AT(all), NULL, "all objects of the namespace"},
    {0, "dry-run", ARG_FLAG, AT(dry_run), NULL, "the server checks, and nothing is changed"},
};
static const struct arg_spec scale_spec = {
    .verb = "scale",
    .usage = "RESOURCE/NAME ... --replicas N",
    .summary = "Sets how many pods a Deployment, StatefulSet or the like keeps running.",
    .examples = "  wherry scale deploy/web --replicas 5\n  wherry scale deploy -l tier=front --replicas 0\n",
    .rows = scale_rows,
    .nrows = countof(scale_rows),
    .connects = true,
};

static bool scale_one(struct change_command *x, const struct target *t, struct words changes, struct err *err)
{
    struct arena *a = &x->client->arena;
    struct val v = val_map(), out;
    (void)changes;
    if (x->replicas < 0)
        return err_set(err, E_INVALID, "--replicas: say how many, 0 or more");
    val_set_num(a, val_need_map(a, &v, N(spec)), N(replicas), x->replicas);
    if (!object_patch(x, t->resource, t->name, S("scale"), &v, "application/merge-patch+json", &out, err)) {
        if (err->kind == E_NOT_FOUND &&
            str_eqz(str_of(err->text), "the server could not find the requested resource"))
            err_set(err, E_INVALID, STR_FMT ": how many there are cannot be set (no subresource scale)",
                    STR_ARG(resource_label(a, t->resource, t->name)));
        return false;
    }
    change_say(x, t->resource, t->name, "scaled");
    return true;
}

int scale_main(int argc, char **argv)
{
    AUTO(client_fini) struct client c = {.verb = "scale"};
    struct change_command x = {.client = &c, .replicas = -1};
    return change_run(&x, &scale_spec, argc, argv, scale_one, false);
}

/* ---- label, annotate ---- */

static const struct arg_row mark_rows[] = {
    {0, "overwrite", ARG_FLAG, AT(overwrite), NULL, "replace the value of a key that has another one"},
    {'l', "selector", ARG_TEXT, AT(selector), "LABELS", "only objects with these labels: app=web,tier!=db"},
    {0, "all", ARG_FLAG, AT(all), NULL, "all objects of the namespace"},
    {0, "dry-run", ARG_FLAG, AT(dry_run), NULL, "the server checks, and nothing is changed"},
};

static bool object_mark(struct change_command *x, const struct target *t, struct words changes,
                        const struct name *field, const char *done, struct err *err)
{
    struct client *c = x->client;
    struct val v = val_map(), live, out;
    struct val *to = val_need_map(&c->arena, &v, N(metadata), field);
    struct str path = resource_path(&c->arena, t->resource, target_ns(c, t->resource), t->name, S(""));
    if (!client_ask(c, &(struct ask){.path = path}, &live, err))
        return false;
    for (size_t i = 0; i < changes.n; i++) {
        struct str key, value;
        if (!str_split(changes.p[i], '=', &key, &value)) {
            if (!str_ends(key, S("-")))
                return err_set(err, E_INVALID, "\"" STR_FMT "\": must be KEY=VALUE, or KEY- to remove it",
                               STR_ARG(key));
            val_set_str(&c->arena, to, str_dup(&c->arena, str_sub(key, 0, key.n - 1)), VAL_NONE);
            continue;
        }
        const struct val *was = val_get_str(val_at(&live, N(metadata), field), key);
        if (was && !str_eq(val_text(was), value) && !x->overwrite)
            return err_set(
                err, E_CONFLICT, STR_FMT ": " STR_FMT " is \"" STR_FMT "\" already; --overwrite changes it",
                STR_ARG(resource_label(&c->arena, t->resource, t->name)), STR_ARG(key), STR_ARG(val_text(was)));
        val_set_str(&c->arena, to, str_dup(&c->arena, key), val_str(&c->arena, value));
    }
    if (!object_patch(x, t->resource, t->name, S(""), &v, "application/merge-patch+json", &out, err))
        return false;
    change_say(x, t->resource, t->name, done);
    return true;
}

static bool label_one(struct change_command *x, const struct target *t, struct words changes, struct err *err)
{
    return object_mark(x, t, changes, N(labels), "labeled", err);
}

static bool annotate_one(struct change_command *x, const struct target *t, struct words changes, struct err *err)
{
    return object_mark(x, t, changes, N(annotations), "annotated", err);
}

static const struct arg_spec label_spec = {
    .verb = "label",
    .usage = "RESOURCE NAME KEY=VALUE|KEY- ...",
    .summary = "Sets labels; KEY- removes one.",
    .examples = "  wherry label node/here disk=fast\n  wherry label pods --all tier-\n",
    .rows = mark_rows,
    .nrows = countof(mark_rows),
    .connects = true,
};
static const struct arg_spec annotate_spec = {
    .verb = "annotate",
    .usage = "RESOURCE NAME KEY=VALUE|KEY- ...",
    .summary = "Sets annotations; KEY- removes one.",
    .examples =
        "  wherry annotate deploy/web kubernetes.io/change-cause='new logo'\n  wherry annotate deploy/web note-\n",
    .rows = mark_rows,
    .nrows = countof(mark_rows),
    .connects = true,
};

int label_main(int argc, char **argv)
{
    AUTO(client_fini) struct client c = {.verb = "label"};
    struct change_command x = {.client = &c};
    return change_run(&x, &label_spec, argc, argv, label_one, true);
}

int annotate_main(int argc, char **argv)
{
    AUTO(client_fini) struct client c = {.verb = "annotate"};
    struct change_command x = {.client = &c};
    return change_run(&x, &annotate_spec, argc, argv, annotate_one, true);
}

/* ---- set image ---- */

static const struct arg_spec image_spec = {
    .verb = "set",
    .usage = "image RESOURCE/NAME CONTAINER=IMAGE ...",
    .summary = "Sets the image of containers in a pod template; * means all of them.",
    .examples = "  wherry set image deploy/web web=demo:2\n  wherry set image ds/agent '*=agent:7'\n",
    .rows = mark_rows + 1,
    .nrows = countof(mark_rows) - 1,
    .connects = true,
};

static bool image_set(struct arena *a, const struct val *containers, struct str name, struct str image,
                      struct val *to)
{
    bool found = false;
    val_each_item (it, containers) {
        struct str own = field_text(it, "name");
        if (!str_eq(own, name) && !str_eqz(name, "*"))
            continue;
        struct val v = val_map();
        val_set(a, &v, N(name), val_str(a, own));
        val_set(a, &v, N(image), val_str(a, image));
        val_add(a, to, v);
        found = true;
    }
    return found;
}

static bool image_one(struct change_command *x, const struct target *t, struct words changes, struct err *err)
{
    struct client *c = x->client;
    struct arena *a = &c->arena;
    struct val v = val_map(), live, out, main = val_list(), init = val_list();
    if (!client_ask(c,
                    &(struct ask){.path = resource_path(a, t->resource, target_ns(c, t->resource), t->name, S(""))},
                    &live, err))
        return false;
    bool is_pod = str_eqz(t->resource->plural, "pods"), is_cron = str_eqz(t->resource->plural, "cronjobs");
    const struct val *spec = field_at(&live, is_pod    ? "spec"
                                             : is_cron ? "spec.jobTemplate.spec.template.spec"
                                                       : "spec.template.spec");
    for (size_t i = 0; i < changes.n; i++) {
        struct str name, image;
        if (!str_split(changes.p[i], '=', &name, &image) || !image.n)
            return err_set(err, E_INVALID, "\"" STR_FMT "\": must be CONTAINER=IMAGE", STR_ARG(changes.p[i]));
        bool found = image_set(a, field_at(spec, "containers"), name, image, &main);
        if (!found && !image_set(a, field_at(spec, "initContainers"), name, image, &init))
            return err_set(err, E_NOT_FOUND, STR_FMT ": has no container \"" STR_FMT "\"",
                           STR_ARG(resource_label(a, t->resource, t->name)), STR_ARG(name));
    }
    struct val *to = is_cron ? val_need_map(a, &v, N(spec), N(jobTemplate)) : &v;
    to = is_pod ? val_need_map(a, to, N(spec)) : val_need_map(a, to, N(spec), N(template), N(spec));
    if (main.n)
        val_set(a, to, N(containers), main);
    if (init.n)
        val_set(a, to, N(initContainers), init);
    if (!object_patch(x, t->resource, t->name, S(""), &v, "application/strategic-merge-patch+json", &out, err))
        return false;
    change_say(x, t->resource, t->name, "image updated");
    return true;
}

int set_main(int argc, char **argv)
{
    AUTO(client_fini) struct client c = {.verb = "set"};
    struct change_command x = {.client = &c};
    if (argc > 0 && strcmp(argv[0], "image") != 0 && argv[0][0] != '-') {
        output_show(stderr,
                    "wherry set: there is only wherry set image; edit the file and wherry apply it for the rest\n");
        return 2;
    }
    return change_run(&x, &image_spec, argc > 0 && argv[0][0] != '-' ? argc - 1 : argc,
                      argc > 0 && argv[0][0] != '-' ? argv + 1 : argv, image_one, true);
}
