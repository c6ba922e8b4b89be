#include "sys/pulse.h"
#include "base/clock.h"
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define LATE  (2 * NS_PER_S)
#define SOON  (30 * NS_PER_S) /* one who wakes by himself so soon is not asked to ring */

extern const char __executable_start; /* by the linker */

static struct pulse_page *mine;
static int bell = -1;
static _Thread_local struct pulse_lane *lane; /* NULL: this thread is not watched */

/* ---- the process that is watched ---- */

static struct pulse_page *page_map(int fd) /* NULL: it is none */
{
    struct stat st;
    if (fd < 0 || fcntl(fd, F_GET_SEALS) != SEALS || fstat(fd, &st) < 0 || st.st_size != sizeof(struct pulse_page))
        return NULL;
    void *p = mmap(NULL, sizeof(struct pulse_page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return p == MAP_FAILED ? NULL : p;
}

void pulse_join(int page_fd, int bell_fd)
{
    mine = page_map(page_fd);
    bell = bell_fd;
    lane = mine ? &mine->lanes[0] : NULL;
}

void pulse_join_second(void)
{
    lane = mine ? &mine->lanes[1] : NULL;
}

static void bell_ring(void)
{
    uint32_t no = 0;
    uint64_t one = 1;
    if (atomic_compare_exchange_strong(&mine->watched, &no, 1) && write(bell, &one, sizeof one) < 0)
        atomic_store(&mine->watched, 0); /* nobody hears it; tried again at the next turn */
}

void pulse_rest(int64_t due)
{
    if (!lane)
        return;
    atomic_store_explicit(&lane->due, due, memory_order_relaxed);
    atomic_store(&lane->busy, 0);
}

void pulse_runs(const void *callback)
{
    if (!lane)
        return;
    atomic_store_explicit(&lane->callback, (uint64_t)((const char *)callback - &__executable_start),
                          memory_order_relaxed);
    lane->doing[0] = 0;
    if (atomic_load_explicit(&lane->busy, memory_order_relaxed))
        return;
    atomic_fetch_add_explicit(&lane->turn, 1, memory_order_relaxed);
    atomic_store(&lane->busy, 1);
    if (!atomic_load(&mine->watched))
        bell_ring();
}

void pulse_doing(const char *fmt, ...)
{
    if (!lane)
        return;
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(lane->doing, sizeof lane->doing, fmt, args);
    va_end(args);
}

void pulse_jobs(uint64_t begun, uint32_t waiting)
{
    if (!mine)
        return;
    atomic_store_explicit(&mine->jobs_begun, begun, memory_order_relaxed);
    atomic_store_explicit(&mine->jobs_waiting, waiting, memory_order_relaxed);
}

static void words_of(const struct pulse_lane *p, struct strbuf *out)
{
    char doing[sizeof p->doing];
    memcpy(doing, p->doing, sizeof doing);
    doing[sizeof doing - 1] = 0;
    strbuf_addf(out, "callback=wherry+0x%llx%s%s%s", (unsigned long long)atomic_load(&p->callback),
                doing[0] ? " doing=\"" : "", doing, doing[0] ? "\"" : "");
}

void pulse_words(struct strbuf *out)
{
    if (lane)
        words_of(lane, out);
}

/* ---- the one who watches ---- */

bool pulse_make(int *page_fd, int *bell_fd, struct err *err)
{
    AUTO(fd_close) int page = memfd_create("wherry-pulse", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    AUTO(fd_close) int ringer = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (page < 0 || ringer < 0 || ftruncate(page, sizeof(struct pulse_page)) < 0 ||
        fcntl(page, F_ADD_SEALS, SEALS) < 0)
        return err_errno(err, "make a page to watch over a role");
    *page_fd = TAKE_FD(page);
    *bell_fd = TAKE_FD(ringer);
    return true;
}

bool pulse_watch(struct pulse *p, int page_fd, struct err *err)
{
    *p = (struct pulse){.page = page_map(page_fd)};
    return p->page || err_set(err, E_INVALID, "is not a sealed page of this build's form");
}

void pulse_unwatch(struct pulse *p)
{
    if (p->page)
        (void)munmap(p->page, sizeof *p->page);
    *p = (struct pulse){0};
}

void pulse_restart(struct pulse *p)
{
    memset(p->stills, 0, sizeof p->stills);
    p->still = p->queued = 0;
    p->look = clock_mono() + PULSE_LOOK;
    atomic_store(&p->page->watched, 1);
}

void pulse_words_of(const struct pulse *p, struct strbuf *out)
{
    size_t longest = 0;
    for (size_t i = 1; i < PULSE_LANES; i++)
        if (p->stills[i] > p->stills[longest])
            longest = i;
    words_of(&p->page->lanes[longest], out);
}

static bool any_busy(struct pulse_page *page)
{
    for (size_t i = 0; i < PULSE_LANES; i++)
        if (atomic_load(&page->lanes[i].busy))
            return true;
    return false;
}

/* It rests, and nothing says when it wakes: from here on it rings. It may have begun to run in between. */
static bool leave_alone(struct pulse_page *page)
{
    uint32_t no = 0;
    atomic_store(&page->watched, 0);
    return !any_busy(page) || !atomic_compare_exchange_strong(&page->watched, &no, 1);
}

/* What one look finds of a lane: whether it rests, and if so, when it will wake. */
static bool lane_rests(struct pulse *p, size_t i, int64_t now, bool stopped, bool slept, int64_t *due)
{
    struct pulse_lane *l = &p->page->lanes[i];
    bool busy = atomic_load(&l->busy);
    uint64_t turn = atomic_load(&l->turn);
    if (i > 0 && turn == 0) { /* there is no second loop, or not yet */
        *due = INT64_MAX;
        return true;
    }
    *due = atomic_load(&l->due);
    bool starts = turn == 0, late = !busy && !starts && *due < now - LATE, comes_on = !busy && !late && !starts;
    p->stills[i] = turn == p->turns[i] && !slept && (!comes_on || stopped) ? p->stills[i] + 1 : 0;
    p->still = MAX(p->still, p->stills[i]);
    p->turns[i] = turn;
    return comes_on;
}

enum pulse_state pulse_look(struct pulse *p, int64_t now, bool stopped, int64_t *again)
{
    struct pulse_page *page = p->page;
    bool slept = p->look && now > p->look + LATE, rests = !stopped;
    uint64_t begun = atomic_load(&page->jobs_begun);
    bool waiting = atomic_load(&page->jobs_waiting) > 0;
    int64_t first = INT64_MAX, due;
    p->still = 0;
    for (size_t i = 0; i < PULSE_LANES; i++) {
        rests &= lane_rests(p, i, now, stopped, slept, &due);
        first = MIN(first, due);
    }
    bool starts = p->turns[0] == 0;
    p->queued = begun == p->jobs_begun && !slept && waiting ? p->queued + 1 : 0;
    p->jobs_begun = begun;
    *again = PULSE_LOOK;
    if (p->still >= (starts && !stopped ? PULSE_START : PULSE_HANG))
        return PULSE_HANGS;
    if (p->queued >= PULSE_JOBS)
        return PULSE_JOBS_HANG;
    rests &= !waiting;
    /* the page is the other's to write: any number may stand there */
    int64_t wakes = first > INT64_MAX - PULSE_LOOK ? INT64_MAX : MAX(first, now) - now + PULSE_LOOK;
    if (rests && wakes > SOON && leave_alone(page)) {
        *again = wakes;
        p->look = 0;
        return PULSE_REST;
    }
    if (rests)
        *again = MIN(wakes, SOON);
    p->look = now + *again;
    return PULSE_LIVES;
}
