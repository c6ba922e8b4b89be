/* write.h - a write: a list of steps with a cursor, so that one that has to wait for an answer from elsewhere (a
 * webhook, a conversion) goes on where it was, and holds up nobody meanwhile. On the store's loop.
 *
 * A step does its piece and says WRITE_ON; or has answered the request: WRITE_OVER; or somebody else goes on with the
 * write: WRITE_LATER. It is then run again at the same step, which finds what it waited for; the store's answer is
 * followed by the step behind it. Steps before the commit change nothing but the write, so that it may end at each.
 *
 * What reads, changes and puts an object takes its key's turn first (turn.c). A write that waits for an answer from
 * elsewhere gives the turn away and takes it again: where the object is another by then, it starts over from where it
 * first took the turn, with what is there now, and so it does after a conflict in the store (another server wrote);
 * WRITE_TRIES times. What a step was told it may keep (admit_kept) and use again, if its question is the same.
 *
 * Whoever asked may leave (request_cancel), and the server may stop: what waits for an answer from elsewhere is then
 * told to give it up and ends with a 503. What is with the store, or waits for its turn, goes on. */
#pragma once
#include "server/admit.h"
#include "server/int.h"

enum { WRITE_TRIES = 5 };
enum write_next { WRITE_ON, WRITE_LATER, WRITE_OVER };
struct write_step {
    const char *name; /* what it does, a word or two */
    enum write_next (*run)(struct write *w);
};

struct write {
    struct request *r; /* in whose arena it lives */
    const struct write_step *first, *steps;
    size_t at; /* in steps: the one that is running or waited for */
    int tries;

    /* its turn at a key */
    struct str key;         /* of the object; "": it needs no turn */
    bool has_turn, rests;   /* rests: it waits, and what it has found so far stands on the object at the key */
    size_t turn_at, warned; /* in first: where it starts over, with so many warnings */
    struct list queue;      /* in the turn's */

    /* waiting for an answer from elsewhere */
    struct list waiting;             /* in server->waiting */
    void (*cancel)(struct write *w); /* NULL: it does not */

    /* trees in other versions, made by a webhook: write_as */
    struct write_version *versions; /* all that it has asked for */
    struct conversion *conversion;  /* that is under way */
    bool missing;                   /* the step that runs wants one that is not there yet */
    const struct kind *keeps; /* as which a write of metadata alone leaves it stored, and not as r->kind is; NULL: it
                               * is none */

    /* what the steps find and make */
    struct obj *stored;  /* what is at the key, as it is stored; counted; NULL: nothing */
    struct obj *cur;     /* the same as the kind that is asked for, and whole; counted */
    struct val *tree;    /* what is to be there; in the arena */
    struct str sub;      /* the part that changes: "" or "status", "ephemeralcontainers", "resize", "approval" */
    struct str generate; /* the prefix of its made name; "": it has its own */
    int64_t want;        /* the revision that the client wants to replace; 0: any */
    struct admission admission;
    bool counted;              /* on its way to the store, of a definition (crds_put) */
    struct reserved *reserved; /* addresses and ports taken for it: alloc.c */
    struct charges *charges;   /* what it was given of quotas: quota.c */

    /* who owns its fields: write_managed.c */
    const struct val *sent_managed; /* what the client says of them; NULL: nothing */
    struct managing managing;
    struct owners owners;     /* where it is tracked */
    struct applying applying; /* where something was applied */
    bool tracked, applied;
    struct err no_version; /* the fields of somebody could not be looked at: his version is not to be had */

    /* what differs between those who change an object */
    bool (*change)(struct write *w); /* makes tree of cur; false: answered */
    bool uid_conflict;               /* another uid in the tree is a 409 (PUT), not left to validation (patches) */
    void (*answer)(struct write *w, struct obj *now); /* as it is stored; NULL: with the object and code */
    int code;

    /* the commit */
    struct store_op op;
    struct store_write put;
    struct obj *pending; /* being written, then written; counted */
};

