/* validate_admission.c - webhook configurations and APIServices (pkg/apis/admissionregistration/validation and the
 * aggregator's of upstream). That a Service is there, or answers, is nobody's business here: webhooks are often
 * declared before they run. */
#include "api/rules_int.h"
#include "api/url.h"

/* --- where a webhook is --- */

void check_webhook_url(ERRS, struct str url)
{
    static const char form[] = "; desired format: https://host[/path]";
    struct url u;
    struct err err = ERR;
    if (!url_parse(e->arena, url, &u, &err)) {
        bad_required(e, at, arena_fmt(e->arena, "url must be a valid URL: %s%s", err.text, form).p);
        return;
    }
    if (!str_eqz(u.scheme, "https"))
        bad_text(e, at, u.scheme, "'https' is the only allowed URL scheme%s", form);
    if (!u.host.n)
        bad_text(e, at, u.host, "host must be specified%s", form);
    if (u.user.n)
        bad_text(e, at, u.user, "user information is not permitted in the URL");
    if (u.fragment.n)
        bad_text(e, at, u.fragment, "fragments are not permitted in the URL");
    if (u.query.n)
        bad_text(e, at, u.query, "query parameters are not permitted in the URL");
}

static void check_service_path(ERRS, struct str path)
{
    if (!path.n || str_eqz(path, "/"))
        return;
    if (str_eqz(path, "//")) {
        bad_text(e, at, path, "segment[0] may not be empty");
        return;
    }
    if (path.p[0] != '/')
        bad_text(e, at, path, "must start with a '/'");
    struct str rest = str_sub(path, 1, path.n), step;
    if (str_ends(rest, S("/")))
        rest = str_sub(rest, 0, rest.n - 1);
    for (size_t i = 0; str_cut(&rest, '/', &step); i++) {
        struct complaints why = COMPLAINTS(e->arena);
        if (!step.n)
            bad_text(e, at, path, "segment[%zu] may not be empty", i);
        else
            format_dns1123_subdomain(&why, step);
        for (size_t k = 0; k < why.n; k++)
            bad_text(e, at, path, "segment[%zu]: " STR_FMT, i, STR_ARG(why.texts[k]));
    }
}

void check_webhook_service(ERRS, const struct val *service)
{
    /* upstream names one where the other is missing, in this place alone */
    if (!TEXT(service, namespace).n)
        bad_required(e, AT(at, "name"), "");
    if (!TEXT(service, name).n)
        bad_required(e, AT(at, "namespace"), "");
    int64_t port = HAS(service, port) ? NUM(service, port) : 443;
    if (port < 1 || port > 65535)
        bad_num(e, AT(at, "port"), port, "port is not valid: must be between 1 and 65535, inclusive");
    check_service_path(e, AT(at, "path"), TEXT(service, path));
}

/* --- what it is asked about --- */

static bool has_text(const struct val *list, const char *text)
{
    each (it, list)
        if (str_eqz(val_text(it), text))
            return true;
    return false;
}

static void check_wildcard(ERRS, const struct val *list, const char *what)
{
    if (!val_len(list))
        bad_required(e, at, "");
    else if (val_len(list) > 1 && has_text(list, "*"))
        bad_value(e, at, list, "if '*' is present, must not specify other %s", what);
}

static void check_rule_resources(ERRS, const struct val *list)
{
    AUTO(seen_fini)
    struct seen whole = SEEN, subs = SEEN; /* X where X with all its parts is named; where it is of all resources */
    bool single = false, all = false, plain = false;
    if (!val_len(list)) {
        bad_required(e, at, "");
        return;
    }
    each (it, list) {
        const struct at *here = ITEM(at, INDEX(list, it));
        struct str text = val_text(it), sub = text, resource;
        if (!text.n) {
            bad_required(e, here, "");
            continue;
        }
        all |= str_eqz(text, "*/*");
        single |= str_eqz(text, "*");
        if (str_find_char(text, '/') < 0) {
            plain |= !str_eqz(text, "*");
            continue;
        }
        (void)str_cut(&sub, '/', &resource);
        if (map_get(&whole.texts, resource))
            bad_text(e, here, text, "if '" STR_FMT "/*' is present, must not specify " STR_FMT, STR_ARG(resource),
                     STR_ARG(text));
        if (map_get(&subs.texts, sub))
            bad_text(e, here, text, "if '*/" STR_FMT "' is present, must not specify " STR_FMT, STR_ARG(sub),
                     STR_ARG(text));
        if (str_eqz(sub, "*"))
            (void)seen_before(&whole, resource);
        if (str_eqz(resource, "*"))
            (void)seen_before(&subs, sub);
    }
    if (val_len(list) > 1 && all)
        bad_value(e, at, list, "if '*/*' is present, must not specify other resources");
    if (single && plain)
        bad_value(e, at, list, "if '*' is present, must not specify other resources without subresources");
}

