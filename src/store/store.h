/* store.h - keys, values and revisions: compare-and-put, snapshots, events since a revision. Knows no kinds.
 *
 * The live value exists once, as a counted reference (`ref`) owned by the layer above: the store's ordered index
 * holds key -> {create revision, mod revision, ref} and the engine holds bytes. Engines: memory (no bytes at all,
 * for tests and simulation) and SQLite (a log in WAL mode); the contract is asynchronous so that etcd can be one.
 *
 * Threads: a store belongs to its loop's thread. Snapshots, entries and events may go to other threads, so ref and
 * unref must be safe from any thread. Callbacks never run inside a call into the store (store_close excepted).
 *
 * Order. Every change has a revision; revisions only grow and none is given twice, not even after a crash, to a
 * write that failed, or by a restored backup. Compare is against the head of the queue (so writers pipeline); a
 * change becomes visible - to reads, then to subscribers, then to its writer, in this order and within one turn of
 * the loop - when it is committed, and changes become visible in order of revision. A batch that cannot be
 * committed fails every write in it, and every write queued behind it whose compare rested on it. (A write that
 * failed for a disk error may still be found after a crash that follows at once, whole; never in part.)
 *
 * A disk that fails. After the second failed batch in a row durable writes are refused at once, with its error, and
 * an empty commit is tried after 0.1 s and then rarer, up to every second, until one succeeds. Lazy writes go on
 * being shown while their bounds last. */
#pragma once
#include "base/err.h"
#include "base/list.h"
#include "base/pmap.h"
#include "sys/loop.h"

enum {
    STORE_KEY_MAX = 1024,         /* bytes of a key; at least 1 */
    STORE_VALUE_MAX = 8 << 20,    /* bytes of a value as logged */
    STORE_TXN_MAX = 256,          /* writes in one op */
    STORE_QUEUE_MAX = 20000,      /* ops that wait; more are refused with TOO_MANY_REQUESTS */
    STORE_QUEUE_BYTES = 64 << 20, /* the same, for their values */
    STORE_PATIENT_MAX = 256, /* changes not logged yet that wait for somebody else's commit; what they replaced stays
                                in memory as long */
    STORE_LAZY_MAX = 4096,   /* lazy changes not logged yet; above it lazy writes wait for a commit */
};

/* What the layer above stores. All functions may be called from the engine's thread. */
struct store_type {
    void (*ref)(void *ref);
    void (*unref)(void *ref);
    /* The bytes to log. Called in the engine's thread for a write that came without, and by backups. Adding nothing
     * is an error; a value over the limit fails the write. */
    void (*encode)(const void *ref, struct strbuf *out);
    /* The reverse (at open, and when old revisions are read from the log): a new reference, or NULL. `value` is
     * borrowed. Runs in the thread that calls store_open, later in the loop's thread. While the store opens,
     * NOT_FOUND says that it is not known yet what the value is: it is asked again once the others are there (see
     * store_options.known). arg: that of store_options, where one is given. */
    void *(*load)(void *arg, struct str key, struct str value, int64_t create_rev, int64_t mod_rev, struct err *err);
    size_t (*size)(const void *ref); /* about how many bytes it keeps in memory, for bounds; NULL: 1 KiB each */
    void *arg;
};

/* A key at a revision: immutable, counted. */
struct store_entry {
    _Atomic(uint32_t) refs;
    uint32_t key_n;
    const struct store_type *type;
    int64_t create_rev, mod_rev;
    void *ref; /* held by the entry */
    char key[];
};
void store_entry_ref(struct store_entry *e);
void store_entry_unref(struct store_entry *e);
AUTO_POINTER(store_entry_unref, struct store_entry);
static inline struct str store_entry_key(const struct store_entry *e)
{
    return (struct str){e->key, e->key_n};
}

/* --- opening --- */

struct store_snapshot;

/* Keys that seal. The first one seals, all of them open what was sealed with their id (rotation: put a new one
 * first; what is written from then on uses it). Ids are not 0 and never name another key. */
