/* relay_metrics.c - the front door's counters, for who asks this node for /metrics/edge: the edge role writes them to
 * whoever connects to its socket, and closes. */
#include "node/relay_int.h"
#include "sys/stream.h"

#define METRICS_MOST (32 << 20)
#define METRICS_WAIT (5 * NS_PER_S)

struct relay_scrape {
    struct http_request *http;
    struct stream *stream;
    struct strbuf text;
};

static void scrape_free(struct relay_scrape *s)
{
    stream_free(s->stream);
    strbuf_fini(&s->text);
    mem_free(s);
}

static void scrape_data(struct stream *s, struct str bytes)
{
    strbuf_add(&((struct relay_scrape *)stream_arg(s))->text, bytes);
}

static void scrape_end(struct relay_scrape *s, const struct err *err)
{
    struct http_request *h = s->http;
    h->on_gone = NULL;
    if (err && err->kind != E_NONE)
        relay_fail(h, 503, S("the front door's role does not answer"));
    else
        relay_fail(h, s->text.over ? 500 : 200, s->text.over ? S("too many routes") : strbuf_str(&s->text));
    scrape_free(s);
}

static void scrape_ended(struct stream *s)
{
    scrape_end(stream_arg(s), NULL);
}

static void scrape_closed(struct stream *s, struct err *err)
{
    scrape_end(stream_arg(s), err);
}

static void scrape_gone(struct http_request *h)
{
    struct relay_scrape *s = h->user;
    h->on_gone = NULL;
    relay_fail(h, 503, S("gone"));
    scrape_free(s);
}

void relay_metrics(struct relay *r, struct http_request *h)
{
    static const struct stream_fns fns = {.data = scrape_data, .ended = scrape_ended, .closed = scrape_closed};
    if (!r->cfg.edge_socket) {
        relay_fail(h, 404, S("no front door runs on this node"));
        return;
    }
    struct relay_scrape *s = NEW(struct relay_scrape);
    *s = (struct relay_scrape){.http = h, .text = STRBUF(METRICS_MOST)};
    h->user = s;
    h->on_gone = scrape_gone;
    struct stream_connect c = {.address = str_of(r->cfg.edge_socket), .timeout_ns = METRICS_WAIT};
    s->stream = stream_connect(r->loop, &c, &fns, s);
    stream_idle(s->stream, METRICS_WAIT);
}
