/* jsonout.h - writes JSON text into a strbuf. Commas place themselves: one is needed unless the text so far ends with
 * an opening bracket or a colon, and no value of ours ends with one of those. */
#pragma once
#include "base/str.h"

static inline void jout_comma(struct strbuf *b)
{
    if (b->n && !strchr("{[:", b->p[b->n - 1]))
        strbuf_addc(b, ',');
}

static inline void jout_str(struct strbuf *b, struct str s) /* a value, or an element of a list */
{
    jout_comma(b);
    strbuf_addc(b, '"');
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\') {
            strbuf_addc(b, '\\');
            strbuf_addc(b, (char)c);
        } else if (c < 0x20) {
            strbuf_addf(b, "\\u%04x", c);
        } else {
            strbuf_addc(b, (char)c);
        }
    }
    strbuf_addc(b, '"');
}

static inline void jout_key(struct strbuf *b, const char *key)
{
    jout_str(b, str_of(key));
    strbuf_addc(b, ':');
}

static inline void jout_open(struct strbuf *b, char bracket)
{
    jout_comma(b);
    strbuf_addc(b, bracket);
}

static inline void jout_close(struct strbuf *b, char bracket)
{
    strbuf_addc(b, bracket);
}

static inline void jout_num(struct strbuf *b, int64_t v)
{
    jout_comma(b);
    strbuf_addf(b, "%lld", (long long)v);
}

static inline void jout_bool(struct strbuf *b, bool v)
{
    jout_comma(b);
    strbuf_addz(b, v ? "true" : "false");
}

static inline void jout_field(struct strbuf *b, const char *key, struct str value)
{
    jout_key(b, key);
    jout_str(b, value);
}
