/* why_policy_int.h - words for network policies, shared by the answers about a policy and about a connection. */
#pragma once
#include "control/why_int.h"

struct str policy_word(struct question *q, const struct obj *policy); /* "NetworkPolicy web" */
struct str policy_selector_text(struct question *q, const struct val *selector);
/* "pods with app=web in namespaces with team=shop", "addresses of 10.0.0.0/8 but not 10.1.0.0/16" */
struct str policy_peer_text(struct question *q, const struct obj *policy, const struct val *peer);
struct str policy_port_text(struct question *q, const struct val *port); /* "port 80/TCP" */
/* Whether a peer that is no ipBlock names the pod. */
bool policy_peer_has(struct question *q, const struct obj *policy, const struct val *peer, const struct obj *pod);
