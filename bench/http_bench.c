/* http_bench.c - what HTTP costs over plain sockets, over TLS and as HTTP/2 over TLS, beside a floor in the same run:
 * the same number of bytes through a bare echo with read and write. make bench-http; build/release/bench-http
 *
 * round trips   32 connections (of HTTP/2: 32 streams), one GET of 2 kB under way on each; client and server share
 * the machine's cores idle          memory of the server for each of 1,000 watchers at rest: connections, of HTTP/2
 * streams of one fan-out       one event of 2 kB to 1,000 watchers, until the last has it */
#include "base/log.h"
#include "sys/cert.h"
#include "wire/http_client.h"
#include "wire/http_server.h"
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { BYTES = 2000, FLYING = 32, REQUESTS = 50000, WATCHERS = 1000, EVENTS = 20 };

static char bytes[BYTES];
static struct err err;
static struct strbuf cert = STRBUF(STRBUF_TEXT), key_text = STRBUF(STRBUF_TEXT);
static char address[64];
static struct loop *loop;
static int left, done, heard;

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "%s: %s\n", what, err.text);
    exit(1);
}

static double seconds_since(int64_t start)
{
    return (double)(clock_mono() - start) / NS_PER_S;
}

static long pss_kb(pid_t pid)
{
    char path[64], line[256];
    long kb = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f) && sscanf(line, "Pss: %ld", &kb) != 1)
        ;
    if (f)
        (void)fclose(f);
    return kb;
}

/* ---- the server, a process of its own */

static struct http_request *watchers[WATCHERS];
static int nwatchers;

static void watcher_gone(struct http_request *r)
{
    for (int i = 0; i < nwatchers; i++)
        if (watchers[i] == r)
            watchers[i] = watchers[--nwatchers];
    http_end(r);
}

static void service(struct http_request *r, UNUSED void *arg)
{
    struct str body = {bytes, sizeof bytes};
    if (str_eq(r->path, S("/watch"))) {
        r->on_gone = watcher_gone;
        watchers[nwatchers++] = r;
        http_start(r, 200, S("application/json"), -1);
        http_write(r, S("."));
        return;
    }
    if (str_eq(r->path, S("/event"))) {
        AUTO(buf_unref) struct buf *event = buf_new(body);
        for (int i = 0; i < nwatchers; i++)
            http_write_buf(watchers[i], event);
        body = S("");
    }
    http_respond(r, 200, S("application/json"), body);
}

enum { PLAIN, TLS, HTTP2 };
static const char *const ways[] = {"plain", "tls", "h2"};

static pid_t server_start(int way)
{
    struct addr at;
    must(addr_parse(S("127.0.0.1:0"), &at, &err), "address");
    int fd = socket_listen(&at, 0, &err);
    must(fd >= 0 && socket_addr(fd, &at, &err), "listen");
    (void)snprintf(address, sizeof address, "127.0.0.1:%d", addr_port(&at));
    fflush(NULL);
    pid_t pid = fork();
    if (pid) {
        fd_close(fd);
        return pid;
    }
    struct http_server_config c = {.service = {.request = service}};
    static const struct http_session_type *const http2[] = {&http2_session, NULL};
    static const char *const alpn[] = {"h2", NULL};
    struct tls_server_config tls = {.cert = strbuf_str(&cert), .key = strbuf_str(&key_text)};
    if (way == HTTP2)
        tls.alpn = alpn, c.sessions = http2;
    if (way != PLAIN)
        c.tls = tls_server_new(&tls, &err);
    must(way == PLAIN || c.tls, "TLS");
    loop = loop_new(&err);
    http_server_listen(http_server_new(loop, &c), fd);
    loop_run(loop);
    exit(0);
}

/* ---- the client */

static struct http_client *client;
static void next(void);

static void answered(UNUSED struct http_call *k, const struct http_answer *a, struct err *e)
{
    err = *e;
    must(a != NULL, "request");
    done++;
    next();
}
static const struct http_call_fns one_fns = {.done = answered};
static void next(void)
{
    if (left-- > 0)
        (void)http_send(client, &(struct http_outgoing){.method = S("GET"), .target = S("/x")}, &one_fns, NULL);
}

static double round_trips(void)
{
    int64_t start = clock_mono();
    left = REQUESTS;
    done = 0;
    for (int i = 0; i < FLYING; i++)
        next();
    while (done < REQUESTS)
        (void)loop_run_once(loop, -1);
    return REQUESTS / seconds_since(start);
}

static void watch_data(UNUSED struct http_call *k, struct str b)
{
    heard += (int)b.n;
}
static const struct http_call_fns watch_fns = {.data = watch_data, .done = answered};

static void run_until(int bytes_heard)
{
    while (heard < bytes_heard)
        (void)loop_run_once(loop, -1);
}

