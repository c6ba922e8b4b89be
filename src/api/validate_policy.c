/* validate_policy.c - admission policies and their bindings (pkg/apis/admissionregistration/validation of upstream),
 * FlowSchemas (pkg/apis/flowcontrol/validation). What expressions say is the language's to judge: check_expression.
 */
#include "api/rules_int.h"

/* --- what policies and bindings have in common --- */

static void check_named_rules(ERRS, const struct val *rules)
{
    each (rule, rules) {
        const struct at *here = ITEM(at, INDEX(rules, rule)), *names_at = AT(here, "resourceNames");
        const struct val *only = V(rule, resourceNames);
        AUTO(seen_fini) struct seen seen = SEEN;
        each (name, only) {
            check_format(e, ITEM(names_at, INDEX(only, name)), val_text(name), format_path_segment);
            if (seen_before(&seen, val_text(name)))
                bad_duplicate(e, ITEM(names_at, INDEX(only, name)), val_text(name));
        }
        check_rule(e, here, rule);
    }
}

static void check_selector(ERRS, const struct val *v)
{
    if (is_set(v))
        check_label_selector(e, at, v);
    else
        bad_required(e, at, "");
}

static void check_match(ERRS, const struct val *match)
{
    if (HAS(match, matchPolicy))
        check_enum(e, AT(at, "matchPolicy"), TEXT(match, matchPolicy), "Equivalent", "Exact");
    else
        bad_required(e, AT(at, "matchPolicy"), "");
    check_selector(e, AT(at, "namespaceSelector"), V(match, namespaceSelector));
    check_selector(e, AT(at, "objectSelector"), V(match, objectSelector));
    check_named_rules(e, AT(at, "resourceRules"), V(match, resourceRules));
    check_named_rules(e, AT(at, "excludeResourceRules"), V(match, excludeResourceRules));
}

/* What is gone cannot be changed any more. */
static void check_mutating_operations(ERRS, const struct val *match)
{
    const struct val *rules = V(match, resourceRules);
    each (rule, rules)
        each (operation, V(rule, operations))
            check_enum(e, AT(AT(at, "resourceRules"), "operations"), val_text(operation), "*", "CONNECT", "CREATE",
                       "UPDATE");
}

static void check_version(ERRS, struct str text)
{
    struct str rest = text, first, version;
    (void)str_cut(&rest, '/', &first);
    if (rest.p && str_find_char(rest, '/') >= 0)
        return bad_text(e, at, text, "unexpected GroupVersion string: " STR_FMT, STR_ARG(text));
    version = rest.p ? rest : first;
    if (rest.p && first.n)
        check_format(e, at, first, format_dns1123_subdomain);
    if (!version.n)
        bad_text(e, at, text, "version must be specified");
    else
        check_format(e, at, version, format_dns1035_label);
}

static void check_param_kind(ERRS, const struct val *v)
{
    struct str kind = TEXT(v, kind);
    if (TEXT(v, apiVersion).n)
        check_version(e, AT(at, "apiVersion"), TEXT(v, apiVersion));
    else
        bad_required(e, AT(at, "apiVersion"), "");
    if (!kind.n)
        return bad_required(e, AT(at, "kind"), "");
    struct complaints c = COMPLAINTS(e->arena);
    AUTO(strbuf_fini) struct strbuf lower = STRBUF(STRBUF_TEXT);
    for (size_t i = 0; i < kind.n; i++)
        strbuf_addc(&lower, kind.p[i] >= 'A' && kind.p[i] <= 'Z' ? (char)(kind.p[i] + 'a' - 'A') : kind.p[i]);
    format_dns1035_label(&c, strbuf_str(&lower));
    if (c.n)
        bad_text(e, AT(at, "kind"), kind, "may have mixed case, but should otherwise match: " STR_FMT,
                 STR_ARG(c.texts[0]));
}

static bool is_identifier(struct str name)
{
    static const char *const reserved[] = {"true",     "false",   "null",      "in",       "as",  "break",  "const",
                                           "continue", "else",    "for",       "function", "if",  "import", "let",
                                           "loop",     "package", "namespace", "return",   "var", "void",   "while"};
    for (size_t i = 0; i < countof(reserved); i++)
        if (str_eqz(name, reserved[i]))
            return false;
    return format_ok(format_c_identifier, name);
}

