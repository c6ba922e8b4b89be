#include "api/codec.h"
#include "api/managed.h"
#include "api/strategy.h"
#include "base/clock.h"
#include "base/test.h"
#include "wire/json.h"
#include <stdio.h>

static struct val json_val(struct arena *a, const char *json)
{
    struct val v;
    struct err err = ERR;
    CHECK_OK(json_decode(a, str_of(json), &v, &err), err);
    return v;
}

static struct val typed_val(struct arena *a, const struct type *t, const char *json)
{
    struct val raw = json_val(a, json), v;
    struct err err = ERR;
    CHECK_OK(type_decode_val(a, t, &raw, &v, NULL, &err), err);
    return v;
}

static struct str set_shown(struct arena *a, const struct fieldset *s)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    fieldset_write(&b, s);
    return str_dup(a, strbuf_str(&b));
}

static struct fieldset set_of(struct arena *a, const char *json)
{
    struct fieldset s;
    struct err err = ERR;
    CHECK_OK(fieldset_read(a, str_of(json), &s, &err), err);
    return s;
}

TEST(a_set_is_written_in_one_order_whatever_order_it_was_read_in)
{
    static const char *const rows[][2] = {
        {"{}", "{}"},
        {"{\"f:b\":{},\"f:a\":{\"f:z\":{},\".\":{}}}", "{\"f:a\":{\".\":{},\"f:z\":{}},\"f:b\":{}}"},
        {"{\"i:10\":{},\"i:9\":{},\"v:true\":{},\"v:\\\"b\\\"\":{},\"v:2\":{},\"v:10\":{},\"f:a\":{}}",
         "{\"f:a\":{},\"v:2\":{},\"v:10\":{},\"v:\\\"b\\\"\":{},\"v:true\":{},\"i:9\":{},\"i:10\":{}}"},
        {"{\"k:{\\\"port\\\":443,\\\"a\\\":\\\"x\\\"}\":{},\"k:{\\\"a\\\":\\\"x\\\",\\\"port\\\":80}\":{}}",
         "{\"k:{\\\"a\\\":\\\"x\\\",\\\"port\\\":80}\":{},\"k:{\\\"a\\\":\\\"x\\\",\\\"port\\\":443}\":{}}"},
        {"{\"k:{\\\"n\\\":\\\"ab\\\"}\":{},\"k:{\\\"n\\\":\\\"a\\\"}\":{}}",
         "{\"k:{\\\"n\\\":\\\"a\\\"}\":{},\"k:{\\\"n\\\":\\\"ab\\\"}\":{}}"},
        {"{\"f:a\":{},\"f:a\":{\"f:b\":{}}}", "{\"f:a\":{\".\":{},\"f:b\":{}}}"}, /* twice: both */
        {"{\"x:later\":{\"f:a\":{}},\"f:a\":{}}", "{\"f:a\":{}}"},                /* of a later version */
        {"{\"v:1.0\":{},\"v:1\":{}}", "{\"v:1\":{}}"},
    };
    AUTO(arena_fini) struct arena a = ARENA;
    for (size_t i = 0; i < countof(rows); i++) {
        struct fieldset s = set_of(&a, rows[i][0]);
        CHECK_STR(set_shown(&a, &s), str_of(rows[i][1]));
        struct fieldset again = set_of(&a, rows[i][1]);
        CHECK(fieldset_equal(&s, &again));
    }
}

