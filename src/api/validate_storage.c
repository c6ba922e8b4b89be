/* validate_storage.c - storage classes and drivers. */
#include "api/rules_int.h"

/* Upstream looks at the name in lower case and complains about that. */
static void check_driver_name(ERRS, struct str name)
{
    char *p = arena_dup(e->arena, name.p, name.n);
    for (size_t i = 0; i < name.n; i++)
        p[i] = p[i] >= 'A' && p[i] <= 'Z' ? (char)(p[i] + 32) : p[i];
    check_format(e, at, (struct str){p, name.n}, format_qualified_name);
}

static void check_topologies(ERRS, const struct val *terms)
{
    AUTO(seen_fini) struct seen terms_seen = SEEN;
    each (term, terms) {
        const struct at *list = AT(ITEM(at, INDEX(terms, term)), "matchLabelExpressions");
        const struct val *expressions = V(term, matchLabelExpressions);
        AUTO(seen_fini) struct seen seen = SEEN;
        each (x, expressions) {
            const struct at *here = ITEM(list, INDEX(expressions, x));
            const struct val *values = V(x, values);
            if (val_len(values) == 0)
                bad_required(e, AT(here, "values"), "");
            AUTO(seen_fini) struct seen same_values = SEEN;
            each (value, values)
                if (seen_before(&same_values, val_text(value)))
                    bad_duplicate(e, ITEM(AT(here, "values"), INDEX(values, value)), val_text(value));
            check_format(e, AT(here, "key"), TEXT(x, key), format_qualified_name);
            if (seen_before(&seen, TEXT(x, key)))
                bad_duplicate(e, AT(here, "key"), TEXT(x, key));
        }
        bool same = val_len(expressions) == 0; /* upstream compares with a list that begins with empty ones */
        if (seen_value(&terms_seen, expressions) || same)
            bad_duplicate(e, list, S(""));
    }
}

static void check_class(struct field_errors *e, const struct val *v)
{
    const struct val *parameters = V(v, parameters);
    struct str provisioner = TEXT(v, provisioner);
    size_t total = 0;
    if (provisioner.n == 0)
        bad_required(e, AT(NULL, "provisioner"), "");
    else
        check_driver_name(e, AT(NULL, "provisioner"), provisioner);
    if (val_len(parameters) > 512)
        bad_too_long(e, AT(NULL, "parameters"), 512);
    val_each_member (m, parameters) {
        if (m->name->s.n == 0)
            bad_text(e, AT(NULL, "parameters"), S(""), "field can not be empty.");
        total += m->name->s.n + m->v.n;
    }
    if (total > 262144)
        bad_too_long(e, AT(NULL, "parameters"), 262144);
    if (TEXT(v, reclaimPolicy).n > 0)
        check_enum(e, AT(NULL, "reclaimPolicy"), TEXT(v, reclaimPolicy), "Delete", "Retain");
    if (!HAS(v, volumeBindingMode))
        bad_required(e, AT(NULL, "volumeBindingMode"), "");
    else
        check_enum(e, AT(NULL, "volumeBindingMode"), TEXT(v, volumeBindingMode), "Immediate", "WaitForFirstConsumer");
    check_topologies(e, AT(NULL, "allowedTopologies"), V(v, allowedTopologies));
}

static void update_class(struct field_errors *e, const struct val *v, const struct val *old)
{
    IMMUTABLE(e, NULL, v, old, parameters);
    IMMUTABLE(e, NULL, v, old, provisioner);
    IMMUTABLE(e, NULL, v, old, reclaimPolicy);
    IMMUTABLE(e, NULL, v, old, volumeBindingMode);
}

static void check_attachment(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(NULL, "spec");
    const struct val *spec = V(v, spec), *source = V(spec, source);
    if (REQUIRED(e, at, spec, attacher))
        check_format(e, AT(at, "attacher"), TEXT(spec, attacher), format_dns1123_subdomain);
    bool own = HAS(source, persistentVolumeName), inlined = HAS(source, inlineVolumeSpec);
    if (own && inlined)
        bad_forbidden(e, AT(at, "source"), "must specify exactly one of inlineVolumeSpec and persistentVolumeName");
    else if (!own && !inlined)
        bad_required(e, AT(at, "source"), "must specify exactly one of inlineVolumeSpec and persistentVolumeName");
    else if (own && TEXT(source, persistentVolumeName).n == 0)
        bad_required(e, AT(AT(at, "source"), "persistentVolumeName"), "must specify non empty persistentVolumeName");
    if (own && !inlined)
        check_format(e, AT(AT(at, "source"), "persistentVolumeName"), TEXT(source, persistentVolumeName),
                     format_dns1123_subdomain);
    check_format(e, AT(at, "nodeName"), TEXT(spec, nodeName), format_dns1123_subdomain);
}

static void update_spec(struct field_errors *e, const struct val *v, const struct val *old)
{
    if (!val_unchanged(V(v, spec), V(old, spec)))
        bad_struct(e, AT(NULL, "spec"), T(storage_v1_VolumeAttachmentSpec), V(v, spec), "field is immutable");
}

