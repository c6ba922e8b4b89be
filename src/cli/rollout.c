/* rollout.c - `wherry rollout`: what becomes of a change to a Deployment, and the way back.
 *
 * There is no rollout in the API. What kubectl and this verb show is worked out from a Deployment's status and its
 * ReplicaSets:
 *
 * - status watches the Deployment and says what it still waits for, in kubectl's words and order: the controller has
 *   seen the change, all new pods are made, old ones are gone, the new ones are available. A progress deadline that
 *   has passed is an error, but only once the controller has seen the newest generation; before, it speaks of the
 *   last change.
 * - history lists ReplicaSets by the revision in their annotation; undo puts the pod template of one of them back
 *   with a JSON patch, without the label that the controller added (pod-template-hash). The controller then gives
 *   the old ReplicaSet a new revision, so undoing twice leads back.
 * - restart changes an annotation of the pod template, which is a change of it like any other. pause and resume set
 *   spec.paused.
 *
 * Only Deployments: of StatefulSets and DaemonSets kubectl shows the same.
 */
#include "base/clock.h"
#include "cli/fields.h"
#include "cli/observe.h"
#include "cli/output.h"
#include "cli/pods.h"
#include "cli/verbs.h"

struct rollout_command {
    struct connect_options to;
    int64_t revision, timeout_ns;
    bool no_watch, dry_run;
    struct client *client;
    const struct resource *resource;
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
    .usage = "status|history|undo|restart|pause|resume deploy/NAME",
    .summary =
        "Follows a change of a Deployment to its end, lists its revisions, goes back to one of them, restarts\n"
        "all pods, or holds changes back.",
    .examples = "  wherry rollout status deploy/web --timeout 2m\n"
                "  wherry rollout undo deploy/web --to-revision 3\n",
    .rows = rows,
    .nrows = countof(rows),
    .connects = true,
};

static bool deployment_get(struct rollout_command *x, struct val *out, struct err *err)
{
    struct client *c = x->client;
    return client_ask(c, &(struct ask){.path = resource_path(&c->arena, x->resource, c->ns, x->name, S(""))}, out,
                      err);
}

static bool deployment_change(struct rollout_command *x, const struct val *body, const char *type, struct err *err)
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

static bool deadline_passed(const struct val *d)
{
    val_each_item (it, field_at(d, "status.conditions"))
        if (str_eqz(field_text(it, "type"), "Progressing") &&
            str_eqz(field_text(it, "reason"), "ProgressDeadlineExceeded"))
            return true;
    return false;
}

static struct str waiting_for(struct rollout_command *x, const struct val *d)
{
    struct arena *a = &x->client->arena;
    long long wanted = field_num(d, "spec.replicas", 1), all = field_num(d, "status.replicas", 0),
              updated = field_num(d, "status.updatedReplicas", 0),
              available = field_num(d, "status.availableReplicas", 0);
    struct str head = arena_fmt(a, "Waiting for deployment \"" STR_FMT "\" rollout to finish: ", STR_ARG(x->name));
    if (field_num(d, "metadata.generation", 0) > field_num(d, "status.observedGeneration", 0))
        return S("Waiting for deployment spec update to be observed...");
    if (updated < wanted)
        return arena_fmt(a, STR_FMT "%lld out of %lld new replicas have been updated...", STR_ARG(head), updated,
                         wanted);
    if (all > updated)
        return arena_fmt(a, STR_FMT "%lld old replicas are pending termination...", STR_ARG(head), all - updated);
    if (available < updated)
        return arena_fmt(a, STR_FMT "%lld of %lld updated replicas are available...", STR_ARG(head), available,
                         updated);
    return S("");
}

static enum observed deployment_seen(const struct val *d, void *arg, struct err *err)
{
    struct rollout_command *x = arg;
    if (!d)
        return err_set(err, E_NOT_FOUND, "deployment \"" STR_FMT "\" is gone", STR_ARG(x->name)), OBSERVE_FAILED;
    struct str text = waiting_for(x, d);
    bool observed = field_num(d, "metadata.generation", 0) <= field_num(d, "status.observedGeneration", 0);
    if (text.n && observed && deadline_passed(d))
        return err_set(err, E_TIMEOUT,
                       "deployment \"" STR_FMT "\" exceeded its progress deadline (" STR_FMT
                       "); wherry describe deploy/" STR_FMT " and its pods say why",
                       STR_ARG(x->name), STR_ARG(text), STR_ARG(x->name)),
               OBSERVE_FAILED;
    if (!text.n)
        text = arena_fmt(&x->client->arena, "deployment \"" STR_FMT "\" successfully rolled out", STR_ARG(x->name));
    else if (str_eq(text, x->said))
        return x->no_watch ? OBSERVE_DONE : OBSERVE_ON;
    bool over = !str_starts(text, S("Waiting"));
    output_show(stdout, STR_FMT "\n", STR_ARG(text));
    fflush(stdout);
    x->said = text;
    return over || x->no_watch ? OBSERVE_DONE : OBSERVE_ON;
}

static bool rollout_status(struct rollout_command *x, struct err *err)
{
    return object_observe(x->client, x->resource, x->client->ns, x->name, deployment_seen, x,
                          x->timeout_ns ? x->timeout_ns : -1, err);
}

/* ---- history ---- */

static int64_t revision_of(const struct val *object)
{
    int64_t n = 0;
    struct str text = val_text(val_get_str(field_at(object, "metadata.annotations"), REVISION));
    return str_to_i64(text, 0, INT64_MAX, &n) ? n : 0;
}

