/* The power is cut: of what was written since the last sync of a file, any sectors are on the disk and any are not,
 * and where a file grew, what was not written may hold anything. Every change of the files is recorded; for many
 * moments the disk is made as it might be then, and opened. One of these disks is where the next life goes on, which
 * is cut as well. (Names in folders are another test's: tests/e2e/store_test.py, where the real process is cut.) */
#include "base/array.h"
#include "base/clock.h"
#include "base/test.h"
#include "store/store.h"
#include "store/vfs.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>

enum { KEYS = 5, WRITES = 400, VALUE = 9000, CUTS = 40, LIVES = 3, SECTOR = 512 };

/* --- values: a number, repeated, so that a torn one shows --- */

struct value {
    atomic_int refs;
    int v;
};
static void *value_new(int v)
{
    struct value *n = NEW(struct value);
    atomic_init(&n->refs, 1);
    n->v = v;
    return n;
}
static void value_ref(void *n)
{
    atomic_fetch_add(&((struct value *)n)->refs, 1);
}
static void value_unref(void *n)
{
    if (atomic_fetch_sub(&((struct value *)n)->refs, 1) == 1)
        mem_free(n);
}
static size_t value_len(int v)
{
    return VALUE / 2 + (size_t)v * 7919 % VALUE / sizeof v * sizeof v;
}
static void value_encode(const void *n, struct strbuf *out)
{
    for (size_t i = 0; i < value_len(((const struct value *)n)->v); i += sizeof(int))
        strbuf_add(out, (struct str){(const char *)&((const struct value *)n)->v, sizeof(int)});
}
static void *value_load(void *arg, struct str key, struct str text, int64_t create_rev, int64_t mod_rev,
                        struct err *err)
{
    (void)arg, (void)key, (void)create_rev, (void)mod_rev, (void)err;
    int v, other;
    CHECK(text.n >= sizeof v);
    memcpy(&v, text.p, sizeof v);
    for (size_t i = 0; i < text.n; i += sizeof v) {
        memcpy(&other, text.p + i, sizeof v);
        CHECK_INT(other, v);
    }
    CHECK(text.n >= value_len(v) && text.n < value_len(v) + sizeof v);
    return value_new(v);
}
static const struct store_type type = {value_ref, value_unref, value_encode, value_load, NULL, NULL};
static const char *const names[KEYS] = {"a", "b", "c", "d", "e"};

/* --- the record --- */

enum { FILES = 3 };
static char paths[FILES][200]; /* of the store, its WAL, its journal */
struct event {
    int64_t rev;
    int key, now;
};
typedef ARRAY(struct event) event_array;
static event_array events;
static struct strbuf base[FILES]; /* the disk when this life began */
struct change {
    enum vfs_change what;
    int file;
    int64_t at;
    size_t n;
    char *p;
    int64_t acked; /* durable writes up to this revision had been answered when it was made */
    size_t shown;  /* how many events had been told then */
};
static ARRAY(struct change) record;
static int64_t acked;
static int waiting, number; /* of the newest value */

static void change_observe(void *arg, enum vfs_change what, const char *path, int64_t at, const void *p, size_t n)
{
    (void)arg;
    for (int f = 0; f < FILES; f++) {
        if (strcmp(paths[f], path) != 0)
            continue;
        array_push(&record, ((struct change){what, f, at, n, n ? mem_dup(p, n) : NULL, acked, events.n}));
        return;
    }
    CHECK(!"a file that is not the store's");
}
static const struct vfs_observer observer = {change_observe, NULL};

static void events_add(event_array *to, const struct store_event *e, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < KEYS; k++)
            if (str_eqz(store_event_key(&e[i]), names[k]))
                array_push(to, ((struct event){e[i].rev, k, e[i].now ? ((struct value *)e[i].now->ref)->v : 0}));
}
static void events_told(struct store_subscriber *sub, const struct store_event *e, size_t n)
{
    (void)sub;
    events_add(&events, e, n);
}

struct one {
    struct store_write w;
    struct store_op op;
};
static void op_answered(struct store_op *op)
{
    if (op->ok && op->class == STORE_DURABLE)
        acked = MAX(acked, op->rev);
    CHECK(op->ok || op->err.kind == E_NOT_FOUND);
    waiting--;
    mem_free(container_of(op, struct one, op));
}

static void store_live(struct loop *l, const struct store_options *o)
{
    struct err err = ERR;
    struct store_subscriber sub = {.fn = events_told};
    vfs_observe(&observer);
    struct store *s = store_open(l, o, &err);
    CHECK_OK(s, err);
    store_subscribe(s, &sub);
    for (int i = 1; i <= WRITES; i++) {
        struct one *one = NEW(struct one);
        number++;
        one->w = (struct store_write){.key = str_of(names[random_below(KEYS)]),
                                      .own_ref = random_below(8) ? value_new(number) : NULL,
                                      .expect = STORE_ANY};
        one->op = (struct store_op){
            .writes = &one->w, .n = 1, .class = random_below(6) ? STORE_DURABLE : STORE_LAZY, .done = op_answered};
        waiting++;
        store_write(s, &one->op);
        if (random_below(2))
            (void)loop_run_once(l, 0);
        if (random_below(50) == 0)
            store_compact(s, store_rev(s) - 5);
    }
    while (waiting)
        (void)loop_run_once(l, NS_PER_S);
    struct store_stats st;
    store_stats(s, &st);
    CHECK(st.batches > WRITES / 4);
    store_unsubscribe(&sub);
    store_close(s);
    vfs_observe(NULL);
}

