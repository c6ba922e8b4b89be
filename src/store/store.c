/* store.c - the store proper: order, index, memory. Where bytes go is the engine's.
 *
 * A write (store_write) is compared and gets its revision at once, in the caller's turn; it is not on disk then and
 * nobody can see it. What a compare looks at is therefore not the index of what is visible but the head of the key:
 * the newest change that is queued for it, where there is one. So writers of one key follow each other without
 * waiting for the disk, and who loses is told what it lost against - when that is visible, so that reading again
 * helps.
 *
 * Group commit. There is at most one batch under way (`batch`, its writes in `flying`). While the disk works on it,
 * writes gather in `queue`. When it is done (store_committed) its changes become visible, subscribers are told and
 * writers answered, in this order and in one turn; the next turn makes a batch of everything that has gathered, at
 * most BATCH_MAX changes. So one fsync serves as many writes as came during the one before: nobody waits on purpose,
 * and the busier it is the larger the batches are. A lone write waits for one fsync, one that comes during another's
 * for what is left of that and for its own.
 *
 *   store_write -> queue ---start_batch---> flying -> engine.commit (another thread, fsync)
 *                    ^                        |
 *                    |                        +-- ok: op_apply each (index, history), publish (tell, answer)
 *                    |                        +-- the disk failed: all of them fail; a single value was bad: it alone
 *                    +--- recheck: whoever rested on a change that failed fails too, the others go on
 *
 * Lazy writes (leases, events) are worth no fsync of their own. One with nothing invisible before it becomes visible
 * at once, and its change waits in `lazy` for the next batch, which takes it along in front; at most lazy_ns, unless
 * it is patient. What has been seen is never taken back: if that batch fails, its lazy changes go into the next one.
 *
 * Revisions are never given twice. Before a crash some may have been seen (lazy ones) or given and not logged; so a
 * batch reserves revisions up to a ceiling, in the log, ahead of use, and the next life begins above it. Only up to
 * the ceiling in the log may a change be shown before it is logged.
 *
 * When the disk fails: the first failure fails its batch, and another is tried. After the second in a row durable
 * writes are refused at once, without a revision, as what is reserved must last for lazy ones; one write, or an empty
 * batch, is tried at growing gaps (`retry`), and the first that works ends it.
 *
 * What runs callbacks runs from timers and engine answers only, so never inside a call into the store.
 */
#include "store/store_int.h"

enum { BATCH_MAX = 256 }; /* changes: what one turn of the loop can make visible, tell and answer */
/* What is reserved at once. While the disk fails nothing more can be, so lazy writes and the tries live on what is
 * left, at least half of it. */
enum { CEILING_STEP = 65536 };
#define RETRY_FIRST (100 * NS_PER_MS)
#define RETRY_MOST  NS_PER_S
/* Lives that ended badly within keep_ns: beyond it, history before the newer half of them is given up. */
enum { GAPS_MAX = 128 };

/* A key with changes that are not visible yet. */
struct head {
    struct store_entry *entry; /* what it will be; NULL: deleted. A reference */
    size_t pending;
};

static struct store_entry *entry_held(struct store_entry *e)
{
    if (e)
        store_entry_ref(e);
    return e;
}

void change_unref(struct store_change *c)
{
    if (--c->refs)
        return;
    store_entry_unref(c->ev.was);
    store_entry_unref(c->ev.now);
    strbuf_fini(&c->value);
    mem_free(c);
}

struct str store_event_key(const struct store_event *e)
{
    return store_entry_key(e->now ? e->now : e->was);
}

bool store_bytes(const struct seal *seal, const struct store_type *type, const struct store_change *c,
                 struct strbuf *plain, struct strbuf *out, struct err *err)
{
    struct str value = strbuf_str(&c->value);
    if (!value.n) {
        strbuf_reset(plain);
        type->encode(c->ev.now->ref, plain);
        value = strbuf_str(plain);
    }
    if (plain->over || !value.n)
        return err_set(err, plain->over ? E_TOO_LARGE : E_INTERNAL, "the value of " STR_FMT " %s", STR_ARG(c->key),
                       plain->over ? "is too large to be stored" : "has no bytes");
    return seal_close(seal, c->key, value, out, err);
}