struct store_seal_key {
    uint32_t id;
    uint8_t key[32]; /* AES-256 */
};
struct store_options {
    const char *path; /* of the SQLite file; NULL: the memory engine. Files path-wal and so on stand beside */
    const struct store_type *type;          /* borrowed until the last entry is gone: a static table */
    const struct store_seal_key *seal_keys; /* copied */
    size_t nseal_keys;
    const struct str *sealed; /* prefixes of keys whose values are sealed; copied. Without a key to seal: refused */
    size_t nsealed;
    void *load_arg; /* for type->load; NULL: type->arg */
    /* Between the two halves of opening: what could be loaded is there, so that what the rest is can be learned from
     * it; NULL: what cannot be loaded at once fails. */
    bool (*known)(void *load_arg, const struct store_snapshot *have, struct err *err);
    int64_t keep_ns;    /* how long history is kept before compaction; 0: 5 minutes */
    uint64_t log_bytes; /* of values that history may take in the log: what is more is compacted sooner. 0: 1 GiB */
    int64_t lazy_ns;    /* how long a lazy write may stay out of the log; 0: 1 s */
    void (*disk)(void *arg,
                 const struct err *err); /* in the loop: the disk has begun to fail, or (NULL) works again */
    void *disk_arg;
    size_t history_changes; /* bounds of the history kept in memory; 0: 4096 changes, 4 MiB (memory engine: 65536, 64
                               MiB, */
    size_t history_bytes;   /* since nothing else holds it: what falls out is compacted) */
};

struct store;
/* Blocks: reads every live value through `load`. Refused with a sentence: a file in use by another process, one that
 * a newer Wherry wrote, a damaged one, a value sealed with a key that is not given, a value that `load` refuses. */
struct store *store_open(struct loop *l, const struct store_options *o, struct err *err) MUST_USE;
/* Commits what is queued and lazy, then closes. `done` of ops that wait is called from inside; pending reads end with
 * CANCELLED. Not from a callback of the store. Subscribers and watches must be gone. NULL is fine. */
void store_close(struct store *s);
AUTO_POINTER(store_close, struct store);

/* --- writing --- */

enum { STORE_ANY = -1, STORE_ABSENT = 0 }; /* instead of an expected mod revision */
enum store_class {
    STORE_DURABLE, /* answered when it is on disk */
    STORE_LAZY, /* answered at once, in order (events): rides with the next commit, at most lazy_ns later; a crash may
                 * lose it, and then a watch from a lost revision is EXPIRED */
    STORE_PATIENT, /* the same, but no commit is made for it alone (renewals of node leases: a store in which nothing
                    * else happens does not touch its disk) before STORE_PATIENT_MAX of them have gathered */
};
struct store_write {
    struct str key;      /* borrowed until done */
    void *own_ref;       /* put: the new value; the store takes over this reference. NULL: delete */
    struct strbuf value; /* its bytes; taken over. Empty: type->encode is asked (never, by the memory engine) */
    int64_t expect;      /* STORE_ANY, STORE_ABSENT, or the mod revision that must be the head */
    int64_t rev;         /* out: the revision given to this change */
};
/* One or more writes, all or none. Embedded in its owner, who keeps it and `writes` until done. */
struct store_op {
    struct store_write *writes;
    size_t n;
    enum store_class class;
    void (*done)(struct store_op *op); /* in the loop, exactly once, never inside store_write */
    /* out, valid in done: */
    bool ok;
    struct err err; /* CONFLICT (another head), ALREADY_EXISTS (ABSENT expected), NOT_FOUND (delete, or a revision
                     * expected), TOO_LARGE, TOO_MANY_REQUESTS (queue full), UNAVAILABLE (the disk: full or failing;
                     * reads go on, and writes by themselves when there is room), BAD_REQUEST (key), CANCELLED */
    int64_t rev;    /* of the last write. The writes of one op get consecutive revisions, visible at once (an engine
                     * that knows only one a transaction gives all the same) */
    /* the store's: */
    struct list node;
    struct store_change **changes;
    size_t nchanges, bytes;
    int64_t queued_ns;
};
/* The embedded engines know the revisions at once (op->rev, writes[i].rev, on return); portable callers read them in
 * done. One key may appear once in an op. */
void store_write(struct store *s, struct store_op *op);

/* Why nothing can be written; NULL: the disk works. Of a full one until there is room again, though small writes may
 * pass now and then. */
const struct err *store_failing(const struct store *s);

/* --- reading --- */

int64_t store_rev(const struct store *s);   /* newest visible revision; at least 1 */
int64_t store_floor(const struct store *s); /* oldest that can still be read or resumed from (store_resumable) */
const struct store_entry *store_get(const struct store *s, struct str key); /* visible; borrowed in this turn; NULL */

