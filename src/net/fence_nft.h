/* fence_nft.h - the fences in the kernel: blocking conversations with nf_tables. A table of its own beside that of
 * the Services, so that neither is touched when the other is loaded anew. Belongs in a job; a struct nft is used by
 * one thread at a time. */
#pragma once
#include "net/fence_diff.h"
#include "net/fencing.h"
#include "net/nft.h"

#define FENCE_TABLE_N 32
void fence_table_name(struct instance in, char name[FENCE_TABLE_N]);
void fence_base_text(struct instance in, struct strbuf *out); /* for nft -f: changes no element of what is there */
/* Puts the fixed part of the table right, and says what else is in it. Whoever is fenced stays so. */
MUST_USE bool fence_nft_load(struct nft *n, struct fence_kernel *out, struct err *err);
MUST_USE bool fence_nft_apply(struct nft *n, const struct fence_diff *d, struct err *err);
MUST_USE bool fence_nft_unload(struct nft *n, struct err *err); /* not there: true */

struct fence_counter {
    uint32_t id, gen;
    uint64_t packets, bytes;
};
struct fence_counters {
    ARRAY(struct fence_counter) list;
};
MUST_USE bool fence_nft_counters(struct nft *n, struct fence_counters *out, struct err *err);
