#include "base/test.h"
#include "control/gateway.h"
#include "control/plan_test.h"

TEST(gateways_and_routes_are_as_in_their_transcripts)
{
    static const char *const files[] = {"gatewayclass", "gateway", "listenerset", "httproute", "grpcroute"};
    for (size_t i = 0; i < countof(files); i++) {
        char path[100];
        snprintf(path, sizeof path, "tests/control/%s.txt", files[i]);
        test_transcript(path, plan_answer);
    }
}

TEST(durations_are_those_of_the_gateway_api)
{
    static const struct {
        const char *text;
        int64_t ms; /* -1: it is none */
    } rows[] = {{"1s", 1000},
                {"500ms", 500},
                {"1m30s", 90000},
                {"1h", 3600000},
                {"0s", 0},
                {"1h1m1s1ms", 3661001},
                {"", -1},
                {"10", -1},
                {"1.5s", -1},
                {"123456s", -1},
                {"-1s", -1},
                {"1s1s1s1s1s", -1},
                {"99999h", 359996400000},
                {"1d", -1},
                {"s", -1},
                {"1 s", -1}};
    for (size_t i = 0; i < countof(rows); i++) {
        int64_t ns = -NS_PER_MS;
        bool ok = gateway_duration(str_of(rows[i].text), &ns);
        if (ok != (rows[i].ms >= 0) || ns != rows[i].ms * NS_PER_MS)
            test_failed(__FILE__, __LINE__, "%s is %lld", rows[i].text, (long long)ns);
    }
}

TEST(hostnames_meet_in_the_narrower_one)
{
    static const struct {
        const char *a, *b, *both; /* NULL: nothing */
    } rows[] = {{"", "", ""},
                {"", "a.example.org", "a.example.org"},
                {"a.example.org", "A.example.org", "a.example.org"},
                {"*.example.org", "a.example.org", "a.example.org"},
                {"*.example.org", "a.b.example.org", "a.b.example.org"},
                {"*.example.org", "*.b.example.org", "*.b.example.org"},
                {"*.example.org", "example.org", NULL},
                {"*.example.org", "anexample.org", NULL},
                {"*.example.org", "*.example.com", NULL},
                {"a.example.org", "b.example.org", NULL}};
    for (size_t i = 0; i < countof(rows); i++) {
        struct str a = str_of(rows[i].a), b = str_of(rows[i].b), one, other;
        bool meet = hostnames_meet(a, b, &one);
        CHECK(meet == (rows[i].both != NULL) && hostnames_meet(b, a, &other) == meet);
        CHECK(!meet || (str_eqz(one, rows[i].both) && str_ieq(one, other)));
    }
}
