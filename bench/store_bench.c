/* store_bench.c - what the store costs, each figure beside its floor on the same disk in the same run.
 *   make bench-store; build/release/bench-store [FOLDER]        (a folder on the disk to be measured)
 *
 * durable writes/s   the floor is a bare file to which groups of the same bytes are appended, one fdatasync a group:
 * with 1 writer every write is a group, with 50 each group holds 50 (the best any group commit can do) memory per key
 * resident bytes beyond the values themselves, at 1,000 to 50,000 keys get, list          in memory; no floor but the
 * clock */
#include "base/clock.h"
#include "store/store.h"
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <sys/stat.h>

enum { VALUE = 1000, SECONDS = 3 };

static NORETURN void die(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

struct text {
    atomic_int refs;
    char p[VALUE];
};
static void *text_new(void)
{
    struct text *t = NEW(struct text);
    atomic_init(&t->refs, 1);
    memset(t->p, 'v', sizeof t->p);
    return t;
}
static void text_ref(void *t)
{
    atomic_fetch_add(&((struct text *)t)->refs, 1);
}
static void text_unref(void *t)
{
    if (atomic_fetch_sub(&((struct text *)t)->refs, 1) == 1)
        mem_free(t);
}
static void text_encode(const void *t, struct strbuf *out)
{
    strbuf_add(out, (struct str){((const struct text *)t)->p, VALUE});
}
static void *text_load(void *arg, struct str key, struct str value, int64_t create_rev, int64_t mod_rev,
                       struct err *err)
{
    (void)arg, (void)key, (void)value, (void)create_rev, (void)mod_rev, (void)err;
    return text_new();
}
static size_t text_size(const void *t)
{
    (void)t;
    return sizeof(struct text);
}
static const struct store_type type = {text_ref, text_unref, text_encode, text_load, text_size, NULL};

static double seconds(int64_t ns)
{
    return (double)ns / NS_PER_S;
}

static double floor_writes(const char *dir, size_t group) /* a second */
{
    char path[4200], *bytes = mem_alloc(group * VALUE);
    (void)snprintf(path, sizeof path, "%s/floor", dir);
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0)
        die(path, strerror(errno));
    int64_t start = clock_mono(), n = 0;
    for (; clock_mono() - start < SECONDS * NS_PER_S; n++)
        if (write(fd, bytes, group * VALUE) != (ssize_t)(group * VALUE) || fdatasync(fd) < 0)
            die(path, strerror(errno));
    double rate = (double)n * (double)group / seconds(clock_mono() - start);
    fd_close(fd);
    (void)unlink(path);
    mem_free(bytes);
    return rate;
}

struct writer {
    struct store *s;
    struct store_write w;
    struct store_op op;
    char key[64];
    size_t written;
};
static int64_t end;
static size_t writing;

static void next(struct store_op *op)
{
    struct writer *w = container_of(op, struct writer, op);
    if (w->written && !op->ok)
        die("write", op->err.text);
    if (end && clock_mono() > end) {
        writing--;
        return;
    }
    w->written++;
    w->w = (struct store_write){.key = str_of(w->key), .own_ref = text_new(), .expect = STORE_ANY};
    w->op = (struct store_op){.writes = &w->w, .n = 1, .done = next};
    store_write(w->s, &w->op);
}

static struct store *open_at(struct loop *l, const char *path)
{
    struct err err = ERR;
    struct store *s = store_open(l, &(struct store_options){.path = path, .type = &type}, &err);
    if (!s)
        die("open", err.text);
    return s;
}

static void durable(struct loop *l, const char *dir, size_t writers)
{
    char path[4200];
    (void)snprintf(path, sizeof path, "%s/store.db", dir);
    (void)unlink(path);
    struct store *s = open_at(l, path);
    struct writer *w = mem_alloc(writers * sizeof *w);
    int64_t start = clock_mono();
    end = start + SECONDS * NS_PER_S;
    for (size_t i = 0; i < writers; i++) {
        w[i].s = s;
        (void)snprintf(w[i].key, sizeof w[i].key, "/registry/pods/default/web-%zu", i);
        writing++;
        next(&w[i].op);
    }
    while (writing)
        (void)loop_run_once(l, NS_PER_S);
    double rate = 0;
    for (size_t i = 0; i < writers; i++)
        rate += (double)w[i].written;
    rate /= seconds(clock_mono() - start);
    struct store_stats st;
    store_stats(s, &st);
    double bare = floor_writes(dir, writers);
    printf("durable writes, %2zu writers: %8.0f/s, bare appends in groups of %2zu: %8.0f/s, ratio %.2f   (%.1f a "
           "batch, %.2f ms a commit, %.2f syncs)\n",
           writers, rate, writers, bare, rate / bare, (double)st.batch_size_sum / (double)st.batches,
           (double)st.commit_ns_sum / (double)st.batches / 1e6, (double)st.syncs / (double)st.batches);
    mem_free(w);
    store_close(s);
    loop_run(l);
    (void)unlink(path);
}

