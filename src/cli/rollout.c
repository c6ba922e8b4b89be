/* rollout.c - `wherry rollout`: what becomes of a change to a Deployment, StatefulSet or DaemonSet, and the way back.
 *
 * There is no rollout in the API. What kubectl and this verb show is worked out from a workload's status
 * (rollout_state.c) and its revisions: a Deployment's are its ReplicaSets, numbered by an annotation; the others'
 * are ControllerRevisions, which hold the pod template as a strategic merge patch of the workload.
 *
 * - status watches the object and says what it still waits for.
 * - history lists the revisions; undo puts the pod template of one of them back: a Deployment's with a JSON patch,
 *   without the label that the controller added (pod-template-hash), the others' with the revision's own patch. The
 *   controller then gives the old revision a new number, so undoing twice leads back.
 * - restart changes an annotation of the pod template, which is a change of it like any other. pause and resume set
 *   spec.paused, which only Deployments have.
 */
#include "cli/rollout.h"
#include "base/clock.h"
#include "cli/fields.h"
#include "cli/observe.h"
#include "cli/output.h"
#include "cli/verbs.h"

struct rollout_kind {
    const char *plural, *revisions; /* in apps/v1 */
    bool pauses;
};
static const struct rollout_kind rollout_kinds[] = {{"deployments", "replicasets", true},
                                                    {"statefulsets", "controllerrevisions", false},
                                                    {"daemonsets", "controllerrevisions", false}};

struct rollout_command {
    struct connect_options to;
    int64_t revision, timeout_ns;
    bool no_watch, dry_run;
    struct client *client;
    const struct resource *resource;
    const struct rollout_kind *kind;
    struct str name;
    struct str said; /* the last line of status */
};

#define AT(field) offsetof(struct rollout_command, field)
#define REVISION  S("deployment.kubernetes.io/revision")
#define CAUSE     S("kubernetes.io/change-cause")
#define RESTARTED S("kubectl.kubernetes.io/restartedAt")
#define STRATEGIC "application/strategic-merge-patch+json"
static const struct arg_row rows[] = {
    {0, "timeout", ARG_TIME, AT(timeout_ns), "TIME", "status: wait at most this long"},
    {0, "no-watch", ARG_FLAG, AT(no_watch), NULL, "status: say how it is, and do not wait"},
    {0, "revision", ARG_NUM, AT(revision), "N", "history: show the pod template of one revision"},
    {0, "to-revision", ARG_NUM, AT(revision), "N", "undo: go back to this revision, not the one before"},
    {0, "dry-run", ARG_FLAG, AT(dry_run), NULL, "the server checks, and nothing is changed"},
};
static const struct arg_spec spec = {
    .verb = "rollout",
    .usage = "status|history|undo|restart|pause|resume RESOURCE/NAME ...",
    .summary =
        "Follows a change of a Deployment, StatefulSet or DaemonSet to its end, lists its revisions, goes back to\n"
        "one of them, or restarts all pods. pause and resume hold the changes of a Deployment back.",
    .examples = "  wherry rollout status sts/db --timeout 2m\n"
                "  wherry rollout undo deploy/web --to-revision 3\n",
    .rows = rows,
    .nrows = countof(rows),
    .connects = true,
};

static bool workload_get(struct rollout_command *x, struct val *out, struct err *err)
{
    struct client *c = x->client;
    return client_ask(c, &(struct ask){.path = resource_path(&c->arena, x->resource, c->ns, x->name, S(""))}, out,
                      err);
}

static bool workload_change(struct rollout_command *x, const struct val *body, const char *type, struct err *err)
{
    struct client *c = x->client;
    struct ask q = {.method = "PATCH",
                    .path = resource_path(&c->arena, x->resource, c->ns, x->name, S("")),
                    .query = x->dry_run ? S("fieldManager=wherry-rollout&dryRun=All")
                                        : S("fieldManager=wherry-rollout"),
                    .content_type = str_of(type),
                    .body = body};
    return client_ask(c, &q, NULL, err);
}

static bool rollout_say(struct rollout_command *x, const char *done)
{
    output_show(stdout, STR_FMT " %s%s\n", STR_ARG(resource_label(&x->client->arena, x->resource, x->name)), done,
                x->dry_run ? " (dry run)" : "");
    return true;
}

