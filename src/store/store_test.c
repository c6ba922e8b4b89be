/* The contract of store.h against every engine, then what only the log has: faults, crashes, group commit, sealing.
 */
#include "base/clock.h"
#include "base/fault.h"
#include "base/test.h"
#include "store/backup.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* --- values: counted text --- */

struct text {
    atomic_int refs;
    size_t n;
    char p[];
};
static atomic_int texts;

static void *text_new(struct str s)
{
    struct text *t = mem_alloc(sizeof *t + s.n + 1);
    atomic_init(&t->refs, 1);
    t->n = s.n;
    memcpy(t->p, s.p, s.n);
    atomic_fetch_add(&texts, 1);
    return t;
}
static void text_ref(void *t)
{
    atomic_fetch_add(&((struct text *)t)->refs, 1);
}
static void text_unref(void *t)
{
    if (atomic_fetch_sub(&((struct text *)t)->refs, 1) == 1) {
        atomic_fetch_sub(&texts, 1);
        mem_free(t);
    }
}
static struct str text_of(const void *t)
{
    return (struct str){((const struct text *)t)->p, ((const struct text *)t)->n};
}
static sem_t encoding, go_on; /* for tests that need a batch to be under way */
static atomic_bool encode_waits;
static void text_encode(const void *t, struct strbuf *out)
{
    if (atomic_load(&encode_waits))
        CHECK(sem_post(&encoding) == 0 && sem_wait(&go_on) == 0);
    strbuf_add(out, text_of(t));
}
/* What is "of a kind" can be read once its kind is known. */
struct learned {
    bool known, never;
    size_t asked, times, have;
};
static void *text_load(void *arg, struct str key, struct str value, int64_t create_rev, int64_t mod_rev,
                       struct err *err)
{
    struct learned *l = arg;
    (void)key;
    CHECK(create_rev > 0 && mod_rev >= create_rev);
    if (str_eq(value, S("unloadable")))
        return err_set(err, E_INVALID, "nobody can read this"), NULL;
    if (str_starts(value, S("of a kind")) && l)
        l->asked++;
    if (str_starts(value, S("of a kind")) && l && !l->known)
        return err_set(err, E_NOT_FOUND, "nobody knows this yet"), NULL;
    return text_new(value);
}
static size_t text_size(const void *t)
{
    return sizeof(struct text) + ((const struct text *)t)->n;
}
static const struct store_type text_type = {text_ref, text_unref, text_encode, text_load, text_size, NULL};

/* --- a store and its loop --- */

struct world {
    struct loop *loop;
    struct store *s;
    struct store_options o;
    char path[200];
};

static void world_open(struct world *w)
{
    struct err err = ERR;
    w->s = store_open(w->loop, &w->o, &err);
    CHECK_OK(w->s, err);
}
static void world_close(struct world *w)
{
    store_close(w->s);
    w->s = NULL;
    loop_run(w->loop);
}
static void world_reopen(struct world *w)
{
    world_close(w);
    world_open(w);
}
static void world_reopen_subscribed(struct world *w, struct store_subscriber *sub)
{
    store_unsubscribe(sub);
    world_reopen(w);
}
static int worlds;
static struct world *world_new(bool disk)
{
    worlds++;
    struct world *w = NEW(struct world);
    struct err err = ERR;
    w->loop = loop_new(&err);
    CHECK_OK(w->loop, err);
    w->o.type = &text_type;
    if (disk) {
        static int made;
        (void)snprintf(w->path, sizeof w->path, "%s/store%d.db", test_dir(), made++);
        w->o.path = w->path;
    }
    return w;
}
static void world_free(struct world *w)
{
    if (w->s)
        world_close(w);
    loop_free(w->loop);
    mem_free(w);
    if (--worlds == 0)
        CHECK_INT(atomic_load(&texts), 0);
}
static void with_each(void (*story)(struct world *w))
{
    for (int disk = 0; disk < 2; disk++) {
        struct world *w = world_new(disk);
        world_open(w);
        story(w);
        world_free(w);
    }
}

static void on_done(struct store_op *op)
{
    op->n = 0; /* the sign for wait_for */
}
static void wait_for(struct world *w, struct store_op *op)
{
    for (int64_t end = clock_mono() + 20 * NS_PER_S; op->n && clock_mono() < end;)
        (void)loop_run_once(w->loop, NS_PER_S);
    CHECK(op->n == 0);
}

struct put { /* one write, and its op */
    struct store_write w;
    struct store_op op;
};
static void put_start(struct world *w, struct put *p, struct str key, const char *value, int64_t expect)
{
    p->w = (struct store_write){.key = key, .own_ref = value ? text_new(str_of(value)) : NULL, .expect = expect};
    enum store_class class = p->op.class;
    p->op = (struct store_op){.writes = &p->w, .n = 1, .class = class, .done = on_done};
    store_write(w->s, &p->op);
}
static int64_t put_as(struct world *w, struct str key, const char *value, int64_t expect, enum store_class class,
                      struct err *err) /* 0: refused */
{
    struct put p = {.op.class = class};
    put_start(w, &p, key, value, expect);
    wait_for(w, &p.op);
    if (!p.op.ok)
        *err = p.op.err;
    CHECK(p.op.ok == (p.op.rev > 0));
    return p.op.rev;
}
static int64_t key_put(struct world *w, const char *key, const char *value) /* NULL: delete */
{
    struct err err = ERR;
    int64_t rev = put_as(w, str_of(key), value, STORE_ANY, STORE_DURABLE, &err);
    CHECK_OK(rev, err);
    return rev;
}
static int64_t put_lazy(struct world *w, const char *key, const char *value)
{
    struct err err = ERR;
    int64_t rev = put_as(w, str_of(key), value, STORE_ANY, STORE_LAZY, &err);
    CHECK_OK(rev, err);
    return rev;
}
static enum err_kind put_refused(struct world *w, const char *key, const char *value, int64_t expect)
{
    struct err err = ERR;
    CHECK(put_as(w, str_of(key), value, expect, STORE_DURABLE, &err) == 0);
    return err.kind;
}
static struct str key_value(struct world *w, const char *key) /* "-": not there */
{
    const struct store_entry *e = store_get(w->s, str_of(key));
    return e ? text_of(e->ref) : S("-");
}

static void loop_run_for(struct world *w, int64_t ns)
{
    for (int64_t end = clock_mono() + ns; clock_mono() < end;)
        (void)loop_run_once(w->loop, MAX(end - clock_mono(), 0));
}

/* all of a snapshot as "key=value@mod key=..." */
static struct str snapshot_listing(const struct store_snapshot *snap, const char *prefix, struct strbuf *b)
{
    struct store_iter it;
    strbuf_reset(b);
    for (struct store_entry *e = store_first(&it, snap, str_of(prefix), STR_NONE); e; e = store_next(&it))
        strbuf_addf(b, "%s" STR_FMT "=" STR_FMT, b->n ? " " : "", STR_ARG(store_entry_key(e)),
                    STR_ARG(text_of(e->ref)));
    return b->n ? strbuf_str(b) : S("");
}
static void add_event(struct strbuf *b, const struct store_event *e) /* "+a=1" new, "*a=1>2" changed, "-a=2" gone */
{
    strbuf_addf(b, "%s%c" STR_FMT "=", b->n ? " " : "",
                !e->was  ? '+'
                : e->now ? '*'
                         : '-',
                STR_ARG(store_event_key(e)));
    if (e->was) {
        CHECK(e->was->mod_rev < e->rev);
        strbuf_add(b, text_of(e->was->ref));
    }
    if (e->was && e->now)
        strbuf_addc(b, '>');
    if (e->now) {
        CHECK(e->now->mod_rev == e->rev);
        CHECK(e->now->create_rev == (e->was ? e->was->create_rev : e->rev));
        strbuf_add(b, text_of(e->now->ref));
    }
}

struct seen {
    struct store_history h;
    struct store_subscriber sub;
    struct strbuf text;
    int64_t last;
    bool over;
    struct world *w;
};
static void events_see(struct seen *s, const struct store_event *events, size_t n)
{
    CHECK(n > 0);
    for (size_t i = 0; i < n; i++) {
        CHECK(events[i].rev > s->last); /* in order, none twice */
        s->last = events[i].rev;
        add_event(&s->text, &events[i]);
    }
}
static void see_history(struct store_history *h, const struct store_event *events, size_t n)
{
    events_see(container_of(h, struct seen, h), events, n);
}
static void see_end(struct store_history *h)
{
    container_of(h, struct seen, h)->over = true;
}
static void see_sub(struct store_subscriber *sub, const struct store_event *events, size_t n)
{
    struct seen *s = container_of(sub, struct seen, sub);
    if (s->w && events[n - 1].now) /* visible before it is told */
        CHECK(store_rev(s->w->s) >= events[n - 1].rev && store_get(s->w->s, store_event_key(&events[n - 1])));
    events_see(s, events, n);
}
#define SEEN ((struct seen){.text = STRBUF(1 << 20)})

