/* The agent behind a real HAProxy, on unix sockets of a folder of the test's. */
#include "base/test.h"
#include "edge/spoa.h"
#include "sys/child.h"
#include "sys/file.h"
#include "wire/http_client.h"
#include "wire/http_server.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

static const char config[] =
    "global\n  nbthread 1\n"
    "defaults\n  mode http\n  timeout client 30s\n  timeout server 30s\n  timeout connect 5s\n"
    "frontend front\n"
    "  bind unix@front.sock\n"
    "  option http-buffer-request\n"
    "%s"
    "  http-request set-var(txn.r) path,field(2,/)\n"
    "  http-request set-var(txn.uri) pathq\n"
    "  http-request set-var-fmt(txn.g) \",n5,\" unless { path_end old }\n"
    "  http-request set-var(txn.h) req.hdr(host)\n"
    "  http-request set-var(txn.accept) req.hdr(accept)\n"
    "  http-request send-spoe-group door mirror if { path_end mirror }\n"
    "  http-request return status 200 content-type text/plain string mirrored if { path_end mirror }\n"
    "  use_backend bad if { path_end errors }\n"
    "  http-response send-spoe-group door errors if { status 404 }\n"
    "  http-response return status 404 content-type text/plain hdr x-type \"%%[var(txn.agent.page_type)]\" lf-string "
    "\"%%[var(txn.agent.l0)]\\n%%[var(txn.agent.l1)]\" if { var(txn.agent.page) -m int 16 }\n"
    "  http-request send-spoe-group door auth unless { path_end errors }\n"
    "  http-request return status 401 content-type text/plain string no hdr www-authenticate "
    "\"%%[var(txn.agent.challenge)]\" if { var(txn.agent.verdict) -m int 401 }\n"
    "  http-request redirect location \"%%[var(txn.agent.location)]\" code 302 if { var(txn.agent.verdict) -m int "
    "302 }\n"
    "  http-request return status 403 content-type text/plain string no if { var(txn.agent.verdict) -m int 403 }\n"
    "  http-request return status 503 content-type text/plain string no if !{ var(txn.agent.verdict) -m int 200 } "
    "!{ path_end errors }\n"
    "  http-request return status 200 content-type text/plain lf-string \"in %%[var(txn.agent.n5)]\" unless { "
    "path_end errors }\n"
    "%s"
    "backend bad\n  server bad unix@bad.sock\n"
    "frontend bad-one\n  bind unix@bad.sock\n  http-request return status 404 content-type text/plain string plain\n";

struct gate {
    struct loop *loop;
    struct spoa *agent;
    struct child proxy;
    struct http_client *client;
    struct http_server *behind; /* what is asked, mirrored to, and gives pages */
    char dir[64];
    struct door_server server;
    struct door_pool pool;
    struct strbuf heard; /* by `behind` */
    int status;
    struct strbuf body, location, challenge;
    bool over;
};

static void proxy_ended(struct child *c UNUSED, int status UNUSED)
{
}

static const struct door_pool *pool_named(void *arg, struct str key)
{
    struct gate *g = arg;
    return str_eqz(key, "pool") ? &g->pool : NULL;
}

/* "behind.ns.svc" is here. */
static bool name_found(void *arg UNUSED, struct str host, struct strbuf *out)
{
    return str_eqz(host, "behind.ns.svc") && (strbuf_add(out, S("127.0.0.1")), true);
}

static void behind_asked(struct http_request *r, void *arg)
{
    struct gate *g = arg;
    struct str auth = http_header(&r->headers, S("authorization")), code = http_header(&r->headers, S("x-code"));
    strbuf_addf(&g->heard, STR_FMT " " STR_FMT " " STR_FMT STR_FMT "\n", STR_ARG(r->method), STR_ARG(r->target),
                STR_ARG(http_header(&r->headers, S("x-original-url"))), STR_ARG(code));
    int status = str_eqz(auth, "Bearer good") || code.n ? 200 : str_eqz(auth, "Bearer other") ? 403 : 401;
    http_set(r, S("X-User"), S("jane"));
    http_respond(r, status, S("text/x-page"), S("a page\r\nof two lines"));
}

static void gate_told(struct http_call *c, const struct http_answer *a, struct err *err)
{
    struct gate *g = http_call_arg(c);
    g->over = true;
    g->status = a ? a->status : 0;
    if (!a) {
        strbuf_addf(&g->body, "%s", err->text);
        return;
    }
    strbuf_add(&g->body, a->body);
    strbuf_add(&g->location, http_header(&a->headers, S("location")));
    strbuf_add(&g->challenge, http_header(&a->headers, S("www-authenticate")));
}