/* --- compare, against what the queue will leave --- */

static struct store_entry *head_of(const struct store *s, struct str key, bool *pending)
{
    struct head *h = map_get(&s->heads, key);
    *pending = h != NULL;
    return h ? h->entry : pmap_get(&s->index, key);
}

static bool write_compare(const struct store_write *w, const struct store_entry *have, struct err *err)
{
    if (w->expect == STORE_ABSENT && have)
        return err_set(err, E_ALREADY_EXISTS, STR_FMT " already exists", STR_ARG(w->key));
    if (!have && (w->expect > 0 || (!w->own_ref && w->expect != STORE_ABSENT)))
        return err_set(err, E_NOT_FOUND, STR_FMT " does not exist", STR_ARG(w->key));
    if (!have && !w->own_ref)
        return err_set(err, E_NOT_FOUND, STR_FMT " does not exist", STR_ARG(w->key));
    if (w->expect > 0 && have->mod_rev != w->expect)
        return err_set(err, E_CONFLICT, STR_FMT " is at revision %lld, not at %lld", STR_ARG(w->key),
                       (long long)have->mod_rev, (long long)w->expect);
    return true;
}

static bool op_compare(const struct store *s, struct store_op *op, const bool *is_put, bool *rests_on_pending)
{
    for (size_t i = 0; i < op->n; i++) {
        struct store_write w = op->writes[i];
        bool pending;
        const struct store_entry *have = head_of(s, w.key, &pending);
        /* own_ref has moved into the change by the time a queued op is looked at again */
        w.own_ref = is_put ? (is_put[i] ? &w : NULL) : w.own_ref;
        if (!write_compare(&w, have, &op->err)) {
            *rests_on_pending = pending;
            return false;
        }
    }
    return true;
}

static void head_set(struct store *s, struct str key, struct store_entry *entry)
{
    struct head *h = map_get(&s->heads, key);
    if (!h) {
        h = NEW(struct head);
        (void)map_put(&s->heads, key, h);
    }
    store_entry_unref(h->entry);
    h->entry = entry_held(entry);
    h->pending++;
}

static void head_free(struct head *h)
{
    store_entry_unref(h->entry);
    mem_free(h);
}

static void head_done(struct store *s, struct str key)
{
    struct head *h = map_get(&s->heads, key);
    ASSERT(h && h->pending);
    if (--h->pending)
        return;
    (void)map_del(&s->heads, key);
    head_free(h);
}

/* --- queueing --- */

static void kick_soon(struct store *s)
{
    if (!timer_is_set(&s->kick))
        timer_set(&s->kick, 0);
}

static bool op_check(const struct store *s, struct store_op *op)
{
    if (s->closing)
        return err_set(&op->err, E_CANCELLED, "the store is being closed");
    if (s->failures > 1 && op->class == STORE_DURABLE) {
        op->err = s->failing;
        return false;
    }
    if (op->n == 0 || op->n > STORE_TXN_MAX)
        return err_set(&op->err, E_BAD_REQUEST, "%zu writes in one transaction: 1 to %d are possible", op->n,
                       STORE_TXN_MAX);
    if (s->nqueued >= STORE_QUEUE_MAX || s->queued_bytes >= STORE_QUEUE_BYTES)
        return err_set(&op->err, E_TOO_MANY_REQUESTS, "%zu writes wait for the disk: try again later", s->nqueued);
    for (size_t i = 0; i < op->n; i++) {
        struct store_write *w = &op->writes[i];
        if (w->key.n == 0 || w->key.n > STORE_KEY_MAX)
            return err_set(&op->err, E_BAD_REQUEST, "a key has %zu bytes: 1 to %d are possible", w->key.n,
                           STORE_KEY_MAX);
        for (size_t k = 0; k < i; k++)
            if (str_eq(op->writes[k].key, w->key))
                return err_set(&op->err, E_BAD_REQUEST, STR_FMT " is written twice in one transaction",
                               STR_ARG(w->key));
        /* a lazy value is answered before it is logged, so what is wrong with it must show now */
        if (op->class != STORE_DURABLE && s->engine->ops->logs && w->own_ref && !w->value.n) {
            w->value = STRBUF(STORE_VALUE_MAX);
            s->type->encode(w->own_ref, &w->value);
            if (!w->value.n)
                return err_set(&op->err, E_INTERNAL, "the value of " STR_FMT " has no bytes", STR_ARG(w->key));
        }
        if (w->value.over || w->value.n > STORE_VALUE_MAX)
            return err_set(&op->err, E_TOO_LARGE,
                           "the value of " STR_FMT " is larger than the %d bytes that are stored", STR_ARG(w->key),
                           STORE_VALUE_MAX);
    }
    return true;
}

