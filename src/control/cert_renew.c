/* When a certificate is to be renewed: two thirds through its life, or as the spec says, moved into a window where it
 * has some (cert-manager: pkg/util/pki/renewaltime.go). */
#include "api/cron.h"
#include "control/cert.h"

static int64_t before_end(const struct val *spec, int64_t life)
{
    int64_t ns, percent = val_num(cert_field(spec, "renewBeforePercentage"), 0);
    if (cert_duration(cert_field(spec, "renewBefore"), &ns) && ns > 0 && ns < life)
        return ns;
    if (percent > 0 && percent < 100)
        return (int64_t)((double)life * (double)percent / 100);
    return life / 3;
}

/* The last start of a window up to `until`, s since 1970; CRON_NEVER: none after `from`. */
static int64_t last_start(const struct cron *c, const struct zone *z, int64_t from, int64_t until)
{
    int64_t low = from, high = until;
    if (from >= until || cron_next(c, z, from - 1) > until)
        return CRON_NEVER;
    while (high - low > 1) {
        int64_t mid = low + (high - low) / 2;
        if (cron_next(c, z, mid) > until)
            high = mid;
        else
            low = mid;
    }
    int64_t at = cron_next(c, z, low - 1);
    return at > until ? CRON_NEVER : at;
}

struct window {
    struct cron cron;
    const struct zone *zone;
    int64_t length; /* s */
};

static bool window_read(const struct view *v, struct arena *a, const struct val *w, struct window *out,
                        struct err *err)
{
    struct str why = S("");
    int64_t ns;
    if (!view_zone(v, cert_text(w, "timezone").n ? cert_text(w, "timezone") : S("UTC"), &out->zone, err))
        return err_wrap(err, "error parsing timezone in window");
    if (!cron_read(a, cert_text(w, "cron"), &out->cron, &why))
        return err_set(err, E_INVALID, "error parsing cron in window " STR_FMT, STR_ARG(why));
    if (!cert_duration(cert_field(w, "windowDuration"), &ns) || ns < NS_PER_S)
        return err_set(err, E_INVALID, "windowDuration must be a positive duration in window");
    out->length = ns / NS_PER_S;
    return true;
}

/* In a window that is open at the wanted time: then. Else when the next one opens. */
static int64_t window_time(const struct window *w, int64_t from, int64_t to, int64_t wanted)
{
    int64_t open = last_start(&w->cron, w->zone, from - w->length, MIN(wanted, to + w->length));
    if (open != CRON_NEVER && wanted < open + w->length)
        return wanted;
    int64_t next = cron_next(&w->cron, w->zone, MAX(wanted, from - w->length) - 1);
    return next > to + w->length ? CRON_NEVER : next;
}

bool cert_renewal_time(const struct view *v, const struct val *spec, int64_t from, int64_t to, int64_t *out,
                       struct err *err)
{
    AUTO(arena_fini) struct arena a = ARENA;
    const struct val *renewal = cert_field(spec, "renewal"), *windows = cert_field(renewal, "windows");
    int64_t wanted = (to - before_end(spec, to - from)) / NS_PER_S, best = CRON_NEVER;
    *out = wanted * NS_PER_S;
    if (str_eqz(cert_text(renewal, "policy"), "Disabled")) {
        *out = 0;
        return true;
    }
    if (!val_len(windows))
        return true;
    val_each_item (it, windows) {
        struct window w;
        if (!window_read(v, &a, it, &w, err))
            return false;
        best = MIN(best, window_time(&w, from / NS_PER_S, to / NS_PER_S, wanted));
    }
    if (best == CRON_NEVER)
        return err_set(err, E_INVALID, "cannot find a time with the given windows between notBefore and notAfter");
    *out = best * NS_PER_S;
    return true;
}
