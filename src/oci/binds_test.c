#include "base/test.h"
#include "oci/binds.h"
#include "sys/file.h"
#include "sys/mount.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* A volume beside a folder that is not the tenant's, and another mount namespace to attach in; without the right to
 * that, no test. */
struct world {
    char volume[200], outside[200], folder[240];
    int fd, mntns;
    pid_t holder;
};

static bool world_begin(struct world *w)
{
    struct err err = ERR;
    int ready[2];
    char byte;
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return false;
    (void)snprintf(w->volume, sizeof w->volume, "%s/volume", test_dir());
    (void)snprintf(w->outside, sizeof w->outside, "%s/outside", test_dir());
    (void)snprintf(w->folder, sizeof w->folder, "%s/binds", test_dir());
    CHECK_OK(dir_make(w->volume, 0750, &err) && dir_make(w->outside, 0755, &err), err);
    CHECK(mount("t", test_dir(), "tmpfs", 0, NULL) == 0); /* on a file system of its own, as STATE is */
    CHECK_OK(dir_make(w->volume, 0750, &err) && dir_make(w->outside, 0755, &err), err);
    w->fd = open(w->volume, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(w->fd >= 0 && pipe2(ready, O_CLOEXEC) == 0);
    w->holder = fork();
    if (w->holder == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (unshare(CLONE_NEWNS) == 0)
            (void)!write(ready[1], "", 1);
        for (;;)
            (void)pause();
    }
    char path[64];
    CHECK(read(ready[0], &byte, 1) == 1);
    (void)snprintf(path, sizeof path, "/proc/%d/ns/mnt", (int)w->holder);
    w->mntns = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(w->mntns >= 0);
    return true;
}

static void world_end(struct world *w)
{
    (void)kill(w->holder, SIGKILL);
    (void)waitpid(w->holder, NULL, 0);
    fd_close(w->mntns);
    fd_close(w->fd);
}

/* What is mounted at FOLDER/0 over there. */
static int mount_open(const struct world *w, const char *folder)
{
    char path[400];
    (void)snprintf(path, sizeof path, "/proc/%d/root%s/0", (int)w->holder, folder);
    return open(path, O_PATH | O_CLOEXEC);
}

static bool volume_attach(const struct world *w, const char *folder, const char *beneath, struct err *err)
{
    const struct oci_bind b = {str_of(w->volume), str_of(beneath), .called = S("volumeMount v")};
    return binds_attach(w->mntns, -1, folder, &b, 1, err);
}

TEST(a_bind_is_what_lies_beneath_and_nothing_else)
{
    struct world w;
    if (!world_begin(&w))
        return;
    struct stat st, want;
    struct err err = ERR;
    CHECK(symlinkat("/etc", w.fd, "out") == 0 && symlinkat("../..", w.fd, "up") == 0 &&
          symlinkat("../outside", w.fd, "beside") == 0 && symlinkat("/proc/self/root", w.fd, "magic") == 0 &&
          symlinkat("loop", w.fd, "loop") == 0 && mkdirat(w.fd, "v1", 0755) == 0 &&
          symlinkat("v1", w.fd, "..data") == 0 && symlinkat("..data/key", w.fd, "key") == 0 &&
          symlinkat("nowhere", w.fd, "dangling") == 0);
    fd_close(openat(w.fd, "v1/key", O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    static const struct {
        const char *beneath, *is, *says;
    } rows[] = {
        {"a/b/c", "a/b/c", NULL},
        {"a//b/", "a/b", NULL},
        {"./a/./b", "a/b", NULL},
        {"key", "v1/key", NULL},
        {"v1/key", "v1/key", NULL},
        {"..data", "v1", NULL},
        {"out", NULL, "failed to prepare subPath for volumeMount v"},
        {"out/new", NULL, "failed to prepare subPath"},
        {"up", NULL, "failed to prepare subPath for volumeMount v"},
        {"up/new", NULL, "failed to prepare subPath"},
        {"beside", NULL, "failed to prepare subPath for volumeMount v"},
        {"beside/new", NULL, "failed to prepare subPath"},
        {"magic", NULL, "failed to prepare subPath for volumeMount v"},
        {"magic/etc", NULL, "failed to prepare subPath for volumeMount v"},
        {"loop", NULL, "failed to prepare subPath for volumeMount v"},
        {"key/below", NULL, "failed to prepare subPath"},
        {"dangling/x", NULL, "failed to create subPath directory for volumeMount v"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        char folder[300];
        (void)snprintf(folder, sizeof folder, "%s%zu", w.folder, i);
        err = ERR;
        bool ok = volume_attach(&w, folder, rows[i].beneath, &err);
        if (ok != (rows[i].is != NULL) || (!ok && !strstr(err.text, rows[i].says)))
            test_failed(__FILE__, __LINE__, "%s: \"%s\"", rows[i].beneath, err.text);
        if (!ok)
            continue;
        AUTO(fd_close) int fd = mount_open(&w, folder);
        CHECK(fd >= 0 && fstat(fd, &st) == 0 && fstatat(w.fd, rows[i].is, &want, 0) == 0);
        CHECK(st.st_ino == want.st_ino && st.st_dev == want.st_dev);
        /* here it is an empty place, and goes with its mount over there */
        CHECK(!mount_is_point(folder));
        CHECK_OK(tree_remove(AT_FDCWD, folder, &err), err);
    }
    CHECK(fstatat(w.fd, "a/b/c", &st, 0) == 0 && (st.st_mode & 07777) == 0750);
    CHECK(fstatat(AT_FDCWD, w.outside, &st, 0) == 0);
    AUTO(fd_close) int out = open(w.outside, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(faccessat(out, "new", F_OK, 0) < 0);
    world_end(&w);
}

/* Somebody exchanges a folder with a link out of the volume all the time: what is mounted is never outside. */
TEST(a_folder_that_is_exchanged_all_the_time_leads_nowhere_else)
{
    struct world w;
    if (!world_begin(&w))
        return;
    CHECK(mkdirat(w.fd, "d", 0755) == 0 && symlinkat(w.outside, w.fd, "l") == 0 && mkdirat(w.fd, "d/in", 0755) == 0);
    char inside[300];
    (void)snprintf(inside, sizeof inside, "%s/in", w.outside);
    CHECK(mkdir(inside, 0700) == 0);
    pid_t swapper = fork();
    if (swapper == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            (void)renameat2(w.fd, "d", w.fd, "l", RENAME_EXCHANGE);
    }
    struct stat outside, st;
    CHECK(stat(inside, &outside) == 0);
    int in = 0, refused = 0;
    static const char *const beneath[] = {"d/in", "d/new/deep"};
    for (int i = 0; i < 200; i++) {
        struct err err = ERR;
        char folder[300];
        (void)snprintf(folder, sizeof folder, "%s%d", w.folder, i);
        bool ok = volume_attach(&w, folder, beneath[i % 2], &err);
        AUTO(fd_close) int fd = ok ? mount_open(&w, folder) : -1;
        in += ok;
        refused += !ok;
        if (ok && (fd < 0 || fstat(fd, &st) < 0 || st.st_ino == outside.st_ino))
            test_failed(__FILE__, __LINE__, "round %d: what is outside is mounted", i);
        if (!ok && err.kind != E_INVALID && err.kind != E_NOT_FOUND)
            test_failed(__FILE__, __LINE__, "round %d: %s", i, err.text);
        CHECK_OK(tree_remove(AT_FDCWD, folder, &err), err);
        (void)unlinkat(w.fd, "d/new/deep", AT_REMOVEDIR);
        (void)unlinkat(w.fd, "d/new", AT_REMOVEDIR);
    }
    (void)kill(swapper, SIGKILL);
    (void)waitpid(swapper, NULL, 0);
    (void)snprintf(inside, sizeof inside, "%s/new", w.outside);
    CHECK(access(inside, F_OK) < 0 && in + refused == 200);
    CHECK(stat(w.outside, &st) == 0 && (st.st_mode & 07777) == 0755);
    world_end(&w);
}

static bool ask_for(const struct world *w, int side, int round)
{
    char folder[300], beneath[40];
    struct err err = ERR;
    (void)snprintf(beneath, sizeof beneath, "r%d/x/y/z", round);
    (void)snprintf(folder, sizeof folder, "%s%d-%d", w->folder, round, side);
    if (volume_attach(w, folder, beneath, &err) && tree_remove(AT_FDCWD, folder, &err))
        return true;
    (void)fprintf(stderr, "round %d, side %d: %s\n", round, side, err.text);
    return false;
}

/* Containers of a pod, and pods with one hostPath, ask for the same folder at the same moment. */
TEST(sixteen_ask_for_the_same_new_folder)
{
    enum { SIDES = 16, ROUNDS = 60 };
    struct world w;
    if (!world_begin(&w))
        return;
    pthread_barrier_t *all = mmap(NULL, sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_barrierattr_t among;
    CHECK(all != MAP_FAILED && pthread_barrierattr_init(&among) == 0 &&
          pthread_barrierattr_setpshared(&among, PTHREAD_PROCESS_SHARED) == 0 &&
          pthread_barrier_init(all, &among, SIDES) == 0);
    pid_t pids[SIDES];
    for (int side = 0; side < SIDES; side++) {
        pids[side] = fork();
        if (pids[side] != 0)
            continue;
        bool ok = true;
        for (int round = 0; round < ROUNDS; round++) {
            (void)pthread_barrier_wait(all);
            ok = ask_for(&w, side, round) && ok; /* goes on all the same: the others wait for it */
        }
        _exit(!ok);
    }
    for (int side = 0; side < SIDES; side++) {
        int status;
        CHECK(waitpid(pids[side], &status, 0) == pids[side] && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    for (int round = 0; round < ROUNDS; round++) {
        char beneath[40];
        struct stat st;
        (void)snprintf(beneath, sizeof beneath, "r%d/x/y/z", round);
        CHECK(fstatat(w.fd, beneath, &st, 0) == 0 && (st.st_mode & 07777) == 0750);
    }
    world_end(&w);
}

TEST(what_is_mounted_below_a_shared_bind_comes_out_at_the_host)
{
    struct world w;
    if (!world_begin(&w))
        return;
    struct err err = ERR;
    struct oci_bind b = {str_of(w.volume), .shared = true, .called = S("volumeMount v")};
    CHECK(!binds_attach(w.mntns, -1, w.folder, &b, 1, &err) && err.kind == E_INVALID &&
          strstr(err.text, "is not on a shared mount"));
    CHECK(mount(w.volume, w.volume, NULL, MS_BIND, NULL) == 0 && mount(NULL, w.volume, NULL, MS_SHARED, NULL) == 0);
    err = ERR;
    CHECK_OK(binds_attach(w.mntns, -1, w.folder, &b, 1, &err), err);
    CHECK(mkdirat(w.fd, "inner", 0755) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        char path[300];
        (void)snprintf(path, sizeof path, "%s/0/inner", w.folder);
        _exit(setns(w.mntns, CLONE_NEWNS) < 0 || mount("t", path, "tmpfs", 0, NULL) < 0);
    }
    int status;
    char path[300];
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    (void)snprintf(path, sizeof path, "%s/inner", w.volume);
    CHECK(mount_is_point(path));
    CHECK_OK(mount_remove(path, &err), err);
    world_end(&w);
}

/* A sealed one is read-only where it is mounted, deep also what is mounted in it; the volume itself is as it was. */
TEST(a_sealed_bind_is_read_only_before_anybody_sees_it)
{
    struct world w;
    if (!world_begin(&w))
        return;
    CHECK(mkdirat(w.fd, "in", 0755) == 0);
    char path[300], folder[300];
    (void)snprintf(path, sizeof path, "%s/in", w.volume);
    pid_t pid = fork();
    if (pid == 0)
        _exit(setns(w.mntns, CLONE_NEWNS) < 0 || mount("t", path, "tmpfs", 0, NULL) < 0);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    static const struct {
        enum oci_seal seal;
        int outer, inner; /* errno of a write, 0: it is one */
    } rows[] = {{OCI_OPEN, 0, 0}, {OCI_SEALED, EROFS, 0}, {OCI_SEALED_DEEP, EROFS, EROFS}};
    for (size_t i = 0; i < countof(rows); i++) {
        struct err err = ERR;
        (void)snprintf(folder, sizeof folder, "%s-%zu", w.folder, i);
        const struct oci_bind b = {str_of(w.volume), .seal = rows[i].seal, .called = S("volumeMount v")};
        CHECK_OK(binds_attach(w.mntns, -1, folder, &b, 1, &err), err);
        AUTO(fd_close) int fd = mount_open(&w, folder);
        static const char *const names[] = {"file", "in/file"};
        const int want[] = {rows[i].outer, rows[i].inner};
        for (size_t k = 0; k < countof(names); k++) {
            AUTO(fd_close) int made = openat(fd, names[k], O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
            CHECK_INT(made < 0 ? errno : 0, want[k]);
        }
        AUTO(fd_close) int own = openat(w.fd, "own", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        CHECK(own >= 0);
    }
    world_end(&w);
}

/* What is mounted in a sealed one has its place there before: a folder or a file, never outside. */
TEST(a_sealed_bind_has_places_for_what_is_mounted_in_it)
{
    struct world w;
    if (!world_begin(&w))
        return;
    struct stat st;
    struct err err = ERR;
    CHECK(symlinkat("../outside", w.fd, "out") == 0);
    const struct oci_inner inner[] = {
        {S("a/b"), str_of(w.outside), S("")}, {S("c/hosts"), S("/proc/self/status"), S("")}, {S("d"), S(""), S("")}};
    const struct oci_inner leads_out = {S("out/x"), S(""), S("")};
    struct oci_bind b = {str_of(w.volume), .seal = OCI_SEALED, .inner = inner, .ninner = countof(inner),
                         .called = S("volumeMount v")};
    CHECK_OK(binds_attach(w.mntns, -1, w.folder, &b, 1, &err), err);
    AUTO(fd_close) int fd = mount_open(&w, w.folder);
    CHECK(fstatat(fd, "a/b", &st, 0) == 0 && S_ISDIR(st.st_mode) && (st.st_mode & 07777) == 0755);
    CHECK(fstatat(fd, "c/hosts", &st, 0) == 0 && S_ISREG(st.st_mode));
    CHECK(fstatat(fd, "d", &st, 0) == 0 && S_ISDIR(st.st_mode));
    CHECK(mkdirat(fd, "more", 0755) < 0 && errno == EROFS);
    b.inner = &leads_out;
    b.ninner = 1;
    char folder[300];
    (void)snprintf(folder, sizeof folder, "%s-2", w.folder);
    CHECK(!binds_attach(w.mntns, -1, folder, &b, 1, &err));
    AUTO(fd_close) int out = open(w.outside, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(faccessat(out, "x", F_OK, 0) < 0);
    world_end(&w);
}
