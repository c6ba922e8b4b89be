/* relay.h - the relay role: what reaches a node from outside. Unprivileged; serves the kubelet API's paths for logs,
 * exec, attach and port-forward to the server of this machine, and does HTTP and TCP probes for the node. It asks the
 * node by relay_proto.h; descriptors come from there, so it opens nothing itself. One loop. */
#pragma once
#include "sys/loop.h"

struct relay;
struct relay_config {
    struct loop *loop;
    int own_listen_fd;       /* unix, for the server */
    unsigned server_uid;     /* who may ask (SO_PEERCRED), besides root */
    const char *edge_socket; /* "unix:PATH" of the front door's role, for its counters; NULL: none runs here */
    const char *node_socket; /* where the node listens; connected to, again and again */
};
struct relay *relay_new(const struct relay_config *c); /* for as long as the process lives */
