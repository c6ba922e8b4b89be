/* Caches, queues and events over the fake API on simulated time. */
#include "base/clock.h"
#include "base/test.h"
#include "client/cache.h"
#include "client/events.h"
#include "client/fake.h"
#include "client/workqueue.h"
#include "sys/loop.h"

struct seen {
    struct cache_handler h;
    int added, updated, deleted, synced;
};

static void seen_changed(struct cache_handler *h, struct obj *was, struct obj *now)
{
    struct seen *s = container_of(h, struct seen, h);
    s->added += !was;
    s->updated += was && now;
    s->deleted += !now;
}

static void seen_synced(struct cache_handler *h)
{
    container_of(h, struct seen, h)->synced++;
}

static void time_over(struct timer *t)
{
    (void)t;
}

static void run_for(struct loop *l, int64_t ns)
{
    struct timer end; /* so that time passes where nothing else waits for it */
    timer_init(&end, l, time_over);
    timer_set(&end, ns);
    while (timer_is_set(&end) && loop_run_once(l, ns)) {
    }
    timer_stop(&end);
}

static void config_map(struct transport *api, const char *name, const char *value)
{
    AUTO(arena_fini) struct arena a = ARENA;
    fake_put_yaml(
        api, arena_fmt(&a, "{apiVersion: v1, kind: ConfigMap, metadata: {name: %s}, data: {k: %s}}", name, value));
}

static struct cache *cache_of(struct transport *api, struct seen *s)
{
    struct cache_options o = {.kind = K(ConfigMap)};
    struct cache *c = cache_new(api, &o);
    s->h = (struct cache_handler){.changed = seen_changed, .synced = seen_synced};
    cache_handler_add(c, &s->h);
    cache_start(c);
    return c;
}

TEST(a_cache_follows_what_happens)
{
    AUTO(loop_free) struct loop *l = loop_new_simulated(1);
    AUTO(transport_free) struct transport *api = fake_new(l, 5 * NS_PER_MS);
    struct seen s = {0};
    config_map(api, "a", "one");
    AUTO(cache_free) struct cache *c = cache_of(api, &s);
    CHECK(!cache_synced(c));
    run_for(l, NS_PER_S);
    CHECK(cache_synced(c) && s.synced == 1 && s.added == 1);
    config_map(api, "b", "one");
    config_map(api, "a", "two");
    fake_remove(api, K(ConfigMap), S("default"), S("b"));
    run_for(l, NS_PER_S);
    CHECK_INT(s.added, 2);
    CHECK_INT(s.updated, 1);
    CHECK_INT(s.deleted, 1);
    CHECK_INT(cache_rev(c), fake_rev(api));
    AUTO(obj_unref) struct obj *a = cache_get(c, S("default"), S("a"));
    CHECK_STR(val_text(val_get_str(val_get(&a->tree, N(data)), S("k"))), S("two"));
}

TEST(a_cut_line_loses_nothing_and_repeats_nothing)
{
    AUTO(loop_free) struct loop *l = loop_new_simulated(2);
    AUTO(transport_free) struct transport *api = fake_new(l, 5 * NS_PER_MS);
    struct seen s = {0};
    AUTO(cache_free) struct cache *c = cache_of(api, &s);
    run_for(l, NS_PER_S);
    for (int i = 0; i < 20; i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        fake_cut(api);
        config_map(api, arena_fmt(&a, "m%d", i).p, "x");
        run_for(l, (int64_t)random_below(300) * NS_PER_MS);
    }
    run_for(l, 30 * NS_PER_S);
    CHECK_INT(s.added, 20);
    CHECK_INT(s.updated + s.deleted, 0);
}

TEST(after_410_the_difference_is_told)
{
    AUTO(loop_free) struct loop *l = loop_new_simulated(3);
    AUTO(transport_free) struct transport *api = fake_new(l, 0);
    struct seen s = {0};
    config_map(api, "stays", "x");
    config_map(api, "goes", "x");
    config_map(api, "changes", "x");
    AUTO(cache_free) struct cache *c = cache_of(api, &s);
    run_for(l, NS_PER_S);
    fake_cut(api);
    fake_remove(api, K(ConfigMap), S("default"), S("goes"));
    config_map(api, "changes", "new");
    config_map(api, "comes", "x");
    fake_compact(api);
    run_for(l, 30 * NS_PER_S);
    CHECK_INT(s.added, 4);
    CHECK_INT(s.updated, 1);
    CHECK_INT(s.deleted, 1);
    CHECK_INT(s.synced, 1);
    CHECK(!cache_peek(c, S("default"), S("goes")));
}

