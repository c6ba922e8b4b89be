#include "store/backup.h"
#include "cli/connect.h"
#include "cli/settings.h"
#include "cli/verbs.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

/* wherry backup: all objects of a running cluster at one revision, into a file. The server makes it and goes on.
 * wherry restore: makes a stopped cluster's store from such a file. */
struct taking {
    struct call call;
    int fd;
    int64_t bytes;
    struct err err; /* of writing */
};

static const struct arg_spec backup_spec = {
    .verb = "backup",
    .usage = "FILE",
    .summary =
        "Writes every object of a running cluster, at one revision, into a file (mode 0600). Secrets in it stay\n"
        "sealed: keep the keys (etc/wherry/keys) too, elsewhere.",
    .examples = "  wherry backup /srv/backup/monday.wherry\n"
                "  wherry backup - --root /tmp/second | ssh vault 'cat > second.wherry'\n",
    .connects = true,
};

static void taking_data(struct call *call, struct str bytes)
{
    struct taking *t = container_of(call, struct taking, call);
    while (bytes.n && t->err.kind == E_NONE) {
        ssize_t n = write(t->fd, bytes.p, bytes.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            err_errno(&t->err, "write the backup");
            return;
        }
        t->bytes += n;
        bytes = str_sub(bytes, (size_t)n, bytes.n);
    }
}

static bool take(struct client *c, int fd, int64_t *bytes, struct err *err)
{
    struct taking t = {.call.data = taking_data, .fd = fd};
    struct call_options o = CALL_OPTIONS(.verb = CALL_RAW, .path = S("/wherry.dev/backup"), .accept = S("*/*"));
    bool ok = call_run(&t.call, c->transport, &o, err);
    if (!ok && !t.call.http)
        client_unreachable(c, err);
    call_fini(&t.call);
    *bytes = t.bytes;
    if (ok && t.err.kind != E_NONE)
        *err = t.err;
    return ok && t.err.kind == E_NONE;
}

/* By way of FILE.part: FILE is a whole backup, or as it was. */
static bool take_file(struct client *c, struct str file, int64_t *bytes, struct err *err)
{
    const char *path = arena_strz(&c->arena, file);
    struct str part = arena_fmt(&c->arena, "%s.part", path);
    AUTO(fd_close) int fd = open(part.p, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, "make " STR_FMT, STR_ARG(part));
    bool ok = take(c, fd, bytes, err) && (fsync(fd) == 0 || err_errno(err, "write " STR_FMT, STR_ARG(part))) &&
              (rename(part.p, path) == 0 || err_errno(err, "rename " STR_FMT, STR_ARG(part)));
    if (!ok)
        (void)unlink(part.p);
    return ok;
}

int backup_main(int argc, char **argv)
{
    AUTO(client_fini) struct client c = {.verb = "backup"};
    struct connect_options o = {0};
    struct words words;
    struct err err = ERR;
    int64_t bytes = 0;
    enum args_result r = args_read(&c.arena, &backup_spec, argc, argv, &o, &words, NULL);
    if (r != ARGS_RUN)
        return r == ARGS_HELPED ? 0 : 2;
    if (words.n != 1) {
        fprintf(stderr, "wherry backup: name the file to write; wherry backup --help says more\n");
        return 2;
    }
    if (!client_open(&c, &o, &err))
        return client_failed(&c, &err);
    bool out = str_eqz(words.p[0], "-");
    if (!(out ? take(&c, 1, &bytes, &err) : take_file(&c, words.p[0], &bytes, &err)))
        return client_failed(&c, &err);
    if (!out)
        printf(STR_FMT ": %lld bytes\n", STR_ARG(words.p[0]), (long long)bytes);
    return 0;
}

/* ---- restore ---- */

struct restore {
    bool replace;
};
static const struct arg_row restore_rows[] = {
    {0, "replace", ARG_FLAG, offsetof(struct restore, replace), NULL,
     "where a store stands already: keep it as store.db.before-restore"},
};
static const struct arg_spec restore_spec = {
    .verb = "restore",
    .usage = "FILE [--root DIR]",
    .summary =
        "Makes the store of a cluster that is down from a backup. Revisions go on above every one ever given, so\n"
        "that clients list again. The keys (etc/wherry/keys) must be those of the cluster that was backed up.",
    .examples = "  wherry down && wherry restore monday.wherry --replace && wherry up --detach\n"
                "  wherry restore monday.wherry --root /tmp/second\n",
    .rows = restore_rows,
    .nrows = countof(restore_rows),
};

static bool is_up(struct settings *s, struct err *err)
{
    struct str path = arena_fmt(&s->arena, STR_FMT "/supervisor.lock", STR_ARG(s->run));
    AUTO(fd_close) int fd = open(path.p, O_RDWR | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0)
        return false;
    err_set(err, E_CONFLICT, "the cluster is up; stop it first (wherry down), then restore");
    return true;
}

/* A restore by root leaves files that the server, which is not root, can open. */
static bool give_to(const char *dir, const char *path, struct err *err)
{
    static const char *const ends[] = {"", "-wal", "-shm", ".before-restore"};
    struct stat st;
    if (getuid() != 0)
        return true;
    if (stat(dir, &st) < 0)
        return err_errno(err, "%s", dir);
    for (size_t i = 0; i < countof(ends); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        const char *file = arena_fmt(&a, "%s%s", path, ends[i]).p;
        if (lchown(file, st.st_uid, st.st_gid) < 0 && errno != ENOENT)
            return err_errno(err, "%s", file);
    }
    return true;
}

static bool restore(struct settings *s, const char *file, bool replace, int64_t *rev, struct err *err)
{
    struct str dir = arena_fmt(&s->arena, STR_FMT "/server", STR_ARG(s->data));
    struct str path = arena_fmt(&s->arena, STR_FMT "/store.db", STR_ARG(dir));
    struct store_options o = {.path = path.p};
    struct stat st;
    if (is_up(s, err))
        return false;
    if (stat(dir.p, &st) < 0)
        return err_set(err, E_NOT_FOUND,
                       STR_FMT
                       " is not there: restore into a cluster that was up once, with the keys of the one that "
                       "was backed up in " STR_FMT "/keys",
                       STR_ARG(dir), STR_ARG(s->etc));
    if (stat(path.p, &st) == 0 && !replace)
        return err_set(err, E_CONFLICT, STR_FMT " is there; --replace keeps it as store.db.before-restore",
                       STR_ARG(path));
    return store_restore(&o, file, replace, rev, err) && give_to(dir.p, path.p, err);
}

int restore_main(int argc, char **argv)
{
    AUTO(settings_fini) struct settings s = {0};
    AUTO(arena_fini) struct arena arena = ARENA;
    struct restore x = {0};
    struct words words;
    struct err err = ERR;
    int rest;
    int64_t rev;
    if (!settings_read(&s, argc, argv, &rest, &err)) {
        fprintf(stderr, "wherry restore: %s\n", err.text);
        return 2;
    }
    enum args_result r = args_read(&arena, &restore_spec, rest, argv, &x, &words, NULL);
    if (r != ARGS_RUN)
        return r == ARGS_HELPED ? 0 : 2;
    if (words.n != 1) {
        fprintf(stderr, "wherry restore: name the backup; wherry restore --help says more\n");
        return 2;
    }
    if (!restore(&s, arena_strz(&arena, words.p[0]), x.replace, &rev, &err)) {
        fprintf(stderr, "wherry restore: %s\n", err.text);
        return 1;
    }
    printf("restored; revisions go on from %lld\n", (long long)rev);
    return 0;
}
