#include "sys/mount_tree.h"
#include "base/array.h"
#include "sys/file.h"
#include "sys/mount.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>

#define MOUNTINFO_MOST (64 << 20)

/* "\040" is a space: proc(5). */
static struct str octal_read(struct arena *a, struct str s)
{
    char *to = arena_alloc(a, s.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        bool escape = s.p[i] == '\\' && s.n - i > 3;
        unsigned c = 0;
        for (size_t k = 1; escape && k <= 3; k++) {
            escape = s.p[i + k] >= '0' && s.p[i + k] <= '7';
            c = c * 8 + (unsigned)(s.p[i + k] - '0');
        }
        to[n++] = (char)(escape ? c : (unsigned char)s.p[i]);
        i += escape ? 3 : 0;
    }
    to[n] = 0;
    return (struct str){to, n};
}

bool mount_line_read(struct arena *a, struct str line, struct mount_line *out)
{
    struct str field;
    ptrdiff_t end = str_find(line, S(" - "));
    if (end < 0)
        return false;
    struct str rest = str_sub(line, 0, (size_t)end);
    *out = (struct mount_line){0};
    for (int i = 0; str_cut(&rest, ' ', &field); i++) {
        if (i == 3)
            out->root = octal_read(a, field);
        if (i == 4)
            out->at = octal_read(a, field);
        if (i > 5 && str_starts(field, S("shared:")))
            out->shared = true;
    }
    return out->at.n > 0;
}

bool mount_make_shared(const char *folder, struct err *err)
{
    AUTO(fd_close) int fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, "open %s", folder);
    if (mount_is_shared(fd))
        return true;
    if (!mount_is_point(folder) && mount(folder, folder, NULL, MS_BIND, NULL) < 0)
        return err_errno(err, "mount %s on itself", folder);
    return mount(NULL, folder, NULL, MS_SHARED, NULL) == 0 || err_errno(err, "share the mount at %s", folder);
}

bool mount_is_remote(struct str path)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(MOUNTINFO_MOST);
    struct mount_line m;
    struct err ignored = ERR; /* what cannot be found out is taken for the machine's own */
    struct str line, type, source = S("");
    size_t best = 0;
    if (!file_read(AT_FDCWD, "/proc/thread-self/mountinfo", &b, &ignored))
        return false;
    for (struct str rest = strbuf_str(&b); str_cut(&rest, '\n', &line);) {
        ptrdiff_t end = str_find(line, S(" - "));
        if (end < 0 || !mount_line_read(&a, line, &m))
            continue;
        bool above = m.at.n == 1 || (str_starts(path, m.at) && (path.n == m.at.n || path.p[m.at.n] == '/'));
        if (!above || m.at.n < best)
            continue;
        best = m.at.n;
        struct str behind = str_sub(line, (size_t)end + 3, line.n), more;
        source = S("");
        if (str_split(behind, ' ', &type, &more) && !str_split(more, ' ', &source, &behind))
            source = more;
    }
    return memchr(source.p, ':', source.n) != NULL || str_starts(source, S("//"));
}

bool mount_remove_below(const char *folder, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(MOUNTINFO_MOST);
    ARRAY(struct str) all = {0};
    struct mount_line m;
    struct str above = arena_fmt(&a, "%s/", folder), line;
    if (!file_read(AT_FDCWD, "/proc/thread-self/mountinfo", &b, err))
        return false;
    for (struct str rest = strbuf_str(&b); str_cut(&rest, '\n', &line);) {
        if (!mount_line_read(&a, line, &m))
            continue;
        bool ours = str_eqz(m.at, folder) && m.root.n > 1 && str_ends(str_of(folder), m.root);
        if (ours || str_starts(m.at, above))
            array_push(&all, m.at);
    }
    bool ok = true;
    while (all.n)
        ok = mount_remove(arena_strz(&a, array_pop(&all)), err) && ok;
    array_fini(&all);
    return ok;
}
