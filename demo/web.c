/* web.c - the demo's web server: one process, static, keep-alive, exits at once on SIGTERM. Answers every GET with its
 * pod's name and the greeting of $GREETING; /healthz answers ok; /big?N answers N bytes. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENTS 4096
#define REQUEST 8192

struct client {
    char in[REQUEST];
    size_t n;
};
static struct client *clients[CLIENTS];
static int ep;

static void drop(int fd)
{
    close(fd);
    free(clients[fd]);
    clients[fd] = NULL;
}

static int send_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (sent <= 0)
            return -1;
        p += sent;
        n -= (size_t)sent;
    }
    return 0;
}

static int answer(int fd, const char *request)
{
    char body[1024], head[2048];
    const char *greeting = getenv("GREETING");
    int close_after = strcasestr(request, "\r\nConnection: close") != NULL || strstr(request, " HTTP/1.0\r\n") != NULL, n;
    long big = strncmp(request, "GET /big?", 9) == 0 ? strtol(request + 9, NULL, 10) : 0;
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    if (strncmp(request, "GET /healthz", 12) == 0)
        n = snprintf(body, sizeof body, "ok\n");
    else
        n = snprintf(body, sizeof body, "%s from %s\n", greeting ? greeting : "Hello", host);
    int h = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %ld\r\n%s\r\n%s",
                     big > 0 ? big : (long)n, close_after ? "Connection: close\r\n" : "", big > 0 ? "" : body);
    if (send_all(fd, head, (size_t)h) < 0)
        return -1;
    memset(head, 'x', sizeof head);
    for (; big > 0; big -= (long)sizeof head)
        if (send_all(fd, head, (size_t)(big < (long)sizeof head ? big : (long)sizeof head)) < 0)
            return -1;
    return close_after ? -1 : 0;
}

static void readable(int fd)
{
    struct client *c = clients[fd];
    ssize_t got = recv(fd, c->in + c->n, REQUEST - 1 - c->n, 0);
    if (got <= 0) {
        drop(fd);
        return;
    }
    c->n += (size_t)got;
    c->in[c->n] = 0;
    for (char *end; (end = strstr(c->in, "\r\n\r\n"));) {
        end[3] = 0; /* the head as a text of its own */
        if (answer(fd, c->in) < 0) {
            drop(fd);
            return;
        }
        size_t used = (size_t)(end + 4 - c->in);
        memmove(c->in, c->in + used, c->n - used + 1);
        c->n -= used;
        c->in[c->n] = 0;
    }
    if (c->n == REQUEST - 1)
        drop(fd);
}

static void on_term(int signo)
{
    (void)signo;
    _exit(0);
}

int main(int argc, char **argv)
{
    int port = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 8080, one = 1;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    struct epoll_event e = {.events = EPOLLIN, .data.fd = listener}, events[64];
    signal(SIGTERM, on_term);
    ep = epoll_create1(0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (listener < 0 || bind(listener, (struct sockaddr *)&a, sizeof a) < 0 || listen(listener, 1024) < 0 ||
        epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e) < 0) {
        perror("web");
        return 1;
    }
    printf("listening on %d\n", port);
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(ep, events, 64, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd != listener) {
                readable(fd);
                continue;
            }
            while ((fd = accept4(listener, NULL, NULL, 0)) >= 0) {
                struct epoll_event in = {.events = EPOLLIN, .data.fd = fd};
                if (fd >= CLIENTS || !(clients[fd] = calloc(1, sizeof *clients[fd])) || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &in) < 0)
                    close(fd);
            }
        }
    }
}
