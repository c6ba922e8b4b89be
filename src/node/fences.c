/* What the API says of policies, and of whom they speak, is put into the model of net/fence.h; what that makes of it
 * is applied once a turn. As long as there is no NetworkPolicy in the cluster, the watch that would tell of one is
 * all that is kept: with the first one begin those of Namespaces and of the pods on other nodes (of each a few
 * fields, fence_facts.h); with the last one they end.
 *
 * Before the first packet. A pod's link is made only after agent_fence_wait. Two things are waited for:
 *   - The cache of policies is as new as the pod. Pods and policies come by two watches, and a policy that was there
 *     before the pod may come after it; cache_reach makes the server say how far the watch of policies is. Asked as
 *     soon as the pod has an address, so that it is known before the sandbox is made.
 *   - What was put since then is in the kernel, where there is any policy.
 * The address is put for the pod before the API knows it, so that its fence does not depend on the way of its status
 * to the server and back; and it is taken out before another pod can get it.
 *
 * After a restart the kernel still has the fences of the earlier run. Nothing is applied before all that they rest on
 * is known again: policies, this node's pods and, where there are policies, Namespaces and the pods of other nodes.
 * While the server is away the caches hold what they held, and so do the fences.
 */
#include "node/fences.h"
#include "api/netpolicy.h"
#include "base/log.h"
#include "net/fencing.h"
#include "net/service.h"
#include "node/agent_int.h"
#include "node/fence_facts.h"

#define DNS_UID "role/dns"

struct agent_fences {
    struct agent *agent;
    struct fencing *fencing;
    struct cache *policies, *namespaces, *peers; /* the latter two: NULL without policies */
    struct cache_handler on_policies, on_namespaces, on_peers;
    struct map told;      /* "NS/NAME" -> the sentence that an event has told of a policy */
    struct list waiting;  /* struct agent_pod by fence_node */
    struct timer timer;   /* applies at the end of the turn */
    struct timer release; /* tells those whose wait is over */
    uint64_t asked, applied;
    bool heard;  /* the node's own pods */
    bool active; /* there are policies, or were until all of this was taken out again */
    bool failing;
};

/* --- what is put --- */

static bool has_fence(const struct agent_pod *ap)
{
    return ap->ip && !ap->pod->host_network;
}

/* All is known that fences rest on. */
static bool is_complete(const struct agent_fences *f)
{
    return f->heard && cache_synced(f->policies) &&
           (!f->active || (cache_synced(f->namespaces) && cache_synced(f->peers)));
}

static void fences_mark(struct agent_fences *f)
{
    f->asked++;
    if (is_complete(f))
        timer_set(&f->timer, 0);
}

static void put_local(struct agent_fences *f, struct agent_pod *ap)
{
    struct fence_port ports[FENCE_PORTS];
    struct fence_pod p;
    fence_facts_pod(ap->pod->obj, ports, &p);
    p.ip = ap->ip;
    p.local = true;
    fences_put_pod(fencing_fences(f->fencing), &p);
    fences_mark(f);
}

static void on_peer(struct cache_handler *h, struct obj *was, struct obj *now)
{
    struct agent_fences *f = container_of(h, struct agent_fences, on_peers);
    struct fence_port ports[FENCE_PORTS];
    struct fence_pod p;
    if (now && fence_facts_pod(now, ports, &p))
        fences_put_pod(fencing_fences(f->fencing), &p);
    else
        fences_del_pod(fencing_fences(f->fencing), (now ? now : was)->uid);
    fences_mark(f);
}

static void on_namespace(struct cache_handler *h, struct obj *was, struct obj *now)
{
    struct agent_fences *f = container_of(h, struct agent_fences, on_namespaces);
    if (now)
        fences_put_namespace(fencing_fences(f->fencing), now->name, obj_labels(now));
    else
        fences_del_namespace(fencing_fences(f->fencing), was->name);
    fences_mark(f);
}

static void on_peers_synced(struct cache_handler *h)
{
    fences_mark(container_of(h, struct agent_fences, on_peers));
}

