/* echo.c - what stands behind the front door in its tests: a server that says its name, and repeats what a WebSocket
 * says. One thread, epoll, as many connections as there are descriptors.
 *
 *   echo [PORT (8080) [NAME]]
 *
 * GET of anything: 200, "NAME METHOD PATH\n" and the request's headers, one a line. GET with Upgrade: websocket: every
 * frame comes back unmasked. PUT /ready and /unready: what GET /healthz says from then on (200, 503). SIGTERM: gone at once. */
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define IN_MOST 65536

struct client {
    int fd;
    bool socket;
    size_t got;
    char in[IN_MOST];
};
static const char *name;
static bool ready = true;

static void send_all(struct client *c, const char *p, size_t n)
{
    while (n > 0) { /* answers are small: what does not fit in the socket's buffer is not waited for */
        ssize_t m = send(c->fd, p, n, MSG_NOSIGNAL);
        if (m <= 0)
            return;
        p += m;
        n -= (size_t)m;
    }
}

static bool upgrade(struct client *c, const char *head)
{
    char key[128] = "", text[256];
    unsigned char sum[EVP_MAX_MD_SIZE], base[64];
    const char *at = strcasestr(head, "\r\nsec-websocket-key:");
    if (!at || !strcasestr(head, "\r\nupgrade: websocket") || sscanf(at + 20, " %60s", key) != 1)
        return false;
    int n = snprintf(text, sizeof text, "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    unsigned len = 0;
    EVP_Digest(text, (size_t)n, sum, &len, EVP_sha1(), NULL);
    EVP_EncodeBlock(base, sum, (int)len);
    n = snprintf(text, sizeof text, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", base);
    send_all(c, text, (size_t)n);
    return c->socket = true;
}

static void answer(struct client *c, char *head)
{
    char out[IN_MOST + 512], body[IN_MOST + 256], method[16] = "", path[4096] = "";
    if (upgrade(c, head))
        return;
    (void)sscanf(head, "%15s %4095s", method, path);
    int status = strcmp(path, "/healthz") == 0 && !ready ? 503 : 200;
    if (strcmp(method, "PUT") == 0)
        ready = strcmp(path, "/ready") == 0 ? true : strcmp(path, "/unready") == 0 ? false : ready;
    char *fields = strstr(head, "\r\n");
    size_t n = (size_t)snprintf(body, sizeof body, "%s %s %s\n%s\n", name, method, path, fields ? fields + 2 : "");
    int m = snprintf(out, sizeof out, "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n%s", status,
                     status == 200 ? "OK" : "Service Unavailable", n, body);
    send_all(c, out, (size_t)m);
}

/* How much of `in` the first request takes; 0: it is not whole. */
static size_t request_take(struct client *c)
{
    char *end = memmem(c->in, c->got, "\r\n\r\n", 4);
    if (!end)
        return 0;
    end[2] = 0;
    const char *length = strcasestr(c->in, "\r\ncontent-length:");
    size_t size = (size_t)(end - c->in) + 4 + (length ? (size_t)atol(length + 17) : 0);
    if (size > c->got) {
        end[2] = '\r';
        return size > IN_MOST ? c->got : 0;
    }
    answer(c, c->in);
    return size;
}

/* The same of a WebSocket's frame, which is sent back. */
static size_t frame_take(struct client *c)
{
    unsigned char *p = (unsigned char *)c->in;
    size_t n = c->got > 1 ? p[1] & 127 : 0, head = n == 126 ? 8 : 6;
    if (c->got < head)
        return 0;
    if (n == 126)
        n = (size_t)p[2] << 8 | p[3];
    if (c->got < head + n)
        return 0;
    for (size_t i = 0; i < n; i++)
        p[head + i] ^= p[head - 4 + i % 4];
    char out[IN_MOST + 4] = {(char)p[0], (char)(n < 126 ? n : 126), (char)(n >> 8), (char)n};
    size_t at = n < 126 ? 2 : 4;
    memcpy(out + at, p + head, n);
    send_all(c, out, at + n);
    return head + n;
}

static bool client_read(struct client *c)
{
    ssize_t n = recv(c->fd, c->in + c->got, IN_MOST - 1 - c->got, 0);
    if (n <= 0)
        return false;
    c->got += (size_t)n;
    c->in[c->got] = 0;
    for (size_t took; c->got > 0 && (took = c->socket ? frame_take(c) : request_take(c)) > 0;) {
        memmove(c->in, c->in + took, c->got - took);
        c->got -= took;
        c->in[c->got] = 0;
    }
    return c->got < IN_MOST - 1;
}

int main(int argc, char **argv)
{
    static char host[256];
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)(argc > 1 ? atoi(argv[1]) : 8080))};
    int one = 1, ep = epoll_create1(0), listener = socket(AF_INET6, SOCK_STREAM, 0);
    gethostname(host, sizeof host - 1);
    name = argc > 2 ? argv[2] : host;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&a, sizeof a) < 0 || listen(listener, 1024) < 0)
        return perror("listen"), 1;
    struct epoll_event e = {.events = EPOLLIN}, events[64];
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e);
    for (;;) {
        int n = epoll_wait(ep, events, 64, -1);
        for (int i = 0; i < n; i++) {
            struct client *c = events[i].data.ptr;
            if (!c) {
                c = calloc(1, sizeof *c);
                c->fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
                setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                e.data.ptr = c;
                epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e);
            } else if (!client_read(c)) {
                close(c->fd);
                free(c);
            }
        }
    }
}
