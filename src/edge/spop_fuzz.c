/* Frames as HAProxy might send them, one behind the other. */
#include "edge/spop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str rest = {(const char *)data, n};
    AUTO(strbuf_fini) struct strbuf out = STRBUF(1 << 20);
    struct spop_frame f;
    struct err err = ERR;
    for (size_t used; spop_read(rest, &f, &used, &err) && used > 0; rest = str_sub(rest, used, rest.n)) {
        if (f.type == SPOP_HELLO)
            spop_put_hello(&out, &f);
        size_t begin = spop_ack_begin(&out, f.stream, f.frame);
        for (size_t i = 0; i < f.n; i++)
            spop_ack_text(&out, S("x"), f.arguments[i].value.text);
        spop_ack_number(&out, S("n"), (uint32_t)f.n);
        spop_ack_end(&out, begin);
    }
    return 0;
}
