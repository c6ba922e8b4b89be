/* What a schema that compiles makes of an object, and that pruning and defaults are a fixed point. The input is a
 * schema, a NUL, an object, and maybe a NUL and the object as it was; the schema is judged as that of a definition,
 * too. */
#include "api/schema.h"
#include "api/strategy.h"

static struct str part_of(struct str *rest)
{
    struct str part;
    return rest->p && str_cut(rest, 0, &part) ? part : S("{}");
}

/* Whether a definition may have it. */
static bool schema_is_taken(struct arena *a, const struct val *props)
{
    static const char text[] =
        "{\"metadata\":{\"name\":\"ws.test.example\"},\"spec\":{\"group\":\"test.example\",\"scope\":"
        "\"Cluster\",\"names\":{\"plural\":\"ws\",\"kind\":\"W\"},\"versions\":[{\"name\":\"v1\","
        "\"served\":true,\"storage\":true}]}}";
    AUTO(field_errors_fini) struct field_errors e = {.arena = a};
    const struct kind *k = K(CustomResourceDefinition);
    struct val v;
    struct err err = ERR;
    ASSERT(type_decode_json(a, k->type, str_of(text), &v, NULL, &err));
    struct val *version = &val_get_mut(val_get_mut(&v, N(spec)), N(versions))->list[0];
    val_set(a, val_need_map(a, version, N(schema)), N(openAPIV3Schema), *props);
    kind_default(a, k, &v);
    kind_prepare_create(a, k, &v, 0);
    kind_validate(k, S(""), &v, NULL, &e);
    return !e.list.n;
}

static void object_judged(struct arena *a, const struct type *t, struct str json, struct str old_json, bool taken)
{
    AUTO(decode_notes_fini) struct decode_notes notes = {.arena = a};
    AUTO(field_errors_fini) struct field_errors e = {.arena = a};
    AUTO(strbuf_fini) struct strbuf text = STRBUF(1 << 20), again_text = STRBUF(1 << 20);
    struct val v, old;
    struct err err = ERR;
    if (!type_decode_json(a, t, json, &v, &notes, &err))
        return;
    schema_default(a, schema_node(t), &v);
    bool had = type_decode_json(a, t, old_json, &old, NULL, &err);
    schema_validate(schema_node(t), &v, had ? &old : NULL, &e);
    field_errors_text(&e, &text);
    struct val again = val_copy(a, &v);
    ASSERT(schema_prune(a, schema_node(t), &again, NULL, &err));
    schema_default(a, schema_node(t), &again);
    ASSERT(!taken || val_equal(&v, &again)); /* defaults that would be pruned are no defaults of a definition */
    type_encode_json(&again_text, t, &again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str rest = {(const char *)data, size};
    struct val props;
    struct err err = ERR;
    const struct schema *s;
    const struct type *list;
    if (size > 1 << 16 ||
        !type_decode_json(&a, T(apiextensions_v1_JSONSchemaProps), part_of(&rest), &props, NULL, &err))
        return 0;
    if (props.type != VAL_MAP || !schema_compile(&a, &props, &s, &err))
        return 0;
    const struct type *t = schema_type(&a, s, S("test.example"), S("v1"), S("Widget"), S("WidgetList"), &list);
    struct str now = part_of(&rest);
    bool taken = schema_is_taken(&a, &props);
    object_judged(&a, t, now, part_of(&rest), taken);
    return 0;
}
