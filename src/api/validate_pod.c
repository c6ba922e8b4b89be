/* validate_pod.c - the specification of pods, in pods and templates; what an update of a pod may change; its status
 * (ValidatePodSpec, ValidatePodUpdate and their kin, in pkg/apis/core/validation of upstream).
 *
 * check_pod_spec is the order in which upstream looks, and so the order of the complaints. Volumes come first,
 * because mounts may only name volumes that passed (pod_rules.volumes).
 *
 * An update is judged by what remains different. A copy of the new spec gets back from the old one every field that
 * may change, each after its own check (images, deadline, tolerations, scheduling gates; node selector and node
 * affinity while the pod is gated, narrower only); if it still differs, that is the error, with the difference in
 * its text. Ephemeral containers and resizes come by subresources with rules of their own.
 *
 * What costs the square of a list is counted (work_do) or goes by hash, as a pod may have tens of thousands of
 * elements in a body that is still allowed.
 */
#include "api/quantity.h"
#include "api/rules_int.h"
#include "api/strategy.h"

#define WINDOWS_FORBIDDEN "cannot be set for a windows pod"

static void check_claims_of_pod(ERRS, const struct val *claims)
{
    AUTO(seen_fini) struct seen seen = SEEN;
    each (claim, claims) {
        const struct at *here = ITEM(at, INDEX(claims, claim));
        struct str name = TEXT(claim, name);
        if (name.n == 0) {
            bad_required(e, AT(here, "name"), "");
        } else {
            if (seen_before(&seen, name))
                bad_duplicate(e, AT(here, "name"), name);
            check_format(e, AT(here, "name"), name, format_dns1123_label);
        }
        bool own = HAS(claim, resourceClaimName), template = HAS(claim, resourceClaimTemplateName);
        if (own && template)
            bad_struct(e, here, T(core_v1_PodResourceClaim), claim,
                       "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified");
        if (!own && !template)
            bad_struct(e, here, T(core_v1_PodResourceClaim), claim,
                       "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`");
        if (own)
            check_format(e, AT(here, "resourceClaimName"), TEXT(claim, resourceClaimName), format_dns1123_subdomain);
        if (template)
            check_format(e, AT(here, "resourceClaimTemplateName"), TEXT(claim, resourceClaimTemplateName),
                         format_dns1123_subdomain);
    }
}

/* A pod's own requests cover those of its containers, and no container has more than the pod. */
static void check_pod_resources(ERRS, const struct val *spec)
{
    const struct val *own = V(spec, resources), *containers = V(spec, containers);
    if (!is_set(own))
        return;
    AUTO(named_fini) struct named claims = named_of(V(spec, resourceClaims), N(name));
    check_resources(e, at, own, &claims, true);
    val_each_member (m, V(own, requests)) {
        if (!work_do(8 * val_len(containers)))
            return;
        struct str sum = S("0");
        bool any = false;
        each (c, containers) {
            const struct val *request = val_get(V(V(c, resources), requests), m->name);
            any |= request != NULL;
            sum = quantity_add(e->arena, sum, val_text(request));
        }
        if (any && quantity_cmp(sum, val_text(&m->v)) > 0)
            bad_text(e, KEY(AT(at, "requests"), m->name->s), val_text(&m->v),
                     "must be greater than or equal to aggregate container requests of " STR_FMT, STR_ARG(sum));
    }
    val_each_member (m, V(own, limits)) {
        if (!work_do(8 * val_len(containers)))
            return;
        each (c, containers) {
            const struct val *limit = val_get(V(V(c, resources), limits), m->name);
            if (limit && quantity_cmp(val_text(limit), val_text(&m->v)) > 0)
                bad_text(e, AT(KEY(ITEM(AT(at, "containers"), INDEX(containers, c)), m->name->s), "limits"),
                         val_text(limit), "must be less than or equal to pod limits of " STR_FMT,
                         STR_ARG(val_text(&m->v)));
        }
    }
}

static bool sysctl_ok(struct str s)
{
    bool start = true;
    if (s.n == 0 || s.n > 253)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        bool last = i + 1 == s.n || s.p[i + 1] == '.' || s.p[i + 1] == '/';
        if (c == '.' || c == '/') {
            if (start || i + 1 == s.n)
                return false;
            start = true;
            continue;
        }
        if (!alnum && (start || last || (c != '-' && c != '_')))
            return false;
        start = false;
    }
    return true;
}

