/* A pod without a node: the scheduler's own decision over what is seen, and each of its reasons in figures. */
#include "api/placement.h"
#include "api/quantity.h"
#include "control/sched.h"
#include "control/why_int.h"

struct unscheduled {
    struct question *q;
    const struct obj *pod;
    struct sched sched;
    const char *resource; /* of "Insufficient RESOURCE" */
};

/* Memory in whole Mi, or Gi where it comes out even. */
static struct str amount_text(struct question *q, const char *resource, int64_t n)
{
    bool bytes = strcmp(resource, "memory") == 0 || strcmp(resource, "ephemeral-storage") == 0;
    n = MAX(n, 0);
    return strcmp(resource, "cpu") == 0  ? quantity_of_milli(q->a, n)
           : bytes && n % (1 << 20) != 0 ? arena_fmt(q->a, "%lldMi", (long long)(n >> 20))
           : bytes                       ? quantity_of_bytes(q->a, n)
                                         : arena_fmt(q->a, "%lld", (long long)n);
}

/* The node with the most of it left. */
static const struct sched_node *node_roomiest(struct unscheduled *u, intptr_t id)
{
    const struct sched_node *best = NULL;
    map_each (it, &u->sched.nodes) {
        const struct sched_node *n = it->value;
        if (n->obj && (!best || n->allocatable[id] - n->requested[id] > best->allocatable[id] - best->requested[id]))
            best = n;
    }
    return best;
}

static struct str say_resource(struct unscheduled *u)
{
    int64_t ask[SCHED_RESOURCES];
    sched_requests(&u->sched, u->pod, ask);
    intptr_t id = (intptr_t)map_get(&u->sched.resources, str_of(u->resource)) - 1;
    const struct sched_node *n = node_roomiest(u, id);
    return arena_fmt(u->q->a, "it asks for " STR_FMT " %s, and node %s has " STR_FMT " of " STR_FMT " left",
                     STR_ARG(amount_text(u->q, u->resource, ask[id])), u->resource, n->name,
                     STR_ARG(amount_text(u->q, u->resource, n->allocatable[id] - n->requested[id])),
                     STR_ARG(amount_text(u->q, u->resource, n->allocatable[id])));
}

static struct str taint_text(struct question *q, const struct val *t)
{
    struct str value = val_text_at(t, N(value));
    return arena_fmt(q->a, STR_FMT "%s" STR_FMT ":" STR_FMT, STR_ARG(val_text_at(t, N(key))), value.n ? "=" : "",
                     STR_ARG(value), STR_ARG(val_text_at(t, N(effect))));
}

static const struct val *taint_of(struct unscheduled *u, const struct sched_node **node)
{
    map_each (it, &u->sched.nodes) {
        const struct sched_node *n = it->value;
        if (!n->obj)
            continue;
        val_each_item (t, val_get(obj_spec(n->obj), N(taints))) {
            struct str effect = val_text_at(t, N(effect));
            if ((str_eqz(effect, "NoSchedule") || str_eqz(effect, "NoExecute")) &&
                !taint_tolerated(val_get(obj_spec(u->pod), N(tolerations)), t))
                return *node = n, t;
        }
    }
    return NULL;
}

static struct str say_taint(struct unscheduled *u)
{
    const struct sched_node *n;
    const struct val *t = taint_of(u, &n);
    return t ? arena_fmt(u->q->a, "node %s has the taint " STR_FMT ", which it does not tolerate", n->name,
                         STR_ARG(taint_text(u->q, t)))
             : S("a node has a taint that it does not tolerate");
}

static struct str way_taint(struct unscheduled *u)
{
    const struct sched_node *n;
    const struct val *t = taint_of(u, &n);
    if (!t)
        return S("");
    struct str key = val_text_at(t, N(key));
    if (str_starts(key, S("node.kubernetes.io/")))
        return arena_fmt(u->q->a, "See what the node lacks: wherry why node/%s", n->name);
    return arena_fmt(u->q->a,
                     "Take the taint away: kubectl taint node %s " STR_FMT "-, or tolerate it in " STR_FMT
                     "tolerations: " STR_FMT,
                     n->name, STR_ARG(key), STR_ARG(why_spec_path(u->q)), STR_ARG(why_edit(u->q)));
}

