/* regex_pcre.h - patterns of RE2's syntax written in PCRE2's, for HAProxy, which matches them within a longer text of
 * bytes: the pattern stays within what it is about, whatever its sets and dots would take. Pure.
 *
 * What is written is made from the parsed pattern: no white space, no line break, no anchor and no unescaped letter
 * of the user's is in it, so nothing breaks out of a group around it. */
#pragma once
#include "base/err.h"

enum regex_field {
    REGEX_FIELD_PATH,   /* of a URI, between two "?"; what no URI holds stands as %XX */
    REGEX_FIELD_HEADER, /* a header's value, between ": " and "\r" */
    REGEX_FIELD_QUERY, /* a query argument's value, between "=" and "&"; each character may stand as %XX, a space as +
                        */
};
/* fold: case is ignored. groups: how many the pattern has; they are groups in a PATH alone; may be NULL. */
MUST_USE bool regex_pcre_add(struct strbuf *b, struct str pattern, enum regex_field where, bool fold,
                             unsigned *groups, struct err *err);
void regex_pcre_add_text(struct strbuf *b, struct str text, enum regex_field where, bool fold);