void check_rule(ERRS, const struct val *rule)
{
    const struct val *operations = V(rule, operations), *versions = V(rule, apiVersions);
    check_wildcard(e, AT(at, "operations"), operations, "operations");
    each (it, operations)
        check_enum(e, ITEM(AT(at, "operations"), INDEX(operations, it)), val_text(it), "*", "CONNECT", "CREATE",
                   "DELETE", "UPDATE");
    check_wildcard(e, AT(at, "apiGroups"), V(rule, apiGroups), "API groups");
    check_wildcard(e, AT(at, "apiVersions"), versions, "API versions");
    each (it, versions)
        if (!val_text(it).n)
            bad_required(e, ITEM(AT(at, "apiVersions"), INDEX(versions, it)), "");
    check_rule_resources(e, AT(at, "resources"), V(rule, resources));
    if (HAS(rule, scope))
        check_enum(e, AT(at, "scope"), TEXT(rule, scope), "*", "Cluster", "Namespaced");
}

/* --- the rest of a webhook --- */

static void check_full_name(ERRS, struct str name)
{
    if (!name.n) {
        bad_required(e, at, "");
        return;
    }
    if (!check_format(e, at, name, format_dns1123_subdomain))
        return;
    size_t dots = 0;
    for (size_t i = 0; i < name.n; i++)
        dots += name.p[i] == '.';
    if (dots < 2)
        bad_text(e, at, name, "should be a domain with at least three segments separated by dots");
}

static void check_review_versions(ERRS, const struct val *versions)
{
    AUTO(seen_fini) struct seen seen = SEEN;
    if (!val_len(versions)) {
        bad_required(e, at, "must specify one of v1, v1beta1");
        return;
    }
    each (it, versions) {
        const struct at *here = ITEM(at, INDEX(versions, it));
        if (seen_before(&seen, val_text(it)))
            bad_text(e, here, val_text(it), "duplicate version");
        else
            check_format(e, here, val_text(it), format_dns1035_label);
    }
    if (!has_text(versions, "v1") && !has_text(versions, "v1beta1"))
        bad_value(e, at, versions, "must include at least one of v1, v1beta1");
}

void check_match_conditions(ERRS, void *scope, const struct val *conditions)
{
    AUTO(seen_fini) struct seen seen = SEEN;
    if (val_len(conditions) > 64)
        bad_too_many(e, at, (int64_t)val_len(conditions), 64);
    each (it, conditions) {
        const struct at *here = ITEM(at, INDEX(conditions, it));
        struct str name = TEXT(it, name), expression = str_trim(TEXT(it, expression));
        if (expression.n)
            check_expression(e, AT(here, "expression"), scope, EXPRESSION_CONDITION, STR_NONE, expression);
        else
            bad_required(e, AT(here, "expression"), "");
        if (!name.n)
            bad_required(e, AT(here, "name"), "");
        else {
            check_format(e, AT(here, "name"), name, format_qualified_name);
            if (seen_before(&seen, name))
                bad_duplicate(e, AT(here, "name"), name);
        }
    }
}

static void check_webhook(ERRS, const struct val *v, bool mutating)
{
    const struct val *rules = V(v, rules), *client = V(v, clientConfig);
    const struct at *here = AT(at, "clientConfig");
    check_full_name(e, AT(at, "name"), TEXT(v, name));
    each (it, rules)
        check_rule(e, ITEM(AT(at, "rules"), INDEX(rules, it)), it);
    if (HAS(v, failurePolicy))
        check_enum(e, AT(at, "failurePolicy"), TEXT(v, failurePolicy), "Fail", "Ignore");
    if (HAS(v, matchPolicy))
        check_enum(e, AT(at, "matchPolicy"), TEXT(v, matchPolicy), "Equivalent", "Exact");
    if (HAS(v, sideEffects))
        check_enum(e, AT(at, "sideEffects"), TEXT(v, sideEffects), "None", "NoneOnDryRun");
    else
        bad_required(e, AT(at, "sideEffects"), "must specify one of None, NoneOnDryRun");
    if (HAS(v, timeoutSeconds) && (NUM(v, timeoutSeconds) < 1 || NUM(v, timeoutSeconds) > 30))
        bad_num(e, AT(at, "timeoutSeconds"), NUM(v, timeoutSeconds),
                "the timeout value must be between 1 and 30 seconds");
    if (HAS(v, namespaceSelector))
        check_label_selector(e, AT(at, "namespaceSelector"), V(v, namespaceSelector));
    if (HAS(v, objectSelector))
        check_label_selector(e, AT(at, "objectSelector"), V(v, objectSelector));
    if (mutating && HAS(v, reinvocationPolicy))
        check_enum(e, AT(at, "reinvocationPolicy"), TEXT(v, reinvocationPolicy), "IfNeeded", "Never");
    if (HAS(client, url) == HAS(client, service))
        bad_required(e, here, "exactly one of url or service is required");
    else if (HAS(client, url))
        check_webhook_url(e, AT(here, "url"), TEXT(client, url));
    else
        check_webhook_service(e, AT(here, "service"), V(client, service));
    void *scope = val_len(V(v, matchConditions)) ? expressions_begin(false, false) : NULL;
    check_match_conditions(e, AT(at, "matchConditions"), scope, V(v, matchConditions));
    if (scope)
        expressions_end(scope);
    check_review_versions(e, AT(at, "admissionReviewVersions"), V(v, admissionReviewVersions));
}

