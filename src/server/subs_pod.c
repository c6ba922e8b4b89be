/* Pods: binding to a node, and eviction. An eviction is up to three writes, each with its key's turn: its share of
 * the budget, a condition of the pod that tells why, and the deletion; where the pod or its budget has changed in
 * between, the decision is made anew. */
#include "api/selector.h"
#include "server/fail.h"
#include "server/options.h"
#include "server/subs.h"
#include "server/write.h"

static void answer_created(struct request *r)
{
    struct val v = val_map();
    val_set_text(&r->arena, &v, N(kind), S("Status"));
    val_set_text(&r->arena, &v, N(apiVersion), S("v1"));
    val_set(&r->arena, &v, N(metadata), val_map());
    val_set_text(&r->arena, &v, N(status), S("Success"));
    val_set_num(&r->arena, &v, N(code), 201);
    answer_tree(r, 201, T(meta_v1_Status), v);
}

static void binding_created(struct write *w, struct obj *o UNUSED)
{
    answer_created(w->r);
}

/* Sets a condition of a pod's status, keeping the others. */
static void set_condition(struct request *r, struct val *pod, const char *type, const char *status,
                          const char *reason, const char *message)
{
    struct arena *a = &r->arena;
    struct val *st = val_need_map(a, pod, N(status)), *list = val_get_mut(st, N(conditions)), *c = NULL;
    if (!list)
        list = val_set(a, st, N(conditions), val_list());
    for (size_t i = 0; i < val_len(list); i++)
        if (str_eqz(val_text_at(&list->list[i], N(type)), type))
            c = &list->list[i];
    struct str now = time_text(a, clock_real() / NS_PER_S * NS_PER_S);
    bool same = c && str_eqz(val_text_at(c, N(status)), status);
    struct str since = same ? val_text_at(c, N(lastTransitionTime)) : now;
    struct val v = val_map();
    val_set_text(a, &v, N(type), str_of(type));
    val_set_text(a, &v, N(status), str_of(status));
    val_set(a, &v, N(lastProbeTime), VAL_NONE);
    val_set_text(a, &v, N(lastTransitionTime), since);
    if (*reason)
        val_set_text(a, &v, N(reason), str_of(reason));
    if (*message)
        val_set_text(a, &v, N(message), str_of(message));
    if (c)
        *c = v;
    else
        val_add(a, list, v);
}

/* --- binding --- */

static enum write_next binding_conflict(struct request *r, const char *text, struct str node)
{
    struct str was = r->resource;
    r->resource = S("pods/binding");
    fail_conflict(r, "pod " STR_FMT " %s" STR_FMT "%s", STR_ARG(r->name), text, STR_ARG(node), node.n ? "\"" : "");
    r->resource = was;
    return WRITE_OVER;
}

static enum write_next step_bind(struct write *w)
{
    struct request *r = w->r;
    struct arena *a = &r->arena;
    struct obj *cur = w->stored;
    struct str node = val_text_at(obj_spec(cur), N(nodeName)), target = val_text_at(r->body, N(target), N(name));
    if (obj_deleting(cur))
        return binding_conflict(r, "is being deleted, cannot be assigned to a host", S(""));
    if (node.n)
        return binding_conflict(r, "is already assigned to node \"", node);
    if (val_len(val_get(obj_spec(cur), N(schedulingGates))))
        return binding_conflict(r, "has non-empty .spec.schedulingGates", S(""));
    struct val *tree = w->tree = ARENA_NEW(a, struct val);
    *tree = val_copy(a, &cur->tree);
    val_set_text(a, val_need_map(a, tree, N(spec)), N(nodeName), target);
    val_del(val_need_map(a, tree, N(status)), N(nominatedNodeName)); /* which has been answered by this */
    val_each_member (m, val_at(r->body, N(metadata), N(annotations)))
        val_set_str(a, val_need_map(a, tree, N(metadata), N(annotations)), m->name->s, val_copy(a, &m->v));
    val_each_member (m, val_at(r->body, N(metadata), N(labels)))
        if (str_starts(m->name->s, S("topology.kubernetes.io/")))
            val_set_str(a, val_need_map(a, tree, N(metadata), N(labels)), m->name->s, val_copy(a, &m->v));
    set_condition(r, tree, "PodScheduled", "True", "", "");
    return write_raw(w);
}

