#include "node/pressure_plan.h"
#include "api/obj.h"
#include "api/placement.h"
#include "api/quantity.h"
#include "api/strategy.h"
#include "base/clock.h"

static const struct signal_kind {
    const char *name, *resource;
    unsigned condition;
    int64_t fastest; /* units a second: faster than a machine of today can take them */
} signals[PRESSURE_SIGNALS] = {
    [SIGNAL_MEMORY] = {"memory.available", "memory", PRESSURE_ON_MEMORY, 4LL << 30},
    [SIGNAL_ALLOCATABLE] = {"allocatableMemory.available", "memory", PRESSURE_ON_MEMORY, 4LL << 30},
    [SIGNAL_NODEFS] = {"nodefs.available", "ephemeral-storage", PRESSURE_ON_DISK, 1LL << 30},
    [SIGNAL_NODEFS_INODES] = {"nodefs.inodesFree", "inodes", PRESSURE_ON_DISK, 200000},
    [SIGNAL_IMAGEFS] = {"imagefs.available", "ephemeral-storage", PRESSURE_ON_DISK, 1LL << 30},
    [SIGNAL_IMAGEFS_INODES] = {"imagefs.inodesFree", "inodes", PRESSURE_ON_DISK, 200000},
    [SIGNAL_CONTAINERFS] = {"containerfs.available", "ephemeral-storage", PRESSURE_ON_DISK, 1LL << 30},
    [SIGNAL_CONTAINERFS_INODES] = {"containerfs.inodesFree", "inodes", PRESSURE_ON_DISK, 200000},
    [SIGNAL_PIDS] = {"pid.available", "pids", PRESSURE_ON_PIDS, 20000},
};
#define PAUSE_MOST   (10 * NS_PER_S) /* as a kubelet looks */
#define PAUSE_USUAL  NS_PER_S        /* at least, while nothing goes */
#define PAUSE_LEAST  (100 * NS_PER_MS)
#define SPEED_MARGIN 4 /* what went so fast may go so many times faster */

const char *pressure_signal_name(enum pressure_signal s)
{
    return signals[s].name;
}

const char *pressure_resource(enum pressure_signal s)
{
    return signals[s].resource;
}

unsigned pressure_condition(enum pressure_signal s)
{
    return signals[s].condition;
}

const char *pressure_condition_name(unsigned one)
{
    return one == PRESSURE_ON_MEMORY ? "MemoryPressure" : one == PRESSURE_ON_DISK ? "DiskPressure" : "PIDPressure";
}

static int64_t amount_of(const struct pressure_amount *x, int64_t capacity)
{
    return x->is_part ? (int64_t)((double)capacity * (double)x->part) : x->quantity;
}

static bool is_met(const struct pressure_threshold *t, const struct pressure_sample *samples, bool with_reclaim)
{
    const struct pressure_sample *s = &samples[t->signal];
    int64_t want = amount_of(&t->value, s->capacity);
    if (with_reclaim)
        want += amount_of(&t->reclaim, s->capacity);
    return s->known && s->available < want;
}

/* --- deciding ------------------------------------------------------------------------------------------------- */

static uint32_t thresholds_met(const struct pressure_rules *r, const struct pressure_state *s,
                               const struct pressure_sample *samples)
{
    uint32_t met = 0;
    for (size_t i = 0; i < r->n; i++) /* one that was in force is so until its reclaim is free, too */
        if (is_met(&r->list[i], samples, s->met >> i & 1))
            met |= 1U << i;
    return met;
}

static void conditions_see(const struct pressure_rules *r, struct pressure_state *s, uint32_t met, int64_t now)
{
    for (size_t i = 0; i < r->n; i++)
        for (int k = 0; k < PRESSURE_CONDITIONS; k++)
            if (met >> i & 1 && pressure_condition(r->list[i].signal) == 1U << k)
                s->seen_at[k] = now;
}

static void wake_by(struct pressure_decision *d, int64_t at)
{
    if (!d->wake_at || at < d->wake_at)
        d->wake_at = at;
}

static bool is_memory(enum pressure_signal s)
{
    return s == SIGNAL_MEMORY || s == SIGNAL_ALLOCATABLE;
}

