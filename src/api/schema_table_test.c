/* What an API server makes of objects and of definitions: tests/schemas/. */
#include "api/schema.h"
#include "api/strategy.h"
#include "base/test.h"

static void add_notes(struct strbuf *out, const struct decode_notes *notes, const char *word)
{
    array_each (it, &notes->texts)
        strbuf_addf(out, "%s " STR_FMT "\n", word, STR_ARG(*it));
}

static void add_errors(struct strbuf *out, struct field_errors *e)
{
    strbuf_addz(out, "error ");
    field_errors_text(e, out);
    strbuf_addc(out, '\n');
}

/* The object without what every object has, members sorted. */
static struct str object_shown(struct arena *a, const struct type *t, const struct val *v)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    struct val copy = val_copy(a, v);
    (void)val_del(&copy, N(metadata));
    type_encode_json(&b, t, &copy);
    return str_dup(a, strbuf_str(&b));
}

static void object_answer(struct arena *a, const struct type *t, struct str json, struct strbuf *out)
{
    AUTO(decode_notes_fini) struct decode_notes notes = {.arena = a};
    AUTO(field_errors_fini) struct field_errors e = {.arena = a};
    struct val v, was;
    struct err err = ERR;
    if (!json_decode(a, json, &was, &err) || !type_decode_json(a, t, json, &v, &notes, &err)) {
        strbuf_addf(out, "bad %s\n", err.text);
        return;
    }
    add_notes(out, &notes, "warning");
    schema_default(a, schema_node(t), &v);
    schema_validate(schema_node(t), &v, NULL, &e);
    struct str before = object_shown(a, t, &was), now = object_shown(a, t, &v);
    if (e.list.n)
        add_errors(out, &e);
    else if (str_eq(before, now))
        strbuf_addz(out, "ok\n");
    else
        strbuf_addf(out, "ok " STR_FMT "\n", STR_ARG(now));
    /* what came out is a fixed point */
    struct val again = val_copy(a, &v);
    schema_default(a, schema_node(t), &again);
    CHECK_OK(schema_prune(a, schema_node(t), &again, NULL, &err), err);
    CHECK(val_equal(&again, &v));
}

static void definition_answer(struct arena *a, struct str json, struct strbuf *out)
{
    AUTO(decode_notes_fini) struct decode_notes notes = {.arena = a};
    AUTO(field_errors_fini) struct field_errors e = {.arena = a};
    const struct kind *k = K(CustomResourceDefinition);
    struct val v;
    struct err err = ERR;
    CHECK_OK(type_decode_json(a, k->type, json, &v, &notes, &err), err);
    add_notes(out, &notes, "note");
    kind_default(a, k, &v);
    kind_prepare_create(a, k, &v, 1767225600LL * 1000000000);
    kind_validate(k, S(""), &v, NULL, &e);
    if (e.list.n) {
        add_errors(out, &e);
        return;
    }
    struct warnings w = {.arena = a};
    kind_warnings(k, &v, NULL, &w);
    array_each (it, &w.texts)
        strbuf_addf(out, "warning " STR_FMT "\n", STR_ARG(*it));
    array_fini(&w.texts);
    strbuf_addz(out, "ok\n");
}

static void table_answer(struct str input, struct strbuf *out)
{
    AUTO(arena_fini) struct arena a = ARENA;
    const struct type *t = NULL, *list;
    struct str line;
    while (str_cut(&input, '\n', &line)) {
        struct str word, json;
        (void)str_split(line, ' ', &word, &json);
        struct val props;
        struct err err = ERR;
        const struct schema *s;
        if (str_eqz(word, "schema")) {
            CHECK_OK(type_decode_json(&a, T(apiextensions_v1_JSONSchemaProps), json, &props, NULL, &err), err);
            CHECK_OK(schema_compile(&a, &props, &s, &err), err);
            t = schema_type(&a, s, S("test.example"), S("v1"), S("Widget"), S("WidgetList"), &list);
        } else if (str_eqz(word, "object")) {
            object_answer(&a, t, json, out);
        } else if (str_eqz(word, "definition")) {
            definition_answer(&a, json, out);
        }
    }
}

#define TABLE(name)                                                                                                  \
    TEST(schemas_##name)                                                                                             \
    {                                                                                                                \
        test_transcript("tests/schemas/" #name ".txt", table_answer);                                                \
    }
TABLE(values)
TABLE(formats)
TABLE(objects)
TABLE(structural)
TABLE(definitions)
