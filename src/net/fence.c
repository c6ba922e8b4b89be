/* fence.c - pods, namespaces and policies come and go. What follows for podsets is in fence_set.c, what a policy says
 * in fence_policy.c, what the kernel is told in fence_diff.c.
 *
 * A policy whose podSelector and directions stay keeps its chains, and their rules change within one transaction. One
 * that selects others becomes other chains: a pod is led to these at once, and no moment mixes the old rules with the
 * new choice of pods. */
#include "net/fence_int.h"

#define PORT_NAME_MAX 63

static const struct val everything = {.type = VAL_MAP};

struct fences *fences_new(void)
{
    struct fences *f = NEW(struct fences);
    struct list *lists[] = {&f->dirty_pods,   &f->dirty_sets,  &f->dirty_views, &f->dirty_contents,
                            &f->dirty_chains, &f->idle_groups, &f->unsettled};
    for (size_t i = 0; i < countof(lists); i++)
        list_init(lists[i]);
    fence_labels_init(&f->ns_labels);
    fence_index_init(&f->scope_index);
    f->next_id = 1;
    return f;
}

/* ---- pods ---- */

static struct str ip_key(const uint32_t *ip)
{
    return (struct str){(const char *)ip, sizeof *ip};
}

static void ip_take(struct fences *f, struct fence_pod_state *p, uint32_t ip)
{
    struct fence_pod_state *was = ip ? map_get(&f->ips, ip_key(&ip)) : NULL;
    if (was && was != p) { /* it is over, and nobody has said so yet */
        fence_pod_leave(f, was, true);
        was->ip = 0;
        was->lost = ip;
        fence_pod_dirty(f, was);
        fence_pod_rematch(f, was);
    }
    p->ip = ip;
    p->lost = ip ? 0 : p->lost;
    if (ip)
        (void)map_put(&f->ips, ip_key(&ip), p);
}

static void ip_give(struct fences *f, struct fence_pod_state *p)
{
    if (p->ip && map_get(&f->ips, ip_key(&p->ip)) == p)
        (void)map_del(&f->ips, ip_key(&p->ip));
    p->ip = 0;
}

static void ports_set(struct fence_pod_state *p, const struct fence_pod *of)
{
    AUTO(strbuf_fini) struct strbuf texts = STRBUF(1 << 20);
    size_t n = MIN(of->nports, (size_t)FENCE_PORTS_OF_POD);
    mem_free(p->ports);
    mem_free(p->names);
    p->ports = n ? mem_dup(of->ports, n * sizeof *p->ports) : NULL;
    p->nports = n;
    for (size_t i = 0; i < n; i++) {
        if (p->ports[i].name.n > PORT_NAME_MAX)
            p->ports[i].name = STR_NONE; /* none that a policy could say */
        strbuf_add(&texts, p->ports[i].name);
    }
    p->names = strbuf_take(&texts);
    for (size_t i = 0, at = 0; i < n; at += p->ports[i++].name.n)
        p->ports[i].name.p = p->names ? p->names + at : "";
}

static bool ports_same(const struct fence_pod_state *p, const struct fence_pod *of)
{
    if (p->nports != MIN(of->nports, (size_t)FENCE_PORTS_OF_POD))
        return false;
    for (size_t i = 0; i < p->nports; i++)
        if (p->ports[i].port != of->ports[i].port || p->ports[i].proto != of->ports[i].proto ||
            !str_eq(p->ports[i].name, of->ports[i].name))
            return false;
    return true;
}

static void pod_move(struct fences *f, struct fence_pod_state *p, struct str ns)
{
    struct fence_ns *was = p->ns, *now = fence_ns_get(f, ns);
    if (was == now)
        return;
    if (was) {
        fence_labels_del(&was->pods, &p->of);
        p->ns = NULL;
        fence_ns_drop_unused(f, was);
    }
    p->ns = now;
}

static void policies_settle(struct fences *f);

