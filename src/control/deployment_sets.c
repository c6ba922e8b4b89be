/* deployment_sets.c - the ReplicaSets of a Deployment: which are its own, what one of its template is called, how
 * large it may be, what it is told in annotations. */
#include "api/codec.h"
#include "api/selector.h"
#include "control/deployment.h"
#include "control/deployment_int.h"
#include "control/pods.h"

void deployment_bounds(const struct obj *d, int64_t *surge, int64_t *unavailable)
{
    const struct val *r = val_at(obj_spec(d), N(strategy), N(rollingUpdate));
    *surge = *unavailable = 0;
    if (!strategy_is_rolling(d))
        return;
    *surge = int_or_percent(val_get(r, N(maxSurge)), replicas_of(d), true);
    *unavailable = int_or_percent(val_get(r, N(maxUnavailable)), replicas_of(d), false);
    if (*surge == 0 && *unavailable == 0)
        *unavailable = 1;
}

int64_t rollout_max_surge(const struct obj *d)
{
    int64_t surge, unavailable;
    deployment_bounds(d, &surge, &unavailable);
    return surge;
}

int64_t rollout_max_unavailable(const struct obj *d)
{
    int64_t surge, unavailable;
    deployment_bounds(d, &surge, &unavailable);
    return replicas_of(d) == 0 ? 0 : MIN(unavailable, replicas_of(d));
}

struct str template_hash(struct arena *a, const struct val *template, int64_t collisions)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(4u << 20);
    type_encode_json(&text, T(core_v1_PodTemplateSpec), template);
    if (collisions > 0)
        strbuf_addf(&text, "%lld", (long long)collisions);
    uint32_t h = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < text.n; i++)
        h = (h ^ (unsigned char)text.p[i]) * 16777619u;
    return safe_encode(a, arena_fmt(a, "%u", h));
}

/* Equal but for the label that tells the sets apart. */
static bool same_template(struct arena *a, const struct val *x, const struct val *y)
{
    struct val v = val_copy(a, y), *labels = val_get_mut(val_need_map(a, &v, N(metadata)), N(labels));
    if (labels)
        val_del_str(labels, HASH);
    struct val u = val_copy(a, x), *own = val_get_mut(val_need_map(a, &u, N(metadata)), N(labels));
    if (own)
        val_del_str(own, HASH);
    return val_equal(&u, &v);
}

int set_by_age(const void *pa, const void *pb)
{
    const struct obj *a = *(struct obj *const *)pa, *b = *(struct obj *const *)pb;
    int64_t d = obj_created(a) - obj_created(b);
    return d ? (d < 0 ? -1 : 1) : str_cmp(a->name, b->name);
}

bool sets_collect(struct rollout *r)
{
    struct selector *selector;
    struct err err = ERR;
    if (!selector_of(&r->out->arena, val_get(obj_spec(r->d), N(selector)), &selector, &err)) {
        plan_why(r->out, "spec.selector: %s", err.text);
        return false;
    }
    if (selector_is_everything(selector)) {
        plan_event(r->out, (struct obj *)r->d, "Warning", "SelectingAll",
                   "This deployment is selecting all pods. A non-empty selector is required.");
        plan_why(r->out, "spec.selector: is empty and would select every pod");
        return false;
    }
    struct obj *rs;
    for (struct objset_iter it = view_with(r->view, K(ReplicaSet), &index_controller, r->d->uid);
         (rs = objset_next(&it));) {
        if (selector_matches(selector, obj_labels(rs)))
            array_push(&r->all, rs);
        else if (!obj_deleting(r->d))
            plan_release(r->out, rs, r->d);
    }
    for (struct objset_iter it = view_with(r->view, K(ReplicaSet), &index_orphans, r->d->ns);
         !obj_deleting(r->d) && (rs = objset_next(&it));)
        if (!obj_deleting(rs) && selector_matches(selector, obj_labels(rs))) {
            plan_adopt(r->out, rs, r->d);
            r->scaled = true; /* nothing else before it is ours */
        }
    if (r->all.n > 0)
        qsort(r->all.p, r->all.n, sizeof *r->all.p, set_by_age);
    const struct val *template = val_get(obj_spec(r->d), N(template));
    array_each (it, &r->all)
        if (!r->new &&same_template(&r->out->arena, template, val_get(obj_spec(*it), N(template))))
            r->new = *it;
    array_each (it, &r->all)
        if (*it != r->new)
            array_push(&r->old, *it);
    return true;
}

/* ---- sets ---- */

