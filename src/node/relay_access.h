/* relay_access.h - what a request to a node asks for in the words of RBAC, as a kubelet has them, and what is
 * remembered of the API server's answers to that. Pure but for the cache, which belongs to the relay's loop. */
#pragma once
#include "base/list.h"
#include "base/map.h"

/* Any one of the subresources of this node opens the way, tried in order. */
struct relay_access {
    struct str verb; /* "": of a method that no verb stands for */
    struct str subs[2];
    size_t n;
};
/* path: as it was sent, without the query. */
void relay_access_of(struct str method, struct str path, struct relay_access *out);

/* Answers by question, each until its time; at most so many, the oldest go first. */
#define RELAY_VERDICTS_MOST 1024
struct relay_verdict {
    struct list node;
    int64_t until; /* clock_mono ns */
    bool good;
    char *text; /* what was answered; NULL: nothing beside good */
    char key[65];
};
struct relay_verdicts {
    struct map map;
    struct list order;
};
void relay_verdicts_init(struct relay_verdicts *v);
void relay_verdicts_fini(struct relay_verdicts *v);
/* question: any text; only its hash is kept. NULL: not known, or not any more. */
const struct relay_verdict *relay_verdict_find(struct relay_verdicts *v, struct str question, int64_t now);
/* text: copied; STR_NONE where there is none. */
void relay_verdict_put(struct relay_verdicts *v, struct str question, bool good, struct str text, int64_t until);
