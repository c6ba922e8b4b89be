#include "base/pmap.h"
#include <stdatomic.h>

/* A B-tree with items in all nodes (Cormen et al., chapter 18): one pass down, splitting full nodes and filling
 * minimal ones on the way. A node may be changed when this map is the only one that holds it (node_own); a copied
 * node holds its kids and items once more, so whatever is below a shared node is seen to be shared on the way down.
 */
#define T         16
#define ITEMS_MAX (2 * T - 1)

struct pmap_node {
    _Atomic(uint32_t) refs;
    uint8_t n;
    bool leaf;
    size_t count; /* of items in the whole subtree */
    void *items[ITEMS_MAX];
    struct pmap_node *kids[]; /* ITEMS_MAX + 1, none in a leaf */
};

static struct pmap_node *node_new(bool leaf)
{
    struct pmap_node *n = mem_alloc(sizeof *n + (leaf ? 0 : (ITEMS_MAX + 1) * sizeof *n->kids));
    atomic_init(&n->refs, 1);
    n->leaf = leaf;
    return n;
}

static void node_ref(struct pmap_node *n)
{
    atomic_fetch_add_explicit(&n->refs, 1, memory_order_relaxed);
}

static void node_unref(const struct pmap_type *type, struct pmap_node *n)
{
    if (!n || atomic_fetch_sub_explicit(&n->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < n->n; i++)
        type->unref(n->items[i]);
    for (size_t i = 0; !n->leaf && i <= n->n; i++)
        node_unref(type, n->kids[i]);
    mem_free(n);
}

static struct pmap_node *node_own(const struct pmap_type *type, struct pmap_node **at)
{
    struct pmap_node *old = *at;
    if (atomic_load_explicit(&old->refs, memory_order_acquire) == 1)
        return old;
    struct pmap_node *n = node_new(old->leaf);
    n->n = old->n;
    n->count = old->count;
    for (size_t i = 0; i < n->n; i++)
        type->ref(n->items[i] = old->items[i]);
    for (size_t i = 0; !n->leaf && i <= n->n; i++)
        node_ref(n->kids[i] = old->kids[i]);
    node_unref(type, old);
    return *at = n;
}

static void node_recount(struct pmap_node *n)
{
    n->count = n->n;
    for (size_t i = 0; !n->leaf && i <= n->n; i++)
        n->count += n->kids[i]->count;
}

static size_t lower_bound(const struct pmap_type *type, const struct pmap_node *n, struct str key, bool *equal)
{
    size_t from = 0, to = n->n;
    *equal = false;
    while (from < to) {
        size_t mid = (from + to) / 2;
        int c = str_cmp(type->key(n->items[mid]), key);
        if (c == 0) {
            *equal = true;
            return mid;
        }
        if (c < 0)
            from = mid + 1;
        else
            to = mid;
    }
    return from;
}

static void open_gap(struct pmap_node *n, size_t i) /* for an item at i and the kid to its right */
{
    memmove(n->items + i + 1, n->items + i, (n->n - i) * sizeof *n->items);
    if (!n->leaf)
        memmove(n->kids + i + 2, n->kids + i + 1, (n->n - i) * sizeof *n->kids);
    n->n++;
}

static void close_gap(struct pmap_node *n, size_t i)
{
    n->n--;
    memmove(n->items + i, n->items + i + 1, (n->n - i) * sizeof *n->items);
    if (!n->leaf)
        memmove(n->kids + i + 1, n->kids + i + 2, (n->n - i) * sizeof *n->kids);
}

static void split_kid(const struct pmap_type *type, struct pmap_node *n, size_t i)
{
    struct pmap_node *left = node_own(type, &n->kids[i]), *right = node_new(left->leaf);
    right->n = T - 1;
    memcpy(right->items, left->items + T, (T - 1) * sizeof *left->items);
    if (!left->leaf)
        memcpy(right->kids, left->kids + T, T * sizeof *left->kids);
    left->n = T - 1;
    open_gap(n, i);
    n->items[i] = left->items[T - 1];
    n->kids[i + 1] = right;
    node_recount(left);
    node_recount(right);
}

void pmap_init(struct pmap *m, const struct pmap_type *type)
{
    *m = (struct pmap){type, NULL};
}

void pmap_fini(struct pmap *m)
{
    node_unref(m->type, m->root);
    m->root = NULL;
}

struct pmap pmap_snapshot(const struct pmap *m)
{
    if (m->root)
        node_ref(m->root);
    return *m;
}

size_t pmap_len(const struct pmap *m)
{
    return m->root ? m->root->count : 0;
}

void *pmap_get(const struct pmap *m, struct str key)
{
    for (const struct pmap_node *n = m->root; n;) {
        bool equal;
        size_t i = lower_bound(m->type, n, key, &equal);
        if (equal)
            return n->items[i];
        n = n->leaf ? NULL : n->kids[i];
    }
    return NULL;
}

void *pmap_put(struct pmap *m, void *own_item)
{
    struct str key = m->type->key(own_item);
    if (!m->root)
        m->root = node_new(true);
    struct pmap_node *n = node_own(m->type, &m->root), *path[PMAP_DEPTH];
    if (n->n == ITEMS_MAX) {
        m->root = node_new(false);
        m->root->kids[0] = n;
        m->root->count = n->count;
        n = m->root;
        split_kid(m->type, n, 0);
    }
    for (int depth = 0;; depth++) {
        ASSERT(depth < PMAP_DEPTH);
        path[depth] = n;
        bool equal;
        size_t i = lower_bound(m->type, n, key, &equal);
        if (!equal && !n->leaf && n->kids[i]->n == ITEMS_MAX) {
            split_kid(m->type, n, i);
            i = lower_bound(m->type, n, key, &equal);
        }
        if (equal) {
            void *old = n->items[i];
            n->items[i] = own_item;
            return old;
        }
        if (n->leaf) {
            open_gap(n, i);
            n->items[i] = own_item;
            for (; depth >= 0; depth--)
                path[depth]->count++;
            return NULL;
        }
        n = node_own(m->type, &n->kids[i]);
    }
}

static void merge_kids(const struct pmap_type *type, struct pmap_node *n, size_t i) /* kid i, item i, kid i + 1 */
{
    struct pmap_node *left = node_own(type, &n->kids[i]), *right = node_own(type, &n->kids[i + 1]);
    left->items[left->n] = n->items[i];
    memcpy(left->items + left->n + 1, right->items, right->n * sizeof *right->items);
    if (!left->leaf)
        memcpy(left->kids + left->n + 1, right->kids, (right->n + 1u) * sizeof *right->kids);
    left->n = (uint8_t)(left->n + 1 + right->n);
    left->count += 1 + right->count;
    mem_free(right); /* all it held has moved */
    close_gap(n, i);
}

static void borrow_left(const struct pmap_type *type, struct pmap_node *n,
                        size_t i) /* kid i gets one from kid i - 1 */
{
    struct pmap_node *kid = node_own(type, &n->kids[i]), *left = node_own(type, &n->kids[i - 1]);
    memmove(kid->items + 1, kid->items, kid->n * sizeof *kid->items);
    kid->items[0] = n->items[i - 1];
    if (!kid->leaf) {
        memmove(kid->kids + 1, kid->kids, (kid->n + 1u) * sizeof *kid->kids);
        kid->kids[0] = left->kids[left->n];
    }
    kid->n++;
    n->items[i - 1] = left->items[--left->n];
    node_recount(kid);
    node_recount(left);
}

static void borrow_right(const struct pmap_type *type, struct pmap_node *n, size_t i)
{
    struct pmap_node *kid = node_own(type, &n->kids[i]), *right = node_own(type, &n->kids[i + 1]);
    kid->items[kid->n] = n->items[i];
    if (!kid->leaf)
        kid->kids[kid->n + 1] = right->kids[0];
    kid->n++;
    n->items[i] = right->items[0];
    right->n--;
    memmove(right->items, right->items + 1, right->n * sizeof *right->items);
    if (!right->leaf)
        memmove(right->kids, right->kids + 1, (right->n + 1u) * sizeof *right->kids);
    node_recount(kid);
    node_recount(right);
}

/* Makes sure that kid i can lose an item; the kid may move. */
static struct pmap_node *fill_kid(const struct pmap_type *type, struct pmap_node *n, size_t i)
{
    if (n->kids[i]->n < T) {
        if (i > 0 && n->kids[i - 1]->n >= T)
            borrow_left(type, n, i);
        else if (i < n->n && n->kids[i + 1]->n >= T)
            borrow_right(type, n, i);
        else
            merge_kids(type, n, i < n->n ? i : --i);
    }
    return node_own(type, &n->kids[i]);
}

static void *take_last(const struct pmap_type *type, struct pmap_node *n)
{
    for (; n->count--, !n->leaf;)
        n = fill_kid(type, n, n->n);
    return n->items[--n->n];
}

static void *take_first(const struct pmap_type *type, struct pmap_node *n)
{
    for (; n->count--, !n->leaf;)
        n = fill_kid(type, n, 0);
    void *item = n->items[0];
    close_gap(n, 0);
    return item;
}

static void *entry_take(const struct pmap_type *type, struct pmap_node *n, struct str key) /* it is there */
{
    for (;;) {
        bool equal;
        size_t i = lower_bound(type, n, key, &equal);
        n->count--;
        void *item = equal ? n->items[i] : NULL;
        if (n->leaf) {
            ASSERT(equal);
            close_gap(n, i);
            return item;
        }
        if (!equal) {
            n = fill_kid(type, n, i);
        } else if (n->kids[i]->n >= T) {
            n->items[i] = take_last(type, node_own(type, &n->kids[i]));
            return item;
        } else if (n->kids[i + 1]->n >= T) {
            n->items[i] = take_first(type, node_own(type, &n->kids[i + 1]));
            return item;
        } else {
            merge_kids(type, n, i);
            n = node_own(type, &n->kids[i]);
        }
    }
}

void *pmap_del(struct pmap *m, struct str key)
{
    if (!pmap_get(m, key)) /* before anything is copied */
        return NULL;
    void *item = entry_take(m->type, node_own(m->type, &m->root), key);
    struct pmap_node *root = m->root;
    if (root->n == 0) {
        m->root = root->leaf ? NULL : root->kids[0];
        mem_free(root);
    }
    return item;
}

size_t pmap_rank(const struct pmap *m, struct str key)
{
    size_t rank = 0;
    for (const struct pmap_node *n = m->root; n;) {
        bool equal;
        size_t i = lower_bound(m->type, n, key, &equal);
        rank += i;
        for (size_t k = 0; !n->leaf && k < i + equal; k++)
            rank += n->kids[k]->count;
        n = n->leaf || equal ? NULL : n->kids[i];
    }
    return rank;
}

static void *iter_current(struct pmap_iter *it) /* up from nodes that are used up */
{
    while (it->depth >= 0 && it->at[it->depth] == it->node[it->depth]->n)
        it->depth--;
    return it->depth < 0 ? NULL : it->node[it->depth]->items[it->at[it->depth]];
}

static void iter_push(struct pmap_iter *it, const struct pmap_node *n, size_t at)
{
    it->depth++;
    it->node[it->depth] = n;
    it->at[it->depth] = (uint8_t)at;
}

void *pmap_seek(struct pmap_iter *it, const struct pmap *m, struct str key)
{
    it->depth = -1;
    for (const struct pmap_node *n = m->root; n;) {
        bool equal;
        size_t i = lower_bound(m->type, n, key, &equal);
        iter_push(it, n, i);
        n = n->leaf || equal ? NULL : n->kids[i];
    }
    return iter_current(it);
}

void *pmap_next(struct pmap_iter *it)
{
    if (it->depth < 0)
        return NULL;
    const struct pmap_node *n = it->node[it->depth];
    size_t i = ++it->at[it->depth];
    while (!n->leaf) {
        n = n->kids[i];
        iter_push(it, n, i = 0);
    }
    return iter_current(it);
}
