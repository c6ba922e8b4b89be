/* Documents of any objects that the API would take: every controller plans every key, the scheduler places every pod.
 */
#include "api/codec.h"
#include "api/rules.h"
#include "control/manager.h"
#include "control/pods.h"
#include "control/sched.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OBJECTS_MOST = 24 };
struct fuzzed {
    struct objset *sets[256];
    const struct objset *view_sets[256];
    struct obj *objs[OBJECTS_MOST];
    size_t n;
    struct view view;
};

static bool is_valid(struct arena *a, const struct kind *k, const struct val *v)
{
    AUTO(field_errors_fini) struct field_errors e = {.arena = a};
    kind_validate(k, S(""), v, NULL, &e);
    if (!e.list.n && val_get(v, N(status)))
        kind_validate(k, S("status"), v, v, &e);
    return e.list.n == 0;
}

static void object_take(struct fuzzed *f, struct arena *a, const struct val *any)
{
    struct val v;
    struct err err = ERR;
    const struct kind *k = kind_of_api_version(val_text_at(any, N(apiVersion)), val_text_at(any, N(kind)));
    if (f->n == OBJECTS_MOST || !k || !type_decode_val(a, k->type, any, &v, NULL, &err))
        return;
    kind_default(a, k, &v);
    struct val *meta = val_need_map(a, &v, N(metadata));
    if (k->namespaced && !val_get(meta, N(namespace)))
        val_set_text(a, meta, N(namespace), S("default"));
    if (!is_valid(a, k, &v))
        return;
    if (!val_get(meta, N(uid)))
        val_set(a, meta, N(uid),
                val_str(a, arena_fmt(a, "uid-" STR_FMT "-" STR_FMT, STR_ARG(k->kind),
                                     STR_ARG(val_text(val_get(meta, N(name)))))));
    if (!val_get(meta, N(creationTimestamp)))
        val_set_text(a, meta, N(creationTimestamp), S("2026-01-01T00:00:00Z"));
    struct obj *o = obj_new(k, &v, (int64_t)f->n + 1), *was;
    f->objs[f->n++] = o;
    if ((was = objset_put(f->sets[k->id], o)))
        obj_unref(was);
}

static void plan_all(struct fuzzed *f)
{
    for (size_t i = 0; controllers[i]; i++) {
        for (size_t k = 0; k < f->n; k++) {
            AUTO(plan_fini) struct plan p = {0};
            AUTO(strbuf_fini) struct strbuf text = STRBUF(1 << 20);
            controllers[i]->plan(&f->view, (struct key){f->objs[k]->ns, f->objs[k]->name}, &p);
            plan_text(&p, &text);
        }
    }
}

static void schedule_all(struct fuzzed *f)
{
    struct sched s;
    struct obj *o;
    sched_init(&s);
    for (struct objset_iter it = view_all(&f->view, K(Node)); (o = objset_next(&it));)
        sched_node_set(&s, o);
    for (struct objset_iter it = view_all(&f->view, K(Pod)); (o = objset_next(&it));)
        sched_pod_set(&s, o->ns, o->name, o, pod_node(o));
    for (struct objset_iter it = view_all(&f->view, K(Pod)); (o = objset_next(&it));) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct decision d;
        sched_place(&s, &f->view, o, &a, &d);
        ASSERT(d.node || d.message.n);
    }
    sched_fini(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val docs = val_list();
    struct err err = ERR;
    struct fuzzed f = {.n = 0};
    if (size > 1 << 16 || !yaml_decode_all(&a, (struct str){(const char *)data, size}, &docs, &err))
        return 0;
    f.view = (struct view){.sets = f.view_sets};
    ASSERT(time_parse(S("2026-01-01T00:05:00Z"), &f.view.now));
    for (size_t i = 0; i < nkinds; i++) {
        f.sets[i] = NEW(struct objset);
        objset_init(f.sets[i], kinds[i], kind_indexes(kinds[i]));
        f.view_sets[i] = f.sets[i];
    }
    val_each_item (it, &docs)
        object_take(&f, &a, it);
    plan_all(&f);
    schedule_all(&f);
    for (size_t i = 0; i < nkinds; i++) {
        objset_fini(f.sets[i]);
        mem_free(f.sets[i]);
    }
    for (size_t i = 0; i < f.n; i++)
        obj_unref(f.objs[i]);
    return 0;
}
