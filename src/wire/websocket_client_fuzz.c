/* The client's side of a WebSocket: after a good handshake, whatever a server sends. Whole messages within the limit,
 * or an end with a reason. */
#include "sys/crypto.h"
#include "wire/websocket.h"
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST = 4096 };
static struct loop *l;
static struct http_client *client;
static int door = -1;
static struct websocket *current;
static char path[64];

static void message_came(struct websocket *w, int kind, struct str b)
{
    ASSERT(kind == WEBSOCKET_TEXT || kind == WEBSOCKET_BINARY);
    ASSERT(b.n <= MOST);
    if (str_eq(b, S("bye"))) {
        current = NULL;
        websocket_finish(w, 1000, S("as you wish"));
        return;
    }
    websocket_send(w, kind, b);
}
static void socket_closed(struct websocket *w, int code, struct str reason)
{
    ASSERT(code && reason.n < 200);
    websocket_free(w);
    current = NULL;
}
static const struct websocket_fns fns = {message_came, NULL, socket_closed};

static void socket_opened(struct websocket *w, UNUSED const struct http_answer *refused, UNUSED struct err *err,
                          UNUSED void *arg)
{
    ASSERT(w);
    current = w;
}

static void world_begin(void)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct err err = ERR;
    char address[80];
    l = loop_new(&err);
    ASSERT(l);
    (void)snprintf(path, sizeof path, "/tmp/wherry-fuzz-client.%d", (int)getpid());
    (void)unlink(path);
    memcpy(a.sun_path, path, strlen(path));
    door = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ASSERT(door >= 0 && bind(door, (struct sockaddr *)&a, sizeof a) == 0 && listen(door, 8) == 0);
    (void)snprintf(address, sizeof address, "unix:%s", path);
    client = http_client_new(l, &(struct http_client_config){.address = str_of(address), .host = S("x")});
}

/* The server's half of the handshake (RFC 6455 4.2.2). */
static void handshake_answer(int fd)
{
    char head[4096];
    size_t n = 0;
    while (!str_ends((struct str){head, n}, S("\r\n\r\n"))) {
        (void)loop_run_once(l, NS_PER_MS);
        ssize_t got = read(fd, head + n, sizeof head - n);
        n += got > 0 ? (size_t)got : 0;
        ASSERT(n < sizeof head);
    }
    const struct str name = S("Sec-WebSocket-Key: ");
    ptrdiff_t at = str_find((struct str){head, n}, name);
    ASSERT(at >= 0);
    AUTO(strbuf_fini) struct strbuf text = STRBUF(200), out = STRBUF(1000);
    uint8_t md[20];
    strbuf_add(&text, (struct str){head + at + name.n, 24});
    strbuf_addz(&text, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    sha1_of(strbuf_str(&text), md);
    strbuf_addz(&out, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                      "Sec-WebSocket-Accept: ");
    strbuf_add_base64(&out, md, sizeof md);
    strbuf_addz(&out, "\r\n\r\n");
    ASSERT(write(fd, out.p, out.n) == (ssize_t)out.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 1 << 16)
        return 0;
    if (!l)
        world_begin();
    const struct websocket_config config = {.message_most = MOST};
    (void)websocket_connect(client, S("/"), NULL, &config, &fns, NULL, socket_opened);
    int fd = -1;
    for (int i = 0; i < 100 && fd < 0; i++) {
        (void)loop_run_once(l, NS_PER_MS);
        fd = accept4(door, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    }
    ASSERT(fd >= 0);
    handshake_answer(fd);
    for (int i = 0; i < 100 && !current; i++)
        (void)loop_run_once(l, NS_PER_MS);
    ASSERT(current);
    for (size_t at = 0, step = size ? 1 + data[size - 1] * 16u : 1; current && at < size;) {
        char room[65536];
        ssize_t n = write(fd, data + at, MIN(size - at, step));
        at += n > 0 ? (size_t)n : 0;
        (void)loop_run_once(l, 0);
        while (read(fd, room, sizeof room) > 0)
            continue; /* its echoes */
    }
    (void)close(fd);
    for (int turns = 0; current; turns++) {
        ASSERT(turns < 1000);
        (void)loop_run_once(l, NS_PER_MS);
    }
    for (int i = 0; i < 3; i++)
        (void)loop_run_once(l, 0);
    return 0;
}
