/* figures_prom.c - Prometheus' text format 0.0.4, and /metrics/resource in it. */
#include "base/clock.h"
#include "node/figures_int.h"
#include "wire/json.h"

void prom_family(struct figures_out *o, const char *name, const char *help, const char *type)
{
    figures_flush(o, false);
    strbuf_addf(&o->b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void prom_label_value(struct strbuf *b, struct str value)
{
    strbuf_addc(b, '"');
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];
        if (c == '\n')
            strbuf_addz(b, "\\n");
        else if (c == '"' || c == '\\')
            strbuf_addf(b, "\\%c", c);
        else
            strbuf_addc(b, c);
    }
    strbuf_addc(b, '"');
}

void prom_whole(struct strbuf *b, uint64_t n)
{
    char text[24];
    size_t at = sizeof text;
    do
        text[--at] = (char)('0' + n % 10);
    while (n /= 10);
    strbuf_add(b, (struct str){text + at, sizeof text - at});
}

void prom_seconds(struct strbuf *b, uint64_t ns)
{
    char text[10];
    uint64_t part = ns % NS_PER_S;
    prom_whole(b, ns / NS_PER_S);
    if (!part)
        return;
    (void)snprintf(text, sizeof text, "%09llu", (unsigned long long)part);
    size_t n = 9;
    while (text[n - 1] == '0')
        n--;
    strbuf_addc(b, '.');
    strbuf_add(b, (struct str){text, n});
}

/* --- /metrics/resource --------------------------------------------------------------------------------------- */

struct resource_row {
    const char *name, *help, *type;
    enum { OF_NODE, OF_CONTAINER, OF_POD } of;
    enum { CPU_SECONDS, WORKING_SET, SWAP_USED, SWAP_LIMIT, START_TIME } what;
};
static const struct resource_row resource_rows[] = {
    {"container_cpu_usage_seconds_total", "[STABLE] Cumulative cpu time consumed by the container in core-seconds",
     "counter", OF_CONTAINER, CPU_SECONDS},
    {"container_memory_working_set_bytes", "[STABLE] Current working set of the container in bytes", "gauge",
     OF_CONTAINER, WORKING_SET},
    {"container_start_time_seconds", "[STABLE] Start time of the container since unix epoch in seconds", "gauge",
     OF_CONTAINER, START_TIME},
    {"container_swap_limit_bytes",
     "[ALPHA] Current amount of the container swap limit in bytes. Reported only on non-windows systems", "gauge",
     OF_CONTAINER, SWAP_LIMIT},
    {"container_swap_usage_bytes",
     "[ALPHA] Current amount of the container swap usage in bytes. Reported only on non-windows systems", "gauge",
     OF_CONTAINER, SWAP_USED},
    {"node_cpu_usage_seconds_total", "[STABLE] Cumulative cpu time consumed by the node in core-seconds", "counter",
     OF_NODE, CPU_SECONDS},
    {"node_memory_working_set_bytes", "[STABLE] Current working set of the node in bytes", "gauge", OF_NODE,
     WORKING_SET},
    {"node_swap_usage_bytes", "[ALPHA] Current swap usage of the node in bytes. Reported only on non-windows systems",
     "gauge", OF_NODE, SWAP_USED},
    {"pod_cpu_usage_seconds_total", "[STABLE] Cumulative cpu time consumed by the pod in core-seconds", "counter",
     OF_POD, CPU_SECONDS},
    {"pod_memory_working_set_bytes", "[STABLE] Current working set of the pod in bytes", "gauge", OF_POD,
     WORKING_SET},
    {"pod_swap_usage_bytes",
     "[ALPHA] Current amount of the pod swap usage in bytes. Reported only on non-windows systems", "gauge", OF_POD,
     SWAP_USED},
};

static bool resource_here(const struct resource_row *row, const struct figures_group *g, int64_t started)
{
    if (row->what == START_TIME)
        return started > 0;
    if (row->what == SWAP_LIMIT && !g->s.limits.swap_limited)
        return false;
    return g->ok && g->s.has & (row->what == CPU_SECONDS ? CGROUP_CPU : CGROUP_MEMORY);
}

static void resource_value(struct strbuf *b, const struct resource_row *row, const struct figures_group *g,
                           int64_t started)
{
    switch (row->what) {
    case CPU_SECONDS: prom_seconds(b, g->s.cpu_ns); break;
    case WORKING_SET: prom_whole(b, g->s.memory_working_set); break;
    case SWAP_USED: prom_whole(b, g->s.swap); break;
    case SWAP_LIMIT: prom_whole(b, g->s.limits.swap); break;
    case START_TIME:
        prom_seconds(b, (uint64_t)started);
        strbuf_addc(b, '\n');
        return; /* of no moment */
    }
    strbuf_addc(b, ' ');
    prom_whole(b, (uint64_t)(g->at_real / NS_PER_MS));
    strbuf_addc(b, '\n');
}

