#include "base/test.h"
#include "edge/haproxy.h"
#include "edge/haproxy_int.h"
#include "sys/file.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* The real HAProxy, in a network namespace of the test's own. */
struct proxy_world {
    struct loop *loop;
    struct haproxy *h;
    uint64_t applied;
    int failures;
    struct err failed;
    struct strbuf answer;
    bool answered;
    char run[128];
};
static struct proxy_world w;

#define PORT 8080
static const char shape_text[] = "defaults\n"
                                 " mode http\n"
                                 " timeout connect 2s\n"
                                 " timeout client 60s\n"
                                 " timeout server 60s\n"
                                 "frontend web\n"
                                 " bind 127.0.0.1:8080\n"
                                 " http-request return status 200 content-type text/plain "
                                 "lf-string %[path,map(maps/paths,none)] if { path_beg /map }\n"
                                 " http-request return status 200 content-type text/plain "
                                 "lf-string %[path,map_reg(maps/patterns,none)] if { path_beg /re }\n"
                                 " default_backend shop\n"
                                 "backend shop\n"
                                 " balance roundrobin\n";

static void world_applied(void *arg, uint64_t revision)
{
    (void)arg;
    w.applied = revision;
}

static void world_failed(void *arg, const struct err *err)
{
    (void)arg;
    w.failures++;
    w.failed = *err;
}

static void proxy_open(void)
{
    static const struct haproxy_events events = {.applied = world_applied, .failed = world_failed};
    struct haproxy_config c = {.run = str_of(w.run), .program = S("/usr/sbin/haproxy"), .old_most_ns = 30 * NS_PER_S};
    struct err err = ERR;
    w.applied = 0;
    w.h = haproxy_new(w.loop, &c, &events, NULL, &err);
    CHECK_OK(w.h != NULL, err);
}

static bool world_enter(void) /* false: nobody lets us */
{
    struct err err = ERR;
    if (geteuid() != 0 || access("/usr/sbin/haproxy", X_OK) < 0)
        return false;
    CHECK(unshare(CLONE_NEWNET) == 0);
    struct ifreq up = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    AUTO(fd_close) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK(ioctl(fd, SIOCSIFFLAGS, &up) == 0);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)snprintf(w.run, sizeof w.run, "%s/run", test_dir());
    w.loop = loop_new(&err);
    CHECK_OK(w.loop != NULL, err);
    proxy_open();
    return true;
}

static void world_leave(void)
{
    struct err err = ERR;
    haproxy_free(w.h);
    CHECK_OK(haproxy_end_all(str_of(w.run), &err), err);
    for (int i = 0; i < 50; i++)
        (void)loop_run_once(w.loop, NS_PER_MS); /* jobs come home */
    loop_free(w.loop);
    strbuf_fini(&w.answer);
}

static void until_applied(uint64_t revision)
{
    int64_t until = clock_mono() + 20 * NS_PER_S;
    haproxy_commit(w.h, revision);
    while (w.applied != revision && clock_mono() < until)
        (void)loop_run_once(w.loop, 100 * NS_PER_MS);
    if (w.applied != revision)
        test_failed(__FILE__, __LINE__, "revision %d is not applied: %s", (int)revision, w.failed.text);
}

/* One request, in a child, while our loop goes on; the body. "": no answer. */
static struct str page_get(const char *path)
{
    static char body[4096];
    char text[8192] = "";
    size_t n = 0;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    AUTO(fd_close) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    body[0] = 0;
    int len = snprintf(text, sizeof text, "GET %s HTTP/1.0\r\n\r\n", path);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0 || write(fd, text, (size_t)len) != len)
        return str_of(body);
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    for (int64_t until = clock_mono() + 10 * NS_PER_S; clock_mono() < until;) {
        ssize_t k = read(fd, text + n, sizeof text - 1 - n);
        if (k == 0)
            break;
        if (k > 0)
            n += (size_t)k;
        else
            (void)loop_run_once(w.loop, NS_PER_MS);
    }
    text[n] = 0;
    char *end = strstr(text, "\r\n\r\n");
    (void)snprintf(body, sizeof body, "%s", end ? end + 4 : "");
    return str_of(body);
}

static void path_put(const char *key, const char *value)
{
    struct err err = ERR;
    CHECK_OK(haproxy_map_put(w.h, "paths", str_of(key), str_of(value), &err), err);
}

static size_t pids_running(pid_t *pids)
{
    return proc_scan(str_of(w.run), pids, 8);
}

