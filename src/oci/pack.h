/* pack.h - makes an OCI archive (image-layout in a tar) of one layer from files of this machine: reproducible (fixed
 * times, owner 0:0, sorted), uncompressed. Blocking. For the demo build and `wherry image pack`. */
#pragma once
#include "oci/image.h"

struct oci_pack_file {
    const char *to;   /* path in the image, without the leading '/' */
    const char *from; /* file of this machine; NULL: a folder, or a symbolic link with `link` */
    const char *link;
    unsigned mode; /* 0: that of `from`, 0755 for folders */
};
struct oci_pack {
    struct str name;  /* normalised or short; written as its full name */
    const char *root; /* folder that becomes the root of the image; NULL: only files */
    const struct oci_pack_file *files;
    size_t nfiles; /* files added to (or over) the root; missing folders are made, 0755 */
    struct strs entrypoint, cmd, env, ports, labels;
    struct str user, workdir, stop_signal;
};
MUST_USE bool oci_pack(const struct oci_pack *p, const char *out, struct err *err);