static void resource_pod(struct strbuf *b, const struct resource_row *row, const struct figures_pod *p)
{
    if (row->of == OF_POD && resource_here(row, &p->g, 0)) {
        strbuf_addf(b, "%s{namespace=\"" STR_FMT "\",pod=\"" STR_FMT "\"} ", row->name, STR_ARG(p->ns),
                    STR_ARG(p->name));
        resource_value(b, row, &p->g, 0);
    }
    for (size_t i = 0; row->of == OF_CONTAINER && i < p->ncontainers; i++) {
        const struct figures_container *c = &p->containers[i];
        if (!c->g.ok || !resource_here(row, &c->g, c->started))
            continue;
        strbuf_addf(b, "%s{container=\"" STR_FMT "\",namespace=\"" STR_FMT "\",pod=\"" STR_FMT "\"} ", row->name,
                    STR_ARG(c->name), STR_ARG(p->ns), STR_ARG(p->name));
        resource_value(b, row, &c->g, c->started);
    }
}

void figures_resource_text(const struct figures_view *v, struct figures_out *o)
{
    bool failed = !v->machine_group.ok;
    for (size_t i = 0; i < countof(resource_rows); i++) {
        const struct resource_row *row = &resource_rows[i];
        prom_family(o, row->name, row->help, row->type);
        if (row->of == OF_NODE && resource_here(row, &v->machine_group, 0)) {
            strbuf_addf(&o->b, "%s ", row->name);
            resource_value(&o->b, row, &v->machine_group, 0);
        }
        for (size_t k = 0; k < v->npods; k++)
            resource_pod(&o->b, row, &v->pods[k]);
    }
    prom_family(o, "resource_scrape_error",
                "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise", "gauge");
    strbuf_addf(&o->b, "resource_scrape_error %d\n", failed);
    prom_family(
        o, "scrape_error",
        "[ALPHA] (Deprecated since 1.29.0) 1 if there was an error while getting container metrics, 0 otherwise",
        "gauge");
    strbuf_addf(&o->b, "scrape_error %d\n", failed);
}

/* --- for metrics.k8s.io -------------------------------------------------------------------------------------- */

static void usage_time(struct strbuf *b, const struct figures_group *g)
{
    strbuf_addz(b, "\"time\":\"");
    time_add(b, g->at_real);
    strbuf_addz(b, "\",\"window\":");
    json_add_double(b, (double)(g->window / NS_PER_MS) / 1000);
}

void figures_usage_text(const struct figures_view *v, struct figures_out *o)
{
    struct strbuf *b = &o->b;
    const struct figures_group *m = &v->machine_group;
    bool first = true;
    strbuf_addc(b, '{');
    usage_time(b, m);
    strbuf_addf(b, ",\"cpu\":%llu,\"memory\":%llu,\"pods\":[", (unsigned long long)m->nanocores,
                (unsigned long long)m->s.memory_working_set);
    for (size_t i = 0; i < v->npods; i++) {
        const struct figures_pod *p = &v->pods[i];
        const struct figures_group *time_of = NULL; /* of the container that has been looked at for the longest */
        bool young = false;                         /* one has no rate yet: half a pod would be taken for the whole */
        for (size_t k = 0; k < p->ncontainers; k++) {
            young = young || (p->containers[k].g.ok && !p->containers[k].g.window);
            if (p->containers[k].g.window && (!time_of || p->containers[k].g.window > time_of->window))
                time_of = &p->containers[k].g;
        }
        if (!time_of || young)
            continue; /* nothing of it runs, or not long enough for a rate */
        strbuf_addf(b, "%s{\"ns\":\"" STR_FMT "\",\"name\":\"" STR_FMT "\",", first ? "" : ",", STR_ARG(p->ns),
                    STR_ARG(p->name));
        first = false;
        usage_time(b, time_of);
        strbuf_addz(b, ",\"containers\":[");
        bool one = false;
        for (size_t k = 0; k < p->ncontainers; k++) {
            const struct figures_container *c = &p->containers[k];
            if (!c->g.window)
                continue;
            strbuf_addf(b, "%s{\"name\":\"" STR_FMT "\",\"cpu\":%llu,\"memory\":%llu}", one ? "," : "",
                        STR_ARG(c->name), (unsigned long long)c->g.nanocores,
                        (unsigned long long)c->g.s.memory_working_set);
            one = true;
        }
        strbuf_addz(b, "]}");
        figures_flush(o, false);
    }
    strbuf_addz(b, "]}");
}
