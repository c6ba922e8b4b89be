/* managed.h - metadata.managedFields: who owns which fields of an object, and what a write changes about it.
 *
 * At rest a list is counted and immutable, shared by the revisions of an object between which it stays the same: an
 * entry is a time and a reference to what it says, its fields encoded (FieldsV1); what says the same is there once in
 * the process. Any thread.
 *
 * For a write the list is opened (struct owners, in an arena), reckoned with, and closed again. Pure but for the
 * table of what is said; its lock is held for a look-up. */
#pragma once
#include "api/apply.h"
#include "api/kind.h"

/* What an entry says besides its time. Texts end in a NUL. */
struct managed_words {
    int refs; /* under the table's lock */
    bool apply;
    uint32_t nmanager, napi, nsub, nfields;
    uint64_t hash;
    struct managed_words *next;
    char text[]; /* manager, API version, subresource, FieldsV1 as JSON */
};
#define MANAGED_NO_TIME INT64_MIN
struct managed_entry {
    int64_t time; /* seconds since 1970 */
    const struct managed_words *words;
};
struct managed {
    int refs; /* atomic */
    uint32_t n;
    struct managed_entry e[];
};
/* NULL is the empty list, for all of these. */
const struct managed *managed_ref(const struct managed *m);
void managed_unref(const struct managed *m);
AUTO_POINTER(managed_unref, const struct managed);
bool managed_equal(const struct managed *a, const struct managed *b, bool times);
size_t managed_bytes(const struct managed *m); /* of memory, what is shared with others in part */
size_t managed_words_alive(void);              /* entries that differ, in the process: for tests */

/* As metadata has it: the JSON of the list; its fields in protobuf, each with the field's number. */
void managed_json(struct strbuf *b, const struct managed *m);
void managed_pb(struct strbuf *b, uint32_t number, const struct managed *m);
struct val managed_val(struct arena *a, const struct managed *m);
/* What managed_json wrote. */
MUST_USE bool managed_parse(struct str json, const struct managed **own_out, struct err *err);
/* As a client may have sent it: entries that are no good are left out. For tests: a write
 * makes owners of it. */
const struct managed *managed_of_val(const struct val *list);

/* --- a write --- */

struct owner {
    struct str name, api_version, sub;
    bool apply;
    int64_t time;
    const struct managed_words *words; /* while the set is as it was; borrowed from the list that was opened */
    bool read;                         /* set is filled in */
    struct fieldset set;
};
struct owners {
    struct arena *a;
    struct owner *p;
    size_t n, room;
};
/* The list lives as long as what is made of it. */
struct owners owners_open(struct arena *a, const struct managed *m);
/* What a client sent; E_BAD_REQUEST where an entry has no good operation, version, type of fields or fields. */
MUST_USE bool owners_of_val(struct arena *a, const struct val *list, struct owners *out, struct err *err);
/* Sorted as upstream has them. NULL: none. */
const struct managed *owners_close(struct owners *m);

/* How a tree reads in another version of its kind. */
struct versions {
    /* NULL: there is no such version (its entries go). *t: its type. */
    const struct val *(*as)(struct versions *v, struct str api_version, const struct val *tree,
                            const struct type **t);
};

struct managing {
    struct arena *a;
    const struct type *type;
    struct str api_version, sub; /* of the request */
    struct str manager;
    const struct fieldset *resets;   /* what the server resets of what is sent; NULL: nothing */
    const char *const *const *takes; /* or: of which it takes nothing else (paths of names, "*" any); NULL: all */
    const struct val *was;           /* typed; NULL: it is made */
    const struct val *unowned;       /* of an update: what of it nobody is to own; NULL: `was` */
    int64_t now;                     /* seconds since 1970 */
    struct versions *versions;       /* NULL: there is but one */
};
/* A write that is no apply: `now` (typed and defaulted) is what the client wants, sent is what it says of
 * managedFields (NULL: nothing). *changed: the list is another one. */
void manage_update(const struct managing *g, const struct managed *have, const struct val *now,
                   const struct val *sent, struct owners *out);

struct conflict {
    const struct owner *with;
    struct str path;
    size_t order; /* among all */
};
enum managed_apply { APPLY_DONE, APPLY_CONFLICTS, APPLY_WRONG };
struct applying {
    struct val merged;          /* raw: the object as it is to be; to be decoded by type and defaulted. Shares with
                                   managing.was what was left alone: copied before it is changed */
    ptrdiff_t self;             /* in the managers: whose time manage_applied sets; -1: it owns nothing */
    struct conflict *conflicts; /* sorted by manager */
    size_t nconflicts;
    struct str last_applied; /* the annotation of client-side apply, to be set in what was merged; p NULL: not */
};
/* config: as its JSON reads. APPLY_WRONG: err, with upstream's words. For tests. */
enum managed_apply manage_apply(const struct managing *g, const struct managed *have, const struct val *config,
                                bool force, struct owners *out, struct applying *done, struct err *err);
/* The same on managers that are open. */
enum managed_apply manage_apply_open(const struct managing *g, const struct val *config, bool force, struct owners *m,
                                     struct applying *done, struct err *err);
/* As manage_update, on managers that are open. */
void manage_update_open(const struct managing *g, const struct val *now, struct owners *m);
/* It changed the object: since now. */
void manage_applied(const struct managing *g, struct owners *m, const struct applying *done);

/* "alice" with subresource "status" using v1: as conflicts name it. */
void owner_text(struct strbuf *b, const struct owner *m);
/* "Apply failed with 1 conflict: conflict with ..." */
void conflicts_text(struct strbuf *b, const struct applying *done);

/* Of an object the managers of its scale, and back. Where its replicas stand in a version (names, NULL-terminated;
 * NULL: there is no such version, and entries of it go) is told by `path`. */
struct scale_paths {
    const char *const *(*path)(const struct scale_paths *p, struct str api_version);
};
struct owners owners_to_scale(struct arena *a, struct owners *m, const struct scale_paths *paths);
struct owners owners_from_scale(struct arena *a, struct owners *parent, struct owners *scale,
                                const struct scale_paths *paths, struct str api_version);
