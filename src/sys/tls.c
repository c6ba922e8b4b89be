#include "sys/tls.h"
#include "base/clock.h"
#include "base/map.h"
#include "sys/tls_int.h"
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#define CHAIN_MOST    16                   /* certificates of one chain */
#define SHOWN_MOST    (32 << 10)           /* bytes of the certificates that a client may show */
#define GROUPS        "X25519:P-256:P-384" /* what the others cost us, a client that only says so does not pay */
#define CA_MOST       512                  /* certificates of one bundle */
#define SESSIONS_MOST 64                   /* kept for resumption, one a server name */

struct tls_server {
    SSL_CTX *ctx;
    unsigned char alpn[256]; /* wire form; read by connections of every context made here */
    unsigned nalpn;
};
struct tls_client {
    SSL_CTX *ctx;
    struct map sessions; /* SSL_SESSION by server name */
};

static bool openssl_failed(struct err *err, enum err_kind kind, const char *what)
{
    unsigned long e = ERR_peek_last_error();
    const char *reason = e ? ERR_reason_error_string(e) : NULL;
    ERR_clear_error();
    return err_set(err, kind, "%s: %s", what, reason ? reason : "unknown error of the TLS library");
}

static BIO *bio_of(struct str s)
{
    BIO *b = BIO_new_mem_buf(s.n ? s.p : "", (int)MIN(s.n, (size_t)INT32_MAX));
    ASSERT(b);
    return b;
}

/* Calls take for each certificate of the text, which becomes take's. */
static bool each_cert(struct str pem, int most, bool (*take)(void *arg, X509 *own_x, int i), void *arg,
                      const char *what, struct err *err)
{
    BIO *b = bio_of(pem);
    int n = 0;
    bool ok = true;
    for (X509 *x; ok && n < most && (x = PEM_read_bio_X509(b, NULL, NULL, NULL)); n++)
        ok = take(arg, x, n);
    BIO_free(b);
    bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (!ok || (n < most && !at_end))
        return openssl_failed(err, E_INVALID, what);
    ERR_clear_error();
    if (n == 0)
        return err_set(err, E_INVALID, "%s: there is no PEM certificate in it", what);
    return true;
}

static bool take_chain(void *arg, X509 *x, int i)
{
    SSL_CTX *ctx = arg;
    bool ok = (i == 0 ? SSL_CTX_use_certificate(ctx, x) : SSL_CTX_add1_chain_cert(ctx, x)) == 1;
    X509_free(x);
    return ok;
}

static bool take_trust(void *arg, X509 *x, UNUSED int i)
{
    bool ok = X509_STORE_add_cert(SSL_CTX_get_cert_store(arg), x) == 1;
    X509_free(x);
    return ok;
}

static bool take_client_ca(void *arg, X509 *x, int i)
{
    (void)SSL_CTX_add_client_CA(arg, x);
    return take_trust(arg, x, i);
}

static bool use_pair(SSL_CTX *ctx, struct str cert, struct str key, struct err *err)
{
    if (!each_cert(cert, CHAIN_MOST, take_chain, ctx, "certificate", err))
        return false;
    BIO *b = bio_of(key);
    EVP_PKEY *k = PEM_read_bio_PrivateKey(b, NULL, NULL, NULL);
    BIO_free(b);
    bool ok = k && SSL_CTX_use_PrivateKey(ctx, k) == 1;
    EVP_PKEY_free(k);
    if (!k)
        return openssl_failed(err, E_INVALID, "key: it is not a PEM private key");
    if (!ok || SSL_CTX_check_private_key(ctx) != 1)
        return openssl_failed(err, E_INVALID, "the key does not belong to the certificate");
    return true;
}

