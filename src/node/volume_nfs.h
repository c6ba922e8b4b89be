/* volume_nfs.h - exports of NFS servers. Blocking, for jobs apart. */
#pragma once
#include "node/volume_mount.h"

/* By mount(8) without its helper, which is mount(2) in a process of its own: one that waits for a silent server can
 * be ended there. */
MUST_USE bool volume_nfs_mount(const struct volume_mount *m, const char *target, struct err *err);
/* What mount(2) is given: the options of the volume, the server's address and, where none is asked for, a version of
 * the protocol. Pure. False: an option is not one. */
MUST_USE bool volume_nfs_options(const struct volume_mount *m, const char *address, const char *version,
                                 struct strbuf *out, struct err *err);
/* "nfs" or "nfs4" by what the options say; *versioned: they say a version. Pure. */
bool volume_nfs_versioned(const struct volume_mount *m);
