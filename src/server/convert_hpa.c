/* convert_hpa.c - HorizontalPodAutoscaler as autoscaling/v1: what v1 has no field for stands in annotations. Metrics
 * there are v1's, which no field uses any more; the behavior is upstream's internal struct, by name and letter. */
#include "api/codec.h"
#include "api/rules.h"
#include "server/int.h"

static const struct name *const sources[] = {N(object), N(pods), N(resource), N(containerResource), N(external)};

/* Where the fields of a metric's source stand in v1 and in v2. */
struct hpa_place {
    const struct name *source, *v1, *v2, *below; /* below: a member of the v2 field; NULL: the field itself */
    const char *target;                          /* the type of target that it makes; NULL: none */
};
static const struct hpa_place of_spec[] = {
    {N(object), N(target), N(describedObject), NULL, NULL},
    {N(object), N(metricName), N(metric), N(name), NULL},
    {N(object), N(selector), N(metric), N(selector), NULL},
    {N(object), N(targetValue), N(target), N(value), "Value"},
    {N(object), N(averageValue), N(target), N(averageValue), "AverageValue"},
    {N(pods), N(metricName), N(metric), N(name), NULL},
    {N(pods), N(selector), N(metric), N(selector), NULL},
    {N(pods), N(targetAverageValue), N(target), N(averageValue), "AverageValue"},
    {N(resource), N(name), N(name), NULL, NULL},
    {N(resource), N(targetAverageUtilization), N(target), N(averageUtilization), "Utilization"},
    {N(resource), N(targetAverageValue), N(target), N(averageValue), "AverageValue"},
    {N(containerResource), N(name), N(name), NULL, NULL},
    {N(containerResource), N(container), N(container), NULL, NULL},
    {N(containerResource), N(targetAverageUtilization), N(target), N(averageUtilization), "Utilization"},
    {N(containerResource), N(targetAverageValue), N(target), N(averageValue), "AverageValue"},
    {N(external), N(metricName), N(metric), N(name), NULL},
    {N(external), N(metricSelector), N(metric), N(selector), NULL},
    {N(external), N(targetValue), N(target), N(value), "Value"},
    {N(external), N(targetAverageValue), N(target), N(averageValue), "AverageValue"},
};
static const struct hpa_place of_status[] = {
    {N(object), N(target), N(describedObject), NULL, NULL},
    {N(object), N(metricName), N(metric), N(name), NULL},
    {N(object), N(selector), N(metric), N(selector), NULL},
    {N(object), N(currentValue), N(current), N(value), NULL},
    {N(object), N(averageValue), N(current), N(averageValue), NULL},
    {N(pods), N(metricName), N(metric), N(name), NULL},
    {N(pods), N(selector), N(metric), N(selector), NULL},
    {N(pods), N(currentAverageValue), N(current), N(averageValue), NULL},
    {N(resource), N(name), N(name), NULL, NULL},
    {N(resource), N(currentAverageUtilization), N(current), N(averageUtilization), NULL},
    {N(resource), N(currentAverageValue), N(current), N(averageValue), NULL},
    {N(containerResource), N(name), N(name), NULL, NULL},
    {N(containerResource), N(container), N(container), NULL, NULL},
    {N(containerResource), N(currentAverageUtilization), N(current), N(averageUtilization), NULL},
    {N(containerResource), N(currentAverageValue), N(current), N(averageValue), NULL},
    {N(external), N(metricName), N(metric), N(name), NULL},
    {N(external), N(metricSelector), N(metric), N(selector), NULL},
    {N(external), N(currentValue), N(current), N(value), NULL},
    {N(external), N(currentAverageValue), N(current), N(averageValue), NULL},
};

struct hpa_places {
    const struct hpa_place *rows;
    size_t n;
};

static void move_to_v1(struct arena *a, const struct hpa_place *p, const struct val *from, struct val *to)
{
    const struct val *v = val_get(from, p->v2);
    if (p->below)
        v = val_get(v, p->below);
    if (v)
        val_set(a, to, p->v1, val_copy(a, v));
}

static void move_to_v2(struct arena *a, const struct hpa_place *p, const struct val *from, struct val *to)
{
    const struct val *v = val_get(from, p->v1);
    if (!v || v->type == VAL_NULL || (p->target && str_eqz(val_text(v), "0")))
        return;
    struct val *in = p->below ? val_need_map_(a, to, (const struct name *const[]){p->v2, NULL}) : to;
    val_set(a, in, p->below ? p->below : p->v2, val_copy(a, v));
    if (p->target)
        val_set_text(a, in, N(type), str_of(p->target));
}

