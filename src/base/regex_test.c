#include "base/regex_int.h"
#include "base/test.h"

#define PARSING "error parsing regexp: "

TEST(what_is_no_pattern_is_refused_in_the_words_of_go)
{
    static const struct {
        const char *pattern, *error;
    } rows[] = {
        {"a(b", "missing closing ): `a(b`"},
        {"a)b", "unexpected ): `a)b`"},
        {"a(b))", "unexpected ): `a(b))`"},
        {"[a", "missing closing ]: `[a`"},
        {"x[a-\\d]", "invalid escape sequence: `\\d`"},
        {"[z-a]", "invalid character class range: `z-a`"},
        {"[[:foo:]]", "invalid character class range: `[:foo:]`"},
        {"a**", "invalid nested repetition operator: `**`"},
        {"a*?{2}b", "invalid nested repetition operator: `*?{2}`"},
        {"*a", "missing argument to repetition operator: `*`"},
        {"a|+?", "missing argument to repetition operator: `+?`"},
        {"(?i)*", "missing argument to repetition operator: `*`"},
        {"a{1001}", "invalid repeat count: `{1001}`"},
        {"a{3,2}", "invalid repeat count: `{3,2}`"},
        {"a{99999999999}", "invalid repeat count: `{99999999999}`"},
        {"(x{33}){32}", "invalid repeat count: `{32}`"},
        {"\\", "trailing backslash at end of expression: ``"},
        {"\\1", "invalid escape sequence: `\\1`"},
        {"\\8", "invalid escape sequence: `\\8`"},
        {"\\q", "invalid escape sequence: `\\q`"},
        {"\\C", "invalid escape sequence: `\\C`"},
        {"\\xz1", "invalid escape sequence: `\\xz1`"},
        {"\\x{110000}", "invalid escape sequence: `\\x{110000`"},
        {"\\x{}", "invalid escape sequence: `\\x{}`"},
        {"\\p{Foo}", "invalid character class range: `\\p{Foo}`"},
        {"\\p{Greek", "invalid character class range: `\\p{Greek`"},
        {"\\p", "invalid character class range: `\\p`"},
        {"(?=a)", "invalid or unsupported Perl syntax: `(?=`"},
        {"(?<=a)b", "invalid named capture: `(?<=a)b`"},
        {"(?!a)", "invalid or unsupported Perl syntax: `(?!`"},
        {"a++", "invalid nested repetition operator: `++`"},
        {"(?i-)a", "invalid or unsupported Perl syntax: `(?i-)`"},
        {"(?P<n", "invalid named capture: `(?P<n`"},
        {"(?P<a b>c)", "invalid named capture: `(?P<a b>`"},
        {"(?P=n)", "invalid or unsupported Perl syntax: `(?P`"},
        {"a\xff", "invalid UTF-8: `\xff`"},
        {"[\xc3]", "invalid UTF-8: `\xc3]`"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct err err = ERR;
        AUTO(regex_free) struct regex *re = regex_new(str_of(rows[i].pattern), &err);
        CHECK(!re);
        CHECK(str_starts(str_of(err.text), S(PARSING)));
        CHECK_STR(str_of(err.text + strlen(PARSING)), str_of(rows[i].error));
    }
}

/* "0-3 1-2 -": the whole match and its groups; "" for no match. */
static void find_shown(const struct regex *re, struct str text, struct strbuf *out)
{
    struct regex_span spans[20];
    size_t n = regex_groups(re) + 1;
    CHECK(n <= countof(spans));
    if (!regex_find(re, text, 0, spans, n))
        return;
    for (size_t i = 0; i < n; i++) {
        strbuf_addz(out, i ? " " : "");
        if (spans[i].from == SIZE_MAX)
            strbuf_addc(out, '-');
        else
            strbuf_addf(out, "%zu-%zu", spans[i].from, spans[i].to);
    }
}

TEST(a_match_is_where_go_finds_it)
{
    static const struct {
        const char *pattern, *text, *found;
    } rows[] = {
        {"", "", "0-0"},
        {"", "ab", "0-0"},
        {"b", "abc", "1-2"},
        {"b", "ac", ""},
        {"abc", "xxabc", "2-5"},
        {"^abc$", "abc", "0-3"},
        {"^abc$", "abc\n", ""},
        {"(?m)^b$", "a\nb\nc", "2-3"},
        {"a|ab", "ab", "0-1"}, /* the first that fits, not the longest */
        {"(a|ab)(c|bcd)(d*)", "abcd", "0-4 0-1 1-4 4-4"},
        {"(a*)*", "b", "0-0 0-0"},
        {"(a*)+", "b", "0-0 0-0"},
        {"(|a)*", "aa", "0-0 0-0"},
        {"(|a)+", "aa", "0-0 0-0"},
        {"a*?b", "aab", "0-3"},
        {"a+?", "aaa", "0-1"},
        {"(?U)a+", "aaa", "0-1"},
        {"(?U)a+?", "aaa", "0-3"},
        {"(a){2,3}", "aaaa", "0-3 2-3"},
        {"a{2,}?", "aaaa", "0-2"},
        {"a{,2}", "a{,2}", "0-5"}, /* a brace that counts nothing is a brace */
        {"x{0}y", "xy", "1-2"},
        {"(?:(a)|b)*", "ab", "0-2 0-1"},
        {"(?P<y>\\d{4})-(?<m>\\d\\d)", "on 2024-05-06", "3-10 3-7 8-10"},
        {".", "\n", ""},
        {"(?s).", "\n", "0-1"},
        {"[^a]", "\n", "0-1"},
        {".", "\xff", "0-1"}, /* a byte that is no character counts as one */
        {"\\x{fffd}", "a\xff", "1-2"},
        {"é+", "aéé", "1-5"},
        {"[à-ü]", "aé", "1-3"},
        {"\\bk\\b", "ak k", "3-4"},
        {"\\Bk", "ak k", "1-2"},
        {"\\bé", "é", ""}, /* words are ASCII's */
        {"\\w+", "né_1", "0-1"},
        {"\\s", "a\vb", ""},
        {"[[:space:]]", "a\vb", "1-2"},
        {"[[:^alpha:]x]", "abx1", "2-3"},
        {"[]a]+", "b]a]", "1-4"},
        {"[^]a]", "]ab", "2-3"},
        {"[a-]+", "b-a", "1-3"},
        {"\\Qa.b\\E+", "a.bb", "0-4"},
        {"\\Q.*", "a.*", "1-3"},
        {"\\pN+", "x12٣", "1-5"},
        {"\\p{Greek}", "aσ", "1-3"},
        {"\\P{Greek}", "σa", "2-3"},
        {"\\p{^Greek}", "σa", "2-3"},
        {"\\p{lowercase_letter}", "AaB", "1-2"},
        {"[\\p{Lu}\\d]+", "aB1c", "1-3"},
        {"(?i)straSSe", "STRASSE", "0-7"},
        {"(?i)k", "\u212a", "0-3"}, /* the sign for kelvin */
        {"(?i)[^k]", "K\u212ak", ""},
        {"(?i)\u03c3", "\u03c2", "0-2"}, /* both small sigmas */
        {"(?i)\\p{Lu}", "a", "0-1"},
        {"(?i:a)b", "Ab", "0-2"},
        {"(?i)a(?-i)b", "AB", ""},
        {"(?i)a(?-i)b", "Ab", "0-2"},
        {"\\07\\x41\\x{42}\\n", "\aAB\n", "0-4"},
        {"[^\\x00-\\x{10FFFF}]", "a", ""},
        {"a$|b", "ab", "1-2"},
        {"^*a", "ba", "1-2"},
        {"\\Aa", "ba", ""},
        {"a\\z", "aab", ""},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct err err = ERR;
        AUTO(regex_free) struct regex *re = regex_new(str_of(rows[i].pattern), &err);
        CHECK_OK(re != NULL, err);
        AUTO(strbuf_fini) struct strbuf found = STRBUF(STRBUF_TEXT);
        find_shown(re, str_of(rows[i].text), &found);
        if (!str_eqz(strbuf_str(&found), rows[i].found))
            test_failed(__FILE__, __LINE__, "%s in \"%s\": %s, not %s", rows[i].pattern, rows[i].text,
                        found.p ? found.p : "nothing", rows[i].found);
        CHECK(regex_match(re, str_of(rows[i].text)) == (rows[i].found[0] != 0));
    }
}

TEST(matches_follow_one_another_as_in_go)
{
    static const struct {
        const char *pattern, *text, *all;
    } rows[] = {
        {"a", "banana", "1-2 3-4 5-6 "}, {"a*", "baaac", "0-0 1-4 5-5 "},
        {"", "aé", "0-0 1-1 3-3 "},      {"\\b", "ab c", "0-0 2-2 3-3 4-4 "},
        {"^a", "aaa", "0-1 "},           {"(?m)^", "a\nb", "0-0 2-2 "},
        {"a|$", "ba", "1-2 "},           {"x", "abc", ""},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct err err = ERR;
        AUTO(regex_free) struct regex *re = regex_new(str_of(rows[i].pattern), &err);
        AUTO(strbuf_fini) struct strbuf all = STRBUF(STRBUF_TEXT);
        struct regex_walk w = {0};
        struct regex_span span;
        while (regex_next(re, str_of(rows[i].text), &w, &span))
            strbuf_addf(&all, "%zu-%zu ", span.from, span.to);
        CHECK_STR(strbuf_str(&all), str_of(rows[i].all));
    }
}

static void text_repeat(struct strbuf *b, const char *what, int times)
{
    while (times-- > 0)
        strbuf_addz(b, what);
}

static void pattern_check(const struct strbuf *pattern, const char *error)
{
    struct err err = ERR;
    CHECK(!pattern->over);
    AUTO(regex_free) struct regex *re = regex_new(strbuf_str(pattern), &err);
    CHECK((re == NULL) == (error != NULL));
    CHECK(re || str_has(str_of(err.text), str_of(error)));
}

TEST(patterns_have_limits)
{
    static const struct {
        const char *open, *middle, *close;
        int times;
        const char *error;
    } rows[] = {
        {"(", "a", ")", 999, NULL},
        {"(", "ab", ")", 999, NULL},
        {"(", "a", ")", 1000, "expression nests too deeply"},
        {"(?:", "", ")*", 1000, "expression nests too deeply"},
        {"", "", "(x{1000})", 98, NULL},
        {"", "", "x{1000}", 101, "expression too large"},
        {"", "((x{1000}){1000}){1000}", "", 0, "invalid repeat count"},
        {"", "", "[\\pL0]\\pN", 200, NULL},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(strbuf_fini) struct strbuf pattern = STRBUF(1 << 20);
        text_repeat(&pattern, rows[i].open, rows[i].times);
        strbuf_addz(&pattern, rows[i].middle);
        text_repeat(&pattern, rows[i].close, rows[i].times);
        pattern_check(&pattern, rows[i].error);
    }
    AUTO(strbuf_fini) struct strbuf open = STRBUF(1 << 20);
    text_repeat(&open, "(", 100000); /* as many pieces on the stack as there are letters */
    pattern_check(&open, "missing closing )");
}

/* What makes a backtracking search count to 2^n. */
TEST(no_pattern_takes_longer_than_its_length_times_the_text)
{
    static const struct {
        const char *pattern, *letter, *end;
        bool matches;
    } rows[] = {
        {"^(x+x+)+y$", "x", "", false},
        {"^(a?){100}a{100}$", "a", "", false},
        {"(a|aa)+$", "a", "b", false},
        {"^(([a-z])+.)+[A-Z]([a-z])+$", "a", "", false},
        {"(.*)(.*)(.*)(.*)=", "a", "", false},
        {"(a|b)*a(a|b){30}c", "ab", "", false}, /* a table of it would have 2^30 states */
        {"(a|b)*a(a|b){30}$", "a", "", true},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct err err = ERR;
        AUTO(regex_free) struct regex *re = regex_new(str_of(rows[i].pattern), &err);
        AUTO(strbuf_fini) struct strbuf text = STRBUF(1 << 20);
        text_repeat(&text, rows[i].letter, 20000);
        strbuf_addz(&text, rows[i].end);
        struct regex_span span;
        CHECK(regex_match(re, strbuf_str(&text)) == rows[i].matches);
        CHECK(regex_find(re, strbuf_str(&text), 0, &span, 1) == rows[i].matches);
    }
}

/* The table and the walk over the program are two ways to one answer. */
TEST(patterns_of_the_usual_kind_have_a_small_table)
{
    static const char *const patterns[] = {
        "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
        "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        "^(([0-9]+)(\\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$",
        "^\\S+$",
        "^.{1,253}$",
        "^(\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.["
        "0-9]+))))?$",
        "^(?:[a-zA-Z0-9-]{1,63}\\.){1,3}[a-zA-Z]{2,10}$",
    };
    for (size_t i = 0; i < countof(patterns); i++) {
        struct err err = ERR;
        AUTO(regex_free) struct regex *re = regex_new(str_of(patterns[i]), &err);
        CHECK(re && re->table);
        CHECK(re->own.used < 20000);
    }
}
