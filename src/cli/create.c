#include "cli/documents.h"
#include "cli/fields.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "sys/file.h"
#include <errno.h>
#include <fcntl.h>

/* wherry create: from files, or the few kinds that are quickly typed; each of those is a row that builds an object.
 */
struct create {
    struct connect_options to;
    bool deep;
    struct words files, literals, from_files, images, command;
    struct str output, dry_run, type, audience, from;
    int64_t replicas, port, duration_ns;
    struct client *client;
    struct output form;
};

#define AT(field) offsetof(struct create, field)
static const struct arg_row rows[] = {
    {'f', "filename", ARG_TEXTS, AT(files), "FILE", "the objects that a file, a folder or - (stdin) holds"},
    {'R', "recursive", ARG_FLAG, AT(deep), NULL, "with -f: folders inside a folder as well"},
    {'o', "output", ARG_TEXT, AT(output), "FORM", "show what was created: yaml, json or name"},
    {0, "dry-run", ARG_EITHER, AT(dry_run), "client",
     "nothing is created, only checked; =client: the server is not asked"},
    {0, "from-literal", ARG_TEXTS, AT(literals), "KEY=VALUE", "configmap, secret: a value"},
    {0, "from-file", ARG_TEXTS, AT(from_files), "[KEY=]FILE", "configmap, secret: the contents of a file"},
    {0, "image", ARG_TEXTS, AT(images), "IMAGE", "deployment, job: the image of a container"},
    {0, "from", ARG_TEXT, AT(from), "cronjob/NAME", "job: what the CronJob would start, now"},
    {0, "replicas", ARG_NUM, AT(replicas), "N", "deployment: how many pods"},
    {0, "port", ARG_NUM, AT(port), "PORT", "deployment: the port that its container serves"},
    {0, "type", ARG_TEXT, AT(type), "TYPE", "secret: its type, instead of Opaque"},
    {0, "audience", ARG_TEXT, AT(audience), "NAME", "token: whom it is for, if not the API server"},
    {0, "duration", ARG_TIME, AT(duration_ns), "TIME", "token: how long it is valid"},
};
static const struct arg_spec spec = {
    .verb = "create",
    .usage = "-f FILE | namespace|configmap|secret|serviceaccount|deployment|job|token NAME",
    .summary = "Creates objects that do not exist yet.",
    .examples = "  wherry create deployment web --image demo:1 --replicas 3\n"
                "  wherry create configmap settings --from-literal level=info --dry-run=client -o yaml\n"
                "  wherry create job now --from cronjob/backup\n",
    .rows = rows,
    .nrows = countof(rows),
    .connects = true,
};

static struct val object_begin(struct create *x, const char *api, const char *kind, struct str name)
{
    struct arena *a = &x->client->arena;
    struct val v = val_map();
    val_set_text(a, &v, N(apiVersion), str_of(api));
    val_set_text(a, &v, N(kind), str_of(kind));
    val_set(a, val_need_map(a, &v, N(metadata)), N(name), val_str(a, name));
    return v;
}

/* The pairs of --from-literal and --from-file; fn puts one where it belongs. */
static bool pairs_read(struct create *x,
                       bool (*fn)(struct create *x, struct str key, struct str value, struct val *to), struct val *to,
                       struct err *err)
{
    struct arena *a = &x->client->arena;
    struct str key, value;
    for (size_t i = 0; i < x->literals.n; i++) {
        if (!str_split(x->literals.p[i], '=', &key, &value) || !key.n)
            return err_set(err, E_INVALID, "--from-literal " STR_FMT ": must be KEY=VALUE",
                           STR_ARG(x->literals.p[i]));
        fn(x, key, value, to);
    }
    for (size_t i = 0; i < x->from_files.n; i++) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(4u << 20);
        if (!str_split(x->from_files.p[i], '=', &key, &value)) {
            value = key;
            key = str_sub(value, (size_t)(str_rfind_char(value, '/') + 1), value.n);
        }
        if (!file_read(AT_FDCWD, arena_strz(a, value), &b, err))
            return err_wrap(err, "--from-file");
        fn(x, key, str_dup(a, strbuf_str(&b)), to);
    }
    return true;
}