TEST(every_step_is_less_than_those_after_it)
{
    static const char *const rising[] = {"f:a",
                                         "f:a.b",
                                         "f:b", /* by kind, then: keys by their members in order of their names */
                                         "k:{\"a\":-10,\"b\":1}",
                                         "k:{\"a\":-9}",
                                         "k:{\"a\":1}",
                                         "k:{\"a\":1,\"b\":0}",
                                         "k:{\"a\":1,\"b\":\"\"}",
                                         "k:{\"a\":1.5}",
                                         "k:{\"a\":2,\"b\":null}",
                                         "k:{\"a\":10}",
                                         "k:{\"a\":10,\"b\":1}",
                                         "k:{\"a\":1e300}",
                                         "k:{\"a\":\"\"}",
                                         "k:{\"a\":\"1\"}",
                                         "k:{\"a\":\"1\",\"b\":2}",
                                         "k:{\"a\":\"10\"}",
                                         "k:{\"a\":\"a\\\"\"}",
                                         "k:{\"a\":\"a\\\\\"}",
                                         "k:{\"a\":\"ab\"}",
                                         "k:{\"a\":\"z,1\"}",
                                         "k:{\"a\":\"\xc3\xa4\"}",
                                         "k:{\"a\":false}",
                                         "k:{\"a\":true}",
                                         "k:{\"a\":[1]}",
                                         "k:{\"a\":[1,2]}",
                                         "k:{\"a\":[2]}",
                                         "k:{\"a\":{}}",
                                         "k:{\"a\":null}",
                                         "k:{\"ab\":1}",
                                         "k:{\"b\":1}",
                                         "v:-1",
                                         "v:1",
                                         "v:2.5",
                                         "v:12",
                                         "v:13",
                                         "v:130",
                                         "v:9007199254740993",
                                         "v:\"\"",
                                         "v:\"1\"",
                                         "v:\"a\"",
                                         "v:\"ab\"",
                                         "v:false",
                                         "v:true",
                                         "v:null",
                                         "i:-1",
                                         "i:2",
                                         "i:10"};
    AUTO(arena_fini) struct arena a = ARENA;
    struct fieldset_node *nodes[countof(rising)];
    for (size_t i = 0; i < countof(rising); i++) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        strbuf_addc(&b, '{');
        json_add_string(&b, str_of(rising[i]));
        strbuf_addz(&b, ":{}}");
        struct fieldset s = set_of(&a, str_dup(&a, strbuf_str(&b)).p);
        CHECK_INT(s.n, 1);
        nodes[i] = s.nodes;
    }
    for (size_t i = 0; i < countof(rising); i++)
        for (size_t j = 0; j < countof(rising); j++) {
            int c = step_cmp(&nodes[i]->step, &nodes[j]->step);
            CHECK_INT((c > 0) - (c < 0), (i > j) - (i < j));
        }
}

TEST(a_set_that_is_none_is_refused)
{
    static const char *const rows[] = {
        "[]",           "1",          "{\"f:a\":1}", "{\"f\":{}}", "{\"fa\":{}}", "{\"i:x\":{}}", "{\"k:1\":{}}",
        "{\"k:{\":{}}", "{\"v:\":{}}"};
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf deep = STRBUF(1 << 20);
    struct fieldset s;
    for (size_t i = 0; i < countof(rows); i++) {
        struct err err = ERR;
        CHECK(!fieldset_read(&a, str_of(rows[i]), &s, &err));
        CHECK(err.kind == E_BAD_REQUEST);
    }
    for (int i = 0; i < 2000; i++)
        strbuf_addz(&deep, "{\"f:a\":");
    strbuf_addz(&deep, "{}");
    for (int i = 0; i < 2000; i++)
        strbuf_addc(&deep, '}');
    struct err err = ERR;
    CHECK(!fieldset_read(&a, strbuf_str(&deep), &s, &err));
}

