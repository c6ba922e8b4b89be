/* validate_pod_update.c - what an update of a pod may change, and its status (ValidatePodUpdate and its kin, in
 * pkg/apis/core/validation of upstream).
 *
 * An update is judged by what remains different. A copy of the new spec gets back from the old one every field that
 * may change, each after its own check (images, deadline, tolerations, scheduling gates; node selector and node
 * affinity while the pod is gated, narrower only); if it still differs, that is the error, with the difference in
 * its text. Ephemeral containers and resizes come by subresources with rules of their own.
 */
#include "api/rules_int.h"
#include "api/strategy.h"

/* True: no use to look further. */
static bool containers_changed(ERRS, const struct val *now, const struct val *old)
{
    if (val_len(now) != val_len(old)) {
        bad_forbidden(e, at, "pod updates may not add or remove containers");
        return true;
    }
    each (c, now) {
        const struct at *here = ITEM(at, INDEX(now, c));
        struct str image = TEXT(c, image);
        REQUIRED(e, here, c, image);
        if (str_trim(image).n != image.n)
            bad_text(e, AT(here, "image"), image, "must not have leading or trailing whitespace");
    }
    return false;
}

static bool same_but_seconds(struct arena *a, const struct val *x, const struct val *y)
{
    struct val p = val_copy(a, x), q = val_copy(a, y);
    val_del(&p, N(tolerationSeconds));
    val_del(&q, N(tolerationSeconds));
    return val_unchanged(&p, &q);
}

static void check_tolerations_update(ERRS, const struct val *now, const struct val *old)
{
    each (before, old) {
        bool there = false;
        each (t, now)
            there |= same_but_seconds(e->arena, t, before) &&
                     (val_unchanged(t, before) || str_eq(TEXT(t, effect), S("NoExecute")));
        if (!there)
            return bad_forbidden(e, at, "existing toleration can not be modified except its tolerationSeconds");
    }
    if (val_len(now) > 0)
        check_tolerations(e, at, now);
}

static void copy_members(struct arena *a, struct val *spec, const struct val *from, const struct name *list,
                         const struct name *field)
{
    struct val *containers = val_get_mut(spec, list);
    const struct val *old = val_get(from, list);
    for (size_t i = 0; i < val_len(containers) && i < val_len(old); i++) {
        const struct val *v = val_get(&old->list[i], field);
        if (v)
            val_set(a, &containers->list[i], field, *v);
        else
            val_del(&containers->list[i], field);
    }
}

static void take_member(struct arena *a, struct val *spec, const struct val *from, const struct name *field)
{
    const struct val *v = val_get(from, field);
    if (v)
        val_set(a, spec, field, *v);
    else
        val_del(spec, field);
}

static bool list_covers(const struct val *now, const struct val *old)
{
    val_each_member (m, old)
        if (!val_unchanged(val_get(now, m->name), &m->v))
            return false;
    return true;
}

/* While a pod is gated its node affinity may become narrower: requirements may be added to each term, not taken. */
static bool affinity_narrowed(const struct val *now, const struct val *old)
{
    const struct val *mine = V(V(V(now, nodeAffinity), requiredDuringSchedulingIgnoredDuringExecution),
                               nodeSelectorTerms);
    const struct val *was = V(V(V(old, nodeAffinity), requiredDuringSchedulingIgnoredDuringExecution),
                              nodeSelectorTerms);
    if (val_len(was) == 0)
        return true;
    if (val_len(was) != val_len(mine))
        return false;
    for (size_t i = 0; i < val_len(was); i++) {
        static const struct name *const lists[] = {N(matchExpressions), N(matchFields)};
        for (size_t l = 0; l < countof(lists); l++) {
            const struct val *x = val_get(&mine->list[i], lists[l]), *y = val_get(&was->list[i], lists[l]);
            if (val_len(x) < val_len(y))
                return false;
            for (size_t j = 0; j < val_len(y); j++)
                if (!val_unchanged(&x->list[j], &y->list[j]))
                    return false;
        }
    }
    return true;
}

