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

/* All mutating rows have run: true where they have to run once more, since a webhook changed the object after
 * another that wants to see that (reinvocationPolicy). At most once. */
bool webhooks_once_more(struct admission *x);
