/* validate_core.c - ConfigMap, Secret, Namespace, Node, Event in both groups, PersistentVolume and its claim,
 * ResourceQuota, LimitRange (pkg/apis/core/validation of upstream).
 *
 * Kinds follow one another, each with its check of a create, what an update may change, and its status; the table at
 * the end says which is which. What may change is mostly checked by taking the mutable fields out of copies of both
 * and comparing the rest, as upstream does, because the message shows the difference.
 *
 * Events are stored as the core group's, but judged by the group through which they came: events.k8s.io asks for
 * more. A LimitRange compares five lists of the same resources pairwise; the pairs are a table (limit_bounds), with
 * upstream's choice of which value each message shows.
 */
#include "api/codec.h"
#include "api/quantity.h"
#include "api/rules_int.h"

#define DATA_MAX 1048576

static size_t check_data(ERRS, const struct val *data)
{
    size_t total = 0;
    val_each_member (m, data) {
        check_format(e, KEY(at, m->name->s), m->name->s, format_config_key);
        total += m->v.n;
    }
    return total;
}

static void check_configmap(struct field_errors *e, const struct val *v)
{
    const struct val *data = V(v, data), *binary = V(v, binaryData);
    size_t total = 0;
    val_each_member (m, data) {
        check_format(e, KEY(AT(NULL, "data"), m->name->s), m->name->s, format_config_key);
        if (val_get(binary, m->name))
            bad_text(e, KEY(AT(NULL, "data"), m->name->s), m->name->s, "duplicate of key present in binaryData");
        total += m->v.n;
    }
    total += check_data(e, AT(NULL, "binaryData"), binary);
    if (total > DATA_MAX)
        bad_too_long(e, KEY(NULL, S("")), DATA_MAX); /* upstream: "[]", the path of the whole */
}

#define WHEN_IMMUTABLE "field is immutable when `immutable` is set"

static void update_configmap(struct field_errors *e, const struct val *v, const struct val *old)
{
    if (!val_true(V(old, immutable)))
        return;
    if (!val_true(V(v, immutable)))
        bad_forbidden(e, AT(NULL, "immutable"), WHEN_IMMUTABLE);
    if (!val_unchanged(V(v, data), V(old, data)))
        bad_forbidden(e, AT(NULL, "data"), WHEN_IMMUTABLE);
    if (!val_unchanged(V(v, binaryData), V(old, binaryData)))
        bad_forbidden(e, AT(NULL, "binaryData"), WHEN_IMMUTABLE);
}

/* Why a text is no JSON object, as Go's decoder says; NULL: it is one. */
static const char *json_complaint(struct arena *a, struct str text)
{
    struct val v;
    struct err err = ERR;
    if (!json_decode(a, text, &v, &err))
        return str_dup(a, str_of(err.text)).p;
    const char *what = val_is(&v, VAL_LIST)     ? "array"
                       : val_is(&v, VAL_STRING) ? "string"
                       : val_is(&v, VAL_BOOL)   ? "bool"
                                                : "number";
    if (v.type == VAL_MAP || v.type == VAL_NULL)
        return NULL;
    return arena_fmt(a, "json: cannot unmarshal %s into Go value of type map[string]interface {}", what).p;
}

static void need_key(ERRS, const struct val *data, const char *key)
{
    if (!val_get_str(data, str_of(key)))
        bad_required(e, KEY(at, str_of(key)), "");
}

static void check_docker(ERRS, const struct val *data, const char *key)
{
    const struct val *v = val_get_str(data, str_of(key));
    if (!v)
        return bad_required(e, KEY(at, str_of(key)), "");
    const char *why = json_complaint(e->arena, (struct str){v->s, v->n});
    if (why)
        bad_text(e, KEY(at, str_of(key)), S("<secret contents redacted>"), "%s", why);
}

static void check_secret(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(NULL, "data");
    const struct val *data = V(v, data);
    struct str type = TEXT(v, type);
    if (check_data(e, at, data) > DATA_MAX)
        bad_too_long(e, at, DATA_MAX);
    if (str_eq(type, S("kubernetes.io/service-account-token"))) {
        struct str key = S("kubernetes.io/service-account.name");
        if (val_text(val_get_str(val_at(v, N(metadata), N(annotations)), key)).n == 0)
            bad_required(e, KEY(AT(AT(NULL, "metadata"), "annotations"), key), "");
    } else if (str_eq(type, S("kubernetes.io/dockercfg"))) {
        check_docker(e, at, data, ".dockercfg");
    } else if (str_eq(type, S("kubernetes.io/dockerconfigjson"))) {
        check_docker(e, at, data, ".dockerconfigjson");
    } else if (str_eq(type, S("kubernetes.io/basic-auth"))) {
        if (!val_get_str(data, S("username")) && !val_get_str(data, S("password"))) {
            need_key(e, at, data, "username");
            need_key(e, at, data, "password");
        }
    } else if (str_eq(type, S("kubernetes.io/ssh-auth"))) {
        const struct val *key = val_get_str(data, S("ssh-privatekey"));
        if (!key || key->n == 0)
            bad_required(e, KEY(at, S("ssh-privatekey")), "");
    } else if (str_eq(type, S("kubernetes.io/tls"))) {
        need_key(e, at, data, "tls.crt");
        need_key(e, at, data, "tls.key");
    }
}