TEST(sets_are_reckoned_with_as_sets)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct fieldset s = set_of(&a, "{\"f:a\":{\".\":{},\"f:x\":{},\"f:y\":{}},\"f:b\":{}}");
    struct fieldset t = set_of(&a, "{\"f:a\":{\"f:y\":{},\"f:z\":{}},\"f:c\":{}}");
    struct fieldset r = fieldset_union(&a, &s, &t);
    CHECK_STR(set_shown(&a, &r), S("{\"f:a\":{\".\":{},\"f:x\":{},\"f:y\":{},\"f:z\":{}},\"f:b\":{},\"f:c\":{}}"));
    r = fieldset_common(&a, &s, &t);
    CHECK_STR(set_shown(&a, &r), S("{\"f:a\":{\"f:y\":{}}}"));
    r = fieldset_without(&a, &s, &t);
    CHECK_STR(set_shown(&a, &r), S("{\"f:a\":{\".\":{},\"f:x\":{}},\"f:b\":{}}"));
    t = set_of(&a, "{\"f:a\":{}}");
    r = fieldset_without(&a, &s, &t);
    CHECK_STR(set_shown(&a, &r), S("{\"f:a\":{\"f:x\":{},\"f:y\":{}},\"f:b\":{}}"));
    r = fieldset_without_below(&a, &s, &t);
    CHECK_STR(set_shown(&a, &r), S("{\"f:b\":{}}"));
    r = fieldset_leaves(&a, &s);
    CHECK_STR(set_shown(&a, &r), S("{\"f:a\":{\"f:x\":{},\"f:y\":{}},\"f:b\":{}}"));
    CHECK_INT(fieldset_size(&s), 4);
    t = set_of(&a, "{\"f:spec\":{\"f:selector\":{\"f:matchLabels\":{\"f:app\":{}}}}}");
    r = fieldset_with_fields(&a, &t, T(apps_v1_DeploymentSpec));
    CHECK_STR(set_shown(&a, &r), set_shown(&a, &t)); /* spec is no field of it */
    r = fieldset_with_fields(&a, &t, K(Deployment)->type);
    CHECK_STR(set_shown(&a, &r),
              S("{\"f:spec\":{\".\":{},\"f:selector\":{\".\":{},\"f:matchLabels\":{\".\":{},\"f:app\":{}}}}}"));
}

/* --- what a configuration is worth --- */

TEST(a_configuration_that_does_not_fit_is_told_in_upstreams_words)
{
    static const struct {
        const struct kind *k;
        const char *config, *why;
    } rows[] = {
        {K(ConfigMap), "{\"data\":\"text\"}", ".data: expected map, got &{text}"},
        {K(ConfigMap), "{\"data\":{\"a\":1}}", ".data.a: expected string, got &value.valueUnstructured{Value:1}"},
        {K(ConfigMap), "{\"immutable\":\"x\"}", ".immutable: expected boolean, got &{x}"},
        {K(ConfigMap), "{\"what\":\"x\"}", ".what: field not declared in schema"},
        {K(ReplicaSet), "{\"spec\":{\"replicas\":\"x\"}}",
         ".spec.replicas: expected numeric (int or float), got string"},
        {K(Pod), "{\"spec\":{\"containers\":{\"a\":1}}}", ".spec.containers: expected list, got &{map[a:1]}"},
        {K(Pod), "{\"spec\":{\"containers\":[{\"name\":\"a\"},{\"name\":\"a\"}]}}",
         ".spec.containers: duplicate entries for key [name=\"a\"]"},
        {K(Pod), "{\"spec\":{\"containers\":[null]}}",
         ".spec.containers: element 0: associative list with keys may not have a null element"},
        {K(Pod), "{\"spec\":{\"containers\":[{\"name\":\"a\",\"ports\":[{\"containerPort\":\"x\"}]}]}}",
         ".spec.containers[name=\"a\"].ports[containerPort=\"x\",protocol=\"TCP\"].containerPort: expected numeric "
         "(int or float), got string"},
        {K(ConfigMap), "{\"metadata\":{\"finalizers\":[\"a/b\",\"a/b\"]}}",
         ".metadata.finalizers: duplicate entries for key [=\"a/b\"]"},
        {K(ConfigMap), "{\"data\":{\"a\":1},\"immutable\":\"x\"}",
         "errors:\n  .data.a: expected string, got &value.valueUnstructured{Value:1}\n  .immutable: expected "
         "boolean, "
         "got &{x}"},
        {K(Pod), "{\"spec\":{\"containers\":[{\"image\":\"a\"}]}}", NULL},
        {K(ConfigMap), "{\"data\":null,\"immutable\":null}", NULL},
    };
    AUTO(arena_fini) struct arena a = ARENA;
    for (size_t i = 0; i < countof(rows); i++) {
        struct val v = json_val(&a, rows[i].config);
        struct err err = ERR;
        bool ok = apply_check(&a, rows[i].k->type, &v, &err);
        CHECK_STR(str_of(ok ? "" : err.text), str_of(rows[i].why ? rows[i].why : ""));
    }
}

