/* A path over an object: finds something or says why it is none. */
#include "api/codec.h"
#include "api/jsonpath.h"

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
    const struct jsonpath *p;
    const struct val *const *found;
    if (!jsonpath_compile(&a, (struct str){(const char *)data, size}, &p, &err)) {
        ASSERT(err.text[0]);
        return 0;
    }
    size_t n = jsonpath_find(&a, p, &v, &found);
    for (size_t i = 0; i < n; i++)
        jsonpath_text(&out, found[i]);
    return 0;
}
