/* Whatever decodes can be defaulted, prepared, validated, written again, warned about and printed. The first byte
 * chooses the kind, the rest is JSON. */
#include "api/codec.h"
#include "api/columns.h"
#include "api/strategy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const subs[] = {"", "status", "ephemeralcontainers", "resize"};
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(decode_notes_fini) struct decode_notes notes = {.arena = &a};
    struct val v, cells;
    struct err err = ERR;
    if (size < 1 || size > 1 << 16)
        return 0;
    const struct kind *k = kinds[data[0] % nkinds];
    if (!type_decode_json(&a, k->type, (struct str){(const char *)data + 1, size - 1}, &v, &notes, &err))
        return 0;
    kind_default(&a, k, &v);
    kind_prepare_create(&a, k, &v, 0);
    AUTO(field_errors_fini) struct field_errors errors = {.arena = &a};
    kind_validate(k, S(""), &v, NULL, &errors);
    AUTO(strbuf_fini) struct strbuf text = STRBUF(1 << 20);
    field_errors_text(&errors, &text);
    for (size_t i = 0; i < countof(subs); i++) {
        struct val next = val_copy(&a, &v);
        kind_prepare_update(&a, k, str_of(subs[i]), &next, &v, 0);
        kind_validate(k, str_of(subs[i]), &next, &v, &errors);
    }
    struct warnings warnings = {.arena = &a};
    kind_warnings(k, &v, NULL, &warnings);
    array_fini(&warnings.texts);
    columns_row(&a, k, &v, 0, &cells);
    size_t n;
    columns_of(k, &n);
    ASSERT(cells.n >= n);
    return 0;
}