/* --- the disk at a moment --- */

struct image {
    struct strbuf synced; /* as of the last sync */
    struct strbuf now;
};

static void file_apply(struct strbuf *b, int64_t at, const char *p, size_t n)
{
    if (b->n < (size_t)at + n) {
        size_t more = (size_t)at + n - b->n;
        memset(strbuf_room(b, more), 0, more);
        strbuf_used(b, more);
    }
    memcpy(b->p + at, p, n);
}

static void file_cut(struct strbuf *b, size_t n)
{
    if (n == 0)
        strbuf_reset(b);
    else if (n < b->n)
        b->n = n;
}

static void file_copy(struct strbuf *to, const struct strbuf *from)
{
    strbuf_reset(to);
    strbuf_add(to, strbuf_str(from));
}

static void file_grow(struct strbuf *b, size_t from,
                      int64_t at) /* blocks that were given to the file and never written */
{
    for (size_t i = from; i < (size_t)at && i < b->n; i++)
        b->p[i] = (char)random_below(256);
}

static void change_half_apply(struct strbuf *b, const struct change *c, int chance)
{
    if (c->what == VFS_TRUNCATE && random_below(100) < (uint64_t)chance)
        file_cut(b, (size_t)c->at);
    for (size_t n = 0; c->what == VFS_WRITE && n < c->n;) {
        size_t part = MIN(SECTOR - (size_t)(c->at + (int64_t)n) % SECTOR, c->n - n), was = b->n;
        if (random_below(100) < (uint64_t)chance) {
            file_apply(b, c->at + (int64_t)n, c->p + n, part);
            if (random_below(2))
                file_grow(b, was, c->at + (int64_t)n);
        }
        n += part;
    }
}

