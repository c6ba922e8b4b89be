/* binds.h - mounts whose source lies where strangers write. A name there may mean something else each time it is
 * used: it is resolved once, to a descriptor, and what was resolved is what is mounted. */
#pragma once
#include "base/err.h"

/* Read-only before the runtime sees it, and so whatever becomes of that one's own remount: the runtime finds a mount
 * again by its place in the container, which may lie in a folder in which others exchange names meanwhile. */
enum oci_seal { OCI_OPEN, OCI_SEALED, OCI_SEALED_DEEP /* with all that is mounted below */ };

/* A place in a sealed one where something else is to be mounted: it must be there before, as the runtime could not
 * make it (kubelet: nestedvolumes.go). */
struct oci_inner {
    struct str path; /* relative to the sealed one */
    struct str root,
        beneath; /* what is mounted there, as of a bind: a file, or (also where root is empty) a folder */
};

struct oci_bind {
    struct str root;    /* absolute path of the host */
    struct str beneath; /* relative to root, without "..": strangers may have put links there, which are followed
                           within root and never out of it. Folders that are missing are made, with root's mode */
    bool shared;        /* taken from the host's own mounts: what is mounted in it comes out there */
    enum oci_seal seal;
    bool ids; /* its owners are seen as the pod's user namespace has them (an idmapped mount) */
    const struct oci_inner *inner;
    size_t ninner;
    struct str called; /* how errors name it: volumeMount "v" of container "c" */
};

/* Mounts each at FOLDER/INDEX in the mount namespace `mntns`, where FOLDER is nobody's but ours; it goes away with
 * its mounts. E_INVALID: it leads out of its root or cannot be made there (the log says why: strangers are told
 * nothing of the host), there is nothing to be shared with, or its file system cannot be idmapped. users: the user
 * namespace for those with `ids`; -1: there are none. Blocking: for a job. */
MUST_USE bool binds_attach(int mntns, int users, const char *folder, const struct oci_bind *list, size_t n,
                           struct err *err);
