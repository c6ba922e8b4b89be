/* Certificates, requests and keys read into facts (control/x509.h). */
#include "base/clock.h"
#include "edge/cert_int.h"
#include "sys/crypto.h"
#include <arpa/inet.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <time.h>

static int64_t time_of(const ASN1_TIME *t) /* ns since 1970 */
{
    struct tm tm;
    if (ASN1_TIME_to_tm(t, &tm) != 1)
        return 0;
    int64_t s = timegm(&tm);
    return s > INT64_MAX / NS_PER_S ? INT64_MAX : s * NS_PER_S; /* the year 9999 of certificates without end */
}

/* What a stranger calls text. */
static struct str asn1_text(const ASN1_STRING *s)
{
    return (struct str){(const char *)ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s)};
}

static struct str hex_of(struct arena *a, struct str bytes)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(PEM_MOST);
    strbuf_add_hex(&b, bytes.p, bytes.n);
    return str_dup(a, strbuf_str(&b));
}

/* In what is no text, or has a NUL, each byte is shown. */
static struct val text_shown(struct arena *a, struct str text)
{
    bool plain = str_utf8_ok(text) && str_find_char(text, 0) < 0;
    return val_str(a, plain ? text : hex_of(a, text));
}

static void set_text(struct arena *a, struct val *to, const char *field, struct str text)
{
    if (text.n)
        val_set_str(a, to, str_of(field), text_shown(a, text));
}

static void add_text(struct arena *a, struct val *to, const char *field, struct str text)
{
    struct val *list = val_get_str_mut(to, str_of(field));
    if (!list)
        list = val_set_str(a, to, str_of(field), val_list());
    val_add(a, list, text_shown(a, text));
}

static void subject_read(struct arena *a, const X509_NAME *name, struct val *to)
{
    static const struct {
        int nid;
        const char *field;
    } rows[] = {{NID_organizationName, "organizations"}, {NID_organizationalUnitName, "organizationalUnits"},
                {NID_countryName, "countries"},          {NID_stateOrProvinceName, "provinces"},
                {NID_localityName, "localities"},        {NID_streetAddress, "streetAddresses"},
                {NID_postalCode, "postalCodes"}};
    struct val subject = val_map();
    for (int i = 0; i < X509_NAME_entry_count(name); i++) {
        const X509_NAME_ENTRY *e = X509_NAME_get_entry(name, i);
        int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(e));
        unsigned char *utf8 = NULL;
        int n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(e));
        struct str text = {(const char *)utf8, n > 0 ? (size_t)n : 0};
        if (nid == NID_commonName)
            set_text(a, to, "commonName", text);
        else if (nid == NID_serialNumber)
            set_text(a, &subject, "serialNumber", text);
        for (size_t r = 0; r < countof(rows) && text.n; r++)
            if (rows[r].nid == nid)
                add_text(a, &subject, rows[r].field, text);
        OPENSSL_free(utf8);
    }
    if (subject.n)
        val_set_str(a, to, S("subject"), subject);
    unsigned char *der = NULL;
    int n = i2d_X509_NAME(name, &der);
    set_text(a, to, "literal", hex_of(a, (struct str){(const char *)der, n > 0 ? (size_t)n : 0}));
    OPENSSL_free(der);
}

static void other_read(struct arena *a, const OTHERNAME *o, struct val *to)
{
    char oid[128];
    if (OBJ_obj2txt(oid, sizeof oid, o->type_id, 1) <= 0 || o->value->type != V_ASN1_UTF8STRING)
        return;
    struct val one = val_map();
    val_set_str(a, &one, S("oid"), val_str(a, str_of(oid)));
    val_set_str(a, &one, S("utf8Value"), text_shown(a, asn1_text(o->value->value.utf8string)));
    struct val *list = val_get_str_mut(to, S("otherNames"));
    if (!list)
        list = val_set_str(a, to, S("otherNames"), val_list());
    val_add(a, list, one);
}

static void sans_read(struct arena *a, GENERAL_NAMES *own_names, struct val *to)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(own_names); i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(own_names, i);
        char ip[INET6_ADDRSTRLEN] = "";
        if (g->type == GEN_DNS)
            add_text(a, to, "dnsNames", asn1_text(g->d.dNSName));
        else if (g->type == GEN_EMAIL)
            add_text(a, to, "emailAddresses", asn1_text(g->d.rfc822Name));
        else if (g->type == GEN_URI)
            add_text(a, to, "uris", asn1_text(g->d.uniformResourceIdentifier));
        else if (g->type == GEN_OTHERNAME)
            other_read(a, g->d.otherName, to);
        else if (g->type == GEN_IPADD) {
            (void)inet_ntop(ASN1_STRING_length(g->d.iPAddress) == 4 ? AF_INET : AF_INET6,
                            ASN1_STRING_get0_data(g->d.iPAddress), ip, sizeof ip);
            add_text(a, to, "ipAddresses", str_of(ip));
        }
    }
    GENERAL_NAMES_free(own_names);
}