static void run_until(struct world *w, const bool *over)
{
    for (int64_t end = clock_mono() + 20 * NS_PER_S; !*over && clock_mono() < end;)
        (void)loop_run_once(w->loop, NS_PER_S);
    CHECK(*over);
}
static bool history_read(struct world *w, struct seen *s, int64_t after, const char *prefix)
{
    strbuf_reset(&s->text);
    s->over = false;
    s->last = after;
    s->h = (struct store_history){.after = after, .prefix = str_of(prefix), .fn = see_history, .done = see_end};
    store_history(w->s, &s->h);
    CHECK(!s->over);
    run_until(w, &s->over);
    return s->h.ok;
}
static void check_history(struct world *w, int64_t after, const char *prefix, const char *want)
{
    struct seen s = SEEN;
    CHECK_OK(history_read(w, &s, after, prefix), s.h.err);
    CHECK_STR(s.text.n ? strbuf_str(&s.text) : S(""), str_of(want));
    strbuf_fini(&s.text);
}

static bool read_over;
static void on_read(struct store_read *r)
{
    (void)r;
    read_over = true;
}
static enum err_kind read_at(struct world *w, int64_t rev, const char *prefix, struct strbuf *out)
{
    struct store_read r = {.rev = rev, .prefix = str_of(prefix), .done = on_read};
    read_over = false;
    store_read_at(w->s, &r);
    CHECK(!read_over);
    run_until(w, &read_over);
    if (!r.ok)
        return r.err.kind;
    CHECK_INT(r.snap.rev, rev);
    (void)snapshot_listing(&r.snap, prefix, out);
    store_snapshot_fini(&r.snap);
    return E_NONE;
}
static void check_read(struct world *w, int64_t rev, const char *prefix, const char *want)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    CHECK_INT(read_at(w, rev, prefix, &b), E_NONE);
    CHECK_STR(b.n ? strbuf_str(&b) : S(""), str_of(want));
}

/* --- the contract --- */

static void compares_try(struct world *w)
{
    CHECK_INT(put_refused(w, "a", "1", 7), E_NOT_FOUND);
    CHECK_INT(put_refused(w, "a", NULL, STORE_ANY), E_NOT_FOUND);
    int64_t before = store_rev(w->s), r1 = key_put(w, "a", "1");
    CHECK(r1 > before);
    CHECK_INT(store_rev(w->s), r1);
    CHECK_INT(put_refused(w, "a", "2", STORE_ABSENT), E_ALREADY_EXISTS);
    CHECK_INT(put_refused(w, "a", "2", r1 + 1), E_CONFLICT);
    CHECK_INT(put_refused(w, "a", NULL, r1 + 1), E_CONFLICT);
    CHECK_STR(key_value(w, "a"), S("1"));
    struct err err = ERR;
    int64_t r2 = put_as(w, S("a"), "2", r1, STORE_DURABLE, &err);
    CHECK(r2 > r1);
    const struct store_entry *e = store_get(w->s, S("a"));
    CHECK(e->create_rev == r1 && e->mod_rev == r2);
    CHECK(put_as(w, S("a"), NULL, r2, STORE_DURABLE, &err) > r2);
    CHECK_STR(key_value(w, "a"), S("-"));
    CHECK(put_as(w, S("a"), "3", STORE_ABSENT, STORE_DURABLE, &err) > r2);
    CHECK(store_get(w->s, S("a"))->create_rev > r2); /* a new life */
    CHECK_INT(put_refused(w, "", "x", STORE_ANY), E_BAD_REQUEST);
    char longest[STORE_KEY_MAX + 2];
    memset(longest, 'k', sizeof longest);
    longest[STORE_KEY_MAX + 1] = 0;
    CHECK_INT(put_refused(w, longest, "x", STORE_ANY), E_BAD_REQUEST);
    longest[STORE_KEY_MAX] = 0;
    (void)key_put(w, longest, "x");
}
TEST(store_compares_before_it_puts)
{
    with_each(compares_try);
}

static void pipelines_try(struct world *w)
{
    /* each rests on the one before, none is visible yet */
    struct put p[50] = {0};
    int64_t head = STORE_ABSENT;
    for (size_t i = 0; i < countof(p); i++) {
        char text[16];
        (void)snprintf(text, sizeof text, "%zu", i);
        put_start(w, &p[i], S("a"), text, head);
        head = p[i].w.rev;
        CHECK(i == 0 || p[i].op.rev > p[i - 1].op.rev);
    }
    struct put late = {0}, also = {0};
    put_start(w, &late, S("a"), "late", p[0].w.rev);
    put_start(w, &also, S("a"), "also", STORE_ABSENT);
    CHECK_STR(key_value(w, "a"), S("-"));
    wait_for(w, &late.op);
    CHECK_STR(key_value(w, "a"), S("49")); /* who lost is told when the winner is visible */
    CHECK_INT(late.op.err.kind, E_CONFLICT);
    wait_for(w, &also.op);
    CHECK_INT(also.op.err.kind, E_ALREADY_EXISTS);
    for (size_t i = 0; i < countof(p); i++)
        CHECK(p[i].op.n == 0 && p[i].op.ok);
}
TEST(store_lets_writers_queue_on_what_is_not_committed)
{
    with_each(pipelines_try);
}

static void transactions_try(struct world *w)
{
    int64_t a = key_put(w, "a", "1");
    (void)key_put(w, "b", "1");
    struct store_write bad[2] = {{.key = S("a"), .own_ref = text_new(S("2")), .expect = a},
                                 {.key = S("c"), .own_ref = NULL, .expect = STORE_ANY}};
    struct store_op op = {.writes = bad, .n = 2, .done = on_done};
    store_write(w->s, &op);
    wait_for(w, &op);
    CHECK(!op.ok && op.err.kind == E_NOT_FOUND);
    CHECK_STR(key_value(w, "a"), S("1"));
    struct store_write good[3] = {{.key = S("a"), .expect = a},
                                  {.key = S("b"), .own_ref = text_new(S("2")), .expect = STORE_ANY},
                                  {.key = S("c"), .own_ref = text_new(S("2")), .expect = STORE_ABSENT}};
    struct seen s = SEEN;
    s.sub.fn = see_sub;
    store_subscribe(w->s, &s.sub);
    op = (struct store_op){.writes = good, .n = 3, .done = on_done};
    store_write(w->s, &op);
    wait_for(w, &op);
    CHECK(op.ok && op.rev == good[2].rev && store_rev(w->s) == op.rev);
    CHECK_STR(strbuf_str(&s.text), S("-a=1 *b=1>2 +c=2"));
    store_unsubscribe(&s.sub);
    struct store_write twice[2] = {{.key = S("x"), .own_ref = text_new(S("2")), .expect = STORE_ANY},
                                   {.key = S("x"), .own_ref = text_new(S("3")), .expect = STORE_ANY}};
    op = (struct store_op){.writes = twice, .n = 2, .done = on_done};
    store_write(w->s, &op);
    wait_for(w, &op);
    CHECK_INT(op.err.kind, E_BAD_REQUEST);
    strbuf_fini(&s.text);
}
TEST(store_writes_a_transaction_whole_or_not)
{
    with_each(transactions_try);
}

static void snapshots_try(struct world *w)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    (void)key_put(w, "pods/a", "1");
    (void)key_put(w, "pods/b", "1");
    (void)key_put(w, "nodes/x", "1");
    AUTO(store_snapshot_fini) struct store_snapshot snap = store_snapshot(w->s);
    (void)key_put(w, "pods/b", "2");
    (void)key_put(w, "pods/a", NULL);
    (void)key_put(w, "pods/c", "1");
    CHECK_STR(snapshot_listing(&snap, "pods/", &b), S("pods/a=1 pods/b=1"));
    AUTO(store_snapshot_fini) struct store_snapshot now = store_snapshot(w->s);
    CHECK(now.rev == snap.rev + 3);
    CHECK_STR(snapshot_listing(&now, "", &b), S("nodes/x=1 pods/b=2 pods/c=1"));
    struct store_iter it;
    struct store_entry *e = store_first(&it, &now, S("pods/"), S("pods/b0"));
    CHECK(e && str_eq(store_entry_key(e), S("pods/c")) && !store_next(&it));
    CHECK_INT(store_count(&now, S("pods/"), STR_NONE), 2);
    CHECK_INT(store_count(&now, S("pods/"), S("pods/b0")), 1);
    CHECK_INT(store_count(&now, S(""), STR_NONE), 3);
    CHECK_INT(store_count(&now, S("pods/"), S("q")), 0);
    (void)key_put(w, "\xff\xff", "1");
    AUTO(store_snapshot_fini) struct store_snapshot high = store_snapshot(w->s);
    CHECK_INT(store_count(&high, S("\xff"), STR_NONE), 1);
}
TEST(store_snapshots_stay_as_they_were)
{
    with_each(snapshots_try);
}

