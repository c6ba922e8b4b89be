#include "server/scan.h"
#include "api/strategy.h"
#include <stdatomic.h>

/* Fields whose values are looked up instead of asked of every object: the pods of a node (its agent; drain and
 * describe), the events about an object (describe). */
static const struct {
    const struct kind *kind;
    struct str path, alias; /* alias: the same field in the kind of another group */
} rows[] = {
    {K(Pod), S_INIT("spec.nodeName"), S_INIT("spec.host")},
    {K(Event), S_INIT("involvedObject.uid"), S_INIT("regarding.uid")},
};

/* --- the map: ROW VALUE "/" NS "/" NAME -> entry --- */

struct field_item {
    _Atomic(uint32_t) refs;
    uint32_t key_n;
    struct store_entry *entry; /* counted */
    char key[];
};

static struct str item_key(const void *item)
{
    const struct field_item *i = item;
    return (struct str){i->key, i->key_n};
}

static void item_ref(void *item)
{
    struct field_item *i = item;
    atomic_fetch_add_explicit(&i->refs, 1, memory_order_relaxed);
}

static void item_unref(void *item)
{
    struct field_item *i = item;
    if (!i || atomic_fetch_sub_explicit(&i->refs, 1, memory_order_acq_rel) != 1)
        return;
    store_entry_unref(i->entry);
    mem_free(i);
}

static const struct pmap_type item_type = {.key = item_key, .ref = item_ref, .unref = item_unref};

static const struct kind *kind_stored(const struct kind *k)
{
    return k->storage ? k->storage : k;
}

static struct str value_prefix(struct arena *a, size_t row, struct str value)
{
    return arena_fmt(a, "%c" STR_FMT "/", (char)('0' + row), STR_ARG(value));
}

static struct str key_in_row(struct arena *a, size_t row, const struct store_entry *e)
{
    struct str key = store_entry_key(e),
               value = kind_field_value(a, rows[row].kind, &object_of(e)->tree, rows[row].path);
    size_t skip = object_prefix(a, rows[row].kind).n;
    return arena_fmt(a, STR_FMT STR_FMT, STR_ARG(value_prefix(a, row, value)), STR_ARG(str_sub(key, skip, key.n)));
}

static struct field_item *item_new(struct str key, struct store_entry *e)
{
    struct field_item *i = mem_alloc(sizeof *i + key.n);
    atomic_init(&i->refs, 1);
    i->key_n = (uint32_t)key.n;
    store_entry_ref(e);
    i->entry = e;
    memcpy(i->key, key.p, key.n);
    return i;
}

void fields_init(struct pmap *fields)
{
    pmap_init(fields, &item_type);
}

void fields_changed(struct pmap *fields, struct store_entry *was, struct store_entry *now)
{
    const struct kind *k = kind_stored(object_of(now ? now : was)->kind);
    for (size_t row = 0; row < countof(rows); row++) {
        if (rows[row].kind != k)
            continue;
        AUTO(arena_fini) struct arena a = ARENA;
        struct str before = was ? key_in_row(&a, row, was) : STR_NONE,
                   after = now ? key_in_row(&a, row, now) : STR_NONE;
        if (was && !(now && str_eq(before, after)))
            item_unref(pmap_del(fields, before));
        if (now)
            item_unref(pmap_put(fields, item_new(after, now)));
    }
}

void fields_fill(struct pmap *fields, const struct store_snapshot *snap)
{
    AUTO(arena_fini) struct arena a = ARENA;
    for (size_t row = 0; row < countof(rows); row++) {
        struct store_iter it;
        for (struct store_entry *e = store_first(&it, snap, object_prefix(&a, rows[row].kind), STR_NONE); e;
             e = store_next(&it))
            fields_changed(fields, NULL, e);
    }
}

/* --- what is published --- */

struct published published_take(struct server *s)
{
    pthread_mutex_lock(&s->published_lock);
    struct published p = {{.map = pmap_snapshot(&s->published.objects.map), .rev = s->published.objects.rev},
                          pmap_snapshot(&s->published.fields)};
    pthread_mutex_unlock(&s->published_lock);
    return p;
}

