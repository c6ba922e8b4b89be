#include "edge/door_test.h"
#include "edge/door.h"
#include "edge/haproxy.h"
#include "edge/own_network_test.h"
#include "sys/child.h"
#include "sys/file.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* The real HAProxy in a network namespace of the test's own, with a backend that tells what it was asked. */
struct door_world {
    struct loop *loop;
    struct door *door;
    uint64_t revision, applied;
    struct err failed;
    struct strbuf told;
    pid_t backend;
    char run[128];
};
static struct door_world w;

#define BACKEND_FIRST 9001
#define BACKENDS      6

/* --- the backend --- */

static void backend_answer(int fd, int port)
{
    char in[16384], out[20000];
    size_t n = 0;
    while (n < sizeof in - 1) {
        ssize_t k = read(fd, in + n, sizeof in - 1 - n);
        if (k <= 0)
            return;
        n += (size_t)k;
        in[n] = 0;
        if (strstr(in, "\r\n\r\n"))
            break;
    }
    bool missing = strstr(in, " /missing") && !strcasestr(in, "x-code:");
    if (strstr(in, " /slow"))
        usleep(700000);
    int len = snprintf(
        out, sizeof out,
        "HTTP/1.1 %s\r\nserver: echo\r\nx-from: %d\r\ncontent-length: %zu\r\nconnection: close\r\n\r\n%s",
        missing ? "404 Not Found" : "200 OK", port, n, in);
    if (write(fd, out, (size_t)len) != len)
        perror("backend");
}

static void backend_run(int port)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 64) < 0)
        _exit(1);
    for (;;) {
        int c = accept(fd, NULL, NULL);
        if (c < 0)
            _exit(0);
        backend_answer(c, port);
        close(c);
    }
}

static void backends_start(void)
{
    w.backend = fork();
    if (w.backend)
        return;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 1; i < BACKENDS; i++)
        if (fork() == 0) {
            (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
            backend_run(BACKEND_FIRST + i);
        }
    backend_run(BACKEND_FIRST);
}

/* --- the world --- */

static void door_applied(void *arg, uint64_t revision)
{
    (void)arg;
    w.applied = revision;
}

static void door_was_refused(void *arg, struct str source, struct str what, const struct err *why)
{
    (void)arg;
    (void)source;
    strbuf_addf(&w.told, "refused " STR_FMT ": %s\n", STR_ARG(what), why->text);
}

static void door_did_fail(void *arg, const struct err *err)
{
    (void)arg;
    w.failed = *err;
    strbuf_addf(&w.told, "failed %s\n", err->text);
}

static void door_open(void)
{
    static const struct door_events events = {
        .applied = door_applied, .refused = door_was_refused, .failed = door_did_fail};
    struct door_config c = {.run = str_of(w.run),
                            .haproxy = S("haproxy"),
                            .old_most_ns = 30 * NS_PER_S,
                            .agent_run = str_of(test_dir()),
                            .own_agent_socket = -1};
    struct err err = ERR;
    w.applied = 0;
    w.door = door_new(w.loop, &c, &events, NULL, &err);
    CHECK_OK(w.door != NULL, err);
}

static bool world_enter(void) /* false: nobody lets us */
{
    struct err err = ERR;
    if (!own_network_enter())
        return false;
    (void)snprintf(w.run, sizeof w.run, "%s/run", test_dir());
    w.told = STRBUF(1 << 20);
    backends_start();
    w.loop = loop_new(&err);
    CHECK_OK(w.loop != NULL, err);
    door_open();
    return true;
}

static void world_leave(void)
{
    struct err err = ERR;
    door_free(w.door);
    CHECK_OK(haproxy_end_all(str_of(w.run), &err), err);
    for (int i = 0; i < 50; i++)
        (void)loop_run_once(w.loop, NS_PER_MS); /* jobs come home */
    loop_free(w.loop);
    strbuf_fini(&w.told);
    (void)kill(w.backend, SIGKILL);
}

static void until_applied(void)
{
    int64_t until = clock_mono() + 20 * NS_PER_S;
    door_commit(w.door, ++w.revision);
    while (w.applied != w.revision && clock_mono() < until)
        (void)loop_run_once(w.loop, 100 * NS_PER_MS);
    if (w.applied != w.revision)
        test_failed(__FILE__, __LINE__, "revision %d is not applied: %s", (int)w.revision, w.failed.text);
}

