#include "server/expiry.h"
#include "base/log.h"
#include "server/limits.h"
#include "store/store.h"

#define KEEP       (3600 * NS_PER_S)
#define SWEEP_MOST (60 * NS_PER_S) /* between two looks, and at least a quarter of what is kept */
#define BATCH      256             /* deletions at a time: the loop is not held by a flood that ends */

struct expiry {
    struct server *server;
    int64_t keep_ns;
    struct timer timer;
    int64_t count; /* Events there are, once the first look has counted them */
    bool busy;     /* op is under way */
    bool more;     /* the batch was full */
    struct store_op op;
    struct store_write writes[BATCH];
    struct arena keys; /* of the writes */
};
_Static_assert(BATCH <= (int)STORE_TXN_MAX, "a batch is one transaction");

static int64_t parsed(const struct val *v)
{
    int64_t t;
    return v && time_parse(val_text(v), &t) ? t : 0;
}

int64_t event_last_time(const struct obj *event, int64_t now)
{
    const struct val *v = &event->tree;
    int64_t newest = parsed(val_at(v, N(metadata), N(creationTimestamp)));
    const int64_t said[] = {parsed(val_get(v, N(eventTime))), parsed(val_get(v, N(lastTimestamp))),
                            parsed(val_at(v, N(series), N(lastObservedTime)))};
    for (size_t i = 0; i < countof(said); i++)
        if (said[i] <= now)
            newest = MAX(newest, said[i]);
    return newest;
}

void expiry_changed(struct expiry *x, const struct obj *was, const struct obj *now)
{
    x->count += now != NULL;
    x->count -= was != NULL;
    if (x->count > LIMIT_EVENTS && !x->busy && timer_is_set(&x->timer))
        timer_set(&x->timer, 0);
}

static int64_t sweep_ns(const struct expiry *x)
{
    return MIN(SWEEP_MOST, MAX(x->keep_ns / 4, NS_PER_S));
}

static int by_revision(const void *pa, const void *pb)
{
    const struct store_entry *a = *(struct store_entry *const *)pa, *b = *(struct store_entry *const *)pb;
    return (a->mod_rev > b->mod_rev) - (a->mod_rev < b->mod_rev);
}

static void batch_add(struct expiry *x, const struct store_entry *e)
{
    x->writes[x->op.n++] = (struct store_write){.key = str_dup(&x->keys, store_entry_key(e)), .expect = e->mod_rev};
}

/* Those whose time is over; where that is not enough, the ones that were written longest ago. */
static void batch_fill(struct expiry *x)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(store_snapshot_fini) struct store_snapshot snap = objects_snapshot(x->server);
    ARRAY(struct store_entry *) rest = {0};
    struct store_iter it;
    int64_t now = clock_real();
    size_t n = 0;
    for (struct store_entry *e = store_first(&it, &snap, object_prefix(&a, K(Event)), STR_NONE); e;
         e = store_next(&it), n++) {
        if (event_last_time(object_of(e), now) + x->keep_ns > now)
            array_push(&rest, e);
        else if (x->op.n < BATCH)
            batch_add(x, e);
    }
    x->count = (int64_t)n;
    if (rest.n > LIMIT_EVENTS) {
        qsort(rest.p, rest.n, sizeof *rest.p, by_revision);
        for (size_t i = 0; i < rest.n - LIMIT_EVENTS && x->op.n < BATCH; i++)
            batch_add(x, rest.p[i]);
    }
    x->more = x->op.n == BATCH;
    array_fini(&rest);
}

/* A conflict means that one of them was just repeated: the next look sees that. */
static void on_deleted(struct store_op *op)
{
    struct expiry *x = container_of(op, struct expiry, op);
    arena_fini(&x->keys);
    x->keys = ARENA;
    x->busy = false;
    if (!op->ok && op->err.kind != E_CONFLICT && op->err.kind != E_NOT_FOUND)
        log_debug("events.expire", "err=\"%s\"", op->err.text);
    if (!x->server->stopping)
        timer_set(&x->timer, op->ok && x->more ? 0 : op->ok ? sweep_ns(x) : NS_PER_S);
}

static void on_timer(struct timer *t)
{
    struct expiry *x = container_of(t, struct expiry, timer);
    x->op = (struct store_op){.writes = x->writes, .class = STORE_LAZY, .done = on_deleted};
    batch_fill(x);
    if (x->op.n == 0) {
        timer_set(t, sweep_ns(x));
        return;
    }
    x->busy = true;
    store_write(x->server->store, &x->op);
}

struct expiry *expiry_new(struct server *s, int64_t keep_ns)
{
    struct expiry *x = NEW(struct expiry);
    x->server = s;
    x->keep_ns = keep_ns > 0 ? keep_ns : KEEP;
    x->keys = ARENA;
    timer_init(&x->timer, s->loop, on_timer);
    return x;
}

void expiry_start(struct expiry *x)
{
    timer_set(&x->timer, 0);
}

void expiry_stop(struct expiry *x)
{
    if (x)
        timer_stop(&x->timer);
}

void expiry_free(struct expiry *x)
{
    if (!x)
        return;
    ASSERT(!x->busy);
    arena_fini(&x->keys);
    mem_free(x);
}
