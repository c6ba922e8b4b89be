/* The memory engine: keeps nothing, since the store's index holds every value. */
#include "store/store_int.h"

static void memory_commit(struct engine *e, struct batch *b)
{
    b->ok = true;
    store_committed(e->store, b);
}

static void memory_history(UNUSED struct engine *e, UNUSED struct history_work *w)
{
    ASSERT(!"what memory does not hold is compacted");
}

static void memory_compact(UNUSED struct engine *e, UNUSED int64_t floor)
{
}

static void memory_drain(UNUSED struct engine *e)
{
}

static void close_memory(struct engine *e, UNUSED int64_t given)
{
    mem_free(e);
}

static void memory_stats(UNUSED const struct engine *e, UNUSED struct store_stats *out)
{
}

static const struct engine_ops memory_ops = {
    .commit = memory_commit,
    .history = memory_history,
    .compact = memory_compact,
    .drain = memory_drain,
    .close = close_memory,
    .stats = memory_stats,
};

struct engine *memory_open(struct store *s)
{
    struct engine *e = NEW(struct engine);
    *e = (struct engine){&memory_ops, s};
    s->rev = s->floor = 1;
    s->ceiling = INT64_MAX;
    return e;
}
