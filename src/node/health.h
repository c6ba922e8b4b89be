/* health.h - healthCheckNodePort of Services with externalTrafficPolicy Local: whether this node has endpoints of
 * them, over HTTP, for load balancers outside. Belongs to the agent's loop.
 *
 * Whatever is asked, the answer is the same, as in kube-proxy (pkg/proxy/healthcheck): so a request is waited for and
 * not read, and nothing of a stranger's is parsed in this role. */
#pragma once
#include "sys/loop.h"

struct health;
struct health *health_new(struct loop *l) __attribute__((returns_nonnull));
void health_free(struct health *h); /* NULL is fine */
/* port 0: the Service has none, nothing is answered for it. */
void health_put(struct health *h, struct str ns, struct str name, uint16_t port, size_t endpoints);
void health_rules(struct health *h, bool taken); /* whether the kernel takes the rules of Services */
/* The answer: 200 where there are endpoints and rules, else 503. */
void health_answer(struct str ns, struct str name, size_t endpoints, bool taken, struct strbuf *out);
