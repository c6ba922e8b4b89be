/* Requests and signatures. What a signer takes over from a request: its subject and alternative names as they are,
 * its key, its name constraints; usages and whether it is a CA come from the CertificateRequest, and what the request
 * says of them must be the same. */
#include "base/clock.h"
#include "edge/cert_int.h"
#include <openssl/err.h>
#include <openssl/pem.h>

static void extensions_free(STACK_OF(X509_EXTENSION) * e)
{
    sk_X509_EXTENSION_pop_free(e, X509_EXTENSION_free);
}

static STACK_OF(X509_EXTENSION) * request_extensions(const struct val *spec, X509_NAME *subject, struct err *err)
{
    STACK_OF(X509_EXTENSION) *e = sk_X509_EXTENSION_new_null();
    X509_EXTENSION *sans = NULL;
    const struct val *encode = val_get_str(spec, S("encodeUsagesInRequest"));
    bool ca = val_true(val_get_str(spec, S("isCA")));
    ASSERT(e);
    bool ok = cert_sans(spec, X509_NAME_entry_count(subject) == 0, &sans, err);
    if (ok && !sans && X509_NAME_get_index_by_NID(subject, NID_commonName, -1) < 0)
        ok = err_set(err, E_INVALID,
                     "at least one of commonName (from the commonName field or from a literalSubject), dnsNames, "
                     "emailSANs, ipAddresses, otherNames, or uriSANs must be set");
    if (sans)
        ASSERT(sk_X509_EXTENSION_push(e, sans) > 0);
    if (ok && (!encode || val_true(encode)))
        ok = cert_usages(val_get_str(spec, S("usages")), ca, e, err);
    ok = ok && cert_constraints(spec, e, err);
    if (ok)
        return e;
    extensions_free(e);
    return NULL;
}

X509_REQ *cert_request_make(const struct val *spec, EVP_PKEY *k, struct err *err)
{
    struct str algorithm = val_text(val_get_str(spec, S("signatureAlgorithm")));
    X509_NAME *subject = cert_subject(spec, err);
    STACK_OF(X509_EXTENSION) *e = subject ? request_extensions(spec, subject, err) : NULL;
    X509_REQ *r = e ? X509_REQ_new() : NULL;
    bool ok = r && X509_REQ_set_version(r, X509_REQ_VERSION_1) == 1 && X509_REQ_set_subject_name(r, subject) == 1 &&
              X509_REQ_set_pubkey(r, k) == 1 &&
              (sk_X509_EXTENSION_num(e) == 0 || X509_REQ_add_extensions(r, e) == 1) &&
              X509_REQ_sign(r, k, cert_digest_of(k, algorithm)) > 0;
    X509_NAME_free(subject);
    extensions_free(e);
    if (ok)
        return r;
    X509_REQ_free(r);
    if (!err->kind)
        (void)cert_failed(err, "make a certificate request");
    return NULL;
}

/* --- signing --- */

static const X509_EXTENSION *extension_of(const STACK_OF(X509_EXTENSION) * e, int nid)
{
    int i = X509v3_get_ext_by_NID(e, nid, -1);
    return i < 0 ? NULL : X509v3_get_ext(e, i);
}

static bool extension_same(const X509_EXTENSION *a, const X509_EXTENSION *b)
{
    return (!a && !b) || (a && b &&
                          ASN1_OCTET_STRING_cmp(X509_EXTENSION_get_data((X509_EXTENSION *)(uintptr_t)a),
                                                X509_EXTENSION_get_data((X509_EXTENSION *)(uintptr_t)b)) == 0);
}

/* What the request says of itself is what was approved. */
static bool request_agrees(const STACK_OF(X509_EXTENSION) * asked, const STACK_OF(X509_EXTENSION) * usages, bool ca,
                           struct err *err)
{
    const X509_EXTENSION *key = extension_of(asked, NID_key_usage),
                         *extended = extension_of(asked, NID_ext_key_usage);
    BASIC_CONSTRAINTS *basic = X509V3_get_d2i(asked, NID_basic_constraints, NULL, NULL);
    bool ok = !basic || (basic->ca != 0) == ca;
    BASIC_CONSTRAINTS_free(basic);
    if (!ok)
        return err_set(err, E_INVALID, "encoded CSR error: IsCA %s does not match expected value %s",
                       ca ? "false" : "true", ca ? "true" : "false");
    if ((key || extended) && !extension_same(key, extension_of(usages, NID_key_usage)))
        return err_set(err, E_INVALID, "encoded CSR error: the KeyUsages do not match those of spec.usages");
    if ((key || extended) && !extension_same(extended, extension_of(usages, NID_ext_key_usage)))
        return err_set(err, E_INVALID, "encoded CSR error: the ExtKeyUsages do not match those of spec.usages");
    return true;
}

static void extension_conf(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX c;
    X509V3_set_ctx_nodb(&c);
    X509V3_set_ctx(&c, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &c, nid, value);
    if (e) /* an issuer without a key identifier has none to name */
        ASSERT(X509_add_ext(x, e, -1) == 1);
    X509_EXTENSION_free(e);
    ERR_clear_error();
}

