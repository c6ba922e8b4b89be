/* acme_int.h - what the states of ACME's objects share. */
#pragma once
#include "control/acme.h"

/* The value at a path of names: acme_at(spec, "dns01.rfc2136.nameserver"); NULL where a step is absent. */
const struct val *acme_at(const struct val *v, const char *path);
struct str acme_text(const struct val *v, const char *path);
/* Bytes of a defined kind's field, which it has as base64. "": none, or it is none. */
struct str acme_bytes(struct arena *a, const struct val *v, const char *path);
int64_t acme_duration(const struct val *v, const char *path); /* "2160h0m0s" as ns; 0: it is none */
void acme_set(struct arena *a, struct val *map, const char *name, struct val v);
void acme_put(struct arena *a, struct val *map, const char *name, struct str s); /* "": it is taken away */
/* The status of a tree that plan_edit_status made; made where there is none. */
struct val *status_need(struct arena *a, struct val *tree);

/* One plan for one object. */
struct acme_turn {
    const struct view *v;
    const struct obj *o;
    const struct acme_facts *f;
    struct plan *out;
    struct arena *a; /* of out */
    struct acme_todo *todo;
    const struct acme_answer *answer; /* NULL: it is planned, not heard */
};
/* When a step that failed is tried again: what the server asked for, else 2 s doubled with each try, 10 minutes at
 * most. */
void turn_later(struct acme_turn *t);
/* When something that is under way is looked at again: what the server asked for, else 0.5 s doubled, 15 s at most.
 */
void turn_soon(struct acme_turn *t);
/* Whether the server is to be left alone for now (rest_until); then it is looked at again. */
bool turn_rests(struct acme_turn *t);
void turn_request(struct acme_turn *t, const struct obj *issuer, enum acme_op op); /* what every step needs */
/* The server's refusal will not pass by itself: asking again the same way is no use. */
bool answer_is_final(const struct acme_answer *r);

void issuer_plan(struct acme_turn *t);
void issuer_heard(struct acme_turn *t);
void issuer_lost(struct acme_turn *t); /* the server does not know the account of the object's issuer any more */
void order_plan(struct acme_turn *t);
void order_heard(struct acme_turn *t, const struct acme_todo *did);
void challenge_plan(struct acme_turn *t);
void challenge_heard(struct acme_turn *t, const struct acme_todo *did);
void certificate_plan(struct acme_turn *t);
void certificate_heard(struct acme_turn *t);
void request_plan(struct acme_turn *t);

bool acme_state_is_over(struct str s); /* of an Order or a Challenge */

/* Which of an issuer's solvers is for an authorization (an entry of an Order's status), as cert-manager chooses:
 * those that its challenges allow and whose selector fits; names before zones, longer zones before shorter, then more
 * labels, then the first. NULL: none. *challenge: the one that it takes; *alpn: over TLS. */
const struct val *solver_choose(const struct obj *issuer, const struct obj *order, const struct val *authorization,
                                const struct val **challenge, bool *alpn);
/* Why a solver cannot be used here, with the ways that there are; "": it can. */
struct str solver_trouble(struct arena *a, const struct val *solver, const struct acme_facts *f);
bool solver_is_dns(const struct val *solver);
