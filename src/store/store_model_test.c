/* Random histories against a model: the model is the list of events as the subscriber saw them, and everything the
 * store can be asked must follow from it - also while calls to the disk fail and the store is closed and opened. */
#include "base/array.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/test.h"
#include "store/store.h"
#include <stdatomic.h>

enum { KEYS = 12, STEPS = 3000, PENDING = 40 };

struct number {
    atomic_int refs;
    int v;
};
static atomic_int alive;
static void *number_new(int v)
{
    struct number *n = NEW(struct number);
    atomic_init(&n->refs, 1);
    n->v = v;
    atomic_fetch_add(&alive, 1);
    return n;
}
static void number_ref(void *n)
{
    atomic_fetch_add(&((struct number *)n)->refs, 1);
}
static void number_unref(void *n)
{
    if (atomic_fetch_sub(&((struct number *)n)->refs, 1) == 1) {
        atomic_fetch_sub(&alive, 1);
        mem_free(n);
    }
}
static struct store *writing_to;
static bool write_while_encoding; /* in a simulation this is how writes come while a batch is under way */
static void start_one(struct store *s);
static void number_encode(const void *n, struct strbuf *out)
{
    struct store *s = write_while_encoding ? TAKE(writing_to) : NULL;
    if (s && random_below(2)) {
        start_one(s);
        start_one(s);
    }
    if (s)
        writing_to = s;
    strbuf_add(out, (struct str){(const char *)&((const struct number *)n)->v, sizeof(int)});
}
static void *number_load(void *arg, struct str key, struct str value, int64_t create_rev, int64_t mod_rev,
                         struct err *err)
{
    (void)arg, (void)key, (void)create_rev, (void)mod_rev, (void)err;
    int v;
    CHECK_INT(value.n, sizeof v);
    memcpy(&v, value.p, sizeof v);
    return number_new(v);
}
static const struct store_type type = {number_ref, number_unref, number_encode, number_load, NULL, NULL};

static const char *const names[KEYS] = {"a/0", "a/1", "a/2", "a/3", "b/0", "b/1", "b/2", "b/3", "c", "c/1", "d", "e"};
static const char *const prefixes[] = {"", "a/", "b/", "c", "zzz", "e"};

struct event {
    int64_t rev;
    int key, was, now; /* numbers; 0: none */
};
static ARRAY(struct event) events;
static int64_t began; /* the revision before the first event */
static int state[KEYS];

static int key_of(struct str name)
{
    for (int k = 0; k < KEYS; k++)
        if (str_eqz(name, names[k]))
            return k;
    CHECK(!"a key that nobody wrote");
    return 0;
}
static int number_of(const struct store_entry *e)
{
    return e ? ((const struct number *)e->ref)->v : 0;
}

static void events_told(struct store_subscriber *sub, const struct store_event *e, size_t n)
{
    (void)sub;
    for (size_t i = 0; i < n; i++) {
        int k = key_of(store_event_key(&e[i]));
        struct event ev = {e[i].rev, k, number_of(e[i].was), number_of(e[i].now)};
        CHECK(ev.rev > (events.n ? events.p[events.n - 1].rev : began));
        CHECK_INT(ev.was, state[k]);
        state[k] = ev.now;
        array_push(&events, ev);
    }
}
static struct store_subscriber subscriber = {.fn = events_told};

/* --- writers --- */

struct pending {
    struct store_write w[3];
    struct store_op op;
    int v[3];
    bool busy;
};
static struct pending pending[PENDING];
static int acknowledged, refusals, faults;
static bool mostly_lazy;

static void op_answered(struct store_op *op)
{
    struct pending *p = container_of(op, struct pending, op);
    p->busy = false;
    for (size_t i = 0; i < op->n; i++) {
        bool seen = false;
        for (size_t k = events.n; k-- > 0 && events.p[k].rev >= op->writes[i].rev;)
            seen |= events.p[k].rev == op->writes[i].rev && events.p[k].now == p->v[i] &&
                    str_eqz(op->writes[i].key, names[events.p[k].key]);
        CHECK(seen == op->ok); /* told before it is answered; nothing of what was refused */
    }
    acknowledged += op->ok;
    refusals += !op->ok;
    if (!op->ok)
        CHECK(op->err.kind == E_CONFLICT || op->err.kind == E_ALREADY_EXISTS || op->err.kind == E_NOT_FOUND ||
              (op->err.kind == E_UNAVAILABLE && faults));
}

