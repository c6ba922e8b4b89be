#include "base/test.h"
#include "oci/cgroup.h"
#include "oci/seccomp.h"
#include "oci/spec.h"
#include "wire/json.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

static struct oci_container plain(struct arena *a)
{
    struct oci_container c = {0};
    oci_container_defaults(&c, a, S("/run/shm"));
    static struct str args[] = {S_INIT("/bin/x"), S_INIT("a\"b\n\x01")};
    static struct str env[] = {S_INIT("A=b=c"), S_INIT("B=")};
    c.args = (struct strs){args, 2};
    c.env = (struct strs){env, 2};
    return c;
}

static struct str json_of_it(struct oci_container *c, struct arena *a, struct oci_notices *notices)
{
    struct err err = ERR;
    struct strbuf b = STRBUF(1 << 20);
    CHECK_OK(oci_container_json(c, a, S("/rootfs"), S("QUJD"), &b, notices, &err), err);
    CHECK_OK(json_check(strbuf_str(&b), &err), err);
    struct str text = str_dup(a, strbuf_str(&b));
    strbuf_fini(&b);
    return text;
}

TEST(a_container_becomes_config_json)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct oci_notices notices = {0};
    struct oci_container c = plain(&a);
    c.uid = 1000;
    c.groups = (uint32_t[]){5, 6};
    c.ngroups = 2;
    c.read_only_root = true;
    c.no_new_privileges = true;
    c.hostname = S("h");
    c.sysctls = (struct strs){(struct str[]){S("net.a=1")}, 1};
    struct str j = json_of_it(&c, &a, &notices);
    const char *const has[] = {
        "\"args\":[\"/bin/x\",\"a\\\"b\\u000a\\u0001\"]",
        "\"user\":{\"uid\":1000,\"gid\":0,\"additionalGids\":[5,6]}",
        "\"env\":[\"A=b=c\",\"B=\"]",
        "\"cwd\":\"/\"",
        "\"root\":{\"path\":\"/rootfs\",\"readonly\":true}",
        "\"noNewPrivileges\":true",
        "\"hostname\":\"h\"",
        "\"run.oci.seccomp_bpf_data\":\"QUJD\"",
        "\"sysctl\":{\"net.a\":\"1\"}",
        "{\"destination\":\"/dev/shm\",\"type\":\"bind\",\"source\":\"/run/shm\",\"options\":[\"rbind\",\"rw\","
        "\"nosuid\",\"nodev\",\"noexec\"]}",
        "\"CAP_NET_BIND_SERVICE\"",
        "\"/proc/kcore\""};
    for (size_t i = 0; i < countof(has); i++)
        if (!str_has(j, str_of(has[i])))
            test_failed(__FILE__, __LINE__, "%s is not in " STR_FMT, has[i], STR_ARG(j));
    CHECK(!str_has(j, S("CAP_SYS_ADMIN")) && !str_has(j, S("ambient")));
    CHECK_INT(notices.n, 0);
    oci_container_privileged(&c, &a);
    j = json_of_it(&c, &a, &notices);
    CHECK(str_has(j, S("CAP_SYS_ADMIN")) && !str_has(j, S("/proc/kcore")));
    CHECK(str_has(j, S("\"/dev/null\"")) && !str_has(j, S("\"type\":\"cgroup\"}")));
    CHECK(!str_has(
        j, S("\"destination\":\"/"
             "sys\",\"type\":\"sysfs\",\"source\":\"sysfs\",\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"ro\"]")));
}

