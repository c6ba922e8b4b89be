/* seal.h - values as engines keep them: an envelope around the bytes that the layer above gave.
 *   0                                            plain; the bytes follow
 *   1, key id (4 bytes, big-endian), nonce (12), ciphertext, tag (16)
 *                                                AES-256-GCM (NIST SP 800-38D); additional data: the store key,
 *                                                so that a sealed value is good under its own key alone
 * Nonces are random: a key should be rotated before 2^32 values were sealed with it. Safe from any thread. */
#pragma once
#include "store/store.h"

struct seal {
    struct store_seal_key *keys; /* the first one seals */
    size_t nkeys;
    char **prefixes;
    size_t nprefixes;
};
enum { SEAL_OVERHEAD = 33 }; /* bytes, at most */

/* Copies what o says. INVALID: prefixes without a key, id 0, an id twice. */
MUST_USE bool seal_init(struct seal *s, const struct store_options *o, struct err *err);
void seal_fini(struct seal *s); /* wipes the keys */
MUST_USE bool seal_close(const struct seal *s, struct str key, struct str plain, struct strbuf *out, struct err *err);
/* Reads plain ones below a sealed prefix too (the rule may be younger than the value). False: the envelope is
 * damaged, was moved from another key, or was sealed with a key that is not among the given ones; names the store
 * key, never bytes. */
MUST_USE bool seal_open(const struct seal *s, struct str key, struct str sealed, struct strbuf *out, struct err *err);
