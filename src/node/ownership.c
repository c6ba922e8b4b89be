#include "node/ownership.h"
#include "base/fault.h"
#include "sys/tree.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define FILE_BITS   0660
#define FOLDER_BITS (0770 | S_ISGID)

static bool bits_differ(const struct stat *st, mode_t bits)
{
    return (st->st_mode & bits) != bits;
}

static bool ownership_visit(void *arg, int fd, const struct stat *st, struct err *err)
{
    gid_t group = *(const gid_t *)arg;
    mode_t bits = S_ISDIR(st->st_mode) ? FOLDER_BITS : FILE_BITS;
    char own[40];
    (void)snprintf(own, sizeof own, "/proc/self/fd/%d", fd);
    if (st->st_gid != group &&
        (fault("volume.group", EPERM) || fchownat(fd, "", (uid_t)-1, group, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0))
        return err_errno(err, "chown");
    /* giving it away takes setuid and setgid bits from it, as it does for everybody */
    if (S_ISLNK(st->st_mode) || !bits_differ(st, bits))
        return true;
    return chmod(own, (st->st_mode | bits) & 07777) == 0 || err_errno(err, "chmod");
}

bool ownership_give(int root, gid_t group, bool unless_root, struct err *err)
{
    struct stat st;
    if (fstat(root, &st) < 0)
        return err_errno(err, "look at the volume");
    if (unless_root && st.st_gid == group && !bits_differ(&st, FOLDER_BITS))
        return true;
    /* the root last: that it is the group's says that all of it is (OnRootMismatch) */
    return tree_each(root, ownership_visit, &group, err);
}
