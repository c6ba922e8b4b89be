#include "base/test.h"
#include "node/relay_access.h"

TEST(access_is_asked_for_as_a_kubelet_asks)
{
    static const struct {
        const char *method, *path, *verb, *subs;
    } cases[] = {
        {"GET", "/pods", "get", "pods proxy"},
        {"GET", "/pods/", "get", "pods proxy"},
        {"GET", "/podsy", "get", "proxy"},
        {"GET", "/runningpods/", "get", "pods proxy"},
        {"GET", "/healthz", "get", "healthz proxy"},
        {"GET", "/healthz/ping", "get", "healthz proxy"},
        {"GET", "/configz", "get", "configz proxy"},
        {"GET", "/statusz", "get", "statusz proxy"},
        {"GET", "/stats/summary", "get", "stats"},
        {"POST", "/stats", "create", "stats"},
        {"GET", "/metrics", "get", "metrics"},
        {"GET", "/metrics/cadvisor", "get", "metrics"},
        {"GET", "/metricsy", "get", "proxy"},
        {"GET", "/logs/syslog", "get", "log"},
        {"POST", "/checkpoint/a/b/c", "create", "checkpoint"},
        {"POST", "/exec/a/b/c", "create", "proxy"},
        {"GET", "/exec/a/b/c", "get", "proxy"},
        {"PUT", "/", "update", "proxy"},
        {"PATCH", "", "patch", "proxy"},
        {"DELETE", "/run/a", "delete", "proxy"},
        {"HEAD", "/pods", "", "pods proxy"},
        {"OPTIONS", "/", "", "proxy"},
        {"GET", "/%70ods", "get", "proxy"},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        struct relay_access a;
        AUTO(strbuf_fini) struct strbuf subs = STRBUF(100);
        relay_access_of(str_of(cases[i].method), str_of(cases[i].path), &a);
        for (size_t k = 0; k < a.n; k++)
            strbuf_addf(&subs, "%s" STR_FMT, k ? " " : "", STR_ARG(a.subs[k]));
        CHECK_STR(a.verb, str_of(cases[i].verb));
        CHECK_STR(strbuf_str(&subs), str_of(cases[i].subs));
    }
}

TEST(verdicts_end_and_are_bounded)
{
    struct relay_verdicts v;
    relay_verdicts_init(&v);
    relay_verdict_put(&v, S("a"), true, S("text"), 100);
    const struct relay_verdict *one = relay_verdict_find(&v, S("a"), 99);
    CHECK(one && one->good && str_eqz(S("text"), one->text));
    CHECK(!relay_verdict_find(&v, S("b"), 99));
    CHECK(!relay_verdict_find(&v, S("a"), 100)); /* its time is over */
    CHECK(map_len(&v.map) == 0);
    relay_verdict_put(&v, S("a"), true, STR_NONE, 100);
    relay_verdict_put(&v, S("a"), false, STR_NONE, 200); /* the newer answer counts */
    CHECK((one = relay_verdict_find(&v, S("a"), 150)) && !one->good && !one->text);
    for (int i = 0; i < RELAY_VERDICTS_MOST; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "q%d", i);
        relay_verdict_put(&v, str_of(key), true, STR_NONE, 1000);
    }
    CHECK(map_len(&v.map) == RELAY_VERDICTS_MOST);
    CHECK(!relay_verdict_find(&v, S("a"), 150)); /* the oldest made room */
    CHECK(relay_verdict_find(&v, S("q0"), 150));
    relay_verdicts_fini(&v);
}
