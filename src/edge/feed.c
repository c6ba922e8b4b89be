/* Objects of one kind may come from several watches (all TLS Secrets, and others by name), so the feed has a set of
 * its own for each kind, into which every watch puts what it hears; what one of them loses stays while another has
 * it. Watches that are dropped end in a later turn, as whoever drops one may have been called by it. */
#include "edge/feed.h"
#include "api/custom.h"
#include "base/log.h"
#include "client/cache.h"
#include "control/manager.h"
#include "sys/loop.h"

/* One watch: of a kind, or of one object of it. */
struct feed_source {
    struct feed *feed;
    const struct kind *kind; /* counted */
    struct cache *cache;
    struct cache_handler handler;
    bool synced, dropped;
    size_t wanted; /* by name: how often */
    char *key;     /* of by_name; NULL: of the whole kind */
    struct list node;
};
/* A definition that somebody wants the objects of. */
struct feed_definition {
    struct feed *feed;
    const char *name;
    struct feed_source *source;              /* of the definition's own object */
    const struct kind *all[CUSTOM_VERSIONS]; /* counted; what it defines now */
    size_t n;
};
struct feed {
    struct transport *transport;
    struct feed_events events;
    void *arg;
    struct view view;
    const struct kind_set *kinds;
    const struct objset *sets[KIND_IDS];
    struct objset *own[KIND_IDS];
    struct feed_source *whole[KIND_IDS];
    struct map by_name;         /* "KIND/NS/NAME" -> struct feed_source */
    struct list sources, ended; /* struct feed_source by node */
    ARRAY(struct feed_definition *) definitions;
    struct timer sweep;
    size_t unsynced;
};

const struct view *feed_view(struct feed *f)
{
    f->view.now = clock_real();
    return &f->view;
}

bool feed_synced(const struct feed *f)
{
    return f->unsynced == 0;
}

static struct objset *own_set(struct feed *f, const struct kind *k)
{
    if (!f->own[k->id]) {
        f->own[k->id] = NEW(struct objset);
        objset_init(f->own[k->id], k, kind_indexes(k));
        f->sets[k->id] = f->own[k->id];
    }
    return f->own[k->id];
}

/* Whether a watch other than this one has it. Borrowed. */
static struct obj *still_known(struct feed *f, const struct feed_source *but, const struct obj *o)
{
    list_each (s, &f->sources, struct feed_source, node) {
        struct obj *found = s != but && s->kind == o->kind ? cache_peek(s->cache, o->ns, o->name) : NULL;
        if (found)
            return found;
    }
    return NULL;
}

static void definitions_look(struct feed *f, const struct obj *definition, bool gone);

/* Into the set, and told. Of two watches of one object the older news is no news. */
static void object_take(struct feed *f, struct obj *now)
{
    struct objset *set = own_set(f, now->kind);
    struct obj *before = objset_get(set, now->ns, now->name);
    if (before && str_eq(before->uid, now->uid) && before->rev >= now->rev)
        return;
    AUTO(obj_unref) struct obj *was = objset_put(set, now);
    f->events.changed(f->arg, now->kind, was, now);
}

/* Another watch may have heard already of one that took its name. */
static void object_lose(struct feed *f, const struct obj *was)
{
    struct objset *set = f->own[was->kind->id];
    struct obj *mine = set ? objset_get(set, was->ns, was->name) : NULL;
    if (!mine || !str_eq(mine->uid, was->uid))
        return;
    AUTO(obj_unref) struct obj *gone = objset_del(set, was->ns, was->name);
    f->events.changed(f->arg, gone->kind, gone, NULL);
}

static void on_change(struct cache_handler *h, struct obj *was, struct obj *now)
{
    struct feed_source *s = container_of(h, struct feed_source, handler);
    struct feed *f = s->feed;
    if (s->dropped)
        return;
    if (s->kind == K(CustomResourceDefinition))
        definitions_look(f, now ? now : was, !now);
    else if (now)
        object_take(f, now);
    else
        object_lose(f, was);
}

static void one_more_synced(struct feed_source *s)
{
    struct feed *f = s->feed;
    if (s->synced)
        return;
    s->synced = true;
    if (--f->unsynced == 0)
        f->events.synced(f->arg);
}

static void on_synced(struct cache_handler *h)
{
    struct feed_source *s = container_of(h, struct feed_source, handler);
    if (!s->dropped)
        one_more_synced(s);
}

static struct feed_source *source_begin(struct feed *f, const struct kind *k, struct str ns, struct str selector)
{
    struct feed_source *s = NEW(struct feed_source);
    struct cache_options o = {.kind = k, .ns = ns, .field_selector = selector};
    *s = (struct feed_source){.feed = f, .kind = kind_ref(k), .cache = cache_new(f->transport, &o)};
    s->handler = (struct cache_handler){.changed = on_change, .synced = on_synced};
    cache_handler_add(s->cache, &s->handler);
    list_add_tail(&f->sources, &s->node);
    f->unsynced++;
    cache_start(s->cache);
    return s;
}

static void source_free(struct feed_source *s)
{
    list_del(&s->node);
    cache_free(s->cache);
    kind_unref(s->kind);
    mem_free(s->key);
    mem_free(s);
}

static void ended_sweep(struct timer *t)
{
    struct feed *f = container_of(t, struct feed, sweep);
    list_each (s, &f->ended, struct feed_source, node)
        source_free(s);
}