static void check_webhooks(struct field_errors *e, const struct val *v, bool mutating)
{
    AUTO(seen_fini) struct seen seen = SEEN;
    const struct val *list = V(v, webhooks);
    each (it, list) {
        const struct at *here = ITEM(AT(NULL, "webhooks"), INDEX(list, it));
        check_webhook(e, here, it, mutating);
        if (TEXT(it, name).n && seen_before(&seen, TEXT(it, name)))
            bad_duplicate(e, AT(here, "name"), TEXT(it, name));
    }
}

static void check_mutating(struct field_errors *e, const struct val *v)
{
    check_webhooks(e, v, true);
}

static void check_validating(struct field_errors *e, const struct val *v)
{
    check_webhooks(e, v, false);
}

/* --- APIService --- */

static void check_apiservice(struct field_errors *e, const struct val *v)
{
    const struct val *spec = V(v, spec), *service = V(spec, service);
    const struct at *at = AT(NULL, "spec");
    struct str name = val_text_at(v, N(metadata), N(name)), group = TEXT(spec, group), version = TEXT(spec, version);
    struct str wanted = arena_fmt(e->arena, STR_FMT "." STR_FMT, STR_ARG(version), STR_ARG(group));
    bool skip = val_true(V(spec, insecureSkipTLSVerify));
    if (!str_eq(name, wanted))
        bad_text(e, AT(AT(NULL, "metadata"), "name"), name,
                 "must be `spec.version+\".\"+spec.group`: \"" STR_FMT "\"", STR_ARG(wanted));
    if (group.n)
        check_format(e, AT(at, "group"), group, format_dns1123_subdomain);
    else if (!str_eqz(version, "v1"))
        bad_required(e, AT(at, "group"), "only v1 may have an empty group and it better be legacy kube");
    check_format(e, AT(at, "version"), version, format_dns1035_label);
    if (NUM(spec, groupPriorityMinimum) <= 0 || NUM(spec, groupPriorityMinimum) > 20000)
        bad_num(e, AT(at, "groupPriorityMinimum"), NUM(spec, groupPriorityMinimum),
                "must be positive and less than 20000");
    if (NUM(spec, versionPriority) <= 0 || NUM(spec, versionPriority) > 1000)
        bad_num(e, AT(at, "versionPriority"), NUM(spec, versionPriority), "must be positive and less than 1000");
    if (!is_set(service)) {
        if (val_raw(V(spec, caBundle)).n)
            bad_value(e, AT(at, "caBundle"), V(spec, caBundle), "local APIServices may not have a caBundle");
        if (skip)
            bad_value(e, AT(at, "insecureSkipTLSVerify"), V(spec, insecureSkipTLSVerify),
                      "local APIServices may not have insecureSkipTLSVerify");
        return;
    }
    const struct at *here = AT(at, "service");
    REQUIRED(e, here, service, namespace);
    REQUIRED(e, here, service, name);
    int64_t port = HAS(service, port) ? NUM(service, port) : 443;
    if (port < 1 || port > 65535)
        bad_num(e, AT(here, "port"), port, "port is not valid: must be between 1 and 65535, inclusive");
    if (skip && val_raw(V(spec, caBundle)).n)
        bad_value(e, AT(at, "insecureSkipTLSVerify"), V(spec, insecureSkipTLSVerify),
                  "may not be true if caBundle is present");
}

const struct kind_rules rules_admission[] = {
    RULES(MutatingWebhookConfiguration, format_dns1123_subdomain, check_mutating, NULL, NULL),
    RULES(ValidatingWebhookConfiguration, format_dns1123_subdomain, check_validating, NULL, NULL),
    RULES(APIService, format_path_segment, check_apiservice, NULL, NULL),
    RULES_END,
};