static size_t heap(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

struct filling {
    struct store_op op;
    struct store_write w;
    char key[64];
};
static void filled(struct store_op *op)
{
    if (!op->ok)
        die("write", op->err.text);
    mem_free(container_of(op, struct filling, op));
}

static void memory(struct loop *l, size_t keys)
{
    size_t before = heap(), key_bytes = 0;
    struct store *s = open_at(l, NULL);
    for (size_t i = 0; i < keys; i++) {
        struct filling *f = NEW(struct filling);
        key_bytes += (size_t)snprintf(f->key, 64, "/registry/pods/default/web-6d4cf56db6-%05zu", i * 7919 % 100000);
        f->w = (struct store_write){.key = str_of(f->key), .own_ref = text_new(), .expect = STORE_ANY};
        f->op = (struct store_op){.writes = &f->w, .n = 1, .done = filled};
        store_write(s, &f->op);
        for (int64_t rev = f->op.rev; i % 1000 == 999 && store_rev(s) < rev;)
            (void)loop_run_once(l, NS_PER_S);
    }
    store_compact(s, store_rev(s));
    struct store_stats st;
    store_stats(s, &st);
    size_t all = heap() - before, values = st.keys * (sizeof(struct text) + 8);
    int64_t start = clock_mono();
    size_t n = 0, found = 0;
    for (; n < 1000000; n++) {
        char key[64];
        int len = snprintf(key, sizeof key, "/registry/pods/default/web-6d4cf56db6-%05zu", n * 7919 % 100000);
        found += store_get(s, (struct str){key, (size_t)len}) != NULL;
    }
    double get = (double)(clock_mono() - start) / (double)n;
    struct store_snapshot snap = store_snapshot(s);
    struct store_iter it;
    start = clock_mono();
    n = 0;
    for (struct store_entry *e = store_first(&it, &snap, S("/registry/pods/"), STR_NONE); e; e = store_next(&it))
        n++;
    double list = (double)(clock_mono() - start) / (double)n;
    store_snapshot_fini(&snap);
    printf("memory, %6zu keys of %zu bytes: %.0f bytes a key beside its value; get %.0f ns, list %.0f ns a key%s\n",
           st.keys, key_bytes / keys, (double)(all - values) / (double)st.keys, get, list, found ? "" : " (none!)");
    store_close(s);
    loop_run(l);
}

/* A store on disk with many keys: how long it takes to open, and what it keeps beside index and values. */
static void opening(struct loop *l, const char *dir, size_t keys)
{
    char path[4200];
    (void)snprintf(path, sizeof path, "%s/store.db", dir);
    struct store *s = open_at(l, path);
    for (size_t i = 0; i < keys; i++) {
        struct filling *f = NEW(struct filling);
        (void)snprintf(f->key, 64, "/registry/pods/default/web-6d4cf56db6-%05zu", i);
        f->w = (struct store_write){.key = str_of(f->key), .own_ref = text_new(), .expect = STORE_ANY};
        f->op = (struct store_op){.writes = &f->w, .n = 1, .done = filled};
        store_write(s, &f->op);
        for (int64_t rev = f->op.rev; i % 1000 == 999 && store_rev(s) < rev;)
            (void)loop_run_once(l, NS_PER_S);
    }
    store_close(s);
    loop_run(l);
    (void)malloc_trim(0);
    size_t before = heap();
    int64_t start = clock_mono();
    s = open_at(l, path);
    double ms = (double)(clock_mono() - start) / NS_PER_MS;
    struct store_stats st;
    store_stats(s, &st);
    printf("open, %6zu keys of %d bytes: %.1f ms, file %.1f MB, %.0f bytes a key with its value\n", st.keys, VALUE,
           ms, (double)st.file_bytes / 1e6, (double)(heap() - before) / (double)MAX(st.keys, 1));
    store_close(s);
    loop_run(l);
    (void)unlink(path);
}

int main(int argc, char **argv)
{
    struct err err = ERR;
    struct loop *l = loop_new(&err);
    char dir[4096];
    (void)snprintf(dir, sizeof dir, "%s/store-bench.XXXXXX", argc > 1 ? argv[1] : ".");
    if (!l || !mkdtemp(dir))
        die(dir, strerror(errno));
    durable(l, dir, 1);
    durable(l, dir, 50);
    for (size_t keys = 1000; keys <= 50000; keys *= keys == 10000 ? 5 : 10)
        memory(l, keys);
    for (size_t keys = 1000; keys <= 50000; keys *= keys == 10000 ? 5 : 10)
        opening(l, dir, keys);
    loop_free(l);
    (void)rmdir(dir);
    return 0;
}
