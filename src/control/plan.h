/* plan.h - controllers as data. plan(view, key, out) reads a snapshot and writes down what it wants done, when to
 * look again, and - if it cannot proceed - why, in words for the object's owner. It has no clock, no descriptor and
 * no memory between two calls, and never looks at which event came; so it can be tested with files, replayed, and
 * asked.
 *
 * Applying is one function for all (manager.c): steps in order, the actions of a step at once; a key is planned again
 * only when everything its last plan wrote is seen in the view, so no plan ever acts twice on a stale picture. */
#pragma once
#include "api/kindset.h"
#include "base/array.h"
#include "base/clock.h"
#include "client/objset.h"
#include "client/transport.h"
#include "control/x509.h"

struct key {
    struct str ns, name;
};

struct zone;
/* What came of a question that a plan asked (plan_ask). */
struct plan_reply {
    int64_t at;      /* when it came, ns since 1970 */
    int http;        /* status; 0: nobody answered, `text` says why */
    struct val body; /* the JSON of the answer, a Status where it was refused with one; VAL_NULL: it was none */
    struct str text; /* the error; "": none */
};
/* What is, as far as we know. Complete: a plan is not run before every set it may read is in. */
struct view {
    const struct objset **sets;   /* by kind->id; NULL: nobody watches it */
    const struct kind_set *kinds; /* that are served; NULL: the built-in ones */
    bool settling;                /* kinds have come whose sets are not in yet */
    int64_t now;                  /* ns since 1970, of this turn */
    int64_t since;                /* when this view began to know: what is absent is unknown since then */
    int64_t woke;       /* when this process last found that it had slept (stopped, suspended, or its clock was
                           moved): nobody is late for what they should have said meanwhile; 0: never */
    int64_t heard;      /* when the newest sign came of what the key names (controller.sign), by our own count of
                           time and not by what stands in it; 0: none yet */
    int64_t heard_real; /* the same by the machine's clock as it stood then */
    int64_t why_since;  /* since when this key's plans could not proceed (plan_why); 0: they could */
    struct str why;     /* what the last one said of it; "": nothing. So that an event tells it once */
    const struct map *replies; /* path -> struct plan_reply, of this controller's plans; NULL: none */
    /* What the last plan of this key left for the next (plan.memory); NULL: nothing, as after a start of this process
     */
    const struct val *memory;
    int64_t hpa_period; /* how often an HorizontalPodAutoscaler looks, ns; 0: upstream's 15 s */
    struct str root_ca; /* the cluster's certificate authority, PEM */
    struct str trouble; /* what the application of this key's last plan ran into; "": nothing */
    /* The time zone of that name, "" for the machine's own; borrowed until the next question. NULL: only UTC. */
    const struct zone *(*zone)(void *arg, struct str name, struct err *err);
    void *zone_arg;
    x509_read_fn *x509; /* reads certificates; NULL: nobody does */
};
static inline const struct kind_set *view_kinds(const struct view *v)
{
    return v->kinds ? v->kinds : &kind_set_builtin;
}
struct obj *view_get(const struct view *v, const struct kind *k, struct str ns, struct str name); /* borrowed */
struct objset_iter view_all(const struct view *v, const struct kind *k);
struct objset_iter view_with(const struct view *v, const struct kind *k, const struct objindex *index,
                             struct str key);
/* The kind that a CustomResourceDefinition of that name defines ("gateways.gateway.networking.k8s.io"), in the
 * version by which its objects are in the view; NULL: it is not served. */
const struct kind *view_defined(const struct view *v, const char *definition);
/* *zone NULL: UTC (base/zone.h). False: there is none of that name, or its file is damaged. */
MUST_USE bool view_zone(const struct view *v, struct str name, const struct zone **zone, struct err *err);

enum action_verb {
    ACTION_CREATE,
    ACTION_UPDATE,
    ACTION_PATCH,
    ACTION_DELETE,
    ACTION_DELETE_ALL, /* of the kind in the namespace */
    ACTION_CHECK_GONE, /* nothing is written: fails, quietly, while the object with that uid is there */
};

struct plan_event {
    struct obj *about; /* counted */
    const char *type;  /* "Normal", "Warning" */
    const char *reason;
    const char *action; /* of a new-style event; NULL: an old-style one */
    struct str message;
};
struct action {
    enum action_verb verb;
    int step;
    const struct kind *kind;
    struct str ns, name, sub;
    struct val body;       /* the object, the patch (merge), the subresource's body */
    struct val work;       /* what completes the body first, in a thread of the pool (work.h); VAL_NULL: nothing */
    struct obj *was;       /* counted; what an update changes: its revision is expected; NULL else */
    struct str expect_uid; /* "" any */
    int64_t expect_rev;    /* 0: any */
    int64_t grace_s;       /* of a delete; -1: the object's own */
    enum propagation_policy propagation;
    bool strategic;           /* the patch is a strategic merge one, not a merge patch */
    bool absent_ok;           /* NotFound means that it is already so */
    bool exists_ok;           /* the same of AlreadyExists */
    struct plan_event done;   /* recorded when it succeeded; about NULL: none */
    struct plan_event failed; /* when it failed; the error follows the message */
};
struct plan {
    struct arena arena;
    ARRAY(struct action) actions;
    ARRAY(struct plan_event) events; /* recorded in any case */
    int64_t again;                   /* look again at this time, ns since 1970; 0: when something changes */
    struct str why;                  /* why the wish is not reality yet; "" if it is, or is on its way */
    ARRAY(struct str) asks;          /* paths to be asked (plan_ask) */
    struct val memory; /* for the next plan of the key (view.memory), kept as long as this process lives; VAL_NULL:
                        * nothing */
    int step;
};
void plan_fini(struct plan *p);
AUTO_VALUE(plan_fini, struct plan);

