#include "server/rbac.h"
#include "server/fail.h"
#include "server/int.h"
#include "server/rbac_int.h"

/* --- rules --- */

static bool lists(const struct val *list, struct str s)
{
    val_each_item (it, list)
        if (str_eq(val_text(it), s))
            return true;
    return false;
}

static bool lists_or_all(const struct val *list, struct str s)
{
    return lists(list, S("*")) || lists(list, s);
}

static bool resource_matches(const struct val *resources, struct str resource, struct str sub)
{
    val_each_item (it, resources) {
        struct str r = val_text(it), head, tail;
        if (str_eq(r, S("*")))
            return true;
        if (!str_split(r, '/', &head, &tail)) {
            if (!sub.n && str_eq(r, resource))
                return true;
        } else if (str_eq(tail, sub) && sub.n && (str_eq(head, resource) || str_eq(head, S("*")))) {
            return true;
        }
    }
    return false;
}

static bool url_matches(const struct val *urls, struct str path)
{
    val_each_item (it, urls) {
        struct str u = val_text(it);
        if (str_eq(u, S("*")) || str_eq(u, path) ||
            (u.n && u.p[u.n - 1] == '*' && str_starts(path, str_sub(u, 0, u.n - 1))))
            return true;
    }
    return false;
}

bool rule_matches(const struct val *rule, const struct attributes *x)
{
    if (!lists_or_all(val_get(rule, N(verbs)), x->verb))
        return false;
    if (!x->is_resource)
        return url_matches(val_get(rule, N(nonResourceURLs)), x->path);
    const struct val *only = val_get(rule, N(resourceNames));
    return lists_or_all(val_get(rule, N(apiGroups)), x->group) &&
           resource_matches(val_get(rule, N(resources)), x->resource, x->sub) &&
           (!val_len(only) || (x->name.n && lists(only, x->name)));
}

/* --- the index: subject -> bindings --- */

struct bound {
    ARRAY(struct obj *) bindings; /* referenced by the index's snapshot */
};
struct rbac_index {
    int refs;
    uint64_t generation;
    struct store_snapshot snap; /* keeps the bindings */
    struct map subjects;        /* "u:NAME", "g:NAME" -> struct bound */
};
struct rbac {
    pthread_mutex_t lock;
    struct rbac_index *index;
    uint64_t generation; /* atomic: of roles and bindings */
};

struct rbac *rbac_new(void)
{
    struct rbac *r = NEW(struct rbac);
    pthread_mutex_init(&r->lock, NULL);
    r->generation = 1;
    return r;
}

static void index_unref(struct rbac_index *x)
{
    if (!x || __atomic_sub_fetch(&x->refs, 1, __ATOMIC_ACQ_REL))
        return;
    map_each (it, &x->subjects) {
        struct bound *b = it->value;
        array_fini(&b->bindings);
        mem_free(b);
    }
    map_fini(&x->subjects);
    store_snapshot_fini(&x->snap);
    mem_free(x);
}

void rbac_free(struct rbac *r)
{
    if (!r)
        return;
    index_unref(r->index);
    pthread_mutex_destroy(&r->lock);
    mem_free(r);
}

void rbac_changed(struct rbac *r)
{
    __atomic_add_fetch(&r->generation, 1, __ATOMIC_RELEASE);
}

/* Of the index. Texts are whole, whatever bytes are in them. */
static struct str subject_key(struct arena *a, char kind, struct str name)
{
    char *p = arena_alloc(a, name.n + 3);
    p[0] = kind;
    p[1] = ':';
    if (name.n)
        memcpy(p + 2, name.p, name.n);
    p[name.n + 2] = 0;
    return (struct str){p, name.n + 2};
}

static void index_add(struct rbac_index *x, struct arena *a, struct obj *binding)
{
    val_each_item (it, val_get(&binding->tree, N(subjects))) {
        struct str kind = val_text_at(it, N(kind)), name = val_text_at(it, N(name)), key;
        if (str_eq(kind, S("User")))
            key = subject_key(a, 'u', name);
        else if (str_eq(kind, S("Group")))
            key = subject_key(a, 'g', name);
        else if (str_eq(kind, S("ServiceAccount")))
            key = arena_fmt(a, "u:system:serviceaccount:" STR_FMT ":" STR_FMT,
                            STR_ARG(val_get(it, N(namespace)) ? val_text_at(it, N(namespace)) : binding->ns),
                            STR_ARG(name));
        else
            continue;
        struct bound *b = map_get(&x->subjects, key);
        if (!b) {
            b = NEW(struct bound);
            map_put(&x->subjects, key, b);
        }
        if (!b->bindings.n || b->bindings.p[b->bindings.n - 1] != binding)
            array_push(&b->bindings, binding);
    }
}

