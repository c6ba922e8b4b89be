/* nft.h - the rules in the kernel: blocking conversations with nf_tables. The table is loaded once by nft -f; from
 * then on elements change by messages of our own in one transaction (some 10 us, and 7 us for each element). Belongs
 * in a job; a struct nft is used by one thread at a time. */
#pragma once
#include "net/netlink.h"
#include "net/rules.h"

struct nft {
    struct rules_config config;
    struct netlink nl;
};
#define NFT ((struct nft){.nl = NETLINK})
MUST_USE bool nft_open(struct nft *n, const struct rules_config *c, struct err *err);
void nft_close(struct nft *n);
AUTO_VALUE(nft_close, struct nft);
/* The netlink port by which our own changes are told from others'; another one after an error. */
uint32_t nft_port(const struct nft *n);

/* What is in the kernel. `whole`: the table is there with exactly the chains and rules that nft_load and nft_apply
 * make. */
struct nft_state {
    bool whole;
    ARRAY(struct rule_element) elements;
    struct map chains; /* names of the chains that spread, to anything */
};
MUST_USE bool nft_read(struct nft *n, struct nft_state *out, struct err *err);
void nft_state_fini(struct nft_state *s);
AUTO_VALUE(nft_state_fini, struct nft_state);

MUST_USE bool nft_load(struct nft *n, struct err *err); /* an empty table in the place of what was there */
/* One transaction: all of it or nothing. Afterwards: affinity to endpoints that are gone, then conntrack entries
 * (conntrack.h); an error of those is an error too, though the rules are in. *in_kernel says whether they are. */
MUST_USE bool nft_apply(struct nft *n, const struct rules_diff *d, bool *in_kernel, struct err *err);
MUST_USE bool nft_unload(struct nft *n, struct err *err); /* not there: true */

/* A descriptor that is readable when the rule set changed; nft_watch_read drains it and says whether somebody else
 * touched the table (also when the kernel lost count). */
MUST_USE int nft_watch_open(struct err *err);
bool nft_watch_read(int fd, const char *table, uint32_t own_port);
