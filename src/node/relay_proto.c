#include "node/relay_proto.h"

bool relay_parse(struct str bytes, struct relay_message *out)
{
    out->n = 0;
    if (!bytes.n || bytes.n > RELAY_MESSAGE_MOST || bytes.p[bytes.n - 1] != 0)
        return false;
    while (bytes.n) {
        if (out->n == RELAY_TEXTS_MOST)
            return false;
        struct str text = {bytes.p, strlen(bytes.p)};
        out->texts[out->n++] = text;
        bytes = str_sub(bytes, text.n + 1, bytes.n);
    }
    return out->n >= 2;
}

void relay_add(struct strbuf *b, struct str text)
{
    size_t n = text.n ? strnlen(text.p, text.n) : 0;
    strbuf_add(b, (struct str){text.p, n});
    strbuf_addc(b, 0);
}

void relay_addf(struct strbuf *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    strbuf_addvf(b, fmt, args);
    va_end(args);
    strbuf_addc(b, 0);
}