static void check_sysctls(ERRS, const struct val *list)
{
    AUTO(seen_fini) struct seen seen = SEEN;
    each (sysctl, list) {
        const struct at *here = AT(ITEM(at, INDEX(list, sysctl)), "name");
        struct str name = TEXT(sysctl, name);
        if (name.n == 0)
            bad_required(e, here, "");
        else if (!sysctl_ok(name))
            bad_text(e, here, name,
                     "must have at most 253 characters and match regex "
                     "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$");
        else if (seen_before(&seen, name))
            bad_duplicate(e, here, name);
    }
}

static void check_pod_security(ERRS, const struct val *c, const struct val *spec)
{
    const struct val *groups = V(c, supplementalGroups), *containers = V(spec, containers);
    if (val_true(V(spec, hostNetwork)))
        each (container, containers) {
            const struct val *ports = V(container, ports);
            each (port, ports)
                if (NUM(port, hostPort) != 0 && NUM(port, hostPort) != NUM(port, containerPort))
                    bad_num(e,
                            AT(ITEM(AT(ITEM(AT(at->up, "containers"), INDEX(containers, container)), "ports"),
                                    INDEX(ports, port)),
                               "hostPort"),
                            NUM(port, hostPort), "must match `containerPort` when `hostNetwork` is true");
        }
    check_range(e, AT(at, "fsGroup"), V(c, fsGroup), 0, 2147483647);
    check_range(e, AT(at, "runAsUser"), V(c, runAsUser), 0, 2147483647);
    check_range(e, AT(at, "runAsGroup"), V(c, runAsGroup), 0, 2147483647);
    each (group, groups)
        check_range(e, ITEM(AT(at, "supplementalGroups"), INDEX(groups, group)), group, 0, 2147483647);
    if (val_true(V(spec, shareProcessNamespace)) && val_true(V(spec, hostPID)))
        bad_value(e, AT(at->up, "shareProcessNamespace"), V(spec, shareProcessNamespace),
                  "ShareProcessNamespace and HostPID cannot both be enabled");
    check_sysctls(e, AT(at, "sysctls"), V(c, sysctls));
    if (HAS(c, fsGroupChangePolicy))
        check_enum(e, AT(at, "fsGroupChangePolicy"), TEXT(c, fsGroupChangePolicy), "Always", "OnRootMismatch");
    check_seccomp(e, AT(at, "seccompProfile"), V(c, seccompProfile));
    check_windows_options(e, AT(at, "windowsOptions"), V(c, windowsOptions));
    check_apparmor(e, AT(at, "appArmorProfile"), V(c, appArmorProfile));
    if (HAS(c, supplementalGroupsPolicy))
        check_enum(e, AT(at, "supplementalGroupsPolicy"), TEXT(c, supplementalGroupsPolicy), "Merge", "Strict");
    if (HAS(c, seLinuxChangePolicy))
        check_enum(e, AT(at, "seLinuxChangePolicy"), TEXT(c, seLinuxChangePolicy), "Recursive");
}

/* Affinity. */

