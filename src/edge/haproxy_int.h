/* haproxy_int.h - what the files of haproxy.h share: what is wanted beside what a process has (items), a conversation
 * with a process's socket (talk), a process, and copies of its listening sockets (hand). */
#pragma once
#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "edge/haproxy.h"
#include "sys/child.h"
#include "sys/stream.h"

/* --- haproxy_talk.c: commands to a socket and their answers, in order, in HAProxy's interactive mode ----------- */

#define TALK_COMMAND_MOST (15 << 10) /* of tune.bufsize, 16 KiB: a longer one ends the connection */
#define TALK_ANSWER_MOST  (64 << 20)
#define TALK_SILENCE      (5 * NS_PER_S) /* nothing comes so long while an answer is due: it hangs */

struct haproxy_talk;
struct haproxy_talk *talk_new(struct loop *l, struct str path) __attribute__((returns_nonnull));
/* What is not answered is told so from within, with E_CANCELLED, and may ask nothing more. NULL is fine. */
void talk_free(struct haproxy_talk *t);
/* text: a command, "\n", and what it carries, with an empty line at its end. fn: later; the answer without the empty
 * line that ends it. After an error nothing is known of what was asked; the next one connects anew. */
void talk_ask(struct haproxy_talk *t, struct str text,
              void (*fn)(void *arg, struct str answer, const struct err *err), void *arg);
void talk_patience(struct haproxy_talk *t, int64_t ns); /* how long nothing may come, instead of TALK_SILENCE */
/* The next whole answer at the begin of `got`, or false: it is not all there. used: its bytes; *scanned: how far was
 * looked already, kept between calls and 0 for a new one. Pure. */
bool talk_answer(struct str got, size_t *scanned, struct str *answer, size_t *used);

/* --- haproxy_hand.c: listening sockets, as HAProxy hands them to its successor ("_getsocks") ------------------ */

#define HAND_MOST 252 /* HAProxy's MAX_SEND_FD: in one message */
struct haproxy_hand {
    int fds[HAND_MOST];
    size_t n;
    struct buf *words; /* what it says of them, passed on as it is */
};
void hand_fini(struct haproxy_hand *h); /* closes */
/* Blocking, at most a second: copies of what the process at this admin socket listens on. */
MUST_USE bool hand_fetch(const char *path, struct haproxy_hand *out, struct err *err);
/* To who has connected and asks. */
MUST_USE bool hand_give(int fd, const struct haproxy_hand *h, struct err *err);

/* --- items ------------------------------------------------------------------------------------------------------ */

enum haproxy_kind { HAPROXY_ENTRY, HAPROXY_MAP, HAPROXY_SERVER, HAPROXY_CERT, HAPROXY_LISTED };
/* In this order a round tells them: what others need comes before them and goes after them. */
enum haproxy_phase { PHASE_CERT, PHASE_LISTED, PHASE_SERVER, PHASE_MAP, PHASE_UNSERVE, PHASE_UNLIST, PHASE_UNCERT };
enum { PHASES = PHASE_UNCERT + 1 };

struct haproxy_item {
    struct list node; /* in its phase's list while it is not as it should be */
    struct list parting_node;
    struct haproxy_group *group;
    struct str name;  /* its group's key */
    struct buf *want; /* an entry's value, a map's text, "ADDRESS OPTIONS", PEM, "[OPTIONS] HOSTS"; NULL: gone */
    struct buf *mark; /* of want: itself for entries and maps, else its hash */
    struct buf *have; /* mark of what the process has; NULL: nothing */
    struct buf *next; /* of what the process that is being started has read */
    struct buf *telling;
    uint32_t weight, have_weight, next_weight, telling_weight; /* of servers */
    bool parting; /* gone but for connections that it still has: a server, a certificate of one */
    bool is_ca;
    bool bad;        /* something that was told of it just now was refused */
    uint8_t refused; /* how often, one after the other */
    uint16_t open;   /* commands of this round that are not answered */
};
struct haproxy_group { /* a map, a backend, a list, or all certificates */
    enum haproxy_kind kind;
    struct str name; /* "shop" */
    struct map items;
};

