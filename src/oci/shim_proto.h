/* shim_proto.h - what node and shim say to each other: one message per packet of a SOCK_SEQPACKET unix socket, a
 * fixed header and a fixed struct per operation, in the byte order of the machine. libc only: the shim includes it.
 *
 * A request is answered by one message with its seq and op. Events (seq 0) go to every connection that asked with
 * SHIM_WATCH. Texts are NUL-terminated. A shim outlives the programs above it, so an operation never changes: one
 * that should be otherwise gets a new number and SHIM_VERSION, which is in the header of every message, goes up. An
 * older shim goes on as before and answers EPROTO to what it does not know. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SHIM_MAGIC 0x4d494853u /* "SHIM" */
#ifndef SHIM_VERSION           /* `make newer` has a higher one */
#define SHIM_VERSION 3
#endif

#define SHIM_ID         65   /* 64 hex digits */
#define SHIM_PATH       256  /* a path of ours */
#define SHIM_LOG_PATH   1024 /* /var/log/pods/NS_NAME_UID/CONTAINER/N.log */
#define SHIM_TEXT       512  /* an error in words */
#define SHIM_OVERLAY    4096 /* mount(2) takes a page of options */
#define SHIM_CGROUP     4096 /* a dozen hierarchies with long paths */
#define SHIM_AFTER      512
#define SHIM_CONTAINERS 40 /* at a time; init containers give their place back */
#define SHIM_EXECS      32
#define SHIM_ATTACHES   16
#define SHIM_CLIENTS    16

enum shim_op {
    SHIM_HELLO = 1, /* -> shim_hello */
    SHIM_SANDBOX,   /* shim_sandbox: once, first */
    SHIM_MOUNT,     /* shim_mount: in the pod's mount namespace */
    SHIM_CREATE,    /* shim_create: takes a place, mounts the root */
    SHIM_START,     /* shim_target; answered when the program runs (or cannot: status and text) */
    SHIM_KILL,      /* shim_kill */
    SHIM_STATUS,    /* shim_target -> shim_status */
    SHIM_LIST,      /* -> one shim_status a message, ended by an answer with status ENOENT */
    SHIM_EXEC,      /* shim_exec and three descriptors (none with a tty) -> answered when it runs; with a tty the
                       answer carries the master descriptor */
    SHIM_EXEC_KILL, /* shim_kill with the exec's id */
    SHIM_ATTACH,    /* shim_attach and three descriptors: stdin, stdout, stderr */
    SHIM_RESIZE,    /* shim_resize: of a container's tty */
    SHIM_REOPEN,    /* shim_target: its log file was moved away */
    SHIM_REMOVE,    /* shim_target: must not run; unmounts, gives the place back */
    SHIM_WATCH,     /* events to this connection from now on */
    SHIM_QUIT,      /* kills what runs and ends; the answer is the last message */
    SHIM_GUARD,     /* shim_guard: its processes may trace others (SYS_PTRACE). Since 2 */
    SHIM_POD,       /* shim_pod: in place of SHIM_SANDBOX. Since 3 */
    SHIM_EVENT_EXIT = 100, /* shim_status */
    SHIM_EVENT_EXEC_EXIT,  /* shim_exec_exit; only to the connection that asked for the exec */
    SHIM_EVENT_LOG_FULL,   /* shim_target: the log has passed log_max since it was opened */
    SHIM_EVENT_ATTACH_END, /* shim_target: seq of the attach in head.seq */
};

struct shim_head {
    uint32_t magic;
    uint16_t version, op;
    uint32_t seq;
    int32_t status; /* answers: 0 or an errno */
};

enum {
    SHIM_NEW_NET = 1,
    SHIM_NEW_IPC = 2,
    SHIM_NEW_UTS = 4,
    SHIM_NEW_PID = 8,       /* one pid namespace for the pod, with a small init of ours */
    SHIM_HIDE_UNIFIED = 16, /* crun refuses hybrid hosts: unmount /sys/fs/cgroup/unified in this namespace */
    SHIM_OTHER_RUNTIME =
        32,             /* `crun` is another OCI runtime: it is asked as containerd asks, and joins groups itself */
    SHIM_NEW_USER = 64, /* a user namespace, to which the others belong */
};
struct shim_sandbox {
    uint32_t flags;
    uint32_t shm_mib;      /* tmpfs at STATE/shm; 0: none */
    char name[320];        /* NS/POD */
    char state[SHIM_PATH]; /* folder of this pod; the socket is STATE/sock */
    char crun[SHIM_PATH];  /* program */
    char crun_root[SHIM_PATH];
    char hostname[65];
    char sysctls[2048]; /* "net.core.somaxconn=1024\n"... */
};
struct shim_pod {
    struct shim_sandbox sandbox;
    uint32_t first_id, ids; /* of the host, which are 0 and up in the pod's user namespace */
};
/* The descriptor under which a shim keeps the pod's user namespace: /proc/PID/fd/SHIM_USER_FD. */
#define SHIM_USER_FD 100
struct shim_hello {
    uint32_t pid;      /* of the shim: /proc/PID/ns/{net,ipc,uts,mnt} are the pod's */
    uint32_t init_pid; /* of the pod's pid namespace; 0: it has none */
    uint32_t ready;    /* SHIM_SANDBOX was done */
    char name[320];
};
struct shim_mount {
    uint64_t flags; /* mount(2) */
    char type[32];
    char source[SHIM_LOG_PATH], target[SHIM_LOG_PATH];
    char data[512];
};

