#include "base/test.h"
#include "oci/cgroup_stats.h"
#include "oci/seccomp.h"
#include "oci/spec.h"
#include "wire/json.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

static struct oci_container plain_container(struct arena *a)
{
    struct oci_container c = {0};
    oci_container_defaults(&c, a, S("/run/shm"));
    static struct str args[] = {S_INIT("/bin/x"), S_INIT("a\"b\n\x01")};
    static struct str env[] = {S_INIT("A=b=c"), S_INIT("B=")};
    c.args = (struct strs){args, 2};
    c.env = (struct strs){env, 2};
    return c;
}

/* What lies in a sealed mount has its place made there; what lies in one in between has it in that one. */
TEST(places_in_sealed_mounts_are_known)
{
    AUTO(arena_fini) struct arena a = ARENA;
    static const struct oci_mount mounts[] = {
        {.type = S_INIT("tmpfs"), .source = S_INIT("tmpfs"), .target = S_INIT("/s/early")},
        {.type = S_INIT("bind"), .source = S_INIT("/v/s"), .target = S_INIT("/s"), .seal = OCI_SEALED},
        {.type = S_INIT("bind"), .source = S_INIT("/v/open"), .target = S_INIT("/open")},
        {.type = S_INIT("bind"), .source = S_INIT("/v/a"), .target = S_INIT("/s/a")},
        {.type = S_INIT("bind"), .source = S_INIT("/v/b"), .target = S_INIT("/s/x/b"), .beneath = S_INIT("p/q")},
        {.type = S_INIT("tmpfs"), .source = S_INIT("tmpfs"), .target = S_INIT("/s/t")},
        {.type = S_INIT("bind"), .source = S_INIT("/v/c"), .target = S_INIT("/s/a/c")},
        {.type = S_INIT("bind"), .source = S_INIT("/v/d"), .target = S_INIT("/sd")},
        {.type = S_INIT("bind"), .source = S_INIT("/v/e"), .target = S_INIT("/open/e"), .seal = OCI_SEALED_DEEP},
    };
    struct oci_container c = {.mounts = mounts, .nmounts = countof(mounts)};
    struct oci_bind *binds;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(4096);
    size_t n = oci_binds_place(&c, &a, "/f", &binds);
    for (size_t i = 0; i < n; i++) {
        strbuf_addf(&b, STR_FMT "|" STR_FMT ":", STR_ARG(binds[i].root), STR_ARG(binds[i].beneath));
        for (size_t k = 0; k < binds[i].ninner; k++)
            strbuf_addf(&b, " " STR_FMT "=" STR_FMT "|" STR_FMT, STR_ARG(binds[i].inner[k].path),
                        STR_ARG(binds[i].inner[k].root), STR_ARG(binds[i].inner[k].beneath));
        strbuf_addc(&b, '\n');
    }
    CHECK_STR(strbuf_str(&b), S("/v/s|: a=/v/a| x/b=/v/b|p/q t=|\n/v/b|p/q:\n/v/e|:\n"));
    CHECK_STR(c.mounts[1].source, S("/f/0"));
    CHECK_STR(c.mounts[3].source, S("/v/a"));
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
    struct oci_container c = plain_container(&a);
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

/* crun finds groups, devices and seccomp done; another runtime does them itself, from config.json. */
TEST(another_runtime_is_told_what_crun_finds_done)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct oci_notices notices = {0};
    struct oci_container c = plain_container(&a);
    const struct oci_device fuse = {S("/dev/fuse"), 'c', 10, 229, 0666, 0, 0, S("rw")};
    c.limits = (struct oci_limits){.cpu_shares = 512, .cpu_quota_us = 50000, .memory = 1 << 20};
    c.devices = &fuse;
    c.ndevices = 1;
    CHECK(!str_has(json_of_it(&c, &a, &notices), S("resources")));
    c.other_runtime = true;
    c.cgroup = S("/w/pod1/c1");
    c.seccomp_json = S("{\"defaultAction\":\"SCMP_ACT_ERRNO\"}");
    struct str j = json_of_it(&c, &a, &notices);
    const char *const has[] = {
        "\"cgroupsPath\":\"/w/pod1/c1\"",
        "\"devices\":[{\"allow\":false,\"access\":\"rwm\"},{\"allow\":true,\"type\":\"c\",\"major\":10,\"minor\":229,"
        "\"access\":\"rw\"}]",
        "\"cpu\":{\"shares\":512,\"quota\":50000,\"period\":100000}", "\"memory\":{\"limit\":1048576}",
        "\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ERRNO\"}"};
    for (size_t i = 0; i < countof(has); i++)
        if (!str_has(j, str_of(has[i])))
            test_failed(__FILE__, __LINE__, "%s is not in " STR_FMT, has[i], STR_ARG(j));
    oci_container_privileged(&c, &a);
    CHECK(str_has(json_of_it(&c, &a, &notices), S("\"devices\":[{\"allow\":true,\"access\":\"rwm\"}]")));
}