static void check_csinode(struct field_errors *e, const struct val *v)
{
    const struct val *drivers = V(V(v, spec), drivers);
    AUTO(seen_fini) struct seen seen2 = SEEN;
    each (driver, drivers) {
        const struct at *here = ITEM(AT(AT(NULL, "spec"), "drivers"), INDEX(drivers, driver));
        if (REQUIRED(e, here, driver, name))
            check_format(e, AT(here, "name"), TEXT(driver, name), format_dns1123_subdomain);
        REQUIRED(e, here, driver, nodeID);
        if (TEXT(driver, nodeID).n > 256)
            bad_text(e, AT(here, "nodeID"), TEXT(driver, nodeID), "must be 256 characters or less");
        if (HAS(V(driver, allocatable), count))
            check_not_negative(e, AT(AT(here, "allocatable"), "count"), V(V(driver, allocatable), count));
        const struct val *keys = V(driver, topologyKeys);
        AUTO(seen_fini) struct seen seen = SEEN;
        each (key, keys) {
            check_format(e, here, val_text(key), format_qualified_name);
            if (seen_before(&seen, val_text(key)))
                bad_duplicate(e, here, val_text(key));
        }
        if (seen_before(&seen2, TEXT(driver, name)))
            bad_duplicate(e, AT(here, "name"), TEXT(driver, name));
    }
}

static void update_csinode(struct field_errors *e, const struct val *v, const struct val *old)
{
    const struct val *was = V(V(old, spec), drivers);
    each (driver, V(V(v, spec), drivers)) {
        const struct val *before = val_find(was, N(name), TEXT(driver, name));
        if (before && (!str_eq(TEXT(driver, nodeID), TEXT(before, nodeID)) ||
                       !val_unchanged(V(driver, topologyKeys), V(before, topologyKeys)))) {
            struct val shown = val_copy(e->arena, driver);
            val_del(&shown, N(allocatable)); /* it may change and is not compared */
            bad_struct(e, AT(AT(NULL, "spec"), "drivers"), T(storage_v1_CSINodeDriver), &shown, "field is immutable");
        }
    }
}

static void check_token_requests(ERRS, const struct val *requests)
{
    AUTO(seen_fini) struct seen seen = SEEN;
    each (request, requests) {
        const struct at *here = ITEM(at, INDEX(requests, request));
        const struct val *seconds = V(request, expirationSeconds);
        if (seen_before(&seen, TEXT(request, audience))) {
            bad_duplicate(e, AT(here, "audience"), TEXT(request, audience));
            continue;
        }
        if (val_is(seconds, VAL_INT) && seconds->i < 600)
            bad_num(e, AT(here, "expirationSeconds"), seconds->i, "may not specify a duration less than 10 minutes");
        if (val_is(seconds, VAL_INT) && seconds->i > 4294967296)
            bad_num(e, AT(here, "expirationSeconds"), seconds->i,
                    "may not specify a duration larger than 2^32 seconds");
    }
}

static void check_csidriver(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(NULL, "spec");
    const struct val *spec = V(v, spec);
    if (HAS(spec, fsGroupPolicy))
        check_enum(e, AT(at, "fsGroupPolicy"), TEXT(spec, fsGroupPolicy), "File", "None", "ReadWriteOnceWithFSType");
    check_token_requests(e, AT(at, "tokenRequests"), V(spec, tokenRequests));
    each (mode, V(spec, volumeLifecycleModes))
        check_enum(e, AT(at, "volumeLifecycleModes"), val_text(mode), "Ephemeral", "Persistent");
}

static void update_csidriver(struct field_errors *e, const struct val *v, const struct val *old)
{
    IMMUTABLE(e, AT(NULL, "spec"), V(v, spec), V(old, spec), attachRequired);
    IMMUTABLE(e, AT(NULL, "spec"), V(v, spec), V(old, spec), volumeLifecycleModes);
}

static void check_capacity(struct field_errors *e, const struct val *v)
{
    check_format(e, AT(NULL, "storageClassName"), TEXT(v, storageClassName), format_dns1123_subdomain);
    if (HAS(v, nodeTopology))
        check_label_selector(e, AT(NULL, "nodeTopology"), V(v, nodeTopology));
}

static void update_capacity(struct field_errors *e, const struct val *v, const struct val *old)
{
    IMMUTABLE(e, NULL, v, old, nodeTopology);
    IMMUTABLE(e, NULL, v, old, storageClassName);
}

static void check_attributes(struct field_errors *e, const struct val *v)
{
    if (TEXT(v, driverName).n == 0)
        bad_required(e, AT(NULL, "driverName"), "");
    else
        check_driver_name(e, AT(NULL, "driverName"), TEXT(v, driverName));
    if (val_len(V(v, parameters)) == 0)
        bad_required(e, AT(NULL, "parameters"), "must contain at least one key/value pair");
    if (val_get_str(V(v, parameters), S("")))
        bad_text(e, AT(NULL, "parameters"), S(""), "field can not be empty.");
}

static void update_attributes(struct field_errors *e, const struct val *v, const struct val *old)
{
    if (!val_unchanged(V(v, driverName), V(old, driverName)))
        bad_forbidden(e, AT(NULL, "driverName"), "updates to driverName are forbidden.");
    if (!val_unchanged(V(v, parameters), V(old, parameters)))
        bad_forbidden(e, AT(NULL, "parameters"), "updates to parameters are forbidden.");
}

const struct kind_rules rules_storage[] = {
    RULES(StorageClass, format_dns1123_subdomain, check_class, update_class, NULL),
    RULES(VolumeAttachment, format_dns1123_subdomain, check_attachment, update_spec, NULL),
    RULES(CSINode, format_dns1123_subdomain, check_csinode, update_csinode, NULL),
    RULES(CSIDriver, format_dns1123_subdomain, check_csidriver, update_csidriver, NULL),
    RULES(CSIStorageCapacity, format_dns1123_subdomain, check_capacity, update_capacity, NULL),
    RULES(VolumeAttributesClass, format_dns1123_subdomain, check_attributes, update_attributes, NULL,
          .update_first = true),
    RULES_END,
};