TEST(one_that_took_anothers_name_has_come_and_the_other_gone)
{
    AUTO(loop_free) struct loop *l = loop_new_simulated(3);
    AUTO(transport_free) struct transport *api = fake_new(l, 0);
    struct seen s = {0};
    config_map(api, "a", "x");
    AUTO(cache_free) struct cache *c = cache_of(api, &s);
    run_for(l, NS_PER_S);
    fake_cut(api);
    fake_remove(api, K(ConfigMap), S("default"), S("a"));
    config_map(api, "a", "other");
    fake_compact(api);
    run_for(l, 30 * NS_PER_S);
    CHECK_INT(s.added, 2);
    CHECK_INT(s.deleted, 1);
    CHECK_INT(s.updated, 0);
}

TEST(a_server_that_is_away_is_asked_again_but_not_often)
{
    AUTO(loop_free) struct loop *l = loop_new_simulated(4);
    AUTO(transport_free) struct transport *api = fake_new(l, 0);
    struct seen s = {0};
    fake_fail(api, 12, E_UNAVAILABLE);
    AUTO(cache_free) struct cache *c = cache_of(api, &s);
    run_for(l, 5 * NS_PER_S);
    CHECK(!cache_synced(c));
    run_for(l, 200 * NS_PER_S);
    CHECK(cache_synced(c));
}

TEST(an_index_follows_changes_of_its_key)
{
    AUTO(objset_fini) struct objset s = {0};
    AUTO(loop_free) struct loop *l = loop_new_simulated(5);
    AUTO(transport_free) struct transport *api = fake_new(l, 0);
    static const struct objindex *const indexes[] = {&index_node, NULL};
    objset_init(&s, K(Pod), indexes);
    const char *const nodes[] = {"n1", "n2", "n2"};
    for (int i = 0; i < 3; i++) {
        AUTO(arena_fini) struct arena a = ARENA;
        struct obj *o = fake_put_yaml(
            api, arena_fmt(&a,
                           "{apiVersion: v1, kind: Pod, metadata: {name: p%d}, spec: {nodeName: %s, "
                           "containers: [{name: c, image: i}]}}",
                           i % 2, nodes[i]));
        obj_unref(objset_put(&s, o));
    }
    CHECK_INT(objset_count(&s, &index_node, S("n1")), 0); /* p0 has moved */
    CHECK_INT(objset_count(&s, &index_node, S("n2")), 2);
    obj_unref(objset_del(&s, S("default"), S("p1")));
    CHECK_INT(objset_count(&s, &index_node, S("n2")), 1);
}

/* ---- the work queue ---- */

struct job_log {
    struct workqueue *q;
    struct strbuf text;
    bool hold, fail;
};

static void job_work(void *arg, struct str key)
{
    struct job_log *j = arg;
    strbuf_addf(&j->text, STR_FMT " ", STR_ARG(key));
    if (!j->hold)
        workqueue_done(j->q, key, !j->fail);
}

static void queue_init(struct job_log *j, struct loop *l)
{
    *j = (struct job_log){.text = STRBUF(STRBUF_TEXT)};
    struct workqueue_options o = {.loop = l, .work = job_work, .arg = j};
    j->q = workqueue_new(&o);
    workqueue_start(j->q);
}

static void queue_fini(struct job_log *j)
{
    workqueue_free(j->q);
    strbuf_fini(&j->text);
}

TEST(a_key_is_worked_on_once_at_a_time_and_never_forgotten)
{
    AUTO(loop_free) struct loop *l = loop_new_simulated(6);
    struct job_log j;
    queue_init(&j, l);
    j.hold = true;
    workqueue_add(j.q, S("a"));
    workqueue_add(j.q, S("a"));
    run_for(l, NS_PER_S);
    CHECK_STR(strbuf_str(&j.text), S("a "));
    workqueue_add(j.q, S("a")); /* while it is worked on */
    run_for(l, NS_PER_S);
    CHECK_STR(strbuf_str(&j.text), S("a "));
    workqueue_done(j.q, S("a"), true);
    run_for(l, NS_PER_S);
    CHECK_STR(strbuf_str(&j.text), S("a a "));
    queue_fini(&j);
}

TEST(namespaces_take_turns)
{
    AUTO(loop_free) struct loop *l = loop_new_simulated(6);
    struct job_log j;
    queue_init(&j, l);
    static const char *const keys[] = {"many/1", "many/2", "many/3", "many/4", "few/1", "/cluster", "few/2"};
    for (size_t i = 0; i < countof(keys); i++)
        workqueue_add(j.q, str_of(keys[i]));
    CHECK_INT(workqueue_len(j.q), countof(keys));
    run_for(l, NS_PER_S);
    CHECK_STR(strbuf_str(&j.text), S("many/1 few/1 /cluster many/2 few/2 many/3 many/4 "));
    CHECK_INT(workqueue_len(j.q), 0);
    workqueue_add(j.q, S("few/1")); /* one that is left waiting goes with its queue */
    queue_fini(&j);
}

