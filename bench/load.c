/* load.c - a constant rate of HTTP/1.1 GETs against one address, each checked; for the rollout tests.
 *
 *   load ADDRESS PORT RATE SECONDS [KEEP [TIMEOUT]]
 *
 * KEEP 0 (default): every request on a new connection. KEEP n: on kept connections that are renewed after n requests;
 * where a reused connection closes before the first byte of an answer, the request is sent once more on a new one, as
 * Go's and curl's clients do. TIMEOUT: seconds until a request without an answer has failed (5). Prints one line: sent N failed N retried N p50_us N p99_us N max_us N, and the first
 * failures on stderr, and when this program itself was held up for over a second. Exits 1 where one failed. SIGINT: sends no more, waits for what is under way and prints. */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS 1024
#define HELD        1000000                             /* microseconds between two turns: this program itself was held up */

struct connection {
    int fd;                                             /* -1: free */
    int used;                                           /* requests begun on it */
    int busy, retried;
    long start;                                         /* of the request, microseconds */
    size_t sent, got;
    char in[4096];
};
static struct connection all[CONNECTIONS];
static struct sockaddr_in target;
static char request[256];
static int ep, keep;
static long patience = 5000000;                         /* microseconds for one request */
static long sent, failed, retried, done, *times;
static size_t ntimes;
static volatile sig_atomic_t enough;

static void on_interrupt(int signo)
{
    (void)signo;
    enough = 1;
}

static long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void hang_up(struct connection *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->busy = c->used = 0;
}

static void fail(struct connection *c, const char *what)
{
    int error = errno;
    struct sockaddr_in from = {0};
    socklen_t n = sizeof from;
    if (failed++ < 5) {
        getsockname(c->fd, (struct sockaddr *)&from, &n);
        fprintf(stderr, "failed after %ld us: %s (%s), from port %d, %zu bytes sent\n", now() - c->start, what, strerror(error),
                ntohs(from.sin_port), c->sent);
    }
    hang_up(c);
}

static int dial(struct connection *c)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    c->used = 0;
    if (c->fd < 0 || (connect(c->fd, (struct sockaddr *)&target, sizeof target) < 0 && errno != EINPROGRESS))
        return -1;
    return epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e);
}

static void push(struct connection *c)
{
    size_t n = strlen(request);
    while (c->sent < n) {
        ssize_t w = send(c->fd, request + c->sent, n - c->sent, MSG_NOSIGNAL);
        if (w < 0)
            return;                                     /* EAGAIN: later; an error shows when reading */
        c->sent += (size_t)w;
    }
}

static void begin(struct connection *c)
{
    c->busy = 1;
    c->sent = c->got = 0;
    c->used++;
    push(c);
}

static void broken(struct connection *c, const char *what)
{
    if (keep && c->used > 1 && c->got == 0 && !c->retried) {
        long start = c->start;
        hang_up(c);
        retried++;
        if (dial(c) == 0) {
            c->start = start;
            c->retried = 1;
            begin(c);
            return;
        }
    }
    fail(c, what);
}

static void finish(struct connection *c)
{
    times[ntimes++] = now() - c->start;
    done++;
    c->busy = c->retried = 0;
    if (!keep || c->used >= keep)
        hang_up(c);
}

/* Whole when the head and Content-Length bytes behind it are there. */
static void look(struct connection *c)
{
    c->in[c->got] = 0;
    char *end = strstr(c->in, "\r\n\r\n"), *length = strcasestr(c->in, "Content-Length:");
    if (!end || !length)
        return;
    if (strncmp(c->in, "HTTP/1.1 200", 12) != 0) {
        errno = 0;
        fail(c, "not 200");
        return;
    }
    if (c->got >= (size_t)(end + 4 - c->in) + strtoul(length + 15, NULL, 10))
        finish(c);
}

static void readable(struct connection *c)
{
    while (c->fd >= 0) {
        ssize_t n = recv(c->fd, c->in + c->got, sizeof c->in - 1 - c->got, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            if (!c->busy)
                hang_up(c);
            else
                broken(c, n == 0 ? "closed before the answer" : "read");
            return;
        }
        c->got += (size_t)n;
        if (c->busy)
            look(c);
        if (c->got == sizeof c->in - 1)
            return;
    }
}

static void send_one(void)
{
    struct connection *c = NULL;
    for (int i = 0; i < CONNECTIONS && keep && !c; i++)
        if (all[i].fd >= 0 && !all[i].busy)
            c = &all[i];
    for (int i = 0; i < CONNECTIONS && !c; i++)
        if (all[i].fd < 0)
            c = &all[i];
    sent++;
    if (!c) {
        if (failed++ < 5)
            fprintf(stderr, "failed: %d requests wait for their answers already\n", CONNECTIONS);
        return;
    }
    c->start = now();
    c->retried = 0;
    if (c->fd < 0 && dial(c) < 0)
        fail(c, "connect");
    else
        begin(c);
}

static int by_value(const void *a, const void *b)
{
    long x = *(const long *)a, y = *(const long *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    if (argc < 5)
        return fprintf(stderr, "usage: load ADDRESS PORT RATE SECONDS [KEEP [TIMEOUT]]\n"), 2;
    long rate = strtol(argv[3], NULL, 10), seconds = strtol(argv[4], NULL, 10), total = rate * seconds;
    keep = argc > 5 ? (int)strtol(argv[5], NULL, 10) : 0;
    if (argc > 6)
        patience = strtol(argv[6], NULL, 10) * 1000000;
    target.sin_family = AF_INET;
    target.sin_port = htons((unsigned short)strtol(argv[2], NULL, 10));
    if (inet_pton(AF_INET, argv[1], &target.sin_addr) != 1 || rate < 1 || total < 1)
        return fprintf(stderr, "load: bad address or rate\n"), 2;
    snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: %s\r\n%s\r\n", argv[1], keep ? "" : "Connection: close\r\n");
    times = calloc((size_t)total + 1, sizeof *times);
    ep = epoll_create1(0);
    for (int i = 0; i < CONNECTIONS; i++)
        all[i].fd = -1;
    signal(SIGINT, on_interrupt);
    long begin_at = now(), end_at = 0, last = begin_at;
    while (!end_at || (done + failed < sent && now() < end_at + patience)) {
        struct epoll_event events[128];
        long held = now() - last;
        last += held;
        if (held > HELD) {                              /* a burst of what was not sent meanwhile would be another test */
            fprintf(stderr, "load: got no processor for %ld ms\n", held / 1000);
            begin_at += held;
        }
        while (sent < total && !enough && begin_at + sent * 1000000 / rate <= now())
            send_one();
        if ((sent >= total || enough) && !end_at)
            end_at = now();
        int n = epoll_wait(ep, events, 128, 1);
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (c->fd >= 0 && c->busy)
                push(c);
            if (c->fd >= 0)
                readable(c);
        }
        for (int i = 0; i < CONNECTIONS; i++)
            if (all[i].busy && now() - all[i].start > patience) {
                errno = ETIMEDOUT;
                fail(&all[i], "no answer in time");
            }
    }
    qsort(times, ntimes, sizeof *times, by_value);
    printf("sent %ld failed %ld retried %ld p50_us %ld p99_us %ld max_us %ld\n", sent, sent - done, retried,
           ntimes ? times[ntimes / 2] : 0, ntimes ? times[ntimes * 99 / 100] : 0, ntimes ? times[ntimes - 1] : 0);
    return sent == done ? 0 : 1;
}
