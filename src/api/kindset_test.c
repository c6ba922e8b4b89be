#include "api/kindset_test.h"
#include "api/codec.h"
#include "api/columns.h"
#include "api/obj.h"
#include "api/openapi.h"
#include "api/rules.h"
#include "base/test.h"

static const char *const captain[] = {"captainsName"}, *const mate[] = {"captainsName", "matesName"};

TEST(the_built_in_set_is_the_tables_themselves)
{
    const struct kind_set *s = &kind_set_builtin;
    CHECK(s->kinds == kinds && s->n == nkinds && s->versions == group_versions && s->nversions == ngroup_versions);
    CHECK(kind_set_new(NULL, 0) == s && kind_set_ref(s) == s);
    CHECK(kind_set_find_plural(s, S("apps"), S("v1"), S("deployments")) == K(Deployment));
    CHECK(kind_set_of_api_version(s, S("v1"), S("Pod")) == K(Pod) && kind_set_has(s, K(Pod)));
    CHECK(!kind_set_find_plural(s, S("ship.example"), S("v1"), S("boats")));
    kind_set_unref(s);
}

TEST(kinds_that_come_stand_behind_the_others_in_order)
{
    const struct kind *all[] = {boat_kind("v1beta1", "1", captain, 1), boat_kind("v1", "1", captain, 1),
                                boat_kind("v1alpha2", "1", captain, 1), boat_kind("v2", "1", captain, 1),
                                boat_kind("odd", "1", captain, 1)};
    const struct kind_set *s = kind_set_new(all, countof(all));
    for (size_t i = 0; i < countof(all); i++)
        kind_unref(all[i]);
    static const char *const order[] = {"v2", "v1", "v1beta1", "v1alpha2", "odd"};
    CHECK_INT(s->n, nkinds + 5);
    CHECK_INT(s->nversions, ngroup_versions + 5);
    for (size_t i = 0; i < countof(order); i++) {
        const struct group_version *v = &s->versions[ngroup_versions + i];
        CHECK_STR(v->version, str_of(order[i]));
        CHECK_STR(s->kinds[nkinds + i]->version, str_of(order[i]));
        CHECK(v->preferred == (i == 0) && v->order == group_versions[ngroup_versions - 1].order + 1);
        CHECK(kind_set_find(s, S("ship.example"), v->version, S("Boat")) == s->kinds[nkinds + i]);
        CHECK(kind_set_find_plural(s, S("ship.example"), v->version, S("boats")) == s->kinds[nkinds + i]);
        CHECK(kind_set_of_api_version(s, v->api_version, S("Boat")) == s->kinds[nkinds + i]);
    }
    CHECK(!strcmp(s->hash, s->hash) && strcmp(s->hash, kind_set_builtin.hash) != 0);
    kind_set_unref(s);
    CHECK_INT(kinds_alive(), 0);
}

static bool boat_decode(struct arena *a, const struct kind *k, const char *json, struct val *out,
                        struct decode_notes *notes)
{
    struct err err = ERR;
    struct val untyped;
    return json_decode(a, str_of(json), &untyped, &err) && type_decode_val(a, k->type, &untyped, out, notes, &err);
}

static const char json[] = "{\"kind\":\"Boat\",\"apiVersion\":\"ship.example/v1\",\"metadata\":{\"name\":\"a\"},"
                           "\"spec\":{\"sails\":3,\"captainsName\":\"Ann\",\"matesName\":\"Bob\"}}";

/* Names that came with a kind are read, written and compared as the others are; what an object needs of its kind
 * stays as long as the object. */
TEST(an_object_outlives_the_set_that_its_kind_came_with)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(decode_notes_fini) struct decode_notes notes = {.arena = &a};
    const struct kind *k = boat_kind("v1", "1", captain, 1);
    const struct kind_set *s = kind_set_new(&k, 1);
    kind_unref(k);
    struct val v;
    CHECK(boat_decode(&a, k, json, &v, &notes));
    CHECK_INT(notes.texts.n, 1);
    CHECK_STR(notes.texts.p[0], S("unknown field \"spec.matesName\""));
    CHECK_INT(val_num(val_get_str(val_get(&v, N(spec)), S("sails")), 0), 3);
    struct obj *o = obj_new(k, &v, 7);
    kind_set_unref(s);
    CHECK_INT(kinds_alive(), 1);
    struct buf *text = obj_encoded(o, ENC_JSON);
    CHECK(str_has(buf_str(text), S("\"captainsName\":\"Ann\"")) && !str_has(buf_str(text), S("matesName")));
    CHECK(type_field(type_fields(k->type)[3].type, name_of(&a, S("captainsName"))));
    buf_unref(text);
    obj_unref(o);
    CHECK_INT(kinds_alive(), 0);
}

struct seen {
    struct kind_listener l;
    size_t n;
    const struct kind_set *now;
};

static void change_seen(struct kind_listener *l, const struct kind_set *was, const struct kind_set *now)
{
    struct seen *s = container_of(l, struct seen, l);
    CHECK(was != now);
    s->n++;
    s->now = now;
}

