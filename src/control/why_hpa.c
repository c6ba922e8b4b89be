/* Why a HorizontalPodAutoscaler does not scale, or not as far as one would think: its conditions, whose sentences
 * name what is missing, and behind these its target, its pods, and the APIService that should serve a metric. */
#include "api/codec.h"
#include "control/hpa_int.h"
#include "control/why_int.h"

/* Of its target's scale. */
static const struct saying targets[] = {
    {"no matches for kind", "TargetKindUnknown", "no kind is served as its spec.scaleTargetRef says: {message}",
     "Mend apiVersion and kind: {edit}"},
    {"could not find the requested resource", "TargetUnscaled",
     "its target {target} is of a kind that has no scale subresource", "Name one that has: {edit}"},
    {"not found", "TargetMissing", "its target {target} is not there", "Make it, or name another: {edit}"},
    {"unexpected GroupVersion", "TargetVersion", "spec.scaleTargetRef.apiVersion is none: {message}",
     "Write it as in apps/v1: {edit}"},
    {"", "TargetUnread", "the scale of its target {target} cannot be read: {message}", ""},
};

/* Of a metric that is missing. */
static const struct saying metrics[] = {
    {"missing request for ", "RequestMissing",
     "container {container} of pod {pod} requests no {resource}, and a percentage is of what is requested",
     "Set it, for sidecars too: kubectl set resources {target} -c {container} --requests={resource}=100m{ns}; or let "
     "one "
     "container count (type ContainerResource), or a value (averageValue): {edit}"},
    {"not present in metrics", "ContainerUnknown", "a pod has no container as the metric names it: {message}",
     "Mend containerResource.container, or wait for the end of a rollout: {edit}"},
    {"no custom metrics API", "AdapterMissing",
     "nothing serves custom metrics: there is no APIService v1beta2.custom.metrics.k8s.io or v1beta1",
     "Install an adapter that registers it, such as prometheus-adapter; see kubectl get apiservices"},
    {"from external metrics API: the server could not find", "ExternalMissing",
     "nothing serves the external metric: {external}",
     "Install an adapter that serves it, such as KEDA or prometheus-adapter; see kubectl get apiservices"},
    {"from custom metrics API: the server could not find", "MetricUnknown", "the adapter does not know the metric",
     "See what it knows: kubectl get --raw /apis/custom.metrics.k8s.io/v1beta2 ; or mend its name: {edit}"},
    {"from resource metrics API: the server could not find", "MetricsApiMissing",
     "nothing serves metrics.k8s.io, from which cpu and memory come",
     "See kubectl get apiservices v1beta1.metrics.k8s.io"},
    {"no metrics returned from custom", "MetricEmpty", "the adapter of custom metrics has no value of it: {message}",
     "See whether the pods export it, and what the adapter makes of it: kubectl get --raw "
     "/apis/custom.metrics.k8s.io/v1beta2"},
    {"no metrics returned from external", "MetricEmpty",
     "the adapter of external metrics has no value of it: {message}",
     "See its name and its selector, and the adapter's log: {edit}"},
    {"is forbidden", "MetricForbidden", "the server of the metric refuses to answer: {message}",
     "Let the service account kube-system/horizontal-pod-autoscaler read it"},
    {"", "MetricMissing", "{message}", ""},
};

struct hpa_asked {
    const struct obj *o, *target;
    struct str target_word, edit;
};

static struct str hpa_edit(struct question *q, const struct obj *o)
{
    return arena_fmt(q->a, "kubectl edit " STR_FMT, STR_ARG(why_target(q, o)));
}

/* "deploy/web", or as its spec names it. */
static struct str target_word(struct question *q, const struct obj *o, const struct obj *target)
{
    const struct val *ref = val_get(obj_spec(o), N(scaleTargetRef));
    return target ? why_word(q, target)
                  : arena_fmt(q->a, STR_FMT "/" STR_FMT, STR_ARG(val_text_at(ref, N(kind))),
                              STR_ARG(val_text_at(ref, N(name))));
}

static struct str text_after(struct str text, const char *what)
{
    ptrdiff_t at = str_find(text, str_of(what));
    return at < 0 ? S("") : str_sub(text, (size_t)at + strlen(what), text.n);
}

