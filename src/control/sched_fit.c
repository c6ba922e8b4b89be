/* Does a pod fit on a node, and which one is best. Order and texts of the filters as upstream's default profile has
 * them: a node says the first thing that it has against the pod. */
#include "api/placement.h"
#include "control/pods.h"
#include "control/sched_int.h"

static bool node_is_closed(const struct obj *pod, const struct obj *node)
{
    if (!val_true(val_get(obj_spec(node), N(unschedulable))))
        return false;
    AUTO(arena_fini) struct arena a = ARENA;
    struct val taint = val_map();
    val_set_text(&a, &taint, N(key), S("node.kubernetes.io/unschedulable"));
    val_set_text(&a, &taint, N(effect), S("NoSchedule"));
    return !taint_tolerated(val_get(obj_spec(pod), N(tolerations)), &taint);
}

static bool ports_free(const struct obj *pod, const struct sched_node *n)
{
    for (size_t i = 0; n->ports > 0 && i < n->pods.n; i++)
        if (pod_ports_clash(pod, n->pods.p[i]->obj))
            return false;
    return true;
}

/* ---- the decision ---- */

void reason_add(struct fit_asking *q, const char *text)
{
    struct str t = str_of(text);
    if (!q->quiet)
        map_put(&q->reasons, t, (void *)((intptr_t)map_get(&q->reasons, t) + 1));
}

void reasons_clear(struct fit_asking *q)
{
    map_fini(&q->reasons);
    q->reasons = MAP;
}

/* Adds a reason for each resource that is short. False: at least one is. */
static bool resources_fit(struct fit_asking *q, const struct sched_node *n, bool *resolvable)
{
    bool fits = true;
    if (n->requested[RES_PODS] + 1 > n->allocatable[RES_PODS]) {
        reason_add(q, "Too many pods");
        fits = false;
    }
    map_each (it, &q->sched->resources) {
        size_t id = (size_t)(intptr_t)it->value - 1;
        if (id == RES_PODS || q->ask[id] == 0 || q->ask[id] <= n->allocatable[id] - n->requested[id])
            continue;
        if (!q->quiet)
            reason_add(q, arena_fmt(q->arena, "Insufficient " STR_FMT, STR_ARG(it->key)).p);
        fits = false;
        if (q->ask[id] > n->allocatable[id])
            *resolvable = false;
    }
    return fits;
}

/* What has nothing to do with the pods that are there. */
static bool node_suits(struct fit_asking *q, const struct sched_node *n)
{
    const struct obj *node = n->obj, *pod = q->pod;
    struct str wanted = val_text_at(obj_spec(pod), N(nodeName));
    const char *reason = NULL;
    if (node_is_closed(pod, node))
        reason = "node(s) were unschedulable";
    else if (wanted.n > 0 && !str_eq(wanted, node->name))
        reason = "node(s) didn't match the requested node name";
    else if (!taints_tolerated(pod, node, "NoSchedule", "NoExecute"))
        reason = "node(s) had untolerated taint(s)";
    else if (!node_selected(pod, node))
        reason = "node(s) didn't match Pod's node affinity/selector";
    if (!reason)
        return true;
    q->wake |= WAKE_NODE;
    reason_add(q, reason);
    return false;
}

static void reason_said(void *arg, const char *reason)
{
    reason_add(arg, reason);
}

static bool room_of(struct fit_asking *q, const struct sched_node *n, bool *resolvable)
{
    const char *reason = NULL;
    if (!ports_free(q->pod, n))
        reason = "node(s) didn't have free ports for the requested pod ports", q->wake |= WAKE_NODE | WAKE_POD_GONE;
    else if (!resources_fit(q, n, resolvable))
        q->wake |= WAKE_NODE | WAKE_POD_GONE;
    else if (!pod_volumes_fit(q->volumes, n, resolvable, reason_said, q))
        q->wake |= WAKE_NODE | WAKE_VOLUME | WAKE_POD_GONE;
    else if ((reason = pre_filter(q->pre, n, resolvable)))
        q->wake |= WAKE_NODE | WAKE_POD_GONE | WAKE_POD_CAME;
    else
        return true;
    if (reason)
        reason_add(q, reason);
    return false;
}

/* Those that are to come are not there yet, and may end elsewhere: it must have room beside them, and without them,
 * whom its affinity may need. */
