/* compaction.c - when history is let go: by the clock (keep_ns) and by how much of it is in the log (log_most).
 *
 * The clock: while anything is written, the revision of now is marked five times in keep_ns; a mark that is older
 * than keep_ns becomes the floor. A store at rest has no timer.
 */
#include "store/store_int.h"

void store_compact(struct store *s, int64_t rev)
{
    rev = MIN(rev, s->rev);
    if (rev <= s->floor)
        return;
    array_each (g, &s->gaps) /* in a gap nothing can be read: the floor is where one can stand */
        if (rev > g->after && rev <= g->upto)
            rev = g->upto + 1;
    s->floor = rev;
    for (size_t i = 0; i < s->gaps.n;)
        if (s->gaps.p[i].upto <= rev)
            array_del(&s->gaps, i);
        else
            i++;
    history_trim(s);
    s->engine->ops->compact(s->engine, rev);
}

void compaction_arm(struct store *s)
{
    if (timer_is_set(&s->compaction) || s->closing)
        return;
    array_push(&s->marks, ((struct mark){clock_mono(), s->rev, s->stats.logged_bytes}));
    timer_set(&s->compaction, s->keep_ns / 5);
}

/* Whoever writes large values all the time fills no disk before the clock has come round. */
void compaction_bound(struct store *s)
{
    uint64_t logged = s->stats.logged_bytes;
    int64_t floor = 0;
    if (!s->marks.n || s->closing || !s->engine->ops->logs)
        return;
    if (logged - s->marks.p[s->marks.n - 1].logged > s->log_most / 8)
        array_push(&s->marks, ((struct mark){clock_mono(), s->rev, logged}));
    while (s->marks.n > 1 && logged - s->marks.p[0].logged > s->log_most) {
        array_del(&s->marks, 0);
        floor = s->marks.p[0].rev;
    }
    store_compact(s, floor);
}

void compaction_came(struct timer *t)
{
    struct store *s = container_of(t, struct store, compaction);
    int64_t now = clock_mono(), floor = 0;
    while (s->marks.n && s->marks.p[0].at <= now - s->keep_ns) {
        floor = s->marks.p[0].rev;
        array_del(&s->marks, 0);
    }
    if (!s->marks.n || s->marks.p[s->marks.n - 1].rev != s->rev)
        array_push(&s->marks, ((struct mark){now, s->rev, s->stats.logged_bytes}));
    store_compact(s, floor);
    if (s->floor < s->rev) /* else nothing happens until something is written: no timer in a store at rest */
        timer_set(&s->compaction, s->keep_ns / 5);
    else
        array_clear(&s->marks);
}
