/* tree.c - values: interned names, maps and lists that grow in an arena, and the bound on work.
 *
 * Names of fields are in a static table found by a perfect hash that tools/gen-kinds computes: one hash, one
 * displacement, one comparison. So a lookup of a field compares pointers. Names that are in no table live in arenas
 * and are compared by text.
 *
 * A map is an array of members in their order, searched from the front: objects have few members, and their order
 * matters. Maps that users fill (labels, data) may be large. Beyond HASH_FROM members a table of positions stands
 * behind the members in the same allocation, and finds them by text; it is only a help: whoever moves or removes
 * members clears VAL_F_HASHED or says val_members_moved, and a search without it is slow but right.
 *
 * Room doubles in the arena and the old one is left there; `spare` is its logarithm, so a value needs no pointer
 * more. A value without spare room has exactly n places.
 *
 * The bound on work (work_begin ... work_end) is per thread. Walking long lists inside of loops over long lists is
 * what makes a small body expensive, in functions that cannot fail; so searches of lists count, and find nothing once
 * it is over, and whoever set the bound throws the result away.
 *
 * Recursion (copying, comparing) is as deep as the tree, which the decoders bound.
 */
#include "api/tree.h"
#include "api/tree_int.h"

/* As name_hash in tools/gen-kinds. */
static uint64_t name_hash(const char *p, size_t n)
{
    uint64_t h = n * 0x9E3779B97F4A7C15u;
    for (; n >= 8; p += 8, n -= 8) {
        uint64_t w;
        memcpy(&w, p, 8);
        h = (h ^ w) * 0xD6E8FEB86659FD93u;
        h ^= h >> 32;
    }
    if (n) {
        uint64_t w = 0;
        memcpy(&w, p, n);
        h = (h ^ w) * 0xD6E8FEB86659FD93u;
        h ^= h >> 32;
    }
    return h;
}

const struct name *name_find(struct str s)
{
    uint64_t h = name_hash(s.p ? s.p : "", s.n);
    uint64_t x = h + name_displacements[(h >> 40) % name_buckets] * 0x9E3779B97F4A7C15u;
    x ^= x >> 32;
    x *= 0xD6E8FEB86659FD93u;
    const struct name *name = &names[(x >> 32) * NAMES_COUNT >> 32];
    return str_eq(name->s, s) ? name : NULL;
}

const struct name *name_of(struct arena *a, struct str s)
{
    const struct name *found = name_find(s);
    if (found)
        return found;
    struct name *name = arena_alloc(a, sizeof *name + s.n + 1);
    char *text = (char *)(name + 1);
    if (s.n)
        memcpy(text, s.p, s.n);
    name->s = (struct str){text, s.n};
    return name;
}

struct val val_bool(bool b)
{
    return (struct val){.type = VAL_BOOL, .b = b};
}

struct val val_int(int64_t i)
{
    return (struct val){.type = VAL_INT, .i = i};
}

struct val val_double(double d)
{
    return (struct val){.type = VAL_DOUBLE, .d = d};
}

static struct val text_val(enum val_type type, struct str s)
{
    return (struct val){.type = (uint8_t)type, .n = (uint32_t)s.n, .s = s.p ? s.p : ""};
}

struct val val_str(struct arena *a, struct str s)
{
    return text_val(VAL_STRING, str_dup(a, s));
}

struct val val_str_borrowed(struct str s)
{
    return text_val(VAL_STRING, s);
}

struct val val_bytes(struct arena *a, struct str s)
{
    return text_val(VAL_BYTES, str_dup(a, s));
}

struct val val_list(void)
{
    return (struct val){.type = VAL_LIST};
}

struct val val_map(void)
{
    return (struct val){.type = VAL_MAP};
}

/* Trees are as deep as their decoders allow (JSON_MAX_DEPTH): the recursion below is bounded by that. */
struct val val_copy(struct arena *a, const struct val *v)
{
    if (!v)
        return VAL_NONE;
    struct val out = *v;
    out.flags &= (uint8_t)~VAL_F_PACKED; /* the parts are the object's */
    switch ((enum val_type)v->type) {
    case VAL_NULL:
    case VAL_BOOL:
    case VAL_INT:
    case VAL_DOUBLE: break;
    case VAL_STRING:
    case VAL_BYTES: out.s = str_dup(a, (struct str){v->s, v->n}).p; break;
    case VAL_LIST:
        out.spare = 0;
        out.list = v->n ? arena_alloc(a, v->n * sizeof *out.list) : NULL;
        for (uint32_t i = 0; i < v->n; i++)
            out.list[i] = val_copy(a, &v->list[i]);
        break;
    case VAL_MAP:
        out.spare = 0;
        out.flags &= (uint8_t)~VAL_F_HASHED;
        out.map = v->n ? arena_alloc(a, map_bytes(v->n)) : NULL;
        for (uint32_t i = 0; i < v->n; i++) {
            out.map[i].name = name_of(a, v->map[i].name->s);
            out.map[i].v = val_copy(a, &v->map[i].v);
        }
        map_hash(&out);
        break;
    }
    return out;
}

