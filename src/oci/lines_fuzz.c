#include "oci/jobs.h"
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a job says (it may have been taken over by what it read), and what it is asked. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct job_line l;
    struct pull_request r;
    struct err err = ERR;
    struct str text = {(const char *)data, size};
    job_line_decode(&a, text, &l);
    ASSERT(l.kind != JOB_IMAGE || l.manifest.hex[0]);
    if (pull_request_decode(&a, text, &r, &err)) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(16 << 20);
        struct pull_request again;
        pull_request_encode(&r, &b);
        ASSERT(b.over || pull_request_decode(&a, strbuf_str(&b), &again, &err));
    }
    return 0;
}
