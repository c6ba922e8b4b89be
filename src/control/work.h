/* work.h - the part of an action that takes long or needs what this room has not: keys, signatures. The plan says
 * what is wanted (action.work), the manager gives it away with the body that it is to complete, and sends the body
 * once it is back. What is asked may hold secrets: it is never logged, and wiped when it is over. */
#pragma once
#include "api/tree.h"

struct action_work {
    struct arena arena; /* of ask, body and err: nothing of the plan is in it */
    struct val ask;     /* a map; "do" says what, the rest is between the plan and who does it */
    struct val body;    /* what the action is to send, to be completed */
    bool ok;            /* set before done; else err is the action's failure */
    struct err err;
    void (*done)(struct action_work *w);
    void *owner; /* the manager's; NULL: nobody waits any more */
};
/* Begins: done is called later, once, in the manager's loop. */
typedef void action_work_fn(void *arg, struct action_work *w);
void action_work_free(struct action_work *w); /* wiped; NULL is fine */
