/* openapi.h - OpenAPI 3.0 and 2.0 documents of a set of kinds, made from the tables when asked for: what `kubectl
 * explain` and the checks of clients read. Pure. https://spec.openapis.org/oas/v3.0.3 and /oas/v2.0 with the
 * x-kubernetes extensions. */
#pragma once
#include "api/kindset.h"

/* The document at a path below /openapi/v3/: "api", "api/v1", "apis", "apis/apps", "apis/apps/v1", "version" ...;
 * false: no such. Up to 1.2 MB. */
bool openapi_known(const struct kind_set *set, struct str path);
bool openapi_document(struct strbuf *b, const struct kind_set *set, struct str path);
/* The body of /openapi/v3: {"paths":{"api/v1":{"serverRelativeURL":"/openapi/v3/api/v1?hash=..."},...}}. */
void openapi_index(struct strbuf *b, const struct kind_set *set);
/* The hash of a document, as in the index and as its ETag. */
void openapi_hash(struct strbuf *b, const struct kind_set *set, struct str path);

/* /openapi/v2: one document of all versions, which kubectl asks for where a kind is not in those above (List), and
 * before 1.27 for everything. Some 2.5 MB. Its hash is that of path "v2". */
void openapi_two(struct strbuf *b, const struct kind_set *set);
/* The same as protobuf, as google/gnostic's OpenAPIv2.proto has it: what kubectl asks for. `json` is openapi_two's.
 */
void openapi_two_pb(struct strbuf *b, struct str json);