/* ---- status ---- */

static enum observed workload_seen(const struct val *object, void *arg, struct err *err)
{
    struct rollout_command *x = arg;
    struct str text, label = resource_label(&x->client->arena, x->resource, x->name);
    if (!object)
        return err_set(err, E_NOT_FOUND, STR_FMT "%s", STR_ARG(label), x->said.n ? " is gone" : ": not found"),
               OBSERVE_FAILED;
    enum rollout_state state = rollout_state_of(&x->client->arena, x->resource->kind, object, &text, err);
    if (state == ROLLOUT_FAILED)
        return OBSERVE_FAILED;
    if (!str_eq(text, x->said)) {
        output_show(stdout, STR_FMT "\n", STR_ARG(text));
        fflush(stdout);
        x->said = text;
    }
    return state == ROLLOUT_DONE || x->no_watch ? OBSERVE_DONE : OBSERVE_ON;
}

static bool rollout_status(struct rollout_command *x, struct err *err)
{
    x->said = S("");
    return object_observe(x->client, x->resource, x->client->ns, x->name, workload_seen, x,
                          x->timeout_ns ? x->timeout_ns : -1, err);
}

/* ---- history ---- */

static int64_t revision_of(const struct val *object)
{
    int64_t n = field_num(object, "revision", 0);
    struct str text = val_text(val_get_str(field_at(object, "metadata.annotations"), REVISION));
    return n || str_to_i64(text, 0, INT64_MAX, &n) ? n : 0;
}

/* The pod template that a revision stands for, without what controllers put there for themselves. */
static struct val template_of(struct rollout_command *x, const struct val *revision)
{
    struct arena *a = &x->client->arena;
    const struct val *data = field_at(revision, "data");
    struct val template = val_copy(a, field_at(data ? data : revision, "spec.template"));
    if (data)
        val_del_str(&template, S("$patch"));
    else
        val_del_str(val_need_map(a, &template, N(metadata), N(labels)), S("pod-template-hash"));
    return template;
}

/* What belongs to the workload, the oldest revision first. */
static bool revisions_get(struct rollout_command *x, const struct val *workload, struct val *out, struct err *err)
{
    struct client *c = x->client;
    struct val list;
    if (!client_ask(c,
                    &(struct ask){.path = arena_fmt(&c->arena, "/apis/apps/v1/namespaces/" STR_FMT "/%s",
                                                    STR_ARG(target_ns(c, x->resource)), x->kind->revisions)},
                    &list, err))
        return false;
    *out = val_list();
    val_each_item (it, field_at(&list, "items"))
        val_each_item (owner, field_at(it, "metadata.ownerReferences"))
            if (revision_of(it) && val_true(field_at(owner, "controller")) &&
                str_eq(field_text(owner, "uid"), field_text(workload, "metadata.uid")))
                val_add(&c->arena, out, *it);
    for (size_t i = 1; i < out->n; i++)
        for (size_t k = i; k > 0 && revision_of(&out->list[k]) < revision_of(&out->list[k - 1]); k--) {
            struct val swap = out->list[k];
            out->list[k] = out->list[k - 1];
            out->list[k - 1] = swap;
        }
    return true;
}

static bool no_revision(struct rollout_command *x, struct err *err)
{
    return err_set(err, E_NOT_FOUND,
                   "unable to find the specified revision: there is no %lld; wherry rollout history " STR_FMT
                   "/" STR_FMT " lists what there is",
                   (long long)x->revision, STR_ARG(x->resource->singular), STR_ARG(x->name));
}

