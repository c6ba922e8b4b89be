#define WHERRY_CLOCK
#include "base/array.h"
#include "base/clock.h"
#include "base/test.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* A test that computes may take as long as the machine needs for it; one that hangs may not. */
#define CPU_S     60
#define TIMEOUT_S 180
#define JOBS_MAX  16

static struct test *tests;
static char dir[64];

void test_add(struct test *t)
{
    struct test **at = &tests;
    while (*at && (strcmp((*at)->file, t->file) < 0 || strcmp((*at)->file, t->file) == 0))
        at = &(*at)->next;
    t->next = *at;
    *at = t;
}

void test_failed(const char *file, int line, const char *fmt, ...)
{
    fprintf(stderr, "%s:%d: ", file, line);
    va_list args;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    fflush(NULL);
    _exit(1);
}

void test_check_str(const char *file, int line, const char *what, struct str have, struct str want)
{
    if (!str_eq(have, want))
        test_failed(file, line, "%s\n  have: " STR_FMT "\n  want: " STR_FMT, what, STR_ARG(have), STR_ARG(want));
}

void test_check_int(const char *file, int line, const char *what, long long have, long long want)
{
    if (have != want)
        test_failed(file, line, "%s: have %lld, want %lld", what, have, want);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

const char *test_dir(void)
{
    if (!dir[0]) {
        (void)snprintf(dir, sizeof dir, "/tmp/wherry-test.%d", (int)getpid());
        if (mkdir(dir, 0700) < 0 && errno == EEXIST) /* of one that was killed and had our number */
            (void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
        if (access(dir, F_OK) < 0 && mkdir(dir, 0700) < 0)
            test_failed(__FILE__, __LINE__, "mkdir %s: %s", dir, strerror(errno));
    }
    return dir;
}

static struct str read_file(const char *path, struct strbuf *b)
{
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        test_failed(__FILE__, __LINE__, "open %s: %s", path, strerror(errno));
    for (;;) {
        char *room = strbuf_room(b, 65536);
        ssize_t n = room ? read(fd, room, 65536) : -1;
        if (n < 0)
            test_failed(__FILE__, __LINE__, "read %s: %s", path, strerror(errno));
        strbuf_used(b, (size_t)n);
        if (n == 0)
            return strbuf_str(b);
    }
}

static ptrdiff_t line_start(struct str s, struct str mark) /* of the line that begins with mark; -1: none */
{
    if (str_starts(s, mark))
        return 0;
    AUTO(strbuf_fini) struct strbuf m = STRBUF(64);
    strbuf_addc(&m, '\n');
    strbuf_add(&m, mark);
    ptrdiff_t at = str_find(s, strbuf_str(&m));
    return at < 0 ? -1 : at + 1;
}

static struct str line_cut(struct str *s) /* the first line without its end */
{
    struct str line;
    if (!str_split(*s, '\n', &line, s))
        *s = S("");
    return line;
}

void test_transcript(const char *path, void (*answer)(struct str input, struct strbuf *out))
{
    AUTO(strbuf_fini) struct strbuf file = STRBUF(64 << 20), fresh = STRBUF(64 << 20), out = STRBUF(16 << 20);
    struct str rest = read_file(path, &file);
    bool update = getenv("UPDATE") != NULL, differs = false;
    ptrdiff_t at = line_start(rest, S("==="));
    strbuf_add(&fresh, str_sub(rest, 0, at < 0 ? rest.n : (size_t)at));
    rest = str_sub(rest, at < 0 ? rest.n : (size_t)at, rest.n);
    while (rest.n) {
        struct str title = line_cut(&rest);
        ptrdiff_t end = line_start(rest, S("==="));
        struct str body = str_sub(rest, 0, end < 0 ? rest.n : (size_t)end);
        rest = str_sub(rest, body.n, rest.n);
        ptrdiff_t half = line_start(body, S("---\n"));
        struct str input = str_sub(body, 0, half < 0 ? body.n : (size_t)half);
        struct str want = half < 0 ? S("") : str_sub(body, (size_t)half + 4, body.n);
        strbuf_reset(&out);
        answer(input, &out);
        if (out.n && out.p[out.n - 1] != '\n')
            strbuf_addc(&out, '\n');
        strbuf_addf(&fresh, STR_FMT "\n" STR_FMT "---\n" STR_FMT, STR_ARG(title), STR_ARG(input),
                    STR_ARG(strbuf_str(&out)));
        if (!update && !str_eq(strbuf_str(&out), want)) {
            fprintf(stderr, "%s: " STR_FMT "\n--- have\n" STR_FMT "--- want\n" STR_FMT, path, STR_ARG(title),
                    STR_ARG(strbuf_str(&out)), STR_ARG(want));
            differs = true;
        }
    }
    if (differs)
        test_failed(path, 0, "answers differ (UPDATE=1 rewrites them)");
    if (update) {
        AUTO(fd_close) int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
        CHECK(fd >= 0 && write(fd, fresh.p, fresh.n) == (ssize_t)fresh.n);
    }
}

struct running_test {
    pid_t pid;
    struct test *test;
    int out;
    int64_t start;
};

static void test_start(struct running_test *r, struct test *t)
{
    char path[] = "/tmp/wherry-test-out.XXXXXX";
    int out = mkstemp(path);
    if (out < 0) {
        perror("mkstemp");
        exit(2);
    }
    (void)unlink(path); /* it is as good as new without: mkstemp made it */
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        (void)dup2(out, 1); /* what is then seen is not what it says, and is told so */
        (void)dup2(out, 2);
        (void)setpgid(0, 0);
        (void)alarm(TIMEOUT_S);
        CHECK(setrlimit(RLIMIT_CPU, &(struct rlimit){CPU_S, RLIM_INFINITY}) == 0);
        t->run();
        if (dir[0])
            (void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS); /* what is left is a temporary folder */
        fflush(NULL);
        exit(0); /* not _exit: leaks are looked for here */
    }
    *r = (struct running_test){pid, t, out, clock_mono()};
}

static bool test_finish(struct running_test *r, int status, bool verbose)
{
    bool ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    double ms = (double)(clock_mono() - r->start) / NS_PER_MS;
    if (!ok || verbose)
        printf("%s %s (%s, %.0f ms)\n", ok ? "ok  " : "FAIL", r->test->name, r->test->file, ms);
    if (!ok) {
        char buf[4096];
        ssize_t n;
        (void)lseek(r->out, 0, SEEK_SET);
        while ((n = read(r->out, buf, sizeof buf)) > 0)
            (void)fwrite(buf, 1, (size_t)n, stdout);
        if (WIFSIGNALED(status))
            printf("  killed by signal %d%s\n", WTERMSIG(status),
                   WTERMSIG(status) == SIGALRM || WTERMSIG(status) == SIGXCPU ? " (time is up)" : "");
        char left[64];
        (void)snprintf(left, sizeof left, "/tmp/wherry-test.%d", (int)r->pid);
        (void)nftw(left, remove_one, 16, FTW_DEPTH | FTW_PHYS); /* what is left is a temporary folder */
    }
    fd_close(r->out);
    fflush(stdout);
    return ok;
}

static bool test_is_wanted(const struct test *t, char **words)
{
    if (!*words)
        return true;
    for (; *words; words++)
        if (strstr(t->name, *words) || strstr(t->file, *words))
            return true;
    return false;
}

/* What tests left running in sessions of their own has come to us, as we are their reaper. */
static void orphans_end(void)
{
    char path[64], text[4096];
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    for (int round = 0; round < 100; round++) {
        FILE *f = fopen(path, "r");
        size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
        if (f)
            (void)fclose(f);
        text[n] = 0;
        if (n == 0)
            return;
        char *at = text;
        for (long pid; (pid = strtol(at, &at, 10)) > 0;)
            if (kill((pid_t)pid, SIGKILL) == 0)
                (void)waitpid((pid_t)pid, NULL, 0); /* it was killed: nobody asks how it ended */
    }
}

/* test-ROOM [-v] [-jN] [-1] [WORD ...]: the tests whose name or file holds a word. -1 runs in this process, for gdb.
 */
int main(int argc, char **argv)
{
    bool verbose = false, inside = false;
    size_t jobs = 2, active = 0, passed = 0, failed = 0;
    char **words = argv + 1;
    for (; words < argv + argc && words[0][0] == '-'; words++) {
        if (strcmp(words[0], "-v") == 0)
            verbose = true;
        else if (strcmp(words[0], "-1") == 0)
            inside = true;
        else if (words[0][1] == 'j')
            jobs = MIN(MAX((size_t)strtoul(words[0] + 2, NULL, 10), 1), JOBS_MAX);
    }
    (void)signal(SIGPIPE, SIG_IGN);
    (void)prctl(PR_SET_CHILD_SUBREAPER, inside ? 0 : 1, 0, 0, 0); /* older kernels than ours have it, too */
    struct running_test run[JOBS_MAX] = {0};
    for (struct test *t = tests; t || active;) {
        if (t && !test_is_wanted(t, words)) {
            t = t->next;
            continue;
        }
        if (t && inside) {
            t->run();
            passed++;
            t = t->next;
            continue;
        }
        if (t && active < jobs) {
            size_t i = 0;
            while (run[i].pid)
                i++;
            test_start(&run[i], t);
            active++;
            t = t->next;
            continue;
        }
        int status;
        pid_t pid = wait(&status);
        for (size_t i = 0; i < jobs; i++) {
            if (run[i].pid != pid)
                continue;
            (void)kill(-pid, SIGKILL); /* what the test left running in its group */
            if (test_finish(&run[i], status, verbose))
                passed++;
            else
                failed++;
            run[i].pid = 0;
            active--;
        }
    }
    if (!inside)
        orphans_end();
    printf("%zu passed, %zu failed\n", passed, failed);
    return failed ? 1 : 0;
}
