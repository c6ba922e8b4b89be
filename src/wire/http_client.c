/* The pool of lines to one target, and which call goes on which.
 *
 * A call waits until the loop's next quiet moment; then it gets the line that was used last among those with room, so
 * that others fall idle and close; or a new line, up to the limit; or it waits for one to end. A call that must begin
 * anew gets no line that stood before. A line that is being opened is its first call's; where several may share it,
 * the others join it, and those for which it has no room then wait again. */
#include "wire/http_client_session.h"

void http_client_pump(struct http_client *c)
{
    soon_set(&c->soon);
}

/* ---- lines */

/* Into the list where it belongs, at the front. */
static void line_settle(struct http_client_line *l)
{
    struct http_client *c = l->client;
    list_del(&l->node);
    list_add(l->session && l->session->type->has_room(l->session) ? &c->room : &c->full, &l->node);
}

void http_client_line_changed(struct http_client_line *l)
{
    line_settle(l);
    http_client_pump(l->client);
}

void http_client_line_end(struct http_client_line *l)
{
    struct http_client *c = l->client;
    struct http_client_session *session = TAKE(l->session);
    list_del(&l->node);
    c->lines--;
    http_client_pump(c);
    stream_free(TAKE(l->stream));
    if (session) {
        session->line = NULL;
        session->type->over(session);
    }
    mem_free(l);
}

void http_client_line_broken(struct http_client_line *l, struct err *err)
{
    struct list calls = LIST_HEAD(calls);
    for (struct http_call *k; (k = list_first(&l->calls, struct http_call, node));) {
        list_del(&k->node);
        list_add_tail(&calls, &k->node);
        k->line = NULL;
    }
    http_client_line_end(l);
    /* the first one's callback may free anything; the others hear of it in turns of their own */
    struct http_call *first = list_first(&calls, struct http_call, node);
    if (first)
        list_del(&first->node);
    for (struct http_call *k; (k = list_first(&calls, struct http_call, node));) {
        list_del(&k->node);
        struct err copy = *err;
        http_call_broken(k, &copy, true);
    }
    if (first)
        http_call_broken(first, err, false);
}

void http_client_line_left(struct http_client_line *l, bool keep)
{
    struct http_client *c = l->client;
    if (!keep) {
        stream_close(TAKE(l->stream));
        http_client_line_end(l);
        return;
    }
    l->kept = true;
    line_settle(l);
    if (list_empty(&l->calls)) {
        stream_read_pause(l->stream, false);
        stream_idle(l->stream, c->c.idle_ns);
    }
    http_client_pump(c);
}

struct stream *http_client_line_take(struct http_client_line *l)
{
    struct stream *s = TAKE(l->stream);
    stream_fns_set(s, NULL, NULL);
    stream_idle(s, 0);
    http_client_line_end(l);
    return s;
}

static void call_begin(struct http_client_line *l, struct http_call *k)
{
    k->begun = true;
    k->on_kept = l->kept;
    l->session->type->begin(l->session, k);
}

static const struct http_client_session_type *type_of(const struct http_client_line *l)
{
    const struct http_client_session_type *const *t = l->client->c.sessions;
    struct str agreed = stream_alpn(l->stream);
    while (t[1] && !str_eqz(agreed, t[0]->alpn))
        t++;
    return *t;
}

/* Those for which it was opened: as many as it has room for; the others wait on. */
static void calls_begin(struct http_client_line *l)
{
    struct list joined = LIST_HEAD(joined);
    for (struct http_call *k; (k = list_first(&l->calls, struct http_call, node));) {
        list_del(&k->node);
        list_add_tail(&joined, &k->node);
    }
    if (list_empty(&joined))
        stream_idle(l->stream, l->client->c.idle_ns);
    for (struct http_call *k;
         l->session->type->has_room(l->session) && (k = list_first(&joined, struct http_call, node));) {
        list_del(&k->node);
        list_add_tail(&l->calls, &k->node);
        call_begin(l, k);
    }
    while (!list_empty(&joined)) {
        struct http_call *k = container_of(joined.prev, struct http_call, node);
        list_del(&k->node);
        list_add(&l->client->waiting, &k->node);
        k->line = NULL;
        http_client_pump(l->client);
    }
}

static void line_opened(struct stream *s)
{
    struct http_client_line *l = stream_arg(s);
    struct http_client *c = l->client;
    if (l->session)
        return;
    l->session = type_of(l)->open(l);
    if (!l->upgrade)
        c->spoken = l->session->type;
    calls_begin(l);
    line_settle(l);
    if (l->session->type->has_room(l->session))
        http_client_pump(l->client);
}

static void line_data(struct stream *s, struct str bytes)
{
    struct http_client_line *l = stream_arg(s);
    if (!l->session)
        line_opened(s); /* it is told late */
    l->session->type->data(l->session, bytes);
}

static void line_drained(struct stream *s)
{
    struct http_client_line *l = stream_arg(s);
    if (l->session)
        l->session->type->drained(l->session);
}

static void line_ended(struct stream *s)
{
    struct http_client_line *l = stream_arg(s);
    if (!l->session)
        line_opened(s);
    l->session->type->ended(l->session);
}

static void line_closed(struct stream *s, struct err *err)
{
    struct err copy = *err; /* it goes with the stream */
    http_client_line_broken(stream_arg(s), &copy);
}

static const struct stream_fns line_fns = {line_opened, line_data, line_drained, line_ended, line_closed};

