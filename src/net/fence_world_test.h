/* fence_world_test.h - fences in a world of pods: objects from text (with ' for "), facts about the three pods of
 * nft_world_test.h, and commits to the kernel without a loop. For tests. */
#pragma once
#include "net/fence_diff.h"
#include "net/fence_nft.h"
#include "net/nft_world_test.h"
#include "net/service.h"

const struct val *fence_val(const char *text); /* lives as long as the test */
struct obj *fence_policy_obj(const char *ns, const char *name, const char *spec);

void put_policy(struct fences *f, const char *ns, const char *name, const char *spec); /* must be enforceable */
void put_pod(struct fences *f, const char *ns, const char *name, uint32_t ip,
             const char *labels); /* local, http 8080 */
void put_ns(struct fences *f, const char *name, const char *labels);

void fences_commit(struct fences *f, struct nft *n); /* the difference, into the kernel */
void fences_load(struct fences *f, struct nft *n);   /* a new generation, and the difference */
