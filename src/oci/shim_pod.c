/* shim_pod.c - what the shim makes of itself to be a pod: namespaces, mounts, PID 1 where the pod shares one. */
#include "oci/shim_int.h"
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u
#endif
#if defined(__x86_64__)
#define SHIM_AUDIT_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define SHIM_AUDIT_ARCH AUDIT_ARCH_AARCH64
#elif defined(__riscv)
#define SHIM_AUDIT_ARCH AUDIT_ARCH_RISCV64
#elif defined(__powerpc64__)
#define SHIM_AUDIT_ARCH AUDIT_ARCH_PPC64LE
#elif defined(__s390x__)
#define SHIM_AUDIT_ARCH AUDIT_ARCH_S390X
#endif

/* ---- PID 1 of a pod's own pid namespace ----
 *
 * It reaps, and takes everything with it when it or the shim goes. The pod's containers see it, and one with
 * SYS_PTRACE may make it do what it likes. So it owns nothing: its program is a copy in memory, its root is empty, it
 * is nobody without capabilities, has no descriptors, and may make no system call but those of waiting. */

#define INIT_USER 65534
enum { INIT_TELL, INIT_LIFE }; /* descriptors: says "ready"; ends with the shim */

/* A sealed copy: /proc/1/exe must not be the node's file. */
static int own_program(void)
{
    int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int to = memfd_create("wherry-init", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
    if (to < 0 && errno == EINVAL) /* before 6.3 all of them may be executed */
        to = memfd_create("wherry-init", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    ssize_t n = from < 0 || to < 0 ? -1 : 1;
    while (n > 0)
        n = sendfile(to, from, NULL, 1 << 20);
    if (n == 0 && fcntl(to, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
        n = -1;
    if (n < 0)
        fd_drop(&to);
    fd_drop(&from);
    return to;
}

static bool empty_root(void)
{
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("none", pod.state, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k,mode=0") == 0 &&
           chdir(pod.state) == 0 && syscall(SYS_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) == 0 &&
           chdir("/") == 0;
}

/* Not before it waits are there containers that might see it. */
static pid_t init_start(void)
{
    int tell[2] = {-1, -1}, life[2] = {-1, -1}, program = own_program();
    if (program < 0 || pipe2(tell, O_CLOEXEC) < 0 || pipe2(life, O_CLOEXEC) < 0)
        return -1;
    pid_t pid = users_clone();
    if (pid == 0) {
        static char name[] = "wherry-init", option[] = "--init";
        char *argv[] = {name, option, NULL}, *env[] = {NULL};
        if (empty_root() && dup2(tell[1], INIT_TELL) >= 0 && dup2(life[0], INIT_LIFE) >= 0)
            syscall(SYS_execveat, program, "", argv, env, AT_EMPTY_PATH);
        _exit(1);
    }
    fd_drop(&program);
    fd_drop(&tell[1]);
    fd_drop(&life[0]);
    /* life[1] stays open as long as the shim lives */
    char byte;
    if (pid > 0 && read(tell[0], &byte, 1) != 1) {
        kill(pid, SIGKILL);
        errno = EIO;
        pid = -1;
    }
    fd_drop(&tell[0]);
    return pid;
}

static bool only_waits(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_wait4, 6, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigtimedwait, 5, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_restart_syscall, 4, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 2, 0), /* there will be nothing to write to */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SHIM_AUDIT_ARCH, 1, 0), /* other tables have other numbers */
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof code[0], code};
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}

int init_main(void)
{
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    char byte;
    bool ok = close_range(INIT_LIFE + 1, ~0U, 0) == 0 && sigprocmask(SIG_BLOCK, &child, NULL) == 0 &&
              prctl(PR_SET_NAME, "wherry-init") == 0 && setgroups(0, NULL) == 0 &&
              setresgid(INIT_USER, INIT_USER, INIT_USER) == 0 && setresuid(INIT_USER, INIT_USER, INIT_USER) == 0 &&
              prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
              prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && fcntl(INIT_LIFE, F_SETFL, O_NONBLOCK) == 0 &&
              read(INIT_LIFE, &byte, 1) < 0 && errno == EAGAIN && /* else the shim had ended before we asked */
              close(INIT_LIFE) == 0 && only_waits() && write(INIT_TELL, "", 1) == 1 && close(INIT_TELL) == 0;
    while (ok) {
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
        sigwaitinfo(&child, NULL);
    }
    return 1;
}

static const char *sysctls_write(char *list)
{
    for (char *line = list; *line;) {
        char *end = line + strcspn(line, "\n"), *value = line + strcspn(line, "=\n"), path[320];
        bool more = *end == '\n';
        if (*value != '=' || value - line > 250)
            return "a sysctl is not key=value";
        *end = *value++ = 0;
        struct shim_text t = TEXT(path);
        text_add(&t, "/proc/sys/");
        char *key = t.p;
        text_add(&t, line);
        if (!strchr(key, '/'))
            for (char *k = key; *k; k++)
                if (*k == '.')
                    *k = '/';
        if (strstr(key, ".."))
            return "a sysctl's name has .. in it";
        if (!write_file(AT_FDCWD, path, 0, value, strlen(value))) {
            static char text[SHIM_TEXT];
            struct shim_text e = TEXT(text);
            text_add(&e, "sysctl ");
            text_add(&e, line);
            text_add(&e, "=");
            text_add(&e, value);
            return text;
        }
        line = end + more;
    }
    return NULL;
}

const char *pod_settings(void)
{
    if (pod.flags & SHIM_NEW_UTS && pod.hostname[0] && sethostname(pod.hostname, strlen(pod.hostname)) < 0)
        return "setting the host name";
    return sysctls_write(pod.sysctls);
}

static const char *sandbox_set_up(void)
{
    int flags = CLONE_NEWNS;
    flags |= pod.flags & SHIM_NEW_NET ? CLONE_NEWNET : 0;
    flags |= pod.flags & SHIM_NEW_IPC ? CLONE_NEWIPC : 0;
    flags |= pod.flags & SHIM_NEW_UTS ? CLONE_NEWUTS : 0;
    const char *why = NULL;
    if (unshare(pod_ids ? CLONE_NEWNS : flags) < 0)
        return "making the pod's namespaces";
    if (pod_ids && (why = users_set_up(flags & ~CLONE_NEWNS)))
        return why;
    if (pod_ids && (mount("", "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 || !users_let_in()))
        return "letting the pod's users in";
    /* not before: it would see no mount that is made here */
    here = open(pod.state, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (here < 0 || fchdir(here) < 0)
        return pod.state;
    if (mount("", "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
        return "making mounts private";
    if (pod.flags & SHIM_HIDE_UNIFIED && umount2("/sys/fs/cgroup/unified", MNT_DETACH) < 0)
        return "hiding /sys/fs/cgroup/unified from crun";
    if (!pid_save())
        return "writing down who it is";
    if (!pod_ids && (why = pod_settings()))
        return why;
    if (pod.shm_mib) {
        char options[64];
        struct shim_text t = TEXT(options);
        text_add(&t, "mode=1777,size=");
        add_number(&t, pod.shm_mib);
        text_add(&t, "m");
        if ((mkdirat(here, "shm", 0755) < 0 && errno != EEXIST) ||
            mount("shm", "shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options) < 0)
            return "mounting /dev/shm";
    }
    if (pod.flags & SHIM_NEW_PID && (pod_init = init_start()) < 0)
        return "making the pod's pid namespace";
    struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = "sock"};
    unlinkat(here, "sock", 0);
    listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&at, sizeof at) < 0 || listen(listener, 8) < 0)
        return "listening on its socket";
    return NULL;
}

int shim_fail(const char *what) /* fills the answer's text; the status is errno */
{
    int keep = errno ? errno : EINVAL;
    struct shim_text t = TEXT(out_msg.u.target.text);
    text_add(&t, what);
    text_add(&t, ": ");
    text_add(&t, strerror(keep));
    return keep;
}

static int pod_become(const struct shim_sandbox *m, uint32_t first_id, uint32_t ids)
{
    if (ready)
        return EALREADY;
    pod = *m;
    pod_first_id = first_id;
    pod_ids = pod.flags & SHIM_NEW_USER ? ids : 0;
    errno = 0;
    const char *why = sandbox_set_up();
    if (why)
        return shim_fail(why);
    /* Whoever asked may have ended meanwhile, and a successor found nobody listening and taken the folder away: it
     * would look for nobody here. Whoever ends from now on leaves a successor that can connect. */
    struct pollfd asker = {clients[0].fd, POLLRDHUP, 0};
    if (poll(&asker, 1, 0) > 0 && asker.revents & (POLLRDHUP | POLLHUP | POLLERR))
        _exit(1);
    ready = true;
    return 0;
}

int do_sandbox(void)
{
    return pod_become(&in_msg.u.sandbox, 0, 0);
}

int do_pod(void)
{
    return pod_become(&in_msg.u.pod.sandbox, in_msg.u.pod.first_id, in_msg.u.pod.ids);
}

int do_mount(void)
{
    struct shim_mount *m = &in_msg.u.mount;
    if (mount(m->source, m->target, m->type[0] ? m->type : NULL, m->flags, m->data[0] ? m->data : NULL) < 0)
        return errno;
    /* a read-only bind takes two steps */
    if (m->flags & MS_BIND && m->flags & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC) &&
        mount(NULL, m->target, NULL, m->flags | MS_REMOUNT, NULL) < 0)
        return errno;
    return 0;
}
