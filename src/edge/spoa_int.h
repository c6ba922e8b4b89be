/* spoa_int.h - what the agent's files share: spoa.c (connections, rules, mirrors, pages), spoa_auth.c (who may
 * come in). */
#pragma once
#include "base/list.h"
#include "base/map.h"
#include "edge/spoa.h"
#include "edge/spop.h"
#include "wire/http_client.h"

#define CALL_MOST (10 * NS_PER_S)

struct spoa_held { /* a rule, copied */
    struct arena arena;
    struct spoa_rule rule;
    struct door_auth auth;
    int64_t told; /* when it was last said that nobody could be asked */
};
struct spoa_connection {
    struct spoa *agent;
    struct stream *stream;
    struct strbuf in;
    bool greeted;
    struct list node, questions;
};
struct spoa_question {
    struct spoa *agent;
    struct spoa_connection *connection; /* NULL: it has gone, or nobody waits for the answer */
    struct arena arena;
    uint64_t stream, frame;
    struct str rule, method, uri, host, headers, key; /* key: under which the result is remembered */
    bool secure;
    struct http_call *call;
    struct list node, all;
};
struct spoa {
    struct loop *loop;
    struct spoa_config config;
    char *run;
    struct listener listener;
    struct list connections, questions;
    size_t nconnections, nquestions;
    struct map rules;  /* name -> struct spoa_held */
    struct map peers;  /* "ADDRESS" or "tls ADDRESS HOST" -> struct http_client */
    struct map known;  /* key -> struct spoa_known */
    struct map checks; /* key -> struct spoa_check */
    struct tls_client *tls;
    bool over;
};

/* What is put between begin and end is one ACK; the end frees the question. */
struct spoa_answer {
    struct strbuf out;
    size_t begin;
};
struct spoa_answer answer_begin(const struct spoa_question *q);
void answer_end(struct spoa_answer *x, struct spoa_question *q);
const struct spoa_rule *spoa_rule_of(struct spoa *a, struct str name); /* NULL: there is none */
/* Kept connections to an address, or to a server of a pool, by chance; NULL: it cannot be asked. */
struct http_client *spoa_peer(struct spoa *a, bool tls, struct str host, struct str port, struct err *err);
/* What of a request's headers (req.hdrs) is for somebody else as well. */
void spoa_headers(struct arena *m, struct str text, struct http_headers *out);
void spoa_release(struct spoa *a); /* frees what is left, once no job is under way */
/* Says sooner or later whether the request may come in. */
void auth_asked(struct spoa_question *q, struct str credentials, struct str known);
