/* Definitions (CustomResourceDefinition): which of their names are accepted, so that they are established and the
 * server serves them; and their end, when the instances go first. Upstream: k8s.io/apiextensions-apiserver,
 * pkg/controller (status, establish, apiapproval, finalizer).
 *
 * Names are accepted a group at a time: a key of the first controller is a group, so that no two of its definitions
 * take a name at once, and of those that want the same the older one has it. */
#include "api/custom.h"
#include "control/manager.h"

/* --- names --- */

static void index_group_keys(const struct obj *o, void (*add)(void *arg, struct str key), void *arg)
{
    add(arg, val_text_at(obj_spec(o), N(group)));
}
const struct objindex index_group = {.name = "group", .keys = index_group_keys};

/* What is taken in a group: resources by plural, singular and short names, kinds by themselves and their lists; each
 * to the definition that has it, or to a text for what is built in. */
struct taken {
    struct map resources, kinds;
};
static const char built_in[] = "built in";

static void taken_add(struct map *m, struct str name, const void *whose)
{
    if (name.n && !map_get(m, name))
        (void)map_put(m, name, (void *)(uintptr_t)whose);
}

static void taken_accepted(struct taken *t, const struct val *called, const void *whose)
{
    taken_add(&t->resources, val_text_at(called, N(plural)), whose);
    taken_add(&t->resources, val_text_at(called, N(singular)), whose);
    val_each_item (it, val_get(called, N(shortNames)))
        taken_add(&t->resources, val_text(it), whose);
    taken_add(&t->kinds, val_text_at(called, N(kind)), whose);
    taken_add(&t->kinds, val_text_at(called, N(listKind)), whose);
}

static void taken_built_in(struct taken *t, struct str group)
{
    for (size_t i = 0; i < nkinds; i++) {
        const struct kind *k = kinds[i];
        if (!str_eq(k->group, group))
            continue;
        taken_add(&t->resources, k->plural, built_in);
        taken_add(&t->resources, k->singular, built_in);
        for (size_t n = 0; k->short_names && k->short_names[n]; n++)
            taken_add(&t->resources, str_of(k->short_names[n]), built_in);
        taken_add(&t->kinds, k->kind, built_in);
        taken_add(&t->kinds, k->list_kind, built_in);
    }
}

static void taken_fini(struct taken *t)
{
    map_fini(&t->resources);
    map_fini(&t->kinds);
}

/* One definition on its way to its conditions. */
struct naming {
    struct arena *a;
    const struct val *wanted, *accepted;
    struct val names; /* that are accepted now */
    const char *reason;
    struct str message;
};

static void name_conflicts(struct naming *n, const char *reason, struct str message)
{
    n->reason = reason; /* the last one is told, as upstream does */
    n->message = message;
}

/* Kept as it was where the name is another's. */
static void name_take(struct naming *n, const struct map *taken, const struct name *field, const char *reason)
{
    struct str want = val_text(val_get(n->wanted, field)), have = val_text(val_get(n->accepted, field));
    if (!str_eq(want, have) && map_get(taken, want)) {
        name_conflicts(n, reason, arena_fmt(n->a, "\"" STR_FMT "\" is already in use", STR_ARG(want)));
        if (val_get(n->accepted, field))
            val_set(n->a, &n->names, field, val_str(n->a, have));
    } else {
        val_set(n->a, &n->names, field, val_str(n->a, want));
    }
}

static void shorts_take(struct naming *n, const struct map *taken)
{
    const struct val *want = val_get(n->wanted, N(shortNames)), *have = val_get(n->accepted, N(shortNames));
    ARRAY(struct str) bad = {0};
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    val_each_item (it, want)
        if (!val_has_text(have, val_text(it)) && map_get(taken, val_text(it)))
            array_push(&bad, val_text(it));
    const struct val *now = bad.n ? have : want;
    if (val_len(now))
        val_set(n->a, &n->names, N(shortNames), val_copy(n->a, now));
    for (size_t i = 0; i < bad.n; i++)
        strbuf_addf(&b, "%s\"" STR_FMT "\" is already in use", i ? ", " : bad.n > 1 ? "[" : "", STR_ARG(bad.p[i]));
    if (bad.n > 1)
        strbuf_addc(&b, ']');
    if (bad.n)
        name_conflicts(n, "ShortNamesConflict", str_dup(n->a, strbuf_str(&b)));
    array_fini(&bad);
}