static SSL_CTX *ctx_new(const SSL_METHOD *method)
{
    SSL_CTX *ctx = SSL_CTX_new(method);
    ASSERT(ctx);
    (void)SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    /* the framing above says where a message ends, so a missing close_notify is an ordinary end */
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(ctx,
                     SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return ctx;
}

static unsigned alpn_wire(const char *const *list, unsigned char *out, size_t size)
{
    unsigned n = 0;
    for (; list && *list; list++) {
        size_t len = strlen(*list);
        ASSERT(len > 0 && len < 256 && n + 1 + len <= size);
        out[n++] = (unsigned char)len;
        memcpy(out + n, *list, len);
        n += (unsigned)len;
    }
    return n;
}

static int alpn_choose(UNUSED SSL *ssl, const unsigned char **out, unsigned char *outlen, const unsigned char *in,
                       unsigned inlen, void *arg)
{
    struct tls_server *t = arg;
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, outlen, t->alpn, t->nalpn, in, inlen) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* A bad client certificate does not end the handshake: the service above answers 401 and says why. The first thing
 * that is wrong ends the looking, though: the signatures of a chain that leads to nobody whom we trust are not worth
 * a stranger's choice of keys. */
static int verify_quietly(X509_STORE_CTX *ctx, UNUSED void *arg)
{
    (void)X509_verify_cert(ctx); /* the outcome is kept in the context */
    ERR_clear_error();
    return 1;
}

static SSL_CTX *server_ctx(struct tls_server *t, const struct tls_server_config *c, struct err *err)
{
    SSL_CTX *ctx = ctx_new(TLS_server_method());
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
    ASSERT(SSL_CTX_set1_groups_list(ctx, GROUPS) == 1);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* tickets carry the state */
    (void)SSL_CTX_set_num_tickets(ctx, 1);
    (void)SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"wherry", 6);
    bool ok = use_pair(ctx, c->cert, c->key, err);
    if (ok && c->client_ca.n) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE, NULL);
        SSL_CTX_set_cert_verify_callback(ctx, verify_quietly, NULL);
        SSL_CTX_set_verify_depth(ctx, CHAIN_MOST);
        (void)SSL_CTX_set_max_cert_list(ctx, SHOWN_MOST);
        ok = each_cert(c->client_ca, CA_MOST, take_client_ca, ctx, "client CA", err);
    }
    if (!ok) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    if (c->alpn)
        SSL_CTX_set_alpn_select_cb(ctx, alpn_choose, t);
    return ctx;
}

struct tls_server *tls_server_new(const struct tls_server_config *c, struct err *err)
{
    struct tls_server *t = NEW(struct tls_server);
    if (!tls_server_reload(t, c, err)) {
        mem_free(t);
        return NULL;
    }
    return t;
}

bool tls_server_reload(struct tls_server *t, const struct tls_server_config *c, struct err *err)
{
    SSL_CTX *ctx = server_ctx(t, c, err);
    if (!ctx)
        return false;
    SSL_CTX_free(t->ctx); /* counted: connections made by it keep it */
    t->ctx = ctx;
    t->nalpn = alpn_wire(c->alpn, t->alpn, sizeof t->alpn);
    return true;
}

void tls_server_free(struct tls_server *t)
{
    if (!t)
        return;
    SSL_CTX_free(t->ctx);
    mem_free(t);
}

/* OpenSSL reads on as long as records come that hold nothing for us (new keys, hellos, alerts), and they come faster
 * than it gets through them. */
static long read_counted(BIO *b, int what, UNUSED const char *p, UNUSED size_t len, UNUSED int argi, UNUSED long argl,
                         int ret, UNUSED size_t *n)
{
    int *left = (int *)(void *)BIO_get_callback_arg(b);
    if (what != BIO_CB_READ || (*left)-- > 0)
        return ret;
    BIO_set_retry_read(b);
    return -1;
}

static void fd_given(SSL *ssl, int fd, int *reads_left)
{
    ASSERT(SSL_set_fd(ssl, fd) == 1);
    BIO_set_callback_ex(SSL_get_rbio(ssl), read_counted);
    BIO_set_callback_arg(SSL_get_rbio(ssl), (char *)reads_left);
}

SSL *tls_server_ssl(struct tls_server *t, int fd, int *reads_left)
{
    SSL *ssl = SSL_new(t->ctx);
    ASSERT(ssl);
    fd_given(ssl, fd, reads_left);
    SSL_set_accept_state(ssl);
    return ssl;
}

static int verify_told(int ok, X509_STORE_CTX *ctx);

static int session_came(SSL *ssl, SSL_SESSION *session)
{
    struct tls_client *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    struct str name = str_of(SSL_get_app_data(ssl));
    if (!map_get(&t->sessions, name) && map_len(&t->sessions) >= SESSIONS_MOST)
        return 0;
    SSL_SESSION_free(map_put(&t->sessions, name, session));
    return 1; /* ours now */
}

struct tls_client *tls_client_new(const struct tls_client_config *c, struct err *err)
{
    struct tls_client *t = NEW(struct tls_client);
    t->ctx = ctx_new(TLS_client_method());
    SSL_CTX_set_app_data(t->ctx, t);
    SSL_CTX_set_verify(t->ctx, c->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, verify_told);
    (void)SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(t->ctx, session_came);
    bool ok = true;
    if (c->ca.n)
        ok = each_cert(c->ca, CA_MOST, take_trust, t->ctx, "CA", err);
    else if (!c->insecure)
        ok = SSL_CTX_set_default_verify_paths(t->ctx) == 1 ||
             openssl_failed(err, E_IO, "read the system's certificate authorities");
    if (ok && (c->cert.n || c->key.n))
        ok = use_pair(t->ctx, c->cert, c->key, err);
    if (!ok) {
        tls_client_free(t);
        return NULL;
    }
    unsigned char alpn[256];
    unsigned n = alpn_wire(c->alpn, alpn, sizeof alpn);
    if (n)
        (void)SSL_CTX_set_alpn_protos(t->ctx, alpn, n);
    return t;
}

