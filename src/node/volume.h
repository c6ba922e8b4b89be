/* volume.h - the volumes of a pod. A type of volume is a row of volume_types (volume.c); what is not a row is refused
 * with a sentence when the pod starts.
 *
 * Planning is pure: which files a volume holds (volume_payload). Doing is straight-line and blocking: a job. Volumes
 * with content are written beside the old content and swapped by one rename of `..data` (as kubelet's atomic writer
 * does), so a reader sees the old or the new state, never a mixture. They lie on a tmpfs of the node: secrets touch
 * no disk. */
#pragma once
#include "base/array.h"
#include "base/map.h"
#include "node/sources.h"

struct volume_file {
    struct str path; /* relative, checked: no "..", not absolute */
    struct str bytes;
    uint32_t mode;
    int64_t uid; /* its owner; -1: root */
};
/* What the files of a pod's volumes may come to: they lie in memory that is the node's. */
#define VOLUME_FILES_MOST (64 << 20)
struct volume_files {
    struct arena *arena;
    ARRAY(struct volume_file) list;
    struct map paths; /* to index + 1 */
};
void volume_files_fini(struct volume_files *f);
AUTO_VALUE(volume_files_fini, struct volume_files);

enum volume_place {
    VOLUME_DATA,   /* a folder of the pod on the node's disk */
    VOLUME_TMPFS,  /* a folder of the pod on the node's tmpfs, with files */
    VOLUME_MEMORY, /* a tmpfs of its own, mounted in the pod's mount namespace */
    VOLUME_HOST,   /* a path of the host, named by the user */
    VOLUME_MOUNT,  /* mounted for the pod: volume_mount.h */
    VOLUME_IMAGE,  /* the same, once a container that mounts it starts: volume_image.h */
};
struct volume_input {
    const struct sources *sources;
    const struct obj *pod;
    /* A token for the pod's service account, cached by the agent; E_UNAVAILABLE: asked for, comes with news. */
    bool (*token)(void *arg, const struct obj *pod, struct str audience, int64_t seconds, struct str *out,
                  struct err *err);
    void *arg;
    size_t *used; /* of VOLUME_FILES_MOST, by all volumes of the pod */
};
struct volume_type {
    const struct name *source; /* the member of core/v1 Volume */
    enum volume_place place;
    mode_t mode; /* of its root */
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
    mode_t mode;          /* of its root */
    bool read_only;       /* with a group of the pod's, its members read and do not write */
    int64_t fs_group;     /* -1: none */
};
MUST_USE bool volume_setup(const struct volume_work *w, struct err *err);
/* Bytes of a page of an emptyDir of medium HugePages or HugePages-SIZE; 0: it is none. False, in a kubelet's words:
 * the pod's containers do not say which it is, or the medium is none that is known. */
MUST_USE bool volume_page_size(const struct val *pod_spec, const struct val *volume, int64_t *bytes, struct err *err);
/* The mode of a folder that the pod's group has part in. */
mode_t volume_folder_mode(mode_t mode, bool read_only, int64_t fs_group);
/* Writes the payload if it differs from what is there; *changed says so. */
MUST_USE bool volume_write(const struct volume_work *w, bool *changed, struct err *err);