/* What a configuration speaks of: names of maps, lists, certificates ("maps/x", "lists/x", "certs/x", "backend/x").
 */
struct haproxy_names {
    struct map map;
    int refs;
};
struct haproxy_names *names_of_shape(struct str shape) __attribute__((returns_nonnull));
void names_add(struct haproxy_names *n, struct str text); /* also what this text speaks of */
void names_unref(struct haproxy_names *n);
bool names_has(const struct haproxy_names *n, const char *what, struct str name);

/* --- haproxy_process.c ------------------------------------------------------------------------------------------ */

struct haproxy_proc {
    struct haproxy *h;
    struct list node; /* among those that only end what they have begun */
    uint64_t generation;
    pid_t pid;
    struct child child; /* started by us; or */
    struct poll found;  /* its pidfd */
    struct haproxy_talk *talk;
    struct buf *mark; /* of its shape */
    struct haproxy_names *names;
    struct poll said_poll; /* what it says while it starts */
    int said_fd;
    struct strbuf said;
    struct timer again;
    int tries;
    bool ready;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* of its admin socket */
};
/* NULL with err: it did not start. Otherwise haproxy_ready or haproxy_ended comes, and ended after ready too. */
struct haproxy_proc *proc_start(struct haproxy *h, uint64_t generation, struct buf *mark,
                                struct haproxy_names *own_names, struct err *err);
/* One that answers at this socket and was started by an earlier one of us. */
struct haproxy_proc *proc_found(struct haproxy *h, uint64_t generation, pid_t pid, int own_pidfd);
void proc_signal(struct haproxy_proc *p, int signo);
void proc_forget(struct haproxy_proc *p); /* frees; the process goes on */
/* The processes of this folder, by their working directory: at most n. Blocking. */
size_t proc_scan(struct str run, pid_t *out, size_t n);

/* --- haproxy_files.c -------------------------------------------------------------------------------------------- */

struct haproxy_file {
    char path[80]; /* below run */
    struct buf *content;
};
struct haproxy_files {
    struct job job;
    struct haproxy *h;
    ARRAY(struct haproxy_file) files;
    struct str run;
    struct err err;
    bool ok;
    struct map keep; /* paths; what else is in maps, lists and certs goes away */
};
/* The configuration with its servers, and what it reads; each item's next becomes what stands there. */
struct haproxy_files *files_compose(struct haproxy *h, struct haproxy_names **own_names)
    __attribute__((returns_nonnull));
void files_write(struct haproxy_files *f, void (*done)(struct job *j));
void files_free(struct haproxy_files *f);
void files_shape_mark(const struct haproxy *h, struct strbuf *out); /* of what is wanted: its description */

/* --- haproxy_bind.c ------------------------------------------------------------------------------------------------
 */

/* From what a start said of this configuration: how many lines are left out from now on that were not before. */
size_t bind_failures(struct haproxy *h, struct str config, struct str said);
bool bind_left_out(const struct haproxy *h, struct str line);
void bind_again(struct haproxy *h); /* those that can be bound by now come with the next start */

/* --- haproxy_compare.c: what a process that was found has --------------------------------------------------------
 */

/* Asks p for all of it, sets `have` of all items (makes those that nobody wants), then fn. */
void compare_start(struct haproxy *h, void (*fn)(struct haproxy *h, const struct err *err));
void compare_map(struct haproxy *h, struct str map, struct str dump); /* "show map maps/NAME" */
void compare_marks(struct haproxy *h, struct str dump);               /* of the map of marks */
void compare_servers(struct haproxy *h, struct str dump);             /* "show servers state" */
struct str info_field(struct str info, struct str name);              /* of "show info"; "" */

