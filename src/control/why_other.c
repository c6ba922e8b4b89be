/* Deletion that waits, budgets, nodes, and the kinds that nothing acts on. */
#include "api/selector.h"
#include "control/cert.h"
#include "control/why_int.h"

extern const struct controller namespace_controller, disruption_controller;

struct str plain_head(struct question *q, const struct obj *o)
{
    return arena_fmt(q->a, STR_FMT " " STR_FMT, STR_ARG(o->kind->kind), STR_ARG(o->name));
}

/* ---- deletion ---- */

/* Finalizers that Wherry's own controllers take away. */
static const struct {
    const char *name, *means;
} own_finalizers[] = {
    {"foregroundDeletion", "until what it owns is gone"},
    {"orphan", "until what it owns is let go"},
    {"kubernetes.io/pvc-protection", "as long as a pod uses it"},
    {"kubernetes.io/pv-protection", "as long as a claim is bound to it"},
    {"customresourcecleanup.apiextensions.k8s.io", "until its objects are gone"},
};

struct str why_unlock(struct question *q, const struct obj *o)
{
    return arena_fmt(q->a, "kubectl patch " STR_FMT " --type=merge -p '{\"metadata\":{\"finalizers\":null}}'",
                     STR_ARG(why_target(q, o)));
}

bool why_deletion(struct question *q, const struct obj *o, struct finding *f)
{
    struct str first = val_text(val_item(val_get(obj_meta(o), N(finalizers)), 0));
    if (!obj_deleting(o))
        return false;
    why_chain(q, f, STR_FMT " " STR_FMT ": deleted at " STR_FMT ", finalizer " STR_FMT, STR_ARG(o->kind->kind),
              STR_ARG(o->name), STR_ARG(val_text_at(obj_meta(o), N(deletionTimestamp))), STR_ARG(first));
    if (why_kept(q, o, f))
        return true;
    for (size_t i = 0; i < countof(own_finalizers); i++)
        if (str_eqz(first, own_finalizers[i].name))
            return why_coming(q, f, "Finalizer", "its finalizer " STR_FMT " keeps it %s", STR_ARG(first),
                              own_finalizers[i].means);
    if (first.n == 0)
        return why_coming(q, f, "Leaving", "it is going");
    why_found(q, f, "Finalizer", "it waits for its finalizer " STR_FMT, STR_ARG(first));
    why_way(q, f, "Whoever set it has to take it away; by hand: " STR_FMT, STR_ARG(why_unlock(q, o)));
    return true;
}

static const struct obj *held_in(struct question *q, const struct obj *ns, size_t *total)
{
    const struct obj *held = NULL;
    struct obj *o;
    for (size_t i = 0; i < nkinds; i++) {
        if (!kinds[i]->namespaced || !kind_is_watched(kinds[i]))
            continue;
        for (struct objset_iter it = view_with(q->v, kinds[i], &index_namespace, ns->name); (o = objset_next(&it));) {
            *total += 1;
            if (val_len(val_get(obj_meta(o), N(finalizers))) > 0 &&
                (!held || (obj_deleting(o) && !obj_deleting(held))))
                held = o;
        }
    }
    return held;
}

void why_namespace(struct question *q, const struct obj *ns, struct finding *f)
{
    if (!obj_deleting(ns)) {
        f->reason = S("it is active");
        return;
    }
    size_t total = 0;
    const struct obj *held = held_in(q, ns, &total);
    struct str reason = why_plan(q, &namespace_controller, ns, S(""));
    why_chain(q, f, "Namespace " STR_FMT ": deleted at " STR_FMT "%s" STR_FMT, STR_ARG(ns->name),
              STR_ARG(val_text_at(obj_meta(ns), N(deletionTimestamp))), reason.n ? ": " : "", STR_ARG(reason));
    if (held) {
        struct finding one = {0};
        struct question other = why_about(q, held);
        struct str first = val_text(val_item(val_get(obj_meta(held), N(finalizers)), 0));
        why_deletion(&other, held, &one);
        if (one.state == WHY_BLOCKED)
            one.reason = arena_fmt(q->a, "waits for its finalizer " STR_FMT "%s", STR_ARG(first),
                                   total == 1 ? "" : arena_fmt(q->a, " (%zu objects are left)", total).p);
        why_behind(q, f,
                   arena_fmt(q->a, "in it " STR_FMT " " STR_FMT, STR_ARG(held->kind->kind), STR_ARG(held->name)),
                   &one);
    }
    val_each_item (it, val_get(obj_spec(ns), N(finalizers)))
        if (!str_eqz(val_text(it), "kubernetes"))
            why_found(q, f, "Finalizer", "it waits for its finalizer " STR_FMT " (spec.finalizers)",
                      STR_ARG(val_text(it)));
    if (f->state == WHY_BLOCKED)
        why_way(q, f, "Whoever set it has to take it away, by a PUT to /api/v1/namespaces/" STR_FMT "/finalize",
                STR_ARG(ns->name));
    if (total > 0)
        why_coming(q, f, "Leaving", "%zu object%s in it %s still being deleted", total, total == 1 ? "" : "s",
                   total == 1 ? "is" : "are");
    why_coming(q, f, "Leaving", "its last traces are being removed");
}