TEST(what_a_configuration_names_is_values_elements_and_keys)
{
    static const struct {
        const struct kind *k;
        const char *config, *fields;
    } rows[] = {
        {K(ConfigMap), "{\"metadata\":{\"labels\":{}},\"data\":{\"a\":\"1\"},\"binaryData\":null}",
         "{\"f:binaryData\":{},\"f:data\":{\"f:a\":{}},\"f:metadata\":{\"f:labels\":{}}}"},
        {K(Service), "{\"spec\":{\"selector\":{\"a\":\"b\"},\"ports\":[{\"port\":80}]}}",
         "{\"f:spec\":{\"f:ports\":{\"k:{\\\"port\\\":80,\\\"protocol\\\":\\\"TCP\\\"}\":{\".\":{},\"f:port\":{}}},"
         "\"f:selector\":{}}}"},
        {K(ConfigMap), "{\"metadata\":{\"finalizers\":[\"a/b\"],\"ownerReferences\":[{\"uid\":\"u\"}]}}",
         "{\"f:metadata\":{\"f:finalizers\":{\"v:\\\"a/"
         "b\\\"\":{}},\"f:ownerReferences\":{\"k:{\\\"uid\\\":\\\"u\\\"}\":"
         "{}}}}"},
        {K(Role), "{\"rules\":[{\"verbs\":[\"get\"]}]}", "{\"f:rules\":{}}"},
    };
    AUTO(arena_fini) struct arena a = ARENA;
    for (size_t i = 0; i < countof(rows); i++) {
        struct val v = json_val(&a, rows[i].config);
        struct fieldset s = apply_fields(&a, rows[i].k->type, &v);
        CHECK_STR(set_shown(&a, &s), str_of(rows[i].fields));
    }
}

TEST(what_changed_counts_what_go_writes_as_there)
{
    static const struct {
        const struct kind *k;
        const char *was, *now, *changed, *removed;
    } rows[] = {
        {K(ConfigMap), NULL, "{\"data\":{\"a\":\"1\"}}", "{\"f:data\":{\".\":{},\"f:a\":{}}}", "{}"},
        {K(ConfigMap), "{\"data\":{\"a\":\"1\",\"b\":\"1\"}}", "{\"data\":{\"a\":\"2\"}}",
         "{\"f:data\":{\"f:a\":{}}}", "{\"f:data\":{\"f:b\":{}}}"},
        {K(ConfigMap), "{\"data\":{\"a\":\"1\"}}", "{}", "{}", "{\"f:data\":{\".\":{},\"f:a\":{}}}"},
        /* spec and strategy are written where they are empty, so only what is in them is new */
        {K(Deployment), NULL, "{\"spec\":{\"replicas\":1,\"strategy\":{\"type\":\"Recreate\"}}}",
         "{\"f:spec\":{\"f:replicas\":{},\"f:strategy\":{\"f:type\":{}}}}", "{}"},
        {K(Pod), NULL, "{\"spec\":{\"containers\":[{\"name\":\"a\"}]}}",
         "{\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"a\\\"}\":{\".\":{},\"f:name\":{},\"f:resources\":{}}}}"
         "}",
         "{}"},
        {K(Role), "{\"rules\":[{\"verbs\":[\"get\"]}]}", "{\"rules\":[{\"verbs\":[\"list\"]}]}", "{\"f:rules\":{}}",
         "{}"},
    };
    AUTO(arena_fini) struct arena a = ARENA;
    for (size_t i = 0; i < countof(rows); i++) {
        const struct type *t = rows[i].k->type;
        struct val was = rows[i].was ? typed_val(&a, t, rows[i].was) : VAL_NONE;
        struct val now = typed_val(&a, t, rows[i].now);
        struct apply_changes c = apply_compare(&a, t, rows[i].was ? &was : NULL, &now, false);
        CHECK_STR(set_shown(&a, &c.changed), str_of(rows[i].changed));
        CHECK_STR(set_shown(&a, &c.removed), str_of(rows[i].removed));
    }
}

