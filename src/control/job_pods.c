/* What each pod is to its Job, which have failed in a row, and which are taken away. */
#include "control/job_int.h"

/* ---- what they are ---- */

int64_t pod_annotation_num(const struct obj *pod, struct str key, int64_t otherwise)
{
    int64_t n;
    struct str text = val_text(val_get_str(val_get(obj_meta(pod), N(annotations)), key));
    return str_to_i64(text, 0, INT32_MAX, &n) ? n : otherwise;
}

int64_t pod_index_of(const struct obj *pod)
{
    return pod_annotation_num(pod, JOB_INDEX, -1);
}

bool pod_is_tracked(const struct obj *pod)
{
    val_each_item (it, val_get(obj_meta(pod), N(finalizers)))
        if (str_eq(val_text(it), JOB_FINALIZER))
            return true;
    return false;
}

struct action *plan_untrack(struct plan *out, const struct obj *pod)
{
    struct arena *a = &out->arena;
    struct val patch = val_map(), list = val_list();
    val_add(a, &list, val_str(a, JOB_FINALIZER));
    val_set_str(a, val_need_map(a, &patch, N(metadata)), S("$deleteFromPrimitiveList/finalizers"), list);
    struct action *act = plan_patch(out, pod, S(""), patch);
    act->strategic = true;
    act->absent_ok = true;
    return act;
}

/* The latest end among the containers; 0: not all have one. */
static int64_t containers_end(const struct val *statuses, const struct val *only, bool *whole)
{
    int64_t latest = 0;
    val_each_item (it, statuses) {
        if (only &&
            !str_eqz(val_text_at(val_find(only, N(name), val_text_at(it, N(name))), N(restartPolicy)), "Always"))
            continue;
        int64_t at = val_time(val_at(it, N(state), N(terminated), N(finishedAt)));
        *whole &= at > 0;
        latest = MAX(latest, at);
    }
    return latest;
}

/* By its containers (sidecars among them end last); else by when it was no longer ready; else by when it was told to
 * go. */
int64_t pod_end_time(const struct obj *pod)
{
    const struct val *status = obj_status(pod), *ready = condition_get(status, "Ready");
    bool whole = true;
    int64_t at = containers_end(val_get(status, N(containerStatuses)), NULL, &whole);
    at = MAX(at, containers_end(val_get(status, N(initContainerStatuses)), val_get(obj_spec(pod), N(initContainers)),
                                &whole));
    if (at > 0 && whole)
        return at;
    at = val_time(val_get(ready, N(lastTransitionTime)));
    if (at > 0 && str_eqz(val_text_at(ready, N(status)), "False"))
        return at;
    at = val_time(val_get(obj_meta(pod), N(deletionTimestamp)));
    return at > 0 ? at - ns_of_seconds(val_num_at(obj_meta(pod), 0, N(deletionGracePeriodSeconds)))
                  : obj_created(pod);
}

static bool counts_as_failed(const struct job_state *s, const struct obj *pod)
{
    struct str phase = val_text_at(obj_status(pod), N(phase));
    return str_eqz(phase, "Failed") || (!s->only_failed && obj_deleting(pod) && !str_eqz(phase, "Succeeded"));
}

static void uids_put(struct map *m, const struct val *list)
{
    val_each_item (it, list)
        (void)map_put(m, val_text(it), m); /* twice is once */
}

static int job_pod_cmp(const void *pa, const void *pb)
{
    const struct job_pod *a = pa, *b = pb;
    if (a->index != b->index)
        return a->index < b->index ? -1 : 1;
    return str_cmp(a->pod->uid, b->pod->uid);
}

