/* remotes.h - what other servers (aggregate.h) say of the group versions that they serve, for discovery and OpenAPI
 * of the whole cluster. Each is asked when its APIService comes or becomes available, and again every minute while
 * there are any; who does not answer well keeps what it said last. Answers are read in the pool. The loop of the
 * server. */
#pragma once
#include "api/openapi_remote.h"
#include "server/aggregate.h"

struct remotes;
struct remotes *remotes_new(struct server *s); /* after aggregates_new */
void remotes_free(struct remotes *r);          /* NULL is fine */

/* In the order in which groups and versions are told: of both the higher priority first (sorted by versions of a
 * group, and groups by their highest). In the arena. */
size_t remotes_sorted(struct server *s, struct arena *a, const struct aggregated ***list);

/* An APIVersionDiscovery: what it serves; Stale where that could not be had lately. */
struct val remotes_discovery(struct server *s, struct arena *a, const struct aggregated *g);
/* Of all that these tell; 0: there are none. */
uint64_t remotes_discovery_hash(struct server *s);

/* Their documents of OpenAPI 2.0, in that order: borrowed for the turn, in the arena. */
size_t remotes_openapi(struct server *s, struct arena *a, struct openapi_remote ***list);
/* Members of the index of OpenAPI 3.0, each with a comma before it; not of what the set has itself. */
void remotes_index(struct server *s, struct strbuf *b, const struct kind_set *set);
/* Whose document is at "apis/G/V"; NULL: nobody's. */
const struct aggregated *remotes_document(struct server *s, struct str path);
/* Of a server that has no documents of 3.0, the one that is made of its 2.0; borrowed for the turn. NULL: none. */
struct openapi_remote *remotes_older_document(struct server *s, struct str path);