/* The ReplicaSets of the Deployment, the oldest revision first. */
static bool revisions_get(struct rollout_command *x, const struct val *deployment, struct val *out, struct err *err)
{
    struct client *c = x->client;
    struct val list;
    if (!client_ask(c,
                    &(struct ask){.path = arena_fmt(&c->arena, "/apis/apps/v1/namespaces/" STR_FMT "/replicasets",
                                                    STR_ARG(c->ns))},
                    &list, err))
        return false;
    *out = val_list();
    val_each_item (it, field_at(&list, "items"))
        val_each_item (owner, field_at(it, "metadata.ownerReferences"))
            if (str_eq(field_text(owner, "uid"), field_text(deployment, "metadata.uid")))
                val_add(&c->arena, out, *it);
    for (size_t i = 1; i < out->n; i++)
        for (size_t k = i; k > 0 && revision_of(&out->list[k]) < revision_of(&out->list[k - 1]); k--) {
            struct val swap = out->list[k];
            out->list[k] = out->list[k - 1];
            out->list[k - 1] = swap;
        }
    return true;
}

static bool rollout_history(struct rollout_command *x, struct err *err)
{
    struct client *c = x->client;
    struct val d, all;
    AUTO(table_fini) struct table t = {.columns = 2};
    if (!deployment_get(x, &d, err) || !revisions_get(x, &d, &all, err))
        return false;
    table_add(&t, S("REVISION"));
    table_add(&t, S("CHANGE-CAUSE"));
    val_each_item (it, &all) {
        struct str cause = val_text(val_get_str(field_at(it, "metadata.annotations"), CAUSE));
        if (x->revision > 0 && revision_of(it) == x->revision) {
            output_print(c, &(struct output){.form = OUT_YAML}, NULL, field_at(it, "spec.template"));
            return true;
        }
        table_add(&t, arena_fmt(&c->arena, "%lld", (long long)revision_of(it)));
        table_add(&t, cause.n ? cause : S("<none>"));
    }
    if (x->revision > 0)
        return err_set(err, E_NOT_FOUND, "there is no revision %lld; wherry rollout history lists them",
                       (long long)x->revision);
    table_print(&t, 0, stdout);
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

static const struct val *revision_back(struct rollout_command *x, const struct val *d, const struct val *all,
                                       struct err *err)
{
    int64_t now = revision_of(d);
    const struct val *best = NULL;
    val_each_item (it, all) {
        if (x->revision > 0 ? revision_of(it) == x->revision : revision_of(it) < now)
            best = it;
    }
    if (!best && x->revision > 0)
        err_set(err, E_NOT_FOUND, "there is no revision %lld; wherry rollout history lists them",
                (long long)x->revision);
    else if (!best)
        err_set(err, E_NOT_FOUND, "there is no revision before %lld to go back to", (long long)now);
    return best;
}

static bool rollout_undo(struct rollout_command *x, struct err *err)
{
    struct arena *a = &x->client->arena;
    struct val d, all, ops = val_list();
    if (!deployment_get(x, &d, err) || !revisions_get(x, &d, &all, err))
        return false;
    if (val_true(field_at(&d, "spec.paused")))
        return err_set(err, E_CONFLICT, "deployment \"" STR_FMT "\" is paused; wherry rollout resume it first",
                       STR_ARG(x->name));
    const struct val *back = revision_back(x, &d, &all, err);
    if (!back)
        return false;
    struct val template = val_copy(a, field_at(back, "spec.template"));
    val_del_str(val_need_map(a, &template, N(metadata), N(labels)), S("pod-template-hash"));
    if (val_equal(&template, field_at(&d, "spec.template"))) {
        output_show(stdout, "skipped: the pod template is that of revision %lld already\n",
                    (long long)revision_of(back));
        return true;
    }
    op_add(a, &ops, "replace", "/spec/template", template);
    const struct val *cause = val_get_str(field_at(back, "metadata.annotations"), CAUSE);
    const struct val *notes = field_at(&d, "metadata.annotations");
    if (cause && notes)
        op_add(a, &ops, "add", "/metadata/annotations/kubernetes.io~1change-cause", *cause);
    else if (val_get_str(notes, CAUSE))
        op_add(a, &ops, "remove", "/metadata/annotations/kubernetes.io~1change-cause", VAL_NONE);
    return deployment_change(x, &ops, "application/json-patch+json", err) && rollout_say(x, "rolled back");
}

/* ---- restart, pause, resume ---- */

static bool rollout_restart(struct rollout_command *x, struct err *err)
{
    struct arena *a = &x->client->arena;
    struct val v = val_map();
    val_set_str(a, val_need_map(a, &v, N(spec), N(template), N(metadata), N(annotations)), RESTARTED,
                val_str(a, time_text(a, clock_real())));
    return deployment_change(x, &v, STRATEGIC, err) && rollout_say(x, "restarted");
}

static bool set_paused(struct rollout_command *x, bool paused, struct err *err)
{
    struct arena *a = &x->client->arena;
    struct val d, v = val_map();
    if (!deployment_get(x, &d, err))
        return false;
    if (val_true(field_at(&d, "spec.paused")) == paused)
        return err_set(err, E_CONFLICT, "deployment \"" STR_FMT "\" is %s", STR_ARG(x->name),
                       paused ? "paused already" : "not paused");
    val_set_bool(a, val_need_map(a, &v, N(spec)), N(paused), paused);
    return deployment_change(x, &v, STRATEGIC, err) && rollout_say(x, paused ? "paused" : "resumed");
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
            if (!str_eqz(x->resource->plural, "deployments"))
                return err_set(err, E_INVALID, STR_FMT ": has no rollout to follow; deployments have",
                               STR_ARG(x->resource->plural));
            if (!x->name.n)
                return err_set(err, E_INVALID, "name the Deployment, e.g. deploy/web");
            if (!words_known[i].run(x, err))
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
