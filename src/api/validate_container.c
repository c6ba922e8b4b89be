/* validate_container.c - containers of pods and templates: names, ports, environment, mounts, resources
 * (ValidateContainers and what it calls, in pkg/apis/core/validation of upstream). Probes and hooks:
 * validate_probe.c; security contexts: validate_security.c.
 *
 * The three lists share check_container and differ in what is added: ordinary containers may have probes and hooks,
 * init containers only with restartPolicy Always, ephemeral ones nearly nothing. Names are unique over all three.
 *
 * What a container needs of its pod is in struct pod_rules: the volumes that passed their own check (so a mount of a
 * bad volume is "not found", as upstream says), the containers by name, the claims. Lists are searched through
 * struct named and struct seen, which hash when they are long.
 *
 * Some complaints stand at places that look wrong (subPath at the list, not at the element; the host ports of init
 * containers counted from the first): those are upstream's places, and clients show them.
 */
#include "api/quantity.h"
#include "api/rules_int.h"

#define NOT_FOR_INIT "may not be set for init containers without restartPolicy=Always"

void check_no_backsteps(ERRS, struct str path)
{
    struct str rest = path, part;
    while (str_cut(&rest, '/', &part))
        if (str_eq(part, S(".."))) {
            bad_text(e, at, path, "must not contain '..'");
            return;
        }
}

void check_local_path(ERRS, struct str path)
{
    if (path.n > 0 && path.p[0] == '/')
        bad_text(e, at, path, "must be a relative path");
    check_no_backsteps(e, at, path);
}

static void check_ports(ERRS, const struct val *ports)
{
    AUTO(seen_fini) struct seen seen = SEEN;
    each (port, ports) {
        const struct at *here = ITEM(at, INDEX(ports, port));
        struct str name = TEXT(port, name);
        if (name.n > 0 && check_format(e, AT(here, "name"), name, format_port_name))
            if (seen_before(&seen, name))
                bad_duplicate(e, AT(here, "name"), name);
        if (NUM(port, containerPort) == 0)
            bad_required(e, AT(here, "containerPort"), "");
        else
            check_port(e, AT(here, "containerPort"), NUM(port, containerPort));
        if (NUM(port, hostPort) != 0)
            check_port(e, AT(here, "hostPort"), NUM(port, hostPort));
        if (REQUIRED(e, here, port, protocol))
            check_enum(e, AT(here, "protocol"), TEXT(port, protocol), "SCTP", "TCP", "UDP");
    }
}

static struct str host_port(struct arena *a, const struct val *port)
{
    return arena_fmt(a, STR_FMT "/" STR_FMT "/%lld", STR_ARG(TEXT(port, protocol)), STR_ARG(TEXT(port, hostIP)),
                     (long long)NUM(port, hostPort));
}

static void check_host_ports(ERRS, const struct val *containers)
{
    AUTO(seen_fini) struct seen taken = SEEN;
    each (c, containers) {
        const struct val *ports = V(c, ports);
        each (port, ports) {
            if (NUM(port, hostPort) == 0)
                continue;
            struct str key = host_port(e->arena, port);
            if (seen_before(&taken, key))
                bad_duplicate(
                    e, AT(ITEM(AT(ITEM(at, INDEX(containers, c)), "ports"), INDEX(ports, port)), "hostPort"), key);
        }
    }
}

/* "metadata.labels['x']" gives "metadata.labels" and "x". */
static bool path_subscript(struct str s, struct str *path, struct str *key)
{
    ptrdiff_t open = str_find(s, S("['"));
    if (!str_ends(s, S("']")) || open <= 0)
        return false;
    *path = str_sub(s, 0, (size_t)open);
    *key = str_sub(s, (size_t)open + 2, s.n - 2);
    return true;
}

static bool one_of(struct str s, const char *const *set)
{
    for (; *set; set++)
        if (str_eqz(s, *set))
            return true;
    return false;
}

