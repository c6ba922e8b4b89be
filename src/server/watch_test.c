/* Whom a change reaches: counted, and compared with the simple way, which asks every watch about every change. */
#include "api/codec.h"
#include "base/test.h"
#include "server/int.h"
#include "server/server.h"
#include "server/watch.h"
#include "sys/loop_thread.h"
#include "wire/json.h"

/* --- a server in memory, and all that happens in its store --- */

struct world {
    struct loop *loop;
    struct server *server;
    bool ready;
    struct store_subscriber tape;
    ARRAY(struct store_event) events; /* entries counted */
    size_t old;                       /* of these are not history that anybody watches */
    uint64_t dice;
};

static unsigned dice_roll(struct world *w, unsigned sides)
{
    w->dice = w->dice * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(w->dice >> 33) % sides;
}

static void on_ready(void *arg)
{
    ((struct world *)arg)->ready = true;
}

static void tape_record(struct store_subscriber *sub, const struct store_event *events, size_t n)
{
    struct world *w = container_of(sub, struct world, tape);
    for (size_t i = 0; i < n; i++) {
        if (events[i].was)
            store_entry_ref(events[i].was);
        if (events[i].now)
            store_entry_ref(events[i].now);
        array_push(&w->events, events[i]);
    }
}

static void world_turns(struct world *w, const bool *until)
{
    for (int64_t end = clock_mono() + 60 * NS_PER_S; !*until;) {
        (void)loop_run_once(w->loop, 100 * NS_PER_MS);
        CHECK(clock_mono() < end);
    }
}

static void world_init(struct world *w, uint64_t seed)
{
    struct err err = ERR;
    *w = (struct world){.dice = seed, .tape.fn = tape_record};
    w->loop = loop_new(&err);
    struct server_options o = {
        .root = test_dir(), .listen = "127.0.0.1:0", .memory = true, .ready = on_ready, .arg = w};
    w->server = server_start(w->loop, &o, &err);
    CHECK_OK(w->server != NULL, err);
    list_init(&w->tape.node);
    world_turns(w, &w->ready);
    AUTO(store_snapshot_fini) struct store_snapshot all = store_snapshot(w->server->store);
    struct store_iter it;
    for (struct store_entry *e = store_first(&it, &all, S(""), STR_NONE); e; e = store_next(&it))
        tape_record(&w->tape, &(struct store_event){.rev = e->mod_rev, .now = e}, 1);
    store_subscribe(w->server->store, &w->tape);
}

static void world_fini(struct world *w)
{
    store_unsubscribe(&w->tape);
    array_each (e, &w->events) {
        store_entry_unref(e->was);
        store_entry_unref(e->now);
    }
    array_fini(&w->events);
    server_stop(w->server);
    loop_free(w->loop);
}

/* --- writes, past all rules: of what a watch sees, no more is needed --- */

struct writing {
    struct store_op op;
    struct store_write write;
    struct arena arena;
    bool done;
};

static void op_written(struct store_op *op)
{
    container_of(op, struct writing, op)->done = true;
}

static struct obj *object_of_json(struct arena *a, const struct kind *k, struct str json)
{
    struct err err = ERR;
    struct val tree, typed;
    CHECK_OK(json_decode(a, json, &tree, &err), err);
    CHECK_OK(type_decode_val(a, k->type, &tree, &typed, NULL, &err), err);
    return obj_new(k, &typed, 0);
}

/* json "": deleted. */
static void write_start(struct world *w, struct writing *x, const struct kind *k, struct str ns, struct str name,
                        struct str json)
{
    *x = (struct writing){.op = {.n = 1, .done = op_written}};
    x->write = (struct store_write){.key = object_key(&x->arena, k, ns, name), .expect = STORE_ANY};
    if (json.n)
        x->write.own_ref = object_of_json(&x->arena, k, json);
    x->op.writes = &x->write;
    store_write(w->server->store, &x->op);
}

