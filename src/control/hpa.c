/* HorizontalPodAutoscaler: the scale of its target follows its metrics. Upstream: pkg/controller/podautoscaler.
 *
 * A look: the target's scale, the answers about its metrics (asked first, in a plan that does nothing else), how many
 * replicas they make, how many of these its behavior lets through; then the scale is written, and the status behind
 * it. All HorizontalPodAutoscalers of a namespace look at the same moments, so that one answer serves them all. */
#include "api/custom.h"
#include "api/strategy.h"
#include "control/hpa_int.h"
#include "control/pods.h"

#define FIRST_LOOK           (2 * NS_PER_S)
#define FIGURES_STAY(period) (3 * (period)-NS_PER_S / 2) /* looks are that much off their time, at most */

struct hpa {
    const struct view *v;
    struct plan *out;
    struct arena *a;
    struct obj *o;
    const struct val *spec, *status;
    struct val conditions, metrics; /* of the status to be; metrics VAL_NULL: none */
    const struct obj *target;
    struct val scale;
    int64_t current, least, most;
    struct hpa_memory memory;
    int64_t desired, scaled; /* of the status to be; scaled: lastScaleTime, 0: none yet */
    struct str rescale;      /* why the scale is to be another; "": it is not */
    int64_t wanted;          /* then: how many */
};

static int64_t period_of(const struct view *v)
{
    return v->hpa_period ? v->hpa_period : HPA_PERIOD;
}

/* The next moment at which those of the namespace look. */
static int64_t next_look(const struct view *v, struct str ns)
{
    int64_t period = period_of(v), phase = (int64_t)(stable_hash(ns, 0) % (uint64_t)period);
    return v->now + period - (v->now - phase) % period;
}

/* --- conditions and events --- */

static void hpa_condition(struct hpa *h, const char *type, bool is, const char *reason, struct str message)
{
    struct condition c = {.type = type, .status = is ? "True" : "False", .reason = reason, .message = message};
    struct val *at = NULL;
    for (size_t i = 0; i < val_len(&h->conditions); i++)
        if (str_eqz(val_text_at(&h->conditions.list[i], N(type)), type))
            at = &h->conditions.list[i];
    struct val made = condition_make(h->a, &c, at, h->v->now);
    if (at)
        *at = made;
    else
        val_add(h->a, &h->conditions, made);
}

static void hpa_warn(struct hpa *h, const char *reason, struct str message)
{
    plan_event(h->out, h->o, "Warning", reason, STR_FMT, STR_ARG(message));
}

/* --- the target --- */

static struct str group_of(struct str api_version, bool *ok)
{
    struct str group, version;
    *ok = !str_split(api_version, '/', &group, &version) || str_find_char(version, '/') < 0;
    return str_find_char(api_version, '/') < 0 ? S("") : group;
}

/* By group and kind, as upstream's mapper; one that has a scale comes first. NULL: there is no such kind. */
static const struct kind *kind_named(const struct view *v, struct str group, struct str kind)
{
    const struct kind_set *all = view_kinds(v);
    const struct kind *found = NULL;
    for (size_t i = 0; i < all->n; i++) {
        const struct kind *k = all->kinds[i];
        if (str_eq(k->kind, kind) && str_eq(k->group, group) && (!found || !kind_is_scaled(found)))
            found = k;
    }
    return found;
}

const struct obj *hpa_target(const struct view *v, struct arena *a, const struct obj *hpa, struct str *error)
{
    const struct val *ref = val_get(obj_spec(hpa), N(scaleTargetRef));
    struct str kind = val_text_at(ref, N(kind)), name = val_text_at(ref, N(name));
    struct str version = val_text_at(ref, N(apiVersion));
    bool ok;
    struct str group = group_of(version, &ok);
    const struct kind *k = ok ? kind_named(v, group, kind) : NULL;
    const struct kind *watched = k ? kind_watched(view_kinds(v), k) : NULL;
    const struct obj *o = watched ? view_get(v, watched, hpa->ns, name) : NULL;
    if (!ok)
        *error = arena_fmt(a, "unexpected GroupVersion string: " STR_FMT, STR_ARG(version));
    else if (!k)
        *error = arena_fmt(a, "no matches for kind \"" STR_FMT "\" in group \"" STR_FMT "\"", STR_ARG(kind),
                           STR_ARG(group));
    else if (!kind_is_scaled(k))
        *error = S("the server could not find the requested resource");
    else if (!o)
        *error = arena_fmt(a, STR_FMT "%s" STR_FMT " \"" STR_FMT "\" not found", STR_ARG(k->plural),
                           group.n ? "." : "", STR_ARG(group), STR_ARG(name));
    return ok && k && kind_is_scaled(k) ? o : NULL;
}