TEST(users_of_a_pods_own_have_every_bind_under_their_ids)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct oci_notices notices = {0};
    struct oci_container c = plain_container(&a);
    struct str ro[] = {S("rbind"), S("rprivate"), S("ro")}, deep[] = {S("rbind"), S("rro")};
    const struct oci_mount mounts[] = {
        {.type = S("proc"), .source = S("proc"), .target = S("/proc")},
        {.type = S("bind"), .source = S("/p/hosts"), .target = S("/etc/hosts"), .options = {ro, 3}},
        {.type = S("bind"), .source = S("/v"), .target = S("/v"), .options = {deep, 2}, .seal = OCI_SEALED_DEEP},
        {.type = S("bind"), .source = oci_volume_source(&a, 0), .target = S("/image")},
    };
    c.mounts = mounts;
    c.nmounts = countof(mounts);
    c.user_ns = S("/proc/7/fd/100");
    c.first_id = 131072;
    struct oci_bind *binds;
    CHECK_INT(oci_binds_place(&c, &a, "/b", &binds), 2);
    CHECK(binds[0].ids && binds[0].seal == OCI_SEALED && binds[1].ids && binds[1].seal == OCI_SEALED_DEEP);
    struct str j = json_of_it(&c, &a, &notices);
    const char *const has[] = {
        "{\"type\":\"user\",\"path\":\"/proc/7/fd/100\"}",
        "\"uidMappings\":[{\"containerID\":0,\"hostID\":131072,\"size\":65536}]",
        "\"gidMappings\":[{\"containerID\":0,\"hostID\":131072,\"size\":65536}]",
        "{\"destination\":\"/etc/hosts\",\"type\":\"bind\",\"source\":\"/b/0\",\"options\":[\"rbind\",\"rprivate\"]}",
        "\"source\":\"/b/1\",\"options\":[\"rbind\"]}"};
    for (size_t i = 0; i < countof(has); i++)
        if (!str_has(j, str_of(has[i])))
            test_failed(__FILE__, __LINE__, "%s is not in " STR_FMT, has[i], STR_ARG(j));
}

