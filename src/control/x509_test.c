#include "control/x509_test.h"
#include "api/codec.h"
#include "base/clock.h"
#include "base/test.h"

static const char *const words[] = {"cert ", "request ", "key "};

static void time_as_number(struct val *facts, const char *field)
{
    struct val *v = val_get_str_mut(facts, str_of(field));
    int64_t at;
    if (v && time_parse(val_text(v), &at))
        *v = val_int(at);
}

bool x509_of_test(struct arena *a, enum x509_what what, struct str text, struct val *facts, struct err *err)
{
    *facts = val_map();
    if (what == X509_SUBJECT) {
        if (str_find_char(text, '=') < 0)
            return err_set(err, E_INVALID, "literalSubject: TYPE=VALUE is expected");
        val_set_str(a, facts, S("literal"), val_str(a, text));
        return true;
    }
    struct str word = str_of(words[what == X509_CERTIFICATE ? 0 : what == X509_REQUEST ? 1 : 2]);
    if (!str_starts(text, word) || !yaml_decode(a, str_sub(text, word.n, text.n), facts, err) ||
        !val_is(facts, VAL_MAP))
        return err_set(err, E_INVALID, "error decoding " STR_FMT "PEM block", STR_ARG(word));
    time_as_number(facts, "notBefore");
    time_as_number(facts, "notAfter");
    return true;
}

/* --- making --- */

static struct str text_of(struct arena *a, const char *word, const struct val *facts)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    strbuf_addz(&b, word);
    json_encode(&b, facts);
    return str_dup(a, strbuf_str(&b));
}

static struct str ask_bytes(struct arena *a, const struct val *ask, const char *field)
{
    const struct val *v = val_get_str(ask, str_of(field));
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    if (val_is(v, VAL_BYTES))
        return val_raw(v);
    return strbuf_add_unbase64(&b, val_text(v)) ? str_dup(a, strbuf_str(&b)) : S("");
}

static void bytes_set(struct arena *a, struct val *body, const char *field, struct str text)
{
    val_set_str(a, val_need_map(a, body, N(data)), str_of(field), val_bytes(a, text));
}

static void base64_set(struct arena *a, struct val *map, const char *field, struct str text)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    strbuf_add_base64(&b, text.p, text.n);
    val_set_str(a, map, str_of(field), val_str(a, strbuf_str(&b)));
}

static bool key_make(struct arena *a, const struct val *ask, struct val *body)
{
    static int n;
    struct val facts = val_map();
    struct str algorithm = val_text(val_get_str(ask, S("algorithm")));
    int64_t size = val_num(val_get_str(ask, S("size")), 0);
    val_set_str(a, &facts, S("algorithm"), val_str(a, algorithm));
    val_set_str(a, &facts, S("size"), val_int(size ? size : str_eqz(algorithm, "RSA") ? 2048 : 256));
    val_set_str(a, &facts, S("publicKey"), val_str(a, arena_fmt(a, "made%d", ++n)));
    bytes_set(a, body, "tls.key", text_of(a, "key ", &facts));
    return true;
}

static bool request_make(struct arena *a, const struct val *ask, struct val *body, struct err *err)
{
    static const char *const copied[] = {"commonName",     "dnsNames", "ipAddresses", "uris",
                                         "emailAddresses", "subject",  "otherNames"};
    struct val key, facts = val_map();
    const struct val *spec = val_get_str(ask, S("spec"));
    if (!x509_of_test(a, X509_KEY, ask_bytes(a, ask, "key"), &key, err))
        return false;
    for (size_t i = 0; i < countof(copied); i++) {
        const struct val *v = val_get_str(spec, str_of(copied[i]));
        if (v)
            val_set_str(a, &facts, str_of(copied[i]), *v);
    }
    val_set_str(a, &facts, S("publicKey"), *val_get_str(&key, S("publicKey")));
    base64_set(a, val_need_map(a, body, N(spec)), "request", text_of(a, "request ", &facts));
    return true;
}

static bool sign_make(struct arena *a, const struct val *ask, struct val *body, struct err *err)
{
    struct val facts;
    if (!x509_of_test(a, X509_REQUEST, ask_bytes(a, ask, "request"), &facts, err))
        return false;
    if (val_has_text(val_get_str(&facts, S("dnsNames")), S("denied.example")))
        return err_set(err, E_INVALID, "cannot be signed: no");
    int64_t now = clock_real() / NS_PER_S * NS_PER_S, ns = val_num(val_get_str(ask, S("seconds")), 0) * NS_PER_S;
    val_set_str(a, &facts, S("notBefore"), val_str(a, time_text(a, now)));
    val_set_str(a, &facts, S("notAfter"), val_str(a, time_text(a, now + ns)));
    val_set_str(a, &facts, S("isCA"), val_bool(val_true(val_get_str(ask, S("isCA")))));
    struct val *status = val_need_map(a, body, N(status));
    base64_set(a, status, "certificate", text_of(a, "cert ", &facts));
    base64_set(a, status, "ca", S("cert {publicKey: ca}"));
    return true;
}

static bool bundle_make(struct arena *a, const struct val *ask, struct val *body, struct err *err)
{
    struct val key, cert;
    if (!x509_of_test(a, X509_KEY, ask_bytes(a, ask, "key"), &key, err) ||
        !x509_of_test(a, X509_CERTIFICATE, ask_bytes(a, ask, "certificate"), &cert, err))
        return false;
    if (!val_equal(val_get_str(&key, S("publicKey")), val_get_str(&cert, S("publicKey"))))
        return err_set(err, E_INVALID, "the private key does not belong to the certificate");
    bytes_set(a, body, "tls.key", ask_bytes(a, ask, "key"));
    bytes_set(a, body, "tls.crt", ask_bytes(a, ask, "certificate"));
    if (ask_bytes(a, ask, "ca").n)
        bytes_set(a, body, "ca.crt", ask_bytes(a, ask, "ca"));
    return true;
}

static void work_do_it(void *arg)
{
    struct action_work *w = arg;
    struct str what = val_text(val_get_str(&w->ask, S("do")));
    w->ok = str_eqz(what, "key")       ? key_make(&w->arena, &w->ask, &w->body)
            : str_eqz(what, "request") ? request_make(&w->arena, &w->ask, &w->body, &w->err)
            : str_eqz(what, "sign")    ? sign_make(&w->arena, &w->ask, &w->body, &w->err)
            : str_eqz(what, "bundle")  ? bundle_make(&w->arena, &w->ask, &w->body, &w->err)
                                       : err_set(&w->err, E_INVALID, "nobody here makes that");
    w->done(w);
}

void work_of_test(void *arg, struct action_work *w)
{
    transport_post(arg, work_do_it, w);
}