static void on_namespaces_synced(struct cache_handler *h)
{
    fences_mark(container_of(h, struct agent_fences, on_namespaces));
}

/* --- with the first policy, and with the last --- */

/* Cluster DNS is a role of this machine. Policies that let pods ask it name the pods that others run for it. */
static void put_dns(struct agent_fences *f)
{
    static const struct fence_port ports[] = {{S_INIT("dns"), NET_UDP, 53}, {S_INIT("dns-tcp"), NET_TCP, 53}};
    AUTO(arena_fini) struct arena a = ARENA;
    struct val labels = val_map();
    val_set_str(&a, &labels, S("k8s-app"), val_str_borrowed(S("kube-dns")));
    struct fence_pod p = {.uid = S(DNS_UID),
                          .ns = S("kube-system"),
                          .name = S("dns"),
                          .labels = &labels,
                          .ip = ipam_node_ip(f->agent->cfg.node_pods),
                          .only_ports = true,
                          .ports = ports,
                          .nports = countof(ports)};
    fences_put_pod(fencing_fences(f->fencing), &p);
}

static void fences_begin(struct agent_fences *f)
{
    struct agent *g = f->agent;
    AUTO(arena_fini) struct arena a = ARENA;
    f->active = true;
    struct str others = arena_fmt(&a, "spec.nodeName!=%s,status.podIP!=", g->cfg.name);
    f->namespaces = cache_new(g->cfg.transport,
                              &(struct cache_options){.kind = K(Namespace), .trim = fence_facts_trim});
    f->peers = cache_new(
        g->cfg.transport,
        &(struct cache_options){.kind = K(Pod), .field_selector = others, .trim = fence_facts_trim, .page = 500});
    f->on_namespaces = (struct cache_handler){.changed = on_namespace, .synced = on_namespaces_synced};
    f->on_peers = (struct cache_handler){.changed = on_peer, .synced = on_peers_synced};
    cache_handler_add(f->namespaces, &f->on_namespaces);
    cache_handler_add(f->peers, &f->on_peers);
    cache_start(f->namespaces);
    cache_start(f->peers);
    put_dns(f);
    map_each (e, &g->by_uid) {
        struct agent_pod *ap = e->value;
        if (has_fence(ap))
            put_local(f, ap);
    }
}

static void caches_drop(struct agent_fences *f)
{
    if (!f->namespaces)
        return;
    cache_handler_del(&f->on_namespaces);
    cache_handler_del(&f->on_peers);
    cache_free(f->namespaces);
    cache_free(f->peers);
    f->namespaces = f->peers = NULL;
}

static void fences_end(struct agent_fences *f)
{
    struct fences *model = fencing_fences(f->fencing);
    struct obj *o;
    fences_del_pod(model, S(DNS_UID));
    for (struct objset_iter it = objset_all(cache_set(f->namespaces)); (o = objset_next(&it));)
        fences_del_namespace(model, o->name);
    for (struct objset_iter it = objset_all(cache_set(f->peers)); (o = objset_next(&it));)
        fences_del_pod(model, o->uid);
    map_each (e, &f->agent->by_uid)
        fences_del_pod(model, e->key);
    caches_drop(f);
    f->active = false;
    fences_mark(f);
}

/* --- policies --- */

/* Once for each sentence; a sentence that holds no more is forgotten. */
static void tell_policy(struct agent_fences *f, const struct obj *policy, const char *sentence)
{
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    struct str k = objset_key_of(&key, policy);
    char *before = map_get(&f->told, k);
    if (before && sentence && str_eqz(str_of(before), sentence))
        return;
    if (before) {
        (void)map_del(&f->told, k);
        mem_free(before);
    }
    if (!sentence)
        return;
    (void)map_put(&f->told, k, str_dupz(str_of(sentence)));
    events_record(f->agent->events, policy, S(""), "Warning", "NotEnforced", NULL, str_of(sentence));
}

