#include "api/codec.h"
#include "api/patch.h"
#include "base/clock.h"
#include "base/test.h"
#include <stdio.h>

static struct val json_val(struct arena *a, const char *json)
{
    struct val v;
    struct err err = ERR;
    CHECK_OK(json_decode(a, str_of(json), &v, &err), err);
    return v;
}

static struct str val_shown(struct arena *a, const struct val *v)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    json_encode(&b, v);
    return str_dup(a, strbuf_str(&b));
}

TEST(merge_patches_follow_rfc_7386)
{
    static const char *const rows[][3] = {
        /* the table of appendix A */
        {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
        {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
        {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
        {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
        {"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"},
        {"{\"a\":\"foo\"}", "\"bar\"", "\"bar\""},
        {"{\"e\":null}", "{\"a\":1}", "{\"a\":1,\"e\":null}"},
        {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
    };
    AUTO(arena_fini) struct arena a = ARENA;
    for (size_t i = 0; i < countof(rows); i++) {
        struct val doc = json_val(&a, rows[i][0]), patch = json_val(&a, rows[i][1]), out;
        struct err err = ERR;
        CHECK_OK(patch_merge(&a, &doc, &patch, &out, &err), err);
        CHECK_STR(val_shown(&a, &out), str_of(rows[i][2]));
    }
}

TEST(what_a_patch_goes_through_is_sorted_and_the_rest_stays)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    struct val doc = json_val(&a, "{\"z\":1,\"m\":{\"c\":1,\"b\":{\"y\":1,\"x\":2}},\"a\":{\"q\":1,\"p\":2}}"), out;
    struct val json = json_val(&a, "[{\"op\":\"replace\",\"path\":\"/m/c\",\"value\":{\"k\":1,\"j\":2}}]");
    struct val merge = json_val(&a, "{\"m\":{\"c\":{\"k\":1,\"j\":2},\"b\":[{\"v\":1,\"u\":2}]}}");
    CHECK_OK(patch_json(&a, &doc, &json, &out, &err), err);
    CHECK_STR(val_shown(&a, &out),
              S("{\"a\":{\"q\":1,\"p\":2},\"m\":{\"b\":{\"y\":1,\"x\":2},\"c\":{\"k\":1,\"j\":2}},"
                "\"z\":1}"));
    CHECK_OK(patch_merge(&a, &doc, &merge, &out, &err), err);
    CHECK_STR(val_shown(&a, &out),
              S("{\"a\":{\"q\":1,\"p\":2},\"m\":{\"b\":[{\"v\":1,\"u\":2}],\"c\":{\"j\":2,\"k\":1}},"
                "\"z\":1}"));
}

TEST(a_merge_diff_leads_from_one_document_to_the_other)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    struct val from = json_val(&a, "{\"a\":1,\"b\":{\"c\":2,\"d\":3},\"e\":[1]}");
    struct val to = json_val(&a, "{\"a\":1,\"b\":{\"c\":9},\"f\":true}"), out;
    struct val patch = diff_merge(&a, &from, &to);
    CHECK_STR(val_shown(&a, &patch), S("{\"b\":{\"c\":9,\"d\":null},\"f\":true,\"e\":null}"));
    CHECK_OK(patch_merge(&a, &from, &patch, &out, &err), err);
    CHECK(val_equal(&out, &to));
}

/* What somebody applied before, what is applied now, what the server has. */
TEST(an_apply_changes_what_it_names_and_removes_what_it_named_before)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    struct val original = json_val(
        &a, "{\"metadata\":{\"labels\":{\"a\":\"1\",\"b\":\"2\"}},\"spec\":{\"containers\":[{\"name\":\"web\","
            "\"image\":\"web:1\"},{\"name\":\"log\",\"image\":\"log:1\"}]}}");
    struct val modified = json_val(&a, "{\"metadata\":{\"labels\":{\"a\":\"1\"}},\"spec\":{\"containers\":[{\"name\":"
                                       "\"web\",\"image\":\"web:2\"}]}}");
    struct val current = json_val(&a,
                                  "{\"metadata\":{\"labels\":{\"a\":\"1\",\"b\":\"2\",\"x\":\"y\"}},\"spec\":{"
                                  "\"nodeName\":\"n\",\"containers\":[{\"name\":\"web\","
                                  "\"image\":\"web:1\",\"imagePullPolicy\":\"Always\"},{\"name\":\"log\",\"image\":"
                                  "\"log:1\"},{\"name\":\"injected\",\"image\":\"i\"}]}}");
    struct val patch, out;
    CHECK_OK(diff_strategic3(&a, T(core_v1_Pod), &original, &modified, &current, &patch, &err), err);
    CHECK_STR(val_shown(&a, &patch), S("{\"metadata\":{\"labels\":{\"b\":null}},\"spec\":{\"$setElementOrder/"
                                       "containers\":[{\"name\":\"web\"}],\"containers\":[{\"image\":\"web:2\","
                                       "\"name\":\"web\"},{\"name\":\"log\",\"$patch\":\"delete\"}]}}"));
    CHECK_OK(patch_strategic(&a, T(core_v1_Pod), &current, &patch, &out, &err), err);
    struct val want = json_val(&a,
                               "{\"metadata\":{\"labels\":{\"a\":\"1\",\"x\":\"y\"}},\"spec\":{\"nodeName\":\"n\","
                               "\"containers\":[{\"name\":\"web\",\"image\":\"web:2\","
                               "\"imagePullPolicy\":\"Always\"},{\"name\":\"injected\",\"image\":\"i\"}]}}");
    CHECK(val_equal(&out, &want));
    CHECK_OK(diff_strategic3(&a, T(core_v1_Pod), &modified, &modified, &out, &patch, &err), err);
    /* as kubectl: the order is said where the server has more */
    CHECK_STR(val_shown(&a, &patch), S("{\"spec\":{\"$setElementOrder/containers\":[{\"name\":\"web\"}]}}"));
    CHECK_OK(diff_strategic3(&a, T(core_v1_Pod), &modified, &modified, &modified, &patch, &err), err);
    CHECK_STR(val_shown(&a, &patch), S("{}"));
}

TEST(a_failed_json_patch_says_so_and_limits_hold)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val doc = json_val(&a, "{\"a\":[1]}"), out;
    struct val wrong = json_val(&a, "[{\"op\":\"remove\",\"path\":\"/b\"}]"), shape = json_val(&a, "{}");
    struct err err = ERR;
    CHECK(!patch_json(&a, &doc, &wrong, &out, &err));
    CHECK_INT(err.kind, E_INVALID);
    CHECK(!patch_json(&a, &doc, &shape, &out, &err));
    CHECK_INT(err.kind, E_BAD_REQUEST);
    struct val many = val_list();
    for (int i = 0; i <= 10000; i++)
        val_add(&a, &many, wrong.list[0]);
    CHECK(!patch_json(&a, &doc, &many, &out, &err));
    CHECK_INT(err.kind, E_TOO_LARGE);
    /* each copy doubles the document: upstream's limit on what copies may add ends it */
    struct val bomb = val_list(), copy = json_val(&a, "{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/a/-\"}");
    for (int i = 0; i < 64; i++)
        val_add(&a, &bomb, copy);
    CHECK(!patch_json(&a, &doc, &bomb, &out, &err));
    CHECK_INT(err.kind, E_INVALID);
}

/* Lines of a file, fields between tabs: what kubectl made of random objects and patches (tests/e2e/patch_test.py
 * records it). WHERRY_RECORDED names another folder than tests/golden. */
#define FIELDS 5
static size_t each_recorded(const char *name,
                            void (*check)(struct arena *a, const struct type *t, struct str *fields))
{
    const char *folder = getenv("WHERRY_RECORDED");
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder ? folder : "tests/golden", name);
    FILE *f = fopen(path, "re");
    char *line = NULL;
    size_t room = 0, lines = 0;
    CHECK(f);
    for (ssize_t n; (n = getline(&line, &room, f)) > 0; lines++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct str rest = str_trim((struct str){line, (size_t)n}), fields[FIELDS] = {0}, core = S("v1");
        for (size_t i = 0; i < FIELDS && str_cut(&rest, '\t', &fields[i]);)
            i++;
        const struct type *t = root_type_find(str_eq(fields[0], S("Deployment")) ? S("apps/v1") : core, fields[0]);
        CHECK(t);
        check(&a, t, fields);
    }
    free(line); /* getline's */
    fclose(f);
    return lines;
}

