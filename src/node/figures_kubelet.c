/* figures_kubelet.c - what the agent says of itself as a kubelet does: /metrics, /metrics/probes, /pods and
 * /runningpods. */
#include "base/clock.h"
#include "node/agent_int.h"
#include "node/figures_int.h"
#include "wire/json.h"

/* --- counting ------------------------------------------------------------------------------------------------ */

void counted_reason_add(struct counted_reason *list, const char *reason, int role)
{
    for (size_t i = 0; i < COUNTED_REASONS; i++) {
        if (list[i].reason[0] && (strcmp(list[i].reason, reason) != 0 || list[i].role != role))
            continue;
        (void)snprintf(list[i].reason, sizeof list[i].reason, "%s", reason);
        list[i].role = role;
        list[i].n++;
        return;
    }
}

void counted_ending_add(struct counted_ending *list, const char *reason, int role, int code)
{
    for (size_t i = 0; i < COUNTED_ENDINGS; i++) {
        struct counted_ending *e = &list[i];
        if (e->reason && (strcmp(e->reason, reason) != 0 || e->role != role || e->code != code))
            continue;
        *e = (struct counted_ending){reason, role, code, e->n + 1};
        return;
    }
}

/* Prometheus' usual ones. */
const int64_t probe_buckets_ms[PROBE_BUCKETS] = {5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000};

void probe_count(struct agent_container *ac, int kind, enum probe_counted how, int64_t took)
{
    struct probe_counts *c = ac->probed[kind];
    if (!c)
        c = ac->probed[kind] = NEW(struct probe_counts);
    switch (how) {
    case PROBE_COUNTED_GOOD: c->good++; break;
    case PROBE_COUNTED_FAILED: c->failed++; return; /* a kubelet times what answered, and what could not be asked */
    case PROBE_COUNTED_UNKNOWN: c->unknown++; break;
    }
    c->timed++;
    c->sum_ns += (uint64_t)took;
    for (size_t i = 0; i < PROBE_BUCKETS; i++)
        if (took <= probe_buckets_ms[i] * NS_PER_MS) {
            c->buckets[i]++;
            return;
        }
}

/* --- /metrics/probes ----------------------------------------------------------------------------------------- */

static const char *const probe_types[] = {"Startup", "Liveness", "Readiness"};

static void probe_labels(struct strbuf *b, const struct figures_probe *p)
{
    strbuf_addf(b, "container=\"" STR_FMT "\",namespace=\"" STR_FMT "\",pod=\"" STR_FMT "\"", STR_ARG(p->container),
                STR_ARG(p->ns), STR_ARG(p->pod));
}

static void results_add(struct strbuf *b, const struct figures_probe *p, const char *result, uint64_t n)
{
    if (!n)
        return;
    strbuf_addz(b, "prober_probe_total{");
    probe_labels(b, p);
    strbuf_addf(b, ",pod_uid=\"" STR_FMT "\",probe_type=\"%s\",result=\"%s\"} ", STR_ARG(p->uid),
                probe_types[p->kind], result);
    prom_whole(b, n);
    strbuf_addc(b, '\n');
}

static void duration_add(struct strbuf *b, const struct figures_probe *p, const char *what, const char *le)
{
    strbuf_addf(b, "prober_probe_duration_seconds_%s{", what);
    probe_labels(b, p);
    strbuf_addf(b, ",probe_type=\"%s\"", probe_types[p->kind]);
    if (le)
        strbuf_addf(b, ",le=\"%s\"", le);
    strbuf_addz(b, "} ");
}

void figures_probes_text(const struct figures_view *v, struct figures_out *o)
{
    struct strbuf *b = &o->b;
    prom_family(o, "prober_probe_duration_seconds", "[ALPHA] Duration in seconds for a probe response.", "histogram");
    for (size_t i = 0; i < v->nprobes; i++) {
        const struct figures_probe *p = &v->probes[i];
        uint64_t n = 0;
        char le[24];
        if (!p->counts.timed)
            continue;
        for (size_t k = 0; k < PROBE_BUCKETS; k++) {
            (void)snprintf(le, sizeof le, "%g", (double)probe_buckets_ms[k] / 1000);
            duration_add(b, p, "bucket", le);
            prom_whole(b, n += p->counts.buckets[k]);
            strbuf_addc(b, '\n');
        }
        duration_add(b, p, "bucket", "+Inf");
        prom_whole(b, p->counts.timed);
        strbuf_addc(b, '\n');
        duration_add(b, p, "sum", NULL);
        prom_seconds(b, p->counts.sum_ns);
        strbuf_addc(b, '\n');
        duration_add(b, p, "count", NULL);
        prom_whole(b, p->counts.timed);
        strbuf_addc(b, '\n');
        figures_flush(o, false);
    }
    prom_family(o, "prober_probe_total",
                "[BETA] Cumulative number of a liveness, readiness or startup probe for a container by result.",
                "counter");
    for (size_t i = 0; i < v->nprobes; i++) {
        const struct figures_probe *p = &v->probes[i];
        results_add(b, p, "failed", p->counts.failed);
        results_add(b, p, "successful", p->counts.good);
        results_add(b, p, "unknown", p->counts.unknown);
        figures_flush(o, false);
    }
}

