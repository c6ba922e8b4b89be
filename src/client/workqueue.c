#include "client/workqueue.h"
#include "base/clock.h"
#include "sys/loop.h"

#define OVERSLEPT (5 * NS_PER_S)
#define REST_MOST (100 * NS_PER_MS)

/* The keys of one namespace that wait to be worked on; it lives while there are some. */
struct workqueue_line {
    struct list in_turn; /* in queue->turns */
    struct list ready;   /* of items */
    char ns[];
};
/* One key's record lives while it is dirty, worked on, delayed or failed lately. */
struct item {
    struct list ready; /* in its line while it waits to be worked on */
    struct heap_node due;
    int64_t at;
    int64_t took, rest; /* the work so far; it rests until then */
    int failures;
    bool dirty, busy;
    bool kept; /* in queue->due for nothing but its rest */
    char key[];
};
struct workqueue {
    struct workqueue_options o;
    struct map items, lines;
    struct list turns; /* of lines: the first one's first key is next, then the line goes to the end */
    struct heap due;
    struct timer timer, kick;
    struct item *working; /* in the middle of `work`, since `began` */
    int64_t began;
    size_t waiting;
    int busy;
    bool started;
};

static bool due_less(const struct heap_node *a, const struct heap_node *b)
{
    return container_of(a, struct item, due)->at < container_of(b, struct item, due)->at;
}

static struct item *item_of(struct workqueue *q, struct str key)
{
    struct item *i = map_get(&q->items, key);
    if (!i) {
        i = mem_alloc(sizeof *i + key.n + 1);
        memcpy(i->key, key.p, key.n);
        list_init(&i->ready);
        map_put(&q->items, key, i);
    }
    return i;
}

static void due_next(struct workqueue *q);

/* Comes at that time; the earliest wish counts. */
static void wish_at(struct workqueue *q, struct item *i, int64_t at)
{
    if (i->due.at > 0 && !i->kept && i->at <= at)
        return;
    i->kept = false;
    i->at = at;
    if (i->due.at > 0)
        heap_moved(&q->due, &i->due);
    else
        heap_add(&q->due, &i->due);
}

static void item_settle(struct workqueue *q, struct item *i)
{
    if (i->dirty || i->busy || i->failures > 0 || i->due.at > 0)
        return;
    if (i->rest > clock_mono()) {
        wish_at(q, i, i->rest);
        i->kept = true;
        due_next(q);
        return;
    }
    map_del(&q->items, str_of(i->key));
    mem_free(i);
}

static void line_up(struct workqueue *q, struct item *i)
{
    struct str key = str_of(i->key), ns = str_sub(key, 0, (size_t)MAX(0, str_find_char(key, '/')));
    struct workqueue_line *l = map_get(&q->lines, ns);
    if (!l) {
        l = mem_alloc(sizeof *l + ns.n + 1);
        memcpy(l->ns, ns.p, ns.n);
        list_init(&l->ready);
        list_add_tail(&q->turns, &l->in_turn);
        map_put(&q->lines, ns, l);
    }
    list_add_tail(&l->ready, &i->ready);
    q->waiting++;
}

/* The next key; NULL: none waits. */
static struct item *line_take(struct workqueue *q)
{
    struct workqueue_line *l = list_first(&q->turns, struct workqueue_line, in_turn);
    if (!l)
        return NULL;
    struct item *i = list_first(&l->ready, struct item, ready);
    list_del(&i->ready);
    q->waiting--;
    list_del(&l->in_turn);
    if (!list_empty(&l->ready)) {
        list_add_tail(&q->turns, &l->in_turn);
    } else {
        map_del(&q->lines, str_of(l->ns));
        mem_free(l);
    }
    return i;
}

static void pump_later(struct workqueue *q)
{
    if (q->started && q->waiting && q->busy < q->o.workers && !timer_is_set(&q->kick))
        timer_set(&q->kick, 0);
}

static void make_ready(struct workqueue *q, struct item *i)
{
    heap_del(&q->due, &i->due);
    i->kept = false;
    if (i->dirty)
        return;
    i->dirty = true;
    if (!i->busy) {
        line_up(q, i);
        pump_later(q);
    }
}

static void workqueue_pump(struct timer *t)
{
    struct workqueue *q = container_of(t, struct workqueue, kick);
    /* one round at most, and no more than the turn has time for: others are on this loop, too */
    for (size_t n = q->waiting; n > 0 && q->busy < q->o.workers; n--) {
        struct item *i = line_take(q);
        if (!i)
            break;
        i->dirty = false;
        i->busy = true;
        q->busy++;
        q->working = i;
        q->began = clock_mono();
        q->o.work(q->o.arg, str_of(i->key));
        if (q->working) /* it is not done yet */
            q->working->took = clock_mono() - q->began;
        q->working = NULL;
        if (workqueue_turn_spent(q))
            break;
    }
    pump_later(q);
}

