/* cluster_probe.c - the parts of cluster_bench.py where a script would be too slow to measure with.
 *
 *   cluster_probe crun SHIM_PID BUNDLE CRUN_ROOT ROUNDS GAP_MS   ms of each `crun create` + `crun start` of a bundle, in
 *                                                            the mount namespace of its shim; all are deleted at the end
 *   cluster_probe fdatasync FILE SECONDS BYTES               appended and synced writes of that size a second
 *   cluster_probe names ADDRESS PORT                         asks over new connections until its stdin ends; then each name
 *                                                            that answered, first and last time (monotonic ms) */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int die(const char *what)
{
    perror(what);
    exit(1);
}

/* crun takes its standard streams into the container: not the ones this program answers on. */
static void crun(char *root, char *verb, char *id, char *bundle)
{
    char *argv[] = {"crun", "--root", root, "--cgroup-manager=disabled", verb, bundle ? "--bundle" : id, bundle, id, NULL};
    char *force[] = {"crun", "--root", root, "--cgroup-manager=disabled", verb, "--force", id, NULL};
    if (!bundle)
        argv[6] = NULL;
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        (void)dup2(null, 0);
        (void)dup2(null, 1);
        (void)execv("/usr/bin/crun", strcmp(verb, "delete") == 0 ? force : argv);
        _exit(127);
    }
    int status;
    (void)waitpid(pid, &status, 0);
    if (status) {
        fprintf(stderr, "crun %s %s: status %d\n", verb, id, status);
        exit(1);
    }
}

static int do_crun(char **arg)
{
    char path[64], id[32];
    (void)snprintf(path, sizeof path, "/proc/%s/ns/mnt", arg[0]);
    int ns = open(path, O_RDONLY | O_CLOEXEC), rounds = atoi(arg[3]), gap = atoi(arg[4]);
    if (ns < 0 || setns(ns, CLONE_NEWNS) < 0)
        die(path);
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1); /* the containers are ours to reap */
    for (int i = 0; i < rounds; i++) {
        (void)snprintf(id, sizeof id, "peer%d", i);
        double start = now_ms();
        crun(arg[2], "create", id, arg[1]);
        crun(arg[2], "start", id, NULL);
        printf("%.3f\n", now_ms() - start);
        (void)poll(NULL, 0, gap);
    }
    for (int i = 0; i < rounds; i++) {
        (void)snprintf(id, sizeof id, "peer%d", i);
        crun(arg[2], "delete", id, NULL);
    }
    return 0;
}

static int do_fdatasync(char **arg)
{
    int fd = open(arg[0], O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600), n = 0;
    size_t bytes = (size_t)atoi(arg[2]);
    char *block = calloc(1, bytes);
    double start = now_ms(), end = start + atof(arg[1]) * 1e3;
    for (; now_ms() < end; n++)
        if (write(fd, block, bytes) != (ssize_t)bytes || fdatasync(fd) < 0)
            die(arg[0]);
    printf("%.0f\n", n * 1e3 / (now_ms() - start));
    return unlink(arg[0]);
}

/* One request on a connection of its own; the last word of the answer is the pod's name. */
static int ask(const struct sockaddr_in *at, char name[256])
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), got = 0;
    struct timeval patience = {1, 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    char text[1024];
    if (connect(fd, (const struct sockaddr *)at, sizeof *at) == 0 && write(fd, request, sizeof request - 1) > 0)
        for (ssize_t n; got < (int)sizeof text - 1 && (n = read(fd, text + got, sizeof text - 1 - (size_t)got)) > 0;)
            got += (int)n;
    (void)close(fd);
    text[got] = 0;
    const char *word = strrchr(text, ' ');
    return word && sscanf(word, " %255s", name) == 1;
}

static int do_names(char **arg)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(arg[1]))};
    if (inet_pton(AF_INET, arg[0], &at.sin_addr) != 1)
        die(arg[0]);
    static struct {
        char name[256];
        double first, last;
    } seen[64];
    int n = 0;
    printf("begun\n");
    (void)fflush(stdout);
    for (struct pollfd end = {0, POLLIN, 0}; poll(&end, 1, 0) == 0; (void)usleep(200)) {
        double start = now_ms();
        char name[256];
        if (!ask(&at, name))
            continue;
        int i = 0;
        while (i < n && strcmp(seen[i].name, name) != 0)
            i++;
        if (i == 64)
            break;
        if (i == n) {
            memcpy(seen[n].name, name, sizeof name);
            seen[n++].first = now_ms();
        }
        seen[i].last = start;
    }
    for (int i = 0; i < n; i++)
        printf("%s %.3f %.3f\n", seen[i].name, seen[i].first, seen[i].last);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 7 && strcmp(argv[1], "crun") == 0)
        return do_crun(argv + 2);
    if (argc == 5 && strcmp(argv[1], "fdatasync") == 0)
        return do_fdatasync(argv + 2);
    if (argc == 4 && strcmp(argv[1], "names") == 0)
        return do_names(argv + 2);
    fprintf(stderr, "see the head of bench/cluster_probe.c\n");
    return 2;
}
