/* lease.h - coordination.k8s.io Leases: a node's heartbeat, and who leads. Belongs to the loop of its transport. */
#pragma once
#include "client/transport.h"

struct lease;

struct lease_options {
    struct str ns, name, holder;
    int64_t duration_s;      /* spec.leaseDurationSeconds: others may take it this long after the last renewal */
    int64_t renew_ns;        /* how often to renew */
    const struct obj *owner; /* ownerReference of a new lease (a node's); NULL: none */
    bool elect;              /* leave a lease of another holder alone until it expired; else always write ours */
    void (*got)(void *arg);  /* we hold it now; NULL: not interested */
    void (*lost)(void *arg); /* not renewed within the duration, or taken: stop acting before anything else */
    void *arg;
};
struct lease *lease_new(struct transport *t, const struct lease_options *o);
void lease_start(struct lease *l);
void lease_free(struct lease *l); /* does not release it; NULL is fine */
AUTO_POINTER(lease_free, struct lease);
bool lease_held(const struct lease *l);
