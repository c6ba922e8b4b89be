/* regex_bench.c - regular expressions.
 *   make bench-regex; build/release/bench-regex
 *
 * a name      a pattern of the API's over a name, beside the same check written in C and beside libc's regexec
 * to compile  that pattern, and what it holds in memory
 * growth      patterns that make a backtracking search count to 2^n, over texts twice as long each time: what twice
 *             the text costs as a multiple of the text (2: linear), and a character in nanoseconds */
#include "base/clock.h"
#include "base/regex_int.h"
#include <regex.h>
#include <time.h>

#define NAME "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool name_check(struct str s)
{
    bool edge = true; /* here a label begins */
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool inner = c == '-', letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!letter && (edge || (!inner && c != '.') || (c == '.' && s.p[i - 1] == '-')))
            return false;
        edge = c == '.';
    }
    return s.n && !edge && s.p[s.n - 1] != '-';
}

static volatile bool kept;

#define LEAST(out, rounds, times, what)                                                                              \
    for (int round_ = 0; round_ < (rounds); round_++) {                                                              \
        double from_ = seconds_now();                                                                                \
        for (int i_ = 0; i_ < (times); i_++)                                                                         \
            kept = (what);                                                                                           \
        double took_ = (seconds_now() - from_) / (times);                                                            \
        (out) = round_ == 0 || took_ < (out) ? took_ : (out);                                                        \
    }

static void names_time(void)
{
    struct err err = ERR;
    const char *name = "web-frontend-7d4b9c6f5-x2x9p.team-one.example.com";
    struct regex *re = regex_new(S(NAME), &err);
    regex_t libc;
    double ours = 0, c = 0, theirs = 0, made = 0;
    if (!re || regcomp(&libc, NAME, REG_EXTENDED | REG_NOSUB)) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    LEAST(ours, 20, 10000, regex_match(re, str_of(name)));
    LEAST(c, 20, 10000, name_check(str_of(name)));
    LEAST(theirs, 20, 500, !regexec(&libc, name, 0, NULL, 0));
    printf("a name: %.0f ns; in C %.0f ns, libc's regexec %.0f ns\n", ours * 1e9, c * 1e9, theirs * 1e9);
    size_t bytes = re->own.used;
    regex_free(re);
    regfree(&libc);
    for (int i = 0; i < 200; i++) {
        double from = seconds_now();
        regex_free(regex_new(S(NAME), &err));
        double took = seconds_now() - from;
        made = i == 0 || took < made ? took : made;
    }
    printf("to compile: %.0f us; holds %zu bytes\n", made * 1e6, bytes);
}

static void growth_time(const char *pattern, const char *end)
{
    struct err err = ERR;
    struct regex *re = regex_new(str_of(pattern), &err);
    double last = 0;
    printf("%-28s", pattern);
    for (size_t n = 4000; n <= 64000; n *= 2) {
        char *text = mem_alloc(n + 2);
        memset(text, 'a', n);
        memcpy(text + n, end, strlen(end));
        struct str s = {text, n + strlen(end)};
        struct regex_span span;
        double took = 0;
        LEAST(took, 7, 1, regex_find(re, s, 0, &span, 1) || regex_match(re, s));
        if (last > 0)
            printf("  %.1f", took / last);
        last = took;
        mem_free(text);
    }
    printf("  %.1f ns a character%s\n", last / 64000 * 1e9, re->table ? "" : ", no table");
    regex_free(re);
}

int main(void)
{
    names_time();
    growth_time("^(a?){40}a{40}$", "");
    growth_time("^(a+a+)+b$", "");
    growth_time("(a|aa)+$", "!");
    growth_time("(.*)(.*)(.*)(.*)=", "");
    growth_time("(a|b)*a(a|b){30}c", "");
    struct err err = ERR;
    for (int n = 50; n <= 400; n *= 2) { /* the pattern grows with the text: n squared */
        AUTO(strbuf_fini) struct strbuf p = STRBUF(1000), t = STRBUF(1000);
        strbuf_addf(&p, "^(a?){%d}a{%d}$", n, n);
        for (int i = 0; i < n; i++)
            strbuf_addc(&t, 'a');
        struct regex *re = regex_new(strbuf_str(&p), &err);
        double took = 0;
        LEAST(took, 5, 3, regex_match(re, strbuf_str(&t)));
        printf("(a?){%d}a{%d} over as many: %.1f us%s\n", n, n, took * 1e6, re->table ? "" : ", no table");
        regex_free(re);
    }
    return 0;
}