void check_field_ref(ERRS, const struct val *ref, bool volume)
{
    static const char *const known[] = {
        "metadata.annotations", "metadata.labels", "metadata.name",      "metadata.namespace",
        "metadata.uid",         "spec.nodeName",   "spec.restartPolicy", "spec.serviceAccountName",
        "spec.schedulerName",   "status.phase",    "status.hostIP",      "status.hostIPs",
        "status.podIP",         "status.podIPs",   "spec.host",          NULL};
    static const char *const env[] = {
        "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
        "status.hostIP", "status.hostIPs",     "status.podIP", "status.podIPs", NULL};
    static const char *const file[] = {"metadata.annotations", "metadata.labels", "metadata.name",
                                       "metadata.namespace",   "metadata.uid",    NULL};
    struct str version = TEXT(ref, apiVersion), field = TEXT(ref, fieldPath), path, key;
    const struct at *here = AT(at, "fieldPath");
    if (version.n == 0)
        return bad_required(e, AT(at, "apiVersion"), "");
    if (field.n == 0)
        return bad_required(e, here, "");
    if (!str_eq(version, S("v1")))
        return bad_text(e, here, field, "error converting fieldPath: unsupported pod version: " STR_FMT,
                        STR_ARG(version));
    if (path_subscript(field, &path, &key)) {
        if (str_eq(path, S("metadata.labels")) || str_eq(path, S("metadata.annotations")))
            check_format(e, at, key, format_qualified_name);
        else
            bad_text(e, here, field, "error converting fieldPath: field label does not support subscript: " STR_FMT,
                     STR_ARG(field));
        return;
    }
    if (!one_of(field, known))
        return bad_text(e, here, field, "error converting fieldPath: field label not supported: " STR_FMT,
                        STR_ARG(field));
    if (str_eq(field, S("spec.host")))
        field = S("spec.nodeName");
    check_enum_(e, here, field, volume ? file : env);
}

void check_resource_field_ref(ERRS, const struct val *ref, bool volume)
{
    static const char *const resources[] = {"limits.cpu",
                                            "limits.ephemeral-storage",
                                            "limits.memory",
                                            "requests.cpu",
                                            "requests.ephemeral-storage",
                                            "requests.memory",
                                            NULL};
    static const char *const sizes[] = {"1",   "1k",  "1M",  "1G",  "1T",  "1P",  "1E",
                                        "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei", NULL};
    struct str resource = TEXT(ref, resource), divisor = TEXT(ref, divisor);
    if (volume && TEXT(ref, containerName).n == 0)
        bad_required(e, AT(at, "containerName"), "");
    else if (resource.n == 0)
        bad_required(e, AT(at, "resource"), "");
    else if (!str_starts(resource, S("limits.hugepages-")) && !str_starts(resource, S("requests.hugepages-")))
        check_enum_(e, AT(at, "resource"), resource, resources);
    if (divisor.n == 0 || quantity_cmp(divisor, S("0")) == 0)
        return;
    const char *what = str_ends(resource, S(".memory"))              ? "memory"
                       : str_ends(resource, S(".ephemeral-storage")) ? "local ephemeral storage"
                       : str_has(resource, S("hugepages-"))          ? "hugepages"
                                                                     : NULL;
    if (str_ends(resource, S(".cpu")) && !one_of(divisor, SET("1m", "1")))
        bad_text(e, AT(at, "divisor"), resource,
                 "only divisor's values 1m and 1 are supported with the cpu resource");
    else if (what && !one_of(divisor, sizes))
        bad_text(
            e, AT(at, "divisor"), resource,
            "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the "
            "%s resource",
            what);
}

static void check_key_ref(ERRS, const struct val *ref)
{
    check_format(e, AT(at, "name"), TEXT(ref, name), format_dns1123_subdomain);
    if (REQUIRED(e, at, ref, key))
        check_format(e, AT(at, "key"), TEXT(ref, key), format_config_key);
}

static void check_file_key(ERRS, const struct val *file, const struct pod_rules *p)
{
    struct str volume = TEXT(file, volumeName);
    const struct val *v = map_get(&p->volumes, volume);
    if (REQUIRED(e, at, file, key))
        check_format(e, AT(at, "key"), TEXT(file, key), format_env_name);
    if (REQUIRED(e, at, file, path))
        check_local_path(e, AT(at, "path"), TEXT(file, path));
    if (!REQUIRED(e, at, file, volumeName))
        return;
    if (!v)
        bad_not_found(e, AT(at, "volumeName"), volume, "");
    else if (!HAS(v, emptyDir))
        bad_text(e, AT(at, "volumeName"), volume, "referenced volume must be of type emptyDir");
}

