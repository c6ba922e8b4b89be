/* regex.h - regular expressions as Go's regexp.Compile takes them (RE2's syntax), for it is their syntax in which the
 * API's patterns and CEL's expressions are written. Matching takes time in proportion to the text, whatever the
 * pattern: at most REGEX_INSTS_MAX steps a character, and for all but a few patterns one. Pure.
 *
 * A compiled pattern never changes and may be used by any thread. Matching takes memory in proportion to the pattern
 * and gives it back. A byte that is not UTF-8 counts as U+FFFD. Of several matches at one place the one that a
 * backtracking search would come to first is meant (leftmost-first, as Go and Perl). */
#pragma once
#include "base/err.h"

#define REGEX_INSTS_MAX                                                                                              \
    100000 /* steps of a compiled pattern; more is "expression too large" (Go's own: 3.3 million) */

struct regex;
/* E_INVALID with Go's words: "error parsing regexp: missing closing ): `a(b`". Lives as long as the arena. */
const struct regex *regex_compile(struct arena *a, struct str pattern, struct err *err);
/* The same with an arena of its own. */
struct regex *regex_new(struct str pattern, struct err *err);
void regex_free(struct regex *re);
AUTO_POINTER(regex_free, struct regex);

bool regex_match(const struct regex *re, struct str text); /* anywhere in it; ^ and $ in the pattern for the whole */

struct regex_span {
    size_t from, to; /* bytes; a group that took no part: SIZE_MAX, SIZE_MAX */
};
#define REGEX_SPANS_MAX 1000
/* The first match that begins at `from` or later; what stands before counts for ^ and \b. spans[0] is the whole
 * match, spans[i] group i; n >= 1 of them are wanted. */
bool regex_find(const struct regex *re, struct str text, size_t from, struct regex_span *spans, size_t n);
unsigned regex_groups(const struct regex *re);

/* One match after another, as Go's FindAll goes on: struct regex_walk w = {0}; while (regex_next(re, text, &w,
 * &span)). An empty match right after the one before is left out. */
struct regex_walk {
    size_t at, last;
    bool begun, ended;
};
bool regex_next(const struct regex *re, struct str text, struct regex_walk *w, struct regex_span *span);
