/* Documents of any objects that the API would take: what Ingresses among them want of the front door. */
#include "api/codec.h"
#include "api/rules.h"
#include "edge/ingress_route.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OBJECTS_MOST = 24 };
struct fuzzed {
    struct objset *sets[KIND_IDS];
    const struct objset *view_sets[KIND_IDS];
    size_t n;
    struct view view;
};

static void object_take(struct fuzzed *f, struct arena *a, const struct val *any)
{
    AUTO(field_errors_fini) struct field_errors e = {.arena = a};
    struct val v;
    struct err err = ERR;
    const struct kind *k = kind_of_api_version(val_text_at(any, N(apiVersion)), val_text_at(any, N(kind)));
    if (f->n++ >= OBJECTS_MOST || !k || !type_decode_val(a, k->type, any, &v, NULL, &err))
        return;
    kind_default(a, k, &v);
    struct val *meta = val_need_map(a, &v, N(metadata));
    if (k->namespaced && !val_get(meta, N(namespace)))
        val_set_text(a, meta, N(namespace), S("default"));
    kind_validate(k, S(""), &v, NULL, &e);
    if (e.list.n > 0)
        return;
    struct obj *o = obj_new(k, &v, (int64_t)f->n), *was = objset_put(f->sets[k->id], o);
    obj_unref(o);
    if (was)
        obj_unref(was);
}

static void wishes_make(struct fuzzed *f)
{
    struct obj *o;
    for (struct objset_iter it = view_all(&f->view, K(Ingress)); (o = objset_next(&it));) {
        AUTO(ingress_wish_fini) struct ingress_wish w = {0};
        ingress_wish_of(&f->view, o, &w);
        array_each (r, &w.part.routes)
            ASSERT(r->listener.n > 0 && r->owner.n > 0 && (r->action.end != DOOR_TO_POOL || r->action.pool.n > 0));
    }
    AUTO(ingress_wish_fini) struct ingress_wish all = {0};
    ingress_wish_shared(&f->view, NULL, &all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct fuzzed f = {0};
    struct val docs = val_list();
    struct err err = ERR;
    for (size_t i = 0; i < nkinds; i++) {
        f.sets[i] = NEW(struct objset);
        objset_init(f.sets[i], kinds[i], kind_indexes(kinds[i]));
        f.view_sets[i] = f.sets[i];
    }
    f.view = (struct view){.sets = f.view_sets, .now = 1767225600 * NS_PER_S};
    if (yaml_decode_all(&a, (struct str){(const char *)data, size}, &docs, &err))
        val_each_item (it, &docs)
            object_take(&f, &a, it);
    wishes_make(&f);
    for (size_t i = 0; i < nkinds; i++) {
        objset_fini(f.sets[i]);
        mem_free(f.sets[i]);
    }
    return 0;
}