/* a, b and others change; memory holds only the newest, so the log must answer for the rest */
static void old_revisions(struct world *w)
{
    int64_t r0 = store_rev(w->s), ra = key_put(w, "p/a", "1"), rb = key_put(w, "p/b", "1"),
            ra2 = key_put(w, "p/a", "2");
    int64_t rd = key_put(w, "p/b", NULL), rc = key_put(w, "q/c", "1"), rb2 = key_put(w, "p/b", "3");
    (void)put_lazy(w, "p/l", "z");
    for (int round = 0; round < 2; round++) {
        check_history(w, r0, "", "+p/a=1 +p/b=1 *p/a=1>2 -p/b=1 +q/c=1 +p/b=3 +p/l=z");
        check_history(w, rb, "p/", "*p/a=1>2 -p/b=1 +p/b=3 +p/l=z");
        check_history(w, rb2, "q/", "");
        check_read(w, r0, "", "");
        check_read(w, ra, "", "p/a=1");
        check_read(w, rb, "p/", "p/a=1 p/b=1");
        check_read(w, ra2, "p/", "p/a=2 p/b=1");
        check_read(w, rd, "", "p/a=2");
        check_read(w, rc, "q/", "q/c=1");
        check_read(w, rb2 + 1, "", "p/a=2 p/b=3 p/l=z q/c=1");
        if (!w->o.path)
            break;
        world_reopen(w); /* a close keeps everything, the lazy one too */
    }
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1000);
    CHECK_INT(read_at(w, store_rev(w->s) + 1, "", &b), E_BAD_REQUEST);
    store_compact(w->s, ra2);
    CHECK_INT(store_floor(w->s), ra2);
    CHECK_INT(read_at(w, rb, "", &b), E_EXPIRED);
    check_read(w, ra2, "p/", "p/a=2 p/b=1");
    check_history(w, ra2, "", "-p/b=1 +q/c=1 +p/b=3 +p/l=z");
    struct seen s = SEEN;
    CHECK(!history_read(w, &s, rb, ""));
    CHECK_INT(s.h.err.kind, E_EXPIRED);
    store_compact(w->s, store_rev(w->s));
    check_history(w, store_rev(w->s), "", "");
    check_read(w, store_rev(w->s), "", "p/a=2 p/b=3 p/l=z q/c=1");
    if (w->o.path) {
        world_reopen(w);
        check_read(w, store_rev(w->s), "", "p/a=2 p/b=3 p/l=z q/c=1");
        CHECK(store_floor(w->s) >= rb2);
    }
    strbuf_fini(&s.text);
}
TEST(store_answers_for_old_revisions_until_they_are_compacted)
{
    with_each(old_revisions);
    struct world *w = world_new(true);
    w->o.history_changes = 2;
    world_open(w);
    old_revisions(w);
    world_free(w);
}

TEST(store_history_is_bounded_in_memory_and_told_in_portions)
{
    struct world *w = world_new(false);
    w->o.history_changes = 1000;
    world_open(w);
    for (int i = 0; i < 3000; i++) {
        struct put p = {0};
        put_start(w, &p, S("a"), "x", STORE_ANY);
        wait_for(w, &p.op);
    }
    struct store_stats st;
    store_stats(w->s, &st);
    CHECK_INT(st.history, 1000);
    CHECK_INT(st.floor, st.rev - 1000);
    struct seen s = SEEN;
    CHECK(history_read(w, &s, st.floor, ""));
    CHECK_INT(s.last, st.rev);
    CHECK(!history_read(w, &s, st.floor - 1, "") && s.h.err.kind == E_EXPIRED);
    strbuf_fini(&s.text);
    world_free(w);
    /* the log reaches further back than memory */
    w = world_new(true);
    w->o.history_changes = 100;
    world_open(w);
    int64_t first = store_rev(w->s);
    struct put *p = mem_alloc(2000 * sizeof *p);
    for (int i = 0; i < 2000; i++)
        put_start(w, &p[i], S("a"), "x", STORE_ANY);
    wait_for(w, &p[1999].op);
    mem_free(p);
    s = SEEN;
    CHECK_OK(history_read(w, &s, first, ""), s.h.err);
    CHECK_INT(s.last, first + 2000);
    store_stats(w->s, &st);
    CHECK(st.history <= 100);
    strbuf_fini(&s.text);
    world_free(w);
}

static void history_joins_on(struct world *w)
{
    int64_t r0 = key_put(w, "p/a", "1");
    (void)key_put(w, "q", "1");
    int64_t joint = key_put(w, "p/a", "2");
    struct seen old = SEEN, now = SEEN;
    now.sub.fn = see_sub;
    store_subscribe(w->s, &now.sub);
    old.h = (struct store_history){.after = r0, .prefix = S("p/"), .fn = see_history, .done = see_end};
    store_history(w->s, &old.h);
    CHECK_INT(old.h.upto, joint);
    struct put p = {0};
    put_start(w, &p, S("p/b"), "1", STORE_ANY); /* commits while history is still being read */
    wait_for(w, &p.op);
    (void)key_put(w, "q", NULL);
    (void)key_put(w, "p/a", NULL);
    run_until(w, &old.over);
    CHECK_OK(old.h.ok, old.h.err);
    CHECK_STR(strbuf_str(&old.text), S("*p/a=1>2")); /* up to where the subscriber begins ... */
    CHECK_STR(strbuf_str(&now.text), S("+p/b=1 -q=1 -p/a=2"));
    check_history(w, joint, "p/", "+p/b=1 -p/a=2"); /* ... or goes on there itself */
    store_unsubscribe(&now.sub);
    store_unsubscribe(&now.sub);
    (void)key_put(w, "p/z", "1");
    CHECK_STR(strbuf_str(&now.text), S("+p/b=1 -q=1 -p/a=2"));
    strbuf_fini(&old.text);
    strbuf_fini(&now.text);
}
TEST(store_history_joins_what_is_told_and_misses_nothing_nor_tells_it_twice)
{
    with_each(history_joins_on);
    struct world *w = world_new(true);
    w->o.history_changes = 1; /* the rest of it in the log */
    world_open(w);
    history_joins_on(w);
    world_free(w);
}

static struct seen chatty[3];
static void stop_all(struct store_subscriber *sub, const struct store_event *events, size_t n)
{
    see_sub(sub, events, n);
    for (size_t i = 0; i < countof(chatty); i++)
        store_unsubscribe(&chatty[i].sub);
}
static void end_each_other(struct world *w)
{
    for (size_t i = 0; i < countof(chatty); i++) {
        chatty[i] = SEEN;
        chatty[i].w = w;
        chatty[i].sub.fn = stop_all;
        store_subscribe(w->s, &chatty[i].sub);
    }
    (void)key_put(w, "a", "1");
    (void)key_put(w, "a", "2");
    CHECK_STR(strbuf_str(&chatty[0].text), S("+a=1"));
    CHECK(chatty[1].text.n == 0 && chatty[2].text.n == 0);
    strbuf_fini(&chatty[0].text);
}
TEST(store_subscribers_may_end_each_other)
{
    with_each(end_each_other);
}

static void lazies_try(struct world *w)
{
    (void)key_put(w, "a", "1");
    struct put d = {0}, l = {.op.class = STORE_LAZY};
    put_start(w, &d, S("a"), "2", STORE_ANY);
    put_start(w, &l, S("lease"), "1", STORE_ANY);
    wait_for(w, &l.op);
    CHECK(d.op.n == 0); /* in order: not before the durable one */
    int64_t r = put_lazy(w, "lease", "2");
    CHECK_INT(store_rev(w->s), r);
    CHECK_STR(key_value(w, "lease"), S("2"));
    struct err err = ERR;
    CHECK(put_as(w, S("lease"), "3", r, STORE_LAZY, &err) > r);
    CHECK_INT(put_as(w, S("lease"), "3", r, STORE_LAZY, &err), 0);
    CHECK_INT(err.kind, E_CONFLICT);
    if (w->o.path) {
        world_reopen(w);
        CHECK_STR(key_value(w, "lease"), S("3"));
    }
}
TEST(store_lazy_writes_are_visible_at_once_and_in_order)
{
    with_each(lazies_try);
}

static void cancels_try(struct world *w)
{
    int64_t r0 = store_rev(w->s);
    (void)key_put(w, "a", "1");
    struct seen s = SEEN;
    s.h = (struct store_history){.after = r0, .prefix = S(""), .fn = see_history, .done = see_end};
    store_history(w->s, &s.h);
    store_history_cancel(&s.h);
    store_history_cancel(&s.h);
    (void)key_put(w, "a", "2");
    CHECK(!s.over && s.text.n == 0);
    /* what still waits when the store closes is told so */
    store_history(w->s, &s.h);
    struct put p = {0};
    put_start(w, &p, S("a"), "3", STORE_ANY);
    world_close(w);
    CHECK(s.over && !s.h.ok && s.h.err.kind == E_CANCELLED);
    CHECK(p.op.n == 0 && p.op.ok);
    strbuf_fini(&s.text);
}
TEST(store_history_can_be_cancelled_and_close_answers_everybody)
{
    with_each(cancels_try);
}

TEST(store_compacts_by_itself_and_rests_then)
{
    struct err err = ERR;
    struct world w = {.o.type = &text_type};
    w.loop = loop_new_simulated(1);
    world_open(&w);
    int64_t r0 = store_rev(w.s);
    (void)key_put(&w, "a", "1");
    (void)key_put(&w, "a", "2");
    int64_t until = clock_mono() + 200 * NS_PER_S;
    while (clock_mono() < until)
        CHECK(loop_run_once(w.loop, -1));
    CHECK_OK(store_resumable(w.s, r0, &err), err);
    loop_run(w.loop); /* ends: no timer is left */
    CHECK(!store_resumable(w.s, r0, &err) && err.kind == E_EXPIRED);
    CHECK_INT(store_floor(w.s), store_rev(w.s));
    CHECK(clock_mono() - until < 400 * NS_PER_S);
    struct store_stats st;
    store_stats(w.s, &st);
    CHECK_INT(st.history, 0);
    store_close(w.s);
    loop_free(w.loop);
}

