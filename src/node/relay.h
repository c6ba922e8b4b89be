/* relay.h - the relay role: what reaches a node from outside. Unprivileged; serves the kubelet API's paths (logs,
 * exec, attach, port-forward, figures) to the server of this machine, and over HTTPS to whom that server lets in, and
 * does HTTP and TCP probes for the node. It asks the node by relay_proto.h; descriptors come from there, so it opens
 * nothing itself. One loop. */
#pragma once
#include "sys/loop.h"

struct relay;
struct relay_config {
    struct loop *loop;
    int own_listen_fd; /* unix, for the server */
    int own_door_fd;   /* TCP, for strangers; -1: it could not be opened */
    int door_port;     /* tried again and again where it could not be; 0: none is wanted */
    const char *api;   /* "unix:PATH" of the API server, which says who they are and what they may */
    const char *node_name;
    const char *configz;     /* the answer of /configz */
    unsigned server_uid;     /* who may ask (SO_PEERCRED), besides root */
    const char *edge_socket; /* "unix:PATH" of the front door's role, for its counters; NULL: none runs here */
    const char *node_socket; /* where the node listens; connected to, again and again */
};
struct relay *relay_new(const struct relay_config *c); /* for as long as the process lives */
