#include "base/test.h"
#include "sys/child.h"
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static bool script_run(const char *script, struct strbuf *out, struct err *err)
{
    return command_run((const char *const[]){"sh", "-c", script, NULL}, S("given"), out, 20000, err);
}

TEST(child_command_gives_its_output)
{
    struct err err = ERR;
    AUTO(strbuf_fini) struct strbuf out = STRBUF(STRBUF_TEXT);
    CHECK_OK(script_run("cat; echo; echo two >&2", &out, &err), err);
    CHECK_STR(strbuf_str(&out), S("given\ntwo\n"));
}

TEST(child_command_says_how_it_failed)
{
    static const struct {
        const char *script, *want;
    } rows[] = {
        {"echo one; echo no such thing; exit 3", "sh ended with status 3: no such thing"},
        {"exit 1", "sh ended with status 1"},
        {"kill -9 $$", "sh was killed by signal 9 (Killed)"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct err err = ERR;
        CHECK(!script_run(rows[i].script, NULL, &err));
        CHECK_STR(str_of(err.text), str_of(rows[i].want));
    }
    struct err err = ERR;
    CHECK(!command_run((const char *const[]){"/no/such", NULL}, S(""), NULL, 0, &err));
    CHECK_STR(str_of(err.text), S("execute /no/such: No such file or directory"));
    CHECK_INT(err.kind, E_NOT_FOUND);
    CHECK(!command_run((const char *const[]){"sleep", "100", NULL}, S(""), NULL, 50, &err));
    CHECK_STR(str_of(err.text), S("sleep did not end within 50 ms and was killed"));
    CHECK_INT(err.kind, E_TIMEOUT);
}

TEST(child_command_moves_more_than_a_pipe_holds)
{
    struct err err = ERR;
    AUTO(strbuf_fini) struct strbuf in = STRBUF(8 << 20), out = STRBUF(8 << 20);
    while (in.n < 3000000)
        strbuf_addz(&in, "some bytes ");
    CHECK_OK(command_run((const char *const[]){"cat", NULL}, strbuf_str(&in), &out, 20000, &err), err);
    CHECK(str_eq(strbuf_str(&in), strbuf_str(&out)));
}

TEST(child_command_does_not_wait_for_what_it_left_behind)
{
    struct err err = ERR;
    AUTO(strbuf_fini) struct strbuf out = STRBUF(STRBUF_TEXT);
    int64_t start = clock_mono();
    CHECK_OK(script_run("sleep 50 & echo $!", &out, &err), err);
    CHECK(clock_mono() - start < 10 * NS_PER_S);
    int64_t pid;
    CHECK(str_to_i64(str_trim(strbuf_str(&out)), 1, INT32_MAX, &pid));
    (void)kill((pid_t)pid, SIGKILL);
}

static int status_seen = -1;
static void end_see(struct child *c, int status)
{
    CHECK_INT(c->pid, 0);
    status_seen = status;
}

TEST(child_gets_exactly_its_descriptors)
{
    struct err err = ERR;
    AUTO(loop_free) struct loop *l = loop_new(&err);
    int leak = open("/dev/null", O_RDONLY); /* without close-on-exec, as a library might */
    int a[2], b[2];
    CHECK(leak >= 0 && pipe2(a, O_CLOEXEC) == 0 && pipe2(b, O_CLOEXEC) == 0);
    struct child_spec spec = CHILD_SPEC;
    const char *argv[] = {"sh", "-c", "echo a >&7; echo b >&8; ls /proc/self/fd | tr '\\n' ' ' >&7", NULL};
    spec.argv = argv;
    const int fds[][2] = {{a[1], 7}, {b[1], 8}};
    spec.fds = fds;
    spec.nfds = 2;
    struct child c;
    CHECK_OK(child_start(&c, l, &spec, end_see, &err), err);
    loop_run(l);
    CHECK_INT(status_seen, 0);
    char text[100] = "";
    CHECK(read(a[0], text, sizeof text - 1) > 0);
    CHECK_STR(str_of(text), S("a\n0 1 2 3 7 8 ")); /* 3: ls reads the folder */
    memset(text, 0, sizeof text);
    CHECK(read(b[0], text, sizeof text - 1) > 0);
    CHECK_STR(str_of(text), S("b\n"));
}

TEST(child_descriptors_may_change_places)
{
    struct err err = ERR;
    AUTO(loop_free) struct loop *l = loop_new(&err);
    int a[2], b[2];
    CHECK(pipe2(a, O_CLOEXEC) == 0 && pipe2(b, O_CLOEXEC) == 0);
    /* free ones, whatever this process has inherited, and far enough up that bash uses none of them itself */
    int one = fcntl(a[1], F_DUPFD_CLOEXEC, 30), two = fcntl(b[1], F_DUPFD_CLOEXEC, one + 1);
    CHECK(one >= 30 && two > one);
    char text[60];
    (void)snprintf(text, sizeof text, "echo a >&%d; echo b >&%d", two, one);
    struct child_spec spec = CHILD_SPEC;
    const char *argv[] = {"bash", "-c", text, NULL};
    spec.argv = argv;
    const int fds[][2] = {{one, two}, {two, one}};
    spec.fds = fds;
    spec.nfds = 2;
    struct child c;
    CHECK_OK(child_start(&c, l, &spec, end_see, &err), err);
    loop_run(l);
    CHECK(read(a[0], text, sizeof text) == 2 && text[0] == 'a');
    CHECK(read(b[0], text, sizeof text) == 2 && text[0] == 'b');
}

/* Sources lie where they are wanted, in between, and where a duplicate of another would go next: in every order. */
TEST(child_descriptors_may_lie_anywhere)
{
    enum { N = 4 };
    static const int places[] = {20, 21, 22, 23, 24, 25, 26, 27};
    struct err err = ERR;
    uint64_t seed = 1;
    for (int round = 0; round < 100; round++) {
        AUTO(loop_free) struct loop *l = loop_new(&err);
        int mixed[countof(places)], pipes[N][2], fds[N][2];
        memcpy(mixed, places, sizeof mixed);
        for (size_t i = countof(mixed) - 1; i > 0; i--) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            size_t k = (size_t)(seed >> 33) % (i + 1);
            int keep = mixed[i];
            mixed[i] = mixed[k];
            mixed[k] = keep;
        }
        char text[200] = "";
        for (int i = 0; i < N; i++) {
            CHECK(pipe2(pipes[i], O_CLOEXEC) == 0);
            CHECK(dup3(pipes[i][1], fds[i][0] = mixed[i], O_CLOEXEC) >= 0);
            fd_close(pipes[i][1]);
            fds[i][1] = places[(round + i * 3) % (int)countof(places)];
            (void)snprintf(text + strlen(text), sizeof text - strlen(text), "echo %d >&%d;", i, fds[i][1]);
        }
        struct child_spec spec = CHILD_SPEC;
        const char *argv[] = {"bash", "-c", text, NULL};
        spec.argv = argv;
        spec.fds = (const int(*)[2])fds;
        spec.nfds = N;
        struct child c;
        CHECK_OK(child_start(&c, l, &spec, end_see, &err), err);
        loop_run(l);
        for (int i = 0; i < N; i++) {
            char got[8] = "";
            fd_close(fds[i][0]);
            if (read(pipes[i][0], got, sizeof got) != 2 || got[0] != '0' + i)
                test_failed(__FILE__, __LINE__, "round %d: %d comes out as \"%s\" (%s)", round, i, got, text);
            fd_close(pipes[i][0]);
        }
    }
}

