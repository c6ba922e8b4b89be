/* edge.h - the front door's role as a whole: the feed, the door, the pools, and those who say what the door is to do.
 * Each of these is a row (edge_sources in edge.c): it hears what changes, marks what it has to work out again, and
 * puts that into the door when it is asked to decide. One loop. */
#pragma once
#include "edge/door.h"
#include "edge/feed.h"
#include "edge/pools.h"

struct edge_config {
    struct transport *transport; /* borrowed */
    struct str node;             /* its name */
    struct str domain;           /* of the cluster: cluster.local */
    struct str run;              /* folder on a tmpfs, 0700, there */
    struct str job;              /* the program wherry-job */
    bool acme;                   /* cert-manager's objects are ours to work on */
    struct str acme_hook;        /* a program of the administrator that changes DNS; "": none */
    bool acme_check;             /* a zone's own servers are asked for a record before an authority is */
    struct door_config door;
};
struct edge {
    const struct edge_config *config;
    struct loop *loop;
    struct feed *feed;
    struct door *door;
    struct pools *pools;
    struct events *events;
    struct err trouble; /* why the proxy does not serve; who asks for it is told */
    void **states;      /* of each source */
    struct timer decide;
    uint64_t revision; /* of the newest commit */
    bool put;          /* something is in the door that no commit has told yet */
    void (*ready)(void *arg);
    void *arg;
};
struct edge_source {
    const char *name; /* also the first word of its door's sources: "Ingress/NS/NAME" */
    /* Wants from the feed what it reads; its state, or NULL where it needs none. */
    void *(*start)(struct edge *e);
    void (*stop)(void *state);
    /* An object is as it is now in the feed's view. NULL ends. */
    void (*changed)(void *state, const struct kind *k, const struct obj *was, const struct obj *now);
    /* Once a turn after changes, everything that is wanted being in the view: puts what is marked. True: something
     * was put, so that the door is to be told to commit. */
    bool (*decide)(void *state);
    /* The proxy has everything up to that commit (edge.revision when it was put). NULL: not interested. */
    void (*applied)(void *state, uint64_t revision);
    /* What could not be kept of what it put; about: its source's name. NULL: it only goes to the log. */
    void (*refused)(void *state, struct str about, struct str what, const struct err *why);
};
/* Looks at everything again in a later turn: for sources that change by themselves. */
void edge_decide(struct edge *e);
struct edge *edge_new(struct loop *l, const struct edge_config *c, void (*ready)(void *arg), void *arg,
                      struct err *err) MUST_USE;
void edge_free(struct edge *e); /* the proxy goes on serving */
