/* podspec.h - from a pod's container to what the runtime runs (oci/spec.h). Pure. A field of the container is
 * honoured here or by the agent (probes, hooks, policies), or it is refused with a sentence. */
#pragma once
#include "node/env.h"
#include "oci/cgroup.h"
#include "oci/selinux.h"
#include "oci/spec.h"

struct podspec_input {
    const struct sources *sources;
    const struct obj *pod;
    const struct val *container;
    const struct image *image;
    struct env *env;     /* built by env_build; arguments are charged to it, HOME is added */
    const char *data;    /* /var/lib/wherry/node: profiles of seccomp lie below seccomp/ */
    struct str apparmor; /* the profiles of AppArmor that are loaded, as the kernel lists them; empty: it has none */
    const struct selinux_policy *selinux; /* NULL: the host has no SELinux */
    struct str pod_label;                 /* that its sandbox was made with (podspec_pod_label) */
    struct str shm;                       /* host path of the pod's /dev/shm; empty: own */
    struct str hosts_file, hostname_file, resolv_file, termination_file; /* host paths that are bound into it */
    pid_t
        target_pid; /* of an ephemeral container that is to see another's processes: a process of that one; 0: none */
    /* The host path of a volume of the pod by name; false: there is none. read_only: whatever the mount says. */
    bool (*volume_path)(void *arg, struct str name, struct str *path, bool *read_only);
    /* Whether the files of one are to have the label of the containers that mount it. */
    bool (*volume_relabel)(void *arg, struct str name);
    /* The device of one that is a block device. */
    bool (*volume_device)(void *arg, struct str name, struct oci_device *out, struct err *err);
    void *arg;
};
/* False: it cannot be made; err's text is the message of a CreateContainerConfigError. */
MUST_USE bool podspec_container(struct arena *a, const struct podspec_input *in, struct oci_container *out,
                                struct err *err);
/* A mount that is read-only with all that is mounted below it. Where it says Enabled it must be, and is: what the
 * kernel cannot do fails the container. */
bool podspec_deep(const struct val *mount);
/* A container's requests and limits as a cgroup's: shares from the CPU request, quota from the limit, memory from the
 * limit. whole: of the pod, for limits that `own` does not say; so what runs in it finds in its group what it may
 * use. Huge pages are podspec_hugepages'. */
void podspec_limits(const struct val *own, const struct val *whole, struct oci_limits *out);
/* The pod's group: what its containers have together or what is said for the pod as a whole, with its overhead. */
void podspec_pod_limits(const struct val *pod, struct oci_limits *out);
/* Limits of huge pages, by size: none is no page of that size. whole: of the pod, for what `own` does not name; NULL:
 * `own` is the pod's. */
void podspec_hugepages(struct arena *a, const struct val *own, const struct val *whole, struct oci_limits *out);
struct cgroup_bounds podspec_bounds(const struct oci_limits *limits);
uint64_t podspec_shares(int64_t milli);
int64_t podspec_milli_of_shares(uint64_t shares); /* thousandths of CPU that are asked for by them */
/* Not hostUsers: false. */
bool podspec_host_users(const struct obj *pod);
/* "guaranteed": "", else "burstable", "besteffort": the folder of the pod's cgroup. */
const char *podspec_qos_folder(const struct obj *pod);
/* Whether a container of it asks for a profile of AppArmor other than Unconfined. */
bool podspec_wants_apparmor(const struct obj *pod);
/* The profile of RuntimeDefault, which the node loads. */
#define APPARMOR_DEFAULT "wherry-default"
/* The label of SELinux of the pod's processes, where they say nothing themselves; empty: the policy (NULL: the host
 * has no SELinux) knows of none. taken: levels that other pods have. */
MUST_USE bool podspec_pod_label(struct arena *a, const struct selinux_policy *policy, const struct obj *pod,
                                bool (*taken)(void *arg, struct str level), void *arg, struct str *label,
                                struct err *err);
bool podspec_has_level(const struct obj *pod, struct str level); /* it or a container of it asks for that one */
/* The first of the pod's containers that mounts the volume: the one whose label the files get. */
bool podspec_is_first_with(const struct obj *pod, const struct val *container, struct str volume);
/* What the node does not do yet and a pod asks for: false with a sentence naming the field. */
MUST_USE bool podspec_supported(const struct obj *pod, struct err *err);
/* "name=value" for the namespaces of the pod. allowed: a setting, names and NAME* beside the safe ones, separated by
 * commas. False, in a kubelet's words (reason SysctlForbidden): one that is not allowed, or of a namespace that is
 * the host's. */
MUST_USE bool podspec_sysctls(struct arena *a, const struct obj *pod, struct str allowed, struct strs *out,
                              struct err *err);
/* Whether it is such a setting: of sysctls that are of the pod's namespaces alone. */
MUST_USE bool podspec_sysctls_check(struct str allowed, struct err *err);
/* What a pod calls itself. */
struct pod_hostname {
    struct str name;   /* without the domain */
    struct str domain; /* SUBDOMAIN.NS.svc.CLUSTER; empty: none */
    struct str kernel; /* what uname(2) and $HOSTNAME say: `name`, or with the domain (setHostnameAsFQDN) */
};
/* False: what the kernel is to say does not fit (64 characters); the others are set. */
MUST_USE bool podspec_hostname(struct arena *a, const struct obj *pod, struct str node_hostname,
                               struct str cluster_domain, struct pod_hostname *out, struct err *err);
