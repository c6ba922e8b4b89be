/* review.h - AdmissionReview (admission.k8s.io/v1 and v1beta1): what a webhook is asked, and its answer. Pure. */
#pragma once
#include "server/admit.h"

/* What is asked, in the version of the object that the webhook wants. */
struct review {
    const struct admission *x;
    const struct kind *as;       /* the resource's kind there; the request's own where nothing is converted */
    const struct val *obj, *old; /* of that kind, or what is asked of it; NULL: none */
    const struct val *managed, *old_managed; /* managedFields that are shown in them; NULL: none */
    struct str uid;
    bool beta; /* v1beta1 */
};
/* The type of what is asked about: of the kind, or of a Scale, a Binding ... by the names it has in it. */
const struct type *review_type(const struct kind *k, const struct val *obj);
const char *review_operation(unsigned verb); /* "CREATE", "CONNECT" ... */
/* The AdmissionRequest, without object and oldObject; as the conditions of a webhook see it. */
struct val review_request(struct arena *a, const struct review *v);
void review_write(struct strbuf *b, const struct review *v);
/* The object as it is shown. */
struct val review_shown(struct arena *a, const struct val *obj, const struct val *managed);

/* The first version of a review that a webhook takes and we speak is v1beta1. */
bool review_wants_beta(const struct val *versions);
/* A body says what it is: a KIND of GROUP/...; its version. False: upstream's words for what else it is. */
MUST_USE bool review_head(struct arena *a, struct str body, const char *kind, struct str group, struct str *version,
                          struct err *err);

struct review_answer {
    bool allowed;
    struct val response;     /* AdmissionResponse, in the arena */
    const struct val *patch; /* RFC 6902; NULL: none */
    const char *what;        /* of one that is none: what upstream says before the reason */
};
/* False: it is none, and why, as upstream words it. */
MUST_USE bool review_read(struct arena *a, const struct review *v, bool mutating, struct str body,
                          struct review_answer *out, struct err *err);