TEST(failures_back_off_and_success_forgets_them)
{
    AUTO(loop_free) struct loop *l = loop_new_simulated(7);
    struct job_log j;
    queue_init(&j, l);
    j.fail = true;
    workqueue_add(j.q, S("a"));
    run_for(l, NS_PER_S); /* at 0, 5, 15, 35, 75, 155, 315, 635 ms */
    CHECK_INT(workqueue_failures(j.q, S("a")), 8);
    j.fail = false;
    run_for(l, 2 * NS_PER_S);
    CHECK_INT(workqueue_failures(j.q, S("a")), 0);
    queue_fini(&j);
}

TEST(the_earliest_delay_counts)
{
    AUTO(loop_free) struct loop *l = loop_new_simulated(8);
    struct job_log j;
    queue_init(&j, l);
    workqueue_add_after(j.q, S("a"), 10 * NS_PER_S);
    workqueue_add_after(j.q, S("a"), NS_PER_S);
    workqueue_add_after(j.q, S("a"), 5 * NS_PER_S);
    run_for(l, 2 * NS_PER_S);
    CHECK_STR(strbuf_str(&j.text), S("a "));
    run_for(l, 20 * NS_PER_S);
    CHECK_STR(strbuf_str(&j.text), S("a "));
    queue_fini(&j);
}

/* ---- events ---- */

struct weary {
    struct workqueue *q;
    int64_t ended, least; /* of the rests between two turns of the key */
    int turns;
};

static void weary_work(void *arg, struct str key)
{
    struct weary *w = arg;
    int64_t now = clock_mono();
    if (w->turns++)
        w->least = MIN(w->least, now - w->ended);
    workqueue_add(w->q, key); /* there is always more */
    while (clock_mono() < now + 4 * NS_PER_MS)
        ;
    w->ended = clock_mono();
    workqueue_done(w->q, key, true);
}

/* By the real clock: in a simulation work takes no time. */
TEST(a_key_rests_as_many_times_as_long_as_it_was_worked_on)
{
    struct err err = ERR;
    AUTO(loop_free) struct loop *l = loop_new(&err);
    struct weary w = {.least = INT64_MAX};
    struct workqueue_options o = {.loop = l, .work = weary_work, .arg = &w, .rest = 5};
    w.q = workqueue_new(&o);
    workqueue_start(w.q);
    workqueue_add(w.q, S("a"));
    while (w.turns < 6)
        (void)loop_run_once(l, NS_PER_S);
    CHECK(w.least >= 18 * NS_PER_MS); /* 5 times 4 ms; timers are no finer than 1 ms */
    CHECK_INT(workqueue_len(w.q), 0); /* what rests does not wait */
    workqueue_free(w.q);
}

TEST(the_same_event_again_is_counted)
{
    AUTO(loop_free) struct loop *l = loop_new_simulated(9);
    AUTO(transport_free) struct transport *api = fake_new(l, NS_PER_MS);
    config_map(api, "a", "x");
    struct obj *about = fake_get(api, K(ConfigMap), S("default"), S("a"));
    AUTO(events_free) struct events *e = events_new(api, "tester", "n1");
    for (int i = 0; i < 5; i++)
        events_record(e, about, S(""), "Normal", "Tried", NULL, S("it was tried"));
    events_record(e, about, S(""), "Warning", "Failed", "Doing", S("it failed"));
    events_record(e, about, S(""), "Warning", "Failed", "Doing", S("it failed"));
    run_for(l, NS_PER_S);
    CHECK(events_idle(e));
    const struct objset *old = fake_set(api, K(Event)), *new = fake_set(api, K(events_k8s_io_Event));
    CHECK_INT(objset_len(old), 1);
    CHECK_INT(objset_len(new), 1);
    struct objset_iter it = objset_all(old);
    struct obj *o = objset_next(&it);
    CHECK_INT(val_num_at(&o->tree, 0, N(count)), 5);
    CHECK_STR(val_text_at(&o->tree, N(involvedObject), N(uid)), about->uid);
    CHECK_STR(val_text_at(&o->tree, N(source), N(component)), S("tester"));
    it = objset_all(new);
    o = objset_next(&it);
    CHECK_INT(val_num_at(&o->tree, 0, N(series), N(count)), 2);
    CHECK_STR(val_text_at(&o->tree, N(action)), S("Doing"));
}

