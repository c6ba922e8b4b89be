/* fence_index.c - selectors found by labels, and what has labels found by selectors.
 *
 * A selector asks for something that must be there: a label with a value (matchLabels, In with each of its values),
 * or a label at all (Exists). One such requirement is its anchor, the one whose buckets hold fewest at the time. Who
 * has labels looks in the buckets of each, and matches what is found there in full. Selectors that ask for nothing
 * that must be there (empty, NotIn, DoesNotExist) are looked at every time. So one change costs what might match it.
 */
#include "api/selector.h"
#include "net/fence_int.h"
#include <stdlib.h>

#define ANCHOR_MAX 512 /* longer than any label with its value can be */

static struct str bucket_key(char buf[ANCHOR_MAX], struct str key, const struct str *value)
{
    if (key.n + (value ? value->n : 0) + 2 > ANCHOR_MAX)
        return STR_NONE;
    (void)memcpy(buf, key.p, key.n);
    if (!value)
        return (struct str){buf, key.n};
    buf[key.n] = '=';
    if (value->n)
        (void)memcpy(buf + key.n + 1, value->p, value->n);
    return (struct str){buf, key.n + 1 + value->n};
}

static struct fence_bucket *bucket_need(struct map *buckets, struct str key)
{
    struct fence_bucket *b = map_get(buckets, key);
    if (b)
        return b;
    b = NEW(struct fence_bucket);
    list_init(&b->list);
    b->key = str_dupz(key);
    (void)map_put(buckets, key, b);
    return b;
}

static void bucket_left(struct map *buckets, struct fence_bucket *b)
{
    if (--b->n)
        return;
    (void)map_del(buckets, str_of(b->key));
    mem_free(b->key);
    mem_free(b);
}

static void buckets_fini(struct map *buckets)
{
    ASSERT(map_len(buckets) == 0);
    map_fini(buckets);
}

/* ---- selectors ---- */

void fence_selector_set(struct fence_selector *s, const struct val *tree)
{
    *s = (struct fence_selector){0};
    s->tree = val_copy(&s->arena, tree);
    if (!val_is(&s->tree, VAL_MAP))
        s->tree = val_map();
}

void fence_selector_fini(struct fence_selector *s)
{
    ASSERT(!s->anchors);
    arena_fini(&s->arena);
}

bool fence_selector_matches(const struct fence_selector *s, const struct val *labels)
{
    return label_selector_matches(&s->tree, labels);
}

static int part_cmp(const void *a, const void *b)
{
    const struct str *x = a, *y = b;
    return str_cmp(*x, *y);
}

static void parts_add(struct strbuf *out, struct str *parts, size_t n)
{
    if (n)
        qsort(parts, n, sizeof *parts, part_cmp);
    for (size_t i = 0; i < n; i++) {
        strbuf_addf(out, "%zu:", parts[i].n); /* no text of theirs can be taken for another */
        strbuf_add(out, parts[i]);
    }
}

void fence_selector_key(const struct val *tree, struct strbuf *out)
{
    AUTO(arena_fini) struct arena a = ARENA;
    const struct val *equal = val_get(tree, N(matchLabels)), *others = val_get(tree, N(matchExpressions));
    struct str *parts = arena_alloc(&a, (val_len(equal) + val_len(others) + 1) * sizeof *parts);
    size_t n = 0;
    val_each_member (m, equal)
        parts[n++] = STR_JOIN(&a, S("="), m->name->s, S("="), val_text(&m->v));
    val_each_item (e, others) {
        const struct val *values = val_get(e, N(values));
        struct str *texts = arena_alloc(&a, (val_len(values) + 1) * sizeof *texts);
        size_t k = 0;
        AUTO(strbuf_fini) struct strbuf b = STRBUF(4 << 20);
        strbuf_add(&b, val_text(val_get(e, N(operator))));
        strbuf_addc(&b, ' ');
        strbuf_add(&b, val_text(val_get(e, N(key))));
        strbuf_addc(&b, ' ');
        val_each_item (v, values)
            texts[k++] = val_text(v);
        parts_add(&b, texts, k);
        parts[n++] = str_dup(&a, strbuf_str(&b));
    }
    parts_add(out, parts, n);
}

struct anchor_choice {
    struct map *buckets;
    struct str keys[64]; /* an In with more values anchors nothing */
    size_t n, cost;
    struct arena arena;
};

static void anchor_offer(struct anchor_choice *c, const struct str *keys, size_t n)
{
    size_t cost = 0;
    if (!n || n > countof(c->keys))
        return;
    for (size_t i = 0; i < n; i++) {
        if (!keys[i].n)
            return;
        const struct fence_bucket *b = map_get(c->buckets, keys[i]);
        cost += 1 + (b ? b->n : 0);
    }
    if (c->n && c->cost <= cost)
        return;
    c->cost = cost;
    c->n = n;
    for (size_t i = 0; i < n; i++)
        c->keys[i] = str_dup(&c->arena, keys[i]);
}

static bool value_is_repeated(const struct val *values, const struct val *v)
{
    for (const struct val *it = values->list; it < v; it++)
        if (str_eq(val_text(it), val_text(v)))
            return true;
    return false;
}

