#include "control/children.h"
#include "control/pods.h"

void children_fini(struct children *c)
{
    array_fini(&c->mine);
    array_fini(&c->active);
}

/* As a LabelSelector, whichever way the kind has it. */
static const struct val *selector_value(struct arena *a, const struct obj *owner)
{
    const struct val *selector = val_get(obj_spec(owner), N(selector));
    if (owner->kind != K(ReplicationController))
        return selector;
    struct val *whole = arena_alloc(a, sizeof *whole);
    *whole = val_map();
    val_set(a, whole, N(matchLabels), selector ? val_copy(a, selector) : val_map());
    return whole;
}

/* The list as the pod has it, with or without the one. The patch is bound to the revision of this list. */
static void finalizer_change(struct plan *out, struct action *patch, const struct obj *pod, struct str finalizer,
                             bool wanted)
{
    struct arena *a = &out->arena;
    struct val list = val_list();
    if (finalizer.n == 0)
        return;
    val_each_item (it, val_get(obj_meta(pod), N(finalizers)))
        if (!str_eq(val_text(it), finalizer))
            val_add(a, &list, val_copy(a, it));
    if (wanted)
        val_add(a, &list, val_str(a, finalizer));
    val_set(a, val_need_map(a, &patch->body, N(metadata)), N(finalizers), list);
}

bool children_claim(const struct view *v, const struct obj *owner, bool (*wants)(const struct obj *pod),
                    struct plan *out, struct children *c)
{
    struct selector *selector;
    struct err err = ERR;
    if (!selector_of(&out->arena, selector_value(&out->arena, owner), &selector, &err)) {
        plan_why(out, "spec.selector: %s", err.text);
        return false;
    }
    struct obj *pod;
    for (struct objset_iter it = view_with(v, K(Pod), &index_controller, owner->uid); (pod = objset_next(&it));) {
        if (selector_matches(selector, obj_labels(pod)))
            array_push(&c->mine, pod);
        else if (!obj_deleting(owner))
            finalizer_change(out, plan_release(out, pod, owner), pod, c->finalizer, false);
    }
    if (!obj_deleting(owner))
        for (struct objset_iter it = view_with(v, K(Pod), &index_orphans, owner->ns); (pod = objset_next(&it));)
            if ((wants ? wants(pod) : pod_is_active(pod)) && selector_matches(selector, obj_labels(pod))) {
                finalizer_change(out, plan_adopt(out, pod, owner), pod, c->finalizer, true);
                array_push(&c->mine, pod);
            }
    array_each (it, &c->mine) {
        if (pod_is_active(*it))
            array_push(&c->active, *it);
        else if (obj_deleting(*it) && !pod_is_over(*it))
            c->terminating++;
    }
    return true;
}

struct val pod_of_template(struct plan *out, const struct obj *owner, const struct val *template)
{
    struct arena *a = &out->arena;
    const struct val *from = val_get(template, N(metadata));
    struct val pod = val_map();
    struct val *meta = val_set(a, &pod, N(metadata), val_map());
    const struct name *const kept[] = {N(labels), N(annotations), N(finalizers)};
    for (size_t i = 0; i < countof(kept); i++)
        if (val_get(from, kept[i]))
            val_set(a, meta, kept[i], val_copy(a, val_get(from, kept[i])));
    struct val owners = val_list();
    val_add(a, &owners, owner_ref(a, owner));
    val_set(a, meta, N(ownerReferences), owners);
    if (val_get(template, N(spec)))
        val_set(a, &pod, N(spec), val_copy(a, val_get(template, N(spec))));
    return pod;
}

struct str child_name(struct arena *a, struct str prefix, struct str seed, int64_t n)
{
    return arena_fmt(a, STR_FMT STR_FMT, STR_ARG(str_sub(prefix, 0, 58)), STR_ARG(name_suffix(a, seed, n)));
}

void children_create(const struct view *v, const struct obj *owner, const struct val *template, size_t n,
                     void (*each)(void *arg, struct plan *out, size_t i, struct val *pod), void *arg,
                     struct plan *out)
{
    struct arena *a = &out->arena;
    struct str prefix = arena_fmt(a, STR_FMT "-", STR_ARG(owner->name));
    struct str seed = arena_fmt(a, STR_FMT "/%lld", STR_ARG(owner->uid), (long long)owner->rev);
    int64_t salt = 0;
    for (size_t made = 0, batch = 1, left = 1; made < n;) {
        struct val pod = pod_of_template(out, owner, template);
        val_set_text(a, val_need_map(a, &pod, N(metadata)), N(generateName), prefix);
        if (each)
            each (arg, out, made, &pod)
                ;
        struct str begin = val_text_at(&pod, N(metadata), N(generateName)), name;
        do
            name = child_name(a, begin, seed, salt++);
        while (view_get(v, K(Pod), owner->ns, name));
        struct action *act = plan_create(out, K(Pod), owner->ns, name, pod);
        act->done = plan_event_of(out, owner, "Normal", "SuccessfulCreate", "Created pod: " STR_FMT, STR_ARG(name));
        act->failed = plan_event_of(out, owner, "Warning", "FailedCreate", "Error creating: ");
        made++;
        if (--left == 0 && made < n) {
            left = batch *= 2;
            plan_step(out);
        }
    }
}

struct action *child_delete(struct plan *out, const struct obj *owner, const struct obj *pod)
{
    struct action *a = plan_delete(out, pod);
    a->done = plan_event_of(out, owner, "Normal", "SuccessfulDelete", "Deleted pod: " STR_FMT, STR_ARG(pod->name));
    a->failed = plan_event_of(out, owner, "Warning", "FailedDelete", "Error deleting: ");
    return a;
}

static bool selector_takes(const struct obj *owner, const struct obj *pod)
{
    const struct val *selector = val_get(obj_spec(owner), N(selector));
    if (owner->kind != K(ReplicationController))
        return label_selector_matches(selector, obj_labels(pod));
    val_each_member (it, selector)
        if (!val_equal(val_get_str(obj_labels(pod), it->name->s), &it->v))
            return false;
    return val_len(selector) > 0;
}

void keys_of_child(const struct view *v, const struct obj *was, const struct obj *now, const struct kind *owner,
                   keys_add_fn *add, void *arg)
{
    keys_of_controller(v, was, now, owner, add, arg);
    if (!now || obj_controller(now))
        return;
    struct obj *o;
    for (struct objset_iter it = view_with(v, owner, &index_namespace, now->ns); (o = objset_next(&it));)
        if (selector_takes(o, now))
            add(arg, o->ns, o->name);
}