void published_fini(struct published *p)
{
    store_snapshot_fini(&p->objects);
    pmap_fini(&p->fields);
}

/* --- walking --- */

static bool row_of(const struct kind *k, const struct filter *f, size_t *row, struct str *value)
{
    for (size_t i = 0; i < countof(rows); i++)
        for (size_t t = 0; t < f->nterms && rows[i].kind == kind_stored(k); t++)
            if (f->terms[t].equal &&
                (str_eq(f->terms[t].path, rows[i].path) || str_eq(f->terms[t].path, rows[i].alias))) {
                *row = i;
                *value = f->terms[t].value;
                return true;
            }
    return false;
}

static struct store_entry *entry_within(const struct scan *c, const struct field_item *i)
{
    return i && str_starts(item_key(i), c->prefix) ? i->entry : NULL;
}

struct store_entry *scan_first(struct scan *c, struct arena *a, const struct published *p, const struct kind *k,
                               struct str ns, const struct filter *f, struct str from)
{
    size_t row = 0;
    struct str value = STR_NONE;
    c->by_field = p->fields.type && row_of(k, f, &row, &value);
    struct str top = c->by_field ? value_prefix(a, row, value) : object_prefix(a, k);
    c->prefix = k->namespaced && ns.n ? arena_fmt(a, STR_FMT STR_FMT "/", STR_ARG(top), STR_ARG(ns)) : top;
    if (from.n)
        from = arena_fmt(a, STR_FMT STR_FMT, STR_ARG(top), STR_ARG(from));
    if (!c->by_field)
        return store_first(&c->keys, &p->objects, c->prefix, from);
    return entry_within(c, pmap_seek(&c->items, &p->fields, str_cmp(from, c->prefix) > 0 ? from : c->prefix));
}

struct store_entry *scan_next(struct scan *c)
{
    return c->by_field ? entry_within(c, pmap_next(&c->items)) : store_next(&c->keys);
}

/* --- places --- */

/* "KIND/", "KIND/NS/", "KIND/NS/NAME" as keys are, "*KIND/NAME" of all namespaces, "ROW VALUE/" and "ROW VALUE/NS/"
 * as items are. That a value may hold a slash makes two places one at worst. */
static struct str name_place(struct arena *a, const struct kind *k, struct str name)
{
    return arena_fmt(a, "*" STR_FMT STR_FMT, STR_ARG(object_prefix(a, k)), STR_ARG(name));
}

static struct str prefix_within(struct arena *a, struct str top, struct str ns)
{
    return arena_fmt(a, STR_FMT STR_FMT "/", STR_ARG(top), STR_ARG(ns));
}

struct str place_of_question(struct arena *a, const struct kind *k, struct str ns, const struct filter *f)
{
    size_t row;
    struct str value;
    bool one_ns = k->namespaced && ns.n;
    if (f->name.n)
        return one_ns || !k->namespaced ? object_key(a, k, ns, f->name) : name_place(a, k, f->name);
    struct str top = row_of(k, f, &row, &value) ? value_prefix(a, row, value) : object_prefix(a, k);
    return one_ns ? prefix_within(a, top, ns) : top;
}

size_t places_of_object(struct arena *a, const struct store_entry *e, struct str out[PLACES_MOST])
{
    const struct obj *o = object_of(e);
    const struct kind *k = o->kind;
    size_t n = 0;
    out[n++] = store_entry_key(e);
    out[n++] = object_prefix(a, k);
    if (k->namespaced) {
        out[n++] = prefix_within(a, out[1], o->ns);
        out[n++] = name_place(a, k, o->name);
    }
    for (size_t row = 0; row < countof(rows); row++) {
        if (rows[row].kind != kind_stored(k))
            continue;
        ASSERT(n + 2 <= PLACES_MOST);
        struct str top = value_prefix(a, row, kind_field_value(a, k, &o->tree, rows[row].path));
        out[n++] = top;
        out[n++] = prefix_within(a, top, o->ns);
    }
    return n;
}
