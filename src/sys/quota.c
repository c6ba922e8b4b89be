#include "sys/quota.h"
#include "base/fault.h"
#include <errno.h>
#include <linux/dqblk_xfs.h>
#include <linux/fs.h>
#include <linux/quota.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BLOCK 1024 /* of limits in struct if_dqblk, whatever the file system has */

static bool quota_call(int fd, unsigned cmd, uint32_t project, void *data)
{
    return syscall(SYS_quotactl_fd, fd, QCMD(cmd, PRJQUOTA), project, data) == 0;
}

bool quota_is_enforced(int fd)
{
    struct fs_quota_statv state = {.qs_version = FS_QSTATV_VERSION1};
    return quota_call(fd, Q_XGETQSTATV, 0, &state) && state.qs_flags & FS_QUOTA_PDQ_ENFD;
}

uint32_t quota_project(int folder)
{
    struct fsxattr x;
    return ioctl(folder, FS_IOC_FSGETXATTR, &x) == 0 ? x.fsx_projid : 0;
}

bool quota_project_set(int folder, uint32_t project, struct err *err)
{
    struct fsxattr x;
    if (ioctl(folder, FS_IOC_FSGETXATTR, &x) < 0)
        return err_errno(err, "read the project of a folder");
    x.fsx_projid = project;
    x.fsx_xflags |= FS_XFLAG_PROJINHERIT;
    return (!fault("quota.project", EOPNOTSUPP) && ioctl(folder, FS_IOC_FSSETXATTR, &x) == 0) ||
           err_errno(err, "give a folder its project");
}

bool quota_limit_set(int fd, uint32_t project, int64_t bytes, struct err *err)
{
    struct if_dqblk limit = {.dqb_bhardlimit = (uint64_t)bytes / BLOCK + (bytes % BLOCK != 0),
                             .dqb_valid = QIF_BLIMITS};
    return (!fault("quota.limit", ESRCH) && quota_call(fd, Q_SETQUOTA, project, &limit)) ||
           err_errno(err, "set a quota");
}

bool quota_read(int fd, uint32_t project, int64_t *used, int64_t *limit, struct err *err)
{
    struct if_dqblk q = {0};
    if (!quota_call(fd, Q_GETQUOTA, project, &q) && errno != ENOENT) /* ENOENT: nothing was written under it */
        return err_errno(err, "read a quota");
    *used = (int64_t)q.dqb_curspace;
    *limit = (int64_t)(q.dqb_bhardlimit * BLOCK);
    return true;
}
