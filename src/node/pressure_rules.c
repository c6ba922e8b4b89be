/* The texts of thresholds, as a kubelet's flags have them. */
#include "api/formats.h"
#include "api/obj.h"
#include "api/quantity.h"
#include "base/clock.h"
#include "node/pressure_plan.h"
#include <stdlib.h>

static bool signal_of(struct str text, enum pressure_signal *out, struct err *err)
{
    for (int i = 0; i < PRESSURE_SIGNALS; i++)
        if (i != SIGNAL_ALLOCATABLE && str_eqz(text, pressure_signal_name((enum pressure_signal)i)))
            return *out = (enum pressure_signal)i, true;
    return err_set(err, E_INVALID,
                   "unsupported eviction signal \"" STR_FMT "\"; there are memory.available, nodefs.available, "
                   "nodefs.inodesFree, imagefs.available, imagefs.inodesFree, containerfs.available, "
                   "containerfs.inodesFree and pid.available",
                   STR_ARG(text));
}

static bool part_of(struct str text, struct pressure_amount *out, struct err *err)
{
    char z[32], *end;
    (void)snprintf(z, sizeof z, STR_FMT, STR_ARG(str_sub(text, 0, text.n - 1)));
    out->is_part = true;
    out->part = strtof(z, &end) / 100;
    if (text.n > 20 || end == z || *end || !(out->part >= 0 && out->part <= 1))
        return err_set(err, E_INVALID, "\"" STR_FMT "\" is no percentage from 0%% to 100%%", STR_ARG(text));
    return true;
}

static bool amount_read(struct str text, bool zero, struct pressure_amount *out, struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct str canonical;
    *out = (struct pressure_amount){0};
    if (str_ends(text, S("%")))
        return part_of(text, out, err);
    if (!quantity_canonical(&a, text, &canonical, err))
        return false;
    out->quantity = quantity_value(canonical);
    (void)snprintf(out->text, sizeof out->text, STR_FMT, STR_ARG(canonical));
    return out->quantity > 0 || (zero && out->quantity == 0) ||
           err_set(err, E_INVALID, "\"" STR_FMT "\" must be positive", STR_ARG(text));
}

/* Calls fn for each part "SIGNAL<separator>VALUE" of a list. */
static bool parts_each(struct str list, char separator,
                       bool (*fn)(struct pressure_rules *r, enum pressure_signal s, struct str value,
                                  struct err *err),
                       struct pressure_rules *r, struct err *err)
{
    struct str part, name, value;
    while (list.n && str_cut(&list, ',', &part)) {
        enum pressure_signal s = PRESSURE_SIGNALS;
        part = str_trim(part);
        if (!part.n)
            continue;
        if (!str_split(part, separator, &name, &value))
            return err_set(err, E_INVALID, "\"" STR_FMT "\" is not SIGNAL%cVALUE", STR_ARG(part), separator);
        if (!signal_of(str_trim(name), &s, err) || !fn(r, s, str_trim(value), err))
            return err_wrap(err, STR_FMT, STR_ARG(part));
    }
    return true;
}

static bool threshold_add(struct pressure_rules *r, enum pressure_signal s, struct str value, int64_t grace,
                          struct err *err)
{
    struct pressure_threshold t = {.signal = s, .grace_ns = grace};
    for (size_t i = 0; i < r->n; i++)
        if (r->list[i].signal == s && (r->list[i].grace_ns != 0) == (grace != 0))
            return err_set(err, E_INVALID, "%s stands there twice", pressure_signal_name(s));
    if (str_eqz(value, "0%") || str_eqz(value, "100%")) /* that is how one says: none */
        return true;
    if (!amount_read(value, false, &t.value, err))
        return false;
    ASSERT(r->n < PRESSURE_THRESHOLDS);
    r->list[r->n++] = t;
    return true;
}

static bool hard_add(struct pressure_rules *r, enum pressure_signal s, struct str value, struct err *err)
{
    return threshold_add(r, s, value, 0, err);
}

