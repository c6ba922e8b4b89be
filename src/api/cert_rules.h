/* cert_rules.h - what cert-manager's webhook refuses of Certificates, CertificateRequests and Issuers, beside what
 * their definitions say. Pure. */
#pragma once
#include "api/rules.h"

/* v: one that is made, or (old) becomes this; of the other kinds nothing is said. */
void cert_kind_check(const struct kind *k, const struct val *v, const struct val *old, struct field_errors *e);