static const struct sched_node *node_cordoned(struct unscheduled *u)
{
    map_each (it, &u->sched.nodes) {
        const struct sched_node *n = it->value;
        if (n->obj && val_true(val_get(obj_spec(n->obj), N(unschedulable))))
            return n;
    }
    return NULL;
}

static struct str say_cordoned(struct unscheduled *u)
{
    const struct sched_node *n = node_cordoned(u);
    return n ? arena_fmt(u->q->a, "node %s is cordoned", n->name) : S("a node is cordoned");
}

static struct str way_cordoned(struct unscheduled *u)
{
    const struct sched_node *n = node_cordoned(u);
    return n ? arena_fmt(u->q->a, "Let it take pods again: kubectl uncordon %s", n->name) : S("");
}

static const struct sched_node *any_node(struct unscheduled *u)
{
    map_each (it, &u->sched.nodes) {
        const struct sched_node *n = it->value;
        if (n->obj)
            return n;
    }
    return NULL;
}

static struct str terms_text(struct question *q, const struct obj *pod)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    const struct val *terms = val_at(obj_spec(pod), N(affinity), N(nodeAffinity),
                                     N(requiredDuringSchedulingIgnoredDuringExecution), N(nodeSelectorTerms));
    val_each_item (t, terms) {
        strbuf_addz(&b, b.n ? " or " : "");
        size_t i = 0;
        val_each_item (e, val_get(t, N(matchExpressions))) {
            strbuf_addf(&b, "%s" STR_FMT " " STR_FMT, i++ ? " and " : "", STR_ARG(val_text_at(e, N(key))),
                        STR_ARG(val_text_at(e, N(operator))));
            size_t k = 0;
            val_each_item (v, val_get(e, N(values)))
                strbuf_addf(&b, "%s" STR_FMT, k++ ? ", " : " ", STR_ARG(val_text(v)));
        }
    }
    return str_dup(q->a, strbuf_str(&b));
}

/* The first label of nodeSelector that no node has. */
static const struct member *label_nobody_has(struct unscheduled *u)
{
    val_each_member (m, val_get(obj_spec(u->pod), N(nodeSelector))) {
        bool had = false;
        map_each (it, &u->sched.nodes) {
            const struct sched_node *n = it->value;
            had |= n->obj && val_equal(val_get_str(obj_labels(n->obj), m->name->s), &m->v);
        }
        if (!had)
            return m;
    }
    return NULL;
}

static struct str say_selector(struct unscheduled *u)
{
    const struct member *m = label_nobody_has(u);
    if (m)
        return arena_fmt(u->q->a, "no node has the label " STR_FMT "=" STR_FMT " of its nodeSelector",
                         STR_ARG(m->name->s), STR_ARG(val_text(&m->v)));
    return arena_fmt(u->q->a, "no node is as its node affinity requires (" STR_FMT ")",
                     STR_ARG(terms_text(u->q, u->pod)));
}

static struct str way_selector(struct unscheduled *u)
{
    const struct member *m = label_nobody_has(u);
    const struct sched_node *n = any_node(u);
    if (m && n)
        return arena_fmt(u->q->a,
                         "Label one: kubectl label node %s " STR_FMT "=" STR_FMT ", or mend " STR_FMT
                         "nodeSelector: " STR_FMT,
                         n->name, STR_ARG(m->name->s), STR_ARG(val_text(&m->v)), STR_ARG(why_spec_path(u->q)),
                         STR_ARG(why_edit(u->q)));
    return arena_fmt(u->q->a, "Label a node so (kubectl label node), or mend " STR_FMT "affinity: " STR_FMT,
                     STR_ARG(why_spec_path(u->q)), STR_ARG(why_edit(u->q)));
}