/* --- what only the log has --- */

TEST(store_keeps_everything_over_a_close)
{
    struct world *w = world_new(true);
    world_open(w);
    int64_t r = 0;
    for (int i = 0; i < 500; i++) {
        char key[20], text[40];
        (void)snprintf(key, sizeof key, "k%03d", i % 100);
        (void)snprintf(text, sizeof text, "value %d", i);
        r = i % 100 == 77 && i > 100 ? key_put(w, key, i % 200 == 177 ? NULL : "back") : key_put(w, key, text);
    }
    AUTO(strbuf_fini) struct strbuf before = STRBUF(1 << 20), after = STRBUF(1 << 20);
    struct store_snapshot snap = store_snapshot(w->s);
    (void)snapshot_listing(&snap, "", &before);
    int64_t create = store_get(w->s, S("k003"))->create_rev;
    store_snapshot_fini(&snap);
    world_reopen(w);
    CHECK_INT(store_rev(w->s), r);
    CHECK_INT(store_get(w->s, S("k003"))->create_rev, create);
    snap = store_snapshot(w->s);
    CHECK_STR(snapshot_listing(&snap, "", &after), strbuf_str(&before));
    store_snapshot_fini(&snap);
    CHECK(key_put(w, "k", "v") > r);
    world_free(w);
}

/* 50 writers at once, each with its next write as soon as it is answered */
struct writer {
    struct put put;
    struct world *w;
    char key[20];
    int left;
};
static int writing;
static void writer_next(struct store_op *op)
{
    struct writer *wr = container_of(op, struct writer, put.op);
    CHECK_OK(op->ok || wr->left == 100, op->err);
    if (wr->left-- == 0) {
        writing--;
        return;
    }
    wr->put.w = (struct store_write){.key = str_of(wr->key), .own_ref = text_new(S("v")), .expect = STORE_ANY};
    wr->put.op = (struct store_op){.writes = &wr->put.w, .n = 1, .done = writer_next};
    store_write(wr->w->s, &wr->put.op);
}
TEST(store_commits_in_groups)
{
    struct world *w = world_new(true);
    world_open(w);
    struct writer wr[50];
    for (size_t i = 0; i < countof(wr); i++) {
        wr[i] = (struct writer){.w = w, .left = 100};
        (void)snprintf(wr[i].key, sizeof wr[i].key, "k%zu", i);
        writing++;
        writer_next(&wr[i].put.op);
    }
    while (writing)
        (void)loop_run_once(w->loop, NS_PER_S);
    struct store_stats st;
    store_stats(w->s, &st);
    CHECK_INT(st.writes, 5000);
    CHECK(st.batches <= 150 && st.batches >= 100);
    CHECK(st.syncs >= st.batches && st.syncs <= 2 * st.batches + 20);
    CHECK(st.commit_ns_sum > 0 && st.batch_size_sum == 5000);
    world_free(w);
}

static sem_t pool_goes_on;
static void pool_waits(struct job *j)
{
    (void)j;
    while (sem_wait(&pool_goes_on) < 0)
        ;
}
static void pool_waited(struct job *j)
{
    (void)j;
}
TEST(store_commits_while_every_thread_of_the_pool_waits_for_something_else)
{
    struct world *w = world_new(true);
    struct job held[100];
    CHECK(sem_init(&pool_goes_on, 0, 0) == 0);
    world_open(w);
    for (size_t i = 0; i < countof(held); i++)
        job_start(&held[i], w->loop, pool_waits, pool_waited);
    for (int i = 0; i < 10; i++)
        (void)key_put(w, "a", "1");
    for (size_t i = 0; i < countof(held); i++)
        (void)sem_post(&pool_goes_on);
    world_free(w);
}

TEST(store_lazy_writes_reach_the_log_within_their_time)
{
    struct world *w = world_new(true);
    w->o.lazy_ns = 50 * NS_PER_MS;
    world_open(w);
    (void)key_put(w, "a", "1");
    (void)put_lazy(w, "lease", "1");
    struct store_stats st;
    store_stats(w->s, &st);
    CHECK_INT(st.lazy, 1);
    for (int64_t end = clock_mono() + 10 * NS_PER_S; st.lazy && clock_mono() < end; store_stats(w->s, &st))
        (void)loop_run_once(w->loop, NS_PER_S);
    CHECK_INT(st.lazy, 0);
    CHECK_INT(st.batches, 2);
    world_free(w);
}

TEST(store_patient_writes_wait_for_somebody_elses_commit)
{
    struct world *w = world_new(true);
    w->o.lazy_ns = NS_PER_MS;
    world_open(w);
    (void)key_put(w, "a", "1");
    struct store_stats st;
    struct err err = ERR;
    int n = 1;
    for (; n < STORE_PATIENT_MAX; n++) {
        int64_t rev = put_as(w, S("node"), "1", STORE_ANY, STORE_PATIENT, &err);
        CHECK(rev > 0);
        CHECK_INT(store_rev(w->s), rev);
    }
    store_stats(w->s, &st);
    CHECK_INT(st.lazy, n - 1);
    CHECK_INT(st.batches, 1);
    (void)key_put(w, "a", "2"); /* they ride with it, and come back with it */
    store_stats(w->s, &st);
    CHECK_INT(st.lazy, 0);
    CHECK_INT(st.batches, 2);
    for (int i = 0; i < STORE_PATIENT_MAX; i++)
        CHECK(put_as(w, S("node"), "2", STORE_ANY, STORE_PATIENT, &err) > 0);
    for (int64_t end = clock_mono() + 10 * NS_PER_S; st.batches == 2 && clock_mono() < end; store_stats(w->s, &st))
        (void)loop_run_once(w->loop, NS_PER_S);
    CHECK_INT(st.batches, 3); /* they were many */
    CHECK_INT(st.lazy, 0);
    world_reopen(w);
    CHECK_STR(key_value(w, "node"), S("2"));
    world_free(w);
}

/* A child that works on the store at w->path in a process of its own and ends without a close. */
static void in_a_child(struct world *w, void (*fn)(struct world *w))
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        fn(w);
        (void)raise(SIGKILL);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}
/* Each life in a process of its own, none closed. (Nor does the parent use the pool: threads do not survive a fork.)
 */