void check_pod_update(struct field_errors *e, const struct val *v, const struct val *old)
{
    const struct at *at = AT(NULL, "spec");
    const struct val *spec = V(v, spec), *was = V(old, spec), *gates = V(spec, schedulingGates);
    const struct val *deadline = V(spec, activeDeadlineSeconds), *deadline_was = V(was, activeDeadlineSeconds);
    struct arena *a = e->arena;
    check_pod(e, v);
    if (containers_changed(e, AT(at, "containers"), V(spec, containers), V(was, containers)) ||
        containers_changed(e, AT(at, "initContainers"), V(spec, initContainers), V(was, initContainers)))
        return;
    if (val_is(deadline, VAL_INT)) {
        if (deadline->i < 0 || deadline->i > INT32_MAX)
            return check_range(e, AT(at, "activeDeadlineSeconds"), deadline, 0, INT32_MAX);
        if (val_is(deadline_was, VAL_INT) && deadline_was->i < deadline->i)
            return bad_num(e, AT(at, "activeDeadlineSeconds"), deadline->i,
                           "must be less than or equal to previous value");
    } else if (val_is(deadline_was, VAL_INT)) {
        bad_value(e, AT(at, "activeDeadlineSeconds"), NULL, "must not update from a positive integer to nil value");
    }
    check_tolerations_update(e, AT(at, "tolerations"), V(spec, tolerations), V(was, tolerations));
    each (gate, gates)
        if (!val_find(V(was, schedulingGates), N(name), TEXT(gate, name)))
            bad_forbidden(e, AT(ITEM(AT(at, "schedulingGates"), INDEX(gates, gate)), "name"),
                          "only deletion is allowed, but found new scheduling gate '" STR_FMT "'",
                          STR_ARG(TEXT(gate, name)));
    if (val_unchanged(spec, was))
        return;
    struct val munged = val_copy(a, spec);
    copy_members(a, &munged, was, N(containers), N(image));
    copy_members(a, &munged, was, N(initContainers), N(image));
    take_member(a, &munged, was, N(activeDeadlineSeconds));
    take_member(a, &munged, was, N(tolerations));
    take_member(a, &munged, was, N(schedulingGates));
    if (NUM(was, terminationGracePeriodSeconds) < 0 && NUM(spec, terminationGracePeriodSeconds) == 1)
        take_member(a, &munged, was, N(terminationGracePeriodSeconds));
    if (val_len(V(was, schedulingGates)) > 0) {
        if (!val_unchanged(V(spec, nodeSelector), V(was, nodeSelector))) {
            if (!list_covers(V(spec, nodeSelector), V(was, nodeSelector)))
                bad_value(e, AT(at, "nodeSelector"), V(spec, nodeSelector),
                          "only additions to spec.nodeSelector are allowed (no mutations or deletions)");
            take_member(a, &munged, was, N(nodeSelector));
        }
        if (!val_unchanged(V(V(spec, affinity), nodeAffinity), V(V(was, affinity), nodeAffinity))) {
            if (!affinity_narrowed(V(spec, affinity), V(was, affinity)))
                bad_value(e,
                          AT(AT(AT(AT(AT(at, "affinity"), "nodeAffinity"),
                                   "requiredDuringSchedulingIgnoredDuringExecution"),
                                "nodeSelectorTerms"),
                             "matchExpressions"),
                          NULL, "only additions are allowed (no mutations or deletions)");
            if (is_set(V(was, affinity)))
                take_member(a, val_need_map(a, &munged, N(affinity)), V(was, affinity), N(nodeAffinity));
            else
                val_del(&munged, N(affinity));
        }
    }
    if (!val_unchanged(&munged, was))
        bad_forbidden(
            e, at,
            "pod updates may not change fields other than "
            "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
            "`spec.tolerations` (only additions to existing tolerations),"
            "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n" STR_FMT,
            STR_ARG(val_changes(a, was, &munged)));
}

void check_ephemeral_update(struct field_errors *e, const struct val *v, const struct val *old)
{
    const struct at *at = AT(AT(NULL, "spec"), "ephemeralContainers");
    const struct val *list = V(V(v, spec), ephemeralContainers), *was = V(V(old, spec), ephemeralContainers);
    AUTO(pod_rules_fini) struct pod_rules p = pod_rules_of(true, V(v, metadata), V(v, spec));
    struct field_errors ignored = {.arena = e->arena};
    check_volumes(&ignored, AT(AT(NULL, "spec"), "volumes"), &p, V(p.spec, volumes));
    field_errors_fini(&ignored);
    check_ephemeral_containers(e, at, &p, list);
    each (before, was) {
        const struct val *now = val_find(list, N(name), TEXT(before, name));
        if (!now)
            bad_forbidden(e, at, "existing ephemeral containers \"" STR_FMT "\" may not be removed\n",
                          STR_ARG(TEXT(before, name)));
        else if (!val_unchanged(now, before))
            bad_forbidden(e, at, "existing ephemeral containers \"" STR_FMT "\" may not be changed\n" STR_FMT,
                          STR_ARG(TEXT(before, name)), STR_ARG(val_changes(e->arena, before, now)));
    }
}