/* --- /metrics ------------------------------------------------------------------------------------------------ */

static void single_add(struct figures_out *o, const char *name, const char *help, const char *type, uint64_t n)
{
    prom_family(o, name, help, type);
    strbuf_addf(&o->b, "%s ", name);
    prom_whole(&o->b, n);
    strbuf_addc(&o->b, '\n');
}

static const char *const container_types[] = {"init_container", "init_container", "container", "ephemeral_container"};

/* Sidecars are init containers there, so one that ended alike is counted with them. */
static void endings_write(struct figures_out *o, const struct figures_counts *c)
{
    struct counted_ending all[COUNTED_ENDINGS] = {0};
    for (size_t i = 0; i < COUNTED_ENDINGS && c->endings[i].reason; i++) {
        const struct counted_ending *e = &c->endings[i];
        int role = e->role == CONTAINER_SIDECAR ? CONTAINER_INIT : e->role;
        size_t at = 0;
        while (all[at].reason &&
               (strcmp(all[at].reason, e->reason) != 0 || all[at].role != role || all[at].code != e->code))
            at++;
        all[at] = (struct counted_ending){e->reason, role, e->code, all[at].n + e->n};
    }
    prom_family(o, "kubelet_terminated_containers_total", "[ALPHA] Cumulative number of container terminations.",
                "counter");
    for (size_t i = 0; i < COUNTED_ENDINGS && all[i].reason; i++)
        strbuf_addf(
            &o->b, "kubelet_terminated_containers_total{container_type=\"%s\",exit_code=\"%d\",reason=\"%s\"} %llu\n",
            container_types[all[i].role], all[i].code, all[i].reason, (unsigned long long)all[i].n);
}

static void starts_write(struct figures_out *o, const struct figures_counts *c)
{
    struct strbuf *b = &o->b;
    const struct {
        const char *type;
        uint64_t n;
    } started[] = {{"container", c->containers[CONTAINER_MAIN]},
                   {"ephemeral_container", c->containers[CONTAINER_EPHEMERAL]},
                   {"init_container", c->containers[CONTAINER_INIT] + c->containers[CONTAINER_SIDECAR]}};
    single_add(o, "kubelet_started_pods_total", "[ALPHA] Cumulative number of pods started", "counter", c->pods);
    single_add(o, "kubelet_started_pods_errors_total", "[ALPHA] Cumulative number of errors when starting pods",
               "counter", c->pod_errors);
    single_add(
        o, "kubelet_started_user_namespaced_pods_total",
        "[ALPHA] Cumulative number of pods with user namespaces started. This metric will only be collected on "
        "Linux.",
        "counter", c->users_pods);
    single_add(
        o, "kubelet_started_user_namespaced_pods_errors_total",
        "[ALPHA] Cumulative number of errors when starting pods with user namespaces. This metric will only be "
        "collected on Linux.",
        "counter", c->users_errors);
    prom_family(o, "kubelet_started_containers_total", "[ALPHA] Cumulative number of containers started", "counter");
    for (size_t i = 0; i < countof(started); i++)
        strbuf_addf(b, "kubelet_started_containers_total{container_type=\"%s\"} %llu\n", started[i].type,
                    (unsigned long long)started[i].n);
    endings_write(o, c);
    prom_family(o, "kubelet_started_containers_errors_total",
                "[ALPHA] Cumulative number of errors when starting containers", "counter");
    for (size_t i = 0; i < COUNTED_REASONS && c->failures[i].n; i++)
        if (c->failures[i].role != CONTAINER_SIDECAR)
            strbuf_addf(b, "kubelet_started_containers_errors_total{code=\"%s\",container_type=\"%s\"} %llu\n",
                        c->failures[i].reason, container_types[c->failures[i].role],
                        (unsigned long long)c->failures[i].n);
    prom_family(o, "kubelet_admission_rejections_total",
                "[ALPHA] Cumulative number pod admission rejections by the Kubelet.", "counter");
    for (size_t i = 0; i < COUNTED_REASONS && c->rejections[i].n; i++)
        strbuf_addf(b, "kubelet_admission_rejections_total{reason=\"%s\"} %llu\n", c->rejections[i].reason,
                    (unsigned long long)c->rejections[i].n);
}

