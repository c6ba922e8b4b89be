/* shim_user.c - the pod's user namespace (hostUsers: false), and the namespaces that belong to it.
 *
 * A namespace belongs to the user namespace of who makes it, and the shim stays among the host's users. So a helper
 * makes them: it goes into a user namespace of its own, the shim says which ids of the host are its 0 and up, then it
 * makes the others and sets what the kernel lets only their own root set (sysctls of the IPC namespace). The shim
 * takes them over by their files in /proc and keeps the user namespace as descriptor SHIM_USER_FD: nobody need live
 * in it. */
#include "oci/shim_int.h"
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct report {
    int failed; /* 0, or an errno */
    char what[SHIM_TEXT];
};

static void report_fail(struct report *r, const char *what)
{
    struct shim_text t = TEXT(r->what);
    r->failed = errno ? errno : EINVAL;
    text_add(&t, what);
}

static void helper_run(int link, int flags)
{
    static struct report r;
    const char *why = NULL;
    char byte;
    errno = 0;
    if (unshare(CLONE_NEWUSER) < 0)
        report_fail(&r, "making the pod's user namespace");
    if (write(link, &r, sizeof r) != sizeof r || read(link, &byte, 1) != 1)
        _exit(1);
    if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
        report_fail(&r, "becoming root of the pod's user namespace");
    else if (unshare(flags) < 0)
        report_fail(&r, "making the pod's namespaces");
    else if ((why = pod_settings()))
        report_fail(&r, why);
    if (write(link, &r, sizeof r) == sizeof r)
        (void)!read(link, &byte, 1); /* until the shim has what it wants */
    _exit(0);
}

static char *of_process(char *to, size_t size, pid_t pid, const char *file)
{
    struct shim_text t = {to, to + size - 1};
    text_add(&t, "/proc/");
    add_number(&t, pid);
    text_add(&t, file);
    return to;
}

static bool ids_map(pid_t pid)
{
    char line[64], path[64];
    struct shim_text t = TEXT(line);
    text_add(&t, "0 ");
    add_number(&t, pod_first_id);
    text_add(&t, " ");
    add_number(&t, pod_ids);
    return write_file(AT_FDCWD, of_process(path, sizeof path, pid, "/uid_map"), 0, line, strlen(line)) &&
           write_file(AT_FDCWD, of_process(path, sizeof path, pid, "/gid_map"), 0, line, strlen(line));
}

static bool take_over(pid_t pid, int flags)
{
    static const struct {
        int flag;
        const char *file;
    } kinds[] = {{CLONE_NEWNET, "/ns/net"}, {CLONE_NEWIPC, "/ns/ipc"}, {CLONE_NEWUTS, "/ns/uts"}};
    char path[64];
    every (k, kinds) {
        if (!(flags & k->flag))
            continue;
        int fd = open(of_process(path, sizeof path, pid, k->file), O_RDONLY | O_CLOEXEC);
        bool ok = fd >= 0 && setns(fd, k->flag) == 0;
        fd_drop(&fd);
        if (!ok)
            return false;
    }
    int users = open(of_process(path, sizeof path, pid, "/ns/user"), O_RDONLY | O_CLOEXEC);
    bool ok = users >= 0 && dup3(users, SHIM_USER_FD, O_CLOEXEC) == SHIM_USER_FD;
    fd_drop(&users);
    return ok;
}

static bool helper_says(int link, struct report *r)
{
    if (read(link, r, sizeof *r) != sizeof *r)
        return errno = EIO, r->what[0] = 0, false;
    r->what[sizeof r->what - 1] = 0;
    errno = r->failed;
    return r->failed == 0;
}

const char *users_set_up(int flags)
{
    static struct report r;
    int link[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, link) < 0)
        return "making the pod's user namespace";
    pid_t pid = fork();
    if (pid == 0) {
        close(link[0]);
        helper_run(link[1], flags);
    }
    fd_drop(&link[1]);
    const char *why = pid < 0 || !helper_says(link[0], &r) ? "making the pod's user namespace" : NULL;
    if (!why && !ids_map(pid))
        why = "mapping the ids of the pod's user namespace";
    if (!why && (write(link[0], "", 1) != 1 || !helper_says(link[0], &r)))
        why = r.what[0] ? r.what : "making the pod's namespaces";
    if (!why && !take_over(pid, flags))
        why = "entering the pod's namespaces";
    int keep = errno;
    fd_drop(&link[0]); /* the helper ends */
    errno = keep;
    return why;
}

bool users_let_in(void)
{
    char above[SHIM_PATH];
    struct shim_text t = TEXT(above);
    text_add(&t, pod.state);
    char *slash = strrchr(above, '/');
    if (!slash || slash == above)
        return errno = EINVAL, false;
    *slash = 0;
    return chdir(pod.state) == 0 &&
           mount("pods", above, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=64k,mode=0711") == 0 &&
           mkdir(pod.state, 0711) == 0 && mount(".", pod.state, NULL, MS_BIND, NULL) == 0 && chdir("/") == 0;
}

pid_t users_clone(void)
{
    int tell[2];
    pid_t pid = -1;
    if (!pod_ids)
        return (pid_t)syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
    if (pipe2(tell, O_CLOEXEC) < 0)
        return -1;
    pid_t between = fork();
    if (between == 0) {
        if (setns(SHIM_USER_FD, CLONE_NEWUSER) == 0)
            pid = (pid_t)syscall(SYS_clone, CLONE_NEWPID | CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
        if (pid == 0 && (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0))
            _exit(1);
        if (pid == 0)
            return 0;
        (void)!write(tell[1], &pid, sizeof pid);
        _exit(0);
    }
    fd_drop(&tell[1]);
    if (between < 0 || read(tell[0], &pid, sizeof pid) != sizeof pid || pid < 0)
        pid = -1;
    int keep = errno ? errno : EPERM;
    fd_drop(&tell[0]);
    errno = keep;
    return pid;
}
