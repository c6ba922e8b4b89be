/* flex.h - drivers of FlexVolumes: programs at FOLDER/VENDOR~DRIVER/DRIVER that are called with a command, and answer
 * in JSON (kubelet: pkg/volume/flexvolume). Pure, but for the last two, which block. */
#pragma once
#include "api/obj.h"
#include "base/err.h"

/* "vendor/driver" as names of folders have it: "vendor~driver"; and back. */
struct str flex_escape(struct arena *a, struct str driver);
struct str flex_unescape(struct arena *a, struct str folder);

/* What it says at `init` that it can. */
struct flex_can {
    bool attach, relabel, metrics, group, resize;
};
struct flex_answer {
    struct flex_can can;
    struct str device; /* of attach and waitforattach */
    bool attached;     /* of isattached */
};
/* What a command printed, in the arena. E_NOT_IMPLEMENTED: the driver has it not, and what is usual is done instead.
 */
MUST_USE bool flex_answer_read(struct arena *a, const char *command, struct str said, struct flex_answer *out,
                               struct err *err);

struct flex_options {
    const struct val *source; /* FlexVolumeSource, FlexPersistentVolumeSource */
    struct str volume;        /* the PersistentVolume, or the pod's volume */
    bool read_only;
    const struct obj *pod;     /* of mount, as what follows; NULL: not told */
    int64_t fs_group;          /* -1: none */
    const struct val *secrets; /* data of its Secret; NULL: none */
};
/* As one JSON object of texts, ordered by their names. The volume's own options win. */
void flex_options_write(struct strbuf *b, const struct flex_options *o);

/* Where its program is. False: the name can be none's. */
MUST_USE bool flex_program(struct arena *a, const char *folder, struct str driver, struct str *path);
#define FLEX_SAID_MOST (1 << 20)        /* bytes that a call may print */
#define FLEX_CALL_MOST (10 * 60 * 1000) /* ms that it may take */
/* `args`: up to NULL, after the command. Answers as flex_answer_read; E_NOT_FOUND: there is no such program. */
MUST_USE bool flex_call(struct arena *a, struct str program, const char *command, const char *const *args,
                        struct flex_answer *out, struct err *err);