static void check_node_term(ERRS, const struct val *term)
{
    const struct val *expressions = V(term, matchExpressions), *fields = V(term, matchFields);
    each (x, expressions) {
        const struct at *here = ITEM(AT(at, "matchExpressions"), INDEX(expressions, x));
        struct str op = TEXT(x, operator);
        const struct val *values = V(x, values);
        size_t n = val_len(values);
        if (str_eq(op, S("In")) || str_eq(op, S("NotIn"))) {
            if (n == 0)
                bad_required(e, AT(here, "values"), "must be specified when `operator` is 'In' or 'NotIn'");
        } else if (str_eq(op, S("Exists")) || str_eq(op, S("DoesNotExist"))) {
            if (n > 0)
                bad_forbidden(e, AT(here, "values"),
                              "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        } else if (str_eq(op, S("Gt")) || str_eq(op, S("Lt"))) {
            if (n != 1)
                bad_required(e, AT(here, "values"), "must be specified single value when `operator` is 'Lt' or 'Gt'");
        } else {
            bad_text(e, AT(here, "operator"), op, "not a valid selector operator");
        }
        check_format(e, AT(here, "key"), TEXT(x, key), format_qualified_name);
        each (value, values)
            check_format(e, ITEM(AT(here, "values"), INDEX(values, value)), val_text(value), format_label_value);
    }
    each (x, fields) {
        const struct at *here = ITEM(AT(at, "matchFields"), INDEX(fields, x));
        struct str op = TEXT(x, operator);
        const struct val *values = V(x, values);
        if (!str_eq(op, S("In")) && !str_eq(op, S("NotIn")))
            bad_text(e, AT(here, "operator"), op, "not a valid selector operator");
        else if (val_len(values) != 1)
            bad_required(e, AT(here, "values"),
                         "must be only one value when `operator` is 'In' or 'NotIn' for node field selector");
        if (!str_eq(TEXT(x, key), S("metadata.name")))
            bad_text(e, AT(here, "key"), TEXT(x, key), "not a valid field selector key");
        else
            each (value, values)
                check_format(e, ITEM(AT(here, "values"), INDEX(values, value)), val_text(value),
                             format_dns1123_subdomain);
    }
}

void check_node_selector(ERRS, const struct val *selector)
{
    const struct val *terms = V(selector, nodeSelectorTerms);
    if (val_len(terms) == 0)
        return bad_required(e, AT(at, "nodeSelectorTerms"), "must have at least one node selector term");
    each (term, terms)
        check_node_term(e, ITEM(AT(at, "nodeSelectorTerms"), INDEX(terms, term)), term);
}

static void check_label_keys(ERRS, const struct val *keys, const struct val *selector)
{
    if (val_len(keys) == 0)
        return;
    if (!is_set(selector))
        return bad_forbidden(e, at, "must not be specified when labelSelector is not set");
    each (key, keys)
        check_format(e, ITEM(at, INDEX(keys, key)), val_text(key), format_qualified_name);
}

static void check_affinity_term(ERRS, const struct val *term)
{
    const struct val *keys = V(term, matchLabelKeys), *others = V(term, mismatchLabelKeys);
    check_label_selector(e, AT(at, "labelSelector"), V(term, labelSelector));
    check_label_selector(e, AT(at, "namespaceSelector"), V(term, namespaceSelector));
    each (ns, V(term, namespaces))
        check_format(e, AT(at, "namespace"), val_text(ns), format_dns1123_label);
    check_label_keys(e, AT(at, "matchLabelKeys"), keys, V(term, labelSelector));
    check_label_keys(e, AT(at, "mismatchLabelKeys"), others, V(term, labelSelector));
    each (key, keys)
        each (other, others)
            if (str_eq(val_text(key), val_text(other)))
                bad_text(e, ITEM(AT(at, "matchLabelKeys"), INDEX(keys, key)), val_text(key),
                         "exists in both matchLabelKeys and mismatchLabelKeys");
    if (TEXT(term, topologyKey).n == 0)
        bad_required(e, AT(at, "topologyKey"), "can not be empty");
    check_format(e, AT(at, "topologyKey"), TEXT(term, topologyKey), format_qualified_name);
}

static void check_weight(ERRS, const struct val *term)
{
    int64_t weight = NUM(term, weight);
    if (weight <= 0 || weight > 100)
        bad_num(e, AT(at, "weight"), weight, "must be in the range 1-100");
}

static void check_pod_affinity(ERRS, const struct val *affinity)
{
    const struct val *required = V(affinity, requiredDuringSchedulingIgnoredDuringExecution);
    const struct val *preferred = V(affinity, preferredDuringSchedulingIgnoredDuringExecution);
    each (term, required)
        check_affinity_term(e, ITEM(AT(at, "requiredDuringSchedulingIgnoredDuringExecution"), INDEX(required, term)),
                            term);
    each (term, preferred) {
        const struct at *here = ITEM(AT(at, "preferredDuringSchedulingIgnoredDuringExecution"),
                                     INDEX(preferred, term));
        check_weight(e, here, term);
        check_affinity_term(e, AT(here, "podAffinityTerm"), V(term, podAffinityTerm));
    }
}

static void check_affinity(ERRS, const struct val *affinity)
{
    const struct val *node = V(affinity, nodeAffinity);
    const struct val *required = V(node, requiredDuringSchedulingIgnoredDuringExecution);
    const struct val *preferred = V(node, preferredDuringSchedulingIgnoredDuringExecution);
    const struct at *here = AT(at, "nodeAffinity");
    if (is_set(required))
        check_node_selector(e, AT(here, "requiredDuringSchedulingIgnoredDuringExecution"), required);
    each (term, preferred) {
        const struct at *place = ITEM(AT(here, "preferredDuringSchedulingIgnoredDuringExecution"),
                                      INDEX(preferred, term));
        check_weight(e, place, term);
        check_node_term(e, AT(place, "preference"), V(term, preference));
    }
    check_pod_affinity(e, AT(at, "podAffinity"), V(affinity, podAffinity));
    check_pod_affinity(e, AT(at, "podAntiAffinity"), V(affinity, podAntiAffinity));
}

static void check_spread(ERRS, const struct val *list)
{
    AUTO(map_fini) struct map last = MAP;
    each (c, list)
        (void)map_put(&last,
                      arena_fmt(e->arena, "{" STR_FMT ", " STR_FMT "}", STR_ARG(TEXT(c, topologyKey)),
                                STR_ARG(TEXT(c, whenUnsatisfiable))),
                      (void *)(uintptr_t)c);
    each (c, list) {
        const struct at *here = ITEM(at, INDEX(list, c));
        struct str when = TEXT(c, whenUnsatisfiable), key = TEXT(c, topologyKey);
        if (NUM(c, maxSkew) <= 0)
            bad_num(e, AT(here, "maxSkew"), NUM(c, maxSkew), "must be greater than zero");
        if (key.n == 0)
            bad_required(e, AT(here, "topologyKey"), "can not be empty");
        check_enum(e, AT(here, "whenUnsatisfiable"), when, "DoNotSchedule", "ScheduleAnyway");
        struct str pair = arena_fmt(e->arena, "{" STR_FMT ", " STR_FMT "}", STR_ARG(key), STR_ARG(when));
        if (map_get(&last, pair) != c) /* told of all but the last */
            bad_duplicate(e, AT(here, "{topologyKey, whenUnsatisfiable}"), pair);
        if (HAS(c, minDomains)) {
            if (NUM(c, minDomains) <= 0)
                bad_num(e, AT(here, "minDomains"), NUM(c, minDomains), "must be greater than zero");
            if (str_eq(when, S("ScheduleAnyway")))
                bad_num(e, AT(here, "minDomains"), NUM(c, minDomains),
                        "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway");
        }
        if (HAS(c, nodeAffinityPolicy))
            check_enum(e, AT(here, "nodeAffinityPolicy"), TEXT(c, nodeAffinityPolicy), "Honor", "Ignore");
        if (HAS(c, nodeTaintsPolicy))
            check_enum(e, AT(here, "nodeTaintsPolicy"), TEXT(c, nodeTaintsPolicy), "Honor", "Ignore");
        check_label_keys(e, AT(here, "matchLabelKeys"), V(c, matchLabelKeys), V(c, labelSelector));
        check_label_selector(e, AT(here, "labelSelector"), V(c, labelSelector));
    }
}

void check_tolerations(ERRS, const struct val *list)
{
    each (t, list) {
        const struct at *here = ITEM(at, INDEX(list, t));
        struct str key = TEXT(t, key), op = TEXT(t, operator), value = TEXT(t, value), effect = TEXT(t, effect);
        FORMAT_IF_SET(e, here, t, key, format_qualified_name);
        if (key.n == 0 && !str_eq(op, S("Exists")))
            bad_text(e, AT(here, "operator"), op,
                     "operator must be Exists when `key` is empty, which means \"match all values and all keys\"");
        if (HAS(t, tolerationSeconds) && !str_eq(effect, S("NoExecute")))
            bad_text(e, AT(here, "effect"), effect, "effect must be 'NoExecute' when `tolerationSeconds` is set");
        if (op.n == 0 || str_eq(op, S("Equal"))) {
            check_format(e, AT(here, "operator"), value, format_label_value);
        } else if (str_eq(op, S("Exists"))) {
            if (value.n > 0)
                bad_text(e, AT(here, "operator"), value, "value must be empty when `operator` is 'Exists'");
        } else {
            bad_enum(e, AT(here, "operator"), op, SET("Equal", "Exists"));
        }
        if (effect.n > 0)
            check_enum(e, AT(here, "effect"), effect, "NoSchedule", "PreferNoSchedule", "NoExecute");
    }
}

static void check_dns(ERRS, const struct val *config, struct str policy)
{
    const struct val *servers = V(config, nameservers), *searches = V(config, searches),
                     *options = V(config, options);
    if (str_eq(policy, S("None"))) {
        if (!is_set(config))
            return bad_required(e, at, "must provide `dnsConfig` when `dnsPolicy` is None");
        if (val_len(servers) == 0)
            return bad_required(e, AT(at, "nameservers"),
                                "must provide at least one DNS nameserver when `dnsPolicy` is None");
    }
    if (val_len(servers) > 3)
        bad_value(e, AT(at, "nameservers"), servers, "must not have more than 3 nameservers");
    each (server, servers)
        check_format(e, ITEM(AT(at, "nameservers"), INDEX(servers, server)), val_text(server), format_ip);
    if (val_len(searches) > 32)
        bad_value(e, AT(at, "searches"), searches, "must not have more than 32 search paths");
    size_t total = val_len(searches) ? val_len(searches) - 1 : 0;
    each (search, searches)
        total += search->n;
    if (total > 2048)
        bad_value(e, AT(at, "searches"), searches,
                  "must not have more than 2048 characters (including spaces) in the search list");
    each (search, searches) {
        struct str s = val_text(search);
        if (str_eq(s, S(".")))
            continue;
        if (str_ends(s, S(".")))
            s.n--;
        check_format(e, ITEM(AT(at, "searches"), INDEX(searches, search)), s, format_dns1123_subdomain_underscore);
    }
    each (option, options)
        if (TEXT(option, name).n == 0)
            bad_required(e, ITEM(AT(at, "options"), INDEX(options, option)), "must not be empty");
}

static void check_gates(ERRS, const struct val *spec)
{
    const struct val *ready = V(spec, readinessGates), *gates = V(spec, schedulingGates);
    each (gate, ready)
        check_format(e, AT(ITEM(AT(at, "readinessGates"), INDEX(ready, gate)), "conditionType"),
                     TEXT(gate, conditionType), format_qualified_name);
    AUTO(seen_fini) struct seen seen = SEEN;
    each (gate, gates) {
        const struct at *here = ITEM(AT(at, "schedulingGates"), INDEX(gates, gate));
        check_format(e, here, TEXT(gate, name), format_qualified_name);
        if (seen_before(&seen, TEXT(gate, name)))
            bad_duplicate(e, here, TEXT(gate, name));
    }
}

/* Operating systems. */

static void fields_forbid(ERRS, const struct val *v, const struct name *const *fields, const char *why)
{
    for (; *fields; fields++) {
        const struct val *m = val_get(v, *fields);
        if (is_set(m) && !(m->type == VAL_LIST && m->n == 0))
            bad_forbidden(e, AT(at, (*fields)->s.p), "%s", why);
    }
}

static void check_os(ERRS, const struct val *spec)
{
    static const struct name *const windows_pod[] = {N(appArmorProfile), N(seLinuxOptions), NULL};
    static const struct name *const windows_pod_late[] = {N(seccompProfile),
                                                          N(fsGroup),
                                                          N(fsGroupChangePolicy),
                                                          N(sysctls),
                                                          N(runAsUser),
                                                          N(runAsGroup),
                                                          N(supplementalGroups),
                                                          N(supplementalGroupsPolicy),
                                                          NULL};
    static const struct name *const windows_spec[] = {N(hostUsers), NULL};
    static const struct name *const share[] = {N(shareProcessNamespace), NULL};
    static const struct name *const windows_container[] = {N(appArmorProfile),
                                                           N(seLinuxOptions),
                                                           N(seccompProfile),
                                                           N(capabilities),
                                                           N(readOnlyRootFilesystem),
                                                           N(privileged),
                                                           N(allowPrivilegeEscalation),
                                                           N(procMount),
                                                           N(runAsUser),
                                                           N(runAsGroup),
                                                           NULL};
    static const struct name *const linux_any[] = {N(windowsOptions), NULL};
    static const struct name *const lists[] = {N(initContainers), N(containers), N(ephemeralContainers)};
    const struct val *os = V(spec, os);
    if (!is_set(os))
        return;
    struct str name = TEXT(os, name);
    if (name.n == 0)
        return bad_required(e, AT(AT(at, "os"), "name"), "");
    if (!check_enum(e, AT(at, "os"), name, "linux", "windows"))
        return;
    bool windows = str_eq(name, S("windows"));
    const char *why = windows ? WINDOWS_FORBIDDEN : "windows options cannot be set for a linux pod";
    const struct val *own = V(spec, securityContext);
    const struct at *context = AT(at, "securityContext");
    if (windows) {
        fields_forbid(e, context, own, windows_pod, why);
        fields_forbid(e, at, spec, windows_spec, why);
        if (val_true(V(spec, hostPID)))
            bad_forbidden(e, AT(at, "hostPID"), "%s", why);
        if (val_true(V(spec, hostIPC)))
            bad_forbidden(e, AT(at, "hostIPC"), "%s", why);
        fields_forbid(e, context, own, windows_pod_late, why);
        fields_forbid(e, at, spec, share, why);
    } else {
        fields_forbid(e, context, own, linux_any, why);
    }
    for (size_t i = 0; i < countof(lists); i++) {
        const struct val *list = val_get(spec, lists[i]);
        each (c, list)
            fields_forbid(e, AT(ITEM(AT(at, lists[i]->s.p), INDEX(list, c)), "securityContext"),
                          V(c, securityContext), windows ? windows_container : linux_any, why);
    }
}

static void check_host_users(ERRS, const struct val *spec)
{
    const struct val *users = V(spec, hostUsers);
    if (!val_is(users, VAL_BOOL) || users->b)
        return;
    if (val_true(V(spec, hostNetwork)))
        bad_forbidden(e, AT(at, "hostNetwork"), "when `hostUsers` is false");
    if (val_true(V(spec, hostPID)))
        bad_forbidden(e, AT(at, "HostPID"), "when `hostUsers` is false");
    if (val_true(V(spec, hostIPC)))
        bad_forbidden(e, AT(at, "HostIPC"), "when `hostUsers` is false");
    static const struct name *const lists[] = {N(initContainers), N(containers), N(ephemeralContainers)};
    for (size_t i = 0; i < countof(lists); i++) {
        const struct val *list = val_get(spec, lists[i]);
        each (c, list)
            if (val_len(V(c, volumeDevices)) > 0)
                bad_forbidden(e, AT(ITEM(AT(at, lists[i]->s.p), INDEX(list, c)), "volumeDevices"),
                              "when `hostUsers` is false");
    }
}

static void check_host_process(ERRS, const struct val *spec)
{
    const struct val *containers = V(spec, containers);
    bool pod = val_true(val_at(spec, N(securityContext), N(windowsOptions), N(hostProcess)));
    size_t all = 0, host = 0;
    each (c, containers) {
        const struct val *own = val_at(c, N(securityContext), N(windowsOptions), N(hostProcess));
        all++;
        host += val_is(own, VAL_BOOL) ? own->b : pod;
    }
    if (host == 0)
        return;
    if (host < all)
        bad_text(e, at, S(""),
                 "If pod contains any hostProcess containers then all containers must be HostProcess containers");
    if (!val_true(V(spec, hostNetwork))) {
        struct val no = val_bool(false);
        bad_value(e, AT(at, "hostNetwork"), &no,
                  "hostNetwork must be true if pod contains any hostProcess containers");
    }
}

void check_pod_spec(ERRS, const struct val *spec, const struct val *meta, bool is_pod)
{
    AUTO(pod_rules_fini) struct pod_rules p = pod_rules_of(is_pod, meta, spec);
    const struct val *aliases = V(spec, hostAliases);
    check_volumes(e, AT(at, "volumes"), &p, V(spec, volumes));
    check_claims_of_pod(e, AT(at, "resourceClaims"), V(spec, resourceClaims));
    check_containers(e, AT(at, "containers"), &p, V(spec, containers));
    check_init_containers(e, AT(at, "initContainers"), &p, V(spec, initContainers));
    check_ephemeral_containers(e, AT(at, "ephemeralContainers"), &p, V(spec, ephemeralContainers));
    check_pod_resources(e, AT(at, "resources"), spec);
    check_enum(e, AT(at, "restartPolicy"), TEXT(spec, restartPolicy), "Always", "OnFailure", "Never");
    check_enum(e, AT(at, "dnsPolicy"), TEXT(spec, dnsPolicy), "ClusterFirstWithHostNet", "ClusterFirst", "Default",
               "None");
    check_labels(e, AT(at, "nodeSelector"), V(spec, nodeSelector));
    check_pod_security(e, AT(at, "securityContext"), V(spec, securityContext), spec);
    check_affinity(e, AT(at, "affinity"), V(spec, affinity));
    check_dns(e, AT(at, "dnsConfig"), V(spec, dnsConfig), TEXT(spec, dnsPolicy));
    check_gates(e, at, spec);
    check_spread(e, AT(at, "topologySpreadConstraints"), V(spec, topologySpreadConstraints));
    check_host_process(e, at, spec);
    check_host_users(e, at, spec);
    FORMAT_IF_SET(e, at, spec, serviceAccountName, format_dns1123_subdomain);
    FORMAT_IF_SET(e, at, spec, nodeName, format_dns1123_subdomain);
    check_range(e, AT(at, "activeDeadlineSeconds"), V(spec, activeDeadlineSeconds), 1, INT32_MAX);
    FORMAT_IF_SET(e, at, spec, hostname, format_dns1123_label);
    FORMAT_IF_SET(e, at, spec, subdomain, format_dns1123_label);
    check_tolerations(e, AT(at, "tolerations"), V(spec, tolerations));
    each (alias, aliases) {
        const struct at *here = ITEM(AT(at, "hostAliases"), INDEX(aliases, alias));
        const struct val *hosts = V(alias, hostnames);
        check_format(e, AT(here, "ip"), TEXT(alias, ip), format_ip);
        each (host, hosts)
            check_format(e, ITEM(AT(here, "hostnames"), INDEX(hosts, host)), val_text(host),
                         format_dns1123_subdomain);
    }
    FORMAT_IF_SET(e, at, spec, priorityClassName, format_dns1123_subdomain);
    if (HAS(spec, runtimeClassName))
        check_format(e, AT(at, "runtimeClassName"), TEXT(spec, runtimeClassName), format_dns1123_subdomain);
    if (HAS(spec, preemptionPolicy))
        check_enum(e, AT(at, "preemptionPolicy"), TEXT(spec, preemptionPolicy), "PreemptLowerPriority", "Never");
    if (HAS(spec, overhead)) {
        struct val requirements = val_map();
        val_set(e->arena, &requirements, N(limits), *V(spec, overhead));
        check_resources(e, AT(at, "overhead"), &requirements, NULL, false);
    }
    check_os(e, at, spec);
    struct str override = TEXT(spec, hostnameOverride);
    if (HAS(spec, hostnameOverride)) {
        if (val_true(V(spec, setHostnameAsFQDN)))
            bad_forbidden(e, AT(at, "hostnameOverride"), "may not be specified when setHostnameAsFQDN is true");
        if (val_true(V(spec, hostNetwork)))
            bad_forbidden(e, AT(at, "hostnameOverride"), "may not be specified when hostNetwork is true");
        if (override.n > 64)
            bad_too_long(e, AT(at, "hostnameOverride"), 64);
        check_format(e, AT(at, "hostnameOverride"), override, format_dns1123_subdomain);
    }
}

static void check_images(ERRS, const struct val *containers)
{
    each (c, containers) {
        struct str image = TEXT(c, image);
        if (str_trim(image).n != image.n)
            bad_text(e, AT(ITEM(at, INDEX(containers, c)), "image"), image,
                     "must not have leading or trailing whitespace");
    }
}

static void check_pod(struct field_errors *e, const struct val *v)
{
    const struct at *spec_at = AT(NULL, "spec");
    const struct val *spec = V(v, spec), *volumes = V(spec, volumes);
    if (val_get_str(val_at(v, N(metadata), N(annotations)), S("kubernetes.io/config.mirror")) &&
        TEXT(spec, nodeName).n == 0)
        bad_text(e, KEY(AT(AT(NULL, "metadata"), "annotations"), S("kubernetes.io/config.mirror")),
                 val_text(val_get_str(val_at(v, N(metadata), N(annotations)), S("kubernetes.io/config.mirror"))),
                 "must set spec.nodeName if mirror pod annotation is set");
    check_pod_spec(e, spec_at, spec, V(v, metadata), true);
    if (TEXT(spec, serviceAccountName).n == 0)
        each (volume, volumes) {
            const struct val *sources = V(V(volume, projected), sources);
            each (source, sources)
                if (HAS(source, serviceAccountToken))
                    bad_forbidden(
                        e,
                        AT(ITEM(AT(AT(ITEM(AT(spec_at, "volumes"), INDEX(volumes, volume)), "projected"), "sources"),
                                INDEX(sources, source)),
                           "serviceAccountToken"),
                        "must not be specified when serviceAccountName is not set");
        }
    check_images(e, AT(spec_at, "containers"), V(spec, containers));
    check_images(e, AT(spec_at, "initContainers"), V(spec, initContainers));
}

static void create_pod(struct field_errors *e, const struct val *v)
{
    const struct at *spec_at = AT(NULL, "spec");
    const struct val *spec = V(v, spec);
    check_pod(e, v);
    if (val_len(V(spec, ephemeralContainers)) > 0)
        bad_forbidden(e, AT(spec_at, "ephemeralContainers"), "cannot be set on create");
    if (TEXT(spec, nodeName).n > 0 && val_len(V(spec, schedulingGates)) > 0)
        bad_forbidden(e, AT(spec_at, "nodeName"), "cannot be set until all schedulingGates have been cleared");
}

/* Updates. */

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
    return unchanged(&p, &q);
}