/* --- a bound on work --- */

static _Thread_local int64_t work_left = INT64_MAX;

void work_begin(int64_t steps)
{
    work_left = steps;
}

bool work_over(void)
{
    return work_left < 0;
}

bool work_do(size_t steps)
{
    work_left -= (int64_t)steps;
    return work_left >= 0;
}

void work_end(void)
{
    work_left = INT64_MAX;
}

/* --- large maps ---
 * Behind the members of a map of more than HASH_FROM stands where each is, by the hash of its name. Who has members
 * moved or taken out clears the flag, and then they are searched one by one. */

static uint32_t cap_of(const struct val *v);

static uint32_t slots_for(uint32_t cap)
{
    return cap <= HASH_FROM ? 0 : 1u << (33 - __builtin_clz(cap - 1));
}

size_t map_bytes(uint32_t cap)
{
    return cap * sizeof(struct member) + slots_for(cap) * sizeof(uint32_t);
}

static void map_hash_one(struct val *map, uint32_t i)
{
    uint32_t cap = cap_of(map), mask = slots_for(cap) - 1, *slots = (uint32_t *)(map->map + cap);
    uint32_t at = (uint32_t)str_hash(map->map[i].name->s) & mask;
    while (slots[at])
        at = (at + 1) & mask;
    slots[at] = i + 1;
}

void map_hash(struct val *map)
{
    if (cap_of(map) <= HASH_FROM)
        return;
    map->flags |= VAL_F_HASHED;
    for (uint32_t i = 0; i < map->n; i++)
        map_hash_one(map, i);
}

void val_members_moved(struct val *map)
{
    uint32_t cap = cap_of(map);
    if (!(map->flags & VAL_F_HASHED))
        return;
    memset(map->map + cap, 0, slots_for(cap) * sizeof(uint32_t));
    map_hash(map);
}

static const struct val *hashed_get(const struct val *map, struct str key)
{
    (void)work_do(1);
    uint32_t cap = cap_of(map), mask = slots_for(cap) - 1;
    const uint32_t *slots = (const uint32_t *)(map->map + cap);
    for (uint32_t at = (uint32_t)str_hash(key) & mask; slots[at]; at = (at + 1) & mask) {
        uint32_t i = slots[at] - 1;
        if (i < map->n && str_eq(map->map[i].name->s, key))
            return &map->map[i].v;
    }
    return NULL;
}

const struct val *val_get(const struct val *map, const struct name *name)
{
    if (!map || map->type != VAL_MAP)
        return NULL;
    if (map->flags & VAL_F_HASHED && map->n > 64) /* of fewer, pointers are compared faster */
        return hashed_get(map, name->s);
    for (uint32_t i = 0; i < map->n; i++)
        if (map->map[i].name == name)
            return &map->map[i].v;
    /* a name made at run time is equal by text only */
    if (!name_is_static(name))
        return val_get_str(map, name->s);
    return NULL;
}

const struct val *val_get_str(const struct val *map, struct str key)
{
    if (!map || map->type != VAL_MAP)
        return NULL;
    if (map->flags & VAL_F_HASHED)
        return hashed_get(map, key);
    if (map->n > HASH_FROM && !work_do(map->n))
        return NULL;
    for (uint32_t i = 0; i < map->n; i++)
        if (str_eq(map->map[i].name->s, key))
            return &map->map[i].v;
    return NULL;
}

const struct val *val_at_(const struct val *v, const struct name *const *path)
{
    for (; v && *path; path++)
        v = val_get(v, *path);
    return v;
}

const struct val *val_item(const struct val *list, size_t i)
{
    return val_is(list, VAL_LIST) && i < list->n ? &list->list[i] : NULL;
}