TEST(a_container_that_cannot_be_names_the_field)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    struct oci_container c = plain(&a);
    c.args.n = 0;
    CHECK(!oci_container_json(&c, &a, S("/r"), S(""), &b, NULL, &err) && strstr(err.text, "no command specified"));
    c = plain(&a);
    c.cwd = S("relative");
    CHECK(!oci_container_json(&c, &a, S("/r"), S(""), &b, NULL, &err) && strstr(err.text, "workingDir"));
    c = plain(&a);
    c.env = (struct strs){(struct str[]){S("NOVALUE")}, 1};
    CHECK(!oci_container_json(&c, &a, S("/r"), S(""), &b, NULL, &err) && strstr(err.text, "env[0]"));
    c = plain(&a);
    c.rlimits = &(struct oci_rlimit){S("RLIMIT_NONE"), 1, 1};
    c.nrlimits = 1;
    CHECK(!oci_container_json(&c, &a, S("/r"), S(""), &b, NULL, &err) && strstr(err.text, "rlimits[0]"));
    struct oci_mount m = {S("bind"), S("relative"), S("/x"), {0}};
    c = plain(&a);
    c.mounts = &m;
    c.nmounts = 1;
    CHECK(!oci_container_json(&c, &a, S("/r"), S(""), &b, NULL, &err) && strstr(err.text, "mounts[0]: source"));
    c.sysctls = (struct strs){(struct str[]){S("bad")}, 1};
    c.nmounts = 0;
    CHECK(!oci_container_json(&c, &a, S("/r"), S(""), &b, NULL, &err) && strstr(err.text, "sysctl[0]"));
}

TEST(what_this_process_may_not_give_is_clamped_and_told)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct oci_notices notices = {0};
    struct oci_container c = plain(&a);
    struct rlimit own;
    CHECK(getrlimit(RLIMIT_NOFILE, &own) == 0);
    if (own.rlim_max == RLIM_INFINITY || oci_caps_all() & OCI_CAP(24))
        return; /* CAP_SYS_RESOURCE is here: nothing needs to be clamped */
    c.rlimits = &(struct oci_rlimit){S("RLIMIT_NOFILE"), own.rlim_max + 5, own.rlim_max + 10};
    c.nrlimits = 1;
    c.oom_score_adj = -997;
    c.has_oom_score_adj = true;
    struct str j = json_of_it(&c, &a, &notices);
    CHECK(str_has(j, arena_fmt(&a, "\"hard\":%llu", (unsigned long long)own.rlim_max)));
    CHECK(!str_has(j, S("-997")));
    CHECK_INT(notices.n, 2);
    CHECK(str_has(notices.list[0], S("oom_score_adj -997")) && str_has(notices.list[1], S("RLIMIT_NOFILE")));
}

TEST(capabilities_are_found_by_both_names)
{
    int bit;
    CHECK(oci_cap_find(S("NET_ADMIN"), &bit) && bit == 12);
    CHECK(oci_cap_find(S("cap_sys_admin"), &bit) && bit == 21);
    CHECK(!oci_cap_find(S("ALL"), &bit) && !oci_cap_find(S(""), &bit));
    CHECK_STR(str_of(oci_cap_name(0)), S("CAP_CHOWN"));
    CHECK(oci_cap_name(41) == NULL && oci_cap_name(-1) == NULL);
}

TEST(exec_takes_the_container_s_process_and_its_own_args)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf base = STRBUF(65536), out = STRBUF(65536);
    struct err err = ERR;
    struct oci_container c = plain(&a);
    c.uid = 7;
    oci_exec_base(&c, &base);
    oci_exec_json(strbuf_str(&base), (struct strs){(struct str[]){S("ls"), S("-l")}, 2}, true, &out);
    CHECK_OK(json_check(strbuf_str(&out), &err), err);
    CHECK(str_has(strbuf_str(&out),
                  S("\"env\":[\"A=b=c\",\"B=\",\"TERM=xterm\"],\"terminal\":true,\"args\":[\"ls\",\"-l\"]}")));
    CHECK(str_has(strbuf_str(&out), S("\"uid\":7")));
    /* a terminal has its own TERM, whatever the container's is; without one that stays */
    c.env = (struct strs){(struct str[]){S("A=,\"TERM=x"), S("TERM=vt100"), S("B=b")}, 3};
    strbuf_reset(&base);
    strbuf_reset(&out);
    oci_exec_base(&c, &base);
    oci_exec_json(strbuf_str(&base), (struct strs){(struct str[]){S("ls")}, 1}, true, &out);
    CHECK(str_has(strbuf_str(&out), S("\"env\":[\"A=,\\\"TERM=x\",\"B=b\",\"TERM=xterm\"],")));
    strbuf_reset(&out);
    oci_exec_json(strbuf_str(&base), (struct strs){(struct str[]){S("ls")}, 1}, false, &out);
    CHECK(str_has(strbuf_str(&out), S("\"env\":[\"A=,\\\"TERM=x\",\"B=b\",\"TERM=vt100\"],")));
}

