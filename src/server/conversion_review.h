/* conversion_review.h - ConversionReview (apiextensions.k8s.io/v1 and v1beta1): what a conversion webhook is asked,
 * and its answer, judged as upstream does. Pure. */
#pragma once
#include "api/tree.h"

struct conversion_review {
    struct str uid;
    bool beta;                        /* v1beta1, whose answers are looked at less closely */
    struct str api_version;           /* as which the objects are wanted */
    const struct val *const *objects; /* with apiVersion, kind and metadata */
    size_t n;                         /* at least one */
};
void conversion_review_write(struct strbuf *b, const struct conversion_review *v);
/* All of the objects, in their order, in the arena: of metadata only labels and annotations are the webhook's. False:
 * upstream's sentence, "conversion webhook for GROUP/VERSION, Kind=KIND ...". */
MUST_USE bool conversion_review_read(struct arena *a, const struct conversion_review *v, struct str body,
                                     struct val *out, struct err *err);
/* The beginning of such a sentence, for what went wrong before there was an answer. */
void conversion_failed(const struct val *object, const char *why, struct err *err);