static bool skipped_annotation(struct str key)
{
    return str_eqz(key, "kubectl.kubernetes.io/last-applied-configuration") || str_eq(key, REVISION) ||
           str_eq(key, HISTORY) || str_eq(key, DESIRED) || str_eq(key, MOST) ||
           str_eqz(key, "deprecated.deployment.rollback.to");
}

static void annotation_set(struct arena *a, struct val *tree, struct str key, struct str value)
{
    struct val *map = val_need_map(a, tree, N(metadata), N(annotations));
    val_set_str(a, map, key, val_str(a, value));
}

static void annotate_num(struct arena *a, struct val *tree, struct str key, int64_t n)
{
    annotation_set(a, tree, key, arena_fmt(a, "%lld", (long long)n));
}

/* desired and max replicas: what proportional scaling starts from. Only with a set's scaling. */
static void annotate_size(const struct rollout *r, struct val *tree)
{
    annotate_num(&r->out->arena, tree, DESIRED, replicas_of(r->d));
    annotate_num(&r->out->arena, tree, MOST, replicas_of(r->d) + rollout_max_surge(r->d));
}

static void history_add(struct arena *a, struct val *tree, const struct obj *rs, struct str old)
{
    struct str have = annotation_of(rs, HISTORY), rest = have, part;
    while (have.n > 0 && str_cut(&rest, ',', &part))
        if (str_eq(part, old))
            return;
    while (have.n > 0 && have.n + 1 + old.n > MAX_CHARS)
        if (!str_split(have, ',', &part, &have))
            have = S("");
    annotation_set(a, tree, HISTORY,
                   have.n > 0 ? arena_fmt(a, STR_FMT "," STR_FMT, STR_ARG(have), STR_ARG(old)) : old);
}

static int64_t next_revision(const struct rollout *r)
{
    int64_t most = 0;
    array_each (it, &r->old)
        most = MAX(most, number_of(annotation_of(*it, REVISION)));
    return most + 1;
}

static void copy_annotations(const struct rollout *r, struct val *tree)
{
    val_each_member (it, val_get(obj_meta(r->d), N(annotations)))
        if (!skipped_annotation(it->name->s))
            annotation_set(&r->out->arena, tree, it->name->s, val_text(&it->v));
}

static void revision_set(struct rollout *r, struct str revision)
{
    if (revision.n > 0 && !str_eq(annotation_of(r->d, REVISION), revision))
        annotation_set(&r->out->arena, &r->tree, REVISION, revision);
}

/* The set of the current template carries the deployment's annotations and the newest revision. True: it had to be
 * changed, the rest comes when that is seen. */
bool new_set_refresh(struct rollout *r)
{
    struct arena *a = &r->out->arena;
    struct val tree = plan_edit(r->out, r->new);
    struct str old = annotation_of(r->new, REVISION), now = old;
    int64_t next = next_revision(r);
    copy_annotations(r, &tree);
    if (number_of(old) < next) {
        now = arena_fmt(a, "%lld", (long long)next);
        annotation_set(a, &tree, REVISION, now);
        if (old.n > 0)
            history_add(a, &tree, r->new, old);
    }
    const struct val *min = val_get(obj_spec(r->d), N(minReadySeconds));
    if (val_num(min, 0) != val_num_at(obj_spec(r->new), 0, N(minReadySeconds)))
        val_set_num(a, val_need_map(a, &tree, N(spec)), N(minReadySeconds), val_num(min, 0));
    if (plan_update(r->out, r->new, S(""), tree))
        return true;
    revision_set(r, now);
    if (rollout_has_deadline(r->d) && !rollout_cond(r, "Progressing"))
        rollout_cond_set(r, "Progressing", "True", "FoundNewReplicaSet",
                         arena_fmt(a, "Found new replica set \"" STR_FMT "\"", STR_ARG(r->new->name)), false);
    return false;
}

/* Pods that are or will be: a set that was scaled down counts what it has until it has followed, so that maxSurge
 * bounds pods and not only wishes. */
static int64_t sum_pods(const struct rollout *r)
{
    int64_t n = 0;
    array_each (it, &r->all)
        n += MAX(replicas_of(*it), status_num(*it, N(replicas)));
    return n;
}

int64_t new_set_size(const struct rollout *r, int64_t has)
{
    if (!strategy_is_rolling(r->d))
        return replicas_of(r->d);
    int64_t most = replicas_of(r->d) + rollout_max_surge(r->d), current = sum_pods(r);
    if (current >= most)
        return has;
    return has + MIN(most - current, replicas_of(r->d) - has);
}

static void with_hash(struct arena *a, struct val *map_holder, struct str hash)
{
    val_set_str(a, map_holder, HASH, val_str(a, hash));
}

