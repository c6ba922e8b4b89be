/* obj.c - one object at one revision, and the encodings that its readers share.
 *
 * An object is one allocation: the struct, then all values and names, then all texts. obj_new measures the tree and
 * then copies it into the block; nothing in it is freed or moved by itself. Left out are metadata.resourceVersion,
 * which is the number `rev` and is written in by the encoder - so the store can number an object after it was made -
 * and managedFields.
 *
 * Encodings. Most objects are encoded once, when they are written, and sent to whoever watches; some are asked for
 * again and again by lists. So the first time an encoding is only made and handed out, and from the second time on
 * it is kept with the object (`asked`). All that is kept in the process shares one bound (obj_encoded_max). Over it,
 * the oldest goes unless it was used since it came to the front (second chance): an approximation of least recently
 * used that changes no list when something is read. A reader that goes over more than there is room for takes
 * obj_encoded_once, which keeps nothing.
 *
 * Definitions are large, and few read them whole: their schemas are packed (packed.c) and no encoding of them is
 * kept.
 *
 * Costs: 16 bytes for a value, 24 for a member, and the texts; encoding is linear. One lock guards what is kept; it
 * is held for a few pointers, never while something is encoded, so two threads may make the same encoding at once,
 * and the first is kept.
 */
#include "api/obj.h"
#include "api/codec.h"
#include "api/encode_int.h"
#include "api/kindset.h"
#include "api/tree_int.h"
#include "base/list.h"
#include <pthread.h>
#include <stdatomic.h>

/* An object is one allocation: this, then the values, then names that are not static, then texts. */
struct obj_room {
    struct obj o;
    _Atomic(uint8_t) asked;     /* bit enc: it was encoded once */
    struct kept *kept[ENC_MAX]; /* under kept_lock */
};

/* Encodings that are kept, by the second chance: the front goes, unless it was used since it came there. */
struct kept {
    struct list node;
    struct obj_room *room;
    enum encoding enc;
    bool used;
    struct buf *bytes;
};
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list all_kept = LIST_HEAD(all_kept);
static size_t kept_bytes, kept_max = 16 << 20;

struct copier {
    char *nodes, *texts;
};

static bool left_out(const struct val *parent, const struct val *meta, const struct member *m)
{
    return parent == meta && (m->name == N(resourceVersion) || m->name == N(managedFields));
}

static uint32_t kept_members(const struct val *v, const struct val *meta)
{
    uint32_t n = 0;
    if (v != meta)
        return v->n; /* nearly all */
    for (uint32_t i = 0; i < v->n; i++)
        n += !left_out(v, meta, &v->map[i]);
    return n;
}

static void val_measure(const struct val *v, const struct val *meta, size_t *nodes, size_t *texts)
{
    switch ((enum val_type)v->type) {
    case VAL_STRING:
    case VAL_BYTES: *texts += (size_t)v->n + 1; break;
    case VAL_LIST:
        *nodes += v->n * sizeof *v->list;
        for (uint32_t i = 0; i < v->n; i++)
            val_measure(&v->list[i], meta, nodes, texts);
        break;
    case VAL_MAP:
        *nodes += map_bytes(kept_members(v, meta));
        for (uint32_t i = 0; i < v->n; i++) {
            const struct member *m = &v->map[i];
            if (left_out(v, meta, m))
                continue;
            if (!name_is_static(m->name)) {
                *nodes += sizeof *m->name;
                *texts += m->name->s.n + 1;
            }
            val_measure(&m->v, meta, nodes, texts);
        }
        break;
    case VAL_NULL:
    case VAL_BOOL:
    case VAL_INT:
    case VAL_DOUBLE: break;
    }
}

static const char *copy_text(struct copier *c, const char *p, size_t n)
{
    char *to = c->texts;
    if (n)
        memcpy(to, p, n);
    to[n] = 0;
    c->texts += n + 1;
    return to;
}

static void *room_take(struct copier *c, size_t n)
{
    void *p = c->nodes;
    c->nodes += n;
    return p;
}