static struct val json_parsed(struct arena *a, struct str json)
{
    struct val v;
    struct err err = ERR;
    CHECK_OK(json_decode(a, json, &v, &err), err);
    return v;
}

/* Object, patch, what `kubectl patch --local` made of it ("-": refused). */
static void check_merged(struct arena *a, const struct type *t, struct str *f)
{
    struct val doc = json_parsed(a, f[1]), patch = json_parsed(a, f[2]), out;
    struct err err = ERR;
    bool ok = patch_strategic(a, t, &doc, &patch, &out, &err);
    if (str_eq(f[3], S("-"))) {
        if (ok)
            test_failed(__FILE__, __LINE__, "taken, where kubectl refuses: " STR_FMT "\n" STR_FMT, STR_ARG(f[1]),
                        STR_ARG(f[2]));
        return;
    }
    if (!ok)
        test_failed(__FILE__, __LINE__, "%s: " STR_FMT "\n" STR_FMT, err.text, STR_ARG(f[1]), STR_ARG(f[2]));
    struct val want = json_parsed(a, f[3]);
    if (!val_equal(&out, &want))
        test_failed(__FILE__, __LINE__, "object " STR_FMT "\npatch " STR_FMT "\nhave " STR_FMT "\nwant " STR_FMT,
                    STR_ARG(f[1]), STR_ARG(f[2]), STR_ARG(val_shown(a, &out)), STR_ARG(f[3]));
}