enum { SHIM_TTY = 1, SHIM_STDIN = 2, SHIM_STDIN_ONCE = 4 };
struct shim_create {
    char id[SHIM_ID];
    uint32_t flags;
    uint64_t log_max;           /* bytes; 0: never asks for rotation */
    char log[SHIM_LOG_PATH];    /* "": output is dropped */
    char lock[SHIM_PATH];       /* of the upper folder: locked while it is mounted; "": none */
    char layers[SHIM_PATH];     /* working directory for the mount: lower layers are named relative to it */
    char overlay[SHIM_OVERLAY]; /* options of the root's overlay; "": the bundle has its root ready */
    char join[SHIM_CGROUP];     /* files to write "0" to, one a line */
    char after[SHIM_AFTER];     /* "PATH VALUE" to write once it runs, one a line */
    char oom[SHIM_PATH];        /* file with "oom_kill N" */
};
struct shim_target {
    char id[SHIM_ID];
    char text[SHIM_TEXT]; /* answers that failed: why, in crun's words */
    uint32_t pid;         /* answers */
};
struct shim_guard {
    char id[SHIM_ID];
    char file[SHIM_PATH * 2]; /* that freezes its group: .../freezer.state or .../cgroup.freeze */
};
struct shim_kill {
    char id[SHIM_ID];
    int32_t signal;
};

enum { SHIM_CREATED = 1, SHIM_STARTING, SHIM_RUNNING, SHIM_EXITED };
struct shim_status {
    char id[SHIM_ID];
    uint8_t state;
    uint8_t oom; /* the kernel killed in its cgroup for memory */
    uint8_t reserved[2];
    int32_t code;                    /* exit code; 128 + signal */
    int32_t signal;                  /* 0: it ended by itself */
    uint32_t pid;                    /* while it runs */
    int64_t started_ns, finished_ns; /* since 1970 */
    uint64_t log_lost;               /* lines that could not be written (disk full) */
};
struct shim_exec {
    char id[SHIM_ID]; /* of the exec; the caller's choice */
    char container[SHIM_ID];
    uint32_t flags;              /* SHIM_TTY */
    uint16_t rows, columns;      /* of the tty; 0: left as it is */
    char process[SHIM_PATH * 2]; /* process.json; the asker removes it */
};
struct shim_exec_exit {
    char id[SHIM_ID];
    int32_t code, signal;
};
struct shim_attach {
    char container[SHIM_ID];
};
struct shim_resize {
    char container[SHIM_ID];
    uint16_t rows, columns;
};

struct shim_msg {
    struct shim_head head;
    union {
        struct shim_sandbox sandbox;
        struct shim_pod pod;
        struct shim_hello hello;
        struct shim_mount mount;
        struct shim_create create;
        struct shim_target target;
        struct shim_kill kill;
        struct shim_guard guard;
        struct shim_status status;
        struct shim_exec exec;
        struct shim_exec_exit exec_exit;
        struct shim_attach attach;
        struct shim_resize resize;
    } u;
};

struct shim_answer { /* answers and events */
    struct shim_head head;
    union {
        struct shim_hello hello;
        struct shim_target target; /* of every operation without a struct of its own here */
        struct shim_status status;
        struct shim_exec_exit exec_exit;
    } u;
};

/* The size of the struct that a request carries; -1: no such operation. */
static inline long shim_request_size(unsigned op)
{
    switch (op) {
    case SHIM_SANDBOX: return sizeof(struct shim_sandbox);
    case SHIM_POD: return sizeof(struct shim_pod);
    case SHIM_MOUNT: return sizeof(struct shim_mount);
    case SHIM_CREATE: return sizeof(struct shim_create);
    case SHIM_GUARD: return sizeof(struct shim_guard);
    case SHIM_KILL:
    case SHIM_EXEC_KILL: return sizeof(struct shim_kill);
    case SHIM_HELLO:
    case SHIM_START:
    case SHIM_STATUS:
    case SHIM_LIST:
    case SHIM_REOPEN:
    case SHIM_REMOVE:
    case SHIM_WATCH:
    case SHIM_QUIT: return sizeof(struct shim_target);
    case SHIM_EXEC: return sizeof(struct shim_exec);
    case SHIM_ATTACH: return sizeof(struct shim_attach);
    case SHIM_RESIZE: return sizeof(struct shim_resize);
    }
    return -1;
}