TEST(child_is_killed_by_its_pidfd)
{
    struct err err = ERR;
    AUTO(loop_free) struct loop *l = loop_new(&err);
    struct child_spec spec = CHILD_SPEC;
    const char *argv[] = {"sleep", "100", NULL};
    spec.argv = argv;
    struct child c;
    CHECK_OK(child_start(&c, l, &spec, end_see, &err), err);
    child_kill(&c, SIGTERM);
    loop_run(l);
    CHECK(WIFSIGNALED(status_seen) && WTERMSIG(status_seen) == SIGTERM);
    child_kill(&c, SIGTERM); /* gone: nothing happens */
}

TEST(child_starts_with_default_signals)
{
    struct err err = ERR;
    (void)signal(SIGPIPE, SIG_IGN);
    AUTO(strbuf_fini) struct strbuf out = STRBUF(STRBUF_TEXT);
    CHECK_OK(script_run("grep -E 'Sig(Blk|Ign)' /proc/self/status", &out, &err), err);
    CHECK_STR(strbuf_str(&out), S("SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"));
}

TEST(child_of_another_user_has_no_groups)
{
    if (getuid() != 0)
        return;
    struct err err = ERR;
    AUTO(loop_free) struct loop *l = loop_new(&err);
    struct child_spec spec = CHILD_SPEC;
    const char *argv[] = {"sh", "-c", "test \"$(id -u) $(id -g) $(id -G)\" = '65534 65533 65533'", NULL};
    spec.argv = argv;
    spec.uid = 65534;
    spec.gid = 65533;
    struct child c;
    CHECK_OK(child_start(&c, l, &spec, end_see, &err), err);
    loop_run(l);
    CHECK_INT(status_seen, 0);
    CHECK_INT(getuid(), 0);
}