static struct str word_first(struct str text)
{
    struct str word;
    (void)str_split(text, ' ', &word, &text);
    return word;
}

static void scale_say(struct question *q, const struct hpa_asked *x, const struct saying *rows, struct str message,
                      struct finding *f)
{
    struct str external = view_get(q->v, K(APIService), S(""), S("v1beta1.external.metrics.k8s.io"))
                              ? S("its adapter does not know it")
                              : S("there is no APIService v1beta1.external.metrics.k8s.io");
    struct word words[] = {{"message", message},
                           {"target", x->target_word},
                           {"edit", x->edit},
                           {"resource", word_first(text_after(message, "missing request for "))},
                           {"container", word_first(text_after(message, " in container "))},
                           {"pod", word_first(text_after(message, " of Pod "))},
                           {"external", external}};
    why_saying(q, f, rows, message, words, countof(words));
}

/* What is the matter with another object; true where that is an answer. */
static bool say_behind(struct question *q, struct finding *f, const char *about, const struct obj *other)
{
    struct finding one = {0};
    if (!other)
        return false;
    struct question next = why_about(q, other);
    why_of(&next, other, &one);
    bool found = one.state != WHY_FINE;
    if (found)
        why_behind(q, f, arena_fmt(q->a, "%s " STR_FMT ":", about, STR_ARG(why_word(q, other))), &one);
    array_fini(&one.chain);
    return found;
}

/* The server of a metric that cannot answer now. */
static bool server_say(struct question *q, struct finding *f, struct str message)
{
    static const struct {
        const char *api, *names[2];
    } rows[] = {{"external metrics API", {"v1beta1.external.metrics.k8s.io"}},
                {"custom metrics API", {"v1beta2.custom.metrics.k8s.io", "v1beta1.custom.metrics.k8s.io"}},
                {"resource metrics API", {"v1beta1.metrics.k8s.io"}}};
    if (!str_has(message, S("unable to handle the request")))
        return false;
    for (size_t i = 0; i < countof(rows); i++)
        for (size_t k = 0; k < 2 && rows[i].names[k] && str_has(message, str_of(rows[i].api)); k++)
            if (say_behind(q, f, "a metric is missing, as of",
                           view_get(q->v, K(APIService), S(""), str_of(rows[i].names[k]))))
                return true;
    return false;
}

static void metric_say(struct question *q, const struct hpa_asked *x, struct str message, struct finding *f)
{
    struct str prefix = S("the HPA was unable to compute the replica count: ");
    message = str_starts(message, prefix) ? str_sub(message, prefix.n, message.n) : message;
    bool none = str_has(message, S("no metrics returned from resource")) || str_has(message, S("no pods returned"));
    if (server_say(q, f, message))
        return;
    if ((none || str_has(message, S("pods might be unready"))) &&
        say_behind(q, f, "no pod of its target can be measured:", x->target))
        return;
    if (none || str_has(message, S("pods might be unready"))) {
        why_coming(q, f, "MetricsComing", "%s",
                   none ? "its pods have not been measured yet" : "its pods are not ready, or were only just");
        why_way(q, f, "See what they use: kubectl top pods" STR_FMT, STR_ARG(why_ns_flag(q, x->o->ns)));
        return;
    }
    scale_say(q, x, metrics, message, f);
}

static void several_say(struct question *q, const struct hpa_asked *x, struct str message, struct finding *f)
{
    struct str others = text_after(message, "multiple HPAs: "), one;
    others = str_sub(others, 1, others.n ? others.n - 1 : 0);
    why_found(q, f, "SeveralAutoscalers", "several want to scale the same pods, so none does: " STR_FMT,
              STR_ARG(others));
    while (str_cut(&others, ' ', &one)) {
        struct str ns, name;
        if (str_split(one, '/', &ns, &name) && !str_eq(name, x->o->name)) {
            why_way(q, f,
                    "Put their metrics into one of them and delete the other: kubectl delete hpa " STR_FMT STR_FMT
                    "; or let their targets' selectors take different pods",
                    STR_ARG(name), STR_ARG(why_ns_flag(q, ns)));
            return;
        }
    }
}

