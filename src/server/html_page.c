#include "server/html_page.h"
#include "wire/gzip.h"

struct html_page {
    struct html_links links;
    struct gunzip *from; /* NULL: it is plain */
    struct gzip *to;     /* NULL: nothing has come of a small one */
};

struct html_page *html_page_new(bool small, void (*link)(void *arg, struct str value, struct strbuf *out), void *arg)
{
    struct html_page *g = NEW(struct html_page);
    html_links_init(&g->links, link, arg);
    g->from = small ? gunzip_new() : NULL;
    return g;
}

void html_page_free(struct html_page *g)
{
    if (!g)
        return;
    html_links_fini(&g->links);
    gunzip_free(g->from);
    gzip_free(g->to);
    mem_free(g);
}

static void page_links(struct html_page *g, struct str bytes, bool last, struct strbuf *out)
{
    html_links_add(&g->links, bytes, out);
    if (last)
        html_links_end(&g->links, out);
}

bool html_page_piece(struct html_page *g, struct str bytes, bool last, struct strbuf *out)
{
    if (!g->from) {
        page_links(g, bytes, last, out);
        return !out->over;
    }
    AUTO(strbuf_fini) struct strbuf plain = STRBUF(PAGE_PIECE_MOST), linked = STRBUF(PAGE_PIECE_MOST);
    if (!bytes.n && !g->to) /* a page without a body has none now either */
        return true;
    if (!gunzip_piece(g->from, &plain, bytes))
        return false;
    page_links(g, strbuf_str(&plain), last, &linked);
    if (!g->to)
        g->to = gzip_new();
    gzip_piece(g->to, out, strbuf_str(&linked), last);
    return !linked.over && !out->over;
}
