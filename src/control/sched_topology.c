/* Where the pods of others are: topology spread constraints, pod affinity and anti-affinity (KEP-895, upstream's
 * PodTopologySpread and InterPodAffinity).
 *
 * A domain is a value of a node label, the topology key: a host, a zone. For the pod that is looked at, pre_make
 * walks all nodes and their pods once and counts by domain: for each spread constraint the pods that its selector
 * matches, for each affinity term those that the term matches, and - the other way round - the domains where a pod
 * with anti-affinity of its own does not want this one. Then each node is a few lookups: pre_filter (does it fit) and
 * pre_score (how well). */
#include "api/placement.h"
#include "api/selector.h"
#include "control/pods.h"
#include "control/sched_int.h"

struct constraint {
    struct str key;
    int64_t skew, min_domains;
    struct selector *selector;
    bool hard, self, by_taints, by_affinity;
    struct map count; /* value of the key -> pods + 1: a domain without pods is one, too, and the map holds no 0 */
    struct {
        struct str value; /* a key of count */
        int64_t pods;
    } least[2]; /* the two emptiest domains: the first stays right while the pods of one domain come and go */
};
struct term {
    struct str key;
    struct selector *selector, *namespaces; /* namespaces NULL: only listed ones */
    const struct val *listed;
    struct str own; /* the namespace of the pod that has the term */
    int64_t weight;
    struct map count; /* value of the key -> pods that match */
};
struct pre {
    struct sched *sched;
    const struct view *view;
    const struct obj *pod;
    struct arena *arena;
    struct constraint *constraints;
    size_t nconstraints;
    struct term *near, *apart, *liked; /* required affinity, anti-affinity; preferred of both (weight < 0: apart) */
    size_t nnear, napart, nliked;
    bool crowded;         /* it asks for more comparisons than one pod may: it goes nowhere, and is told so */
    int64_t kin;          /* how often others match its own affinity; while nobody does ... */
    bool likes_itself;    /* ... and it does itself, it may go anywhere */
    struct map forbidden; /* "key=value" -> how many terms of others do not want this one there */
};

static struct str label_of(const struct obj *o, struct str key)
{
    return val_text(val_get_str(obj_labels(o), key));
}

static bool label_is_there(const struct obj *o, struct str key)
{
    return val_get_str(obj_labels(o), key) != NULL;
}

static int64_t tally_get(const struct map *m, struct str key)
{
    return (int64_t)(intptr_t)map_get(m, key);
}

static void tally_add(struct map *m, struct str key, int64_t n)
{
    n += tally_get(m, key);
    if (n != 0)
        map_put(m, key, (void *)(intptr_t)n);
    else
        map_del(m, key);
}

/* labelSelector with the pod's own values of matchLabelKeys added, mismatchLabelKeys left out. */
static struct selector *selector_with(struct arena *a, const struct val *s, const struct val *more,
                                      const struct val *less, const struct obj *pod)
{
    struct val v = s ? val_copy(a, s) : VAL_NONE;
    const struct val *lists[] = {more, less};
    for (size_t i = 0; s && i < countof(lists); i++)
        val_each_item (it, lists[i]) {
            const struct val *have = val_get_str(obj_labels(pod), val_text(it));
            if (!have)
                continue;
            struct val *all = val_get_mut(&v, N(matchExpressions)), r = val_map(), values = val_list();
            if (!all)
                all = val_set(a, &v, N(matchExpressions), val_list());
            val_set(a, &r, N(key), val_copy(a, it));
            val_set_text(a, &r, N(operator), i == 0 ? S("In") : S("NotIn"));
            val_add(a, &values, val_copy(a, have));
            val_set(a, &r, N(values), values);
            val_add(a, all, r);
        }
    struct selector *out = NULL;
    struct err err = ERR;
    return selector_of(a, s ? &v : NULL, &out, &err) ? out : NULL;
}

/* ---- spreading ---- */

static bool node_counts(const struct pre *p, const struct constraint *c, const struct obj *node)
{
    for (size_t i = 0; i < p->nconstraints; i++)
        if (p->constraints[i].hard == c->hard && !label_is_there(node, p->constraints[i].key))
            return false;
    return (!c->by_affinity || node_selected(p->pod, node)) &&
           (!c->by_taints || taints_tolerated(p->pod, node, "NoSchedule", "NoExecute"));
}

