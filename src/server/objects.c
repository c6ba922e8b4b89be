#include "api/codec.h"
#include "server/crds.h"

/* --- what is stored --- */

/* A value: format byte, length of the section for managedFields (32 bits, big endian), that section (their list as
 * JSON; nothing where there is none), where the format says so the parts that are packed (packed.c), then the object
 * as JSON without all that and without resourceVersion. */
enum { FORMAT_JSON = 1, FORMAT_PACKED = 2 };

static void object_ref(void *o)
{
    obj_ref(o);
}

static void object_unref(void *o)
{
    obj_unref(o);
}

static size_t object_size(const void *o)
{
    return ((const struct obj *)o)->bytes;
}

static void object_encode(const void *p, struct strbuf *out)
{
    const struct obj *o = p;
    AUTO(strbuf_fini) struct strbuf managed = STRBUF(UINT32_MAX / 2);
    if (o->managed)
        managed_json(&managed, o->managed);
    uint32_t n = (uint32_t)managed.n;
    char head[5] = {o->packed ? FORMAT_PACKED : FORMAT_JSON, (char)(n >> 24), (char)(n >> 16), (char)(n >> 8),
                    (char)n};
    strbuf_add(out, (struct str){head, sizeof head});
    strbuf_add(out, strbuf_str(&managed));
    if (o->packed)
        packed_store(out, o->packed);
    type_encode_json(out, kind_type(o->kind), &o->tree);
}

static void *object_load(void *arg, struct str key, struct str value, int64_t create_rev UNUSED, int64_t mod_rev,
                         struct err *err)
{
    const unsigned char *p = (const unsigned char *)value.p;
    if (value.n < 5 || (p[0] != FORMAT_JSON && p[0] != FORMAT_PACKED)) {
        err_set(err, E_UNAVAILABLE,
                "object " STR_FMT
                " has value format %d; this version reads formats up to %d: it was written by a newer one",
                STR_ARG(key), value.n ? p[0] : 0, FORMAT_PACKED);
        return NULL;
    }
    size_t managed = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
    if (managed > value.n - 5) {
        err_set(err, E_IO, "object " STR_FMT " is cut short", STR_ARG(key));
        return NULL;
    }
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(packed_unref) const struct packed *packed = NULL;
    struct val tree;
    struct str text = str_sub(value, 5 + managed, value.n);
    if (p[0] == FORMAT_PACKED && !packed_load(&text, &packed)) {
        err_set(err, E_IO, "object " STR_FMT " has packed parts that cannot be read", STR_ARG(key));
        return NULL;
    }
    if (!json_decode(&a, text, &tree, err)) {
        err_wrap(err, "object " STR_FMT, STR_ARG(key));
        return NULL;
    }
    AUTO(kind_set_unref) const struct kind_set *set = kind_publisher_take(arg);
    struct str resource, rest;
    (void)str_split(key, '/', &resource, &rest);
    const struct kind *k = kind_set_find_stored(set, val_text_at(&tree, N(apiVersion)), val_text_at(&tree, N(kind)),
                                                resource);
    if (!k && crds_undefined(arg, resource))
        k = &kind_undefined;
    if (!k) {
        err_set(err, E_NOT_FOUND,
                "object " STR_FMT " is of kind " STR_FMT " of " STR_FMT ", which this version does not have",
                STR_ARG(key), STR_ARG(val_text_at(&tree, N(kind))), STR_ARG(val_text_at(&tree, N(apiVersion))));
        return NULL;
    }
    struct val typed;
    if (!type_decode_val(&a, kind_type(k), &tree, &typed, NULL, err)) {
        err_wrap(err, "object " STR_FMT, STR_ARG(key));
        return NULL;
    }
    if (k->custom) /* a default may have come since it was written */
        kind_default(&a, k, &typed);
    AUTO(managed_unref) const struct managed *fields = NULL;
    if (managed && !managed_parse(str_sub(value, 5, 5 + managed), &fields, err)) {
        err_wrap(err, "object " STR_FMT ": managedFields", STR_ARG(key));
        return NULL;
    }
    struct obj *o = packed ? obj_of_packed(k, &typed, mod_rev, packed) : obj_new_packed(k, &typed, mod_rev, NULL);
    obj_set_managed(o, fields);
    return o;
}

/* arg: the publisher of kinds. */
const struct store_type object_store_type = {
    .ref = object_ref, .unref = object_unref, .encode = object_encode, .load = object_load, .size = object_size};

/* --- names --- */

struct str uid_new(struct arena *a)
{
    unsigned char b[16];
    random_bytes(b, sizeof b);
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    return arena_fmt(a, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2],
                     b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

/* --- keys --- */

struct str object_prefix(struct arena *a, const struct kind *k)
{
    if (k->storage)
        k = k->storage;
    return k->group.n ? STR_JOIN(a, k->plural, S("."), k->group, S("/")) : STR_JOIN(a, k->plural, S("/"));
}

struct str object_key(struct arena *a, const struct kind *k, struct str ns, struct str name)
{
    struct str prefix = object_prefix(a, k);
    return k->namespaced ? STR_JOIN(a, prefix, ns, S("/"), name) : STR_JOIN(a, prefix, name);
}

/* --- reading, in any thread --- */

struct store_snapshot objects_snapshot(struct server *s)
{
    pthread_mutex_lock(&s->published_lock);
    struct store_snapshot snap = {.map = pmap_snapshot(&s->published.objects.map), .rev = s->published.objects.rev};
    pthread_mutex_unlock(&s->published_lock);
    return snap;
}

struct obj *object_of(const struct store_entry *e)
{
    return e ? e->ref : NULL;
}

struct obj *object_get(struct server *s, const struct kind *k, struct str ns, struct str name)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(store_snapshot_fini) struct store_snapshot snap = objects_snapshot(s);
    struct obj *o = object_of(pmap_get(&snap.map, object_key(&a, k, ns, name)));
    return o ? obj_ref(o) : NULL;
}

void objects_each(struct server *s, const struct kind *k, struct str ns, bool (*fn)(struct obj *o, void *arg),
                  void *arg)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(store_snapshot_fini) struct store_snapshot snap = objects_snapshot(s);
    struct str prefix = object_prefix(&a, k);
    if (ns.p)
        prefix = arena_fmt(&a, STR_FMT STR_FMT "/", STR_ARG(prefix), STR_ARG(ns));
    struct store_iter it;
    for (struct store_entry *e = store_first(&it, &snap, prefix, STR_NONE); e; e = store_next(&it))
        if (!fn(object_of(e), arg))
            return;
}

struct obj *object_at(struct obj *o, int64_t rev)
{
    return obj_again(o, rev);
}
