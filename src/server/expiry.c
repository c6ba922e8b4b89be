#include "server/expiry.h"
#include "base/log.h"
#include "server/ages.h"
#include "server/limits.h"
#include "store/store.h"

#define KEEP       (3600 * NS_PER_S)
#define SWEEP_MOST (60 * NS_PER_S) /* between two looks, and at least a quarter of what is kept */
#define BATCH      256             /* deletions at a time: the loop is not held by a flood that ends */

struct expiry {
    struct server *server;
    int64_t keep_ns;
    struct timer timer;
    struct ages ages;
    bool busy; /* op is under way */
    bool more; /* the batch was full */
    struct store_op op;
    struct store_write writes[BATCH];
    struct arena keys; /* of the writes */
};
_Static_assert(BATCH <= (int)STORE_TXN_MAX, "a batch is one transaction");

static int64_t time_of_val(const struct val *v)
{
    int64_t t;
    return v && time_parse(val_text(v), &t) ? t : 0;
}

int64_t event_last_time(const struct obj *event, int64_t now)
{
    const struct val *v = &event->tree;
    int64_t newest = time_of_val(val_at(v, N(metadata), N(creationTimestamp)));
    const int64_t said[] = {time_of_val(val_get(v, N(eventTime))), time_of_val(val_get(v, N(lastTimestamp))),
                            time_of_val(val_at(v, N(series), N(lastObservedTime)))};
    for (size_t i = 0; i < countof(said); i++)
        if (said[i] <= now)
            newest = MAX(newest, said[i]);
    return newest;
}

static int64_t due_at(const struct expiry *x, const struct obj *event, int64_t now)
{
    return event_last_time(event, now) + x->keep_ns;
}

static void entry_written(struct expiry *x, const struct store_entry *e)
{
    const struct obj *o = object_of(e);
    ages_put(&x->ages, store_entry_key(e), e->mod_rev, due_at(x, o, clock_real()), o->bytes);
}

void expiry_changed(struct expiry *x, const struct store_entry *was, const struct store_entry *now)
{
    if (now)
        entry_written(x, now);
    else
        ages_del(&x->ages, store_entry_key(was));
    bool many = map_len(&x->ages.all) > LIMIT_EVENTS || x->ages.bytes > LIMIT_EVENTS_BYTES;
    if (many && !x->busy && timer_is_set(&x->timer))
        timer_set(&x->timer, 0);
}

static int64_t sweep_ns(const struct expiry *x)
{
    return MIN(SWEEP_MOST, MAX(x->keep_ns / 4, NS_PER_S));
}

/* Those whose time is over; where that is not enough, the ones that were written longest ago. */
static void batch_fill(struct expiry *x)
{
    struct age *next[BATCH];
    int64_t now = clock_real();
    size_t n = ages_next(&x->ages, now, LIMIT_EVENTS, LIMIT_EVENTS_BYTES, next, BATCH);
    for (size_t i = 0; i < n; i++) {
        const struct age *a = next[i];
        const struct store_entry *e = store_get(x->server->store, str_of(a->key));
        int64_t due = e && a->due <= now ? due_at(x, object_of(e), now) : now;
        if (due > now) /* a time that lay ahead when it was written has come since */
            ages_put(&x->ages, str_of(a->key), a->rev, due, a->bytes);
        else
            x->writes[x->op.n++] = (struct store_write){.key = str_dup(&x->keys, str_of(a->key)), .expect = a->rev};
    }
    x->more = n == BATCH;
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
    ages_init(&x->ages);
    timer_init(&x->timer, s->loop, on_timer);
    return x;
}

void expiry_start(struct expiry *x)
{
    AUTO(arena_fini) struct arena a = ARENA;
    AUTO(store_snapshot_fini) struct store_snapshot snap = objects_snapshot(x->server);
    struct store_iter it;
    for (struct store_entry *e = store_first(&it, &snap, object_prefix(&a, K(Event)), STR_NONE); e;
         e = store_next(&it))
        entry_written(x, e);
    ages_sort(&x->ages);
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
    ages_fini(&x->ages);
    mem_free(x);
}