static inline size_t shim_answer_size(unsigned op)
{
    switch (op) {
    case SHIM_HELLO: return sizeof(struct shim_hello);
    case SHIM_STATUS:
    case SHIM_LIST:
    case SHIM_EVENT_EXIT: return sizeof(struct shim_status);
    case SHIM_EVENT_EXEC_EXIT: return sizeof(struct shim_exec_exit);
    }
    return sizeof(struct shim_target);
}

/* An id becomes part of a path: letters, digits and '-', at least one, with its end inside the field. */
static inline bool shim_id_ok(const char id[SHIM_ID])
{
    for (unsigned i = 0; i < SHIM_ID; i++) {
        char c = id[i];
        if (c == 0)
            return i > 0;
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'))
            return false;
    }
    return false;
}

/* Whether a request is whole: header, size, every text with its end, ids that are ids. NULL: it is; else what is
 * wrong. Nothing of a message is looked at before. */
static inline const char *shim_check(const struct shim_msg *m, size_t n)
{
#define SHIM_ENDS(field) (memchr(field, 0, sizeof(field)) != NULL)
    if (n < sizeof m->head || m->head.magic != SHIM_MAGIC)
        return "not a message of this protocol";
    long want = shim_request_size(m->head.op);
    if (want < 0)
        return "no such operation";
    if (n != sizeof m->head + (size_t)want)
        return "wrong size for its operation";
    switch (m->head.op) {
    case SHIM_POD: /* begins with one */
    case SHIM_SANDBOX: {
        const struct shim_sandbox *s = &m->u.sandbox;
        return SHIM_ENDS(s->name) && SHIM_ENDS(s->state) && SHIM_ENDS(s->crun) && SHIM_ENDS(s->crun_root) &&
                       SHIM_ENDS(s->hostname) && SHIM_ENDS(s->sysctls)
                   ? NULL
                   : "text without end";
    }
    case SHIM_MOUNT: {
        const struct shim_mount *s = &m->u.mount;
        return SHIM_ENDS(s->type) && SHIM_ENDS(s->source) && SHIM_ENDS(s->target) && SHIM_ENDS(s->data)
                   ? NULL
                   : "text without end";
    }
    case SHIM_CREATE: {
        const struct shim_create *s = &m->u.create;
        if (!shim_id_ok(s->id))
            return "bad id";
        return SHIM_ENDS(s->log) && SHIM_ENDS(s->lock) && SHIM_ENDS(s->layers) && SHIM_ENDS(s->overlay) &&
                       SHIM_ENDS(s->join) && SHIM_ENDS(s->after) && SHIM_ENDS(s->oom)
                   ? NULL
                   : "text without end";
    }
    case SHIM_GUARD:
        if (!SHIM_ENDS(m->u.guard.file))
            return "text without end";
        break;
    case SHIM_EXEC:
        if (!SHIM_ENDS(m->u.exec.process))
            return "text without end";
        return shim_id_ok(m->u.exec.id) && shim_id_ok(m->u.exec.container) ? NULL : "bad id";
    case SHIM_HELLO:
    case SHIM_WATCH:
    case SHIM_QUIT:
    case SHIM_LIST: return NULL; /* about no container */
    }
    return shim_id_ok(m->u.target.id) ? NULL : "bad id"; /* the others begin with their id */
#undef SHIM_ENDS
}

/* The same of an answer or event; ends its texts itself. */
static inline bool shim_answer_ok(struct shim_answer *a, size_t n)
{
    if (n < sizeof a->head || a->head.magic != SHIM_MAGIC || n != sizeof a->head + shim_answer_size(a->head.op))
        return false;
    switch (a->head.op) {
    case SHIM_HELLO: a->u.hello.name[sizeof a->u.hello.name - 1] = 0; break;
    case SHIM_STATUS:
    case SHIM_LIST:
    case SHIM_EVENT_EXIT: a->u.status.id[SHIM_ID - 1] = 0; break;
    case SHIM_EVENT_EXEC_EXIT: a->u.exec_exit.id[SHIM_ID - 1] = 0; break;
    default: a->u.target.id[SHIM_ID - 1] = a->u.target.text[SHIM_TEXT - 1] = 0;
    }
    return true;
}
