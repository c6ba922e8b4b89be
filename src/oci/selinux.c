#include "oci/selinux.h"
#include "base/clock.h"
#include "sys/file.h"
#include "sys/tree.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

#define SELINUX_FS  "/sys/fs/selinux"
#define SELINUX_ETC "/etc/selinux"
#define CONTEXTS    "/usr/share/containers/selinux/contexts" /* of a package for container runtimes; goes first */
#define LABEL_MOST  4096
#define CATEGORIES  1024
#define XATTR       "security.selinux"

/* --- contexts --- */

bool selinux_context_read(struct str label, struct selinux_context *out)
{
    struct str rest = label;
    *out = (struct selinux_context){0};
    if (!str_split(rest, ':', &out->user, &rest) || !str_split(rest, ':', &out->role, &rest))
        return false;
    if (!str_split(rest, ':', &out->type, &out->level)) /* a policy without levels */
        out->type = rest;
    return out->type.n > 0;
}

struct str selinux_context_text(struct arena *a, const struct selinux_context *c)
{
    return arena_fmt(a, STR_FMT ":" STR_FMT ":" STR_FMT "%s" STR_FMT, STR_ARG(c->user), STR_ARG(c->role),
                     STR_ARG(c->type), c->level.n ? ":" : "", STR_ARG(c->level));
}

static struct str text_unquote(struct str s)
{
    return s.n > 1 && s.p[0] == '"' && s.p[s.n - 1] == '"' ? str_sub(s, 1, s.n - 1) : s;
}

/* Of lines NAME=VALUE, those of one name: the last. */
static struct str setting_in(struct str text, const char *wanted)
{
    struct str line, name, value, found = S("");
    while (str_cut(&text, '\n', &line)) {
        line = str_trim(line);
        if (line.n && line.p[0] != '#' && line.p[0] != ';' && str_split(line, '=', &name, &value) &&
            str_eqz(str_trim(name), wanted))
            found = text_unquote(str_trim(value));
    }
    return found;
}

void selinux_policy_parse(struct str text, struct selinux_policy *out)
{
    if (!selinux_context_read(setting_in(text, "process"), &out->process) ||
        !selinux_context_read(setting_in(text, "file"), &out->file))
        *out = (struct selinux_policy){0};
}

static struct str file_text(struct arena *a, const char *path)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(65536);
    struct err ignored = ERR; /* without it the policy knows no containers */
    return file_read(AT_FDCWD, path, &b, &ignored) ? str_dup(a, strbuf_str(&b)) : S("");
}

bool selinux_policy_here(struct arena *a, struct selinux_policy *out)
{
    struct statfs fs;
    *out = (struct selinux_policy){0};
    if (statfs(SELINUX_FS, &fs) < 0 || fs.f_type != SELINUX_MAGIC || fs.f_flags & ST_RDONLY)
        return false;
    /* until a policy is loaded everybody is called so */
    if (str_starts(file_text(a, "/proc/self/attr/current"), S("kernel")))
        return false;
    struct str text = file_text(a, CONTEXTS);
    if (!text.n) {
        struct str type = setting_in(file_text(a, SELINUX_ETC "/config"), "SELINUXTYPE");
        text = file_text(a, arena_fmt(a, SELINUX_ETC "/" STR_FMT "/contexts/lxc_contexts", STR_ARG(type)).p);
    }
    selinux_policy_parse(text, out);
    struct err ignored =
        ERR; /* the file may name types of a module that is not loaded: then containers have no label */
    if (out->process.type.n && (!selinux_known(selinux_context_text(a, &out->process), &ignored) ||
                                !selinux_known(selinux_context_text(a, &out->file), &ignored)))
        *out = (struct selinux_policy){0};
    return true;
}

/* --- levels --- */

static bool take_char(struct str *s, char c)
{
    if (!s->n || s->p[0] != c)
        return false;
    *s = str_sub(*s, 1, s->n);
    return true;
}

/* A letter with up to `most` digits. */
static bool take_number(struct str *s, char letter, size_t most)
{
    struct str was = *s;
    size_t n = 0;
    if (!take_char(s, letter))
        return false;
    while (n < most && s->n && s->p[0] >= '0' && s->p[0] <= '9')
        *s = str_sub(*s, 1, s->n), n++;
    if (n)
        return true;
    *s = was;
    return false;
}

