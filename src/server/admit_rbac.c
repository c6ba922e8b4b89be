#include "server/admit.h"
#include "server/fail.h"
#include "server/int.h"
#include "server/rbac.h"

/* Nobody hands out what they do not have (upstream: the policybased registries of rbac.authorization.k8s.io): rules
 * need the verb `escalate`, references to roles the verb `bind`, or the rights themselves. */

static bool may(struct admission *x, const char *verb, struct str resource, struct str ns, struct str name)
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

static bool refuse(struct admission *x, struct strbuf *missing)
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

bool admit_escalation(struct admission *x)
{
    struct request *r = x->r;
    const struct val *rules = val_get(x->obj, N(rules));
    if (r->internal || user_in_group(r->user, S("system:masters")))
        return true;
    if (x->old && val_equal(rules, val_get(x->old, N(rules))) &&
        val_equal(val_get(x->obj, N(aggregationRule)), val_get(x->old, N(aggregationRule))))
        return true;
    if (may(x, "escalate", r->resource, x->ns, x->name))
        return true;
    AUTO(strbuf_fini) struct strbuf missing = STRBUF(STRBUF_TEXT);
    return rbac_covers(r->server, &r->arena, r->user, x->ns, rules, &missing) || refuse(x, &missing);
}

bool admit_binding_escalation(struct admission *x)
{
    struct request *r = x->r;
    if (r->internal || user_in_group(r->user, S("system:masters")))
        return true;
    if (x->old && val_equal(val_get(x->obj, N(subjects)), val_get(x->old, N(subjects))) &&
        val_equal(val_get(x->obj, N(roleRef)), val_get(x->old, N(roleRef))))
        return true;
    const struct val *ref = val_get(x->obj, N(roleRef));
    bool role = str_eq(val_text_at(ref, N(kind)), S("Role"));
    if (may(x, "bind", role ? S("roles") : S("clusterroles"), x->ns, val_text_at(ref, N(name))))
        return true;
    AUTO(obj_unref) struct obj *keep = NULL;
    const struct val *rules = rbac_role_rules(r->server, ref, x->ns, &keep);
    if (!keep)
        return fail_named_not_found(r, S("rbac.authorization.k8s.io"), role ? S("roles") : S("clusterroles"),
                                    val_text_at(ref, N(name)));
    AUTO(strbuf_fini) struct strbuf missing = STRBUF(STRBUF_TEXT);
    return rbac_covers(r->server, &r->arena, r->user, x->ns, rules, &missing) || refuse(x, &missing);
}