/* A claim is shown once, whichever of its pods is measured first. */
static void claims_write(struct figures_out *o, const struct figures_view *v)
{
    static const struct {
        const char *name, *help;
        size_t at;
    } rows[] = {
        {"kubelet_volume_stats_available_bytes", "[ALPHA] Number of available bytes in the volume",
         offsetof(struct disk_room, available)},
        {"kubelet_volume_stats_capacity_bytes", "[ALPHA] Capacity in bytes of the volume",
         offsetof(struct disk_room, capacity)},
        {"kubelet_volume_stats_inodes", "[ALPHA] Maximum number of inodes in the volume",
         offsetof(struct disk_room, inodes)},
        {"kubelet_volume_stats_inodes_free", "[ALPHA] Number of free inodes in the volume",
         offsetof(struct disk_room, inodes_free)},
        {"kubelet_volume_stats_inodes_used", "[ALPHA] Number of used inodes in the volume",
         offsetof(struct disk_room, inodes_used)},
        {"kubelet_volume_stats_used_bytes", "[ALPHA] Number of used bytes in the volume",
         offsetof(struct disk_room, used)},
    };
    static const char health[] = "kubelet_volume_stats_health_status_abnormal";
    for (size_t r = 0; r <= countof(rows); r++) {
        AUTO(map_fini) struct map told = MAP;
        bool is_health = r == countof(rows);
        const char *name = is_health ? health : rows[r].name;
        prom_family(o, name,
                    is_health ? "[ALPHA] Abnormal volume health status. The count is either 1 or 0. 1 indicates the "
                                "volume is unhealthy, 0 indicates volume is healthy"
                              : rows[r].help,
                    "gauge");
        for (size_t i = 0; i < v->npods; i++)
            for (size_t k = 0; k < v->pods[i].nvolumes; k++) {
                const struct figures_volume *w = &v->pods[i].volumes[k];
                char key[600];
                int64_t n = w->part.sick;
                if (!w->claim.n || (is_health && !w->part.sick_known))
                    continue;
                (void)snprintf(key, sizeof key, "namespace=\"" STR_FMT "\",persistentvolumeclaim=\"" STR_FMT "\"",
                               STR_ARG(v->pods[i].ns), STR_ARG(w->claim));
                if (map_put(&told, str_of(key), o))
                    continue;
                if (!is_health)
                    memcpy(&n, (const char *)&w->part.room + rows[r].at, sizeof n);
                strbuf_addf(&o->b, "%s{%s} %lld\n", name, key, (long long)n);
                figures_flush(o, false);
            }
    }
}

static void logs_write(struct figures_out *o, const struct figures_view *v)
{
    static const char name[] = "kubelet_container_log_filesystem_used_bytes";
    prom_family(o, name, "[ALPHA] Bytes used by the container's logs on the filesystem.", "gauge");
    for (size_t i = 0; i < v->npods; i++)
        for (size_t k = 0; k < v->pods[i].ncontainers; k++) {
            const struct figures_pod *p = &v->pods[i];
            const struct figures_container *c = &p->containers[k];
            if (!c->disk_known)
                continue;
            strbuf_addf(&o->b,
                        "%s{container=\"" STR_FMT "\",namespace=\"" STR_FMT "\",pod=\"" STR_FMT "\",uid=\"" STR_FMT
                        "\"} %lld\n",
                        name, STR_ARG(c->name), STR_ARG(p->ns), STR_ARG(p->name), STR_ARG(p->uid),
                        (long long)c->logs.bytes);
            figures_flush(o, false);
        }
}

static void process_write(struct figures_out *o, const struct figures_process *p)
{
    prom_family(o, "process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", "counter");
    strbuf_addz(&o->b, "process_cpu_seconds_total ");
    prom_seconds(&o->b, p->cpu_ns);
    strbuf_addc(&o->b, '\n');
    single_add(o, "process_max_fds", "Maximum number of open file descriptors.", "gauge", p->files_most);
    single_add(o, "process_open_fds", "Number of open file descriptors.", "gauge", p->files);
    single_add(o, "process_resident_memory_bytes", "Resident memory size in bytes.", "gauge", p->resident);
    prom_family(o, "process_start_time_seconds", "Start time of the process since unix epoch in seconds.", "gauge");
    strbuf_addz(&o->b, "process_start_time_seconds ");
    prom_seconds(&o->b, (uint64_t)p->started);
    strbuf_addc(&o->b, '\n');
    single_add(o, "process_virtual_memory_bytes", "Virtual memory size in bytes.", "gauge", p->virtual);
}

