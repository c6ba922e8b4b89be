/* PodSecurity: the Pod Security Standards by the labels of the namespace. Pods are refused (enforce) or warned of
 * (warn), what makes pods is warned of. Upstream: k8s.io/pod-security-admission, whose defaults exempt nobody. */
#include "api/podsecurity.h"
#include "server/admit.h"
#include "server/fail.h"
#include "server/int.h"

enum { PODS_MOST = 3000 }; /* of a namespace whose level rises, as upstream */

/* --- pods, and what makes them --- */

static bool makes_pods(const struct kind *k)
{
    return k == K(Deployment) || k == K(ReplicaSet) || k == K(StatefulSet) || k == K(DaemonSet) || k == K(Job) ||
           k == K(CronJob) || k == K(ReplicationController) || k == K(PodTemplate);
}

static bool sub_counts(struct str sub)
{
    return !sub.n || str_eqz(sub, "ephemeralcontainers") || str_eqz(sub, "resize");
}

static struct str note_of(const struct val *pod, struct str key)
{
    return val_text(val_get_str(val_at(pod, N(metadata), N(annotations)), key));
}

static bool note_differs(struct arena *a, const struct val *now, const struct val *was, const char *key,
                         struct str name)
{
    struct str whole = STR_JOIN(a, str_of(key), name);
    return !str_eq(note_of(now, whole), note_of(was, whole));
}

/* Of what a pod's policy is about an update may change images, and add ephemeral containers. */
static bool update_counts(struct arena *a, const struct val *now, const struct val *was)
{
    const struct name *const lists[] = {N(containers), N(initContainers), N(ephemeralContainers)};
    if (note_differs(a, now, was, "seccomp.security.alpha.kubernetes.io/pod", S("")))
        return true;
    for (size_t i = 0; i < countof(lists); i++) {
        const struct val *had = val_at(was, N(spec), lists[i]), *has = val_at(now, N(spec), lists[i]);
        if (val_len(had) != val_len(has))
            return true;
        val_each_item (c, has) {
            struct str name = val_text_at(c, N(name));
            const struct val *before = val_find(had, N(name), name);
            if (!before || !str_eq(val_text_at(c, N(image)), val_text_at(before, N(image))) ||
                note_differs(a, now, was, "container.seccomp.security.alpha.kubernetes.io/", name))
                return true;
        }
    }
    return false;
}

static bool pod_look(struct admission *x, const struct val *pod, bool enforced)
{
    struct arena *a = &x->r->arena;
    struct security_finding found[SECURITY_FINDINGS_MAX];
    const struct val *meta = val_get(pod, N(metadata)), *spec = val_get(pod, N(spec));
    AUTO(obj_unref) struct obj *ns = object_get(x->r->server, K(Namespace), S(""), x->ns);
    const struct val *labels = ns ? val_get(obj_meta(ns), N(labels)) : NULL;
    struct security_policy enforce = security_policy_of(labels, "enforce"), warn = security_policy_of(labels, "warn");
    size_t n = enforced ? security_check(a, &enforce, meta, spec, found) : 0;
    if (n)
        return fail_forbidden(x->r, "violates PodSecurity \"" STR_FMT "\": " STR_FMT,
                              STR_ARG(security_policy_text(a, &enforce)), STR_ARG(security_text(a, found, n, true)));
    n = security_check(a, &warn, meta, spec, found);
    if (n)
        answer_warn(x->r, STR_JOIN(a, S("would violate PodSecurity \""), security_policy_text(a, &warn), S("\": "),
                                   security_text(a, found, n, true)));
    return true;
}

bool admit_pod_security(struct admission *x)
{
    if (x->kind == K(Pod)) {
        bool counts = sub_counts(x->sub) && (x->verb == VERB_CREATE || update_counts(&x->r->arena, x->obj, x->old));
        return !counts || pod_look(x, x->obj, true);
    }
    const struct val *template = makes_pods(x->kind) && !x->sub.n ? security_template(x->obj) : NULL;
    return !template || pod_look(x, template, false);
}

/* --- namespaces --- */

static bool security_value_fits(struct str label, struct str value)
{
    static const struct str levels[] = {S_INIT("privileged"), S_INIT("baseline"), S_INIT("restricted")};
    if (!str_ends(label, S("-version"))) {
        for (size_t i = 0; i < countof(levels); i++)
            if (str_eq(value, levels[i]))
                return true;
        return false;
    }
    int64_t minor;
    return str_eq(value, S("latest")) ||
           (str_starts(value, S("v1.")) && str_to_i64(str_sub(value, 3, value.n), 0, INT32_MAX, &minor));
}