/* All keys at one revision. O(1) to take; blocks nobody; holds the values it shows. May go to another thread. */
struct store_snapshot {
    struct pmap map; /* of struct store_entry */
    int64_t rev;
};
struct store_snapshot store_snapshot(const struct store *s);
void store_snapshot_fini(struct store_snapshot *snap);
AUTO_VALUE(store_snapshot_fini, struct store_snapshot);
/* Iteration over a prefix, from the first key not below `from` (STR_NONE: from the prefix on). */
struct store_iter {
    struct pmap_iter it;
    struct str prefix;
};
struct store_entry *store_first(struct store_iter *it, const struct store_snapshot *snap, struct str prefix,
                                struct str from); /* borrowed from the snapshot; NULL: none */
struct store_entry *store_next(struct store_iter *it);
/* How many keys with the prefix are not below `from`. O(log n). */
size_t store_count(const struct store_snapshot *snap, struct str prefix, struct str from);

/* An older revision, for continue tokens and exact lists. From memory where it reaches, else from the log. */
struct store_read {
    int64_t rev;
    struct str prefix;                  /* only keys below it are right in the snapshot; borrowed until done */
    void (*done)(struct store_read *r); /* in the loop, once, never inside store_read_at */
    /* out: */
    bool ok;
    struct err err;             /* EXPIRED: see store_resumable; UNAVAILABLE, IO: the log cannot be read */
    struct store_snapshot snap; /* the caller's when ok */
};
void store_read_at(struct store *s, struct store_read *r);

/* --- events --- */

/* One change. `was` is what it replaced (NULL: the key is new), `now` what it became (NULL: deleted); now->create_rev
 * tells a new life of a key from an update. Borrowed for the call; take references of the entries to keep them. */
struct store_event {
    int64_t rev;
    struct store_entry *was, *now;
};
struct str store_event_key(const struct store_event *e);

/* True if everything that happened after `rev` is known. Otherwise EXPIRED (410), in exactly these cases: rev is
 * below store_floor (compacted, or before a restore); or it lies in a gap: revisions above the last one in the log
 * when the server ended without a close, up to the ceiling that was reserved then. A reader of such a revision may
 * have seen lazy writes that are lost, or have seen nothing of a failed one that was found after all. BAD_REQUEST: a
 * revision not yet visible. */
MUST_USE bool store_resumable(const struct store *s, int64_t rev, struct err *err);

/* Every change from now on, in order, after it is visible and before its writer is answered. */
struct store_subscriber {
    struct list node;
    void (*fn)(struct store_subscriber *sub, const struct store_event *events, size_t n);
};
void store_subscribe(struct store *s, struct store_subscriber *sub); /* sees changes after store_rev() */
void store_unsubscribe(struct store_subscriber *sub);                /* at any time, also from fn; twice is fine */

/* The changes with after < rev <= upto below a prefix, oldest first. Calls fn in portions (a few hundred a turn),
 * then done. Never inside store_history. */
struct store_history {
    int64_t after, upto; /* upto at most store_rev(); 0 means that */
    struct str prefix;   /* borrowed until done */
    void (*fn)(struct store_history *h, const struct store_event *events, size_t n);
    void (*done)(struct store_history *h);
    /* out: */
    bool ok;
    struct err err; /* EXPIRED, BAD_REQUEST as store_resumable; EXPIRED also when compaction overtakes the reader */
    /* the store's: */
    struct list node;
    struct store *store;
    struct history_work *work;
    int64_t at; /* told up to here */
};
void store_history(struct store *s, struct store_history *h);
void store_history_cancel(struct store_history *h); /* neither fn nor done will be called; after done: nothing */

/* Forgets history up to `rev` (at most store_rev()); happens by itself after keep_ns, or log_bytes. */
void store_compact(struct store *s, int64_t rev);

/* --- numbers --- */

enum { STORE_BUCKETS = 16 };
struct store_stats {
    size_t keys, history, history_bytes; /* live keys; changes in memory and their estimated bytes */
    size_t queued, lazy;                 /* ops not yet visible; changes visible but not logged */
    int64_t rev, floor;
    uint64_t logged_bytes;          /* bytes of values given to the log since open */
    uint64_t file_bytes, wal_bytes; /* of the engine's files; 0: it has none */
    uint64_t writes, refused,
        failed; /* changes made visible; ops refused by compare or limit; ops failed for the disk */
    uint64_t batches, batches_failed, syncs; /* commits tried that failed; fsyncs of the log */
    uint64_t batch_size[STORE_BUCKETS];      /* [i]: batches of at most 2^i changes, not cumulative; the last: more */
    uint64_t commit_ns[STORE_BUCKETS];       /* [i]: commits that took at most 2^i * 64 us; the last: more */
    uint64_t commit_ns_sum, batch_size_sum;
};
void store_stats(const struct store *s, struct store_stats *out);