TEST(a_proxy_starts_and_is_told)
{
    pid_t pids[8];
    if (!world_enter())
        return;
    haproxy_shape(w.h, str_of(shape_text));
    path_put("/map/a", "one");
    until_applied(1);
    CHECK_INT(pids_running(pids), 1);
    pid_t pid = pids[0];
    CHECK_STR(page_get("/map/a"), S("one"));
    path_put("/map/a", "two; words \\ and \"quotes\" <<");
    path_put("/map/b", "<<");
    path_put("/map/c;d\\e<<", "x");
    until_applied(2);
    CHECK_STR(page_get("/map/a"), S("two; words \\ and \"quotes\" <<"));
    CHECK_STR(page_get("/map/b"), S("<<"));
    CHECK_STR(page_get("/map/c;d\\e<<"), S("x"));
    haproxy_map_del(w.h, "paths", S("/map/c;d\\e<<"));
    until_applied(3);
    CHECK_STR(page_get("/map/c;d\\e<<"), S("none"));
    struct err err = ERR;
    CHECK(!haproxy_map_put(w.h, "paths", S("a b"), S("x"), &err));
    CHECK(!haproxy_map_put(w.h, "paths", S("#a"), S("x"), &err));
    CHECK(!haproxy_map_put(w.h, "paths", S("a"), S("x\ny"), &err));
    CHECK(!haproxy_map_put(w.h, "paths", S("a"), S(""), &err));
    struct haproxy_entry e[] = {{S("^/re/a"), S("first")}, {S("^/re"), S("second")}};
    CHECK_OK(haproxy_map_set(w.h, "patterns", e, 2, &err), err);
    until_applied(4);
    CHECK_STR(page_get("/re/a"), S("first"));
    CHECK_STR(page_get("/re/b"), S("second"));
    struct haproxy_entry turned[] = {e[1], e[0]};
    CHECK_OK(haproxy_map_set(w.h, "patterns", turned, 2, &err), err);
    until_applied(5);
    CHECK_STR(page_get("/re/a"), S("second"));
    CHECK_INT(pids_running(pids), 1);
    CHECK_INT(pids[0], pid); /* no reload for any of it */
    CHECK_INT(w.failures, 0);
    world_leave();
}

TEST(a_proxy_that_is_killed_comes_back_and_refuses_nobody)
{
    pid_t pids[8];
    if (!world_enter())
        return;
    haproxy_shape(w.h, str_of(shape_text));
    path_put("/map/a", "one");
    until_applied(1);
    path_put("/map/b", "two"); /* told, in no file yet */
    until_applied(2);
    for (int i = 0; i < 100; i++)
        (void)loop_run_once(w.loop, NS_PER_MS);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(pids_running(pids), 1);
        CHECK(kill(pids[0], SIGKILL) == 0);
        CHECK_STR(page_get("/map/b"), S("two")); /* connects before it is started again */
    }
    world_leave();
}

TEST(a_proxy_is_found_again_and_told_what_changed)
{
    pid_t pids[8];
    if (!world_enter())
        return;
    haproxy_shape(w.h, str_of(shape_text));
    path_put("/map/a", "one");
    path_put("/map/gone", "x");
    until_applied(1);
    haproxy_free(w.h);
    CHECK_INT(pids_running(pids), 1);
    pid_t pid = pids[0];
    CHECK_STR(page_get("/map/a"), S("one"));
    proxy_open();
    haproxy_shape(w.h, str_of(shape_text));
    path_put("/map/a", "two");
    path_put("/map/new", "y");
    until_applied(7);
    CHECK_STR(page_get("/map/a"), S("two"));
    CHECK_STR(page_get("/map/new"), S("y"));
    CHECK_STR(page_get("/map/gone"), S("none"));
    CHECK_INT(pids_running(pids), 1);
    CHECK_INT(pids[0], pid);
    world_leave();
}

TEST(a_shape_that_is_wrong_leaves_the_old_one)
{
    if (!world_enter())
        return;
    haproxy_shape(w.h, str_of(shape_text));
    path_put("/map/a", "one");
    until_applied(1);
    haproxy_shape(w.h, S("frontend x\n bogus\n"));
    haproxy_commit(w.h, 2);
    int64_t until = clock_mono() + 10 * NS_PER_S;
    while (!w.failures && clock_mono() < until)
        (void)loop_run_once(w.loop, 100 * NS_PER_MS);
    if (!strstr(w.failed.text, "unknown keyword 'bogus'"))
        test_failed(__FILE__, __LINE__, "failed=%d \"%s\"", w.failures, w.failed.text);
    path_put("/map/b", "two");
    haproxy_commit(w.h, 3);
    for (int i = 0; i < 1000 && !str_eq(page_get("/map/b"), S("two")); i++)
        (void)loop_run_once(w.loop, NS_PER_MS);
    CHECK_STR(page_get("/map/b"), S("two"));
    CHECK(w.applied == 1);
    haproxy_shape(w.h, str_of(shape_text));
    until_applied(4);
    haproxy_shape(w.h, S(""));
    until_applied(5);
    for (int i = 0; i < 1000 && page_get("/map/a").n; i++) /* it is told to end, which takes it a moment */
        (void)loop_run_once(w.loop, NS_PER_MS);
    CHECK_STR(page_get("/map/a"), S(""));
    world_leave();
}
