/* Definitions that are in the program: each can be read, and which of them a server makes or leaves alone. */
#include "api/codec.h"
#include "base/test.h"
#include "server/definitions.h"

static struct obj *definition_made(const struct definitions_row *row, size_t i)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val tree, unmarked;
    definition_tree(&a, row, i, NULL, &tree, &unmarked);
    return obj_new_packed(K(CustomResourceDefinition), &tree, 7, NULL);
}

/* The one with another version, and another mark, than it was made with; NULL: as it is. */
static struct obj *definition_changed(const struct obj *o, const char *version, const char *mark)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val whole = obj_tree(&a, o), tree = val_copy(&a, &whole);
    struct val *notes = val_need_map(&a, val_need_map(&a, &tree, N(metadata)), N(annotations));
    if (version)
        val_set_str(&a, notes, S("gateway.networking.k8s.io/bundle-version"), val_str_borrowed(str_of(version)));
    if (mark)
        val_set_str(&a, notes, S("wherry.dev/definition"), val_str_borrowed(str_of(mark)));
    return obj_new_packed(K(CustomResourceDefinition), &tree, 8, NULL);
}

TEST(each_definition_is_the_one_of_its_name_with_expressions_and_without_descriptions)
{
    static const char *const sets[] = {"gateway-standard", "gateway-experimental"};
    for (size_t s = 0; s < countof(sets); s++) {
        const struct definitions_row *row = definitions_find(str_of(sets[s]));
        CHECK(row && row->all->count >= 10);
        for (size_t i = 0; i < row->all->count; i++) {
            AUTO(obj_unref) struct obj *o = definition_made(row, i);
            CHECK(str_eqz(o->name, row->all->names[i]));
            CHECK(str_eqz(obj_note(o, row->said_by), row->all->version));
            CHECK(definition_state(row, o) == DEFINITION_RIGHT);
            struct buf *json = obj_encoded_once(o, ENC_JSON);
            CHECK(str_find(buf_str(json), S("\"description\":\"")) < 0);
            buf_unref(json);
        }
    }
    CHECK(!definitions_find(S("gateway")));
}

/* Ours are written here, with a sentence for what people look up. */
TEST(the_definitions_of_cert_manager_are_whole)
{
    const struct definitions_row *row = definitions_find(S("certificates"));
    CHECK(row && row->all->count == 6);
    for (size_t i = 0; i < row->all->count; i++) {
        AUTO(obj_unref) struct obj *o = definition_made(row, i);
        CHECK(str_eqz(o->name, row->all->names[i]));
        CHECK(definition_state(row, o) == DEFINITION_RIGHT);
    }
}

TEST(what_others_made_is_left_alone_and_what_is_ours_is_brought_up_to_date)
{
    const struct definitions_row *standard = definitions_find(S("gateway-standard"));
    const struct definitions_row *experimental = definitions_find(S("gateway-experimental"));
    AUTO(obj_unref) struct obj *now = definition_made(standard, 1);
    CHECK(definition_state(standard, NULL) == DEFINITION_MISSING);
    CHECK(definition_state(experimental, now) == DEFINITION_OLD);
    static const struct {
        const char *version, *mark;
        enum definition_state state;
    } cases[] = {
        {"v1.4.0", "gateway-standard v1.4.0", DEFINITION_OLD},
        {"v1.6.3-rc.1", "gateway-standard v1.6.3-rc.1", DEFINITION_OLD},
        {"v99.0.0", "gateway-standard v99.0.0", DEFINITION_RIGHT}, /* of a later program */
        {"v1.4.0", NULL, DEFINITION_FOREIGN},                      /* put in the place of ours */
        {"v1.4.0", "gateway-standard v1.3.0", DEFINITION_FOREIGN}, /* the same */
        {"v1.4.0", "", DEFINITION_FOREIGN},
        {"v1.7.0", "", DEFINITION_RIGHT},
        {"", "", DEFINITION_FOREIGN},
    };
    for (size_t i = 0; i < countof(cases); i++) {
        AUTO(obj_unref) struct obj *o = definition_changed(now, cases[i].version, cases[i].mark);
        CHECK_INT(definition_state(standard, o), cases[i].state);
    }
}

TEST(an_update_keeps_what_others_wrote_into_the_metadata_and_takes_the_spec)
{
    AUTO(arena_fini) struct arena a = ARENA;
    const struct definitions_row *standard = definitions_find(S("gateway-standard"));
    const struct definitions_row *experimental = definitions_find(S("gateway-experimental"));
    AUTO(obj_unref) struct obj *was = definition_made(standard, 0), *will = definition_made(experimental, 0);
    struct val tree, unmarked, whole = obj_tree(&a, will);
    definition_tree(&a, experimental, 0, was, &tree, &unmarked);
    CHECK(val_equal(val_get(&tree, N(spec)), val_get(&whole, N(spec))));
    AUTO(obj_unref) struct obj *o = obj_new_packed(K(CustomResourceDefinition), &tree, 9, was);
    CHECK(definition_state(experimental, o) == DEFINITION_RIGHT);
    CHECK(str_eqz(obj_note(o, "gateway.networking.k8s.io/channel"), "experimental"));
}

TEST(versions_are_in_order)
{
    static const char *const order[] = {"",       "1.2.3",       "v1.6.3-rc", "v1.6.3-rc.1", "v1.6.3-rc.2",
                                        "v1.6.3", "v1.10.0-dev", "v1.10.0",   "v2.0.0"};
    for (size_t i = 0; i < countof(order); i++)
        for (size_t j = 0; j < countof(order); j++) {
            int want = i == j || (i < 2 && j < 2) ? 0 : i < j ? -1 : 1;
            CHECK_INT(definition_version_cmp(str_of(order[i]), str_of(order[j])), want);
        }
}