static void update_secret(struct field_errors *e, const struct val *v, const struct val *old)
{
    IMMUTABLE(e, NULL, v, old, type);
    if (!val_true(V(old, immutable)))
        return;
    if (!val_true(V(v, immutable)))
        bad_forbidden(e, AT(NULL, "immutable"), WHEN_IMMUTABLE);
    if (!val_unchanged(V(v, data), V(old, data)))
        bad_forbidden(e, AT(NULL, "data"), WHEN_IMMUTABLE);
}

static void check_namespace(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(AT(NULL, "spec"), "finalizers");
    each (f, V(V(v, spec), finalizers)) {
        check_format(e, at, val_text(f), format_qualified_name);
        check_finalizer(e, at, val_text(f));
    }
}

static void status_namespace(struct field_errors *e, const struct val *v, const struct val *old)
{
    struct str phase = TEXT(V(v, status), phase);
    (void)old;
    if (!HAS(V(v, metadata), deletionTimestamp)) {
        if (!str_eq(phase, S("Active")))
            bad_text(e, AT(AT(NULL, "status"), "Phase"), phase,
                     "may only be 'Active' if `deletionTimestamp` is empty");
    } else if (!str_eq(phase, S("Terminating"))) {
        bad_text(e, AT(AT(NULL, "status"), "Phase"), phase,
                 "may only be 'Terminating' if `deletionTimestamp` is not empty");
    }
}

static void check_taints(ERRS, const struct val *taints)
{
    AUTO(seen_fini) struct seen seen = SEEN;
    each (taint, taints) {
        const struct at *here = ITEM(at, INDEX(taints, taint));
        check_format(e, AT(here, "key"), TEXT(taint, key), format_qualified_name);
        check_format(e, AT(here, "value"), TEXT(taint, value), format_label_value);
        if (TEXT(taint, effect).n == 0)
            bad_required(e, AT(here, "effect"), "");
        else
            check_enum(e, AT(here, "effect"), TEXT(taint, effect), "NoSchedule", "PreferNoSchedule", "NoExecute");
        if (seen_pair(&seen, TEXT(taint, key), TEXT(taint, effect)))
            bad_duplicate_struct(e, here, T(core_v1_Taint), taint, "taints must be unique by key and effect pair");
    }
}

static void check_quantities(ERRS, const struct val *list)
{
    val_each_member (m, list)
        check_resource_quantity(e, AT(at, arena_strz(e->arena, m->name->s)), m->name->s, val_text(&m->v));
}

static void check_node(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(NULL, "spec");
    const struct val *spec = V(v, spec), *cidrs = V(spec, podCIDRs);
    check_taints(e, AT(AT(NULL, "metadata"), "taints"), V(spec, taints));
    if (val_len(cidrs) > 2)
        bad_value(e, AT(at, "podCIDRs"), cidrs, "may specify no more than one CIDR for each IP family");
    size_t families[2] = {0, 0};
    each (cidr, cidrs) {
        uint8_t ip[16];
        int bits;
        bool v4 = false;
        check_format(e, ITEM(AT(at, "podCIDRs"), INDEX(cidrs, cidr)), val_text(cidr), format_cidr);
        if (cidr_parse(val_text(cidr), ip, &bits, &v4))
            families[v4]++;
    }
    if (families[0] > 1 || families[1] > 1)
        bad_value(e, AT(at, "podCIDRs"), cidrs, "may specify no more than one CIDR for each IP family");
}