static struct val new_set_tree(struct rollout *r, struct str hash, int64_t size, struct str revision)
{
    struct arena *a = &r->out->arena;
    const struct val *from = obj_spec(r->d);
    struct val rs = val_map(), template = val_copy(a, val_get(from, N(template)));
    with_hash(a, val_need_map(a, &template, N(metadata), N(labels)), hash);
    struct val *meta = val_set(a, &rs, N(metadata), val_map());
    val_set(a, meta, N(labels), val_copy(a, val_at(&template, N(metadata), N(labels))));
    struct val owners = val_list();
    val_add(a, &owners, owner_ref(a, r->d));
    val_set(a, meta, N(ownerReferences), owners);
    struct val selector = val_copy(a, val_get(from, N(selector)));
    with_hash(a, val_need_map(a, &selector, N(matchLabels)), hash);
    struct val *spec = val_set(a, &rs, N(spec), val_map());
    val_set_num(a, spec, N(replicas), size);
    if (val_num(val_get(from, N(minReadySeconds)), 0) > 0)
        val_set_num(a, spec, N(minReadySeconds), val_num(val_get(from, N(minReadySeconds)), 0));
    val_set(a, spec, N(selector), selector);
    val_set(a, spec, N(template), template);
    copy_annotations(r, &rs);
    annotation_set(a, &rs, REVISION, revision);
    annotate_size(r, &rs);
    return rs;
}

void new_set_create(struct rollout *r)
{
    struct arena *a = &r->out->arena;
    int64_t collisions = status_num(r->d, N(collisionCount));
    struct str hash = template_hash(a, val_get(obj_spec(r->d), N(template)), collisions);
    struct str name = arena_fmt(a, STR_FMT "-" STR_FMT, STR_ARG(r->d->name), STR_ARG(hash));
    const struct obj *there = view_get(r->view, K(ReplicaSet), r->d->ns, name);
    if (there) { /* another template or another owner has the name: hash again, once more collided */
        if (!obj_deleting(there))
            val_set_num(a, r->status, N(collisionCount), collisions + 1);
        else
            plan_why(r->out, "ReplicaSet " STR_FMT " of an earlier owner is still being deleted", STR_ARG(name));
        rollout_write_status(r);
        return;
    }
    int64_t size = new_set_size(r, 0);
    struct str revision = arena_fmt(a, "%lld", (long long)next_revision(r));
    struct action *act = plan_create(r->out, K(ReplicaSet), r->d->ns, name, new_set_tree(r, hash, size, revision));
    if (size > 0)
        act->done = plan_event_of(r->out, r->d, "Normal", "ScalingReplicaSet",
                                  "Scaled up replica set " STR_FMT " from 0 to %lld", STR_ARG(name), (long long)size);
    act->failed = plan_event_of(r->out, r->d, "Warning", "ReplicaSetCreateError",
                                "Failed to create new replica set \"" STR_FMT "\": ", STR_ARG(name));
    if (r->view->trouble.n > 0) {
        struct str text = arena_fmt(a, "Failed to create new replica set \"" STR_FMT "\": " STR_FMT, STR_ARG(name),
                                    STR_ARG(r->view->trouble));
        plan_why(r->out, STR_FMT, STR_ARG(text));
        rollout_cond_set(r, "Progressing", "False", "ReplicaSetCreateError", text, false);
        rollout_count(r);
        rollout_write_status(r);
        return;
    }
    plan_step(r->out);
    revision_set(r, revision);
    if (rollout_has_deadline(r->d))
        rollout_cond_set(r, "Progressing", "True", "NewReplicaSetCreated",
                         arena_fmt(a, "Created new replica set \"" STR_FMT "\"", STR_ARG(name)), false);
    rollout_count(r);
    rollout_write_status(r);
}

/* True where the set has to be changed for it. */
bool set_scale_to(struct rollout *r, struct obj *rs, int64_t size)
{
    struct val tree = plan_edit(r->out, rs);
    int64_t has = replicas_of(rs);
    val_set_num(&r->out->arena, val_need_map(&r->out->arena, &tree, N(spec)), N(replicas), size);
    annotate_size(r, &tree);
    struct action *a = plan_update(r->out, rs, S(""), tree);
    if (!a)
        return false;
    if (size != has)
        a->done = plan_event_of(r->out, r->d, "Normal", "ScalingReplicaSet",
                                "Scaled %s replica set " STR_FMT " from %lld to %lld", size > has ? "up" : "down",
                                STR_ARG(rs->name), (long long)has, (long long)size);
    r->scaled = true;
    return size != has;
}
