/* strategy_service.c - what an update of a Service keeps and drops (strategy_update_service), the hard one of all
 * kinds.
 *
 * clusterIP and clusterIPs must follow each other, a client that does not mention its addresses and ports keeps
 * them, and what a new type has no use for is dropped, but only where the client left it as it was. Taking addresses
 * and ports is the server's (alloc.c).
 */
#include "api/rules_int.h"
#include "api/strategy_int.h"

static bool of_type(const struct val *spec, const char *x, const char *y, const char *z)
{
    struct str type = TEXT(spec, type);
    return str_eqz(type, x) || (y && str_eqz(type, y)) || (z && str_eqz(type, z));
}
#define NEEDS_IP(spec)     of_type((spec), "ClusterIP", "NodePort", "LoadBalancer")
#define NEEDS_PORT(spec)   of_type((spec), "NodePort", "LoadBalancer", NULL)
#define IS_BALANCER(spec)  of_type((spec), "LoadBalancer", NULL, NULL)
#define NEEDS_HEALTH(spec) (IS_BALANCER(spec) && str_eq(TEXT((spec), externalTrafficPolicy), S("Local")))

static bool has_node_port(const struct val *spec, int64_t n)
{
    const struct val *ports = V(spec, ports);
    if (!work_do(val_len(ports)))
        return false;
    val_each_item (port, ports)
        if (val_num(V(port, nodePort), 0) == n)
            return true;
    return false;
}

void strategy_create_service(struct arena *a, struct val *v, int64_t now)
{
    (void)a, (void)now;
    if (of_type(V(v, spec), "ExternalName", NULL, NULL))
        val_del(MUT(v, spec), N(internalTrafficPolicy)); /* there is no traffic of ours */
}

void strategy_update_service(struct arena *a, struct str sub, struct val *v, const struct val *old, int64_t now)
{
    (void)now;
    if (sub.n > 0)
        return;
    struct val *spec = val_need_map(a, v, N(spec));
    const struct val *was = V(old, spec);
    if (!SAME(spec, was, clusterIP) && SAME(spec, was, clusterIPs)) {
        /* one of the pair changed: the other follows */
        val_del(spec, N(clusterIPs));
        if (TEXT(spec, clusterIP).n > 0) {
            struct val list = val_list();
            val_add(a, &list, *V(spec, clusterIP));
            val_set(a, spec, N(clusterIPs), list);
        }
    }
    if (NEEDS_IP(was) && NEEDS_IP(spec)) {
        if (TEXT(spec, clusterIP).n == 0)
            KEEP(a, spec, was, clusterIP);
        if (val_len(V(spec, clusterIPs)) == 0 && SAME(spec, was, clusterIP))
            KEEP(a, spec, was, clusterIPs);
    }
    if (NEEDS_PORT(was) && NEEDS_PORT(spec))
        each_mut (port, MUT(spec, ports)) {
            const struct val *before = val_find(V(was, ports), N(name), TEXT(port, name));
            if (!before && TEXT(port, name).n == 0)
                val_each_item (p, V(was, ports))
                    if (TEXT(p, name).n == 0)
                        before = p;
            int64_t n = val_num(V(before, nodePort), 0);
            if (val_num(V(port, nodePort), 0) == 0 && n != 0 && !has_node_port(spec, n))
                val_set_num(a, port, N(nodePort), n);
        }
    if (NEEDS_HEALTH(was) && NEEDS_HEALTH(spec) && val_num(V(spec, healthCheckNodePort), 0) == 0)
        KEEP(a, spec, was, healthCheckNodePort);

    /* what the new type has no use for, where the client left it alone */
    if (NEEDS_IP(was) && !NEEDS_IP(spec)) {
        if (SAME(spec, was, clusterIP) && SAME(spec, was, clusterIPs)) {
            val_del(spec, N(clusterIP));
            val_del(spec, N(clusterIPs));
        }
        if (SAME(spec, was, ipFamilies))
            val_del(spec, N(ipFamilies));
        if (SAME(spec, was, ipFamilyPolicy))
            val_del(spec, N(ipFamilyPolicy));
    }
    if (NEEDS_PORT(was) && !NEEDS_PORT(spec)) {
        bool touched = false;
        each_mut (port, MUT(spec, ports)) {
            int64_t n = val_num(V(port, nodePort), 0);
            touched |= n != 0 && !has_node_port(was, n);
        }
        if (!touched)
            each_mut (port, MUT(spec, ports))
                val_del(port, N(nodePort));
    }
    if (NEEDS_HEALTH(was) && !NEEDS_HEALTH(spec) && SAME(spec, was, healthCheckNodePort))
        val_del(spec, N(healthCheckNodePort));
    if (IS_BALANCER(was) && !IS_BALANCER(spec)) {
        if (SAME(spec, was, allocateLoadBalancerNodePorts))
            val_del(spec, N(allocateLoadBalancerNodePorts));
        if (SAME(spec, was, loadBalancerClass))
            val_del(spec, N(loadBalancerClass));
    }
    bool outside = NEEDS_PORT(spec) || val_len(V(spec, externalIPs)) > 0;
    bool was_outside = NEEDS_PORT(was) || val_len(V(was, externalIPs)) > 0;
    if (was_outside && !outside && SAME(spec, was, externalTrafficPolicy))
        val_del(spec, N(externalTrafficPolicy));
    if (!IS_BALANCER(spec) && val_is(V(v, status), VAL_MAP)) {
        struct val status = val_copy(a, V(v, status));
        val_set(a, &status, N(loadBalancer), val_map());
        val_set(a, v, N(status), status);
    }
}
