/* What another server says that it serves. */
#include "api/codec.h"
#include "server/remotes_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void version_check(const struct val *v)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 26);
    type_encode_json(&b, T(apidiscovery_v2_APIVersionDiscovery), v);
    ASSERT(b.n && str_eqz(val_text_at(v, N(version)), "v1"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str text = {(const char *)data, size}, url;
    struct val v;
    struct err err = ERR, other = ERR, third = ERR;
    (void)remote_is_aggregated(text);
    if (remote_aggregated_read(&a, text, S("a.b"), S("v1"), &v, &err))
        version_check(&v);
    else
        ASSERT(err.kind && err.text[0]);
    if (remote_resources_read(&a, text, S("v1"), &v, &other))
        version_check(&v);
    else
        ASSERT(other.kind && other.text[0]);
    if (remote_index_read(&a, text, S("a.b"), S("v1"), &url, &third))
        ASSERT(!url.n || str_starts(url, S("/openapi/v3/apis/a.b/v1")));
    else
        ASSERT(third.kind && third.text[0]);
    return 0;
}