TEST(seccomp_as_text_has_the_rules_of_these_capabilities)
{
    struct err err = ERR;
    char dir[300];
    (void)snprintf(dir, sizeof dir, "%s/seccomp", test_dir());
    AUTO(seccomp_free) struct seccomp *s = seccomp_open(NULL, dir, &err);
    CHECK_OK(s, err);
    AUTO(strbuf_fini) struct strbuf few = STRBUF(1 << 20), all = STRBUF(1 << 20);
    seccomp_json(s, OCI_CAPS_DEFAULT, &few);
    seccomp_json(s, OCI_CAPS_DEFAULT | OCI_CAP(CAP_SYS_ADMIN), &all);
    CHECK_OK(json_check(strbuf_str(&few), &err) && json_check(strbuf_str(&all), &err), err);
    CHECK(str_starts(strbuf_str(&few), S("{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":1,")));
    CHECK(str_has(strbuf_str(&few), S("\"openat\"")) && !str_has(strbuf_str(&few), S("\"mount\"")));
    CHECK(str_has(strbuf_str(&all), S("\"mount\"")));
    CHECK(str_has(strbuf_str(&few), S("\"op\":\"SCMP_CMP_MASKED_EQ\"")));
#if defined(__x86_64__)
    CHECK(str_has(strbuf_str(&few), S("[\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\"]")));
#endif
}

TEST(a_container_that_cannot_be_names_the_field)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    struct oci_container c = plain_container(&a);
    c.args.n = 0;
    CHECK(!oci_container_json(&c, &a, S("/r"), S(""), &b, NULL, &err) && strstr(err.text, "no command specified"));
    c = plain_container(&a);
    c.cwd = S("relative");
    CHECK(!oci_container_json(&c, &a, S("/r"), S(""), &b, NULL, &err) && strstr(err.text, "workingDir"));
    c = plain_container(&a);
    c.env = (struct strs){(struct str[]){S("NOVALUE")}, 1};
    CHECK(!oci_container_json(&c, &a, S("/r"), S(""), &b, NULL, &err) && strstr(err.text, "env[0]"));
    c = plain_container(&a);
    c.rlimits = &(struct oci_rlimit){S("RLIMIT_NONE"), 1, 1};
    c.nrlimits = 1;
    CHECK(!oci_container_json(&c, &a, S("/r"), S(""), &b, NULL, &err) && strstr(err.text, "rlimits[0]"));
    struct oci_mount m = {.type = S("bind"), .source = S("relative"), .target = S("/x")};
    c = plain_container(&a);
    c.mounts = &m;
    c.nmounts = 1;
    CHECK(!oci_container_json(&c, &a, S("/r"), S(""), &b, NULL, &err) && strstr(err.text, "mounts[0]: source"));
    c.sysctls = (struct strs){(struct str[]){S("bad")}, 1};
    c.nmounts = 0;
    CHECK(!oci_container_json(&c, &a, S("/r"), S(""), &b, NULL, &err) && strstr(err.text, "sysctl[0]"));
}

/* The runtime would end them there: "/proc" of the first. */
TEST(no_text_of_a_container_has_a_nul)
{
    static const struct {
        struct str text;
        bool ok;
    } rows[] = {{{"/proc\0x", 7}, false},  {{"/x\\\0", 4}, false},       {{"/\\\\\0", 4}, false},
                {{"/x\\u0000y", 9}, true}, {{"/x\\\\u0000y", 10}, true}, {{"/proc", 5}, true}};
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct oci_mount m = {.type = S("bind"), .source = S("/v"), .target = rows[i].text};
        struct str args[] = {S("x"), rows[i].text};
        for (int place = 0; place < 3; place++) {
            struct err err = ERR;
            AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
            struct oci_container c = plain_container(&a);
            if (place == 0)
                c.cwd = rows[i].text;
            else if (place == 1)
                c.args = (struct strs){args, 2};
            else
                c.mounts = &m, c.nmounts = 1;
            bool ok = oci_container_json(&c, &a, S("/r"), S(""), &b, NULL, &err);
            CHECK(ok == rows[i].ok && (ok || strstr(err.text, "NUL")));
        }
    }
}

TEST(what_this_process_may_not_give_is_clamped_and_told)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct oci_notices notices = {0};
    struct oci_container c = plain_container(&a);
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
    struct oci_container c = plain_container(&a);
    c.uid = 7;
    oci_exec_base(&c, &base);
    oci_exec_json(strbuf_str(&base), (struct strs){(struct str[]){S("ls"), S("-l")}, 2},
                  &(struct oci_terminal){33, 77}, &out);
    CHECK_OK(json_check(strbuf_str(&out), &err), err);
    CHECK(str_has(
        strbuf_str(&out),
        S("\"env\":[\"A=b=c\",\"B=\",\"TERM=xterm\"],\"terminal\":true,\"consoleSize\":{\"height\":33,\"width\":77},"
          "\"args\":[\"ls\",\"-l\"]}")));
    CHECK(str_has(strbuf_str(&out), S("\"uid\":7")));
    /* a terminal has its own TERM, whatever the container's is; without one that stays */
    c.env = (struct strs){(struct str[]){S("A=,\"TERM=x"), S("TERM=vt100"), S("B=b")}, 3};
    strbuf_reset(&base);
    strbuf_reset(&out);
    oci_exec_base(&c, &base);
    oci_exec_json(strbuf_str(&base), (struct strs){(struct str[]){S("ls")}, 1}, &(struct oci_terminal){0}, &out);
    CHECK(str_has(strbuf_str(&out), S("\"env\":[\"A=,\\\"TERM=x\",\"B=b\",\"TERM=xterm\"],")));
    strbuf_reset(&out);
    oci_exec_json(strbuf_str(&base), (struct strs){(struct str[]){S("ls")}, 1}, NULL, &out);
    CHECK(str_has(strbuf_str(&out), S("\"env\":[\"A=,\\\"TERM=x\",\"B=b\",\"TERM=vt100\"],")));
}

