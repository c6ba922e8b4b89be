/* defaults_other.c - the defaults of all other kinds, in the order of the rows of defaults.c. */
#include "api/defaults_int.h"

static bool externally_accessible(const struct val *spec)
{
    struct str type = TEXT(spec, type);
    return str_eq(type, S("LoadBalancer")) || str_eq(type, S("NodePort")) ||
           (str_eq(type, S("ClusterIP")) && val_len(V(spec, externalIPs)) > 0);
}

void default_service(struct arena *a, struct val *v)
{
    struct val *spec = val_need_map(a, v, N(spec));
    DEF_TEXT(a, spec, sessionAffinity, "None");
    if (str_eq(TEXT(spec, sessionAffinity), S("None"))) {
        val_del(spec, N(sessionAffinityConfig));
    } else if (str_eq(TEXT(spec, sessionAffinity), S("ClientIP")) &&
               !val_is(val_at(spec, N(sessionAffinityConfig), N(clientIP), N(timeoutSeconds)), VAL_INT)) {
        struct val client = val_map(), config = val_map();
        val_set_num(a, &client, N(timeoutSeconds), 10800);
        val_set(a, &config, N(clientIP), client);
        val_set(a, spec, N(sessionAffinityConfig), config);
    }
    DEF_TEXT(a, spec, type, "ClusterIP");
    each_mut (port, MUT(spec, ports)) {
        DEF_TEXT(a, port, protocol, "TCP");
        const struct val *target = V(port, targetPort);
        if (!target || target->type == VAL_NULL || (target->type == VAL_INT && target->i == 0) ||
            (target->type == VAL_STRING && target->n == 0))
            val_set_num(a, port, N(targetPort), val_num(V(port, port), 0));
    }
    struct str type = TEXT(spec, type);
    if (externally_accessible(spec))
        DEF_TEXT(a, spec, externalTrafficPolicy, "Cluster");
    bool balancer = str_eq(type, S("LoadBalancer"));
    if (balancer || str_eq(type, S("NodePort")) || str_eq(type, S("ClusterIP")))
        DEF_TEXT(a, spec, internalTrafficPolicy, "Cluster");
    if (balancer) {
        DEF_BOOL(a, spec, allocateLoadBalancerNodePorts, true);
        each_mut (ingress, MUT(MUT(MUT(v, status), loadBalancer), ingress)) {
            if (TEXT(ingress, ip).n > 0)
                DEF_TEXT(a, ingress, ipMode, "VIP");
        }
    }
    /* clusterIP names the first of clusterIPs */
    if (TEXT(spec, clusterIP).n > 0 && val_len(V(spec, clusterIPs)) == 0) {
        struct val list = val_list();
        val_add(a, &list, *V(spec, clusterIP));
        val_set(a, spec, N(clusterIPs), list);
    }
}

void default_endpoints(struct arena *a, struct val *v)
{
    each_mut (subset, MUT(v, subsets))
        each_mut (port, MUT(subset, ports))
            DEF_TEXT(a, port, protocol, "TCP");
}

void default_namespace(struct arena *a, struct val *v)
{
    struct str name = val_text_at(v, N(metadata), N(name));
    if (name.n > 0)
        val_set_str(a, val_need_map(a, v, N(metadata), N(labels)), S("kubernetes.io/metadata.name"),
                    val_str(a, name));
    DEF_TEXT(a, val_need_map(a, v, N(status)), phase, "Active");
}

void default_secret(struct arena *a, struct val *v)
{
    DEF_TEXT(a, v, type, "Opaque");
    if (val_len(V(v, stringData)) > 0) {
        struct val *data = val_need_map(a, v, N(data));
        val_each_member (m, V(v, stringData))
            val_set(a, data, m->name, val_bytes(a, val_text(&m->v)));
    }
    val_del(v, N(stringData));
}

void default_pv(struct arena *a, struct val *v)
{
    DEF_TEXT(a, val_need_map(a, v, N(status)), phase, "Pending");
    struct val *spec = val_need_map(a, v, N(spec));
    DEF_TEXT(a, spec, persistentVolumeReclaimPolicy, "Retain");
    DEF_TEXT(a, spec, volumeMode, "Filesystem");
    struct val *host = MUT(spec, hostPath);
    if (val_is(host, VAL_MAP) && !val_is(V(host, type), VAL_STRING))
        val_set_text(a, host, N(type), S(""));
}

void default_pvc(struct arena *a, struct val *v)
{
    DEF_TEXT(a, val_need_map(a, v, N(status)), phase, "Pending");
    default_claim_spec(a, val_need_map(a, v, N(spec)));
}

void default_node(struct arena *a, struct val *v)
{
    struct val *status = MUT(v, status);
    if (val_is(V(status, capacity), VAL_MAP) && !val_is(V(status, allocatable), VAL_MAP))
        val_set(a, status, N(allocatable), val_copy(a, V(status, capacity)));
    struct val *spec = MUT(v, spec);
    struct str cidr = TEXT(spec, podCIDR), first = val_text(val_item(V(spec, podCIDRs), 0));
    if (cidr.n > 0 && !str_eq(cidr, first)) {
        struct val list = val_list();
        val_add(a, &list, val_str(a, cidr));
        val_set(a, spec, N(podCIDRs), list);
    } else if (cidr.n == 0 && first.n > 0) {
        val_set_text(a, spec, N(podCIDR), first);
    }
}