TEST(elements_are_merged_in_the_order_of_the_configuration)
{
    static const char *const rows[][3] = {
        {"abc", "b", "abc"}, {"abc", "cb", "acb"}, {"abc", "xb", "axbc"}, {"abc", "xyz", "abcxyz"},
        {"", "ab", "ab"},    {"ab", "", "ab"},     {"abc", "ca", "bca"},  {"abcd", "db", "acdb"},
    };
    AUTO(arena_fini) struct arena a = ARENA;
    for (size_t i = 0; i < countof(rows); i++) {
        struct val v[2];
        for (int k = 0; k < 2; k++) {
            struct val list = val_list();
            v[k] = val_map();
            for (const char *p = rows[i][k]; *p; p++)
                (void)val_add(&a, &list, val_str(&a, (struct str){p, 1}));
            (void)val_set(&a, val_need_map(&a, &v[k], N(metadata)), N(finalizers), list);
        }
        struct val out = apply_merge(&a, K(ConfigMap)->type, &v[0], &v[1]);
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        val_each_item (it, val_at(&out, N(metadata), N(finalizers)))
            strbuf_add(&b, val_text(it));
        CHECK_STR(strbuf_str(&b), str_of(rows[i][2]));
    }
}

/* --- an object and who writes it --- */

struct world {
    struct arena a;
    const struct kind *k;
    struct val tree; /* typed */
    const struct managed *managed;
    bool made;
    int64_t now;
    char text[4096];
};

static struct managing world_managing(struct world *w, const char *who)
{
    struct managing g = {.a = &w->a,
                         .type = w->k->type,
                         .api_version = w->k->api_version,
                         .manager = str_of(who),
                         .was = w->made ? &w->tree : NULL,
                         .now = ++w->now};
    kind_resets(&w->a, w->k, S(""), &g);
    return g;
}

static void world_close(struct world *w, struct owners *o)
{
    const struct managed *was = w->managed; /* the owners borrow from it */
    w->managed = owners_close(o);
    managed_unref(was);
    w->made = true;
}

static void world_put(struct world *w, const char *who, const char *json)
{
    struct managing g = world_managing(w, who);
    struct val now = typed_val(&w->a, w->k->type, json);
    struct owners o;
    manage_update(&g, w->managed, &now, NULL, &o);
    w->tree = now;
    world_close(w, &o);
}

/* "" or the conflicts. */
static const char *world_apply(struct world *w, const char *who, const char *json, bool force)
{
    struct managing g = world_managing(w, who);
    struct val config = json_val(&w->a, json), now;
    struct owners o;
    struct applying done;
    struct err err = ERR;
    enum managed_apply how = manage_apply(&g, w->managed, &config, force, &o, &done, &err);
    w->text[0] = 0;
    if (how == APPLY_CONFLICTS) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
        conflicts_text(&b, &done);
        snprintf(w->text, sizeof w->text, STR_FMT, STR_ARG(strbuf_str(&b)));
        return w->text;
    }
    CHECK_OK(how == APPLY_DONE, err);
    CHECK_OK(type_decode_val(&w->a, w->k->type, &done.merged, &now, NULL, &err), err);
    if (!w->made || !val_equal(&now, &w->tree))
        manage_applied(&g, &o, &done);
    w->tree = now;
    world_close(w, &o);
    return w->text;
}

static void world_fini(struct world *w)
{
    managed_unref(w->managed);
    arena_fini(&w->a);
}

static struct str world_shown(struct world *w)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    for (uint32_t i = 0; w->managed && i < w->managed->n; i++) {
        const struct managed_words *x = w->managed->e[i].words;
        strbuf_addf(&b, "%s%s %s", i ? "\n" : "", x->text, x->apply ? "applied " : "wrote ");
        if (w->managed->e[i].time != MANAGED_NO_TIME)
            strbuf_addf(&b, "at %lld ", (long long)w->managed->e[i].time);
        strbuf_addz(&b, x->text + x->nmanager + x->napi + x->nsub + 3);
    }
    return str_dup(&w->a, strbuf_str(&b));
}

static struct str tree_shown(struct world *w)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    json_encode(&b, &w->tree);
    return str_dup(&w->a, strbuf_str(&b));
}

