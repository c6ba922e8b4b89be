/* openapi.h - OpenAPI 3.0 and 2.0 documents of a set of kinds, made from the tables when asked for: what `kubectl
 * explain` and the checks of clients read. Pure. https://spec.openapis.org/oas/v3.0.3 and /oas/v2.0 with the
 * x-kubernetes extensions. */
#pragma once
#include "api/kindset.h"
#include "api/openapi_remote.h"

/* The documents below /openapi/v3/: "api", "api/v1", "apis", "apis/apps", "apis/apps/v1", "version" ... */
bool openapi_known(const struct kind_set *set, struct str path);
/* The body of /openapi/v3: {"paths":{"api/v1":{"serverRelativeURL":"/openapi/v3/api/v1?hash=..."},...}}. more:
 * members of "paths" besides, each with a comma before it. */
void openapi_index(struct strbuf *b, const struct kind_set *set, struct str more);
/* The hash of a document, as in the index and as its ETag. */
void openapi_hash(struct strbuf *b, const struct kind_set *set, struct str path);

/* A document piece by piece, of some ten KiB each: it has up to 4 MB, and is nowhere as a whole. The path is one of
 * those above, or "v2": /openapi/v2, one document of all versions, which kubectl asks for where a kind is not in
 * those above (List), and before 1.27 for everything; that one also as protobuf. Set and path must outlive it;
 * different threads may take pieces one after the other. */
struct openapi_pieces;
struct openapi_pieces *openapi_pieces_new(const struct kind_set *set, struct str path,
                                          bool protobuf); /* NULL: no such */
/* Before the first piece of "v2": what other servers have goes in, too, in this order. What is there before keeps its
 * name; a definition or parameter that is another under the same name becomes NAME_v2 (kube-openapi's aggregator). */
void openapi_pieces_merge(struct openapi_pieces *p, struct openapi_remote *const *remotes, size_t n);
bool openapi_pieces_next(struct openapi_pieces *p, struct strbuf *b); /* appends; false: that was the last */
void openapi_pieces_free(struct openapi_pieces *p);
AUTO_POINTER(openapi_pieces_free, struct openapi_pieces);

/* Whole ones, for tests: nobody serves one that is not made by pieces. False: no such. */
bool openapi_document(struct strbuf *b, const struct kind_set *set, struct str path);
void openapi_two(struct strbuf *b, const struct kind_set *set);
void openapi_two_pb(struct strbuf *b, const struct kind_set *set);
