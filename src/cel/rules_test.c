/* Rules of schemas, as definitions hold them: what is said of the definition, and of objects. */
#include "api/codec.h"
#include "base/test.h"
#include "cel/rules.h"
#include "cel/schema_types.h"

struct rules_story {
    struct arena a;
    const struct schema *schema;
    const struct type *type;
    struct cel_rules *rules;
    struct val old;
    bool has_old;
};

static void add_errors(struct strbuf *out, const char *what, const struct field_errors *e)
{
    array_each (it, &e->list)
        strbuf_addf(out, "  %s" STR_FMT ": " STR_FMT "\n", what, STR_ARG(it->field), STR_ARG(it->text));
}

/* schema JSON: of spec; what is wrong with its rules. */
static void schema_line(struct rules_story *s, struct str json, struct strbuf *out)
{
    AUTO(field_errors_fini) struct field_errors e = {.arena = &s->a};
    struct str whole = arena_fmt(&s->a, "{\"type\":\"object\",\"properties\":{\"spec\":" STR_FMT "}}", STR_ARG(json));
    struct val props;
    struct err err = ERR;
    const struct type *list;
    bool root = str_starts(json, S("{\"root\":"));
    if (root)
        whole = str_sub(json, 8, json.n - 1);
    CHECK_OK(type_decode_json(&s->a, T(apiextensions_v1_JSONSchemaProps), whole, &props, NULL, &err), err);
    CHECK_OK(schema_compile(&s->a, &props, &s->schema, &err), err);
    s->type = schema_type(&s->a, s->schema, S("example.dev"), S("v1"), S("Widget"), S("WidgetList"), &list);
    cel_rules_check(s->schema, NULL, S("schema"), &e);
    add_errors(out, "", &e);
    cel_rules_free(s->rules);
    s->rules = cel_rules_new(s->schema);
    s->has_old = false;
}

static void object_line(struct rules_story *s, struct str json, bool old, struct strbuf *out)
{
    AUTO(field_errors_fini) struct field_errors e = {.arena = &s->a}, warnings = {.arena = &s->a};
    struct val v;
    struct err err = ERR;
    struct str whole = str_starts(json, S("{\"root\":")) ? str_sub(json, 8, json.n - 1)
                                                         : arena_fmt(&s->a, "{\"spec\":" STR_FMT "}", STR_ARG(json));
    CHECK_OK(type_decode_json(&s->a, s->type, whole, &v, NULL, &err), err);
    if (old) {
        s->old = v;
        s->has_old = true;
        return;
    }
    cel_rules_run(s->rules, &v, s->has_old ? &s->old : NULL, &e, &warnings);
    if (!e.list.n && !warnings.list.n)
        strbuf_addz(out, "  passes\n");
    add_errors(out, "", &e);
    add_errors(out, "warning: ", &warnings);
}

static void answer_story(struct str input, struct strbuf *out)
{
    struct rules_story s = {.a = ARENA};
    struct str line, word, json;
    for (struct str rest = input; str_cut(&rest, '\n', &line);) {
        if (!str_split(line, ' ', &word, &json))
            continue;
        strbuf_addf(out, STR_FMT "\n", STR_ARG(line));
        if (str_eqz(word, "schema"))
            schema_line(&s, json, out);
        else
            object_line(&s, json, str_eqz(word, "old"), out);
    }
    cel_rules_free(s.rules);
    arena_fini(&s.a);
}

TEST(rules_of_definitions)
{
    test_transcript("tests/corpus/cel/definitions.txt", answer_story);
}

TEST(rules_over_objects)
{
    test_transcript("tests/corpus/cel/objects.txt", answer_story);
}
