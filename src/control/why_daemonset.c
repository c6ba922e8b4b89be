/* DaemonSets: why nodes have no pod of it, and behind that the pod that is worst off. */
#include "api/placement.h"
#include "control/daemonset_int.h"
#include "control/why_int.h"

extern const struct controller daemonset_controller;

static int64_t ds_num(const struct obj *ds, const struct name *name)
{
    return val_num_at(obj_status(ds), 0, name);
}

struct str daemonset_head(struct question *q, const struct obj *ds)
{
    return arena_fmt(q->a, "DaemonSet " STR_FMT " has %lld of %lld pods ready", STR_ARG(ds->name),
                     (long long)ds_num(ds, N(numberReady)), (long long)ds_num(ds, N(desiredNumberScheduled)));
}

/* The first taint of the node that its pods do not tolerate; NULL: none. */
static const struct val *taint_in_the_way(const struct daemon_rules *r, const struct obj *node)
{
    val_each_item (taint, val_get(obj_spec(node), N(taints)))
        if (!str_eqz(val_text_at(taint, N(effect)), "PreferNoSchedule") &&
            !taint_tolerated(val_get(obj_spec(&r->pod), N(tolerations)), taint))
            return taint;
    return NULL;
}

/* What the template asks of a node's labels, in words. */
static struct str wishes_text(struct question *q, const struct daemon_rules *r)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    val_each_member (it, val_get(obj_spec(&r->pod), N(nodeSelector)))
        strbuf_addf(&b, "%s" STR_FMT "=" STR_FMT, b.n ? ", " : "nodeSelector ", STR_ARG(it->name->s),
                    STR_ARG(val_text(&it->v)));
    if (val_at(obj_spec(&r->pod), N(affinity), N(nodeAffinity), N(requiredDuringSchedulingIgnoredDuringExecution)))
        strbuf_addf(&b, "%srequired node affinity", b.n ? " and " : "");
    if (r->node_name.n > 0)
        strbuf_addf(&b, "%snodeName " STR_FMT, b.n ? " and " : "", STR_ARG(r->node_name));
    return str_dup(q->a, strbuf_str(&b));
}

/* No node is to have one: there is none, its wishes suit none, or a taint keeps it off all that they suit. */
static void nowhere_say(struct question *q, const struct obj *ds, struct finding *f)
{
    struct daemon_rules r = daemon_rules_of(q->a, ds);
    const struct obj *tainted = NULL;
    struct obj *node;
    size_t nodes = 0;
    for (struct objset_iter it = view_all(q->v, K(Node)); (node = objset_next(&it)); nodes++) {
        if (daemon_wish(&r, node) == DAEMON_RUNS)
            return;
        if (node_selected(&r.pod, node) && (r.node_name.n == 0 || str_eq(r.node_name, node->name)))
            tainted = node;
    }
    if (nodes == 0 && !q->v->sets[K(Node)->id])
        return; /* they may not be read */
    if (nodes == 0) {
        why_found(q, f, "NoNodes", "there is no node");
    } else if (tainted) {
        const struct val *taint = taint_in_the_way(&r, tainted);
        why_found(q, f, "DaemonTaint",
                  "no node gets its pod: node " STR_FMT " has taint " STR_FMT ":" STR_FMT
                  ", which its template does not tolerate",
                  STR_ARG(tainted->name), STR_ARG(val_text_at(taint, N(key))),
                  STR_ARG(val_text_at(taint, N(effect))));
        why_way(q, f,
                "Tolerate it in spec.template.spec.tolerations: " STR_FMT
                ", or take it away: kubectl taint node " STR_FMT " " STR_FMT "-",
                STR_ARG(why_edit(q)), STR_ARG(tainted->name), STR_ARG(val_text_at(taint, N(key))));
    } else {
        why_found(q, f, "DaemonNowhere",
                  "no node gets its pod: none of %zu has what its template asks for (" STR_FMT ")", nodes,
                  STR_ARG(wishes_text(q, &r)));
        why_way(q, f, "Label a node, or ask for less: " STR_FMT, STR_ARG(why_edit(q)));
    }
}

/* Its pods are refused: after the last one was made. */
static void refusal_say(struct question *q, const struct obj *ds, struct finding *f)
{
    struct str begins = S("Error creating: ");
    const struct obj *event = why_event(q, ds, "FailedCreate", begins, S(""));
    const struct obj *made = why_event(q, ds, "SuccessfulCreate", S(""), S(""));
    if (!event || (made && why_event_time(made) > why_event_time(event)))
        return;
    struct str said = why_event_text(event);
    said = str_sub(said, begins.n, said.n);
    why_pods_refused(q, ds, said, f);
}

void why_daemonset(struct question *q, const struct obj *ds, struct finding *f)
{
    int64_t wanted = ds_num(ds, N(desiredNumberScheduled)), current = ds_num(ds, N(currentNumberScheduled));
    int64_t ready = ds_num(ds, N(numberReady)), updated = ds_num(ds, N(updatedNumberScheduled));
    struct str reason = why_plan(q, &daemonset_controller, ds, S(""));
    why_chain(q, f, "DaemonSet " STR_FMT ": of %lld nodes %lld have its pod, %lld ready, %lld of the newest template",
              STR_ARG(ds->name), (long long)wanted, (long long)current, (long long)ready, (long long)updated);
    if (reason.n > 0)
        why_chain(q, f, "DaemonSet " STR_FMT ": " STR_FMT, STR_ARG(ds->name), STR_ARG(reason));
    if (wanted == 0)
        nowhere_say(q, ds, f);
    if (current < wanted)
        refusal_say(q, ds, f);
    why_worst_pod(q, ds, f);
    if (f->state == WHY_BLOCKED)
        return;
    if (str_has(reason, S("OnDelete"))) {
        f->state = WHY_FINE;
        why_found(q, f, "OnDelete", STR_FMT, STR_ARG(reason));
        why_way(q, f,
                "Delete them one after the other: kubectl delete pod, or let them be replaced: kubectl patch " STR_FMT
                " -p '{\"spec\":{\"updateStrategy\":{\"type\":\"RollingUpdate\"}}}'",
                STR_ARG(why_target(q, ds)));
    } else if (str_has(reason, S("the rollout waits"))) {
        why_coming(q, f, "RolloutWaits", STR_FMT, STR_ARG(reason));
    } else if (reason.n > 0) {
        why_found(q, f, "PlanStopped", STR_FMT, STR_ARG(reason));
    } else if (ready < wanted || updated < wanted || ds_num(ds, N(observedGeneration)) < obj_generation(ds)) {
        why_coming(q, f, "PodsComing",
                   "its pods are being made (%lld of %lld exist, %lld are of the newest template)",
                   (long long)current, (long long)wanted, (long long)updated);
        why_way(q, f, "Follow it: kubectl rollout status " STR_FMT, STR_ARG(why_target(q, ds)));
    }
    if (f->state == WHY_FINE && wanted > 0)
        f->reason = arena_fmt(q->a, "%lld of %lld pods ready", (long long)ready, (long long)wanted);
}