static void update_node(struct field_errors *e, const struct val *v, const struct val *old)
{
    const struct at *at = AT(NULL, "spec");
    const struct val *spec = V(v, spec), *was = V(old, spec);
    check_taints(e, AT(AT(NULL, "metadata"), "taints"), V(spec, taints));
    if (val_len(V(was, podCIDRs)) > 0 && !val_unchanged(V(spec, podCIDRs), V(was, podCIDRs)))
        bad_forbidden(e, AT(at, "podCIDRs"), "node updates may not change podCIDR except from \"\" to valid");
    if (TEXT(was, providerID).n > 0 && !str_eq(TEXT(spec, providerID), TEXT(was, providerID)))
        bad_forbidden(e, AT(at, "providerID"), "node updates may not change providerID except from \"\" to valid");
}

static void status_node(struct field_errors *e, const struct val *v, const struct val *old)
{
    const struct at *at = AT(NULL, "status");
    const struct val *s = V(v, status), *addresses = V(s, addresses);
    (void)old;
    check_quantities(e, AT(at, "capacity"), V(s, capacity));
    check_quantities(e, AT(at, "allocatable"), V(s, allocatable));
    AUTO(seen_fini) struct seen seen = SEEN;
    each (address, addresses)
        if (seen_value(&seen, address))
            bad_duplicate_struct(e, ITEM(AT(at, "addresses"), INDEX(addresses, address)), T(core_v1_NodeAddress),
                                 address, "");
}

/* Events: two groups write one object; new ones (with an eventTime) must be complete. */

static void check_text_field(ERRS, struct str s, size_t max)
{
    if (s.n == 0)
        bad_required(e, at, "");
    else if (s.n > max)
        bad_text(e, at, S(""), "can have at most %zu characters", max);
}

static bool cluster_scoped(const struct val *object)
{
    struct str version = TEXT(object, apiVersion), group, rest;
    const struct kind *k;
    if (!str_split(version, '/', &group, &rest)) {
        rest = group;
        group = S("");
    }
    k = kind_find(group, rest.n ? rest : S("v1"), TEXT(object, kind));
    return k && !k->namespaced && version.n > 0;
}

static void check_event_time(struct field_errors *e, const struct val *v, bool fresh, const struct name *controller,
                             const char *controller_name)
{
    struct str own = val_text(val_get(v, controller)), instance = TEXT(v, reportingInstance);
    (void)fresh;
    if (own.n == 0)
        bad_required(e, AT(NULL, controller_name), "");
    check_format(e, AT(NULL, controller_name), own, format_qualified_name);
    check_text_field(e, AT(NULL, "reportingInstance"), instance, 128);
    check_text_field(e, AT(NULL, "action"), TEXT(v, action), 128);
}

static void check_event(struct field_errors *e, const struct val *v)
{
    const struct val *object = V(v, involvedObject);
    struct str ns = TEXT(V(v, metadata), namespace), of = TEXT(object, namespace);
    const struct at *at = AT(AT(NULL, "involvedObject"), "namespace");
    if (cluster_scoped(object)) {
        if (of.n > 0 && !str_eq(of, ns) && !str_eq(ns, S("default")))
            bad_text(e, at, of, "does not match event.namespace");
        else if (of.n == 0 && !str_eq(ns, S("default")) && !str_eq(ns, S("kube-system")))
            bad_text(e, at, of, "does not match event.namespace");
    } else if (of.n > 0 ? !str_eq(of, ns) : !str_eq(ns, S("default"))) {
        bad_text(e, at, of, "does not match event.namespace");
    }
    if (HAS(v, eventTime)) {
        check_event_time(e, v, true, N(reportingComponent), "reportingComponent");
        check_text_field(e, AT(NULL, "reason"), TEXT(v, reason), 128);
    }
}

static void check_series(struct field_errors *e, const struct val *v)
{
    const struct val *series = V(v, series);
    if (!is_set(series))
        return;
    if (NUM(series, count) < 2)
        bad_text(e, AT(AT(NULL, "series"), "count"), S(""), "should be at least 2");
    if (!HAS(series, lastObservedTime))
        bad_required(e, AT(AT(NULL, "series"), "lastObservedTime"), "");
}

static void check_new_event(struct field_errors *e, const struct val *v)
{
    struct str type = TEXT(v, type), note = TEXT(v, note);
    if (!HAS(v, eventTime)) {
        bad_required(e, AT(NULL, "eventTime"), "");
    } else {
        check_series(e, v);
        check_event_time(e, v, true, N(reportingController), "reportingController");
        check_text_field(e, AT(NULL, "reason"), TEXT(v, reason), 128);
    }
    if (!str_eq(type, S("Normal")) && !str_eq(type, S("Warning")))
        bad_text(e, AT(NULL, "type"), S(""), "has invalid value: " STR_FMT, STR_ARG(type));
    if (note.n > 1024)
        bad_text(e, AT(NULL, "message"), S(""), "can have at most 1024 characters");
    if (HAS(v, deprecatedFirstTimestamp))
        bad_text(e, AT(NULL, "firstTimestamp"), S(""), "needs to be unset");
    if (HAS(v, deprecatedLastTimestamp))
        bad_text(e, AT(NULL, "lastTimestamp"), S(""), "needs to be unset");
    if (NUM(v, deprecatedCount) != 0)
        bad_text(e, AT(NULL, "count"), S(""), "needs to be unset");
    if (TEXT(V(v, deprecatedSource), component).n + TEXT(V(v, deprecatedSource), host).n > 0)
        bad_text(e, AT(NULL, "source"), S(""), "needs to be unset");
}

