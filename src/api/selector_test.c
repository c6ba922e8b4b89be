#include "api/selector.h"
#include "base/test.h"

static bool matches(const char *text, const struct val *labels)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct selector *s;
    struct err err = ERR;
    CHECK_OK(selector_parse(&a, str_of(text), &s, &err), err);
    return selector_matches(s, labels);
}

TEST(label_selectors_match)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val labels = val_map();
    val_set_str(&a, &labels, S("app"), val_str(&a, S("web")));
    val_set_str(&a, &labels, S("n"), val_str(&a, S("5")));
    static const struct {
        const char *text;
        bool matches;
    } rows[] = {
        {"", true},
        {"app", true},
        {"!app", false},
        {"app=web", true},
        {"app==web", true},
        {"app!=web", false},
        {"x!=web", true},
        {"app in (a,web)", true},
        {"app notin (a,b)", true},
        {"x notin (a)", true},
        {"app in (a)", false},
        {"n>4", true},
        {"n<5", false},
        {"app=web,!x", true},
        {"app=web,x", false},
        {" app in ( web ) , n ", true},
    };
    for (size_t i = 0; i < countof(rows); i++)
        CHECK_INT(matches(rows[i].text, &labels), rows[i].matches);
}

TEST(bad_selectors_are_refused_in_upstreams_words)
{
    static const char *const rows[][2] = {
        {"a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"},
        {"=x", "found '=', expected: !, identifier, or 'end of string'"},
        {"a in", "unable to parse requirement: found '' expected: '('"},
        {"a in (", "unable to parse requirement: found '', expected: ',', ')' or identifier"},
        {"a in ()x", "found 'x', expected: ',' or 'end of string'"},
        {"a in (b", "unable to parse requirement: found '', expected: ',' or ')'"},
        {"a=b=c", "found '=', expected: ',' or 'end of string'"},
        {"!", "unable to parse requirement: found '', expected: identifier"},
        {"a,,b", "found ',', expected: identifier after ','"},
        {"n=1,", "found '', expected: identifier after ','"},
        {"a>b",
         "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value must "
         "be an integer"},
        {"a=-x",
         "unable to parse requirement: values[0][a]: Invalid value: \"-x\": a valid label must be an empty string "
         "or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
         "character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
         "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"},
    };
    AUTO(arena_fini) struct arena a = ARENA;
    for (size_t i = 0; i < countof(rows); i++) {
        struct selector *s;
        struct err err = ERR;
        CHECK(!selector_parse(&a, str_of(rows[i][0]), &s, &err));
        CHECK_STR(str_of(err.text), str_of(rows[i][1]));
    }
}

TEST(selectors_have_a_canonical_text)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct selector *s;
    struct err err = ERR;
    CHECK_OK(selector_parse(&a, S("z=1,!b, a in (y,x)"), &s, &err), err);
    selector_text(s, &b);
    CHECK_STR(strbuf_str(&b), S("a in (x,y),!b,z=1"));
    CHECK_OK(selector_of(&a, NULL, &s, &err), err);
    CHECK(!selector_matches(s, NULL) && !selector_is_everything(s));
    struct val empty = val_map();
    CHECK_OK(selector_of(&a, &empty, &s, &err), err);
    CHECK(selector_matches(s, NULL) && selector_is_everything(s));
    CHECK(!selector_matches(selector_of_map(&a, &empty), NULL));
}

TEST(field_selectors_are_terms)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct field_term *terms;
    size_t n;
    struct err err = ERR;
    CHECK_OK(field_selector_parse(&a, S("metadata.name=x,spec.nodeName!=y,a==b\\,c"), &terms, &n, &err), err);
    CHECK_INT(n, 3);
    CHECK_STR(terms[0].path, S("metadata.name"));
    CHECK_STR(terms[0].value, S("x"));
    CHECK(terms[0].equal && !terms[1].equal && terms[2].equal);
    CHECK_STR(terms[1].value, S("y"));
    CHECK_STR(terms[2].value, S("b,c"));
    CHECK(!field_selector_parse(&a, S("nonsense"), &terms, &n, &err));
}
