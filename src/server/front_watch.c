/* Watches last long and there are many, so what there was of their requests is let go when they have begun. What
 * waits for them is looked at by slow.h; who does not keep up is cut, which tells him to start over. */
#include "server/front_watch.h"
#include "server/authn.h"
#include "server/fail.h"
#include "server/int.h"
#include "server/limits.h"
#include "server/metrics.h"
#include "server/watch.h"
#include "wire/websocket.h"

struct front_watch {
    struct server *server;
    struct http_request *http;
    struct websocket *socket; /* which carries it, if that was asked for; http is over then */
    struct watching watch;
    struct slow_watch slow;
    struct negotiated form;
    enum include include;
    bool columns_sent;
    size_t nwho;
    char who[]; /* whose it is */
};

static struct str who_of(const struct front_watch *x)
{
    return (struct str){x->who, x->nwho};
}

static void watch_counts(struct front_watch *x, int change)
{
    struct map *open = &x->server->watchers;
    uintptr_t n = (uintptr_t)map_get(open, who_of(x)) + (uintptr_t)change;
    if (n)
        (void)map_put(open, who_of(x), (void *)n);
    else
        (void)map_del(open, who_of(x));
    metrics_watches(x->server, change);
}

/* One user leaves some of them for others. */
static bool may_watch(struct front_watch *x, struct request *r)
{
    return (uintptr_t)map_get(&x->server->watchers, who_of(x)) < LIMIT_WATCHERS_PER_USER ||
           fail_too_many(r, 1, "%d watches of " STR_FMT " are open; end some of them", LIMIT_WATCHERS_PER_USER,
                         STR_ARG(who_of(x)));
}

static void watch_free(struct front_watch *x)
{
    watching_stop(&x->watch);
    slow_del(&x->slow);
    watch_counts(x, -1);
    mem_free(x);
}

static void watch_over(struct front_watch *x, bool in_order)
{
    if (x->socket && in_order)
        websocket_finish(TAKE(x->socket), 1000, S(""));
    else if (x->socket)
        websocket_free(TAKE(x->socket));
    else if (in_order)
        http_end(x->http);
    else
        http_abort(x->http);
    watch_free(x);
}

void front_watches_end(struct server *s)
{
    list_each (w, &s->slow.watches, struct slow_watch, node)
        watch_over(container_of(w, struct front_watch, slow), true);
}

static bool watch_full(struct watching *w)
{
    struct front_watch *x = container_of(w, struct front_watch, watch);
    return x->socket ? websocket_over_high(x->socket) : http_over_high(x->http);
}

static size_t watch_queued(const struct front_watch *x)
{
    return x->socket ? websocket_queued(x->socket) : http_queued(x->http);
}

static size_t slow_queued(const struct slow_watch *w)
{
    return watch_queued(container_of(w, struct front_watch, slow));
}

static void slow_cut(struct slow_watch *w)
{
    watch_over(container_of(w, struct front_watch, slow), false);
}

/* One event. */
static void watch_send(struct front_watch *x, struct buf *b)
{
    slow_sent(&x->server->slow, b->n);
    if (x->socket)
        websocket_send(x->socket, x->form.media == MEDIA_PROTOBUF ? WEBSOCKET_BINARY : WEBSOCKET_TEXT, buf_str(b));
    else
        http_write_buf(x->http, b);
}

static void watch_drained(struct http_request *h)
{
    struct front_watch *x = h->user;
    watching_go_on(&x->watch);
}

static void watch_gone(struct http_request *h)
{
    watch_over(h->user, false);
}

static void socket_message(struct websocket *w, int kind, struct str bytes)
{
    (void)w, (void)kind, (void)bytes; /* whoever watches has nothing to say */
}

static void socket_drained(struct websocket *w)
{
    struct front_watch *x = websocket_arg(w);
    watching_go_on(&x->watch);
}

static void socket_closed(struct websocket *w, int code, struct str reason)
{
    (void)code, (void)reason;
    watch_over(websocket_arg(w), false);
}

static void watch_event(struct watching *w, struct notice *n)
{
    struct front_watch *x = container_of(w, struct front_watch, watch);
    if (watch_queued(x) > LIMIT_CONNECTION_BUFFER) {
        watch_over(x, false);
        return;
    }
    AUTO(buf_unref) struct buf *b = notice_frame(n, &x->form, x->include, !x->columns_sent);
    x->columns_sent = true;
    watch_send(x, b);
}

static void watch_ended(struct watching *w, const struct failure *fail)
{
    struct front_watch *x = container_of(w, struct front_watch, watch);
    if (fail->code) {
        AUTO(request_fini) struct request r;
        request_init(&r, x->server, x->server->loop, NULL);
        r.answer.fail = *fail;
        struct val v = status_of(&r);
        AUTO(buf_unref) struct buf *b = status_frame(x->form.media, &v);
        watch_send(x, b);
    }
    watch_over(x, true);
}

/* The same events, a message each. The protocol is whatever the client offers first: as upstream, it means nothing.
 */
static void upgrade_watch(struct front_watch *x, struct arena *a)
{
    static const struct websocket_fns fns = {socket_message, socket_drained, socket_closed};
    struct str token, all = protocols_offered(a, &x->http->headers, &token), first = all, rest;
    (void)str_split(all, ',', &first, &rest); /* one alone is all of it */
    const char *const protocols[] = {first.n ? arena_strz(a, first) : NULL, NULL};
    struct websocket_config config = {.protocols = protocols, .ping_ns = 30 * NS_PER_S};
    x->socket = websocket_accept(x->http, &config, &fns, x);
    if (!x->socket)
        watch_free(x);
}

static void watch_answer(struct front_watch *x)
{
    bool pb = x->form.media == MEDIA_PROTOBUF;
    x->http->user = x;
    x->http->on_gone = watch_gone;
    x->http->on_drained = watch_drained;
    http_start(x->http, 200, pb ? S("application/vnd.kubernetes.protobuf;stream=watch") : media_name(x->form.media),
               -1);
    metrics_watch_began(x->server, x->http);
    http_forget(x->http);
    if (x->server->draining)
        watch_over(x, true);
}

bool front_watch_start(struct request *r, struct http_request *h, const struct negotiated *form, enum include include)
{
    struct str who = user_share(r->user);
    struct front_watch *x = mem_alloc(sizeof *x + who.n + 1);
    *x = (struct front_watch){.server = r->server, .http = h, .form = *form, .include = include, .nwho = who.n};
    memcpy(x->who, who.p, who.n);
    x->watch = (struct watching){.loop = r->loop, .event = watch_event, .full = watch_full, .ended = watch_ended};
    if (!may_watch(x, r) || !watching_start(&x->watch, r)) {
        mem_free(x);
        return false;
    }
    watch_counts(x, 1);
    x->slow = (struct slow_watch){.queued = slow_queued, .cut = slow_cut};
    slow_add(&r->server->slow, &x->slow);
    if (websocket_wanted(h))
        upgrade_watch(x, &r->arena);
    else
        watch_answer(x);
    return true;
}
