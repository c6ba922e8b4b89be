#include "base/test.h"
#include "node/exec_words.h"
#include <sys/stat.h>
#include <unistd.h>

#define BEGIN "exec failed: unable to start container process: "

TEST(why_a_command_did_not_start)
{
    static const struct {
        const char *said, *command;
        enum exec_seen seen;
        const char *want;
    } rows[] = {
        {"exec: executable file `nosuch` not found in $PATH: No such file or directory", "nosuch", SEEN_UNKNOWN,
         BEGIN "exec: \"nosuch\": executable file not found in $PATH"},
        {"exec: executable file `/bin/x` not found in $PATH: No such file or directory", "/bin/x", SEEN_NOTHING,
         BEGIN "exec: \"/bin/x\": stat /bin/x: no such file or directory"},
        {"exec: executable file `/etc/passwd` not found in $PATH: No such file or directory", "/etc/passwd",
         SEEN_FILE, BEGIN "exec: \"/etc/passwd\": permission denied"},
        {"exec: open executable: Operation not permitted", "/etc", SEEN_FOLDER,
         BEGIN "exec: \"/etc\": permission denied (is a directory)"},
        {"exec: exec /x: Exec format error", "/x", SEEN_FILE, BEGIN "exec /x: Exec format error"},
        {"exec: the pod's shim is gone", "sh", SEEN_UNKNOWN, BEGIN "exec: \"sh\": the pod's shim is gone"},
    };
    struct arena a = ARENA;
    for (size_t i = 0; i < countof(rows); i++)
        CHECK_STR(exec_words(&a, str_of(rows[i].said), str_of(rows[i].command), rows[i].seen), str_of(rows[i].want));
    arena_fini(&a);
}

TEST(why_a_container_did_not_start)
{
    static const char *const rows[][3] = {
        {"starting the container: executable file `/nope` not found in $PATH: No such file or directory", "/nope",
         "unable to start container process: exec: \"/nope\": stat /nope: no such file or directory"},
        {"starting the container: executable file `nope` not found in $PATH: No such file or directory", "nope",
         "unable to start container process: exec: \"nope\": executable file not found in $PATH"},
        {"starting the container: open executable: Operation not permitted", "/etc",
         "unable to start container process: exec: \"/etc\": permission denied"},
        {"starting the container: chdir `/etc/passwd`: Not a directory", "sh",
         "starting the container: chdir `/etc/passwd`: Not a directory"},
    };
    struct arena a = ARENA;
    for (size_t i = 0; i < countof(rows); i++)
        CHECK_STR(start_words(&a, str_of(rows[i][0]), str_of(rows[i][1])), str_of(rows[i][2]));
    arena_fini(&a);
}

TEST(what_a_path_is)
{
    CHECK_INT(exec_look(getpid(), "/etc"), SEEN_FOLDER);
    CHECK_INT(exec_look(getpid(), "/etc/passwd"), SEEN_FILE);
    CHECK_INT(exec_look(getpid(), "/etc/passwd/below"), SEEN_NOTHING);
    CHECK_INT(exec_look(getpid(), "/no/such/thing"), SEEN_NOTHING);
    CHECK_INT(exec_look(0x7ffffff0, "/etc"), SEEN_UNKNOWN);
}
