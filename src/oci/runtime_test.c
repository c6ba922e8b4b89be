/* runtime_test.c - what a container may expect: start and end, logs, exec, terminals, limits, devices. */
#include "oci/runtime_world_test.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

static void image_with_linked_dev(struct world *w, const char *to)
{
    struct err err = ERR;
    char tmp[80], path[PATH_MAX];
    AUTO(arena_fini) struct arena a = ARENA;
    struct image im;
    struct content *c = content_open(w->content, &err);
    CHECK_OK(c && image_read(c, &a, S("docker.io/library/busybox:1"), &im, &err), err);
    AUTO(fd_close) int fd = content_layer_tmp(c, tmp, &err);
    CHECK_OK(fd >= 0, err);
    CHECK(symlinkat(to, fd, "dev") == 0);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d%s", fd, to);
    CHECK_OK(dirs_make(path, 0755, &err), err);
    struct digest layers[] = {im.layers[0], digest_of("linked", 6)};
    CHECK_OK(content_layer_commit(c, tmp, &layers[1], &err), err);
    im.manifest = digest_of("linked manifest", 15);
    im.layers = layers;
    im.nlayers = 2;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(65536);
    image_encode(&im, &b);
    (void)snprintf(path, sizeof path, "images/%s", im.manifest.hex);
    CHECK_OK(content_file_put(c, path, strbuf_str(&b), &err), err);
    w->image = im.manifest;
    content_free(c);
}

TEST(an_image_whose_dev_is_a_link_makes_nothing_on_the_host)
{
    struct world w;
    char outside[300];
    world_begin(&w);
    (void)snprintf(outside, sizeof outside, "%s/outside", test_dir());
    CHECK(mkdir(outside, 0755) == 0);
    image_with_linked_dev(&w, outside);
    pod_start(&w, false);
    struct oci_container o = shell_run(&w, "echo x >/dev/null && ls -d /dev/. /dev/shm && echo fine");
    (void)box_run(&w, "c1", &o);
    wait_for(&w, &w.exits, 1);
    CHECK_STR(log_said(&w, "c1"), S("stdout F /dev/.\nstdout F /dev/shm\nstdout F fine\n"));
    CHECK(rmdir(outside) == 0); /* it is empty */
    world_end(&w);
}

TEST(a_container_runs_logs_and_ends)
{
    struct world w;
    struct container_status st;
    world_begin(&w);
    pod_start(&w, false);
    struct oci_container o = shell_run(&w, "echo $GREETING from $(hostname); echo oops >&2; id -u; exit 3");
    struct container *c = box_run(&w, "c1", &o);
    wait_for(&w, &w.exits, 1);
    container_status(c, &st);
    CHECK_INT(st.state, CONTAINER_EXITED);
    CHECK_INT(st.code, 3);
    CHECK(!st.oom && st.finished_ns >= st.started_ns);
    struct str text = log_said(&w, "c1");
    CHECK(str_has(text, S("stdout F hello from web-0\nstdout F 0\n")) ||
          str_has(text, S("stdout F hello from web-0\nstderr F oops\n")));
    CHECK(str_has(text, S("stderr F oops\n")));
    w.waiting = 1;
    container_remove(c, container_told, &w);
    world_must(&w);
    CHECK(container_find(w.rt, S("c1")) == NULL);
    world_end(&w);
}

