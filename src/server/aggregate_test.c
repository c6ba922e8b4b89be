/* A group version that another server serves: who it hears of, what is wrong with it, and its condition; and the
 * ConfigMap by which it knows whom to trust. */
#include "api/codec.h"
#include "base/test.h"
#include "server/aggregate.h"
#include "server/pki.h"
#include "server/trust.h"
#include "server/world_test.h"
#include "sys/cert.h"

#define THINGS "/apis/wares.example.org/v1/namespaces/default/things"

/* The other server, in the same loop; it trusts the front proxy alone. */
struct wares {
    struct world w;
    struct tls_server *tls;
    struct http_server *http;
    int port;
    struct strbuf ca, said;    /* its authority; the head of the last request of a client */
    struct http_request *held; /* a request that is not answered */
    size_t body, checks;       /* bytes of the last body; how often its discovery was asked for */
    bool ill;                  /* 500 to who asks for that */
    char name[300];            /* of whom the last certificate was */
};

static void on_body(struct http_request *r, struct str bytes)
{
    ((struct wares *)r->service_arg)->body += bytes.n;
}

static void on_body_end(struct http_request *r)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(100);
    strbuf_addf(&b, "%zu bytes", ((struct wares *)r->service_arg)->body);
    http_respond(r, 200, S("text/plain"), strbuf_str(&b));
}

static enum http_body wares_headed(UNUSED struct http_request *r, UNUSED void *arg)
{
    return HTTP_STREAM;
}

static void on_held_gone(struct http_request *r)
{
    struct wares *x = r->service_arg;
    x->held = NULL;
    http_abort(r);
}

static void wares_request(struct http_request *r, void *arg)
{
    struct wares *x = arg;
    bool check = str_eqz(r->path, "/apis/wares.example.org/v1") &&
                 str_eqz(http_header(&r->headers, S("X-Remote-User")), "system:kube-aggregator");
    x->checks += check;
    if (check) {
        http_respond(r, x->ill ? 500 : 200, S("application/json"), S("{}"));
        return;
    }
    (void)snprintf(x->name, sizeof x->name, STR_FMT, STR_ARG(r->peer->tls.cn));
    strbuf_fini(&x->said);
    x->said = STRBUF(1 << 16);
    strbuf_addf(&x->said, STR_FMT " " STR_FMT "\n", STR_ARG(r->method), STR_ARG(r->target));
    for (size_t i = 0; i < r->headers.n; i++)
        strbuf_addf(&x->said, STR_FMT ": " STR_FMT "\n", STR_ARG(r->headers.p[i].name),
                    STR_ARG(r->headers.p[i].value));
    if (str_ends(r->path, S("/elsewhere"))) {
        http_set(r, S("Location"), S("https://example.org/"));
        http_respond(r, 302, S(""), S(""));
    } else if (str_ends(r->path, S("/dies"))) {
        x->held = r;
        r->on_gone = on_held_gone;
        http_start(r, 200, S("text/plain"), 100);
        http_write(r, S("half of it"));
    } else if (str_ends(r->path, S("/cut"))) {
        http_abort(r);
    } else if (str_ends(r->path, S("/held"))) {
        x->held = r;
        r->on_gone = on_held_gone;
    } else if (str_ends(r->path, S("/teapot"))) {
        http_set(r, S("X-Kind"), S("teapot"));
        http_respond(r, 418, S("text/plain"), S("short and stout"));
    } else if (r->streamed) {
        x->body = 0;
        r->on_data = on_body;
        r->on_data_end = on_body_end;
    } else {
        http_respond(r, 200, S("application/json"), S("{\"kind\":\"Thing\"}"));
    }
}

static void wares_listen(struct wares *x, int port)
{
    struct addr at;
    struct err err = ERR;
    char text[40];
    (void)snprintf(text, sizeof text, "127.0.0.1:%d", port);
    CHECK_OK(addr_parse(str_of(text), &at, &err), err);
    int fd = socket_listen(&at, 0, &err);
    CHECK_OK(fd >= 0, err);
    CHECK_OK(socket_addr(fd, &at, &err), err);
    x->port = addr_port(&at);
    x->http = http_server_new(
        x->w.loop, &(struct http_server_config){.service = {.head = wares_headed, .request = wares_request, .arg = x},
                                                .tls = x->tls});
    http_server_listen(x->http, fd);
}

