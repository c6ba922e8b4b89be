/* The relay between a stranger and a node that says yes: the first byte chooses what is asked for and how, the second
 * the size of the pieces, the rest is what the client sends once it is let in. Whatever that is: when it has gone,
 * nothing of it stays. */
#include "node/relay_int.h"
#include "sys/stream.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WEBSOCKET                                                                                                    \
    "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"                                     \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: "
#define STREAMS "Connection: upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: "
static const char *const requests[] = {
    "GET /exec/ns/pod/c?command=x&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: x\r\n" WEBSOCKET "v5.channel.k8s.io",
    "GET /exec/ns/pod/c?command=x&stdin=1&stdout=1 HTTP/1.1\r\nHost: x\r\n" WEBSOCKET "v4.base64.channel.k8s.io",
    "GET /attach/ns/pod/c?stdin=1&stdout=1&tty=1 HTTP/1.1\r\nHost: x\r\n" WEBSOCKET "channel.k8s.io",
    "POST /exec/ns/pod/c?command=x&stdin=1&stdout=1&tty=1 HTTP/1.1\r\nHost: x\r\n" STREAMS "v4.channel.k8s.io",
    "GET /portForward/ns/pod?ports=1,2 HTTP/1.1\r\nHost: x\r\n" WEBSOCKET "v4.channel.k8s.io",
    "GET /portForward/ns/pod?ports=1 HTTP/1.1\r\nHost: x\r\n" WEBSOCKET "v4.base64.channel.k8s.io",
    "GET /portForward/ns/pod HTTP/1.1\r\nHost: x\r\n" WEBSOCKET "SPDY/3.1+portforward.k8s.io",
    "POST /portForward/ns/pod HTTP/1.1\r\nHost: x\r\n" STREAMS "portforward.k8s.io",
    "GET /containerLogs/ns/pod/c?follow=1 HTTP/1.1\r\nHost: x\r\n" WEBSOCKET "binary.k8s.io",
    "GET /exec/ns/pod/c?command=x&stdin=1&stdout=1&tty=1 HTTP/1.1\r\nHost: x\r\n" WEBSOCKET "v5.channel.k8s.io",
    "POST /exec/ns/pod/c?command=x&stdin=1&stdout=1 HTTP/1.1\r\nHost: x\r\n" STREAMS "v4.channel.k8s.io",
    "GET /metrics/cadvisor HTTP/1.1\r\nHost: x",
};

static struct loop *l;
static struct relay *relay;
static int door = -1, node_door = -1, node = -1;
static char folder[64], node_path[128], relay_path[128];

static int listen_at(const char *path, int type)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    memcpy(a.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ASSERT(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(fd, 8) == 0);
    return fd;
}

static void world_begin(void)
{
    struct err err = ERR;
    (void)snprintf(folder, sizeof folder, "/tmp/wherry-fuzz-relay.%d", (int)getpid());
    (void)snprintf(relay_path, sizeof relay_path, "%s.sock", folder);
    (void)snprintf(node_path, sizeof node_path, "%s.node", folder);
    (void)unlink(node_path);
    (void)unlink(relay_path);
    (void)signal(SIGPIPE, SIG_IGN); /* as the role does */
    l = loop_new(&err);
    ASSERT(l);
    node_door = listen_at(node_path, SOCK_SEQPACKET);
    door = listen_at(relay_path, SOCK_STREAM);
    relay = relay_new(&(struct relay_config){.loop = l,
                                             .own_listen_fd = door,
                                             .own_door_fd = -1,
                                             .server_uid = (unsigned)getuid(),
                                             .node_socket = node_path});
    for (int i = 0; i < 100 && node < 0; i++) {
        (void)loop_run_once(l, NS_PER_MS);
        node = accept4(node_door, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    }
    ASSERT(node >= 0);
    (void)unlink(node_path);
}

/* The node: it starts what is asked for, gives a socket that reaches nothing, and a folder without a log. */
static void node_turn(bool end)
{
    static struct relay_message m;
    char bytes[RELAY_MESSAGE_MOST];
    int fds[3];
    for (;;) {
        struct err err = ERR;
        size_t nfds = 3;
        ssize_t n = socket_recv_fds(node, bytes, sizeof bytes, fds, &nfds, &err);
        if (n <= 0)
            return;
        ASSERT(relay_parse((struct str){bytes, (size_t)n}, &m));
        if (str_eq(m.texts[0], S("figures")) && nfds)
            ASSERT(write(fds[0], "figures", 7) == 7 || errno == EPIPE); /* its reader may have gone */
        for (size_t i = 0; i < nfds; i++)
            fd_close(fds[i]);
        AUTO(strbuf_fini) struct strbuf b = STRBUF(1000);
        AUTO(fd_close) int fd = -1;
        if (str_eq(m.texts[0], S("forward"))) {
            fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
            relay_add(&b, S("socket"));
            relay_add(&b, m.texts[1]);
        } else if (str_eq(m.texts[0], S("logs"))) {
            fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
            relay_add(&b, S("logs"));
            relay_add(&b, m.texts[1]);
            relay_add(&b, S("0"));
            relay_add(&b, S("running"));
        } else if (str_eq(m.texts[0], S("figures"))) {
            relay_add(&b, end ? S("refused") : S("figures"));
            relay_add(&b, m.texts[1]);
            if (end) {
                relay_add(&b, S("500"));
                relay_add(&b, S("no"));
            }
        } else if (str_eq(m.texts[0], S("exec")) || str_eq(m.texts[0], S("attach"))) {
            relay_add(&b, end ? S("ended") : S("started"));
            relay_add(&b, m.texts[1]);
            if (end) {
                relay_add(&b, S("1"));
                relay_add(&b, S("no"));
            }
        } else {
            continue; /* forget, resize */
        }
        ASSERT(socket_send_fds(node, strbuf_str(&b), &fd, fd >= 0 ? 1 : 0, &err));
    }
}

static void world_turn(int client, bool end)
{
    char buf[65536];
    (void)loop_run_once(l, 0);
    node_turn(end);
    while (read(client, buf, sizeof buf) > 0)
        continue; /* what it says is of no interest here */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (size < 2 || size > 1 << 16)
        return 0;
    if (!l)
        world_begin();
    memcpy(a.sun_path, relay_path, strlen(relay_path));
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ASSERT(client >= 0 && connect(client, (struct sockaddr *)&a, sizeof a) == 0);
    const char *head = requests[data[0] % countof(requests)];
    bool end = data[0] >= 128;
    ASSERT(write(client, head, strlen(head)) == (ssize_t)strlen(head) && write(client, "\r\n\r\n", 4) == 4);
    for (int i = 0; i < 4; i++)
        world_turn(client, end);
    size_t turns = 0;
    for (size_t at = 2, step = 1 + data[1] * 16u; at < size; turns++) {
        ASSERT(turns < 200000); /* it reads, or hangs up */
        ssize_t n = write(client, data + at, MIN(size - at, step));
        if (n > 0)
            at += (size_t)n;
        else if (n < 0 && errno != EAGAIN)
            break; /* it has been shown the door */
        world_turn(client, end);
    }
    world_turn(client, end);
    (void)close(client);
    for (int i = 0; !list_empty(&relay->asks) || !list_empty(&relay->followers); i++) {
        ASSERT(i < 1000);
        (void)loop_run_once(l, NS_PER_MS);
        node_turn(end);
    }
    for (int i = 0; i < 3; i++)
        world_turn(-1, end);
    return 0;
}
