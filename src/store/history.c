/* What happened since a revision: the changes in memory, subscribers, readers of history and of old revisions.
 * Whoever is called back may end itself or others: nothing of it is touched after its callback began. */
#include "store/store_int.h"

enum { SCAN_MAX = 4096 }; /* changes looked at in one turn for one reader */

static struct store_change *ring_at(const struct store *s, size_t i)
{
    return s->ring[(s->ring_head + i) % s->ring_cap];
}

void history_trim(struct store *s)
{
    while (s->ring_n) {
        struct store_change *c = ring_at(s, 0);
        bool over = s->ring_n > s->ring_max || s->ring_bytes > s->ring_bytes_max;
        if (c->unlogged || (!over && c->ev.rev > s->floor))
            break;
        s->mem_floor = c->ev.rev;
        s->ring_bytes -= c->weight;
        s->ring_head = (s->ring_head + 1) % s->ring_cap;
        s->ring_n--;
        change_unref(c);
    }
    if (!s->engine->ops->logs && s->mem_floor > s->floor)
        s->floor = s->mem_floor;
    if (!s->ring_n) {
        mem_free(s->ring);
        s->ring = NULL;
        s->ring_cap = 0;
    }
}

void history_add(struct store *s, struct store_change *c)
{
    if (s->ring_n == s->ring_cap) {
        size_t cap = MAX(s->ring_cap * 2, 64);
        struct store_change **ring = mem_alloc(cap * sizeof *ring);
        for (size_t i = 0; i < s->ring_n; i++)
            ring[i] = ring_at(s, i);
        mem_free(s->ring);
        s->ring = ring;
        s->ring_cap = cap;
        s->ring_head = 0;
    }
    size_t was = !c->ev.was ? 0 : s->type->size ? s->type->size(c->ev.was->ref) : 1024;
    c->weight = sizeof *c + 2 * sizeof *c->ev.now + c->key.n + was;
    c->refs++;
    s->ring[(s->ring_head + s->ring_n++) % s->ring_cap] = c;
    s->ring_bytes += c->weight;
    history_trim(s);
}

static size_t ring_after(const struct store *s, int64_t rev) /* index of the first change above rev */
{
    size_t from = 0, to = s->ring_n;
    while (from < to) {
        size_t mid = (from + to) / 2;
        if (ring_at(s, mid)->ev.rev <= rev)
            from = mid + 1;
        else
            to = mid;
    }
    return from;
}

static void list_move_all(struct list *from, struct list *to)
{
    while (!list_empty(from)) {
        struct list *n = from->next;
        list_del(n);
        list_add_tail(to, n);
    }
}

/* --- events as they happen --- */

void store_subscribe(struct store *s, struct store_subscriber *sub)
{
    list_add_tail(&s->subscribers, &sub->node);
}

void store_unsubscribe(struct store_subscriber *sub)
{
    if (sub->node.next)
        list_del(&sub->node);
}

void history_tell(struct store *s, struct store_change *const *changes, size_t n)
{
    struct list turn = LIST_HEAD(turn);
    AUTO_FREE struct store_event *events = mem_alloc(n * sizeof *events);
    for (size_t i = 0; i < n; i++)
        events[i] = changes[i]->ev;
    list_move_all(&s->subscribers, &turn);
    for (struct store_subscriber *sub; (sub = list_first(&turn, struct store_subscriber, node));) {
        list_del(&sub->node);
        list_add_tail(&s->subscribers, &sub->node);
        sub->fn(sub, events, n);
    }
}

/* --- history --- */

static void pump_soon(struct store *s)
{
    if (!timer_is_set(&s->pump))
        timer_set(&s->pump, 0);
}

void store_history(struct store *s, struct store_history *h)
{
    h->store = s;
    h->work = NULL;
    h->at = h->after;
    h->ok = false;
    h->err = ERR;
    if (h->upto == 0)
        h->upto = s->rev;
    if (h->upto > s->rev)
        (void)err_set(&h->err, E_BAD_REQUEST, "revision %lld is not there yet: the newest is %lld",
                      (long long)h->upto, (long long)s->rev);
    else if (store_resumable(s, h->after, &h->err))
        h->err = ERR; /* else it is told in the next turn */
    list_add_tail(&s->histories, &h->node);
    pump_soon(s);
}

void store_history_cancel(struct store_history *h)
{
    if (h->work)
        h->work->h = NULL;
    h->work = NULL;
    if (h->node.next)
        list_del(&h->node);
}

static void history_end(struct store_history *h, bool ok)
{
    list_del(&h->node);
    h->ok = ok;
    h->done(h);
}

static void from_ring(struct store *s, struct store_history *h)
{
    struct store_event events[HISTORY_ROWS];
    struct store_change *held[HISTORY_ROWS];
    size_t n = 0, i = ring_after(s, h->at), end = i + SCAN_MAX;
    for (; i < s->ring_n && i < end && n < HISTORY_ROWS; i++) {
        struct store_change *c = ring_at(s, i);
        if (c->ev.rev > h->upto)
            break;
        h->at = c->ev.rev;
        if (!str_starts(c->key, h->prefix))
            continue;
        held[n] = c;
        events[n++] = c->ev;
        c->refs++;
    }
    if (i == s->ring_n || ring_at(s, i)->ev.rev > h->upto)
        h->at = h->upto;
    pump_soon(s);
    if (n)
        h->fn(h, events, n);
    for (size_t k = 0; k < n; k++)
        change_unref(held[k]);
}