/* A metric, or the status of one, in the other version. */
static struct val convert_metric(struct arena *a, const struct val *v, struct hpa_places where, bool to_v1)
{
    struct val out = val_map();
    val_set_text(a, &out, N(type), val_text_at(v, N(type)));
    for (size_t i = 0; i < countof(sources); i++) {
        const struct val *from = val_get(v, sources[i]);
        if (!val_is(from, VAL_MAP))
            continue;
        struct val to = val_map();
        for (size_t k = 0; k < where.n; k++)
            if (where.rows[k].source == sources[i])
                (to_v1 ? move_to_v1 : move_to_v2)(a, &where.rows[k], from, &to);
        val_set(a, &out, sources[i], to);
    }
    return out;
}

static void annotation_set(struct arena *a, struct val *hpa, const char *key, struct str text)
{
    val_set_str(a, val_need_map(a, hpa, N(metadata), N(annotations)), str_of(key), val_str(a, text));
}

/* A list as JSON of its elements' type. */
static void annotate_list(struct arena *a, struct val *hpa, const char *key, const struct type *of,
                          const struct val *list)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(1 << 20);
    val_each_item (it, list) {
        strbuf_addc(&text, it == list->list ? '[' : ',');
        type_encode_json(&text, of, it);
    }
    if (val_len(list)) {
        strbuf_addc(&text, ']');
        annotation_set(a, hpa, key, strbuf_str(&text));
    }
}

#define KEY "autoscaling.alpha.kubernetes.io/"

static bool is_cpu(const struct val *metric)
{
    return str_eq(val_text_at(metric, N(type)), S("Resource")) &&
           str_eq(val_text_at(metric, N(resource), N(name)), S("cpu"));
}

static void spec_to_v1(struct arena *a, struct val *out, const struct val *was)
{
    struct val *spec = val_need_map(a, out, N(spec)), others = val_list();
    val_del(spec, N(metrics));
    val_del(spec, N(behavior));
    val_each_item (it, val_get(was, N(metrics))) {
        const struct val *percent = val_at(it, N(resource), N(target), N(averageUtilization));
        if (is_cpu(it) && percent)
            val_set_num(a, spec, N(targetCPUUtilizationPercentage), val_num(percent, 0));
        else
            val_add(a, &others, convert_metric(a, it, (struct hpa_places){of_spec, countof(of_spec)}, true));
    }
    annotate_list(a, out, KEY "metrics", T(autoscaling_v1_MetricSpec), &others);
    const struct val *behavior = val_get(was, N(behavior));
    if (behavior) {
        AUTO(strbuf_fini) struct strbuf text = STRBUF(1 << 20);
        struct_text(&text, T(autoscaling_v2_HorizontalPodAutoscalerBehavior), behavior);
        annotation_set(a, out, KEY "behavior", strbuf_str(&text));
    }
}

static void status_to_v1(struct arena *a, struct val *out, const struct val *was)
{
    struct val *status = val_need_map(a, out, N(status)), metrics = val_list();
    val_del(status, N(conditions));
    val_del(status, N(currentMetrics));
    val_each_item (it, val_get(was, N(currentMetrics))) {
        const struct val *percent = val_at(it, N(resource), N(current), N(averageUtilization));
        if (is_cpu(it) && percent)
            val_set_num(a, status, N(currentCPUUtilizationPercentage), val_num(percent, 0));
        val_add(a, &metrics, convert_metric(a, it, (struct hpa_places){of_status, countof(of_status)}, true));
    }
    annotate_list(a, out, KEY "current-metrics", T(autoscaling_v1_MetricStatus), &metrics);
    annotate_list(a, out, KEY "conditions", T(autoscaling_v2_HorizontalPodAutoscalerCondition),
                  val_get(was, N(conditions)));
}

struct val hpa_to_v1(struct arena *a, const struct val *v)
{
    struct val out = val_copy(a, v);
    spec_to_v1(a, &out, val_get(v, N(spec)));
    if (val_get(v, N(status)))
        status_to_v1(a, &out, val_get(v, N(status)));
    return out;
}

/* "ScaleUp" is scaleUp, and what is null is not there. */
static struct val of_struct(struct arena *a, const struct val *v)
{
    struct val out = val_is(v, VAL_MAP) ? val_map() : val_list();
    if (!val_is(v, VAL_MAP) && !val_is(v, VAL_LIST))
        return val_copy(a, v);
    val_each_item (it, v)
        val_add(a, &out, of_struct(a, it));
    val_each_member (m, v) {
        struct str name = m->name->s;
        if (m->v.type == VAL_NULL || !name.n)
            continue;
        char *p = arena_dup(a, name.p, name.n);
        p[0] = p[0] >= 'A' && p[0] <= 'Z' ? (char)(p[0] + 32) : p[0];
        val_set_str(a, &out, (struct str){p, name.n}, of_struct(a, &m->v));
    }
    return out;
}

