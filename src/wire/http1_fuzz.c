/* Any bytes, in pieces of any size, give the same events as in one piece. */
#include "wire/http1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(struct str in, bool answers, size_t step, struct strbuf *log)
{
    AUTO(http1_fini) struct http1 p;
    AUTO(arena_fini) struct arena a = ARENA;
    struct err err = ERR;
    http1_init(&p, answers);
    for (size_t at = 0; at < in.n; at += step) {
        struct str bytes = str_sub(in, at, MIN(in.n, at + step)), body;
        struct http1_head h;
        for (;;) {
            enum http1_event e = http1_next(&p, &a, &bytes, &h, &body, &err);
            if (e == HTTP1_MORE)
                break;
            if (e == HTTP1_BAD) {
                strbuf_addf(log, "bad %d\n", p.refuse_status);
                return;
            }
            if (e == HTTP1_HEAD)
                strbuf_addf(log, "head " STR_FMT " " STR_FMT " %d %zu %lld\n", STR_ARG(h.method), STR_ARG(h.target),
                            h.status, h.headers.n, (long long)h.length);
            if (e == HTTP1_BODY)
                strbuf_add(log, body);
            if (e == HTTP1_END)
                strbuf_addz(log, "end\n");
        }
    }
    (void)http1_eof(&p, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = {(const char *)data, size};
    for (int answers = 0; answers < 2; answers++) {
        AUTO(strbuf_fini) struct strbuf whole = STRBUF(16 << 20), pieces = STRBUF(16 << 20);
        read_all(in, answers, MAX(size, (size_t)1), &whole);
        read_all(in, answers, 1 + size % 7, &pieces);
        ASSERT(str_eq(strbuf_str(&whole), strbuf_str(&pieces)));
    }
    return 0;
}