static bool inactive_say(struct question *q, const struct hpa_asked *x, struct finding *f)
{
    const struct val *c = condition_get(obj_status(x->o), "ScalingActive");
    struct str reason = val_text_at(c, N(reason)), message = val_text_at(c, N(message));
    if (!str_eqz(val_text_at(c, N(status)), "False"))
        return false;
    if (str_eqz(reason, "ScalingDisabled")) {
        why_found(q, f, "TargetAtZero", "its target " STR_FMT " was scaled to 0, and is let be for as long as it is",
                  STR_ARG(x->target_word));
        why_way(q, f, "Start it: kubectl scale " STR_FMT " --replicas=%lld" STR_FMT, STR_ARG(x->target_word),
                (long long)val_num_at(obj_spec(x->o), 1, N(minReplicas)), STR_ARG(why_ns_flag(q, x->o->ns)));
    } else if (str_eqz(reason, "AmbiguousSelector")) {
        several_say(q, x, message, f);
    } else if (str_eqz(reason, "InvalidSelector")) {
        why_found(q, f, "SelectorMissing",
                  "the scale of its target " STR_FMT " tells no selector that can be read, so its "
                  "pods are unknown: " STR_FMT,
                  STR_ARG(x->target_word), STR_ARG(message));
        why_way(q, f,
                "The definition of the target's kind must have labelSelectorPath in its scale, and the target that "
                "field");
    } else {
        metric_say(q, x, message, f);
    }
    return true;
}

/* Metrics that are missing beside others: the number goes up by these alone. */
static void missing_say(struct question *q, const struct hpa_asked *x, struct finding *f)
{
    static const char *const reasons[] = {"FailedGetExternalMetric", "FailedGetPodsMetric", "FailedGetObjectMetric",
                                          "FailedGetResourceMetric", "FailedGetContainerResourceMetric"};
    size_t missing = 0, n = 0;
    val_each_item (it, val_get(obj_status(x->o), N(currentMetrics))) {
        missing += !val_text_at(it, N(type)).n;
        n++;
    }
    if (!missing)
        return;
    struct finding one = {0};
    for (size_t i = 0; i < countof(reasons) && one.state == WHY_FINE; i++) {
        const struct obj *event = why_event(q, x->o, reasons[i], S(""), S(""));
        if (event)
            metric_say(q, x, why_event_text(event), &one);
    }
    if (one.state != WHY_FINE)
        why_behind(
            q, f,
            arena_fmt(q->a, "%zu of its %zu metrics is missing, so it may scale up and never down:", missing, n),
            &one);
    array_fini(&one.chain);
}

static void limited_say(struct question *q, const struct hpa_asked *x, struct finding *f)
{
    const struct val *c = condition_get(obj_status(x->o), "ScalingLimited"), *spec = obj_spec(x->o);
    struct str reason = val_text_at(c, N(reason));
    if (!str_eqz(val_text_at(c, N(status)), "True"))
        return;
    if (str_eqz(reason, "TooManyReplicas")) {
        why_found(q, f, "LimitedByMax", "its metrics want more than its maxReplicas of %lld",
                  (long long)val_num_at(spec, 0, N(maxReplicas)));
        why_way(q, f, "Allow more: " STR_FMT "; or give each pod more", STR_ARG(x->edit));
    } else if (str_eqz(reason, "ScaleUpLimit") || str_eqz(reason, "ScaleDownLimit")) {
        bool up = str_eqz(reason, "ScaleUpLimit");
        const struct val *rules = val_at(spec, N(behavior), up ? N(scaleUp) : N(scaleDown));
        if (str_eqz(val_text_at(rules, N(selectPolicy)), "Disabled"))
            why_found(q, f, "ScalingOff",
                      "its metrics want %s, and its behavior forbids that (selectPolicy: Disabled)",
                      up ? "more" : "fewer");
        else
            why_coming(q, f, "LimitedByPolicy", "its metrics want %s, and it goes there in the steps that %s",
                       up ? "more" : "fewer",
                       rules ? "its behavior allows" : "are usual: at most twice as many at once, or four");
        why_way(q, f, "Allow more at once in spec.behavior.%s: " STR_FMT, up ? "scaleUp" : "scaleDown",
                STR_ARG(x->edit));
    }
}

