/* quantity.h - resource.Quantity ("100m", "1Gi", "1e3"): canonical form and arithmetic as upstream, exact
 * to a billionth; what is finer is rounded away from zero. */
#pragma once
#include "base/err.h"

MUST_USE bool quantity_canonical(struct arena *a, struct str text, struct str *out, struct err *err);
/* Value in units, or in thousandths, rounded away from zero. Saturates at int64. 0 for unreadable text. */
int64_t quantity_value(struct str text);
int64_t quantity_milli(struct str text);
bool quantity_whole(struct str text);         /* without a fraction; what is larger than an int64 has none */
int quantity_cmp(struct str a, struct str b); /* beyond 1.7e29 all are equal */
struct str quantity_add(struct arena *a, struct str x,
                        struct str y); /* keeps the format of x, or of y where x is zero */
struct str quantity_sub(struct arena *a, struct str x, struct str y);
/* To whole thousandths, away from zero, as every quantity of a resource list is kept. */
struct str quantity_round_milli(struct arena *a, struct str text);
struct str quantity_of_milli(struct arena *a, int64_t milli); /* DecimalSI */
struct str quantity_of_bytes(struct arena *a, int64_t bytes); /* BinarySI */