static void one(int way, double floor_rate, double floor_fan)
{
    static const struct http_client_session_type *const http2[] = {&http2_client_session, NULL};
    pid_t pid = server_start(way);
    loop = loop_new(&err);
    struct tls_client *trust = way ? tls_client_new(&(struct tls_client_config){.ca = strbuf_str(&cert)}, &err)
                                   : NULL;
    client = http_client_new(loop,
                             &(struct http_client_config){.address = str_of(address),
                                                          .tls = trust,
                                                          .connections_most = way == HTTP2 ? 1 : WATCHERS + FLYING,
                                                          .sessions = way == HTTP2 ? http2 : NULL});
    double rate = round_trips();
    printf("%-6s round trips %8.0f /s    %4.2f of the floor\n", ways[way], rate, rate / floor_rate);
    long before = pss_kb(pid);
    heard = 0;
    for (int i = 0; i < WATCHERS; i++) { /* one after another: a rush leaves holes in malloc's heap */
        struct http_outgoing o = {.method = S("GET"), .target = S("/watch"), .answer_streamed = true};
        (void)http_send(client, &o, &watch_fns, NULL);
        run_until(i + 1);
    }
    printf("%-6s idle        %8.2f kB a watcher\n", "", (double)(pss_kb(pid) - before) / WATCHERS);
    int64_t start = clock_mono();
    for (int i = 0; i < EVENTS; i++) {
        heard = 0;
        left = 0;
        (void)http_send(client, &(struct http_outgoing){.method = S("POST"), .target = S("/event")}, &one_fns, NULL);
        run_until(WATCHERS * BYTES);
    }
    double fan = seconds_since(start) / EVENTS * 1000;
    printf("%-6s fan-out     %8.2f ms    %4.2f of the floor\n", "", fan, fan / floor_fan);
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
}

/* ---- the floor */

static void echo(int fd)
{
    char room[BYTES];
    for (ssize_t n; (n = read(fd, room, 100)) > 0;)
        if (write(fd, bytes, sizeof bytes) < 0)
            break;
    _exit(0);
}

/* poll, read and write on FLYING socket pairs, the other ends in one process each. */
static double floor_rate_of(void)
{
    struct pollfd p[FLYING];
    pid_t children[FLYING];
    for (int i = 0; i < FLYING; i++) {
        int sv[2];
        must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) == 0, "socketpair");
        fflush(NULL);
        if ((children[i] = fork()) == 0)
            echo(sv[1]);
        fd_close(sv[1]);
        p[i] = (struct pollfd){sv[0], POLLIN, 0};
        (void)!write(sv[0], bytes, 100);
    }
    int64_t start = clock_mono();
    for (int n = 0; n < REQUESTS;) {
        (void)poll(p, FLYING, -1);
        for (int i = 0; i < FLYING; i++) {
            char room[BYTES];
            if (!p[i].revents || read(p[i].fd, room, sizeof room) <= 0)
                continue;
            n++;
            (void)!write(p[i].fd, bytes, 100);
        }
    }
    double rate = REQUESTS / seconds_since(start);
    for (int i = 0; i < FLYING; i++) {
        fd_close(p[i].fd);
        (void)kill(children[i], SIGKILL);
        (void)waitpid(children[i], NULL, 0);
    }
    return rate;
}

/* 1,000 writes and 1,000 reads. */
static double floor_fan_of(void)
{
    static int pairs[WATCHERS][2];
    char room[BYTES];
    for (int i = 0; i < WATCHERS; i++)
        must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pairs[i]) == 0, "socketpair");
    int64_t start = clock_mono();
    for (int e = 0; e < EVENTS; e++) {
        for (int i = 0; i < WATCHERS; i++)
            (void)!write(pairs[i][0], bytes, sizeof bytes);
        for (int i = 0; i < WATCHERS; i++)
            (void)!read(pairs[i][1], room, sizeof room);
    }
    double ms = seconds_since(start) / EVENTS * 1000;
    for (int i = 0; i < WATCHERS; i++)
        fd_close(pairs[i][0]), fd_close(pairs[i][1]);
    return ms;
}

int main(void)
{
    struct rlimit many = {8192, 8192};
    (void)setrlimit(RLIMIT_NOFILE, &many);
    memset(bytes, 'x', sizeof bytes);
    struct cert_key *key = key_new();
    const struct str ip = S_INIT("127.0.0.1");
    struct cert_spec spec = {.cn = S("bench"), .ca = true, .ips = &ip, .nips = 1};
    spec.not_after = clock_real() + 3600 * NS_PER_S;
    must(cert_make(&spec, key, STR_NONE, NULL, &cert, &err), "certificate");
    key_pem(key, &key_text);
    double rate = floor_rate_of(), fan = floor_fan_of();
    printf("%-6s round trips %8.0f /s\n%-6s fan-out     %8.2f ms\n", "floor", rate, "", fan);
    for (int way = PLAIN; way <= HTTP2; way++)
        one(way, rate, fan);
    return 0;
}
