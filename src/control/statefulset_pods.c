/* statefulset_pods.c - the pods of a StatefulSet: whose they are, in what state, how one is made. */
#include "api/selector.h"
#include "control/statefulset_int.h"

int64_t stateful_ordinal(const struct obj *set, struct str name)
{
    int64_t ordinal;
    if (name.n < set->name.n + 2 || !str_starts(name, set->name) || name.p[set->name.n] != '-')
        return -1;
    struct str digits = str_sub(name, set->name.n + 1, name.n);
    if ((digits.p[0] == '0' && digits.n > 1) || !str_to_i64(digits, 0, 2LL * INT32_MAX, &ordinal))
        return -1;
    return ordinal;
}

struct str stateful_pod_name(struct arena *a, const struct obj *set, int64_t ordinal)
{
    return arena_fmt(a, STR_FMT "-%lld", STR_ARG(set->name), (long long)ordinal);
}

/* ---- which are its own ---- */

static void pod_sort_in(struct stateful *s, struct obj *pod, int64_t ordinal)
{
    struct stateful_pod p = {pod, ordinal};
    if (place_is_of(s, ordinal))
        array_push(&s->placed, p);
    else
        array_push(&s->condemned, p);
}

static int place_cmp(const void *pa, const void *pb)
{
    const struct stateful_pod *a = pa, *b = pb;
    return a->ordinal < b->ordinal ? -1 : a->ordinal > b->ordinal;
}

static int place_cmp_down(const void *pa, const void *pb)
{
    return place_cmp(pb, pa);
}

bool stateful_claim(struct stateful *s)
{
    struct selector *selector;
    struct err err = ERR;
    if (!selector_of(&s->out->arena, val_get(obj_spec(s->set), N(selector)), &selector, &err)) {
        plan_why(s->out, "spec.selector: %s", err.text);
        return false;
    }
    struct obj *pod;
    for (struct objset_iter it = view_with(s->view, K(Pod), &index_controller, s->set->uid);
         (pod = objset_next(&it));) {
        int64_t ordinal = stateful_ordinal(s->set, pod->name);
        if (ordinal >= 0 && selector_matches(selector, obj_labels(pod)))
            pod_sort_in(s, pod, ordinal);
        else if (!obj_deleting(s->set))
            plan_release(s->out, pod, s->set);
    }
    if (!obj_deleting(s->set))
        for (struct objset_iter it = view_with(s->view, K(Pod), &index_orphans, s->set->ns);
             (pod = objset_next(&it));) {
            int64_t ordinal = stateful_ordinal(s->set, pod->name);
            if (ordinal < 0 || obj_deleting(pod) || !selector_matches(selector, obj_labels(pod)))
                continue;
            plan_adopt(s->out, pod, s->set);
            pod_sort_in(s, pod, ordinal);
        }
    if (s->placed.n > 0)
        qsort(s->placed.p, s->placed.n, sizeof *s->placed.p, place_cmp);
    if (s->condemned.n > 0)
        qsort(s->condemned.p, s->condemned.n, sizeof *s->condemned.p, place_cmp_down);
    return true;
}

/* ---- in what state ---- */

bool stateful_pod_runs(const struct obj *pod)
{
    return pod_is_ready(pod) && str_eqz(val_text_at(obj_status(pod), N(phase)), "Running");
}

bool stateful_pod_serves(struct stateful *s, const struct obj *pod)
{
    int64_t at = 0;
    bool serves = stateful_pod_runs(pod) && pod_is_available(pod, s->min_ready, s->view->now, &at);
    if (at)
        plan_again(s->out, at);
    return serves && !obj_deleting(pod);
}

struct str stateful_revision(const struct obj *pod)
{
    return val_text(val_get_str(obj_labels(pod), POD_REVISION));
}

bool stateful_takes_current(const struct stateful *s, int64_t ordinal)
{
    if (!stateful_rolls(s->set))
        return false;
    if (!val_at(obj_spec(s->set), N(updateStrategy), N(rollingUpdate)))
        return ordinal < s->first + val_num_at(obj_status(s->set), 0, N(currentReplicas));
    return ordinal < s->first + stateful_partition(s->set);
}

bool stateful_pod_is_old(const struct stateful *s, const struct stateful_pod *p)
{
    return !str_eq(stateful_revision(p->pod), s->update.name) ||
           !stateful_storage_matches(s->set, p->pod, p->ordinal);
}

