/* A NetworkPolicy: whom it isolates and what stands in it that matches nothing, which is what people mean when they
 * ask why a policy does not work. What a policy allows is netpolicy.h's, which also the nodes enforce by. */
#include "api/netpolicy.h"
#include "api/selector.h"
#include "control/why_policy_int.h"

struct str policy_word(struct question *q, const struct obj *policy)
{
    return arena_fmt(q->a, "NetworkPolicy " STR_FMT, STR_ARG(policy->name));
}

struct str policy_selector_text(struct question *q, const struct val *selector)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct selector *s;
    struct err err = ERR; /* what cannot be read selects nothing */
    if (!selector_of(q->a, selector, &s, &err))
        return S("(which cannot be read)");
    selector_text(s, &b);
    return str_dup(q->a, strbuf_str(&b));
}

struct str policy_peer_text(struct question *q, const struct obj *policy, const struct val *peer)
{
    const struct val *block = val_get(peer, N(ipBlock)), *namespaces = val_get(peer, N(namespaceSelector));
    if (block) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        val_each_item (e, val_get(block, N(except)))
            strbuf_addf(&b, "%s" STR_FMT, b.n ? ", " : " but not ", STR_ARG(val_text(e)));
        return arena_fmt(q->a, "addresses of " STR_FMT STR_FMT, STR_ARG(val_text_at(block, N(cidr))),
                         STR_ARG(strbuf_str(&b)));
    }
    struct str pods = policy_selector_text(q, val_get(peer, N(podSelector)));
    struct str spaces = policy_selector_text(q, namespaces);
    struct str who = val_len(val_get(peer, N(podSelector))) ? arena_fmt(q->a, "pods with " STR_FMT, STR_ARG(pods))
                                                            : S("all pods");
    if (!namespaces)
        return arena_fmt(q->a, STR_FMT " in namespace " STR_FMT, STR_ARG(who), STR_ARG(policy->ns));
    if (!val_len(namespaces))
        return arena_fmt(q->a, STR_FMT " in all namespaces", STR_ARG(who));
    return arena_fmt(q->a, STR_FMT " in namespaces with " STR_FMT, STR_ARG(who), STR_ARG(spaces));
}

struct str policy_port_text(struct question *q, const struct val *port)
{
    struct netpolicy_port p;
    struct str proto = val_text_at(port, N(protocol));
    proto = proto.n ? proto : S("TCP");
    if (!netpolicy_port_of(port, &p))
        return S("no port");
    if (p.name.n)
        return arena_fmt(q->a, "port " STR_FMT "/" STR_FMT, STR_ARG(p.name), STR_ARG(proto));
    if (p.from == 0)
        return arena_fmt(q->a, "any port of " STR_FMT, STR_ARG(proto));
    if (p.from == p.to)
        return arena_fmt(q->a, "port %u/" STR_FMT, p.from, STR_ARG(proto));
    return arena_fmt(q->a, "ports %u to %u/" STR_FMT, p.from, p.to, STR_ARG(proto));
}

bool policy_peer_has(struct question *q, const struct obj *policy, const struct val *peer, const struct obj *pod)
{
    const struct val *namespaces = val_get(peer, N(namespaceSelector)), *pods = val_get(peer, N(podSelector));
    const struct obj *ns = view_get(q->v, K(Namespace), S(""), pod->ns);
    if (!namespaces && !pods)
        return false;
    if (namespaces ? !ns || !label_selector_matches(namespaces, obj_labels(ns)) : !str_eq(pod->ns, policy->ns))
        return false;
    return !pods || label_selector_matches(pods, obj_labels(pod));
}

static bool is_peer(const struct obj *pod)
{
    return pod_is_active(pod) && !val_true(val_get(obj_spec(pod), N(hostNetwork)));
}

/* ---- whom it selects ---- */

/* A workload whose pods it would select, if there were any. */
static const struct obj *likely_workload(struct question *q, const struct obj *policy)
{
    const struct kind *const kinds_with_template[] = {K(Deployment), K(StatefulSet), K(DaemonSet), K(Job)};
    for (size_t i = 0; i < countof(kinds_with_template); i++) {
        struct obj *o;
        for (struct objset_iter it = view_with(q->v, kinds_with_template[i], &index_namespace, policy->ns);
             (o = objset_next(&it));)
            if (label_selector_matches(netpolicy_subjects(policy),
                                       val_at(obj_spec(o), N(template), N(metadata), N(labels))))
                return o;
    }
    return NULL;
}

static size_t count_selected(struct question *q, const struct obj *policy)
{
    size_t n = 0;
    struct obj *pod;
    for (struct objset_iter it = view_with(q->v, K(Pod), &index_namespace, policy->ns); (pod = objset_next(&it));)
        n += is_peer(pod) && label_selector_matches(netpolicy_subjects(policy), obj_labels(pod));
    return n;
}

