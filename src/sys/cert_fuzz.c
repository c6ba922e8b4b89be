/* Any bytes as PEM: keys that sign what they verify, certificates that are read, or a sentence. */
#include "sys/cert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf pem = STRBUF(1 << 20);
    struct str text = {(const char *)data, size};
    struct err err = ERR, none = ERR, bad = ERR;
    uint8_t signature[ES256_SIZE], x[32], y[32];
    AUTO(key_free) struct cert_key *private = key_parse(text, &err), *public = key_parse_public(text, &none);
    ASSERT(private || err.text[0]);
    ASSERT(public || none.text[0]);
    if (private && key_sign(private, S("x"), signature, &err))
        ASSERT(key_verify(private, S("x"), (struct str){(char *)signature, sizeof signature}));
    if (public) {
        (void)!key_point(public, x, y);
        key_pem_public(public, &pem);
        AUTO(key_free) struct cert_key *again = key_parse_public(strbuf_str(&pem), &err);
        ASSERT(again);
    }
    struct cert_info info;
    if (cert_read(&a, text, &info, &bad))
        ASSERT(info.sha256hex.n == 64);
    else
        ASSERT(bad.text[0]);
    struct str *orgs;
    size_t norgs;
    struct err no = ERR;
    if (!request_orgs(&a, text, &orgs, &norgs, &no))
        ASSERT(no.text[0]);
    if (public)
        (void)!cert_fits_key(text, public, &err);
    return 0;
}
