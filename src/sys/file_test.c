#include "base/clock.h"
#include "base/fault.h"
#include "base/test.h"
#include "sys/file.h"
#include "sys/inotify.h"
#include "sys/mount.h"
#include "sys/syncs_test.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>

static const char *in_dir(const char *name)
{
    static char paths[8][256];
    static int next;
    char *p = paths[next++ % 8];
    (void)snprintf(p, sizeof paths[0], "%s/%s", test_dir(), name);
    return p;
}

TEST(file_write_keeps_the_old_content_when_anything_fails)
{
    struct err err = ERR;
    const char *path = in_dir("f");
    CHECK_OK(file_write(AT_FDCWD, path, S("old"), 0640, &err), err);
    for (int n = 1; n < 100; n++) {
        fault_at(n);
        bool ok = file_write(AT_FDCWD, path, S("new"), 0640, &err);
        bool fired = fault_fired();
        fault_at(0);
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        CHECK_OK(file_read(AT_FDCWD, path, &b, &err), err);
        CHECK(ok || fired);
        CHECK(str_eq(strbuf_str(&b), S("new")) || !ok);
        CHECK(str_eq(strbuf_str(&b), S("new")) || str_eq(strbuf_str(&b), S("old")));
        if (!fired)
            break;
        CHECK_OK(file_write(AT_FDCWD, path, S("old"), 0640, &err), err);
    }
    struct stat st;
    CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0640);
    AUTO(strbuf_fini) struct strbuf small = STRBUF(2);
    CHECK(!file_read(AT_FDCWD, path, &small, &err) && err.kind == E_TOO_LARGE);
    CHECK(!file_read(AT_FDCWD, in_dir("none"), &small, &err) && err.kind == E_NOT_FOUND);
}

TEST(file_replace_needs_no_sync_and_keeps_the_old_content_when_it_fails)
{
    struct err err = ERR;
    const char *path = in_dir("r");
    CHECK_OK(file_replace(AT_FDCWD, path, S("old"), 0600, &err), err);
    fault_at(1); /* the rename: there is no other fault point on its way */
    CHECK(!file_replace(AT_FDCWD, path, S("new"), 0600, &err));
    fault_at(0);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    CHECK_OK(file_read(AT_FDCWD, path, &b, &err), err);
    CHECK_STR(strbuf_str(&b), S("old"));
    CHECK_OK(file_replace(AT_FDCWD, path, S("new"), 0600, &err), err);
    strbuf_reset(&b);
    CHECK_OK(file_read(AT_FDCWD, path, &b, &err), err);
    CHECK_STR(strbuf_str(&b), S("new"));
}

TEST(file_trees_are_made_and_removed)
{
    struct err err = ERR;
    CHECK_OK(dir_make(in_dir("a/b/c"), 0700, &err), err);
    CHECK_OK(dir_make(in_dir("a/b/c"), 0700, &err), err);
    CHECK_OK(file_write(AT_FDCWD, in_dir("a/b/f"), S("x"), 0600, &err), err);
    CHECK_OK(file_write(AT_FDCWD, in_dir("keep"), S("x"), 0600, &err), err);
    CHECK(symlink(in_dir("keep"), in_dir("a/link")) == 0);
    CHECK(symlink("..", in_dir("a/b/up")) == 0);
    CHECK(!dir_make(in_dir("keep/x"), 0700, &err));
    CHECK_OK(tree_remove(AT_FDCWD, in_dir("a"), &err), err);
    CHECK_OK(tree_remove(AT_FDCWD, in_dir("a"), &err), err);
    CHECK(access(in_dir("a"), F_OK) < 0 && access(in_dir("keep"), F_OK) == 0);
}

static bool own_mounts(void)
{
    if (getuid() != 0 || unshare(CLONE_NEWNS) < 0)
        return false;
    CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    return true;
}