void figures_kubelet_text(const struct figures_view *v, struct figures_out *o)
{
    struct strbuf *b = &o->b;
    prom_family(o, "kubelet_node_name", "[ALPHA] The node's name. The count is always 1.", "gauge");
    strbuf_addf(b, "kubelet_node_name{node=\"" STR_FMT "\"} 1\n", STR_ARG(v->node));
    single_add(o, "kubelet_running_pods", "[ALPHA] Number of pods that have a running pod sandbox", "gauge",
               v->npods);
    prom_family(o, "kubelet_running_containers", "[ALPHA] Number of containers currently running", "gauge");
    strbuf_addf(b,
                "kubelet_running_containers{container_state=\"created\"} %llu\n"
                "kubelet_running_containers{container_state=\"exited\"} %llu\n"
                "kubelet_running_containers{container_state=\"running\"} %llu\n",
                (unsigned long long)v->created, (unsigned long long)v->exited, (unsigned long long)v->running);
    prom_family(o, "kubelet_active_pods",
                "[ALPHA] The number of pods the kubelet considers active and which are being "
                "considered when admitting new pods.",
                "gauge");
    strbuf_addf(b, "kubelet_active_pods{static=\"\"} %llu\n", (unsigned long long)v->active);
    prom_family(o, "kubelet_desired_pods", "[ALPHA] The number of pods the kubelet is being instructed to run.",
                "gauge");
    strbuf_addf(b, "kubelet_desired_pods{static=\"\"} %llu\n", (unsigned long long)v->desired);
    starts_write(o, &v->counts);
    prom_family(o, "kubelet_evictions", "[ALPHA] Cumulative number of pod evictions by eviction signal", "counter");
    strbuf_add(b, v->evictions);
    claims_write(o, v);
    logs_write(o, v);
    prom_family(o, "kubernetes_build_info",
                "[ALPHA] A metric with a constant '1' value labeled by major, minor, git version, git commit, git "
                "tree state, build date, Go version, and compiler from which Kubernetes was built, and platform on "
                "which it is running.",
                "gauge");
    struct str major, rest = v->version, minor;
    rest = str_starts(rest, S("v")) ? str_sub(rest, 1, rest.n) : rest;
    (void)(str_cut(&rest, '.', &major) && str_cut(&rest, '.', &minor));
    strbuf_addz(b, "kubernetes_build_info{git_version=");
    prom_label_value(b, v->version);
    strbuf_addf(b, ",major=\"" STR_FMT "\",minor=\"" STR_FMT "\",platform=\"linux\"} 1\n", STR_ARG(major),
                STR_ARG(minor));
    process_write(o, &v->process);
}

/* --- /pods and /runningpods ---------------------------------------------------------------------------------- */

void figures_pods_text(const struct figures_view *v, struct figures_out *o)
{
    strbuf_addz(&o->b, "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{},\"items\":[");
    for (size_t i = 0; i < v->nobjs; i++) {
        if (i)
            strbuf_addc(&o->b, ',');
        obj_encode(v->objs[i], ENC_JSON, &o->b);
        figures_flush(o, false);
    }
    strbuf_addz(&o->b, "]}\n");
}

void figures_running_pods_text(const struct figures_view *v, struct figures_out *o)
{
    struct strbuf *b = &o->b;
    bool first = true;
    strbuf_addz(b, "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{},\"items\":[");
    for (size_t i = 0; i < v->npods; i++) {
        const struct figures_pod *p = &v->pods[i];
        if (!p->ncontainers)
            continue;
        strbuf_addf(b,
                    "%s{\"metadata\":{\"name\":\"" STR_FMT "\",\"namespace\":\"" STR_FMT "\",\"uid\":\"" STR_FMT
                    "\",\"creationTimestamp\":null},\"spec\":{\"containers\":[",
                    first ? "" : ",", STR_ARG(p->name), STR_ARG(p->ns), STR_ARG(p->uid));
        first = false;
        for (size_t k = 0; k < p->ncontainers; k++) {
            strbuf_addf(b, "%s{\"name\":\"" STR_FMT "\",\"image\":", k ? "," : "", STR_ARG(p->containers[k].name));
            json_add_string(b, p->containers[k].image);
            strbuf_addz(b, ",\"resources\":{}}");
        }
        strbuf_addz(b, "]},\"status\":{}}");
        figures_flush(o, false);
    }
    strbuf_addz(b, "]}\n");
}
