#include "base/test.h"
#include "wire/gzip.h"
#include <zlib.h>

TEST(gzip_gives_back_what_was_put_in)
{
    AUTO(strbuf_fini) struct strbuf plain = STRBUF(1 << 22), small = STRBUF(1 << 22);
    for (int i = 0; i < 100000; i++)
        strbuf_addf(&plain, "%d ", i % 977 * i);
    gzip_add(&small, strbuf_str(&plain));
    CHECK(small.n < plain.n / 2);
    AUTO_FREE char *back = mem_alloc(plain.n + 1);
    z_stream z = {.next_in = (Bytef *)small.p,
                  .avail_in = (uInt)small.n,
                  .next_out = (Bytef *)back,
                  .avail_out = (uInt)plain.n + 1};
    CHECK_INT(inflateInit2(&z, 15 + 16), Z_OK);
    CHECK_INT(inflate(&z, Z_FINISH), Z_STREAM_END);
    CHECK(str_eq(((struct str){back, z.total_out}), strbuf_str(&plain)));
    (void)inflateEnd(&z);
}

TEST(gzip_in_pieces_is_the_same)
{
    AUTO(strbuf_fini) struct strbuf plain = STRBUF(1 << 22), pieces = STRBUF(1 << 22);
    AUTO(gzip_free) struct gzip *g = gzip_new();
    for (int i = 0; i < 50000; i++)
        strbuf_addf(&plain, "%d ", i % 977 * i);
    for (size_t at = 0; at < plain.n; at += 1001)
        gzip_piece(g, &pieces, str_sub(strbuf_str(&plain), at, at + 1001), at + 1001 >= plain.n);
    AUTO_FREE char *back = mem_alloc(plain.n + 1);
    z_stream z = {.next_in = (Bytef *)pieces.p,
                  .avail_in = (uInt)pieces.n,
                  .next_out = (Bytef *)back,
                  .avail_out = (uInt)plain.n + 1};
    CHECK_INT(inflateInit2(&z, 15 + 16), Z_OK);
    CHECK_INT(inflate(&z, Z_FINISH), Z_STREAM_END);
    CHECK(str_eq(((struct str){back, z.total_out}), strbuf_str(&plain)));
    (void)inflateEnd(&z);
}

TEST(gzip_is_asked_for)
{
    CHECK(gzip_accepted(S("gzip")) && gzip_accepted(S("deflate, GZIP;q=0.5")) && gzip_accepted(S("gzip ; q=1")));
    CHECK(!gzip_accepted(S("")) && !gzip_accepted(S("identity")) && !gzip_accepted(S("gzip;q=0")) &&
          !gzip_accepted(S("br, gzip; q=0.000")) && !gzip_accepted(S("xgzip")));
}
