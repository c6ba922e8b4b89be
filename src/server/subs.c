#include "server/subs.h"
#include "api/selector.h"
#include "server/authn.h"
#include "server/fail.h"
#include "server/limits.h"
#include "server/options.h"
#include "server/rbac_int.h"
#include "server/write.h"

static sub_fn sub_finalize;

static const struct {
    const char *resource; /* NULL: any */
    const char *sub;      /* "" none */
    unsigned verbs;
    sub_fn *fn;
} rows[] = {
    {NULL, "scale", VERB_GET | VERB_UPDATE | VERB_PATCH, sub_scale},
    {"pods", "binding", VERB_CREATE, sub_binding},
    {"pods", "eviction", VERB_CREATE, sub_eviction},
    {"bindings", "", VERB_CREATE, sub_binding},
    {"namespaces", "finalize", VERB_UPDATE, sub_finalize},
    {"serviceaccounts", "token", VERB_CREATE, sub_token},
    {"tokenreviews", "", VERB_CREATE, sub_token_review},
    {"selfsubjectreviews", "", VERB_CREATE, sub_self_subject_review},
    {"subjectaccessreviews", "", VERB_CREATE, sub_access_review},
    {"localsubjectaccessreviews", "", VERB_CREATE, sub_local_access_review},
    {"selfsubjectaccessreviews", "", VERB_CREATE, sub_self_access_review},
    {"selfsubjectrulesreviews", "", VERB_CREATE, sub_self_rules_review},
};

sub_fn *sub_handler(const struct request *r)
{
    for (size_t i = 0; i < countof(rows); i++)
        if ((rows[i].verbs & r->verb) && str_eqz(r->sub, rows[i].sub) &&
            (!rows[i].resource || str_eqz(r->resource, rows[i].resource)))
            return rows[i].fn;
    return NULL;
}

static void failed(struct request *r)
{
    ASSERT(r->answer.type == ANSWER_FAILED);
    request_finish(r);
}

/* --- scale --- */

static bool answer_scale(struct request *r, struct obj *o, void *arg UNUSED)
{
    struct val scale;
    if (!kind_scale_of(&r->arena, r->kind, &o->tree, &scale))
        return fail_no_route(r);
    struct val *meta = val_need_map(&r->arena, &scale, N(metadata));
    if (o->rev)
        val_set_text(&r->arena, meta, N(resourceVersion), arena_fmt(&r->arena, "%lld", (long long)o->rev));
    val_set_text(&r->arena, &scale, N(kind), S("Scale"));
    val_set_text(&r->arena, &scale, N(apiVersion), S("autoscaling/v1"));
    scale = val_copy(&r->arena, &scale); /* the object may go before the answer does */
    return answer_tree(r, 200, T(autoscaling_v1_Scale), scale);
}

static bool check_scale(struct request *r, const struct val *scale, const struct obj *cur)
{
    const struct val *meta = val_get(scale, N(metadata));
    struct str name = val_text_at(meta, N(name)), ns = val_text_at(meta, N(namespace)),
               uid = val_text_at(meta, N(uid));
    if (!str_eq(name, r->name))
        return fail_bad_request(
            r, "the name of the object (" STR_FMT ") does not match the name on the URL (" STR_FMT ")", STR_ARG(name),
            STR_ARG(r->name));
    if (ns.n && !str_eq(ns, r->ns))
        return fail_bad_request(
            r, "the namespace of the provided object does not match the namespace sent on the request");
    if (uid.n && !str_eq(uid, cur->uid))
        return fail_conflict(r, "Precondition failed: UID in precondition: " STR_FMT ", UID in object meta: " STR_FMT,
                             STR_ARG(uid), STR_ARG(cur->uid));
    int64_t n = val_num_at(scale, 0, N(spec), N(replicas));
    if (n < 0) {
        AUTO(field_errors_fini) struct field_errors e = {.arena = &r->arena};
        field_error_add(&e, FE_INVALID, "spec.replicas", "Invalid value: %lld: must be greater than or equal to 0",
                        (long long)n);
        return fail_invalid(r, S("autoscaling"), S("Scale"), name, &e);
    }
    return true;
}