void fences_put_pod(struct fences *f, const struct fence_pod *pod)
{
    struct fence_pod_state *p = map_get(&f->pods, pod->uid);
    const struct val *labels = val_is(pod->labels, VAL_MAP) ? pod->labels : &everything;
    if (!p) {
        p = NEW(struct fence_pod_state);
        p->uid = str_dupz(pod->uid);
        list_init(&p->members);
        list_init(&p->dirty);
        (void)map_put(&f->pods, pod->uid, p);
    }
    uint32_t ip = pod->ip;
    if (ip && ip == p->lost && map_get(&f->ips, ip_key(&ip)))
        ip = 0; /* another has come by it since, and has it still */
    bool known = p->ns != NULL, same_ns = known && str_eqz(pod->ns, p->ns->name);
    bool moved = !known || !same_ns || p->local != pod->local || p->only_ports != pod->only_ports ||
                 !ports_same(p, pod) || p->ip != ip;
    if (!moved && val_equal(&p->of.labels, labels))
        return;
    if (moved) {
        fence_pod_leave(f, p, known && p->ip == ip);
        p->seen = p->seen && p->ip == ip;
        ip_give(f, p);
        pod_move(f, p, pod->ns);
        p->local = pod->local;
        p->only_ports = pod->only_ports;
        ports_set(p, pod);
        ip_take(f, p, ip);
    }
    fence_labels_put(&p->ns->pods, &p->of, labels);
    fence_pod_rematch(f, p);
    fence_pod_dirty(f, p);
    policies_settle(f);
}

static void pod_free(struct fences *f, struct fence_pod_state *p)
{
    struct fence_ns *ns = p->ns;
    list_del(&p->dirty);
    fence_labels_del(&ns->pods, &p->of);
    fence_ns_drop_unused(f, ns);
    mem_free(p->ports);
    mem_free(p->names);
    mem_free(p->uid);
    mem_free(p);
}

void fences_del_pod(struct fences *f, struct str uid)
{
    struct fence_pod_state *p = map_del(&f->pods, uid);
    if (!p)
        return;
    fence_pod_leave(f, p, false);
    ip_give(f, p);
    for (int i = 0; i < 2; i++) {
        if (!p->have[i])
            continue;
        fence_map_gone(f, i ? FENCE_MAP_EGRESS : FENCE_MAP_INGRESS, p->have_ip);
        fence_group_release(f, p->have[i]);
    }
    if (p->have[0] || p->have[1])
        fence_map_gone(f, FENCE_OWN, p->have_ip);
    pod_free(f, p);
    policies_settle(f);
}

/* ---- namespaces ---- */

void fences_put_namespace(struct fences *f, struct str name, const struct val *labels)
{
    struct fence_ns *ns = fence_ns_get(f, name);
    labels = val_is(labels, VAL_MAP) ? labels : &everything;
    if (ns->known && val_equal(&ns->of.labels, labels))
        return;
    ns->known = true;
    fence_labels_put(&f->ns_labels, &ns->of, labels);
    fence_ns_rescope(f, ns);
    policies_settle(f);
}

void fences_del_namespace(struct fences *f, struct str name)
{
    struct fence_ns *ns = map_get(&f->namespaces, name);
    if (!ns || !ns->known)
        return;
    ns->known = false;
    fence_labels_del(&f->ns_labels, &ns->of);
    fence_ns_rescope(f, ns);
    fence_ns_drop_unused(f, ns);
    policies_settle(f);
}

/* ---- policies ---- */

static struct str policy_key(struct strbuf *b, struct str ns, struct str name)
{
    strbuf_add(b, ns);
    strbuf_addc(b, '/');
    strbuf_add(b, name);
    return strbuf_str(b);
}

static void subjects_dirty(struct fences *f, struct fence_podset *s, bool cut)
{
    list_each (m, &s->members, struct fence_member, of_set) {
        if (!m->pod->local)
            continue;
        fence_pod_dirty(f, m->pod);
        if (cut)
            fence_cut(f, m->pod->ip);
    }
}

