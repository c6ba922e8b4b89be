#include "node/crilog.h"

/* Whatever stands in a log file: a line is read within its bounds, and shown as no more than it is. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = {(const char *)data, size}, line;
    struct crilog_filter all = {.timestamps = true, .tail = -1, .bytes = -1}, late = {.since = 1};
    AUTO(strbuf_fini) struct strbuf out = STRBUF(1 << 20);
    while (str_cut(&rest, '\n', &line)) {
        struct crilog_line l;
        if (!crilog_parse(line, &l))
            continue;
        size_t before = out.n;
        crilog_show(&l, &all, true, &out);
        ASSERT(out.over || out.n - before <= line.n + 1);
        crilog_show(&l, &late, true, &out);
    }
    return 0;
}