static void on_policy(struct cache_handler *h, struct obj *was, struct obj *now)
{
    struct agent_fences *f = container_of(h, struct agent_fences, on_policies);
    struct err err = ERR;
    if (now && !f->active)
        fences_begin(f);
    if (!now)
        fences_del_policy(fencing_fences(f->fencing), was->ns, was->name);
    if (!now)
        tell_policy(f, was, NULL);
    else
        tell_policy(f, now, fences_put_policy(fencing_fences(f->fencing), now, &err) ? NULL : err.text);
    fences_mark(f);
    if (!objset_len(cache_set(f->policies)))
        fences_end(f);
}

static void on_policies_synced(struct cache_handler *h)
{
    fences_mark(container_of(h, struct agent_fences, on_policies));
}

/* --- pods that wait --- */

/* By a policy that is known here. */
static bool is_isolated(struct agent_fences *f, const struct obj *pod)
{
    struct obj *o;
    for (struct objset_iter it = objset_with(cache_set(f->policies), &index_namespace, pod->ns);
         (o = objset_next(&it));)
        if (netpolicy_isolates(o, pod->ns, obj_labels(pod), false) ||
            netpolicy_isolates(o, pod->ns, obj_labels(pod), true))
            return true;
    return false;
}

/* What is to be in force is what has been put by the time that policies are known up to the pod's revision. Where the
 * kernel does not take the rules, a pod that no policy isolates needs none. */
static bool is_in_force(struct agent_fences *f, struct agent_pod *ap)
{
    if (!ap->fence_known && cache_synced(f->policies) && cache_rev(f->policies) >= ap->fence_since) {
        ap->fence_known = true;
        ap->fence_asked = f->asked;
    }
    if (!ap->fence_known)
        return false;
    if (!f->active)
        return true;
    return f->applied >= ap->fence_asked || (f->failing && !is_isolated(f, ap->pod->obj));
}

static void fence_told(struct agent_pod *ap, const struct err *err)
{
    void (*fn)(struct agent_pod *, const struct err *) = ap->fence_done;
    list_del(&ap->fence_node);
    ap->fence_done = NULL;
    fn(ap, err);
}

static void release_waiting(struct timer *t)
{
    struct agent_fences *f = container_of(t, struct agent_fences, release);
    list_each (ap, &f->waiting, struct agent_pod, fence_node)
        if (is_in_force(f, ap))
            fence_told(ap, NULL);
}

static void look_at_waiting(struct agent_fences *f)
{
    if (list_first(&f->waiting, struct agent_pod, fence_node))
        timer_set(&f->release, 0);
}

static void on_policies_moved(struct cache_handler *h)
{
    look_at_waiting(container_of(h, struct agent_fences, on_policies));
}

void agent_fence_expect(struct agent_pod *ap)
{
    struct agent_fences *f = ap->agent->fences;
    if (!has_fence(ap))
        return;
    ap->fence_since = ap->pod->obj->rev;
    ap->fence_known = false;
    cache_reach(f->policies, ap->fence_since);
    if (f->active)
        put_local(f, ap);
}

void agent_fence_wait(struct agent_pod *ap, void (*fn)(struct agent_pod *ap, const struct err *err))
{
    struct agent_fences *f = ap->agent->fences;
    ap->fence_done = fn;
    list_add_tail(&f->waiting, &ap->fence_node);
    look_at_waiting(f);
}

bool agent_fence_isolates(const struct agent_pod *ap)
{
    return is_isolated(ap->agent->fences, ap->pod->obj);
}

void agent_fence_let_go(struct agent_pod *ap)
{
    struct err err = ERR;
    (void)err_set(&err, E_UNAVAILABLE, "the pod is going");
    if (ap->fence_done)
        fence_told(ap, &err);
}

void agent_fence_news(struct agent_pod *ap)
{
    if (ap->agent->fences->active && has_fence(ap))
        put_local(ap->agent->fences, ap);
}

void agent_fence_gone(struct agent_pod *ap)
{
    struct agent_fences *f = ap->agent->fences;
    list_del(&ap->fence_node);
    if (!ap->ip)
        return;
    fences_del_pod(fencing_fences(f->fencing), ap->pod->uid);
    if (f->active)
        fences_mark(f);
}

/* --- applying --- */

static void on_timer(struct timer *t)
{
    struct agent_fences *f = container_of(t, struct agent_fences, timer);
    if (is_complete(f))
        fencing_apply(f->fencing, f->asked);
}