static void wares_init(struct wares *x)
{
    AUTO(key_free) struct cert_key *ca = key_new(), *key = key_new();
    AUTO(strbuf_fini) struct strbuf cert = STRBUF(STRBUF_TEXT), pem = STRBUF(STRBUF_TEXT);
    struct err err = ERR;
    const struct str dns[] = {S("wares.default.svc")};
    int64_t until = clock_real() + 3600 * NS_PER_S;
    *x = (struct wares){.ca = STRBUF(STRBUF_TEXT), .said = STRBUF(1 << 16)};
    world_init(&x->w, NULL);
    CHECK_OK(cert_make(&(struct cert_spec){.cn = S("wares-ca"), .ca = true, .not_after = until}, ca, STR_NONE, NULL,
                       &x->ca, &err),
             err);
    CHECK_OK(
        cert_make(&(struct cert_spec){.cn = S("wares"), .dns = dns, .ndns = 1, .server = true, .not_after = until},
                  key, strbuf_str(&x->ca), ca, &cert, &err),
        err);
    key_pem(key, &pem);
    x->tls = tls_server_new(&(struct tls_server_config){.cert = strbuf_str(&cert),
                                                        .key = strbuf_str(&pem),
                                                        .client_ca = x->w.server->keys->proxy_ca_pem},
                            &err);
    CHECK_OK(x->tls != NULL, err);
    wares_listen(x, 0);
}

static void wares_stop(struct wares *x)
{
    http_server_free(TAKE(x->http));
    if (x->held)
        http_abort(TAKE(x->held));
}

static void wares_fini(struct wares *x)
{
    wares_stop(x);
    world_fini(&x->w);
    tls_server_free(x->tls);
    strbuf_fini(&x->ca);
    strbuf_fini(&x->said);
}

static void service_make(struct wares *x)
{
    CHECK_INT(ask_now(&x->w, VERB_CREATE, K(Service), "",
                      "{\"metadata\":{\"name\":\"wares\"},\"spec\":{\"type\":\"ExternalName\",\"externalName\":"
                      "\"127.0.0.1\"}}"),
              201);
}

static void apiservice_make(struct wares *x, struct str ca)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf b64 = STRBUF(STRBUF_TEXT);
    strbuf_add_base64(&b64, ca.p, ca.n);
    CHECK_INT(ask_now(&x->w, VERB_CREATE, K(APIService), "",
                      arena_fmt(&a,
                                "{\"metadata\":{\"name\":\"v1.wares.example.org\"},\"spec\":{\"group\":"
                                "\"wares.example.org\",\"version\":\"v1\",\"groupPriorityMinimum\":100,"
                                "\"versionPriority\":10,\"caBundle\":\"" STR_FMT "\",\"service\":{\"namespace\":"
                                "\"default\",\"name\":\"wares\",\"port\":%d}}}",
                                STR_ARG(strbuf_str(&b64)), x->port)
                          .p),
              201);
}

/* The condition, as "True Passed all checks passed". */
static struct str condition_text(struct wares *x, struct arena *a)
{
    AUTO(obj_unref) struct obj *o = object_get(x->w.server, K(APIService), S(""), S("v1.wares.example.org"));
    const struct val *c = o ? val_find(val_get(obj_status(o), N(conditions)), N(type), S("Available")) : NULL;
    return arena_fmt(a, STR_FMT " " STR_FMT " " STR_FMT, STR_ARG(val_text_at(c, N(status))),
                     STR_ARG(val_text_at(c, N(reason))), STR_ARG(val_text_at(c, N(message))));
}

struct wares_want {
    struct wares *x;
    const char *text;
};
static bool condition_has(void *arg)
{
    AUTO(arena_fini) struct arena a = ARENA;
    const struct wares_want *want = arg;
    return str_has(condition_text(want->x, &a), str_of(want->text));
}
static void condition_becomes(struct wares *x, const char *text)
{
    struct wares_want want = {x, text};
    world_until(&x->w, condition_has, &want);
}

static void wares_says(struct wares *x, const char *line, const char *body, const char *const *texts)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str got = world_http(&x->w, &a, line, body);
    for (; *texts; texts++)
        if (!str_has(got, str_of(*texts)))
            test_failed(__FILE__, __LINE__, "%s: no \"%s\" in " STR_FMT, line, *texts, STR_ARG(got));
}
#define SAYS(line, body, ...) wares_says(&x, (line), (body), (const char *const[]){__VA_ARGS__, NULL})

