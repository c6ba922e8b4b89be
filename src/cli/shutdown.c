/* shutdown.c - `wherry shutdown`: has the node end its pods before the machine does, range by range of their
 * priority. What asks is a file, and so is the answer (node/shutdown.h). systemd runs it first of all when it stops
 * everything (wherry-shutdown.service). */
#include "node/shutdown.h"
#include "cli/args.h"
#include "cli/role.h"
#include "cli/systemd.h"
#include "cli/verbs.h"
#include "sys/child.h"
#include "sys/file.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>

#define SPARE_S 10 /* for what pods leave behind, after the last one's time */

/* Of systemd itself: whether it is shutting the machine down, and is not stopping one unit. */
static bool machine_stops(void)
{
    AUTO(strbuf_fini) struct strbuf out = STRBUF(4096);
    const char *argv[] = {"systemctl", "is-system-running", NULL};
    struct err ignored = ERR; /* its exit status says no for all that is not "running" */
    (void)!command_run(argv, STR_NONE, &out, 10000, &ignored);
    return str_eqz(str_trim(strbuf_str(&out)), "stopping");
}

static int64_t now_ms(void)
{
    return clock_mono() / NS_PER_MS;
}

/* Until the node says that all have ended. False: time is up. */
static bool wait_done(int watch, const char *done, int64_t most_ms)
{
    for (int64_t end = now_ms() + most_ms; access(done, F_OK) < 0;) {
        struct pollfd p = {.fd = watch, .events = POLLIN};
        char news[4096];
        if (now_ms() >= end)
            return false;
        if (poll(&p, 1, (int)(end - now_ms())) > 0 && read(watch, news, sizeof news) < 0)
            return false;
    }
    return true;
}

static int shutdown_failed(const char *what)
{
    fprintf(stderr, "wherry shutdown: %s: %s\n", what, strerror(errno));
    return 1;
}

/* As the node says that runs; 0: it ends nothing. */
static int64_t grace_s(struct settings *s)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(64);
    struct err ignored = ERR; /* no such file: nothing is set, or no node runs */
    const char *path = arena_fmt(&s->arena, STR_FMT "/" SHUTDOWN_GRACE_FILE, STR_ARG(s->run)).p;
    int64_t seconds = 0;
    (void)(file_read(AT_FDCWD, path, &b, &ignored) &&
           str_to_i64(str_trim(strbuf_str(&b)), 0, (int64_t)SHUTDOWN_GROUPS_MOST * SHUTDOWN_PERIOD_MOST, &seconds));
    return seconds;
}

static int end_pods(struct settings *s, int64_t longest_s)
{
    struct arena *a = &s->arena;
    struct err err = ERR;
    const char *asked = arena_fmt(a, STR_FMT "/" SHUTDOWN_FILE, STR_ARG(s->run)).p;
    const char *done = arena_fmt(a, STR_FMT "/" SHUTDOWN_DONE_FILE, STR_ARG(s->run)).p;
    AUTO(fd_close) int watch = inotify_init1(IN_CLOEXEC);
    if (watch < 0 || inotify_add_watch(watch, arena_strz(a, s->run), IN_CREATE | IN_MOVED_TO) < 0)
        return shutdown_failed(arena_strz(a, s->run));
    if (unlink(done) < 0 && errno != ENOENT)
        return shutdown_failed(done);
    if (!file_replace(AT_FDCWD, asked, S(""), 0600, &err)) {
        fprintf(stderr, "wherry shutdown: %s\n", err.text);
        return 1;
    }
    if (wait_done(watch, done, (longest_s + SPARE_S) * 1000))
        return 0;
    fprintf(stderr, "wherry shutdown: the node has not ended all pods in the time that shutdown-grace gives\n");
    return 1;
}

static int take_back(struct settings *s)
{
    struct arena *a = &s->arena;
    static const char *const files[] = {SHUTDOWN_FILE, SHUTDOWN_DONE_FILE};
    for (size_t i = 0; i < countof(files); i++) {
        const char *path = arena_fmt(a, STR_FMT "/%s", STR_ARG(s->run), files[i]).p;
        if (unlink(path) < 0 && errno != ENOENT)
            return shutdown_failed(path);
    }
    return 0;
}

int shutdown_main(int argc, char **argv)
{
    AUTO(settings_fini) struct settings s = {0};
    struct err err = ERR;
    bool cancel = false, at_shutdown = false;
    int rest, kept = 0;
    if (args_ask_help(argc, argv)) {
        printf(
            "wherry shutdown [--cancel] [--root DIR]\n\n"
            "Has this node end its pods, as before the machine is shut down: those of low priority first, each\n"
            "range with the time that the setting shutdown-grace gives it (0=20,2000000000=10: twenty seconds,\n"
            "and ten for what is critical). The node is not ready and takes no pods until the machine has been\n"
            "started again, or until --cancel. Where the setting is empty nothing is done, and it says so. systemd\n"
            "does this by itself (wherry-shutdown.service) when it shuts the machine down.\n");
        return 0;
    }
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--cancel") == 0)
            cancel = true;
        else if (strcmp(argv[i], "--at-shutdown") == 0) /* of the unit, which may be stopped for other reasons */
            at_shutdown = true;
        else
            argv[kept++] = argv[i];
    }
    if (!settings_read(&s, kept, argv, &rest, &err) || rest) {
        fprintf(stderr, "wherry shutdown: %s\n",
                rest ? "an argument is not understood; wherry shutdown --help lists what is" : err.text);
        return 2;
    }
    if (cancel)
        return take_back(&s);
    int64_t longest = grace_s(&s);
    if (!longest && !at_shutdown)
        fprintf(stderr,
                "wherry shutdown: nothing is done, as no node runs here, or its setting shutdown-grace is empty:\n"
                "wherry up --set shutdown-grace=0=20,2000000000=10\n");
    return longest && (!at_shutdown || machine_stops()) ? end_pods(&s, longest) : 0;
}
