#include "api/selector.h"
#include "base/clock.h"
#include "base/test.h"

static bool labels_match(const char *text, const struct val *labels)
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
        CHECK_INT(labels_match(rows[i].text, &labels), rows[i].matches);
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

static struct val random_selector(struct arena *a)
{
    static const char *const ops[] = {"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Maybe"};
    struct val v = val_map(), list = val_list();
    for (int n = (int)random_below(3); n > 0; n--)
        val_set_str(a, val_need_map(a, &v, N(matchLabels)), arena_fmt(a, "k%d", (int)random_below(3)),
                    val_str(a, arena_fmt(a, "%d", (int)random_below(2))));
    for (int n = (int)random_below(3); n > 0; n--) {
        struct val e = val_map(), values = val_list();
        val_set_text(a, &e, N(key), arena_fmt(a, "k%d", (int)random_below(3)));
        struct str op = str_of(ops[random_below(countof(ops))]);
        val_set_text(a, &e, N(operator), op);
        for (int m = str_eqz(op, "Gt") ? 1 : (int)random_below(4); m > 0; m--)
            val_add(a, &values, val_str(a, arena_fmt(a, "%d", (int)random_below(3))));
        val_set(a, &e, N(values), values);
        val_add(a, &list, e);
    }
    if (list.n)
        val_set(a, &v, N(matchExpressions), list);
    return v;
}

TEST(selectors_of_objects_say_the_same_read_or_made)
{
    int matched = 0;
    for (int i = 0; i < 20000; i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct val v = random_selector(&a), labels = val_map();
        const struct val *map = val_get(&v, N(matchLabels));
        for (int k = 0; k < 3; k++)
            if (random_below(2))
                val_set_str(&a, &labels, arena_fmt(&a, "k%d", k),
                            val_str(&a, arena_fmt(&a, "%d", (int)random_below(3))));
        struct selector *s;
        struct err err = ERR;
        bool made = selector_of(&a, &v, &s, &err), matches = label_selector_matches(&v, &labels);
        CHECK(!matches || made);
        CHECK(!made || matches == selector_matches(s, &labels));
        CHECK(selector_map_matches(map, &labels) == selector_matches(selector_of_map(&a, map), &labels));
        matched += matches;
    }
    CHECK(matched > 1000);
    CHECK(!label_selector_matches(NULL, NULL) && !selector_map_matches(NULL, NULL));
}

TEST(a_selector_of_an_object_may_list_many_values)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val v = val_map(), labels = val_map(), *list = val_set(&a, &v, N(matchExpressions), val_list());
    struct val *e = val_add(&a, list, val_map());
    val_set_text(&a, e, N(key), S("k"));
    val_set_text(&a, e, N(operator), S("In"));
    struct val *values = val_set(&a, e, N(values), val_list());
    for (int i = 0; i < 1000; i++)
        val_add(&a, values, val_str(&a, arena_fmt(&a, "v%d", i)));
    val_set_str(&a, &labels, S("k"), val_str(&a, S("v999")));
    struct selector *s;
    struct err err = ERR;
    CHECK_OK(selector_of(&a, &v, &s, &err), err);
    CHECK(selector_matches(s, &labels) && label_selector_matches(&v, &labels));
    val_set_str(&a, &labels, S("k"), val_str(&a, S("v1000")));
    CHECK(!selector_matches(s, &labels) && !label_selector_matches(&v, &labels));
}
