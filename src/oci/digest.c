#include "oci/digest.h"

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

struct digest digest_end(struct sha256 *s)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t sum[SHA256_SIZE];
    sha256_end(s, sum);
    struct digest d = {0};
    for (size_t i = 0; i < DIGEST_HEX / 2; i++) {
        d.hex[2 * i] = digits[sum[i] >> 4];
        d.hex[2 * i + 1] = digits[sum[i] & 15];
    }
    return d;
}

struct digest digest_of(const void *p, size_t n)
{
    AUTO(sha256_fini) struct sha256 s = {0};
    sha256_init(&s);
    sha256_add(&s, (struct str){p, n});
    return digest_end(&s);
}
