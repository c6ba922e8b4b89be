#include "store/backup.h"
#include "cli/connect.h"
#include "cli/keybundle.h"
#include "cli/role.h"
#include "cli/uplock.h"
#include "cli/verbs.h"
#include "sys/file.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

/* wherry backup: all objects of a running cluster at one revision, into a file. The server makes it and goes on.
 * wherry restore: makes a stopped cluster's store from such a file. */
struct taking {
    struct call call;
    int fd;
    int64_t bytes;
    struct err err; /* of writing */
};

struct backup_command {
    struct connect_options connect;
    bool with_keys;
    struct str passphrase_file;
};
#define PASSPHRASE_ROW(of)                                                                                           \
    {                                                                                                                \
        0, "passphrase-file", ARG_TEXT, offsetof(struct of, passphrase_file), "FILE",                                \
            "first line: the passphrase; else $WHERRY_PASSPHRASE, else a prompt"                                     \
    }
static const struct arg_row backup_rows[] = {
    {0, "with-keys", ARG_FLAG, offsetof(struct backup_command, with_keys), NULL,
     "take the keys along, sealed under a passphrase"},
    PASSPHRASE_ROW(backup_command),
};
static const struct arg_spec backup_spec = {
    .verb = "backup",
    .usage = "FILE",
    .summary =
        "Writes every object of a running cluster, at one revision, to a file (mode 0600). Secrets in it stay\n"
        "sealed, so keep the keys (etc/wherry/keys) too, in another place. Or take them along with\n"
        "--with-keys: then the file and its passphrase are all that a bare machine needs.",
    .examples = "  wherry backup /srv/backup/monday.wherry --with-keys\n"
                "  wherry backup - --root /tmp/second | ssh vault 'cat > second.wherry'\n",
    .rows = backup_rows,
    .nrows = countof(backup_rows),
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

static bool backup_take(struct client *c, int fd, struct str front, int64_t *bytes, struct err *err)
{
    struct taking t = {.call.data = taking_data, .fd = fd, .bytes = (int64_t)front.n};
    struct call_options o = CALL_OPTIONS(.verb = CALL_RAW, .path = S("/wherry.dev/backup"), .accept = S("*/*"));
    if (!write_all(fd, front, err))
        return err_wrap(err, "the backup");
    bool ok = call_run(&t.call, c->transport, &o, err);
    if (!ok && !t.call.http)
        client_unreachable(c, err);
    call_fini(&t.call);
    *bytes = t.bytes;
    if (ok && t.err.kind != E_NONE)
        *err = t.err;
    return ok && t.err.kind == E_NONE;
}

/* FILE is a whole backup, or as it was; what is no file is written to. */
static bool take_file(struct client *c, struct str file, struct str front, int64_t *bytes, struct err *err)
{
    AUTO(file_out_fini) struct file_out out = {.fd = -1};
    if (!file_out_open(&out, arena_strz(&c->arena, file), 0600, err) || !backup_take(c, out.fd, front, bytes, err) ||
        !file_out_done(&out, err))
        return false;
    if (out.path) /* else this may be what is written to */
        printf(STR_FMT ": %lld bytes\n", STR_ARG(file), (long long)*bytes);
    return true;
}

/* What stands before the objects: the keys of this machine, if they are asked for. */
static bool make_front(struct client *c, const struct backup_command *o, struct strbuf *front, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf bundle = STRBUF(BACKUP_BUNDLE_MAX);
    struct str passphrase, etc = arena_fmt(&c->arena, STR_FMT "/etc/wherry", STR_ARG(o->connect.root));
    if (!o->with_keys)
        return !o->passphrase_file.n ||
               err_set(err, E_INVALID, "--passphrase-file is for the keys: say --with-keys as well");
    if (!passphrase_get(&c->arena, o->passphrase_file, true, &passphrase, err) ||
        !keybundle_make(etc, c->config.ca_pem, passphrase, &bundle, err))
        return false;
    store_backup_front(strbuf_str(&bundle), front);
    return true;
}

int backup_main(int argc, char **argv)
{
    AUTO(client_fini) struct client c = {.verb = "backup"};
    AUTO(strbuf_fini) struct strbuf front = STRBUF(BACKUP_BUNDLE_MAX + 100);
    struct backup_command o = {0};
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
    if (!client_open(&c, &o.connect, &err) || !make_front(&c, &o, &front, &err))
        return client_failed(&c, &err);
    bool out = str_eqz(words.p[0], "-");
    if (!(out ? backup_take(&c, 1, strbuf_str(&front), &bytes, &err)
              : take_file(&c, words.p[0], strbuf_str(&front), &bytes, &err)))
        return client_failed(&c, &err);
    return 0;
}

/* ---- restore ---- */

struct restore {
    bool replace, with_keys;
    struct str passphrase_file;
};
static const struct arg_row restore_rows[] = {
    {0, "replace", ARG_FLAG, offsetof(struct restore, replace), NULL,
     "where there is a store already: keep it as store.db.before-restore"},
    {0, "with-keys", ARG_FLAG, offsetof(struct restore, with_keys), NULL,
     "use the backup's keys; present ones become NAME.before-restore"},
    PASSPHRASE_ROW(restore),
};
static const struct arg_spec restore_spec = {
    .verb = "restore",
    .usage = "FILE [--root DIR]",
    .summary =
        "Makes the store of a cluster that is down from a backup. Revisions go on above every one ever given,\n"
        "so clients list again. The keys (etc/wherry/keys) must be those of the cluster that was backed up.\n"
        "Where there are none, those are used that the backup brought along (wherry backup --with-keys).\n"
        "Tokens and kubeconfigs of that cluster are then good for this one.",
    .examples = "  wherry down && wherry restore monday.wherry --replace && wherry up --detach\n"
                "  wherry restore monday.wherry --root /tmp/second --passphrase-file /root/passphrase\n",
    .rows = restore_rows,
    .nrows = countof(restore_rows),
};

/* Nobody may start the cluster meanwhile: where there could be one, its lock is held, until this process ends. */
static bool stays_down(struct settings *s, int *lock, struct err *err)
{
    struct up_holder h;
    if (access(arena_strz(&s->arena, s->run), F_OK) < 0)
        return true;
    *lock = uplock_try(s, &h, err);
    return *lock >= 0 ||
           (h.pid && err_set(err, E_CONFLICT, "the cluster is up; stop it first (wherry down), then restore"));
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

/* A bare machine: what `wherry up` would make, to put the store and the keys into. */
static bool make_dirs(struct settings *s, struct err *err)
{
    struct str dirs[] = {s->etc, arena_fmt(&s->arena, STR_FMT "/keys", STR_ARG(s->etc)),
                         arena_fmt(&s->arena, STR_FMT "/server", STR_ARG(s->data))};
    for (size_t i = 0; i < countof(dirs); i++) {
        char *z = arena_strz(&s->arena, dirs[i]);
        if (access(z, F_OK) == 0)
            continue;
        if (!dir_make(z, i == 0 ? 0755 : 0700, err))
            return false;
        if (getuid() == 0 && lchown(z, ROLE_UID_SERVER, ROLE_UID_SERVER) < 0)
            return err_errno(err, "%s", z);
    }
    return true;
}

/* The keys that are to be put in place, opened; nothing where those that are there stay. */
static bool open_keys(struct settings *s, const char *file, const struct restore *x, struct strbuf *opened,
                      struct err *err)
{
    AUTO(strbuf_fini) struct strbuf bundle = STRBUF(BACKUP_BUNDLE_MAX);
    struct str passphrase, missing = keybundle_missing(&s->arena, s->etc);
    if (!store_backup_bundle(file, &bundle, err))
        return false;
    if (!x->with_keys && !missing.n)
        return true;
    if (!bundle.n && x->with_keys)
        return err_set(err, E_INVALID, "%s brings no keys along; it was taken without --with-keys", file);
    if (!bundle.n)
        return err_set(err, E_NOT_FOUND,
                       STR_FMT " is not there, and this backup brings no keys along: copy the keys (ca.crt, ca.key, "
                               "service-account.key, seal.keys) of the cluster that was backed up to " STR_FMT
                               "/keys first",
                       STR_ARG(missing), STR_ARG(s->etc));
    return passphrase_get(&s->arena, x->passphrase_file, false, &passphrase, err) &&
           keybundle_open(strbuf_str(&bundle), passphrase, opened, err);
}

static bool backup_restore(struct settings *s, const char *file, const struct restore *x, struct strbuf *keys,
                           int64_t *rev, struct err *err)
{
    struct str dir = arena_fmt(&s->arena, STR_FMT "/server", STR_ARG(s->data));
    struct str path = arena_fmt(&s->arena, STR_FMT "/store.db", STR_ARG(dir));
    struct store_options o = {.path = path.p};
    struct stat st;
    AUTO(fd_close) int lock = -1;
    if (!stays_down(s, &lock, err))
        return false;
    if (stat(path.p, &st) == 0 && !x->replace)
        return err_set(err, E_CONFLICT, STR_FMT " is there; --replace keeps it as store.db.before-restore",
                       STR_ARG(path));
    return open_keys(s, file, x, keys, err) && make_dirs(s, err) && store_restore(&o, file, x->replace, rev, err) &&
           give_to(dir.p, path.p, err) && (!keys->n || keybundle_put(s->etc, strbuf_str(keys), ROLE_UID_SERVER, err));
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
    AUTO(strbuf_fini) struct strbuf keys = STRBUF(BACKUP_BUNDLE_MAX);
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
    bool ok = backup_restore(&s, arena_strz(&arena, words.p[0]), &x, &keys, &rev, &err);
    mem_wipe(keys.p, keys.n);
    if (!ok) {
        fprintf(stderr, "wherry restore: %s\n", err.text);
        return 1;
    }
    printf("restored%s; revisions go on from %lld\n", keys.n ? ", with its keys" : "", (long long)rev);
    return 0;
}
