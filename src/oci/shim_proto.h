/* shim_proto.h - what node and shim say to each other: one message per packet of a SOCK_SEQPACKET unix socket, a
 * fixed header and a fixed struct per operation, in the byte order of the machine. libc only: the shim includes it.
 *
 * A request is answered by one message with its seq and op. Events (seq 0) go to every connection that asked with
 * SHIM_WATCH. Texts are NUL-terminated. The version is that of the sender; a shim answers a version it does not speak
 * with status EPROTONOSUPPORT and its own version in the header, and so remains manageable (hello, kill, quit never
 * change) after an upgrade of everything else. */
#pragma once
#include <stdint.h>

#define SHIM_MAGIC   0x4d494853u /* "SHIM" */
#define SHIM_VERSION 1

#define SHIM_ID         65   /* 64 hex digits */
#define SHIM_PATH       256  /* a path of ours */
#define SHIM_LOG_PATH   1024 /* /var/log/pods/NS_NAME_UID/CONTAINER/N.log */
#define SHIM_TEXT       512  /* an error in words */
#define SHIM_OVERLAY    4096 /* mount(2) takes a page of options */
#define SHIM_CGROUP     2048
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
    SHIM_NEW_PID = 8,      /* one pid namespace for the pod, with a small init of ours */
    SHIM_HIDE_UNIFIED = 16 /* crun refuses hybrid hosts: unmount /sys/fs/cgroup/unified in this namespace */
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
    char layers[SHIM_PATH];     /* working directory for the mount: lower layers are named relative to it */
    char overlay[SHIM_OVERLAY]; /* options of the root's overlay; "": the bundle has its root ready */
    char join[SHIM_CGROUP];     /* files to write "0" to, one a line */
    char after[SHIM_CGROUP];    /* "PATH VALUE" to write once it runs, one a line */
    char oom[SHIM_PATH];        /* file with "oom_kill N" */
};
struct shim_target {
    char id[SHIM_ID];
    char text[SHIM_TEXT]; /* answers that failed: why, in crun's words */
    uint32_t pid;         /* answers */
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
    uint32_t flags;          /* SHIM_TTY */
    uint16_t rows, columns;  /* of the tty; 0: left as it is */
    char process[SHIM_PATH]; /* process.json; removed by the shim when it runs */
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
        struct shim_hello hello;
        struct shim_mount mount;
        struct shim_create create;
        struct shim_target target;
        struct shim_kill kill;
        struct shim_status status;
        struct shim_exec exec;
        struct shim_exec_exit exec_exit;
        struct shim_attach attach;
        struct shim_resize resize;
    } u;
};