static struct naming names_take(struct arena *a, const struct taken *t, const struct obj *definition)
{
    struct naming n = {.a = a,
                       .wanted = val_get(obj_spec(definition), N(names)),
                       .accepted = val_get(obj_status(definition), N(acceptedNames)),
                       .names = val_map()};
    name_take(&n, &t->resources, N(plural), "PluralConflict");
    name_take(&n, &t->resources, N(singular), "SingularConflict");
    shorts_take(&n, &t->resources);
    name_take(&n, &t->kinds, N(kind), "KindConflict");
    name_take(&n, &t->kinds, N(listKind), "ListKindConflict");
    const struct val *categories = val_get(n.wanted, N(categories));
    if (val_len(categories))
        val_set(a, &n.names, N(categories), val_copy(a, categories));
    return n;
}

/* Groups of the project's own want somebody's approval, which an annotation names. */
static bool approval_of(struct arena *a, const struct obj *definition, struct condition *c)
{
    struct str group = val_text_at(obj_spec(definition), N(group));
    bool protected = str_eqz(group, "k8s.io") || str_ends(group, S(".k8s.io")) || str_eqz(group, "kubernetes.io") ||
                     str_ends(group, S(".kubernetes.io"));
    if (!protected)
        return false;
    struct str says = obj_note(definition, "api-approved.kubernetes.io");
    *c = (struct condition){.type = "KubernetesAPIApprovalPolicyConformant", .status = "False"};
    ptrdiff_t scheme = str_find(says, S("://"));
    bool url = scheme > 0 && (size_t)scheme + 3 < says.n && says.p[scheme + 3] != '/' && str_find_char(says, ' ') < 0;
    if (!says.n) {
        c->reason = "MissingAnnotation";
        c->message = S("protected groups must have approval annotation \"api-approved.kubernetes.io\", see "
                       "https://github.com/kubernetes/enhancements/pull/1111");
    } else if (str_starts(says, S("unapproved"))) {
        c->reason = "UnapprovedAnnotation";
        c->message = arena_fmt(a, "not approved: \"" STR_FMT "\"", STR_ARG(says));
    } else if (url) {
        c->status = "True";
        c->reason = "ApprovedAnnotation";
        c->message = arena_fmt(a, "approved in " STR_FMT, STR_ARG(says));
    } else {
        c->reason = "InvalidAnnotation";
        c->message = S(
            "protected groups must have approval annotation \"api-approved.kubernetes.io\" with either a URL "
            "or a reason starting with \"unapproved\", see "
            "https://github.com/kubernetes/enhancements/pull/1111");
    }
    return true;
}

static void condition_keep(struct arena *a, struct val *status, const struct condition *c, int64_t now)
{
    const struct val *was = condition_get(status, c->type);
    if (was && str_eqz(val_text_at(was, N(status)), c->status) && str_eqz(val_text_at(was, N(reason)), c->reason) &&
        str_eq(val_text_at(was, N(message)), c->message))
        return;
    struct val made = condition_make(a, c, was, now), *place = condition_get_mut(status, c->type);
    if (place)
        *place = made;
    else
        val_add(a,
                val_is(val_get(status, N(conditions)), VAL_LIST) ? val_get_mut(status, N(conditions))
                                                                 : val_set(a, status, N(conditions), val_list()),
                made);
}

