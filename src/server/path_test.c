#include "base/test.h"
#include "server/path.h"

static void path_check(const char *method, const char *path, const char *want)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct path_info p;
    CHECK(path_parse(&a, str_of(method), str_of(path), &p));
    struct str have = p.is_resource ? arena_fmt(&a,
                                                "%s " STR_FMT "/" STR_FMT " " STR_FMT " " STR_FMT "/" STR_FMT
                                                "/" STR_FMT "|" STR_FMT "%s",
                                                p.verb, STR_ARG(p.group), STR_ARG(p.version), STR_ARG(p.resource),
                                                STR_ARG(p.ns), STR_ARG(p.name), STR_ARG(p.sub), STR_ARG(p.rest),
                                                p.in_namespace ? " there" : "")
                                    : arena_fmt(&a, "path %s", p.verb);
    CHECK_STR(have, str_of(want));
}

TEST(path_tells_verb_and_names)
{
    path_check("GET", "/api/v1/pods", "list /v1 pods //|");
    path_check("GET", "/api/v1/namespaces/a/pods/", "list /v1 pods a//| there");
    path_check("GET", "/api/v1/namespaces/a/pods/p/proxy/x/y", "get /v1 pods a/p/proxy|x/y there");
    path_check("PUT", "/api/v1/namespaces/a/finalize", "update /v1 namespaces a/a/finalize|");
    path_check("DELETE", "/api/v1/namespaces/a", "delete /v1 namespaces a/a/|");
    path_check("DELETE", "/apis/apps/v1/namespaces/a/deployments", "deletecollection apps/v1 deployments a//| there");
    path_check("PATCH", "/apis/apps/v1/namespaces/a/deployments/d/scale",
               "patch apps/v1 deployments a/d/scale| there");
    path_check("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
               "get rbac.authorization.k8s.io/v1 clusterroles /system:node/|");
    path_check("GET", "/api/v1/watch/namespaces/a/pods", "watch /v1 pods a//| there");
    path_check("DELETE", "/api/v1/namespaces/a/namespaces/b", "delete /v1 namespaces a/b/| there");
    path_check("GET", "/api/v1/watch/namespaces/a", "watch /v1 namespaces a/a/|");
    path_check("POST", "/api/v1/watch/namespaces/a/pods/p/proxy/x", "watch /v1 pods a/p/proxy|x there");
    path_check("GET", "/apis/apps/v1", "path get");
    path_check("GET", "/healthz", "path get");
    path_check("OPTIONS", "/", "path ");
}