bool selinux_level_ok(struct str level)
{
    struct str s = level;
    if (!take_number(&s, 's', 1) || (take_char(&s, '-') && !take_number(&s, 's', 1)))
        return false;
    for (char sep = ':'; take_char(&s, sep); sep = ',')
        if (!take_number(&s, 'c', 4) || (take_char(&s, '.') && !take_number(&s, 'c', 4)))
            return false;
    return s.n == 0;
}

struct str selinux_level_draw(struct arena *a, bool (*taken)(void *arg, struct str level), void *arg)
{
    for (;;) { /* there are half a million of them */
        unsigned one = (unsigned)random_below(CATEGORIES), other = (unsigned)random_below(CATEGORIES);
        if (one == other)
            continue;
        struct str level = arena_fmt(a, "s0:c%u,c%u", MIN(one, other), MAX(one, other));
        if (!taken(arg, level))
            return level;
    }
}

/* --- labels --- */

static struct str part_of(struct str asked, struct str otherwise)
{
    return asked.n ? asked : otherwise;
}

bool selinux_labels(struct arena *a, const struct selinux_policy *policy, const struct selinux_context *asked,
                    struct str level, struct selinux_labels *out, struct err *err)
{
    const struct str parts[] = {asked->user, asked->role, asked->type, asked->level};
    bool any = false;
    for (size_t i = 0; i < countof(parts); i++) {
        any |= parts[i].n > 0;
        for (size_t k = 0; k < parts[i].n; k++)
            if (parts[i].p[k] <= ' ' || parts[i].p[k] == '"' || (i < 3 && parts[i].p[k] == ':'))
                return err_set(err, E_INVALID, "seLinuxOptions: \"" STR_FMT "\" cannot be part of a label",
                               STR_ARG(parts[i]));
    }
    if (asked->level.n && !selinux_level_ok(asked->level))
        return err_set(err, E_INVALID, "the format of 'level' \"" STR_FMT "\" is not correct", STR_ARG(asked->level));
    *out = (struct selinux_labels){S(""), S("")};
    if (!policy->process.type.n)
        return !any || err_set(err, E_INVALID,
                               "seLinuxOptions: the SELinux policy that is loaded on this node knows no containers: "
                               "contexts/lxc_contexts below " SELINUX_ETC " names no process and file, or a type "
                               "of a module that is not loaded");
    struct selinux_context process = policy->process, file = policy->file;
    if (process.level.n)
        process.level = file.level = part_of(level, process.level);
    process.user = part_of(asked->user, process.user);
    process.role = part_of(asked->role, process.role);
    process.type = part_of(asked->type, process.type);
    process.level = part_of(asked->level, process.level);
    file.user = part_of(asked->user, file.user);
    file.level = part_of(asked->level, file.level);
    *out = (struct selinux_labels){selinux_context_text(a, &process), selinux_context_text(a, &file)};
    return true;
}

bool selinux_known(struct str label, struct err *err)
{
    AUTO(fd_close) int fd = open(SELINUX_FS "/context", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, "open " SELINUX_FS "/context");
    if (write(fd, label.p, label.n) >= 0)
        return true;
    return errno == EINVAL ? err_set(err, E_INVALID, "the SELinux policy of this node has no context \"" STR_FMT "\"",
                                     STR_ARG(label))
                           : err_errno(err, SELINUX_FS "/context");
}

static bool label_visit(void *arg, int fd, const struct stat *st, struct err *err)
{
    const struct str *label = arg;
    char own[40], has[LABEL_MOST];
    (void)st;
    (void)snprintf(own, sizeof own, "/proc/self/fd/%d", fd);
    ssize_t n = getxattr(own, XATTR, has, sizeof has);
    if (n > 0 && has[n - 1] == 0)
        n--;
    if (n >= 0 && str_eq(*label, (struct str){has, (size_t)n}))
        return true; /* most often all of them are so by now */
    return setxattr(own, XATTR, label->p, label->n, 0) == 0 || err_errno(err, "set the label");
}

bool selinux_relabel(int root, struct str label, struct err *err)
{
    struct err why = ERR;
    if (tree_each(root, label_visit, &label, &why) || why.sys == EOPNOTSUPP)
        return true;
    *err = why;
    return false;
}
