/* fence_int.h - what the fence*.c share: the model.
 *
 *   pod --member-- podset --scope-- namespace       a podset is a pair of selectors: of namespaces (its scope), of
 * pods; |                              one for all who write the same view (set in the kernel)             its
 * members' addresses, or those with their port of one name
 *                    |
 *   policy -- rule --+-- content (set in the kernel: ranges of addresses, of ports; one for all who write the same)
 *
 * A policy's podSelector is a podset as well (subjects). A pod's policies are those whose subjects it is among, and
 * the set of them is its group. */
#pragma once
#include "api/netpolicy.h"
#include "base/list.h"
#include "base/map.h"
#include "net/fence_diff.h"

/* ---- finding by labels (fence_index.c) ---- */

struct fence_bucket {
    struct list list;
    size_t n;
    char *key;
};
struct fence_selector { /* of somebody who embeds it */
    struct arena arena;
    struct val tree; /* metav1.LabelSelector */
    struct fence_anchor *anchors;
    size_t n;
};
struct fence_anchor {
    struct list in;
    struct fence_selector *of;
    struct fence_bucket *bucket; /* NULL: the rest */
};
struct fence_index { /* selectors, found by the labels that they match */
    struct map buckets;
    struct list rest;
};
void fence_selector_set(struct fence_selector *s, const struct val *tree);
void fence_selector_fini(struct fence_selector *s);
void fence_selector_key(const struct val *tree, struct strbuf *out); /* the same for all that mean the same */
bool fence_selector_matches(const struct fence_selector *s, const struct val *labels);
void fence_index_init(struct fence_index *x);
void fence_index_fini(struct fence_index *x);
void fence_index_add(struct fence_index *x, struct fence_selector *s);
void fence_index_del(struct fence_index *x, struct fence_selector *s);
void fence_index_find(struct fence_index *x, const struct val *labels,
                      void (*fn)(struct fence_selector *s, void *arg), void *arg);

struct fence_labelled { /* of somebody who embeds it */
    struct arena arena;
    struct val labels;
    struct fence_label *nodes;
    size_t n;
    struct list all;
};
struct fence_label {
    struct list in;
    struct fence_labelled *of;
    struct fence_bucket *bucket;
};
struct fence_labels { /* what has labels, found by selectors */
    struct map buckets;
    struct list all;
    size_t n;
};
void fence_labels_init(struct fence_labels *x);
void fence_labels_fini(struct fence_labels *x);
void fence_labels_put(struct fence_labels *x, struct fence_labelled *l, const struct val *labels); /* new, or again */
void fence_labels_del(struct fence_labels *x, struct fence_labelled *l);
void fence_labels_find(struct fence_labels *x, const struct fence_selector *s,
                       void (*fn)(struct fence_labelled *l, void *arg), void *arg);

/* ---- who is there ---- */

struct fence_ns {
    struct fence_labelled of; /* in fences.namespaces while known */
    char *name;
    bool known;
    struct fence_scope *own; /* the scope that is this namespace alone; may be NULL */
    struct list scopes;      /* fence_scope_ns.of_ns */
    struct fence_labels pods;
};
struct fence_scope {
    struct fence_selector sel; /* of namespaces, in fences.scopes; where `only` is NULL */
    struct fence_ns *only;
    char *key;
    struct list namespaces; /* fence_scope_ns.of_scope */
    struct fence_index podsets;
    size_t refs;
};
struct fence_scope_ns {
    struct list of_scope, of_ns;
    struct fence_scope *scope;
    struct fence_ns *ns;
    bool marked;
};

struct fence_member {
    struct list of_pod, of_set, fresh; /* fresh: its views do not have it yet */
    struct fence_pod_state *pod;
    struct fence_podset *set;
    bool marked;
};
struct fence_podset {
    struct fence_selector sel; /* in scope->podsets */
    struct fence_scope *scope;
    char *key;
    struct list members, fresh, views;
    size_t nlocal; /* of its members */
    ARRAY(struct fence_policy *) subjects_of;
    size_t refs;
    struct list dirty, unsettled; /* unsettled: the first of its local members has come, or the last has gone */
};
struct fence_key {
    uint8_t b[FENCE_KEY_MAX];
};
struct fence_view {
    struct list in; /* fence_podset.views */
    struct fence_podset *set;
    struct fence_name name;
    char *port; /* FENCE_NAMED */
    uint8_t proto;
    size_t refs;
    bool there;
    struct list dirty; /* it is to be made */
    ARRAY(struct fence_key) gone;
};
struct fence_span {
    uint8_t proto;
    uint16_t from, to;
};
struct fence_content {
    struct fence_name name;
    char *key;
    struct netpolicy_ranges blocks;
    ARRAY(struct fence_span) spans;
    size_t refs;
    bool there;
    struct list dirty; /* it is to be made */
};