TEST(a_request_goes_to_its_server_with_who_asks)
{
    struct wares x;
    wares_init(&x);
    SAYS("GET " THINGS, "", "404");
    service_make(&x);
    apiservice_make(&x, strbuf_str(&x.ca));
    condition_becomes(&x, "True Passed all checks passed");
    SAYS("GET " THINGS " HTTP/1.1\r\nImpersonate-User: jane\r\nX-End:", "", "403", "cannot list resource");
    CHECK(!x.said.n);
    CHECK_INT(
        ask_now(&x.w, VERB_CREATE, K(ClusterRoleBinding), "",
                "{\"metadata\":{\"name\":\"bakers\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\","
                "\"kind\":\"ClusterRole\",\"name\":\"cluster-admin\"},\"subjects\":[{\"kind\":\"Group\",\"name\":"
                "\"baker\",\"apiGroup\":\"rbac.authorization.k8s.io\"}]}"),
        201);
    SAYS("GET " THINGS "?a=%20b HTTP/1.1\r\nX-Remote-User: evil\r\nx-remote-extra-Scope: all\r\nX-Remote-Group: "
         "system:masters\r\nImpersonate-User: jane\r\nImpersonate-Group: baker\r\nImpersonate-Extra-a%2fb: c\r\n"
         "X-Forwarded-For: 1.2.3.4\r\nX-Own: yes\r\nX-End:",
         "", "200 OK", "{\"kind\":\"Thing\"}");
    CHECK_STR(str_of(x.name), S("front-proxy-client"));
    struct str said = strbuf_str(&x.said);
    static const char *const heard[] = {"GET " THINGS "?a=%20b\n",   "X-Remote-User: jane\n",
                                        "X-Remote-Group: baker\n",   "X-Remote-Group: system:authenticated\n",
                                        "X-Remote-Extra-a%2Fb: c\n", "X-Forwarded-For: 1.2.3.4, 127.0.0.1\n",
                                        "X-Forwarded-Proto: https\n"},
                             *const unheard[] = {"evil", "masters", "Scope", "Impersonate"};
    for (size_t i = 0; i < countof(heard); i++)
        if (!str_has(said, str_of(heard[i])))
            test_failed(__FILE__, __LINE__, "no %s in " STR_FMT, heard[i], STR_ARG(said));
    for (size_t i = 0; i < countof(unheard); i++)
        CHECK(!str_has(said, str_of(unheard[i])));
    SAYS("GET " THINGS " HTTP/1.1\r\nImpersonate-User: ja\tne\r\nImpersonate-Group: baker\r\nX-End:", "", "503",
         "what cannot be passed on in a header");
    SAYS("GET " THINGS "/teapot", "", "418", "X-Kind: teapot", "short and stout");
    SAYS("DELETE " THINGS "/a", "", "200 OK");
    CHECK(str_starts(strbuf_str(&x.said), S("DELETE ")));
    wares_fini(&x);
}

TEST(bodies_of_any_size_go_through)
{
    struct wares x;
    wares_init(&x);
    service_make(&x);
    apiservice_make(&x, strbuf_str(&x.ca));
    condition_becomes(&x, "True Passed");
    AUTO(strbuf_fini) struct strbuf body = STRBUF(1 << 16);
    while (body.n < 50000)
        strbuf_addz(&body, "0123456789");
    SAYS("POST " THINGS, body.p, "200 OK", "50000 bytes");
    wares_fini(&x);
}