TEST(exec_answers_with_output_and_code_and_is_as_confined)
{
    struct world w;
    world_begin(&w);
    pod_start(&w, false);
    struct oci_container o = shell_run(&w, "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done");
    o.uid = 12;
    o.gid = 34;
    o.has_oom_score_adj = true;
    o.oom_score_adj = 321;
    struct container *c = box_run(&w, "c1", &o);
    CHECK_STR(exec_run(&w, c, "echo out; echo err >&2; exit 4"), S("out\nerr"));
    CHECK_INT(w.code, 4);
    CHECK_STR(exec_run(&w, c, "cat /proc/1/oom_score_adj /proc/self/oom_score_adj"), S("321\n321"));
    CHECK_STR(exec_run(&w, c, "id -u; id -g; echo $GREETING; hostname"), S("12\n34\nhello\nweb-0"));
    CHECK_STR(exec_run(&w, c,
                       "while read a b; do case $a in Seccomp:|CapBnd:|CapEff:|NoNewPrivs:) echo $a $b;; esac; done "
                       "</proc/self/status"),
              S("CapEff: 0000000000000000\nCapBnd: 00000000a80425fb\nNoNewPrivs: 0\nSeccomp: 2"));
    CHECK(str_has(exec_run(&w, c, "echo x >/proc/sys/kernel/hostname"), S("Read-only file system")));
    CHECK(!w.failed);
    /* the same cgroup as its container */
    struct str groups = exec_run(&w, c, "cat /proc/self/cgroup /proc/1/cgroup");
    CHECK(str_has(groups, S("memory:/\n")) || str_has(groups, S("0::/\n")));
    /* what cannot run says why; what runs too long is ended */
    struct str nope[] = {S("/nope")}, slow[] = {S("sleep"), S("1000")};
    w.waiting = 1;
    container_exec_output(c, (struct strs){nope, 1}, 10 * NS_PER_S, output_done, &w);
    wait_done(&w);
    CHECK(w.failed && strstr(w.err.text, "/nope"));
    w.waiting = 1;
    container_exec_output(c, (struct strs){slow, 2}, 300 * NS_PER_MS, output_done, &w);
    wait_done(&w);
    CHECK(w.failed);
    CHECK_INT(w.err.kind, E_TIMEOUT);
    /* the container's own are left, when the killed one is gone */
    for (int i = 0; i < 100 && !str_eqz(exec_run(&w, c, "ps | grep -c '[s]leep 1000'"), "2"); i++)
        usleep(50000);
    CHECK_STR(exec_run(&w, c, "ps | grep -c '[s]leep 1000'"), S("2"));
    container_kill(c, SIGTERM);
    CHECK_INT(wait_exit(&w, c), 0);
    world_end(&w);
}

TEST(removal_waits_for_what_is_under_way_in_the_container)
{
    struct world w;
    world_begin(&w);
    pod_start(&w, true); /* one pid namespace: an exec outlives its container's first process */
    struct oci_container o = shell_run(&w, "sleep 1000");
    struct container *c = box_run(&w, "c1", &o);
    struct str args[] = {S("sleep"), S("1000")};
    w.waiting = 2;
    container_exec_output(c, (struct strs){args, 2}, 20 * NS_PER_S, output_done, &w);
    container_kill(c, SIGKILL);
    (void)wait_exit(&w, c);
    container_remove(c, container_told, &w);
    wait_done(&w);
    CHECK(!w.failed);
    CHECK(container_find(w.rt, S("c1")) == NULL);
    /* and for its start */
    c = box_create(&w, "c2", &o, false);
    w.waiting = 2;
    container_start(c, container_told, &w);
    container_remove(c, container_told, &w);
    wait_done(&w);
    CHECK(!w.failed);
    CHECK(container_find(w.rt, S("c2")) == NULL);
    world_end(&w);
}

TEST(what_cannot_start_says_why_and_a_killed_one_says_how)
{
    struct world w;
    world_begin(&w);
    pod_start(&w, false);
    struct oci_container o = shell_run(&w, "");
    o.args = (struct strs){(struct str[]){S("no-such-program")}, 1};
    struct container *c = box_create(&w, "c1", &o, false);
    CHECK(!w.failed);
    w.waiting = 1;
    container_start(c, container_told, &w);
    wait_done(&w);
    CHECK(w.failed && strstr(w.err.text, "no-such-program"));
    struct container_status st;
    container_status(c, &st);
    CHECK(st.state == CONTAINER_EXITED && st.code == 128);
    o = shell_run(&w, "sleep 1000");
    c = box_run(&w, "c2", &o);
    container_kill(c, SIGKILL);
    CHECK_INT(wait_exit(&w, c), 137);
    o = shell_run(&w, "echo $$ >/dev/null; kill -TERM $$; sleep 1000");
    c = box_run(&w, "c3", &o);
    container_kill(c, SIGKILL);
    CHECK_INT(wait_exit(&w, c), 137);
    /* an unknown image, and a twin */
    struct digest keep = w.image;
    w.image = digest_of("other", 5);
    (void)box_create(&w, "c4", &o, false);
    CHECK(w.failed);
    CHECK_INT(w.err.kind, E_NOT_FOUND);
    w.image = keep;
    (void)box_create(&w, "c3", &o, false);
    CHECK(w.failed);
    CHECK_INT(w.err.kind, E_ALREADY_EXISTS);
    CHECK(container_find(w.rt, S("c4")) == NULL);
    world_end(&w);
}

