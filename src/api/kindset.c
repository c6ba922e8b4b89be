/* kindset.c - which kinds are served now: kinds that came at run time, sets of kinds, and their publishing.
 *
 * A set is immutable. The built-in kinds are in each, in front and static; those of run time stand behind them,
 * sorted as discovery shows them, and are found by two maps (group/version/plural and group/version/Kind). A lookup
 * asks the built-in tables first, which is a walk over some 70 rows, and then the map. While nothing came at run
 * time the set is the static one itself, which is not counted.
 *
 * Counting goes downwards: a publisher holds its newest set, whoever answers a request holds the one it took, a set
 * holds its kinds, and each object holds its kind. A kind's id goes back for reuse with its last reference; so
 * tables by id stay bounded (KIND_IDS) however many kinds came and went, and whoever keeps one must hold the kind.
 *
 * Two locks, because telling may take time: `lock` guards the pointer to the newest set and is held for a moment;
 * `telling` is held while the listeners are called, so that kind_unlisten returns only when its listener is not
 * running. Therefore a listener may neither publish nor listen nor end that. The set is published before the
 * listeners hear of it.
 */
#include "api/custom.h"
#include <stdatomic.h>

/* --- kinds that come at run time --- */

struct kind_live {
    struct kind kind;
    atomic_int refs;
    struct arena arena;
};

static pthread_mutex_t ids_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t ids[KIND_IDS / 64]; /* taken; those of built-in kinds are never looked at */
static size_t alive;

static int id_take(void)
{
    int found = -1;
    pthread_mutex_lock(&ids_lock);
    for (int i = KINDS_COUNT; i < KIND_IDS && found < 0; i++)
        if (!(ids[i / 64] >> i % 64 & 1))
            found = i;
    if (found >= 0) {
        ids[found / 64] |= (uint64_t)1 << found % 64;
        alive++;
    }
    pthread_mutex_unlock(&ids_lock);
    return found;
}

static void id_give(int id)
{
    pthread_mutex_lock(&ids_lock);
    ids[id / 64] &= ~((uint64_t)1 << id % 64);
    alive--;
    pthread_mutex_unlock(&ids_lock);
}

size_t kinds_alive(void)
{
    pthread_mutex_lock(&ids_lock);
    size_t n = alive;
    pthread_mutex_unlock(&ids_lock);
    return n;
}

struct kind *kind_new(void)
{
    int id = id_take();
    if (id < 0)
        return NULL;
    struct kind_live *l = NEW(struct kind_live);
    l->kind.id = id;
    l->kind.live = l;
    atomic_init(&l->refs, 1);
    return &l->kind;
}

struct arena *kind_arena(struct kind *k)
{
    return &k->live->arena;
}

const struct kind *kind_ref(const struct kind *k)
{
    if (k->live)
        atomic_fetch_add_explicit(&k->live->refs, 1, memory_order_relaxed);
    return k;
}

void kind_unref(const struct kind *k)
{
    if (!k || !k->live || atomic_fetch_sub_explicit(&k->live->refs, 1, memory_order_acq_rel) > 1)
        return;
    struct kind_live *l = k->live;
    if (k->custom)
        custom_fini(k->custom);
    if (k->storage != k)
        kind_unref(k->storage);
    id_give(k->id);
    arena_fini(&l->arena);
    mem_free(l);
}

bool kind_same(const struct kind *a, const struct kind *b)
{
    return a == b || (str_eq(a->plural, b->plural) && str_eq(a->version, b->version) && str_eq(a->group, b->group));
}

/* --- sets --- */

const struct kind_set *kind_set_ref(const struct kind_set *s)
{
    if (s != &kind_set_builtin)
        (void)__atomic_add_fetch(&((struct kind_set *)(uintptr_t)s)->refs, 1, __ATOMIC_RELAXED);
    return s;
}

void kind_set_unref(const struct kind_set *set)
{
    struct kind_set *s = (struct kind_set *)(uintptr_t)set;
    if (!s || s == &kind_set_builtin || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (size_t i = KINDS_COUNT; i < s->n; i++)
        kind_unref(s->kinds[i]);
    map_each (it, &s->by_prefix)
        kind_unref(it->value);
    map_each (it, &s->hidden)
        kind_unref(it->value);
    map_fini(&s->by_prefix);
    map_fini(&s->hidden);
    map_fini(&s->by_plural);
    map_fini(&s->by_kind);
    arena_fini(&s->arena);
    mem_free(s);
}

static struct str key_of(struct strbuf *b, struct str group, struct str version, struct str name)
{
    const struct str parts[] = {group, S("/"), version, S("/"), name};
    for (size_t i = 0; i < countof(parts); i++)
        strbuf_add(b, parts[i]);
    return strbuf_str(b);
}

static void key_put(struct map *m, const struct kind *k, struct str name)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    (void)map_put(m, key_of(&b, k->group, k->version, name), (void *)(uintptr_t)k);
}