static void op_drop(struct store *s, struct store_op *op) /* what it owns and the store took over */
{
    for (size_t i = 0; i < op->nchanges; i++)
        change_unref(op->changes[i]);
    mem_free(op->changes);
    op->changes = NULL;
    op->nchanges = 0;
    for (size_t i = 0; i < op->n; i++) {
        if (op->writes[i].own_ref)
            s->type->unref(op->writes[i].own_ref);
        op->writes[i].own_ref = NULL;
        strbuf_fini(&op->writes[i].value);
        op->writes[i].value = STRBUF(0);
    }
}

static void op_link(struct store *s, struct store_op *op) /* the changes of an op that has passed: was, heads */
{
    for (size_t i = 0; i < op->nchanges; i++) {
        struct store_change *c = op->changes[i];
        bool pending;
        struct store_entry *was = entry_held(head_of(s, c->key, &pending));
        store_entry_unref(c->ev.was);
        c->ev.was = was;
        c->key = store_event_key(&c->ev);
        if (c->ev.now)
            c->ev.now->create_rev = was ? was->create_rev : c->ev.rev;
        head_set(s, c->key, c->ev.now);
    }
}

static void op_give(struct store *s, struct store_op *op) /* revisions and changes */
{
    op->changes = mem_alloc(op->n * sizeof *op->changes);
    for (size_t i = 0; i < op->n; i++) {
        struct store_write *w = &op->writes[i];
        struct store_change *c = NEW(struct store_change);
        bool pending;
        struct store_entry *was = head_of(s, w->key, &pending);
        c->refs = 1;
        c->ev.rev = w->rev = op->rev = ++s->given;
        c->ev.was = entry_held(was);
        if (w->own_ref && !w->value.n && s->type->size)
            op->bytes += s->type->size(w->own_ref);
        if (w->own_ref)
            c->ev.now = store_entry_new(s->type, w->key, TAKE(w->own_ref), c->ev.rev, c->ev.rev);
        c->key = store_event_key(&c->ev);
        c->value = w->value;
        w->value = STRBUF(0);
        op->bytes += c->value.n;
        op->changes[op->nchanges++] = c;
    }
    op_link(s, op);
}

void store_write(struct store *s, struct store_op *op)
{
    op->ok = false;
    op->err = ERR;
    op->rev = 0;
    op->changes = NULL;
    op->nchanges = op->bytes = 0;
    bool rests_on_pending = false;
    bool ok = op_check(s, op) && op_compare(s, op, NULL, &rests_on_pending);
    if (ok) {
        op_give(s, op);
    } else {
        op_drop(s, op);
        if (op->err.kind == E_UNAVAILABLE)
            s->stats.failed++;
        else
            s->stats.refused++;
    }
    if (ok || rests_on_pending) {
        /* who lost against a write that is not visible yet is told when it is, so that reading again helps */
        list_add_tail(&s->queue, &op->node);
        s->nqueued++;
        s->queued_bytes += op->bytes;
    } else {
        list_add_tail(&s->answered, &op->node);
    }
    kick_soon(s);
}

/* --- becoming visible --- */