TEST(the_seccomp_filter_is_compiled_once_and_depends_on_capabilities)
{
    char cache[200];
    struct err err = ERR;
    struct str usual, again, admin;
    (void)snprintf(cache, sizeof cache, "%s/seccomp", test_dir());
    struct seccomp *s = seccomp_open(NULL, cache, &err);
    CHECK_OK(s, err);
    CHECK_OK(seccomp_filter(s, OCI_CAPS_DEFAULT, &usual, &err), err);
    CHECK_OK(seccomp_filter(s, OCI_CAPS_DEFAULT | OCI_CAP(21), &admin, &err), err);
    CHECK(usual.n > 1000 && usual.n % 4 == 0 && !str_eq(usual, admin));
    struct str keep = {mem_dup(usual.p, usual.n), usual.n};
    seccomp_free(s);
    s = seccomp_open(NULL, cache, &err); /* now from disk */
    CHECK_OK(s, err);
    CHECK_OK(seccomp_filter(s, OCI_CAPS_DEFAULT, &again, &err), err);
    CHECK_STR(again, keep);
    mem_free((void *)(uintptr_t)keep.p);
    seccomp_free(s);
    CHECK(!seccomp_open("/nowhere/seccomp.json", cache, &err) && strstr(err.text, "/nowhere/seccomp.json"));
}

/* What a filter says to a call, by the rules of the kernel's classic BPF. */
static uint32_t filter_verdict(struct str base64, const struct seccomp_data *data)
{
    AUTO(strbuf_fini) struct strbuf raw = STRBUF(1 << 20);
    CHECK(strbuf_add_unbase64(&raw, base64) && raw.n % sizeof(struct sock_filter) == 0);
    const struct sock_filter *code = (const struct sock_filter *)(const void *)raw.p;
    size_t n = raw.n / sizeof *code;
    uint32_t a = 0, mem[BPF_MEMWORDS] = {0};
    for (size_t at = 0; at < n; at++) {
        const struct sock_filter *i = &code[at];
        bool yes = false;
        switch (i->code) {
        case BPF_LD | BPF_W | BPF_ABS: memcpy(&a, (const char *)data + i->k, sizeof a); continue;
        case BPF_LD | BPF_MEM: a = mem[i->k]; continue;
        case BPF_ST: mem[i->k] = a; continue;
        case BPF_ALU | BPF_AND | BPF_K: a &= i->k; continue;
        case BPF_RET | BPF_K: return i->k;
        case BPF_JMP | BPF_JA: at += i->k; continue;
        case BPF_JMP | BPF_JEQ | BPF_K: yes = a == i->k; break;
        case BPF_JMP | BPF_JGT | BPF_K: yes = a > i->k; break;
        case BPF_JMP | BPF_JGE | BPF_K: yes = a >= i->k; break;
        case BPF_JMP | BPF_JSET | BPF_K: yes = a & i->k; break;
        default: test_failed(__FILE__, __LINE__, "an instruction %#x", i->code);
        }
        at += yes ? i->jt : i->jf;
    }
    test_failed(__FILE__, __LINE__, "the program does not end");
    return 0;
}