static const struct kind *key_get(const struct map *m, struct str group, struct str version, struct str name)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    return map_len(m) ? map_get(m, key_of(&b, group, version, name)) : NULL;
}

/* v2, v1, v1beta2, v1beta1, v1alpha1, and then whatever else (k8s.io/apimachinery/pkg/version): a number to compare
 * by; 0: else. */
static int64_t version_rank(struct str v)
{
    int64_t major, minor = 0;
    size_t at = 1;
    while (at < v.n && v.p[at] >= '0' && v.p[at] <= '9')
        at++;
    struct str rest = str_sub(v, at, v.n);
    bool beta = str_starts(rest, S("beta")), alpha = str_starts(rest, S("alpha"));
    if (!v.n || v.p[0] != 'v' || !str_to_i64(str_sub(v, 1, at), 1, 1 << 20, &major))
        return 0;
    if ((beta || alpha) && !str_to_i64(str_sub(rest, beta ? 4 : 5, rest.n), 1, 1 << 20, &minor))
        return 0;
    if (rest.n && !beta && !alpha)
        return 0;
    return (int64_t)(alpha ? 1 : beta ? 2 : 3) << 50 | major << 25 | minor;
}

int version_order(struct str a, struct str b)
{
    int64_t m = version_rank(a), n = version_rank(b);
    return m != n ? (m > n ? -1 : 1) : str_cmp(a, b);
}

static int by_order(const void *x, const void *y)
{
    const struct kind *a = *(const struct kind *const *)x, *b = *(const struct kind *const *)y;
    int c = str_cmp(a->group, b->group);
    if (c)
        return c;
    c = version_order(a->version, b->version);
    return c ? c : str_cmp(a->plural, b->plural);
}

static const struct group_version *version_beside(const struct kind_set *b, const struct kind *k)
{
    for (size_t i = 0; i < b->nversions; i++)
        if (str_eq(b->versions[i].group, k->group))
            return &b->versions[i];
    return NULL;
}

static bool version_is_builtin(const struct kind_set *b, const struct kind *k)
{
    for (size_t i = 0; i < b->nversions; i++)
        if (str_eq(b->versions[i].api_version, k->api_version))
            return true;
    return false;
}

/* The rows of what came at run time stand behind the built-in ones; a group that has built-in versions keeps those in
 * front. Upstream gives custom resources 1000 and 100. */
static void add_versions(struct kind_set *s)
{
    const struct kind_set *b = &kind_set_builtin;
    struct group_version *all = arena_alloc(&s->arena, (b->nversions + s->n - b->n) * sizeof *all);
    memcpy(all, b->versions, b->nversions * sizeof *all);
    s->versions = all;
    s->nversions = b->nversions;
    int next = b->versions[b->nversions - 1].order + 1;
    for (size_t i = b->n; i < s->n; i++) { /* by group and version: the same ones stand in a row */
        const struct kind *k = s->kinds[i], *before = i > b->n ? s->kinds[i - 1] : NULL;
        const struct group_version *beside = version_beside(b, k), *last = &all[s->nversions - 1];
        if (version_is_builtin(b, k) || (before && str_eq(before->api_version, k->api_version)))
            continue;
        if (!beside && before && str_eq(last->group, k->group))
            beside = last;
        all[s->nversions] = (struct group_version){.group = k->group,
                                                   .version = k->version,
                                                   .api_version = k->api_version,
                                                   .order = beside ? beside->order : next++,
                                                   .group_priority = 1000,
                                                   .version_priority = 100,
                                                   .preferred = !beside};
        s->nversions++;
    }
}

static void hash_add(uint64_t *hash, const struct kind *k)
{
    const struct str texts[] = {k->group, k->version, k->plural, str_of(k->made_of ? k->made_of : "")};
    for (size_t i = 0; i < countof(texts); i++)
        for (size_t c = 0; c <= texts[i].n; c++) /* its end too */
            *hash = (*hash ^ (c < texts[i].n ? (unsigned char)texts[i].p[c] : 0)) * 0x100000001b3u;
}

static void stored_put(struct kind_set *s, const struct kind *k)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    strbuf_add(&b, k->plural);
    strbuf_addc(&b, '.');
    strbuf_add(&b, k->group);
    kind_unref(map_put(&s->by_prefix, strbuf_str(&b), (void *)(uintptr_t)kind_ref(k)));
}