#define NO_GRACE_YET (-1)
static bool soft_add(struct pressure_rules *r, enum pressure_signal s, struct str value, struct err *err)
{
    return threshold_add(r, s, value, NO_GRACE_YET, err);
}

static bool grace_set(struct pressure_rules *r, enum pressure_signal s, struct str value, struct err *err)
{
    int64_t ns;
    if (!goduration_parse(value, &ns, err))
        return false;
    if (ns <= 0)
        return err_set(err, E_INVALID, "a grace period must be positive");
    for (size_t i = 0; i < r->n; i++)
        if (r->list[i].signal == s && r->list[i].grace_ns)
            r->list[i].grace_ns = ns;
    return true;
}

static bool reclaim_set(struct pressure_rules *r, enum pressure_signal s, struct str value, struct err *err)
{
    struct pressure_amount x;
    if (!amount_read(value, true, &x, err))
        return false;
    for (size_t i = 0; i < r->n; i++)
        if (r->list[i].signal == s)
            r->list[i].reclaim = x;
    return true;
}

/* Writable layers are on the disk of nodefs: what is set for that holds for them, and nothing else does. And what
 * holds for the memory of the node holds for that of all pods together. */
static void derived_add(struct pressure_rules *r)
{
    static const struct {
        enum pressure_signal from, to;
        bool soft;
    } rows[] = {{SIGNAL_MEMORY, SIGNAL_ALLOCATABLE, false},
                {SIGNAL_NODEFS, SIGNAL_CONTAINERFS, true},
                {SIGNAL_NODEFS_INODES, SIGNAL_CONTAINERFS_INODES, true}};
    size_t kept = 0;
    for (size_t i = 0; i < r->n; i++)
        if (r->list[i].signal != SIGNAL_CONTAINERFS && r->list[i].signal != SIGNAL_CONTAINERFS_INODES)
            r->list[kept++] = r->list[i];
    r->n = kept;
    for (size_t k = 0; k < countof(rows); k++)
        for (size_t i = 0; i < kept; i++)
            if (r->list[i].signal == rows[k].from && (rows[k].soft || !r->list[i].grace_ns)) {
                ASSERT(r->n < PRESSURE_THRESHOLDS);
                r->list[r->n] = r->list[i];
                r->list[r->n++].signal = rows[k].to;
            }
}

bool pressure_rules_read(const struct pressure_texts *t, struct pressure_rules *out, struct err *err)
{
    *out = (struct pressure_rules){0};
    if (!parts_each(t->hard, '<', hard_add, out, err))
        return err_wrap(err, "eviction-hard");
    if (!parts_each(t->soft, '<', soft_add, out, err))
        return err_wrap(err, "eviction-soft");
    if (!parts_each(t->soft_grace, '=', grace_set, out, err))
        return err_wrap(err, "eviction-soft-grace-period");
    for (size_t i = 0; i < out->n; i++)
        if (out->list[i].grace_ns == NO_GRACE_YET)
            return err_set(err, E_INVALID,
                           "eviction-soft: grace period must be specified for the soft eviction threshold %s "
                           "(eviction-soft-grace-period)",
                           pressure_signal_name(out->list[i].signal));
    if (!parts_each(t->reclaim, '=', reclaim_set, out, err))
        return err_wrap(err, "eviction-minimum-reclaim");
    if (!goduration_parse(t->transition, &out->transition_ns, err))
        return err_wrap(err, "eviction-pressure-transition-period");
    if (out->transition_ns < 0)
        return err_set(err, E_INVALID, "eviction-pressure-transition-period: must not be negative");
    if (!str_to_i64(t->grace_most, 0, INT32_MAX, &out->grace_most_s))
        return err_set(err, E_INVALID,
                       "eviction-max-pod-grace-period: \"" STR_FMT "\" is no number of seconds from 0 on",
                       STR_ARG(t->grace_most));
    derived_add(out);
    return true;
}
