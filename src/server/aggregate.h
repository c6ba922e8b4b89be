/* aggregate.h - group versions that another server serves (an APIService with a Service; kube-aggregator): who it is,
 * whether it answers, asking it as ourselves, and passing a request on to it.
 *
 * An APIService with a Service wins over what is built in or defined. As long as there is none, all of this is one
 * empty list. The server is trusted as the APIService says, and knows us by the certificate of the front proxy
 * (pki.h) and who asks by X-Remote-User, -Group and -Extra-. All on the loop of the server. */
#pragma once
#include "server/int.h"
#include "server/outbound.h"

struct aggregates;
struct aggregates *aggregates_new(struct server *s) __attribute__((returns_nonnull));
void aggregates_free(struct aggregates *g);  /* NULL is fine */
void aggregates_renew(struct aggregates *g); /* the front proxy has another certificate */
/* One commit. NULL: it was not, or is no more. Of other kinds than APIService, Service and EndpointSlice nothing. */
void aggregates_changed(struct aggregates *g, const struct obj *was, const struct obj *now);

/* --- who serves what --- */

/* An APIService with a Service. Borrowed for the turn: by its name it is found again. */
struct aggregated {
    struct str name;           /* "v1beta1.metrics.k8s.io" */
    struct str group, version; /* as in its spec */
    struct str service_ns, service_name;
    int port;
    int group_priority, version_priority; /* groupPriorityMinimum, versionPriority */
    bool available;                       /* its condition Available is True: it is asked at all */
    bool gone;                            /* it is no more, or another of its name takes its place */
    struct outbound *outbound;            /* how it is reached */
};
/* NULL: it is served here, or by nobody. */
const struct aggregated *aggregate_find(struct server *s, struct str group, struct str version);
const struct aggregated *aggregate_named(struct server *s, struct str name); /* of an APIService */
/* All of them, in no order: calls fn until it says false. */
void aggregate_each(struct server *s, bool (*fn)(const struct aggregated *g, void *arg), void *arg);
size_t aggregate_count(const struct server *s);

/* --- what discovery and OpenAPI are told --- */

/* An APIService with a Service came, went, was replaced, or its Available condition turned (where upstream asks its
 * discovery and OpenAPI again); also at the start, for those that are stored. From inside a commit: whoever asks does
 * so in a later turn. g is borrowed; gone: forget what was of it. */
struct aggregate_listener {
    struct list node;
    void (*fn)(struct aggregate_listener *l, const struct aggregated *g);
};
void aggregate_listen(struct server *s, struct aggregate_listener *l);
void aggregate_unlisten(struct aggregate_listener *l);

/* --- asking it ourselves --- */

/* A GET as system:kube-aggregator of system:masters: path "/apis", "/apis/G/V", "/openapi/v2", "/openapi/v3".
 * accept, etag (If-None-Match; "": none), most: bytes of an answer, over which it is E_TOO_LARGE.
 * `done` as outbound_call's, from a later turn, but with an answer of any status (304, 404, 503 too): look at it.
 * The call is ended by done or by outbound_cancel. Available or not is no matter here: availability is asked so. */
void aggregate_ask(const struct aggregated *g, struct outbound_call *c, struct arena *a, struct str path,
                   struct str accept, struct str etag, size_t most, int timeout_s,
                   void (*done)(struct outbound_call *c, const struct http_answer *a, const struct err *err));

/* Who asks, as the server behind an APIService is told: X-Remote-User, -Uid, -Group, -Extra-KEY. */
void aggregate_identity(struct arena *a, struct http_headers *to, const struct user *u);

/* --- passing on --- */

/* Whether a request to this path (as sent) is another server's: /apis/G/V and all below it. */
bool aggregate_serves(struct server *s, struct str path);
/* Ends the http request, which r (authorized) asked; r stays the caller's. most_ns: as nodeproxy_pass's. */
void aggregate_pass(struct request *r, struct http_request *h, int64_t most_ns);