static bool constraint_counts(const struct pre *p, const struct constraint *c, const struct obj *other)
{
    return str_eq(other->ns, p->pod->ns) && !obj_deleting(other) && selector_matches(c->selector, obj_labels(other));
}

/* The domain has so many pods now. */
static void least_note(struct constraint *c, struct str value, int64_t pods)
{
    bool first = str_eq(value, c->least[0].value), second = str_eq(value, c->least[1].value);
    if (!first && !second && pods >= c->least[1].pods)
        return;
    if (!first) {
        c->least[1].value = value;
        c->least[1].pods = pods;
    } else {
        c->least[0].pods = pods;
    }
    if (c->least[1].pods < c->least[0].pods) {
        __typeof__(c->least[0]) was = c->least[0];
        c->least[0] = c->least[1];
        c->least[1] = was;
    }
}

static int64_t least_of(const struct constraint *c)
{
    bool few = map_len(&c->count) == 0 || (int64_t)map_len(&c->count) < c->min_domains;
    return few ? 0 : c->least[0].pods;
}

static void constraint_count(struct pre *p, struct constraint *c)
{
    map_each (it, &p->sched->nodes) {
        struct sched_node *n = it->value;
        if (!n->obj || !node_counts(p, c, n->obj))
            continue;
        struct str value = label_of(n->obj, c->key);
        if (!map_get(&c->count, value))
            tally_add(&c->count, value, 1);
        int64_t matching = 0;
        array_each (q, &n->pods)
            matching += constraint_counts(p, c, (*q)->obj);
        tally_add(&c->count, value, matching);
    }
    for (int i = 0; i < 2; i++)
        c->least[i].pods = INT64_MAX;
    map_each (it, &c->count)
        least_note(c, it->key, (int64_t)(intptr_t)it->value - 1);
}

static void constraint_push(struct pre *p, struct constraint c)
{
    if (!c.selector)
        return;
    c.self = selector_matches(c.selector, obj_labels(p->pod));
    p->constraints[p->nconstraints++] = c;
}

static void constraints_read(struct pre *p, const struct val *list)
{
    p->constraints = arena_alloc(p->arena, (val_len(list) + 1) * sizeof *p->constraints);
    val_each_item (it, list)
        constraint_push(p, (struct constraint){
                               .key = val_text_at(it, N(topologyKey)),
                               .skew = val_num_at(it, 1, N(maxSkew)),
                               .min_domains = val_num_at(it, 1, N(minDomains)),
                               .hard = !str_eqz(val_text_at(it, N(whenUnsatisfiable)), "ScheduleAnyway"),
                               .by_affinity = !str_eqz(val_text_at(it, N(nodeAffinityPolicy)), "Ignore"),
                               .by_taints = str_eqz(val_text_at(it, N(nodeTaintsPolicy)), "Honor"),
                               .selector = selector_with(p->arena, val_get(it, N(labelSelector)),
                                                         val_get(it, N(matchLabelKeys)), NULL, p->pod),
                           });
}

/* The selector of the pod's controller, of the kinds whose pods upstream spreads; NULL: it has none. */
static struct selector *selector_of_owner(struct pre *p)
{
    static const struct kind *const kinds_spread[] = {K(ReplicaSet), K(StatefulSet), K(ReplicationController)};
    const struct val *owner = obj_controller(p->pod);
    const struct kind *k = owner ? kind_of_api_version(val_text_at(owner, N(apiVersion)), val_text_at(owner, N(kind)))
                                 : NULL;
    const struct obj *o = NULL;
    for (size_t i = 0; k && i < countof(kinds_spread); i++)
        if (k == kinds_spread[i])
            o = view_get(p->view, k, p->pod->ns, val_text_at(owner, N(name)));
    if (!o)
        return NULL;
    const struct val *selector = val_get(obj_spec(o), N(selector));
    struct selector *kin = NULL;
    struct err err = ERR; /* what cannot be read selects nobody */
    if (k == K(ReplicationController))
        return selector_of_map(p->arena, selector);
    return selector_of(p->arena, selector, &kin, &err) ? kin : NULL;
}

/* Without constraints of its own a pod is spread softly with its kin: those that the same services, or its
 * controller, select (upstream: default constraints, zone 5 and host 3). */
