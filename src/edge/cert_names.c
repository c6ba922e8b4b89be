/* Subjects, alternative names, usages and constraints: from the words of a Certificate to the structures of RFC 5280.
 */
#include "base/rune.h"
#include "edge/cert_int.h"
#include <arpa/inet.h>
#include <openssl/err.h>

static bool entry_add(X509_NAME *name, const char *type, struct str text, int set, struct err *err)
{
    int nid = OBJ_txt2nid(type);
    bool printable = nid == NID_countryName || nid == NID_serialNumber;
    if (text.n > 0 && text.n <= 1024 && str_utf8_ok(text)) {
        ASN1_OBJECT *o = OBJ_txt2obj(type, 0);
        int as = nid == NID_pkcs9_emailAddress || nid == NID_domainComponent ? V_ASN1_IA5STRING
                 : printable                                                 ? V_ASN1_PRINTABLESTRING
                                                                             : V_ASN1_UTF8STRING;
        bool ok = o &&
                  X509_NAME_add_entry_by_OBJ(name, o, as, (const unsigned char *)text.p, (int)text.n, -1, set) == 1;
        ASN1_OBJECT_free(o);
        if (ok)
            return true;
    }
    ERR_clear_error();
    return err_set(err, E_INVALID, "the subject's %s may not be \"" STR_FMT "\" (1 to 1024 bytes of UTF-8)", type,
                   STR_ARG(text));
}

static bool entries_add(X509_NAME *name, const char *type, const struct val *texts, struct err *err)
{
    int set = 0; /* the values of one kind stand together in one set */
    val_each_item (it, texts) {
        if (!entry_add(name, type, val_text(it), set, err))
            return false;
        set = -1;
    }
    return true;
}

/* RFC 4514 written backwards: the first of the text is the last of the sequence. */
struct rdn {
    char type[64];
    struct str value;
    bool joined; /* of one set with the one before it in the text */
};

static bool rdn_read(struct str *rest, struct strbuf *value, struct rdn *out, char *end, struct err *err)
{
    static const struct {
        const char *word, *type;
    } others[] = {{"STREET", "street"},  {"POSTALCODE", "postalCode"}, {"SERIALNUMBER", "serialNumber"},
                  {"E", "emailAddress"}, {"EMAIL", "emailAddress"},    {"USERID", "UID"},
                  {"TITLE", "title"}};
    ptrdiff_t eq = str_find_char(*rest, '=');
    struct str type = eq > 0 ? str_trim(str_sub(*rest, 0, (size_t)eq)) : S("");
    if (!type.n || type.n >= sizeof out->type)
        return err_set(err, E_INVALID, "literalSubject: TYPE=VALUE is expected at \"" STR_FMT "\"", STR_ARG(*rest));
    memcpy(out->type, type.p, type.n);
    out->type[type.n] = 0;
    for (size_t i = 0; i < countof(others); i++)
        if (str_ieq(type, str_of(others[i].word)))
            (void)snprintf(out->type, sizeof out->type, "%s", others[i].type);
    for (char *c = out->type; *c && OBJ_txt2nid(out->type) == NID_undef && type.p[0] > '9'; c++)
        *c = *c >= 'a' && *c <= 'z' ? (char)(*c - 32) : *c;
    ASN1_OBJECT *o = OBJ_txt2obj(out->type, 0);
    ASN1_OBJECT_free(o);
    if (!o) {
        ERR_clear_error();
        return err_set(err, E_INVALID, "literalSubject: unrecognized attribute type \"" STR_FMT "\"", STR_ARG(type));
    }
    strbuf_reset(value);
    *rest = str_sub(*rest, (size_t)eq + 1, rest->n);
    size_t i = 0, keep = 0; /* blanks at the end that were escaped stay */
    *end = 0;
    for (; i < rest->n; i++) {
        char c = rest->p[i];
        if (c == ',' || c == '+' || c == ';') {
            *end = c;
            break;
        }
        if (c == '\\' && i + 1 < rest->n) {
            int high = hex_digit(rest->p[i + 1]), low = i + 2 < rest->n ? hex_digit(rest->p[i + 2]) : -1;
            strbuf_addc(value, high >= 0 && low >= 0 ? (char)(high * 16 + low) : rest->p[i + 1]);
            i += high >= 0 && low >= 0 ? 2 : 1;
            keep = value->n;
        } else if (c == '"' || (c == '\\' && i + 1 == rest->n)) {
            return err_set(err, E_INVALID, "literalSubject: a %s that is not escaped",
                           c == '"' ? "quote" : "backslash");
        } else if (c != ' ' || value->n) {
            strbuf_addc(value, c);
            keep = c == ' ' ? keep : value->n;
        }
    }
    *rest = str_sub(*rest, MIN(i + 1, rest->n), rest->n);
    out->value = (struct str){value->p, keep};
    return true;
}

