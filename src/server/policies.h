/* policies.h - admission policies (admissionregistration.k8s.io/v1): expressions that a cluster asks before a write.
 * A ValidatingAdmissionPolicy refuses or warns, a MutatingAdmissionPolicy changes the object; each only through its
 * bindings, which narrow it and name its parameters. Rows of admission, beside webhooks (webhook.h).
 *
 * Policies are kept compiled. A write that none is about pays for looking at their rules, and nothing where there is
 * none. The store's loop. */
#pragma once
#include "api/rules.h"
#include "server/admit.h"

struct policies;
struct policies *policies_new(struct server *s) __attribute__((returns_nonnull));
void policies_free(struct policies *p); /* after all writes */
/* An object was committed: was or now may be NULL. Other kinds are let pass. */
void policies_changed(struct policies *p, const struct obj *was, const struct obj *now);

/* May who writes a policy or a binding read the parameters that it names? Else whoever may write policies could find
 * out what stands in objects that are closed to him. Other kinds are let pass. */
void policies_authorize(struct request *r, const struct val *tree, const struct val *old, struct field_errors *e);

/* As of webhooks: a mutating policy has changed the object; the rows begin for the second time. */
bool policies_changed_it(const struct admission *x);
void policies_once_more(struct admission *x);