static void update_new_event(struct field_errors *e, const struct val *v, const struct val *old)
{
    static const struct {
        const struct name *field;
        const char *path;
    } fixed[] = {{N(reason), "reason"},
                 {N(note), "message"},
                 {N(type), "type"},
                 {N(eventTime), "eventTime"},
                 {N(action), "action"},
                 {N(reportingController), "reportingController"},
                 {N(reportingInstance), "reportingInstance"}};
    check_series(e, v);
    if (!val_unchanged(V(v, reason), V(old, reason)))
        bad_immutable(e, AT(NULL, "reason"), V(v, reason)); /* upstream says it twice */
    if (!val_unchanged(V(v, regarding), V(old, regarding)))
        bad_struct(e, AT(NULL, "involvedObject"), T(core_v1_ObjectReference), V(v, regarding), "field is immutable");
    for (size_t i = 0; i < countof(fixed); i++)
        if (!val_unchanged(val_get(v, fixed[i].field), val_get(old, fixed[i].field)))
            bad_immutable(e, AT(NULL, fixed[i].path), val_get(v, fixed[i].field));
    if (!val_unchanged(V(v, related), V(old, related)))
        bad_struct(e, AT(NULL, "related"), T(core_v1_ObjectReference), V(v, related), "field is immutable");
}

/* Volumes and claims. */

static void check_pv(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(NULL, "spec");
    const struct val *spec = V(v, spec), *capacity = V(spec, capacity), *affinity = V(spec, nodeAffinity);
    const struct val *modes = V(spec, accessModes);
    struct str reclaim = TEXT(spec, persistentVolumeReclaimPolicy);
    if (val_len(modes) == 0)
        bad_required(e, AT(at, "accessModes"), "");
    check_access_modes(e, AT(at, "accessModes"), modes);
    if (val_len(capacity) == 0)
        bad_required(e, AT(at, "capacity"), "");
    if (val_len(capacity) != 1 || !val_get_str(capacity, S("storage")))
        bad_enum_value(e, AT(at, "capacity"), capacity, SET("storage"));
    val_each_member (m, capacity) {
        const struct at *here = KEY(AT(at, "capacity"), m->name->s);
        struct str size = val_text(&m->v);
        if (quantity_cmp(size, S("0")) < 0)
            bad_num(e, here, quantity_value(size), "must be a valid resource quantity");
        if (str_eq(m->name->s, S("storage")) && quantity_cmp(size, S("0")) <= 0)
            bad_text(e, here, size, "must be greater than zero");
    }
    if (reclaim.n > 0)
        check_enum(e, AT(at, "persistentVolumeReclaimPolicy"), reclaim, "Delete", "Recycle", "Retain");
    if (is_set(affinity)) {
        if (!HAS(affinity, required))
            bad_required(e, AT(AT(at, "nodeAffinity"), "required"), "must specify required node constraints");
        else
            check_node_selector(e, AT(AT(at, "nodeAffinity"), "required"), V(affinity, required));
    } else if (HAS(spec, local)) {
        bad_required(e, AT(at, "nodeAffinity"), "Local volume requires node affinity");
    }
    check_persistent_source(e, at, spec, TEXT(V(v, metadata), name));
    if (HAS(spec, hostPath) && str_eq(TEXT(V(spec, hostPath), path), S("/")) && str_eq(reclaim, S("Recycle")))
        bad_forbidden(e, AT(at, "persistentVolumeReclaimPolicy"), "may not be 'recycle' for a hostPath mount of '/'");
    FORMAT_IF_SET(e, at, spec, storageClassName, format_dns1123_subdomain);
    if (HAS(spec, volumeMode))
        check_enum(e, AT(at, "volumeMode"), TEXT(spec, volumeMode), "Block", "Filesystem");
    if (HAS(spec, volumeAttributesClassName)) {
        if (TEXT(spec, volumeAttributesClassName).n == 0)
            bad_required(e, AT(at, "volumeAttributesClassName"), "an empty string is disallowed");
        FORMAT_IF_SET(e, at, spec, volumeAttributesClassName, format_dns1123_subdomain);
        if (!HAS(spec, csi))
            bad_required(e, AT(at, "csi"), "has to be specified when using volumeAttributesClassName");
    }
}

