/* acme_role_int.h - what the parts of ACME in the front door's role share: the objects that are worked on. */
#pragma once
#include "client/workqueue.h"
#include "edge/acme_step.h"
#include "edge/edge.h"

#define ACME_SOURCE    "Acme" /* of the door */
#define ACME_NAME_NOTE "cert-manager.io/certificate-name"

/* An object that is worked on. */
struct acme_item {
    struct acme_role *role;
    const char *definition;
    char *key, *ns, *name;
    bool busy;
    int tries;
    int64_t not_before, rest_until;
    int64_t generation; /* of the spec that not_before and tries are about */
    int64_t written;    /* the revision of our last write of it; nothing is decided before it is seen */
    /* issuers */
    char *new_key, *old_key;
    char *asked_at; /* the note of who asked last */
    bool asked;
    ARRAY(char *) secrets; /* that are wanted of the feed, in secret_ns */
    char *secret_ns;
    /* challenges */
    bool in_door, solved;
    uint64_t door_revision;
    struct strbuf alpn_chain, alpn_key;
    /* what is under way */
    struct plan plan;
    size_t at;  /* the next action of the plan */
    bool heard; /* the plan is what follows from an answer */
    struct acme_todo todo;
    struct acme_step step;
    bool stepping;
    struct call call;
    char *uid; /* of the object that it is about */
};
struct acme_role {
    struct edge *edge;
    struct acme_tools tools;
    struct workqueue *queue;
    struct events *events;
    struct map items;   /* "DEFINITION/NS/NAME" -> struct acme_item */
    ARRAY(char *) held; /* keys whose work waits until the feed has what is wanted */
    bool dirty;         /* the door's part is to be made anew */
    bool wants_certificates;
};

/* make: where it is not there; else NULL. */
struct acme_item *acme_item_get(struct acme_role *r, const char *definition, struct str ns, struct str name,
                                bool make);
struct obj *acme_item_object(const struct acme_item *i); /* as it is in the view; borrowed, NULL: gone */
bool acme_item_is_issuer(const struct acme_item *i);

/* acme_facts.c: what is known besides the objects. */
void acme_facts_gather(struct acme_item *i, const struct view *v, const struct obj *o, struct arena *a,
                       struct acme_facts *f);
struct str acme_account_hash(struct arena *a, const struct obj *issuer, struct str key);
struct str acme_account_told(const struct obj *issuer); /* the hash that the status remembers */

/* acme_door.c: what the door shows for Challenges, and what it has. */
void acme_part_make(struct acme_role *r);
void acme_part_applied(struct acme_role *r, uint64_t revision);