size_t val_len(const struct val *v)
{
    return v && (v->type == VAL_LIST || v->type == VAL_MAP) ? v->n : 0;
}

bool val_is(const struct val *v, enum val_type type)
{
    return v && v->type == type;
}

struct str val_text(const struct val *v)
{
    return val_is(v, VAL_STRING) ? (struct str){v->s, v->n} : S("");
}

struct str val_raw(const struct val *v)
{
    return val_is(v, VAL_BYTES) ? (struct str){v->s, v->n} : S("");
}

int64_t val_num(const struct val *v, int64_t otherwise)
{
    return val_is(v, VAL_INT) ? v->i : otherwise;
}

bool val_true(const struct val *v)
{
    return val_is(v, VAL_BOOL) && v->b;
}

static int by_key(const void *x, const void *y, void *arg)
{
    const struct member *map = arg;
    uint32_t i = *(const uint32_t *)x, k = *(const uint32_t *)y;
    int c = str_cmp(map[i].name->s, map[k].name->s);
    return c ? c : i < k ? -1 : 1;
}

uint32_t *sorted_members(const struct val *map)
{
    uint32_t i = 1;
    while (i < map->n && str_cmp(map->map[i - 1].name->s, map->map[i].name->s) < 0)
        i++;
    if (i >= map->n)
        return NULL;
    uint32_t *order = mem_alloc(map->n * sizeof *order);
    for (i = 0; i < map->n; i++)
        order[i] = i;
    qsort_r(order, map->n, sizeof *order, by_key, map->map);
    return order;
}

static bool large_maps_equal(const struct val *a, const struct val *b)
{
    AUTO_FREE uint32_t *x = sorted_members(a);
    AUTO_FREE uint32_t *y = sorted_members(b);
    for (uint32_t i = 0; i < a->n; i++) {
        const struct member *m = &a->map[x ? x[i] : i], *o = &b->map[y ? y[i] : i];
        if (!str_eq(m->name->s, o->name->s) || !val_equal(&m->v, &o->v))
            return false;
    }
    return true;
}

bool val_equal(const struct val *a, const struct val *b)
{
    if (a == b)
        return true;
    if (!a || !b || a->type != b->type)
        return false;
    switch ((enum val_type)a->type) {
    case VAL_NULL: return true;
    case VAL_BOOL: return a->b == b->b;
    case VAL_INT: return a->i == b->i;
    case VAL_DOUBLE: return a->d == b->d;
    case VAL_STRING:
    case VAL_BYTES: return a->n == b->n && memcmp(a->s, b->s, a->n) == 0;
    case VAL_LIST:
        if (a->n != b->n)
            return false;
        for (uint32_t i = 0; i < a->n; i++)
            if (!val_equal(&a->list[i], &b->list[i]))
                return false;
        return true;
    case VAL_MAP:
        if (a->n != b->n)
            return false;
        if (a->n > 64)
            return large_maps_equal(a, b);
        for (uint32_t i = 0; i < a->n; i++) {
            const struct member *m = &a->map[i];
            /* mostly in the same order */
            const struct val *other = b->map[i].name == m->name ? &b->map[i].v : val_get(b, m->name);
            if (!other || !val_equal(&m->v, other))
                return false;
        }
        return true;
    }
    return false;
}

bool val_has_text(const struct val *list, struct str text)
{
    val_each_item (it, list)
        if (str_eq(val_text(it), text))
            return true;
    return false;
}

static int member_cmp(const void *a, const void *b)
{
    return str_cmp((*(const struct member *const *)a)->name->s, (*(const struct member *const *)b)->name->s);
}

const struct member **val_members_sorted(struct arena *a, const struct val *map, size_t *n)
{
    const struct member **out = arena_alloc(a, (val_len(map) + 1) * sizeof *out);
    *n = 0;
    val_each_member (m, map)
        out[(*n)++] = m;
    qsort(out, *n, sizeof *out, member_cmp);
    return out;
}

const struct val *val_find(const struct val *list, const struct name *name, struct str value)
{
    if (!work_do(val_len(list)))
        return NULL;
    val_each_item (it, list) {
        const struct val *v = val_get(it, name);
        if (val_is(v, VAL_STRING) && str_eq(val_text(v), value))
            return it;
    }
    return NULL;
}

/* Room in a map or list: `spare` is the base-2 logarithm of the capacity plus one while it grows in an arena; 0 means
 * exactly n. */
