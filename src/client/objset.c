#include "client/objset.h"
#include "base/array.h"

struct link { /* one object in one bucket */
    struct list node;
    struct objset_entry *entry;
    struct bucket *bucket;
};
struct bucket {
    struct list links;
    size_t n;
    size_t index;
    struct str key; /* the map's */
};
struct objset_entry {
    struct obj *obj;
    ARRAY(struct link *) links;
};

static void keys_namespace(const struct obj *o, void (*add)(void *arg, struct str key), void *arg)
{
    add(arg, o->ns);
}
static void keys_controller(const struct obj *o, void (*add)(void *arg, struct str key), void *arg)
{
    const struct val *owner = obj_controller(o);
    if (owner)
        add(arg, val_text_at(owner, N(uid)));
}
static void keys_owner(const struct obj *o, void (*add)(void *arg, struct str key), void *arg)
{
    val_each_item (owner, val_get(obj_meta(o), N(ownerReferences)))
        add(arg, val_text_at(owner, N(uid)));
}
static void keys_node(const struct obj *o, void (*add)(void *arg, struct str key), void *arg)
{
    struct str node = val_text_at(obj_spec(o), N(nodeName));
    if (node.n > 0)
        add(arg, node);
}
const struct objindex index_namespace = {"namespace", keys_namespace};
const struct objindex index_controller = {"controller", keys_controller};
const struct objindex index_owner = {"owner", keys_owner};
const struct objindex index_node = {"node", keys_node};

struct str objset_key(struct strbuf *b, struct str ns, struct str name)
{
    strbuf_reset(b);
    strbuf_add(b, ns);
    strbuf_addc(b, '/');
    strbuf_add(b, name);
    return strbuf_str(b);
}

struct str objset_key_of(struct strbuf *b, const struct obj *o)
{
    return objset_key(b, o->ns, o->name);
}

void objset_init(struct objset *s, const struct kind *kind, const struct objindex *const *indexes)
{
    *s = (struct objset){.kind = kind, .indexes = indexes};
    while (indexes && indexes[s->nindexes])
        s->nindexes++;
    s->buckets = mem_alloc((s->nindexes + 1) * sizeof *s->buckets);
}

struct adding {
    struct objset *set;
    struct objset_entry *entry;
    size_t index;
};

static void link_add(void *arg, struct str key)
{
    struct adding *a = arg;
    struct bucket *b = map_get(&a->set->buckets[a->index], key);
    if (!b) {
        b = NEW(struct bucket);
        list_init(&b->links);
        b->index = a->index;
        map_put(&a->set->buckets[a->index], key, b);
        b->key = str_of(str_dupz(key));
    }
    array_each (have, &a->entry->links)
        if ((*have)->bucket == b)
            return; /* two owners with one uid */
    struct link *l = NEW(struct link);
    l->entry = a->entry;
    l->bucket = b;
    list_add_tail(&b->links, &l->node);
    b->n++;
    array_push(&a->entry->links, l);
}

static void links_drop(struct objset *s, struct objset_entry *e)
{
    array_each (it, &e->links) {
        struct bucket *b = (*it)->bucket;
        list_del(&(*it)->node);
        if (--b->n == 0) {
            map_del(&s->buckets[b->index], b->key);
            mem_free((char *)b->key.p);
            mem_free(b);
        }
        mem_free(*it);
    }
    array_clear(&e->links);
}

struct obj *objset_put(struct objset *s, struct obj *o)
{
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    struct objset_entry *e = map_get(&s->entries, objset_key_of(&key, o));
    struct obj *was = NULL;
    if (e) {
        was = e->obj;
        links_drop(s, e);
    } else {
        e = NEW(struct objset_entry);
        map_put(&s->entries, strbuf_str(&key), e);
    }
    e->obj = obj_ref(o);
    for (size_t i = 0; i < s->nindexes; i++)
        s->indexes[i]->keys(o, link_add, &(struct adding){s, e, i});
    return was;
}

static struct obj *entry_free(struct objset *s, struct objset_entry *e)
{
    struct obj *o = e->obj;
    links_drop(s, e);
    array_fini(&e->links);
    mem_free(e);
    return o;
}

struct obj *objset_del(struct objset *s, struct str ns, struct str name)
{
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    struct objset_entry *e = map_del(&s->entries, objset_key(&key, ns, name));
    return e ? entry_free(s, e) : NULL;
}

void objset_fini(struct objset *s)
{
    map_each (it, &s->entries)
        obj_unref(entry_free(s, it->value));
    map_fini(&s->entries);
    for (size_t i = 0; i < s->nindexes; i++)
        map_fini(&s->buckets[i]);
    mem_free(s->buckets);
    *s = (struct objset){0};
}

struct obj *objset_get(const struct objset *s, struct str ns, struct str name)
{
    AUTO(strbuf_fini) struct strbuf key = STRBUF(STRBUF_TEXT);
    struct objset_entry *e = map_get(&s->entries, objset_key(&key, ns, name));
    return e ? e->obj : NULL;
}

size_t objset_len(const struct objset *s)
{
    return map_len(&s->entries);
}

struct objset_iter objset_all(const struct objset *s)
{
    return (struct objset_iter){.entries = &s->entries};
}

static struct bucket *bucket_of(const struct objset *s, const struct objindex *index, struct str key)
{
    for (size_t i = 0; i < s->nindexes; i++)
        if (s->indexes[i] == index)
            return map_get(&s->buckets[i], key);
    ASSERT(!"the set has no such index");
    return NULL;
}

struct objset_iter objset_with(const struct objset *s, const struct objindex *index, struct str key)
{
    struct bucket *b = bucket_of(s, index, key);
    return b ? (struct objset_iter){.head = &b->links, .link = b->links.next} : (struct objset_iter){0};
}

size_t objset_count(const struct objset *s, const struct objindex *index, struct str key)
{
    struct bucket *b = bucket_of(s, index, key);
    return b ? b->n : 0;
}

struct obj *objset_next(struct objset_iter *it)
{
    if (it->entries) {
        it->at = map_next(it->entries, it->at);
        if (it->at)
            return ((struct objset_entry *)it->at->value)->obj;
        it->entries = NULL;
        return NULL;
    }
    if (!it->head || it->link == it->head)
        return NULL;
    struct link *l = container_of(it->link, struct link, node);
    it->link = it->link->next;
    return l->entry->obj;
}