TEST(what_is_wrong_with_its_answer_is_told)
{
    struct wares x;
    wares_init(&x);
    service_make(&x);
    apiservice_make(&x, strbuf_str(&x.ca));
    condition_becomes(&x, "True Passed");
    SAYS("GET " THINGS "/elsewhere", "", "502", "attempted to redirect this request, which is not permitted");
    SAYS("GET " THINGS "/cut", "", "503", "text/plain", "error trying to reach service: EOF\n");
    struct test_client c = client_new(&x.w, "GET " THINGS "/dies", "");
    c.until = "half of it";
    world_until(&x.w, client_has, &c);
    http_abort(TAKE(x.held)); /* in the middle: the client's line is cut, so that it does not take it for the whole */
    c.until = NULL;
    world_until(&x.w, client_has, &c);
    CHECK(str_has(strbuf_str(&c.have), S("200 OK")) && str_has(strbuf_str(&c.have), S("Content-Length: 100")));
    client_fini(&c);
    SAYS("GET " THINGS " HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\nX-End:", "", "503",
         "invalid upgrade response: status code 200");
    SAYS("GET " THINGS "/held?timeout=200ms", "", "504 Gateway",
         "\"message\":\"Timeout: request did not complete within the allotted timeout\"", "\"reason\":\"Timeout\"");
    SAYS("GET " THINGS "?timeout=soon", "", "400 Bad Request",
         "invalid timeout specified in the request URL - time: invalid duration \\\"soon\\\"");
    SAYS("GET /api/v1/pods?timeout=1", "", "400 Bad Request",
         "invalid timeout specified in the request URL - time: missing unit in duration \\\"1\\\"");
    wares_stop(&x);
    AUTO(arena_fini) struct arena a = ARENA;
    SAYS("GET " THINGS, "", "503",
         arena_fmt(&a, "error trying to reach service: dial tcp 127.0.0.1:%d: connect: connection refused\n", x.port)
             .p);
    wares_fini(&x);
}

static bool is_held(void *arg)
{
    return ((struct wares *)arg)->held;
}
static bool is_let_go(void *arg)
{
    return !((struct wares *)arg)->held;
}

TEST(a_client_that_leaves_takes_its_request_along)
{
    struct wares x;
    wares_init(&x);
    service_make(&x);
    apiservice_make(&x, strbuf_str(&x.ca));
    condition_becomes(&x, "True Passed");
    struct test_client c = client_new(&x.w, "GET " THINGS "/held", "");
    world_until(&x.w, is_held, &x);
    client_fini(&c);
    world_until(&x.w, is_let_go, &x);
    /* an APIService that goes meanwhile leaves what is under way alone */
    c = client_new(&x.w, "GET " THINGS "/held", "");
    world_until(&x.w, is_held, &x);
    CHECK_INT(ask_now(&x.w, VERB_DELETE, K(APIService), "v1.wares.example.org", NULL), 200);
    SAYS("GET " THINGS, "", "404");
    http_respond(TAKE(x.held), 200, S("text/plain"), S("late"));
    c.until = "late";
    world_until(&x.w, client_has, &c);
    client_fini(&c);
    wares_fini(&x);
}

TEST(a_server_that_is_not_trusted_is_told_to_who_asks)
{
    struct wares x;
    AUTO(key_free) struct cert_key *key = key_new();
    AUTO(strbuf_fini) struct strbuf other = STRBUF(STRBUF_TEXT);
    struct err err = ERR;
    wares_init(&x);
    CHECK_OK(cert_make(&(struct cert_spec){.cn = S("x"), .ca = true, .not_after = clock_real() + 3600 * NS_PER_S},
                       key, STR_NONE, NULL, &other, &err),
             err);
    service_make(&x);
    apiservice_make(&x, strbuf_str(&other));
    condition_becomes(&x, "True Passed"); /* as upstream: who answers is not looked at closely then */
    SAYS("GET " THINGS, "", "503",
         "error trying to reach service: tls: failed to verify certificate: x509: certificate signed by unknown "
         "authority\n");
    wares_fini(&x);
}

