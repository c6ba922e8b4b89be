/* The first line is a pattern, the rest the text. Both ways to match agree; what is found lies where it says. */
#include "base/regex_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str pattern, text;
    struct err err = ERR;
    if (size > 4000)
        return 0;
    str_split((struct str){(const char *)data, size}, '\n', &pattern, &text);
    AUTO(regex_free) struct regex *re = regex_new(pattern, &err);
    if (!re || (size_t)re->n * (text.n + 1) > 2000000)
        return 0;
    struct regex_span spans[8], span;
    size_t n = MIN(regex_groups(re) + 1, countof(spans));
    bool matches = regex_match(re, text);
    ASSERT(regex_find(re, text, 0, spans, n) == matches);
    for (size_t i = 0; i < n && matches; i++)
        ASSERT(spans[i].from == SIZE_MAX || (spans[i].from <= spans[i].to && spans[i].to <= text.n));
    struct regex_walk w = {0};
    for (size_t last = 0; regex_next(re, text, &w, &span); last = span.to)
        ASSERT(span.from >= last && span.to <= text.n);
    struct regex_table *table = re->table;
    re->table = NULL;
    ASSERT(regex_match(re, text) == matches);
    re->table = table;
    return 0;
}