TEST(owners_follow_who_writes_what)
{
    struct world w = {.k = K(ConfigMap)};
    world_put(&w, "maker", "{\"data\":{\"a\":\"1\",\"b\":\"1\"}}");
    CHECK_STR(world_shown(&w), S("maker wrote at 1 {\"f:data\":{\".\":{},\"f:a\":{},\"f:b\":{}}}"));
    world_put(&w, "other", "{\"data\":{\"a\":\"1\",\"b\":\"2\"}}");
    CHECK_STR(world_shown(&w), S("maker wrote at 1 {\"f:data\":{\".\":{},\"f:a\":{}}}\n"
                                 "other wrote at 2 {\"f:data\":{\"f:b\":{}}}"));
    CHECK_STR(str_of(world_apply(&w, "app", "{\"data\":{\"a\":\"1\",\"b\":\"3\"}}", false)),
              S("Apply failed with 1 conflict: conflict with \"other\" using v1: .data.b"));
    CHECK_STR(str_of(world_apply(&w, "app", "{\"data\":{\"a\":\"1\",\"b\":\"3\"}}", true)), S(""));
    CHECK_STR(world_shown(&w), S("app applied at 4 {\"f:data\":{\"f:a\":{},\"f:b\":{}}}\n"
                                 "maker wrote at 1 {\"f:data\":{\".\":{},\"f:a\":{}}}"));
    /* the same again changes nothing, whatever the time */
    const struct managed *before = managed_ref(w.managed);
    CHECK_STR(str_of(world_apply(&w, "app", "{\"data\":{\"a\":\"1\",\"b\":\"3\"}}", false)), S(""));
    CHECK(managed_equal(before, w.managed, true));
    managed_unref(before);
    /* what is given up goes, unless somebody else applied it, too */
    CHECK_STR(str_of(world_apply(&w, "two", "{\"data\":{\"b\":\"3\"}}", false)), S(""));
    CHECK_STR(str_of(world_apply(&w, "app", "{\"data\":{\"a\":\"1\"}}", false)), S(""));
    CHECK_STR(tree_shown(&w), S("{\"data\":{\"a\":\"1\",\"b\":\"3\"}}"));
    CHECK_STR(str_of(world_apply(&w, "two", "{\"data\":{}}", false)), S(""));
    CHECK_STR(tree_shown(&w), S("{\"data\":{\"a\":\"1\"}}"));
    world_fini(&w);
    CHECK_INT(managed_words_alive(), 0);
}

TEST(conflicts_with_several_are_sorted)
{
    struct world w = {.k = K(ConfigMap)};
    (void)world_apply(&w, "bob", "{\"data\":{\"b\":\"1\",\"c\":\"1\"}}", false);
    (void)world_apply(&w, "alice", "{\"data\":{\"a\":\"1\",\"c\":\"1\"}}", false);
    CHECK_STR(str_of(world_apply(&w, "carol", "{\"data\":{\"a\":\"2\",\"b\":\"2\",\"c\":\"2\"}}", false)),
              S("Apply failed with 4 conflicts: conflicts with \"alice\":\n- .data.a\n- .data.c\nconflicts with "
                "\"bob\":\n- .data.b\n- .data.c"));
    world_fini(&w);
}

TEST(the_oldest_of_many_writers_become_one)
{
    struct world w = {.k = K(ConfigMap)};
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    for (int i = 0; i < 15; i++) {
        char who[16];
        snprintf(who, sizeof who, "w%02d", i);
        strbuf_addf(&b, "%s\"k%02d\":\"1\"", i ? "," : "", i);
        world_put(&w, who, arena_fmt(&w.a, "{\"data\":{" STR_FMT "}}", STR_ARG(strbuf_str(&b))).p);
    }
    CHECK_INT(w.managed->n, 10);
    CHECK(!strcmp(w.managed->e[0].words->text, "ancient-changes"));
    CHECK(!strcmp(w.managed->e[9].words->text, "w14"));
    world_fini(&w);
}

