/* nodeproxy.h - from the server to a node: pods/log, exec, attach, portforward and nodes/proxy. The request is
 * authorized here; then the same request, with the path of the kubelet API, goes to a target (proxy.h): the node's
 * relay over a unix socket (this machine; SO_PEERCRED says that it is us), or an address.
 *
 *   GET  /containerLogs/NS/POD/CONTAINER?follow=...      what pods/log asks
 *   any  /exec/NS/POD/CONTAINER?command=...   /attach/...   /portForward/NS/POD      upgrades
 *   any  /PATH                                            nodes/NAME/proxy/PATH, nodes/NAME:RELAY-PORT/proxy/PATH
 * What nodes/[SCHEME:]NAME:PORT/proxy names otherwise is asked for at the node's address; what pods/.../proxy and
 * services/.../proxy name, at a pod's, with all of its headers and bodies.
 * The header X-Wherry-Pod-Uid carries the pod's uid. Other nodes (TLS on 10250) come behind the same calls.
 * A node that refuses says why in plain text; for pods that becomes a Status. */
#pragma once
#include "server/outbound.h"

size_t nodeproxy_sessions(void); /* open now */
bool nodeproxy_wanted(const struct request *r);
bool nodeproxy_connects(const struct request *r);   /* and its body and Accept are no matter of ours */
bool nodeproxy_any_method(const struct request *r); /* and HEAD and OPTIONS go through */
bool nodeproxy_streams(struct server *s,
                       const struct http_request *h); /* its body goes through piece by piece (HTTP_STREAM) */
/* Ends the http request; r stays the caller's. rest: what stands behind nodes/NAME/proxy/. */
void nodeproxy_start(struct request *r, struct http_request *h, struct str rest);
/* A sentence as text (Go's http.Error): how upstream's proxies refuse. */
void nodeproxy_refuse(struct http_request *h, int status, struct str text);
/* To the server behind an APIService (aggregate.h), as it was sent but for who asks. The same of r and h. most_ns:
 * until the end of the answer; 0: it may last. */
void nodeproxy_pass(struct request *r, struct http_request *h, struct outbound_line *own_line, int64_t most_ns);
