/* acme_step.h - one step of ACME carried out (control/acme.h): by wherry-job, by a webhook of the cluster
 * (cert-manager's ChallengePayload), or by the hook of the administrator. On the loop; answered once. */
#pragma once
#include "client/transport.h"
#include "edge/acme.h"
#include "edge/acme_child.h"

struct acme_tools {
    struct loop *loop;
    struct transport *transport;
    struct str job;  /* the program wherry-job */
    struct str hook; /* the administrator's; "": none */
};
struct acme_step {
    const struct acme_tools *tools;
    const struct acme_todo *todo; /* the caller's, until it is done */
    struct acme_child child;
    struct call call;
    struct arena arena; /* of the answer */
    struct acme_answer answer;
    bool asking; /* where CNAME records lead, before a webhook or a hook is called */
    void (*done)(struct acme_step *s);
};
void acme_step_start(struct acme_step *s, const struct acme_tools *t, const struct acme_todo *todo,
                     void (*done)(struct acme_step *s));
void acme_step_fini(struct acme_step *s); /* ends what is under way; done is not called any more */