/* exists: also labels without a value asked for */
static void anchor_choose(struct anchor_choice *c, const struct val *tree, bool exists)
{
    char buf[ANCHOR_MAX];
    val_each_member (m, val_get(tree, N(matchLabels))) {
        struct str value = val_text(&m->v), key = bucket_key(buf, m->name->s, &value);
        anchor_offer(c, &key, 1);
    }
    val_each_item (e, val_get(tree, N(matchExpressions))) {
        struct str op = val_text(val_get(e, N(operator))), label = val_text(val_get(e, N(key)));
        const struct val *values = val_get(e, N(values));
        struct str keys[64];
        size_t n = 0;
        if (str_eqz(op, "Exists") && exists) {
            keys[n++] = bucket_key(buf, label, NULL);
        } else if (str_eqz(op, "In") && val_len(values) <= countof(keys)) {
            val_each_item (v, values) {
                struct str value = val_text(v);
                if (!value_is_repeated(values, v))
                    keys[n++] = str_dup(&c->arena, bucket_key(buf, label, &value));
            }
        }
        anchor_offer(c, keys, n);
    }
}

void fence_index_init(struct fence_index *x)
{
    *x = (struct fence_index){0};
    list_init(&x->rest);
}

void fence_index_fini(struct fence_index *x)
{
    buckets_fini(&x->buckets);
}

void fence_index_add(struct fence_index *x, struct fence_selector *s)
{
    struct anchor_choice c = {.buckets = &x->buckets};
    anchor_choose(&c, &s->tree, true);
    s->n = MAX(c.n, 1u);
    s->anchors = mem_alloc(s->n * sizeof *s->anchors);
    for (size_t i = 0; i < s->n; i++) {
        struct fence_anchor *a = &s->anchors[i];
        a->of = s;
        a->bucket = c.n ? bucket_need(&x->buckets, c.keys[i]) : NULL;
        list_add_tail(a->bucket ? &a->bucket->list : &x->rest, &a->in);
        if (a->bucket)
            a->bucket->n++;
    }
    arena_fini(&c.arena);
}

void fence_index_del(struct fence_index *x, struct fence_selector *s)
{
    for (size_t i = 0; i < s->n; i++) {
        list_del(&s->anchors[i].in);
        if (s->anchors[i].bucket)
            bucket_left(&x->buckets, s->anchors[i].bucket);
    }
    mem_free(s->anchors);
    s->anchors = NULL;
    s->n = 0;
}

static void bucket_walk(struct list *l, const struct val *labels, void (*fn)(struct fence_selector *s, void *arg),
                        void *arg)
{
    list_each (a, l, struct fence_anchor, in)
        if (fence_selector_matches(a->of, labels))
            fn(a->of, arg);
}

void fence_index_find(struct fence_index *x, const struct val *labels,
                      void (*fn)(struct fence_selector *s, void *arg), void *arg)
{
    char buf[ANCHOR_MAX];
    bucket_walk(&x->rest, labels, fn, arg);
    val_each_member (m, labels) {
        struct str value = val_text(&m->v);
        struct fence_bucket *b = map_get(&x->buckets, bucket_key(buf, m->name->s, &value));
        if (b)
            bucket_walk(&b->list, labels, fn, arg);
        b = map_get(&x->buckets, bucket_key(buf, m->name->s, NULL));
        if (b)
            bucket_walk(&b->list, labels, fn, arg);
    }
}

/* ---- labels ---- */

void fence_labels_init(struct fence_labels *x)
{
    *x = (struct fence_labels){0};
    list_init(&x->all);
}

void fence_labels_fini(struct fence_labels *x)
{
    buckets_fini(&x->buckets);
}

void fence_labels_del(struct fence_labels *x, struct fence_labelled *l)
{
    for (size_t i = 0; i < l->n; i++) {
        list_del(&l->nodes[i].in);
        bucket_left(&x->buckets, l->nodes[i].bucket);
    }
    mem_free(l->nodes);
    arena_fini(&l->arena);
    if (l->all.next) {
        list_del(&l->all);
        x->n--;
    }
    *l = (struct fence_labelled){0};
}

void fence_labels_put(struct fence_labels *x, struct fence_labelled *l, const struct val *labels)
{
    char buf[ANCHOR_MAX];
    if (l->all.next)
        fence_labels_del(x, l);
    l->labels = val_copy(&l->arena, labels);
    if (!val_is(&l->labels, VAL_MAP))
        l->labels = val_map();
    l->nodes = val_len(&l->labels) ? mem_alloc(val_len(&l->labels) * sizeof *l->nodes) : NULL;
    list_init(&l->all);
    list_add_tail(&x->all, &l->all);
    x->n++;
    val_each_member (m, &l->labels) {
        struct str value = val_text(&m->v), key = bucket_key(buf, m->name->s, &value);
        if (!key.n)
            continue;
        struct fence_label *node = &l->nodes[l->n++];
        node->of = l;
        node->bucket = bucket_need(&x->buckets, key);
        node->bucket->n++;
        list_add_tail(&node->bucket->list, &node->in);
    }
}

void fence_labels_find(struct fence_labels *x, const struct fence_selector *s,
                       void (*fn)(struct fence_labelled *l, void *arg), void *arg)
{
    struct anchor_choice c = {.buckets = &x->buckets};
    anchor_choose(&c, &s->tree, false);
    for (size_t i = 0; i < c.n; i++) {
        struct fence_bucket *b = map_get(&x->buckets, c.keys[i]);
        if (!b)
            continue;
        list_each (node, &b->list, struct fence_label, in)
            if (fence_selector_matches(s, &node->of->labels))
                fn(node->of, arg);
    }
    if (!c.n)
        list_each (l, &x->all, struct fence_labelled, all)
            if (fence_selector_matches(s, &l->labels))
                fn(l, arg);
    arena_fini(&c.arena);
}