TEST(strategic_patches_do_what_kubectl_does)
{
    CHECK(each_recorded("strategic.txt", check_merged) >= 300);
}

/* Last applied, applied now, live, the patch that `kubectl apply` sent ("-": it failed). */
static void check_computed(struct arena *a, const struct type *t, struct str *f)
{
    struct val last = json_parsed(a, f[1]), now = json_parsed(a, f[2]), live = json_parsed(a, f[3]), out;
    struct err err = ERR;
    bool ok = diff_strategic3(a, t, &last, &now, &live, &out, &err), refused = str_eq(f[4], S("-"));
    if (ok == refused)
        test_failed(__FILE__, __LINE__, "%s\nlast " STR_FMT "\nnow  " STR_FMT "\nlive " STR_FMT,
                    ok ? "computed, where kubectl fails" : err.text, STR_ARG(f[1]), STR_ARG(f[2]), STR_ARG(f[3]));
    if (refused)
        return;
    struct val want = json_parsed(a, f[4]);
    if (!val_equal(&out, &want))
        test_failed(__FILE__, __LINE__,
                    "last " STR_FMT "\nnow  " STR_FMT "\nlive " STR_FMT "\nhave " STR_FMT "\nwant " STR_FMT,
                    STR_ARG(f[1]), STR_ARG(f[2]), STR_ARG(f[3]), STR_ARG(val_shown(a, &out)), STR_ARG(f[4]));
}

TEST(an_apply_computes_the_patch_that_kubectl_computes)
{
    CHECK(each_recorded("apply.txt", check_computed) >= 300);
}

/* Lists and maps as long as a body may be: no patch of them takes longer than it takes to read it, or it is refused.
 */
static double seconds_of(bool (*act)(struct arena *a, struct val *doc, struct val *patch), struct arena *a,
                         struct val doc, struct val patch)
{
    int64_t from = clock_thread_cpu();
    act(a, &doc, &patch);
    return (double)(clock_thread_cpu() - from) / NS_PER_S;
}

static bool as_json(struct arena *a, struct val *doc, struct val *patch)
{
    struct val out;
    struct err err = ERR;
    return patch_json(a, doc, patch, &out, &err);
}

static bool as_merge(struct arena *a, struct val *doc, struct val *patch)
{
    struct val out;
    struct err err = ERR;
    return patch_merge(a, doc, patch, &out, &err);
}

static bool as_strategic(struct arena *a, struct val *doc, struct val *patch)
{
    struct val out;
    struct err err = ERR;
    return patch_strategic(a, T(core_v1_Pod), doc, patch, &out, &err);
}

#ifdef WHERRY_SANITIZED
#define LONG 30000
#define MOST 3
#else
#define LONG 60000
#define MOST 0.6
#endif
static struct val long_list(struct arena *a, const char *before, int from, const char *after)
{
    struct val list = val_list();
    for (int i = 0; i < LONG; i++)
        val_add(a, &list, json_parsed(a, arena_fmt(a, "%s%d%s", before, from + i, after)));
    return list;
}

