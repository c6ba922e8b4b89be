/* kind.h - what kinds there are: group, version, names, scope, verbs, subresources. One row a served resource; the
 * rows stand in kinds_gen.c. */
#pragma once
#include "api/type.h"

enum verb {
    VERB_GET = 1 << 0,
    VERB_LIST = 1 << 1,
    VERB_WATCH = 1 << 2,
    VERB_CREATE = 1 << 3,
    VERB_UPDATE = 1 << 4,
    VERB_PATCH = 1 << 5,
    VERB_DELETE = 1 << 6,
    VERB_DELETECOLLECTION = 1 << 7,
};

struct subresource {
    const char *name;                   /* "status", "scale", "binding" ... */
    const char *kind, *group, *version; /* of the body where it differs from the parent's; else NULL */
    unsigned verbs;
};

struct kind {
    struct str group, version;  /* core: "" */
    struct str kind, list_kind; /* "Pod", "PodList" */
    struct str plural, singular;
    struct str api_version;                             /* "v1", "apps/v1" */
    const char *const *short_names, *const *categories; /* NULL-terminated; NULL: none */
    const char *storage_hash;                           /* storageVersionHash of discovery; NULL: none */
    bool namespaced;
    unsigned verbs;
    const struct type *type, *list_type; /* ask kind_type, kind_list_type */
    const struct subresource *subs;
    size_t nsubs;
    const struct kind *storage; /* the kind as which it is stored; mostly itself (events.k8s.io -> core) */
    int id;                     /* dense, for tables beside this one */
    struct kind_live *live;     /* of one that came at run time (kindset.h); NULL: built in */
    const char *made_of;        /* of one that came at run time: another one where it was made of something else */
    struct custom *custom;      /* of one that a definition defines (custom.h) */
};
/* The types of an object and of a list of them. Those of a definition's kind are made from its schema when they are
 * asked for first (custom.h), and `type` and `list_type` above are NULL. Borrowed from the kind. Any thread. */
const struct type *custom_type(const struct kind *k);
const struct type *custom_list_type(const struct kind *k);
static inline const struct type *kind_type(const struct kind *k)
{
    return k->custom ? custom_type(k) : k->type;
}
static inline const struct type *kind_list_type(const struct kind *k)
{
    return k->custom ? custom_list_type(k) : k->list_type;
}
/* The built-in kinds, in discovery order, by id; NULL-terminated. What is served now, others beside them, is a struct
 * kind_set (kindset.h). */
extern const struct kind *const kinds[];
extern const size_t nkinds;
/* Of the built-in kinds. NULL: there is no such kind. */
const struct kind *kind_find(struct str group, struct str version, struct str kind);
const struct kind *kind_find_plural(struct str group, struct str version, struct str plural);
const struct kind *kind_of_api_version(struct str api_version, struct str kind);
/* The groups' versions in discovery order; core first. */
struct group_version {
    struct str group, version, api_version;
    int order;                            /* of the group; versions of one group share it */
    int group_priority, version_priority; /* as their APIServices have them */
    bool preferred;
};
extern const struct group_version group_versions[];
extern const size_t ngroup_versions;

extern const char kinds_hash[]; /* of all that the tables were made from */

/* Everything that may be the root of a body: kinds, their lists, options, reviews; sorted by apiVersion and kind. */
struct root_type {
    const char *api_version, *kind;
    const struct type *type;
};
extern const struct root_type root_types[];
extern const size_t nroot_types;
const struct type *root_type_find(struct str api_version, struct str kind); /* NULL: none */

/* K(Pod): the built-in kind by its C name: K(Pod), K(Deployment); where two groups have one, K(events_k8s_io_Event).
 */
#define K(name) (&kind_##name)
#include "api/kinds_gen.h"
extern const struct type types_builtin[TYPES_COUNT];
/* Types that are no resource but travel: Status, DeleteOptions, Table, Scale ... by C name, T(meta_v1_Status). */
#define T(name) (&type_##name)
