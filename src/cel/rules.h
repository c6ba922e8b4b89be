/* rules.h - x-kubernetes-validations of a schema: compiled once per definition, run over each object that is written.
 * A compiled set never changes and may be used by any thread. */
#pragma once
#include "api/schema.h"

/* Definition validation (schema_rules_fn of api/schema.h): does each rule compile, is it of the right type, may it
 * use oldSelf where it stands, what may it cost. Errors in upstream's words at path.properties[spec].x-kubernetes-...
 */
void cel_rules_check(const struct schema *s, const struct val *old, struct str path, struct field_errors *e);

struct cel_rules;
/* The schema must live as long. Rules that do not compile (there are none where cel_rules_check found nothing) refuse
 * what they are run over. NULL: the schema has no rules. */
struct cel_rules *cel_rules_new(const struct schema *s);
void cel_rules_free(struct cel_rules *rules);
AUTO_POINTER(cel_rules_free, struct cel_rules);

/* All rules over an object and what it was before (NULL: it is created). What did not change is not refused: that
 * goes to `warnings`, if there are any to be told. To be left out where schema_errors_block says so. */
void cel_rules_run(const struct cel_rules *rules, const struct val *v, const struct val *old, struct field_errors *e,
                   struct field_errors *warnings);
