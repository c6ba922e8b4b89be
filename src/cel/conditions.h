/* conditions.h - boolean expressions about a request (admissionregistration.k8s.io/v1 MatchCondition), over the
 * variables request, object and oldObject. A compiled set never changes and may be used by any thread. The variable
 * authorizer is not there: it is an undeclared reference. */
#pragma once
#include "api/rules.h"
#include "cel/value.h"

/* Of a definition that is written: each expression compiles and gives a boolean; errors at path[i].expression. */
void cel_conditions_check(const struct val *list, struct str path, struct field_errors *e);

struct cel_conditions;
/* Of a list that was checked; it is copied. NULL: there are none. */
struct cel_conditions *cel_conditions_new(const struct val *list);
void cel_conditions_free(struct cel_conditions *c);
AUTO_POINTER(cel_conditions_free, struct cel_conditions);

enum cel_met {
    CEL_MET,
    CEL_NOT_MET, /* one of them is false, whatever else happened */
    CEL_UNKNOWN, /* one could not be evaluated: `why` says it in upstream's words */
};
/* request: an AdmissionRequest without its objects; obj, old: NULL where there is none. */
enum cel_met cel_conditions_met(const struct cel_conditions *c, const struct val *request, const struct val *obj,
                                const struct val *old, struct strbuf *why);