static bool rollout_history(struct rollout_command *x, struct err *err)
{
    struct client *c = x->client;
    struct val workload, all;
    AUTO(table_fini) struct table t = {.columns = 2};
    if (!workload_get(x, &workload, err) || !revisions_get(x, &workload, &all, err))
        return false;
    table_add(&t, S("REVISION"));
    table_add(&t, S("CHANGE-CAUSE"));
    val_each_item (it, &all) {
        struct str cause = val_text(val_get_str(field_at(it, "metadata.annotations"), CAUSE));
        if (x->revision > 0 && revision_of(it) == x->revision) {
            struct val template = template_of(x, it);
            output_print(c, &(struct output){.form = OUT_YAML}, NULL, &template);
            return true;
        }
        table_add(&t, arena_fmt(&c->arena, "%lld", (long long)revision_of(it)));
        table_add(&t, cause.n ? cause : S("<none>"));
    }
    if (x->revision > 0)
        return no_revision(x, err);
    output_show(stdout, STR_FMT "\n", STR_ARG(resource_label(&c->arena, x->resource, x->name)));
    if (val_len(&all))
        table_print(&t, 0, stdout);
    else
        output_show(stdout, "No rollout history found.\n");
    return true;
}

/* ---- undo ---- */

static void op_add(struct arena *a, struct val *ops, const char *op, const char *path, struct val v)
{
    struct val o = val_map();
    val_set_str(a, &o, S("op"), val_str(a, str_of(op)));
    val_set_str(a, &o, S("path"), val_str(a, str_of(path)));
    val_set_str(a, &o, S("value"), v);
    val_add(a, ops, o);
}

/* The revision to go back to: the one that was asked for, else the newest but one. */
static const struct val *revision_back(struct rollout_command *x, const struct val *all, struct err *err)
{
    if (x->revision > 0) {
        val_each_item (it, all)
            if (revision_of(it) == x->revision)
                return it;
        no_revision(x, err);
        return NULL;
    }
    if (val_len(all) < 2)
        err_set(err, E_NOT_FOUND, "no last revision to roll back to: " STR_FMT " has had one pod template only",
                STR_ARG(resource_label(&x->client->arena, x->resource, x->name)));
    return val_len(all) < 2 ? NULL : val_item(all, val_len(all) - 2);
}

static bool deployment_undo(struct rollout_command *x, const struct val *d, const struct val *back,
                            struct val template, struct err *err)
{
    struct arena *a = &x->client->arena;
    struct val ops = val_list();
    op_add(a, &ops, "replace", "/spec/template", template);
    const struct val *cause = val_get_str(field_at(back, "metadata.annotations"), CAUSE);
    const struct val *notes = field_at(d, "metadata.annotations");
    if (cause && notes)
        op_add(a, &ops, "add", "/metadata/annotations/kubernetes.io~1change-cause", *cause);
    else if (val_get_str(notes, CAUSE))
        op_add(a, &ops, "remove", "/metadata/annotations/kubernetes.io~1change-cause", VAL_NONE);
    return workload_change(x, &ops, "application/json-patch+json", err);
}

static bool rollout_undo(struct rollout_command *x, struct err *err)
{
    struct val workload, all;
    if (!workload_get(x, &workload, err) || !revisions_get(x, &workload, &all, err))
        return false;
    if (val_true(field_at(&workload, "spec.paused")))
        return err_set(err, E_CONFLICT, "deployment \"" STR_FMT "\" is paused; wherry rollout resume it first",
                       STR_ARG(x->name));
    const struct val *back = revision_back(x, &all, err);
    if (!back)
        return false;
    struct val template = template_of(x, back);
    if (val_equal(&template, field_at(&workload, "spec.template"))) {
        output_show(stdout, STR_FMT " skipped rollback (current template already matches revision %lld)\n",
                    STR_ARG(resource_label(&x->client->arena, x->resource, x->name)), (long long)revision_of(back));
        return true;
    }
    const struct val *patch = field_at(back, "data");
    return (patch ? workload_change(x, patch, STRATEGIC, err) : deployment_undo(x, &workload, back, template, err)) &&
           rollout_say(x, "rolled back");
}

/* ---- restart, pause, resume ---- */

static bool rollout_restart(struct rollout_command *x, struct err *err)
{
    struct arena *a = &x->client->arena;
    struct str now = time_text(a, clock_real());
    struct val workload, v = val_map();
    if (!workload_get(x, &workload, err))
        return false;
    if (val_true(field_at(&workload, "spec.paused")))
        return err_set(err, E_CONFLICT,
                       "can't restart paused deployment \"" STR_FMT "\"; wherry rollout resume it first",
                       STR_ARG(x->name));
    const struct val *notes = field_at(&workload, "spec.template.metadata.annotations");
    if (str_eq(val_text(val_get_str(notes, RESTARTED)), now)) /* the same time again would change nothing */
        return err_set(err, E_CONFLICT, STR_FMT " was restarted within the past second; try again in a moment",
                       STR_ARG(resource_label(a, x->resource, x->name)));
    val_set_str(a, val_need_map(a, &v, N(spec), N(template), N(metadata), N(annotations)), RESTARTED,
                val_str(a, now));
    return workload_change(x, &v, STRATEGIC, err) && rollout_say(x, "restarted");
}

