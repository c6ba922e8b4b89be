/* The contract of both loops, then what only one of them has. */
#include "base/test.h"
#include "sys/loop_int.h"
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

static void with_both(void (*story)(struct loop *l))
{
    struct err err = ERR;
    AUTO(loop_free) struct loop *real = loop_new(&err);
    CHECK(real);
    story(real);
    AUTO(loop_free) struct loop *simulated = loop_new_simulated(0);
    story(simulated);
}

static char seen[64];
static size_t nseen;
static void char_see(char c)
{
    CHECK(nseen < sizeof seen - 1);
    seen[nseen++] = c;
    seen[nseen] = 0;
}
static void see_none(void)
{
    nseen = 0;
    seen[0] = 0;
}
#define CHECK_SEEN(want) CHECK_STR(str_of(seen), S(want))

struct named_timer {
    struct timer t;
    char name;
    struct named_timer *stops;
};
static void timer_named(struct timer *t)
{
    struct named_timer *n = container_of(t, struct named_timer, t);
    char_see(n->name);
    if (n->stops)
        timer_stop(&n->stops->t);
}

static void timers_in_order(struct loop *l)
{
    see_none();
    struct named_timer a = {.name = 'a'}, b = {.name = 'b'}, c = {.name = 'c'}, d = {.name = 'd'};
    timer_init(&a.t, l, timer_named), timer_init(&b.t, l, timer_named), timer_init(&c.t, l, timer_named),
        timer_init(&d.t, l, timer_named);
    timer_set(&c.t, 20 * NS_PER_MS);
    timer_set(&a.t, 0);
    timer_set(&b.t, 10 * NS_PER_MS);
    timer_set(&d.t, 5 * NS_PER_MS);
    timer_set(&d.t, 30 * NS_PER_MS); /* replaces */
    int64_t start = clock_mono();
    loop_run(l);
    CHECK_SEEN("abcd");
    CHECK(clock_mono() - start >= 30 * NS_PER_MS);
    CHECK(!timer_is_set(&a.t));
}
TEST(loop_timers_run_in_order_of_time)
{
    with_both(timers_in_order);
}

/* The process is held up between asking for a timer and waiting. */
TEST(loop_a_timer_that_is_due_before_it_waits_is_not_lost)
{
    struct err err = ERR;
    AUTO(loop_free) struct loop *l = loop_new(&err);
    struct named_timer a = {.name = 'a'};
    CHECK(l);
    see_none();
    timer_init(&a.t, l, timer_named);
    timer_set(&a.t, 5 * NS_PER_MS);
    (void)alarm(20); /* instead of for ever */
    loop_is_late = true;
    loop_run(l);
    CHECK_SEEN("a");
}

static void timer_stops_another(struct loop *l)
{
    see_none();
    struct named_timer b = {.name = 'b'}, a = {.name = 'a', .stops = &b};
    timer_init(&a.t, l, timer_named), timer_init(&b.t, l, timer_named);
    timer_set(&a.t, NS_PER_MS);
    timer_set(&b.t, NS_PER_MS + 1);
    loop_run(l);
    CHECK_SEEN("a");
    timer_stop(&a.t);
}
TEST(loop_a_callback_may_remove_any_source)
{
    with_both(timer_stops_another);
}

static void timer_again(struct timer *t)
{
    char_see('.');
    if (nseen < 5)
        timer_set(t, 0);
}
static void timer_repeats(struct loop *l)
{
    see_none();
    struct timer t;
    timer_init(&t, l, timer_again);
    timer_set(&t, 0);
    CHECK(loop_run_once(l, NS_PER_S));
    CHECK_INT(nseen, 1); /* set again for now: the next turn, so that nothing starves */
    loop_run(l);
    CHECK_INT(nseen, 5);
}
TEST(loop_a_timer_set_again_waits_a_turn)
{
    with_both(timer_repeats);
}

static void post_c(void *arg)
{
    char_see(*(char *)arg);
}
static struct loop *post_loop;
static void post_more(void *arg)
{
    (void)arg;
    char_see('1');
    loop_post(post_loop, post_c, (void *)(uintptr_t) "3");
    char_see('2');
}
static void posts_try(struct loop *l)
{
    see_none();
    post_loop = l;
    loop_post(l, post_more, NULL);
    CHECK_SEEN("");
    loop_run(l);
    CHECK_SEEN("123");
}
TEST(loop_posts_run_in_order_and_never_inside)
{
    with_both(posts_try);
}