static void from_log(struct store *s, struct store_history *h)
{
    struct history_work *w = NEW(struct history_work);
    w->h = h;
    w->store = s;
    w->after = h->at;
    w->upto = MIN(h->upto, s->mem_floor);
    w->prefix = str_dupz(h->prefix);
    list_del(&h->node); /* comes back with the answer */
    h->work = w;
    s->engine->ops->history(s->engine, w);
}

static void on_pump(struct timer *t)
{
    struct store *s = container_of(t, struct store, pump);
    struct list turn = LIST_HEAD(turn);
    list_move_all(&s->histories, &turn);
    for (struct store_history *h; (h = list_first(&turn, struct store_history, node));) {
        list_del(&h->node);
        list_add_tail(&s->histories, &h->node);
        if (s->closing && h->err.kind == E_NONE)
            (void)err_set(&h->err, E_CANCELLED, "the store is being closed");
        if (h->err.kind != E_NONE)
            history_end(h, false);
        else if (h->at >= h->upto)
            history_end(h, true);
        else if (h->at < s->floor) {
            (void)err_set(&h->err, E_EXPIRED, "revision %lld has been compacted: history begins at %lld",
                          (long long)h->at, (long long)s->floor);
            history_end(h, false);
        } else if (h->at >= s->mem_floor)
            from_ring(s, h);
        else
            from_log(s, h);
    }
}

static struct store_entry *row_entry(struct store *s, struct str key, struct str value, int64_t create_rev,
                                     int64_t mod_rev, struct err *err)
{
    struct store_entry *live = pmap_get(&s->index, key);
    if (live && live->mod_rev == mod_rev) {
        store_entry_ref(live);
        return live;
    }
    void *ref = store_value(s, key, value, create_rev, mod_rev, err);
    if (ref)
        return store_entry_new(s->type, key, ref, create_rev, mod_rev);
    (void)err_wrap(err, "the stored value of " STR_FMT, STR_ARG(key));
    return NULL;
}

static bool row_event(struct store *s, const struct history_row *r, struct store_event *e, struct err *err)
{
    e->rev = r->rev;
    if (r->was_rev && !(e->was = row_entry(s, r->key, r->was, r->was_create_rev, r->was_rev, err)))
        return false;
    return !r->now.p || (e->now = row_entry(s, r->key, r->now, r->create_rev, r->rev, err));
}

void history_arrived(struct history_work *w)
{
    struct store_history *h = w->h;
    struct store *s = w->store;
    AUTO_FREE struct store_event *events = mem_alloc((w->rows.n + 1) * sizeof *events);
    size_t n = 0;
    bool ok = w->ok;
    if (h) {
        h->work = NULL;
        for (; ok && n < w->rows.n; n++)
            ok = row_event(s, &w->rows.p[n], &events[n], &w->err);
        if (!ok)
            h->err = w->err;
        else if (h->at >= s->floor) /* else compacted meanwhile: the pump says so */
            h->at = w->reached;
        else
            ok = false;
        list_add_tail(&s->histories, &h->node);
        pump_soon(s);
        if (ok && n)
            h->fn(h, events, n);
    }
    for (size_t i = 0; i < n; i++) {
        store_entry_unref(events[i].was);
        store_entry_unref(events[i].now);
    }
    array_fini(&w->rows);
    arena_fini(&w->arena);
    mem_free(w->prefix);
    mem_free(w);
}

/* --- an old revision: what is visible now, but each key that changed since is what its first change replaced --- */

struct read_work {
    struct store_history history;
    struct store_read *read;
    struct store_snapshot snap;
    struct map put_back; /* keys that are as they were */
};

static void read_free(struct read_work *w)
{
    map_fini(&w->put_back);
    store_snapshot_fini(&w->snap);
    mem_free(w);
}

static void read_events(struct store_history *h, const struct store_event *events, size_t n)
{
    struct read_work *w = container_of(h, struct read_work, history);
    for (size_t i = 0; i < n; i++) {
        struct str key = store_event_key(&events[i]);
        struct store_entry *was = events[i].was;
        if (map_put(&w->put_back, key, w))
            continue;
        if (was)
            store_entry_ref(was);
        store_entry_unref(was ? pmap_put(&w->snap.map, was) : pmap_del(&w->snap.map, key));
    }
}

static void read_done(struct store_history *h)
{
    struct read_work *w = container_of(h, struct read_work, history);
    struct store_read *r = w->read;
    w->snap.rev = r->rev;
    r->ok = h->ok;
    r->err = h->err;
    if (r->ok) {
        r->snap = w->snap;
        w->snap = (struct store_snapshot){0};
    }
    read_free(w);
    r->done(r);
}

void store_read_at(struct store *s, struct store_read *r)
{
    struct read_work *w = NEW(struct read_work);
    r->ok = false;
    r->err = ERR;
    r->snap = (struct store_snapshot){0};
    w->read = r;
    w->snap = store_snapshot(s);
    w->history = (struct store_history){
        .after = r->rev, .upto = s->rev, .prefix = r->prefix, .fn = read_events, .done = read_done};
    store_history(s, &w->history);
}

/* --- */

void history_init(struct store *s)
{
    list_init(&s->subscribers);
    list_init(&s->histories);
    timer_init(&s->pump, s->loop, on_pump);
}

void history_fini(struct store *s)
{
    timer_stop(&s->pump);
    s->closing = true;
    if (!list_empty(&s->histories))
        on_pump(&s->pump);
    timer_stop(&s->pump);
    for (size_t i = 0; i < s->ring_n; i++)
        change_unref(ring_at(s, i));
    mem_free(s->ring);
}
