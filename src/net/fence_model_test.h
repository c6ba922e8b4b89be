/* fence_model_test.h - worlds of random pods, namespaces and policies; what policies mean in them, by looking at all
 * of them (api/netpolicy.h); and the kernel's table, simulated operation by operation. For tests. */
#pragma once
#include "net/fence_world_test.h"

enum { MODEL_NAMESPACES = 3, MODEL_PODS = 8, MODEL_POLICIES = 6 };

struct model_pod {
    bool there, local, only_ports;
    int ns, labels; /* labels: a number of model_labels */
    uint32_t ip, lost;
    uint32_t since; /* another number whenever it comes, or comes by its address */
    int ports;      /* 0: none; 1: http is TCP 80; 2: http is TCP 8080, dns UDP 53 */
};
struct model_ns {
    bool known;
    int labels;
};
struct model {
    uint32_t seed, comings;
    struct model_ns namespaces[MODEL_NAMESPACES];
    struct model_pod pods[MODEL_PODS];
    struct obj *policies[MODEL_POLICIES];
};
extern const char *const model_namespaces[MODEL_NAMESPACES];
extern const uint32_t model_outside[3]; /* addresses of nobody here */
uint32_t model_draw(struct model *m, uint32_t below);
void model_step(struct model *m, struct fences *f);    /* something changes, in both */
void model_put_all(struct model *m, struct fences *f); /* addresses that were lost are said no more */
void model_put_pod(const struct model *m, struct fences *f, int i);
void model_random_policy(struct model *m, struct fences *f, int i);
bool model_is_whole(const struct model *m); /* every pod's namespace is known */
bool model_allows(const struct model *m, uint32_t from, uint32_t to, uint8_t proto, uint16_t port);
void model_text(const struct model *m, struct strbuf *out);
void model_fini(struct model *m);

struct sim_set {
    bool range;
    ARRAY(struct fence_op) elements;
};
struct sim_chain {
    ARRAY(struct fence_rule) rules;
};
struct sim {
    struct map sets, chains, counters; /* by name with generation */
};
void sim_init(struct sim *s);
void sim_fini(struct sim *s);
void sim_run(struct sim *s, const struct fence_op *ops, size_t n, uint32_t gen); /* fails as the kernel would */
void sim_stale(struct sim *s, const struct fence_diff *d);
void sim_read(const struct sim *s, struct fence_kernel *out); /* as fence_nft_load */
bool sim_allows(const struct sim *s, uint32_t from, uint32_t to, uint8_t proto, uint16_t port);
size_t sim_things(const struct sim *s); /* sets, chains, rules, counters and elements */