static void step_scale(struct request *r)
{
    struct arena *a = &r->arena;
    struct obj *cur = write_current(r);
    struct val now, scale;
    if (!cur) {
        failed(r);
        return;
    }
    if (!kind_scale_of(a, r->kind, &cur->tree, &now)) {
        fail_no_route(r);
        failed(r);
        return;
    }
    if (r->verb == VERB_PATCH) {
        val_set_text(a, &now, N(kind), S("Scale"));
        val_set_text(a, &now, N(apiVersion), S("autoscaling/v1"));
        val_set_text(a, val_need_map(a, &now, N(metadata)), N(resourceVersion),
                     arena_fmt(a, "%lld", (long long)cur->rev));
        if (!patch_apply(r, T(autoscaling_v1_Scale), &now, &scale)) {
            failed(r);
            return;
        }
    } else {
        scale = val_copy(a, r->body);
    }
    if (!check_scale(r, &scale, cur)) {
        failed(r);
        return;
    }
    struct val *tree = ARENA_NEW(a, struct val);
    *tree = val_copy(a, &cur->tree);
    kind_scale_apply(a, r->kind, tree, &scale);
    struct str rev = val_text_at(&scale, N(metadata), N(resourceVersion));
    if (rev.n)
        val_set_text(a, val_need_map(a, tree, N(metadata)), N(resourceVersion), rev);
    struct update u = {.cur = cur, .tree = tree, .sub = S(""), .expect = true, .code = 200, .answer = answer_scale};
    write_update(r, &u);
}

void sub_scale(struct request *r)
{
    if (r->verb != VERB_GET) {
        if (r->verb == VERB_PATCH && r->options.patch == FORMAT_APPLY_PATCH) {
            fail_plain(r, 415, "server-side apply (application/apply-patch) is not there yet: use a merge patch");
            r->answer.fail.reason = "UnsupportedMediaType";
            request_finish(r);
            return;
        }
        write_turn(r, step_scale);
        return;
    }
    AUTO(obj_unref) struct obj *o = object_get(r->server, r->kind, r->ns, r->name);
    if (o)
        answer_scale(r, o, NULL);
    else
        fail_not_found(r);
    request_finish(r);
}

/* --- binding --- */

