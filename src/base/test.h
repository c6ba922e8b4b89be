/* test.h - the test harness. TEST(name) { ... CHECK(x); } in foo_test.c beside foo.c; test_main.c runs each test in
 * a child process of its own, so a crash is one failure, and ends with the line "N passed, N failed".
 * A CHECK that fails ends the test. */
#pragma once
#include "base/str.h"

struct test {
    const char *name, *file;
    void (*run)(void);
    struct test *next;
};
void test_add(struct test *t);
NORETURN void test_failed(const char *file, int line, const char *fmt, ...) PRINTF(3, 4);
const char *test_dir(void); /* a fresh folder of this test, removed after it */

#define TEST(name_)                                                                                                  \
    static void test_##name_(void);                                                                                  \
    __attribute__((constructor)) static void test_add_##name_(void)                                                  \
    {                                                                                                                \
        static struct test t = {#name_, __FILE__, test_##name_, NULL};                                               \
        test_add(&t);                                                                                                \
    }                                                                                                                \
    static void test_##name_(void)

#define CHECK(x)              ((x) ? (void)0 : test_failed(__FILE__, __LINE__, "%s", #x))
#define CHECK_STR(have, want) test_check_str(__FILE__, __LINE__, #have, (have), (want))
#define CHECK_INT(have, want) test_check_int(__FILE__, __LINE__, #have, (long long)(have), (long long)(want))
#define CHECK_OK(call, err)   ((call) ? (void)0 : test_failed(__FILE__, __LINE__, "%s: %s", #call, (err).text))
void test_check_str(const char *file, int line, const char *what, struct str have, struct str want);
void test_check_int(const char *file, int line, const char *what, long long have, long long want);

/* Input and expected text side by side in a file (cases separated by "=== title" lines, the two halves by a "---"
 * line): calls `answer` for each input and compares. UPDATE=1 in the environment rewrites the file. */
void test_transcript(const char *path, void (*answer)(struct str input, struct strbuf *out));
