/* Empties a namespace that is being deleted, then lets it go, and says on it what still stands in the way.
 * Upstream: pkg/controller/namespace. */
#include "control/manager.h"

static void condition_add(struct plan *out, const struct view *v, const struct val *old, struct val *list,
                          const char *type, bool bad, const char *reason, struct str message)
{
    struct arena *a = &out->arena;
    const struct val *had = val_find(old, N(type), str_of(type));
    bool same = had && str_eqz(val_text_at(had, N(status)), bad ? "True" : "False") &&
                str_eqz(val_text_at(had, N(reason)), reason) && str_eq(val_text_at(had, N(message)), message);
    if (same) {
        val_add(a, list, val_copy(a, had));
        return;
    }
    struct condition c = {.type = type, .status = bad ? "True" : "False", .reason = reason, .message = message};
    val_add(a, list, condition_make(a, &c, NULL, v->now)); /* upstream: the time moves with reason and message, too */
}

struct remains {
    ARRAY(struct str) kinds, finalizers; /* "pods. has 2 resource instances" */
    size_t total;
    struct map by_finalizer;
};

static int by_text(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

static struct str texts_join(struct arena *a, struct str *texts, size_t n)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    if (n)
        qsort(texts, n, sizeof *texts, by_text);
    for (size_t i = 0; i < n; i++)
        strbuf_addf(&b, "%s" STR_FMT, i ? ", " : "", STR_ARG(texts[i]));
    return str_dup(a, strbuf_str(&b));
}

static void kind_remains(const struct view *v, const struct kind *k, struct str ns, struct plan *out,
                         struct remains *r)
{
    size_t n = 0;
    bool fresh = false;
    struct obj *o;
    for (struct objset_iter it = view_with(v, k, &index_namespace, ns); (o = objset_next(&it)); n++) {
        fresh |= !obj_deleting(o);
        val_each_item (f, val_get(obj_meta(o), N(finalizers)))
            map_put(&r->by_finalizer, val_text(f), (void *)((intptr_t)map_get(&r->by_finalizer, val_text(f)) + 1));
    }
    if (n == 0)
        return;
    r->total += n;
    array_push(&r->kinds, arena_fmt(&out->arena, STR_FMT "." STR_FMT " has %zu resource instances",
                                    STR_ARG(k->plural), STR_ARG(k->group), n));
    if (fresh)
        plan_delete_all(out, k, ns)->propagation = PROPAGATION_BACKGROUND;
}

static void status_plan(const struct view *v, const struct obj *ns, struct plan *out, struct remains *r)
{
    struct arena *a = &out->arena;
    map_each (it, &r->by_finalizer)
        array_push(&r->finalizers,
                   arena_fmt(a, STR_FMT " in %d resource instances", STR_ARG(it->key), (int)(intptr_t)it->value));
    struct str kinds_text = texts_join(a, r->kinds.p, r->kinds.n),
               held_text = texts_join(a, r->finalizers.p, r->finalizers.n);
    struct val tree = plan_edit(out, ns), list = val_list(), *status = val_need_map(a, &tree, N(status));
    const struct val *old = val_get(obj_status(ns), N(conditions));
    condition_add(out, v, old, &list, "NamespaceDeletionDiscoveryFailure", false, "ResourcesDiscovered",
                  S("All resources successfully discovered"));
    condition_add(out, v, old, &list, "NamespaceDeletionGroupVersionParsingFailure", false, "ParsedGroupVersions",
                  S("All legacy kube types successfully parsed"));
    if (v->trouble.n > 0)
        condition_add(
            out, v, old, &list, "NamespaceDeletionContentFailure", true, "ContentDeletionFailed",
            arena_fmt(a, "Failed to delete all resource types, 1 remaining: " STR_FMT, STR_ARG(v->trouble)));
    else
        condition_add(out, v, old, &list, "NamespaceDeletionContentFailure", false, "ContentDeleted",
                      S("All content successfully deleted, may be waiting on finalization"));
    condition_add(out, v, old, &list, "NamespaceContentRemaining", true, "SomeResourcesRemain",
                  arena_fmt(a, "Some resources are remaining: " STR_FMT, STR_ARG(kinds_text)));
    bool held = r->finalizers.n > 0;
    condition_add(
        out, v, old, &list, "NamespaceFinalizersRemaining", held,
        held ? "SomeFinalizersRemain" : "ContentHasNoFinalizers",
        held ? arena_fmt(a, "Some content in the namespace has finalizers remaining: " STR_FMT, STR_ARG(held_text))
             : S("All content-preserving finalizers finished"));
    val_set(a, status, N(conditions), list);
    plan_update(out, ns, S("status"), tree);
    plan_why(out, "%zu objects remain: " STR_FMT, r->total, STR_ARG(kinds_text));
}

static void namespace_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct obj *ns = view_get(v, K(Namespace), S(""), key.name);
    const struct val *finalizers = ns ? val_get(obj_spec(ns), N(finalizers)) : NULL;
    bool ours = false;
    val_each_item (it, finalizers)
        ours |= str_eqz(val_text(it), "kubernetes");
    if (!ns || !obj_deleting(ns) || !ours)
        return;
    struct remains r = {0};
    kind_remains(v, K(Pod), ns->name, out, &r); /* first: what they use goes when they are gone */
    bool pods = r.total > 0;
    const struct kind_set *set = view_kinds(v);
    for (size_t i = 0; i < set->n && !pods; i++)
        if (set->kinds[i]->namespaced && v->sets[set->kinds[i]->id])
            kind_remains(v, set->kinds[i], ns->name, out, &r);
    if (r.total == 0 && v->settling) {
        plan_again(out, v->now + NS_PER_S);
    } else if (r.total > 0) {
        status_plan(v, ns, out, &r);
    } else {
        /* nobody watches events; they have no finalizers, so one call takes them all */
        plan_delete_all(out, K(Event), ns->name);
        plan_step(out);
        struct arena *a = &out->arena;
        struct val tree = plan_edit(out, ns), rest = val_list();
        val_each_item (it, finalizers)
            if (!str_eqz(val_text(it), "kubernetes"))
                val_add(a, &rest, val_copy(a, it));
        val_set(a, val_need_map(a, &tree, N(spec)), N(finalizers), rest);
        plan_update(out, ns, S("finalize"), tree);
    }
    array_fini(&r.kinds);
    array_fini(&r.finalizers);
    map_fini(&r.by_finalizer);
}

/* Content matters only once its namespace is going. */
static void keys_of_content(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                            void *arg)
{
    const struct obj *o = now ? now : was, *ns = o->ns.n > 0 ? view_get(v, K(Namespace), S(""), o->ns) : NULL;
    if (ns && obj_deleting(ns))
        add(arg, S(""), ns->name);
}

static const struct controller_watch watches[] = {{K(Namespace), keys_self}, {0}};
const struct controller namespace_controller = {
    .name = "namespace",
    .component = "namespace-controller",
    .account = "namespace-controller",
    .watches = watches,
    .any = keys_of_content,
    .plan = namespace_plan,
};