/* ---- budgets ---- */

/* Pods that it selects and does not count, as nothing says how many of them there are to be. */
static size_t unmanaged_count(struct question *q, const struct obj *pdb)
{
    struct selector *selector;
    struct err unreadable = ERR; /* its plan says so */
    struct obj *pod;
    size_t n = 0;
    if (!selector_of(q->a, val_get(obj_spec(pdb), N(selector)), &selector, &unreadable))
        return 0;
    for (struct objset_iter it = view_with(q->v, K(Pod), &index_namespace, pdb->ns); (pod = objset_next(&it));)
        n += !obj_controller(pod) && selector_matches(selector, obj_labels(pod));
    return n;
}

void why_budget(struct question *q, const struct obj *pdb, struct finding *f)
{
    const struct val *status = obj_status(pdb);
    /* as its controller wrote it: that sees owners of every kind */
    const struct val *c = condition_get(status, "DisruptionAllowed");
    struct str reason = str_eqz(val_text_at(c, N(reason)), "SyncFailed") ? val_text_at(c, N(message)) : S("");
    int64_t allowed = val_num_at(status, 0, N(disruptionsAllowed)),
            healthy = val_num_at(status, 0, N(currentHealthy)), desired = val_num_at(status, 0, N(desiredHealthy)),
            pods = val_num_at(status, 0, N(expectedPods));
    why_chain(q, f, "PodDisruptionBudget " STR_FMT ": %lld of %lld pods healthy, %lld are to be, %lld may be evicted",
              STR_ARG(pdb->name), (long long)healthy, (long long)pods, (long long)desired, (long long)allowed);
    if (str_has(reason, S("does not implement the scale subresource"))) {
        why_found(q, f, "PodsUnscaled",
                  "some of its pods belong to what cannot be scaled (" STR_FMT
                  "), so a share of them cannot be worked out, and none may be evicted",
                  STR_ARG(reason));
        why_way(q, f, "Use a number in spec.minAvailable: kubectl edit " STR_FMT, STR_ARG(why_target(q, pdb)));
    } else if (reason.n > 0) {
        why_found(q, f, "PlanStopped", STR_FMT, STR_ARG(reason));
        why_way(q, f, "Mend it: kubectl edit " STR_FMT, STR_ARG(why_target(q, pdb)));
    } else if (pods == 0 && unmanaged_count(q, pdb) > 0) {
        why_found(
            q, f, "PodsUnmanaged",
            "%zu of its pods have no controller, so a share of them cannot be worked out, and none may be evicted",
            unmanaged_count(q, pdb));
        why_way(q, f, "Use a number in spec.minAvailable: kubectl edit " STR_FMT, STR_ARG(why_target(q, pdb)));
    } else if (pods == 0) {
        why_found(q, f, "SelectorMatchesNothing", "its selector matches no pod, so it protects nothing");
        why_way(q, f, "Mend spec.selector: kubectl edit " STR_FMT, STR_ARG(why_target(q, pdb)));
    } else if (allowed == 0) {
        why_found(
            q, f, "BudgetSpent",
            "it lets no pod be evicted, as %lld of %lld pods are healthy and %lld are to stay so: a drain waits "
            "(429)",
            (long long)healthy, (long long)pods, (long long)desired);
        if (healthy < desired)
            why_way(q, f,
                    "See what the pods lack: wherry why -n " STR_FMT
                    "; or let those that are not ready go: unhealthyPodEvictionPolicy: AlwaysAllow",
                    STR_ARG(pdb->ns));
        else
            why_way(q, f, "Run more replicas than it keeps, or let it keep fewer: kubectl edit " STR_FMT,
                    STR_ARG(why_target(q, pdb)));
    }
    if (f->state == WHY_FINE)
        f->reason = arena_fmt(q->a, "%lld of %lld pods may be evicted", (long long)allowed, (long long)pods);
}

/* ---- nodes ---- */

/* A pod of a cordoned node that a budget keeps there. */
static bool say_kept(struct question *q, const struct obj *node, struct finding *f)
{
    struct obj *pod, *pdb;
    for (struct objset_iter it = view_with(q->v, K(Pod), &index_node, node->name); (pod = objset_next(&it));)
        for (struct objset_iter k = view_with(q->v, K(PodDisruptionBudget), &index_namespace, pod->ns);
             (pdb = objset_next(&k));) {
            struct selector *s;
            struct err err = ERR;
            if (!pod_is_active(pod) || val_num_at(obj_status(pdb), 0, N(disruptionsAllowed)) > 0 ||
                !selector_of(q->a, val_get(obj_spec(pdb), N(selector)), &s, &err) ||
                !selector_matches(s, obj_labels(pod)))
                continue;
            struct finding one = {0};
            struct question other = why_about(q, pdb);
            why_budget(&other, pdb, &one);
            why_behind(q, f,
                       arena_fmt(q->a,
                                 "it is cordoned, and pod " STR_FMT " stays on it, as of PodDisruptionBudget " STR_FMT
                                 ":",
                                 STR_ARG(pod->name), STR_ARG(pdb->name)),
                       &one);
            return f->state != WHY_FINE;
        }
    return false;
}

