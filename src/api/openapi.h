/* openapi.h - OpenAPI 3.0 documents of the built-in kinds, made from the tables when asked for: what `kubectl
 * explain` and the checks of clients read. Pure. https://spec.openapis.org/oas/v3.0.3 with the x-kubernetes
 * extensions. */
#pragma once
#include "api/kind.h"

/* The document of a group's version (core: group ""). false: no such. Some 100 KB to 1.2 MB. */
bool openapi_group(struct strbuf *b, struct str group, struct str version);
/* The document at a path below /openapi/v3/: "api", "api/v1", "apis", "apis/apps", "apis/apps/v1", "version" ...;
 * false: no such. */
bool openapi_document(struct strbuf *b, struct str path);
/* The body of /openapi/v3: {"paths":{"api/v1":{"serverRelativeURL":"/openapi/v3/api/v1?hash=..."},...}}. `more`
 * writes further members (of custom resources), each begun with a comma; NULL: none. */
void openapi_index(struct strbuf *b, void (*more)(void *arg, struct strbuf *b), void *arg);
/* The hash of a document, as in the index and as its ETag. */
void openapi_hash(struct strbuf *b, struct str path);