void pressure_decide(const struct pressure_rules *r, struct pressure_state *s, const struct pressure_sample *samples,
                     int64_t now, struct pressure_decision *out)
{
    uint32_t met = thresholds_met(r, s, samples);
    *out = (struct pressure_decision){.reclaim = -1};
    s->met = 0;
    for (size_t i = 0; i < r->n; i++) {
        if (!(met >> i & 1)) {
            s->first_at[i] = 0;
            continue;
        }
        if (!s->first_at[i])
            s->first_at[i] = now;
        if (now - s->first_at[i] >= r->list[i].grace_ns)
            s->met |= 1U << i;
        else
            wake_by(out, s->first_at[i] + r->list[i].grace_ns);
    }
    conditions_see(r, s, met, now);
    for (int k = 0; k < PRESSURE_CONDITIONS; k++) {
        bool seen_now = s->seen_at[k] == now;
        if (!s->seen_at[k] || (now - s->seen_at[k] >= r->transition_ns && !seen_now))
            continue;
        out->conditions |= 1U << k;
        if (!seen_now)
            wake_by(out, s->seen_at[k] + r->transition_ns);
    }
    s->conditions = out->conditions;
    out->active = s->met;
    for (int pass = 0; pass < 2 && out->reclaim < 0; pass++) /* memory before all else: it goes the fastest */
        for (size_t i = 0; i < r->n && out->reclaim < 0; i++)
            if (s->met >> i & 1 && is_memory(r->list[i].signal) == (pass == 0))
                out->reclaim = (int)i;
}

bool pressure_is_over(const struct pressure_rules *r, const struct pressure_sample *samples)
{
    for (size_t i = 0; i < r->n; i++)
        if (is_met(&r->list[i], samples, true))
            return false;
    return true;
}

int64_t pressure_pause(const struct pressure_rules *r, const struct pressure_sample *samples,
                       const struct pressure_sample *before, int64_t since_ns)
{
    int64_t pause = PAUSE_MOST;
    for (size_t i = 0; i < r->n; i++) {
        enum pressure_signal k = r->list[i].signal;
        const struct pressure_sample *s = &samples[k];
        int64_t left = s->available - amount_of(&r->list[i].value, s->capacity);
        if (!s->known)
            continue;
        if (left <= 0)
            return PAUSE_USUAL;
        double soonest = (double)left / (double)signals[k].fastest * (double)NS_PER_S;
        double mine = MAX(soonest, (double)PAUSE_USUAL);
        int64_t gone = before[k].known ? before[k].available - s->available : 0;
        if (gone > 0 && since_ns > 0)
            mine = MIN(mine, MAX((double)left / (double)gone * (double)since_ns / SPEED_MARGIN, (double)PAUSE_LEAST));
        if (mine < (double)pause)
            pause = (int64_t)mine;
    }
    return pause;
}

int64_t pressure_reserved(const struct pressure_rules *r, enum pressure_signal s, int64_t capacity)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->list[i].signal == s && !r->list[i].grace_ns)
            return amount_of(&r->list[i].value, capacity);
    return 0;
}

/* --- taking in ------------------------------------------------------------------------------------------------ */

#define CRITICAL_PRIORITY 2000000000

bool pressure_spares(const struct obj *pod)
{
    const struct val *notes = val_get(obj_meta(pod), N(annotations));
    struct str source = val_text(val_get_str(notes, S("kubernetes.io/config.source")));
    return (source.n && !str_eqz(source, "api")) || val_get_str(notes, S("kubernetes.io/config.mirror")) ||
           val_num_at(obj_spec(pod), 0, N(priority)) >= CRITICAL_PRIORITY;
}

static bool tolerates_memory(struct arena *a, const struct obj *pod)
{
    struct val taint = val_map();
    val_set_text(a, &taint, N(key), S("node.kubernetes.io/memory-pressure"));
    val_set_text(a, &taint, N(effect), S("NoSchedule"));
    return taint_tolerated(val_get(obj_spec(pod), N(tolerations)), &taint);
}

struct str pressure_refuses(struct arena *a, unsigned conditions, const struct obj *pod)
{
    if (!conditions || pressure_spares(pod))
        return S("");
    if (conditions == PRESSURE_ON_MEMORY &&
        (!str_eqz(pod_qos_class(&pod->tree), "BestEffort") || tolerates_memory(a, pod)))
        return S("");
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    for (unsigned one = 1; one < 1U << PRESSURE_CONDITIONS; one <<= 1)
        if (conditions & one)
            strbuf_addf(&b, "%s%s", b.n ? " " : "", pressure_condition_name(one));
    return arena_fmt(a, "The node had condition: [" STR_FMT "]. ", STR_ARG(strbuf_str(&b)));
}
