/* sandbox_test.c - pods: what outlives the node, what they share, that nobody traces crun, what is left of them. */
#include "oci/runtime_world_test.h"
#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static void adopt_done(void *arg)
{
    struct world *w = arg;
    w->waiting--;
}

static void runtime_again(struct world *w)
{
    runtime_free(w->rt);
    world_open(w);
    w->waiting = 1;
    struct err err = ERR;
    CHECK_OK(runtime_adopt(w->rt, adopt_done, w, &err), err);
    wait_done(w);
    w->s = sandbox_find(w->rt, S("pod1"));
    CHECK(w->s);
}

TEST(what_runs_is_found_again)
{
    struct world w;
    struct container_status before, after;
    world_begin(&w);
    pod_start(&w, false);
    struct oci_container o = shell_run(&w,
                                       "echo one; trap 'echo two; exit 7' TERM; while :; do sleep 1000 & wait; done");
    struct container *c = box_run(&w, "c1", &o);
    container_status(c, &before);
    o = shell_run(&w, "exit 9");
    (void)box_run(&w, "c2", &o);
    wait_for(&w, &w.exits, 1);
    pid_t shim = sandbox_pid(w.s);
    runtime_again(&w);
    CHECK_STR(sandbox_note(w.s), S("the pod's\nnote"));
    CHECK_STR(sandbox_name(w.s), S("default/web"));
    CHECK(!sandbox_lost(w.s) && sandbox_pid(w.s) == shim);
    c = container_find(w.rt, S("c1"));
    CHECK(c && str_eqz(container_note(c), "a note"));
    container_status(c, &after);
    CHECK(after.state == CONTAINER_RUNNING && after.pid == before.pid);
    container_status(container_find(w.rt, S("c2")), &after);
    CHECK(after.state == CONTAINER_EXITED && after.code == 9);
    CHECK(content_used(runtime_content(w.rt), &w.image));
    container_kill(c, SIGTERM);
    CHECK_INT(wait_exit(&w, c), 7);
    CHECK_STR(log_said(&w, "c1"), S("stdout F one\nstdout F two\n"));
    world_end(&w);
}

TEST(a_dead_shim_is_told_and_cleaned_up_after)
{
    struct world w;
    struct container_status st;
    world_begin(&w);
    pod_start(&w, false);
    struct oci_container o = shell_run(&w, "exit 9");
    struct container *c = box_run(&w, "c2", &o);
    CHECK_INT(wait_exit(&w, c), 9);
    o = shell_run(&w, "sleep 1000");
    c = box_run(&w, "c1", &o);
    container_status(c, &st);
    CHECK(kill(sandbox_pid(w.s), SIGKILL) == 0);
    wait_for(&w, &w.lost, 1);
    CHECK(sandbox_lost(w.s));
    container_status(c, &st);
    CHECK(st.state == CONTAINER_EXITED && st.lost && st.code == 137);
    /* also for one who comes later; what had ended keeps its code */
    runtime_again(&w);
    CHECK(sandbox_lost(w.s));
    container_status(container_find(w.rt, S("c2")), &st);
    CHECK(st.state == CONTAINER_EXITED && !st.lost && st.code == 9);
    world_end(&w);
}

TEST(containers_of_a_pod_share_what_the_pod_shares)
{
    struct world w;
    world_begin(&w);
    pod_start(&w, true);
    struct oci_container o = shell_run(&w, "sleep 1234 & wait");
    struct container *a = box_run(&w, "c1", &o);
    o = shell_run(&w, "sleep 1000 & wait");
    struct container *b = box_run(&w, "c2", &o);
    CHECK_STR(exec_run(&w, b, "ps | grep -c '[s]leep 1234'"), S("2")); /* sh -c and sleep */
    CHECK_STR(exec_run(&w, b, "cat /proc/sys/net/ipv4/ip_unprivileged_port_start"), S("0"));
    struct err err = ERR;
    AUTO(fd_close) int net = sandbox_netns(w.s, &err);
    CHECK_OK(net >= 0, err);
    struct stat mine, theirs;
    char path[64];
    struct container_status st;
    container_status(a, &st);
    (void)snprintf(path, sizeof path, "/proc/%d/ns/net", (int)st.pid);
    CHECK(fstat(net, &mine) == 0 && stat(path, &theirs) == 0 && mine.st_ino == theirs.st_ino);
    container_kill(a, SIGKILL);
    CHECK_INT(wait_exit(&w, a), 137);
    CHECK(str_eqz(exec_run(&w, b, "ps | grep -c '[s]leep 1234'"), "0"));
    world_end(&w);
}

