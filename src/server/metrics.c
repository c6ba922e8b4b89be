#include "server/metrics.h"
#include "server/aggregate.h"
#include "server/limits.h"
#include "server/nodeproxy.h"
#include "server/room.h"
#include "sys/file.h"
#include <fcntl.h>
#include <sys/resource.h>

/* Upper ends of the buckets of request durations, in ms. */
static const int buckets[] = {1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 60000};
static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE", "other"};

struct metrics {
    uint64_t by_code[countof(methods)][6]; /* 1xx .. 5xx */
    uint64_t durations[countof(buckets) + 1], duration_ns;
    int64_t watches;
};

struct metrics *metrics_new(void)
{
    return NEW(struct metrics);
}

void metrics_free(struct metrics *m)
{
    mem_free(m);
}

void metrics_request(struct server *s, const struct http_request *h)
{
    struct metrics *m = s->metrics;
    size_t i = 0;
    while (i < countof(methods) - 1 && !str_eqz(h->method, methods[i]))
        i++;
    int code = h->status / 100;
    m->by_code[i][code >= 1 && code <= 5 ? code : 0]++;
    int64_t ns = clock_mono() - h->came;
    size_t b = 0;
    while (b < countof(buckets) && ns > buckets[b] * NS_PER_MS)
        b++;
    m->durations[b]++;
    m->duration_ns += (uint64_t)ns;
}

void metrics_watches(struct server *s, int change)
{
    s->metrics->watches += change;
}

