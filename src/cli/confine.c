#include "cli/confine.h"
#include "cli/role.h"
#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Refused with EPERM, whatever the arguments. All but these and what refuse_some() names is allowed: a list of what
 * libraries need would break with each of their updates, and these are what an attacker needs. */
static const int refused[] = {
#ifndef WHERRY_SANITIZED /* the leak checker is a tracer of its own process */
    SCMP_SYS(ptrace),
#endif
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(process_madvise),
    SCMP_SYS(move_pages),
    SCMP_SYS(migrate_pages),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(kcmp),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(umount),
    SCMP_SYS(fsopen),
    SCMP_SYS(fspick),
    SCMP_SYS(fsconfig),
    SCMP_SYS(fsmount),
    SCMP_SYS(move_mount),
    SCMP_SYS(open_tree),
    SCMP_SYS(mount_setattr),
    SCMP_SYS(setns),
    SCMP_SYS(unshare),
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(keyctl),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(delete_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load),
    SCMP_SYS(reboot),
    SCMP_SYS(swapon),
    SCMP_SYS(swapoff),
    SCMP_SYS(acct),
    SCMP_SYS(quotactl),
    SCMP_SYS(quotactl_fd),
    SCMP_SYS(syslog),
    SCMP_SYS(vhangup),
    SCMP_SYS(personality),
    SCMP_SYS(modify_ldt),
    SCMP_SYS(fanotify_init),
    SCMP_SYS(lookup_dcookie),
    SCMP_SYS(name_to_handle_at),
    SCMP_SYS(iopl),
    SCMP_SYS(ioperm),
    SCMP_SYS(mknod),
    SCMP_SYS(mknodat),
    SCMP_SYS(open_by_handle_at),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(io_uring_enter),
    SCMP_SYS(io_uring_register),
    SCMP_SYS(settimeofday),
    SCMP_SYS(clock_settime),
    SCMP_SYS(clock_adjtime),
    SCMP_SYS(adjtimex),
    SCMP_SYS(sethostname),
    SCMP_SYS(setdomainname),
};

static const int starting[] = {SCMP_SYS(execve), SCMP_SYS(execveat)};

/* Calls that are refused for some of their arguments. clone3 has its flags in memory, where no filter looks: it is
 * "not there", and the C library takes clone. */
static int refuse_some(scmp_filter_ctx filter)
{
#ifdef __s390x__
#define CLONE_FLAGS SCMP_A1
#else
#define CLONE_FLAGS SCMP_A0
#endif
    static const unsigned spaces[] = {CLONE_NEWNS,   CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
                                      CLONE_NEWUSER, CLONE_NEWPID,    CLONE_NEWNET};
    /* only the lower half of these arguments is the kernel's to look at */
    static const unsigned terminals[] = {TIOCSTI, TIOCLINUX, TIOCSCTTY};
    int why = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    for (size_t i = 0; i < countof(spaces) && !why; i++)
        why = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                               CLONE_FLAGS(SCMP_CMP_MASKED_EQ, spaces[i], spaces[i]));
    for (size_t i = 0; i < countof(terminals) && !why; i++)
        why = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1,
                               SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffu, terminals[i]));
    for (unsigned family = 0; family <= AF_NETLINK && !why; family++)
        if (family != AF_UNIX && family != AF_INET && family != AF_INET6 && family != AF_NETLINK)
            why = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
                                   SCMP_A0(SCMP_CMP_EQ, family));
    return why ? why
               : seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
                                  SCMP_A0(SCMP_CMP_GT, AF_NETLINK));
}

/* What a role knows - keys, Secrets - goes into no core file, and its /proc is root's: a pod that shares the host's
 * processes may have its uid. A server of an ordinary user stays as it is: its supervisor has no more rights. */
static bool keep_memory(struct err *err)
{
    uid_t uid = getuid();
    bool ours = uid == ROLE_UID_SERVER || uid == ROLE_UID_RELAY || uid == ROLE_UID_DNS || uid == ROLE_UID_EDGE;
    return !ours || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 || err_errno(err, "keep the memory out of core files");
}

bool role_confine(enum role_confinement c, struct err *err)
{
    if (c == ROLE_IS_FREE)
        return true;
    if (!keep_memory(err))
        return false;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_errno(err, "give up new privileges");
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int why = filter ? 0 : -ENOMEM;
    for (size_t i = 0; i < countof(refused) && !why; i++)
        why = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), refused[i], 0);
    for (size_t i = 0; i < countof(starting) && c == ROLE_STARTS_NOTHING && !why; i++)
        why = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), starting[i], 0);
    if (!why)
        why = refuse_some(filter);
    if (!why)
        why = seccomp_load(filter);
    seccomp_release(filter);
    errno = -why;
    return !why || err_errno(err, "load the filter of system calls");
}