static void constraints_default(struct pre *p)
{
    struct selector *kin = selector_of_owner(p);
    struct obj *svc;
    for (struct objset_iter it = view_with(p->view, K(Service), &index_namespace, p->pod->ns);
         !kin && (svc = objset_next(&it));) {
        const struct val *selector = val_get(obj_spec(svc), N(selector));
        if (selector_map_matches(selector, obj_labels(p->pod)))
            kin = selector_of_map(p->arena, selector);
    }
    if (!kin)
        return;
    p->constraints = arena_alloc(p->arena, 2 * sizeof *p->constraints);
    static const struct str keys[] = {S_INIT("kubernetes.io/hostname"), S_INIT("topology.kubernetes.io/zone")};
    for (int i = 0; i < 2; i++) {
        bool known = true; /* a node without zones would drop out of every count */
        map_each (it, &p->sched->nodes)
            known &= !((struct sched_node *)it->value)->obj ||
                     label_is_there(((struct sched_node *)it->value)->obj, keys[i]);
        if (known)
            constraint_push(
                p, (struct constraint){.key = keys[i], .skew = i ? 5 : 3, .selector = kin, .by_affinity = true});
    }
}

/* ---- affinity ---- */

static struct term term_read(struct arena *a, const struct val *v, const struct obj *pod, int64_t weight)
{
    struct err err = ERR;
    struct term t = {.key = val_text_at(v, N(topologyKey)),
                     .selector = selector_with(a, val_get(v, N(labelSelector)), val_get(v, N(matchLabelKeys)),
                                               val_get(v, N(mismatchLabelKeys)), pod),
                     .listed = val_get(v, N(namespaces)),
                     .own = pod->ns,
                     .weight = weight};
    const struct val *ns = val_get(v, N(namespaceSelector));
    if (ns && !selector_of(a, ns, &t.namespaces, &err))
        t.namespaces = NULL;
    return t;
}

static bool term_matches(const struct term *t, const struct view *v, const struct obj *other)
{
    bool in = false;
    val_each_item (it, t->listed)
        in |= str_eq(val_text(it), other->ns);
    if (t->namespaces) {
        const struct obj *ns = v ? view_get(v, K(Namespace), S(""), other->ns) : NULL;
        in |= selector_is_everything(t->namespaces) || (ns && selector_matches(t->namespaces, obj_labels(ns)));
    } else if (val_len(t->listed) == 0) {
        in = str_eq(t->own, other->ns);
    }
    return in && t->selector && selector_matches(t->selector, obj_labels(other));
}

static struct term *terms_read(struct pre *p, const struct val *list, size_t *n)
{
    struct term *terms = arena_alloc(p->arena, (val_len(list) + 1) * sizeof *terms);
    val_each_item (it, list)
        terms[(*n)++] = term_read(p->arena, it, p->pod, 0);
    return terms;
}

static void liked_read(struct pre *p)
{
    const struct val *affinity = val_get(obj_spec(p->pod), N(affinity));
    const struct val *near = val_at(affinity, N(podAffinity), N(preferredDuringSchedulingIgnoredDuringExecution));
    const struct val *apart = val_at(affinity, N(podAntiAffinity),
                                     N(preferredDuringSchedulingIgnoredDuringExecution));
    p->liked = arena_alloc(p->arena, (val_len(near) + val_len(apart) + 1) * sizeof *p->liked);
    val_each_item (it, near)
        p->liked[p->nliked++] = term_read(p->arena, val_get(it, N(podAffinityTerm)), p->pod,
                                          val_num_at(it, 0, N(weight)));
    val_each_item (it, apart)
        p->liked[p->nliked++] = term_read(p->arena, val_get(it, N(podAffinityTerm)), p->pod,
                                          -val_num_at(it, 0, N(weight)));
}

static bool near_all(const struct pre *p, const struct obj *other)
{
    for (size_t i = 0; i < p->nnear; i++)
        if (!term_matches(&p->near[i], p->view, other))
            return false;
    return true;
}

/* The required terms alone, of one pod. */
static void terms_shift(struct pre *p, const struct obj *other, const struct obj *node, int64_t sign)
{
    if (p->nnear > 0 && near_all(p, other))
        for (size_t i = 0; i < p->nnear; i++)
            if (label_is_there(node, p->near[i].key)) {
                tally_add(&p->near[i].count, label_of(node, p->near[i].key), sign);
                p->kin += sign;
            }
    for (size_t i = 0; i < p->napart; i++)
        if (label_is_there(node, p->apart[i].key) && term_matches(&p->apart[i], p->view, other))
            tally_add(&p->apart[i].count, label_of(node, p->apart[i].key), sign);
}