static void start_one(struct store *s)
{
    static int value;
    struct pending *p = &pending[random_below(PENDING)];
    if (p->busy)
        return;
    size_t n = random_below(5) ? 1 : 1 + random_below(3);
    int first = (int)random_below(KEYS);
    for (size_t i = 0; i < n; i++) {
        const char *name = names[(first + (int)i * 5) % KEYS];
        const struct store_entry *e = store_get(s, str_of(name));
        p->v[i] = random_below(4) ? ++value : 0;
        int64_t expect = random_below(2) ? STORE_ANY : e && random_below(8) ? e->mod_rev : STORE_ABSENT;
        if (!p->v[i] && expect == STORE_ABSENT)
            expect = STORE_ANY;
        p->w[i] = (struct store_write){
            .key = str_of(name), .own_ref = p->v[i] ? number_new(p->v[i]) : NULL, .expect = expect};
    }
    p->busy = true;
    bool lazy = random_below(20) < (mostly_lazy ? 19 : 6);
    p->op = (struct store_op){
        .writes = p->w, .n = n, .class = lazy ? STORE_LAZY : STORE_DURABLE, .done = op_answered};
    struct store *outer = TAKE(writing_to); /* a lazy value is encoded inside the call */
    store_write(s, &p->op);
    writing_to = outer;
}

/* --- questions --- */

static bool asked;
static size_t at; /* the next event that history must tell */
static const char *prefix;

static void skip_others(int64_t upto)
{
    while (at < events.n && events.p[at].rev <= upto && !str_starts(str_of(names[events.p[at].key]), str_of(prefix)))
        at++;
}
static void history_told(struct store_history *h, const struct store_event *e, size_t n)
{
    for (size_t i = 0; i < n; i++, at++) {
        skip_others(h->upto);
        CHECK(at < events.n && events.p[at].rev == e[i].rev && names[events.p[at].key] != NULL);
        CHECK_INT(key_of(store_event_key(&e[i])), events.p[at].key);
        CHECK_INT(number_of(e[i].was), events.p[at].was);
        CHECK_INT(number_of(e[i].now), events.p[at].now);
    }
}
static void history_over(struct store_history *h)
{
    asked = false;
    if (h->ok) {
        skip_others(h->upto);
        CHECK(at == events.n || events.p[at].rev > h->upto);
    } else {
        CHECK(h->err.kind == E_EXPIRED || (h->err.kind == E_UNAVAILABLE && faults) ||
              (h->err.kind == E_IO && faults) || h->err.kind == E_CANCELLED);
    }
}
static void read_over(struct store_read *r)
{
    asked = false;
    if (!r->ok) {
        CHECK(r->err.kind == E_EXPIRED || ((r->err.kind == E_UNAVAILABLE || r->err.kind == E_IO) && faults) ||
              r->err.kind == E_CANCELLED);
        return;
    }
    int then[KEYS] = {0}, have[KEYS] = {0};
    for (size_t i = 0; i < events.n && events.p[i].rev <= r->rev; i++)
        then[events.p[i].key] = events.p[i].now;
    struct store_iter it;
    size_t n = 0;
    for (struct store_entry *e = store_first(&it, &r->snap, str_of(prefix), STR_NONE); e; e = store_next(&it), n++) {
        CHECK(e->mod_rev <= r->rev);
        have[key_of(store_entry_key(e))] = number_of(e);
    }
    for (int k = 0; k < KEYS; k++)
        if (str_starts(str_of(names[k]), str_of(prefix)))
            CHECK_INT(have[k], then[k]);
    CHECK_INT(store_count(&r->snap, str_of(prefix), STR_NONE), n);
    store_snapshot_fini(&r->snap);
}

static struct store_history history;
static struct store_read reading;