static void source_end(struct feed_source *s)
{
    struct feed *f = s->feed;
    s->dropped = true;
    cache_stop(s->cache);
    list_del(&s->node);
    list_add_tail(&f->ended, &s->node);
    timer_set(&f->sweep, 0);
    struct objset_iter it = objset_all(cache_set(s->cache));
    for (struct obj *o; (o = objset_next(&it));)
        if (!still_known(f, s, o))
            object_lose(f, o);
    one_more_synced(s);
}

void feed_want(struct feed *f, const struct kind *k)
{
    if (f->whole[k->id])
        return;
    (void)own_set(f, k);
    f->whole[k->id] = source_begin(f, k, S(""), k == K(Secret) ? S("type=kubernetes.io/tls") : S(""));
}

static struct str name_key(struct strbuf *b, const struct kind *k, struct str ns, struct str name)
{
    strbuf_addf(b, "%d/" STR_FMT "/" STR_FMT, k->id, STR_ARG(ns), STR_ARG(name));
    return strbuf_str(b);
}

void feed_want_object(struct feed *f, const struct kind *k, struct str ns, struct str name)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT), selector = STRBUF(STRBUF_TEXT);
    struct str key = name_key(&text, k, ns, name);
    struct feed_source *s = map_get(&f->by_name, key);
    if (!s) {
        (void)own_set(f, k);
        strbuf_addf(&selector, "metadata.name=" STR_FMT, STR_ARG(name));
        s = source_begin(f, k, ns, strbuf_str(&selector));
        s->key = str_dupz(key);
        (void)map_put(&f->by_name, key, s); /* none was there */
    }
    s->wanted++;
}

void feed_drop_object(struct feed *f, const struct kind *k, struct str ns, struct str name)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    struct feed_source *s = map_get(&f->by_name, name_key(&text, k, ns, name));
    if (!s || --s->wanted)
        return;
    (void)map_del(&f->by_name, str_of(s->key));
    source_end(s);
}

/* --- kinds of definitions --- */

static void kinds_publish(struct feed *f)
{
    ARRAY(const struct kind *) all = {0};
    array_each (d, &f->definitions)
        for (size_t i = 0; i < (*d)->n; i++)
            array_push(&all, (*d)->all[i]);
    kind_set_unref(f->kinds);
    f->view.kinds = f->kinds = kind_set_new(all.p, all.n);
    array_fini(&all);
}

/* The version by which its objects are watched; NULL: it is not served. */
static const struct kind *definition_main(const struct feed_definition *d)
{
    for (size_t i = 0; i < d->n; i++)
        if (!d->all[i]->custom->hidden && str_eq(d->all[i]->version, d->all[i]->custom->main))
            return d->all[i];
    return NULL;
}

static void kind_forget(struct feed *f, const struct kind *k)
{
    if (f->whole[k->id])
        source_end(TAKE(f->whole[k->id]));
    if (f->own[k->id]) {
        objset_fini(f->own[k->id]);
        mem_free(TAKE(f->own[k->id]));
        f->sets[k->id] = NULL;
    }
}

static void definition_drop(struct feed_definition *d)
{
    const struct kind *k = definition_main(d);
    if (k)
        kind_forget(d->feed, k);
    while (d->n)
        kind_unref(d->all[--d->n]);
}

static void definitions_look(struct feed *f, const struct obj *definition, bool gone)
{
    struct feed_definition *d = NULL;
    struct err err = ERR;
    array_each (it, &f->definitions)
        if (str_eqz(definition->name, (*it)->name))
            d = *it;
    if (!d)
        return;
    const struct kind *made[CUSTOM_VERSIONS];
    size_t n = 0;
    if (!gone && !custom_kinds(definition, made, &n, &err))
        log_warn("edge.definition", "its objects are not seen definition=%s error=\"%s\"", d->name, err.text);
    definition_drop(d);
    memcpy(d->all, made, n * sizeof *made);
    d->n = n;
    const struct kind *k = definition_main(d);
    kinds_publish(f);
    if (k)
        feed_want(f, k);
}

void feed_want_defined(struct feed *f, const char *definition)
{
    array_each (it, &f->definitions)
        if (strcmp((*it)->name, definition) == 0)
            return;
    AUTO(strbuf_fini) struct strbuf selector = STRBUF(STRBUF_TEXT);
    struct feed_definition *d = NEW(struct feed_definition);
    *d = (struct feed_definition){.feed = f, .name = definition};
    array_push(&f->definitions, d);
    strbuf_addf(&selector, "metadata.name=%s", definition);
    d->source = source_begin(f, K(CustomResourceDefinition), S(""), strbuf_str(&selector));
}

/* --- as a whole --- */

struct feed *feed_new(struct transport *t, const struct feed_events *e, void *arg)
{
    struct feed *f = NEW(struct feed);
    f->transport = t;
    f->events = *e;
    f->arg = arg;
    f->view = (struct view){.sets = f->sets, .since = clock_real()};
    list_init(&f->sources);
    list_init(&f->ended);
    timer_init(&f->sweep, t->loop, ended_sweep);
    return f;
}

void feed_free(struct feed *f)
{
    if (!f)
        return;
    timer_stop(&f->sweep);
    list_each (s, &f->sources, struct feed_source, node)
        source_free(s);
    list_each (s, &f->ended, struct feed_source, node)
        source_free(s);
    for (size_t i = 0; i < KIND_IDS; i++)
        if (f->own[i]) {
            objset_fini(f->own[i]);
            mem_free(f->own[i]);
        }
    array_each (it, &f->definitions) {
        struct feed_definition *d = *it;
        while (d->n)
            kind_unref(d->all[--d->n]);
        mem_free(d);
    }
    array_fini(&f->definitions);
    map_fini(&f->by_name);
    kind_set_unref(f->kinds);
    mem_free(f);
}
