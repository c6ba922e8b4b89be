#include "base/test.h"
#include "server/metrics_requests.h"

static void request_play(struct request_counts *c, const struct kind_set *set, const char *method, const char *path,
                         int status)
{
    static const struct http_peer peer;
    struct http_request h = {
        .method = str_of(method), .path = str_of(path), .status = status, .peer = &peer, .came = clock_mono()};
    request_counts_began(c, &h);
    request_counts_ended(c, set, &h);
}

static void counts_tell(const struct request_counts *c, const char *what, bool wanted)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(64 << 20);
    request_counts_text(c, &b);
    CHECK(!b.over);
    if (str_has(strbuf_str(&b), str_of(what)) != wanted)
        test_failed(__FILE__, __LINE__, "%s: it is %s", what, wanted ? "not told" : "told");
}

TEST(metrics_requests_are_told_by_what_they_asked_for)
{
    struct kind_publisher all;
    struct request_counts *c = request_counts_new();
    kind_publisher_init(&all);
    const struct kind_set *set = kind_publisher_take(&all);
    request_play(c, set, "GET", "/api/v1/pods", 200);
    request_play(c, set, "GET", "/api/v1/namespaces/a/pods", 200);
    request_play(c, set, "DELETE", "/api/v1/namespaces/a/pods", 403);
    request_play(c, set, "PUT", "/apis/apps/v1/namespaces/a/deployments/x/scale", 409);
    request_play(c, set, "POST", "/api/v1/namespaces/a/pods/x/exec", 101);
    request_play(c, set, "GET", "/api/v1/nothing/\"}x", 404);
    request_play(c, set, "GET", "/healthz", 200);
    request_play(c, set, "BREW", "/", 405);
    static const char *const told[] = {
        "apiserver_request_total{verb=\"LIST\",group=\"\",version=\"v1\",resource=\"pods\",subresource=\"\",scope="
        "\"cluster\",component=\"apiserver\",dry_run=\"\",code=\"200\"} 1\n",
        "resource=\"pods\",subresource=\"\",scope=\"namespace\",component=\"apiserver\",dry_run=\"\",code=\"200\"} "
        "1\n",
        "verb=\"DELETECOLLECTION\",group=\"\",version=\"v1\",resource=\"pods\"",
        "verb=\"PUT\",group=\"apps\",version=\"v1\",resource=\"deployments\",subresource=\"scale\",scope="
        "\"resource\"",
        "verb=\"CONNECT\",group=\"\",version=\"v1\",resource=\"pods\",subresource=\"exec\"",
        "verb=\"GET\",group=\"\",version=\"\",resource=\"\",subresource=\"\",scope=\"\",component=\"apiserver\",dry_"
        "run="
        "\"\",code=\"404\"} 1\n",
        "verb=\"other\"",
        "apiserver_current_inflight_requests{request_kind=\"mutating\"} 0\n",
    };
    for (size_t i = 0; i < countof(told); i++)
        counts_tell(c, told[i], true);
    counts_tell(c, "nothing", false);
    for (int i = 0; i < 40; i++) /* no more of them than there are places for */
        request_play(c, set, "GET", "/healthz", 200 + i);
    counts_tell(c, "code=\"0\"", true);
    kind_set_unref(set);
    kind_publisher_fini(&all);
    request_counts_free(c);
}
