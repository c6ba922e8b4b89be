/* relay_link.h - the node's side of its talk with the relay (relay.h says what the relay does). The node listens on a
 * unix socket; a relay that is started (again) connects. What strangers sent is read by the relay alone: the node
 * gets short answers of a fixed form. */
#pragma once
#include "api/tree.h"
#include "base/err.h"

struct agent;
struct loop;

/* path: of the socket. Only a peer of this uid (SO_PEERCRED) is listened to. */
MUST_USE bool relay_link_open(struct agent *g, const char *path, unsigned uid, struct err *err);
void relay_link_close(void);
/* The container is over: those who follow its log are told. */
void relay_container_ended(struct str id);
/* One HTTP (core/v1 HTTPGetAction) or TCP (tcp true: TCPSocketAction) attempt, done by the relay. Texts of failures
 * as a kubelet writes them: "HTTP probe failed with statuscode: 404", "dial tcp IP:PORT: connect: connection
 * refused". done comes later from the loop, once. Without a relay it waits for one: what could not be asked has not
 * failed. */
void relay_probe(const struct val *action, const struct val *container, struct str pod_ip, bool tcp,
                 int64_t timeout_ns, void (*done)(void *arg, bool ok, struct str message), void *arg);
