/* Both selector grammars; the canonical text parses again to itself. */
#include "api/selector.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str text = {(const char *)data, size};
    struct selector *s;
    struct field_term *terms;
    size_t n;
    struct err err = ERR;
    if (field_selector_parse(&a, text, &terms, &n, &err))
        for (size_t i = 0; i < n; i++)
            ASSERT(terms[i].path.n <= size && terms[i].value.n <= size);
    if (!selector_parse(&a, text, &s, &err))
        return 0;
    AUTO(strbuf_fini) struct strbuf once = STRBUF(1 << 20), twice = STRBUF(1 << 20);
    selector_text(s, &once);
    ASSERT(selector_parse(&a, strbuf_str(&once), &s, &err));
    selector_text(s, &twice);
    ASSERT(str_eq(strbuf_str(&once), strbuf_str(&twice)));
    selector_matches(s, NULL);
    return 0;
}
