/* rbac.h - who may do what: RBAC (rbac.authorization.k8s.io/v1), deny by default, with an index from subjects to the
 * bindings that name them. Any thread: works on snapshots. */
#pragma once
#include "server/request.h"

/* What is asked; for a path only verb and path. */
struct attributes {
    const struct user *user;
    struct str verb, group, version, resource, sub, ns, name;
    bool is_resource;
    struct str path;
    bool explains;     /* why it is allowed is wanted, too, not only why it is not */
    struct str fields; /* of a list or watch: its field selector, which is what it reads by; "" none */
};
/* Whether it is allowed; `why` gets the reason (in a) of a refusal, where there is something to say, and
 * where x explains that of a permission. */
bool rbac_allows(struct server *s, struct arena *a, const struct attributes *x, struct str *why);
struct attributes request_attributes(const struct request *r);
/* Of a request; refused: answered with upstream's 403 (or 401 for nobody). */
MUST_USE bool request_authorize(struct request *r);
bool request_forbid(struct request *r, const struct attributes *x, struct str why); /* false; the 403 */

/* May this user hand out these rules (privilege escalation)? The missing ones are listed in `missing`. */
MUST_USE bool rbac_covers(struct server *s, struct arena *a, const struct user *u, struct str ns,
                          const struct val *rules, struct strbuf *missing);
/* The same against a list of own rules. Pure. */
MUST_USE bool rbac_covered_by(struct arena *a, const struct val *own, const struct val *rules,
                              struct strbuf *missing);
/* The rules of the role that a roleRef names; NULL: it does not exist. Lives as long as *keep, which the caller
 * drops. */
const struct val *rbac_role_rules(struct server *s, const struct val *role_ref, struct str ns, struct obj **keep);
/* The rules that hold for a user in a namespace; false: there are more, which are not looked at. */
bool rbac_each_rule(struct server *s, const struct user *u, struct str ns,
                    void (*fn)(void *arg, const struct val *rule), void *arg);
bool rule_matches(const struct val *rule, const struct attributes *x);