/* --- requests --- */

/* The whole answer; our loop goes on meanwhile. */
static struct str answer_of(uint16_t port, struct str request, struct strbuf *in)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    AUTO(fd_close) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strbuf_reset(in);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0 || write(fd, request.p, request.n) != (ssize_t)request.n)
        return S("");
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    for (int64_t until = clock_mono() + 10 * NS_PER_S; clock_mono() < until;) {
        char *at = strbuf_room(in, 4096);
        ssize_t k = read(fd, at, 4096);
        if (k == 0)
            break;
        if (k > 0)
            strbuf_used(in, (size_t)k);
        else
            (void)loop_run_once(w.loop, NS_PER_MS / 2);
    }
    return strbuf_str(in);
}

static struct str line_value(struct str head, struct str name, size_t *from)
{
    for (struct str rest = str_sub(head, *from, head.n), line; str_cut(&rest, '\n', &line);) {
        *from += line.n + 1;
        if (line.n > name.n && str_ieq(str_sub(line, 0, name.n), name) && line.p[name.n] == ':')
            return str_trim(str_sub(line, name.n + 1, line.n));
    }
    return STR_NONE;
}

static void header_show(struct strbuf *out, struct str head, struct str name, const char *mark)
{
    size_t from = 0;
    bool any = false;
    for (struct str v; (v = line_value(head, name, &from)).p; any = true)
        strbuf_addf(out, " %s" STR_FMT "=" STR_FMT, mark, STR_ARG(name), STR_ARG(v));
    if (!any)
        strbuf_addf(out, " %s" STR_FMT " none", mark, STR_ARG(name));
}

/* "TLS name[:port] [alpn] [VERIFIED]": what curl says: the certificate's name, and what came back. */
static void tls_try(struct str line, struct strbuf *out)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str rest, name, alpn, port = S("443"), path;
    str_split(line, ' ', &(struct str){0}, &rest);
    str_split(rest, ' ', &name, &alpn);
    str_split(name, '/', &name, &path);
    str_split(name, ':', &name, &port);
    port = port.n ? port : S("443");
    const char *command = arena_strz(&a, arena_fmt(&a,
                                                   "echo 'GET /" STR_FMT " HTTP/1.1\r\nHost: " STR_FMT
                                                   "\r\nConnection: close\r\n\r\n' | "
                                                   "timeout 5 openssl s_client -quiet -connect 127.0.0.1:" STR_FMT
                                                   " -servername " STR_FMT " %s" STR_FMT " 2>&1",
                                                   STR_ARG(path), STR_ARG(name), STR_ARG(port), STR_ARG(name),
                                                   alpn.n ? "-alpn " : "", STR_ARG(alpn)));
    const char *argv[] = {"sh", "-c", command, NULL};
    AUTO(strbuf_fini) struct strbuf told = STRBUF(1 << 20);
    struct err err = ERR;
    (void)!command_run(argv, S(""), &told, 10000, &err); /* what it told is looked at */
    strbuf_addf(out, STR_FMT " ->", STR_ARG(line));
    for (struct str all = strbuf_str(&told), l; str_cut(&all, '\n', &l);)
        if (str_starts(l, S("depth=0 CN = ")))
            strbuf_addf(out, " [" STR_FMT "]", STR_ARG(str_sub(l, 13, l.n)));
        else if (str_starts(l, S("HTTP/1.1 ")) || str_starts(l, S("x-from:")) || str_starts(l, S("X-From:")))
            strbuf_addf(out, " " STR_FMT, STR_ARG(str_trim(str_sub(l, str_starts(l, S("HTTP")) ? 9 : 8, l.n))));
    strbuf_addc(out, '\n');
}

