#include "base/fault.h"
#include "base/test.h"
#include "edge/haproxy.h"
#include "edge/haproxy_int.h"
#include "edge/own_network_test.h"
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
    struct haproxy_config c = {.run = str_of(w.run),
                               .program = S("/usr/sbin/haproxy"),
                               .old_most_ns = 30 * NS_PER_S,
                               .silence_ns = 300 * NS_PER_MS};
    struct err err = ERR;
    w.applied = 0;
    w.h = haproxy_new(w.loop, &c, &events, NULL, &err);
    CHECK_OK(w.h != NULL, err);
}

static bool world_enter(void) /* false: nobody lets us */
{
    struct err err = ERR;
    if (!own_network_enter())
        return false;
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

TEST(a_program_that_is_not_there_is_told)
{
    static const struct haproxy_events events = {.applied = world_applied, .failed = world_failed};
    (void)snprintf(w.run, sizeof w.run, "%s/run", test_dir());
    struct haproxy_config c = {.run = str_of(w.run), .program = S("/nonexistent/haproxy")};
    struct err err = ERR;
    w.loop = loop_new(&err);
    w.h = haproxy_new(w.loop, &c, &events, NULL, &err);
    CHECK_OK(w.h != NULL, err);
    haproxy_shape(w.h, str_of(shape_text));
    haproxy_commit(w.h, 1);
    for (int64_t until = clock_mono() + NS_PER_S; clock_mono() < until;)
        (void)loop_run_once(w.loop, 10 * NS_PER_MS);
    CHECK_INT(w.failures, 1); /* though it was tried again */
    CHECK_STR(str_of(w.failed.text),
              S("HAProxy is not installed: there is no /nonexistent/haproxy; apt-get install haproxy"));
    CHECK_INT(w.applied, 0);
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

TEST(an_address_that_is_somebodys_keeps_no_other_from_being_served)
{
    pid_t pids[8];
    if (!world_enter())
        return;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(8081), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(fd, (struct sockaddr *)&at, sizeof at) == 0 && listen(fd, 1) == 0);
    AUTO(strbuf_fini) struct strbuf shape = STRBUF(STRBUF_TEXT);
    strbuf_addf(&shape, "%sfrontend other\n bind 127.0.0.1:8081\n http-request return status 204\n", shape_text);
    haproxy_shape(w.h, strbuf_str(&shape));
    path_put("/map/a", "one");
    until_applied(1);
    CHECK_STR(page_get("/map/a"), S("one"));
    CHECK_INT(w.failures, 1);
    CHECK(strstr(w.failed.text, "Address already in use") && strstr(w.failed.text, "127.0.0.1:8081"));
    haproxy_free(w.h); /* the next one does not take it for whole */
    proxy_open();
    haproxy_shape(w.h, strbuf_str(&shape));
    path_put("/map/a", "two");
    until_applied(2);
    CHECK_STR(page_get("/map/a"), S("two"));
    fd_close(fd);
    AUTO(fd_close) int client = -1;
    bool reached = false;
    for (int64_t until = clock_mono() + 10 * NS_PER_S; !reached && clock_mono() < until; fd_close(TAKE_FD(client))) {
        (void)loop_run_once(w.loop, 20 * NS_PER_MS);
        client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        reached = connect(client, (struct sockaddr *)&at, sizeof at) == 0;
    }
    CHECK(reached);
    (void)pids;
    world_leave();
}

/* --- servers -------------------------------------------------------------------------------------------------------
 */

static const char servers_text[] = "defaults\n"
                                   " mode http\n"
                                   " timeout connect 2s\n"
                                   " timeout client 60s\n"
                                   " timeout server 60s\n"
                                   "frontend web\n"
                                   " bind 127.0.0.1:8080\n"
                                   " default_backend shop\n"
                                   "backend shop\n"
                                   " balance roundrobin\n"
                                   "frontend s1\n"
                                   " bind 127.0.0.1:9001\n"
                                   " http-request return status 200 content-type text/plain string s1\n"
                                   "frontend s2\n"
                                   " bind 127.0.0.1:9002\n"
                                   " http-request return status 200 content-type text/plain string s2\n";

static void server_put(const char *name, const char *address, uint32_t weight, const char *options)
{
    haproxy_server_put(w.h, &(struct haproxy_server){"shop", name, str_of(address), weight, str_of(options)});
}

static int pages_count(const char *which) /* of eight requests */
{
    int n = 0;
    for (int i = 0; i < 8; i++)
        n += str_eqz(page_get("/"), which);
    return n;
}

TEST(servers_come_and_go_without_a_reload)
{
    pid_t pids[8];
    if (!world_enter())
        return;
    haproxy_shape(w.h, str_of(servers_text));
    until_applied(1);
    CHECK_INT(pages_count(""), 0); /* 503 */
    CHECK_INT(pids_running(pids), 1);
    pid_t pid = pids[0];
    server_put("a", "127.0.0.1:9001", 1, "");
    until_applied(2);
    CHECK_INT(pages_count("s1"), 8);
    server_put("b", "127.0.0.1:9002", 1, "");
    until_applied(3);
    CHECK_INT(pages_count("s1"), 4);
    CHECK_INT(pages_count("s2"), 4);
    server_put("b", "127.0.0.1:9002", 3, "");
    until_applied(4);
    CHECK_INT(pages_count("s2"), 6);
    haproxy_server_del(w.h, "shop", "a"); /* connections to it are kept for reuse: it parts */
    until_applied(5);
    CHECK_INT(pages_count("s2"), 8);
    server_put("a", "127.0.0.1:9001", 3, ""); /* and comes back meanwhile */
    until_applied(6);
    CHECK_INT(pages_count("s1"), 4);
    CHECK_INT(w.failures, 0);
    CHECK_INT(pids_running(pids), 1);
    CHECK_INT(pids[0], pid);
    haproxy_free(w.h); /* what is found again knows of its servers, too */
    proxy_open();
    haproxy_shape(w.h, str_of(servers_text));
    server_put("a", "127.0.0.1:9001", 1, "");
    until_applied(7);
    CHECK_INT(pages_count("s1"), 8);
    server_put("a", "127.0.0.1:9002", 1, ""); /* another under its name: from files, where connections are open */
    until_applied(8);
    CHECK_INT(pages_count("s2"), 8);
    server_put("c", "127.0.0.1:9001", 1, "bogus-option");
    haproxy_commit(w.h, 9);
    for (int i = 0; i < 5000 && !w.failures; i++)
        (void)loop_run_once(w.loop, NS_PER_MS);
    CHECK(strstr(w.failed.text, "bogus-option"));
    CHECK_INT(pages_count("s2"), 8);
    haproxy_server_del(w.h, "shop", "c");
    until_applied(10);
    world_leave();
}

TEST(servers_of_a_backend_that_comes_later_wait_for_it)
{
    pid_t pids[8];
    if (!world_enter())
        return;
    haproxy_shape(w.h, str_of(servers_text));
    until_applied(1);
    haproxy_server_put(w.h, &(struct haproxy_server){"late", "a", S("127.0.0.1:9002"), 1, S("")});
    until_applied(2); /* nothing that serves speaks of it */
    AUTO(strbuf_fini) struct strbuf shape = STRBUF(STRBUF_TEXT);
    strbuf_addz(&shape, servers_text);
    strbuf_addz(&shape,
                "frontend other\n bind 127.0.0.1:8081\n default_backend late\nbackend late\n balance leastconn\n");
    haproxy_shape(w.h, strbuf_str(&shape));
    server_put("a", "127.0.0.1:9001", 1, "");
    until_applied(3);
    CHECK_INT(pages_count("s1"), 8);
    haproxy_server_del(w.h, "late", "a");
    until_applied(4);
    (void)pids;
    world_leave();
}

/* --- certificates
 * --------------------------------------------------------------------------------------------------- */

static struct str shell_output(const char *fmt, ...) PRINTF(1, 2);
static struct str shell_output(const char *fmt, ...)
{
    static struct strbuf out = {.max = 1 << 20};
    struct err ignored = ERR; /* what it says is what counts */
    char command[4096];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(command, sizeof command, fmt, args);
    va_end(args);
    strbuf_reset(&out);
    if (!command_run((const char *const[]){"sh", "-c", command, NULL}, STR_NONE, &out, 20000, &ignored))
        strbuf_addz(&out, "\n");
    return strbuf_str(&out);
}

static struct str pem_make(const char *name)
{
    return shell_output(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=%s "
        "-addext subjectAltName=DNS:%s -keyout - -out - 2>/dev/null; echo; echo junk",
        name, name);
}

static struct str subject_of(const char *host)
{
    return str_trim(shell_output("echo | openssl s_client -connect 127.0.0.1:8443 -servername %s 2>/dev/null | "
                                 "openssl x509 -noout -subject 2>/dev/null | sed 's/.*CN = //'",
                                 host));
}

TEST(certificates_are_exchanged_while_it_runs)
{
    static const char text[] = "defaults\n mode http\n timeout connect 2s\n timeout client 9s\n timeout server 9s\n"
                               "frontend web\n"
                               " bind 127.0.0.1:8443 ssl crt certs/none.pem crt-list lists/https\n"
                               " http-request return status 200\n"
                               "backend shop\n";
    pid_t pids[8];
    if (!world_enter())
        return;
    haproxy_cert_put(w.h, "none", pem_make("none"));
    haproxy_shape(w.h, str_of(text));
    haproxy_list_put(w.h, "https", "late", S(""), S("late.example")); /* its certificate is not there */
    until_applied(1);
    CHECK_INT(pids_running(pids), 1);
    pid_t pid = pids[0];
    CHECK_STR(subject_of("a.example"), S("none"));
    haproxy_cert_put(w.h, "a", pem_make("a1"));
    haproxy_list_put(w.h, "https", "a", S("alpn h2,http/1.1"), S("a.example *.a.example"));
    until_applied(2);
    CHECK_STR(subject_of("a.example"), S("a1"));
    CHECK_STR(subject_of("x.a.example"), S("a1"));
    CHECK_STR(subject_of("b.example"), S("none"));
    haproxy_cert_put(w.h, "a", pem_make("a2"));
    until_applied(3);
    CHECK_STR(subject_of("a.example"), S("a2"));
    haproxy_list_put(w.h, "https", "a", S("alpn h2"), S("b.example"));
    until_applied(4);
    CHECK_STR(subject_of("a.example"), S("none"));
    CHECK_STR(subject_of("b.example"), S("a2"));
    haproxy_cert_put(w.h, "late", pem_make("late"));
    until_applied(5);
    CHECK_STR(subject_of("late.example"), S("late"));
    haproxy_list_del(w.h, "https", "a");
    haproxy_cert_del(w.h, "a");
    haproxy_cert_put(w.h, "none", pem_make("none2"));
    until_applied(6);
    CHECK_STR(subject_of("b.example"), S("none2"));
    haproxy_server_put(w.h,
                       &(struct haproxy_server){
                           "shop", "t", S("127.0.0.1:9001"), 1,
                           S("ssl verify required ca-file certs/ca.pem verifyhost x.example sni str(x.example)")});
    haproxy_cert_put(w.h, "ca",
                     shell_output("openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=ca -keyout /dev/null "
                                  "-out - 2>/dev/null"));
    until_applied(7);
    CHECK_INT(pids_running(pids), 1);
    CHECK_INT(pids[0], pid);
    haproxy_free(w.h);
    proxy_open();
    haproxy_shape(w.h, str_of(text));
    haproxy_cert_put(w.h, "none", pem_make("none3"));
    haproxy_cert_put(w.h, "late", pem_make("late2"));
    haproxy_list_put(w.h, "https", "late", S(""), S("late.example other.example"));
    until_applied(8);
    CHECK_STR(subject_of("other.example"), S("late2"));
    CHECK_STR(subject_of("x.example"), S("none3"));
    CHECK_INT(pids_running(pids), 1);
    CHECK_INT(pids[0], pid);
    CHECK_INT(w.failures, 0);
    world_leave();
}

/* --- faults
 * ------------------------------------------------------------------------------------------------------------- */

/* CPU time of ours for fifty commits of one change each, with so many entries there, ns. */
static int64_t changes_cost(int entries)
{
    char key[32];
    for (int i = 0; i < entries; i++) {
        (void)snprintf(key, sizeof key, "/map/%d", i);
        path_put(key, "x");
    }
    until_applied((uint64_t)entries);
    for (int i = 0; i < 20; i++)
        (void)loop_run_once(w.loop, NS_PER_MS);
    int64_t begin = clock_thread_cpu();
    for (int i = 0; i < 50; i++) {
        (void)snprintf(key, sizeof key, "v%d", i);
        path_put("/map/1", key);
        until_applied((uint64_t)(entries + 1 + i));
    }
    return clock_thread_cpu() - begin;
}

TEST(a_change_costs_the_same_whatever_there_is)
{
    if (!world_enter())
        return;
    haproxy_shape(w.h, str_of(shape_text));
    int64_t few = changes_cost(100), many = changes_cost(20000);
    if (many > 4 * few + 20 * NS_PER_MS)
        test_failed(__FILE__, __LINE__, "50 changes: %lld us among 100 entries, %lld us among 20000",
                    (long long)few / 1000, (long long)many / 1000);
    world_leave();
}

TEST(a_proxy_that_hangs_is_killed_and_started_again)
{
    pid_t pids[8];
    if (!world_enter())
        return;
    haproxy_shape(w.h, str_of(shape_text));
    path_put("/map/a", "one");
    until_applied(1);
    for (int i = 0; i < 50; i++)
        (void)loop_run_once(w.loop, NS_PER_MS); /* copies of its sockets */
    CHECK_INT(pids_running(pids), 1);
    pid_t pid = pids[0];
    CHECK(kill(pid, SIGSTOP) == 0);
    path_put("/map/a", "two");
    until_applied(2);
    CHECK_STR(page_get("/map/a"), S("two"));
    CHECK_INT(pids_running(pids), 1);
    CHECK(pids[0] != pid);
    world_leave();
}

/* Every call out of this process fails once: it starts all the same. */
TEST(whatever_fails_once_is_done_again)
{
    if (!world_enter())
        return;
    for (int n = 1; n < 60; n++) {
        fault_at(n);
        haproxy_shape(w.h, str_of(servers_text));
        server_put("a", "127.0.0.1:9001", 1, "");
        haproxy_commit(w.h, 1);
        for (int i = 0; i < 40 && !fault_fired(); i++)
            (void)loop_run_once(w.loop, NS_PER_MS);
        bool fired = fault_fired();
        fault_at(0);
        until_applied((uint64_t)n + 1);
        CHECK_INT(pages_count("s1"), 8);
        if (!fired)
            break;
        haproxy_shape(w.h, S(""));
        until_applied((uint64_t)n + 1000);
    }
    world_leave();
}

static struct str shown;
static bool shown_now;

static void map_shown(void *arg UNUSED, struct str answer, const struct err *err)
{
    mem_free((char *)(uintptr_t)shown.p);
    shown = err ? STR_NONE : (struct str){str_dupz(answer), answer.n};
    shown_now = true;
}

static struct str command_answer(const char *command)
{
    shown_now = false;
    haproxy_ask(w.h, str_of(command), map_shown, NULL);
    for (int i = 0; i < 5000 && !shown_now; i++)
        (void)loop_run_once(w.loop, NS_PER_MS);
    return shown;
}

static size_t lines_count(struct str text, const char *begin)
{
    size_t n = 0;
    struct str line;
    while (str_cut(&text, '\n', &line))
        n += str_starts(line, str_of(begin));
    return n;
}

static int atoi_of(struct str s)
{
    int64_t v = 0;
    CHECK(str_to_i64(s, 0, 1000, &v));
    return (int)v;
}

/* We and it are killed at any moment, whatever is under way; in the end it has what is wanted and nothing else. */
TEST(a_random_life_ends_with_what_is_wanted)
{
    enum { KEYS = 12, STEPS = 120 };
    pid_t pids[8];
    int want[KEYS] = {0}, servers[KEYS] = {0};
    uint64_t revision = 1;
    if (!world_enter())
        return;
    for (int step = 0; step < STEPS; step++) {
        char key[32], value[32], name[16];
        if (random_below(12) == 0) { /* as after a kill: the next one knows nothing */
            haproxy_free(w.h);
            proxy_open();
            for (int i = 0; i < KEYS; i++) {
                (void)snprintf(key, sizeof key, "/map/%d", i);
                (void)snprintf(value, sizeof value, "v%d", want[i]);
                (void)snprintf(name, sizeof name, "s%d", i);
                if (want[i])
                    path_put(key, value);
                if (servers[i])
                    server_put(name, "127.0.0.1:9001", (uint32_t)servers[i], "");
            }
        }
        AUTO(strbuf_fini) struct strbuf shape = STRBUF(STRBUF_TEXT);
        strbuf_addf(&shape, "%s# %d\n", shape_text, step / 50);
        haproxy_shape(w.h, strbuf_str(&shape));
        int i = (int)random_below(KEYS);
        (void)snprintf(key, sizeof key, "/map/%d", i);
        (void)snprintf(value, sizeof value, "v%d", step + 1);
        (void)snprintf(name, sizeof name, "s%d", i);
        want[i] = random_below(3) ? step + 1 : 0;
        servers[i] = (int)random_below(3);
        if (want[i])
            path_put(key, value);
        else
            haproxy_map_del(w.h, "paths", str_of(key));
        if (servers[i])
            server_put(name, "127.0.0.1:9001", (uint32_t)servers[i], "");
        else
            haproxy_server_del(w.h, "shop", name);
        haproxy_commit(w.h, ++revision);
        size_t n = random_below(25) == 0 ? pids_running(pids) : 0;
        if (n)
            CHECK(kill(pids[n - 1], SIGKILL) == 0);
        for (int64_t until = clock_mono() + (int64_t)random_below(20) * NS_PER_MS; clock_mono() < until;)
            (void)loop_run_once(w.loop, NS_PER_MS);
    }
    until_applied(++revision);
    size_t entries = 0, backends = 0;
    for (int i = 0; i < KEYS; i++) {
        char key[32], value[32];
        (void)snprintf(key, sizeof key, "/map/%d", i);
        (void)snprintf(value, sizeof value, "v%d", want[i]);
        CHECK_STR(page_get(key), want[i] ? str_of(value) : S("none"));
        entries += want[i] != 0;
        backends += servers[i] != 0;
    }
    CHECK_INT(lines_count(command_answer("show map maps/paths"), "0x"), entries);
    size_t serving = 0;
    struct str rest = command_answer("show servers state shop"), line, field[8];
    while (str_cut(&rest, '\n', &line)) {
        size_t n = 0;
        while (n < countof(field) && str_cut(&line, ' ', &field[n]))
            n++;
        if (n < countof(field) || field[3].n < 2 || field[3].p[0] != 's' || !str_eq(field[6], S("0")))
            continue;
        serving++;
        char weight[16];
        (void)snprintf(weight, sizeof weight, "%d", servers[atoi_of(str_sub(field[3], 1, field[3].n))]);
        CHECK_STR(field[7], str_of(weight));
    }
    CHECK_INT(serving, backends);
    mem_free((char *)(uintptr_t)shown.p);
    world_leave();
}
