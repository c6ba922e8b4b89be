/* The backup reader over any bytes. */
#include "store/backup_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct rest {
    const uint8_t *p;
    size_t n, portion;
};

static ptrdiff_t input_fill(void *arg, char *p, size_t n)
{
    struct rest *r = arg;
    size_t part = MIN(MIN(n, r->n), r->portion);
    if (part)
        memcpy(p, r->p, part);
    r->p += part;
    r->n -= part;
    return (ptrdiff_t)part;
}

static bool entry_check(void *arg, struct str key, struct str stored, int64_t create_rev, int64_t mod_rev,
                        struct err *err)
{
    (void)err;
    ASSERT(key.n >= 1 && key.n <= STORE_KEY_MAX && stored.n >= 1 && create_rev >= 1 && mod_rev >= create_rev);
    *(uint64_t *)arg += str_hash(key) + str_hash(stored);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* however it arrives, the answer is the same */
    bool first = false;
    for (size_t portion = 1; portion <= 4096; portion *= 64) {
        struct rest rest = {data, size, portion};
        struct err err = ERR;
        int64_t rev = 0;
        uint64_t hash = 0;
        bool ok = backup_read(&(struct backup_input){input_fill, &rest}, &rev, entry_check, &hash, &err);
        ASSERT(ok || (err.kind != E_NONE && err.text[0]));
        ASSERT(portion == 1 || ok == first);
        first = ok;
    }
    return 0;
}
