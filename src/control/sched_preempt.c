/* Preemption: a pod for which there is no room may send less important ones away (upstream's DefaultPreemption).
 *
 * On each node whose refusal others can mend by going, all that are less important are taken away as a trial; where
 * the pod fits then, as many as possible come back, those first whose disruption budget would be broken. The rest are
 * the node's victims; of the nodes, the one whose victims matter least. Nothing here is done to anybody: the queue
 * (scheduler.c) carries it out. */
#include "api/selector.h"
#include "control/pods.h"
#include "control/sched_int.h"

#define CANDIDATES_MOST 100 /* or a tenth of the nodes, where that is more */

/* ---- a node as it would be ---- */

void trial_init(struct trial *t, struct pre *pre, const struct sched_node *n)
{
    *t = (struct trial){.pre = pre, .node = *n};
    t->node.pods.p = NULL;
    t->node.pods.n = t->node.pods.cap = 0;
    array_reserve(&t->node.pods, n->pods.n + n->nominated.n + 1);
    array_each (p, &n->pods)
        array_push(&t->node.pods, *p);
}

void trial_fini(struct trial *t)
{
    array_fini(&t->node.pods); /* the other list is the node's own */
}

static void trial_count(struct trial *t, const struct sched_pod *p, int64_t sign)
{
    for (size_t i = 0; i < p->nasks; i++)
        t->node.requested[p->asks[i].id] += sign * p->asks[i].n;
    if (p->port)
        t->node.ports += (size_t)sign;
    pre_shift(t->pre, p, t->node.obj, sign);
}

void trial_add(struct trial *t, struct sched_pod *p)
{
    array_push(&t->node.pods, p);
    trial_count(t, p, 1);
}

void trial_del(struct trial *t, struct sched_pod *p)
{
    for (size_t i = t->node.pods.n; i-- > 0;)
        if (t->node.pods.p[i] == p) {
            t->node.pods.p[i] = array_pop(&t->node.pods);
            trial_count(t, p, -1);
            return;
        }
}

/* ---- whom disruption budgets protect ---- */

struct budget {
    const struct obj *pdb;
    struct selector *selector;
    int64_t allowed, left, run; /* disruptions; less those of victims that are certain; less those counted so far */
    size_t next;                /* of the same namespace: index + 1; 0: none */
};
struct dry_run {
    struct fit_asking *q;
    ARRAY(struct budget) budgets;
    struct map first; /* namespace -> index + 1 of its first budget */
    size_t looked, candidates;
};

static bool budget_covers(const struct budget *b, const struct obj *pod)
{
    return selector_matches(b->selector, obj_labels(pod)) &&
           !val_get_str(val_get(obj_status(b->pdb), N(disruptedPods)), pod->name); /* that one is counted already */
}

/* It ends anyway, so it takes no more of a budget. */
static bool is_ending(const struct sched_pod *p)
{
    return p->sent || obj_deleting(p->obj);
}

/* The covering budget after b, or the first one where b is NULL. */
static struct budget *budget_next(struct dry_run *d, struct budget *b, const struct obj *pod)
{
    size_t i = b ? b->next : (size_t)(uintptr_t)map_get(&d->first, pod->ns);
    while (i > 0 && !budget_covers(&d->budgets.p[i - 1], pod))
        i = d->budgets.p[i - 1].next;
    return i > 0 ? &d->budgets.p[i - 1] : NULL;
}

/* Victims of a moment ago that the budget's status does not know of yet. */
static void budgets_less_sent(struct dry_run *d)
{
    if (d->q->sched->nsent == 0)
        return;
    map_each (it, &d->q->sched->pods) {
        const struct sched_pod *p = it->value;
        if (!p->sent || !pod_is_ready(p->obj))
            continue;
        for (struct budget *b = NULL; (b = budget_next(d, b, p->obj));)
            if (p->sent_rev == 0 || b->pdb->rev < p->sent_rev)
                b->allowed--;
    }
}

static void budgets_read(struct dry_run *d)
{
    struct obj *pdb;
    if (!d->q->view)
        return;
    for (struct objset_iter it = view_all(d->q->view, K(PodDisruptionBudget)); (pdb = objset_next(&it));) {
        struct err err = ERR;
        struct budget b = {.pdb = pdb, .allowed = val_num_at(obj_status(pdb), 0, N(disruptionsAllowed))};
        const struct val *selector = val_get(obj_spec(pdb), N(selector));
        if (!selector_of(d->q->arena, selector, &b.selector, &err) || !b.selector)
            continue;
        b.next = (size_t)(uintptr_t)map_put(&d->first, pdb->ns, (void *)(uintptr_t)(d->budgets.n + 1));
        array_push(&d->budgets, b);
    }
    budgets_less_sent(d);
}

static void budgets_begin(struct dry_run *d)
{
    array_each (b, &d->budgets)
        b->left = b->allowed;
}

/* Counts the pod against its budgets. False: for one of them it is one too many. */
static bool budgets_run(struct dry_run *d, const struct sched_pod *p)
{
    bool allowed = true;
    for (struct budget *b = NULL; !is_ending(p) && (b = budget_next(d, b, p->obj));)
        allowed = --b->run >= 0 && allowed;
    return allowed;
}

