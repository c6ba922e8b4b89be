/* request.h - one request to the API as a struct, wherever it came from: over HTTP, or from a controller in the same
 * process. It carries who asks, what for, and why that was allowed; in-process requests skip HTTP and codecs and
 * pass everything from authorization on.
 *
 * Threads: a request belongs to one thread at a time. Its owner fills it in the thread of r->loop and calls
 * request_start; until `done`, which runs in that thread again and never inside request_start, nobody else touches
 * it. Reads of objects are answered from an immutable snapshot in the caller's thread; writes, subresources and lists
 * that go on go to the store's loop.
 *
 * Lifetimes: everything a request points to lives in its arena, is static, or is counted and released by
 * request_fini. The body is borrowed and never changed. */
#pragma once
#include "api/kindset.h"
#include "api/obj.h"
#include "base/array.h"
#include "base/list.h"
#include "store/store.h"
#include "sys/loop.h"

struct server;
struct write;

/* Who asks (authentication.k8s.io/v1 UserInfo). Borrowed by requests: lives as long as they do. */
struct user {
    struct str name, uid;
    const struct str *groups;
    size_t ngroups;
    const struct val *extra; /* map of lists of strings; NULL: none */
};
extern const struct user user_anonymous;
bool user_in_group(const struct user *u, struct str group);
/* In whose name connections are counted: a namespace's service accounts are one, since whoever may make one there may
 * make many. Part of the user's name. */
struct str user_share(const struct user *u);

enum field_validation { VALIDATION_WARN, VALIDATION_STRICT, VALIDATION_IGNORE };
enum patch_format { FORMAT_JSON_PATCH, FORMAT_MERGE_PATCH, FORMAT_STRATEGIC_PATCH, FORMAT_APPLY_PATCH };
enum said { NOT_SAID, SAID_NO, SAID_YES };

/* The options of all verbs (meta/v1 *Options); zero is "not said". */
struct request_options {
    bool dry_run;
    enum field_validation validation;
    struct str field_manager;
    /* reads */
    struct str resource_version, resource_version_match, continue_token;
    int64_t limit;
    struct str label_selector, field_selector;
    bool watch, bookmarks;
    enum said send_initial_events;
    int64_t timeout_s; /* of a watch; 0: the server's */
    /* patches */
    enum patch_format patch;
    bool force;
    /* deletes */
    bool grace_said;
    int64_t grace_s;
    struct str expect_uid, expect_rev; /* preconditions; p NULL: none */
    struct str propagation;            /* "", Orphan, Background, Foreground */
    enum said orphan;
};

struct failure_cause {
    struct str reason, message, field;
};
/* What becomes a meta/v1 Status. */
struct failure {
    int code;
    const char *reason; /* "": none */
    struct str message;
    bool details; /* even where they are empty: some answers of upstream have {}, some have none */
    struct str name, group, kind, uid;
    struct failure_cause *causes;
    size_t ncauses;
    int retry_after_s;
    const char *challenge; /* WWW-Authenticate; NULL: none */
};

enum answer_type {
    ANSWER_NONE,   /* not answered yet */
    ANSWER_OBJECT, /* obj */
    ANSWER_TREE,   /* tree of tree_type, with apiVersion and kind: Status, Scale, reviews */
    ANSWER_LIST,   /* items, rev, continued, remaining */
    ANSWER_FAILED, /* fail */
};
struct answer {
    enum answer_type type;
    int code;
    struct obj *obj;    /* counted */
    struct obj **items; /* heap; each counted */
    size_t n;
    bool old; /* the items are of an older revision: nobody else may have them */
    int64_t rev;
    struct str continued; /* token; "": complete */
    int64_t remaining;    /* -1: not told */
    struct val tree;
    const struct type *tree_type;
    struct failure fail;
    ARRAY(struct str) warnings; /* header Warning: 299 - "..." */
};

struct request {
    struct arena arena;
    struct server *server;
    struct loop *loop;               /* where done runs */
    void (*done)(struct request *r); /* once; may free the request */

    const struct kind_set *kinds; /* what is served to it; counted */
    const struct user *user;
    enum verb verb;                      /* 0: a path that is no resource */
    struct str verb_text;                /* as RBAC names it: "get" ... "deletecollection", or "impersonate" */
    const struct kind *kind;             /* NULL: none is served under these names */
    const struct subresource *sub_row;   /* NULL: none */
    struct str group, version, resource; /* resource: plural */
    struct str ns, name, sub;            /* sub: "status" ...; "" none */
    struct str user_agent; /* its first word writes where no fieldManager is said; p NULL: of the server */
    struct str path;       /* as asked; where verb is 0 authorization looks at it */
    struct request_options options;
    const struct kind *body_kind; /* of the body of a subresource, where it has one; NULL: kind */
    const struct val *body;       /* decoded by type; a patch untyped; NULL: none */
    const struct val *body_notes; /* of a patch: what is there twice or unknown, texts; NULL: nothing */
    struct str body_name;         /* RBAC sees the name of the URL; audit and admission see this one */
    struct str why;               /* why it was allowed: `RBAC: allowed by ClusterRoleBinding "..." of ...` */
    /* The object as it were without what its writer owns of it (managedFields): the rest is whose who applies it
     * next. NULL: who writes owns what the write changes. */
    const struct val *unowned;
    bool as_stored;         /* names and metadata alone count: no webhook converts what is read */
    bool waited;            /* for a revision to come: once is enough */
    bool authorized;        /* as a part of what was: not asked again. Bootstrap, too */
    bool admitted;          /* no admission: what it is a part of was admitted. Bootstrap, too */
    bool cancelled;         /* atomic: request_cancel */
    struct request *parent; /* what it is a part of; NULL: it is asked for by itself */

    struct answer answer;

    /* the server's */
    struct list asked;   /* of another loop: until it runs in the store's */
    struct write *write; /* NULL: it is none */
    struct store_read read;
    void *state; /* of a read that takes several steps; in the arena */
};

/* Zeroes, and sets what every request has. */
void request_init(struct request *r, struct server *s, struct loop *l, void (*done)(struct request *r));
void request_fini(struct request *r); /* only before request_start or after done */
AUTO_VALUE(request_fini, struct request);
/* What is asked of a kind: fills kind, names, verb and verb_text. */
void request_for(struct request *r, enum verb verb, const struct kind *k, struct str ns, struct str name,
                 struct str sub);
/* Authorizes, admits, does. */
void request_start(struct request *r);
/* Nobody waits for the answer any more: a write that waits for something outside of the server, before anything has
 * happened, is given up. `done` comes as always. In r->loop's thread, between request_start and done; twice is fine.
 */
void request_cancel(struct request *r);
const char *verb_name(enum verb v);

/* For what answers: exactly one of these, once. False is returned for `return fail_...(r)`. */
bool answer_obj(struct request *r, int code, struct obj *o); /* takes a reference of its own */
bool answer_tree(struct request *r, int code, const struct type *t, struct val tree);
void answer_warn(struct request *r, struct str text); /* copied */
void answer_reset(struct request *r);                 /* not answered yet, warnings gone */
