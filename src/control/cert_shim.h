/* cert_shim.h - Ingresses and Gateways that ask for certificates by annotation: which do, and the Secrets that their
 * certificates will be in, where they do not name them. Pure; for who serves them as well. */
#pragma once
#include "control/plan.h"

#define NOTE_WANT_ISSUER    "cert-manager.io/issuer"
#define NOTE_WANT_CLUSTER   "cert-manager.io/cluster-issuer"
#define NOTE_TLS_ACME       "kubernetes.io/tls-acme"
#define NOTE_WHERRY_ACME    "wherry.dev/acme"              /* "true": by the cluster's default issuer */
#define NOTE_DEFAULT_ISSUER "wherry.dev/is-default-issuer" /* "true" on a ClusterIssuer: it is that */

bool cert_is_asked(const struct obj *o);
/* Of the i-th entry of an Ingress's spec.tls: the one that it names, or where it asks for certificates NAME-tls (the
 * others NAME-tls-1, ...). "": none. */
struct str cert_tls_secret(struct arena *a, const struct obj *ingress, const struct val *entry, size_t i);
/* It asks for certificates (wherry.dev/acme) and has no spec.tls: as though it had an entry with all hosts of its
 * rules, and no Secret named. */
bool cert_tls_implied(const struct obj *ingress);