static void first_life(struct world *w)
{
    world_open(w);
    CHECK_INT(key_put(w, "a", "1"), 2);
    CHECK_INT(key_put(w, "a", "2"), 3);
}
static void second_life(struct world *w) /* nothing is written */
{
    world_open(w);
    struct err err = ERR;
    int64_t first = store_rev(w->s);
    CHECK(first > 3 + 1000);                       /* above the ceiling */
    CHECK_OK(store_resumable(w->s, 2, &err), err); /* the log holds it */
    CHECK_OK(store_resumable(w->s, 3, &err), err);
    CHECK(!store_resumable(w->s, 4, &err) && err.kind == E_EXPIRED);
    CHECK(!store_resumable(w->s, first - 1, &err) && err.kind == E_EXPIRED);
    CHECK_OK(store_resumable(w->s, first, &err), err);
    check_history(w, 2, "", "*a=1>2");
    check_read(w, 2, "", "a=1");
}
static void third_life(struct world *w)
{
    world_open(w);
    CHECK(store_rev(w->s) > 3 + 1000);
    (void)put_lazy(w, "lease", "kept"); /* nothing is reserved yet: goes to the log */
    (void)put_lazy(w, "lease", "lost"); /* shown, not logged */
}
static void fourth_life(struct world *w)
{
    AUTO(fd_close) int fd = open("first", O_RDONLY | O_CLOEXEC);
    int64_t first;
    CHECK(read(fd, &first, sizeof first) == sizeof first);
    world_open(w);
    struct err err = ERR;
    CHECK(store_rev(w->s) > first + 1000);
    CHECK_STR(key_value(w, "lease"), S("kept"));
    CHECK(!store_resumable(w->s, 4, &err) && err.kind == E_EXPIRED); /* still */
    CHECK_OK(store_resumable(w->s, first, &err), err);
    CHECK_OK(store_resumable(w->s, first + 1, &err), err);
    CHECK(!store_resumable(w->s, first + 2, &err) && err.kind == E_EXPIRED); /* who saw "lost" starts again */
    check_history(w, 3, "", "+lease=kept");
    CHECK(key_put(w, "a", "3") > first + 1000);
    world_reopen(w);
    CHECK(!store_resumable(w->s, 4, &err) && !store_resumable(w->s, first + 2, &err));
    check_history(w, 3, "", "+lease=kept *a=2>3");
}
TEST(store_never_gives_a_revision_twice_and_says_which_may_be_lost)
{
    struct world *w = world_new(true);
    CHECK(chdir(test_dir()) == 0);
    in_a_child(w, first_life);
    in_a_child(w, second_life);
    world_open(w); /* nothing was written, so this begins at the same place */
    int64_t first = store_rev(w->s);
    world_close(w);
    AUTO(fd_close) int fd = open("first", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    CHECK(write(fd, &first, sizeof first) == sizeof first);
    in_a_child(w, third_life);
    in_a_child(w, fourth_life);
    world_free(w);
}

static void compacted_life(struct world *w)
{
    world_open(w);
    (void)key_put(w, "a", "1");
    (void)key_put(w, "a", "2");
    (void)put_lazy(w, "lease", "lost");
    store_compact(w->s, store_rev(w->s));
    struct store_stats st;
    store_stats(w->s, &st);
    CHECK(st.lazy == 1 && st.floor == 4);
    loop_run_for(w, 100 * NS_PER_MS); /* the compaction; the lazy write waits longer */
}
TEST(store_compaction_does_not_hide_what_is_lost)
{
    struct world *w = world_new(true);
    in_a_child(w, compacted_life);
    world_open(w);
    struct err err = ERR;
    CHECK_INT(store_floor(w->s), 3);
    CHECK_OK(store_resumable(w->s, 3, &err), err);
    CHECK(!store_resumable(w->s, 4, &err) && err.kind == E_EXPIRED); /* saw the lease */
    CHECK_STR(key_value(w, "a"), S("2"));
    CHECK_STR(key_value(w, "lease"), S("-"));
    world_free(w);
}

/* Somebody who reads history in the log. */
static int portions;
static void count_portion(struct store_history *h, const struct store_event *events, size_t n)
{
    (void)h, (void)events, (void)n;
    portions++;
}
TEST(store_readers_of_the_log_do_not_hold_up_a_writer)
{
    struct world *w = world_new(true);
    w->o.history_changes = 10;
    world_open(w);
    int64_t first = key_put(w, "a", "0");
    for (int i = 0; i < 600; i++)
        (void)put_lazy(w, "a", "1");
    (void)key_put(w, "a", "2");
    struct seen readers[50];
    for (size_t i = 0; i < countof(readers); i++) {
        readers[i] = SEEN;
        readers[i].h = (struct store_history){.after = first, .prefix = S("a"), .fn = count_portion, .done = see_end};
        store_history(w->s, &readers[i].h);
    }
    (void)loop_run_once(w->loop, 0); /* they are queued */
    portions = 0;
    (void)key_put(w, "b", "1");
    CHECK(portions <= 5); /* those that were begun; not one of each */
    for (size_t i = 0; i < countof(readers); i++) {
        run_until(w, &readers[i].over);
        CHECK_OK(readers[i].h.ok, readers[i].h.err);
    }
    CHECK(portions >= 50);
    world_free(w);
}

TEST(store_history_in_the_log_has_a_bound_in_bytes)
{
    struct world *w = world_new(true);
    w->o.log_bytes = 200000;
    w->o.history_changes = 10;
    world_open(w);
    AUTO_FREE char *large = mem_alloc(10001);
    memset(large, 'x', 10000);
    int64_t first = key_put(w, "a", large), last = 0;
    for (int i = 0; i < 300; i++)
        last = key_put(w, i % 3 ? "a" : "b", large);
    loop_run_for(w, 100 * NS_PER_MS); /* the last compaction */
    struct store_stats st;
    struct err err = ERR;
    store_stats(w->s, &st);
    CHECK(st.file_bytes < 1000000); /* of 2.5 MB */
    CHECK(!store_resumable(w->s, first, &err) && err.kind == E_EXPIRED);
    CHECK_OK(store_resumable(w->s, last - 10, &err), err);
    world_free(w);
}

/* Every call to the disk failed once: what was acknowledged is there, what was refused is not there or (after a crash
 * that followed at once) whole, and the store goes on by itself. */
static int fault_number;
static void write_with_a_fault(struct world *w)
{
    struct err err = ERR;
    fault_at(fault_number);
    w->s = store_open(w->loop, &w->o, &err);
    AUTO(fd_close) int out = open("acknowledged", O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    if (w->s) {
        for (int i = 0; i < 6; i++) {
            char text[20];
            (void)snprintf(text, sizeof text, "%d", i);
            if (put_as(w, S("a"), text, STORE_ANY, STORE_DURABLE, &err))
                CHECK(pwrite(out, text, 1, 0) == 1 && ftruncate(out, 1) == 0);
            else
                CHECK(err.kind == E_UNAVAILABLE && pwrite(out, text, 1, 1) == 1);
        }
        bool fired = fault_fired();
        fault_at(0);
        CHECK(str_eq(key_value(w, "a"), S("5")) ||
              (fired && str_eq(key_value(w, "a"), S("4")))); /* one fault, one refusal */
        if (!fired)
            _exit(7);
    } else {
        CHECK(err.kind != E_NONE && err.text[0] && fault_fired());
    }
}
TEST(store_with_any_call_to_the_disk_failing_loses_nothing)
{
    struct world *w = world_new(true);
    CHECK(chdir(test_dir()) == 0);
    int n = 1, opened = 0;
    for (;; n++) {
        CHECK(n < 500);
        (void)unlink(w->path);
        char wal[240];
        (void)snprintf(wal, sizeof wal, "%s-wal", w->path);
        (void)unlink(wal);
        fault_number = n;
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) {
            write_with_a_fault(w);
            _exit(0); /* no close: as if killed */
        }
        int status;
        CHECK(waitpid(pid, &status, 0) == pid);
        CHECK(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 7));
        char ack[3] = "";
        AUTO(fd_close) int in = open("acknowledged", O_RDONLY | O_CLOEXEC);
        CHECK(in >= 0 && read(in, ack, 2) >= 0);
        world_open(w);
        opened += ack[0] != 0;
        struct str have = key_value(w, "a");
        if (ack[0])
            CHECK(have.n == 1 && (have.p[0] == ack[0] || (ack[1] && have.p[0] == ack[1])));
        else
            CHECK_STR(have, S("-")); /* it could not be opened, and now it can */
        world_close(w);
        if (WEXITSTATUS(status) == 7)
            break;
    }
    CHECK(n > 20 && opened > 5);
    world_free(w);
}

static void short_life(struct world *w)
{
    world_open(w);
    (void)key_put(w, "a", "1");
    struct store_stats st;
    store_stats(w->s, &st);
    CHECK(st.history < 100);
}
TEST(store_that_ends_badly_again_and_again_does_not_grow)
{
    struct world *w = world_new(true);
    for (int i = 0; i < 300; i++)
        in_a_child(w, short_life);
    world_open(w);
    struct err err = ERR;
    CHECK(!store_resumable(w->s, 2, &err) && err.kind == E_EXPIRED);
    CHECK_STR(key_value(w, "a"), S("1"));
    world_close(w);
    sqlite3 *db;
    sqlite3_stmt *st;
    CHECK(sqlite3_open(w->path, &db) == SQLITE_OK);
    CHECK(sqlite3_prepare_v2(db, "SELECT count(*) FROM log, (SELECT count(*) AS g FROM gap) WHERE g <= 140", -1, &st,
                             NULL) == SQLITE_OK);
    CHECK(sqlite3_step(st) == SQLITE_ROW && sqlite3_column_int(st, 0) >= 1 && sqlite3_column_int(st, 0) <= 140);
    CHECK(sqlite3_finalize(st) == SQLITE_OK && sqlite3_close(db) == SQLITE_OK);
    world_free(w);
}

/* The same over a store that holds something, with history read from the log, compaction and a close. */
static bool live_with_faults(struct world *w, int n, int64_t *acked, bool *closed)
{
    struct err err = ERR;
    fault_at(n);
    w->s = store_open(w->loop, &w->o, &err);
    if (w->s) {
        struct seen s = SEEN;
        char text[20];
        (void)snprintf(text, sizeof text, "%d", n);
        if (put_as(w, S("a"), text, STORE_ANY, STORE_DURABLE, &err))
            *acked = n;
        else
            CHECK(err.kind == E_UNAVAILABLE);
        bool ok = history_read(w, &s, store_floor(w->s), "");
        CHECK(ok || s.h.err.kind == E_UNAVAILABLE || s.h.err.kind == E_IO);
        store_compact(w->s, store_rev(w->s) - 3);
        (void)put_as(w, S("b"), "x", STORE_ANY, STORE_LAZY, &err);
        strbuf_fini(&s.text);
        world_close(w);
        *closed = true;
    }
    bool fired = fault_fired();
    fault_at(0);
    CHECK(w->s || *closed || fired);
    return fired;
}
TEST(store_that_holds_something_survives_any_failing_call)
{
    struct world *w = world_new(true);
    w->o.history_changes = 2;
    world_open(w);
    for (int i = 0; i < 20; i++)
        (void)key_put(w, i % 2 ? "a" : "c", "0");
    world_close(w);
    int64_t acked = 0, rev = 0;
    int n = 1, opened = 0;
    for (bool fired = true; fired; n++) {
        bool closed = false;
        CHECK(n < 500);
        fired = live_with_faults(w, n, &acked, &closed);
        opened += closed;
        world_open(w);
        char text[20];
        (void)snprintf(text, sizeof text, "%lld", (long long)acked);
        CHECK(str_eq(key_value(w, "a"), str_of(text)));
        CHECK_STR(key_value(w, "c"), S("0"));
        CHECK(store_rev(w->s) >= rev);
        rev = store_rev(w->s);
        world_close(w);
    }
    CHECK(n > 15 && opened > 5);
    world_free(w);
}

