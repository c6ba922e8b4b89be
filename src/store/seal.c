#include "store/seal.h"
#include <openssl/evp.h>

enum { PLAIN = 0, AES_GCM = 1, ID_AT = 1, NONCE_AT = 5, NONCE = 12, TEXT_AT = 17, TAG = 16 };

AUTO_POINTER(EVP_CIPHER_CTX_free, EVP_CIPHER_CTX);

bool seal_init(struct seal *s, const struct store_options *o, struct err *err)
{
    *s = (struct seal){0};
    if (o->nsealed && !o->nseal_keys)
        return err_set(err, E_INVALID, "values below " STR_FMT " are to be sealed, but no key to seal them was given",
                       STR_ARG(o->sealed[0]));
    for (size_t i = 0; i < o->nseal_keys; i++) {
        if (o->seal_keys[i].id == 0)
            return err_set(err, E_INVALID, "sealing key %zu has the id 0, which means none", i);
        for (size_t k = 0; k < i; k++)
            if (o->seal_keys[k].id == o->seal_keys[i].id)
                return err_set(err, E_INVALID, "two sealing keys have the id %u", o->seal_keys[i].id);
    }
    if (o->nseal_keys)
        s->keys = mem_dup(o->seal_keys, o->nseal_keys * sizeof *s->keys);
    s->nkeys = o->nseal_keys;
    s->prefixes = mem_alloc(o->nsealed * sizeof *s->prefixes);
    for (s->nprefixes = 0; s->nprefixes < o->nsealed; s->nprefixes++)
        s->prefixes[s->nprefixes] = str_dupz(o->sealed[s->nprefixes]);
    return true;
}

void seal_fini(struct seal *s)
{
    if (s->keys)
        mem_wipe(s->keys, s->nkeys * sizeof *s->keys);
    mem_free(s->keys);
    for (size_t i = 0; i < s->nprefixes; i++)
        mem_free(s->prefixes[i]);
    mem_free(s->prefixes);
    *s = (struct seal){0};
}

static bool must_seal(const struct seal *s, struct str key)
{
    for (size_t i = 0; i < s->nprefixes; i++)
        if (str_starts(key, str_of(s->prefixes[i])))
            return true;
    return false;
}

static const unsigned char *str_bytes(struct str s)
{
    return (const unsigned char *)(s.p ? s.p : "");
}

static bool value_encrypt(const struct store_seal_key *k, const unsigned char *nonce, struct str key,
                          struct str plain, unsigned char *text)
{
    AUTO(EVP_CIPHER_CTX_free) EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    int n;
    return c && EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, k->key, nonce) == 1 &&
           EVP_EncryptUpdate(c, NULL, &n, str_bytes(key), (int)key.n) == 1 &&
           EVP_EncryptUpdate(c, text, &n, str_bytes(plain), (int)plain.n) == 1 &&
           EVP_EncryptFinal_ex(c, text + plain.n, &n) == 1 &&
           EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG, text + plain.n) == 1;
}

static bool value_decrypt(const struct store_seal_key *k, struct str key, struct str sealed, unsigned char *plain)
{
    AUTO(EVP_CIPHER_CTX_free) EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    const unsigned char *in = str_bytes(sealed);
    unsigned char tag[TAG];
    int n, len = (int)(sealed.n - TEXT_AT - TAG);
    memcpy(tag, in + sealed.n - TAG, TAG);
    return c && EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, k->key, in + NONCE_AT) == 1 &&
           EVP_DecryptUpdate(c, NULL, &n, str_bytes(key), (int)key.n) == 1 &&
           EVP_DecryptUpdate(c, plain, &n, in + TEXT_AT, len) == 1 &&
           EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, TAG, tag) == 1 &&
           EVP_DecryptFinal_ex(c, plain + len, &n) == 1;
}

bool seal_close(const struct seal *s, struct str key, struct str plain, struct strbuf *out, struct err *err)
{
    if (plain.n > STORE_VALUE_MAX)
        return err_set(err, E_TOO_LARGE, "the value of " STR_FMT " has %zu bytes, more than the %d that are stored",
                       STR_ARG(key), plain.n, STORE_VALUE_MAX);
    if (!must_seal(s, key)) {
        strbuf_addc(out, PLAIN);
        strbuf_add(out, plain);
    } else {
        const struct store_seal_key *k = &s->keys[0];
        size_t n = TEXT_AT + plain.n + TAG;
        unsigned char *p = (unsigned char *)strbuf_room(out, n);
        if (p) {
            p[0] = AES_GCM;
            for (int i = 0; i < 4; i++)
                p[ID_AT + i] = (unsigned char)(k->id >> (24 - 8 * i));
            random_bytes(p + NONCE_AT, NONCE);
            if (!value_encrypt(k, p + NONCE_AT, key, plain, p + TEXT_AT))
                return err_set(err, E_INTERNAL, "OpenSSL cannot seal the value of " STR_FMT, STR_ARG(key));
            strbuf_used(out, n);
        }
    }
    if (out->over)
        return err_set(err, E_TOO_LARGE, "the value of " STR_FMT " is too large to be stored", STR_ARG(key));
    return true;
}

bool seal_open(const struct seal *s, struct str key, struct str sealed, struct strbuf *out, struct err *err)
{
    const unsigned char *p = str_bytes(sealed);
    if (sealed.n >= 1 && p[0] == PLAIN) {
        strbuf_add(out, str_sub(sealed, 1, sealed.n));
        return true;
    }
    if (sealed.n < TEXT_AT + TAG || p[0] != AES_GCM || sealed.n > STORE_VALUE_MAX + SEAL_OVERHEAD)
        return err_set(err, E_IO, "the stored value of " STR_FMT " is damaged (no envelope of a known kind)",
                       STR_ARG(key));
    uint32_t id = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4];
    const struct store_seal_key *k = NULL;
    for (size_t i = 0; i < s->nkeys; i++)
        if (s->keys[i].id == id)
            k = &s->keys[i];
    if (!k)
        return err_set(err, E_IO,
                       "the value of " STR_FMT " is sealed with key %u, which is not among the keys given: "
                       "bring that key back",
                       STR_ARG(key), id);
    size_t n = sealed.n - TEXT_AT - TAG;
    char *room = strbuf_room(out, n);
    if (!room)
        return err_set(err, E_TOO_LARGE, "the value of " STR_FMT " is too large", STR_ARG(key));
    if (!value_decrypt(k, key, sealed, (unsigned char *)room))
        return err_set(err, E_IO,
                       "the sealed value of " STR_FMT " does not open with key %u: it was changed, moved "
                       "from another name, or the key is not the one it was sealed with",
                       STR_ARG(key), id);
    strbuf_used(out, n);
    return true;
}