static void val_fill(struct arena *a, struct val *into, const struct val *from)
{
    val_each_member (m, from)
        if (!val_get(into, m->name))
            val_set(a, into, m->name, m->v);
}

void default_limitrange(struct arena *a, struct val *v)
{
    each_mut (item, MUT(MUT(v, spec), limits)) {
        if (!str_eq(TEXT(item, type), S("Container")))
            continue;
        struct val *dflt = val_need_map(a, item, N(default));
        val_fill(a, dflt, V(item, max));
        struct val *request = val_need_map(a, item, N(defaultRequest));
        val_fill(a, request, V(item, default));
        val_fill(a, request, V(item, min));
    }
}

void default_networkpolicy(struct arena *a, struct val *v)
{
    struct val *spec = val_need_map(a, v, N(spec));
    const struct name *const lists[] = {N(ingress), N(egress)};
    for (size_t i = 0; i < countof(lists); i++)
        each_mut (rule, val_get_mut(spec, lists[i])) {
            each_mut (port, MUT(rule, ports))
                DEF_TEXT(a, port, protocol, "TCP");
        }
    if (val_len(V(spec, policyTypes)) == 0) {
        struct val types = val_list();
        val_add(a, &types, val_str_borrowed(S("Ingress")));
        if (val_len(V(spec, egress)) > 0)
            val_add(a, &types, val_str_borrowed(S("Egress")));
        val_set(a, spec, N(policyTypes), types);
    }
}

void default_ingressclass(struct arena *a, struct val *v)
{
    struct val *parameters = MUT(MUT(v, spec), parameters);
    if (val_is(parameters, VAL_MAP))
        DEF_TEXT(a, parameters, scope, "Cluster");
}

void default_binding(struct arena *a, struct val *v)
{
    DEF_TEXT(a, val_need_map(a, v, N(roleRef)), apiGroup, "rbac.authorization.k8s.io");
    each_mut (subject, MUT(v, subjects)) {
        struct str kind = TEXT(subject, kind);
        if (str_eq(kind, S("User")) || str_eq(kind, S("Group")))
            DEF_TEXT(a, subject, apiGroup, "rbac.authorization.k8s.io");
    }
}

void default_storageclass(struct arena *a, struct val *v)
{
    DEF_TEXT(a, v, reclaimPolicy, "Delete");
    DEF_TEXT(a, v, volumeBindingMode, "Immediate");
}

void default_csidriver(struct arena *a, struct val *v)
{
    struct val *spec = val_need_map(a, v, N(spec));
    DEF_BOOL(a, spec, attachRequired, true);
    DEF_BOOL(a, spec, podInfoOnMount, false);
    DEF_BOOL(a, spec, storageCapacity, false);
    DEF_TEXT(a, spec, fsGroupPolicy, "ReadWriteOnceWithFSType");
    if (val_len(V(spec, volumeLifecycleModes)) == 0) {
        struct val list = val_list();
        val_add(a, &list, val_str_borrowed(S("Persistent")));
        val_set(a, spec, N(volumeLifecycleModes), list);
    }
    DEF_BOOL(a, spec, requiresRepublish, false);
    DEF_BOOL(a, spec, seLinuxMount, false);
    val_del(spec, N(preventPodSchedulingIfMissing)); /* behind a gate that is off */
}

/* What is behind gates that are off: values that are lists, what a device takes of the node. */
void default_resourceslice(struct arena *a, struct val *v)
{
    static const struct name *const lists[] = {N(ints), N(bools), N(strings), N(versions)};
    (void)a;
    each_mut (device, MUT(MUT(v, spec), devices)) {
        val_del(device, N(nodeAllocatableResourceMappings));
        each_member_mut (attribute, MUT(device, attributes))
            for (size_t i = 0; i < countof(lists); i++)
                val_del(&attribute->v, lists[i]);
    }
}

void default_priorityclass(struct arena *a, struct val *v)
{
    DEF_TEXT(a, v, preemptionPolicy, "PreemptLowerPriority");
}

void default_endpointslice(struct arena *a, struct val *v)
{
    each_mut (port, MUT(v, ports)) {
        if (!val_is(V(port, name), VAL_STRING))
            val_set_text(a, port, N(name), S(""));
        DEF_TEXT(a, port, protocol, "TCP");
    }
}