/* What it started has its stdout, lives on among the pod's processes, and writes faster than lines are logged. */
TEST(an_end_is_told_whoever_goes_on_writing)
{
    struct world w;
    world_begin(&w);
    pod_start(&w, true);
    struct oci_container o = shell_run(&w, "yes '' | head -c 1000000 > /f; for i in 1 2 3 4 5 6; do "
                                           "(while :; do dd if=/f bs=1M 2>/dev/null; done) & done; exit 3");
    struct container *c = box_run(&w, "c1", &o);
    CHECK_INT(wait_exit(&w, c), 3);
    world_end(&w);
}

static struct str status_field(struct arena *a, pid_t pid, const char *name)
{
    char path[64];
    AUTO(strbuf_fini) struct strbuf b = STRBUF(65536);
    struct err err = ERR;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    CHECK_OK(small_read(path, 65536, &b, &err), err);
    struct str rest = strbuf_str(&b), line, key, value;
    while (str_cut(&rest, '\n', &line))
        if (str_split(line, ':', &key, &value) && str_eqz(key, name))
            return str_dup(a, str_trim(value));
    return S("");
}

static size_t entries_in(const char *path)
{
    size_t n = 0;
    DIR *dir = opendir(path);
    if (!dir)
        return 0;
    for (struct dirent *e; (e = readdir(dir));)
        n += e->d_name[0] != '.';
    (void)closedir(dir);
    return n;
}

/* What a container with SYS_PTRACE could make PID 1 of its pod do. */
TEST(the_init_of_a_shared_pid_namespace_owns_nothing)
{
    struct world w;
    world_begin(&w);
    AUTO(arena_fini) struct arena a = ARENA;
    pod_start(&w, true);
    struct oci_container o = shell_run(&w, "sleep 1000 & wait");
    struct container *c = box_run(&w, "c1", &o);
    pid_t init = w.s->init_pid;
    CHECK(init > 0);
    const struct {
        const char *field, *want;
    } rows[] = {{"CapInh", "0000000000000000"},
                {"CapPrm", "0000000000000000"},
                {"CapEff", "0000000000000000"},
                {"CapAmb", "0000000000000000"},
                {"NoNewPrivs", "1"},
                {"Seccomp", "2"},
                {"Uid", "65534\t65534\t65534\t65534"},
                {"Gid", "65534\t65534\t65534\t65534"},
                {"Groups", ""}};
    for (size_t i = 0; i < countof(rows); i++)
        CHECK_STR(status_field(&a, init, rows[i].field), str_of(rows[i].want));
    char path[64], to[200] = "";
    (void)snprintf(path, sizeof path, "/proc/%d/root/.", (int)init);
    CHECK_INT(entries_in(path), 0);
    struct statvfs fs;
    CHECK(statvfs(path, &fs) == 0 && fs.f_flag & ST_RDONLY);
    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)init);
    CHECK_INT(entries_in(path), 0);
    (void)snprintf(path, sizeof path, "/proc/%d/exe", (int)init);
    CHECK(readlink(path, to, sizeof to - 1) > 0 && str_starts(str_of(to), S("/memfd:")));
    CHECK(open(path, O_WRONLY | O_CLOEXEC) < 0);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(65536);
    struct err err = ERR;
    (void)snprintf(path, sizeof path, "/proc/%d/mountinfo", (int)init);
    CHECK_OK(small_read(path, 65536, &b, &err), err);
    CHECK(str_find_char(strbuf_str(&b), '\n') == (ptrdiff_t)b.n - 1); /* one line: its root */
    /* and from inside: it is there, and reaps what is left to it */
    CHECK_STR(exec_run(&w, c, "(sleep 0 & ) ; cat /proc/1/comm"), S("wherry-init"));
    CHECK_STR(exec_run(&w, c, "ls -A /proc/1/root/. 2>/dev/null; ls -A /proc/1/fd/. 2>/dev/null"), S(""));
    world_end(&w);
}

