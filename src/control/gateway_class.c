/* GatewayClasses: the one that is made where Gateways are defined, and the status of all that are ours. */
#include "api/custom.h"
#include "control/gateway_int.h"

/* Of the specification's names (pkg/features), those that are kept here, in order. */
static const char *const features[] = {
    "BackendTLSPolicy",
    "GRPCRoute",
    "GRPCRouteNamedRouteRule",
    "Gateway",
    "GatewayAddressEmpty",
    "GatewayBackendClientCertificate",
    "GatewayFrontendClientCertificateValidation",
    "GatewayFrontendClientCertificateValidationInsecureFallback",
    "GatewayHTTPListenerIsolation",
    "GatewayInfrastructure",
    "GatewayPort8080",
    "GatewayStaticAddresses",
    "HTTPRoute",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendProtocolWebSocket",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteBackendTimeout",
    "HTTPRouteCORS",
    "HTTPRouteDestinationPortMatching",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestMirror",
    "HTTPRouteRequestMultipleMirrors",
    "HTTPRouteRequestPercentageMirror",
    "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteRetry",
    "HTTPRouteRetryBackendTimeout",
    "HTTPRouteRetryConnectionError",
    "HTTPRouteSchemeRedirect",
    "ListenerSet",
    "ReferenceGrant",
    "TCPRoute",
    "TLSRoute",
    "TLSRouteModeMixed",
    "TLSRouteModeTerminate",
};

/* Features that there can be only where their definition is, of any channel or of the experimental one. */
static const struct feature_need {
    const char *prefix, *definition;
    bool experimental;
} needs[] = {
    {"BackendTLSPolicy", "backendtlspolicies." GATEWAY_GROUP, false},
    {"GRPCRoute", "grpcroutes." GATEWAY_GROUP, false},
    {"HTTPRouteRetry", "httproutes." GATEWAY_GROUP, true},
    {"ListenerSet", GATEWAYS_SETS, false},
    {"ReferenceGrant", GATEWAYS_GRANTS, false},
    {"TCPRoute", "tcproutes." GATEWAY_GROUP, false},
    {"TLSRoute", "tlsroutes." GATEWAY_GROUP, false},
};

static bool feature_is_there(const struct view *v, struct str feature)
{
    for (size_t i = 0; i < countof(needs); i++) {
        const struct obj *o = str_starts(feature, str_of(needs[i].prefix))
                                  ? view_get(v, K(CustomResourceDefinition), S(""), str_of(needs[i].definition))
                                  : NULL;
        if (str_starts(feature, str_of(needs[i].prefix)) &&
            (!o || (needs[i].experimental && !str_eqz(obj_note(o, GATEWAY_GROUP "/channel"), "experimental"))))
            return false;
    }
    return true;
}

void gateway_condition_put(struct arena *a, struct val *list, const struct gateway_condition *c, int64_t generation,
                           int64_t now)
{
    struct condition made = {.type = c->type,
                             .status = c->status,
                             .reason = c->reason,
                             .message = c->message,
                             .observed = OBSERVED,
                             .generation = generation};
    for (size_t i = 0; i < list->n; i++)
        if (str_eqz(val_text_at(&list->list[i], N(type)), c->type)) {
            struct val was = list->list[i];
            list->list[i] = condition_make(a, &made, &was, now);
            return;
        }
    val_add(a, list, condition_make(a, &made, NULL, now));
}

/* The version of the definitions that are there, "v1.4.0"; "": they do not say. */
static struct str bundle_version(const struct view *v)
{
    const struct obj *o = view_get(v, K(CustomResourceDefinition), S(""), S(GATEWAYS_CLASSES));
    return o ? obj_note(o, GATEWAY_GROUP "/bundle-version") : S("");
}

