/* The pods that a Job makes: which ones, when the wait after failures is over, and what is on them besides what the
 * template says. */
#include "control/job_int.h"

#define FAILED_FIRST (10 * NS_PER_S)
#define FAILED_MOST  (600 * NS_PER_S)

static int64_t wait_until(int64_t failures, int64_t last)
{
    int64_t wait = FAILED_FIRST;
    for (int64_t n = 1; n < failures && wait < FAILED_MOST; n++)
        wait *= 2;
    return failures > 0 ? last + MIN(wait, FAILED_MOST) : 0;
}

static void wait_say(struct job_state *s, int64_t failures, int64_t until)
{
    struct arena *a = &s->out->arena;
    plan_again(s->out, until);
    struct str who = failures == 1 ? S("its last pod has")
                                   : arena_fmt(a, "its last %lld pods have", (long long)failures);
    plan_why(s->out, STR_FMT " failed; the next one is made at " STR_FMT, STR_ARG(who), STR_ARG(time_text(a, until)));
}

struct pods_making {
    struct job_state *s;
    const int64_t *indexes; /* NULL: the Job has none */
};

static void env_add(struct arena *a, struct val *containers)
{
    for (size_t i = 0; i < val_len(containers); i++) {
        struct val *env = val_get_mut(&containers->list[i], N(env)), var = val_map();
        if (val_find(env, N(name), S("JOB_COMPLETION_INDEX")))
            continue;
        if (!env)
            env = val_set(a, &containers->list[i], N(env), val_list());
        val_set_text(a, &var, N(name), S("JOB_COMPLETION_INDEX"));
        val_set_text(a, val_need_map(a, &var, N(valueFrom), N(fieldRef)), N(fieldPath),
                     S("metadata.labels['batch.kubernetes.io/job-completion-index']"));
        val_add(a, env, var);
    }
}

static const struct job_pod *held_pod(const struct job_state *s, int64_t index)
{
    size_t low = 0, high = s->n; /* the first with this index */
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (s->pods[mid].index < index)
            low = mid + 1;
        else
            high = mid;
    }
    for (; low < s->n && s->pods[low].index == index; low++)
        if (s->pods[low].held)
            return &s->pods[low];
    return NULL;
}

static void failures_annotate(struct job_state *s, struct val *annotations, int64_t index)
{
    struct arena *a = &s->out->arena;
    const struct job_pod *before = held_pod(s, index);
    int64_t failed = before ? pod_annotation_num(before->pod, JOB_INDEX_FAILED, 0) : 0;
    int64_t ignored = before ? pod_annotation_num(before->pod, JOB_INDEX_IGNORED, 0) : 0;
    if (before && before->policy.action == POLICY_IGNORE)
        ignored++;
    else if (before)
        failed++;
    val_set_str(a, annotations, JOB_INDEX_FAILED, val_str(a, arena_fmt(a, "%lld", (long long)failed)));
    if (ignored > 0)
        val_set_str(a, annotations, JOB_INDEX_IGNORED, val_str(a, arena_fmt(a, "%lld", (long long)ignored)));
}

#define PREFIX_MOST 58 /* of a generated name, before its 5 characters */
static struct str prefix_with_index(struct arena *a, struct str name, struct str index)
{
    size_t room = PREFIX_MOST - index.n - 2;
    return arena_fmt(a, STR_FMT "-" STR_FMT "-", STR_ARG(str_sub(name, 0, room)), STR_ARG(index));
}

