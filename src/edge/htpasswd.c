/* crypt(3) knows most of these; its library is opened when the first password is looked at, as only a front door that
 * asks for passwords needs it. */
#include "edge/htpasswd.h"
#include "sys/crypto.h"
#include <crypt.h>
#include <dlfcn.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>

#define PASSWORD_MOST 512

static char *(*crypt_of)(const char *phrase, const char *setting, struct crypt_data *data);

static void crypt_find(void)
{
    void *library = dlopen("libcrypt.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library)
        *(void **)&crypt_of = dlsym(library, "crypt_r");
}

static bool bytes_same(struct str a, struct str b)
{
    return a.n == b.n && CRYPTO_memcmp(a.p, b.p, a.n) == 0;
}

static bool crypt_matches(const char *password, const char *hash, struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, crypt_find);
    if (!crypt_of)
        return err_set(err, E_UNAVAILABLE, "libcrypt.so.1 is not on this machine");
    struct crypt_data *data = NEW(struct crypt_data);
    const char *made = crypt_of(password, hash, data);
    bool same = made && made[0] != '*' && bytes_same(str_of(made), str_of(hash));
    bool known = made && made[0] != '*';
    OPENSSL_cleanse(data, sizeof *data);
    mem_free(data);
    if (!known)
        return err_set(err, E_INVALID, "a hash of no kind that is known");
    return same || err_set(err, E_FORBIDDEN, "another password");
}

/* --- Apache's MD5: crypt's $1$ under another name, which libcrypt does not know --- */

static void digest_of(uint8_t out[16], struct str a, struct str b, struct str c)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    ASSERT(ctx && EVP_DigestInit_ex(ctx, EVP_md5(), NULL) && EVP_DigestUpdate(ctx, a.p, a.n) &&
           EVP_DigestUpdate(ctx, b.p, b.n) && EVP_DigestUpdate(ctx, c.p, c.n) && EVP_DigestFinal_ex(ctx, out, NULL));
    EVP_MD_CTX_free(ctx);
}

static void apr1_rounds(struct str password, struct str salt, uint8_t sum[16])
{
    for (int i = 0; i < 1000; i++) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(4096);
        struct str had = {(const char *)sum, 16};
        strbuf_add(&b, i & 1 ? password : had);
        if (i % 3)
            strbuf_add(&b, salt);
        if (i % 7)
            strbuf_add(&b, password);
        strbuf_add(&b, i & 1 ? had : password);
        digest_of(sum, strbuf_str(&b), S(""), S(""));
    }
}

static void apr1_text(const uint8_t sum[16], struct strbuf *out)
{
    static const char letters[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for (int i = 0; i < 6; i++) {
        unsigned n = i < 5 ? (unsigned)sum[i] << 16 | (unsigned)sum[i + 6] << 8 | sum[i < 4 ? i + 12 : 5] : sum[11];
        for (int k = 0; k < (i < 5 ? 4 : 2); k++, n >>= 6)
            strbuf_addc(out, letters[n & 63]);
    }
}

static bool apr1_matches(struct str password, struct str hash, struct err *err)
{
    struct str rest = str_sub(hash, 6, hash.n), salt, code;
    uint8_t sum[16];
    if (!str_split(rest, '$', &salt, &code))
        return err_set(err, E_INVALID, "a hash of no kind that is known");
    salt = str_sub(salt, 0, MIN(salt.n, 8));
    digest_of(sum, password, salt, password);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(4096), text = STRBUF(64);
    strbuf_add(&b, password);
    strbuf_add(&b, S("$apr1$"));
    strbuf_add(&b, salt);
    for (size_t n = password.n; n > 0; n -= MIN(n, 16))
        strbuf_add(&b, (struct str){(const char *)sum, MIN(n, 16)});
    for (size_t n = password.n; n > 0; n >>= 1)
        strbuf_addc(&b, n & 1 ? 0 : password.p[0]);
    digest_of(sum, strbuf_str(&b), S(""), S(""));
    apr1_rounds(password, salt, sum);
    apr1_text(sum, &text);
    return bytes_same(strbuf_str(&text), code) || err_set(err, E_FORBIDDEN, "another password");
}

static bool sha_matches(struct str password, struct str hash, struct err *err)
{
    uint8_t sum[20];
    sha1_of(password, sum);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(64);
    strbuf_add_base64(&b, sum, sizeof sum);
    return bytes_same(strbuf_str(&b), str_sub(hash, 5, hash.n)) || err_set(err, E_FORBIDDEN, "another password");
}

bool htpasswd_check(struct str lines, struct str name, struct str password, struct err *err)
{
    struct str line, who, hash;
    if (password.n > PASSWORD_MOST || memchr(password.p, 0, password.n))
        return err_set(err, E_FORBIDDEN, "a password of over %d bytes, or with NUL", PASSWORD_MOST);
    while (lines.n && str_cut(&lines, '\n', &line)) {
        if (!str_split(str_trim(line), ':', &who, &hash) || !str_eq(who, name))
            continue;
        if (str_starts(hash, S("{SHA}")))
            return sha_matches(password, hash, err);
        if (str_starts(hash, S("$apr1$")))
            return apr1_matches(password, hash, err);
        if (hash.n < 13 || hash.n > 256 || (hash.p[0] != '$' && hash.n != 13))
            return err_set(err, E_INVALID, "a hash of no kind that is known");
        AUTO_FREE char *word = str_dupz(password), *setting = str_dupz(hash);
        bool ok = crypt_matches(word, setting, err);
        OPENSSL_cleanse(word, password.n);
        return ok;
    }
    return err_set(err, E_NOT_FOUND, "no such name");
}

bool htpasswd_valid(struct str lines, struct err *err)
{
    struct str line, who, hash;
    for (int n = 1; lines.n && str_cut(&lines, '\n', &line); n++) {
        line = str_trim(line);
        if (line.n == 0 || line.p[0] == '#')
            continue;
        if (!str_split(line, ':', &who, &hash) || who.n == 0)
            return err_set(err, E_INVALID, "line %d is not NAME:HASH", n);
        bool known = str_starts(hash, S("{SHA}")) || (hash.n >= 13 && hash.p[0] == '$') || hash.n == 13;
        if (!known)
            return err_set(err, E_INVALID, "line %d: the password is no hash that is known (htpasswd -B makes one)",
                           n);
    }
    return true;
}
