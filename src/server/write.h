/* write.h - the generic create and update of a stored object, for the verbs and for subresources that write their
 * parent (status, scale, binding ...). On the store's loop. */
#pragma once
#include "server/admit.h"
#include "server/int.h"

/* From the tree of a new object in r->arena: names, metadata, admission, defaults, validation, put. The object is
 * then answered with `code`. */
void write_create(struct request *r, struct val *tree, int code);

/* Replaces `cur` (borrowed) by a tree in r->arena. `sub`: which part may change. r holds the turn of the key. */
struct update {
    struct obj *cur;
    struct val *tree;  /* decoded by type, not defaulted */
    struct str sub;    /* "" or "status", "ephemeralcontainers", "resize", "approval", "finalize" */
    bool expect;       /* the tree's resourceVersion must be cur's */
    bool uid_conflict; /* another uid in the tree is a 409 (PUT), not left to validation (patches) */
    int code;
    /* instead of answering with the object: */
    bool (*answer)(struct request *r, struct obj *now, void *arg);
    void *arg;
};
void write_update(struct request *r, struct update *u);
/* Puts as it is, no rules applied: what the server itself knows to be right (binding, graceful delete). */
void write_raw(struct request *r, struct obj *cur, const struct val *tree, int code);
/* The same, answered by a function instead of with the object. */
void write_raw_then(struct request *r, struct obj *cur, const struct val *tree,
                    bool (*answer)(struct request *r, struct obj *now, void *arg), void *arg);
/* Puts the object as it is at its end and then takes it away: watchers see both. Answered as a deletion. */
void write_then_delete(struct request *r, struct obj *was, const struct val *last, int code);
/* The preconditions of a delete hold for the object; false: answered. */
MUST_USE bool delete_may(struct request *r, const struct obj *cur);
/* The object of the request at the newest revision, for a step that holds the turn: borrowed for this turn of the
 * loop; NULL: answered with 404. */
struct obj *write_current(struct request *r);
/* The request's patch over a document of a type, decoded; false: answered. */
MUST_USE bool patch_apply(struct request *r, const struct type *type, const struct val *doc, struct val *out);
/* Takes the turn of the request's object. */
void write_turn(struct request *r, void (*step)(struct request *r));
