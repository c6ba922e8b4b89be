/* A URL's path in escapes is a fixed point. */
#include "api/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str s = {(const char *)data, size}, key, value;
    struct url u, again;
    struct err err = ERR;
    (void)!url_parse_request(&a, s, &again, &err);
    if (!url_parse(&a, s, &u, &err))
        return 0;
    struct str path = url_escaped_path(&a, &u);
    if (str_starts(path, S("/"))) {
        ASSERT(url_parse_request(&a, path, &again, &err));
        ASSERT(str_eq(again.path, u.path) && str_eq(url_escaped_path(&a, &again), path));
    }
    ASSERT(url_hostname(&u).n + url_port(&u).n <= u.host.n);
    for (struct str rest = u.query; url_next_parameter(&a, &rest, &key, &value);)
        ASSERT(key.n + value.n <= u.query.n);
    return 0;
}
