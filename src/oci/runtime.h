/* runtime.h - pods and containers for the node's loop: sandboxes (one shim each), containers, exec, attach.
 * Everything is asynchronous: a call starts something, its callback comes later from the loop, once. Blocking parts
 * run as jobs. Knows nothing of Kubernetes: a sandbox is a set of namespaces, mounts and a cgroup with containers in
 * it.
 *
 * What runs outlives this process: runtime_adopt finds it again from the state folder. `note` is the owner's own
 * text, kept beside sandbox and container and given back at adoption.
 *
 *   STATE/pods/SANDBOX/{sock,note,about,shm}            (STATE is on tmpfs: gone after a reboot)
 *   STATE/pods/SANDBOX/CONTAINER/{config.json,note,about,pid,error,status,rootfs,binds}
 *   DATA/containers/CONTAINER/{upper,work,lock,volumes}
 *
 * `about` is written last: a folder without one had not begun to be anything, and is thrown away.
 */
#pragma once
#include "oci/cgroup_stats.h"
#include "oci/seccomp.h"
#include "oci/spec.h"
#include "sys/loop.h"
#include <sys/types.h>

struct runtime;
struct sandbox;
struct container;

enum container_state { CONTAINER_CREATED, CONTAINER_STARTING, CONTAINER_RUNNING, CONTAINER_EXITED };
struct container_status {
    enum container_state state;
    pid_t pid; /* while it runs */
    int code;  /* exit code; 128 + signal */
    int signal;
    bool oom;                        /* killed for memory */
    bool lost;                       /* the shim died with it: the exit code (137) is a guess */
    int64_t started_ns, finished_ns; /* since 1970; 0: not yet */
};

struct runtime_events {
    void (*container_exited)(void *arg, struct container *c);
    void (*container_log_full)(void *arg, struct container *c); /* move the file away, then container_log_reopen */
    void (*sandbox_lost)(void *arg, struct sandbox *s);         /* its shim died; containers are marked lost */
};
struct runtime_config {
    struct loop *loop;
    const char *state;       /* /run/wherry: short, sockets live below it */
    const char *data;        /* /var/lib/wherry/node */
    const char *content;     /* the content store's folder */
    const char *shim, *crun; /* programs */
    const char *cgroup;      /* "/wherry-ID": everything of ours is below it */
    struct runtime_events on;
    void *arg;
};
/* Makes folders, detects cgroups, opens the content store and the seccomp cache. */
struct runtime *runtime_new(const struct runtime_config *config, struct err *err) MUST_USE;
void runtime_free(struct runtime *rt); /* leaves everything running; no callback comes any more */
AUTO_POINTER(runtime_free, struct runtime);
struct content *runtime_content(struct runtime *rt);
const struct cgroups *runtime_cgroups(const struct runtime *rt);

/* Finds what runs from before. False: it cannot be known, and nothing may be started. done: every sandbox is
 * connected (or reported lost) and can be walked. */
MUST_USE bool runtime_adopt(struct runtime *rt, void (*done)(void *arg), void *arg, struct err *err);
struct sandbox *sandbox_next(struct runtime *rt, struct sandbox *prev); /* NULL starts; NULL ends */
struct container *container_next(struct sandbox *s, struct container *prev);

/* ---- sandboxes ---- */
struct sandbox_spec {
    struct str id;       /* 64 hex digits, or any name of [a-z0-9-] up to 64 */
    struct str name;     /* "NS/POD": shown in the process list */
    struct str note;     /* up to 64 KiB */
    struct str hostname; /* empty: the host's */
    struct str cgroup;   /* the pod's group below config.cgroup: "/burstable/podUID"; made with these limits */
    struct oci_limits limits;
    bool host_net, host_ipc, host_pid, share_pid; /* share_pid: one pid namespace for all containers */
    struct strs sysctls;                          /* "key=value" */
    uint32_t shm_mib;                             /* 0: 64 */
    struct str program;                           /* an OCI runtime in place of crun: absolute path; empty: crun */
    uint32_t first_id; /* the host's id that is 0 in the pod's user namespace, OCI_IDS of them; 0: the host's users */
    struct str label;  /* of SELinux, one line: kept for who makes the pod's containers */
};
typedef void sandbox_done(struct sandbox *s, const struct err *err, void *arg); /* err NULL: it worked */

