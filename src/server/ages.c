#include "server/ages.h"

static bool age_is_sooner(const struct heap_node *pa, const struct heap_node *pb)
{
    const struct age *a = container_of(pa, struct age, by_due), *b = container_of(pb, struct age, by_due);
    a->of->comparisons++;
    return a->due != b->due ? a->due < b->due : a->rev < b->rev;
}

void ages_init(struct ages *g)
{
    *g = (struct ages){.by_due.less = age_is_sooner};
    list_init(&g->by_rev);
}

static void age_free(struct age *a)
{
    mem_free(a->key);
    mem_free(a);
}

void ages_fini(struct ages *g)
{
    map_each (it, &g->all)
        age_free(it->value);
    map_fini(&g->all);
    heap_fini(&g->by_due);
}

void ages_put(struct ages *g, struct str key, int64_t rev, int64_t due, size_t bytes)
{
    struct age *a = map_get(&g->all, key);
    if (a) {
        g->bytes -= a->bytes;
        heap_del(&g->by_due, &a->by_due);
        if (a->rev != rev)
            list_del(&a->by_rev);
    } else {
        a = NEW(struct age);
        a->of = g;
        a->key = str_dupz(key);
        list_init(&a->by_rev);
        (void)map_put(&g->all, key, a);
    }
    a->rev = rev;
    a->due = due;
    a->bytes = bytes;
    g->bytes += bytes;
    heap_add(&g->by_due, &a->by_due);
    if (list_empty(&a->by_rev)) /* in no list */
        list_add_tail(&g->by_rev, &a->by_rev);
}

void ages_del(struct ages *g, struct str key)
{
    struct age *a = map_del(&g->all, key);
    if (!a)
        return;
    g->bytes -= a->bytes;
    heap_del(&g->by_due, &a->by_due);
    list_del(&a->by_rev);
    age_free(a);
}

static int by_revision(const void *pa, const void *pb)
{
    const struct age *a = *(struct age *const *)pa, *b = *(struct age *const *)pb;
    return (a->rev > b->rev) - (a->rev < b->rev);
}

void ages_sort(struct ages *g)
{
    ARRAY(struct age *) all = {0};
    list_each (a, &g->by_rev, struct age, by_rev)
        array_push(&all, a);
    if (all.n > 1)
        qsort(all.p, all.n, sizeof *all.p, by_revision);
    array_each (it, &all) {
        list_del(&(*it)->by_rev);
        list_add_tail(&g->by_rev, &(*it)->by_rev);
    }
    array_fini(&all);
}

size_t ages_next(struct ages *g, int64_t now, size_t count, size_t bytes, struct age **out, size_t most)
{
    size_t n = 0, left = map_len(&g->all), left_bytes = g->bytes;
    struct heap_node *top;
    while (n < most && (top = heap_top(&g->by_due)) && container_of(top, struct age, by_due)->due <= now) {
        struct age *a = container_of(top, struct age, by_due);
        heap_del(&g->by_due, top); /* until all are found: what is in no heap is among them */
        left--;
        left_bytes -= a->bytes;
        out[n++] = a;
    }
    size_t due = n;
    list_each (a, &g->by_rev, struct age, by_rev) {
        if (n == most || (left <= count && left_bytes <= bytes))
            break;
        if (!a->by_due.at)
            continue;
        left--;
        left_bytes -= a->bytes;
        out[n++] = a;
    }
    for (size_t i = 0; i < due; i++)
        heap_add(&g->by_due, &out[i]->by_due);
    return n;
}
