#include "cli/uplock.h"
#include "base/log.h"
#include "sys/file.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/stat.h>

#define LOOK_MS 50

static const char *const words[] = {[UP_STARTING] = "starting", [UP_READY] = "ready", [UP_ENDING] = "ending"};

static void path_of(const struct settings *s, const char *name, char path[PATH_MAX])
{
    (void)snprintf(path, PATH_MAX, STR_FMT "/%s", STR_ARG(s->run), name);
}

static bool read_small(const char *path, struct strbuf *b)
{
    struct err ignored = ERR; /* not there, or it went a moment ago: nothing is known then */
    return file_read(AT_FDCWD, path, b, &ignored);
}

/* It was told to end, and that is not yet carried out; the kernel lets go of its locks when it is. */
static bool is_dying(pid_t pid)
{
    char path[64];
    AUTO(strbuf_fini) struct strbuf b = STRBUF(16384);
    static const char *const lines[] = {"\nSigPnd:\t", "\nShdPnd:\t"};
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    if (!read_small(path, &b) || str_find(strbuf_str(&b), S("\nState:\tZ")) >= 0)
        return true;
    for (size_t i = 0; i < countof(lines); i++) {
        ptrdiff_t at = str_find(strbuf_str(&b), str_of(lines[i]));
        if (at >= 0 &&
            strtoull(b.p + at + strlen(lines[i]), NULL, 16) & (1ull << (SIGKILL - 1) | 1ull << (SIGTERM - 1)))
            return true;
    }
    return false;
}

static struct up_holder holder_of(const struct settings *s, int fd)
{
    struct up_holder h = {0};
    char path[PATH_MAX], text[32] = "";
    int64_t pid;
    AUTO(strbuf_fini) struct strbuf state = STRBUF(STRBUF_TEXT);
    if (pread(fd, text, sizeof text - 1, 0) <= 0 || !str_to_i64(str_of(text), 1, INT32_MAX, &pid))
        pid = 1; /* it has only just taken it */
    h.pid = (pid_t)pid;
    h.state = UP_STARTING;
    path_of(s, "supervisor.state", path);
    if (read_small(path, &state))
        for (size_t i = 0; i < countof(words); i++)
            if (str_eqz(str_trim(strbuf_str(&state)), words[i]))
                h.state = (enum up_state)i;
    if (h.pid > 1 && is_dying(h.pid))
        h.state = UP_ENDING;
    return h;
}

struct up_holder uplock_holder(const struct settings *s)
{
    char path[PATH_MAX];
    path_of(s, "supervisor.lock", path);
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK)
        return (struct up_holder){0};
    return holder_of(s, fd);
}

/* `wherry down` removes the file at its end: a lock of what has no name any more keeps nobody out. */
static bool has_its_name(int fd, const char *path)
{
    struct stat a, b;
    return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

int uplock_try(const struct settings *s, struct up_holder *other, struct err *err)
{
    char path[PATH_MAX];
    AUTO_FREE char *run = str_dupz(s->run);
    path_of(s, "supervisor.lock", path);
    *other = (struct up_holder){0};
    for (;;) {
        if (!dir_make(run, 0755, err))
            return -1;
        AUTO(fd_close) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0 && errno == ENOENT)
            continue; /* `wherry down` was just done with it */
        if (fd < 0)
            return err_errno(err, "open %s", path), -1;
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
            if (!has_its_name(fd, path))
                continue;
            uplock_tell(s, fd, UP_STARTING);
            return TAKE_FD(fd);
        }
        if (errno != EWOULDBLOCK)
            return err_errno(err, "lock %s", path), -1;
        *other = holder_of(s, fd);
        return -1;
    }
}

void uplock_tell(const struct settings *s, int lock, enum up_state state)
{
    char path[PATH_MAX], pid[32];
    struct err err = ERR;
    int n = snprintf(pid, sizeof pid, "%d", (int)getpid());
    path_of(s, "supervisor.state", path);
    bool ok = file_replace(AT_FDCWD, path, str_of(words[state]), 0644, &err) &&
              ((ftruncate(lock, 0) == 0 && pwrite(lock, pid, (size_t)n, 0) == n) ||
               err_errno(&err, "supervisor.lock"));
    if (!ok)
        log_warn("lock", "others are not told that this is %s: error=\"%s\"", words[state], err.text);
}

bool uplock_wait(const struct settings *s, const struct up_holder *holder, int most_ms)
{
    AUTO(fd_close) int fd = holder->pid > 1 ? pidfd_open(holder->pid, 0) : -1;
    for (int waited = 0; waited < most_ms; waited += LOOK_MS) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        (void)poll(&p, fd >= 0, LOOK_MS);
        struct up_holder now = uplock_holder(s);
        if (now.pid != holder->pid || now.state != holder->state)
            return true;
    }
    return false;
}

void uplock_remove(const struct settings *s)
{
    static const char *const names[] = {"supervisor.state", "supervisor.lock"};
    char path[PATH_MAX];
    for (size_t i = 0; i < countof(names); i++) {
        path_of(s, names[i], path);
        if (unlink(path) < 0 && errno != ENOENT)
            log_warn("lock", "remove %s: error=\"%s\"", path, strerror(errno));
    }
    (void)snprintf(path, sizeof path, STR_FMT, STR_ARG(s->run));
    (void)rmdir(path); /* somebody's who has just begun, or a disk of its own: it stays */
}