#ifdef __x86_64__
/* RuntimeDefault against containerd's: what an unprivileged container may not do, and what each capability adds. */
TEST(runtime_default_is_what_containerd_gives)
{
#define NO     (SECCOMP_RET_ERRNO | EPERM)
#define NOSYS  (SECCOMP_RET_ERRNO | ENOSYS)
#define YES    SECCOMP_RET_ALLOW
#define BIT(c) OCI_CAP(CAP_##c)
    static const struct {
        long call;
        uint64_t args[3];
        uint64_t caps; /* that open it; 0: none does */
        uint32_t usual, with;
    } rows[] = {
        {SYS_openat, {0}, 0, YES, YES},
        {SYS_execve, {0}, 0, YES, YES},
        {SYS_ptrace, {0}, 0, YES, YES},
        {SYS_rseq, {0}, 0, YES, YES},
        {SYS_memfd_create, {0}, 0, YES, YES},
        {SYS_clone, {SIGCHLD}, 0, YES, YES},
        {SYS_clone, {CLONE_VM | CLONE_THREAD | CLONE_SIGHAND}, 0, YES, YES},
        {SYS_clone, {CLONE_NEWUSER | SIGCHLD}, BIT(SYS_ADMIN), NO, YES},
        {SYS_clone, {CLONE_NEWNS}, BIT(SYS_ADMIN), NO, YES},
        {SYS_clone, {CLONE_NEWPID}, BIT(SYS_ADMIN), NO, YES},
        {SYS_clone, {CLONE_NEWNET}, BIT(SYS_ADMIN), NO, YES},
        {SYS_clone, {CLONE_NEWIPC}, BIT(SYS_ADMIN), NO, YES},
        {SYS_clone, {CLONE_NEWUTS}, BIT(SYS_ADMIN), NO, YES},
        {SYS_clone, {CLONE_NEWCGROUP}, BIT(SYS_ADMIN), NO, YES},
        {SYS_clone3, {0}, BIT(SYS_ADMIN), NOSYS, YES},
        {SYS_unshare, {CLONE_NEWUSER}, BIT(SYS_ADMIN), NO, YES},
        {SYS_unshare, {0}, BIT(SYS_ADMIN), NO, YES},
        {SYS_setns, {0}, BIT(SYS_ADMIN), NO, YES},
        {SYS_mount, {0}, BIT(SYS_ADMIN), NO, YES},
        {SYS_umount2, {0}, BIT(SYS_ADMIN), NO, YES},
        {SYS_fsopen, {0}, BIT(SYS_ADMIN), NO, YES},
        {SYS_open_tree, {0}, BIT(SYS_ADMIN), NO, YES},
        {SYS_move_mount, {0}, BIT(SYS_ADMIN), NO, YES},
        {SYS_mount_setattr, {0}, BIT(SYS_ADMIN), NO, YES},
        {SYS_pivot_root, {0}, 0, NO, NO},
        {SYS_keyctl, {0}, 0, NO, NO},
        {SYS_add_key, {0}, 0, NO, NO},
        {SYS_request_key, {0}, 0, NO, NO},
        {SYS_userfaultfd, {0}, 0, NO, NO},
        {SYS_io_uring_setup, {0}, 0, NO, NO},
        {SYS_kexec_load, {0}, 0, NO, NO},
        {SYS_swapon, {0}, 0, NO, NO},
        {SYS_bpf, {0}, BIT(SYS_ADMIN), NO, YES},
        {SYS_bpf, {0}, BIT(BPF), NO, YES},
        {SYS_perf_event_open, {0}, BIT(PERFMON), NO, YES},
        {SYS_open_by_handle_at, {0}, BIT(DAC_READ_SEARCH), NO, YES},
        {SYS_init_module, {0}, BIT(SYS_MODULE), NO, YES},
        {SYS_finit_module, {0}, BIT(SYS_MODULE), NO, YES},
        {SYS_reboot, {0}, BIT(SYS_BOOT), NO, YES},
        {SYS_kcmp, {0}, BIT(SYS_PTRACE), NO, YES},
        {SYS_pidfd_getfd, {0}, BIT(SYS_PTRACE), NO, YES},
        {SYS_iopl, {0}, BIT(SYS_RAWIO), NO, YES},
        {SYS_clock_settime, {0}, BIT(SYS_TIME), NO, YES},
        {SYS_settimeofday, {0}, BIT(SYS_TIME), NO, YES},
        {SYS_mbind, {0}, BIT(SYS_NICE), NO, YES},
        {SYS_acct, {0}, BIT(SYS_PACCT), NO, YES},
        {SYS_syslog, {0}, BIT(SYSLOG), NO, YES},
        {SYS_vhangup, {0}, BIT(SYS_TTY_CONFIG), NO, YES},
        {SYS_chroot, {0}, 0, YES, YES}, /* CAP_SYS_CHROOT is one of the usual ones */
        {SYS_socket, {AF_INET}, 0, YES, YES},
        {SYS_socket, {AF_NETLINK}, 0, YES, YES},
        {SYS_socket, {AF_VSOCK}, 0, NO, NO},
        {SYS_personality, {0}, 0, YES, YES},
        {SYS_personality, {0xffffffff}, 0, YES, YES},
        {SYS_personality, {0x0040000}, 0, NO, NO}, /* ADDR_NO_RANDOMIZE */
        {451, {0}, 0, YES, YES},                   /* cachestat */
        {452, {0}, 0, YES, YES},                   /* fchmodat2: chmod of glibc 2.39 */
        {457, {0}, 0, NOSYS, NOSYS},               /* statmount */
        {467, {0}, 0, NOSYS, NOSYS},               /* open_tree_attr */
        {600, {0}, 0, NOSYS, NOSYS},
        {0x40000000 | SYS_unshare, {CLONE_NEWUSER}, 0, NOSYS, NOSYS},
    };
    char cache[200];
    struct err err = ERR;
    (void)snprintf(cache, sizeof cache, "%s/seccomp", test_dir());
    AUTO(seccomp_free) struct seccomp *s = seccomp_open(NULL, cache, &err);
    CHECK_OK(s, err);
    for (size_t i = 0; i < countof(rows); i++) {
        struct seccomp_data d = {.nr = (int)rows[i].call, .arch = AUDIT_ARCH_X86_64};
        struct str usual, with;
        memcpy(d.args, rows[i].args, sizeof rows[i].args);
        CHECK_OK(seccomp_filter(s, OCI_CAPS_DEFAULT, &usual, &err), err);
        CHECK_OK(seccomp_filter(s, OCI_CAPS_DEFAULT | rows[i].caps, &with, &err), err);
        uint32_t got[] = {filter_verdict(usual, &d), filter_verdict(with, &d)};
        if (got[0] != rows[i].usual || got[1] != rows[i].with)
            test_failed(__FILE__, __LINE__, "call %ld (%#llx): %#x, with its capability %#x", rows[i].call,
                        (unsigned long long)rows[i].args[0], got[0], got[1]);
    }
    struct seccomp_data d = {.nr = 310, .arch = AUDIT_ARCH_I386}; /* unshare by the 32-bit table */
    struct str usual;
    CHECK_OK(seccomp_filter(s, OCI_CAPS_DEFAULT, &usual, &err), err);
    CHECK(filter_verdict(usual, &d) == NO);
    d.nr = 120; /* and clone */
    d.args[0] = CLONE_NEWUSER;
    CHECK(filter_verdict(usual, &d) == NO);
    d.arch = AUDIT_ARCH_ARM;
    CHECK(filter_verdict(usual, &d) != YES);
}
#endif

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

