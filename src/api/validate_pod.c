/* validate_pod.c - the specification of pods, in pods and templates (ValidatePodSpec and its kin, in
 * pkg/apis/core/validation of upstream). Where they may run: validate_affinity.c; updates: validate_pod_update.c.
 *
 * check_pod_spec is the order in which upstream looks, and so the order of the complaints. Volumes come first,
 * because mounts may only name volumes that passed (pod_rules.volumes).
 *
 * What costs the square of a list is counted (work_do) or goes by hash, as a pod may have tens of thousands of
 * elements in a body that is still allowed.
 */
#include "api/quantity.h"
#include "api/rules_int.h"

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

void check_images(ERRS, const struct val *containers)
{
    each (c, containers) {
        struct str image = TEXT(c, image);
        if (str_trim(image).n != image.n)
            bad_text(e, AT(ITEM(at, INDEX(containers, c)), "image"), image,
                     "must not have leading or trailing whitespace");
    }
}

void check_pod(struct field_errors *e, const struct val *v)
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

/* Not on update: pods from before this rule have it, and keep it. */
static void check_init_resize_policies(ERRS, const struct val *containers)
{
    each (c, containers)
        each (policy, V(c, resizePolicy))
            if (!str_eq(TEXT(c, restartPolicy), S("Always")) &&
                str_eq(TEXT(policy, restartPolicy), S("RestartContainer")))
                bad_text(
                    e,
                    AT(ITEM(AT(ITEM(at, INDEX(containers, c)), "resizePolicy"), INDEX(V(c, resizePolicy), policy)),
                       "restartPolicy"),
                    S("RestartContainer"), "must not be set to 'RestartContainer' for non-sidecar initContainers");
}

static void create_pod(struct field_errors *e, const struct val *v)
{
    const struct at *spec_at = AT(NULL, "spec");
    const struct val *spec = V(v, spec);
    check_pod(e, v);
    check_init_resize_policies(e, AT(spec_at, "initContainers"), V(spec, initContainers));
    if (val_len(V(spec, ephemeralContainers)) > 0)
        bad_forbidden(e, AT(spec_at, "ephemeralContainers"), "cannot be set on create");
    if (TEXT(spec, nodeName).n > 0 && val_len(V(spec, schedulingGates)) > 0)
        bad_forbidden(e, AT(spec_at, "nodeName"), "cannot be set until all schedulingGates have been cleared");
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
    RULES(Pod, format_dns1123_subdomain, create_pod, check_pod_update, check_pod_status, .update_alone = true),
    RULES(PodTemplate, format_dns1123_subdomain, check_podtemplate, NULL, NULL),
    RULES_END,
};