static void counter_drop(struct fences *f, struct fence_policy *p, int way)
{
    AUTO(strbuf_fini) struct strbuf key = STRBUF(32);
    strbuf_addf(&key, "%u", p->counters[way].id);
    if (p->counters[way].kind)
        (void)map_del(&f->counters, strbuf_str(&key));
    if (p->counter_there[way])
        array_push(&f->dead, p->counters[way]);
    p->counters[way] = (struct fence_name){0};
    p->counter_there[way] = false;
}

static void counter_need(struct fences *f, struct fence_policy *p, int way)
{
    if (p->counters[way].kind)
        return;
    p->counters[way] = (struct fence_name){FENCE_COUNTER, f->next_id++};
    AUTO(strbuf_fini) struct strbuf key = STRBUF(32);
    strbuf_addf(&key, "%u", p->counters[way].id);
    (void)map_put(&f->counters, strbuf_str(&key), p);
}

static void chain_drop(struct fences *f, struct fence_chain *c)
{
    fence_clauses_drop(f, c);
    list_del(&c->dirty);
    if (c->there)
        array_push(&f->dead, c->name);
    c->there = false;
    c->name = (struct fence_name){0};
}

/* No pod of this node is meant any more. */
static void policy_unneed(struct fences *f, struct fence_policy *p)
{
    p->needed = false;
    for (int i = 0; i < 2; i++) {
        chain_drop(f, &p->chains[i]);
        counter_drop(f, p, i);
    }
}

static bool policy_compile(struct fences *f, struct fence_policy *p, struct err *err)
{
    p->needed = true;
    for (int i = 0; i < 2; i++) {
        struct fence_chain *c = &p->chains[i];
        if (!c->about)
            counter_drop(f, p, i);
        if (!c->about || c->name.kind)
            continue;
        c->name = (struct fence_name){FENCE_CHAIN, f->next_id++};
        counter_need(f, p, i);
        if (list_empty(&c->dirty))
            list_add_tail(&f->dirty_chains, &c->dirty);
    }
    return fence_policy_compile(f, p, err);
}

static void policies_settle(struct fences *f)
{
    for (struct fence_podset *s; (s = list_first(&f->unsettled, struct fence_podset, unsettled)) != NULL;) {
        list_del(&s->unsettled);
        array_each (it, &s->subjects_of) {
            struct err told = ERR; /* when the policy came; it allows nothing then, and goes on so */
            if (!s->nlocal && (*it)->needed)
                policy_unneed(f, *it);
            else if (s->nlocal && !(*it)->needed && !policy_compile(f, *it, &told))
                continue;
        }
    }
}

static void policy_leave(struct fences *f, struct fence_policy *p) /* its subjects */
{
    if (!p->subjects)
        return;
    for (size_t i = 0; i < p->subjects->subjects_of.n; i++)
        if (p->subjects->subjects_of.p[i] == p) {
            array_del(&p->subjects->subjects_of, i);
            break;
        }
    subjects_dirty(f, p->subjects, false);
    for (int i = 0; i < 2; i++)
        chain_drop(f, &p->chains[i]);
    fence_podset_unref(f, p->subjects);
    p->subjects = NULL;
}

/* The groups of its pods know the old chains by name until they are made anew in the next difference. */
static void policy_join(struct fences *f, struct fence_policy *p, struct fence_podset *own_subjects)
{
    p->subjects = own_subjects;
    array_push(&p->subjects->subjects_of, p);
    for (int i = 0; i < 2; i++)
        p->chains[i].about = netpolicy_is_about(p->obj, i == 1);
    subjects_dirty(f, p->subjects, false);
}

static struct fence_policy *policy_need(struct fences *f, const struct obj *policy)
{
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    struct fence_policy *p = map_get(&f->policies, policy_key(&key, policy->ns, policy->name));
    if (p)
        return p;
    p = NEW(struct fence_policy);
    p->ns = str_dupz(policy->ns);
    p->name = str_dupz(policy->name);
    for (int i = 0; i < 2; i++) {
        p->chains[i].policy = p;
        list_init(&p->chains[i].dirty);
    }
    (void)map_put(&f->policies, strbuf_str(&key), p);
    return p;
}