static void on_applied(void *arg, uint64_t revision)
{
    struct agent_fences *f = arg;
    f->applied = revision;
    f->failing = false;
    look_at_waiting(f);
}

static void tell_failure(struct agent_fences *f, const struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    strbuf_addf(&b, "Node %s cannot enforce it: %s", f->agent->cfg.name, err->text);
    map_each (e, &f->agent->by_uid) {
        const struct obj *pod = ((struct agent_pod *)e->value)->pod->obj;
        struct obj *o;
        for (struct objset_iter it = objset_with(cache_set(f->policies), &index_namespace, pod->ns);
             (o = objset_next(&it));)
            if (netpolicy_isolates(o, pod->ns, obj_labels(pod), false) ||
                netpolicy_isolates(o, pod->ns, obj_labels(pod), true))
                tell_policy(f, o, b.p);
    }
    list_each (ap, &f->waiting, struct agent_pod, fence_node)
        if (is_isolated(f, ap->pod->obj))
            agent_eventf(ap, -1, true, "FailedCreatePodSandBox",
                         "Failed to create pod sandbox: its network policies cannot be put in force: %s", err->text);
}

static void on_failed(void *arg, const struct err *err)
{
    struct agent_fences *f = arg;
    log_error("network.policies", "the kernel does not take them; trying on: error=\"%s\"", err->text);
    f->failing = true;
    tell_failure(f, err);
    look_at_waiting(f);
}

/* --- counts --- */

struct fence_figures {
    figures_done *done;
    void *arg;
};

static void on_counts(void *arg, const struct fence_count *list, size_t n, const struct err *err)
{
    struct fence_figures *x = arg;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(16u << 20);
    fence_facts_counts(&b, list, n);
    x->done(x->arg, strbuf_str(&b), err);
    mem_free(x);
}

void agent_fences_metrics(struct agent *g, figures_done *done, void *arg)
{
    struct fence_figures *x = NEW(struct fence_figures);
    *x = (struct fence_figures){done, arg};
    fencing_counts(g->fences->fencing, on_counts, x);
}

/* --- beginning and end --- */

void agent_fences_heard(struct agent_fences *f)
{
    f->heard = true;
    map_each (e, &f->agent->by_uid) {
        struct agent_pod *ap = e->value;
        if (f->active && has_fence(ap))
            put_local(f, ap);
    }
    fences_mark(f); /* without a policy as well: an earlier run may have left some */
}

struct agent_fences *agent_fences_new(struct agent *g, struct err *err)
{
    static const struct objindex *const indexes[] = {&index_namespace, NULL};
    static const struct fencing_events events = {on_applied, on_failed};
    struct fencing_config config = {g->cfg.instance, g->cfg.cluster_pods, g->cfg.node_pods};
    struct agent_fences *f = NEW(struct agent_fences);
    f->agent = g;
    f->fencing = fencing_new(g->cfg.loop, &config, &events, f, err);
    if (!f->fencing) {
        mem_free(f);
        return NULL;
    }
    list_init(&f->waiting);
    timer_init(&f->timer, g->cfg.loop, on_timer);
    timer_init(&f->release, g->cfg.loop, release_waiting);
    f->policies = cache_new(g->cfg.transport, &(struct cache_options){.kind = K(NetworkPolicy), .indexes = indexes});
    f->on_policies = (struct cache_handler){
        .changed = on_policy, .synced = on_policies_synced, .moved = on_policies_moved};
    cache_handler_add(f->policies, &f->on_policies);
    return f;
}

void agent_fences_start(struct agent_fences *f)
{
    cache_start(f->policies);
}

void agent_fences_free(struct agent_fences *f)
{
    if (!f)
        return;
    caches_drop(f);
    cache_handler_del(&f->on_policies);
    cache_free(f->policies);
    timer_stop(&f->timer);
    timer_stop(&f->release);
    fencing_free(f->fencing);
    map_each (e, &f->told)
        mem_free(e->value);
    map_fini(&f->told);
    mem_free(f);
}
