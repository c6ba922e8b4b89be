/* Documents of any claims, classes and volumes that the API would take: what the built-in provisioner makes of each
 * two is a volume, and a status, that the API takes; a refusal is a sentence. */
#include "api/codec.h"
#include "api/rules.h"
#include "base/clock.h"
#include "node/provision_plan.h"
#include "wire/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OBJECTS_MOST = 12 };
struct fuzzed {
    struct obj *objs[OBJECTS_MOST];
    size_t n;
    struct arena *a;
};

static bool is_valid(struct arena *a, const struct kind *k, const char *sub, const struct val *now,
                     const struct val *was)
{
    AUTO(field_errors_fini) struct field_errors e = {.arena = a};
    kind_validate(k, str_of(sub), now, was, &e);
    return !e.list.n;
}

static void object_take(struct fuzzed *f, const struct val *any)
{
    struct arena *a = f->a;
    struct val v;
    struct err err = ERR;
    const struct kind *k = kind_of_api_version(val_text_at(any, N(apiVersion)), val_text_at(any, N(kind)));
    if (f->n == OBJECTS_MOST || (k != K(PersistentVolumeClaim) && k != K(PersistentVolume) && k != K(StorageClass)) ||
        !type_decode_val(a, k->type, any, &v, NULL, &err))
        return;
    kind_default(a, k, &v);
    struct val *meta = val_need_map(a, &v, N(metadata));
    if (k->namespaced)
        val_set_text(a, meta, N(namespace), S("default"));
    val_set_text(a, meta, N(uid), S("11111111-2222-3333-4444-555555555555"));
    if (!is_valid(a, k, "", &v, NULL) || (k != K(StorageClass) && !is_valid(a, k, "status", &v, &v)))
        return;
    f->objs[f->n] = obj_new(k, &v, (int64_t)f->n + 1);
    f->n++;
}

static void claim_provide(struct fuzzed *f, const struct obj *claim, const struct obj *class)
{
    struct arena *a = f->a;
    struct err err = ERR;
    struct store_wish wish;
    (void)claim_wants_volume(claim);
    if (!provision_wish(a, claim, class, S("/volumes"), 90, &wish, &err)) {
        ASSERT(err.text[0]);
        return;
    }
    ASSERT(wish.size > 0 && wish.name.n && str_starts(wish.dir, S("/")) && wish.dir.n > 1);
    struct val made = provision_volume(a, claim, class, S("node"), S("/volumes/v"), wish.size), v;
    bool decoded = type_decode_val(a, K(PersistentVolume)->type, &made, &v, NULL, &err);
    ASSERT(decoded);
    kind_default(a, K(PersistentVolume), &v);
    ASSERT(is_valid(a, K(PersistentVolume), "", &v, NULL));
}

static void claim_grow(struct fuzzed *f, const struct obj *claim, const struct obj *volume)
{
    int64_t now = 1767225600 * NS_PER_S;
    if (!claim_wants_growth(claim, volume))
        return;
    const struct val status[] = {growth_begun(f->a, claim, now), growth_pending(f->a, claim, now),
                                 growth_over(f->a, claim, volume)};
    for (size_t i = 0; i < countof(status); i++)
        ASSERT(val_is(&status[i], VAL_MAP));
    (void)growth_is_pending(claim);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val docs = val_list();
    struct err err = ERR;
    struct fuzzed f = {.a = &a};
    if (size > 1 << 16 || !yaml_decode_all(&a, (struct str){(const char *)data, size}, &docs, &err))
        return 0;
    val_each_item (it, &docs)
        object_take(&f, it);
    for (size_t i = 0; i < f.n; i++)
        for (size_t k = 0; k < f.n; k++) {
            if (f.objs[i]->kind == K(PersistentVolumeClaim) && f.objs[k]->kind == K(StorageClass))
                claim_provide(&f, f.objs[i], f.objs[k]);
            if (f.objs[i]->kind == K(PersistentVolumeClaim) && f.objs[k]->kind == K(PersistentVolume))
                claim_grow(&f, f.objs[i], f.objs[k]);
            if (f.objs[k]->kind == K(PersistentVolume)) {
                (void)volume_fate(f.objs[k]);
                (void)finalizers_without(&a, f.objs[k], S(PROVISIONER_FINALIZER));
            }
        }
    for (size_t i = 0; i < f.n; i++)
        obj_unref(f.objs[i]);
    return 0;
}