static void check_env(ERRS, const struct val *env, const struct pod_rules *p)
{
    each (var, env) {
        const struct at *here = ITEM(at, INDEX(env, var)), *from = AT(here, "valueFrom");
        const struct val *source = V(var, valueFrom);
        if (REQUIRED(e, here, var, name))
            check_format(e, AT(here, "name"), TEXT(var, name), format_env_name);
        if (!is_set(source))
            continue;
        size_t n = 0;
        if (HAS(source, fieldRef) && ++n)
            check_field_ref(e, AT(from, "fieldRef"), V(source, fieldRef), false);
        if (HAS(source, resourceFieldRef) && ++n)
            check_resource_field_ref(e, AT(from, "resourceFieldRef"), V(source, resourceFieldRef), false);
        if (HAS(source, configMapKeyRef) && ++n)
            check_key_ref(e, AT(from, "configMapKeyRef"), V(source, configMapKeyRef));
        if (HAS(source, secretKeyRef) && ++n)
            check_key_ref(e, AT(from, "secretKeyRef"), V(source, secretKeyRef));
        if (HAS(source, fileKeyRef) && ++n)
            check_file_key(e, AT(from, "fileKeyRef"), V(source, fileKeyRef), p);
        if (n == 0)
            bad_text(e, from, S(""),
                     "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or "
                     "`fileKeyRef`");
        else if (TEXT(var, value).n > 0)
            bad_text(e, from, S(""), "may not be specified when `value` is not empty");
        else if (n > 1)
            bad_text(e, from, S(""), "may not have more than one field specified at a time");
    }
}

static void check_env_from(ERRS, const struct val *list)
{
    each (from, list) {
        const struct at *here = ITEM(at, INDEX(list, from));
        FORMAT_IF_SET(e, here, from, prefix, format_env_name);
        size_t n = 0;
        if (HAS(from, configMapRef) && ++n && REQUIRED(e, AT(here, "configMapRef"), V(from, configMapRef), name))
            check_format(e, AT(AT(here, "configMapRef"), "name"), TEXT(V(from, configMapRef), name),
                         format_dns1123_subdomain);
        if (HAS(from, secretRef) && ++n && REQUIRED(e, AT(here, "secretRef"), V(from, secretRef), name))
            check_format(e, AT(AT(here, "secretRef"), "name"), TEXT(V(from, secretRef), name),
                         format_dns1123_subdomain);
        if (n == 0)
            bad_text(e, here, S(""), "must specify one of: `configMapRef` or `secretRef`");
        else if (n > 1)
            bad_text(e, here, S(""), "may not have more than one field specified at a time");
    }
}

static const struct val *volume_named(const struct pod_rules *p, struct str name)
{
    return map_get(&p->volumes, name);
}

static void check_mount_options(ERRS, const struct val *mount, const struct val *container)
{
    const struct at *propagation = AT(at, "mountPropagation"), *recursive = AT(at, "recursiveReadOnly");
    struct str way = TEXT(mount, mountPropagation), mode = TEXT(mount, recursiveReadOnly);
    if (HAS(mount, mountPropagation) && check_enum(e, propagation, way, "Bidirectional", "HostToContainer", "None") &&
        str_eq(way, S("Bidirectional")) && !val_true(V(V(container, securityContext), privileged)))
        bad_forbidden(e, propagation, "Bidirectional mount propagation is available only to privileged containers");
    if (!HAS(mount, recursiveReadOnly) || str_eq(mode, S("Disabled")))
        return;
    if (!check_enum(e, recursive, mode, "Disabled", "Enabled", "IfPossible"))
        return;
    if (!val_true(V(mount, readOnly)))
        bad_forbidden(e, recursive, "may only be specified when readOnly is true");
    if (way.n > 0 && !str_eq(way, S("None")))
        bad_forbidden(e, recursive, "may only be specified when mountPropagation is None or not specified");
}

