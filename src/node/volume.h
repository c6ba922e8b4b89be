/* volume.h - the volumes of a pod. A type of volume is a row of volume_types (volume.c); what is not a row is refused
 * with a sentence when the pod starts.
 *
 * Planning is pure: which files a volume holds (volume_payload). Doing is straight-line and blocking: a job. Volumes
 * with content are written beside the old content and swapped by one rename of `..data` (as kubelet's atomic writer
 * does), so a reader sees the old or the new state, never a mixture. They lie on a tmpfs of the node: secrets touch
 * no disk. */
#pragma once
#include "base/array.h"
#include "node/sources.h"

struct volume_file {
    struct str path; /* relative, checked: no "..", not absolute */
    struct str bytes;
    uint32_t mode;
};
struct volume_files {
    struct arena *arena;
    ARRAY(struct volume_file) list;
};
void volume_files_fini(struct volume_files *f);
AUTO_VALUE(volume_files_fini, struct volume_files);

enum volume_place {
    VOLUME_DATA,   /* a folder of the pod on the node's disk */
    VOLUME_TMPFS,  /* a folder of the pod on the node's tmpfs, with files */
    VOLUME_MEMORY, /* a tmpfs of its own, mounted in the pod's mount namespace */
    VOLUME_HOST,   /* a path of the host, named by the user */
};
struct volume_input {
    const struct sources *sources;
    const struct obj *pod;
    /* A token for the pod's service account, cached by the agent; E_UNAVAILABLE: asked for, comes with news. */
    bool (*token)(void *arg, const struct obj *pod, struct str audience, int64_t seconds, struct str *out,
                  struct err *err);
    void *arg;
};
struct volume_type {
    const struct name *source; /* the member of core/v1 Volume */
    enum volume_place place;
    /* The files it holds now; NULL: none. E_UNAVAILABLE: not all is heard of yet. */
    bool (*payload)(struct volume_files *out, const struct volume_input *in, const struct val *volume,
                    struct err *err);
};
/* The row, or NULL with E_NOT_IMPLEMENTED naming the volume and the types there are. */
const struct volume_type *volume_type_of(const struct val *volume, struct err *err);
MUST_USE bool volume_payload(struct volume_files *out, const struct volume_input *in, const struct val *volume,
                             struct err *err);

/* One volume as the job sees it: plain data, no objects. */
struct volume_work {
    struct str name;
    enum volume_place place;
    struct str path; /* absolute, of the host */
    struct volume_files files;
    struct str host_type; /* hostPath: "", Directory, DirectoryOrCreate, File ... */
    int64_t size_limit;   /* emptyDir; 0: none */
    int64_t fs_group;     /* -1: none */
};
MUST_USE bool volume_setup(const struct volume_work *w, struct err *err);
/* Writes the payload if it differs from what is there; *changed says so. */
MUST_USE bool volume_write(const struct volume_work *w, bool *changed, struct err *err);
