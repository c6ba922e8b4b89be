/* store_read.c - entries, and what reads them: the newest revision, snapshots, walks over a prefix. A snapshot is a
 * pointer into the index (base/pmap.h), so none of this waits for anybody or copies anything. */
#include "store/store_int.h"
#include <stdatomic.h>

struct store_entry *store_entry_new(const struct store_type *type, struct str key, void *own_ref, int64_t create_rev,
                                    int64_t mod_rev)
{
    struct store_entry *e = mem_alloc(sizeof *e + key.n);
    atomic_init(&e->refs, 1);
    e->type = type;
    e->create_rev = create_rev;
    e->mod_rev = mod_rev;
    e->ref = own_ref;
    e->key_n = (uint32_t)key.n;
    memcpy(e->key, key.p, key.n);
    return e;
}

void store_entry_ref(struct store_entry *e)
{
    atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
}

void store_entry_unref(struct store_entry *e)
{
    if (!e || atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) != 1)
        return;
    e->type->unref(e->ref);
    mem_free(e);
}

static struct str map_key(const void *item)
{
    return store_entry_key(item);
}
static void map_ref(void *item)
{
    store_entry_ref(item);
}
static void map_unref(void *item)
{
    store_entry_unref(item);
}
const struct pmap_type store_entries = {map_key, map_ref, map_unref};

int64_t store_rev(const struct store *s)
{
    return s->rev;
}

int64_t store_floor(const struct store *s)
{
    return s->floor;
}

const struct store_entry *store_get(const struct store *s, struct str key)
{
    return pmap_get(&s->index, key);
}

struct store_snapshot store_snapshot(const struct store *s)
{
    return (struct store_snapshot){pmap_snapshot(&s->index), s->rev};
}

void store_snapshot_fini(struct store_snapshot *snap)
{
    if (snap->map.type)
        pmap_fini(&snap->map);
}

static struct store_entry *iter_within(const struct store_iter *it, struct store_entry *e)
{
    return e && str_starts(store_entry_key(e), it->prefix) ? e : NULL;
}

struct store_entry *store_first(struct store_iter *it, const struct store_snapshot *snap, struct str prefix,
                                struct str from)
{
    it->prefix = prefix;
    return iter_within(it, pmap_seek(&it->it, &snap->map, str_cmp(from, prefix) > 0 ? from : prefix));
}

struct store_entry *store_next(struct store_iter *it)
{
    return iter_within(it, pmap_next(&it->it));
}

size_t store_count(const struct store_snapshot *snap, struct str prefix, struct str from)
{
    /* the first key behind all that have the prefix: its last byte that is not 0xff, one higher */
    char end[STORE_KEY_MAX];
    size_t n = MIN(prefix.n, sizeof end);
    if (n)
        memcpy(end, prefix.p, n);
    while (n && (unsigned char)end[n - 1] == 0xff)
        n--;
    if (n)
        end[n - 1]++;
    size_t below = pmap_rank(&snap->map, str_cmp(from, prefix) > 0 ? from : prefix);
    size_t upto = n ? pmap_rank(&snap->map, (struct str){end, n}) : pmap_len(&snap->map);
    return upto > below ? upto - below : 0;
}

bool store_resumable(const struct store *s, int64_t rev, struct err *err)
{
    if (rev > s->rev)
        return err_set(err, E_BAD_REQUEST, "revision %lld is not there yet: the newest is %lld", (long long)rev,
                       (long long)s->rev);
    if (rev < s->floor)
        return err_set(err, E_EXPIRED, "revision %lld has been compacted: history begins at %lld", (long long)rev,
                       (long long)s->floor);
    for (size_t i = 0; i < s->gaps.n; i++)
        if (rev > s->gaps.p[i].after && rev <= s->gaps.p[i].upto)
            return err_set(err, E_EXPIRED,
                           "revision %lld is among those that may have been lost when the server ended unexpectedly "
                           "(%lld to %lld): list again",
                           (long long)rev, (long long)s->gaps.p[i].after + 1, (long long)s->gaps.p[i].upto);
    return true;
}
