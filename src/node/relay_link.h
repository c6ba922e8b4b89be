/* relay_link.h - the node's side of its talk with the relay (relay.h says what the relay does). The node listens on a
 * unix socket; a relay that is started (again) connects. What strangers sent is read by the relay alone: the node
 * gets short answers of a fixed form. */
#pragma once
#include "api/tree.h"
#include "base/err.h"
#include "node/probe_http.h"

struct agent;
struct loop;

/* path: of the socket. Only a peer of this uid (SO_PEERCRED) is listened to. */
MUST_USE bool relay_link_open(struct agent *g, const char *path, unsigned uid, struct err *err);
void relay_link_close(void);
/* The container is over: those who follow its log are told. */
void relay_container_ended(struct str id);
/* One attempt of a probe or hook (core/v1 HTTPGetAction, TCPSocketAction), done by the relay. Texts of failures as a
 * kubelet writes them: "HTTP probe failed with statuscode: 404", "dial tcp IP:PORT: connect: connection refused".
 * done comes later from the loop, once. Without a relay it waits for one: what could not be asked has not failed. */
enum relay_probe_kind { RELAY_PROBE_HTTP, RELAY_PROBE_HOOK, RELAY_PROBE_TCP, RELAY_PROBE_GRPC };
void relay_probe(enum relay_probe_kind kind, const struct val *action, const struct val *container, struct str pod_ip,
                 int64_t timeout_ns, void (*done)(void *arg, enum probe_outcome outcome, struct str message),
                 void *arg);
