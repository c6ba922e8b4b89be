#include "api/codec.h"
#include "server/int.h"

/* Kinds that two groups serve are stored once: Event as v1 and events.k8s.io/v1, HorizontalPodAutoscaler as
 * autoscaling/v2 and v1. The other form is made when it is asked for. */

struct renamed {
    const struct name *stored, *served;
};
static const struct renamed event_fields[] = {
    {N(message), N(note)},
    {N(involvedObject), N(regarding)},
    {N(source), N(deprecatedSource)},
    {N(firstTimestamp), N(deprecatedFirstTimestamp)},
    {N(lastTimestamp), N(deprecatedLastTimestamp)},
    {N(count), N(deprecatedCount)},
    {N(reportingComponent), N(reportingController)},
};

static const struct name *renamed(const struct name *n, bool to_served)
{
    for (size_t i = 0; i < countof(event_fields); i++) {
        if (to_served && event_fields[i].stored == n)
            return event_fields[i].served;
        if (!to_served && event_fields[i].served == n)
            return event_fields[i].stored;
    }
    return n;
}

static struct val convert_event(struct arena *a, const struct val *v, const struct kind *to)
{
    struct val out = val_map();
    val_each_member (m, v)
        val_set(a, &out, renamed(m->name, to == K(events_k8s_io_Event)), val_copy(a, &m->v));
    return out;
}

static const struct val *metric_of_cpu(const struct val *spec)
{
    const struct val *metrics = val_get(spec, N(metrics));
    val_each_item (it, metrics) {
        if (str_eq(val_text_at(it, N(type)), S("Resource")) &&
            str_eq(val_text_at(it, N(resource), N(name)), S("cpu")) &&
            val_at(it, N(resource), N(target), N(averageUtilization)))
            return it;
    }
    return NULL;
}

static struct val hpa_to_v1(struct arena *a, const struct val *v)
{
    struct val out = val_copy(a, v);
    struct val *spec = val_need_map(a, &out, N(spec));
    const struct val *cpu = metric_of_cpu(val_get(v, N(spec)));
    if (cpu)
        val_set_num(a, spec, N(targetCPUUtilizationPercentage),
                    val_num_at(cpu, 0, N(resource), N(target), N(averageUtilization)));
    static const struct {
        const struct name *field, *in;
        const char *annotation;
    } rest[] = {
        {N(metrics), N(spec), "autoscaling.alpha.kubernetes.io/metrics"},
        {N(behavior), N(spec), "autoscaling.alpha.kubernetes.io/behavior"},
        {N(conditions), N(status), "autoscaling.alpha.kubernetes.io/conditions"},
        {N(currentMetrics), N(status), "autoscaling.alpha.kubernetes.io/current-metrics"},
    };
    for (size_t i = 0; i < countof(rest); i++) {
        struct val *part = val_get_mut(&out, rest[i].in);
        struct val *f = part ? val_get_mut(part, rest[i].field) : NULL;
        if (!f)
            continue;
        struct val left = val_copy(a, f);
        for (size_t k = 0; i == 0 && k < val_len(&left); k++)
            if (cpu && val_equal(val_item(&left, k), cpu)) {
                val_del_item(&left, k);
                break;
            }
        if (val_len(&left)) {
            AUTO(strbuf_fini) struct strbuf text = STRBUF(1 << 20);
            json_encode(&text, &left);
            val_set_str(a, val_need_map(a, &out, N(metadata), N(annotations)), str_of(rest[i].annotation),
                        val_str(a, strbuf_str(&text)));
        }
        val_del(part, rest[i].field);
    }
    return out;
}

static struct val hpa_to_v2(struct arena *a, const struct val *v)
{
    struct val out = val_copy(a, v);
    struct val *spec = val_need_map(a, &out, N(spec)), *meta = val_need_map(a, &out, N(metadata));
    struct val *annotations = val_get_mut(meta, N(annotations));
    struct val metrics = val_list();
    static const struct {
        const struct name *field, *in;
        const char *annotation;
    } rest[] = {
        {N(behavior), N(spec), "autoscaling.alpha.kubernetes.io/behavior"},
        {N(conditions), N(status), "autoscaling.alpha.kubernetes.io/conditions"},
        {N(currentMetrics), N(status), "autoscaling.alpha.kubernetes.io/current-metrics"},
        {N(metrics), N(spec), "autoscaling.alpha.kubernetes.io/metrics"},
    };
    for (size_t i = 0; annotations && i < countof(rest); i++) {
        const struct val *text = val_get_str(annotations, str_of(rest[i].annotation));
        struct val parsed;
        struct err err = ERR;
        if (text && json_decode(a, val_text(text), &parsed, &err)) {
            if (rest[i].field == N(metrics))
                metrics = parsed;
            else
                val_set(a, val_need_map(a, &out, rest[i].in), rest[i].field, parsed);
        }
        val_del_str(annotations, str_of(rest[i].annotation));
    }
    if (annotations && !val_len(annotations))
        val_del(meta, N(annotations));
    const struct val *percent = val_get(spec, N(targetCPUUtilizationPercentage));
    if (percent) {
        struct val m = val_map();
        val_set_text(a, &m, N(type), S("Resource"));
        val_set_text(a, val_need_map(a, &m, N(resource)), N(name), S("cpu"));
        struct val *target = val_need_map(a, &m, N(resource), N(target));
        val_set_text(a, target, N(type), S("Utilization"));
        val_set_num(a, target, N(averageUtilization), val_num(percent, 0));
        val_add(a, &metrics, m);
        val_del(spec, N(targetCPUUtilizationPercentage));
    }
    if (val_len(&metrics))
        val_set(a, spec, N(metrics), metrics);
    return out;
}

static struct val convert(struct arena *a, const struct val *v, const struct kind *from, const struct kind *to)
{
    struct val out;
    if (from == K(Event) || to == K(Event))
        out = convert_event(a, v, to);
    else if (to == K(autoscaling_v1_HorizontalPodAutoscaler))
        out = hpa_to_v1(a, v);
    else
        out = hpa_to_v2(a, v);
    val_set_text(a, &out, N(kind), to->kind);
    val_set_text(a, &out, N(apiVersion), to->api_version);
    return out;
}

struct obj *object_as(const struct kind *k, struct obj *o)
{
    if (k == o->kind)
        return obj_ref(o);
    AUTO(arena_fini) struct arena a = ARENA;
    struct val v = convert(&a, &o->tree, o->kind, k);
    return obj_new(k, &v, o->rev);
}

struct obj *object_from(const struct kind *k, const struct val *tree)
{
    if (!k->storage || k->storage == k)
        return obj_new(k, tree, 0);
    AUTO(arena_fini) struct arena a = ARENA;
    struct val v = convert(&a, tree, k, k->storage);
    return obj_new(k->storage, &v, 0);
}
