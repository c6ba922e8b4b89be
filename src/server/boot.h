/* boot.h - what a fresh cluster holds: namespaces, roles and bindings, priority classes, the Services kubernetes and
 * kube-dns, the APIServices of what is built in, a StorageClass and an IngressClass (once:
 * whoever deletes them has no use for them), definitions that were asked for. Made where missing, at every start;
 * what somebody has changed stays, but for APIServices that say they are managed (as upstream's: at the start, and
 * not again after that). What leads to the API (default/kubernetes) is made again as well when somebody has deleted
 * it. */
#pragma once
#include "server/request.h"

struct boot_facts {
    struct str service_ip; /* of the Service kubernetes: the first of the range */
    struct str dns_ip;     /* the tenth */
    struct str service_cidr;
    struct str address; /* where pods reach the API server */
    int port;
    bool local_volumes;     /* a node of this machine makes volumes: a StorageClass for them, once */
    bool front_door;        /* this machine serves Ingresses: an IngressClass for them, the default one, once */
    struct str definitions; /* sets of definitions.h, comma separated, that are to be there; "": none */
};
/* Runs in the store's loop; `done` is called from it when everything is there. */
void boot_start(struct server *s, const struct boot_facts *f, void (*done)(struct server *s));

/* Whether it is one of those that lead to the API, and making them again where they are missing. */
bool boot_is_the_api(const struct obj *o);
void boot_api_again(struct server *s, const struct boot_facts *f);

/* rbac_boot.c: the roles and bindings, one after another; false at the end. `k` and a tree in the arena. */
bool rbac_boot_next(struct arena *a, size_t i, const struct kind **k, struct str *ns, struct val *tree);
