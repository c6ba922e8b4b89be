/* remotes_read.h - what another server answers when it is asked what it serves: aggregated discovery, discovery of
 * one group version, the index of its OpenAPI documents. What comes out is checked and canonical. Pure. */
#pragma once
#include "api/tree.h"

/* Values in such an answer, at most. */
enum { REMOTE_VALUES = 100000 };

/* Whether an answer of this content type is an APIGroupDiscoveryList (apidiscovery.k8s.io v2 or v2beta1). */
bool remote_is_aggregated(struct str content_type);
/* out: an APIVersionDiscovery (without freshness); without resources where the list does not have it. */
MUST_USE bool remote_aggregated_read(struct arena *a, struct str body, struct str group, struct str version,
                                     struct val *out, struct err *err);
/* The same from an APIResourceList. */
MUST_USE bool remote_resources_read(struct arena *a, struct str body, struct str version, struct val *out,
                                    struct err *err);
/* Where the index has the document of this version: "/openapi/v3/apis/G/V?hash=..."; "": it has none. */
MUST_USE bool remote_index_read(struct arena *a, struct str body, struct str group, struct str version,
                                struct str *url, struct err *err);
