/* What is written into groups, over folders of files that stand for them: the kernel's own is asked in runtime_test.
 */
#include "base/test.h"
#include "oci/cgroup.h"
#include "sys/file.h"
#include <fcntl.h>
#include <sys/stat.h>

static struct cgroups groups_fake(const char *root, enum cgroup_mode mode)
{
    struct cgroups g = {.mode = mode};
    for (int i = 0; i < (mode == CGROUP_V2 ? 1 : CG_N); i++)
        (void)snprintf(g.mount[i], sizeof g.mount[i], "%s", root);
    return g;
}

static void file_make(const char *root, const char *name, const char *text)
{
    char path[300];
    (void)snprintf(path, sizeof path, "%s/pod/%s", root, name);
    AUTO(fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

/* As far as what was written last: a file of the kernel keeps nothing behind that. */
static void file_is(const char *root, const char *name, const char *want)
{
    char path[300], have[100] = {0};
    (void)snprintf(path, sizeof path, "%s/pod/%s", root, name);
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && read(fd, have, strlen(want)) == (ssize_t)strlen(want));
    CHECK_STR(str_of(have), str_of(want));
}

TEST(cgroup_bounds_are_weights_and_words_on_v2)
{
    const char *root = test_dir();
    char dir[200];
    struct cgroups g = groups_fake(root, CGROUP_V2);
    struct err err = ERR;
    (void)snprintf(dir, sizeof dir, "%s/pod", root);
    CHECK(mkdir(dir, 0700) == 0);
    static const char *const names[] = {"cpu.weight", "cpu.max", "memory.max", "memory.swap.max"};
    for (size_t i = 0; i < countof(names); i++)
        file_make(root, names[i], "");
    const unsigned all = CGROUP_SHARES | CGROUP_QUOTA | CGROUP_BYTES;
    const struct cgroup_bounds want = {1024, 150000, 64 << 20}, none = {2, 0, 0};
    struct cgroup_bounds now;
    CHECK_OK(cgroup_bounds_write(&g, "/pod", all, &want, &err), err);
    file_is(root, "cpu.weight", "39");
    file_is(root, "cpu.max", "150000 100000");
    file_is(root, "memory.max", "67108864");
    file_is(root, "memory.swap.max", "0");
    CHECK_OK(cgroup_bounds_read(&g, "/pod", &want, &now, &err), err);
    CHECK(memcmp(&now, &want, sizeof now) == 0);
    CHECK_OK(cgroup_bounds_read(&g, "/pod", &none, &now, &err), err);
    CHECK_INT(now.cpu_shares, 998); /* what its weight stands for */
    for (size_t i = 0; i < countof(names); i++)
        file_make(root, names[i], "");
    CHECK_OK(cgroup_bounds_write(&g, "/pod", all, &none, &err), err);
    file_is(root, "cpu.weight", "1");
    file_is(root, "cpu.max", "max");
    file_is(root, "memory.max", "max");
    file_make(root, "cpu.max", "max 100000\n");
    CHECK_OK(cgroup_bounds_read(&g, "/pod", &none, &now, &err), err);
    CHECK(memcmp(&now, &none, sizeof now) == 0);
    file_make(root, "cpu.max", "50000 50000\n"); /* whatever period somebody chose */
    CHECK_OK(cgroup_bounds_read(&g, "/pod", &none, &now, &err), err);
    CHECK_INT(now.cpu_quota_us, 100000);
    file_make(root, "memory.current", "4096\n");
    CHECK_INT(cgroup_memory_used(&g, "/pod"), 4096);
    CHECK(!cgroup_bounds_read(&g, "/gone", &none, &now, &err));
}

TEST(cgroup_bounds_are_lifted_on_v1)
{
    const char *root = test_dir();
    char dir[200];
    struct cgroups g = groups_fake(root, CGROUP_HYBRID);
    struct err err = ERR;
    (void)snprintf(dir, sizeof dir, "%s/pod", root);
    CHECK(mkdir(dir, 0700) == 0);
    static const char *const names[] = {"cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us",
                                        "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"};
    for (size_t i = 0; i < countof(names); i++)
        file_make(root, names[i], "");
    const struct cgroup_bounds none = {2, 0, 0};
    struct cgroup_bounds now;
    CHECK_OK(cgroup_bounds_write(&g, "/pod", CGROUP_SHARES | CGROUP_QUOTA | CGROUP_BYTES, &none, &err), err);
    file_is(root, "cpu.shares", "2");
    file_is(root, "cpu.cfs_quota_us", "-1");
    file_is(root, "memory.limit_in_bytes", "-1");
    file_is(root, "memory.memsw.limit_in_bytes", "-1");
    file_make(root, "memory.limit_in_bytes", "9223372036854771712\n");
    CHECK_OK(cgroup_bounds_read(&g, "/pod", &none, &now, &err), err);
    CHECK(memcmp(&now, &none, sizeof now) == 0);
}
