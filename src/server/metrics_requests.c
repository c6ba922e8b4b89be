#include "server/metrics_requests.h"
#include "base/map.h"
#include "server/path.h"

/* Upper ends of the buckets: of durations some of upstream's, of what is left of certificates all of them; seconds.
 */
static const double durations[] = {0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 5, 10, 30, 60};
static const double lefts[] = {0,      1800,   3600,   7200,    21600,   43200,    86400,
                               172800, 345600, 604800, 2592000, 7776000, 15552000, 31104000};
enum { CODES_MOST = 12 };

/* What asked for the same; the key is its labels. */
struct request_series {
    struct {
        int code; /* 0: of others */
        uint64_t n;
    } codes[CODES_MOST];
    uint64_t buckets[countof(durations) + 1], timed;
    double sum;
};
struct request_counts {
    struct map series;
    int64_t inflight[2]; /* readOnly, mutating */
    uint64_t lefts[countof(lefts) + 1], certificates;
    double left_sum;
};

struct request_counts *request_counts_new(void)
{
    return NEW(struct request_counts);
}

void request_counts_free(struct request_counts *c)
{
    if (!c)
        return;
    map_each (e, &c->series)
        mem_free(e->value);
    map_fini(&c->series);
    mem_free(c);
}

static bool is_mutating(struct str method)
{
    return !str_eqz(method, "GET") && !str_eqz(method, "HEAD") && !str_eqz(method, "OPTIONS");
}

void request_counts_began(struct request_counts *c, const struct http_request *h)
{
    c->inflight[is_mutating(h->method)]++;
}

/* --- labels --- */

static const char *verb_label(const struct http_request *h, const struct path_info *p, bool watch)
{
    static const char *const verbs[][2] = {{"create", "POST"}, {"update", "PUT"}, {"delete", "DELETE"},
                                           {"get", "GET"},     {"list", "LIST"},  {"watch", "WATCH"}};
    static const char *const connects[] = {"exec", "attach", "portforward", "proxy"};
    if (watch)
        return "WATCH";
    for (size_t i = 0; i < countof(connects) && p; i++)
        if (str_eqz(p->sub, connects[i]))
            return "CONNECT";
    if (p && strcmp(p->verb, "deletecollection") == 0)
        return "DELETECOLLECTION";
    if (p && strcmp(p->verb, "patch") == 0)
        return str_starts(http_header(&h->headers, S("Content-Type")), S("application/apply-patch")) ? "APPLY"
                                                                                                     : "PATCH";
    for (size_t i = 0; i < countof(verbs) && p; i++)
        if (strcmp(p->verb, verbs[i][0]) == 0)
            return verbs[i][1];
    static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"};
    for (size_t i = 0; i < countof(methods); i++)
        if (str_eqz(h->method, methods[i]))
            return methods[i];
    return "other";
}

static struct str labels_of(struct arena *a, const struct kind_set *set, const struct http_request *h, bool watch)
{
    struct path_info p;
    bool known = path_parse(a, h->method, h->path, &p) && p.is_resource;
    const struct kind *k = known ? kind_set_find_plural(set, p.group, p.version, p.resource) : NULL;
    const struct subresource *sub = NULL;
    for (size_t i = 0; k && i < k->nsubs; i++)
        if (str_eqz(p.sub, k->subs[i].name))
            sub = &k->subs[i];
    if (!k || (p.sub.n && !sub))
        return arena_fmt(a, "verb=\"%s\",group=\"\",version=\"\",resource=\"\",subresource=\"\",scope=\"\"",
                         verb_label(h, NULL, watch));
    return arena_fmt(a,
                     "verb=\"%s\",group=\"" STR_FMT "\",version=\"" STR_FMT "\",resource=\"" STR_FMT
                     "\",subresource=\"%s\",scope=\"%s\"",
                     verb_label(h, &p, watch), STR_ARG(k->group), STR_ARG(k->version), STR_ARG(k->plural),
                     sub ? sub->name : "",
                     p.name.n ? "resource"
                     : p.ns.n ? "namespace"
                              : "cluster");
}

static struct request_series *series_of(struct request_counts *c, struct str labels)
{
    struct request_series *s = map_get(&c->series, labels);
    if (!s && map_len(&c->series) >= REQUEST_SERIES_MOST) {
        labels = S("verb=\"other\",group=\"\",version=\"\",resource=\"\",subresource=\"\",scope=\"\"");
        s = map_get(&c->series, labels);
    }
    if (!s) {
        s = NEW(struct request_series);
        (void)map_put(&c->series, labels, s); /* none was there */
    }
    return s;
}