static void check_mounts(ERRS, const struct val *mounts, const struct val *container, const struct pod_rules *p)
{
    const struct val *devices = V(container, volumeDevices);
    AUTO(named_fini) struct named by_name = named_of(devices, N(name));
    AUTO(named_fini) struct named by_path = named_of(devices, N(devicePath));
    AUTO(seen_fini) struct seen paths = SEEN;
    each (mount, mounts) {
        const struct at *here = ITEM(at, INDEX(mounts, mount));
        struct str name = TEXT(mount, name), path = TEXT(mount, mountPath);
        REQUIRED(e, here, mount, name);
        if (!volume_named(p, name))
            bad_not_found(e, AT(here, "name"), name, "");
        REQUIRED(e, here, mount, mountPath);
        if (seen_before(&paths, path))
            bad_text(e, AT(here, "mountPath"), path, "must be unique");
        if (named_find(&by_name, name))
            bad_text(e, AT(here, "name"), name, "must not already exist in volumeDevices");
        if (named_find(&by_path, path))
            bad_text(e, AT(here, "mountPath"), path, "must not already exist as a path in volumeDevices");
        if (TEXT(mount, subPath).n > 0)
            check_local_path(e, AT(at, "subPath"), TEXT(mount, subPath));
        if (TEXT(mount, subPathExpr).n > 0) {
            if (TEXT(mount, subPath).n > 0)
                bad_text(e, AT(here, "subPathExpr"), TEXT(mount, subPathExpr),
                         "subPathExpr and subPath are mutually exclusive");
            check_local_path(e, AT(at, "subPathExpr"), TEXT(mount, subPathExpr));
        }
        check_mount_options(e, at, mount, container);
    }
}

static void check_devices(ERRS, const struct val *devices, const struct val *mounts, const struct pod_rules *p)
{
    AUTO(named_fini) struct named by_name = named_of(mounts, N(name));
    AUTO(named_fini) struct named by_path = named_of(mounts, N(mountPath));
    AUTO(seen_fini) struct seen taken = SEEN;
    AUTO(seen_fini) struct seen paths = SEEN;
    each (device, devices) {
        const struct at *here = ITEM(at, INDEX(devices, device));
        struct str name = TEXT(device, name), path = TEXT(device, devicePath);
        const struct val *volume = volume_named(p, name);
        REQUIRED(e, here, device, name);
        if (seen_before(&taken, name))
            bad_text(e, AT(here, "name"), name, "must be unique");
        if (volume && !HAS(volume, persistentVolumeClaim) && !HAS(volume, ephemeral))
            bad_text(e, AT(here, "name"), name,
                     "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode");
        if (!volume)
            bad_not_found(e, AT(here, "name"), name, "");
        if (path.n == 0)
            bad_required(e, AT(here, "devicePath"), "");
        if (path.n && seen_before(&paths, path))
            bad_text(e, AT(here, "devicePath"), path, "must be unique");
        check_no_backsteps(e, AT(here, "devicePath"), path);
        if (named_find(&by_name, name))
            bad_text(e, AT(here, "name"), name, "must not already exist in volumeMounts");
        if (named_find(&by_path, path))
            bad_text(e, AT(here, "devicePath"), path, "must not already exist as a path in volumeMounts");
    }
}

/* Resources. */

bool standard_resource(struct str s)
{
    static const char *const set[] = {"cpu",
                                      "memory",
                                      "ephemeral-storage",
                                      "requests.cpu",
                                      "requests.memory",
                                      "requests.ephemeral-storage",
                                      "limits.cpu",
                                      "limits.memory",
                                      "limits.ephemeral-storage",
                                      "pods",
                                      "resourcequotas",
                                      "services",
                                      "replicationcontrollers",
                                      "secrets",
                                      "configmaps",
                                      "persistentvolumeclaims",
                                      "storage",
                                      "requests.storage",
                                      "services.nodeports",
                                      "services.loadbalancers",
                                      NULL};
    return one_of(s, set) || is_hugepages(s) || str_starts(s, S("requests.hugepages-"));
}

void check_resource_name(ERRS, struct str name)
{
    if (!check_format(e, at, name, format_qualified_name))
        return;
    if (str_find_char(name, '/') < 0 && !standard_resource(name))
        bad_text(e, at, name, "must be a standard resource type or fully qualified");
}

void check_container_resource_name(ERRS, struct str name)
{
    size_t before = e->list.n;
    check_resource_name(e, at, name);
    if (str_find_char(name, '/') < 0) {
        if (!one_of(name, SET("cpu", "memory", "ephemeral-storage")) && !is_hugepages(name))
            bad_text(e, at, name, "must be a standard resource for containers");
    } else if (e->list.n == before && !is_native_resource(name) && !is_extended_resource(name)) {
        bad_text(e, at, name, "doesn't follow extended resource name standard");
    }
}