static void names_plan_one(const struct view *v, const struct obj *definition, const struct taken *t,
                           struct plan *out)
{
    struct arena *a = &out->arena;
    struct naming n = names_take(a, t, definition);
    struct val tree = plan_edit_status(out, definition), *status = val_need_map(a, &tree, N(status));
    struct condition accepted = {.type = "NamesAccepted",
                                 .status = n.reason ? "False" : "True",
                                 .reason = n.reason ? n.reason : "NoConflicts",
                                 .message = n.reason ? n.message : S("no conflicts found")};
    struct condition established = {.type = "Established",
                                    .status = n.reason ? "False" : "True",
                                    .reason = n.reason ? "NotAccepted" : "InitialNamesAccepted",
                                    .message = n.reason ? S("not all names are accepted")
                                                        : S("the initial names have been accepted")};
    struct condition approval;
    val_set(a, status, N(acceptedNames), n.names);
    condition_keep(a, status, &accepted, v->now);
    if (!definition_is(definition, "Established")) /* once it is, it stays so: its first names serve on */
        condition_keep(a, status, &established, v->now);
    if (approval_of(a, definition, &approval))
        condition_keep(a, status, &approval, v->now);
    plan_update(out, definition, S("status"), tree);
    if (n.reason)
        plan_why(out, "%s: " STR_FMT, n.reason, STR_ARG(n.message));
}

static int by_age(const void *x, const void *y)
{
    const struct obj *const *a = x, *const *b = y;
    int c = str_cmp(val_text_at(obj_meta(*a), N(creationTimestamp)), val_text_at(obj_meta(*b), N(creationTimestamp)));
    return c ? c : str_cmp((*a)->name, (*b)->name);
}

static void crdnames_plan(const struct view *v, struct key key, struct plan *out)
{
    ARRAY(const struct obj *) all = {0};
    struct taken taken = {0};
    struct obj *o;
    for (struct objset_iter it = view_with(v, K(CustomResourceDefinition), &index_group, key.name);
         (o = objset_next(&it));)
        array_push(&all, o);
    if (all.n)
        qsort(all.p, all.n, sizeof *all.p, by_age);
    taken_built_in(&taken, key.name);
    array_each (it, &all)
        taken_accepted(&taken, val_get(obj_status(*it), N(acceptedNames)), *it);
    array_each (it, &all) {
        if (obj_deleting(*it))
            continue;
        struct naming n = names_take(&out->arena, &taken, *it);
        names_plan_one(v, *it, &taken, out);
        taken_accepted(&taken, &n.names, *it); /* for the younger ones */
    }
    array_fini(&all);
    taken_fini(&taken);
}

static void keys_of_group(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                          void *arg)
{
    (void)v;
    add(arg, S(""), val_text_at(obj_spec(now ? now : was), N(group)));
}

static const struct controller_watch names_watches[] = {{K(CustomResourceDefinition), keys_of_group}, {0}};
const struct controller crdnames_controller = {
    .name = "crdnames",
    .component = "crd-naming-controller",
    .account = "crd-controller",
    .watches = names_watches,
    .plan = crdnames_plan,
};

/* --- the end --- */

#define CHECK_AFTER (60 * NS_PER_S) /* upstream polls as long, and then says that it could not confirm */

static bool has_cleanup(const struct obj *definition)
{
    return val_has_text(val_get(obj_meta(definition), N(finalizers)), S(CUSTOM_CLEANUP));
}

static void terminating_plan(const struct view *v, struct plan *out, const struct obj *definition, const char *status,
                             const char *reason, struct str message)
{
    struct arena *a = &out->arena;
    struct val tree = plan_edit_status(out, definition);
    struct condition c = {.type = "Terminating", .status = status, .reason = reason, .message = message};
    condition_keep(a, val_need_map(a, &tree, N(status)), &c, v->now);
    if (str_eqz(str_of(status), "False")) {
        struct val rest = val_list(), *meta = val_need_map(a, &tree, N(metadata));
        val_each_item (it, val_get(obj_meta(definition), N(finalizers)))
            if (!str_eqz(val_text(it), CUSTOM_CLEANUP))
                val_add(a, &rest, val_copy(a, it));
        if (val_len(&rest))
            val_set(a, meta, N(finalizers), rest);
        else
            val_del(meta, N(finalizers));
    }
    plan_update(out, definition, S("status"), tree);
}

static const struct kind *instances_of(const struct view *v, const struct obj *definition)
{
    const struct kind_set *set = view_kinds(v);
    for (size_t i = nkinds; i < set->n; i++) {
        const struct kind *k = set->kinds[i];
        if (k->custom && str_eq(k->custom->definition, definition->name))
            return kind_watched(set, k);
    }
    return NULL;
}