/* The label of a pod of the namespace that is most like one that the selector asks for. */
static struct str likely_label(struct question *q, const struct obj *policy)
{
    val_each_member (want, val_get(netpolicy_subjects(policy), N(matchLabels))) {
        struct nearest near = {.wanted = val_text(&want->v)};
        struct obj *pod;
        for (struct objset_iter it = view_with(q->v, K(Pod), &index_namespace, policy->ns); (pod = objset_next(&it));)
            nearest_try(&near, val_text(val_get_str(obj_labels(pod), want->name->s)));
        if (near.best.n && !str_eq(near.best, near.wanted))
            return arena_fmt(q->a, STR_FMT "=" STR_FMT, STR_ARG(want->name->s), STR_ARG(near.best));
    }
    return S("");
}

static void say_selects_none(struct question *q, const struct obj *policy, struct finding *f)
{
    struct str selector = policy_selector_text(q, netpolicy_subjects(policy)), likely = likely_label(q, policy);
    if (!val_len(netpolicy_subjects(policy)) || likely_workload(q, policy))
        return; /* it is about pods that are yet to come */
    why_found(q, f, "PolicySelectsNothing",
              "its podSelector " STR_FMT " matches no pod in namespace " STR_FMT "%s" STR_FMT "%s", STR_ARG(selector),
              STR_ARG(policy->ns), likely.n ? " (there are pods with " : "", STR_ARG(likely), likely.n ? ")" : "");
    why_way(q, f, "It protects nobody now; mend spec.podSelector if it should: kubectl edit " STR_FMT,
            STR_ARG(why_target(q, policy)));
}

/* ---- what it says of the other side ---- */

static bool any_namespace(struct question *q, const struct val *selector)
{
    struct obj *ns;
    for (struct objset_iter it = view_all(q->v, K(Namespace)); (ns = objset_next(&it));)
        if (label_selector_matches(selector, obj_labels(ns)))
            return true;
    return false;
}

/* "name=x" where every namespace has kubernetes.io/metadata.name: the label that was meant. */
static struct str meant_namespace(struct question *q, const struct val *selector)
{
    val_each_member (m, val_get(selector, N(matchLabels)))
        if (view_get(q->v, K(Namespace), S(""), val_text(&m->v)))
            return val_text(&m->v);
    return S("");
}

static void say_peer(struct question *q, const struct obj *policy, const struct val *peer, const char *where,
                     struct finding *f)
{
    const struct val *namespaces = val_get(peer, N(namespaceSelector));
    if (val_get(peer, N(ipBlock)) || !view_get(q->v, K(Namespace), S(""), policy->ns))
        return; /* or namespaces could not be read */
    if (namespaces && !any_namespace(q, namespaces)) {
        struct str meant = meant_namespace(q, namespaces);
        why_found(q, f, "PolicyNamespaceUnknown",
                  "in %s its namespaceSelector " STR_FMT " matches no namespace, so that peer allows nothing", where,
                  STR_ARG(policy_selector_text(q, namespaces)));
        if (meant.n)
            why_way(q, f,
                    "Namespaces have their name in the label kubernetes.io/metadata.name, so select "
                    "kubernetes.io/metadata.name=" STR_FMT ": kubectl edit " STR_FMT,
                    STR_ARG(meant), STR_ARG(why_target(q, policy)));
        else
            why_way(q, f,
                    "Label the namespace that is meant: kubectl label namespace NAME KEY=VALUE; or mend it: "
                    "kubectl edit " STR_FMT,
                    STR_ARG(why_target(q, policy)));
        return;
    }
    struct obj *pod;
    for (struct objset_iter it = view_all(q->v, K(Pod)); (pod = objset_next(&it));)
        if (is_peer(pod) && policy_peer_has(q, policy, peer, pod))
            return;
    why_chain(q, f, "%s: " STR_FMT ": there are none now", where, STR_ARG(policy_peer_text(q, policy, peer)));
}

static bool has_port(const struct obj *pod, const struct netpolicy_port *p)
{
    val_each_item (c, val_get(obj_spec(pod), N(containers)))
        val_each_item (port, val_get(c, N(ports)))
            if (str_eq(val_text_at(port, N(name)), p->name))
                return true;
    return false;
}