/* --- resize: what may change of resources ----------------------------------------------------------------------- */

static bool any_removed(const struct val *now, const struct val *old)
{
    val_each_member (m, old)
        if (!val_get(now, m->name))
            return true;
    return false;
}

static bool others_same(const struct val *now, const struct val *old)
{
    val_each_member (m, now)
        if (!str_eq(m->name->s, S("cpu")) && !str_eq(m->name->s, S("memory")) &&
            !val_unchanged(&m->v, val_get(old, m->name)))
            return false;
    return true;
}

/* Beside cpu and memory nothing is another one. */
static bool resources_same(const struct val *now, const struct val *old)
{
    const struct name *const lists[] = {N(requests), N(limits)};
    for (size_t i = 0; i < countof(lists); i++)
        if (!others_same(val_get(now, lists[i]), val_get(old, lists[i])) ||
            !others_same(val_get(old, lists[i]), val_get(now, lists[i])))
            return false;
    return val_unchanged(V(now, claims), V(old, claims));
}

static void check_removed(ERRS, const struct val *now, const struct val *old)
{
    if (any_removed(V(now, requests), V(old, requests)))
        bad_forbidden(e, AT(at, "requests"), "resource requests cannot be removed");
    if (any_removed(V(now, limits), V(old, limits)))
        bad_forbidden(e, AT(at, "limits"), "resource limits cannot be removed");
}

/* Whoever renames containers or changes their order means others than those that are there. */
static bool check_resize_order(ERRS, const char *list, const struct val *now, const struct val *old)
{
    bool same = val_len(now) == val_len(old);
    if (!same)
        bad_forbidden(e, AT(at, list), "%s may not be added or removed on resize", list);
    for (size_t i = 0; same && i < val_len(now); i++)
        if (!str_eq(TEXT(&now->list[i], name), TEXT(&old->list[i], name)))
            bad_forbidden(e, AT(ITEM(AT(at, list), i), "name"), "%s may not be renamed or reordered on resize", list);
    for (size_t i = 0; same && i < val_len(now); i++)
        same = str_eq(TEXT(&now->list[i], name), TEXT(&old->list[i], name));
    return same;
}

static void check_resize_removed(ERRS, const struct val *now, const struct val *old)
{
    for (size_t i = 0; i < val_len(now); i++)
        check_removed(e, AT(ITEM(at, i), "resources"), V(&now->list[i], resources), V(&old->list[i], resources));
}

static bool resize_restarts(const struct val *c)
{
    each (policy, V(c, resizePolicy))
        if (str_eq(TEXT(policy, restartPolicy), S("RestartContainer")))
            return true;
    return false;
}

static void check_resize_mutable(ERRS, const struct val *now, const struct val *old, bool init)
{
    for (size_t i = 0; i < val_len(now); i++) {
        const struct val *c = &now->list[i], *was = &old->list[i];
        const struct at *here = init ? ITEM(AT(at, "initContainers"), i) : at;
        if (!resources_same(V(c, resources), V(was, resources)) ||
            !val_unchanged(V(c, resizePolicy), V(was, resizePolicy)))
            bad_forbidden(e, here, "only cpu and memory resources %sare mutable",
                          init ? "for init or sidecar containers " : "");
        if (init && !val_unchanged(c, was) && !str_eq(TEXT(c, restartPolicy), S("Always")) && resize_restarts(c))
            bad_forbidden(e, here,
                          "non-sidecar init containers with a resize policy of RestartContainer cannot be resized");
    }
}

/* A node that knows of resizing tells what a running container has. */
static bool node_resizes(const struct val *pod)
{
    each (c, V(V(pod, status), containerStatuses))
        if (HAS(V(c, state), running))
            return V(c, resources) != NULL;
    return true;
}