TEST(the_seccomp_filter_is_compiled_once_and_depends_on_capabilities)
{
    char cache[200];
    struct err err = ERR;
    struct str usual, again, admin;
    (void)snprintf(cache, sizeof cache, "%s/seccomp", test_dir());
    struct seccomp *s = seccomp_open(SECCOMP_PROFILE, cache, &err);
    CHECK_OK(s, err);
    CHECK_OK(seccomp_filter(s, OCI_CAPS_DEFAULT, &usual, &err), err);
    CHECK_OK(seccomp_filter(s, OCI_CAPS_DEFAULT | OCI_CAP(21), &admin, &err), err);
    CHECK(usual.n > 1000 && usual.n % 4 == 0 && !str_eq(usual, admin));
    struct str keep = {mem_dup(usual.p, usual.n), usual.n};
    seccomp_free(s);
    s = seccomp_open(SECCOMP_PROFILE, cache, &err); /* now from disk */
    CHECK_OK(s, err);
    CHECK_OK(seccomp_filter(s, OCI_CAPS_DEFAULT, &again, &err), err);
    CHECK_STR(again, keep);
    mem_free((void *)(uintptr_t)keep.p);
    seccomp_free(s);
    CHECK(!seccomp_open("/nowhere/seccomp.json", cache, &err) && strstr(err.text, "apt-get install"));
}