/* Side `side` makes its container's group, with those above it, and goes into it. */
static int make_and_join(const struct cgroups *g, const char *top, int side)
{
    char path[120];
    struct err err = ERR;
    const struct oci_limits none = {0};
    AUTO(strbuf_fini) struct strbuf join = STRBUF(1000);
    (void)snprintf(path, sizeof path, "%s/besteffort/pod%d/c", top, side / 2); /* two of each pod */
    if (!cgroup_create(g, path, &none, true, NULL, &err)) {
        (void)fprintf(stderr, "%s, side %d: %s\n", top, side, err.text);
        return 1;
    }
    cgroup_join_lines(g, path, &join);
    join.p[join.n - 1] = 0;
    AUTO(fd_close) int fd = open(join.p, O_WRONLY | O_CLOEXEC);
    return fd >= 0 && write(fd, "0", 1) == 1 ? 0 : 2;
}

/* Pods start at the same moment, and the groups above theirs are made by whoever comes first: each of them is one
 * that takes processes. */
TEST(groups_made_from_sixteen_sides_at_once_take_processes)
{
    enum { SIDES = 16, ROUNDS = 200 };
    struct cgroups g, one = {.mode = CGROUP_V1};
    struct err err = ERR;
    CHECK_OK(cgroups_detect(&g, &err), err);
    if (g.mode == CGROUP_V2 || !g.mount[CG_CPUSET][0])
        return;
    memcpy(one.mount[CG_CPUSET], g.mount[CG_CPUSET], sizeof one.mount[0]);
    pthread_barrier_t *all = mmap(NULL, sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_barrierattr_t among;
    CHECK(all != MAP_FAILED && pthread_barrierattr_init(&among) == 0 &&
          pthread_barrierattr_setpshared(&among, PTHREAD_PROCESS_SHARED) == 0 &&
          pthread_barrier_init(all, &among, SIDES) == 0);
    char top[80];
    pid_t pids[SIDES], owner = getpid();
    for (int side = 0; side < SIDES; side++) {
        pids[side] = fork();
        if (pids[side] != 0)
            continue;
        int bad = 0;
        for (int round = 0; round < ROUNDS; round++) {
            (void)snprintf(top, sizeof top, "/wherry-test-sides-%d-%d", (int)owner, round);
            (void)pthread_barrier_wait(all);
            bad |= make_and_join(&one, top, side); /* goes on all the same: the others wait for it */
        }
        _exit(bad);
    }
    int bad = 0;
    for (int side = 0; side < SIDES; side++) {
        int status;
        CHECK(waitpid(pids[side], &status, 0) == pids[side] && WIFEXITED(status));
        bad |= WEXITSTATUS(status);
    }
    for (int round = 0; round < ROUNDS; round++) {
        (void)snprintf(top, sizeof top, "/wherry-test-sides-%d-%d", (int)owner, round);
        CHECK_OK(cgroup_remove(&one, top, &err), err);
    }
    CHECK_INT(bad, 0); /* 1: one was not made; 2: one takes no process */
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
    CHECK_INT(st.limits.memory, 10 << 20);
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