/* One that can trace sees nothing of crun: it is frozen until the program begins. What is run in it runs in its
 * groups. */
static void traced_pod(enum cgroup_mode mode, bool share_pid)
{
    struct world w;
    world_begin_on(&w, mode);
    pod_start(&w, share_pid);
    struct oci_container o = shell_run(&w, "sleep 1000 & wait"), plain = o;
    o.capabilities |= OCI_CAP(CAP_SYS_PTRACE);
    struct container *c = box_run(&w, "c1", &o);
    CHECK_STR(exec_run(&w, c, "grep -v ':/$' /proc/self/cgroup; echo done"), S("done"));
    struct container *other = box_run(&w, "c2", &plain);
    for (int i = 0; i < 20; i++) {
        CHECK_STR(exec_run(&w, other, "echo fine"), S("fine"));
        CHECK_STR(exec_run(&w, c, "echo fine"), S("fine"));
    }
    /* nothing stays frozen, also where the program is not there */
    (void)exec_run(&w, c, "exec /nowhere");
    CHECK_STR(exec_run(&w, c, "kill -0 1 && sleep 0.01 && echo runs"), S("runs"));
    container_kill(c, SIGKILL);
    CHECK_INT(wait_exit(&w, c), 137);
    world_end(&w);
}

TEST(nobody_traces_crun)
{
    traced_pod(CGROUP_HYBRID, false);
}

TEST(nobody_traces_crun_among_shared_processes)
{
    traced_pod(CGROUP_HYBRID, true);
}

TEST(nobody_traces_crun_on_v2)
{
    traced_pod(CGROUP_V2, true);
}

/* The shim ended while somebody was frozen: its pod is taken away all the same. */
TEST(what_a_dead_shim_has_left_frozen_goes)
{
    struct world w;
    char file[2 * SHIM_PATH];
    world_begin(&w);
    pod_start(&w, false);
    struct oci_container o = shell_run(&w, "sleep 1000");
    struct container *c = box_run(&w, "c1", &o);
    cgroup_freeze_file(runtime_cgroups(w.rt), c->cgroup, file, sizeof file);
    AUTO(fd_close) int fd = open(file, O_WRONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    const char *word = strstr(file, "freezer.state") ? "FROZEN" : "1";
    CHECK(write(fd, word, strlen(word)) > 0);
    CHECK(kill(w.s->pid, SIGKILL) == 0);
    wait_for(&w, &w.lost, 1);
    world_end(&w);
}

/* More than a socket holds: what does not fit waits, and nobody hears that the shim is gone. */
TEST(a_shim_that_is_slow_to_read_hears_of_all_containers)
{
    struct world w;
    world_begin(&w);
    pod_start(&w, false);
    CHECK(kill(w.s->pid, SIGSTOP) == 0);
    struct oci_container o = shell_run(&w, "true");
    for (int i = 0; i < SHIM_CONTAINERS - 1; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "c%d", i);
        struct container_spec cs = {.id = str_of(id), .image = w.image, .oci = &o};
        w.waiting++;
        (void)container_create(w.s, &cs, container_told, &w);
    }
    for (int i = 0; i < 20000 && list_empty(&w.s->unsent); i++)
        (void)loop_run_once(w.loop, NS_PER_MS);
    CHECK(!list_empty(&w.s->unsent));
    CHECK(kill(w.s->pid, SIGCONT) == 0);
    world_must(&w);
    CHECK(!sandbox_lost(w.s));
    for (struct container *c = container_next(w.s, NULL); c; c = container_next(w.s, c)) {
        struct container_status st;
        container_status(c, &st);
        CHECK(st.state == CONTAINER_CREATED);
    }
    world_end(&w);
}