static struct val val_copy_into(struct copier *c, const struct val *v, const struct val *meta)
{
    struct val out = *v;
    out.spare = 0;
    switch ((enum val_type)v->type) {
    case VAL_STRING:
    case VAL_BYTES: out.s = copy_text(c, v->s, v->n); break;
    case VAL_LIST:
        out.list = room_take(c, v->n * sizeof *v->list);
        for (uint32_t i = 0; i < v->n; i++)
            out.list[i] = val_copy_into(c, &v->list[i], meta);
        break;
    case VAL_MAP: {
        out.n = kept_members(v, meta);
        out.flags &= (uint8_t)~VAL_F_HASHED;
        struct member *to = out.map = room_take(c, map_bytes(out.n));
        for (uint32_t i = 0; i < v->n; i++) {
            const struct member *m = &v->map[i];
            if (left_out(v, meta, m))
                continue;
            to->name = m->name;
            if (!name_is_static(m->name)) {
                struct name *name = room_take(c, sizeof *name);
                name->s = (struct str){copy_text(c, m->name->s.p, m->name->s.n), m->name->s.n};
                to->name = name;
            }
            to++->v = val_copy_into(c, &m->v, meta);
        }
        if (out.n > HASH_FROM)
            map_hash(&out);
        break;
    }
    case VAL_NULL:
    case VAL_BOOL:
    case VAL_INT:
    case VAL_DOUBLE: break;
    }
    return out;
}

struct obj *obj_new(const struct kind *kind, const struct val *tree, int64_t rev)
{
    const struct val *meta = val_get(tree, N(metadata));
    size_t nodes = 0, texts = 0;
    val_measure(tree, meta, &nodes, &texts);
    size_t bytes = sizeof(struct obj_room) + nodes + texts;
    struct obj_room *room = mem_alloc(bytes);
    struct copier c = {(char *)(room + 1), (char *)(room + 1) + nodes};
    room->o = (struct obj){.refs = 1, .kind = kind_ref(kind), .rev = rev, .bytes = bytes};
    room->o.tree = val_copy_into(&c, tree, meta);
    meta = obj_meta(&room->o);
    room->o.ns = val_text(val_get(meta, N(namespace)));
    room->o.name = val_text(val_get(meta, N(name)));
    room->o.uid = val_text(val_get(meta, N(uid)));
    return &room->o;
}

static void set_packed(struct obj *o, const struct packed *p)
{
    o->packed = packed_ref(p);
    o->bytes += packed_bytes(p);
}

struct obj *obj_new_packed(const struct kind *kind, const struct val *tree, int64_t rev, const struct obj *was)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val rest;
    AUTO(packed_unref) const struct packed *p = packed_take(&a, kind, tree, was ? was->packed : NULL, &rest);
    struct obj *o = obj_new(kind, p ? &rest : tree, rev);
    set_packed(o, p);
    return o;
}

struct obj *obj_of_packed(const struct kind *kind, const struct val *rest, int64_t rev, const struct packed *p)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val marked = packed_mark(&a, rest, p);
    struct obj *o = obj_new(kind, &marked, rev);
    set_packed(o, p);
    return o;
}

struct obj *obj_again(const struct obj *o, int64_t rev)
{
    struct obj *again = obj_new(o->kind, &o->tree, rev);
    set_packed(again, o->packed);
    obj_set_managed(again, o->managed);
    return again;
}

struct val obj_tree(struct arena *a, const struct obj *o)
{
    return o->packed ? packed_put(a, &o->tree, o->packed, o->packed->n) : o->tree;
}

struct val obj_tree_of_meta(struct arena *a, const struct obj *o)
{
    return o->packed ? packed_put(a, &o->tree, o->packed, PACKED_VERSIONS) : o->tree;
}

struct obj *obj_whole(struct obj *o)
{
    if (!o->packed)
        return obj_ref(o);
    AUTO(arena_fini) struct arena a = ARENA;
    struct val tree = obj_tree(&a, o);
    struct obj *whole = obj_new(o->kind, &tree, o->rev);
    obj_set_managed(whole, o->managed);
    return whole;
}

struct obj *obj_ref(struct obj *o)
{
    (void)__atomic_add_fetch(&o->refs, 1, __ATOMIC_RELAXED);
    return o;
}

static void kept_drop(struct kept *k) /* locked */
{
    k->room->kept[k->enc] = NULL;
    kept_bytes -= k->bytes->n;
    list_del(&k->node);
    buf_unref(k->bytes);
    mem_free(k);
}

static void kept_shrink(void) /* locked */
{
    for (struct kept *k; kept_bytes > kept_max && (k = list_first(&all_kept, struct kept, node));) {
        if (!k->used) {
            kept_drop(k);
            continue;
        }
        k->used = false;
        list_del(&k->node);
        list_add_tail(&all_kept, &k->node);
    }
}

static void bytes_keep(struct obj_room *room, enum encoding enc, struct buf *bytes)
{
    pthread_mutex_lock(&kept_lock);
    if (!room->kept[enc]) { /* else another thread was faster */
        struct kept *k = room->kept[enc] = NEW(struct kept);
        *k = (struct kept){.room = room, .enc = enc, .bytes = buf_ref(bytes)};
        list_add_tail(&all_kept, &k->node);
        kept_bytes += bytes->n;
        kept_shrink();
    }
    pthread_mutex_unlock(&kept_lock);
}