static void due_next(struct workqueue *q)
{
    struct heap_node *top = heap_top(&q->due);
    if (top)
        timer_set(&q->timer, MAX(0, container_of(top, struct item, due)->at - clock_mono()));
    else
        timer_stop(&q->timer);
}

static void due_now(struct timer *t)
{
    struct workqueue *q = container_of(t, struct workqueue, timer);
    int64_t now = clock_mono();
    struct heap_node *first = heap_top(&q->due);
    if (first && q->o.overslept && now - container_of(first, struct item, due)->at > OVERSLEPT)
        q->o.overslept(q->o.arg);
    for (struct heap_node *top; (top = heap_top(&q->due));) {
        struct item *i = container_of(top, struct item, due);
        if (i->at > now)
            break;
        if (!i->kept) {
            make_ready(q, i);
            continue;
        }
        heap_del(&q->due, top);
        i->kept = false;
        item_settle(q, i);
    }
    due_next(q);
}

struct workqueue *workqueue_new(const struct workqueue_options *o)
{
    struct workqueue *q = NEW(struct workqueue);
    q->o = *o;
    q->o.workers = o->workers ? o->workers : 16;
    q->o.backoff_ns = o->backoff_ns ? o->backoff_ns : 5 * NS_PER_MS;
    q->o.backoff_max_ns = o->backoff_max_ns ? o->backoff_max_ns : 100 * NS_PER_S;
    q->due.less = due_less;
    list_init(&q->turns);
    timer_init(&q->timer, o->loop, due_now);
    timer_init(&q->kick, o->loop, workqueue_pump);
    return q;
}

void workqueue_free(struct workqueue *q)
{
    if (!q)
        return;
    timer_stop(&q->timer);
    timer_stop(&q->kick);
    map_each (it, &q->items)
        mem_free(it->value);
    map_fini(&q->items);
    map_each (it, &q->lines)
        mem_free(it->value);
    map_fini(&q->lines);
    heap_fini(&q->due);
    mem_free(q);
}

void workqueue_start(struct workqueue *q)
{
    q->started = true;
    pump_later(q);
}

void workqueue_add(struct workqueue *q, struct str key)
{
    struct item *i = item_of(q, key);
    if (!i->busy && !i->dirty && i->rest > clock_mono())
        wish_at(q, i, i->rest);
    else
        make_ready(q, i);
    due_next(q);
}

void workqueue_add_after(struct workqueue *q, struct str key, int64_t delay_ns)
{
    if (delay_ns <= 0) {
        workqueue_add(q, key);
        return;
    }
    struct item *i = item_of(q, key);
    if (i->dirty)
        return;
    wish_at(q, i, clock_mono() + delay_ns);
    due_next(q);
}

void workqueue_hurry(struct workqueue *q)
{
    int64_t now = clock_mono();
    map_each (it, &q->items) {
        struct item *i = it->value;
        if (i->due.at == 0 || i->kept || i->at <= now)
            continue;
        i->at = now;
        heap_moved(&q->due, &i->due);
    }
    due_next(q);
}

void workqueue_done(struct workqueue *q, struct str key, bool ok)
{
    struct item *i = map_get(&q->items, key);
    ASSERT(i && i->busy);
    int64_t now = clock_mono(), took = q->working == i ? now - q->began : i->took;
    if (q->working == i)
        q->working = NULL;
    i->busy = false;
    i->rest = now + MIN(took * q->o.rest, REST_MOST);
    q->busy--;
    if (i->dirty && ok && i->rest > now) { /* it was added while it was worked on */
        i->dirty = false;
        wish_at(q, i, i->rest);
        due_next(q);
    } else if (i->dirty) {
        line_up(q, i);
    }
    if (ok) {
        i->failures = 0;
        item_settle(q, i);
    } else {
        int64_t delay = q->o.backoff_ns;
        for (int n = 0; n < i->failures && delay < q->o.backoff_max_ns; n++)
            delay *= 2;
        i->failures++;
        workqueue_add_after(q, key, MIN(delay, q->o.backoff_max_ns));
    }
    pump_later(q);
}

bool workqueue_turn_spent(const struct workqueue *q)
{
    return loop_turn_spent(q->o.loop);
}

int workqueue_failures(const struct workqueue *q, struct str key)
{
    struct item *i = map_get(&q->items, key);
    return i ? i->failures : 0;
}

size_t workqueue_len(const struct workqueue *q)
{
    return q->waiting;
}
