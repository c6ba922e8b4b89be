/* door_load.c - requests through a front door, each checked: a constant rate or as many as it takes, over new or kept
 * connections, in the clear or over TLS, and WebSockets that say something ten times a second.
 *
 *   door_load ADDRESS PORT [--tls] [--host NAME | --hosts FILE] [--path PATH] [--expect TEXT] [--rate R | --clients N]
 *             [--keep N] [--seconds S] [--timeout S] [--sockets N]
 *
 * --rate R: R requests a second, whatever the answers do; --clients N: N connections, each as fast as
 * it is answered. --keep N: a connection is renewed after N requests (1: each on a new one; 0: never). Where a kept
 * connection is closed before the first byte of an answer, the request is sent once more on a new one, as clients do.
 * --hosts FILE: names, one a line, in turn. --sockets N: N WebSockets besides, each of which sends ten texts a second
 * and has to hear each of them again within the timeout.
 * Prints a line: sent N failed N retried N p50_us N p99_us N max_us N rate R, and with sockets a second one: said N
 * heard N cut N. Failures stand on stderr, the first ten. Exits 1 where one failed or was cut. SIGINT: ends early. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS 4096
#define IN_MOST     32768
#define SAY_EVERY   100000 /* us between two texts of a WebSocket */

struct connection {
    int fd; /* -1: free */
    SSL *ssl;
    bool connected, shaken, socket, upgraded, busy, retried, fresh;
    int used;
    long start;       /* of the request; of a WebSocket's last text */
    size_t out, sent; /* of `what` */
    size_t got, size; /* size: of the whole answer once its head is in; 0: not yet */
    long said, heard;
    long say_at;
    char what[512], in[IN_MOST];
};
static struct connection all[CONNECTIONS];
static struct sockaddr_in target;
static SSL_CTX *tls;
static char **hosts;
static size_t nhosts, host_next;
static const char *path = "/", *expect = "";
static long rate, clients, keep = 1, sockets, patience = 5000000;
static double seconds = 10;
static long sent, failed, retried, done, said, heard, cut, told, *times, ntimes;
static volatile sig_atomic_t enough;
static int ep;

static void on_interrupt(int signo)
{
    (void)signo;
    enough = 1;
}

static long now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void tell(const char *what, struct connection *c)
{
    if (told++ < 10)
        fprintf(stderr, "%s%s after %ld us, request %d of its connection, errno %s: %.*s\n", c->socket ? "socket: " : "", what,
                now_us() - c->start, c->used, strerror(errno), (int)(c->got < 300 ? c->got : 300), c->in);
}

static void hang_up(struct connection *c)
{
    if (c->ssl)
        SSL_free(c->ssl);
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->ssl = NULL;
    c->busy = c->connected = c->shaken = c->upgraded = false;
    c->used = 0;
}

static const char *host_of(void)
{
    return hosts[host_next++ % nhosts];
}

static bool connect_to(struct connection *c, const char *host)
{
    int one = 1;
    struct linger now = {.l_onoff = 1}; /* no ports in TIME_WAIT: thousands of connections come from one address */
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return false;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    if (connect(c->fd, (struct sockaddr *)&target, sizeof target) < 0 && errno != EINPROGRESS)
        return false;
    if (tls) {
        c->ssl = SSL_new(tls);
        SSL_set_fd(c->ssl, c->fd);
        SSL_set_tlsext_host_name(c->ssl, host);
        SSL_set_connect_state(c->ssl);
    }
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    return epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e) == 0;
}

static void request_write(struct connection *c, const char *host)
{
    c->sent = c->got = c->size = 0;
    c->out = (size_t)snprintf(c->what, sizeof c->what,
                              c->socket ? "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: "
                                          "13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                                        : "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n",
                              path, host);
}

static void connection_step(struct connection *c);

/* A request, on this connection or a new one. */
static void request_begin(struct connection *c, bool again)
{
    const char *host = host_of();
    if (!again)
        c->start = now_us();
    c->busy = true;
    c->retried = again;
    c->fresh = c->fd < 0;
    request_write(c, host);
    if (c->fresh && !connect_to(c, host)) {
        tell("connect", c);
        failed++;
        done++;
        hang_up(c);
        return;
    }
    c->used++;
    connection_step(c);
}

static void request_failed(struct connection *c, const char *why)
{
    bool may = !c->socket && !c->fresh && !c->retried && c->got == 0;
    if (c->socket) {
        tell(why, c);
        cut++;
        hang_up(c);
        return;
    }
    hang_up(c);
    if (may) {
        retried++;
        request_begin(c, true);
        return;
    }
    tell(why, c);
    failed++;
    done++;
}

