/* x509.h - what plans ask of certificates, requests and keys: facts as trees. Reading is pure and quick; who can do
 * it is handed over (view.x509), so that this room needs no cryptography and its tests may use a reader of their own.
 *
 * Facts of a certificate or a request, in the words of a Certificate's spec:
 *   {commonName, subject: {organizations, organizationalUnits, countries, provinces, localities, streetAddresses,
 *    postalCodes, serialNumber}, literal: hex of the subject's DER, dnsNames, ipAddresses, uris, emailAddresses,
 *    otherNames: [{oid, utf8Value}], publicKey: hex of the SHA-256 of its SubjectPublicKeyInfo, isCA}
 * of a certificate besides: {notBefore, notAfter: ns since 1970, serial: hex, authority: hex of the authority key
 *    identifier, root: it signs itself}
 * of a key: {algorithm: RSA, ECDSA or Ed25519, size: bits, encoding: PKCS1 or PKCS8, publicKey}
 * of a subject as RFC 4514 writes it: {literal, commonName}
 * What is empty is left out. */
#pragma once
#include "api/tree.h"

enum x509_what { X509_CERTIFICATE, X509_REQUEST, X509_KEY, X509_SUBJECT };
/* text: PEM, the first of its kind; of a subject its text. Facts live in the arena. */
typedef bool x509_read_fn(struct arena *a, enum x509_what what, struct str text, struct val *facts, struct err *err);