static void op_apply(struct store *s, struct store_op *op)
{
    for (size_t i = 0; i < op->nchanges; i++) {
        struct store_change *c = op->changes[i];
        struct store_entry *old = c->ev.now ? pmap_put(&s->index, entry_held(c->ev.now))
                                            : pmap_del(&s->index, c->key);
        ASSERT(old == c->ev.was);
        store_entry_unref(old);
        s->rev = c->ev.rev;
        head_done(s, c->key);
        history_add(s, c);
    }
    s->stats.writes += op->nchanges;
    s->nqueued--;
    s->queued_bytes -= op->bytes;
    op->ok = op->nchanges > 0;
}

static void op_finish(struct store *s, struct list *ops)
{
    for (struct store_op *op; (op = list_first(ops, struct store_op, node));) {
        list_del(&op->node);
        if (!op->ok)
            op->rev = 0;
        op_drop(s, op);
        op->done(op); /* may free it */
    }
}

/* Ops whose changes are visible now: told, then answered. */
static void ops_publish(struct store *s, struct list *ops)
{
    ARRAY(struct store_change *) changes = {0};
    list_each (op, ops, struct store_op, node)
        for (size_t i = 0; i < op->nchanges; i++)
            array_push(&changes, op->changes[i]);
    if (changes.n) {
        compaction_arm(s);
        history_tell(s, changes.p, changes.n);
    }
    array_fini(&changes);
    op_finish(s, ops);
}

static bool visible_at_once(const struct store *s, const struct store_op *op)
{
    if (!op->nchanges)
        return true; /* refused: what it lost against is visible */
    if (op->class == STORE_DURABLE)
        return false;
    return !s->engine->ops->logs || (op->rev <= s->ceiling && s->lazy.n + op->nchanges <= STORE_LAZY_MAX);
}

static void publish_lazy(struct store *s)
{
    struct list ready = LIST_HEAD(ready);
    if (!list_empty(&s->flying))
        return;
    size_t n = 0;
    bool hurry = false;
    for (struct store_op *op; (op = list_first(&s->queue, struct store_op, node)) && visible_at_once(s, op);) {
        if (n++ >= BATCH_MAX) {
            kick_soon(s);
            break;
        }
        list_del(&op->node);
        list_add_tail(&ready, &op->node);
        op_apply(s, op);
        hurry |= op->nchanges && op->class != STORE_PATIENT;
        for (size_t i = 0; i < op->nchanges && s->engine->ops->logs; i++) {
            op->changes[i]->refs++;
            op->changes[i]->unlogged = true;
            array_push(&s->lazy, op->changes[i]);
        }
    }
    ops_publish(s, &ready);
    hurry |= s->lazy.n >= STORE_PATIENT_MAX;
    if (s->lazy.n && hurry && !timer_is_set(&s->lazy_timer) && !s->lazy_due && !s->closing)
        timer_set(&s->lazy_timer, s->lazy_ns);
}

static void start_batch(struct store *s)
{
    bool probe = s->retry_due && !s->closing;
    if (s->batch || (list_empty(&s->queue) && !(s->lazy_due && s->lazy.n) && !probe))
        return;
    if (timer_is_set(&s->retry) && s->failures > 1 && !s->closing)
        return;
    timer_stop(&s->retry);
    s->retry_due = false;
    struct batch *b = s->batch = NEW(struct batch);
    ARRAY(struct store_change *) changes = {0};
    array_each (c, &s->lazy)
        array_push(&changes, *c);
    b->nlazy = changes.n;
    array_clear(&s->lazy);
    timer_stop(&s->lazy_timer);
    s->lazy_due = false;
    while (!list_empty(&s->queue) && changes.n - b->nlazy < BATCH_MAX) {
        struct store_op *op = list_first(&s->queue, struct store_op, node);
        list_del(&op->node);
        list_add_tail(&s->flying, &op->node);
        for (size_t i = 0; i < op->nchanges; i++)
            array_push(&changes, op->changes[i]);
        if (s->failures) /* one that shows whether the disk works again; lazy ones behind it need not fail with it */
            break;
    }
    b->changes = changes.p;
    b->n = changes.n;
    b->bad = -1;
    int64_t top = b->n ? MAX(b->changes[b->n - 1]->ev.rev, s->rev) : s->rev;
    if (s->engine->ops->logs && (top + CEILING_STEP / 2 > s->ceiling || !b->n))
        b->ceiling = MAX(top + CEILING_STEP, s->ceiling); /* a batch of nothing is written too */
    s->engine->ops->commit(s->engine, b);
}

