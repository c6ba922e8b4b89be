#include "base/clock.h"
#include "base/test.h"
#include "wire/yaml.h"

static const struct {
    const char *yaml, *json;
} rows[] = {
    {"", "null"},
    {"a: b\n", "{\"a\":\"b\"}"},
    {"b: 1\na: [x, 2.50, ~]\n", "{\"a\":[\"x\",2.5,null],\"b\":1}"},
    {"a: yes\nb: Off\nc: 'yes'\nd: \"1\"\ne: !!str 1\n",
     "{\"a\":true,\"b\":false,\"c\":\"yes\",\"d\":\"1\",\"e\":\"1\"}"},
    {"a: 0777\nb: 0x1f\nc: 1_000\nd: -5\ne: 08\nf: +7\ng: 0b11\n",
     "{\"a\":511,\"b\":31,\"c\":1000,\"d\":-5,\"e\":8,\"f\":7,\"g\":3}"},
    {"a: 1e3\nb: .5\nc: 1.0\nd: 2026-01-01\ne: 1.2.3\nf: 12:30:00\n",
     "{\"a\":1000,\"b\":0.5,\"c\":1,\"d\":\"2026-01-01\",\"e\":\"1.2.3\",\"f\":\"12:30:00\"}"},
    {"1: a\ntrue: b\n1.5: c\n", "{\"1\":\"a\",\"1.5\":\"c\",\"true\":\"b\"}"},
    {"x: &x {a: 1}\nw: *x\nz: {<<: *x, b: 2}\n", "{\"w\":{\"a\":1},\"x\":{\"a\":1},\"z\":{\"a\":1,\"b\":2}}"},
    {"a: |\n  one\n  two\nb: >-\n  one\n  two\n", "{\"a\":\"one\\ntwo\\n\",\"b\":\"one two\"}"},
    {"a: !!binary aGk=\n", "{\"a\":\"hi\"}"},
    {"a: &x {b: 1}\nc:\n  !!merge <<: *x\n  d: 2\n", "{\"a\":{\"b\":1},\"c\":{\"b\":1,\"d\":2}}"},
    {"c: {!!str <<: 1}\n", "{\"c\":{\"\\u003c\\u003c\":1}}"},
    {"a:\nb: ''\n", "{\"a\":null,\"b\":\"\"}"},
    {"{\"a\": [1, {\"b\": \"\\u00e9\"}]}", "{\"a\":[1,{\"b\":\"\xc3\xa9\"}]}"},
    {"\xef\xbb\xbf"
     "a: b\r\nc: |\r\n  x\r\n  y\r\n",
     "{\"a\":\"b\",\"c\":\"x\\ny\\n\"}"},
    {"# only\n---\na: b\n...\n---\n# nothing\n---\n", "{\"a\":\"b\"}"},
};

TEST(yaml_is_read_as_kubernetes_reads_it)
{
    for (size_t i = 0; i < countof(rows); i++) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        struct err err = ERR;
        CHECK_OK(yaml_to_json(str_of(rows[i].yaml), NULL, &b, &err), err);
        CHECK_STR(strbuf_str(&b), str_of(rows[i].json));
    }
}

static const struct {
    const char *yaml, *error;
} refused[] = {
    {"a: b: c", "yaml: mapping values are not allowed in this context"},
    {"a: *nope\n", "yaml: unknown anchor 'nope' referenced"},
    {"a: v1\n b: c\n", "yaml: line 2: mapping values are not allowed in this context"},
    {"a: .inf\n", "json: unsupported value: +Inf"},
    {"a: &a [*a]\n", "yaml: anchor 'a' value contains itself"},
    {"? [1]\n: 2\n", "yaml: line 1: a map key must be a text, a number or a boolean"},
    {"a: 1\nb: {c\n", "yaml: line 2: did not find expected ',' or '}'"},
    {"a: {<<: 5}\n", "yaml: map merge requires map or sequence of maps as the value"},
    {"a: \x01\n", "yaml: control characters are not allowed"},
    {"a: 1\n---\nb: 2\n", "yaml: line 4: another document ends here; only one can be taken"},
    {"a: 1\n---\n---\n- 1\n---\n", "yaml: line 5: another document ends here; only one can be taken"},
    {"a: 1\n---\nb: {\n", "yaml: line 3: did not find expected node content"},
};

TEST(bad_yaml_is_refused_with_its_line)
{
    for (size_t i = 0; i < countof(refused); i++) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        struct err err = ERR;
        CHECK(!yaml_to_json(str_of(refused[i].yaml), NULL, &b, &err));
        CHECK_STR(str_of(err.text), str_of(refused[i].error));
    }
}

static void key_keep(void *arg, struct str text)
{
    strbuf_addf(arg, STR_FMT ";", STR_ARG(text));
}

TEST(keys_that_stand_twice_are_noted_and_the_last_one_holds)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    AUTO(strbuf_fini) struct strbuf noted = STRBUF(STRBUF_TEXT);
    struct yaml_notes notes = {key_keep, &noted};
    struct err err = ERR;
    CHECK_OK(yaml_to_json(S("a: 1\nb:\n  c: 1\n  c: 2\na: 3\n"), &notes, &b, &err), err);
    CHECK_STR(strbuf_str(&b), S("{\"a\":3,\"b\":{\"c\":2}}"));
    CHECK_STR(strbuf_str(&noted), S("line 5: key \"a\" already set in map;line 4: key \"c\" already set in map;"));
}

