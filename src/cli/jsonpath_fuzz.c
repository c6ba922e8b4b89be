/* A template over a Pod: prints or says why not. */
#include "api/codec.h"
#include "cli/jsonpath.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf out = STRBUF(1 << 20);
    struct err err = ERR;
    struct val v;
    ASSERT(json_decode(&a,
                       S("{\"metadata\":{\"name\":\"p\",\"labels\":{\"a.b/c\":\"1\"}},\"items\":[{\"a\":[1,2,[3]]},"
                         "{\"a\":null},true,1.5,{\"a\":{\"x\":\"y\"}}]}"),
                       &v, &err));
    if (!jsonpath_print(&a, (struct str){(const char *)data, size}, &v, &out, &err))
        ASSERT(err.text[0]);
    return 0;
}