static void terms_count(struct pre *p)
{
    map_each (it, &p->sched->nodes) {
        struct sched_node *n = it->value;
        if (!n->obj)
            continue;
        array_each (q, &n->pods) {
            const struct obj *other = (*q)->obj;
            terms_shift(p, other, n->obj, 1);
            for (size_t i = 0; i < p->nliked; i++)
                if (label_is_there(n->obj, p->liked[i].key) && term_matches(&p->liked[i], p->view, other))
                    tally_add(&p->liked[i].count, label_of(n->obj, p->liked[i].key), 1);
        }
    }
    p->likes_itself = near_all(p, p->pod);
}

static struct str term_pair(struct arena *a, struct str key, struct str value)
{
    return arena_fmt(a, STR_FMT "=" STR_FMT, STR_ARG(key), STR_ARG(value));
}

/* What a pod that is there says of those who come: read once, in texts of its own, since its object may be replaced
 * by one that says the same. */
void sched_terms_keep(struct sched_pod *q)
{
    const struct val *list = val_at(obj_spec(q->obj), N(affinity), N(podAntiAffinity),
                                    N(requiredDuringSchedulingIgnoredDuringExecution));
    q->terms = arena_alloc(&q->arena, (val_len(list) + 1) * sizeof *q->terms);
    val_each_item (v, list) {
        struct val *mine = ARENA_NEW(&q->arena, struct val);
        *mine = val_copy(&q->arena, v);
        struct term t = term_read(&q->arena, mine, q->obj, 0);
        t.own = str_dup(&q->arena, t.own);
        q->abroad = q->abroad || t.namespaces || val_len(t.listed) > 0;
        q->terms[q->nterms++] = t;
    }
}

static void forbidden_shift(struct pre *p, const struct sched_pod *q, const struct obj *node, int64_t sign)
{
    if (!q->anti || (!q->abroad && !str_eq(q->obj->ns, p->pod->ns)))
        return;
    for (size_t i = 0; i < q->nterms; i++) {
        const struct term *t = &q->terms[i];
        if (term_matches(t, p->view, p->pod) && label_is_there(node, t->key))
            tally_add(&p->forbidden, term_pair(p->arena, t->key, label_of(node, t->key)), sign);
    }
}

static void forbidden_read(struct pre *p)
{
    if (p->sched->nanti == 0)
        return;
    map_each (it, &p->sched->pods) {
        struct sched_pod *q = it->value;
        if (q->node->obj)
            forbidden_shift(p, q, q->node->obj, 1);
    }
}

void pre_shift(struct pre *p, const struct sched_pod *other, const struct obj *node, int64_t sign)
{
    if (p->crowded)
        return;
    for (size_t i = 0; i < p->nconstraints; i++) {
        struct constraint *c = &p->constraints[i];
        if (!c->hard || !constraint_counts(p, c, other->obj) || !node_counts(p, c, node))
            continue;
        struct str value = label_of(node, c->key);
        tally_add(&c->count, value, sign);
        least_note(c, value, tally_get(&c->count, value) - 1);
    }
    if (p->nnear + p->napart > 0)
        terms_shift(p, other->obj, node, sign);
    forbidden_shift(p, other, node, sign);
}

/* Terms, and what their selectors ask for, times the pods that they are compared with: some ten milliseconds, while
 * which nobody else's pods are placed. */
enum { COMPARED_MOST = 1000000 };

static size_t term_size(const struct term *t)
{
    return 1 + val_len(t->listed) + selector_size(t->selector) + selector_size(t->namespaces);
}

static bool is_crowded(const struct pre *p)
{
    const struct term *const lists[] = {p->near, p->apart, p->liked};
    const size_t n[] = {p->nnear, p->napart, p->nliked};
    size_t size = 0;
    for (size_t i = 0; i < p->nconstraints; i++)
        size += 1 + selector_size(p->constraints[i].selector);
    for (size_t k = 0; k < countof(lists); k++)
        for (size_t i = 0; i < n[k]; i++)
            size += term_size(&lists[k][i]);
    return size > 100 &&
           size * map_len(&p->sched->pods) > COMPARED_MOST; /* as many as people write are always fine */
}

