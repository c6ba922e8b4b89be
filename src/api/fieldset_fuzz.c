/* FieldsV1: what is read is written and read again as the same set, and reckoning with it holds. */
#include "api/fieldset.h"
#include "wire/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 24);
    struct str text = {(const char *)data, size};
    struct fieldset s, again;
    struct err err = ERR;
    if (size > 1 << 16 || !json_check(text, &err) || !fieldset_read(&a, text, &s, &err))
        return 0;
    fieldset_write(&b, &s);
    ASSERT(json_check(strbuf_str(&b), &err) && fieldset_read(&a, strbuf_str(&b), &again, &err));
    ASSERT(fieldset_equal(&s, &again));
    struct fieldset leaves = fieldset_leaves(&a, &s), rest = fieldset_without(&a, &s, &leaves);
    struct fieldset both = fieldset_common(&a, &rest, &leaves), all = fieldset_union(&a, &rest, &leaves);
    ASSERT(fieldset_empty(&both) && fieldset_equal(&all, &s));
    ASSERT(fieldset_size(&leaves) + fieldset_size(&rest) == fieldset_size(&s));
    return 0;
}