static void budgets_rewind(struct dry_run *d)
{
    array_each (b, &d->budgets)
        b->run = b->left;
}

static void budgets_commit(struct dry_run *d, const struct sched_pod *p)
{
    for (struct budget *b = NULL; !is_ending(p) && (b = budget_next(d, b, p->obj));)
        b->left--;
}

/* ---- the victims of one node ---- */

static int64_t pod_started(const struct obj *pod)
{
    int64_t at = val_time(val_get(obj_status(pod), N(startTime)));
    return at ? at : INT64_MAX; /* it does not run yet: the last of all */
}

static int importance_cmp(const void *a, const void *b)
{
    const struct sched_pod *x = *(struct sched_pod *const *)a, *y = *(struct sched_pod *const *)b;
    if (x->priority != y->priority)
        return x->priority > y->priority ? -1 : 1;
    int64_t p = pod_started(x->obj), q = pod_started(y->obj);
    if (p != q)
        return p < q ? -1 : 1;
    int order = str_cmp(x->obj->ns, y->obj->ns);
    return order ? order : str_cmp(x->obj->name, y->obj->name);
}

/* That it must go for the sake of another. */
static bool is_told(const struct sched_pod *p)
{
    const struct val *c = condition_get(obj_status(p->obj), "DisruptionTarget");
    return p->sent || (str_eqz(val_text_at(c, N(status)), "True") &&
                       str_eqz(val_text_at(c, N(reason)), "PreemptionByScheduler"));
}

/* The same order, but those that were told already are the last that may come back: nobody goes in their stead. */
static int reprieve_cmp(const void *a, const void *b)
{
    bool x = is_told(*(struct sched_pod *const *)a), y = is_told(*(struct sched_pod *const *)b);
    return x != y ? x - y : importance_cmp(a, b);
}

/* A pod that the node has from a file is not ended by the deletion of its mirror. */
static bool is_mirror(const struct obj *pod)
{
    return obj_has_note(pod, "kubernetes.io/config.mirror");
}

static bool may_go(const struct fit_asking *q, const struct sched_pod *p)
{
    return p->priority < q->priority && !p->refused && !is_mirror(p->obj);
}

struct sched_candidate {
    struct sched_node *node;
    struct sched_pod **victims;
    size_t n, broken;
    bool begun; /* the pod is nominated for the node, and all of them were told so */
};

/* Puts the pod back if there is room with it, too. */
static bool trial_reprieve(struct fit_asking *q, struct trial *t, struct sched_pod *p)
{
    bool resolvable;
    trial_add(t, p);
    if (node_has_room(q, &t->node, &resolvable))
        return true;
    trial_del(t, p);
    return false;
}

/* Of the n pods, by importance, that are away: as many as possible come back. The answer is how many cannot; they
 * stand first. While one of them would break a budget, such are tried before the others; who of them cannot come back
 * uses the budget up for the rest. */
static size_t trial_spare(struct dry_run *d, struct trial *t, struct sched_pod **away, size_t n)
{
    size_t lost = 0; /* away[0..lost) are victims, away[lost..n) undecided */
    budgets_begin(d);
    while (lost < n) {
        bool broken = false;
        size_t kept = lost, end = lost;
        budgets_rewind(d);
        struct sched_pod **rest = arena_alloc(d->q->arena, n * sizeof *rest);
        for (size_t i = lost; i < n; i++) {
            struct sched_pod *p = away[i];
            if (budgets_run(d, p)) {
                rest[kept++] = p;
                continue;
            }
            broken = true;
            if (!trial_reprieve(d->q, t, p)) {
                budgets_commit(d, p);
                away[end++] = p; /* end <= i: what stood there is decided or in rest */
            }
        }
        size_t left = kept - lost;
        memcpy(away + end, rest + lost, left * sizeof *rest);
        lost = end;
        n = end + left;
        if (broken)
            continue;
        for (size_t i = lost; i < n; i++)
            if (!trial_reprieve(d->q, t, away[i]))
                away[end++] = away[i];
        return end;
    }
    return lost;
}

static size_t victims_breaking(struct dry_run *d, struct sched_pod *const *victims, size_t n)
{
    size_t broken = 0;
    budgets_begin(d);
    budgets_rewind(d);
    for (size_t i = 0; i < n; i++)
        broken += !budgets_run(d, victims[i]);
    return broken;
}