static void update_pv(struct field_errors *e, const struct val *v, const struct val *old)
{
    static const struct name *const mutable[] = {
        N(capacity),     N(accessModes), N(claimRef),     N(persistentVolumeReclaimPolicy), N(storageClassName),
        N(mountOptions), N(volumeMode),  N(nodeAffinity), N(volumeAttributesClassName)};
    struct val now = val_copy(e->arena, V(v, spec)), was = val_copy(e->arena, V(old, spec));
    for (size_t i = 0; i < countof(mutable); i++) {
        val_del(&now, mutable[i]);
        val_del(&was, mutable[i]);
    }
    if (!val_unchanged(&now, &was))
        bad_forbidden(e, AT(AT(NULL, "spec"), "persistentvolumesource"),
                      "spec.persistentvolumesource is immutable after creation\n" STR_FMT,
                      STR_ARG(val_changes(e->arena, &was, &now)));
    IMMUTABLE(e, NULL, V(v, spec), V(old, spec), volumeMode);
    if (HAS(V(old, spec), nodeAffinity))
        IMMUTABLE(e, NULL, V(v, spec), V(old, spec), nodeAffinity);
}

static void check_pvc(struct field_errors *e, const struct val *v)
{
    check_claim_spec(e, AT(NULL, "spec"), V(v, spec), false);
}

static void update_pvc(struct field_errors *e, const struct val *v, const struct val *old)
{
    const struct at *at = AT(NULL, "spec");
    struct arena *a = e->arena;
    const struct val *spec = V(v, spec), *was = V(old, spec);
    struct val now = val_copy(a, spec), before = val_copy(a, was);
    bool bound = str_eq(TEXT(V(old, status), phase), S("Bound"));
    struct str size = val_text(val_get_str(V(V(spec, resources), requests), S("storage")));
    struct str size_was = val_text(val_get_str(V(V(was, resources), requests), S("storage")));
    if (TEXT(was, volumeName).n == 0)
        val_del(&now, N(volumeName)), val_del(&before, N(volumeName));
    if (!HAS(was, storageClassName))
        val_del(&now, N(storageClassName));
    if (bound) {
        const struct name *const free[] = {N(volumeAttributesClassName)};
        for (size_t i = 0; i < countof(free); i++)
            val_del(&now, free[i]), val_del(&before, free[i]);
        val_del_str(val_need_map(a, &now, N(resources), N(requests)), S("storage"));
        val_del_str(val_need_map(a, &before, N(resources), N(requests)), S("storage"));
    }
    if (!val_unchanged(&now, &before))
        bad_forbidden(e, at,
                      "spec is immutable after creation except resources.requests and volumeAttributesClassName for "
                      "bound claims\n" STR_FMT,
                      STR_ARG(val_changes(a, &before, &now)));
    else if (bound && quantity_cmp(size, size_was) < 0) {
        struct str capacity = val_text(val_get_str(V(V(old, status), capacity), S("storage")));
        if (quantity_cmp(size, capacity) <= 0) /* back to what it has not grown to yet, it may */
            bad_forbidden(e, AT(AT(AT(at, "resources"), "requests"), "storage"),
                          "field can not be less than status.capacity");
    }
    IMMUTABLE(e, NULL, spec, was, volumeMode);
}

static void check_volume_sizes(ERRS, const struct val *sizes)
{
    val_each_member (m, sizes)
        if (quantity_cmp(val_text(&m->v), S("0")) < 0)
            bad_num(e, KEY(at, m->name->s), quantity_value(val_text(&m->v)), "must be a valid resource quantity");
}

static void status_pvc(struct field_errors *e, const struct val *v, const struct val *old)
{
    const struct at *at = AT(NULL, "status");
    (void)old;
    check_volume_sizes(e, AT(at, "capacity"), V(V(v, status), capacity));
    check_volume_sizes(e, AT(at, "allocatedResources"), V(V(v, status), allocatedResources));
}

static bool quota_resource(struct str s)
{
    return standard_resource(s) && !str_eqz(s, "storage");
}

static bool text_is_among(struct str s, const char *const *set)
{
    for (; *set; set++)
        if (str_eqz(s, *set))
            return true;
    return false;
}