/* Which port, and which pod has it. */
static struct str say_ports(struct unscheduled *u)
{
    val_each_item (c, val_get(obj_spec(u->pod), N(containers)))
        val_each_item (p, val_get(c, N(ports))) {
            int64_t port = val_num_at(p, 0, N(hostPort));
            map_each (it, &u->sched.pods) {
                const struct sched_pod *other = it->value;
                val_each_item (d, val_get(obj_spec(other->obj), N(containers)))
                    val_each_item (o, val_get(d, N(ports)))
                        if (port > 0 && val_num_at(o, 0, N(hostPort)) == port)
                            return arena_fmt(u->q->a,
                                             "it asks for host port %lld, which pod " STR_FMT " has on node %s",
                                             (long long)port, STR_ARG(other->obj->name), other->node->name);
            }
        }
    return S("its host ports are taken");
}

static struct str text_plain(struct unscheduled *u, const char *text)
{
    return str_dup(u->q->a, str_of(text));
}

static struct str way_of(struct unscheduled *u, const char *what)
{
    return arena_fmt(u->q->a, "%s: " STR_FMT, what, STR_ARG(why_edit(u->q)));
}

/* Stopping others helps only where the node would be large enough without them. */
static struct str way_resource(struct unscheduled *u)
{
    int64_t ask[SCHED_RESOURCES];
    sched_requests(&u->sched, u->pod, ask);
    intptr_t id = (intptr_t)map_get(&u->sched.resources, str_of(u->resource)) - 1;
    const struct val *c = val_item(val_get(obj_spec(u->pod), N(containers)), 0);
    bool large = node_roomiest(u, id)->allocatable[id] >= ask[id];
    struct str how = why_edit(u->q);
    if (!why_is_fixed(u->q))
        how = arena_fmt(u->q->a, "kubectl set resources " STR_FMT " -c " STR_FMT " --requests=%s=LESS",
                        STR_ARG(why_target(u->q, u->q->owner)), STR_ARG(val_text_at(c, N(name))), u->resource);
    return arena_fmt(u->q->a, "Ask for less: " STR_FMT "%s", STR_ARG(how),
                     large ? ", or stop what uses that node" : "");
}

static struct str say_anti(struct unscheduled *u)
{
    return text_plain(u, "its pod anti-affinity keeps it off every node where such a pod runs already");
}
static struct str way_anti(struct unscheduled *u)
{
    return way_of(u, "Run fewer replicas, add a node, or make that rule preferred instead of required");
}
static struct str say_affinity(struct unscheduled *u)
{
    return text_plain(u, "no pod that its pod affinity wants to be near runs on a node");
}
static struct str way_affinity(struct unscheduled *u)
{
    return way_of(u, "Start those pods, or mend podAffinity");
}
static struct str say_spread(struct unscheduled *u)
{
    return text_plain(u, "its topologySpreadConstraints leave no node for it");
}
static struct str way_spread(struct unscheduled *u)
{
    return way_of(
        u, "Label the nodes with the topology key, or raise maxSkew, or set whenUnsatisfiable to ScheduleAnyway");
}
static struct str way_ports(struct unscheduled *u)
{
    return way_of(u, "Use a Service instead of hostPort, or another port, or fewer replicas");
}
static struct str say_many(struct unscheduled *u)
{
    return text_plain(u, "every node has as many pods as it takes");
}
static struct str way_many(struct unscheduled *u)
{
    return way_of(u, "Remove pods that are not needed, or run fewer replicas");
}
static struct str say_nodes(struct unscheduled *u)
{
    return text_plain(u, "the cluster has no node");
}
static struct str way_nodes(struct unscheduled *u)
{
    return text_plain(u, "Start one: wherry up, with the role node");
}

