/* stream_route.h - routes whose backends get bytes, and how a backend is spoken to. Pure: pools are collected. */
#pragma once
#include "edge/gateway_route_int.h"

/* Adds what a TLSRoute or TCPRoute asks for on g->listener for g->host. */
void stream_rules_add(struct gateway_rules *g);
/* The TLS that a BackendTLSPolicy asks for, and what the Gateway shows; a policy that cannot be kept refuses the
 * backend. */
void backend_as(const struct gateway_rules *g, struct pool_ref *r);
/* The key of the certificates (door_certificate) that a policy trusts. */
struct str backend_ca_key(struct arena *a, const struct obj *policy);
