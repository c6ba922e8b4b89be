/* alloc.h - cluster addresses and node ports of Services. What is taken follows from the stored Services; what a
 * write under way takes is reserved until it is committed or has failed. The store's loop. */
#pragma once
#include "server/request.h"

struct alloc;
struct alloc *alloc_new(const char *service_cidr, const char *node_ports, struct err *err) MUST_USE;
void alloc_free(struct alloc *a);
/* A Service was committed: was or now may be NULL. */
void alloc_changed(struct alloc *a, const struct obj *was, const struct obj *now);
/* Gives a Service that is to be written what it needs and does not have; keeps what `old` had. Other kinds: true. */
MUST_USE bool alloc_write(struct request *r, struct val *tree, const struct val *old);
/* The write is over: what a committed object took, it holds by now. */
void alloc_released(struct request *r);