static void slow_post(void *arg)
{
    struct loop *l = arg;
    char_see('p');
    while (!loop_turn_spent(l))
        ;
}
static void soon_seen(UNUSED struct soon *s)
{
    char_see('s');
}
TEST(loop_posts_that_take_long_let_others_by)
{
    struct err err = ERR;
    AUTO(loop_free) struct loop *l = loop_new(&err);
    struct soon s;
    see_none();
    soon_init(&s, l, soon_seen);
    soon_set(&s);
    for (int i = 0; i < 3; i++)
        loop_post(l, slow_post, l);
    loop_run(l);
    CHECK_SEEN("pspp");
}

struct soon_again {
    struct soon soon;
    struct soon other;
};
static void soon_run(struct soon *s)
{
    struct soon_again *a = container_of(s, struct soon_again, soon);
    char_see('s');
    soon_stop(&a->other);
    if (nseen < 2)
        soon_set(s);
}
static void soon_never(UNUSED struct soon *s)
{
    char_see('!');
}
static void soons_try(struct loop *l)
{
    see_none();
    struct soon_again a;
    soon_init(&a.soon, l, soon_run);
    soon_init(&a.other, l, soon_never);
    soon_set(&a.soon);
    soon_set(&a.other);
    soon_set(&a.soon);
    CHECK(loop_run_once(l, 0));
    CHECK_SEEN("s");
    loop_run(l);
    CHECK_SEEN("ss");
}
TEST(loop_soon_is_revocable)
{
    with_both(soons_try);
}

struct sum {
    struct job job;
    int in, out;
    pthread_t thread;
};
static void sum_work(struct job *j)
{
    struct sum *s = container_of(j, struct sum, job);
    s->out = s->in + 1;
    s->thread = pthread_self();
}
static void sum_done(struct job *j)
{
    struct sum *s = container_of(j, struct sum, job);
    CHECK_INT(s->out, s->in + 1);
    char_see('d');
}
static void jobs_try(struct loop *l)
{
    see_none();
    struct sum sums[20];
    for (int i = 0; i < 20; i++) {
        sums[i].in = i;
        job_start(&sums[i].job, l, sum_work, sum_done);
    }
    CHECK_SEEN("");
    loop_run(l); /* stays alive for them */
    CHECK_INT(nseen, 20);
}
TEST(loop_jobs_come_home)
{
    with_both(jobs_try);
}

static struct lane *ended_by_its_last;
static void last_done(struct job *j)
{
    sum_done(j);
    lane_free(TAKE(ended_by_its_last));
}
static void lanes_try(struct loop *l)
{
    see_none();
    struct err err = ERR;
    struct sum sums[20];
    struct lane *a = lane_new(l, &err), *b = lane_new(l, &err);
    CHECK(a && b);
    for (int i = 0; i < 20; i++) {
        sums[i].in = i;
        lane_start(i % 2 ? a : b, &sums[i].job, sum_work, i == 19 ? last_done : sum_done);
    }
    ended_by_its_last = a;
    CHECK_SEEN("");
    loop_run(l);
    CHECK_INT(nseen, 20);
    for (int i = 2; i < 20; i++) /* each lane is one thread */
        CHECK(pthread_equal(sums[i].thread, sums[i - 2].thread));
    lane_free(b);
    CHECK(!ended_by_its_last);
    lane_free(lane_new(l, &err)); /* that had nothing to do */
}
TEST(loop_lanes_run_their_jobs_in_a_thread_of_their_own)
{
    with_both(lanes_try);
}

