#include "node/csi_records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is read is written so that it reads the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = ARENA;
    struct err err = ERR;
    struct csi_record r, again;
    if (csi_record_read(&a, (struct str){(const char *)data, size}, &r, &err)) {
        AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
        csi_record_write(&b, &r);
        ASSERT(csi_record_read(&a, strbuf_str(&b), &again, &err) && str_eq(r.handle, again.handle) &&
               str_eq(r.driver, again.driver) && str_eq(r.spec, again.spec) && r.ephemeral == again.ephemeral &&
               r.flex == again.flex && str_eq(r.source, again.source));
    } else {
        ASSERT(err.text[0]);
    }
    arena_fini(&a);
    return 0;
}
