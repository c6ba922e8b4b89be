#include "node/probe_http.h"
#include "node/relay_int.h"
#include "sys/stream.h"

/* One HTTP or TCP probe: a connection of its own each time, as a kubelet's; a redirect makes another one. */
struct probing {
    struct relay *relay;
    char id[24];
    struct timer timer;
    struct arena arena;
    struct str address;
    struct stream *stream;
    struct tls_client *tls;
    bool connected;
    /* HTTP */
    bool http, hook;
    struct probe_url url, from;
    struct str *headers; /* names and values in turn */
    size_t nheaders, hops;
    struct probe_answer_reader reader;
};

static void hang_up(struct probing *p)
{
    stream_free(p->stream);
    tls_client_free(p->tls);
    p->stream = NULL;
    p->tls = NULL;
    p->connected = false;
    if (p->http)
        probe_answer_fini(&p->reader);
}

static void probing_over(struct probing *p, enum probe_outcome outcome, struct str text)
{
    relay_probed(p->relay, str_of(p->id), outcome, text);
    timer_stop(&p->timer);
    hang_up(p);
    arena_fini(&p->arena);
    mem_free(p);
}

static void probing_failed(struct probing *p, struct str why)
{
    struct str text = p->http ? arena_fmt(&p->arena, "Get \"" STR_FMT "\": " STR_FMT,
                                          STR_ARG(probe_url_text(&p->arena, &p->url)), STR_ARG(why))
                              : why;
    probing_over(p, PROBED_FAILED, text);
}

/* What Go's net package says of it. */
static const char *errno_words(struct arena *a, int sys)
{
    char *z = arena_strz(a, str_of(strerror(sys)));
    z[0] = z[0] >= 'A' && z[0] <= 'Z' ? (char)(z[0] + 32) : z[0];
    return z;
}

static void lookup_failed(struct probing *p)
{
    ptrdiff_t colon = str_rfind_char(p->address, ':');
    probing_failed(p, arena_fmt(&p->arena, "dial tcp: lookup " STR_FMT ": no such host",
                                STR_ARG(str_sub(p->address, 0, colon < 0 ? p->address.n : (size_t)colon))));
}

static void dial_failed(struct probing *p, const struct err *err)
{
    if (err->kind == E_TIMEOUT && !err->sys)
        probing_failed(p, arena_fmt(&p->arena, "dial tcp " STR_FMT ": i/o timeout", STR_ARG(p->address)));
    else if (str_starts(str_of(err->text), S(STREAM_LOOKUP)))
        lookup_failed(p);
    else if (err->sys)
        probing_failed(p, arena_fmt(&p->arena, "dial tcp " STR_FMT ": connect: %s", STR_ARG(p->address),
                                    errno_words(&p->arena, err->sys)));
    else
        probing_failed(p, arena_fmt(&p->arena, "%s%s", p->tls ? "tls: " : "", err->text));
}

static void on_timer(struct timer *t)
{
    struct probing *p = container_of(t, struct probing, timer);
    if (!p->http)
        probing_over(p, PROBED_FAILED,
                     arena_fmt(&p->arena, "dial tcp " STR_FMT ": i/o timeout", STR_ARG(p->address)));
    else if (probe_answer_head_over(&p->reader))
        probing_over(p, PROBED_ERRORED,
                     S("context deadline exceeded (Client.Timeout or context cancellation while reading body)"));
    else
        probing_failed(p, S("context deadline exceeded (Client.Timeout exceeded while awaiting headers)"));
}

static void connect_to(struct probing *p);

/* Where the answer leads; true: it is not the last one. */
static bool probing_redirected(struct probing *p)
{
    struct err err = ERR;
    bool other_host;
    struct probe_url next;
    struct str location = strbuf_str(&p->reader.location);
    if (!probe_answer_redirects(&p->reader) || !location.n)
        return false;
    if (!probe_url_follow(&p->arena, &p->url, str_dup(&p->arena, location), &next, &other_host, &err)) {
        probing_failed(p, str_of(err.text));
        return true;
    }
    if (other_host)
        return false;
    p->from = p->url;
    p->url = next;
    if (++p->hops >= PROBE_REDIRECTS_MOST) {
        probing_failed(p, S("stopped after 10 redirects"));
        return true;
    }
    hang_up(p);
    connect_to(p);
    return true;
}

static void probing_answered(struct probing *p)
{
    int status = p->reader.status;
    if (probing_redirected(p))
        return;
    if (status < 200 || status >= 400)
        probing_over(p, PROBED_STATUS, arena_fmt(&p->arena, "HTTP probe failed with statuscode: %d", status));
    else if (status >= 300)
        probing_over(p, PROBED_WARNING,
                     arena_fmt(&p->arena, "Probe terminated redirects, Response body: " STR_FMT,
                               STR_ARG(strbuf_str(&p->reader.body))));
    else
        probing_over(p, PROBED_OK, S(""));
}

