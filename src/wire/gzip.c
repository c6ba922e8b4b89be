#include "wire/gzip.h"
#include <zlib.h>

void gzip_add(struct strbuf *b, struct str plain)
{
    z_stream z = {0};
    char room[16384];
    ASSERT(deflateInit2(&z, Z_BEST_SPEED, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    z.next_in = (Bytef *)(uintptr_t)plain.p;
    z.avail_in = (uInt)plain.n;
    do {
        z.next_out = (Bytef *)room;
        z.avail_out = sizeof room;
        (void)deflate(&z, Z_FINISH); /* memory is all that it could lack */
        strbuf_add(b, (struct str){room, sizeof room - z.avail_out});
    } while (z.avail_out == 0);
    (void)deflateEnd(&z);
}

static bool is_zero(struct str q) /* "q=0", "q=0.000" */
{
    bool zero = str_starts(q, S("q=0"));
    for (size_t i = 3; i < q.n; i++)
        zero = zero && (q.p[i] == '.' || q.p[i] == '0');
    return zero;
}

bool gzip_accepted(struct str accept_encoding)
{
    struct str rest = accept_encoding, part, name, q;
    while (str_cut(&rest, ',', &part)) {
        if (!str_split(part, ';', &name, &q))
            name = part, q = S("");
        if (str_ieq(str_trim(name), S("gzip")) && !is_zero(str_trim(q)))
            return true;
    }
    return false;
}
