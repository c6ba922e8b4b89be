/* Certificates of a machine whose clock is wrong, and is set. */
#include "base/clock.h"
#include "base/test.h"
#include "server/pki.h"

#define HOUR (3600 * NS_PER_S)
#define YEAR (365 * 24 * HOUR)

static int64_t set_to;

static int64_t clock_stands(UNUSED void *arg)
{
    return 1;
}

static int64_t clock_shows(UNUSED void *arg)
{
    return set_to;
}

static void random_of(UNUSED void *arg, void *p, size_t n)
{
    memset(p, 7, n);
}

static const struct clock_source wrong = {clock_stands, clock_shows, random_of, NULL};

static struct keys *keys_at(int64_t now, const char *name, struct cert_info *ca)
{
    char root[300];
    struct err err = ERR;
    (void)snprintf(root, sizeof root, "%s/%s", test_dir(), name);
    set_to = now;
    struct keys *k = keys_open(root, true, &err);
    CHECK_OK(k, err);
    CHECK_OK(cert_read(&k->arena, k->ca_pem, ca, &err), err);
    return k;
}

TEST(the_authority_made_by_a_wrong_clock_is_good_for_years)
{
    const int64_t now = clock_real(), clocks[] = {YEAR, 30 * YEAR, now, now + 5 * YEAR};
    clock_install(&wrong);
    for (size_t i = 0; i < countof(clocks); i++) {
        struct cert_info ca;
        AUTO(keys_free) struct keys *k = keys_at(clocks[i], (const char *[]){"a", "b", "c", "d"}[i], &ca);
        CHECK(ca.ca && ca.not_before < now && ca.not_after > now + 10 * YEAR);
    }
    clock_install(NULL);
}

TEST(leaves_are_made_again_when_old_or_when_the_clock_is_set_back)
{
    AUTO(strbuf_fini) struct strbuf cert = STRBUF(STRBUF_TEXT), key = STRBUF(STRBUF_TEXT);
    const int64_t now = clock_real();
    struct err err = ERR;
    struct cert_info i;
    clock_install(&wrong);
    AUTO(keys_free) struct keys *k = keys_at(now, "k", &i);
    CHECK_OK(keys_serving(k, &(struct leaf_names){0}, &cert, &key, &err), err);
    static const struct {
        int64_t later;
        bool stale;
    } cases[] = {{0, false}, {HOUR, false}, {-10 * NS_PER_S, false}, {-HOUR, true}, {YEAR / 2, false}, {YEAR, true}};
    for (size_t n = 0; n < countof(cases); n++) {
        set_to = now + cases[n].later;
        CHECK_INT(keys_stale(k), cases[n].stale);
    }
    set_to = now - HOUR;
    strbuf_reset(&cert);
    strbuf_reset(&key);
    CHECK_OK(keys_serving(k, &(struct leaf_names){0}, &cert, &key, &err), err);
    CHECK(!keys_stale(k));
    CHECK_OK(cert_read(&k->arena, strbuf_str(&cert), &i, &err), err);
    CHECK(i.not_before < set_to && i.not_after > set_to);
    clock_install(NULL);
}