static void check_variables(ERRS, void *scope, const struct val *list)
{
    each (v, list) {
        const struct at *here = ITEM(at, INDEX(list, v));
        if (!str_trim(TEXT(v, name)).n)
            bad_required(e, AT(here, "name"), "name is not specified");
        else if (!is_identifier(TEXT(v, name)))
            bad_text(e, AT(here, "name"), TEXT(v, name), "must be a valid CEL identifier");
        if (!str_trim(TEXT(v, expression)).n)
            bad_required(e, AT(here, "expression"), "expression is not specified");
        else
            check_expression(e, AT(here, "expression"), scope, EXPRESSION_VARIABLE, TEXT(v, name),
                             TEXT(v, expression));
    }
}

/* The parts up to the variables. */
static void check_policy_head(ERRS, void *scope, const struct val *spec, bool mutating)
{
    const struct at *match_at = AT(at, "matchConstraints");
    const struct val *match = V(spec, matchConstraints);
    if (HAS(spec, failurePolicy))
        check_enum(e, AT(at, "failurePolicy"), TEXT(spec, failurePolicy), "Fail", "Ignore");
    else
        bad_required(e, AT(at, "failurePolicy"), "");
    if (HAS(spec, paramKind))
        check_param_kind(e, AT(at, "paramKind"), V(spec, paramKind));
    if (is_set(match)) {
        check_match(e, match_at, match);
        if (!val_len(V(match, resourceRules)))
            bad_required(e, AT(match_at, "resourceRules"), "");
        if (mutating)
            check_mutating_operations(e, match_at, match);
    } else {
        bad_required(e, match_at, "");
    }
    check_match_conditions(e, AT(at, "matchConditions"), scope, V(spec, matchConditions));
    check_variables(e, AT(at, "variables"), scope, V(spec, variables));
}

/* --- ValidatingAdmissionPolicy --- */

static bool has_line_break(struct str s)
{
    return str_find_char(s, '\n') >= 0 || str_find_char(s, '\r') >= 0;
}

static void check_validation(ERRS, void *scope, const struct val *v)
{
    struct str message = TEXT(v, message), expression = TEXT(v, messageExpression);
    if (!str_trim(TEXT(v, expression)).n)
        bad_required(e, AT(at, "expression"), "expression is not specified");
    else
        check_expression(e, AT(at, "expression"), scope, EXPRESSION_VALIDATION, STR_NONE, TEXT(v, expression));
    if (expression.n && !str_trim(expression).n)
        bad_text(e, AT(at, "messageExpression"), expression, "must be non-empty if specified");
    else if (expression.n)
        check_expression(e, AT(at, "messageExpression"), scope, EXPRESSION_MESSAGE, STR_NONE, expression);
    if (message.n && !str_trim(message).n)
        bad_text(e, AT(at, "message"), message, "must be non-empty if specified");
    else if (has_line_break(str_trim(message)))
        bad_text(e, AT(at, "message"), message, "must not contain line breaks");
    if (HAS(v, reason))
        check_enum(e, AT(at, "reason"), TEXT(v, reason), "Forbidden", "Invalid", "RequestEntityTooLarge");
}

enum { AUDIT_ANNOTATIONS_MAX = 20, AUDIT_EXPRESSION_MAX = 5 * 1024 };

static void check_audit_annotation(ERRS, void *scope, struct str policy, const struct val *v)
{
    struct str key = TEXT(v, key), expression = str_trim(TEXT(v, valueExpression));
    const struct at *here = AT(at, "valueExpression");
    if (policy.n)
        check_format(e, AT(at, "key"), arena_fmt(e->arena, STR_FMT "/" STR_FMT, STR_ARG(policy), STR_ARG(key)),
                     format_qualified_name);
    else
        bad_text(e, AT(at, "key"), key, "requires metadata.name be non-empty");
    if (!expression.n)
        bad_required(e, here, "valueExpression is not specified");
    else if (expression.n > AUDIT_EXPRESSION_MAX)
        bad_required(e, here, "must not exceed 5120 bytes in length");
    else
        check_expression(e, here, scope, EXPRESSION_AUDIT, STR_NONE, TEXT(v, valueExpression));
}