static enum write_next find_pod(struct write *w)
{
    enum write_next next = write_stored(w);
    if (next == WRITE_OVER)
        fail_named_not_found(w->r, S(""), S("pods"), w->r->name);
    return next;
}

void sub_binding(struct request *r)
{
    struct str name = val_text_at(r->body, N(metadata), N(name));
    const struct val *target = val_get(r->body, N(target));
    struct str kind = val_text_at(target, N(kind)), node = val_text_at(target, N(name));
    if (!r->name.n)
        r->name = name;
    AUTO(field_errors_fini) struct field_errors e = {.arena = &r->arena};
    if (kind.n && !str_eq(kind, S("Node")))
        field_error_add(&e, FE_NOT_SUPPORTED, "target.kind",
                        "Unsupported value: \"" STR_FMT "\": supported values: \"Node\", \"<empty>\"", STR_ARG(kind));
    if (!node.n)
        field_error_add(&e, FE_REQUIRED, "target.name", "Required value");
    if (e.list.n) {
        AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
        field_errors_text(&e, &text);
        fail_plain(r, 500, "%s", text.p);
        request_finish(r);
        return;
    }
    if (name.n && !str_eq(name, r->name)) {
        fail_bad_request(r, "name in URL does not match name in Binding object");
        request_finish(r);
        return;
    }
    static const struct write_step steps[] = {
        {"turn", write_turn}, {"pod", find_pod}, {"bind", step_bind}, {"answer", write_answer}, {NULL, NULL}};
    struct write *w = write_new(r, steps);
    w->key = object_key(&r->arena, K(Pod), r->ns, r->name);
    w->answer = binding_created;
    write_start(w);
}

/* --- eviction --- */

enum guard { UNGUARDED, AS_SEEN, UNHEALTHY };

struct eviction {
    struct request *parent;
    struct request del, take; /* take: the budget's share, written before anything happens to the pod */
    bool refused;
    /* What the decision stands on: UNGUARDED nothing of the pod; AS_SEEN that it is still as it was looked at, else
     * the decision is made anew; UNHEALTHY that it has not become ready, else a 429. */
    enum guard guard;
    int64_t pod_rev, marked_rev; /* as looked at; with its condition */
    struct str budget;           /* whose rule it was */
    int tries;
};
#define EVICTION_TRIES 20 /* a pod that changes all the while */

static void eviction_run(struct eviction *e);

/* What the eviction does is allowed as it is. */
static void part_of(struct request *part, struct request *r)
{
    part->parent = r;
    part->user = r->user;
    part->authorized = part->admitted = true;
}

static bool is_dry(const struct request *r)
{
    return r->options.dry_run || val_len(val_at(r->body, N(deleteOptions), N(dryRun))) > 0;
}

static void fail_being_processed(struct request *r, struct str budget)
{
    fail_too_many(r, 10, "Cannot evict pod as it would violate the pod's disruption budget.");
    fail_add_cause(r, "DisruptionBudget",
                   arena_fmt(&r->arena, "The disruption budget " STR_FMT " is still being processed by the server.",
                             STR_ARG(budget)),
                   STR_NONE);
}

static void pod_evicted(struct request *del)
{
    struct eviction *e = container_of(del, struct eviction, del);
    struct request *r = e->parent;
    bool conflict = del->answer.type == ANSWER_FAILED && del->answer.fail.code == 409;
    if (conflict && e->guard == AS_SEEN && e->tries < EVICTION_TRIES) {
        request_fini(del);
        eviction_run(e);
        return;
    }
    if (conflict && e->guard == UNHEALTHY) {
        fail_being_processed(r, e->budget);
    } else if (del->answer.type == ANSWER_FAILED) {
        struct failure f = del->answer.fail;
        fail_plain(r, f.code, STR_FMT, STR_ARG(f.message));
        r->answer.fail.reason = f.reason;
        r->answer.fail.details = f.details;
        r->answer.fail.name = str_dup(&r->arena, f.name);
        r->answer.fail.kind = str_dup(&r->arena, f.kind);
        r->answer.fail.group = str_dup(&r->arena, f.group);
        for (size_t i = 0; i < f.ncauses; i++)
            fail_add_cause(r, f.causes[i].reason.p, str_dup(&r->arena, f.causes[i].message),
                           str_dup(&r->arena, f.causes[i].field));
    } else {
        answer_created(r);
    }
    request_fini(del);
    request_finish(r);
}