void job_pods_read(struct job_state *s, const struct children *pods)
{
    AUTO(map_fini) struct map listed = MAP;
    const struct val *uncounted = val_get(s->status, N(uncountedTerminatedPods));
    const struct val *policy = val_get(s->spec, N(podFailurePolicy));
    uids_put(&listed, val_get(uncounted, N(succeeded)));
    uids_put(&listed, val_get(uncounted, N(failed)));
    s->pods = arena_alloc(&s->out->arena, (pods->mine.n + 1) * sizeof *s->pods);
    array_each (it, &pods->mine) {
        struct job_pod *p = &s->pods[s->n++];
        *p = (struct job_pod){.pod = *it, .index = s->indexed ? pod_index_of(*it) : -1};
        p->valid = !s->indexed || (p->index >= 0 && p->index < s->completions);
        p->tracked = pod_is_tracked(*it);
        p->active = pod_is_active(*it);
        p->succeeded = str_eqz(val_text_at(obj_status(*it), N(phase)), "Succeeded");
        p->failed = counts_as_failed(s, *it);
        p->listed = map_get(&listed, (*it)->uid) != NULL;
        if (p->failed && policy)
            p->policy = policy_of_pod(&s->out->arena, policy, *it);
        s->active += p->active;
        s->ready += p->active && pod_is_ready(*it);
    }
    s->terminating = pods->terminating;
    if (s->indexed && s->n > 1)
        qsort(s->pods, s->n, sizeof *s->pods, job_pod_cmp);
}

/* ---- back-off ---- */

/* Those that were let go while they ran (the Job was suspended or made smaller) are no failures, whatever became of
 * them. */
static bool tells_of_failure(const struct job_state *s, const struct job_pod *p)
{
    if (!p->failed || !p->valid || (!p->tracked && obj_deleting(p->pod)))
        return false;
    return !s->per_index || pod_is_refused_for_good(p->pod);
}

int64_t job_failures(const struct job_state *s, int64_t *last)
{
    int64_t success = 0, n = 0;
    bool any = false;
    *last = 0;
    for (size_t i = 0; i < s->n; i++)
        any |= tells_of_failure(s, &s->pods[i]);
    for (size_t i = 0; i < s->n && any; i++)
        if (s->pods[i].succeeded)
            success = MAX(success, pod_end_time(s->pods[i].pod));
    for (size_t i = 0; i < s->n && any; i++) {
        int64_t end = tells_of_failure(s, &s->pods[i]) ? pod_end_time(s->pods[i].pod) : 0;
        n += end > success;
        *last = MAX(*last, end);
    }
    /* Failures whose pods are away (deleted while they ran): the Job has waited since then. */
    if (!any && s->failed > 0 && s->v->why_since > 0 && !s->per_index) {
        *last = s->v->why_since;
        return 1;
    }
    return n;
}

int64_t pod_index_failures(const struct obj *pod)
{
    return pod_annotation_num(pod, JOB_INDEX_FAILED, 0) + pod_annotation_num(pod, JOB_INDEX_IGNORED, 0);
}

/* Of one index: in that one of its failed pods which was the last, the count goes on. */
void job_pods_hold(struct job_state *s)
{
    for (size_t i = 0, next; i < s->n; i = next) {
        struct job_pod *last = NULL;
        bool active = false;
        for (next = i; next < s->n && s->pods[next].index == s->pods[i].index; next++) {
            struct job_pod *p = &s->pods[next];
            active |= p->active;
            if (!p->failed || !p->valid || !p->tracked)
                continue;
            if (!last || (pod_index_failures(last->pod) <= pod_index_failures(p->pod) &&
                          pod_end_time(p->pod) >= pod_end_time(last->pod)))
                last = p;
        }
        if (last && !active && !indexes_have(s->done, last->index) && !indexes_have(s->given_up, last->index))
            last->held = true;
    }
}

/* ---- taken away ---- */