/* A pod's conditions are first written together, and Ready moves when it becomes ready: one that moved no later than
 * Initialized, in a pod whose containers run for the first time, never did. */
static bool never_was_ready(const struct obj *pod)
{
    const struct val *status = obj_status(pod), *ready = condition_get(status, "Ready");
    const struct val *begun = condition_get(status, "Initialized");
    if (!ready || str_eqz(val_text_at(status, N(phase)), "Pending"))
        return true;
    val_each_item (c, val_get(status, N(containerStatuses)))
        if (val_num_at(c, 0, N(restartCount)) > 0 || val_get(c, N(lastState)))
            return false;
    return val_time(val_get(ready, N(lastTransitionTime))) <= val_time(val_get(begun, N(lastTransitionTime)));
}

static bool loops_in_crashes(const struct obj *pod)
{
    const struct name *const lists[] = {N(initContainerStatuses), N(containerStatuses)};
    for (size_t i = 0; i < countof(lists); i++)
        val_each_item (c, val_get(obj_status(pod), lists[i]))
            if (str_eqz(val_text_at(c, N(state), N(waiting), N(reason)), "CrashLoopBackOff"))
                return true;
    return false;
}

bool stateful_pod_is_broken(const struct stateful *s, const struct obj *pod)
{
    struct str revision = stateful_revision(pod);
    bool unfinished = !str_eq(revision, s->current_name) && !str_eq(revision, s->update.name);
    return !stateful_pod_runs(pod) && (unfinished || never_was_ready(pod) || loops_in_crashes(pod));
}

/* ---- making, mending and deleting ---- */

static bool template_find(struct stateful *s, int64_t ordinal, const struct val **template, struct str *revision)
{
    *template = val_get(obj_spec(s->set), N(template));
    *revision = s->update.name;
    if (!s->current || !stateful_takes_current(s, ordinal))
        return true;
    *revision = s->current->name;
    struct err err = ERR;
    if (!val_is(&s->current_template, VAL_MAP) &&
        !revision_apply(&s->out->arena, s->set, s->current, &s->current_template, &err)) {
        plan_why(s->out, "pod " STR_FMT "-%lld is to have the template of an earlier revision: %s",
                 STR_ARG(s->set->name), (long long)ordinal, err.text);
        return false;
    }
    *template = &s->current_template;
    return true;
}

/* Another object has the pod's name: one of an earlier set of this name, which goes, or somebody's. */
static bool name_is_free(struct stateful *s, struct str name)
{
    const struct obj *there = view_get(s->view, K(Pod), s->set->ns, name);
    if (!there)
        return true;
    if (obj_deleting(there)) {
        plan_why(s->out, "waits until pod " STR_FMT ", which is not this StatefulSet's, is gone", STR_ARG(name));
        return false;
    }
    const struct val *owner = obj_controller(there);
    bool other = owner && !str_eq(val_text_at(owner, N(uid)), s->set->uid);
    plan_why(s->out, "pod " STR_FMT " is not this StatefulSet's (%s), and has the name that it needs", STR_ARG(name),
             other ? "another object owns it" : "spec.selector does not select it");
    plan_event(s->out, (struct obj *)s->set, "Warning", "FailedCreate",
               "create Pod " STR_FMT " in StatefulSet " STR_FMT " failed error: pods \"" STR_FMT "\" already exists",
               STR_ARG(name), STR_ARG(s->set->name), STR_ARG(name));
    return false;
}

bool stateful_pod_can_be_made(struct stateful *s, int64_t ordinal)
{
    const struct val *template;
    struct str revision, name = stateful_pod_name(&s->out->arena, s->set, ordinal);
    return name_is_free(s, name) && template_find(s, ordinal, &template, &revision) &&
           stateful_claims_are_firm(s, ordinal);
}

