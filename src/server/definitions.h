/* definitions.h - definitions of others that are in the program, and which of them a server is to make or bring up to
 * date when it starts. Each is as its project publishes it, but for descriptions (tools/gen-definitions). What
 * somebody else has made, or has changed to another version since, is theirs: it is left alone, and told of where it
 * is older. */
#pragma once
#include "api/obj.h"

/* One text of JSON lines, in the order of names; it takes room in the program alone until it is asked for. */
struct definitions {
    const char *version;      /* "v1.6.3" */
    const char *const *names; /* of count definitions */
    size_t count;
    const unsigned char *deflated;
    size_t ndeflated, plain; /* bytes */
};
extern const struct definitions definitions_gateway_standard, definitions_gateway_experimental;
extern const struct definitions definitions_certificates; /* written by us: definitions/certificates.defs */

/* A set of them by its name, "gateway-standard"; NULL: there is none. `said_by` is the annotation, or label, that a
 * definition has its version in. */
struct definitions_row {
    const char *name;
    const struct definitions *all;
    const char *said_by;
};
const struct definitions_row *definitions_find(struct str name);

enum definition_state {
    DEFINITION_RIGHT,
    DEFINITION_MISSING,
    DEFINITION_OLD,     /* ours, as an earlier program, or another set, made it */
    DEFINITION_FOREIGN, /* not ours, and older than what we would make */
};
/* have: the one of that name; NULL: there is none. */
enum definition_state definition_state(const struct definitions_row *row, const struct obj *have);
/* The i-th, as it is to be made (have NULL), or `have` brought to it; with a mark that it is ours, and the same
 * without. Both in the arena. */
void definition_tree(struct arena *a, const struct definitions_row *row, size_t i, const struct obj *have,
                     struct val *tree, struct val *unmarked);
/* -1, 0, 1: versions as in v1.6.3, v1.7.0-rc.1 (which is before v1.7.0); what is none is before all. */
int definition_version_cmp(struct str a, struct str b);
