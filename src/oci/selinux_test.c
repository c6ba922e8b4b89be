#include "base/test.h"
#include "oci/selinux.h"
#include "sys/file.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>

static const char contexts[] = "# of a policy\n"
                               "process = \"system_u:system_r:container_t:s0\"\n"
                               "content = \"system_u:object_r:virt_var_lib_t:s0\"\n"
                               "; another comment\n"
                               "file=\"system_u:object_r:container_file_t:s0\"\n"
                               "sandbox_kvm_process = \"system_u:system_r:svirt_t:s0\"\n";

TEST(selinux_contexts_have_three_or_four_parts)
{
    static const struct {
        const char *label, *type, *level; /* type NULL: it is none */
    } rows[] = {
        {"system_u:system_r:container_t:s0:c1,c2", "container_t", "s0:c1,c2"},
        {"u:r:t", "t", ""},
        {"u:r:t:s0-s0:c0.c1023", "t", "s0-s0:c0.c1023"},
        {"u:r", NULL, ""},
        {"u:r:", NULL, ""},
        {"", NULL, ""},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct selinux_context c;
        bool is = selinux_context_read(str_of(rows[i].label), &c);
        CHECK_INT(is, rows[i].type != NULL);
        if (!is)
            continue;
        CHECK_STR(c.type, str_of(rows[i].type));
        CHECK_STR(c.level, str_of(rows[i].level));
        CHECK_STR(selinux_context_text(&a, &c), str_of(rows[i].label));
    }
}

TEST(selinux_levels_are_those_that_container_runtimes_take)
{
    static const char *const good[] = {"s0",    "s0:c1",          "s0:c1,c2",          "s0:c123,c456",
                                       "s0-s1", "s0-s0:c0.c1023", "s0:c1.c3,c5,c7.c9", "s9:c0000"};
    static const char *const bad[] = {"",          "s",   "c1",    "s10",      "s0:",   "s0:c", "s0:c1,", "s0:c1.",
                                      "s0:c12345", "s0-", "s0-c1", "s0:c1:c2", "s0:s1", "s0 ",  "S0",     "s0,c1"};
    for (size_t i = 0; i < countof(good); i++)
        CHECK(selinux_level_ok(str_of(good[i])));
    for (size_t i = 0; i < countof(bad); i++)
        CHECK(!selinux_level_ok(str_of(bad[i])));
}

static bool third_is_free(void *arg, struct str level)
{
    int *n = arg;
    CHECK(selinux_level_ok(level));
    return ++*n < 3;
}

TEST(selinux_levels_are_drawn_until_one_is_free)
{
    AUTO(arena_fini) struct arena a = ARENA;
    int n = 0;
    struct str level = selinux_level_draw(&a, third_is_free, &n), low, high;
    uint64_t one, other;
    CHECK_INT(n, 3);
    CHECK(str_starts(level, S("s0:c")) && str_split(str_sub(level, 4, level.n), ',', &low, &high));
    CHECK(str_to_u64(low, 1023, &one) && str_to_u64(str_sub(high, 1, high.n), 1023, &other) && one < other);
}