static GENERAL_NAME *uri_name(struct str uri)
{
    GENERAL_NAME *g = GENERAL_NAME_new();
    ASN1_IA5STRING *s = ASN1_IA5STRING_new();
    ASSERT(g && s && ASN1_STRING_set(s, uri.p, (int)uri.n) == 1);
    GENERAL_NAME_set0_value(g, GEN_URI, s);
    return g;
}

static void crl_add(X509 *x, const struct val *urls)
{
    CRL_DIST_POINTS *points = sk_DIST_POINT_new_null();
    ASSERT(points);
    val_each_item (it, urls) {
        DIST_POINT *p = DIST_POINT_new();
        ASSERT(p && (p->distpoint = DIST_POINT_NAME_new()) &&
               (p->distpoint->name.fullname = sk_GENERAL_NAME_new_null()));
        p->distpoint->type = 0;
        ASSERT(sk_GENERAL_NAME_push(p->distpoint->name.fullname, uri_name(val_text(it))) > 0 &&
               sk_DIST_POINT_push(points, p) > 0);
    }
    if (sk_DIST_POINT_num(points) > 0)
        ASSERT(X509_add1_ext_i2d(x, NID_crl_distribution_points, points, 0, 0) == 1);
    CRL_DIST_POINTS_free(points);
}

static void access_push(AUTHORITY_INFO_ACCESS *to, int method, const struct val *urls)
{
    val_each_item (it, urls) {
        ACCESS_DESCRIPTION *d = ACCESS_DESCRIPTION_new();
        ASSERT(d);
        GENERAL_NAME_free(d->location);
        d->method = OBJ_nid2obj(method);
        d->location = uri_name(val_text(it));
        ASSERT(sk_ACCESS_DESCRIPTION_push(to, d) > 0);
    }
}

static void access_add(X509 *x, const struct val *ask)
{
    AUTHORITY_INFO_ACCESS *to = AUTHORITY_INFO_ACCESS_new();
    ASSERT(to);
    access_push(to, NID_ad_OCSP, val_get_str(ask, S("ocsp")));
    access_push(to, NID_ad_ca_issuers, val_get_str(ask, S("urls")));
    if (sk_ACCESS_DESCRIPTION_num(to) > 0)
        ASSERT(X509_add1_ext_i2d(x, NID_info_access, to, 0, 0) == 1);
    AUTHORITY_INFO_ACCESS_free(to);
}

static void extension_take(X509 *x, const X509_EXTENSION *e, int critical)
{
    X509_EXTENSION *own = e ? X509_EXTENSION_dup((X509_EXTENSION *)(uintptr_t)e) : NULL;
    if (own && critical >= 0)
        (void)X509_EXTENSION_set_critical(own, critical);
    if (own)
        ASSERT(X509_add_ext(x, own, -1) == 1);
    X509_EXTENSION_free(own);
}

static void serial_set(X509 *x)
{
    unsigned char serial[16];
    random_bytes(serial, sizeof serial);
    serial[0] = (serial[0] & 0x7f) | 0x40; /* positive, and always as long */
    BIGNUM *bn = BN_bin2bn(serial, sizeof serial, NULL);
    ASSERT(bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(x)));
    BN_free(bn);
}

static bool certificate_fill(X509 *x, X509 *issuer, X509_REQ *r, const struct val *ask, struct err *err)
{
    bool ca = val_true(val_get_str(ask, S("isCA")));
    int64_t now = clock_real() / NS_PER_S, seconds = val_num(val_get_str(ask, S("seconds")), 0);
    X509_NAME *subject = X509_REQ_get_subject_name(r);
    STACK_OF(X509_EXTENSION) *asked = X509_REQ_get_extensions(r), *usages = sk_X509_EXTENSION_new_null();
    int64_t before = val_num(val_get_str(ask, S("before")),
                             0); /* for the cluster itself, which gives what is approved */
    bool ok = cert_usages(val_get_str(ask, S("usages")), ca, usages, err) &&
              (before || request_agrees(asked, usages, ca, err));
    if (ok) {
        ASSERT(X509_set_version(x, X509_VERSION_3) == 1 && X509_set_subject_name(x, subject) == 1 &&
               X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer) : subject) == 1 &&
               X509_set_pubkey(x, X509_REQ_get0_pubkey(r)) == 1);
        serial_set(x);
        ASSERT(ASN1_TIME_set(X509_getm_notBefore(x), now - before) &&
               ASN1_TIME_set(X509_getm_notAfter(x), now + seconds));
        if (before && ASN1_TIME_compare(X509_get0_notAfter(x), X509_get0_notAfter(issuer)) > 0)
            ASSERT(X509_set1_notAfter(x, X509_get0_notAfter(issuer)) == 1);
        for (int i = 0; i < sk_X509_EXTENSION_num(usages); i++)
            extension_take(x, sk_X509_EXTENSION_value(usages, i), -1);
        extension_conf(x, issuer ? issuer : x, NID_basic_constraints, ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
        extension_conf(x, issuer ? issuer : x, NID_subject_key_identifier, "hash");
        if (issuer)
            extension_conf(x, issuer, NID_authority_key_identifier, "keyid");
        extension_take(x, extension_of(asked, NID_subject_alt_name), X509_NAME_entry_count(subject) == 0);
        if (!before)
            extension_take(x, extension_of(asked, NID_name_constraints), -1);
        crl_add(x, val_get_str(ask, S("crl")));
        access_add(x, ask);
    }
    extensions_free(asked);
    extensions_free(usages);
    return ok;
}

