/* The transport over a unix socket, against a server that answers as an API server would. */
#include "base/test.h"
#include "client/cache.h"
#include "client/http.h"
#include "sys/loop.h"
#include "wire/http_server.h"

struct server {
    struct loop *loop;
    struct http_server *http;
    struct transport *api;
    struct strbuf asked; /* what was asked: method, target, body */
    const char *answer;
    int status;
    struct http_request *watching;
};

static void watch_gone(struct http_request *r)
{
    struct server *s = r->service_arg;
    s->watching = NULL;
    http_end(r);
}

static void server_serve(struct http_request *r, void *arg)
{
    struct server *s = arg;
    strbuf_addf(&s->asked, STR_FMT " " STR_FMT " " STR_FMT "\n", STR_ARG(r->method), STR_ARG(r->target),
                STR_ARG(r->body));
    if (str_has(r->query, S("watch=true"))) {
        s->watching = r;
        r->on_gone = watch_gone;
        http_start(r, 200, S("application/json"), -1);
        return;
    }
    http_respond(r, s->status, S("application/json"), str_of(s->answer));
}

static void server_init(struct server *s)
{
    struct err err = ERR;
    AUTO(arena_fini) struct arena a = ARENA;
    *s = (struct server){.asked = STRBUF(1u << 20), .status = 200, .loop = loop_new(&err)};
    struct str path = arena_fmt(&a, "unix:%s/api.sock", test_dir());
    struct addr addr;
    CHECK_OK(addr_parse(path, &addr, &err), err);
    int fd = socket_listen(&addr, 0600, &err);
    CHECK_OK(fd >= 0, err);
    struct http_server_config c = {.service = {.request = server_serve, .arg = s}};
    s->http = http_server_new(s->loop, &c);
    http_server_listen(s->http, fd);
    struct http_transport_config t = {.server = path, .token = S("secret")};
    s->api = http_transport_new(s->loop, &t, &err);
    CHECK_OK(s->api, err);
}

static void server_fini(struct server *s)
{
    transport_free(s->api);
    if (s->watching)
        http_end(s->watching);
    http_server_free(s->http);
    loop_free(s->loop);
    strbuf_fini(&s->asked);
}

#define POD_JSON                                                                                                     \
    "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\",\"namespace\":\"default\",\"uid\":\"u\","  \
    "\"resourceVersion\":\"7\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}"

TEST(an_object_comes_with_its_revision)
{
    struct server s;
    struct err err = ERR;
    server_init(&s);
    s.answer = POD_JSON;
    AUTO(call_fini) struct call c = {0};
    struct call_options o = CALL_OPTIONS(.verb = CALL_GET, .kind = K(Pod), .ns = S("default"), .name = S("p"));
    CHECK_OK(call_run(&c, s.api, &o, &err), err);
    CHECK(c.obj && c.obj->rev == 7 && !val_at(&c.obj->tree, N(metadata), N(resourceVersion)));
    CHECK_STR(c.obj->uid, S("u"));
    CHECK_STR(strbuf_str(&s.asked), S("GET /api/v1/namespaces/default/pods/p \n"));
    call_fini(&c);
    server_fini(&s);
}

TEST(a_refusal_keeps_its_kind_and_its_words)
{
    struct server s;
    struct err err = ERR;
    server_init(&s);
    s.status = 409;
    s.answer =
        "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"pods \\\"p\\\" already "
        "exists\",\"reason\":\"AlreadyExists\",\"code\":409}";
    struct call c = {0};
    AUTO(arena_fini) struct arena a = ARENA;
    struct val body = val_map();
    val_set_text(&a, val_set(&a, &body, N(metadata), val_map()), N(name), S("p"));
    struct call_options o = CALL_OPTIONS(.verb = CALL_CREATE, .kind = K(Pod), .ns = S("default"), .body = &body,
                                         .field_manager = S("a b"));
    CHECK(!call_run(&c, s.api, &o, &err));
    CHECK_INT(err.kind, E_ALREADY_EXISTS);
    CHECK_STR(str_of(err.text), S("pods \"p\" already exists"));
    CHECK(c.tree && c.http == 409);
    CHECK(str_starts(strbuf_str(&s.asked), S("POST /api/v1/namespaces/default/pods?fieldManager=a%20b {")));
    call_fini(&c);
    server_fini(&s);
}

TEST(a_delete_says_what_it_expects)
{
    struct server s;
    struct err err = ERR;
    server_init(&s);
    s.answer = "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Success\"}";
    struct call c = {0};
    struct call_options o = CALL_OPTIONS(.verb = CALL_DELETE, .kind = K(Deployment), .ns = S("x"), .name = S("d"),
                                         .expect_uid = S("u"), .propagation = PROPAGATION_FOREGROUND);
    o.grace_s = 0;
    CHECK_OK(call_run(&c, s.api, &o, &err), err);
    CHECK(!c.obj);
    CHECK_STR(
        strbuf_str(&s.asked),
        S("DELETE /apis/apps/v1/namespaces/x/deployments/d {\"apiVersion\":\"v1\",\"kind\":\"DeleteOptions\","
          "\"gracePeriodSeconds\":0,\"propagationPolicy\":\"Foreground\",\"preconditions\":{\"uid\":\"u\"}}\n"));
    call_fini(&c);
    server_fini(&s);
}