void check_resize(struct field_errors *e, const struct val *v, const struct val *old)
{
    const struct at *at = AT(NULL, "spec");
    const struct val *spec = V(v, spec), *was = V(old, spec);
    struct str qos = pod_qos_class(old);
    if (val_get_str(V(V(old, metadata), annotations), S("kubernetes.io/config.mirror"))) {
        bad_forbidden(e, NULL, "static pods cannot be resized");
        return;
    }
    if (str_eq(val_text_at(was, N(os), N(name)), S("windows"))) {
        bad_forbidden(e, NULL, "windows pods cannot be resized");
        return;
    }
    check_pod(e, v);
    if (!str_eq(qos, pod_qos_class(v)))
        bad_text(e, at, qos, "Pod QOS Class may not change as a result of resizing");
    if (!node_resizes(old))
        bad_forbidden(e, at, "Pod running on node without support for resize");
    check_removed(e, AT(at, "resources"), V(spec, resources), V(was, resources));
    bool same = check_resize_order(e, at, "containers", V(spec, containers), V(was, containers));
    if (!check_resize_order(e, at, "initContainers", V(spec, initContainers), V(was, initContainers)) || !same)
        return; /* the rest looks at them one by one */
    check_resize_removed(e, AT(at, "initContainers"), V(spec, initContainers), V(was, initContainers));
    check_resize_removed(e, AT(at, "containers"), V(spec, containers), V(was, containers));
    check_resize_mutable(e, at, V(spec, containers), V(was, containers), false);
    check_resize_mutable(e, at, V(spec, initContainers), V(was, initContainers), true);
    if (!resources_same(V(spec, resources), V(was, resources)))
        bad_forbidden(e, at, "only cpu and memory resources are mutable");
}

static void check_ips(ERRS, const struct val *ips, struct str single, const char *of)
{
    size_t families[2] = {0, 0};
    each (ip, ips) {
        const struct at *here = ITEM(at, INDEX(ips, ip));
        struct str s = TEXT(ip, ip);
        if (of && ip == ips->list && !str_eq(single, s))
            bad_text(e, AT(here, "ip"), s, "must be equal to `%s`", of);
        check_format(e, here, s, format_ip);
        families[is_ip6(s)] += is_ip(s);
    }
    if (families[0] > 1 || families[1] > 1)
        bad_struct(e, at, type_field(T(core_v1_PodStatus), of ? N(hostIPs) : N(podIPs))->type, ips,
                   "may specify no more than one IP for each IP family");
}

static bool may_restart(const struct val *spec, const struct val *status)
{
    const struct val *c = val_find(V(spec, containers), N(name), TEXT(status, name));
    struct str own = TEXT(c, restartPolicy), pod = TEXT(spec, restartPolicy);
    int64_t code = val_num_at(status, 0, N(state), N(terminated), N(exitCode));
    if (val_len(V(c, restartPolicyRules)) > 0)
        return true;
    struct str policy = own.n ? own : pod;
    return str_eq(policy, S("Always")) || (str_eq(policy, S("OnFailure")) && code != 0);
}

/* Some container has a rule by which all of them begin anew. */
static bool may_restart_all(const struct val *spec)
{
    const struct val *const lists[] = {V(spec, initContainers), V(spec, containers)};
    for (size_t i = 0; i < countof(lists); i++)
        each (c, lists[i])
            each (rule, V(c, restartPolicyRules))
                if (str_eqz(TEXT(rule, action), "RestartAllContainers"))
                    return true;
    return false;
}

static void check_state_transition(ERRS, const struct val *now, const struct val *old, const struct val *spec)
{
    if (str_eq(TEXT(spec, restartPolicy), S("Always")) || may_restart_all(spec))
        return;
    each (before, old) {
        if (!HAS(V(before, state), terminated) || may_restart(spec, before))
            continue;
        const struct val *mine = val_find(now, N(name), TEXT(before, name));
        if (mine && !HAS(V(mine, state), terminated))
            bad_forbidden(e, AT(ITEM(at, INDEX(now, mine)), "state"),
                          "may not be transitioned to non-terminated state");
    }
}

void check_pod_status(struct field_errors *e, const struct val *v, const struct val *old)
{
    const struct at *at = AT(NULL, "status");
    const struct val *s = V(v, status), *was = V(old, status), *conditions = V(s, conditions);
    if (!str_eq(val_text_at(v, N(spec), N(nodeName)), val_text_at(old, N(spec), N(nodeName))))
        bad_forbidden(e, AT(at, "nodeName"), "may not be changed directly");
    FORMAT_IF_SET(e, at, s, nominatedNodeName, format_dns1123_subdomain);
    each (c, conditions)
        check_format(e, AT(ITEM(AT(at, "conditions"), INDEX(conditions, c)), "Type"), TEXT(c, type),
                     format_qualified_name);
    IMMUTABLE(e, at, s, was, qosClass);
    check_state_transition(e, AT(at, "containerStatuses"), V(s, containerStatuses), V(was, containerStatuses),
                           V(v, spec));
    check_ips(e, AT(at, "podIPs"), V(s, podIPs), S(""), NULL);
    check_ips(e, AT(at, "hostIPs"), V(s, hostIPs), TEXT(s, hostIP), "hostIP");
}
