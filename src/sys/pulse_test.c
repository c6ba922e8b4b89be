#include "base/clock.h"
#include "base/test.h"
#include "sys/pulse.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>

static struct pulse watching;
static int bell_fd;
static int64_t at = 1000 * NS_PER_S;

static void both_sides(void)
{
    struct err err = ERR;
    int page;
    CHECK(pulse_make(&page, &bell_fd, &err));
    CHECK(pulse_watch(&watching, page, &err));
    pulse_join(page, bell_fd);
    fd_close(page);
}

static bool bell_rung(void)
{
    uint64_t n;
    return read(bell_fd, &n, sizeof n) == sizeof n;
}

static enum pulse_state look_after(int64_t ns, bool stopped, int64_t *again)
{
    at += ns;
    return pulse_look(&watching, at, stopped, again);
}

static enum pulse_state supervisor_look(void)
{
    int64_t again;
    return look_after(PULSE_LOOK, false, &again);
}

TEST(pulse_rings_once_from_rest)
{
    int64_t again;
    both_sides();
    pulse_runs(NULL);
    CHECK(bell_rung());
    pulse_runs(NULL);
    pulse_rest(INT64_MAX);
    pulse_runs(NULL);
    CHECK(!bell_rung()); /* he looks by himself until he says otherwise */
    CHECK_INT(supervisor_look(), PULSE_LIVES);
    pulse_rest(INT64_MAX);
    CHECK_INT(look_after(PULSE_LOOK, false, &again), PULSE_REST);
    CHECK(again == INT64_MAX);
    pulse_runs(NULL);
    CHECK(bell_rung());
}

TEST(pulse_of_one_turn_is_a_hang)
{
    both_sides();
    pulse_runs(NULL);
    CHECK_INT(supervisor_look(), PULSE_LIVES);
    for (int i = 1; i < PULSE_HANG; i++)
        CHECK_INT(supervisor_look(), PULSE_LIVES);
    pulse_rest(0);
    pulse_runs(NULL); /* at the last moment it comes on */
    CHECK_INT(supervisor_look(), PULSE_LIVES);
    for (int i = 1; i < PULSE_HANG; i++)
        CHECK_INT(supervisor_look(), PULSE_LIVES);
    CHECK_INT(supervisor_look(), PULSE_HANGS);
}

TEST(pulse_is_not_judged_by_one_who_slept)
{
    int64_t again;
    both_sides();
    pulse_runs(NULL);
    for (int i = 0; i < 3 * PULSE_HANG; i++)
        CHECK_INT(look_after(i % 3 == 2 ? 3600 * NS_PER_S : PULSE_LOOK, false, &again), PULSE_LIVES);
}

TEST(pulse_of_one_stopped_while_it_rests)
{
    int64_t again;
    both_sides();
    pulse_runs(NULL);
    pulse_rest(INT64_MAX);
    (void)supervisor_look();
    for (int i = 1; i < PULSE_HANG; i++)
        CHECK_INT(look_after(PULSE_LOOK, true, &again), PULSE_LIVES);
    CHECK_INT(look_after(PULSE_LOOK, true, &again), PULSE_HANGS);
}

TEST(pulse_that_misses_its_own_timer)
{
    int64_t again;
    both_sides();
    pulse_runs(NULL);
    pulse_rest(at + PULSE_LOOK + 10 * NS_PER_S);
    CHECK_INT(look_after(PULSE_LOOK, false, &again), PULSE_LIVES);
    CHECK(again == 10 * NS_PER_S + PULSE_LOOK); /* when it should have come on, and not every few seconds */
    for (int i = 0; i < PULSE_HANG - 1; i++)
        CHECK_INT(look_after(again, false, &again), PULSE_LIVES);
    CHECK_INT(look_after(again, false, &again), PULSE_HANGS);
}

TEST(pulse_with_a_timer_far_away_rings)
{
    int64_t again;
    both_sides();
    pulse_runs(NULL);
    CHECK(bell_rung());
    pulse_rest(at + 3600 * NS_PER_S);
    CHECK_INT(look_after(PULSE_LOOK, false, &again), PULSE_REST);
    CHECK(again > 3500 * NS_PER_S && again < INT64_MAX);
    pulse_runs(NULL);
    CHECK(bell_rung());
}

TEST(pulse_of_a_start_has_more_time)
{
    both_sides();
    for (int i = 1; i < PULSE_START; i++)
        CHECK_INT(supervisor_look(), PULSE_LIVES);
    CHECK_INT(supervisor_look(), PULSE_HANGS);
}