static bool is_root(X509 *x)
{
    return X509_NAME_cmp(X509_get_subject_name(x), X509_get_issuer_name(x)) == 0 && X509_self_signed(x, 0) == 1;
}

static X509 *signer_above(X509 *x, const STACK_OF(X509) * among)
{
    for (int i = 0; i < sk_X509_num(among); i++) {
        X509 *o = sk_X509_value(among, i);
        if (X509_cmp(o, x) != 0 && X509_NAME_cmp(X509_get_subject_name(o), X509_get_issuer_name(x)) == 0 &&
            X509_verify(x, X509_get0_pubkey(o)) == 1)
            return o;
    }
    ERR_clear_error();
    return NULL;
}

/* The leaf and those above it, without a root; and the topmost, which is whom to trust. */
static void chain_write(X509 *leaf, const STACK_OF(X509) * signers, struct strbuf *chain, struct strbuf *ca)
{
    STACK_OF(X509) *own = sk_X509_new_null(), *top = sk_X509_new_null();
    ASSERT(own && top && sk_X509_push(own, leaf) > 0);
    X509 *at = leaf;
    for (int i = 0; i <= sk_X509_num(signers) && !is_root(at); i++) {
        X509 *next = signer_above(at, signers);
        if (!next)
            break;
        at = next;
        if (!is_root(at))
            ASSERT(sk_X509_push(own, at) > 0);
    }
    ASSERT(sk_X509_push(top, at) > 0);
    cert_chain_pem(own, chain);
    cert_chain_pem(top, ca);
    sk_X509_free(own);
    sk_X509_free(top);
}

static X509_REQ *request_read(struct str pem, struct err *err)
{
    BIO *b = cert_bio(pem);
    X509_REQ *r = PEM_read_bio_X509_REQ(b, NULL, NULL, NULL);
    BIO_free(b);
    if (r && X509_REQ_verify(r, X509_REQ_get0_pubkey(r)) == 1)
        return r;
    (void)cert_failed(err, r ? "the request is not signed by its own key"
                             : "error decoding certificate request PEM block");
    X509_REQ_free(r);
    return NULL;
}

static bool sign_with(X509_REQ *r, EVP_PKEY *k, const STACK_OF(X509) * signers, const struct val *ask,
                      struct strbuf *chain, struct strbuf *ca, struct err *err)
{
    X509 *issuer = sk_X509_num(signers) > 0 ? sk_X509_value(signers, 0) : NULL;
    if (issuer && X509_check_private_key(issuer, k) != 1)
        return cert_failed(err, "the signer's key does not belong to its certificate");
    if (!issuer && EVP_PKEY_eq(X509_REQ_get0_pubkey(r), k) != 1)
        return cert_failed(err, "CSR not signed by referenced private key");
    X509 *x = X509_new();
    ASSERT(x);
    bool ok = certificate_fill(x, issuer, r, ask, err);
    if (ok && X509_sign(x, k, cert_digest_of(k, S(""))) <= 0)
        ok = cert_failed(err, "sign");
    if (ok)
        chain_write(x, signers, chain, ca);
    X509_free(x);
    return ok;
}

static void chain_free(STACK_OF(X509) * own)
{
    sk_X509_pop_free(own, X509_free);
}

bool cert_sign(struct arena *a, const struct val *ask, struct strbuf *chain, struct strbuf *ca, struct err *err)
{
    struct str signer = cert_bytes(a, val_get_str(ask, S("certificate"))),
               above_it = cert_bytes(a, val_get_str(ask, S("ca")));
    X509_REQ *r = request_read(cert_bytes(a, val_get_str(ask, S("request"))), err);
    EVP_PKEY *k = r ? cert_key_parse(cert_bytes(a, val_get_str(ask, S("key"))), err) : NULL;
    STACK_OF(X509) *signers = cert_chain_read(signer), *more = cert_chain_read(above_it);
    for (X509 *x; signer.n && (x = sk_X509_shift(more));)
        ASSERT(sk_X509_push(signers, x) > 0);
    bool ok = k && (!signer.n || sk_X509_num(signers) > 0 || cert_failed(err, "the signer has no certificate")) &&
              sign_with(r, k, signers, ask, chain, ca, err);
    chain_free(signers);
    chain_free(more);
    EVP_PKEY_free(k);
    X509_REQ_free(r);
    return ok;
}