static void check_tolerations_update(ERRS, const struct val *now, const struct val *old)
{
    each (before, old) {
        bool there = false;
        each (t, now)
            there |= same_but_seconds(e->arena, t, before) &&
                     (unchanged(t, before) || str_eq(TEXT(t, effect), S("NoExecute")));
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
        if (!unchanged(val_get(now, m->name), &m->v))
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
                if (!unchanged(&x->list[j], &y->list[j]))
                    return false;
        }
    }
    return true;
}

static void update_pod(struct field_errors *e, const struct val *v, const struct val *old)
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
    if (unchanged(spec, was))
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
        if (!unchanged(V(spec, nodeSelector), V(was, nodeSelector))) {
            if (!list_covers(V(spec, nodeSelector), V(was, nodeSelector)))
                bad_value(e, AT(at, "nodeSelector"), V(spec, nodeSelector),
                          "only additions to spec.nodeSelector are allowed (no mutations or deletions)");
            take_member(a, &munged, was, N(nodeSelector));
        }
        if (!unchanged(V(V(spec, affinity), nodeAffinity), V(V(was, affinity), nodeAffinity))) {
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
    if (!unchanged(&munged, was))
        bad_forbidden(
            e, at,
            "pod updates may not change fields other than "
            "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
            "`spec.tolerations` (only additions to existing tolerations),"
            "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n" STR_FMT,
            STR_ARG(changes(a, was, &munged)));
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
        else if (!unchanged(now, before))
            bad_forbidden(e, at, "existing ephemeral containers \"" STR_FMT "\" may not be changed\n" STR_FMT,
                          STR_ARG(TEXT(before, name)), STR_ARG(changes(e->arena, before, now)));
    }
}

