#include "api/obj.h"
#include "api/codec.h"
#include "api/encode_int.h"
#include <stdatomic.h>

/* An object is one allocation: this, then the values, then names that are not static, then texts. */
struct obj_room {
    struct obj o;
    _Atomic(struct strbuf *) encoded[ENC_MAX];
};

static atomic_size_t all_encoded;

struct copier {
    char *nodes, *texts;
};

static bool is_static(const struct name *name)
{
    return name >= names && name < names + NAMES_COUNT;
}

static bool left_out(const struct val *parent, const struct val *meta, const struct member *m)
{
    return parent == meta && (m->name == N(resourceVersion) || m->name == N(managedFields));
}

static void measure(const struct val *v, const struct val *meta, size_t *nodes, size_t *texts)
{
    switch ((enum val_type)v->type) {
    case VAL_STRING:
    case VAL_BYTES: *texts += (size_t)v->n + 1; break;
    case VAL_LIST:
        *nodes += v->n * sizeof *v->list;
        for (uint32_t i = 0; i < v->n; i++)
            measure(&v->list[i], meta, nodes, texts);
        break;
    case VAL_MAP:
        for (uint32_t i = 0; i < v->n; i++) {
            const struct member *m = &v->map[i];
            if (left_out(v, meta, m))
                continue;
            *nodes += sizeof *m;
            if (!is_static(m->name)) {
                *nodes += sizeof *m->name;
                *texts += m->name->s.n + 1;
            }
            measure(&m->v, meta, nodes, texts);
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

static void *take(struct copier *c, size_t n)
{
    void *p = c->nodes;
    c->nodes += n;
    return p;
}

static struct val copy(struct copier *c, const struct val *v, const struct val *meta)
{
    struct val out = *v;
    out.spare = 0;
    switch ((enum val_type)v->type) {
    case VAL_STRING:
    case VAL_BYTES: out.s = copy_text(c, v->s, v->n); break;
    case VAL_LIST:
        out.list = take(c, v->n * sizeof *v->list);
        for (uint32_t i = 0; i < v->n; i++)
            out.list[i] = copy(c, &v->list[i], meta);
        break;
    case VAL_MAP: {
        uint32_t n = 0;
        for (uint32_t i = 0; i < v->n; i++)
            n += !left_out(v, meta, &v->map[i]);
        struct member *to = out.map = take(c, n * sizeof *to);
        out.n = n;
        for (uint32_t i = 0; i < v->n; i++) {
            const struct member *m = &v->map[i];
            if (left_out(v, meta, m))
                continue;
            to->name = m->name;
            if (!is_static(m->name)) {
                struct name *name = take(c, sizeof *name);
                name->s = (struct str){copy_text(c, m->name->s.p, m->name->s.n), m->name->s.n};
                to->name = name;
            }
            to++->v = copy(c, &m->v, meta);
        }
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
    measure(tree, meta, &nodes, &texts);
    size_t bytes = sizeof(struct obj_room) + nodes + texts;
    struct obj_room *room = mem_alloc(bytes);
    struct copier c = {(char *)(room + 1), (char *)(room + 1) + nodes};
    room->o = (struct obj){.refs = 1, .kind = kind, .rev = rev, .bytes = bytes};
    room->o.tree = copy(&c, tree, meta);
    meta = obj_meta(&room->o);
    room->o.ns = val_text(val_get(meta, N(namespace)));
    room->o.name = val_text(val_get(meta, N(name)));
    room->o.uid = val_text(val_get(meta, N(uid)));
    return &room->o;
}

struct obj *obj_ref(struct obj *o)
{
    (void)__atomic_add_fetch(&o->refs, 1, __ATOMIC_RELAXED);
    return o;
}

void obj_drop_encoded(struct obj *o)
{
    struct obj_room *room = container_of(o, struct obj_room, o);
    for (int i = 0; i < ENC_MAX; i++) {
        struct strbuf *b = atomic_exchange(&room->encoded[i], NULL);
        if (b) {
            atomic_fetch_sub(&all_encoded, b->cap);
            strbuf_fini(b);
            mem_free(b);
        }
    }
}

void obj_unref(struct obj *o)
{
    if (!o || __atomic_sub_fetch(&o->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    obj_drop_encoded(o);
    mem_free(container_of(o, struct obj_room, o));
}

void obj_set_rev(struct obj *o, int64_t rev)
{
    obj_drop_encoded(o);
    o->rev = rev;
}

const struct val *obj_meta(const struct obj *o)
{
    return val_get(&o->tree, N(metadata));
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
    struct encoder e = {.b = b, .rev = o->rev};
    if (enc == ENC_JSON)
        encode_value(&e, o->kind->type, &o->tree);
    else
        encode_message(&e, o->kind->type, &o->tree);
}

struct str obj_encoded(struct obj *o, enum encoding enc)
{
    struct obj_room *room = container_of(o, struct obj_room, o);
    struct strbuf *have = atomic_load(&room->encoded[enc]);
    if (have)
        return strbuf_str(have);
    AUTO(strbuf_fini) struct strbuf b = STRBUF(UINT32_MAX / 2);
    obj_encode(o, enc, &b);
    struct strbuf *fresh = NEW(struct strbuf);
    *fresh = (struct strbuf){.max = b.n};
    strbuf_add(fresh, strbuf_str(&b)); /* exactly as large as it must be */
    if (atomic_compare_exchange_strong(&room->encoded[enc], &have, fresh)) {
        atomic_fetch_add(&all_encoded, fresh->cap);
        return strbuf_str(fresh);
    }
    strbuf_fini(fresh); /* another thread was faster */
    mem_free(fresh);
    return strbuf_str(have);
}

size_t obj_encoded_bytes(void)
{
    return atomic_load(&all_encoded);
}
