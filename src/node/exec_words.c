#include "node/exec_words.h"
#include "sys/file.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum exec_seen exec_look(int pid, const char *path)
{
    char name[64];
    struct stat st;
    (void)snprintf(name, sizeof name, "/proc/%d/root", pid);
    AUTO(fd_close) int root = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return SEEN_UNKNOWN;
    struct open_how how = {.flags = O_PATH | O_CLOEXEC,
                           .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV};
    AUTO(fd_close) int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof how);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? SEEN_NOTHING : SEEN_UNKNOWN;
    if (fstat(fd, &st) < 0)
        return SEEN_UNKNOWN;
    return S_ISDIR(st.st_mode) ? SEEN_FOLDER : SEEN_FILE;
}

struct str exec_words(struct arena *a, struct str said, struct str command, enum exec_seen seen)
{
    bool path = str_find_char(command, '/') >= 0;
    bool absent = str_find(said, S("not found in $PATH")) >= 0, denied = str_find(said, S("open executable")) >= 0;
    struct str why = str_starts(said, S("exec: ")) ? str_sub(said, 6, said.n) : said;
    if (absent && !path)
        why = S("executable file not found in $PATH");
    else if ((absent || denied) && seen == SEEN_FOLDER)
        why = S("permission denied (is a directory)");
    else if (denied || (absent && seen == SEEN_FILE))
        why = S("permission denied");
    else if (absent && path)
        why = arena_fmt(a, "stat " STR_FMT ": no such file or directory", STR_ARG(command));
    else if (path && !absent && !denied && str_find(said, command) >= 0) /* names it already */
        return arena_fmt(a, "exec failed: unable to start container process: " STR_FMT, STR_ARG(why));
    return arena_fmt(a, "exec failed: unable to start container process: exec: \"" STR_FMT "\": " STR_FMT,
                     STR_ARG(command), STR_ARG(why));
}

struct str start_words(struct arena *a, struct str said, struct str command)
{
    if (str_find(said, S("not found in $PATH")) < 0 && str_find(said, S("open executable")) < 0)
        return said;
    struct str words = exec_words(a, said, command, SEEN_UNKNOWN);
    return str_sub(words, S("exec failed: ").n, words.n);
}