struct fence_clause { /* a rule of a chain; NULL: anything */
    struct fence_view *peers, *named;
    struct fence_content *blocks, *ports;
};
struct fence_chain {        /* of one direction of a policy */
    bool about;             /* the policy is about it */
    struct fence_name name; /* kind 0: no pod of this node needs it */
    bool there;
    struct list dirty;
    ARRAY(struct fence_clause) clauses;
    struct fence_policy *policy;
};
struct fence_policy {
    char *ns, *name;
    struct fence_podset *subjects;
    struct fence_chain chains[2]; /* ingress, egress */
    struct fence_name counters[2];
    bool counter_there[2];
    bool needed; /* a pod of this node is among its subjects: only then it has chains */
    struct obj *obj;
};
struct fence_group {
    char *key; /* the numbers of its chains */
    size_t key_n;
    struct fence_name name;
    bool there;
    size_t refs; /* pods that lead there in the kernel */
    struct list idle;
};
struct fence_pod_state {
    struct fence_labelled of; /* in ns->pods */
    char *uid;
    struct fence_ns *ns;
    uint32_t ip, lost; /* lost: one that it had, until another came by it */
    bool local, only_ports;
    bool seen; /* it was here, with this address, when the kernel was last brought to what is wanted */
    struct fence_port *ports;
    size_t nports;
    char *names; /* of the ports */
    struct list members;
    struct fence_group *have[2]; /* in the kernel, at have_ip */
    uint32_t have_ip;
    struct list dirty;
};

struct fences {
    struct map pods, ips, namespaces, policies, scopes, podsets, contents, groups, counters;
    struct fence_labels ns_labels;
    struct fence_index scope_index;
    struct list dirty_pods, dirty_sets, dirty_views, dirty_contents, dirty_chains, idle_groups, unsettled;
    uint32_t next_id, gen;
    ARRAY(struct fence_op) gone;   /* elements of maps */
    ARRAY(struct fence_name) dead; /* in the kernel and to be removed */
    ARRAY(struct fence_stale) stale;
    struct map cut; /* addresses -> f */
    bool cut_all;
};

/* fence_set.c */
void fence_pod_dirty(struct fences *f, struct fence_pod_state *p);
void fence_pod_rematch(struct fences *f, struct fence_pod_state *p); /* its labels or its namespace's are others */
void fence_pod_leave(struct fences *f, struct fence_pod_state *p, bool lives); /* all podsets */
void fence_cut(struct fences *f, uint32_t ip);
/* The podset of these selectors; scope NULL: namespaces by their labels. A reference of the caller's. */
struct fence_podset *fence_podset_get(struct fences *f, struct str ns, const struct val *namespaces,
                                      const struct val *pods);
void fence_podset_unref(struct fences *f, struct fence_podset *s);
struct fence_view *fence_view_get(struct fences *f, struct fence_podset *s, enum fence_kind kind, struct str port,
                                  uint8_t proto);
void fence_view_unref(struct fences *f, struct fence_view *v);
size_t fence_view_keys(const struct fence_view *v, const struct fence_pod_state *p, struct fence_key *out,
                       size_t max);
#define FENCE_PORTS_OF_POD 256
bool fence_view_has(const struct fence_view *v, const struct fence_pod_state *p, uint8_t proto, uint16_t port);
struct fence_ns *fence_ns_get(struct fences *f, struct str name);
void fence_ns_drop_unused(struct fences *f, struct fence_ns *ns);
void fence_ns_rescope(struct fences *f, struct fence_ns *ns); /* its labels are others, or it is known no more */

/* fence_diff.c */
void fence_map_gone(struct fences *f, enum fence_kind kind, uint32_t ip);
void fence_group_release(struct fences *f, struct fence_group *g); /* a pod leads there no more */
void fence_group_free(struct fence_group *g);

/* fence_policy.c */
MUST_USE bool fence_policy_compile(struct fences *f, struct fence_policy *p, struct err *err);
MUST_USE bool fence_policy_check(struct fences *f, struct fence_policy *p, struct err *err); /* whether it could be */
void fence_clauses_drop(struct fences *f, struct fence_chain *c);
void fence_content_unref(struct fences *f, struct fence_content *c);