bool fences_put_policy(struct fences *f, const struct obj *policy, struct err *err)
{
    struct fence_policy *p = policy_need(f, policy);
    struct fence_podset *subjects = fence_podset_get(f, policy->ns, NULL, netpolicy_subjects(policy));
    bool stays = subjects == p->subjects;
    for (int i = 0; i < 2; i++)
        stays = stays && netpolicy_is_about(policy, i == 1) == p->chains[i].about;
    obj_unref(p->obj);
    p->obj = obj_ref((struct obj *)(uintptr_t)policy); /* counted, and immutable */
    if (stays) {
        fence_podset_unref(f, subjects);
    } else {
        policy_leave(f, p);
        policy_join(f, p, subjects);
    }
    if (!p->subjects->nlocal) {
        if (p->needed)
            policy_unneed(f, p);
        return fence_policy_check(f, p, err);
    }
    bool ok = policy_compile(f, p, err);
    if (stays && (!list_empty(&p->chains[0].dirty) || !list_empty(&p->chains[1].dirty)))
        subjects_dirty(f, p->subjects, true);
    policies_settle(f);
    return ok;
}

static void policy_free(struct fences *f, struct fence_policy *p)
{
    for (int i = 0; i < 2; i++)
        counter_drop(f, p, i);
    obj_unref(p->obj);
    mem_free(p->ns);
    mem_free(p->name);
    mem_free(p);
}

void fences_del_policy(struct fences *f, struct str ns, struct str name)
{
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    struct fence_policy *p = map_del(&f->policies, policy_key(&key, ns, name));
    if (!p)
        return;
    policy_leave(f, p);
    policy_free(f, p);
}

bool fences_counter(const struct fences *f, uint32_t id, uint32_t gen, struct str *ns, struct str *policy,
                    bool *egress)
{
    AUTO(strbuf_fini) struct strbuf key = STRBUF(32);
    strbuf_addf(&key, "%u", id);
    const struct fence_policy *p = map_get(&f->counters, strbuf_str(&key));
    if (!p || gen != f->gen)
        return false;
    *ns = str_of(p->ns);
    *policy = str_of(p->name);
    *egress = p->counters[1].kind && p->counters[1].id == id;
    return true;
}

bool fences_idle(const struct fences *f)
{
    return map_len(&f->policies) == 0;
}

/* ---- the end ---- */

void fences_free(struct fences *f)
{
    if (!f)
        return;
    map_each (it, &f->policies) {
        struct fence_policy *p = it->value;
        (void)map_del(&f->policies, it->key);
        policy_leave(f, p);
        policy_free(f, p);
    }
    map_each (it, &f->pods) {
        struct fence_pod_state *p = it->value;
        fence_pod_leave(f, p, false);
        pod_free(f, p);
    }
    map_each (it, &f->namespaces) {
        struct fence_ns *ns = it->value;
        if (ns->known)
            fence_labels_del(&f->ns_labels, &ns->of);
        ns->known = false;
        fence_ns_rescope(f, ns);
        fence_ns_drop_unused(f, ns);
    }
    map_each (it, &f->groups)
        fence_group_free(it->value);
    ASSERT(!map_len(&f->podsets) && !map_len(&f->scopes) && !map_len(&f->contents) && !map_len(&f->namespaces));
    fence_labels_fini(&f->ns_labels);
    fence_index_fini(&f->scope_index);
    struct map *maps[] = {&f->pods,    &f->ips,      &f->namespaces, &f->policies, &f->scopes,
                          &f->podsets, &f->contents, &f->groups,     &f->counters, &f->cut};
    for (size_t i = 0; i < countof(maps); i++)
        map_fini(maps[i]);
    array_fini(&f->gone);
    array_fini(&f->dead);
    array_fini(&f->stale);
    mem_free(f);
}