static const char *const quota_scopes[] = {"Terminating",
                                           "NotTerminating",
                                           "BestEffort",
                                           "NotBestEffort",
                                           "PriorityClass",
                                           "CrossNamespacePodAffinity",
                                           "VolumeAttributesClass",
                                           NULL};

/* Whether a quota of this scope may bound the resource. */
static bool scope_bounds(struct str scope, struct str resource)
{
    if (str_eq(scope, S("BestEffort")))
        return str_eq(resource, S("pods"));
    if (str_eq(scope, S("VolumeAttributesClass")))
        return text_is_among(resource, SET("persistentvolumeclaims", "requests.storage"));
    return !text_is_among(scope, quota_scopes) ||
           text_is_among(resource, SET("pods", "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu",
                                       "limits.memory"));
}

static void check_scope_resources(ERRS, struct str scope, const struct val *hard, const struct val *shown,
                                  const struct type *t)
{
    val_each_member (m, hard) {
        if (!quota_resource(m->name->s) || scope_bounds(scope, m->name->s))
            continue;
        if (t)
            bad_struct(e, at, t, shown, "unsupported scope applied to resource");
        else
            bad_value(e, at, shown, "unsupported scope applied to resource");
    }
}

static void check_scope_pairs(ERRS, const struct val *scopes, bool (*has)(const struct val *v, const char *scope),
                              const struct val *in)
{
    static const char *const pairs[][2] = {{"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"}};
    for (size_t i = 0; i < countof(pairs); i++)
        if (has(in, pairs[i][0]) && has(in, pairs[i][1]))
            bad_value(e, at, scopes, "conflicting scopes");
}

static bool has_scope(const struct val *scopes, const char *scope)
{
    bool found = false;
    each (s, scopes)
        found |= str_eqz(val_text(s), scope);
    return found;
}

static bool selects_scope(const struct val *expressions, const char *scope)
{
    return val_find(expressions, N(scopeName), str_of(scope)) != NULL;
}

static void check_scope_expression(ERRS, const struct val *x)
{
    static const char *const plain[] = {
        "BestEffort", "NotBestEffort", "Terminating", "NotTerminating", "CrossNamespacePodAffinity", NULL};
    struct str op = TEXT(x, operator), scope = TEXT(x, scopeName);
    const struct val *values = V(x, values);
    if (text_is_among(scope, plain) && !str_eq(op, S("Exists")))
        bad_text(e, AT(at, "operator"), op,
                 "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, "
                 "ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or "
                 "ResourceQuotaScopeCrossNamespacePodAffinity");
    if (text_is_among(op, SET("In", "NotIn"))) {
        if (val_len(values) == 0)
            bad_required(e, AT(at, "values"),
                         "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector");
    } else if (text_is_among(op, SET("Exists", "DoesNotExist"))) {
        if (val_len(values) > 0)
            bad_value(e, AT(at, "values"), values,
                      "must be no value when `operator` is 'Exists' or 'DoesNotExist' for scope selector");
    } else {
        bad_text(e, AT(at, "operator"), op, "not a valid selector operator");
    }
}

static void check_quota_scopes(ERRS, const struct val *spec)
{
    const struct val *scopes = V(spec, scopes), *hard = V(spec, hard), *selector = V(spec, scopeSelector),
                     *expressions = V(selector, matchExpressions);
    const struct at *scopes_at = AT(at, "scopes"), *selector_at = AT(AT(at, "scopeSelector"), "matchExpressions");
    each (scope, scopes) {
        if (!text_is_among(val_text(scope), quota_scopes))
            bad_value(e, scopes_at, scopes, "unsupported scope");
        check_scope_resources(e, scopes_at, val_text(scope), hard, scopes, NULL);
    }
    check_scope_pairs(e, scopes_at, scopes, has_scope, scopes);
    each (x, expressions) {
        if (!text_is_among(TEXT(x, scopeName), quota_scopes))
            bad_text(e, AT(selector_at, "scopeName"), TEXT(x, scopeName), "unsupported scope");
        check_scope_resources(e, selector_at, TEXT(x, scopeName), hard, selector, T(core_v1_ScopeSelector));
        check_scope_expression(e, selector_at, x);
    }
    check_scope_pairs(e, selector_at, scopes, selects_scope, expressions);
}

static void check_quota_list(ERRS, const struct val *list)
{
    val_each_member (m, list) {
        const struct at *here = KEY(at, m->name->s);
        bool count = str_starts(m->name->s, S("count/"));
        check_resource_name(e, here, m->name->s);
        if (str_find_char(m->name->s, '/') < 0 && !quota_resource(m->name->s))
            bad_text(e, here, m->name->s, "must be a standard resource for quota");
        if (count && !quantity_whole(val_text(&m->v)))
            bad_text(e, here, val_text(&m->v), "must be an integer");
        check_resource_quantity(e, here, m->name->s, val_text(&m->v));
    }
}