static void instances_plan(const struct view *v, const struct obj *definition, const struct kind *k, struct plan *out)
{
    struct arena *a = &out->arena;
    struct map told = {0};
    size_t n = 0;
    struct str holder = STR_NONE;
    struct obj *o;
    for (struct objset_iter it = view_all(v, k); (o = objset_next(&it)); n++) {
        if (!obj_deleting(o) && !map_get(&told, o->ns)) {
            (void)map_put(&told, o->ns, o);
            plan_delete_all(out, k, o->ns)->propagation = PROPAGATION_BACKGROUND;
        }
        if (!holder.n)
            holder = val_text(val_item(val_get(obj_meta(o), N(finalizers)), 0));
    }
    map_fini(&told);
    const struct val *terminating = condition_get(obj_status(definition), "Terminating");
    int64_t since = 0;
    if (!n) {
        terminating_plan(v, out, definition, "False", "InstanceDeletionCompleted", S("removed all instances"));
        return;
    }
    plan_why(out, "%zu objects of kind " STR_FMT " remain%s" STR_FMT, n, STR_ARG(k->kind),
             holder.n ? ", held by the finalizer " : "", STR_ARG(holder));
    if (v->trouble.n) {
        terminating_plan(v, out, definition, "True", "InstanceDeletionFailed",
                         arena_fmt(a, "could not issue all deletes: " STR_FMT, STR_ARG(v->trouble)));
    } else if (time_parse(val_text_at(terminating, N(lastTransitionTime)), &since) && v->now - since >= CHECK_AFTER) {
        terminating_plan(v, out, definition, "True", "InstanceDeletionCheck",
                         S("could not confirm zero CustomResources remaining: timed out waiting for the condition"));
    } else {
        plan_again(out, since + CHECK_AFTER);
    }
}

/* The first write says that it has begun; when that is seen, our set of instances is as new as it, and nobody makes
 * any from then on. */
static void crdfinalizer_plan(const struct view *v, struct key key, struct plan *out)
{
    const struct obj *definition = view_get(v, K(CustomResourceDefinition), S(""), key.name);
    if (!definition || !obj_deleting(definition) || !has_cleanup(definition))
        return;
    const struct val *terminating = condition_get(obj_status(definition), "Terminating");
    struct str reason = val_text_at(terminating, N(reason));
    const struct kind *k = instances_of(v, definition);
    if (!definition_is(definition, "Established"))
        terminating_plan(v, out, definition, "False", "NeverEstablished", S("resource was never established"));
    else if (!reason.n || str_eqz(reason, "InstanceDeletionPending"))
        terminating_plan(v, out, definition, "True", "InstanceDeletionInProgress",
                         S("CustomResource deletion is in progress"));
    else if (!k) /* none of its versions is served: what is stored goes with it */
        terminating_plan(v, out, definition, "False", "InstanceDeletionCompleted", S("removed all instances"));
    else if (v->settling || !v->sets[k->id])
        plan_again(out, v->now + NS_PER_S / 10);
    else
        instances_plan(v, definition, k, out);
}

static void keys_of_definition(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                               void *arg)
{
    (void)v, (void)was;
    if (now && obj_deleting(now))
        add(arg, S(""), now->name);
}

/* An instance matters once its definition is going. */
static void keys_of_instance(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add,
                             void *arg)
{
    const struct custom *c = (now ? now : was)->kind->custom;
    const struct obj *definition = c ? view_get(v, K(CustomResourceDefinition), S(""), c->definition) : NULL;
    if (definition && obj_deleting(definition))
        add(arg, S(""), definition->name);
}

static const struct controller_watch finalizer_watches[] = {{K(CustomResourceDefinition), keys_of_definition}, {0}};
const struct controller crdfinalizer_controller = {
    .name = "crdfinalizer",
    .component = "crd-finalizer",
    .account = "crd-controller",
    .watches = finalizer_watches,
    .any = keys_of_instance,
    .plan = crdfinalizer_plan,
};
