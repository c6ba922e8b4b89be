#include "net/world_test.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>

const struct instance world_instance = {"1f3a9"};

void world_enter(void)
{
    if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0)
        test_failed(__FILE__, __LINE__, "unshare: %s", strerror(errno));
    CHECK(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    world_run("ip link set lo up");
}

static int shell_run(const char *command, int out)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (out >= 0)
            (void)dup2(out, 1);
        (void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    int status = -1;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    return status;
}

void world_run(const char *fmt, ...)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    va_list args;
    va_start(args, fmt);
    strbuf_addvf(&b, fmt, args);
    va_end(args);
    if (shell_run(b.p, -1) != 0)
        test_failed(__FILE__, __LINE__, "failed: %s", b.p);
}

struct str world_output(const char *command)
{
    static char buf[1 << 20];
    FILE *f = tmpfile();
    CHECK(f);
    (void)shell_run(command, fileno(f));
    rewind(f);
    size_t n = fread(buf, 1, sizeof buf - 1, f);
    (void)fclose(f);
    buf[n] = 0;
    return (struct str){buf, n};
}

bool world_has(const char *command, const char *text)
{
    struct str out = world_output(command);
    if (str_has(out, str_of(text)))
        return true;
    fprintf(stderr, "%s:\n" STR_FMT "\n", command, STR_ARG(out));
    return false;
}

struct world_pod world_pod(uint32_t ip)
{
    struct err err = ERR;
    struct world_pod p = {.ip = ip, .ns = netns_new(&err)};
    CHECK_OK(p.ns >= 0, err);
    struct pod_link_spec spec = {
        .instance = world_instance, .ip = ip, .node_ip = NODE_IP, .netns_fd = p.ns, .alias = "default/web 1234"};
    CHECK_OK(pod_link_add(&spec, &p.link, &err), err);
    return p;
}

static int socket_in(int ns, int type, int protocol)
{
    struct err err = ERR;
    int home = ns == NO_NS ? -1 : netns_enter(ns, &err);
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, protocol);
    if (home >= 0) {
        netns_leave(home);
        fd_close(home);
    }
    CHECK(fd >= 0);
    return fd;
}

static struct sockaddr_in addr_of(uint32_t ip, uint16_t port)
{
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(ip)};
}

int world_listen(int ns, int type, int protocol, uint32_t ip, uint16_t port)
{
    int fd = socket_in(ns, type, protocol), one = 1;
    struct sockaddr_in a = addr_of(ip, port);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0)
        test_failed(__FILE__, __LINE__, "bind " IP4_FMT ":%u: %s", IP4_ARG(ip), port, strerror(errno));
    if (type != SOCK_DGRAM)
        CHECK(listen(fd, 64) == 0);
    return fd;
}

static int wait_server(int client, const int *servers, size_t n, int patience_ms)
{
    struct pollfd p[64];
    CHECK(n < countof(p));
    for (size_t i = 0; i < n; i++)
        p[i] = (struct pollfd){servers[i], POLLIN, 0};
    p[n] = (struct pollfd){client, POLLIN, 0};
    if (poll(p, n + 1, patience_ms) <= 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (p[i].revents)
            return (int)i;
    return -1;
}

static int client_error(int fd, int patience_ms)
{
    struct pollfd p = {fd, POLLIN, 0};
    int error = 0;
    socklen_t n = sizeof error;
    if (poll(&p, 1, patience_ms) == 0)
        return ETIMEDOUT;
    (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n);
    return error;
}

static void reach_datagram(struct reached *r, int fd, const int *servers, size_t n, int patience_ms)
{
    struct sockaddr_in from = {0};
    socklen_t len = sizeof from;
    char byte;
    if (send(fd, "?", 1, 0) < 0) {
        r->error = errno;
        return;
    }
    int i = wait_server(fd, servers, n, patience_ms);
    if (i < 0) {
        r->error = client_error(fd, 0);
        return;
    }
    CHECK(recvfrom(servers[i], &byte, 1, 0, (struct sockaddr *)&from, &len) == 1);
    r->client = ntohl(from.sin_addr.s_addr);
    CHECK(sendto(servers[i], "!", 1, 0, (struct sockaddr *)&from, len) == 1);
    r->error = client_error(fd, patience_ms);
    if (r->error == 0 && recv(fd, &byte, 1, MSG_DONTWAIT) != 1)
        r->error = errno;
    if (r->error == 0)
        r->server = i;
}

static void reach_stream(struct reached *r, int fd, const int *servers, size_t n, int patience_ms)
{
    struct pollfd p = {fd, POLLOUT, 0};
    struct sockaddr_in from = {0};
    socklen_t len = sizeof r->error;
    if (poll(&p, 1, patience_ms) == 0) {
        r->error = ETIMEDOUT;
        return;
    }
    (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &r->error, &len);
    if (r->error)
        return;
    r->server = wait_server(fd, servers, n, patience_ms);
    if (r->server < 0)
        return;
    len = sizeof from;
    r->peer = accept4(servers[r->server], (struct sockaddr *)&from, &len, SOCK_CLOEXEC);
    CHECK(r->peer >= 0);
    r->client = ntohl(from.sin_addr.s_addr);
}

struct reached world_reach(int ns, int type, int protocol, uint32_t ip, uint16_t port, const int *servers, size_t n,
                           int patience_ms)
{
    struct reached r = {.server = -1, .fd = -1, .peer = -1};
    int64_t start = clock_mono();
    int fd = socket_in(ns, type, protocol);
    struct sockaddr_in a = addr_of(ip, port);
    CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0 && errno != EINPROGRESS)
        r.error = errno;
    else if (type == SOCK_DGRAM)
        reach_datagram(&r, fd, servers, n, patience_ms);
    else
        reach_stream(&r, fd, servers, n, patience_ms);
    r.ns = clock_mono() - start;
    if (r.error || type == SOCK_DGRAM)
        fd_close(fd);
    else
        r.fd = fd;
    return r;
}

struct reached world_tcp(int ns, uint32_t ip, uint16_t port, const int *servers, size_t n)
{
    struct reached r = world_reach(ns, SOCK_STREAM, 0, ip, port, servers, n, 2000);
    if (r.peer >= 0) /* first, so that the client's port is free at once */
        fd_close(r.peer);
    if (r.fd >= 0)
        fd_close(r.fd);
    r.fd = r.peer = -1;
    return r;
}

struct reached world_udp(int ns, uint32_t ip, uint16_t port, const int *servers, size_t n)
{
    return world_reach(ns, SOCK_DGRAM, 0, ip, port, servers, n, 2000);
}