static void check_resize_list(ERRS, const struct val *now, const struct val *old)
{
    each (c, now) {
        const struct val *was = val_find(old, N(name), TEXT(c, name));
        const struct at *here = AT(ITEM(at, INDEX(now, c)), "resources");
        const struct name *const lists[] = {N(requests), N(limits)};
        for (size_t i = 0; i < countof(lists); i++) {
            const struct val *mine = val_get(V(c, resources), lists[i]),
                             *before = val_get(V(was, resources), lists[i]);
            val_each_member (m, before)
                if ((str_eq(m->name->s, S("cpu")) || str_eq(m->name->s, S("memory"))) && !val_get(mine, m->name))
                    bad_forbidden(e, AT(here, lists[i]->s.p), "resource %s cannot be removed",
                                  lists[i] == N(requests) ? "requests" : "limits");
            bool other = false;
            val_each_member (m, mine)
                other |= !str_eq(m->name->s, S("cpu")) && !str_eq(m->name->s, S("memory")) &&
                         !unchanged(&m->v, val_get(before, m->name));
            if (other)
                bad_forbidden(e, AT(NULL, "spec"), "only cpu and memory resources are mutable");
        }
    }
}

void check_resize(struct field_errors *e, const struct val *v, const struct val *old)
{
    const struct at *at = AT(NULL, "spec");
    struct str qos = pod_qos_class(old);
    check_pod(e, v);
    if (!str_eq(qos, pod_qos_class(v)))
        bad_text(e, at, qos, "Pod QOS Class may not change as a result of resizing");
    check_resize_list(e, AT(at, "containers"), V(V(v, spec), containers), V(V(old, spec), containers));
    check_resize_list(e, AT(at, "initContainers"), V(V(v, spec), initContainers), V(V(old, spec), initContainers));
}