static void check_security_labels(const struct val *obj, struct field_errors *e)
{
    static const struct str labels[] = {
        S_INIT("pod-security.kubernetes.io/enforce"), S_INIT("pod-security.kubernetes.io/enforce-version"),
        S_INIT("pod-security.kubernetes.io/audit"),   S_INIT("pod-security.kubernetes.io/audit-version"),
        S_INIT("pod-security.kubernetes.io/warn"),    S_INIT("pod-security.kubernetes.io/warn-version"),
    };
    for (size_t i = 0; i < countof(labels); i++) {
        const struct val *v = val_get_str(val_at(obj, N(metadata), N(labels)), labels[i]);
        if (v && !security_value_fits(labels[i], val_text(v)))
            field_error_add(e, FE_INVALID, arena_fmt(e->arena, "metadata.labels[" STR_FMT "]", STR_ARG(labels[i])).p,
                            "Invalid value: \"" STR_FMT "\": must be %s", STR_ARG(val_text(v)),
                            i % 2 ? "\"latest\" or \"v1.x\"" : "one of privileged, baseline, restricted");
    }
}

/* Pods that are there and would not be let in any more, by what is wrong with them. */
struct violating {
    struct arena *a;
    struct security_policy policy;
    size_t looked;
    ARRAY(struct violation) list;
};
struct violation {
    struct str first, reason; /* by name, which is the order they come in */
    size_t n;
};

static bool pod_violates(struct obj *o, void *arg)
{
    struct violating *v = arg;
    AUTO(arena_fini) struct arena scratch = ARENA;
    struct security_finding found[SECURITY_FINDINGS_MAX];
    size_t n = security_check(&scratch, &v->policy, obj_meta(o), obj_spec(o), found);
    struct str reason = security_text(&scratch, found, n, false);
    struct violation *same = NULL;
    array_each (it, &v->list)
        if (str_eq(it->reason, reason))
            same = it;
    if (same)
        same->n++;
    else if (n)
        array_push(&v->list, ((struct violation){str_dup(v->a, o->name), str_dup(v->a, reason), 1}));
    return ++v->looked < PODS_MOST;
}

static int text_cmp(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static void pods_warn(struct admission *x, const struct security_policy *policy)
{
    struct arena *a = &x->r->arena;
    struct violating v = {.a = a, .policy = *policy};
    objects_each(x->r->server, K(Pod), x->name, pod_violates, &v);
    struct str *texts = arena_alloc(a, (v.list.n + 1) * sizeof *texts);
    for (size_t i = 0; i < v.list.n; i++) {
        const struct violation *it = &v.list.p[i];
        struct str others = it->n < 2    ? S("")
                            : it->n == 2 ? S(" (and 1 other pod)")
                                         : arena_fmt(a, " (and %zu other pods)", it->n - 1);
        texts[i] = STR_JOIN(a, it->first, others, S(": "), it->reason);
    }
    qsort(texts, v.list.n, sizeof *texts, text_cmp);
    if (v.looked == PODS_MOST)
        answer_warn(
            x->r, arena_fmt(a, "new PodSecurity enforce level only checked against the first %d of the existing pods",
                            PODS_MOST));
    if (v.list.n)
        answer_warn(x->r, arena_fmt(a,
                                    "existing pods in namespace \"" STR_FMT
                                    "\" violate the new PodSecurity enforce level \"" STR_FMT "\"",
                                    STR_ARG(x->name), STR_ARG(security_policy_text(a, policy))));
    for (size_t i = 0; i < v.list.n; i++)
        answer_warn(x->r, texts[i]);
    array_fini(&v.list);
}

/* A namespace whose labels were wrong before may be written on. */
bool admit_pod_security_labels(struct admission *x)
{
    AUTO(field_errors_fini) struct field_errors e = {.arena = &x->r->arena}, before = {.arena = &x->r->arena};
    if (x->sub.n)
        return true;
    check_security_labels(x->obj, &e);
    if (x->old)
        check_security_labels(x->old, &before);
    if (e.list.n && !before.list.n)
        return fail_invalid(x->r, S(""), S("Namespace"), x->name, &e);
    if (x->verb != VERB_UPDATE)
        return true;
    struct security_policy now = security_policy_of(val_at(x->obj, N(metadata), N(labels)), "enforce");
    struct security_policy was = security_policy_of(val_at(x->old, N(metadata), N(labels)), "enforce");
    if (now.level != SECURITY_PRIVILEGED && (now.minor != was.minor || now.level > was.level))
        pods_warn(x, &now);
    return true;
}
