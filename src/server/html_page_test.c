#include "base/test.h"
#include "server/html_page.h"
#include "wire/gzip.h"

static void link_below(void *arg, struct str value, struct strbuf *out)
{
    strbuf_addf(out, "%s" STR_FMT, (const char *)arg, STR_ARG(value));
}

static char below[] = "/p", none[] = "";
static const char plain[] = "<a href=\"/x\">y</a>", linked[] = "<a href=\"/p/x\">y</a>";

TEST(a_small_page_stays_small_and_has_its_links_exchanged)
{
    AUTO(strbuf_fini)
    struct strbuf small = STRBUF(STRBUF_TEXT), back = STRBUF(STRBUF_TEXT), out = STRBUF(STRBUF_TEXT);
    gzip_add(&small, str_of(plain));
    gzip_add(&small, str_of(plain)); /* a second member */
    AUTO(html_page_free) struct html_page *g = html_page_new(true, link_below, below);
    for (size_t i = 0; i < small.n; i++)
        CHECK(html_page_piece(g, str_sub(strbuf_str(&small), i, i + 1), false, &out));
    CHECK(html_page_piece(g, S(""), true, &out));
    struct gunzip *z = gunzip_new();
    CHECK(gunzip_piece(z, &back, strbuf_str(&out)));
    gunzip_free(z);
    strbuf_reset(&small);
    strbuf_addf(&small, "%s%s", linked, linked);
    CHECK_STR(strbuf_str(&back), strbuf_str(&small));
}

TEST(a_page_that_is_none_or_grows_without_end_is_refused)
{
    AUTO(strbuf_fini)
    struct strbuf zeros = STRBUF(2 * PAGE_PIECE_MOST), small = STRBUF(1 << 20), out = STRBUF(1 << 20);
    AUTO(html_page_free) struct html_page *g = html_page_new(true, link_below, none);
    CHECK(!html_page_piece(g, S("<a href=/plain>"), false, &out));
    CHECK(strbuf_room(&zeros, PAGE_PIECE_MOST + 1));
    memset(zeros.p, 0, PAGE_PIECE_MOST + 1);
    gzip_add(&small, (struct str){zeros.p, PAGE_PIECE_MOST + 1});
    AUTO(html_page_free) struct html_page *bomb = html_page_new(true, link_below, none);
    CHECK(!html_page_piece(bomb, strbuf_str(&small), false, &out));
}

TEST(a_page_without_a_body_has_none)
{
    AUTO(strbuf_fini) struct strbuf out = STRBUF(STRBUF_TEXT);
    for (int small = 0; small < 2; small++) {
        AUTO(html_page_free) struct html_page *g = html_page_new(small, link_below, none);
        CHECK(html_page_piece(g, S(""), true, &out) && !out.n);
    }
}
