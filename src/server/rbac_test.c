#include "api/codec.h"
#include "base/clock.h"
#include "base/test.h"
#include "server/boot.h"
#include "server/rbac.h"

static bool role_allows(const char *json, const char *verb, const char *group, const char *resource, const char *sub,
                        const char *name)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val rule;
    struct err err = ERR;
    CHECK_OK(json_decode(&a, str_of(json), &rule, &err), err);
    struct attributes x = {.is_resource = *resource,
                           .verb = str_of(verb),
                           .group = str_of(group),
                           .resource = str_of(resource),
                           .sub = str_of(sub),
                           .name = str_of(name),
                           .path = str_of(name)};
    return rule_matches(&rule, &x);
}

TEST(rbac_a_rule_for_the_resource_does_not_open_its_subresources)
{
    const char *pods = "{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"]}";
    CHECK(role_allows(pods, "get", "", "pods", "", "p"));
    CHECK(!role_allows(pods, "get", "", "pods", "log", "p"));
    CHECK(!role_allows(pods, "list", "", "pods", "", ""));
    CHECK(!role_allows(pods, "get", "apps", "pods", "", "p"));
    const char *scale = "{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*/scale\"]}";
    CHECK(role_allows(scale, "update", "apps", "deployments", "scale", "d"));
    CHECK(!role_allows(scale, "update", "apps", "deployments", "", "d"));
}

TEST(rbac_names_limit_a_rule_to_requests_that_have_one)
{
    const char *mine =
        "{\"verbs\":[\"*\"],\"apiGroups\":[\"\"],\"resources\":[\"configmaps\"],\"resourceNames\":[\"a\"]}";
    CHECK(role_allows(mine, "get", "", "configmaps", "", "a"));
    CHECK(!role_allows(mine, "get", "", "configmaps", "", "b"));
    CHECK(!role_allows(mine, "create", "", "configmaps", "", ""));
}

TEST(rbac_paths_match_whole_or_by_their_beginning)
{
    const char *paths = "{\"verbs\":[\"get\"],\"nonResourceURLs\":[\"/healthz\",\"/apis/*\"]}";
    CHECK(role_allows(paths, "get", "", "", "", "/healthz"));
    CHECK(!role_allows(paths, "get", "", "", "", "/healthz/ping"));
    CHECK(role_allows(paths, "get", "", "", "", "/apis/apps"));
    CHECK(!role_allows(paths, "post", "", "", "", "/apis/apps"));
}

static struct val json_val(struct arena *a, struct str json)
{
    struct val v;
    struct err err = ERR;
    CHECK_OK(json_decode(a, json, &v, &err), err);
    return v;
}

static void random_list(struct strbuf *b, const char *field, const char *const *texts, size_t n, size_t least)
{
    strbuf_addf(b, "\"%s\":[", field);
    size_t k = least + random_below(3);
    for (size_t i = 0; i < k; i++)
        strbuf_addf(b, "%s\"%s\"", i ? "," : "", texts[random_below(n)]);
    strbuf_addz(b, "]");
}

static void random_rules(struct strbuf *b, size_t n)
{
    static const char *const verbs[] = {"get", "list", "watch", "create", "*"}, *const groups[] = {"", "apps", "*"},
                             *const resources[] = {"pods", "pods/log", "*/log", "jobs", "*"},
                             *const some_names[] = {"x", "y", ""}, *const urls[] = {"/a", "/a/*", "/a/b", "*", "/c*"};
    strbuf_addz(b, "[");
    for (size_t i = 0; i < n; i++) {
        strbuf_addz(b, i ? ",{" : "{");
        random_list(b, "verbs", verbs, countof(verbs), 1);
        strbuf_addz(b, ",");
        if (random_below(4) == 0) {
            random_list(b, "nonResourceURLs", urls, countof(urls), 1);
        } else {
            random_list(b, "apiGroups", groups, countof(groups), 1);
            strbuf_addz(b, ",");
            random_list(b, "resources", resources, countof(resources), 1);
            strbuf_addz(b, ",");
            random_list(b, "resourceNames", some_names, countof(some_names), 0);
        }
        strbuf_addz(b, "}");
    }
    strbuf_addz(b, "]");
}

static bool list_has(const struct val *list, struct str s, bool all)
{
    val_each_item (it, list)
        if (str_eq(val_text(it), s) || (all && str_eqz(val_text(it), "*")))
            return true;
    return false;
}

static bool has_url(const struct val *list, struct str s)
{
    val_each_item (it, list) {
        struct str u = val_text(it);
        if (str_eq(u, s) || (u.n && u.p[u.n - 1] == '*' && str_starts(s, str_sub(u, 0, u.n - 1))))
            return true;
    }
    return false;
}

static bool has_resource(const struct val *list, struct str s)
{
    struct str head, tail;
    if (list_has(list, s, true))
        return true;
    if (!str_split(s, '/', &head, &tail))
        return false;
    val_each_item (it, list)
        if (str_starts(val_text(it), S("*/")) && str_eq(str_sub(val_text(it), 2, val_text(it).n), tail))
            return true;
    return false;
}

