#include "node/hooks.h"
#include "node/test_world.h"
#include "sys/file.h"
#include <fcntl.h>
#include <signal.h>

static struct str tail_of(struct world *w, const char *log, size_t lines, size_t bytes)
{
    struct err err = ERR;
    struct str path = arena_fmt(&w->arena, "%s/0.log", test_dir());
    CHECK_OK(file_write(AT_FDCWD, path.p, str_of(log), 0644, &err), err);
    return hooks_log_tail(&w->arena, path, lines, bytes);
}

#define LINE(text) "2026-01-01T00:00:00.000000000Z stdout F " text "\n"
#define PART(text) "2026-01-01T00:00:00.000000000Z stdout P " text "\n"

TEST(hooks_the_last_lines_of_a_log)
{
    static const struct {
        const char *log;
        size_t lines, bytes;
        const char *want;
    } rows[] = {
        {"", 80, 2048, ""},
        {LINE("a") LINE("b") LINE("c"), 80, 2048, "a\nb\nc\n"},
        {LINE("a") LINE("b") LINE("c"), 2, 2048, "b\nc\n"},
        {LINE("a") LINE("b") LINE("c"), 80, 3, "\nc\n"},
        {LINE("a") PART("b") PART("c") LINE("d"), 1, 2048, "bcd\n"},
        {LINE("a") PART("unfinished"), 80, 2048, "a\nunfinished"},
        {"no log of ours\n" LINE("a"), 80, 2048, "a\n"},
        {LINE("") LINE("") LINE("x"), 2, 2048, "\nx\n"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        CHECK_STR(tail_of(&w, rows[i].log, rows[i].lines, rows[i].bytes), str_of(rows[i].want));
        world_end(&w);
    }
    struct world w = {0};
    CHECK_STR(hooks_log_tail(&w.arena, S("/nothere"), 80, 2048), S(""));
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    for (int i = 0; i < 1000; i++)
        strbuf_addf(&b, LINE("line %d of many"), i);
    struct str got = tail_of(&w, b.p, 80, 2048);
    CHECK(str_ends(got, S("line 999 of many\n")));
    CHECK(str_starts(got, S("line 920 of many\n")));
    world_end(&w);
}

TEST(hooks_signals_by_name_and_number)
{
    static const struct {
        const char *name;
        int signo;
    } rows[] = {{"SIGUSR1", SIGUSR1}, {"USR1", SIGUSR1}, {"10", 10},      {"SIGQUIT", SIGQUIT}, {"", SIGTERM},
                {"NOISE", SIGTERM},   {"0", SIGTERM},    {"65", SIGTERM}, {"SIGKILL", SIGKILL}};
    for (size_t i = 0; i < countof(rows); i++)
        CHECK_INT(hooks_signal(str_of(rows[i].name)), rows[i].signo);
    static const struct {
        const char *name;
        int signo;
    } forms[] = {{"RTMIN+3", 37},        {"SIGRTMIN+3", 37}, {"sigrtmin+3", 37}, {"RTMIN", 34},
                 {"SIGRTMAX-1", 63},     {"RTMAX", 64},      {"RTMIN+31", 15},   {"RTMIN-1", 15},
                 {"RTMAX+1", 15},        {"term", SIGTERM},  {"SigInt", SIGINT}, {"CHLD", SIGCHLD},
                 {"SIGWINCH", SIGWINCH}, {"POLL", SIGIO},    {"IOT", SIGABRT},   {"SEGV", SIGSEGV},
                 {"SIG", SIGTERM},       {"37", 37}};
    for (size_t i = 0; i < countof(forms); i++)
        CHECK_INT(hooks_signal(str_of(forms[i].name)), forms[i].signo);
}

TEST(hooks_ports_by_name_and_number)
{
    struct world w = {0};
    const struct obj *pod = world_obj(&w, K(Pod),
                                      "metadata: {name: p, namespace: ns}\nspec: {containers: [{name: c, ports: "
                                      "[{name: web, containerPort: 80}]}]}");
    struct val number = val_int(8080), text = val_str_borrowed(S("81")), name = val_str_borrowed(S("web")),
               none = val_str_borrowed(S("none"));
    CHECK_INT(hooks_port(&number, world_container(pod)), 8080);
    CHECK_INT(hooks_port(&text, world_container(pod)), 81);
    CHECK_INT(hooks_port(&name, world_container(pod)), 80);
    CHECK_INT(hooks_port(&none, world_container(pod)), 0);
    world_end(&w);
}
