/* Whatever a client sends as HTTP/2, behind the greeting: the server keeps to its bounds, ends its requests once each
 * and lets the connection go. The first byte chooses what the service does with bodies and how it ends; a streamed
 * body is paused at some of its pieces, for a turn. */
#include "wire/http_server.h"
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char greeting[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
static struct loop *l;
static struct http_server *server;
static uint8_t way;
static struct http_request *paused; /* for a turn of the loop */

static void request_done(struct http_request *r)
{
    paused = paused == r ? NULL : paused;
    if (way & 4)
        http_abort(r);
    else
        http_end(r);
}

static enum http_body head_came(UNUSED struct http_request *r, UNUSED void *arg)
{
    return way & 1 ? HTTP_COLLECT : HTTP_STREAM;
}
static void data_came(struct http_request *r, struct str b)
{
    ASSERT(r != paused);
    http_write(r, b);
    if (b.n % 3 == 1 && !paused) {
        http_body_pause(r, true);
        paused = r;
    }
}
static void request_came(struct http_request *r, UNUSED void *arg)
{
    static const struct str piece = S_INIT("0123456789abcdef0123456789abcdef");
    ASSERT(r->method.n && r->target.n && r->path.n && !str_eqz(r->method, "CONNECT"));
    for (size_t i = 0; i < r->headers.n; i++)
        ASSERT(r->headers.p[i].name.n && r->headers.p[i].name.p[0] != ':');
    if (way & 1) {
        http_respond(r, 200, S("text/plain"), r->body);
        return;
    }
    r->on_data = data_came;
    r->on_data_end = request_done;
    r->on_gone = request_done;
    http_start(r, 200, S("text/plain"), -1);
    for (int i = 0; way & 8 && i < 4000; i++)
        http_write(r, piece);
    if (!r->streamed && way & 2)
        request_done(r);
}

static void loop_turn(int64_t ns)
{
    struct http_request *was = paused;
    (void)loop_run_once(l, ns);
    if (was && was == paused) {
        paused = NULL;
        http_body_pause(was, false);
    }
}

static void fd_drain(int fd)
{
    char buf[65536];
    while (read(fd, buf, sizeof buf) > 0)
        ;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct http_session_type *const spoken[] = {&http2_session, NULL};
    struct err err = ERR;
    int pair[2];
    if (size < 1 || size > 1 << 16)
        return 0;
    if (!l) {
        l = loop_new(&err);
        ASSERT(l);
        struct http_server_config c = {.service = {.head = head_came, .request = request_came},
                                       .sessions = spoken,
                                       .body_most = 1024,
                                       .connections_most = 20};
        server = http_server_new(l, &c);
    }
    way = data[0];
    ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    http_server_accept(server, pair[0]);
    ASSERT(way & 128 || write(pair[1], greeting, sizeof greeting - 1) == sizeof greeting - 1);
    size_t at = 1;
    for (int turns = 0; at < size || turns < 3; turns++) {
        ssize_t n = at < size ? write(pair[1], data + at, MIN(size - at, (size_t)1 + (way >> 4 & 7) * 64)) : 0;
        if (n < 0)
            break; /* the server has hung up */
        at += (size_t)n;
        loop_turn(0);
        fd_drain(pair[1]);
        ASSERT(http_server_counts(server)->requests <= 20);
    }
    (void)shutdown(pair[1], SHUT_WR);
    for (int turns = 0; turns < 4; turns++) {
        loop_turn(0);
        fd_drain(pair[1]);
    }
    (void)close(pair[1]);
    for (int turns = 0; http_server_counts(server)->connections; turns++) {
        ASSERT(turns < 1000);
        loop_turn(NS_PER_MS);
    }
    ASSERT(http_server_counts(server)->requests == 0 && http_server_queued(server) == 0);
    ASSERT(http_server_bodies(server) == 0);
    return 0;
}
