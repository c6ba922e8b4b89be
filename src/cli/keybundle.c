#include "cli/keybundle.h"
#include "sys/crypto.h"
#include "sys/file.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <termios.h>

enum { PASSPHRASE_LEAST = 8, PASSPHRASE_MOST = 1000, KEY_MOST = 8 << 10, BUNDLE_MOST = 48 << 10 };

/* As server/pki.h names them. */
static const char *const names[] = {"ca.crt", "ca.key", "service-account.key", "seal.keys"};

/* ---- the passphrase ---- */

static bool ask_terminal(const char *question, char line[PASSPHRASE_MOST + 2], struct err *err)
{
    AUTO(fd_close) int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    struct termios before, quiet;
    if (fd < 0 || tcgetattr(fd, &before) < 0)
        return err_set(err, E_INVALID,
                       "a passphrase is needed, and there is no terminal to ask for it: give --passphrase-file FILE "
                       "or $WHERRY_PASSPHRASE");
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    (void)dprintf(fd, "%s", question);
    (void)tcsetattr(fd, TCSAFLUSH, &quiet);
    ssize_t n = read(fd, line, PASSPHRASE_MOST + 1);
    (void)tcsetattr(fd, TCSAFLUSH, &before);
    (void)dprintf(fd, "\n");
    line[MAX(n, 0)] = 0;
    return n > 0 || err_set(err, E_INVALID, "no passphrase was given");
}

static struct str first_line(struct str text)
{
    struct str line = text;
    (void)str_cut(&text, '\n', &line);
    return str_ends(line, S("\r")) ? str_sub(line, 0, line.n - 1) : line;
}

static bool from_terminal(struct arena *a, bool twice, struct str *out, struct err *err)
{
    char line[PASSPHRASE_MOST + 2], again[PASSPHRASE_MOST + 2];
    bool ok = ask_terminal("Passphrase of the keys: ", line, err) &&
              (!twice || ask_terminal("The same again: ", again, err));
    if (ok && twice && strcmp(line, again) != 0)
        ok = err_set(err, E_INVALID, "these were two different passphrases");
    if (ok)
        *out = str_dup(a, first_line(str_of(line)));
    mem_wipe(line, sizeof line);
    mem_wipe(again, sizeof again);
    return ok;
}

bool passphrase_get(struct arena *a, struct str file, bool twice, struct str *out, struct err *err)
{
    const char *from = getenv("WHERRY_PASSPHRASE");
    if (file.n) {
        AUTO(strbuf_fini) struct strbuf text = STRBUF(64 << 10);
        if (!file_read(AT_FDCWD, arena_strz(a, file), &text, err))
            return false;
        *out = str_dup(a, first_line(strbuf_str(&text)));
    } else if (from) {
        *out = str_dup(a, str_of(from));
    } else if (!from_terminal(a, twice, out, err)) {
        return false;
    }
    return (out->n >= PASSPHRASE_LEAST && out->n <= PASSPHRASE_MOST) ||
           err_set(err, E_INVALID, "a passphrase has %d to %d bytes, this one has %zu", PASSPHRASE_LEAST,
                   PASSPHRASE_MOST, out->n);
}

/* ---- the bundle: "NAME BYTES\n" and that many bytes, for each ---- */

static struct str path_of(struct arena *a, struct str etc, const char *name)
{
    return arena_fmt(a, STR_FMT "/keys/%s", STR_ARG(etc), name);
}

struct str keybundle_missing(struct arena *a, struct str etc)
{
    for (size_t i = 0; i < countof(names); i++) {
        struct str path = path_of(a, etc, names[i]);
        if (access(path.p, F_OK) < 0)
            return path;
    }
    return STR_NONE;
}

bool keybundle_make(struct str etc, struct str ca_pem, struct str passphrase, struct strbuf *out, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf plain = STRBUF(BUNDLE_MOST), one = STRBUF(KEY_MOST);
    bool ok = true;
    for (size_t i = 0; i < countof(names) && ok; i++) {
        strbuf_reset(&one);
        ok = file_read(AT_FDCWD, path_of(&a, etc, names[i]).p, &one, err) ||
             err_wrap(err, "the keys can be read where the server runs, as root (--root DIR says which)");
        if (ok && i == 0 && ca_pem.n && !str_eq(str_trim(ca_pem), str_trim(strbuf_str(&one))))
            ok = err_set(err, E_CONFLICT,
                         STR_FMT "/keys are the keys of another cluster than the one that answers; --root DIR says "
                                 "whose are meant",
                         STR_ARG(etc));
        strbuf_addf(&plain, "%s %zu\n", names[i], one.n);
        strbuf_add(&plain, strbuf_str(&one));
    }
    ok = ok && passphrase_seal(passphrase, strbuf_str(&plain), out, err);
    mem_wipe(plain.p, plain.n);
    mem_wipe(one.p, one.n);
    return ok;
}

bool keybundle_open(struct str bundle, struct str passphrase, struct strbuf *out, struct err *err)
{
    return passphrase_unseal(passphrase, bundle, out, err) || err_wrap(err, "the keys of the backup");
}

static bool put_one(struct str path, struct str bytes, unsigned owner, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf there = STRBUF(KEY_MOST);
    struct err why = ERR;
    bool read = file_read(AT_FDCWD, path.p, &there, &why);
    if (!read && why.kind != E_NOT_FOUND) /* a key that is there is kept, not written over */
        return err_set(err, why.kind, "keep " STR_FMT ": %s", STR_ARG(path), why.text);
    if (read && !str_eq(strbuf_str(&there), bytes) &&
        rename(path.p, arena_fmt(&a, STR_FMT ".before-restore", STR_ARG(path)).p) < 0)
        return err_errno(err, "keep " STR_FMT, STR_ARG(path));
    return file_write(AT_FDCWD, path.p, bytes, 0600, err) &&
           (getuid() != 0 || lchown(path.p, owner, owner) == 0 || err_errno(err, STR_FMT, STR_ARG(path)));
}

bool keybundle_put(struct str etc, struct str opened, unsigned owner, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str line, name, number;
    for (size_t i = 0; i < countof(names); i++) {
        uint64_t n;
        if (!str_cut(&opened, '\n', &line) || !str_split(line, ' ', &name, &number) || !str_eqz(name, names[i]) ||
            !str_to_u64(number, opened.n, &n))
            return err_set(err, E_INVALID, "the keys of the backup: %s is not where it should be", names[i]);
        if (!put_one(path_of(&a, etc, names[i]), str_sub(opened, 0, n), owner, err))
            return false;
        opened = str_sub(opened, n, opened.n);
    }
    return true;
}