static void bytes_forget(struct obj_room *room)
{
    if (!atomic_load(&room->asked))
        return;
    pthread_mutex_lock(&kept_lock);
    for (int i = 0; i < ENC_MAX; i++)
        if (room->kept[i])
            kept_drop(room->kept[i]);
    pthread_mutex_unlock(&kept_lock);
}

static struct buf *kept_of(struct obj_room *room, enum encoding enc)
{
    pthread_mutex_lock(&kept_lock);
    struct kept *k = room->kept[enc];
    struct buf *have = k ? buf_ref(k->bytes) : NULL;
    if (k)
        k->used = true;
    pthread_mutex_unlock(&kept_lock);
    return have;
}

struct buf *obj_encoded_once(struct obj *o, enum encoding enc)
{
    struct buf *have = kept_of(container_of(o, struct obj_room, o), enc);
    if (have)
        return have;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(UINT32_MAX / 2);
    obj_encode(o, enc, &b);
    return buf_take(&b);
}

struct buf *obj_encoded(struct obj *o, enum encoding enc)
{
    struct obj_room *room = container_of(o, struct obj_room, o);
    struct buf *made = obj_encoded_once(o, enc);
    uint8_t bit = (uint8_t)(1 << enc);
    if (o->packed) /* what is seldom read should cost little */
        return made;
    if (atomic_fetch_or(&room->asked, bit) & bit) /* most are asked for once: when they are written */
        bytes_keep(room, enc, made);
    return made;
}

size_t obj_encoded_bytes(void)
{
    pthread_mutex_lock(&kept_lock);
    size_t n = kept_bytes;
    pthread_mutex_unlock(&kept_lock);
    return n;
}

size_t obj_encoded_room(void)
{
    pthread_mutex_lock(&kept_lock);
    size_t n = kept_max;
    pthread_mutex_unlock(&kept_lock);
    return n;
}

void obj_encoded_max(size_t new_bytes)
{
    pthread_mutex_lock(&kept_lock);
    kept_max = new_bytes;
    kept_shrink();
    pthread_mutex_unlock(&kept_lock);
}

void obj_unref(struct obj *o)
{
    if (!o || __atomic_sub_fetch(&o->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    bytes_forget(container_of(o, struct obj_room, o));
    managed_unref(o->managed);
    packed_unref(o->packed);
    kind_unref(o->kind);
    mem_free(container_of(o, struct obj_room, o));
}

void obj_set_rev(struct obj *o, int64_t rev)
{
    bytes_forget(container_of(o, struct obj_room, o));
    o->rev = rev;
}

void obj_set_managed(struct obj *o, const struct managed *m)
{
    const struct managed *was = o->managed;
    bytes_forget(container_of(o, struct obj_room, o));
    o->managed = managed_ref(m);
    o->bytes += managed_bytes(m);
    o->bytes -= managed_bytes(was);
    managed_unref(was);
}

const struct val *obj_meta(const struct obj *o)
{
    return val_get(&o->tree, N(metadata));
}

struct str obj_note(const struct obj *o, const char *key)
{
    return val_text(val_get_str(val_get(obj_meta(o), N(annotations)), str_of(key)));
}

bool obj_has_note(const struct obj *o, const char *key)
{
    return val_get_str(val_get(obj_meta(o), N(annotations)), str_of(key)) != NULL;
}

const struct val *obj_labels(const struct obj *o)
{
    return val_get(obj_meta(o), N(labels));
}

const struct val *obj_spec(const struct obj *o)
{
    return val_get(&o->tree, N(spec));
}

const struct val *obj_status(const struct obj *o)
{
    return val_get(&o->tree, N(status));
}

int64_t obj_generation(const struct obj *o)
{
    return val_num(val_get(obj_meta(o), N(generation)), 0);
}

bool obj_deleting(const struct obj *o)
{
    return val_get(obj_meta(o), N(deletionTimestamp)) != NULL;
}

const struct val *obj_controller(const struct obj *o)
{
    val_each_item (it, val_get(obj_meta(o), N(ownerReferences))) {
        if (val_true(val_get(it, N(controller))))
            return it;
    }
    return NULL;
}

void obj_encode(const struct obj *o, enum encoding enc, struct strbuf *b)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct encoder e = {.b = b, .rev = o->rev, .managed = o->managed, .packed = o->packed};
    if (enc == ENC_JSON) {
        encode_value(&e, kind_type(o->kind), &o->tree);
    } else {
        struct val whole = obj_tree(&a, o);
        encode_message(&e, kind_type(o->kind), &whole);
    }
}