static struct rbac_index *index_take(struct server *s)
{
    struct rbac *r = s->rbac;
    uint64_t now = __atomic_load_n(&r->generation, __ATOMIC_ACQUIRE);
    pthread_mutex_lock(&r->lock);
    if (!r->index || r->index->generation != now) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct rbac_index *x = NEW(struct rbac_index);
        x->refs = 1;
        x->generation = now;
        x->snap = objects_snapshot(s);
        const struct kind *kinds_of[] = {K(ClusterRoleBinding), K(RoleBinding)};
        for (size_t i = 0; i < countof(kinds_of); i++) {
            struct store_iter it;
            for (struct store_entry *e = store_first(&it, &x->snap, object_prefix(&a, kinds_of[i]), STR_NONE); e;
                 e = store_next(&it))
                index_add(x, &a, object_of(e));
        }
        index_unref(r->index);
        r->index = x;
    }
    struct rbac_index *x = r->index;
    __atomic_add_fetch(&x->refs, 1, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&r->lock);
    return x;
}

/* --- deciding --- */

/* Calls fn for each role bound to the user that counts in the namespace ("" : cluster-wide only); false stops. */
typedef bool role_fn(void *arg, const struct obj *binding, const struct val *rules, struct str subject,
                     struct str problem);

static bool each_binding(struct server *s, struct rbac_index *x, struct arena *a, struct str subject_key,
                         struct str ns, role_fn *fn, void *arg)
{
    struct bound *b = map_get(&x->subjects, subject_key);
    for (size_t i = 0; b && i < b->bindings.n; i++) {
        struct obj *binding = b->bindings.p[i];
        if (binding->kind == K(RoleBinding) && !(ns.n && str_eq(binding->ns, ns)))
            continue;
        const struct val *ref = val_get(&binding->tree, N(roleRef));
        AUTO(obj_unref) struct obj *role = NULL;
        const struct val *rules = rbac_role_rules(s, ref, binding->ns, &role);
        struct str problem = STR_NONE;
        if (!role)
            problem = arena_fmt(a, STR_FMT ".rbac.authorization.k8s.io \"" STR_FMT "\" not found",
                                STR_ARG(str_eq(val_text_at(ref, N(kind)), S("Role")) ? S("role") : S("clusterrole")),
                                STR_ARG(val_text_at(ref, N(name))));
        if (!fn(arg, binding, rules, str_sub(subject_key, 2, subject_key.n), problem))
            return false;
    }
    return true;
}

static void each_role(struct server *s, struct arena *a, const struct user *u, struct str ns, role_fn *fn, void *arg)
{
    struct rbac_index *x = index_take(s);
    bool more = each_binding(s, x, a, subject_key(a, 'u', u->name), ns, fn, arg);
    for (size_t i = 0; more && i < u->ngroups; i++)
        /* who has no node's name is none: nothing would keep them to what is theirs */
        if (!str_eq(u->groups[i], S("system:nodes")) || node_of(u).p)
            more = each_binding(s, x, a, subject_key(a, 'g', u->groups[i]), ns, fn, arg);
    index_unref(x);
}

const struct val *rbac_role_rules(struct server *s, const struct val *ref, struct str ns, struct obj **keep)
{
    bool role = str_eq(val_text_at(ref, N(kind)), S("Role"));
    *keep = object_get(s, role ? K(Role) : K(ClusterRole), role ? ns : S(""), val_text_at(ref, N(name)));
    return *keep ? val_get(&(*keep)->tree, N(rules)) : NULL;
}

struct asking {
    const struct attributes *x;
    struct arena *a;
    bool allowed;
    struct str why;
    struct strbuf problems;
};

static bool ask(void *arg, const struct obj *binding, const struct val *rules, struct str subject, struct str problem)
{
    struct asking *k = arg;
    if (problem.n) {
        if (!str_has(strbuf_str(&k->problems), problem))
            strbuf_addf(&k->problems, "%s" STR_FMT, k->problems.n ? ", " : "", STR_ARG(problem));
        return true;
    }
    val_each_item (rule, rules) {
        if (!rule_matches(rule, k->x))
            continue;
        const struct val *ref = val_get(&binding->tree, N(roleRef));
        struct str where = binding->ns.n
                               ? arena_fmt(k->a, STR_FMT "/" STR_FMT, STR_ARG(binding->name), STR_ARG(binding->ns))
                               : binding->name;
        bool group = !str_eq(subject, k->x->user->name);
        static const char account[] = "system:serviceaccount:";
        struct str ns, name, who;
        if (group)
            who = arena_fmt(k->a, "Group \"" STR_FMT "\"", STR_ARG(subject));
        else if (str_starts(subject, str_of(account)) &&
                 str_split(str_sub(subject, sizeof account - 1, subject.n), ':', &ns, &name))
            who = arena_fmt(k->a, "ServiceAccount \"" STR_FMT "/" STR_FMT "\"", STR_ARG(name), STR_ARG(ns));
        else
            who = arena_fmt(k->a, "User \"" STR_FMT "\"", STR_ARG(subject));
        k->why = arena_fmt(k->a,
                           "RBAC: allowed by " STR_FMT " \"" STR_FMT "\" of " STR_FMT " \"" STR_FMT "\" to " STR_FMT,
                           STR_ARG(binding->kind->kind), STR_ARG(where), STR_ARG(val_text_at(ref, N(kind))),
                           STR_ARG(val_text_at(ref, N(name))), STR_ARG(who));
        k->allowed = true;
        return false;
    }
    return true;
}