void check_resource_quantity(ERRS, struct str name, struct str quantity)
{
    static const char *const counts[] = {
        "pods",       "resourcequotas",         "services",           "replicationcontrollers", "secrets",
        "configmaps", "persistentvolumeclaims", "services.nodeports", "services.loadbalancers", NULL};
    if (quantity_cmp(quantity, S("0")) < 0)
        bad_text(e, at, quantity, "must be greater than or equal to 0");
    if ((one_of(name, counts) || is_extended_resource(name)) && !quantity_whole(quantity))
        bad_text(e, at, quantity, "must be an integer");
}

static void check_claims(ERRS, const struct val *wanted, const struct named *claims)
{
    AUTO(seen_fini) struct seen seen = SEEN;
    each (claim, wanted) {
        const struct at *here = ITEM(at, INDEX(wanted, claim));
        struct str name = TEXT(claim, name);
        if (name.n == 0) {
            bad_required(e, here, "");
            continue;
        }
        if (seen_pair(&seen, name, TEXT(claim, request)))
            bad_duplicate(e, here, name);
        else if (!claims || !named_find(claims, name))
            bad_not_found(e, here, name,
                          claims && val_len(claims->list)
                              ? "must be one of the names in pod.spec.resourceClaims"
                              : "must be one of the names in pod.spec.resourceClaims which is empty");
    }
}

/* "hugepages-2Mi": some whole pages. */
static bool multiple_of_page(struct str resource, struct str quantity)
{
    int64_t page = quantity_value(str_sub(resource, strlen("hugepages-"), resource.n));
    return page > 0 && quantity_value(quantity) % page == 0 && quantity_whole(quantity);
}

void check_resources(ERRS, const struct val *resources, const struct named *claims, bool of_pod)
{
    const struct at *limits_at = AT(at, "limits"), *requests_at = AT(at, "requests");
    const struct val *limits = V(resources, limits), *requests = V(resources, requests);
    const struct val *const both[] = {limits, requests};
    bool huge = false, plain = false;
    for (size_t i = 0; i < 2; i++)
        val_each_member (m, both[i]) {
            struct str name = m->name->s, quantity = val_text(&m->v);
            const struct at *here = KEY(i ? requests_at : limits_at, name);
            if (!of_pod)
                check_container_resource_name(e, here, name);
            else if (!one_of(name, SET("cpu", "memory")) && !is_hugepages(name))
                bad_enum(e, here, name, SET("cpu", "hugepages-", "memory"));
            check_resource_quantity(e, here, name, quantity);
            if (is_hugepages(name) && !multiple_of_page(name, quantity))
                bad_text(e, here, quantity, STR_FMT " is not positive integer multiple of " STR_FMT,
                         STR_ARG(quantity), STR_ARG(name));
            huge |= is_hugepages(name);
            plain |= one_of(name, SET("cpu", "memory"));
            if (i == 0)
                continue;
            const struct val *limit = val_get(limits, m->name);
            bool overcommit = is_native_resource(name) && !is_hugepages(name);
            int order = limit ? quantity_cmp(quantity, val_text(limit)) : 0;
            if (limit && order != 0 && !overcommit)
                bad_text(e, requests_at, quantity, "must be equal to " STR_FMT " limit of " STR_FMT, STR_ARG(name),
                         STR_ARG(val_text(limit)));
            else if (limit && order > 0)
                bad_text(e, requests_at, quantity, "must be less than or equal to " STR_FMT " limit of " STR_FMT,
                         STR_ARG(name), STR_ARG(val_text(limit)));
            else if (!limit && !overcommit)
                bad_required(e, limits_at, "Limit must be set for non overcommitable resources");
        }
    if (huge && !plain)
        bad_forbidden(e, at, "HugePages require cpu or memory");
    if (of_pod && val_len(V(resources, claims)) > 0)
        bad_forbidden(e, AT(at, "claims"), "claims may not be set for Resources at pod-level");
    check_claims(e, AT(at, "claims"), V(resources, claims), claims);
}

