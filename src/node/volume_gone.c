#include "node/volume_gone.h"

bool volume_is_gone(const struct val *source)
{
    static const struct name *const gone[] = {N(glusterfs), N(rbd),     N(cephfs),    N(flocker),
                                              N(quobyte),   N(scaleIO), N(storageos), N(photonPersistentDisk)};
    for (size_t i = 0; i < countof(gone); i++)
        if (val_get(source, gone[i]))
            return true;
    return false;
}

void volume_no_plugin(struct str name, struct err *err)
{
    (void)err_set(err, E_NOT_FOUND,
                  "failed to get Plugin from volumeSpec for volume \"" STR_FMT "\" err=no volume plugin matched",
                  STR_ARG(name));
}

bool volume_git_repo(struct arena *a, const struct val *volume, struct str *message)
{
    static const struct name *const texts[] = {N(repository), N(revision), N(directory)};
    const struct val *git = val_get(volume, N(gitRepo));
    struct str name = val_text_at(volume, N(name));
    if (!git)
        return false;
    *message = arena_fmt(a,
                         "MountVolume.SetUp failed for volume \"" STR_FMT
                         "\" : git-repo volume plugin has been disabled; if necessary, it may be re-enabled by "
                         "enabling the feature-gate `GitRepoVolumeDriver`",
                         STR_ARG(name));
    for (size_t i = countof(texts); i-- > 0;) { /* the first is told */
        struct str text = val_text(val_get(git, texts[i]));
        if (str_starts(text, S("-")))
            *message = arena_fmt(a,
                                 "MountVolume.NewMounter initialization failed for volume \"" STR_FMT
                                 "\" : \"" STR_FMT "\" is an invalid value for " STR_FMT,
                                 STR_ARG(name), STR_ARG(text), STR_ARG(texts[i]->s));
    }
    return true;
}
