/* crypto.h - hashes, sealing, signing (OpenSSL). Keys and results are plain bytes. */
#pragma once
#include "base/err.h"

#define SHA256_SIZE 32
void sha256_of(struct str data, uint8_t out[SHA256_SIZE]);
void sha1_of(struct str data, uint8_t out[20]); /* broken; the WebSocket handshake asks for it */

/* In pieces. */
struct sha256 {
    void *impl;
};
void sha256_init(struct sha256 *s);
void sha256_add(struct sha256 *s, struct str data);
void sha256_end(struct sha256 *s, uint8_t out[SHA256_SIZE]); /* s must be initialised again, or finished */
void sha256_fini(struct sha256 *s);
AUTO_VALUE(sha256_fini, struct sha256);

/* AES-256-GCM (NIST SP 800-38D). Sealed: 12 random bytes, the ciphertext, a tag of 16. `bound` is authenticated with
 * it and not stored. A changed byte anywhere opens to E_INVALID. */
#define SEAL_KEY_SIZE 32
#define SEAL_EXTRA    28 /* sealed minus plain */
void bytes_seal(const uint8_t key[SEAL_KEY_SIZE], struct str bound, struct str plain, struct strbuf *out);
MUST_USE bool bytes_unseal(const uint8_t key[SEAL_KEY_SIZE], struct str bound, struct str sealed, struct strbuf *out,
                           struct err *err);

/* The same under a passphrase of a person: 1, scrypt's log2 N, r and p (RFC 7914), a salt of 16 bytes, sealed bytes;
 * the head is bound. Takes a third of a second and 128 MiB. Opening with another passphrase, or what was changed, is
 * E_FORBIDDEN; what some newer program wrote, or asks for more work than ours, is E_INVALID. */
#define PASSPHRASE_EXTRA (20 + SEAL_EXTRA)
MUST_USE bool passphrase_seal(struct str passphrase, struct str plain, struct strbuf *out, struct err *err);
MUST_USE bool passphrase_unseal(struct str passphrase, struct str sealed, struct strbuf *out, struct err *err);