static void count_code(struct request_series *s, int code)
{
    size_t i = 0;
    while (i < CODES_MOST - 1 && s->codes[i].n && s->codes[i].code != code)
        i++;
    s->codes[i].code = i < CODES_MOST - 1 ? code : 0;
    s->codes[i].n++;
}

static size_t bucket_of(const double *ends, size_t n, double value)
{
    size_t i = 0;
    while (i < n && value > ends[i])
        i++;
    return i;
}

/* --- counting --- */

void request_counts_watch(struct request_counts *c, const struct kind_set *set, const struct http_request *h)
{
    AUTO(arena_fini) struct arena a = ARENA;
    c->inflight[is_mutating(h->method)]--;
    count_code(series_of(c, labels_of(&a, set, h, true)), 200);
}

void request_counts_ended(struct request_counts *c, const struct kind_set *set, const struct http_request *h)
{
    AUTO(arena_fini) struct arena a = ARENA;
    if (!h->path.n) /* a watch, which was counted when it began */
        return;
    c->inflight[is_mutating(h->method)]--;
    struct request_series *s = series_of(c, labels_of(&a, set, h, false));
    double took = (double)(clock_mono() - h->came) / (double)NS_PER_S;
    count_code(s, h->status);
    s->buckets[bucket_of(durations, countof(durations), took)]++;
    s->timed++;
    s->sum += took;
    if (!h->peer->is_tls || !h->peer->tls.verified)
        return;
    double left = MAX((double)(h->peer->tls.not_after - clock_real()) / (double)NS_PER_S, 0);
    c->lefts[bucket_of(lefts, countof(lefts), left)]++;
    c->certificates++;
    c->left_sum += left;
}

/* --- telling --- */

static void buckets_text(struct strbuf *out, const char *name, const char *labels, const double *ends, size_t n,
                         const uint64_t *counts)
{
    uint64_t sum = 0;
    const char *comma = *labels ? "," : "";
    for (size_t i = 0; i < n; i++) {
        sum += counts[i];
        strbuf_addf(out, "%s_bucket{%s%sle=\"%g\"} %llu\n", name, labels, comma, ends[i], (unsigned long long)sum);
    }
    strbuf_addf(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, labels, comma, (unsigned long long)(sum + counts[n]));
}

static void totals_text(const struct request_counts *c, struct strbuf *out)
{
    strbuf_addz(out, "# HELP apiserver_request_total Requests answered.\n# TYPE apiserver_request_total counter\n");
    map_each (e, &c->series) {
        const struct request_series *s = e->value;
        for (size_t i = 0; i < CODES_MOST; i++)
            if (s->codes[i].n)
                strbuf_addf(out,
                            "apiserver_request_total{%s,component=\"apiserver\",dry_run=\"\",code=\"%d\"} %llu\n",
                            e->key.p, s->codes[i].code, (unsigned long long)s->codes[i].n);
    }
}

static void durations_text(const struct request_counts *c, struct strbuf *out)
{
    static const char name[] = "apiserver_request_duration_seconds";
    strbuf_addf(out, "# HELP %s From the head of a request to the end of its answer.\n# TYPE %s histogram\n", name,
                name);
    map_each (e, &c->series) {
        const struct request_series *s = e->value;
        AUTO(strbuf_fini) struct strbuf labels = STRBUF(STRBUF_TEXT);
        if (!s->timed)
            continue;
        strbuf_addf(&labels, "%s,component=\"apiserver\",dry_run=\"\"", e->key.p);
        buckets_text(out, name, labels.p, durations, countof(durations), s->buckets);
        strbuf_addf(out, "%s_sum{%s} %g\n%s_count{%s} %llu\n", name, labels.p, s->sum, name, labels.p,
                    (unsigned long long)s->timed);
    }
}

void request_counts_text(const struct request_counts *c, struct strbuf *out)
{
    static const char left[] = "apiserver_client_certificate_expiration_seconds";
    totals_text(c, out);
    durations_text(c, out);
    strbuf_addz(out, "# HELP apiserver_current_inflight_requests Requests under way, watches aside.\n"
                     "# TYPE apiserver_current_inflight_requests gauge\n");
    for (size_t i = 0; i < 2; i++)
        strbuf_addf(out, "apiserver_current_inflight_requests{request_kind=\"%s\"} %lld\n",
                    i ? "mutating" : "readOnly", (long long)MAX(c->inflight[i], 0));
    strbuf_addf(out, "# HELP %s What is left of the certificate by which a request was made.\n# TYPE %s histogram\n",
                left, left);
    buckets_text(out, left, "", lefts, countof(lefts), c->lefts);
    strbuf_addf(out, "%s_sum %g\n%s_count %llu\n", left, c->left_sum, left, (unsigned long long)c->certificates);
}