TEST(what_a_client_says_of_managed_fields_resets_rewrites_or_is_no_good)
{
    static const char *const rows[][2] = {
        {"[]", ""},
        {"[{}]", ""},
        {"[{\"manager\":\"zoe\",\"operation\":\"Apply\",\"apiVersion\":\"v1\",\"time\":\"2020-01-02T03:04:05Z\","
         "\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"f:data\":{\"f:a\":{}}}}]",
         "zoe applied at 1577934245 {\"f:data\":{\"f:a\":{}}}"},
        {"[{\"manager\":\"zoe\",\"operation\":\"Guess\",\"apiVersion\":\"v1\",\"fieldsType\":\"FieldsV1\"}]",
         "maker wrote at 1 {\"f:data\":{\".\":{},\"f:a\":{}}}"},
        {"[{\"manager\":\"zoe\",\"operation\":\"Apply\",\"apiVersion\":\"v1\",\"fieldsType\":\"FieldsV2\"}]",
         "maker wrote at 1 {\"f:data\":{\".\":{},\"f:a\":{}}}"},
        {"[{\"manager\":\"zoe\",\"operation\":\"Apply\",\"fieldsType\":\"FieldsV1\"}]",
         "maker wrote at 1 {\"f:data\":{\".\":{},\"f:a\":{}}}"},
        {"[{\"manager\":\"zoe\",\"operation\":\"Apply\",\"apiVersion\":\"v1\",\"fieldsType\":\"FieldsV1\","
         "\"fieldsV1\":{\"k:1\":{}}}]",
         "maker wrote at 1 {\"f:data\":{\".\":{},\"f:a\":{}}}"},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {.k = K(ConfigMap)};
        world_put(&w, "maker", "{\"data\":{\"a\":\"1\"}}");
        struct managing g = world_managing(&w, "maker");
        struct val sent = json_val(&w.a, rows[i][0]);
        struct owners o;
        manage_update(&g, w.managed, &w.tree, &sent, &o);
        world_close(&w, &o);
        CHECK_STR(world_shown(&w), str_of(rows[i][1]));
        world_fini(&w);
    }
}

TEST(after_a_reset_nothing_is_tracked_until_an_apply)
{
    struct world w = {.k = K(ConfigMap)};
    world_put(&w, "maker", "{\"data\":{\"a\":\"1\"}}");
    managed_unref(TAKE(w.managed));
    world_put(&w, "maker", "{\"data\":{\"a\":\"2\"}}");
    CHECK(!w.managed);
    (void)world_apply(&w, "app", "{\"data\":{\"b\":\"1\"}}", false);
    CHECK_STR(world_shown(&w), S("app applied at 3 {\"f:data\":{\"f:b\":{}}}\n"
                                 "before-first-apply wrote at 3 {\"f:data\":{\".\":{},\"f:a\":{}}}"));
    world_fini(&w);
}

TEST(what_the_client_applied_by_itself_is_taken_over_by_kubectl_alone)
{
    struct world w = {.k = K(ConfigMap)};
    const char *last = "{\"apiVersion\":\"v1\",\"data\":{\"a\":\"1\",\"b\":\"1\"}}";
    struct val tree = val_map(), text = val_str_borrowed(str_of(last));
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    (void)val_set_str(&w.a, val_need_map(&w.a, &tree, N(metadata), N(annotations)),
                      S("kubectl.kubernetes.io/last-applied-configuration"), text);
    (void)val_set_str(&w.a, val_need_map(&w.a, &tree, N(data)), S("a"), val_str_borrowed(S("1")));
    (void)val_set_str(&w.a, val_need_map(&w.a, &tree, N(data)), S("b"), val_str_borrowed(S("1")));
    json_encode(&b, &tree);
    world_put(&w, "kubectl-client-side-apply", strbuf_str(&b).p);
    CHECK(*world_apply(&w, "other", "{\"data\":{\"a\":\"2\"}}", false));
    CHECK_STR(str_of(world_apply(&w, "kubectl", "{\"data\":{\"a\":\"2\",\"b\":\"1\"}}", false)), S(""));
    world_fini(&w);
}

/* --- properties, over objects made by chance --- */

