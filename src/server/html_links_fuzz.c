#include "server/html_links.h"

static void link_same(void *arg, struct str value, struct strbuf *out)
{
    (void)arg;
    strbuf_add(out, value);
}

/* With links that become what they were, a page becomes what it was, however it is cut. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str page = {(const char *)data, size};
    size_t cut = size ? data[0] % size : 0;
    struct html_links h;
    AUTO(strbuf_fini) struct strbuf out = STRBUF(1 << 30);
    html_links_init(&h, link_same, NULL);
    html_links_add(&h, str_sub(page, 0, cut), &out);
    html_links_add(&h, str_sub(page, cut, size), &out);
    html_links_end(&h, &out);
    html_links_fini(&h);
    ASSERT(str_eq(strbuf_str(&out), page));
    return 0;
}