/* Status. */

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

static void check_state_transition(ERRS, const struct val *now, const struct val *old, const struct val *spec)
{
    if (str_eq(TEXT(spec, restartPolicy), S("Always")))
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

static void status_pod(struct field_errors *e, const struct val *v, const struct val *old)
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

/* Templates. */

void check_template(ERRS, const struct val *template)
{
    const struct val *meta = V(template, metadata), *spec = V(template, spec);
    check_labels(e, AT(at, "labels"), V(meta, labels));
    check_annotations(e, AT(at, "annotations"), V(meta, annotations));
    check_pod_spec(e, AT(at, "spec"), spec, meta, false);
    if (val_len(V(spec, ephemeralContainers)) > 0)
        bad_forbidden(e, AT(AT(at, "spec"), "ephemeralContainers"),
                      "ephemeral containers not allowed in pod template");
}

static void check_podtemplate(struct field_errors *e, const struct val *v)
{
    check_template(e, AT(NULL, "template"), V(v, template));
}

const struct kind_rules rules_pod[] = {
    RULES(Pod, format_dns1123_subdomain, create_pod, update_pod, status_pod, .update_alone = true),
    RULES(PodTemplate, format_dns1123_subdomain, check_podtemplate, NULL, NULL),
    RULES_END,
};
