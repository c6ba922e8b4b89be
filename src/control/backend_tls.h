/* backend_tls.h - BackendTLSPolicies: that the front door speaks TLS with what stands behind a Service, under which
 * name, and who vouches for that. Read by their controller, who writes into their statuses what becomes of them, and
 * by the front door. Pure. */
#pragma once
#include "control/gateway.h"

#define GATEWAYS_TLS_POLICIES "backendtlspolicies." GATEWAY_GROUP

/* A policy by itself. */
struct backend_policy {
    struct gateway_fault invalid;  /* set: nothing is sent to what it is about, as nobody would know to whom */
    struct gateway_fault resolved; /* set: a reference to authorities cannot be followed; others may be */
    struct str name;               /* SNI, and the name that the certificate must have */
    struct str authorities;        /* PEM; "" where `system` */
    bool system;                   /* those that this machine trusts */
};
void backend_policy_read(const struct view *v, struct arena *a, const struct obj *policy, struct backend_policy *out);
/* The one that counts for a Service's port: one that names the port goes before one that does not, the older before
 * the younger. NULL: none does, the port is spoken to in the clear. */
const struct obj *backend_policy_of(const struct view *v, struct str ns, struct str service, struct str port);
/* What a Service's port is called, by its number; "" too where there is no such port. */
struct str service_port_name(const struct view *v, struct str ns, struct str service, int64_t port);

extern const struct objindex index_policy_target; /* "NS/NAME" of Services */
extern const struct objindex index_policy_ca;     /* "ConfigMap/NS/NAME", "Secret/NS/NAME" */
/* Whom a change concerns, for every kind that a policy rests on. */
void keys_of_policy(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add, void *arg);