static void check_resize_policies(ERRS, const struct val *list, const struct val *pod)
{
    AUTO(seen_fini) struct seen seen = SEEN;
    each (policy, list) {
        struct str name = TEXT(policy, resourceName), restart = TEXT(policy, restartPolicy);
        if (seen_before(&seen, name))
            bad_duplicate(e, ITEM(at, INDEX(list, policy)), name);
        if (name.n == 0)
            bad_required(e, at, "");
        else
            check_enum(e, at, name, "cpu", "memory");
        if (restart.n == 0)
            bad_required(e, at, "");
        else
            check_enum(e, at, restart, "NotRequired", "RestartContainer");
        if (str_eq(TEXT(pod, restartPolicy), S("Never")) && str_eq(restart, S("RestartContainer")))
            bad_text(e, at, restart, "must be 'NotRequired' when pod `restartPolicy` is 'Never'");
    }
}

static void check_restart_rules(ERRS, const struct val *c)
{
    const struct val *rules = V(c, restartPolicyRules);
    if (val_len(rules) > 0 && TEXT(c, restartPolicy).n == 0)
        bad_required(e, AT(at, "restartPolicy"), "must specify restartPolicy when restart rules are used");
    if (val_len(rules) > 20)
        bad_too_many(e, AT(at, "restartPolicyRules"), (int64_t)val_len(rules), 20);
    each (rule, rules) {
        const struct at *here = ITEM(AT(at, "restartPolicyRules"), INDEX(rules, rule));
        check_enum(e, AT(here, "action"), TEXT(rule, action), "Restart", "RestartAllContainers");
        const struct val *codes = V(rule, exitCodes);
        if (!is_set(codes)) {
            bad_required(e, AT(here, "exitCodes"), "must be specified");
            continue;
        }
        check_enum(e, AT(AT(here, "exitCodes"), "operator"), TEXT(codes, operator), "In", "NotIn");
        if (val_len(V(codes, values)) > 255)
            bad_too_many(e, AT(AT(here, "exitCodes"), "values"), (int64_t)val_len(V(codes, values)), 255);
    }
}

/* The container itself. */

static void check_container(ERRS, const struct pod_rules *p, const struct val *c)
{
    if (REQUIRED(e, at, c, name))
        check_format(e, AT(at, "name"), TEXT(c, name), format_dns1123_label);
    REQUIRED(e, at, c, image);
    if (REQUIRED(e, at, c, terminationMessagePolicy))
        check_enum(e, AT(at, "terminationMessagePolicy"), TEXT(c, terminationMessagePolicy), "File",
                   "FallbackToLogsOnError");
    check_ports(e, AT(at, "ports"), V(c, ports));
    check_env(e, AT(at, "env"), V(c, env), p);
    check_env_from(e, AT(at, "envFrom"), V(c, envFrom));
    check_mounts(e, AT(at, "volumeMounts"), V(c, volumeMounts), c, p);
    check_devices(e, AT(at, "volumeDevices"), V(c, volumeDevices), V(c, volumeMounts), p);
    if (REQUIRED(e, at, c, imagePullPolicy))
        check_enum(e, AT(at, "imagePullPolicy"), TEXT(c, imagePullPolicy), "Always", "IfNotPresent", "Never");
    check_resources(e, AT(at, "resources"), V(c, resources), &p->claims, false);
    check_resize_policies(e, AT(at, "resizePolicy"), V(c, resizePolicy), p->spec);
    check_security_context(e, AT(at, "securityContext"), V(c, securityContext), V(p->spec, hostUsers));
}

static int64_t grace_of(const struct pod_rules *p)
{
    return NUM(p->spec, terminationGracePeriodSeconds);
}

void check_containers(ERRS, const struct pod_rules *p, const struct val *containers)
{
    if (val_len(containers) == 0)
        return bad_required(e, at, "");
    AUTO(seen_fini) struct seen seen = SEEN;
    each (c, containers) {
        const struct at *here = ITEM(at, INDEX(containers, c));
        check_container(e, here, p, c);
        if (seen_before(&seen, TEXT(c, name)))
            bad_duplicate(e, AT(here, "name"), TEXT(c, name));
        if (HAS(c, lifecycle))
            check_lifecycle(e, AT(here, "lifecycle"), V(c, lifecycle), grace_of(p), V(p->spec, os));
        check_probes(e, here, c, grace_of(p));
        if (HAS(c, restartPolicy))
            check_enum(e, AT(here, "restartPolicy"), TEXT(c, restartPolicy), "Always", "Never", "OnFailure");
        check_restart_rules(e, here, c);
    }
    check_host_ports(e, at, containers);
}

