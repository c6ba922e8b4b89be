/* What a conversion webhook answers. */
#include "api/codec.h"
#include "server/conversion_review.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char first[] = "{\"apiVersion\":\"a.dev/v1\",\"kind\":\"A\",\"metadata\":{\"name\":\"a\",\"uid\":\"1\","
                            "\"labels\":{\"a\":\"b\"}},\"spec\":{\"x\":1}}";
static const char second[] = "{\"apiVersion\":\"a.dev/v1\",\"kind\":\"A\",\"metadata\":{\"name\":\"b\"}}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    for (size_t n = 1; n <= 2; n++)
        for (int beta = 0; beta <= 1; beta++) {
            AUTO(arena_fini) struct arena a = ARENA;
            struct val in[2], out[2];
            const struct val *objects[] = {&in[0], &in[1]};
            struct err err = ERR;
            ASSERT(json_decode(&a, str_of(first), &in[0], &err) && json_decode(&a, str_of(second), &in[1], &err));
            struct conversion_review v = {
                .uid = S("1"), .beta = beta, .api_version = S("a.dev/v2"), .objects = objects, .n = n};
            if (!conversion_review_read(&a, &v, text, out, &err)) {
                ASSERT(err.kind && err.text[0]);
                continue;
            }
            for (size_t i = 0; i < n; i++)
                ASSERT(str_eq(val_text_at(&out[i], N(apiVersion)), v.api_version) &&
                       str_eq(val_text_at(&out[i], N(metadata), N(name)), val_text_at(&in[i], N(metadata), N(name))));
        }
    return 0;
}