void why_node(struct question *q, const struct obj *node, struct finding *f)
{
    const struct val *ready = condition_get(obj_status(node), "Ready");
    why_chain(q, f, "Node " STR_FMT ": Ready is " STR_FMT, STR_ARG(node->name),
              STR_ARG(val_text_at(ready, N(status))));
    if (!str_eqz(val_text_at(ready, N(status)), "True")) {
        struct str message = val_text_at(ready, N(message));
        why_found(q, f, "NodeNotReady", "it is not ready: " STR_FMT,
                  STR_ARG(message.n ? message : S("it has not been heard of yet")));
        if (str_eqz(message, "node is shutting down")) {
            why_way(q, f, "Start the machine again or, where it is to stay up: wherry shutdown --cancel, on it");
            return;
        }
        why_way(q, f, "See whether wherry runs there (wherry up), and its log (/var/log/wherry.log)");
        return;
    }
    if (val_true(val_get(obj_spec(node), N(unschedulable)))) {
        if (!say_kept(q, node, f))
            why_found(q, f, "NodeCordoned", "it is cordoned and takes no new pods");
        why_way(q, f, "Let it take pods again: kubectl uncordon " STR_FMT, STR_ARG(node->name));
        return;
    }
    if (!why_short_node(q, node, f))
        f->reason = S("it is ready");
}

/* ---- requests for certificates ---- */

void why_csr(struct question *q, const struct obj *csr, struct finding *f)
{
    const struct val *status = obj_status(csr);
    struct str signer = val_text_at(obj_spec(csr), N(signerName));
    if (condition_is(status, "Denied", "True")) {
        why_found(q, f, "RequestDenied", "it was denied: " STR_FMT,
                  STR_ARG(val_text_at(condition_get(status, "Denied"), N(message))));
    } else if (condition_is(status, "Failed", "True")) {
        why_found(q, f, "RequestFailed", "its signer refused it: " STR_FMT,
                  STR_ARG(val_text_at(condition_get(status, "Failed"), N(message))));
        why_way(q, f, "Make another one that asks for what " STR_FMT " gives", STR_ARG(signer));
    } else if (!condition_is(status, "Approved", "True")) {
        why_found(q, f, "NotApproved", "nobody has approved it");
        why_way(q, f,
                "Look at what it asks for (kubectl describe csr " STR_FMT
                "), then: kubectl certificate approve " STR_FMT,
                STR_ARG(csr->name), STR_ARG(csr->name));
    } else if (!val_raw(val_get(status, N(certificate))).n && !csr_signed_here(csr)) {
        why_found(q, f, "SignerElsewhere", "it is approved, and nothing in Wherry signs for " STR_FMT,
                  STR_ARG(signer));
        why_way(q, f, "Run the controller of that signer");
    }
}

/* Who is asked through no binding is asked by nobody; what its expressions do not fit stands in its status. */
void why_policy(struct question *q, const struct obj *policy, struct finding *f)
{
    size_t bindings = 0;
    struct obj *b;
    bool mutating = policy->kind == K(MutatingAdmissionPolicy);
    const struct kind *k = mutating ? K(MutatingAdmissionPolicyBinding) : K(ValidatingAdmissionPolicyBinding);
    for (struct objset_iter it = view_all(q->v, k); (b = objset_next(&it));)
        bindings += str_eq(val_text_at(obj_spec(b), N(policyName)), policy->name);
    const struct val *warnings = val_at(obj_status(policy), N(typeChecking), N(expressionWarnings));
    if (!bindings) {
        why_found(q, f, "PolicyUnbound", "no " STR_FMT " names it, so nothing is %s for it", STR_ARG(k->kind),
                  mutating ? "changed" : "refused");
        why_way(q, f, "Make a binding with spec.policyName " STR_FMT "%s", STR_ARG(policy->name),
                mutating ? "" : " and validationActions [Deny]");
        return;
    }
    if (val_len(warnings)) {
        struct str warning = val_text_at(val_item(warnings, 0), N(warning)), line;
        (void)str_cut(&warning, '\n', &line);
        why_found(q, f, "PolicyMistyped", STR_FMT " does not fit what it is asked about: " STR_FMT,
                  STR_ARG(val_text_at(val_item(warnings, 0), N(fieldRef))), STR_ARG(line));
        why_way(q, f, "Mend it: kubectl edit validatingadmissionpolicy " STR_FMT, STR_ARG(policy->name));
        return;
    }
    f->reason = arena_fmt(q->a, "it is asked through %zu binding%s", bindings, bindings == 1 ? "" : "s");
}
