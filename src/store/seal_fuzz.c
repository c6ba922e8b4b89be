/* The envelope reader over any bytes: nothing opens under a key that it was not sealed for. */
#include "store/seal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct store_seal_key key = {1, {42}};
    static const struct str prefix = S_INIT("s/");
    struct store_options o = {.seal_keys = &key, .nseal_keys = 1, .sealed = &prefix, .nsealed = 1};
    struct str in = {(const char *)data, size};
    struct err err = ERR;
    struct seal s;
    AUTO(strbuf_fini) struct strbuf plain = STRBUF(STORE_VALUE_MAX), box = STRBUF(STORE_VALUE_MAX + SEAL_OVERHEAD);
    AUTO(strbuf_fini) struct strbuf back = STRBUF(STORE_VALUE_MAX);
    ASSERT(seal_init(&s, &o, &err));
    bool ok = seal_open(&s, S("s/a"), in, &plain, &err);
    ASSERT(ok || err.text[0]);
    /* whatever it is, it can be sealed, opens again, and not under another name */
    if (size <= STORE_VALUE_MAX) {
        ASSERT(seal_close(&s, S("s/a"), in, &box, &err));
        ASSERT(seal_open(&s, S("s/a"), strbuf_str(&box), &back, &err) && str_eq(strbuf_str(&back), in));
        strbuf_reset(&back);
        ASSERT(!seal_open(&s, S("s/b"), strbuf_str(&box), &back, &err));
    }
    seal_fini(&s);
    return 0;
}
