/* match.h - what is asked of a write by those that are configured: webhooks, policies and their bindings. Which
 * writes they are about, and what they are shown of one. The store's loop. */
#pragma once
#include "cel/policy.h"
#include "server/admit.h"
#include "server/rbac.h"

struct selector;

/* Which writes are meant: rules (with names of resources, where these are a policy's), selectors. */
struct match {
    const struct val *rules, *excluded;
    struct selector *namespaces, *objects;
    bool equivalent; /* other versions and groups of the same objects, too */
    bool every;      /* of a binding without rules: all that its policy is about */
};
/* Of a webhook, or of a policy's matchConstraints; `v` lives as long, selectors go into the arena. */
struct match match_of(struct arena *a, const struct val *v, const struct val *rules);

enum matched { DOES_NOT_MATCH, MATCHES, MATCH_FAILED }; /* failed: the request is answered */
/* *as: the kind as which the object is shown, since the rule names it. */
enum matched match_asks(const struct match *m, const struct admission *x, const struct val *obj,
                        const struct val *old, const struct kind **as);

/* --- what is shown --- */

/* False: what is written is a part with a body of its own (a Scale, a Binding ...). */
bool match_is_whole(const struct admission *x);
/* A tree as another kind of the same objects. In the request's arena; false, here and below: the request is answered,
 * or a webhook of its definition has to convert something first, and the step runs again (write_as). */
MUST_USE bool match_as(const struct admission *x, const struct kind *from, const struct kind *to,
                       const struct val *tree, const struct val **out);
/* The object and what it was, of the request's kind; NULL: none. */
MUST_USE bool match_objects(const struct admission *x, const struct val **obj, const struct val **old);
/* The same as another kind. */
MUST_USE bool match_sees(const struct admission *x, const struct kind *as, const struct val *obj,
                         const struct val *old, const struct val **obj_seen, const struct val **old_seen);

/* What expressions are told. */
struct match_facts {
    struct cel_admission told;
    struct val request;
    struct cel_authorizer authorizer;
    struct admission *x;
};
MUST_USE bool match_facts_of(struct match_facts *f, struct admission *x, const struct kind *as, const struct val *obj,
                             const struct val *old);
