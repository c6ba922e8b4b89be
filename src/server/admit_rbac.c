#include "api/codec.h"
#include "server/admit.h"
#include "server/fail.h"
#include "server/int.h"
#include "server/rbac.h"

/* Nobody hands out what they do not have (upstream: the policybased registries of rbac.authorization.k8s.io): rules
 * need the verb `escalate`, references to roles the verb `bind`, or the rights themselves. */

static bool user_may(struct admission *x, const char *verb, struct str resource, struct str ns, struct str name)
{
    struct attributes q = {.user = x->r->user,
                           .verb = str_of(verb),
                           .group = S("rbac.authorization.k8s.io"),
                           .version = S("v1"),
                           .resource = resource,
                           .ns = ns,
                           .name = name,
                           .is_resource = true};
    struct str why;
    return rbac_allows(x->r->server, &x->r->arena, &q, &why);
}

static bool admission_refuse(struct admission *x, struct strbuf *missing)
{
    struct request *r = x->r;
    AUTO(strbuf_fini) struct strbuf groups = STRBUF(STRBUF_TEXT);
    for (size_t i = 0; i < r->user->ngroups; i++)
        strbuf_addf(&groups, "%s\"" STR_FMT "\"", i ? " " : "", STR_ARG(r->user->groups[i]));
    struct str rules = strbuf_str(missing);
    while (rules.n && rules.p[rules.n - 1] == '\n')
        rules.n--;
    struct str was = r->name;
    r->name = x->name;
    fail_forbidden(r,
                   "user \"" STR_FMT "\" (groups=[" STR_FMT
                   "]) is attempting to grant RBAC permissions not currently held:\n" STR_FMT,
                   STR_ARG(r->user->name), STR_ARG(strbuf_str(&groups)), STR_ARG(rules));
    r->name = was;
    return false;
}

/* What the garbage collector changes to be rid of an object gives nobody anything. Whatever else is written - a label
 * that has the rules collected into another role, say - hands the rules out anew. */
static bool only_for_the_collector(struct admission *x)
{
    if (!x->old)
        return false;
    struct arena *a = &x->r->arena;
    const struct name *const theirs[] = {N(ownerReferences), N(finalizers), N(managedFields), N(resourceVersion)};
    struct val was = val_copy(a, x->old), now = val_copy(a, x->obj);
    for (size_t i = 0; i < countof(theirs); i++) {
        (void)val_del(val_get_mut(&was, N(metadata)), theirs[i]); /* absent is as good */
        (void)val_del(val_get_mut(&now, N(metadata)), theirs[i]);
    }
    return val_equal(&was, &now);
}

/* A role that collects may come to hold anything, and what somebody else takes out of it comes back: who makes one,
 * or touches one that is, must have all rights. */
static bool may_aggregate(struct admission *x)
{
    if (!val_get(x->obj, N(aggregationRule)) && !(x->old && val_get(x->old, N(aggregationRule))))
        return true;
    static const char all[] = "[{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"]},"
                              "{\"verbs\":[\"*\"],\"nonResourceURLs\":[\"*\"]}]";
    struct request *r = x->r;
    AUTO(strbuf_fini) struct strbuf missing = STRBUF(STRBUF_TEXT);
    struct val rules;
    struct err err = ERR;
    ASSERT(json_decode(&r->arena, str_of(all), &rules, &err));
    if (rbac_covers(r->server, &r->arena, r->user, x->ns, &rules, &missing))
        return true;
    struct str was = r->name;
    r->name = x->name;
    (void)fail_forbidden(r, "must have cluster-admin privileges to use the aggregationRule");
    r->name = was;
    return false;
}

bool admit_escalation(struct admission *x)
{
    struct request *r = x->r;
    if (user_in_group(r->user, S("system:masters")) || only_for_the_collector(x))
        return true;
    /* as upstream: a new role has no name in its URL yet, so a right on some names does not reach it */
    if (user_may(x, "escalate", r->resource, x->ns, x->old ? x->name : S("")))
        return true;
    AUTO(strbuf_fini) struct strbuf missing = STRBUF(STRBUF_TEXT);
    if (!rbac_covers(r->server, &r->arena, r->user, x->ns, val_get(x->obj, N(rules)), &missing))
        return admission_refuse(x, &missing);
    return may_aggregate(x);
}

bool admit_binding_escalation(struct admission *x)
{
    struct request *r = x->r;
    if (user_in_group(r->user, S("system:masters")) || only_for_the_collector(x))
        return true;
    const struct val *ref = val_get(x->obj, N(roleRef));
    bool role = str_eq(val_text_at(ref, N(kind)), S("Role"));
    if (user_may(x, "bind", role ? S("roles") : S("clusterroles"), x->ns, val_text_at(ref, N(name))))
        return true;
    AUTO(obj_unref) struct obj *keep = NULL;
    const struct val *rules = rbac_role_rules(r->server, ref, x->ns, &keep);
    if (!keep)
        return fail_named_not_found(r, S("rbac.authorization.k8s.io"), role ? S("roles") : S("clusterroles"),
                                    val_text_at(ref, N(name)));
    AUTO(strbuf_fini) struct strbuf missing = STRBUF(STRBUF_TEXT);
    return rbac_covers(r->server, &r->arena, r->user, x->ns, rules, &missing) || admission_refuse(x, &missing);
}
