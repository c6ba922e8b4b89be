/* process.h - the transport inside the server's own process: calls become requests (server/request.h) that carry a
 * user and pass everything from authorization on; objects are shared, nothing is encoded.
 *
 * Its loop is the server's or another one: then writes, their answers and the events of watches pass from one to the
 * other by loop_post, and reads are answered where they are asked, from what the server has published. */
#pragma once
#include "client/transport.h"
#include "server/server.h"

/* As system:serviceaccount:kube-system:ACCOUNT, or, where the account begins with "system:", as that user. The server
 * must outlive it. */
struct transport *process_transport_new(struct loop *l, struct server *s, const char *account)
    __attribute__((returns_nonnull));
