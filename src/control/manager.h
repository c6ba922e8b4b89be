/* manager.h - runs controllers: caches for all kinds that any of them reads, a work queue for each, the plans, and
 * the one apply. Belongs to the loop of its transport. */
#pragma once
#include "control/plan.h"
#include "control/work.h"

struct manager;
typedef void keys_add_fn(void *arg, struct str ns, struct str name);

/* Which keys a change of one object concerns. was NULL: added; now NULL: deleted. */
struct controller_watch {
    const struct kind *kind; /* NULL ends the list */
    void (*keys)(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add, void *arg);
};
/* The same of a kind that a CustomResourceDefinition defines, by its name ("gateways.gateway.networking.k8s.io"): its
 * objects are told of while it is there, in the version by which all of them are watched. Plans find it by
 * view_defined; while view.settling its objects may not all be in yet. */
struct defined_watch {
    const char *definition; /* NULL ends the list */
    void (*keys)(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add, void *arg);
};
struct controller {
    const char *name;      /* "deployment": in logs, in `wherry why` */
    const char *component; /* "deployment-controller": source of its events */
    const char *setting;   /* that it belongs to: does not run where that is off; NULL: always runs */
    const char *account;   /* "deployment-controller": system:serviceaccount:kube-system:... that it acts as */
    const struct controller_watch *watches;
    const struct defined_watch *defined; /* NULL: none */
    const struct kind
        *sign; /* a change of this kind is a sign of life, noted for its keys (view.heard); NULL: none */
    /* For which keys it is one; NULL: for those that its watch names. A deletion is to name its key, too. */
    void (*signs)(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add, void *arg);
    /* Told of every kind that can be watched, events left out, besides; NULL: not wanted. */
    void (*any)(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add, void *arg);
    void (*plan)(const struct view *v, struct key key, struct plan *out);
};
extern const struct controller *const controllers[]; /* all; NULL-terminated; rows in controllers.c */

struct manager_options {
    struct transport *transport; /* the caches read through it */
    /* The transport that writes as this account: "system:kube-scheduler" is a user, other names are service accounts
     * of kube-system. NULL: the one above. Borrowed. */
    struct transport *(*transport_of)(void *arg, const char *account);
    void *arg;
    const struct controller *const *controllers; /* NULL-terminated; NULL: all */
    struct kind_publisher
        *kinds;    /* what is served, by the thread of the transport's loop or another; NULL: built in */
    bool schedule; /* run the scheduler too */
    /* Time zones by name (view.zone); NULL: only UTC. */
    const struct zone *(*zone)(void *arg, struct str name, struct err *err);
    void *zone_arg;
    struct str root_ca;    /* PEM, for the ConfigMaps kube-root-ca.crt; borrowed */
    int64_t hpa_period_ns; /* view.hpa_period */
    action_work_fn *work;  /* of actions; NULL: no controller here asks for any */
    void *work_arg;
    x509_read_fn *x509; /* for plans (view.x509) */
};
struct manager *manager_new(const struct manager_options *o);
void manager_start(struct manager *m);
void manager_stop(struct manager *m); /* nothing new is begun; calls under way are cancelled */
void manager_free(struct manager *m); /* stops; NULL is fine */
AUTO_POINTER(manager_free, struct manager);
const struct view *manager_view(struct manager *m); /* of this moment: for the scheduler */
/* The machine's clock was set, or it was suspended: what waits for a time of the day looks again. The manager notices
 * that by itself when something happens; this is for who knows at once. */
void manager_clock_set(struct manager *m);
bool manager_idle(const struct manager *m); /* every key is done and nothing waits: for tests */
bool kind_is_watched(const struct kind *k); /* by rows with `any` */
/* The indexes that plans may use on a kind's set. */
const struct objindex *const *kind_indexes(const struct kind *k);

/* Usual mappings; keys_none is for what a plan only reads. */
void keys_none(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add, void *arg);
void keys_self(const struct view *v, const struct obj *was, const struct obj *now, keys_add_fn *add, void *arg);
void keys_of_controller(const struct view *v, const struct obj *was, const struct obj *now, const struct kind *owner,
                        keys_add_fn *add, void *arg);