static void store_run(struct store *s)
{
    struct list answered = LIST_HEAD(answered);
    while (!list_empty(&s->answered)) {
        struct list *n = s->answered.next;
        list_del(n);
        list_add_tail(&answered, n);
    }
    op_finish(s, &answered);
    publish_lazy(s);
    start_batch(s);
}

static void on_kick(struct timer *t)
{
    store_run(container_of(t, struct store, kick));
}

static void on_lazy(struct timer *t)
{
    struct store *s = container_of(t, struct store, lazy_timer);
    s->lazy_due = true;
    store_run(s);
}

static void on_retry(struct timer *t)
{
    struct store *s = container_of(t, struct store, retry);
    s->retry_due = true;
    store_run(s);
}

/* After each batch: does the disk work? */
static void disk_seen(struct store *s, const struct batch *b)
{
    bool was = s->failing.kind != E_NONE;
    if (!b->ok && b->bad >= 0)
        return;
    s->failures = b->ok ? 0 : s->failures + 1;
    if (b->ok && !b->tight)
        s->failing = ERR;
    else if (!b->ok)
        s->failing = b->err;
    bool is = s->failing.kind != E_NONE;
    s->retry_ns = is && was ? MIN(s->retry_ns * 2, RETRY_MOST) : RETRY_FIRST;
    s->retry_due = false;
    timer_stop(&s->retry);
    if (is && !s->closing)
        timer_set(&s->retry, s->retry_ns);
    if (is != was && s->disk)
        s->disk(s->disk_arg, store_failing(s));
}

static size_t bucket_of(uint64_t v, uint64_t unit)
{
    size_t i = 0;
    while (i < STORE_BUCKETS - 1 && v > unit << i)
        i++;
    return i;
}

static void batch_count(struct store *s, const struct batch *b)
{
    struct store_stats *st = &s->stats;
    st->batches++;
    st->batches_failed += !b->ok;
    st->logged_bytes += b->bytes;
    st->batch_size[bucket_of(b->n, 1)]++;
    st->batch_size_sum += b->n;
    st->commit_ns[bucket_of((uint64_t)b->ns, 64000)]++;
    st->commit_ns_sum += (uint64_t)b->ns;
}

static void batch_free(struct batch *b)
{
    mem_free(b->changes);
    mem_free(b);
}

static void heads_clear(struct store *s)
{
    map_each (it, &s->heads)
        head_free(it->value);
    map_fini(&s->heads);
    s->heads = MAP;
}

/* The ops of `queue` once more against what is visible, after those before them have failed. */
static void ops_recheck(struct store *s, struct list *failed, const struct err *why)
{
    struct list turn = LIST_HEAD(turn);
    while (!list_empty(&s->queue)) {
        struct list *n = s->queue.next;
        list_del(n);
        list_add_tail(&turn, n);
    }
    heads_clear(s);
    for (struct store_op *op; (op = list_first(&turn, struct store_op, node));) {
        bool is_put[STORE_TXN_MAX] = {0}, pending;
        for (size_t i = 0; i < op->nchanges; i++)
            is_put[i] = op->changes[i]->ev.now != NULL;
        list_del(&op->node);
        bool hopeless = s->failures > 1 && op->class == STORE_DURABLE;
        if (op->nchanges && !hopeless && op_compare(s, op, is_put, &pending)) {
            op_link(s, op);
            list_add_tail(&s->queue, &op->node);
            continue;
        }
        op->err = *why;
        list_add_tail(failed, &op->node);
    }
}

static bool op_has(const struct store_op *op, const struct store_change *c)
{
    for (size_t i = 0; i < op->nchanges; i++)
        if (op->changes[i] == c)
            return true;
    return false;
}