static bool room_beside_nominated(struct fit_asking *q, const struct sched_node *n, bool *resolvable)
{
    struct trial t;
    size_t added = 0;
    trial_init(&t, q->pre, n);
    array_each (it, &n->nominated)
        if ((*it)->priority >= q->priority && !str_eq((*it)->obj->uid, q->pod->uid)) {
            trial_add(&t, *it);
            added++;
        }
    bool fits = added == 0 || room_of(q, &t.node, resolvable);
    while (added-- > 0)
        trial_del(&t, t.node.pods.p[t.node.pods.n - 1]);
    trial_fini(&t);
    return fits;
}

bool node_has_room(struct fit_asking *q, const struct sched_node *n, bool *resolvable)
{
    *resolvable = true;
    return (n->nominated.n == 0 || room_beside_nominated(q, n, resolvable)) && room_of(q, n, resolvable);
}

static bool node_fits(struct fit_asking *q, struct sched_node *n)
{
    bool resolvable;
    if (!node_suits(q, n))
        return false;
    if (node_has_room(q, n, &resolvable))
        return true;
    if (resolvable)
        q->hopeful[q->nhopeful++] = n;
    return false;
}

static int text_cmp(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

void reasons_text(struct fit_asking *q, struct strbuf *b)
{
    struct str texts[64 + SCHED_RESOURCES];
    size_t n = 0;
    map_each (it, &q->reasons)
        if (n < countof(texts))
            texts[n++] = arena_fmt(q->arena, "%d " STR_FMT, (int)(intptr_t)it->value, STR_ARG(it->key));
    qsort(texts, n, sizeof *texts, text_cmp);
    for (size_t i = 0; i < n; i++)
        strbuf_addf(b, "%s" STR_FMT, i ? ", " : "", STR_ARG(texts[i]));
}

/* before: what holds of every node, said once; NULL: each node's own reasons. */
static void pod_refuse(struct fit_asking *q, const char *before, struct decision *out)
{
    size_t nodes = q->sched->nnodes;
    if (nodes == 0) {
        q->wake |= WAKE_NODE;
        out->message = S("no nodes available to schedule pods");
        return;
    }
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    AUTO(strbuf_fini) struct strbuf why = STRBUF(STRBUF_TEXT);
    strbuf_addf(&b, "0/%zu nodes are available: ", nodes);
    if (before) { /* upstream comes no further, and says so */
        strbuf_addf(&b, "%s. not found", before);
        out->message = str_dup(q->arena, strbuf_str(&b));
        return;
    }
    reasons_text(q, &b);
    strbuf_addc(&b, '.');
    sched_preempt(q, out, &why);
    if (!out->nominee)
        strbuf_addf(&b, " no new claims to deallocate, preemption: " STR_FMT, STR_ARG(strbuf_str(&why)));
    out->message = str_dup(q->arena, strbuf_str(&b));
}

/* ---- scores, 0..100 each ---- */

static int64_t num_clamp(int64_t x)
{
    return MAX(0, MIN(100, x));
}

/* NodeResourcesLeastAllocated and ...BalancedAllocation over cpu and memory. */
static int64_t score_resources(const struct fit_asking *q, const struct sched_node *n)
{
    int64_t least = 0, weight = 0;
    double part[2] = {0};
    const int ids[2] = {RES_CPU, RES_MEMORY};
    const int64_t floor[2] = {100, 200 * 1024 * 1024};
    for (int i = 0; i < 2; i++) {
        int64_t has = n->allocatable[ids[i]], ask = q->ask[ids[i]];
        if (has == 0)
            continue;
        int64_t used = n->asked[i] + (ask ? ask : floor[i]);
        least += num_clamp(
            (int64_t)((double)(has - used) * 100 / (double)has)); /* a node may claim to have 2^63 - 1 */
        weight++;
        part[i] = MIN(1.0, (double)(n->requested[ids[i]] + ask) / (double)has);
    }
    double skew = part[0] > part[1] ? part[0] - part[1] : part[1] - part[0];
    return (weight ? least / weight : 0) + num_clamp((int64_t)((1.0 - skew / 2) * 100));
}

static int64_t preferred_affinity(const struct obj *pod, const struct obj *node)
{
    int64_t sum = 0;
    val_each_item (
        it, val_at(obj_spec(pod), N(affinity), N(nodeAffinity), N(preferredDuringSchedulingIgnoredDuringExecution))) {
        const struct val *term = val_get(it, N(preference));
        bool empty = val_len(val_get(term, N(matchExpressions))) + val_len(val_get(term, N(matchFields))) == 0;
        if (empty || node_term_matches(term, node))
            sum += val_num_at(it, 0, N(weight));
    }
    return sum;
}

static int64_t soft_taints(const struct obj *pod, const struct obj *node)
{
    int64_t n = 0;
    val_each_item (t, val_get(obj_spec(node), N(taints)))
        if (str_eqz(val_text_at(t, N(effect)), "PreferNoSchedule") &&
            !taint_tolerated(val_get(obj_spec(pod), N(tolerations)), t))
            n++;
    return n;
}

static struct sched_node *best_of(struct fit_asking *q, struct sched_node **nodes, size_t n)
{
    int64_t *mem = arena_alloc(q->arena, 4 * n * sizeof *mem), *spread = mem, *kin = mem + n, *liked = mem + 2 * n,
            *soft = mem + 3 * n, most_liked = 0, most_soft = 0;
    pre_score(q->pre, nodes, n, spread, kin);
    for (size_t i = 0; i < n; i++) {
        liked[i] = preferred_affinity(q->pod, nodes[i]->obj);
        soft[i] = soft_taints(q->pod, nodes[i]->obj);
        most_liked = MAX(most_liked, liked[i]);
        most_soft = MAX(most_soft, soft[i]);
    }
    struct sched_node *best = NULL;
    int64_t best_score = -1;
    uint64_t best_draw = 0;
    for (size_t i = 0; i < n; i++) {
        int64_t score = score_resources(q, nodes[i]) + 2 * spread[i] + 2 * kin[i];
        score += 2 * (most_liked ? liked[i] * 100 / most_liked : 0);
        score += 3 * (most_soft ? 100 - soft[i] * 100 / most_soft : 100);
        /* equal ones share by chance, but the same pod always draws the same */
        uint64_t draw = stable_hash(str_of(nodes[i]->name), stable_hash(q->pod->uid, 1));
        if (score > best_score || (score == best_score && draw > best_draw)) {
            best = nodes[i];
            best_score = score;
            best_draw = draw;
        }
    }
    return best;
}

/* All nodes, but where it is nominated for one that fits, that is the one. */
static size_t nodes_fitting(struct fit_asking *q, struct sched_node **fit)
{
    size_t n = 0;
    struct sched_node *nominee = map_get(&q->sched->nodes, sched_nominee(q->sched, q->pod));
    q->quiet = true;
    if (nominee && nominee->obj && !obj_deleting(nominee->obj) && node_fits(q, nominee)) {
        fit[0] = nominee;
        return 1;
    }
    q->quiet = false;
    q->nhopeful = 0;
    map_each (it, &q->sched->nodes) {
        struct sched_node *node = it->value;
        if (node->obj && !obj_deleting(node->obj) && node_fits(q, node))
            fit[n++] = node;
    }
    return n;
}

void sched_place(struct sched *s, const struct view *v, const struct obj *pod, struct arena *a, struct decision *out)
{
    struct fit_asking q = {
        .sched = s, .view = v, .pod = pod, .arena = a, .priority = val_num_at(obj_spec(pod), 0, N(priority))};
    *out = (struct decision){0};
    const char *before;
    q.volumes = pod_volumes_make(s, v, pod, a, &before);
    if (before) {
        q.wake = WAKE_CLAIM;
        pod_refuse(&q, before, out);
        out->wake = q.wake;
        reasons_clear(&q);
        return;
    }
    sched_requests(s, pod, q.ask);
    q.pre = pre_make(s, v, pod, a);
    struct sched_node **fit = arena_alloc(a, 2 * (map_len(&s->nodes) + 1) * sizeof *fit);
    q.hopeful = fit + map_len(&s->nodes) + 1;
    out->feasible = nodes_fitting(&q, fit);
    if (out->feasible > 0) {
        out->node = best_of(&q, fit, out->feasible);
        out->claims = arena_alloc(a, (val_len(val_get(obj_spec(pod), N(volumes))) + 1) * sizeof *out->claims);
        out->nclaims = pod_volumes_choose(q.volumes, out->node, out->claims, POD_CLAIMS_MAX);
    } else
        pod_refuse(&q, NULL, out);
    out->wake = q.wake;
    reasons_clear(&q);
    pre_free(q.pre);
}
