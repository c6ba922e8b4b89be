/* sqlite_test.c - what only the log has: faults, crashes, group commit, a full disk. */
#include "base/fault.h"
#include "store/world_test.h"
#include <errno.h>
#include <sched.h>
#include <sqlite3.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

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