static void public_read(struct arena *a, EVP_PKEY *k, struct val *to)
{
    unsigned char *der = NULL;
    uint8_t hash[SHA256_SIZE];
    int n = k ? i2d_PUBKEY(k, &der) : 0;
    if (n <= 0)
        return;
    sha256_of((struct str){(const char *)der, (size_t)n}, hash);
    OPENSSL_free(der);
    set_text(a, to, "publicKey", hex_of(a, (struct str){(const char *)hash, sizeof hash}));
}

static bool certificate_read(struct arena *a, struct str pem, struct val *to, struct err *err)
{
    BIO *b = cert_bio(pem);
    X509 *x = PEM_read_bio_X509(b, NULL, NULL, NULL);
    BIO_free(b);
    if (!x)
        return cert_failed(err, "error decoding certificate PEM block");
    subject_read(a, X509_get_subject_name(x), to);
    sans_read(a, X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL), to);
    public_read(a, X509_get0_pubkey(x), to);
    val_set_str(a, to, S("notBefore"), val_int(time_of(X509_get0_notBefore(x))));
    val_set_str(a, to, S("notAfter"), val_int(time_of(X509_get0_notAfter(x))));
    if (X509_check_ca(x) == 1)
        val_set_str(a, to, S("isCA"), val_bool(true));
    if (X509_self_signed(x, 0) == 1)
        val_set_str(a, to, S("root"), val_bool(true));
    set_text(a, to, "serial", hex_of(a, asn1_text(X509_get0_serialNumber(x))));
    const ASN1_OCTET_STRING *authority = X509_get0_authority_key_id(x);
    if (authority)
        set_text(a, to, "authority", hex_of(a, asn1_text(authority)));
    X509_free(x);
    ERR_clear_error();
    return true;
}

static bool request_facts(struct arena *a, struct str pem, struct val *to, struct err *err)
{
    BIO *b = cert_bio(pem);
    X509_REQ *r = PEM_read_bio_X509_REQ(b, NULL, NULL, NULL);
    BIO_free(b);
    if (!r)
        return cert_failed(err, "error decoding certificate request PEM block");
    STACK_OF(X509_EXTENSION) *e = X509_REQ_get_extensions(r);
    subject_read(a, X509_REQ_get_subject_name(r), to);
    sans_read(a, X509V3_get_d2i(e, NID_subject_alt_name, NULL, NULL), to);
    public_read(a, X509_REQ_get0_pubkey(r), to);
    BASIC_CONSTRAINTS *basic = X509V3_get_d2i(e, NID_basic_constraints, NULL, NULL);
    if (basic && basic->ca)
        val_set_str(a, to, S("isCA"), val_bool(true));
    BASIC_CONSTRAINTS_free(basic);
    sk_X509_EXTENSION_pop_free(e, X509_EXTENSION_free);
    X509_REQ_free(r);
    ERR_clear_error();
    return true;
}

static bool key_facts(struct arena *a, struct str pem, struct val *to, struct err *err)
{
    EVP_PKEY *k = cert_key_parse(pem, err);
    if (!k)
        return false;
    int type = EVP_PKEY_get_base_id(k), bits = EVP_PKEY_get_bits(k);
    set_text(a, to, "algorithm",
             type == EVP_PKEY_RSA       ? S("RSA")
             : type == EVP_PKEY_EC      ? S("ECDSA")
             : type == EVP_PKEY_ED25519 ? S("Ed25519")
                                        : S("other"));
    val_set_str(a, to, S("size"), val_int(bits));
    set_text(a, to, "encoding", str_has(pem, S("BEGIN PRIVATE KEY")) ? S("PKCS8") : S("PKCS1"));
    public_read(a, k, to);
    EVP_PKEY_free(k);
    return true;
}

static bool subject_facts(struct arena *a, struct str text, struct val *to, struct err *err)
{
    X509_NAME *name = cert_subject_literal(text, err);
    if (name)
        subject_read(a, name, to);
    X509_NAME_free(name);
    return name != NULL;
}

bool cert_facts_read(struct arena *a, enum x509_what what, struct str text, struct val *facts, struct err *err)
{
    *facts = val_map();
    switch (what) {
    case X509_CERTIFICATE: return certificate_read(a, text, facts, err);
    case X509_REQUEST: return request_facts(a, text, facts, err);
    case X509_KEY: return key_facts(a, text, facts, err);
    case X509_SUBJECT: return subject_facts(a, text, facts, err);
    }
    return false;
}
