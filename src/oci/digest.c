#include "oci/digest.h"
#include <openssl/evp.h>

bool digest_parse(struct str text, struct digest *out, struct err *err)
{
    struct digest d = {0};
    if (!str_starts(text, S("sha256:")) || text.n != DIGEST_TEXT)
        return err_set(err, E_INVALID, "\"" STR_FMT "\" is not a digest: sha256: and 64 hex digits",
                       STR_ARG(str_sub(text, 0, 200)));
    for (size_t i = 0; i < DIGEST_HEX; i++) {
        char c = text.p[7 + i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return err_set(err, E_INVALID, "digest \"" STR_FMT "\": not lower-case hex", STR_ARG(text));
        d.hex[i] = c;
    }
    *out = d;
    return true;
}

bool digest_eq(const struct digest *a, const struct digest *b)
{
    return memcmp(a->hex, b->hex, DIGEST_HEX) == 0;
}

struct str digest_hex(const struct digest *d)
{
    return str_of(d->hex);
}

void sha256_init(struct sha256 *s)
{
    s->impl = EVP_MD_CTX_new();
    ASSERT(s->impl && EVP_DigestInit_ex(s->impl, EVP_sha256(), NULL) == 1);
}

void sha256_add(struct sha256 *s, const void *p, size_t n)
{
    ASSERT(EVP_DigestUpdate(s->impl, p, n) == 1);
}

struct digest sha256_end(struct sha256 *s)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char sum[EVP_MAX_MD_SIZE];
    ASSERT(EVP_DigestFinal_ex(s->impl, sum, NULL) == 1);
    struct digest d = {0};
    for (size_t i = 0; i < DIGEST_HEX / 2; i++) {
        d.hex[2 * i] = digits[sum[i] >> 4];
        d.hex[2 * i + 1] = digits[sum[i] & 15];
    }
    return d;
}

void sha256_fini(struct sha256 *s)
{
    EVP_MD_CTX_free(s->impl);
    s->impl = NULL;
}

struct digest digest_of(const void *p, size_t n)
{
    AUTO(sha256_fini) struct sha256 s = {0};
    sha256_init(&s);
    sha256_add(&s, p, n);
    return sha256_end(&s);
}