static bool set_paused(struct rollout_command *x, bool paused, struct err *err)
{
    struct arena *a = &x->client->arena;
    struct val d, v = val_map();
    if (!x->kind->pauses)
        return err_set(err, E_INVALID,
                       STR_FMT " \"" STR_FMT "\": %s is not supported; only Deployments can be paused",
                       STR_ARG(x->resource->plural), STR_ARG(x->name), paused ? "pausing" : "resuming");
    if (!workload_get(x, &d, err))
        return false;
    if (val_true(field_at(&d, "spec.paused")) == paused)
        return err_set(err, E_CONFLICT, "deployment \"" STR_FMT "\" is %s", STR_ARG(x->name),
                       paused ? "already paused" : "not paused");
    val_set_bool(a, val_need_map(a, &v, N(spec)), N(paused), paused);
    return workload_change(x, &v, STRATEGIC, err) && rollout_say(x, paused ? "paused" : "resumed");
}

static bool pause_rollout(struct rollout_command *x, struct err *err)
{
    return set_paused(x, true, err);
}

static bool rollout_resume(struct rollout_command *x, struct err *err)
{
    return set_paused(x, false, err);
}

static const struct {
    const char *word;
    bool (*run)(struct rollout_command *x, struct err *err);
} words_known[] = {{"status", rollout_status},   {"history", rollout_history}, {"undo", rollout_undo},
                   {"restart", rollout_restart}, {"pause", pause_rollout},     {"resume", rollout_resume}};

static bool workload_find(struct rollout_command *x, struct err *err)
{
    x->kind = NULL;
    for (size_t i = 0; i < countof(rollout_kinds); i++)
        if (str_eqz(x->resource->group, "apps") && str_eqz(x->resource->plural, rollout_kinds[i].plural))
            x->kind = &rollout_kinds[i];
    if (!x->kind)
        return err_set(err, E_INVALID,
                       STR_FMT ": has no rollout to follow; deployments, statefulsets and daemonsets have",
                       STR_ARG(x->resource->plural));
    return x->name.n || err_set(err, E_INVALID, "name one, e.g. " STR_FMT "/web", STR_ARG(x->resource->singular));
}

static bool rollout_run(struct rollout_command *x, struct words words, struct err *err)
{
    struct targets t;
    if (!targets_read(x->client, (struct words){words.p + 1, words.n - 1}, &t, err))
        return false;
    for (size_t i = 0; i < countof(words_known); i++) {
        if (!str_eqz(words.p[0], words_known[i].word))
            continue;
        for (size_t k = 0; k < t.n; k++) {
            x->resource = t.p[k].resource;
            x->name = t.p[k].name;
            if (!workload_find(x, err) || !words_known[i].run(x, err))
                return false;
        }
        return true;
    }
    return err_set(err, E_INVALID,
                   "there is no wherry rollout " STR_FMT "; there are status, history, undo, restart, "
                   "pause and resume",
                   STR_ARG(words.p[0]));
}

int rollout_main(int argc, char **argv)
{
    AUTO(client_fini) struct client c = {.verb = "rollout"};
    struct rollout_command x = {.client = &c};
    struct words words;
    struct err err = ERR;
    enum args_result r = args_read(&c.arena, &spec, argc, argv, &x, &words, NULL);
    if (r != ARGS_RUN)
        return r == ARGS_HELPED ? 0 : 2;
    if (words.n < 2) {
        output_show(stderr,
                    "wherry rollout: say e.g. wherry rollout status deploy/web; wherry rollout --help shows more\n");
        return 2;
    }
    if (!client_open(&c, &x.to, &err) || !rollout_run(&x, words, &err))
        return client_failed(&c, &err);
    return 0;
}
