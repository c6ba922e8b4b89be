#include "control/acme_int.h"

#define WAYS                                                                                                         \
    "there are http01, dns01.rfc2136 (a server that takes signed updates), dns01.webhook (a solver in the cluster) " \
    "and the setting acme-dns-hook (a program of this machine)"

bool solver_is_dns(const struct val *solver)
{
    return acme_at(solver, "dns01") != NULL;
}

struct str solver_trouble(struct arena *a, const struct val *solver, const struct acme_facts *f)
{
    const struct val *dns = acme_at(solver, "dns01");
    if (!dns)
        return acme_at(solver, "http01") ? S("") : S("a solver with neither http01 nor dns01; " WAYS);
    if (acme_at(dns, "rfc2136") || acme_at(dns, "webhook") || f->hook.n)
        return S("");
    struct str name = S("dns01");
    val_each_member (m, dns)
        if (!str_eqz(m->name->s, "cnameStrategy"))
            name = STR_JOIN(a, S("dns01."), m->name->s);
    return STR_JOIN(a, S("the solver "), name, S(" is not among those of Wherry: " WAYS));
}

/* --- choosing --- */

/* How well a selector fits: names, then the longest zone, then labels. */
struct solver_fit {
    bool fits;
    size_t by_name, zone, labels;
};

static bool labels_fit(const struct val *want, const struct val *have)
{
    val_each_member (m, want)
        if (!str_eq(val_text(val_get_str(have, m->name->s)), val_text(&m->v)))
            return false;
    return true;
}

static size_t dots_of(struct str s)
{
    size_t n = 1;
    for (size_t i = 0; i < s.n; i++)
        n += s.p[i] == '.';
    return n;
}

static bool name_in_zone(struct str name, struct str zone)
{
    if (str_ends(zone, S(".")))
        zone = str_sub(zone, 0, zone.n - 1);
    return zone.n && (str_ieq(name, zone) || (name.n > zone.n && name.p[name.n - zone.n - 1] == '.' &&
                                              str_ieq(str_sub(name, name.n - zone.n, name.n), zone)));
}

static struct solver_fit solver_fits(const struct val *selector, const struct val *labels, struct str domain)
{
    struct solver_fit fit = {.fits = true};
    const struct val *want = acme_at(selector, "matchLabels"), *list = acme_at(selector, "dnsNames"),
                     *zones = acme_at(selector, "dnsZones");
    fit.labels = val_len(want);
    fit.fits = labels_fit(want, labels);
    val_each_item (name, list)
        fit.by_name |= str_ieq(val_text(name), domain);
    val_each_item (zone, zones)
        if (name_in_zone(domain, val_text(zone)))
            fit.zone = MAX(fit.zone, dots_of(val_text(zone)));
    fit.fits = fit.fits && (!val_len(list) || fit.by_name) && (!val_len(zones) || fit.zone);
    return fit;
}

static bool fit_is_better(const struct solver_fit *a, const struct solver_fit *b)
{
    if (a->by_name != b->by_name)
        return a->by_name > b->by_name;
    if (a->zone != b->zone)
        return a->zone > b->zone;
    return a->labels > b->labels;
}

static const struct val *challenge_of_type(const struct val *authorization, const char *type)
{
    val_each_item (c, acme_at(authorization, "challenges"))
        if (str_eqz(acme_text(c, "type"), type))
            return c;
    return NULL;
}

const struct val *solver_choose(const struct obj *issuer, const struct obj *order, const struct val *authorization,
                                const struct val **challenge, bool *alpn)
{
    const struct val *best = NULL;
    struct solver_fit best_fit = {0};
    struct str id = acme_text(authorization, "identifier");
    bool wildcard = val_true(acme_at(authorization, "wildcard"));
    char text[300];
    (void)snprintf(text, sizeof text, "%s%.*s", wildcard ? "*." : "", (int)MIN(id.n, 255u), id.p ? id.p : "");
    val_each_item (solver, acme_at(obj_spec(issuer), "acme.solvers")) {
        bool dns = solver_is_dns(solver), tls = !dns && str_eqz(obj_note(issuer, ACME_CHALLENGE_NOTE), ACME_TLS_ALPN);
        const struct val *c = challenge_of_type(authorization, dns ? "dns-01" : tls ? ACME_TLS_ALPN : "http-01");
        struct solver_fit fit = solver_fits(acme_at(solver, "selector"), obj_labels(order), str_of(text));
        if (!c || (wildcard && !dns) || !fit.fits || (best && !fit_is_better(&fit, &best_fit)))
            continue;
        best = solver;
        best_fit = fit;
        *challenge = c;
        *alpn = tls;
    }
    return best;
}
