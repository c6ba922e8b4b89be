#include "base/fault.h"
#include "base/str.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <unistd.h>

static atomic_int countdown;
static atomic_bool fired;
static const char *only; /* armed from the environment: this place alone */
static size_t only_len;
static const char *die_at; /* a file; NULL: nobody wants us dead */

__attribute__((constructor)) static void arm_from_environment(void)
{
    const char *spec = getenv("WHERRY_FAULT");
    die_at = getenv("WHERRY_DIE_AT");
    const char *colon = spec ? strrchr(spec, ':') : NULL;
    if (!colon)
        return;
    only = spec;
    only_len = (size_t)(colon - spec);
    atomic_store(&countdown, (int)strtol(colon + 1, NULL, 10));
}

static bool is_meant(struct str pattern, struct str place)
{
    bool open_end = str_ends(pattern, S("*"));
    pattern.n -= open_end;
    return open_end ? str_starts(place, pattern) : str_eq(place, pattern);
}

static void file_rewrite(int fd, const char *text)
{
    size_t n = strlen(text);
    if (ftruncate(fd, 0) < 0 || pwrite(fd, text, n, 0) != (ssize_t)n)
        abort();
}

enum fate { LIVES, LOOPS, WAITS };

/* Under the lock of the file: the n-th one is one alone, of all threads and processes. */
static enum fate count_down(int fd, const char *place)
{
    char text[200] = "", next[300];
    struct str pattern, rest, number, how = STR_NONE;
    int64_t n;
    if (pread(fd, text, sizeof text - 1, 0) <= 0 || !str_split(str_trim(str_of(text)), ' ', &pattern, &rest))
        return LIVES;
    (void)str_split(rest, ' ', &number, &how);
    if (!str_to_i64(number, 1, INT32_MAX, &n) || !is_meant(pattern, str_of(place)))
        return LIVES;
    bool dies = !how.n;
    if (n > 1)
        (void)snprintf(next, sizeof next, STR_FMT " %lld%s" STR_FMT "\n", STR_ARG(pattern), (long long)n - 1,
                       dies ? "" : " ", STR_ARG(how));
    else
        (void)snprintf(next, sizeof next, "%s %s\n", dies ? "died" : "hung", place);
    file_rewrite(fd, next);
    if (n == 1 && dies)
        (void)kill(getpid(), SIGKILL); /* of itself */
    return n > 1 ? LIVES : str_eq(how, S("loop")) ? LOOPS : WAITS;
}

void fault_pass(const char *place)
{
    if (!die_at)
        return;
    int saved = errno, fd = open(die_at, O_RDWR | O_CLOEXEC);
    enum fate fate = fd >= 0 && flock(fd, LOCK_EX) == 0 ? count_down(fd, place) : LIVES;
    if (fd >= 0)
        (void)close(fd); /* nothing was written that it could tell of */
    while (fate != LIVES)
        if (fate == WAITS)
            (void)pause();
    errno = saved;
}

bool fault(const char *place, int errno_value)
{
    fault_pass(place);
    if (atomic_load_explicit(&countdown, memory_order_relaxed) <= 0)
        return false;
    if (only && (strlen(place) != only_len || memcmp(place, only, only_len) != 0))
        return false;
    if (atomic_fetch_sub(&countdown, 1) != 1)
        return false;
    atomic_store(&fired, true);
    errno = errno_value;
    return true;
}

void fault_at(int n)
{
    atomic_store(&fired, false);
    atomic_store(&countdown, n);
}

bool fault_fired(void)
{
    return atomic_load(&fired);
}