static uint32_t cap_of(const struct val *v)
{
    return v->spare ? 1u << (v->spare - 1) : v->n;
}

/* The room that it needs for one more, as `spare` says it; 0: it has it. */
static uint16_t more_room(const struct val *v)
{
    if (v->n < cap_of(v))
        return 0;
    uint16_t log = 3;
    while ((1u << (log - 1)) <= v->n)
        log++;
    return log;
}

static struct val *map_add(struct arena *a, struct val *map, const struct name *name, struct val val)
{
    ASSERT(map->type == VAL_MAP);
    uint16_t more = more_room(map);
    if (more) {
        struct member *fresh = arena_alloc(a, map_bytes(1u << (more - 1)));
        if (map->n)
            memcpy(fresh, map->map, map->n * sizeof *fresh);
        map->map = fresh;
        map->spare = more;
        map->flags &= (uint8_t)~VAL_F_HASHED;
        map_hash(map);
    }
    struct member *m = &map->map[map->n++];
    m->name = name;
    m->v = val;
    if (map->flags & VAL_F_HASHED)
        map_hash_one(map, map->n - 1);
    return &m->v;
}

struct val *val_set(struct arena *a, struct val *map, const struct name *name, struct val val)
{
    struct val *have = val_get_mut(map, name);
    if (!have)
        return map_add(a, map, name, val);
    *have = val;
    return have;
}

struct val *val_set_str(struct arena *a, struct val *map, struct str key, struct val val)
{
    struct val *have = val_get_str_mut(map, key);
    if (!have)
        return map_add(a, map, name_of(a, key), val);
    *have = val;
    return have;
}

struct val *val_append(struct arena *a, struct val *map, const struct name *name, struct val val)
{
    return map_add(a, map, name, val);
}

struct val *val_add(struct arena *a, struct val *list, struct val val)
{
    ASSERT(list->type == VAL_LIST);
    uint16_t more = more_room(list);
    if (more) {
        struct val *fresh = arena_alloc(a, ((size_t)1 << (more - 1)) * sizeof *fresh);
        if (list->n)
            memcpy(fresh, list->list, list->n * sizeof *fresh);
        list->list = fresh;
        list->spare = more;
    }
    struct val *v = &list->list[list->n++];
    *v = val;
    return v;
}

/* After a removal the capacity that was exactly n is no longer known: it counts as full. */
static bool del_at(struct val *map, const struct val *v)
{
    if (!v)
        return false;
    struct member *m = container_of((struct val *)(uintptr_t)v, struct member, v);
    size_t i = (size_t)(m - map->map);
    map->flags &= (uint8_t)~VAL_F_HASHED;
    (void)work_do((map->n - i) / 16); /* moving is cheap: what is over is refused in the end */
    memmove(m, m + 1, (map->n - i - 1) * sizeof *m);
    map->n--;
    return true;
}

bool val_del(struct val *map, const struct name *name)
{
    return del_at(map, val_get(map, name));
}

bool val_del_str(struct val *map, struct str key)
{
    return del_at(map, val_get_str(map, key));
}

void val_del_item(struct val *list, size_t i)
{
    ASSERT(list->type == VAL_LIST && i < list->n);
    (void)work_do((list->n - i) / 16);
    memmove(&list->list[i], &list->list[i + 1], (list->n - i - 1) * sizeof *list->list);
    list->n--;
}

struct val *val_get_mut(struct val *map, const struct name *name)
{
    return (struct val *)(uintptr_t)val_get(map, name);
}

struct val *val_get_str_mut(struct val *map, struct str key)
{
    return (struct val *)(uintptr_t)val_get_str(map, key);
}

struct val *val_need_map_(struct arena *a, struct val *v, const struct name *const *path)
{
    if (v->type != VAL_MAP)
        *v = val_map();
    for (; *path; path++) {
        struct val *next = val_get_mut(v, *path);
        if (!next || next->type != VAL_MAP)
            next = val_set(a, v, *path, val_map());
        v = next;
    }
    return v;
}

void val_set_text(struct arena *a, struct val *map, const struct name *name, struct str s)
{
    (void)val_set(a, map, name, val_str(a, s));
}

void val_set_num(struct arena *a, struct val *map, const struct name *name, int64_t i)
{
    (void)val_set(a, map, name, val_int(i));
}

void val_set_bool(struct arena *a, struct val *map, const struct name *name, bool b)
{
    (void)val_set(a, map, name, val_bool(b));
}
