/* nft_int.h - what nft.c, nft_message.c and nft_read.c share: messages of nf_tables. */
#pragma once
#include "net/netlink.h"
#include "net/nft.h"
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

/* Of the program nft. The first that runs after a boot has the kernel load some twenty modules, one after the other:
 * on a slow machine with much else to start that has taken more than twenty seconds. */
#define NFT_TIMEOUT_MS 120000

#define ELEMENTS_PER_MSG 400 /* an attribute holds 64 KiB, an element at most 80 bytes */

MUST_USE bool nft_reopen(struct nft *n, struct err *err);                       /* where the socket broke */
MUST_USE bool nft_table_del(struct nft *n, const char *table, struct err *err); /* not there: true */

void nft_message_begin(struct nlbuf *b, int op, uint16_t flags);
/* NFNL_MSG_BATCH_BEGIN; nft_batch_send writes the end. */
void nft_batch_mark(struct nlbuf *b, uint16_t type);
/* Closes a transaction. Only its last message is acknowledged: the answer comes after the commit, and any message may
 * answer with an error before. */
MUST_USE bool nft_batch_send(struct nft *n, struct nlbuf *b, struct err *err);

/* Rules under construction. */
#define REG(i) (NFT_REG32_00 + (i))
#define NO_REG UINT32_MAX
enum { IP_SADDR = 12, IP_DADDR = 16, TH_DPORT = 2 }; /* offsets in their headers */
struct rule_text {                                   /* where it stands */
    size_t exprs;
};
struct rule_text nft_rule_begin(struct nlbuf *b, const char *table, const char *chain);
void nft_rule_end(struct nlbuf *b, struct rule_text r);
size_t nft_expr_begin(struct nlbuf *b, const char *name, size_t *data); /* what nft_expr_end wants */
void nft_expr_end(struct nlbuf *b, size_t nest, size_t data);
void nft_expr_l4proto(struct nlbuf *b, uint32_t reg);
void nft_expr_payload(struct nlbuf *b, uint32_t header, uint32_t offset, uint32_t len, uint32_t reg);
void nft_expr_lookup(struct nlbuf *b, const char *set, uint32_t sreg, uint32_t dreg); /* dreg NO_REG: of a set */

void nft_put_chain(struct nlbuf *b, const char *table, const char *name, uint16_t op, uint16_t flags);
void nft_put_chain_for(struct nlbuf *b, const char *table, struct rule_chain c); /* it spreads, or learns */
void nft_put_learn_rules(struct nlbuf *b, const char *table);
/* The elements of the difference that come (NFT_MSG_NEWSETELEM) or go (NFT_MSG_DELSETELEM). */
void nft_put_changes(struct nlbuf *b, const char *table, const struct rules_diff *d, int op);

/* Elements of one map after the other, in messages that are not too long. */
struct element_list {
    struct nlbuf *b;
    const char *table;
    int map, op;
    unsigned n; /* in the open message; 0: none is open */
    size_t nest;
};
void nft_elements_open(struct element_list *l, const char *set); /* unless it is open for that set */
void nft_elements_close(struct element_list *l);
void nft_put_key(struct nlbuf *b, const void *p, size_t n);

/* Asks for the elements of a set; each of an answer is told. */
void nft_get_elements(struct nlbuf *b, const char *table, const char *set);
void nft_elements_each(const struct nlmsghdr *h, void (*fn)(const struct nlattr *elem, void *arg), void *arg);
void nft_value_copy(const struct nlattr *nest, void *out, size_t max, size_t *n); /* n: 0 where it is not there */
const char *nft_attr_text(const struct nlattr *a);                                /* "" where it is none */

/* The name of the chain that says that the table is as it is now in the kernel. */
MUST_USE bool nft_marker_of_kernel(struct nft *n, const char *table, char marker[64], struct err *err);