static void evict_delete(struct eviction *e)
{
    struct request *r = e->parent, *d = &e->del;
    request_init(d, r->server, r->server->loop, pod_evicted);
    request_for(d, VERB_DELETE, K(Pod), r->ns, r->name, S(""));
    part_of(d, r);
    const struct val *o = val_get(r->body, N(deleteOptions));
    if (o && !options_of_delete_body(d, o)) {
        pod_evicted(d);
        return;
    }
    d->options.dry_run |= r->options.dry_run;
    int64_t rev = e->marked_rev ? e->marked_rev : e->pod_rev;
    if (e->guard != UNGUARDED || (d->options.expect_rev.p && e->marked_rev)) /* that it held was seen at the mark */
        d->options.expect_rev = arena_fmt(&r->arena, "%lld", (long long)rev);
    verb_delete(d);
}

static void mark_written(struct write *w, struct obj *o)
{
    struct eviction *e = container_of(w->r, struct eviction, del);
    e->marked_rev = o->rev;
    answer_created(w->r);
}

/* First the condition that tells why (KEP-3329), then the delete. */
static enum write_next step_mark(struct write *w)
{
    struct request *r = w->r;
    struct eviction *e = container_of(r, struct eviction, del);
    struct obj *cur = w->stored;
    const struct val *o = val_get(e->parent->body, N(deleteOptions));
    if ((o && !options_of_delete_body(r, o)) || !delete_may(r, cur))
        return WRITE_OVER;
    if (e->guard != UNGUARDED && cur->rev != e->pod_rev) {
        fail_conflict(r, "the pod has changed since it was looked at");
        return WRITE_OVER;
    }
    w->tree = ARENA_NEW(&r->arena, struct val);
    *w->tree = val_copy(&r->arena, &cur->tree);
    set_condition(r, w->tree, "DisruptionTarget", "True", "EvictionByEvictionAPI", "Eviction API: evicting");
    return write_raw(w);
}

static void pod_marked(struct request *mark)
{
    struct eviction *e = container_of(mark, struct eviction, del);
    if (mark->answer.type == ANSWER_FAILED) {
        pod_evicted(mark);
        return;
    }
    request_fini(mark);
    evict_delete(e);
}

struct budgets {
    const struct obj *pod;
    struct obj *first;
    size_t n;
};

static bool match_budget(struct obj *o, void *arg)
{
    struct budgets *b = arg;
    if (!label_selector_matches(val_get(obj_spec(o), N(selector)), obj_labels(b->pod)))
        return true;
    if (!b->n++)
        b->first = obj_ref(o);
    return b->n < 2; /* more are as wrong as two */
}

#define DISRUPTED_MOST 2000 /* upstream's MaxDisruptedPodSize */

static bool fail_budget(struct request *r, const struct obj *pdb, const char *why)
{
    fail_forbidden(r, "%s", why);
    r->answer.fail.message = arena_fmt(&r->arena, "poddisruptionbudget.policy \"" STR_FMT "\" is forbidden: %s",
                                       STR_ARG(pdb->name), why);
    r->answer.fail.name = str_dup(&r->arena, pdb->name);
    r->answer.fail.group = S("policy");
    r->answer.fail.kind = S("poddisruptionbudget");
    return false;
}

