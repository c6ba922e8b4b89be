/* fence.h - NetworkPolicies (networking/v1) as data: which pods of this node are fenced, who may reach them and whom
 * they may reach. Pure: no kernel, clock or thread. What policies mean (selectors, peers, ports, defaults of
 * policyTypes) is api/netpolicy.h; here it becomes chains and sets, element by element, and their difference to what
 * the kernel has is a batch, as rules.h has it for Services. What a change costs does not grow with the number of
 * policies and pods that it does not concern.
 *
 * All facts may come in any order: a policy may name namespaces and pods that nobody has heard of yet. Texts and
 * values are borrowed for the call. */
#pragma once
#include "api/obj.h"
#include "net/addr.h"
#include "net/link.h"

struct fence_port { /* a port of a container, for policies that say its name */
    struct str name;
    uint8_t proto; /* NET_* of service.h */
    uint16_t port;
};
/* One that has an address of its own (not hostNetwork) and is not over (phase Succeeded, Failed).
 *
 * What a role of this machine does in the place of a pod is one too, or `to: {namespaceSelector: kube-system,
 * podSelector: {k8s-app: kube-dns}}` would take DNS from whoever writes it: uid "role/dns", its namespace and labels
 * (kube-system, k8s-app: kube-dns), the node's address, its ports (dns UDP 53, dns-tcp TCP 53), only_ports, not
 * local. What is reached by address (the API server: `to: ipBlock`) needs no such pod: policies see where a Service
 * led. */
struct fence_pod {
    struct str uid, ns, name;
    const struct val *labels; /* a map of strings; may be NULL */
    uint32_t ip;     /* host order; 0: none yet, it is nobody's peer. Who is put last with an address has it */
    bool local;      /* on this node: policies that select it are enforced here */
    bool only_ports; /* others live at the address, too: as a peer it is its ports alone */
    const struct fence_port *ports;
    size_t nports;
};

struct fences;
struct fences *fences_new(void) __attribute__((returns_nonnull));
void fences_free(struct fences *f);
AUTO_POINTER(fences_free, struct fences);
void fences_put_pod(struct fences *f, const struct fence_pod *pod); /* in the place of the one with the same uid */
void fences_del_pod(struct fences *f, struct str uid);
void fences_put_namespace(struct fences *f, struct str name, const struct val *labels);
void fences_del_namespace(struct fences *f, struct str name);
/* False: it cannot be enforced as it is written, and why; the pods that it selects are isolated all the same, and it
 * allows nothing. */
MUST_USE bool fences_put_policy(struct fences *f, const struct obj *policy, struct err *err);
void fences_del_policy(struct fences *f, struct str ns, struct str name);
size_t fences_elements(const struct fences *f); /* wanted in the kernel: for tests of what a change costs */
/* Whether policies let a connection begin: its ends, the destination's after Services were translated. An address of
 * the host itself may always reach its pods; that is the caller's to know. */
bool fences_allow(const struct fences *f, uint32_t from, uint32_t to, uint8_t proto, uint16_t port);

/* What a policy may ask for, beyond which it is refused as a whole: far above what anybody writes. */
#define FENCE_RULES_MAX  4096  /* peers times ports by name, of one direction */
#define FENCE_RANGES_MAX 16384 /* ranges of addresses, and of ports, of one rule */
#define FENCE_VALUES_MAX 1024  /* requirements and values of a peer's selector */