/* The answers may be filled further (step, events, expectations) until the next action is added. */
struct action *plan_create(struct plan *p, const struct kind *k, struct str ns, struct str name, struct val body);
/* body: the whole object, made by plan_edit; nothing is planned (NULL) where it equals `was`. sub "" or "status". */
struct action *plan_update(struct plan *p, const struct obj *was, struct str sub, struct val body);
/* The same where `work` completes the body, so that it cannot be compared. */
struct action *plan_update_worked(struct plan *p, const struct obj *was, struct str sub, struct val body,
                                  struct val work) __attribute__((returns_nonnull));
struct action *plan_patch(struct plan *p, const struct obj *was, struct str sub, struct val merge_patch);
struct action *plan_delete(struct plan *p, const struct obj *was);
struct action *plan_delete_all(struct plan *p, const struct kind *k, struct str ns);
/* Sets of two kinds need not be equally fresh: where something is done because an object is absent, ask for it first.
 * uid "": another of that name is there as well. */
struct action *plan_check_gone(struct plan *p, const struct kind *k, struct str ns, struct str name, struct str uid);
struct val plan_edit(struct plan *p, const struct obj *o); /* a copy of its tree to change */
/* The same for an update of the status, which says nothing of the spec: what is packed of that (api/packed.h) is not
 * in it. */
struct val plan_edit_status(struct plan *p, const struct obj *o);
void plan_step(struct plan *p);              /* what is planned from here on waits until all before has succeeded */
void plan_again(struct plan *p, int64_t at); /* the earliest counts */
void plan_why(struct plan *p, const char *fmt, ...) PRINTF(2, 3); /* the first counts */
void plan_event(struct plan *p, struct obj *about, const char *type, const char *reason, const char *fmt, ...)
    PRINTF(5, 6);
/* GETs the path (and query) of the API, as the controller's account: another server's, whose kinds are in no set. The
 * key is planned again once it is answered, with the answer among view.replies, where plans of other keys find it
 * too; each says how old one may be. A plan that asks does nothing else. */
void plan_ask(struct plan *p, struct str path);
/* The answer to that, where it came after `since`; NULL: there is none. */
const struct plan_reply *view_reply(const struct view *v, struct str path, int64_t since);
/* For the fields `done` and `failed` of an action. */
struct plan_event plan_event_of(struct plan *p, const struct obj *about, const char *type, const char *reason,
                                const char *fmt, ...) PRINTF(5, 6);
/* One line an action, event and reason; updates as merge patches. For tests and logs. */
void plan_text(const struct plan *p, struct strbuf *out);

/* Conditions, as upstream keeps them: lastTransitionTime moves only with status. `status` is an object's. */
const struct val *condition_get(const struct val *status, const char *type);
struct val *condition_get_mut(struct val *status, const char *type);
bool condition_is(const struct val *status, const char *type, const char *status_text);
struct condition {
    const char *type, *status, *reason; /* reason NULL: none, and no message */
    struct str message;
    /* observedGeneration, in the place where a PodCondition has it, or where a meta/v1 Condition does */
    enum { NOT_OBSERVED, OBSERVED_OF_POD, OBSERVED } observed;
    int64_t generation;
    bool updated; /* with lastUpdateTime */
};
/* was: the one before it; NULL: it is new, whatever stood there. */
struct val condition_make(struct arena *a, const struct condition *c, const struct val *was, int64_t now);
/* The conditions of a status, the new one behind the others. */
struct val conditions_with(struct arena *a, const struct val *status, const struct condition *c, int64_t now);
struct val conditions_without(struct arena *a, const struct val *status, const char *type);
/* A list of conditions takes the place of what the status has; an empty one is left out. */
void conditions_set(struct arena *a, struct val *status, struct val list);
/* What every new child carries: the owner reference with controller and blockOwnerDeletion. */
struct val owner_ref(struct arena *a, const struct obj *owner);
/* 5 characters as upstream's random suffixes have them, a function of the seed and n alone. */
struct str name_suffix(struct arena *a, struct str seed, int64_t n);
/* rand.SafeEncodeString of a decimal hash: no vowels, no digits that read as letters. */
struct str safe_encode(struct arena *a, struct str s);
/* The same in every run and on every machine (FNV-1a, mixed). */
uint64_t stable_hash(struct str s, uint64_t seed);