/* Whether the one budget of the pod lets it go. */
static bool budget_allows(struct request *r, const struct obj *pdb)
{
    const struct val *st = obj_status(pdb);
    int64_t allowed = val_num_at(st, 0, N(disruptionsAllowed));
    if (val_num_at(st, 0, N(observedGeneration)) < obj_generation(pdb)) {
        fail_being_processed(r, pdb->name);
        return false;
    }
    if (allowed < 0)
        return fail_budget(r, pdb, "pdb disruptions allowed is negative");
    if (val_len(val_get(st, N(disruptedPods))) > DISRUPTED_MOST)
        return fail_budget(r, pdb, "DisruptedPods map too big - too many evictions not confirmed by PDB controller");
    if (allowed > 0)
        return true;
    fail_too_many(r, 0, "Cannot evict pod as it would violate the pod's disruption budget.");
    fail_add_cause(r, "DisruptionBudget",
                   arena_fmt(&r->arena,
                             "The disruption budget " STR_FMT " needs %lld healthy pods and has %lld currently",
                             STR_ARG(pdb->name), (long long)val_num_at(st, 0, N(desiredHealthy)),
                             (long long)val_num_at(st, 0, N(currentHealthy))),
                   STR_NONE);
    return false;
}

/* A pod that is not ready counts nowhere: taking it costs the budget nothing. Always, or while enough others are. */
static bool goes_as_unhealthy(const struct obj *pod, const struct obj *pdb)
{
    const struct val *ready = val_find(val_get(obj_status(pod), N(conditions)), N(type), S("Ready"));
    const struct val *st = obj_status(pdb);
    int64_t healthy = val_num_at(st, 0, N(currentHealthy)), desired = val_num_at(st, 0, N(desiredHealthy));
    if (str_eqz(val_text_at(ready, N(status)), "True"))
        return false;
    return str_eqz(val_text_at(obj_spec(pdb), N(unhealthyPodEvictionPolicy)), "AlwaysAllow") ||
           (healthy >= desired && desired > 0);
}

/* The budget lets the pod go, or there is none. */
static void evict_go(struct eviction *e)
{
    struct request *r = e->parent;
    AUTO(obj_unref) struct obj *pod = object_get(r->server, K(Pod), r->ns, r->name);
    if (!pod || obj_deleting(pod) || is_dry(r)) {
        evict_delete(e);
        return;
    }
    struct request *m = &e->del;
    request_init(m, r->server, r->server->loop, pod_marked);
    request_for(m, VERB_UPDATE, K(Pod), r->ns, r->name, S("status"));
    part_of(m, r);
    static const struct write_step steps[] = {
        {"turn", write_turn}, {"current", write_stored}, {"mark", step_mark}, {"answer", write_answer}, {NULL, NULL}};
    struct write *w = write_new(m, steps);
    w->answer = mark_written;
    write_start(w);
}

static void budget_taken(struct request *t)
{
    struct eviction *e = container_of(t, struct eviction, take);
    bool refused = e->refused;
    request_fini(t);
    if (refused)
        request_finish(e->parent);
    else
        evict_go(e);
}

/* The controller says the same a moment later. */
static void budget_condition(struct request *t, struct val *status)
{
    struct arena *a = &t->arena;
    struct val *list = val_get_mut(status, N(conditions));
    for (size_t i = 0; i < val_len(list); i++) {
        struct val *c = &list->list[i];
        if (!str_eqz(val_text_at(c, N(type)), "DisruptionAllowed") || str_eqz(val_text_at(c, N(status)), "False"))
            continue;
        val_set_text(a, c, N(status), S("False"));
        val_set_text(a, c, N(reason), S("InsufficientPods"));
        val_set_text(a, c, N(lastTransitionTime), time_text(a, clock_real()));
    }
}

/* One eviction after another: each sees what those before it took. disruptedPods tells the controller that the pod is
 * as good as gone. */
static enum write_next step_take(struct write *w)
{
    struct request *t = w->r;
    struct eviction *e = container_of(t, struct eviction, take);
    struct obj *cur = w->stored;
    e->refused = !budget_allows(e->parent, cur);
    if (e->refused) {
        fail_plain(t, 429, "refused");
        return WRITE_OVER;
    }
    struct arena *a = &t->arena;
    struct val *tree = w->tree = ARENA_NEW(a, struct val);
    *tree = val_copy(a, &cur->tree);
    struct val *status = val_need_map(a, tree, N(status));
    int64_t left = val_num_at(status, 0, N(disruptionsAllowed)) - 1;
    val_set_num(a, status, N(disruptionsAllowed), left);
    if (left == 0)
        budget_condition(t, status);
    val_set_str(a, val_need_map(a, status, N(disruptedPods)), e->parent->name,
                val_str(a, time_text(a, clock_real())));
    return write_raw(w);
}