static void request_ended(struct connection *c)
{
    bool good = strncmp(c->in, "HTTP/1.1 200", 12) == 0 && (!expect[0] || memmem(c->in, c->got, expect, strlen(expect)));
    bool closes = memmem(c->in, c->got, "onnection: close", 16) != NULL;
    times[ntimes++ % (1 << 22)] = now_us() - c->start;
    done++;
    c->busy = false;
    if (!good) {
        tell("answer", c);
        failed++;
    }
    if (closes || (keep && c->used >= keep))
        hang_up(c); /* the loop begins the next one: no recursion */
}

/* The whole length of an answer, head included; 0: not known yet. */
static size_t answer_size(struct connection *c)
{
    char *end = memmem(c->in, c->got, "\r\n\r\n", 4), *length;
    if (!end)
        return 0;
    *end = 0;
    length = strcasestr(c->in, "\r\ncontent-length:");
    size_t size = (size_t)(end - c->in) + 4 + (length ? (size_t)atol(length + 17) : 0);
    *end = '\r';
    return size;
}

static void socket_say(struct connection *c)
{
    static const char text[] = {(char)0x81, (char)0x85, 0, 0, 0, 0, 'h', 'e', 'l', 'l', 'o'};
    memcpy(c->what, text, sizeof text);
    c->out = sizeof text;
    c->sent = c->got = 0;
    c->start = now_us();
    c->said++;
    said++;
    c->busy = true;
    connection_step(c);
}

static void bytes_came(struct connection *c)
{
    if (c->socket && c->upgraded) {
        if (c->got >= 7) { /* the text of five letters, unmasked */
            c->heard++;
            heard++;
            c->busy = false;
            c->got = 0;
            c->say_at = c->start + SAY_EVERY;
        }
        return;
    }
    if (!c->size)
        c->size = answer_size(c);
    if (c->socket && c->size) {
        c->upgraded = strncmp(c->in, "HTTP/1.1 101", 12) == 0;
        if (!c->upgraded)
            request_failed(c, "upgrade");
        c->busy = false;
        c->got = 0;
        c->say_at = now_us() + random() % SAY_EVERY;
    } else if (c->size && c->got >= c->size) {
        request_ended(c);
    }
}

static bool is_wait(struct connection *c, int n)
{
    if (c->ssl) {
        int e = SSL_get_error(c->ssl, n);
        return e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE;
    }
    return errno == EAGAIN;
}

/* Edge-triggered: everything that can be done is done. */
static void connection_step(struct connection *c)
{
    if (c->ssl && !c->shaken) {
        ERR_clear_error();
        int n = SSL_do_handshake(c->ssl);
        if (n != 1) {
            if (!is_wait(c, n))
                request_failed(c, "handshake");
            return;
        }
        c->shaken = true;
    }
    while (c->fd >= 0 && c->sent < c->out) {
        int n = c->ssl ? SSL_write(c->ssl, c->what + c->sent, (int)(c->out - c->sent))
                       : (int)send(c->fd, c->what + c->sent, c->out - c->sent, MSG_NOSIGNAL);
        if (n > 0) {
            c->sent += (size_t)n;
            continue;
        }
        if (!(is_wait(c, n) || errno == ENOTCONN))
            request_failed(c, "send");
        break;
    }
    while (c->fd >= 0) {
        size_t room = IN_MOST - 1 - c->got;
        static char rest[65536];
        char *to = room > 0 ? c->in + c->got : rest;
        int n = c->ssl ? SSL_read(c->ssl, to, (int)(room > 0 ? room : sizeof rest))
                       : (int)recv(c->fd, to, room > 0 ? room : sizeof rest, 0);
        if (n > 0) {
            c->got += (size_t)n;
            if (c->got < IN_MOST)
                c->in[c->got] = 0;
            if (c->busy)
                bytes_came(c);
            else if (c->fd >= 0)
                c->got = 0;
            if (c->fd >= 0 && !c->busy)
                return;
            continue;
        }
        if (is_wait(c, n) || errno == ENOTCONN)
            return;
        if (c->busy || c->socket)
            request_failed(c, n == 0 ? "closed" : "receive");
        else
            hang_up(c);
    }
}

static struct connection *connection_free(void)
{
    struct connection *none = NULL;
    for (long i = sockets; i < CONNECTIONS; i++) {
        if (!all[i].busy && all[i].fd >= 0)
            return &all[i];
        if (!all[i].busy && !none)
            none = &all[i];
    }
    return none;
}

static int by_time(const void *a, const void *b)
{
    long x = *(const long *)a, y = *(const long *)b;
    return x < y ? -1 : x > y;
}

static void look_at_time(long t)
{
    static long next;
    if (t < next)
        return;
    next = t + 100000;
    for (long i = 0; i < CONNECTIONS; i++)
        if (all[i].busy && t - all[i].start > patience) {
            errno = ETIMEDOUT;
            all[i].retried = true;
            request_failed(&all[i], "no answer");
        }
}

