/* Three JSON documents, a line each: a Service as it is, what is applied to it, and its managedFields. What is
 * applied twice changes nothing the second time. */
#include "api/codec.h"
#include "api/managed.h"
#include "wire/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool apply_once(struct arena *a, struct val *tree, const struct managed *have, const struct val *config,
                       const struct managed **own_out)
{
    struct managing g = {
        .a = a, .type = K(Service)->type, .api_version = S("v1"), .manager = S("m"), .was = tree, .now = 1};
    struct owners o;
    struct applying done;
    struct err err = ERR;
    struct val now;
    if (manage_apply(&g, have, config, true, &o, &done, &err) != APPLY_DONE ||
        !type_decode_val(a, g.type, &done.merged, &now, NULL, &err))
        return false;
    *tree = now;
    *own_out = owners_close(&o);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str first, second, third, text = {(const char *)data, size};
    struct val raw, tree, config, list;
    struct err err = ERR;
    if (size > 1 << 15 || !str_split(text, '\n', &first, &text) || !str_split(text, '\n', &second, &third) ||
        !json_decode(&a, first, &raw, &err) || !json_decode(&a, second, &config, &err) ||
        !json_decode(&a, third, &list, &err) || !val_is(&raw, VAL_MAP) ||
        !type_decode_val(&a, K(Service)->type, &raw, &tree, NULL, &err))
        return 0;
    AUTO(managed_unref) const struct managed *have = managed_of_val(&list), *once = NULL, *twice = NULL;
    if (!apply_once(&a, &tree, have, &config, &once))
        return 0;
    struct val before = tree;
    ASSERT(apply_once(&a, &tree, once, &config, &twice));
    ASSERT(managed_equal(once, twice, false));
    struct apply_changes c = apply_compare(&a, K(Service)->type, &before, &tree, false);
    ASSERT(fieldset_empty(&c.changed) && fieldset_empty(&c.removed));
    return 0;
}