static struct str say_volume_place(struct unscheduled *u)
{
    return why_volume_place(u->q, u->pod);
}
static struct str way_volume_place(struct unscheduled *u)
{
    return way_of(u, "Let it run where its volume is, or give it another claim");
}
static struct str say_volume_lacking(struct unscheduled *u)
{
    return why_volume_lacking(u->q, u->pod);
}
static struct str way_volume_lacking(struct unscheduled *u)
{
    return text_plain(u, "Make a PersistentVolume that suits the claim, on a node that suits the pod");
}
static struct str say_volume_gone(struct unscheduled *u)
{
    return text_plain(u, "the volume of its claim is gone");
}
static struct str way_volume_gone(struct unscheduled *u)
{
    return text_plain(u, "Make the claim anew, or the volume, where the data are elsewhere");
}
static struct str say_zone(struct unscheduled *u)
{
    return text_plain(u, "its volume is in another zone or region, as the volume's labels say");
}
static struct str say_disk(struct unscheduled *u)
{
    return text_plain(u, "a pod that runs has one of its disks, which only one may have");
}
static struct str way_disk(struct unscheduled *u)
{
    return text_plain(u, "Let the other pod go, or give it a disk of its own");
}
static struct str say_alone(struct unscheduled *u)
{
    return text_plain(u, "a pod that runs has its claim, which is for one pod alone (ReadWriteOncePod)");
}
static struct str way_alone(struct unscheduled *u)
{
    return text_plain(u, "Let the other pod go, or use a claim with another access mode");
}

static struct str say_full(struct unscheduled *u)
{
    return text_plain(u, "a node that could take it has as many volumes of its driver as that driver allows there "
                         "(CSINode, allocatable.count)");
}
static struct str way_full(struct unscheduled *u)
{
    return text_plain(u, "Let pods with such volumes go, or add a node");
}
static struct str say_storage(struct unscheduled *u)
{
    return text_plain(u, "its driver tells of no room for a volume so large near the node (CSIStorageCapacity)");
}
static struct str way_storage(struct unscheduled *u)
{
    return text_plain(u, "Ask for less, make room, or see what it tells: kubectl get csistoragecapacities -A");
}

static struct str say_untold(struct unscheduled *u)
{
    return text_plain(u,
                      "one of its volumes is of a type that a CSI driver took over, and its driver cannot have it");
}
static struct str way_untold(struct unscheduled *u)
{
    return text_plain(u,
                      "Mend the source of that volume (of azureDisk: kind: Managed), or make a volume of the driver "
                      "(spec.csi) in its place");
}

/* By the words of the scheduler's filters (sched_fit.c, sched_volume.c, sched_topology.c). */
static const struct {
    const char *says, *cause;
    struct str (*say)(struct unscheduled *u), (*way)(struct unscheduled *u);
} reasons[] = {
    {"no nodes available", "NoNodes", say_nodes, way_nodes},
    {"failed to translate in-tree pv to CSI", "DriverRefuses", say_untold, way_untold},
    {"node(s) were unschedulable", "NodeCordoned", say_cordoned, way_cordoned},
    {"node(s) had untolerated taint", "NodeTainted", say_taint, way_taint},
    {"node(s) didn't match Pod's node affinity/selector", "NodeSelector", say_selector, way_selector},
    {"node(s) didn't have free ports", "HostPortTaken", say_ports, way_ports},
    {"Too many pods", "TooManyPods", say_many, way_many},
    {"node(s) had no available disk", "DiskTaken", say_disk, way_disk},
    {"ReadWriteOncePod access mode", "ClaimTaken", say_alone, way_alone},
    {"node(s) didn't match PersistentVolume's node affinity", "VolumeElsewhere", say_volume_place, way_volume_place},
    {"node(s) didn't find available persistent volumes", "NoVolumeHere", say_volume_lacking, way_volume_lacking},
    {"bound to non-existent pv(s)", "VolumeGone", say_volume_gone, way_volume_gone},
    {"node(s) exceed max volume count", "VolumesFull", say_full, way_full},
    {"node(s) did not have enough free storage", "NoStorage", say_storage, way_storage},
    {"node(s) had no available volume zone", "VolumeZone", say_zone, way_volume_place},
    {"node(s) didn't match pod anti-affinity rules", "PodAntiAffinity", say_anti, way_anti},
    {"node(s) didn't satisfy existing pods anti-affinity rules", "PodAntiAffinity", say_anti, way_anti},
    {"node(s) didn't match pod affinity rules", "PodAffinity", say_affinity, way_affinity},
    {"node(s) didn't match pod topology spread constraints", "TopologySpread", say_spread, way_spread},
};