static void write_end(struct world *w, struct writing *x)
{
    world_turns(w, &x->done);
    arena_fini(&x->arena);
}

/* --- a watcher, and what it was told: "+NS/NAME@REV ", "*...", "-...", "|REV " for the end of the initial events ---
 */

struct reader {
    struct world *w;
    struct watching watching;
    struct request request;
    const struct kind *kind;
    const char *ns, *labels, *fields;
    const struct user *user; /* NULL: nobody */
    int64_t from;            /* 0: with initial events */
    pthread_mutex_t lock;
    struct strbuf text;
    bool to_stop, stopped;
};

static void add_line(struct strbuf *b, enum watch_type type, const struct obj *o, int64_t rev)
{
    strbuf_addc(b, "+*-|"[type]);
    if (o)
        strbuf_addf(b, STR_FMT "/" STR_FMT "@", STR_ARG(o->ns), STR_ARG(o->name));
    strbuf_addf(b, "%lld ", (long long)rev);
}

static void on_event(struct watching *g, struct notice *n)
{
    struct reader *r = container_of(g, struct reader, watching);
    CHECK(!n->obj || (n->obj->kind == r->kind && n->obj->rev == n->rev));
    pthread_mutex_lock(&r->lock);
    add_line(&r->text, n->type, n->obj, n->rev);
    pthread_mutex_unlock(&r->lock);
}

static void on_ended(struct watching *g, const struct failure *fail)
{
    (void)g;
    test_failed(__FILE__, __LINE__, "a watch ended: %d " STR_FMT, fail->code, STR_ARG(fail->message));
}

static void no_answer(struct request *q)
{
    (void)q;
}

/* In the reader's loop. */
static void reader_start(void *arg)
{
    struct reader *r = arg;
    struct request *q = &r->request;
    request_init(q, r->w->server, r->watching.loop, no_answer);
    request_for(q, VERB_WATCH, r->kind, str_of(r->ns), STR_NONE, STR_NONE);
    q->options = (struct request_options){
        .watch = true, .bookmarks = true, .label_selector = str_of(r->labels), .field_selector = str_of(r->fields)};
    if (r->from)
        q->options.resource_version = arena_fmt(&q->arena, "%lld", (long long)r->from);
    else
        q->options.send_initial_events = SAID_YES;
    if (r->user)
        q->user = r->user;
    if (!watching_start(&r->watching, q))
        test_failed(__FILE__, __LINE__, STR_FMT, STR_ARG(q->answer.fail.message));
}

static void reader_init(struct reader *r, struct world *w, struct loop *l)
{
    *r = (struct reader){.w = w, .ns = "", .labels = "", .fields = "", .text = STRBUF(1 << 22)};
    pthread_mutex_init(&r->lock, NULL);
    r->watching = (struct watching){.loop = l, .event = on_event, .ended = on_ended};
}

/* In the reader's loop. */
static void reader_stop(void *arg)
{
    struct reader *r = arg;
    watching_stop(&r->watching);
    request_fini(&r->request);
    __atomic_store_n(&r->stopped, true, __ATOMIC_RELEASE);
}

static bool has_stopped(const struct reader *r)
{
    return __atomic_load_n(&r->stopped, __ATOMIC_ACQUIRE);
}

static void reader_fini(struct reader *r)
{
    strbuf_fini(&r->text);
    pthread_mutex_destroy(&r->lock);
}

/* --- a change asks those whom it may concern --- */

enum { MANY = 1000 };

static uint64_t visits_of(struct world *w, const struct kind *k, const char *ns, const char *name, const char *rest)
{
    struct writing x;
    AUTO(arena_fini) struct arena a = ARENA;
    uint64_t before = w->server->interests.visits;
    write_start(w, &x, k, str_of(ns), str_of(name),
                arena_fmt(&a, "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"%s\"}%s}", name, ns, rest));
    write_end(w, &x);
    CHECK(x.op.ok);
    return w->server->interests.visits - before;
}

