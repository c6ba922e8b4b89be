#include "node/env_file.h"
#include "sys/file.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct reader {
    struct str rest, line;
    int number; /* of the line, from 1 */
};

static bool next_line(struct reader *r)
{
    if (!r->rest.n)
        return false;
    (void)str_cut(&r->rest, '\n', &r->line);
    if (r->line.n && r->line.p[r->line.n - 1] == '\r')
        r->line.n--;
    r->number++;
    return true;
}

static struct str skip_blanks(struct str s)
{
    size_t n = 0;
    while (n < s.n && (s.p[n] == ' ' || s.p[n] == '\t'))
        n++;
    return str_sub(s, n, s.n);
}

static bool line_malformed(int line, const char *what, struct err *err)
{
    return err_set(err, E_INVALID, "invalid environment variable format at line %d: %s", line, what);
}

/* From behind the opening quote to the closing one. `out` NULL: the value is nobody's. */
static bool read_quoted(struct reader *r, struct str from, struct strbuf *out, struct err *err)
{
    int began = r->number;
    for (;;) {
        ptrdiff_t end = str_find_char(from, '\'');
        if (out)
            strbuf_add(out, end < 0 ? from : str_sub(from, 0, (size_t)end));
        if (end >= 0) {
            struct str after = skip_blanks(str_sub(from, (size_t)end + 1, from.n));
            return !after.n || after.p[0] == '#' ||
                   line_malformed(r->number, "unexpected content after closing quote", err);
        }
        if (out)
            strbuf_addc(out, '\n');
        if (!next_line(r))
            return err_set(err, E_INVALID,
                           "invalid environment variable format starting at line %d: unclosed single quote", began);
        from = r->line;
    }
}

bool env_file_find(struct arena *a, struct str text, struct str name, struct str *value, bool *found, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(ENV_FILE_MOST);
    struct reader r = {.rest = text};
    *found = false;
    *value = STR_NONE;
    while (!*found && next_line(&r)) {
        struct str line = skip_blanks(r.line);
        if (!line.n || line.p[0] == '#')
            continue;
        ptrdiff_t at = str_find_char(line, '=');
        if (at < 0)
            return line_malformed(r.number, "missing '='", err);
        struct str key = str_sub(line, 0, (size_t)at), rest = str_sub(line, (size_t)at + 1, line.n);
        if (!skip_blanks(key).n)
            return line_malformed(r.number, "empty variable name", err);
        if (key.p[key.n - 1] == ' ' || key.p[key.n - 1] == '\t')
            return line_malformed(r.number, "whitespace before '=' is not allowed", err);
        *found = str_eq(key, name);
        if (rest.n && (rest.p[0] == ' ' || rest.p[0] == '\t'))
            continue;
        if (!rest.n || rest.p[0] != '\'')
            return line_malformed(r.number, "value must be enclosed in single quotes", err);
        if (!read_quoted(&r, str_sub(rest, 1, rest.n), *found ? &b : NULL, err))
            return false;
    }
    *value = str_dup(a, strbuf_str(&b));
    return true;
}

bool env_file_load(struct arena *a, const char *root, struct str path, struct str *text, struct err *err)
{
    struct stat st;
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                           .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    AUTO(fd_close) int dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    AUTO(fd_close) int fd = dir < 0 ? -1 : (int)syscall(SYS_openat2, dir, arena_strz(a, path), &how, sizeof how);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return err_set(err, E_NOT_FOUND, "there is no file \"" STR_FMT "\"", STR_ARG(path));
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(err, "open " STR_FMT, STR_ARG(path));
    if (!S_ISREG(st.st_mode))
        return err_set(err, E_INVALID, "\"" STR_FMT "\" is no file", STR_ARG(path));
    AUTO(strbuf_fini) struct strbuf b = STRBUF(ENV_FILE_MOST + 1);
    char *room;
    ssize_t n = 0;
    while ((room = strbuf_room(&b, 4096)) && (n = read(fd, room, 4096)) > 0)
        strbuf_used(&b, (size_t)n);
    if (n < 0)
        return err_errno(err, "read " STR_FMT, STR_ARG(path));
    if (b.over || b.n > ENV_FILE_MOST)
        return err_set(err, E_TOO_LARGE, "\"" STR_FMT "\" is larger than %d bytes", STR_ARG(path), ENV_FILE_MOST);
    *text = str_dup(a, strbuf_str(&b));
    return true;
}
