#include "oci/confine.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define CPU_MOST_S 7200 /* of processor: what would take more is an endless loop */
#define CAP_BIT(n) (1u << (n))
/* what unpacking a layer takes: all of them are about files, and Landlock says which files */
#define KEEP                                                                                                         \
    (CAP_BIT(CAP_CHOWN) | CAP_BIT(CAP_DAC_OVERRIDE) | CAP_BIT(CAP_FOWNER) | CAP_BIT(CAP_FSETID) |                    \
     CAP_BIT(CAP_MKNOD) | CAP_BIT(CAP_SETFCAP))

#ifndef LANDLOCK_ACCESS_FS_REFER
#define LANDLOCK_ACCESS_FS_REFER (1ULL << 13)
#endif
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif
#define READS    (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define ABI_1    ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1)
#define ALL(abi) (ABI_1 | LANDLOCK_ACCESS_FS_REFER | ((abi) >= 3 ? LANDLOCK_ACCESS_FS_TRUNCATE : 0))

static bool drop_capabilities(struct err *err)
{
    for (int cap = 0; cap <= 63; cap++)
        if ((cap >= 32 || !(KEEP & CAP_BIT(cap))) && prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1 &&
            prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EPERM)
            return err_errno(err, "dropping capability %d", cap);
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{0}};
    if (syscall(SYS_capget, &head, data) < 0)
        return err_errno(err, "reading capabilities");
    data[0].permitted &= KEEP;
    data[0].effective = data[0].permitted;
    data[1].permitted = data[1].effective = data[0].inheritable = data[1].inheritable = 0;
    return syscall(SYS_capset, &head, data) == 0 || err_errno(err, "dropping capabilities");
}

static void path_allow(int rules, const char *path, uint64_t access)
{
    AUTO(fd_close) int fd = open(path, O_PATH | O_CLOEXEC);
    struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};
    if (fd >= 0) /* what is not there needs no permission */
        (void)syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}

bool job_confine(const char *store, bool network, const char *also, struct err *err)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_errno(err, "no_new_privs");
    struct rlimit cpu = {CPU_MOST_S, CPU_MOST_S};
    if (getrlimit(RLIMIT_CPU, &cpu) == 0 && cpu.rlim_max > CPU_MOST_S)
        cpu.rlim_cur = cpu.rlim_max = CPU_MOST_S;
    if (setrlimit(RLIMIT_CPU, &cpu) < 0)
        return err_errno(err, "limiting its time of the processor");
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi >= 2) { /* ABI 1 forbids every rename between folders */
        struct landlock_ruleset_attr attr = {.handled_access_fs = ALL(abi)};
        AUTO(fd_close) int rules = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
        if (rules < 0)
            return err_errno(err, "landlock");
        if (store)
            path_allow(rules, store, ALL(abi) & ~LANDLOCK_ACCESS_FS_EXECUTE);
        static const char *const lookup[] = {"/etc", "/usr", "/lib", "/lib64", "/run/systemd/resolve"};
        for (size_t i = 0; network && i < countof(lookup); i++)
            path_allow(rules, lookup[i], READS | LANDLOCK_ACCESS_FS_EXECUTE);
        if (also)
            path_allow(rules, also, LANDLOCK_ACCESS_FS_READ_FILE);
        if (syscall(SYS_landlock_restrict_self, rules, 0) < 0)
            return err_errno(err, "landlock");
    }
    return drop_capabilities(err);
}