TEST(child_of_another_user_keeps_a_capability_and_hands_it_on)
{
    if (getuid() != 0)
        return;
    struct err err = ERR;
    AUTO(loop_free) struct loop *l = loop_new(&err);
    struct child_spec spec = CHILD_SPEC;
    const char *argv[] = {"sh", "-c",
                          "test \"$(id -u)\" = 65534 && "
                          "test $(grep -cE 'Cap(Inh|Prm|Eff|Amb):.0000000000000400' /proc/self/status) = 4",
                          NULL};
    spec.argv = argv;
    spec.uid = 65534;
    spec.gid = 65533;
    spec.capabilities = 1 << CAP_NET_BIND_SERVICE;
    struct child c;
    CHECK_OK(child_start(&c, l, &spec, end_see, &err), err);
    loop_run(l);
    CHECK_INT(status_seen, 0);
}

TEST(child_is_called_as_its_starter_says)
{
    struct err err = ERR;
    AUTO(loop_free) struct loop *l = loop_new(&err);
    AUTO(strbuf_fini) struct strbuf out = STRBUF(STRBUF_TEXT);
    int ends[2];
    char text[64];
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    struct child_spec spec = CHILD_SPEC;
    spec.argv = (const char *const[]){"a name", "-c", "echo $0", NULL};
    spec.path = "/bin/sh";
    spec.out = ends[1];
    struct child c;
    CHECK_OK(child_start(&c, l, &spec, end_see, &err), err);
    close(ends[1]);
    loop_run(l);
    ssize_t n = read(ends[0], text, sizeof text);
    CHECK_STR(((struct str){text, (size_t)MAX(n, 0)}), S("a name\n"));
    close(ends[0]);
}

TEST(what_the_kernel_says_of_a_process)
{
    struct process_stat st, same;
    CHECK(prctl(PR_SET_NAME, "a) R (b") == 0); /* a name may look like what follows it */
    CHECK(process_stat(getpid(), &st) && process_stat(getpid(), &same));
    CHECK_STR(str_of(st.name), S("a) R (b"));
    CHECK(st.state == 'R' && st.started > 0 && st.started == same.started);
    CHECK(st.cpu >= 0 && st.cpu <= same.cpu);
    CHECK(!process_stat(INT32_MAX, &st));
}
