#include "sys/crypto.h"
#include "base/clock.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#define NONCE 12
#define TAG   16

/* what the passphrase's key costs */
enum { SCRYPT_LOG2N = 17, SCRYPT_R = 8, SCRYPT_P = 1, SALT = 16, HEAD = 4 + SALT };

void sha256_of(struct str data, uint8_t out[SHA256_SIZE])
{
    ASSERT(EVP_Digest(data.n ? data.p : "", data.n, out, NULL, EVP_sha256(), NULL) == 1);
}

void sha1_of(struct str data, uint8_t out[20])
{
    ASSERT(EVP_Digest(data.n ? data.p : "", data.n, out, NULL, EVP_sha1(), NULL) == 1);
}

void sha256_init(struct sha256 *s)
{
    s->impl = EVP_MD_CTX_new();
    ASSERT(s->impl && EVP_DigestInit_ex(s->impl, EVP_sha256(), NULL) == 1);
}

void sha256_add(struct sha256 *s, struct str data)
{
    ASSERT(EVP_DigestUpdate(s->impl, data.n ? data.p : "", data.n) == 1);
}

void sha256_end(struct sha256 *s, uint8_t out[SHA256_SIZE])
{
    ASSERT(EVP_DigestFinal_ex(s->impl, out, NULL) == 1);
    sha256_fini(s);
}

void sha256_fini(struct sha256 *s)
{
    EVP_MD_CTX_free(s->impl);
    s->impl = NULL;
}

void bytes_seal(const uint8_t key[SEAL_KEY_SIZE], struct str bound, struct str plain, struct strbuf *out)
{
    ASSERT(plain.n < INT32_MAX && bound.n < INT32_MAX);
    unsigned char *to = (unsigned char *)strbuf_room(out, plain.n + SEAL_EXTRA);
    if (!to)
        return;
    random_bytes(to, NONCE);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int n;
    ASSERT(c && EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, to) == 1);
    ASSERT(bound.n == 0 || EVP_EncryptUpdate(c, NULL, &n, (const unsigned char *)bound.p, (int)bound.n) == 1);
    ASSERT(plain.n == 0 || EVP_EncryptUpdate(c, to + NONCE, &n, (const unsigned char *)plain.p, (int)plain.n) == 1);
    ASSERT(EVP_EncryptFinal_ex(c, to + NONCE + plain.n, &n) == 1);
    ASSERT(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG, to + NONCE + plain.n) == 1);
    EVP_CIPHER_CTX_free(c);
    strbuf_used(out, plain.n + SEAL_EXTRA);
}

bool bytes_unseal(const uint8_t key[SEAL_KEY_SIZE], struct str bound, struct str sealed, struct strbuf *out,
                  struct err *err)
{
    if (sealed.n < SEAL_EXTRA || sealed.n > INT32_MAX)
        return err_set(err, E_INVALID, "sealed data of %zu bytes is cut off", sealed.n);
    size_t n_plain = sealed.n - SEAL_EXTRA;
    const unsigned char *from = (const unsigned char *)sealed.p;
    unsigned char *to = (unsigned char *)strbuf_room(out, n_plain + 1);
    if (!to)
        return err_set(err, E_TOO_LARGE, "sealed data of %zu bytes is over the limit", sealed.n);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int n;
    ASSERT(c && EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, key, from) == 1);
    ASSERT(bound.n == 0 || EVP_DecryptUpdate(c, NULL, &n, (const unsigned char *)bound.p, (int)bound.n) == 1);
    ASSERT(n_plain == 0 || EVP_DecryptUpdate(c, to, &n, from + NONCE, (int)n_plain) == 1);
    ASSERT(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, TAG, (void *)(uintptr_t)(from + NONCE + n_plain)) == 1);
    bool ok = EVP_DecryptFinal_ex(c, to + n_plain, &n) == 1;
    EVP_CIPHER_CTX_free(c);
    if (!ok) {
        mem_wipe(to, n_plain);
        return err_set(err, E_INVALID, "sealed data was changed, or sealed with another key or for another place");
    }
    strbuf_used(out, n_plain);
    return true;
}

/* ---- under a passphrase ---- */

static bool passphrase_key(struct str passphrase, const uint8_t head[HEAD], uint8_t key[SEAL_KEY_SIZE],
                           struct err *err)
{
    uint64_t n = 1ull << head[1], most = 1ull << 29;
    return EVP_PBE_scrypt(passphrase.n ? passphrase.p : "", passphrase.n, head + 4, SALT, n, head[2], head[3], most,
                          key, SEAL_KEY_SIZE) == 1 ||
           err_set(err, E_IO, "no memory for the key of a passphrase (128 MiB)");
}

bool passphrase_seal(struct str passphrase, struct str plain, struct strbuf *out, struct err *err)
{
    uint8_t head[HEAD] = {1, SCRYPT_LOG2N, SCRYPT_R, SCRYPT_P}, key[SEAL_KEY_SIZE];
    struct str bound = {(char *)head, HEAD};
    random_bytes(head + 4, SALT);
    if (!passphrase_key(passphrase, head, key, err))
        return false;
    strbuf_add(out, bound);
    bytes_seal(key, bound, plain, out);
    mem_wipe(key, sizeof key);
    return true;
}

bool passphrase_unseal(struct str passphrase, struct str sealed, struct strbuf *out, struct err *err)
{
    uint8_t head[HEAD], key[SEAL_KEY_SIZE];
    struct str bound = {(char *)head, HEAD};
    struct err why = ERR;
    if (sealed.n < PASSPHRASE_EXTRA)
        return err_set(err, E_INVALID, "it is cut off");
    memcpy(head, sealed.p, HEAD);
    if (head[0] != 1)
        return err_set(err, E_INVALID, "it was sealed by a newer Wherry (form %d, this program knows 1)", head[0]);
    if (head[1] < 10 || head[1] > SCRYPT_LOG2N || head[2] != SCRYPT_R || head[3] != SCRYPT_P)
        return err_set(err, E_INVALID, "it is damaged: its key would cost too much or too little");
    if (!passphrase_key(passphrase, head, key, err))
        return false;
    bool ok = bytes_unseal(key, bound, str_sub(sealed, HEAD, sealed.n), out, &why);
    mem_wipe(key, sizeof key);
    return ok || err_set(err, E_FORBIDDEN, "the passphrase is another one, or the file was changed");
}
