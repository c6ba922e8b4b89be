/* read.h - selecting objects: label and field selectors of a request, and where a list goes on. */
#pragma once
#include "api/selector.h"
#include "server/request.h"

struct filter {
    struct selector *labels; /* NULL: everything */
    struct field_term *terms;
    size_t nterms;
    struct str name; /* metadata.name=: one key is enough; n 0: none */
};
/* Of the request's options; false: answered with 400. */
MUST_USE bool filter_of(struct request *r, struct filter *out);
/* From texts that live as long as the arena. */
MUST_USE bool filter_parse(struct request *r, struct arena *a, struct str labels, struct str fields,
                           struct filter *out);
bool filter_is_everything(const struct filter *f);
bool filter_matches(const struct filter *f, const struct kind *k, const struct obj *o);
/* A resourceVersion of a query: "" and "0" give 0. False: answered with `code`. */
MUST_USE bool revision_of(struct request *r, struct str text, int code, int64_t *out);
/* Answers with the object of the request's names, as its kind; what it is answered with is the caller's. */
void read_object(struct request *r, void (*answer)(struct request *r, struct obj *o));
