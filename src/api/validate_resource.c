/* validate_resource.c - claims of devices, their templates and classes. What their expressions may cost is
 * not estimated, as nothing runs them. */
#include "api/rules_int.h"

/* The names that constraints, configuration and results may use: "gpu", and "gpu/small" of a subrequest. */
static bool names_request(const struct named *requests, struct str name)
{
    struct str request, sub;
    bool nested = str_split(name, '/', &request, &sub);
    const struct val *found = named_find(requests, nested ? request : name);
    return found && (!nested || val_find(V(found, firstAvailable), N(name), sub));
}

static void check_request_name(ERRS, const struct named *requests, struct str name)
{
    if (!names_request(requests, name))
        bad_text(
            e, at, name,
            "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'");
}

static void check_request_names(ERRS, const struct named *requests, const struct val *list)
{
    each (name, list)
        check_request_name(e, ITEM(at, INDEX(list, name)), requests, val_text(name));
}

enum { SELECTOR_EXPRESSION_MAX = 10 * 1024 };

static void check_selectors(ERRS, const struct val *selectors)
{
    void *scope = val_len(selectors) ? expressions_begin(false, false) : NULL;
    each (selector, selectors) {
        const struct at *here = AT(ITEM(at, INDEX(selectors, selector)), "cel");
        struct str expression = TEXT(V(selector, cel), expression);
        if (!HAS(selector, cel))
            bad_required(e, here, "");
        else if (expression.n > SELECTOR_EXPRESSION_MAX)
            bad_too_long(e, AT(here, "expression"), SELECTOR_EXPRESSION_MAX);
        else
            check_expression(e, AT(here, "expression"), scope, EXPRESSION_DEVICE, STR_NONE, expression);
    }
    if (scope)
        expressions_end(scope);
}

static void check_device_request(ERRS, const struct val *v)
{
    struct str mode = TEXT(v, allocationMode), class = TEXT(v, deviceClassName);
    if (class.n == 0)
        bad_required(e, AT(at, "deviceClassName"), "");
    else
        check_format(e, AT(at, "deviceClassName"), class, format_dns1123_subdomain);
    check_selectors(e, AT(at, "selectors"), V(v, selectors));
    if (str_eq(mode, S("All")) && NUM(v, count) != 0)
        bad_num(e, AT(at, "count"), NUM(v, count), "must not be specified when allocationMode is 'All'");
    else if (str_eq(mode, S("ExactCount")) && NUM(v, count) <= 0)
        bad_num(e, AT(at, "count"), NUM(v, count), "must be greater than zero");
    else
        check_enum(e, AT(at, "allocationMode"), mode, "All", "ExactCount");
}

static void check_duplicate_names(ERRS, const struct val *list)
{
    AUTO(seen_fini) struct seen seen = SEEN;
    each (x, list)
        if (seen_before(&seen, TEXT(x, name)))
            bad_duplicate(e, ITEM(at, INDEX(list, x)), TEXT(x, name));
}

static void check_name(ERRS, struct str name)
{
    if (name.n == 0)
        bad_required(e, at, "");
    else
        check_format(e, at, name, format_dns1123_label);
}

static void check_request(ERRS, const struct val *v)
{
    const struct val *exactly = V(v, exactly), *subs = V(v, firstAvailable);
    const struct at *subs_at = AT(at, "firstAvailable");
    check_name(e, AT(at, "name"), TEXT(v, name));
    if (!is_set(exactly) && val_len(subs) == 0)
        return bad_required(e, at, "exactly one of `exactly` or `firstAvailable` is required");
    if (is_set(exactly) && val_len(subs) > 0)
        return bad_value(e, at, NULL,
                         "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set");
    if (is_set(exactly))
        return check_device_request(e, AT(at, "exactly"), exactly);
    each (sub, subs) {
        check_name(e, AT(ITEM(subs_at, INDEX(subs, sub)), "name"), TEXT(sub, name));
        check_device_request(e, ITEM(subs_at, INDEX(subs, sub)), sub);
    }
    check_duplicate_names(e, subs_at, subs);
}

static void check_attribute(ERRS, struct str name)
{
    struct str domain, id;
    if (!str_split(name, '/', &domain, &id))
        return bad_text(e, at, name, "a fully qualified name must be a domain and a name separated by a slash");
    check_format(e, at, domain, format_dns1123_subdomain);
    check_format(e, at, id, format_c_identifier);
}

static void check_constraint(ERRS, const struct named *requests, const struct val *v)
{
    check_request_names(e, AT(at, "requests"), requests, V(v, requests));
    if (HAS(v, matchAttribute) == HAS(v, distinctAttribute))
        return bad_required(e, at,
                            "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple "
                            "fields are set");
    if (HAS(v, matchAttribute))
        check_attribute(e, AT(at, "matchAttribute"), TEXT(v, matchAttribute));
    else
        check_attribute(e, AT(at, "distinctAttribute"), TEXT(v, distinctAttribute));
}