static void say_short_of(struct unscheduled *u, struct str message, struct strbuf *all, struct finding *f,
                         const char **cause)
{
    map_each (it, &u->sched.resources) {
        if (!str_has(message, arena_fmt(u->q->a, "Insufficient " STR_FMT, STR_ARG(it->key))))
            continue;
        u->resource = arena_strz(u->q->a, it->key);
        strbuf_addf(all, "%s" STR_FMT, all->n ? "; " : "", STR_ARG(say_resource(u)));
        *cause = *cause ? *cause : "NoRoom";
        why_way(u->q, f, STR_FMT, STR_ARG(way_resource(u)));
    }
}

static void say_reasons(struct unscheduled *u, const struct decision *d, struct finding *f)
{
    struct str message = d->message;
    AUTO(strbuf_fini) struct strbuf all = STRBUF(STRBUF_TEXT);
    const char *cause = NULL;
    ptrdiff_t end = str_find(message, S("preemption:")); /* what follows is about preemption alone */
    struct str head = end >= 0 ? str_sub(message, 0, (size_t)end) : message;
    why_chain(u->q, f, "scheduler: " STR_FMT, STR_ARG(message));
    for (size_t i = 0; i < countof(reasons); i++) {
        if (!str_has(head, str_of(reasons[i].says)))
            continue;
        strbuf_addf(&all, "%s" STR_FMT, all.n ? "; " : "", STR_ARG(reasons[i].say(u)));
        cause = cause ? cause : reasons[i].cause;
        struct str how = reasons[i].way(u);
        if (how.n > 0)
            why_way(u->q, f, STR_FMT, STR_ARG(how));
    }
    say_short_of(u, head, &all, f, &cause);
    why_not_preempting(u->q, u->pod, d, f);
    why_found(u->q, f, cause ? cause : "Unschedulable", "fits on no node: " STR_FMT,
              STR_ARG(all.n ? str_dup(u->q->a, strbuf_str(&all)) : message));
}

void why_unscheduled(struct question *q, const struct obj *pod, struct finding *f)
{
    if (why_pod_claims(q, pod, f))
        return;
    struct str told = val_text_at(condition_get(obj_status(pod), "PodScheduled"), N(message));
    if (!q->v->sets[K(Node)->id]) { /* nodes may not be read: the scheduler's own words */
        why_chain(q, f, "scheduler: " STR_FMT, STR_ARG(told));
        if (told.n > 0)
            why_found(q, f, "Unschedulable", "fits on no node: " STR_FMT, STR_ARG(told));
        else
            why_coming(q, f, "PodComing", "waits for the scheduler");
        return;
    }
    struct unscheduled u = {.q = q, .pod = pod};
    struct obj *o;
    sched_init(&u.sched);
    for (struct objset_iter it = view_all(q->v, K(Node)); (o = objset_next(&it));)
        sched_node_set(&u.sched, o);
    for (struct objset_iter it = view_all(q->v, K(Pod)); (o = objset_next(&it));)
        if (pod_node(o).n > 0)
            sched_pod_set(&u.sched, o->ns, o->name, o, pod_node(o));
        else if (val_text_at(obj_status(o), N(nominatedNodeName)).n > 0)
            sched_nominate(&u.sched, o, val_text_at(obj_status(o), N(nominatedNodeName)));
    struct decision d;
    sched_place(&u.sched, q->v, pod, q->a, &d);
    if (d.node)
        why_coming(q, f, "PodComing", "is about to go to node %s", d.node->name);
    else if (why_preempting(q, pod, &u.sched, &d, f))
        why_chain(q, f, "scheduler: " STR_FMT, STR_ARG(d.message));
    else
        say_reasons(&u, &d, f);
    sched_fini(&u.sched);
}