/* The claims' volumes stand before those of the template, and in the place of those that are named alike. */
static struct val volumes_make(struct stateful *s, const struct val *template, int64_t ordinal)
{
    struct arena *a = &s->out->arena;
    struct val volumes = val_list();
    val_each_item (claim, val_get(obj_spec(s->set), N(volumeClaimTemplates))) {
        struct val volume = val_map();
        val_set(a, &volume, N(name), val_copy(a, val_at(claim, N(metadata), N(name))));
        struct val *source = val_set(a, &volume, N(persistentVolumeClaim), val_map());
        val_set_text(a, source, N(claimName), stateful_claim_name(a, s->set, claim, ordinal));
        val_add(a, &volumes, volume);
    }
    val_each_item (it, val_at(template, N(spec), N(volumes)))
        if (!val_find(&volumes, N(name), val_text_at(it, N(name))))
            val_add(a, &volumes, val_copy(a, it));
    return volumes;
}

static void identity_set(struct arena *a, struct val *pod, struct str name, int64_t ordinal)
{
    struct val *labels = val_need_map(a, pod, N(metadata), N(labels));
    val_set_str(a, labels, POD_NAME_LABEL, val_str(a, name));
    val_set_str(a, labels, POD_INDEX_LABEL, val_str(a, arena_fmt(a, "%lld", (long long)ordinal)));
}

void stateful_pod_make(struct stateful *s, int64_t ordinal)
{
    struct arena *a = &s->out->arena;
    const struct val *template;
    struct str revision, name = stateful_pod_name(a, s->set, ordinal);
    if (!template_find(s, ordinal, &template, &revision))
        return;
    struct val pod = pod_of_template(s->out, s->set, template), *spec = val_need_map(a, &pod, N(spec));
    struct val volumes = volumes_make(s, template, ordinal);
    if (volumes.n > 0)
        val_set(a, spec, N(volumes), volumes);
    val_set_text(a, spec, N(hostname), name);
    struct str service = val_text_at(obj_spec(s->set), N(serviceName));
    if (service.n > 0)
        val_set_text(a, spec, N(subdomain), service);
    else
        val_del(spec, N(subdomain));
    identity_set(a, &pod, name, ordinal);
    struct val *meta = val_need_map(a, &pod, N(metadata));
    val_set_str(a, val_need_map(a, meta, N(labels)), POD_REVISION, val_str(a, revision));
    val_set_text(a, meta, N(generateName), arena_fmt(a, STR_FMT "-", STR_ARG(s->set->name)));
    s->made += str_eq(revision, s->update.name);
    struct action *act = plan_create(s->out, K(Pod), s->set->ns, name, pod);
    act->done = plan_event_of(s->out, s->set, "Normal", "SuccessfulCreate",
                              "create Pod " STR_FMT " in StatefulSet " STR_FMT " successful", STR_ARG(name),
                              STR_ARG(s->set->name));
    act->failed = plan_event_of(s->out, s->set, "Warning", "FailedCreate",
                                "create Pod " STR_FMT " in StatefulSet " STR_FMT " failed error: ", STR_ARG(name),
                                STR_ARG(s->set->name));
}

void stateful_pod_delete(struct stateful *s, const struct obj *pod)
{
    struct action *act = plan_delete(s->out, pod);
    act->done = plan_event_of(s->out, s->set, "Normal", "SuccessfulDelete",
                              "delete Pod " STR_FMT " in StatefulSet " STR_FMT " successful", STR_ARG(pod->name),
                              STR_ARG(s->set->name));
    act->failed = plan_event_of(s->out, s->set, "Warning", "FailedDelete",
                                "delete Pod " STR_FMT " in StatefulSet " STR_FMT " failed error: ",
                                STR_ARG(pod->name), STR_ARG(s->set->name));
}

void stateful_identity_mend(struct stateful *s, const struct stateful_pod *p)
{
    if (str_eq(val_text(val_get_str(obj_labels(p->pod), POD_NAME_LABEL)), p->pod->name))
        return;
    struct val tree = plan_edit(s->out, p->pod);
    identity_set(&s->out->arena, &tree, p->pod->name, p->ordinal);
    struct action *act = plan_update(s->out, p->pod, S(""), tree);
    act->done = plan_event_of(s->out, s->set, "Normal", "SuccessfulUpdate",
                              "update Pod " STR_FMT " in StatefulSet " STR_FMT " successful", STR_ARG(p->pod->name),
                              STR_ARG(s->set->name));
    act->failed = plan_event_of(s->out, s->set, "Warning", "FailedUpdate",
                                "update Pod " STR_FMT " in StatefulSet " STR_FMT " failed error: ",
                                STR_ARG(p->pod->name), STR_ARG(s->set->name));
}
