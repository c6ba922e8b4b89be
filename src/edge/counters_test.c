#include "base/test.h"
#include "edge/counters.h"

static bool text_has(const struct counters *c, const char *line)
{
    AUTO(strbuf_fini) struct strbuf out = STRBUF(64 << 20);
    counters_text(c, &out);
    return str_has(strbuf_str(&out), str_of(line));
}

TEST(requests_are_counted_by_route_and_class)
{
    AUTO(counters_fini) struct counters c = {0};
    struct str rest;
    CHECK(counters_line(&c, S("Ingress/default/shop 200 310 95 3"), &rest) && !rest.n);
    CHECK(counters_line(&c, S("Ingress/default/shop 204 100 5 700 {\"a\":\"b c\"}"), &rest));
    CHECK_STR(rest, S("{\"a\":\"b c\"}"));
    CHECK(counters_line(&c, S("Ingress/default/shop 503 10 5 10"), &rest));
    CHECK(counters_line(&c, S("- 404 10 5 0"), &rest));
    CHECK(counters_line(&c, S("- -1 0 0 -1"), &rest));
    CHECK(text_has(&c, "wherry_edge_requests_total{route=\"Ingress/default/shop\",code=\"2xx\"} 2\n"));
    CHECK(text_has(&c, "wherry_edge_requests_total{route=\"Ingress/default/shop\",code=\"5xx\"} 1\n"));
    CHECK(text_has(&c, "wherry_edge_requests_total{route=\"\",code=\"4xx\"} 1\n"));
    CHECK(text_has(&c, "wherry_edge_requests_total{route=\"\",code=\"none\"} 1\n"));
    CHECK(text_has(&c, "wherry_edge_sent_bytes_total{route=\"Ingress/default/shop\"} 420\n"));
    CHECK(text_has(&c, "wherry_edge_received_bytes_total{route=\"Ingress/default/shop\"} 105\n"));
    CHECK(text_has(&c, "_bucket{route=\"Ingress/default/shop\",le=\"0.005\"} 1\n"));
    CHECK(text_has(&c, "_bucket{route=\"Ingress/default/shop\",le=\"0.01\"} 2\n"));
    CHECK(text_has(&c, "_bucket{route=\"Ingress/default/shop\",le=\"+Inf\"} 3\n"));
    CHECK(text_has(&c, "_sum{route=\"Ingress/default/shop\"} 0.71299999999999997\n"));
    CHECK(text_has(&c, "_count{route=\"Ingress/default/shop\"} 3\n"));
}

TEST(lines_that_are_something_else_count_nothing)
{
    static const char *const lines[] = {"",
                                        "x",
                                        "x 200",
                                        "x 200 1 2",
                                        "x two 1 2 3",
                                        " 200 1 2 3",
                                        "x 200 1 2 -2",
                                        "x 200 1 2 99999999999999999999",
                                        "\xff 200 1 2 3"};
    AUTO(counters_fini) struct counters c = {0};
    struct str rest;
    for (size_t i = 0; i < countof(lines); i++)
        if (counters_line(&c, str_of(lines[i]), &rest))
            test_failed(__FILE__, __LINE__, "\"%s\" was counted", lines[i]);
    CHECK(!text_has(&c, "{"));
}

TEST(routes_have_a_bound)
{
    AUTO(counters_fini) struct counters c = {0};
    struct str rest;
    for (int i = 0; i < COUNTERS_MOST + 100; i++) {
        char line[64];
        int n = snprintf(line, sizeof line, "Ingress/default/r%d 200 1 1 1", i);
        CHECK(counters_line(&c, (struct str){line, (size_t)n}, &rest));
    }
    CHECK(map_len(&c.by_owner) <= COUNTERS_MOST + 1);
    CHECK(text_has(&c, "wherry_edge_requests_total{route=\"\",code=\"2xx\"} 100\n"));
}
