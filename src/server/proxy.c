#include "server/proxy.h"

static void proxy_fini(struct proxy *p)
{
    http_cancel(p->call);
    http_client_free(p->client);
    stream_free(p->up);
    stream_free(p->down);
    strbuf_fini(&p->refusal);
}

/* Everything of it; `over` runs last. */
static void proxy_over(struct proxy *p)
{
    proxy_fini(p);
    p->fns->over(p);
}

/* --- bytes, after an upgrade --- */

static void splice_over(struct proxy *p)
{
    struct stream *up = TAKE(p->up), *down = TAKE(p->down);
    if (up)
        stream_close(up);
    if (down)
        stream_close(down);
    proxy_over(p);
}

static void bytes_spliced(struct stream *from, struct stream *to, struct str bytes)
{
    stream_write(to, bytes);
    if (stream_over_high(to))
        stream_read_pause(from, true);
}

static void up_data(struct stream *st, struct str bytes)
{
    struct proxy *p = stream_arg(st);
    bytes_spliced(st, p->down, bytes);
}
static void down_data(struct stream *st, struct str bytes)
{
    struct proxy *p = stream_arg(st);
    bytes_spliced(st, p->up, bytes);
}
static void up_drained(struct stream *st)
{
    struct proxy *p = stream_arg(st);
    stream_read_pause(p->down, false);
}
static void down_drained(struct stream *st)
{
    struct proxy *p = stream_arg(st);
    stream_read_pause(p->up, false);
}
static void up_ended(struct stream *st)
{
    struct proxy *p = stream_arg(st);
    stream_end(p->down);
}
static void down_ended(struct stream *st)
{
    struct proxy *p = stream_arg(st);
    stream_end(p->up);
}
static void side_closed(struct stream *st, struct err *err UNUSED)
{
    splice_over(stream_arg(st));
}
static const struct stream_fns up_fns = {
    .data = up_data, .drained = up_drained, .ended = up_ended, .closed = side_closed};
static const struct stream_fns down_fns = {
    .data = down_data, .drained = down_drained, .ended = down_ended, .closed = side_closed};

/* The request is over for us: nothing of it calls any more. */
static struct http_request *http_take(struct proxy *p)
{
    struct http_request *h = TAKE(p->http);
    h->on_gone = NULL;
    h->on_drained = NULL;
    h->on_data = NULL;
    h->on_data_end = NULL;
    return h;
}

static void target_upgraded(struct http_call *c, const struct http_answer *a, struct stream *own_s)
{
    struct proxy *p = http_call_arg(c);
    p->call = NULL;
    p->up = own_s;
    struct http_request *h = http_take(p);
    int64_t none = -1;
    (void)p->fns->head(p, a, h, &none); /* nobody refuses what he asked for */
    p->down = http_upgrade(h, http_header(&a->headers, S("Upgrade")));
    if (!p->down) {
        proxy_over(p);
        return;
    }
    stream_fns_set(p->up, &up_fns, p);
    stream_fns_set(p->down, &down_fns, p);
}

/* --- the answer's way --- */

static void target_head(struct http_call *c, const struct http_answer *a)
{
    struct proxy *p = http_call_arg(c);
    bool none = a->status < 200 || a->status > 599;
    int64_t length = -1;
    if (!str_to_i64(http_header(&a->headers, S("Content-Length")), 0, INT64_MAX, &length))
        length = -1;
    if (none)
        strbuf_addf(&p->refusal, "the answer's status is %d", a->status);
    if (none || !p->fns->head(p, a, p->http, &length)) {
        p->refused = none ? 503 : a->status;
        return;
    }
    http_start(p->http, a->status, http_header(&a->headers, S("Content-Type")), length);
}

static bool body_write(struct proxy *p, struct str bytes, bool last)
{
    AUTO(strbuf_fini) struct strbuf out = STRBUF(PROXY_BODY_MOST);
    if (!p->exchanges) {
        http_write(p->http, bytes);
        return true;
    }
    if (!p->fns->body(p, bytes, last, &out) || out.over)
        return false;
    if (out.n)
        http_write(p->http, strbuf_str(&out));
    return true;
}

static void target_data(struct http_call *c, struct str bytes)
{
    struct proxy *p = http_call_arg(c);
    if (p->refused) {
        strbuf_add(&p->refusal, str_sub(bytes, 0, PROXY_REFUSAL_MOST - p->refusal.n));
        return;
    }
    if (!body_write(p, bytes, false)) {
        http_abort(http_take(p));
        proxy_over(p);
    } else if (http_over_high(p->http)) {
        http_call_pause(c, true);
    }
}

static void client_drained(struct http_request *h)
{
    struct proxy *p = h->user;
    http_call_pause(p->call, false);
}

static void target_done(struct http_call *c, const struct http_answer *a, struct err *err)
{
    struct proxy *p = http_call_arg(c);
    p->call = NULL;
    bool whole = a && (!p->exchanges || p->refused || !p->http->status || body_write(p, S(""), true));
    struct http_request *h = http_take(p);
    if (p->refused && a)
        p->fns->refused(p, h, p->refused, strbuf_str(&p->refusal), NULL);
    else if (!h->status)
        p->fns->refused(p, h, 0, S(""), err);
    else if (whole)
        http_end(h);
    else
        http_abort(h);
    proxy_over(p);
}

/* --- the request's way --- */

static void client_data(struct http_request *h, struct str bytes)
{
    struct proxy *p = h->user;
    http_call_write(p->call, bytes);
    if (http_call_over_high(p->call))
        http_body_pause(h, true);
}

static void client_data_end(struct http_request *h)
{
    struct proxy *p = h->user;
    http_call_end(p->call);
}

static void target_drained(struct http_call *c)
{
    struct proxy *p = http_call_arg(c);
    http_body_pause(p->http, false);
}

static void client_gone(struct http_request *h)
{
    struct proxy *p = h->user;
    http_abort(http_take(p));
    proxy_over(p);
}

void proxy_start(struct proxy *p, struct loop *l, const struct proxy_target *t, struct http_request *own_h,
                 const struct http_outgoing *asked, const struct proxy_fns *fns)
{
    static const struct http_call_fns call_fns = {.head = target_head,
                                                  .data = target_data,
                                                  .drained = target_drained,
                                                  .upgraded = target_upgraded,
                                                  .done = target_done};
    struct http_client_config c = {
        .address = t->address, .tls = t->tls, .server_name = t->server_name, .host = t->host};
    struct http_outgoing o = *asked;
    *p = (struct proxy){.fns = fns,
                        .client = t->client ? NULL : http_client_new(l, &c),
                        .http = own_h,
                        .refusal = STRBUF(PROXY_REFUSAL_MOST)};
    own_h->user = p;
    own_h->on_gone = client_gone;
    own_h->on_drained = client_drained;
    own_h->on_data = client_data;
    own_h->on_data_end = client_data_end;
    o.body = own_h->body;
    o.body_streamed = own_h->streamed;
    if (!own_h->streamed || !str_to_i64(http_header(&own_h->headers, S("Content-Length")), 0, INT64_MAX, &o.length))
        o.length = 0;
    bool upgrade = http_header_token(&own_h->headers, S("Connection"), S("upgrade"));
    o.upgrade = upgrade ? http_header(&own_h->headers, S("Upgrade")) : S("");
    o.answer_streamed = true;
    o.head_ns = -1;
    p->call = http_send(t->client ? t->client : p->client, &o, &call_fns, p);
}

struct http_request *proxy_stop(struct proxy *p)
{
    struct http_request *h = http_take(p);
    proxy_fini(p);
    return h;
}