TEST(store_fails_what_rested_on_a_failed_write_and_nothing_else)
{
    struct world *w = world_new(true);
    world_open(w);
    (void)key_put(w, "a", "0");
    struct seen s = SEEN;
    s.sub.fn = see_sub;
    store_subscribe(w->s, &s.sub);
    struct put p[5] = {0};
    CHECK(sem_init(&encoding, 0, 0) == 0 && sem_init(&go_on, 0, 0) == 0);
    encode_waits = true;
    put_start(w, &p[0], S("a"), "1", STORE_ANY);
    (void)loop_run_once(w->loop, 0); /* its batch is under way; the others queue behind it */
    CHECK(sem_wait(&encoding) == 0);
    encode_waits = false;
    fault_at(1);
    put_start(w, &p[1], S("a"), "2", p[0].w.rev); /* rests on the first */
    put_start(w, &p[2], S("b"), "1", STORE_ABSENT);
    put_start(w, &p[3], S("a"), "3", STORE_ANY);
    put_start(w, &p[4], S("a"), "4", p[3].w.rev);
    int64_t given = p[4].w.rev;
    CHECK(sem_post(&go_on) == 0);
    for (size_t i = 0; i < countof(p); i++)
        wait_for(w, &p[i].op);
    CHECK(fault_fired());
    CHECK(!p[0].op.ok && p[0].op.err.kind == E_UNAVAILABLE && !p[1].op.ok && p[1].op.err.kind == E_UNAVAILABLE);
    CHECK(p[2].op.ok && p[3].op.ok && p[4].op.ok);
    CHECK_STR(strbuf_str(&s.text), S("+b=1 *a=0>3 *a=3>4"));
    CHECK(key_put(w, "c", "1") > given);
    world_reopen_subscribed(w, &s.sub);
    CHECK_STR(key_value(w, "a"), S("4"));
    world_free(w);
    strbuf_fini(&s.text);
}

TEST(store_fails_a_value_that_cannot_be_encoded_alone)
{
    struct world *w = world_new(true);
    world_open(w);
    struct put p[5] = {0};
    put_start(w, &p[0], S("a"), "1", STORE_ANY);
    put_start(w, &p[1], S("bad"), "", STORE_ANY); /* encodes to nothing */
    put_start(w, &p[2], S("bad"), "2", p[1].w.rev);
    put_start(w, &p[3], S("a"), "2", p[0].w.rev);
    put_start(w, &p[4], S("bad"), "3", STORE_ABSENT); /* lost against what then failed */
    for (size_t i = 0; i < countof(p); i++)
        wait_for(w, &p[i].op);
    CHECK(p[0].op.ok && p[3].op.ok && !p[1].op.ok && !p[2].op.ok && !p[4].op.ok);
    CHECK(p[1].op.err.kind == E_INTERNAL && str_has(str_of(p[1].op.err.text), S("bad has no bytes")));
    CHECK_STR(key_value(w, "a"), S("2"));
    CHECK_STR(key_value(w, "bad"), S("-"));
    struct err err = ERR;
    CHECK(put_as(w, S("bad"), "", STORE_ANY, STORE_LAZY, &err) == 0 && err.kind == E_INTERNAL);
    world_reopen(w);
    CHECK_STR(key_value(w, "a"), S("2"));
    world_free(w);
}

