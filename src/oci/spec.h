/* spec.h - everything a container is, as data, and its OCI runtime-spec config.json. Pure. All memory is the
 * caller's (an arena); texts need no terminating NUL. */
#pragma once
#include "oci/binds.h"
#include "oci/image.h"

enum oci_seccomp { OCI_SECCOMP_DEFAULT, OCI_SECCOMP_UNCONFINED };
enum { OCI_NS_PID, OCI_NS_NET, OCI_NS_IPC, OCI_NS_UTS, OCI_NS_MOUNT, OCI_NS_CGROUP, OCI_NS_N };
enum oci_propagation { OCI_PRIVATE, OCI_SLAVE, OCI_SHARED };
enum oci_ns_mode { OCI_NS_NEW, OCI_NS_HOST, OCI_NS_PATH };

struct oci_mount {
    struct str type;   /* "bind", "tmpfs", ... */
    struct str source; /* absolute for binds */
    struct str target; /* absolute, in the container */
    struct strs options;
    struct str beneath; /* of a bind: only this of the source, where strangers may write (binds.h) */
    bool shared;        /* of a bind: what the container mounts in it is to be seen by the host */
    enum oci_seal seal; /* of a bind: read-only whatever else happens (binds.h) */
    struct str called;  /* of a bind with one of these: how errors name it */
    bool relabel;       /* of a bind: all of the source gets the container's label of files first */
};
struct oci_device {
    struct str path;
    char type; /* 'c' or 'b' */
    int64_t major, minor;
    uint32_t mode, uid, gid;
    struct str access; /* "rwm" */
};
struct oci_rlimit {
    struct str type; /* "RLIMIT_NOFILE" */
    uint64_t soft, hard;
};
struct oci_hugepage {
    struct str size; /* "2MB", "1GB": as the cgroup files say it */
    uint64_t bytes;
};
/* 0 is "not set" everywhere. Sources: core/v1 ResourceRequirements; kubelet's cm/helpers_linux.go for the sums. */
struct oci_limits {
    uint64_t cpu_shares;    /* cgroup v1 scale, 2..262144 */
    int64_t cpu_quota_us;   /* per period; at least 1000 */
    uint64_t cpu_period_us; /* 0: 100000 */
    int64_t memory;         /* bytes */
    int64_t pids;
    struct str cpuset, mems; /* empty: the parent's */
    const struct oci_hugepage *hugepages;
    size_t nhugepages;
};

struct oci_container {
    struct strs args, env;
    struct str cwd; /* empty: "/" */
    uint32_t uid, gid;
    const uint32_t *groups;
    size_t ngroups;
    uint64_t capabilities; /* bit n: capability n of linux/capability.h */
    bool ambient;          /* also as ambient capabilities */
    bool no_new_privileges, read_only_root, privileged, terminal;
    struct strs masked, read_only; /* paths; none when privileged */
    const struct oci_mount *mounts;
    size_t nmounts;
    struct strs volumes; /* folders of the image that stay writable under a read-only root; they are mounts as well,
                            of oci_volume_source(their index). Clean paths */
    const struct oci_device *devices; /* beyond the usual ones */
    size_t ndevices;
    enum oci_propagation propagation; /* the most that a mount asks for */
    enum oci_seccomp seccomp;
    struct str apparmor;                   /* a profile that is loaded; empty: as the runtime is */
    struct str process_label, mount_label; /* of SELinux: its processes, its files; empty: as the runtime is, none */
    struct str seccomp_profile; /* a profile of the user's (Localhost), absolute path; empty: the default one */
    enum oci_ns_mode ns[OCI_NS_N];
    struct str ns_path[OCI_NS_N]; /* for OCI_NS_PATH */
    struct str hostname;          /* only with a UTS namespace of its own */
    struct strs sysctls;          /* "key=value"; only with namespaces of its own */
    int oom_score_adj;
    bool has_oom_score_adj;
    const struct oci_rlimit *rlimits;
    size_t nrlimits;
    struct oci_limits limits;
    struct strs annotations; /* "key=value" */
    /* Filled in by the runtime (runtime.h). */
    struct str user_ns; /* path of the pod's user namespace; empty: the host's users */
    uint32_t first_id;  /* OCI_IDS ids of the host from here on are 0 and up in it */
    bool other_runtime; /* not crun: groups, devices and seccomp are for it to set up */
    struct str cgroup;  /* for such a one: path from the root of the hierarchy */
    struct str seccomp_json;
};
#define OCI_IDS 65536 /* that a pod with users of its own has */

/* The mounts of c that need binds_attach: their sources become FOLDER/0 ... in that order. */
struct oci_bind;
size_t oci_binds_place(struct oci_container *c, struct arena *a, const char *folder, struct oci_bind **out);

/* Bits of capabilities. */
#define OCI_CAP(n)       (1ULL << (n))
#define OCI_CAPS_DEFAULT 0xa80425fbULL        /* the 14 of containerd and CRI-O */
uint64_t oci_caps_all(void);                  /* what this process itself has to give */
bool oci_cap_find(struct str name, int *bit); /* "NET_ADMIN", "CAP_NET_ADMIN"; case ignored */
const char *oci_cap_name(int bit);            /* "CAP_CHOWN"; NULL above the last */

/* A container as Kubernetes starts one: default capabilities, masked and read-only paths, /proc /dev /sys ..., new
 * pid, mount and cgroup namespaces. shm: host path bound to /dev/shm; empty: a tmpfs of its own. */
void oci_container_defaults(struct oci_container *c, struct arena *a, struct str shm);
/* How a pod's /dev/shm is bound. */
struct strs oci_shm_options(struct arena *a);
/* The source of a mount of oci_container.volumes, and what the runtime makes of it: FOLDER/I. */
struct str oci_volume_source(struct arena *a, size_t i);
void oci_volumes_place(struct oci_container *c, struct arena *a, const char *folder);
/* privileged: all capabilities and devices, no masks, no seccomp, writable /sys. */
void oci_container_privileged(struct oci_container *c, struct arena *a);

/* What was taken down to what this process may give: each a sentence for an event. */
struct oci_notices {
    struct str list[4];
    size_t n;
};
/* seccomp_bpf: base64 of the compiled filter (seccomp.h), empty: none. rootfs: absolute path.
 * INVALID names the field. */
MUST_USE bool oci_container_json(struct oci_container *c, struct arena *a, struct str rootfs, struct str seccomp_bpf,
                                 struct strbuf *out, struct oci_notices *notices, struct err *err);
/* What an exec needs to know of its container: its process without args, kept as text. */
void oci_exec_base(const struct oci_container *c, struct strbuf *out);
/* process.json of an exec: same user, capabilities and environment; a terminal (NULL: none) adds TERM=xterm, as
 * upstream does, and says its size, which crun sets about when the program starts. */
struct oci_terminal {
    uint16_t rows, columns; /* 0: not known */
};
void oci_exec_json(struct str base, struct strs args, const struct oci_terminal *t, struct strbuf *out);
