/* shim_int.h - what the parts of wherry-shim share (shim_main.c tells how it works). One thread; all memory is in
 * arrays; a descriptor is -1 when there is none. */
#pragma once
#include "oci/shim_proto.h"
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>

enum { OUT, ERR_, STREAMS };

struct kept_stream {
    int fd;
    uint32_t used;  /* bytes of an unfinished line in lines[][] */
    bool continued; /* the unfinished line has pieces in the log already */
};

struct kept_container {
    char id[SHIM_ID];
    uint8_t state;                            /* 0: the place is free */
    bool oom, kill_early, log_full, attached; /* attached: somebody was, once */
    bool began;                               /* its program runs; known where launches are followed */
    bool removing;                            /* asked for; waits for its start and its execs to end */
    uint32_t flags;
    pid_t crun, pid; /* crun while STARTING; pid while RUNNING */
    int32_t code, signal;
    int64_t started, finished;
    uint64_t oom_before;
    struct kept_stream streams[STREAMS]; /* with a terminal: OUT alone, its master */
    int in;                              /* writing end of stdin; with a terminal -1 (the master is) */
    int console;                         /* socket on which crun hands over the master */
    uint32_t in_used, in_sent;           /* of input[] */
    int log, lock;
    uint64_t log_size, log_max, log_lost;
    uint32_t start_client, start_seq, remove_client, remove_seq;
    /* last, and never cleared whole: pages that no text needs stay untouched */
    char log_path[SHIM_LOG_PATH], oom_file[SHIM_PATH], after[SHIM_AFTER], join[SHIM_CGROUP];
    char guard[SHIM_PATH * 2]; /* file that freezes it, where its processes may trace others */
};

struct kept_exec {
    char id[SHIM_ID]; /* id[0] == 0: the place is free */
    struct kept_container *container;
    pid_t crun, pid;
    int console, master;
    uint32_t client, seq;
    uint16_t rows, columns;
    bool answered;
};

struct kept_attach {
    struct kept_container *container; /* NULL: the place is free */
    int in, out, err;
    int stalled; /* out or err: has bytes waiting in spill[]; -1: neither */
    uint32_t spill_used, spill_sent;
    int64_t stalled_since;
    uint32_t client, seq;
};

struct kept_client {
    int fd;
    uint32_t serial; /* names this connection for ever: places are used again */
    bool watching;
};

/* Of crun, while it is followed. */
struct launch {
    struct kept_container *container; /* NULL: the place is free */
    bool joins;                       /* the program is put into the container's group */
    int64_t since;
};

extern struct kept_container containers[SHIM_CONTAINERS];
extern struct kept_exec execs[SHIM_EXECS];
extern struct kept_attach attaches[SHIM_ATTACHES];
extern struct kept_client clients[SHIM_CLIENTS];
extern struct shim_msg in_msg;
extern struct shim_answer out_msg;
extern struct shim_sandbox pod;
extern uint32_t pod_first_id, pod_ids; /* of its user namespace; pod_ids 0: it has none of its own */
extern bool ready, quitting;           /* ready: it is a sandbox */
extern uint32_t quit_client, quit_seq;
extern pid_t pod_init;
extern int listener, signals, here; /* here: the state folder */

#define every(it, array)                                                                                             \
    for (__typeof__(&(array)[0]) it = (array); it < (array) + sizeof(array) / sizeof((array)[0]); it++)

struct shim_text { /* appends within a fixed field; what does not fit is cut */
    char *p, *end;
};
#define TEXT(field)                                                                                                  \
    {                                                                                                                \
        field, field + sizeof(field) - 1                                                                             \
    }

/* Small tools, answers and events (shim_state.c). */
void text_add(struct shim_text *t, const char *s);
void add_number(struct shim_text *t, int64_t v);
int64_t clock_now(clockid_t clock);
void fd_drop(int *fd);
ssize_t read_file(int dir, const char *path, char *to, size_t size);
bool write_file(int dir, const char *path, int flags, const char *p, size_t n);
char *in_folder(char *to, size_t size, const char *id, const char *name); /* ID/name, relative to `here` */
struct kept_container *container_by(const char *id);
struct kept_client *client_by(uint32_t serial); /* NULL: gone */
/* The message in out_msg; fd -1: none goes along. */
void send_to(struct kept_client *to, uint16_t op, uint32_t seq, int status, int fd);
void answer_text(uint32_t client, uint16_t op, uint32_t seq, const char *id, int status, const char *text);
void fill_status(const struct kept_container *c); /* into out_msg */
void tell_watchers(uint16_t op);
void status_save(const struct kept_container *c);

/* Logs, streams, attached clients (shim_stream.c). */
void log_open(struct kept_container *c);
void attach_end(struct kept_attach *a);
bool container_is_stalled(const struct kept_container *c);
void attach_unstall(struct kept_attach *a);
void input_flush(struct kept_container *c);
void attach_input(struct kept_attach *a);
size_t stream_read(struct kept_container *c, int which); /* how many bytes; 0: nothing (more) to read for now */
void streams_drain(struct kept_container *c);
/* What was written before the first client attached. */
void attach_catch_up(struct kept_attach *a);
void streams_forget(struct kept_container *c);

/* Who could trace crun (shim_guard.c). */
bool any_launch(void);
void launch_over(struct launch *l);
bool launch_begin(struct kept_container *c, bool joins, struct launch **out);
bool crun_trace(struct launch *l, pid_t crun);
void trace_stopped(pid_t pid, int status);
void trace_ended(pid_t pid);
void launches_check(void);
void launches_end(void); /* what is frozen does not end */

/* Programs from their start to their end (shim_launch.c). */
/* Puts a process into all groups of a container. */
bool join_as(const struct kept_container *c, pid_t pid);
pid_t crun_start(struct kept_container *c, bool exec, const char *log, const char *const *args, int in, int out,
                 int err);
bool runtime_is_other(void); /* not crun */
bool is_null(int fd);        /* none, or /dev/null */
/* Its own `kill`: what it says of the container's process may be a process of its own (a sandbox, a machine). */
bool runtime_kill(const struct kept_container *c, int sig);
int console_listen(const char *name, char *path, size_t size);
size_t take_fds(struct msghdr *h, int *fds, size_t room);
int console_take(int *console); /* the master, or -1: not there yet */
void path_numbered(char *to, size_t size, const char *prefix, ptrdiff_t number);
void set_size(int fd, uint16_t rows, uint16_t columns);
bool kept_container_start(struct kept_container *c, const char **why);
void container_console(struct kept_container *c);
void quit_when_empty(void);
bool pid_save(void);
bool is_crun(pid_t pid);
void children_reap(void);

/* The pod's user namespace (shim_user.c). NULL, or what went wrong, with errno. */
const char *users_set_up(int flags);
/* The folder above the pod's is closed to everybody else; in the shim's own mounts another one stands in its place,
 * with nothing but the pod's in it, through which the pod's users come to what is mounted for them. */
bool users_let_in(void);
pid_t users_clone(void); /* a child in a pid namespace of its own, which belongs to the pod's users */

/* The sandbox (shim_pod.c). do_...: 0, or an errno. */
int init_main(void);
const char *pod_settings(void);  /* host name and sysctls, in the namespaces that they are of */
int shim_fail(const char *what); /* fills the answer's text; the status is errno */
int do_sandbox(void);
int do_pod(void);
int do_mount(void);

/* Clients (shim_request.c). */
void containers_remove(void); /* those for which nothing is waited any more */
void client_read(struct kept_client *k);
void client_add(int fd);