static bool target_find(struct hpa *h)
{
    struct str error = S("");
    h->target = hpa_target(h->v, h->a, h->o, &error);
    if (h->target && kind_scale_of(h->a, h->target->kind, &h->target->tree, &h->scale)) {
        hpa_condition(h, "AbleToScale", true, "SucceededGetScale",
                      S("the HPA controller was able to get the target's current scale"));
        h->current = val_num_at(&h->scale, 0, N(spec), N(replicas));
        return true;
    }
    hpa_warn(h, "FailedGetScale", error);
    hpa_condition(
        h, "AbleToScale", false, "FailedGetScale",
        arena_fmt(h->a, "the HPA controller was unable to get the target's current scale: " STR_FMT, STR_ARG(error)));
    plan_why(h->out, "spec.scaleTargetRef: " STR_FMT, STR_ARG(error));
    return false;
}

/* --- its pods --- */

static int pod_by_name(const void *a, const void *b)
{
    const struct hpa_pod *x = a, *y = b;
    return str_cmp(x->pod->name, y->pod->name);
}

static void pods_find(struct hpa *h, const struct selector *s, struct hpa_look *l)
{
    ARRAY(struct hpa_pod) pods = {0};
    struct obj *pod;
    for (struct objset_iter it = view_with(h->v, K(Pod), &index_namespace, h->o->ns); (pod = objset_next(&it));)
        if (selector_matches(s, obj_labels(pod)))
            array_push(&pods, ((struct hpa_pod){.pod = pod}));
    l->n = pods.n;
    l->pods = arena_dup(h->a, pods.p, pods.n * sizeof *pods.p);
    array_fini(&pods);
    if (l->n)
        qsort(l->pods, l->n, sizeof *l->pods, pod_by_name);
}

/* Another one that scales some of these pods by its own target's selector. */
static bool takes_some(struct hpa *h, const struct obj *other, const struct hpa_look *l)
{
    struct str error;
    struct val scale;
    struct selector *s;
    struct err err = ERR;
    const struct obj *target = hpa_target(h->v, h->a, other, &error);
    struct str text = target && kind_scale_of(h->a, target->kind, &target->tree, &scale)
                          ? val_text_at(&scale, N(status), N(selector))
                          : S("");
    if (!text.n || !selector_parse(h->a, text, &s, &err))
        return false;
    for (size_t i = 0; i < l->n; i++)
        if (selector_matches(s, obj_labels(l->pods[i].pod)))
            return true;
    return false;
}

static int name_order(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static bool pods_ours(struct hpa *h, const struct hpa_look *l, struct str *error)
{
    ARRAY(struct str) who = {0};
    struct obj *other;
    for (struct objset_iter it = view_with(h->v, K(HorizontalPodAutoscaler), &index_namespace, h->o->ns);
         l->n && (other = objset_next(&it));)
        if (other == h->o || takes_some(h, other, l))
            array_push(&who, other->name);
    bool ours = who.n < 2;
    if (!ours) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        qsort(who.p, who.n, sizeof *who.p, name_order);
        array_each (it, &who)
            strbuf_addf(&b, "%s" STR_FMT "/" STR_FMT, it == who.p ? "" : " ", STR_ARG(h->o->ns), STR_ARG(*it));
        *error = arena_fmt(h->a, "pods by selector " STR_FMT " are controlled by multiple HPAs: [" STR_FMT "]",
                           STR_ARG(l->selector), STR_ARG(strbuf_str(&b)));
    }
    array_fini(&who);
    return ours;
}

static bool selector_bad(struct hpa *h, const char *event, const char *reason, struct str told, struct str error)
{
    hpa_warn(h, event, error);
    hpa_condition(h, "ScalingActive", false, reason, told);
    hpa_warn(h, "FailedComputeMetricsReplicas", error);
    plan_why(h->out, STR_FMT, STR_ARG(told));
    return false;
}

