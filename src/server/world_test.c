#include "server/world_test.h"
#include "api/codec.h"
#include "base/test.h"
#include <fcntl.h>

static void on_ready(void *arg)
{
    ((struct world *)arg)->ready = true;
}

static bool is_ready(void *arg)
{
    return ((struct world *)arg)->ready;
}

void world_until(struct world *w, bool (*fn)(void *arg), void *arg)
{
    int64_t end = clock_mono() + 50 * NS_PER_S;
    while (!fn(arg)) {
        loop_run_once(w->loop, 10 * NS_PER_MS);
        CHECK(clock_mono() < end);
    }
}

void world_init(struct world *w, const struct server_options *options)
{
    struct err err = ERR;
    char path[100];
    (void)snprintf(path, sizeof path, "unix:%s/api.sock", test_dir());
    struct server_options o = options ? *options : (struct server_options){.memory = true};
    static struct server_peer peers[] = {{0, "admin", "system:masters"}};
    peers[0].uid = getuid();
    *w = (struct world){0};
    o.root = test_dir();
    o.listen = "127.0.0.1:0";
    o.ready = on_ready;
    o.arg = w;
    CHECK_OK(addr_parse(str_of(path), &w->socket, &err), err);
    o.unix_fd = socket_listen(&w->socket, 0600, &err);
    CHECK_OK(o.unix_fd >= 0, err);
    o.peers = peers;
    o.npeers = 1;
    w->loop = loop_new(&err);
    CHECK_OK(w->loop != NULL, err);
    w->server = server_start(w->loop, &o, &err);
    CHECK_OK(w->server != NULL, err);
    world_until(w, is_ready, w);
}

void world_fini(struct world *w)
{
    server_stop(TAKE(w->server));
    while (loop_run_once(w->loop, 0))
        ;
    loop_free(w->loop);
}

static bool is_settled(void *arg)
{
    return ((struct world *)arg)->open == 0;
}

void world_settle(struct world *w)
{
    world_until(w, is_settled, w);
}

/* --- over HTTP --- */

struct test_client client_new(struct world *w, const char *method_and_path, const char *body)
{
    struct test_client c = {.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), .have = STRBUF(1 << 24)};
    AUTO(strbuf_fini) struct strbuf text = STRBUF(1 << 16);
    CHECK(c.fd >= 0 && connect(c.fd, &w->socket.sa, w->socket.n) == 0);
    strbuf_addf(&text,
                "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
                "Content-Length: %zu\r\n\r\n%s",
                method_and_path, strlen(body), body);
    CHECK(write(c.fd, text.p, text.n) == (ssize_t)text.n);
    CHECK(fcntl(c.fd, F_SETFL, O_NONBLOCK) == 0);
    return c;
}

bool client_has(void *client)
{
    struct test_client *c = client;
    for (ssize_t n = 1; n > 0;) {
        char *room = strbuf_room(&c->have, 4096);
        n = room ? read(c->fd, room, 4096) : -1;
        strbuf_used(&c->have, n > 0 ? (size_t)n : 0);
        c->ended |= n == 0;
    }
    return c->until ? str_has(strbuf_str(&c->have), str_of(c->until)) : c->ended;
}

void client_fini(struct test_client *c)
{
    fd_close(c->fd);
    strbuf_fini(&c->have);
}

struct str world_http(struct world *w, struct arena *a, const char *method_and_path, const char *body)
{
    AUTO(client_fini) struct test_client c = client_new(w, method_and_path, body);
    world_until(w, client_has, &c);
    return str_dup(a, strbuf_str(&c.have));
}

/* --- from inside --- */

static const struct str admin_groups[] = {S_INIT("system:masters"), S_INIT("system:authenticated")};
static const struct user admin = {.name = S_INIT("admin"), .groups = admin_groups, .ngroups = countof(admin_groups)};

static void on_done(struct request *r)
{
    struct test_ask *a = container_of(r, struct test_ask, r);
    CHECK(!a->over);
    a->over = true;
    a->code = r->answer.type == ANSWER_FAILED ? r->answer.fail.code : r->answer.code;
    a->words = r->answer.fail.message;
    a->w->open--;
}

struct test_ask *ask_new(struct world *w, enum verb verb, const struct kind *k, const char *name, const char *sub,
                         const struct type *type, const char *body)
{
    struct test_ask *a = NEW(struct test_ask);
    struct request *r = &a->r;
    struct err err = ERR;
    a->w = w;
    request_init(r, w->server, w->loop, on_done);
    request_for(r, verb, k, k->namespaced ? S("default") : S(""), str_dup(&r->arena, str_of(name)),
                str_dup(&r->arena, str_of(sub)));
    r->user = &admin;
    if (verb == VERB_DELETECOLLECTION)
        r->verb_text = S("deletecollection");
    r->options.patch = FORMAT_MERGE_PATCH;
    if (body) {
        struct val untyped, *v = ARENA_NEW(&r->arena, struct val);
        CHECK_OK(json_decode(&r->arena, str_dup(&r->arena, str_of(body)), &untyped, &err), err);
        if (verb == VERB_PATCH)
            *v = untyped;
        else
            CHECK_OK(type_decode_val(&r->arena, type ? type : k->type, &untyped, v, NULL, &err), err);
        if (verb != VERB_PATCH && !type) {
            val_set_text(&r->arena, v, N(kind), k->kind);
            val_set_text(&r->arena, v, N(apiVersion), k->api_version);
        }
        r->body = v;
    }
    w->open++;
    request_start(r);
    return a;
}

void ask_free(struct test_ask *a)
{
    CHECK(a->over);
    request_fini(&a->r);
    mem_free(a);
}

int ask_now(struct world *w, enum verb verb, const struct kind *k, const char *name, const char *body)
{
    struct test_ask *a = ask_new(w, verb, k, name, "", NULL, body);
    world_settle(w);
    int code = a->code;
    ask_free(a);
    return code;
}
