/* strategy_pod.c - what the server sets in a new pod (its first status and class of service, selectors made of
 * matchLabelKeys), what an update of it or of one of its subresources may change, and how long its end may take.
 */
#include "api/quantity.h"
#include "api/strategy_int.h"
#include "base/clock.h"

static bool counts_for_qos(struct str resource)
{
    return str_eq(resource, S("cpu")) || str_eq(resource, S("memory"));
}

struct qos {
    struct arena a;
    struct str sums[2][2]; /* requests, limits; cpu, memory */
    bool guaranteed;
};

static size_t qos_add(struct qos *q, int way, const struct val *list)
{
    size_t found = 0;
    val_each_member (m, list) {
        if (!counts_for_qos(m->name->s) || quantity_cmp(val_text(&m->v), S("0")) <= 0)
            continue;
        struct str *sum = &q->sums[way][str_eq(m->name->s, S("memory"))];
        *sum = quantity_add(&q->a, sum->n ? *sum : S("0"), val_text(&m->v));
        found++;
    }
    return found;
}

struct str pod_qos_class(const struct val *pod)
{
    struct qos q = {.a = ARENA, .guaranteed = true};
    const struct val *spec = V(pod, spec), *own = V(spec, resources);
    if (val_len(V(own, requests)) + val_len(V(own, limits)) > 0) {
        qos_add(&q, 0, V(own, requests));
        q.guaranteed = qos_add(&q, 1, V(own, limits)) == 2;
    } else {
        const struct name *const lists[] = {N(containers), N(initContainers)};
        for (size_t i = 0; i < countof(lists); i++)
            val_each_item (c, val_get(spec, lists[i])) {
                qos_add(&q, 0, val_at(c, N(resources), N(requests)));
                q.guaranteed &= qos_add(&q, 1, val_at(c, N(resources), N(limits))) == 2;
            }
    }
    bool any = false;
    for (int r = 0; r < 2; r++) {
        any |= q.sums[0][r].n > 0 || q.sums[1][r].n > 0;
        q.guaranteed &= q.sums[0][r].n > 0 && q.sums[1][r].n > 0 && quantity_cmp(q.sums[0][r], q.sums[1][r]) == 0;
    }
    arena_fini(&q.a);
    return !any ? S("BestEffort") : q.guaranteed ? S("Guaranteed") : S("Burstable");
}

/* matchLabelKeys become requirements on the values that this pod has. */
static void merge_label_keys(struct arena *a, struct val *term, const struct val *labels, const struct name *keys,
                             const char *op)
{
    struct val *selector = MUT(term, labelSelector);
    if (!val_is(selector, VAL_MAP))
        return;
    val_each_item (key, val_get(term, keys)) {
        const struct val *value = val_get_str(labels, val_text(key));
        if (!value)
            continue;
        if (!val_is(V(selector, matchExpressions), VAL_LIST))
            val_set(a, selector, N(matchExpressions), val_list());
        struct val expression = val_map(), values = val_list();
        val_add(a, &values, *value);
        val_set(a, &expression, N(key), *key);
        val_set_text(a, &expression, N(operator), str_of(op));
        val_set(a, &expression, N(values), values);
        val_add(a, MUT(selector, matchExpressions), expression);
    }
}

/* A profile as annotations had it; false: it is none. */
static bool apparmor_of_annotation(struct arena *a, struct str text, struct val *out)
{
    static const struct str local = S_INIT("localhost/");
    bool is_local = str_starts(text, local);
    const char *type = str_eqz(text, "runtime/default") ? "RuntimeDefault"
                       : str_eqz(text, "unconfined")    ? "Unconfined"
                       : is_local                       ? "Localhost"
                                                        : NULL;
    struct str name = is_local ? str_sub(text, local.n, text.n) : S("");
    *out = val_map();
    if (!type || (is_local && (!name.n || str_trim(name).n != name.n || name.n > 4095)))
        return false;
    val_set_text(a, out, N(type), str_of(type));
    if (is_local)
        val_set_text(a, out, N(localhostProfile), name);
    return true;
}

/* Annotations from before the field become it, where it is not there and the pod's own says something else. */
static void apparmor_from_annotations(struct arena *a, const struct val *annotations, struct val *spec)
{
    const struct name *const lists[] = {N(initContainers), N(containers)};
    struct str os = val_text_at(spec, N(os), N(name));
    for (size_t i = 0; i < countof(lists) && val_len(annotations) && !str_eqz(os, "windows"); i++)
        each_mut (c, val_get_mut(spec, lists[i])) {
            struct str key = arena_fmt(a, "container.apparmor.security.beta.kubernetes.io/" STR_FMT,
                                       STR_ARG(val_text_at(c, N(name))));
            const struct val *note = val_get_str(annotations, key),
                             *whole = val_at(spec, N(securityContext), N(appArmorProfile));
            struct val profile;
            if (note && !val_at(c, N(securityContext), N(appArmorProfile)) &&
                apparmor_of_annotation(a, val_text(note), &profile) && !(whole && val_equal(&profile, whole)))
                val_set(a, val_need_map(a, c, N(securityContext)), N(appArmorProfile), profile);
        }
}