void tls_client_free(struct tls_client *t)
{
    if (!t)
        return;
    map_each (e, &t->sessions)
        SSL_SESSION_free(e->value);
    map_fini(&t->sessions);
    SSL_CTX_free(t->ctx);
    mem_free(t);
}

static bool is_ip(const char *name)
{
    unsigned char ip[16];
    return inet_pton(AF_INET, name, ip) == 1 || inet_pton(AF_INET6, name, ip) == 1;
}

SSL *tls_client_ssl(struct tls_client *t, int fd, int *reads_left, const char *name, const char *const *alpn,
                    struct err *err)
{
    SSL *ssl = SSL_new(t->ctx);
    ASSERT(ssl);
    fd_given(ssl, fd, reads_left);
    SSL_set_app_data(ssl, (void *)(uintptr_t)name);
    bool ok = is_ip(name) ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1
                          : SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
    if (!ok) {
        SSL_free(ssl);
        ERR_clear_error();
        (void)err_set(err, E_INVALID, "\"%s\" is not a server name that TLS can carry", name);
        return NULL;
    }
    unsigned char protocols[256];
    unsigned n = alpn_wire(alpn, protocols, sizeof protocols);
    if (n)
        (void)SSL_set_alpn_protos(ssl, protocols, n);
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    SSL_SESSION *known = map_get(&t->sessions, str_of(name));
    if (known)
        (void)SSL_set_session(ssl, known);
    SSL_set_connect_state(ssl);
    return ssl;
}

int64_t x509_time(const ASN1_TIME *t)
{
    struct tm tm;
    if (ASN1_TIME_to_tm(t, &tm) != 1)
        return 0;
    int64_t s = timegm(&tm);
    return s > INT64_MAX / NS_PER_S ? INT64_MAX : s * NS_PER_S; /* the year 9999 of certificates without end */
}

static void add_names(X509 *x, struct strbuf *out)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    int n = names ? MIN(sk_GENERAL_NAME_num(names), 16) : 0;
    const char *sep = "";
    for (int i = 0; i < n; i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);
        char ip[INET6_ADDRSTRLEN] = "";
        if (g->type == GEN_DNS)
            strbuf_addf(out, "%s%.*s", sep, ASN1_STRING_length(g->d.dNSName),
                        (const char *)ASN1_STRING_get0_data(g->d.dNSName));
        else if (g->type == GEN_IPADD && inet_ntop(ASN1_STRING_length(g->d.iPAddress) == 4 ? AF_INET : AF_INET6,
                                                   ASN1_STRING_get0_data(g->d.iPAddress), ip, sizeof ip))
            strbuf_addf(out, "%s%s", sep, ip);
        sep = ", ";
    }
    if (n == 0)
        strbuf_addz(out, "no name at all");
    GENERAL_NAMES_free(names);
}

static void issuer_cn(X509 *x, char out[128])
{
    if (X509_NAME_get_text_by_NID(X509_get_issuer_name(x), NID_commonName, out, 128) < 0)
        (void)snprintf(out, 128, "unknown");
}

/* Why a certificate was not verified. wanted: the name it had to be for, or NULL. */
static void verify_problem(X509 *x, long code, const char *wanted, struct strbuf *out)
{
    char cn[128];
    if (!x) {
        strbuf_addz(out, "no certificate was shown");
        return;
    }
    issuer_cn(x, cn);
    switch (code) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        strbuf_addz(out, "the certificate expired at ");
        time_add(out, x509_time(X509_get0_notAfter(x)));
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        strbuf_addz(out, "the certificate is not valid before ");
        time_add(out, x509_time(X509_get0_notBefore(x)));
        strbuf_addz(out, " (is this machine's clock right?)");
        break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        strbuf_addf(out, "the certificate is not for %s but for ", wanted ? wanted : "this name");
        add_names(x, out);
        break;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        strbuf_addf(out, "the certificate is signed by an unknown authority (\"%s\")", cn);
        break;
    case X509_V_ERR_INVALID_PURPOSE:
        strbuf_addz(out, "the certificate is not meant for this use (extended key usage)");
        break;
    default: strbuf_addf(out, "the certificate is not good: %s", X509_verify_cert_error_string(code));
    }
}

/* What the handshake under way in this thread found wrong: OpenSSL keeps no certificate of a failed one. */
static _Thread_local char problem[1024];

