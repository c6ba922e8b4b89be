/* warnings_volume.c - what is said of volumes and claims: types that are gone, paths that are one another's. */
#include "api/quantity.h"
#include "api/warnings_int.h"

void warn_old_volume(struct warnings *w, const struct val *source, const char *at, bool persistent)
{
    static const struct {
        const struct name *field;
        bool persistent; /* is told of PersistentVolumes, too */
        const char *text;
    } rows[] = {
        {N(photonPersistentDisk), true, "photonPersistentDisk: deprecated in v1.11, non-functional in v1.16+"},
        {N(gitRepo), false, "gitRepo: deprecated in v1.11, and disabled by default in v1.33+"},
        {N(scaleIO), true, "scaleIO: deprecated in v1.16, non-functional in v1.22+"},
        {N(flocker), false, "flocker: deprecated in v1.22, non-functional in v1.25+"},
        {N(storageos), true, "storageOS: deprecated in v1.22, non-functional in v1.25+"},
        {N(quobyte), false, "quobyte: deprecated in v1.22, non-functional in v1.25+"},
        {N(glusterfs), true, "glusterfs: deprecated in v1.25, non-functional in v1.26+"},
        {N(cephfs), true, "cephfs: deprecated in v1.28, non-functional in v1.31+"},
        {N(rbd), true, "rbd: deprecated in v1.28, non-functional in v1.31+"},
    };
    for (size_t i = 0; i < countof(rows); i++)
        if ((rows[i].persistent || !persistent) && is_set(val_get(source, rows[i].field)))
            warnings_add(w, "%s.%s", at, rows[i].text);
}

void warn_fraction(struct warnings *w, const struct val *resources, struct str resource, const char *at)
{
    struct str text = val_text(val_get_str(resources, resource));
    if (text.n > 0 && !quantity_whole(text))
        warnings_add(w, "%s[" STR_FMT "]: fractional byte value \"" STR_FMT "\" is invalid, must be an integer", at,
                     STR_ARG(resource), STR_ARG(text));
}

void warn_claim_spec(struct warnings *w, const struct val *spec, const char *at)
{
    warn_fraction(w, V(V(spec, resources), requests), S("storage"),
                  arena_fmt(w->arena, "%s.resources.requests", at).p);
    warn_fraction(w, V(V(spec, resources), limits), S("storage"), arena_fmt(w->arena, "%s.resources.limits", at).p);
}

/* --- paths: one that is another of its volume, or below it --- */

#define PATHS_COMPARED 64 /* with how many; a volume of more files is no mistake of a reader */

struct warned_path {
    struct str path, told; /* told: as it is quoted, with the source that it is from */
};
struct paths {
    struct str volume, what; /* "Projected", or of the one source */
    ARRAY(struct warned_path) list;
};

/* `source`: "" where the volume has one alone. */
static void warn_overlap(struct warnings *w, struct paths *paths, struct str source, struct str path)
{
    while (str_ends(path, S("/")))
        path.n--;
    struct warned_path own = {
        path, source.n ? arena_fmt(w->arena, "\"" STR_FMT "\" (" STR_FMT ")", STR_ARG(path), STR_ARG(source))
                       : arena_fmt(w->arena, "\"" STR_FMT "\"", STR_ARG(path))};
    struct str own_folder = arena_fmt(w->arena, STR_FMT "/", STR_ARG(path));
    for (size_t i = 0; path.n > 0 && i < paths->list.n && i < PATHS_COMPARED; i++) {
        const struct warned_path *other = &paths->list.p[i];
        struct str folder = arena_fmt(w->arena, STR_FMT "/", STR_ARG(other->path));
        if (other->path.n > 0 && (str_starts(folder, own_folder) || str_starts(own_folder, folder)))
            warnings_add(w, "volume \"" STR_FMT "\" (" STR_FMT "): overlapping paths: " STR_FMT " with " STR_FMT,
                         STR_ARG(paths->volume), STR_ARG(paths->what), STR_ARG(own.told), STR_ARG(other->told));
    }
    array_push(&paths->list, own);
}

static void warn_overlaps(struct warnings *w, struct paths *paths, struct str source, const struct val *items)
{
    each (item, items)
        warn_overlap(w, paths, source, TEXT(item, path));
}

static struct str what_of(struct warnings *w, const char *kind, struct str name)
{
    return arena_fmt(w->arena, "%s \"" STR_FMT "\"", kind, STR_ARG(name));
}

static void warn_projected(struct warnings *w, struct paths *paths, const struct val *projected)
{
    const struct val *source;
    each (s, V(projected, sources)) {
        if (is_set(source = V(s, configMap))) {
            warn_overlaps(w, paths, what_of(w, "ConfigMap", TEXT(source, name)), V(source, items));
        } else if (is_set(source = V(s, secret))) {
            warn_overlaps(w, paths, what_of(w, "Secret", TEXT(source, name)), V(source, items));
        } else if (is_set(source = V(s, downwardAPI))) {
            warn_overlaps(w, paths, S("DownwardAPI"), V(source, items));
        } else if (is_set(source = V(s, serviceAccountToken))) {
            warn_overlap(w, paths, S("ServiceAccountToken"), TEXT(source, path));
        } else if (is_set(source = V(s, clusterTrustBundle))) {
            struct str name = HAS(source, name) ? TEXT(source, name) : TEXT(source, signerName);
            warn_overlap(w, paths, what_of(w, "ClusterTrustBundle", name), TEXT(source, path));
        } else {
            warnings_add(w, "volume \"" STR_FMT "\" (Projected) has no sources provided", STR_ARG(paths->volume));
        }
    }
}

static void warn_one(struct warnings *w, struct str volume, struct str what, const struct val *items)
{
    struct paths paths = {.volume = volume, .what = what};
    warn_overlaps(w, &paths, S(""), items);
    array_fini(&paths.list);
}

static void warn_paths(struct warnings *w, const struct val *volume)
{
    struct str name = TEXT(volume, name);
    struct paths projected = {.volume = name, .what = S("Projected")};
    const struct val *map = V(volume, configMap), *secret = V(volume, secret), *api = V(volume, downwardAPI);
    warn_one(w, name, what_of(w, "ConfigMap", TEXT(map, name)), V(map, items));
    warn_one(w, name, what_of(w, "Secret", TEXT(secret, secretName)), V(secret, items));
    warn_one(w, name, S("DownwardAPI"), V(api, items));
    warn_projected(w, &projected, V(volume, projected));
    array_fini(&projected.list);
}

void warn_volumes(struct warnings *w, const struct val *volumes, const char *at)
{
    each (volume, volumes) {
        const struct val *claim = V(V(volume, ephemeral), volumeClaimTemplate);
        const char *path = arena_fmt(w->arena, "%sspec.volumes[%td]", at, INDEX(volumes, volume)).p;
        warn_old_volume(w, volume, path, false);
        if (is_set(claim))
            warn_claim_spec(w, V(claim, spec), arena_fmt(w->arena, "%s.ephemeral.volumeClaimTemplate.spec", path).p);
    }
    each (volume, volumes)
        warn_paths(w, volume);
}