static void hosts_read(const char *file)
{
    static char lines[1 << 20];
    FILE *f = fopen(file, "r");
    size_t n = f ? fread(lines, 1, sizeof lines - 1, f) : 0;
    if (!n)
        exit((perror(file), 2));
    lines[n] = 0;
    fclose(f);
    for (char *l = strtok(lines, "\n"); l; l = strtok(NULL, "\n")) {
        hosts = realloc(hosts, (nhosts + 1) * sizeof *hosts);
        hosts[nhosts++] = l;
    }
}

int main(int argc, char **argv)
{
    static char *one[1] = {(char *)"localhost"};
    if (argc < 3 || inet_pton(AF_INET, argv[1], &target.sin_addr) != 1)
        return fprintf(stderr, "door_load ADDRESS PORT [OPTIONS]; its source says which\n"), 2;
    target.sin_family = AF_INET;
    target.sin_port = htons((uint16_t)atoi(argv[2]));
    hosts = one;
    nhosts = 1;
    for (int i = 3; i < argc; i++) {
        const char *o = argv[i], *v = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(o, "--tls") == 0) {
            tls = SSL_CTX_new(TLS_client_method());
            SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
            continue;
        }
        i++;
        if (strcmp(o, "--host") == 0)
            one[0] = (char *)v;
        else if (strcmp(o, "--hosts") == 0)
            hosts = NULL, nhosts = 0, hosts_read(v);
        else if (strcmp(o, "--path") == 0)
            path = v;
        else if (strcmp(o, "--expect") == 0)
            expect = v;
        else if (strcmp(o, "--rate") == 0)
            rate = atol(v);
        else if (strcmp(o, "--clients") == 0)
            clients = atol(v);
        else if (strcmp(o, "--keep") == 0)
            keep = atol(v);
        else if (strcmp(o, "--seconds") == 0)
            seconds = atof(v);
        else if (strcmp(o, "--timeout") == 0)
            patience = (long)(atof(v) * 1e6);
        else if (strcmp(o, "--sockets") == 0)
            sockets = atol(v);
        else
            return fprintf(stderr, "door_load: there is no %s\n", o), 2;
    }
    if (clients + sockets > CONNECTIONS || (!rate && !clients && !sockets))
        return fprintf(stderr, "door_load: --rate, --clients or --sockets, up to %d together\n", CONNECTIONS), 2;
    signal(SIGINT, on_interrupt);
    signal(SIGPIPE, SIG_IGN);
    ep = epoll_create1(EPOLL_CLOEXEC);
    times = malloc((1 << 22) * sizeof *times);
    for (long i = 0; i < CONNECTIONS; i++)
        all[i].fd = -1;
    for (long i = 0; i < sockets; i++) {
        all[i].socket = true;
        request_begin(&all[i], false);
    }
    long begin = now_us(), end = begin + (long)(seconds * 1e6), t, busy = 0;
    do {
        struct epoll_event events[256];
        t = now_us();
        if (t > end)
            enough = 1;
        for (long i = sockets; i < sockets + clients && !enough; i++)
            if (!all[i].busy) {
                sent++;
                request_begin(&all[i], false);
            }
        while (rate && !enough && sent < (t - begin) * rate / 1000000) {
            struct connection *c = connection_free();
            if (!c)
                break;
            sent++;
            request_begin(c, false);
        }
        for (long i = 0; i < sockets && !enough; i++)
            if (all[i].upgraded && !all[i].busy && t >= all[i].say_at)
                socket_say(&all[i]);
        int n = epoll_wait(ep, events, 256, rate || sockets ? 1 : 20);
        for (int i = 0; i < n; i++)
            if (((struct connection *)events[i].data.ptr)->fd >= 0)
                connection_step(events[i].data.ptr);
        look_at_time(now_us());
        busy = sent - done;
        for (long i = 0; i < sockets; i++)
            busy += all[i].busy;
    } while (!enough || (busy > 0 && now_us() - end < patience + 1000000));
    failed += sent - done > 0 ? sent - done : 0;
    double took = (double)(now_us() - begin) / 1e6;
    long n = ntimes < 1 << 22 ? ntimes : 1 << 22;
    qsort(times, (size_t)n, sizeof *times, by_time);
    printf("sent %ld failed %ld retried %ld p50_us %ld p99_us %ld max_us %ld rate %.0f\n", sent, failed, retried, n ? times[n / 2] : 0,
           n ? times[n * 99 / 100] : 0, n ? times[n - 1] : 0, (double)done / took);
    if (sockets)
        printf("said %ld heard %ld cut %ld\n", said, heard, cut);
    return failed > 0 || cut > 0;
}