TEST(selinux_labels_are_what_is_asked_for_and_else_the_policys)
{
    static const struct {
        struct selinux_context asked;
        const char *level, *process, *file, *wrong;
    } rows[] = {
        {{.user = S_INIT("")},
         "s0:c1,c2",
         "system_u:system_r:container_t:s0:c1,c2",
         "system_u:object_r:container_file_t:s0:c1,c2",
         NULL},
        {{.user = S_INIT("")}, "", "system_u:system_r:container_t:s0", "system_u:object_r:container_file_t:s0", NULL},
        {{.level = S_INIT("s0:c7")},
         "s0:c1,c2",
         "system_u:system_r:container_t:s0:c7",
         "system_u:object_r:container_file_t:s0:c7",
         NULL},
        {{.type = S_INIT("spc_t")},
         "s0:c1,c2",
         "system_u:system_r:spc_t:s0:c1,c2",
         "system_u:object_r:container_file_t:s0:c1,c2",
         NULL},
        {{S_INIT("staff_u"), S_INIT("staff_r"), S_INIT("x_t"), S_INIT("s0-s0:c0.c9")},
         "s0:c1,c2",
         "staff_u:staff_r:x_t:s0-s0:c0.c9",
         "staff_u:object_r:container_file_t:s0-s0:c0.c9",
         NULL},
        {{.level = S_INIT("c7")}, "", NULL, NULL, "the format of 'level' \"c7\" is not correct"},
        {{.type = S_INIT("a:b")}, "", NULL, NULL, "seLinuxOptions: \"a:b\" cannot be part of a label"},
        {{.user = S_INIT("a\nb")}, "", NULL, NULL, "seLinuxOptions: \"a\nb\" cannot be part of a label"},
        {{.role = S_INIT("a\"b")}, "", NULL, NULL, "seLinuxOptions: \"a\"b\" cannot be part of a label"},
    };
    struct selinux_policy policy, nothing = {0};
    selinux_policy_parse(str_of(contexts), &policy);
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct selinux_labels out;
        struct err err = ERR;
        bool ok = selinux_labels(&a, &policy, &rows[i].asked, str_of(rows[i].level), &out, &err);
        CHECK_INT(ok, !rows[i].wrong);
        CHECK_STR(ok ? out.process : str_of(err.text), str_of(ok ? rows[i].process : rows[i].wrong));
        CHECK_STR(ok ? out.file : S(""), str_of(ok ? rows[i].file : ""));
        /* what cannot be given is told, and nothing is nothing */
        struct err none = ERR;
        CHECK_INT(selinux_labels(&a, &nothing, &rows[i].asked, S("s0:c1,c2"), &out, &none), i < 2);
        CHECK(i >= 2 || !out.process.n);
    }
}

TEST(selinux_policies_may_know_no_containers_and_no_levels)
{
    struct selinux_policy p;
    struct selinux_labels out;
    struct err err = ERR;
    AUTO(arena_fini) struct arena a = ARENA;
    selinux_policy_parse(S("process = \"u:r:t:s0\"\n"), &p);
    CHECK(!p.process.type.n && !p.file.type.n);
    selinux_policy_parse(S("process = u:r:t\nfile = u:object_r:f\n"), &p);
    CHECK_OK(selinux_labels(&a, &p, &(struct selinux_context){0}, S("s0:c1,c2"), &out, &err), err);
    CHECK_STR(out.process, S("u:r:t"));
    CHECK_STR(out.file, S("u:object_r:f"));
}

static struct str label_at(int at, const char *path, char *buf, size_t size)
{
    AUTO(fd_close) int fd = openat(at, path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    char own[40];
    (void)snprintf(own, sizeof own, "/proc/self/fd/%d", fd);
    ssize_t n = getxattr(own, "security.selinux", buf, size);
    return n < 0 ? S("") : (struct str){buf, (size_t)n};
}

TEST(selinux_relabels_what_is_below_and_follows_nothing)
{
    char dir[] = "/tmp/selinuxXXXXXX", outside[] = "/tmp/selinuxXXXXXX", buf[200];
    struct str label = S("system_u:object_r:container_file_t:s0:c1,c2");
    struct err err = ERR;
    if (geteuid() != 0)
        return;
    CHECK(mkdtemp(dir) && mkdtemp(outside));
    AUTO(fd_close) int at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(mkdirat(at, "a", 0755) == 0 && symlinkat(outside, at, "a/link") == 0);
    fd_close(openat(at, "a/f", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    if (setxattr(outside, "security.selinux", "x", 1, 0) ==
        0) { /* else the kernel's policy is asked, or there are none */
        CHECK_OK(selinux_relabel(at, label, &err), err);
        static const char *const names[] = {".", "a", "a/f", "a/link"};
        for (size_t i = 0; i < countof(names); i++)
            CHECK_STR(label_at(at, names[i], buf, sizeof buf), label);
        CHECK_STR(label_at(AT_FDCWD, outside, buf, sizeof buf), S("x"));
    }
    (void)unlinkat(at, "a/f", 0);
    (void)unlinkat(at, "a/link", 0);
    (void)unlinkat(at, "a", AT_REMOVEDIR);
    (void)rmdir(dir);
    (void)rmdir(outside);
}
