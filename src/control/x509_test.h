/* x509_test.h - certificates, requests and keys that tests can read and write by hand, and who makes such: instead of
 * PEM a word and a map, "cert {publicKey: k1, dnsNames: [a.example], notAfter: '2026-04-01T00:00:00Z'}", "request
 * {...}", "key {algorithm: RSA, size: 2048, publicKey: k1}". Everything else is damaged. */
#pragma once
#include "client/transport.h"
#include "control/work.h"
#include "control/x509.h"

x509_read_fn x509_of_test;
/* arg: the transport in whose loop it is done later, in another turn. What it makes is the same each time, but for
 * keys, which are numbered. "denied.example" among the names is refused by signers. */
action_work_fn work_of_test;
