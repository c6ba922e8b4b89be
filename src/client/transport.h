/* transport.h - the calls a client makes to an API server, over objects and option structs, asynchronous on a loop.
 *
 * One interface, three implementations: http.c (https or a unix socket), fake.c (a tiny API in memory, for tests) and
 * the one in the server's own process, which cli joins over server/request.h. A transport belongs to one loop; a call
 * is embedded in its owner, is answered in a later turn of that loop (never from inside call_start), once. Objects in
 * answers are shared and immutable. */
#pragma once
#include "api/kind.h"
#include "api/obj.h"
#include "base/list.h"

struct loop;
struct call;
struct call_options;
struct watch;
struct watch_options;
struct upgrade;

struct transport {
    const struct transport_ops *ops;
    struct loop *loop;
};
struct transport_ops {
    const char *name; /* "https", "process", "fake" */
    void (*call_start)(struct transport *t, struct call *c, const struct call_options *o);
    void (*call_cancel)(struct transport *t,
                        struct call *c); /* done is not called; what the server does is unknown */
    void (*watch_start)(struct transport *t, struct watch *w, const struct watch_options *o);
    void (*watch_stop)(struct transport *t, struct watch *w);
    /* NULL: this transport has none, and upgrade_start must not be called */
    void (*upgrade_start)(struct transport *t, struct upgrade *u, struct str path_and_query, const char *protocols);
    void (*upgrade_send)(struct transport *t, struct upgrade *u, struct str message, bool binary);
    void (*upgrade_close)(struct transport *t, struct upgrade *u); /* closed is not called after it */
    void (*free)(struct transport *t);
};
void transport_free(struct transport *t); /* every call, watch and upgrade must be over; NULL is fine */
AUTO_POINTER(transport_free, struct transport);
/* Any thread: fn runs in the thread of the transport. */
void transport_post(struct transport *t, void (*fn)(void *arg), void *arg);

enum call_verb {
    CALL_GET,
    CALL_LIST,
    CALL_CREATE,
    CALL_UPDATE,
    CALL_PATCH,
    CALL_DELETE,
    CALL_DELETE_COLLECTION,
    CALL_RAW, /* any method on any path: discovery, logs, openapi, version; https only besides the usual ones */
};
enum patch_type { PATCH_JSON, PATCH_MERGE, PATCH_STRATEGIC, PATCH_APPLY };
enum propagation_policy { PROPAGATION_DEFAULT, PROPAGATION_BACKGROUND, PROPAGATION_FOREGROUND, PROPAGATION_ORPHAN };

/* What is asked. Texts, trees and bytes are borrowed only until call_start returns. */
struct call_options {
    enum call_verb verb;
    const struct kind *kind;
    struct str ns, name; /* ns "" with LIST and WATCH of a namespaced kind: all namespaces */
    struct str sub; /* "status", "scale", "binding", "eviction", "token"; a named create posts to the subresource */
    /* CREATE, UPDATE: the object (or the body of the subresource). PATCH: the patch (JSON patch: a list). */
    const struct val *body;
    const struct type *body_type; /* NULL: the kind's own, or untyped for patches and subresources */
    int64_t expect_rev;           /* UPDATE, PATCH, DELETE: fail with E_CONFLICT unless it is this one; 0: any */
    struct str expect_uid;        /* UPDATE, PATCH, DELETE: the same for metadata.uid */
    enum patch_type patch;
    bool force; /* PATCH_APPLY */
    bool dry_run;
    struct str field_manager, field_validation; /* "": the server's default */
    /* GET, LIST, DELETE_COLLECTION */
    struct str label_selector, field_selector;
    struct str resource_version, resource_version_match, continue_token;
    int64_t limit; /* 0: none */
    /* LIST: watches of this kind by the same user are told a bookmark of now, or as soon as they have caught up */
    bool marks;
    bool as_table; /* GET, LIST: answered as a meta/v1 Table in `tree` */
    /* DELETE */
    int64_t grace_s; /* -1: the object's own */
    enum propagation_policy propagation;
    /* RAW, and `query` for the others too: "a=b&c=d", already escaped */
    const char *method;
    struct str path, query, accept, content_type, bytes;
};
/* grace_s begins as -1; set it afterwards */
#define CALL_OPTIONS(...) ((struct call_options){.grace_s = -1, __VA_ARGS__})

