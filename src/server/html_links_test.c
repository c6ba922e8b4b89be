#include "base/test.h"
#include "server/html_links.h"

static void link_upper(void *arg, struct str value, struct strbuf *out)
{
    *(size_t *)arg += 1;
    strbuf_addf(out, "[" STR_FMT "]", STR_ARG(value));
}

static struct str page_passed(struct str page, size_t cut, struct strbuf *out, size_t *found)
{
    struct html_links h;
    html_links_init(&h, link_upper, found);
    html_links_add(&h, str_sub(page, 0, cut), out);
    html_links_add(&h, str_sub(page, cut, page.n), out);
    html_links_end(&h, out);
    html_links_fini(&h);
    return strbuf_str(out);
}

static const char *const pages[][2] = {
    {"<a href=\"/rewriteme\">test</a>", "<a href=\"[/rewriteme]\">test</a>"},
    {"<A class=x HREF='/a' title=\"> href='/no'\">t</A>", "<A class=x HREF='[/a]' title=\"> href='/no'\">t</A>"},
    {"<a href=/bare>x<a href = /b title>y", "<a href=[/bare]>x<a href = [/b] title>y"},
    {"<img src=\"/i\"/><img/src=/j><link rel=x href=/c />",
     "<img src=\"[/i]\"/><img/src=[/j]><link rel=x href=[/c] />"},
    {"<a name=/x hrefs=/y data-href=/z>", "<a name=/x hrefs=/y data-href=/z>"},
    {"<p href=/a src=/b><abbr href=/c>", "<p href=/a src=/b><abbr href=/c>"},
    {"<!-- <a href=/a> --><a href=/b>", "<!-- <a href=/a> --><a href=[/b]>"},
    {"<!--><a href=/b>", "<!--><a href=[/b]>"},
    {"<!doctype html><html manifest=/m><?x <a href=/a>", "<!doctype html><html manifest=[/m]><?x <a href=/a>"},
    {"<script src=/s>x = '<a href=/a>'; </scripts></SCRIPT ><a href=/b>",
     "<script src=[/s]>x = '<a href=/a>'; </scripts></SCRIPT ><a href=[/b]>"},
    {"<title><a href=/a></title><a href=/b>", "<title><a href=/a></title><a href=[/b]>"},
    {"</a href=/a>1 < 2 <3 <<a href=/b>", "</a href=/a>1 < 2 <3 <<a href=[/b]>"},
    {"<a href><a href=><a href=\"\"><a =href=/x>", "<a href><a href=><a href=\"[]\"><a =href=/x>"},
    {"<a href=\"/unfinished", "<a href=\"/unfinished"},
    {"<form action='/f'><button formaction=/g><video poster=/p src=/v>",
     "<form action='[/f]'><button formaction=[/g]><video poster=[/p] src=[/v]>"},
};

TEST(links_are_exchanged_wherever_the_page_is_cut_and_nothing_else_is)
{
    for (size_t i = 0; i < countof(pages); i++)
        for (size_t cut = 0; cut <= strlen(pages[i][0]); cut++) {
            AUTO(strbuf_fini) struct strbuf out = STRBUF(STRBUF_TEXT);
            size_t found = 0;
            struct str got = page_passed(str_of(pages[i][0]), cut, &out, &found);
            if (!str_eqz(got, pages[i][1]))
                test_failed(__FILE__, __LINE__, "row %zu cut at %zu: " STR_FMT, i, cut, STR_ARG(got));
        }
}

TEST(a_link_that_is_too_long_stays)
{
    AUTO(strbuf_fini) struct strbuf page = STRBUF(1 << 20), out = STRBUF(1 << 20);
    size_t found = 0;
    strbuf_addz(&page, "<a href=\"/");
    for (size_t i = 0; i < 2 * HTML_LINK_MOST; i++)
        strbuf_addc(&page, 'x');
    strbuf_addz(&page, "\"><a href=/b>");
    struct str got = page_passed(strbuf_str(&page), 20000, &out, &found);
    CHECK_INT(found, 1);
    CHECK_INT(got.n, page.n + 2);
    CHECK(str_has(got, S("x\"><a href=[/b]>")));
}