/* The node lost it from sight (its link broke, say), and takes its pod away: then it goes, too. */
TEST(a_shim_that_nobody_can_talk_to_ends_with_its_pod)
{
    struct world w;
    world_begin(&w);
    pod_start(&w, true);
    struct oci_container o = shell_run(&w, "sleep 1000");
    (void)box_run(&w, "c1", &o);
    char path[300];
    AUTO(fd_close) int shim = (int)syscall(SYS_pidfd_open, w.s->pid, 0);
    AUTO(fd_close) int init = (int)syscall(SYS_pidfd_open, w.s->init_pid, 0);
    CHECK(shim >= 0 && init >= 0);
    (void)snprintf(path, sizeof path, "%s/sock", w.s->dir);
    CHECK(unlink(path) == 0);
    runtime_again(&w);
    CHECK(sandbox_lost(w.s));
    w.waiting++;
    sandbox_stop(w.s, sandbox_told, &w);
    wait_done(&w);
    world_must(&w);
    struct pollfd p[] = {{shim, POLLIN, 0}, {init, POLLIN, 0}};
    CHECK(poll(&p[0], 1, 10000) == 1);
    for (int i = 0; i < 1000 && poll(&p[1], 1, 10) == 0; i++) /* it waits for its orphans to be reaped, here by us */
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
    CHECK(poll(&p[1], 1, 0) == 1);
    w.s = NULL;
    world_end(&w);
}

TEST(a_host_with_cgroup_v2_alone)
{
    struct world w;
    struct container_status st;
    world_begin_on(&w, CGROUP_V2);
    CHECK_INT(runtime_cgroups(w.rt)->mode, CGROUP_V2);
    pod_start(&w, false);
    struct oci_container o = shell_run(
        &w, "mknod /tmp/sda b 8 0 && cat /tmp/sda; cat /dev/null && echo null; cat /proc/self/cgroup; ls "
            "/sys/fs/cgroup/cgroup.procs; trap 'exit 0' TERM; while :; do sleep 1000 & wait; done");
    struct container *c = box_run(&w, "c1", &o);
    container_status(c, &st);
    CHECK(str_ends(exec_run(&w, c, "cat /proc/self/cgroup"), S("0::/")));
    struct str text;
    int64_t end = clock_mono() + 20 * NS_PER_S; /* its last word comes when it gets to it */
    while (!str_has(text = log_said(&w, "c1"), S("stdout F /sys/fs/cgroup/cgroup.procs"))) {
        CHECK(clock_mono() < end);
        (void)loop_run_once(w.loop, 20 * NS_PER_MS);
    }
    CHECK(str_has(text, S("'/tmp/sda': Operation not permitted")) && str_has(text, S("stdout F null\n")));
    container_kill(c, SIGTERM);
    CHECK_INT(wait_exit(&w, c), 0);
    world_end(&w);
}

TEST(a_sandbox_that_cannot_be_says_why_and_leaves_nothing)
{
    struct world w;
    struct cgroup_stats st;
    struct err err = ERR;
    char path[PATH_MAX];
    world_begin(&w);
    const struct {
        struct sandbox_spec spec;
        const char *want;
    } cases[] = {
        {{.id = S("bad"), .cgroup = S("/bad"), .sysctls = {(struct str[]){S("net.no.such=1")}, 1}},
         "sysctl net.no.such=1"},
        {{.id = S("bad"), .cgroup = S("/bad"), .sysctls = {(struct str[]){S("../../../tmp/x=1")}, 1}}, ".. in it"},
        {{.id = S("bad"), .cgroup = S("/bad"), .sysctls = {(struct str[]){S("net.ipv4.tcp_syncookies=1\nb=1")}, 1}},
         "a line in each"},
        {{.id = S("../bad"), .cgroup = S("/bad")}, "id: \"../bad\""},
        {{.id = S("bad"), .cgroup = S("/../bad")}, "cgroup:"},
        {{.id = S("bad"),
          .cgroup = S("/bad"),
          .hostname = S("0123456789012345678901234567890123456789012345678901234567890123456789")},
         "hostname"},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        w.waiting = 1;
        (void)sandbox_start(w.rt, &cases[i].spec, sandbox_told, &w);
        wait_done(&w);
        CHECK(w.failed);
        if (!strstr(w.err.text, cases[i].want))
            test_failed(__FILE__, __LINE__, "case %zu: %s", i, w.err.text);
        CHECK(sandbox_next(w.rt, NULL) == NULL);
        (void)snprintf(path, sizeof path, "%s/pods/bad", w.state);
        CHECK(access(path, F_OK) < 0);
        (void)snprintf(path, sizeof path, "%s/bad", w.cgroup);
        CHECK(!cgroup_stats(runtime_cgroups(w.rt), path, &st, &err));
    }
    world_end(&w);
}

