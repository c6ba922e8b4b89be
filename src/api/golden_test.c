#include "api/codec.h"
#include "base/test.h"

/* "apiVersion Kind", then JSON: answered with the JSON and the protobuf that go out. */
static void golden_answer(struct str input, struct strbuf *out)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(strbuf_fini) struct strbuf pb = STRBUF(1 << 20);
    struct str head, body, api_version, kind;
    struct val v;
    struct err err = ERR;
    CHECK(str_split(input, '\n', &head, &body) && str_split(head, ' ', &api_version, &kind));
    const struct type *t = root_type_find(api_version, str_trim(kind));
    CHECK(t);
    CHECK_OK(type_decode_json(&a, t, body, &v, NULL, &err), err);
    type_encode_json(out, t, &v);
    strbuf_addc(out, '\n');
    type_encode_pb(&pb, t, &v);
    for (size_t i = 0; i < pb.n; i += 32) {
        strbuf_add_hex(out, pb.p + i, MIN(pb.n - i, 32));
        strbuf_addc(out, '\n');
    }
}

TEST(golden_samples_are_written_as_ever)
{
    test_transcript("tests/golden/codec.txt", golden_answer);
}
