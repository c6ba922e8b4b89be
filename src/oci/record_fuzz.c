#include "oci/image.h"
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Image records: what reads, writes and reads again the same; users are looked up in anything. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct image im, again;
    struct image_user user;
    struct err err = ERR;
    if (!image_decode(&a, (struct str){(const char *)data, size}, &im, &err))
        return 0;
    AUTO(strbuf_fini) struct strbuf one = STRBUF(16 << 20), two = STRBUF(16 << 20);
    image_encode(&im, &one);
    ASSERT(one.over || image_decode(&a, strbuf_str(&one), &again, &err));
    if (!one.over) {
        image_encode(&again, &two);
        ASSERT(str_eq(strbuf_str(&one), strbuf_str(&two)));
    }
    (void)!image_user_find(&im, S(""), &user, &err);
    (void)!image_user_find(&im, S("root:root"), &user, &err);
    return 0;
}
