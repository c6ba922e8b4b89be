#include "store/world_test.h"

/* --- values: counted text --- */

struct text {
    atomic_int refs;
    size_t n;
    char p[];
};
static atomic_int texts;

void *text_new(struct str s)
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
struct str text_of(const void *t)
{
    return (struct str){((const struct text *)t)->p, ((const struct text *)t)->n};
}
sem_t encoding, go_on;
atomic_bool encode_waits;
static void text_encode(const void *t, struct strbuf *out)
{
    if (atomic_load(&encode_waits))
        CHECK(sem_post(&encoding) == 0 && sem_wait(&go_on) == 0);
    strbuf_add(out, text_of(t));
}
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
const struct store_type text_type = {text_ref, text_unref, text_encode, text_load, text_size, NULL};

/* --- a store and its loop --- */

void world_open(struct world *w)
{
    struct err err = ERR;
    w->s = store_open(w->loop, &w->o, &err);
    CHECK_OK(w->s, err);
}
void world_close(struct world *w)
{
    store_close(w->s);
    w->s = NULL;
    loop_run(w->loop);
}
void world_reopen(struct world *w)
{
    world_close(w);
    world_open(w);
}
void world_reopen_subscribed(struct world *w, struct store_subscriber *sub)
{
    store_unsubscribe(sub);
    world_reopen(w);
}
static int worlds;
struct world *world_new(bool disk)
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
void world_free(struct world *w)
{
    if (w->s)
        world_close(w);
    loop_free(w->loop);
    mem_free(w);
    if (--worlds == 0)
        CHECK_INT(atomic_load(&texts), 0);
}
void with_each(void (*story)(struct world *w))
{
    for (int disk = 0; disk < 2; disk++) {
        struct world *w = world_new(disk);
        world_open(w);
        story(w);
        world_free(w);
    }
}

void on_done(struct store_op *op)
{
    op->n = 0; /* the sign for wait_for */
}
void wait_for(struct world *w, struct store_op *op)
{
    for (int64_t end = clock_mono() + 20 * NS_PER_S; op->n && clock_mono() < end;)
        (void)loop_run_once(w->loop, NS_PER_S);
    CHECK(op->n == 0);
}

void put_start(struct world *w, struct put *p, struct str key, const char *value, int64_t expect)
{
    p->w = (struct store_write){.key = key, .own_ref = value ? text_new(str_of(value)) : NULL, .expect = expect};
    enum store_class class = p->op.class;
    p->op = (struct store_op){.writes = &p->w, .n = 1, .class = class, .done = on_done};
    store_write(w->s, &p->op);
}
int64_t put_as(struct world *w, struct str key, const char *value, int64_t expect, enum store_class class,
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
int64_t key_put(struct world *w, const char *key, const char *value) /* NULL: delete */
{
    struct err err = ERR;
    int64_t rev = put_as(w, str_of(key), value, STORE_ANY, STORE_DURABLE, &err);
    CHECK_OK(rev, err);
    return rev;
}
int64_t put_lazy(struct world *w, const char *key, const char *value)
{
    struct err err = ERR;
    int64_t rev = put_as(w, str_of(key), value, STORE_ANY, STORE_LAZY, &err);
    CHECK_OK(rev, err);
    return rev;
}
enum err_kind put_refused(struct world *w, const char *key, const char *value, int64_t expect)
{
    struct err err = ERR;
    CHECK(put_as(w, str_of(key), value, expect, STORE_DURABLE, &err) == 0);
    return err.kind;
}
struct str key_value(struct world *w, const char *key) /* "-": not there */
{
    const struct store_entry *e = store_get(w->s, str_of(key));
    return e ? text_of(e->ref) : S("-");
}

void loop_run_for(struct world *w, int64_t ns)
{
    for (int64_t end = clock_mono() + ns; clock_mono() < end;)
        (void)loop_run_once(w->loop, MAX(end - clock_mono(), 0));
}

/* all of a snapshot as "key=value@mod key=..." */
struct str snapshot_listing(const struct store_snapshot *snap, const char *prefix, struct strbuf *b)
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

static void events_see(struct seen *s, const struct store_event *events, size_t n)
{
    CHECK(n > 0);
    for (size_t i = 0; i < n; i++) {
        CHECK(events[i].rev > s->last); /* in order, none twice */
        s->last = events[i].rev;
        add_event(&s->text, &events[i]);
    }
}
void see_history(struct store_history *h, const struct store_event *events, size_t n)
{
    events_see(container_of(h, struct seen, h), events, n);
}
void see_end(struct store_history *h)
{
    container_of(h, struct seen, h)->over = true;
}
void see_sub(struct store_subscriber *sub, const struct store_event *events, size_t n)
{
    struct seen *s = container_of(sub, struct seen, sub);
    if (s->w && events[n - 1].now) /* visible before it is told */
        CHECK(store_rev(s->w->s) >= events[n - 1].rev && store_get(s->w->s, store_event_key(&events[n - 1])));
    events_see(s, events, n);
}

void run_until(struct world *w, const bool *over)
{
    for (int64_t end = clock_mono() + 20 * NS_PER_S; !*over && clock_mono() < end;)
        (void)loop_run_once(w->loop, NS_PER_S);
    CHECK(*over);
}
bool history_read(struct world *w, struct seen *s, int64_t after, const char *prefix)
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
void check_history(struct world *w, int64_t after, const char *prefix, const char *want)
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
enum err_kind read_at(struct world *w, int64_t rev, const char *prefix, struct strbuf *out)
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
void check_read(struct world *w, int64_t rev, const char *prefix, const char *want)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    CHECK_INT(read_at(w, rev, prefix, &b), E_NONE);
    CHECK_STR(b.n ? strbuf_str(&b) : S(""), str_of(want));
}