static int verify_told(int ok, X509_STORE_CTX *ctx)
{
    if (!ok) {
        SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
        AUTO(strbuf_fini) struct strbuf b = STRBUF(sizeof problem - 1);
        verify_problem(X509_STORE_CTX_get_current_cert(ctx), X509_STORE_CTX_get_error(ctx), SSL_get_app_data(ssl),
                       &b);
        (void)snprintf(problem, sizeof problem, "%s", b.p ? b.p : "");
    }
    return ok;
}

static const char *alert_words(int reason)
{
    switch (reason) {
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
        return "the other side refused the certificate: it does not know the authority that signed it";
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
        return "the other side refused the certificate: it says that it has expired";
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED: return "the other side refused the certificate";
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED: return "the other side wants a client certificate";
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
        return "no TLS version or cipher in common (1.2 and 1.3 are spoken here)";
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_PACKET_LENGTH_TOO_LONG: return TLS_NOT_SPOKEN;
    case SSL_R_HTTP_REQUEST: return "plain HTTP was sent where TLS is spoken";
    case SSL_R_UNEXPECTED_EOF_WHILE_READING: return "the other side closed the connection during the TLS handshake";
    default: return NULL;
    }
}

bool tls_failed(SSL *ssl, int rc, const char *what, struct err *err)
{
    int keep = errno, kind = SSL_get_error(ssl, rc);
    unsigned long e = ERR_peek_error();
    int reason = ERR_GET_REASON(e);
    const char *words = e ? alert_words(reason) : NULL, *text = e ? ERR_reason_error_string(e) : NULL;
    ERR_clear_error();
    if (kind == SSL_ERROR_ZERO_RETURN || (kind == SSL_ERROR_SYSCALL && keep == 0))
        return err_set(err, E_UNAVAILABLE, "%s: %s", what, alert_words(SSL_R_UNEXPECTED_EOF_WHILE_READING));
    if (kind == SSL_ERROR_SYSCALL) {
        errno = keep;
        return err_errno(err, "%s", what);
    }
    if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
        return err_set(err, E_UNAUTHORIZED, "%s: %s", what, problem);
    return err_set(err, E_IO, "%s: %s", what, words ? words : text ? text : "TLS failed");
}

bool x509_subject(X509 *x, struct arena *a, struct str *cn, struct str **orgs, size_t *norgs)
{
    return x509_names(X509_get_subject_name(x), a, cn, orgs, norgs);
}

bool x509_names(X509_NAME *name, struct arena *a, struct str *cn, struct str **orgs, size_t *norgs)
{
    bool whole = true;
    int n = X509_NAME_entry_count(name);
    *cn = S("");
    *orgs = arena_alloc(a, (size_t)MAX(n, 1) * sizeof **orgs);
    *norgs = 0;
    for (int i = 0; i < n; i++) {
        X509_NAME_ENTRY *e = X509_NAME_get_entry(name, i);
        int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(e));
        unsigned char *utf8;
        int len = nid == NID_commonName || nid == NID_organizationName
                      ? ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(e))
                      : -1;
        if (len < 0)
            continue;
        struct str text = str_dup(a, (struct str){(char *)utf8, (size_t)len});
        OPENSSL_free(utf8);
        if (memchr(text.p, 0, text.n))
            whole = false;
        else if (nid == NID_commonName)
            *cn = text;
        else
            (*orgs)[(*norgs)++] = text;
    }
    return whole;
}

void x509_sha256hex(X509 *x, struct arena *a, struct str *out)
{
    unsigned char md[32];
    unsigned n = 0;
    ASSERT(X509_digest(x, EVP_sha256(), md, &n) == 1);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(128);
    strbuf_add_hex(&b, md, n);
    *out = str_dup(a, strbuf_str(&b));
}

struct str tls_alpn_of(const SSL *ssl)
{
    const unsigned char *p;
    unsigned n;
    SSL_get0_alpn_selected(ssl, &p, &n);
    return n ? (struct str){(const char *)p, n} : S("");
}

void tls_peer_of(SSL *ssl, struct arena *a, struct tls_peer *out)
{
    *out = (struct tls_peer){0};
    X509 *x = SSL_get0_peer_certificate(ssl);
    if (!x)
        return;
    long code = SSL_get_verify_result(ssl);
    out->shown = true;
    out->not_after = x509_time(X509_get0_notAfter(x));
    /* a resumed session says what was so when it began */
    if (code == X509_V_OK && out->not_after < clock_real())
        code = X509_V_ERR_CERT_HAS_EXPIRED;
    out->verified = code == X509_V_OK;
    if (!out->verified) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(1024);
        verify_problem(x, code, NULL, &b);
        out->problem = str_dup(a, strbuf_str(&b));
    }
    if (!x509_subject(x, a, &out->cn, &out->orgs, &out->norgs) && out->verified) {
        out->verified = false;
        out->problem = S("a name in the certificate's subject holds a NUL");
    }
    x509_sha256hex(x, a, &out->sha256hex);
}
