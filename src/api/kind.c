#include "api/kind.h"

/* 70 rows: a walk that compares lengths first is as fast as a table. */
const struct kind *kind_find(struct str group, struct str version, struct str kind)
{
    for (size_t i = 0; i < nkinds; i++)
        if (str_eq(kinds[i]->kind, kind) && str_eq(kinds[i]->version, version) && str_eq(kinds[i]->group, group))
            return kinds[i];
    return NULL;
}

const struct kind *kind_find_plural(struct str group, struct str version, struct str plural)
{
    for (size_t i = 0; i < nkinds; i++)
        if (str_eq(kinds[i]->plural, plural) && str_eq(kinds[i]->version, version) && str_eq(kinds[i]->group, group))
            return kinds[i];
    return NULL;
}

const struct kind *kind_of_api_version(struct str api_version, struct str kind)
{
    for (size_t i = 0; i < nkinds; i++)
        if (str_eq(kinds[i]->kind, kind) && str_eq(kinds[i]->api_version, api_version))
            return kinds[i];
    return NULL;
}

static const struct type *root_lookup(struct str api_version, struct str kind)
{
    size_t lo = 0, hi = nroot_types;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int c = str_cmp(str_of(root_types[mid].api_version), api_version);
        if (!c)
            c = str_cmp(str_of(root_types[mid].kind), kind);
        if (!c)
            return root_types[mid].type;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

const struct type *root_type_find(struct str api_version, struct str kind)
{
    const struct type *t = root_lookup(api_version, kind);
    /* options and watch events are registered in every group and version, the unversioned types in core */
    if (!t && (str_eqz(api_version, "v1") || str_eqz(kind, "WatchEvent") ||
               (str_ends(kind, S("Options")) && !str_eqz(kind, "TableOptions"))))
        t = root_lookup(S("meta.k8s.io/v1"), kind);
    return t;
}