/* "GET host[:port]/path [Name: value]... [?name]... [!name]...": ? shows what the backend got, ! what came back. */
static void request_try(struct str line, struct strbuf *out)
{
    AUTO(strbuf_fini) struct strbuf request = STRBUF(1 << 20), in = STRBUF(1 << 20);
    AUTO(arena_fini) struct arena a = ARENA;
    struct str rest = line, method, url, word, show[16], host;
    size_t nshow = 0;
    str_split(rest, ' ', &method, &rest);
    str_split(rest, ' ', &url, &rest);
    ptrdiff_t slash = str_find_char(url, '/');
    host = str_sub(url, 0, (size_t)slash);
    ptrdiff_t colon = str_rfind_char(host, ':');
    int64_t port = 80;
    if (colon >= 0)
        CHECK(str_to_i64(str_sub(host, (size_t)colon + 1, host.n), 1, 65535, &port));
    strbuf_addf(&request, STR_FMT " " STR_FMT " HTTP/1.1\r\nHost: " STR_FMT "\r\nConnection: close\r\n",
                STR_ARG(method), STR_ARG(str_sub(url, (size_t)slash, url.n)), STR_ARG(host));
    while (str_split(rest, ' ', &word, &rest) || word.n) {
        if (word.p[0] == '?' || word.p[0] == '!') {
            show[nshow++] = word;
            continue;
        }
        for (size_t i = 0; i < word.n; i++)
            strbuf_addc(&request, word.p[i] == '_' ? ' ' : word.p[i]);
        strbuf_addz(&request, "\r\n");
    }
    strbuf_addz(&request, "\r\n");
    struct str answer = answer_of((uint16_t)port, strbuf_str(&request), &in);
    ptrdiff_t end = str_find(answer, S("\r\n\r\n"));
    struct str head = end < 0 ? answer : str_sub(answer, 0, (size_t)end),
               body = end < 0 ? S("") : str_sub(answer, (size_t)end + 4, answer.n);
    size_t from = 0;
    strbuf_addf(out, STR_FMT " -> " STR_FMT, STR_ARG(str_sub(line, 0, line.n)), STR_ARG(str_sub(answer, 9, 12)));
    struct str backend = line_value(head, S("x-from"), &from), got = STR_NONE;
    if (backend.p) {
        str_split(body, '\n', &got, &(struct str){0});
        strbuf_addf(out, " " STR_FMT " " STR_FMT, STR_ARG(backend),
                    STR_ARG(str_sub(got, 0, got.n > 10 ? got.n - 10 : 0)));
    }
    for (size_t i = 0; i < nshow; i++)
        header_show(out, show[i].p[0] == '?' ? body : head, str_sub(show[i], 1, show[i].n),
                    show[i].p[0] == '?' ? "?" : "!");
    strbuf_addc(out, '\n');
}

static bool is_request(struct str line)
{
    static const char *const methods[] = {"TLS ", "GET ", "POST ", "OPTIONS ", "PUT ", "HEAD ", "DELETE ", "PATCH "};
    for (size_t i = 0; i < countof(methods); i++)
        if (str_starts(line, str_of(methods[i])))
            return true;
    return false;
}

static struct door_story last_case;

/* Each case is one part in the place of the case's before it, in the same proxy. */
static void case_answer(struct str input, struct strbuf *out)
{
    struct door_story t = {0};
    ARRAY(struct str) requests = {0};
    for (struct str rest = input, line; str_cut(&rest, '\n', &line);)
        if (is_request(line))
            array_push(&requests, line);
        else if (line.n && line.p[0] != '#')
            door_story_read(&t, line);
    strbuf_reset(&w.told);
    array_each (p, &last_case.pools)
        door_pool_del(w.door, p->key);
    array_each (p, &t.pools)
        door_pool_put(w.door, p);
    door_part_put(w.door, S("test"), &t.part);
    until_applied();
    strbuf_add(out, strbuf_str(&w.told));
    array_each (r, &requests)
        if (str_starts(*r, S("TLS ")))
            tls_try(*r, out);
        else
            request_try(*r, out);
    array_fini(&requests);
    door_story_fini(&last_case);
    last_case = t;
}

TEST(door_requests)
{
    if (!world_enter())
        return;
    test_transcript("tests/edge/door.txt", case_answer);
    door_story_fini(&last_case);
    world_leave();
}

static void story_put(const char *source, const char *text)
{
    struct door_story t = {0};
    for (struct str rest = str_of(text), line; str_cut(&rest, '\n', &line);)
        if (line.n)
            door_story_read(&t, line);
    array_each (p, &t.pools)
        door_pool_put(w.door, p);
    door_part_put(w.door, str_of(source), &t.part);
    door_story_fini(&t);
}