static void put_file(int f, struct str content)
{
    (void)unlink(paths[f]);
    if (!content.n)
        return;
    AUTO(fd_close) int fd = open(paths[f], O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    CHECK(write(fd, content.p, content.n) == (ssize_t)content.n);
}

/* The files as they may be if the power goes after `upto` changes; chance in 100 that a sector got through. */
static void make_disk(size_t upto, int chance)
{
    struct image files[FILES];
    size_t synced_at[FILES] = {0};
    for (int f = 0; f < FILES; f++) {
        files[f] = (struct image){STRBUF(64 << 20), STRBUF(64 << 20)};
        file_copy(&files[f].synced, &base[f]);
        file_copy(&files[f].now, &base[f]);
    }
    for (size_t i = 0; i < upto; i++) {
        const struct change *c = &record.p[i];
        struct image *m = &files[c->file];
        if (c->what == VFS_WRITE)
            file_apply(&m->now, c->at, c->p, c->n);
        if (c->what == VFS_TRUNCATE)
            file_cut(&m->now, (size_t)c->at);
        if (c->what == VFS_DELETE)
            file_cut(&m->now, 0);
        if (c->what == VFS_SYNC || c->what == VFS_DELETE) {
            file_copy(&m->synced, &m->now);
            synced_at[c->file] = i + 1;
        }
    }
    for (size_t i = 0; i < upto; i++)
        if (i >= synced_at[record.p[i].file])
            change_half_apply(&files[record.p[i].file].synced, &record.p[i], chance);
    for (int f = 0; f < FILES; f++) {
        put_file(f, strbuf_str(&files[f].synced));
        strbuf_fini(&files[f].synced);
        strbuf_fini(&files[f].now);
    }
}

static bool store_is_same(const struct store *s, const int *state)
{
    for (int k = 0; k < KEYS; k++) {
        const struct store_entry *e = store_get(s, str_of(names[k]));
        if ((e ? ((struct value *)e->ref)->v : 0) != state[k])
            return false;
    }
    return true;
}

struct reading {
    struct store_history h;
    event_array events;
    bool over;
};
static void reading_events(struct store_history *h, const struct store_event *e, size_t n)
{
    events_add(&container_of(h, struct reading, h)->events, e, n);
}
static void reading_done(struct store_history *h)
{
    container_of(h, struct reading, h)->over = true;
}

/* From any revision that somebody may have seen: exactly what happened since, or EXPIRED where that is lost or
 * compacted. Returns up to where the log reaches, if this reading showed it. */
static int64_t check_history(struct loop *l, struct store *s, size_t shown, size_t from, int64_t at_least)
{
    struct err err = ERR;
    int64_t rev = events.p[from].rev;
    if (!store_resumable(s, rev, &err)) {
        CHECK(err.kind == E_EXPIRED && (rev > at_least || rev < store_floor(s)));
        return 0;
    }
    struct reading r = {.h = {.after = rev, .prefix = S(""), .fn = reading_events, .done = reading_done}};
    store_history(s, &r.h);
    while (!r.over)
        (void)loop_run_once(l, NS_PER_S);
    CHECK_OK(r.h.ok, r.h.err);
    for (size_t i = 0; i < r.events.n; i++) {
        const struct event *e = &r.events.p[i], *was = &events.p[from + 1 + i];
        CHECK(from + 1 + i < events.n && e->rev == was->rev && e->key == was->key && e->now == was->now);
        rev = e->rev;
    }
    CHECK(rev >= at_least);
    CHECK(from + r.events.n + 1 >= shown || !store_resumable(s, events.p[from + r.events.n + 1].rev, &err));
    array_fini(&r.events);
    return rev;
}

/* What is there is what was there at some revision, no older than the last answered durable write; what comes next
 * has a revision that nobody has seen. Returns where in the events it is: how many of them are there. */
static size_t check_disk(struct loop *l, const struct store_options *o, int64_t at_least, size_t shown)
{
    struct err err = ERR;
    struct store *s = store_open(l, o, &err);
    CHECK_OK(s, err);
    int state[KEYS] = {0};
    int64_t last = 0;
    for (int n = 0; n < 8 && shown; n++)
        last = MAX(last, check_history(l, s, shown, n ? random_below(shown) : shown - 1, at_least));
    bool found = at_least == 0 && last == 0 && store_is_same(s, state);
    size_t i = 0;
    for (; i < events.n && !found; i++) {
        state[events.p[i].key] = events.p[i].now;
        found = events.p[i].rev >= MAX(at_least, last) && store_is_same(s, state);
    }
    CHECK(found);
    for (size_t k = 0; k < shown; k++)
        CHECK(store_rev(s) >= events.p[k].rev);
    CHECK(store_rev(s) >= (i ? events.p[i - 1].rev : 0));
    store_close(s);
    loop_run(l);
    return i;
}

static void read_file(int f)
{
    base[f] = STRBUF(64 << 20);
    AUTO(fd_close) int fd = open(paths[f], O_RDONLY | O_CLOEXEC);
    ssize_t n;
    while (fd >= 0 && (n = read(fd, strbuf_room(&base[f], 1 << 20), 1 << 20)) > 0)
        strbuf_used(&base[f], (size_t)n);
}

/* The next life goes on from a disk as it may be after a cut of this one: cut it, look, and begin again from there.
 */
static void go_on(struct loop *l, const struct store_options *o)
{
    size_t upto = record.n / 2 + random_below(record.n / 2);
    const struct change *at = &record.p[upto];
    struct strbuf cut_off[FILES];
    make_disk(upto, 50);
    for (int f = 0; f < FILES; f++) {
        strbuf_fini(&base[f]);
        read_file(f);
        cut_off[f] = base[f];
    }
    size_t n = check_disk(l, o, at->acked, at->shown); /* which closes it: the life goes on from before that */
    for (int f = 0; f < FILES; f++) {
        base[f] = cut_off[f];
        put_file(f, strbuf_str(&base[f]));
    }
    acked = n ? events.p[n - 1].rev : 0;
    events.n = n;
    array_each (c, &record)
        mem_free(c->p);
    array_clear(&record);
}

TEST(store_with_the_power_cut_at_any_moment_has_every_acknowledged_write)
{
    uint64_t seed = random_below(1000000000);
    const char *given = getenv("WHERRY_SEED"), *most = getenv("WHERRY_CUTS");
    if (given)
        CHECK(str_to_u64(str_of(given), UINT64_MAX, &seed));
    fprintf(stderr, "WHERRY_SEED=%llu\n", (unsigned long long)seed);
    static const char *const suffix[FILES] = {"", "-wal", "-journal"};
    for (int f = 0; f < FILES; f++) {
        (void)snprintf(paths[f], sizeof paths[f], "%s/store.db%s", test_dir(), suffix[f]);
        base[f] = STRBUF(64 << 20);
    }
    AUTO(loop_free) struct loop *l = loop_new_simulated(seed + 1);
    struct store_options o = {.path = paths[0], .type = &type, .lazy_ns = NS_PER_MS};
    for (int life = 0; life < LIVES; life++) {
        int64_t before = acked;
        store_live(l, &o);
        loop_run(l);
        bool checkpointed = false;
        for (size_t i = 0; i < record.n; i++)
            checkpointed |= record.p[i].file == 0 && record.p[i].at > 50 * 4096;
        CHECK(checkpointed && acked > before + WRITES / 2);
        for (size_t i = 0, cuts = most ? strtoul(most, NULL, 10) : CUTS / LIVES; i < cuts; i++) {
            static const int chances[] = {0, 50, 90, 100};
            size_t upto = random_below(record.n + 1);
            const struct change *at = upto < record.n ? &record.p[upto] : NULL;
            make_disk(upto, chances[i % countof(chances)]);
            (void)check_disk(l, &o, at ? at->acked : acked, at ? at->shown : events.n);
        }
        go_on(l, &o);
    }
    for (int f = 0; f < FILES; f++)
        strbuf_fini(&base[f]);
    array_fini(&record);
    array_fini(&events);
}