static void check_validations(ERRS, void *scope, struct str policy, const struct val *spec)
{
    static const char missing[] = "validations or auditAnnotations must contain at least one item";
    const struct val *validations = V(spec, validations), *annotations = V(spec, auditAnnotations);
    const struct at *validations_at = AT(at, "validations"), *annotations_at = AT(at, "auditAnnotations");
    AUTO(seen_fini) struct seen keys = SEEN;
    if (!val_len(validations) && !val_len(annotations)) {
        bad_required(e, validations_at, missing);
        bad_required(e, annotations_at, missing);
    }
    each (v, validations)
        check_validation(e, ITEM(validations_at, INDEX(validations, v)), scope, v);
    if (val_len(annotations) > AUDIT_ANNOTATIONS_MAX)
        bad_value(e, annotations_at, annotations, "must not have more than %d auditAnnotations",
                  AUDIT_ANNOTATIONS_MAX);
    each (v, annotations) {
        const struct at *here = ITEM(annotations_at, INDEX(annotations, v));
        check_audit_annotation(e, here, scope, policy, v);
        if (seen_before(&keys, TEXT(v, key)))
            bad_duplicate(e, AT(here, "key"), TEXT(v, key));
    }
}

static void check_validating_policy(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(NULL, "spec");
    const struct val *spec = V(v, spec);
    void *scope = expressions_begin(HAS(spec, paramKind), val_len(V(spec, variables)) > 0);
    check_policy_head(e, at, scope, spec, false);
    check_validations(e, at, scope, val_text_at(v, N(metadata), N(name)), spec);
    expressions_end(scope);
}

static void check_policy_status(struct field_errors *e, const struct val *v, const struct val *old)
{
    (void)old;
    const struct at *at = AT(NULL, "status"), *here = AT(AT(at, "typeChecking"), "expressionWarnings");
    const struct val *warnings = val_at(v, N(status), N(typeChecking), N(expressionWarnings));
    each (w, warnings) {
        const struct at *it = ITEM(here, INDEX(warnings, w));
        REQUIRED(e, it, w, warning);
        if (!str_trim(TEXT(w, fieldRef)).n)
            bad_required(e, AT(it, "fieldRef"), "");
    }
    check_conditions(e, AT(at, "conditions"), val_at(v, N(status), N(conditions)));
}

/* --- MutatingAdmissionPolicy --- */

static void check_patch_expression(ERRS, void *scope, enum expression_use use, const struct val *patch)
{
    struct str expression = str_trim(TEXT(patch, expression));
    if (expression.n)
        check_expression(e, AT(at, "expression"), scope, use, STR_NONE, expression);
    else
        bad_required(e, AT(at, "expression"), "");
}

static void check_mutation(ERRS, void *scope, const struct val *v)
{
    const struct at *apply_at = AT(at, "applyConfiguration"), *patch_at = AT(at, "jsonPatch");
    const struct val *apply = V(v, applyConfiguration), *patch = V(v, jsonPatch);
    struct str type = TEXT(v, patchType);
    if (!type.n) {
        bad_required(e, AT(at, "patchType"), "");
    } else if (str_eqz(type, "JSONPatch")) {
        if (is_set(patch))
            check_patch_expression(e, patch_at, scope, EXPRESSION_PATCH, patch);
        else
            bad_required(e, patch_at, "must be specified when patchType is JSONPatch");
        if (is_set(apply))
            bad_text(e, apply_at, S("{applyConfiguration}"), "must not be specified when patchType is JSONPatch");
    } else if (str_eqz(type, "ApplyConfiguration")) {
        if (is_set(apply))
            check_patch_expression(e, apply_at, scope, EXPRESSION_APPLY, apply);
        else
            bad_required(e, apply_at, "must be specified when patchType is ApplyConfiguration");
        if (is_set(patch))
            bad_text(e, patch_at, S("{jsonPatch}"), "must not be specified when patchType is ApplyConfiguration");
    } else {
        check_enum(e, AT(at, "patchType"), type, "ApplyConfiguration", "JSONPatch");
    }
}