static void nothing_changed(struct cache_handler *h, struct obj *was, struct obj *now)
{
    (void)h, (void)was, (void)now;
}

static void run_until(struct server *s, bool (*until)(struct server *s, struct cache *c), struct cache *c)
{
    for (int64_t end = clock_mono() + 10 * NS_PER_S; !until(s, c);) {
        CHECK(clock_mono() < end);
        loop_run_once(s->loop, 100 * NS_PER_MS);
    }
}

static bool server_is_watched(struct server *s, struct cache *c)
{
    (void)c;
    return s->watching != NULL;
}

static bool at_nine(struct server *s, struct cache *c)
{
    (void)s;
    return cache_rev(c) == 9;
}

TEST(a_cache_lists_then_watches_pieces_of_events)
{
    struct server s;
    server_init(&s);
    s.answer =
        "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[" POD_JSON
        "]}";
    struct cache_options o = {.kind = K(Pod), .page = 500};
    struct cache *c = cache_new(s.api, &o);
    struct cache_handler h = {.changed = nothing_changed};
    cache_handler_add(c, &h);
    cache_start(c);
    run_until(&s, server_is_watched, c);
    CHECK(str_has(strbuf_str(&s.asked), S("resourceVersion=7")));
    http_write(s.watching, S("{\"type\":\"DELETED\",\"object\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"meta"));
    loop_run_once(s.loop, 10 * NS_PER_MS);
    http_write(s.watching, S("data\":{\"name\":\"p\",\"namespace\":\"default\",\"resourceVersion\":\"8\"}}}\n"
                             "{\"type\":\"BOOKMARK\",\"object\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":"
                             "{\"resourceVersion\":\"9\"}}}\n"));
    run_until(&s, at_nine, c);
    CHECK_INT(objset_len(cache_set(c)), 0);
    cache_free(c);
    server_fini(&s);
}

static bool server_was_asked_how_far(struct server *s, struct cache *c)
{
    (void)c;
    return str_has(strbuf_str(&s->asked), S("pods?limit=1&allowWatchBookmarks=true"));
}

TEST(a_cache_that_is_to_reach_a_revision_asks_once)
{
    struct server s;
    server_init(&s);
    s.answer =
        "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[" POD_JSON
        "]}";
    struct cache *c = cache_new(s.api, &(struct cache_options){.kind = K(Pod)});
    struct cache_handler h = {.changed = nothing_changed};
    cache_handler_add(c, &h);
    cache_start(c);
    run_until(&s, server_is_watched, c);
    cache_reach(c, 7);
    loop_run_once(s.loop, 10 * NS_PER_MS);
    CHECK(!server_was_asked_how_far(&s, c)); /* it is there */
    s.answer = "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"9\"},\"items\":[]}";
    cache_reach(c, 8);
    cache_reach(c, 9);
    run_until(&s, server_was_asked_how_far, c);
    strbuf_reset(&s.asked);
    http_write(s.watching, S("{\"type\":\"BOOKMARK\",\"object\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":"
                             "{\"resourceVersion\":\"9\"}}}\n"));
    run_until(&s, at_nine, c);
    for (int i = 0; i < 10; i++)
        loop_run_once(s.loop, 30 * NS_PER_MS);
    CHECK(!server_was_asked_how_far(&s, c)); /* nor is it asked for what is reached */
    CHECK_INT(objset_len(cache_set(c)), 1);
    cache_free(c);
    server_fini(&s);
}

TEST(a_server_that_is_not_there_is_an_error_with_its_address)
{
    struct err err = ERR;
    AUTO(arena_fini) struct arena a = ARENA;
    struct loop *l = loop_new(&err);
    struct http_transport_config t = {.server = arena_fmt(&a, "unix:%s/none.sock", test_dir())};
    struct transport *api = http_transport_new(l, &t, &err);
    struct call c = {0};
    struct call_options o = CALL_OPTIONS(.verb = CALL_RAW, .path = S("/version"));
    CHECK(!call_run(&c, api, &o, &err));
    CHECK(str_has(str_of(err.text), S("none.sock")));
    call_fini(&c);
    transport_free(api);
    t.server = S("ftp://x");
    CHECK(!http_transport_new(l, &t, &err));
    CHECK_STR(str_of(err.text), S("server: \"ftp://x\" must begin with https://, http:// or unix:"));
    loop_free(l);
}