TEST(the_condition_follows_what_it_depends_on)
{
    struct wares x;
    AUTO(arena_fini) struct arena a = ARENA;
    wares_init(&x);
    apiservice_make(&x, strbuf_str(&x.ca));
    condition_becomes(&x, "False ServiceNotFound service/wares in \"default\" is not present");
    SAYS("GET " THINGS, "", "503", "text/plain", "service unavailable\n");
    CHECK_INT(ask_now(&x.w, VERB_CREATE, K(Service), "",
                      "{\"metadata\":{\"name\":\"wares\"},\"spec\":{\"ports\":[{\"port\":443}]}}"),
              201);
    condition_becomes(
        &x,
        arena_fmt(&a, "False ServicePortError service/wares in \"default\" is not listening on port %d", x.port).p);
    CHECK_INT(ask_now(&x.w, VERB_PATCH, K(Service), "wares",
                      arena_fmt(&a, "{\"spec\":{\"ports\":[{\"name\":\"api\",\"port\":%d}]}}", x.port).p),
              200);
    condition_becomes(&x, "False EndpointsNotFound cannot find endpointslices for service/wares in \"default\"");
    CHECK_INT(ask_now(&x.w, VERB_CREATE, K(EndpointSlice), "",
                      "{\"metadata\":{\"name\":\"wares-1\",\"labels\":{\"kubernetes.io/service-name\":\"wares\"}},"
                      "\"addressType\":\"IPv4\",\"endpoints\":[],\"ports\":[]}"),
              201);
    condition_becomes(&x, "False MissingEndpoints endpointslices for service/wares in \"default\" have no addresses "
                          "with port name \"api\"");
    CHECK_INT(ask_now(&x.w, VERB_DELETE, K(Service), "wares", NULL), 200);
    condition_becomes(&x, "False ServiceNotFound");
    CHECK(!x.checks);
    x.ill = true;
    service_make(&x);
    condition_becomes(&x, arena_fmt(&a,
                                    "False FailedDiscoveryCheck failing or missing response from "
                                    "https://127.0.0.1:%d/apis/wares.example.org/v1: bad status from "
                                    "https://127.0.0.1:%d/apis/wares.example.org/v1: 500",
                                    x.port, x.port)
                              .p);
    SAYS("GET /metrics", "", "aggregator_unavailable_apiservice{name=\"v1.wares.example.org\"} 1\n");
    x.ill = false; /* it is asked again after a while, whatever happens */
    condition_becomes(&x, "True Passed all checks passed");
    wares_fini(&x);
}

TEST(another_server_wins_over_what_is_built_in_until_it_goes)
{
    struct wares x;
    wares_init(&x);
    SAYS("GET /apis/batch/v1/jobs", "", "200 OK", "JobList");
    CHECK_INT(ask_now(&x.w, VERB_PATCH, K(APIService), "v1.batch",
                      "{\"spec\":{\"insecureSkipTLSVerify\":true,\"service\":{\"namespace\":\"default\",\"name\":"
                      "\"none\"}}}"),
              200);
    AUTO(arena_fini) struct arena a = ARENA;
    CHECK(aggregate_find(x.w.server, S("batch"), S("v1")) && aggregate_count(x.w.server) == 1);
    CHECK_INT(ask_now(&x.w, VERB_PATCH, K(APIService), "v1.batch",
                      "{\"spec\":{\"insecureSkipTLSVerify\":null,\"service\":null}}"),
              200);
    CHECK(!aggregate_find(x.w.server, S("batch"), S("v1")) && !aggregate_count(x.w.server));
    SAYS("GET /apis/batch/v1/jobs", "", "200 OK", "JobList");
    wares_fini(&x);
}

TEST(what_others_have_added_to_the_trust_stays)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(key_free) struct cert_key *key = key_new();
    AUTO(strbuf_fini)
    struct strbuf ca = STRBUF(STRBUF_TEXT), other = STRBUF(STRBUF_TEXT), old = STRBUF(STRBUF_TEXT),
                  both = STRBUF(STRBUF_TEXT);
    struct err err = ERR;
    int64_t now = clock_real();
    struct cert_spec spec = {.cn = S("ours"), .ca = true, .not_after = now + 3600 * NS_PER_S};
    CHECK_OK(cert_make(&spec, key, STR_NONE, NULL, &ca, &err), err);
    spec.cn = S("theirs");
    CHECK_OK(cert_make(&spec, key, STR_NONE, NULL, &other, &err), err);
    spec.not_before = now - 7200 * NS_PER_S;
    spec.not_after = now - 3600 * NS_PER_S;
    CHECK_OK(cert_make(&spec, key, STR_NONE, NULL, &old, &err), err);
    struct val fresh = trust_combine(&a, NULL, strbuf_str(&ca), strbuf_str(&other));
    CHECK_STR(val_text(val_get_str(&fresh, S("client-ca-file"))), strbuf_str(&ca));
    CHECK_STR(val_text(val_get_str(&fresh, S("requestheader-client-ca-file"))), strbuf_str(&other));
    CHECK_STR(val_text(val_get_str(&fresh, S("requestheader-allowed-names"))), S("[\"front-proxy-client\"]"));
    CHECK_INT((int)val_len(&fresh), 7);
    struct val again = trust_combine(&a, &fresh, strbuf_str(&ca), strbuf_str(&other));
    CHECK(val_equal(&fresh, &again));
    struct val have = val_map();
    strbuf_addf(&both, "# mine\n" STR_FMT STR_FMT "garbage", STR_ARG(strbuf_str(&old)), STR_ARG(strbuf_str(&other)));
    val_set_str(&a, &have, S("client-ca-file"), val_str(&a, strbuf_str(&both)));
    val_set_str(&a, &have, S("requestheader-client-ca-file"), val_str(&a, strbuf_str(&ca)));
    val_set_str(&a, &have, S("requestheader-group-headers"), val_str(&a, S("[\"X-Group\",7]")));
    val_set_str(&a, &have, S("requestheader-username-headers"), val_str(&a, S("nonsense")));
    val_set_str(&a, &have, S("more"), val_str(&a, S("x")));
    struct val now_is = trust_combine(&a, &have, strbuf_str(&ca), strbuf_str(&other));
    strbuf_fini(&both);
    both = STRBUF(STRBUF_TEXT);
    strbuf_addf(&both, STR_FMT STR_FMT, STR_ARG(strbuf_str(&other)), STR_ARG(strbuf_str(&ca)));
    CHECK_STR(val_text(val_get_str(&now_is, S("client-ca-file"))), strbuf_str(&both));
    CHECK_STR(val_text(val_get_str(&now_is, S("requestheader-client-ca-file"))), strbuf_str(&other));
    CHECK_STR(val_text(val_get_str(&now_is, S("requestheader-group-headers"))),
              S("[\"X-Group\",\"X-Remote-Group\"]"));
    CHECK_STR(val_text(val_get_str(&now_is, S("requestheader-username-headers"))), S("[\"X-Remote-User\"]"));
    CHECK(!val_get_str(&now_is, S("more")));
}

