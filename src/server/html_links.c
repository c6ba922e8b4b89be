#include "server/html_links.h"

/* Which attributes hold a link: HTML 4's and 5's. */
static const char *const links[][2] = {
    {"a", "href"},          {"applet", "codebase"},  {"area", "href"},       {"audio", "src"},
    {"base", "href"},       {"blockquote", "cite"},  {"body", "background"}, {"button", "formaction"},
    {"command", "icon"},    {"del", "cite"},         {"embed", "src"},       {"form", "action"},
    {"frame", "longdesc"},  {"frame", "src"},        {"head", "profile"},    {"html", "manifest"},
    {"iframe", "longdesc"}, {"iframe", "src"},       {"img", "longdesc"},    {"img", "src"},
    {"img", "usemap"},      {"input", "formaction"}, {"input", "src"},       {"input", "usemap"},
    {"ins", "cite"},        {"link", "href"},        {"object", "classid"},  {"object", "codebase"},
    {"object", "data"},     {"object", "usemap"},    {"q", "cite"},          {"script", "src"},
    {"source", "src"},      {"video", "poster"},     {"video", "src"},
};
static const char *const raws[] = {"iframe", "noembed",  "noframes", "plaintext", "script",
                                   "style",  "textarea", "title",    "xmp"};

void html_links_init(struct html_links *h, void (*link)(void *arg, struct str value, struct strbuf *out), void *arg)
{
    *h = (struct html_links){.link = link, .arg = arg, .held = STRBUF(HTML_LINK_MOST)};
}

void html_links_fini(struct html_links *h)
{
    strbuf_fini(&h->held);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static char byte_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c;
}

static void word_begin(struct html_word *w, char c)
{
    *w = (struct html_word){.p = {byte_lower(c)}, .n = 1};
}

static void word_add(struct html_word *w, char c)
{
    if (w->n < HTML_WORD_MOST)
        w->p[w->n++] = byte_lower(c);
    else
        w->n = HTML_WORD_MOST + 1;
}

static bool word_is(const struct html_word *w, const char *text)
{
    return w->n <= HTML_WORD_MOST && !strcmp(w->p, text);
}

static bool is_link(const struct html_links *h)
{
    for (size_t i = 0; i < countof(links); i++)
        if (word_is(&h->name, links[i][0]) && word_is(&h->key, links[i][1]))
            return true;
    return false;
}

static enum html_state after_tag(struct html_links *h)
{
    h->matched = 0;
    for (size_t i = 0; i < countof(raws); i++)
        if (word_is(&h->name, raws[i]))
            return HTML_RAW;
    return HTML_TEXT;
}

static enum html_state after_open(struct html_links *h, char c)
{
    if (c == '/' || c == '?')
        return HTML_REST;
    if (c == '!')
        return HTML_MARK;
    if (byte_lower(c) < 'a' || byte_lower(c) > 'z')
        return c == '<' ? HTML_OPEN : HTML_TEXT;
    word_begin(&h->name, c);
    return HTML_NAME;
}

/* Where a key ends, and what comes then. */
static enum html_state in_key(struct html_links *h, char c)
{
    if (c == '=')
        return HTML_BEFORE_VALUE;
    if (is_space(c))
        return HTML_AFTER_KEY;
    if (c == '/')
        return HTML_BEFORE_KEY;
    if (c == '>')
        return after_tag(h);
    if (h->state == HTML_KEY)
        word_add(&h->key, c);
    else
        word_begin(&h->key, c);
    return HTML_KEY;
}

static enum html_state in_comment(struct html_links *h, char c)
{
    if (c == '>' && h->dashes >= 2)
        return HTML_TEXT;
    h->dashes = c == '-' ? h->dashes + (h->dashes < 2) : 0;
    return HTML_COMMENT;
}

