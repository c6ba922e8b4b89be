/* relay_int.h - what the files of the relay share. */
#pragma once
#include "node/probe_http.h"
#include "node/relay.h"
#include "node/relay_proto.h"
#include "sys/inotify.h"
#include "wire/http_server.h"

/* Something asked of the node. Embedded in who asks; news come until relay_forget. */
struct relay_ask {
    struct list node;
    int64_t id;
    struct relay *relay;
    /* texts: what follows the id. own_fd: -1, or the callee's to close. `name` "lost": the node is gone, the last
     * news. */
    void (*news)(struct relay_ask *a, struct str name, const struct str *texts, size_t n, int own_fd);
};
struct relay {
    struct loop *loop;
    struct http_server *http;
    struct relay_config cfg;
    int node_fd; /* -1: not connected */
    struct poll node_poll;
    struct relay_queue out; /* to the node */
    struct timer again;
    int64_t next_id;
    char *taken; /* why the HTTPS port is not open, until it is; NULL: it is, or is not wanted */
    struct list asks;
    struct inotify notify; /* for all logs that are followed */
    bool notifying;
    struct timer look; /* at those that have no watch */
    struct list followers;
};
/* A message with this name and a fresh id; add texts to it, then relay_send. */
void relay_ask_begin(struct relay *r, struct relay_ask *a, struct strbuf *b, const char *name);
/* fds stay the caller's. False: the node cannot be reached; `a` is forgotten. */
MUST_USE bool relay_send(struct relay_ask *a, struct strbuf *b, const int *fds, size_t nfds);
/* A message to the node that is connected. */
MUST_USE bool relay_tell_node(struct relay *r, const struct strbuf *b, const int *fds, size_t nfds, struct err *err);
void relay_forget(struct relay_ask *a, bool tell_node);
void relay_fail(struct http_request *h, int status, struct str text); /* plain text, as a kubelet answers */
struct str relay_query(struct http_request *h, struct str name);      /* the first value; "" where absent */
bool relay_query_true(struct http_request *h, struct str name);

void relay_serve(struct relay *r, struct http_request *h); /* who asks, may */
void relay_door_start(struct relay *r, int own_fd);        /* listening, for strangers */
void relay_door_try(struct relay *r);                      /* opens it, now or when the port is free */
void relay_tell_taken(struct relay *r);                    /* the node, that it is not */
void relay_probe_start(struct relay *r, struct str id, const struct str *texts, size_t n);
void relay_probe_grpc(struct relay *r, struct str id, struct str host, int port, int64_t timeout_ns,
                      struct str service);
void relay_logs_init(struct relay *r);
void relay_logs(struct relay *r, struct http_request *h, struct str ns, struct str pod, struct str container);
void relay_exec(struct relay *r, struct http_request *h, struct str ns, struct str pod, struct str container,
                bool attach);
void relay_forward(struct relay *r, struct http_request *h, struct str ns, struct str pod);
void relay_metrics(struct relay *r, struct http_request *h);
/* Answers where the path is one of figures; false: it is none. */
MUST_USE bool relay_figures(struct relay *r, struct http_request *h);
void relay_files(struct relay *r, struct http_request *h, struct str path);
/* To the node: how a probe went. */
void relay_probed(struct relay *r, struct str id, enum probe_outcome outcome, struct str text);