TEST(mounts_are_made_and_removed)
{
    struct err err = ERR;
    if (!own_mounts())
        return;
    CHECK_OK(dir_make(in_dir("base"), 0700, &err), err);
    CHECK_OK(mount_tmpfs(in_dir("base"), 1 << 20, 0755, MOUNT_NODEV, &err), err);
    CHECK_OK(dir_make(in_dir("base/to"), 0755, &err), err);
    CHECK_OK(dir_make(in_dir("base/beside"), 0755, &err), err);
    CHECK_OK(mount_tmpfs(in_dir("base/to"), 0, 0755, MOUNT_RO, &err), err);
    CHECK(open(in_dir("base/to/new"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600) < 0 && errno == EROFS);
    CHECK(mount_is_point(in_dir("base/to")) && !mount_is_point(in_dir("base/beside")));
    CHECK(!tree_remove(AT_FDCWD, in_dir("base"), &err) && err.kind == E_CONFLICT); /* leaves mounts alone */
    CHECK_OK(mount_remove(in_dir("base/to"), &err), err);
    CHECK_OK(mount_remove(in_dir("base/to"), &err), err);
    CHECK(!mount_is_point(in_dir("base/to")));
    CHECK(!mount_tmpfs(in_dir("base/nowhere"), 0, 0755, 0, &err));
    CHECK(str_has(str_of(err.text), S("base/nowhere")));
    CHECK_OK(mount_remove(in_dir("base"), &err), err);
}

static int told;
static void change_seen(struct inotify *i, UNUSED int watch, uint32_t mask, struct str name)
{
    CHECK(mask & IN_CLOSE_WRITE);
    CHECK_STR(name, S("x"));
    told++;
    inotify_stop(i);
}
TEST(inotify_tells_of_a_change)
{
    struct err err = ERR;
    AUTO(loop_free) struct loop *l = loop_new(&err);
    struct inotify i;
    CHECK_OK(inotify_start(&i, l, change_seen, &err), err);
    CHECK(inotify_add(&i, test_dir(), IN_CLOSE_WRITE, &err) > 0);
    CHECK(inotify_add(&i, in_dir("none"), IN_CLOSE_WRITE, &err) < 0);
    AUTO(fd_close) int fd = open(in_dir("x"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    fd_close(TAKE_FD(fd));
    loop_run(l);
    CHECK_INT(told, 1);
}

TEST(a_tree_of_any_depth_is_removed)
{
    struct err err = ERR;
    int64_t freed = 0;
    CHECK_OK(dir_make(in_dir("deep"), 0700, &err), err);
    CHECK_OK(file_write(AT_FDCWD, in_dir("deep/file"), S("x"), 0600, &err), err);
    CHECK_OK(dir_make(in_dir("deep/.removed-0/x"), 0700, &err), err);
    int at = open(in_dir("deep"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < 5000; i++) { /* far beyond what a path or a stack holds */
        CHECK(mkdirat(at, "d", 0700) == 0);
        int next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        CHECK(next >= 0);
        fd_close(at);
        at = next;
    }
    fd_close(at);
    CHECK_OK(tree_remove_counted(AT_FDCWD, in_dir("deep"), &freed, &err), err);
    CHECK(access(in_dir("deep"), F_OK) < 0);
    CHECK(freed >= 512);
}

/* chattr +i and +a, at every place of a tree: root may take them away again. */
TEST(a_tree_that_may_not_be_changed_is_removed)
{
    struct err err = ERR;
    static const struct {
        const char *name;
        int flag;
    } held[] = {{"t/d/f", FS_IMMUTABLE_FL},
                {"t/d/a", FS_APPEND_FL},
                {"t/d", FS_IMMUTABLE_FL},
                {"t/e", FS_APPEND_FL},
                {"t", FS_IMMUTABLE_FL}};
    CHECK_OK(dir_make(in_dir("t/d"), 0755, &err) && dir_make(in_dir("t/e/empty"), 0755, &err), err);
    fd_close(open(in_dir("t/d/f"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    fd_close(open(in_dir("t/d/a"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    CHECK(symlink("f", in_dir("t/d/l")) == 0 && mkfifo(in_dir("t/d/p"), 0600) == 0);
    for (size_t i = 0; i < countof(held); i++) {
        AUTO(fd_close) int fd = open(in_dir(held[i].name), O_RDONLY | O_CLOEXEC);
        int flags = 0;
        CHECK(fd >= 0);
        if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
            break; /* a file system without */
        flags |= held[i].flag;
        if (ioctl(fd, FS_IOC_SETFLAGS, &flags) < 0)
            break; /* not root */
    }
    CHECK_OK(tree_remove(AT_FDCWD, in_dir("t"), &err), err);
    CHECK(access(in_dir("t"), F_OK) < 0);
}

TEST(file_write_is_on_the_disk_before_it_says_so)
{
    struct err err = ERR;
    const char *path = in_dir("f");
    CHECK_OK(file_write(AT_FDCWD, path, S("old"), 0600, &err), err);
    CHECK(syncs_fail());
    CHECK(!file_write(AT_FDCWD, path, S("new"), 0600, &err) && err.sys == EDQUOT);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    err = ERR;
    CHECK_OK(file_read(AT_FDCWD, path, &b, &err), err);
    CHECK_STR(strbuf_str(&b), S("old")); /* the file itself comes before its name */
}

static bool write_out(const char *path, const char *text, struct err *err)
{
    AUTO(file_out_fini) struct file_out o = {.fd = -1};
    return file_out_open(&o, path, 0600, err) && write_all(o.fd, str_of(text), err) && file_out_done(&o, err);
}

#define CHECK_HOLDS(path, text)                                                                                      \
    do {                                                                                                             \
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);                                                     \
        CHECK_OK(file_read(AT_FDCWD, path, &b, &err), err);                                                          \
        CHECK_STR(strbuf_str(&b), S(text));                                                                          \
    } while (0)

TEST(file_out_writes_to_what_is_there)
{
    struct err err = ERR;
    struct stat st;
    const char *real = in_dir("real"), *link_to = in_dir("link"), *fifo = in_dir("fifo"),
               *dangling = in_dir("dangling");
    CHECK_OK(write_out(real, "one", &err), err);
    CHECK(stat(real, &st) == 0 && (st.st_mode & 07777) == 0600);
    CHECK(symlink("real", link_to) == 0);
    CHECK_OK(write_out(link_to, "two", &err), err);
    CHECK_HOLDS(real, "two");
    CHECK(lstat(link_to, &st) == 0 && S_ISLNK(st.st_mode));
    CHECK(symlink("later", dangling) == 0);
    CHECK_OK(write_out(dangling, "three", &err), err);
    CHECK_HOLDS(in_dir("later"), "three");
    CHECK(lstat(dangling, &st) == 0 && S_ISLNK(st.st_mode));
    CHECK(mkfifo(fifo, 0600) == 0);
    AUTO(fd_close) int reader = open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    CHECK_OK(write_out(fifo, "four", &err), err);
    char got[10] = "";
    CHECK(read(reader, got, sizeof got) == 4 && lstat(fifo, &st) == 0 && S_ISFIFO(st.st_mode));
    CHECK_OK(write_out("/dev/null", "five", &err), err);
    CHECK(!write_out("/dev/full", "six", &err));
    CHECK(stat("/dev/full", &st) == 0 && S_ISCHR(st.st_mode));
    CHECK(!write_out(test_dir(), "seven", &err)); /* a folder */
    CHECK(!write_out(in_dir("no/such/folder"), "eight", &err));
    CHECK(symlink("round", in_dir("round")) == 0);
    CHECK(!write_out(in_dir("round"), "nine", &err));
}

TEST(file_out_appends_to_a_descriptor_of_ours)
{
    struct err err = ERR;
    const char *path = in_dir("out");
    char name[40];
    AUTO(fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CHECK(write(fd, "before ", 7) == 7);
    (void)snprintf(name, sizeof name, "/dev/fd/%d", fd);
    CHECK_OK(write_out(name, "after", &err), err);
    CHECK_HOLDS(path, "before after");
}

TEST(file_out_leaves_the_old_or_the_new)
{
    struct err err = ERR;
    const char *path = in_dir("kept");
    CHECK_OK(write_out(path, "old", &err), err);
    for (int n = 1; n < 100; n++) {
        fault_at(n);
        bool ok = write_out(path, "new", &err), fired = fault_fired();
        fault_at(0);
        if (!ok && n < 3) /* the last one fails after the new one stands */
            CHECK_HOLDS(path, "old");
        DIR *d = opendir(test_dir());
        for (struct dirent *e; (e = readdir(d));)
            CHECK(!strstr(e->d_name, ".new."));
        (void)closedir(d);
        if (!fired)
            break;
    }
    CHECK_HOLDS(path, "new");
}
