#include "base/test.h"
#include "sys/file.h"
#include "sys/mount.h"
#include "sys/mount_tree.h"
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>

TEST(mount_lines_are_read)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct mount_line m;
    CHECK(
        mount_line_read(&a, S("36 35 98:0 /mnt1 /mnt\\040two rw,noatime master:1 shared:7 - ext3 /dev/root rw"), &m));
    CHECK_STR(m.root, S("/mnt1"));
    CHECK_STR(m.at, S("/mnt two"));
    CHECK(m.shared);
    CHECK(mount_line_read(&a, S("36 35 98:0 / / rw - ext3 shared:1 rw"), &m) && !m.shared);
    CHECK(!mount_line_read(&a, S("36 35"), &m) && !mount_line_read(&a, S(""), &m));
}

TEST(mount_trees_are_shared_and_go)
{
    char dir[] = "/tmp/mount-tree-XXXXXX", below[64];
    struct err err = ERR;
    CHECK(mkdtemp(dir));
    (void)snprintf(below, sizeof below, "%s/below", dir);
    CHECK(mkdir(below, 0700) == 0);
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return; /* not root */
    CHECK_OK(mount_make_shared(dir, &err) && mount_make_shared(dir, &err), err);
    int fd = open(dir, O_PATH | O_CLOEXEC);
    CHECK(mount_is_shared(fd));
    (void)close(fd);
    CHECK_OK(mount_tmpfs(below, 1 << 20, 0700, 0, &err) && mount_tmpfs(below, 1 << 20, 0700, 0, &err), err);
    CHECK_OK(mount_remove_below(dir, &err), err);
    CHECK(!mount_is_point(below) && !mount_is_point(dir));
    CHECK_OK(mount_tmpfs(dir, 1 << 20, 0700, 0, &err) && mount_remove_below(dir, &err), err);
    CHECK(mount_is_point(dir)); /* its owner's */
    CHECK_OK(mount_remove(dir, &err) && tree_remove(AT_FDCWD, dir, &err), err);
}

TEST(what_another_machine_serves_is_told_by_its_mount)
{
    char dir[] = "/tmp/mount-tree-XXXXXX", below[64], beside[64];
    CHECK(mkdtemp(dir));
    (void)snprintf(below, sizeof below, "%s/below/deep", dir);
    (void)snprintf(beside, sizeof beside, "%s/below-not", dir);
    CHECK(!mount_is_remote(str_of(below)));
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return; /* not root */
    *strrchr(below, '/') = 0;
    CHECK(mkdir(below, 0700) == 0 && mount("server:/export", below, "tmpfs", 0, NULL) == 0);
    CHECK(mount_is_remote(str_of(below)) && !mount_is_remote(str_of(beside)) && !mount_is_remote(str_of(dir)));
    below[strlen(below)] = '/';
    CHECK(mount_is_remote(str_of(below)));
    *strrchr(below, '/') = 0;
    CHECK(umount(below) == 0 && mount("//server/share", below, "tmpfs", 0, NULL) == 0);
    CHECK(mount_is_remote(str_of(below)));
    CHECK(umount(below) == 0 && rmdir(below) == 0 && rmdir(dir) == 0);
}