/* --- haproxy_find.c ------------------------------------------------------------------------------------------------
 */

void find_start(struct haproxy *h); /* then find is UNREAD, with cur, or DONE */
void find_stop(struct haproxy *h);

/* --- haproxy_round.c: telling a process the difference ------------------------------------------------------------
 */

#define MARKS "_marks" /* a map of ours: what else the process has, KIND/GROUP/NAME to its mark */
void round_start(struct haproxy *h);
bool item_is_true(const struct haproxy *h, const struct haproxy_item *i);
bool item_cert_wanted(const struct haproxy *h, struct str cert);
void item_judge(struct haproxy *h, struct haproxy_item *i); /* into its phase's list, or out of it */
void items_judge(struct haproxy *h);                        /* all */
void parting_set(struct haproxy *h, struct haproxy_item *i, bool parting);
void parting_again(struct haproxy *h);
void haproxy_tells_drop(struct haproxy *h); /* nobody will answer them */

/* --- haproxy.c
 * ------------------------------------------------------------------------------------------------------ */

enum haproxy_find { FIND_LOOKING, FIND_UNREAD, FIND_READING, FIND_DONE };
struct haproxy {
    struct loop *loop;
    struct arena arena;
    struct haproxy_config config;
    struct haproxy_events events;
    void *arg;
    struct map groups; /* "maps/x", "backend/x", "lists/x", "certs/" */
    struct list dirty[PHASES];
    size_t ndirty;
    struct buf *shape, *shape_mark;
    struct haproxy_proc *cur, *next;
    struct list old;
    struct haproxy_files *files;
    struct haproxy_hand hand;
    struct listener hand_listener;
    int hand_fd;
    bool handing;
    enum haproxy_find find;
    struct haproxy_finding *finding;
    bool committing; /* there was a first commit */
    bool reload;     /* the socket does not bring it to what is wanted */
    bool round, round_cut, round_bad;
    bool rounded; /* the last one brought all that there was */
    bool applied_any, freed;
    int jobs, silent;
    uint64_t committed, applied, round_revision;
    uint64_t generation;
    int round_open;
    struct soon step;
    struct list tells, partings;
    struct timer again, parting_timer, bind_timer;
    struct map unbound;         /* lines "bind ..." that are left out of the next start */
    struct buf *next_config;    /* of the last start, for what it says of its lines */
    struct timer leaving_timer; /* set: the one before still takes connections, so nothing is applied */
    char leaving[sizeof(((struct sockaddr_un *)0)->sun_path)];
    int64_t leaving_until;
    int64_t wait, started, parting_wait;
    struct err told; /* the last failure that was told of */
    struct haproxy_names *next_names;
    struct buf *next_mark;
    struct poll log_poll;
};
void haproxy_ready(struct haproxy *h, struct haproxy_proc *p);
/* p is freed after it. said: what it wrote while it started. */
void haproxy_ended(struct haproxy *h, struct haproxy_proc *p, struct str said, const struct err *why);
void hand_keep(struct haproxy *h, const struct haproxy_proc *p); /* copies of its sockets, later */
void haproxy_rounded(struct haproxy *h, bool whole);
void haproxy_lost(struct haproxy *h, const struct err *err); /* the conversation broke: what it has is not known */
struct haproxy_group *group_get(struct haproxy *h, enum haproxy_kind kind, struct str name);
struct haproxy_item *item_get(struct haproxy *h, struct haproxy_group *g, struct str name);
void items_unknown(struct haproxy *h); /* a process has nothing of it, or nobody knows what */
void groups_free(struct haproxy *h);
void item_free(struct haproxy_group *g, struct haproxy_item *i);
struct buf *mark_of(enum haproxy_kind kind, struct buf *text) __attribute__((returns_nonnull));
bool buf_same(const struct buf *a, const struct buf *b);
void buf_put(struct buf **at, struct buf *own); /* in the place of what is there */
const char *kind_folder(enum haproxy_kind kind);