static void gate_wait(struct gate *g, bool (*until)(struct gate *g))
{
    for (int64_t end = clock_mono() + 20 * NS_PER_S; !until(g);)
        CHECK(clock_mono() < end && loop_run_once(g->loop, 50 * NS_PER_MS));
}

static bool is_over(struct gate *g)
{
    return g->over;
}

static void gate_ask(struct gate *g, const char *path, const char *authorization)
{
    static const struct http_call_fns fns = {.done = gate_told};
    AUTO(arena_fini) struct arena a = ARENA;
    struct http_headers h = {0};
    if (authorization)
        http_header_add(&a, &h, S("Authorization"), str_of(authorization));
    struct strbuf *texts[] = {&g->body, &g->location, &g->challenge};
    for (size_t i = 0; i < countof(texts); i++) {
        strbuf_fini(texts[i]);
        *texts[i] = STRBUF(1 << 16);
    }
    g->over = false;
    (void)http_send(g->client, &(struct http_outgoing){.method = S("GET"), .target = str_of(path), .headers = &h},
                    &fns, g);
    gate_wait(g, is_over);
}

static void gate_init(struct gate *g)
{
    struct err err = ERR;
    AUTO(arena_fini) struct arena a = ARENA;
    *g = (struct gate){.loop = loop_new(&err), .heard = STRBUF(1 << 16)};
    (void)snprintf(g->dir, sizeof g->dir, "%s", test_dir());
    struct spoa_config c = {
        .run = str_of(g->dir), .own_socket = -1, .pool = pool_named, .resolve = name_found, .arg = g};
    g->agent = spoa_new(g->loop, &c, &err);
    CHECK_OK(g->agent, err);
    spoa_begin(g->agent);
    struct str text = arena_fmt(&a, config, spoa_filter, spoa_backend);
    struct str inner = arena_fmt(&a, "%s/p", g->dir);
    CHECK(mkdir(inner.p, 0700) == 0);
    CHECK_OK(file_replace(AT_FDCWD, arena_fmt(&a, "%s/p/haproxy.cfg", g->dir).p, text, 0600, &err), err);
    struct child_spec spec = CHILD_SPEC;
    const char *argv[] = {"haproxy", "-db", "-C", inner.p, "-f", "haproxy.cfg", NULL};
    spec.argv = argv;
    spec.die_with_parent = true;
    spec.err = STDERR_FILENO;
    CHECK_OK(child_start(&g->proxy, g->loop, &spec, proxy_ended, &err), err);
    g->client = http_client_new(g->loop,
                                &(struct http_client_config){.address = arena_fmt(&a, "unix:%s/p/front.sock", g->dir),
                                                             .host = S("a.example")});
    struct addr at, bound;
    CHECK_OK(addr_parse(S("127.0.0.1:0"), &at, &err), err);
    int fd = socket_listen(&at, 0, &err);
    CHECK(fd >= 0 && socket_addr(fd, &bound, &err));
    g->behind = http_server_new(g->loop,
                                &(struct http_server_config){.service = {.request = behind_asked, .arg = g}});
    http_server_listen(g->behind, fd);
    g->server = (struct door_server){.host = S("127.0.0.1"), .port = (uint16_t)addr_port(&bound), .weight = 1};
    g->pool = (struct door_pool){.key = S("pool"), .servers = &g->server, .nservers = 1};
    for (int64_t end = clock_mono() + 10 * NS_PER_S; g->status == 0 && clock_mono() < end;)
        gate_ask(g, "/0/x", NULL);
}

static void gate_fini(struct gate *g)
{
    child_kill(&g->proxy, SIGKILL);
    while (g->proxy.pid)
        CHECK(loop_run_once(g->loop, NS_PER_S));
    http_client_free(g->client);
    spoa_free(g->agent);
    http_server_free(g->behind);
    struct strbuf *texts[] = {&g->body, &g->location, &g->challenge, &g->heard};
    for (size_t i = 0; i < countof(texts); i++)
        strbuf_fini(texts[i]);
    while (loop_run_once(g->loop, 0))
        ;
    loop_free(g->loop);
}

static void rule_put(struct gate *g, const char *name, const struct door_auth *auth)
{
    static const struct str names[] = {{"n5", 2}};
    spoa_put(g->agent, &(struct spoa_rule){
                           .name = str_of(name), .owner = S("Ingress/ns/web"), .auth = auth, .variables = names});
}

