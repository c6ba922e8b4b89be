/* Whatever a client sends: the server answers, ends its requests once each and lets the connection go. The first byte
 * chooses whether the service collects bodies and how it ends; what asks for a WebSocket gets one that echoes. A
 * streamed body is paused at some of its pieces, for a turn. */
#include "wire/http_server.h"
#include "wire/websocket.h"
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct loop *l;
static struct http_server *server;
static uint8_t way;
static size_t open_requests, open_sockets;
static struct http_request *paused; /* for a turn of the loop */

static void message_came(struct websocket *w, int kind, struct str b)
{
    if (b.n == 3 && way & 8)
        websocket_free(w), open_sockets--;
    else
        websocket_send2(w, kind, S("<"), b);
}
static void socket_closed(struct websocket *w, UNUSED int code, UNUSED struct str reason)
{
    websocket_free(w);
    open_sockets--;
}
static const struct websocket_fns socket_fns = {message_came, NULL, socket_closed};

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
    open_requests++;
    return way & 1 ? HTTP_COLLECT : HTTP_STREAM;
}
static void data_came(struct http_request *r, struct str b)
{
    http_write(r, b);
    if (b.n % 3 == 1) {
        http_body_pause(r, true);
        paused = r;
    }
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
static void request_came(struct http_request *r, UNUSED void *arg)
{
    ASSERT(r->method.n && r->target.n && r->path.n);
    if (websocket_wanted(r)) {
        struct websocket *w = websocket_accept(r, &(struct websocket_config){.message_most = 2048}, &socket_fns,
                                               NULL);
        open_sockets += w != NULL;
        return;
    }
    if (way & 1) {
        http_respond(r, 200, S("text/plain"), r->body);
        return;
    }
    r->on_data = data_came;
    r->on_data_end = request_done;
    r->on_gone = request_done;
    http_start(r, 200, S("text/plain"), -1);
    if (r->body.n == 0 && way & 2)
        request_done(r);
}

static void fd_drain(int fd)
{
    char buf[65536];
    while (read(fd, buf, sizeof buf) > 0)
        ;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = ERR;
    int pair[2];
    if (size < 1 || size > 1 << 16)
        return 0;
    if (!l) {
        l = loop_new(&err);
        ASSERT(l);
        server = http_server_new(l, &(struct http_server_config){
                                        .service = {.head = head_came, .request = request_came}, .body_most = 1024});
    }
    way = data[0];
    ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    http_server_accept(server, pair[0]);
    size_t at = 1;
    for (int turns = 0; at < size || turns < 3; turns++) {
        ssize_t n = at < size ? write(pair[1], data + at, MIN(size - at, (size_t)1 + (way >> 4) * 64)) : 0;
        if (n < 0)
            break; /* the server has hung up */
        at += (size_t)n;
        loop_turn(0);
        fd_drain(pair[1]);
    }
    (void)shutdown(pair[1], SHUT_WR);
    for (int turns = 0; turns < 4; turns++) {
        loop_turn(0);
        fd_drain(pair[1]);
    }
    (void)close(pair[1]);
    for (int turns = 0; http_server_counts(server)->connections || open_sockets; turns++) {
        ASSERT(turns < 1000);
        loop_turn(NS_PER_MS);
    }
    ASSERT(http_server_counts(server)->requests == 0);
    return 0;
}
