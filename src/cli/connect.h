/* connect.h - the connection of a verb to its server: one loop, one transport, straight-line calls. */
#pragma once
#include "api/tree.h"
#include "cli/args.h"
#include "client/http.h"
#include <stdio.h>

struct connect_options {
    struct str kubeconfig, context, root, ns, server, token;
};
extern const struct arg_row connect_rows[];
extern const size_t connect_nrows;

struct resource;
struct client {
    struct arena arena; /* of everything a verb reads: freed at its end */
    const char *verb;
    struct loop *loop;
    struct transport *transport;
    struct kubeconfig config;
    struct str ns; /* what -n or the context says */
    bool ns_given;
    struct resource *resources; /* resource.c: what the server has, once asked */
    size_t nresources;
};
/* The verb's arena must be c->arena already; false: an error. */
MUST_USE bool client_open(struct client *c, const struct connect_options *o, struct err *err);
void client_fini(struct client *c);
AUTO_VALUE(client_fini, struct client);

struct ask {
    const char *method; /* NULL: GET */
    struct str path, query, accept, content_type;
    const struct val *body;
};
/* Asks and waits. The answer as a tree in the client's arena; NULL out: not wanted. The first warning goes to
 * stderr. */
MUST_USE bool client_ask(struct client *c, const struct ask *q, struct val *out, struct err *err);
MUST_USE bool client_ask_text(struct client *c, const struct ask *q, struct str *out, struct err *err);
/* What went wrong before there was an answer, with the way out. */
bool client_unreachable(const struct client *c, struct err *err);
/* "a=b" added to a query, escaped; an empty value adds nothing. */
void query_put(struct strbuf *b, const char *name, struct str value);
/* "wherry VERB: TEXT" on stderr; 1. */
int client_failed(const struct client *c, const struct err *err);