static bool config_put(struct create *x, struct str key, struct str value, struct val *to)
{
    struct arena *a = &x->client->arena;
    if (str_utf8_ok(value)) {
        val_set_str(a, val_need_map(a, to, N(data)), key, val_str(a, value));
        return true;
    }
    AUTO(strbuf_fini) struct strbuf b = STRBUF(8u << 20);
    strbuf_add_base64(&b, value.p, value.n);
    val_set_str(a, val_need_map(a, to, N(binaryData)), key, val_str(a, strbuf_str(&b)));
    return true;
}

static bool secret_put(struct create *x, struct str key, struct str value, struct val *to)
{
    struct arena *a = &x->client->arena;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(8u << 20);
    strbuf_add_base64(&b, value.p, value.n);
    val_set_str(a, val_need_map(a, to, N(data)), key, val_str(a, strbuf_str(&b)));
    return true;
}

static bool namespace_make(struct create *x, struct str name, struct val *v, struct err *err)
{
    (void)err;
    *v = object_begin(x, "v1", "Namespace", name);
    return true;
}

static bool account_make(struct create *x, struct str name, struct val *v, struct err *err)
{
    (void)err;
    *v = object_begin(x, "v1", "ServiceAccount", name);
    return true;
}

static bool configmap_make(struct create *x, struct str name, struct val *v, struct err *err)
{
    *v = object_begin(x, "v1", "ConfigMap", name);
    return pairs_read(x, config_put, v, err);
}

static bool secret_make(struct create *x, struct str name, struct val *v, struct err *err)
{
    *v = object_begin(x, "v1", "Secret", name);
    val_set(&x->client->arena, v, N(type), val_str(&x->client->arena, x->type.n ? x->type : S("Opaque")));
    return pairs_read(x, secret_put, v, err);
}

/* "registry/team/web:1" is a container called web. */
static struct str container_name(struct str image)
{
    struct str base = str_sub(image, (size_t)(str_rfind_char(image, '/') + 1), image.n), head, tail;
    str_split(base, '@', &head, &tail);
    str_split(head, ':', &base, &tail);
    return base;
}

static struct val container_make(struct create *x, struct str name, struct str image)
{
    struct arena *a = &x->client->arena;
    struct val c = val_map();
    val_set(a, &c, N(name), val_str(a, name));
    val_set(a, &c, N(image), val_str(a, image));
    if (x->port > 0) {
        struct val ports = val_list(), port = val_map();
        val_set_num(a, &port, N(containerPort), x->port);
        val_add(a, &ports, port);
        val_set(a, &c, N(ports), ports);
    }
    if (x->command.n) {
        struct val command = val_list();
        for (size_t k = 0; k < x->command.n; k++)
            val_add(a, &command, val_str(a, x->command.p[k]));
        val_set(a, &c, N(command), command);
    }
    return c;
}

static bool deployment_make(struct create *x, struct str name, struct val *v, struct err *err)
{
    struct arena *a = &x->client->arena;
    if (!x->images.n)
        return err_set(err, E_INVALID, "--image: say what it runs");
    *v = object_begin(x, "apps/v1", "Deployment", name);
    struct val *spec_ = val_need_map(a, v, N(spec)), containers = val_list();
    if (x->replicas >= 0)
        val_set_num(a, spec_, N(replicas), x->replicas);
    val_set_str(a, val_need_map(a, v, N(metadata), N(labels)), S("app"), val_str(a, name));
    val_set_str(a, val_need_map(a, v, N(spec), N(selector), N(matchLabels)), S("app"), val_str(a, name));
    val_set_str(a, val_need_map(a, v, N(spec), N(template), N(metadata), N(labels)), S("app"), val_str(a, name));
    for (size_t i = 0; i < x->images.n; i++)
        val_add(a, &containers, container_make(x, container_name(x->images.p[i]), x->images.p[i]));
    val_set(a, val_need_map(a, v, N(spec), N(template), N(spec)), N(containers), containers);
    return true;
}

