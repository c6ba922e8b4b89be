#include "api/kind.h"
#include "base/test.h"

TEST(name_find_knows_every_name_and_no_other)
{
    for (size_t i = 0; i < NAMES_COUNT; i++)
        CHECK(name_find(names[i].s) == &names[i]);
    CHECK(!name_find(S("")));
    CHECK(!name_find(S("specx")));
    CHECK(!name_find(S("Spec")));
    CHECK(name_find(S("spec")) == N(spec));
}

static const struct name *const in_a_table[] = {N(spec), N(nodeName)}; /* usable in static initialisers */

TEST(val_paths_need_no_checks)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val pod = val_map();
    CHECK(!val_at(&pod, N(spec), N(nodeName)));
    CHECK_STR(val_text_at(&pod, N(spec), N(nodeName)), S(""));
    val_set_text(&a, val_need_map(&a, &pod, N(spec)), N(nodeName), S("n1"));
    CHECK_STR(val_text(val_get(val_get(&pod, in_a_table[0]), in_a_table[1])), S("n1"));
    CHECK_INT(val_num_at(&pod, 7, N(spec), N(replicas)), 7);
    CHECK_INT(val_len(val_at(&pod, N(spec), N(nodeName))), 0);
    CHECK(!val_get(NULL, N(spec)));
}

TEST(val_maps_change_in_place_and_keep_their_order)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val m = val_map();
    for (int i = 0; i < 100; i++)
        (void)val_set_str(&a, &m, arena_fmt(&a, "k%d", i), val_int(i));
    CHECK_INT(val_len(&m), 100);
    CHECK_INT(val_num(val_get_str(&m, S("k57")), -1), 57);
    CHECK(val_del_str(&m, S("k57")));
    CHECK(!val_del_str(&m, S("k57")));
    CHECK_STR(m.map[57].name->s, S("k58"));
    (void)val_set_str(&a, &m, S("k1"), val_bool(true));
    CHECK_INT(val_len(&m), 99);
    CHECK(val_true(val_get_str(&m, S("k1"))));
    struct val copy = val_copy(&a, &m);
    CHECK(val_equal(&m, &copy));
    (void)val_set_str(&a, &copy, S("k2"), val_int(0));
    CHECK(!val_equal(&m, &copy));
    (void)val_set_str(&a, &copy, S("one more"), val_int(0)); /* grows from an exact fit */
    CHECK_INT(val_len(&m), 99);
}

TEST(a_name_made_at_run_time_is_found_by_its_text)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val m = val_map();
    (void)val_set(&a, &m, name_of(&a, S("colour")), val_int(3));
    CHECK_INT(val_num(val_get(&m, name_of(&a, S("colour"))), 0), 3);
    CHECK(name_of(&a, S("spec")) == N(spec));
}

TEST(kinds_hold_their_invariants)
{
    CHECK_INT(nkinds, 70);
    for (size_t i = 0; i < nkinds; i++) {
        const struct kind *k = kinds[i];
        CHECK_INT(k->id, i);
        CHECK(kind_find(k->group, k->version, k->kind) == k);
        CHECK(kind_find_plural(k->group, k->version, k->plural) == k);
        CHECK(kind_of_api_version(k->api_version, k->kind) == k);
        CHECK(root_type_find(k->api_version, k->kind) == k->type);
        CHECK(!k->list_kind.n || root_type_find(k->api_version, k->list_kind) == k->list_type);
        CHECK(k->verbs && k->storage);
        CHECK(type_field(k->type, N(kind)) && type_field(k->type, N(apiVersion)));
    }
    CHECK_STR(kinds[0]->api_version, S("v1"));
    CHECK(K(Event)->storage == K(Event) && K(events_k8s_io_Event)->storage == K(Event));
    CHECK_STR(K(HorizontalPodAutoscaler)->version, S("v2"));
    CHECK(!kind_find(S(""), S("v1"), S("Nope")));
    CHECK(root_type_find(S("v1"), S("DeleteOptions")) == T(meta_v1_DeleteOptions));
    CHECK(root_type_find(S("apps/v1"), S("CreateOptions")) == T(meta_v1_CreateOptions));
    CHECK(!root_type_find(S("apps/v1"), S("Pod")));
}
