#include "api/codec.h"
#include "base/test.h"
#include "server/boot.h"
#include "server/rbac.h"

static bool allows(const char *json, const char *verb, const char *group, const char *resource, const char *sub,
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
    CHECK(allows(pods, "get", "", "pods", "", "p"));
    CHECK(!allows(pods, "get", "", "pods", "log", "p"));
    CHECK(!allows(pods, "list", "", "pods", "", ""));
    CHECK(!allows(pods, "get", "apps", "pods", "", "p"));
    const char *scale = "{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*/scale\"]}";
    CHECK(allows(scale, "update", "apps", "deployments", "scale", "d"));
    CHECK(!allows(scale, "update", "apps", "deployments", "", "d"));
}

TEST(rbac_names_limit_a_rule_to_requests_that_have_one)
{
    const char *mine =
        "{\"verbs\":[\"*\"],\"apiGroups\":[\"\"],\"resources\":[\"configmaps\"],\"resourceNames\":[\"a\"]}";
    CHECK(allows(mine, "get", "", "configmaps", "", "a"));
    CHECK(!allows(mine, "get", "", "configmaps", "", "b"));
    CHECK(!allows(mine, "create", "", "configmaps", "", ""));
}

TEST(rbac_paths_match_whole_or_by_their_beginning)
{
    const char *paths = "{\"verbs\":[\"get\"],\"nonResourceURLs\":[\"/healthz\",\"/apis/*\"]}";
    CHECK(allows(paths, "get", "", "", "", "/healthz"));
    CHECK(!allows(paths, "get", "", "", "", "/healthz/ping"));
    CHECK(allows(paths, "get", "", "", "", "/apis/apps"));
    CHECK(!allows(paths, "post", "", "", "", "/apis/apps"));
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