static bool has_apiservice(struct world *w, const char *name, const char *priority)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(obj_unref) struct obj *o = object_get(w->server, K(APIService), S(""), str_of(name));
    if (!o)
        return false;
    return str_eqz(arena_fmt(&a, "%lld", (long long)val_num_at(obj_spec(o), 0, N(versionPriority))), priority);
}

TEST(what_is_built_in_has_its_apiservices_from_the_start_on)
{
    static const struct server_options on_disk;
    static const char *const made[] = {
        "{\"metadata\":{\"name\":\"v9.old.example.org\",\"labels\":{\"kube-aggregator.kubernetes.io/automanaged\":"
        "\"onstart\"}},\"spec\":{\"group\":\"old.example.org\",\"version\":\"v9\",\"groupPriorityMinimum\":7,"
        "\"versionPriority\":7}}",
        "{\"metadata\":{\"name\":\"v1.own.example.org\"},\"spec\":{\"group\":\"own.example.org\",\"version\":\"v1\","
        "\"groupPriorityMinimum\":7,\"versionPriority\":7}}"};
    struct world w;
    world_init(&w, &on_disk);
    CHECK(has_apiservice(&w, "v1.", "1") && has_apiservice(&w, "v1.apps", "15") &&
          has_apiservice(&w, "v2.autoscaling", "30"));
    CHECK(!has_apiservice(&w, "v1.apiregistration.k8s.io", "0"));
    for (size_t i = 0; i < countof(made); i++)
        CHECK_INT(ask_now(&w, VERB_CREATE, K(APIService), "", made[i]), 201);
    CHECK_INT(ask_now(&w, VERB_DELETE, K(APIService), "v1.apps", NULL), 200);
    CHECK_INT(ask_now(&w, VERB_PATCH, K(APIService), "v1.batch", "{\"spec\":{\"versionPriority\":7}}"), 200);
    CHECK_INT(ask_now(&w, VERB_PATCH, K(APIService), "v1.policy",
                      "{\"metadata\":{\"labels\":null},\"spec\":{\"versionPriority\":7}}"),
              200);
    CHECK(!has_apiservice(&w, "v1.apps", "15")); /* as upstream's: until the next start */
    world_fini(&w);
    world_init(&w, &on_disk);
    CHECK(has_apiservice(&w, "v1.apps", "15") && has_apiservice(&w, "v1.batch", "15"));
    CHECK(has_apiservice(&w, "v1.policy", "7")); /* it does not say that it is managed */
    CHECK(has_apiservice(&w, "v1.own.example.org", "7") && !has_apiservice(&w, "v9.old.example.org", "7"));
    world_fini(&w);
}