static bool look_begin(struct hpa *h, struct hpa_look *l)
{
    struct selector *s;
    struct err err = ERR;
    struct str error;
    *l = (struct hpa_look){.v = h->v,
                           .a = h->a,
                           .hpa = h->o,
                           .spec = h->spec,
                           .selector = val_text_at(&h->scale, N(status), N(selector)),
                           .current = h->current,
                           .existing = val_num_at(&h->scale, 0, N(status), N(replicas)),
                           .since = h->v->now - period_of(h->v) / 2};
    if (!l->selector.n)
        return selector_bad(h, "SelectorRequired", "InvalidSelector",
                            S("the HPA target's scale is missing a selector"), S("selector is required"));
    if (!selector_parse(h->a, l->selector, &s, &err)) {
        error = arena_fmt(h->a, "couldn't convert selector into a corresponding internal selector object: %s",
                          err.text);
        return selector_bad(h, "InvalidSelector", "InvalidSelector", error, error);
    }
    pods_find(h, s, l);
    return pods_ours(h, l, &error) || selector_bad(h, "AmbiguousSelector", "AmbiguousSelector", error, error);
}

/* --- what the metrics say --- */

/* How many they want, and by which; -1: that cannot be said, and conditions and events tell why. */
static int64_t metrics_count(struct hpa *h, const struct hpa_found *found, size_t n, struct str *by)
{
    const struct hpa_found *bad = NULL;
    size_t bads = 0;
    int64_t most = 0;
    struct val list = val_list();
    for (size_t i = 0; i < n; i++) {
        struct val none = val_map();
        val_set_text(h->a, &none, N(type), S("")); /* as upstream's: each stands at the place of its metric */
        val_add(h->a, &list, found[i].ok ? found[i].status : none);
        if (!found[i].ok) {
            bads++;
            bad = bad ? bad : &found[i];
            hpa_warn(h, found[i].reason, found[i].told);
        } else if (most == 0 || found[i].replicas > most) {
            most = found[i].replicas;
            *by = found[i].name;
        }
    }
    h->metrics = list;
    if (bads < n && !(bads > 0 && most < h->current)) {
        hpa_condition(h, "ScalingActive", true, "ValidMetricFound",
                      arena_fmt(h->a, "the HPA was able to successfully calculate a replica count from " STR_FMT,
                                STR_ARG(*by)));
        return most;
    }
    hpa_condition(h, "ScalingActive", false, bad->reason,
                  arena_fmt(h->a, "the HPA was unable to compute the replica count: " STR_FMT, STR_ARG(bad->told)));
    plan_event(h->out, h->o, "Warning", "FailedComputeMetricsReplicas",
               "invalid metrics (%zu invalid out of %zu), first error is: " STR_FMT, bads, n, STR_ARG(bad->error));
    plan_why(h->out, STR_FMT, STR_ARG(bad->told));
    return -1;
}

/* False: something has to be asked first, which is planned. */
static bool metrics_find(struct hpa *h, struct hpa_look *l, struct hpa_found *found)
{
    size_t n = 0;
    bool all = true;
    val_each_item (it, val_get(h->spec, N(metrics)))
        hpa_metric_find(l, it, &found[n++]);
    for (size_t i = 0; i < n; i++) {
        bool again = found[i].asked;
        for (size_t k = 0; k < i; k++)
            again |= str_eq(found[k].path, found[i].path);
        all &= found[i].asked;
        if (!again)
            plan_ask(h->out, found[i].path);
    }
    return all;
}

static void wish_follow(struct hpa *h, int64_t wish, struct str by)
{
    struct hpa_pace p = {.now = h->v->now,
                         .current = h->current,
                         .least = h->least,
                         .most = h->most,
                         .behavior = val_get(h->spec, N(behavior))};
    int64_t n = hpa_pace(&p, &h->memory, wish);
    hpa_condition(h, "AbleToScale", true, p.stable_reason, str_of(p.stable_message));
    hpa_condition(h, "ScalingLimited", p.limited, p.limit_reason, str_of(p.limit_message));
    h->desired = n;
    if (n != h->current) {
        h->wanted = n;
        h->rescale = wish > h->current ? arena_fmt(h->a, STR_FMT " above target", STR_ARG(by))
                                       : S("All metrics below target");
    }
}

/* --- the write --- */

/* Figures move at every look: where nothing else has changed, those that were written stay for three looks (with the
 * default period as long as between two writes of upstream's). */
static bool figures_wait(const struct hpa *h, const struct val *status)
{
    const struct val *written = val_get(h->status, N(currentMetrics));
    if (val_len(written) != val_len(&h->metrics) || h->v->now - h->memory.told >= FIGURES_STAY(period_of(h->v)))
        return false;
    AUTO(arena_fini) struct arena a = ARENA;
    struct val with_written = val_copy(&a, status);
    if (written)
        val_set(&a, &with_written, N(currentMetrics), val_copy(&a, written));
    return val_equal(&with_written, h->status);
}