static void window_say(struct question *q, const struct hpa_asked *x, struct finding *f)
{
    const struct val *c = condition_get(obj_status(x->o), "AbleToScale"), *spec = obj_spec(x->o);
    struct str reason = val_text_at(c, N(reason));
    bool up = str_eqz(reason, "ScaleUpStabilized");
    if (!up && !str_eqz(reason, "ScaleDownStabilized"))
        return;
    int64_t window = val_num_at(val_at(spec, N(behavior), up ? N(scaleUp) : N(scaleDown)),
                                up ? 0 : HPA_DOWN_WINDOW / NS_PER_S, N(stabilizationWindowSeconds));
    why_coming(
        q, f, "WindowHolds",
        "its metrics want %s, and the %s number that they wanted within %lld s counts: it follows so long after "
        "they last wanted %s",
        up ? "more" : "fewer", up ? "lowest" : "highest", (long long)window, up ? "so few" : "as many");
    why_way(q, f, "Wait, or shorten spec.behavior.%s.stabilizationWindowSeconds: " STR_FMT,
            up ? "scaleUp" : "scaleDown", STR_ARG(x->edit));
}

/* kubectl apply sets again what it has once set. */
static bool replicas_applied(struct question *q, const struct obj *target, int64_t *n)
{
    struct str last = target ? val_text(val_get_str(val_get(obj_meta(target), N(annotations)),
                                                    S("kubectl.kubernetes.io/last-applied-configuration")))
                             : S("");
    struct val v;
    struct err ignored = ERR; /* a stranger's annotation */
    if (!last.n || !json_decode(q->a, last, &v, &ignored) || !val_at(&v, N(spec), N(replicas)))
        return false;
    *n = val_num_at(&v, 0, N(spec), N(replicas));
    return true;
}

void why_hpa(struct question *q, const struct obj *o, struct finding *f)
{
    struct str error;
    const struct val *status = obj_status(o), *able = condition_get(status, "AbleToScale");
    struct hpa_asked x = {.o = o, .target = hpa_target(q->v, q->a, o, &error), .edit = hpa_edit(q, o)};
    x.target_word = target_word(q, o, x.target);
    int64_t current = val_num_at(status, 0, N(currentReplicas)), desired = val_num_at(status, 0, N(desiredReplicas)),
            n;
    why_chain(q, f, "HorizontalPodAutoscaler " STR_FMT ": " STR_FMT " has %lld, is to have %lld, of %lld to %lld",
              STR_ARG(o->name), STR_ARG(x.target_word), (long long)current, (long long)desired,
              (long long)val_num_at(obj_spec(o), 1, N(minReplicas)),
              (long long)val_num_at(obj_spec(o), 0, N(maxReplicas)));
    val_each_item (it, val_get(status, N(conditions)))
        why_chain(q, f, STR_FMT " is " STR_FMT ", " STR_FMT ": " STR_FMT, STR_ARG(val_text_at(it, N(type))),
                  STR_ARG(val_text_at(it, N(status))), STR_ARG(val_text_at(it, N(reason))),
                  STR_ARG(val_text_at(it, N(message))));
    if (!able) {
        why_coming(q, f, "NotLooked", "it has not looked at its metrics yet");
        return;
    }
    struct str message = val_text_at(able, N(message));
    if (str_eqz(val_text_at(able, N(reason)), "FailedUpdateScale")) {
        struct str said = text_after(message, "update the target scale: ");
        if (!why_refused(q, said, S("the scale of its target"), f))
            why_found(q, f, "ScaleRefused", "the API refuses the scale of " STR_FMT ": " STR_FMT,
                      STR_ARG(x.target_word), STR_ARG(said));
        return;
    }
    if (str_eqz(val_text_at(able, N(status)), "False")) {
        scale_say(q, &x, targets, text_after(message, "current scale: "), f);
        return;
    }
    if (inactive_say(q, &x, f))
        return;
    missing_say(q, &x, f);
    limited_say(q, &x, f);
    window_say(q, &x, f);
    if (f->state != WHY_FINE)
        return;
    f->reason = arena_fmt(q->a, STR_FMT " has as many replicas as its metrics want: %lld", STR_ARG(x.target_word),
                          (long long)desired);
    if (!replicas_applied(q, x.target, &n))
        return;
    f->reason = arena_fmt(
        q->a, STR_FMT "; but it was applied with replicas: %lld, so each further kubectl apply sets that again",
        STR_ARG(f->reason), (long long)n);
    f->way = S("Take spec.replicas out of the manifest");
}
