#include "node/relay_proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct relay_message m;
    if (!relay_parse((struct str){(const char *)data, size}, &m))
        return 0;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(RELAY_MESSAGE_MOST);
    for (size_t i = 0; i < m.n; i++)
        relay_add(&b, m.texts[i]);
    ASSERT(str_eq(strbuf_str(&b), (struct str){(const char *)data, size}));
    return 0;
}
