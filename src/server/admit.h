/* admit.h - admission: what the cluster adds to or refuses of a write, beyond the object's own rules. A table of
 * steps in upstream's order; all mutating ones run before the object is prepared and validated, all validating ones
 * after. To add one: a row in admit.c and its functions in admit_THING.c. */
#pragma once
#include "server/request.h"

struct admission {
    struct request *r;
    enum verb verb; /* VERB_CREATE, VERB_UPDATE (patches too), VERB_DELETE */
    const struct kind *kind;
    struct str ns, name, sub;
    struct val *obj; /* in r->arena, may be changed by mutating steps; NULL: a delete */
    const struct val *old;
};
/* False: r is answered. */
MUST_USE bool admit_mutate(struct admission *x);
MUST_USE bool admit_validate(struct admission *x);

typedef bool admit_fn(struct admission *x);
admit_fn admit_namespace, admit_service_account, admit_priority_pod, admit_priority_class, admit_tolerations,
    admit_new_node, admit_storage_class, admit_storage_protection, admit_runtime_class, admit_overhead,
    admit_pod_security_labels, admit_ingress_class, admit_escalation, admit_binding_escalation, admit_requester,
    admit_approval, admit_signing, admit_subject, admit_node, admit_ephemeral;