static enum html_state in_raw(struct html_links *h, char c)
{
    size_t whole = 2u + h->name.n;
    if (h->matched == whole && (is_space(c) || c == '/' || c == '>'))
        return c == '>' ? HTML_TEXT : HTML_REST;
    char next = h->matched >= whole ? 0 : h->matched < 2 ? "</"[h->matched] : h->name.p[h->matched - 2];
    h->matched = next && byte_lower(c) == next ? h->matched + 1 : c == '<';
    return HTML_RAW;
}

/* Everything but values. */
static enum html_state state_next(struct html_links *h, char c)
{
    switch (h->state) {
    case HTML_TEXT: return c == '<' ? HTML_OPEN : HTML_TEXT;
    case HTML_OPEN: return after_open(h, c);
    case HTML_NAME:
        if (is_space(c) || c == '/')
            return HTML_BEFORE_KEY;
        if (c == '>')
            return after_tag(h);
        word_add(&h->name, c);
        return HTML_NAME;
    case HTML_BEFORE_KEY:
        if (is_space(c) || c == '/')
            return HTML_BEFORE_KEY;
        if (c == '>')
            return after_tag(h);
        word_begin(&h->key, c); /* even a = */
        return HTML_KEY;
    case HTML_KEY: return in_key(h, c);
    case HTML_AFTER_KEY: return is_space(c) ? HTML_AFTER_KEY : in_key(h, c);
    case HTML_BEFORE_VALUE:
    case HTML_VALUE: break; /* html_links_add */
    case HTML_REST: return c == '>' ? HTML_TEXT : HTML_REST;
    case HTML_MARK: return c == '-' ? HTML_MARK_DASH : c == '>' ? HTML_TEXT : HTML_REST;
    case HTML_MARK_DASH: h->dashes = 2; return c == '-' ? HTML_COMMENT : c == '>' ? HTML_TEXT : HTML_REST;
    case HTML_COMMENT: return in_comment(h, c);
    case HTML_RAW: return in_raw(h, c);
    }
    return h->state;
}

static void value_begin(struct html_links *h, char quote)
{
    h->state = HTML_VALUE;
    h->quote = quote;
    h->holding = is_link(h);
}

/* A byte of the value, or the one behind it. False: it is written with what is around it. */
static bool value_byte(struct html_links *h, char c, struct strbuf *out)
{
    bool ends = h->quote ? c == h->quote : is_space(c) || c == '>', held = h->holding;
    if (ends && held)
        h->link(h->arg, strbuf_str(&h->held), out);
    else if (held && h->held.n < HTML_LINK_MOST) {
        strbuf_addc(&h->held, c);
        return true;
    } else if (held)
        strbuf_add(out, strbuf_str(&h->held));
    if (held)
        strbuf_reset(&h->held);
    h->holding = false;
    if (ends)
        h->state = c == '>' && !h->quote ? after_tag(h) : HTML_BEFORE_KEY;
    return false;
}

void html_links_add(struct html_links *h, struct str piece, struct strbuf *out)
{
    size_t run = 0; /* from here on nothing is written yet */
    for (size_t i = 0; i < piece.n; i++) {
        char c = piece.p[i];
        if (h->state == HTML_BEFORE_VALUE && !is_space(c)) {
            if (c == '>') {
                h->state = after_tag(h);
                continue;
            }
            value_begin(h, c == '"' || c == '\'' ? c : 0);
            size_t from = i + (h->quote != 0);
            if (h->holding) {
                strbuf_add(out, str_sub(piece, run, from));
                run = from;
            }
            if (h->quote)
                continue;
        }
        if (h->state == HTML_VALUE) {
            bool held = h->holding;
            if (!value_byte(h, c, out) && held)
                run = i;
        } else if (h->state != HTML_BEFORE_VALUE) {
            h->state = state_next(h, c);
        }
    }
    if (!h->holding)
        strbuf_add(out, str_sub(piece, run, piece.n));
}

void html_links_end(struct html_links *h, struct strbuf *out)
{
    strbuf_add(out, strbuf_str(&h->held));
    strbuf_reset(&h->held);
    h->holding = false;
}