/* The sandbox exists from the call on; when it fails, it is freed after `done`. */
struct sandbox *sandbox_start(struct runtime *rt, const struct sandbox_spec *spec, sandbox_done *done, void *arg);
struct sandbox *sandbox_find(struct runtime *rt, struct str id);
struct str sandbox_id(const struct sandbox *s);
struct str sandbox_name(const struct sandbox *s);
struct str sandbox_note(const struct sandbox *s);
pid_t sandbox_pid(const struct sandbox *s); /* of the shim: /proc/PID/ns/{net,mnt,...}, /proc/PID/root/... */
bool sandbox_lost(const struct sandbox *s);
uint32_t sandbox_first_id(const struct sandbox *s);                   /* as in its spec */
struct str sandbox_label(const struct sandbox *s);                    /* the same */
struct str sandbox_shm(const struct sandbox *s);                      /* host path for oci_container_defaults */
int sandbox_netns(const struct sandbox *s, struct err *err) MUST_USE; /* a new descriptor; -1 */
void *sandbox_data(const struct sandbox *s);                          /* the owner's pointer */
void sandbox_data_set(struct sandbox *s, void *data);
/* mount(2) in the pod's mount namespace; target is a path of the host and must be there. */
void sandbox_mount(struct sandbox *s, const char *type, const char *source, const char *target, uint64_t flags,
                   const char *data, sandbox_done *done, void *arg);
/* Kills what runs, ends the shim, removes cgroups, mounts and folders. The sandbox is freed after `done`. */
void sandbox_stop(struct sandbox *s, sandbox_done *done, void *arg);

/* ---- containers ---- */
struct container_spec {
    struct str id;             /* 64 hex digits */
    struct str note;           /* up to 64 KiB */
    struct digest image;       /* manifest digest: claimed in the content store; layers come from its record */
    struct oci_container *oci; /* borrowed during the call; ns paths of the pod are filled in by the runtime */
    struct str log;            /* absolute path of the CRI log; its folder is made; empty: none */
    uint64_t log_max;          /* bytes until container_log_full; 0: never */
    bool stdin_open, stdin_once;
};
typedef void container_done(struct container *c, const struct err *err, void *arg);

/* Cgroup, bundle, root file system. When it fails, the container is freed after `done`. Notices (what had to be
 * clamped) can be asked of the container then. */
struct container *container_create(struct sandbox *s, const struct container_spec *spec, container_done *done,
                                   void *arg);
/* done: the program runs, or err says in crun's words why not (the container stays, as EXITED with code 128). */
void container_start(struct container *c, container_done *done, void *arg);
/* To the container's first process; SIGKILL goes to all of its cgroup. Not running: nothing happens. */
void container_kill(struct container *c, int signo);
/* Must not run; one that is being started is killed, and execs in it are. Removes mounts, cgroup, files; frees the
 * container after `done`. */
void container_remove(struct container *c, container_done *done, void *arg);
void container_log_reopen(struct container *c);
struct str container_id(const struct container *c);
struct str container_note(const struct container *c);
struct str container_log(const struct container *c);
struct container *container_find(struct runtime *rt, struct str id);
void container_status(const struct container *c, struct container_status *out);
const struct oci_notices *container_notices(const struct container *c);
void *container_data(const struct container *c);
void container_data_set(struct container *c, void *data);
/* Stats of one container or (container NULL) of the pod. Reads some kernel files: in a job if there are many. */
MUST_USE bool container_stats(const struct container *c, struct cgroup_stats *out, struct err *err);
MUST_USE bool sandbox_stats(const struct sandbox *s, struct cgroup_stats *out, struct err *err);
/* Their groups, for what is read (cgroup_stats.h) or changed (cgroup_bounds_...) in a job. */
const char *container_cgroup(const struct container *c);
const char *sandbox_cgroup(const struct sandbox *s);
/* What it has written lies below: its writable layer (upper), and folders that its image declares as volumes. */
struct str container_folder(const struct container *c, struct arena *a);

/* ---- exec and attach ---- */
struct exec;
struct exec_spec {
    struct strs args;
    bool terminal;
    uint16_t rows, columns; /* first size of the tty */
    int in, out, err;       /* without a terminal: the program's own; -1: /dev/null. Duplicated during the call */
};
struct exec_events {
    /* The program runs. With a terminal: own_master is the terminal's other side, the callee's to close; the size is
     * set on it (TIOCSWINSZ). Else -1. */
    void (*started)(void *arg, int own_master);
    /* Ended, or err: never ran (its text is crun's). Once, last. */
    void (*ended)(void *arg, int code, const struct err *err);
};
struct exec *container_exec(struct container *c, const struct exec_spec *spec, const struct exec_events *on,
                            void *arg);
void exec_kill(struct exec *x, int signo);
void exec_forget(struct exec *x); /* no callback comes any more; the program goes on */

/* The same for short programs whose output is wanted (probes): stdout and stderr together, up to 10 KiB; killed after
 * timeout_ns (err TIMEOUT). code -1 where err is set. */
void container_exec_output(struct container *c, struct strs args, int64_t timeout_ns,
                           void (*done)(void *arg, int code, struct str output, const struct err *err), void *arg);

/* The container's own stdio. Descriptors are duplicated; out and err get what is written from now on. done: the
 * attachment has ended (the container exited or all descriptors hung up). */
struct attach;
struct attach *container_attach(struct container *c, int in, int out, int err,
                                void (*done)(void *arg, const struct err *err), void *arg);
void attach_forget(struct attach *a);
void container_resize(struct container *c, uint16_t rows, uint16_t columns);
