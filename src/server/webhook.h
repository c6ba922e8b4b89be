/* webhook.h - admission webhooks (admissionregistration.k8s.io/v1): servers elsewhere that are asked before a write,
 * mutating ones one after another and validating ones all at once. A row of admission each (admit.c); what they are
 * told and may answer stands in review.h, how they are reached in outbound.h.
 *
 * The configurations are kept compiled; those of them that a request began with may be gone before its end. The
 * store's loop. */
#pragma once
#include "server/admit.h"

struct webhooks;
struct webhooks *webhooks_new(struct server *s) __attribute__((returns_nonnull));
void webhooks_free(struct webhooks *w); /* after all writes */
/* An object was committed: was or now may be NULL. Kinds that are no configurations are let pass. */
void webhooks_changed(struct webhooks *w, const struct obj *was, const struct obj *now);

/* All mutating rows have run, and a webhook has changed the object: so they run once more, for those that want to see
 * what others did after them (reinvocationPolicy). */
bool webhooks_changed_it(const struct admission *x);
void webhooks_once_more(struct admission *x); /* they begin for the second time */