static void index_put(struct pods_making *m, struct plan *out, int64_t number, struct val *pod)
{
    struct arena *a = &out->arena;
    struct val *meta = val_need_map(a, pod, N(metadata));
    struct str index = arena_fmt(a, "%lld", (long long)number);
    val_set_text(a, meta, N(generateName), prefix_with_index(a, m->s->job->name, index));
    val_set_str(a, val_need_map(a, meta, N(labels)), JOB_INDEX, val_str(a, index));
    struct val *annotations = val_need_map(a, meta, N(annotations));
    val_set_str(a, annotations, JOB_INDEX, val_str(a, index));
    if (m->s->per_index)
        failures_annotate(m->s, annotations, number);
    struct val *spec = val_need_map(a, pod, N(spec));
    val_set_text(a, spec, N(hostname), arena_fmt(a, STR_FMT "-" STR_FMT, STR_ARG(m->s->job->name), STR_ARG(index)));
    env_add(a, val_get_mut(spec, N(initContainers)));
    env_add(a, val_get_mut(spec, N(containers)));
}

static void pod_finish(void *arg, struct plan *out, size_t i, struct val *pod)
{
    struct pods_making *m = arg;
    struct arena *a = &out->arena;
    struct val *meta = val_need_map(a, pod, N(metadata)), *finalizers = val_get_mut(meta, N(finalizers));
    bool has = false;
    if (!finalizers)
        finalizers = val_set(a, meta, N(finalizers), val_list());
    val_each_item (it, finalizers)
        has |= str_eq(val_text(it), JOB_FINALIZER);
    if (!has)
        val_add(a, finalizers, val_str(a, JOB_FINALIZER));
    if (m->indexes)
        index_put(m, out, m->indexes[i], pod);
}

/* The first indexes that nobody works on, has done or has given up. */
static size_t indexes_pending(const struct job_state *s, int64_t *list, size_t most)
{
    struct arena *a = &s->out->arena;
    int64_t *busy = arena_alloc(a, (s->n + 1) * sizeof *busy), at = 0;
    size_t nbusy = 0, n = 0;
    for (size_t i = 0; i < s->n; i++) {
        const struct job_pod *p = &s->pods[i];
        bool leaving = s->only_failed && obj_deleting(p->pod) && !pod_is_over(p->pod);
        if (p->index >= 0 && (p->active || leaving))
            busy[nbusy++] = p->index;
    }
    struct indexes taken = indexes_merge(a, indexes_merge(a, s->done, s->given_up), indexes_of(a, busy, nbusy));
    for (size_t i = 0; i <= taken.n && n < most; i++) {
        int64_t end = i < taken.n ? taken.p[i].first : s->completions;
        for (; at < MIN(end, s->completions) && n < most; at++)
            list[n++] = at;
        if (i < taken.n)
            at = MAX(at, taken.p[i].last + 1);
    }
    return n;
}

/* Those of the indexes whose wait is over; where none is, what is waited for is said. */
static size_t indexes_that_may(struct job_state *s, int64_t *list, size_t n)
{
    size_t kept = 0;
    int64_t soonest = 0, failures = 0;
    for (size_t i = 0; i < n; i++) {
        const struct job_pod *before = held_pod(s, list[i]);
        int64_t times = before ? pod_index_failures(before->pod) + 1 : 0;
        int64_t until = before ? wait_until(times, pod_end_time(before->pod)) : 0;
        if (until <= s->v->now) {
            list[kept++] = list[i];
        } else if (!soonest || until < soonest) {
            soonest = until;
            failures = times;
        }
    }
    if (soonest)
        plan_again(s->out, soonest);
    if (soonest && kept == 0)
        wait_say(s, failures, soonest);
    return kept;
}

void job_pods_make(struct job_state *s, size_t n)
{
    int64_t last, failures = job_failures(s, &last), until = wait_until(failures, last), *list = NULL;
    if (until > s->v->now) {
        wait_say(s, failures, until);
        return;
    }
    n = MIN(n, JOB_BURST);
    if (s->indexed) {
        list = arena_alloc(&s->out->arena, (n + 1) * sizeof *list);
        n = indexes_pending(s, list, n);
        if (s->per_index)
            n = indexes_that_may(s, list, n);
    }
    struct pods_making m = {s, list};
    children_create(s->v, s->job, val_get(s->spec, N(template)), n, pod_finish, &m, s->out);
    if (!s->troubled)
        s->active += (int64_t)n;
}
