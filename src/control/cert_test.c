/* Certificates over the fake API: whatever is lost, late or forgotten, no key is served with another's certificate,
 * no two keys wait at once, and what is served stays until its successor is there. */
#include "api/codec.h"
#include "base/test.h"
#include "client/fake.h"
#include "control/cert.h"
#include "control/plan_test.h"
#include "control/x509_test.h"
#include "sys/loop.h"

#define DAY (86400 * NS_PER_S)

struct mint {
    struct loop *loop;
    struct transport *api;
    struct kind_publisher kinds;
    struct manager *manager;
    bool served; /* the Secret has held a pair */
};

static const struct kind *mint_kind(struct mint *m, const char *definition)
{
    const struct kind_set *set = kind_publisher_take(&m->kinds);
    const struct kind *k = map_get(&set->by_prefix, str_of(definition));
    kind_set_unref(set);
    return k;
}

static struct obj *mint_cert(struct mint *m)
{
    return fake_get(m->api, mint_kind(m, CERTS), S("default"), S("web"));
}

static struct obj *mint_secret(struct mint *m)
{
    return fake_get(m->api, K(Secret), S("default"), S("web-tls"));
}

static void pair_holds(struct mint *m, const struct obj *secret)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val cert, key;
    struct err err = ERR;
    bool whole = x509_of_test(&a, X509_CERTIFICATE, secret_bytes(secret, "tls.crt"), &cert, &err) &&
                 x509_of_test(&a, X509_KEY, secret_bytes(secret, "tls.key"), &key, &err);
    if (!whole && m->served)
        test_failed(__FILE__, __LINE__, "what was served is there no more: %s", err.text);
    if (whole && !val_equal(val_get_str(&cert, S("publicKey")), val_get_str(&key, S("publicKey"))))
        test_failed(__FILE__, __LINE__, "a key is served with another's certificate");
    m->served |= whole;
}

static void mint_written(void *arg, struct obj *was, struct obj *now)
{
    struct mint *m = arg;
    const struct obj *o = now ? now : was;
    struct obj *each;
    size_t waiting = 0;
    if (o->kind != K(Secret))
        return;
    if (str_eqz(o->name, "web-tls") && now)
        pair_holds(m, now);
    if (str_eqz(o->name, "web-tls") && !now)
        test_failed(__FILE__, __LINE__, "what was served was taken away");
    for (struct objset_iter it = objset_all(fake_set(m->api, K(Secret))); (each = objset_next(&it));)
        waiting += str_eqz(val_text(val_get_str(obj_labels(each), S(LABEL_NEXT_KEY))), "true") && !obj_deleting(each);
    if (waiting > 1)
        test_failed(__FILE__, __LINE__, "%zu keys wait at once", waiting);
}

static struct manager *mint_manager(struct mint *m)
{
    static const struct controller *rows[5];
    static const char *const called[] = {"certificate", "certificaterequest", "issuer", "clusterissuer"};
    for (size_t i = 0; i < countof(called); i++)
        rows[i] = controller_named(str_of(called[i]));
    struct manager_options o = {.transport = m->api,
                                .kinds = &m->kinds,
                                .controllers = rows,
                                .work = work_of_test,
                                .work_arg = m->api,
                                .x509 = x509_of_test,
                                .root_ca = S("PEM")};
    struct manager *made = manager_new(&o);
    manager_start(made);
    return made;
}

static void mint_put(struct mint *m, const char *definition, const char *yaml)
{
    AUTO(arena_fini) struct arena a = ARENA;
    const struct kind *k = mint_kind(m, definition);
    struct val any, v;
    struct err err = ERR;
    CHECK_OK(yaml_decode(&a, str_of(yaml), &any, &err) && type_decode_val(&a, kind_type(k), &any, &v, NULL, &err),
             err);
    struct val *meta = val_need_map(&a, &v, N(metadata));
    const struct obj *was = fake_get(m->api, k, k->namespaced ? S("default") : S(""),
                                     val_text(val_get(meta, N(name))));
    if (k->namespaced)
        val_set_text(&a, meta, N(namespace), S("default"));
    val_set_text(&a, &v, N(apiVersion), k->api_version);
    val_set_text(&a, &v, N(kind), k->kind);
    if (was && obj_status(was))
        val_set(&a, &v, N(status), val_copy(&a, obj_status(was)));
    fake_put(m->api, k, &v);
}

static void mint_init(struct mint *m, uint64_t seed)
{
    const struct kind *made[64];
    size_t n = 0;
    *m = (struct mint){.loop = loop_new_simulated(seed)};
    m->api = fake_new(m->loop, 5 * NS_PER_MS);
    fake_on_write(m->api, mint_written, m);
    kind_publisher_init(&m->kinds);
    for (const char *const *k = cert_kinds_of_test; *k; k++)
        n += kinds_of_test(str_of(*k), &made[n]);
    kind_publish(&m->kinds, kind_set_new(made, n));
    for (size_t i = 0; i < n; i++)
        kind_unref(made[i]);
    m->manager = mint_manager(m);
}

