/* server.h - the API server: one store, one HTTPS front, one loop. */
#pragma once
#include "server/request.h"
#include "sys/loop.h"

/* Who a process on the unix socket is. */
struct server_peer {
    unsigned uid;
    const char *user, *group; /* group besides system:authenticated; NULL: none */
};
struct server_options {
    const char *root;      /* folder above var/lib/wherry/server and etc/wherry; "": the machine's */
    const char *listen;    /* "0.0.0.0:6443", "127.0.0.1:0"; several, separated by commas */
    const int *listen_fds; /* inherited sockets instead; the server's now */
    size_t nlisten_fds;
    const char *advertise;    /* the address in kubeconfig and Endpoints; NULL: found */
    const char *service_cidr; /* NULL: 10.43.0.0/16 */
    const char *domain;       /* NULL: cluster.local */
    const char *node_socket;  /* where nodes of this machine answer; NULL: /run/wherry/relay.sock below root */
    const char *node_ports;   /* NULL: 30000-32767 */
    bool local_volumes;       /* a node of this machine makes volumes for claims: they have a StorageClass */
    bool front_door;          /* this machine serves Ingresses: they have a class */
    const char *definitions;  /* sets that are to be there, comma separated (definitions.h); NULL: none */
    bool memory;              /* nothing on disk but keys */
    size_t objects_most;      /* 0: LIMIT_OBJECTS */
    size_t stored_bytes_most; /* of which a namespace may have half; 0: LIMIT_STORED_BYTES */
    int64_t history_ns;       /* how long earlier revisions can be read and resumed from; 0: 5 minutes */
    int64_t events_ns;        /* how long an Event stays after its last change; 0: an hour */
    /* Makes of what is stored the kinds that are served beside the built-in ones: a reference, NULL with err. Asked
     * while the store opens, once there is everything whose kind is built in. NULL: those that definitions define. */
    const struct kind_set *(*kinds)(void *arg, const struct store_snapshot *have, struct err *err);
    /* A unix socket (inherited, the server's now; -1 or 0: none) spoken to without TLS by processes of this machine.
     * SO_PEERCRED says who they are: those of a uid that stands here are its user, others are refused. */
    int unix_fd;
    const struct server_peer *peers;
    size_t npeers;
    /* A fresh cluster's objects are there, and requests are served; from the loop, once. NULL: not wanted. */
    void (*ready)(void *arg);
    void *arg;
};
/* Starts it all; sockets are bound on return and served from `ready` on. NULL: nothing was started. Blocking: reads
 * the store. The loop's thread owns it. */
struct server *server_start(struct loop *l, const struct server_options *o, struct err *err) MUST_USE;
void server_stop(struct server *s); /* requests and watches from inside must be over; NULL is fine */
AUTO_POINTER(server_stop, struct server);
/* Takes nothing further, answers what is under way and ends watches, in order: clients lose nothing. Then `done`,
 * from the loop; in any case after two seconds, as what is passed on to a node may have no end. The sockets stay
 * open: who connects meanwhile waits for the next server. */
void server_drain(struct server *s, void (*done)(void *arg), void *arg);
/* The last thing that a process does with it, whatever is under way: what is queued is committed, and the store
 * closed, so that it is one file and no revision is in doubt. Nobody is answered any more. */
void server_close_store(struct server *s);
/* Own_fd is one end of a pair of sockets whose other end is in this process: HTTP/1.1 is spoken on it, and who asks
 * there is one of system:masters, who says by Impersonate-User for whom it asks. For paths that are no resources of
 * this server. Any thread. */
void server_meet(struct server *s, int own_fd);
struct kind_publisher *server_kinds(struct server *s);          /* of the server's loop */
void server_ca_key(const struct server *s, struct strbuf *out); /* its private key, PEM: wipe it */
struct str server_ca_pem(const struct server *s);               /* of the cluster; as long as the server */
