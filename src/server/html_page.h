/* html_page.h - an HTML page on its way from a pod to the client: its links go through the proxy. Small (gzip) or
 * plain. Pure. */
#pragma once
#include "server/html_links.h"

#define PAGE_PIECE_MOST (8u << 20) /* bytes that one piece may become: what grows more is no page */

struct html_page;
/* link: as in html_links.h. */
struct html_page *html_page_new(bool small, void (*link)(void *arg, struct str value, struct strbuf *out), void *arg)
    __attribute__((returns_nonnull));
/* Adds what the client gets. False: it cannot be read; out holds nothing of use. */
MUST_USE bool html_page_piece(struct html_page *g, struct str bytes, bool last, struct strbuf *out);
void html_page_free(struct html_page *g); /* NULL is fine */
AUTO_POINTER(html_page_free, struct html_page);