/* What the CronJob's controller would make at its time, with what tells that a person did. The owner does not block
 * its deletion, as that would take a right of its own. */
static bool job_of_cronjob(struct create *x, struct val *v, struct err *err)
{
    struct client *c = x->client;
    struct arena *a = &c->arena;
    struct words word = {&x->from, 1};
    struct targets t;
    struct val cron, owner = val_map(), owners = val_list();
    if (!targets_read(c, word, &t, err))
        return err_wrap(err, "--from");
    if (!str_eqz(t.p[0].resource->plural, "cronjobs") || !t.p[0].name.n)
        return err_set(err, E_INVALID, "--from " STR_FMT ": must be cronjob/NAME", STR_ARG(x->from));
    if (!client_ask(c, &(struct ask){.path = resource_path(a, t.p[0].resource, c->ns, t.p[0].name, S(""))}, &cron,
                    err))
        return false;
    const struct val *template = field_at(&cron, "spec.jobTemplate"), *spec_ = field_at(template, "spec");
    struct val *meta = val_need_map(a, v, N(metadata));
    if (field_at(template, "metadata.labels"))
        val_set(a, meta, N(labels), *field_at(template, "metadata.labels"));
    if (field_at(template, "metadata.annotations"))
        val_set(a, meta, N(annotations), val_copy(a, field_at(template, "metadata.annotations")));
    val_set_str(a, val_need_map(a, meta, N(annotations)), S("cronjob.kubernetes.io/instantiate"),
                val_str(a, S("manual")));
    val_set_text(a, &owner, N(apiVersion), S("batch/v1"));
    val_set_text(a, &owner, N(kind), S("CronJob"));
    val_set(a, &owner, N(name), val_str(a, t.p[0].name));
    val_set(a, &owner, N(uid), val_str(a, field_text(&cron, "metadata.uid")));
    val_set_bool(a, &owner, N(controller), true);
    val_add(a, &owners, owner);
    val_set(a, meta, N(ownerReferences), owners);
    if (spec_)
        val_set(a, v, N(spec), *spec_);
    return true;
}

static bool job_make(struct create *x, struct str name, struct val *v, struct err *err)
{
    struct arena *a = &x->client->arena;
    *v = object_begin(x, "batch/v1", "Job", name);
    if (x->from.n && !x->images.n && !x->command.n)
        return job_of_cronjob(x, v, err);
    if (x->from.n || x->images.n != 1)
        return err_set(err, E_INVALID, "say either --image IMAGE [-- COMMAND ...] or --from cronjob/NAME");
    struct val *pod = val_need_map(a, v, N(spec), N(template), N(spec)), containers = val_list();
    val_add(a, &containers, container_make(x, name, x->images.p[0]));
    val_set(a, pod, N(containers), containers);
    val_set_text(a, pod, N(restartPolicy), S("Never"));
    return true;
}

static const struct {
    const char *names[4];
    bool (*make)(struct create *x, struct str name, struct val *v, struct err *err);
} makers[] = {
    {{"namespace", "ns"}, namespace_make},       {{"serviceaccount", "sa"}, account_make},
    {{"configmap", "cm"}, configmap_make},       {{"secret"}, secret_make},
    {{"deployment", "deploy"}, deployment_make}, {{"job"}, job_make},
};

static bool document_send(struct create *x, struct document *d, struct err *err)
{
    struct client *c = x->client;
    struct val out = d->v;
    struct ask q = {.method = "POST",
                    .path = resource_path(&c->arena, d->resource, d->ns, S(""), S("")),
                    .query = x->dry_run.p ? S("fieldManager=wherry-create&fieldValidation=Strict&dryRun=All")
                                          : S("fieldManager=wherry-create&fieldValidation=Strict"),
                    .body = &d->v};
    if (!str_eqz(x->dry_run, "client") && !client_ask(c, &q, &out, err))
        return false;
    if (x->form.form != OUT_TABLE)
        output_print(c, &x->form, d->resource, &out);
    else
        output_show(stdout, STR_FMT " created%s\n",
                    STR_ARG(resource_label(&c->arena, d->resource, field_text(&out, "metadata.name"))),
                    x->dry_run.p ? " (dry run)" : "");
    fflush(stdout);
    return true;
}