static void metric_head(struct strbuf *out, const char *name, const char *type, const char *help)
{
    strbuf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void metric_one(struct strbuf *out, const char *name, const char *type, const char *help, double value)
{
    metric_head(out, name, type, help);
    strbuf_addf(out, "%s %.17g\n", name, value);
}

static bool metric_of_server(const struct aggregated *g, void *arg)
{
    strbuf_addf(arg, "aggregator_unavailable_apiservice{name=\"" STR_FMT "\"} %d\n", STR_ARG(g->name), !g->available);
    return true;
}

void metrics_text(struct server *s, struct strbuf *out)
{
    const struct metrics *m = s->metrics;
    metric_head(out, "apiserver_request_total", "counter", "Requests answered, by method and class of status.");
    for (size_t i = 0; i < countof(methods); i++)
        for (int c = 1; c < 6; c++)
            if (m->by_code[i][c])
                strbuf_addf(out, "apiserver_request_total{method=\"%s\",code=\"%dxx\"} %llu\n", methods[i], c,
                            (unsigned long long)m->by_code[i][c]);
    metric_head(out, "apiserver_request_duration_seconds", "histogram",
                "From the head of a request to the end of its answer.");
    uint64_t sum = 0;
    for (size_t b = 0; b <= countof(buckets); b++) {
        sum += m->durations[b];
        if (b < countof(buckets))
            strbuf_addf(out, "apiserver_request_duration_seconds_bucket{le=\"%g\"} %llu\n", buckets[b] / 1000.0,
                        (unsigned long long)sum);
        else
            strbuf_addf(out, "apiserver_request_duration_seconds_bucket{le=\"+Inf\"} %llu\n",
                        (unsigned long long)sum);
    }
    strbuf_addf(out, "apiserver_request_duration_seconds_sum %g\napiserver_request_duration_seconds_count %llu\n",
                (double)m->duration_ns / 1e9, (unsigned long long)sum);
    struct store_stats st;
    store_stats(s->store, &st);
    const struct http_server_counts *h = http_server_counts(s->http);
    metric_one(out, "wherry_http_connections", "gauge", "Connections open.", (double)h->connections);
    metric_one(out, "wherry_http_refused_total", "counter", "Requests refused as malformed or over a limit.",
               (double)h->refused);
    metric_one(out, "wherry_http_turned_away_total", "counter",
               "Connections closed: their address had as many as it may.", (double)h->turned_away);
    metric_one(out, "wherry_http_evicted_total", "counter", "Idle connections closed to make room for others.",
               (double)h->evicted);
    metric_one(out, "wherry_http_timeouts_total", "counter", "Connections cut: too slow.", (double)h->timeouts);
    metric_one(out, "wherry_http_body_bytes", "gauge", "Bytes of request bodies held.",
               (double)http_server_bodies(s->http));
    metric_one(out, "wherry_http_queued_bytes", "gauge", "Bytes that clients have not taken yet.",
               (double)http_server_queued(s->http));
    metric_one(out, "wherry_proxy_sessions", "gauge", "Sessions with nodes and servers of APIServices.",
               (double)nodeproxy_sessions());
    if (aggregate_count(s)) {
        metric_head(out, "aggregator_unavailable_apiservice", "gauge",
                    "1 while the server behind an APIService does not answer.");
        aggregate_each(s, metric_of_server, out);
    }
    metric_one(out, "wherry_writes_waiting", "gauge", "Writes waiting for their turn.", (double)s->writes_waiting);
    metric_one(out, "wherry_watches", "gauge", "Watches open over HTTP and from inside.", (double)s->nwatches);
    metric_one(out, "wherry_watches_cut_total", "counter",
               "Watches cut: most waited for them when there was too much.", (double)s->slow.ncut);
    metric_one(out, "wherry_readers_cut_total", "counter",
               "Lists and first events of watches cut: they held too much of what was replaced meanwhile.",
               (double)s->readers.ncut);
    metric_one(out, "wherry_store_keys", "gauge", "Objects stored.", (double)st.keys);
    metric_one(out, "wherry_stored_bytes", "gauge", "Bytes that they take in memory, Events aside.",
               (double)room_bytes(s->room));
    metric_one(out, "wherry_store_revision", "counter", "The newest revision.", (double)st.rev);
    metric_one(out, "wherry_store_floor", "gauge", "The oldest revision that can be read.", (double)st.floor);
    metric_one(out, "wherry_store_writes_total", "counter", "Changes committed.", (double)st.writes);
    metric_one(out, "wherry_store_refused_total", "counter", "Writes refused by a compare or a limit.",
               (double)st.refused);
    metric_one(out, "wherry_store_failed_total", "counter", "Writes failed with their batch.", (double)st.failed);
    metric_one(out, "wherry_store_failing", "gauge",
               "1 while nothing can be written because the disk is full or fails.", store_failing(s->store) != NULL);
    metric_one(out, "wherry_store_lazy", "gauge",
               "Changes of leases and events that are visible and not in the log yet.", (double)st.lazy);
    metric_one(out, "wherry_store_batches_failed_total", "counter", "Commits that the disk refused.",
               (double)st.batches_failed);
    metric_one(out, "wherry_store_batches_total", "counter", "Commits.", (double)st.batches);
    metric_one(out, "wherry_store_syncs_total", "counter", "Times the log was forced to disk.", (double)st.syncs);
    metric_one(out, "wherry_store_file_bytes", "gauge", "Size of the data file.", (double)st.file_bytes);
    metric_one(out, "wherry_store_wal_bytes", "gauge", "Size of the log file.", (double)st.wal_bytes);
    metric_one(out, "wherry_encoded_bytes", "gauge", "Bytes of encodings kept with objects.",
               (double)obj_encoded_bytes());
    struct rusage u;
    if (getrusage(RUSAGE_SELF, &u) == 0) {
        metric_one(out, "process_cpu_seconds_total", "counter", "CPU time used.",
                   (double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec +
                       ((double)u.ru_utime.tv_usec + (double)u.ru_stime.tv_usec) / 1e6);
        metric_one(out, "wherry_resident_most_bytes", "gauge", "The most memory that was resident.",
                   (double)u.ru_maxrss * 1024);
    }
    metric_one(out, "process_start_time_seconds", "gauge", "When the server started.",
               (double)(s->started / NS_PER_S));
    metric_head(out, "wherry_limit", "gauge", "The bounds of the server.");
#define X(name, value, what) strbuf_addf(out, "wherry_limit{name=\"%s\"} %d\n", #name, LIMIT_##name);
    LIMIT_TABLE(X)
#undef X
    strbuf_addf(out, "wherry_limit{name=\"OBJECTS\"} %zu\n", s->options.objects_most);
    strbuf_addf(out, "wherry_limit{name=\"STORED_BYTES\"} %zu\n", s->options.stored_bytes_most);
    strbuf_addf(out, "wherry_limit{name=\"NAMESPACE_BYTES\"} %zu\n", s->options.stored_bytes_most / 2);
}