static void class_status(const struct view *v, const struct obj *class, struct plan *out)
{
    struct arena *a = &out->arena;
    struct val tree = plan_edit_status(out, class), *status = val_need_map(a, &tree, N(status));
    struct val *list = val_get_mut(status, N(conditions));
    if (!val_is(list, VAL_LIST))
        list = val_set(a, status, N(conditions), val_list());
    struct str version = bundle_version(v);
    bool parameters = field_of(obj_spec(class), "parametersRef") != NULL, known = str_starts(version, S("v1."));
    struct gateway_condition accepted = {"Accepted", "True", "Accepted",
                                         S("The class is served by Wherry's front door")};
    struct gateway_condition supported = {"SupportedVersion", known ? "True" : "False",
                                          known ? "SupportedVersion" : "UnsupportedVersion",
                                          arena_fmt(a, "The definitions are of version " STR_FMT "; v1 is supported",
                                                    STR_ARG(version.n ? version : S("unknown")))};
    if (parameters)
        accepted = (struct gateway_condition){"Accepted", "False", "InvalidParameters",
                                              S("parametersRef: there are no parameters; take it out")};
    gateway_condition_put(a, list, &accepted, obj_generation(class), v->now);
    gateway_condition_put(a, list, &supported, obj_generation(class), v->now);
    struct val kept = val_list();
    for (size_t i = 0; i < countof(features); i++) {
        if (!feature_is_there(v, str_of(features[i])))
            continue;
        struct val one = val_map();
        val_set_text(a, &one, N(name), str_of(features[i]));
        val_add(a, &kept, one);
    }
    val_set_str(a, status, S("supportedFeatures"), kept);
    plan_update(out, class, S("status"), tree);
    if (parameters)
        plan_why(out, "GatewayClass " STR_FMT " has a parametersRef, and there are no parameters",
                 STR_ARG(class->name));
}

static void class_make(const struct kind *k, struct plan *out)
{
    struct arena *a = &out->arena;
    struct val tree = val_map();
    val_set_text(a, val_need_map(a, &tree, N(spec)), name_of(a, S("controllerName")), S(GATEWAY_CONTROLLER));
    plan_create(out, k, S(""), S(GATEWAY_CLASS), tree)->exists_ok = true;
}

static void class_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct kind *k = view_defined(v, GATEWAYS_CLASSES);
    const struct obj *class = k ? view_get(v, k, S(""), key.name) : NULL;
    const struct obj *definition = view_get(v, K(CustomResourceDefinition), S(""), S(GATEWAYS_CLASSES));
    bool ours = str_eqz(key.name, GATEWAY_CLASS) && definition && definition_is(definition, "Established");
    if (ours && (!k || v->settling)) /* its kind is not served yet, or its objects are not in */
        plan_again(out, v->now + SETTLE_NS);
    else if (ours && !class)
        class_make(k, out);
    if (class && gateway_class_is_ours(class) && !obj_deleting(class))
        class_status(v, class, out);
}

/* Definitions say of which version they are, what there can be, and one of them that there can be classes. */
static void keys_of_definition(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                               void *arg)
{
    const struct kind *k = view_defined(v, GATEWAYS_CLASSES);
    struct obj *o;
    struct str name = (now ? now : was)->name, group = S("." GATEWAY_GROUP);
    if (name.n < group.n || !str_eq(str_sub(name, name.n - group.n, name.n), group))
        return;
    add(arg, S(""), S(GATEWAY_CLASS));
    if (k)
        for (struct objset_iter it = view_all(v, k); (o = objset_next(&it));)
            add(arg, S(""), o->name);
}

static const struct controller_watch watches[] = {{K(CustomResourceDefinition), keys_of_definition}, {0}};
static const struct defined_watch defined[] = {{GATEWAYS_CLASSES, keys_self}, {0}};
const struct controller gatewayclass_controller = {
    .name = "gatewayclass",
    .component = "gatewayclass-controller",
    .account = "gateway-controller",
    .watches = watches,
    .defined = defined,
    .plan = class_plan,
};
