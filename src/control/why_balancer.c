/* A Service of type LoadBalancer: why it has no address, or why nobody answers for the one it has. Told from what
 * loadbalancer.c has written into its conditions. */
#include "control/loadbalancer_int.h"
#include "control/why_int.h"

/* By the condition's reason. */
static const struct saying rows[] = {
    {"PoolFull", "PoolFull", "it gets no address: {message}",
     "Give a pool more addresses (kubectl edit addresspool), or make one that is for it"},
    {"NoPool", "NoPool", "it gets no address: {message}",
     "Make an AddressPool that is for it, or name one: "
     "kubectl annotate {target} wherry.dev/address-pool=NAME"},
    {"UnknownPool", "UnknownPool", "it gets no address: {message}",
     "Name one that is there (kubectl get addresspools): kubectl annotate {target} --overwrite "
     "wherry.dev/address-pool=NAME"},
    {"PoolNotForIt", "PoolNotForIt", "it gets no address: {message}",
     "Let it in by the pool's spec.serviceAllocation, or name another pool"},
    {"AddressNotInPool", "AddressNotInPool", "it gets no address: {message}",
     "Mend spec.loadBalancerIP or the annotation: kubectl edit {target}"},
    {"AddressTaken", "AddressTaken", "it does not get the address that it asks for: {message}",
     "Ask for another, or for none: kubectl edit {target}"},
    {"PortTaken", "PortTaken", "{message}",
     "Or let a pool serve it: kubectl annotate {target} "
     "wherry.dev/address-pool=NAME"},
    {"BadAddress", "BadAddress", "{message}", "Mend it: kubectl edit {target}"},
    {"NoNode", "NoNode", "it has no address: {message}", "Look at the nodes: kubectl get nodes"},
    {"PoolGone", "PoolGone", "{message}", "Ask for another: kubectl annotate {target} wherry.dev/address-pool=NAME"},
    {"", "NoAddress", "it has no address: {message}", ""},
};

static void say_condition(struct question *q, const struct val *c, struct finding *f)
{
    const struct word words[] = {{"message", val_text_at(c, N(message))}};
    why_saying(q, f, rows, val_text_at(c, N(reason)), words, countof(words));
}

/* Nobody has written a condition: it is not ours, or nothing is there that could serve it. */
static void say_unheard(struct question *q, const struct obj *svc, struct finding *f)
{
    struct str class = val_text_at(obj_spec(svc), N(loadBalancerClass));
    if (class.n && !str_eqz(class, BALANCER_CLASS)) {
        why_found(q, f, "AnotherClass",
                  "it has no address: its loadBalancerClass " STR_FMT " is for somebody else to serve",
                  STR_ARG(class));
        why_way(q, f, "Install who serves that class, or make the Service anew without one");
    } else if (balancer_is_metallbs(q->v) && !class.n) {
        why_found(q, f, "MetalLB", "it has no address: MetalLB runs here, so it is left to it");
        why_way(q, f,
                "Look at MetalLB's controller, or make the Service anew with loadBalancerClass " BALANCER_CLASS);
    } else {
        why_coming(q, f, "AddressComing", "its address is being chosen");
    }
}

void why_balancer(struct question *q, const struct obj *svc, struct finding *f)
{
    const struct val *assigned = condition_get(obj_status(svc), CONDITION_ASSIGNED);
    const struct val *announced = condition_get(obj_status(svc), CONDITION_ANNOUNCED);
    const struct val *ranges = val_get(obj_spec(svc), N(loadBalancerSourceRanges));
    bool has = val_len(val_at(obj_status(svc), N(loadBalancer), N(ingress))) > 0;
    if (!str_eqz(val_text_at(obj_spec(svc), N(type)), "LoadBalancer"))
        return;
    if (assigned && (!has || str_eqz(val_text_at(assigned, N(reason)), "BadAddress"))) {
        say_condition(q, assigned, f);
    } else if (!has) {
        say_unheard(q, svc, f);
    } else if (str_eqz(val_text_at(announced, N(status)), "False")) {
        struct str why = val_text_at(announced, N(message));
        if (!why_found(q, f, "NotAnnounced", "nobody answers for its address: " STR_FMT, STR_ARG(why)))
            return;
        if (str_has(why, S("L2Advertisement")))
            why_way(q, f, "Make one that names it in spec.ipAddressPools");
        else if (str_has(why, S("selectors of nodes")))
            why_way(q, f, "Mend the pool's nodeSelector, or the labels of nodes");
    } else if (f->state == WHY_FINE && val_len(ranges)) {
        f->reason = arena_fmt(q->a, "only " STR_FMT "%s may reach its address (spec.loadBalancerSourceRanges)",
                              STR_ARG(val_text(val_item(ranges, 0))), val_len(ranges) > 1 ? " and others" : "");
    }
}
