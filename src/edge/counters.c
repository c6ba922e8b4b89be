#include "edge/counters.h"

/* Upper ends of the buckets of durations, in ms. */
static const int buckets[] = {5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000};

struct counters_route {
    uint64_t by_code[6]; /* 1xx to 5xx; the first: the client left before an answer */
    uint64_t bytes_out, bytes_in, ms;
    uint64_t by_ms[countof(buckets) + 1];
};

void counters_fini(struct counters *c)
{
    map_each (e, &c->by_owner)
        mem_free(e->value);
    map_fini(&c->by_owner);
}

static struct counters_route *route_get(struct counters *c, struct str owner)
{
    struct counters_route *r = map_get(&c->by_owner, owner);
    if (r || (map_len(&c->by_owner) >= COUNTERS_MOST && owner.n))
        return r ? r : route_get(c, S(""));
    r = NEW(struct counters_route);
    (void)map_put(&c->by_owner, owner, r);
    return r;
}

bool counters_line(struct counters *c, struct str line, struct str *rest)
{
    struct str owner, text;
    int64_t v[4]; /* status, out, in, ms */
    if (!str_split(line, ' ', &owner, &line) || !owner.n || !str_utf8_ok(owner))
        return false;
    for (size_t i = 0; i < countof(v); i++) {
        bool more = str_split(line, ' ', &text, &line);
        if ((!more && i + 1 < countof(v)) || !str_to_i64(text, -1, INT64_MAX / 4, &v[i]))
            return false;
    }
    *rest = line;
    struct counters_route *r = route_get(c, str_eq(owner, S("-")) ? S("") : owner);
    r->by_code[v[0] >= 100 && v[0] < 600 ? v[0] / 100 : 0]++;
    r->bytes_out += (uint64_t)MAX(v[1], 0);
    r->bytes_in += (uint64_t)MAX(v[2], 0);
    r->ms += (uint64_t)MAX(v[3], 0);
    size_t b = 0;
    while (b < countof(buckets) && v[3] > buckets[b])
        b++;
    r->by_ms[b]++;
    return true;
}

static void label_add(struct strbuf *out, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\')
            strbuf_addc(out, '\\');
        strbuf_addc(out, s.p[i]);
    }
}

static void head_add(struct strbuf *out, const char *name, const char *type, const char *help)
{
    strbuf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void sample_add(struct strbuf *out, const char *name, struct str route, const char *label, const char *value,
                       double number)
{
    strbuf_addf(out, "%s{route=\"", name);
    label_add(out, route);
    strbuf_addf(out, "\"%s%s%s%s} %.17g\n", label[0] ? "," : "", label, value, label[0] ? "\"" : "", number);
}

static void durations_add(struct strbuf *out, struct str route, const struct counters_route *r)
{
    static const char name[] = "wherry_edge_request_duration_seconds";
    uint64_t sum = 0;
    char full[64], text[32];
    (void)snprintf(full, sizeof full, "%s_bucket", name);
    for (size_t b = 0; b <= countof(buckets); b++) {
        sum += r->by_ms[b];
        if (b < countof(buckets))
            (void)snprintf(text, sizeof text, "%g", buckets[b] / 1000.0);
        else
            (void)snprintf(text, sizeof text, "+Inf");
        sample_add(out, full, route, "le=\"", text, (double)sum);
    }
    (void)snprintf(full, sizeof full, "%s_sum", name);
    sample_add(out, full, route, "", "", (double)r->ms / 1000.0);
    (void)snprintf(full, sizeof full, "%s_count", name);
    sample_add(out, full, route, "", "", (double)sum);
}

void counters_text(const struct counters *c, struct strbuf *out)
{
    static const char *const codes[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
    head_add(out, "wherry_edge_requests_total", "counter",
             "Requests that were answered, by the route that took them and the class of the status.");
    map_each (e, &c->by_owner)
        for (size_t i = 0; i < countof(codes); i++)
            if (((struct counters_route *)e->value)->by_code[i])
                sample_add(out, "wherry_edge_requests_total", e->key, "code=\"", codes[i],
                           (double)((struct counters_route *)e->value)->by_code[i]);
    head_add(out, "wherry_edge_sent_bytes_total", "counter", "Bytes of answers, with their heads.");
    map_each (e, &c->by_owner)
        sample_add(out, "wherry_edge_sent_bytes_total", e->key, "", "",
                   (double)((struct counters_route *)e->value)->bytes_out);
    head_add(out, "wherry_edge_received_bytes_total", "counter", "Bytes of requests, with their heads.");
    map_each (e, &c->by_owner)
        sample_add(out, "wherry_edge_received_bytes_total", e->key, "", "",
                   (double)((struct counters_route *)e->value)->bytes_in);
    head_add(out, "wherry_edge_request_duration_seconds", "histogram",
             "From a request's first byte to its answer's last.");
    map_each (e, &c->by_owner)
        durations_add(out, e->key, e->value);
}