void default_webhooks(struct arena *a, struct val *v)
{
    bool mutating = str_eq(TEXT(v, kind), S("MutatingWebhookConfiguration"));
    each_mut (hook, MUT(v, webhooks)) {
        DEF_TEXT(a, hook, failurePolicy, "Fail");
        DEF_TEXT(a, hook, matchPolicy, "Equivalent");
        DEF_MAP(a, hook, namespaceSelector);
        DEF_MAP(a, hook, objectSelector);
        DEF_NUM(a, hook, timeoutSeconds, 10);
        if (mutating)
            DEF_TEXT(a, hook, reinvocationPolicy, "Never");
        each_mut (rule, MUT(hook, rules))
            DEF_TEXT(a, rule, scope, "*");
        struct val *service = MUT(MUT(hook, clientConfig), service);
        if (val_is(service, VAL_MAP))
            DEF_NUM(a, service, port, 443);
    }
}

static void default_match(struct arena *a, struct val *match)
{
    if (!val_is(match, VAL_MAP))
        return;
    DEF_TEXT(a, match, matchPolicy, "Equivalent");
    DEF_MAP(a, match, namespaceSelector);
    DEF_MAP(a, match, objectSelector);
    const struct name *const lists[] = {N(resourceRules), N(excludeResourceRules)};
    for (size_t i = 0; i < countof(lists); i++)
        each_mut (rule, val_get_mut(match, lists[i]))
            DEF_TEXT(a, rule, scope, "*");
}

void default_policy(struct arena *a, struct val *v)
{
    struct val *spec = val_need_map(a, v, N(spec));
    DEF_TEXT(a, spec, failurePolicy, "Fail");
    default_match(a, MUT(spec, matchConstraints));
}

void default_policy_binding(struct arena *a, struct val *v)
{
    default_match(a, MUT(MUT(v, spec), matchResources));
}

void default_flowschema(struct arena *a, struct val *v)
{
    DEF_NUM_OF_ZERO(a, val_need_map(a, v, N(spec)), matchingPrecedence, 1000);
}

void default_prioritylevel(struct arena *a, struct val *v)
{
    struct val *spec = val_need_map(a, v, N(spec));
    struct val *exempt = MUT(spec, exempt), *limited = MUT(spec, limited);
    if (val_is(exempt, VAL_MAP)) {
        DEF_NUM(a, exempt, nominalConcurrencyShares, 0);
        DEF_NUM(a, exempt, lendablePercent, 0);
    }
    if (val_is(limited, VAL_MAP)) {
        DEF_NUM(a, limited, nominalConcurrencyShares, 30);
        DEF_NUM(a, limited, lendablePercent, 0);
        struct val *queuing = MUT(MUT(limited, limitResponse), queuing);
        if (val_is(queuing, VAL_MAP)) {
            DEF_NUM_OF_ZERO(a, queuing, handSize, 8);
            DEF_NUM_OF_ZERO(a, queuing, queues, 64);
            DEF_NUM_OF_ZERO(a, queuing, queueLengthLimit, 50);
        }
    }
}

static void default_device_request(struct arena *a, struct val *request)
{
    if (!val_is(request, VAL_MAP))
        return;
    DEF_TEXT(a, request, allocationMode, "ExactCount");
    if (str_eq(TEXT(request, allocationMode), S("ExactCount")))
        DEF_NUM_OF_ZERO(a, request, count, 1);
}

static void default_devices(struct arena *a, struct val *devices)
{
    each_mut (request, MUT(devices, requests)) {
        default_device_request(a, MUT(request, exactly));
        each_mut (sub, MUT(request, firstAvailable))
            default_device_request(a, sub);
    }
}

void default_resourceclaim(struct arena *a, struct val *v)
{
    default_devices(a, MUT(MUT(v, spec), devices));
}

void default_resourceclaimtemplate(struct arena *a, struct val *v)
{
    default_devices(a, MUT(MUT(MUT(v, spec), spec), devices));
}

void default_crd(struct arena *a, struct val *v)
{
    struct val *spec = val_need_map(a, v, N(spec));
    struct val *spelled = val_need_map(a, spec, N(names));
    struct str kind = TEXT(spelled, kind);
    if (kind.n > 0 && TEXT(spelled, singular).n == 0) {
        struct val lower = val_str(a, kind);
        char *p = arena_dup(a, lower.s, lower.n + 1);
        for (uint32_t i = 0; i < lower.n; i++)
            p[i] = p[i] >= 'A' && p[i] <= 'Z' ? (char)(p[i] + 32) : p[i];
        val_set(a, spelled, N(singular), val_str_borrowed((struct str){p, lower.n}));
    }
    if (kind.n > 0 && TEXT(spelled, listKind).n == 0)
        val_set_text(a, spelled, N(listKind), arena_fmt(a, STR_FMT "List", STR_ARG(kind)));
    struct val *conversion = val_need_map(a, spec, N(conversion));
    DEF_TEXT(a, conversion, strategy, "None");
    struct val *service = MUT(MUT(MUT(conversion, webhook), clientConfig), service);
    if (val_is(service, VAL_MAP))
        DEF_NUM(a, service, port, 443);
}

void default_apiservice(struct arena *a, struct val *v)
{
    struct val *service = MUT(MUT(v, spec), service);
    if (val_is(service, VAL_MAP))
        DEF_NUM(a, service, port, 443);
}