static void status_plan(struct hpa *h)
{
    struct arena *a = h->a;
    struct val tree = plan_edit(h->out, h->o), status = val_map();
    const struct val *seen = val_get(h->status, N(observedGeneration));
    if (seen)
        val_set(a, &status, N(observedGeneration), val_copy(a, seen));
    if (h->scaled)
        val_set(a, &status, N(lastScaleTime), val_str(a, time_text(a, h->scaled)));
    if (h->target)
        val_set_num(a, &status, N(currentReplicas), h->current);
    else if (val_get(h->status, N(currentReplicas)))
        val_set_num(a, &status, N(currentReplicas), val_num_at(h->status, 0, N(currentReplicas)));
    val_set_num(a, &status, N(desiredReplicas), h->desired);
    if (val_len(&h->metrics))
        val_set(a, &status, N(currentMetrics), h->metrics);
    conditions_set(a, &status, h->conditions);
    if (figures_wait(h, &status))
        return;
    if (!val_equal(val_get(h->status, N(currentMetrics)), &h->metrics))
        h->memory.told = h->v->now;
    val_set(a, &tree, N(status), status);
    plan_update(h->out, h->o, S("status"), tree);
}

static void scale_plan(struct hpa *h)
{
    struct arena *a = h->a;
    struct val body = val_map();
    val_set_text(a, &body, N(apiVersion), S("autoscaling/v1"));
    val_set_text(a, &body, N(kind), S("Scale"));
    struct val *meta = val_need_map(a, &body, N(metadata));
    val_set(a, meta, N(name), val_str(a, h->target->name));
    val_set(a, meta, N(namespace), val_str(a, h->target->ns));
    val_set_num(a, val_need_map(a, &body, N(spec)), N(replicas), h->wanted);
    struct action *write = plan_update(h->out, h->target, S("scale"), body);
    write->done = plan_event_of(h->out, h->o, "Normal", "SuccessfulRescale", "New size: %lld; reason: " STR_FMT,
                                (long long)h->wanted, STR_ARG(h->rescale));
    h->memory.pending = true;
    h->memory.from = (struct hpa_noted){h->v->now, h->current};
    h->memory.to = (struct hpa_noted){h->v->now, h->wanted};
    h->memory.reason = h->rescale;
    plan_step(h->out);
    hpa_condition(
        h, "AbleToScale", true, "SucceededRescale",
        arena_fmt(a, "the HPA controller was able to update the target scale to %lld", (long long)h->wanted));
    if (h->least == 0 || condition_get(h->status, "ScaledToZero")) {
        bool zero = h->current > 0 && h->wanted == 0;
        hpa_condition(h, "ScaledToZero", zero, zero ? "ScaledToZero" : "NotScaledToZero",
                      zero ? S("the HPA controller scaled the workload to zero")
                           : S("the HPA controller did not scale the workload to zero"));
    }
    h->desired = h->wanted;
    h->scaled = h->v->now;
}

/* The scale that was to be written last: whether it was, is seen by now. True: it was refused, which is told before
 * it is tried again. */
static bool pending_settle(struct hpa *h)
{
    struct hpa_memory *m = &h->memory;
    if (!m->pending)
        return false;
    m->pending = false;
    if (h->current == m->to.n) {
        struct hpa_noted by = {m->to.at, m->to.n > m->from.n ? m->to.n - m->from.n : m->from.n - m->to.n};
        if (m->to.n > m->from.n)
            array_push(&m->ups, by);
        else
            array_push(&m->downs, by);
        if (h->scaled < m->to.at / NS_PER_S * NS_PER_S) { /* the status was not written any more */
            h->scaled = m->to.at;
            h->desired = m->to.n;
        }
        return false;
    }
    if (!h->v->trouble.n)
        return false;
    plan_event(h->out, h->o, "Warning", "FailedRescale", "New size: %lld; reason: " STR_FMT "; error: " STR_FMT,
               (long long)m->to.n, STR_ARG(m->reason), STR_ARG(h->v->trouble));
    hpa_condition(h, "AbleToScale", false, "FailedUpdateScale",
                  arena_fmt(h->a, "the HPA controller was unable to update the target scale: " STR_FMT,
                            STR_ARG(h->v->trouble)));
    h->metrics = val_copy(h->a, val_get(h->status, N(currentMetrics)));
    plan_why(h->out, "the scale of its target is refused: " STR_FMT, STR_ARG(h->v->trouble));
    return true;
}