void strategy_create_pod(struct arena *a, struct val *v, int64_t now)
{
    struct val status = val_map(), *spec;
    val_set_text(a, &status, N(phase), S("Pending"));
    val_set_text(a, &status, N(qosClass), pod_qos_class(v));
    if (val_len(val_at(v, N(spec), N(schedulingGates))) > 0) {
        struct val condition = val_map(), list = val_list();
        val_set_text(a, &condition, N(type), S("PodScheduled"));
        val_set_text(a, &condition, N(status), S("False"));
        val_set_text(a, &condition, N(lastTransitionTime), time_text(a, now));
        val_set_text(a, &condition, N(reason), S("SchedulingGated"));
        val_set_text(a, &condition, N(message), S("Scheduling is blocked due to non-empty scheduling gates"));
        val_add(a, &list, condition);
        val_set(a, &status, N(conditions), list);
    }
    val_set(a, v, N(status), status);
    spec = val_need_map(a, v, N(spec)); /* not before: setting a member moves its siblings */
    const struct val *labels = val_at(v, N(metadata), N(labels));
    apparmor_from_annotations(a, val_at(v, N(metadata), N(annotations)), spec);
    const struct name *const affinities[] = {N(podAffinity), N(podAntiAffinity)};
    for (size_t i = 0; i < countof(affinities); i++) {
        struct val *affinity = val_get_mut(MUT(spec, affinity), affinities[i]);
        each_mut (term, MUT(affinity, requiredDuringSchedulingIgnoredDuringExecution)) {
            merge_label_keys(a, term, labels, N(matchLabelKeys), "In");
            merge_label_keys(a, term, labels, N(mismatchLabelKeys), "NotIn");
        }
        each_mut (weighted, MUT(affinity, preferredDuringSchedulingIgnoredDuringExecution)) {
            merge_label_keys(a, MUT(weighted, podAffinityTerm), labels, N(matchLabelKeys), "In");
            merge_label_keys(a, MUT(weighted, podAffinityTerm), labels, N(mismatchLabelKeys), "NotIn");
        }
    }
    each_mut (constraint, MUT(spec, topologySpreadConstraints))
        merge_label_keys(a, constraint, labels, N(matchLabelKeys), "In");
}

/* What is behind gates that are off. */
static void drop_gated_status(struct val *status)
{
    static const struct name *const lists[] = {N(containerStatuses), N(initContainerStatuses),
                                               N(ephemeralContainerStatuses)};
    val_del(status, N(nodeAllocatableResourceClaimStatuses));
    for (size_t i = 0; i < countof(lists); i++)
        each_mut (c, val_get_mut(status, lists[i]))
            each_mut (mount, MUT(c, volumeMounts))
                val_del(mount, N(volumeStatus));
}

/* Of the containers `wanted` only what a resize may change; but all of the list where it holds others, or in another
 * order: then the rules say so. */
static void resize_keep(struct arena *a, struct val *spec, const struct val *wanted, const struct name *list)
{
    const struct val *from = val_get(wanted, list), *have = val_get(spec, list);
    bool same = val_len(from) == val_len(have);
    for (size_t i = 0; same && i < val_len(have); i++)
        same = str_eq(TEXT(&from->list[i], name), TEXT(&have->list[i], name));
    if (!same) {
        member_keep(a, spec, wanted, list);
        return;
    }
    each_mut (c, val_get_mut(spec, list)) {
        const struct val *one = val_find(from, N(name), TEXT(c, name));
        member_keep(a, c, one, N(resources));
        member_keep(a, c, one, N(resizePolicy));
    }
}

void strategy_update_pod(struct arena *a, struct str sub, struct val *v, const struct val *old, int64_t now)
{
    (void)now;
    struct val wanted = *v;
    if (str_eq(sub, S("status"))) {
        struct val *meta = val_need_map(a, v, N(metadata)), *status = MUT(v, status);
        KEEP(a, meta, V(old, metadata), ownerReferences);
        drop_gated_status(status);
        if (val_is(status, VAL_MAP) && TEXT(status, qosClass).n == 0)
            member_keep(a, status, V(old, status), N(qosClass));
    } else if (str_eq(sub, S("ephemeralcontainers"))) {
        struct val *spec;
        *v = val_copy(a, old);
        spec = val_need_map(a, v, N(spec));
        member_keep(a, spec, V(&wanted, spec), N(ephemeralContainers));
        KEEP(a, val_need_map(a, v, N(metadata)), V(&wanted, metadata), resourceVersion);
    } else if (str_eq(sub, S("resize"))) {
        *v = val_copy(a, old);
        KEEP(a, val_need_map(a, v, N(metadata)), V(&wanted, metadata), resourceVersion);
        const struct name *const lists[] = {N(containers), N(initContainers)};
        for (size_t i = 0; i < countof(lists); i++)
            resize_keep(a, val_need_map(a, v, N(spec)), V(&wanted, spec), lists[i]);
        member_keep(a, val_need_map(a, v, N(spec)), V(&wanted, spec), N(resources));
    }
}

bool pod_has_ended(const struct val *pod)
{
    struct str phase = val_text_at(pod, N(status), N(phase));
    return str_eq(phase, S("Succeeded")) || str_eq(phase, S("Failed"));
}

int64_t kind_delete_grace(const struct kind *k, const struct val *tree, bool said, int64_t asked)
{
    if (k != K(Pod))
        return 0;
    int64_t grace = said ? asked : val_num_at(tree, 0, N(spec), N(terminationGracePeriodSeconds));
    if (val_text_at(tree, N(spec), N(nodeName)).n == 0 || pod_has_ended(tree))
        grace = 0;
    return grace < 0 ? 1 : grace;
}
