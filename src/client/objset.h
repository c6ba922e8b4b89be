/* objset.h - the objects of one kind by namespace and name, with indexes. What a cache holds and what plans read.
 *
 * Holds a reference to each object. Not thread-safe: it belongs to the loop of its owner. Borrowed objects stay valid
 * until the set changes. */
#pragma once
#include "api/obj.h"
#include "base/list.h"
#include "base/map.h"

/* Gives the keys under which an object stands in an index: calls `add` for each. */
struct objindex {
    const char *name;
    void (*keys)(const struct obj *o, void (*add)(void *arg, struct str key), void *arg);
};
extern const struct objindex index_namespace;  /* metadata.namespace */
extern const struct objindex index_controller; /* uid of the owner with controller=true */
extern const struct objindex index_owner;      /* uid of every owner */
extern const struct objindex index_node;       /* spec.nodeName */

struct objset {
    const struct kind *kind;
    struct map entries; /* "ns/name" -> its own */
    const struct objindex *const *indexes;
    struct map *buckets; /* per index: key -> its own */
    size_t nindexes;
};
/* "NS/NAME", as keys of maps and queues are everywhere: what the buffer held is gone, what is answered lives in it.
 */
struct str objset_key(struct strbuf *b, struct str ns, struct str name);
struct str objset_key_of(struct strbuf *b, const struct obj *o);
/* indexes: NULL-terminated and static, or NULL */
void objset_init(struct objset *s, const struct kind *kind, const struct objindex *const *indexes);
void objset_fini(struct objset *s);
AUTO_VALUE(objset_fini, struct objset);
/* Puts o (takes a reference) in the place of its namesake; the answer is the one that stood there, the caller's to
 * unref, or NULL. */
struct obj *objset_put(struct objset *s, struct obj *o) MUST_USE;
struct obj *objset_del(struct objset *s, struct str ns, struct str name) MUST_USE;
struct obj *objset_get(const struct objset *s, struct str ns, struct str name); /* borrowed; NULL: not there */
size_t objset_len(const struct objset *s);

/* for (struct objset_iter it = objset_all(s); (o = objset_next(&it));) The set must not change meanwhile.
 * Order: as they came. */
struct objset_iter {
    const struct map *entries;
    const struct map_entry *at;
    const struct list *head, *link;
};
struct objset_iter objset_all(const struct objset *s);
/* Those with the key in the index, which must be one of the set's. */
struct objset_iter objset_with(const struct objset *s, const struct objindex *index, struct str key);
struct obj *objset_next(struct objset_iter *it);
size_t objset_count(const struct objset *s, const struct objindex *index, struct str key); /* for tests of indexes */
