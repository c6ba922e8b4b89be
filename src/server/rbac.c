#include "server/rbac.h"
#include "server/fail.h"
#include "server/int.h"
#include "server/rbac_int.h"
#include <stdatomic.h>

enum {
    STEPS_MOST = 1000000, /* texts of rules that one decision looks at: some ten milliseconds */
    BINDING_STEPS = 100,  /* what a binding and its role cost, whatever is in them */
    SUBJECT_STEPS = 10,   /* and a user or group, whether bound or not */
    PROBLEMS_MOST = 2000, /* bytes of what is told of bindings without a role */
};

/* --- rules --- */

static bool lists_or_all(const struct val *list, struct str s)
{
    return val_has_text(list, S("*")) || val_has_text(list, s);
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
           (!val_len(only) || (x->name.n && val_has_text(only, x->name)));
}

/* What a look at it costs. */
static size_t rule_steps(const struct val *rule)
{
    return 1 + val_len(val_get(rule, N(verbs))) + val_len(val_get(rule, N(nonResourceURLs))) +
           val_len(val_get(rule, N(apiGroups))) + val_len(val_get(rule, N(resources))) +
           val_len(val_get(rule, N(resourceNames)));
}

/* --- the index: who is named in which namespace by which binding --- */

/* NS "\n" SUBJECT "\n" NAME. A subject may hold anything, so where it ends is said beside it; a namespace may not, so
 * whoever may write bindings in one is in nobody's way elsewhere. */
struct grant {
    _Atomic(uint32_t) refs;
    uint32_t ns_n, subject_n, key_n;
    char key[];
};
struct rbac {
    pthread_mutex_t lock;
    struct pmap grants; /* changed by the store's loop, read by any thread */
};

static struct str grant_key(const void *item)
{
    const struct grant *g = item;
    return (struct str){g->key, g->key_n};
}

static struct str grant_name(const struct grant *g)
{
    return str_sub(grant_key(g), g->ns_n + g->subject_n + 2, g->key_n);
}

static void grant_ref(void *item)
{
    struct grant *g = item;
    atomic_fetch_add_explicit(&g->refs, 1, memory_order_relaxed);
}

static void grant_unref(void *item)
{
    struct grant *g = item;
    if (g && atomic_fetch_sub_explicit(&g->refs, 1, memory_order_acq_rel) == 1)
        mem_free(g);
}

static const struct pmap_type grant_type = {.key = grant_key, .ref = grant_ref, .unref = grant_unref};

struct rbac *rbac_new(void)
{
    struct rbac *r = NEW(struct rbac);
    pthread_mutex_init(&r->lock, NULL);
    pmap_init(&r->grants, &grant_type);
    return r;
}

void rbac_free(struct rbac *r)
{
    if (!r)
        return;
    pmap_fini(&r->grants);
    pthread_mutex_destroy(&r->lock);
    mem_free(r);
}

/* "u:NAME", "g:NAME"; "": nobody that we know. */
static struct str subject_of(struct arena *a, const struct obj *binding, const struct val *subject)
{
    struct str kind = val_text_at(subject, N(kind)), name = val_text_at(subject, N(name));
    if (str_eq(kind, S("User")))
        return STR_JOIN(a, S("u:"), name);
    if (str_eq(kind, S("Group")))
        return STR_JOIN(a, S("g:"), name);
    struct str ns = val_get(subject, N(namespace)) ? val_text_at(subject, N(namespace)) : binding->ns;
    return str_eq(kind, S("ServiceAccount")) ? STR_JOIN(a, S("u:system:serviceaccount:"), ns, S(":"), name) : S("");
}

static struct str key_of(struct arena *a, struct str ns, struct str subject, struct str name)
{
    return STR_JOIN(a, ns, S("\n"), subject, S("\n"), name);
}

static void grants_set(struct rbac *r, const struct obj *binding, bool there)
{
    val_each_item (it, val_get(&binding->tree, N(subjects))) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct str subject = subject_of(&a, binding, it), key = key_of(&a, binding->ns, subject, binding->name);
        if (!subject.n)
            continue;
        if (!there) {
            grant_unref(pmap_del(&r->grants, key));
            continue;
        }
        struct grant *g = mem_alloc(sizeof *g + key.n);
        atomic_init(&g->refs, 1);
        g->subject_n = (uint32_t)subject.n;
        g->ns_n = (uint32_t)binding->ns.n;
        g->key_n = (uint32_t)key.n;
        memcpy(g->key, key.p, key.n);
        grant_unref(pmap_put(&r->grants, g));
    }
}