static void check_quota(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(NULL, "spec");
    check_quota_list(e, AT(at, "hard"), V(V(v, spec), hard));
    check_quota_scopes(e, at, V(v, spec));
}

static void update_quota(struct field_errors *e, const struct val *v, const struct val *old)
{
    const struct val *now = V(V(v, spec), scopes), *was = V(V(old, spec), scopes);
    bool same = true;
    each (scope, now)
        same &= has_scope(was, scope->s);
    each (scope, was)
        same &= has_scope(now, scope->s);
    if (!same)
        bad_immutable(e, AT(AT(NULL, "spec"), "scopes"), now);
}

static void status_quota(struct field_errors *e, const struct val *v, const struct val *old)
{
    const struct at *at = AT(NULL, "status");
    (void)old;
    check_quota_list(e, AT(at, "hard"), V(V(v, status), hard));
    check_quota_list(e, AT(at, "used"), V(V(v, status), used));
}

/* --- LimitRange: each resource's bounds are in order --- */

static const struct name *const limit_lists[] = {N(max), N(min), N(default), N(defaultRequest),
                                                 N(maxLimitRequestRatio)};
enum { LIMIT_MAX, LIMIT_MIN, LIMIT_DEFAULT, LIMIT_REQUEST, LIMIT_RATIO, LIMIT_LISTS };

/* One of the texts must not be greater than the other; `shown` and where it is are upstream's choice. */
struct bound {
    int low, high, at, shown;
    const char *low_is, *high_is;
};
static const struct bound limit_bounds[] = {
    {LIMIT_MIN, LIMIT_MAX, LIMIT_MIN, LIMIT_MIN, "min", "max"},
    {LIMIT_MIN, LIMIT_REQUEST, LIMIT_REQUEST, LIMIT_REQUEST, "min", "default request"},
    {LIMIT_REQUEST, LIMIT_MAX, LIMIT_REQUEST, LIMIT_REQUEST, "default request", "max"},
    {LIMIT_REQUEST, LIMIT_DEFAULT, LIMIT_REQUEST, LIMIT_REQUEST, "default request", "default limit"},
    {LIMIT_MIN, LIMIT_DEFAULT, LIMIT_DEFAULT, LIMIT_MIN, "min", "default"},
    {LIMIT_DEFAULT, LIMIT_MAX, LIMIT_DEFAULT, LIMIT_MAX, "default", "max"},
};

#define MILLI_MOST (INT64_MAX / 1000)

static void check_ratio(ERRS, const struct str *q)
{
    int64_t ratio = quantity_value(q[LIMIT_RATIO]), low = quantity_value(q[LIMIT_MIN]),
            high = quantity_value(q[LIMIT_MAX]);
    double most = (double)ratio;
    if (ratio < MILLI_MOST && low < MILLI_MOST && high < MILLI_MOST) {
        most = (double)quantity_milli(q[LIMIT_RATIO]) / 1000;
        low = quantity_milli(q[LIMIT_MIN]);
        high = quantity_milli(q[LIMIT_MAX]);
    }
    if (low != 0 && most > (double)high / (double)low)
        bad_text(e, at, q[LIMIT_RATIO], "ratio " STR_FMT " is greater than max/min = %f", STR_ARG(q[LIMIT_RATIO]),
                 (double)high / (double)low);
}