static void check_mutating_policy(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(NULL, "spec"), *mutations_at = AT(at, "mutations");
    const struct val *spec = V(v, spec), *mutations = V(spec, mutations);
    void *scope = expressions_begin(HAS(spec, paramKind), true);
    check_policy_head(e, at, scope, spec, true);
    if (!val_len(mutations))
        bad_required(e, mutations_at, "mutations must contain at least one item");
    each (m, mutations)
        check_mutation(e, ITEM(mutations_at, INDEX(mutations, m)), scope, m);
    expressions_end(scope);
    if (REQUIRED(e, at, spec, reinvocationPolicy))
        check_enum(e, AT(at, "reinvocationPolicy"), TEXT(spec, reinvocationPolicy), "IfNeeded", "Never");
}

/* --- bindings --- */

static void check_param_ref(ERRS, const struct val *ref)
{
    struct str name = TEXT(ref, name), action = TEXT(ref, parameterNotFoundAction);
    bool selects = HAS(ref, selector);
    if (name.n)
        check_format(e, AT(at, "name"), name, format_path_segment);
    if (name.n && selects)
        bad_forbidden(e, AT(at, "name"), "name and selector are mutually exclusive");
    if (selects)
        check_label_selector(e, AT(at, "selector"), V(ref, selector));
    if (name.n && selects)
        bad_forbidden(e, AT(at, "selector"), "name and selector are mutually exclusive");
    if (!name.n && !selects)
        bad_required(e, at, "one of name or selector must be specified");
    if (action.n)
        check_enum(e, AT(at, "parameterNotFoundAction"), action, "Deny", "Allow");
    else
        bad_required(e, AT(at, "parameterNotFoundAction"), "");
}

static void check_binding(ERRS, const struct val *spec)
{
    if (REQUIRED(e, at, spec, policyName))
        check_format(e, AT(at, "policyName"), TEXT(spec, policyName), format_dns1123_subdomain);
    if (HAS(spec, paramRef))
        check_param_ref(e, AT(at, "paramRef"), V(spec, paramRef));
    if (HAS(spec, matchResources))
        check_match(e, AT(at, "matchResources"), V(spec, matchResources));
}

static void check_actions(ERRS, const struct val *actions)
{
    AUTO(seen_fini) struct seen seen = SEEN;
    bool deny = false, warn = false;
    each (it, actions) {
        const struct at *here = ITEM(at, INDEX(actions, it));
        check_enum(e, here, val_text(it), "Audit", "Deny", "Warn");
        if (seen_before(&seen, val_text(it)))
            bad_duplicate(e, here, val_text(it));
        deny |= str_eqz(val_text(it), "Deny");
        warn |= str_eqz(val_text(it), "Warn");
    }
    if (deny && warn)
        bad_value(e, at, actions,
                  "must not contain both Deny and Warn (repeating the same validation failure information in the API "
                  "response and headers serves no purpose)");
    if (!val_len(actions))
        bad_required(e, at, "at least one validation action is required");
}

static void check_validating_binding(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(NULL, "spec");
    check_binding(e, at, V(v, spec));
    check_actions(e, AT(at, "validationActions"), val_at(v, N(spec), N(validationActions)));
}

static void check_mutating_binding(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(NULL, "spec");
    check_binding(e, at, V(v, spec));
    check_mutating_operations(e, AT(at, "matchResources"), val_at(v, N(spec), N(matchResources)));
}

/* --- FlowSchema --- */

static bool has_wildcard(const struct val *list)
{
    each (it, list)
        if (str_eqz(val_text(it), "*"))
            return true;
    return false;
}

/* True: what each of them is may be looked at. */
static bool check_wildcards(ERRS, const struct val *list, const char *missing, const char *what)
{
    if (!val_len(list)) {
        bad_required(e, at, missing);
        return false;
    }
    if (!has_wildcard(list))
        return true;
    if (val_len(list) > 1)
        bad_value(e, at, list, "if '*' is present, must not specify other %s", what);
    return false;
}

static void check_verbs(ERRS, const struct val *list)
{
    static const char *const verbs[] = {"create", "delete", "deletecollection", "get",   "list",
                                        "patch",  "proxy",  "update",           "watch", NULL};
    if (!check_wildcards(e, at, list, "verbs must contain at least one value", "verbs"))
        return;
    each (it, list) {
        size_t i = 0;
        while (verbs[i] && !str_eqz(val_text(it), verbs[i]))
            i++;
        if (!verbs[i])
            return bad_enum_value(e, at, list, verbs);
    }
}

