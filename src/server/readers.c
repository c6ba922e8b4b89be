#include "server/readers.h"
#include "base/mem.h"

static bool too_much(const struct readers *s)
{
    struct old_reader *oldest = list_first(&s->all, struct old_reader, node);
    return oldest && MIN(s->retired - oldest->begun, s->bytes) > s->most;
}

static struct old_reader *reader_greediest(const struct readers *s)
{
    struct old_reader *most = NULL;
    list_each (r, &s->all, struct old_reader, node)
        if (!most || r->bytes > most->bytes)
            most = r;
    return most;
}

static void readers_look(struct soon *soon)
{
    struct readers *s = container_of(soon, struct readers, look);
    while (too_much(s)) {
        struct old_reader *r = reader_greediest(s);
        uint64_t bytes = s->bytes;
        s->ncut++;
        r->cut(r);
        ASSERT(s->bytes < bytes); /* it has ended */
    }
}

void readers_init(struct readers *s, struct loop *l, uint64_t most)
{
    *s = (struct readers){.most = most};
    list_init(&s->all);
    soon_init(&s->look, l, readers_look);
}

void readers_fini(struct readers *s)
{
    soon_stop(&s->look);
}

void readers_retired(struct readers *s, size_t bytes)
{
    s->retired += bytes;
    if (too_much(s))
        soon_set(&s->look);
}

void reader_begin(struct readers *s, struct old_reader *r, uint64_t bytes, void (*cut)(struct old_reader *r))
{
    *r = (struct old_reader){.of = s, .begun = s->retired, .bytes = bytes, .cut = cut};
    s->bytes += bytes;
    list_init(&r->node);
    list_add_tail(&s->all, &r->node);
}

void reader_end(struct old_reader *r)
{
    if (!r->of)
        return;
    list_del(&r->node);
    r->of->bytes -= r->bytes;
    r->of = NULL;
}
