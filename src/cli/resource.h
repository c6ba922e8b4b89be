/* resource.h - what the server has (aggregated discovery), and what a person names: "po", "deploy/web",
 * "deployments.apps", "pods,services". */
#pragma once
#include "api/type.h"
#include "cli/connect.h"

struct resource {
    struct str group, version, api_version, kind, plural, singular;
    const struct val *shorts, *categories, *verbs; /* lists of texts */
    bool namespaced;
    const struct type *type; /* of its objects; NULL: not built in */
};
MUST_USE bool resources_load(struct client *c, struct err *err); /* once; later calls do nothing */
/* A word: plural, singular, short name or kind, alone or as NAME.GROUP or NAME.VERSION.GROUP; case does not count. */
MUST_USE bool resource_find(struct client *c, struct str word, const struct resource **out, struct err *err);
MUST_USE bool resource_of_kind(struct client *c, struct str api_version, struct str kind, const struct resource **out,
                               struct err *err);
bool resource_has(const struct val *list, struct str word);
/* "/apis/apps/v1/namespaces/NS/deployments/NAME/SUB"; ns "": of all namespaces; name and sub may be "". */
struct str resource_path(struct arena *a, const struct resource *r, struct str ns, struct str name, struct str sub);
/* "deployment.apps/web" */
struct str resource_label(struct arena *a, const struct resource *r, struct str name);

/* What the words after a verb name. name "": all (or those that a selector chooses). */
struct target {
    const struct resource *resource;
    struct str name;
    struct str ns; /* p NULL: that of the command (target_ns) */
};
struct targets {
    struct target *p;
    size_t n;
    bool slashed; /* RESOURCE/NAME: each stands alone */
    size_t kinds; /* how many resources were named; a category counts as several */
};
/* "pods", "pods web api", "pod/web svc/web", "pods,svc", "all". */
MUST_USE bool targets_read(struct client *c, struct words words, struct targets *out, struct err *err);
/* Where a target is: its resource's namespace or "" for cluster-wide ones. */
struct str target_ns(const struct client *c, const struct resource *r);
