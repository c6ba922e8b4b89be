#include "base/heap.h"

void heap_fini(struct heap *h)
{
    array_fini(&h->nodes);
}

static void node_place(struct heap *h, size_t i, struct heap_node *n)
{
    h->nodes.p[i] = n;
    n->at = i + 1;
}

static void sift_up(struct heap *h, size_t i, struct heap_node *n)
{
    while (i > 0 && h->less(n, h->nodes.p[(i - 1) / 2])) {
        node_place(h, i, h->nodes.p[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    node_place(h, i, n);
}

static void sift_down(struct heap *h, size_t i, struct heap_node *n)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < h->nodes.n && h->less(h->nodes.p[child + 1], h->nodes.p[child]))
            child++;
        if (child >= h->nodes.n || !h->less(h->nodes.p[child], n))
            break;
        node_place(h, i, h->nodes.p[child]);
        i = child;
    }
    node_place(h, i, n);
}

void heap_add(struct heap *h, struct heap_node *n)
{
    ASSERT(n->at == 0);
    array_push(&h->nodes, n);
    sift_up(h, h->nodes.n - 1, n);
}

void heap_moved(struct heap *h, struct heap_node *n)
{
    ASSERT(n->at > 0);
    sift_up(h, n->at - 1, n);
    sift_down(h, n->at - 1, n);
}

void heap_del(struct heap *h, struct heap_node *n)
{
    if (n->at == 0)
        return;
    size_t i = n->at - 1;
    n->at = 0;
    struct heap_node *last = array_pop(&h->nodes);
    if (last == n)
        return;
    node_place(h, i, last);
    heap_moved(h, last);
}

struct heap_node *heap_top(const struct heap *h)
{
    return h->nodes.n ? h->nodes.p[0] : NULL;
}
