/* What another server says its OpenAPI document is, and what becomes of it in ours. */
#include "api/codec.h"
#include "api/openapi_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void members_check(const struct openapi_members *all, const char *map)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf json = STRBUF(1 << 22), pb = STRBUF(1 << 22);
    strbuf_addc(&json, '{');
    for (size_t i = 0; i < all->n; i++) {
        struct str rest = all->list[i].text, before, name;
        size_t n = 0;
        while (openapi_ref_next(&a, &rest, &before, &name))
            n += before.n;
        ASSERT(n + before.n <= all->list[i].text.n);
        strbuf_addz(&json, i ? "," : "");
        json_add_string(&json, all->list[i].name);
        strbuf_addc(&json, ':');
        strbuf_add(&json, all->list[i].text);
    }
    strbuf_addc(&json, '}');
    struct val v;
    struct err err = ERR;
    ASSERT(json_decode(&a, strbuf_str(&json), &v, &err));
    openapi_pb_members(&pb, strbuf_str(&json), map);
    ASSERT(!pb.over);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = ERR;
    AUTO(openapi_remote_unref)
    struct openapi_remote *r = openapi_remote_new((struct str){(const char *)data, size}, S("a.b"), S("v1"), &err);
    if (r) {
        AUTO(arena_fini) struct arena a = ARENA;
        AUTO(strbuf_fini) struct strbuf three = STRBUF(1 << 24);
        struct val v;
        openapi_remote_three(&three, r);
        ASSERT(three.over || json_decode(&a, strbuf_str(&three), &v, &err));
        members_check(&r->paths, "paths");
        members_check(&r->definitions, "definitions");
        members_check(&r->parameters, "parameters");
    } else {
        ASSERT(err.kind && err.text[0]);
    }
    return 0;
}
