#include "wire/gzip.h"
#include <zlib.h>

/* All that zlib asks for at this window and level (zconf.h: some 262 KiB) stands in one block, which is large enough
 * that the allocator gives it back to the system. */
struct gzip {
    z_stream z;
    size_t used;
    _Alignas(16) char room[320 << 10];
};

static voidpf room_take(voidpf opaque, uInt items, uInt size)
{
    struct gzip *g = opaque;
    size_t n = ((size_t)items * size + 15) & ~(size_t)15;
    ASSERT(n <= sizeof g->room - g->used);
    g->used += n;
    return g->room + g->used - n;
}

static void room_give(voidpf opaque, voidpf p)
{
    (void)opaque;
    (void)p; /* with the rest */
}

enum { BITS_GZIP = 15 + 16, BITS_BARE = -15, LEVEL_KEPT = 3 };

static struct gzip *deflate_new(int level, int bits)
{
    struct gzip *g = NEW(struct gzip);
    g->z = (z_stream){.zalloc = room_take, .zfree = room_give, .opaque = g};
    ASSERT(deflateInit2(&g->z, level, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    return g;
}

struct gzip *gzip_new(void)
{
    return deflate_new(Z_BEST_SPEED, BITS_GZIP);
}

void gzip_free(struct gzip *g)
{
    if (!g)
        return;
    (void)deflateEnd(&g->z);
    mem_free(g);
}

void gzip_piece(struct gzip *g, struct strbuf *b, struct str plain, bool last)
{
    char room[16384];
    g->z.next_in = (Bytef *)(uintptr_t)plain.p;
    g->z.avail_in = (uInt)plain.n;
    do {
        g->z.next_out = (Bytef *)room;
        g->z.avail_out = sizeof room;
        (void)deflate(&g->z, last ? Z_FINISH : Z_NO_FLUSH); /* memory is all that it could lack */
        strbuf_add(b, (struct str){room, sizeof room - g->z.avail_out});
    } while (g->z.avail_out == 0);
}

struct gunzip {
    z_stream z;
    bool over;
};

struct gunzip *gunzip_new(void)
{
    struct gunzip *g = NEW(struct gunzip);
    ASSERT(inflateInit2(&g->z, BITS_GZIP) == Z_OK);
    return g;
}

void gunzip_free(struct gunzip *g)
{
    if (!g)
        return;
    (void)inflateEnd(&g->z);
    mem_free(g);
}

bool gunzip_piece(struct gunzip *g, struct strbuf *b, struct str small)
{
    char room[16384];
    g->z.next_in = (Bytef *)(uintptr_t)small.p;
    g->z.avail_in = (uInt)small.n;
    do {
        if (g->over && g->z.avail_in) { /* one behind the other is one text, RFC 1952 2.2 */
            (void)inflateReset(&g->z);
            g->over = false;
        }
        g->z.next_out = (Bytef *)room;
        g->z.avail_out = sizeof room;
        int how = inflate(&g->z, Z_NO_FLUSH);
        if (how != Z_OK && how != Z_STREAM_END && how != Z_BUF_ERROR)
            return false;
        g->over = how == Z_STREAM_END;
        strbuf_add(b, (struct str){room, sizeof room - g->z.avail_out});
    } while (!b->over && (g->z.avail_out == 0 || (g->over && g->z.avail_in)));
    return !b->over;
}

void gzip_add(struct strbuf *b, struct str plain)
{
    AUTO(gzip_free) struct gzip *g = gzip_new();
    gzip_piece(g, b, plain, true);
}

void deflate_add(struct strbuf *b, struct str plain)
{
    AUTO(gzip_free) struct gzip *g = deflate_new(LEVEL_KEPT, BITS_BARE);
    gzip_piece(g, b, plain, true);
}

bool inflate_add(struct strbuf *b, struct str deflated, size_t plain)
{
    char *to = strbuf_room(b, plain);
    struct gzip *g = to ? NEW(struct gzip) : NULL;
    if (!g)
        return false;
    g->z = (z_stream){.zalloc = room_take,
                      .zfree = room_give,
                      .opaque = g,
                      .next_in = (Bytef *)(uintptr_t)deflated.p,
                      .avail_in = (uInt)deflated.n,
                      .next_out = (Bytef *)to,
                      .avail_out = (uInt)plain};
    bool whole = inflateInit2(&g->z, BITS_BARE) == Z_OK && inflate(&g->z, Z_FINISH) == Z_STREAM_END &&
                 !g->z.avail_out;
    (void)inflateEnd(&g->z);
    mem_free(g);
    if (whole)
        strbuf_used(b, plain);
    return whole;
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