/* A number in the place of "#". */
static const char *text_numbered(struct arena *a, const char *text, size_t i)
{
    struct str before, after;
    return str_split(str_of(text), '#', &before, &after)
               ? arena_fmt(a, STR_FMT "%zu" STR_FMT, STR_ARG(before), i, STR_ARG(after)).p
               : text;
}

TEST(a_write_asks_nobody_whom_it_does_not_concern)
{
    static const struct {
        const struct kind *k;
        const char *ns, *fields;
    } sorts[] = {
        {K(ConfigMap), "ns-#", ""},
        {K(ConfigMap), "default", "metadata.name=one-#"},
        {K(ConfigMap), "", "metadata.name=one-#"},
        {K(Pod), "", "spec.nodeName=node-#"},
        {K(Pod), "default", "spec.nodeName=node-#"},
        {K(Event), "", "involvedObject.uid=uid-#"},
        {K(events_k8s_io_Event), "", "regarding.uid=uid-#"},
        {K(Secret), "", ""},
    };
    static const struct {
        const struct kind *k;
        const char *ns, *name, *rest;
        uint64_t asked;
    } writes[] = {
        {K(ConfigMap), "default", "one", "", 0},
        {K(ConfigMap), "ns-7", "one", "", MANY / 100}, /* each sort stands in 100 places */
        {K(ConfigMap), "default", "one-7", "", MANY / 50},
        {K(ConfigMap), "ns-7", "one-8", "", MANY / 50},
        {K(ConfigMap), "ns-999", "one-8", "", MANY / 100},
        {K(Pod), "default", "one", "", 0},
        {K(Pod), "default", "one", ",\"spec\":{\"nodeName\":\"node-7\"}", MANY / 50},
        {K(Pod), "default", "one", ",\"spec\":{\"nodeName\":\"node-8\"}", MANY / 25}, /* the old ones and the new */
        {K(Pod), "other", "one", ",\"spec\":{\"nodeName\":\"node-8\"}", MANY / 100},
        {K(Event), "default", "one", ",\"involvedObject\":{\"uid\":\"uid-9\"}", MANY / 50},
        {K(Event), "default", "two", ",\"involvedObject\":{\"uid\":\"uid/9\"}", 0},
        {K(Service), "default", "one", "", 0},
    };
    struct world w;
    world_init(&w, 1);
    struct reader *all = mem_alloc(countof(sorts) * MANY * sizeof *all);
    AUTO(arena_fini) struct arena a = ARENA;
    for (size_t i = 0; i < countof(sorts) * MANY; i++) {
        reader_init(&all[i], &w, w.loop);
        all[i].kind = sorts[i / MANY].k;
        all[i].ns = text_numbered(&a, sorts[i / MANY].ns, i % 100);
        all[i].fields = text_numbered(&a, sorts[i / MANY].fields, i % 100);
        all[i].from = store_rev(w.server->store);
        reader_start(&all[i]);
    }
    for (size_t i = 0; i < countof(writes); i++) {
        uint64_t n = visits_of(&w, writes[i].k, writes[i].ns, writes[i].name, writes[i].rest);
        if (n != writes[i].asked)
            test_failed(__FILE__, __LINE__, "write %zu: %llu watches are asked, not %llu", i, (unsigned long long)n,
                        (unsigned long long)writes[i].asked);
    }
    for (size_t i = 0; i < countof(sorts) * MANY; i++) {
        reader_stop(&all[i]);
        reader_fini(&all[i]);
    }
    mem_free(all);
    world_fini(&w);
}

/* --- how far a watch is --- */

static bool reader_was_told(const struct reader *r)
{
    return r->text.n > 0;
}

