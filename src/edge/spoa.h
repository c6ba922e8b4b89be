/* spoa.h - what HAProxy cannot decide by itself, and asks over SPOP (spop.h): who may come in (passwords, an address
 * that is asked about each request), copies of requests for a mirror, and pages for answers with an error. (A "stream
 * processing offload agent", as HAProxy's SPOE.txt calls it.)
 *
 * The shape of the proxy names the engine "door" in agent.cfg, which is written here, and sends
 *
 *   group auth: rule, method, uri, host, secure, headers, credentials, known (",NAME,NAME,": the variables that the
 *       shape uses; a rule with others, which a proxy before a reload does not know, lets nobody in)
 *       sets txn.agent.verdict (200: may pass), challenge (of 401), location (of 302), cookie (for the client), and
 * nID for each header of the answer that is given to the backend group mirror: rule, method, uri, host, headers, body
 *       sets nothing; the copy is sent and its answer dropped
 *   group errors: rule, status, uri, host, accept
 *       sets txn.agent.page (1, 16 or 128: for so many lines), l0 to l127 (its lines), page_type; none of them where
 * there is no page
 *
 * A verdict that is not there means that nobody could be asked: 503. Belongs to one loop. Passwords are compared in
 * the pool; what was found out is remembered for some minutes, and only as a hash. */
#pragma once
#include "edge/door.h"

#define SPOA_PAGE_LINES 128
struct spoa;
/* Of each rule, by its name; variables: one for each name of auth->headers, which is set to its value. */
struct spoa_rule {
    struct str name;
    struct str owner; /* "Ingress/NS/NAME" */
    const struct door_auth *auth;
    const struct str *variables;
    const struct door_mirror *mirrors;
    size_t nmirrors;
    struct str errors_pool;
};
struct spoa_config {
    struct str run; /* agent.cfg and agent.sock are here; the proxy stands in a folder below it */
    int own_socket; /* listening, on agent.sock; becomes the agent's. -1: it opens one */
    const struct door_pool *(*pool)(void *arg, struct str key); /* NULL: there is none; borrowed for the call */
    /* The address of a Service by its name in the cluster ("auth.ns.svc.cluster.local"); false: no such name, and the
     * machine's own resolver is asked. */
    bool (*resolve)(void *arg, struct str host, struct strbuf *out);
    /* Who stands behind auth-url of a rule of this owner could not be asked: at most once a minute for a rule. NULL:
     * is not told. */
    void (*unasked)(void *arg, struct str owner, const char *why);
    void *arg;
};
MUST_USE struct spoa *spoa_new(struct loop *l, const struct spoa_config *c, struct err *err);
/* Answers from now on: what is asked of one that does not know its rules yet waits in the socket. */
void spoa_begin(struct spoa *a);
void spoa_free(struct spoa *a);
void spoa_put(struct spoa *a, const struct spoa_rule *r); /* copied */
void spoa_del(struct spoa *a, struct str name);
/* The lines of the shape that need it stand in spoa.c beside agent.cfg: a backend "agent", and the filter. */
extern const char spoa_filter[], spoa_backend[];
