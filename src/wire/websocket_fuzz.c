/* A client's frames after a good handshake: whole messages within the limit, or an end with a reason. */
#include "wire/websocket.h"
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST = 4096 };
static struct loop *l;
static struct http_server *server;
static bool there, paused;

static void message_came(struct websocket *w, int kind, struct str b)
{
    ASSERT(kind == WEBSOCKET_TEXT || kind == WEBSOCKET_BINARY);
    ASSERT(b.n <= MOST);
    if (str_eq(b, S("bye"))) {
        websocket_close(w, 4001, S("as you wish"));
        there = false;
        return;
    }
    websocket_pause(w, paused = b.n == 5);
    websocket_send(w, kind, b);
}
static void socket_closed(struct websocket *w, int code, struct str reason)
{
    ASSERT(code && reason.n < 200);
    websocket_free(w);
    there = false;
}
static const struct websocket_fns fns = {message_came, NULL, socket_closed};
static struct websocket *current;

static void request_came(struct http_request *r, UNUSED void *arg)
{
    current = websocket_accept(r, &(struct websocket_config){.message_most = MOST}, &fns, NULL);
    there = current != NULL;
}

static void loop_turn(int fd)
{
    char buf[65536];
    (void)loop_run_once(l, 0);
    while (read(fd, buf, sizeof buf) > 0)
        ;
    if (there && paused)
        websocket_pause(current, paused = false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char hello[] = "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
                                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    struct err err = ERR;
    int pair[2];
    if (size > 1 << 16)
        return 0;
    if (!l) {
        l = loop_new(&err);
        ASSERT(l);
        server = http_server_new(l, &(struct http_server_config){.service = {.request = request_came}});
    }
    paused = false;
    ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    http_server_accept(server, pair[0]);
    ASSERT(write(pair[1], hello, sizeof hello - 1) == (ssize_t)sizeof hello - 1);
    for (int i = 0; i < 10 && !there; i++)
        loop_turn(pair[1]);
    ASSERT(there);
    for (size_t at = 0, step = size ? 1 + data[size - 1] * 16u : 1; there && at < size;) {
        ssize_t n = write(pair[1], data + at, MIN(size - at, step));
        if (n < 0)
            break;
        at += (size_t)n;
        loop_turn(pair[1]);
    }
    loop_turn(pair[1]);
    (void)close(pair[1]);
    for (int turns = 0; there; turns++) {
        ASSERT(turns < 1000);
        if (paused)
            websocket_pause(current, paused = false);
        (void)loop_run_once(l, NS_PER_MS);
    }
    for (int i = 0; i < 3; i++) /* what was left to go out */
        (void)loop_run_once(l, 0);
    return 0;
}