bool rbac_allows(struct server *s, struct arena *a, const struct attributes *x, struct str *why)
{
    *why = S("");
    if (user_in_group(x->user, S("system:masters")))
        return true;
    if (!node_reaches(s, a, x, why))
        return false;
    struct asking k = {.x = x, .a = a, .problems = STRBUF(STRBUF_TEXT)};
    each_role(s, a, x->user, x->ns, ask, &k);
    if (!k.allowed && node_of(x->user).p) {
        /* nodes have the role system:node without a binding, as upstream's Node authorizer gives it */
        AUTO(obj_unref) struct obj *role = object_get(s, K(ClusterRole), S(""), S("system:node"));
        val_each_item (rule, role ? val_get(&role->tree, N(rules)) : NULL)
            k.allowed |= rule_matches(rule, x) && (!node_limited(x) || node_uses(s, x));
    }
    if (k.allowed)
        *why = k.why.n ? k.why : S("node: allowed by ClusterRole \"system:node\"");
    else if (k.problems.n)
        *why = arena_fmt(a, "RBAC: %s", k.problems.p);
    strbuf_fini(&k.problems);
    return k.allowed;
}

struct collecting {
    void (*fn)(void *arg, const struct val *rule);
    void *arg;
};

static bool collect(void *arg, const struct obj *binding UNUSED, const struct val *rules, struct str subject UNUSED,
                    struct str problem UNUSED)
{
    struct collecting *c = arg;
    val_each_item (rule, rules)
        c->fn(c->arg, rule);
    return true;
}

void rbac_each_rule(struct server *s, const struct user *u, struct str ns,
                    void (*fn)(void *arg, const struct val *rule), void *arg)
{
    AUTO(arena_fini) struct arena a = ARENA;
    if (user_in_group(u, S("system:masters"))) {
        AUTO(obj_unref) struct obj *role = object_get(s, K(ClusterRole), S(""), S("cluster-admin"));
        val_each_item (rule, role ? val_get(&role->tree, N(rules)) : NULL)
            fn(arg, rule);
    }
    struct collecting c = {fn, arg};
    each_role(s, &a, u, ns, collect, &c);
}

/* --- requests --- */

bool forbid(struct request *r, const struct attributes *x, struct str why)
{
    struct arena *a = &r->arena;
    const char *sep = why.n ? ": " : "";
    if (!x->is_resource) {
        fail_plain(r, 403, "forbidden: User \"" STR_FMT "\" cannot " STR_FMT " path \"" STR_FMT "\"%s" STR_FMT,
                   STR_ARG(x->user->name), STR_ARG(x->verb), STR_ARG(x->path), sep, STR_ARG(why));
        r->answer.fail.reason = "Forbidden";
        r->answer.fail.details = true;
        return false;
    }
    struct str what = x->sub.n ? arena_fmt(a, STR_FMT "/" STR_FMT, STR_ARG(x->resource), STR_ARG(x->sub))
                               : x->resource;
    struct str where = x->ns.n ? arena_fmt(a, "in the namespace \"" STR_FMT "\"", STR_ARG(x->ns))
                               : S("at the cluster scope");
    struct str named = x->group.n ? arena_fmt(a, STR_FMT "." STR_FMT, STR_ARG(x->resource), STR_ARG(x->group))
                                  : x->resource;
    if (x->name.n)
        named = arena_fmt(a, STR_FMT " \"" STR_FMT "\"", STR_ARG(named), STR_ARG(x->name));
    fail_plain(r, 403,
               STR_FMT " is forbidden: User \"" STR_FMT "\" cannot " STR_FMT " resource \"" STR_FMT
                       "\" in API group \"" STR_FMT "\" " STR_FMT "%s" STR_FMT,
               STR_ARG(named), STR_ARG(x->user->name), STR_ARG(x->verb), STR_ARG(what), STR_ARG(x->group),
               STR_ARG(where), sep, STR_ARG(why));
    struct failure *f = &r->answer.fail;
    f->reason = "Forbidden";
    f->details = true;
    f->name = x->name;
    f->group = x->group;
    f->kind = x->resource;
    return false;
}

bool authorize(struct request *r)
{
    struct attributes x = {.user = r->user,
                           .verb = r->verb_text,
                           .group = r->group,
                           .version = r->version,
                           .resource = r->resource,
                           .sub = r->sub,
                           .ns = r->ns,
                           .name = r->name,
                           .is_resource = r->resource.n > 0,
                           .path = r->path,
                           .fields = r->options.field_selector};
    struct str why;
    if (rbac_allows(r->server, &r->arena, &x, &why)) {
        r->why = why.n ? why : S("system:masters");
        return true;
    }
    return forbid(r, &x, why);
}