static void check_answer(const char *request, const char *want)
{
    AUTO(strbuf_fini) struct strbuf out = STRBUF(1 << 16);
    request_try(str_of(request), &out);
    CHECK_STR(strbuf_str(&out), str_of(want));
}

/* The name of the admin socket: another after each start of the proxy. */
static void proxy_generation(char out[256])
{
    char path[200];
    snprintf(path, sizeof path, "%s/admin", w.run);
    DIR *dir = opendir(path);
    CHECK(dir != NULL);
    *out = 0;
    for (struct dirent *e; (e = readdir(dir));)
        if (e->d_name[0] != '.')
            snprintf(out, 256, "%s", e->d_name);
    closedir(dir);
}

static const char listener_line[] = "listener http 80\n";
static const char one_line[] = "pool one 9001\nroute http one.org / pool=one\n";
static const char two_line[] = "pool two 9002\nroute http two.org / pool=two\n";

/* Who starts anew hears of everything in another order, and changes nothing of the proxy. */
TEST(door_restart)
{
    if (!world_enter())
        return;
    char before[256], after[256];
    story_put("listener", listener_line);
    story_put("one", one_line);
    story_put("two", two_line);
    until_applied();
    check_answer("GET one.org/", "GET one.org/ -> 200 9001 GET /\n");
    proxy_generation(before);
    door_free(w.door);
    for (int i = 0; i < 20; i++)
        (void)loop_run_once(w.loop, NS_PER_MS);
    door_open();
    story_put("two", two_line);
    story_put("one", one_line);
    story_put("listener", listener_line);
    until_applied();
    proxy_generation(after);
    CHECK_STR(str_of(after), str_of(before));
    check_answer("GET one.org/", "GET one.org/ -> 200 9001 GET /\n");
    check_answer("GET two.org/", "GET two.org/ -> 200 9002 GET /\n");
    world_leave();
}

/* A new pool and a new host need no reload, and what has left leads nowhere. */
TEST(door_changes_without_reload)
{
    if (!world_enter())
        return;
    char before[256], after[256];
    story_put("listener", listener_line);
    story_put("one", one_line);
    until_applied();
    proxy_generation(before);
    story_put("two", two_line);
    until_applied();
    check_answer("GET two.org/", "GET two.org/ -> 200 9002 GET /\n");
    door_part_del(w.door, S("one"));
    door_pool_del(w.door, S("one"));
    until_applied();
    check_answer("GET one.org/", "GET one.org/ -> 404\n");
    story_put("three", "pool three 9003\nroute http two.org /three pool=three\n");
    until_applied();
    check_answer("GET two.org/three", "GET two.org/three -> 200 9003 GET /three\n");
    check_answer("GET two.org/", "GET two.org/ -> 200 9002 GET /\n");
    proxy_generation(after);
    CHECK_STR(str_of(after), str_of(before));
    world_leave();
}

/* Texts that would like to be more than texts, wherever a user can put one: the proxy goes on with the rest. */
static const char *const hostile_texts[] = {
    "\nbackend x",
    "\r\nSet-Cookie: x",
    "%[src]",
    "\\",
    "\\\\",
    "\"",
    "'",
    "\\\"",
    "#",
    "a b",
    " ",
    "\t",
    "$x",
    "${HOME}",
    "%",
    "%%",
    "%00",
    "%0a",
    "%5c",
    "<<",
    ";",
    ";show info",
    "@1",
    "*",
    "**",
    "?",
    "??00",
    "|",
    "||x",
    ".",
    "..",
    "/..",
    "a.b.c",
    "-.x.?00",
    "\x01",
    "\x7f",
    "\xff",
    "\xc3\xa9",
    "\xe2\x80\xae",
    "(",
    ")",
    "(?",
    "(?{",
    "(*ACCEPT)",
    "(*F)|x",
    "[",
    "]",
    "[[:x:]]",
    "a{99}",
    "(a*)*b",
    "\\1",
    "\\Q",
    "\\E",
    "\\C",
    "^",
    "$",
    "^$",
    "(?=x)",
    "(?i)x",
    "x\\",
    "]|.*|[",
    ")|(.*",
    "#x",
    "{",
    "}",
    "!",
    "if",
    "unless",
    "{ always_true }",
    "b1",
    "r",
    "=",
    "==",
    "\n",
    "\r",
    "&",
    "&a=b&",
    ",",
    "1,2",
    "10.0.0.0/8",
    "::/0",
    "http://",
    "$request_uri",
    "$1",
    "$9$0",
    "\\0",
    "\\x41",
};

