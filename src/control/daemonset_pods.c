/* What the pods of a DaemonSet look like, for which nodes they are, and which there are. */
#include "api/placement.h"
#include "control/daemonset_int.h"

#define FAILURES   S("wherry.dev/daemon-failures")
#define GENERATION S("pod-template-generation")

/* ---- what is added to the template ---- */

/* A node's troubles send no daemon away and keep none off. */
static const struct {
    const char *key, *effect;
    bool host_network; /* for those alone */
} tolerations[] = {
    {"node.kubernetes.io/not-ready", "NoExecute", false},
    {"node.kubernetes.io/unreachable", "NoExecute", false},
    {"node.kubernetes.io/disk-pressure", "NoSchedule", false},
    {"node.kubernetes.io/memory-pressure", "NoSchedule", false},
    {"node.kubernetes.io/pid-pressure", "NoSchedule", false},
    {"node.kubernetes.io/unschedulable", "NoSchedule", false},
    {"node.kubernetes.io/network-unavailable", "NoSchedule", true},
};

/* Takes the place of one that differs by its seconds alone. */
static void toleration_put(struct arena *a, struct val *list, struct val toleration)
{
    for (size_t i = 0; i < val_len(list); i++) {
        struct val *have = &list->list[i];
        if (str_eq(val_text_at(have, N(key)), val_text_at(&toleration, N(key))) &&
            str_eq(val_text_at(have, N(effect)), val_text_at(&toleration, N(effect))) &&
            str_eqz(val_text_at(have, N(operator)), "Exists") && val_text_at(have, N(value)).n == 0) {
            *have = toleration;
            return;
        }
    }
    val_add(a, list, toleration);
}

static struct val tolerations_of(struct arena *a, const struct val *spec)
{
    struct val list = val_list();
    val_each_item (it, val_get(spec, N(tolerations)))
        val_add(a, &list, val_copy(a, it));
    for (size_t i = 0; i < countof(tolerations); i++) {
        if (tolerations[i].host_network && !val_true(val_get(spec, N(hostNetwork))))
            continue;
        struct val t = val_map();
        val_set_text(a, &t, N(key), str_of(tolerations[i].key));
        val_set_text(a, &t, N(operator), S("Exists"));
        val_set_text(a, &t, N(effect), str_of(tolerations[i].effect));
        toleration_put(a, &list, t);
    }
    return list;
}

/* The scheduler binds it, to no other node; what else its affinity required of nodes has been looked at. */
static void affinity_pin(struct arena *a, struct val *spec, struct str node)
{
    struct val term = val_map(), field = val_map();
    val_set_text(a, &field, N(key), S("metadata.name"));
    val_set_text(a, &field, N(operator), S("In"));
    struct val *values = val_set(a, &field, N(values), val_list());
    val_add(a, values, val_str(a, node));
    struct val *fields = val_set(a, &term, N(matchFields), val_list());
    val_add(a, fields, field);
    struct val *required = val_need_map(a, spec, N(affinity), N(nodeAffinity),
                                        N(requiredDuringSchedulingIgnoredDuringExecution));
    struct val *terms = val_set(a, required, N(nodeSelectorTerms), val_list());
    val_add(a, terms, term);
}

static struct str template_generation(const struct obj *ds)
{
    return obj_note(ds, "deprecated.daemonset.template.generation");
}

static void pod_finish(void *arg, struct plan *out, size_t i, struct val *pod)
{
    struct daemon_work *w = arg;
    struct arena *a = &out->arena;
    const struct daemon_start *start = &w->starts.p[i];
    struct val *spec = val_need_map(a, pod, N(spec));
    struct val *labels = val_need_map(a, pod, N(metadata), N(labels));
    val_set(a, spec, N(tolerations), tolerations_of(a, spec));
    affinity_pin(a, spec, start->node);
    val_set_str(a, labels, POD_REVISION, val_str(a, w->hash));
    if (template_generation(w->ds).n > 0)
        val_set_str(a, labels, GENERATION, val_str(a, template_generation(w->ds)));
    if (start->failures > 0)
        val_set_str(a, val_need_map(a, pod, N(metadata), N(annotations)), FAILURES,
                    val_str(a, arena_fmt(a, "%lld", (long long)start->failures)));
}