static void check_schema_resources(ERRS, const struct val *rule)
{
    const struct val *namespaces = V(rule, namespaces);
    const struct at *namespaces_at = AT(at, "namespaces");
    check_verbs(e, AT(at, "verbs"), V(rule, verbs));
    (void)check_wildcards(e, AT(at, "apiGroups"), V(rule, apiGroups),
                          "resource rules must supply at least one api group", "api groups");
    (void)check_wildcards(e, AT(at, "resources"), V(rule, resources),
                          "resource rules must supply at least one resource", "resources");
    if (!val_len(namespaces) && val_true(V(rule, clusterScope)))
        return;
    if (!check_wildcards(e, namespaces_at, namespaces,
                         "resource rules that are not cluster scoped must supply at least one namespace",
                         "namespaces"))
        return;
    each (it, namespaces) {
        struct complaints c = COMPLAINTS(e->arena);
        format_dns1123_label(&c, val_text(it));
        for (size_t i = 0; i < c.n; i++)
            bad_text(e, ITEM(namespaces_at, INDEX(namespaces, it)), val_text(it),
                     "each member of this list must be '*' or a DNS-1123 label; " STR_FMT, STR_ARG(c.texts[i]));
    }
}

static void check_path(ERRS, struct str path)
{
    ptrdiff_t star = str_find_char(path, '*');
    if (!path.n)
        bad_text(e, at, path, "must not be empty");
    else if (path.p[0] != '/')
        bad_text(e, at, path, "must start with slash");
    else if (str_find_char(path, ' ') >= 0)
        bad_text(e, at, path, "must not contain white-space");
    else if (str_has(path, S("//")))
        bad_text(e, at, path, "must not contain double slash");
    else if (star >= 0 && !((size_t)star + 1 == path.n && path.p[star - 1] == '/'))
        bad_text(e, at, path, "wildcard can only do suffix matching");
}

static void check_schema_paths(ERRS, const struct val *rule)
{
    const struct val *urls = V(rule, nonResourceURLs);
    const struct at *urls_at = AT(at, "nonResourceURLs");
    check_verbs(e, AT(at, "verbs"), V(rule, verbs));
    if (check_wildcards(e, urls_at, urls, "nonResourceURLs must contain at least one value", "non-resource URLs"))
        each (it, urls)
            check_path(e, ITEM(urls_at, INDEX(urls, it)), val_text(it));
}

static void check_account(ERRS, const struct val *account)
{
    struct str name = TEXT(account, name);
    if (!name.n)
        bad_required(e, AT(at, "name"), "");
    else if (!str_eqz(name, "*"))
        check_format(e, AT(at, "name"), name, format_dns1123_subdomain);
    if (TEXT(account, namespace).n)
        check_format(e, AT(at, "namespace"), TEXT(account, namespace), format_dns1123_label);
    else
        bad_required(e, AT(at, "namespace"), "must specify namespace for service account");
}

static void check_subject(ERRS, const struct val *subject)
{
    /* upstream asks about what is not wanted in this order */
    static const struct {
        const char *kind, *member;
        const struct name *field;
    } subjects[] = {{"ServiceAccount", "serviceAccount", N(serviceAccount)},
                    {"User", "user", N(user)},
                    {"Group", "group", N(group)}};
    struct str kind = TEXT(subject, kind);
    size_t is = 0;
    while (is < countof(subjects) && !str_eqz(kind, subjects[is].kind))
        is++;
    if (is == countof(subjects)) {
        check_enum(e, AT(at, "kind"), kind, "Group", "ServiceAccount", "User");
        return;
    }
    const struct at *here = AT(at, subjects[is].member);
    const struct val *it = val_get(subject, subjects[is].field);
    if (!is_set(it))
        bad_required(
            e, here,
            arena_fmt(e->arena, "%s is required when subject kind is '%s'", subjects[is].member, subjects[is].kind)
                .p);
    else if (is == 0)
        check_account(e, here, it);
    else
        REQUIRED(e, here, it, name);
    for (size_t i = 0; i < countof(subjects); i++)
        if (i != is && is_set(val_get(subject, subjects[i].field)))
            bad_forbidden(e, AT(at, subjects[i].member), "%s is forbidden when subject kind is not '%s'",
                          subjects[i].member, subjects[i].kind);
}

