#include "base/test.h"
#include "wire/json.h"

static const struct {
    const char *text, *error;
} refused[] = {
    {"", "unexpected end of JSON input"},
    {"{", "unexpected end of JSON input"},
    {"{\"a\":1,}", "invalid character '}' looking for beginning of object key string"},
    {"{'a':1}", "invalid character '\\'' looking for beginning of object key string"},
    {"hello", "invalid character 'h' looking for beginning of value"},
    {"{} x", "invalid character 'x' after top-level value"},
    {"{\"a\" \"b\"}", "invalid character '\"' after object key"},
    {"{\"a\":\"b\" \"c\"}", "invalid character '\"' after object key:value pair"},
    {"[1 2]", "invalid character '2' after array element"},
    {"[01]", "invalid character '1' after array element"},
    {"[1,]", "invalid character ']' looking for beginning of value"},
    {"\"\\x\"", "invalid character 'x' in string escape code"},
    {"\"\\u12\"", "invalid character '\"' in \\u hexadecimal character escape"},
    {"[1.]", "invalid character ']' after decimal point in numeric literal"},
    {"[-]", "invalid character ']' in numeric literal"},
    {"[1e]", "invalid character ']' in exponent of numeric literal"},
    {"[tru]", "invalid character ']' in literal true (expecting 'e')"},
    {"\"a\tb\"", "invalid character '\\t' in string literal"},
    {"\xe2", "invalid character '\xc3\xa2' looking for beginning of value"},
    {"\x01", "invalid character '\\x01' looking for beginning of value"},
};

TEST(json_check_refuses_in_the_words_of_go)
{
    for (size_t i = 0; i < countof(refused); i++) {
        struct err err = ERR;
        CHECK(!json_check(str_of(refused[i].text), &err));
        CHECK_STR(str_of(err.text), str_of(refused[i].error));
    }
}

TEST(json_check_takes_10000_levels_and_not_one_more)
{
    char deep[2 * (JSON_MAX_DEPTH + 1)];
    struct err err = ERR;
    for (size_t depth = JSON_MAX_DEPTH; depth <= JSON_MAX_DEPTH + 1; depth++) {
        memset(deep, '[', depth);
        memset(deep + depth, ']', depth);
        CHECK(json_check((struct str){deep, 2 * depth}, &err) == (depth == JSON_MAX_DEPTH));
    }
    CHECK_STR(str_of(err.text), S("invalid character '[' exceeded max depth"));
}

TEST(json_check_first_goes_from_value_to_value)
{
    struct str rest = S(" {\"a\":1}\n[2] 3 ");
    size_t used, n = 0;
    struct err err = ERR;
    for (;; n++) {
        CHECK_OK(json_check_first(rest, &used, &err), err);
        if (!used)
            break;
        rest = str_sub(rest, used, rest.n);
    }
    CHECK_INT(n, 3);
}

TEST(json_strings_are_read_as_go_reads_them)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"\"plain\"", "plain"},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
        {"\"\\u00e9\\ud83d\\ude00\"", "\xc3\xa9\xf0\x9f\x98\x80"},
        {"\"\\ud83dx\\udc00\"", "\xef\xbf\xbdx\xef\xbf\xbd"},
        {"\"a\xff\xc3\xa9\"", "a\xef\xbf\xbd\xc3\xa9"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct err err = ERR;
        CHECK_OK(json_check(str_of(rows[i].in), &err), err);
        struct json j = json_of(str_of(rows[i].in));
        CHECK_STR(json_string(&j, &a), str_of(rows[i].out));
        CHECK(j.p == j.end);
    }
}

TEST(json_strings_are_written_as_go_writes_them)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1000);
    json_add_string(&b, S("a<b>&\"\\\n\x01\x7f \xe2\x80\xa8\xe2\x80\xa9\xe2\x82\xac\xff"));
    CHECK_STR(strbuf_str(&b),
              S("\"a\\u003cb\\u003e\\u0026\\\"\\\\\\n\\u0001\x7f \\u2028\\u2029\xe2\x82\xac\\ufffd\""));
}

TEST(json_numbers_are_written_as_go_writes_them)
{
    static const struct {
        double d;
        const char *text;
    } rows[] = {{0, "0"},
                {1, "1"},
                {-1.5, "-1.5"},
                {0.1, "0.1"},
                {1e6, "1000000"},
                {1e21, "1e+21"},
                {1e20, "100000000000000000000"},
                {12345678901234567890.0, "12345678901234567000"},
                {-18446744073709551616.0, "-18446744073709552000"},
                {1e-6, "0.000001"},
                {1e-7, "1e-7"},
                {1.0 / 3, "0.3333333333333333"},
                {123456.789, "123456.789"},
                {2.5e-10, "2.5e-10"}};
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(100);
        json_add_double(&b, rows[i].d);
        CHECK_STR(strbuf_str(&b), str_of(rows[i].text));
    }
    AUTO(strbuf_fini) struct strbuf b = STRBUF(100);
    json_add_int(&b, INT64_MIN);
    CHECK_STR(strbuf_str(&b), S("-9223372036854775808"));
    int64_t i;
    CHECK(!json_int(S("5.0"), &i) && !json_int(S("1e3"), &i) && !json_int(S("9223372036854775808"), &i));
    CHECK(json_int(S("-7"), &i) && i == -7);
}

TEST(json_skip_takes_the_whole_value)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct json j = json_of(S("{\"a\": {\"x\":[1,{\"]\":\"}\\\"\"}],\"y\":null} , \"b\":true}"));
    json_enter(&j);
    CHECK(json_more(&j));
    CHECK_STR(json_key(&j, &a), S("a"));
    CHECK_STR(json_skip(&j), S("{\"x\":[1,{\"]\":\"}\\\"\"}],\"y\":null}"));
    CHECK(json_more(&j));
    CHECK_STR(json_key(&j, &a), S("b"));
    CHECK(json_bool(&j));
    CHECK(!json_more(&j) && j.p == j.end);
}
