/* int.h - what the modules of the API server share: the server, its objects, and the steps of a request. */
#pragma once
#include "api/strategy.h"
#include "base/map.h"
#include "server/health.h"
#include "server/interest.h"
#include "server/readers.h"
#include "server/request.h"
#include "server/server.h"
#include "server/slow.h"
#include "wire/http_server.h"
#include <pthread.h>

struct rbac;
struct alloc;
struct expiry;
struct room;
struct keys;
struct crds;
struct watching;
struct boot_facts;
struct admit_row;
struct webhooks;
struct policies;
struct quotas;
struct aggregates;
struct trust;
struct remotes;

/* The newest visible revision: its objects by key, and those of some kinds by a field's value (scan.h). */
struct published {
    struct store_snapshot objects;
    struct pmap fields;
};

struct server {
    struct kind_publisher kinds; /* what is served: every request takes it */
    struct arena arena;          /* as long as the server */
    struct loop *loop;
    struct server_options options;
    struct store *store;
    struct store_options store_options; /* with which it was opened */
    int fds[16];                        /* listening sockets until they are served */
    size_t nfds;
    struct http_server *http, *local; /* local: on the unix socket; NULL: none */
    uint8_t impersonated[1024];       /* by who asks: the way that was open last (impersonate.c); 0: none yet */
    struct http_server *inside;       /* for this process itself (server_meet); NULL: nobody has asked yet */
    struct tls_server *tls;
    struct kind_listener kinds_changed;
    struct crds *crds;                  /* crds.h */
    struct keys *keys;                  /* pki.h */
    struct rbac *rbac;                  /* rbac.h */
    struct alloc *alloc;                /* alloc.h */
    struct expiry *expiry;              /* expiry.h */
    struct room *room;                  /* room.h */
    struct webhooks *webhooks;          /* webhook.h */
    struct policies *policies;          /* policies.h */
    struct quotas *quotas;              /* quota.h */
    struct aggregates *aggregates;      /* aggregate.h */
    struct trust *trust;                /* trust.h */
    struct remotes *remotes;            /* remotes.h */
    struct measured *measured;          /* measured.h; NULL: nobody asked yet */
    struct map turns;                   /* key -> struct write_turn: whose write is under way (turn.c) */
    struct list waiting;                /* writes that wait for an answer from elsewhere (write.h) */
    struct soon leaving;                /* some of them may be waited for by nobody any more */
    struct list conversions;            /* by webhooks, that are under way (conversion.h) */
    struct list watch_lines;            /* events that wait for one (watch.c) */
    size_t writes_waiting;              /* for their turn or an answer */
    const struct admit_row *admit_more; /* asked after the built-in ones: of tests */
    size_t nadmit_more;
    struct list watches;
    struct interests interests; /* of watches that have caught up */
    struct map watchers;        /* over HTTP: name of a user -> how many */
    struct slow slow;           /* what waits for watchers over HTTP */
    struct readers readers;     /* of older states: lists over HTTP, first events of watches */
    size_t old_reads;           /* lists of an older revision whose objects are put back (read.c) ... */
    struct list old_waiting;    /* ... and those that wait for it */
    pthread_mutex_t asked_lock;
    struct list asked; /* requests from other loops that are to run in this one (request.c) */
    bool asked_posted;
    struct list fresh; /* reads that wait for a revision (fresh.c) */
    size_t nwatches;   /* atomic */
    struct store_subscriber subscriber;
    pthread_mutex_t published_lock;
    struct published published; /* any thread may take it */
    struct pmap fields;         /* of the store's loop: the next published.fields (scan.h) */
    struct timer housekeeping, announce, api_again;
    struct boot_facts *facts; /* boot.h; in the arena */
    bool ready, stopping;
    size_t ngzips;              /* answers that are being compressed */
    int draining;               /* HTTP servers that have something under way */
    void (*drained)(void *arg); /* NULL: not draining */
    void *drained_arg;
    struct timer drain_limit;
    struct metrics *metrics;
    struct health_results health;
    int port;
    int64_t started; /* real ns */
};

/* --- kinds.c: which kinds are served --- */

void kinds_init(struct server *s);
void kinds_fini(struct server *s);
/* Serves these from now on: requests that have begun keep to the set before. Watches of a kind that is gone, or was
 * replaced, end: who watches lists anew and sees what there is. The store's loop. */
void kinds_serve(struct server *s, const struct kind_set *own_set);
/* The second half of opening the store (store_options.known). */
bool kinds_known(void *arg, const struct store_snapshot *have, struct err *err);

/* --- objects.c: kinds and keys in the store --- */

struct str uid_new(struct arena *a); /* a version 4 uuid (RFC 9562) as text */

/* Where a kind is stored: "pods/", "deployments.apps/"; objects are PREFIX NS "/" NAME or PREFIX NAME. */
struct str object_prefix(struct arena *a, const struct kind *k);
struct str object_key(struct arena *a, const struct kind *k, struct str ns, struct str name);
extern const struct store_type object_store_type;
/* The object at the newest visible revision, in any thread: a reference, NULL where there is none. */
struct obj *object_get(struct server *s, const struct kind *k, struct str ns, struct str name);
struct store_snapshot objects_snapshot(struct server *s); /* any thread; store_snapshot_fini it */
struct obj *object_of(const struct store_entry *e);       /* borrowed */
/* Those of a kind (ns p NULL: of all namespaces), newest; fn returns false to stop. The prefix is right in any
 * thread. */
void objects_each(struct server *s, const struct kind *k, struct str ns, bool (*fn)(struct obj *o, void *arg),
                  void *arg);
/* An object served as another group's kind (events.k8s.io) or in another version of a definition's: a reference to
 * it, or to a converted one. What a webhook has to convert (conversion.h) is only told to be of the version. */
struct obj *object_as(const struct kind_set *set, const struct kind *k, struct obj *o);
/* The newest kind of the version that it is stored in, of those that are stored as k; NULL: there is none any more.
 */
const struct kind *kind_newest(const struct kind_set *set, const struct obj *o, const struct kind *k);
/* Its tree as that kind has it. */
struct val object_newest(struct arena *a, const struct kind_set *set, const struct obj *o);
/* The same of a tree that is written: it shares what does not change. */
struct val tree_as(struct arena *a, const struct kind *from, const struct kind *to, const struct val *tree);
/* convert_hpa.c: HorizontalPodAutoscaler in the other version's form; apiVersion is the caller's. */
struct val hpa_to_v1(struct arena *a, const struct val *v);
struct val hpa_to_v2(struct arena *a, const struct val *v);
/* The object with another revision (a DELETED event carries the revision of the deletion). */
struct obj *object_at(struct obj *o, int64_t rev);

/* --- request.c --- */
/* A serving certificate for the node that belongs to this server (its peer of system:nodes), as PEM; server.c. */
MUST_USE bool server_node_leaf(struct server *s, struct strbuf *cert, struct strbuf *key, struct err *err);

void request_finish(struct request *r); /* answered: gives back what its write holds, runs done in r->loop */

/* --- verbs: each answers r now or later; they run after authorization --- */
void verb_get(struct request *r);    /* read.c; any thread */
void verb_list(struct request *r);   /* read.c */
void verb_write(struct request *r);  /* write_object.c: create, update, patch; the store's loop */
void verb_delete(struct request *r); /* delete.c */
void verb_delete_collection(struct request *r);

/* As obj_new_packed: in the kind's stored form, in the place of `was` (NULL: of nothing). */
struct obj *object_from(const struct kind *k, const struct val *tree, const struct obj *was);