static bool may_open(const char *node) /* by a process in the group */
{
    AUTO(fd_close) int fd = open(node, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    return fd >= 0 || errno == ENXIO || errno == ENODEV || errno == ENOMEDIUM;
}

/* The v2 rules on whatever v2 hierarchy this machine has: a program of the kernel's, so it is the kernel that says.
 */
TEST(devices_on_v2_are_ruled_by_a_program)
{
    struct cgroups g, v2 = {.mode = CGROUP_V2};
    struct err err = ERR;
    char node[200], null[200], path[100];
    CHECK_OK(cgroups_detect(&g, &err), err);
    (void)snprintf(v2.mount[0], sizeof v2.mount[0], "%s", g.mode == CGROUP_V2 ? g.mount[0] : g.unified);
    if (!v2.mount[0][0])
        return; /* pure v1 */
    (void)snprintf(node, sizeof node, "%s/disk", test_dir());
    (void)snprintf(null, sizeof null, "%s/null", test_dir());
    CHECK(mknod(node, S_IFBLK | 0600, makedev(7, 0)) == 0 && mknod(null, S_IFCHR | 0600, makedev(1, 3)) == 0);
    const struct oci_device loop0 = {.type = 'b', .major = 7, .minor = 0, .access = S("r")};
    for (int allowed = 0; allowed < 2; allowed++) {
        (void)snprintf(path, sizeof path, "/wherry-test-dev-%d", (int)getpid());
        const struct cgroup_devices devices = {&loop0, (size_t)allowed, false};
        const struct oci_limits none = {0};
        CHECK_OK(cgroup_create(&v2, path, &none, false, &devices, &err), err);
        AUTO(strbuf_fini) struct strbuf join = STRBUF(1000);
        cgroup_join_lines(&v2, path, &join);
        join.p[join.n - 1] = 0;
        pid_t pid = fork();
        if (pid == 0) {
            int fd = open(join.p, O_WRONLY | O_CLOEXEC);
            if (fd < 0 || write(fd, "0", 1) != 1)
                _exit(4);
            _exit((may_open(null) ? 1 : 0) | (may_open(node) ? 2 : 0));
        }
        int status;
        CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
        CHECK_OK(cgroup_remove(&v2, path, &err), err);
        CHECK_INT(WEXITSTATUS(status), allowed ? 3 : 1);
    }
}

/* They are written once crun is through: before, it would crawl under its own container's quota. */
TEST(the_cpu_quota_is_written_after_the_start)
{
    static const struct {
        enum cgroup_mode mode;
        uint64_t period;
        const char *want;
    } rows[] = {{CGROUP_V1, 0, "/cg/p/c/cpu.cfs_quota_us 50000\n"},
                {CGROUP_V1, 200000, "/cg/p/c/cpu.cfs_period_us 200000\n/cg/p/c/cpu.cfs_quota_us 50000\n"},
                {CGROUP_V2, 200000, "/cg/p/c/cpu.max 50000\n"}};
    for (size_t i = 0; i < countof(rows); i++) {
        struct cgroups g = {.mode = rows[i].mode};
        for (size_t k = 0; k < countof(g.mount); k++)
            (void)snprintf(g.mount[k], sizeof g.mount[k], "/cg");
        AUTO(strbuf_fini) struct strbuf out = STRBUF(4096);
        const struct oci_limits limits = {.cpu_quota_us = 50000, .cpu_period_us = rows[i].period}, none = {0};
        cgroup_quota_lines(&g, "/p/c", &limits, &out);
        CHECK_STR(strbuf_str(&out), str_of(rows[i].want));
        strbuf_reset(&out);
        cgroup_quota_lines(&g, "/p/c", &none, &out);
        CHECK_INT(out.n, 0);
    }
}

TEST(groups_are_made_limited_seen_and_removed)
{
    struct cgroups g;
    struct cgroup_stats st;
    struct err err = ERR;
    char root[64], path[100];
    (void)snprintf(root, sizeof root, "/wherry-test-cg-%d", (int)getpid());
    (void)snprintf(path, sizeof path, "%s/a/b", root);
    CHECK_OK(cgroups_detect(&g, &err), err);
    const struct oci_limits limits = {.cpu_shares = 256, .cpu_quota_us = 20000, .memory = 10 << 20, .pids = 7};
    CHECK_OK(cgroup_create(&g, path, &limits, false, NULL, &err), err);
    CHECK_OK(cgroup_stats(&g, path, &st, &err), err);
    CHECK_INT(st.memory_limit, 10 << 20);
    CHECK(cgroup_empty(&g, path));
    AUTO(strbuf_fini) struct strbuf join = STRBUF(4096);
    cgroup_join_lines(&g, path, &join);
    int go[2];
    CHECK(pipe2(go, O_CLOEXEC) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct str rest = strbuf_str(&join), line;
        while (str_cut(&rest, '\n', &line) && line.n) {
            AUTO_FREE char *file = str_dupz(line);
            int fd = open(file, O_WRONLY | O_CLOEXEC);
            if (fd < 0 || write(fd, "0", 1) != 1)
                _exit(1);
            fd_close(fd);
        }
        (void)!write(go[1], "x", 1);
        (void)pause();
        _exit(0);
    }
    char c;
    fd_close(go[1]);
    CHECK(read(go[0], &c, 1) == 1);
    fd_close(go[0]);
    CHECK(!cgroup_empty(&g, path));
    CHECK(!cgroup_remove(&g, root, &err) && err.kind == E_CONFLICT);
    CHECK_OK(cgroup_stats(&g, path, &st, &err), err);
    CHECK_INT(st.pids, 1);
    CHECK(!cgroup_wait_empty(&g, root, 10));
    (void)!cgroup_kill(&g, root);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
    CHECK(cgroup_wait_empty(&g, root, 5000));
    err = ERR;
    CHECK_OK(cgroup_remove(&g, root, &err), err);
    CHECK(!cgroup_stats(&g, path, &st, &err));
}
