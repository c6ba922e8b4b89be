/* heap.h - the binary heap of intrusive nodes, smallest first. A node knows its place, so it can be removed or
 * moved after its key changed. */
#pragma once
#include "base/array.h"

struct heap_node {
    size_t at; /* index + 1; 0: in no heap */
};
struct heap {
    ARRAY(struct heap_node *) nodes;
    bool (*less)(const struct heap_node *a, const struct heap_node *b);
};
void heap_fini(struct heap *h); /* nodes are left alone */
void heap_add(struct heap *h, struct heap_node *n);
void heap_del(struct heap *h, struct heap_node *n);   /* not in the heap: nothing happens */
void heap_moved(struct heap *h, struct heap_node *n); /* after its key changed */
struct heap_node *heap_top(const struct heap *h);     /* NULL: empty */