TEST(aliases_cannot_blow_a_document_up)
{
    AUTO(strbuf_fini) struct strbuf bomb = STRBUF(STRBUF_TEXT);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(64 << 20);
    struct err err = ERR;
    strbuf_addz(&bomb, "a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i < 12; i++) {
        strbuf_addf(&bomb, "a%d: &a%d [", i, i);
        for (int k = 0; k < 9; k++)
            strbuf_addf(&bomb, "%s*a%d", k ? "," : "", i - 1);
        strbuf_addz(&bomb, "]\n");
    }
    CHECK(!yaml_to_json(strbuf_str(&bomb), NULL, &b, &err));
    CHECK_STR(str_of(err.text), S("yaml: document contains excessive aliasing"));
}

TEST(deep_yaml_is_refused)
{
    AUTO(strbuf_fini) struct strbuf deep = STRBUF(1 << 20);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    struct err err = ERR;
    strbuf_addz(&deep, "a: ");
    for (int i = 0; i < 20000; i++)
        strbuf_addc(&deep, '[');
    CHECK(!yaml_to_json(strbuf_str(&deep), NULL, &b, &err));
    CHECK_STR(str_of(err.text), S("yaml: exceeded max depth of 10000"));
}

TEST(many_values_at_a_great_depth_are_refused_before_they_cost_much)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(1 << 22), b = STRBUF(1 << 24);
    struct err err = ERR;
    const int64_t began = clock_thread_cpu();
    for (int i = 0; i < 5000; i++)
        strbuf_addc(&text, '[');
    for (int i = 0; i < 500000; i++)
        strbuf_addz(&text, "1,");
    CHECK(!yaml_to_json(strbuf_str(&text), NULL, &b, &err));
    CHECK_STR(str_of(err.text), S("yaml: too many values nested too deeply"));
    CHECK(clock_thread_cpu() - began < 2 * NS_PER_S); /* without a bound: minutes */
}

TEST(a_stream_gives_its_documents)
{
    AUTO(yaml_close) struct yaml_reader *r = yaml_open(S("---\na: 1\n---\n---\nb: 2\n...\n# end\n"), NULL);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct err err = ERR;
    int n = 0;
    while (yaml_next(r, &b, &err) == 1) {
        strbuf_addc(&b, ';');
        n++;
    }
    CHECK_INT(n, 3);
    CHECK_STR(strbuf_str(&b), S("{\"a\":1};null;{\"b\":2};"));
}

TEST(yaml_is_written_so_that_it_reads_back)
{
    static const char json[] = "{\"b\":[1,\"two\",{\"x\":\"yes\",\"y\":\"1\"},[]],\"a\":{\"text\":\"one\\ntwo\\n\","
                               "\"empty\":\"\",\"map\":{}},"
                               "\"c\":null,\"d\":\"a: b #c\",\"e\":\"\\u00e9 \\u0007\",\"f\":1.5,\"g\":true}";
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    yaml_add(&b, str_of(json));
    CHECK_STR(strbuf_str(&b), S("a:\n  empty: \"\"\n  map: {}\n  text: |\n    one\n    two\nb:\n- 1\n- two\n- x: "
                                "\"yes\"\n  \"y\": \"1\"\n- []\n"
                                "c: null\nd: 'a: b #c'\ne: \"\xc3\xa9 \\a\"\nf: 1.5\ng: true\n"));
}

TEST(yaml_quotes_what_other_readers_take_for_times_and_numbers)
{
    static const struct {
        const char *text, *yaml;
    } cases[] = {
        {"2026-01-02T03:04:05Z", "\"2026-01-02T03:04:05Z\"\n"},
        {"2026-01-02", "\"2026-01-02\"\n"},
        {"12:30:45", "\"12:30:45\"\n"},
        {"12:30", "\"12:30\"\n"},
        {"2026-01-02x", "2026-01-02x\n"},
        {"2026-web-1", "2026-web-1\n"},
        {"10.0.0.1:80/x", "10.0.0.1:80/x\n"},
        {"busybox:1.36", "busybox:1.36\n"},
        {"demo:1", "demo:1\n"},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        AUTO(strbuf_fini) struct strbuf json = STRBUF(STRBUF_TEXT), b = STRBUF(STRBUF_TEXT);
        strbuf_addf(&json, "\"%s\"", cases[i].text);
        yaml_add(&b, strbuf_str(&json));
        CHECK_STR(strbuf_str(&b), str_of(cases[i].yaml));
    }
}

TEST(empty_documents_have_a_bound)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(1 << 22), b = STRBUF(STRBUF_TEXT);
    struct err err = ERR;
    strbuf_addz(&text, "a: 1\n");
    for (int i = 0; i < 700000; i++)
        strbuf_addz(&text, "---\n");
    int64_t start = clock_thread_cpu();
    CHECK(!yaml_to_json(strbuf_str(&text), NULL, &b, &err));
    CHECK_STR(str_of(err.text), S("yaml: over 1000 empty documents"));
    CHECK(clock_thread_cpu() - start < 200 * NS_PER_MS);
}
