#include "api/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Decoded, encoded and decoded again: the same tree. */
static void there_and_back(const struct type *t, const struct val *v)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 26);
    struct val again;
    struct err err = ERR;
    type_encode_json(&b, t, v);
    if (b.over)
        return;
    ASSERT(type_decode_json(&a, t, strbuf_str(&b), &again, NULL, &err));
    strbuf_reset(&b);
    type_encode_pb(&b, t, &again);
    ASSERT(b.over || type_decode_pb(&a, t, strbuf_str(&b), &again, &err));
}

/* The first byte says which kind and which format. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(decode_notes_fini) struct decode_notes notes = {.arena = &a};
    const struct type *t = kinds[data[0] % nkinds]->type;
    struct str body = {(const char *)data + 2, size - 2};
    struct val v;
    struct err err = ERR;
    bool ok = data[1] == 'p'   ? type_decode_pb(&a, t, body, &v, &err)
              : data[1] == 'y' ? type_decode_yaml(&a, t, body, &v, &notes, &err)
                               : type_decode_json(&a, t, body, &v, &notes, &err);
    if (ok)
        there_and_back(t, &v);
    else
        ASSERT(err.text[0]);
    return 0;
}