/* False: an answer is waited for. */
static bool metrics_look(struct hpa *h)
{
    struct hpa_look l;
    struct str by = S("");
    size_t n = val_len(val_get(h->spec, N(metrics)));
    struct hpa_found *found = arena_alloc(h->a, (n + 1) * sizeof *found);
    if (!look_begin(h, &l))
        return true;
    if (!metrics_find(h, &l, found))
        return false;
    int64_t wish = metrics_count(h, found, n, &by);
    if (wish >= 0)
        wish_follow(h, wish, by);
    return true;
}

/* False: an answer is waited for. */
static bool hpa_look(struct hpa *h)
{
    bool from_zero = condition_is(h->status, "ScaledToZero", "True");
    if (h->current == 0 && !from_zero) {
        h->desired = 0;
        hpa_condition(h, "ScalingActive", false, "ScalingDisabled",
                      S("scaling is disabled since the replica count of the target is zero"));
    } else if (h->current > h->most) {
        h->rescale = S("Current number of replicas above Spec.MaxReplicas");
        h->wanted = h->most;
    } else if (h->current < h->least) {
        h->rescale = S("Current number of replicas below Spec.MinReplicas");
        h->wanted = h->least;
    } else {
        return metrics_look(h);
    }
    return true;
}

/* One that was made just now is looked at a little later: whoever makes it often goes on writing it (upstream waits a
 * whole period). 0: at once. */
static int64_t first_look(const struct view *v, const struct obj *o)
{
    int64_t at = val_time(val_get(obj_meta(o), N(creationTimestamp))) + FIRST_LOOK;
    bool looked = val_len(val_get(obj_status(o), N(conditions))) > 0;
    return looked || v->now >= at || v->now < at - 2 * FIRST_LOOK
               ? 0
               : at; /* a clock that was set back holds up nobody */
}

static void hpa_plan(const struct view *v, struct key key, struct plan *out)
{
    struct obj *o = view_get(v, K(HorizontalPodAutoscaler), key.ns, key.name);
    if (!o || obj_deleting(o))
        return;
    int64_t first = first_look(v, o);
    if (first) {
        plan_again(out, first);
        return;
    }
    struct hpa h = {.v = v,
                    .out = out,
                    .a = &out->arena,
                    .o = o,
                    .spec = obj_spec(o),
                    .status = obj_status(o),
                    .least = val_num_at(obj_spec(o), 1, N(minReplicas)),
                    .most = val_num_at(obj_spec(o), 1, N(maxReplicas)),
                    .desired = val_num_at(obj_status(o), 0, N(desiredReplicas)),
                    .scaled = val_time(val_get(obj_status(o), N(lastScaleTime))),
                    .metrics = VAL_NONE};
    const struct val *conditions = val_get(h.status, N(conditions));
    h.conditions = conditions ? val_copy(h.a, conditions) : val_list();
    plan_again(out, next_look(v, key.ns));
    if (!target_find(&h)) {
        if (v->settling) { /* its kind may have come just now */
            out->memory = val_copy(h.a, v->memory);
            return;
        }
        h.metrics = val_copy(h.a, val_get(h.status, N(currentMetrics)));
        out->memory = val_copy(h.a, v->memory);
        status_plan(&h);
        return;
    }
    hpa_memory_read(v, o, h.current, &h.memory);
    if (pending_settle(&h) || hpa_look(&h)) {
        if (h.rescale.n)
            scale_plan(&h);
        status_plan(&h);
        out->memory = hpa_memory_write(h.a, o, &h.memory);
    }
    hpa_memory_fini(&h.memory);
}

static void keys_of_spec(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                         void *arg)
{
    if (!was || !now || !val_equal(obj_spec(was), obj_spec(now)) || !str_eq(was->uid, now->uid))
        keys_self(v, was, now, add, arg);
}

static const struct controller_watch watches[] = {{K(HorizontalPodAutoscaler), keys_of_spec},
                                                  {K(Pod), keys_none},
                                                  {K(Deployment), keys_none},
                                                  {K(ReplicaSet), keys_none},
                                                  {K(StatefulSet), keys_none},
                                                  {K(ReplicationController), keys_none},
                                                  {K(APIService), keys_none},
                                                  {0}};
const struct controller hpa_controller = {
    .name = "hpa",
    .component = "horizontal-pod-autoscaler",
    .account = "horizontal-pod-autoscaler",
    .watches = watches,
    .any = keys_none, /* targets of definitions' kinds */
    .plan = hpa_plan,
};