static void history_ask(struct store *s)
{
    if (asked)
        return;
    int64_t rev = store_floor(s) + (int64_t)random_below((uint64_t)(store_rev(s) - store_floor(s)) + 1);
    asked = true;
    prefix = prefixes[random_below(countof(prefixes))];
    if (random_below(2)) {
        history = (struct store_history){
            .after = rev, .prefix = str_of(prefix), .fn = history_told, .done = history_over};
        for (at = 0; at < events.n && events.p[at].rev <= rev;)
            at++;
        store_history(s, &history);
    } else {
        reading = (struct store_read){.rev = rev, .prefix = str_of(prefix), .done = read_over};
        store_read_at(s, &reading);
    }
}

static void check_now(const struct store *s)
{
    for (int k = 0; k < KEYS; k++)
        CHECK_INT(number_of(store_get(s, str_of(names[k]))), state[k]);
    if (events.n)
        CHECK(store_rev(s) >= events.p[events.n - 1].rev);
}

static bool ops_are_pending(void)
{
    for (size_t i = 0; i < PENDING; i++)
        if (pending[i].busy)
            return true;
    return asked;
}

static struct store *open_store(struct loop *l, const struct store_options *o)
{
    struct err err = ERR;
    struct store *s = store_open(l, o, &err);
    CHECK_OK(s, err);
    store_subscribe(s, &subscriber);
    writing_to = s;
    return s;
}

static void store_live(struct loop *l, const struct store_options *o, bool with_faults)
{
    struct store *s = open_store(l, o);
    began = store_rev(s);
    for (int step = 0; step < STEPS; step++) {
        uint64_t dice = random_below(1000);
        mostly_lazy = step / 200 % 3 == 0;
        if (dice < 600)
            start_one(s);
        else if (dice < 700)
            history_ask(s);
        else if (dice < 960)
            (void)loop_run_once(l, ops_are_pending() ? 10 * NS_PER_MS : 0);
        else if (dice < 970)
            check_now(s);
        else if (dice < 980)
            store_compact(s, store_rev(s) - (int64_t)random_below(60));
        else if (dice < 990 && with_faults && !fault_fired()) {
            fault_at(1 + (int)random_below(10));
            faults++;
        } else if (dice < 995 && o->path) {
            while (ops_are_pending())
                (void)loop_run_once(l, NS_PER_S);
            fault_at(0); /* a disk that fails at open is another test's */
            writing_to = NULL;
            store_unsubscribe(&subscriber);
            store_close(s);
            loop_run(l);
            s = open_store(l, o);
            check_now(s);
        }
        if (fault_fired())
            fault_at(0);
    }
    while (ops_are_pending())
        (void)loop_run_once(l, NS_PER_S);
    check_now(s);
    fault_at(0);
    writing_to = NULL;
    store_unsubscribe(&subscriber);
    store_close(s);
    loop_run(l);
    CHECK(acknowledged > STEPS / 10 && refusals > STEPS / 100);
    CHECK_INT(atomic_load(&alive), 0);
    array_fini(&events);
}

/* Simulated: everything follows from the seed, jobs included. Otherwise with threads, as it will be. */
static void stories_play(bool simulated, const char *path, size_t in_memory, bool with_faults)
{
    uint64_t seed;
    const char *given = getenv("WHERRY_SEED");
    if (given)
        CHECK(str_to_u64(str_of(given), UINT64_MAX, &seed));
    else
        seed = random_below(1000000000);
    fprintf(stderr, "WHERRY_SEED=%llu\n", (unsigned long long)seed);
    char full[200];
    (void)snprintf(full, sizeof full, "%s/%s", test_dir(), path ? path : "");
    struct store_options o = {.path = path ? full : NULL, .type = &type, .history_changes = in_memory};
    struct err err = ERR;
    AUTO(loop_free) struct loop *l = simulated ? loop_new_simulated(seed + 1) : loop_new(&err);
    write_while_encoding = simulated;
    store_live(l, &o, with_faults);
}

TEST(store_model_memory)
{
    stories_play(true, NULL, 0, false);
}
TEST(store_model_memory_with_a_short_history)
{
    stories_play(true, NULL, 30, false);
}
TEST(store_model_log)
{
    stories_play(true, "store.db", 0, false);
}
TEST(store_model_log_with_hardly_any_history_in_memory)
{
    stories_play(true, "store.db", 3, false);
}
TEST(store_model_log_with_faults)
{
    stories_play(true, "store.db", 3, true);
}
TEST(store_model_log_with_faults_and_threads)
{
    stories_play(false, "store.db", 10, true);
}