static const char *random_config(struct world *w, uint64_t *seed, const char *keys)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    bool first = true;
    strbuf_addz(&b, "{\"spec\":{\"selector\":{\"s\":\"1\"},\"ports\":[");
    for (const char *k = keys; *k; k++) {
        *seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
        if (*seed >> 62 == 0)
            continue;
        strbuf_addf(&b, "%s{\"port\":%d,\"protocol\":\"%s\"%s}", first ? "" : ",", *k - 'a' + 1,
                    *seed >> 40 & 1 ? "TCP" : "UDP", *seed >> 41 & 1 ? ",\"name\":\"n\"" : "");
        first = false;
    }
    strbuf_addz(&b, "]},\"metadata\":{\"labels\":{");
    first = true;
    for (const char *k = keys; *k; k++) {
        *seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
        if (*seed >> 62 == 0)
            continue;
        strbuf_addf(&b, "%s\"%c\":\"1\"", first ? "" : ",", *k);
        first = false;
    }
    strbuf_addz(&b, "}}}");
    return str_dup(&w->a, strbuf_str(&b)).p;
}

/* Each field that somebody owns is there, unless it was applied as null or empty. */
static void owned_is_there(struct world *w)
{
    struct val whole = type_complete(&w->a, w->k->type, &w->tree);
    struct fieldset all = apply_fields(&w->a, w->k->type, &whole);
    all = fieldset_with_fields(&w->a, &all, w->k->type);
    struct owners o = owners_open(&w->a, w->managed);
    for (size_t i = 0; i < o.n; i++) {
        const struct managed_words *x = o.p[i].words;
        struct fieldset set = set_of(&w->a, x->text + x->nmanager + x->napi + x->nsub + 3);
        struct fieldset leaves = fieldset_leaves(&w->a, &set);
        struct fieldset lost = fieldset_without(&w->a, &leaves, &all);
        struct fieldset labels = set_of(&w->a, "{\"f:metadata\":{\"f:labels\":{}}}");
        lost = fieldset_without(&w->a, &lost, &labels);
        CHECK_STR(set_shown(&w->a, &lost), S("{}"));
    }
}

TEST(an_apply_is_idempotent_and_two_that_do_not_conflict_commute)
{
    uint64_t seed = 1;
    for (int round = 0; round < 300; round++) {
        struct world w[2] = {{.k = K(Service)}, {.k = K(Service)}};
        const char *base = random_config(&w[0], &seed, "abcdef");
        const char *one = random_config(&w[0], &seed, "abc"), *two = random_config(&w[0], &seed, "def");
        for (int i = 0; i < 2; i++) {
            world_put(&w[i], "maker", base);
            (void)world_apply(&w[i], i ? "two" : "one", i ? two : one, true);
            (void)world_apply(&w[i], i ? "one" : "two", i ? one : two, true);
            owned_is_there(&w[i]);
        }
        struct fieldset sets[2];
        for (int i = 0; i < 2; i++) {
            struct val whole = type_complete(&w[i].a, K(Service)->type, &w[i].tree);
            sets[i] = apply_fields(&w[i].a, K(Service)->type, &whole);
        }
        CHECK(fieldset_equal(&sets[0], &sets[1]));
        struct apply_changes c = apply_compare(&w[0].a, K(Service)->type, &w[0].tree, &w[1].tree, false);
        CHECK(fieldset_empty(&c.changed) && fieldset_empty(&c.removed));
        const struct managed *before = managed_ref(w[0].managed);
        struct str tree = tree_shown(&w[0]);
        CHECK_STR(str_of(world_apply(&w[0], "two", two, false)), S(""));
        CHECK_STR(tree_shown(&w[0]), tree);
        CHECK(managed_equal(before, w[0].managed, true));
        managed_unref(before);
        (void)world_apply(&w[0], "two", random_config(&w[0], &seed, "def"), false);
        owned_is_there(&w[0]);
        world_fini(&w[0]);
        world_fini(&w[1]);
    }
    CHECK_INT(managed_words_alive(), 0);
}

TEST(lists_read_as_they_were_written)
{
    struct world w = {.k = K(ConfigMap)};
    world_put(&w, "a \"b\" <c>", "{\"data\":{\"x\":\"1\"}}");
    (void)world_apply(&w, "app", "{\"data\":{\"y\":\"1\"}}", false);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct err err = ERR;
    const struct managed *again;
    managed_json(&b, w.managed);
    CHECK_OK(managed_parse(strbuf_str(&b), &again, &err), err);
    CHECK(managed_equal(again, w.managed, true));
    managed_unref(again);
    world_fini(&w);
    CHECK_INT(managed_words_alive(), 0);
}