TEST(pulse_of_jobs_that_nobody_takes)
{
    both_sides();
    pulse_jobs(8, 3);
    for (int i = 0; i < PULSE_JOBS; i++) {
        pulse_runs(NULL);
        pulse_rest(INT64_MAX);
        CHECK_INT(supervisor_look(), PULSE_LIVES);
    }
    pulse_jobs(9, 2); /* one was taken */
    for (int i = 0; i <= PULSE_JOBS; i++) {
        pulse_runs(NULL);
        pulse_rest(INT64_MAX);
        CHECK_INT(supervisor_look(), i < PULSE_JOBS ? PULSE_LIVES : PULSE_JOBS_HANG);
    }
}

TEST(pulse_page_of_a_stranger_is_refused)
{
    struct err err = ERR;
    struct pulse p;
    AUTO(fd_close) int plain = memfd_create("plain", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CHECK(plain >= 0 && ftruncate(plain, sizeof(struct pulse_page)) == 0);
    CHECK(!pulse_watch(&p, plain, &err)); /* it could be cut short below us */
    CHECK(!pulse_watch(&p, -1, &err));
    AUTO(fd_close) int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK(!pulse_watch(&p, null, &err));
}

TEST(pulse_says_what_it_is_at)
{
    AUTO(strbuf_fini) struct strbuf words = STRBUF(STRBUF_TEXT);
    both_sides();
    pulse_runs(NULL);
    pulse_doing("GET %s", "/api/v1/pods");
    pulse_words_of(&watching, &words);
    CHECK(str_ends(strbuf_str(&words), S(" doing=\"GET /api/v1/pods\"")));
    strbuf_reset(&words);
    pulse_runs(NULL);
    pulse_words(&words);
    CHECK(str_find(strbuf_str(&words), S("doing")) < 0);
}

TEST(pulse_page_may_say_anything)
{
    const int64_t dues[] = {INT64_MIN, -1, 0, INT64_MAX - 1, INT64_MAX};
    int64_t again;
    both_sides();
    for (size_t i = 0; i < countof(dues); i++) {
        pulse_runs(NULL);
        pulse_rest(dues[i]);
        enum pulse_state is = look_after(PULSE_LOOK, false, &again);
        CHECK(is == PULSE_LIVES || is == PULSE_REST);
        CHECK(again > 0);
    }
}

static void *second_loop(void *work)
{
    pulse_join_second();
    void (*fn)(void) = (void (*)(void))(uintptr_t)work;
    fn();
    return NULL;
}

static void on_second_thread(void (*work)(void))
{
    pthread_t t;
    CHECK(pthread_create(&t, NULL, second_loop, (void *)(uintptr_t)work) == 0);
    CHECK(pthread_join(t, NULL) == 0);
}

static void begins_a_turn(void)
{
    pulse_runs(NULL);
    pulse_doing("a plan");
}

static void pulse_rests(void)
{
    pulse_rest(INT64_MAX);
}

TEST(pulse_of_two_loops_is_that_of_the_worse)
{
    AUTO(strbuf_fini) struct strbuf words = STRBUF(STRBUF_TEXT);
    int64_t again;
    both_sides();
    for (int i = 0; i < 2 * PULSE_HANG; i++) { /* the first lives all the time, the second not always */
        pulse_runs(NULL);
        pulse_rest(INT64_MAX);
        on_second_thread(i % 3 ? begins_a_turn : pulse_rests);
        CHECK_INT(look_after(PULSE_LOOK, false, &again), i % 3 ? PULSE_LIVES : PULSE_REST);
    }
    on_second_thread(pulse_rests);
    CHECK_INT(supervisor_look(), PULSE_REST);
    CHECK(bell_rung()); /* of the first turn, long ago */
    on_second_thread(begins_a_turn);
    CHECK(bell_rung()); /* whoever begins first, rings */
    for (int i = 0; i < PULSE_HANG; i++) {
        pulse_runs(NULL);
        pulse_rest(INT64_MAX);
        CHECK_INT(supervisor_look(), PULSE_LIVES);
    }
    pulse_runs(NULL);
    pulse_rest(INT64_MAX);
    CHECK_INT(supervisor_look(), PULSE_HANGS);
    pulse_words_of(&watching, &words);
    CHECK(str_ends(strbuf_str(&words), S(" doing=\"a plan\"")));
}

static void is_due_soon(void)
{
    pulse_rest(at + 40 * NS_PER_S);
}

TEST(pulse_of_two_loops_is_looked_at_when_the_first_of_them_wakes)
{
    int64_t again;
    both_sides();
    pulse_runs(NULL);
    pulse_rest(INT64_MAX);
    on_second_thread(begins_a_turn);
    on_second_thread(is_due_soon);
    CHECK_INT(look_after(0, false, &again), PULSE_REST);
    CHECK(again == 40 * NS_PER_S + PULSE_LOOK);
}
