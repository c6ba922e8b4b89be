#include "base/map.h"

/* Deleted entries stay as holes so that iteration survives deletion; holes go when the entries array is full and
 * half of it is holes. That moves entries, so it happens on insertion only, and keys are allocated apart. */

void map_fini(struct map *m)
{
    for (size_t i = 0; i < m->used; i++)
        mem_free((char *)(uintptr_t)m->entries[i].key.p);
    mem_free(m->entries);
    mem_free(m->slots);
    *m = MAP;
}

static void fill_slots(struct map *m)
{
    memset(m->slots, 0, m->nslots * sizeof *m->slots);
    for (size_t i = 0; i < m->used; i++) {
        size_t s = m->entries[i].hash & (m->nslots - 1);
        while (m->slots[s])
            s = (s + 1) & (m->nslots - 1);
        m->slots[s] = (uint32_t)i + 1;
    }
}

static struct map_entry *entry_find(const struct map *m, struct str key, uint64_t hash)
{
    if (!m->nslots)
        return NULL;
    for (size_t s = hash & (m->nslots - 1); m->slots[s]; s = (s + 1) & (m->nslots - 1)) {
        struct map_entry *e = &m->entries[m->slots[s] - 1];
        if (e->key.p && e->hash == hash && str_eq(e->key, key))
            return e;
    }
    return NULL;
}

void *map_get(const struct map *m, struct str key)
{
    struct map_entry *e = entry_find(m, key, str_hash(key));
    return e ? e->value : NULL;
}

static void make_room(struct map *m)
{
    if (m->used < m->cap)
        return;
    if (m->cap && m->live <= m->cap / 2) {
        size_t to = 0;
        for (size_t i = 0; i < m->used; i++)
            if (m->entries[i].key.p)
                m->entries[to++] = m->entries[i];
        m->used = to;
    } else {
        m->cap = m->cap ? m->cap * 2 : 8;
        m->entries = mem_grow(m->entries, m->cap * sizeof *m->entries);
        m->nslots = m->cap * 2;
        m->slots = mem_grow(m->slots, m->nslots * sizeof *m->slots);
    }
    fill_slots(m);
}

void *map_put(struct map *m, struct str key, void *value)
{
    ASSERT(value);
    uint64_t hash = str_hash(key);
    struct map_entry *e = entry_find(m, key, hash);
    if (e) {
        void *old = e->value;
        e->value = value;
        return old;
    }
    make_room(m);
    m->entries[m->used] = (struct map_entry){{str_dupz(key), key.n}, value, hash};
    size_t s = hash & (m->nslots - 1);
    while (m->slots[s])
        s = (s + 1) & (m->nslots - 1);
    m->slots[s] = (uint32_t)++m->used;
    m->live++;
    return NULL;
}

void *map_del(struct map *m, struct str key)
{
    struct map_entry *e = entry_find(m, key, str_hash(key));
    if (!e)
        return NULL;
    void *old = e->value;
    mem_free((char *)(uintptr_t)e->key.p);
    e->key = STR_NONE;
    e->value = NULL;
    if (--m->live == 0) { /* empty: holes and slots start afresh */
        m->used = 0;
        memset(m->slots, 0, m->nslots * sizeof *m->slots);
    }
    return old;
}

size_t map_len(const struct map *m)
{
    return m->live;
}

const struct map_entry *map_next(const struct map *m, const struct map_entry *prev)
{
    for (size_t i = prev ? (size_t)(prev - m->entries) + 1 : 0; i < m->used; i++)
        if (m->entries[i].key.p)
            return &m->entries[i];
    return NULL;
}