TEST(a_list_that_asks_for_bookmarks_marks_the_watches_of_its_user)
{
    struct world w;
    world_init(&w, 1);
    struct reader mine, other, another_kind;
    static const struct user somebody = {.name = S_INIT("somebody")};
    struct reader *all[] = {&mine, &other, &another_kind};
    for (size_t i = 0; i < countof(all); i++) {
        reader_init(all[i], &w, w.loop);
        all[i]->kind = i == 2 ? K(Secret) : K(ConfigMap);
        all[i]->from = store_rev(w.server->store);
        all[i]->user = i == 1 ? &somebody : NULL;
        reader_start(all[i]);
    }
    (void)visits_of(&w, K(Service), "default", "one", "");
    int64_t rev = store_rev(w.server->store);
    struct request q;
    request_init(&q, w.server, w.loop, no_answer);
    request_for(&q, VERB_LIST, K(ConfigMap), STR_NONE, STR_NONE, STR_NONE);
    watches_mark(&q);
    for (int64_t end = clock_mono() + 60 * NS_PER_S; !reader_was_told(&mine);) {
        (void)loop_run_once(w.loop, 100 * NS_PER_MS);
        CHECK(clock_mono() < end);
    }
    AUTO(arena_fini) struct arena a = ARENA;
    CHECK_STR(strbuf_str(&mine.text), arena_fmt(&a, "|%lld ", (long long)rev));
    CHECK(!reader_was_told(&other));
    CHECK(!reader_was_told(&another_kind));
    request_fini(&q);
    for (size_t i = 0; i < countof(all); i++) {
        reader_stop(all[i]);
        reader_fini(all[i]);
    }
    world_fini(&w);
}

/* --- the simple way --- */

static bool reader_concerns(const struct reader *r, const struct filter *f, const struct store_entry *e,
                            struct obj **as)
{
    struct obj *stored = object_of(e);
    const struct kind *k = r->kind->storage ? r->kind->storage : r->kind;
    *as = NULL;
    if (!stored || stored->kind != k || (*r->ns && !str_eqz(stored->ns, r->ns)))
        return false;
    *as = object_as(&kind_set_builtin, r->kind, stored);
    return filter_matches(f, r->kind, *as);
}

/* All that it should have been told, had it not been stopped; `upto`: the revision of its initial events. */
static void reader_expect(const struct reader *r, int64_t upto, struct strbuf *out)
{
    struct request q;
    struct filter f;
    request_init(&q, r->w->server, r->w->loop, no_answer);
    q.kind = r->kind;
    CHECK(filter_parse(&q, &q.arena, str_of(r->labels), str_of(r->fields), &f));
    AUTO(map_fini) struct map there = MAP; /* key -> the newest entry up to then */
    array_each (e, &r->w->events)
        if (!r->from && e->rev <= upto && e->now)
            (void)map_put(&there, store_entry_key(e->now), e->now);
        else if (!r->from && e->rev <= upto)
            (void)map_del(&there, store_entry_key(e->was));
    while (map_len(&there)) {
        struct store_entry *first = NULL;
        struct obj *o;
        map_each (it, &there)
            if (!first || str_cmp(it->key, store_entry_key(first)) < 0)
                first = it->value;
        if (reader_concerns(r, &f, first, &o))
            add_line(out, WATCH_TYPE_ADDED, o, o->rev);
        obj_unref(o);
        (void)map_del(&there, store_entry_key(first));
    }
    if (!r->from)
        add_line(out, WATCH_TYPE_BOOKMARK, NULL, upto);
    array_each (e, &r->w->events) {
        if (e->rev <= (r->from ? r->from : upto))
            continue;
        struct obj *was, *now;
        bool before = reader_concerns(r, &f, e->was, &was), after = reader_concerns(r, &f, e->now, &now);
        if (before || after)
            add_line(out,
                     !after   ? WATCH_TYPE_DELETED
                     : before ? WATCH_TYPE_MODIFIED
                              : WATCH_TYPE_ADDED,
                     after ? now : was, e->rev);
        obj_unref(was);
        obj_unref(now);
    }
    request_fini(&q);
}