static void mint_restart(struct mint *m)
{
    manager_free(m->manager);
    m->manager = mint_manager(m);
}

static void mint_fini(struct mint *m)
{
    manager_free(m->manager);
    while (loop_run_once(m->loop, 0)) /* work that was under way comes home */
        ;
    transport_free(m->api);
    kind_publisher_fini(&m->kinds);
    while (loop_run_once(m->loop, 0))
        ;
    loop_free(m->loop);
}

static bool cert_is_ready(struct mint *m, int64_t revision)
{
    struct obj *c = mint_cert(m);
    return c && condition_is(obj_status(c), "Ready", "True") && !condition_get(obj_status(c), "Issuing") &&
           val_num(val_get_str(obj_status(c), S("revision")), 0) >= revision &&
           !val_get_str(obj_status(c), S("nextPrivateKeySecretName"));
}

static void until_revision(struct mint *m, int64_t revision, int64_t limit)
{
    for (int64_t end = clock_mono() + limit; !cert_is_ready(m, revision);)
        if (!loop_run_once(m->loop, NS_PER_S) || clock_mono() > end)
            test_failed(__FILE__, __LINE__, "revision %lld does not come", (long long)revision);
}

#define ISSUER "{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: self}, spec: {selfSigned: {}}}"
#define WEB(more)                                                                                                    \
    "{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: web, uid: u-web, generation: 1}, spec: "   \
    "{secretName: web-tls, dnsNames: [a.example" more "], duration: 240h, issuerRef: {name: self}}}"

TEST(a_certificate_is_issued_renewed_and_issued_anew_when_it_changes)
{
    struct mint m;
    mint_init(&m, 3);
    mint_put(&m, ISSUERS, ISSUER);
    mint_put(&m, CERTS, WEB(""));
    until_revision(&m, 1, 60 * NS_PER_S);
    struct str first = secret_bytes(mint_secret(&m), "tls.key");
    AUTO_FREE char *kept = str_dupz(first);
    until_revision(&m, 2, 8 * DAY);
    CHECK(!str_eqz(secret_bytes(mint_secret(&m), "tls.key"), kept));
    mint_put(&m, CERTS, WEB(", b.example"));
    until_revision(&m, 3, 60 * NS_PER_S);
    CHECK(str_has(secret_bytes(mint_secret(&m), "tls.crt"), S("b.example")));
    mint_fini(&m);
}

TEST(what_a_signer_refuses_is_tried_again_later_and_later)
{
    struct mint m;
    mint_init(&m, 5);
    mint_put(&m, ISSUERS, ISSUER);
    mint_put(&m, CERTS, WEB(", denied.example"));
    for (int64_t end = clock_mono() + 10 * 3600 * NS_PER_S; clock_mono() < end;)
        (void)loop_run_once(m.loop, end - clock_mono());
    int64_t tries = val_num(val_get_str(obj_status(mint_cert(&m)), S("failedIssuanceAttempts")), 0);
    CHECK_INT(tries, 4); /* at once, after one hour, three, seven */
    CHECK(!mint_secret(&m));
    mint_put(&m, CERTS, WEB(""));
    until_revision(&m, 1, 60 * NS_PER_S);
    CHECK(!val_get_str(obj_status(mint_cert(&m)), S("failedIssuanceAttempts")));
    mint_fini(&m);
}

static void mint_disturb(struct mint *m)
{
    switch (random_below(5)) {
    case 0: fake_fail(m->api, 1 + (int)random_below(3), E_UNAVAILABLE); break;
    case 1: fake_lose(m->api, 1 + (int)random_below(2)); break;
    case 2: fake_cut(m->api); break;
    case 3: mint_restart(m); break;
    default: break;
    }
}

/* In whatever order things are seen, and whatever dies in between. */
TEST(no_fault_serves_a_key_with_another_s_certificate)
{
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct mint m;
        mint_init(&m, seed);
        mint_put(&m, ISSUERS, ISSUER);
        mint_put(&m, CERTS, WEB(""));
        for (int i = 0; i < 60; i++) {
            for (int64_t end = clock_mono() + 20 * NS_PER_MS; clock_mono() < end;)
                (void)loop_run_once(m.loop, end - clock_mono());
            mint_disturb(&m);
            if (i == 30)
                mint_put(&m, CERTS, WEB(", b.example"));
        }
        for (int64_t end = clock_mono() + 20 * DAY;
             !cert_is_ready(&m, 1) || !str_has(secret_bytes(mint_secret(&m), "tls.crt"), S("b.example"));)
            if (!loop_run_once(m.loop, NS_PER_S) || clock_mono() > end)
                test_failed(__FILE__, __LINE__, "seed %llu: it does not come", (unsigned long long)seed);
        mint_fini(&m);
    }
}