static void check_limits_of(ERRS, const struct val *item, const struct name *resource)
{
    struct str q[LIMIT_LISTS];
    bool pod = str_eq(TEXT(item, type), S("Pod"));
    for (int i = 0; i < LIMIT_LISTS; i++) {
        bool ignored = pod && (i == LIMIT_DEFAULT || i == LIMIT_REQUEST);
        q[i] = ignored ? STR_NONE : val_text(val_get(val_get(item, limit_lists[i]), resource));
    }
    for (size_t i = 0; i < countof(limit_bounds); i++) {
        const struct bound *b = &limit_bounds[i];
        if (q[b->low].n > 0 && q[b->high].n > 0 && quantity_cmp(q[b->low], q[b->high]) > 0)
            bad_text(e, KEY(AT(at, limit_lists[b->at]->s.p), resource->s), q[b->shown],
                     "%s value " STR_FMT " is greater than %s value " STR_FMT, b->low_is, STR_ARG(q[b->low]),
                     b->high_is, STR_ARG(q[b->high]));
    }
    const struct at *ratio = KEY(AT(at, "maxLimitRequestRatio"), resource->s);
    if (q[LIMIT_RATIO].n > 0 && quantity_cmp(q[LIMIT_RATIO], S("1")) < 0)
        bad_text(e, ratio, q[LIMIT_RATIO], "ratio " STR_FMT " is less than 1", STR_ARG(q[LIMIT_RATIO]));
    if (q[LIMIT_RATIO].n > 0 && q[LIMIT_MIN].n > 0 && q[LIMIT_MAX].n > 0)
        check_ratio(e, ratio, q);
    bool overcommit = is_native_resource(resource->s) && !is_hugepages(resource->s);
    if (!overcommit && q[LIMIT_DEFAULT].n > 0 && q[LIMIT_REQUEST].n > 0 &&
        quantity_cmp(q[LIMIT_DEFAULT], q[LIMIT_REQUEST]) != 0)
        bad_text(e, KEY(AT(at, "defaultRequest"), resource->s), q[LIMIT_REQUEST],
                 "default value " STR_FMT " must equal to defaultRequest value " STR_FMT " in " STR_FMT,
                 STR_ARG(q[LIMIT_DEFAULT]), STR_ARG(q[LIMIT_REQUEST]), STR_ARG(resource->s));
}

static void check_limit_item(ERRS, const struct val *item, struct seen *seen)
{
    struct str type = TEXT(item, type);
    bool pod = str_eq(type, S("Pod")), container = str_eq(type, S("Container")),
         claim = str_eq(type, S("PersistentVolumeClaim"));
    struct val all = val_map();
    if (check_format(e, AT(at, "type"), type, format_qualified_name) && str_find_char(type, '/') < 0 && !pod &&
        !container && !claim)
        bad_text(e, AT(at, "type"), type, "must be a standard limit type or fully qualified");
    if (seen_before(seen, type))
        bad_duplicate(e, AT(at, "type"), type);
    for (int i = 0; i < LIMIT_LISTS; i++) {
        const struct val *list = val_get(item, limit_lists[i]);
        const struct at *here = AT(at, limit_lists[i]->s.p);
        if (i == LIMIT_RATIO && claim && !val_get_str(V(item, min), S("storage")) &&
            !val_get_str(V(item, max), S("storage")))
            bad_required(e, AT(at, "limits"),
                         "either minimum or maximum storage value is required, but neither was provided");
        if (pod && (i == LIMIT_DEFAULT || i == LIMIT_REQUEST)) {
            if (val_len(list) > 0)
                bad_forbidden(e, here, "may not be specified when `type` is 'Pod'");
            continue;
        }
        val_each_member (m, list) {
            (pod || container ? check_container_resource_name : check_resource_name)(e, KEY(here, m->name->s),
                                                                                     m->name->s);
            val_set(e->arena, &all, m->name, VAL_NONE);
        }
    }
    val_each_member (m, &all)
        check_limits_of(e, at, item, m->name);
}

static void check_limitrange(struct field_errors *e, const struct val *v)
{
    const struct val *limits = V(V(v, spec), limits);
    AUTO(seen_fini) struct seen seen = SEEN;
    each (item, limits)
        check_limit_item(e, ITEM(AT(AT(NULL, "spec"), "limits"), INDEX(limits, item)), item, &seen);
}

const struct kind_rules rules_core[] = {
    RULES(ConfigMap, format_dns1123_subdomain, check_configmap, update_configmap, NULL, .update_first = true),
    RULES(Secret, format_dns1123_subdomain, check_secret, update_secret, NULL, .update_first = true),
    RULES(Namespace, format_dns1123_label, check_namespace, NULL, status_namespace),
    RULES(ServiceAccount, format_dns1123_subdomain, NULL, NULL, NULL),
    RULES(Node, format_dns1123_subdomain, check_node, update_node, status_node),
    RULES(Event, format_path_segment, check_event, NULL, NULL),
    RULES(events_k8s_io_Event, format_dns1123_subdomain, check_new_event, update_new_event, NULL,
          .update_alone = true),
    RULES(PersistentVolume, format_dns1123_subdomain, check_pv, update_pv, NULL),
    RULES(PersistentVolumeClaim, format_dns1123_subdomain, check_pvc, update_pvc, status_pvc),
    RULES(ResourceQuota, format_dns1123_subdomain, check_quota, update_quota, status_quota),
    RULES(LimitRange, format_dns1123_subdomain, check_limitrange, NULL, NULL),
    RULES_END,
};
