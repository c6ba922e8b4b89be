#include "cli/role.h"
#include "base/log.h"
#include "cli/confine.h"
#include "sys/pulse.h"
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <sys/prctl.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

static const struct {
    const char *name;
    int (*run)(struct role_start *r);
    enum role_confinement confined;
} rows[] = {
    {"server", role_server, ROLE_STARTS_NOTHING}, {"node", role_node, ROLE_IS_FREE},
    {"relay", role_relay, ROLE_STARTS_NOTHING},   {"dns", role_dns, ROLE_STARTS_NOTHING},
    {"edge", role_edge, ROLE_STARTS_PROGRAMS},
};

int role_socket(const struct role_start *r, const char *name)
{
    for (size_t i = 0; i < r->nsockets; i++)
        if (strcmp(r->sockets[i].name, name) == 0)
            return r->sockets[i].fd;
    return -1;
}

static void read_sockets(struct role_start *r)
{
    struct str rest = str_of(getenv("WHERRY_SOCKETS")), one, name, number;
    int64_t fd;
    while (rest.n && str_cut(&rest, ',', &one) && r->nsockets < ROLE_SOCKETS_MAX) {
        if (!str_split(one, ':', &name, &number) || !str_to_i64(number, 3, 1000, &fd))
            continue;
        struct role_socket *s = &r->sockets[r->nsockets++];
        (void)snprintf(s->name, sizeof s->name, STR_FMT, STR_ARG(name));
        s->fd = (int)fd;
    }
}

/* A role whose supervisor was killed before it had written down who this is would be found by nobody. */
static bool told_to_go(void)
{
    int64_t fd;
    char c;
    return !str_to_i64(str_of(getenv("WHERRY_NOTIFY")), 3, 1000, &fd) || read((int)fd, &c, 1) == 1;
}

void role_ready(void)
{
    static bool told;
    int64_t fd;
    if (told || !str_to_i64(str_of(getenv("WHERRY_NOTIFY")), 3, 1000, &fd))
        return;
    told = true;
    if (write((int)fd, "R", 1) != 1)
        log_debug("ready", "nobody listens");
    fd_close((int)fd);
}

void role_end(void)
{
#ifdef __SANITIZE_ADDRESS__
    __lsan_do_leak_check();
#endif
    _exit(0);
}

struct str program_beside(struct arena *a, const char *name)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    struct str self = {path, (size_t)MAX(n, 0)};
    ptrdiff_t slash = str_rfind_char(self, '/');
    if (str_ends(self, S(" (deleted)"))) /* replaced by a newer build: the new ones stand there */
        self = str_sub(self, 0, self.n - 10);
    return arena_fmt(a, STR_FMT "/%s", STR_ARG(str_sub(self, 0, (size_t)MAX(slash, 0))), name);
}

static void set_title(const char *name)
{
    char title[32];
    (void)snprintf(title, sizeof title, "wherry %s", name);
    (void)prctl(PR_SET_NAME, title); /* a title, for ps */
}

static bool set_log_level(struct str text, struct err *err)
{
    static const char *const words[] = {"error", "warn", "info", "debug"};
    for (size_t i = 0; i < countof(words); i++) {
        if (str_eqz(text, words[i])) {
            log_level_set((enum log_level)i);
            return true;
        }
    }
    return err_set(err, E_INVALID, "log-level: \"" STR_FMT "\": must be error, warn, info or debug", STR_ARG(text));
}

/* One heap for all threads: a loop or two do the work, objects pass from one to the other, and an arena for each pool
 * thread would keep what passed through it. Thresholds that stay where they are, so that big blocks go back to the
 * kernel when they are freed. */
static void one_heap(void)
{
#ifndef WHERRY_SANITIZED
    (void)mallopt(M_ARENA_MAX, 1);
    (void)mallopt(M_MMAP_THRESHOLD, 128 << 10);
    (void)mallopt(M_TRIM_THRESHOLD, 256 << 10);
#endif
}

int role_main(int argc, char **argv)
{
    struct role_start r = {0};
    struct err err = ERR;
    int rest;
    const char *name = argc > 0 ? argv[0] : "";
    for (size_t i = 0; i < countof(rows); i++) {
        if (strcmp(rows[i].name, name) != 0)
            continue;
        log_role_set(rows[i].name);
        set_title(name);
        one_heap();
        (void)signal(SIGPIPE, SIG_IGN);
        read_sockets(&r);
        pulse_join(role_socket(&r, "pulse"), role_socket(&r, "bell"));
        if (!told_to_go())
            return 1;
        int status = 2;
        if (settings_read(&r.settings, argc - 1, argv + 1, &rest, &err) &&
            set_log_level(r.settings.log_level, &err) && role_confine(rows[i].confined, &err))
            status = rows[i].run(&r);
        else
            log_error("settings", "error=\"%s\"", err.text);
        settings_fini(&r.settings);
        return status;
    }
    return -1;
}