void daemon_pods_make(struct daemon_work *w)
{
    children_create(w->v, w->ds, val_get(obj_spec(w->ds), N(template)), w->starts.n, pod_finish, w, w->out);
}

int64_t daemon_failures(const struct obj *pod)
{
    int64_t n;
    struct str text = val_text(val_get_str(val_get(obj_meta(pod), N(annotations)), FAILURES));
    return str_to_i64(text, 0, INT32_MAX, &n) ? n : 0;
}

bool daemon_pod_is_new(const struct obj *ds, const struct obj *pod, struct str hash)
{
    struct str generation = template_generation(ds);
    return str_eq(val_text(val_get_str(obj_labels(pod), POD_REVISION)), hash) ||
           (generation.n > 0 && str_eq(val_text(val_get_str(obj_labels(pod), GENERATION)), generation));
}

/* ---- for which nodes ---- */

struct daemon_rules daemon_rules_of(struct arena *a, const struct obj *ds)
{
    const struct val *from = val_at(obj_spec(ds), N(template), N(spec));
    struct daemon_rules r = {.pod = {.kind = K(Pod), .tree = val_map()}, .node_name = val_text_at(from, N(nodeName))};
    struct val *spec = val_set(a, &r.pod.tree, N(spec), val_map());
    if (val_get(from, N(nodeSelector)))
        val_set(a, spec, N(nodeSelector), *val_get(from, N(nodeSelector)));
    if (val_get(from, N(affinity)))
        val_set(a, spec, N(affinity), *val_get(from, N(affinity)));
    val_set(a, spec, N(tolerations), tolerations_of(a, from));
    return r;
}

enum daemon_wish daemon_wish(const struct daemon_rules *r, const struct obj *node)
{
    if ((r->node_name.n > 0 && !str_eq(r->node_name, node->name)) || !node_selected(&r->pod, node))
        return DAEMON_NOT;
    if (taints_tolerated(&r->pod, node, "NoSchedule", "NoExecute"))
        return DAEMON_RUNS;
    return taints_tolerated(&r->pod, node, "NoExecute", "NoExecute") ? DAEMON_STAYS : DAEMON_NOT;
}

struct str daemon_node(const struct obj *pod)
{
    if (pod_node(pod).n > 0)
        return pod_node(pod);
    val_each_item (term, val_at(obj_spec(pod), N(affinity), N(nodeAffinity),
                                N(requiredDuringSchedulingIgnoredDuringExecution), N(nodeSelectorTerms)))
        val_each_item (field, val_get(term, N(matchFields)))
            if (str_eqz(val_text_at(field, N(key)), "metadata.name") &&
                str_eqz(val_text_at(field, N(operator)), "In") && val_len(val_get(field, N(values))) == 1)
                return val_text(val_item(val_get(field, N(values)), 0));
    return S("");
}

/* ---- which there are ---- */

static int pod_cmp(const void *pa, const void *pb)
{
    const struct daemon_pod *a = pa, *b = pb;
    int64_t d = str_cmp(a->node, b->node);
    if (d == 0)
        d = (pod_node(b->pod).n > 0) - (pod_node(a->pod).n > 0);
    if (d == 0)
        d = obj_created(a->pod) - obj_created(b->pod);
    return d ? (d < 0 ? -1 : 1) : str_cmp(a->pod->name, b->pod->name);
}

void daemon_pods_sort(struct daemon_pods *d, const struct children *c)
{
    array_each (it, &c->mine) {
        struct daemon_pod p = {daemon_node(*it), *it};
        if (p.node.n > 0)
            array_push(&d->all, p);
    }
    if (d->all.n > 0)
        qsort(d->all.p, d->all.n, sizeof *d->all.p, pod_cmp);
}

const struct daemon_pod *daemon_pods_on(const struct daemon_pods *d, struct str node, size_t *n)
{
    size_t low = 0, high = d->all.n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (str_cmp(d->all.p[mid].node, node) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    for (*n = 0; low + *n < d->all.n && str_eq(d->all.p[low + *n].node, node);)
        ++*n;
    return *n ? d->all.p + low : NULL;
}