static void check_configuration(ERRS, const struct val *v)
{
    const struct at *here = AT(at, "opaque");
    const struct val *opaque = V(v, opaque);
    if (!is_set(opaque))
        return bad_required(e, here, "");
    if (REQUIRED(e, here, opaque, driver))
        check_format(e, AT(here, "driver"), TEXT(opaque, driver), format_dns1123_subdomain);
    if (!HAS(opaque, parameters))
        bad_required(e, AT(here, "parameters"), "");
    else if (!val_is(V(opaque, parameters), VAL_MAP))
        bad_text(e, AT(here, "parameters"), S("<value omitted>"), "must be a valid JSON object");
}

static void check_claim_devices(ERRS, const struct val *devices)
{
    const struct val *requests = V(devices, requests), *constraints = V(devices, constraints),
                     *config = V(devices, config);
    each (r, requests)
        check_request(e, ITEM(AT(at, "requests"), INDEX(requests, r)), r);
    check_duplicate_names(e, AT(at, "requests"), requests);
    AUTO(named_fini) struct named by_name = named_of(requests, N(name));
    each (c, constraints)
        check_constraint(e, ITEM(AT(at, "constraints"), INDEX(constraints, c)), &by_name, c);
    each (c, config) {
        const struct at *here = ITEM(AT(at, "config"), INDEX(config, c));
        check_request_names(e, AT(here, "requests"), &by_name, V(c, requests));
        check_configuration(e, here, c);
    }
}

static void check_claim(struct field_errors *e, const struct val *v)
{
    check_claim_devices(e, AT(AT(NULL, "spec"), "devices"), val_at(v, N(spec), N(devices)));
}

static void fixed_spec(struct field_errors *e, const struct type *t, const struct val *v, const struct val *old)
{
    struct val none = val_map();
    if (!val_unchanged(V(v, spec), V(old, spec)))
        bad_struct(e, AT(NULL, "spec"), t, HAS(v, spec) ? V(v, spec) : &none, "field is immutable");
}

static void update_claim(struct field_errors *e, const struct val *v, const struct val *old)
{
    fixed_spec(e, T(resource_v1_ResourceClaimSpec), v, old);
}

static void check_result(ERRS, const struct named *requests, const struct val *v)
{
    check_request_name(e, AT(at, "request"), requests, TEXT(v, request));
    if (REQUIRED(e, at, v, driver))
        check_format(e, AT(at, "driver"), TEXT(v, driver), format_dns1123_subdomain);
    REQUIRED(e, at, v, pool);
    check_name(e, AT(at, "device"), TEXT(v, device));
}

static void status_claim(struct field_errors *e, const struct val *v, const struct val *old)
{
    const struct at *at = AT(NULL, "status"), *here = AT(at, "allocation");
    const struct val *now = val_at(v, N(status), N(allocation)), *was = val_at(old, N(status), N(allocation));
    const struct val *results = val_at(now, N(devices), N(results));
    if (val_len(val_at(v, N(status), N(reservedFor))) > 0 && !is_set(now))
        bad_forbidden(e, AT(at, "reservedFor"), "may not be specified when `allocated` is not set");
    AUTO(named_fini) struct named requests = named_of(val_at(v, N(spec), N(devices), N(requests)), N(name));
    if (is_set(now) && !is_set(was))
        each (r, results)
            check_result(e, ITEM(AT(AT(here, "devices"), "results"), INDEX(results, r)), &requests, r);
    if (is_set(now) && is_set(was) && !val_unchanged(now, was))
        bad_struct(e, here, T(resource_v1_AllocationResult), now, "field is immutable");
}

static void check_claimtemplate(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(NULL, "spec"), *meta_at = AT(at, "metadata");
    const struct val *meta = val_at(v, N(spec), N(metadata));
    static const struct name *const fixed[] = {N(name), N(generateName), N(namespace), N(uid), N(resourceVersion)};
    check_labels(e, AT(meta_at, "labels"), V(meta, labels));
    check_annotations(e, AT(meta_at, "annotations"), V(meta, annotations));
    for (size_t i = 0; i < countof(fixed); i++)
        if (is_set(val_get(meta, fixed[i])))
            bad_forbidden(e, AT(meta_at, fixed[i]->s.p), "cannot be set");
    check_claim_devices(e, AT(AT(at, "spec"), "devices"), val_at(v, N(spec), N(spec), N(devices)));
}

static void update_claimtemplate(struct field_errors *e, const struct val *v, const struct val *old)
{
    fixed_spec(e, T(resource_v1_ResourceClaimTemplateSpec), v, old);
}

static void check_deviceclass(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(NULL, "spec");
    const struct val *config = val_at(v, N(spec), N(config));
    check_selectors(e, AT(at, "selectors"), val_at(v, N(spec), N(selectors)));
    each (c, config)
        check_configuration(e, ITEM(AT(at, "config"), INDEX(config, c)), c);
}

const struct kind_rules rules_resource[] = {
    RULES(ResourceClaim, format_dns1123_subdomain, check_claim, update_claim, status_claim),
    RULES(ResourceClaimTemplate, format_dns1123_subdomain, check_claimtemplate, update_claimtemplate, NULL),
    RULES(DeviceClass, format_dns1123_subdomain, check_deviceclass, NULL, NULL),
    RULES_END,
};
