/* crds.h - definitions (CustomResourceDefinition) as the server keeps them: from what is stored to the kinds that are
 * served, and what holds between a definition and its instances.
 *
 * No instance is stored without its definition: one that is made asks for it when it is put, and the last deletion of
 * a definition takes what is left of its instances along. The store's loop. */
#pragma once
#include "server/write.h"

struct crds;
struct crds *crds_new(struct server *s);
void crds_free(struct crds *c);
/* As server_options.kinds: what is stored at the start. */
const struct kind_set *crds_stored(struct crds *c, const struct store_snapshot *have);
/* As this is kept what is stored of a definition that is not there, or cannot be served (it was made by a newer
 * server, say): nobody sees it, and it is there again with its definition. */
extern const struct kind kind_undefined;
bool crds_undefined(struct kind_publisher *p, struct str resource); /* what is stored at RESOURCE/... may be so */
/* A commit; crds_publish at its end. NULL: it was not, or is no more. */
void crds_changed(struct crds *c, const struct obj *was, const struct obj *now);
void crds_publish(struct crds *c);

/* --- of a write of an instance --- */

/* It may be made: its definition is there and stays; false: answered. */
MUST_USE bool crds_take(struct request *r);
void crds_put(struct write *w);      /* one that was not there is on its way to the store ... */
void crds_put_over(struct write *w); /* ... and is there, or is not */
/* Who converts instances to this kind (conversion.h); borrowed. NULL: nobody; beta: in reviews of v1beta1. */
struct outbound *crds_hook(struct server *s, const struct kind *k, bool *beta);

/* The rules in CEL of its definition, over an instance; `schema_errors_block` of what was found before is asked. */
void crds_rules(const struct kind *k, const struct val *v, const struct val *old, struct field_errors *e);

/* --- of a deletion of a definition --- */

/* It may be told to go: it is not protected; and what that means is said. False: answered. */
MUST_USE bool crds_may_go(struct request *r, const struct obj *definition);
/* Marks it: deleted, held by the finalizer, terminating. */
void crds_mark(struct request *r, struct val *definition);
/* It goes for good with this write: its instances go before it. False: some are being made; answered. */
MUST_USE bool crds_leave(struct write *w);
