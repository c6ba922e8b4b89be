/* fence_diff.h - what would make the kernel's table as the fences want it: operations in two transactions. Pure.
 *
 * Names are a letter, a number, and after a dot the generation of the whole:
 *   p chain of a policy's direction: accepts what it allows      g chain of a set of policies: jumps to each p,
 * counts c counter of a policy's direction                               in each c, refuses a addresses of the pods
 * that selectors choose                n address . proto . port of those of one name h the same of pods that are a
 * role of the host (only_ports)  b ranges of addresses      q proto . ports The maps egress and ingress lead from a
 * pod's address to its g; `own` has what a pod sends itself.
 *
 * A verdict's chain must be whole before an element leads there: the kernel reads the generation of its rules when a
 * packet enters a base chain, and that of elements at each look-up. So chains that are new come first, in a
 * transaction of their own. */
#pragma once
#include "base/array.h"
#include "net/fence.h"

enum fence_kind {
    FENCE_NONE,
    FENCE_CHAIN = 'p',
    FENCE_GROUP = 'g',
    FENCE_COUNTER = 'c',
    FENCE_ADDRS = 'a',
    FENCE_NAMED = 'n',
    FENCE_HOSTED = 'h',
    FENCE_BLOCKS = 'b',
    FENCE_PORTS = 'q',
    FENCE_MAP_EGRESS = 'E', /* these three have no number */
    FENCE_MAP_INGRESS = 'I',
    FENCE_OWN = 'O',
};
struct fence_name {
    uint8_t kind;
    uint32_t id;
};
#define FENCE_NAME_N 32
void fence_name_text(struct fence_name n, uint32_t gen, char text[FENCE_NAME_N]);
bool fence_name_parse(const char *text, struct fence_name *n, uint32_t *gen); /* none of E, I, O */

enum fence_act { FENCE_ACCEPT, FENCE_JUMP, FENCE_COUNT, FENCE_REFUSE };
struct fence_rule { /* all that is there must match; a kind of 0: anything does */
    uint8_t act;
    bool egress;              /* peers are destinations, else sources */
    struct fence_name peers;  /* a, b: an address; h: destination . proto . port */
    struct fence_name ports;  /* q */
    struct fence_name named;  /* n */
    struct fence_name target; /* of FENCE_JUMP, FENCE_COUNT */
};

enum fence_do {
    FENCE_SET_NEW,
    FENCE_COUNTER_NEW,
    FENCE_CHAIN_NEW,
    FENCE_CHAIN_FLUSH,
    FENCE_RULE, /* at the end of the chain */
    FENCE_DEL,  /* an element */
    FENCE_ADD,
    FENCE_CHAIN_DEL,
    FENCE_SET_DEL,
    FENCE_COUNTER_DEL
};
#define FENCE_KEY_MAX 12
struct fence_op {
    uint8_t what;
    uint8_t key_n; /* of the two keys; as the kernel has them, each field padded to four bytes */
    bool range;    /* SET_NEW: its keys are ranges; ADD, DEL: `end` is one's last key */
    struct fence_name on;
    uint8_t key[FENCE_KEY_MAX], end[FENCE_KEY_MAX];
    struct fence_name to;   /* of the maps */
    struct fence_rule rule; /* of FENCE_RULE */
};
struct fence_stale { /* of an earlier generation, or nobody's */
    struct fence_name name;
    uint32_t gen;
};
struct fence_kernel { /* what was there before a generation begins */
    uint32_t gen;     /* the next one */
    ARRAY(struct fence_stale) stale;
    ARRAY(struct fence_op) elements; /* of the maps and `own`, as FENCE_DEL */
};
void fence_kernel_fini(struct fence_kernel *k);

struct fence_diff {
    uint32_t gen;
    ARRAY(struct fence_op) first, then;
    ARRAY(struct fence_stale) stale; /* to be removed last */
    ARRAY(uint32_t) cut;             /* addresses with connections that may be allowed no more */
    bool cut_all;
};
/* Moves what is to be done out. Either it comes to be as a whole, or fences_begin and another one follow. */
void fences_diff(struct fences *f, struct fence_diff *out);
void fence_diff_fini(struct fence_diff *d);
bool fence_diff_empty(const struct fence_diff *d);
/* The kernel has what k says and nothing of ours: a new generation. Takes what is in k. */
void fences_begin(struct fences *f, struct fence_kernel *k);
bool fences_idle(const struct fences *f); /* there is no policy: no table is needed */

/* Whose a counter is; false: nobody's any more. Borrowed until the policy changes. */
bool fences_counter(const struct fences *f, uint32_t id, uint32_t gen, struct str *ns, struct str *policy,
                    bool *egress);
