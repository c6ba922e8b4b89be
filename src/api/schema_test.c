#include "api/codec.h"
#include "api/schema.h"
#include "base/test.h"

/* A schema as the codec reads it out of a definition. */
static const struct schema *schema_of(struct arena *a, const char *json)
{
    struct val props;
    struct err err = ERR;
    const struct schema *s = NULL;
    CHECK_OK(type_decode_json(a, T(apiextensions_v1_JSONSchemaProps), str_of(json), &props, NULL, &err), err);
    CHECK_OK(schema_compile(a, &props, &s, &err), err);
    return s;
}

static const char boat[] =
    "{\"type\":\"object\",\"description\":\"what "
    "carries\",\"properties\":{\"spec\":{\"type\":\"object\",\"required\":"
    "[\"sails\"],\"properties\":{\"sails\":{\"type\":\"integer\",\"description\":\"how many\",\"minimum\":1},"
    "\"crew\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"map\",\"x-kubernetes-list-map-keys\":[\"name\"],"
    "\"items\":{\"type\":\"object\",\"required\":[\"name\"],\"properties\":{\"name\":{\"type\":\"string\"},"
    "\"pay\":{\"type\":\"integer\",\"default\":3}}}},\"free\":{\"type\":\"object\","
    "\"x-kubernetes-preserve-unknown-fields\":true},\"speed\":{\"x-kubernetes-int-or-string\":true},"
    "\"marks\":{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}}}},\"status\":{\"type\":"
    "\"object\"}}}";

TEST(a_schema_is_a_graph_of_types)
{
    AUTO(arena_fini) struct arena a = ARENA;
    const struct schema *s = schema_of(&a, boat);
    const struct type *list, *t = schema_type(&a, s, S("ship.example"), S("v1"), S("Boat"), S("BoatList"), &list);
    CHECK_STR(str_of(t->openapi), S("example.ship.v1.Boat"));
    CHECK_STR(str_of(list->openapi), S("example.ship.v1.BoatList"));
    CHECK_STR(str_of(type_doc(t)), S("what carries"));
    CHECK_INT(t->nfields, 5);
    CHECK(type_field(t, N(metadata))->type == T(meta_v1_ObjectMeta));
    const struct type *spec = type_field(t, N(spec))->type;
    const struct field *sails = type_field(spec, name_of(&a, S("sails"))),
                       *crew = type_field(spec, name_of(&a, S("crew")));
    CHECK(sails->flags & FIELD_REQUIRED && sails->type->kind == TYPE_INT64);
    CHECK_STR(str_of(field_doc(sails)), S("how many"));
    CHECK(schema_node(sails->type)->bounds->has == BOUND_MINIMUM && schema_node(sails->type)->bounds->minimum == 1);
    CHECK(crew->flags & FIELD_LIST_MAP && crew->x->list_keys[0] == N(name) && !crew->x->list_keys[1]);
    CHECK_STR(str_of(type_field(crew->type->of, name_of(&a, S("pay")))->x->dflt), S("3"));
    CHECK(type_field(spec, name_of(&a, S("free")))->type->keeps);
    CHECK_INT(type_field(spec, name_of(&a, S("speed")))->type->kind, TYPE_INT_OR_STRING);
    CHECK_INT(type_field(spec, name_of(&a, S("marks")))->type->kind, TYPE_MAP);
    CHECK(type_field(crew->type->of, N(name))->type == type_field(spec, name_of(&a, S("marks")))->type->of);
}

TEST(what_a_schema_describes_is_kept_as_it_came)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(decode_notes_fini) struct decode_notes notes = {.arena = &a};
    const struct type *list,
        *t = schema_type(&a, schema_of(&a, boat), S("ship.example"), S("v1"), S("Boat"), S("BoatList"), &list);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct val v;
    struct err err = ERR;
    CHECK_OK(type_decode_json(&a, t,
                              S("{\"spec\":{\"sails\":0,\"crew\":[],\"speed\":null,\"sails\":1.5},\"kind\":"
                                "\"Boat\",\"apiVersion\":\"ship.example/v1\"}"),
                              &v, &notes, &err),
             err);
    type_encode_json(&b, t, &v);
    CHECK_STR(strbuf_str(&b), S("{\"apiVersion\":\"ship.example/"
                                "v1\",\"kind\":\"Boat\",\"spec\":{\"crew\":[],\"sails\":1.5,\"speed\":null}}"));
    CHECK_INT(notes.texts.n, 1);
    CHECK_STR(notes.texts.p[0], S("duplicate field \"spec.sails\""));
}

/* The errors of an object, or of its update, by its spec. */
static struct str errors_of(struct arena *a, const struct schema *s, const char *spec, const char *old_spec)
{
    AUTO(field_errors_fini) struct field_errors e = {.arena = a};
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct val now = val_map(), old = val_map();
    struct err err = ERR;
    CHECK_OK(json_decode(a, str_of(spec), val_set(a, &now, N(spec), VAL_NONE), &err), err);
    if (old_spec)
        CHECK_OK(json_decode(a, str_of(old_spec), val_set(a, &old, N(spec), VAL_NONE), &err), err);
    schema_validate(s->root, &now, old_spec ? &old : NULL, &e);
    field_errors_text(&e, &b);
    return str_dup(a, strbuf_str(&b));
}