static void budget_take(struct eviction *e, const struct obj *pdb)
{
    struct request *r = e->parent, *t = &e->take;
    request_init(t, r->server, r->server->loop, budget_taken);
    request_for(t, VERB_UPDATE, K(PodDisruptionBudget), r->ns, str_dup(&r->arena, pdb->name), S("status"));
    part_of(t, r);
    static const struct write_step steps[] = {{"turn", write_turn},
                                              {"current", write_stored}, /* not there: it was deleted meanwhile */
                                              {"take", step_take},
                                              {"answer", write_answer},
                                              {NULL, NULL}};
    struct write *w = write_new(t, steps);
    w->answer = binding_created;
    write_start(w);
}

/* What the options demand of the pod holds; false: answered. Asked before the budget is: what cannot be takes nothing
 * of it. */
static bool options_hold(struct eviction *e, const struct obj *pod)
{
    struct request *r = e->parent, *d = &e->del;
    const struct val *o = val_get(r->body, N(deleteOptions));
    if (!o)
        return true;
    request_init(d, r->server, r->server->loop, pod_evicted);
    request_for(d, VERB_DELETE, K(Pod), r->ns, r->name, S(""));
    bool ok = options_of_delete_body(d, o) && delete_may(d, pod);
    if (ok)
        request_fini(d);
    else
        pod_evicted(d);
    return ok;
}

/* Decides by how pod and budget are now. */
static void eviction_run(struct eviction *e)
{
    struct request *r = e->parent;
    AUTO(obj_unref) struct obj *pod = object_get(r->server, K(Pod), r->ns, r->name);
    if (!pod) {
        fail_not_found(r);
        request_finish(r);
        return;
    }
    bool over = obj_deleting(pod) || pod_has_ended(&pod->tree);
    bool pending = str_eq(val_text_at(obj_status(pod), N(phase)), S("Pending"));
    const struct val *mine = val_at(r->body, N(deleteOptions), N(preconditions), N(resourceVersion));
    e->tries++;
    e->pod_rev = pod->rev;
    e->marked_rev = 0;
    e->guard = UNGUARDED;
    if (!options_hold(e, pod))
        return;
    e->guard = !over && pending && !mine ? AS_SEEN : UNGUARDED;
    if (over || pending) {
        evict_go(e);
        return;
    }
    struct budgets b = {.pod = pod};
    objects_each(r->server, K(PodDisruptionBudget), r->ns, match_budget, &b);
    AUTO(obj_unref) struct obj *pdb = b.first;
    if (b.n > 1) {
        fail_plain(
            r, 500,
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.");
        request_finish(r);
    } else if (pdb && goes_as_unhealthy(pod, pdb)) {
        e->guard = mine ? UNGUARDED : UNHEALTHY;
        e->budget = str_dup(&r->arena, pdb->name);
        evict_go(e);
    } else if (pdb && !budget_allows(r, pdb)) {
        request_finish(r);
    } else if (pdb && !is_dry(r)) {
        budget_take(e, pdb);
    } else {
        evict_go(e);
    }
}

void sub_eviction(struct request *r)
{
    AUTO(obj_unref) struct obj *pod = object_get(r->server, K(Pod), r->ns, r->name);
    if (!pod) {
        fail_not_found(r);
        request_finish(r);
        return;
    }
    struct str name = val_text_at(r->body, N(metadata), N(name));
    if (!str_eq(name, r->name)) {
        fail_bad_request(r, "name in URL does not match name in Eviction object");
        request_finish(r);
        return;
    }
    struct str ns = val_text_at(r->body, N(metadata), N(namespace));
    if (ns.n && !str_eq(ns, r->ns)) {
        fail_bad_request(r, "the namespace of the provided object does not match the namespace sent on the request");
        request_finish(r);
        return;
    }
    struct eviction *e = ARENA_NEW(&r->arena, struct eviction);
    e->parent = r;
    eviction_run(e);
}
