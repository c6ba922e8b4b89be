#include "base/test.h"
#include "node/ownership.h"
#include "sys/file.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

static struct stat file_look(int at, const char *path)
{
    struct stat st;
    CHECK(fstatat(at, path, &st, AT_SYMLINK_NOFOLLOW) == 0);
    return st;
}

TEST(files_are_given_to_the_group)
{
    char dir[] = "/tmp/ownershipXXXXXX", outside[] = "/tmp/ownershipXXXXXX";
    struct err err = ERR;
    if (geteuid() != 0)
        return;
    CHECK(mkdtemp(dir) && mkdtemp(outside));
    AUTO(fd_close) int at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(mkdirat(at, "a", 0700) == 0 && mkdirat(at, "a/b", 0755) == 0);
    fd_close(openat(at, "a/b/f", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    CHECK(symlinkat(outside, at, "a/link") == 0);
    CHECK_OK(ownership_give(at, 77, false, &err), err);
    CHECK_INT(file_look(at, "a/b/f").st_gid, 77);
    CHECK_INT(file_look(at, "a/b/f").st_mode & 07777, 0660);
    CHECK_INT(file_look(at, "a/b").st_mode & 07777, 02775);
    CHECK_INT(file_look(at, "a/link").st_gid, 77);
    CHECK_INT(file_look(AT_FDCWD, outside).st_gid, 0); /* no link is followed */
    CHECK_INT(file_look(AT_FDCWD, dir).st_gid, 77);
    /* the root says that all of it is the group's: nothing is looked at */
    CHECK(fchownat(at, "a/b/f", 0, 0, 0) == 0);
    CHECK_OK(ownership_give(at, 77, true, &err), err);
    CHECK_INT(file_look(at, "a/b/f").st_gid, 0);
    CHECK_OK(ownership_give(at, 77, false, &err), err);
    CHECK_INT(file_look(at, "a/b/f").st_gid, 77);
    CHECK_OK(ownership_give(at, 78, true, &err), err);
    CHECK_INT(file_look(at, "a/b/f").st_gid, 78);
    CHECK_OK(tree_remove(AT_FDCWD, dir, &err), err);
    CHECK_OK(tree_remove(AT_FDCWD, outside, &err), err);
}