X509_NAME *cert_subject_literal(struct str text, struct err *err)
{
    struct rdn rdns[64];
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf value = STRBUF(STRBUF_TEXT);
    size_t n = 0;
    char end = ',';
    for (struct str rest = text; end; n++) {
        if (n == countof(rdns)) {
            (void)err_set(err, E_INVALID, "literalSubject: more than %zu parts", countof(rdns));
            return NULL;
        }
        rdns[n].joined = end == '+';
        if (!rdn_read(&rest, &value, &rdns[n], &end, err))
            return NULL;
        rdns[n].value = str_dup(&a, rdns[n].value);
    }
    X509_NAME *name = X509_NAME_new();
    ASSERT(name);
    for (size_t i = n; i-- > 0;)
        if (!entry_add(name, rdns[i].type, rdns[i].value, i + 1 < n && rdns[i + 1].joined ? -1 : 0, err)) {
            X509_NAME_free(name);
            return NULL;
        }
    return name;
}

/* In the order of Go's pkix.Name: clients compare subjects by their bytes. */
X509_NAME *cert_subject(const struct val *spec, struct err *err)
{
    static const struct {
        const char *field, *type;
    } rows[] = {{"countries", "C"},           {"organizations", "O"}, {"organizationalUnits", "OU"},
                {"localities", "L"},          {"provinces", "ST"},    {"streetAddresses", "street"},
                {"postalCodes", "postalCode"}};
    struct str literal = val_text(val_get_str(spec, S("literalSubject")));
    if (literal.n)
        return cert_subject_literal(literal, err);
    const struct val *subject = val_get_str(spec, S("subject"));
    struct str cn = val_text(val_get_str(spec, S("commonName")));
    struct str serial = val_text(val_get_str(subject, S("serialNumber")));
    X509_NAME *name = X509_NAME_new();
    ASSERT(name);
    bool ok = true;
    for (size_t i = 0; ok && i < countof(rows); i++)
        ok = entries_add(name, rows[i].type, val_get_str(subject, str_of(rows[i].field)), err);
    ok = ok && (!cn.n || entry_add(name, "CN", cn, 0, err)) &&
         (!serial.n || entry_add(name, "serialNumber", serial, 0, err));
    if (!ok) {
        X509_NAME_free(name);
        return NULL;
    }
    return name;
}

/* --- alternative names --- */

static void name_push(GENERAL_NAMES *to, int type, struct str text)
{
    ASN1_IA5STRING *s = ASN1_IA5STRING_new();
    GENERAL_NAME *g = GENERAL_NAME_new();
    ASSERT(s && g && ASN1_STRING_set(s, text.p, (int)text.n) == 1);
    GENERAL_NAME_set0_value(g, type, s);
    ASSERT(sk_GENERAL_NAME_push(to, g) > 0);
}

static bool names_push(GENERAL_NAMES *to, int type, const char *field, const struct val *texts, struct err *err)
{
    val_each_item (it, texts) {
        struct str text = val_text(it);
        bool plain = text.n > 0 && text.n <= 2048;
        for (size_t i = 0; i < text.n && plain; i++)
            plain = text.p[i] > ' ' && text.p[i] < 127;
        if (!plain)
            return err_set(err, E_INVALID, "%s: \"" STR_FMT "\" cannot stand in a certificate", field, STR_ARG(text));
        name_push(to, type, text);
    }
    return true;
}

static bool ips_push(GENERAL_NAMES *to, const struct val *texts, struct err *err)
{
    val_each_item (it, texts) {
        AUTO_FREE char *z = str_dupz(val_text(it));
        ASN1_OCTET_STRING *ip = a2i_IPADDRESS(z);
        if (!ip) {
            ERR_clear_error();
            return err_set(err, E_INVALID, "ipAddresses: \"%s\" is not an IP address", z);
        }
        GENERAL_NAME *g = GENERAL_NAME_new();
        GENERAL_NAME_set0_value(g, GEN_IPADD, ip);
        ASSERT(sk_GENERAL_NAME_push(to, g) > 0);
    }
    return true;
}