static int64_t upto_of(struct reader *r)
{
    int64_t upto = -1;
    struct str before, after, number;
    pthread_mutex_lock(&r->lock);
    if (str_split(strbuf_str(&r->text), '|', &before, &after) && str_cut(&after, ' ', &number))
        CHECK(str_to_i64(number, 0, INT64_MAX, &upto));
    pthread_mutex_unlock(&r->lock);
    return upto;
}

/* Whether it has been told all; one that was stopped: nothing else than it should have been up to then. */
static bool is_right(struct reader *r, unsigned seed, bool last)
{
    bool stopped = has_stopped(r); /* then nothing comes any more */
    int64_t upto = r->from ? 0 : upto_of(r);
    if (upto < 0)
        return stopped;
    AUTO(strbuf_fini) struct strbuf want = STRBUF(1 << 22);
    reader_expect(r, upto, &want);
    pthread_mutex_lock(&r->lock);
    struct str have = strbuf_str(&r->text), all = strbuf_str(&want);
    bool ok = stopped ? str_starts(all, have) : str_eq(all, have);
    if (!ok && last)
        test_failed(__FILE__, __LINE__,
                    "seed %u, watch of " STR_FMT " in \"%s\" labels \"%s\" fields \"%s\" from %lld:\n"
                    "  told   " STR_FMT "\n  wanted " STR_FMT,
                    seed, STR_ARG(r->kind->kind), r->ns, r->labels, r->fields, (long long)r->from, STR_ARG(have),
                    STR_ARG(all));
    pthread_mutex_unlock(&r->lock);
    return ok;
}

/* --- random objects, random questions --- */

static const char *dice_pick(struct world *w, const char *const *from, unsigned n)
{
    return from[dice_roll(w, n)];
}
#define PICK(w, ...) dice_pick((w), (const char *const[]){__VA_ARGS__}, countof(((const char *const[]){__VA_ARGS__})))

static void reader_random(struct reader *r, struct world *w, struct loop *l)
{
    static const struct kind *const kinds_of[] = {K(Pod), K(Pod), K(ConfigMap), K(Event), K(events_k8s_io_Event),
                                                  K(Node)};
    reader_init(r, w, l);
    r->kind = kinds_of[dice_roll(w, countof(kinds_of))];
    r->ns = r->kind->namespaced ? PICK(w, "", "a", "b", "c") : "";
    r->labels = PICK(w, "", "", "x=1", "x!=1", "x in (1,2),y", "!y", "y=1");
    if (r->kind == K(Pod))
        r->fields = PICK(w, "", "", "spec.nodeName=", "spec.nodeName=n1", "spec.nodeName!=n1", "metadata.name=o1",
                         "spec.nodeName=n2,metadata.name=o1", "metadata.namespace=a");
    else if (r->kind == K(Event))
        r->fields = PICK(w, "", "involvedObject.uid=n1", "involvedObject.uid=n1/a", "metadata.name!=o2");
    else if (r->kind == K(events_k8s_io_Event))
        r->fields = PICK(w, "", "regarding.uid=n1", "regarding.uid=n1/a", "metadata.name=o2");
    else
        r->fields = PICK(w, "", "metadata.name=o1", "metadata.name!=o1");
    unsigned n = (unsigned)(w->events.n - w->old);
    if (n && dice_roll(w, 2))
        r->from = w->events.p[w->old + dice_roll(w, n)].rev;
}

