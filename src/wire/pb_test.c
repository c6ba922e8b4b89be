#include "base/test.h"
#include "wire/pb.h"

TEST(pb_writes_and_reads_every_wire_type)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    pb_add_uint(&b, 1, 150);
    pb_add_uint(&b, 2, (uint64_t)-1);
    pb_add_fixed64(&b, 3, 0x1122334455667788);
    pb_add_bytes(&b, 536870911, S("text"));
    size_t outer = pb_open(&b, 5), inner = pb_open(&b, 1);
    for (int i = 0; i < 300; i++)
        strbuf_addc(&b, 'x');
    pb_close(&b, inner);
    pb_close(&b, outer);
    CHECK(memcmp(b.p, "\x08\x96\x01", 3) == 0);

    struct pb m = pb_of(strbuf_str(&b)), nested;
    struct pb_field f;
    struct err err = ERR;
    CHECK(pb_next(&m, &f, &err) == 1 && f.number == 1 && f.n == 150);
    CHECK(pb_next(&m, &f, &err) == 1 && f.number == 2 && f.n == UINT64_MAX);
    CHECK(pb_next(&m, &f, &err) == 1 && f.wire == PB_FIXED64 && f.n == 0x1122334455667788);
    CHECK(pb_next(&m, &f, &err) == 1 && f.number == 536870911 && str_eqz(f.bytes, "text"));
    CHECK(pb_next(&m, &f, &err) == 1 && f.number == 5);
    nested = pb_of(f.bytes);
    CHECK(pb_next(&nested, &f, &err) == 1 && f.bytes.n == 300 && pb_next(&nested, &f, &err) == 0);
    CHECK(pb_next(&m, &f, &err) == 0);
}

TEST(pb_refuses_what_is_cut_off_or_no_protobuf)
{
    static const struct str rows[] = {S_INIT("\x08"),
                                      S_INIT("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),
                                      S_INIT("\x0a\x05"
                                             "abc"),
                                      S_INIT("\x09\x01"),
                                      S_INIT("\x0b"),
                                      S_INIT("\x00\x01"),
                                      S_INIT("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")};
    for (size_t i = 0; i < countof(rows); i++) {
        struct pb m = pb_of(rows[i]);
        struct pb_field f;
        struct err err = ERR;
        CHECK_INT(pb_next(&m, &f, &err), -1);
        CHECK(err.text[0]);
    }
}
