#include "api/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void text_of(struct strbuf *b, const struct type *t, const struct val *v)
{
    strbuf_reset(b);
    type_encode_json(b, t, v);
}

/* What is written reads back: as JSON, and by way of protobuf. Compared as text, where 5.0 is 5. */
static void there_and_back(const struct type *t, const struct val *v)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf first = STRBUF(1 << 26), second = STRBUF(1 << 26), pb = STRBUF(1 << 26);
    struct val again, third;
    struct err err = ERR;
    text_of(&first, t, v);
    if (first.over)
        return;
    ASSERT(type_decode_json(&a, t, strbuf_str(&first), &again, NULL, &err));
    text_of(&second, t, &again);
    ASSERT(str_eq(strbuf_str(&first), strbuf_str(&second)));
    type_encode_pb(&pb, t, &again);
    if (pb.over)
        return;
    ASSERT(type_decode_pb(&a, t, strbuf_str(&pb), &third, &err));
    if (val_is(&again, VAL_MAP)) { /* these stand in the envelope */
        (void)val_del(&again, N(kind));
        (void)val_del(&again, N(apiVersion));
    }
    text_of(&first, t, &again);
    text_of(&second, t, &third);
    ASSERT(str_eq(strbuf_str(&first), strbuf_str(&second)));
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