static void batch_failed(struct store *s, struct batch *b)
{
    struct list failed = LIST_HEAD(failed);
    const struct store_change *bad = b->bad >= (ptrdiff_t)b->nlazy ? b->changes[b->bad] : NULL;
    /* what is visible cannot fail: it waits for the disk to work again, before what came meanwhile */
    array_reserve(&s->lazy, b->nlazy);
    if (s->lazy.n)
        memmove(s->lazy.p + b->nlazy, s->lazy.p, s->lazy.n * sizeof *s->lazy.p);
    if (b->nlazy)
        memcpy(s->lazy.p, b->changes, b->nlazy * sizeof *s->lazy.p);
    s->lazy.n += b->nlazy;
    while (!list_empty(&s->flying)) { /* from behind, so that those that go on keep their order */
        struct store_op *op = container_of(s->flying.prev, struct store_op, node);
        list_del(&op->node);
        if (bad && !op_has(op, bad)) {
            list_add(&s->queue, &op->node);
        } else {
            op->err = b->err;
            list_add(&failed, &op->node);
        }
    }
    ops_recheck(s, &failed, &b->err);
    list_each (op, &failed, struct store_op, node) {
        s->nqueued--;
        s->queued_bytes -= op->bytes;
        s->stats.failed++;
    }
    if (s->lazy.n && !s->closing)
        timer_set(&s->lazy_timer, s->lazy_ns);
    op_finish(s, &failed);
}

void store_committed(struct store *s, struct batch *b)
{
    ASSERT(s->batch == b);
    s->batch = NULL;
    batch_count(s, b);
    disk_seen(s, b);
    if (!b->ok) {
        batch_failed(s, b);
    } else {
        struct list done = LIST_HEAD(done);
        if (b->ceiling)
            s->ceiling = b->ceiling;
        for (size_t i = 0; i < b->nlazy; i++) {
            b->changes[i]->unlogged = false;
            strbuf_fini(&b->changes[i]->value);
            change_unref(b->changes[i]);
        }
        for (struct store_op *op; (op = list_first(&s->flying, struct store_op, node));) {
            list_del(&op->node);
            list_add_tail(&done, &op->node);
            for (size_t i = 0; i < op->nchanges; i++) {
                strbuf_fini(&op->changes[i]->value);
                op->changes[i]->value = STRBUF(0);
            }
            op_apply(s, op);
        }
        ops_publish(s, &done);
        compaction_bound(s);
    }
    batch_free(b);
    if (!list_empty(&s->queue) || !list_empty(&s->answered) || (s->lazy_due && s->lazy.n))
        kick_soon(s);
}

const struct err *store_failing(const struct store *s)
{
    return s->failing.kind != E_NONE ? &s->failing : NULL;
}

/* --- opening and closing --- */

void *store_value(struct store *s, struct str key, struct str value, int64_t create_rev, int64_t mod_rev,
                  struct err *err)
{
    return s->type->load(s->load_arg ? s->load_arg : s->type->arg, key, value, create_rev, mod_rev, err);
}

bool store_half_open(struct store *s, bool *again, struct err *err)
{
    *again = s->later > 0;
    if (!s->known)
        return true;
    AUTO(store_snapshot_fini) struct store_snapshot have = {pmap_snapshot(&s->index), s->rev};
    return TAKE(s->known)(s->load_arg, &have, err);
}