static void line_new(struct http_client *c, struct http_call *k)
{
    struct http_client_line *l = NEW(struct http_client_line);
    const char *const *alpn = k->request.upgrade.n ? c->alpn_upgrade : c->alpn;
    l->client = c;
    l->number = ++c->opened;
    l->upgrade = k->request.upgrade.n > 0;
    list_init(&l->calls);
    list_add(&l->calls, &k->node);
    k->line = l;
    list_add(&c->full, &l->node);
    c->lines++;
    if (c->c.dial) {
        struct err err = ERR;
        int fd = c->c.dial(c->c.dial_arg, &err);
        l->stream = fd >= 0 ? stream_new(c->loop, fd, NULL, &line_fns, l) : NULL;
    }
    if (l->stream)
        return;
    l->stream = stream_connect(c->loop,
                               &(struct stream_connect){.address = str_of(c->address),
                                                        .tls = c->c.tls,
                                                        .server_name = str_of(c->server_name),
                                                        .alpn = *alpn ? alpn : NULL,
                                                        .timeout_ns = c->c.connect_ns},
                               &line_fns, l);
}

/* ---- which call on which line */

static struct http_client_line *line_with_room(struct http_client *c, const struct http_call *k)
{
    list_each (l, &c->room, struct http_client_line, node)
        if (l->number > k->after && (!k->request.upgrade.n || l->session->type->upgrades))
            return l;
    return NULL;
}

static bool may_be_shared(const struct http_client *c)
{
    bool many = false;
    for (size_t i = 0; c->c.sessions[i]; i++)
        many |= c->c.sessions[i]->many;
    return many && (!c->spoken || c->spoken->many);
}

/* One that is being opened, and will have room for more than one. */
static struct http_client_line *line_to_join(struct http_client *c, const struct http_call *k)
{
    if (k->request.upgrade.n || !may_be_shared(c))
        return NULL;
    list_each (l, &c->full, struct http_client_line, node)
        if (!l->session && !l->upgrade && l->number > k->after)
            return l;
    return NULL;
}

static struct http_client_line *line_at_rest(struct http_client *c)
{
    list_each (l, &c->room, struct http_client_line, node)
        if (list_empty(&l->calls))
            return l;
    return NULL;
}

static void client_soon(struct soon *soon)
{
    struct http_client *c = container_of(soon, struct http_client, soon);
    for (struct http_call *k; (k = list_first(&c->waiting, struct http_call, node));) {
        struct http_client_line *l = line_with_room(c, k), *join = l ? NULL : line_to_join(c, k);
        if (join) {
            list_del(&k->node);
            list_add_tail(&join->calls, &k->node);
            k->line = join;
            continue;
        }
        struct http_client_line *spare = l || c->lines < c->c.connections_most ? NULL : line_at_rest(c);
        if (spare)
            http_client_line_end(spare);
        if (!l && c->lines >= c->c.connections_most)
            return; /* one that ends comes back here */
        list_del(&k->node);
        if (!l) {
            line_new(c, k);
            continue;
        }
        k->line = l;
        list_add_tail(&l->calls, &k->node);
        stream_idle(l->stream, 0);
        call_begin(l, k);
        line_settle(l);
    }
}

/* ---- the client */

struct http_client *http_client_new(struct loop *l, const struct http_client_config *config)
{
    static const struct http_client_session_type *const usual[] = {&http1_client_session, NULL};
    struct http_client *c = NEW(struct http_client);
    c->loop = l;
    c->c = *config;
    c->c.sessions = config->sessions ? config->sessions : usual;
    c->c.connections_most = config->connections_most ? config->connections_most : 64;
    c->c.idle_ns = config->idle_ns ? config->idle_ns : 90 * NS_PER_S;
    c->address = str_dupz(config->address);
    c->server_name = str_dupz(config->server_name);
    bool is_unix = str_starts(config->address, S("unix:"));
    c->host = str_dupz(config->host.n ? config->host : is_unix ? S("localhost") : config->address);
    size_t all = 0, some = 0;
    for (size_t i = 0; config->sessions && config->sessions[i]; i++) { /* else what `tls` offers */
        ASSERT(i < HTTP_CLIENT_SESSIONS);
        c->alpn[all++] = config->sessions[i]->alpn;
        if (config->sessions[i]->upgrades)
            c->alpn_upgrade[some++] = config->sessions[i]->alpn;
    }
    list_init(&c->room);
    list_init(&c->full);
    list_init(&c->waiting);
    list_init(&c->failed);
    soon_init(&c->soon, l, client_soon);
    return c;
}

static void calls_cancel(struct list *calls)
{
    for (struct http_call *k; (k = list_first(calls, struct http_call, node));)
        http_cancel(k);
}

static void lines_free(struct list *lines)
{
    for (struct http_client_line *l; (l = list_first(lines, struct http_client_line, node));) {
        struct http_call *k = list_first(&l->calls, struct http_call, node);
        if (k)
            http_cancel(k); /* which may end the line */
        else
            http_client_line_end(l);
    }
}

bool http_client_greeted(const struct http_client *c)
{
    return c->greeted;
}

void http_client_free(struct http_client *c)
{
    if (!c)
        return;
    calls_cancel(&c->waiting);
    calls_cancel(&c->failed);
    lines_free(&c->full);
    lines_free(&c->room);
    soon_stop(&c->soon);
    mem_free(c->address);
    mem_free(c->server_name);
    mem_free(c->host);
    mem_free(c);
}