/* What the annotation holds, taken out of it; false: nothing that can be read. */
static bool take_annotation(struct arena *a, struct val *annotations, const char *key, struct val *out)
{
    const struct val *text = val_get_str(annotations, str_of(key));
    struct err ignored = ERR; /* a stranger's annotation: as upstream, one that cannot be read is none */
    bool ok = text && json_decode(a, val_text(text), out, &ignored);
    if (annotations)
        val_del_str(annotations, str_of(key));
    return ok;
}

/* Appends what is of the type, and leaves out what is not. */
static void add_typed(struct arena *a, struct val *list, const struct type *t, const struct val *v)
{
    struct val typed;
    struct err ignored = ERR; /* see above: what of it fits is taken */
    if (type_decode_val(a, t, v, &typed, NULL, &ignored))
        val_add(a, list, typed);
}

static void add_cpu(struct arena *a, struct val *list, const struct name *of, int64_t percent)
{
    struct val m = val_map();
    val_set_text(a, &m, N(type), S("Resource"));
    val_set_text(a, val_need_map(a, &m, N(resource)), N(name), S("cpu"));
    struct val *in = val_need_map_(a, &m, (const struct name *const[]){N(resource), of, NULL});
    if (of == N(target))
        val_set_text(a, in, N(type), S("Utilization"));
    val_set_num(a, in, N(averageUtilization), percent);
    val_add(a, list, m);
}

static void spec_to_v2(struct arena *a, struct val *out, struct val *annotations)
{
    struct val metrics = val_list(), kept, behavior, typed, *spec;
    struct err ignored = ERR; /* a behavior that does not fit is none, too */
    if (take_annotation(a, annotations, KEY "metrics", &kept))
        val_each_item (it, &kept) {
            struct val v2 = convert_metric(a, it, (struct hpa_places){of_spec, countof(of_spec)}, false);
            add_typed(a, &metrics, T(autoscaling_v2_MetricSpec), &v2);
        }
    bool has_behavior = take_annotation(a, annotations, KEY "behavior", &behavior);
    if (has_behavior)
        behavior = of_struct(a, &behavior);
    spec = val_need_map(a, out, N(spec));
    const struct val *percent = val_get(spec, N(targetCPUUtilizationPercentage));
    if (percent)
        add_cpu(a, &metrics, N(target), val_num(percent, 0));
    val_del(spec, N(targetCPUUtilizationPercentage));
    if (val_len(&metrics))
        val_set(a, spec, N(metrics), metrics);
    if (has_behavior &&
        type_decode_val(a, T(autoscaling_v2_HorizontalPodAutoscalerBehavior), &behavior, &typed, NULL, &ignored))
        val_set(a, spec, N(behavior), typed);
}

static void status_to_v2(struct arena *a, struct val *out, struct val *annotations)
{
    struct val metrics = val_list(), conditions = val_list(), kept, *status;
    bool told = take_annotation(a, annotations, KEY "current-metrics", &kept);
    val_each_item (it, told ? &kept : NULL) {
        struct val v2 = convert_metric(a, it, (struct hpa_places){of_status, countof(of_status)}, false);
        add_typed(a, &metrics, T(autoscaling_v2_MetricStatus), &v2);
    }
    if (take_annotation(a, annotations, KEY "conditions", &kept))
        val_each_item (it, &kept)
            add_typed(a, &conditions, T(autoscaling_v2_HorizontalPodAutoscalerCondition), it);
    if (!val_get(out, N(status)) && !val_len(&metrics) && !val_len(&conditions))
        return;
    status = val_need_map(a, out, N(status));
    const struct val *percent = val_get(status, N(currentCPUUtilizationPercentage));
    if (percent && !told)
        add_cpu(a, &metrics, N(current), val_num(percent, 0));
    val_del(status, N(currentCPUUtilizationPercentage));
    if (val_len(&metrics))
        val_set(a, status, N(currentMetrics), metrics);
    if (val_len(&conditions))
        val_set(a, status, N(conditions), conditions);
}

struct val hpa_to_v2(struct arena *a, const struct val *v)
{
    struct val out = val_copy(a, v);
    struct val annotations = val_map(), *meta;
    const struct val *given = val_at(v, N(metadata), N(annotations));
    if (given)
        annotations = val_copy(a, given);
    spec_to_v2(a, &out, &annotations);
    status_to_v2(a, &out, &annotations);
    meta = val_need_map(a, &out, N(metadata));
    if (val_len(&annotations))
        val_set(a, meta, N(annotations), annotations);
    else
        val_del(meta, N(annotations));
    return out;
}