/* A name that no pod on the destination's side has: of ingress the pods that the policy selects. */
static void say_port(struct question *q, const struct obj *policy, const struct val *port, bool egress,
                     const char *where, struct finding *f)
{
    struct netpolicy_port p;
    size_t asked = 0;
    struct nearest near = {0};
    struct obj *pod;
    if (!netpolicy_port_of(port, &p) || !p.name.n)
        return;
    near.wanted = p.name;
    for (struct objset_iter it = egress ? view_all(q->v, K(Pod))
                                        : view_with(q->v, K(Pod), &index_namespace, policy->ns);
         (pod = objset_next(&it));) {
        if (!is_peer(pod) || (!egress && !label_selector_matches(netpolicy_subjects(policy), obj_labels(pod))))
            continue;
        asked++;
        if (has_port(pod, &p))
            return;
        val_each_item (c, val_get(obj_spec(pod), N(containers)))
            val_each_item (have, val_get(c, N(ports)))
                if (val_text_at(have, N(name)).n)
                    nearest_try(&near, val_text_at(have, N(name)));
    }
    if (!asked)
        return;
    why_found(q, f, "PolicyPortUnknown",
              "in %s it names the port " STR_FMT ", which no container of %s has, so that it allows nothing%s" STR_FMT
              "%s",
              where, STR_ARG(p.name), egress ? "any pod" : "the pods that it selects",
              near.best.n ? " (there is " : "", STR_ARG(near.best), near.best.n ? ")" : "");
    why_way(q, f, "Name a port of the pod, or its number: kubectl edit " STR_FMT, STR_ARG(why_target(q, policy)));
}

static void say_rules(struct question *q, const struct obj *policy, bool egress, struct finding *f)
{
    size_t i = 0;
    val_each_item (rule, netpolicy_rules(policy, egress)) {
        struct str where = arena_fmt(q->a, "spec.%s[%zu]", egress ? "egress" : "ingress", i++);
        val_each_item (peer, netpolicy_peers(rule, egress))
            say_peer(q, policy, peer, where.p, f);
        val_each_item (port, val_get(rule, N(ports)))
            say_port(q, policy, port, egress, where.p, f);
    }
}

/* Rules of a direction that policyTypes leaves out. */
static void say_ignored(struct question *q, const struct obj *policy, bool egress, struct finding *f)
{
    const char *field = egress ? "egress" : "ingress", *type = egress ? "Egress" : "Ingress";
    if (netpolicy_is_about(policy, egress) || !val_len(netpolicy_rules(policy, egress)))
        return;
    why_found(q, f, "PolicyRulesIgnored",
              "it has rules in spec.%s, but spec.policyTypes does not have %s: nothing of "
              "them holds",
              field, type);
    why_way(q, f, "Add %s to spec.policyTypes: kubectl edit " STR_FMT, type, STR_ARG(why_target(q, policy)));
}

static const char *allows_text(const struct obj *policy, bool egress)
{
    if (!netpolicy_is_about(policy, egress))
        return "as it was";
    return val_len(netpolicy_rules(policy, egress)) ? "only what its rules allow" : "nothing";
}

void why_netpolicy(struct question *q, const struct obj *o, struct finding *f)
{
    size_t n = count_selected(q, o);
    const struct obj *told = why_event(q, o, "NotEnforced", S(""), S(""));
    why_chain(q, f, STR_FMT ": podSelector " STR_FMT ", %zu pod%s", STR_ARG(policy_word(q, o)),
              STR_ARG(val_len(netpolicy_subjects(o)) ? policy_selector_text(q, netpolicy_subjects(o)) : S("{}")), n,
              n == 1 ? "" : "s");
    why_chain(q, f, "ingress: %s; egress: %s", allows_text(o, false), allows_text(o, true));
    if (told) {
        why_found(q, f, "PolicyNotEnforced", STR_FMT, STR_ARG(why_event_text(told)));
        why_way(q, f, "Until then its pods are closed for what cannot be told apart. Mend it: kubectl edit " STR_FMT,
                STR_ARG(why_target(q, o)));
    }
    say_ignored(q, o, false, f);
    say_ignored(q, o, true, f);
    if (n == 0)
        say_selects_none(q, o, f);
    for (int egress = 0; egress < 2; egress++)
        if (netpolicy_is_about(o, egress))
            say_rules(q, o, egress, f);
    if (f->state == WHY_FINE)
        f->reason = arena_fmt(q->a, "it isolates %zu pod%s", n, n == 1 ? "" : "s");
}

/* ---- a pod ---- */

void why_isolated(struct question *q, const struct obj *pod, struct finding *f)
{
    for (int egress = 0; egress < 2; egress++) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        struct obj *o;
        for (struct objset_iter it = view_with(q->v, K(NetworkPolicy), &index_namespace, pod->ns);
             is_peer(pod) && (o = objset_next(&it));)
            if (netpolicy_isolates(o, pod->ns, obj_labels(pod), egress))
                strbuf_addf(&b, "%s" STR_FMT, b.n ? ", " : "", STR_ARG(o->name));
        if (b.n)
            why_chain(q, f, "its %s is restricted by NetworkPolicy " STR_FMT, egress ? "egress" : "ingress",
                      STR_ARG(strbuf_str(&b)));
    }
}
