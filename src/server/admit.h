/* admit.h - admission: what the cluster adds to or refuses of a write, beyond the object's own rules. A table of
 * rows in upstream's order; all mutating ones run before the object is prepared and validated, all validating ones
 * after. To add one: a row in admit.c and its functions in admit_THING.c. */
#pragma once
#include "server/request.h"

/* Beside the verbs. */
enum {
    ADMIT_CONNECT = 1 << 8, /* exec, attach, portforward, proxy */
    ADMIT_APART = 1 << 9,   /* of a row: it is asked of what is no object, too */
};

struct admission {
    struct request *r;
    unsigned verb; /* VERB_CREATE, VERB_UPDATE (patches too), VERB_DELETE, ADMIT_CONNECT */
    const struct kind *kind;
    struct str ns, name, sub;
    /* obj is no object of the kind but what is asked of one: a Binding, an Eviction, a TokenRequest, a review, the
     * options of a connection. */
    bool apart;
    struct val *obj; /* in r->arena, may be changed by mutating steps; NULL: a delete */
    const struct val *old;
    size_t at;                                   /* the row that is asked, or waits */
    void **kept;                                 /* admit_kept; NULL: nothing yet */
    struct webhook_round *mutating, *validating; /* webhook.h; NULL: none was asked yet */
    struct policy_pass *policies;                /* policies.h: mutating ones; NULL: none was asked yet */
    bool again;                                  /* the mutating rows run for the second time */
};
/* Of the request, for admit_mutate; what was kept before stays. old NULL: there is none. */
void admit_begin(struct admission *x, struct request *r, unsigned verb, struct val *obj, const struct val *old);
/* False: r is answered, or its write waits (write.h). Asked again after that, they go on at the row that waited. */
MUST_USE bool admit_mutate(struct admission *x);
MUST_USE bool admit_validate(struct admission *x);

/* False: r is answered; or write_wait(x->r->write, ...) said true, and the row is asked again when its answer is
 * there. A row keeps what it was told, and for what question, in *admit_kept(x), which is NULL at first: a write that
 * starts over, as its object has changed meanwhile, asks it once more. What is kept lives in the request's arena. */
typedef bool admit_fn(struct admission *x);
void **admit_kept(struct admission *x);

struct admit_row {
    const char *name;
    unsigned verbs;
    const struct kind *kind; /* NULL: all */
    admit_fn *mutate, *validate;
};
admit_fn admit_cert_requester, admit_cert_rules, admit_namespace, admit_limit_defaults, admit_limit_bounds,
    admit_quota, admit_service_account, admit_priority_pod, admit_priority_class, admit_tolerations, admit_new_node,
    admit_storage_class, admit_storage_protection, admit_claim_resize, admit_runtime_class, admit_overhead,
    admit_resize, admit_pod_security_labels, admit_pod_security, admit_topology, admit_ingress_class,
    admit_escalation, admit_binding_escalation, admit_requester, admit_approval, admit_signing, admit_subject,
    admit_node, admit_ephemeral, admit_webhooks_mutate, admit_webhooks_validate, admit_policies_mutate,
    admit_policies_validate;