/* A real disk that is full: a small file system of the test's own. */
static void mount_small(const char *dir)
{
    CHECK(mkdir(dir, 0700) == 0);
    if (unshare(CLONE_NEWNS) < 0)
        CHECK(unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0);
    CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    CHECK(mount("small", dir, "tmpfs", 0, "size=1m") == 0);
}
static void disk_fill(const char *path)
{
    char block[4096] = {1};
    AUTO(fd_close) int fd = open(path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    while (write(fd, block, sizeof block) > 0)
        ;
    CHECK(errno == ENOSPC);
}
/* With a=1 in it; what is written to `ballast` takes its room. */
static struct world *world_on_small_disk(char *dir, size_t dir_size, char *ballast, size_t ballast_size)
{
    struct world *w = world_new(true);
    (void)snprintf(dir, dir_size, "%s/small", test_dir());
    (void)snprintf(ballast, ballast_size, "%s/ballast", dir);
    (void)snprintf(w->path, sizeof w->path, "%s/store.db", dir);
    mount_small(dir);
    w->o.lazy_ns = 20 * NS_PER_MS;
    world_open(w);
    (void)key_put(w, "a", "1");
    return w;
}

static int disk_said;
static void disk_changed(void *arg, const struct err *err)
{
    (void)arg;
    CHECK((err != NULL) == (disk_said++ % 2 == 0));
}
TEST(store_on_a_full_disk_refuses_writes_reads_on_and_recovers)
{
    char dir[100], ballast[120];
    struct world *w = world_on_small_disk(dir, sizeof dir, ballast, sizeof ballast);
    disk_fill(ballast);
    char big[20000] = "";
    memset(big, 'x', sizeof big - 1);
    struct err err = ERR;
    int refusals = 0;
    for (int i = 0; i < 5; i++)
        refusals += put_as(w, S("big"), big, STORE_ANY, STORE_DURABLE, &err) == 0;
    CHECK_INT(refusals, 5);
    CHECK(err.kind == E_UNAVAILABLE && err.sys == ENOSPC && str_has(str_of(err.text), S("full")));
    CHECK_STR(key_value(w, "a"), S("1"));
    check_read(w, store_rev(w->s), "", "a=1");
    int64_t lazy = put_as(w, S("lease"), "1", STORE_ANY, STORE_LAZY, &err);
    CHECK(lazy == 0 || lazy == store_rev(w->s));
    struct store_stats st;
    store_stats(w->s, &st);
    CHECK(st.batches_failed >= 2 && st.failed >= 5);
    w->o.disk = disk_changed;
    world_reopen(w); /* a start needs no room either */
    CHECK_STR(key_value(w, "a"), S("1"));
    CHECK(put_as(w, S("big"), big, STORE_ANY, STORE_DURABLE, &err) == 0 && err.kind == E_UNAVAILABLE);
    lazy = put_as(w, S("lease"), "1", STORE_ANY, STORE_LAZY, &err);
    CHECK(store_failing(w->s) && store_failing(w->s)->sys == ENOSPC && disk_said == 1);
    CHECK(unlink(ballast) == 0);
    for (int64_t end = clock_mono() + 10 * NS_PER_S; store_failing(w->s) && clock_mono() < end;)
        (void)loop_run_once(w->loop, NS_PER_S); /* nobody writes: it sees by itself that there is room */
    CHECK(!store_failing(w->s) && disk_said == 2);
    (void)key_put(w, "big", big);
    world_reopen(w);
    CHECK_STR(key_value(w, "big"), str_of(big));
    if (lazy)
        CHECK_STR(key_value(w, "lease"), S("1"));
    world_free(w);
    CHECK(umount(dir) == 0 && rmdir(dir) == 0);
}

TEST(store_begun_on_a_full_disk_takes_leases_again_by_itself)
{
    char dir[100], ballast[120];
    struct world *w = world_on_small_disk(dir, sizeof dir, ballast, sizeof ballast);
    world_close(w);
    disk_fill(ballast);
    w->o.disk = disk_changed;
    disk_said = 0;
    world_open(w); /* nothing but leases is written in this life */
    CHECK_STR(key_value(w, "a"), S("1"));
    struct err err = ERR;
    for (int i = 0; i < 3; i++)
        CHECK(put_as(w, S("lease"), "1", STORE_ANY, i % 2 ? STORE_LAZY : STORE_PATIENT, &err) == 0 &&
              err.kind == E_UNAVAILABLE && err.sys == ENOSPC);
    CHECK_STR(key_value(w, "a"), S("1"));
    CHECK_STR(key_value(w, "lease"), S("-"));
    CHECK(unlink(ballast) == 0);
    for (int64_t end = clock_mono() + 10 * NS_PER_S; store_failing(w->s) && clock_mono() < end;)
        (void)loop_run_once(w->loop, NS_PER_S);
    CHECK(!store_failing(w->s) && disk_said == 2);
    CHECK(put_as(w, S("lease"), "2", STORE_ANY, STORE_PATIENT, &err) > 0);
    CHECK_STR(key_value(w, "lease"), S("2"));
    disk_fill(ballast); /* from now on they live on what is reserved */
    CHECK(put_as(w, S("lease"), "3", STORE_ANY, STORE_PATIENT, &err) > 0);
    CHECK(unlink(ballast) == 0);
    world_reopen(w);
    CHECK_STR(key_value(w, "lease"), S("3"));
    world_free(w);
    CHECK(umount(dir) == 0 && rmdir(dir) == 0);
}

/* Killed at any moment under 4 keys written in turn: each value counts up; the parent hears of every acknowledged
 * write through a pipe. */
enum { KEYS = 4, ROUNDS = 10 };
struct ack {
    int key;
    int64_t count, rev;
};
static int ack_fd;
static struct writer counters[KEYS];
static int64_t counts[KEYS];
static void counter_next(struct store_op *op)
{
    struct writer *wr = container_of(op, struct writer, put.op);
    int k = (int)(wr - counters);
    if (op->rev) {
        CHECK_OK(op->ok, op->err);
        struct ack a = {k, counts[k], op->rev};
        CHECK(write(ack_fd, &a, sizeof a) == sizeof a);
        counts[k]++;
    }
    char text[40];
    (void)snprintf(text, sizeof text, "%lld", (long long)counts[k]);
    wr->put.w = (struct store_write){.key = str_of(wr->key), .own_ref = text_new(str_of(text)), .expect = STORE_ANY};
    wr->put.op = (struct store_op){.writes = &wr->put.w, .n = 1, .done = counter_next};
    store_write(wr->w->s, &wr->put.op);
}
static void count_for_ever(struct world *w)
{
    world_open(w);
    for (int k = 0; k < KEYS; k++) {
        counters[k] = (struct writer){.w = w};
        (void)snprintf(counters[k].key, sizeof counters[k].key, "counter%d", k);
        struct str have = key_value(w, counters[k].key);
        if (!str_eq(have, S("-")))
            CHECK(str_to_i64(have, 0, INT64_MAX, &counts[k]));
        counts[k] += !str_eq(have, S("-"));
        counter_next(&counters[k].put.op);
    }
    for (;;)
        (void)loop_run_once(w->loop, -1);
}
static struct { /* shared with the children; what the last one left */
    int64_t acked[KEYS], rev;
} * left;
static void check_counters(struct world *w)
{
    world_open(w);
    CHECK(store_rev(w->s) >= left->rev);
    for (int k = 0; k < KEYS; k++) {
        char key[20];
        int64_t have = -1;
        (void)snprintf(key, sizeof key, "counter%d", k);
        if (!str_eq(key_value(w, key), S("-")))
            CHECK(str_to_i64(key_value(w, key), 0, INT64_MAX, &have));
        CHECK(have == left->acked[k] || have == left->acked[k] + 1); /* what was under way may be there */
        left->acked[k] = have;
    }
    world_close(w);
}
TEST(store_killed_at_any_moment_has_every_acknowledged_write)
{
    struct world *w = world_new(true);
    int64_t total = 0, rounds = ROUNDS;
    const char *more = getenv("WHERRY_KILLS"); /* the long form */
    CHECK(!more || str_to_i64(str_of(more), 1, 10000, &rounds));
    left = mmap(NULL, sizeof *left, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(left != MAP_FAILED);
    memset(left->acked, 0xff, sizeof left->acked);
    for (int64_t round = 0; round < rounds; round++) {
        int fds[2];
        CHECK(pipe(fds) == 0);
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) {
            fd_close(fds[0]);
            ack_fd = fds[1];
            count_for_ever(w);
        }
        fd_close(fds[1]);
        struct ack a;
        int64_t wanted = 1 + (int64_t)random_below(400), n = 0;
        while (read(fds[0], &a, sizeof a) ==
               sizeof a) { /* to the end: what was acknowledged before the kill counts */
            CHECK(a.rev > left->rev && a.count > left->acked[a.key]);
            left->rev = a.rev;
            left->acked[a.key] = a.count;
            if (++n == wanted)
                CHECK(kill(pid, SIGKILL) == 0);
        }
        CHECK(n >= wanted);
        total += n;
        fd_close(fds[0]);
        int status;
        CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        if (round % 8 != 7) /* else killed again, unclean on unclean */
            in_a_child(w, check_counters);
    }
    CHECK(total > rounds);
    in_a_child(w, check_counters);
    world_free(w);
}

/* --- refusals at open --- */

static enum err_kind open_refused(struct world *w, const char *says)
{
    struct err err = ERR;
    CHECK(!store_open(w->loop, &w->o, &err));
    if (!str_has(str_of(err.text), str_of(says)))
        test_failed(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", err.text, says);
    return err.kind;
}
static void db_sql(struct world *w, const char *text)
{
    sqlite3 *db;
    CHECK(sqlite3_open(w->path, &db) == SQLITE_OK);
    CHECK_INT(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    CHECK(sqlite3_close(db) == SQLITE_OK);
}

static void hold_open(struct world *w)
{
    world_open(w);
    (void)key_put(w, "a", "1");
    char c = 'x';
    CHECK(write(ack_fd, &c, 1) == 1);
    for (;;)
        pause();
}
static void file_overwrite(const char *path, off_t at, const char *bytes, size_t n)
{
    AUTO(fd_close) int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && pwrite(fd, bytes, n, at) == (ssize_t)n);
}
TEST(store_that_lost_its_log_begins_no_new_one)
{
    struct world *w = world_new(true);
    AUTO(strbuf_fini) struct strbuf wal = STRBUF(STRBUF_TEXT);
    strbuf_addf(&wal, "%s-wal", w->path);
    world_open(w);
    (void)key_put(w, "a", "1");
    world_close(w);
    CHECK(access(wal.p, F_OK) < 0); /* closed in order, it is one file */
    file_overwrite(wal.p, 0, "changes", 7);
    CHECK(truncate(w->path, 0) == 0);
    CHECK_INT(open_refused(w, "is empty, but"), E_IO);
    CHECK(unlink(w->path) == 0);
    CHECK_INT(open_refused(w, "is gone, but"), E_IO);
    CHECK(unlink(wal.p) == 0);
    world_open(w); /* a new one, as nothing is there */
    world_free(w);
}
static bool snapshot_learn(void *arg, const struct store_snapshot *have, struct err *err)
{
    struct learned *l = arg;
    struct store_iter it;
    l->times++;
    for (struct store_entry *e = store_first(&it, have, S(""), STR_NONE); e; e = store_next(&it))
        l->have++;
    l->known = !l->never && pmap_get(&have->map, S("kind"));
    return !pmap_get(&have->map, S("broken")) || err_set(err, E_INVALID, "the kind is broken");
}
TEST(store_opens_in_two_halves_where_values_are_told_what_they_are)
{
    struct world *w = world_new(true);
    struct learned l = {0};
    world_open(w);
    (void)key_put(w, "a", "of a kind, older than it"), (void)key_put(w, "b", "plain"),
        (void)key_put(w, "kind", "plain");
    (void)key_put(w, "z", "of a kind, younger");
    w->o.load_arg = &l;
    w->o.known = snapshot_learn;
    world_reopen(w);
    CHECK(l.times == 1 && l.have == 2 && l.asked == 4);
    CHECK_STR(text_of(store_get(w->s, S("a"))->ref), S("of a kind, older than it"));
    CHECK_STR(text_of(store_get(w->s, S("z"))->ref), S("of a kind, younger"));
    CHECK_STR(text_of(store_get(w->s, S("b"))->ref), S("plain"));
    (void)key_put(w, "a", "plain"), (void)key_put(w, "z", "plain");
    l = (struct learned){0};
    world_reopen(w); /* nothing is left for the second half: nothing is read twice */
    CHECK(l.times == 1 && l.have == 4 && l.asked == 0);
    (void)key_put(w, "a", "of a kind");
    world_close(w);
    l = (struct learned){.never = true};
    CHECK_INT(open_refused(w, "the stored value of a: nobody knows this yet"), E_NOT_FOUND);
    l = (struct learned){0};
    world_open(w);
    (void)key_put(w, "broken", "plain");
    world_close(w);
    CHECK_INT(open_refused(w, "the kind is broken"), E_INVALID);
    w->o.path = NULL; /* memory has nothing to load, and is asked all the same */
    l = (struct learned){0};
    world_open(w);
    CHECK(l.times == 1 && l.have == 0);
    world_free(w);
}
TEST(store_refuses_what_it_should_not_open_with_a_sentence)
{
    struct world *w = world_new(true);
    world_open(w);
    (void)key_put(w, "a", "some value to be damaged");
    world_close(w);
    db_sql(w, "PRAGMA user_version = 99");
    CHECK_INT(open_refused(w, "newer Wherry"), E_INVALID);
    db_sql(w, "PRAGMA user_version = 1; PRAGMA application_id = 5");
    CHECK_INT(open_refused(w, "not a store of Wherry"), E_IO);
    db_sql(w, "PRAGMA application_id = 1464357465; UPDATE log SET value = zeroblob(3)");
    CHECK_INT(open_refused(w, "damaged"), E_IO);
    db_sql(w, "DELETE FROM log; UPDATE meta SET ceiling = 0");
    CHECK_INT(open_refused(w, "damaged"), E_IO);
    db_sql(w, "UPDATE meta SET ceiling = 100");
    world_open(w);
    (void)key_put(w, "a", "unloadable");
    world_close(w);
    CHECK_INT(open_refused(w, "nobody can read this"), E_INVALID);
    file_overwrite(w->path, 4096, "garbage garbage garbage", 23);
    CHECK_INT(open_refused(w, "damaged"), E_IO);
    file_overwrite(w->path, 0, "this is not a database at all", 29);
    CHECK_INT(open_refused(w, "not a store of Wherry"), E_IO);
    (void)snprintf(w->path, sizeof w->path, "%s/not/there/store.db", test_dir());
    CHECK_INT(open_refused(w, "cannot be opened: No such file or directory"), E_IO);
    world_free(w);
}

TEST(store_is_open_in_one_process_only)
{
    struct world *w = world_new(true);
    int fds[2];
    CHECK(pipe(fds) == 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        ack_fd = fds[1];
        hold_open(w);
    }
    char c;
    CHECK(read(fds[0], &c, 1) == 1);
    CHECK_INT(open_refused(w, "in use by another process"), E_UNAVAILABLE);
    CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
    world_open(w); /* the lock went with its holder */
    CHECK_STR(key_value(w, "a"), S("1"));
    world_free(w);
}

/* --- sealing --- */

static bool file_has(const char *path, struct str what)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(64 << 20);
    AUTO(fd_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    for (;;) {
        char *room = strbuf_room(&b, 65536);
        ssize_t n = read(fd, room, 65536);
        CHECK(n >= 0);
        strbuf_used(&b, (size_t)n);
        if (n == 0)
            return str_has(strbuf_str(&b), what);
    }
}
static const struct store_seal_key keys[] = {{7, {1, 2, 3}}, {8, {4, 5, 6}}};
static const struct str sealed[] = {S_INIT("secrets/"), S_INIT("tokens/")};

TEST(store_seals_before_anything_reaches_the_disk)
{
    struct world *w = world_new(true);
    char wal[240];
    (void)snprintf(wal, sizeof wal, "%s-wal", w->path);
    w->o.sealed = sealed;
    w->o.nsealed = countof(sealed);
    CHECK_INT(open_refused(w, "no key to seal them was given"), E_INVALID);
    w->o.seal_keys = keys;
    w->o.nseal_keys = 1;
    world_open(w);
    int64_t r0 = store_rev(w->s);
    (void)key_put(w, "secrets/a", "correct horse battery staple");
    (void)key_put(w, "secrets/a", "correct horse battery stable");
    (void)key_put(w, "plain", "a plain and visible value");
    CHECK(file_has(wal, S("a plain and visible value")) && !file_has(wal, S("correct horse")));
    world_reopen(w);
    CHECK(file_has(w->path, S("a plain and visible value")) && !file_has(w->path, S("correct horse")));
    CHECK_STR(key_value(w, "secrets/a"), S("correct horse battery stable"));
    check_history(w, r0, "secrets/",
                  "+secrets/a=correct horse battery staple "
                  "*secrets/a=correct horse battery staple>correct horse battery stable");
    world_close(w);
    /* rotation: the new key seals, the old one still opens */
    const struct store_seal_key rotated[] = {keys[1], keys[0]};
    w->o.seal_keys = rotated;
    w->o.nseal_keys = 2;
    world_open(w);
    (void)key_put(w, "secrets/b", "sealed by the new key");
    world_close(w);
    w->o.nseal_keys = 1;
    CHECK_INT(open_refused(w, "key 7, which is not among the keys given"), E_IO);
    const struct store_seal_key wrong[] = {{7, {9}}, {8, {9}}};
    w->o.seal_keys = wrong;
    w->o.nseal_keys = 2;
    CHECK_INT(open_refused(w, "does not open with key"), E_IO);
    w->o.seal_keys = rotated;
    world_open(w);
    CHECK_STR(key_value(w, "secrets/a"), S("correct horse battery stable"));
    CHECK_STR(key_value(w, "secrets/b"), S("sealed by the new key"));
    world_free(w);
}

/* --- backup --- */

static char backup_path[200];
static void backup_make(struct world *w, struct err *err)
{
    (void)snprintf(backup_path, sizeof backup_path, "%s/backup", test_dir());
    AUTO(store_snapshot_fini) struct store_snapshot snap = store_snapshot(w->s);
    CHECK_OK(store_backup(&snap, &w->o, backup_path, err), *err);
}
static void backups_try(struct world *w)
{
    struct err err = ERR;
    world_close(w);
    w->o.sealed = sealed;
    w->o.nsealed = countof(sealed);
    w->o.seal_keys = keys;
    w->o.nseal_keys = 1;
    world_open(w);
    for (int i = 0; i < 300; i++) {
        char key[20], text[40];
        (void)snprintf(key, sizeof key, "k%d", i);
        (void)snprintf(text, sizeof text, "value %d", i);
        (void)put_lazy(w, key, text);
    }
    (void)key_put(w, "k7", NULL);
    (void)key_put(w, "secrets/a", "correct horse");
    backup_make(w, &err);
    CHECK(!file_has(backup_path, S("correct horse")) && file_has(backup_path, S("value 99")));
    AUTO(strbuf_fini) struct strbuf before = STRBUF(1 << 20), after = STRBUF(1 << 20);
    struct store_snapshot snap = store_snapshot(w->s);
    (void)snapshot_listing(&snap, "", &before);
    store_snapshot_fini(&snap);
    int64_t create = store_get(w->s, S("k9"))->create_rev, later = key_put(w, "k8", "after the backup");

    /* on a bare second machine */
    struct world *to = world_new(true);
    to->o.sealed = sealed;
    to->o.nsealed = countof(sealed);
    int64_t rev;
    CHECK_OK(store_restore(&to->o, backup_path, false, &rev, &err), err);
    CHECK_INT(open_refused(to, "no key to seal"), E_INVALID);
    to->o.seal_keys = keys;
    to->o.nseal_keys = 1;
    world_open(to);
    CHECK(store_rev(to->s) == rev && rev > later + 1000000);
    CHECK_INT(store_get(to->s, S("k9"))->create_rev, create);
    snap = store_snapshot(to->s);
    CHECK_STR(snapshot_listing(&snap, "", &after), strbuf_str(&before));
    store_snapshot_fini(&snap);
    CHECK(!store_resumable(to->s, later, &err) && err.kind == E_EXPIRED);
    CHECK(key_put(to, "k8", "new") > rev);
    check_history(to, rev, "", "*k8=value 8>new");

    /* over a store that went on: still above everything that one gave */
    CHECK(!store_restore(&to->o, backup_path, true, &rev, &err) && err.kind == E_UNAVAILABLE); /* in use */
    int64_t newest = store_rev(to->s);
    world_close(to);
    CHECK(!store_restore(&to->o, backup_path, false, &rev, &err) && err.kind == E_ALREADY_EXISTS);
    CHECK_OK(store_restore(&to->o, backup_path, true, &rev, &err), err);
    CHECK(rev > newest);
    world_open(to);
    CHECK_STR(key_value(to, "k8"), S("value 8"));
    world_close(to);
    char kept[240];
    (void)snprintf(kept, sizeof kept, "%s.before-restore", to->path);
    CHECK(rename(kept, to->path) == 0);
    world_open(to);
    CHECK_STR(key_value(to, "k8"), S("new"));
    world_free(to);
}
TEST(store_backups_restore_on_a_bare_machine_above_every_revision)
{
    struct world *w = world_new(true);
    world_open(w);
    backups_try(w);
    world_free(w);
}
TEST(store_backups_of_memory_restore_too)
{
    struct world *w = world_new(false);
    world_open(w);
    backups_try(w);
    world_free(w);
}

TEST(store_restore_refuses_damage_and_leaves_the_old_store_alone)
{
    struct world *w = world_new(true), *to = world_new(true);
    struct err err = ERR;
    world_open(w);
    (void)key_put(w, "a", "1");
    (void)key_put(w, "b", "2");
    backup_make(w, &err);
    world_open(to);
    (void)key_put(to, "old", "1");
    world_close(to);
    struct stat st;
    CHECK(stat(backup_path, &st) == 0 && (st.st_mode & 0777) == 0600);
    AUTO(fd_close) int fd = open(backup_path, O_RDWR | O_CLOEXEC);
    for (off_t i = 0; i < st.st_size; i++) {
        char c, d;
        int64_t rev;
        CHECK(pread(fd, &c, 1, i) == 1);
        d = (char)(c ^ 0x10);
        CHECK(pwrite(fd, &d, 1, i) == 1);
        err = ERR;
        CHECK(!store_restore(&to->o, backup_path, true, &rev, &err) && err.kind == E_INVALID && err.text[0]);
        CHECK(pwrite(fd, &c, 1, i) == 1);
    }
    for (off_t n = st.st_size; n-- > 0;) { /* cut anywhere */
        int64_t rev;
        CHECK(ftruncate(fd, n) == 0);
        CHECK(!store_restore(&to->o, backup_path, true, &rev, &err) && err.kind == E_INVALID);
    }
    world_open(to);
    CHECK_STR(key_value(to, "old"), S("1"));
    world_free(to);
    world_free(w);
}

TEST(store_backup_and_restore_with_any_call_failing_are_whole_or_not_there)
{
    struct world *w = world_new(true), *to = world_new(true);
    struct err err = ERR;
    world_open(w);
    (void)key_put(w, "a", "1");
    world_close(w);
    loop_run(w->loop);
    world_open(w);
    (void)snprintf(backup_path, sizeof backup_path, "%s/backup", test_dir());
    int n = 1;
    for (bool fired = true; fired; n++) {
        AUTO(store_snapshot_fini) struct store_snapshot snap = store_snapshot(w->s);
        (void)unlink(backup_path);
        fault_at(n);
        bool ok = store_backup(&snap, &w->o, backup_path, &err);
        fired = fault_fired();
        fault_at(0);
        CHECK(ok || fired);
        int64_t rev;
        if (access(backup_path, F_OK) == 0)
            CHECK_OK(store_restore(&to->o, backup_path, true, &rev, &err), err);
        else
            CHECK(!ok);
    }
    CHECK(n > 4);
    for (n = 1;; n++) {
        int64_t rev;
        fault_at(n);
        bool ok = store_restore(&to->o, backup_path, true, &rev, &err), fired = fault_fired();
        fault_at(0);
        CHECK(ok || fired);
        world_open(to); /* the old one or the new one, which hold the same */
        CHECK_STR(key_value(to, "a"), S("1"));
        CHECK(!ok || store_rev(to->s) == rev);
        world_close(to);
        if (!fired)
            break;
    }
    CHECK(n > 20);
    world_free(to);
    world_free(w);
}