static int folder_entries(const char *path)
{
    int n = 0;
    DIR *d = opendir(path);
    CHECK(d);
    while (readdir(d))
        n++;
    (void)closedir(d);
    return n;
}

TEST(pods_come_and_go_without_a_trace)
{
    struct world w;
    int fds = 0;
    world_begin(&w);
    for (int i = 0; i < 8; i++) {
        pod_start(&w, i % 2);
        struct oci_container o = shell_run(&w, i % 3 ? "sleep 1000" : "exit 0");
        struct container *c = box_run(&w, "c1", &o);
        if (i % 4 == 1) { /* removed by itself, and made again under the same name */
            container_kill(c, SIGKILL);
            (void)wait_exit(&w, c);
            w.waiting = 1;
            container_remove(c, container_told, &w);
            world_must(&w);
            (void)box_run(&w, "c1", &o);
        }
        if (i == 6) { /* stopped while one is being made */
            const struct container_spec spec = {.id = S("c2"), .image = w.image, .oci = &o};
            w.waiting = 2;
            (void)container_create(w.s, &spec, container_told, &w);
            sandbox_stop(w.s, sandbox_told, &w);
            wait_done(&w);
        } else {
            w.waiting = 1;
            sandbox_stop(w.s, sandbox_told, &w);
            world_must(&w);
        }
        w.s = NULL;
        CHECK_INT(folder_entries(arena_fmt(&w.arena, "%s/pods", w.state).p), 2);
        CHECK_INT(folder_entries(arena_fmt(&w.arena, "%s/crun", w.state).p), 2);
        CHECK_INT(folder_entries(arena_fmt(&w.arena, "%s/containers", w.data).p), 2);
        CHECK_INT(folder_entries(arena_fmt(&w.arena, "%s/uses", w.content).p), 2);
        if (i == 1)
            fds = folder_entries("/proc/self/fd");
    }
    CHECK_INT(folder_entries("/proc/self/fd"), fds);
    world_end(&w);
}

struct held {
    struct job job;
    int until; /* descriptor whose other end closes */
    int *over;
};

static void pool_hold(struct job *j)
{
    char byte;
    (void)!read(container_of(j, struct held, job)->until, &byte, 1);
}

static void hold_over(struct job *j)
{
    ++*container_of(j, struct held, job)->over;
}

/* Somebody's millions of files take minutes to remove. While removals (or anything else) hold every thread, others
 * are removed all the same. */
TEST(removals_wait_for_no_thread)
{
    struct world w;
    int until[2], over = 0;
    struct held held[16];
    world_begin(&w);
    pod_start(&w, false);
    struct oci_container o = shell_run(&w, "true");
    struct container *c = box_run(&w, "c1", &o);
    wait_for(&w, &w.exits, 1);
    CHECK(pipe2(until, O_CLOEXEC) == 0);
    for (size_t i = 0; i < countof(held); i++) {
        held[i] = (struct held){.until = until[0], .over = &over};
        job_start(&held[i].job, w.loop, pool_hold, hold_over);
    }
    w.waiting = 1;
    container_remove(c, container_told, &w);
    world_must(&w);
    w.waiting = 1;
    sandbox_stop(w.s, sandbox_told, &w);
    world_must(&w);
    w.s = NULL;
    CHECK_INT(over, 0);
    fd_close(until[1]);
    wait_for(&w, &over, (int)countof(held));
    fd_close(until[0]);
    world_end(&w);
}