/* Answers come in any order; what is said of one object does not. */
TEST(events_of_one_object_keep_their_order)
{
    AUTO(loop_free) struct loop *l = loop_new_simulated(9);
    AUTO(transport_free) struct transport *api = fake_new(l, 20 * NS_PER_MS);
    AUTO(events_free) struct events *e = events_new(api, "tester", "n1");
    enum { OBJECTS = 16, EVENTS = 20 };
    struct obj *about[OBJECTS];
    for (int i = 0; i < OBJECTS; i++) {
        char name[] = {'x', (char)('a' + i), 0};
        config_map(api, name, "x");
        about[i] = obj_ref(fake_get(api, K(ConfigMap), S("default"), str_of(name)));
    }
    for (int n = 0; n < EVENTS; n++)
        for (int i = 0; i < OBJECTS; i++) {
            char text[16];
            snprintf(text, sizeof text, "%02d", n);
            events_record(e, about[i], S(""), "Normal", "Said", NULL, str_of(text));
            if (n == 7)
                fake_fail(api, 3, E_UNAVAILABLE);
            run_for(l, NS_PER_MS / 4);
        }
    run_for(l, 60 * NS_PER_S);
    CHECK(events_idle(e));
    for (int i = 0; i < OBJECTS; i++) {
        int64_t before[EVENTS] = {0}; /* revision of each */
        struct obj *o;
        for (struct objset_iter it = objset_all(fake_set(api, K(Event))); (o = objset_next(&it));)
            if (str_eq(val_text_at(&o->tree, N(involvedObject), N(uid)), about[i]->uid))
                before[atoi(val_text_at(&o->tree, N(message)).p)] = o->rev;
        for (int n = 0; n < EVENTS; n++)
            CHECK(before[n] > (n ? before[n - 1] : 0));
        obj_unref(about[i]);
    }
}

/* Twelve times over some minute and a half, then never; what the server refuses is not said again. */
TEST(events_wait_for_a_server_that_is_away)
{
    static const struct {
        enum err_kind kind;
        int times;
        bool written;
    } rows[] = {{E_UNAVAILABLE, 11, true}, {E_UNAVAILABLE, 12, false}, {E_IO, 5, true}, {E_FORBIDDEN, 1, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        AUTO(loop_free) struct loop *l = loop_new_simulated(9);
        AUTO(transport_free) struct transport *api = fake_new(l, NS_PER_MS);
        config_map(api, "a", "x");
        struct obj *about = fake_get(api, K(ConfigMap), S("default"), S("a"));
        AUTO(events_free) struct events *e = events_new(api, "tester", "n1");
        fake_fail(api, rows[i].times, rows[i].kind);
        events_record(e, about, S(""), "Normal", "Tried", NULL, S("it was tried"));
        run_for(l, 120 * NS_PER_S);
        CHECK(events_idle(e));
        CHECK_INT(objset_len(fake_set(api, K(Event))), rows[i].written);
    }
}

/* Its object may go meanwhile; what is needed to tell it again comes with the repeat. */
TEST(an_event_that_was_deleted_is_told_anew)
{
    AUTO(loop_free) struct loop *l = loop_new_simulated(9);
    AUTO(transport_free) struct transport *api = fake_new(l, NS_PER_MS);
    config_map(api, "a", "x");
    struct obj *about = fake_get(api, K(ConfigMap), S("default"), S("a"));
    AUTO(events_free) struct events *e = events_new(api, "tester", "n1");
    for (int round = 0; round < 2; round++) {
        events_record(e, about, S(""), "Normal", "Tried", NULL, S("it was tried"));
        run_for(l, NS_PER_S);
        CHECK(events_idle(e));
        CHECK_INT(objset_len(fake_set(api, K(Event))), 1);
        struct objset_iter it = objset_all(fake_set(api, K(Event)));
        struct obj *o = objset_next(&it);
        CHECK_INT(val_num_at(&o->tree, 0, N(count)), 1);
        CHECK_STR(val_text_at(&o->tree, N(message)), S("it was tried"));
        fake_remove(api, K(Event), o->ns, o->name);
    }
}

/* Ten minutes later a repeat is an event of its own. */
TEST(an_event_that_was_not_told_for_long_is_forgotten)
{
    AUTO(loop_free) struct loop *l = loop_new_simulated(9);
    AUTO(transport_free) struct transport *api = fake_new(l, NS_PER_MS);
    config_map(api, "a", "x");
    struct obj *about = fake_get(api, K(ConfigMap), S("default"), S("a"));
    AUTO(events_free) struct events *e = events_new(api, "tester", "n1");
    for (int minute = 0; minute < 21; minute++) {
        if (minute == 0 || minute == 9 || minute == 20)
            events_record(e, about, S(""), "Normal", "Tried", NULL, S("it was tried"));
        run_for(l, 60 * NS_PER_S);
    }
    {
        struct obj *o;
        for (struct objset_iter it = objset_all(fake_set(api, K(Event))); (o = objset_next(&it));)
            fprintf(stderr, STR_FMT " count %lld now %lld\n", STR_ARG(o->name),
                    (long long)val_num_at(&o->tree, 0, N(count)), (long long)loop_now(l));
    }
    CHECK_INT(objset_len(fake_set(api, K(Event))), 2);
}