static void check_schema_rule(ERRS, const struct val *rule)
{
    const struct val *subjects = V(rule, subjects), *resources = V(rule, resourceRules),
                     *paths = V(rule, nonResourceRules);
    each (it, subjects)
        check_subject(e, ITEM(AT(at, "subjects"), INDEX(subjects, it)), it);
    if (!val_len(subjects))
        bad_required(e, AT(at, "subjects"), "subjects must contain at least one value");
    if (!val_len(resources) && !val_len(paths))
        bad_required(e, at, "at least one of resourceRules and nonResourceRules has to be non-empty");
    each (it, resources)
        check_schema_resources(e, ITEM(AT(at, "resourceRules"), INDEX(resources, it)), it);
    each (it, paths)
        check_schema_paths(e, ITEM(AT(at, "nonResourceRules"), INDEX(paths, it)), it);
}

static void check_schema_status(struct field_errors *e, const struct val *v, const struct val *old)
{
    (void)old;
    const struct at *at = AT(AT(NULL, "status"), "conditions");
    const struct val *conditions = val_at(v, N(status), N(conditions));
    AUTO(seen_fini) struct seen seen = SEEN;
    each (c, conditions) {
        const struct at *here = AT(ITEM(at, INDEX(conditions, c)), "type");
        if (seen_before(&seen, TEXT(c, type)))
            bad_duplicate(e, here, TEXT(c, type));
        if (!TEXT(c, type).n)
            bad_required(e, here, "must not be empty");
    }
}

static void check_flowschema(struct field_errors *e, const struct val *v)
{
    const struct at *at = AT(NULL, "spec");
    const struct val *spec = V(v, spec), *method = V(spec, distinguisherMethod), *rules = V(spec, rules);
    int64_t precedence = NUM(spec, matchingPrecedence);
    if (precedence <= 0)
        bad_num(e, AT(at, "matchingPrecedence"), precedence, "must be a positive value");
    if (precedence > 10000)
        bad_num(e, AT(at, "matchingPrecedence"), precedence, "must not be greater than 10000");
    if (precedence == 1 && !str_eqz(val_text_at(v, N(metadata), N(name)), "exempt"))
        bad_num(e, AT(at, "matchingPrecedence"), precedence,
                "only the schema named 'exempt' may have matchingPrecedence 1");
    if (is_set(method) && !str_eqz(TEXT(method, type), "ByNamespace") && !str_eqz(TEXT(method, type), "ByUser"))
        bad_enum_struct(e, AT(AT(at, "distinguisherMethod"), "type"), T(flowcontrol_v1_FlowDistinguisherMethod),
                        method, SET("ByNamespace", "ByUser"));
    const struct at *name_at = AT(AT(at, "priorityLevelConfiguration"), "name");
    struct str level = val_text_at(spec, N(priorityLevelConfiguration), N(name));
    if (level.n)
        check_format(e, name_at, level, format_dns1123_subdomain);
    else
        bad_required(e, name_at, "must reference a priority level");
    each (it, rules)
        check_schema_rule(e, ITEM(AT(at, "rules"), INDEX(rules, it)), it);
    check_schema_status(e, v, NULL);
}

const struct kind_rules rules_policy[] = {
    RULES(ValidatingAdmissionPolicy, format_dns1123_subdomain, check_validating_policy, NULL, check_policy_status),
    RULES(ValidatingAdmissionPolicyBinding, format_dns1123_subdomain, check_validating_binding, NULL, NULL),
    RULES(MutatingAdmissionPolicy, format_dns1123_subdomain, check_mutating_policy, NULL, NULL),
    RULES(MutatingAdmissionPolicyBinding, format_dns1123_subdomain, check_mutating_binding, NULL, NULL),
    RULES(FlowSchema, format_dns1123_subdomain, check_flowschema, NULL, check_schema_status),
    RULES_END,
};