static int create_files(struct create *x)
{
    struct client *c = x->client;
    struct documents d;
    struct err err = ERR;
    int status = 0;
    if (!documents_read(c, x->files, x->deep, &d, &err))
        return client_failed(c, &err);
    for (size_t i = 0; i < d.n; i++) {
        struct err why = ERR;
        if (!document_place(c, &d.p[i], true, &why) ||
            (!document_send(x, &d.p[i], &why) && !document_wrap(&d.p[i], &why)))
            status = client_failed(c, &why);
    }
    return status;
}

static bool token_create(struct create *x, struct str account, struct err *err)
{
    struct client *c = x->client;
    struct arena *a = &c->arena;
    struct val v = val_map(), out;
    val_set_text(a, &v, N(apiVersion), S("authentication.k8s.io/v1"));
    val_set_text(a, &v, N(kind), S("TokenRequest"));
    struct val *s = val_need_map(a, &v, N(spec)), audiences = val_list();
    if (x->audience.n) {
        val_add(a, &audiences, val_str(a, x->audience));
        val_set(a, s, N(audiences), audiences);
    }
    if (x->duration_ns)
        val_set_num(a, s, N(expirationSeconds), x->duration_ns / 1000000000);
    struct str path = arena_fmt(a, "/api/v1/namespaces/" STR_FMT "/serviceaccounts/" STR_FMT "/token", STR_ARG(c->ns),
                                STR_ARG(account));
    if (!client_ask(c, &(struct ask){.method = "POST", .path = path, .body = &v}, &out, err))
        return false;
    output_show(stdout, STR_FMT "\n", STR_ARG(field_text(&out, "status.token")));
    return true;
}

static bool create_word(struct create *x, struct words words, struct err *err)
{
    struct document d = {.file = S("command line"), .number = 1};
    if (str_eqz(words.p[0], "token"))
        return token_create(x, words.p[1], err);
    for (size_t i = 0; i < countof(makers); i++)
        for (size_t k = 0; makers[i].names[k]; k++)
            if (str_eqz(words.p[0], makers[i].names[k]))
                return makers[i].make(x, words.p[1], &d.v, err) && document_place(x->client, &d, false, err) &&
                       document_send(x, &d, err);
    return err_set(err, E_INVALID, "wherry create makes no " STR_FMT " by itself; write it down and create -f it",
                   STR_ARG(words.p[0]));
}

int create_main(int argc, char **argv)
{
    AUTO(client_fini) struct client c = {.verb = "create"};
    struct create x = {.client = &c, .replicas = -1};
    struct words words;
    struct err err = ERR;
    size_t before;
    enum args_result r = args_read(&c.arena, &spec, argc, argv, &x, &words, &before);
    if (r != ARGS_RUN)
        return r == ARGS_HELPED ? 0 : 2;
    x.command = (struct words){words.p + before, words.n - before};
    if (before != (x.files.n ? 0 : 2)) {
        output_show(stderr, "wherry create: say KIND NAME, or name files with -f; wherry create --help shows how\n");
        return 2;
    }
    if (x.dry_run.n && !str_eqz(x.dry_run, "client") && !str_eqz(x.dry_run, "server")) {
        output_show(stderr, "wherry create: --dry-run=" STR_FMT ": must be client or server\n", STR_ARG(x.dry_run));
        return 2;
    }
    if (!client_open(&c, &x.to, &err) || !output_read(x.output, &x.form, &err))
        return client_failed(&c, &err);
    if (x.files.n)
        return create_files(&x);
    return create_word(&x, words, &err) ? 0 : client_failed(&c, &err);
}
