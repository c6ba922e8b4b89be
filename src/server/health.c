#include "server/health.h"
#include "server/sites.h"

/* Each says what is wrong; NULL: nothing. */
static const char *check_ping(struct server *s UNUSED)
{
    return NULL;
}
static const char *check_store(struct server *s)
{
    return s->store ? NULL : "it is not open";
}
static const char *check_writes(struct server *s) /* not for livez: a restart makes no room on a disk */
{
    const struct err *err = store_failing(s->store);
    return err ? err->text : NULL;
}
static const char *check_ready(struct server *s)
{
    return s->ready && !s->stopping ? NULL : s->ready ? "the server is ending" : "the server is starting";
}
static const struct {
    struct str name;
    const char *(*fn)(struct server *s);
    bool ready_only;
} checks[] = {
    {S_INIT("ping"), check_ping, false},
    {S_INIT("log"), check_ping, false},
    {S_INIT("etcd"), check_store, false},
    {S_INIT("writes"), check_writes, true},
    {S_INIT("informer-sync"), check_ready, true},
    /* what an API server does as it starts; this one does all of it before it is ready */
    {S_INIT("poststarthook/start-apiserver-admission-initializer"), check_ready, false},
    {S_INIT("poststarthook/generic-apiserver-start-informers"), check_ready, false},
    {S_INIT("poststarthook/storage-readiness"), check_store, false},
    {S_INIT("poststarthook/start-apiextensions-informers"), check_ready, false},
    {S_INIT("poststarthook/start-apiextensions-controllers"), check_ready, false},
    {S_INIT("poststarthook/crd-informer-synced"), check_ready, false},
    {S_INIT("poststarthook/start-system-namespaces-controller"), check_ready, false},
    {S_INIT("poststarthook/bootstrap-controller"), check_ready, false},
    {S_INIT("poststarthook/rbac/bootstrap-roles"), check_ready, false},
    {S_INIT("poststarthook/scheduling/bootstrap-system-priority-classes"), check_ready, false},
    {S_INIT("poststarthook/start-cluster-authentication-info-controller"), check_ready, false},
    {S_INIT("poststarthook/start-service-ip-repair-controllers"), check_ready, false},
    {S_INIT("poststarthook/start-kube-aggregator-informers"), check_ready, false},
    {S_INIT("poststarthook/apiservice-registration-controller"), check_ready, false},
    {S_INIT("poststarthook/apiservice-status-local-available-controller"), check_ready, false},
    {S_INIT("poststarthook/apiservice-status-remote-available-controller"), check_ready, false},
    {S_INIT("poststarthook/kube-apiserver-autoregistration"), check_ready, false},
    {S_INIT("autoregister-completion"), check_ready, false},
    {S_INIT("poststarthook/apiservice-openapi-controller"), check_ready, false},
    {S_INIT("shutdown"), check_ready, true},
};

_Static_assert(countof(checks) <= HEALTH_CHECKS_MOST, "there is room for the counts of each");
static const struct str paths[HEALTH_PATHS] = {S_INIT("healthz"), S_INIT("livez"), S_INIT("readyz")};

static void health_count(struct health_results *h, struct str path, size_t check, bool good)
{
    for (size_t i = 0; i < countof(paths); i++)
        if (str_eq(path, paths[i])) {
            struct health_count *n = &h->counts[i][check];
            n->last = good;
            *(good ? &n->good : &n->bad) += 1;
        }
}

void site_health(struct site_call *c)
{
    struct str rest = str_sub(c->path, 1, c->path.n), which, name;
    str_split(rest, '/', &which, &name);
    bool ready = str_eq(which, S("readyz")), all = true, found = !name.n;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    for (size_t i = 0; i < countof(checks); i++) {
        if ((checks[i].ready_only && !ready) || (name.n && !str_eq(name, checks[i].name)))
            continue;
        found = true;
        const char *wrong = checks[i].fn(c->server);
        all &= !wrong;
        if (!name.n) /* one check by itself is not counted, as upstream */
            health_count(&c->server->health, which, i, !wrong);
        strbuf_addf(&b, "[%s]" STR_FMT " %s%s\n", wrong ? "-" : "+", STR_ARG(checks[i].name),
                    wrong ? "failed: " : "ok", wrong ? wrong : "");
    }
    if (!found) {
        site_not_found(c);
        return;
    }
    bool verbose = str_has(c->query, S("verbose"));
    strbuf_addf(&b, STR_FMT " check %s\n", STR_ARG(which), all ? "passed" : "failed");
    http_set(c->http, S("X-Content-Type-Options"), S("nosniff"));
    http_respond(c->http, all ? 200 : 500, S("text/plain; charset=utf-8"),
                 all && !verbose ? S("ok") : strbuf_str(&b));
}

static void add_sample(struct strbuf *b, const char *metric, size_t path, size_t check, const char *status,
                       uint64_t n)
{
    strbuf_addf(b, "%s{name=\"" STR_FMT "\",%s%s%stype=\"" STR_FMT "\"} %llu\n", metric, STR_ARG(checks[check].name),
                status ? "status=\"" : "", status ? status : "", status ? "\"," : "", STR_ARG(paths[path]),
                (unsigned long long)n);
}

/* Only of checks that somebody has asked for. */
static void add_samples(struct strbuf *b, const struct health_results *h, const char *metric, bool totals)
{
    for (size_t i = 0; i < HEALTH_PATHS; i++)
        for (size_t k = 0; k < countof(checks); k++) {
            const struct health_count *n = &h->counts[i][k];
            if (!totals && (n->good || n->bad))
                add_sample(b, metric, i, k, NULL, n->last);
            if (totals && n->bad)
                add_sample(b, metric, i, k, "error", n->bad);
            if (totals && n->good)
                add_sample(b, metric, i, k, "success", n->good);
        }
}

void site_health_metrics(struct site_call *c)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(1 << 20);
    strbuf_addz(&b, "# HELP kubernetes_healthcheck How a check ended last: 1 well, 0 not.\n"
                    "# TYPE kubernetes_healthcheck gauge\n");
    add_samples(&b, &c->server->health, "kubernetes_healthcheck", false);
    strbuf_addz(&b, "# HELP kubernetes_healthchecks_total How often a check ended so.\n"
                    "# TYPE kubernetes_healthchecks_total counter\n");
    add_samples(&b, &c->server->health, "kubernetes_healthchecks_total", true);
    strbuf_addf(&b,
                "# HELP process_start_time_seconds When the server started.\n"
                "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds %lld\n",
                (long long)(c->server->started / NS_PER_S));
    http_respond(c->http, 200, S("text/plain; version=0.0.4; charset=utf-8"), strbuf_str(&b));
}