struct pre *pre_make(struct sched *s, const struct view *v, const struct obj *pod, struct arena *a)
{
    struct pre *p = ARENA_NEW(a, struct pre);
    *p = (struct pre){.sched = s, .view = v, .pod = pod, .arena = a};
    const struct val *spread = val_get(obj_spec(pod), N(topologySpreadConstraints));
    const struct val *affinity = val_get(obj_spec(pod), N(affinity));
    if (val_len(spread) > 0)
        constraints_read(p, spread);
    else if (v && s->nnodes > 1)
        constraints_default(p);
    p->near = terms_read(p, val_at(affinity, N(podAffinity), N(requiredDuringSchedulingIgnoredDuringExecution)),
                         &p->nnear);
    p->apart = terms_read(p, val_at(affinity, N(podAntiAffinity), N(requiredDuringSchedulingIgnoredDuringExecution)),
                          &p->napart);
    liked_read(p);
    p->crowded = is_crowded(p);
    if (p->crowded)
        return p;
    for (size_t i = 0; i < p->nconstraints; i++)
        constraint_count(p, &p->constraints[i]);
    if (p->nnear + p->napart + p->nliked > 0)
        terms_count(p);
    forbidden_read(p);
    return p;
}

void pre_free(struct pre *p)
{
    for (size_t i = 0; i < p->nconstraints; i++)
        map_fini(&p->constraints[i].count);
    struct term *const lists[] = {p->near, p->apart, p->liked};
    const size_t n[] = {p->nnear, p->napart, p->nliked};
    for (size_t k = 0; k < countof(lists); k++)
        for (size_t i = 0; i < n[k]; i++)
            map_fini(&lists[k][i].count);
    map_fini(&p->forbidden);
}

const char *pre_filter(struct pre *p, const struct sched_node *n, bool *resolvable)
{
    if (p->crowded) {
        *resolvable = false;
        return "node(s) had more pods than the pod's affinity terms and spread constraints can be compared with";
    }
    for (size_t i = 0; i < p->nconstraints; i++) {
        const struct constraint *c = &p->constraints[i];
        if (!c->hard)
            continue;
        if (!label_is_there(n->obj, c->key)) {
            *resolvable = false;
            return "node(s) didn't match pod topology spread constraints (missing required label)";
        }
        int64_t there = tally_get(&c->count, label_of(n->obj, c->key));
        if (MAX(0, there - 1) + c->self - least_of(c) > c->skew)
            return "node(s) didn't match pod topology spread constraints";
    }
    bool first = p->kin == 0 && p->likes_itself;
    for (size_t i = 0; i < p->nnear; i++)
        if (!label_is_there(n->obj, p->near[i].key) ||
            (tally_get(&p->near[i].count, label_of(n->obj, p->near[i].key)) == 0 && !first)) {
            *resolvable = false;
            return "node(s) didn't match pod affinity rules";
        }
    for (size_t i = 0; i < p->napart; i++)
        if (label_is_there(n->obj, p->apart[i].key) &&
            tally_get(&p->apart[i].count, label_of(n->obj, p->apart[i].key)) > 0)
            return "node(s) didn't match pod anti-affinity rules";
    if (map_len(&p->forbidden) > 0)
        val_each_member (it, obj_labels(n->obj))
            if (map_get(&p->forbidden, term_pair(p->arena, it->name->s, val_text(&it->v))))
                return "node(s) didn't satisfy existing pods anti-affinity rules";
    return NULL;
}

/* To 0..100, the greatest best. */
static void scores_normalise(int64_t *x, size_t n)
{
    int64_t least = INT64_MAX, most = INT64_MIN;
    for (size_t i = 0; i < n; i++) {
        least = MIN(least, x[i]);
        most = MAX(most, x[i]);
    }
    for (size_t i = 0; i < n; i++)
        x[i] = most > least ? (x[i] - least) * 100 / (most - least) : 0;
}

void pre_score(const struct pre *p, struct sched_node *const *nodes, size_t n, int64_t *spread, int64_t *affinity)
{
    for (size_t i = 0; i < n; i++) {
        spread[i] = affinity[i] = 0;
        for (size_t k = 0; k < p->nconstraints; k++) {
            const struct constraint *c = &p->constraints[k];
            if (!c->hard && label_is_there(nodes[i]->obj, c->key))
                spread[i] -= MAX(0, tally_get(&c->count, label_of(nodes[i]->obj, c->key)) - 1) * 16;
        }
        for (size_t k = 0; k < p->nliked; k++)
            if (label_is_there(nodes[i]->obj, p->liked[k].key))
                affinity[i] += p->liked[k].weight *
                               tally_get(&p->liked[k].count, label_of(nodes[i]->obj, p->liked[k].key));
    }
    scores_normalise(spread, n);
    scores_normalise(affinity, n);
}