static sem_t pool_goes_on;
static void wait_work(struct job *j)
{
    (void)j;
    while (sem_wait(&pool_goes_on) < 0)
        ;
}
static void ignore_done(struct job *j)
{
    (void)j;
}
TEST(loop_a_lane_does_not_wait_for_the_pool)
{
    struct err err = ERR;
    AUTO(loop_free) struct loop *l = loop_new(&err);
    struct lane *n = lane_new(l, &err);
    struct job held[100];
    struct sum sum = {.in = 1};
    CHECK(n && sem_init(&pool_goes_on, 0, 0) == 0);
    see_none();
    for (size_t i = 0; i < countof(held); i++)
        job_start(&held[i], l, wait_work, ignore_done);
    lane_start(n, &sum.job, sum_work, sum_done);
    for (int64_t until = clock_mono() + 30 * NS_PER_S; nseen == 0 && clock_mono() < until;)
        (void)loop_run_once(l, NS_PER_S);
    CHECK_SEEN("d");
    for (size_t i = 0; i < countof(held); i++)
        (void)sem_post(&pool_goes_on);
    loop_run(l);
    lane_free(n);
}

static void jobs_apart(struct loop *l)
{
    see_none();
    struct err err = ERR;
    struct sum sums[20];
    for (int i = 0; i < 20; i++) {
        sums[i].in = i;
        CHECK(job_start_apart(&sums[i].job, l, sum_work, sum_done, &err));
    }
    CHECK_SEEN("");
    loop_run(l);
    CHECK_INT(nseen, 20);
}
TEST(loop_jobs_apart_come_home)
{
    with_both(jobs_apart);
}

TEST(loop_jobs_apart_that_do_not_come_back_hold_up_nobody_and_are_not_without_end)
{
    struct err err = ERR;
    AUTO(loop_free) struct loop *l = loop_new(&err);
    struct job *held = mem_alloc(APART_MOST * sizeof *held);
    struct sum sum = {.in = 1};
    CHECK(sem_init(&pool_goes_on, 0, 0) == 0);
    see_none();
    for (size_t i = 0; i < APART_MOST; i++)
        CHECK(job_start_apart(&held[i], l, wait_work, ignore_done, &err));
    CHECK(!job_start_apart(&sum.job, l, sum_work, sum_done, &err));
    CHECK_INT(err.kind, E_UNAVAILABLE);
    job_start(&sum.job, l, sum_work, sum_done); /* the pool knows nothing of it */
    for (int64_t until = clock_mono() + 30 * NS_PER_S; nseen == 0 && clock_mono() < until;)
        (void)loop_run_once(l, NS_PER_S);
    CHECK_SEEN("d");
    for (size_t i = 0; i < APART_MOST; i++)
        (void)sem_post(&pool_goes_on);
    loop_run(l);
    CHECK(job_start_apart(&sum.job, l, sum_work, sum_done, &err));
    loop_run(l);
    CHECK_SEEN("dd");
    mem_free(held);
}

static void stop_now(void *l)
{
    loop_stop(l);
}
static void stops_try(struct loop *l)
{
    struct named_timer never = {.name = 'n'};
    see_none();
    timer_init(&never.t, l, timer_named);
    timer_set(&never.t, 3600 * NS_PER_S);
    loop_post(l, stop_now, l);
    loop_run(l);
    CHECK_SEEN("");
    timer_stop(&never.t);
}
TEST(loop_stop_ends_the_run)
{
    with_both(stops_try);
}

static int counted;
static void post_count(void *arg)
{
    counted++;
    if (counted == 1000)
        loop_release(arg);
}
static void *posts_run(void *l)
{
    for (int i = 0; i < 1000; i++)
        loop_post(l, post_count, l);
    return NULL;
}
TEST(loop_post_from_another_thread_wakes_it)
{
    struct err err = ERR;
    AUTO(loop_free) struct loop *l = loop_new(&err);
    pthread_t t;
    loop_hold(l);
    CHECK(pthread_create(&t, NULL, posts_run, l) == 0);
    loop_run(l);
    CHECK_INT(counted, 1000);
    (void)pthread_join(t, NULL);
}

