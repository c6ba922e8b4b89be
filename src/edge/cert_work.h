/* cert_work.h - keys, requests and certificates made and read with OpenSSL, for the controllers of cert-manager.io
 * (control/cert.h). Any thread. What is asked for and answered are trees; bytes of PEM are VAL_BYTES or base64 text.
 *
 * {do: key, algorithm: RSA|ECDSA|Ed25519, size}                  -> body.data["tls.key"], PKCS#8
 * {do: request, key, spec: a Certificate's}                      -> body.spec.request
 * {do: sign, request, key, certificate: the signer's chain, ca, isCA, usages, seconds, crl, ocsp, urls}
 *                                     -> body.status.certificate, body.status.ca; without `certificate` self-signed
 * {do: sign-csr, request, key, certificate: the cluster's, usages, seconds, before: seconds that it begins before
 * now}
 *                                     -> body.status.certificate; it ends with the cluster's at the latest
 * {do: bundle, key, certificate, ca, encoding, formats, pkcs12: {password, profile}, jks: {password, alias}}
 *                                     -> body.data: tls.key, tls.crt, ca.crt and the other forms
 * {do: temporary, key, spec, encoding}                           -> body.data: tls.key, tls.crt, signed by itself */
#pragma once
#include "control/x509.h"

/* Completes the body. Errors are sentences without anything secret in them. */
MUST_USE bool cert_work(struct arena *a, const struct val *ask, struct val *body, struct err *err);
x509_read_fn cert_facts_read;