TEST(limits_hold_and_an_oom_kill_is_told)
{
    struct world w;
    struct container_status st;
    struct cgroup_stats stats;
    struct err err = ERR;
    world_begin(&w);
    pod_start(&w, false);
    struct oci_container o = shell_run(&w, "dd if=/dev/zero of=/dev/null bs=200M count=1; echo survived");
    o.args = (struct strs){(struct str[]){S("dd"), S("if=/dev/zero"), S("of=/dev/null"), S("bs=200M"), S("count=1")},
                           5};
    o.limits = (struct oci_limits){.memory = 32 << 20, .pids = 20, .cpu_shares = 512, .cpu_quota_us = 50000};
    struct container *c = box_run(&w, "c1", &o);
    CHECK_INT(wait_exit(&w, c), 137);
    container_status(c, &st);
    CHECK(st.oom);
    /* crun itself runs in the group: the smallest limits that people set must be enough for it */
    o = shell_run(&w, "exit 0");
    o.limits = (struct oci_limits){.memory = 6 << 20, .cpu_quota_us = 1000};
    c = box_run(&w, "small", &o);
    CHECK_INT(wait_exit(&w, c), 0);
    o = shell_run(&w, "i=0; while [ $i -lt 30 ]; do sleep 1000 & i=$((i+1)); done; echo too many");
    o.limits = (struct oci_limits){.pids = 20, .cpu_quota_us = 50000};
    c = box_run(&w, "c2", &o);
    (void)wait_exit(&w, c);
    CHECK(!str_has(log_said(&w, "c2"), S("too many")));
    CHECK(str_has(log_said(&w, "c2"), S("stderr F sh: can't fork: Resource temporarily unavailable")));
    o = shell_run(&w, "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done");
    o.limits = (struct oci_limits){.memory = 64 << 20, .cpu_quota_us = 50000};
    c = box_run(&w, "c3", &o);
    CHECK_OK(container_stats(c, &stats, &err), err);
    CHECK_INT(stats.limits.memory, 64 << 20);
    CHECK(stats.pids >= 1 && stats.memory > 0 && stats.cpu_ns > 0);
    const struct cgroups *g = runtime_cgroups(w.rt);
    const struct cgroup_bounds more = {1126, 70000, 128 << 20}, none = {2, 0, 0}, odd = {1126, 70000, 100000001};
    struct cgroup_bounds now;
    CHECK_OK(cgroup_bounds_write(g, container_cgroup(c), CGROUP_SHARES | CGROUP_QUOTA | CGROUP_BYTES, &more, &err),
             err);
    CHECK_OK(container_stats(c, &stats, &err), err);
    CHECK_INT(stats.limits.memory, 128 << 20);
    CHECK_OK(cgroup_bounds_read(g, container_cgroup(c), &more, &now, &err), err);
    CHECK(memcmp(&now, &more, sizeof now) == 0);
    CHECK_OK(cgroup_bounds_write(g, container_cgroup(c), CGROUP_SHARES | CGROUP_QUOTA | CGROUP_BYTES, &none, &err),
             err);
    CHECK_OK(cgroup_bounds_read(g, container_cgroup(c), &none, &now, &err), err);
    CHECK(memcmp(&now, &none, sizeof now) == 0);
    CHECK(cgroup_memory_used(g, container_cgroup(c)) > 0);
    CHECK_OK(cgroup_bounds_write(g, container_cgroup(c), CGROUP_BYTES, &odd, &err), err); /* whole pages of it */
    CHECK_OK(cgroup_bounds_read(g, container_cgroup(c), &odd, &now, &err), err);
    CHECK_INT(now.memory, odd.memory);
    CHECK_OK(cgroup_bounds_write(g, container_cgroup(c), CGROUP_BYTES, &more, &err), err);
    CHECK_OK(sandbox_stats(w.s, &stats, &err), err);
    AUTO(arena_fini) struct arena a = ARENA;
    struct stat file;
    (void)exec_run(&w, c, "dd if=/dev/zero of=/file bs=1M count=1");
    CHECK(stat(STR_JOIN(&a, container_folder(c, &a), S("/upper/file")).p, &file) == 0 && file.st_size == 1 << 20);
    world_end(&w);
}