const struct kind_set *kind_set_new(const struct kind *const *more, size_t n)
{
    const struct kind_set *b = &kind_set_builtin;
    if (!n)
        return b;
    struct kind_set *s = NEW(struct kind_set);
    s->refs = 1;
    const struct kind **all = arena_alloc(&s->arena, (b->n + n + 1) * sizeof *all);
    memcpy(all, b->kinds, b->n * sizeof *all);
    size_t served = 0;
    for (size_t i = 0; i < n; i++) {
        if (!more[i]->storage || more[i]->storage == more[i])
            stored_put(s, more[i]);
        if (more[i]->custom && more[i]->custom->hidden) {
            key_put(&s->hidden, kind_ref(more[i]), more[i]->kind);
            continue;
        }
        all[b->n + served++] = kind_ref(more[i]);
        key_put(&s->by_plural, more[i], more[i]->plural);
        key_put(&s->by_kind, more[i], more[i]->kind);
    }
    qsort(all + b->n, served, sizeof *all, by_order);
    s->kinds = all;
    s->n = b->n + served;
    add_versions(s);
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = b->n; i < s->n; i++)
        hash_add(&hash, all[i]);
    s->hash = arena_fmt(&s->arena, "%s%016llX", b->hash, (unsigned long long)hash).p;
    return s;
}

const struct kind *kind_set_find(const struct kind_set *s, struct str group, struct str version, struct str kind)
{
    const struct kind *k = kind_find(group, version, kind);
    return k ? k : key_get(&s->by_kind, group, version, kind);
}

const struct kind *kind_set_find_plural(const struct kind_set *s, struct str group, struct str version,
                                        struct str plural)
{
    const struct kind *k = kind_find_plural(group, version, plural);
    return k ? k : key_get(&s->by_plural, group, version, plural);
}

const struct kind *kind_set_of_api_version(const struct kind_set *s, struct str api_version, struct str kind)
{
    struct str group, version;
    const struct kind *k = kind_of_api_version(api_version, kind);
    if (!k && str_split(api_version, '/', &group, &version))
        k = key_get(&s->by_kind, group, version, kind);
    return k;
}

const struct kind *kind_set_find_stored(const struct kind_set *s, struct str api_version, struct str kind,
                                        struct str resource)
{
    struct str group, version;
    const struct kind *k = kind_set_of_api_version(s, api_version, kind);
    if (!k && str_split(api_version, '/', &group, &version))
        k = key_get(&s->hidden, group, version, kind);
    return k || !map_len(&s->by_prefix) ? k : map_get(&s->by_prefix, resource);
}

bool kind_set_has(const struct kind_set *s, const struct kind *k)
{
    return !k->live || key_get(&s->by_plural, k->group, k->version, k->plural) == k;
}

/* --- publishing --- */

void kind_publisher_init(struct kind_publisher *p)
{
    pthread_mutex_init(&p->lock, NULL);
    pthread_mutex_init(&p->telling, NULL);
    p->now = &kind_set_builtin;
    list_init(&p->listeners);
}

void kind_publisher_fini(struct kind_publisher *p)
{
    kind_set_unref(p->now);
    pthread_mutex_destroy(&p->telling);
    pthread_mutex_destroy(&p->lock);
}

const struct kind_set *kind_publisher_take(struct kind_publisher *p)
{
    pthread_mutex_lock(&p->lock);
    const struct kind_set *s = kind_set_ref(p->now);
    pthread_mutex_unlock(&p->lock);
    return s;
}

void kind_publish(struct kind_publisher *p, const struct kind_set *own_set)
{
    pthread_mutex_lock(&p->lock);
    const struct kind_set *was = p->now;
    p->now = own_set;
    pthread_mutex_unlock(&p->lock);
    pthread_mutex_lock(&p->telling);
    list_each (l, &p->listeners, struct kind_listener, node)
        l->fn(l, was, own_set);
    pthread_mutex_unlock(&p->telling);
    kind_set_unref(was);
}

void kind_listen(struct kind_publisher *p, struct kind_listener *l)
{
    pthread_mutex_lock(&p->telling);
    list_add_tail(&p->listeners, &l->node);
    pthread_mutex_unlock(&p->telling);
}

void kind_unlisten(struct kind_publisher *p, struct kind_listener *l)
{
    pthread_mutex_lock(&p->telling);
    list_del(&l->node);
    pthread_mutex_unlock(&p->telling);
}
