#include "wire/unicode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(strbuf_fini) struct strbuf once = STRBUF(1 << 22), twice = STRBUF(1 << 22);
    struct err err = ERR;
    if (!unicode_text((struct str){(const char *)data, size}, &once, &err))
        return 0;
    ASSERT(once.n <= 2 * size);
    if (!memchr(once.p ? once.p : "", 0, once.n)) { /* or it may look like the other */
        ASSERT(unicode_text(strbuf_str(&once), &twice, &err));
        ASSERT(str_eq(strbuf_str(&once), strbuf_str(&twice)));
    }
    return 0;
}