static bool others_push(GENERAL_NAMES *to, const struct val *list, struct err *err)
{
    val_each_item (it, list) {
        AUTO_FREE char *oid = str_dupz(val_text(val_get_str(it, S("oid"))));
        struct str text = val_text(val_get_str(it, S("utf8Value")));
        ASN1_OBJECT *o = OBJ_txt2obj(oid, 1);
        if (!o || !text.n) {
            ASN1_OBJECT_free(o);
            ERR_clear_error();
            return err_set(err, E_INVALID, "otherNames: \"%s\" is no object identifier, or has no utf8Value", oid);
        }
        ASN1_UTF8STRING *s = ASN1_UTF8STRING_new();
        ASN1_TYPE *v = ASN1_TYPE_new();
        GENERAL_NAME *g = GENERAL_NAME_new();
        ASSERT(s && v && g && ASN1_STRING_set(s, text.p, (int)text.n) == 1);
        ASN1_TYPE_set(v, V_ASN1_UTF8STRING, s);
        ASSERT(GENERAL_NAME_set0_othername(g, o, v) == 1 && sk_GENERAL_NAME_push(to, g) > 0);
    }
    return true;
}

bool cert_sans(const struct val *spec, bool critical, X509_EXTENSION **out, struct err *err)
{
    GENERAL_NAMES *sans = sk_GENERAL_NAME_new_null();
    ASSERT(sans);
    *out = NULL;
    bool ok = names_push(sans, GEN_EMAIL, "emailAddresses", val_get_str(spec, S("emailAddresses")), err) &&
              names_push(sans, GEN_DNS, "dnsNames", val_get_str(spec, S("dnsNames")), err) &&
              names_push(sans, GEN_URI, "uris", val_get_str(spec, S("uris")), err) &&
              ips_push(sans, val_get_str(spec, S("ipAddresses")), err) &&
              others_push(sans, val_get_str(spec, S("otherNames")), err);
    if (ok && sk_GENERAL_NAME_num(sans) > 0)
        ASSERT((*out = X509V3_EXT_i2d(NID_subject_alt_name, critical, sans)));
    GENERAL_NAMES_free(sans);
    return ok;
}

/* --- usages --- */

static const struct {
    const char *word;
    int bit; /* of keyUsage; -1: an extended one, */
    const char *extended;
} usage_rows[] = {
    {"signing", 0, NULL},
    {"digital signature", 0, NULL},
    {"content commitment", 1, NULL},
    {"key encipherment", 2, NULL},
    {"data encipherment", 3, NULL},
    {"key agreement", 4, NULL},
    {"cert sign", 5, NULL},
    {"crl sign", 6, NULL},
    {"encipher only", 7, NULL},
    {"decipher only", 8, NULL},
    {"any", -1, "2.5.29.37.0"},
    {"server auth", -1, "1.3.6.1.5.5.7.3.1"},
    {"client auth", -1, "1.3.6.1.5.5.7.3.2"},
    {"code signing", -1, "1.3.6.1.5.5.7.3.3"},
    {"email protection", -1, "1.3.6.1.5.5.7.3.4"},
    {"s/mime", -1, "1.3.6.1.5.5.7.3.4"},
    {"ipsec end system", -1, "1.3.6.1.5.5.7.3.5"},
    {"ipsec tunnel", -1, "1.3.6.1.5.5.7.3.6"},
    {"ipsec user", -1, "1.3.6.1.5.5.7.3.7"},
    {"timestamping", -1, "1.3.6.1.5.5.7.3.8"},
    {"ocsp signing", -1, "1.3.6.1.5.5.7.3.9"},
    {"microsoft sgc", -1, "1.3.6.1.4.1.311.10.3.3"},
    {"netscape sgc", -1, "2.16.840.1.113730.4.1"},
};

static bool usage_take(struct str word, ASN1_BIT_STRING *bits, EXTENDED_KEY_USAGE *extended, struct err *err)
{
    for (size_t i = 0; i < countof(usage_rows); i++) {
        if (!str_eqz(word, usage_rows[i].word))
            continue;
        if (usage_rows[i].bit >= 0)
            return ASN1_BIT_STRING_set_bit(bits, usage_rows[i].bit, 1) == 1;
        ASN1_OBJECT *o = OBJ_txt2obj(usage_rows[i].extended, 1);
        return o && sk_ASN1_OBJECT_push(extended, o) > 0;
    }
    return err_set(err, E_INVALID, "usages: unknown key usage \"" STR_FMT "\"", STR_ARG(word));
}

static void extension_push(STACK_OF(X509_EXTENSION) * to, X509_EXTENSION *own_e)
{
    ASSERT(own_e && sk_X509_EXTENSION_push(to, own_e) > 0);
}