TEST(who_took_a_set_keeps_it_when_another_is_published)
{
    struct kind_publisher p;
    struct seen s = {.l = {.fn = change_seen}};
    kind_publisher_init(&p);
    kind_listen(&p, &s.l);
    const struct kind *one = boat_kind("v1", "1", captain, 1), *two = boat_kind("v1", "2", mate, 2);
    const struct kind_set *builtin = kind_publisher_take(&p);
    kind_publish(&p, kind_set_new(&one, 1));
    const struct kind_set *first = kind_publisher_take(&p);
    kind_publish(&p, kind_set_new(&two, 1));
    const struct kind_set *second = kind_publisher_take(&p);
    CHECK_INT(s.n, 2);
    CHECK(s.now == second && builtin == &kind_set_builtin);
    CHECK(kind_set_has(first, one) && !kind_set_has(second, one) && kind_set_has(second, two));
    CHECK(kind_same(one, two) && strcmp(first->hash, second->hash) != 0 && one->id != two->id);
    kind_unref(one);
    kind_unref(two);
    CHECK_INT(kinds_alive(), 2);
    kind_set_unref(first);
    CHECK_INT(kinds_alive(), 1); /* whoever kept the first is done: it went with its kind */
    kind_publish(&p, kind_set_ref(&kind_set_builtin));
    kind_set_unref(second);
    CHECK_INT(kinds_alive(), 0);
    kind_unlisten(&p, &s.l);
    kind_publisher_fini(&p);
}

TEST(documents_have_what_came_and_nothing_of_what_went)
{
    AUTO(strbuf_fini)
    struct strbuf three = STRBUF(1 << 24), two = STRBUF(1 << 24), index = STRBUF(1 << 20), hash = STRBUF(1000),
                  before = STRBUF(1000);
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    struct val v;
    const struct kind *k = boat_kind("v1", "1", captain, 1);
    const struct kind_set *s = kind_set_new(&k, 1);
    kind_unref(k);
    CHECK(!openapi_known(&kind_set_builtin, S("apis/ship.example/v1")));
    CHECK(openapi_known(s, S("apis/ship.example/v1")) && openapi_known(s, S("apis/ship.example")));
    CHECK(openapi_document(&three, s, S("apis/ship.example/v1")));
    CHECK_OK(json_decode(&a, strbuf_str(&three), &v, &err), err);
    const struct val *boat = val_get_str(val_get_str(val_get_str(&v, S("components")), S("schemas")),
                                         S("example.ship.v1.Boat"));
    CHECK_STR(val_text(val_get_str(boat, S("description"))), S("what carries goods and people"));
    CHECK(str_has(strbuf_str(&three), S("\"sails\":{\"description\":\"how many sails it has\"")));
    CHECK(boat && str_has(strbuf_str(&three), S("captainsName")) &&
          str_has(strbuf_str(&three), S("/apis/ship.example/v1/namespaces/{namespace}/boats/{name}")));
    const struct val *gvk = val_item(val_get_str(boat, S("x-kubernetes-group-version-kind")), 0);
    CHECK_STR(val_text(val_get_str(gvk, S("kind"))), S("Boat"));
    openapi_two(&two, s);
    CHECK_OK(json_decode(&a, strbuf_str(&two), &v, &err), err);
    CHECK(val_get_str(val_get_str(&v, S("definitions")), S("example.ship.v1.Boat")));
    openapi_index(&index, s, S(""));
    CHECK(str_has(strbuf_str(&index), S("\"apis/ship.example/v1\"")));
    openapi_hash(&hash, s, S("v2"));
    openapi_hash(&before, &kind_set_builtin, S("v2"));
    CHECK(!str_eq(strbuf_str(&hash), strbuf_str(&before)));
    kind_set_unref(s);
}

static bool minds_finalizer(const struct kind *k, const struct val *v, const struct val *old)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(field_errors_fini) struct field_errors e = {.arena = &a};
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    kind_validate(k, S(""), v, old, &e);
    field_errors_text(&e, &b);
    return str_has(strbuf_str(&b), S("neither a standard finalizer name"));
}

/* The kinds of extensions themselves take any finalizer, too. */
TEST(kinds_that_came_have_an_age_and_any_finalizer)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    struct val v;
    size_t n;
    const struct kind *k = boat_kind("v1", "1", captain, 1);
    const struct column *columns = columns_of(k, &n);
    CHECK_INT(n, 2);
    CHECK_STR(str_of(columns[1].name), S("Age"));
    const struct kind *const of[] = {k, K(CustomResourceDefinition), K(APIService), K(ConfigMap), K(Deployment)};
    for (size_t i = 0; i < countof(of); i++) {
        bool core = i > 2;
        CHECK_OK(json_decode(&a,
                             S("{\"metadata\":{\"name\":\"a\",\"namespace\":\"b\","
                               "\"finalizers\":[\"customresourcecleanup.apiextensions.k8s.io\"]}}"),
                             &v, &err),
                 err);
        CHECK_INT(minds_finalizer(of[i], &v, NULL), core);
        CHECK_INT(minds_finalizer(of[i], &v, &v), core);
    }
    kind_unref(k);
}
