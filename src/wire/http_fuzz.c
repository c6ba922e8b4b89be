/* Targets, queries and fields: what is escaped reads back. */
#include "wire/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 22);
    struct str text = {(const char *)data, size}, plain, again, name, value;
    struct err err = ERR;
    if (size > 1 << 18)
        return 0;
    if (http_unescape(&a, text, &plain)) {
        ASSERT(plain.n <= size && (plain.n == 0 || !memchr(plain.p, 0, plain.n)));
        http_escape(&b, plain);
        ASSERT(http_unescape(&a, strbuf_str(&b), &again) && str_eq(plain, again));
    }
    size_t sum = 0;
    for (struct str rest = text; http_query_next(&a, &rest, &name, &value, &err);)
        sum += name.n + value.n;
    ASSERT(sum <= size);
    struct http_headers h = {0};
    if (str_split(text, '\n', &name, &value)) {
        http_header_add(&a, &h, name, value);
        (void)http_header_token(&h, name, S("upgrade"));
        ASSERT(http_header_has(&h, name));
    }
    return 0;
}