/* The slow way: everything multiplied out. */
static bool all_covered(const struct val *own, const struct val *rules)
{
    static const struct val none = {.type = VAL_STRING, .s = ""};
    static const struct val no_name = {.type = VAL_LIST, .n = 1, .list = (struct val *)(uintptr_t)&none};
    val_each_item (rule, rules) {
        const struct val *only_for = val_get(rule, N(resourceNames));
        val_each_item (verb, val_get(rule, N(verbs))) {
            val_each_item (url, val_get(rule, N(nonResourceURLs))) {
                bool ok = false;
                val_each_item (o, own)
                    ok |= list_has(val_get(o, N(verbs)), val_text(verb), true) &&
                          has_url(val_get(o, N(nonResourceURLs)), val_text(url));
                if (!ok)
                    return false;
            }
            val_each_item (group, val_get(rule, N(apiGroups)))
                val_each_item (resource, val_get(rule, N(resources)))
                    val_each_item (name, val_len(only_for) ? only_for : &no_name) {
                        bool ok = false;
                        val_each_item (o, own) {
                            const struct val *only = val_get(o, N(resourceNames));
                            ok |= list_has(val_get(o, N(verbs)), val_text(verb), true) &&
                                  list_has(val_get(o, N(apiGroups)), val_text(group), true) &&
                                  has_resource(val_get(o, N(resources)), val_text(resource)) &&
                                  (!val_len(only) || (val_text(name).n && list_has(only, val_text(name), false)));
                        }
                        if (!ok)
                            return false;
                    }
        }
    }
    return true;
}

TEST(rbac_nobody_hands_out_more_than_they_have)
{
    size_t yes = 0, no = 0;
    int64_t end = clock_mono() + 20 * NS_PER_S; /* a busy machine does fewer */
    for (int i = 0; i < 5000 && clock_mono() < end; i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        AUTO(strbuf_fini)
        struct strbuf own = STRBUF(STRBUF_TEXT), rules = STRBUF(STRBUF_TEXT), missing = STRBUF(STRBUF_TEXT);
        random_rules(&own, 1 + random_below(80)); /* also more than fit into one word of a set */
        random_rules(&rules, 1 + random_below(2));
        struct val have = json_val(&a, strbuf_str(&own)), give = json_val(&a, strbuf_str(&rules));
        bool ok = rbac_covered_by(&a, &have, &give, &missing);
        if (ok != all_covered(&have, &give))
            CHECK(!"as the slow way says");
        CHECK(ok == !missing.n);
        yes += ok;
        no += !ok;
    }
    CHECK(yes > (yes + no) / 20 && no > (yes + no) / 20);
}

/* 100 groups x 100 resources x 120 verbs took two minutes; now nothing is multiplied out. */
TEST(rbac_large_rules_to_hand_out_are_compared_in_no_time)
{
    for (int granted = 0; granted < 3; granted++) {
        AUTO(arena_fini) struct arena a = ARENA;
        AUTO(strbuf_fini) struct strbuf b = STRBUF(8 << 20), missing = STRBUF(STRBUF_TEXT);
        static const char *const fields[] = {"verbs", "apiGroups", "resources", "resourceNames"};
        strbuf_addz(&b, "[{");
        for (size_t f = 0; f < countof(fields); f++) {
            strbuf_addf(&b, "%s\"%s\":[", f ? "," : "", fields[f]);
            for (int i = 0; i < 20000; i++)
                strbuf_addf(&b, "%s\"t%d\"", i ? "," : "", i);
            strbuf_addz(&b, "]");
        }
        strbuf_addz(&b, "}]");
        struct val give = json_val(&a, strbuf_str(&b));
        struct val have = granted == 0 ? val_list()
                          : granted == 1
                              ? give
                              : json_val(&a, S("[{\"verbs\":[\"t7\"],\"apiGroups\":[\"*\"],"
                                               "\"resources\":[\"*\",\"t3\"],\"resourceNames\":[\"t1\"]}]"));
        int64_t start = clock_thread_cpu();
        CHECK(rbac_covered_by(&a, &have, &give, &missing) == (granted == 1));
        CHECK(clock_thread_cpu() - start < 2 * NS_PER_S); /* of seconds under a sanitizer, not of minutes */
        CHECK(missing.n < STRBUF_TEXT && !missing.over);
    }
}

TEST(rbac_every_line_of_the_bootstrap_table_makes_a_whole_object)
{
    AUTO(arena_fini) struct arena a = ARENA;
    const struct kind *k;
    struct str ns;
    struct val v;
    size_t n = 0;
    for (; rbac_boot_next(&a, n, &k, &ns, &v); n++) {
        CHECK(val_text_at(&v, N(metadata), N(name)).n);
        const struct val *rules = val_get(&v, N(rules));
        if (k == K(ClusterRoleBinding)) {
            CHECK(val_text_at(&v, N(roleRef), N(name)).n && val_len(val_get(&v, N(subjects))));
            continue;
        }
        CHECK(val_len(rules));
        val_each_item (r, rules) {
            CHECK(val_len(val_get(r, N(verbs))));
            CHECK(val_len(val_get(r, N(nonResourceURLs))) ||
                  (val_len(val_get(r, N(apiGroups))) && val_len(val_get(r, N(resources)))));
        }
    }
    CHECK(n > 100);
}
