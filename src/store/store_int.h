/* store_int.h - what store.c, history.c and the engines share. The store proper owns order, index and memory; an
 * engine owns bytes. */
#pragma once
#include "base/array.h"
#include "base/map.h"
#include "store/seal.h"

/* One write, from the queue until history forgets it. Counted in the loop's thread; an engine may read it while the
 * batch that holds it is under way. */
struct store_change {
    uint32_t refs;
    bool unlogged; /* visible, but not in the log: must stay in memory */
    struct store_event ev;
    struct str key;      /* of ev.now or ev.was */
    struct strbuf value; /* what the caller gave, until logged */
    size_t weight;       /* about what history pays for it */
};
void change_unref(struct store_change *c);

struct batch {
    struct store_change **changes; /* in order of revision */
    size_t n, nlazy;               /* the first nlazy are visible already */
    int64_t ceiling;               /* to be recorded with it: revisions up to here may be given; 0: as it is */
    struct engine *engine;
    struct list work_node;
    /* out, set by the engine: */
    bool ok;
    struct err err;
    ptrdiff_t bad; /* >= 0: it failed for this one change alone (its value), the others could go on */
    bool tight;    /* it was committed, but there is hardly any room left; the disk was full before */
    uint64_t bytes;
    int64_t ns;
};

/* One portion of history out of the log. */
struct history_row {
    int64_t rev, create_rev, was_rev, was_create_rev; /* was_rev 0: the key was new */
    struct str key, now, was;                         /* unsealed, in the arena; now.p NULL: deleted */
};
enum { HISTORY_ROWS = 256, HISTORY_BYTES = 1 << 20, HISTORY_LOOKED = 4096 /* rows, also of other prefixes */ };
struct history_work {
    struct store_history *h; /* NULL: cancelled */
    struct store *store;
    int64_t after, upto;
    char *prefix;
    /* out: */
    struct arena arena;
    ARRAY(struct history_row) rows;
    int64_t reached; /* everything up to here is in rows */
    bool ok;
    struct err err;
};

struct engine;
struct engine_ops {
    bool logs;                                                 /* wants bytes */
    void (*commit)(struct engine *e, struct batch *b);         /* then store_committed, in the loop; one at a time */
    void (*history)(struct engine *e, struct history_work *w); /* then history_arrived, in the loop */
    void (*compact)(struct engine *e, int64_t floor);          /* when there is time */
    void (*drain)(struct engine *e);                           /* ends what is under way, in the caller */
    /* Drained. given: every revision up to it may have been seen, and all that was is in the log; 0: it is not. */
    void (*close)(struct engine *e, int64_t given);
    void (*stats)(const struct engine *e, struct store_stats *out);
};
struct engine {
    const struct engine_ops *ops;
    struct store *store;
};

struct gap {
    int64_t after, upto; /* revisions in (after, upto] may have been lost */
};
struct mark {
    int64_t at, rev;
    uint64_t logged; /* bytes, up to then */
};

struct store {
    struct loop *loop;
    const struct store_type *type;
    void *load_arg;
    bool (*known)(void *load_arg, const struct store_snapshot *have, struct err *err); /* NULL once it was called */
    size_t later;                                                                      /* values that wait for that */
    struct engine *engine;
    struct seal seal;
    struct pmap index;        /* visible */
    struct map heads;         /* key -> struct head: keys with changes not yet visible */
    int64_t rev, given;       /* visible; the highest given to a queued write */
    int64_t ceiling;          /* revisions up to here may be shown before they are in the log */
    int64_t floor, mem_floor; /* history reaches back to; history in memory does */
    ARRAY(struct gap) gaps;

    struct list queue, flying, answered; /* of store_op: waiting, in the batch under way, refused */
    size_t nqueued, queued_bytes;
    struct batch *batch;
    ARRAY(struct store_change *) lazy; /* visible, to ride with the next batch */
    struct timer kick, lazy_timer;
    bool lazy_due;
    int64_t lazy_ns;

    struct err failing; /* why nothing can be written; E_NONE: the disk works */
    unsigned failures;  /* batches that failed in a row for the disk */
    int64_t retry_ns;   /* between two that are tried then */
    struct timer retry; /* set: no batch before it fires */
    bool retry_due;
    void (*disk)(void *arg, const struct err *err);
    void *disk_arg;

    struct store_change **ring; /* history in memory: ring[(head + i) % cap], oldest first */
    size_t ring_head, ring_n, ring_cap, ring_bytes, ring_max, ring_bytes_max;
    struct list subscribers, histories;
    struct timer pump;
    struct timer compaction;
    ARRAY(struct mark) marks;
    int64_t keep_ns;
    uint64_t log_most; /* bytes of history in the log */
    struct store_stats stats;
    bool closing;
};

/* For engines, while they open. Takes the value as it was stored. */
MUST_USE bool store_load(struct store *s, struct str key, struct str stored, int64_t create_rev, int64_t mod_rev,
                         struct err *err);
/* All live values have been given to store_load; *again: all of them once more. */
MUST_USE bool store_half_open(struct store *s, bool *again, struct err *err);
void *store_value(struct store *s, struct str key, struct str value, int64_t create_rev, int64_t mod_rev,
                  struct err *err); /* by type->load */
struct store_entry *store_entry_new(const struct store_type *type, struct str key, void *own_ref, int64_t create_rev,
                                    int64_t mod_rev);
/* The bytes to log for a put. Any thread. `plain` is scratch. */
MUST_USE bool store_bytes(const struct seal *seal, const struct store_type *type, const struct store_change *c,
                          struct strbuf *plain, struct strbuf *out, struct err *err);
void store_committed(struct store *s, struct batch *b);
void history_arrived(struct history_work *w);

/* store_read.c */
extern const struct pmap_type store_entries;

/* compaction.c */
void compaction_arm(struct store *s);   /* something was written */
void compaction_bound(struct store *s); /* who writes large values all the time fills no disk meanwhile */
void compaction_came(struct timer *t);  /* of store.compaction */

/* history.c */
void history_add(struct store *s, struct store_change *c); /* became visible */
void history_tell(struct store *s, struct store_change *const *changes, size_t n);
void history_trim(struct store *s);
void history_init(struct store *s);
void history_fini(struct store *s);

/* memory.c, sqlite.c: an opened engine that has loaded all into s, or NULL */
struct engine *memory_open(struct store *s);
struct engine *sqlite_open(struct store *s, const char *path, struct err *err) MUST_USE;