TEST(devices_and_roots_are_what_the_spec_says)
{
    struct world w;
    world_begin(&w);
    pod_start(&w, false);
    struct oci_container o = shell_run(&w,
                                       "mknod /tmp/sda b 8 0 && cat /tmp/sda; touch /new && echo writable; ls /dev");
    struct container *c = box_run(&w, "c1", &o);
    (void)wait_exit(&w, c);
    struct str text = log_said(&w, "c1");
    CHECK(str_has(text, S("'/tmp/sda': Operation not permitted")));
    CHECK(str_has(text, S("stdout F writable\n")));
    CHECK(!str_has(text, S("vda")));
    o = shell_run(&w, "touch /new && echo writable; echo x >/dev/shm/f && echo shared");
    o.read_only_root = true;
    c = box_run(&w, "c2", &o);
    (void)wait_exit(&w, c);
    text = log_said(&w, "c2");
    CHECK(str_has(text, S("Read-only file system")) && !str_has(text, S("writable")) && str_has(text, S("shared")));
    /* the same /dev/shm in all containers of the pod */
    o = shell_run(
        &w,
        "cat /dev/shm/f; while read a b; do case $a in CapEff:|Seccomp:) echo $a $b;; esac; done </proc/self/status");
    oci_container_privileged(&o, &w.arena);
    c = box_run(&w, "c3", &o);
    (void)wait_exit(&w, c);
    text = log_said(&w, "c3");
    CHECK(str_has(text, S("stdout F x\n")) && str_has(text, S("Seccomp: 0")));
    CHECK(str_has(text, arena_fmt(&w.arena, "CapEff: %016llx", (unsigned long long)oci_caps_all())));
    world_end(&w);
}

TEST(long_lines_are_pieces_and_a_log_is_rotated_under_its_writer)
{
    struct world w;
    char path[PATH_MAX], moved[PATH_MAX];
    world_begin(&w);
    pod_start(&w, false);
    struct oci_container o = shell_run(&w, "head -c 40000 /dev/zero | tr '\\0' x; echo; echo short; printf open");
    struct container *c = box_run(&w, "c1", &o);
    (void)wait_exit(&w, c);
    struct str rest = log_said(&w, "c1"), line;
    const struct {
        const char *head;
        size_t n;
    } want[] = {{"stdout P ", 16384},
                {"stdout P ", 16384},
                {"stdout F ", 40000 - 2 * 16384},
                {"stdout F ", 5},
                {"stdout P ", 4}}; /* no newline was written */
    for (size_t i = 0; i < countof(want); i++) {
        CHECK(str_cut(&rest, '\n', &line));
        CHECK(str_starts(line, str_of(want[i].head)));
        CHECK_INT(line.n - 9, want[i].n);
    }
    /* every line arrives in one of the files, once, whole; the shell obeys when all of them are written */
    o = shell_run(&w, "trap 'exit 0' TERM; seq 1 20000; while :; do sleep 1000 & wait; done");
    c = box_run(&w, "c2", &o);
    wait_for(&w, &w.full, 1);
    (void)snprintf(path, sizeof path, "%s/ns_pod_uid/c2/0.log", w.logs);
    (void)snprintf(moved, sizeof moved, "%s/ns_pod_uid/c2/0.log.1", w.logs);
    CHECK(rename(path, moved) == 0);
    container_log_reopen(c);
    CHECK_STR(exec_run(&w, c, "echo settled"), S("settled")); /* the shim has done what it was told before */
    container_kill(c, SIGTERM);
    CHECK_INT(wait_exit(&w, c), 0);
    struct str new = log_said(&w, "c2");
    CHECK(rename(moved, path) == 0);
    struct str old = log_said(&w, "c2");
    AUTO(strbuf_fini) struct strbuf both = STRBUF(1 << 20), expect = STRBUF(1 << 20);
    strbuf_add(&both, old);
    strbuf_add(&both, new);
    for (int i = 1; i <= 20000; i++)
        strbuf_addf(&expect, "stdout F %d\n", i);
    CHECK(str_eq(strbuf_str(&both), strbuf_str(&expect)));
    world_end(&w);
}

static void exec_started(void *arg, int own_master)
{
    struct world *w = arg;
    w->master = own_master;
    w->waiting--;
}

static void exec_ended(void *arg, int code, const struct err *err)
{
    struct world *w = arg;
    w->code = code;
    world_done(w, err);
}

static struct str read_until(struct world *w, int fd, const char *what)
{
    int64_t end = clock_mono() + 20 * NS_PER_S;
    strbuf_reset(&w->output);
    while (!strbuf_str(&w->output).n || !str_has(strbuf_str(&w->output), str_of(what))) {
        char buf[4096];
        CHECK(clock_mono() < end);
        ssize_t n = read(fd, buf, sizeof buf);
        if (n > 0)
            strbuf_add(&w->output, (struct str){buf, (size_t)n});
        else
            (void)loop_run_once(w->loop, 20 * NS_PER_MS);
    }
    return strbuf_str(&w->output);
}

