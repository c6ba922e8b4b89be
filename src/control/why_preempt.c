/* Pods that make room for others, and those for which room is made: whom, by whom, and why not. */
#include "control/sched.h"
#include "control/why_int.h"

enum { NAMED_MOST = 3 };

static void name_add(struct question *q, struct strbuf *b, size_t i, size_t n, const struct obj *pod)
{
    if (i < NAMED_MOST)
        strbuf_addf(b, "%s" STR_FMT, i ? ", " : "", STR_ARG(why_target(q, pod)));
    else if (i == NAMED_MOST)
        strbuf_addf(b, " and %zu more", n - NAMED_MOST);
}

static int64_t pod_priority(const struct obj *pod)
{
    return val_num_at(obj_spec(pod), 0, N(priority));
}

/* Budgets that allow none of the victims. */
static struct str budgets_of(struct question *q, const struct decision *d)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct obj *pdb;
    for (struct objset_iter it = view_all(q->v, K(PodDisruptionBudget)); (pdb = objset_next(&it));) {
        bool one = false;
        for (size_t i = 0; i < d->nvictims; i++)
            one |= str_eq(pdb->ns, d->victims[i]->obj->ns) &&
                   label_selector_matches(val_get(obj_spec(pdb), N(selector)), obj_labels(d->victims[i]->obj));
        if (one)
            strbuf_addf(&b, "%s" STR_FMT, b.n ? ", " : "", STR_ARG(why_target(q, pdb)));
    }
    return str_dup(q->a, strbuf_str(&b));
}

static bool say_ending(struct question *q, const struct obj *pod, const struct sched_node *n, struct finding *f)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    size_t all = 0, i = 0;
    array_each (p, &n->pods)
        all += obj_deleting((*p)->obj) && (*p)->priority < pod_priority(pod);
    array_each (p, &n->pods)
        if (obj_deleting((*p)->obj) && (*p)->priority < pod_priority(pod))
            name_add(q, &b, i++, all, (*p)->obj);
    return why_coming(q, f, "Preempting", "is to go to node %s, once those end that make room for it: " STR_FMT,
                      n->name, STR_ARG(strbuf_str(&b)));
}

bool why_preempting(struct question *q, const struct obj *pod, const struct sched *s, const struct decision *d,
                    struct finding *f)
{
    const struct sched_node *n = map_get(&s->nodes, sched_nominee(s, pod));
    if (d->waits && n && !str_eqz(val_text_at(obj_spec(pod), N(preemptionPolicy)), "Never"))
        return say_ending(q, pod, n, f);
    if (!d->nominee)
        return false;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    for (size_t i = 0; i < d->nvictims; i++)
        name_add(q, &b, i, d->nvictims, d->victims[i]->obj);
    if (d->nbroken)
        strbuf_addf(&b, ", against what %s allows", arena_strz(q->a, budgets_of(q, d)));
    return why_coming(q, f, "Preempting", "is to go to node %s, where others make room for it: " STR_FMT,
                      d->nominee->name, STR_ARG(strbuf_str(&b)));
}

void why_not_preempting(struct question *q, const struct obj *pod, const struct decision *d, struct finding *f)
{
    struct str class = val_text_at(obj_spec(pod), N(priorityClassName));
    long long priority = pod_priority(pod);
    if (str_eqz(val_text_at(obj_spec(pod), N(preemptionPolicy)), "Never"))
        why_chain(q, f,
                  "it sends nobody away: its PriorityClass " STR_FMT " has the preemptionPolicy Never, so it only "
                  "stands before others that wait",
                  STR_ARG(class));
    else if (priority > 0 && str_has(d->message, S("No preemption victims found")))
        why_chain(q, f, "it sends nobody away: its priority is %lld, and those in its way have that or more",
                  priority);
}

/* ---- the other side ---- */

static const struct obj *pod_of_uid(struct question *q, struct str uid)
{
    struct obj *pod;
    for (struct objset_iter it = view_all(q->v, K(Pod)); (pod = objset_next(&it));)
        if (str_eq(pod->uid, uid))
            return pod;
    return NULL;
}

/* By the event that says so; where that is not there (yet), whoever is to come to the node. */
static const struct obj *preemptor_of(struct question *q, const struct obj *pod)
{
    struct str uid, rest, begins = S("Preempted by pod ");
    struct str text = why_event_text(why_event(q, pod, "Preempted", begins, S("")));
    if (str_starts(text, begins)) {
        str_split(str_sub(text, begins.n, text.n), ' ', &uid, &rest);
        return pod_of_uid(q, uid);
    }
    struct obj *other;
    for (struct objset_iter it = view_all(q->v, K(Pod)); (other = objset_next(&it));)
        if (str_eq(val_text_at(obj_status(other), N(nominatedNodeName)), pod_node(pod)) &&
            pod_priority(other) > pod_priority(pod))
            return other;
    return NULL;
}

bool why_preempted(struct question *q, const struct obj *pod, struct finding *f)
{
    const struct val *c = condition_get(obj_status(pod), "DisruptionTarget");
    if (!str_eqz(val_text_at(c, N(status)), "True") || !str_eqz(val_text_at(c, N(reason)), "PreemptionByScheduler"))
        return false;
    const struct obj *by = preemptor_of(q, pod);
    why_chain(q, f, "DisruptionTarget: " STR_FMT, STR_ARG(val_text_at(c, N(message))));
    if (!by)
        return why_coming(q, f, "Preempted", "is being stopped: it made room for a more important pod");
    struct str class = val_text_at(obj_spec(by), N(priorityClassName));
    return why_coming(q, f, "Preempted",
                      "is being stopped: it makes room for " STR_FMT ", whose priority is %lld (" STR_FMT
                      "), its own %lld",
                      STR_ARG(why_target(q, by)), (long long)pod_priority(by),
                      STR_ARG(class.n ? class : S("no PriorityClass")), (long long)pod_priority(pod));
}
