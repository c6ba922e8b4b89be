/* html_links.h - the links of an HTML page, exchanged as it goes by: values of the attributes that hold one, all else
 * byte for byte. It reads tags, comments and the texts of scripts as browsers do, and holds nothing but one value.
 * Pure. */
#pragma once
#include "base/str.h"

#define HTML_LINK_MOST 16384 /* bytes; a longer one stays as it is */

enum html_state {
    HTML_TEXT,
    HTML_OPEN, /* after < */
    HTML_NAME,
    HTML_BEFORE_KEY,
    HTML_KEY,
    HTML_AFTER_KEY,
    HTML_BEFORE_VALUE,
    HTML_VALUE,
    HTML_REST, /* of a tag that has no links, up to > */
    HTML_MARK, /* after <! */
    HTML_MARK_DASH,
    HTML_COMMENT,
    HTML_RAW /* no tags in it, up to the end of its own */
};
enum { HTML_WORD_MOST = 15 };
struct html_word { /* in lower case */
    char p[HTML_WORD_MOST + 1];
    uint8_t n; /* HTML_WORD_MOST + 1: it is longer than any that matters */
};
struct html_links {
    void (*link)(void *arg, struct str value, struct strbuf *out); /* adds what stands there instead */
    void *arg;
    enum html_state state;
    struct html_word name, key;
    size_t matched; /* of "</" and the name */
    unsigned dashes;
    char quote; /* around the value; 0: none */
    bool holding;
    struct strbuf held;
};
void html_links_init(struct html_links *h, void (*link)(void *arg, struct str value, struct strbuf *out), void *arg);
void html_links_fini(struct html_links *h);
void html_links_add(struct html_links *h, struct str piece, struct strbuf *out);
void html_links_end(struct html_links *h, struct strbuf *out); /* the page is over: what is held, as it is */
