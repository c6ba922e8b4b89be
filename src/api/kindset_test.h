/* kindset_test.h - a kind made at run time, for tests: boats.ship.example, with names of fields that no built-in kind
 * has. */
#pragma once
#include "api/kindset.h"

/* With these fields of spec beside `sails` (int64); a reference. made_of: as in struct kind. */
static inline UNUSED const struct kind *boat_kind(const char *version, const char *made_of, const char *const *texts,
                                                  size_t n)
{
    static const struct field_extra plain, sails = {.doc = "how many sails it has"};
    struct kind *k = kind_new();
    ASSERT(k);
    struct arena *a = kind_arena(k);
    struct type *types = arena_alloc(a, 4 * sizeof *types), *boat = &types[0], *list = &types[1], *spec = &types[2],
                *items = &types[3];
    const struct field *base = type_fields(T(core_v1_ConfigMap)), *base_list = type_fields(T(core_v1_ConfigMapList));
    struct field *fields = arena_alloc(a, 5 * sizeof *fields), *list_fields = arena_alloc(a, 4 * sizeof *list_fields),
                 *in_spec = arena_alloc(a, (n + 1) * sizeof *in_spec);
    in_spec[0] = (struct field){name_of(a, S("sails")), T(int64), &sails, 0, FIELD_OMITEMPTY, 0};
    for (size_t i = 0; i < n; i++)
        in_spec[i + 1] = (struct field){name_of(a, str_of(texts[i])), T(string), &plain, 0, FIELD_OMITEMPTY, 0};
    *spec = (struct type){.kind = TYPE_STRUCT, .name = "BoatSpec", .fields = in_spec, .nfields = (uint16_t)(n + 1)};
    memcpy(fields, base, 3 * sizeof *fields); /* kind, apiVersion, metadata */
    fields[3] = (struct field){N(spec), spec, &plain, 0, FIELD_OMITEMPTY, 0};
    fields[4] = (struct field){N(status), T(any), &plain, 0, FIELD_OMITEMPTY | FIELD_POINTER, 0};
    *boat = (struct type){.kind = TYPE_STRUCT,
                          .name = "Boat",
                          .described = "what carries goods and people",
                          .openapi = arena_fmt(a, "example.ship.%s.Boat", version).p,
                          .fields = fields,
                          .nfields = 5,
                          .no_pb = true};
    *items = (struct type){.kind = TYPE_LIST, .name = "", .of = boat};
    memcpy(list_fields, base_list, 4 * sizeof *list_fields);
    list_fields[3].type = items;
    *list = (struct type){.kind = TYPE_STRUCT,
                          .name = "BoatList",
                          .openapi = arena_fmt(a, "example.ship.%s.BoatList", version).p,
                          .fields = list_fields,
                          .nfields = 4,
                          .no_pb = true};
    k->group = S("ship.example");
    k->version = str_dup(a, str_of(version));
    k->kind = S("Boat");
    k->list_kind = S("BoatList");
    k->plural = S("boats");
    k->singular = S("boat");
    k->api_version = arena_fmt(a, "ship.example/%s", version);
    k->namespaced = true;
    k->verbs = K(ConfigMap)->verbs;
    k->type = boat;
    k->list_type = list;
    k->storage = k;
    k->made_of = arena_fmt(a, "%s", made_of).p;
    return k;
}
