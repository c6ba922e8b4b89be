/* openapi_remote.h - what another server's document of OpenAPI 2.0 says of one group version: the paths below
 * /apis/G/V/, and the definitions and parameters that these refer to. Everything else of it is left out, as
 * upstream's aggregator does. It is kept as text, and comes into the document of all (openapi.h).
 *
 * Immutable and counted; any thread. Pure. */
#pragma once
#include "base/err.h"

/* No member that is larger, and none that is deeper, comes from elsewhere. */
enum { OPENAPI_REMOTE_MEMBER = 512 << 10, OPENAPI_REMOTE_DEPTH = 100 };

struct openapi_member {
    struct str name, text; /* unescaped; the value's JSON */
};
struct openapi_members {
    struct openapi_member *list;
    size_t n;
};
struct openapi_remote {
    int refs; /* atomic */
    struct arena arena;
    struct str group, version;
    struct openapi_members paths, definitions, parameters;
    uint64_t hash; /* of all this */
};
/* json: the whole document. E_BAD_REQUEST: it is none. */
struct openapi_remote *openapi_remote_new(struct str json, struct str group, struct str version, struct err *err);
struct openapi_remote *openapi_remote_ref(struct openapi_remote *r);
void openapi_remote_unref(struct openapi_remote *r);
AUTO_POINTER(openapi_remote_unref, struct openapi_remote);

/* All of it as a document of OpenAPI 3.0 (b may be over), for a server that has none of these. */
void openapi_remote_three(struct strbuf *b, const struct openapi_remote *r);

/* --- references in a text --- */

enum openapi_ref { OPENAPI_NO_REF, OPENAPI_DEFINITION, OPENAPI_PARAMETER };
/* Walks over the members "$ref" of a checked text: gives what stands before the value of the next one (quotes and
 * all) in *before, which kind it is and to what; *rest is what comes after. OPENAPI_NO_REF: there is none, and
 * *before is all that is left. */
enum openapi_ref openapi_ref_next(struct arena *a, struct str *rest, struct str *before, struct str *name);
