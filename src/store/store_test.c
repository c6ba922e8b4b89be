/* store_test.c - the contract of store.h against every engine. */
#include "store/world_test.h"

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