static void write_random(struct world *w, struct writing *x)
{
    static const struct kind *const kinds_of[] = {K(Pod), K(Pod), K(Pod), K(ConfigMap), K(Event), K(Event), K(Node)};
    const struct kind *k = kinds_of[dice_roll(w, countof(kinds_of))];
    AUTO(arena_fini) struct arena a = ARENA;
    struct str ns = str_of(k->namespaced ? PICK(w, "a", "b") : ""), name = str_of(PICK(w, "o1", "o2", "o3")), json;
    const char *value = PICK(w, "n1", "n2", "n1/a", "");
    json = arena_fmt(&a,
                     "{\"metadata\":{\"name\":\"" STR_FMT "\",\"namespace\":\"" STR_FMT
                     "\",\"labels\":{%s}},\"%s\":{\"%s\":\"%s\"}}",
                     STR_ARG(name), STR_ARG(ns),
                     PICK(w, "", "\"x\":\"1\"", "\"x\":\"2\",\"y\":\"1\"", "\"y\":\"1\"", "\"x\":\"1\",\"y\":\"2\""),
                     k == K(Event) ? "involvedObject"
                     : k == K(Pod) ? "spec"
                                   : "data",
                     k == K(Event) ? "uid"
                     : k == K(Pod) ? "nodeName"
                                   : "value",
                     value);
    if (k == K(Node))
        json = arena_fmt(&a, "{\"metadata\":{\"name\":\"" STR_FMT "\",\"labels\":{\"x\":\"%s\"}}}", STR_ARG(name),
                         PICK(w, "1", "2"));
    write_start(w, x, k, ns, name, dice_roll(w, 4) ? json : S(""));
}

enum { READERS = 60, ROUNDS = 40, BURST = 6 };

static void random_rounds(struct world *w, unsigned seed, struct loop *other)
{
    struct writing burst[BURST];
    struct reader *all = mem_alloc(READERS * sizeof *all);
    size_t n = 0;
    w->dice = seed;
    w->old = w->events.n;
    for (int round = 0; round < ROUNDS; round++) {
        unsigned together = 1 + dice_roll(w, BURST);
        for (unsigned i = 0; i < together; i++)
            write_random(w, &burst[i]);
        for (int more = 0; more < 2 && n < READERS; more++) { /* while those are under way */
            reader_random(&all[n], w, other && dice_roll(w, 2) ? other : w->loop);
            loop_post(all[n].watching.loop, reader_start, &all[n]);
            n++;
        }
        if (n > 4 && dice_roll(w, 4) == 0) {
            struct reader *r = &all[dice_roll(w, (unsigned)n)];
            if (!r->to_stop)
                loop_post(r->watching.loop, reader_stop, r);
            r->to_stop = true;
        }
        for (unsigned i = 0; i < together; i++)
            write_end(w, &burst[i]);
    }
    int64_t end = clock_mono() + 30 * NS_PER_S;
    for (size_t i = 0; i < n; i++)
        while (!is_right(&all[i], seed, clock_mono() > end))
            (void)loop_run_once(w->loop, NS_PER_MS);
    for (size_t i = 0; i < n; i++) {
        if (!all[i].to_stop)
            loop_post(all[i].watching.loop, reader_stop, &all[i]);
        while (!has_stopped(&all[i]))
            (void)loop_run_once(w->loop, NS_PER_MS);
        CHECK(is_right(&all[i], seed, true));
        reader_fini(&all[i]);
    }
    for (int i = 0; i < 100; i++) /* what was posted between the loops */
        (void)loop_run_once(w->loop, NS_PER_MS);
    CHECK_INT(w->server->nwatches, 0);
    mem_free(all);
}

TEST(whom_an_index_finds_are_those_whom_the_simple_way_finds)
{
    struct world w;
    world_init(&w, 0);
    for (unsigned seed = 1; seed <= 12; seed++)
        random_rounds(&w, seed, NULL);
    world_fini(&w);
}

TEST(watchers_on_another_loop_are_told_the_same)
{
    struct err err = ERR;
    struct world w;
    world_init(&w, 0);
    AUTO(loop_thread_free) struct loop_thread *other = loop_thread_new(&err);
    CHECK_OK(other != NULL, err);
    CHECK_OK(loop_thread_start(other, NULL, NULL, &err), err);
    for (unsigned seed = 100; seed < 106; seed++)
        random_rounds(&w, seed, loop_thread_loop(other));
    CHECK(loop_thread_stop(other, 30 * NS_PER_S));
    world_fini(&w);
}
