/* why.h - why an object is not as declared: one sentence with the way out, and the chain that was followed to it.
 *
 * Pure: it reads a snapshot, runs the plans that decide (deployment, replicaset, namespace, disruption,
 * sched_place()), and for what a node decided reads the status and the events as the node wrote them. A set that is
 * not in the view (nobody may read it) makes answers poorer, never wrong. */
#pragma once
#include "control/plan.h"

enum why_state {
    WHY_FINE,   /* as declared */
    WHY_COMING, /* on its way: nothing is known to stand in it */
    WHY_BLOCKED,
};
/* What was found out about one object. Texts live in the arena of the question. */
struct finding {
    enum why_state state;
    const char *cause;      /* "ImageNotFound": for programs, does not change; "" where fine */
    struct str reason, way; /* sentences without their full stop; way may be "" */
    ARRAY(struct str) chain;
};
struct why {
    struct arena arena;
    struct finding found;
    struct str head; /* "Deployment web has 1 of 3 pods ready" */
};
void why_fini(struct why *w);
AUTO_VALUE(why_fini, struct why);

struct why_ask {
    const struct view *view;
    /* The last line that a container wrote in its present or its previous run, in an arena of the asker's; "" where
     * it cannot be had. NULL: nobody can ask. */
    struct str (*last_line)(void *arg, const struct obj *pod, struct str container, bool previous);
    /* What the server says when it is to show some of a definition's objects in a version; "": it shows them. NULL:
     * nobody can ask. */
    struct str (*shown)(void *arg, const struct obj *definition, struct str version);
    /* Percent of its time since it started in which a container was held back by its CPU limit, as its node counted;
     * -1: not known. NULL: nobody can ask. */
    int (*throttled)(void *arg, const struct obj *pod, struct str container);
    void *arg;
};
void why_object(const struct why_ask *q, const struct obj *o, struct why *out);
/* A connection of a pod. */
struct why_path {
    const struct obj *from; /* a Pod */
    const struct obj *to;   /* a Pod or a Service; NULL: */
    struct str address;     /* IPv4 */
    struct str port;        /* a number; of a Service also a name, or "" where it has one port alone */
    struct str proto;       /* "": TCP, or the Service's */
};
/* Whether network policies let it through; the view has all namespaces. */
void why_reach(const struct why_ask *q, const struct why_path *p, struct why *out);
/* Why a write is refused, by the API's answer: what a webhook or the owners of fields have against it. */
void why_refusal(const struct why_ask *q, struct str head, struct str message, struct why *out);
/* "HEAD: REASON. WAY." */
void why_text(const struct why *w, struct strbuf *out);
/* Whether the kind has a row of its own; about others only their deletion can be asked. */
bool why_knows(const struct kind *k);
/* Asked of a whole cluster: false where an owner in the view speaks for it. */
bool why_stands_alone(const struct view *v, const struct obj *o);
/* What answers about any object are made from; NULL-terminated. A Namespace that goes reads every kind besides. */
extern const struct kind *const why_reads[];
/* The definitions of kinds that are read besides, where they are there; NULL-terminated. */
extern const char *const why_defined[];
