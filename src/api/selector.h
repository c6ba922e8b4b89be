/* selector.h - label and field selectors. Text form as in ?labelSelector=, object form as metav1.LabelSelector. */
#pragma once
#include "api/tree.h"

/* Requirements of one, and in text values of one of them: far above what anybody writes. */
#define SELECTOR_MAX 256
struct selector; /* immutable, in its arena */
/* "a=b,c!=d,e in (x,y),!f"; empty text selects everything. Errors with upstream's texts. At most 256 requirements,
 * and 256 values in any requirement of any selector: E_BAD_REQUEST. */
MUST_USE bool selector_parse(struct arena *a, struct str text, struct selector **out, struct err *err);
/* metav1.LabelSelector: NULL selects nothing, an empty one everything. */
MUST_USE bool selector_of(struct arena *a, const struct val *label_selector, struct selector **out, struct err *err);
/* A plain map (Service spec.selector); NULL or empty selects nothing. */
struct selector *selector_of_map(struct arena *a, const struct val *map);
bool selector_matches(const struct selector *s, const struct val *labels);
/* The same of what stands in an object, without making one of it: for who asks many of them about few labels. What is
 * no selector, as none is that was let in, selects nothing. */
bool label_selector_matches(const struct val *label_selector, const struct val *labels);
bool selector_map_matches(const struct val *map, const struct val *labels);
size_t selector_size(const struct selector *s); /* requirements; NULL: none */
bool selector_is_everything(const struct selector *s);
void selector_text(const struct selector *s, struct strbuf *out); /* canonical, as status.selector shows it */
/* "metadata.name=x,spec.nodeName!=y": terms for the server to look up. */
struct field_term {
    struct str path, value;
    bool equal;
};
MUST_USE bool field_selector_parse(struct arena *a, struct str text, struct field_term **terms, size_t *n,
                                   struct err *err);
