#include "oci/seccomp_int.h"
#include <linux/capability.h>
#include <sched.h>
#include <sys/socket.h>

#define ADMIN OCI_CAP(CAP_SYS_ADMIN)
#define ALLOW SCMP_ACT_ALLOW
#define SPACES                                                                                                       \
    (CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP)
/* the last members of a row: which arguments */
#define WHATEVER                                                                                                     \
    0,                                                                                                               \
    {                                                                                                                \
        0                                                                                                            \
    }
#define IF(op, index, value)                                                                                         \
    1,                                                                                                               \
    {                                                                                                                \
        index, op, value, 0                                                                                          \
    }

/* The calls that containerd and CRI-O allow, by what they are about. What stands in no row is EPERM. */
const struct default_rule seccomp_default_rules[] = {
    /* files and folders */
    {0, 0, ALLOW,
     "access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 "
     "fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchown fchown32 fchownat fcntl fcntl64 fdatasync "
     "fgetxattr flistxattr flock fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate "
     "ftruncate64 futimesat getcwd getdents getdents64 getxattr ioctl lchown lchown32 lgetxattr link linkat "
     "listxattr "
     "llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 mkdir mkdirat mknod mknodat name_to_handle_at "
     "newfstatat open openat openat2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink "
     "readlinkat readv removexattr rename renameat renameat2 rmdir sendfile sendfile64 setxattr splice stat stat64 "
     "statfs statfs64 statx symlink symlinkat sync sync_file_range syncfs tee truncate truncate64 umask unlink "
     "unlinkat utime utimensat utimensat_time64 utimes vmsplice write writev",
     WHATEVER},
    /* waiting and being told */
    {0, 0, ALLOW,
     "epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd "
     "eventfd2 fanotify_mark inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy "
     "io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit _newselect pause poll ppoll ppoll_time64 "
     "pselect6 pselect6_time64 select signalfd signalfd4",
     WHATEVER},
    /* memory */
    {0, 0, ALLOW,
     "brk madvise membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2 mprotect mremap "
     "msync "
     "munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect process_mrelease remap_file_pages",
     WHATEVER},
    /* processes, users, limits */
    {0, 0, ALLOW,
     "capget capset execve execveat exit exit_group fork futex futex_time64 futex_waitv getcpu getegid getegid32 "
     "geteuid geteuid32 getgid getgid32 getgroups getgroups32 getpgid getpgrp getpid getppid getpriority getresgid "
     "getresgid32 getresuid getresuid32 getrlimit get_robust_list getrusage getsid get_thread_area gettid getuid "
     "getuid32 ioprio_get ioprio_set kill landlock_add_rule landlock_create_ruleset landlock_restrict_self "
     "pidfd_open "
     "pidfd_send_signal prctl prlimit64 process_vm_readv process_vm_writev ptrace restart_syscall rseq rt_sigaction "
     "rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 "
     "rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min "
     "sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr "
     "sched_setparam sched_setscheduler sched_yield seccomp setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 "
     "setgroups setgroups32 setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 "
     "setreuid setreuid32 setrlimit set_robust_list setsid set_thread_area set_tid_address setuid setuid32 "
     "sigaltstack "
     "sigprocmask sigreturn tgkill tkill ugetrlimit vfork wait4 waitid waitpid",
     WHATEVER},
    /* time; setting it needs the capability, which the kernel asks for */
    {0, 0, ALLOW,
     "adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 "
     "clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time timer_create "
     "timer_delete "
     "timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 timer_getoverrun "
     "timer_gettime "
     "timer_gettime64 timer_settime timer_settime64 times",
     WHATEVER},
    /* sockets, pipes, System V and POSIX messages */
    {0, 0, ALLOW,
     "accept accept4 bind connect getpeername getsockname getsockopt ipc listen mq_getsetattr mq_notify mq_open "
     "mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd "
     "pipe pipe2 recv recvfrom recvmmsg recvmmsg_time64 recvmsg semctl semget semop semtimedop semtimedop_time64 "
     "send "
     "sendmmsg sendmsg sendto setsockopt shmat shmctl shmdt shmget shutdown socketcall socketpair",
     WHATEVER},
    {0, 0, ALLOW, "getrandom sysinfo uname", WHATEVER},
#if defined(__x86_64__)
    {0, 0, ALLOW, "arch_prctl modify_ldt", WHATEVER},
#elif defined(__aarch64__)
    {0, 0, ALLOW, "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2", WHATEVER},
#elif defined(__riscv)
    {0, 0, ALLOW, "riscv_flush_icache", WHATEVER},
#elif defined(__powerpc64__)
    {0, 0, ALLOW, "swapcontext sync_file_range2", WHATEVER},
#elif defined(__s390x__)
    {0, 0, ALLOW, "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr", WHATEVER},
#endif
    /* a socket to the hypervisor is none of a container's business */
    {0, 0, ALLOW, "socket", IF(SCMP_CMP_NE, 0, AF_VSOCK)},
    /* PER_LINUX and PER_LINUX32, with and without UNAME26, and asking */
    {0, 0, ALLOW, "personality", IF(SCMP_CMP_EQ, 0, 0)},
    {0, 0, ALLOW, "personality", IF(SCMP_CMP_EQ, 0, 0x8)},
    {0, 0, ALLOW, "personality", IF(SCMP_CMP_EQ, 0, 0x20000)},
    {0, 0, ALLOW, "personality", IF(SCMP_CMP_EQ, 0, 0x20008)},
    {0, 0, ALLOW, "personality", IF(SCMP_CMP_EQ, 0, 0xffffffff)},
/* processes and threads, but no namespaces; clone3 has its flags where no filter sees them, so libraries are sent
 * to clone */
#if defined(__s390x__)
    {0, ADMIN, ALLOW, "clone", IF(SCMP_CMP_MASKED_EQ, 1, SPACES)},
#else
    {0, ADMIN, ALLOW, "clone", IF(SCMP_CMP_MASKED_EQ, 0, SPACES)},
#endif
    {0, ADMIN, SCMP_ACT_ERRNO(ENOSYS), "clone3", WHATEVER},
    /* what a capability adds */
    {ADMIN, 0, ALLOW,
     "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount "
     "open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
     WHATEVER},
    {OCI_CAP(CAP_DAC_READ_SEARCH), 0, ALLOW, "open_by_handle_at", WHATEVER},
    {OCI_CAP(CAP_SYS_BOOT), 0, ALLOW, "reboot", WHATEVER},
    {OCI_CAP(CAP_SYS_CHROOT), 0, ALLOW, "chroot", WHATEVER},
    {OCI_CAP(CAP_SYS_MODULE), 0, ALLOW, "delete_module finit_module init_module", WHATEVER},
    {OCI_CAP(CAP_SYS_NICE), 0, ALLOW, "get_mempolicy mbind set_mempolicy set_mempolicy_home_node", WHATEVER},
    {OCI_CAP(CAP_SYS_PACCT), 0, ALLOW, "acct", WHATEVER},
    {OCI_CAP(CAP_SYS_PTRACE), 0, ALLOW, "kcmp pidfd_getfd process_madvise", WHATEVER},
    {OCI_CAP(CAP_SYS_RAWIO), 0, ALLOW, "ioperm iopl", WHATEVER},
    {OCI_CAP(CAP_SYS_TIME), 0, ALLOW, "clock_settime clock_settime64 settimeofday stime", WHATEVER},
    {OCI_CAP(CAP_SYS_TTY_CONFIG), 0, ALLOW, "vhangup", WHATEVER},
    {OCI_CAP(CAP_SYSLOG), 0, ALLOW, "syslog", WHATEVER},
    {OCI_CAP(CAP_BPF), 0, ALLOW, "bpf", WHATEVER},
    {OCI_CAP(CAP_PERFMON), 0, ALLOW, "perf_event_open", WHATEVER},
};
const size_t seccomp_ndefault_rules = countof(seccomp_default_rules);

/* Calls newer than libseccomp: their numbers are the same on every machine. */
const uint32_t seccomp_default_newer[] = {
    451,                /* cachestat */
    452,                /* fchmodat2 */
    453,                /* map_shadow_stack */
    454, 455, 456,      /* futex_wake, futex_wait, futex_requeue */
    462,                /* mseal */
    463, 464, 465, 466, /* setxattrat, getxattrat, listxattrat, removexattrat */
};
const size_t seccomp_ndefault_newer = countof(seccomp_default_newer);