struct echo {
    struct poll poll;
    int got;
    bool stop_self;
};
static void read_some(struct poll *p, int ready)
{
    struct echo *e = container_of(p, struct echo, poll);
    char c;
    CHECK(ready & (POLL_READ | POLL_HANGUP));
    ssize_t n = read(p->fd, &c, 1);
    if (n == 1)
        e->got++;
    if (n <= 0 || e->stop_self)
        poll_stop(p);
}
TEST(loop_polls_tell_what_is_readable)
{
    struct err err = ERR;
    AUTO(loop_free) struct loop *l = loop_new(&err);
    int sv[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) == 0);
    struct echo e = {0};
    poll_init(&e.poll, l, sv[0], read_some);
    poll_want(&e.poll, POLL_READ);
    (void)!write(sv[1], "abc", 3);
    fd_close(sv[1]);
    loop_run(l); /* ends when the only source is gone */
    CHECK_INT(e.got, 3);
    fd_close(sv[0]);
}

static void write_ready(struct poll *p, int ready)
{
    CHECK(ready & POLL_WRITE);
    char_see('w');
    poll_want(p, 0);
}
TEST(loop_polls_change_what_they_want)
{
    struct err err = ERR;
    AUTO(loop_free) struct loop *l = loop_new(&err);
    int sv[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) == 0);
    struct poll p;
    poll_init(&p, l, sv[0], write_ready);
    for (int i = 0; i < 3; i++) {
        poll_want(&p, POLL_READ);
        CHECK(loop_run_once(l, 0));
        poll_want(&p, POLL_WRITE);
        loop_run(l);
    }
    CHECK_SEEN("www");
    poll_stop(&p);
    fd_close(sv[0]);
    fd_close(sv[1]);
}

TEST(loop_a_regular_file_is_always_ready)
{
    struct err err = ERR;
    AUTO(loop_free) struct loop *l = loop_new(&err);
    char path[128];
    (void)snprintf(path, sizeof path, "%s/f", test_dir());
    AUTO(fd_close) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK(write(fd, "xy", 2) == 2 && lseek(fd, 0, SEEK_SET) == 0);
    struct echo e = {0};
    poll_init(&e.poll, l, fd, read_some);
    poll_want(&e.poll, POLL_READ);
    loop_run(l);
    CHECK_INT(e.got, 2);
}

static void on_signal(struct signal_source *s, int signo)
{
    CHECK_INT(signo, SIGUSR1);
    char_see('s');
    signal_stop(s);
}
TEST(loop_signals_arrive)
{
    struct err err = ERR;
    AUTO(loop_free) struct loop *l = loop_new(&err);
    struct signal_source s;
    CHECK_OK(signal_start(&s, l, SIGUSR1, on_signal, &err), err);
    (void)raise(SIGUSR1);
    loop_run(l);
    CHECK_SEEN("s");
}

TEST(loop_simulated_hours_pass_at_once_and_chance_repeats)
{
    uint64_t first = 0;
    for (int i = 0; i < 2; i++) {
        AUTO(loop_free) struct loop *l = loop_new_simulated(42);
        struct named_timer t = {.name = 't'};
        timer_init(&t.t, l, timer_named);
        timer_set(&t.t, 24 * 3600 * NS_PER_S);
        int64_t real = clock_real();
        loop_run(l);
        CHECK_INT(clock_real() - real, 24 * 3600 * NS_PER_S);
        uint64_t v = random_below(UINT64_MAX);
        CHECK(i == 0 || v == first);
        first = v;
    }
}

TEST(loop_simulated_ties_fall_as_the_seed_says)
{
    bool differs = false;
    char with_one[8] = "";
    for (uint64_t seed = 1; seed < 20; seed++) {
        see_none();
        AUTO(loop_free) struct loop *l = loop_new_simulated(seed);
        struct named_timer t[5];
        for (int i = 0; i < 5; i++) {
            t[i] = (struct named_timer){.name = (char)('a' + i)};
            timer_init(&t[i].t, l, timer_named);
            timer_set(&t[i].t, NS_PER_S);
        }
        loop_run(l);
        if (seed == 1)
            memcpy(with_one, seen, 6);
        differs |= strcmp(with_one, seen) != 0;
    }
    CHECK(differs);
}

static void too_long(UNUSED void *arg)
{
    for (int64_t start = clock_thread_cpu(); clock_thread_cpu() - start < 700 * NS_PER_MS;)
        ;
}
TEST(loop_a_callback_that_holds_it_aborts)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct err err = ERR;
        struct loop *l = loop_new(&err);
        fclose(stderr);
        loop_post(l, too_long, NULL);
        loop_run(l);
        _exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}