bool cert_usages(const struct val *usages, bool ca, STACK_OF(X509_EXTENSION) * to, struct err *err)
{
    ASN1_BIT_STRING *bits = ASN1_BIT_STRING_new();
    EXTENDED_KEY_USAGE *extended = sk_ASN1_OBJECT_new_null();
    ASSERT(bits && extended);
    bool ok = true, any = ca || val_len(usages) == 0;
    if (ca)
        (void)ASN1_BIT_STRING_set_bit(bits, 5, 1);
    if (val_len(usages) == 0)
        ok = ASN1_BIT_STRING_set_bit(bits, 0, 1) == 1 && ASN1_BIT_STRING_set_bit(bits, 2, 1) == 1;
    val_each_item (it, usages)
        ok = ok && usage_take(val_text(it), bits, extended, err);
    for (int i = 0; i < 9; i++)
        any |= ASN1_BIT_STRING_get_bit(bits, i) == 1;
    if (ok && any)
        extension_push(to, X509V3_EXT_i2d(NID_key_usage, 1, bits));
    if (ok && sk_ASN1_OBJECT_num(extended) > 0)
        extension_push(to, X509V3_EXT_i2d(NID_ext_key_usage, 0, extended));
    ASN1_BIT_STRING_free(bits);
    sk_ASN1_OBJECT_pop_free(extended, ASN1_OBJECT_free);
    return ok;
}

/* --- name constraints --- */

static bool subtree_push(STACK_OF(GENERAL_SUBTREE) * *to, int type, struct str text, struct err *err)
{
    GENERAL_SUBTREE *t = GENERAL_SUBTREE_new();
    GENERAL_NAMES *one = sk_GENERAL_NAME_new_null();
    ASSERT(t && one);
    if (!*to)
        *to = sk_GENERAL_SUBTREE_new_null();
    if (type == GEN_IPADD) { /* an address and its mask, one after the other */
        struct str ip, bits;
        uint64_t n = 0;
        unsigned char both[32] = {0};
        AUTO_FREE char *z = (str_split(text, '/', &ip, &bits), str_dupz(ip));
        bool six = strchr(z, ':') != NULL;
        size_t size = six ? 16 : 4;
        if (inet_pton(six ? AF_INET6 : AF_INET, z, both) != 1 || !str_to_u64(bits, size * 8, &n)) {
            GENERAL_SUBTREE_free(t);
            sk_GENERAL_NAME_free(one);
            return err_set(err, E_INVALID, "nameConstraints: \"" STR_FMT "\" is no range of addresses",
                           STR_ARG(text));
        }
        for (size_t i = 0; i < size; i++) {
            unsigned part = n >= 8 * (i + 1) ? 8 : n > 8 * i ? (unsigned)(n - 8 * i) : 0;
            both[size + i] = (unsigned char)(0xff << (8 - part));
            both[i] &= both[size + i];
        }
        ASN1_OCTET_STRING *s = ASN1_OCTET_STRING_new();
        ASSERT(s && ASN1_OCTET_STRING_set(s, both, (int)(2 * size)) == 1);
        GENERAL_NAME_set0_value(t->base, GEN_IPADD, s);
    } else {
        name_push(one, type, text);
        GENERAL_NAME_free(t->base);
        t->base = sk_GENERAL_NAME_pop(one);
    }
    sk_GENERAL_NAME_free(one);
    ASSERT(sk_GENERAL_SUBTREE_push(*to, t) > 0);
    return true;
}

static bool subtrees_read(STACK_OF(GENERAL_SUBTREE) * *to, const struct val *v, struct err *err)
{
    static const struct {
        const char *field;
        int type;
    } rows[] = {
        {"dnsDomains", GEN_DNS}, {"ipRanges", GEN_IPADD}, {"emailAddresses", GEN_EMAIL}, {"uriDomains", GEN_URI}};
    for (size_t i = 0; i < countof(rows); i++)
        val_each_item (it, val_get_str(v, str_of(rows[i].field)))
            if (!subtree_push(to, rows[i].type, val_text(it), err))
                return false;
    return true;
}

bool cert_constraints(const struct val *spec, STACK_OF(X509_EXTENSION) * to, struct err *err)
{
    const struct val *v = val_get_str(spec, S("nameConstraints"));
    NAME_CONSTRAINTS *c = NAME_CONSTRAINTS_new();
    ASSERT(c);
    bool ok = subtrees_read(&c->permittedSubtrees, val_get_str(v, S("permitted")), err) &&
              subtrees_read(&c->excludedSubtrees, val_get_str(v, S("excluded")), err);
    if (ok && (c->permittedSubtrees || c->excludedSubtrees))
        extension_push(to, X509V3_EXT_i2d(NID_name_constraints, val_true(val_get_str(v, S("critical"))), c));
    NAME_CONSTRAINTS_free(c);
    return ok;
}