TEST(passwords_let_in_and_keep_out)
{
    struct gate g;
    gate_init(&g);
    CHECK_INT(g.status, 503); /* rule 0 is none */
    rule_put(
        &g, "7",
        &(struct door_auth){.realm = S("the \"harbour\""), .users = S("jane:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")});
    gate_ask(&g, "/7/x", NULL);
    CHECK_INT(g.status, 401);
    CHECK_STR(strbuf_str(&g.challenge), S("Basic realm=\"the harbour\", charset=\"UTF-8\""));
    gate_ask(&g, "/7/x", "Basic amFuZTpzZWNyZXQ="); /* jane:secret */
    CHECK_INT(g.status, 200);
    gate_ask(&g, "/7/x", "Basic amFuZTpzZWNyZXQ=");
    CHECK_INT(g.status, 200);
    gate_ask(&g, "/7/x", "Basic amFuZTpvdGhlcg==");
    CHECK_INT(g.status, 401);
    gate_ask(&g, "/7/x", "Basic !!!");
    CHECK_INT(g.status, 401);
    rule_put(&g, "7",
             &(struct door_auth){.users = S("jane:{SHA}5en6G6MezRroT3XKqkdPOmY/BfA=\n")}); /* another one now */
    gate_ask(&g, "/7/x", "Basic amFuZTpzZWNyZXQ=");
    CHECK_INT(g.status, 401);
    rule_put(&g, "7", &(struct door_auth){.broken = true});
    gate_ask(&g, "/7/x", "Basic amFuZTpzZWNyZXQ=");
    CHECK_INT(g.status, 503);
    spoa_del(g.agent, S("7"));
    gate_ask(&g, "/7/x", NULL);
    CHECK_INT(g.status, 503);
    gate_fini(&g);
}

TEST(an_address_is_asked)
{
    struct gate g;
    AUTO(arena_fini) struct arena a = ARENA;
    static const struct str user = {"x-user", 6};
    gate_init(&g);
    struct door_auth auth = {.url = arena_fmt(&a, "http://behind.ns.svc:%u/auth?for=$host", g.server.port),
                             .headers = &user,
                             .nheaders = 1};
    rule_put(&g, "8", &auth);
    gate_ask(&g, "/8/x?y=1", "Bearer good");
    CHECK_INT(g.status, 200);
    CHECK_STR(strbuf_str(&g.body), S("in jane"));
    CHECK_STR(strbuf_str(&g.heard), S("GET /auth?for=a.example http://a.example/8/x?y=1\n"));
    gate_ask(&g, "/8/x", "Bearer other");
    CHECK_INT(g.status, 403);
    gate_ask(&g, "/8/x", NULL);
    CHECK_INT(g.status, 401);
    gate_ask(&g, "/8/old", "Bearer good"); /* by a shape that has no place for the header */
    CHECK_INT(g.status, 503);
    auth.signin = S("https://login.example/start");
    rule_put(&g, "8", &auth);
    gate_ask(&g, "/8/x", NULL);
    CHECK_INT(g.status, 302);
    CHECK_STR(strbuf_str(&g.location), S("https://login.example/start?rd=http%3A%2F%2Fa.example%2F8%2Fx"));
    auth.url = S("http://127.0.0.1:1/auth"); /* nobody listens */
    rule_put(&g, "8", &auth);
    gate_ask(&g, "/8/x", "Bearer good");
    CHECK_INT(g.status, 503);
    auth.url = S("ftp://x");
    rule_put(&g, "8", &auth);
    gate_ask(&g, "/8/x", "Bearer good");
    CHECK_INT(g.status, 503);
    gate_fini(&g);
}

static bool has_heard(struct gate *g)
{
    return g->heard.n > 0;
}

TEST(copies_and_pages)
{
    struct gate g;
    gate_init(&g);
    const struct door_mirror mirror = {.pool = S("pool"), .numerator = 1, .denominator = 1};
    spoa_put(g.agent, &(struct spoa_rule){.name = S("9"),
                                          .owner = S("Ingress/ns/web"),
                                          .mirrors = &mirror,
                                          .nmirrors = 1,
                                          .errors_pool = S("pool")});
    gate_ask(&g, "/9/mirror", NULL);
    CHECK_INT(g.status, 200);
    gate_wait(&g, has_heard);
    CHECK_STR(strbuf_str(&g.heard), S("GET /9/mirror \n"));
    gate_ask(&g, "/9/errors", NULL);
    CHECK_INT(g.status, 404);
    CHECK_STR(strbuf_str(&g.body), S("a page\nof two lines"));
    spoa_put(g.agent, &(struct spoa_rule){.name = S("9"), .errors_pool = S("none")});
    gate_ask(&g, "/9/errors", NULL);
    CHECK_INT(g.status, 404);
    CHECK_STR(strbuf_str(&g.body), S("plain"));
    gate_fini(&g);
}