struct call {
    struct transport *transport;
    void (*done)(struct call *c); /* in the loop; may free the call's owner */
    /* RAW: pieces of the body of a 2xx answer as they come (logs -f); NULL: collected in `bytes` up to `max_bytes` */
    void (*data)(struct call *c, struct str piece);
    size_t max_bytes; /* 0: 64 MiB */
    /* The answer: valid in `done`, freed when it returns unless taken (call_take_obj). */
    bool ok;
    struct err err;     /* not ok: kind and the server's message; E_UNAVAILABLE or E_IO where there was no answer */
    struct obj *obj;    /* one object of the call's kind */
    struct obj **items; /* LIST: n objects, in the order of keys */
    size_t n;
    int64_t rev;               /* LIST: the revision of the list; else that of obj; 0 unknown */
    struct str continue_token; /* LIST: "" at the end */
    const struct val
        *tree;        /* any other answer (Scale, Table, TokenRequest); not ok: the Status, where there was one */
    struct str bytes; /* RAW */
    int http;         /* status of the answer; 0: none */
    int64_t retry_after_ns; /* what the server asked for; 0: nothing */
    const char *warnings;   /* the texts of Warning headers, one a line; NULL: none */
    /* the implementation's */
    void *impl;
    struct arena arena; /* of tree, items, bytes */
    struct list node;
    bool keep; /* the answer outlives done, until call_fini (call_run) */
};
/* The call must not be under way. `c` keeps done and data, the rest is reset. */
void call_start(struct call *c, struct transport *t, const struct call_options *o);
void call_cancel(struct call *c); /* not under way: nothing happens */
bool call_active(const struct call *c);
struct obj *call_take_obj(struct call *c); /* the reference is the caller's; NULL: no object in the answer */
/* For programs that do one thing after another, and tests: starts it and runs the loop until it is done (or the loop
 * stops). Free what it holds with call_fini. */
MUST_USE bool call_run(struct call *c, struct transport *t, const struct call_options *o, struct err *err);
void call_fini(struct call *c);
AUTO_VALUE(call_fini, struct call);
/* For implementations: sets transport and clears the answer; ends the call: runs done, then frees the answer. */
void call_begin(struct call *c, struct transport *t);
void call_finish(struct call *c);

enum watch_event { WATCH_ADDED, WATCH_MODIFIED, WATCH_DELETED, WATCH_BOOKMARK };

struct watch_options {
    const struct kind *kind;
    struct str ns, label_selector, field_selector;
    int64_t rev;       /* events after it; 0 only with `initial`: now */
    bool initial;      /* sendInitialEvents: the state as ADDED events, then a bookmark with initial_end (KEP-3157) */
    bool no_bookmarks; /* bookmarks are asked for otherwise */
    int64_t timeout_s; /* 0: the server's */
};
struct watch {
    struct transport *transport;
    /* DELETED carries the last state with the revision of the deletion. A BOOKMARK has obj NULL and `rev`. */
    void (*event)(struct watch *w, enum watch_event type, struct obj *obj, int64_t rev, bool initial_end);
    /* Over, once, not after watch_stop. E_NONE: the server closed it in order, resume at the last revision.
     * E_EXPIRED, E_GONE: the revision is gone, list again. Anything else: resume after a back-off. */
    void (*ended)(struct watch *w, const struct err *err);
    void *impl;
    struct list node;
};
void watch_start(struct watch *w, struct transport *t, const struct watch_options *o); /* options are borrowed */
void watch_stop(struct watch *w); /* no event after it; not started: nothing happens */
bool watch_active(const struct watch *w);
/* For implementations: the watch is over; runs ended, which may start it again. */
void watch_over(struct watch *w, const struct err *err);

/* A connection upgraded to WebSocket: exec, attach, port-forward (v5.channel.k8s.io, SPDY/3.1+portforward.k8s.io). */
struct upgrade {
    struct transport *transport;
    void (*opened)(struct upgrade *u, struct str protocol); /* the one the server chose */
    void (*message)(struct upgrade *u, struct str bytes, bool binary);
    void (*drained)(struct upgrade *u);                       /* what was sent has left; NULL: not interested */
    void (*closed)(struct upgrade *u, const struct err *err); /* once; E_NONE: closed in order */
    size_t queued; /* bytes not sent yet: stop reading your source above some limit */
    void *impl;
};
/* protocols: "v5.channel.k8s.io, v4.channel.k8s.io", in order of preference */
void upgrade_start(struct upgrade *u, struct transport *t, struct str path_and_query, const char *protocols);
void upgrade_send(struct upgrade *u, struct str message, bool binary);
void upgrade_close(struct upgrade *u);
