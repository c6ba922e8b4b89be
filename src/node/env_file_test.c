#include "base/test.h"
#include "node/env_file.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

TEST(files_are_read_as_a_shell_reads_them)
{
    static const struct {
        const char *text, *name, *want; /* want NULL: it has none; "!..": an error with these words */
    } rows[] = {
        {"KEY1='val1'\nKEY2='val2'\n", "KEY2", "val2"},
        {"KEY1='val1'\nKEY2='val2'", "KEY2", "val2"},
        {"KEY1='val1'\r\nKEY2='val2'\r\n", "KEY2", "val2"},
        {"  \tKEY='v'", "KEY", "v"},
        {"# KEY='no'\n\n   # nor this\n\t\nKEY='v'", "KEY", "v"},
        {"KEY=''", "KEY", ""},
        {"KEY= 'val'", "KEY", ""},
        {"OTHER= what ever\nKEY='v'", "KEY", "v"},
        {"KEY='v' # why", "KEY", "v"},
        {"KEY='v'# why", "KEY", "v"},
        {"KEY='a#b'", "KEY", "a#b"},
        {"KEY='a=b=c'", "KEY", "a=b=c"},
        {"KEY=' a \\n $HOME ${X} \"q\" '", "KEY", " a \\n $HOME ${X} \"q\" "},
        {"KEY='a\nb\n\n# c\nd'\nNEXT='n'", "KEY", "a\nb\n\n# c\nd"},
        {"KEY='a\nb\n\n# c\nd'\nNEXT='n'", "NEXT", "n"},
        {"KEY='one'\nKEY='two'", "KEY", "one"},
        {"KEY='v'\nbroken", "KEY", "v"}, /* nobody looks further */
        {"KEY='v'", "NONE", NULL},
        {"", "KEY", NULL},
        {"a b='v'", "a b", "v"},
        {"KEY='v'\nbroken\n", "NONE", "!at line 2: missing '='"},
        {"='v'", "KEY", "!at line 1: empty variable name"},
        {"  ='v'", "KEY", "!at line 1: empty variable name"},
        {"KEY ='v'", "KEY", "!at line 1: whitespace before '=' is not allowed"},
        {"KEY=v", "KEY", "!at line 1: value must be enclosed in single quotes"},
        {"KEY=\"v\"", "KEY", "!at line 1: value must be enclosed in single quotes"},
        {"KEY=", "KEY", "!at line 1: value must be enclosed in single quotes"},
        {"export KEY=v", "KEY", "!at line 1: value must be enclosed in single quotes"},
        {"A='1'\nKEY='v' w", "KEY", "!at line 2: unexpected content after closing quote"},
        {"KEY='a'b'c'", "KEY", "!at line 1: unexpected content after closing quote"},
        {"A='1'\nKEY='v\nw", "KEY", "!starting at line 2: unclosed single quote"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct str value;
        bool found;
        struct err err = ERR;
        bool ok = env_file_find(&a, str_of(rows[i].text), str_of(rows[i].name), &value, &found, &err);
        if (rows[i].want && rows[i].want[0] == '!') {
            CHECK(!ok && str_find(str_of(err.text), str_of(rows[i].want + 1)) >= 0);
        } else {
            CHECK_OK(ok, err);
            CHECK(found == (rows[i].want != NULL));
            CHECK_STR(value, str_of(rows[i].want ? rows[i].want : ""));
        }
    }
}

/* What a tenant may put there: links out, pipes, files without end. */
TEST(files_lead_nowhere_else)
{
    AUTO(arena_fini) struct arena a = ARENA;
    const char *dir = test_dir();
    struct str text;
    CHECK(chdir(dir) == 0 && mkdir("in", 0755) == 0 && mkdir("in/deep", 0755) == 0);
    static const struct {
        const char *path, *content;
    } files[] = {{"out.env", "OUT='1'"}, {"in/a.env", "A='1'"}, {"in/deep/b.env", "B='1'"}};
    for (size_t i = 0; i < countof(files); i++) {
        FILE *f = fopen(files[i].path, "w");
        CHECK(f && fputs(files[i].content, f) >= 0 && fclose(f) == 0);
    }
    CHECK(symlink("../out.env", "in/up.env") == 0 && symlink(arena_fmt(&a, "%s/out.env", dir).p, "in/far.env") == 0);
    CHECK(symlink("deep/b.env", "in/link.env") == 0 && symlink("/deep/b.env", "in/rooted.env") == 0);
    CHECK(mkfifo("in/pipe.env", 0644) == 0);
    AUTO(fd_close) int big = open("in/big.env", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    CHECK(big >= 0 && ftruncate(big, ENV_FILE_MOST + 1) == 0);
    static const struct {
        const char *path;
        enum err_kind kind; /* E_NONE: it is read */
    } rows[] = {{"a.env", E_NONE},         {"deep/b.env", E_NONE},   {"link.env", E_NONE},
                {"rooted.env", E_NONE},    {"up.env", E_NOT_FOUND},  {"far.env", E_NOT_FOUND},
                {"none.env", E_NOT_FOUND}, {"a.env/x", E_NOT_FOUND}, {"../out.env", E_NOT_FOUND},
                {"deep", E_INVALID},       {"pipe.env", E_INVALID},  {"big.env", E_TOO_LARGE}};
    for (size_t i = 0; i < countof(rows); i++) {
        struct err err = ERR;
        bool ok = env_file_load(&a, "in", str_of(rows[i].path), &text, &err);
        CHECK(ok == (rows[i].kind == E_NONE));
        CHECK(ok ? text.n == 5 : err.kind == rows[i].kind);
    }
    CHECK(chdir("/") == 0);
}