TEST(patches_of_long_lists_and_maps_take_no_longer_than_reading_them)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val none = val_map(), pod = val_map(), patch = val_map(), delete = val_map(), ops = val_list(), deep;
    val_set(&a, val_need_map(&a, &pod, N(spec)), N(hostAliases), long_list(&a, "{\"ip\":\"", 0, "\"}"));
    val_set(&a, val_need_map(&a, &pod, N(metadata)), N(finalizers), long_list(&a, "\"f", 0, "\""));
    val_set(&a, val_need_map(&a, &patch, N(spec)), N(hostAliases), long_list(&a, "{\"ip\":\"", LONG / 2, "\"}"));
    val_set_str(&a, val_need_map(&a, &patch, N(spec)), S("$setElementOrder/hostAliases"),
                long_list(&a, "{\"ip\":\"", LONG / 2, "\"}"));
    val_set(&a, val_need_map(&a, &patch, N(metadata)), N(finalizers), long_list(&a, "\"f", LONG / 2, "\""));
    val_set(&a, val_need_map(&a, &delete, N(spec)), N(hostAliases),
            long_list(&a, "{\"ip\":\"", 0, "\",\"$patch\":\"delete\"}"));
    val_set_str(&a, val_need_map(&a, &delete, N(metadata)), S("$deleteFromPrimitiveList/finalizers"),
                long_list(&a, "\"f", 0, "\""));
    struct val *labels = val_need_map(&a, &pod, N(metadata), N(labels)),
               *wanted = val_need_map(&a, &patch, N(metadata), N(labels)),
               *unknown = val_need_map(&a, &patch, N(status));
    for (int i = 0; i < LONG; i++) {
        val_append(&a, labels, name_of(&a, arena_fmt(&a, "k%d", i)), val_int(i));
        val_append(&a, wanted, name_of(&a, arena_fmt(&a, "k%d", i + LONG / 2)), i % 2 ? VAL_NONE : val_int(-i));
        val_append(&a, unknown, name_of(&a, arena_fmt(&a, "u%d", i)), val_list());
    }
    for (int i = 0; i < 10000; i++)
        val_add(&a, &ops, json_parsed(&a, S("{\"op\":\"add\",\"path\":\"/spec/hostAliases/0\",\"value\":1}")));
    deep = val_map();
    for (int i = 0; i < 9000; i++) {
        struct val outer = val_map();
        val_set_str(&a, &outer, S("d"), deep);
        deep = outer;
    }
    CHECK(seconds_of(as_strategic, &a, pod, patch) < MOST);
    CHECK(seconds_of(as_strategic, &a, pod, delete) < MOST);
    CHECK(seconds_of(as_strategic, &a, none, patch) < MOST);
    CHECK(seconds_of(as_json, &a, pod, ops) < MOST);
    struct val keys = val_list();
    for (int i = 0; i < 10000; i++)
        val_add(
            &a, &keys,
            json_parsed(&a, arena_fmt(&a, "{\"op\":\"add\",\"path\":\"/metadata/labels/n%d\",\"value\":\"x\"}", i)));
    CHECK(seconds_of(as_json, &a, pod, keys) < MOST);
    CHECK(seconds_of(as_merge, &a, pod, patch) < MOST);
    CHECK(seconds_of(as_merge, &a, deep, deep) < MOST);
}

TEST(a_merge_patch_of_a_large_map_sets_and_removes_its_members)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val doc = val_map(), patch = val_map(), out;
    struct err err = ERR;
    for (int i = 0; i < LONG; i++) {
        struct str key = arena_fmt(&a, "k%d", i);
        val_append(&a, &doc, name_of(&a, key), val_int(i));
        val_append(&a, &patch, name_of(&a, key), i % 2 ? VAL_NONE : val_int(-i));
    }
    CHECK_OK(patch_merge(&a, &doc, &patch, &out, &err), err);
    CHECK_INT(out.n, LONG / 2);
    CHECK_INT(val_num(val_get_str(&out, S("k2468")), 0), -2468);
    CHECK(!val_get_str(&out, S("k2469")));
}

TEST(a_strategic_patch_of_a_large_map_leaves_one_in_which_all_is_found)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf text = STRBUF(1 << 16);
    struct val doc, patch, out;
    struct err err = ERR;
    strbuf_addz(&text, "{\"metadata\":{\"labels\":{");
    for (int i = 0; i < 200; i++)
        strbuf_addf(&text, "%s\"k%d\":\"%d\"", i ? "," : "", i, i);
    strbuf_addz(&text, "}}}");
    CHECK(json_decode(&a, strbuf_str(&text), &doc, &err));
    CHECK(json_decode(&a, S("{\"metadata\":{\"labels\":{\"k3\":null,\"k9\":null}}}"), &patch, &err));
    CHECK_OK(patch_strategic(&a, T(core_v1_Pod), &doc, &patch, &out, &err), err);
    const struct val *labels = val_at(&out, N(metadata), N(labels));
    CHECK_INT(val_len(labels), 198);
    for (int i = 0; i < 200; i++)
        CHECK((val_get_str(labels, arena_fmt(&a, "k%d", i)) != NULL) == (i != 3 && i != 9));
}
