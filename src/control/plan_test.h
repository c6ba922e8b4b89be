/* plan_test.h - plans in transcripts: objects as YAML documents in, the plan as text out. The first lines say what is
 * asked:
 *   # plan deployment default/web, # plan garbage default/ConfigMap/a
 *   # now 2026-01-01T00:10:00Z      (default 2026-01-01T00:00:00Z)
 *   # trouble pods "x" is forbidden: ...
 *   # why what the last plan of this key said
 *   # since 2026-01-01T00:00:00Z
 *   # woke 2026-01-01T00:00:00Z
 *   # kind example.org/v1 Boat boats            a kind that a definition defines, of any fields; "cluster" behind it:
 *                                               without namespaces
 *   # certs                                   the kinds of cert-manager.io
 * Texts that begin with "plain:" become the base64 of the rest, and a Secret's stringData its data.
 * Objects are decoded by type and defaulted; uid is "uid-KIND-NAME" and the revision counts from 1 where not given.
 */
#pragma once
#include "control/manager.h"

void plan_answer(struct str input, struct strbuf *out);
/* The same by hand. */
struct fixture {
    struct objset *sets[KIND_IDS];
    const struct objset *view_sets[KIND_IDS];
    struct view view;
    int64_t rev;
    const struct kind *defined[64]; /* counted */
    size_t ndefined;
};
void fixture_init(struct fixture *f);
/* The kinds of such a definition, each a reference of the caller's. */
size_t kinds_of_test(struct str text, const struct kind **out);
extern const char *const cert_kinds_of_test[];           /* NULL-terminated */
void fixture_define(struct fixture *f, struct str text); /* "example.org/v1 Boat boats [cluster]" */
/* view.zone of tests. */
const struct zone *zone_of_test(void *arg, struct str name, struct err *err);
void fixture_fini(struct fixture *f);
AUTO_VALUE(fixture_fini, struct fixture);
void fixture_add(struct fixture *f, struct str yaml_documents);
const struct controller *controller_named(struct str name);