void rbac_changed(struct rbac *r, const struct obj *was, const struct obj *now)
{
    const struct kind *k = (now ? now : was)->kind;
    if (k != K(RoleBinding) && k != K(ClusterRoleBinding))
        return;
    if (was && now && val_equal(val_get(&was->tree, N(subjects)), val_get(&now->tree, N(subjects))))
        return;
    pthread_mutex_lock(&r->lock);
    if (was)
        grants_set(r, was, false);
    if (now)
        grants_set(r, now, true);
    pthread_mutex_unlock(&r->lock);
}

static struct pmap grants_take(struct server *s)
{
    pthread_mutex_lock(&s->rbac->lock);
    struct pmap m = pmap_snapshot(&s->rbac->grants);
    pthread_mutex_unlock(&s->rbac->lock);
    return m;
}

/* --- deciding --- */

/* Calls fn for each role bound to the user that counts in the namespace ("" : cluster-wide only); false stops. So do
 * more steps than one decision has, of which fn may add its own. */
typedef bool role_fn(void *arg, const struct obj *binding, const struct val *rules, struct str subject,
                     struct str problem);

static bool each_binding(struct server *s, const struct pmap *grants, struct arena *a, struct str subject,
                         struct str ns, size_t *steps, role_fn *fn, void *arg)
{
    struct str from = key_of(a, ns, subject, S(""));
    struct pmap_iter it;
    for (const struct grant *g = pmap_seek(&it, grants, from); g && str_starts(grant_key(g), from);
         g = pmap_next(&it)) {
        ++*steps;
        if (g->ns_n != ns.n || g->subject_n != subject.n)
            continue; /* another subject, which begins as this one with an end does */
        if ((*steps += BINDING_STEPS) > STEPS_MOST)
            return false;
        AUTO(obj_unref)
        struct obj *binding = object_get(s, ns.n ? K(RoleBinding) : K(ClusterRoleBinding), ns, grant_name(g));
        if (!binding)
            continue;
        const struct val *ref = val_get(&binding->tree, N(roleRef));
        AUTO(obj_unref) struct obj *role = NULL;
        const struct val *rules = rbac_role_rules(s, ref, binding->ns, &role);
        struct str problem = STR_NONE;
        if (!role)
            problem = arena_fmt(a, STR_FMT ".rbac.authorization.k8s.io \"" STR_FMT "\" not found",
                                STR_ARG(str_eq(val_text_at(ref, N(kind)), S("Role")) ? S("role") : S("clusterrole")),
                                STR_ARG(val_text_at(ref, N(name))));
        if (!fn(arg, binding, rules, str_sub(subject, 2, subject.n), problem))
            return false;
    }
    return true;
}

/* First those of the whole cluster, then those of the namespace; of the user before those of groups. */
static void each_role(struct server *s, struct arena *a, const struct user *u, struct str ns, size_t *steps,
                      role_fn *fn, void *arg)
{
    AUTO(pmap_fini) struct pmap grants = grants_take(s);
    bool more = true;
    for (size_t i = 0; more && i <= u->ngroups; i++) {
        struct str subject = i ? STR_JOIN(a, S("g:"), u->groups[i - 1]) : STR_JOIN(a, S("u:"), u->name);
        if (i && str_eq(u->groups[i - 1], S("system:nodes")) && !node_of(u).p)
            continue; /* who has no node's name is none: nothing would keep them to what is theirs */
        *steps += SUBJECT_STEPS;
        more = *steps <= STEPS_MOST && each_binding(s, &grants, a, subject, S(""), steps, fn, arg) &&
               (!ns.n || each_binding(s, &grants, a, subject, ns, steps, fn, arg));
    }
}

const struct val *rbac_role_rules(struct server *s, const struct val *ref, struct str ns, struct obj **keep)
{
    bool role = str_eq(val_text_at(ref, N(kind)), S("Role"));
    *keep = object_get(s, role ? K(Role) : K(ClusterRole), role ? ns : S(""), val_text_at(ref, N(name)));
    return *keep ? val_get(&(*keep)->tree, N(rules)) : NULL;
}

