#include "api/places.h"

static uint64_t bits_mix(uint64_t x)
{
    x = (x ^ (x >> 32)) * 0x9e3779b97f4a7c15u;
    return x ^ (x >> 29);
}

uint64_t val_hash(const struct val *v)
{
    uint64_t h = bits_mix(v->type + 1u);
    switch ((enum val_type)v->type) {
    case VAL_NULL: break;
    case VAL_BOOL: return bits_mix(h + v->b);
    case VAL_INT: return bits_mix(h + (uint64_t)v->i);
    case VAL_DOUBLE: {
        uint64_t bits;
        double d = v->d == 0 ? 0 : v->d; /* -0.0 equals 0.0 */
        memcpy(&bits, &d, sizeof bits);
        return bits_mix(h + bits);
    }
    case VAL_STRING:
    case VAL_BYTES: return bits_mix(h + str_hash((struct str){v->s, v->n}));
    case VAL_LIST:
        val_each_item (item, v)
            h = bits_mix(h * 31 + val_hash(item));
        return h;
    case VAL_MAP: { /* whatever the order of its members */
        uint64_t sum = 0;
        val_each_member (m, v)
            sum += bits_mix(str_hash(m->name->s) + 3 * val_hash(&m->v));
        return bits_mix(h + sum);
    }
    }
    return h;
}

/* What stands for a key that is not there: equal to nothing that a document can hold. */
#define ABSENT ((struct val){.type = UINT8_MAX})

static const struct val *key_of(const struct val *item, const struct name *key)
{
    return key ? val_get(item, key) : item;
}

/* The slot with the key, or the free one where it belongs. */
static uint32_t *slot_of(const struct places *p, const struct val *key)
{
    uint32_t mask = 2 * p->room - 1;
    for (uint32_t i = (uint32_t)val_hash(key) & mask;; i = (i + 1) & mask)
        if (p->slots[i] == 0 || val_equal(&p->keys[p->slots[i] - 1], key))
            return &p->slots[i];
}

static void make_room(struct places *p, uint32_t room)
{
    struct val *keys = arena_alloc(p->a, room * sizeof *keys);
    if (p->n > 0)
        memcpy(keys, p->keys, p->n * sizeof *keys);
    p->keys = keys;
    p->slots = memset(arena_alloc(p->a, 2 * (size_t)room * sizeof *p->slots), 0, 2 * (size_t)room * sizeof *p->slots);
    p->room = room;
    for (uint32_t i = 0; i < p->n; i++) {
        uint32_t *slot = p->keys[i].type == UINT8_MAX ? NULL : slot_of(p, &p->keys[i]);
        if (slot && *slot == 0)
            *slot = i + 1;
    }
}

struct places places_of(struct arena *a, const struct val *list, const struct name *key)
{
    struct places p = {.a = a, .key = key};
    uint32_t room = 8;
    while (room < val_len(list) + 1)
        room *= 2;
    make_room(&p, room);
    val_each_item (item, list)
        places_add(&p, item);
    return p;
}

void places_add(struct places *p, const struct val *item)
{
    const struct val *key = key_of(item, p->key);
    if (p->n == p->room)
        make_room(p, 2 * p->room);
    p->keys[p->n++] = key ? *key : ABSENT;
    uint32_t *slot = key ? slot_of(p, key) : NULL;
    if (slot && *slot == 0)
        *slot = p->n;
}

ptrdiff_t places_find(const struct places *p, const struct val *item)
{
    const struct val *key = key_of(item, p->key);
    return key ? (ptrdiff_t)*slot_of(p, key) - 1 : -1;
}
