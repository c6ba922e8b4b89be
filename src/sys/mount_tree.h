/* mount_tree.h - folders with the mounts in them: whether these are shared with who has the folder mounted, and all
 * of them at once. Blocking; needs CAP_SYS_ADMIN. */
#pragma once
#include "base/err.h"

/* What is mounted in the folder from now on comes out where the folder is mounted, and what is mounted there comes
 * out here: where that is not so already, the folder becomes a mount of itself that is shared. */
MUST_USE bool mount_make_shared(const char *folder, struct err *err);
/* Takes away every mount below the folder, those made last first, lazily; and one of the folder itself, where
 * mount_make_shared made it. */
MUST_USE bool mount_remove_below(const char *folder, struct err *err);

/* Pure: one line of mountinfo(5). False: it is none. Its escapes are resolved; texts in the arena. */
struct mount_line {
    struct str root, at; /* of the file system; in this namespace */
    bool shared;
};
MUST_USE bool mount_line_read(struct arena *a, struct str line, struct mount_line *out);
/* Whether the path lies on what another machine serves, as df -l tells them apart: by what is mounted there, so that
 * one that does not answer is not asked. Links in the path are not followed. */
bool mount_is_remote(struct str path);