static void hostile_put(const char *text, int where)
{
    struct door_header header = {S("x-h"), str_of(text)}, named = {str_of(text), S("v")};
    struct door_field_match field = {.name = S("x"),
                                     .value = str_of(text),
                                     .kind = where & 1 ? DOOR_MATCH_REGEX : DOOR_MATCH_EXACT},
                            other = {.name = str_of(text), .value = S("v")};
    struct str texts[] = {str_of(text)};
    struct door_cors cors = {
        .origins = texts, .norigins = 1, .methods = str_of(text), .headers = str_of(text), .max_age_s = -1};
    struct door_route r = {.listener = S("http"),
                           .host = S("hostile.org"),
                           .match = {.path = S("/"), .path_kind = DOOR_MATCH_PREFIX},
                           .action = {.pool = S("one")},
                           .owner = S("hostile")};
    struct door_part p = {0};
    switch (where) {
    case 0: r.host = str_of(text); break;
    case 1: r.match.path = str_of(text); break;
    case 2: r.match = (struct door_match){.path = str_of(text), .path_kind = DOOR_MATCH_REGEX}; break;
    case 3: r.match.method = str_of(text); break;
    case 4:
    case 5: r.match.headers = &field, r.match.nheaders = 1; break;
    case 6:
    case 7: r.match.queries = &field, r.match.nqueries = 1; break;
    case 8: r.match.headers = &other, r.match.nheaders = 1; break;
    case 9: r.match.source = str_of(text); break;
    case 10: r.action.request.set = &header, r.action.request.nset = 1; break;
    case 11: r.action.response.add = &named, r.action.response.nadd = 1; break;
    case 12: r.action.rewrite = (struct door_path){DOOR_PATH_PREFIX, str_of(text)}; break;
    case 13: r.action.rewrite_host = str_of(text); break;
    case 14: r.action.end = DOOR_REDIRECT, r.action.code = 302, r.action.to_url = str_of(text); break;
    case 15: r.action.end = DOOR_REDIRECT, r.action.code = 302, r.action.to_host = str_of(text); break;
    case 16: r.action.cors = &cors; break;
    case 17: r.action.allow = str_of(text); break;
    case 18: r.owner = str_of(text); break;
    case 19:
        r.match = (struct door_match){.path = S("/(x)"), .path_kind = DOOR_MATCH_REGEX},
        r.action.rewrite = (struct door_path){DOOR_PATH_REGEX, str_of(text)};
        break;
    default: r.match.ignore_case = true, r.match.path = str_of(text); break;
    }
    array_push(&p.routes, r);
    char source[512];
    snprintf(source, sizeof source, "hostile %d %s", where, text);
    door_part_put(w.door, str_of(source), &p);
    door_part_fini(&p);
}

TEST(door_hostile)
{
    if (!world_enter())
        return;
    story_put("listener", listener_line);
    story_put("one", one_line);
    for (int where = 0; where <= 20; where++)
        for (size_t i = 0; i < countof(hostile_texts); i++)
            hostile_put(hostile_texts[i], where);
    until_applied();
    CHECK_STR(str_of(w.failed.text), S(""));
    check_answer("GET one.org/", "GET one.org/ -> 200 9001 GET /\n");
    char config[512];
    AUTO(strbuf_fini) struct strbuf text = STRBUF(1 << 20);
    struct err err = ERR;
    snprintf(config, sizeof config, "%s/haproxy.cfg", w.run);
    CHECK_OK(file_read(AT_FDCWD, config, &text, &err), err);
    static const char *const traces[] = {"hostile", "Set-Cookie", "backend x", "always_true }\n", "HOME"};
    for (size_t i = 0; i < countof(traces); i++)
        CHECK(!str_has(strbuf_str(&text), str_of(traces[i])));
    world_leave();
}
