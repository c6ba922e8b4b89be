/* Two JSON documents, a line each: an object (a Pod) and a patch of any of the three sorts. A patch made from two
 * documents leads from one to the other. */
#include "api/codec.h"
#include "api/patch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool holds_null(const struct val *v)
{
    if (val_is(v, VAL_NULL))
        return true;
    val_each_member (m, v)
        if (holds_null(&m->v))
            return true;
    val_each_item (it, v)
        if (holds_null(it))
            return true;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str first, second, text = {(const char *)data, size};
    struct val doc, patch, out, again;
    struct err err = ERR;
    if (size > 1 << 16 || !str_split(text, '\n', &first, &second) || !json_decode(&a, first, &doc, &err) ||
        !json_decode(&a, second, &patch, &err))
        return 0;
    bool ok = patch_json(&a, &doc, &patch, &out, &err);
    ok |= patch_merge(&a, &doc, &patch, &out, &err);
    ok |= patch_strategic(&a, T(core_v1_Pod), &doc, &patch, &out, &err);
    if (diff_strategic3(&a, T(core_v1_Pod), &doc, &patch, &doc, &out, &err))
        ok |= patch_strategic(&a, T(core_v1_Pod), &doc, &out, &again, &err);
    struct val merge = diff_merge(&a, &doc, &patch);
    ok = patch_merge(&a, &doc, &merge, &out, &err);
    if (val_is(&doc, VAL_MAP) && val_is(&patch, VAL_MAP) && !holds_null(&patch)) /* RFC 7386 cannot say null */
        ASSERT(ok && val_equal(&out, &patch));
    return 0;
}
