/* validate_core.c - ConfigMap, Secret, Namespace, Node, Event, PersistentVolume(Claim), LimitRange, ResourceQuota. */
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
    if (!unchanged(V(v, data), V(old, data)))
        bad_forbidden(e, AT(NULL, "data"), WHEN_IMMUTABLE);
    if (!unchanged(V(v, binaryData), V(old, binaryData)))
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
    if (!unchanged(V(v, data), V(old, data)))
        bad_forbidden(e, AT(NULL, "data"), WHEN_IMMUTABLE);
}

static void check_namespace(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(AT(NULL, "spec"), "finalizers");
    each(f, V(V(v, spec), finalizers))
    {
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
    each(taint, taints)
    {
        const struct at *here = ITEM(at, INDEX(taints, taint));
        check_format(e, AT(here, "key"), TEXT(taint, key), format_qualified_name);
        check_format(e, AT(here, "value"), TEXT(taint, value), format_label_value);
        if (TEXT(taint, effect).n == 0)
            bad_required(e, AT(here, "effect"), "");
        else
            check_enum(e, AT(here, "effect"), TEXT(taint, effect), "NoSchedule", "PreferNoSchedule", "NoExecute");
        for (const struct val *other = taints->list; other < taint; other++)
            if (str_eq(TEXT(other, key), TEXT(taint, key)) && str_eq(TEXT(other, effect), TEXT(taint, effect))) {
                bad_duplicate_struct(e, here, T(core_v1_Taint), taint,
                                     "taints must be unique by key and effect pair");
                break;
            }
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
    each(cidr, cidrs)
    {
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
    if (val_len(V(was, podCIDRs)) > 0 && !unchanged(V(spec, podCIDRs), V(was, podCIDRs)))
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
    each(address, addresses) for (const struct val *other = addresses->list; other < address;
                                  other++) if (val_equal(other, address))
    {
        bad_duplicate_struct(e, ITEM(AT(at, "addresses"), INDEX(addresses, address)), T(core_v1_NodeAddress), address,
                             "");
        break;
    }
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
    if (!unchanged(V(v, reason), V(old, reason)))
        bad_immutable(e, AT(NULL, "reason"), V(v, reason)); /* upstream says it twice */
    if (!unchanged(V(v, regarding), V(old, regarding)))
        bad_struct(e, AT(NULL, "involvedObject"), T(core_v1_ObjectReference), V(v, regarding), "field is immutable");
    for (size_t i = 0; i < countof(fixed); i++)
        if (!unchanged(val_get(v, fixed[i].field), val_get(old, fixed[i].field)))
            bad_immutable(e, AT(NULL, fixed[i].path), val_get(v, fixed[i].field));
    if (!unchanged(V(v, related), V(old, related)))
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
    FORMAT_IF_SET(e, at, spec, volumeAttributesClassName, format_dns1123_subdomain);
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
    if (!unchanged(&now, &was))
        bad_forbidden(e, AT(AT(NULL, "spec"), "persistentvolumesource"),
                      "spec.persistentvolumesource is immutable after creation\n" STR_FMT,
                      STR_ARG(changes(e->arena, &was, &now)));
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
    if (!unchanged(&now, &before))
        bad_forbidden(e, at,
                      "spec is immutable after creation except resources.requests and volumeAttributesClassName for "
                      "bound claims\n" STR_FMT,
                      STR_ARG(changes(a, &before, &now)));
    else if (bound && quantity_cmp(size, size_was) < 0) {
        struct str capacity = val_text(val_get_str(V(V(old, status), capacity), S("storage")));
        if (quantity_cmp(size, capacity) < 0)
            bad_forbidden(e, AT(AT(AT(at, "resources"), "requests"), "storage"),
                          "field can not be less than status.capacity");
        else
            bad_forbidden(e, AT(AT(AT(at, "resources"), "requests"), "storage"),
                          "field can not be less than previous value");
    }
    IMMUTABLE(e, NULL, spec, was, volumeMode);
}

static bool quota_resource(struct str s)
{
    static const char *const set[] = {"cpu",
                                      "memory",
                                      "ephemeral-storage",
                                      "requests.cpu",
                                      "requests.memory",
                                      "requests.storage",
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
                                      "services.nodeports",
                                      "services.loadbalancers"};
    for (size_t i = 0; i < countof(set); i++)
        if (str_eqz(s, set[i]))
            return true;
    return is_hugepages(s) || str_starts(s, S("requests.hugepages-"));
}

static void check_quota(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(AT(NULL, "spec"), "hard");
    const struct val *scopes = V(V(v, spec), scopes);
    val_each_member (m, V(V(v, spec), hard)) {
        const struct at *here = KEY(at, m->name->s);
        size_t before = e->list.n;
        bool count = str_starts(m->name->s, S("count/"));
        check_resource_name(e, here, m->name->s);
        (void)before;
        if (str_find_char(m->name->s, '/') < 0 && !quota_resource(m->name->s))
            bad_text(e, here, m->name->s, "must be a standard resource for quota");
        if (count && quantity_milli(val_text(&m->v)) % 1000 != 0)
            bad_text(e, here, val_text(&m->v), "must be an integer");
        check_resource_quantity(e, here, m->name->s, val_text(&m->v));
    }
    each(scope, scopes)
        check_enum(e, AT(AT(NULL, "spec"), "scopes"), val_text(scope), "BestEffort", "CrossNamespacePodAffinity",
                   "NotBestEffort", "NotTerminating", "PriorityClass", "Terminating", "VolumeAttributesClass");
}

static void update_quota(struct field_errors *e, const struct val *v, const struct val *old)
{
    IMMUTABLE(e, AT(NULL, "spec"), V(v, spec), V(old, spec), scopes);
}

/* No quantity of `low` may be above the one of `high`. */
static void check_limit(ERRS, const struct val *item, const struct name *low, const struct name *high,
                        const char *low_is, const char *high_is)
{
    val_each_member (m, val_get(item, low)) {
        const struct val *bound = val_get(val_get(item, high), m->name);
        if (bound && quantity_cmp(val_text(&m->v), val_text(bound)) > 0)
            bad_text(e, KEY(AT(at, low->s.p), m->name->s), val_text(&m->v),
                     "%s value " STR_FMT " is greater than %s value " STR_FMT, low_is, STR_ARG(val_text(&m->v)),
                     high_is, STR_ARG(val_text(bound)));
    }
}

static void check_limitrange(struct field_errors *e, const struct val *v)
{
    const struct val *limits = V(V(v, spec), limits);
    each(item, limits)
    {
        const struct at *here = ITEM(AT(AT(NULL, "spec"), "limits"), INDEX(limits, item));
        struct str type = TEXT(item, type);
        for (const struct val *other = limits->list; other < item; other++)
            if (str_eq(TEXT(other, type), type)) {
                bad_duplicate(e, AT(here, "type"), type);
                break;
            }
        if (str_find_char(type, '/') < 0 && !str_eq(type, S("Pod")) && !str_eq(type, S("Container")) &&
            !str_eq(type, S("PersistentVolumeClaim")))
            bad_text(e, AT(here, "type"), type, "must be a standard limit type or fully qualified");
        if (str_eq(type, S("Pod"))) {
            if (val_len(V(item, default)) > 0)
                bad_forbidden(e, AT(here, "default"), "may not be specified when `type` is 'Pod'");
            if (val_len(V(item, defaultRequest)) > 0)
                bad_forbidden(e, AT(here, "defaultRequest"), "may not be specified when `type` is 'Pod'");
        }
        check_limit(e, here, item, N(min), N(max), "min", "max");
        check_limit(e, here, item, N(defaultRequest), N(default), "default request", "default limit");
        check_limit(e, here, item, N(default), N(max), "default", "max");
    }
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
    RULES(PersistentVolumeClaim, format_dns1123_subdomain, check_pvc, update_pvc, NULL),
    RULES(ResourceQuota, format_dns1123_subdomain, check_quota, update_quota, NULL),
    RULES(LimitRange, format_dns1123_subdomain, check_limitrange, NULL, NULL),
    RULES_END,
};
