/* world_test.h - an API server in memory and requests from inside, for tests. */
#pragma once
#include "server/write.h"
#include "sys/stream.h"

/* A server on a loop of its own, with everything that a fresh cluster holds. */
struct world {
    struct loop *loop;
    struct server *server;
    bool ready;
    size_t open; /* requests that are not answered yet */
    struct addr socket;
};
/* In the folder of the test, with a unix socket for clients. NULL: in memory, nothing else. */
void world_init(struct world *w, const struct server_options *o);
void world_fini(struct world *w);
/* Turns the loop until fn says so; a test that waits for long fails. */
void world_until(struct world *w, bool (*fn)(void *arg), void *arg);
void world_settle(struct world *w); /* until every request is answered */

/* A connection by the same, with one request sent. */
struct test_client {
    int fd;
    struct strbuf have;
    const char *until; /* client_has: a text in it; NULL: the end */
    bool ended;
};
struct test_client client_new(struct world *w, const char *method_and_path, const char *body);
bool client_has(void *client);
void client_fini(struct test_client *c);
AUTO_VALUE(client_fini, struct test_client);
/* The whole answer, in the arena. */
struct str world_http(struct world *w, struct arena *a, const char *method_and_path, const char *body);

/* A request by a cluster administrator, sent already. */
struct test_ask {
    struct request r;
    struct world *w;
    bool over;
    int code;         /* once over */
    struct str words; /* of the Status of a failure */
};
/* body: JSON, of the kind or `type`; a merge patch with VERB_PATCH; NULL: none. */
struct test_ask *ask_new(struct world *w, enum verb verb, const struct kind *k, const char *name, const char *sub,
                         const struct type *type, const char *body);
void ask_free(struct test_ask *a);
/* Asks and waits; the code of the answer. */
int ask_now(struct world *w, enum verb verb, const struct kind *k, const char *name, const char *body);
