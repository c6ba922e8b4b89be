/* fencing.h - the loop's side of fence.h: brings the kernel's table to what the fences want in jobs, one transaction
 * at a time, says which revision is in force, repairs what others touch. As long as there is no policy there is no
 * table, and nothing to do.
 *
 * Until the first fencing_apply the kernel is left as an earlier run left it, so a restart opens no fence: put all
 * that exists before. The first one, and each repair, makes a new generation of all there is beside the old one, and
 * then leads every pod from that to this in one transaction. */
#pragma once
#include "net/fence.h"
#include "sys/loop.h"

struct fencing;
struct fencing_events {
    /* All that was put and deleted before fencing_apply(revision) is in the kernel, and connections that are allowed
     * no more are cut off. Once for each revision that is newer than the last one told. */
    void (*applied)(void *arg, uint64_t revision);
    void (*failed)(void *arg, const struct err *err); /* tried again until it holds; told once a reason */
};
struct fencing_config {
    struct instance instance;
    struct cidr4 pods, node_pods;
};
MUST_USE struct fencing *fencing_new(struct loop *l, const struct fencing_config *c,
                                     const struct fencing_events *events, void *arg, struct err *err);
void fencing_free(struct fencing *f);             /* the kernel keeps its rules; safe while a job runs */
struct fences *fencing_fences(struct fencing *f); /* to put and delete in */
void fencing_apply(struct fencing *f, uint64_t revision);
/* Refused connections (packets of new connections) by policy and direction since the rules were made, asked in a job;
 * fn runs later in the loop's thread, once, also with an error; arg outlives it. */
struct fence_count {
    struct str ns, policy; /* the pod is isolated by it and no policy allowed the packet */
    bool egress;
    uint64_t packets, bytes;
};
void fencing_counts(struct fencing *f,
                    void (*fn)(void *arg, const struct fence_count *list, size_t n, const struct err *err),
                    void *arg);