void check_init_containers(ERRS, const struct pod_rules *p, const struct val *containers)
{
    AUTO(seen_fini) struct seen seen = SEEN;
    each (c, containers) {
        const struct at *here = ITEM(at, INDEX(containers, c));
        struct str name = TEXT(c, name);
        bool sidecar = str_eq(TEXT(c, restartPolicy), S("Always"));
        check_container(e, here, p, c);
        if (HAS(c, restartPolicy))
            check_enum(e, AT(here, "restartPolicy"), TEXT(c, restartPolicy), "Always", "Never", "OnFailure");
        check_restart_rules(e, here, c);
        bool twice = seen_before(&seen, name) || named_find(&p->containers, name);
        if (twice && name.n > 0)
            bad_duplicate(e, AT(here, "name"), name);
        struct val alone = {.type = VAL_LIST, .n = 1, .list = (struct val *)c};
        check_host_ports(e, at, &alone); /* they run one by one; upstream counts from the first */
        if (sidecar) {
            if (HAS(c, lifecycle))
                check_lifecycle(e, AT(here, "lifecycle"), V(c, lifecycle), grace_of(p), V(p->spec, os));
            check_probes(e, here, c, grace_of(p));
            continue;
        }
        if (HAS(c, lifecycle))
            bad_forbidden(e, AT(here, "lifecycle"), NOT_FOR_INIT);
        if (HAS(c, livenessProbe))
            bad_forbidden(e, AT(here, "livenessProbe"), NOT_FOR_INIT);
        if (HAS(c, readinessProbe))
            bad_forbidden(e, AT(here, "readinessProbe"), NOT_FOR_INIT);
        if (HAS(c, startupProbe))
            bad_forbidden(e, AT(here, "startupProbe"), NOT_FOR_INIT);
    }
}

void check_ephemeral_containers(ERRS, const struct pod_rules *p, const struct val *containers)
{
    static const struct name *const forbidden[] = {N(ports),        N(livenessProbe), N(readinessProbe),
                                                   N(startupProbe), N(lifecycle),     N(resources),
                                                   N(resizePolicy), N(restartPolicy), N(restartPolicyRules)};
    AUTO(seen_fini) struct seen seen = SEEN;
    each (c, containers) {
        const struct at *here = ITEM(at, INDEX(containers, c));
        struct str name = TEXT(c, name), target = TEXT(c, targetContainerName);
        check_container(e, here, p, c);
        bool twice = seen_before(&seen, name) || named_find(&p->containers, name) ||
                     named_find(&p->init_containers, name);
        if (twice && name.n > 0)
            bad_duplicate(e, AT(here, "name"), name);
        if (target.n > 0 && !named_find(&p->containers, target) && !named_find(&p->init_containers, target))
            bad_not_found(e, AT(here, "targetContainerName"), target, "");
        for (size_t i = 0; i < countof(forbidden); i++) {
            const struct val *v = val_get(c, forbidden[i]);
            if (is_set(v) && !(v->type == VAL_LIST && v->n == 0) &&
                !(v->type == VAL_MAP && v->n == 0 && forbidden[i] == N(resources)))
                bad_forbidden(e, AT(here, forbidden[i]->s.p), "cannot be set for an Ephemeral Container");
        }
        const struct val *mounts = V(c, volumeMounts);
        each (mount, mounts) {
            const struct at *place = ITEM(AT(here, "volumeMounts"), INDEX(mounts, mount));
            if (TEXT(mount, subPath).n > 0)
                bad_forbidden(e, AT(place, "subPath"), "cannot be set for an Ephemeral Container");
            if (TEXT(mount, subPathExpr).n > 0)
                bad_forbidden(e, AT(place, "subPathExpr"), "cannot be set for an Ephemeral Container");
        }
        struct str image = TEXT(c, image);
        if (p->is_pod && str_trim(image).n != image.n)
            bad_text(e, AT(here, "image"), image, "must not have leading or trailing whitespace");
    }
}
