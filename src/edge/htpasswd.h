/* htpasswd.h - names and passwords as Apache's htpasswd writes them: lines "NAME:HASH", with bcrypt ($2y$), SHA-crypt
 * ($5$, $6$), MD5 ($1$), yescrypt ($y$), DES, Apache's MD5 ($apr1$), and SHA-1 in {SHA}. Texts in the clear are no
 * hashes, and match nothing. Blocking: bcrypt takes a tenth of a second by design. */
#pragma once
#include "base/err.h"

/* E_NOT_FOUND: no such name; E_FORBIDDEN: another password; E_INVALID: its hash is of no kind that is known. */
MUST_USE bool htpasswd_check(struct str lines, struct str name, struct str password, struct err *err);
/* Of all lines, at the first that is none. */
MUST_USE bool htpasswd_valid(struct str lines, struct err *err);