struct rbac_asking {
    const struct attributes *x;
    struct arena *a;
    size_t steps;
    bool allowed;
    struct str why;
    struct strbuf problems;
};

static struct str permission_text(const struct rbac_asking *k, const struct obj *binding, struct str subject)
{
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
    return arena_fmt(k->a, "RBAC: allowed by " STR_FMT " \"" STR_FMT "\" of " STR_FMT " \"" STR_FMT "\" to " STR_FMT,
                     STR_ARG(binding->kind->kind), STR_ARG(where), STR_ARG(val_text_at(ref, N(kind))),
                     STR_ARG(val_text_at(ref, N(name))), STR_ARG(who));
}

static bool rules_ask(void *arg, const struct obj *binding, const struct val *rules, struct str subject,
                      struct str problem)
{
    struct rbac_asking *k = arg;
    if (problem.n) {
        if (k->problems.n < PROBLEMS_MOST && !str_has(strbuf_str(&k->problems), problem))
            strbuf_addf(&k->problems, "%s" STR_FMT, k->problems.n ? ", " : "", STR_ARG(problem));
        return true;
    }
    val_each_item (rule, rules) {
        k->steps += rule_steps(rule);
        if (k->steps > STEPS_MOST)
            return false;
        if (!rule_matches(rule, k->x))
            continue;
        if (k->x->explains)
            k->why = permission_text(k, binding, subject);
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
    struct rbac_asking k = {.x = x, .a = a, .problems = STRBUF(STRBUF_TEXT)};
    each_role(s, a, x->user, x->ns, &k.steps, rules_ask, &k);
    if (!k.allowed && node_of(x->user).p) {
        /* nodes have the role system:node without a binding, as upstream's Node authorizer gives it */
        AUTO(obj_unref) struct obj *role = object_get(s, K(ClusterRole), S(""), S("system:node"));
        val_each_item (rule, role ? val_get(&role->tree, N(rules)) : NULL)
            k.allowed |= rule_matches(rule, x) && (!node_limited(x) || node_uses(s, x));
        /* the role has them read once; a pod that waits for its claim is told of it as it changes */
        k.allowed |= node_follows(x) && node_uses(s, x);
    }
    if (k.allowed)
        *why = k.why.n ? k.why : S("node: allowed by ClusterRole \"system:node\"");
    else if (k.steps > STEPS_MOST)
        *why = arena_fmt(
            a,
            "RBAC: this user is bound more often than %d times, or the roles say more than %d verbs, groups, "
            "resources and names, and those that were looked at do not allow it",
            STEPS_MOST / BINDING_STEPS, STEPS_MOST);
    else if (k.problems.n)
        *why = arena_fmt(a, "RBAC: %s", k.problems.p);
    strbuf_fini(&k.problems);
    return k.allowed;
}

struct collecting {
    size_t steps;
    void (*fn)(void *arg, const struct val *rule);
    void *arg;
};

static bool rules_collect(void *arg, const struct obj *binding UNUSED, const struct val *rules,
                          struct str subject UNUSED, struct str problem UNUSED)
{
    struct collecting *c = arg;
    val_each_item (rule, rules)
        c->fn(c->arg, rule);
    return true;
}

bool rbac_each_rule(struct server *s, const struct user *u, struct str ns,
                    void (*fn)(void *arg, const struct val *rule), void *arg)
{
    AUTO(arena_fini) struct arena a = ARENA;
    if (user_in_group(u, S("system:masters"))) {
        AUTO(obj_unref) struct obj *role = object_get(s, K(ClusterRole), S(""), S("cluster-admin"));
        val_each_item (rule, role ? val_get(&role->tree, N(rules)) : NULL)
            fn(arg, rule);
    }
    struct collecting c = {.fn = fn, .arg = arg};
    each_role(s, &a, u, ns, &c.steps, rules_collect, &c);
    return c.steps <= STEPS_MOST;
}

/* --- requests --- */

bool request_forbid(struct request *r, const struct attributes *x, struct str why)
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

struct attributes request_attributes(const struct request *r)
{
    return (struct attributes){.user = r->user,
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
}

bool request_authorize(struct request *r)
{
    struct attributes x = request_attributes(r);
    struct str why;
    if (rbac_allows(r->server, &r->arena, &x, &why)) {
        r->why = why.n ? why : S("system:masters");
        return true;
    }
    return request_forbid(r, &x, why);
}