static void read_so_far(struct probing *p, enum probe_read got)
{
    if (got == PROBE_DONE)
        probing_answered(p);
    else if (got == PROBE_BROKEN && p->reader.in_head)
        probing_failed(p, probe_answer_error(&p->arena, &p->reader));
    else if (got == PROBE_BROKEN)
        probing_over(p, PROBED_ERRORED, probe_answer_error(&p->arena, &p->reader));
}

static void on_data(struct stream *s, struct str bytes)
{
    struct probing *p = stream_arg(s);
    read_so_far(p, probe_answer_feed(&p->reader, bytes));
}

static void on_ended(struct stream *s)
{
    struct probing *p = stream_arg(s);
    if (p->http)
        read_so_far(p, probe_answer_end(&p->reader));
}

static void on_opened(struct stream *s)
{
    struct probing *p = stream_arg(s);
    p->connected = true;
    if (p->http)
        stream_write(s,
                     probe_request(&p->arena, &p->url, p->headers, p->nheaders,
                                   p->hook ? "kube-lifecycle/1.36" : "kube-probe/1.36", p->hops ? &p->from : NULL));
    else
        probing_over(p, PROBED_OK, S(""));
}

/* A hook goes on without TLS then; a probe has failed. */
static void plain_server(struct probing *p)
{
    if (!p->hook) {
        probing_failed(p, S("http: server gave HTTP response to HTTPS client"));
        return;
    }
    p->url.scheme = S("http");
    hang_up(p);
    connect_to(p);
}

static void on_closed(struct stream *s, struct err *err)
{
    struct probing *p = stream_arg(s);
    if (!p->connected && p->tls && str_has(str_of(err->text), S(TLS_NOT_SPOKEN)))
        plain_server(p);
    else if (!p->connected)
        dial_failed(p, err);
    else if (err->sys)
        probing_failed(p, arena_fmt(&p->arena, "read tcp " STR_FMT ": read: %s", STR_ARG(p->address),
                                    errno_words(&p->arena, err->sys)));
    else
        read_so_far(p, probe_answer_end(&p->reader));
}

static void connect_to(struct probing *p)
{
    static const struct stream_fns fns = {
        .opened = on_opened, .data = on_data, .ended = on_ended, .closed = on_closed};
    struct err err = ERR;
    if (p->http) {
        p->address = probe_url_address(&p->arena, &p->url);
        probe_answer_begin(&p->reader);
    }
    if (p->http && str_eqz(p->url.scheme, "https")) {
        p->tls = tls_client_new(&(struct tls_client_config){.insecure = true}, &err);
        if (!p->tls) {
            probing_failed(p, str_of(err.text));
            return;
        }
    }
    p->stream = stream_connect(
        p->relay->loop, &(struct stream_connect){.address = p->address, .tls = p->tls, .timeout_ns = 3600 * NS_PER_S},
        &fns, p);
}

/* texts: http|hook|tcp|grpc HOST PORT TIMEOUT_MS https|http PATH [NAME VALUE]... */
void relay_probe_start(struct relay *r, struct str id, const struct str *t, size_t n)
{
    int64_t ms, port;
    if (n < 6 || !str_to_i64(t[3], 1, 3600000, &ms) || !str_to_i64(t[2], 0, 65535, &port)) {
        relay_probed(r, id, PROBED_UNKNOWN, S("the probe is not understood"));
        return;
    }
    if (str_eqz(t[0], "grpc")) {
        relay_probe_grpc(r, id, t[1], (int)port, ms * NS_PER_MS, t[5]);
        return;
    }
    struct probing *p = NEW(struct probing);
    p->relay = r;
    (void)snprintf(p->id, sizeof p->id, STR_FMT, STR_ARG(id));
    p->http = !str_eqz(t[0], "tcp");
    p->hook = str_eqz(t[0], "hook");
    probe_url(&p->arena, str_eqz(t[4], "https") ? S("https") : S("http"), str_dup(&p->arena, t[1]), (int)port,
              str_dup(&p->arena, t[5]), &p->url);
    p->url.scheme = str_dup(&p->arena, p->url.scheme);
    p->address = p->url.authority;
    p->headers = arena_alloc(&p->arena, (n - 6 + 1) * sizeof *p->headers);
    for (size_t i = 6; i < n; i++)
        p->headers[p->nheaders++] = str_dup(&p->arena, t[i]);
    timer_init(&p->timer, r->loop, on_timer);
    timer_set(&p->timer, ms * NS_PER_MS);
    connect_to(p);
}