bool store_load(struct store *s, struct str key, struct str stored, int64_t create_rev, int64_t mod_rev,
                struct err *err)
{
    AUTO(strbuf_fini) struct strbuf plain = STRBUF(STORE_VALUE_MAX);
    struct store_entry *have = s->later && !s->known ? pmap_get(&s->index, key) : NULL;
    if (have && have->mod_rev == mod_rev) /* the second time, and it was known the first */
        return true;
    if (!seal_open(&s->seal, key, stored, &plain, err))
        return false;
    struct err why = ERR;
    void *ref = store_value(s, key, strbuf_str(&plain), create_rev, mod_rev, &why);
    if (!ref && s->known && why.kind == E_NOT_FOUND) {
        s->later++;
        return true;
    }
    if (!ref)
        *err = why;
    if (!ref)
        return err_wrap(err, "the stored value of " STR_FMT, STR_ARG(key));
    struct store_entry *old = pmap_put(&s->index, store_entry_new(s->type, key, ref, create_rev, mod_rev));
    if (old) {
        store_entry_unref(old);
        return err_set(err, E_IO, "the log is damaged: " STR_FMT " is in it twice", STR_ARG(key));
    }
    return true;
}

static void store_free(struct store *s)
{
    history_fini(s);
    heads_clear(s);
    pmap_fini(&s->index);
    array_fini(&s->gaps);
    array_fini(&s->lazy);
    array_fini(&s->marks);
    seal_fini(&s->seal);
    mem_free(s);
}

struct store *store_open(struct loop *l, const struct store_options *o, struct err *err)
{
    struct store *s = NEW(struct store);
    s->loop = l;
    s->type = o->type;
    s->load_arg = o->load_arg;
    s->known = o->known;
    s->heads = MAP;
    s->keep_ns = o->keep_ns ? o->keep_ns : 300 * NS_PER_S;
    s->lazy_ns = o->lazy_ns ? o->lazy_ns : NS_PER_S;
    s->log_most = o->log_bytes ? o->log_bytes : 1 << 30;
    s->ring_max = o->history_changes ? o->history_changes : o->path ? 4096 : 65536;
    s->ring_bytes_max = o->history_bytes ? o->history_bytes : o->path ? 4 << 20 : 64 << 20;
    pmap_init(&s->index, &store_entries);
    list_init(&s->queue);
    list_init(&s->flying);
    list_init(&s->answered);
    timer_init(&s->kick, l, on_kick);
    timer_init(&s->lazy_timer, l, on_lazy);
    timer_init(&s->retry, l, on_retry);
    s->disk = o->disk;
    s->disk_arg = o->disk_arg;
    timer_init(&s->compaction, l, compaction_came);
    history_init(s);
    if (seal_init(&s->seal, o, err))
        s->engine = o->path ? sqlite_open(s, o->path, err) : memory_open(s);
    bool again;
    if (s->engine && !store_half_open(s, &again, err)) /* of memory, which has nothing to load */
        s->engine->ops->close(TAKE(s->engine), 0);
    if (!s->engine) {
        store_free(s);
        return NULL;
    }
    s->given = s->mem_floor = s->rev;
    if (s->gaps.n > GAPS_MAX)
        store_compact(s, s->gaps.p[s->gaps.n - GAPS_MAX / 2].upto);
    if (s->floor < s->rev)
        compaction_arm(s);
    return s;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    ASSERT(list_empty(&s->subscribers));
    s->closing = true;
    timer_stop(&s->compaction);
    s->engine->ops->drain(s->engine);
    uint64_t failed = s->stats.batches_failed;
    do {
        s->lazy_due = true;
        store_run(s);
        s->engine->ops->drain(s->engine);
    } while (!list_empty(&s->queue) || !list_empty(&s->answered) || (s->lazy.n && failed == s->stats.batches_failed));
    int64_t given = s->lazy.n ? 0 : s->given;
    array_each (c, &s->lazy)
        change_unref(*c);
    array_clear(&s->lazy);
    timer_stop(&s->kick);
    timer_stop(&s->lazy_timer);
    timer_stop(&s->retry);
    s->engine->ops->close(s->engine, given);
    store_free(s);
}

void store_stats(const struct store *s, struct store_stats *out)
{
    *out = s->stats;
    out->keys = pmap_len(&s->index);
    out->history = s->ring_n;
    out->history_bytes = s->ring_bytes;
    out->queued = s->nqueued;
    out->lazy = s->lazy.n + (s->batch ? s->batch->nlazy : 0);
    out->rev = s->rev;
    out->floor = s->floor;
    s->engine->ops->stats(s->engine, out);
}