/* A write of these steps (ended by one without a name) for a request; none has run yet. */
struct write *write_new(struct request *r, const struct write_step *steps);
void write_start(struct write *w);
/* Of a request that is answered: gives back what it holds. */
void write_fini(struct write *w);
/* Goes on with other steps, from their first; for `return write_steps(w, ...)`. */
enum write_next write_steps(struct write *w, const struct write_step *steps);

/* --- waiting for an answer from elsewhere, in a step --- */

/* True: whoever calls starts what it waits for and returns; write_resume follows from a callback, or cancel, which
 * stops it: exactly one of the two, never from inside the step. False: too many wait, answered with 429. */
MUST_USE bool write_wait(struct write *w, void (*cancel)(struct write *w));
void write_resume(struct write *w);
/* Those of requests that nobody waits for any more; all, where the server stops. */
void writes_cancel(struct server *s);

/* --- other versions --- */

/* A tree as another kind of the same objects. CONVERTING: a webhook has to be asked; whatever the step says then
 * counts for nothing, and it is run again when the answer is there, so that it may go on as if there were nothing.
 * NOT: err, in upstream's words. */
enum converted { CONVERTED, CONVERTING, CONVERTED_NOT };
MUST_USE enum converted write_as(struct write *w, const struct kind *from, const struct kind *to,
                                 const struct val *tree, const struct val **out, struct err *err);
/* The object that is stored as the kind of the request; NULL: the webhook is asked, or the request is answered. */
struct obj *write_seen(struct write *w, struct obj *stored);
/* w->tree as it is to be stored; NULL: as above. */
struct obj *write_form(struct write *w);

/* --- turn.c --- */

/* The key's turn: w has it now (WRITE_ON), or write_turn_came follows, or too many wait (answered). */
enum write_next turn_take(struct write *w);
void turn_done(struct write *w); /* not taken: nothing happens */
void write_turn_came(struct write *w);

/* --- steps that many lists have --- */

enum write_next write_turn(struct write *w);    /* takes the turn of w->key, or of the request's object */
enum write_next write_stored(struct write *w);  /* finds stored; 404 where there is none */
enum write_next write_current(struct write *w); /* and cur */
enum write_next write_mutate(struct write *w); /* w->admission, which an earlier step has filled, through admission */
enum write_next write_admit(struct write *w);
enum write_next write_answer(struct write *w); /* the last: with what was written */

/* --- write_put.c: the commit. Each is the end of a step: the next one runs when it is done --- */

/* Puts an object where `stored` is (NULL: nothing), with a dry run only says so. */
enum write_next write_put(struct write *w, struct obj *own_o);
/* w->tree, as stored, in the place of stored as it is: what the server itself knows to be right. */
enum write_next write_raw(struct write *w);
/* Takes stored away; `gone` is its last state, for the answer. */
enum write_next write_delete(struct write *w, struct obj *gone);
/* Puts the object as it is at its end and then takes it away: watchers see both. Answered as a deletion. */
enum write_next write_then_delete(struct write *w, struct obj *own_o);
/* The store has done as it was told. */
void write_done(struct write *w);
/* Something else is there by now: all over again; false: it was tried often enough. */
MUST_USE bool write_again(struct write *w);

/* --- write_object.c --- */

/* From w->tree, decoded by type and not defaulted: a write of the whole object with all its rules. w->sub, change and
 * answer say what it changes. */
extern const struct write_step write_update_steps[];
/* The name that was made is taken: puts it with another one; false: it was tried often enough. */
MUST_USE bool write_renamed(struct write *w);
/* The preconditions of a delete hold for the object; false: answered. */
MUST_USE bool delete_may(struct request *r, const struct obj *cur);

/* --- write_patch.c --- */

/* What a patch changes: a document of a type. managed: its list, which is shown with it where the patch is refused,
 * and stands in the document itself only where the patch names it; NULL: empty, or there. */
struct patched {
    const struct type *type;
    const struct val *doc;
    const struct managed *managed;
};
/* The request's patch over it, decoded; false: answered. */
MUST_USE bool patch_apply(struct request *r, const struct patched *p, struct val *out);
/* A write does a bounded amount of work on long lists; beyond, what was found of it means nothing. False: answered.
 */
MUST_USE bool work_fits(struct request *r);