TEST(an_update_is_not_told_of_what_did_not_change)
{
    AUTO(arena_fini) struct arena a = ARENA;
    const struct schema *s = schema_of(
        &a,
        "{\"type\":\"object\",\"properties\":{\"spec\":{\"type\":\"object\",\"properties\":{\"n\":{\"type\":"
        "\"integer\",\"maximum\":5},\"s\":{\"type\":\"string\",\"maxLength\":2},\"l\":{\"type\":\"array\",\"items\":{"
        "\"type\":\"integer\",\"maximum\":5}},\"m\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"map\","
        "\"x-kubernetes-list-map-keys\":[\"k\"],\"items\":{\"type\":\"object\",\"required\":[\"k\"],\"properties\":{"
        "\"k\":{\"type\":\"string\"},\"n\":{\"type\":\"integer\",\"maximum\":5}}}}}}}}");
    const char *seven = "spec.n: Invalid value: 7: spec.n in body should be less than or equal to 5";
    CHECK_STR(errors_of(&a, s, "{\"n\":7}", NULL), str_of(seven));
    CHECK_STR(errors_of(&a, s, "{\"n\":7}", "{\"n\":7}"), S(""));
    CHECK_STR(errors_of(&a, s, "{\"n\":7,\"s\":\"a\"}", "{\"n\":7}"), S(""));
    CHECK_STR(errors_of(&a, s, "{\"n\":7}", "{\"n\":8}"), str_of(seven));
    CHECK_STR(errors_of(&a, s, "{\"n\":7,\"s\":\"abc\"}", "{\"n\":7}"),
              S("spec.s: Too long: may not be more than 2 bytes"));
    /* the elements of a list are what they were only if all of it is */
    CHECK_STR(errors_of(&a, s, "{\"l\":[7]}", "{\"l\":[7]}"), S(""));
    CHECK_STR(errors_of(&a, s, "{\"l\":[7,1]}", "{\"l\":[7]}"),
              S("spec.l[0]: Invalid value: 7: spec.l[0] in body should be less than or equal to 5"));
    /* those of a map by their key, wherever they stand */
    CHECK_STR(errors_of(&a, s, "{\"m\":[{\"k\":\"b\"},{\"k\":\"a\",\"n\":7}]}", "{\"m\":[{\"k\":\"a\",\"n\":7}]}"),
              S(""));
    CHECK_STR(errors_of(&a, s, "{\"m\":[{\"k\":\"b\",\"n\":7}]}", "{\"m\":[{\"k\":\"a\",\"n\":7}]}"),
              S("spec.m[0].n: Invalid value: 7: spec.m[0].n in body should be less than or equal to 5"));
}

TEST(alternatives_in_alternatives_cost_no_more_than_their_depth)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    strbuf_addz(&b, "{\"type\":\"object\",\"properties\":{\"spec\":{\"type\":\"integer\"");
    for (int i = 0; i < 60; i++)
        strbuf_addz(&b, ",\"anyOf\":[{\"minimum\":9},{\"maximum\":1");
    for (int i = 0; i < 60; i++)
        strbuf_addz(&b, "}]");
    strbuf_addz(&b, "}}}");
    struct str text = errors_of(&a, schema_of(&a, b.p), "5", NULL);
    CHECK(str_starts(text, S("[<nil>: Invalid value: \"\": \"spec\" must validate at least one schema (anyOf), ")));
}

TEST(what_is_alike_in_a_schema_is_kept_once)
{
    AUTO(arena_fini) struct arena a = ARENA, small = ARENA;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    const char *part =
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"description\":\"one of them\","
        "\"pattern\":\"^[a-z]{1,63}$\"},\"b\":{\"type\":\"integer\",\"default\":5,\"enum\":[5,6]}}}";
    strbuf_addz(&b, "{\"type\":\"object\",\"properties\":{");
    for (int i = 0; i < 200; i++)
        strbuf_addf(&b, "%s\"p%d\":%s", i ? "," : "", i, part);
    strbuf_addz(&b, "}}");
    const struct schema *s = schema_of(&a, b.p);
    CHECK(type_field(&s->root->type, name_of(&a, S("p3")))->type ==
          type_field(&s->root->type, name_of(&a, S("p150")))->type);
}

TEST(what_is_nested_too_deep_is_refused)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    for (int i = 0; i < 1000; i++)
        strbuf_addz(&b, "{\"type\":\"array\",\"items\":");
    strbuf_addz(&b, "{\"type\":\"string\"}");
    for (int i = 0; i < 1000; i++)
        strbuf_addz(&b, "}");
    struct val props;
    struct err err = ERR;
    const struct schema *s;
    CHECK_OK(type_decode_json(&a, T(apiextensions_v1_JSONSchemaProps), strbuf_str(&b), &props, NULL, &err), err);
    CHECK(!schema_compile(&a, &props, &s, &err));
    CHECK_STR(str_of(err.text), S("a schema is nested in more than 128 others"));
}

TEST(a_null_that_may_be_stays_where_there_is_a_default)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    const struct schema *s = schema_of(
        &a, "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"default\":\"x\",\"nullable\":true},"
            "\"b\":{\"type\":\"string\",\"default\":\"y\"},\"c\":{\"type\":\"string\"}}}");
    struct val v;
    struct err err = ERR;
    CHECK_OK(type_decode_json(&a, &s->root->type, S("{\"a\":null,\"b\":null,\"c\":null}"), &v, NULL, &err), err);
    type_default(&a, &s->root->type, &v);
    type_encode_json(&b, &s->root->type, &v);
    CHECK_STR(strbuf_str(&b), S("{\"a\":null,\"b\":\"y\"}"));
}
