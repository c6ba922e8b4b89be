/* The simulated loop: time is a number, chance is a seed. */
#include "base/log.h"
#include "sys/loop_int.h"

#define SIM_START_MONO (1000 * NS_PER_S)
#define SIM_START_REAL (1767225600 * NS_PER_S) /* 2026-01-01T00:00:00Z */

struct sim {
    struct loop base;
    int64_t mono, suspended; /* suspended: what the machine slept, of which mono knows nothing */
    uint64_t seed;
    struct clock_source clock;
};

static int64_t sim_mono(void *arg)
{
    return ((struct sim *)arg)->mono;
}

static int64_t sim_real(void *arg)
{
    struct sim *s = arg;
    return s->mono + s->suspended - SIM_START_MONO + SIM_START_REAL;
}

static uint64_t seed_next(uint64_t *seed) /* Steele, Lea, Flood 2014 */
{
    uint64_t z = *seed += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static void sim_random(void *arg, void *p, size_t n)
{
    struct sim *s = arg;
    for (char *at = p; n;) {
        uint64_t v = seed_next(&s->seed);
        size_t part = MIN(n, sizeof v);
        memcpy(at, &v, part);
        at += part;
        n -= part;
    }
}

static void sim_free(struct loop *l)
{
    clock_install(NULL);
    loop_fini(l);
    mem_free(container_of(l, struct sim, base));
}

static void sim_wait(struct loop *l, int64_t until)
{
    struct sim *s = container_of(l, struct sim, base);
    if (until == INT64_MAX) {
        /* held, but nothing will ever come: in a simulation nobody is outside */
        log_error("sim.stuck", "held=%zu", l->active);
        ASSERT(!"the simulation waits for what cannot happen");
    }
    s->mono = MAX(s->mono, until);
}

void loop_simulate_sleep(struct loop *l, int64_t ns, bool suspended)
{
    struct sim *s = container_of(l, struct sim, base);
    *(suspended ? &s->suspended : &s->mono) += ns;
}

static void sim_wake(UNUSED struct loop *l)
{
}

static void sim_poll_want(UNUSED struct poll *p, UNUSED int events)
{
    ASSERT(!"a simulated loop has no descriptors");
}

static bool sim_signal_start(struct signal_source *s, UNUSED int signo, UNUSED struct err *err)
{
    s->impl = s;
    return true;
}

static void sim_signal_stop(UNUSED struct signal_source *s)
{
}

static void sim_job_run(void *arg)
{
    struct job *j = arg;
    struct loop *l = j->loop;
    j->work(j);
    l->active--;
    l->cpu = clock_thread_cpu(); /* what the work used is not the loop's */
    j->done(j);
}

static void sim_job_start(struct job *j)
{
    loop_post(j->loop, sim_job_run, j);
}

static const struct loop_ops sim_ops = {
    .free = sim_free,
    .wait = sim_wait,
    .wake = sim_wake,
    .poll_want = sim_poll_want,
    .signal_start = sim_signal_start,
    .signal_stop = sim_signal_stop,
    .job_start = sim_job_start,
};

struct loop *loop_new_simulated(uint64_t seed)
{
    struct sim *s = NEW(struct sim);
    s->mono = SIM_START_MONO;
    s->seed = seed;
    s->clock = (struct clock_source){sim_mono, sim_real, sim_random, s};
    clock_install(&s->clock);
    loop_init(&s->base, &sim_ops);
    s->base.tie_by_chance = seed != 0;
    return &s->base;
}
