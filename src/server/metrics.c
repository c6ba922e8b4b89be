#include "server/metrics.h"
#include "base/version.h"
#include "server/aggregate.h"
#include "server/limits.h"
#include "server/metrics_requests.h"
#include "server/nodeproxy.h"
#include "server/room.h"
#include "sys/file.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

struct metrics {
    struct request_counts *requests;
    int64_t watches;
};

struct metrics *metrics_new(void)
{
    struct metrics *m = NEW(struct metrics);
    m->requests = request_counts_new();
    return m;
}

void metrics_free(struct metrics *m)
{
    if (m)
        request_counts_free(m->requests);
    mem_free(m);
}

void metrics_request_began(struct server *s, const struct http_request *h)
{
    request_counts_began(s->metrics->requests, h);
}

void metrics_request(struct server *s, const struct http_request *h)
{
    const struct kind_set *set = kind_publisher_take(&s->kinds);
    request_counts_ended(s->metrics->requests, set, h);
    kind_set_unref(set);
}

void metrics_watch_began(struct server *s, const struct http_request *h)
{
    const struct kind_set *set = kind_publisher_take(&s->kinds);
    request_counts_watch(s->metrics->requests, set, h);
    kind_set_unref(set);
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

/* Of what is stored, how many there are. */
static void objects_text(struct server *s, struct strbuf *out)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct store_snapshot snap = objects_snapshot(s);
    const struct kind_set *set = kind_publisher_take(&s->kinds);
    metric_head(out, "apiserver_storage_objects", "gauge", "Objects stored, by resource.");
    for (size_t i = 0; i < set->n; i++) {
        const struct kind *k = set->kinds[i];
        struct str prefix = object_prefix(&a, k);
        if ((k->storage && k->storage != k) || (k->verbs & (VERB_CREATE | VERB_LIST)) != (VERB_CREATE | VERB_LIST))
            continue;
        strbuf_addf(out, "apiserver_storage_objects{resource=\"" STR_FMT "%s" STR_FMT "\"} %zu\n", STR_ARG(k->plural),
                    k->group.n ? "." : "", STR_ARG(k->group), store_count(&snap, prefix, prefix));
    }
    kind_set_unref(set);
    store_snapshot_fini(&snap);
}

/* As Prometheus' own clients tell of their process. */
static void process_text(struct strbuf *out)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(4096);
    struct err ignored = ERR; /* what cannot be read is not told */
    struct str rest, pages, resident;
    uint64_t all, here;
    struct rlimit most;
    size_t open = 0;
    if (file_read(AT_FDCWD, "/proc/self/statm", &b, &ignored) && str_split(strbuf_str(&b), ' ', &pages, &rest) &&
        str_split(rest, ' ', &resident, &rest) && str_to_u64(pages, UINT64_MAX, &all) &&
        str_to_u64(resident, UINT64_MAX, &here)) {
        double page = (double)sysconf(_SC_PAGESIZE);
        metric_one(out, "process_resident_memory_bytes", "gauge", "Memory that is resident.", (double)here * page);
        metric_one(out, "process_virtual_memory_bytes", "gauge", "Addresses in use.", (double)all * page);
    }
    DIR *d = opendir("/proc/self/fd");
    while (d && readdir(d))
        open++;
    if (d) {
        (void)closedir(d);
        metric_one(out, "process_open_fds", "gauge", "Descriptors that are open.", (double)(open > 3 ? open - 3 : 0));
    }
    if (getrlimit(RLIMIT_NOFILE, &most) == 0)
        metric_one(out, "process_max_fds", "gauge", "Descriptors that may be open.", (double)most.rlim_cur);
}

void metrics_text(struct server *s, struct strbuf *out)
{
    const struct metrics *m = s->metrics;
    request_counts_text(m->requests, out);
    objects_text(s, out);
    metric_head(out, "apiserver_longrunning_requests", "gauge", "Watches and sessions that are open.");
    strbuf_addf(out, "apiserver_longrunning_requests{verb=\"WATCH\"} %lld\n", (long long)m->watches);
    strbuf_addf(out, "apiserver_longrunning_requests{verb=\"CONNECT\"} %zu\n", nodeproxy_sessions());
    metric_head(out, "kubernetes_build_info", "gauge", "Which version of Kubernetes this is, and which build.");
    strbuf_addf(
        out,
        "kubernetes_build_info{major=\"1\",minor=\"36\",git_version=\"%s\",git_commit=\"%s\",platform=\"linux\"} "
        "1\n",
        wherry_version, wherry_build);
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
    process_text(out);
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