TEST(terminals_of_exec_and_of_the_container)
{
    struct world w;
    world_begin(&w);
    pod_start(&w, false);
    struct oci_container o = shell_run(&w, "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done");
    struct container *c = box_run(&w, "c1", &o);
    static const struct exec_events on = {exec_started, exec_ended};
    const struct exec_spec spec = {.args = {(struct str[]){S("sh")}, 1},
                                   .terminal = true,
                                   .rows = 33,
                                   .columns = 77,
                                   .in = -1,
                                   .out = -1,
                                   .err = -1};
    w.waiting = 1;
    (void)container_exec(c, &spec, &on, &w);
    wait_done(&w);
    CHECK(w.master >= 0);
    (void)fcntl(w.master, F_SETFL, O_NONBLOCK);
    CHECK(write(w.master, "stty size; echo $TERM\n", 22) == 22);
    CHECK(str_has(read_until(&w, w.master, "xterm\r\n"), S("33 77")));
    const struct winsize size = {.ws_row = 20, .ws_col = 50};
    CHECK(ioctl(w.master, TIOCSWINSZ, &size) == 0);
    w.waiting = 1;
    CHECK(write(w.master, "stty size; exit 5\n", 18) == 18);
    CHECK(str_has(read_until(&w, w.master, "20 50"), S("20 50")));
    wait_done(&w);
    CHECK_INT(w.code, 5);
    fd_close(w.master);
    /* the container's own, attached */
    o = shell_run(&w, "");
    o.args = (struct strs){(struct str[]){S("sh")}, 1};
    o.terminal = true;
    c = box_create(&w, "c2", &o, true);
    CHECK(!w.failed);
    w.waiting = 1;
    container_start(c, container_told, &w);
    world_must(&w);
    int pair[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    (void)container_attach(c, pair[1], pair[1], -1, NULL, NULL);
    fd_close(pair[1]);
    container_resize(c, 11, 22);
    CHECK_STR(exec_run(&w, c, "echo settled"), S("settled"));
    CHECK(write(pair[0], "stty size\n", 10) == 10);
    CHECK(str_has(read_until(&w, pair[0], "11 22"), S("11 22")));
    CHECK(write(pair[0], "exit 6\n", 7) == 7);
    CHECK_INT(wait_exit(&w, c), 6);
    CHECK(str_has(log_said(&w, "c2"), S("11 22")));
    fd_close(pair[0]);
    world_end(&w);
}

TEST(attach_without_a_terminal_feeds_stdin_once)
{
    struct world w;
    world_begin(&w);
    pod_start(&w, false);
    struct oci_container o = shell_run(&w, "echo ready; cat; echo over");
    struct container_spec spec = {.id = S("c1"), .image = w.image, .oci = &o, .stdin_open = true, .stdin_once = true};
    spec.log = arena_fmt(&w.arena, "%s/ns_pod_uid/c1/0.log", w.logs);
    w.waiting = 1;
    struct container *c = container_create(w.s, &spec, container_told, &w);
    world_must(&w);
    w.waiting = 1;
    container_start(c, container_told, &w);
    world_must(&w);
    int in[2], out[2];
    CHECK(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
    (void)fcntl(out[0], F_SETFL, O_NONBLOCK);
    (void)container_attach(c, in[0], out[1], -1, NULL, NULL);
    fd_close(in[0]);
    fd_close(out[1]);
    /* more than a pipe holds, so that somebody has to wait for somebody */
    AUTO(strbuf_fini) struct strbuf big = STRBUF(1 << 20);
    for (int i = 0; i < 20000; i++)
        strbuf_addf(&big, "%d\n", i);
    pid_t feeder = fork();
    if (feeder == 0) {
        for (size_t at = 0; at < big.n;) {
            ssize_t n = write(in[1], big.p + at, big.n - at);
            if (n <= 0)
                _exit(1);
            at += (size_t)n;
        }
        _exit(0);
    }
    fd_close(in[1]);
    w.output.max = 1 << 20;
    struct str got = read_until(&w, out[0], "over\n");
    CHECK(str_has(got, strbuf_str(&big)));
    CHECK_INT(wait_exit(&w, c), 0);
    fd_close(out[0]);
    world_end(&w);
}