static bool victims_choose(struct dry_run *d, struct sched_node *n, struct sched_candidate *out)
{
    struct fit_asking *q = d->q;
    struct sched_pod **away = arena_alloc(q->arena, (n->pods.n + 1) * sizeof *away);
    size_t m = 0;
    array_each (p, &n->pods)
        if (may_go(q, *p))
            away[m++] = *p;
    if (m == 0) {
        reason_add(q, "No preemption victims found for incoming pod");
        return false;
    }
    struct trial t;
    bool resolvable;
    trial_init(&t, q->pre, n);
    for (size_t i = 0; i < m; i++)
        trial_del(&t, away[i]);
    bool fits = node_has_room(q, &t.node, &resolvable);
    if (fits) {
        q->quiet = true;
        qsort(away, m, sizeof *away, reprieve_cmp);
        m = trial_spare(d, &t, away, m);
        qsort(away, m, sizeof *away, importance_cmp);
        q->quiet = false;
        *out = (struct sched_candidate){.node = n, .victims = away, .n = m, .broken = victims_breaking(d, away, m)};
        out->begun = str_eqz(sched_nominee(q->sched, q->pod), n->name);
        for (size_t i = 0; i < m; i++)
            out->begun = out->begun && is_told(away[i]);
    }
    for (size_t i = 0; i < m; i++)
        trial_add(&t, away[i]);
    trial_fini(&t);
    return fits && m > 0;
}

/* ---- of which node ---- */

/* Less than 0: x is to be preferred. */
static int candidate_cmp(const struct sched_candidate *x, const struct sched_candidate *y)
{
    if (x->broken != y->broken)
        return x->broken < y->broken ? -1 : 1;
    if (x->begun != y->begun) /* after a restart, or a call that failed: who has gone has not gone for nothing */
        return x->begun ? -1 : 1;
    int64_t top[2] = {x->victims[0]->priority, y->victims[0]->priority}, sum[2] = {0},
            since[2] = {INT64_MAX, INT64_MAX};
    if (top[0] != top[1])
        return top[0] < top[1] ? -1 : 1;
    for (int i = 0; i < 2; i++) {
        const struct sched_candidate *c = i ? y : x;
        for (size_t k = 0; k < c->n; k++) {
            sum[i] += c->victims[k]->priority + INT32_MAX + 1LL; /* many negative ones are not less than few */
            if (c->victims[k]->priority == top[i])
                since[i] = MIN(since[i], pod_started(c->victims[k]->obj));
        }
    }
    if (sum[0] != sum[1])
        return sum[0] < sum[1] ? -1 : 1;
    if (x->n != y->n)
        return x->n < y->n ? -1 : 1;
    return since[0] != since[1] ? since[0] > since[1] ? -1 : 1 : 0;
}

static bool victims_find(struct dry_run *d, struct sched_candidate *best)
{
    struct fit_asking *q = d->q;
    size_t n = q->nhopeful, most = MIN(n, MAX(n / 10, CANDIDATES_MOST)), found = 0, sound = 0;
    size_t from = stable_hash(q->pod->uid, 2) % n; /* not every pod begins with the same node */
    for (size_t i = 0; i < n && !(sound > 0 && found >= most); i++) {
        struct sched_candidate c;
        if (!victims_choose(d, q->hopeful[(from + i) % n], &c))
            continue;
        found++;
        sound += c.broken == 0;
        if (found == 1 || candidate_cmp(&c, best) < 0)
            *best = c;
    }
    return found > 0;
}

/* ---- may it at all ---- */

/* Those that it sent away earlier have not ended yet, and the node will do once they have. */
static bool victims_are_ending(struct fit_asking *q)
{
    struct sched_node *n = map_get(&q->sched->nodes, sched_nominee(q->sched, q->pod));
    bool hopeful = false;
    for (size_t i = 0; i < q->nhopeful; i++)
        hopeful |= q->hopeful[i] == n;
    if (!n || !hopeful)
        return false;
    array_each (p, &n->pods)
        if (may_go(q, *p) && obj_deleting((*p)->obj) && is_told(*p))
            return true;
    return false;
}

static bool is_least_of_all(const struct fit_asking *q)
{
    array_each (r, &q->sched->ranks)
        if (r->priority < q->priority)
            return false;
    return true;
}

void sched_preempt(struct fit_asking *q, struct decision *out, struct strbuf *why)
{
    size_t nodes = q->sched->nnodes;
    struct sched_candidate best;
    struct dry_run d = {.q = q};
    if (str_eqz(val_text_at(obj_spec(q->pod), N(preemptionPolicy)), "Never")) {
        out->waits = true;
        strbuf_addz(why, "not eligible due to preemptionPolicy=Never.");
        return;
    }
    if (victims_are_ending(q)) {
        out->waits = true;
        strbuf_addz(why, "not eligible due to a terminating pod on the nominated node.");
        return;
    }
    reasons_clear(q);
    bool found = false;
    if (q->nhopeful > 0 && !is_least_of_all(q)) {
        budgets_read(&d);
        found = victims_find(&d, &best);
        array_fini(&d.budgets);
        map_fini(&d.first);
    } else {
        for (size_t i = 0; i < q->nhopeful; i++)
            reason_add(q, "No preemption victims found for incoming pod");
    }
    if (found) {
        out->nominee = best.node;
        out->victims = best.victims;
        out->nvictims = best.n;
        out->nbroken = best.broken;
        return;
    }
    for (size_t i = q->nhopeful; i < nodes; i++)
        reason_add(q, "Preemption is not helpful for scheduling");
    strbuf_addf(why, "0/%zu nodes are available: ", nodes);
    reasons_text(q, why);
    strbuf_addc(why, '.');
}
