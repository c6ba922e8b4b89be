#include "node/relay_int.h"
#include "wire/http_client.h"

/* One HTTP or TCP probe: a connection of its own each time, as a kubelet's. */
struct probing {
    struct relay *relay;
    char id[24];
    struct timer timer;
    struct http_client *http;
    struct http_call *call;
    struct stream *tcp;
    struct tls_client *tls;
    char *url; /* for texts */
    char *address;
    bool connected;
};

static void over(struct probing *p, bool ok, struct str text)
{
    relay_probed(p->relay, str_of(p->id), ok, text);
    timer_stop(&p->timer);
    http_cancel(p->call);
    http_client_free(p->http);
    stream_free(p->tcp);
    tls_client_free(p->tls);
    mem_free(p->url);
    mem_free(p->address);
    mem_free(p);
}

/* What Go's net package says of a failed connection. */
static const char *dial_words(const struct err *err)
{
    if (err->kind == E_UNAVAILABLE)
        return "connection refused";
    if (err->kind == E_TIMEOUT)
        return "i/o timeout";
    return err->sys ? strerror(err->sys) : err->text;
}

static void dial_failed(struct probing *p, const struct err *err)
{
    struct arena a = ARENA;
    struct str dial = err->kind == E_TIMEOUT && !err->sys
                          ? arena_fmt(&a, "dial tcp %s: i/o timeout", p->address)
                          : arena_fmt(&a, "dial tcp %s: connect: %s", p->address, dial_words(err));
    over(p, false, p->url ? arena_fmt(&a, "Get \"%s\": " STR_FMT, p->url, STR_ARG(dial)) : dial);
    arena_fini(&a);
}

static void on_timer(struct timer *t)
{
    struct probing *p = container_of(t, struct probing, timer);
    struct arena a = ARENA;
    struct str text =
        p->url
            ? arena_fmt(&a, "Get \"%s\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
                        p->url)
            : arena_fmt(&a, "dial tcp %s: i/o timeout", p->address);
    over(p, false, text);
    arena_fini(&a);
}

static void on_done(struct http_call *c, const struct http_answer *answer, struct err *err)
{
    struct probing *p = http_call_arg(c);
    struct arena a = ARENA;
    p->call = NULL;
    if (!answer)
        dial_failed(p, err);
    else if (answer->status >= 200 && answer->status < 400)
        over(p, true, S(""));
    else
        over(p, false, arena_fmt(&a, "HTTP probe failed with statuscode: %d", answer->status));
    arena_fini(&a);
}

static void on_opened(struct stream *s)
{
    over(stream_arg(s), true, S(""));
}

static void on_closed(struct stream *s, struct err *err)
{
    dial_failed(stream_arg(s), err);
}

static void start_http(struct probing *p, const struct str *t, size_t n)
{
    static const struct http_call_fns fns = {.done = on_done};
    struct arena a = ARENA;
    struct http_headers headers = {0};
    struct err err = ERR;
    struct str host = t[6];
    bool https = str_eq(t[4], S("https"));
    for (size_t i = 7; i + 1 < n; i += 2) {
        if (str_ieq(t[i], S("host")))
            host = t[i + 1];
        else
            http_header_add(&a, &headers, t[i], t[i + 1]);
    }
    if (!http_header_has(&headers, S("User-Agent")))
        http_header_add(&a, &headers, S("User-Agent"), S("kube-probe/1.36"));
    if (!http_header_has(&headers, S("Accept")))
        http_header_add(&a, &headers, S("Accept"), S("*/*"));
    http_header_add(&a, &headers, S("Connection"), S("close"));
    p->url = str_dupz(arena_fmt(&a, STR_FMT "://%s" STR_FMT, STR_ARG(t[4]), p->address, STR_ARG(t[5])));
    if (https)
        p->tls = tls_client_new(&(struct tls_client_config){.insecure = true}, &err);
    if (https && !p->tls) {
        over(p, false, str_of(err.text));
    } else {
        struct str name = str_eq(host, t[1]) ? str_of(p->address) : host;
        p->http = http_client_new(
            p->relay->loop, &(struct http_client_config){.address = str_of(p->address), .tls = p->tls, .host = name});
        p->call = http_send(
            p->http,
            &(struct http_outgoing){.method = S("GET"), .target = t[5], .headers = &headers, .answer_most = 10 << 10},
            &fns, p);
    }
    arena_fini(&a);
}

/* texts: http|tcp IP PORT TIMEOUT_MS https|http PATH HOST [NAME VALUE]... */
void relay_probe_start(struct relay *r, struct str id, const struct str *t, size_t n)
{
    static const struct stream_fns fns = {.opened = on_opened, .closed = on_closed};
    int64_t ms, port;
    if (n < 7 || !str_to_i64(t[3], 1, 3600000, &ms) || !str_to_i64(t[2], 0, 65535, &port)) {
        relay_probed(r, id, false, S("the probe is not understood"));
        return;
    }
    struct probing *p = NEW(struct probing);
    struct arena a = ARENA;
    p->relay = r;
    (void)snprintf(p->id, sizeof p->id, STR_FMT, STR_ARG(id));
    p->address = str_dupz(arena_fmt(&a, STR_FMT ":" STR_FMT, STR_ARG(t[1]), STR_ARG(t[2])));
    arena_fini(&a);
    timer_init(&p->timer, r->loop, on_timer);
    timer_set(&p->timer, ms * NS_PER_MS);
    if (str_eq(t[0], S("http")))
        start_http(p, t, n);
    else
        p->tcp = stream_connect(
            r->loop, &(struct stream_connect){.address = str_of(p->address), .timeout_ns = ms * NS_PER_MS}, &fns, p);
}