/* Smaller goes first: who has come least far. Upstream: controller.ActivePods. */
static int ranked_cmp(const void *pa, const void *pb)
{
    const struct obj *x = (*(const struct job_pod *const *)pa)->pod, *y = (*(const struct job_pod *const *)pb)->pod;
    int64_t d;
    if ((d = (pod_node(x).n > 0) - (pod_node(y).n > 0)) || (d = pod_phase_rank(x) - pod_phase_rank(y)) ||
        (d = pod_is_ready(x) - pod_is_ready(y)) || (d = pod_ready_since(y) - pod_ready_since(x)) ||
        (d = pod_restarts(y) - pod_restarts(x)) || (d = obj_created(y) - obj_created(x)))
        return d < 0 ? -1 : 1;
    return str_cmp(x->uid, y->uid);
}

/* Of pods with one index all but the best; all whose index is none of the Job's. The others go to `left`. */
static size_t removals_of_indexes(const struct job_pod **left, size_t nleft, const struct job_pod **go)
{
    size_t n = 0, kept = 0;
    for (size_t i = 0, next; i < nleft; i = next) { /* they are in the order of their indexes */
        for (next = i + 1; next < nleft && left[next]->index == left[i]->index; next++)
            ;
        if (next - i > 1)
            qsort(left + i, next - i, sizeof *left, ranked_cmp);
        for (size_t k = i; k < next; k++)
            if (k + 1 < next || !left[k]->valid)
                go[n++] = left[k];
            else
                left[kept++] = left[k];
    }
    return n;
}

static size_t removals_choose(const struct job_state *s, size_t at_least, const struct job_pod **go)
{
    const struct job_pod **left = arena_alloc(&s->out->arena, (s->n + 1) * sizeof *left);
    size_t nleft = 0, n = 0;
    for (size_t i = 0; i < s->n; i++)
        if (s->pods[i].active)
            left[nleft++] = &s->pods[i];
    if (s->indexed) {
        n = removals_of_indexes(left, nleft, go);
        nleft -= n;
    }
    if (n < at_least) {
        qsort(left, nleft, sizeof *left, ranked_cmp);
        for (size_t i = 0; i < nleft && n < at_least; i++)
            go[n++] = left[i];
    }
    return n;
}

static void removed_note(struct job_state *s, const struct job_pod *p)
{
    if (s->troubled)
        return;
    s->active--;
    s->terminating++;
    s->ready -= pod_is_ready(p->pod);
}

/* What they do from here on does not count: first the finalizer goes, from a pod that is as it was seen, not from one
 * that has succeeded meanwhile; then the pod. */
static void pods_remove(struct job_state *s, const struct job_pod **go, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (go[i]->tracked)
            plan_untrack(s->out, go[i]->pod)->expect_rev = go[i]->pod->rev;
    plan_step(s->out);
    for (size_t i = 0; i < n; i++) {
        child_delete(s->out, s->job, go[i]->pod);
        removed_note(s, go[i]);
    }
}

void job_pods_stop(struct job_state *s)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->pods[i].active) {
            child_delete(s->out, s->job, s->pods[i].pod);
            removed_note(s, &s->pods[i]);
        }
}

static int64_t pods_wanted(const struct job_state *s)
{
    if (s->suspended)
        return 0;
    if (s->completions < 0) /* after the first success those that run may end, and none comes */
        return s->succeeded > 0 ? s->active : s->parallelism;
    return MAX(MIN(s->completions - s->succeeded, s->parallelism), 0);
}

/* One plan either takes away or makes, as upstream's. */
void job_pods_manage(struct job_state *s)
{
    int64_t wanted = pods_wanted(s);
    const struct job_pod **go = arena_alloc(&s->out->arena, (s->n + 1) * sizeof *go);
    size_t n = removals_choose(s, (size_t)MAX(s->active - wanted, 0), go);
    if (n > 0) {
        pods_remove(s, go, MIN(n, JOB_BURST));
        return;
    }
    int64_t missing = wanted - s->active - (s->only_failed ? s->terminating : 0);
    if (missing > 0 && !s->suspended)
        job_pods_make(s, (size_t)missing);
}
