#include "cli/lastapplied.h"
#include "api/codec.h"
#include "api/patch.h"

static struct val val_sorted(struct arena *a, const struct val *v)
{
    if (val_is(v, VAL_LIST)) {
        struct val list = val_list();
        val_each_item (it, v)
            val_add(a, &list, val_sorted(a, it));
        return list;
    }
    if (!val_is(v, VAL_MAP))
        return *v;
    struct val map = val_map();
    uint32_t *order = sorted_members(v);
    for (size_t i = 0; i < v->n; i++) {
        const struct member *m = &v->map[order ? order[i] : i];
        val_append(a, &map, m->name, val_sorted(a, &m->v));
    }
    mem_free(order);
    return map;
}

struct val last_applied_put(struct arena *a, const struct val *object)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(64u << 20);
    struct val v = val_copy(a, object);
    struct val *annotations = val_need_map(a, &v, N(metadata), N(annotations));
    val_del_str(annotations, LAST_APPLIED);
    struct val plain = val_sorted(a, &v);
    json_encode(&text, &plain);
    strbuf_addc(&text, '\n');
    annotations = val_need_map(a, &v, N(metadata), N(annotations));
    val_set_str(a, annotations, LAST_APPLIED, val_str(a, strbuf_str(&text)));
    return v;
}

bool last_applied_get(struct arena *a, const struct val *live, struct val *out, struct err *err)
{
    const struct val *text = val_get_str(val_at(live, N(metadata), N(annotations)), LAST_APPLIED);
    *out = VAL_NONE;
    return !text || json_decode(a, val_text(text), out, err) ||
           err_wrap(err, "metadata.annotations[" STR_FMT "]: is no JSON; remove the annotation and apply again",
                    STR_ARG(LAST_APPLIED));
}

static struct val val_merge3(struct arena *a, const struct val *last, const struct val *wanted,
                             const struct val *live)
{
    struct val patch = val_map();
    val_each_member (m, wanted) {
        const struct val *now = val_get_str(live, m->name->s);
        if (m->v.type == VAL_NULL)
            continue;
        if (val_is(&m->v, VAL_MAP) && val_is(now, VAL_MAP)) {
            struct val below = val_merge3(a, val_get_str(last, m->name->s), &m->v, now);
            if (below.n)
                val_set(a, &patch, m->name, below);
        } else if (!now || !val_equal(&m->v, now)) {
            val_set(a, &patch, m->name, m->v);
        }
    }
    val_each_member (m, last)
        if (!val_get_str(wanted, m->name->s) && val_get_str(live, m->name->s))
            val_set(a, &patch, m->name, VAL_NONE);
    return patch;
}

bool apply_patch(struct arena *a, const struct type *t, const struct val *last, const struct val *wanted,
                 const struct val *live, struct val *patch, bool *strategic, struct err *err)
{
    *strategic = t != NULL;
    if (t)
        return diff_strategic3(a, t, val_is(last, VAL_MAP) ? last : NULL, wanted, live, patch, err);
    *patch = val_merge3(a, last, wanted, live);
    return true;
}
