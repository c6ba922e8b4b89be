#include "wire/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 24);
    struct err err = ERR;
    if (!json_check(text, &err))
        return 0;
    struct json j = json_of(text);
    ASSERT(json_check(json_skip(&j), &err)); /* what is passed over is a value */
    j = json_of(text);
    if (json_type(&j) == JSON_STRING) {
        struct str s = json_string(&j, &a);
        json_add_string(&b, s);
        ASSERT(json_check(strbuf_str(&b), &err));
        j = json_of(strbuf_str(&b)); /* what is written reads back */
        ASSERT(str_eq(json_string(&j, &a), s));
    }
    return 0;
}
