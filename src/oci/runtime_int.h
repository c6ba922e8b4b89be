/* runtime_int.h - what runtime.c, the files of sandboxes and containers, and exec.c share. All state belongs to the
 * loop's thread; a job touches only what it was given before it started. */
#pragma once
#include "base/map.h"
#include "oci/runtime.h"
#include "oci/shim_proto.h"

struct runtime {
    struct loop *loop;
    char *state, *data, *shim, *crun, *cgroup;
    struct runtime_events on;
    void *arg;
    struct content *content;
    struct cgroups cgroups;
    struct map profiles;   /* path -> struct seccomp */
    struct map sandboxes;  /* id -> struct sandbox */
    struct map containers; /* id -> struct container */
    size_t busy;           /* jobs under way */
    bool dying;            /* runtime_free was called: nobody is told anything any more */
    size_t adopting;
    void (*adopted)(void *arg);
    void *adopted_arg;
};

/* One request to a shim. answer NULL: the shim is gone. fd: what came with the answer; the callee's. */
struct shim_request {
    struct list node;
    uint32_t seq;
    uint16_t op;
    void (*fn)(struct shim_request *q, const struct shim_answer *answer, int fd);
    struct sandbox *sandbox;
    struct container *container;
    union {
        sandbox_done *sandbox_done;
        container_done *container_done;
        void *any;
    } done;
    void *arg;
};

/* Blocking work on behalf of a sandbox or container. */
struct runtime_work {
    struct job job;
    struct runtime *rt;
    void (*blocking)(struct runtime_work *w); /* pool thread: sets ok and err */
    void (*finish)(struct runtime_work *w);   /* loop */
    bool ok, started;
    struct err err;
};
/* apart: in a thread of its own (job_start_apart), as it looks at what may never answer. */
void work_start_apart(struct runtime_work *w, struct runtime *rt, void (*blocking)(struct runtime_work *w),
                      void (*finish)(struct runtime_work *w));
/* What takes as long as a tenant likes (removing the files that it left): in a thread of its own, so that no start of
 * another pod waits for it. */
void work_start_long(struct runtime_work *w, struct runtime *rt, void (*blocking)(struct runtime_work *w),
                     void (*finish)(struct runtime_work *w));
void work_start(struct runtime_work *w, struct runtime *rt, void (*blocking)(struct runtime_work *w),
                void (*finish)(struct runtime_work *w));

struct sandbox {
    struct runtime *rt;
    char *id, *name, *note, *cgroup, *dir, *shm;
    char *program;      /* an OCI runtime other than crun; "": crun */
    char *label;        /* of SELinux; "": none */
    uint32_t first_id;  /* of its user namespace; 0: it has none of its own */
    struct arena arena; /* limits */
    struct oci_limits limits;
    struct shim_pod *wanted; /* until the shim has it */
    int fd;
    struct poll poll;
    struct timer silent; /* set while an answer is awaited: since anything was heard of the shim */
    uint32_t seq;
    struct list requests, unsent, execs, attaches;
    pid_t pid, init_pid;
    bool ready, lost, stopping;
    struct map containers;
    struct runtime_work work;
    sandbox_done *done;
    void *done_arg, *data;
    struct err *failure; /* of a start that is being undone */
    bool stop_waits;     /* for jobs of its containers */
    struct timer settle; /* adoption waits for what is being started */
    int64_t settle_until;
    struct shim_request *settling; /* the list to ask for again; NULL: none */
};

struct container {
    struct runtime *rt;
    struct sandbox *sandbox;
    char *id, *note, *cgroup, *dir, *data_dir, *log;
    struct digest image;
    struct container_status status;
    struct oci_notices notices;
    struct arena arena; /* notices, limits, volumes */
    struct oci_limits limits;
    struct strs volumes;       /* of the image */
    struct str mount_label;    /* of its files, of SELinux; empty: none */
    bool heard;                /* its shim knows it */
    struct prepared *prepared; /* until it is created */
    struct runtime_work work;
    container_done *done;
    void *done_arg, *owner_data;
    struct err *failure; /* of a creation that is being undone */
};

void sandbox_send(struct sandbox *s, uint16_t op, const void *payload, const int fds[3], struct shim_request *q);
bool answer_ok(const struct shim_answer *answer, const char *what, struct err *err);
void sandbox_connect(struct sandbox *s, int own_fd);
void sandbox_silent(struct timer *t); /* of sandbox.silent: the shim owes an answer */
void sandbox_link_down(struct sandbox *s);
void sandbox_link_drop(struct sandbox *s); /* what was not sent, and nobody is told */
void request_fail(void *arg);              /* for loop_post, of a struct shim_request */
struct sandbox *sandbox_make(struct runtime *rt, struct str id, struct str name, struct str note, struct str cgroup);
void sandbox_free(struct sandbox *s);
/* What another runtime than crun knows of a container is its to forget. Blocking. */
void runtime_delete(const struct sandbox *s, const char *id);
void sandbox_stop_on(struct sandbox *s); /* after a container's job has ended */
void limits_copy(struct arena *a, struct oci_limits *to, const struct oci_limits *from);
void container_free(struct container *c);
struct container *container_make(struct sandbox *s, struct str id, struct str note, struct str log);
void container_tell(struct container *c, const struct err *err); /* its owner, who waits */
void container_gone(struct container *c);
void container_remove_blocking(struct runtime_work *w); /* what is left of it on the disk, and its cgroup */
struct shim_request *container_request(struct container *c, container_done *done, void *arg,
                                       void (*fn)(struct shim_request *q, const struct shim_answer *a, int fd));
void prepared_free(struct prepared *p);
void container_seen(struct container *c, const struct shim_status *st);
void container_lost(struct container *c);
void execs_event(struct sandbox *s, const struct shim_answer *a);
void execs_lost(struct sandbox *s);
MUST_USE bool small_write(const char *path, struct str text, struct err *err);
MUST_USE bool small_read(const char *path, size_t max, struct strbuf *out, struct err *err);
MUST_USE bool dirs_make(const char *path, mode_t mode, struct err *err);
void tree_drop(const char *path);
bool id_valid(struct str id);
/* The seccomp filter of a container, from the loop's thread: compiled for crun, `bpf`; for other runtimes, that
 * compile it themselves, as config.json has it: o->seccomp_json. */
MUST_USE bool runtime_filter(struct runtime *rt, struct oci_container *o, struct arena *a, struct str *bpf,
                             struct err *err);
