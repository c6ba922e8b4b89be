#include "base/test.h"
#include "server/slow.h"

struct fake {
    struct slow_watch watch;
    size_t bytes;
    bool gone;
};

static size_t fake_queued(const struct slow_watch *w)
{
    return container_of(w, struct fake, watch)->bytes;
}

static void fake_cut(struct slow_watch *w)
{
    slow_del(w);
    container_of(w, struct fake, watch)->gone = true;
}

static void loop_quit(struct timer *t)
{
    loop_stop(t->loop);
}

/* One turn. */
static void loop_turn(struct loop *l)
{
    struct timer t;
    timer_init(&t, l, loop_quit);
    timer_set(&t, 0);
    loop_run(l);
}

/* Watchers with so much waiting; who is still there, after all that was sent. */
static void watchers_check(size_t most, const size_t *bytes, size_t n, size_t taken, const char *want)
{
    struct err err = ERR;
    AUTO(loop_free) struct loop *l = loop_new(&err);
    struct fake fakes[8] = {0};
    char left[9] = "";
    struct slow s;
    slow_init(&s, l, most);
    for (size_t i = 0; i < n; i++) {
        fakes[i] = (struct fake){.watch = {.queued = fake_queued, .cut = fake_cut}, .bytes = bytes[i]};
        slow_add(&s, &fakes[i].watch);
        slow_sent(&s, bytes[i]);
    }
    slow_sent(&s, taken); /* somebody took as much as came: it waits no more */
    for (size_t i = 0; i < n; i++)
        CHECK(!fakes[i].gone); /* never inside a call */
    loop_turn(l);
    size_t ncut = 0;
    for (size_t i = 0; i < n; i++) {
        left[i] = fakes[i].gone ? '-' : 'x';
        ncut += fakes[i].gone;
        slow_del(&fakes[i].watch);
    }
    CHECK_STR(str_of(left), str_of(want));
    CHECK_INT(s.ncut, ncut);
    slow_fini(&s);
}

TEST(above_the_bound_the_slowest_go_first_until_a_quarter_is_free)
{
    watchers_check(100, (size_t[]){30, 40, 30}, 3, 0, "xxx");          /* at the bound */
    watchers_check(100, (size_t[]){30, 41, 30}, 3, 0, "x-x");          /* above it */
    watchers_check(100, (size_t[]){10, 60, 0, 50, 70}, 5, 0, "x-xx-"); /* 190 - 70 - 60: 60 are left */
}

TEST(who_reads_is_not_slow)
{
    watchers_check(100, (size_t[]){20, 20, 0}, 3, 100000, "xxx");
}
