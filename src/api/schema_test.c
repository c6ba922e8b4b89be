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