static bool answer_created(struct request *r, struct obj *o UNUSED, void *arg UNUSED)
{
    struct val v = val_map();
    val_set_text(&r->arena, &v, N(kind), S("Status"));
    val_set_text(&r->arena, &v, N(apiVersion), S("v1"));
    val_set(&r->arena, &v, N(metadata), val_map());
    val_set_text(&r->arena, &v, N(status), S("Success"));
    val_set_num(&r->arena, &v, N(code), 201);
    return answer_tree(r, 201, T(meta_v1_Status), v);
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

static bool binding_conflict(struct request *r, const char *text, struct str node)
{
    struct str was = r->resource;
    r->resource = S("pods/binding");
    fail_conflict(r, "pod " STR_FMT " %s" STR_FMT "%s", STR_ARG(r->name), text, STR_ARG(node), node.n ? "\"" : "");
    r->resource = was;
    return false;
}

static void step_binding(struct request *r)
{
    struct arena *a = &r->arena;
    struct obj *cur = object_of(store_get(r->server->store, r->lock_key));
    if (!cur) {
        fail_named_not_found(r, S(""), S("pods"), r->name);
        failed(r);
        return;
    }
    struct str node = val_text_at(obj_spec(cur), N(nodeName)), target = val_text_at(r->body, N(target), N(name));
    if (obj_deleting(cur)) {
        binding_conflict(r, "is being deleted, cannot be assigned to a host", S(""));
        failed(r);
        return;
    }
    if (node.n) {
        binding_conflict(r, "is already assigned to node \"", node);
        failed(r);
        return;
    }
    if (val_len(val_get(obj_spec(cur), N(schedulingGates)))) {
        binding_conflict(r, "has non-empty .spec.schedulingGates", S(""));
        failed(r);
        return;
    }
    struct val *tree = ARENA_NEW(a, struct val);
    *tree = val_copy(a, &cur->tree);
    val_set_text(a, val_need_map(a, tree, N(spec)), N(nodeName), target);
    val_each_member (m, val_at(r->body, N(metadata), N(annotations)))
        val_set_str(a, val_need_map(a, tree, N(metadata), N(annotations)), m->name->s, val_copy(a, &m->v));
    val_each_member (m, val_at(r->body, N(metadata), N(labels)))
        if (str_starts(m->name->s, S("topology.kubernetes.io/")))
            val_set_str(a, val_need_map(a, tree, N(metadata), N(labels)), m->name->s, val_copy(a, &m->v));
    set_condition(r, tree, "PodScheduled", "True", "", "");
    write_raw_then(r, cur, tree, answer_created, NULL);
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
        failed(r);
        return;
    }
    if (name.n && !str_eq(name, r->name)) {
        fail_bad_request(r, "name in URL does not match name in Binding object");
        failed(r);
        return;
    }
    turn_take(r, object_key(&r->arena, K(Pod), r->ns, r->name), step_binding);
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

static void evict(struct eviction *e);

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

static void evicted(struct request *del)
{
    struct eviction *e = container_of(del, struct eviction, del);
    struct request *r = e->parent;
    bool conflict = del->answer.type == ANSWER_FAILED && del->answer.fail.code == 409;
    if (conflict && e->guard == AS_SEEN && e->tries < EVICTION_TRIES) {
        request_fini(del);
        evict(e);
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
        answer_created(r, NULL, NULL);
    }
    request_fini(del);
    request_finish(r);
}

static void evict_delete(struct eviction *e)
{
    struct request *r = e->parent, *d = &e->del;
    request_init(d, r->server, r->server->loop, evicted);
    request_for(d, VERB_DELETE, K(Pod), r->ns, r->name, S(""));
    d->user = r->user;
    d->internal = true;
    const struct val *o = val_get(r->body, N(deleteOptions));
    if (o && !options_of_delete_body(d, o)) {
        evicted(d);
        return;
    }
    d->options.dry_run |= r->options.dry_run;
    int64_t rev = e->marked_rev ? e->marked_rev : e->pod_rev;
    if (e->guard != UNGUARDED || (d->options.expect_rev.p && e->marked_rev)) /* that it held was seen at the mark */
        d->options.expect_rev = arena_fmt(&r->arena, "%lld", (long long)rev);
    verb_delete(d);
}

static bool answer_evict(struct request *r, struct obj *o UNUSED, void *arg UNUSED)
{
    answer_created(r, NULL, NULL);
    return true;
}

static bool answer_marked(struct request *r, struct obj *o, void *arg)
{
    struct eviction *e = arg;
    e->marked_rev = o->rev;
    answer_created(r, NULL, NULL);
    return true;
}

static void step_evict_mark(struct request *r)
{
    /* first the condition that tells why (KEP-3329), then the delete */
    struct eviction *e = container_of(r, struct eviction, del);
    struct obj *cur = write_current(r);
    const struct val *o = val_get(e->parent->body, N(deleteOptions));
    if (!cur || (o && !options_of_delete_body(r, o)) || !delete_may(r, cur)) {
        failed(r);
        return;
    }
    if (e->guard != UNGUARDED && cur->rev != e->pod_rev) {
        fail_conflict(r, "the pod has changed since it was looked at");
        failed(r);
        return;
    }
    struct val *tree = ARENA_NEW(&r->arena, struct val);
    *tree = val_copy(&r->arena, &cur->tree);
    set_condition(r, tree, "DisruptionTarget", "True", "EvictionByEvictionAPI", "Eviction API: evicting");
    write_raw_then(r, cur, tree, answer_marked, e);
}

static void marked(struct request *mark)
{
    struct eviction *e = container_of(mark, struct eviction, del);
    if (mark->answer.type == ANSWER_FAILED) {
        evicted(mark);
        return;
    }
    request_fini(mark);
    evict_delete(e);
}

struct budgets {
    struct request *r;
    const struct obj *pod;
    struct obj *first;
    size_t n;
};

static bool match_budget(struct obj *o, void *arg)
{
    struct budgets *b = arg;
    struct selector *s;
    struct err err = ERR; /* validation let no selector in that cannot be read; such a one is of no pod */
    const struct val *sel = val_get(obj_spec(o), N(selector));
    if (!sel || !selector_of(&b->r->arena, sel, &s, &err) || !selector_matches(s, obj_labels(b->pod)))
        return true;
    if (!b->n++)
        b->first = obj_ref(o);
    return true;
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
    request_init(m, r->server, r->server->loop, marked);
    request_for(m, VERB_UPDATE, K(Pod), r->ns, r->name, S("status"));
    m->user = r->user;
    m->internal = true;
    write_turn(m, step_evict_mark);
}

static void taken(struct request *t)
{
    struct eviction *e = container_of(t, struct eviction, take);
    bool refused = e->refused;
    request_fini(t);
    if (refused)
        failed(e->parent);
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
static void step_budget_take(struct request *t)
{
    struct eviction *e = container_of(t, struct eviction, take);
    struct obj *cur = write_current(t);
    if (!cur) { /* the budget was deleted meanwhile */
        failed(t);
        return;
    }
    e->refused = !budget_allows(e->parent, cur);
    if (e->refused) {
        fail_plain(t, 429, "refused");
        failed(t);
        return;
    }
    struct arena *a = &t->arena;
    struct val *tree = ARENA_NEW(a, struct val);
    *tree = val_copy(a, &cur->tree);
    struct val *status = val_need_map(a, tree, N(status));
    int64_t left = val_num_at(status, 0, N(disruptionsAllowed)) - 1;
    val_set_num(a, status, N(disruptionsAllowed), left);
    if (left == 0)
        budget_condition(t, status);
    val_set_str(a, val_need_map(a, status, N(disruptedPods)), e->parent->name,
                val_str(a, time_text(a, clock_real())));
    write_raw_then(t, cur, tree, answer_evict, NULL);
}

static void budget_take(struct eviction *e, const struct obj *pdb)
{
    struct request *r = e->parent, *t = &e->take;
    request_init(t, r->server, r->server->loop, taken);
    request_for(t, VERB_UPDATE, K(PodDisruptionBudget), r->ns, str_dup(&r->arena, pdb->name), S("status"));
    t->user = r->user;
    t->internal = true;
    turn_take(t, object_key(&t->arena, K(PodDisruptionBudget), r->ns, t->name), step_budget_take);
}

/* What the options demand of the pod holds; false: answered. Asked before the budget is: what cannot be takes nothing
 * of it. */
static bool options_hold(struct eviction *e, const struct obj *pod)
{
    struct request *r = e->parent, *d = &e->del;
    const struct val *o = val_get(r->body, N(deleteOptions));
    if (!o)
        return true;
    request_init(d, r->server, r->server->loop, evicted);
    request_for(d, VERB_DELETE, K(Pod), r->ns, r->name, S(""));
    bool ok = options_of_delete_body(d, o) && delete_may(d, pod);
    if (ok)
        request_fini(d);
    else
        evicted(d);
    return ok;
}

/* Decides by how pod and budget are now. */
static void evict(struct eviction *e)
{
    struct request *r = e->parent;
    AUTO(obj_unref) struct obj *pod = object_get(r->server, K(Pod), r->ns, r->name);
    if (!pod) {
        fail_not_found(r);
        failed(r);
        return;
    }
    struct str phase = val_text_at(obj_status(pod), N(phase));
    bool over = obj_deleting(pod) || str_eq(phase, S("Succeeded")) || str_eq(phase, S("Failed"));
    bool pending = str_eq(phase, S("Pending"));
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
    struct budgets b = {.r = r, .pod = pod};
    objects_each(r->server, K(PodDisruptionBudget), r->ns, match_budget, &b);
    AUTO(obj_unref) struct obj *pdb = b.first;
    if (b.n > 1) {
        fail_plain(
            r, 500,
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.");
        failed(r);
    } else if (pdb && goes_as_unhealthy(pod, pdb)) {
        e->guard = mine ? UNGUARDED : UNHEALTHY;
        e->budget = str_dup(&r->arena, pdb->name);
        evict_go(e);
    } else if (pdb && !budget_allows(r, pdb)) {
        failed(r);
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
        failed(r);
        return;
    }
    struct str name = val_text_at(r->body, N(metadata), N(name));
    if (!str_eq(name, r->name)) {
        fail_bad_request(r, "name in URL does not match name in Eviction object");
        failed(r);
        return;
    }
    struct str ns = val_text_at(r->body, N(metadata), N(namespace));
    if (ns.n && !str_eq(ns, r->ns)) {
        fail_bad_request(r, "the namespace of the provided object does not match the namespace sent on the request");
        failed(r);
        return;
    }
    struct eviction *e = ARENA_NEW(&r->arena, struct eviction);
    e->parent = r;
    evict(e);
}

/* --- namespaces/finalize --- */

static void step_finalize(struct request *r)
{
    struct arena *a = &r->arena;
    struct obj *cur = write_current(r);
    if (!cur) {
        failed(r);
        return;
    }
    struct str rev = val_text_at(r->body, N(metadata), N(resourceVersion));
    int64_t want;
    if (rev.n && (!str_to_i64(rev, 0, INT64_MAX, &want) || (want && want != cur->rev))) {
        fail_conflict(r, CONFLICT_MODIFIED);
        failed(r);
        return;
    }
    struct val *tree = ARENA_NEW(a, struct val);
    *tree = val_copy(a, &cur->tree);
    struct val *spec = val_need_map(a, tree, N(spec)), *meta = val_need_map(a, tree, N(metadata));
    const struct val *list = val_at(r->body, N(spec), N(finalizers));
    AUTO(field_errors_fini) struct field_errors e = {.arena = a};
    for (size_t i = 0; i < val_len(list); i++) {
        struct str f = val_text(val_item(list, i));
        if (str_find_char(f, '/') < 0 && !str_eq(f, S("kubernetes")) && !str_eq(f, S("orphan")) &&
            !str_eq(f, S("foregroundDeletion")))
            field_error_add(&e, FE_INVALID, arena_fmt(a, "spec.finalizers[%zu]", i).p,
                            "Invalid value: \"" STR_FMT
                            "\": name is neither a standard finalizer name nor is it fully qualified",
                            STR_ARG(f));
    }
    if (e.list.n) {
        fail_invalid(r, S(""), S("Namespace"), r->name, &e);
        failed(r);
        return;
    }
    const struct name *const taken[] = {N(labels), N(annotations), N(finalizers)};
    for (size_t i = 0; i < countof(taken); i++) {
        const struct val *v = val_at(r->body, N(metadata), taken[i]);
        if (val_len(v))
            val_set(a, meta, taken[i], val_copy(a, v));
        else
            val_del(meta, taken[i]);
    }
    val_set_str(a, val_need_map(a, meta, N(labels)), S("kubernetes.io/metadata.name"), val_str(a, cur->name));
    if (val_len(list))
        val_set(a, spec, N(finalizers), val_copy(a, list));
    else
        val_del(spec, N(finalizers));
    if (obj_deleting(cur) && !val_len(list) && !val_len(val_get(meta, N(finalizers))) && !r->options.dry_run) {
        AUTO(obj_unref) struct obj *gone = obj_new(cur->kind, tree, cur->rev);
        write_delete(r, cur, gone, 200);
        return;
    }
    write_raw(r, cur, tree, 200);
}

static void sub_finalize(struct request *r)
{
    write_turn(r, step_finalize);
}

/* --- token --- */

static bool token_bound(struct request *r, const struct val *ref, struct token_spec *t)
{
    static const struct {
        const char *kind;
        const struct kind *k;
    } kinds_of[] = {{"Pod", K(Pod)}, {"Secret", K(Secret)}, {"Node", K(Node)}};
    struct str kind = val_text_at(ref, N(kind)), name = val_text_at(ref, N(name)), uid = val_text_at(ref, N(uid));
    struct str version = val_text_at(ref, N(apiVersion));
    const struct kind *k = NULL;
    for (size_t i = 0; i < countof(kinds_of); i++)
        if (str_eqz(kind, kinds_of[i].kind))
            k = kinds_of[i].k;
    if (!k)
        return fail_bad_request(r, "cannot bind token to object of type /" STR_FMT ", Kind=" STR_FMT,
                                STR_ARG(version), STR_ARG(kind));
    AUTO(obj_unref) struct obj *o = object_get(r->server, k, k->namespaced ? r->ns : S(""), name);
    if (!o)
        return fail_named_not_found(r, S(""), k->plural, name);
    if (k == K(Pod)) {
        struct str account = val_text_at(obj_spec(o), N(serviceAccountName));
        if (!str_eq(account, r->name))
            return fail_bad_request(r,
                                    "cannot bind token for serviceaccount \"" STR_FMT
                                    "\" to pod running with different serviceaccount name.",
                                    STR_ARG(r->name));
        t->node_name = str_dup(&r->arena, val_text_at(obj_spec(o), N(nodeName)));
        AUTO(obj_unref) struct obj *node = object_get(r->server, K(Node), S(""), t->node_name);
        if (node)
            t->node_uid = str_dup(&r->arena, node->uid);
    }
    if (uid.n && !str_eq(uid, o->uid)) {
        fail_plain(r, 409,
                   "Operation cannot be fulfilled on " STR_FMT " \"" STR_FMT
                   "\": the UID in the bound object reference (" STR_FMT
                   ") does not match the UID in record. The object might have been deleted and then recreated",
                   STR_ARG(k->kind), STR_ARG(name), STR_ARG(uid));
        struct failure *f = &r->answer.fail;
        f->reason = "Conflict";
        f->details = true;
        f->kind = k->kind;
        f->name = name;
        return false;
    }
    t->bound_kind = kind;
    t->bound_name = name;
    t->bound_uid = str_dup(&r->arena, o->uid);
    return true;
}

/* What a taken node could ask for is what its pods have: upstream's ServiceAccountNodeAudienceRestriction. */
static bool pod_has_audience(const struct val *pod_spec, struct str audience, struct str issuer)
{
    val_each_item (v, val_get(pod_spec, N(volumes)))
        val_each_item (source, val_at(v, N(projected), N(sources))) {
            const struct val *token = val_get(source, N(serviceAccountToken));
            struct str given = val_text_at(token, N(audience));
            if (token && str_eq(given.n ? given : issuer, audience.n ? audience : issuer))
                return true;
        }
    return false;
}

static bool node_may_have(struct request *r, const struct token_spec *t)
{
    struct str audience = val_text(val_item(t->audiences, 0));
    AUTO(obj_unref) struct obj *pod = object_get(r->server, K(Pod), r->ns, t->bound_name);
    if (val_len(t->audiences) > 1)
        return fail_forbidden(r, "node may only request 0 or 1 audiences");
    return (pod && pod_has_audience(obj_spec(pod), audience, token_issuer(r->server))) ||
           fail_forbidden(r, "audience \"" STR_FMT "\" not found in pod spec volume", STR_ARG(audience));
}

static void token_answer(struct request *r)
{
    struct arena *a = &r->arena;
    struct val *v = ARENA_NEW(a, struct val);
    *v = val_copy(a, r->body);
    struct val *meta = val_need_map(a, v, N(metadata)), *spec = val_need_map(a, v, N(spec));
    int64_t seconds = val_get(spec, N(expirationSeconds)) ? val_num_at(spec, 0, N(expirationSeconds)) : 3600;
    AUTO(obj_unref) struct obj *account = object_get(r->server, K(ServiceAccount), r->ns, r->name);
    AUTO(field_errors_fini) struct field_errors e = {.arena = a};
    struct token_spec t = {.account = account, .seconds = seconds, .audiences = val_get(spec, N(audiences))};
    struct str name = val_text_at(meta, N(name)), ns = val_text_at(meta, N(namespace));
    if (!account) {
        fail_not_found(r);
        return;
    }
    if (name.n && !str_eq(name, r->name))
        field_error_add(&e, FE_INVALID, "metadata.name",
                        "Invalid value: \"" STR_FMT "\": must match the service account name if specified",
                        STR_ARG(name));
    if (ns.n && !str_eq(ns, r->ns)) {
        fail_bad_request(r, "the namespace of the provided object does not match the namespace sent on the request");
        return;
    }
    if (e.list.n) {
        fail_invalid(r, S("authentication.k8s.io"), S("TokenRequest"), r->name, &e);
        return;
    }
    if (seconds < LIMIT_TOKEN_SECONDS_MIN)
        field_error_add(&e, FE_INVALID, "spec.expirationSeconds",
                        "Invalid value: %lld: may not specify a duration less than 10 minutes", (long long)seconds);
    if (seconds > (int64_t)1 << 32)
        field_error_add(&e, FE_INVALID, "spec.expirationSeconds",
                        "Invalid value: %lld: may not specify a duration larger than 2^32 seconds",
                        (long long)seconds);
    if (e.list.n) {
        fail_invalid(r, S("authentication.k8s.io"), S("TokenRequest"), S(""), &e);
        return;
    }
    const struct val *ref = val_get(spec, N(boundObjectRef));
    if (val_is(ref, VAL_MAP) && !token_bound(r, ref, &t))
        return;
    struct str node = node_of(r->user);
    if (node.p && !(str_eq(t.bound_kind, S("Pod")) && str_eq(t.node_name, node))) {
        (void)fail_forbidden(r, "node requested token not bound to a pod of its own");
        return;
    }
    if (node.p && !node_may_have(r, &t))
        return;
    t.seconds = MIN(seconds, LIMIT_TOKEN_SECONDS_MAX);
    struct str token;
    int64_t until;
    struct err err = ERR;
    if (!token_make(r->server, a, &t, &token, &until, &err)) {
        fail_internal(r, "%s", err.text);
        return;
    }
    if (!val_len(t.audiences)) {
        struct val list = val_list();
        val_add(a, &list, val_str_borrowed(token_issuer(r->server)));
        val_set(a, spec, N(audiences), list);
    }
    val_set_num(a, spec, N(expirationSeconds), seconds);
    val_set_text(a, meta, N(name), r->name);
    val_set_text(a, meta, N(namespace), r->ns);
    val_set_text(a, meta, N(uid), str_dup(a, account->uid));
    val_set_text(a, meta, N(creationTimestamp), time_text(a, clock_real() / NS_PER_S * NS_PER_S));
    struct val *status = val_set(a, v, N(status), val_map());
    val_set_text(a, status, N(token), token);
    val_set_text(a, status, N(expirationTimestamp), time_text(a, until));
    answer_tree(r, 201, T(authentication_v1_TokenRequest), *v);
}

void sub_token(struct request *r)
{
    token_answer(r);
    request_finish(r);
}
